//! One sender, one line, one receiver, in virtual time. The receiver reports with the real feedback generator over the real wire format.

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

/// A bottleneck: packets wait in its queue, are sent one after another, and travel for the rest of the way.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub kbps: f64,
    /// One way, without the queue.
    pub delay_ms: f64,
    /// Uniformly distributed on top; packets do not overtake each other.
    pub jitter_ms: f64,
    /// Packets lost at random, behind the queue, and feedback on its way back.
    pub loss: f64,
    pub feedback_loss: f64,
    /// What does not fit into the queue is lost.
    pub queue_ms: f64,
    /// Bytes that pass at any rate after a pause, as a token bucket lets them.
    pub bucket_bytes: f64,
    /// How much faster the receiver's clock runs, in millionths.
    pub drift_ppm: f64,
    /// The receiver's processor is busy with something else for up to this long, then it looks for up to a quarter of that: an old PC. What
    /// came meanwhile is taken for having arrived when it looks, and reported from then on.
    pub absent_ms: f64,
}

impl Line {
    pub fn kbps(kbps: f64) -> Line {
        Line {
            kbps,
            delay_ms: 40.0,
            jitter_ms: 0.0,
            loss: 0.0,
            feedback_loss: 0.0,
            queue_ms: 1500.0,
            bucket_bytes: 0.0,
            drift_ppm: 0.0,
            absent_ms: 0.0,
        }
    }
}

/// What the camera sends and whether probes are filled.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Bitrates to choose from, as the allocator does; empty: whatever the estimate allows, in frames of equal size.
    pub layers_kbps: &'static [f64],
    pub max_kbps: f64,
    pub pads: bool,
    pub pads_every_ms: u64,
    /// Whether the receiver reports every packet, or only once a second (RFC 3550).
    pub reports_every_packet: bool,
}

pub const ADAPTIVE: Source = Source {
    layers_kbps: &[],
    max_kbps: 3_000.0,
    pads: true,
    pads_every_ms: 10,
    reports_every_packet: true,
};

pub struct Simulation {
    pub estimator: Estimator,
    pub line: Line,
    source: Source,
    rng: StdRng,
    start: Instant,
    now: Instant,
    generator: FeedbackGenerator,
    stats: ReceptionStats,
    next_seq: u64,
    /// When the bottleneck has sent everything it holds; a bucket lets this lag behind.
    busy_until: f64,
    last_arrival: f64,
    /// Until when the receiver looks, and when it looks again.
    looks_until: f64,
    looks_again: f64,
    arriving: VecDeque<(f64, u64)>,
    reports: VecDeque<(f64, Vec<u8>)>,
    /// Of the time since the last [`Simulation::measure`]: estimates, queue delays in ms, bytes sent and delivered.
    estimates: Vec<f64>,
    queues: Vec<f64>,
    delivered_bytes: f64,
}

/// What happened in a stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub mean_kbps: f64,
    pub lowest_kbps: f64,
    pub delivered_kbps: f64,
    pub longest_queue_ms: f64,
    pub mean_queue_ms: f64,
}

impl Simulation {
    pub fn new(line: Line, source: Source, seed: u64) -> Simulation {
        let start = virtual_time::start();
        let mut estimator = Estimator::new(Config::default(), start);
        estimator.set_wanted(Bitrate::kbps(source.max_kbps as u64));
        Simulation {
            estimator,
            line,
            source,
            rng: StdRng::seed_from_u64(seed),
            start,
            now: start,
            generator: FeedbackGenerator::new(start),
            stats: ReceptionStats::new(Ssrc(3), 90_000),
            next_seq: 65_000,
            busy_until: 0.0,
            last_arrival: 0.0,
            looks_until: 0.0,
            looks_again: 0.0,
            arriving: VecDeque::new(),
            reports: VecDeque::new(),
            estimates: Vec::new(),
            queues: Vec::new(),
            delivered_bytes: 0.0,
        }
    }

    /// Runs for `seconds` and tells what happened.
    pub fn run(&mut self, seconds: f64) -> Measured {
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
            if (now as u64).is_multiple_of(self.source.pads_every_ms) && self.source.pads {
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
        match self.source.layers_kbps {
            [] => estimate.min(self.source.max_kbps),
            layers => layers
                .iter()
                .copied()
                .filter(|layer| *layer * 1.1 <= estimate)
                .fold(layers[0], f64::max),
        }
    }

    /// A frame of video, whose size varies by a third, and a packet of sound.
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
        let transport_seq = self.source.reports_every_packet.then_some(seq as u16);
        self.estimator.sent(transport_seq, bytes as usize, self.now);
        let now = self.ms();
        let bucket_ms = self.line.bucket_bytes * 8.0 / self.line.kbps;
        if self.busy_until - now > self.line.queue_ms {
            return;
        }
        self.busy_until = self.busy_until.max(now - bucket_ms) + bytes * 8.0 / self.line.kbps;
        if self.rng.random_bool(self.line.loss) {
            return;
        }
        let jitter = if self.line.jitter_ms > 0.0 {
            self.rng.random_range(0.0..self.line.jitter_ms)
        } else {
            0.0
        };
        let arrival =
            (self.busy_until.max(now) + self.line.delay_ms + jitter).max(self.last_arrival);
        self.last_arrival = arrival;
        self.delivered_bytes += bytes;
        self.arriving.push_back((arrival, seq));
    }

    /// Whether the receiver has its processor.
    fn looks(&mut self, now: f64) -> bool {
        if self.line.absent_ms > 0.0 && now >= self.looks_again {
            self.looks_until = now + self.rng.random_range(0.0..self.line.absent_ms / 4.0);
            self.looks_again = self.looks_until + self.rng.random_range(0.0..self.line.absent_ms);
        }
        self.line.absent_ms == 0.0 || now <= self.looks_until
    }

    fn deliver(&mut self, now: f64) {
        if self.looks(now) {
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
            let at = if self.line.absent_ms > 0.0 { now } else { at };
            let by_their_clock = at * (1.0 + self.line.drift_ppm / 1e6);
            let arrived = self.start + Duration::from_micros((by_their_clock * 1000.0) as u64);
            self.generator.received(seq as u16, arrived);
            self.stats.received(SeqNo(seq), 0, arrived);
        }
        if !self.source.reports_every_packet {
            self.report_once_a_second(now);
        } else if self.generator.is_due(self.now) {
            self.report(now);
        }
    }

    fn report(&mut self, now: f64) {
        let mut buffer = [0; 1400];
        let mut out = Compound::new(&mut buffer);
        while self
            .generator
            .write(Ssrc(1), Ssrc(2), &mut out, self.now)
            .unwrap()
        {}
        if !self.rng.random_bool(self.line.feedback_loss) {
            self.reports
                .push_back((now + self.line.delay_ms, out.bytes().to_vec()));
        }
    }

    fn report_once_a_second(&mut self, now: f64) {
        if !(now as u64).is_multiple_of(1000) {
            return;
        }
        let rtt_ms = 2.0 * self.line.delay_ms + (self.busy_until - now).max(0.0);
        if let Some(block) = self.stats.report(self.now) {
            self.estimator.receiver_report(
                &block,
                Some(Duration::from_micros((rtt_ms * 1000.0) as u64)),
                self.now,
            );
        }
    }
}
