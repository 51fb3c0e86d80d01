//! The DTLS 1.2 server of one peer, around `rtc-dtls`: which profile, whose certificate, how much memory.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::error::Error;

use super::flight::{ASSOCIATION, Handshake, drain};
use super::hello::{Held, Progress, records};
use super::identity::{Fingerprint, Identity};
use super::srtp::{Profile, Role, SrtpSession};
use crate::drop_reason::DropReason;

/// The exporter label of RFC 5764 §4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";

/// Handshake bytes taken from a peer before it is authenticated. The two flights of a client are about 3 kB; seven
/// retransmissions of both stay below half of this.
const HANDSHAKE_BUDGET: usize = 48 * 1024;

/// Plain handshake bytes taken after the handshake: a client that missed our last flight repeats its own, about 1.5 kB.
const REPEAT_BUDGET: usize = 16 * 1024;

/// What came of a datagram or a timer.
pub(super) enum Event {
    /// The handshake is complete and the certificate is the described one.
    Open(Box<SrtpSession>),
    /// The peer said goodbye, or raised a fatal alert.
    PeerClosed,
    /// The handshake cannot succeed any more.
    Failed,
}

pub(super) struct Dtls {
    identity: Arc<Identity>,
    expected: Option<Fingerprint>,
    state: State,
    /// How many more unauthenticated handshake bytes are taken.
    budget: usize,
    outgoing: Vec<Bytes>,
}

enum State {
    /// Waiting for a whole ClientHello and for the peer's fingerprint, whichever comes last.
    Listening(Held),
    Handshaking(Box<Handshake>),
    Open(Box<Endpoint>),
    Closed,
}

impl Dtls {
    pub(super) fn new(identity: Arc<Identity>) -> Dtls {
        let state = State::Listening(Held::default());
        Dtls { identity, expected: None, state, budget: HANDSHAKE_BUDGET, outgoing: Vec::new() }
    }

    /// Tells whose certificate to expect. A ClientHello that came before is answered now. Ignored once known: a description
    /// never changes the identity of a peer whose handshake has begun.
    pub(super) fn expect(&mut self, now: Instant, fingerprint: Fingerprint) -> Option<Event> {
        self.expected.get_or_insert(fingerprint);
        self.start(now)
    }

    /// Feeds one datagram from a path that passed a check.
    pub(super) fn read(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<Event>, DropReason> {
        let records = records(datagram).ok_or(DropReason::DtlsMalformed)?;
        let is_open = matches!(self.state, State::Open(_));
        let unauthenticated = if is_open {
            records.iter().filter(|record| record.epoch == 0).map(|record| record.body.len()).sum()
        } else {
            datagram.len()
        };
        self.budget = self.budget.checked_sub(unauthenticated).ok_or(DropReason::DtlsTooMuch)?;
        match &mut self.state {
            State::Listening(held) => match held.push(datagram) {
                Progress::Incomplete => Ok(None),
                Progress::TooMuch => Err(DropReason::DtlsTooMuch),
                Progress::Whole => Ok(self.start(now)),
            },
            State::Handshaking(..) => Ok(self.advance(now, datagram)),
            State::Open(_) => self.read_open(now, datagram),
            State::Closed => Err(DropReason::TransportClosed),
        }
    }

    /// Takes the next datagram to send.
    pub(super) fn take_outgoing(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.outgoing)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Handshaking(handshake) => Some(handshake.repeat_at()),
            State::Listening(_) | State::Open(_) | State::Closed => None,
        }
    }

    /// Repeats our flight when it is overdue. Giving up is the transport's decision.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let State::Handshaking(handshake) = &mut self.state {
            handshake.repeat_if_due(now, &mut self.outgoing);
        }
    }

    /// Queues close_notify.
    pub(super) fn close(&mut self, now: Instant) {
        let endpoint = match &mut self.state {
            State::Handshaking(handshake) => &mut handshake.endpoint,
            State::Open(endpoint) => endpoint,
            State::Listening(_) | State::Closed => return,
        };
        endpoint.stop(now, ASSOCIATION);
        self.outgoing.extend(drain(endpoint));
        self.state = State::Closed;
    }

    /// Begins the handshake when both the ClientHello and the fingerprint are there.
    fn start(&mut self, now: Instant) -> Option<Event> {
        let (State::Listening(held), Some(expected)) = (&mut self.state, self.expected) else { return None };
        let profile = held.whole()?;
        let flight = held.take();
        let Some((profile, config)) = profile.and_then(|profile| Some((profile, self.config(expected, profile).ok()?)))
        else {
            return Some(self.end(Event::Failed));
        };
        self.state = State::Handshaking(Box::new(Handshake::new(now, profile, config)));
        flight.iter().find_map(|datagram| self.advance(now, datagram))
    }

    fn config(&self, expected: Fingerprint, profile: Profile) -> Result<Arc<HandshakeConfig>, Error> {
        let crypto = self.identity.crypto().clone();
        let profile = match profile {
            Profile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            Profile::Aes128CmHmacSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        };
        let builder = ConfigBuilder::default()
            .with_crypto_provider(crypto.clone())
            .with_certificates(vec![self.identity.certificate().clone()])
            .with_srtp_protection_profiles(vec![profile])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // RFC 8827 §6.5: the fingerprint in the description stands for the certificate, not an authority's chain.
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

    fn advance(&mut self, now: Instant, datagram: &[u8]) -> Option<Event> {
        let State::Handshaking(handshake) = &mut self.state else { return None };
        let Ok(events) = handshake.read(now, datagram, &mut self.outgoing) else {
            return Some(self.end(Event::Failed));
        };
        events.into_iter().find_map(|event| match event {
            EndpointEvent::HandshakeComplete => Some(self.open()),
            EndpointEvent::PeerClosed => Some(self.end(Event::PeerClosed)),
            _ => None,
        })
    }

    fn open(&mut self) -> Event {
        let State::Handshaking(handshake) = std::mem::replace(&mut self.state, State::Closed) else {
            return Event::Failed;
        };
        let Some(session) = export(&handshake.endpoint, handshake.profile) else { return Event::Failed };
        self.state = State::Open(Box::new(handshake.endpoint));
        self.budget = REPEAT_BUDGET;
        Event::Open(Box::new(session))
    }

    /// After the handshake rtc-dtls discards whatever is not authentic, but for repeats of the client's last flight, so an
    /// error can only be the peer's own alert.
    fn read_open(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<Event>, DropReason> {
        let State::Open(endpoint) = &mut self.state else { return Ok(None) };
        let result = endpoint.read(now, ASSOCIATION, None, BytesMut::from(datagram));
        self.outgoing.extend(drain(endpoint));
        match result {
            Ok(events) if events.iter().any(|event| matches!(event, EndpointEvent::PeerClosed)) => {
                Ok(Some(self.end(Event::PeerClosed)))
            }
            Ok(_) => Ok(None),
            Err(Error::ErrAlertFatalOrClose) => Ok(Some(self.end(Event::PeerClosed))),
            Err(_) => Err(DropReason::DtlsMalformed),
        }
    }

    fn end(&mut self, event: Event) -> Event {
        self.state = State::Closed;
        event
    }
}

/// Derives the SRTP session of a complete handshake. `None` when the client did not take up the one profile we named.
fn export(endpoint: &Endpoint, profile: Profile) -> Option<SrtpSession> {
    let state = endpoint.get_connection_state(ASSOCIATION)?;
    let agreed = match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Aes128CmHmacSha1_80,
        _ => return None,
    };
    let material = state.export_keying_material(EXPORTER, &[], profile.keying_material_len()).ok()?;
    let session = SrtpSession::from_keying_material(profile, material.as_ref(), Role::Server).ok()?;
    (agreed == profile).then_some(session)
}
