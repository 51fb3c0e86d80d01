//! Packet ring of one simulcast layer; holds the only copy of a packet inside a shard.
//!
//! One preallocated ring serves as forwarding source, retransmission store, keyframe cache and
//! recording source. The slot of a packet is its sequence number modulo the capacity, so a lookup
//! is an index, and a packet overwrites the one that is a full ring older.

use std::time::Instant;

use crate::rtp::payload::vp8::PictureIds;
use crate::units::SeqNo;

/// Maximum RTP payload in bytes. A larger packet does not fit an Ethernet path after SRTP, UDP and
/// IPv6 (1500 − 40 − 8 − 16 − 20), and fragmented senders lose more than they gain.
pub const MAX_PAYLOAD: usize = 1_440;

/// Size of one slot in bytes: the payload, rounded up so that slots start on cache lines.
const STRIDE: usize = MAX_PAYLOAD.next_multiple_of(64);

/// Metadata of a packet, parsed once at reception.
#[derive(Clone, Copy, Debug)]
pub struct PacketMeta {
    /// Sequence number, extended by rollovers since the first packet of the layer.
    pub seq: SeqNo,
    /// RTP timestamp of the publisher.
    pub rtp_time: u32,
    /// Time of reception.
    pub arrival: Instant,
    /// Payload length in bytes.
    pub len: u16,
    /// RTP padding in bytes that gives neighbouring packets one size, so that they form one GSO
    /// message.
    pub pad: u8,
    /// Marker bit: last packet of a frame (video), first of a talkspurt (audio).
    pub marker: bool,
    /// The packet is the first of its frame, as far as the codec's payload header shows it.
    pub frame_start: bool,
    /// The packet belongs to a keyframe; always true for audio.
    pub keyframe: bool,
    /// The payload is RED (RFC 2198).
    pub red: bool,
    /// PictureID and TL0PICIDX of VP8.
    pub picture_ids: Option<PictureIds>,
    /// Offset in bytes of the primary block in a RED payload; 0 otherwise.
    pub primary_offset: u16,
}

/// Packets of one layer, indexed by sequence number.
pub struct PacketRing {
    slots: Box<[Option<PacketMeta>]>,
    payloads: Box<[u8]>,
    mask: u64,
    newest: Option<SeqNo>,
    /// First packet of the newest keyframe.
    keyframe: Option<SeqNo>,
}

impl PacketRing {
    /// Creates a ring of `capacity` packets, a power of two.
    pub fn new(capacity: usize) -> PacketRing {
        assert!(
            capacity.is_power_of_two(),
            "a slot is found by masking the sequence number"
        );
        PacketRing {
            slots: vec![None; capacity].into_boxed_slice(),
            payloads: vec![0; capacity * STRIDE].into_boxed_slice(),
            mask: capacity as u64 - 1,
            newest: None,
            keyframe: None,
        }
    }

    /// Stores a packet. Returns false if it is a duplicate, older than the ring, or too large.
    pub fn insert(&mut self, meta: PacketMeta, payload: &[u8]) -> bool {
        if payload.len() > MAX_PAYLOAD
            || payload.len() != usize::from(meta.len)
            || self.is_expired(meta.seq)
        {
            return false;
        }
        let at = self.index(meta.seq);
        if self.slots[at].is_some_and(|held| held.seq == meta.seq) {
            return false;
        }
        self.payloads[at * STRIDE..at * STRIDE + payload.len()].copy_from_slice(payload);
        self.slots[at] = Some(meta);
        if meta.keyframe && meta.frame_start && self.keyframe.is_none_or(|k| k < meta.seq) {
            self.keyframe = Some(meta.seq);
        }
        self.newest = self.newest.max(Some(meta.seq));
        true
    }

    /// Returns the packet with a sequence number, while the ring holds it.
    pub fn get(&self, seq: SeqNo) -> Option<(&PacketMeta, &[u8])> {
        let at = self.index(seq);
        let meta = self.slots[at].as_ref().filter(|meta| meta.seq == seq)?;
        Some((
            meta,
            &self.payloads[at * STRIDE..at * STRIDE + usize::from(meta.len)],
        ))
    }

    /// Sets the padding of a stored packet.
    pub fn set_pad(&mut self, seq: SeqNo, pad: u8) {
        let at = self.index(seq);
        if let Some(meta) = self.slots[at].as_mut().filter(|meta| meta.seq == seq) {
            meta.pad = pad;
        }
    }

    /// Sequence number of the newest packet.
    pub fn newest(&self) -> Option<SeqNo> {
        self.newest
    }

    /// Returns the first packet of the newest keyframe if the ring holds every packet since; a late
    /// joiner starts there.
    pub fn replayable_keyframe(&self) -> Option<SeqNo> {
        let (keyframe, newest) = (self.keyframe?, self.newest?);
        let is_complete = (keyframe.0..=newest.0).all(|seq| self.get(SeqNo(seq)).is_some());
        (newest - keyframe <= self.mask && is_complete).then_some(keyframe)
    }

    /// Maximum number of packets.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Allocated memory in bytes.
    pub fn size_bytes(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.payloads)
    }

    fn is_expired(&self, seq: SeqNo) -> bool {
        self.newest.is_some_and(|newest| newest - seq > self.mask)
    }

    fn index(&self, seq: SeqNo) -> usize {
        (seq.0 & self.mask) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(seq: u64, keyframe_start: bool, now: Instant) -> PacketMeta {
        PacketMeta {
            seq: SeqNo(seq),
            rtp_time: 0,
            arrival: now,
            len: 3,
            pad: 0,
            marker: false,
            frame_start: keyframe_start,
            keyframe: keyframe_start,
            red: false,
            picture_ids: None,
            primary_offset: 0,
        }
    }

    #[test]
    fn a_packet_is_found_until_a_full_ring_has_passed() {
        let (mut ring, now) = (PacketRing::new(8), crate::virtual_time::start());
        for seq in 100..108 {
            assert!(ring.insert(packet(seq, false, now), &[seq as u8; 3]));
        }
        assert_eq!(
            ring.get(SeqNo(100)).map(|(_, payload)| payload),
            Some(&[100u8; 3][..])
        );
        assert!(ring.insert(packet(108, false, now), &[1; 3]));
        assert!(ring.get(SeqNo(100)).is_none());
        assert!(
            !ring.insert(packet(100, false, now), &[1; 3]),
            "older than the ring"
        );
        assert!(!ring.insert(packet(108, false, now), &[1; 3]), "duplicate");
    }

    #[test]
    fn a_late_joiner_starts_only_at_a_keyframe_without_gaps() {
        let (mut ring, now) = (PacketRing::new(16), crate::virtual_time::start());
        assert_eq!(ring.replayable_keyframe(), None);
        ring.insert(packet(10, true, now), &[0; 3]);
        ring.insert(packet(12, false, now), &[0; 3]);
        assert_eq!(ring.replayable_keyframe(), None, "11 is missing");
        ring.insert(packet(11, false, now), &[0; 3]);
        assert_eq!(ring.replayable_keyframe(), Some(SeqNo(10)));
    }

    #[test]
    fn a_packet_that_is_too_large_is_rejected() {
        let (mut ring, now) = (PacketRing::new(8), crate::virtual_time::start());
        let meta = PacketMeta {
            len: MAX_PAYLOAD as u16 + 1,
            ..packet(1, false, now)
        };
        assert!(!ring.insert(meta, &[0; MAX_PAYLOAD + 1]));
    }
}
