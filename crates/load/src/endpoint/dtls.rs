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

use super::{Identity, Received, fingerprint};
use crate::Failure;

/// Placeholder: rtc-dtls identifies an association by its address, and there is only one.
const ASSOCIATION: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65_535));

/// The exporter label of RFC 5764 §4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";

/// Retransmission interval of a flight: join times are measured, and the standard's 1 s would
/// dominate them.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DtlsRole {
    Client,
    Server,
}

pub(super) struct Dtls {
    endpoint: Endpoint,
    /// Configuration of a client before its ClientHello.
    unstarted: Option<Arc<HandshakeConfig>>,
    role: DtlsRole,
}

impl Dtls {
    /// `expected` is the fingerprint in the answer.
    pub(super) fn new(
        identity: &Identity,
        expected: &str,
        role: DtlsRole,
    ) -> Result<Dtls, Failure> {
        let expected = expected.to_ascii_uppercase();
        let builder = ConfigBuilder::default()
            .with_crypto_provider(identity.crypto.clone())
            .with_certificates(vec![identity.certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_flight_interval(FLIGHT_INTERVAL)
            // RFC 8827 §6.5: the certificate is verified by its fingerprint in the SDP.
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

    /// Sends the ClientHello of a client, once ICE has a path.
    pub(super) fn start(&mut self, now: Instant) {
        if let Some(config) = self.unstarted.take() {
            // A failure shows as a client that never connects.
            let _ = self.endpoint.connect(now, ASSOCIATION, config, None);
        }
    }

    pub(super) fn handle(&mut self, datagram: BytesMut, now: Instant) -> Received {
        let Ok(events) = self.endpoint.read(now, ASSOCIATION, None, datagram) else {
            return Received::Handled;
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
        Received::Handled
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

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self
            .endpoint
            .poll_timeout(&ASSOCIATION)
            .is_some_and(|due| due <= now)
        {
            // A handshake out of retries shows as a client that never connects.
            let _ = self.endpoint.handle_timeout(ASSOCIATION, now);
        }
    }

    pub(super) fn close(&mut self, now: Instant) {
        let _ = self.endpoint.stop(now, ASSOCIATION);
    }

    pub(super) fn take_outgoing(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| transmit.message.freeze())
            .collect()
    }
}
