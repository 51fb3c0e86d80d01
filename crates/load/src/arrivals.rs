//! The media stream that comes in: which numbers came, which did not, and when it can first be shown.

use std::collections::BTreeSet;
use std::time::Instant;

use tongke_plane::ids::Ssrc;
use tongke_plane::publish::nack::{Classification, NackGenerator};
use tongke_plane::publish::reception::ReceptionStats;
use tongke_plane::rtp::RtpPacket;
use tongke_plane::units::SeqNo;

use super::picture::has_parameters;

/// H264's RTP clock, in hertz (RFC 6184 §8.2.1).
const CLOCK_RATE: u32 = 90_000;

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Further than any before.
    Ahead,
    /// So far that what was left out is not asked for.
    Jumped,
    /// Out of order, by itself.
    Late,
    /// After it was asked for.
    Repaired,
    /// Had come before, or was given up.
    InVain,
}

pub struct Arrivals {
    pub ssrc: Ssrc,
    highest: SeqNo,
    /// The last packet ended its frame.
    frame_over: bool,
    /// What is missing; asks for nothing by itself.
    pub missing: NackGenerator,
    pub reception: ReceptionStats,
    window_start: SeqNo,
}

impl Arrivals {
    /// A stream begins with this packet, which is yet to be counted.
    pub fn beginning(ssrc: Ssrc, seq: SeqNo) -> Arrivals {
        Arrivals {
            ssrc,
            highest: seq,
            frame_over: false,
            missing: NackGenerator::new(),
            reception: ReceptionStats::new(ssrc, CLOCK_RATE),
            window_start: SeqNo(seq.0.saturating_sub(1)),
        }
    }

    /// Counts a packet that came as media.
    pub fn media(&mut self, packet: &RtpPacket<'_>, seq: SeqNo, now: Instant) -> Came {
        self.reception.received(seq, packet.timestamp(), now);
        if seq >= self.highest {
            (self.highest, self.frame_over) = (seq, packet.marker());
        }
        self.came(seq, now)
    }

    /// Counts a retransmission of the packet with this number on the wire.
    pub fn retransmission(&mut self, wire: u16, now: Instant) -> (SeqNo, Came) {
        let seq = self.highest.nearest(wire);
        (seq, self.came(seq, now))
    }

    fn came(&mut self, seq: SeqNo, now: Instant) -> Came {
        match self.missing.received(seq, now) {
            Classification::Newest => Came::Ahead,
            Classification::Jump => Came::Jumped,
            Classification::Recovered { requests: 0 } => Came::Late,
            Classification::Recovered { .. } => Came::Repaired,
            Classification::NotMissing => Came::InVain,
        }
    }

    /// The number of a packet that goes on where the one before ended, within a frame.
    pub fn going_on(&self, packet: &RtpPacket<'_>) -> Option<SeqNo> {
        let next = self.highest.next();
        (!self.frame_over && packet.ssrc() == self.ssrc && packet.seq() == next.wire())
            .then_some(next)
    }

    pub fn open_window(&mut self) {
        self.window_start = self.highest;
    }

    /// Numbers that passed since the window opened, or since the stream began.
    pub fn expected(&self) -> u64 {
        self.highest - self.window_start
    }
}

/// Waits for the first keyframe that is whole.
#[derive(Default)]
pub struct FirstPicture {
    /// Timestamp and first number of the newest one that has begun.
    begun: Option<(u32, SeqNo)>,
    last: Option<SeqNo>,
    held: BTreeSet<SeqNo>,
}

impl FirstPicture {
    /// Takes a packet, first-hand or repaired; whether it made the keyframe whole.
    pub fn take(&mut self, packet: &RtpPacket<'_>, payload: &[u8], seq: SeqNo) -> bool {
        let rtp_time = packet.timestamp();
        let another = self.begun.is_none_or(|(begun, _)| begun != rtp_time);
        if has_parameters(payload) && another {
            *self = FirstPicture {
                begun: Some((rtp_time, seq)),
                ..FirstPicture::default()
            };
        }
        let Some((_, first)) = self.begun.filter(|(begun, _)| *begun == rtp_time) else {
            return false;
        };
        if seq >= first {
            self.held.insert(seq);
        }
        if packet.marker() {
            self.last = Some(seq);
        }
        self.last
            .is_some_and(|last| self.held.len() as u64 == last - first + 1)
    }
}

#[cfg(test)]
mod tests {
    use tongke_plane::publish::nack::MAX_MISSING;

    use super::*;

    /// A packet of a stream, `marker` and all; nothing but header and payload.
    fn bytes(seq: u16, rtp_time: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x80, 96 | u8::from(marker) << 7];
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&rtp_time.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 1]);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn take(
        picture: &mut FirstPicture,
        seq: u16,
        rtp_time: u32,
        marker: bool,
        payload: &[u8],
    ) -> bool {
        let bytes = bytes(seq, rtp_time, marker, payload);
        picture.take(
            &RtpPacket::parse(&bytes).unwrap(),
            payload,
            SeqNo(u64::from(seq)),
        )
    }

    const PARAMETERS: &[u8] = &[0x67, 1];
    const SLICE: &[u8] = &[0x65, 0x88];

    #[test]
    fn a_picture_shows_once_its_first_keyframe_is_whole_in_whatever_order() {
        let mut picture = FirstPicture::default();
        assert!(
            !take(&mut picture, 9, 50, true, SLICE),
            "its beginning went by before we came"
        );
        assert!(!take(&mut picture, 10, 100, false, PARAMETERS));
        assert!(!take(&mut picture, 12, 100, true, SLICE), "11 is missing");
        assert!(
            !take(&mut picture, 13, 200, true, SLICE),
            "of the next frame"
        );
        assert!(
            take(&mut picture, 11, 100, false, SLICE),
            "it was asked for again"
        );
    }

    #[test]
    fn what_is_lost_out_of_order_repaired_and_doubled_is_told_apart() {
        let now = Instant::now();
        let mut stream = Arrivals::beginning(Ssrc(1), SeqNo(100));
        let media = |stream: &mut Arrivals, seq: u16| {
            let bytes = bytes(seq, 0, false, SLICE);
            stream.media(
                &RtpPacket::parse(&bytes).unwrap(),
                SeqNo(u64::from(seq)),
                now,
            )
        };
        assert_eq!(media(&mut stream, 100), Came::Ahead);
        stream.open_window();
        assert_eq!(media(&mut stream, 104), Came::Ahead);
        assert_eq!(media(&mut stream, 102), Came::Late);
        let mut asked = [SeqNo(0); 8];
        assert_eq!(
            stream.missing.poll(now, &mut asked).requested,
            1,
            "101; 103 may only be late"
        );
        assert_eq!(
            stream.retransmission(101, now),
            (SeqNo(101), Came::Repaired)
        );
        assert_eq!(stream.retransmission(101, now).1, Came::InVain);
        assert_eq!(stream.expected(), 4);
        assert_eq!(media(&mut stream, 104 + MAX_MISSING as u16), Came::Ahead);
        assert_eq!(
            media(&mut stream, 105 + 2 * MAX_MISSING as u16),
            Came::Jumped,
            "nobody asks for so many"
        );
    }
}
