//! One peer on a shared port: ICE-lite, DTLS 1.2 (we are the server), SRTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

mod identity;
pub mod srtp;

pub use identity::{BadFingerprint, Fingerprint, Identity};
pub use srtp::SrtpSession;

use crate::drop_reason::DropReason;

/// Without a valid connectivity check for this long, consent to send is over (RFC 7675 §5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(8);

/// A peer whose DTLS handshake is not complete after this long is given up.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// The username fragment and password of one side (RFC 8445 §5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceCredentials {
    /// Names the agent in a check's USERNAME. Ours is unique enough to find the peer by.
    pub ufrag: String,
    /// The key of MESSAGE-INTEGRITY.
    pub pwd: String,
}

impl IceCredentials {
    /// Draws fresh credentials: 96 bits of name, 144 bits of password, from the ice-char alphabet (RFC 8839 §5.4).
    pub fn random(_rng: &mut impl rand::RngCore) -> IceCredentials {
        unimplemented!()
    }
}

/// What the peer said about itself in its offer or answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteParameters {
    /// Its ICE credentials; the ufrag must be the second half of a check's USERNAME.
    pub ice: IceCredentials,
    /// The hash of the only certificate that its DTLS handshake may present.
    pub fingerprint: Fingerprint,
}

/// How a datagram travels: the peer's address and the protocol under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer's address as we see it, behind its NAT.
    pub remote: SocketAddr,
    /// UDP, or a TCP connection that frames datagrams by RFC 4571.
    pub protocol: Protocol,
}

/// What carries datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The shard's UDP port.
    Udp,
    /// A passive ICE-TCP connection (RFC 6544).
    Tcp,
}

/// What the transport wants done.
pub enum Output {
    /// Send this datagram.
    Transmit {
        /// Where to.
        path: Path,
        /// STUN or DTLS.
        datagram: Bytes,
    },
    /// The peer is who its description said; media may flow on [`Transport::path`] with these keys. Once per transport.
    Connected(SrtpSession),
    /// Media goes to this path from now on. Emitted for the first path too.
    PathChanged(Path),
    /// Nothing more will come: drop the transport after performing the outputs before this one.
    Closed(CloseReason),
}

/// Why a peer's transport ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// [`Transport::close`] was called.
    Local,
    /// The peer sent close_notify.
    PeerClosed,
    /// No valid check for [`CONSENT_TIMEOUT`].
    ConsentExpired,
    /// No complete handshake within [`HANDSHAKE_TIMEOUT`].
    HandshakeTimeout,
    /// The handshake failed: a wrong certificate, no common cipher or SRTP profile, a fatal alert.
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
    _private: (),
}

impl Transport {
    /// A peer that knows `local` from our description. Nothing is sent before it checks connectivity: we are ICE-lite.
    pub fn new(_identity: Arc<Identity>, _local: IceCredentials, _now: Instant) -> Transport {
        unimplemented!()
    }

    /// Tells what the peer's offer or answer said. Until then checks are answered (their MESSAGE-INTEGRITY is ours) and a
    /// ClientHello is held, so an answer that loses the race with its own media costs no retransmission.
    pub fn set_remote(&mut self, _now: Instant, _remote: RemoteParameters) {
        unimplemented!()
    }

    /// Starts an ICE restart (RFC 8445 §9): `local` are our new credentials. The old ones stay valid until the first valid
    /// check with the new ones; DTLS, SRTP and the path stay as they are. `remote` may follow later through `set_remote`.
    pub fn restart_ice(&mut self, _local: IceCredentials, _remote: Option<IceCredentials>) {
        unimplemented!()
    }

    /// Feeds one STUN or DTLS datagram (first byte 0–3 or 20–63, RFC 7983).
    pub fn handle(&mut self, _now: Instant, _path: Path, _datagram: &[u8]) -> Result<(), DropReason> {
        unimplemented!()
    }

    /// Takes the next thing to do; call until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        unimplemented!()
    }

    /// When [`Transport::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// Retransmits what is overdue, ends what has expired.
    pub fn handle_timeout(&mut self, _now: Instant) {
        unimplemented!()
    }

    /// Queues close_notify and [`Output::Closed`].
    pub fn close(&mut self, _now: Instant) {
        unimplemented!()
    }

    /// The path media goes to, once the peer has passed a check.
    pub fn path(&self) -> Option<Path> {
        unimplemented!()
    }

    /// Whether a datagram from `path` comes from an address that passed a check: RTP from elsewhere need not be decrypted.
    pub fn knows(&self, _path: Path) -> bool {
        unimplemented!()
    }

    /// Our current credentials: the shard looks the peer up by their ufrag.
    pub fn local(&self) -> &IceCredentials {
        unimplemented!()
    }
}

/// Our ufrag in the USERNAME of a binding request (RFC 8445 §7.2.2): how the shard finds the peer of an unknown address.
/// `None` for anything that is no well-formed binding request with a USERNAME. Nothing is authenticated here.
pub fn local_ufrag_of(_stun: &[u8]) -> Option<&str> {
    unimplemented!()
}
