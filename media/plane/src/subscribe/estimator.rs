//! How much a subscriber's line carries, as its sender can tell from transport-wide feedback.
//!
//! Four things are measured, each in a module of its own: the [standing queue](queue) on the way, the [rate](delivery) that gets through,
//! what the [loss](loss) is due to, and, by [probes](probe), whether there is room for more. From them the estimate is controlled as in
//! draft-ietf-rmcat-gcc-02: multiplicative decrease to a part of the rate that gets through, then growth, careful near the rate at which
//! the line was last full. What differs, and why:
//!
//! - Congestion is a standing queue, not a trend of delays: rural radio lines jitter, and a queue that is full has no trend.
//! - A decrease is as deep as the queue, so that it is drained within a second instead of being kept.
//! - Loss alone is answered only when it depends on the rate. Google's loss controller takes 15 % of random loss for congestion and falls
//!   to the floor.
//!
//! Peers without transport-wide feedback (WHEP players) are [judged by their receiver reports](reports).

mod delivery;
mod history;
mod loss;
mod probe;
mod queue;
mod reports;

use crate::rtp::rtcp::{ReportBlock, TransportFeedback};
use crate::units::Bitrate;
use delivery::Delivery;
use history::{Batch, History, Micros, micros};
use loss::{Loss, Verdict};
use probe::Prober;
use queue::Queue;
use reports::Reports;
use std::time::{Duration, Instant};

/// Bounds of an estimate.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What is assumed before anything is known.
    pub start: Bitrate,
    /// The estimate never falls below: a voice still fits.
    pub min: Bitrate,
    /// The estimate never rises above.
    pub max: Bitrate,
}

impl Default for Config {
    fn default() -> Config {
        Config { start: Bitrate::kbps(500), min: Bitrate::kbps(30), max: Bitrate::kbps(20_000) }
    }
}

/// A request to fill the line for a short while, to learn whether it carries more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// What should be sent in all: media, and retransmissions or padding on top.
    pub rate: Bitrate,
    /// When to stop.
    pub until: Instant,
}

/// A queue is drained within about this time after a decrease.
const DRAIN: f64 = 0.8e6;
/// Part of what gets through that is sent after a decrease, when there is next to no queue.
const BACK_OFF: f64 = 0.9;
/// A drain never takes more than this part: voices go on.
const DEEPEST: f64 = 0.45;
/// A decrease shows in packets that were sent this long after it, when the frame under way is out.
const SETTLE: Micros = micros(Duration::from_millis(150));
/// Part of the rate at which the line was full that is sent once its queue is drained.
const RESUME: f64 = 0.88;
/// More random loss than this is not made up for by sending more: what gets through becomes useless.
const MAX_RANDOM: f64 = 0.25;
/// With more loss than this, whatever it is due to, less is sent.
const UNBEARABLE: f64 = 0.35;
/// Nothing is probed before feedback has shown for this long what the line is like.
const ACQUAINTANCE: Micros = micros(Duration::from_millis(500));
/// A queue that does not shrink in this time although we send much less than gets through is not ours.
const NOT_OURS: Micros = micros(Duration::from_millis(2500));
/// The rate at which the line was full is remembered this long.
const CEILING_SPAN: Micros = micros(Duration::from_secs(30));
/// Two observations at the reduced rate, and the round trip: then it is clear what the loss is due to.
const EXPERIMENT: Micros = micros(Duration::from_millis(700));
/// Feedback that stays away for this long means that nothing gets through.
const SILENCE: Micros = micros(Duration::from_millis(1000));
/// Growth per second: with nothing known, up to near the ceiling, near it.
const GROWTH_UNKNOWN: f64 = 0.15;
const GROWTH_BACK: f64 = 0.25;
const GROWTH_NEAR: f64 = 0.04;

/// The estimate for one transport.
#[derive(Debug)]
pub struct Estimator {
    config: Config,
    epoch: Instant,
    history: History,
    queue: Queue,
    delivery: Delivery,
    loss: Loss,
    prober: Prober,
    reports: Reports,
    /// The estimate, in bits per second sent.
    target: f64,
    /// What the caller would send if it could.
    wanted: f64,
    rtt: Option<Micros>,
    /// The rate at which the line was last full, and when.
    ceiling: Option<(f64, Micros)>,
    /// The last decrease for a queue. Packets sent before tell nothing of its effect.
    cut_at: Option<Micros>,
    /// Since when there has been a queue without a break.
    queued_since: Option<Micros>,
    /// The rate from before the onset of loss, until it is clear what it was due to.
    experiment: Option<(f64, Micros)>,
    first_feedback: Option<Micros>,
    last_feedback: Option<Micros>,
    last_sent: Option<Micros>,
    last_update: Micros,
}

impl Estimator {
    /// Begins with the assumption of `config`.
    pub fn new(config: Config, now: Instant) -> Estimator {
        Estimator {
            config,
            epoch: now,
            history: History::new(),
            queue: Queue::new(),
            delivery: Delivery::default(),
            loss: Loss::default(),
            prober: Prober::new(),
            reports: Reports::default(),
            target: config.start.as_bps() as f64,
            wanted: 0.0,
            rtt: None,
            ceiling: None,
            cut_at: None,
            queued_since: None,
            experiment: None,
            first_feedback: None,
            last_feedback: None,
            last_sent: None,
            last_update: 0,
        }
    }

    /// Every packet that is sent: media, retransmissions, padding. `transport_seq` is its transport-wide number, if the peer takes those;
    /// `size_bytes` is that of the datagram.
    pub fn sent(&mut self, transport_seq: Option<u16>, size_bytes: usize, now: Instant) {
        let now = self.micros(now);
        self.last_sent = Some(now);
        match transport_seq {
            Some(seq) => {
                self.prober.sent(size_bytes as u64, now);
                self.history.sent(seq, size_bytes as u32, now);
            }
            None => self.reports.sent(size_bytes as u64, now),
        }
    }

    /// Transport-wide feedback came.
    pub fn transport_feedback(&mut self, feedback: &TransportFeedback<'_>, now: Instant) {
        let now = self.micros(now);
        let (queue, prober) = (&mut self.queue, &mut self.prober);
        let batch = self.history.feedback(feedback, |arrival| {
            queue.packet(arrival);
            prober.arrived(arrival);
        });
        if batch.arrived + batch.lost == 0 {
            return;
        }
        self.first_feedback.get_or_insert(now);
        self.last_feedback = Some(now);
        if let Some(newest) = batch.newest {
            self.measured_rtt(now - newest.sent);
        }
        self.delivery.add(&batch);
        self.queue.end_of_batch(now, self.delivery.rate(delivery::LONG).unwrap_or(self.target));
        self.control(&batch, now);
        self.last_update = now;
    }

    /// A report block about one of our streams came; `rtt` is what [`crate::rtp::ntp::round_trip`] makes of it.
    pub fn receiver_report(&mut self, block: &ReportBlock, rtt: Option<Duration>, now: Instant) {
        let now = self.micros(now);
        if self.last_feedback.is_some() {
            return;
        }
        if let Some(rtt) = rtt {
            self.measured_rtt(micros(rtt));
        }
        self.target = self.reports.report(block, rtt.map(micros), self.target, now);
        self.clamp();
    }

    /// A receiver's own estimate came: an upper bound while it is fresh.
    pub fn remb(&mut self, bitrate: Bitrate, now: Instant) {
        let now = self.micros(now);
        self.reports.remb(bitrate.as_bps() as f64, now);
    }

    /// What would be sent if the line carried everything: nothing beyond it is probed for.
    pub fn set_wanted(&mut self, wanted: Bitrate) {
        self.wanted = wanted.as_bps() as f64;
    }

    /// Time passes; call it about ten times a second. Notices feedback that stays away.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.micros(now);
        let (Some(heard), Some(sent)) = (self.last_feedback, self.last_sent) else { return };
        let patience = SILENCE.max(3 * self.rtt.unwrap_or(0));
        if sent > heard && now - heard > patience && now - self.last_update > SILENCE / 2 {
            self.prober.fail(now);
            self.target *= 0.75;
            self.last_update = now;
            self.clamp();
        }
    }

    /// The probe under way, or one that begins now; ask about a hundred times a second while there is something to send.
    pub fn probe(&mut self, now: Instant) -> Option<ProbePlan> {
        let at = self.micros(now);
        if self.prober.running(at).is_none() && self.wants_probe(at) {
            self.prober.begin(self.probe_rate(), at);
        }
        let probe = self.prober.running(at)?;
        let until = now + Duration::from_micros((probe.until - at) as u64);
        Some(ProbePlan { rate: Bitrate::bps(probe.rate as u64), until })
    }

    /// What can be sent in all, retransmissions and RTP headers included.
    pub fn estimate(&self) -> Bitrate {
        Bitrate::bps(self.target as u64)
    }

    /// The share of packets lost lately, 0–1.
    pub fn loss(&self) -> f32 {
        if self.last_feedback.is_some() { self.loss.recent() as f32 } else { self.reports.loss() as f32 }
    }

    /// The smoothed round-trip time; `None` before one was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|rtt| Duration::from_micros(rtt.max(0) as u64))
    }

    /// How long packets wait on the way beyond what the route takes.
    pub fn queue_delay(&self) -> Duration {
        Duration::from_micros(self.queue.delay() as u64)
    }

    fn measured_rtt(&mut self, sample: Micros) {
        self.rtt = Some(self.rtt.map_or(sample, |rtt| rtt + (sample - rtt) / 8));
    }

    fn control(&mut self, batch: &Batch, now: Micros) {
        let gets_through = self.delivery.rate(delivery::LONG).unwrap_or(self.target);
        let is_queued = self.queue.delay() > self.queue.threshold(gets_through);
        let verdict = self.observe_loss(batch, is_queued);
        let probed = self.prober.result(batch, self.loss.explanation().random, now);
        if is_queued {
            self.drain(batch, now);
        } else {
            self.without_queue(verdict, probed, now);
        }
        self.clamp();
    }

    fn observe_loss(&mut self, batch: &Batch, is_queued: bool) -> Option<Verdict> {
        if is_queued {
            self.loss.skip(batch.last_sent);
            return None;
        }
        let bytes = batch.arrived_bytes + batch.lost_bytes + batch.unknown_bytes;
        self.loss.add(batch.last_sent, bytes, batch.arrived + batch.lost, batch.lost, batch.late)
    }

    /// There is a queue: send less than gets through, by as much as drains it.
    fn drain(&mut self, batch: &Batch, now: Micros) {
        self.prober.fail(now);
        self.experiment = None;
        let since = *self.queued_since.get_or_insert(now);
        if now - since > NOT_OURS && !self.queue.is_shrinking() {
            self.queue.rebase();
            self.queued_since = None;
            return;
        }
        let newest_sent = batch.newest.map_or(0, |newest| newest.sent);
        let is_settled = self.cut_at.is_none_or(|cut| newest_sent > cut + SETTLE);
        if !is_settled || self.queue.is_shrinking() {
            return;
        }
        // While a queue builds, the line delivers all it can; frames make a short span uneven, a line that just narrowed a long one.
        let capacity = self.sendable(delivery::LONG).min(self.sendable(delivery::SHORT) * 1.15);
        // What was sent since the newest packet that arrived is in the queue as well.
        let unseen = (now - newest_sent) as f64 * (self.target / capacity.max(1.0) - 1.0).clamp(0.0, 2.0);
        let depth = ((self.queue.delay() as f64 + unseen) / DRAIN).min(DEEPEST);
        self.ceiling = Some((capacity, now));
        self.target = self.target.min(capacity * (BACK_OFF - depth));
        self.cut_at = Some(now);
    }

    fn without_queue(&mut self, verdict: Option<Verdict>, probed: Option<f64>, now: Micros) {
        if self.queued_since.take().is_some() {
            let full = self.ceiling.map_or(0.0, |(ceiling, _)| ceiling);
            self.target = self.target.max(RESUME * full);
            return;
        }
        if verdict == Some(Verdict::Onset) && self.experiment.is_none() {
            self.prober.fail(now);
            self.experiment = Some((self.target, now + EXPERIMENT + self.rtt.unwrap_or(0)));
            let through = self.delivery.rate(delivery::LONG).unwrap_or(self.target);
            self.target = self.target.min(through.max(0.5 * self.target));
            return;
        }
        if let Some((before, until)) = self.experiment {
            if now >= until {
                self.conclude(before, now);
            }
            return;
        }
        if let Some(limit) = self.loss.explanation().limit {
            self.target = self.target.min(limit);
            self.ceiling = Some((limit, now));
            self.prober.fail(now);
            return;
        }
        if self.loss.recent() > MAX_RANDOM {
            let through = self.delivery.rate(delivery::LONG).unwrap_or(self.target);
            let bearable = if self.loss.recent() > UNBEARABLE { through / (1.0 - MAX_RANDOM) } else { f64::MAX };
            self.target = self.target.min(bearable);
            self.prober.fail(now);
            return;
        }
        if let Some(rate) = probed {
            self.target = self.target.max(0.95 * rate);
        }
        self.grow(now);
    }

    /// The experiment is over: when the loss stayed although less was sent, it is not due to the rate.
    fn conclude(&mut self, before: f64, now: Micros) {
        self.experiment = None;
        if self.loss.explanation().limit.is_none() && self.loss.recent() > 0.5 * self.loss.explanation().random {
            self.target = self.target.max(before);
        } else {
            self.ceiling = Some((self.target, now));
        }
    }

    fn grow(&mut self, now: Micros) {
        let seconds = (now - self.last_update).clamp(0, SILENCE) as f64 / 1e6;
        self.ceiling = self.ceiling.filter(|(_, since)| now - since < CEILING_SPAN);
        let growth = match self.ceiling {
            Some((ceiling, _)) if self.target < 0.85 * ceiling => GROWTH_BACK,
            Some((ceiling, _)) if self.target < 1.1 * ceiling => GROWTH_NEAR,
            _ => GROWTH_UNKNOWN,
        };
        // draft-ietf-rmcat-gcc-02 §5.5: what was not tried is not known, so not more than half as much again as gets through.
        let tried = 1.5 * self.sendable(delivery::LONG) + 20e3;
        let grown = self.target * (1.0 + growth * seconds);
        self.target = self.target.max(grown.min(tried));
    }

    /// The rate of sending at which what got through would get through: random loss is on top.
    fn sendable(&self, span: Micros) -> f64 {
        let random = self.loss.explanation().random.min(MAX_RANDOM);
        self.delivery.rate(span).unwrap_or(self.target) / (1.0 - random)
    }

    fn wants_probe(&self, now: Micros) -> bool {
        let heard = self.last_feedback.is_some_and(|heard| now - heard < SILENCE / 2);
        let acquainted = self.first_feedback.is_some_and(|first| now - first > ACQUAINTANCE);
        let undisturbed = self.experiment.is_none() && self.queued_since.is_none();
        heard && acquainted && undisturbed && self.prober.may_begin(now) && self.wanted > 1.02 * self.target
    }

    fn probe_rate(&self) -> f64 {
        let step = if self.ceiling.is_none() { 2.0 } else { 1.5 };
        (step * self.target).min(1.1 * self.wanted).min(self.config.max.as_bps() as f64)
    }

    fn clamp(&mut self) {
        let bound = self.reports.bound().unwrap_or(f64::MAX);
        self.target = self.target.min(bound).clamp(self.config.min.as_bps() as f64, self.config.max.as_bps() as f64);
    }

    fn micros(&self, now: Instant) -> Micros {
        micros(now.saturating_duration_since(self.epoch))
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
