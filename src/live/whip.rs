//! Foreign encoders and players: WHIP (RFC 9725) in, WHEP (draft-ietf-wish-whep) out, on the same plane as everybody else.
//!
//! An encoder becomes a participant of kind `encoder`, shown like a camera of the lead's side. A player is sent what an observer is
//! sent, as far as its m-lines go, and follows the lesson: its main picture is the shared screen while there is one, else the lead.
//!
//! We are an ICE-lite server on public candidates, all of them in the answer: a trickled candidate is accepted and not needed, and
//! there is no `Link: rel="ice-server"` because there is no STUN or TURN server to name.

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
use super::host::Command;
use super::lesson::Identity;
use super::protocol::{ParticipantKind, Role};
use super::tokens::{self, Granted, TokenKind};
use crate::error::{Error, Result, Text};
use crate::extract::Path;
use crate::ids::LessonId;
use session::Session;
pub use session::Sessions;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Longest description; the plane reads no more either.
const MAX_SDP: usize = 256 * 1024;

/// What a foreign web player may read of our answers (RFC 9725 §4.2, Fetch: CORS).
const EXPOSED: &str = "Location, Link, ETag, Accept-Patch, Accept-Post, WWW-Authenticate";

pub fn routes() -> OpenApiRouter<Live> {
    OpenApiRouter::new()
        .routes(paths!(publish))
        .routes(paths!(play))
        .routes(paths!(patch_whip, delete_whip))
        .routes(paths!(patch_whep, delete_whep))
        .layer(DefaultBodyLimit::max(MAX_SDP))
        .layer(middleware::from_fn(cross_origin))
}

/// An encoder begins to publish (RFC 9725 §4.2).
#[utoipa::path(post, path = "/whip/{lesson_id}", tag = "whip", params(("lesson_id" = LessonId, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, description = "the SDP answer; `Location` is the session"), (status = 400), (status = 401), (status = 406),
        (status = 409), (status = 415), (status = 422), (status = 503)))]
async fn publish(
    State(live): State<Live>,
    Path(lesson): Path<LessonId>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    begin(&live, lesson, TokenKind::Whip, &headers, &body).await
}

/// A player begins to watch.
#[utoipa::path(post, path = "/whep/{lesson_id}", tag = "whip", params(("lesson_id" = LessonId, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, description = "the SDP answer; `Location` is the session"), (status = 400), (status = 401), (status = 406),
        (status = 409), (status = 415), (status = 422), (status = 503)))]
async fn play(
    State(live): State<Live>,
    Path(lesson): Path<LessonId>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    begin(&live, lesson, TokenKind::Whep, &headers, &body).await
}

/// Trickled candidates, or an ICE restart (RFC 9725 §4.3).
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
        find(&live, TokenKind::Whip, at, &headers).await?,
        &headers,
        &body,
    )
}

/// Trickled candidates, or an ICE restart.
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
        find(&live, TokenKind::Whep, at, &headers).await?,
        &headers,
        &body,
    )
}

/// The encoder leaves (RFC 9725 §4.2).
#[utoipa::path(delete, path = "/whip/{lesson_id}/{session}", tag = "whip", params(("lesson_id" = LessonId, Path), ("session" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)))]
async fn delete_whip(
    State(live): State<Live>,
    Path(at): Path<(LessonId, String)>,
    headers: HeaderMap,
) -> Result<StatusCode> {
    let session = find(&live, TokenKind::Whip, at, &headers).await?;
    live.lessons.end_session(&session);
    Ok(StatusCode::OK)
}

/// The player leaves.
#[utoipa::path(delete, path = "/whep/{lesson_id}/{session}", tag = "whip", params(("lesson_id" = LessonId, Path), ("session" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)))]
async fn delete_whep(
    State(live): State<Live>,
    Path(at): Path<(LessonId, String)>,
    headers: HeaderMap,
) -> Result<StatusCode> {
    let session = find(&live, TokenKind::Whep, at, &headers).await?;
    live.lessons.end_session(&session);
    Ok(StatusCode::OK)
}

async fn begin(
    live: &Live,
    lesson: LessonId,
    kind: TokenKind,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response> {
    let granted = authorize(live, lesson, kind, headers).await?;
    is_of_type(headers, SDP)?;
    accepts_answer(headers)?;
    let sdp = text_of(body)?;
    let who = encoder(&granted);
    let joined = live.lessons.ask(lesson, |reply| {
        Some(match kind {
            TokenKind::Whip => Command::Encode {
                who: who.clone(),
                sdp: sdp.to_owned(),
                reply,
            },
            TokenKind::Whep => Command::Play {
                name: who.name.clone(),
                sdp: sdp.to_owned(),
                reply,
            },
        })
    });
    let (_, (peer, answer)) = joined.await?;
    let session = live
        .lessons
        .add_session(Session::new(peer, lesson, kind, granted.id));
    let location = format!("/{kind}/{lesson}/{}", session.id);
    let headers = [
        (header::CONTENT_TYPE, value(SDP)),
        (header::LOCATION, value(&location)),
        (header::ETAG, value(&session.etag)),
        (ACCEPT_PATCH, value(FRAGMENT)),
    ];
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

/// The participant that an encoder is: it takes part under its token's label.
fn encoder(granted: &Granted) -> Identity {
    Identity {
        id: granted.id.to_string(),
        name: granted.label.clone(),
        school: None,
        role: Role::LeadRoom,
        kind: ParticipantKind::Encoder,
    }
}

/// RFC 9725 §4.3: a trickle request names the ICE session by its entity-tag, a restart asks with `*` and is answered with the new tag.
fn patch(live: &Live, session: Session, headers: &HeaderMap, body: &Bytes) -> Result<Response> {
    is_of_type(headers, FRAGMENT)?;
    let fragment = text_of(body)?;
    let Some(precondition) = headers.get(header::IF_MATCH) else {
        return Err(prescribed(
            StatusCode::PRECONDITION_REQUIRED,
            "缺少 If-Match。",
            "If-Match is missing.",
        ));
    };
    let restart = precondition == "*";
    if !restart && precondition.as_bytes() != session.etag.as_bytes() {
        return Err(prescribed(
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

/// The session at an address, for the one who holds the token that opened it.
async fn find(
    live: &Live,
    kind: TokenKind,
    (lesson, id): (LessonId, String),
    headers: &HeaderMap,
) -> Result<Session> {
    let granted = authorize(live, lesson, kind, headers).await?;
    let session = live
        .lessons
        .session(&id)
        .filter(|s| s.lesson == lesson && s.kind == kind && s.token == granted.id);
    session.ok_or_else(|| Error::not_found("这个会话已经结束。", "This session is over."))
}

/// RFC 9725 §4.5: a bearer token (RFC 6750).
async fn authorize(
    live: &Live,
    lesson: LessonId,
    kind: TokenKind,
    headers: &HeaderMap,
) -> Result<Granted> {
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

fn is_of_type(headers: &HeaderMap, wanted: &str) -> Result<()> {
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

/// RFC 9110 §12.5.1: an answer that the client says it cannot read is not made.
fn accepts_answer(headers: &HeaderMap) -> Result<()> {
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
    Err(prescribed(
        StatusCode::NOT_ACCEPTABLE,
        "应答只能是 application/sdp。",
        "The answer can only be application/sdp.",
    ))
}

fn text_of(body: &Bytes) -> Result<&str> {
    std::str::from_utf8(body).map_err(|_| {
        Error::BadRequest(Text::new(
            "SDP 应为 UTF-8 文本。",
            "A description is UTF-8 text.",
        ))
    })
}

/// A refusal with the status that the protocol gives it.
fn prescribed(status: StatusCode, zh: &'static str, en: &'static str) -> Error {
    Error::Prescribed {
        status,
        code: "precondition",
        text: Text::new(zh, en),
    }
}

/// Any site's player may speak to us: what lets it in is its token, not a cookie (RFC 9725 §4.2). Answers preflights by itself.
async fn cross_origin(request: Request, next: Next) -> Response {
    let mut response = match *request.method() {
        Method::OPTIONS => {
            let takes = [(ACCEPT_POST, value(SDP)), (ACCEPT_PATCH, value(FRAGMENT))];
            (StatusCode::NO_CONTENT, takes).into_response()
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
        // RFC 6750 §3.
        headers.insert(header::WWW_AUTHENTICATE, value("Bearer realm=\"tongke\""));
    }
    response
}

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("media types, ids and tags of ours are plain ASCII")
}
