//! Handle of the media plane. It negotiates in the caller's thread and sends commands to the
//! shards.
//!
//! All signalling state (slots, mids, versions, credentials) is kept here behind one lock, which no
//! media thread ever takes. A shard gets only the parameters that forwarding needs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rand::Rng;
use tokio::sync::mpsc;

use crate::command::{Command, Event, SlotAssignment, SlotSpec};
use crate::directory::{self, Directory, PeerEntry, Role, SlotEntry, TrackEntry};
use crate::ids::{LessonId, PeerId, TrackId};
use crate::index::{MAX_LAYERS, ShardIx};
use crate::io::{self, ShardHandle, StartError};
use crate::sdp::{
    self, Codec, LocalParameters, MediaKind, NegotiationError, OfferedSlot, OutgoingStream,
    SubscribedMedia,
};
use crate::stats::Stats;
use crate::subscribe::allocator::Priority;
use crate::subscribe::forwarder::{ForwarderConfig, PayloadTypes};
use crate::tap::{self, Tap};
use crate::transport::{IceCredentials, Identity, Transport};

/// Capacity of the event queue. A lesson produces a few dozen events per second; a server that is
/// this far behind has stopped.
const EVENT_QUEUE: usize = 16_384;

/// Capacity of the queue of an exported track, in packets: two receive batches of keyframes.
const RELAY_QUEUE: usize = 1_024;

/// Configuration of the plane.
#[derive(Clone, Debug)]
pub struct Config {
    /// UDP addresses to bind, one per shard; port 0 is chosen by the system.
    pub shards: Vec<SocketAddr>,
    /// Public addresses of the shards: the host candidates of every description. Empty: the bound
    /// addresses.
    pub advertise: Vec<IpAddr>,
    /// Maximum number of peers.
    pub max_peers: usize,
}

/// Options of a publisher.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// Accepted video codecs, best first.
    pub codecs: Vec<Codec>,
}

impl Default for PublishOptions {
    /// H264 first: its recordings play everywhere without transcoding.
    fn default() -> PublishOptions {
        PublishOptions {
            codecs: vec![Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1],
        }
    }
}

/// A new publisher.
#[derive(Clone, Debug)]
pub struct Published {
    /// The peer.
    pub peer: PeerId,
    /// The SDP answer.
    pub answer: String,
    /// Its tracks, one per accepted m-line.
    pub tracks: Vec<Track>,
}

/// A published track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its id.
    pub id: TrackId,
    /// Its publisher.
    pub peer: PeerId,
    /// Audio or video.
    pub kind: MediaKind,
    /// The `mid` of its m-line.
    pub mid: String,
    /// The negotiated codec.
    pub codec: Codec,
    /// Maximum number of simulcast layers, 1–4.
    pub layers: u8,
}

/// A track that a subscriber wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The track.
    pub track: TrackId,
    /// Its priority in the bandwidth allocation.
    pub priority: Priority,
    /// Display height in pixels; no layer above it is sent. None: no limit.
    pub max_height: Option<u16>,
}

/// The assignment of tracks to a subscriber's slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// All slots of the subscriber.
    pub slots: Vec<Slot>,
    /// A new offer if slots were added.
    pub offer: Option<String>,
}

/// One m-line of a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The `mid` of the m-line.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// The assigned track.
    pub track: Option<TrackId>,
}

/// Error of a request to the plane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaneError {
    /// The peer does not exist or is closed.
    #[error("peer {0} does not exist")]
    NoPeer(PeerId),
    /// The track does not exist or was removed.
    #[error("track {0} does not exist")]
    NoTrack(TrackId),
    /// The request does not apply to the peer's role.
    #[error("the request does not apply to the role of peer {0}")]
    WrongRole(PeerId),
    /// The maximum number of peers is reached.
    #[error("the limit of {0} connections is reached")]
    Full(usize),
    /// The command queue of a shard is full, or its thread has ended.
    #[error("the media thread does not respond")]
    Busy,
    /// The description is invalid or not acceptable.
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
}

/// The media plane. A clone is another handle to the same threads. No method waits for the network.
#[derive(Clone)]
pub struct Plane {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Vec<ShardHandle>,
    candidates: Vec<Vec<SocketAddr>>,
    identity: Arc<Identity>,
    directory: Mutex<Directory>,
    max_peers: usize,
}

/// Binds the sockets and starts one thread per shard.
pub fn start(config: Config) -> Result<(Plane, Events), StartError> {
    let identity = Arc::new(Identity::generate()?);
    let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
    let shards = io::start(&config.shards, &sender)?;
    let candidates = shards
        .iter()
        .map(|shard| candidates(shard.address(), &config.advertise))
        .collect();
    let directory = Mutex::new(Directory::default());
    let inner = Inner {
        shards,
        candidates,
        identity,
        directory,
        max_peers: config.max_peers,
    };
    let plane = Plane {
        inner: Arc::new(inner),
    };
    Ok((plane.clone(), Events { receiver, plane }))
}

fn candidates(bound: SocketAddr, advertise: &[IpAddr]) -> Vec<SocketAddr> {
    if advertise.is_empty() {
        return vec![bound];
    }
    advertise
        .iter()
        .map(|ip| SocketAddr::new(*ip, bound.port()))
        .collect()
}

/// The events of the plane, in order per peer.
pub struct Events {
    receiver: mpsc::Receiver<Event>,
    plane: Plane,
}

impl Events {
    /// Returns the next event; none after the plane has stopped. The peer of a
    /// [`Event::PeerClosed`] is already removed from the plane.
    pub async fn recv(&mut self) -> Option<Event> {
        let event = self.receiver.recv().await?;
        if let Event::PeerClosed { peer, .. } = event {
            self.plane.remove_peer(peer);
        }
        Some(event)
    }
}

impl Plane {
    /// Adds a publisher and answers its offer.
    pub fn publish(
        &self,
        lesson: LessonId,
        offer: &str,
        options: &PublishOptions,
    ) -> Result<Published, PlaneError> {
        let offer = sdp::parse(offer)?;
        let mut directory = self.admit()?;
        let shard = self.least_loaded(&directory);
        let local = IceCredentials::random(&mut io::rng());
        let (answer, media) =
            sdp::answer_publisher(&offer, &self.local(&local, shard), &options.codecs)?;
        let mut transport = self.transport(&local);
        transport.set_remote(io::now(), offer.remote().clone());
        let peer = PeerId(directory.next_id());
        let media: Vec<_> = media
            .into_iter()
            .map(|media| (TrackId(directory.next_id()), media))
            .collect();
        let tracks: Vec<Track> = media
            .iter()
            .map(|(id, media)| track_of(peer, *id, media))
            .collect();
        for track in &tracks {
            let (codec, layers) = (track.codec, usize::from(track.layers));
            directory.tracks.insert(
                track.id,
                TrackEntry {
                    peer,
                    shard,
                    codec,
                    layers,
                    imported: Default::default(),
                },
            );
        }
        self.send(
            shard,
            Command::AddPublisher {
                peer,
                lesson,
                transport: Box::new(transport),
                media: media.clone(),
            },
        )?;
        directory.peers.insert(
            peer,
            PeerEntry {
                shard,
                local,
                role: Role::Publisher { media },
            },
        );
        Ok(Published {
            peer,
            answer,
            tracks,
        })
    }

    /// Answers a publisher's offer of an ICE restart after a network change (RFC 8445 §9). Tracks
    /// and codecs stay as they are.
    pub fn republish(&self, peer: PeerId, offer: &str) -> Result<String, PlaneError> {
        let offer = sdp::parse(offer)?;
        let mut directory = self.inner.directory.lock();
        let entry = directory
            .peers
            .get_mut(&peer)
            .ok_or(PlaneError::NoPeer(peer))?;
        let Role::Publisher { media } = &entry.role else {
            return Err(PlaneError::WrongRole(peer));
        };
        let local = IceCredentials::random(&mut io::rng());
        let codecs: Vec<Codec> = media.iter().map(|(_, media)| media.codec).collect();
        let (answer, renegotiated) =
            sdp::answer_publisher(&offer, &self.local(&local, entry.shard), &codecs)?;
        if renegotiated.len() != media.len()
            || renegotiated
                .iter()
                .zip(media)
                .any(|(new, (_, old))| new.mid != old.mid || new.codec != old.codec)
        {
            return Err(NegotiationError::AnswerMismatch(
                "an ICE restart must keep the media sections",
            )
            .into());
        }
        entry.local = local.clone();
        let remote = Some(offer.remote().ice.clone());
        let shard = entry.shard;
        self.send(
            shard,
            Command::RestartIce {
                peer,
                local,
                remote,
            },
        )?;
        Ok(answer)
    }

    /// Adds a subscriber and makes an offer with the given slots. It connects after
    /// [`Plane::accept_answer`].
    pub fn offer_subscriber(
        &self,
        lesson: LessonId,
        slots: &[MediaKind],
    ) -> Result<(PeerId, String), PlaneError> {
        let mut directory = self.admit()?;
        let shard = self.least_loaded(&directory);
        let local = IceCredentials::random(&mut io::rng());
        let mut entries = Vec::new();
        for kind in slots {
            add_slot(&mut entries, *kind);
        }
        let offer = sdp::offer_subscriber(&self.local(&local, shard), 1, &offered(&entries));
        let peer = PeerId(directory.next_id());
        let specs = entries.iter().map(slot_spec).collect();
        let transport = Box::new(self.transport(&local));
        self.send(
            shard,
            Command::AddSubscriber {
                peer,
                lesson,
                transport,
                slots: specs,
            },
        )?;
        directory.peers.insert(
            peer,
            PeerEntry {
                shard,
                local,
                role: Role::Subscriber {
                    slots: entries,
                    version: 1,
                },
            },
        );
        Ok((peer, offer))
    }

    /// Accepts a subscriber's answer to the latest offer.
    pub fn accept_answer(&self, peer: PeerId, answer: &str) -> Result<(), PlaneError> {
        let answer = sdp::parse(answer)?;
        let mut directory = self.inner.directory.lock();
        let entry = directory
            .peers
            .get_mut(&peer)
            .ok_or(PlaneError::NoPeer(peer))?;
        let shard = entry.shard;
        let Role::Subscriber { slots, .. } = &mut entry.role else {
            return Err(PlaneError::WrongRole(peer));
        };
        let media = sdp::parse_answer(&answer, &offered(slots))?;
        for (slot, media) in slots.iter_mut().zip(&media) {
            slot.types = Some(PayloadTypes::from_answer(media));
        }
        self.send(
            shard,
            Command::Accept {
                peer,
                remote: answer.remote().clone(),
                media,
            },
        )
    }

    /// Adds a player that made the offer itself (WHEP) and answers it. [`Plane::subscribe`] assigns
    /// its tracks.
    pub fn answer_subscriber(
        &self,
        lesson: LessonId,
        offer: &str,
    ) -> Result<(PeerId, String), PlaneError> {
        let offer = sdp::parse(offer)?;
        let mut directory = self.admit()?;
        let shard = self.least_loaded(&directory);
        let local = IceCredentials::random(&mut io::rng());
        let mut slots = Vec::new();
        for _ in 0..offer.mlines() {
            add_slot(&mut slots, MediaKind::Video);
        }
        let outgoing: Vec<OutgoingStream> = slots
            .into_iter()
            .map(|slot| OutgoingStream {
                stream: "lesson".into(),
                ..slot.offered.outgoing
            })
            .collect();
        let (answer, media) =
            sdp::answer_subscriber(&offer, &self.local(&local, shard), &outgoing)?;
        let slots: Vec<SlotEntry> = media.iter().map(player_slot).collect();
        let specs = media.iter().map(player_spec).collect();
        let mut transport = Box::new(self.transport(&local));
        transport.set_remote(io::now(), offer.remote().clone());
        let peer = PeerId(directory.next_id());
        self.send(
            shard,
            Command::AddSubscriber {
                peer,
                lesson,
                transport,
                slots: specs,
            },
        )?;
        directory.peers.insert(
            peer,
            PeerEntry {
                shard,
                local,
                role: Role::Subscriber { slots, version: 0 },
            },
        );
        Ok((peer, answer))
    }

    /// Replaces the tracks of a subscriber. If there are more tracks than slots, slots are added by
    /// a new offer. A player cannot get new slots: it gets as many tracks as it offered m-lines,
    /// the most important first.
    pub fn subscribe(&self, peer: PeerId, wanted: &[Wanted]) -> Result<Assignment, PlaneError> {
        let mut wanted: Vec<Wanted> = wanted.to_vec();
        wanted.sort_by_key(|w| w.priority);
        let mut guard = self.inner.directory.lock();
        let directory = &mut *guard;
        wanted.retain(|w| directory.tracks.contains_key(&w.track));
        let entry = directory
            .peers
            .get_mut(&peer)
            .ok_or(PlaneError::NoPeer(peer))?;
        let (shard, local) = (entry.shard, entry.local.clone());
        let Role::Subscriber { slots, version } = &mut entry.role else {
            return Err(PlaneError::WrongRole(peer));
        };
        let unassigned = directory::assign_slots(slots, &wanted, &directory.tracks);
        let mut offer = None;
        if !unassigned.is_empty() && *version > 0 {
            let first_new = slots.len();
            for track in unassigned.iter().filter_map(|id| directory.tracks.get(id)) {
                add_slot(slots, track.codec.kind());
            }
            self.send(
                shard,
                Command::AddSlots {
                    peer,
                    slots: slots[first_new..].iter().map(slot_spec).collect(),
                },
            )?;
            directory::assign_slots(slots, &wanted, &directory.tracks);
            *version += 1;
            offer = Some(sdp::offer_subscriber(
                &self.local(&local, shard),
                *version,
                &offered(slots),
            ));
        }
        let assigned: Vec<Option<SlotAssignment>> = slots
            .iter()
            .map(|slot| assignment_of(slot, &wanted, &directory.tracks))
            .collect();
        let answer = slots
            .iter()
            .map(|s| Slot {
                mid: s.mid.clone(),
                kind: s.offered.kind,
                track: s.track,
            })
            .collect();
        for track in slots.iter().filter_map(|slot| slot.track) {
            self.import(&mut directory.tracks, track, shard)?;
        }
        self.send(
            shard,
            Command::Assign {
                peer,
                slots: assigned,
            },
        )?;
        Ok(Assignment {
            slots: answer,
            offer,
        })
    }

    /// Makes an offer with new ICE credentials, for a subscriber whose connection failed at its
    /// end.
    pub fn restart_subscriber(&self, peer: PeerId) -> Result<String, PlaneError> {
        let mut directory = self.inner.directory.lock();
        let entry = directory
            .peers
            .get_mut(&peer)
            .ok_or(PlaneError::NoPeer(peer))?;
        let Role::Subscriber { slots, version } = &mut entry.role else {
            return Err(PlaneError::WrongRole(peer));
        };
        *version += 1;
        entry.local = IceCredentials::random(&mut io::rng());
        let offer = sdp::offer_subscriber(
            &self.local(&entry.local, entry.shard),
            *version,
            &offered(slots),
        );
        self.send(
            entry.shard,
            Command::RestartIce {
                peer,
                local: entry.local.clone(),
                remote: None,
            },
        )?;
        Ok(offer)
    }

    /// Handles a WHIP or WHEP PATCH (RFC 9725 §4.3). Candidates are ignored, because the server is
    /// ICE-lite. A restart sets new credentials and returns the server's fragment.
    pub fn patch_ice(
        &self,
        peer: PeerId,
        fragment: &str,
        restart: bool,
    ) -> Result<Option<String>, PlaneError> {
        let fragment = sdp::parse_fragment(fragment)?;
        let mut directory = self.inner.directory.lock();
        let entry = directory
            .peers
            .get_mut(&peer)
            .ok_or(PlaneError::NoPeer(peer))?;
        if !restart {
            return Ok(None);
        }
        entry.local = IceCredentials::random(&mut io::rng());
        let mid = match &entry.role {
            Role::Publisher { media } => media.first().map(|(_, media)| media.mid.clone()),
            Role::Subscriber { slots, .. } => slots.first().map(|slot| slot.mid.clone()),
        };
        let ours = sdp::write_fragment(
            &self.local(&entry.local, entry.shard),
            mid.as_deref().unwrap_or("0"),
        );
        self.send(
            entry.shard,
            Command::RestartIce {
                peer,
                local: entry.local.clone(),
                remote: Some(fragment.ice),
            },
        )?;
        Ok(Some(ours))
    }

    /// Closes a peer; [`Event::PeerClosed`] follows. Does nothing if the peer is already closed.
    pub fn close(&self, peer: PeerId) {
        let shard = self
            .inner
            .directory
            .lock()
            .peers
            .get(&peer)
            .map(|entry| entry.shard);
        if let Some(shard) = shard {
            self.inner.shards[shard.position()].send_blocking(Command::Close { peer });
        }
    }

    /// Makes a tap that copies all packets of a track, of all layers.
    pub fn tap(&self, track: TrackId) -> Result<Tap, PlaneError> {
        let directory = self.inner.directory.lock();
        let entry = directory
            .tracks
            .get(&track)
            .ok_or(PlaneError::NoTrack(track))?;
        let (sink, tap) = tap::channel(entry.codec.kind());
        self.send(entry.shard, Command::Tap { track, sink })?;
        Ok(tap)
    }

    /// Requests a keyframe of every layer from a track's publisher. Requests are merged and
    /// rate-limited.
    pub fn request_keyframe(&self, track: TrackId) {
        let shard = self
            .inner
            .directory
            .lock()
            .tracks
            .get(&track)
            .map(|entry| entry.shard);
        if let Some(shard) = shard {
            self.inner.shards[shard.position()]
                .send_blocking(Command::Keyframe { track, layer: None });
        }
    }

    /// Returns the bound address of each shard.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.inner.shards.iter().map(ShardHandle::address).collect()
    }

    /// Returns true if all media threads are running.
    pub fn is_running(&self) -> bool {
        self.inner.shards.iter().all(ShardHandle::is_running)
    }

    /// Returns the counters of each shard.
    pub fn stats(&self) -> Vec<Stats> {
        self.inner.shards.iter().map(ShardHandle::stats).collect()
    }

    fn admit(&self) -> Result<MutexGuard<'_, Directory>, PlaneError> {
        let directory = self.inner.directory.lock();
        match directory.peers.len() < self.inner.max_peers {
            true => Ok(directory),
            false => Err(PlaneError::Full(self.inner.max_peers)),
        }
    }

    fn least_loaded(&self, directory: &Directory) -> ShardIx {
        let load = directory.load(self.inner.shards.len());
        (0..load.len())
            .min_by_key(|shard| load[*shard])
            .map(ShardIx::new)
            .expect("the plane starts with at least one shard")
    }

    fn local<'a>(&'a self, ice: &'a IceCredentials, shard: ShardIx) -> LocalParameters<'a> {
        let fingerprint = self.inner.identity.fingerprint();
        LocalParameters {
            ice,
            fingerprint,
            candidates: &self.inner.candidates[shard.position()],
            tcp_candidates: &[],
        }
    }

    fn transport(&self, local: &IceCredentials) -> Transport {
        Transport::new(self.inner.identity.clone(), local.clone(), io::now())
    }

    fn send(&self, shard: ShardIx, command: Command) -> Result<(), PlaneError> {
        self.inner.shards[shard.position()]
            .send(command)
            .map_err(|_| PlaneError::Busy)
    }

    /// Exports a track to a shard, once per shard.
    fn import(
        &self,
        tracks: &mut std::collections::HashMap<TrackId, TrackEntry>,
        track: TrackId,
        shard: ShardIx,
    ) -> Result<(), PlaneError> {
        let entry = tracks.get_mut(&track).ok_or(PlaneError::NoTrack(track))?;
        if entry.shard == shard || entry.imported.contains(&shard) {
            return Ok(());
        }
        let (sink, source) = rtrb::RingBuffer::new(RELAY_QUEUE);
        let (codec, layers, owner) = (entry.codec, entry.layers, entry.shard);
        self.send(
            shard,
            Command::Import {
                track,
                codec,
                layers,
                owner,
                source,
            },
        )?;
        self.send(owner, Command::Export { track, shard, sink })?;
        entry.imported.insert(shard);
        Ok(())
    }

    /// Removes a closed peer from the directory, and its tracks from the shards that imported them.
    fn remove_peer(&self, peer: PeerId) {
        let removed = self.inner.directory.lock().remove_peer(peer);
        for (track, entry) in removed.into_iter().flat_map(|(_, tracks)| tracks) {
            for shard in entry.imported {
                self.inner.shards[shard.position()].send_blocking(Command::RemoveImport { track });
            }
        }
    }
}

fn track_of(peer: PeerId, id: TrackId, media: &sdp::PublishedMedia) -> Track {
    let layers = media
        .rids
        .len()
        .max(media.sources.len())
        .clamp(1, MAX_LAYERS) as u8;
    Track {
        id,
        peer,
        kind: media.kind,
        mid: media.mid.clone(),
        codec: media.codec,
        layers,
    }
}

fn offered(slots: &[SlotEntry]) -> Vec<OfferedSlot> {
    slots.iter().map(|slot| slot.offered.clone()).collect()
}

/// Appends a slot. The n-th audio and the n-th video slot form a MediaStream, so that the receiver
/// synchronizes them.
fn add_slot(slots: &mut Vec<SlotEntry>, kind: MediaKind) {
    let nth = slots
        .iter()
        .filter(|slot| slot.offered.kind == kind)
        .count();
    let (ssrc, rtx_ssrc) = Directory::unused_ssrcs(slots, || io::rng().random());
    let mid = slots.len().to_string();
    let outgoing = OutgoingStream {
        ssrc,
        rtx_ssrc,
        stream: format!("stream-{nth}"),
        track: format!("{}-{nth}", kind.name()),
    };
    slots.push(SlotEntry {
        mid,
        offered: OfferedSlot { kind, outgoing },
        types: None,
        track: None,
    });
}

/// Makes a slot without payload types; they come with the answer.
fn slot_spec(slot: &SlotEntry) -> SlotSpec {
    SlotSpec {
        mid: slot.mid.clone(),
        forwarder: forwarder_config(&slot.offered.outgoing, PayloadTypes::default(), None),
    }
}

fn player_slot(media: &SubscribedMedia) -> SlotEntry {
    let offered = OfferedSlot {
        kind: media.kind,
        outgoing: media.outgoing.clone(),
    };
    SlotEntry {
        mid: media.mid.clone(),
        offered,
        types: Some(PayloadTypes::from_answer(media)),
        track: None,
    }
}

fn player_spec(media: &SubscribedMedia) -> SlotSpec {
    let forwarder = forwarder_config(
        &media.outgoing,
        PayloadTypes::from_answer(media),
        media.extensions.transport_cc,
    );
    SlotSpec {
        mid: media.mid.clone(),
        forwarder,
    }
}

fn forwarder_config(
    outgoing: &OutgoingStream,
    types: PayloadTypes,
    twcc_id: Option<u8>,
) -> ForwarderConfig {
    let mut rng = io::rng();
    ForwarderConfig {
        ssrc: outgoing.ssrc.0,
        rtx_ssrc: outgoing.rtx_ssrc.0,
        types,
        twcc_id,
        first_seq: rng.random::<u16>() >> 1,
        first_rtx_seq: rng.random::<u16>() >> 1,
        first_time: rng.random(),
    }
}

fn assignment_of(
    slot: &SlotEntry,
    wanted: &[Wanted],
    tracks: &std::collections::HashMap<TrackId, TrackEntry>,
) -> Option<SlotAssignment> {
    let want = wanted.iter().find(|w| Some(w.track) == slot.track)?;
    let layers = tracks.get(&want.track)?.layers;
    Some(SlotAssignment {
        track: want.track,
        priority: want.priority,
        max_layer: highest_layer(layers, want.max_height),
    })
}

/// Returns the highest layer for a display height. Layers halve: of three, they have 180, 360 and
/// 720 lines. A tile gets the next larger layer once it is displayed at 1.5 times the height of the
/// smaller one.
fn highest_layer(layers: usize, height: Option<u16>) -> u8 {
    let top = layers.saturating_sub(1);
    let Some(height) = height else {
        return top as u8;
    };
    let mut lines = 720 >> top;
    let mut layer = 0;
    while layer < top && u32::from(height) * 2 > lines * 3 {
        lines *= 2;
        layer += 1;
    }
    layer as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_tile_gets_the_lowest_layer_and_full_screen_the_highest() {
        assert_eq!(highest_layer(3, Some(180)), 0);
        assert_eq!(highest_layer(3, Some(360)), 1);
        assert_eq!(highest_layer(3, Some(768)), 2);
        assert_eq!(highest_layer(3, None), 2);
        assert_eq!(highest_layer(1, Some(90)), 0);
    }

    #[test]
    fn audio_and_video_slots_form_streams() {
        let mut slots = Vec::new();
        for kind in [MediaKind::Audio, MediaKind::Video, MediaKind::Video] {
            add_slot(&mut slots, kind);
        }
        let streams: Vec<_> = slots
            .iter()
            .map(|slot| slot.offered.outgoing.stream.as_str())
            .collect();
        assert_eq!(streams, ["stream-0", "stream-0", "stream-1"]);
    }
}
