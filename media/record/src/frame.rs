//! Coded frames and the codec configuration that a decoder needs before the first one.

use crate::Duration;

/// Codec of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus audio (RFC 7587).
    Opus,
    /// H.264 (RFC 6184), packetization mode 0 or 1.
    H264,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// AV1 (AOM, "RTP Payload Format For AV1").
    Av1,
}

impl Codec {
    /// Returns true for an audio codec.
    pub fn is_audio(self) -> bool {
        self == Codec::Opus
    }

    /// RTP clock rate in Hz: 48 000 for Opus (RFC 7587 §4.1), 90 000 for all video codecs.
    pub fn clock_rate(self) -> u32 {
        if self.is_audio() { 48_000 } else { 90_000 }
    }
}

/// Decoder configuration; a change starts a new init segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
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
        /// `chromaSubsampling` of `vpcC`.
        subsampling: u8,
        full_range: bool,
        width: u16,
        height: u16,
    },
    Av1 {
        sequence: crate::av1_sequence_header::SequenceHeader,
        /// Sequence header OBU, for `configOBUs` of `av1C`.
        obu: Vec<u8>,
    },
}

impl Format {
    /// Visible width and height in pixels; `None` for audio.
    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        match self {
            Format::Opus => None,
            Format::H264 { width, height, .. }
            | Format::Vp8 { width, height }
            | Format::Vp9 { width, height, .. } => Some((*width, *height)),
            Format::Av1 { sequence, .. } => Some((sequence.width, sequence.height)),
        }
    }

    /// Codec string for playlists and Media Source Extensions (RFC 6381).
    pub(crate) fn codec_string(&self) -> String {
        match self {
            Format::Opus => "opus".into(),
            Format::H264 { sps, .. } => format!("avc1.{:02x}{:02x}{:02x}", sps[1], sps[2], sps[3]),
            Format::Vp8 { .. } => "vp8".into(),
            // The stream carries no level: 3.1 is the lowest that all players accept for 720p.
            Format::Vp9 {
                profile, bit_depth, ..
            } => format!("vp09.{profile:02}.31.{bit_depth:02}"),
            Format::Av1 { sequence, .. } => sequence.codec_string(),
        }
    }
}

/// One coded frame in decode order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub rtp_time: u32,
    /// Arrival of its first packet, since the start of the lesson.
    pub arrival: Duration,
    pub keyframe: bool,
    /// True if packets before it were lost.
    pub after_loss: bool,
    /// Format of the stream: present on keyframes and on every Opus frame.
    pub format: Option<Format>,
    /// Sample data: length-prefixed NAL units, a VP8 or VP9 frame, OBUs with sizes, an Opus packet.
    pub data: Vec<u8>,
}
