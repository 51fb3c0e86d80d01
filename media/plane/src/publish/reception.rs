//! Reception statistics of one stream (RFC 3550 §6.4.1, appendices A.3 and A.8).

use crate::ids::Ssrc;
use crate::rtp::ntp::{self, NtpTime};
use crate::rtp::rtcp::ReportBlock;
use crate::units::SeqNo;
use std::time::Instant;

/// Reception counters of one SSRC, the source of its report blocks.
#[derive(Clone, Debug)]
pub struct ReceptionStats {
    ssrc: Ssrc,
    clock_rate: u32,
    /// First and highest sequence number received; `None` before the first packet.
    range: Option<(SeqNo, SeqNo)>,
    received: u64,
    /// As of the last report: packets expected and received until then.
    prior: (u64, u64),
    /// Jitter in 1/16 tick (A.8).
    jitter_q4: u32,
    /// Arrival and RTP timestamp of the previous packet.
    transit: Option<(Instant, u32)>,
    /// Last sender report and its arrival.
    sender_report: Option<(NtpTime, Instant)>,
}

impl ReceptionStats {
    /// Creates counters; `clock_rate` is the RTP clock rate in Hz.
    pub fn new(ssrc: Ssrc, clock_rate: u32) -> ReceptionStats {
        ReceptionStats {
            ssrc,
            clock_rate,
            range: None,
            received: 0,
            prior: (0, 0),
            jitter_q4: 0,
            transit: None,
            sender_report: None,
        }
    }

    /// Counts a packet. Duplicates count; retransmissions do not, because they have their own SSRC
    /// (RFC 4588).
    pub fn received(&mut self, seq: SeqNo, rtp_time: u32, now: Instant) {
        self.received += 1;
        let (first, highest) = self.range.unwrap_or((seq, seq));
        self.range = Some((first.min(seq), highest.max(seq)));
        self.measure_jitter(rtp_time, now);
    }

    /// Stores a sender report for LSR and DLSR.
    pub fn sender_report(&mut self, ntp: NtpTime, now: Instant) {
        self.sender_report = Some((ntp, now));
    }

    /// Returns a report block and starts the next interval; `None` before the first packet.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let (first, highest) = self.range?;
        let expected = highest - first + 1;
        let fraction_lost = self.fraction_lost(expected);
        self.prior = (expected, self.received);
        let (last_sr, delay_since_last_sr) = self.sender_report.map_or((0, 0), |(ntp, arrival)| {
            (
                ntp.middle(),
                ntp::to_short(now.saturating_duration_since(arrival)),
            )
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost,
            cumulative_lost: (expected as i64 - self.received as i64).clamp(-0x80_0000, 0x7f_ffff)
                as i32,
            highest_seq: highest.0 as u32,
            jitter: self.jitter_q4 >> 4,
            last_sr,
            delay_since_last_sr,
        })
    }

    /// Packets lost since the start; negative if duplicates outnumber losses.
    pub fn lost(&self) -> i64 {
        self.range.map_or(0, |(first, highest)| {
            (highest - first + 1) as i64 - self.received as i64
        })
    }

    /// RFC 3550 A.3: loss in this interval in 1/256; zero if duplicates outnumber losses.
    fn fraction_lost(&self, expected: u64) -> u8 {
        let (expected_before, received_before) = self.prior;
        let expected = expected.saturating_sub(expected_before);
        let lost = expected.saturating_sub(self.received - received_before);
        (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8
    }

    /// RFC 3550 A.8: J += (|D| − J) / 16, in ticks. Packets of one frame share a timestamp and are
    /// still compared, as in the RFC.
    fn measure_jitter(&mut self, rtp_time: u32, now: Instant) {
        if let Some((before, rtp_before)) = self.transit {
            let arrived = (now.saturating_duration_since(before).as_micros() as i64
                * i64::from(self.clock_rate))
                / 1_000_000;
            let sent = i64::from(rtp_time.wrapping_sub(rtp_before) as i32);
            // A timestamp jump (another source with the same SSRC) is not jitter; the cap is ten
            // seconds.
            let apart = (arrived - sent)
                .unsigned_abs()
                .min(10 * u64::from(self.clock_rate)) as u32;
            self.jitter_q4 = self.jitter_q4 + apart - ((self.jitter_q4 + 8) >> 4);
        }
        self.transit = Some((now, rtp_time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;
    use std::time::Duration;

    fn camera() -> ReceptionStats {
        ReceptionStats::new(Ssrc(5), 90_000)
    }

    #[test]
    fn nothing_is_reported_before_the_first_packet() {
        assert_eq!(camera().report(virtual_time::start()), None);
    }

    #[test]
    fn fraction_lost_covers_one_interval_and_cumulative_lost_all() {
        let (mut stats, now) = (camera(), virtual_time::start());
        for seq in (65_500..65_600).filter(|seq| seq % 4 != 0) {
            stats.received(SeqNo(seq), 0, now);
        }
        let report = stats.report(now).unwrap();
        // 65 500 was lost before the first packet, so it is not expected: 24 of 99.
        assert_eq!(
            (report.cumulative_lost, report.fraction_lost),
            (24, (24 * 256 / 99) as u8)
        );
        assert_eq!(report.highest_seq, 65_599);
        let report = stats.report(now).unwrap();
        assert_eq!((report.cumulative_lost, report.fraction_lost), (24, 0));
    }

    #[test]
    fn duplicates_make_the_loss_negative_and_the_fraction_zero() {
        let (mut stats, now) = (camera(), virtual_time::start());
        for seq in [1, 1, 2, 2, 3] {
            stats.received(SeqNo(seq), 0, now);
        }
        let report = stats.report(now).unwrap();
        assert_eq!((report.cumulative_lost, report.fraction_lost), (-2, 0));
    }

    #[test]
    fn a_steady_stream_has_no_jitter_and_an_unsteady_one_converges() {
        let (mut steady, mut unsteady, start) = (camera(), camera(), virtual_time::start());
        for frame in 0..300u32 {
            let now = start + Duration::from_millis(40) * frame;
            steady.received(SeqNo(frame.into()), frame * 3600, now);
            unsteady.received(
                SeqNo(frame.into()),
                frame * 3600,
                now + Duration::from_millis(10) * (frame % 2),
            );
        }
        assert_eq!(steady.report(start).unwrap().jitter, 0);
        // Each packet is 10 ms earlier or later than the previous one: 900 ticks.
        let jitter = unsteady.report(start).unwrap().jitter;
        assert!((880..=900).contains(&jitter), "{jitter}");
    }

    #[test]
    fn a_report_block_has_the_delay_since_the_last_sender_report() {
        let (mut stats, now) = (camera(), virtual_time::start());
        stats.received(SeqNo(1), 0, now);
        stats.sender_report(NtpTime(0x1111_2222_3333_4444), now);
        let report = stats.report(now + Duration::from_millis(500)).unwrap();
        assert_eq!(
            (report.last_sr, report.delay_since_last_sr),
            (0x2222_3333, 0x8000)
        );
    }
}
