//! One thread's whole state machine, without its sockets and its clock.
//!
//! A shard owns its peers and the tracks they publish, and nothing outside ever touches them: commands come in, datagrams come in, time
//! comes in; datagrams, events and commands to other shards are taken out. Per receive batch:
//!
//! 1. [`Shard::handle_datagram`] for each datagram: STUN and DTLS go to the peer's transport, RTP is opened in place and stored in its
//!    layer's ring ([`ingest`]), RTCP is acted on ([`feedback`]).
//! 2. [`Shard::poll_output`] until it is done: first what transports and reports have to say, then every track with fresh packets is
//!    written out, subscriber by subscriber ([`forwarding`]).
//! 3. [`Shard::poll_handshake`] until there is none: what a handshake needs computed is done elsewhere and comes back as a command.
//! 4. [`Shard::handle_timeout`] when [`Shard::poll_timeout`] is due ([`upkeep`]).

mod audience;
mod feedback;
mod forwarding;
mod gauges;
mod hosted;
mod ingest;
mod line;
mod membership;
mod news;
mod owed;
mod pacing;
mod patience;
mod peer;
mod upkeep;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::{Command, Event};
use crate::drop_reason::DropReason;
use crate::ids::{PeerId, Ssrc, TrackId};
use crate::index::{IndexSlab, PeerIx, ShardIx, TrackIx};
use crate::rtp::{WallClock, is_rtcp};
use crate::stats::Counters;
use crate::subscribe::arena::SendArena;
use crate::transport::{self, CloseReason, HandshakeStep, Output, Path};

use gauges::Depths;
use hosted::Hosted;
use line::Line;
use news::News;
use owed::{MAX_OWED, Owed};
use peer::{Peer, Role};

/// A track from which nothing came for this long is silent: a camera that was switched off, a network that broke.
pub const SILENCE: Duration = Duration::from_secs(2);

/// Publishers are looked after this often: losses are asked for again, feedback goes out.
const TICK: Duration = Duration::from_millis(10);

/// Control datagrams that may wait to be sent: more than a join storm of a thousand makes in one batch.
const MAX_CONTROL: usize = 16_384;

/// One media thread's state.
pub struct Shard {
    index: ShardIx,
    peers: IndexSlab<PeerIx, Peer>,
    tracks: IndexSlab<TrackIx, Hosted>,
    by_path: HashMap<Path, PeerIx>,
    by_ufrag: HashMap<String, PeerIx>,
    by_peer: HashMap<PeerId, PeerIx>,
    by_track: HashMap<TrackId, TrackIx>,
    /// Tracks with packets that wait to be forwarded.
    fresh: Vec<TrackIx>,
    pass: Pass,
    /// When the first track that waits for the end of a frame waits no longer.
    frame_due: Option<Instant>,
    /// Retransmissions and padding that wait to be written.
    owed: VecDeque<Owed>,
    /// STUN, DTLS and RTCP on their way out.
    control: VecDeque<(Path, bytes::Bytes)>,
    news: News,
    /// For other shards.
    requests: Vec<(ShardIx, Command)>,
    /// Steps of handshakes, one of each peer at most.
    handshakes: VecDeque<(PeerId, Box<HandshakeStep>)>,
    counters: Arc<Counters>,
    depths: Depths,
    wall: WallClock,
    /// Our SSRC in reports and feedback.
    reporter: Ssrc,
    next_tick: Option<Instant>,
    ticks: u64,
    /// Those that need attention with every tick: who publishes, and whose line is being probed.
    publishers: Vec<PeerIx>,
    probing: Vec<PeerIx>,
    /// Whose pictures wait for their turn, and how many of them had it in this tick.
    pacing: Vec<PeerIx>,
    paced: usize,
}

/// The progress of the forwarding pass over [`Shard::fresh`]; the default is its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pass {
    /// Position in the list of fresh tracks.
    track: usize,
    /// Position among the subscribers of that track.
    stream: usize,
}

impl Shard {
    /// `index` names it among the shards; `wall` ties `now` to the time of day; `reporter` is a random SSRC for its feedback.
    pub fn new(index: ShardIx, counters: Arc<Counters>, wall: WallClock, reporter: Ssrc) -> Shard {
        Shard {
            index,
            peers: IndexSlab::new(),
            tracks: IndexSlab::new(),
            by_path: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_peer: HashMap::new(),
            by_track: HashMap::new(),
            fresh: Vec::new(),
            pass: Pass::default(),
            frame_due: None,
            owed: VecDeque::with_capacity(MAX_OWED),
            control: VecDeque::new(),
            news: News::default(),
            requests: Vec::new(),
            handshakes: VecDeque::new(),
            counters,
            depths: Depths::default(),
            wall,
            reporter,
            next_tick: None,
            ticks: 0,
            publishers: Vec::new(),
            probing: Vec::new(),
            pacing: Vec::new(),
            paced: 0,
        }
    }

    /// Its number among the shards.
    pub fn index(&self) -> ShardIx {
        self.index
    }

    /// Takes in one datagram; what it held is opened in place.
    pub fn handle_datagram(&mut self, now: Instant, path: Path, datagram: &mut [u8]) {
        let outcome = match datagram.first() {
            // RFC 7983 §7: the first byte tells the protocols on one port apart.
            Some(0..=3) => self.handle_stun(now, path, datagram),
            Some(20..=63) => self.handle_dtls(now, path, datagram),
            Some(128..=191) => self.handle_media(now, path, datagram),
            _ => Err(DropReason::UnknownProtocol),
        };
        if let Err(reason) = outcome {
            self.counters.count_drop(reason);
        }
    }

    /// Writes what waits to be sent into the arena. Returns true when more is left: send the arena, clear it, call again.
    pub fn poll_output(&mut self, now: Instant, arena: &mut SendArena) -> bool {
        while let Some((to, datagram)) = self.control.front() {
            if !arena.has_room(1) {
                return true;
            }
            arena.push(*to, datagram);
            self.control.pop_front();
        }
        self.pay_owed(now, arena) || self.forward_fresh(now, arena) || self.write_paced(now, arena)
    }

    /// Whether the server should be woken for events: those that pass wait for each other, half a second at most.
    pub fn has_news(&self) -> bool {
        self.news.are_due(self.ticks)
    }

    /// The next thing to tell the server.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.news.next()
    }

    /// The next command for another shard.
    pub fn poll_request(&mut self) -> Option<(ShardIx, Command)> {
        self.requests.pop()
    }

    /// The next step of a handshake: run it where no packet waits for it, and bring what comes of it by [`Command::Handshake`].
    pub fn poll_handshake(&mut self) -> Option<(PeerId, Box<HandshakeStep>)> {
        self.handshakes.pop_front()
    }

    /// Shards to which packets went since the last call, and that should look at their links.
    pub fn take_wakes(&mut self) -> Vec<ShardIx> {
        let mut wakes = Vec::new();
        for hosted in self.tracks.values_mut() {
            if std::mem::take(&mut hosted.exported) {
                wakes.extend(hosted.exports.iter().map(|(shard, _)| *shard));
            }
        }
        wakes.sort_unstable();
        wakes.dedup();
        wakes
    }

    /// When [`Shard::handle_timeout`] and [`Shard::poll_output`] are due; never while nobody is here.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_tick.into_iter().chain(self.frame_due).min()
    }

    fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        // The ufrag decides, not the address: two tabs behind one NAT binding, or a restart, must reach the peer they name.
        let named =
            transport::local_ufrag_of(datagram).and_then(|ufrag| self.by_ufrag.get(ufrag).copied());
        let peer = named
            .or_else(|| self.by_path.get(&path).copied())
            .ok_or(DropReason::StunUnknownPeer)?;
        let outcome = self.peers[peer].transport.handle(now, path, datagram);
        self.drain_transport(now, peer);
        // Two peers that shared an address in turn: it belongs to the one whose check was valid last.
        let is_its_own = self
            .peers
            .get(peer)
            .is_some_and(|peer| peer.transport.knows(path));
        if outcome.is_ok() && is_its_own {
            self.by_path.insert(path, peer);
        }
        outcome
    }

    fn handle_dtls(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        let peer = *self.by_path.get(&path).ok_or(DropReason::DtlsUnknownPath)?;
        let outcome = self.peers[peer].transport.handle(now, path, datagram);
        self.drain_transport(now, peer);
        outcome
    }

    fn handle_media(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        let at = *self
            .by_path
            .get(&path)
            .ok_or(DropReason::MediaUnknownPath)?;
        let inbound = self.peers[at].inbound.as_mut().ok_or(DropReason::NoKeys)?;
        if is_rtcp(datagram) {
            let len = inbound.unprotect_rtcp(datagram)?;
            return self.handle_rtcp(now, at, &datagram[..len]);
        }
        let opened = inbound.unprotect_rtp(datagram)?;
        self.handle_rtp(now, at, opened, &datagram[..opened.len])
    }

    /// Performs what a transport wants done.
    fn drain_transport(&mut self, now: Instant, at: PeerIx) {
        while let Some(peer) = self.peers.get_mut(at) {
            let Some(output) = peer.transport.poll_output() else {
                return;
            };
            match output {
                Output::Transmit { path, datagram } => self.queue_control(path, datagram),
                Output::Handshake(step) => self.handshakes.push_back((peer.id, step)),
                Output::Connected(session) => self.connected(now, at, session),
                Output::PathOpened(path) => {
                    self.by_path.insert(path, at);
                }
                Output::PathForgotten(path) => self.forget_path(at, path),
                Output::PathSelected(path) => self.select_path(at, path),
                Output::UfragRetired(ufrag) => {
                    self.by_ufrag.remove(&ufrag);
                }
                Output::Closed(reason) => self.remove_peer(at, reason),
            }
        }
    }

    fn connected(&mut self, now: Instant, at: PeerIx, session: Box<transport::SrtpSession>) {
        let peer = &mut self.peers[at];
        let Some(path) = peer.transport.path() else {
            // A handshake that ends before any check named a path cannot happen over one; without one there is nothing to send to.
            return peer.transport.close(now);
        };
        peer.inbound = Some(Box::new(session.inbound));
        peer.rtcp = Some(Box::new(session.outbound.rtcp));
        peer.line = Some(Line::new(path, session.outbound.rtp, now));
        tracing::info!(lesson = ?peer.lesson, peer = %peer.id, address = %path.remote, "peer connected");
        let event = Event::PeerConnected { peer: peer.id };
        self.tell(event);
        self.attach_all(now, at);
    }

    /// Another peer may have come from the same address since: a phone that changed its lesson behind one NAT binding.
    fn forget_path(&mut self, at: PeerIx, path: Path) {
        if self.by_path.get(&path) == Some(&at) {
            self.by_path.remove(&path);
        }
    }

    fn select_path(&mut self, at: PeerIx, path: Path) {
        if let Some(line) = &mut self.peers[at].line {
            line.path = path;
        }
    }

    fn remove_peer(&mut self, at: PeerIx, reason: CloseReason) {
        let peer = self.peers.remove(at);
        self.by_path.retain(|_, owner| *owner != at);
        self.by_ufrag.retain(|_, owner| *owner != at);
        self.by_peer.remove(&peer.id);
        self.publishers.retain(|publisher| *publisher != at);
        match peer.role {
            Role::Publisher(publisher) => {
                for published in &publisher.media {
                    self.remove_track(published.track);
                }
            }
            Role::Subscriber(_) => self.detach_all(at),
        }
        tracing::info!(shard = self.index.position(), lesson = ?peer.lesson, peer = %peer.id, ?reason, "peer closed");
        self.tell(Event::PeerClosed {
            peer: peer.id,
            reason,
        });
        self.count_members();
    }

    fn queue_control(&mut self, to: Path, datagram: bytes::Bytes) {
        match self.control.len() < MAX_CONTROL {
            true => self.control.push_back((to, datagram)),
            false => self.counters.count_drop(DropReason::ControlOverflow),
        }
        self.depths.control = self.depths.control.max(self.control.len());
    }

    /// Tells the server of something.
    fn tell(&mut self, event: Event) {
        self.news.tell(self.ticks, event, &self.counters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LessonId;
    use crate::transport::{IceCredentials, Identity, Transport};
    use crate::virtual_time;

    #[test]
    fn a_path_is_an_address_and_a_protocol() {
        let (now, counters) = (virtual_time::start(), Arc::new(Counters::default()));
        let wall = WallClock::new(now, Duration::from_secs(1_800_000_000));
        let mut shard = Shard::new(ShardIx::new(0), counters.clone(), wall, Ssrc(1));
        let identity = Arc::new(Identity::generate().expect("a certificate"));
        let ice = IceCredentials {
            ufrag: "server01".into(),
            pwd: "the server's password of 22+".into(),
        };
        let add_subscriber = Command::AddSubscriber {
            peer: PeerId(1),
            lesson: LessonId(1),
            transport: Box::new(Transport::new(identity, ice, now)),
            slots: Vec::new(),
        };
        shard.handle_command(now, add_subscriber);
        let address = ([192, 0, 2, 1], 5_000).into();
        shard.by_path.insert(Path::udp(address), PeerIx::new(0));

        let mut rtp = [0x80; 20];
        shard.handle_datagram(now, Path::udp(address), &mut rtp);
        shard.handle_datagram(now, Path::tcp(address), &mut rtp);
        let dropped = counters.snapshot().dropped.into_iter();
        let dropped: Vec<_> = dropped.filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            dropped,
            [(DropReason::NoKeys, 1), (DropReason::MediaUnknownPath, 1),],
            "the peer is known on its UDP path alone"
        );
    }
}
