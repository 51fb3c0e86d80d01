//! Transport-wide congestion control feedback to a publisher
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

mod encode;

use crate::ids::Ssrc;
use crate::rtp::rtcp::{BufferFull, Compound, TICK};
use crate::units::SeqNo;
use encode::FeedbackMessage;
use std::time::{Duration, Instant};

/// Packets with a recorded arrival time: 100 ms at 20 Mbit/s are 210, which leaves room for a burst
/// and a gap. A power of two, because the ring is indexed by the low bits.
const WINDOW: u64 = 2048;
/// Feedback interval, and that of a sender with more than 400 packets/s. Feedback is at most about
/// 5 % of the reported traffic.
const INTERVAL: Duration = Duration::from_millis(100);
const BUSY_INTERVAL: Duration = Duration::from_millis(50);
/// Pending packets above which [`BUSY_INTERVAL`] applies.
const BUSY_PENDING: u64 = 20;
/// Empty slot of the ring.
const NOT_RECEIVED_YET: i64 = i64::MIN;

/// Recorded arrivals of one transport, reported by [`FeedbackGenerator::write`].
#[derive(Debug)]
pub struct FeedbackGenerator {
    /// Epoch of the arrival times; the draft leaves it to the receiver.
    epoch: Instant,
    /// Arrival in ticks of 250 µs since `epoch` at index `seq % WINDOW`.
    arrivals: Box<[i64]>,
    /// Packets to report next: `from..to`.
    from: SeqNo,
    to: SeqNo,
    feedback_count: u8,
    last_feedback: Instant,
    started: bool,
}

impl FeedbackGenerator {
    /// Creates a generator. `epoch` is any instant not after the first packet.
    pub fn new(epoch: Instant) -> FeedbackGenerator {
        FeedbackGenerator {
            epoch,
            arrivals: vec![NOT_RECEIVED_YET; WINDOW as usize].into_boxed_slice(),
            from: SeqNo(0),
            to: SeqNo(0),
            feedback_count: 0,
            last_feedback: epoch,
            started: false,
        }
    }

    /// Records a packet: media, retransmission or padding. `transport_seq` is its transport-wide
    /// sequence number.
    pub fn received(&mut self, transport_seq: u16, now: Instant) {
        if !self.started {
            // Begin one rollover up, so that a packet before the first one has a sequence number
            // too.
            self.restart(SeqNo(1 << 16 | u64::from(transport_seq)));
        }
        let seq = self.to.nearest(transport_seq);
        if seq >= self.to {
            self.advance(seq);
        } else if self.to - seq > WINDOW {
            return; // Older than the window; its sender has counted it as lost.
        }
        // A reordered packet after its feedback: report again from there.
        self.from = self.from.min(seq);
        let slot = &mut self.arrivals[(seq.0 % WINDOW) as usize];
        // A duplicate does not change the arrival time.
        if *slot == NOT_RECEIVED_YET {
            *slot = ticks(now.saturating_duration_since(self.epoch));
        }
    }

    /// Extends the window to `seq`; skipped packets have not arrived.
    fn advance(&mut self, seq: SeqNo) {
        if seq - self.to >= WINDOW {
            self.restart(seq);
        }
        while self.to <= seq {
            self.arrivals[(self.to.0 % WINDOW) as usize] = NOT_RECEIVED_YET;
            self.to = self.to.next();
        }
        // Packets outside the ring can no longer be reported.
        self.from = self.from.max(SeqNo(self.to.0.saturating_sub(WINDOW)));
    }

    fn restart(&mut self, seq: SeqNo) {
        self.arrivals.fill(NOT_RECEIVED_YET);
        (self.from, self.to, self.started) = (seq, seq, true);
    }

    /// Time of the next feedback; `None` if no packet is pending.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pending = self.to - self.from;
        let interval = if pending > BUSY_PENDING {
            BUSY_INTERVAL
        } else {
            INTERVAL
        };
        (pending > 0).then(|| self.last_feedback + interval)
    }

    /// Returns true if feedback is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|due| due <= now)
    }

    /// Writes one message; returns true if more packets are pending, which are due at once. On
    /// [`BufferFull`] nothing was written; retry with an empty compound.
    ///
    /// `sender` is an SSRC of ours, `media` one of the publisher's.
    pub fn write(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        out: &mut Compound<'_>,
        now: Instant,
    ) -> Result<bool, BufferFull> {
        let before = self.from;
        while self.from < self.to {
            let mut message = FeedbackMessage::new();
            while self.from < self.to && message.push(self.from, self.arrival(self.from)) {
                self.from = self.from.next();
            }
            // Skip a gap longer than a message: without an arrival the message has no reference
            // time.
            let Some(bytes) = message.finish(self.feedback_count) else {
                continue;
            };
            if let Err(full) = out.transport_feedback(sender, media, bytes) {
                self.from = before;
                return Err(full);
            }
            self.feedback_count = self.feedback_count.wrapping_add(1);
            break;
        }
        if self.from == self.to {
            self.last_feedback = now;
        }
        Ok(self.from < self.to)
    }

    fn arrival(&self, seq: SeqNo) -> Option<i64> {
        Some(self.arrivals[(seq.0 % WINDOW) as usize]).filter(|ticks| *ticks != NOT_RECEIVED_YET)
    }
}

fn ticks(since_epoch: Duration) -> i64 {
    (since_epoch.as_micros() / TICK.as_micros()) as i64
}

#[cfg(test)]
mod tests;
