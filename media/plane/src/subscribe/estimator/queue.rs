//! How much is queued on the way, from one-way delays.
//!
//! The clocks of the two ends differ by an unknown constant, so only differences count: the shortest delay of the last seconds was a packet
//! that met an empty queue, and what the luckiest packet of the last moments waited beyond that is standing queue. Taking the luckiest
//! makes this deaf to jitter, which delays some packets, where a trend over all of them (draft-ietf-rmcat-gcc-02 §5) has to be smoothed.

use super::history::{Arrival, Micros, micros};
use std::time::Duration;

/// The shortest delay is remembered for 10 to 20 s: clocks drift apart by a few hundred microseconds in that time, and a new route counts
/// as such soon enough.
const BASE_SPAN: Micros = micros(Duration::from_secs(10));
/// Below this nothing is a queue: timers and radio scheduling delay this much.
const MIN_THRESHOLD: Micros = micros(Duration::from_millis(25));
/// Above this anything is: voices begin to collide in conversation.
const MAX_THRESHOLD: Micros = micros(Duration::from_millis(150));
/// A packet of this size may be in front of the one that is measured.
const MTU_BITS: f64 = 1250.0 * 8.0;

/// The luckiest packet is looked for among those of this long: two frames of video, three packets of sound.
const MOMENT: Micros = micros(Duration::from_millis(70));
/// Packets of a moment that are looked at: more than 16 Mbit/s bring.
const MOMENT_PACKETS: usize = 128;

#[derive(Debug)]
pub(super) struct Queue {
    /// Shortest delays of this span and of the one before.
    base: [Micros; 2],
    span_began: Micros,
    /// The last packets, as (arrived, delay); a ring.
    packets: [(Micros, Micros); MOMENT_PACKETS],
    count: usize,
    /// Shortest delay of the last moment, as of the last feedback message and of the one before.
    standing: [Micros; 2],
    /// Mean change of the standing delay from message to message while there is no queue.
    noise: f64,
}

/// No delay measured yet: loses every comparison.
const NONE: Micros = Micros::MAX;

impl Queue {
    pub(super) fn new() -> Queue {
        Queue {
            base: [NONE; 2],
            span_began: 0,
            packets: [(0, NONE); MOMENT_PACKETS],
            count: 0,
            standing: [NONE; 2],
            noise: 0.0,
        }
    }

    /// Every packet that arrived.
    pub(super) fn packet(&mut self, arrival: Arrival) {
        let delay = arrival.arrived - arrival.sent;
        self.packets[self.count % MOMENT_PACKETS] = (arrival.arrived, delay);
        self.count += 1;
        self.base[0] = self.base[0].min(delay);
    }

    /// The end of a feedback message in which something arrived. `rate` is what gets through, in bit/s.
    pub(super) fn end_of_batch(&mut self, now: Micros, rate: f64) {
        if now - self.span_began >= BASE_SPAN {
            (self.base, self.span_began) = ([NONE, self.base[0]], now);
        }
        let shortest = self.shortest_of_moment();
        self.standing = [shortest, self.standing[0]];
        if self.standing[1] != NONE && self.delay() < self.threshold(rate) {
            self.noise += ((self.standing[0] - self.standing[1]).abs() as f64 - self.noise) / 16.0;
        }
    }

    /// The shortest delay among the packets that came in the last moment. From the newest back, and no further than needed: the memory of a
    /// line is cold when its feedback comes.
    fn shortest_of_moment(&self) -> Micros {
        let known = self.count.min(MOMENT_PACKETS);
        let back = |n: usize| self.packets[(self.count - 1 - n) % MOMENT_PACKETS];
        let (mut newest, mut looked) = (Micros::MIN, 0);
        while looked < known {
            let (arrived, _) = back(looked);
            // Packets that overtook each other did so by less than a moment.
            if arrived < newest.saturating_sub(2 * MOMENT) {
                break;
            }
            newest = newest.max(arrived);
            looked += 1;
        }
        let moment = (0..looked)
            .map(back)
            .filter(|(arrived, _)| newest - arrived <= MOMENT);
        moment.map(|(_, delay)| delay).min().unwrap_or(NONE)
    }

    /// The standing queue, in microseconds.
    pub(super) fn delay(&self) -> Micros {
        let base = self.base[0].min(self.base[1]);
        if base == NONE || self.standing[0] == NONE {
            0
        } else {
            (self.standing[0] - base).max(0)
        }
    }

    /// By how much the queue is longer than a message ago, in microseconds; negative when it shrinks.
    pub(super) fn change(&self) -> Micros {
        if self.standing[1] == NONE {
            0
        } else {
            self.standing[0] - self.standing[1]
        }
    }

    /// What counts as a queue on this line: more where delays are unsteady, and where one packet alone takes long to send.
    pub(super) fn threshold(&self, rate: f64) -> Micros {
        let packet = MTU_BITS / rate.max(1.0) * 1e6;
        (MIN_THRESHOLD + (4.0 * self.noise + packet) as Micros).min(MAX_THRESHOLD)
    }

    /// Takes the delay of now for that of an empty queue: it is not our packets that wait, or the route is a longer one.
    pub(super) fn rebase(&mut self) {
        self.base = [self.standing[0], NONE];
    }
}
