//! Feedback from receivers: NACK (RFC 4585), FIR (RFC 5104) and REMB
//! (draft-alvestrand-rmcat-remb-03).

use super::addresses;
use crate::ids::Ssrc;
use crate::rtp::packet::read_u32;
use crate::units::Bitrate;

/// Generic NACK (RFC 4585 §6.2.1): packets of `media` that were not received.
#[derive(Clone, Copy, Debug)]
pub struct Nack<'a> {
    /// SSRC of the receiver that sent the request.
    pub sender: Ssrc,
    /// SSRC of the stream with the losses.
    pub media: Ssrc,
    /// Pairs of a packet id (PID) and a bitmask of the following 16 packets (BLP).
    entries: &'a [u8],
}

impl<'a> Nack<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<Nack<'a>> {
        let (sender, media) = addresses(body)?;
        let entries = &body[8..];
        (entries.len().is_multiple_of(4)).then_some(Nack {
            sender,
            media,
            entries,
        })
    }

    /// Iterates over the lost sequence numbers in the order of the message, at most 17 per entry.
    pub fn lost(&self) -> impl Iterator<Item = u16> + 'a {
        self.entries.chunks_exact(4).flat_map(|entry| {
            let first = u16::from_be_bytes([entry[0], entry[1]]);
            let mask = u32::from(u16::from_be_bytes([entry[2], entry[3]])) << 1 | 1;
            (0..17)
                .filter(move |bit| mask & 1 << bit != 0)
                .map(move |bit| first.wrapping_add(bit))
        })
    }
}

/// Full Intra Request (RFC 5104 §4.3.1). The media SSRC of the common header is unused; each entry
/// has its own.
#[derive(Clone, Copy, Debug)]
pub struct Fir<'a> {
    /// SSRC of the receiver that sent the request.
    pub sender: Ssrc,
    entries: &'a [u8],
}

/// One stream for which a keyframe is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirEntry {
    /// SSRC of the stream.
    pub media: Ssrc,
    /// Command sequence number; a repeated number is a retransmission and is ignored.
    pub command_seq: u8,
}

impl<'a> Fir<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<Fir<'a>> {
        let (sender, _) = addresses(body)?;
        let entries = &body[8..];
        (entries.len().is_multiple_of(8)).then_some(Fir { sender, entries })
    }

    /// Iterates over the requested streams.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = FirEntry> + 'a {
        self.entries.chunks_exact(8).map(|entry| FirEntry {
            media: Ssrc(read_u32(entry, 0)),
            command_seq: entry[4],
        })
    }
}

/// Receiver Estimated Maximum Bitrate (draft-alvestrand-rmcat-remb-03 §2.2): the total bitrate of
/// all streams that the receiver accepts.
#[derive(Clone, Copy, Debug)]
pub struct Remb<'a> {
    /// SSRC of the receiver.
    pub sender: Ssrc,
    /// Estimated maximum bitrate of all listed streams together.
    pub bitrate: Bitrate,
    sources: &'a [u8],
}

/// Unique identifier after the SSRCs.
pub(super) const REMB: &[u8; 4] = b"REMB";

impl<'a> Remb<'a> {
    /// Returns true if an application-layer feedback message (RFC 4585 §6.4) is a REMB.
    pub(super) fn is_remb(body: &[u8]) -> bool {
        body.get(8..12) == Some(REMB)
    }

    pub(super) fn read(body: &'a [u8]) -> Option<Remb<'a>> {
        let (sender, _) = addresses(body)?;
        let [count, exponent, _, _] = *body.get(12..16)? else {
            return None;
        };
        let mantissa = u64::from(read_u32(body, 12) & 0x3_ffff);
        // Six bits of exponent can shift an 18-bit mantissa beyond 64 bits. Saturate: such a peer
        // reports no limit.
        let bits_per_second = mantissa.saturating_mul(
            1u64.checked_shl(u32::from(exponent >> 2))
                .unwrap_or(u64::MAX),
        );
        let sources = body.get(16..16 + 4 * usize::from(count))?;
        Some(Remb {
            sender,
            bitrate: Bitrate::bps(bits_per_second),
            sources,
        })
    }

    /// Iterates over the streams that share the bitrate.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + 'a {
        self.sources
            .chunks_exact(4)
            .map(|ssrc| Ssrc(read_u32(ssrc, 0)))
    }
}
