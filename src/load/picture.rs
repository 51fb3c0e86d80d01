//! A synthetic H264 stream: valid, tiny to make, and of any size.
//!
//! The picture is grey: an IDR whose macroblocks are all Intra16x16 without a residual, and P frames that skip every macroblock.
//! An SEI message in the first packet says when the frame was sent; its user data and filler data (NAL type 12) bring every packet to
//! 1200 bytes. Decoders show it; nothing has to be encoded.

/// Constrained Baseline at level 3.1, as every WebRTC endpoint takes it (RFC 7742 §6.2).
pub const PROFILE_LEVEL_ID: &str = "42e01f";

/// 640 × 360 in macroblocks; the last 8 lines of 23 rows are cropped.
const COLUMNS: u32 = 40;
const ROWS: u32 = 23;
const CROPPED_LINES: u32 = 8;

/// Names our SEI message (H.264 D.1.6): sixteen bytes that no other program uses.
pub const STAMP_UUID: [u8; 16] = *b"tongke-load\x40stmp";

/// Hexadecimal digits of a stamp. Digits, not bytes, so that a stamp never looks like a start code.
pub const STAMP_LEN: usize = 16;

/// The RTP payload of a packet may be this long: 1200 bytes, as browsers send them.
pub const MAX_PAYLOAD: usize = 1200;

/// The first byte of an aggregate that holds referenced NAL units (RFC 6184 §5.7.1).
const STAP_A: u8 = 0x60 | 24;
/// NAL unit type, and SEI payload type (H.264 tables 7-1, D.1).
const SEI: u8 = 6;
const USER_DATA: u8 = 5;

/// Makes the frames of one stream.
pub struct Picture {
    sps: Vec<u8>,
    pps: Vec<u8>,
    idr_count: u32,
    frame_num: u32,
}

impl Picture {
    pub fn new() -> Picture {
        Picture { sps: sps(), pps: pps(), idr_count: 0, frame_num: 0 }
    }

    /// The RTP payloads (RFC 6184) of the next frame: `packets` of [`MAX_PAYLOAD`] bytes, or the one or two that a frame needs at
    /// least. Only a keyframe's slice is shorter. `stamp_ns` is read back by [`stamp_in`].
    pub fn frame(&mut self, keyframe: bool, packets: usize, stamp_ns: u64) -> Vec<Vec<u8>> {
        let mut payloads = if keyframe {
            vec![stamped(stamp_ns, &[&self.sps, &self.pps]), self.idr()]
        } else {
            vec![stamped(stamp_ns, &[&self.skip()])]
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
        for _ in 0..COLUMNS * ROWS {
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
        bits.unsigned(COLUMNS * ROWS); // mb_skip_run: the whole picture
        bits.nal(0x61)
    }
}

/// When the frame was sent, if `payload` is the first packet of one of our frames; and whether it is a keyframe.
pub fn stamp_in(payload: &[u8]) -> Option<(u64, bool)> {
    let [STAP_A, high, low, nals @ ..] = payload else { return None };
    let (sei, rest) = nals.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    let message = sei.strip_prefix(&[SEI, USER_DATA])?;
    let size_bytes = message.iter().position(|byte| *byte != 0xff)? + 1;
    let stamp = message.get(size_bytes..)?.strip_prefix(&STAMP_UUID)?.get(..STAMP_LEN)?;
    let stamp = u64::from_str_radix(std::str::from_utf8(stamp).ok()?, 16).ok()?;
    Some((stamp, rest.get(2).is_some_and(|next| next & 0x1f == 7)))
}

fn sps() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(66, 8); // Baseline
    bits.put(0xe0, 8); // constrained
    bits.put(31, 8); // level 3.1
    bits.unsigned(0); // seq_parameter_set_id
    bits.unsigned(4); // frame numbers of 8 bits
    bits.unsigned(2); // output order is decoding order
    bits.unsigned(1); // one reference frame
    bits.put(0, 1); // no gaps in frame numbers
    bits.unsigned(COLUMNS - 1);
    bits.unsigned(ROWS - 1);
    bits.put(0b11, 2); // frames only, direct_8x8_inference
    bits.put(1, 1); // cropped
    for crop in [0, 0, 0, CROPPED_LINES / 2] {
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
fn stamped(stamp_ns: u64, nals: &[&[u8]]) -> Vec<u8> {
    let others: usize = nals.iter().map(|nal| 2 + nal.len()).sum();
    let sei = sei(stamp_ns, MAX_PAYLOAD - 1 - 2 - others);
    let mut payload = vec![STAP_A];
    for nal in [&[&sei[..]], nals].concat() {
        payload.extend_from_slice(&(nal.len() as u16).to_be_bytes());
        payload.extend_from_slice(nal);
    }
    payload
}

/// User data (H.264 D.1.6) with the time of sending, `len` bytes as a NAL unit.
fn sei(stamp_ns: u64, len: usize) -> Vec<u8> {
    // Of the length: header, type, the size itself in steps of 255 (H.264 7.3.2.3.1), and the trailing bit's byte.
    let size = (0..len).rev().find(|size| 2 + size / 255 + 1 + size + 1 == len).unwrap_or(len - 5);
    let mut nal = vec![SEI, USER_DATA];
    nal.resize(2 + size / 255, 0xff);
    nal.push((size % 255) as u8);
    let body_at = nal.len();
    nal.extend_from_slice(&STAMP_UUID);
    nal.extend_from_slice(format!("{stamp_ns:016x}").as_bytes());
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

/// Writes a raw byte sequence payload (H.264 7.2).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("a byte was pushed for the first bit");
            *last |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            self.used += 1;
        }
    }

    /// ue(v), H.264 9.1.
    fn unsigned(&mut self, value: u32) {
        let length = 32 - (value + 1).leading_zeros();
        self.put(0, length - 1);
        self.put(value + 1, length);
    }

    /// se(v), H.264 9.1.1.
    fn signed(&mut self, value: i32) {
        self.unsigned(if value > 0 { 2 * value as u32 - 1 } else { 2 * value.unsigned_abs() });
    }

    /// Ends the payload and makes a NAL unit of it, with emulation prevention (H.264 7.4.1).
    fn nal(mut self, header: u8) -> Vec<u8> {
        self.put(1, 1);
        let mut nal = vec![header];
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros == 2 && byte <= 3 {
                nal.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            nal.push(byte);
        }
        nal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_are_those_of_the_standard() {
        let code = |value| {
            let mut bits = Bits::default();
            bits.unsigned(value);
            (bits.bytes, bits.used)
        };
        assert_eq!(code(0), (vec![0b1000_0000], 1));
        assert_eq!(code(3), (vec![0b0010_0000], 5));
        assert_eq!(code(7), (vec![0b0001_0000], 7));
    }

    #[test]
    fn every_packet_is_full_and_the_first_says_when_it_was_sent() {
        let mut picture = Picture::new();
        for (keyframe, packets, stamp) in
            [(true, 5, 1), (false, 5, u64::MAX), (false, 6, 0), (false, 2, 7), (false, 0, 8)]
        {
            let payloads = picture.frame(keyframe, packets, stamp);
            assert_eq!(payloads.len(), packets.max(1 + usize::from(keyframe)));
            let full = |(index, payload): (usize, &Vec<u8>)| payload.len() == MAX_PAYLOAD || keyframe && index == 1;
            assert!(payloads.iter().enumerate().all(full), "{packets} packets");
            assert_eq!(stamp_in(&payloads[0]), Some((stamp, keyframe)));
            assert!(payloads[1..].iter().all(|p| p.len() <= MAX_PAYLOAD && stamp_in(p).is_none()));
        }
    }

    /// As ffmpeg reads them: Constrained Baseline at level 3.1, 640 × 360, no reordering.
    #[test]
    fn the_parameter_sets_are_those_of_a_640_by_360_picture() {
        assert_eq!(hex::encode(sps()), "6742e01f95a0280bfe54");
        assert_eq!(hex::encode(pps()), "68ce3880");
    }

    #[test]
    fn no_stamp_is_read_from_what_is_not_ours() {
        assert_eq!(stamp_in(&[]), None);
        assert_eq!(stamp_in(&[0x78, 0, 2, 6, 5]), None);
        assert_eq!(stamp_in(&[0x65; 100]), None);
    }
}
