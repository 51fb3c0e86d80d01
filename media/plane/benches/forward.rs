//! One publisher's frames to N subscribers through real sockets, beside the floor: the same copies, seals and sends with nothing else.
//!
//! `cargo bench -p tongke-plane --bench forward -- [subscribers] [rounds]`. Both sides run in turn inside one process, a block of frames
//! each, and the CPU time of this thread is what counts; the receivers are drained by another thread. The last line is JSON.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use support::{Client, Packet, TWCC_ID, payload_type, published, start_of_time, subscribed, twcc_of};
use tongke_plane::command::{Command, Shown, SlotSpec};
use tongke_plane::ids::Ssrc;
use tongke_plane::io::{MediaSocket, Sender};
use tongke_plane::publish::twcc::FeedbackGenerator;
use tongke_plane::rtp::WallClock;
use tongke_plane::rtp::rtcp::Compound;
use tongke_plane::sdp::Outgoing;
use tongke_plane::shard::Shard;
use tongke_plane::stats::Counters;
use tongke_plane::subscribe::arena::SendArena;
use tongke_plane::subscribe::forward::{ForwardSpec, PayloadTypes};
use tongke_plane::transport::srtp::{Profile, Role, RtpSealer, SrtpSession};
use tongke_plane::transport::{IceCredentials, Identity, Transport};
use tongke_plane::{Codec, LessonId, MediaKind, PeerId, Priority, TrackId};

/// A frame of 1.5 Mbit/s at 30 frames a second.
const PACKETS: usize = 5;
/// With header, extension and tag a datagram of 1200 bytes.
const PAYLOAD: usize = 1_164;
const FRAMES_PER_BLOCK: usize = 30;
const FRAME: Duration = Duration::from_millis(33);
const TRACK: TrackId = TrackId(1);

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (subscribers, rounds) = (numbers.next().unwrap_or(100), numbers.next().unwrap_or(20));
    let drain = Drain::start(subscribers);
    let socket = MediaSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("a socket");
    let mut bench = Bench::new(&drain.addresses);
    let mut floor = Floor::new(&drain.addresses);
    bench.settle(&socket);
    let (mut forward_ns, mut floor_ns) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        forward_ns.push(bench.block(&socket));
        floor_ns.push(floor.block(&socket));
    }
    let drained = drain.stop();
    let expected = rounds * FRAMES_PER_BLOCK * PACKETS * subscribers;
    let (forward_ns, floor_ns) = (median(&mut forward_ns), median(&mut floor_ns));
    eprintln!("forwarded {} of {expected} packets; receivers took {drained} datagrams in all", bench.forwarded);
    assert_eq!(bench.forwarded as usize, expected, "every subscriber gets every packet");
    println!(
        r#"{{"bench":"forward","subscribers":{subscribers},"packets":{expected},"forward_ns":{forward_ns:.0},"floor_ns":{floor_ns:.0},"ratio":{:.3}}}"#,
        forward_ns / floor_ns
    );
}

/// Receivers: one socket per subscriber, drained by a thread of their own so that the kernel delivers for real.
struct Drain {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Drain {
    fn start(subscribers: usize) -> Drain {
        let sockets: Vec<UdpSocket> =
            (0..subscribers).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
        let addresses = sockets.iter().map(|socket| socket.local_addr().expect("bound")).collect();
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (stop, count) = (stop.clone(), count.clone());
            std::thread::spawn(move || drain(&sockets, &stop, &count))
        };
        Drain { addresses, stop, count, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("the drain does not panic");
        self.count.load(Relaxed)
    }
}

fn drain(sockets: &[UdpSocket], stop: &AtomicBool, count: &AtomicU64) {
    let mut polls: Vec<libc::pollfd> =
        sockets.iter().map(|s| libc::pollfd { fd: s.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    let mut buffer = [0; 2048];
    while !stop.load(Relaxed) {
        // SAFETY: the vector holds as many valid pollfds as it says.
        unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 20) };
        for (socket, _) in sockets.iter().zip(&polls).filter(|(_, poll)| poll.revents != 0) {
            for _ in 0..PACKETS {
                // SAFETY: the buffer is writable for its length.
                let got = unsafe {
                    libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
                };
                if got < 0 {
                    break;
                }
                count.fetch_add(1, Relaxed);
            }
        }
    }
}

struct Bench {
    shard: Shard,
    counters: Arc<Counters>,
    now: Instant,
    publisher: Client,
    subscribers: Vec<(Client, FeedbackGenerator)>,
    seq: u64,
    frames: u32,
    sender: Sender,
    arena: SendArena,
    forwarded: u64,
}

impl Bench {
    fn new(addresses: &[SocketAddr]) -> Bench {
        let now = start_of_time();
        let counters = Arc::new(Counters::default());
        let mut shard =
            Shard::new(0, counters.clone(), WallClock::new(now, Duration::from_secs(1_800_000_000)), Ssrc(1));
        let identity = Arc::new(Identity::generate().expect("a certificate"));
        let lesson = LessonId(1);
        let transport = |n: usize| {
            let ice = IceCredentials { ufrag: format!("server{n:06}"), pwd: "the server's password of 22+".into() };
            (Box::new(Transport::new(identity.clone(), ice.clone(), now)), ice)
        };
        let (mut ours, ice) = transport(0);
        let publisher = Client::new(now, "10.1.0.1:4000".parse().expect("an address"), ice);
        ours.set_remote(now, publisher.parameters());
        let media = vec![(TRACK, published(MediaKind::Video, Codec::H264, &[(1000, 1001)]))];
        shard.handle_command(now, Command::AddPublisher { peer: PeerId(1), lesson, transport: ours, media });
        let mut subscribers = Vec::new();
        for (n, address) in addresses.iter().enumerate() {
            let (ours, ice) = transport(n + 1);
            let client = Client::new(now, *address, ice);
            let peer = PeerId(n as u64 + 2);
            let ssrc = 100_000 + 2 * n as u32;
            shard
                .handle_command(now, Command::AddSubscriber { peer, lesson, transport: ours, slots: vec![slot(ssrc)] });
            let outgoing =
                Outgoing { ssrc: Ssrc(ssrc), rtx_ssrc: Ssrc(ssrc + 1), stream: "s".into(), track: "t".into() };
            let media = vec![subscribed(0, MediaKind::Video, outgoing)];
            shard.handle_command(now, Command::Accept { peer, remote: client.parameters(), media });
            let shown = Shown { track: TRACK, priority: Priority::LeadVideo, max_layer: 0 };
            shard.handle_command(now, Command::Assign { peer, slots: vec![Some(shown)] });
            subscribers.push((client, FeedbackGenerator::new(now)));
        }
        let (sender, arena) = (Sender::new(), SendArena::new());
        Bench { shard, counters, now, publisher, subscribers, seq: 1, frames: 0, sender, arena, forwarded: 0 }
    }

    /// Connects everybody and lets the stream run until all get it.
    fn settle(&mut self, socket: &MediaSocket) {
        let mut rounds = 0;
        while self.publisher.session.is_none() || self.subscribers.iter().any(|(client, _)| client.session.is_none()) {
            self.upkeep();
            self.now += Duration::from_millis(20);
            rounds += 1;
            assert!(rounds < 500, "the handshakes do not end");
        }
        for _ in 0..200 {
            self.frame(socket);
        }
        assert!(self.forwarded > 0, "nothing is forwarded: {:?}", self.counters.snapshot());
        self.forwarded = 0;
    }

    /// A block of frames: nanoseconds of CPU per forwarded packet.
    fn block(&mut self, socket: &MediaSocket) -> f64 {
        let (before, mut cpu) = (self.forwarded, Duration::ZERO);
        for _ in 0..FRAMES_PER_BLOCK {
            cpu += self.frame(socket);
        }
        cpu.as_nanos() as f64 / (self.forwarded - before).max(1) as f64
    }

    /// One frame in, everything out; returns the CPU time of the shard's part.
    fn frame(&mut self, socket: &MediaSocket) -> Duration {
        let mut packets = self.packets();
        let before = self.counters.snapshot().packets_forwarded;
        let (from, now) = (self.publisher.address, self.now);
        let start = cpu_time();
        for packet in &mut packets {
            self.shard.handle_datagram(now, from, packet);
        }
        self.shard.handle_timeout(now);
        let mut cpu = cpu_time() - start;
        loop {
            let start = cpu_time();
            let more = self.shard.poll_output(now, &mut self.arena);
            cpu += cpu_time() - start;
            self.note_feedback();
            let start = cpu_time();
            self.sender.flush(socket, &self.arena);
            cpu += cpu_time() - start;
            self.arena.clear();
            if !more {
                break;
            }
        }
        self.forwarded += self.counters.snapshot().packets_forwarded - before;
        self.frames += 1;
        self.now += FRAME;
        if self.frames.is_multiple_of(3) {
            self.upkeep();
        }
        cpu
    }

    fn packets(&mut self) -> Vec<Vec<u8>> {
        let keyframe = self.frames.is_multiple_of(150);
        let mut payload = vec![0x55; PAYLOAD];
        (0..PACKETS)
            .map(|n| {
                // FU-A of an IDR or a P slice (RFC 6184 §5.8) that begins with macroblock 0.
                (payload[0], payload[2]) = (0x7C, 0x88);
                payload[1] = if keyframe { 5 } else { 1 } | if n == 0 { 0x80 } else { 0 };
                let packet = Packet {
                    payload_type: payload_type(Codec::H264),
                    ssrc: 1000,
                    seq: self.seq,
                    rtp_time: self.frames * 3_000,
                    marker: n == PACKETS - 1,
                    twcc: self.seq as u16,
                    payload: &payload,
                };
                self.seq += 1;
                packet.seal(&mut self.publisher)
            })
            .collect()
    }

    /// What subscribers would report: every packet arrived now.
    fn note_feedback(&mut self) {
        let (now, mut at) = (self.now, 0);
        for (to, datagram) in self.arena.datagrams() {
            let Some(number) = twcc_of(datagram) else { continue };
            while self.subscribers[at].0.address != to {
                at = (at + 1) % self.subscribers.len();
            }
            self.subscribers[at].1.received(number, now);
        }
    }

    /// Checks, handshakes and feedback of every client, and the shard's answers to them.
    fn upkeep(&mut self) {
        let now = self.now;
        let mut incoming: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        let own = self.publisher.poll(now);
        incoming.extend(own.into_iter().map(|datagram| (self.publisher.address, datagram)));
        for (client, feedback) in &mut self.subscribers {
            let datagrams = client.poll(now);
            incoming.extend(datagrams.into_iter().map(|datagram| (client.address, datagram)));
            if let Some(session) = client.session.as_mut().filter(|_| feedback.is_due(now)) {
                let mut space = vec![0; 1_300];
                let mut compound = Compound::new(&mut space[..1_200]);
                let _ = feedback.write(Ssrc(7), Ssrc(8), &mut compound, now);
                let len = compound.len();
                let sealed = session.outbound.rtcp.protect(&mut space, len).expect("a fresh key");
                space.truncate(sealed);
                incoming.push((client.address, space));
            }
        }
        for (from, mut datagram) in incoming {
            self.shard.handle_datagram(now, from, &mut datagram);
        }
        self.shard.handle_timeout(now);
        loop {
            let more = self.shard.poll_output(now, &mut self.arena);
            let mut at = 0;
            for (to, datagram) in self.arena.datagrams().filter(|(_, datagram)| datagram[0] < 64) {
                if to == self.publisher.address {
                    self.publisher.handle(now, datagram);
                    continue;
                }
                while self.subscribers[at].0.address != to {
                    at = (at + 1) % self.subscribers.len();
                }
                self.subscribers[at].0.handle(now, datagram);
            }
            self.arena.clear();
            if !more {
                break;
            }
        }
        while self.shard.poll_event().is_some() {}
    }
}

fn slot(ssrc: u32) -> SlotSpec {
    let mut types = PayloadTypes::default();
    types.set(Codec::H264, 102, Some(103));
    let forward = ForwardSpec {
        ssrc,
        rtx_ssrc: ssrc + 1,
        types,
        twcc_id: Some(TWCC_ID),
        first_seq: 1,
        first_rtx_seq: 1,
        first_time: 1,
    };
    SlotSpec { mid: "0".into(), forward }
}

/// The same datagrams with nothing else: copy, seal, send.
struct Floor {
    subscribers: Vec<(SocketAddr, RtpSealer)>,
    seq: u64,
    sender: Sender,
    arena: SendArena,
}

impl Floor {
    fn new(addresses: &[SocketAddr]) -> Floor {
        let profile = Profile::AeadAes128Gcm;
        let sealer = |n: usize| {
            let material = vec![n as u8 ^ 0x5A; profile.keying_material_len()];
            SrtpSession::from_keying_material(profile, &material, Role::Server).expect("the right length").outbound.rtp
        };
        let subscribers = addresses.iter().enumerate().map(|(n, address)| (*address, sealer(n))).collect();
        Floor { subscribers, seq: 1, sender: Sender::new(), arena: SendArena::new() }
    }

    fn block(&mut self, socket: &MediaSocket) -> f64 {
        let mut packet = vec![0x55; 20 + PAYLOAD];
        packet[..20].copy_from_slice(&[
            0x90,
            102,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            1,
            0xBE,
            0xDE,
            0,
            1,
            TWCC_ID << 4 | 1,
            0,
            0,
            0,
        ]);
        let start = cpu_time();
        for _ in 0..FRAMES_PER_BLOCK {
            for (to, sealer) in &mut self.subscribers {
                if !self.arena.has_room(PACKETS) {
                    self.sender.flush(socket, &self.arena);
                    self.arena.clear();
                }
                for n in 0..PACKETS as u64 {
                    let seq = self.seq + n;
                    let space = self.arena.space();
                    space[..packet.len()].copy_from_slice(&packet);
                    space[2..4].copy_from_slice(&(seq as u16).to_be_bytes());
                    let len = sealer.protect(space, 20, packet.len(), (seq >> 16) as u32);
                    self.arena.commit(*to, len);
                }
            }
            self.seq += PACKETS as u64;
            self.sender.flush(socket, &self.arena);
            self.arena.clear();
        }
        let packets = FRAMES_PER_BLOCK * PACKETS * self.subscribers.len();
        (cpu_time() - start).as_nanos() as f64 / packets as f64
    }
}

/// CPU time of this thread, kernel part included.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
