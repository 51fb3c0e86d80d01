//! One peer on a shared port: ICE-lite, DTLS 1.2 (we are the server), SRTP.
//!
//! The shard owns the socket and a [`Transport`] per peer. It hands each STUN datagram to the peer that [`local_ufrag_of`]
//! names, each DTLS datagram to the peer whose path it came from, and performs what [`Transport::poll_output`] says. Media
//! does not pass through here: the [`SrtpSession`] of [`Output::Connected`] is the shard's to keep next to its hot state. What a handshake
//! needs computed leaves as [`Output::Handshake`], and the transport goes on when that comes back.
//!
//! **Who may do what.** An unauthenticated datagram can do nothing to a connected peer: a path opens or changes only by a
//! check made with our password, DTLS is read only from such paths, and after the handshake only authentic records count. What
//! an unauthenticated sender can cost before that is bounded in bytes ([`DropReason::DtlsBudget`](crate::drop_reason::DropReason::DtlsBudget)) and in time
//! ([`HANDSHAKE_TIMEOUT`]). ICE itself does not protect against someone on the path who repeats a peer's check from another
//! address (RFC 8445 §19.1); such a person could also simply drop the packets.

use std::time::Duration;

use bytes::Bytes;

mod dtls;
mod endpoint;
mod flight;
mod hello;
mod ice;
mod identity;
mod path;
mod resting;
pub mod srtp;
mod step;
mod stun;

pub use endpoint::Transport;
pub use ice::IceCredentials;
pub use identity::{BadFingerprint, Fingerprint, Identity};
pub use path::{Path, Protocol};
pub use srtp::SrtpSession;
pub use step::{HandshakeProgress, HandshakeStep};
pub use stun::local_ufrag_of;

use ice::PathEvent;

/// A peer of whom nothing authentic was heard for this long is gone: no check, and no media either ([`Transport::note_alive`]).
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
    /// Run this, anywhere, and give what comes of it to [`Transport::handle_handshake`].
    Handshake(Box<HandshakeStep>),
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
