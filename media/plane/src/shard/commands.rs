//! Commands of the plane: they add and remove peers, tracks and subscriptions.

use std::time::Instant;

use super::peer::{Formats, Peer, PublishedTrack, Publisher, Role, Slot, Subscriber};
use super::track::{Origin, ShardTrack};
use super::{Pass, Shard};
use crate::command::{Command, RelayBody, RelayItem, SlotAssignment, SlotSpec};
use crate::ids::{LessonId, PeerId, TrackId};
use crate::index::{MediaIx, PeerIx, ShardIx, SlotIx, TrackIx};
use crate::publish::track::{ClockReport, Track};
use crate::publish::twcc::FeedbackGenerator;
use crate::sdp::{PublishedMedia, SubscribedMedia};
use crate::stats::Counters;
use crate::subscribe::forwarder::{Forwarder, PayloadTypes};
use crate::transport::{RemoteParameters, Transport};

/// Maximum number of items read from one import queue per batch: one busy track must not starve the
/// others.
const IMPORT_BATCH: usize = 256;

impl Shard {
    /// Executes a command. A command for a peer or track that was just removed does nothing.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::AddPublisher {
                peer,
                lesson,
                transport,
                media,
            } => self.add_publisher(now, peer, lesson, transport, media),
            Command::AddSubscriber {
                peer,
                lesson,
                transport,
                slots,
            } => self.add_subscriber(now, peer, lesson, transport, slots),
            Command::AddSlots { peer, slots } => self.add_slots(peer, slots),
            Command::Accept {
                peer,
                remote,
                media,
            } => self.accept(now, peer, remote, &media),
            Command::RestartIce {
                peer,
                local,
                remote,
            } => self.with_peer(peer, |shard, peer_ix| {
                shard.by_ufrag.insert(local.ufrag.clone(), peer_ix);
                let transport = &mut shard.peers[peer_ix].transport;
                transport.restart_ice(now, local);
                if let Some(remote) = remote {
                    transport.set_remote_ice(remote);
                }
                shard.drain_transport(now, peer_ix);
            }),
            Command::Handshake { peer, progress } => self.with_peer(peer, |shard, peer_ix| {
                shard.peers[peer_ix]
                    .transport
                    .handle_handshake(now, *progress);
                shard.drain_transport(now, peer_ix);
            }),
            Command::Assign { peer, slots } => {
                self.with_peer(peer, |shard, peer_ix| shard.assign(now, peer_ix, &slots))
            }
            Command::Close { peer } => self.with_peer(peer, |shard, peer_ix| {
                shard.peers[peer_ix].transport.close(now);
                shard.drain_transport(now, peer_ix);
            }),
            Command::Tap { track, sink } => {
                self.with_track(track, |shard_track| shard_track.taps.push(sink))
            }
            Command::Keyframe { track, layer } => {
                self.with_track(track, |shard_track| match layer {
                    Some(layer) => shard_track.media.request_keyframe(layer),
                    None => (0..shard_track.media.layers.len() as u8)
                        .for_each(|layer| shard_track.media.request_keyframe(layer)),
                })
            }
            Command::Export { track, shard, sink } => {
                self.with_track(track, |shard_track| shard_track.add_export(shard, sink))
            }
            Command::Import {
                track,
                codec,
                layers,
                owner,
                source,
            } => {
                let track_ix = self.tracks.insert(ShardTrack::new(
                    Track::new(track, codec, layers),
                    Origin::Remote { owner, source },
                ));
                self.by_track.insert(track, track_ix);
                self.report_members();
            }
            Command::RemoveImport { track } => {
                if let Some(track_ix) = self.by_track.get(&track).copied() {
                    self.remove_track(track_ix);
                }
            }
        }
        if self.next_tick.is_none() && !self.peers.is_empty() {
            self.next_tick = Some(now + super::TICK);
        }
    }

    /// Stores the packets that other shards relayed.
    pub fn handle_imports(&mut self) {
        for track_ix in (0..self.tracks.capacity()).map(TrackIx::new) {
            if let Some(track) = self.tracks.get_mut(track_ix)
                && track.read_imports(&self.counters)
            {
                self.mark_fresh(track_ix);
            }
        }
    }

    fn with_peer(&mut self, peer: PeerId, act: impl FnOnce(&mut Shard, PeerIx)) {
        if let Some(peer_ix) = self.by_peer.get(&peer).copied() {
            act(self, peer_ix);
        }
    }

    fn with_track(&mut self, track: TrackId, act: impl FnOnce(&mut ShardTrack)) {
        if let Some(track_ix) = self.by_track.get(&track).copied() {
            act(&mut self.tracks[track_ix]);
        }
    }

    fn add_publisher(
        &mut self,
        now: Instant,
        peer: PeerId,
        lesson: LessonId,
        transport: Box<Transport>,
        media: Vec<(TrackId, PublishedMedia)>,
    ) {
        let peer_ix = self.peers.vacant_index();
        let mut published = Vec::with_capacity(media.len());
        for (position, (id, media)) in media.into_iter().enumerate() {
            let layers = media.rids.len().max(media.sources.len());
            let origin = Origin::Local {
                peer: peer_ix,
                media: MediaIx::new(position),
            };
            let track = self
                .tracks
                .insert(ShardTrack::new(Track::new(id, media.codec, layers), origin));
            self.by_track.insert(id, track);
            let formats = Formats {
                codec: media.codec,
                media: media.pt,
                rtx: media.rtx_pt,
                red: media.red_pt,
            };
            published.push(PublishedTrack {
                track,
                formats,
                media,
            });
        }
        let publisher = Publisher::new(published, FeedbackGenerator::new(now));
        self.add_peer(
            peer,
            lesson,
            transport,
            Role::Publisher(Box::new(publisher)),
        );
    }

    fn add_subscriber(
        &mut self,
        now: Instant,
        peer: PeerId,
        lesson: LessonId,
        transport: Box<Transport>,
        slots: Vec<SlotSpec>,
    ) {
        let subscriber = Subscriber::new(now);
        self.add_peer(
            peer,
            lesson,
            transport,
            Role::Subscriber(Box::new(subscriber)),
        );
        self.add_slots(peer, slots);
    }

    fn add_peer(&mut self, id: PeerId, lesson: LessonId, transport: Box<Transport>, role: Role) {
        let ufrag = transport.local().ufrag.clone();
        let peer = Peer {
            send: None,
            id,
            lesson,
            transport,
            inbound: None,
            rtcp: None,
            role,
        };
        let publishes = matches!(peer.role, Role::Publisher(_));
        let peer_ix = self.peers.insert(peer);
        if publishes {
            self.publishers.push(peer_ix);
        }
        self.by_ufrag.insert(ufrag, peer_ix);
        self.by_peer.insert(id, peer_ix);
        self.report_members();
    }

    fn add_slots(&mut self, peer: PeerId, specs: Vec<SlotSpec>) {
        let Some(peer_ix) = self.by_peer.get(&peer).copied() else {
            return;
        };
        let Role::Subscriber(subscriber) = &mut self.peers[peer_ix].role else {
            return;
        };
        for spec in specs {
            let slot_ix = SlotIx::new(subscriber.slots.len());
            subscriber.add_slot(Slot::new(
                spec.mid,
                Forwarder::new(peer_ix, slot_ix, spec.forwarder),
            ));
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        peer: PeerId,
        remote: RemoteParameters,
        media: &[SubscribedMedia],
    ) {
        let Some(peer_ix) = self.by_peer.get(&peer).copied() else {
            return;
        };
        self.peers[peer_ix].transport.set_remote(now, remote);
        for (position, media) in media.iter().enumerate() {
            let (types, twcc) = (
                PayloadTypes::from_answer(media),
                media.extensions.transport_cc,
            );
            if let Some(forwarder) = self.forwarder_mut(peer_ix, SlotIx::new(position)) {
                forwarder.set_types(types, twcc);
            }
        }
        self.drain_transport(now, peer_ix);
    }

    /// Returns the output stream of an attached or detached slot.
    fn forwarder_mut(&mut self, peer_ix: PeerIx, slot_ix: SlotIx) -> Option<&mut Forwarder> {
        let Role::Subscriber(subscriber) = &mut self.peers[peer_ix].role else {
            return None;
        };
        let slot = subscriber.slots.get_mut(slot_ix.position())?;
        match slot.track {
            None => slot.detached.as_mut(),
            Some(track) => self.tracks.get_mut(track)?.fanout.get_mut(peer_ix, slot_ix),
        }
    }

    fn assign(&mut self, now: Instant, peer_ix: PeerIx, assigned: &[Option<SlotAssignment>]) {
        let Role::Subscriber(subscriber) = &mut self.peers[peer_ix].role else {
            return;
        };
        let count = subscriber.slots.len();
        for slot_ix in (0..count).map(SlotIx::new) {
            let Role::Subscriber(subscriber) = &mut self.peers[peer_ix].role else {
                return;
            };
            let slot = &mut subscriber.slots[slot_ix.position()];
            slot.assigned = assigned.get(slot_ix.position()).copied().flatten();
            let wanted = slot
                .assigned
                .and_then(|assigned| self.by_track.get(&assigned.track).copied());
            if slot.track != wanted {
                subscriber.reset_allocation(slot_ix);
                self.detach(peer_ix, slot_ix);
                self.attach(peer_ix, slot_ix);
            }
        }
        self.allocate(now, peer_ix);
    }

    /// Attaches all assigned slots of a peer that has just connected.
    pub(super) fn attach_all(&mut self, now: Instant, peer_ix: PeerIx) {
        let Role::Subscriber(subscriber) = &self.peers[peer_ix].role else {
            return;
        };
        for slot_ix in (0..subscriber.slots.len()).map(SlotIx::new) {
            self.attach(peer_ix, slot_ix);
        }
        self.allocate(now, peer_ix);
    }

    fn attach(&mut self, peer_ix: PeerIx, slot_ix: SlotIx) {
        let peer = &mut self.peers[peer_ix];
        let (Some(_), Role::Subscriber(subscriber)) = (&peer.send, &mut peer.role) else {
            return;
        };
        let slot = &mut subscriber.slots[slot_ix.position()];
        let Some(track) = slot
            .assigned
            .and_then(|assigned| self.by_track.get(&assigned.track).copied())
        else {
            return;
        };
        let Some(forwarder) = slot.detached.take() else {
            return;
        };
        slot.track = Some(track);
        self.tracks[track].fanout.insert(forwarder);
        // A late joiner may be served from the ring before the next packet arrives.
        self.mark_fresh(track);
    }

    fn detach(&mut self, peer_ix: PeerIx, slot_ix: SlotIx) {
        let Role::Subscriber(subscriber) = &mut self.peers[peer_ix].role else {
            return;
        };
        let slot = &mut subscriber.slots[slot_ix.position()];
        let Some(track) = slot.track.take() else {
            return;
        };
        if let Some(mut forwarder) = self.tracks[track].fanout.remove(peer_ix, slot_ix) {
            forwarder.detach();
            slot.detached = Some(forwarder);
        }
    }

    /// Drops the output streams of a removed subscriber.
    pub(super) fn detach_all(&mut self, peer_ix: PeerIx) {
        for track in self.tracks.values_mut() {
            track.fanout.remove_peer(peer_ix);
        }
    }

    /// Removes a track and detaches the slots it was assigned to.
    pub(super) fn remove_track(&mut self, track_ix: TrackIx) {
        let Some(mut track) = self.tracks.try_remove(track_ix) else {
            return;
        };
        self.by_track.remove(&track.media.id);
        self.fresh.retain(|fresh| *fresh != track_ix);
        self.pass = Pass::default();
        for mut forwarder in track.fanout.drain() {
            forwarder.detach();
            let (peer_ix, slot_ix) = (forwarder.peer, forwarder.slot);
            if let Some(Peer {
                role: Role::Subscriber(subscriber),
                ..
            }) = self.peers.get_mut(peer_ix)
                && let Some(slot) = subscriber.slots.get_mut(slot_ix.position())
            {
                (slot.track, slot.detached, slot.assigned) = (None, Some(forwarder), None);
            }
        }
        self.report_members();
    }

    pub(super) fn report_members(&self) {
        let publishers = self
            .peers
            .values()
            .filter(|peer| matches!(peer.role, Role::Publisher(_)))
            .count();
        Counters::set(&self.counters.publishers, publishers as u64);
        Counters::set(
            &self.counters.subscribers,
            (self.peers.len() - publishers) as u64,
        );
        Counters::set(&self.counters.tracks, self.tracks.len() as u64);
        self.report_ring_memory();
    }
}

impl ShardTrack {
    fn add_export(&mut self, shard: ShardIx, sink: rtrb::Producer<RelayItem>) {
        self.exports.retain(|(_, sink)| !sink.is_abandoned());
        self.exports.push((shard, sink));
    }

    /// Stores the items that the owner relayed. Returns true if there was a new packet.
    fn read_imports(&mut self, counters: &Counters) -> bool {
        let mut fresh = false;
        for _ in 0..IMPORT_BATCH {
            let Origin::Remote { source, .. } = &mut self.origin else {
                return false;
            };
            let Ok(RelayItem { layer, body }) = source.pop() else {
                break;
            };
            match body {
                RelayBody::Packet { meta, payload } => {
                    let new = self
                        .media
                        .insert(layer, meta, &payload[..usize::from(meta.len)]);
                    if new {
                        self.relay_packet(layer, meta.seq, counters);
                    }
                    fresh |= new;
                }
                RelayBody::Clock {
                    ntp,
                    rtp_time,
                    arrival,
                } => {
                    self.set_clock(
                        layer,
                        ClockReport {
                            ntp,
                            rtp_time,
                            arrival,
                        },
                        counters,
                    );
                }
                RelayBody::Restart => self.restart_layer(layer, counters),
            }
        }
        fresh
    }
}
