//! Reorder buffer: returns packets in sequence and gives up a missing packet after a timeout.
//!
//! It waits because the publisher may still retransmit the packet (NACK, RFC 4585; RTX, RFC 4588).

use std::collections::BTreeMap;

use crate::Duration;
use crate::payload::OrderedPacket;

/// Time to wait for a missing packet: several rounds of NACK and RTX on a rural link (RTT 200–300
/// ms).
pub(crate) const REORDER_TIMEOUT: Duration = Duration::from_secs(1);

/// One second of full-sized packets at 20 Mb/s. A full buffer gives up the gap at once, which
/// bounds memory.
const MAX_BUFFERED_PACKETS: usize = 2048;

/// Next element of the packet sequence.
pub(crate) enum Next {
    Packet(BufferedPacket),
    /// Number of missing packets that were given up.
    Lost(u64),
}

/// Copy of a packet that waits for an earlier one.
pub(crate) struct BufferedPacket {
    rtp_time: u32,
    marker: bool,
    arrival: Duration,
    payload: Vec<u8>,
}

impl BufferedPacket {
    pub(crate) fn as_packet(&self) -> OrderedPacket<'_> {
        OrderedPacket {
            rtp_time: self.rtp_time,
            marker: self.marker,
            arrival: self.arrival,
            payload: &self.payload,
        }
    }
}

/// Position of a packet relative to the next expected sequence number.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Placement {
    /// The expected packet: the caller processes it without a copy.
    InOrder,
    /// A later packet: the buffer keeps a copy.
    Ahead,
    /// A duplicate, or a packet that was already given up.
    Late,
}

#[derive(Default)]
pub(crate) struct ReorderBuffer {
    next: Option<u64>,
    packets: BTreeMap<u64, BufferedPacket>,
    /// Arrival of the packet that revealed the gap before the first buffered packet.
    gap_since: Duration,
}

impl ReorderBuffer {
    pub(crate) fn insert(&mut self, seq: u64, packet: OrderedPacket) -> Placement {
        let next = *self.next.get_or_insert(seq);
        if seq < next || self.packets.contains_key(&seq) {
            return Placement::Late;
        }
        if seq == next {
            self.next = Some(seq + 1);
            return Placement::InOrder;
        }
        if self.packets.is_empty() {
            self.gap_since = packet.arrival;
        }
        let OrderedPacket {
            rtp_time,
            marker,
            arrival,
            payload,
        } = packet;
        self.packets.insert(
            seq,
            BufferedPacket {
                rtp_time,
                marker,
                arrival,
                payload: payload.to_vec(),
            },
        );
        Placement::Ahead
    }

    /// Returns the next packet in sequence, or the size of a gap that has timed out.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Next> {
        let (first, next) = (*self.packets.keys().next()?, self.next?);
        if first == next {
            let packet = self.packets.remove(&first)?;
            self.next = Some(next + 1);
            // The next gap, if any, was revealed no earlier than by this packet.
            self.gap_since = self.gap_since.max(packet.arrival);
            return Some(Next::Packet(packet));
        }
        if now.saturating_sub(self.gap_since) < REORDER_TIMEOUT
            && self.packets.len() < MAX_BUFFERED_PACKETS
        {
            return None;
        }
        self.next = Some(first);
        Some(Next::Lost(first - next))
    }

    /// Returns the next packet or gap at the end of the stream, without waiting.
    pub(crate) fn pop_flush(&mut self) -> Option<Next> {
        self.pop(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn packet(arrival: u64) -> OrderedPacket<'static> {
        OrderedPacket {
            rtp_time: 0,
            marker: false,
            arrival: ms(arrival),
            payload: &[1],
        }
    }

    #[test]
    fn a_retransmission_within_the_timeout_fills_its_gap() {
        let mut reorder = ReorderBuffer::default();
        assert_eq!(reorder.insert(10, packet(0)), Placement::InOrder);
        assert_eq!(reorder.insert(12, packet(1)), Placement::Ahead);
        assert!(reorder.pop(ms(900)).is_none());
        assert_eq!(reorder.insert(11, packet(900)), Placement::InOrder);
        assert!(matches!(reorder.pop(ms(900)), Some(Next::Packet(_))));
        assert_eq!(reorder.insert(11, packet(901)), Placement::Late);
    }

    #[test]
    fn a_gap_is_given_up_after_a_second_and_counted() {
        let mut reorder = ReorderBuffer::default();
        reorder.insert(10, packet(0));
        reorder.insert(14, packet(5));
        assert!(reorder.pop(ms(1004)).is_none());
        assert!(matches!(reorder.pop(ms(1005)), Some(Next::Lost(3))));
        assert!(matches!(reorder.pop(ms(1005)), Some(Next::Packet(_))));
        assert_eq!(reorder.insert(12, packet(1006)), Placement::Late);
    }

    #[test]
    fn a_jump_in_sequence_numbers_does_not_exhaust_memory() {
        let mut reorder = ReorderBuffer::default();
        reorder.insert(0, packet(0));
        for seq in 0..MAX_BUFFERED_PACKETS as u64 {
            reorder.insert(1_000_000 + seq, packet(1));
        }
        assert!(matches!(reorder.pop(ms(1)), Some(Next::Lost(_))));
    }
}
