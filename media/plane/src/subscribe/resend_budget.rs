//! Bandwidth limit of retransmissions; without it, a congested link loses new packets to repeated
//! ones.

use std::time::{Duration, Instant};

use crate::units::Bitrate;

/// Share of the estimate for retransmissions: at 20 % loss two rounds need 24 %; half leaves a
/// margin and still ends NACK storms.
const ESTIMATE_SHARE: f64 = 0.5;

/// Minimum rate, so that audio and one small keyframe can always be repaired.
const MIN_RATE: Bitrate = Bitrate::kbps(64);

/// Burst capacity: a burst of losses is repaired at once.
const BURST_CAPACITY: Duration = Duration::from_millis(500);

/// Token bucket of bytes.
#[derive(Debug, Default)]
pub struct TokenBucket {
    bytes: i64,
    refilled_at: Option<Instant>,
}

impl TokenBucket {
    /// Returns true if tokens are left, at `rate` and with a capacity of `capacity` at that rate.
    pub fn has_tokens(&mut self, now: Instant, rate: Bitrate, capacity: Duration) -> bool {
        let since = self.refilled_at.map_or(capacity, |refilled_at| {
            now.saturating_duration_since(refilled_at)
        });
        self.bytes = (self.bytes + rate.bytes_in(since.min(capacity)) as i64)
            .min(rate.bytes_in(capacity) as i64);
        self.refilled_at = Some(now);
        self.bytes > 0
    }

    /// Consumes the tokens of a sent packet.
    pub fn consume(&mut self, bytes: usize) {
        self.bytes -= bytes as i64;
    }
}

/// Retransmission budget of one subscriber.
#[derive(Debug, Default)]
pub struct ResendBudget(TokenBucket);

impl ResendBudget {
    /// Returns true if a packet can be retransmitted now.
    pub fn has_tokens(&mut self, now: Instant, estimate: Bitrate) -> bool {
        self.0.has_tokens(
            now,
            estimate.scale(ESTIMATE_SHARE).max(MIN_RATE),
            BURST_CAPACITY,
        )
    }

    /// Consumes the tokens of a sent packet.
    pub fn consume(&mut self, bytes: usize) {
        self.0.consume(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    #[test]
    fn a_nack_storm_uses_at_most_half_of_the_bandwidth() {
        let (mut budget, start, mut sent) = (ResendBudget::default(), virtual_time::start(), 0);
        for ms in 0..4_000 {
            if budget.has_tokens(start + Duration::from_millis(ms), Bitrate::kbps(800)) {
                budget.consume(1_200);
                sent += 1_200;
            }
        }
        // Half of 800 kbit/s over 4 s, and the initial capacity.
        assert!((200_000..=230_000).contains(&sent), "{sent} bytes");
    }
}
