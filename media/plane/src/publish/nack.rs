//! Asking a publisher again for what was lost (RFC 4585 §6.2.1).

use crate::units::SeqNo;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Packets that may be missing at once: two thirds of the packet ring, and half a second of a 10 Mbit/s camera.
pub const MAX_MISSING: usize = 512;
/// Later packets that must have come before one counts as lost: neighbours that merely changed places are not asked for.
const REORDER_TOLERANCE: u64 = 2;
/// The last packet of a frame has no later ones for a while; then it is asked for after this.
const REORDER_WAIT: Duration = Duration::from_millis(10);
/// Requests are not repeated faster than this, however near the publisher: feedback and resend need time to be processed.
const MIN_REPEAT: Duration = Duration::from_millis(20);
/// Assumed before the round-trip time is measured.
const DEFAULT_RTT: Duration = Duration::from_millis(100);
/// A packet asked for this often will not come: at 20 % loss each way, 0.36¹⁰ of them are left.
const MAX_TRIES: u8 = 10;
/// A picture older than this has been given up by every decoder.
const MAX_AGE: Duration = Duration::from_secs(1);

/// What one packet meant to the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The newest so far.
    Newest,
    /// Was missing and is now here, by retransmission or out of order; after this many requests.
    Recovered { requests: u8 },
    /// Was not missing: a duplicate, or one given up before.
    NotMissing,
    /// So far ahead that the packets between are not asked for: a keyframe is wanted instead.
    Jump,
}

/// What [`NackGenerator::poll`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// How many numbers were written, in ascending order.
    pub requested: usize,
    /// How many packets were given up for good, those of a [`Arrival::Jump`] included: a keyframe is wanted when they were video.
    pub given_up: usize,
}

/// Watches the sequence numbers of one stream and asks for those that are missing.
#[derive(Debug, Default)]
pub struct NackGenerator {
    newest: Option<SeqNo>,
    /// In ascending order.
    missing: VecDeque<Missing>,
    /// Smoothed time from a request to its answer.
    rtt: Option<Duration>,
    recovered: u64,
    given_up: u64,
    /// Given up by a jump, to be told by the next poll.
    skipped: usize,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: SeqNo,
    since: Instant,
    /// When it was last asked for.
    asked: Option<Instant>,
    tries: u8,
}

impl NackGenerator {
    /// Makes room for [`MAX_MISSING`] once, so that packets never allocate.
    pub fn new() -> NackGenerator {
        NackGenerator {
            missing: VecDeque::with_capacity(MAX_MISSING),
            ..NackGenerator::default()
        }
    }

    /// A packet came, first-hand or by retransmission.
    pub fn received(&mut self, seq: SeqNo, now: Instant) -> Arrival {
        match self.newest {
            Some(newest) if seq <= newest => self.received_late(seq, now),
            Some(newest) => self.received_ahead(newest, seq, now),
            None => {
                self.newest = Some(seq);
                Arrival::Newest
            }
        }
    }

    fn received_ahead(&mut self, newest: SeqNo, seq: SeqNo, now: Instant) -> Arrival {
        let skipped = seq - newest - 1;
        self.newest = Some(seq);
        if skipped > (MAX_MISSING - self.missing.len()) as u64 {
            self.skipped = self
                .skipped
                .saturating_add(self.missing.len())
                .saturating_add(skipped as usize);
            self.missing.clear();
            return Arrival::Jump;
        }
        self.missing.extend((1..=skipped).map(|n| Missing {
            seq: newest + n,
            since: now,
            asked: None,
            tries: 0,
        }));
        Arrival::Newest
    }

    fn received_late(&mut self, seq: SeqNo, now: Instant) -> Arrival {
        let Ok(index) = self
            .missing
            .binary_search_by_key(&seq, |missing| missing.seq)
        else {
            return Arrival::NotMissing;
        };
        let Some(found) = self.missing.remove(index) else {
            return Arrival::NotMissing;
        };
        // Karn's rule: of a packet that was asked for twice nobody knows which request it answers.
        if let (1, Some(asked)) = (found.tries, found.asked) {
            let sample = now.saturating_duration_since(asked);
            self.rtt = Some(self.rtt.map_or(sample, |rtt| (7 * rtt + sample) / 8));
        }
        self.recovered += u64::from(found.tries > 0);
        Arrival::Recovered {
            requests: found.tries,
        }
    }

    /// Stops asking for packets before `seq`: a keyframe that begins there made them useless, or the ring keeps none so old.
    pub fn forget_before(&mut self, seq: SeqNo) {
        let count = self.missing.partition_point(|missing| missing.seq < seq);
        self.missing.drain(..count);
    }

    /// Writes the numbers to ask for now to `out`. What does not fit is asked for at the next poll.
    pub fn poll(&mut self, now: Instant, out: &mut [SeqNo]) -> Polled {
        let given_up = self.give_up(now) + std::mem::take(&mut self.skipped);
        self.given_up += given_up as u64;
        let (newest, repeat) = (self.newest, self.repeat_after());
        let due = self
            .missing
            .iter_mut()
            .filter(|missing| missing.due_at(newest, repeat) <= now);
        let requested = due
            .zip(out)
            .map(|(missing, slot)| *slot = missing.ask(now))
            .count();
        Polled {
            requested,
            given_up,
        }
    }

    /// When to poll again; `None` while nothing is missing. May have passed already.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let repeat = self.repeat_after();
        self.missing
            .iter()
            .map(|missing| missing.due_at(self.newest, repeat))
            .min()
    }

    fn repeat_after(&self) -> Duration {
        self.rtt.unwrap_or(DEFAULT_RTT).max(MIN_REPEAT)
    }

    fn give_up(&mut self, now: Instant) -> usize {
        let (before, repeat) = (self.missing.len(), self.repeat_after());
        self.missing
            .retain(|missing| !missing.is_hopeless(now, repeat));
        before - self.missing.len()
    }

    /// Time from a request to its answer, once one was answered: the round trip to the publisher.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Packets that were asked for and came.
    pub fn recovered(&self) -> u64 {
        self.recovered
    }

    /// Packets that were asked for in vain, or not at all because too many were missing; as of the last poll.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }
}

impl Missing {
    /// When to ask for it, first or again.
    fn due_at(&self, newest: Option<SeqNo>, repeat: Duration) -> Instant {
        match self.asked {
            Some(asked) => asked + repeat,
            None if newest.is_some_and(|newest| newest - self.seq >= REORDER_TOLERANCE) => {
                self.since
            }
            None => self.since + REORDER_WAIT,
        }
    }

    fn ask(&mut self, now: Instant) -> SeqNo {
        self.asked = Some(now);
        self.tries += 1;
        self.seq
    }

    /// Too old, or asked for often enough and the last answer is overdue.
    fn is_hopeless(&self, now: Instant, repeat: Duration) -> bool {
        let overdue = self.asked.is_some_and(|asked| now >= asked + repeat);
        now >= self.since + MAX_AGE || (self.tries >= MAX_TRIES && overdue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    const MS: Duration = Duration::from_millis(1);
    const NOTHING: [u64; 0] = [];

    fn asked(nack: &mut NackGenerator, now: Instant) -> Vec<u64> {
        let mut out = [SeqNo(0); 64];
        let count = nack.poll(now, &mut out).requested;
        out[..count].iter().map(|seq| seq.0).collect()
    }

    fn receive(nack: &mut NackGenerator, seqs: impl IntoIterator<Item = u64>, now: Instant) {
        for seq in seqs {
            nack.received(SeqNo(seq), now);
        }
    }

    /// Loses packet 9 of 8, 9, 10 and has it answered, so that the round trip is known.
    fn answer_after(rtt: Duration, nack: &mut NackGenerator, now: Instant) {
        receive(nack, [8, 10, 11], now);
        assert_eq!(asked(nack, now), [9]);
        assert_eq!(
            nack.received(SeqNo(9), now + rtt),
            Arrival::Recovered { requests: 1 }
        );
        assert_eq!(nack.rtt(), Some(rtt));
    }

    #[test]
    fn neighbours_that_changed_places_are_not_asked_for() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        receive(&mut nack, [1, 3], now);
        assert_eq!(asked(&mut nack, now), NOTHING);
        assert_eq!(
            nack.received(SeqNo(2), now),
            Arrival::Recovered { requests: 0 }
        );
        assert_eq!(asked(&mut nack, now + 50 * MS), NOTHING);
        assert_eq!(nack.recovered(), 0);
    }

    #[test]
    fn a_hole_with_two_packets_behind_it_is_asked_for_at_once() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        receive(&mut nack, [65_533, 65_538], now);
        assert_eq!(asked(&mut nack, now), [65_534, 65_535, 65_536]);
        assert_eq!(
            asked(&mut nack, now + 10 * MS),
            [65_537],
            "the last of the hole, after the wait"
        );
    }

    #[test]
    fn a_request_is_repeated_after_a_round_trip_until_the_packet_comes() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        answer_after(80 * MS, &mut nack, now);
        let now = now + 80 * MS;
        receive(&mut nack, [11, 13, 14], now);
        assert_eq!(asked(&mut nack, now), [12]);
        assert_eq!(nack.poll_timeout(), Some(now + 80 * MS));
        assert_eq!(asked(&mut nack, now + 79 * MS), NOTHING);
        assert_eq!(asked(&mut nack, now + 80 * MS), [12]);
        assert_eq!(
            nack.received(SeqNo(12), now + 90 * MS),
            Arrival::Recovered { requests: 2 }
        );
        assert_eq!(
            nack.rtt(),
            Some(80 * MS),
            "nobody knows which request was answered"
        );
        assert_eq!(nack.received(SeqNo(12), now + 90 * MS), Arrival::NotMissing);
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
    fn a_publisher_back_from_an_outage_is_not_asked_for_all_of_it() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        receive(&mut nack, [1, 3], now);
        assert_eq!(
            nack.received(SeqNo(4 + MAX_MISSING as u64), now),
            Arrival::Jump
        );
        let polled = nack.poll(now + 50 * MS, &mut [SeqNo(0); 8]);
        assert_eq!(
            polled,
            Polled {
                requested: 0,
                given_up: MAX_MISSING + 1
            }
        );
        assert_eq!(nack.given_up(), MAX_MISSING as u64 + 1);
    }

    #[test]
    fn a_keyframe_makes_what_was_before_it_useless() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        receive(&mut nack, [1, 5, 9, 10], now);
        nack.forget_before(SeqNo(5));
        assert_eq!(asked(&mut nack, now), [6, 7, 8]);
    }

    #[test]
    fn what_does_not_fit_into_one_message_goes_into_the_next() {
        let (mut nack, now) = (NackGenerator::new(), virtual_time::start());
        receive(&mut nack, [1, 200], now);
        let mut all: Vec<u64> = (0..4)
            .flat_map(|_| asked(&mut nack, now + 10 * MS))
            .collect();
        all.dedup();
        assert_eq!(all, (2..200).collect::<Vec<_>>());
    }
}
