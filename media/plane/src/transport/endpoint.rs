//! Transport of one peer: passes STUN to the ICE agent and DTLS to the handshake, and enforces
//! timeouts.

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

/// Transport of one peer, from its first connectivity check to its close.
pub struct Transport {
    agent: Agent,
    dtls: Dtls,
    outputs: VecDeque<Output>,
    started: Instant,
    /// Time of the last authentic packet; none before the first check.
    last_alive: Option<Instant>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Connected,
    Closed,
}

impl Transport {
    /// Makes the transport of a peer that gets `local` in the server's description. As an ICE-lite
    /// agent it sends nothing before the client's first check.
    pub fn new(identity: Arc<Identity>, local: IceCredentials, now: Instant) -> Transport {
        Transport {
            agent: Agent::new(local),
            dtls: Dtls::new(identity),
            outputs: VecDeque::new(),
            started: now,
            last_alive: None,
            phase: Phase::Connecting,
        }
    }

    /// Sets the parameters of the peer's offer or answer. Before that, its checks are answered,
    /// because their MESSAGE-INTEGRITY depends on the server's password only, and its ClientHello
    /// is buffered: an answer that arrives after the first DTLS flight costs nothing.
    ///
    /// A later description (an ICE restart) changes only the ICE credentials; the first fingerprint
    /// stays.
    pub fn set_remote(&mut self, now: Instant, remote: RemoteParameters) {
        if self.phase == Phase::Closed {
            return;
        }
        self.set_remote_ice(remote.ice);
        let event = self.dtls.set_fingerprint(now, remote.fingerprint);
        self.handle_dtls_event(event);
    }

    /// Sets only the peer's ICE credentials, as the trickle fragment of a WHIP client does (RFC
    /// 9725 §4.3.2).
    pub fn set_remote_ice(&mut self, remote: IceCredentials) {
        self.agent.set_remote_ufrag(remote.ufrag);
    }

    /// Starts an ICE restart (RFC 8445 §9) with new credentials of the server. The old ones stay
    /// valid until the first valid check with the new ones. DTLS, SRTP and the path stay as they
    /// are. [`Transport::set_remote`] or [`Transport::set_remote_ice`] sets the peer's new
    /// credentials.
    pub fn restart_ice(&mut self, now: Instant, local: IceCredentials) {
        self.outputs
            .extend(self.agent.restart(local).map(Output::from));
        self.note_alive(now);
    }

    /// Handles one STUN or DTLS datagram (first byte 0–3 or 20–63, RFC 7983 §7).
    pub fn handle(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        match datagram.first() {
            _ if self.phase == Phase::Closed => Err(DropReason::TransportClosed),
            Some(0..=3) => self.handle_stun(now, path, datagram),
            Some(20..=63) => self.handle_dtls(now, path, datagram),
            _ => Err(DropReason::UnknownProtocol),
        }
    }

    /// Returns the next output. Call it until it returns None after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Handles the result of an [`Output::Handshake`].
    pub fn handle_handshake(&mut self, now: Instant, progress: HandshakeProgress) {
        let event = self.dtls.handle_step(now, progress);
        self.handle_dtls_event(event);
    }

    /// Returns the time at which [`Transport::handle_timeout`] is due.
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

    /// Retransmits overdue DTLS flights, and closes the transport after a timeout.
    pub fn handle_timeout(&mut self, now: Instant) {
        let has_passed =
            |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if self.phase == Phase::Closed {
            return;
        }
        if has_passed(self.silence_deadline()) || has_passed(self.consent_deadline()) {
            return self.close_with(now, CloseReason::ConsentExpired);
        }
        if has_passed(self.handshake_deadline()) {
            return self.close_with(now, CloseReason::HandshakeTimeout);
        }
        self.dtls.handle_timeout(now);
        self.flush();
    }

    /// Resets the silence timeout after an authentic SRTP or SRTCP packet.
    pub fn note_alive(&mut self, now: Instant) {
        self.last_alive = self.last_alive.max(Some(now));
    }

    /// Queues a close_notify alert and [`Output::Closed`].
    pub fn close(&mut self, now: Instant) {
        self.close_with(now, CloseReason::Local);
    }

    /// Returns the path for media, once the peer has passed a check.
    pub fn path(&self) -> Option<Path> {
        self.agent.selected()
    }

    /// Returns true if the peer passed a check on `path`. Media from other paths need not be
    /// decrypted.
    pub fn has_path(&self, path: Path) -> bool {
        self.agent.has_path(path)
    }

    /// Returns the server's current ICE credentials.
    pub fn local(&self) -> &IceCredentials {
        self.agent.local()
    }

    fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        let checked = self.agent.check(now, path, datagram);
        if let Some(response) = checked.response {
            self.outputs.push_back(Output::Transmit {
                path,
                datagram: response.into(),
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
        self.handle_dtls_event(event);
        result
    }

    /// Queues the output of DTLS and then handles its event.
    fn handle_dtls_event(&mut self, event: Option<dtls::Event>) {
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

    fn close_with(&mut self, now: Instant, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.dtls.close(now);
        self.flush();
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Closed(reason));
    }

    /// Queues the outputs of DTLS. It only responds to a peer that has passed a check, so there is
    /// a path.
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
        self.last_alive.map(|alive| alive + SILENCE_TIMEOUT)
    }

    fn consent_deadline(&self) -> Option<Instant> {
        self.agent.last_check().map(|check| check + CONSENT_TIMEOUT)
    }
}
