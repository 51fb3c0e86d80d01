//! Forwarder of one slot: turns packets of the current track and layer into one continuous RTP
//! stream.
//!
//! The receiver must not see a change of source: sequence numbers, timestamps and VP8 picture IDs
//! stay continuous. Each change begins an **epoch** with a constant offset between incoming and
//! outgoing numbers. Recent epochs are kept, so that a NACK is mapped to a packet in the ring
//! without a table of sent packets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::index::{PeerIx, SlotIx};
use crate::publish::ring::PacketMeta;
use crate::publish::track::{ClockReport, Track};
use crate::rtp::payload::vp8::{self, PictureIds};
use crate::sdp::{Codec, SubscribedMedia};
use crate::transport::srtp::RtpSealer;
use crate::units::SeqNo;

/// Size of an RTP header with the transport-wide sequence number as its only extension (RFC 8285
/// one-byte form): 12 + 4 + 4 bytes.
const HEADER_WITH_TWCC: usize = 20;
const HEADER_BARE: usize = 12;

/// Size in bytes of a padding-only packet, the SRTP tag of AES-GCM included.
pub const PADDING_LEN: usize = HEADER_WITH_TWCC + u8::MAX as usize + 16;

/// Number of earlier epochs that a NACK can refer to. A source changes a few times per second at
/// most, and NACKs reach back one second.
const EARLIER_EPOCHS: usize = 4;

/// Number of recent retransmissions, kept to limit the rate per packet to one per
/// [`MIN_RESEND_INTERVAL`].
const RESEND_HISTORY: usize = 128;

/// Minimum interval between retransmissions of one packet. Receivers repeat a NACK each round trip,
/// and a second answer to one loss is useless (LiveKit uses at most 100 ms).
const MIN_RESEND_INTERVAL: Duration = Duration::from_millis(40);

/// Maximum age, and distance in packets, of a keyframe that is replayed to a late joiner; all
/// packets since are sent in one burst. An older keyframe is replaced by a keyframe request, which costs a round trip to the
/// publisher but far fewer packets.
const REPLAY_AGE: Duration = Duration::from_millis(1_000);
const REPLAY_PACKETS: u64 = 128;

/// Greater than any sequence number.
const NONE_HELD: SeqNo = SeqNo(u64::MAX);

/// Payload types of one receiver; zero for an unsupported codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadTypes {
    media: [u8; 5],
    rtx: [u8; 5],
    /// Payload type of RED around Opus.
    pub red: u8,
}

impl PayloadTypes {
    /// Creates the payload types from a receiver's answer for one m-section.
    pub fn from_answer(media: &SubscribedMedia) -> PayloadTypes {
        let mut types = PayloadTypes {
            red: media.red_pt.unwrap_or(0),
            ..PayloadTypes::default()
        };
        for accepted in &media.codecs {
            types.set(accepted.codec, accepted.pt, accepted.rtx_pt);
        }
        types
    }

    /// Sets the payload types of one codec.
    pub fn set(&mut self, codec: Codec, media: u8, rtx: Option<u8>) {
        self.media[codec as usize] = media;
        self.rtx[codec as usize] = rtx.unwrap_or(0);
    }

    /// Returns true if the receiver supports the codec.
    pub fn supports(&self, codec: Codec) -> bool {
        self.media[codec as usize] != 0
    }
}

/// Span of constant offsets between incoming and outgoing numbers.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    layer: u8,
    /// Inclusive range of incoming sequence numbers.
    first_in: SeqNo,
    last_in: SeqNo,
    first_out: SeqNo,
    time_offset: u32,
    picture_offset: u16,
    tl0_offset: u8,
}

impl Epoch {
    fn outgoing_seq(&self, seq: SeqNo) -> SeqNo {
        self.first_out + (seq - self.first_in)
    }

    /// Maps the picture IDs of a VP8 packet (RFC 7741 §4.2: PictureID has at most 15 bits).
    fn map_picture_ids(&self, picture: PictureIds) -> PictureIds {
        PictureIds {
            picture_id: picture.picture_id.wrapping_add(self.picture_offset) & 0x7fff,
            tl0picidx: picture.tl0picidx.wrapping_add(self.tl0_offset),
        }
    }

    fn incoming_seq(&self, out: SeqNo) -> Option<SeqNo> {
        let seq = self.first_in + out.0.checked_sub(self.first_out.0)?;
        (seq <= self.last_in).then_some(seq)
    }
}

/// Position of a packet in the outgoing stream.
struct OutgoingPosition {
    seq: SeqNo,
    rtp_time: u32,
}

/// Counters of one slot for its sender reports (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct SentCounts {
    /// Packets sent, modulo 2³².
    pub packets: u32,
    /// Payload bytes sent, modulo 2³².
    pub octets: u32,
}

/// Outgoing stream of one slot.
pub struct Forwarder {
    /// The subscriber that receives the stream.
    pub peer: PeerIx,
    /// The slot of the subscriber.
    pub slot: SlotIx,
    ssrc: u32,
    types: PayloadTypes,
    twcc_id: u8,
    /// RED is stripped even if the receiver supports it.
    strip_red: bool,
    /// Video packets wait for the pacer.
    paced: bool,
    /// Wanted layer; `None` if paused.
    target: Option<u8>,
    epoch: Option<Epoch>,
    /// Packets of the layer wait in the ring for the pacer from this sequence number on;
    /// [`NONE_HELD`] without pacing.
    held: SeqNo,
    /// Highest sequence number sent.
    last_out: SeqNo,
    /// Timestamp and arrival of the newest packet sent.
    last_time: u32,
    last_arrival: Option<Instant>,
    last_picture_ids: Option<PictureIds>,
    sent: SentCounts,
    rtx: Box<RtxState>,
}

/// State of retransmissions, kept apart from the state that every packet reads.
struct RtxState {
    ssrc: u32,
    seq: SeqNo,
    earlier: [Option<Epoch>; EARLIER_EPOCHS],
    /// Recent retransmissions; empty before the first.
    recent: VecDeque<(SeqNo, Instant)>,
}

/// Negotiated parameters of a slot's outgoing stream.
#[derive(Clone, Copy, Debug)]
pub struct ForwarderConfig {
    /// SSRC of the media.
    pub ssrc: u32,
    /// SSRC of the retransmissions (RFC 4588).
    pub rtx_ssrc: u32,
    /// Payload types of the receiver.
    pub types: PayloadTypes,
    /// ID of the transport-wide sequence number extension; `None` if not negotiated.
    pub twcc_id: Option<u8>,
    /// First sequence number: random (RFC 3550 §5.1), below 2¹⁵ so that a receiver that misses the
    /// first packets does not guess a wrong rollover (RFC 3711 §3.3.1).
    pub first_seq: u16,
    /// First sequence number of the retransmissions; random, below 2¹⁵.
    pub first_rtx_seq: u16,
    /// First RTP timestamp; random.
    pub first_time: u32,
}

impl Forwarder {
    /// Creates a paused stream without a source.
    pub fn new(peer: PeerIx, slot: SlotIx, config: ForwarderConfig) -> Forwarder {
        Forwarder {
            peer,
            slot,
            ssrc: config.ssrc,
            types: config.types,
            twcc_id: config.twcc_id.unwrap_or(0),
            strip_red: false,
            paced: false,
            target: None,
            epoch: None,
            held: NONE_HELD,
            last_out: SeqNo(u64::from(config.first_seq)),
            last_time: config.first_time,
            last_arrival: None,
            last_picture_ids: None,
            sent: SentCounts::default(),
            rtx: Box::new(RtxState {
                ssrc: config.rtx_ssrc,
                seq: SeqNo(u64::from(config.first_rtx_seq)),
                earlier: [None; EARLIER_EPOCHS],
                recent: VecDeque::new(),
            }),
        }
    }

    /// Sets the payload types of an answer that arrived after the slot was created.
    pub fn set_types(&mut self, types: PayloadTypes, twcc_id: Option<u8>) {
        self.types = types;
        self.twcc_id = twcc_id.unwrap_or(0);
    }

    /// SSRC of the media.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Returns true if packets carry transport-wide sequence numbers.
    pub fn has_twcc(&self) -> bool {
        self.twcc_id != 0
    }

    /// The layer that is forwarded now.
    pub fn current(&self) -> Option<u8> {
        self.epoch.map(|epoch| epoch.layer)
    }

    /// The wanted layer; `None` if paused.
    pub fn target(&self) -> Option<u8> {
        self.target
    }

    /// Sets the wanted layer. A pause is immediate; a switch happens at the next keyframe of the
    /// new layer.
    pub fn set_target(&mut self, target: Option<u8>) {
        self.target = target;
        if target.is_none() {
            self.end_epoch();
        }
    }

    /// Enables or disables the stripping of redundant audio, which a slow link cannot carry.
    pub fn set_strip_red(&mut self, strip_red: bool) {
        self.strip_red = strip_red;
    }

    /// Starts or stops pacing. Packets that already wait still leave through
    /// [`Forwarder::pop_held`].
    pub fn set_paced(&mut self, paced: bool) {
        if paced && self.held == NONE_HELD {
            self.held = self.epoch.map_or(NONE_HELD, |epoch| epoch.last_in.next());
        }
        self.paced = paced;
    }

    /// First sequence number that waits for the pacer; earlier packets are sent at once.
    pub fn first_held(&self) -> SeqNo {
        self.held
    }

    /// Returns true if packets wait for the pacer, or may still wait after pacing has stopped.
    pub fn has_held(&self) -> bool {
        self.held != NONE_HELD
    }

    /// Returns the next waiting packet.
    pub fn pop_held(&mut self, track: &Track) -> Option<(u8, SeqNo)> {
        let layer = self.current().filter(|_| self.held != NONE_HELD)?;
        let newest = track.layers.get(usize::from(layer))?.ring.newest()?;
        let next = self.held;
        if next > newest {
            self.held = if self.paced { next } else { NONE_HELD };
            return None;
        }
        self.held = next.next();
        Some((layer, next))
    }

    /// Detaches the stream from its track.
    pub fn detach(&mut self) {
        self.set_target(None);
        // Sequence numbers of the old track are invalid in the rings of the new one.
        self.rtx.earlier = [None; EARLIER_EPOCHS];
    }

    /// Ends the use of a layer whose publisher restarted its sequence numbers.
    pub fn layer_restarted(&mut self, layer: u8) {
        if self.current() == Some(layer) {
            (self.epoch, self.held) = (None, NONE_HELD);
        }
        for epoch in self
            .rtx
            .earlier
            .iter_mut()
            .filter(|epoch| epoch.is_some_and(|e| e.layer == layer))
        {
            *epoch = None;
        }
    }

    /// Returns true if the stream needs a keyframe of the wanted layer.
    pub fn needs_keyframe(&self) -> bool {
        self.target.is_some() && self.target != self.current()
    }

    /// Switches to the wanted layer if its ring has a usable keyframe. Returns the first packet:
    /// the caller sends all packets from there on in this pass; with pacing they wait.
    pub fn try_switch(&mut self, track: &Track) -> Option<(u8, SeqNo)> {
        if !self.needs_keyframe() || !self.types.supports(track.codec) {
            return None;
        }
        let target = self.target?;
        let ring = &track.layers.get(usize::from(target))?.ring;
        let (newest, _) = ring.get(ring.newest()?)?;
        let first = ring.replayable_keyframe()?;
        let (meta, _) = ring.get(first)?;
        if !self.can_start_at(meta, newest) {
            return None;
        }
        self.begin_epoch(track, target, meta);
        Some((target, first))
    }

    /// Writes the datagram of a fresh packet of `layer` to `space`. Returns its length; `None` if
    /// the packet is not part of the stream.
    ///
    /// `twcc` is the subscriber's next transport-wide sequence number; the caller increments it if
    /// a datagram was written.
    pub fn write(
        &mut self,
        track: &Track,
        layer: u8,
        seq: SeqNo,
        twcc: u16,
        sealer: &mut RtpSealer,
        space: &mut [u8],
    ) -> Option<usize> {
        let (meta, payload) = track.layers.get(usize::from(layer))?.ring.get(seq)?;
        let position = self.position(layer, meta)?;
        let (payload_type, payload, pad) = self.payload_for_receiver(track.codec, meta, payload)?;
        let picture = self
            .epoch
            .zip(meta.picture_ids)
            .map(|(epoch, picture)| epoch.map_picture_ids(picture));
        if position.seq > self.last_out {
            self.last_out = position.seq;
            self.last_time = position.rtp_time;
            self.last_arrival = Some(meta.arrival);
            self.last_picture_ids = picture;
        }
        let marker = u8::from(meta.marker) << 7;
        let header = write_header(
            space,
            payload_type | marker,
            &position,
            self.ssrc,
            self.twcc_id,
            twcc,
        );
        let end = header + payload.len();
        space[header..end].copy_from_slice(payload);
        if let Some(picture) = picture {
            vp8::rewrite(&mut space[header..end], picture);
        }
        let len = add_padding(space, end, pad);
        self.sent.packets = self.sent.packets.wrapping_add(1);
        self.sent.octets = self.sent.octets.wrapping_add(payload.len() as u32);
        Some(sealer.protect(space, header, len, position.seq.rollover()))
    }

    /// Writes the retransmission of an outgoing packet (RFC 4588 §4). Returns `None` if the packet
    /// is unknown, expired or was just retransmitted.
    pub fn write_rtx(
        &mut self,
        track: &Track,
        wire: u16,
        now: Instant,
        twcc: u16,
        sealer: &mut RtpSealer,
        space: &mut [u8],
    ) -> Option<usize> {
        let out = self.last_out.nearest(wire);
        let epoch = *self
            .epoch
            .iter()
            .chain(self.rtx.earlier.iter().flatten())
            .find(|e| e.incoming_seq(out).is_some())?;
        let source = epoch.incoming_seq(out)?;
        let (meta, payload) = track
            .layers
            .get(usize::from(epoch.layer))?
            .ring
            .get(source)?;
        let rtx_type = *self
            .types
            .rtx
            .get(track.codec as usize)
            .filter(|rtx| **rtx != 0)?;
        if self.rtx.was_just_resent(out, now) {
            return None;
        }
        let (_, payload, _) = self.payload_for_receiver(track.codec, meta, payload)?;
        let position = OutgoingPosition {
            seq: self.rtx.seq,
            rtp_time: meta.rtp_time.wrapping_add(epoch.time_offset),
        };
        self.rtx.seq = self.rtx.seq.next();
        let marker = u8::from(meta.marker) << 7;
        let header = write_header(
            space,
            rtx_type | marker,
            &position,
            self.rtx.ssrc,
            self.twcc_id,
            twcc,
        );
        space[header..header + 2].copy_from_slice(&out.wire().to_be_bytes());
        let end = header + 2 + payload.len();
        space[header + 2..end].copy_from_slice(payload);
        if let Some(picture) = meta.picture_ids {
            vp8::rewrite(&mut space[header + 2..end], epoch.map_picture_ids(picture));
        }
        Some(sealer.protect(space, header, end, position.seq.rollover()))
    }

    /// Writes a padding-only packet of the retransmission stream, which probes the bandwidth
    /// without using sequence numbers of the media.
    pub fn write_probe(
        &mut self,
        codec: Codec,
        twcc: u16,
        sealer: &mut RtpSealer,
        space: &mut [u8],
    ) -> Option<usize> {
        let rtx_type = *self
            .types
            .rtx
            .get(codec as usize)
            .filter(|rtx| **rtx != 0)?;
        let position = OutgoingPosition {
            seq: self.rtx.seq,
            rtp_time: self.last_time,
        };
        self.rtx.seq = self.rtx.seq.next();
        let header = write_header(
            space,
            rtx_type,
            &position,
            self.rtx.ssrc,
            self.twcc_id,
            twcc,
        );
        let len = add_padding(space, header, u8::MAX);
        Some(sealer.protect(space, header, len, position.seq.rollover()))
    }

    /// Returns NTP timestamp, RTP timestamp and counters of a sender report; `None` before the
    /// publisher's first report.
    ///
    /// The NTP clock is the publisher's, which keeps its audio and video in sync (RFC 3550 §6.4.1).
    pub fn report(&self, track: &Track, now: Instant) -> Option<(u64, u32, SentCounts)> {
        let epoch = self.epoch?;
        let clock = track.layers.get(usize::from(epoch.layer))?.clock?;
        let since = now.saturating_duration_since(clock.arrival);
        let ticks = ticks_in(since, track.codec);
        let rtp_time = clock
            .rtp_time
            .wrapping_add(ticks)
            .wrapping_add(epoch.time_offset);
        Some((clock.ntp.wrapping_add(ntp_span(since)), rtp_time, self.sent))
    }

    /// Returns the position of a packet in the outgoing stream, if it belongs to the current epoch.
    fn position(&mut self, layer: u8, meta: &PacketMeta) -> Option<OutgoingPosition> {
        let epoch = self
            .epoch
            .as_mut()
            .filter(|epoch| epoch.layer == layer && meta.seq >= epoch.first_in)?;
        epoch.last_in = epoch.last_in.max(meta.seq);
        Some(OutgoingPosition {
            seq: epoch.outgoing_seq(meta.seq),
            rtp_time: meta.rtp_time.wrapping_add(epoch.time_offset),
        })
    }

    /// Returns true if the keyframe that begins with `meta` can start an epoch. A running stream
    /// must not go back in time; a new stream must not start at an old keyframe.
    fn can_start_at(&self, meta: &PacketMeta, newest: &PacketMeta) -> bool {
        let age = newest.arrival.saturating_duration_since(meta.arrival);
        let behind = newest.seq - meta.seq;
        match (self.epoch, self.last_arrival) {
            (Some(_), Some(last)) => meta.arrival >= last,
            _ => age <= REPLAY_AGE && behind <= REPLAY_PACKETS,
        }
    }

    fn begin_epoch(&mut self, track: &Track, layer: u8, meta: &PacketMeta) {
        let time_offset = self
            .next_time(track, layer, meta)
            .wrapping_sub(meta.rtp_time);
        let (picture_offset, tl0_offset) = self.picture_offsets(meta);
        self.end_epoch();
        self.held = if self.paced { meta.seq } else { NONE_HELD };
        self.epoch = Some(Epoch {
            layer,
            first_in: meta.seq,
            last_in: meta.seq,
            first_out: self.last_out.next(),
            time_offset,
            picture_offset,
            tl0_offset,
        });
    }

    fn end_epoch(&mut self) {
        self.held = NONE_HELD;
        if let Some(epoch) = self.epoch.take() {
            self.rtx.earlier.rotate_right(1);
            self.rtx.earlier[0] = Some(epoch);
        }
    }

    /// Returns the outgoing timestamp of the first packet of a new source: exact if both layers
    /// have sender reports, else derived from arrival times.
    fn next_time(&self, track: &Track, layer: u8, meta: &PacketMeta) -> u32 {
        let Some(last_arrival) = self.last_arrival else {
            return self.last_time;
        };
        if let Some(exact) = self
            .epoch
            .and_then(|epoch| map_timestamp(track, &epoch, layer, meta.rtp_time))
            && (exact.wrapping_sub(self.last_time) as i32) > 0
        {
            return exact;
        }
        let elapsed = meta.arrival.saturating_duration_since(last_arrival);
        self.last_time
            .wrapping_add(ticks_in(elapsed, track.codec).max(1))
    }

    fn picture_offsets(&self, meta: &PacketMeta) -> (u16, u8) {
        let (Some(last), Some(first)) = (self.last_picture_ids, meta.picture_ids) else {
            return (0, 0);
        };
        let picture = last
            .picture_id
            .wrapping_add(1)
            .wrapping_sub(first.picture_id);
        (
            picture,
            last.tl0picidx.wrapping_add(1).wrapping_sub(first.tl0picidx),
        )
    }

    /// Returns payload type, payload and padding for the receiver; RED is stripped if the receiver
    /// does not support it.
    fn payload_for_receiver<'p>(
        &self,
        codec: Codec,
        meta: &PacketMeta,
        payload: &'p [u8],
    ) -> Option<(u8, &'p [u8], u8)> {
        if meta.red && self.types.red != 0 && !self.strip_red {
            return Some((self.types.red, payload, 0));
        }
        let primary = payload.get(usize::from(meta.primary_offset)..)?;
        let payload_type = *self
            .types
            .media
            .get(codec as usize)
            .filter(|media| **media != 0)?;
        Some((payload_type, primary, meta.pad))
    }
}

impl RtxState {
    fn was_just_resent(&mut self, out: SeqNo, now: Instant) -> bool {
        while self
            .recent
            .front()
            .is_some_and(|(_, at)| now.saturating_duration_since(*at) >= MIN_RESEND_INTERVAL)
        {
            self.recent.pop_front();
        }
        if self.recent.iter().any(|(seq, _)| *seq == out) {
            return true;
        }
        if self.recent.len() == RESEND_HISTORY {
            self.recent.pop_front();
        }
        self.recent.push_back((out, now));
        false
    }
}

/// Maps `rtp_time` of `layer` to the outgoing timestamp by the sender reports of both layers.
fn map_timestamp(track: &Track, from: &Epoch, layer: u8, rtp_time: u32) -> Option<u32> {
    let old = track.layers.get(usize::from(from.layer))?.clock?;
    let new = track.layers.get(usize::from(layer))?.clock?;
    Some(convert_timestamp(&new, &old, rtp_time, track.codec).wrapping_add(from.time_offset))
}

/// Converts `rtp_time` of `from`'s clock to `to`'s clock.
fn convert_timestamp(from: &ClockReport, to: &ClockReport, rtp_time: u32, codec: Codec) -> u32 {
    let apart = to.ntp.wrapping_sub(from.ntp) as i64;
    let ticks = ((i128::from(apart) * i128::from(codec.clock_rate())) >> 32) as i64;
    to.rtp_time
        .wrapping_add(rtp_time.wrapping_sub(from.rtp_time))
        .wrapping_sub(ticks as u32)
}

fn ticks_in(span: Duration, codec: Codec) -> u32 {
    (span.as_micros() * u128::from(codec.clock_rate()) / 1_000_000) as u32
}

/// Converts a duration to NTP's 32.32 fixed point.
fn ntp_span(span: Duration) -> u64 {
    (span.as_secs() << 32) | ((u64::from(span.subsec_nanos()) << 32) / 1_000_000_000)
}

/// Writes the RTP header (RFC 3550 §5.1), with a transport-wide sequence number if negotiated;
/// returns its length.
fn write_header(
    space: &mut [u8],
    marker_and_type: u8,
    position: &OutgoingPosition,
    ssrc: u32,
    twcc_id: u8,
    twcc: u16,
) -> usize {
    space[1] = marker_and_type;
    space[2..4].copy_from_slice(&position.seq.wire().to_be_bytes());
    space[4..8].copy_from_slice(&position.rtp_time.to_be_bytes());
    space[8..12].copy_from_slice(&ssrc.to_be_bytes());
    if twcc_id == 0 {
        space[0] = 0x80;
        return HEADER_BARE;
    }
    space[0] = 0x90;
    let [high, low] = twcc.to_be_bytes();
    // One-byte header extension (RFC 8285 §4.2): profile 0xBEDE, one word; ID and length − 1, two
    // bytes, one of padding.
    space[12..20].copy_from_slice(&[0xBE, 0xDE, 0, 1, twcc_id << 4 | 1, high, low, 0]);
    HEADER_WITH_TWCC
}

/// Appends `pad` bytes of RTP padding after `end` (RFC 3550 §5.1: the last byte is their count);
/// returns the new end.
fn add_padding(space: &mut [u8], end: usize, pad: u8) -> usize {
    if pad == 0 {
        return end;
    }
    space[0] |= 0x20;
    let padded = end + usize::from(pad);
    space[end..padded].fill(0);
    space[padded - 1] = pad;
    padded
}
