//! Arbitrary order of sequence numbers from a publisher: NACK, reception statistics and TWCC
//! feedback stay consistent.
//!
//! Each packet is five bytes: two of RTP sequence number, two of transport-wide sequence number,
//! one of time since the previous packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};
use tongke_plane::ids::Ssrc;
use tongke_plane::publish::nack::{MAX_MISSING, NackGenerator};
use tongke_plane::publish::reception::ReceptionStats;
use tongke_plane::publish::twcc::FeedbackGenerator;
use tongke_plane::rtp::rtcp::{self, Compound, Rtcp};
use tongke_plane::units::SeqNo;

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let mut nack = NackGenerator::new();
    let mut stats = ReceptionStats::new(Ssrc(1), 90_000);
    let mut feedback = FeedbackGenerator::new(now);
    let mut newest = SeqNo(0);
    for packet in data.chunks_exact(5) {
        let pause = u64::from(packet[4]);
        now += Duration::from_micros(pause * pause * pause * 10);
        let seq = newest.nearest(u16::from_be_bytes([packet[0], packet[1]]));
        newest = newest.max(seq);
        nack.received(seq, now);
        stats.received(seq, u32::from(packet[4]).wrapping_mul(0x0123_4567), now);
        feedback.received(u16::from_be_bytes([packet[2], packet[3]]), now);
        poll_nack(&mut nack, newest, now);
        if feedback.is_due(now) {
            write_feedback(&mut feedback, now);
        }
    }
    let _ = stats.report(now);
});

fn poll_nack(nack: &mut NackGenerator, newest: SeqNo, now: Instant) {
    let mut missing = [SeqNo(0); 64];
    let count = nack.poll(now, &mut missing).requested;
    assert!(missing[..count].is_sorted() && missing[..count].iter().all(|seq| *seq < newest));
    let _ = nack.poll_timeout();
    nack.discard_before(SeqNo(newest.0.saturating_sub(2 * MAX_MISSING as u64)));
}

fn write_feedback(feedback: &mut FeedbackGenerator, now: Instant) {
    // The history has 2048 packets. A message covers at least one of them, even with an hour
    // between any two.
    for _ in 0..=2048 {
        let mut space = [0; 1200];
        let mut out = Compound::new(&mut space);
        let more = feedback.write(Ssrc(1), Ssrc(2), &mut out, now).expect("a message fits into a datagram");
        for packet in rtcp::parse(out.bytes()) {
            let Ok(Rtcp::TransportFeedback(message)) = packet else { panic!("{packet:?}") };
            assert!(message.packets().any(|packet| packet.arrival_ticks.is_some()));
        }
        if !more {
            return;
        }
    }
    panic!("feedback does not end");
}
