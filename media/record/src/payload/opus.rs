//! Opus (RFC 7587): one packet is one frame.

use std::mem;

use super::{CodedFrame, Depacketizer};
use crate::frame::Format;
use crate::{Duration, Malformed};

#[derive(Default)]
pub(super) struct Opus {
    data: Vec<u8>,
}

impl Depacketizer for Opus {
    fn starts_frame(&self, _: &[u8]) -> bool {
        true
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        packet_duration(payload).ok_or(Malformed("an Opus packet has no valid duration"))?;
        self.data = payload.to_vec();
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<CodedFrame>, Malformed> {
        Ok(Some(CodedFrame {
            data: mem::take(&mut self.data),
            keyframe: true,
            format: Some(Format::Opus),
        }))
    }

    fn clear(&mut self) {
        self.data.clear();
    }

    fn len(&self) -> usize {
        self.data.len()
    }
}

/// Duration of an Opus packet by its TOC byte (RFC 6716 §3.1, §3.2); `None` if it is truncated,
/// zero or above the limit of 120 ms.
pub(crate) fn packet_duration(packet: &[u8]) -> Option<Duration> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let frame_us = match config {
        0..12 => [10_000, 20_000, 40_000, 60_000][usize::from(config % 4)],
        12..16 => [10_000, 20_000][usize::from(config % 2)],
        _ => [2_500, 5_000, 10_000, 20_000][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(*packet.get(1)? & 0x3f),
    };
    let total = Duration::from_micros(frame_us * frames);
    (!total.is_zero() && total <= Duration::from_millis(120)).then_some(total)
}

/// Returns a packet that makes the decoder conceal a lost one, and its duration (RFC 7845 §4.1).
///
/// It has the mode and frame size of `like` and consists of a TOC byte and one empty frame.
pub(crate) fn plc_packet(like: &[u8]) -> Option<(Vec<u8>, Duration)> {
    let packet = vec![like.first()? & 0xfc];
    let duration = packet_duration(&packet)?;
    Some((packet, duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_duration_follows_from_the_toc_byte() {
        let ms = |packet: &[u8]| packet_duration(packet).map(|d| d.as_micros() as u64);
        assert_eq!(ms(&[0xfc, 0xff]), Some(20_000)); // CELT fullband, one frame
        assert_eq!(ms(&[0x78, 0]), Some(20_000)); // hybrid fullband
        assert_eq!(ms(&[0x18, 0]), Some(60_000)); // SILK narrowband
        assert_eq!(ms(&[0xff, 0x03]), Some(60_000)); // three frames of 20 ms
        assert_eq!(ms(&[0xff, 0x3f]), None); // 63 frames of 20 ms
        assert_eq!(ms(&[0xff]), None);
        assert_eq!(ms(&[]), None);
    }
}
