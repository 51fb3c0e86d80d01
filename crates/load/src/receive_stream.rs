//! Receiving side of a media stream: sequence numbers, losses, and the first complete keyframe.

use std::collections::BTreeSet;
use std::time::Instant;

use tongke_plane::ids::Ssrc;
use tongke_plane::publish::nack::{Classification, NackGenerator};
use tongke_plane::publish::reception::ReceptionStats;
use tongke_plane::rtp::RtpPacket;
use tongke_plane::units::SeqNo;

use super::h264::has_sps;

/// RTP clock rate of H.264 in hertz (RFC 6184 §8.2.1).
const CLOCK_RATE: u32 = 90_000;

/// Classification of a received packet by its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reception {
    /// Highest sequence number so far.
    Newest,
    /// Highest so far, after a gap too large to be requested.
    Jump,
    /// Out of order, without a NACK.
    OutOfOrder,
    /// Recovered after a NACK.
    Recovered,
    /// Duplicate, or no longer expected.
    Duplicate,
}

pub(crate) struct ReceiveStream {
    pub ssrc: Ssrc,
    highest: SeqNo,
    /// True if the packet with the highest number ended its frame.
    frame_ended: bool,
    /// Missing numbers; the caller sends the NACKs.
    pub missing: NackGenerator,
    pub reception: ReceptionStats,
    window_start: SeqNo,
}

impl ReceiveStream {
    /// Starts a stream with this packet, which the caller counts afterwards.
    pub(crate) fn new(ssrc: Ssrc, seq: SeqNo) -> ReceiveStream {
        ReceiveStream {
            ssrc,
            highest: seq,
            frame_ended: false,
            missing: NackGenerator::new(),
            reception: ReceptionStats::new(ssrc, CLOCK_RATE),
            window_start: SeqNo(seq.0.saturating_sub(1)),
        }
    }

    /// Counts a packet of the media stream.
    pub(crate) fn media(&mut self, packet: &RtpPacket<'_>, seq: SeqNo, now: Instant) -> Reception {
        self.reception.received(seq, packet.timestamp(), now);
        if seq >= self.highest {
            (self.highest, self.frame_ended) = (seq, packet.marker());
        }
        self.classify(seq, now)
    }

    /// Counts a retransmission of the packet with this RTP sequence number.
    pub(crate) fn retransmission(&mut self, wire: u16, now: Instant) -> (SeqNo, Reception) {
        let seq = self.highest.nearest(wire);
        (seq, self.classify(seq, now))
    }

    fn classify(&mut self, seq: SeqNo, now: Instant) -> Reception {
        match self.missing.received(seq, now) {
            Classification::Newest => Reception::Newest,
            Classification::Jump => Reception::Jump,
            Classification::Recovered { requests: 0 } => Reception::OutOfOrder,
            Classification::Recovered { .. } => Reception::Recovered,
            Classification::NotMissing => Reception::Duplicate,
        }
    }

    /// Extended number of a packet that follows the highest one within the same frame.
    pub(crate) fn next_in_frame(&self, packet: &RtpPacket<'_>) -> Option<SeqNo> {
        let next = self.highest.next();
        (!self.frame_ended && packet.ssrc() == self.ssrc && packet.seq() == next.wire())
            .then_some(next)
    }

    pub(crate) fn open_window(&mut self) {
        self.window_start = self.highest;
    }

    /// Sequence numbers passed since the window opened, or since the stream started.
    pub(crate) fn expected(&self) -> u64 {
        self.highest - self.window_start
    }
}

/// Detects the first complete keyframe.
#[derive(Default)]
pub(crate) struct FirstKeyframe {
    /// Timestamp and first sequence number of the latest keyframe.
    start: Option<(u32, SeqNo)>,
    last: Option<SeqNo>,
    received_seqs: BTreeSet<SeqNo>,
}

impl FirstKeyframe {
    /// Adds a packet or a retransmission. Returns true when it completes the keyframe.
    pub(crate) fn add(&mut self, packet: &RtpPacket<'_>, payload: &[u8], seq: SeqNo) -> bool {
        let rtp_time = packet.timestamp();
        let is_new = self.start.is_none_or(|(start, _)| start != rtp_time);
        if has_sps(payload) && is_new {
            *self = FirstKeyframe {
                start: Some((rtp_time, seq)),
                ..FirstKeyframe::default()
            };
        }
        let Some((_, first)) = self.start.filter(|(start, _)| *start == rtp_time) else {
            return false;
        };
        if seq >= first {
            self.received_seqs.insert(seq);
        }
        if packet.marker() {
            self.last = Some(seq);
        }
        self.last
            .is_some_and(|last| self.received_seqs.len() as u64 == last - first + 1)
    }
}

#[cfg(test)]
mod tests {
    use tongke_plane::publish::nack::MAX_MISSING;

    use super::*;

    /// An RTP packet without extensions.
    fn bytes(seq: u16, rtp_time: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x80, 96 | u8::from(marker) << 7];
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&rtp_time.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 1]);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn add(
        keyframe: &mut FirstKeyframe,
        seq: u16,
        rtp_time: u32,
        marker: bool,
        payload: &[u8],
    ) -> bool {
        let bytes = bytes(seq, rtp_time, marker, payload);
        keyframe.add(
            &RtpPacket::parse(&bytes).unwrap(),
            payload,
            SeqNo(u64::from(seq)),
        )
    }

    const PARAMETERS: &[u8] = &[0x67, 1];
    const SLICE: &[u8] = &[0x65, 0x88];

    #[test]
    fn a_keyframe_is_complete_once_all_its_packets_arrived_in_any_order() {
        let mut keyframe = FirstKeyframe::default();
        assert!(
            !add(&mut keyframe, 9, 50, true, SLICE),
            "its beginning went by before we came"
        );
        assert!(!add(&mut keyframe, 10, 100, false, PARAMETERS));
        assert!(!add(&mut keyframe, 12, 100, true, SLICE), "11 is missing");
        assert!(
            !add(&mut keyframe, 13, 200, true, SLICE),
            "of the next frame"
        );
        assert!(
            add(&mut keyframe, 11, 100, false, SLICE),
            "it was asked for again"
        );
    }

    #[test]
    fn lost_reordered_recovered_and_duplicate_packets_are_distinguished() {
        let now = Instant::now();
        let mut stream = ReceiveStream::new(Ssrc(1), SeqNo(100));
        let media = |stream: &mut ReceiveStream, seq: u16| {
            let bytes = bytes(seq, 0, false, SLICE);
            stream.media(
                &RtpPacket::parse(&bytes).unwrap(),
                SeqNo(u64::from(seq)),
                now,
            )
        };
        assert_eq!(media(&mut stream, 100), Reception::Newest);
        stream.open_window();
        assert_eq!(media(&mut stream, 104), Reception::Newest);
        assert_eq!(media(&mut stream, 102), Reception::OutOfOrder);
        let mut asked = [SeqNo(0); 8];
        assert_eq!(
            stream.missing.poll(now, &mut asked).requested,
            1,
            "101; 103 may only be late"
        );
        assert_eq!(
            stream.retransmission(101, now),
            (SeqNo(101), Reception::Recovered)
        );
        assert_eq!(stream.retransmission(101, now).1, Reception::Duplicate);
        assert_eq!(stream.expected(), 4);
        assert_eq!(
            media(&mut stream, 104 + MAX_MISSING as u16),
            Reception::Newest
        );
        assert_eq!(
            media(&mut stream, 105 + 2 * MAX_MISSING as u16),
            Reception::Jump,
            "nobody asks for so many"
        );
    }
}
