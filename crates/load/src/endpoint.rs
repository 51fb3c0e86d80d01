//! Connection of one client, sans-IO: ICE as the controlling agent (RFC 8445), DTLS 1.2, SRTP keys.

mod dtls;
mod stun;

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::crypto::RTCCryptoProvider;
use rtc::dtls::crypto::Certificate;
use tongke_plane::transport::srtp::{Profile, SrtpSession};

use super::Failure;
use super::sdp::Answer;
use dtls::{Dtls, DtlsRole};
pub(crate) use stun::Credentials;

/// Interval of checks until the first response, then of consent checks (RFC 7675 requires 5 s on
/// average; browsers use 2.5 s).
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
const CONSENT_INTERVAL: Duration = Duration::from_millis(2500);

/// Checks of one candidate before the next one is tried.
const CHECKS_PER_CANDIDATE: u32 = 6;

/// Certificate and crypto provider shared by all clients: one certificate each would measure the
/// generator, not the server.
pub(crate) struct Identity {
    certificate: Certificate,
    fingerprint: String,
    crypto: Arc<dyn RTCCryptoProvider>,
}

impl Identity {
    pub(crate) fn generate() -> Result<Identity, Failure> {
        let crypto = rtc::crypto::default_provider()?;
        let certificate =
            Certificate::generate_self_signed(vec!["tongke-load".to_owned()], crypto.crypto())?;
        let der = certificate
            .certificate
            .first()
            .ok_or("the certificate that was made is empty")?;
        let fingerprint = fingerprint(der);
        Ok(Identity {
            certificate,
            fingerprint,
            crypto,
        })
    }

    /// Value of `a=fingerprint:sha-256`.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// SHA-256 fingerprint in SDP notation (RFC 8122 §5).
fn fingerprint(der: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, der);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

/// Result of a received datagram.
pub(crate) enum Received {
    /// Handled, or ignored.
    Handled,
    /// Handshake complete; media may flow.
    Connected(Box<SrtpSession>, Profile),
    /// RTP or RTCP.
    Media,
    /// The server sent close_notify.
    Closed,
}

pub(crate) struct Endpoint {
    local: Credentials,
    remote: Credentials,
    /// Candidates of the server, starting with the one being checked.
    candidates: Vec<SocketAddrV4>,
    /// Checks of the current candidate so far.
    checks: u32,
    transaction: [u8; 12],
    next_check: Instant,
    /// True once a check succeeded.
    is_connected: bool,
    dtls: Dtls,
    outgoing: Vec<Bytes>,
}

impl Endpoint {
    pub(crate) fn new(
        identity: Arc<Identity>,
        local: Credentials,
        answer: &Answer,
        now: Instant,
    ) -> Result<Endpoint, Failure> {
        // RFC 8842 §5.1: the offer allows both roles, the answer chooses.
        let role = if answer.active {
            DtlsRole::Server
        } else {
            DtlsRole::Client
        };
        let dtls = Dtls::new(&identity, &answer.fingerprint, role)?;
        let transaction = rand::random();
        Ok(Endpoint {
            local,
            remote: answer.ice.clone(),
            candidates: answer.candidates.clone(),
            checks: 0,
            transaction,
            next_check: now,
            is_connected: false,
            dtls,
            outgoing: Vec::new(),
        })
    }

    /// Handles one datagram.
    pub(crate) fn handle(&mut self, datagram: &[u8], now: Instant) -> Received {
        match datagram.first() {
            Some(0..=3) => self.handle_stun(datagram, now),
            Some(20..=63) => {
                let received = self.dtls.handle(BytesMut::from(datagram), now);
                self.outgoing.extend(self.dtls.take_outgoing());
                received
            }
            Some(128..=191) => Received::Media,
            _ => Received::Handled,
        }
    }

    fn handle_stun(&mut self, datagram: &[u8], now: Instant) -> Received {
        if let Some(response) = stun::respond(datagram, &self.local, self.server()) {
            self.outgoing.push(response);
        } else if stun::is_success(datagram, &self.transaction) && !self.is_connected {
            self.is_connected = true;
            self.next_check = now + CONSENT_INTERVAL;
            self.dtls.start(now);
            self.outgoing.extend(self.dtls.take_outgoing());
        }
        Received::Handled
    }

    /// Remote address.
    pub(crate) fn server(&self) -> SocketAddrV4 {
        self.candidates[0]
    }

    /// Runs due timers: checks and DTLS retransmissions. [`Endpoint::server`] may change.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_check {
            self.next_transaction();
            self.outgoing
                .push(stun::check(&self.transaction, &self.local, &self.remote));
            self.next_check = now
                + if self.is_connected {
                    CONSENT_INTERVAL
                } else {
                    CHECK_INTERVAL
                };
        }
        if self.is_connected {
            self.dtls.handle_timeout(now);
            self.outgoing.extend(self.dtls.take_outgoing());
        }
    }

    /// Repeats a check with its transaction id (RFC 8489 §6.2.1), so that a slow response still
    /// matches; after several without a response the next candidate is tried.
    fn next_transaction(&mut self) {
        self.checks += 1;
        if self.is_connected || self.candidates.len() > 1 && self.checks > CHECKS_PER_CANDIDATE {
            self.candidates.rotate_left(usize::from(!self.is_connected));
            (self.checks, self.transaction) = (1, rand::random());
        }
    }

    /// Takes the datagrams to send.
    pub(crate) fn take_outgoing(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.outgoing)
    }

    /// Sends close_notify.
    pub(crate) fn close(&mut self, now: Instant) {
        self.dtls.close(now);
        self.outgoing.extend(self.dtls.take_outgoing());
    }
}
