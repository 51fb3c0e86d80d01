//! Loss detection and retransmission requests to a publisher (RFC 4585 §6.2.1).

use crate::units::SeqNo;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Maximum number of missing packets: half of the packet ring, and half a second of a 10 Mbit/s
/// camera.
pub const MAX_MISSING: usize = 512;
/// Number of later packets after which a packet counts as lost; reordered neighbours are not
/// requested.
const REORDER_TOLERANCE: u64 = 2;
/// Request delay for the last packet of a frame, which has no later packets for a while.
const REORDER_DELAY: Duration = Duration::from_millis(10);
/// Minimum interval between requests of one packet: feedback and retransmission need processing
/// time.
const MIN_REQUEST_INTERVAL: Duration = Duration::from_millis(20);
/// Round-trip time assumed before the first measurement.
const DEFAULT_RTT: Duration = Duration::from_millis(100);
/// Maximum number of requests per packet: at 20 % loss in both directions, 0.36¹⁰ of the packets
/// are still missing.
const MAX_REQUESTS: u8 = 10;
/// Maximum age of a missing packet; no decoder waits longer for a picture.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Classification of a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classification {
    /// Newest sequence number so far.
    Newest,
    /// A missing packet arrived, retransmitted or out of order.
    Recovered {
        /// Number of requests before its arrival.
        requests: u8,
    },
    /// Not missing: a duplicate, or a packet given up before.
    NotMissing,
    /// Jump ahead that is too large for requests; a keyframe is needed instead.
    Jump,
}

/// Result of [`NackGenerator::poll`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollResult {
    /// Number of sequence numbers written, in ascending order.
    pub requested: usize,
    /// Number of packets given up, those of an [`Classification::Jump`] included. Video needs a
    /// keyframe then.
    pub given_up: usize,
}

/// Detects missing sequence numbers of one stream and schedules requests.
#[derive(Debug, Default)]
pub struct NackGenerator {
    newest: Option<SeqNo>,
    /// In ascending order.
    missing: VecDeque<Missing>,
    /// Smoothed time from a request to its retransmission.
    rtt: Option<Duration>,
    recovered: u64,
    given_up: u64,
    /// Packets given up by a jump, reported by the next poll.
    skipped: usize,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: SeqNo,
    since: Instant,
    /// Time of the last request.
    requested_at: Option<Instant>,
    requests: u8,
}

impl NackGenerator {
    /// Preallocates [`MAX_MISSING`] entries, so that processing a packet never allocates.
    pub fn new() -> NackGenerator {
        NackGenerator {
            missing: VecDeque::with_capacity(MAX_MISSING),
            ..NackGenerator::default()
        }
    }

    /// Processes a received packet, original or retransmitted.
    pub fn received(&mut self, seq: SeqNo, now: Instant) -> Classification {
        match self.newest {
            Some(newest) if seq <= newest => self.received_late(seq, now),
            Some(newest) => self.received_ahead(newest, seq, now),
            None => {
                self.newest = Some(seq);
                Classification::Newest
            }
        }
    }

    fn received_ahead(&mut self, newest: SeqNo, seq: SeqNo, now: Instant) -> Classification {
        let skipped = seq - newest - 1;
        self.newest = Some(seq);
        if skipped > (MAX_MISSING - self.missing.len()) as u64 {
            self.skipped = self
                .skipped
                .saturating_add(self.missing.len())
                .saturating_add(skipped as usize);
            self.missing.clear();
            return Classification::Jump;
        }
        self.missing.extend((1..=skipped).map(|n| Missing {
            seq: newest + n,
            since: now,
            requested_at: None,
            requests: 0,
        }));
        Classification::Newest
    }

    fn received_late(&mut self, seq: SeqNo, now: Instant) -> Classification {
        let Ok(index) = self
            .missing
            .binary_search_by_key(&seq, |missing| missing.seq)
        else {
            return Classification::NotMissing;
        };
        let Some(found) = self.missing.remove(index) else {
            return Classification::NotMissing;
        };
        // Karn's algorithm: after two requests the answered one is unknown, so the packet gives no
        // RTT sample.
        if let (1, Some(requested_at)) = (found.requests, found.requested_at) {
            let sample = now.saturating_duration_since(requested_at);
            self.rtt = Some(self.rtt.map_or(sample, |rtt| (7 * rtt + sample) / 8));
        }
        self.recovered += u64::from(found.requests > 0);
        Classification::Recovered {
            requests: found.requests,
        }
    }

    /// Discards missing packets before `seq`: a later keyframe made them useless, or the ring is
    /// too small.
    pub fn discard_before(&mut self, seq: SeqNo) {
        let count = self.missing.partition_point(|missing| missing.seq < seq);
        self.missing.drain(..count);
    }

    /// Writes the due sequence numbers to `out`; the rest follows at the next poll.
    pub fn poll(&mut self, now: Instant, out: &mut [SeqNo]) -> PollResult {
        let given_up = self.drop_expired(now) + std::mem::take(&mut self.skipped);
        self.given_up += given_up as u64;
        let (newest, interval) = (self.newest, self.request_interval());
        let due = self
            .missing
            .iter_mut()
            .filter(|missing| missing.due_at(newest, interval) <= now);
        let requested = due
            .zip(out)
            .map(|(missing, slot)| *slot = missing.mark_requested(now))
            .count();
        PollResult {
            requested,
            given_up,
        }
    }

    /// Time of the next poll; `None` while no packet is missing. Can lie in the past.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let interval = self.request_interval();
        self.missing
            .iter()
            .map(|missing| missing.due_at(self.newest, interval))
            .min()
    }

    fn request_interval(&self) -> Duration {
        self.rtt.unwrap_or(DEFAULT_RTT).max(MIN_REQUEST_INTERVAL)
    }

    fn drop_expired(&mut self, now: Instant) -> usize {
        let (before, interval) = (self.missing.len(), self.request_interval());
        self.missing
            .retain(|missing| !missing.is_expired(now, interval));
        before - self.missing.len()
    }

    /// Smoothed round-trip time to the publisher; `None` before the first retransmission.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Number of packets that arrived after a request.
    pub fn recovered(&self) -> u64 {
        self.recovered
    }

    /// Number of packets given up as of the last poll, with or without requests.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }
}

impl Missing {
    /// Time of the next request.
    fn due_at(&self, newest: Option<SeqNo>, interval: Duration) -> Instant {
        match self.requested_at {
            Some(requested_at) => requested_at + interval,
            None if newest.is_some_and(|newest| newest - self.seq >= REORDER_TOLERANCE) => {
                self.since
            }
            None => self.since + REORDER_DELAY,
        }
    }

    fn mark_requested(&mut self, now: Instant) -> SeqNo {
        self.requested_at = Some(now);
        self.requests += 1;
        self.seq
    }

    /// Too old, or all requests were sent and the last one timed out.
    fn is_expired(&self, now: Instant, interval: Duration) -> bool {
        let overdue = self
            .requested_at
            .is_some_and(|requested_at| now >= requested_at + interval);
        now >= self.since + MAX_AGE || (self.requests >= MAX_REQUESTS && overdue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    const MS: Duration = Duration::from_millis(1);
    const NOTHING: [u64; 0] = [];

    fn poll_requests(nack: &mut NackGenerator, now: Instant) -> Vec<u64> {
        let mut out = [SeqNo(0); 64];
        let count = nack.poll(now, &mut out).requested;
        out[..count].iter().map(|seq| seq.0).collect()
    }

    fn receive(nack: &mut NackGenerator, seqs: impl IntoIterator<Item = u64>, now: Instant) {
        for seq in seqs {
            nack.received(SeqNo(seq), now);
        }
    }

    /// Loses packet 9 of 8–11 and retransmits it after `rtt`, which sets the round-trip time.
    fn answer_after(rtt: Duration, nack: &mut NackGenerator, now: Instant) {
        receive(nack, [8, 10, 11], now);
        assert_eq!(poll_requests(nack, now), [9]);
        assert_eq!(
            nack.received(SeqNo(9), now + rtt),
            Classification::Recovered { requests: 1 }
        );
        assert_eq!(nack.rtt(), Some(rtt));
    }

    #[test]
    fn reordered_neighbours_are_not_requested() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        receive(&mut nack, [1, 3], now);
        assert_eq!(poll_requests(&mut nack, now), NOTHING);
        assert_eq!(
            nack.received(SeqNo(2), now),
            Classification::Recovered { requests: 0 }
        );
        assert_eq!(poll_requests(&mut nack, now + 50 * MS), NOTHING);
        assert_eq!(nack.recovered(), 0);
    }

    #[test]
    fn a_gap_with_two_later_packets_is_requested_at_once() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        receive(&mut nack, [65_533, 65_538], now);
        assert_eq!(poll_requests(&mut nack, now), [65_534, 65_535, 65_536]);
        assert_eq!(
            poll_requests(&mut nack, now + 10 * MS),
            [65_537],
            "the last packet of the gap, after the delay"
        );
    }

    #[test]
    fn a_request_is_repeated_after_a_round_trip_until_the_packet_comes() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        answer_after(80 * MS, &mut nack, now);
        let now = now + 80 * MS;
        receive(&mut nack, [11, 13, 14], now);
        assert_eq!(poll_requests(&mut nack, now), [12]);
        assert_eq!(nack.poll_timeout(), Some(now + 80 * MS));
        assert_eq!(poll_requests(&mut nack, now + 79 * MS), NOTHING);
        assert_eq!(poll_requests(&mut nack, now + 80 * MS), [12]);
        assert_eq!(
            nack.received(SeqNo(12), now + 90 * MS),
            Classification::Recovered { requests: 2 }
        );
        assert_eq!(nack.rtt(), Some(80 * MS), "the answered request is unknown");
        assert_eq!(
            nack.received(SeqNo(12), now + 90 * MS),
            Classification::NotMissing
        );
        assert_eq!((nack.recovered(), nack.poll_timeout()), (2, None));
    }

    #[test]
    fn a_packet_that_never_comes_is_given_up_after_a_second_or_ten_requests() {
        for (rtt, last) in [(20 * MS, 200 * MS), (300 * MS, 1000 * MS)] {
            let (mut nack, start) = (NackGenerator::new(), virtual_time::start());
            answer_after(rtt, &mut nack, start);
            let start = start + rtt;
            receive(&mut nack, [11, 13, 14], start);
            let given_up = (0..2000)
                .map(|ms| start + ms * MS)
                .find(|now| nack.poll(*now, &mut [SeqNo(0); 8]).given_up > 0);
            assert_eq!(given_up, Some(start + last));
            assert_eq!(nack.given_up(), 1);
        }
    }

    #[test]
    fn packets_of_a_long_outage_are_not_requested() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        receive(&mut nack, [1, 3], now);
        assert_eq!(
            nack.received(SeqNo(4 + MAX_MISSING as u64), now),
            Classification::Jump
        );
        let polled = nack.poll(now + 50 * MS, &mut [SeqNo(0); 8]);
        assert_eq!(
            polled,
            PollResult {
                requested: 0,
                given_up: MAX_MISSING + 1
            }
        );
        assert_eq!(nack.given_up(), MAX_MISSING as u64 + 1);
    }

    #[test]
    fn missing_packets_before_a_keyframe_are_discarded() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        receive(&mut nack, [1, 5, 9, 10], now);
        nack.discard_before(SeqNo(5));
        assert_eq!(poll_requests(&mut nack, now), [6, 7, 8]);
    }

    #[test]
    fn requests_beyond_one_message_follow_in_the_next() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        receive(&mut nack, [1, 200], now);
        let mut all: Vec<u64> = (0..4)
            .flat_map(|_| poll_requests(&mut nack, now + 10 * MS))
            .collect();
        all.dedup();
        assert_eq!(all, (2..200).collect::<Vec<_>>());
    }
}
