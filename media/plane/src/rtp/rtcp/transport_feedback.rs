//! Transport-wide congestion control feedback, TWCC
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): arrival times of all packets of a
//! transport.
//!
//! ```text
//! sender SSRC | media SSRC | base seq (16) | status count (16)
//! reference time (24, 64 ms) | feedback count (8)
//! packet chunks: 16 bits each, a status of 1 or 2 bits for every packet
//! receive deltas: 1 or 2 bytes for each received packet
//! ```

use super::addresses;
use crate::ids::Ssrc;
use std::time::Duration;

/// Unit of receive deltas: 250 µs.
pub const TICK: Duration = Duration::from_micros(250);
/// Ticks in one unit of the reference time, 64 ms.
pub(crate) const TICKS_PER_REFERENCE: i64 = 256;

/// Limit of packet statuses in one message. Reporting more every 100 ms would take 80 000 packets
/// per second. A few bytes of run-length chunks can claim more, and every reader iterates over
/// them.
const MAX_STATUSES: u16 = 8192;

/// Packet status symbols (§3.1.1); 3 is reserved.
pub(crate) mod status {
    pub(crate) const NOT_RECEIVED: u8 = 0;
    pub(crate) const SMALL_DELTA: u8 = 1;
    pub(crate) const LARGE_DELTA: u8 = 2;
}

/// View of one feedback message; its chunks and deltas are complete.
#[derive(Clone, Copy, Debug)]
pub struct TransportFeedback<'a> {
    /// SSRC of the receiver that sent the feedback.
    pub sender: Ssrc,
    /// SSRC of one of the transport's media streams.
    pub media: Ssrc,
    /// Transport-wide sequence number of the first reported packet.
    pub base_seq: u16,
    /// Number of reported packets, lost ones included.
    pub status_count: u16,
    /// Reference time of the first delta in units of 64 ms: 24 bits, signed, of the receiver's
    /// clock with an arbitrary epoch.
    pub reference_time: i32,
    /// Counter of feedback messages; a gap reveals lost feedback.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// Reception status of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketStatus {
    /// Transport-wide sequence number.
    pub seq: u16,
    /// Arrival time in ticks of 250 µs of the receiver's clock; `None` if the packet had not
    /// arrived when the message was written.
    pub arrival_ticks: Option<i64>,
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<TransportFeedback<'a>> {
        let (sender, media) = addresses(body)?;
        let [
            base_high,
            base_low,
            count_high,
            count_low,
            ref_0,
            ref_1,
            ref_2,
            feedback_count,
        ] = *body.get(8..16)?
        else {
            return None;
        };
        let status_count = u16::from_be_bytes([count_high, count_low]);
        if status_count > MAX_STATUSES {
            return None;
        }
        let (chunks, deltas) =
            body[16..].split_at_checked(chunks_len(&body[16..], status_count)?)?;
        let feedback = TransportFeedback {
            sender,
            media,
            base_seq: u16::from_be_bytes([base_high, base_low]),
            status_count,
            // The three bytes stand at the top; the arithmetic shift extends the sign.
            reference_time: i32::from_be_bytes([ref_0, ref_1, ref_2, 0]) >> 8,
            feedback_count,
            chunks,
            deltas,
        };
        (feedback.statuses().map(delta_len).sum::<usize>() <= deltas.len()).then_some(feedback)
    }

    /// Iterates over the packet statuses, beginning at `base_seq`.
    pub fn packets(&self) -> impl Iterator<Item = PacketStatus> + 'a {
        let (mut deltas, mut seq) = (self.deltas, self.base_seq);
        let mut ticks = i64::from(self.reference_time) * TICKS_PER_REFERENCE;
        self.statuses().map(move |status| {
            let arrival_ticks = split_delta(&mut deltas, status).map(|delta| {
                ticks += delta;
                ticks
            });
            let packet = PacketStatus { seq, arrival_ticks };
            seq = seq.wrapping_add(1);
            packet
        })
    }

    fn statuses(&self) -> impl Iterator<Item = u8> + 'a {
        self.chunks
            .chunks_exact(2)
            .flat_map(Chunk::read)
            .take(usize::from(self.status_count))
    }
}

/// Returns the length of the chunks that cover `status_count` packets; `None` if `bytes` is too
/// short.
fn chunks_len(bytes: &[u8], status_count: u16) -> Option<usize> {
    let (mut len, mut covered) = (0, 0);
    while covered < usize::from(status_count) {
        covered += Chunk::read(bytes.get(len..len + 2)?).left;
        len += 2;
        // A run of length zero covers no packet; reject a message that begins with one.
        if covered == 0 {
            return None;
        }
    }
    Some(len)
}

/// Size in bytes of the receive delta for a status symbol.
fn delta_len(status: u8) -> usize {
    match status {
        status::SMALL_DELTA => 1,
        status::LARGE_DELTA => 2,
        _ => 0,
    }
}

/// §3.1.5: a small delta is one unsigned byte, a large delta two signed bytes.
fn split_delta(deltas: &mut &[u8], status: u8) -> Option<i64> {
    match status {
        status::SMALL_DELTA => {
            let (delta, rest) = deltas.split_first()?;
            *deltas = rest;
            Some(i64::from(*delta))
        }
        status::LARGE_DELTA => {
            let (delta, rest) = deltas.split_first_chunk()?;
            *deltas = rest;
            Some(i64::from(i16::from_be_bytes(*delta)))
        }
        _ => None,
    }
}

/// Iterator over the status symbols of one packet chunk (§3.1.2).
#[derive(Clone, Copy, Debug)]
struct Chunk {
    bits: u16,
    /// Number of symbols not yet read.
    left: usize,
}

impl Chunk {
    fn read(chunk: &[u8]) -> Chunk {
        let bits = u16::from_be_bytes([chunk[0], chunk[1]]);
        let left = match bits >> 14 {
            0 | 1 => usize::from(bits & 0x1fff), // §3.1.3: run length
            2 => 14,                             // §3.1.4: vector of one-bit symbols
            _ => 7,                              // §3.1.4: vector of two-bit symbols
        };
        Chunk { bits, left }
    }
}

impl Iterator for Chunk {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.left = self.left.checked_sub(1)?;
        let status = match self.bits >> 14 {
            0 | 1 => self.bits >> 13 & 3,
            2 => self.bits >> self.left & 1,
            _ => self.bits >> (2 * self.left) & 3,
        };
        Some(status as u8)
    }
}
