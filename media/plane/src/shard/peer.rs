//! State of one peer in a shard.

use std::collections::HashMap;
use std::time::Instant;

use super::send_state::SendState;
use crate::command::SlotAssignment;
use crate::ids::{LessonId, PeerId, Ssrc, TrackId};
use crate::index::{MediaIx, SlotIx, TrackIx};
use crate::publish::nack::NackGenerator;
use crate::publish::reception::ReceptionStats;
use crate::publish::twcc::FeedbackGenerator;
use crate::sdp::{Codec, ExtensionIds, PublishedMedia};
use crate::subscribe::allocator::{Priority, TrackAllocation};
use crate::subscribe::estimator::{self, Estimator};
use crate::subscribe::forwarder::Forwarder;
use crate::subscribe::pacer::Pacer;
use crate::subscribe::resend_budget::ResendBudget;
use crate::transport::Transport;
use crate::transport::srtp::{Inbound, RtcpSealer};
use crate::units::Bitrate;

/// One transport and its role. The state that every forwarded packet reads comes first.
pub(super) struct Peer {
    /// Destination and key of media; none until the handshake is complete.
    pub(super) send: Option<SendState>,
    pub(super) id: PeerId,
    pub(super) lesson: LessonId,
    pub(super) transport: Box<Transport>,
    pub(super) inbound: Option<Box<Inbound>>,
    pub(super) rtcp: Option<Box<RtcpSealer>>,
    pub(super) role: Role,
}

impl Peer {
    /// Returns a connected subscriber. Its estimator knows all packets sent so far.
    pub(super) fn subscriber(&mut self) -> Option<&mut Subscriber> {
        let Peer {
            send: Some(send),
            role: Role::Subscriber(subscriber),
            ..
        } = self
        else {
            return None;
        };
        send.flush_records(&mut subscriber.estimator);
        Some(subscriber)
    }
}

pub(super) enum Role {
    Publisher(Box<Publisher>),
    Subscriber(Box<Subscriber>),
}

/// A peer that sends media.
pub(super) struct Publisher {
    pub(super) media: Vec<PublishedTrack>,
    /// Header extension ids. Within a bundle an id has one meaning on all m-lines (RFC 8843 §9.2).
    pub(super) extensions: ExtensionIds,
    /// Known SSRCs, from descriptions and header extensions.
    pub(super) sources: HashMap<Ssrc, RtpSource>,
    pub(super) feedback: FeedbackGenerator,
    /// Added (wrapping) to the publisher's NTP times to map them to the plane's clock. All tracks
    /// of a publisher share it, which keeps audio and video in sync.
    pub(super) clock_offset: Option<u64>,
}

/// An accepted m-line and its track.
pub(super) struct PublishedTrack {
    pub(super) track: TrackIx,
    pub(super) formats: Formats,
    pub(super) media: PublishedMedia,
}

/// Payload types of one m-line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Formats {
    pub(super) codec: Codec,
    pub(super) media: u8,
    pub(super) rtx: Option<u8>,
    pub(super) red: Option<u8>,
}

/// One SSRC of a publisher.
pub(super) struct RtpSource {
    pub(super) media: MediaIx,
    pub(super) layer: u8,
    pub(super) kind: SourceKind,
}

/// The content of an SSRC.
pub(super) enum SourceKind {
    Media(Box<LayerReceiver>),
    /// Retransmissions of the layer (RFC 4588).
    Rtx,
}

/// Receive state of one layer.
pub(super) struct LayerReceiver {
    pub(super) nack: NackGenerator,
    pub(super) reception: ReceptionStats,
}

impl Publisher {
    pub(super) fn new(media: Vec<PublishedTrack>, feedback: FeedbackGenerator) -> Publisher {
        let extensions = media
            .iter()
            .map(|published| published.media.extensions)
            .fold(ExtensionIds::default(), merged);
        Publisher {
            media,
            extensions,
            sources: HashMap::new(),
            feedback,
            clock_offset: None,
        }
    }

    /// Returns the media SSRC of a layer, for feedback about it.
    pub(super) fn ssrc_of(&self, media: MediaIx, layer: u8) -> Option<Ssrc> {
        let matches = |s: &RtpSource| {
            s.media == media && s.layer == layer && matches!(s.kind, SourceKind::Media(_))
        };
        self.sources
            .iter()
            .find(|(_, source)| matches(source))
            .map(|(ssrc, _)| *ssrc)
    }
}

fn merged(a: ExtensionIds, b: ExtensionIds) -> ExtensionIds {
    ExtensionIds {
        mid: a.mid.or(b.mid),
        rid: a.rid.or(b.rid),
        repaired_rid: a.repaired_rid.or(b.repaired_rid),
        transport_cc: a.transport_cc.or(b.transport_cc),
        audio_level: a.audio_level.or(b.audio_level),
        abs_send_time: a.abs_send_time.or(b.abs_send_time),
        abs_capture_time: a.abs_capture_time.or(b.abs_capture_time),
    }
}

/// A peer that receives media.
pub(super) struct Subscriber {
    pub(super) slots: Vec<Slot>,
    /// Layer allocation of each slot, updated ten times a second. The key is the slot's index.
    pub(super) allocations: Vec<TrackAllocation<SlotIx>>,
    pub(super) estimator: Estimator,
    /// [`Estimator::path_epoch`] at the last allocation.
    pub(super) path_epoch: u32,
    /// True if audio is sent without redundancy (RED).
    pub(super) plain_audio: bool,
    pub(super) resend_budget: ResendBudget,
    pub(super) pacer: Pacer,
}

/// One m-line of a subscriber.
pub(super) struct Slot {
    pub(super) mid: String,
    pub(super) assigned: Option<SlotAssignment>,
    /// The track that the slot is attached to.
    pub(super) track: Option<TrackIx>,
    /// The output stream of a detached slot. An attached slot's stream is in the track's fan-out.
    pub(super) detached: Option<Forwarder>,
    /// The state in the last [`SlotLayer`](crate::Event::SlotLayer) event.
    pub(super) reported: Option<(TrackId, Option<u8>)>,
    pub(super) ssrc: u32,
}

impl Slot {
    /// Makes an unassigned slot with its output stream.
    pub(super) fn new(mid: String, forwarder: Forwarder) -> Slot {
        let ssrc = forwarder.ssrc();
        Slot {
            mid,
            assigned: None,
            track: None,
            detached: Some(forwarder),
            reported: None,
            ssrc,
        }
    }

    pub(super) fn has_priority(&self, priority: Priority) -> bool {
        self.assigned
            .is_some_and(|assigned| assigned.priority == priority)
    }
}

impl Subscriber {
    pub(super) fn new(now: Instant) -> Subscriber {
        Subscriber {
            slots: Vec::new(),
            allocations: Vec::new(),
            estimator: Estimator::new(
                estimator::Config {
                    start: INITIAL_ESTIMATE,
                    ..Default::default()
                },
                now,
            ),
            path_epoch: 0,
            plain_audio: false,
            resend_budget: ResendBudget::default(),
            pacer: Pacer::default(),
        }
    }

    /// Appends a slot.
    pub(super) fn add_slot(&mut self, slot: Slot) {
        self.allocations
            .push(initial_allocation(SlotIx::new(self.slots.len())));
        self.slots.push(slot);
    }

    /// Resets the allocation of a slot whose track changed.
    pub(super) fn reset_allocation(&mut self, slot_ix: SlotIx) {
        self.allocations[slot_ix.position()] = initial_allocation(slot_ix);
    }

    /// Returns the slot that sends with this SSRC.
    pub(super) fn slot_of(&self, ssrc: Ssrc) -> Option<SlotIx> {
        let position = self.slots.iter().position(|slot| slot.ssrc == ssrc.0);
        position.map(SlotIx::new)
    }
}

/// Initial bandwidth estimate: the highest layer of the teacher's camera. On a link with less
/// bandwidth queuing shows within a third of a second; a lower value would start every classroom
/// with a blurred picture.
const INITIAL_ESTIMATE: Bitrate = Bitrate::kbps(2_000);

/// Makes a paused allocation; its priority comes with the assignment.
fn initial_allocation(slot_ix: SlotIx) -> TrackAllocation<SlotIx> {
    TrackAllocation::new(slot_ix, Priority::Wall)
}
