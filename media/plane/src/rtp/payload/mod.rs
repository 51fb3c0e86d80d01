//! What forwarding needs to know of a codec's payload: where frames and keyframes begin, and which layer a packet is of.
//!
//! No state is kept between packets. Where a codec does not mark the beginning of a frame in each packet, the answer is "it may begin
//! here": the caller, who sees the RTP timestamp change, knows the rest.

pub mod av1;
pub mod h264;
pub mod opus;
pub mod red;
pub mod rtx;
pub mod vp8;
pub mod vp9;

use crate::sdp::Codec;

/// One packet of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameInfo {
    /// The packet can be the first of its frame. Certain for VP8 and VP9; for H264 and AV1 true for every packet that could be, so
    /// the frame begins at the first such packet of a new RTP timestamp.
    pub frame_start: bool,
    /// A decoder can begin with this packet's frame. Set on the packets that begin a keyframe, and on later ones as far as the codec
    /// repeats it: ask where `frame_start` is set.
    pub keyframe: bool,
    /// Temporal layer, 0 being the base; 0 where the codec does not say.
    pub temporal: u8,
    /// Spatial layer within one RTP stream (SVC), 0 being the base. Simulcast layers are separate streams and all 0 here.
    pub spatial: u8,
    /// From this frame on a receiver of a lower temporal layer may take this one too.
    pub switch_up: bool,
    /// No other frame refers to this one: it can be dropped without harm.
    pub discardable: bool,
    /// VP8 only: the picture id and TL0PICIDX, which have to stay continuous when layers are switched.
    pub vp8: Option<vp8::Ids>,
}

/// Reads the payload header. `None` for a payload that is empty or malformed: it is not worth forwarding.
pub fn describe(codec: Codec, payload: &[u8]) -> Option<FrameInfo> {
    match codec {
        Codec::Opus => opus::describe(payload),
        Codec::H264 => h264::describe(payload),
        Codec::Vp8 => vp8::describe(payload),
        Codec::Vp9 => vp9::describe(payload),
        Codec::Av1 => av1::describe(payload),
    }
}
