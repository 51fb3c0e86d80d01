//! Payload headers of the codecs: frame starts, keyframes and layers, as far as forwarding needs
//! them.
//!
//! Parsers keep no state between packets. Some codecs do not mark the first packet of a frame; the
//! parser then reports a possible start, and the caller confirms it by the change of RTP timestamp.

pub mod av1;
pub mod h264;
pub mod opus;
pub mod red;
pub mod rtx;
pub mod vp8;
pub mod vp9;

use crate::sdp::Codec;

/// Properties of a packet and its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameInfo {
    /// The packet can be the first of its frame. Exact for VP8 and VP9. For H264 and AV1 several
    /// packets of a frame can match; the frame begins at the first of them with a new RTP
    /// timestamp.
    pub frame_start: bool,
    /// The packet belongs to a keyframe. Always set on the first packet of a keyframe; on later
    /// packets only if the codec repeats it, so read it together with `frame_start`.
    pub keyframe: bool,
    /// Temporal layer; 0 is the base, and the value if the codec does not signal it.
    pub temporal: u8,
    /// Spatial layer within one RTP stream (SVC); 0 is the base. Simulcast layers are separate
    /// streams, each with 0.
    pub spatial: u8,
    /// Switching point: a receiver of a lower temporal layer can switch up to this layer at this
    /// frame.
    pub switch_up: bool,
    /// No other frame refers to this frame, so it can be dropped without artefacts.
    pub discardable: bool,
    /// VP8 only: PictureID and TL0PICIDX, which must stay continuous across layer switches.
    pub vp8: Option<vp8::PictureIds>,
}

/// Parses the payload header. Returns `None` for an empty or malformed payload, which is not
/// forwarded.
pub fn describe(codec: Codec, payload: &[u8]) -> Option<FrameInfo> {
    match codec {
        Codec::Opus => opus::describe(payload),
        Codec::H264 => h264::describe(payload),
        Codec::Vp8 => vp8::describe(payload),
        Codec::Vp9 => vp9::describe(payload),
        Codec::Av1 => av1::describe(payload),
    }
}
