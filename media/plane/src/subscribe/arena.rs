//! Send buffer: one reusable buffer and a list of messages that `sendmmsg` can send in place.
//!
//! Consecutive datagrams of one size to one destination form one GSO message (UDP_SEGMENT: all
//! segments have one size, only the last can be shorter).

use crate::transport::Path;

/// Size of the buffer in bytes: it fits the second-level cache and several hundred datagrams.
const ARENA_BYTES: usize = 1 << 20;

/// Maximum size of a datagram in bytes, SRTP trailer included.
pub const MAX_DATAGRAM: usize = 1_536;

/// Maximum number of segments in a GSO message, and maximum UDP payload in bytes (udp(7),
/// UDP_MAX_SEGMENTS).
const MAX_SEGMENTS: u32 = 64;
const MAX_MESSAGE: usize = 65_507;

/// Capacity for messages, far more than a batch.
const MAX_MESSAGES: usize = 4_096;

/// Messages of a full batch. More would delay the first of them and exceed the first-level cache.
const BATCH_MESSAGES: usize = 16;

/// Messages of the first batch after [`SendArena::begin_pass`]; each further batch doubles, so that
/// no subscriber waits longer for the packets of earlier ones to be written than it takes to send
/// to them.
const FIRST_BATCH_MESSAGES: usize = 2;

/// One `sendmsg`: `segments` datagrams of `segment` bytes each, the last one possibly shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GsoMessage {
    /// Network path of the destination.
    pub to: Path,
    /// Offset in the buffer.
    pub start: usize,
    /// Size in bytes.
    pub len: usize,
    /// Size of each segment except the last, in bytes.
    pub segment: usize,
    /// Number of segments.
    pub segments: u32,
}

/// Datagrams to send, in order.
pub struct SendArena {
    bytes: Box<[u8]>,
    used: usize,
    messages: Vec<GsoMessage>,
    batch_size: usize,
}

impl Default for SendArena {
    fn default() -> Self {
        SendArena::new()
    }
}

impl SendArena {
    /// Allocates the buffer; nothing allocates afterwards.
    pub fn new() -> SendArena {
        SendArena {
            bytes: vec![0; ARENA_BYTES].into_boxed_slice(),
            used: 0,
            messages: Vec::with_capacity(MAX_MESSAGES),
            batch_size: BATCH_MESSAGES,
        }
    }

    /// Returns true if `datagrams` more of the maximum size fit.
    pub fn has_room(&self, datagrams: usize) -> bool {
        self.bytes.len() - self.used >= datagrams * MAX_DATAGRAM
            && self.messages.len() + datagrams <= MAX_MESSAGES
    }

    /// Returns true if the batch should be sent before more datagrams are written.
    pub fn is_batch_full(&self) -> bool {
        self.messages.len() >= self.batch_size
    }

    /// Begins a pass over the subscribers with a small batch, so that the first ones wait less.
    pub fn begin_pass(&mut self) {
        self.batch_size = FIRST_BATCH_MESSAGES;
    }

    /// Space for the next datagram; requires [`SendArena::has_room`].
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used..self.used + MAX_DATAGRAM]
    }

    /// Appends the first `len` bytes of [`SendArena::space`] as a datagram to `to`.
    pub fn commit(&mut self, to: Path, len: usize) {
        let start = self.used;
        self.used += len;
        if let Some(last) = self.messages.last_mut() {
            let even = last.len == last.segment * last.segments as usize;
            let fits = last.segments < MAX_SEGMENTS && last.len + len <= MAX_MESSAGE;
            if even && fits && len <= last.segment && last.to == to {
                last.len += len;
                last.segments += 1;
                return;
            }
        }
        self.messages.push(GsoMessage {
            to,
            start,
            len,
            segment: len,
            segments: 1,
        });
    }

    /// Appends a copy of a datagram. Returns false if there is no room.
    pub fn push(&mut self, to: Path, datagram: &[u8]) -> bool {
        if datagram.len() > MAX_DATAGRAM || !self.has_room(1) {
            return false;
        }
        self.space()[..datagram.len()].copy_from_slice(datagram);
        self.commit(to, datagram.len());
        true
    }

    /// Messages to send, in order.
    pub fn messages(&self) -> &[GsoMessage] {
        &self.messages
    }

    /// Content of a message.
    pub fn bytes(&self, message: &GsoMessage) -> &[u8] {
        &self.bytes[message.start..message.start + message.len]
    }

    /// Iterates over the single datagrams in order of sending.
    pub fn datagrams(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.messages.iter().flat_map(|m| {
            self.bytes(m)
                .chunks(m.segment)
                .map(|datagram| (m.to, datagram))
        })
    }

    /// Returns true if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Discards all messages, and doubles the batch size up to its maximum.
    pub fn clear(&mut self) {
        self.used = 0;
        self.messages.clear();
        self.batch_size = (self.batch_size * 2).min(BATCH_MESSAGES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path::udp(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn packets_of_one_size_to_one_subscriber_form_one_message() {
        let mut arena = SendArena::new();
        for len in [1200, 1200, 700] {
            arena.push(path(1), &vec![len as u8; len]);
        }
        arena.push(path(1), &[9; 700]);
        arena.push(path(2), &[9; 700]);
        let shape: Vec<_> = arena
            .messages()
            .iter()
            .map(|m| (m.to.remote.port(), m.segment, m.segments, m.len))
            .collect();
        assert_eq!(
            shape,
            [(1, 1200, 3, 3100), (1, 700, 1, 700), (2, 700, 1, 700)]
        );
        let lengths: Vec<_> = arena.datagrams().map(|(_, d)| d.len()).collect();
        assert_eq!(lengths, [1200, 1200, 700, 700, 700]);
    }

    #[test]
    fn the_first_subscribers_of_a_pass_get_smaller_batches() {
        fn batches(arena: &mut SendArena) -> Vec<Option<u16>> {
            let mut batch = || {
                let full =
                    (1..=64).find(|n| arena.push(path(*n), &[1; 100]) && arena.is_batch_full());
                arena.clear();
                full
            };
            (0..5).map(|_| batch()).collect()
        }
        let mut arena = SendArena::new();
        assert_eq!(
            batches(&mut arena),
            [Some(16); 5],
            "full batches outside of a pass"
        );
        arena.begin_pass();
        assert_eq!(batches(&mut arena), [2, 4, 8, 16, 16].map(Some));
    }

    #[test]
    fn a_larger_packet_starts_a_message_of_its_own() {
        let mut arena = SendArena::new();
        arena.push(path(1), &[0; 100]);
        arena.push(path(1), &[0; 101]);
        assert_eq!(arena.messages().len(), 2);
    }

    #[test]
    fn a_full_arena_rejects_packets_until_it_is_cleared() {
        let mut arena = SendArena::new();
        let mut pushed = 0;
        while arena.push(path(pushed as u16 % 7), &[1; 1400]) {
            pushed += 1;
        }
        assert!(pushed > 700 && !arena.has_room(1));
        arena.clear();
        assert!(arena.push(path(1), &[1; 1400]));
    }
}
