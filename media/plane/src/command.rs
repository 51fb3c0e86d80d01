//! What crosses a thread: commands into a shard, events out of it, and the link that carries a track's packets to another shard.

use std::time::{Duration, Instant};

use crate::ids::{LessonId, PeerId, TrackId};
use crate::index::ShardIx;
use crate::sdp::{Codec, PublishedMedia, SubscribedMedia};
use crate::subscribe::allocator::Priority;
use crate::subscribe::forwarder::ForwarderConfig;
use crate::tap::TapSink;
use crate::transport::{
    CloseReason, HandshakeProgress, IceCredentials, RemoteParameters, Transport,
};
use crate::units::Bitrate;

/// What the plane's handle asks of a shard. Commands of one peer keep their order.
pub enum Command {
    /// A peer that sends media joins; its answer is already on its way.
    AddPublisher {
        peer: PeerId,
        lesson: LessonId,
        transport: Box<Transport>,
        media: Vec<(TrackId, PublishedMedia)>,
    },
    /// A peer that receives joins with these slots.
    AddSubscriber {
        peer: PeerId,
        lesson: LessonId,
        transport: Box<Transport>,
        slots: Vec<SlotSpec>,
    },
    /// More slots for a subscriber, behind the ones it has.
    AddSlots { peer: PeerId, slots: Vec<SlotSpec> },
    /// A subscriber's answer: who it is and what each slot takes.
    Accept {
        peer: PeerId,
        remote: RemoteParameters,
        media: Vec<SubscribedMedia>,
    },
    /// New ICE credentials on both sides, or on ours while the peer's are still to come.
    RestartIce {
        peer: PeerId,
        local: IceCredentials,
        remote: Option<IceCredentials>,
    },
    /// What came of a step of the peer's handshake.
    Handshake {
        peer: PeerId,
        progress: Box<HandshakeProgress>,
    },
    /// What each slot shows from now on.
    Assign {
        peer: PeerId,
        slots: Vec<Option<SlotAssignment>>,
    },
    /// Takes a peer down.
    Close { peer: PeerId },
    /// Copies every packet of a local track to a recorder.
    Tap { track: TrackId, sink: TapSink },
    /// Asks the publisher of a track for a keyframe on one layer, or on all.
    Keyframe { track: TrackId, layer: Option<u8> },
    /// Copies every packet of a local track to another shard.
    Export {
        track: TrackId,
        shard: ShardIx,
        sink: rtrb::Producer<RelayItem>,
    },
    /// Takes in the packets of a track that another shard owns. `owner` gets the keyframe requests.
    Import {
        track: TrackId,
        codec: Codec,
        layers: usize,
        owner: ShardIx,
        source: rtrb::Consumer<RelayItem>,
    },
    /// Forgets an imported track: its publisher is gone.
    Forget { track: TrackId },
}

/// How one slot of a subscriber is addressed.
#[derive(Clone, Debug)]
pub struct SlotSpec {
    pub mid: String,
    pub forward: ForwarderConfig,
}

/// What a slot shows, how much it matters, and how large it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotAssignment {
    pub track: TrackId,
    pub priority: Priority,
    /// Highest layer worth sending.
    pub max_layer: u8,
}

/// What the plane tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The peer's handshake is complete: media may flow.
    PeerConnected { peer: PeerId },
    /// The peer is gone, and with it what it published.
    PeerClosed { peer: PeerId, reason: CloseReason },
    /// A track's first packet, or the first after a silence.
    TrackLive { track: TrackId },
    /// Nothing came from a track for [`crate::shard::TRACK_SILENCE_TIMEOUT`].
    TrackSilent { track: TrackId },
    /// Loudest level since the last such event, −127 (silence) to 0 dBov (RFC 6464); at most five a second.
    AudioLevel { track: TrackId, level_dbov: i8 },
    /// A slot began to show another layer, or none.
    SlotLayer {
        peer: PeerId,
        mid: String,
        track: TrackId,
        layer: Option<u8>,
    },
    /// How the line to a peer does; once a second while it is connected. For a publisher, `loss` is what we miss and the estimate is zero.
    Link {
        peer: PeerId,
        estimate: Bitrate,
        loss: f32,
        rtt: Duration,
    },
}

/// A packet or clock report on its way to a recorder or another shard. Its size is fixed, so that the queue is one allocation.
#[derive(Clone, Copy)]
pub struct RelayItem {
    pub layer: u8,
    pub body: RelayBody,
}

/// See [`RelayItem`].
#[derive(Clone, Copy)]
#[expect(
    clippy::large_enum_variant,
    reason = "packets are all but a few of the items, and boxing them would allocate for each"
)]
pub enum RelayBody {
    Packet {
        meta: crate::publish::ring::PacketMeta,
        payload: [u8; crate::publish::ring::MAX_PAYLOAD],
    },
    Clock {
        ntp: u64,
        rtp_time: u32,
        arrival: Instant,
    },
    /// The layer starts anew: its publisher began another source, so numbers do not go on.
    Restart,
}
