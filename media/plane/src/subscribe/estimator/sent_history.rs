//! Sent packets, until feedback reports their status.

use crate::rtp::rtcp::{PacketStatus, TICK, TICKS_PER_REFERENCE, TransportFeedback};
use crate::units::SeqNo;
use std::time::Duration;

/// Minimum and maximum number of packets that await feedback; powers of two, because the ring is
/// indexed by the low bits. A subscriber starts with one second of a typical rate; with a higher
/// rate or late feedback the window grows to half a second at 20 Mbit/s.
const MIN_WINDOW: usize = 256;
const MAX_WINDOW: usize = 1024;

/// Time in microseconds: of the local clock since the estimator was created, or of the receiver's
/// clock since its own epoch.
pub(super) type Micros = i64;

/// Sent packet in eight bytes; every subscriber has a window of them.
#[derive(Clone, Copy, Debug)]
struct SentPacket {
    /// Low half of the send time in µs; it wraps after 71 minutes, long after the feedback.
    at: u32,
    size: u16,
    /// Distinguishes the sequence numbers that share a slot.
    high_bits: u8,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The slot was never used.
    Unused,
    /// No feedback yet; the feedback itself can be lost.
    Unreported,
    Lost,
    Arrived,
}

/// Received packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub sent: Micros,
    pub arrived: Micros,
    pub size: u32,
}

/// Summary of one feedback message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FeedbackSummary {
    /// Packets reported as received for the first time, late ones included.
    pub arrived: u32,
    /// Packets reported as lost for the first time.
    pub lost: u32,
    /// Packets that were reported lost before and arrived late.
    pub late: u32,
    pub arrived_bytes: u64,
    pub lost_bytes: u64,
    /// Bytes of packets that no feedback will report, because their feedback was lost.
    pub unknown_bytes: u64,
    /// Newest received packet.
    pub newest: Option<Arrival>,
    /// Send time of the newest reported packet.
    pub last_sent: Micros,
}

#[derive(Debug)]
pub(super) struct SentHistory {
    ring: Box<[SentPacket]>,
    /// Sequence number after the newest sent packet.
    next: SeqNo,
    /// Sequence number after the newest reported packet.
    reported: SeqNo,
    started: bool,
    /// Send time of the newest packet.
    last_at: Micros,
    /// Last reference time on the wire, and its value without wrapping.
    reference: (i32, i64),
}

impl SentHistory {
    pub(super) fn new() -> SentHistory {
        SentHistory {
            ring: unused(MIN_WINDOW),
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
        let (slot, high_bits) = self.slot_of(seq);
        self.ring[slot] = SentPacket {
            at: at as u32,
            size,
            high_bits,
            state: State::Unreported,
        };
    }

    /// Doubles the window if more than half of it awaits feedback. Allocates, so it must not be
    /// called per packet.
    pub(super) fn grow(&mut self) {
        let pending = self.next.0.saturating_sub(self.reported.0);
        if pending <= self.ring.len() as u64 / 2 || self.ring.len() >= MAX_WINDOW {
            return;
        }
        let first = SeqNo(self.next.0.saturating_sub(self.ring.len() as u64));
        let mut larger = SentHistory {
            ring: unused(2 * self.ring.len()),
            ..*self
        };
        for seq in (first.0..self.next.0).map(SeqNo) {
            if let Some(sent) = self.get(seq) {
                let (slot, high_bits) = larger.slot_of(seq);
                larger.ring[slot] = SentPacket { high_bits, ..*sent };
            }
        }
        *self = larger;
    }

    /// Processes one message; calls `each` for every packet that it is the first to report as
    /// received.
    pub(super) fn process(
        &mut self,
        feedback: &TransportFeedback<'_>,
        mut each: impl FnMut(Arrival),
    ) -> FeedbackSummary {
        let offsets = TimeOffsets {
            shift: self.unwrap_reference(feedback.reference_time),
            last_at: self.last_at,
        };
        let mut summary = FeedbackSummary::default();
        let base = self.next.nearest(feedback.base_seq);
        self.count_unreported(base, &mut summary);
        for (n, status) in feedback.packets().enumerate() {
            let seq = base + n as u64;
            // Reports about packets that were never sent are ignored.
            if seq >= self.next {
                break;
            }
            let Some(sent) = self.get(seq) else { continue };
            if let Some(arrival) = sent.apply(status, offsets, &mut summary) {
                each(arrival);
            }
            self.reported = self.reported.max(seq.next());
        }
        summary
    }

    /// Sums the packets between the last feedback and this one, which no message will report.
    fn count_unreported(&mut self, base: SeqNo, summary: &mut FeedbackSummary) {
        let mut seq = self
            .reported
            .max(SeqNo(self.next.0.saturating_sub(self.ring.len() as u64)));
        while seq < base.min(self.next) {
            let unknown = self.get(seq).filter(|sent| sent.state == State::Unreported);
            summary.unknown_bytes += unknown.map_or(0, |sent| u64::from(sent.size));
            seq = seq.next();
        }
    }

    /// Returns a sent packet, if the window still holds it.
    fn get(&mut self, seq: SeqNo) -> Option<&mut SentPacket> {
        let (slot, high_bits) = self.slot_of(seq);
        self.ring
            .get_mut(slot)
            .filter(|sent| sent.state != State::Unused && sent.high_bits == high_bits)
    }

    /// Returns the slot of a sequence number, and its high bits, which distinguish the numbers of
    /// one slot.
    fn slot_of(&self, seq: SeqNo) -> (usize, u8) {
        const {
            assert!(
                MIN_WINDOW >= 256,
                "the high bits of a 16-bit number must fit a byte"
            )
        };
        let len = self.ring.len();
        (
            seq.0 as usize & (len - 1),
            (seq.wire() >> len.trailing_zeros()) as u8,
        )
    }

    /// Unwraps the 24-bit reference time, which wraps after twelve days. Returns the offset to add
    /// to this message's ticks.
    fn unwrap_reference(&mut self, reference: i32) -> i64 {
        let (last, unwrapped) = self.reference;
        // The left and right shift extends the sign of the 24-bit difference.
        let delta = i64::from(reference.wrapping_sub(last) << 8 >> 8);
        self.reference = (reference, unwrapped + delta);
        (unwrapped + delta - i64::from(reference)) * TICKS_PER_REFERENCE
    }
}

/// Offsets that extend short times.
#[derive(Clone, Copy)]
struct TimeOffsets {
    /// Offset of the message's ticks.
    shift: i64,
    /// Send time of the newest packet; no packet was sent later.
    last_at: Micros,
}

impl SentPacket {
    fn sent_at(&self, last_at: Micros) -> Micros {
        last_at - Micros::from((last_at as u32).wrapping_sub(self.at))
    }

    fn apply(
        &mut self,
        status: PacketStatus,
        offsets: TimeOffsets,
        summary: &mut FeedbackSummary,
    ) -> Option<Arrival> {
        let sent = self.sent_at(offsets.last_at);
        summary.last_sent = summary.last_sent.max(sent);
        let Some(ticks) = status.arrival_ticks else {
            if self.state == State::Unreported {
                self.state = State::Lost;
                summary.lost += 1;
                summary.lost_bytes += u64::from(self.size);
            }
            return None;
        };
        if self.state == State::Arrived {
            return None;
        }
        summary.late += u32::from(self.state == State::Lost);
        self.state = State::Arrived;
        summary.arrived += 1;
        summary.arrived_bytes += u64::from(self.size);
        let arrived = (ticks + offsets.shift) * TICK.as_micros() as i64;
        let arrival = Arrival {
            sent,
            arrived,
            size: u32::from(self.size),
        };
        if summary.newest.is_none_or(|newest| newest.sent <= sent) {
            summary.newest = Some(arrival);
        }
        Some(arrival)
    }
}

fn unused(len: usize) -> Box<[SentPacket]> {
    vec![
        SentPacket {
            at: 0,
            size: 0,
            high_bits: 0,
            state: State::Unused
        };
        len
    ]
    .into_boxed_slice()
}

/// Converts a duration to microseconds.
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
    fn a_fast_sender_gets_a_larger_window_and_keeps_its_unreported_packets() {
        let start = virtual_time::start();
        let (mut history, mut receiver) = (SentHistory::new(), FeedbackGenerator::new(start));
        let mut send = |history: &mut SentHistory, number: u16| {
            history.sent(number, 1_000, Micros::from(number));
            // One in five is lost.
            if !number.is_multiple_of(5) {
                receiver.received(number, start + Duration::from_millis(u64::from(number)));
            }
        };
        (1..=200).for_each(|number| send(&mut history, number));
        history.grow();
        assert_eq!(history.ring.len(), 2 * MIN_WINDOW);
        (201..=400).for_each(|number| send(&mut history, number));
        history.grow();
        assert_eq!(
            history.ring.len(),
            MAX_WINDOW,
            "it grows while more than half of it awaits feedback"
        );
        history.grow();
        assert_eq!(history.ring.len(), MAX_WINDOW, "it has reached its maximum");

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
                    .process(&feedback, |arrival| arrived.push(arrival.sent))
                    .lost;
            }
        }
        let expected: Vec<Micros> = (1..400).filter(|number| number % 5 != 0).collect();
        assert_eq!(
            (arrived, lost),
            (expected, 79),
            "the last packet was not reported"
        );
    }
}
