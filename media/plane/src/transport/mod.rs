//! One peer on a shared port: ICE-lite, DTLS 1.2 (we are the server), SRTP.
//!
//! The shard owns the socket and a [`Transport`] per peer. It hands each STUN datagram to the peer that [`local_ufrag_of`]
//! names, each DTLS datagram to the peer whose path it came from, and performs what [`Transport::poll_output`] says. Media
//! does not pass through here: the [`SrtpSession`] of [`Output::Connected`] is the shard's to keep next to its hot state.
//!
//! **Who may do what.** An unauthenticated datagram can do nothing to a connected peer: a path opens or changes only by a
//! check made with our password, DTLS is read only from such paths, and after the handshake only authentic records count. What
//! an unauthenticated sender can cost before that is bounded in bytes ([`DropReason::DtlsTooMuch`]) and in time
//! ([`HANDSHAKE_TIMEOUT`]). ICE itself does not protect against someone on the path who repeats a peer's check from another
//! address (RFC 8445 §19.1); such a person could also simply drop the packets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

mod dtls;
mod hello;
mod ice;
mod identity;
mod path;
pub mod srtp;
mod stun;

pub use ice::IceCredentials;
pub use identity::{BadFingerprint, Fingerprint, Identity};
pub use path::{Path, Protocol};
pub use srtp::SrtpSession;
pub use stun::local_ufrag_of;

use crate::drop_reason::DropReason;
use dtls::Dtls;
use ice::{Agent, PathEvent};

/// A peer of whom nothing authentic was heard for this long is gone: no check, and no media either ([`Transport::heard`]).
///
/// A ghost must leave the wall within 10 s. libwebrtc checks a stable path every 2.5 s, so three lost checks in a row are
/// forgiven; agents that follow RFC 7675 §5.1 check every 4–6 s, and for them media and RTCP bridge a lost check.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(8);

/// Without a valid check for this long consent to send is over, whatever else was heard (RFC 7675 §5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A peer whose DTLS handshake is not complete this long after its description was made is given up.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// What the peer said about itself in its offer or answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteParameters {
    /// Its ICE credentials; the ufrag must be the second half of a check's USERNAME. A lite agent never needs the password.
    pub ice: IceCredentials,
    /// The hash of the only certificate that its DTLS handshake may present.
    pub fingerprint: Fingerprint,
}

/// What the transport wants done, in this order.
pub enum Output {
    /// Send this STUN or DTLS datagram.
    Transmit {
        /// Where to.
        path: Path,
        /// What.
        datagram: Bytes,
    },
    /// The peer passed a check on a new path: DTLS and media may come from there from now on.
    PathOpened(Path),
    /// The peer has newer paths; nothing from this one is accepted any more.
    PathForgotten(Path),
    /// Media goes to this path from now on. Emitted for the first path too.
    PathSelected(Path),
    /// The peer no longer answers to this ufrag of ours: an ICE restart is complete.
    UfragRetired(String),
    /// The peer is who its description says; media may flow with these keys. Once per transport.
    Connected(Box<SrtpSession>),
    /// Nothing more will come.
    Closed(CloseReason),
}

/// Why a peer's transport ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// [`Transport::close`] was called.
    Local,
    /// The peer sent close_notify, or a fatal alert.
    PeerClosed,
    /// Silence for [`SILENCE_TIMEOUT`], or no check for [`CONSENT_TIMEOUT`].
    ConsentExpired,
    /// No complete handshake within [`HANDSHAKE_TIMEOUT`].
    HandshakeTimeout,
    /// The handshake cannot succeed: another certificate than described, no common cipher or SRTP profile.
    HandshakeFailed,
}

/// The process cannot speak DTLS at all.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Making or hashing the certificate failed.
    #[error("making the DTLS certificate: {0}")]
    Certificate(String),
    /// The generated identity holds no certificate.
    #[error("the generated DTLS identity holds no certificate")]
    NoCertificate,
}

impl TransportError {
    fn certificate(error: impl std::fmt::Display) -> TransportError {
        TransportError::Certificate(error.to_string())
    }
}

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
        self.outputs.extend(self.agent.restart(local).map(Output::from));
        self.heard(now);
    }

    /// Feeds one STUN or DTLS datagram (first byte 0–3 or 20–63, RFC 7983 §7).
    pub fn handle(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        match datagram.first() {
            _ if self.phase == Phase::Closed => Err(DropReason::TransportClosed),
            Some(0..=3) => self.handle_stun(now, path, datagram),
            Some(20..=63) => self.handle_dtls(now, path, datagram),
            _ => Err(DropReason::NotForUs),
        }
    }

    /// Takes the next thing to do; call it until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Transport::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.phase == Phase::Closed {
            return None;
        }
        [self.dtls.poll_timeout(), self.handshake_deadline(), self.silence_deadline(), self.consent_deadline()]
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
    pub fn heard(&mut self, now: Instant) {
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
    pub fn knows(&self, path: Path) -> bool {
        self.agent.knows(path)
    }

    /// Our current credentials.
    pub fn local(&self) -> &IceCredentials {
        self.agent.local()
    }

    fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        let checked = self.agent.check(now, path, datagram);
        if let Some(answer) = checked.answer {
            self.outputs.push_back(Output::Transmit { path, datagram: answer.into() });
        }
        if checked.result.is_ok() {
            self.heard(now);
        }
        self.outputs.extend(checked.events.into_iter().map(Output::from));
        checked.result
    }

    fn handle_dtls(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        if !self.agent.knows(path) {
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

    /// DTLS only ever answers a peer that has passed a check, so there is a path.
    fn flush(&mut self) {
        let datagrams = self.dtls.take_outgoing();
        if let Some(path) = self.agent.selected() {
            self.outputs.extend(datagrams.into_iter().map(|datagram| Output::Transmit { path, datagram }));
        }
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

impl From<PathEvent> for Output {
    fn from(event: PathEvent) -> Output {
        match event {
            PathEvent::Opened(path) => Output::PathOpened(path),
            PathEvent::Forgotten(path) => Output::PathForgotten(path),
            PathEvent::Selected(path) => Output::PathSelected(path),
            PathEvent::Retired(ufrag) => Output::UfragRetired(ufrag),
        }
    }
}

#[cfg(test)]
mod tests;
