//! Transport of one peer on a shared port: ICE-lite, DTLS 1.2 (as server), SRTP.
//!
//! The shard owns a [`Transport`] per peer. It passes each STUN datagram to the peer that
//! [`local_ufrag_of`] names and each DTLS datagram to the peer of its path, and executes the
//! outputs of [`Transport::poll_output`]. Media does not pass through the transport: the shard
//! keeps the [`SrtpSession`] of [`Output::Connected`] in its own state. The cryptography of a
//! handshake is returned as [`Output::Handshake`] and runs elsewhere;
//! [`Transport::handle_handshake`] receives the result.
//!
//! **Security.** An unauthenticated datagram cannot affect a connected peer: only a check with the
//! server's password opens or changes a path, DTLS is read only from such paths, and after the
//! handshake only authentic records count. Before that, the cost of an unauthenticated sender is
//! bounded in bytes ([`DropReason::DtlsBudget`](crate::drop_reason::DropReason::DtlsBudget)) and in
//! time ([`HANDSHAKE_TIMEOUT`]). ICE does not protect against an on-path attacker who replays a
//! check from another address (RFC 8445 §19.1); such an attacker could also drop the packets.

use std::time::Duration;

use bytes::Bytes;

mod dormant;
mod dtls;
mod endpoint;
mod flight;
mod hello;
mod ice;
mod identity;
mod path;
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

/// Timeout after the last authentic packet of a peer: a connectivity check, or media
/// ([`Transport::note_alive`]).
///
/// A disconnected client must disappear within 10 s. libwebrtc checks a stable path every 2.5 s, so
/// three consecutive checks may be lost. Agents that follow RFC 7675 §5.1 check every 4–6 s; for
/// them, media and RTCP cover a lost check.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(8);

/// Consent to send expires this long after the last valid check, whatever other packets arrive (RFC
/// 7675 §5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Timeout of the DTLS handshake, counted from the description.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Transport parameters of the peer's offer or answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteParameters {
    /// ICE credentials. The ufrag must be the second half of a check's USERNAME; a lite agent never
    /// needs the password.
    pub ice: IceCredentials,
    /// Hash of the only certificate that the DTLS handshake accepts.
    pub fingerprint: Fingerprint,
}

/// Output of the transport, to be executed in order.
pub enum Output {
    /// Send a STUN or DTLS datagram.
    Transmit {
        /// The destination.
        path: Path,
        /// The datagram.
        datagram: Bytes,
    },
    /// The peer passed a check on a new path: accept DTLS and media from it.
    PathOpened(Path),
    /// Run this step on any thread, and pass the result to [`Transport::handle_handshake`].
    Handshake(Box<HandshakeStep>),
    /// The path was replaced by newer ones: accept nothing from it any more.
    PathForgotten(Path),
    /// Send media to this path from now on. Emitted for the first path too.
    PathSelected(Path),
    /// A ufrag of the server is no longer valid: the ICE restart is complete.
    UfragRetired(String),
    /// The handshake is complete and the certificate matches the description. Media may flow with
    /// these keys. Emitted once.
    Connected(Box<SrtpSession>),
    /// The transport is closed; this is the last output.
    Closed(CloseReason),
}

/// The reason for which a transport was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// [`Transport::close`] was called.
    Local,
    /// The peer sent close_notify, or a fatal alert.
    PeerClosed,
    /// No authentic packet for [`SILENCE_TIMEOUT`], or no check for [`CONSENT_TIMEOUT`].
    ConsentExpired,
    /// No complete handshake within [`HANDSHAKE_TIMEOUT`].
    HandshakeTimeout,
    /// The handshake cannot succeed: the certificate does not match the description, or there is no
    /// common cipher or SRTP profile.
    HandshakeFailed,
}

/// The DTLS identity could not be created.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Generating or hashing the certificate failed.
    #[error("generating the DTLS certificate: {0}")]
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
