//! Round trip through the parser of subscribers' feedback.

use super::*;
use crate::rtp::rtcp::{self, Rtcp};
use crate::virtual_time;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const US: Ssrc = Ssrc(1);
const THEM: Ssrc = Ssrc(2);
const MS: Duration = Duration::from_millis(1);

/// Writes all pending feedback; returns `(seq, arrival in ticks)` of all messages.
fn report(generator: &mut FeedbackGenerator, now: Instant) -> Vec<(u16, Option<i64>)> {
    let mut found = Vec::new();
    loop {
        let mut buffer = [0; 1200];
        let mut out = Compound::new(&mut buffer);
        let more = generator
            .write(US, THEM, &mut out, now)
            .expect("a message fits into a datagram");
        for packet in rtcp::parse(out.bytes()) {
            let Ok(Rtcp::TransportFeedback(feedback)) = packet else {
                panic!("{packet:?}")
            };
            found.extend(
                feedback
                    .packets()
                    .map(|packet| (packet.seq, packet.arrival_ticks)),
            );
        }
        if !more {
            return found;
        }
    }
}

#[test]
fn a_frame_with_a_missing_packet_is_reported() {
    let start = virtual_time::start();
    let mut generator = FeedbackGenerator::new(start);
    for (seq, ms) in [(65_534, 100), (65_535, 101), (2, 102), (3, 500)] {
        generator.received(seq, start + ms * MS);
    }
    let expected = [
        (65_534, Some(400)),
        (65_535, Some(404)),
        (0, None),
        (1, None),
        (2, Some(408)),
        (3, Some(2000)),
    ];
    assert_eq!(report(&mut generator, start), expected);
    assert_eq!(generator.poll_timeout(), None);
    generator.received(5, start + 501 * MS);
    assert_eq!(report(&mut generator, start), [(4, None), (5, Some(2004))]);
}

#[test]
fn a_reordered_packet_has_a_negative_delta() {
    let start = virtual_time::start();
    let mut generator = FeedbackGenerator::new(start);
    for (seq, ms) in [(1, 100), (3, 110), (2, 120), (4, 130)] {
        generator.received(seq, start + ms * MS);
    }
    assert_eq!(
        report(&mut generator, start),
        [
            (1, Some(400)),
            (2, Some(480)),
            (3, Some(440)),
            (4, Some(520))
        ]
    );
}

#[test]
fn a_packet_that_comes_after_its_feedback_is_reported_again() {
    let start = virtual_time::start();
    let mut generator = FeedbackGenerator::new(start);
    generator.received(1, start);
    generator.received(3, start + MS);
    report(&mut generator, start);
    generator.received(2, start + 3 * MS);
    assert_eq!(report(&mut generator, start), [(2, Some(12)), (3, Some(4))]);
}

#[test]
fn an_hour_of_silence_between_two_packets_takes_two_messages() {
    let start = virtual_time::start();
    let mut generator = FeedbackGenerator::new(start);
    generator.received(1, start);
    generator.received(2, start + Duration::from_secs(3600));
    assert_eq!(
        report(&mut generator, start),
        [(1, Some(0)), (2, Some(3600 * 4000))]
    );
}

#[test]
fn a_sender_that_restarts_its_sequence_numbers_is_reported() {
    let start = virtual_time::start();
    let mut generator = FeedbackGenerator::new(start);
    generator.received(1, start);
    report(&mut generator, start);
    generator.received(30_000, start);
    assert_eq!(report(&mut generator, start), [(30_000, Some(0))]);
}

#[test]
fn feedback_is_sent_ten_times_a_second_and_twice_as_often_under_load() {
    let start = virtual_time::start();
    let mut generator = FeedbackGenerator::new(start);
    assert_eq!(generator.poll_timeout(), None);
    generator.received(0, start);
    assert!(!generator.is_due(start + 99 * MS));
    assert!(generator.is_due(start + 100 * MS));
    (1..=20).for_each(|seq| generator.received(seq, start));
    assert!(generator.is_due(start + 50 * MS));
}

#[test]
fn a_gap_longer_than_a_message_is_skipped() {
    let start = virtual_time::start();
    let mut generator = FeedbackGenerator::new(start);
    generator.received(1, start);
    generator.received(1_200, start + MS);
    let found = report(&mut generator, start + 100 * MS);
    assert_eq!(found.iter().filter(|(_, at)| at.is_some()).count(), 2);
    assert_eq!(found.last(), Some(&(1_200, Some(4))));
    assert!(!generator.is_due(start + 200 * MS));
}

#[test]
fn feedback_that_does_not_fit_stays_pending() {
    let start = virtual_time::start();
    let mut generator = FeedbackGenerator::new(start);
    generator.received(7, start);
    let mut small = [0; 16];
    assert_eq!(
        generator.write(US, THEM, &mut Compound::new(&mut small), start),
        Err(BufferFull)
    );
    assert_eq!(report(&mut generator, start), [(7, Some(0))]);
}

/// Lossy link with bursts of loss, reordering, pauses and floods: every received packet is reported
/// with its arrival.
#[test]
fn every_packet_of_a_lossy_link_is_reported_with_its_arrival() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let start = virtual_time::start();
        let mut generator = FeedbackGenerator::new(start);
        let (loss, mut now, mut arrived) = (rng.random_range(0.0..0.6), start, Vec::new());
        let mut reported = std::collections::HashMap::new();
        for seq in 60_000..62_000u64 {
            now += Duration::from_micros(if rng.random_bool(0.01) {
                90_000
            } else {
                rng.random_range(0..5_000)
            });
            let late = if rng.random_bool(0.1) {
                rng.random_range(0..4u64)
            } else {
                0
            };
            if !rng.random_bool(loss) {
                let seq = (seq - late) as u16;
                generator.received(seq, now);
                arrived.push((seq, ticks(now - start)));
            }
            if generator.is_due(now) {
                reported.extend(
                    report(&mut generator, now)
                        .into_iter()
                        .filter_map(|(seq, at)| Some((seq, at?))),
                );
            }
        }
        reported.extend(
            report(&mut generator, now)
                .into_iter()
                .filter_map(|(seq, at)| Some((seq, at?))),
        );
        let mut first: std::collections::HashMap<u16, i64> = std::collections::HashMap::new();
        for (seq, at) in arrived {
            first.entry(seq).or_insert(at);
        }
        let wrong = first
            .iter()
            .find(|(seq, at)| reported.get(*seq) != Some(*at));
        assert_eq!((wrong, reported.len()), (None, first.len()), "seed {seed}");
    }
}
