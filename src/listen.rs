//! Listening socket, TLS, and connection limits of the HTTP server.

mod acceptor;
mod certificate;
mod interfaces;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;

use crate::config::{Config, TlsMode};

pub use interfaces::local_addresses;

use acceptor::LimitedAcceptor;

/// Time to receive a request's header section; slower clients are gone or malicious (slowloris).
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Limit of a request's header section, usually a few hundred to a few thousand bytes.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// TLS handshake timeout: two round trips, each of which may take seconds on a rural link.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Failure to listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("{0} is taken by another program; stop it, or set [server] listen to another port")]
    PortTaken(SocketAddr),
    #[error("this user may not listen on {0}; ports below 1024 need CAP_NET_BIND_SERVICE")]
    NotAllowed(SocketAddr),
    #[error("{0} is not an address of this machine")]
    NoSuchAddress(SocketAddr),
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
    #[error("cannot use the certificate {}: {cause}", path.display())]
    Certificate { path: PathBuf, cause: io::Error },
    #[error("cannot make a certificate: {0}")]
    MakeCertificate(#[from] rcgen::Error),
}

/// Binds the address; errors name the remedy.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listener = TcpListener::bind(address).map_err(|cause| match cause.kind() {
        io::ErrorKind::AddrInUse => ListenError::PortTaken(address),
        io::ErrorKind::PermissionDenied => ListenError::NotAllowed(address),
        io::ErrorKind::AddrNotAvailable => ListenError::NoSuchAddress(address),
        _ => ListenError::Other(address, cause),
    })?;
    listener
        .set_nonblocking(true)
        .map_err(|cause| ListenError::Other(address, cause))?;
    Ok(listener)
}

/// Loaded certificate and key.
pub type Tls = RustlsConfig;

/// Loads the configured certificate; `None` without TLS.
pub async fn tls(config: &Config) -> Result<Option<Tls>, ListenError> {
    let (cert, key) = match config.tls.mode {
        TlsMode::Off => return Ok(None),
        TlsMode::Files => (
            PathBuf::from(&config.tls.cert),
            PathBuf::from(&config.tls.key),
        ),
        TlsMode::SelfSigned => certificate::self_signed(config)?,
    };
    let loaded = RustlsConfig::from_pem_file(&cert, &key).await;
    loaded
        .map(Some)
        .map_err(|cause| ListenError::Certificate { path: cert, cause })
}

/// Serves until the handle shuts it down.
pub async fn serve(
    config: &Config,
    listener: TcpListener,
    tls: Option<Tls>,
    handle: Handle<SocketAddr>,
    router: Router,
) -> io::Result<()> {
    let slots = Arc::new(tokio::sync::Semaphore::new(
        config.limits.connections.max(1),
    ));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener)?.handle(handle);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES);
    server
        .http_builder()
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(HEADER_TIMEOUT))
        .max_concurrent_streams(128);
    match tls {
        None => {
            server
                .acceptor(LimitedAcceptor::new(DefaultAcceptor::new(), slots))
                .serve(service)
                .await
        }
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls).handshake_timeout(HANDSHAKE_TIMEOUT);
            server
                .acceptor(LimitedAcceptor::new(acceptor, slots))
                .serve(service)
                .await
        }
    }
}
