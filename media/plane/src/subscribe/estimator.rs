//! How much a subscriber's line carries, as its sender can tell from transport-wide feedback.
//!
//! Four things are measured, each in a module of its own: the [standing queue](queue) on the way, the [rate](delivery) that gets through,
//! what the [loss](loss) is due to, and, by [probes](probe), whether there is room for more. From them the estimate is controlled as in
//! draft-ietf-rmcat-gcc-02: multiplicative decrease to a part of the rate that gets through, then growth, careful near the rate at which
//! the line was last full. What differs, and why:
//!
//! - Congestion is a standing queue, not a trend of delays: rural radio lines jitter, and a queue that is full has no trend.
//! - A queue is believed at once only by who fills the line. A quiet picture on a wide line that meets a moment of somebody else's traffic says
//!   nothing about its width, and to take what gets through for it would pause the picture for seconds.
//! - A decrease is as deep as the queue, so that it is drained within a second instead of being kept.
//! - Loss alone is answered only when it depends on the rate. Google's loss controller takes 15 % of random loss for congestion and falls
//!   to the floor.
//!
//! Peers without transport-wide feedback (WHEP players) are [judged by their receiver reports](reports).

mod control;
mod delivery;
mod history;
mod loss;
mod probe;
mod queue;
mod reports;

use crate::rtp::rtcp::{ReportBlock, TransportFeedback};
use crate::units::Bitrate;
use delivery::Delivery;
use history::{History, Micros, micros};
use loss::Loss;
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
        Config {
            start: Bitrate::kbps(500),
            min: Bitrate::kbps(30),
            max: Bitrate::kbps(20_000),
        }
    }
}

/// A request to fill the line for a short while, to learn whether it carries more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// What should be sent in all: media, and retransmissions or padding on top.
    pub rate: Bitrate,
    /// Bytes of padding that are missing at this moment, so that the rate is reached.
    pub padding_bytes: usize,
    /// When to stop.
    pub until: Instant,
}

/// Feedback that stays away for this long means that nothing gets through.
const SILENCE: Micros = micros(Duration::from_millis(1000));

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
    /// How often feedback came after a silence.
    beginnings: u32,
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
            beginnings: 0,
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
        if let Some(seq) = transport_seq {
            self.prober.sent(size_bytes as u64, now);
            self.history.sent(seq, size_bytes as u16, now);
        }
        // A peer may negotiate transport-wide feedback and never send any.
        if self.last_feedback.is_none() {
            self.reports.sent(size_bytes as u64, now);
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
        self.queue.end_of_batch(
            now,
            self.delivery.rate(delivery::LONG).unwrap_or(self.target),
        );
        self.control(&batch, now);
        self.last_update = now;
    }

    /// A report block about one of our streams came; `rtt` is what [`crate::rtp::ntp::round_trip_time`] makes of it.
    pub fn receiver_report(&mut self, block: &ReportBlock, rtt: Option<Duration>, now: Instant) {
        let now = self.micros(now);
        if self.last_feedback.is_some() {
            return;
        }
        if let Some(rtt) = rtt {
            self.measured_rtt(micros(rtt));
        }
        self.target = self
            .reports
            .report(block, rtt.map(micros), self.target, now);
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
        self.reports.expire(now);
        self.history.make_room();
        let (Some(heard), Some(sent)) = (self.last_feedback, self.last_sent) else {
            return;
        };
        let patience = SILENCE.max(3 * self.rtt.unwrap_or(0));
        if sent > heard && now - heard > patience && now - self.last_update > SILENCE / 2 {
            self.prober.fail(now);
            self.target *= 0.75;
            self.last_update = now;
            self.clamp();
        }
    }

    /// The probe under way, or one that begins now; ask ten to a hundred times a second, and more often rather than
    /// less: padding comes in lumps of what was missing since the last time.
    pub fn probe(&mut self, now: Instant) -> Option<ProbePlan> {
        let at = self.micros(now);
        if self.prober.running(at).is_none() && self.wants_probe(at) {
            self.prober.begin(self.probe_rate(), at);
        }
        let probe = self.prober.running(at)?;
        Some(ProbePlan {
            rate: Bitrate::bps(probe.rate as u64),
            padding_bytes: self.prober.missing_bytes(at),
            until: now + Duration::from_micros((probe.until - at) as u64),
        })
    }

    /// What can be sent in all, retransmissions and RTP headers included.
    pub fn estimate(&self) -> Bitrate {
        Bitrate::bps(self.target as u64)
    }

    /// How often the line came back after a silence, its first beginning included. What was decided before is of another line.
    pub fn beginnings(&self) -> u32 {
        self.beginnings
    }

    /// The share of packets lost lately, 0–1.
    pub fn loss(&self) -> f32 {
        if self.last_feedback.is_some() {
            self.loss.recent() as f32
        } else {
            self.reports.loss() as f32
        }
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
        if self
            .last_feedback
            .is_none_or(|heard| now - heard > 2 * SILENCE)
        {
            (self.first_feedback, self.ceiling, self.was_full) = (Some(now), None, false);
            self.beginnings += 1;
            self.prober.reset(now);
            (self.loss, self.delivery) = (Loss::default(), Delivery::default());
            (self.experiment, self.queued) = (None, None);
        }
        self.last_feedback = Some(now);
    }

    fn measured_rtt(&mut self, sample: Micros) {
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
            .bound()
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
