//! The estimate for peers without transport-wide feedback: from receiver reports (RFC 3550 §6.4) and REMB.
//!
//! A report comes every second or so and says little: what was lost, and the round trip. Loss with a longer round trip is congestion and is
//! answered in proportion; loss without is answered only when it is heavy, and not below what gets through.

use super::history::{Micros, micros};
use crate::ids::Ssrc;
use crate::rtp::rtcp::ReportBlock;
use std::time::Duration;

/// A round trip this much longer than the shortest is a queue.
const QUEUED: Micros = micros(Duration::from_millis(120));
/// The shortest round trip is remembered this long.
const BASE_SPAN: Micros = micros(Duration::from_secs(30));
/// An estimate of the receiver's holds this long; it repeats it every second.
const REMB_SPAN: Micros = micros(Duration::from_secs(8));
/// Streams whose reports are told apart; of more, the first ones speak for all.
const STREAMS: usize = 16;
/// Loss without a queue up to here is random, beyond it is answered.
const HEAVY: f64 = 0.25;
/// Growth per second.
const GROWTH: f64 = 0.08;

#[derive(Debug, Default)]
pub(super) struct Reports {
    streams: [Option<Stream>; STREAMS],
    sent_bytes: u64,
    /// Since when `sent_bytes` counts, and the rate of the second before.
    sent_since: Option<Micros>,
    sent_rate: f64,
    /// Shortest round trip and when it was seen.
    shortest_rtt: Option<(Micros, Micros)>,
    last_change: Micros,
    loss: f64,
    remb: Option<(f64, Micros)>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: Ssrc,
    highest_seq: u32,
}

impl Reports {
    pub(super) fn sent(&mut self, bytes: u64, now: Micros) {
        let since = *self.sent_since.get_or_insert(now);
        self.sent_bytes += bytes;
        if now - since >= 1_000_000 {
            self.sent_rate = self.sent_bytes as f64 * 8e6 / (now - since) as f64;
            (self.sent_bytes, self.sent_since) = (0, Some(now));
        }
    }

    pub(super) fn remb(&mut self, rate: f64, now: Micros) {
        self.remb = Some((rate, now));
    }

    /// The receiver's own estimate, while it is fresh. It is dropped by the first report after it went stale.
    pub(super) fn bound(&self) -> Option<f64> {
        self.remb.map(|(rate, _)| rate)
    }

    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// What a report makes of the estimate `target`.
    pub(super) fn report(&mut self, block: &ReportBlock, rtt: Option<Micros>, target: f64, now: Micros) -> f64 {
        self.remb = self.remb.filter(|(_, since)| now - since < REMB_SPAN);
        let packets = self.new_packets(block);
        // A stream that hardly sends says nothing about the line.
        if packets < 10 || self.sent_rate == 0.0 {
            return target;
        }
        let share = f64::from(block.fraction_lost) / 256.0;
        self.loss += (share - self.loss) / 2.0;
        let seconds = (now - self.last_change).clamp(0, 2_000_000) as f64 / 1e6;
        let queued = rtt.is_some_and(|rtt| self.is_queued(rtt, now));
        // Reports of several streams come together: one of them moves the estimate.
        if seconds < 0.2 {
            return target;
        }
        self.last_change = now;
        if queued {
            target.min(self.sent_rate * (1.0 - share) * 0.85)
        } else if share > HEAVY {
            target.min(self.sent_rate * (1.0 - share).max(0.7))
        } else {
            target.max((target * (1.0 + GROWTH * seconds)).min(1.5 * self.sent_rate + 20e3))
        }
    }

    /// How many packets the report is about.
    fn new_packets(&mut self, block: &ReportBlock) -> u32 {
        let known = self.streams.iter_mut().flatten().find(|stream| stream.ssrc == block.ssrc);
        if let Some(stream) = known {
            let packets = block.highest_seq.wrapping_sub(stream.highest_seq);
            stream.highest_seq = block.highest_seq;
            return packets;
        }
        if let Some(free) = self.streams.iter_mut().find(|stream| stream.is_none()) {
            *free = Some(Stream { ssrc: block.ssrc, highest_seq: block.highest_seq });
        }
        0
    }

    fn is_queued(&mut self, rtt: Micros, now: Micros) -> bool {
        let shortest = self.shortest_rtt.filter(|(shortest, since)| *shortest < rtt && now - since < BASE_SPAN);
        let (shortest, _) = *self.shortest_rtt.insert(shortest.unwrap_or((rtt, now)));
        rtt > shortest + QUEUED
    }
}
