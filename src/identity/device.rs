//! Known devices: a long-lived random cookie that a browser gets with a person's first sign-in. It proves
//! nothing but that this person signed in on this browser before, which the sign-in limiter rewards.

use axum::http::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use crate::db::{Db, DbError, millis};
use crate::ids::PersonId;

use super::secret;
use super::session::{cookie_of, set_cookie};

/// Name of the device cookie.
const COOKIE: &str = "tongke_device";
/// A browser that was not used for this long is no longer known.
const LIFETIME: SignedDuration = SignedDuration::from_hours(180 * 24);
/// Devices kept per person; a new one evicts the least recently used.
const MAX_DEVICES: i64 = 20;

/// Returns the token hash of the request's device if `person` signed in on it before.
pub async fn known(
    db: &Db,
    headers: &HeaderMap,
    person: PersonId,
    now: Timestamp,
) -> Result<Option<String>, DbError> {
    let Some(token) = cookie_of(headers, COOKIE) else {
        return Ok(None);
    };
    let hash = secret::hash(token);
    let found: Option<(String,)> = sqlx::query_as(
        "SELECT token_hash FROM known_devices WHERE token_hash = $1 AND person_id = $2 AND used_at > $3",
    )
    .bind(&hash)
    .bind(person)
    .bind(millis(now - LIFETIME))
    .fetch_optional(db.pool())
    .await?;
    Ok(found.map(|(hash,)| hash))
}

/// Records a successful sign-in on a known device.
pub async fn touch(db: &Db, hash: &str, now: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE known_devices SET used_at = $2 WHERE token_hash = $1")
        .bind(hash)
        .bind(millis(now))
        .execute(db.pool())
        .await
        .map(drop)
}

/// Makes this browser a known device of `person` and returns its `Set-Cookie` value.
pub async fn remember(
    db: &Db,
    person: PersonId,
    now: Timestamp,
    secure: bool,
) -> Result<HeaderValue, DbError> {
    let token = secret::token();
    sqlx::query("INSERT INTO known_devices (token_hash, person_id, used_at) VALUES ($1, $2, $3)")
        .bind(secret::hash(&token))
        .bind(person)
        .bind(millis(now))
        .execute(db.pool())
        .await?;
    sqlx::query(
        "DELETE FROM known_devices WHERE person_id = $1 AND token_hash NOT IN (
            SELECT token_hash FROM known_devices WHERE person_id = $1
            ORDER BY used_at DESC, token_hash LIMIT $2)",
    )
    .bind(person)
    .bind(MAX_DEVICES)
    .execute(db.pool())
    .await?;
    Ok(set_cookie(COOKIE, &token, LIFETIME, secure))
}
