//! One slot of one subscriber: takes packets of whatever track and layer it shows now and makes one continuous RTP stream of them.
//!
//! A receiver must never see that its source changed: sequence numbers go on by one, timestamps go on in media time, VP8 picture ids
//! stay continuous. Each change of source begins an **epoch**: within it, the outgoing numbers are the incoming ones plus a constant. The
//! last few epochs are kept, so a NACK for an outgoing number leads back to the ring's packet without a table of what was sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::index::{PeerIx, SlotIx};
use crate::publish::ring::PacketMeta;
use crate::publish::track::{ClockReport, Track};
use crate::rtp::payload::vp8::{self, PictureIds};
use crate::sdp::{Codec, SubscribedMedia};
use crate::transport::srtp::RtpSealer;
use crate::units::SeqNo;

/// RTP header with the transport-wide number as its only extension (RFC 8285 one-byte form): 12 + 4 + 4 bytes.
const HEADER_WITH_TWCC: usize = 20;
const HEADER_BARE: usize = 12;

/// A packet of nothing but padding, the SRTP tag of AES-GCM included, in bytes.
pub const PADDING_LEN: usize = HEADER_WITH_TWCC + u8::MAX as usize + 16;

/// Epochs that can still be asked for by NACK. A source changes a few times a second at the very worst; NACKs reach back one second.
const EPOCHS: usize = 4;

/// Recent retransmissions that are remembered, to send each packet again at most once per [`RESEND_PAUSE`].
const RESENT: usize = 128;

/// A receiver repeats its NACK each round trip; two answers to one loss are one too many (LiveKit uses the same 100 ms at most).
const RESEND_PAUSE: Duration = Duration::from_millis(40);

/// A late joiner begins with the ring's last keyframe if that is no older than this: what has come since is sent in one burst.
/// Beyond that a new keyframe is asked for, which costs a round trip to the publisher but far fewer packets.
const REPLAY_AGE: Duration = Duration::from_millis(1_000);
const REPLAY_PACKETS: u64 = 128;

/// Greater than any packet's number.
const NONE_HELD: SeqNo = SeqNo(u64::MAX);

/// Payload types of one receiver; zero is a codec that it does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadTypes {
    media: [u8; 5],
    rtx: [u8; 5],
    /// RED around Opus.
    pub red: u8,
}

impl PayloadTypes {
    /// What a receiver answered for one m-line.
    pub fn of(media: &SubscribedMedia) -> PayloadTypes {
        let mut types = PayloadTypes {
            red: media.red_pt.unwrap_or(0),
            ..PayloadTypes::default()
        };
        for accepted in &media.codecs {
            types.set(accepted.codec, accepted.pt, accepted.rtx_pt);
        }
        types
    }

    /// Sets the types of one codec.
    pub fn set(&mut self, codec: Codec, media: u8, rtx: Option<u8>) {
        self.media[codec as usize] = media;
        self.rtx[codec as usize] = rtx.unwrap_or(0);
    }

    /// Whether the receiver takes this codec.
    pub fn takes(&self, codec: Codec) -> bool {
        self.media[codec as usize] != 0
    }
}

/// A span of constant mapping between incoming and outgoing numbers.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    layer: u8,
    /// Inclusive range of incoming numbers that belong to it.
    first_in: SeqNo,
    last_in: SeqNo,
    first_out: SeqNo,
    time_offset: u32,
    picture_offset: u16,
    tl0_offset: u8,
}

impl Epoch {
    fn out(&self, seq: SeqNo) -> SeqNo {
        self.first_out + (seq - self.first_in)
    }

    /// The picture numbers under which a VP8 packet goes out (RFC 7741 §4.2: a picture id has 15 bits at most).
    fn picture(&self, picture: PictureIds) -> PictureIds {
        PictureIds {
            picture_id: picture.picture_id.wrapping_add(self.picture_offset) & 0x7fff,
            tl0picidx: picture.tl0picidx.wrapping_add(self.tl0_offset),
        }
    }

    fn source(&self, out: SeqNo) -> Option<SeqNo> {
        let seq = self.first_in + out.0.checked_sub(self.first_out.0)?;
        (seq <= self.last_in).then_some(seq)
    }
}

/// Where a packet goes in the outgoing stream.
struct Placement {
    seq: SeqNo,
    rtp_time: u32,
}

/// What one slot has sent, for its sender reports (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub packets: u32,
    pub octets: u32,
}

/// One slot's outgoing stream.
pub struct Forward {
    /// The subscriber that receives the stream.
    pub peer: PeerIx,
    /// The slot of the subscriber.
    pub slot: SlotIx,
    ssrc: u32,
    types: PayloadTypes,
    twcc_id: u8,
    /// Whether RED is taken off although the receiver knows it.
    plain: bool,
    /// Whether its packets wait for their turn.
    paced: bool,
    /// The layer it should show; none while it is paused.
    target: Option<u8>,
    epoch: Option<Epoch>,
    /// Packets of the layer from this number on wait for their turn in the ring; [`NONE_HELD`] on a line that is not paced.
    held: SeqNo,
    /// Highest number sent.
    last_out: SeqNo,
    /// Timestamp and arrival of the newest packet sent.
    last_time: u32,
    last_arrival: Option<Instant>,
    last_picture: Option<PictureIds>,
    sent: Sent,
    repair: Box<Repair>,
}

/// What only retransmissions need, apart from what every packet reads.
struct Repair {
    ssrc: u32,
    seq: SeqNo,
    earlier: [Option<Epoch>; EPOCHS],
    /// Recent retransmissions; none before the first.
    recent: VecDeque<(SeqNo, Instant)>,
}

/// How the receiver of a slot wants to be addressed.
#[derive(Clone, Copy, Debug)]
pub struct ForwardSpec {
    pub ssrc: u32,
    pub rtx_ssrc: u32,
    pub types: PayloadTypes,
    /// Id of the transport-wide number's extension; none when it was not negotiated.
    pub twcc_id: Option<u8>,
    /// First outgoing numbers, random as RFC 3550 §5.1 asks, below 2^15 so that a receiver that misses the first packets does not
    /// guess a wrong rollover (RFC 3711 §3.3.1).
    pub first_seq: u16,
    pub first_rtx_seq: u16,
    pub first_time: u32,
}

impl Forward {
    pub fn new(peer: PeerIx, slot: SlotIx, spec: ForwardSpec) -> Forward {
        Forward {
            peer,
            slot,
            ssrc: spec.ssrc,
            types: spec.types,
            twcc_id: spec.twcc_id.unwrap_or(0),
            plain: false,
            paced: false,
            target: None,
            epoch: None,
            held: NONE_HELD,
            last_out: SeqNo(u64::from(spec.first_seq)),
            last_time: spec.first_time,
            last_arrival: None,
            last_picture: None,
            sent: Sent::default(),
            repair: Box::new(Repair {
                ssrc: spec.rtx_ssrc,
                seq: SeqNo(u64::from(spec.first_rtx_seq)),
                earlier: [None; EPOCHS],
                recent: VecDeque::new(),
            }),
        }
    }

    /// The receiver's answer came after the slot was made.
    pub fn set_types(&mut self, types: PayloadTypes, twcc_id: Option<u8>) {
        self.types = types;
        self.twcc_id = twcc_id.unwrap_or(0);
    }

    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Whether its packets carry transport-wide numbers.
    pub fn is_numbered(&self) -> bool {
        self.twcc_id != 0
    }

    /// The layer that flows now.
    pub fn current(&self) -> Option<u8> {
        self.epoch.map(|epoch| epoch.layer)
    }

    pub fn target(&self) -> Option<u8> {
        self.target
    }

    /// Chooses the layer to show. A pause takes effect at once, a change at the new layer's next keyframe.
    pub fn set_target(&mut self, target: Option<u8>) {
        self.target = target;
        if target.is_none() {
            self.end_epoch();
        }
    }

    /// Sends a voice without its redundant copies, for a line that is too narrow for them.
    pub fn set_plain(&mut self, plain: bool) {
        self.plain = plain;
    }

    /// Holds packets back for [`Forward::take_held`], or stops to. Those that wait still leave one after another.
    pub fn set_paced(&mut self, paced: bool) {
        if paced && self.held == NONE_HELD {
            self.held = self.epoch.map_or(NONE_HELD, |epoch| epoch.last_in.next());
        }
        self.paced = paced;
    }

    /// The number from which on packets are held back: only those before it are to be written as they come.
    pub fn held(&self) -> SeqNo {
        self.held
    }

    /// Whether packets are held back, or were and may still wait.
    pub fn holds_any(&self) -> bool {
        self.held != NONE_HELD
    }

    /// The next packet that waited for its turn, which is now.
    pub fn take_held(&mut self, track: &Track) -> Option<(u8, SeqNo)> {
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

    /// Leaves the source: the next packet comes from another track.
    pub fn detach(&mut self) {
        self.set_target(None);
        // Numbers of the old track mean nothing in the new track's rings.
        self.repair.earlier = [None; EPOCHS];
    }

    /// A layer of the track begins anew: its earlier numbers mean nothing any more.
    pub fn source_restarted(&mut self, layer: u8) {
        if self.current() == Some(layer) {
            (self.epoch, self.held) = (None, NONE_HELD);
        }
        for epoch in self
            .repair
            .earlier
            .iter_mut()
            .filter(|epoch| epoch.is_some_and(|e| e.layer == layer))
        {
            *epoch = None;
        }
    }

    /// Whether the slot needs a keyframe of its target layer before it can show it.
    pub fn waits_for_keyframe(&self) -> bool {
        self.target.is_some() && self.target != self.current()
    }

    /// Begins to show the target layer, if that has a keyframe to begin with. Returns its first packet: everything the ring holds
    /// from there on goes out in this pass, instead of the fresh packets alone; on a paced line all of it waits for its turn.
    pub fn try_switch(&mut self, track: &Track) -> Option<(u8, SeqNo)> {
        if !self.waits_for_keyframe() || !self.types.takes(track.codec) {
            return None;
        }
        let target = self.target?;
        let ring = &track.layers.get(usize::from(target))?.ring;
        let (newest, _) = ring.get(ring.newest()?)?;
        let first = ring.replayable_keyframe()?;
        let (meta, _) = ring.get(first)?;
        if !self.may_begin_with(meta, newest) {
            return None;
        }
        self.begin_epoch(track, target, meta);
        Some((target, first))
    }

    /// Builds the datagram for one fresh packet of `layer` in `space`. Returns its length, or nothing when the packet is not for this slot.
    ///
    /// `twcc` is the subscriber's next transport-wide number; the caller counts it only if something was built.
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
        let place = self.place(layer, meta)?;
        let (payload_type, payload, pad) = self.dress(track.codec, meta, payload)?;
        let picture = self
            .epoch
            .zip(meta.picture)
            .map(|(epoch, picture)| epoch.picture(picture));
        if place.seq > self.last_out {
            self.last_out = place.seq;
            self.last_time = place.rtp_time;
            self.last_arrival = Some(meta.arrival);
            self.last_picture = picture;
        }
        let marker = u8::from(meta.marker) << 7;
        let header = write_header(
            space,
            payload_type | marker,
            &place,
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
        Some(sealer.protect(space, header, len, place.seq.rollover()))
    }

    /// Builds the retransmission of an outgoing packet (RFC 4588 §4). Nothing when it is unknown, gone, or was just sent again.
    pub fn write_resend(
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
            .chain(self.repair.earlier.iter().flatten())
            .find(|e| e.source(out).is_some())?;
        let source = epoch.source(out)?;
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
        if self.repair.was_just_resent(out, now) {
            return None;
        }
        let (_, payload, _) = self.dress(track.codec, meta, payload)?;
        let place = Placement {
            seq: self.repair.seq,
            rtp_time: meta.rtp_time.wrapping_add(epoch.time_offset),
        };
        self.repair.seq = self.repair.seq.next();
        let marker = u8::from(meta.marker) << 7;
        let header = write_header(
            space,
            rtx_type | marker,
            &place,
            self.repair.ssrc,
            self.twcc_id,
            twcc,
        );
        space[header..header + 2].copy_from_slice(&out.wire().to_be_bytes());
        let end = header + 2 + payload.len();
        space[header + 2..end].copy_from_slice(payload);
        if let Some(picture) = meta.picture {
            vp8::rewrite(&mut space[header + 2..end], epoch.picture(picture));
        }
        Some(sealer.protect(space, header, end, place.seq.rollover()))
    }

    /// Builds a padding-only packet on the retransmission stream: probes the line without touching the media's numbers.
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
        let place = Placement {
            seq: self.repair.seq,
            rtp_time: self.last_time,
        };
        self.repair.seq = self.repair.seq.next();
        let header = write_header(
            space,
            rtx_type,
            &place,
            self.repair.ssrc,
            self.twcc_id,
            twcc,
        );
        let len = add_padding(space, header, u8::MAX);
        Some(sealer.protect(space, header, len, place.seq.rollover()))
    }

    /// What a sender report says now: NTP time, RTP time and the counts. Nothing before the publisher's own report came.
    ///
    /// The publisher's NTP clock is kept, so that its voice and picture stay in step at the receiver (RFC 3550 §6.4.1).
    pub fn report(&self, track: &Track, now: Instant) -> Option<(u64, u32, Sent)> {
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

    /// Finds where the packet belongs in the outgoing stream, if it does.
    fn place(&mut self, layer: u8, meta: &PacketMeta) -> Option<Placement> {
        let epoch = self
            .epoch
            .as_mut()
            .filter(|epoch| epoch.layer == layer && meta.seq >= epoch.first_in)?;
        epoch.last_in = epoch.last_in.max(meta.seq);
        Some(Placement {
            seq: epoch.out(meta.seq),
            rtp_time: meta.rtp_time.wrapping_add(epoch.time_offset),
        })
    }

    /// Whether the keyframe that starts with `meta` may begin a new epoch: what flows already never goes back in time, and what
    /// does not flow yet is not begun with a keyframe from too far back.
    fn may_begin_with(&self, meta: &PacketMeta, newest: &PacketMeta) -> bool {
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
            self.repair.earlier.rotate_right(1);
            self.repair.earlier[0] = Some(epoch);
        }
    }

    /// The outgoing timestamp of the first packet of a new source: exact between layers whose clocks are known, else by arrival.
    fn next_time(&self, track: &Track, layer: u8, meta: &PacketMeta) -> u32 {
        let Some(last_arrival) = self.last_arrival else {
            return self.last_time;
        };
        if let Some(exact) = self
            .epoch
            .and_then(|epoch| same_instant(track, &epoch, layer, meta.rtp_time))
            && (exact.wrapping_sub(self.last_time) as i32) > 0
        {
            return exact;
        }
        let elapsed = meta.arrival.saturating_duration_since(last_arrival);
        self.last_time
            .wrapping_add(ticks_in(elapsed, track.codec).max(1))
    }

    fn picture_offsets(&self, meta: &PacketMeta) -> (u16, u8) {
        let (Some(last), Some(first)) = (self.last_picture, meta.picture) else {
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

    /// Payload type, payload and padding in the form that the receiver takes: RED is taken off for one that does not know it.
    fn dress<'p>(
        &self,
        codec: Codec,
        meta: &PacketMeta,
        payload: &'p [u8],
    ) -> Option<(u8, &'p [u8], u8)> {
        if meta.red && self.types.red != 0 && !self.plain {
            return Some((self.types.red, payload, 0));
        }
        let plain = payload.get(usize::from(meta.primary_offset)..)?;
        let payload_type = *self
            .types
            .media
            .get(codec as usize)
            .filter(|media| **media != 0)?;
        Some((payload_type, plain, meta.pad))
    }
}

impl Repair {
    fn was_just_resent(&mut self, out: SeqNo, now: Instant) -> bool {
        while self
            .recent
            .front()
            .is_some_and(|(_, at)| now.saturating_duration_since(*at) >= RESEND_PAUSE)
        {
            self.recent.pop_front();
        }
        if self.recent.iter().any(|(seq, _)| *seq == out) {
            return true;
        }
        if self.recent.len() == RESENT {
            self.recent.pop_front();
        }
        self.recent.push_back((out, now));
        false
    }
}

/// What the outgoing timestamp of `rtp_time` on `layer` is, by the publisher's clock reports for both layers.
fn same_instant(track: &Track, from: &Epoch, layer: u8, rtp_time: u32) -> Option<u32> {
    let old = track.layers.get(usize::from(from.layer))?.clock?;
    let new = track.layers.get(usize::from(layer))?.clock?;
    Some(translate(&new, &old, rtp_time, track.codec).wrapping_add(from.time_offset))
}

/// The timestamp on `to`'s clock of the instant that is `rtp_time` on `from`'s.
fn translate(from: &ClockReport, to: &ClockReport, rtp_time: u32, codec: Codec) -> u32 {
    let apart = to.ntp.wrapping_sub(from.ntp) as i64;
    let ticks = ((i128::from(apart) * i128::from(codec.clock_rate())) >> 32) as i64;
    to.rtp_time
        .wrapping_add(rtp_time.wrapping_sub(from.rtp_time))
        .wrapping_sub(ticks as u32)
}

fn ticks_in(span: Duration, codec: Codec) -> u32 {
    (span.as_micros() * u128::from(codec.clock_rate()) / 1_000_000) as u32
}

/// A span in NTP's 32.32 fixed point.
fn ntp_span(span: Duration) -> u64 {
    (span.as_secs() << 32) | ((u64::from(span.subsec_nanos()) << 32) / 1_000_000_000)
}

/// Writes the RTP header (RFC 3550 §5.1) with the transport-wide number where that was negotiated; returns its length.
fn write_header(
    space: &mut [u8],
    marker_and_type: u8,
    place: &Placement,
    ssrc: u32,
    twcc_id: u8,
    twcc: u16,
) -> usize {
    space[1] = marker_and_type;
    space[2..4].copy_from_slice(&place.seq.wire().to_be_bytes());
    space[4..8].copy_from_slice(&place.rtp_time.to_be_bytes());
    space[8..12].copy_from_slice(&ssrc.to_be_bytes());
    if twcc_id == 0 {
        space[0] = 0x80;
        return HEADER_BARE;
    }
    space[0] = 0x90;
    let [high, low] = twcc.to_be_bytes();
    // One-byte header extension (RFC 8285 §4.2): profile 0xBEDE, one word; id and length − 1, two bytes, one of padding.
    space[12..20].copy_from_slice(&[0xBE, 0xDE, 0, 1, twcc_id << 4 | 1, high, low, 0]);
    HEADER_WITH_TWCC
}

/// Adds `pad` bytes of RTP padding behind `end` (RFC 3550 §5.1: the last one holds their count); returns the new end.
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
