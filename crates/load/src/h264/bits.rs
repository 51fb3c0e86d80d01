//! Bit writer for H.264.

/// Writes a raw byte sequence payload (H.264 7.2).
#[derive(Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    pub(super) fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self
                .bytes
                .last_mut()
                .expect("a byte was pushed for the first bit");
            *last |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            self.used += 1;
        }
    }

    /// ue(v), H.264 9.1.
    pub(super) fn unsigned(&mut self, value: u32) {
        let length = 32 - (value + 1).leading_zeros();
        self.put(0, length - 1);
        self.put(value + 1, length);
    }

    /// se(v), H.264 9.1.1.
    pub(super) fn signed(&mut self, value: i32) {
        self.unsigned(if value > 0 {
            2 * value as u32 - 1
        } else {
            2 * value.unsigned_abs()
        });
    }

    /// Ends the payload and makes a NAL unit of it, with emulation prevention (H.264 7.4.1).
    pub(super) fn nal(mut self, header: u8) -> Vec<u8> {
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
}
