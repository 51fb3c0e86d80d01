//! Subscribing client: decrypts packets, sends NACKs and TWCC feedback, and records frames.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use tongke_plane::Codec;
use tongke_plane::SeqNo;
use tongke_plane::ids::Ssrc;
use tongke_plane::publish::nack::NackGenerator;
use tongke_plane::publish::twcc::FeedbackGenerator;
use tongke_plane::rtp::payload::{rtx, vp8};
use tongke_plane::rtp::rtcp::Compound;
use tongke_plane::rtp::{RtpPacket, is_rtcp};

use super::publisher::Content;
use crate::support::{Client, payload_type, twcc_of};

/// Stream of one slot as received.
pub(crate) struct ReceivedStream {
    pub(crate) codec: Codec,
    /// Received packets by sequence number: RTP timestamp, content, arrival time.
    pub(crate) packets: BTreeMap<SeqNo, (u32, Content, Instant)>,
    /// VP8 PictureID of each packet.
    pub(crate) picture_ids: BTreeMap<SeqNo, u16>,
    /// Sequence numbers that were received twice with different content; must be zero.
    pub(crate) conflicts: usize,
    nack: NackGenerator,
    newest: SeqNo,
}

/// Subscribing client.
pub(crate) struct Subscriber {
    pub(crate) client: Client,
    /// Received streams by media SSRC.
    pub(crate) streams: HashMap<u32, ReceivedStream>,
    /// True if the client sends NACKs for lost packets.
    pub(crate) nacks: bool,
    feedback: FeedbackGenerator,
    next_nack: Instant,
}

impl Subscriber {
    pub(crate) fn new(client: Client, now: Instant) -> Subscriber {
        Subscriber {
            client,
            streams: HashMap::new(),
            nacks: true,
            feedback: FeedbackGenerator::new(now),
            next_nack: now,
        }
    }

    /// Returns the only received stream of a codec.
    pub(crate) fn stream(&self, codec: Codec) -> &ReceivedStream {
        self.streams
            .values()
            .find(|stream| stream.codec == codec)
            .expect("a stream of that codec")
    }

    /// Returns true if a packet of the codec was received.
    pub(crate) fn has_received(&self, codec: Codec) -> bool {
        self.streams
            .values()
            .any(|stream| stream.codec == codec && !stream.packets.is_empty())
    }

    pub(crate) fn clear(&mut self) {
        for stream in self.streams.values_mut() {
            stream.packets.clear();
            stream.picture_ids.clear();
        }
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = self.client.poll(now);
        if self.client.session.is_none() || now < self.next_nack {
            return out;
        }
        self.next_nack = now + Duration::from_millis(20);
        let mut space = vec![0; 1_300];
        let mut compound = Compound::new(&mut space[..1_200]);
        if self.feedback.is_due(now) {
            self.feedback
                .write(Ssrc(7), Ssrc(8), &mut compound, now)
                .expect("room for feedback");
        }
        for (ssrc, stream) in self
            .streams
            .iter_mut()
            .filter(|(_, stream)| self.nacks && stream.codec != Codec::Opus)
        {
            let mut missing = [SeqNo(0); 64];
            let polled = stream.nack.poll(now, &mut missing);
            if polled.requested > 0 {
                let lost = missing[..polled.requested].iter().map(|seq| seq.wire());
                compound
                    .nack(Ssrc(7), Ssrc(*ssrc), lost)
                    .expect("room for a NACK");
            }
        }
        let len = compound.len();
        if len > 0 {
            let session = self.client.session.as_mut().expect("connected");
            let sealed = session
                .outbound
                .rtcp
                .protect(&mut space, len)
                .expect("a fresh key");
            space.truncate(sealed);
            out.push(space);
        }
        out
    }

    pub(crate) fn handle(&mut self, now: Instant, mut datagram: Vec<u8>) {
        if datagram[0] < 64 {
            return self.client.handle(now, &datagram);
        }
        if is_rtcp(&datagram) {
            return;
        }
        if let Some(number) = twcc_of(&datagram) {
            self.feedback.received(number, now);
        }
        let Some(session) = &mut self.client.session else {
            return;
        };
        // The replay protection rejects a duplicate.
        let Ok(opened) = session.inbound.unprotect_rtp(&mut datagram) else {
            return;
        };
        let packet =
            RtpPacket::parse(&datagram[..opened.len]).expect("the plane writes well-formed RTP");
        let all = [Codec::Opus, Codec::H264, Codec::Vp8];
        if let Some(codec) = all
            .into_iter()
            .find(|codec| payload_type(*codec) == packet.payload_type())
        {
            let stream = self
                .streams
                .entry(packet.ssrc().0)
                .or_insert_with(|| ReceivedStream::new(codec));
            stream.receive(opened.seq, packet.timestamp(), packet.payload(), now);
            return;
        }
        let Some((wire, payload)) = rtx::original(packet.payload()) else {
            return;
        };
        let stream = self
            .streams
            .get_mut(&(packet.ssrc().0 - 1))
            .expect("a retransmission of a received stream");
        assert_eq!(packet.payload_type(), payload_type(stream.codec) + 1);
        let seq = stream.newest.nearest(wire);
        stream.receive(seq, packet.timestamp(), payload, now);
    }
}

impl ReceivedStream {
    fn new(codec: Codec) -> ReceivedStream {
        ReceivedStream {
            codec,
            packets: BTreeMap::new(),
            picture_ids: BTreeMap::new(),
            conflicts: 0,
            nack: NackGenerator::new(),
            newest: SeqNo(0),
        }
    }

    fn receive(&mut self, seq: SeqNo, rtp_time: u32, payload: &[u8], now: Instant) {
        self.nack.received(seq, now);
        self.newest = self.newest.max(seq);
        let content = Content::read(self.codec, payload);
        if self.codec == Codec::Vp8 {
            let picture = vp8::describe(payload)
                .and_then(|info| info.vp8)
                .expect("a picture ID");
            self.picture_ids.insert(seq, picture.picture_id);
        }
        let before = self.packets.insert(seq, (rtp_time, content, now));
        self.conflicts +=
            usize::from(before.is_some_and(|(time, held, _)| (time, held) != (rtp_time, content)));
    }

    /// Arrival time of the first packet.
    pub(crate) fn first_at(&self) -> Instant {
        self.packets
            .values()
            .map(|(_, _, at)| *at)
            .min()
            .expect("packets")
    }

    /// Number of missing packets between the first and the last.
    pub(crate) fn missing(&self) -> u64 {
        let (Some((first, _)), Some((last, _))) = (
            self.packets.first_key_value(),
            self.packets.last_key_value(),
        ) else {
            return 0;
        };
        (*last - *first) + 1 - self.packets.len() as u64
    }

    /// Number of complete frames, and of frames with at least one received packet.
    pub(crate) fn frames(&self) -> (usize, usize) {
        let mut parts: HashMap<(u8, u32), (HashSet<u8>, u8)> = HashMap::new();
        for (_, content, _) in self.packets.values() {
            let frame = parts
                .entry((content.layer, content.frame))
                .or_insert((HashSet::new(), content.parts));
            frame.0.insert(content.part);
        }
        let complete = parts
            .values()
            .filter(|(have, parts)| have.len() == usize::from(*parts))
            .count();
        (complete, parts.len())
    }

    /// Returns the delay from capture and the packet count of each complete frame, by frame number.
    pub(crate) fn frame_delays(
        &self,
        (first, period): (Instant, Duration),
    ) -> BTreeMap<u32, (Duration, u8)> {
        let mut frames: BTreeMap<(u32, u8), (HashSet<u8>, u8, Instant)> = BTreeMap::new();
        for (_, content, at) in self.packets.values() {
            let frame = frames.entry((content.frame, content.layer)).or_insert((
                HashSet::new(),
                content.parts,
                *at,
            ));
            frame.0.insert(content.part);
            frame.2 = frame.2.max(*at);
        }
        let complete = frames
            .into_iter()
            .filter(|(_, (have, parts, _))| have.len() == usize::from(*parts));
        complete
            .map(|((frame, _), (_, parts, at))| (frame, (at - (first + period * frame), parts)))
            .collect()
    }

    /// Returns the layers in the order of their packets, without repetitions.
    pub(crate) fn layers(&self) -> Vec<u8> {
        let mut layers: Vec<u8> = self
            .packets
            .values()
            .map(|(_, content, _)| content.layer)
            .collect();
        layers.dedup();
        layers
    }

    /// Checks the assumptions of a decoder: each layer switch begins with a keyframe, and
    /// timestamps increase.
    pub(crate) fn assert_decodable(&self) {
        assert_eq!(self.conflicts, 0, "a sequence number was used twice");
        let mut before: Option<(u32, Content)> = None;
        for (seq, (time, content, _)) in &self.packets {
            if let Some((last_time, last)) = before {
                let forward = time.wrapping_sub(last_time) as i32;
                assert!(
                    forward >= 0,
                    "{seq:?}: the timestamp decreases by {} ticks",
                    -forward
                );
                let changed = last.layer != content.layer;
                assert!(
                    !changed || content.keyframe && content.part == 0,
                    "{seq:?}: {last:?} → {content:?}"
                );
                assert!(
                    forward > 0 || (last.frame, last.layer) == (content.frame, content.layer),
                    "{seq:?}: two frames with one timestamp"
                );
            } else {
                assert!(
                    self.codec == Codec::Opus || content.keyframe,
                    "begins with {content:?}"
                );
            }
            before = Some((*time, *content));
        }
    }
}
