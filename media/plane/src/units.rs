//! Sequence numbers and bitrates. Wrap-around arithmetic of sequence numbers is confined to this
//! module.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// An RTP sequence number extended by its rollovers, so that `<` is the order of sending.
///
/// The low 16 bits are the sequence number on the wire (RFC 3550 §5.1), the rest is the rollover
/// counter (RFC 3711 §3.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// Extends a wire sequence number to the candidate nearest to `self`.
    ///
    /// Numbers before the first rollover clamp to rollover zero: a stream has no packets before its
    /// start.
    pub fn nearest(self, wire: u16) -> SeqNo {
        let delta = wire.wrapping_sub(self.0 as u16) as i16;
        match self.0.checked_add_signed(i64::from(delta)) {
            Some(extended) => SeqNo(extended),
            None => SeqNo(u64::from(wire)),
        }
    }

    /// Returns the 16 bits of the RTP header.
    pub fn wire(self) -> u16 {
        self.0 as u16
    }

    /// Returns the rollover counter, which is part of the SRTP nonce (RFC 3711 §3.3.1).
    pub fn rollover(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// Returns the next number.
    pub fn next(self) -> SeqNo {
        SeqNo(self.0 + 1)
    }
}

impl Add<u64> for SeqNo {
    type Output = SeqNo;
    fn add(self, n: u64) -> SeqNo {
        SeqNo(self.0 + n)
    }
}

impl Sub for SeqNo {
    type Output = u64;
    /// Returns the distance from an earlier number; zero if `earlier` is in fact later.
    fn sub(self, earlier: SeqNo) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A data rate, in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Zero.
    pub const ZERO: Bitrate = Bitrate(0);

    /// Makes a rate from bits per second.
    pub const fn bps(bits_per_second: u64) -> Bitrate {
        Bitrate(bits_per_second)
    }

    /// Makes a rate from kilobits per second.
    pub const fn kbps(kilobits_per_second: u64) -> Bitrate {
        Bitrate(kilobits_per_second * 1000)
    }

    /// Returns the rate in bits per second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }

    /// Returns the rate in kilobits per second, rounded down.
    pub const fn as_kbps(self) -> u64 {
        self.0 / 1000
    }

    /// Returns the rate of `bytes` within `span`; zero for an empty span.
    pub fn over(bytes: u64, span: Duration) -> Bitrate {
        let micros = span.as_micros() as u64;
        Bitrate((bytes * 8 * 1_000_000).checked_div(micros).unwrap_or(0))
    }

    /// Returns the number of bytes within `span` at this rate.
    pub fn bytes_in(self, span: Duration) -> u64 {
        (self.0 as u128 * span.as_micros() / 8_000_000) as u64
    }

    /// Subtracts; zero if `other` is larger.
    pub fn saturating_sub(self, other: Bitrate) -> Bitrate {
        Bitrate(self.0.saturating_sub(other.0))
    }

    /// Multiplies by a factor; a negative one counts as zero.
    pub fn scale(self, factor: f64) -> Bitrate {
        Bitrate((self.0 as f64 * factor.max(0.0)) as u64)
    }
}

impl Add for Bitrate {
    type Output = Bitrate;
    fn add(self, other: Bitrate) -> Bitrate {
        Bitrate(self.0 + other.0)
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kbit/s", self.as_kbps())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_keeps_its_order_across_the_rollover() {
        let last = SeqNo(65_534);
        assert_eq!(last.nearest(65_535), SeqNo(65_535));
        assert_eq!(last.nearest(3), SeqNo(65_539));
        assert_eq!(SeqNo(65_539).nearest(65_530), SeqNo(65_530));
        assert_eq!(SeqNo(65_539).rollover(), 1);
        assert_eq!(SeqNo(65_539).wire(), 3);
    }

    #[test]
    fn a_number_before_the_start_of_a_stream_stays_in_rollover_zero() {
        assert_eq!(SeqNo(2).nearest(65_535), SeqNo(65_535));
    }

    #[test]
    fn a_bitrate_converts_from_and_to_bytes() {
        assert_eq!(
            Bitrate::over(125_000, Duration::from_secs(1)),
            Bitrate::kbps(1000)
        );
        assert_eq!(Bitrate::kbps(1000).bytes_in(Duration::from_millis(8)), 1000);
        assert_eq!(Bitrate::over(1, Duration::ZERO), Bitrate::ZERO);
    }
}
