//! What a recording is made of, as it comes out of a layer.

use crate::Duration;
use crate::frame::Codec;

/// A decoder's instructions; every segment names the one it needs by `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// Counts up from 0 within the layer.
    pub index: u32,
    pub codec: Codec,
    /// As a playlist names it (RFC 6381).
    pub codec_string: String,
    /// Pixels, for pictures.
    pub size: Option<(u16, u16)>,
    /// Whether HLS can carry it as it is: all but VP8.
    pub playable: bool,
    pub bytes: Vec<u8>,
}

/// A piece of a segment, decodable after the pieces before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Counts up from 0 within the layer.
    pub segment: u32,
    pub init: u32,
    pub start: Duration,
    pub duration: Duration,
    /// It begins with a keyframe.
    pub keyframe: bool,
    pub bytes: Vec<u8>,
}

/// All fragments of a segment are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    pub segment: u32,
    pub init: u32,
    pub start: Duration,
    pub duration: Duration,
    pub keyframe_start: bool,
}

/// Nothing was recorded here, or what was lost was concealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: Duration,
    pub to: Duration,
    /// Packets were lost; otherwise nothing was sent.
    pub lost: bool,
}

#[derive(Debug)]
pub(crate) enum Made {
    Init(Init),
    Fragment(Fragment),
    SegmentEnd(SegmentEnd),
    Gap(Gap),
    WantKeyframe,
}
