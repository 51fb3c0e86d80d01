//! Filling the line for a moment, to learn whether it carries more than is sent.
//!
//! A probe is not a burst of a few packets, which a token bucket lets through at any rate, but a third of a second of sending at the rate
//! in question, given up as soon as a queue begins to build.

use super::history::{Arrival, Batch, Micros, micros};
use std::time::Duration;

/// Long enough for four feedback messages, and to drain a token bucket of 16 kB at 300 kbit/s of excess.
const LENGTH: Micros = micros(Duration::from_millis(400));
/// Feedback for the end of a probe is awaited this long.
const PATIENCE: Micros = micros(Duration::from_millis(1000));
/// Pause after a probe that found a limit; it doubles each time, up to the longest.
const MIN_PAUSE: Micros = micros(Duration::from_secs(3));
const MAX_PAUSE: Micros = micros(Duration::from_secs(30));
/// Pause after a probe that was not filled, so that nothing was learnt.
const UNFILLED_PAUSE: Micros = micros(Duration::from_secs(2));

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Probe {
    /// Bits per second to be sent in all.
    pub rate: f64,
    pub from: Micros,
    pub until: Micros,
}

#[derive(Debug)]
pub(super) struct Prober {
    current: Option<Probe>,
    not_before: Micros,
    pause: Micros,
    /// Of the packets sent during the current probe: bytes sent and arrived, first and last arrival.
    sent_bytes: u64,
    arrived_bytes: u64,
    arrivals: Option<(Arrival, Arrival)>,
}

impl Prober {
    pub(super) fn new() -> Prober {
        Prober {
            current: None,
            not_before: 0,
            pause: MIN_PAUSE,
            sent_bytes: 0,
            arrived_bytes: 0,
            arrivals: None,
        }
    }

    /// The probe that is to be filled now.
    pub(super) fn running(&self, now: Micros) -> Option<Probe> {
        self.current.filter(|probe| now < probe.until)
    }

    pub(super) fn may_begin(&self, now: Micros) -> bool {
        self.current.is_none() && now >= self.not_before
    }

    pub(super) fn begin(&mut self, rate: f64, now: Micros) {
        self.current = Some(Probe {
            rate,
            from: now,
            until: now + LENGTH,
        });
        (self.sent_bytes, self.arrived_bytes, self.arrivals) = (0, 0, None);
    }

    pub(super) fn sent(&mut self, bytes: u64, now: Micros) {
        if self.running(now).is_some() {
            self.sent_bytes += bytes;
        }
    }

    /// What should have been sent by now and was not.
    pub(super) fn missing_bytes(&self, now: Micros) -> usize {
        let Some(probe) = self.running(now) else {
            return 0;
        };
        let planned = (probe.rate * (now - probe.from) as f64 / 8e6) as u64;
        planned.saturating_sub(self.sent_bytes) as usize
    }

    pub(super) fn arrived(&mut self, arrival: Arrival) {
        if self
            .current
            .is_none_or(|probe| arrival.sent < probe.from || arrival.sent >= probe.until)
        {
            return;
        }
        self.arrived_bytes += u64::from(arrival.size);
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

    /// The line is full: nothing more is to be learnt for a while.
    pub(super) fn fail(&mut self, now: Micros) {
        if self.current.take().is_some() {
            self.not_before = now + self.pause;
            self.pause = (self.pause * 2).min(MAX_PAUSE);
        } else {
            self.not_before = self.not_before.max(now + MIN_PAUSE);
        }
    }

    /// Forgets past failures: the line is another one.
    pub(super) fn reset(&mut self, now: Micros) {
        (self.current, self.not_before, self.pause) = (None, now, MIN_PAUSE);
    }

    /// No probe before `moment`.
    pub(super) fn wait_until(&mut self, moment: Micros) {
        self.not_before = self.not_before.max(moment);
    }

    /// When feedback has spoken of the probe's last packets: the rate that got through, where `random` is the share that is lost anyway.
    pub(super) fn result(&mut self, batch: &Batch, random: f64, now: Micros) -> Option<f64> {
        let probe = self.current?;
        if batch.last_sent < probe.until && now < probe.until + PATIENCE {
            return None;
        }
        self.current = None;
        let sent = self.sent_bytes as f64 * 8e6 / LENGTH as f64;
        let Some((first, last)) = self
            .arrivals
            .filter(|(first, last)| last.arrived - first.arrived > LENGTH / 2)
        else {
            self.not_before = now + UNFILLED_PAUSE;
            return None;
        };
        let arrived = (self.arrived_bytes - u64::from(first.size)) as f64 * 8e6
            / (last.arrived - first.arrived) as f64;
        let through = (arrived / (1.0 - random)).min(sent);
        let is_whole = through > 0.85 * probe.rate;
        self.pause = if is_whole { MIN_PAUSE } else { self.pause };
        self.not_before = if is_whole { now } else { now + UNFILLED_PAUSE };
        Some(through)
    }
}
