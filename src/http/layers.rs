//! Middleware around every route, from the outside in: [`observe`] (request id, log, metrics, headers,
//! translated errors), [`limit_time`] and [`authorize`] (origin, session, access table).

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use crate::audit_log::Note;
use crate::config::TlsMode;
use crate::error::{Error, Language, Result, Text};
use crate::extract::{Client, now};
use crate::identity::session;

use super::Services;
use super::access::{self, Access};

/// Allows only our own scripts and no framing; hls.js needs `blob:` for media.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Headers of every response. `no-referrer` because URLs contain classroom passes.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), autoplay=(self), geolocation=()",
    ),
];

/// HSTS for half a year (RFC 6797), with a configured certificate only: users must be able to accept a
/// self-signed one, which HSTS forbids (§12.1). Behind a proxy the header is the proxy's (§7.2).
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=15552000");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Outermost layer: request id, duration, one log line per error, translated error body.
pub async fn observe(State(services): State<Services>, request: Request, next: Next) -> Response {
    // The path pattern, not the path: a path may contain a pass or a token.
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("page", MatchedPath::as_str)
        .to_owned();
    let method = request.method().clone();
    let language = Language::of(request.headers().get(header::ACCEPT_LANGUAGE));
    let id = format!("{:016x}", rand::random::<u64>());
    let span = tracing::info_span!("request", %id, %method, path);
    let began = Instant::now();

    let mut response = next.run(request).instrument(span.clone()).await;

    let _inside = span.enter();
    if let Some(error) = response.extensions_mut().remove::<Error>() {
        if let Error::Internal(cause) = &error {
            tracing::error!(error = %cause, "a request failed");
        }
        response = translate(response, &error, language);
    }
    record(&method, path, &response, began.elapsed());
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if services.config.tls.mode == TlsMode::Files {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
    headers.insert(
        REQUEST_ID,
        HeaderValue::try_from(id).expect("hexadecimal digits"),
    );
    response
}

/// Replaces the body by the translated error and keeps the headers of the handler and inner layers.
fn translate(response: Response, error: &Error, language: Language) -> Response {
    let (parts, _) = response.into_parts();
    let mut rendered = error.render(language);
    for (name, value) in &parts.headers {
        // These described the body that is replaced.
        if ![
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
        ]
        .contains(name)
        {
            rendered.headers_mut().append(name, value.clone());
        }
    }
    rendered
}

fn record(method: &Method, path: String, response: &Response, took: Duration) {
    let status = response.status();
    tracing::debug!(
        status = status.as_u16(),
        took_ms = took.as_millis() as u64,
        "answered"
    );
    let labels = [
        ("method", method.to_string()),
        ("path", path),
        ("status", status.as_str().to_owned()),
    ];
    metrics::counter!(crate::metrics::HTTP_REQUESTS, &labels[..]).increment(1);
    metrics::histogram!(crate::metrics::HTTP_REQUEST_DURATION, &labels[..2])
        .record(took.as_secs_f64());
}

/// Routes without a time limit: an upload responds after its last byte, and its handler has an idle
/// timeout.
const UNLIMITED: [&str; 2] = ["/api/uploads", "/api/uploads/{id}"];

/// Limits the time to the response's head; a body may stream for longer.
pub async fn limit_time(
    State(services): State<Services>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    if path.is_some_and(|path| UNLIMITED.contains(&path.as_str())) {
        return next.run(request).await;
    }
    let limit = Duration::from_secs(services.config.limits.request_seconds);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::Unavailable(Text::new(
            "服务器处理超时，请稍后再试。",
            "The server took too long. Please try again in a moment.",
        ))
        .into_response(),
    }
}

/// Response of a handler that panicked; the panic hook logs the details.
pub fn respond_to_panic(_: Box<dyn std::any::Any + Send>) -> axum::http::Response<Body> {
    Error::internal("a handler panicked").into_response()
}

/// Innermost layer: authenticates the caller and checks the access table.
pub async fn authorize(
    State(services): State<Services>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(path) = request.extensions().get::<MatchedPath>().cloned() else {
        return next.run(request).await;
    };
    match check_access(&services, &mut request, path.as_str()).await {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn check_access(services: &Services, request: &mut Request, path: &str) -> Result<()> {
    let access = access::rule(request.method(), path)?;
    let peer = request
        .extensions()
        .get::<axum::extract::ConnectInfo<std::net::SocketAddr>>()
        .map(|info| info.0);
    let client = Client::of(
        peer,
        request.headers(),
        &services.config.server.trusted_proxies,
    );
    let note = request
        .extensions()
        .get::<Note>()
        .cloned()
        .unwrap_or_default();
    note.set_address(client.0);
    request.extensions_mut().insert(client);
    if access == Access::Bearer {
        return Ok(());
    }
    check_origin(services, request)?;
    let token = session::token_of(request.headers()).map(str::to_owned);
    let actor = match token {
        Some(token) => session::find(&services.db, &token, now()).await?,
        None => None,
    };
    if let Some(actor) = &actor {
        note.set_author(actor.author());
    }
    access.check(actor.as_ref())?;
    if let Some(actor) = &actor {
        access::check_password_changed(access, request.method(), path, actor)?;
    }
    if access == Access::Scraper
        && !services.config.server.metrics_from.contains(&client.0)
        && !actor
            .as_ref()
            .is_some_and(crate::identity::Actor::is_administrator)
    {
        return Err(Error::forbidden());
    }
    if let Some(actor) = actor {
        request.extensions_mut().insert(actor);
    }
    Ok(())
}

/// CSRF protection: an unsafe method or a WebSocket upgrade needs our own `Origin` or none. Programs
/// send none; a browser always sends it (Fetch standard, "Origin" header).
fn check_origin(services: &Services, request: &Request) -> Result<()> {
    let headers = request.headers();
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if reads && !headers.contains_key(header::UPGRADE) {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let own = origin == services.config.public_url()
        || host_of(origin).is_some_and(|host| Some(host) == own_host(request, headers));
    if own {
        return Ok(());
    }
    Err(Error::Forbidden(Text::new(
        "请求来自其他网站，已被拒绝。",
        "The request came from another site and was refused.",
    )))
}

fn host_of(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, host)| host)
}

/// Host of the request: `Host` in HTTP/1, `:authority` in HTTP/2.
fn own_host<'a>(request: &'a Request, headers: &'a HeaderMap) -> Option<&'a str> {
    let named = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    named.or_else(|| {
        request
            .uri()
            .authority()
            .map(|authority| authority.as_str())
    })
}
