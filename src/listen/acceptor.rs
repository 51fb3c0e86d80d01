//! Takes no more connections than the configured number.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Layer;

/// An acceptor with a bound; a connection beyond it is closed at once, before TLS costs anything.
#[derive(Clone)]
pub struct Bounded<A> {
    inner: A,
    slots: Arc<Semaphore>,
}

/// The connection's place, held as long as its service lives.
type Place = Arc<OwnedSemaphorePermit>;

impl<A> Bounded<A> {
    pub fn new(inner: A, slots: Arc<Semaphore>) -> Self {
        Self { inner, slots }
    }
}

impl<A, I, S> Accept<I, S> for Bounded<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
    A::Stream: Send,
    A::Service: Send,
    I: Send,
    S: Send,
{
    type Stream = A::Stream;
    type Service = AddExtension<A::Service, Place>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let Ok(place) = self.slots.clone().try_acquire_owned() else {
            metrics::counter!(crate::metrics::HTTP_CONNECTIONS_REFUSED).increment(1);
            return Box::pin(async { Err(io::Error::other("too many connections")) });
        };
        let accepted = self.inner.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            Ok((stream, Extension(Arc::new(place)).layer(service)))
        })
    }
}
