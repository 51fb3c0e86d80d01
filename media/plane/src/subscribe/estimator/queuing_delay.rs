//! Queuing delay, from one-way delays.
//!
//! The clocks of sender and receiver differ by an unknown constant, so only differences count. The
//! shortest delay of the last seconds is the base delay of an empty queue. The shortest delay of
//! the last few packets minus the base delay is the standing queue. Unlike a delay gradient over
//! all packets (draft-ietf-rmcat-gcc-02 §5), the minimum needs no smoothing against jitter, which
//! delays single packets.

use super::sent_history::{Arrival, Micros, micros};
use std::time::Duration;

/// The base delay is kept for 10 to 20 s: clock drift in that time is a few hundred microseconds,
/// and a longer route becomes the base soon enough.
const BASE_SPAN: Micros = micros(Duration::from_secs(10));
/// Minimum threshold: timers and radio scheduling cause this delay.
const MIN_THRESHOLD: Micros = micros(Duration::from_millis(25));
/// Maximum threshold: conversations suffer beyond it.
const MAX_THRESHOLD: Micros = micros(Duration::from_millis(150));
/// One packet of this size can delay the measured one.
const MTU_BITS: f64 = 1250.0 * 8.0;

/// Window of the minimum: two video frames, three audio packets.
const WINDOW: Micros = micros(Duration::from_millis(70));
/// Maximum number of packets in the window; enough for 16 Mbit/s.
const WINDOW_PACKETS: usize = 128;

#[derive(Debug)]
pub(super) struct QueuingDelay {
    /// Shortest delay of the current and the previous span.
    base: [Micros; 2],
    span_start: Micros,
    /// Last packets as (arrival, delay); a ring.
    packets: [(Micros, Micros); WINDOW_PACKETS],
    count: usize,
    /// Shortest delay in the window, as of the last two feedback messages.
    standing: [Micros; 2],
    /// Mean change of the standing delay between messages while there is no queue.
    noise: f64,
}

/// No delay measured yet; greater than any delay.
const UNKNOWN: Micros = Micros::MAX;

impl QueuingDelay {
    pub(super) fn new() -> QueuingDelay {
        QueuingDelay {
            base: [UNKNOWN; 2],
            span_start: 0,
            packets: [(0, UNKNOWN); WINDOW_PACKETS],
            count: 0,
            standing: [UNKNOWN; 2],
            noise: 0.0,
        }
    }

    /// Records a received packet.
    pub(super) fn record(&mut self, arrival: Arrival) {
        let delay = arrival.arrived - arrival.sent;
        self.packets[self.count % WINDOW_PACKETS] = (arrival.arrived, delay);
        self.count += 1;
        self.base[0] = self.base[0].min(delay);
    }

    /// Ends a feedback message with at least one received packet. `rate` is the delivery rate in
    /// bit/s.
    pub(super) fn end_of_feedback(&mut self, now: Micros, rate: f64) {
        if now - self.span_start >= BASE_SPAN {
            (self.base, self.span_start) = ([UNKNOWN, self.base[0]], now);
        }
        let shortest = self.shortest_in_window();
        self.standing = [shortest, self.standing[0]];
        if self.standing[1] != UNKNOWN && self.delay() < self.threshold(rate) {
            self.noise += ((self.standing[0] - self.standing[1]).abs() as f64 - self.noise) / 16.0;
        }
    }

    /// Shortest delay in the window. The search goes back from the newest packet and stops early,
    /// because these lines are not in the cache when feedback arrives.
    fn shortest_in_window(&self) -> Micros {
        let recorded = self.count.min(WINDOW_PACKETS);
        let nth_newest = |n: usize| self.packets[(self.count - 1 - n) % WINDOW_PACKETS];
        let (mut newest, mut examined) = (Micros::MIN, 0);
        while examined < recorded {
            let (arrived, _) = nth_newest(examined);
            // Reordering is shorter than a window.
            if arrived < newest.saturating_sub(2 * WINDOW) {
                break;
            }
            newest = newest.max(arrived);
            examined += 1;
        }
        let window = (0..examined)
            .map(nth_newest)
            .filter(|(arrived, _)| newest - arrived <= WINDOW);
        window.map(|(_, delay)| delay).min().unwrap_or(UNKNOWN)
    }

    /// Standing queuing delay in µs.
    pub(super) fn delay(&self) -> Micros {
        let base = self.base[0].min(self.base[1]);
        if base == UNKNOWN || self.standing[0] == UNKNOWN {
            0
        } else {
            (self.standing[0] - base).max(0)
        }
    }

    /// Change of the queuing delay since the previous message in µs; negative if the queue shrinks.
    pub(super) fn change(&self) -> Micros {
        if self.standing[1] == UNKNOWN {
            0
        } else {
            self.standing[0] - self.standing[1]
        }
    }

    /// Delay in µs above which there is a queue: higher on links with jitter and on slow links,
    /// where one packet takes long.
    pub(super) fn threshold(&self, rate: f64) -> Micros {
        let packet = MTU_BITS / rate.max(1.0) * 1e6;
        (MIN_THRESHOLD + (4.0 * self.noise + packet) as Micros).min(MAX_THRESHOLD)
    }

    /// Takes the current delay as the base delay: cross traffic fills the queue, or the route is
    /// longer.
    pub(super) fn reset_base(&mut self) {
        self.base = [self.standing[0], UNKNOWN];
    }
}
