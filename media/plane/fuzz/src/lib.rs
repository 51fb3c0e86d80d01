//! Peer that has passed a connectivity check, for the targets that need one.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rtc_stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter};
use tongke_plane::transport::{Fingerprint, IceCredentials, Identity, Path, RemoteParameters, Transport};

/// Constant local credentials, so that the seeds of the corpus stay valid.
pub fn local_credentials() -> IceCredentials {
    IceCredentials { ufrag: "fuzz".into(), pwd: "a password that never changes".into() }
}

/// Path of the peer.
pub fn path() -> Path {
    Path::udp("192.0.2.7:7000".parse().expect("a good address"))
}

/// Creates a transport with the peer's remote parameters.
#[expect(clippy::disallowed_methods, reason = "a run needs a start time")]
pub fn peer() -> (Transport, Instant) {
    static IDENTITY: OnceLock<Arc<Identity>> = OnceLock::new();
    let identity = IDENTITY.get_or_init(|| Arc::new(Identity::generate().expect("a certificate")));
    let now = Instant::now();
    let mut transport = Transport::new(identity.clone(), local_credentials(), now);
    let ice = IceCredentials { ufrag: "peer".into(), pwd: "the peer's password, never used".into() };
    transport.set_remote(now, RemoteParameters { ice, fingerprint: Fingerprint([7; 32]) });
    (transport, now)
}

/// Returns a valid connectivity check of that peer.
pub fn check() -> Vec<u8> {
    let crypto = rtc_crypto::default_provider().expect("a provider is compiled in");
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.write_header();
    message.add(ATTR_USERNAME, b"fuzz:peer");
    message.add(ATTR_PRIORITY, &[0x6E, 0, 0x1E, 0xFF]);
    message.add(ATTR_ICE_CONTROLLING, &[7; 8]);
    message.add(ATTR_USE_CANDIDATE, &[]);
    let integrity = MessageIntegrity::new_short_term_integrity_with_provider(local_credentials().pwd, crypto.crypto());
    integrity.add_to(&mut message).expect("a key");
    FINGERPRINT.add_to(&mut message).expect("room");
    message.raw
}
