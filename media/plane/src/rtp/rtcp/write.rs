//! Building compound packets.

use super::feedback::REMB;
use super::report::CNAME;
use super::{ReportBlock, format, kind};
use crate::ids::Ssrc;
use crate::rtp::ntp::NtpTime;
use crate::units::Bitrate;
use thiserror::Error;

/// RFC 3550 §6.4: a report has room for 31 blocks, as its count has five bits.
pub const MAX_REPORT_BLOCKS: usize = 31;

/// The buffer has no room for the packet; nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no room left in the compound packet")]
pub struct Full;

/// A compound packet that grows in the caller's buffer.
///
/// RFC 3550 §6.1 wants a report first and a CNAME in it; RFC 5506 (`a=rtcp-rsize`) lets feedback go alone.
#[derive(Debug)]
pub struct Compound<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> Compound<'b> {
    /// Begins an empty compound.
    pub fn new(buffer: &'b mut [u8]) -> Compound<'b> {
        Compound { buffer, len: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The datagram, still without SRTCP.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// RFC 3550 §6.4.1. Blocks beyond 31 are left out.
    pub fn sender_report(
        &mut self,
        ssrc: Ssrc,
        ntp: NtpTime,
        rtp_time: u32,
        packets: u32,
        octets: u32,
        blocks: &[ReportBlock],
    ) -> Result<(), Full> {
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
                body.u32(word)?;
            }
            blocks.iter().try_for_each(|block| body.put(&block.bytes()))
        })
    }

    /// RFC 3550 §6.4.2. Blocks beyond 31 are left out.
    pub fn receiver_report(&mut self, ssrc: Ssrc, blocks: &[ReportBlock]) -> Result<(), Full> {
        let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
        self.packet(kind::RECEIVER_REPORT, blocks.len() as u8, |body| {
            body.u32(ssrc.0)?;
            blocks.iter().try_for_each(|block| body.put(&block.bytes()))
        })
    }

    /// RFC 3550 §6.5.1: names the source behind an SSRC. A name beyond 255 bytes is cut.
    pub fn cname(&mut self, ssrc: Ssrc, cname: &str) -> Result<(), Full> {
        let text = &cname.as_bytes()[..cname.len().min(255)];
        self.packet(kind::SDES, 1, |body| {
            body.u32(ssrc.0)?;
            body.put(&[CNAME, text.len() as u8])?;
            body.put(text)?;
            // At least one zero ends the list of items, more fill the word.
            body.put(&[0; 4][..4 - (2 + text.len()) % 4])
        })
    }

    /// RFC 3550 §6.6: streams that end; at most 31.
    pub fn bye(&mut self, ssrcs: &[Ssrc]) -> Result<(), Full> {
        let ssrcs = &ssrcs[..ssrcs.len().min(31)];
        self.packet(kind::BYE, ssrcs.len() as u8, |body| {
            ssrcs.iter().try_for_each(|ssrc| body.u32(ssrc.0))
        })
    }

    /// RFC 4585 §6.2.1: asks for packets again. Numbers that ascend are packed best: up to 17 into a word.
    pub fn nack(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        lost: impl IntoIterator<Item = u16>,
    ) -> Result<(), Full> {
        self.packet(kind::TRANSPORT_FEEDBACK, format::NACK, |body| {
            body.u32(sender.0)?;
            body.u32(media.0)?;
            let mut entry: Option<(u16, u16)> = None;
            for seq in lost {
                entry = match entry {
                    Some((first, mask)) if (1..=16).contains(&seq.wrapping_sub(first)) => {
                        Some((first, mask | 1 << (seq.wrapping_sub(first) - 1)))
                    }
                    full => {
                        body.nack_entry(full)?;
                        Some((seq, 0))
                    }
                };
            }
            body.nack_entry(entry)
        })
    }

    /// RFC 4585 §6.3.1: a keyframe of `media` is wanted, as pictures were lost.
    pub fn pli(&mut self, sender: Ssrc, media: Ssrc) -> Result<(), Full> {
        self.packet(kind::PAYLOAD_FEEDBACK, format::PLI, |body| {
            body.u32(sender.0)?;
            body.u32(media.0)
        })
    }

    /// RFC 5104 §4.3.1: a keyframe of `media` is wanted. `command_seq` goes up by one with each new command.
    pub fn fir(&mut self, sender: Ssrc, media: Ssrc, command_seq: u8) -> Result<(), Full> {
        self.packet(kind::PAYLOAD_FEEDBACK, format::FIR, |body| {
            // RFC 5104 §4.3.1.2: the media SSRC of the header is not used and is zero.
            for word in [sender.0, 0, media.0, u32::from(command_seq) << 24] {
                body.u32(word)?;
            }
            Ok(())
        })
    }

    /// draft-alvestrand-rmcat-remb-03 §2.2; at most 255 streams. The bitrate is rounded down to 18 significant bits.
    pub fn remb(&mut self, sender: Ssrc, bitrate: Bitrate, ssrcs: &[Ssrc]) -> Result<(), Full> {
        let ssrcs = &ssrcs[..ssrcs.len().min(255)];
        let exponent = (64 - 18u32).saturating_sub(bitrate.as_bps().leading_zeros());
        let mantissa = (bitrate.as_bps() >> exponent) as u32;
        self.packet(kind::PAYLOAD_FEEDBACK, format::APPLICATION, |body| {
            body.u32(sender.0)?;
            body.u32(0)?;
            body.put(REMB)?;
            body.u32((ssrcs.len() as u32) << 24 | exponent << 18 | mantissa)?;
            ssrcs.iter().try_for_each(|ssrc| body.u32(ssrc.0))
        })
    }

    /// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1; `rest` is what follows the addresses.
    pub fn transport_feedback(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        rest: &[u8],
    ) -> Result<(), Full> {
        self.packet(kind::TRANSPORT_FEEDBACK, format::TRANSPORT_WIDE, |body| {
            body.u32(sender.0)?;
            body.u32(media.0)?;
            body.put(rest)
        })
    }

    /// Writes the common header around what `fill` writes; takes everything back when it does not fit.
    fn packet(
        &mut self,
        packet_type: u8,
        count: u8,
        fill: impl FnOnce(&mut Body<'_>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let space = &mut self.buffer[self.len..];
        let mut body = Body {
            bytes: space,
            len: 4,
        };
        fill(&mut body)?;
        let padding = body.pad()?;
        let len = body.len;
        // RFC 3550 §6.4.1: words less one; a compound is a datagram and far shorter than 2¹⁶ words.
        let words = u16::try_from(len / 4 - 1).map_err(|_| Full)?;
        space[0] = 0x80 | u8::from(padding) << 5 | count;
        space[1] = packet_type;
        space[2..4].copy_from_slice(&words.to_be_bytes());
        self.len += len;
        Ok(())
    }
}

/// The packet being written, from its first byte on.
struct Body<'b> {
    bytes: &'b mut [u8],
    len: usize,
}

impl Body<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len + bytes.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(Full)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    fn u32(&mut self, word: u32) -> Result<(), Full> {
        self.put(&word.to_be_bytes())
    }

    fn nack_entry(&mut self, entry: Option<(u16, u16)>) -> Result<(), Full> {
        entry.map_or(Ok(()), |(first, mask)| {
            self.u32(u32::from(first) << 16 | u32::from(mask))
        })
    }

    /// Fills up to a word with RTCP padding and says whether there was any.
    fn pad(&mut self) -> Result<bool, Full> {
        let missing = (4 - self.len % 4) % 4;
        let padding = [0, 0, 0, missing as u8];
        self.put(&padding[4 - missing..])?;
        if self.len > self.bytes.len() {
            return Err(Full);
        }
        Ok(missing > 0)
    }
}
