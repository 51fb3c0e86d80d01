//! Tests of the transport against an independent client: checks by `rtc-stun`, DTLS by `rtc-dtls`,
//! SRTP by `rtc-srtp`. Everything runs in virtual time on a link that can lose, repeat and forge
//! datagrams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_dtls::config::{ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;
use crate::drop_reason::DropReason;

mod checks;
mod handshake;
mod lifetime;

const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const GCM_256: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm;
const CM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
const SERVER: &str = "10.0.0.1:8189";

/// Attributes of a check besides USERNAME.
#[derive(Clone, Copy)]
struct Check {
    use_candidate: bool,
    controlled: bool,
    unknown: Option<u16>,
    priority: bool,
}

const PLAIN: Check = Check {
    use_candidate: false,
    controlled: false,
    unknown: None,
    priority: true,
};
const NOMINATE: Check = Check {
    use_candidate: true,
    ..PLAIN
};

/// The client's end of the link.
struct Client {
    address: SocketAddr,
    local: IceCredentials,
    remote: IceCredentials,
    dtls: Endpoint,
    /// The last flight. A browser retransmits it until it is answered; rtc-dtls does not in some
    /// states.
    flight: Vec<BytesMut>,
    fingerprint: Fingerprint,
    connected: bool,
    closed: bool,
}

fn crypto() -> Arc<dyn rtc_crypto::RTCCryptoProvider> {
    rtc_crypto::default_provider().expect("a provider is compiled in")
}

impl Client {
    fn new(
        now: Instant,
        server: &Transport,
        expected: Fingerprint,
        profiles: Vec<SrtpProtectionProfile>,
    ) -> Client {
        let crypto = crypto();
        let certificate =
            Certificate::generate_self_signed(vec!["browser".into()], crypto.crypto())
                .expect("a certificate");
        let fingerprint = Fingerprint::of(&certificate.certificate[0], &crypto).expect("SHA-256");
        let verifier = crypto.clone();
        let config = ConfigBuilder::default()
            .with_crypto_provider(crypto)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(profiles)
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_verify_peer_certificate(Some(Arc::new(move |chain: &[Vec<u8>], _: &_| {
                let presented = Fingerprint::of(&chain[0], &verifier).expect("SHA-256");
                if presented == expected {
                    Ok(())
                } else {
                    Err(Error::ErrNoMatchingCertificateFingerprint)
                }
            })))
            .build(true, None)
            .expect("a good configuration");
        let mut dtls = Endpoint::new(address("10.0.0.9:5000"), TransportProtocol::UDP, None);
        dtls.connect(now, address(SERVER), Arc::new(config), None)
            .expect("a ClientHello");
        Client {
            address: address("10.0.0.9:5000"),
            local: IceCredentials {
                ufrag: "brow".into(),
                pwd: "a browser's password of 22+".into(),
            },
            remote: server.local().clone(),
            dtls,
            flight: vec![],
            fingerprint,
            connected: false,
            closed: false,
        }
    }

    fn parameters(&self) -> RemoteParameters {
        RemoteParameters {
            ice: self.local.clone(),
            fingerprint: self.fingerprint,
        }
    }

    fn check(&self, check: Check) -> Vec<u8> {
        checks::build(
            &format!("{}:{}", self.remote.ufrag, self.local.ufrag),
            &self.remote.pwd,
            check,
        )
    }

    fn path(&self) -> Path {
        Path::udp(self.address)
    }

    fn read(&mut self, now: Instant, datagram: &[u8]) {
        if datagram[0] < 4 {
            return;
        }
        let events = self
            .dtls
            .read(now, address(SERVER), None, BytesMut::from(datagram))
            .unwrap_or_default();
        self.connected |= events
            .iter()
            .any(|event| matches!(event, EndpointEvent::HandshakeComplete));
        self.closed |= events
            .iter()
            .any(|event| matches!(event, EndpointEvent::PeerClosed));
    }

    /// Returns the SRTP contexts of the client: one for sending, one for receiving.
    fn srtp(&self, profile: ProtectionProfile) -> (Context, Context) {
        let state = self
            .dtls
            .get_connection_state(address(SERVER))
            .expect("a connection");
        let mut config = rtc_srtp::config::Config {
            profile,
            ..Default::default()
        };
        let material =
            state.export_keying_material("EXTRACTOR-dtls_srtp", &[], config.keying_material_len());
        config
            .set_session_keys_from_keying_material(material.expect("keys").as_ref(), true)
            .expect("the right length");
        let (keys, crypto) = (config.keys, crypto());
        let context = |key: &[u8], salt: &[u8]| {
            Context::new(key, salt, profile, None, None, crypto.crypto()).expect("good keys")
        };
        (
            context(&keys.local_master_key, &keys.local_master_salt),
            context(&keys.remote_master_key, &keys.remote_master_salt),
        )
    }
}

/// A client and a server on one link in virtual time.
struct Link {
    now: Instant,
    server: Transport,
    client: Client,
    session: Option<Box<SrtpSession>>,
    closed: Option<CloseReason>,
    selected: Vec<Path>,
    /// Called for every DTLS datagram; returns true if it is lost.
    loses: Box<dyn FnMut() -> bool>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time has to start somewhere"
)]
fn start_of_time() -> Instant {
    Instant::now()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("a good address")
}

fn credentials(name: &str) -> IceCredentials {
    IceCredentials {
        ufrag: format!("{name}-of-the-server"),
        pwd: format!("{name} password of the server"),
    }
}

impl Link {
    /// Makes a link with the client's parameters set, before its first check.
    fn new(profiles: Vec<SrtpProtectionProfile>) -> Link {
        let mut link = Link::before_the_answer(profiles);
        link.server.set_remote(link.now, link.client.parameters());
        link
    }

    fn before_the_answer(profiles: Vec<SrtpProtectionProfile>) -> Link {
        let now = start_of_time();
        let identity = Arc::new(Identity::generate().expect("a certificate"));
        let expected = identity.fingerprint();
        let server = Transport::new(identity, credentials("first"), now);
        let client = Client::new(now, &server, expected, profiles);
        Link {
            now,
            server,
            client,
            session: None,
            closed: None,
            selected: vec![],
            loses: Box::new(|| false),
        }
    }

    /// Makes a link with a complete handshake.
    fn connected() -> Link {
        let mut link = Link::new(vec![GCM]);
        link.send_check(NOMINATE).expect("a valid check");
        link.run_for(Duration::from_secs(1));
        assert!(link.session.is_some() && link.client.connected);
        link
    }

    fn send_check(&mut self, check: Check) -> Result<(), DropReason> {
        let datagram = self.client.check(check);
        let result = self.server.handle(self.now, self.client.path(), &datagram);
        self.deliver_to_client();
        result
    }

    /// Runs both sides without further checks; a datagram takes 10 ms.
    fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.deliver_to_client();
            self.deliver_to_server();
            self.now += Duration::from_millis(10);
            if self
                .server
                .poll_timeout()
                .is_some_and(|due| due <= self.now)
            {
                self.server.handle_timeout(self.now);
            }
            // Fails once the client has closed or given up; then it has nothing to retransmit.
            let _ = self.client.dtls.handle_timeout(address(SERVER), self.now);
        }
        self.deliver_to_client();
    }

    fn deliver_to_server(&mut self) {
        let flight: Vec<_> = std::iter::from_fn(|| self.client.dtls.poll_transmit())
            .map(|sent| sent.message)
            .collect();
        if !flight.is_empty() {
            self.client.flight = flight.clone();
        }
        self.send_to_server(flight);
    }

    fn send_to_server(&mut self, flight: Vec<BytesMut>) {
        for datagram in flight {
            if !(self.loses)() {
                // The result is ignored: the server may have closed or not know the path, which the
                // tests check otherwise.
                let _ = self.server.handle(self.now, self.client.path(), &datagram);
            }
        }
    }

    fn deliver_to_client(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit { path, datagram } => {
                    assert!(datagram.len() <= 1500);
                    let is_lost = datagram[0] > 3 && (self.loses)();
                    if path == self.client.path() && !is_lost {
                        self.client.read(self.now, &datagram);
                    }
                }
                Output::Handshake(step) => self.server.handle_handshake(self.now, step.run()),
                Output::Connected(session) => self.session = Some(session),
                Output::PathSelected(path) => self.selected.push(path),
                Output::Closed(reason) => {
                    assert_eq!(self.closed.replace(reason), None, "closed twice");
                }
                Output::PathOpened(path) => assert!(self.server.has_path(path)),
                Output::PathForgotten(path) => assert!(!self.server.has_path(path)),
                Output::UfragRetired(ufrag) => assert_ne!(ufrag, self.server.local().ufrag),
            }
        }
    }
}
