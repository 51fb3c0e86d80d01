//! One peer's line, both ways.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

/// What a line does to what it carries; the same in both directions, but for the rate, which narrows only what the peer receives.
#[derive(Clone, Copy, Debug)]
pub struct LineSpec {
    /// One way.
    pub delay: Duration,
    /// Up to this much more, each datagram for itself: that reorders them.
    pub jitter: Duration,
    /// Share of datagrams lost, 0–1.
    pub loss: f64,
    /// Share of datagrams that arrive twice, 0–1.
    pub duplicates: f64,
    /// Bits per second towards the peer.
    pub rate: Option<u64>,
    /// Nothing passes any more.
    pub dead: bool,
}

impl LineSpec {
    /// 10 ms, nothing lost.
    pub const GOOD: LineSpec = LineSpec {
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        loss: 0.0,
        duplicates: 0.0,
        rate: None,
        dead: false,
    };
}

/// The longest queue before a narrow line, as a cheap router has it.
const QUEUE: Duration = Duration::from_millis(1_000);

/// See the module.
pub struct Line {
    pub spec: LineSpec,
    up: Vec<(Instant, Vec<u8>)>,
    down: Vec<(Instant, Vec<u8>)>,
    /// When the narrow end is done with what waits for it.
    busy_until: Option<Instant>,
}

impl Line {
    pub fn new(spec: LineSpec) -> Line {
        Line {
            spec,
            up: vec![],
            down: vec![],
            busy_until: None,
        }
    }

    /// The peer sends.
    pub fn up(&mut self, now: Instant, datagram: Vec<u8>, rng: &mut StdRng) {
        let spec = self.spec;
        carry(&spec, &mut self.up, now, datagram, rng);
    }

    /// The server sends.
    pub fn down(&mut self, now: Instant, datagram: Vec<u8>, rng: &mut StdRng) {
        let spec = self.spec;
        let mut sent = now;
        if let Some(rate) = spec.rate {
            let start = self.busy_until.unwrap_or(now).max(now);
            if start - now > QUEUE {
                return;
            }
            sent = start + Duration::from_micros(datagram.len() as u64 * 8_000_000 / rate);
            self.busy_until = Some(sent);
        }
        carry(&spec, &mut self.down, sent, datagram, rng);
    }

    pub fn arrived_up(&mut self, now: Instant) -> Vec<Vec<u8>> {
        arrived(&mut self.up, now)
    }

    pub fn arrived_down(&mut self, now: Instant) -> Vec<Vec<u8>> {
        arrived(&mut self.down, now)
    }
}

fn carry(
    spec: &LineSpec,
    wire: &mut Vec<(Instant, Vec<u8>)>,
    sent: Instant,
    datagram: Vec<u8>,
    rng: &mut StdRng,
) {
    if spec.dead || rng.random_bool(spec.loss) {
        return;
    }
    let copies = if rng.random_bool(spec.duplicates) {
        2
    } else {
        1
    };
    for _ in 0..copies {
        let jitter = spec.jitter.mul_f64(rng.random::<f64>());
        wire.push((sent + spec.delay + jitter, datagram.clone()));
    }
}

fn arrived(wire: &mut Vec<(Instant, Vec<u8>)>, now: Instant) -> Vec<Vec<u8>> {
    wire.sort_by_key(|(at, _)| *at);
    let due = wire.partition_point(|(at, _)| *at <= now);
    wire.drain(..due).map(|(_, datagram)| datagram).collect()
}
