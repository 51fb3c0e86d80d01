//! Sender reports, receiver reports, source descriptions and BYE (RFC 3550 §6.4–6.6).

use crate::ids::Ssrc;
use crate::rtp::ntp::NtpTime;
use crate::rtp::packet::read_u32;

/// Size of a report block in bytes.
pub(super) const BLOCK_LEN: usize = 24;

/// Reception statistics of one stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// SSRC of the stream.
    pub ssrc: Ssrc,
    /// Fraction of packets lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start: 24 bits, signed; negative if duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Extended highest sequence number received: rollover count in the high half.
    pub highest_seq: u32,
    /// Interarrival jitter in RTP timestamp ticks.
    pub jitter: u32,
    /// Middle 32 bits of the NTP timestamp of the last sender report (LSR); 0 before the first.
    pub last_sr: u32,
    /// Delay from the last sender report to this report (DLSR) in 1/65536 s.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    /// Parses a block of exactly [`BLOCK_LEN`] bytes.
    fn read(block: &[u8]) -> ReportBlock {
        let lost = read_u32(block, 4);
        ReportBlock {
            ssrc: Ssrc(read_u32(block, 0)),
            fraction_lost: (lost >> 24) as u8,
            // The left and right shift extends the sign of the 24 bits.
            cumulative_lost: (lost << 8) as i32 >> 8,
            highest_seq: read_u32(block, 8),
            jitter: read_u32(block, 12),
            last_sr: read_u32(block, 16),
            delay_since_last_sr: read_u32(block, 20),
        }
    }

    pub(super) fn bytes(&self) -> [u8; BLOCK_LEN] {
        // RFC 3550 §6.4.1: clamped to 24 bits.
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        let words = [
            self.ssrc.0,
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest_seq,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ];
        let mut bytes = [0; BLOCK_LEN];
        for (dst, word) in bytes.chunks_exact_mut(4).zip(words) {
            dst.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// Sender report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug)]
pub struct SenderReport<'a> {
    /// SSRC of the sender.
    pub ssrc: Ssrc,
    /// Wall-clock time of the report.
    pub ntp: NtpTime,
    /// RTP timestamp of the same instant.
    pub rtp_time: u32,
    /// Packets sent since the start.
    pub packets: u32,
    /// Payload bytes sent since the start, without headers and padding.
    pub octets: u32,
    blocks: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Option<SenderReport<'a>> {
        let (info, rest) = body.split_at_checked(24)?;
        Some(SenderReport {
            ssrc: Ssrc(read_u32(info, 0)),
            ntp: NtpTime(u64::from(read_u32(info, 4)) << 32 | u64::from(read_u32(info, 8))),
            rtp_time: read_u32(info, 12),
            packets: read_u32(info, 16),
            octets: read_u32(info, 20),
            blocks: rest.get(..BLOCK_LEN * usize::from(count))?,
        })
    }

    /// Iterates over the report blocks, at most 31, about streams that the sender receives.
    pub fn reports(&self) -> impl ExactSizeIterator<Item = ReportBlock> + 'a {
        self.blocks.chunks_exact(BLOCK_LEN).map(ReportBlock::read)
    }
}

/// Receiver report (RFC 3550 §6.4.2).
#[derive(Clone, Copy, Debug)]
pub struct ReceiverReport<'a> {
    /// SSRC of the reporter.
    pub ssrc: Ssrc,
    blocks: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Option<ReceiverReport<'a>> {
        let (ssrc, rest) = body.split_at_checked(4)?;
        Some(ReceiverReport {
            ssrc: Ssrc(read_u32(ssrc, 0)),
            blocks: rest.get(..BLOCK_LEN * usize::from(count))?,
        })
    }

    /// Iterates over the report blocks, at most 31: one per received stream.
    pub fn reports(&self) -> impl ExactSizeIterator<Item = ReportBlock> + 'a {
        self.blocks.chunks_exact(BLOCK_LEN).map(ReportBlock::read)
    }
}

/// Source description (RFC 3550 §6.5).
#[derive(Clone, Copy, Debug)]
pub struct Sdes<'a> {
    count: u8,
    chunks: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn new(count: u8, chunks: &'a [u8]) -> Sdes<'a> {
        Sdes { count, chunks }
    }

    /// Iterates over the SSRC and CNAME of each chunk with a CNAME; a malformed chunk ends the
    /// iteration.
    pub fn cnames(&self) -> impl Iterator<Item = (Ssrc, &'a [u8])> {
        let mut rest = self.chunks;
        (0..self.count)
            .map_while(move |_| split_chunk(&mut rest))
            .filter_map(|(ssrc, cname)| Some((ssrc, cname?)))
    }
}

/// Splits off one chunk (RFC 3550 §6.5): items end with a zero byte, then zeros align to a word.
fn split_chunk<'a>(rest: &mut &'a [u8]) -> Option<(Ssrc, Option<&'a [u8]>)> {
    let chunk = *rest;
    let ssrc = Ssrc(u32::from_be_bytes(*chunk.first_chunk()?));
    let (mut at, mut cname) = (4, None);
    loop {
        let item = *chunk.get(at)?;
        if item == 0 {
            *rest = chunk.get((at / 4 + 1) * 4..)?;
            return Some((ssrc, cname));
        }
        let len = usize::from(*chunk.get(at + 1)?);
        let text = chunk.get(at + 2..at + 2 + len)?;
        if item == CNAME {
            cname = Some(text);
        }
        at += 2 + len;
    }
}

/// SDES item type of CNAME (RFC 3550 §6.5.1).
pub(super) const CNAME: u8 = 1;

/// End of streams (RFC 3550 §6.6).
#[derive(Clone, Copy, Debug)]
pub struct Bye<'a> {
    sources: &'a [u8],
}

impl<'a> Bye<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Option<Bye<'a>> {
        Some(Bye {
            sources: body.get(..4 * usize::from(count))?,
        })
    }

    /// Iterates over the SSRCs of the ended streams.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + 'a {
        self.sources
            .chunks_exact(4)
            .map(|ssrc| Ssrc(read_u32(ssrc, 0)))
    }
}
