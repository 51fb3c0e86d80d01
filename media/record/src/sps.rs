//! H264 sequence parameter set (H.264 §7.3.2.1): the fields that an init segment needs.

use crate::Malformed;
use crate::bit_reader::BitReader;

/// Fields of an SPS that describe the coded video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sps {
    pub profile: u8,
    pub constraints: u8,
    pub level: u8,
    /// Visible size in pixels, cropping applied.
    pub width: u16,
    pub height: u16,
    pub chroma_format: u8,
    pub bit_depth_luma: u8,
    pub bit_depth_chroma: u8,
}

impl Sps {
    /// Parses an SPS NAL unit, header byte included (H.264 §7.3.2.1.1).
    pub(crate) fn parse(nal: &[u8]) -> Result<Sps, Malformed> {
        let rbsp = unescape(nal.get(1..).unwrap_or_default());
        let mut bits = BitReader::new(&rbsp);
        let mut sps = Sps::read_profile(&mut bits)?;
        bits.exp_golomb()?; // seq_parameter_set_id
        let mut separate_planes = false;
        if sps.is_high() {
            separate_planes = sps.read_high(&mut bits)?;
        }
        skip_picture_order(&mut bits)?;
        sps.read_size(&mut bits, separate_planes)?;
        Ok(sps)
    }

    /// Returns true for the profiles that carry chroma format, bit depths and scaling matrices
    /// (High and above).
    pub(crate) fn is_high(&self) -> bool {
        matches!(
            self.profile,
            100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
        )
    }

    fn read_profile(bits: &mut BitReader) -> Result<Sps, Malformed> {
        let (profile, constraints, level) = (
            bits.bits(8)? as u8,
            bits.bits(8)? as u8,
            bits.bits(8)? as u8,
        );
        let (width, height) = (0, 0);
        Ok(Sps {
            profile,
            constraints,
            level,
            width,
            height,
            chroma_format: 1,
            bit_depth_luma: 8,
            bit_depth_chroma: 8,
        })
    }

    /// Reads the fields of the High profiles; returns `separate_colour_plane_flag`.
    fn read_high(&mut self, bits: &mut BitReader) -> Result<bool, Malformed> {
        self.chroma_format = bounded(bits.exp_golomb()?, 3)?;
        let separate_planes = self.chroma_format == 3 && bits.bit()?;
        self.bit_depth_luma = 8 + bounded(bits.exp_golomb()?, 6)?;
        self.bit_depth_chroma = 8 + bounded(bits.exp_golomb()?, 6)?;
        bits.bit()?; // qpprime_y_zero_transform_bypass_flag
        if bits.bit()? {
            let lists = if self.chroma_format == 3 { 12 } else { 8 };
            for list in 0..lists {
                if bits.bit()? {
                    skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        Ok(separate_planes)
    }

    fn read_size(&mut self, bits: &mut BitReader, separate_planes: bool) -> Result<(), Malformed> {
        bits.exp_golomb()?; // max_num_ref_frames
        bits.bit()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = u64::from(bits.exp_golomb()?) + 1;
        let height_units = u64::from(bits.exp_golomb()?) + 1;
        let frame_mbs_only = bits.bit()?;
        if !frame_mbs_only {
            bits.bit()?; // mb_adaptive_frame_field_flag
        }
        bits.bit()?; // direct_8x8_inference_flag
        let fields = if frame_mbs_only { 1 } else { 2 };
        let (crop_x, crop_y) = self.read_cropping(bits, separate_planes, fields)?;
        self.width = visible_size(width_mbs * 16, crop_x)?;
        self.height = visible_size(height_units * 16 * fields, crop_y)?;
        Ok(())
    }

    /// Reads the cropped pixels in both directions (H.264 §7.4.2.1.1, CropUnitX and CropUnitY).
    fn read_cropping(
        &self,
        bits: &mut BitReader,
        separate_planes: bool,
        fields: u64,
    ) -> Result<(u64, u64), Malformed> {
        if !bits.bit()? {
            return Ok((0, 0));
        }
        let (unit_x, unit_y) = match self.chroma_format {
            1 if !separate_planes => (2, 2),
            2 if !separate_planes => (2, 1),
            _ => (1, 1),
        };
        let mut side = || bits.exp_golomb().map(u64::from);
        let (left, right, top, bottom) = (side()?, side()?, side()?, side()?);
        Ok(((left + right) * unit_x, (top + bottom) * unit_y * fields))
    }
}

fn skip_picture_order(bits: &mut BitReader) -> Result<(), Malformed> {
    bits.exp_golomb()?; // log2_max_frame_num_minus4
    match bits.exp_golomb()? {
        0 => {
            bits.exp_golomb()?;
        }
        1 => {
            bits.bit()?;
            bits.signed_exp_golomb()?;
            bits.signed_exp_golomb()?;
            // H.264 §7.4.2.1.1: num_ref_frames_in_pic_order_cnt_cycle is at most 255.
            for _ in 0..bounded(bits.exp_golomb()?, 255)? {
                bits.signed_exp_golomb()?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Skips `scaling_list()` (H.264 §7.3.2.1.1.1).
fn skip_scaling_list(bits: &mut BitReader, size: usize) -> Result<(), Malformed> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = last.wrapping_add(bits.signed_exp_golomb()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

fn bounded(value: u32, limit: u8) -> Result<u8, Malformed> {
    u8::try_from(value)
        .ok()
        .filter(|v| *v <= limit)
        .ok_or(Malformed("an SPS field is out of range"))
}

fn visible_size(coded: u64, cropped: u64) -> Result<u16, Malformed> {
    let size = coded
        .checked_sub(cropped)
        .filter(|size| *size > 0)
        .ok_or(Malformed("an SPS crops everything"))?;
    u16::try_from(size).map_err(|_| Malformed("an SPS announces a picture beyond 65535 pixels"))
}

/// Removes the emulation prevention bytes: 00 00 03 stands for 00 00 (H.264 §7.4.1).
fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for byte in nal {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x264, High, 192x108: seven macroblock rows, of which four pixel rows are cropped.
    const HIGH: &str = "6764000aacd9430ffbc044000003000400000300783c489658";

    #[test]
    fn the_parsed_size_excludes_cropping() {
        let sps = Sps::parse(&hex(HIGH)).unwrap();
        assert_eq!(
            (sps.width, sps.height, sps.profile, sps.level),
            (192, 108, 100, 10)
        );
        let baseline = Sps::parse(&hex("6742d00bda0c3fef0110000003001000000301e0f1226a")).unwrap();
        assert_eq!(
            (baseline.width, baseline.height, baseline.profile),
            (192, 108, 66)
        );
    }

    #[test]
    fn an_sps_truncated_before_its_size_is_an_error() {
        let nal = hex(HIGH);
        for length in 0..8 {
            assert!(Sps::parse(&nal[..length]).is_err(), "{length}");
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .bytes()
            .filter_map(|b| (b as char).to_digit(16).map(|d| d as u8))
            .collect();
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }
}
