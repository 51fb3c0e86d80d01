//! What was sent, until feedback tells what became of it.

use crate::rtp::rtcp::{PacketStatus, TICK, TICKS_PER_REFERENCE, TransportFeedback};
use crate::units::SeqNo;
use std::time::Duration;

/// Packets that can be awaiting feedback, powers of two, as slots are taken by the low bits. A line begins with a second of what it mostly
/// carries; only one that carries more, or hears of it late, gets up to half a second of 20 Mbit/s.
const FIRST_WINDOW: usize = 256;
const LAST_WINDOW: usize = 1024;

/// A moment in microseconds: of our clock since the estimator began, or of the peer's since a zero of its own.
pub(super) type Micros = i64;

/// One packet on its way, in eight bytes: every subscriber has a window of them.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// The low half of the microsecond; feedback comes long before it repeats, after 71 minutes.
    at: u32,
    size: u16,
    /// Which of the transport-wide numbers that share a slot it has.
    turn: u8,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing was sent yet that has this slot.
    Unused,
    /// No feedback spoke of it; that may have been lost itself.
    Unknown,
    Lost,
    Arrived,
}

/// A packet that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub sent: Micros,
    pub arrived: Micros,
    pub size: u32,
}

/// What one feedback message says, put together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Batch {
    /// Packets reported on for the first time.
    pub arrived: u32,
    pub lost: u32,
    /// Packets that were reported lost before and arrived all the same.
    pub late: u32,
    pub arrived_bytes: u64,
    pub lost_bytes: u64,
    /// Bytes sent since the last feedback of which none will speak, as it was lost.
    pub unknown_bytes: u64,
    /// When the newest of the packets that arrived was sent, and when it arrived.
    pub newest: Option<Arrival>,
    /// The newest packet that this feedback speaks of was sent then.
    pub last_sent: Micros,
}

#[derive(Debug)]
pub(super) struct History {
    ring: Box<[Sent]>,
    /// The number after the newest sent.
    next: SeqNo,
    /// The number after the newest that feedback spoke of.
    reported: SeqNo,
    started: bool,
    /// When the newest was sent.
    last_at: Micros,
    /// The last reference time on the wire, and what it stands for without wrapping.
    reference: (i32, i64),
}

impl History {
    pub(super) fn new() -> History {
        History {
            ring: unused(FIRST_WINDOW),
            next: SeqNo(0),
            reported: SeqNo(0),
            started: false,
            last_at: 0,
            reference: (0, 0),
        }
    }

    pub(super) fn sent(&mut self, transport_seq: u16, size: u16, at: Micros) {
        let seq = if self.started {
            self.next.nearest(transport_seq)
        } else {
            SeqNo(u64::from(transport_seq))
        };
        if !self.started {
            (self.started, self.reported) = (true, seq);
        }
        self.next = self.next.max(seq.next());
        self.last_at = self.last_at.max(at);
        let (slot, turn) = self.place(seq);
        self.ring[slot] = Sent {
            at: at as u32,
            size,
            turn,
            fate: Fate::Unknown,
        };
    }

    /// Makes the window larger when half of it waits for feedback. Not for every packet: it allocates.
    pub(super) fn make_room(&mut self) {
        let waiting = self.next.0.saturating_sub(self.reported.0);
        if waiting <= self.ring.len() as u64 / 2 || self.ring.len() >= LAST_WINDOW {
            return;
        }
        let first = SeqNo(self.next.0.saturating_sub(self.ring.len() as u64));
        let mut larger = History {
            ring: unused(2 * self.ring.len()),
            ..*self
        };
        for seq in (first.0..self.next.0).map(SeqNo) {
            if let Some(sent) = self.get(seq) {
                let (slot, turn) = larger.place(seq);
                larger.ring[slot] = Sent { turn, ..*sent };
            }
        }
        *self = larger;
    }

    /// Takes in one message; `each` sees every packet that it is the first to report as arrived.
    pub(super) fn feedback(
        &mut self,
        feedback: &TransportFeedback<'_>,
        mut each: impl FnMut(Arrival),
    ) -> Batch {
        let clocks = Clocks {
            shift: self.unwrap_reference(feedback.reference_time),
            last_at: self.last_at,
        };
        let mut batch = Batch::default();
        let base = self.next.nearest(feedback.base_seq);
        self.skip_unreported(base, &mut batch);
        for (n, status) in feedback.packets().enumerate() {
            let seq = base + n as u64;
            // Reports of packets never sent: the peer is confused, or guesses.
            if seq >= self.next {
                break;
            }
            let Some(sent) = self.get(seq) else { continue };
            if let Some(arrival) = sent.learn(status, clocks, &mut batch) {
                each(arrival);
            }
            self.reported = self.reported.max(seq.next());
        }
        batch
    }

    /// Adds up what was sent between the last feedback and this one: of those packets no message will speak any more.
    fn skip_unreported(&mut self, base: SeqNo, batch: &mut Batch) {
        let mut seq = self
            .reported
            .max(SeqNo(self.next.0.saturating_sub(self.ring.len() as u64)));
        while seq < base.min(self.next) {
            let unknown = self.get(seq).filter(|sent| sent.fate == Fate::Unknown);
            batch.unknown_bytes += unknown.map_or(0, |sent| u64::from(sent.size));
            seq = seq.next();
        }
    }

    /// The packet with that number, if the window reaches back to it.
    fn get(&mut self, seq: SeqNo) -> Option<&mut Sent> {
        let (slot, turn) = self.place(seq);
        self.ring
            .get_mut(slot)
            .filter(|sent| sent.fate != Fate::Unused && sent.turn == turn)
    }

    /// The slot of a number, and what tells those apart that share it: the high bits of the number on the wire.
    fn place(&self, seq: SeqNo) -> (usize, u8) {
        const {
            assert!(
                FIRST_WINDOW >= 256,
                "the high bits of a 16-bit number must fit a byte"
            )
        };
        let len = self.ring.len();
        (
            seq.0 as usize & (len - 1),
            (seq.wire() >> len.trailing_zeros()) as u8,
        )
    }

    /// The reference time has 24 bits and wraps after twelve days. Returns what to add to this message's ticks.
    fn unwrap_reference(&mut self, reference: i32) -> i64 {
        let (last, unwrapped) = self.reference;
        // Shifted up and down to extend the sign of a 24-bit difference.
        let moved = i64::from(reference.wrapping_sub(last) << 8 >> 8);
        self.reference = (reference, unwrapped + moved);
        (unwrapped + moved - i64::from(reference)) * TICKS_PER_REFERENCE
    }
}

/// What turns a packet's short times into long ones.
#[derive(Clone, Copy)]
struct Clocks {
    /// Added to a message's ticks.
    shift: i64,
    /// When the newest packet was sent: no other was sent later.
    last_at: Micros,
}

impl Sent {
    fn sent_at(&self, last_at: Micros) -> Micros {
        last_at - Micros::from((last_at as u32).wrapping_sub(self.at))
    }

    fn learn(
        &mut self,
        status: PacketStatus,
        clocks: Clocks,
        batch: &mut Batch,
    ) -> Option<Arrival> {
        let sent = self.sent_at(clocks.last_at);
        batch.last_sent = batch.last_sent.max(sent);
        let Some(ticks) = status.arrival_ticks else {
            if self.fate == Fate::Unknown {
                self.fate = Fate::Lost;
                batch.lost += 1;
                batch.lost_bytes += u64::from(self.size);
            }
            return None;
        };
        if self.fate == Fate::Arrived {
            return None;
        }
        batch.late += u32::from(self.fate == Fate::Lost);
        self.fate = Fate::Arrived;
        batch.arrived += 1;
        batch.arrived_bytes += u64::from(self.size);
        let arrived = (ticks + clocks.shift) * TICK.as_micros() as i64;
        let arrival = Arrival {
            sent,
            arrived,
            size: u32::from(self.size),
        };
        if batch.newest.is_none_or(|newest| newest.sent <= sent) {
            batch.newest = Some(arrival);
        }
        Some(arrival)
    }
}

fn unused(len: usize) -> Box<[Sent]> {
    vec![
        Sent {
            at: 0,
            size: 0,
            turn: 0,
            fate: Fate::Unused
        };
        len
    ]
    .into_boxed_slice()
}

/// A duration in the unit of this module.
pub(super) const fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ssrc;
    use crate::publish::twcc::FeedbackGenerator;
    use crate::rtp::rtcp::{self, Compound, Rtcp};
    use crate::virtual_time;

    #[test]
    fn a_line_that_carries_much_gets_a_larger_window_and_forgets_nothing_that_waits() {
        let start = virtual_time::start();
        let (mut history, mut receiver) = (History::new(), FeedbackGenerator::new(start));
        let mut send = |history: &mut History, number: u16| {
            history.sent(number, 1_000, Micros::from(number));
            // One in five is lost.
            if !number.is_multiple_of(5) {
                receiver.received(number, start + Duration::from_millis(u64::from(number)));
            }
        };
        (1..=200).for_each(|number| send(&mut history, number));
        history.make_room();
        assert_eq!(history.ring.len(), 2 * FIRST_WINDOW);
        (201..=400).for_each(|number| send(&mut history, number));
        history.make_room();
        assert_eq!(
            history.ring.len(),
            LAST_WINDOW,
            "it grows as long as more waits than half of it"
        );
        history.make_room();
        assert_eq!(history.ring.len(), LAST_WINDOW, "and no further");

        let (mut arrived, mut lost, mut more) = (Vec::new(), 0, true);
        while more {
            let mut buffer = [0; 1_200];
            let mut out = Compound::new(&mut buffer);
            more = receiver
                .write(Ssrc(1), Ssrc(2), &mut out, start)
                .expect("a message fits into a datagram");
            for packet in rtcp::parse(out.bytes()) {
                let Ok(Rtcp::TransportFeedback(feedback)) = packet else {
                    panic!("{packet:?}")
                };
                lost += history
                    .feedback(&feedback, |arrival| arrived.push(arrival.sent))
                    .lost;
            }
        }
        let expected: Vec<Micros> = (1..400).filter(|number| number % 5 != 0).collect();
        assert_eq!(
            (arrived, lost),
            (expected, 79),
            "of the last one nothing is known yet"
        );
    }
}
