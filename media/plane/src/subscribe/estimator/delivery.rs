//! The rate at which packets get through.

use super::history::{Batch, Micros, micros};
use std::time::Duration;

/// Feedback messages that are remembered: at the 50 ms of the busiest receivers, one and a half seconds.
const BATCHES: usize = 32;
/// Long enough to even out the frames of a video.
pub(super) const LONG: Micros = micros(Duration::from_millis(500));
/// Short enough to see a line narrow, and not mistaken much by packets that a handover holds up for a moment.
pub(super) const SHORT: Micros = micros(Duration::from_millis(250));

#[derive(Clone, Copy, Debug, Default)]
struct Delivered {
    /// When the last of these bytes arrived, by the peer's clock.
    until: Micros,
    bytes: f64,
    /// When the last of these, lost ones among them, were sent.
    sent_until: Micros,
    sent_bytes: f64,
}

#[derive(Debug, Default)]
pub(super) struct Delivery {
    ring: [Delivered; BATCHES],
    count: usize,
}

impl Delivery {
    pub(super) fn add(&mut self, batch: &Batch) {
        let Some(newest) = batch.newest else { return };
        let known = batch.arrived_bytes + batch.lost_bytes;
        // Packets of which no feedback speaks fared like the others.
        let unknown = batch.unknown_bytes as f64 * batch.arrived_bytes as f64 / known.max(1) as f64;
        self.ring[self.count % BATCHES] = Delivered {
            until: newest.arrived,
            bytes: batch.arrived_bytes as f64 + unknown,
            sent_until: batch.last_sent,
            sent_bytes: (known + batch.unknown_bytes) as f64,
        };
        self.count += 1;
    }

    /// Bits per second that arrived over the last `span`, or somewhat more; `None` before two messages came.
    pub(super) fn rate(&self, span: Micros) -> Option<f64> {
        self.over(span, |batch| (batch.until, batch.bytes))
    }

    /// Bits per second at which what feedback has spoken of was sent, over the last `span`, or somewhat more.
    pub(super) fn offered(&self, span: Micros) -> Option<f64> {
        self.over(span, |batch| (batch.sent_until, batch.sent_bytes))
    }

    fn over(&self, span: Micros, what: impl Fn(Delivered) -> (Micros, f64)) -> Option<f64> {
        let (newest, _) = what(self.back(0)?);
        let mut sum = 0.0;
        for n in 0..BATCHES - 1 {
            let ((_, bytes), Some(before)) = (what(self.back(n)?), self.back(n + 1)) else {
                break;
            };
            sum += bytes;
            let covered = newest - what(before).0;
            if covered >= span {
                return Some(sum * 8e6 / covered as f64);
            }
        }
        // Not that much history yet: what there is, when it is anything.
        let (oldest, _) = what(self.back(self.count.min(BATCHES).saturating_sub(1))?);
        let covered = newest - oldest;
        (covered > 0).then(|| sum * 8e6 / covered as f64)
    }

    /// The n-th newest.
    fn back(&self, n: usize) -> Option<Delivered> {
        (n < self.count.min(BATCHES)).then(|| self.ring[(self.count - 1 - n) % BATCHES])
    }
}
