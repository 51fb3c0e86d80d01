//! Source of recorded packets: an interface to the media plane's taps that tests implement too.

use std::time::Instant;

use tongke_plane::ids::{PeerId, TrackId};
use tongke_record::Recorder;

use super::catalogue::Codec;
use crate::bus::{ParticipantRef, Purpose};

/// Track that a participant publishes.
#[derive(Clone, Debug)]
pub struct PublishedTrack {
    pub track: TrackId,
    pub peer: PeerId,
    pub codec: Codec,
    pub participant: ParticipantRef,
    pub purpose: Purpose,
}

/// Source of packets by track.
pub trait PacketSource: Send + Sync + 'static {
    /// Opens a lossy copy of a track's packets; `None` if the track no longer exists.
    fn tap(&self, track: TrackId) -> Option<Box<dyn PacketTap>>;
    fn request_keyframe(&self, track: TrackId);
}

/// Packets of one track.
pub trait PacketTap: Send {
    /// Moves all queued packets into the recorder. Times are relative to `begin`, the lesson's
    /// start.
    fn drain(&mut self, recorder: &mut Recorder, begin: Instant);
    /// Total packets lost because the queue was full.
    fn overrun(&self) -> u64;
}
