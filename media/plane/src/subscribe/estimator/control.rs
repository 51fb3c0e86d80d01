//! Control of the estimate by the measurements.

use super::loss::LossChange;
use super::sent_history::{FeedbackSummary, Micros, micros};
use super::{Estimator, FEEDBACK_TIMEOUT, delivery_rate};
use std::time::Duration;

/// A queue is drained in about this time after a decrease, in µs.
const DRAIN_TIME_US: f64 = 0.8e6;
/// Share of the delivery rate that is sent after a decrease for a short queue.
const BACKOFF: f64 = 0.9;
/// Maximum additional decrease to drain a queue; audio must continue.
const MAX_DRAIN: f64 = 0.45;
/// Time until a decrease takes effect: the current frame is sent before.
const DECREASE_DELAY: Micros = micros(Duration::from_millis(150));
/// Change of the queuing delay between two feedback messages that still counts as steady.
const STEADY_CHANGE: Micros = micros(Duration::from_millis(5));
/// Share of the capacity that is sent once the queue is drained.
const RESUME_FACTOR: f64 = 0.88;
/// Maximum random loss that is compensated by a higher rate; beyond it the media are useless.
const MAX_COMPENSATED_LOSS: f64 = 0.25;
/// Loss above which the rate is decreased, independent of the cause.
const MAX_LOSS: f64 = 0.35;
/// Time of feedback before the first probe.
const PROBE_START_DELAY: Micros = micros(Duration::from_millis(500));
/// A queue that does not shrink for packets sent this long after the last decrease is due to cross
/// traffic.
const CROSS_TRAFFIC_TIMEOUT: Micros = micros(Duration::from_millis(1500));
/// Share of the estimate below which the sender is application-limited. Its queue counts as
/// congestion only if it lasts or is long: cross traffic is bursty, radios retransmit, and old PCs
/// are late.
const APP_LIMITED_SHARE: f64 = 0.7;
/// Duration and delay above which the queue of an application-limited sender counts.
const APP_LIMITED_TIME: Micros = micros(Duration::from_millis(200));
const APP_LIMITED_DELAY: Micros = micros(Duration::from_millis(400));
/// Ratio of the estimate to the last known capacity at which the capacity counts as outdated.
const CEILING_EXPIRY: f64 = 1.4;
/// Probe rate relative to the estimate before a capacity is known, and after; the second is lower
/// because a token bucket can make the link look faster.
const PROBE_STEP_UNLIMITED: f64 = 2.0;
const PROBE_STEP_LIMITED: f64 = 1.35;
/// Time for a token bucket to empty at the new rate, before the next probe.
const PROBE_SETTLE_TIME: Micros = micros(Duration::from_millis(1000));
/// Duration of a loss experiment, plus the round trip: two observations at the reduced rate.
const EXPERIMENT: Micros = micros(Duration::from_millis(700));
/// Growth per second: without a known capacity, well below it, and near it.
const GROWTH_UNLIMITED: f64 = 0.15;
const GROWTH_BELOW_CEILING: f64 = 0.25;
const GROWTH_NEAR_CEILING: f64 = 0.04;

impl Estimator {
    /// Updates the estimate after one feedback message.
    pub(super) fn control(&mut self, summary: &FeedbackSummary, now: Micros) {
        let delivery_rate = self
            .delivery
            .rate(delivery_rate::LONG_WINDOW)
            .unwrap_or(self.target);
        // During a queue the delivery rate is our own reduced send rate; use the estimate from
        // before.
        let rate = self
            .queued
            .map_or(delivery_rate, |(_, before)| before.max(delivery_rate));
        let is_queued = self.queue.delay() > self.queue.threshold(rate);
        let loss_change = self.observe_loss(summary, is_queued);
        let probed = self.prober.result(summary, self.loss.model().random, now);
        if is_queued {
            self.drain(summary, now);
        } else {
            self.control_without_queue(loss_change, probed, now);
        }
        self.clamp();
    }

    fn observe_loss(&mut self, summary: &FeedbackSummary, is_queued: bool) -> Option<LossChange> {
        if is_queued || summary.last_sent < self.path_start.unwrap_or(0) {
            self.loss.discard(summary.last_sent);
            return None;
        }
        let bytes = summary.arrived_bytes + summary.lost_bytes + summary.unknown_bytes;
        self.loss.add(
            summary.last_sent,
            bytes,
            summary.arrived + summary.lost,
            summary.lost,
            summary.late,
        )
    }

    /// Decreases the estimate below the delivery rate, deep enough to drain the queue.
    fn drain(&mut self, summary: &FeedbackSummary, now: Micros) {
        self.prober.abort(now);
        self.experiment = None;
        let (since, before) = *self.queued.get_or_insert((now, self.target));
        if self.is_app_limited(since, before, now) {
            return;
        }
        let newest_sent = summary.newest.map_or(since, |newest| newest.sent);
        let since_cut = self
            .last_decrease
            .filter(|cut| *cut >= since)
            .map(|cut| newest_sent - cut);
        if since_cut.is_some_and(|span| span > CROSS_TRAFFIC_TIMEOUT)
            && self.queue.change() > -STEADY_CHANGE
        {
            // Competing traffic: undo our back-off.
            self.queue.reset_base();
            (self.target, self.queued) = (self.target.max(BACKOFF * before), None);
            return;
        }
        // After a decrease the delivery rate equals the send rate and does not show the capacity,
        // unless the queue still grows.
        let is_saturated = since_cut.is_none_or(|span| span < DECREASE_DELAY)
            && self.queue.change() > -STEADY_CHANGE;
        if !is_saturated && self.queue.change() < STEADY_CHANGE {
            return;
        }
        // During a queue the delivery rate is the capacity; older deliveries are not
        // representative.
        let capacity = self.sustainable_rate(
            (now - since).clamp(delivery_rate::SHORT_WINDOW, delivery_rate::LONG_WINDOW),
        );
        // Packets sent after the newest received one are in the queue as well.
        let in_flight_delay =
            (now - newest_sent) as f64 * (self.target / capacity.max(1.0) - 1.0).clamp(0.0, 1.0);
        let depth = ((self.queue.delay() as f64 + in_flight_delay) / DRAIN_TIME_US).min(MAX_DRAIN);
        let lower = capacity * (BACKOFF - depth);
        if lower < self.target {
            (self.target, self.last_decrease) = (lower, Some(now));
            (self.ceiling, self.was_limited) = (Some(capacity), true);
        }
    }

    /// Returns true if the sender is application-limited and the queue, which began at `since` with
    /// the estimate `before`, is short and new.
    fn is_app_limited(&self, since: Micros, before: f64, now: Micros) -> bool {
        let is_full = self
            .delivery
            .send_rate(delivery_rate::LONG_WINDOW)
            .is_none_or(|offered| offered > APP_LIMITED_SHARE * before);
        !is_full && now - since < APP_LIMITED_TIME && self.queue.delay() < APP_LIMITED_DELAY
    }

    fn control_without_queue(
        &mut self,
        loss_change: Option<LossChange>,
        probed: Option<f64>,
        now: Micros,
    ) {
        if self.queued.take().is_some() {
            self.target = self.target.max(RESUME_FACTOR * self.ceiling.unwrap_or(0.0));
            return;
        }
        if loss_change == Some(LossChange::Onset) && self.experiment.is_none() {
            self.prober.abort(now);
            self.experiment = Some((self.target, now + EXPERIMENT + self.rtt.unwrap_or(0)));
            let delivered = self
                .delivery
                .rate(delivery_rate::LONG_WINDOW)
                .unwrap_or(self.target);
            self.target = self.target.min(delivered.max(0.5 * self.target));
            return;
        }
        if let Some((before, until)) = self.experiment {
            if now >= until {
                self.end_experiment(before);
            }
            return;
        }
        if let Some(limit) = self.loss.model().limit {
            (self.ceiling, self.was_limited) = (Some(limit), true);
            self.prober.abort(now);
            if self.target < BACKOFF * limit {
                self.grow(now);
            }
            self.target = self.target.min(limit);
            return;
        }
        if self.loss.recent() > MAX_COMPENSATED_LOSS {
            let delivered = self
                .delivery
                .rate(delivery_rate::LONG_WINDOW)
                .unwrap_or(self.target);
            let tolerable = if self.loss.recent() > MAX_LOSS {
                delivered / (1.0 - MAX_COMPENSATED_LOSS)
            } else {
                f64::MAX
            };
            self.target = self.target.min(tolerable);
            self.prober.abort(now);
            return;
        }
        if let Some(rate) = probed {
            self.target = self.target.max(0.95 * rate);
            let settle = if self.was_limited {
                PROBE_SETTLE_TIME + self.rtt.unwrap_or(0)
            } else {
                0
            };
            self.prober.wait_until(now + settle);
        }
        self.grow(now);
    }

    /// Ends a loss experiment: loss that stayed at the reduced rate does not depend on the rate.
    fn end_experiment(&mut self, before: f64) {
        self.experiment = None;
        if self.loss.model().limit.is_none() && self.loss.recent() > 0.5 * self.loss.model().random
        {
            self.target = self.target.max(before);
        } else {
            (self.ceiling, self.was_limited) = (Some(self.target), true);
        }
    }

    fn grow(&mut self, now: Micros) {
        let seconds = (now - self.last_update).clamp(0, FEEDBACK_TIMEOUT) as f64 / 1e6;
        self.ceiling = self
            .ceiling
            .filter(|ceiling| self.target < CEILING_EXPIRY * ceiling);
        let growth = match self.ceiling {
            Some(ceiling) if self.target < 0.85 * ceiling => GROWTH_BELOW_CEILING,
            Some(ceiling) if self.target < 1.1 * ceiling => GROWTH_NEAR_CEILING,
            _ => GROWTH_UNLIMITED,
        };
        // draft-ietf-rmcat-gcc-02 §5.5: the estimate must not exceed 1.5 times the delivery rate,
        // because a higher one is untested.
        let limit_untested = 1.5 * self.sustainable_rate(delivery_rate::LONG_WINDOW) + 20e3;
        let grown = self.target * (1.0 + growth * seconds);
        self.target = self.target.max(grown.min(limit_untested));
    }

    /// Send rate for which the delivery rate is the measured one, random loss included.
    fn sustainable_rate(&self, span: Micros) -> f64 {
        let random = self.loss.model().random.min(MAX_COMPENSATED_LOSS);
        self.delivery.rate(span).unwrap_or(self.target) / (1.0 - random)
    }

    pub(super) fn wants_probe(&self, now: Micros) -> bool {
        let has_feedback = self
            .last_feedback
            .is_some_and(|at| now - at < FEEDBACK_TIMEOUT / 2);
        let is_past_start = self
            .path_start
            .is_some_and(|first| now - first > PROBE_START_DELAY);
        let is_stable = self.experiment.is_none() && self.queued.is_none();
        has_feedback
            && is_past_start
            && self.target < self.highest()
            && is_stable
            && self.prober.may_start(now)
            && self.wanted > 1.02 * self.target
    }

    pub(super) fn probe_rate(&self) -> f64 {
        let step = if self.was_limited {
            PROBE_STEP_LIMITED
        } else {
            PROBE_STEP_UNLIMITED
        };
        (step * self.target)
            .min(1.1 * self.wanted)
            .min(self.highest())
    }
}
