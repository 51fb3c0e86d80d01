//! Packets back in the order of sending. A hole is waited for — the publisher may repeat the packet — and then given up.

use std::collections::BTreeMap;

use crate::Duration;
use crate::payload::Ordered;

/// How long a missing packet may still come: several rounds of NACK and RTX on a rural line (RTT 200–300 ms).
pub(crate) const HOLE_WAIT: Duration = Duration::from_secs(1);

/// A second of 20 Mb/s in full-sized packets; beyond it the hole is given up at once, so that memory stays bounded.
const HELD_LIMIT: usize = 2048;

/// What follows in order.
pub(crate) enum Next {
    Packet(Held),
    /// This many packets are missing and will not be waited for any longer.
    Lost(u64),
}

/// A packet kept until its turn.
pub(crate) struct Held {
    rtp_time: u32,
    marker: bool,
    arrival: Duration,
    payload: Vec<u8>,
}

impl Held {
    pub(crate) fn as_ordered(&self) -> Ordered<'_> {
        Ordered {
            rtp_time: self.rtp_time,
            marker: self.marker,
            arrival: self.arrival,
            payload: &self.payload,
        }
    }
}

/// Whether a packet may be used at once.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// It is the next one: the caller uses it without a copy.
    InOrder,
    /// It was copied, and waits for an earlier one.
    Ahead,
    /// It came twice, or after it was given up.
    Late,
}

#[derive(Default)]
pub(crate) struct Reorder {
    next: Option<u64>,
    held: BTreeMap<u64, Held>,
    /// Arrival of the packet that showed the hole before the first held packet.
    hole_since: Duration,
}

impl Reorder {
    pub(crate) fn place(&mut self, seq: u64, packet: Ordered) -> Place {
        let next = *self.next.get_or_insert(seq);
        if seq < next || self.held.contains_key(&seq) {
            return Place::Late;
        }
        if seq == next {
            self.next = Some(seq + 1);
            return Place::InOrder;
        }
        if self.held.is_empty() {
            self.hole_since = packet.arrival;
        }
        let Ordered {
            rtp_time,
            marker,
            arrival,
            payload,
        } = packet;
        self.held.insert(
            seq,
            Held {
                rtp_time,
                marker,
                arrival,
                payload: payload.to_vec(),
            },
        );
        Place::Ahead
    }

    /// The next held packet whose turn has come, or the hole that has been waited for long enough.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Next> {
        let (first, next) = (*self.held.keys().next()?, self.next?);
        if first == next {
            let held = self.held.remove(&first)?;
            self.next = Some(next + 1);
            // Whatever waits now waits for another hole, which showed itself no earlier than this.
            self.hole_since = self.hole_since.max(held.arrival);
            return Some(Next::Packet(held));
        }
        if now.saturating_sub(self.hole_since) < HOLE_WAIT && self.held.len() < HELD_LIMIT {
            return None;
        }
        self.next = Some(first);
        Some(Next::Lost(first - next))
    }

    /// Nothing more will come: every hole is final.
    pub(crate) fn pop_final(&mut self) -> Option<Next> {
        self.pop(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn packet(arrival: u64) -> Ordered<'static> {
        Ordered {
            rtp_time: 0,
            marker: false,
            arrival: ms(arrival),
            payload: &[1],
        }
    }

    #[test]
    fn a_repeated_packet_that_comes_in_time_fills_its_hole() {
        let mut reorder = Reorder::default();
        assert_eq!(reorder.place(10, packet(0)), Place::InOrder);
        assert_eq!(reorder.place(12, packet(1)), Place::Ahead);
        assert!(reorder.pop(ms(900)).is_none());
        assert_eq!(reorder.place(11, packet(900)), Place::InOrder);
        assert!(matches!(reorder.pop(ms(900)), Some(Next::Packet(_))));
        assert_eq!(reorder.place(11, packet(901)), Place::Late);
    }

    #[test]
    fn a_hole_is_given_up_after_a_second_and_counted() {
        let mut reorder = Reorder::default();
        reorder.place(10, packet(0));
        reorder.place(14, packet(5));
        assert!(reorder.pop(ms(1004)).is_none());
        assert!(matches!(reorder.pop(ms(1005)), Some(Next::Lost(3))));
        assert!(matches!(reorder.pop(ms(1005)), Some(Next::Packet(_))));
        assert_eq!(reorder.place(12, packet(1006)), Place::Late);
    }

    #[test]
    fn a_jump_in_numbers_does_not_fill_the_memory() {
        let mut reorder = Reorder::default();
        reorder.place(0, packet(0));
        for seq in 0..HELD_LIMIT as u64 {
            reorder.place(1_000_000 + seq, packet(1));
        }
        assert!(matches!(reorder.pop(ms(1)), Some(Next::Lost(_))));
    }
}
