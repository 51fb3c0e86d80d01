//! VP9 (RFC 9628): payloads → one frame. The spatial layers of a picture are joined to a
//! superframe.

use std::mem;

use super::{CodedFrame, Depacketizer};
use crate::Malformed;
use crate::bit_reader::BitReader;
use crate::frame::Format;

#[derive(Default)]
pub(super) struct Vp9 {
    data: Vec<u8>,
    /// End offset of each complete layer frame in `data`.
    ends: Vec<usize>,
    inside_frame: bool,
}

impl Depacketizer for Vp9 {
    fn starts_frame(&self, payload: &[u8]) -> bool {
        Descriptor::parse(payload).is_ok_and(|(d, _)| d.begins && d.spatial_layer == 0)
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let (descriptor, body) = Descriptor::parse(payload)?;
        if descriptor.begins == self.inside_frame {
            return Err(Malformed(
                "a VP9 layer frame begins or continues out of turn",
            ));
        }
        self.data.extend_from_slice(body);
        self.inside_frame = !descriptor.ends;
        if descriptor.ends {
            self.ends.push(self.data.len());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<CodedFrame>, Malformed> {
        let (mut data, ends) = (mem::take(&mut self.data), mem::take(&mut self.ends));
        if mem::take(&mut self.inside_frame) {
            return Err(Malformed("a VP9 frame has no end"));
        }
        let format = keyframe_format(&data)?;
        if ends.len() > 1 {
            append_superframe_index(&mut data, &ends)?;
        }
        Ok(Some(CodedFrame {
            data,
            keyframe: format.is_some(),
            format,
        }))
    }

    fn clear(&mut self) {
        *self = Vp9::default();
    }

    fn len(&self) -> usize {
        self.data.len()
    }
}

/// Payload descriptor fields that joining needs (RFC 9628 §4.2).
struct Descriptor {
    /// B bit: first packet of a layer frame.
    begins: bool,
    /// E bit: last packet of a layer frame.
    ends: bool,
    spatial_layer: u8,
}

impl Descriptor {
    fn parse(payload: &[u8]) -> Result<(Descriptor, &[u8]), Malformed> {
        let mut rest = payload;
        let mut byte = || {
            let (first, tail) = rest
                .split_first()
                .ok_or(Malformed("a VP9 payload descriptor is cut"))?;
            rest = tail;
            Ok::<u8, Malformed>(*first)
        };
        let flags = byte()?;
        let flexible = flags & 0x10 != 0;
        if flags & 0x80 != 0 && byte()? & 0x80 != 0 {
            byte()?; // long picture id
        }
        let mut spatial_layer = 0;
        if flags & 0x20 != 0 {
            spatial_layer = byte()? >> 1 & 7;
            if !flexible {
                byte()?; // TL0PICIDX
            }
        }
        if flexible && flags & 0x40 != 0 {
            while byte()? & 1 != 0 {} // reference indices; the N bit means that another follows
        }
        if flags & 0x02 != 0 {
            skip_scalability(&mut byte)?;
        }
        if rest.is_empty() {
            return Err(Malformed("a VP9 payload is empty"));
        }
        Ok((
            Descriptor {
                begins: flags & 0x08 != 0,
                ends: flags & 0x04 != 0,
                spatial_layer,
            },
            rest,
        ))
    }
}

/// Skips the scalability structure (RFC 9628 §4.2.1).
fn skip_scalability(byte: &mut impl FnMut() -> Result<u8, Malformed>) -> Result<(), Malformed> {
    let flags = byte()?;
    if flags & 0x10 != 0 {
        for _ in 0..4 * ((flags >> 5) + 1) {
            byte()?;
        }
    }
    if flags & 0x08 != 0 {
        for _ in 0..byte()? {
            let references = byte()? >> 2 & 3;
            for _ in 0..references {
                byte()?;
            }
        }
    }
    Ok(())
}

/// Parses the uncompressed header up to the frame size (VP9 bitstream §6.2); `None` if the frame is
/// not a keyframe.
fn keyframe_format(frame: &[u8]) -> Result<Option<Format>, Malformed> {
    let mut bits = BitReader::new(frame);
    if bits.bits(2)? != 2 {
        return Err(Malformed("a VP9 frame has no frame marker"));
    }
    let profile = (bits.bits(1)? | bits.bits(1)? << 1) as u8;
    if profile == 3 {
        bits.bit()?;
    }
    let shows_existing = bits.bit()?;
    if shows_existing || bits.bit()? {
        return Ok(None);
    }
    bits.bits(2)?; // show_frame, error_resilient_mode
    if bits.bits(24)? != 0x49_83_42 {
        return Err(Malformed("a VP9 keyframe has no sync code"));
    }
    let bit_depth = match profile {
        0 | 1 => 8,
        _ if bits.bit()? => 12,
        _ => 10,
    };
    let (subsampling, full_range) = read_color(&mut bits, profile)?;
    let (width, height) = (bits.bits(16)? + 1, bits.bits(16)? + 1);
    let pixels =
        |size: u32| u16::try_from(size).map_err(|_| Malformed("a VP9 picture is too large"));
    Ok(Some(Format::Vp9 {
        profile,
        bit_depth,
        subsampling,
        full_range,
        width: pixels(width)?,
        height: pixels(height)?,
    }))
}

/// Parses `color_config()` (VP9 bitstream §6.2.2): chroma subsampling as coded in `vpcC`, full
/// range.
fn read_color(bits: &mut BitReader, profile: u8) -> Result<(u8, bool), Malformed> {
    const RGB: u32 = 7;
    const COLLOCATED_420: u8 = 1;
    let odd_profile = profile % 2 == 1;
    if bits.bits(3)? == RGB {
        if odd_profile {
            bits.bit()?;
        }
        return Ok((3, true));
    }
    let full_range = bits.bit()?;
    if !odd_profile {
        return Ok((COLLOCATED_420, full_range));
    }
    let (x, y) = (bits.bit()?, bits.bit()?);
    bits.bit()?;
    Ok((
        if x && y {
            COLLOCATED_420
        } else if x {
            2
        } else {
            3
        },
        full_range,
    ))
}

/// Appends the superframe index: the sizes of the frames before it (VP9 bitstream, annex B).
fn append_superframe_index(data: &mut Vec<u8>, ends: &[usize]) -> Result<(), Malformed> {
    if ends.len() > 8 {
        return Err(Malformed("a VP9 picture has more than eight layers"));
    }
    // Four bytes per size fit every frame.
    let marker = 0b1100_0000 | 3 << 3 | (ends.len() as u8 - 1);
    data.push(marker);
    let mut begin = 0;
    for end in ends {
        data.extend_from_slice(&((end - begin) as u32).to_le_bytes());
        begin = *end;
    }
    data.push(marker);
    Ok(())
}
