//! Requests from receivers: NACK, FIR, REMB (RFC 4585, RFC 5104, draft-alvestrand-rmcat-remb-03).

use super::addresses;
use crate::ids::Ssrc;
use crate::rtp::packet::read_u32;
use crate::units::Bitrate;

/// RFC 4585 §6.2.1: packets of `media` that were not received.
#[derive(Clone, Copy, Debug)]
pub struct Nack<'a> {
    pub sender: Ssrc,
    pub media: Ssrc,
    /// Pairs of a packet id and a bit mask of the 16 that follow it.
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

    /// The sequence numbers asked for, in the order of the message: 17 at most for each of its words.
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

/// RFC 5104 §4.3.1: keyframes asked for. The media SSRC of the header is unused; each entry names its own.
#[derive(Clone, Copy, Debug)]
pub struct Fir<'a> {
    pub sender: Ssrc,
    entries: &'a [u8],
}

/// One stream of which a keyframe is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirEntry {
    pub media: Ssrc,
    /// Counts commands; a repetition of the same one is to be ignored.
    pub command_seq: u8,
}

impl<'a> Fir<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<Fir<'a>> {
        let (sender, _) = addresses(body)?;
        let entries = &body[8..];
        (entries.len().is_multiple_of(8)).then_some(Fir { sender, entries })
    }

    /// The streams that are asked.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = FirEntry> + 'a {
        self.entries.chunks_exact(8).map(|entry| FirEntry {
            media: Ssrc(read_u32(entry, 0)),
            command_seq: entry[4],
        })
    }
}

/// draft-alvestrand-rmcat-remb-03 §2.2: the total bitrate that a receiver believes it can take.
#[derive(Clone, Copy, Debug)]
pub struct Remb<'a> {
    pub sender: Ssrc,
    pub bitrate: Bitrate,
    sources: &'a [u8],
}

/// The unique identifier after the addresses.
pub(super) const REMB: &[u8; 4] = b"REMB";

impl<'a> Remb<'a> {
    /// Application-layer feedback (RFC 4585 §6.4) is REMB when it says so.
    pub(super) fn is_one(body: &[u8]) -> bool {
        body.get(8..12) == Some(REMB)
    }

    pub(super) fn read(body: &'a [u8]) -> Option<Remb<'a>> {
        let (sender, _) = addresses(body)?;
        let [count, exponent, _, _] = *body.get(12..16)? else {
            return None;
        };
        let mantissa = u64::from(read_u32(body, 12) & 0x3_ffff);
        // Six bits of exponent can shift 18 bits of mantissa out of 64: saturate, such a peer has no limit.
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

    /// The streams that share the bitrate.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + 'a {
        self.sources
            .chunks_exact(4)
            .map(|ssrc| Ssrc(read_u32(ssrc, 0)))
    }
}
