//! Incoming RTP: finds the layer of a publisher's packet and stores the packet in the layer's ring.

use std::time::Instant;

use super::Shard;
use super::peer::{Formats, LayerReceiver, Publisher, Role, RtpSource, SourceKind};
use crate::command::Event;
use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use crate::index::{MAX_LAYERS, MediaIx, PeerIx, TrackIx};
use crate::publish::nack::NackGenerator;
use crate::publish::reception::ReceptionStats;
use crate::publish::ring::{PacketMeta, PacketRing};
use crate::rtp::payload::{self, FrameInfo, red, rtx};
use crate::rtp::{Extensions, RtpPacket};
use crate::sdp::Codec;
use crate::transport::srtp::Unprotected;
use crate::units::SeqNo;

/// Maximum number of SSRCs of one publisher: camera and microphone with all layers and their RTX
/// streams, and as many again for replacements.
const MAX_SOURCES: usize = 32;

/// Destination of an SSRC's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Binding {
    media: MediaIx,
    layer: u8,
    rtx: bool,
}

/// One received packet that is not stored yet.
struct Received<'a> {
    seq: SeqNo,
    rtp_time: u32,
    marker: bool,
    payload_type: u8,
    payload: &'a [u8],
}

impl Shard {
    /// Handles one RTP packet of a publisher, already decrypted.
    pub(super) fn handle_rtp(
        &mut self,
        now: Instant,
        peer_ix: PeerIx,
        opened: Unprotected,
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        let packet = RtpPacket::parse(bytes).map_err(|_| DropReason::RtpMalformed)?;
        let Role::Publisher(publisher) = &mut self.peers[peer_ix].role else {
            return Err(DropReason::RtpUnexpected);
        };
        let extensions = Extensions::read(packet.elements(), &publisher.extensions);
        if let Some(number) = extensions.transport_cc {
            publisher.feedback.received(number, now);
        }
        let binding = match publisher.sources.get(&packet.ssrc()) {
            Some(source) => source.binding(),
            None => self.bind(peer_ix, &packet, &extensions)?,
        };
        if let Some(level) = extensions.audio_level {
            self.add_level(now, peer_ix, binding.media, level.level_dbov);
        }
        match binding.rtx {
            true => self.handle_rtx(now, peer_ix, binding, &packet),
            false => self.handle_media_packet(now, peer_ix, binding, opened.seq, &packet),
        }
    }

    fn handle_media_packet(
        &mut self,
        now: Instant,
        peer_ix: PeerIx,
        binding: Binding,
        seq: SeqNo,
        packet: &RtpPacket<'_>,
    ) -> Result<(), DropReason> {
        let Role::Publisher(publisher) = &mut self.peers[peer_ix].role else {
            return Err(DropReason::RtpUnexpected);
        };
        let Some(RtpSource {
            kind: SourceKind::Media(receiver),
            ..
        }) = publisher.sources.get_mut(&packet.ssrc())
        else {
            return Err(DropReason::RtpUnknownSource);
        };
        receiver.nack.received(seq, now);
        receiver.reception.received(seq, packet.timestamp(), now);
        let published = &publisher.media[binding.media.position()];
        let (track, formats) = (published.track, published.formats);
        let received = Received {
            seq,
            rtp_time: packet.timestamp(),
            marker: packet.marker(),
            payload_type: packet.payload_type(),
            payload: packet.payload(),
        };
        self.store(now, track, binding.layer, formats, received)
    }

    /// Stores a retransmission under the original sequence number, which precedes its payload
    /// (RFC 4588 §4).
    fn handle_rtx(
        &mut self,
        now: Instant,
        peer_ix: PeerIx,
        binding: Binding,
        packet: &RtpPacket<'_>,
    ) -> Result<(), DropReason> {
        let Some((wire, payload)) = rtx::original(packet.payload()) else {
            return Err(DropReason::RtpPaddingOnly);
        };
        let Role::Publisher(publisher) = &mut self.peers[peer_ix].role else {
            return Err(DropReason::RtpUnexpected);
        };
        let (track, formats) = (
            publisher.media[binding.media.position()].track,
            publisher.media[binding.media.position()].formats,
        );
        let layer = self.tracks[track]
            .media
            .layers
            .get(usize::from(binding.layer))
            .ok_or(DropReason::RtpUnknownSource)?;
        let seq = layer
            .ring
            .newest()
            .ok_or(DropReason::RtpTooOld)?
            .nearest(wire);
        let original = publisher
            .ssrc_of(binding.media, binding.layer)
            .and_then(|ssrc| publisher.sources.get_mut(&ssrc));
        if let Some(RtpSource {
            kind: SourceKind::Media(receiver),
            ..
        }) = original
        {
            receiver.nack.received(seq, now);
        }
        let received = Received {
            seq,
            rtp_time: packet.timestamp(),
            marker: packet.marker(),
            payload_type: formats.media,
            payload,
        };
        self.store(now, track, binding.layer, formats, received)
    }

    /// Stores a packet in its ring, relays it to recorders and other shards, and queues the track
    /// for the next forwarding pass.
    fn store(
        &mut self,
        now: Instant,
        track_ix: TrackIx,
        layer: u8,
        formats: Formats,
        received: Received<'_>,
    ) -> Result<(), DropReason> {
        let track = &mut self.tracks[track_ix];
        let ring = &track
            .media
            .layers
            .get(usize::from(layer))
            .ok_or(DropReason::RtpUnknownSource)?
            .ring;
        let meta = describe(ring, formats, &received, now)?;
        if !track.media.insert(layer, meta, received.payload) {
            return Err(DropReason::RtpDuplicate);
        }
        track.relay_packet(layer, received.seq, &self.counters);
        if !track.live {
            track.live = true;
            let event = Event::TrackLive {
                track: track.media.id,
            };
            self.queue_event(event);
        }
        self.mark_fresh(track_ix);
        Ok(())
    }

    /// Queues the track for the next forwarding pass. Audio goes to the front.
    pub(super) fn mark_fresh(&mut self, track_ix: TrackIx) {
        if self.fresh.contains(&track_ix) {
            return;
        }
        match self.tracks[track_ix].media.codec {
            Codec::Opus => self.fresh.insert(0, track_ix),
            _ => self.fresh.push(track_ix),
        }
    }

    fn add_level(&mut self, now: Instant, peer_ix: PeerIx, media: MediaIx, level: u8) {
        let Role::Publisher(publisher) = &self.peers[peer_ix].role else {
            return;
        };
        let track = &mut self.tracks[publisher.media[media.position()].track];
        // RFC 6464 §3: the byte is the level below overload, 0–127.
        if let Some(level_dbov) = track.level.add(now, -(level.min(127) as i8)) {
            let event = Event::AudioLevel {
                track: track.media.id,
                level_dbov,
            };
            self.queue_event(event);
        }
    }

    /// Assigns a new SSRC to a layer.
    fn bind(
        &mut self,
        peer_ix: PeerIx,
        packet: &RtpPacket<'_>,
        extensions: &Extensions<'_>,
    ) -> Result<Binding, DropReason> {
        let peer = &mut self.peers[peer_ix];
        let Role::Publisher(publisher) = &mut peer.role else {
            return Err(DropReason::RtpUnexpected);
        };
        let binding =
            binding_of(publisher, packet, extensions).ok_or(DropReason::RtpUnknownSource)?;
        let replaced = publisher.replace_source(binding);
        if let (Some(old), Some(inbound)) = (replaced, &mut peer.inbound) {
            inbound.forget(old);
        }
        if publisher.sources.len() >= MAX_SOURCES {
            return Err(DropReason::SrtpTooManySources);
        }
        let published = &publisher.media[binding.media.position()];
        let (track, clock_rate) = (published.track, published.media.clock_rate);
        let kind = match binding.rtx {
            true => SourceKind::Rtx,
            false => SourceKind::Media(Box::new(LayerReceiver {
                nack: NackGenerator::new(),
                reception: ReceptionStats::new(packet.ssrc(), clock_rate),
            })),
        };
        publisher.sources.insert(
            packet.ssrc(),
            RtpSource {
                media: binding.media,
                layer: binding.layer,
                kind,
            },
        );
        if replaced.is_some() && !binding.rtx {
            self.tracks[track].restart_layer(binding.layer, &self.counters);
        }
        Ok(binding)
    }
}

impl RtpSource {
    fn binding(&self) -> Binding {
        Binding {
            media: self.media,
            layer: self.layer,
            rtx: matches!(self.kind, SourceKind::Rtx),
        }
    }
}

impl Publisher {
    /// Removes the source with the same destination, if any. Returns its SSRC.
    fn replace_source(&mut self, binding: Binding) -> Option<Ssrc> {
        let ssrc = *self
            .sources
            .iter()
            .find(|(_, source)| source.binding() == binding)?
            .0;
        self.sources.remove(&ssrc);
        Some(ssrc)
    }
}

/// Finds the destination of an SSRC: by announced SSRC, by the MID extension, or by a payload type
/// that only one m-line uses (RFC 8843 §9.2).
fn binding_of(
    publisher: &Publisher,
    packet: &RtpPacket<'_>,
    extensions: &Extensions<'_>,
) -> Option<Binding> {
    if let Some(binding) = announced(publisher, packet.ssrc()) {
        return Some(binding);
    }
    let payload_type = packet.payload_type();
    let of_type = |formats: &Formats| {
        formats.media == payload_type
            || formats.rtx == Some(payload_type)
            || formats.red == Some(payload_type)
    };
    let media = match extensions.mid {
        Some(mid) => publisher.media.iter().position(|p| p.media.mid == mid)?,
        None => {
            let mut fitting = publisher
                .media
                .iter()
                .enumerate()
                .filter(|(_, p)| of_type(&p.formats));
            let (at, _) = fitting.next()?;
            fitting.next().is_none().then_some(at)?
        }
    };
    let published = publisher.media.get(media).filter(|p| of_type(&p.formats))?;
    let rtx = published.formats.rtx == Some(payload_type);
    let rids = &published.media.rids;
    let layer = match if rtx {
        extensions.repaired_rid
    } else {
        extensions.rid
    } {
        Some(rid) => rids.iter().position(|known| known == rid)?,
        None if rids.is_empty() => 0,
        None => return None,
    };
    (layer < MAX_LAYERS).then_some(Binding {
        media: MediaIx::new(media),
        layer: layer as u8,
        rtx,
    })
}

fn announced(publisher: &Publisher, ssrc: Ssrc) -> Option<Binding> {
    for (media, published) in publisher
        .media
        .iter()
        .enumerate()
        .filter(|(_, p)| p.media.rids.is_empty())
    {
        for (layer, pair) in published.media.sources.iter().enumerate().take(MAX_LAYERS) {
            if pair.primary == ssrc || pair.rtx == Some(ssrc) {
                return Some(Binding {
                    media: MediaIx::new(media),
                    layer: layer as u8,
                    rtx: pair.rtx == Some(ssrc),
                });
            }
        }
    }
    None
}

fn describe(
    ring: &PacketRing,
    formats: Formats,
    received: &Received<'_>,
    now: Instant,
) -> Result<PacketMeta, DropReason> {
    let red = formats.red == Some(received.payload_type);
    if !red && received.payload_type != formats.media {
        return Err(DropReason::RtpPayloadType);
    }
    let plain = match red {
        true => {
            red::primary(received.payload)
                .ok_or(DropReason::RtpPayload)?
                .1
        }
        false => received.payload,
    };
    // A packet without payload is padding. It is forwarded, because receivers would NACK its
    // number.
    let info = match plain.is_empty() {
        true => FrameInfo::default(),
        false => payload::describe(formats.codec, plain).ok_or(DropReason::RtpPayload)?,
    };
    let audio = formats.codec == Codec::Opus;
    Ok(PacketMeta {
        seq: received.seq,
        rtp_time: received.rtp_time,
        arrival: now,
        len: u16::try_from(received.payload.len()).map_err(|_| DropReason::RtpTooLarge)?,
        pad: 0,
        marker: received.marker,
        frame_start: audio || info.frame_start && begins_frame(ring, formats.codec, received),
        keyframe: audio || info.keyframe,
        red,
        picture_ids: info.vp8,
        // RFC 2198 §3: the primary encoding is the last block.
        primary_offset: (received.payload.len() - plain.len()) as u16,
    })
}

/// Returns true if the packet starts a frame. H264 and AV1 do not mark that in each packet: a frame
/// starts where the timestamp differs from that of the previous packet. If the previous packet is
/// missing, the packet does not count as a start.
fn begins_frame(ring: &PacketRing, codec: Codec, received: &Received<'_>) -> bool {
    if matches!(codec, Codec::Vp8 | Codec::Vp9) || ring.newest().is_none() {
        return true;
    }
    let before = received
        .seq
        .0
        .checked_sub(1)
        .and_then(|seq| ring.get(SeqNo(seq)));
    before.is_some_and(|(before, _)| before.rtp_time != received.rtp_time)
}
