//! The media plane: RTP in, RTP out. It knows packets and time; it knows no HTTP, no users and no storage.
//!
//! # Code map
//!
//! | module | what it holds |
//! |---|---|
//! | [`plane`] | the handle that the server holds: offers and answers, subscriptions, events |
//! | [`directory`] | what the handle knows of peers, slots and tracks |
//! | [`command`], [`tap`], [`stats`] | what crosses threads: commands, events, a recorder's queue, counters |
//! | [`shard`] | one thread's whole state machine, sans-IO |
//! | [`publish`] | what comes in: packet ring, NACK, feedback, reception statistics |
//! | [`subscribe`] | what goes out: one continuous stream per slot, send arena, line estimate, choice of layers |
//! | [`transport`] | one peer on a shared port: ICE-lite, DTLS, SRTP |
//! | [`rtp`], [`sdp`], [`units`], [`ids`] | packets, descriptions, numbers and names |
//! | [`io`] | sockets, threads, the clock: the only code that has them |
//!
//! # Life of a packet
//!
//! [`io`] takes a batch of datagrams (`recvmmsg`, GRO) and gives each to its [`shard`]. SRTP is opened in place, the payload goes into the
//! [`publish::ring`] of its layer: the only copy in the shard, and at once forward source, retransmission store, keyframe cache and recording
//! source. After the batch every subscriber of every track with fresh packets gets them through its [`subscribe::forwarder`]: header and
//! payload are written into the [`subscribe::arena`], sealed in place, and leave as one GSO message per subscriber and frame. For a narrow line
//! pictures stay in the ring until it is their turn ([`subscribe::pacer`]).
//!
//! # Invariants
//!
//! - A shard's state has one owner, its thread. There is no lock, no await and no allocation on the forwarding path.
//! - The core never asks for the time or for randomness; both are handed in. `clippy.toml` refuses it.
//! - Every queue is bounded; what does not fit is counted.
//! - A handshake's elliptic curves are computed on a thread of their own: those who join never hold up those who watch.
//! - Every datagram and packet that goes nowhere has a [`drop_reason::DropReason`].
//! - An SRTP nonce is never used twice: a slot's outgoing numbers only grow, and its keys live as long as its peer.

pub mod command;
mod directory;
pub mod drop_reason;
pub mod ids;
pub mod index;
pub mod io;
pub mod plane;
pub mod publish;
pub mod rtp;
pub mod sdp;
pub mod shard;
pub mod stats;
pub mod subscribe;
pub mod tap;
pub mod transport;
pub mod units;
#[cfg(test)]
mod virtual_time;

pub use command::Event;
pub use ids::{LessonId, PeerId, TrackId};
pub use io::StartError;
pub use plane::{
    Assignment, Config, Events, Plane, PlaneError, PublishOptions, Published, Slot, Track, Wanted,
    start,
};
pub use sdp::{Codec, MediaKind, NegotiationError};
pub use stats::Stats;
pub use subscribe::allocator::Priority;
pub use tap::{Tap, Tapped};
pub use transport::CloseReason;
pub use units::{Bitrate, SeqNo};
