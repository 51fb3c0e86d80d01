//! A synthetic H264 stream: valid, tiny to make, and of any size.
//!
//! The picture is grey: an IDR whose macroblocks are all Intra16x16 without a residual, and P frames that skip every macroblock.
//! An SEI message in the first packet says when the frame was sent, by whom and on which layer; its user data and filler data (NAL type
//! 12) bring every packet to 1200 bytes. Decoders show it; nothing has to be encoded.

mod bits;

use std::ops::Range;

use bits::Bits;

/// Constrained Baseline at level 3.1, as every WebRTC endpoint takes it (RFC 7742 §6.2).
pub const PROFILE_LEVEL_ID: &str = "42e01f";

/// Of the best layer, in luma samples; each lower one has half of both.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;
const MACROBLOCK: u32 = 16;

/// Names our SEI message (H.264 D.1.6): sixteen bytes that no other program uses.
pub const STAMP_UUID: [u8; 16] = *b"tongke-load\x40stmp";

/// Hexadecimal digits of a stamp: 16 of time, 4 of the publisher, 1 of the layer. Digits, not bytes, so that it never looks like a start code.
const STAMP_LEN: usize = 21;

/// The RTP payload of a packet may be this long: 1200 bytes, as browsers send them.
pub const MAX_PAYLOAD: usize = 1200;

/// The first byte of an aggregate that holds referenced NAL units (RFC 6184 §5.7.1).
const STAP_A: u8 = 0x60 | 24;
/// NAL unit types, and SEI payload type (H.264 tables 7-1, D.1).
const SEI: u8 = 6;
const SPS: u8 = 7;
const USER_DATA: u8 = 5;

/// What the first packet of a frame says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it was sent, in nanoseconds since 1970.
    pub sent_ns: u64,
    /// The publisher's number.
    pub publisher: u16,
    /// Its place among all layers that there can be; the best is the last.
    pub layer: u8,
}

/// Makes the frames of one layer.
pub struct Picture {
    size: Size,
    sps: Vec<u8>,
    pps: Vec<u8>,
    idr_count: u32,
    frame_num: u32,
}

/// In luma samples.
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

impl Picture {
    /// `halvings`: how often the best layer's width and height are halved.
    pub fn new(halvings: u32) -> Picture {
        let size = Size {
            width: WIDTH >> halvings,
            height: HEIGHT >> halvings,
        };
        Picture {
            size,
            sps: sps(size),
            pps: pps(),
            idr_count: 0,
            frame_num: 0,
        }
    }

    /// The RTP payloads (RFC 6184) of the next frame: `packets` of [`MAX_PAYLOAD`] bytes, or the one or two that a frame needs at
    /// least. Only a keyframe's slice is shorter. `stamp` is read back by [`stamp_in`].
    pub fn frame(&mut self, keyframe: bool, packets: usize, stamp: Stamp) -> Vec<Vec<u8>> {
        let mut payloads = if keyframe {
            vec![stamped(stamp, &[&self.sps, &self.pps]), self.idr()]
        } else {
            vec![stamped(stamp, &[&self.skip()])]
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

/// What a frame's first packet says, if `payload` is one of ours.
pub fn stamp_in(payload: &[u8]) -> Option<Stamp> {
    let sei = aggregated(payload)?.next()?;
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

/// Whether a packet brings a sequence parameter set, with which a decoder can begin.
pub fn has_parameters(payload: &[u8]) -> bool {
    let is_sps = |nal: &[u8]| nal.first().is_some_and(|head| head & 0x1f == SPS);
    is_sps(payload) || aggregated(payload).is_some_and(|mut nals| nals.any(is_sps))
}

/// The NAL units of an aggregate (RFC 6184 §5.7.1): each behind its length.
fn aggregated(payload: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
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

/// An aggregate (RFC 6184 §5.7.1) of exactly [`MAX_PAYLOAD`] bytes: our SEI message, as long as it takes, and then `nals`.
fn stamped(stamp: Stamp, nals: &[&[u8]]) -> Vec<u8> {
    let others: usize = nals.iter().map(|nal| 2 + nal.len()).sum();
    let sei = sei(stamp, MAX_PAYLOAD - 1 - 2 - others);
    let mut payload = vec![STAP_A];
    for nal in [&[&sei[..]], nals].concat() {
        payload.extend_from_slice(&(nal.len() as u16).to_be_bytes());
        payload.extend_from_slice(nal);
    }
    payload
}

/// User data (H.264 D.1.6) with the stamp, `len` bytes as a NAL unit.
fn sei(stamp: Stamp, len: usize) -> Vec<u8> {
    // Of the length: header, type, the size itself in steps of 255 (H.264 7.3.2.3.1), and the trailing bit's byte.
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

/// Filler data in fragments (FU-A, RFC 6184 §5.8) of [`MAX_PAYLOAD`] bytes each.
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
        // RFC 6184 §5.8: one fragment may not be the first and the last.
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
    fn every_packet_is_full_and_the_first_says_when_it_was_sent() {
        let mut picture = Picture::new(0);
        for (keyframe, packets, sent_ns) in [
            (true, 5, 1),
            (false, 5, u64::MAX),
            (false, 6, 0),
            (false, 2, 7),
            (false, 0, 8),
        ] {
            let payloads = picture.frame(keyframe, packets, stamp(sent_ns));
            assert_eq!(payloads.len(), packets.max(1 + usize::from(keyframe)));
            let full = |(index, payload): (usize, &Vec<u8>)| {
                payload.len() == MAX_PAYLOAD || keyframe && index == 1
            };
            assert!(payloads.iter().enumerate().all(full), "{packets} packets");
            assert_eq!(stamp_in(&payloads[0]), Some(stamp(sent_ns)));
            assert_eq!(has_parameters(&payloads[0]), keyframe);
            let plain =
                |p: &Vec<u8>| p.len() <= MAX_PAYLOAD && stamp_in(p).is_none() && !has_parameters(p);
            assert!(payloads[1..].iter().all(plain));
        }
    }

    /// As ffmpeg reads them: Constrained Baseline at level 3.1, 640 × 360, 320 × 180 and 160 × 90, no reordering.
    #[test]
    fn the_parameter_sets_are_those_of_halved_pictures() {
        assert_eq!(hex::encode(Picture::new(0).sps), "6742e01f95a0280bfe54");
        assert_eq!(hex::encode(Picture::new(1).sps), "6742e01f95a05067e740");
        assert_eq!(hex::encode(Picture::new(2).sps), "6742e01f95a0a37e44");
        assert_eq!(hex::encode(pps()), "68ce3880");
    }

    #[test]
    fn no_stamp_is_read_from_what_is_not_ours() {
        for foreign in [
            &[][..],
            &[0x78, 0, 2, 6, 5],
            &[0x67, 0x42],
            &[0x78, 0, 9, 7],
        ] {
            assert_eq!(stamp_in(foreign), None);
        }
        assert!(
            has_parameters(&[0x67, 0x42]),
            "a parameter set in a packet of its own"
        );
    }
}
