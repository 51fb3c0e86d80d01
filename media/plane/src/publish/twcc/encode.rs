//! Encoder of one feedback message.

use crate::rtp::rtcp::{TICKS_PER_REFERENCE, status};
use crate::units::SeqNo;

/// Maximum number of packets in one message: with large deltas 16 + 2 × 72 + 2 × 500 bytes, which
/// fits a datagram.
const MAX_STATUSES: usize = 500;
const MAX_LEN: usize = 8 + 2 * MAX_STATUSES.div_ceil(7) + 2 * MAX_STATUSES;
/// The length of a run-length chunk has 13 bits.
const _: () = assert!(MAX_STATUSES < 1 << 13);
/// Symbols in a status vector chunk of one and of two bits.
const ONE_BIT_SYMBOLS: usize = 14;
const TWO_BIT_SYMBOLS: usize = 7;

/// Feedback message under construction.
pub(super) struct FeedbackMessage {
    base: SeqNo,
    statuses: [u8; MAX_STATUSES],
    count: usize,
    deltas: [i16; MAX_STATUSES],
    delta_count: usize,
    /// Reference time in units of 64 ms, and the last arrival in ticks.
    reference: i64,
    last_ticks: i64,
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl FeedbackMessage {
    pub(super) fn new() -> FeedbackMessage {
        FeedbackMessage {
            base: SeqNo(0),
            statuses: [0; MAX_STATUSES],
            count: 0,
            deltas: [0; MAX_STATUSES],
            delta_count: 0,
            reference: 0,
            last_ticks: 0,
            bytes: [0; MAX_LEN],
            len: 0,
        }
    }

    /// Adds the next packet. Returns false if it needs a new message: this one is full, or the
    /// delta does not fit 16 bits.
    pub(super) fn push(&mut self, seq: SeqNo, arrival: Option<i64>) -> bool {
        if self.count == MAX_STATUSES {
            return false;
        }
        if self.count == 0 {
            self.base = seq;
        }
        let status = match arrival {
            None => status::NOT_RECEIVED,
            Some(ticks) => {
                let Some(status) = self.push_delta(ticks) else {
                    return false;
                };
                status
            }
        };
        self.statuses[self.count] = status;
        self.count += 1;
        true
    }

    fn push_delta(&mut self, ticks: i64) -> Option<u8> {
        if self.delta_count == 0 {
            // §3.1: the reference time is the first arrival rounded down; the first delta is
            // relative to it.
            self.reference = ticks.div_euclid(TICKS_PER_REFERENCE);
            self.last_ticks = self.reference * TICKS_PER_REFERENCE;
        }
        let delta = i16::try_from(ticks - self.last_ticks).ok()?;
        self.last_ticks = ticks;
        self.deltas[self.delta_count] = delta;
        self.delta_count += 1;
        Some(if (0..=255).contains(&delta) {
            status::SMALL_DELTA
        } else {
            status::LARGE_DELTA
        })
    }

    /// Encodes the message from the base sequence number on; `None` if no packet arrived, because
    /// then it has no reference time.
    pub(super) fn finish(&mut self, feedback_count: u8) -> Option<&[u8]> {
        if self.delta_count == 0 {
            return None;
        }
        self.put(&self.base.wire().to_be_bytes());
        self.put(&(self.count as u16).to_be_bytes());
        self.put(&(self.reference as i32).to_be_bytes()[1..]);
        self.put(&[feedback_count]);
        self.put_chunks();
        for at in 0..self.delta_count {
            match u8::try_from(self.deltas[at]) {
                Ok(small) => self.put(&[small]),
                Err(_) => self.put(&self.deltas[at].to_be_bytes()),
            }
        }
        Some(&self.bytes[..self.len])
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn put_chunks(&mut self) {
        let mut at = 0;
        while at < self.count {
            let (chunk, covered) = chunk(&self.statuses[at..self.count]);
            self.put(&chunk.to_be_bytes());
            at += covered;
        }
    }
}

/// Returns the chunk that covers most of the first `statuses`, and their number.
fn chunk(statuses: &[u8]) -> (u16, usize) {
    let first = statuses[0];
    let run = statuses
        .iter()
        .take_while(|status| **status == first)
        .count();
    // A decoder reads a vector to its end, so only the last chunk of a message can be partly
    // filled.
    let one_bit = &statuses[..statuses.len().min(ONE_BIT_SYMBOLS)];
    let two_bit = &statuses[..statuses.len().min(TWO_BIT_SYMBOLS)];
    let fits_one_bit = !one_bit.contains(&status::LARGE_DELTA);
    if run >= two_bit.len() && (run >= one_bit.len() || !fits_one_bit) {
        (u16::from(first) << 13 | run as u16, run) // §3.1.3
    } else if fits_one_bit {
        (vector(0x8000, 1, one_bit), one_bit.len()) // §3.1.4, symbol size bit 0
    } else {
        (vector(0xc000, 2, two_bit), two_bit.len())
    }
}

/// Packs symbols of `bits` bits from the top; unused symbols at the end stay zero and are not
/// counted.
fn vector(head: u16, bits: usize, statuses: &[u8]) -> u16 {
    statuses
        .iter()
        .enumerate()
        .fold(head, |chunk, (at, status)| {
            chunk | u16::from(*status) << (14 - bits * (at + 1))
        })
}
