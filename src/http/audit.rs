//! Audit of requests: the layer that writes an entry for each audited one, and `/api/audit` for
//! administrators.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::audit_log::{self, Entry, Filter, Note};
use crate::db::millis;
use crate::error::Result;
use crate::extract::{Json, Query};

use super::Services;

/// Reads that are audited, beside all changes.
const AUDITED_READS: [(&str, &str); 2] = [
    ("GET", "/api/lessons/{id}/recording"),
    ("GET", "/api/collections/{id}/zip"),
];

/// Changes that are not audited: parts of an upload, whose creation is, and media negotiation.
const UNAUDITED: [&str; 4] = [
    "/api/uploads/{id}",
    "/api/uploads/known",
    "/whip/{lesson_id}/{session}",
    "/whep/{lesson_id}/{session}",
];

/// Entries of a result page.
const PAGE: i64 = 50;
const MAX_PAGE: i64 = 500;

pub fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(list_audit_log))
}

fn is_audited(method: &Method, route: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    match reads {
        true => AUDITED_READS.contains(&(method.as_str(), route)),
        false => !UNAUDITED.contains(&route),
    }
}

/// Writes the entry of an audited request before its response is sent. A failed request is audited if it
/// was rejected for who asked (401, 403, 429): a probe leaves a trace, a mistyped form does not.
pub async fn audit(State(services): State<Services>, mut request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let Some(route) = route.filter(|route| is_audited(request.method(), route)) else {
        return next.run(request).await;
    };
    let note = Note::default();
    request.extensions_mut().insert(note.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_success() || [401, 403, 429].contains(&status.as_u16())) {
        return response;
    }
    let facts = note.facts();
    let author = facts.author;
    let address = facts.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let is_refused_stranger = author.is_none() && !status.is_success();
    if is_refused_stranger && !services.refusals.allows(address, Instant::now()) {
        metrics::counter!(crate::metrics::AUDIT_ENTRIES_DROPPED).increment(1);
        return response;
    }
    let entry = Entry {
        id: Uuid::now_v7().to_string(),
        at: millis(Timestamp::now()),
        actor_kind: author.as_ref().map(|author| author.kind.to_owned()),
        actor_id: author.as_ref().map(|author| author.id.to_string()),
        actor_name: author.map(|author| author.name),
        address: address.to_string(),
        method: method.to_string(),
        route,
        path,
        status: status.as_u16().into(),
        detail: serde_json::Value::Object(facts.detail).to_string(),
    };
    if let Err(error) = audit_log::append(&services.db, &entry).await {
        metrics::counter!(crate::metrics::AUDIT_WRITE_FAILURES).increment(1);
        tracing::error!(%error, "an audit entry could not be written");
    }
    response
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Part of a name, login, path or address.
    #[serde(default)]
    q: String,
    /// Milliseconds since 1970, inclusive.
    from: Option<i64>,
    /// Milliseconds since 1970, exclusive.
    until: Option<i64>,
    /// Result page, from 0.
    #[serde(default)]
    page: i64,
    per_page: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct AuditLog {
    entries: Vec<Entry>,
    total: i64,
}

/// Lists audit entries, newest first.
#[utoipa::path(get, path = "/api/audit", tag = "audit", params(Wanted), responses((status = 200, body = AuditLog), (status = 403, body = crate::error::Body)))]
async fn list_audit_log(
    State(services): State<Services>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<AuditLog>> {
    let filter = Filter {
        text: wanted.q.trim().chars().take(100).collect(),
        from: wanted.from.map(crate::db::time),
        until: wanted.until.map(crate::db::time),
    };
    let most = wanted.per_page.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let skip = wanted.page.clamp(0, 1_000_000) * most;
    let (entries, total) = audit_log::list(&services.db, &filter, skip, most).await?;
    Ok(Json(AuditLog { entries, total }))
}
