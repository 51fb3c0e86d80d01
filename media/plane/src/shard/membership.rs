//! Who is here: commands of the handle that bring and take peers, tracks and subscriptions.

use std::time::Instant;

use super::hosted::{Hosted, Origin};
use super::peer::{Formats, Peer, Published, Publisher, Role, Slot, Subscriber};
use super::{Pass, Shard};
use crate::command::{Command, Relayed, RelayedBody, Shown, SlotSpec};
use crate::ids::{LessonId, PeerId, TrackId};
use crate::index::{MediaIx, PeerIx, ShardIx, SlotIx, TrackIx};
use crate::publish::track::{ClockReport, Track};
use crate::publish::twcc::FeedbackGenerator;
use crate::sdp::{PublishedMedia, SubscribedMedia};
use crate::stats::Counters;
use crate::subscribe::forward::{Forward, PayloadTypes};
use crate::transport::{RemoteParameters, Transport};

/// Packets taken from another shard's link in one go, so that one busy track does not starve the rest.
const IMPORT_BATCH: usize = 256;

impl Shard {
    /// Carries out a command. One about a peer or track that is gone does nothing: its closing crossed the command.
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
            } => self.with_peer(peer, |shard, at| {
                shard.by_ufrag.insert(local.ufrag.clone(), at);
                let transport = &mut shard.peers[at].transport;
                transport.restart_ice(now, local);
                if let Some(remote) = remote {
                    transport.set_remote_ice(remote);
                }
                shard.drain_transport(now, at);
            }),
            Command::Handshake { peer, progress } => self.with_peer(peer, |shard, at| {
                shard.peers[at].transport.handle_handshake(now, *progress);
                shard.drain_transport(now, at);
            }),
            Command::Assign { peer, slots } => {
                self.with_peer(peer, |shard, at| shard.assign(now, at, &slots))
            }
            Command::Close { peer } => self.with_peer(peer, |shard, at| {
                shard.peers[at].transport.close(now);
                shard.drain_transport(now, at);
            }),
            Command::Tap { track, sink } => self.with_track(track, |hosted| hosted.taps.push(sink)),
            Command::Keyframe { track, layer } => self.with_track(track, |hosted| match layer {
                Some(layer) => hosted.track.want_keyframe(layer),
                None => (0..hosted.track.layers.len() as u8)
                    .for_each(|layer| hosted.track.want_keyframe(layer)),
            }),
            Command::Export { track, shard, sink } => {
                self.with_track(track, |hosted| hosted.export_to(shard, sink))
            }
            Command::Import {
                track,
                codec,
                layers,
                owner,
                source,
            } => {
                let at = self.tracks.insert(Hosted::new(
                    Track::new(track, codec, layers),
                    Origin::Remote { owner, source },
                ));
                self.by_track.insert(track, at);
                self.count_members();
            }
            Command::Forget { track } => {
                if let Some(at) = self.by_track.get(&track).copied() {
                    self.remove_track(at);
                }
            }
        }
        if self.next_tick.is_none() && !self.peers.is_empty() {
            self.next_tick = Some(now + super::TICK);
        }
    }

    /// Takes in what other shards sent over.
    pub fn handle_imports(&mut self) {
        for at in (0..self.tracks.capacity()).map(TrackIx::new) {
            if let Some(hosted) = self.tracks.get_mut(at)
                && hosted.take_imports(&self.counters)
            {
                self.mark_fresh(at);
            }
        }
    }

    fn with_peer(&mut self, peer: PeerId, act: impl FnOnce(&mut Shard, PeerIx)) {
        if let Some(at) = self.by_peer.get(&peer).copied() {
            act(self, at);
        }
    }

    fn with_track(&mut self, track: TrackId, act: impl FnOnce(&mut Hosted)) {
        if let Some(at) = self.by_track.get(&track).copied() {
            act(&mut self.tracks[at]);
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
        let at = self.peers.vacant_index();
        let mut published = Vec::with_capacity(media.len());
        for (nth, (id, media)) in media.into_iter().enumerate() {
            let layers = media.rids.len().max(media.sources.len());
            let origin = Origin::Local {
                peer: at,
                media: MediaIx::new(nth),
            };
            let track = self
                .tracks
                .insert(Hosted::new(Track::new(id, media.codec, layers), origin));
            self.by_track.insert(id, track);
            let formats = Formats {
                codec: media.codec,
                media: media.pt,
                rtx: media.rtx_pt,
                red: media.red_pt,
            };
            published.push(Published {
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
            line: None,
            id,
            lesson,
            transport,
            inbound: None,
            rtcp: None,
            role,
        };
        let publishes = matches!(peer.role, Role::Publisher(_));
        let at = self.peers.insert(peer);
        if publishes {
            self.publishers.push(at);
        }
        self.by_ufrag.insert(ufrag, at);
        self.by_peer.insert(id, at);
        self.count_members();
    }

    fn add_slots(&mut self, peer: PeerId, specs: Vec<SlotSpec>) {
        let Some(at) = self.by_peer.get(&peer).copied() else {
            return;
        };
        let Role::Subscriber(subscriber) = &mut self.peers[at].role else {
            return;
        };
        for spec in specs {
            let nth = SlotIx::new(subscriber.slots.len());
            subscriber.add_slot(Slot::new(spec.mid, Forward::new(at, nth, spec.forward)));
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        peer: PeerId,
        remote: RemoteParameters,
        media: &[SubscribedMedia],
    ) {
        let Some(at) = self.by_peer.get(&peer).copied() else {
            return;
        };
        self.peers[at].transport.set_remote(now, remote);
        for (nth, media) in media.iter().enumerate() {
            let (types, twcc) = (PayloadTypes::of(media), media.extensions.transport_cc);
            if let Some(forward) = self.forward_mut(at, SlotIx::new(nth)) {
                forward.set_types(types, twcc);
            }
        }
        self.drain_transport(now, at);
    }

    /// The outgoing stream of a slot, wherever it stands.
    fn forward_mut(&mut self, at: PeerIx, nth: SlotIx) -> Option<&mut Forward> {
        let Role::Subscriber(subscriber) = &mut self.peers[at].role else {
            return None;
        };
        let slot = subscriber.slots.get_mut(nth.position())?;
        match slot.track {
            None => slot.parked.as_mut(),
            Some(track) => self.tracks.get_mut(track)?.audience.get_mut(at, nth),
        }
    }

    fn assign(&mut self, now: Instant, at: PeerIx, shown: &[Option<Shown>]) {
        let Role::Subscriber(subscriber) = &mut self.peers[at].role else {
            return;
        };
        let count = subscriber.slots.len();
        for nth in (0..count).map(SlotIx::new) {
            let Role::Subscriber(subscriber) = &mut self.peers[at].role else {
                return;
            };
            let slot = &mut subscriber.slots[nth.position()];
            slot.shown = shown.get(nth.position()).copied().flatten();
            let wanted = slot
                .shown
                .and_then(|shown| self.by_track.get(&shown.track).copied());
            if slot.track != wanted {
                subscriber.renew_share(nth);
                self.detach(at, nth);
                self.attach(at, nth);
            }
        }
        self.allocate(now, at);
    }

    /// Attaches every slot that shows something; called when the line is ready.
    pub(super) fn attach_all(&mut self, now: Instant, at: PeerIx) {
        let Role::Subscriber(subscriber) = &self.peers[at].role else {
            return;
        };
        for nth in (0..subscriber.slots.len()).map(SlotIx::new) {
            self.attach(at, nth);
        }
        self.allocate(now, at);
    }

    fn attach(&mut self, at: PeerIx, nth: SlotIx) {
        let peer = &mut self.peers[at];
        let (Some(_), Role::Subscriber(subscriber)) = (&peer.line, &mut peer.role) else {
            return;
        };
        let slot = &mut subscriber.slots[nth.position()];
        let Some(track) = slot
            .shown
            .and_then(|shown| self.by_track.get(&shown.track).copied())
        else {
            return;
        };
        let Some(forward) = slot.parked.take() else {
            return;
        };
        slot.track = Some(track);
        self.tracks[track].audience.insert(forward);
        // A late joiner may be served from the ring at once, without waiting for the next packet.
        self.mark_fresh(track);
    }

    fn detach(&mut self, at: PeerIx, nth: SlotIx) {
        let Role::Subscriber(subscriber) = &mut self.peers[at].role else {
            return;
        };
        let slot = &mut subscriber.slots[nth.position()];
        let Some(track) = slot.track.take() else {
            return;
        };
        if let Some(mut forward) = self.tracks[track].audience.remove(at, nth) {
            forward.detach();
            slot.parked = Some(forward);
        }
    }

    /// Takes a removed subscriber's streams out of every track.
    pub(super) fn detach_all(&mut self, at: PeerIx) {
        for hosted in self.tracks.values_mut() {
            hosted.audience.remove_peer(at);
        }
    }

    /// Removes a track; the slots that showed it go dark.
    pub(super) fn remove_track(&mut self, track: TrackIx) {
        let Some(mut hosted) = self.tracks.try_remove(track) else {
            return;
        };
        self.by_track.remove(&hosted.track.id);
        self.fresh.retain(|at| *at != track);
        self.pass = Pass::default();
        for mut forward in hosted.audience.drain() {
            forward.detach();
            let (at, nth) = (forward.peer, forward.slot);
            if let Some(Peer {
                role: Role::Subscriber(subscriber),
                ..
            }) = self.peers.get_mut(at)
                && let Some(slot) = subscriber.slots.get_mut(nth.position())
            {
                (slot.track, slot.parked, slot.shown) = (None, Some(forward), None);
            }
        }
        self.count_members();
    }

    pub(super) fn count_members(&self) {
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
        self.gauge_rings();
    }
}

impl Hosted {
    fn export_to(&mut self, shard: ShardIx, sink: rtrb::Producer<Relayed>) {
        self.exports.retain(|(_, sink)| !sink.is_abandoned());
        self.exports.push((shard, sink));
    }

    /// Stores what the owner's shard sent over; true when something new came.
    fn take_imports(&mut self, counters: &Counters) -> bool {
        let mut fresh = false;
        for _ in 0..IMPORT_BATCH {
            let Origin::Remote { source, .. } = &mut self.origin else {
                return false;
            };
            let Ok(Relayed { layer, body }) = source.pop() else {
                break;
            };
            match body {
                RelayedBody::Packet { meta, payload } => {
                    let new = self
                        .track
                        .insert(layer, meta, &payload[..usize::from(meta.len)]);
                    if new {
                        self.relay_packet(layer, meta.seq, counters);
                    }
                    fresh |= new;
                }
                RelayedBody::Clock {
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
                RelayedBody::Restart => self.restart_layer(layer, counters),
            }
        }
        fresh
    }
}
