//! Messages between threads: commands to a shard, events from it, and the items that carry a
//! track's packets to another shard.

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

/// A command of the plane to a shard. Commands of one peer are executed in order.
pub enum Command {
    /// Adds a publisher. Its SDP answer is already on the way.
    AddPublisher {
        /// The new peer.
        peer: PeerId,
        /// Its lesson, for logs.
        lesson: LessonId,
        /// Its transport, with the parameters of its offer.
        transport: Box<Transport>,
        /// Its tracks and their m-lines.
        media: Vec<(TrackId, PublishedMedia)>,
    },
    /// Adds a subscriber with these slots.
    AddSubscriber {
        /// The new peer.
        peer: PeerId,
        /// Its lesson, for logs.
        lesson: LessonId,
        /// Its transport.
        transport: Box<Transport>,
        /// Its slots, in the order of the m-lines.
        slots: Vec<SlotSpec>,
    },
    /// Appends slots to a subscriber.
    AddSlots {
        /// The subscriber.
        peer: PeerId,
        /// The new slots, in the order of the m-lines.
        slots: Vec<SlotSpec>,
    },
    /// Sets the parameters of a subscriber's answer: of its transport and of each slot.
    Accept {
        /// The subscriber.
        peer: PeerId,
        /// Its ICE credentials and fingerprint.
        remote: RemoteParameters,
        /// The negotiated parameters of each slot.
        media: Vec<SubscribedMedia>,
    },
    /// Restarts ICE with new credentials of the server, and of the peer if they are known already.
    RestartIce {
        /// The peer.
        peer: PeerId,
        /// New credentials of the server.
        local: IceCredentials,
        /// New credentials of the peer.
        remote: Option<IceCredentials>,
    },
    /// Returns the result of a handshake step.
    Handshake {
        /// The peer.
        peer: PeerId,
        /// The result.
        progress: Box<HandshakeProgress>,
    },
    /// Assigns tracks to all slots of a subscriber.
    Assign {
        /// The subscriber.
        peer: PeerId,
        /// The assignment of each slot; none pauses it.
        slots: Vec<Option<SlotAssignment>>,
    },
    /// Closes a peer.
    Close {
        /// The peer.
        peer: PeerId,
    },
    /// Copies all packets of a local track to a recorder.
    Tap {
        /// The track.
        track: TrackId,
        /// The recorder's queue.
        sink: TapSink,
    },
    /// Requests a keyframe of one layer or of all layers from the publisher.
    Keyframe {
        /// The track.
        track: TrackId,
        /// The layer, lowest first; none requests all.
        layer: Option<u8>,
    },
    /// Copies all packets of a local track to another shard.
    Export {
        /// The track.
        track: TrackId,
        /// The importing shard, to be woken.
        shard: ShardIx,
        /// The queue to that shard.
        sink: rtrb::Producer<RelayItem>,
    },
    /// Adds a track that another shard owns. Keyframe requests go to `owner`.
    Import {
        /// The track.
        track: TrackId,
        /// Its codec.
        codec: Codec,
        /// Its number of simulcast layers.
        layers: usize,
        /// The shard of its publisher.
        owner: ShardIx,
        /// The queue from that shard.
        source: rtrb::Consumer<RelayItem>,
    },
    /// Removes an imported track whose publisher is gone.
    RemoveImport {
        /// The track.
        track: TrackId,
    },
}

/// A new slot of a subscriber.
#[derive(Clone, Debug)]
pub struct SlotSpec {
    /// The `mid` of the m-line.
    pub mid: String,
    /// Parameters of the output stream.
    pub forwarder: ForwarderConfig,
}

/// The track of a slot, and its priority and maximum layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotAssignment {
    /// The track.
    pub track: TrackId,
    /// Its priority in the bandwidth allocation.
    pub priority: Priority,
    /// Highest layer that the display size justifies.
    pub max_layer: u8,
}

/// An event of the plane.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The handshake is complete; media may flow.
    PeerConnected {
        /// The peer.
        peer: PeerId,
    },
    /// The peer and its tracks are removed.
    PeerClosed {
        /// The peer.
        peer: PeerId,
        /// The reason.
        reason: CloseReason,
    },
    /// The first packet of a track, or the first after a silence.
    TrackLive {
        /// The track.
        track: TrackId,
    },
    /// A track had no packet for [`crate::shard::TRACK_SILENCE_TIMEOUT`].
    TrackSilent {
        /// The track.
        track: TrackId,
    },
    /// Maximum audio level since the last such event, at most five per second.
    AudioLevel {
        /// The track.
        track: TrackId,
        /// The level, from −127 (silence) to 0 dBov (RFC 6464 §3).
        level_dbov: i8,
    },
    /// The forwarded layer of a slot changed; none if it is paused.
    SlotLayer {
        /// The subscriber.
        peer: PeerId,
        /// The `mid` of the slot's m-line.
        mid: String,
        /// The track of the slot.
        track: TrackId,
        /// The forwarded layer, lowest first.
        layer: Option<u8>,
    },
    /// Link statistics of a connected peer, once a second. For a publisher, `loss` is the loss
    /// towards the server and the estimate is zero.
    Link {
        /// The peer.
        peer: PeerId,
        /// Estimated bandwidth towards the peer.
        estimate: Bitrate,
        /// Fraction of lost packets, 0–1.
        loss: f32,
        /// Round-trip time.
        rtt: Duration,
    },
}

/// A packet or clock report for a recorder or another shard. Its size is fixed, so the queue is one
/// allocation.
#[derive(Clone, Copy)]
pub struct RelayItem {
    /// The simulcast layer, lowest first.
    pub layer: u8,
    /// The content.
    pub body: RelayBody,
}

/// The content of a [`RelayItem`].
#[derive(Clone, Copy)]
#[expect(
    clippy::large_enum_variant,
    reason = "packets are all but a few of the items, and boxing them would allocate for each"
)]
pub enum RelayBody {
    /// An RTP packet.
    Packet {
        /// Its parsed header fields.
        meta: crate::publish::ring::PacketMeta,
        /// Its payload, of which the first `meta.len` bytes are valid.
        payload: [u8; crate::publish::ring::MAX_PAYLOAD],
    },
    /// A sender report (RFC 3550 §6.4.1).
    Clock {
        /// NTP time, 32.32 fixed point.
        ntp: u64,
        /// The RTP timestamp of the same instant.
        rtp_time: u32,
        /// Time of arrival of the report.
        arrival: Instant,
    },
    /// The publisher switched the layer to another SSRC: sequence numbers and timestamps restart.
    Restart,
}
