//! Arbitrary RTCP from a subscriber, parsed to the last field and passed to an estimator with a
//! thousand sent packets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};
use tongke_plane::rtp::rtcp::{self, Compound, Nack, Rtcp};
use tongke_plane::rtp::{NtpTime, ntp};
use tongke_plane::subscribe::estimator::{Config, Estimator};

const MS: Duration = Duration::from_millis(1);

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let config = Config::default();
    let mut estimator = Estimator::new(config, now);
    for seq in 0..1000 {
        now += 2 * MS;
        estimator.sent((seq % 7 != 0).then_some(seq), 1200, now);
    }
    for packet in rtcp::parse(data) {
        let Ok(packet) = packet else { break };
        now += 100 * MS;
        read(&packet, &mut estimator, now);
        estimator.handle_timeout(now);
        let _ = (estimator.probe(now), estimator.rtt(), estimator.queue_delay());
        assert!(estimator.estimate() >= config.min && estimator.estimate() <= config.max);
        assert!((0.0..=1.0).contains(&estimator.loss()));
    }
});

fn read(packet: &Rtcp<'_>, estimator: &mut Estimator, now: Instant) {
    match packet {
        Rtcp::SenderReport(report) => assert!(report.reports().count() <= 31),
        Rtcp::ReceiverReport(report) => {
            for block in report.reports() {
                let rtt = ntp::round_trip_time(NtpTime(0x1234_5678_9abc_def0), block.last_sr, block.delay_since_last_sr);
                estimator.receiver_report(&block, rtt, now);
            }
        }
        Rtcp::Sdes(sdes) => assert!(sdes.cnames().count() <= 31),
        Rtcp::Bye(bye) => assert!(bye.ssrcs().count() <= 31),
        Rtcp::Nack(nack) => rewrite(nack),
        Rtcp::Fir(fir) => assert!(fir.entries().count() < 1 << 16),
        Rtcp::TransportFeedback(feedback) => {
            assert_eq!(feedback.packets().count(), usize::from(feedback.status_count));
            estimator.transport_feedback(feedback, now);
        }
        Rtcp::Remb(remb) => {
            assert!(remb.ssrcs().count() <= 255);
            estimator.remb(remb.bitrate, now);
        }
        Rtcp::Pli { .. } | Rtcp::Unknown { .. } => {}
    }
}

/// Checks that a parsed request can be written and requests the same packets.
fn rewrite(nack: &Nack<'_>) {
    let lost: Vec<u16> = nack.lost().collect();
    let mut space = vec![0; 12 + 4 * lost.len()];
    let mut out = Compound::new(&mut space);
    out.nack(nack.sender, nack.media, lost.iter().copied()).expect("the buffer has a word per packet");
    let Some(Ok(Rtcp::Nack(read))) = rtcp::parse(out.bytes()).next() else { panic!("the written packet is not a NACK") };
    let again: Vec<u16> = read.lost().collect();
    let distinct = |list: &[u16]| list.iter().copied().collect::<std::collections::BTreeSet<u16>>();
    assert_eq!(distinct(&again), distinct(&lost));
}
