//! WHIP (RFC 9725) for encoders and WHEP (draft-ietf-wish-whep) for players, on the same plane as
//! clients.
//!
//! An encoder becomes a participant of kind `encoder`, shown like a camera of the lead's side. A
//! player receives the tracks of an observer, as far as its m-lines go; its main video is the
//! shared screen while there is one, else the lead.
//!
//! The server is ICE-lite on public addresses with all candidates in the answer: trickled
//! candidates are accepted and not needed. There is no `Link: rel="ice-server"` because there is no
//! STUN or TURN server.

mod session;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes as paths;

use super::Live;
use super::lesson::Identity;
use super::protocol::{ParticipantKind, Role};
use super::task::Command;
use super::tokens::{self, TokenKind, ValidToken};
use crate::error::{Error, Result, Text};
use crate::extract::Path;
use crate::ids::LessonId;
use session::Session;
pub use session::Sessions;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Longest SDP; the same limit as in the plane.
const MAX_SDP: usize = 256 * 1024;

/// Response headers that web players of other origins may read (RFC 9725 §4.2, Fetch: CORS).
const EXPOSED: &str = "Location, Link, ETag, Accept-Patch, Accept-Outbound, WWW-Authenticate";

pub fn routes() -> OpenApiRouter<Live> {
    OpenApiRouter::new()
        .routes(paths!(publish_whip))
        .routes(paths!(play_whep))
        .routes(paths!(patch_whip, delete_whip))
        .routes(paths!(patch_whep, delete_whep))
        .layer(DefaultBodyLimit::max(MAX_SDP))
        .layer(middleware::from_fn(add_cors_headers))
}

/// Publishes from an encoder (RFC 9725 §4.2).
#[utoipa::path(post, path = "/whip/{lesson_id}", tag = "whip", params(("lesson_id" = LessonId, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, description = "the SDP answer; `Location` is the session"), (status = 400), (status = 401), (status = 406),
        (status = 409), (status = 415), (status = 422), (status = 503)))]
async fn publish_whip(
    State(live): State<Live>,
    Path(lesson): Path<LessonId>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    open_session(&live, lesson, TokenKind::Whip, &headers, &body).await
}

/// Subscribes a player.
#[utoipa::path(post, path = "/whep/{lesson_id}", tag = "whip", params(("lesson_id" = LessonId, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, description = "the SDP answer; `Location` is the session"), (status = 400), (status = 401), (status = 406),
        (status = 409), (status = 415), (status = 422), (status = 503)))]
async fn play_whep(
    State(live): State<Live>,
    Path(lesson): Path<LessonId>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    open_session(&live, lesson, TokenKind::Whep, &headers, &body).await
}

/// Accepts trickled candidates or restarts ICE (RFC 9725 §4.3).
#[utoipa::path(patch, path = "/whip/{lesson_id}/{session}", tag = "whip", params(("lesson_id" = LessonId, Path), ("session" = String, Path)),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses((status = 200, description = "ICE was restarted: our fragment"), (status = 204), (status = 400), (status = 401),
        (status = 404), (status = 412), (status = 415), (status = 428)))]
async fn patch_whip(
    State(live): State<Live>,
    Path(at): Path<(LessonId, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    patch(
        &live,
        find_session(&live, TokenKind::Whip, at, &headers).await?,
        &headers,
        &body,
    )
}

/// Accepts trickled candidates or restarts ICE.
#[utoipa::path(patch, path = "/whep/{lesson_id}/{session}", tag = "whip", params(("lesson_id" = LessonId, Path), ("session" = String, Path)),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses((status = 200, description = "ICE was restarted: our fragment"), (status = 204), (status = 400), (status = 401),
        (status = 404), (status = 412), (status = 415), (status = 428)))]
async fn patch_whep(
    State(live): State<Live>,
    Path(at): Path<(LessonId, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    patch(
        &live,
        find_session(&live, TokenKind::Whep, at, &headers).await?,
        &headers,
        &body,
    )
}

/// Ends the session of an encoder (RFC 9725 §4.2).
#[utoipa::path(delete, path = "/whip/{lesson_id}/{session}", tag = "whip", params(("lesson_id" = LessonId, Path), ("session" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)))]
async fn delete_whip(
    State(live): State<Live>,
    Path(at): Path<(LessonId, String)>,
    headers: HeaderMap,
) -> Result<StatusCode> {
    let session = find_session(&live, TokenKind::Whip, at, &headers).await?;
    live.lessons.end_session(&session);
    Ok(StatusCode::OK)
}

/// Ends the session of a player.
#[utoipa::path(delete, path = "/whep/{lesson_id}/{session}", tag = "whip", params(("lesson_id" = LessonId, Path), ("session" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)))]
async fn delete_whep(
    State(live): State<Live>,
    Path(at): Path<(LessonId, String)>,
    headers: HeaderMap,
) -> Result<StatusCode> {
    let session = find_session(&live, TokenKind::Whep, at, &headers).await?;
    live.lessons.end_session(&session);
    Ok(StatusCode::OK)
}

async fn open_session(
    live: &Live,
    lesson: LessonId,
    kind: TokenKind,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response> {
    let token = authorize(live, lesson, kind, headers).await?;
    require_content_type(headers, SDP)?;
    require_accept_sdp(headers)?;
    let sdp = utf8_body(body)?;
    let who = encoder_identity(&token);
    let joined = live.lessons.ask(lesson, |reply| {
        Some(match kind {
            TokenKind::Whip => Command::PublishWhip {
                who: who.clone(),
                sdp: sdp.to_owned(),
                reply,
            },
            TokenKind::Whep => Command::PlayWhep {
                name: who.name.clone(),
                sdp: sdp.to_owned(),
                reply,
            },
        })
    });
    let (_, (peer, answer)) = joined.await?;
    let session = live
        .lessons
        .add_session(Session::new(peer, lesson, kind, token.id));
    let location = format!("/{kind}/{lesson}/{}", session.id);
    let headers = [
        (header::CONTENT_TYPE, value(SDP)),
        (header::LOCATION, value(&location)),
        (header::ETAG, value(&session.etag)),
        (ACCEPT_PATCH, value(FRAGMENT)),
    ];
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

/// Returns the identity of an encoder, named by its token's label.
fn encoder_identity(token: &ValidToken) -> Identity {
    Identity {
        id: token.id.to_string(),
        name: token.label.clone(),
        school: None,
        role: Role::LeadRoom,
        kind: ParticipantKind::Encoder,
    }
}

/// Patches ICE (RFC 9725 §4.3): a trickle request names the ICE session by its entity-tag; a
/// restart sends `*` and receives the new tag.
fn patch(live: &Live, session: Session, headers: &HeaderMap, body: &Bytes) -> Result<Response> {
    require_content_type(headers, FRAGMENT)?;
    let fragment = utf8_body(body)?;
    let Some(precondition) = headers.get(header::IF_MATCH) else {
        return Err(status_error(
            StatusCode::PRECONDITION_REQUIRED,
            "缺少 If-Match。",
            "If-Match is missing.",
        ));
    };
    let restart = precondition == "*";
    if !restart && precondition.as_bytes() != session.etag.as_bytes() {
        return Err(status_error(
            StatusCode::PRECONDITION_FAILED,
            "ICE 会话已经更新。",
            "The ICE session is another one by now.",
        ));
    }
    match live.lessons.patch_session(&session, fragment, restart)? {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some((ours, etag)) => {
            let headers = [
                (header::CONTENT_TYPE, value(FRAGMENT)),
                (header::ETAG, value(&etag)),
            ];
            Ok((StatusCode::OK, headers, ours).into_response())
        }
    }
}

/// Returns the session at a URL if the request carries the token that opened it.
async fn find_session(
    live: &Live,
    kind: TokenKind,
    (lesson, id): (LessonId, String),
    headers: &HeaderMap,
) -> Result<Session> {
    let token = authorize(live, lesson, kind, headers).await?;
    let session = live
        .lessons
        .session(&id)
        .filter(|s| s.lesson == lesson && s.kind == kind && s.token == token.id);
    session.ok_or_else(|| Error::not_found("这个会话已经结束。", "This session is over."))
}

/// Authorizes by bearer token (RFC 9725 §4.5, RFC 6750).
async fn authorize(
    live: &Live,
    lesson: LessonId,
    kind: TokenKind,
    headers: &HeaderMap,
) -> Result<ValidToken> {
    let value = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (scheme, token) = value.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::NotSignedIn);
    }
    tokens::check(&live.db, lesson, kind, token.trim())
        .await?
        .ok_or(Error::NotSignedIn)
}

fn require_content_type(headers: &HeaderMap, wanted: &str) -> Result<()> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if content_type
        .split(';')
        .next()
        .is_some_and(|t| t.trim().eq_ignore_ascii_case(wanted))
    {
        return Ok(());
    }
    let text = Text::with(
        format!("请求内容应为 {wanted}。"),
        format!("The request's body must be {wanted}."),
    );
    Err(Error::UnsupportedMedia(text))
}

/// Rejects requests whose `Accept` excludes SDP (RFC 9110 §12.5.1).
fn require_accept_sdp(headers: &HeaderMap) -> Result<()> {
    let ranges: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let good = |range: &str| {
        matches!(
            range.split(';').next().map(str::trim),
            Some("*/*" | "application/*" | SDP)
        )
    };
    if ranges.is_empty() || ranges.iter().flat_map(|line| line.split(',')).any(good) {
        return Ok(());
    }
    Err(status_error(
        StatusCode::NOT_ACCEPTABLE,
        "应答只能是 application/sdp。",
        "The answer can only be application/sdp.",
    ))
}

fn utf8_body(body: &Bytes) -> Result<&str> {
    std::str::from_utf8(body).map_err(|_| {
        Error::BadRequest(Text::new(
            "SDP 应为 UTF-8 文本。",
            "A description is UTF-8 text.",
        ))
    })
}

/// Error with the status that the RFC prescribes.
fn status_error(status: StatusCode, zh: &'static str, en: &'static str) -> Error {
    Error::Prescribed {
        status,
        code: "precondition",
        text: Text::new(zh, en),
    }
}

/// Allows any origin, since requests are authorized by token and not by cookie (RFC 9725 §4.2), and
/// answers preflight requests.
async fn add_cors_headers(request: Request, next: Next) -> Response {
    let mut response = match *request.method() {
        Method::OPTIONS => {
            let accepted = [(ACCEPT_POST, value(SDP)), (ACCEPT_PATCH, value(FRAGMENT))];
            (StatusCode::NO_CONTENT, accepted).into_response()
        }
        _ => next.run(request).await,
    };
    let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value("*"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        value("POST, PATCH, DELETE, OPTIONS"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        value("Authorization, Content-Type, If-Match"),
    );
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, value(EXPOSED));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, value("86400"));
    if unauthorized {
        // Required by RFC 6750 §3.
        headers.insert(header::WWW_AUTHENTICATE, value("Bearer realm=\"tongke\""));
    }
    response
}

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("media types, ids and tags of ours are plain ASCII")
}
