//! Telling a publisher when its packets arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

mod encode;

use crate::ids::Ssrc;
use crate::rtp::rtcp::{BufferFull, Compound, TICK};
use crate::units::SeqNo;
use encode::Message;
use std::time::{Duration, Instant};

/// Packets whose arrival is remembered until it is reported: 100 ms at 20 Mbit/s are 210, so this is room for a burst and a hole.
/// A power of two, as the ring is indexed by the low bits.
const WINDOW: u64 = 2048;
/// Feedback every 100 ms, and every 50 ms from a sender of more than 400 packets a second: about 5 % of what it reports on at most.
const INTERVAL: Duration = Duration::from_millis(100);
const BUSY_INTERVAL: Duration = Duration::from_millis(50);
const BUSY: u64 = 20;
/// No arrival in this slot of the ring.
const NOT_YET: i64 = i64::MIN;

/// Collects arrivals of one transport and makes feedback of them.
#[derive(Debug)]
pub struct FeedbackGenerator {
    /// Where the arrival times count from; the draft leaves their zero to the receiver.
    epoch: Instant,
    /// Arrival in ticks of 250 µs since `epoch`, of the packet at `seq % WINDOW`.
    arrivals: Box<[i64]>,
    /// Packets from `from` up to before `to` are to be reported next.
    from: SeqNo,
    to: SeqNo,
    feedback_count: u8,
    last_feedback: Instant,
    started: bool,
}

impl FeedbackGenerator {
    /// `epoch` is any moment not after the first packet, such as now.
    pub fn new(epoch: Instant) -> FeedbackGenerator {
        FeedbackGenerator {
            epoch,
            arrivals: vec![NOT_YET; WINDOW as usize].into_boxed_slice(),
            from: SeqNo(0),
            to: SeqNo(0),
            feedback_count: 0,
            last_feedback: epoch,
            started: false,
        }
    }

    /// A packet came: media, retransmission or padding alone, all count. `transport_seq` is its transport-wide number.
    pub fn received(&mut self, transport_seq: u16, now: Instant) {
        if !self.started {
            // One rollover up, so that a neighbour from before the first packet has a number too.
            self.restart(SeqNo(1 << 16 | u64::from(transport_seq)));
        }
        let seq = self.to.nearest(transport_seq);
        if seq >= self.to {
            self.advance(seq);
        } else if self.to - seq > WINDOW {
            return; // Older than anything remembered; its sender has long counted it as lost.
        }
        // Came out of order, after its feedback went out: reported again, from there on.
        self.from = self.from.min(seq);
        let slot = &mut self.arrivals[(seq.0 % WINDOW) as usize];
        // A duplicate does not change when the packet first came.
        if *slot == NOT_YET {
            *slot = ticks(now.saturating_duration_since(self.epoch));
        }
    }

    /// Makes room up to and including `seq`: the slots between are packets that have not come.
    fn advance(&mut self, seq: SeqNo) {
        if seq - self.to >= WINDOW {
            self.restart(seq);
        }
        while self.to <= seq {
            self.arrivals[(self.to.0 % WINDOW) as usize] = NOT_YET;
            self.to = self.to.next();
        }
        // What falls out of the ring can no longer be reported.
        self.from = self.from.max(SeqNo(self.to.0.saturating_sub(WINDOW)));
    }

    fn restart(&mut self, seq: SeqNo) {
        self.arrivals.fill(NOT_YET);
        (self.from, self.to, self.started) = (seq, seq, true);
    }

    /// When the next feedback is due; `None` while there is nothing to report.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pending = self.to - self.from;
        let interval = if pending > BUSY {
            BUSY_INTERVAL
        } else {
            INTERVAL
        };
        (pending > 0).then(|| self.last_feedback + interval)
    }

    /// Whether [`FeedbackGenerator::write`] has something to write that is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|due| due <= now)
    }

    /// Writes one message and says whether more is left to report, which then is due at once. `BufferFull`: nothing was written, try an empty
    /// compound.
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
            let mut message = Message::new();
            while self.from < self.to && message.push(self.from, self.arrival(self.from)) {
                self.from = self.from.next();
            }
            // A hole so long that a whole message would be of lost packets is left out: it has no arrival to count times from.
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
        Some(self.arrivals[(seq.0 % WINDOW) as usize]).filter(|ticks| *ticks != NOT_YET)
    }
}

fn ticks(since_epoch: Duration) -> i64 {
    (since_epoch.as_micros() / TICK.as_micros()) as i64
}

#[cfg(test)]
mod tests;
