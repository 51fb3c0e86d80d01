//! A synthetic H264 stream: valid, tiny to make, and of any size.
//!
//! The picture is grey: an IDR whose macroblocks are all Intra16x16 without a residual, and P frames that skip every macroblock.
//! Filler data (NAL type 12) brings each frame to its size, and an SEI message in the first packet says when the frame was sent.
//! Decoders show it; nothing has to be encoded.

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

    /// The RTP payloads (RFC 6184) of the next frame, `size` bytes together or as little as a frame needs. `stamp_ns` is read
    /// back by [`stamp_in`].
    pub fn frame(&mut self, keyframe: bool, size: usize, stamp_ns: u64) -> Vec<Vec<u8>> {
        let sei = sei(stamp_ns);
        let slice = if keyframe { self.idr() } else { self.skip() };
        let mut payloads = if keyframe {
            vec![aggregate(&[&sei, &self.sps, &self.pps]), slice]
        } else {
            vec![aggregate(&[&sei, &slice])]
        };
        let so_far: usize = payloads.iter().map(Vec::len).sum();
        payloads.extend(filler(size.saturating_sub(so_far)));
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
    // STAP-A (RFC 6184 §5.7.1): our SEI is its first NAL unit.
    let (24, sei) = (*payload.first()? & 0x1f, payload.get(3..)?) else { return None };
    let (6, 5, body) = (*sei.first()?, *sei.get(1)?, sei.get(3..)?) else { return None };
    let stamp = body.strip_prefix(&STAMP_UUID)?.get(..STAMP_LEN)?;
    let stamp = u64::from_str_radix(std::str::from_utf8(stamp).ok()?, 16).ok()?;
    let sei_len = usize::from(u16::from_be_bytes([payload[1], payload[2]]));
    let next = payload.get(3 + sei_len + 2).copied().unwrap_or_default();
    Some((stamp, next & 0x1f == 7))
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

/// User data (H.264 D.1.6) with the time of sending.
fn sei(stamp_ns: u64) -> Vec<u8> {
    let mut nal = vec![0x06, 5, (STAMP_UUID.len() + STAMP_LEN) as u8];
    nal.extend_from_slice(&STAMP_UUID);
    nal.extend_from_slice(format!("{stamp_ns:016x}").as_bytes());
    nal.push(0x80);
    nal
}

/// STAP-A (RFC 6184 §5.7.1). All parts are of this file, and short.
fn aggregate(nals: &[&[u8]]) -> Vec<u8> {
    let mut payload = vec![0x60 | 24];
    for nal in nals {
        payload.extend_from_slice(&(nal.len() as u16).to_be_bytes());
        payload.extend_from_slice(nal);
    }
    payload
}

/// Filler data of about `size` bytes in fragments (FU-A, RFC 6184 §5.8).
fn filler(size: usize) -> Vec<Vec<u8>> {
    const FU_A: u8 = 28;
    const FILLER: u8 = 12;
    if size < 4 {
        return Vec::new();
    }
    if size <= MAX_PAYLOAD {
        return vec![[&[FILLER][..], &vec![0xff; size - 2], &[0x80]].concat()];
    }
    let mut body = vec![0xff; size - 2];
    body.push(0x80);
    let parts: Vec<&[u8]> = body.chunks(MAX_PAYLOAD - 2).collect();
    let fragment = |(index, part): (usize, &&[u8])| {
        let start = u8::from(index == 0) << 7;
        let end = u8::from(index + 1 == parts.len()) << 6;
        [&[FU_A, start | end | FILLER][..], part].concat()
    };
    parts.iter().enumerate().map(fragment).collect()
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
    fn a_frame_has_its_size_and_says_when_it_was_sent() {
        let mut picture = Picture::new();
        for (keyframe, stamp) in [(true, 1), (false, u64::MAX), (false, 0)] {
            let payloads = picture.frame(keyframe, 6250, stamp);
            let size: usize = payloads.iter().map(Vec::len).sum();
            assert!((6250..6270).contains(&size), "{size} bytes");
            assert!(payloads.iter().all(|p| p.len() <= MAX_PAYLOAD));
            assert_eq!(stamp_in(&payloads[0]), Some((stamp, keyframe)));
            assert!(payloads[1..].iter().all(|p| stamp_in(p).is_none()));
        }
    }

    #[test]
    fn no_stamp_is_read_from_what_is_not_ours() {
        assert_eq!(stamp_in(&[]), None);
        assert_eq!(stamp_in(&[0x78, 0, 2, 6, 5]), None);
        assert_eq!(stamp_in(&[0x65; 100]), None);
    }
}
