//! A handshake in progress, and when its flights are repeated.
//!
//! Flights are repeated here, not by rtc-dtls. Its server stops its timer when a repeated ClientHello comes in, and does not
//! answer it either: one lost datagram of ours and a browser that asks again (BoringSSL does after 50 ms) would wait for ever.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc_dtls::config::HandshakeConfig;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::hello::{Record, records};
use super::srtp::Profile;

/// rtc-dtls names an association by its address. A constant one keeps it while ICE moves the peer from path to path.
pub(super) const ASSOCIATION: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65_535));

/// When a flight is repeated for the first time; the wait doubles from then on (RFC 6347 §4.2.4.1). Less than that RFC's one
/// second: RFC 9147 §5.8.2 wants one and a half round trips where ICE knows them, and a lite agent can only assume that a
/// village line answers within 270 ms. Five repeats fit before the peer is given up.
const FIRST_REPEAT: Duration = Duration::from_millis(400);

/// A peer that repeats its ClientHello gets our flight again, but not more often than this: no round trip that matters to a
/// lesson is shorter, and an answer is five times as long as the question.
const MIN_REPEAT: Duration = Duration::from_millis(100);

/// An association that is not yet open, and the last that we said in it.
pub(super) struct Handshake {
    pub(super) endpoint: Endpoint,
    pub(super) profile: Profile,
    /// What we sent last, to be repeated bit by bit: what arrived twice fails the peer's replay check, what got lost does not.
    flight: Vec<Bytes>,
    sent_at: Instant,
    repeat_after: Duration,
}

impl Handshake {
    pub(super) fn new(now: Instant, profile: Profile, config: Arc<HandshakeConfig>) -> Handshake {
        let endpoint = Endpoint::new(ASSOCIATION, TransportProtocol::UDP, Some(config));
        Handshake {
            endpoint,
            profile,
            flight: Vec::new(),
            sent_at: now,
            repeat_after: FIRST_REPEAT,
        }
    }

    /// Feeds a datagram; a new flight, or the old one if the client asks for it again, is added to `outgoing`.
    pub(super) fn read(
        &mut self,
        now: Instant,
        datagram: &[u8],
        outgoing: &mut Vec<Bytes>,
    ) -> Result<Vec<EndpointEvent>, Error> {
        let result = self
            .endpoint
            .read(now, ASSOCIATION, None, BytesMut::from(datagram));
        let flight = drain(&mut self.endpoint);
        if !flight.is_empty() {
            self.flight = flight;
            self.repeat_after = FIRST_REPEAT;
            self.send(now, outgoing);
        } else if repeats_client_hello(datagram) && now >= self.sent_at + MIN_REPEAT {
            self.send(now, outgoing);
        }
        result
    }

    /// Repeats the flight when its time has come.
    pub(super) fn repeat_if_due(&mut self, now: Instant, outgoing: &mut Vec<Bytes>) {
        if self.repeat_at() <= now {
            self.repeat_after *= 2;
            self.send(now, outgoing);
        }
    }

    fn send(&mut self, now: Instant, outgoing: &mut Vec<Bytes>) {
        self.sent_at = now;
        outgoing.extend(self.flight.iter().cloned());
    }

    /// When the flight is repeated next.
    pub(super) fn repeat_at(&self) -> Instant {
        self.sent_at + self.repeat_after
    }
}

/// Takes what rtc-dtls wants sent.
pub(super) fn drain(endpoint: &mut Endpoint) -> Vec<Bytes> {
    std::iter::from_fn(|| endpoint.poll_transmit())
        .map(|transmit| transmit.message.freeze())
        .collect()
}

/// Whether the client asks for what it should already have: it still repeats its first or second ClientHello.
fn repeats_client_hello(datagram: &[u8]) -> bool {
    records(datagram).is_some_and(|records| records.iter().any(Record::is_client_hello))
}
