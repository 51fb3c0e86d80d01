//! Where outgoing datagrams are built: one reusable buffer, and a list of messages that `sendmmsg` can send as they lie.
//!
//! Packets of one size to one destination that are built one after the other become one message with several segments
//! (UDP GSO: all segments have one size, only the last may be shorter).

use crate::transport::Path;

/// Bytes of the buffer: small enough to stay in the second-level cache, large enough for several hundred datagrams.
const ARENA_BYTES: usize = 1 << 20;

/// Largest datagram that is ever built, SRTP trailer included.
pub const MAX_DATAGRAM: usize = 1_536;

/// The kernel takes at most 64 segments and 65,507 bytes of UDP payload in one GSO message (udp(7), UDP_MAX_SEGMENTS).
const MAX_SEGMENTS: u32 = 64;
const MAX_MESSAGE: usize = 65_507;

/// Messages of one flush. The smallest datagram we send is a STUN response; the arena holds fewer than this of any mix we produce.
const MAX_MESSAGES: usize = 4_096;

/// So many messages are worth a system call: more would only keep the first of them waiting, and come from memory that has left the
/// first-level cache by then.
const ENOUGH_MESSAGES: usize = 16;

/// So many are worth the first one after [`SendArena::begin`], and twice as many each one after it: nobody waits longer for those before him
/// to be written than it takes to send to them.
const FIRST_MESSAGES: usize = 2;

/// One `sendmsg`: `segments` datagrams of `segment` bytes each, the last one possibly shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub to: Path,
    /// Where the bytes start in the arena.
    pub start: usize,
    /// All bytes of the message.
    pub len: usize,
    /// Size of each segment but the last, in bytes.
    pub segment: usize,
    pub segments: u32,
}

/// Datagrams to be sent, in order.
pub struct SendArena {
    bytes: Box<[u8]>,
    used: usize,
    messages: Vec<Message>,
    enough: usize,
}

impl Default for SendArena {
    fn default() -> Self {
        SendArena::new()
    }
}

impl SendArena {
    pub fn new() -> SendArena {
        SendArena {
            bytes: vec![0; ARENA_BYTES].into_boxed_slice(),
            used: 0,
            messages: Vec::with_capacity(MAX_MESSAGES),
            enough: ENOUGH_MESSAGES,
        }
    }

    /// Whether `datagrams` more of the largest size fit.
    pub fn has_room(&self, datagrams: usize) -> bool {
        self.bytes.len() - self.used >= datagrams * MAX_DATAGRAM
            && self.messages.len() + datagrams <= MAX_MESSAGES
    }

    /// Whether it holds enough to be sent before more is built.
    pub fn holds_enough(&self) -> bool {
        self.messages.len() >= self.enough
    }

    /// A pass over an audience begins: its first messages leave sooner than a whole batch would be written.
    pub fn begin(&mut self) {
        self.enough = FIRST_MESSAGES;
    }

    /// Space for the next datagram. The caller has asked [`SendArena::has_room`].
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used..self.used + MAX_DATAGRAM]
    }

    /// Takes the first `len` bytes of [`SendArena::space`] as a datagram to `to`.
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
        self.messages.push(Message {
            to,
            start,
            len,
            segment: len,
            segments: 1,
        });
    }

    /// Copies a whole datagram in. Returns false when there is no room.
    pub fn push(&mut self, to: Path, datagram: &[u8]) -> bool {
        if datagram.len() > MAX_DATAGRAM || !self.has_room(1) {
            return false;
        }
        self.space()[..datagram.len()].copy_from_slice(datagram);
        self.commit(to, datagram.len());
        true
    }

    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The bytes of a message.
    pub fn bytes(&self, message: &Message) -> &[u8] {
        &self.bytes[message.start..message.start + message.len]
    }

    /// Every datagram for itself, in order of sending.
    pub fn datagrams(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.messages.iter().flat_map(|m| {
            self.bytes(m)
                .chunks(m.segment)
                .map(|datagram| (m.to, datagram))
        })
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Forgets everything; the buffer stays.
    pub fn clear(&mut self) {
        self.used = 0;
        self.messages.clear();
        self.enough = (self.enough * 2).min(ENOUGH_MESSAGES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path::udp(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn packets_of_one_size_to_one_subscriber_travel_as_one_message() {
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
    fn the_first_of_an_audience_waits_for_fewer_than_the_last() {
        fn batches(arena: &mut SendArena) -> Vec<Option<u16>> {
            let mut batch = || {
                let full =
                    (1..=64).find(|n| arena.push(path(*n), &[1; 100]) && arena.holds_enough());
                arena.clear();
                full
            };
            (0..5).map(|_| batch()).collect()
        }
        let mut arena = SendArena::new();
        assert_eq!(
            batches(&mut arena),
            [Some(16); 5],
            "what is no pass goes in whole batches"
        );
        arena.begin();
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
    fn a_full_arena_takes_no_more_and_is_whole_again_after_clearing() {
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
