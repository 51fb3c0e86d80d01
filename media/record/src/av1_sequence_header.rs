//! AV1 sequence header (AV1 §5.5): the fields that `av1C` and the codec string need.

use crate::Malformed;
use crate::bit_reader::BitReader;

/// Fields of a sequence header that describe the stream to a player.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SequenceHeader {
    pub profile: u8,
    /// `seq_level_idx` of operating point 0.
    pub level: u8,
    /// `seq_tier` of operating point 0: true for High.
    pub tier: bool,
    pub high_bitdepth: bool,
    pub twelve_bit: bool,
    pub monochrome: bool,
    pub subsampling_x: bool,
    pub subsampling_y: bool,
    pub chroma_sample_position: u8,
    /// Largest frame size in pixels.
    pub width: u16,
    pub height: u16,
}

impl SequenceHeader {
    /// Parses the payload of a sequence header OBU (AV1 §5.5.1).
    pub(crate) fn parse(payload: &[u8]) -> Result<SequenceHeader, Malformed> {
        let mut bits = BitReader::new(payload);
        let mut sequence = SequenceHeader {
            profile: bits.bits(3)? as u8,
            ..SequenceHeader::default()
        };
        bits.bit()?; // still_picture
        let reduced = bits.bit()?;
        if reduced {
            sequence.level = bits.bits(5)? as u8;
        } else {
            sequence.read_operating_points(&mut bits)?;
        }
        sequence.read_size(&mut bits)?;
        skip_tools(&mut bits, reduced)?;
        sequence.read_color(&mut bits)?;
        Ok(sequence)
    }

    /// Codec string `av01.P.LLT.DD` (AV1 in ISOBMFF §5).
    pub(crate) fn codec_string(&self) -> String {
        let tier = if self.tier { 'H' } else { 'M' };
        format!(
            "av01.{}.{:02}{tier}.{:02}",
            self.profile,
            self.level,
            self.bit_depth()
        )
    }

    fn bit_depth(&self) -> u8 {
        match (self.high_bitdepth, self.twelve_bit) {
            (false, _) => 8,
            (true, false) => 10,
            (true, true) => 12,
        }
    }

    fn read_operating_points(&mut self, bits: &mut BitReader) -> Result<(), Malformed> {
        let mut decoder_model = None;
        if bits.bit()? {
            decoder_model = read_timing(bits)?;
        }
        let display_delay = bits.bit()?;
        for point in 0..=bits.bits(5)? {
            bits.bits(12)?; // operating_point_idc
            let level = bits.bits(5)? as u8;
            let tier = level > 7 && bits.bit()?;
            if point == 0 {
                (self.level, self.tier) = (level, tier);
            }
            if let Some(delay_bits) = decoder_model
                && bits.bit()?
            {
                bits.bits(delay_bits)?;
                bits.bits(delay_bits)?;
                bits.bit()?; // low_delay_mode_flag
            }
            if display_delay && bits.bit()? {
                bits.bits(4)?;
            }
        }
        Ok(())
    }

    fn read_size(&mut self, bits: &mut BitReader) -> Result<(), Malformed> {
        let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
        // Both fields have at most 16 bits; 65536 does not fit into a sample entry.
        let pixels = |minus_one: u32| {
            u16::try_from(minus_one + 1).map_err(|_| Malformed("an AV1 picture is too large"))
        };
        self.width = pixels(bits.bits(width_bits)?)?;
        self.height = pixels(bits.bits(height_bits)?)?;
        Ok(())
    }

    /// Parses `color_config()` (AV1 §5.5.2).
    fn read_color(&mut self, bits: &mut BitReader) -> Result<(), Malformed> {
        self.high_bitdepth = bits.bit()?;
        self.twelve_bit = self.profile == 2 && self.high_bitdepth && bits.bit()?;
        self.monochrome = self.profile != 1 && bits.bit()?;
        let mut description = (2, 2, 2); // unspecified
        if bits.bit()? {
            description = (bits.bits(8)?, bits.bits(8)?, bits.bits(8)?);
        }
        // BT.709 primaries, sRGB transfer and identity matrix together mean 4:4:4 RGB (AV1 §6.4.2).
        let rgb = description == (1, 13, 0);
        if self.monochrome {
            (self.subsampling_x, self.subsampling_y) = (true, true);
            return Ok(());
        }
        if rgb {
            return Ok(());
        }
        bits.bit()?; // color_range
        (self.subsampling_x, self.subsampling_y) = self.read_subsampling(bits)?;
        if self.subsampling_x && self.subsampling_y {
            self.chroma_sample_position = bits.bits(2)? as u8;
        }
        Ok(())
    }

    fn read_subsampling(&self, bits: &mut BitReader) -> Result<(bool, bool), Malformed> {
        match self.profile {
            0 => Ok((true, true)),
            1 => Ok((false, false)),
            _ if !self.twelve_bit => Ok((true, false)),
            _ => {
                let x = bits.bit()?;
                Ok((x, x && bits.bit()?))
            }
        }
    }
}

/// Parses `timing_info()` and `decoder_model_info()` (AV1 §5.5.3, §5.5.4). Returns the length of
/// the delay fields in bits if there is a decoder model.
fn read_timing(bits: &mut BitReader) -> Result<Option<u32>, Malformed> {
    bits.bits(32)?;
    bits.bits(32)?;
    if bits.bit()? {
        bits.exp_golomb()?;
    }
    if !bits.bit()? {
        return Ok(None);
    }
    let delay_bits = bits.bits(5)? + 1;
    bits.bits(32)?;
    bits.bits(10)?;
    Ok(Some(delay_bits))
}

/// Skips the coding tools between the frame size and `color_config()` (AV1 §5.5.1).
fn skip_tools(bits: &mut BitReader, reduced: bool) -> Result<(), Malformed> {
    if !reduced && bits.bit()? {
        bits.bits(7)?; // frame id lengths
    }
    bits.bits(3)?; // superblock size, filter intra, intra edge
    if !reduced {
        bits.bits(4)?; // interintra, masked, warped, dual filter
        let order_hint = bits.bit()?;
        if order_hint {
            bits.bits(2)?;
        }
        // seq_choose_screen_content_tools = 1 means SELECT and is followed by no further bit.
        let screen_content = bits.bit()? || bits.bit()?;
        if screen_content && !bits.bit()? {
            bits.bit()?;
        }
        if order_hint {
            bits.bits(3)?;
        }
    }
    bits.bits(3)?; // superres, cdef, restoration
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_header_of_libaom_is_parsed() {
        // 192x108, Main profile, 8 bit 4:2:0 (`libaom -usage realtime`).
        let payload = [0x00, 0x00, 0x00, 0x03, 0xb5, 0xfe, 0xb3, 0x6b, 0xe4, 0x01];
        let sequence = SequenceHeader::parse(&payload).unwrap();
        assert_eq!(
            (sequence.width, sequence.height, sequence.profile),
            (192, 108, 0)
        );
        assert!(sequence.subsampling_x && sequence.subsampling_y && !sequence.high_bitdepth);
        assert_eq!(sequence.codec_string(), "av01.0.00M.08");
    }

    #[test]
    fn a_truncated_sequence_header_is_an_error() {
        assert!(SequenceHeader::parse(&[0x00, 0x00, 0x00, 0x02]).is_err());
        assert!(SequenceHeader::parse(&[]).is_err());
    }
}
