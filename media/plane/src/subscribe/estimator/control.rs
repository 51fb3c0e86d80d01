//! How the estimate follows from what is measured.

use super::history::{Batch, Micros, micros};
use super::loss::Verdict;
use super::{Estimator, SILENCE, delivery};
use std::time::Duration;

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
/// Less than this part of the estimate is not what fills a line. Then a queue is believed only once it has stood for a while or is long: others
/// send in bursts, radios repeat, an old PC was busy with something else.
const NOT_FULL: f64 = 0.7;
const DOUBT: Micros = micros(Duration::from_millis(200));
const BEYOND_DOUBT: Micros = micros(Duration::from_millis(400));
/// The rate at which the line was full is forgotten when it carries this much more.
const OUTGROWN: f64 = 1.4;
/// How much more is probed for before the line was ever full, and after: then a token bucket may only make it look wider.
const STEP_UNKNOWN: f64 = 2.0;
const STEP_KNOWN: f64 = 1.35;
/// Time for a token bucket to run dry at the new rate, before the next probe.
const TRIAL: Micros = micros(Duration::from_millis(1000));
/// Two observations at the reduced rate, and the round trip: then it is clear what the loss is due to.
const EXPERIMENT: Micros = micros(Duration::from_millis(700));
/// Growth per second: with nothing known, up to near the ceiling, near it.
const GROWTH_UNKNOWN: f64 = 0.15;
const GROWTH_BACK: f64 = 0.25;
const GROWTH_NEAR: f64 = 0.04;

impl Estimator {
    /// Draws the conclusions from one feedback message.
    pub(super) fn control(&mut self, batch: &Batch, now: Micros) {
        let gets_through = self.delivery.rate(delivery::LONG).unwrap_or(self.target);
        // Once there is a queue, the line is as slow as it was then: what gets through later is what we send.
        let rate = self
            .queued
            .map_or(gets_through, |(_, before)| before.max(gets_through));
        let is_queued = self.queue.delay() > self.queue.threshold(rate);
        let verdict = self.observe_loss(batch, is_queued);
        let probed = self
            .prober
            .result(batch, self.loss.explanation().random, now);
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
        self.loss.add(
            batch.last_sent,
            bytes,
            batch.arrived + batch.lost,
            batch.lost,
            batch.late,
        )
    }

    /// There is a queue: send less than gets through, by as much as drains it.
    fn drain(&mut self, batch: &Batch, now: Micros) {
        self.prober.fail(now);
        self.experiment = None;
        let (since, before) = *self.queued.get_or_insert((now, self.target));
        if self.is_doubtful(since, before, now) {
            return;
        }
        let newest_sent = batch.newest.map_or(since, |newest| newest.sent);
        let since_cut = self
            .cut_at
            .filter(|cut| *cut >= since)
            .map(|cut| newest_sent - cut);
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
        let unseen =
            (now - newest_sent) as f64 * (self.target / capacity.max(1.0) - 1.0).clamp(0.0, 1.0);
        let depth = ((self.queue.delay() as f64 + unseen) / DRAIN).min(DEEPEST);
        let lower = capacity * (BACK_OFF - depth);
        if lower < self.target {
            (self.target, self.cut_at) = (lower, Some(now));
            (self.ceiling, self.was_full) = (Some(capacity), true);
        }
    }

    /// Whether a queue that began at `since`, with the estimate `before`, may be nothing but a moment of bad luck.
    fn is_doubtful(&self, since: Micros, before: f64, now: Micros) -> bool {
        let is_full = self
            .delivery
            .offered(delivery::LONG)
            .is_none_or(|offered| offered > NOT_FULL * before);
        !is_full && now - since < DOUBT && self.queue.delay() < BEYOND_DOUBT
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
            let bearable = if self.loss.recent() > UNBEARABLE {
                through / (1.0 - MAX_RANDOM)
            } else {
                f64::MAX
            };
            self.target = self.target.min(bearable);
            self.prober.fail(now);
            return;
        }
        if let Some(rate) = probed {
            self.target = self.target.max(0.95 * rate);
            let trial = if self.was_full {
                TRIAL + self.rtt.unwrap_or(0)
            } else {
                0
            };
            self.prober.wait_until(now + trial);
        }
        self.grow(now);
    }

    /// The experiment is over: when the loss stayed although less was sent, it is not due to the rate.
    fn conclude(&mut self, before: f64) {
        self.experiment = None;
        if self.loss.explanation().limit.is_none()
            && self.loss.recent() > 0.5 * self.loss.explanation().random
        {
            self.target = self.target.max(before);
        } else {
            (self.ceiling, self.was_full) = (Some(self.target), true);
        }
    }

    fn grow(&mut self, now: Micros) {
        let seconds = (now - self.last_update).clamp(0, SILENCE) as f64 / 1e6;
        self.ceiling = self
            .ceiling
            .filter(|ceiling| self.target < OUTGROWN * ceiling);
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

    pub(super) fn wants_probe(&self, now: Micros) -> bool {
        let heard = self
            .last_feedback
            .is_some_and(|heard| now - heard < SILENCE / 2);
        let acquainted = self
            .first_feedback
            .is_some_and(|first| now - first > ACQUAINTANCE);
        let undisturbed = self.experiment.is_none() && self.queued.is_none();
        heard
            && acquainted
            && self.target < self.highest()
            && undisturbed
            && self.prober.may_begin(now)
            && self.wanted > 1.02 * self.target
    }

    pub(super) fn probe_rate(&self) -> f64 {
        let step = if self.was_full {
            STEP_KNOWN
        } else {
            STEP_UNKNOWN
        };
        (step * self.target)
            .min(1.1 * self.wanted)
            .min(self.highest())
    }
}
