//! How much a subscriber's line carries.

use crate::rtp::rtcp::{ReportBlock, TransportFeedback};
use crate::units::Bitrate;
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
        Config { start: Bitrate::kbps(500), min: Bitrate::kbps(30), max: Bitrate::kbps(20_000) }
    }
}

/// A request to fill the line for a short while, to learn whether it carries more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// What should be sent in all: media, and retransmissions or padding on top.
    pub rate: Bitrate,
    /// When to stop.
    pub until: Instant,
}

/// The estimate for one transport.
#[derive(Debug)]
pub struct Estimator {
    estimate: Bitrate,
    loss: f32,
    rtt: Option<Duration>,
}

impl Estimator {
    /// Begins with the assumption of `config`.
    pub fn new(config: Config, _now: Instant) -> Estimator {
        Estimator { estimate: config.start, loss: 0.0, rtt: None }
    }

    /// Every packet that is sent: media, retransmissions, padding. `transport_seq` is its transport-wide number, if the peer takes those;
    /// `size_bytes` is that of the datagram.
    pub fn sent(&mut self, _transport_seq: Option<u16>, _size_bytes: usize, _now: Instant) {}

    /// Transport-wide feedback came.
    pub fn transport_feedback(&mut self, _feedback: &TransportFeedback<'_>, _now: Instant) {}

    /// A report block about one of our streams came; `rtt` is what [`crate::rtp::ntp::round_trip`] makes of it.
    pub fn receiver_report(&mut self, _block: &ReportBlock, _rtt: Option<Duration>, _now: Instant) {}

    /// A receiver's own estimate came: an upper bound while it is fresh.
    pub fn remb(&mut self, _bitrate: Bitrate, _now: Instant) {}

    /// What would be sent if the line carried everything: nothing beyond it is probed for.
    pub fn set_wanted(&mut self, _wanted: Bitrate) {}

    /// Time passes; call it about ten times a second. Notices feedback that stays away.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The probe under way, or one that begins now.
    pub fn probe(&mut self, _now: Instant) -> Option<ProbePlan> {
        None
    }

    /// What can be sent in all, retransmissions and RTP headers included.
    pub fn estimate(&self) -> Bitrate {
        self.estimate
    }

    /// The share of packets lost lately, 0–1.
    pub fn loss(&self) -> f32 {
        self.loss
    }

    /// The smoothed round-trip time; `None` before one was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}
