//! State machine of one media thread, without sockets and clock (sans-IO).
//!
//! A shard owns its peers and the tracks they publish; nothing else accesses them. Its inputs are
//! commands, datagrams and time; its outputs are datagrams, events and commands to other shards.
//! The thread calls, for each receive batch:
//!
//! 1. [`Shard::handle_datagram`] for each datagram. STUN and DTLS go to the peer's transport. RTP
//!    is decrypted in place and stored in its layer's ring ([`ingest`]). RTCP is handled at once
//!    ([`rtcp_in`]).
//! 2. [`Shard::poll_output`] until it returns false. It writes queued control datagrams and
//!    retransmissions ([`resend_queue`]), then every track with fresh packets, subscriber by
//!    subscriber ([`forwarding`]), then paced video ([`pacing`]).
//! 3. [`Shard::poll_handshake`] until it returns none. The cryptography of a handshake runs on
//!    another thread, and the result returns as a command.
//! 4. [`Shard::handle_timeout`] when [`Shard::poll_timeout`] is due ([`timers`]). It sends RTCP
//!    ([`rtcp_out`]) and allocates bandwidth to layers ([`allocation`]).

mod allocation;
mod commands;
mod event_queue;
mod fanout;
mod forwarding;
mod frame_coalescer;
mod ingest;
mod metrics;
mod pacing;
mod peer;
mod resend_queue;
mod rtcp_in;
mod rtcp_out;
mod send_state;
mod timers;
mod track;

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

use event_queue::EventQueue;
use metrics::QueueDepths;
use peer::{Peer, Role};
use resend_queue::ResendQueue;
use send_state::SendState;
use track::ShardTrack;

/// A track without packets for this long is silent: the camera was switched off, or the network
/// failed.
pub const TRACK_SILENCE_TIMEOUT: Duration = Duration::from_secs(2);

/// Tick interval: NACKs and transport-wide feedback to publishers are sent this often.
const TICK: Duration = Duration::from_millis(10);

/// Queue bound of control datagrams: more than a thousand simultaneous joins produce in one batch.
const MAX_CONTROL: usize = 16_384;

/// State of one media thread.
pub struct Shard {
    index: ShardIx,
    peers: IndexSlab<PeerIx, Peer>,
    tracks: IndexSlab<TrackIx, ShardTrack>,
    by_path: HashMap<Path, PeerIx>,
    by_ufrag: HashMap<String, PeerIx>,
    by_peer: HashMap<PeerId, PeerIx>,
    by_track: HashMap<TrackId, TrackIx>,
    /// Tracks with packets to forward.
    fresh: Vec<TrackIx>,
    pass: Pass,
    /// Earliest deadline of the tracks that coalesce a frame.
    frame_due: Option<Instant>,
    resends: ResendQueue,
    /// STUN, DTLS and RTCP datagrams to send.
    control: VecDeque<(Path, bytes::Bytes)>,
    events: EventQueue,
    /// Commands to other shards.
    requests: Vec<(ShardIx, Command)>,
    /// Handshake steps to run, at most one per peer.
    handshakes: VecDeque<(PeerId, Box<HandshakeStep>)>,
    counters: Arc<Counters>,
    depths: QueueDepths,
    wall: WallClock,
    /// The SSRC of the shard in reports and feedback.
    reporter: Ssrc,
    next_tick: Option<Instant>,
    ticks: u64,
    publishers: Vec<PeerIx>,
    /// Subscribers whose bandwidth is being probed.
    probing: Vec<PeerIx>,
    /// Subscribers whose video is paced.
    paced: Vec<PeerIx>,
    /// Number of paced subscribers that are served in this tick.
    paced_in_tick: usize,
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
    /// Makes an empty shard. `wall` maps `now` to the time of day; `reporter` is a random SSRC for
    /// RTCP.
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
            resends: ResendQueue::new(),
            control: VecDeque::new(),
            events: EventQueue::default(),
            requests: Vec::new(),
            handshakes: VecDeque::new(),
            counters,
            depths: QueueDepths::default(),
            wall,
            reporter,
            next_tick: None,
            ticks: 0,
            publishers: Vec::new(),
            probing: Vec::new(),
            paced: Vec::new(),
            paced_in_tick: 0,
        }
    }

    /// Returns the index of the shard in its plane.
    pub fn index(&self) -> ShardIx {
        self.index
    }

    /// Handles one datagram; it is decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, path: Path, datagram: &mut [u8]) {
        let outcome = match datagram.first() {
            // RFC 7983 §7: demultiplexing by the first byte.
            Some(0..=3) => self.handle_stun(now, path, datagram),
            Some(20..=63) => self.handle_dtls(now, path, datagram),
            Some(128..=191) => self.handle_media(now, path, datagram),
            _ => Err(DropReason::UnknownProtocol),
        };
        if let Err(reason) = outcome {
            self.counters.count_drop(reason);
        }
    }

    /// Writes queued datagrams into the arena. Returns true if more are left: send the arena, clear
    /// it, and call again.
    pub fn poll_output(&mut self, now: Instant, arena: &mut SendArena) -> bool {
        while let Some((to, datagram)) = self.control.front() {
            if !arena.has_room(1) {
                return true;
            }
            arena.push(*to, datagram);
            self.control.pop_front();
        }
        self.write_resends(now, arena)
            || self.forward_fresh(now, arena)
            || self.write_paced(now, arena)
    }

    /// Returns true if the batch of events for the server is due. Transient events wait half a
    /// second at most.
    pub fn has_due_events(&self) -> bool {
        self.events.is_due(self.ticks)
    }

    /// Returns the next event for the server.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Returns the next command for another shard.
    pub fn poll_request(&mut self) -> Option<(ShardIx, Command)> {
        self.requests.pop()
    }

    /// Returns the next handshake step. Run it on another thread, and return the result as
    /// [`Command::Handshake`].
    pub fn poll_handshake(&mut self) -> Option<(PeerId, Box<HandshakeStep>)> {
        self.handshakes.pop_front()
    }

    /// Returns the shards to which packets were exported since the last call. Wake them.
    pub fn take_wakes(&mut self) -> Vec<ShardIx> {
        let mut wakes = Vec::new();
        for track in self.tracks.values_mut() {
            if std::mem::take(&mut track.exported) {
                wakes.extend(track.exports.iter().map(|(shard, _)| *shard));
            }
        }
        wakes.sort_unstable();
        wakes.dedup();
        wakes
    }

    /// Returns the time at which [`Shard::handle_timeout`] and [`Shard::poll_output`] are due; none
    /// without peers.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_tick.into_iter().chain(self.frame_due).min()
    }

    fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        // The ufrag decides, not the path: two tabs may share a NAT binding, and after an ICE
        // restart the peer may use a path that belonged to another.
        let by_ufrag =
            transport::local_ufrag_of(datagram).and_then(|ufrag| self.by_ufrag.get(ufrag).copied());
        let peer_ix = by_ufrag
            .or_else(|| self.by_path.get(&path).copied())
            .ok_or(DropReason::StunUnknownPeer)?;
        let result = self.peers[peer_ix].transport.handle(now, path, datagram);
        self.drain_transport(now, peer_ix);
        // If two peers use one path in turn, it belongs to the one with the latest valid check.
        let has_path = self
            .peers
            .get(peer_ix)
            .is_some_and(|peer| peer.transport.has_path(path));
        if result.is_ok() && has_path {
            self.by_path.insert(path, peer_ix);
        }
        result
    }

    fn handle_dtls(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        let peer_ix = *self.by_path.get(&path).ok_or(DropReason::DtlsUnknownPath)?;
        let result = self.peers[peer_ix].transport.handle(now, path, datagram);
        self.drain_transport(now, peer_ix);
        result
    }

    fn handle_media(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        let peer_ix = *self
            .by_path
            .get(&path)
            .ok_or(DropReason::MediaUnknownPath)?;
        let inbound = self.peers[peer_ix]
            .inbound
            .as_mut()
            .ok_or(DropReason::NoKeys)?;
        if is_rtcp(datagram) {
            let len = inbound.unprotect_rtcp(datagram)?;
            return self.handle_rtcp(now, peer_ix, &datagram[..len]);
        }
        let opened = inbound.unprotect_rtp(datagram)?;
        self.handle_rtp(now, peer_ix, opened, &datagram[..opened.len])
    }

    /// Executes the outputs of a transport.
    fn drain_transport(&mut self, now: Instant, peer_ix: PeerIx) {
        while let Some(peer) = self.peers.get_mut(peer_ix) {
            let Some(output) = peer.transport.poll_output() else {
                return;
            };
            match output {
                Output::Transmit { path, datagram } => self.queue_control(path, datagram),
                Output::Handshake(step) => self.handshakes.push_back((peer.id, step)),
                Output::Connected(session) => self.handle_connected(now, peer_ix, session),
                Output::PathOpened(path) => {
                    self.by_path.insert(path, peer_ix);
                }
                Output::PathForgotten(path) => self.forget_path(peer_ix, path),
                Output::PathSelected(path) => self.select_path(peer_ix, path),
                Output::UfragRetired(ufrag) => {
                    self.by_ufrag.remove(&ufrag);
                }
                Output::Closed(reason) => self.remove_peer(peer_ix, reason),
            }
        }
    }

    fn handle_connected(
        &mut self,
        now: Instant,
        peer_ix: PeerIx,
        session: Box<transport::SrtpSession>,
    ) {
        let peer = &mut self.peers[peer_ix];
        let Some(path) = peer.transport.path() else {
            // Unreachable: DTLS is read only from a path that passed a check.
            return peer.transport.close(now);
        };
        peer.inbound = Some(Box::new(session.inbound));
        peer.rtcp = Some(Box::new(session.outbound.rtcp));
        peer.send = Some(SendState::new(path, session.outbound.rtp, now));
        tracing::info!(lesson = ?peer.lesson, peer = %peer.id, address = %path.remote, "peer connected");
        let event = Event::PeerConnected { peer: peer.id };
        self.queue_event(event);
        self.attach_all(now, peer_ix);
    }

    /// Removes a path, unless another peer uses it by now: a phone that joined another lesson
    /// behind the same NAT binding.
    fn forget_path(&mut self, peer_ix: PeerIx, path: Path) {
        if self.by_path.get(&path) == Some(&peer_ix) {
            self.by_path.remove(&path);
        }
    }

    fn select_path(&mut self, peer_ix: PeerIx, path: Path) {
        if let Some(send) = &mut self.peers[peer_ix].send {
            send.path = path;
        }
    }

    fn remove_peer(&mut self, peer_ix: PeerIx, reason: CloseReason) {
        let peer = self.peers.remove(peer_ix);
        self.by_path.retain(|_, owner| *owner != peer_ix);
        self.by_ufrag.retain(|_, owner| *owner != peer_ix);
        self.by_peer.remove(&peer.id);
        self.publishers.retain(|publisher| *publisher != peer_ix);
        match peer.role {
            Role::Publisher(publisher) => {
                for published in &publisher.media {
                    self.remove_track(published.track);
                }
            }
            Role::Subscriber(_) => self.detach_all(peer_ix),
        }
        tracing::info!(shard = self.index.position(), lesson = ?peer.lesson, peer = %peer.id, ?reason, "peer closed");
        self.queue_event(Event::PeerClosed {
            peer: peer.id,
            reason,
        });
        self.report_members();
    }

    fn queue_control(&mut self, to: Path, datagram: bytes::Bytes) {
        match self.control.len() < MAX_CONTROL {
            true => self.control.push_back((to, datagram)),
            false => self.counters.count_drop(DropReason::ControlOverflow),
        }
        self.depths.control = self.depths.control.max(self.control.len());
    }

    fn queue_event(&mut self, event: Event) {
        self.events.push(self.ticks, event, &self.counters);
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
