//! Handshake steps: the elliptic-curve cryptography of a handshake takes a few hundred
//! microseconds, which must not delay the packets of other peers.
//!
//! The transport returns a self-contained [`HandshakeStep`]. It runs on another thread and returns
//! as [`HandshakeProgress`].

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::error::Error;

use super::flight::{ASSOCIATION, Handshake};
use super::identity::{Fingerprint, Identity};
use super::srtp::{Profile, Role, SrtpSession};

/// Exporter label (RFC 5764 §4.2).
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";

/// Datagrams of a client, and the handshake to which they belong.
pub struct HandshakeStep {
    now: Instant,
    from: Origin,
    datagrams: Vec<Vec<u8>>,
}

/// State at the start of a step.
enum Origin {
    ClientHello {
        identity: Arc<Identity>,
        expected: Fingerprint,
        profile: Profile,
    },
    Handshake(Box<Handshake>),
}

/// Result of a step.
pub struct HandshakeProgress {
    pub(super) outgoing: Vec<Bytes>,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// Waiting for the client's next flight.
    Waiting(Box<Handshake>),
    /// Complete; the certificate matches the description.
    Open(Box<Endpoint>, Box<SrtpSession>),
    PeerClosed,
    Failed,
}

impl HandshakeStep {
    /// Makes the first step. It answers a complete ClientHello with `profile` as the only SRTP
    /// profile, and accepts only the `expected` certificate.
    pub(super) fn first(
        now: Instant,
        identity: Arc<Identity>,
        expected: Fingerprint,
        profile: Profile,
        datagrams: Vec<Vec<u8>>,
    ) -> HandshakeStep {
        HandshakeStep {
            now,
            from: Origin::ClientHello {
                identity,
                expected,
                profile,
            },
            datagrams,
        }
    }

    pub(super) fn next(
        now: Instant,
        handshake: Box<Handshake>,
        datagrams: Vec<Vec<u8>>,
    ) -> HandshakeStep {
        HandshakeStep {
            now,
            from: Origin::Handshake(handshake),
            datagrams,
        }
    }

    /// Runs the step.
    pub fn run(self) -> HandshakeProgress {
        let mut outgoing = Vec::new();
        let outcome = match self.from {
            Origin::Handshake(handshake) => {
                read(self.now, handshake, &self.datagrams, &mut outgoing)
            }
            Origin::ClientHello {
                identity,
                expected,
                profile,
            } => match config(&identity, expected, profile) {
                Ok(config) => {
                    let handshake = Box::new(Handshake::new(self.now, profile, config));
                    read(self.now, handshake, &self.datagrams, &mut outgoing)
                }
                Err(_) => Outcome::Failed,
            },
        };
        HandshakeProgress { outgoing, outcome }
    }
}

fn config(
    identity: &Identity,
    expected: Fingerprint,
    profile: Profile,
) -> Result<Arc<HandshakeConfig>, Error> {
    let crypto = identity.crypto().clone();
    let profile = match profile {
        Profile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        Profile::Aes128CmHmacSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    };
    let builder = ConfigBuilder::default()
        .with_crypto_provider(crypto.clone())
        .with_certificates(vec![identity.certificate().clone()])
        .with_srtp_protection_profiles(vec![profile])
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        // RFC 8827 §6.5: the certificate is authenticated by the fingerprint in the description,
        // not by a certificate chain.
        .with_insecure_skip_verify(true)
        .with_verify_peer_certificate(Some(Arc::new(move |chain: &[Vec<u8>], _: &_| {
            let presented = chain.first().map(|der| Fingerprint::of(der, &crypto));
            match presented {
                Some(Ok(fingerprint)) if fingerprint == expected => Ok(()),
                _ => Err(Error::ErrNoMatchingCertificateFingerprint),
            }
        })))
        .with_extended_master_secret(ExtendedMasterSecretType::Require);
    Ok(Arc::new(builder.build(false, None)?))
}

fn read(
    now: Instant,
    mut handshake: Box<Handshake>,
    datagrams: &[Vec<u8>],
    outgoing: &mut Vec<Bytes>,
) -> Outcome {
    for datagram in datagrams {
        let Ok(events) = handshake.read(now, datagram, outgoing) else {
            return Outcome::Failed;
        };
        if events
            .iter()
            .any(|event| matches!(event, EndpointEvent::PeerClosed))
        {
            return Outcome::PeerClosed;
        }
        if events
            .iter()
            .any(|event| matches!(event, EndpointEvent::HandshakeComplete))
        {
            return match export(&handshake.endpoint, handshake.profile) {
                Some(session) => Outcome::Open(Box::new(handshake.endpoint), Box::new(session)),
                None => Outcome::Failed,
            };
        }
    }
    Outcome::Waiting(handshake)
}

/// Derives the SRTP session of a complete handshake. None if the client did not select the offered
/// profile.
fn export(endpoint: &Endpoint, profile: Profile) -> Option<SrtpSession> {
    let state = endpoint.get_connection_state(ASSOCIATION)?;
    let agreed = match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Aes128CmHmacSha1_80,
        _ => return None,
    };
    let material = state
        .export_keying_material(EXPORTER, &[], profile.keying_material_len())
        .ok()?;
    let session =
        SrtpSession::from_keying_material(profile, material.as_ref(), Role::Server).ok()?;
    (agreed == profile).then_some(session)
}
