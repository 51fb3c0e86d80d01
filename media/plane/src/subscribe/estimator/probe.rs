//! Bandwidth probes: sending above the estimate for a short time.
//!
//! A probe is not a short packet train, which a token bucket lets pass at any rate, but 0.4 s of
//! sending at the probed rate. It is aborted as soon as a queue builds up.

use super::sent_history::{Arrival, FeedbackSummary, Micros, micros};
use std::time::Duration;

/// Four feedback messages, and enough to empty a token bucket of 16 kB at 300 kbit/s above its
/// rate.
const PROBE_DURATION: Micros = micros(Duration::from_millis(400));
/// Maximum wait for the feedback about the end of a probe.
const FEEDBACK_TIMEOUT: Micros = micros(Duration::from_millis(1000));
/// Pause after a probe that found a limit; it doubles each time up to the maximum.
const MIN_PAUSE: Micros = micros(Duration::from_secs(3));
const MAX_PAUSE: Micros = micros(Duration::from_secs(30));
/// Pause after a probe without enough packets, which has no result.
const UNFILLED_PAUSE: Micros = micros(Duration::from_secs(2));

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Probe {
    /// Total send rate in bits per second.
    pub rate: f64,
    pub from: Micros,
    pub until: Micros,
}

#[derive(Debug)]
pub(super) struct Prober {
    current: Option<Probe>,
    not_before: Micros,
    pause: Micros,
    /// Counters of the current probe: bytes sent and received, first and last received packet.
    sent_bytes: u64,
    received_bytes: u64,
    arrivals: Option<(Arrival, Arrival)>,
}

impl Prober {
    pub(super) fn new() -> Prober {
        Prober {
            current: None,
            not_before: 0,
            pause: MIN_PAUSE,
            sent_bytes: 0,
            received_bytes: 0,
            arrivals: None,
        }
    }

    /// Returns the probe to fill now.
    pub(super) fn running(&self, now: Micros) -> Option<Probe> {
        self.current.filter(|probe| now < probe.until)
    }

    pub(super) fn may_start(&self, now: Micros) -> bool {
        self.current.is_none() && now >= self.not_before
    }

    pub(super) fn start(&mut self, rate: f64, now: Micros) {
        self.current = Some(Probe {
            rate,
            from: now,
            until: now + PROBE_DURATION,
        });
        (self.sent_bytes, self.received_bytes, self.arrivals) = (0, 0, None);
    }

    pub(super) fn sent(&mut self, bytes: u64, now: Micros) {
        if self.running(now).is_some() {
            self.sent_bytes += bytes;
        }
    }

    /// Bytes that should have been sent by now but were not.
    pub(super) fn missing_bytes(&self, now: Micros) -> usize {
        let Some(probe) = self.running(now) else {
            return 0;
        };
        let planned = (probe.rate * (now - probe.from) as f64 / 8e6) as u64;
        planned.saturating_sub(self.sent_bytes) as usize
    }

    pub(super) fn received(&mut self, arrival: Arrival) {
        if self
            .current
            .is_none_or(|probe| arrival.sent < probe.from || arrival.sent >= probe.until)
        {
            return;
        }
        self.received_bytes += u64::from(arrival.size);
        let (first, last) = self.arrivals.unwrap_or((arrival, arrival));
        let first = if arrival.arrived < first.arrived {
            arrival
        } else {
            first
        };
        let last = if arrival.arrived > last.arrived {
            arrival
        } else {
            last
        };
        self.arrivals = Some((first, last));
    }

    /// Aborts the current probe and delays the next: the link is congested.
    pub(super) fn abort(&mut self, now: Micros) {
        if self.current.take().is_some() {
            self.not_before = now + self.pause;
            self.pause = (self.pause * 2).min(MAX_PAUSE);
        } else {
            self.not_before = self.not_before.max(now + MIN_PAUSE);
        }
    }

    /// Resets the pause; the path has changed.
    pub(super) fn reset(&mut self, now: Micros) {
        (self.current, self.not_before, self.pause) = (None, now, MIN_PAUSE);
    }

    /// Delays the next probe until `time`.
    pub(super) fn wait_until(&mut self, time: Micros) {
        self.not_before = self.not_before.max(time);
    }

    /// Returns the delivered rate once feedback covers the probe's last packets. `random` is the
    /// rate of random loss.
    pub(super) fn result(
        &mut self,
        summary: &FeedbackSummary,
        random: f64,
        now: Micros,
    ) -> Option<f64> {
        let probe = self.current?;
        if summary.last_sent < probe.until && now < probe.until + FEEDBACK_TIMEOUT {
            return None;
        }
        self.current = None;
        let sent = self.sent_bytes as f64 * 8e6 / PROBE_DURATION as f64;
        let Some((first, last)) = self
            .arrivals
            .filter(|(first, last)| last.arrived - first.arrived > PROBE_DURATION / 2)
        else {
            self.not_before = now + UNFILLED_PAUSE;
            return None;
        };
        let rate = (self.received_bytes - u64::from(first.size)) as f64 * 8e6
            / (last.arrived - first.arrived) as f64;
        let delivered = (rate / (1.0 - random)).min(sent);
        let is_reached = delivered > 0.85 * probe.rate;
        self.pause = if is_reached { MIN_PAUSE } else { self.pause };
        self.not_before = if is_reached {
            now
        } else {
            now + UNFILLED_PAUSE
        };
        Some(delivered)
    }
}
