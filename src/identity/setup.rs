//! Creation of the first administrator through a one-time link that the server prints at start. There
//! is no default password.

use std::time::Instant;

use axum::extract::State;
use axum::http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::audit_log::Note;
use crate::db::{Db, DbError, millis};
use crate::error::{Error, Result};
use crate::extract::{Client, Json, now};

use super::Identity;
use super::limiter::Origin;
use super::people::{NewPerson, insert};
use super::session::{ClientInfo, Owner};
use super::signin::{Me, SignedIn, open_session};
use super::{Role, secret};

/// Lifetime of a setup link.
const LINK_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

pub fn routes() -> OpenApiRouter<Identity> {
    OpenApiRouter::new().routes(routes!(get_setup_state, create_first_administrator))
}

/// Returns true if at least one administrator exists.
pub async fn administrator_exists(db: &Db) -> Result<bool, DbError> {
    let found: Option<(i64,)> =
        sqlx::query_as("SELECT 1 FROM people WHERE role = $1 AND removed_at IS NULL LIMIT 1")
            .bind(Role::Administrator)
            .fetch_optional(db.pool())
            .await?;
    Ok(found.is_some())
}

/// Creates the token of a setup link and revokes earlier ones.
pub async fn create_setup_link(db: &Db, now: Timestamp) -> Result<String, DbError> {
    let token = secret::token();
    let mut tx = db.begin().await?;
    sqlx::query("DELETE FROM setup_links")
        .execute(&mut *tx)
        .await?;
    sqlx::query("INSERT INTO setup_links (token_hash, created_at, expires_at) VALUES ($1, $2, $3)")
        .bind(secret::hash(&token))
        .bind(millis(now))
        .bind(millis(now + LINK_LIFETIME))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(token)
}

#[derive(Serialize, ToSchema)]
struct Needed {
    needed: bool,
}

/// Reports if the first administrator is still missing.
#[utoipa::path(get, path = "/api/setup", tag = "session", responses((status = 200, body = Needed)))]
async fn get_setup_state(State(identity): State<Identity>) -> Result<Json<Needed>> {
    Ok(Json(Needed {
        needed: !administrator_exists(&identity.db).await?,
    }))
}

#[derive(Deserialize, ToSchema)]
struct FirstAdministrator {
    /// Token of the setup link.
    token: String,
    name: String,
    login: String,
    password: String,
}

/// Creates the first administrator and signs them in.
#[utoipa::path(post, path = "/api/setup", tag = "session", request_body = FirstAdministrator, responses((status = 200, body = Me), (status = 404, body = crate::error::Body), (status = 422, body = crate::error::Body)))]
async fn create_first_administrator(
    State(identity): State<Identity>,
    Client(address): Client,
    headers: HeaderMap,
    note: Note,
    Json(form): Json<FirstAdministrator>,
) -> Result<SignedIn> {
    let origin = Origin::Address(address);
    identity.limiter.check("", &origin, Instant::now())?;
    let person = NewPerson {
        school: None,
        name: form.name,
        login: form.login,
        role: Role::Administrator,
    };
    let person = person.check()?;
    super::password::check("password", &form.password, &[&person.name, &person.login])?;
    if !is_valid(&identity.db, &form.token, now()).await? {
        return Err(invalid_link());
    }
    let hash = identity.hasher.hash(form.password).await?;

    let mut tx = identity.db.begin().await?;
    let used = sqlx::query("DELETE FROM setup_links WHERE token_hash = $1 AND expires_at > $2")
        .bind(secret::hash(form.token.trim()))
        .bind(millis(now()))
        .execute(&mut *tx)
        .await?;
    if used.rows_affected() == 0 {
        return Err(invalid_link());
    }
    let id = insert(&mut tx, &person, &hash).await?;
    sqlx::query("DELETE FROM setup_links")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    identity.limiter.succeeded("", &origin);
    let client = ClientInfo::of(address, &headers);
    open_session(&identity, Owner::Person(id), &client, &note).await
}

/// Cheap check before the expensive hash; the DELETE that follows decides races.
async fn is_valid(db: &Db, token: &str, now: Timestamp) -> Result<bool, DbError> {
    let found: Option<(String,)> = sqlx::query_as(
        "SELECT token_hash FROM setup_links WHERE token_hash = $1 AND expires_at > $2",
    )
    .bind(secret::hash(token.trim()))
    .bind(millis(now))
    .fetch_optional(db.pool())
    .await?;
    Ok(found.is_some())
}

fn invalid_link() -> Error {
    Error::not_found(
        "这个初始化链接无效或已过期。请在服务器上运行 tongke admin-link 获取新链接。",
        "This link is not valid any more. Run `tongke admin-link` on the server for a new one.",
    )
}
