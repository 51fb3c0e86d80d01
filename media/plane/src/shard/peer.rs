//! What a shard keeps of one peer.

use std::collections::HashMap;
use std::time::Instant;

use super::line::Line;
use crate::command::Shown;
use crate::ids::{LessonId, PeerId, Ssrc, TrackId};
use crate::index::{MediaIx, SlotIx, TrackIx};
use crate::publish::nack::NackGenerator;
use crate::publish::reception::ReceptionStats;
use crate::publish::twcc::FeedbackGenerator;
use crate::sdp::{Codec, ExtensionIds, PublishedMedia};
use crate::subscribe::allocator::{Item, Priority};
use crate::subscribe::budget::ResendBudget;
use crate::subscribe::estimator::{self, Estimator};
use crate::subscribe::forward::Forward;
use crate::subscribe::pace::Pace;
use crate::transport::Transport;
use crate::transport::srtp::{Inbound, RtcpSealer};
use crate::units::Bitrate;

/// One transport and what it is for. What every forwarded packet reads stands first.
pub struct Peer {
    /// Where media goes and under which key; none until the handshake is complete.
    pub line: Option<Line>,
    pub id: PeerId,
    pub lesson: LessonId,
    pub transport: Box<Transport>,
    pub inbound: Option<Box<Inbound>>,
    pub rtcp: Option<Box<RtcpSealer>>,
    pub role: Role,
}

impl Peer {
    /// A connected subscriber, its estimator told of everything that was sent.
    pub fn subscriber(&mut self) -> Option<&mut Subscriber> {
        let Peer {
            line: Some(line),
            role: Role::Subscriber(subscriber),
            ..
        } = self
        else {
            return None;
        };
        line.settle(&mut subscriber.estimator);
        Some(subscriber)
    }
}

pub enum Role {
    Publisher(Box<Publisher>),
    Subscriber(Box<Subscriber>),
}

/// A peer that sends.
pub struct Publisher {
    pub media: Vec<Published>,
    /// Header extension ids; within a bundle an id means the same on every m-line (RFC 8843 §9.2).
    pub extensions: ExtensionIds,
    /// Who sends what, learned from descriptions and header extensions.
    pub sources: HashMap<Ssrc, Source>,
    pub feedback: FeedbackGenerator,
    /// Added to the publisher's NTP times to bring them onto the plane's clock (wrapping). One for all its tracks, so that
    /// voice and picture stay in step.
    pub clock_offset: Option<u64>,
}

/// One accepted m-line and the track made of it.
pub struct Published {
    pub track: TrackIx,
    pub formats: Formats,
    pub media: PublishedMedia,
}

/// The payload types of one m-line.
#[derive(Clone, Copy, Debug)]
pub struct Formats {
    pub codec: Codec,
    pub media: u8,
    pub rtx: Option<u8>,
    pub red: Option<u8>,
}

/// One SSRC of a publisher.
pub struct Source {
    pub media: MediaIx,
    pub layer: u8,
    pub stream: Stream,
}

/// What an SSRC carries.
pub enum Stream {
    Media(Box<Media>),
    /// Retransmissions of the layer (RFC 4588).
    Repair,
}

/// The receiving side of one layer.
pub struct Media {
    pub nack: NackGenerator,
    pub reception: ReceptionStats,
}

impl Publisher {
    pub fn new(media: Vec<Published>, feedback: FeedbackGenerator) -> Publisher {
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

    /// The source of a layer's media, for feedback about it.
    pub fn ssrc_of(&self, media: MediaIx, layer: u8) -> Option<Ssrc> {
        let is_it = |s: &Source| {
            s.media == media && s.layer == layer && matches!(s.stream, Stream::Media(_))
        };
        self.sources
            .iter()
            .find(|(_, source)| is_it(source))
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

/// A peer that receives.
pub struct Subscriber {
    pub slots: Vec<Slot>,
    /// Each slot's share of the line, decided anew ten times a second; the item's key is the slot's index.
    pub shares: Vec<Item<SlotIx>>,
    pub estimator: Estimator,
    /// [`Estimator::beginnings`] when layers were last chosen.
    pub beginnings: u32,
    /// Whether its voices go out without redundant copies.
    pub plain_voices: bool,
    pub resend_budget: ResendBudget,
    pub pace: Pace,
}

/// One m-line of a subscriber.
pub struct Slot {
    pub mid: String,
    pub shown: Option<Shown>,
    /// The track it is attached to.
    pub track: Option<TrackIx>,
    /// Its outgoing stream while it shows nothing; else that stands with the track.
    pub parked: Option<Forward>,
    /// What the server was last told.
    pub told: Option<(TrackId, Option<u8>)>,
    pub ssrc: u32,
}

impl Slot {
    /// A slot that shows nothing yet; `forward` is its outgoing stream.
    pub fn new(mid: String, forward: Forward) -> Slot {
        let ssrc = forward.ssrc();
        Slot {
            mid,
            shown: None,
            track: None,
            parked: Some(forward),
            told: None,
            ssrc,
        }
    }

    pub fn has_priority(&self, priority: Priority) -> bool {
        self.shown.is_some_and(|shown| shown.priority == priority)
    }
}

impl Subscriber {
    pub fn new(now: Instant) -> Subscriber {
        Subscriber {
            slots: Vec::new(),
            shares: Vec::new(),
            estimator: Estimator::new(
                estimator::Config {
                    start: FIRST_ESTIMATE,
                    ..Default::default()
                },
                now,
            ),
            beginnings: 0,
            plain_voices: false,
            resend_budget: ResendBudget::default(),
            pace: Pace::default(),
        }
    }

    /// Appends a slot.
    pub fn add_slot(&mut self, slot: Slot) {
        self.shares.push(fresh_share(SlotIx::new(self.slots.len())));
        self.slots.push(slot);
    }

    /// The slot shows another track: nothing of what was decided for the old one counts.
    pub fn renew_share(&mut self, nth: SlotIx) {
        self.shares[nth.position()] = fresh_share(nth);
    }

    /// The slot that sends with this SSRC.
    pub fn slot_of(&self, ssrc: Ssrc) -> Option<SlotIx> {
        let position = self.slots.iter().position(|slot| slot.ssrc == ssrc.0);
        position.map(SlotIx::new)
    }
}

/// What a line is believed to carry before anything is known of it: the teacher's sharp picture. A line that carries less shows a queue
/// within a third of a second; a lower guess would show every room on a good line a blurred picture first.
const FIRST_ESTIMATE: Bitrate = Bitrate::kbps(2_000);

/// A share of which nothing is decided yet; its priority comes with what the slot shows.
fn fresh_share(nth: SlotIx) -> Item<SlotIx> {
    Item::new(nth, Priority::Wall)
}
