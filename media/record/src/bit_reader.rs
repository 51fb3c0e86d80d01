//! Bit reader: fixed-length and Exp-Golomb fields of H264, LEB128 and uvlc fields of AV1.

use crate::Malformed;

const SHORT: Malformed = Malformed("a header ends too early");

/// Reader of a header, most significant bit first; a read past the end is an error.
pub(crate) struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> BitReader<'a> {
        BitReader { data, position: 0 }
    }

    /// Reads one bit.
    pub(crate) fn bit(&mut self) -> Result<bool, Malformed> {
        let byte = *self.data.get(self.position / 8).ok_or(SHORT)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Ok(bit == 1)
    }

    /// Reads an unsigned field of `count` ≤ 32 bits.
    pub(crate) fn bits(&mut self, count: u32) -> Result<u32, Malformed> {
        let mut value = 0u32;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Ok(value)
    }

    /// Reads an unsigned Exp-Golomb field, ue(v) (H.264 §9.1); also uvlc() of AV1 (§4.10.3).
    pub(crate) fn exp_golomb(&mut self) -> Result<u32, Malformed> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return Err(Malformed("an Exp-Golomb code is longer than 32 bits"));
            }
        }
        Ok((1u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// Reads a signed Exp-Golomb field, se(v) (H.264 §9.1.1).
    pub(crate) fn signed_exp_golomb(&mut self) -> Result<i32, Malformed> {
        let code = i64::from(self.exp_golomb()?);
        Ok(if code % 2 == 1 {
            (code + 1) / 2
        } else {
            -(code / 2)
        } as i32)
    }
}

/// Splits a LEB128 number off the front (AV1 §4.10.5). Returns the number and the remaining bytes.
pub(crate) fn leb128(data: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let mut value = 0u64;
    for (i, byte) in data.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let value =
                u32::try_from(value).map_err(|_| Malformed("an OBU size exceeds 32 bits"))?;
            return Ok((value as usize, &data[i + 1..]));
        }
    }
    Err(Malformed("an OBU size has no end"))
}

/// Appends a LEB128 number.
pub(crate) fn put_leb128(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_match_the_table_of_the_standard() {
        // 1 | 010 | 011 | 00100 | 00101
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let read: Vec<u32> = (0..5).map(|_| bits.exp_golomb().unwrap()).collect();
        assert_eq!(read, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_read_past_the_end_is_an_error() {
        assert!(BitReader::new(&[0]).exp_golomb().is_err());
        assert!(BitReader::new(&[0xff]).bits(9).is_err());
    }

    #[test]
    fn leb128_survives_a_round_trip() {
        for value in [0, 1, 127, 128, 300, 16_384, 5_000_000] {
            let mut out = Vec::new();
            put_leb128(value, &mut out);
            out.push(9);
            assert_eq!(leb128(&out), Ok((value, &[9u8][..])));
        }
    }
}
