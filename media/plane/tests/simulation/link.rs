//! Network link of one peer in both directions.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

/// Impairments of a link, equal in both directions except `rate`, which limits only the direction
/// to the peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkSpec {
    /// One-way delay.
    pub(crate) delay: Duration,
    /// Maximum additional delay, random per datagram, which reorders them.
    pub(crate) jitter: Duration,
    /// Loss rate, 0–1.
    pub(crate) loss: f64,
    /// Share of duplicated datagrams, 0–1.
    pub(crate) duplicates: f64,
    /// Bandwidth limit towards the peer in bits per second.
    pub(crate) rate: Option<u64>,
    /// True if the link drops everything.
    pub(crate) dead: bool,
}

impl LinkSpec {
    /// 10 ms delay without loss.
    pub(crate) const GOOD: LinkSpec = LinkSpec {
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        loss: 0.0,
        duplicates: 0.0,
        rate: None,
        dead: false,
    };
}

/// Maximum queue in front of a bandwidth limit, as in a cheap router.
const MAX_QUEUE: Duration = Duration::from_millis(1_000);

/// Link with the datagrams in flight.
pub(crate) struct Link {
    pub(crate) spec: LinkSpec,
    up: Vec<(Instant, Vec<u8>)>,
    down: Vec<(Instant, Vec<u8>)>,
    /// Time at which the queue of the bandwidth limit is empty.
    busy_until: Option<Instant>,
}

impl Link {
    pub(crate) fn new(spec: LinkSpec) -> Link {
        Link {
            spec,
            up: vec![],
            down: vec![],
            busy_until: None,
        }
    }

    /// Sends a datagram from the peer.
    pub(crate) fn up(&mut self, now: Instant, datagram: Vec<u8>, rng: &mut StdRng) {
        let spec = self.spec;
        carry(&spec, &mut self.up, now, datagram, rng);
    }

    /// Sends a datagram to the peer.
    pub(crate) fn down(&mut self, now: Instant, datagram: Vec<u8>, rng: &mut StdRng) {
        let spec = self.spec;
        let mut sent = now;
        if let Some(rate) = spec.rate {
            let start = self.busy_until.unwrap_or(now).max(now);
            if start - now > MAX_QUEUE {
                return;
            }
            sent = start + Duration::from_micros(datagram.len() as u64 * 8_000_000 / rate);
            self.busy_until = Some(sent);
        }
        carry(&spec, &mut self.down, sent, datagram, rng);
    }

    pub(crate) fn arrived_up(&mut self, now: Instant) -> Vec<Vec<u8>> {
        arrived(&mut self.up, now)
    }

    pub(crate) fn arrived_down(&mut self, now: Instant) -> Vec<Vec<u8>> {
        arrived(&mut self.down, now)
    }
}

fn carry(
    spec: &LinkSpec,
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
