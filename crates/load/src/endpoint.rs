//! One client's connection, sans-IO: ICE as the controlling agent (RFC 8445), DTLS 1.2, SRTP keys. Told the time, handed datagrams.

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
pub use stun::Credentials;

/// Checks until the first answer, and then for consent (RFC 7675 asks every 5 s; browsers check every 2.5 s).
const CHECK_EVERY: Duration = Duration::from_millis(50);
const CONSENT_EVERY: Duration = Duration::from_millis(2500);

/// Checks of one candidate before the next has its turn.
const CHECKS_IN_A_ROW: u32 = 6;

/// The certificate and the crypto that all clients of this run share: making one for each would measure us, not the server.
pub struct Keyring {
    certificate: Certificate,
    fingerprint: String,
    crypto: Arc<dyn RTCCryptoProvider>,
}

impl Keyring {
    pub fn generate() -> Result<Keyring, Failure> {
        let crypto = rtc::crypto::default_provider()?;
        let certificate =
            Certificate::generate_self_signed(vec!["tongke-load".to_owned()], crypto.crypto())?;
        let der = certificate
            .certificate
            .first()
            .ok_or("the certificate that was made is empty")?;
        let fingerprint = fingerprint(der);
        Ok(Keyring {
            certificate,
            fingerprint,
            crypto,
        })
    }

    /// For `a=fingerprint:sha-256`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// SHA-256 of a certificate as a description writes it (RFC 8122 §5).
fn fingerprint(der: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, der);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

/// What came of a datagram.
pub enum Received {
    /// Dealt with, or nothing for us.
    Nothing,
    /// The keys are there, and what they are for: media may flow.
    Connected(Box<SrtpSession>, Profile),
    /// RTP or RTCP.
    Media,
    /// The server said goodbye.
    Closed,
}

pub struct Endpoint {
    local: Credentials,
    remote: Credentials,
    /// The server's, the one that is checked now first.
    candidates: Vec<SocketAddrV4>,
    /// Checks of it so far.
    checks: u32,
    transaction: [u8; 12],
    next_check: Instant,
    /// A check was answered: the path is good.
    path: bool,
    dtls: Dtls,
    outgoing: Vec<Bytes>,
}

impl Endpoint {
    pub fn new(
        keyring: Arc<Keyring>,
        local: Credentials,
        answer: &Answer,
        now: Instant,
    ) -> Result<Endpoint, Failure> {
        // RFC 8842 §5.1: we offered either role, the answer chose.
        let role = if answer.active {
            DtlsRole::Server
        } else {
            DtlsRole::Client
        };
        let dtls = Dtls::new(&keyring, &answer.fingerprint, role)?;
        let transaction = rand::random();
        Ok(Endpoint {
            local,
            remote: answer.ice.clone(),
            candidates: answer.candidates.clone(),
            checks: 0,
            transaction,
            next_check: now,
            path: false,
            dtls,
            outgoing: Vec::new(),
        })
    }

    /// Feeds one datagram.
    pub fn handle(&mut self, datagram: &[u8], now: Instant) -> Received {
        match datagram.first() {
            Some(0..=3) => self.handle_stun(datagram, now),
            Some(20..=63) => {
                let received = self.dtls.handle(BytesMut::from(datagram), now);
                self.outgoing.extend(self.dtls.take_outgoing());
                received
            }
            Some(128..=191) => Received::Media,
            _ => Received::Nothing,
        }
    }

    fn handle_stun(&mut self, datagram: &[u8], now: Instant) -> Received {
        if let Some(response) = stun::answer(datagram, &self.local, self.server()) {
            self.outgoing.push(response);
        } else if stun::is_success(datagram, &self.transaction) && !self.path {
            self.path = true;
            self.next_check = now + CONSENT_EVERY;
            self.dtls.start(now);
            self.outgoing.extend(self.dtls.take_outgoing());
        }
        Received::Nothing
    }

    /// Where datagrams go.
    pub fn server(&self) -> SocketAddrV4 {
        self.candidates[0]
    }

    /// Performs what is due: checks, and repeated handshake flights. [`Endpoint::server`] may be another one afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_check {
            self.choose_transaction();
            self.outgoing
                .push(stun::check(&self.transaction, &self.local, &self.remote));
            self.next_check = now
                + if self.path {
                    CONSENT_EVERY
                } else {
                    CHECK_EVERY
                };
        }
        if self.path {
            self.dtls.handle_timeout(now);
            self.outgoing.extend(self.dtls.take_outgoing());
        }
    }

    /// A check is repeated as it is (RFC 8489 §6.2.1), so that an answer that takes longer than the pause is known; after some of them in
    /// vain it is the next candidate's turn.
    fn choose_transaction(&mut self) {
        self.checks += 1;
        if self.path || self.candidates.len() > 1 && self.checks > CHECKS_IN_A_ROW {
            self.candidates.rotate_left(usize::from(!self.path));
            (self.checks, self.transaction) = (1, rand::random());
        }
    }

    /// Datagrams to send.
    pub fn take_outgoing(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.outgoing)
    }

    /// Says goodbye (close_notify).
    pub fn close(&mut self, now: Instant) {
        self.dtls.close(now);
        self.outgoing.extend(self.dtls.take_outgoing());
    }
}
