//! Classification of loss as random or congestion.
//!
//! A radio link loses packets at any rate; a congested link loses the excess over its capacity.
//! Send rate, packets and losses of each quarter of a second are recorded, and two models are
//! compared by likelihood:
//!
//! - *random*: every packet is lost with probability p
//! - *limited*: above a capacity b, a share 1 − b/r of the rate r is lost as well; below it only p
//!
//! The limited model must be clearly more likely. Both explain a constant rate equally well, so
//! [`super::Estimator`] answers the onset of loss with a short decrease: an experiment that
//! distinguishes them.

use super::sent_history::{Micros, micros};
use std::time::Duration;

/// Observations kept: 8 s; then a changed link is judged by new observations only.
const OBSERVATIONS: usize = 32;
/// Minimum duration and minimum number of packets of an observation.
const SPAN: Micros = micros(Duration::from_millis(250));
const MIN_PACKETS: u32 = 10;
/// Loss that is tolerated without analysis; retransmissions repair it.
const TOLERATED_LOSS: f64 = 0.02;
/// Loss whose onset starts an experiment (draft-ietf-rmcat-gcc-02 §6 also has 10 %).
const ONSET_LOSS: f64 = 0.10;
/// Losses are bursty, so each counts as half an independent one.
const DISPERSION: f64 = 0.5;
/// Log-likelihood ratio that decides for the limited model: e⁴ ≈ 55 to 1.
const MIN_LOG_LIKELIHOOD_RATIO: f64 = 4.0;
/// Classes of observations with almost equal rates: within 4.4 %.
const RATE_CLASSES: usize = 12;
/// Candidate capacities, relative to the highest observed rate.
const RELATIVE_LIMITS: [f64; 13] = [
    0.97, 0.94, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4, 0.3, 0.2,
];
/// Candidate random loss rates of the limited model.
const RANDOM_LOSS_RATES: [f64; 11] = [
    0.001, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4,
];

#[derive(Clone, Copy, Debug, Default)]
struct Observation {
    /// Send rate in bits per second.
    rate: f64,
    packets: f64,
    lost: f64,
}

/// Loss model of the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LossModel {
    /// Rate of random loss, 0–1.
    pub random: f64,
    /// Capacity in bits per second; `None` in the random model.
    pub limit: Option<f64>,
}

#[derive(Debug, Default)]
pub(super) struct LossClassifier {
    ring: [Observation; OBSERVATIONS],
    count: usize,
    /// Current observation: start, bytes sent, packets, lost packets.
    start: Option<Micros>,
    bytes: u64,
    packets: u32,
    lost: u32,
    model: LossModel,
}

/// Result of a completed observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LossChange {
    /// The model explains the loss.
    AsExpected,
    /// Loss is much higher than the model explains.
    Onset,
}

impl LossClassifier {
    /// Adds feedback about packets sent up to `last_sent`; `late` packets were counted as lost
    /// before. Returns a result for each completed observation.
    pub(super) fn add(
        &mut self,
        last_sent: Micros,
        bytes: u64,
        packets: u32,
        lost: u32,
        late: u32,
    ) -> Option<LossChange> {
        let start = *self.start.get_or_insert(last_sent);
        self.bytes += bytes;
        self.packets += packets;
        self.lost = (self.lost + lost).saturating_sub(late);
        let span = last_sent - start;
        if span < SPAN || self.packets < MIN_PACKETS {
            return None;
        }
        let observation = Observation {
            rate: self.bytes as f64 * 8e6 / span as f64,
            packets: f64::from(self.packets),
            lost: f64::from(self.lost.min(self.packets)),
        };
        (self.start, self.bytes, self.packets, self.lost) = (Some(last_sent), 0, 0, 0);
        Some(self.observe(observation))
    }

    /// Discards the current observation, whose losses are due to a queue.
    pub(super) fn discard(&mut self, last_sent: Micros) {
        (self.start, self.bytes, self.packets, self.lost) = (Some(last_sent), 0, 0, 0);
    }

    pub(super) fn model(&self) -> LossModel {
        self.model
    }

    /// Share of packets lost in the last second.
    pub(super) fn recent(&self) -> f64 {
        let recent = self.newest(4).fold((0.0, 0.0), |sum, observation| {
            (sum.0 + observation.lost, sum.1 + observation.packets)
        });
        recent.0 / recent.1.max(1.0)
    }

    fn observe(&mut self, observation: Observation) -> LossChange {
        self.ring[self.count % OBSERVATIONS] = observation;
        self.count += 1;
        if self.is_onset() {
            self.keep_newest(2);
            self.model.limit = None;
            return LossChange::Onset;
        }
        self.model = self.fit_model();
        LossChange::AsExpected
    }

    /// Returns true if the last two observations contradict the model.
    fn is_onset(&self) -> bool {
        let (mut lost, mut packets, mut expected) = (0.0, 0.0, 0.0);
        for one in self.newest(2) {
            (lost, packets) = (lost + one.lost, packets + one.packets);
            expected += one.packets * self.model.loss_at(one.rate).max(TOLERATED_LOSS);
        }
        let (share, expected) = (lost / packets.max(1.0), expected / packets.max(1.0));
        share > ONSET_LOSS
            && share > 1.5 * expected
            && log_likelihood(share, lost, packets) - log_likelihood(expected, lost, packets)
                > MIN_LOG_LIKELIHOOD_RATIO
    }

    fn fit_model(&self) -> LossModel {
        let total = self
            .newest(OBSERVATIONS)
            .fold((0.0, 0.0), |sum, observation| {
                (sum.0 + observation.lost, sum.1 + observation.packets)
            });
        let random = LossModel {
            random: total.0 / total.1.max(1.0),
            limit: None,
        };
        if random.random < TOLERATED_LOSS {
            return random;
        }
        let (classes, highest) = self.classes();
        let limits = RELATIVE_LIMITS.iter().flat_map(|part| {
            RANDOM_LOSS_RATES
                .iter()
                .map(move |share| (part * highest, *share))
        });
        let best = limits
            .map(|(limit, share)| LossModel {
                random: share,
                limit: Some(limit),
            })
            .map(|limited| (limited, limited.log_likelihood(&classes)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        match best {
            Some((limited, likelihood))
                if likelihood > random.log_likelihood(&classes) + MIN_LOG_LIKELIHOOD_RATIO =>
            {
                limited
            }
            _ => random,
        }
    }

    /// Merges observations with almost equal rates; returns them and the highest rate.
    fn classes(&self) -> ([Observation; RATE_CLASSES], f64) {
        let highest = self
            .newest(OBSERVATIONS)
            .fold(1.0, |highest: f64, one| highest.max(one.rate));
        let mut classes = [Observation::default(); RATE_CLASSES];
        for one in self.newest(OBSERVATIONS) {
            // 16 classes per octave of the rate; the last class has all lower rates.
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

impl LossModel {
    /// Expected loss at a send rate.
    fn loss_at(&self, rate: f64) -> f64 {
        let excess = self
            .limit
            .map_or(0.0, |limit| (1.0 - limit / rate.max(1.0)).max(0.0));
        self.random + (1.0 - self.random) * excess
    }

    fn log_likelihood(&self, classes: &[Observation]) -> f64 {
        let used = classes.iter().filter(|class| class.packets > 0.0);
        used.map(|class| log_likelihood(self.loss_at(class.rate), class.lost, class.packets))
            .sum()
    }
}

/// Log-likelihood of `lost` out of `packets` for a loss probability of `share`.
fn log_likelihood(share: f64, lost: f64, packets: f64) -> f64 {
    let share = share.clamp(0.001, 0.999);
    DISPERSION * (lost * share.ln() + (packets - lost) * (1.0 - share).ln())
}
