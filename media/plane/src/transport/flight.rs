//! A handshake in progress, and the retransmission of its flights.
//!
//! rtc-dtls is not used for retransmission. Its server stops its timer when a repeated ClientHello
//! arrives, and does not answer it either: one lost datagram of the server and a client that
//! repeats its ClientHello (BoringSSL does after 50 ms) would wait forever.

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

/// Address of the association. rtc-dtls identifies an association by its address; a constant one
/// survives path changes by ICE.
pub(super) const ASSOCIATION: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65_535));

/// Initial retransmission timeout; it doubles with each retransmission (RFC 6347 §4.2.4.1). It is
/// less than the one second of that RFC: RFC 9147 §5.8.2 recommends 1.5 round trips where ICE
/// measures them, and a lite agent can only assume that a rural link responds within 270 ms. Five
/// retransmissions fit into the handshake timeout.
const INITIAL_TIMEOUT: Duration = Duration::from_millis(400);

/// Minimum interval between two transmissions of a flight to a client that repeats its ClientHello.
/// No relevant round trip is shorter, and a response is five times as large as the request.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// A DTLS association that is not established yet, and its last outgoing flight.
pub(super) struct Handshake {
    pub(super) endpoint: Endpoint,
    pub(super) profile: Profile,
    /// The last flight, retransmitted bit by bit: duplicates fail the client's replay check, lost
    /// parts do not.
    flight: Vec<Bytes>,
    sent_at: Instant,
    timeout: Duration,
}

impl Handshake {
    pub(super) fn new(now: Instant, profile: Profile, config: Arc<HandshakeConfig>) -> Handshake {
        let endpoint = Endpoint::new(ASSOCIATION, TransportProtocol::UDP, Some(config));
        Handshake {
            endpoint,
            profile,
            flight: Vec::new(),
            sent_at: now,
            timeout: INITIAL_TIMEOUT,
        }
    }

    /// Handles a datagram. Appends the new flight to `outgoing`, or the old one if the client
    /// repeats its ClientHello.
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
            self.timeout = INITIAL_TIMEOUT;
            self.send(now, outgoing);
        } else if has_client_hello(datagram) && now >= self.sent_at + MIN_INTERVAL {
            self.send(now, outgoing);
        }
        result
    }

    /// Retransmits the flight if its timeout has passed.
    pub(super) fn retransmit_if_due(&mut self, now: Instant, outgoing: &mut Vec<Bytes>) {
        if self.retransmit_at() <= now {
            self.timeout *= 2;
            self.send(now, outgoing);
        }
    }

    fn send(&mut self, now: Instant, outgoing: &mut Vec<Bytes>) {
        self.sent_at = now;
        outgoing.extend(self.flight.iter().cloned());
    }

    /// Returns the time of the next retransmission.
    pub(super) fn retransmit_at(&self) -> Instant {
        self.sent_at + self.timeout
    }
}

/// Returns the datagrams that rtc-dtls has queued.
pub(super) fn drain(endpoint: &mut Endpoint) -> Vec<Bytes> {
    std::iter::from_fn(|| endpoint.poll_transmit())
        .map(|transmit| transmit.message.freeze())
        .collect()
}

/// Returns true if the datagram contains a ClientHello, which a client in a handshake only repeats
/// if it lacks the server's flight.
fn has_client_hello(datagram: &[u8]) -> bool {
    records(datagram).is_some_and(|records| records.iter().any(Record::is_client_hello))
}
