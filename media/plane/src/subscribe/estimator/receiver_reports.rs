//! Bandwidth estimation without transport-wide feedback, from receiver reports (RFC 3550 §6.4) and
//! REMB.
//!
//! A report arrives about once per second with loss and round-trip time only. A longer round trip
//! is a queue. Loss without a queue starts an experiment: the rate is reduced for a few reports,
//! and loss that stays is random and ignored from then on.

use super::sent_history::{Micros, micros};
use crate::ids::Ssrc;
use crate::rtp::rtcp::ReportBlock;
use std::time::Duration;

/// Increase over the shortest round trip that counts as a queue.
const QUEUE_THRESHOLD: Micros = micros(Duration::from_millis(120));
/// Lifetime of the shortest round trip.
const RTT_LIFETIME: Micros = micros(Duration::from_secs(30));
/// Lifetime of a REMB; receivers repeat it every second.
const REMB_LIFETIME: Micros = micros(Duration::from_secs(8));
/// Maximum number of streams with separate reports; further streams are ignored.
const MAX_STREAMS: usize = 16;
/// Loss above the random loss that starts an experiment.
const EXCESS_LOSS: f64 = 0.08;
/// Reports until a reduced rate shows its effect; the first one still covers the time before.
const EXPERIMENT_REPORTS: u8 = 3;
/// Share of the delivered rate that is sent during a queue or an experiment.
const BACKOFF: f64 = 0.85;
/// Growth per second.
const GROWTH: f64 = 0.08;

#[derive(Debug, Default)]
pub(super) struct ReportEstimator {
    streams: [Option<Stream>; MAX_STREAMS],
    sent_bytes: u64,
    /// Start of `sent_bytes`, and the rate of the previous second.
    sent_since: Option<Micros>,
    sent_rate: f64,
    /// Shortest round trip and its time.
    shortest_rtt: Option<(Micros, Micros)>,
    last_change: Micros,
    loss: f64,
    /// Rate of random loss, 0–1.
    random_loss: f64,
    experiment: Option<Experiment>,
    remb: Option<(f64, Micros)>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: Ssrc,
    highest_seq: u32,
}

/// Reduced rate, to observe its effect on the loss.
#[derive(Clone, Copy, Debug)]
struct Experiment {
    loss_before: f64,
    target_before: f64,
    reports_left: u8,
}

impl ReportEstimator {
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

    /// Drops a REMB that the receiver did not repeat.
    pub(super) fn expire(&mut self, now: Micros) {
        self.remb = self.remb.filter(|(_, since)| now - since < REMB_LIFETIME);
    }

    /// Latest REMB in bit/s, while it is fresh.
    pub(super) fn remb_bound(&self) -> Option<f64> {
        self.remb.map(|(rate, _)| rate)
    }

    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// Returns the estimate after a report; `target` is the estimate before.
    pub(super) fn report(
        &mut self,
        block: &ReportBlock,
        rtt: Option<Micros>,
        target: f64,
        now: Micros,
    ) -> f64 {
        let is_queued = rtt.is_some_and(|rtt| self.is_queued(rtt, now));
        // A stream with few packets says nothing about the bandwidth.
        if self.new_packets(block) < 10 || self.sent_rate == 0.0 {
            return target;
        }
        let share = f64::from(block.fraction_lost) / 256.0;
        self.loss += (share - self.loss) / 2.0;
        let seconds = (now - self.last_change).clamp(0, 2_000_000) as f64 / 1e6;
        // Reports of several streams arrive together; only one of them changes the estimate.
        if seconds < 0.2 {
            return target;
        }
        self.last_change = now;
        let reduced = target.min(self.sent_rate * (1.0 - share) * BACKOFF);
        if is_queued {
            self.experiment = None;
            return reduced;
        }
        if let Some(experiment) = self.experiment.take() {
            return self.continue_experiment(experiment, target);
        }
        if self.loss > self.random_loss + EXCESS_LOSS {
            let before = Experiment {
                loss_before: self.loss,
                target_before: target,
                reports_left: EXPERIMENT_REPORTS,
            };
            self.experiment = Some(before);
            return reduced;
        }
        // The loss is lower than the assumed random loss: a later increase starts a new experiment.
        self.random_loss = self.random_loss.min(self.loss + EXCESS_LOSS);
        target.max((target * (1.0 + GROWTH * seconds)).min(1.5 * self.sent_rate + 20e3))
    }

    fn continue_experiment(&mut self, experiment: Experiment, target: f64) -> f64 {
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
        self.random_loss = self.loss;
        experiment.target_before
    }

    /// Number of packets that the report covers.
    fn new_packets(&mut self, block: &ReportBlock) -> u32 {
        let known_stream = self
            .streams
            .iter_mut()
            .flatten()
            .find(|stream| stream.ssrc == block.ssrc);
        if let Some(stream) = known_stream {
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
            .filter(|(shortest, since)| *shortest < rtt && now - since < RTT_LIFETIME);
        let (shortest, _) = *self.shortest_rtt.insert(shortest.unwrap_or((rtt, now)));
        rtt > shortest + QUEUE_THRESHOLD
    }
}
