//! What comes in: a publisher's RTP finds its layer and is stored in its ring.

use std::time::Instant;

use super::Shard;
use super::peer::{Formats, Media, Publisher, Role, Source, Stream};
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

/// SSRCs of one publisher at most: camera and microphone with all layers, their repairs, and as many again for changes.
const MAX_SOURCES: usize = 32;

/// Where an SSRC's packets belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Binding {
    media: MediaIx,
    layer: u8,
    repair: bool,
}

/// One packet on its way into a ring.
struct Arrived<'a> {
    seq: SeqNo,
    rtp_time: u32,
    marker: bool,
    payload_type: u8,
    payload: &'a [u8],
}

impl Shard {
    /// One RTP packet of a publisher, already opened.
    pub(super) fn handle_rtp(
        &mut self,
        now: Instant,
        at: PeerIx,
        opened: Unprotected,
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        let packet = RtpPacket::parse(bytes).map_err(|_| DropReason::RtpMalformed)?;
        let Role::Publisher(publisher) = &mut self.peers[at].role else {
            return Err(DropReason::RtpUnexpected);
        };
        let extensions = Extensions::read(packet.elements(), &publisher.extensions);
        if let Some(number) = extensions.transport_cc {
            publisher.feedback.received(number, now);
        }
        let binding = match publisher.sources.get(&packet.ssrc()) {
            Some(source) => source.binding(),
            None => self.bind(at, &packet, &extensions)?,
        };
        if let Some(level) = extensions.audio_level {
            self.count_level(now, at, binding.media, level.level_dbov);
        }
        match binding.repair {
            true => self.take_repair(now, at, binding, &packet),
            false => self.take_media(now, at, binding, opened.seq, &packet),
        }
    }

    fn take_media(
        &mut self,
        now: Instant,
        at: PeerIx,
        binding: Binding,
        seq: SeqNo,
        packet: &RtpPacket<'_>,
    ) -> Result<(), DropReason> {
        let Role::Publisher(publisher) = &mut self.peers[at].role else {
            return Err(DropReason::RtpUnexpected);
        };
        let Some(Source {
            stream: Stream::Media(media),
            ..
        }) = publisher.sources.get_mut(&packet.ssrc())
        else {
            return Err(DropReason::RtpUnknownSource);
        };
        media.nack.received(seq, now);
        media.reception.received(seq, packet.timestamp(), now);
        let published = &publisher.media[binding.media.position()];
        let (track, formats) = (published.track, published.formats);
        let arrived = Arrived {
            seq,
            rtp_time: packet.timestamp(),
            marker: packet.marker(),
            payload_type: packet.payload_type(),
            payload: packet.payload(),
        };
        self.store(now, track, binding.layer, formats, arrived)
    }

    /// A retransmission holds the original's sequence number before its payload (RFC 4588 §4).
    fn take_repair(
        &mut self,
        now: Instant,
        at: PeerIx,
        binding: Binding,
        packet: &RtpPacket<'_>,
    ) -> Result<(), DropReason> {
        let Some((wire, payload)) = rtx::original(packet.payload()) else {
            return Err(DropReason::RtpPaddingOnly);
        };
        let Role::Publisher(publisher) = &mut self.peers[at].role else {
            return Err(DropReason::RtpUnexpected);
        };
        let (track, formats) = (
            publisher.media[binding.media.position()].track,
            publisher.media[binding.media.position()].formats,
        );
        let layer = self.tracks[track]
            .track
            .layers
            .get(usize::from(binding.layer))
            .ok_or(DropReason::RtpUnknownSource)?;
        let seq = layer
            .ring
            .newest()
            .ok_or(DropReason::RtpTooOld)?
            .nearest(wire);
        let media = publisher
            .ssrc_of(binding.media, binding.layer)
            .and_then(|ssrc| publisher.sources.get_mut(&ssrc));
        if let Some(Source {
            stream: Stream::Media(media),
            ..
        }) = media
        {
            media.nack.received(seq, now);
        }
        let arrived = Arrived {
            seq,
            rtp_time: packet.timestamp(),
            marker: packet.marker(),
            payload_type: formats.media,
            payload,
        };
        self.store(now, track, binding.layer, formats, arrived)
    }

    /// Puts a packet into its ring, hands it to recorders and other shards, and marks the track for the next forwarding pass.
    fn store(
        &mut self,
        now: Instant,
        track: TrackIx,
        layer: u8,
        formats: Formats,
        arrived: Arrived<'_>,
    ) -> Result<(), DropReason> {
        let hosted = &mut self.tracks[track];
        let ring = &hosted
            .track
            .layers
            .get(usize::from(layer))
            .ok_or(DropReason::RtpUnknownSource)?
            .ring;
        let meta = describe(ring, formats, &arrived, now)?;
        if !hosted.track.insert(layer, meta, arrived.payload) {
            return Err(DropReason::RtpDuplicate);
        }
        hosted.relay_packet(layer, arrived.seq, &self.counters);
        if !hosted.live {
            hosted.live = true;
            let event = Event::TrackLive {
                track: hosted.track.id,
            };
            self.tell(event);
        }
        self.mark_fresh(track);
        Ok(())
    }

    /// Lines the track up for the next forwarding pass: voices first, whatever came before them.
    pub(super) fn mark_fresh(&mut self, track: TrackIx) {
        if self.fresh.contains(&track) {
            return;
        }
        match self.tracks[track].track.codec {
            Codec::Opus => self.fresh.insert(0, track),
            _ => self.fresh.push(track),
        }
    }

    fn count_level(&mut self, now: Instant, at: PeerIx, media: MediaIx, level: u8) {
        let Role::Publisher(publisher) = &self.peers[at].role else {
            return;
        };
        let hosted = &mut self.tracks[publisher.media[media.position()].track];
        // RFC 6464 §3: the byte is the level below overload, 0–127.
        if let Some(level_dbov) = hosted.level.count(now, -(level.min(127) as i8)) {
            let event = Event::AudioLevel {
                track: hosted.track.id,
                level_dbov,
            };
            self.tell(event);
        }
    }

    /// Learns whose a new SSRC is.
    fn bind(
        &mut self,
        at: PeerIx,
        packet: &RtpPacket<'_>,
        extensions: &Extensions<'_>,
    ) -> Result<Binding, DropReason> {
        let peer = &mut self.peers[at];
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
        let stream = match binding.repair {
            true => Stream::Repair,
            false => Stream::Media(Box::new(Media {
                nack: NackGenerator::new(),
                reception: ReceptionStats::new(packet.ssrc(), clock_rate),
            })),
        };
        publisher.sources.insert(
            packet.ssrc(),
            Source {
                media: binding.media,
                layer: binding.layer,
                stream,
            },
        );
        if replaced.is_some() && !binding.repair {
            self.tracks[track].restart_layer(binding.layer, &self.counters);
        }
        Ok(binding)
    }
}

impl Source {
    fn binding(&self) -> Binding {
        Binding {
            media: self.media,
            layer: self.layer,
            repair: matches!(self.stream, Stream::Repair),
        }
    }
}

impl Publisher {
    /// Forgets the source that had this place before; returns it.
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

/// RFC 8843 §9.2: the MID extension decides, then announced SSRCs, then a payload type that only one m-line uses.
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
    let repair = published.formats.rtx == Some(payload_type);
    let rids = &published.media.rids;
    let layer = match if repair {
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
        repair,
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
                    repair: pair.rtx == Some(ssrc),
                });
            }
        }
    }
    None
}

fn describe(
    ring: &PacketRing,
    formats: Formats,
    arrived: &Arrived<'_>,
    now: Instant,
) -> Result<PacketMeta, DropReason> {
    let red = formats.red == Some(arrived.payload_type);
    if !red && arrived.payload_type != formats.media {
        return Err(DropReason::RtpPayloadType);
    }
    let plain = match red {
        true => {
            red::primary(arrived.payload)
                .ok_or(DropReason::RtpPayload)?
                .1
        }
        false => arrived.payload,
    };
    // A packet without payload is padding: it is passed on, so that no receiver waits for its number.
    let info = match plain.is_empty() {
        true => FrameInfo::default(),
        false => payload::describe(formats.codec, plain).ok_or(DropReason::RtpPayload)?,
    };
    let audio = formats.codec == Codec::Opus;
    Ok(PacketMeta {
        seq: arrived.seq,
        rtp_time: arrived.rtp_time,
        arrival: now,
        len: u16::try_from(arrived.payload.len()).map_err(|_| DropReason::RtpTooLarge)?,
        pad: 0,
        marker: arrived.marker,
        frame_start: audio || info.frame_start && begins_frame(ring, formats.codec, arrived),
        keyframe: audio || info.keyframe,
        red,
        picture: info.vp8,
        // RFC 2198 §3: the primary encoding is the last block.
        primary_offset: (arrived.payload.len() - plain.len()) as u16,
    })
}

/// H264 and AV1 do not mark the start of a frame in each packet: a frame begins where the timestamp differs from the packet before.
/// When that one is missing nobody knows; the frame is then not taken for a beginning until it arrives.
fn begins_frame(ring: &PacketRing, codec: Codec, arrived: &Arrived<'_>) -> bool {
    if matches!(codec, Codec::Vp8 | Codec::Vp9) || ring.newest().is_none() {
        return true;
    }
    let before = arrived
        .seq
        .0
        .checked_sub(1)
        .and_then(|seq| ring.get(SeqNo(seq)));
    before.is_some_and(|(before, _)| before.rtp_time != arrived.rtp_time)
}
