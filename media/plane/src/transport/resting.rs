//! A connection between its handshake and its goodbye. DTLS has nothing to say then, but rtc-dtls keeps ten kilobytes of what was said; here
//! only the state of the connection is kept, and a connection is made of it again for the goodbye.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::state::State;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::flight::{ASSOCIATION, drain};
use super::identity::Identity;

/// See the module.
pub(super) struct Resting {
    state: Vec<u8>,
}

impl Resting {
    /// What is to be kept of an open connection; `None` when it could not be woken again.
    pub(super) fn of(endpoint: &Endpoint, identity: &Identity, now: Instant) -> Option<Resting> {
        let state = endpoint
            .get_connection_state(ASSOCIATION)?
            .marshal_binary()
            .ok()?;
        let resting = Resting { state };
        resting.wake(identity, now).map(|_| resting)
    }

    /// What a datagram is answered with, if it is an authentic goodbye or fatal alert. Of anything else nothing is kept and nothing sent.
    pub(super) fn read(
        &self,
        identity: &Identity,
        now: Instant,
        datagram: &[u8],
    ) -> Option<Vec<Bytes>> {
        let mut endpoint = self.wake(identity, now)?;
        let is_over = match endpoint.read(now, ASSOCIATION, None, BytesMut::from(datagram)) {
            Ok(events) => events
                .iter()
                .any(|event| matches!(event, EndpointEvent::PeerClosed)),
            Err(error) => matches!(error, Error::ErrAlertFatalOrClose),
        };
        is_over.then(|| drain(&mut endpoint))
    }

    /// Our goodbye.
    pub(super) fn close(&self, identity: &Identity, now: Instant) -> Vec<Bytes> {
        let Some(mut endpoint) = self.wake(identity, now) else {
            return Vec::new();
        };
        endpoint.stop(now, ASSOCIATION);
        drain(&mut endpoint)
    }

    fn wake(&self, identity: &Identity, now: Instant) -> Option<Endpoint> {
        let mut state = State::new(identity.crypto().clone(), false);
        state.unmarshal_binary(&self.state).ok()?;
        let mut endpoint = Endpoint::new(ASSOCIATION, TransportProtocol::UDP, None);
        // A connection that goes on from a state says nothing and keeps its role, whoever calls.
        endpoint
            .connect(
                now,
                ASSOCIATION,
                identity.resting_config().clone(),
                Some(state),
            )
            .ok()?;
        Some(endpoint)
    }
}
