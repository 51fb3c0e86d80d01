//! H264 (RFC 6184): single NAL units, STAP-A and FU-A → length-prefixed samples.

use std::mem;

use super::{CodedFrame, Depacketizer};
use crate::Malformed;
use crate::frame::Format;
use crate::sps::Sps;

// nal_unit_type values (H.264 table 7-1; RFC 6184 table 1).
const SLICE_IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Limit for parameter sets: streams have one PPS, rarely two; `avcC` counts up to 255.
const MAX_PPS: usize = 8;

#[derive(Default)]
pub(super) struct H264 {
    /// Sample: NAL units, each prefixed by its length in four bytes (ISO/IEC 14496-15 §5.3).
    data: Vec<u8>,
    /// NAL unit under reassembly from FU-A fragments.
    fragments: Option<Vec<u8>>,
    keyframe: bool,
    has_slice: bool,
    /// Parameter sets belong to the init segment, not to the samples (`avc1`, ISO/IEC 14496-15
    /// §5.3).
    sps: Option<Vec<u8>>,
    pps: Vec<Vec<u8>>,
}

impl Depacketizer for H264 {
    /// Parameter sets and delimiters always come first; a slice header alone does not mark the
    /// first slice of a picture.
    fn starts_frame(&self, payload: &[u8]) -> bool {
        let first = match payload.first().map(|byte| byte & 0x1f) {
            Some(STAP_A) => payload.get(3).map(|byte| byte & 0x1f),
            other => other,
        };
        matches!(first, Some(SPS | DELIMITER))
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        match payload.first().map(|byte| byte & 0x1f) {
            Some(1..=23) => self.add_nal(payload),
            Some(STAP_A) => self.add_aggregate(&payload[1..]),
            Some(FU_A) => self.add_fragment(payload),
            _ => Err(Malformed(
                "an H264 payload type that packetization-mode 1 does not have",
            )),
        }
    }

    fn finish(&mut self) -> Result<Option<CodedFrame>, Malformed> {
        let data = mem::take(&mut self.data);
        let keyframe = mem::take(&mut self.keyframe);
        let has_slice = mem::take(&mut self.has_slice);
        if self.fragments.take().is_some() {
            return Err(Malformed("an H264 NAL unit has no last fragment"));
        }
        if !has_slice {
            return Ok(None); // parameter sets alone are kept for the init segment
        }
        let format = if keyframe { Some(self.format()?) } else { None };
        Ok(Some(CodedFrame {
            data,
            keyframe,
            format,
        }))
    }

    fn clear(&mut self) {
        self.data.clear();
        self.fragments = None;
        self.keyframe = false;
        self.has_slice = false;
    }

    fn len(&self) -> usize {
        self.data.len() + self.fragments.as_ref().map_or(0, Vec::len)
    }
}

impl H264 {
    fn add_nal(&mut self, nal: &[u8]) -> Result<(), Malformed> {
        if self.fragments.is_some() {
            return Err(Malformed("an H264 NAL unit interrupts a fragmented one"));
        }
        let kind = nal.first().ok_or(Malformed("an H264 NAL unit is empty"))? & 0x1f;
        match kind {
            SPS => self.set_sps(nal)?,
            PPS => self.set_pps(nal)?,
            DELIMITER | FILLER => {}
            _ => {
                self.keyframe |= kind == SLICE_IDR;
                self.has_slice |= (1..=SLICE_IDR).contains(&kind);
                self.data
                    .extend_from_slice(&(nal.len() as u32).to_be_bytes());
                self.data.extend_from_slice(nal);
            }
        }
        Ok(())
    }

    /// Appends a STAP-A: NAL units with two-byte length prefixes (RFC 6184 §5.7.1).
    fn add_aggregate(&mut self, mut rest: &[u8]) -> Result<(), Malformed> {
        const CUT: Malformed = Malformed("an H264 aggregate is cut");
        while !rest.is_empty() {
            let (length, tail) = rest.split_first_chunk::<2>().ok_or(CUT)?;
            let (nal, tail) = tail
                .split_at_checked(u16::from_be_bytes(*length).into())
                .ok_or(CUT)?;
            self.add_nal(nal)?;
            rest = tail;
        }
        Ok(())
    }

    /// Appends a FU-A fragment (RFC 6184 §5.8): the indicator carries `nal_ref_idc`, the header the
    /// type.
    fn add_fragment(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let [indicator, header, body @ ..] = payload else {
            return Err(Malformed("an H264 fragment is cut"));
        };
        let (starts, ends) = (header & 0x80 != 0, header & 0x40 != 0);
        match (&mut self.fragments, starts) {
            (None, true) => self.fragments = Some(vec![indicator & 0xe0 | header & 0x1f]),
            (Some(_), false) => {}
            _ => {
                return Err(Malformed(
                    "an H264 fragment starts or continues out of turn",
                ));
            }
        }
        let joined = self.fragments.get_or_insert_default();
        joined.extend_from_slice(body);
        if !ends {
            return Ok(());
        }
        let nal = self.fragments.take().unwrap_or_default();
        self.add_nal(&nal)
    }

    fn set_sps(&mut self, nal: &[u8]) -> Result<(), Malformed> {
        Sps::parse(nal)?;
        if self.sps.as_deref() != Some(nal) {
            self.sps = Some(nal.to_vec());
            self.pps.clear(); // they referred to the previous SPS
        }
        Ok(())
    }

    fn set_pps(&mut self, nal: &[u8]) -> Result<(), Malformed> {
        let id = pps_id(nal)?;
        match self.pps.iter().position(|other| pps_id(other) == Ok(id)) {
            Some(index) => self.pps[index] = nal.to_vec(),
            None if self.pps.len() < MAX_PPS => self.pps.push(nal.to_vec()),
            None => {
                return Err(Malformed(
                    "an H264 stream has too many picture parameter sets",
                ));
            }
        }
        Ok(())
    }

    /// Format of a keyframe, from the current parameter sets.
    fn format(&self) -> Result<Format, Malformed> {
        let sps = self
            .sps
            .clone()
            .ok_or(Malformed("an H264 keyframe came before its SPS"))?;
        if self.pps.is_empty() {
            return Err(Malformed("an H264 keyframe came before its PPS"));
        }
        let Sps { width, height, .. } = Sps::parse(&sps)?;
        Ok(Format::H264 {
            sps,
            pps: self.pps.clone(),
            width,
            height,
        })
    }
}

/// `pic_parameter_set_id` (H.264 §7.3.2.2).
fn pps_id(nal: &[u8]) -> Result<u32, Malformed> {
    crate::bit_reader::BitReader::new(nal.get(1..).unwrap_or_default()).exp_golomb()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fu_a_fragments_are_reassembled() {
        let mut h264 = H264::default();
        h264.add(&[0x7c, 0x81, 1, 2]).unwrap();
        h264.add(&[0x7c, 0x01, 3]).unwrap();
        h264.add(&[0x7c, 0x41, 4]).unwrap();
        let frame = h264.finish().unwrap().unwrap();
        assert_eq!(frame.data, [0, 0, 0, 5, 0x61, 1, 2, 3, 4]);
        assert!(!frame.keyframe);
    }

    #[test]
    fn a_fu_a_fragment_without_a_start_is_rejected() {
        assert!(H264::default().add(&[0x7c, 0x41, 4]).is_err());
    }

    #[test]
    fn a_truncated_stap_a_is_rejected() {
        assert!(H264::default().add(&[0x18, 0, 9, 0x61]).is_err());
        assert!(H264::default().add(&[0x18, 0]).is_err());
    }
}
