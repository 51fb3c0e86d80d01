//! Synthetic H.264 stream: valid, cheap to generate, of any bitrate.
//!
//! The picture is grey: an IDR frame of Intra16x16 macroblocks without residual, and P frames that
//! skip all macroblocks. An SEI message in the first packet carries send time, publisher and layer;
//! its user data and filler data (NAL type 12) pad each packet to 1200 bytes. Decoders accept the
//! stream, and no encoder is needed.

mod bits;

use std::ops::Range;

use bits::Bits;

/// Constrained Baseline profile, level 3.1, which every WebRTC endpoint supports (RFC 7742 §6.2).
pub(crate) const PROFILE_LEVEL_ID: &str = "42e01f";

/// Size of the best layer in luma samples; each lower layer halves both.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;
const MACROBLOCK: u32 = 16;

/// UUID of our SEI message (H.264 D.1.6).
pub(crate) const STAMP_UUID: [u8; 16] = *b"tongke-load\x40stmp";

/// Length in hexadecimal digits: 16 of time, 4 of publisher, 1 of layer. Digits never form a start
/// code.
const STAMP_LEN: usize = 21;

/// Maximum RTP payload: 1200 bytes, as browsers send.
pub(crate) const MAX_PAYLOAD: usize = 1200;

/// Header byte of an aggregation packet with NRI 3 (RFC 6184 §5.7.1).
const STAP_A: u8 = 0x60 | 24;
/// NAL unit types, and SEI payload type (H.264 tables 7-1, D.1).
const SEI: u8 = 6;
const SPS: u8 = 7;
const USER_DATA: u8 = 5;

/// Metadata in the first packet of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Send time in nanoseconds since 1970.
    pub sent_ns: u64,
    /// Number of the publisher.
    pub publisher: u16,
    /// Index among [`MAX_LAYERS`](super::args::MAX_LAYERS); the best layer is the last.
    pub layer: u8,
}

/// Generates the frames of one layer.
pub(crate) struct FrameGenerator {
    size: Size,
    sps: Vec<u8>,
    pps: Vec<u8>,
    idr_count: u32,
    frame_num: u32,
}

/// Size in luma samples.
#[derive(Clone, Copy)]
struct Size {
    width: u32,
    height: u32,
}

impl Size {
    fn macroblocks(self) -> u32 {
        self.width.div_ceil(MACROBLOCK) * self.height.div_ceil(MACROBLOCK)
    }
}

impl FrameGenerator {
    /// `halvings` is the number of times that width and height of the best layer are halved.
    pub(crate) fn new(halvings: u32) -> FrameGenerator {
        let size = Size {
            width: WIDTH >> halvings,
            height: HEIGHT >> halvings,
        };
        FrameGenerator {
            size,
            sps: sps(size),
            pps: pps(),
            idr_count: 0,
            frame_num: 0,
        }
    }

    /// RTP payloads (RFC 6184) of the next frame: `packets` of [`MAX_PAYLOAD`] bytes, or the one or
    /// two that a frame needs at least. Only a keyframe's slice is shorter. [`read_stamp`] reads
    /// `stamp` back.
    pub(crate) fn frame(&mut self, keyframe: bool, packets: usize, stamp: Stamp) -> Vec<Vec<u8>> {
        let mut payloads = if keyframe {
            vec![stap_with_stamp(stamp, &[&self.sps, &self.pps]), self.idr()]
        } else {
            vec![stap_with_stamp(stamp, &[&self.skip()])]
        };
        payloads.extend(filler(packets.saturating_sub(payloads.len())));
        payloads
    }

    fn idr(&mut self) -> Vec<u8> {
        self.frame_num = 0;
        self.idr_count += 1;
        let mut bits = slice_header(7, 0);
        bits.unsigned(self.idr_count % 2); // idr_pic_id: two IDRs in a row differ (7.4.3)
        bits.put(0, 2); // no_output_of_prior_pics_flag, long_term_reference_flag
        bits.signed(0); // slice_qp_delta
        for _ in 0..self.size.macroblocks() {
            bits.unsigned(3); // I_16x16_2_0_0: DC prediction, no residual
            bits.unsigned(0); // intra_chroma_pred_mode: DC
            bits.signed(0); // mb_qp_delta
            bits.put(1, 1); // coeff_token: no coefficient
        }
        bits.nal(0x65)
    }

    fn skip(&mut self) -> Vec<u8> {
        self.frame_num = (self.frame_num + 1) % 256;
        let mut bits = slice_header(5, self.frame_num);
        bits.put(0, 3); // num_ref_idx_active_override, ref_pic_list_modification, adaptive_ref_pic_marking: none
        bits.signed(0); // slice_qp_delta
        bits.unsigned(self.size.macroblocks()); // mb_skip_run: the whole picture
        bits.nal(0x61)
    }
}

/// Stamp of a frame's first packet; `None` for other packets and streams.
pub(crate) fn read_stamp(payload: &[u8]) -> Option<Stamp> {
    let sei = aggregated_nals(payload)?.next()?;
    let message = sei.strip_prefix(&[SEI, USER_DATA])?;
    let size_bytes = message.iter().position(|byte| *byte != 0xff)? + 1;
    let digits = message
        .get(size_bytes..)?
        .strip_prefix(&STAMP_UUID)?
        .get(..STAMP_LEN)?;
    let digits = std::str::from_utf8(digits).ok()?;
    let number = |range: Range<usize>| u64::from_str_radix(digits.get(range)?, 16).ok();
    let (sent_ns, publisher, layer) = (number(0..16)?, number(16..20)?, number(20..21)?);
    Some(Stamp {
        sent_ns,
        publisher: publisher as u16,
        layer: layer as u8,
    })
}

/// True if a packet contains a sequence parameter set, from which decoding can start.
pub(crate) fn has_sps(payload: &[u8]) -> bool {
    let is_sps = |nal: &[u8]| nal.first().is_some_and(|head| head & 0x1f == SPS);
    is_sps(payload) || aggregated_nals(payload).is_some_and(|mut nals| nals.any(is_sps))
}

/// NAL units of an aggregation packet (RFC 6184 §5.7.1).
fn aggregated_nals(payload: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let (head, mut rest) = payload.split_first()?;
    let next = move || {
        let (length, tail) = rest.split_first_chunk()?;
        let (nal, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = tail;
        Some(nal)
    };
    (head & 0x1f == STAP_A & 0x1f).then(|| std::iter::from_fn(next))
}

fn sps(size: Size) -> Vec<u8> {
    let (columns, rows) = (
        size.width.div_ceil(MACROBLOCK),
        size.height.div_ceil(MACROBLOCK),
    );
    let mut bits = Bits::default();
    bits.put(66, 8); // Baseline
    bits.put(0xe0, 8); // constrained
    bits.put(31, 8); // level 3.1
    bits.unsigned(0); // seq_parameter_set_id
    bits.unsigned(4); // frame numbers of 8 bits
    bits.unsigned(2); // output order is decoding order
    bits.unsigned(1); // one reference frame
    bits.put(0, 1); // no gaps in frame numbers
    bits.unsigned(columns - 1);
    bits.unsigned(rows - 1);
    bits.put(0b11, 2); // frames only, direct_8x8_inference
    bits.put(1, 1); // cropped, in steps of two samples (7.4.2.1.1: 4:2:0)
    for crop in [
        0,
        (columns * MACROBLOCK - size.width) / 2,
        0,
        (rows * MACROBLOCK - size.height) / 2,
    ] {
        bits.unsigned(crop);
    }
    bits.put(0, 1); // no VUI
    bits.nal(0x67)
}

fn pps() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.unsigned(0); // pic_parameter_set_id
    bits.unsigned(0); // seq_parameter_set_id
    bits.put(0, 2); // CAVLC, no bottom_field_pic_order
    for _ in 0..3 {
        bits.unsigned(0); // one slice group, one reference in each list
    }
    bits.put(0, 3); // no weighted prediction
    for _ in 0..3 {
        bits.signed(0); // quantisers at 26
    }
    bits.put(0, 3); // no deblocking control, constrained intra prediction, redundant pictures
    bits.nal(0x68)
}

fn slice_header(slice_type: u32, frame_num: u32) -> Bits {
    let mut bits = Bits::default();
    bits.unsigned(0); // first_mb_in_slice
    bits.unsigned(slice_type);
    bits.unsigned(0); // pic_parameter_set_id
    bits.put(frame_num, 8);
    bits
}

/// Aggregation packet (RFC 6184 §5.7.1) of exactly [`MAX_PAYLOAD`] bytes: the SEI message, padded,
/// then `nals`.
fn stap_with_stamp(stamp: Stamp, nals: &[&[u8]]) -> Vec<u8> {
    let others: usize = nals.iter().map(|nal| 2 + nal.len()).sum();
    let sei = sei(stamp, MAX_PAYLOAD - 1 - 2 - others);
    let mut payload = vec![STAP_A];
    for nal in [&[&sei[..]], nals].concat() {
        payload.extend_from_slice(&(nal.len() as u16).to_be_bytes());
        payload.extend_from_slice(nal);
    }
    payload
}

/// SEI message with user data (H.264 D.1.6): the stamp, padded to a NAL unit of `len` bytes.
fn sei(stamp: Stamp, len: usize) -> Vec<u8> {
    // Overhead: header, type, the size in steps of 255 (H.264 7.3.2.3.1), and the trailing bits.
    let size = (0..len)
        .rev()
        .find(|size| 2 + size / 255 + 1 + size + 1 == len)
        .unwrap_or(len - 5);
    let mut nal = vec![SEI, USER_DATA];
    nal.resize(2 + size / 255, 0xff);
    nal.push((size % 255) as u8);
    let body_at = nal.len();
    nal.extend_from_slice(&STAMP_UUID);
    let Stamp {
        sent_ns,
        publisher,
        layer,
    } = stamp;
    nal.extend_from_slice(format!("{sent_ns:016x}{publisher:04x}{layer:x}").as_bytes());
    nal.resize(body_at + size, b'.');
    nal.push(0x80);
    nal
}

/// Filler data in fragmentation units (FU-A, RFC 6184 §5.8) of [`MAX_PAYLOAD`] bytes each.
fn filler(packets: usize) -> Vec<Vec<u8>> {
    const FU_A: u8 = 28;
    const FILLER: u8 = 12;
    let fragment = |index| {
        let start = u8::from(index == 0) << 7;
        let end = u8::from(index + 1 == packets) << 6;
        let mut payload = vec![0xff; MAX_PAYLOAD];
        (payload[0], payload[1]) = (FU_A, start | end | FILLER);
        if end != 0 {
            payload[MAX_PAYLOAD - 1] = 0x80;
        }
        payload
    };
    match packets {
        0 => Vec::new(),
        // RFC 6184 §5.8: a fragment must not be both first and last.
        1 => vec![[&[FILLER][..], &vec![0xff; MAX_PAYLOAD - 2], &[0x80]].concat()],
        _ => (0..packets).map(fragment).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(sent_ns: u64) -> Stamp {
        Stamp {
            sent_ns,
            publisher: 0xfffe,
            layer: 2,
        }
    }

    #[test]
    fn every_packet_is_full_and_the_first_carries_the_stamp() {
        let mut generator = FrameGenerator::new(0);
        for (keyframe, packets, sent_ns) in [
            (true, 5, 1),
            (false, 5, u64::MAX),
            (false, 6, 0),
            (false, 2, 7),
            (false, 0, 8),
        ] {
            let payloads = generator.frame(keyframe, packets, stamp(sent_ns));
            assert_eq!(payloads.len(), packets.max(1 + usize::from(keyframe)));
            let full = |(index, payload): (usize, &Vec<u8>)| {
                payload.len() == MAX_PAYLOAD || keyframe && index == 1
            };
            assert!(payloads.iter().enumerate().all(full), "{packets} packets");
            assert_eq!(read_stamp(&payloads[0]), Some(stamp(sent_ns)));
            assert_eq!(has_sps(&payloads[0]), keyframe);
            let plain =
                |p: &Vec<u8>| p.len() <= MAX_PAYLOAD && read_stamp(p).is_none() && !has_sps(p);
            assert!(payloads[1..].iter().all(plain));
        }
    }

    /// Verified with ffmpeg: Constrained Baseline, level 3.1, 640 × 360, 320 × 180 and 160 × 90, no
    /// reordering.
    #[test]
    fn parameter_sets_match_the_picture_sizes() {
        assert_eq!(
            hex::encode(FrameGenerator::new(0).sps),
            "6742e01f95a0280bfe54"
        );
        assert_eq!(
            hex::encode(FrameGenerator::new(1).sps),
            "6742e01f95a05067e740"
        );
        assert_eq!(
            hex::encode(FrameGenerator::new(2).sps),
            "6742e01f95a0a37e44"
        );
        assert_eq!(hex::encode(pps()), "68ce3880");
    }

    #[test]
    fn foreign_packets_have_no_stamp() {
        for foreign in [
            &[][..],
            &[0x78, 0, 2, 6, 5],
            &[0x67, 0x42],
            &[0x78, 0, 9, 7],
        ] {
            assert_eq!(read_stamp(foreign), None);
        }
        assert!(
            has_sps(&[0x67, 0x42]),
            "a parameter set in a packet of its own"
        );
    }
}
