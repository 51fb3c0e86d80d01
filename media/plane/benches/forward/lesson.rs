//! The shard under test, its publisher and its subscribers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tongke_plane::command::{Command, SlotAssignment, SlotSpec};
use tongke_plane::ids::Ssrc;
use tongke_plane::index::ShardIx;
use tongke_plane::io::{MediaSocket, Sender};
use tongke_plane::publish::twcc::FeedbackGenerator;
use tongke_plane::rtp::WallClock;
use tongke_plane::rtp::rtcp::Compound;
use tongke_plane::sdp::OutgoingStream;
use tongke_plane::shard::Shard;
use tongke_plane::stats::Counters;
use tongke_plane::subscribe::arena::SendArena;
use tongke_plane::subscribe::forwarder::{ForwarderConfig, PayloadTypes};
use tongke_plane::tap::{self, Tap};
use tongke_plane::transport::{IceCredentials, Identity, Path, Transport};
use tongke_plane::{Codec, LessonId, MediaKind, PeerId, Priority, TrackId};

use crate::common::{counted, timed};
use crate::pace::Pace;
use crate::support::{
    Client, Packet, TWCC_ID, payload_type, published, start_of_time, subscribed, twcc_of,
};
use crate::{FRAMES_PER_BLOCK, Scenario};

const TRACK: TrackId = TrackId(1);

/// One in this many subscribers sends a NACK each tenth of a second; at 150 packets/s that is 1 %
/// loss.
const NACK_INTERVAL: usize = 7;

/// Shard with one publisher and N subscribers; packets arrive without a receiving socket.
pub(crate) struct Bench {
    scenario: Scenario,
    shard: Shard,
    counters: Arc<Counters>,
    now: Instant,
    publisher: Client,
    subscribers: Vec<Receiver>,
    /// The recorder's end of the tap; only in [`Scenario::Lesson`].
    tap: Option<Tap>,
    seqs: Vec<u64>,
    twcc: u16,
    frames: u32,
    sender: Sender,
    arena: SendArena,
    pub(crate) forwarded: u64,
    pub(crate) resent: u64,
}

struct Receiver {
    client: Client,
    feedback: FeedbackGenerator,
    /// Newest sequence number of the media stream.
    newest: u16,
}

impl Bench {
    pub(crate) fn new(scenario: Scenario, addresses: &[SocketAddr]) -> Bench {
        let now = start_of_time();
        let counters = Arc::new(Counters::default());
        let mut shard = Shard::new(
            ShardIx::new(0),
            counters.clone(),
            WallClock::new(now, Duration::from_secs(1_800_000_000)),
            Ssrc(1),
        );
        let identity = Arc::new(Identity::generate().expect("a certificate"));
        let lesson = LessonId(1);
        let transport = |n: usize| {
            let ice = IceCredentials {
                ufrag: format!("server{n:06}"),
                pwd: "the server's password of 22+".into(),
            };
            (
                Box::new(Transport::new(identity.clone(), ice.clone(), now)),
                ice,
            )
        };
        let (mut server, ice) = transport(0);
        let publisher = Client::new(now, "127.0.0.1:9".parse().expect("an address"), ice);
        server.set_remote(now, publisher.parameters());
        let layers = scenario.layers().len();
        let sources: Vec<_> = (0..layers as u32)
            .map(|layer| (1_000 + 2 * layer, 1_001 + 2 * layer))
            .collect();
        let media = vec![(TRACK, published(kind(scenario), scenario.codec(), &sources))];
        shard.handle_command(
            now,
            Command::AddPublisher {
                peer: PeerId(1),
                lesson,
                transport: server,
                media,
            },
        );
        let tap = (scenario == Scenario::Lesson).then(|| {
            let (sink, tap) = tap::channel(MediaKind::Video);
            shard.handle_command(now, Command::Tap { track: TRACK, sink });
            tap
        });
        let mut subscribers = Vec::new();
        for (n, address) in addresses.iter().enumerate() {
            let (server, ice) = transport(n + 1);
            let client = Client::new(now, *address, ice);
            let peer = PeerId(n as u64 + 2);
            let ssrc = ssrc(n);
            shard.handle_command(
                now,
                Command::AddSubscriber {
                    peer,
                    lesson,
                    transport: server,
                    slots: vec![slot(ssrc)],
                },
            );
            let outgoing = OutgoingStream {
                ssrc: Ssrc(ssrc),
                rtx_ssrc: Ssrc(ssrc + 1),
                stream: "s".into(),
                track: "t".into(),
            };
            let media = vec![subscribed(0, kind(scenario), outgoing)];
            shard.handle_command(
                now,
                Command::Accept {
                    peer,
                    remote: client.parameters(),
                    media,
                },
            );
            let shown = SlotAssignment {
                track: TRACK,
                priority: Priority::LeadVideo,
                max_layer: layers as u8 - 1,
            };
            shard.handle_command(
                now,
                Command::Assign {
                    peer,
                    slots: vec![Some(shown)],
                },
            );
            subscribers.push(Receiver {
                client,
                feedback: FeedbackGenerator::new(now),
                newest: 0,
            });
        }
        let (sender, arena) = (Sender::new(), SendArena::new());
        Bench {
            scenario,
            shard,
            counters,
            now,
            publisher,
            subscribers,
            tap,
            seqs: vec![1; layers],
            twcc: 0,
            frames: 0,
            sender,
            arena,
            forwarded: 0,
            resent: 0,
        }
    }

    /// Connects all clients and runs the stream until every subscriber receives the best layer.
    pub(crate) fn connect(&mut self, socket: &MediaSocket) {
        let mut rounds = 0;
        while self.publisher.session.is_none()
            || self
                .subscribers
                .iter()
                .any(|subscriber| subscriber.client.session.is_none())
        {
            self.upkeep();
            self.now += Duration::from_millis(20);
            rounds += 1;
            assert!(rounds < 500, "the handshakes do not finish");
        }
        // The estimates ramp up until the best layer fits everywhere.
        for _ in 0..600 {
            self.frame(socket);
        }
        assert!(
            self.forwarded > 0,
            "nothing is forwarded: {:?}",
            self.counters.snapshot()
        );
        (self.forwarded, self.resent) = (0, 0);
    }

    /// Forwards a block of frames; returns nanoseconds of CPU per forwarded packet.
    pub(crate) fn block(&mut self, socket: &MediaSocket, pace: &mut Pace) -> f64 {
        let (before, mut cpu) = (self.forwarded, Duration::ZERO);
        for _ in 0..FRAMES_PER_BLOCK {
            pace.wait();
            cpu += self.frame(socket);
        }
        cpu.as_nanos() as f64 / (self.forwarded - before).max(1) as f64
    }

    /// Forwards one frame; returns the CPU time of the shard.
    fn frame(&mut self, socket: &MediaSocket) -> Duration {
        let mut packets = self.packets();
        let before = self.counters.snapshot();
        let (from, now) = (Path::udp(self.publisher.address), self.now);
        let mut cpu = Duration::ZERO;
        let shard = &mut self.shard;
        let process = || {
            packets
                .iter_mut()
                .for_each(|packet| shard.handle_datagram(now, from, packet));
            shard.handle_timeout(now);
        };
        timed(&mut cpu, || counted(process));
        loop {
            let more = timed(&mut cpu, || {
                counted(|| self.shard.poll_output(now, &mut self.arena))
            });
            self.record_feedback();
            timed(&mut cpu, || {
                counted(|| self.sender.flush(socket, &self.arena))
            });
            self.arena.clear();
            if !more {
                break;
            }
        }
        self.frames += 1;
        self.now += self.scenario.frame();
        if self.frames.is_multiple_of(3) {
            let upkeep = self.upkeep();
            cpu += if self.scenario == Scenario::Lesson {
                upkeep
            } else {
                Duration::ZERO
            };
        }
        let after = self.counters.snapshot();
        self.forwarded += after.packets_forwarded - before.packets_forwarded;
        self.resent += after.packets_resent - before.packets_resent;
        // The recorder runs on another thread, so its time is not measured.
        while self.tap.as_mut().is_some_and(|tap| tap.pop().is_some()) {}
        cpu
    }

    fn packets(&mut self) -> Vec<Vec<u8>> {
        let (scenario, keyframe) = (self.scenario, self.frames.is_multiple_of(150));
        let mut sealed = Vec::new();
        for (layer, packets) in scenario.layers().iter().enumerate() {
            for n in 0..*packets {
                let mut payload = vec![0x55; scenario.payload()];
                if scenario.codec() == Codec::H264 {
                    // FU-A of an IDR or a non-IDR slice (RFC 6184 §5.8) that starts at macroblock
                    // 0.
                    (payload[0], payload[2]) = (0x7C, 0x88);
                    payload[1] = if keyframe { 5 } else { 1 } | if n == 0 { 0x80 } else { 0 };
                }
                let packet = Packet {
                    payload_type: payload_type(scenario.codec()),
                    ssrc: 1_000 + 2 * layer as u32,
                    seq: self.seqs[layer],
                    rtp_time: self.frames * 3_000,
                    marker: n + 1 == *packets,
                    twcc: self.twcc,
                    payload: &payload,
                };
                self.seqs[layer] += 1;
                self.twcc = self.twcc.wrapping_add(1);
                sealed.push(packet.seal(&mut self.publisher));
            }
        }
        sealed
    }

    /// Records the arrival of every sent packet in the subscribers' TWCC feedback.
    fn record_feedback(&mut self) {
        let (now, mut at) = (self.now, 0);
        for (to, datagram) in self.arena.datagrams() {
            let Some(number) = twcc_of(datagram) else {
                continue;
            };
            while self.subscribers[at].client.address != to.remote {
                at = (at + 1) % self.subscribers.len();
            }
            let receiver = &mut self.subscribers[at];
            receiver.feedback.received(number, now);
            if datagram[1] & 0x7F == payload_type(self.scenario.codec()) {
                receiver.newest = u16::from_be_bytes([datagram[2], datagram[3]]);
            }
        }
    }

    /// Processes STUN, DTLS and RTCP of all clients; returns the CPU time of the shard.
    fn upkeep(&mut self) -> Duration {
        let now = self.now;
        let mut incoming = self.poll_clients();
        let (mut cpu, shard) = (Duration::ZERO, &mut self.shard);
        let process = || {
            incoming.iter_mut().for_each(|(from, datagram)| {
                shard.handle_datagram(now, Path::udp(*from), datagram)
            });
            shard.handle_timeout(now);
        };
        timed(&mut cpu, || counted(process));
        while let Some((peer, step)) = self.shard.poll_handshake() {
            self.shard.handle_command(
                now,
                Command::Handshake {
                    peer,
                    progress: Box::new(step.run()),
                },
            );
        }
        loop {
            let more = timed(&mut cpu, || {
                counted(|| self.shard.poll_output(now, &mut self.arena))
            });
            self.record_feedback();
            self.deliver_to_clients();
            self.arena.clear();
            if !more {
                break;
            }
        }
        while self.shard.poll_event().is_some() {}
        cpu
    }

    fn poll_clients(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let (now, turn) = (self.now, self.frames as usize);
        let sends_nacks = self.scenario == Scenario::Lesson;
        let own = self.publisher.poll(now);
        let mut incoming: Vec<_> = own
            .into_iter()
            .map(|datagram| (self.publisher.address, datagram))
            .collect();
        for (n, receiver) in self.subscribers.iter_mut().enumerate() {
            let Receiver {
                client,
                feedback,
                newest,
            } = receiver;
            let datagrams = client.poll(now);
            incoming.extend(
                datagrams
                    .into_iter()
                    .map(|datagram| (client.address, datagram)),
            );
            let Some(session) = client.session.as_mut() else {
                continue;
            };
            let mut space = vec![0; 1_300];
            let mut compound = Compound::new(&mut space[..1_200]);
            if feedback.is_due(now) {
                let _ = feedback.write(Ssrc(7), Ssrc(8), &mut compound, now);
            }
            if sends_nacks && (n + turn / 3).is_multiple_of(NACK_INTERVAL) {
                let _ = compound.nack(Ssrc(7), Ssrc(ssrc(n)), [*newest]);
            }
            let len = compound.len();
            if len > 0 {
                let sealed = session
                    .outbound
                    .rtcp
                    .protect(&mut space, len)
                    .expect("a fresh key");
                space.truncate(sealed);
                incoming.push((client.address, space));
            }
        }
        incoming
    }

    /// Delivers STUN and DTLS packets to the clients.
    fn deliver_to_clients(&mut self) {
        let (now, mut at) = (self.now, 0);
        for (to, datagram) in self
            .arena
            .datagrams()
            .filter(|(_, datagram)| datagram[0] < 64)
        {
            if to.remote == self.publisher.address {
                self.publisher.handle(now, datagram);
                continue;
            }
            while self.subscribers[at].client.address != to.remote {
                at = (at + 1) % self.subscribers.len();
            }
            self.subscribers[at].client.handle(now, datagram);
        }
    }
}

fn kind(scenario: Scenario) -> MediaKind {
    if scenario == Scenario::Audio {
        MediaKind::Audio
    } else {
        MediaKind::Video
    }
}

fn ssrc(subscriber: usize) -> u32 {
    100_000 + 2 * subscriber as u32
}

fn slot(ssrc: u32) -> SlotSpec {
    let mut types = PayloadTypes::default();
    types.set(Codec::H264, 102, Some(103));
    types.set(Codec::Opus, payload_type(Codec::Opus), None);
    let forwarder = ForwarderConfig {
        ssrc,
        rtx_ssrc: ssrc + 1,
        types,
        twcc_id: Some(TWCC_ID),
        first_seq: 1,
        first_rtx_seq: 1,
        first_time: 1,
    };
    SlotSpec {
        mid: "0".into(),
        forwarder,
    }
}
