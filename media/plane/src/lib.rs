//! Media plane: RTP in, RTP out. It handles packets and time, and knows no HTTP, users or storage.
//!
//! # Code map
//!
//! | module | content |
//! |---|---|
//! | [`plane`] | handle for the server: offers and answers, subscriptions, events |
//! | [`directory`] | signalling state of peers, slots and tracks |
//! | [`command`], [`tap`], [`stats`], [`drop_reason`] | data that crosses threads: commands, events, a recorder's queue, counters |
//! | [`shard`] | state machine of one media thread, sans-IO |
//! | [`publish`] | receiving: packet ring, NACK, transport-wide feedback, reception statistics |
//! | [`subscribe`] | sending: output streams, send arena, bandwidth estimation, layer allocation, pacing |
//! | [`transport`] | one peer on a shared port: ICE-lite, DTLS, SRTP |
//! | [`rtp`], [`sdp`] | packets and session descriptions |
//! | [`units`], [`ids`], [`index`] | sequence numbers and bitrates, ids, typed indices |
//! | [`io`] | sockets, threads and the clock; no other module has any |
//!
//! # Life of a packet
//!
//! [`io`] receives a batch of datagrams (`recvmmsg`, GRO) and passes each to its [`shard`], which
//! finds the peer by the [transport path](transport::Path). SRTP is decrypted in place and the
//! payload is copied into the [`publish::ring`] of its layer. The ring has the only copy that the
//! shard keeps; it serves forwarding, retransmission, late joiners and recording. After the batch,
//! every subscriber of each track with fresh packets gets them through its
//! [`subscribe::forwarder`]: header and payload are written into the [`subscribe::arena`],
//! encrypted in place, and sent as one GSO message per subscriber and frame. If a subscriber has
//! little bandwidth, its video packets stay in the ring until they are paced out
//! ([`subscribe::pacer`]).
//!
//! # Invariants
//!
//! - A shard's state has one owner, its thread. The forwarding path has no lock, no await and no
//!   allocation.
//! - The core reads neither clock nor random numbers; both are parameters. `clippy.toml` enforces
//!   it.
//! - Every queue is bounded, and what exceeds the bound is counted.
//! - The elliptic-curve cryptography of handshakes runs on a thread of its own: a joining peer
//!   never delays forwarding.
//! - Every dropped datagram and packet has a [`drop_reason::DropReason`].
//! - An SRTP nonce is never reused: the sequence numbers of a slot only increase, and its keys live
//!   as long as its peer.

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
