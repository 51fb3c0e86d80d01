//! Tells random loss from congestion.
//!
//! A radio loses a share of packets whatever the rate; a full line loses what exceeds it. So of each quarter of a second three figures are
//! kept, the rate at which packets were sent, how many, and how many were lost, and two explanations are compared by likelihood:
//!
//! - *random*: every packet is lost with probability p
//! - *a limit*: of a rate r above the limit b, 1 − b/r is lost as well; below it only p
//!
//! The second has to be clearly more likely to count. As both explain a constant rate equally well, [`super::Estimator`] answers the onset
//! of loss by sending less for a moment: that is the experiment that tells them apart.

use super::history::{Micros, micros};
use std::time::Duration;

/// Observations kept: 8 s. A line that changed is judged anew after that.
const OBSERVATIONS: usize = 32;
/// Length of an observation; with fewer packets than these it goes on.
const SPAN: Micros = micros(Duration::from_millis(250));
const MIN_PACKETS: u32 = 10;
/// Loss up to here is let pass without asking why: repair copes.
const HARMLESS: f64 = 0.02;
/// Loss that begins is answered from here on (draft-ietf-rmcat-gcc-02 §6 has the same 10 %).
const ALARMING: f64 = 0.10;
/// Losses come in bursts, so each counts as half an independent one.
const DISPERSION: f64 = 0.5;
/// Log-likelihood ratio that counts as clear: e⁴ ≈ 55 to one.
const CLEAR: f64 = 4.0;
/// Observations with about the same rate are judged as one: within 6 %.
const RATE_CLASSES: usize = 12;
/// Limits that are considered, relative to the highest rate observed.
const LIMITS: [f64; 13] = [
    0.97, 0.94, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4, 0.3, 0.2,
];
/// Random shares that are considered together with a limit.
const SHARES: [f64; 11] = [
    0.001, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4,
];

#[derive(Clone, Copy, Debug, Default)]
struct Observation {
    /// Bits per second sent.
    rate: f64,
    packets: f64,
    lost: f64,
}

/// What the loss of the last seconds is explained by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Explanation {
    /// The share that is lost at any rate.
    pub random: f64,
    /// The rate beyond which everything is lost, if there is one.
    pub limit: Option<f64>,
}

#[derive(Debug, Default)]
pub(super) struct Loss {
    ring: [Observation; OBSERVATIONS],
    count: usize,
    /// The observation under way: since when, bytes sent, packets, lost.
    began: Option<Micros>,
    bytes: u64,
    packets: u32,
    lost: u32,
    explanation: Explanation,
}

/// What an observation that was just completed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As explained.
    AsExpected,
    /// Much more is lost than the explanation says: something changed.
    Onset,
}

impl Loss {
    /// Adds what feedback told of packets sent up to `last_sent`; `late` of those counted lost before were not. A verdict comes with each
    /// completed observation.
    pub(super) fn add(
        &mut self,
        last_sent: Micros,
        bytes: u64,
        packets: u32,
        lost: u32,
        late: u32,
    ) -> Option<Verdict> {
        let began = *self.began.get_or_insert(last_sent);
        self.bytes += bytes;
        self.packets += packets;
        self.lost = (self.lost + lost).saturating_sub(late);
        let span = last_sent - began;
        if span < SPAN || self.packets < MIN_PACKETS {
            return None;
        }
        let observation = Observation {
            rate: self.bytes as f64 * 8e6 / span as f64,
            packets: f64::from(self.packets),
            lost: f64::from(self.lost.min(self.packets)),
        };
        (self.began, self.bytes, self.packets, self.lost) = (Some(last_sent), 0, 0, 0);
        Some(self.observe(observation))
    }

    /// Forgets the observation under way: its losses came with a queue, and are explained by that.
    pub(super) fn skip(&mut self, last_sent: Micros) {
        (self.began, self.bytes, self.packets, self.lost) = (Some(last_sent), 0, 0, 0);
    }

    pub(super) fn explanation(&self) -> Explanation {
        self.explanation
    }

    /// The share lost in the last second.
    pub(super) fn recent(&self) -> f64 {
        let recent = self.newest(4).fold((0.0, 0.0), |sum, one| {
            (sum.0 + one.lost, sum.1 + one.packets)
        });
        recent.0 / recent.1.max(1.0)
    }

    fn observe(&mut self, observation: Observation) -> Verdict {
        self.ring[self.count % OBSERVATIONS] = observation;
        self.count += 1;
        if self.is_onset() {
            self.keep_newest(2);
            self.explanation.limit = None;
            return Verdict::Onset;
        }
        self.explanation = self.explain();
        Verdict::AsExpected
    }

    /// Whether the last two observations contradict the explanation so far.
    fn is_onset(&self) -> bool {
        let (mut lost, mut packets, mut expected) = (0.0, 0.0, 0.0);
        for one in self.newest(2) {
            (lost, packets) = (lost + one.lost, packets + one.packets);
            expected += one.packets * self.explanation.loss_at(one.rate).max(HARMLESS);
        }
        let (share, expected) = (lost / packets.max(1.0), expected / packets.max(1.0));
        share > ALARMING
            && share > 1.5 * expected
            && likelihood(share, lost, packets) - likelihood(expected, lost, packets) > CLEAR
    }

    fn explain(&self) -> Explanation {
        let total = self.newest(OBSERVATIONS).fold((0.0, 0.0), |sum, one| {
            (sum.0 + one.lost, sum.1 + one.packets)
        });
        let random = Explanation {
            random: total.0 / total.1.max(1.0),
            limit: None,
        };
        if random.random < HARMLESS {
            return random;
        }
        let (classes, highest) = self.classes();
        let limits = LIMITS
            .iter()
            .flat_map(|part| SHARES.iter().map(move |share| (part * highest, *share)));
        let best = limits
            .map(|(limit, share)| Explanation {
                random: share,
                limit: Some(limit),
            })
            .map(|limited| (limited, limited.likelihood(&classes)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        match best {
            Some((limited, likelihood)) if likelihood > random.likelihood(&classes) + CLEAR => {
                limited
            }
            _ => random,
        }
    }

    /// Adds up observations of about the same rate, and tells the highest rate.
    fn classes(&self) -> ([Observation; RATE_CLASSES], f64) {
        let highest = self
            .newest(OBSERVATIONS)
            .fold(1.0, |highest: f64, one| highest.max(one.rate));
        let mut classes = [Observation::default(); RATE_CLASSES];
        for one in self.newest(OBSERVATIONS) {
            // 16 classes for each halving of the rate; the last takes all lower ones.
            let class = ((highest / one.rate.max(1.0)).log2() * 16.0) as usize;
            let class = &mut classes[class.min(RATE_CLASSES - 1)];
            let packets = class.packets + one.packets;
            class.rate = (class.rate * class.packets + one.rate * one.packets) / packets.max(1.0);
            (class.packets, class.lost) = (packets, class.lost + one.lost);
        }
        (classes, highest)
    }

    fn newest(&self, count: usize) -> impl Iterator<Item = &Observation> {
        let kept = self.count.min(OBSERVATIONS);
        (0..count.min(kept)).map(|n| &self.ring[(self.count - 1 - n) % OBSERVATIONS])
    }

    fn keep_newest(&mut self, count: usize) {
        let mut kept = [Observation::default(); OBSERVATIONS];
        let count = count.min(self.count);
        for (slot, one) in kept[..count].iter_mut().rev().zip(self.newest(count)) {
            *slot = *one;
        }
        (self.ring, self.count) = (kept, count);
    }
}

impl Explanation {
    /// The share that is lost when sending at `rate`.
    fn loss_at(&self, rate: f64) -> f64 {
        let excess = self
            .limit
            .map_or(0.0, |limit| (1.0 - limit / rate.max(1.0)).max(0.0));
        self.random + (1.0 - self.random) * excess
    }

    fn likelihood(&self, classes: &[Observation]) -> f64 {
        let used = classes.iter().filter(|class| class.packets > 0.0);
        used.map(|class| likelihood(self.loss_at(class.rate), class.lost, class.packets))
            .sum()
    }
}

/// Logarithm of the likelihood of `lost` out of `packets` when each is lost with probability `share`.
fn likelihood(share: f64, lost: f64, packets: f64) -> f64 {
    let share = share.clamp(0.001, 0.999);
    DISPERSION * (lost * share.ln() + (packets - lost) * (1.0 - share).ln())
}
