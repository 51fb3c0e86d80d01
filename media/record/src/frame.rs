//! A picture or a stretch of sound, and the format that a decoder must be told before the first of them.

use crate::Duration;

/// How a track is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    Opus,
    H264,
    Vp8,
    Vp9,
    Av1,
}

impl Codec {
    pub fn is_audio(self) -> bool {
        self == Codec::Opus
    }

    /// Ticks per second of the RTP timestamp: 48 kHz for Opus (RFC 7587 §4.1), 90 kHz for all video.
    pub fn clock_rate(self) -> u32 {
        if self.is_audio() { 48_000 } else { 90_000 }
    }
}

/// What a decoder must know before the first frame. A change of it starts a new init segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    Opus,
    H264 {
        sps: Vec<u8>,
        pps: Vec<Vec<u8>>,
        width: u16,
        height: u16,
    },
    Vp8 {
        width: u16,
        height: u16,
    },
    Vp9 {
        profile: u8,
        bit_depth: u8,
        subsampling: u8,
        full_range: bool,
        width: u16,
        height: u16,
    },
    Av1 {
        sequence: crate::av1_sequence::Sequence,
        obu: Vec<u8>,
    },
}

impl Format {
    /// Visible size in pixels; `None` for sound.
    pub fn size(&self) -> Option<(u16, u16)> {
        match self {
            Format::Opus => None,
            Format::H264 { width, height, .. }
            | Format::Vp8 { width, height }
            | Format::Vp9 { width, height, .. } => Some((*width, *height)),
            Format::Av1 { sequence, .. } => Some((sequence.width, sequence.height)),
        }
    }

    /// The codec as a playlist and a media source name it (RFC 6381).
    pub fn codec_string(&self) -> String {
        match self {
            Format::Opus => "opus".into(),
            Format::H264 { sps, .. } => format!("avc1.{:02x}{:02x}{:02x}", sps[1], sps[2], sps[3]),
            Format::Vp8 { .. } => "vp8".into(),
            // Level 3.1 is named as the least that all players accept for 720p; the stream itself carries none.
            Format::Vp9 {
                profile, bit_depth, ..
            } => format!("vp09.{profile:02}.31.{bit_depth:02}"),
            Format::Av1 { sequence, .. } => sequence.codec_string(),
        }
    }
}

/// One decodable unit in sending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub rtp_time: u32,
    /// When its first packet arrived, since the lesson started.
    pub arrival: Duration,
    pub keyframe: bool,
    /// Something before it was lost.
    pub after_loss: bool,
    /// Present where the stream states it: on keyframes, and on every Opus frame.
    pub format: Option<Format>,
    /// As the container stores it: length-prefixed NAL units, a VP8/VP9 frame, sized OBUs, an Opus packet.
    pub data: Vec<u8>,
}
