//! Where recorded packets come from: the media plane's taps, behind a seam that tests fill with packets of their own.

use std::time::Instant;

use tongke_plane::ids::{PeerId, TrackId};
use tongke_record::Recorder;

use super::catalogue::Codec;
use crate::bus::{ParticipantRef, Purpose};

/// A track that somebody publishes.
#[derive(Clone, Debug)]
pub struct Published {
    pub track: TrackId,
    pub peer: PeerId,
    pub codec: Codec,
    pub participant: ParticipantRef,
    pub purpose: Purpose,
}

/// What gives packets.
pub trait Source: Send + Sync + 'static {
    /// A lossy copy of all that a track sends; `None` when it is gone already.
    fn tap(&self, track: TrackId) -> Option<Box<dyn Tap>>;
    fn request_keyframe(&self, track: TrackId);
}

/// One track's packets.
pub trait Tap: Send {
    /// Moves everything that waits into the recorder. Times count from `begin`, when the lesson started.
    fn drain(&mut self, recorder: &mut Recorder, begin: Instant);
    /// Packets lost so far because they were not taken in time.
    fn overrun(&self) -> u64;
}
