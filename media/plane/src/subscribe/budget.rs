//! How much of a line retransmissions may take: a line that is full of repeats loses the new packets too.

use std::time::{Duration, Instant};

use crate::units::Bitrate;

/// Retransmissions may use this part of the estimate: at 20 % loss two rounds of repair need 24 %; half leaves room and still ends storms.
const SHARE: f64 = 0.5;

/// Never less than this, so that voice and one small keyframe can always be repaired.
const FLOOR: Bitrate = Bitrate::kbps(64);

/// What may be saved up: a burst of losses is repaired at once.
const SAVED: Duration = Duration::from_millis(500);

/// A bucket of bytes that fills with time.
#[derive(Debug, Default)]
pub struct Bucket {
    bytes: i64,
    filled: Option<Instant>,
}

impl Bucket {
    /// Whether something may be sent now, at `rate` and with no more than what comes in `saved` put aside.
    pub fn has_any(&mut self, now: Instant, rate: Bitrate, saved: Duration) -> bool {
        let since = self
            .filled
            .map_or(saved, |filled| now.saturating_duration_since(filled));
        self.bytes =
            (self.bytes + rate.bytes_in(since.min(saved)) as i64).min(rate.bytes_in(saved) as i64);
        self.filled = Some(now);
        self.bytes > 0
    }

    /// Counts what was sent.
    pub fn spend(&mut self, bytes: usize) {
        self.bytes -= bytes as i64;
    }
}

/// The retransmissions of one subscriber.
#[derive(Debug, Default)]
pub struct ResendBudget(Bucket);

impl ResendBudget {
    /// Whether another packet may be sent again now.
    pub fn take(&mut self, now: Instant, estimate: Bitrate) -> bool {
        self.0.has_any(now, estimate.scale(SHARE).max(FLOOR), SAVED)
    }

    /// Counts what was sent.
    pub fn spend(&mut self, bytes: usize) {
        self.0.spend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    #[test]
    fn a_storm_of_nacks_takes_half_of_the_line_and_no_more() {
        let (mut budget, start, mut sent) = (ResendBudget::default(), virtual_time::start(), 0);
        for ms in 0..4_000 {
            if budget.take(start + Duration::from_millis(ms), Bitrate::kbps(800)) {
                budget.spend(1_200);
                sent += 1_200;
            }
        }
        // Half of 800 kbit/s over 4 s, and what had been saved up at the start.
        assert!((200_000..=230_000).contains(&sent), "{sent} bytes");
    }
}
