//! Dormant DTLS connection: an established connection reduced to its exported state, about 600 B
//! instead of the 10 kB that rtc-dtls keeps. It is rehydrated to read or send an alert.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::state::State;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::flight::{ASSOCIATION, drain};
use super::identity::Identity;

/// The exported state of an established connection.
pub(super) struct DormantDtls {
    state: Vec<u8>,
}

impl DormantDtls {
    /// Exports the state of an established connection. None if it could not be rehydrated.
    pub(super) fn export(
        endpoint: &Endpoint,
        identity: &Identity,
        now: Instant,
    ) -> Option<DormantDtls> {
        let state = endpoint
            .get_connection_state(ASSOCIATION)?
            .marshal_binary()
            .ok()?;
        let dormant = DormantDtls { state };
        dormant.rehydrate(identity, now).map(|_| dormant)
    }

    /// Returns the response to an authentic close_notify or fatal alert. None for any other
    /// datagram, which changes nothing.
    pub(super) fn read(
        &self,
        identity: &Identity,
        now: Instant,
        datagram: &[u8],
    ) -> Option<Vec<Bytes>> {
        let mut endpoint = self.rehydrate(identity, now)?;
        let is_closed = match endpoint.read(now, ASSOCIATION, None, BytesMut::from(datagram)) {
            Ok(events) => events
                .iter()
                .any(|event| matches!(event, EndpointEvent::PeerClosed)),
            Err(error) => matches!(error, Error::ErrAlertFatalOrClose),
        };
        is_closed.then(|| drain(&mut endpoint))
    }

    /// Returns the datagrams of a close_notify alert.
    pub(super) fn close(&self, identity: &Identity, now: Instant) -> Vec<Bytes> {
        let Some(mut endpoint) = self.rehydrate(identity, now) else {
            return Vec::new();
        };
        endpoint.stop(now, ASSOCIATION);
        drain(&mut endpoint)
    }

    fn rehydrate(&self, identity: &Identity, now: Instant) -> Option<Endpoint> {
        let mut state = State::new(identity.crypto().clone(), false);
        state.unmarshal_binary(&self.state).ok()?;
        let mut endpoint = Endpoint::new(ASSOCIATION, TransportProtocol::UDP, None);
        // A rehydrated connection sends nothing and keeps its role, whichever side calls connect().
        endpoint
            .connect(
                now,
                ASSOCIATION,
                identity.dormant_config().clone(),
                Some(state),
            )
            .ok()?;
        Some(endpoint)
    }
}
