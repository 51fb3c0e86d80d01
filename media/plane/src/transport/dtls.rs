//! The DTLS 1.2 server of one peer, around `rtc-dtls`: which profile, whose certificate, how much memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_shared::error::Error;

use super::flight::{ASSOCIATION, Handshake, drain};
use super::hello::{Held, Progress, records};
use super::identity::{Fingerprint, Identity};
use super::resting::Resting;
use super::srtp::SrtpSession;
use super::step::{HandshakeProgress, HandshakeStep, Outcome};
use crate::drop_reason::DropReason;

/// Handshake bytes taken from a peer before it is authenticated. The two flights of a client are about 3 kB; seven
/// retransmissions of both stay below half of this.
const HANDSHAKE_BUDGET: usize = 48 * 1024;

/// Plain handshake bytes taken after the handshake: a client that missed our last flight repeats its own, about 1.5 kB.
const REPEAT_BUDGET: usize = 16 * 1024;

/// A client that missed our last flight has repeated its own long before this, and the connection may rest.
const REST_AFTER: Duration = Duration::from_secs(10);

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
    /// A step to be run elsewhere.
    step: Option<Box<HandshakeStep>>,
}

enum State {
    /// Waiting for a whole ClientHello and for the peer's fingerprint, whichever comes last.
    Listening(Held),
    /// Waiting for the client's next flight.
    Waiting(Box<Handshake>),
    /// A step is being run elsewhere. Datagrams that come meanwhile, as many as the budget allows, wait for its end.
    Stepping(Vec<Vec<u8>>),
    /// Complete, and to be laid to rest at that moment.
    Open(Box<Endpoint>, Instant),
    Resting(Resting),
    Closed,
}

impl Dtls {
    pub(super) fn new(identity: Arc<Identity>) -> Dtls {
        let state = State::Listening(Held::default());
        Dtls {
            identity,
            expected: None,
            state,
            budget: HANDSHAKE_BUDGET,
            outgoing: Vec::new(),
            step: None,
        }
    }

    /// Tells whose certificate to expect. A ClientHello that came before is answered now. Ignored once known: a description
    /// never changes the identity of a peer whose handshake has begun.
    pub(super) fn expect(&mut self, now: Instant, fingerprint: Fingerprint) -> Option<Event> {
        self.expected.get_or_insert(fingerprint);
        self.start(now)
    }

    /// Feeds one datagram from a path that passed a check.
    pub(super) fn read(
        &mut self,
        now: Instant,
        datagram: &[u8],
    ) -> Result<Option<Event>, DropReason> {
        let records = records(datagram).ok_or(DropReason::DtlsMalformed)?;
        let is_open = matches!(self.state, State::Open(..) | State::Resting(_));
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
            State::Listening(held) => match held.push(datagram) {
                Progress::Incomplete => Ok(None),
                Progress::TooMuch => Err(DropReason::DtlsBudget),
                Progress::Whole => Ok(self.start(now)),
            },
            State::Waiting(_) => {
                self.go_on(now, datagram);
                Ok(None)
            }
            State::Stepping(meanwhile) => {
                meanwhile.push(datagram.to_vec());
                Ok(None)
            }
            State::Open(..) => self.read_open(now, datagram),
            State::Resting(_) => Ok(self.read_resting(now, datagram)),
            State::Closed => Err(DropReason::TransportClosed),
        }
    }

    /// Takes the step that should be run now.
    pub(super) fn take_step(&mut self) -> Option<Box<HandshakeStep>> {
        self.step.take()
    }

    /// A step has been run.
    pub(super) fn stepped(&mut self, now: Instant, progress: HandshakeProgress) -> Option<Event> {
        let State::Stepping(meanwhile) = &mut self.state else {
            return None;
        };
        let meanwhile = std::mem::take(meanwhile);
        self.outgoing.extend(progress.outgoing);
        match progress.outcome {
            Outcome::Waits(handshake) if meanwhile.is_empty() => {
                self.state = State::Waiting(handshake);
                None
            }
            Outcome::Waits(handshake) => {
                self.step = Some(Box::new(HandshakeStep::next(now, handshake, meanwhile)));
                None
            }
            Outcome::Open(endpoint, session) => {
                (self.state, self.budget) =
                    (State::Open(endpoint, now + REST_AFTER), REPEAT_BUDGET);
                let ended = meanwhile
                    .iter()
                    .find_map(|datagram| self.read_open(now, datagram).ok().flatten());
                ended.or(Some(Event::Open(session)))
            }
            Outcome::PeerClosed => Some(self.end(Event::PeerClosed)),
            Outcome::Failed => Some(self.end(Event::Failed)),
        }
    }

    /// Takes the next datagram to send.
    pub(super) fn take_outgoing(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.outgoing)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(handshake) => Some(handshake.repeat_at()),
            State::Open(_, rest_at) => Some(*rest_at),
            State::Listening(_) | State::Stepping(_) | State::Resting(_) | State::Closed => None,
        }
    }

    /// Repeats our flight when it is overdue; giving up is the transport's decision. Lays to rest what has been open for a while.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting(handshake) => handshake.repeat_if_due(now, &mut self.outgoing),
            State::Open(endpoint, rest_at) if *rest_at <= now => {
                match Resting::of(endpoint, &self.identity, now) {
                    Some(resting) => self.state = State::Resting(resting),
                    None => *rest_at = now + REST_AFTER,
                }
            }
            _ => {}
        }
    }

    /// Queues close_notify; a handshake whose step is being run elsewhere just ends.
    pub(super) fn close(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting(handshake) => {
                self.outgoing.extend(goodbye(&mut handshake.endpoint, now))
            }
            State::Open(endpoint, _) => self.outgoing.extend(goodbye(endpoint, now)),
            State::Resting(resting) => self.outgoing.extend(resting.close(&self.identity, now)),
            State::Listening(_) | State::Stepping(_) | State::Closed => {}
        }
        self.state = State::Closed;
    }

    /// Begins the handshake when both the ClientHello and the fingerprint are there.
    fn start(&mut self, now: Instant) -> Option<Event> {
        let (State::Listening(held), Some(expected)) = (&mut self.state, self.expected) else {
            return None;
        };
        let profile = held.whole()?;
        let flight = held.take();
        let Some(profile) = profile else {
            return Some(self.end(Event::Failed));
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

    fn go_on(&mut self, now: Instant, datagram: &[u8]) {
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

    /// After the handshake rtc-dtls discards whatever is not authentic, but for repeats of the client's last flight, so an
    /// error can only be the peer's own alert.
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
                Ok(Some(self.end(Event::PeerClosed)))
            }
            Ok(_) => Ok(None),
            Err(Error::ErrAlertFatalOrClose) => Ok(Some(self.end(Event::PeerClosed))),
            Err(_) => Err(DropReason::DtlsMalformed),
        }
    }

    fn read_resting(&mut self, now: Instant, datagram: &[u8]) -> Option<Event> {
        let State::Resting(resting) = &self.state else {
            return None;
        };
        let answer = resting.read(&self.identity, now, datagram)?;
        self.outgoing.extend(answer);
        Some(self.end(Event::PeerClosed))
    }

    fn end(&mut self, event: Event) -> Event {
        self.state = State::Closed;
        event
    }
}

fn goodbye(endpoint: &mut Endpoint, now: Instant) -> Vec<Bytes> {
    endpoint.stop(now, ASSOCIATION);
    drain(endpoint)
}
