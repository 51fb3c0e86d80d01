//! Send-side bandwidth estimation for one subscriber, from transport-wide feedback.
//!
//! Four quantities are measured, each in its own module: [queuing delay](queuing_delay), [delivery
//! rate](delivery_rate), the cause of [loss](loss), and, by [probes](probe), spare bandwidth. The
//! control follows draft-ietf-rmcat-gcc-02: a multiplicative decrease below the delivery rate, then
//! an increase that is slow near the last known capacity. It differs where rural links require it:
//!
//! - Congestion is a standing queue, not a delay gradient: radio links jitter, and a full queue has
//!   no gradient.
//! - Queuing delay counts as congestion immediately only if we send near the estimate. An
//!   application-limited sender that meets a burst of cross traffic learns nothing about the
//!   capacity; decreasing to the delivery rate would pause its video for seconds.
//! - A decrease is as deep as the queue, which then drains within a second.
//! - Loss alone causes a decrease only if it depends on the rate. Google's loss-based controller
//!   treats 15 % of random loss as congestion and falls to its minimum.
//!
//! Peers without transport-wide feedback (WHEP players) are estimated from their [receiver
//! reports](receiver_reports).

mod control;
mod delivery_rate;
mod loss;
mod probe;
mod queuing_delay;
mod receiver_reports;
mod sent_history;

use crate::rtp::rtcp::{ReportBlock, TransportFeedback};
use crate::units::Bitrate;
use delivery_rate::DeliveryRate;
use loss::LossClassifier;
use probe::Prober;
use queuing_delay::QueuingDelay;
use receiver_reports::ReportEstimator;
use sent_history::{Micros, SentHistory, micros};
use std::time::{Duration, Instant};

/// Initial value and bounds of an estimate.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Initial estimate.
    pub start: Bitrate,
    /// Minimum estimate; audio fits into it.
    pub min: Bitrate,
    /// Maximum estimate.
    pub max: Bitrate,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            start: Bitrate::kbps(500),
            min: Bitrate::kbps(30),
            max: Bitrate::kbps(20_000),
        }
    }
}

/// Probe cluster: a request to send at a higher rate for a short time, to find spare bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// Total rate to send: media, and retransmissions or padding on top.
    pub rate: Bitrate,
    /// Bytes of padding currently missing to reach the rate.
    pub padding_bytes: usize,
    /// End of the probe.
    pub until: Instant,
}

/// Time without feedback after which the path counts as interrupted.
const FEEDBACK_TIMEOUT: Micros = micros(Duration::from_millis(1000));

/// Bandwidth estimator of one transport.
#[derive(Debug)]
pub struct Estimator {
    config: Config,
    epoch: Instant,
    history: SentHistory,
    queue: QueuingDelay,
    delivery: DeliveryRate,
    loss: LossClassifier,
    prober: Prober,
    reports: ReportEstimator,
    /// Estimate in bits per second.
    target: f64,
    /// Rate that the caller would send without a limit.
    wanted: f64,
    rtt: Option<Micros>,
    /// Last known capacity.
    ceiling: Option<f64>,
    /// True once a capacity was found; until then the estimate grows by fast probing.
    was_limited: bool,
    /// Time of the last decrease for a queue; older packets do not show its effect.
    last_decrease: Option<Micros>,
    /// Start of the current queue, and the estimate before it.
    queued: Option<(Micros, f64)>,
    /// Estimate before the onset of loss, and the end of the loss experiment.
    experiment: Option<(f64, Micros)>,
    /// First feedback since the path (re)started.
    path_start: Option<Micros>,
    /// Number of path (re)starts.
    path_epoch: u32,
    last_feedback: Option<Micros>,
    last_sent: Option<Micros>,
    last_update: Micros,
}

impl Estimator {
    /// Creates an estimator with the initial estimate of `config`.
    pub fn new(config: Config, now: Instant) -> Estimator {
        Estimator {
            config,
            epoch: now,
            history: SentHistory::new(),
            queue: QueuingDelay::new(),
            delivery: DeliveryRate::default(),
            loss: LossClassifier::default(),
            prober: Prober::new(),
            reports: ReportEstimator::default(),
            target: config.start.as_bps() as f64,
            wanted: 0.0,
            rtt: None,
            ceiling: None,
            was_limited: false,
            last_decrease: None,
            queued: None,
            experiment: None,
            path_start: None,
            path_epoch: 0,
            last_feedback: None,
            last_sent: None,
            last_update: 0,
        }
    }

    /// Records a sent packet: media, retransmission or padding. `transport_seq` is its
    /// transport-wide sequence number, if negotiated; `size_bytes` is the size of the datagram.
    pub fn sent(&mut self, transport_seq: Option<u16>, size_bytes: usize, now: Instant) {
        let now = self.micros(now);
        self.last_sent = Some(now);
        if let Some(seq) = transport_seq {
            self.prober.sent(size_bytes as u64, now);
            self.history.sent(seq, size_bytes as u16, now);
        }
        // A peer can negotiate transport-wide feedback and never send it.
        if self.last_feedback.is_none() {
            self.reports.sent(size_bytes as u64, now);
        }
    }

    /// Processes transport-wide feedback.
    pub fn transport_feedback(&mut self, feedback: &TransportFeedback<'_>, now: Instant) {
        let now = self.micros(now);
        let (queue, prober) = (&mut self.queue, &mut self.prober);
        let summary = self.history.process(feedback, |arrival| {
            queue.record(arrival);
            prober.received(arrival);
        });
        if summary.arrived + summary.lost == 0 {
            return;
        }
        self.on_feedback(now);
        if let Some(newest) = summary.newest {
            self.update_rtt(now - newest.sent);
        }
        self.delivery.add(&summary);
        self.queue.end_of_feedback(
            now,
            self.delivery
                .rate(delivery_rate::LONG_WINDOW)
                .unwrap_or(self.target),
        );
        self.control(&summary, now);
        self.last_update = now;
    }

    /// Processes a report block about one of our streams; `rtt` is the result of
    /// [`crate::rtp::ntp::round_trip_time`].
    pub fn receiver_report(&mut self, block: &ReportBlock, rtt: Option<Duration>, now: Instant) {
        let now = self.micros(now);
        if self.last_feedback.is_some() {
            return;
        }
        if let Some(rtt) = rtt {
            self.update_rtt(micros(rtt));
        }
        self.target = self
            .reports
            .report(block, rtt.map(micros), self.target, now);
        self.clamp();
    }

    /// Processes a REMB, which is an upper bound while it is fresh.
    pub fn remb(&mut self, bitrate: Bitrate, now: Instant) {
        let now = self.micros(now);
        self.reports.remb(bitrate.as_bps() as f64, now);
    }

    /// Sets the rate that would be sent without a limit; probes do not exceed it.
    pub fn set_wanted(&mut self, wanted: Bitrate) {
        self.wanted = wanted.as_bps() as f64;
    }

    /// Runs the timers; call it about ten times per second. Decreases the estimate if feedback is
    /// missing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.micros(now);
        self.reports.expire(now);
        self.history.grow();
        let (Some(last_feedback_at), Some(sent)) = (self.last_feedback, self.last_sent) else {
            return;
        };
        let timeout = FEEDBACK_TIMEOUT.max(3 * self.rtt.unwrap_or(0));
        if sent > last_feedback_at
            && now - last_feedback_at > timeout
            && now - self.last_update > FEEDBACK_TIMEOUT / 2
        {
            self.prober.abort(now);
            self.target *= 0.75;
            self.last_update = now;
            self.clamp();
        }
    }

    /// Returns the current probe, or starts one. Call it ten to a hundred times per second; more
    /// frequent calls give smoother padding.
    pub fn probe(&mut self, now: Instant) -> Option<ProbePlan> {
        let at = self.micros(now);
        if self.prober.running(at).is_none() && self.wants_probe(at) {
            self.prober.start(self.probe_rate(), at);
        }
        let probe = self.prober.running(at)?;
        Some(ProbePlan {
            rate: Bitrate::bps(probe.rate as u64),
            padding_bytes: self.prober.missing_bytes(at),
            until: now + Duration::from_micros((probe.until - at) as u64),
        })
    }

    /// Estimated bandwidth, retransmissions and RTP headers included.
    pub fn estimate(&self) -> Bitrate {
        Bitrate::bps(self.target as u64)
    }

    /// Number of path (re)starts, the first included. Callers drop per-path state when it changes.
    pub fn path_epoch(&self) -> u32 {
        self.path_epoch
    }

    /// Share of packets lost in the last seconds, 0–1.
    pub fn loss(&self) -> f32 {
        if self.last_feedback.is_some() {
            self.loss.recent() as f32
        } else {
            self.reports.loss() as f32
        }
    }

    /// Smoothed round-trip time; `None` before the first measurement.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|rtt| Duration::from_micros(rtt.max(0) as u64))
    }

    /// Queuing delay on the path.
    pub fn queue_delay(&self) -> Duration {
        Duration::from_micros(self.queue.delay() as u64)
    }

    /// Registers feedback. After a long silence the path may have changed, so its state is reset.
    fn on_feedback(&mut self, now: Micros) {
        if self
            .last_feedback
            .is_none_or(|last_feedback_at| now - last_feedback_at > 2 * FEEDBACK_TIMEOUT)
        {
            (self.path_start, self.ceiling, self.was_limited) = (Some(now), None, false);
            self.path_epoch += 1;
            self.prober.reset(now);
            (self.loss, self.delivery) = (LossClassifier::default(), DeliveryRate::default());
            (self.experiment, self.queued) = (None, None);
        }
        self.last_feedback = Some(now);
    }

    fn update_rtt(&mut self, sample: Micros) {
        self.rtt = Some(self.rtt.map_or(sample, |rtt| rtt + (sample - rtt) / 8));
    }

    fn clamp(&mut self) {
        self.target = self
            .target
            .min(self.highest())
            .max(self.config.min.as_bps() as f64);
    }

    fn highest(&self) -> f64 {
        self.reports
            .remb_bound()
            .unwrap_or(f64::MAX)
            .min(self.config.max.as_bps() as f64)
    }

    fn micros(&self, now: Instant) -> Micros {
        micros(now.saturating_duration_since(self.epoch))
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
