//! Delivery rate: the rate at which packets arrive at the receiver.

use super::sent_history::{FeedbackSummary, Micros, micros};
use std::time::Duration;

/// Number of feedback messages kept: 1.5 s at the shortest feedback interval of 50 ms.
const MAX_ENTRIES: usize = 32;
/// Window that averages over video frames.
pub(super) const LONG_WINDOW: Micros = micros(Duration::from_millis(500));
/// Window that reacts to a bandwidth drop, but not to packets delayed by a handover.
pub(super) const SHORT_WINDOW: Micros = micros(Duration::from_millis(250));

#[derive(Clone, Copy, Debug, Default)]
struct Delivery {
    /// Arrival of the last packet, by the receiver's clock.
    until: Micros,
    bytes: f64,
    /// Send time of the last packet, lost ones included.
    sent_until: Micros,
    sent_bytes: f64,
}

#[derive(Debug, Default)]
pub(super) struct DeliveryRate {
    ring: [Delivery; MAX_ENTRIES],
    count: usize,
}

impl DeliveryRate {
    pub(super) fn add(&mut self, summary: &FeedbackSummary) {
        let Some(newest) = summary.newest else { return };
        let reported = summary.arrived_bytes + summary.lost_bytes;
        // Packets without feedback are assumed to have the same loss.
        let unknown =
            summary.unknown_bytes as f64 * summary.arrived_bytes as f64 / reported.max(1) as f64;
        self.ring[self.count % MAX_ENTRIES] = Delivery {
            until: newest.arrived,
            bytes: summary.arrived_bytes as f64 + unknown,
            sent_until: summary.last_sent,
            sent_bytes: (reported + summary.unknown_bytes) as f64,
        };
        self.count += 1;
    }

    /// Delivery rate in bit/s over at least the last `span`; `None` before two messages.
    pub(super) fn rate(&self, span: Micros) -> Option<f64> {
        self.rate_over(span, |delivery| (delivery.until, delivery.bytes))
    }

    /// Send rate in bit/s of packets with feedback, over at least the last `span`.
    pub(super) fn send_rate(&self, span: Micros) -> Option<f64> {
        self.rate_over(span, |delivery| (delivery.sent_until, delivery.sent_bytes))
    }

    fn rate_over(&self, span: Micros, field: impl Fn(Delivery) -> (Micros, f64)) -> Option<f64> {
        let (newest, _) = field(self.nth_newest(0)?);
        let mut sum = 0.0;
        for n in 0..MAX_ENTRIES - 1 {
            let ((_, bytes), Some(before)) = (field(self.nth_newest(n)?), self.nth_newest(n + 1))
            else {
                break;
            };
            sum += bytes;
            let covered = newest - field(before).0;
            if covered >= span {
                return Some(sum * 8e6 / covered as f64);
            }
        }
        // Not enough history: use all of it.
        let (oldest, _) = field(self.nth_newest(self.count.min(MAX_ENTRIES).saturating_sub(1))?);
        let covered = newest - oldest;
        (covered > 0).then(|| sum * 8e6 / covered as f64)
    }

    /// Returns the n-th newest entry.
    fn nth_newest(&self, n: usize) -> Option<Delivery> {
        (n < self.count.min(MAX_ENTRIES)).then(|| self.ring[(self.count - 1 - n) % MAX_ENTRIES])
    }
}
