//! One peer's endpoint: STUN to the agent, DTLS to the handshake, deadlines, and what comes of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::dtls::{self, Dtls};
use super::ice::Agent;
use super::{
    CONSENT_TIMEOUT, CloseReason, HANDSHAKE_TIMEOUT, HandshakeProgress, IceCredentials, Identity,
    Output, Path, RemoteParameters, SILENCE_TIMEOUT,
};
use crate::drop_reason::DropReason;

/// One peer's endpoint, from its first connectivity check to its close.
pub struct Transport {
    agent: Agent,
    dtls: Dtls,
    outputs: VecDeque<Output>,
    started: Instant,
    /// When the peer last showed that it is alive; before its first check, never.
    last_heard: Option<Instant>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Connected,
    Closed,
}

impl Transport {
    /// A peer that knows `local` from our description. We send nothing before it checks connectivity: we are ICE-lite.
    pub fn new(identity: Arc<Identity>, local: IceCredentials, now: Instant) -> Transport {
        Transport {
            agent: Agent::new(local),
            dtls: Dtls::new(identity),
            outputs: VecDeque::new(),
            started: now,
            last_heard: None,
            phase: Phase::Connecting,
        }
    }

    /// Tells what the peer's offer or answer said. Until then its checks are answered, as their MESSAGE-INTEGRITY is made with
    /// our password, and its ClientHello is held: an answer that loses the race against its own handshake costs nothing.
    ///
    /// A later description (an ICE restart) changes the ICE credentials only; the first fingerprint stays.
    pub fn set_remote(&mut self, now: Instant, remote: RemoteParameters) {
        if self.phase == Phase::Closed {
            return;
        }
        self.set_remote_ice(remote.ice);
        let event = self.dtls.expect(now, remote.fingerprint);
        self.follow(event);
    }

    /// Tells the peer's new ICE credentials alone, as the trickle fragment of a WHIP client does (RFC 9725 §4.3.2).
    pub fn set_remote_ice(&mut self, remote: IceCredentials) {
        self.agent.set_remote_ufrag(remote.ufrag);
    }

    /// Begins an ICE restart (RFC 8445 §9) with new credentials of ours. The old ones stay valid until the first valid check
    /// with the new ones; DTLS, SRTP and the path stay as they are. The peer's new credentials come through
    /// [`Transport::set_remote`] or [`Transport::set_remote_ice`].
    pub fn restart_ice(&mut self, now: Instant, local: IceCredentials) {
        self.outputs
            .extend(self.agent.restart(local).map(Output::from));
        self.note_alive(now);
    }

    /// Feeds one STUN or DTLS datagram (first byte 0–3 or 20–63, RFC 7983 §7).
    pub fn handle(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        match datagram.first() {
            _ if self.phase == Phase::Closed => Err(DropReason::TransportClosed),
            Some(0..=3) => self.handle_stun(now, path, datagram),
            Some(20..=63) => self.handle_dtls(now, path, datagram),
            _ => Err(DropReason::UnknownProtocol),
        }
    }

    /// Takes the next thing to do; call it until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes back what became of [`Output::Handshake`].
    pub fn handle_handshake(&mut self, now: Instant, progress: HandshakeProgress) {
        let event = self.dtls.stepped(now, progress);
        self.follow(event);
    }

    /// When [`Transport::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.phase == Phase::Closed {
            return None;
        }
        [
            self.dtls.poll_timeout(),
            self.handshake_deadline(),
            self.silence_deadline(),
            self.consent_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Retransmits what is overdue, ends what has expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if self.phase == Phase::Closed {
            return;
        }
        if is_over(self.silence_deadline()) || is_over(self.consent_deadline()) {
            return self.end(now, CloseReason::ConsentExpired);
        }
        if is_over(self.handshake_deadline()) {
            return self.end(now, CloseReason::HandshakeTimeout);
        }
        self.dtls.handle_timeout(now);
        self.flush();
    }

    /// Notes that the peer is alive because a packet of its SRTP session was authentic.
    pub fn note_alive(&mut self, now: Instant) {
        self.last_heard = self.last_heard.max(Some(now));
    }

    /// Queues close_notify and [`Output::Closed`].
    pub fn close(&mut self, now: Instant) {
        self.end(now, CloseReason::Local);
    }

    /// The path media goes to, once the peer has passed a check.
    pub fn path(&self) -> Option<Path> {
        self.agent.selected()
    }

    /// Whether the peer passed a check on `path`: media from elsewhere need not even be decrypted.
    pub fn has_path(&self, path: Path) -> bool {
        self.agent.has_path(path)
    }

    /// Our current credentials.
    pub fn local(&self) -> &IceCredentials {
        self.agent.local()
    }

    fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        let checked = self.agent.check(now, path, datagram);
        if let Some(answer) = checked.answer {
            self.outputs.push_back(Output::Transmit {
                path,
                datagram: answer.into(),
            });
        }
        if checked.result.is_ok() {
            self.note_alive(now);
        }
        self.outputs
            .extend(checked.events.into_iter().map(Output::from));
        checked.result
    }

    fn handle_dtls(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        if !self.agent.has_path(path) {
            return Err(DropReason::DtlsUnknownPath);
        }
        let result = self.dtls.read(now, datagram);
        let (event, result) = match result {
            Ok(event) => (event, Ok(())),
            Err(reason) => (None, Err(reason)),
        };
        self.follow(event);
        result
    }

    /// Sends what DTLS produced, then takes up what happened.
    fn follow(&mut self, event: Option<dtls::Event>) {
        self.flush();
        let reason = match event {
            None => return,
            Some(dtls::Event::Open(session)) => {
                self.phase = Phase::Connected;
                return self.outputs.push_back(Output::Connected(session));
            }
            Some(dtls::Event::PeerClosed) => CloseReason::PeerClosed,
            Some(dtls::Event::Failed) => CloseReason::HandshakeFailed,
        };
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Closed(reason));
    }

    fn end(&mut self, now: Instant, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.dtls.close(now);
        self.flush();
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Closed(reason));
    }

    /// Hands out what DTLS wants done. It only ever answers a peer that has passed a check, so there is a path.
    fn flush(&mut self) {
        let datagrams = self.dtls.take_outgoing();
        if let Some(path) = self.agent.selected() {
            self.outputs.extend(
                datagrams
                    .into_iter()
                    .map(|datagram| Output::Transmit { path, datagram }),
            );
        }
        self.outputs
            .extend(self.dtls.take_step().map(Output::Handshake));
    }

    fn handshake_deadline(&self) -> Option<Instant> {
        (self.phase == Phase::Connecting).then(|| self.started + HANDSHAKE_TIMEOUT)
    }

    fn silence_deadline(&self) -> Option<Instant> {
        self.last_heard.map(|heard| heard + SILENCE_TIMEOUT)
    }

    fn consent_deadline(&self) -> Option<Instant> {
        self.agent.last_check().map(|check| check + CONSENT_TIMEOUT)
    }
}
