//! The first administrator: made once, through a link that only the server's log shows. No default password exists anywhere.

use std::time::Instant;

use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{Db, DbError, millis};
use crate::error::{Error, Result};
use crate::extract::{Client, Json, now};

use super::Identity;
use super::people::{NewPerson, insert};
use super::session::Holder;
use super::signin::{Me, SignedIn, give_session};
use super::{Role, secret};

/// A link that nobody used by then is void.
const LINK_LASTS: SignedDuration = SignedDuration::from_hours(24);

pub fn routes() -> OpenApiRouter<Identity> {
    OpenApiRouter::new().routes(routes!(needed, set_up))
}

/// Whether the house has somebody to run it.
pub async fn administrator_exists(db: &Db) -> Result<bool, DbError> {
    let found: Option<(i64,)> =
        sqlx::query_as("SELECT 1 FROM people WHERE role = $1 AND removed_at IS NULL LIMIT 1")
            .bind(Role::Administrator)
            .fetch_optional(db.pool())
            .await?;
    Ok(found.is_some())
}

/// Makes the one-time link's token; earlier links are void.
pub async fn fresh_link(db: &Db, now: Timestamp) -> Result<String, DbError> {
    let token = secret::token();
    let mut tx = db.begin().await?;
    sqlx::query("DELETE FROM setup_links")
        .execute(&mut *tx)
        .await?;
    sqlx::query("INSERT INTO setup_links (token_hash, created_at, expires_at) VALUES ($1, $2, $3)")
        .bind(secret::hash(&token))
        .bind(millis(now))
        .bind(millis(now + LINK_LASTS))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(token)
}

#[derive(Serialize, ToSchema)]
struct Needed {
    needed: bool,
}

/// Whether the first administrator is still to be made.
#[utoipa::path(get, path = "/api/setup", tag = "session", responses((status = 200, body = Needed)))]
async fn needed(State(identity): State<Identity>) -> Result<Json<Needed>> {
    Ok(Json(Needed {
        needed: !administrator_exists(&identity.db).await?,
    }))
}

#[derive(Deserialize, ToSchema)]
struct SetUp {
    /// From the one-time link.
    token: String,
    name: String,
    login: String,
    password: String,
}

/// Makes the first administrator and signs them in.
#[utoipa::path(post, path = "/api/setup", tag = "session", request_body = SetUp, responses((status = 200, body = Me), (status = 404, body = crate::error::Body), (status = 422, body = crate::error::Body)))]
async fn set_up(
    State(identity): State<Identity>,
    Client(address): Client,
    Json(form): Json<SetUp>,
) -> Result<SignedIn> {
    identity.limiter.count("", address, Instant::now())?;
    let person = NewPerson {
        school: None,
        name: form.name,
        login: form.login,
        role: Role::Administrator,
    };
    let person = person.check()?;
    super::password::check("password", &form.password)?;
    if !is_valid(&identity.db, &form.token, now()).await? {
        return Err(void_link());
    }
    let hash = identity.hasher.hash(form.password).await?;

    let mut tx = identity.db.begin().await?;
    let used = sqlx::query("DELETE FROM setup_links WHERE token_hash = $1 AND expires_at > $2")
        .bind(secret::hash(form.token.trim()))
        .bind(millis(now()))
        .execute(&mut *tx)
        .await?;
    if used.rows_affected() == 0 {
        return Err(void_link());
    }
    let id = insert(&mut tx, &person, &hash).await?;
    sqlx::query("DELETE FROM setup_links")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    identity.limiter.succeeded("", address);
    give_session(&identity, Holder::Person(id)).await
}

/// Looked at before the password is hashed, which is dear; who may use the link is decided by the delete that follows.
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

fn void_link() -> Error {
    Error::not_found(
        "这个初始化链接无效或已过期。请在服务器上运行 tongke admin-link 获取新链接。",
        "This link is not valid any more. Run `tongke admin-link` on the server for a new one.",
    )
}
