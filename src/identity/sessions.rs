//! Lists of sessions and their closing: `/api/sessions` for the person's own, and those of a person for
//! administrators.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::error::{Error, Result};
use crate::extract::{Json, Path, now};
use crate::ids::PersonId;

use super::session::{self, SessionItem};
use super::{Actor, Identity};

pub fn routes() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .routes(routes!(list_own_sessions))
        .routes(routes!(close_own_session))
        .routes(routes!(list_sessions_of_person, close_sessions_of_person))
}

#[derive(Serialize, ToSchema)]
struct SessionList {
    items: Vec<SessionItem>,
}

/// Lists the person's own sessions.
#[utoipa::path(get, path = "/api/sessions", tag = "session", responses((status = 200, body = SessionList)))]
async fn list_own_sessions(
    State(identity): State<Identity>,
    actor: Actor,
    headers: HeaderMap,
) -> Result<Json<SessionList>> {
    let own = session::token_of(&headers);
    let items = session::of_person(&identity.db, PersonId(actor.id()), own, now()).await?;
    Ok(Json(SessionList { items }))
}

/// Closes one of the person's own sessions.
#[utoipa::path(delete, path = "/api/sessions/{id}", tag = "session", params(("id" = String, Path)), responses((status = 204), (status = 404, body = crate::error::Body)))]
async fn close_own_session(
    State(identity): State<Identity>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    if !session::close_by_id(&identity.db, PersonId(actor.id()), &id).await? {
        return Err(Error::not_found(
            "这次登录已经结束。",
            "This session has ended already.",
        ));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the sessions of a person.
#[utoipa::path(get, path = "/api/people/{id}/sessions", tag = "people", params(("id" = PersonId, Path)), responses((status = 200, body = SessionList)))]
async fn list_sessions_of_person(
    State(identity): State<Identity>,
    Path(id): Path<PersonId>,
) -> Result<Json<SessionList>> {
    let items = session::of_person(&identity.db, id, None, now()).await?;
    Ok(Json(SessionList { items }))
}

/// Closes all sessions of a person.
#[utoipa::path(delete, path = "/api/people/{id}/sessions", tag = "people", params(("id" = PersonId, Path)), responses((status = 204)))]
async fn close_sessions_of_person(
    State(identity): State<Identity>,
    Path(id): Path<PersonId>,
) -> Result<StatusCode> {
    session::close_others(&identity.db, id, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
