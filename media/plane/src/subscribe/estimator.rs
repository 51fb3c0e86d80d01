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
/// A decrease is in effect for packets that were sent this long after it, when the frame under way is out.
const SETTLE: Micros = micros(Duration::from_millis(150));
/// A queue that changes by less than this from message to message stands still.
const STEADY: Micros = micros(Duration::from_millis(5));
/// Part of the rate at which the line was full that is sent once its queue is drained.
const RESUME: f64 = 0.88;
/// More random loss than this is not made up for by sending more: what gets through becomes useless.
const MAX_RANDOM: f64 = 0.25;
/// With more loss than this, whatever it is due to, less is sent.
const UNBEARABLE: f64 = 0.35;
/// Nothing is probed before feedback has shown for this long what the line is like.
const ACQUAINTANCE: Micros = micros(Duration::from_millis(500));
/// When packets that were sent this long after the last decrease still find a queue that does not shrink, it is not ours.
const NOT_OURS: Micros = micros(Duration::from_millis(1500));
/// The rate at which the line was full is forgotten when it carries this much more.
const OUTGROWN: f64 = 1.4;
/// How much more is probed for before the line was ever full, and after: then a token bucket may only make it look wider.
const STEP_UNKNOWN: f64 = 2.0;
const STEP_KNOWN: f64 = 1.35;
/// Time for a token bucket to run dry at the new rate, before the next probe.
const TRIAL: Micros = micros(Duration::from_millis(1000));
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
    /// The rate at which the line was last full.
    ceiling: Option<f64>,
    /// Whether the line was ever full: until then the beginning is a quick search.
    was_full: bool,
    /// The last decrease for a queue. Packets sent before tell nothing of its effect.
    cut_at: Option<Micros>,
    /// Since when there has been a queue without a break, and the estimate from before it.
    queued: Option<(Micros, f64)>,
    /// The rate from before the onset of loss, until it is clear what it was due to.
    experiment: Option<(f64, Micros)>,
    /// The first feedback since a silence.
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
            was_full: false,
            cut_at: None,
            queued: None,
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
        self.heard(now);
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

    /// Feedback after a silence is of a line that may be another one: the search begins anew.
    fn heard(&mut self, now: Micros) {
        if self.last_feedback.is_none_or(|heard| now - heard > 2 * SILENCE) {
            (self.first_feedback, self.ceiling, self.was_full) = (Some(now), None, false);
            self.prober.reset(now);
            (self.loss, self.delivery) = (Loss::default(), Delivery::default());
            (self.experiment, self.queued) = (None, None);
        }
        self.last_feedback = Some(now);
    }

    fn measured_rtt(&mut self, sample: Micros) {
        self.rtt = Some(self.rtt.map_or(sample, |rtt| rtt + (sample - rtt) / 8));
    }

    fn control(&mut self, batch: &Batch, now: Micros) {
        let gets_through = self.delivery.rate(delivery::LONG).unwrap_or(self.target);
        // Once there is a queue, the line is as slow as it was then: what gets through later is what we send.
        let rate = self.queued.map_or(gets_through, |(_, before)| before.max(gets_through));
        let is_queued = self.queue.delay() > self.queue.threshold(rate);
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
        if is_queued || batch.last_sent < self.first_feedback.unwrap_or(0) {
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
        let (since, before) = *self.queued.get_or_insert((now, self.target));
        let newest_sent = batch.newest.map_or(since, |newest| newest.sent);
        let since_cut = self.cut_at.filter(|cut| *cut >= since).map(|cut| newest_sent - cut);
        if since_cut.is_some_and(|span| span > NOT_OURS) && self.queue.change() > -STEADY {
            // Nor was the decrease ours to make.
            self.queue.rebase();
            (self.target, self.queued) = (self.target.max(BACK_OFF * before), None);
            return;
        }
        // What was sent after a decrease no longer fills the line, and arrives as slowly as it was sent: that says nothing of the line,
        // unless the queue grows all the same.
        let is_filled = since_cut.is_none_or(|span| span < SETTLE) && self.queue.change() > -STEADY;
        if !is_filled && self.queue.change() < STEADY {
            return;
        }
        // While there is a queue the line delivers all it can. What arrived before is not of this time.
        let capacity = self.sendable((now - since).clamp(delivery::SHORT, delivery::LONG));
        // What was sent since the newest packet that arrived is in the queue as well.
        let unseen = (now - newest_sent) as f64 * (self.target / capacity.max(1.0) - 1.0).clamp(0.0, 1.0);
        let depth = ((self.queue.delay() as f64 + unseen) / DRAIN).min(DEEPEST);
        let lower = capacity * (BACK_OFF - depth);
        if lower < self.target {
            (self.target, self.cut_at) = (lower, Some(now));
            (self.ceiling, self.was_full) = (Some(capacity), true);
        }
    }

    fn without_queue(&mut self, verdict: Option<Verdict>, probed: Option<f64>, now: Micros) {
        if self.queued.take().is_some() {
            self.target = self.target.max(RESUME * self.ceiling.unwrap_or(0.0));
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
                self.conclude(before);
            }
            return;
        }
        if let Some(limit) = self.loss.explanation().limit {
            (self.ceiling, self.was_full) = (Some(limit), true);
            self.prober.fail(now);
            if self.target < BACK_OFF * limit {
                self.grow(now);
            }
            self.target = self.target.min(limit);
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
            let trial = if self.was_full { TRIAL + self.rtt.unwrap_or(0) } else { 0 };
            self.prober.wait_until(now + trial);
        }
        self.grow(now);
    }

    /// The experiment is over: when the loss stayed although less was sent, it is not due to the rate.
    fn conclude(&mut self, before: f64) {
        self.experiment = None;
        if self.loss.explanation().limit.is_none() && self.loss.recent() > 0.5 * self.loss.explanation().random {
            self.target = self.target.max(before);
        } else {
            (self.ceiling, self.was_full) = (Some(self.target), true);
        }
    }

    fn grow(&mut self, now: Micros) {
        let seconds = (now - self.last_update).clamp(0, SILENCE) as f64 / 1e6;
        self.ceiling = self.ceiling.filter(|ceiling| self.target < OUTGROWN * ceiling);
        let growth = match self.ceiling {
            Some(ceiling) if self.target < 0.85 * ceiling => GROWTH_BACK,
            Some(ceiling) if self.target < 1.1 * ceiling => GROWTH_NEAR,
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
        let undisturbed = self.experiment.is_none() && self.queued.is_none();
        heard
            && acquainted
            && self.target < self.highest()
            && undisturbed
            && self.prober.may_begin(now)
            && self.wanted > 1.02 * self.target
    }

    fn probe_rate(&self) -> f64 {
        let step = if self.was_full { STEP_KNOWN } else { STEP_UNKNOWN };
        (step * self.target).min(1.1 * self.wanted).min(self.highest())
    }

    fn clamp(&mut self) {
        self.target = self.target.min(self.highest()).max(self.config.min.as_bps() as f64);
    }

    fn highest(&self) -> f64 {
        self.reports.bound().unwrap_or(f64::MAX).min(self.config.max.as_bps() as f64)
    }

    fn micros(&self, now: Instant) -> Micros {
        micros(now.saturating_duration_since(self.epoch))
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
