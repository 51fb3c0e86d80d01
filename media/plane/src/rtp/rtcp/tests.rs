//! Round trips of written packets; a malformed packet ends the compound.

use super::*;
use crate::rtp::ntp::NtpTime;
use crate::units::Bitrate;

const US: Ssrc = Ssrc(0x1111_2222);
const THEM: Ssrc = Ssrc(0x3333_4444);

/// Builds a compound and hands out its packets.
fn compound(build: impl FnOnce(&mut Compound<'_>) -> Result<(), BufferFull>) -> Vec<u8> {
    let mut buffer = [0xee; 1200];
    let mut compound = Compound::new(&mut buffer);
    build(&mut compound).unwrap();
    compound.bytes().to_vec()
}

fn block(cumulative_lost: i32) -> ReportBlock {
    ReportBlock {
        ssrc: THEM,
        fraction_lost: 38,
        cumulative_lost,
        highest_seq: 0x0001_0002,
        jitter: 450,
        last_sr: 7,
        delay_since_last_sr: 9,
    }
}

#[test]
fn a_sender_report_with_cname_round_trips() {
    let bytes = compound(|out| {
        out.sender_report(
            US,
            NtpTime(0x0102_0304_0506_0708),
            90_000,
            10,
            12_000,
            &[block(-1), block(5)],
        )?;
        out.cname(US, "tongke")
    });
    let packets: Vec<_> = parse(&bytes).map(Result::unwrap).collect();
    let [Rtcp::SenderReport(report), Rtcp::Sdes(sdes)] = packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!(
        (report.ssrc, report.ntp, report.rtp_time),
        (US, NtpTime(0x0102_0304_0506_0708), 90_000)
    );
    assert_eq!((report.packets, report.octets), (10, 12_000));
    assert_eq!(report.reports().collect::<Vec<_>>(), [block(-1), block(5)]);
    assert_eq!(sdes.cnames().collect::<Vec<_>>(), [(US, &b"tongke"[..])]);
}

#[test]
fn cnames_of_every_length_end_with_a_zero() {
    for len in 0..9 {
        let name = &"abcdefghi"[..len];
        let bytes = compound(|out| out.cname(US, name));
        let Some(Ok(Rtcp::Sdes(sdes))) = parse(&bytes).next() else {
            panic!("{bytes:?}")
        };
        assert_eq!(sdes.cnames().collect::<Vec<_>>(), [(US, name.as_bytes())]);
    }
}

#[test]
fn losses_beyond_24_bits_are_clamped() {
    let bytes = compound(|out| out.receiver_report(US, &[block(i32::MAX), block(i32::MIN)]));
    let Some(Ok(Rtcp::ReceiverReport(report))) = parse(&bytes).next() else {
        panic!("{bytes:?}")
    };
    assert_eq!(
        report
            .reports()
            .map(|block| block.cumulative_lost)
            .collect::<Vec<_>>(),
        [0x7f_ffff, -0x80_0000]
    );
}

#[test]
fn a_burst_of_loss_is_packed_into_few_nack_entries_in_order() {
    let lost = [65_530u16, 65_531, 65_535, 3, 10, 11, 100];
    let bytes = compound(|out| out.nack(US, THEM, lost));
    assert_eq!(
        bytes.len(),
        12 + 3 * 4,
        "65530 + 16 reaches 10, then 11 and 100 need words of their own"
    );
    let Some(Ok(Rtcp::Nack(nack))) = parse(&bytes).next() else {
        panic!("{bytes:?}")
    };
    assert_eq!((nack.sender, nack.media), (US, THEM));
    assert_eq!(nack.lost().collect::<Vec<_>>(), lost);
}

#[test]
fn keyframe_requests_bye_and_remb_round_trip() {
    let bytes = compound(|out| {
        out.pli(US, THEM)?;
        out.fir(US, THEM, 250)?;
        out.remb(US, Bitrate::kbps(1_500), &[THEM, US])?;
        out.bye(&[US, THEM])
    });
    let packets: Vec<_> = parse(&bytes).map(Result::unwrap).collect();
    let [
        Rtcp::Pli { sender, media },
        Rtcp::Fir(fir),
        Rtcp::Remb(remb),
        Rtcp::Bye(bye),
    ] = packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!((sender, media), (US, THEM));
    assert_eq!(
        fir.entries().collect::<Vec<_>>(),
        [FirEntry {
            media: THEM,
            command_seq: 250
        }]
    );
    assert_eq!(remb.bitrate.as_bps(), 1_500_000 / 8 * 8);
    assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [THEM, US]);
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [US, THEM]);
}

#[test]
fn a_remb_of_any_size_is_rounded_down_by_less_than_a_hundred_thousandth() {
    for bps in [
        0,
        1,
        262_143,
        262_144,
        2_000_001,
        u64::from(u32::MAX),
        u64::MAX,
    ] {
        let bytes = compound(|out| out.remb(US, Bitrate::bps(bps), &[]));
        let Some(Ok(Rtcp::Remb(remb))) = parse(&bytes).next() else {
            panic!("{bytes:?}")
        };
        assert!(
            remb.bitrate.as_bps() <= bps && bps - remb.bitrate.as_bps() <= bps / 100_000,
            "{bps}: {:?}",
            remb.bitrate
        );
    }
}

#[test]
fn a_packet_that_does_not_fit_leaves_the_compound_as_it_was() {
    let mut buffer = [0; 20];
    let mut out = Compound::new(&mut buffer);
    out.pli(US, THEM).unwrap();
    assert_eq!(out.receiver_report(US, &[]), Ok(()));
    assert_eq!(out.pli(US, THEM), Err(BufferFull));
    assert_eq!(out.len(), 20);
    assert_eq!(parse(out.bytes()).filter(Result::is_ok).count(), 2);
}

#[test]
fn a_malformed_packet_ends_the_compound_but_keeps_earlier_packets() {
    let mut bytes = compound(|out| {
        out.pli(US, THEM)?;
        out.receiver_report(US, &[block(0)])
    });
    bytes.truncate(bytes.len() - 4);
    let packets: Vec<_> = parse(&bytes).collect();
    assert!(
        matches!(
            packets[..],
            [Ok(Rtcp::Pli { .. }), Err(RtcpError::TooShort)]
        ),
        "{packets:?}"
    );
}

#[test]
fn bodies_too_short_for_their_type_are_rejected() {
    for (packet, why) in [
        (&[0x81, 201, 0, 1, 0, 0, 0, 1][..], RtcpError::Body), // promises one block
        (&[0x80, 200, 0, 1, 0, 0, 0, 1], RtcpError::Body),     // no sender information
        (&[0x82, 203, 0, 1, 0, 0, 0, 1], RtcpError::Body),     // two sources, room for one
        (&[0x81, 205, 0, 1, 0, 0, 0, 1], RtcpError::Body),     // a NACK without media SSRC
        (&[0xa1, 206, 0, 1, 0, 0, 0, 0], RtcpError::Padding),
        (&[0x41, 206, 0, 0], RtcpError::Version),
        (&[0x81, 206, 0], RtcpError::TooShort),
    ] {
        assert_eq!(
            parse(packet).next().unwrap().unwrap_err(),
            why,
            "{packet:?}"
        );
    }
}

#[test]
fn unknown_packet_types_are_skipped() {
    let bytes = [
        0x80, 207, 0, 1, 0, 0, 0, 1, 0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, b'A', b'P', b'P',
        b'1',
    ];
    let packets: Vec<_> = parse(&bytes).map(Result::unwrap).collect();
    assert!(matches!(
        packets[..],
        [
            Rtcp::Unknown {
                packet_type: 207,
                ..
            },
            Rtcp::Unknown {
                packet_type: 206,
                format: 15
            }
        ]
    ));
}

#[test]
fn transport_feedback_of_every_chunk_kind_is_read() {
    // Base 65534, seven statuses: a run of two small, a two-bit vector (large, lost, small, lost,
    // small …); reference −1.
    let body = [
        0xff, 0xfe, 0, 7, 0xff, 0xff, 0xff, 9, 0x20, 0x02, 0xe1, 0x10, 4, 8, 0xff, 0xfc, 2, 1,
    ];
    let bytes = compound(|out| out.transport_feedback(US, THEM, &body));
    let Some(Ok(Rtcp::TransportFeedback(feedback))) = parse(&bytes).next() else {
        panic!("{bytes:?}")
    };
    assert_eq!(
        (
            feedback.base_seq,
            feedback.status_count,
            feedback.feedback_count
        ),
        (65_534, 7, 9)
    );
    let found: Vec<_> = feedback
        .packets()
        .map(|packet| (packet.seq, packet.arrival_ticks))
        .collect();
    let expected = [
        (65_534, Some(-252)),
        (65_535, Some(-244)),
        (0, Some(-248)),
        (1, None),
        (2, Some(-246)),
        (3, None),
        (4, Some(-245)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn inconsistent_transport_feedback_is_rejected() {
    for body in [
        &[0, 0, 0, 7, 0, 0, 0, 0, 0x20, 0x02][..], // chunks cover two of seven
        &[0, 0, 0, 2, 0, 0, 0, 0, 0x00, 0x00, 0, 0], // an empty run
        &[0, 0, 0, 2, 0, 0, 0, 0, 0x20, 0x02, 1], // one delta for two packets (and padding is no delta)
        &[0, 0, 0, 2, 0, 0],
    ] {
        let bytes = compound(|out| out.transport_feedback(US, THEM, body));
        assert!(
            matches!(parse(&bytes).next(), Some(Err(RtcpError::Body))),
            "{body:?}"
        );
    }
}
