//! Simulated sender, link and receiver in virtual time. The receiver uses the real feedback
//! generator and wire format.

use super::*;
use crate::ids::Ssrc;
use crate::publish::reception::ReceptionStats;
use crate::publish::twcc::FeedbackGenerator;
use crate::rtp::rtcp::{self, Compound, Rtcp};
use crate::units::SeqNo;
use crate::virtual_time;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;

/// Bottleneck link: packets wait in its queue, are serialized, and travel with a delay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) kbps: f64,
    /// One-way delay without queue.
    pub(crate) delay_ms: f64,
    /// Uniformly distributed additional delay; packets are not reordered.
    pub(crate) jitter_ms: f64,
    /// Loss rates of packets behind the queue, and of feedback, 0–1.
    pub(crate) loss: f64,
    pub(crate) feedback_loss: f64,
    /// Maximum queue; further packets are lost.
    pub(crate) max_queue_ms: f64,
    /// Token bucket: bytes that pass at any rate after a pause.
    pub(crate) bucket_bytes: f64,
    /// Clock drift of the receiver in ppm.
    pub(crate) drift_ppm: f64,
    /// The receiver's process is not scheduled for up to this long, then runs for up to a quarter
    /// of it, as on an old PC. Packets count as received when it runs.
    pub(crate) unscheduled_ms: f64,
}

impl Link {
    pub(crate) fn kbps(kbps: f64) -> Link {
        Link {
            kbps,
            delay_ms: 40.0,
            jitter_ms: 0.0,
            loss: 0.0,
            feedback_loss: 0.0,
            max_queue_ms: 1500.0,
            bucket_bytes: 0.0,
            drift_ppm: 0.0,
            unscheduled_ms: 0.0,
        }
    }
}

/// Behaviour of the simulated camera.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CameraModel {
    /// Layer bitrates to select from, as the allocator does; empty for an encoder that follows the
    /// estimate.
    pub(crate) layers_kbps: &'static [f64],
    pub(crate) max_kbps: f64,
    pub(crate) sends_padding: bool,
    pub(crate) padding_interval_ms: u64,
    /// True if the receiver sends TWCC feedback, false for receiver reports once per second (RFC
    /// 3550).
    pub(crate) sends_twcc: bool,
}

pub(crate) const ADAPTIVE: CameraModel = CameraModel {
    layers_kbps: &[],
    max_kbps: 3_000.0,
    sends_padding: true,
    padding_interval_ms: 10,
    sends_twcc: true,
};

pub(crate) struct Simulation {
    pub(crate) estimator: Estimator,
    pub(crate) link: Link,
    camera: CameraModel,
    rng: StdRng,
    start: Instant,
    now: Instant,
    generator: FeedbackGenerator,
    stats: ReceptionStats,
    next_seq: u64,
    /// Time at which the bottleneck has sent its queue; a token bucket lets it lag behind.
    busy_until: f64,
    last_arrival: f64,
    /// End of the receiver's current time slice, and start of the next.
    scheduled_until: f64,
    next_schedule: f64,
    arriving: VecDeque<(f64, u64)>,
    reports: VecDeque<(f64, Vec<u8>)>,
    /// Samples since the start of [`Simulation::run`]: estimates, queue delays in ms, bytes
    /// delivered.
    estimates: Vec<f64>,
    queues: Vec<f64>,
    delivered_bytes: f64,
}

/// Measurements of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) mean_kbps: f64,
    pub(crate) lowest_kbps: f64,
    pub(crate) delivered_kbps: f64,
    pub(crate) longest_queue_ms: f64,
    pub(crate) mean_queue_ms: f64,
}

impl Simulation {
    pub(crate) fn new(link: Link, camera: CameraModel, seed: u64) -> Simulation {
        let start = virtual_time::start();
        let mut estimator = Estimator::new(Config::default(), start);
        estimator.set_wanted(Bitrate::kbps(camera.max_kbps as u64));
        Simulation {
            estimator,
            link,
            camera,
            rng: StdRng::seed_from_u64(seed),
            start,
            now: start,
            generator: FeedbackGenerator::new(start),
            stats: ReceptionStats::new(Ssrc(3), 90_000),
            next_seq: 65_000,
            busy_until: 0.0,
            last_arrival: 0.0,
            scheduled_until: 0.0,
            next_schedule: 0.0,
            arriving: VecDeque::new(),
            reports: VecDeque::new(),
            estimates: Vec::new(),
            queues: Vec::new(),
            delivered_bytes: 0.0,
        }
    }

    /// Runs for `seconds` and returns the measurements.
    pub(crate) fn run(&mut self, seconds: f64) -> Measured {
        (self.estimates, self.queues, self.delivered_bytes) = (Vec::new(), Vec::new(), 0.0);
        let end = self.ms() + seconds * 1000.0;
        let mut frame = self.ms();
        while self.ms() < end {
            self.now += Duration::from_millis(1);
            let now = self.ms();
            self.deliver(now);
            if (now as u64).is_multiple_of(100) {
                self.estimator.handle_timeout(self.now);
                self.estimates
                    .push(self.estimator.estimate().as_bps() as f64 / 1000.0);
                self.queues.push((self.busy_until - now).max(0.0));
            }
            if now >= frame {
                frame += 33.0;
                self.send_frame();
            }
            if (now as u64).is_multiple_of(self.camera.padding_interval_ms)
                && self.camera.sends_padding
            {
                self.send_padding();
            }
        }
        self.measured(seconds)
    }

    fn measured(&self, seconds: f64) -> Measured {
        let mean = |list: &[f64]| list.iter().sum::<f64>() / list.len() as f64;
        Measured {
            mean_kbps: mean(&self.estimates),
            lowest_kbps: self.estimates.iter().copied().fold(f64::MAX, f64::min),
            delivered_kbps: self.delivered_bytes * 8.0 / 1000.0 / seconds,
            longest_queue_ms: self.queues.iter().copied().fold(0.0, f64::max),
            mean_queue_ms: mean(&self.queues),
        }
    }

    fn ms(&self) -> f64 {
        (self.now - self.start).as_micros() as f64 / 1000.0
    }

    fn rate(&self) -> f64 {
        let estimate = self.estimator.estimate().as_bps() as f64 / 1000.0;
        match self.camera.layers_kbps {
            [] => estimate.min(self.camera.max_kbps),
            layers => layers
                .iter()
                .copied()
                .filter(|layer| *layer * 1.1 <= estimate)
                .fold(layers[0], f64::max),
        }
    }

    /// Sends a video frame, whose size varies by a third, and an audio packet.
    fn send_frame(&mut self) {
        self.send(120.0);
        let mut left = self.rate() * 33.0 / 8.0 * self.rng.random_range(0.67..1.33) - 120.0;
        while left > 0.0 {
            self.send(left.clamp(60.0, 1200.0));
            left -= 1200.0;
        }
    }

    fn send_padding(&mut self) {
        let plan = self.estimator.probe(self.now);
        let mut left = plan.map_or(0, |plan| plan.padding_bytes);
        while left >= 300 {
            self.send(300.0);
            left -= 300;
        }
    }

    fn send(&mut self, bytes: f64) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let transport_seq = self.camera.sends_twcc.then_some(seq as u16);
        self.estimator.sent(transport_seq, bytes as usize, self.now);
        let now = self.ms();
        let bucket_ms = self.link.bucket_bytes * 8.0 / self.link.kbps;
        if self.busy_until - now > self.link.max_queue_ms {
            return;
        }
        self.busy_until = self.busy_until.max(now - bucket_ms) + bytes * 8.0 / self.link.kbps;
        if self.rng.random_bool(self.link.loss) {
            return;
        }
        let jitter = if self.link.jitter_ms > 0.0 {
            self.rng.random_range(0.0..self.link.jitter_ms)
        } else {
            0.0
        };
        let arrival =
            (self.busy_until.max(now) + self.link.delay_ms + jitter).max(self.last_arrival);
        self.last_arrival = arrival;
        self.delivered_bytes += bytes;
        self.arriving.push_back((arrival, seq));
    }

    /// Returns true if the receiver's process is scheduled.
    fn is_scheduled(&mut self, now: f64) -> bool {
        if self.link.unscheduled_ms > 0.0 && now >= self.next_schedule {
            self.scheduled_until = now + self.rng.random_range(0.0..self.link.unscheduled_ms / 4.0);
            self.next_schedule =
                self.scheduled_until + self.rng.random_range(0.0..self.link.unscheduled_ms);
        }
        self.link.unscheduled_ms == 0.0 || now <= self.scheduled_until
    }

    fn deliver(&mut self, now: f64) {
        if self.is_scheduled(now) {
            self.receive(now);
        }
        while self.reports.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.reports.pop_front().unwrap();
            for packet in rtcp::parse(&bytes) {
                let Ok(Rtcp::TransportFeedback(feedback)) = packet else {
                    panic!("{packet:?}")
                };
                self.estimator.transport_feedback(&feedback, self.now);
            }
        }
    }

    fn receive(&mut self, now: f64) {
        while self.arriving.front().is_some_and(|(at, _)| *at <= now) {
            let (at, seq) = self.arriving.pop_front().unwrap();
            let at = if self.link.unscheduled_ms > 0.0 {
                now
            } else {
                at
            };
            let by_their_clock = at * (1.0 + self.link.drift_ppm / 1e6);
            let arrived = self.start + Duration::from_micros((by_their_clock * 1000.0) as u64);
            self.generator.received(seq as u16, arrived);
            self.stats.received(SeqNo(seq), 0, arrived);
        }
        if !self.camera.sends_twcc {
            self.send_receiver_report(now);
        } else if self.generator.is_due(self.now) {
            self.send_feedback(now);
        }
    }

    fn send_feedback(&mut self, now: f64) {
        let mut buffer = [0; 1400];
        let mut out = Compound::new(&mut buffer);
        while self
            .generator
            .write(Ssrc(1), Ssrc(2), &mut out, self.now)
            .unwrap()
        {}
        if !self.rng.random_bool(self.link.feedback_loss) {
            self.reports
                .push_back((now + self.link.delay_ms, out.bytes().to_vec()));
        }
    }

    fn send_receiver_report(&mut self, now: f64) {
        if !(now as u64).is_multiple_of(1000) {
            return;
        }
        let rtt_ms = 2.0 * self.link.delay_ms + (self.busy_until - now).max(0.0);
        if let Some(block) = self.stats.report(self.now) {
            self.estimator.receiver_report(
                &block,
                Some(Duration::from_micros((rtt_ms * 1000.0) as u64)),
                self.now,
            );
        }
    }
}
