//! The estimate for peers without transport-wide feedback: from receiver reports (RFC 3550 §6.4) and REMB.
//!
//! A report comes every second or so and says little: what was lost, and the round trip. A longer round trip is a queue. Loss without one is
//! tried out: less is sent for a few reports, and when as much is lost as before, it is random and is let pass from then on.

use super::history::{Micros, micros};
use crate::ids::Ssrc;
use crate::rtp::rtcp::ReportBlock;
use std::time::Duration;

/// A round trip this much longer than the shortest is a queue.
const QUEUED: Micros = micros(Duration::from_millis(120));
/// The shortest round trip is remembered this long.
const BASE_SPAN: Micros = micros(Duration::from_secs(30));
/// An estimate of the receiver's holds this long; it repeats it every second.
const REMB_SPAN: Micros = micros(Duration::from_secs(8));
/// Streams whose reports are told apart; of more, the first ones speak for all.
const STREAMS: usize = 16;
/// Loss beyond what is known to be random by this much is tried out.
const EXCESS: f64 = 0.08;
/// Reports until the effect of sending less shows: the first one is partly of the time before.
const EXPERIMENT: u8 = 3;
/// Part that is sent of what gets through while there is a queue, and for as long as an experiment lasts.
const BACK_OFF: f64 = 0.85;
/// Growth per second.
const GROWTH: f64 = 0.08;

#[derive(Debug, Default)]
pub(super) struct Reports {
    streams: [Option<Stream>; STREAMS],
    sent_bytes: u64,
    /// Since when `sent_bytes` counts, and the rate of the second before.
    sent_since: Option<Micros>,
    sent_rate: f64,
    /// Shortest round trip and when it was seen.
    shortest_rtt: Option<(Micros, Micros)>,
    last_change: Micros,
    loss: f64,
    /// The share that is lost whatever is sent.
    random: f64,
    experiment: Option<Experiment>,
    remb: Option<(f64, Micros)>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: Ssrc,
    highest_seq: u32,
}

/// Less is sent, to see what that does to the loss.
#[derive(Clone, Copy, Debug)]
struct Experiment {
    loss_before: f64,
    target_before: f64,
    reports_left: u8,
}

impl Reports {
    pub(super) fn sent(&mut self, bytes: u64, now: Micros) {
        let since = *self.sent_since.get_or_insert(now);
        self.sent_bytes += bytes;
        if now - since >= 1_000_000 {
            self.sent_rate = self.sent_bytes as f64 * 8e6 / (now - since) as f64;
            (self.sent_bytes, self.sent_since) = (0, Some(now));
        }
    }

    pub(super) fn remb(&mut self, rate: f64, now: Micros) {
        self.remb = Some((rate, now));
    }

    /// Forgets an estimate of the receiver's that it did not repeat.
    pub(super) fn expire(&mut self, now: Micros) {
        self.remb = self.remb.filter(|(_, since)| now - since < REMB_SPAN);
    }

    /// The receiver's own estimate, while it is fresh.
    pub(super) fn bound(&self) -> Option<f64> {
        self.remb.map(|(rate, _)| rate)
    }

    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// What a report makes of the estimate `target`.
    pub(super) fn report(
        &mut self,
        block: &ReportBlock,
        rtt: Option<Micros>,
        target: f64,
        now: Micros,
    ) -> f64 {
        let is_queued = rtt.is_some_and(|rtt| self.is_queued(rtt, now));
        // A stream that hardly sends says nothing about the line.
        if self.new_packets(block) < 10 || self.sent_rate == 0.0 {
            return target;
        }
        let share = f64::from(block.fraction_lost) / 256.0;
        self.loss += (share - self.loss) / 2.0;
        let seconds = (now - self.last_change).clamp(0, 2_000_000) as f64 / 1e6;
        // Reports of several streams come together: one of them moves the estimate.
        if seconds < 0.2 {
            return target;
        }
        self.last_change = now;
        let reduced = target.min(self.sent_rate * (1.0 - share) * BACK_OFF);
        if is_queued {
            self.experiment = None;
            return reduced;
        }
        if let Some(experiment) = self.experiment.take() {
            return self.go_on(experiment, target);
        }
        if self.loss > self.random + EXCESS {
            let before = Experiment {
                loss_before: self.loss,
                target_before: target,
                reports_left: EXPERIMENT,
            };
            self.experiment = Some(before);
            return reduced;
        }
        // Less loss than thought random: the next increase of it is tried out again.
        self.random = self.random.min(self.loss + EXCESS);
        target.max((target * (1.0 + GROWTH * seconds)).min(1.5 * self.sent_rate + 20e3))
    }

    fn go_on(&mut self, experiment: Experiment, target: f64) -> f64 {
        if experiment.reports_left > 0 {
            self.experiment = Some(Experiment {
                reports_left: experiment.reports_left - 1,
                ..experiment
            });
            return target;
        }
        if self.loss < 0.6 * experiment.loss_before {
            return target;
        }
        self.random = self.loss;
        experiment.target_before
    }

    /// How many packets the report is about.
    fn new_packets(&mut self, block: &ReportBlock) -> u32 {
        let known = self
            .streams
            .iter_mut()
            .flatten()
            .find(|stream| stream.ssrc == block.ssrc);
        if let Some(stream) = known {
            let packets = block.highest_seq.wrapping_sub(stream.highest_seq);
            stream.highest_seq = block.highest_seq;
            return packets;
        }
        if let Some(free) = self.streams.iter_mut().find(|stream| stream.is_none()) {
            *free = Some(Stream {
                ssrc: block.ssrc,
                highest_seq: block.highest_seq,
            });
        }
        0
    }

    fn is_queued(&mut self, rtt: Micros, now: Micros) -> bool {
        let shortest = self
            .shortest_rtt
            .filter(|(shortest, since)| *shortest < rtt && now - since < BASE_SPAN);
        let (shortest, _) = *self.shortest_rtt.insert(shortest.unwrap_or((rtt, now)));
        rtt > shortest + QUEUED
    }
}
