//! RTP recorder: RTP payloads in, CMAF segments out.
//!
//! Sans-IO: the caller passes in packets and timestamps and drains [`Recorder::poll_output`]. The
//! crate opens no socket and no file and reads no clock. Media is stored as the publisher encoded
//! it; nothing is transcoded.
//!
//! ```text
//! Recorder             one lesson: its tracks, their layers, one clock per sender
//!   └ Layer            one simulcast layer of one track
//!       reorder_buffer packets back in sequence; a gap is given up after a timeout
//!       payload/       RTP payloads → coded frames (H264, VP8, VP9, AV1, Opus)
//!       clock          RTP timestamp → lesson time, by RTCP sender reports
//!       segmenter      frames → fragments (≤ 0.5 s) and segments (≈ 2 s)
//!       cmaf, ivf      container bytes
//! scan                 complete fragments of a file truncated by a crash
//! filler               black video and silence, for players that need media inside a gap
//! ```
//!
//! **One clock.** Every time that leaves this crate is a [`Duration`] since the lesson started, the
//! same for all tracks, and is the decode time of the media itself (`tfdt`). A track that starts
//! late, ends early or loses a minute keeps its place without synthetic frames.
//!
//! **Fragments and segments.** A segment is the unit of an HLS playlist. It consists of fragments,
//! each a complete `moof` and `mdat`, so a writer that stores them one by one loses at most one
//! fragment in a crash.
//!
//! **VP8** has no mapping to ISOBMFF that HLS players accept. It is recorded as IVF, a header and
//! length-prefixed frames that stay readable when the file is truncated at any byte. It has the
//! same init part and segments as CMAF, and a later job transcodes it for HLS. The alternative,
//! WebM clusters, plays in browsers but not through HLS, so the client would need a second player.

mod av1_sequence_header;
mod bit_reader;
mod clock;
mod cmaf;
mod event;
pub mod filler;
mod frame;
mod ivf;
mod layer;
mod payload;
mod recorder;
mod reorder_buffer;
pub mod scan;
mod segmenter;
mod sps;

#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "testing")]
pub mod testing;

pub use event::{Event, Fragment, Gap, Init, SegmentEnd};
pub use frame::Codec;
pub use layer::LayerStats;
pub use recorder::{Output, Packet, Recorder, SenderReport};

pub(crate) use std::time::Duration;

/// Bitstream or RTP payload that violates its format. The frame it belongs to is dropped and
/// counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);
