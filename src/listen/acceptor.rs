//! Connection limit.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Layer;

/// Acceptor with a connection limit; excess connections are closed before their TLS handshake.
#[derive(Clone)]
pub struct LimitedAcceptor<A> {
    inner: A,
    slots: Arc<Semaphore>,
}

/// Permit of a connection, held as long as its service lives.
type ConnectionPermit = Arc<OwnedSemaphorePermit>;

impl<A> LimitedAcceptor<A> {
    pub fn new(inner: A, slots: Arc<Semaphore>) -> Self {
        Self { inner, slots }
    }
}

impl<A, I, S> Accept<I, S> for LimitedAcceptor<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
    A::Stream: Send,
    A::Service: Send,
    I: Send,
    S: Send,
{
    type Stream = A::Stream;
    type Service = AddExtension<A::Service, ConnectionPermit>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let Ok(permit) = self.slots.clone().try_acquire_owned() else {
            metrics::counter!(crate::metrics::HTTP_CONNECTIONS_REFUSED).increment(1);
            return Box::pin(async { Err(io::Error::other("too many connections")) });
        };
        let accepted = self.inner.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            Ok((stream, Extension(Arc::new(permit)).layer(service)))
        })
    }
}
