//! AV1 (AOM, "RTP Payload Format For AV1" 1.0): OBU elements → temporal unit of OBUs with size
//! fields.

use std::mem;

use super::{CodedFrame, Depacketizer};
use crate::Malformed;
use crate::av1_sequence_header::SequenceHeader;
use crate::bit_reader::{leb128, put_leb128};
use crate::frame::Format;

// obu_type values (AV1 §6.2.2).
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// Z bit: the first element continues an OBU of the previous packet (§4.4).
const CONTINUES: u8 = 0x80;
/// Y bit: the next packet continues the last element (§4.4).
const CONTINUED: u8 = 0x40;
/// N bit: first packet of a coded video sequence (§4.4).
const NEW_SEQUENCE: u8 = 0x08;

#[derive(Default)]
pub(super) struct Av1 {
    /// Temporal unit: OBUs with `obu_has_size_field` set, the sample format of AV1 in ISOBMFF
    /// (§2.4).
    data: Vec<u8>,
    /// OBU that the last packet left incomplete.
    partial: Option<Vec<u8>>,
    /// Last sequence header, parsed and as an OBU.
    sequence: Option<(SequenceHeader, Vec<u8>)>,
    keyframe: bool,
}

impl Depacketizer for Av1 {
    fn starts_frame(&self, payload: &[u8]) -> bool {
        payload
            .first()
            .is_some_and(|header| header & NEW_SEQUENCE != 0 && header & CONTINUES == 0)
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let (header, mut rest) = payload
            .split_first()
            .ok_or(Malformed("an AV1 payload is empty"))?;
        if (header & CONTINUES != 0) != self.partial.is_some() {
            return Err(Malformed("an AV1 OBU continues out of turn"));
        }
        let count = header >> 4 & 3; // W field: zero means that every element has a length
        let mut index = 0;
        while !rest.is_empty() {
            index += 1;
            let (element, tail) = if index == count {
                (rest, &rest[rest.len()..])
            } else {
                split_element(rest)?
            };
            rest = tail;
            self.add_element(element, rest.is_empty() && header & CONTINUED != 0)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<CodedFrame>, Malformed> {
        let data = mem::take(&mut self.data);
        let keyframe = mem::take(&mut self.keyframe);
        if self.partial.take().is_some() {
            return Err(Malformed("an AV1 OBU has no end"));
        }
        if data.is_empty() {
            return Ok(None);
        }
        let format = match (&self.sequence, keyframe) {
            (Some((sequence, obu)), true) => Some(Format::Av1 {
                sequence: *sequence,
                obu: obu.clone(),
            }),
            (None, true) => {
                return Err(Malformed("an AV1 keyframe came before its sequence header"));
            }
            _ => None,
        };
        Ok(Some(CodedFrame {
            data,
            keyframe,
            format,
        }))
    }

    fn clear(&mut self) {
        self.data.clear();
        self.partial = None;
        self.keyframe = false;
    }

    fn len(&self) -> usize {
        self.data.len() + self.partial.as_ref().map_or(0, Vec::len)
    }
}

impl Av1 {
    fn add_element(&mut self, element: &[u8], continued: bool) -> Result<(), Malformed> {
        let mut obu = self.partial.take().unwrap_or_default();
        obu.extend_from_slice(element);
        if continued {
            self.partial = Some(obu);
            return Ok(());
        }
        self.add_obu(&obu)
    }

    fn add_obu(&mut self, obu: &[u8]) -> Result<(), Malformed> {
        let (header, payload) = split_obu(obu)?;
        let kind = header[0] >> 3 & 0xf;
        if matches!(kind, TEMPORAL_DELIMITER | TILE_LIST | PADDING) {
            return Ok(());
        }
        let begin = self.data.len();
        self.data.push(header[0] | 0x02); // obu_has_size_field
        self.data.extend_from_slice(&header[1..]);
        put_leb128(payload.len(), &mut self.data);
        self.data.extend_from_slice(payload);
        match kind {
            SEQUENCE_HEADER => {
                self.sequence = Some((SequenceHeader::parse(payload)?, self.data[begin..].to_vec()))
            }
            FRAME | FRAME_HEADER => self.keyframe |= is_key(payload),
            _ => {}
        }
        Ok(())
    }
}

/// Splits an OBU element with a length prefix off the front.
fn split_element(rest: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (length, tail) = leb128(rest)?;
    tail.split_at_checked(length)
        .ok_or(Malformed("an AV1 element is cut"))
}

/// Splits an OBU into its header (one or two bytes) and its payload. Drops the size field, which
/// senders may keep (AV1 §5.3.2).
fn split_obu(obu: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    const CUT: Malformed = Malformed("an AV1 OBU header is cut");
    let first = *obu.first().ok_or(CUT)?;
    let (header, rest) = obu
        .split_at_checked(if first & 0x04 != 0 { 2 } else { 1 })
        .ok_or(CUT)?;
    if first & 0x02 == 0 {
        return Ok((header, rest));
    }
    let (length, rest) = leb128(rest)?;
    rest.get(..length)
        .map(|payload| (header, payload))
        .ok_or(CUT)
}

/// Returns true for a keyframe: the header begins with `show_existing_frame` and a two-bit
/// `frame_type`, both 0 (AV1 §5.9.2).
fn is_key(payload: &[u8]) -> bool {
    payload.first().is_some_and(|byte| byte >> 5 == 0)
}
