//! Simulated lesson in virtual time: real shards, clients of [`crate::support`], and a seeded
//! network with loss, duplication, reordering, delay and bandwidth limits. A minute of lesson takes
//! a second.

mod link;
mod publisher;
mod subscriber;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tongke_plane::command::{Command, Event, SlotAssignment, SlotSpec};
use tongke_plane::ids::Ssrc;
use tongke_plane::index::ShardIx;
use tongke_plane::rtp::WallClock;
use tongke_plane::sdp::OutgoingStream;
use tongke_plane::shard::Shard;
use tongke_plane::stats::{Counters, Stats};
use tongke_plane::subscribe::arena::SendArena;
use tongke_plane::subscribe::forwarder::{ForwarderConfig, PayloadTypes};
use tongke_plane::transport::{IceCredentials, Identity, Path, Transport};
use tongke_plane::{Codec, LessonId, MediaKind, PeerId, Priority, TrackId};

use crate::allocations;
use crate::support::{Client, TWCC_ID, payload_type, published, start_of_time, subscribed};
use link::Link;
pub(crate) use link::LinkSpec;
pub(crate) use publisher::{PAGE_INTERVAL, Publisher, SourceKind};
pub(crate) use subscriber::Subscriber;

/// Step of virtual time.
const STEP: Duration = Duration::from_millis(5);

/// One lesson with its shards, clients and links.
pub(crate) struct Simulation {
    pub(crate) now: Instant,
    start: Instant,
    rng: StdRng,
    identity: Arc<Identity>,
    shards: Vec<(Shard, Arc<Counters>)>,
    /// Shard of each peer.
    shard_of: HashMap<PeerId, usize>,
    publishers: HashMap<PeerId, (Publisher, Link)>,
    subscribers: HashMap<PeerId, (Subscriber, Link)>,
    /// Events with their time since the start.
    pub(crate) events: Vec<(Duration, Event)>,
    /// Allocations of the shards while receiving media and writing packets.
    pub(crate) allocations: u64,
    last_peer: u64,
}

impl Simulation {
    /// Creates a lesson with `shards` media threads. `seed` determines all randomness and is
    /// printed.
    pub(crate) fn new(seed: u64, shards: usize) -> Simulation {
        println!("seed {seed}");
        let now = start_of_time();
        let wall = WallClock::new(now, Duration::from_secs(1_800_000_000));
        let shards = (0..shards).map(|index| {
            let counters = Arc::new(Counters::default());
            (
                Shard::new(
                    ShardIx::new(index),
                    counters.clone(),
                    wall,
                    Ssrc(index as u32 + 1),
                ),
                counters,
            )
        });
        Simulation {
            now,
            start: now,
            rng: StdRng::seed_from_u64(seed),
            identity: Arc::new(Identity::generate().expect("a certificate")),
            shards: shards.collect(),
            shard_of: HashMap::new(),
            publishers: HashMap::new(),
            subscribers: HashMap::new(),
            events: Vec::new(),
            allocations: 0,
            last_peer: 0,
        }
    }

    /// Adds a publisher with `layers` of one codec; its only track has the number of its peer.
    pub(crate) fn publish(
        &mut self,
        shard: usize,
        codec: Codec,
        layers: usize,
        link: LinkSpec,
    ) -> TrackId {
        self.publish_source(shard, codec, SourceKind::Camera, layers, link)
    }

    /// Adds a publisher of a shared screen in two layers.
    pub(crate) fn publish_screen(&mut self, shard: usize, link: LinkSpec) -> TrackId {
        self.publish_source(shard, Codec::H264, SourceKind::Screen, 2, link)
    }

    fn publish_source(
        &mut self,
        shard: usize,
        codec: Codec,
        source_kind: SourceKind,
        layers: usize,
        link: LinkSpec,
    ) -> TrackId {
        let (peer, transport, client) = self.new_peer();
        let track = TrackId(peer.0);
        let publisher = Publisher::new(client, codec, source_kind, layers, self.now);
        let kind = if codec == Codec::Opus {
            MediaKind::Audio
        } else {
            MediaKind::Video
        };
        let media = vec![(track, published(kind, codec, &publisher.sources()))];
        self.command(
            shard,
            Command::AddPublisher {
                peer,
                lesson: LessonId(1),
                transport,
                media,
            },
        );
        self.shard_of.insert(peer, shard);
        self.publishers.insert(peer, (publisher, Link::new(link)));
        track
    }

    /// Adds a subscriber with one slot for each entry of `slots`.
    pub(crate) fn subscribe(
        &mut self,
        shard: usize,
        slots: &[MediaKind],
        link: LinkSpec,
    ) -> PeerId {
        let (peer, transport, client) = self.new_peer();
        let remote = client.parameters();
        let specs = (0..slots.len()).map(|nth| slot_spec(peer, nth)).collect();
        self.command(
            shard,
            Command::AddSubscriber {
                peer,
                lesson: LessonId(1),
                transport,
                slots: specs,
            },
        );
        let media = slots
            .iter()
            .enumerate()
            .map(|(nth, kind)| subscribed(nth, *kind, outgoing(peer, nth)))
            .collect();
        self.command(
            shard,
            Command::Accept {
                peer,
                remote,
                media,
            },
        );
        self.shard_of.insert(peer, shard);
        self.subscribers
            .insert(peer, (Subscriber::new(client, self.now), Link::new(link)));
        peer
    }

    /// Assigns a track, its priority and its highest layer to each slot of a subscriber.
    pub(crate) fn show(&mut self, peer: PeerId, shown: &[(TrackId, Priority, u8)]) {
        let shard = self.shard_of[&peer];
        for (track, ..) in shown {
            self.import(*track, shard);
        }
        let slots = shown.iter().map(|(track, priority, max_layer)| {
            Some(SlotAssignment {
                track: *track,
                priority: *priority,
                max_layer: *max_layer,
            })
        });
        self.command(
            shard,
            Command::Assign {
                peer,
                slots: slots.collect(),
            },
        );
    }

    /// Advances the time.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.step();
        }
    }

    /// Time since the start of the lesson.
    pub(crate) fn at(&self) -> Duration {
        self.now - self.start
    }

    /// Returns a subscriber with its received streams.
    pub(crate) fn subscriber(&self, peer: PeerId) -> &Subscriber {
        &self.subscribers[&peer].0
    }

    /// Returns the time of a track's first frame and its frame interval.
    pub(crate) fn frame_timing(&self, track: TrackId) -> (Instant, Duration) {
        let (publisher, _) = &self.publishers[&PeerId(track.0)];
        (
            publisher.first_frame.expect("it publishes"),
            publisher.period(),
        )
    }

    /// Discards the packets that a subscriber has received so far.
    pub(crate) fn reset_measurements(&mut self, peer: PeerId) {
        self.subscribers
            .get_mut(&peer)
            .expect("a subscriber")
            .0
            .clear();
    }

    /// Changes the link of a peer.
    pub(crate) fn set_link(&mut self, peer: PeerId, spec: LinkSpec) {
        let link = match self.publishers.get_mut(&peer) {
            Some((_, link)) => link,
            None => &mut self.subscribers.get_mut(&peer).expect("a peer").1,
        };
        link.spec = spec;
    }

    pub(crate) fn stats(&self, shard: usize) -> Stats {
        self.shards[shard].1.snapshot()
    }

    /// Returns the time at which a peer was closed.
    pub(crate) fn closed_at(&self, peer: PeerId) -> Option<Duration> {
        let is_it = |event: &Event| matches!(event, Event::PeerClosed { peer: closed, .. } if *closed == peer);
        self.events
            .iter()
            .find(|(_, event)| is_it(event))
            .map(|(at, _)| *at)
    }

    fn new_peer(&mut self) -> (PeerId, Box<Transport>, Client) {
        self.last_peer += 1;
        let peer = PeerId(self.last_peer);
        let ice = IceCredentials {
            ufrag: format!("server{:06}", peer.0),
            pwd: "the server's password of 22+".into(),
        };
        let address = SocketAddr::from(([10, 1, (peer.0 >> 8) as u8, peer.0 as u8], 5_000));
        let client = Client::new(self.now, address, ice.clone());
        let mut transport = Box::new(Transport::new(self.identity.clone(), ice, self.now));
        transport.set_remote(self.now, client.parameters());
        (peer, transport, client)
    }

    fn command(&mut self, shard: usize, command: Command) {
        let now = self.now;
        self.shards[shard].0.handle_command(now, command);
    }

    fn import(&mut self, track: TrackId, shard: usize) {
        let owner = self.shard_of[&PeerId(track.0)];
        let (publisher, _) = &mut self
            .publishers
            .get_mut(&PeerId(track.0))
            .expect("a track of a publisher");
        if owner == shard || !publisher.imported.insert(shard) {
            return;
        }
        let (codec, layers) = (publisher.codec, publisher.sources().len());
        let (sink, source) = rtrb::RingBuffer::new(1_024);
        self.command(
            shard,
            Command::Import {
                track,
                codec,
                layers,
                owner: ShardIx::new(owner),
                source,
            },
        );
        let shard = ShardIx::new(shard);
        self.command(owner, Command::Export { track, shard, sink });
    }

    fn step(&mut self) {
        let now = self.now;
        for (peer, (publisher, link)) in &mut self.publishers {
            let at = self.shard_of[peer];
            let address = publisher.client.address;
            for datagram in publisher.poll(now, self.start) {
                link.up(now, datagram, &mut self.rng);
            }
            for mut datagram in link.arrived_up(now) {
                let is_media = datagram[0] >= 128 && !tongke_plane::rtp::is_rtcp(&datagram);
                let shard = &mut self.shards[at].0;
                let ((), made) = allocations::during(|| {
                    shard.handle_datagram(now, Path::udp(address), &mut datagram)
                });
                self.allocations += if is_media { made } else { 0 };
            }
        }
        for (peer, (subscriber, link)) in &mut self.subscribers {
            let at = self.shard_of[peer];
            let address = subscriber.client.address;
            for datagram in subscriber.poll(now) {
                link.up(now, datagram, &mut self.rng);
            }
            for mut datagram in link.arrived_up(now) {
                self.shards[at]
                    .0
                    .handle_datagram(now, Path::udp(address), &mut datagram);
            }
        }
        self.run_shards();
        for (publisher, link) in self.publishers.values_mut() {
            for datagram in link.arrived_down(now) {
                publisher.handle(now, datagram);
            }
        }
        for (subscriber, link) in self.subscribers.values_mut() {
            for datagram in link.arrived_down(now) {
                subscriber.handle(now, datagram);
            }
        }
        self.now += STEP;
    }

    fn run_shards(&mut self) {
        let now = self.now;
        let mut requests = Vec::new();
        let mut arena = SendArena::new();
        for (shard, _) in &mut self.shards {
            while let Some((peer, step)) = shard.poll_handshake() {
                shard.handle_command(
                    now,
                    Command::Handshake {
                        peer,
                        progress: Box::new(step.run()),
                    },
                );
            }
            shard.handle_imports();
            shard.handle_timeout(now);
            loop {
                let (more, made) = allocations::during(|| shard.poll_output(now, &mut arena));
                self.allocations += made;
                for (to, datagram) in arena.datagrams() {
                    let publisher = self
                        .publishers
                        .values_mut()
                        .find(|(p, _)| p.client.address == to.remote)
                        .map(|(_, link)| link);
                    let subscriber = self
                        .subscribers
                        .values_mut()
                        .find(|(s, _)| s.client.address == to.remote)
                        .map(|(_, link)| link);
                    let link = publisher.or(subscriber).expect("datagrams go to peers");
                    link.down(now, datagram.to_vec(), &mut self.rng);
                }
                arena.clear();
                if !more {
                    break;
                }
            }
            let _ = shard.take_wakes();
            requests.extend(std::iter::from_fn(|| shard.poll_request()));
            let at = now - self.start;
            self.events
                .extend(std::iter::from_fn(|| shard.poll_event()).map(|event| (at, event)));
        }
        for (shard, request) in requests {
            self.command(shard.position(), request);
        }
    }
}

fn outgoing(peer: PeerId, nth: usize) -> OutgoingStream {
    let ssrc = 1_000_000 + peer.0 as u32 * 100 + nth as u32 * 2;
    OutgoingStream {
        ssrc: Ssrc(ssrc),
        rtx_ssrc: Ssrc(ssrc + 1),
        stream: "s".into(),
        track: format!("t{nth}"),
    }
}

fn slot_spec(peer: PeerId, nth: usize) -> SlotSpec {
    let outgoing = outgoing(peer, nth);
    let mut types = PayloadTypes::default();
    for codec in [Codec::Opus, Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1] {
        types.set(codec, payload_type(codec), Some(payload_type(codec) + 1));
    }
    let forwarder = ForwarderConfig {
        ssrc: outgoing.ssrc.0,
        rtx_ssrc: outgoing.rtx_ssrc.0,
        types,
        twcc_id: Some(TWCC_ID),
        // Near the wrap-around, so that every test covers it.
        first_seq: 32_700,
        first_rtx_seq: 32_700,
        first_time: u32::MAX - 90_000,
    };
    SlotSpec {
        mid: nth.to_string(),
        forwarder,
    }
}
