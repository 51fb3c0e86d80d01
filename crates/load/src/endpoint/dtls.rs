//! DTLS-SRTP (RFC 5764) around rtc-dtls, in either role.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::shared::error::Error;
use tongke_plane::transport::srtp::{Profile, Role, SrtpSession};

use super::{Keyring, Received, fingerprint};
use crate::Failure;

/// rtc-dtls names an association by its address; there is one here.
const ASSOCIATION: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65_535));

/// The exporter label of RFC 5764 §4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";

/// A flight without an answer is repeated after this long: join times are measured, and a second would show as one.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    Client,
    Server,
}

pub struct Dtls {
    endpoint: Endpoint,
    /// Of a client that has not begun.
    unstarted: Option<Arc<HandshakeConfig>>,
    role: DtlsRole,
}

impl Dtls {
    /// `expected`: the fingerprint that the answer names.
    pub fn new(keyring: &Keyring, expected: &str, role: DtlsRole) -> Result<Dtls, Failure> {
        let expected = expected.to_ascii_uppercase();
        let builder = ConfigBuilder::default()
            .with_crypto_provider(keyring.crypto.clone())
            .with_certificates(vec![keyring.certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_flight_interval(FLIGHT_INTERVAL)
            // RFC 8827 §6.5: the fingerprint in the description stands for the certificate.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(
                move |chain: &[Vec<u8>], _: &_| match chain.first() {
                    Some(der) if fingerprint(der) == expected => Ok(()),
                    _ => Err(Error::ErrNoMatchingCertificateFingerprint),
                },
            )))
            .with_extended_master_secret(ExtendedMasterSecretType::Request);
        let config = Arc::new(builder.build(role == DtlsRole::Client, None)?);
        let (server, unstarted) = match role {
            DtlsRole::Client => (None, Some(config)),
            DtlsRole::Server => (Some(config), None),
        };
        Ok(Dtls {
            endpoint: Endpoint::new(ASSOCIATION, TransportProtocol::UDP, server),
            unstarted,
            role,
        })
    }

    /// The path is good: a client says hello.
    pub fn start(&mut self, now: Instant) {
        if let Some(config) = self.unstarted.take() {
            // A hello that cannot be made shows as a client that never connects.
            let _ = self.endpoint.connect(now, ASSOCIATION, config, None);
        }
    }

    pub fn handle(&mut self, datagram: BytesMut, now: Instant) -> Received {
        let Ok(events) = self.endpoint.read(now, ASSOCIATION, None, datagram) else {
            return Received::Nothing;
        };
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    if let Some((session, profile)) = self.session() {
                        return Received::Connected(Box::new(session), profile);
                    }
                }
                EndpointEvent::PeerClosed => return Received::Closed,
                _ => {}
            }
        }
        Received::Nothing
    }

    fn session(&self) -> Option<(SrtpSession, Profile)> {
        let state = self.endpoint.get_connection_state(ASSOCIATION)?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Aes128CmHmacSha1_80,
            _ => return None,
        };
        let material = state
            .export_keying_material(EXPORTER, &[], profile.keying_material_len())
            .ok()?;
        let role = if self.role == DtlsRole::Client {
            Role::Client
        } else {
            Role::Server
        };
        Some((
            SrtpSession::from_keying_material(profile, material.as_ref(), role).ok()?,
            profile,
        ))
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self
            .endpoint
            .poll_timeout(&ASSOCIATION)
            .is_some_and(|due| due <= now)
        {
            // A handshake that has used up its repeats shows as a client that never connects.
            let _ = self.endpoint.handle_timeout(ASSOCIATION, now);
        }
    }

    pub fn close(&mut self, now: Instant) {
        let _ = self.endpoint.stop(now, ASSOCIATION);
    }

    pub fn take_outgoing(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| transmit.message.freeze())
            .collect()
    }
}
