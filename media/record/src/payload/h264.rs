//! H264 (RFC 6184): single NAL units, STAP-A and FU-A, to length-prefixed samples.

use std::mem;

use super::{Payload, Picture};
use crate::Malformed;
use crate::frame::Format;
use crate::sps::Sps;

const SLICE_IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// A stream states one PPS, rarely two; `avcC` counts up to 255.
const PPS_LIMIT: usize = 8;

#[derive(Default)]
pub(super) struct H264 {
    /// The sample: each NAL unit behind its length in four bytes.
    data: Vec<u8>,
    /// The fragments of a NAL unit, joined so far.
    fragments: Option<Vec<u8>>,
    keyframe: bool,
    has_slice: bool,
    /// Parameter sets live in the init segment, not in the samples (`avc1`, ISO 14496-15 §5.3).
    sps: Option<Vec<u8>>,
    pps: Vec<Vec<u8>>,
}

impl Payload for H264 {
    /// A slice does not say whether it is its picture's first; parameter sets and delimiters come first always.
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

    fn finish(&mut self) -> Result<Option<Picture>, Malformed> {
        let data = mem::take(&mut self.data);
        let keyframe = mem::take(&mut self.keyframe);
        let has_slice = mem::take(&mut self.has_slice);
        if self.fragments.take().is_some() {
            return Err(Malformed("an H264 NAL unit has no last fragment"));
        }
        if !has_slice {
            return Ok(None); // parameter sets alone are remembered, not stored
        }
        let format = if keyframe { Some(self.format()?) } else { None };
        Ok(Some(Picture {
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

    /// STAP-A: NAL units behind lengths in two bytes (RFC 6184 §5.7.1).
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

    /// FU-A (RFC 6184 §5.8): the first byte lends its importance, the second the type.
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
            self.pps.clear(); // they belonged to the old one
        }
        Ok(())
    }

    fn set_pps(&mut self, nal: &[u8]) -> Result<(), Malformed> {
        let known = pps_id(nal)?;
        match self.pps.iter().position(|other| pps_id(other) == Ok(known)) {
            Some(index) => self.pps[index] = nal.to_vec(),
            None if self.pps.len() < PPS_LIMIT => self.pps.push(nal.to_vec()),
            None => {
                return Err(Malformed(
                    "an H264 stream has too many picture parameter sets",
                ));
            }
        }
        Ok(())
    }

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

fn pps_id(nal: &[u8]) -> Result<u32, Malformed> {
    crate::bits::Bits::new(nal.get(1..).unwrap_or_default()).exp_golomb()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_join_to_the_unit_they_were_cut_from() {
        let mut h264 = H264::default();
        h264.add(&[0x7c, 0x81, 1, 2]).unwrap();
        h264.add(&[0x7c, 0x01, 3]).unwrap();
        h264.add(&[0x7c, 0x41, 4]).unwrap();
        let picture = h264.finish().unwrap().unwrap();
        assert_eq!(picture.data, [0, 0, 0, 5, 0x61, 1, 2, 3, 4]);
        assert!(!picture.keyframe);
    }

    #[test]
    fn a_fragment_without_its_beginning_is_refused() {
        assert!(H264::default().add(&[0x7c, 0x41, 4]).is_err());
    }

    #[test]
    fn an_aggregate_that_promises_more_than_it_has_is_refused() {
        assert!(H264::default().add(&[0x18, 0, 9, 0x61]).is_err());
        assert!(H264::default().add(&[0x18, 0]).is_err());
    }
}
