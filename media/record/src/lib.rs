//! Records a lesson: RTP payloads in, playable segments out.
//!
//! Sans-IO: the caller says what arrived and what time it is, and takes away what is to be written. Nothing here knows a socket, a file
//! or a clock, and nothing is transcoded: the picture is stored as the camera sent it.
//!
//! ```text
//! Recorder          one lesson: its tracks, their layers, one clock per sender
//!   └ Layer         one rendition of one track
//!       reorder     packets back in order; a hole is waited for, then given up
//!       payload/    packets → pictures and sounds (H264, VP8, VP9, AV1, Opus)
//!       clock       RTP time → lesson time, by the sender's reports
//!       segment     pictures → fragments (≤ 0.5 s) and segments (≈ 2 s)
//!       cmaf, ivf   … as bytes
//! scan              what is whole in a file that a crash cut short
//! filler            a still picture and silence, for where a player needs something and nothing was recorded
//! ```
//!
//! **One clock.** Every time that leaves this crate is a [`Duration`] since the lesson started, the same for all tracks, and stands in the
//! media itself (`tfdt`). So a track that comes late, leaves, or loses a minute stays where it belongs, without invented pictures.
//!
//! **Fragments and segments.** A segment is what a playlist names; it is made of fragments, each complete by itself, so that whoever
//! writes fragments down as they come loses at most one of them in a crash.
//!
//! **VP8** has no place in MP4. It is recorded as IVF — a header and length-prefixed frames, which every reader accepts cut at any byte —
//! with the same split into an init part and segments, and made playable by a job later. The alternative, WebM clusters, would play in
//! browsers but not through HLS, so the page would need a second player for it.

mod av1_sequence;
mod bits;
mod clock;
mod cmaf;
pub mod filler;
mod frame;
mod ivf;
mod layer;
mod made;
mod payload;
mod recorder;
mod reorder;
pub mod scan;
mod segment;
mod sps;

#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "testing")]
pub mod testing;

pub use frame::{Codec, Format};
pub use layer::Stats;
pub use made::{Fragment, Gap, Init, SegmentEnd};
pub use recorder::{Event, Output, Packet, Recorder, SenderReport};

pub(crate) use std::time::Duration;

/// A payload that does not follow its format's rules; the frame it belongs to is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);
