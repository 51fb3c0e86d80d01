//! Codec selection from the offered payload types.

use super::attributes::PayloadFormat;
use super::media_section::MediaSection;
use super::{AcceptedCodec, Codec, MediaKind};

impl MediaSection {
    /// Returns the best payload type of a codec, ranked by profile and packetization mode.
    pub(super) fn best_payload(&self, codec: Codec) -> Option<&PayloadFormat> {
        let ranked = self
            .payloads
            .iter()
            .filter_map(|payload| Some((rank(payload, codec)?, payload)));
        // Of equal ranks the first: the peer lists its preferred payload type first.
        ranked
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, payload)| payload)
    }

    /// Returns the retransmission payload type of `pt` (RFC 4588 §8.6).
    pub(super) fn rtx_for(&self, pt: u8) -> Option<&PayloadFormat> {
        let is_for = |payload: &&PayloadFormat| {
            payload.parameter("apt").and_then(|apt| apt.parse().ok()) == Some(pt)
        };
        self.payloads
            .iter()
            .filter(|payload| payload.name == "rtx")
            .find(is_for)
    }

    /// Returns RED with only this Opus payload type inside (RFC 2198 §5: the format parameter lists
    /// the payload types).
    pub(super) fn red_for(&self, opus: u8) -> Option<&PayloadFormat> {
        let opus = opus.to_string();
        let holds_opus = |payload: &&PayloadFormat| {
            !payload.parameters.is_empty()
                && payload
                    .parameters
                    .trim()
                    .split('/')
                    .all(|inner| inner == opus)
        };
        self.payloads
            .iter()
            .filter(|payload| payload.name == "red" && payload.clock_rate == 48_000)
            .find(holds_opus)
    }

    /// Returns the supported codecs that the peer offers, in the peer's order.
    pub(super) fn supported_codecs(&self) -> Vec<AcceptedCodec> {
        let codecs: &[Codec] = match self.kind {
            Some(MediaKind::Audio) => &[Codec::Opus],
            Some(MediaKind::Video) => &[Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1],
            None => &[],
        };
        let best = |codec: &Codec| {
            self.best_payload(*codec)
                .map(|payload| (*codec, payload.pt))
        };
        let mut found: Vec<_> = codecs.iter().filter_map(best).collect();
        found.sort_by_key(|(_, pt)| self.payloads.iter().position(|payload| payload.pt == *pt));
        let with_rtx = |(codec, pt)| AcceptedCodec {
            codec,
            pt,
            rtx_pt: self.rtx_for(pt).map(|rtx| rtx.pt),
        };
        found.into_iter().map(with_rtx).collect()
    }
}

/// Ranks a payload type, lower is better; `None` if it is another codec or a profile that not every
/// classroom decodes.
fn rank(payload: &PayloadFormat, codec: Codec) -> Option<u8> {
    if payload.name != codec.name().to_ascii_lowercase() || payload.clock_rate != codec.clock_rate()
    {
        return None;
    }
    match codec {
        Codec::Opus => (payload.channels == 2).then_some(0),
        Codec::H264 => rank_h264(payload),
        Codec::Vp8 => Some(0),
        Codec::Vp9 => is_absent_or_zero(payload.parameter("profile-id")),
        Codec::Av1 => is_absent_or_zero(payload.parameter("profile")),
    }
}

/// RFC 6184 §8.1: profile_idc 0x42 is baseline; with constraint_set1 it is constrained baseline,
/// which every decoder supports.
fn rank_h264(payload: &PayloadFormat) -> Option<u8> {
    if payload.parameter("packetization-mode") != Some("1") {
        return None;
    }
    let Some(profile) = payload.parameter("profile-level-id") else {
        return Some(1);
    };
    let bytes = u32::from_str_radix(profile, 16)
        .ok()
        .filter(|_| profile.len() == 6)?;
    let (profile_idc, constraints) = (bytes >> 16, bytes >> 8 & 0xFF);
    match (profile_idc, constraints & 0x40) {
        (0x42, 0) => Some(1),
        (0x42, _) => Some(0),
        _ => None,
    }
}

fn is_absent_or_zero(value: Option<&str>) -> Option<u8> {
    value.is_none_or(|value| value == "0").then_some(0)
}
