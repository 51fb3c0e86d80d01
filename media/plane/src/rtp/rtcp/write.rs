//! Writer of compound packets.

use super::feedback::REMB;
use super::report::CNAME;
use super::{ReportBlock, format, kind};
use crate::ids::Ssrc;
use crate::rtp::ntp::NtpTime;
use crate::units::Bitrate;
use thiserror::Error;

/// Maximum number of report blocks in one packet; the report count has five bits (RFC 3550 §6.4.1).
const MAX_REPORT_BLOCKS: usize = 31;

/// Error of a buffer without room for the packet; nothing of the packet was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no room left in the compound packet")]
pub struct BufferFull;

/// Compound packet, written into the caller's buffer.
///
/// RFC 3550 §6.1 requires a report first and a CNAME; RFC 5506 (`a=rtcp-rsize`) allows feedback
/// alone.
#[derive(Debug)]
pub struct Compound<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> Compound<'b> {
    /// Creates an empty compound packet.
    pub fn new(buffer: &'b mut [u8]) -> Compound<'b> {
        Compound { buffer, len: 0 }
    }

    /// Number of bytes written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if no packet was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The compound packet, not yet protected with SRTCP.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Appends a sender report (RFC 3550 §6.4.1). Blocks beyond 31 are left out.
    pub fn sender_report(
        &mut self,
        ssrc: Ssrc,
        ntp: NtpTime,
        rtp_time: u32,
        packets: u32,
        octets: u32,
        blocks: &[ReportBlock],
    ) -> Result<(), BufferFull> {
        let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
        self.packet(kind::SENDER_REPORT, blocks.len() as u8, |body| {
            for word in [
                ssrc.0,
                (ntp.0 >> 32) as u32,
                ntp.0 as u32,
                rtp_time,
                packets,
                octets,
            ] {
                body.put_u32(word)?;
            }
            blocks.iter().try_for_each(|block| body.put(&block.bytes()))
        })
    }

    /// Appends a receiver report (RFC 3550 §6.4.2). Blocks beyond 31 are left out.
    pub fn receiver_report(
        &mut self,
        ssrc: Ssrc,
        blocks: &[ReportBlock],
    ) -> Result<(), BufferFull> {
        let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
        self.packet(kind::RECEIVER_REPORT, blocks.len() as u8, |body| {
            body.put_u32(ssrc.0)?;
            blocks.iter().try_for_each(|block| body.put(&block.bytes()))
        })
    }

    /// Appends a source description with a CNAME (RFC 3550 §6.5.1). A name beyond 255 bytes is
    /// truncated.
    pub fn cname(&mut self, ssrc: Ssrc, cname: &str) -> Result<(), BufferFull> {
        let text = &cname.as_bytes()[..cname.len().min(255)];
        self.packet(kind::SDES, 1, |body| {
            body.put_u32(ssrc.0)?;
            body.put(&[CNAME, text.len() as u8])?;
            body.put(text)?;
            // At least one zero byte ends the item list; more align it to a word.
            body.put(&[0; 4][..4 - (2 + text.len()) % 4])
        })
    }

    /// Appends a BYE (RFC 3550 §6.6) for at most 31 streams.
    pub fn bye(&mut self, ssrcs: &[Ssrc]) -> Result<(), BufferFull> {
        let ssrcs = &ssrcs[..ssrcs.len().min(31)];
        self.packet(kind::BYE, ssrcs.len() as u8, |body| {
            ssrcs.iter().try_for_each(|ssrc| body.put_u32(ssrc.0))
        })
    }

    /// Appends a generic NACK (RFC 4585 §6.2.1). Ascending numbers pack best: up to 17 per 32-bit
    /// entry.
    pub fn nack(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        lost: impl IntoIterator<Item = u16>,
    ) -> Result<(), BufferFull> {
        self.packet(kind::TRANSPORT_FEEDBACK, format::NACK, |body| {
            body.put_u32(sender.0)?;
            body.put_u32(media.0)?;
            let mut entry: Option<(u16, u16)> = None;
            for seq in lost {
                entry = match entry {
                    Some((first, mask)) if (1..=16).contains(&seq.wrapping_sub(first)) => {
                        Some((first, mask | 1 << (seq.wrapping_sub(first) - 1)))
                    }
                    full => {
                        body.put_nack_entry(full)?;
                        Some((seq, 0))
                    }
                };
            }
            body.put_nack_entry(entry)
        })
    }

    /// Appends a Picture Loss Indication (RFC 4585 §6.3.1), which requests a keyframe of `media`.
    pub fn pli(&mut self, sender: Ssrc, media: Ssrc) -> Result<(), BufferFull> {
        self.packet(kind::PAYLOAD_FEEDBACK, format::PLI, |body| {
            body.put_u32(sender.0)?;
            body.put_u32(media.0)
        })
    }

    /// Appends a Full Intra Request (RFC 5104 §4.3.1) for `media`. Each new request
    /// increments `command_seq`.
    pub fn fir(&mut self, sender: Ssrc, media: Ssrc, command_seq: u8) -> Result<(), BufferFull> {
        self.packet(kind::PAYLOAD_FEEDBACK, format::FIR, |body| {
            // RFC 5104 §4.3.1.2: the media SSRC of the common header is unused and set to zero.
            for word in [sender.0, 0, media.0, u32::from(command_seq) << 24] {
                body.put_u32(word)?;
            }
            Ok(())
        })
    }

    /// Appends a REMB (draft-alvestrand-rmcat-remb-03 §2.2) for at most 255 streams. The bitrate is
    /// rounded down to 18 significant bits.
    pub fn remb(
        &mut self,
        sender: Ssrc,
        bitrate: Bitrate,
        ssrcs: &[Ssrc],
    ) -> Result<(), BufferFull> {
        let ssrcs = &ssrcs[..ssrcs.len().min(255)];
        let exponent = (64 - 18u32).saturating_sub(bitrate.as_bps().leading_zeros());
        let mantissa = (bitrate.as_bps() >> exponent) as u32;
        self.packet(kind::PAYLOAD_FEEDBACK, format::APPLICATION, |body| {
            body.put_u32(sender.0)?;
            body.put_u32(0)?;
            body.put(REMB)?;
            body.put_u32((ssrcs.len() as u32) << 24 | exponent << 18 | mantissa)?;
            ssrcs.iter().try_for_each(|ssrc| body.put_u32(ssrc.0))
        })
    }

    /// Appends transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
    /// `rest` is the message from the base sequence number on.
    pub fn transport_feedback(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        rest: &[u8],
    ) -> Result<(), BufferFull> {
        self.packet(kind::TRANSPORT_FEEDBACK, format::TRANSPORT_WIDE, |body| {
            body.put_u32(sender.0)?;
            body.put_u32(media.0)?;
            body.put(rest)
        })
    }

    /// Writes the common header and the body that `fill` writes; leaves the compound unchanged if
    /// the packet does not fit.
    fn packet(
        &mut self,
        packet_type: u8,
        count: u8,
        fill: impl FnOnce(&mut Body<'_>) -> Result<(), BufferFull>,
    ) -> Result<(), BufferFull> {
        let space = &mut self.buffer[self.len..];
        let mut body = Body {
            bytes: space,
            len: 4,
        };
        fill(&mut body)?;
        let padding = body.pad()?;
        let len = body.len;
        // RFC 3550 §6.4.1: length in words minus one. The conversion fails only for a packet far
        // beyond a datagram.
        let words = u16::try_from(len / 4 - 1).map_err(|_| BufferFull)?;
        space[0] = 0x80 | u8::from(padding) << 5 | count;
        space[1] = packet_type;
        space[2..4].copy_from_slice(&words.to_be_bytes());
        self.len += len;
        Ok(())
    }
}

/// Packet under construction; `bytes` begins at its common header.
struct Body<'b> {
    bytes: &'b mut [u8],
    len: usize,
}

impl Body<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), BufferFull> {
        let end = self.len + bytes.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(BufferFull)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    fn put_u32(&mut self, word: u32) -> Result<(), BufferFull> {
        self.put(&word.to_be_bytes())
    }

    fn put_nack_entry(&mut self, entry: Option<(u16, u16)>) -> Result<(), BufferFull> {
        entry.map_or(Ok(()), |(first, mask)| {
            self.put_u32(u32::from(first) << 16 | u32::from(mask))
        })
    }

    /// Pads the packet to a word with RTCP padding; returns true if padding was necessary.
    fn pad(&mut self) -> Result<bool, BufferFull> {
        let missing = (4 - self.len % 4) % 4;
        let padding = [0, 0, 0, missing as u8];
        self.put(&padding[4 - missing..])?;
        if self.len > self.bytes.len() {
            return Err(BufferFull);
        }
        Ok(missing > 0)
    }
}
