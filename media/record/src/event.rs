//! Events that a layer produces while it is recorded.

use crate::Duration;
use crate::frame::Codec;

/// Something for the caller to store or to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// New init segment; the segments that follow refer to it.
    Init(Init),
    /// Next fragment of the open segment.
    Fragment(Fragment),
    /// End of the open segment: all of its fragments were emitted.
    SegmentEnd(SegmentEnd),
    /// Time range without recorded media.
    Gap(Gap),
    /// Request to the publisher for a keyframe of this layer (PLI, RFC 4585 §6.3.1).
    KeyframeRequest,
}

/// Init segment (CMAF header of ISO/IEC 23000-19, or IVF header): decoder configuration of the
/// segments that name its `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// Number of this init segment, counted from 0 within the layer.
    pub index: u32,
    /// Codec of the track.
    pub codec: Codec,
    /// `CODECS` attribute of an HLS playlist (RFC 6381).
    pub codec_string: String,
    /// Visible width and height in pixels; `None` for audio.
    pub size: Option<(u16, u16)>,
    /// True if HLS can carry the format as it is: every codec but VP8.
    pub playable: bool,
    /// `ftyp` and `moov`, or the IVF header.
    pub bytes: Vec<u8>,
}

/// Part of a segment; decodable after the fragments before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Number of its segment, counted from 0 within the layer.
    pub segment: u32,
    /// [`Init::index`] of its init segment.
    pub init: u32,
    /// Decode time of the first frame, since the start of the lesson.
    pub start: Duration,
    /// Sum of the frame durations.
    pub duration: Duration,
    /// True if the first frame is a keyframe.
    pub keyframe: bool,
    /// `moof` and `mdat`, or IVF frames.
    pub bytes: Vec<u8>,
}

/// Summary of a segment whose fragments were all emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Number of the segment, counted from 0 within the layer.
    pub segment: u32,
    /// [`Init::index`] of its init segment.
    pub init: u32,
    /// Decode time of the first frame, since the start of the lesson.
    pub start: Duration,
    /// Sum of the fragment durations.
    pub duration: Duration,
    /// True if the first frame is a keyframe.
    pub keyframe_start: bool,
}

/// Time range in which no media was recorded, or in which lost audio was concealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Start of the range, since the start of the lesson.
    pub from: Duration,
    /// End of the range, since the start of the lesson.
    pub to: Duration,
    /// True if packets were lost; false if the publisher sent nothing.
    pub lost: bool,
}
