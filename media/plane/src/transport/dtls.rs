//! DTLS 1.2 server of one peer, based on `rtc-dtls`. It selects the SRTP profile, verifies the
//! certificate and bounds the memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_shared::error::Error;

use super::dormant::DormantDtls;
use super::flight::{ASSOCIATION, Handshake, drain};
use super::hello::{ClientHelloBuffer, Progress, records};
use super::identity::{Fingerprint, Identity};
use super::srtp::SrtpSession;
use super::step::{HandshakeProgress, HandshakeStep, Outcome};
use crate::drop_reason::DropReason;

/// Maximum number of handshake bytes from an unauthenticated peer. The two flights of a client have
/// about 3 kB; seven retransmissions of both stay below half of this.
const HANDSHAKE_BUDGET: usize = 48 * 1024;

/// Maximum number of unencrypted handshake bytes after the handshake: a client that missed the
/// server's last flight repeats its own, about 1.5 kB.
const REPEAT_BUDGET: usize = 16 * 1024;

/// Delay before an established connection becomes dormant. A client that missed the server's last
/// flight has repeated its own long before.
const DORMANT_AFTER: Duration = Duration::from_secs(10);

/// Result of a datagram or a timer.
pub(super) enum Event {
    /// The handshake is complete and the certificate matches the description.
    Open(Box<SrtpSession>),
    /// The peer sent close_notify or a fatal alert.
    PeerClosed,
    /// The handshake cannot succeed any more.
    Failed,
}

pub(super) struct Dtls {
    identity: Arc<Identity>,
    expected: Option<Fingerprint>,
    state: State,
    /// Number of unauthenticated handshake bytes that are still accepted.
    budget: usize,
    outgoing: Vec<Bytes>,
    /// A handshake step to run on another thread.
    step: Option<Box<HandshakeStep>>,
}

enum State {
    /// Waiting for a complete ClientHello and for the peer's fingerprint.
    Listening(ClientHelloBuffer),
    /// Waiting for the client's next flight.
    Waiting(Box<Handshake>),
    /// A step runs on another thread. Datagrams that arrive meanwhile are buffered within the
    /// budget.
    Stepping(Vec<Vec<u8>>),
    /// Established; becomes dormant at the given time.
    Open(Box<Endpoint>, Instant),
    Dormant(DormantDtls),
    Closed,
}

impl Dtls {
    pub(super) fn new(identity: Arc<Identity>) -> Dtls {
        let state = State::Listening(ClientHelloBuffer::default());
        Dtls {
            identity,
            expected: None,
            state,
            budget: HANDSHAKE_BUDGET,
            outgoing: Vec::new(),
            step: None,
        }
    }

    /// Sets the fingerprint of the expected certificate, and answers a buffered ClientHello. Later
    /// calls are ignored: a description never changes the identity of a peer whose handshake has
    /// begun.
    pub(super) fn set_fingerprint(
        &mut self,
        now: Instant,
        fingerprint: Fingerprint,
    ) -> Option<Event> {
        self.expected.get_or_insert(fingerprint);
        self.start(now)
    }

    /// Handles one datagram from a path that passed a check.
    pub(super) fn read(
        &mut self,
        now: Instant,
        datagram: &[u8],
    ) -> Result<Option<Event>, DropReason> {
        let records = records(datagram).ok_or(DropReason::DtlsMalformed)?;
        let is_open = matches!(self.state, State::Open(..) | State::Dormant(_));
        let unauthenticated = if is_open {
            records
                .iter()
                .filter(|record| record.epoch == 0)
                .map(|record| record.body.len())
                .sum()
        } else {
            datagram.len()
        };
        self.budget = self
            .budget
            .checked_sub(unauthenticated)
            .ok_or(DropReason::DtlsBudget)?;
        match &mut self.state {
            State::Listening(buffer) => match buffer.push(datagram) {
                Progress::Incomplete => Ok(None),
                Progress::TooMuch => Err(DropReason::DtlsBudget),
                Progress::Complete => Ok(self.start(now)),
            },
            State::Waiting(_) => {
                self.continue_handshake(now, datagram);
                Ok(None)
            }
            State::Stepping(meanwhile) => {
                meanwhile.push(datagram.to_vec());
                Ok(None)
            }
            State::Open(..) => self.read_open(now, datagram),
            State::Dormant(_) => Ok(self.read_dormant(now, datagram)),
            State::Closed => Err(DropReason::TransportClosed),
        }
    }

    /// Returns the step to run.
    pub(super) fn take_step(&mut self) -> Option<Box<HandshakeStep>> {
        self.step.take()
    }

    /// Handles the result of a step.
    pub(super) fn handle_step(
        &mut self,
        now: Instant,
        progress: HandshakeProgress,
    ) -> Option<Event> {
        let State::Stepping(meanwhile) = &mut self.state else {
            return None;
        };
        let meanwhile = std::mem::take(meanwhile);
        self.outgoing.extend(progress.outgoing);
        match progress.outcome {
            Outcome::Waiting(handshake) if meanwhile.is_empty() => {
                self.state = State::Waiting(handshake);
                None
            }
            Outcome::Waiting(handshake) => {
                self.step = Some(Box::new(HandshakeStep::next(now, handshake, meanwhile)));
                None
            }
            Outcome::Open(endpoint, session) => {
                (self.state, self.budget) =
                    (State::Open(endpoint, now + DORMANT_AFTER), REPEAT_BUDGET);
                let closed = meanwhile
                    .iter()
                    .find_map(|datagram| self.read_open(now, datagram).ok().flatten());
                closed.or(Some(Event::Open(session)))
            }
            Outcome::PeerClosed => Some(self.close_with(Event::PeerClosed)),
            Outcome::Failed => Some(self.close_with(Event::Failed)),
        }
    }

    /// Returns the datagrams to send.
    pub(super) fn take_outgoing(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.outgoing)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(handshake) => Some(handshake.retransmit_at()),
            State::Open(_, dormant_at) => Some(*dormant_at),
            State::Listening(_) | State::Stepping(_) | State::Dormant(_) | State::Closed => None,
        }
    }

    /// Repeats the server's flight if it is overdue, or makes an established connection dormant.
    /// The handshake timeout is up to the transport.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting(handshake) => handshake.retransmit_if_due(now, &mut self.outgoing),
            State::Open(endpoint, dormant_at) if *dormant_at <= now => {
                match DormantDtls::export(endpoint, &self.identity, now) {
                    Some(dormant) => self.state = State::Dormant(dormant),
                    None => *dormant_at = now + DORMANT_AFTER,
                }
            }
            _ => {}
        }
    }

    /// Queues a close_notify alert. A handshake whose step is running is dropped.
    pub(super) fn close(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting(handshake) => self
                .outgoing
                .extend(close_notify(&mut handshake.endpoint, now)),
            State::Open(endpoint, _) => self.outgoing.extend(close_notify(endpoint, now)),
            State::Dormant(dormant) => self.outgoing.extend(dormant.close(&self.identity, now)),
            State::Listening(_) | State::Stepping(_) | State::Closed => {}
        }
        self.state = State::Closed;
    }

    /// Starts the handshake once both the ClientHello and the fingerprint are known.
    fn start(&mut self, now: Instant) -> Option<Event> {
        let (State::Listening(buffer), Some(expected)) = (&mut self.state, self.expected) else {
            return None;
        };
        let profile = buffer.profile()?;
        let flight = buffer.take();
        let Some(profile) = profile else {
            return Some(self.close_with(Event::Failed));
        };
        self.state = State::Stepping(Vec::new());
        self.step = Some(Box::new(HandshakeStep::first(
            now,
            self.identity.clone(),
            expected,
            profile,
            flight,
        )));
        None
    }

    fn continue_handshake(&mut self, now: Instant, datagram: &[u8]) {
        if let State::Waiting(handshake) =
            std::mem::replace(&mut self.state, State::Stepping(Vec::new()))
        {
            self.step = Some(Box::new(HandshakeStep::next(
                now,
                handshake,
                vec![datagram.to_vec()],
            )));
        }
    }

    /// Reads a datagram after the handshake. rtc-dtls then discards everything that is not
    /// authentic, except repetitions of the client's last flight, so an error can only be an alert
    /// of the peer.
    fn read_open(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<Event>, DropReason> {
        let State::Open(endpoint, _) = &mut self.state else {
            return Ok(None);
        };
        let result = endpoint.read(now, ASSOCIATION, None, BytesMut::from(datagram));
        self.outgoing.extend(drain(endpoint));
        match result {
            Ok(events)
                if events
                    .iter()
                    .any(|event| matches!(event, EndpointEvent::PeerClosed)) =>
            {
                Ok(Some(self.close_with(Event::PeerClosed)))
            }
            Ok(_) => Ok(None),
            Err(Error::ErrAlertFatalOrClose) => Ok(Some(self.close_with(Event::PeerClosed))),
            Err(_) => Err(DropReason::DtlsMalformed),
        }
    }

    fn read_dormant(&mut self, now: Instant, datagram: &[u8]) -> Option<Event> {
        let State::Dormant(dormant) = &self.state else {
            return None;
        };
        let response = dormant.read(&self.identity, now, datagram)?;
        self.outgoing.extend(response);
        Some(self.close_with(Event::PeerClosed))
    }

    fn close_with(&mut self, event: Event) -> Event {
        self.state = State::Closed;
        event
    }
}

fn close_notify(endpoint: &mut Endpoint, now: Instant) -> Vec<Bytes> {
    endpoint.stop(now, ASSOCIATION);
    drain(endpoint)
}
