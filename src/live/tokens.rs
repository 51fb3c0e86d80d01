//! Bearer tokens for one encoder (WHIP) or player (WHEP) in one lesson.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Live;
use super::no_such_lesson;
use crate::db::{Db, DbError, millis, time};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, line, now};
use crate::identity::{Actor, secret};
use crate::ids::{LessonId, TokenId};
use crate::timetable::{self, LessonRole, Phase};

/// Token lifetime: tokens are created up to a term ahead. The lesson's end invalidates them in any
/// case.
const TOKEN_LIFETIME: SignedDuration = SignedDuration::from_hours(200 * 24);

/// Most tokens of a lesson: enough for the encoders and screens of a school, not for an open
/// broadcast.
const MAX_TOKENS_PER_LESSON: i64 = 50;

crate::string_enum! {
    /// Protocol that a token authorizes.
    TokenKind { Whip = "whip", Whep = "whep" }
}

/// Verified token.
#[derive(Clone, Debug)]
pub struct ValidToken {
    pub id: TokenId,
    pub label: String,
}

#[derive(Deserialize, ToSchema)]
pub struct NewToken {
    kind: TokenKind,
    /// Display name of the program; an encoder joins under it.
    label: String,
}

/// Created token; the only response that contains the secret.
#[derive(Serialize, ToSchema)]
pub struct CreatedToken {
    id: TokenId,
    /// WHIP or WHEP endpoint.
    url: String,
    token: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub struct TokenSummary {
    id: TokenId,
    kind: TokenKind,
    label: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub struct TokenList {
    items: Vec<TokenSummary>,
}

/// Lists the lesson's tokens without their secrets. For the lead and administrators.
#[utoipa::path(get, path = "/api/lessons/{id}/tokens", tag = "live", params(("id" = LessonId, Path)),
    responses((status = 200, body = TokenList), (status = 403), (status = 404)))]
pub async fn list_tokens(
    State(live): State<Live>,
    actor: Actor,
    Path(id): Path<LessonId>,
) -> Result<Json<TokenList>> {
    require_lead_or_administrator(&live, id, &actor).await?;
    let rows: Vec<(TokenId, TokenKind, String, i64, i64)> = sqlx::query_as(
        "SELECT id, kind, label, created_at, expires_at FROM media_tokens WHERE lesson_id = $1 ORDER BY created_at, id",
    )
    .bind(id)
    .fetch_all(live.db.pool())
    .await?;
    let item = |(id, kind, label, created, expires)| TokenSummary {
        id,
        kind,
        label,
        created_at: time(created),
        expires_at: time(expires),
    };
    Ok(Json(TokenList {
        items: rows.into_iter().map(item).collect(),
    }))
}

/// Creates a token for an encoder or a player. For the lead and administrators.
#[utoipa::path(post, path = "/api/lessons/{id}/tokens", tag = "live", params(("id" = LessonId, Path)), request_body = NewToken,
    responses((status = 201, body = CreatedToken), (status = 403), (status = 404), (status = 409), (status = 422)))]
pub async fn create_token(
    State(live): State<Live>,
    actor: Actor,
    Path(id): Path<LessonId>,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, Json<CreatedToken>)> {
    require_lead_or_administrator(&live, id, &actor).await?;
    let label = line("label", &new.label, 1..=40)?;
    let status = timetable::lesson_status(&live.db, id)
        .await?
        .ok_or_else(no_such_lesson)?;
    if status.phase == Phase::Ended {
        return Err(Error::conflict(
            "lesson_ended",
            "这节课已经下课。",
            "This lesson is over.",
        ));
    }
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM media_tokens WHERE lesson_id = $1")
        .bind(id)
        .fetch_one(live.db.pool())
        .await?;
    if count >= MAX_TOKENS_PER_LESSON {
        return Err(Error::conflict(
            "too_many_tokens",
            "这节课的令牌过多，请先删除不用的。",
            "This lesson has too many tokens. Delete some first.",
        ));
    }
    let (token_id, token, expires_at) = (TokenId::fresh(), secret::token(), now() + TOKEN_LIFETIME);
    sqlx::query(
        "INSERT INTO media_tokens (id, lesson_id, kind, label, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(token_id)
    .bind(id)
    .bind(new.kind)
    .bind(label)
    .bind(secret::hash(&token))
    .bind(millis(now()))
    .bind(millis(expires_at))
    .execute(live.db.pool())
    .await?;
    let url = format!("{}/{}/{id}", live.config.public_url(), new.kind);
    Ok((
        StatusCode::CREATED,
        Json(CreatedToken {
            id: token_id,
            url,
            token,
            expires_at,
        }),
    ))
}

/// Revokes a token and ends its sessions. For the lead and administrators.
#[utoipa::path(delete, path = "/api/lessons/{id}/tokens/{token_id}", tag = "live",
    params(("id" = LessonId, Path), ("token_id" = TokenId, Path)), responses((status = 204), (status = 403), (status = 404)))]
pub async fn revoke_token(
    State(live): State<Live>,
    actor: Actor,
    Path((id, token_id)): Path<(LessonId, TokenId)>,
) -> Result<StatusCode> {
    require_lead_or_administrator(&live, id, &actor).await?;
    let gone = sqlx::query("DELETE FROM media_tokens WHERE id = $1 AND lesson_id = $2")
        .bind(token_id)
        .bind(id)
        .execute(live.db.pool())
        .await?;
    if gone.rows_affected() == 0 {
        return Err(Error::not_found(
            "没有找到这个令牌。",
            "There is no such token.",
        ));
    }
    live.lessons.end_sessions_of(token_id);
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the token if it is valid for this lesson and protocol.
pub async fn check(
    db: &Db,
    lesson: LessonId,
    kind: TokenKind,
    token: &str,
) -> Result<Option<ValidToken>, DbError> {
    let row: Option<(TokenId, String)> = sqlx::query_as(
        "SELECT id, label FROM media_tokens WHERE token_hash = $1 AND lesson_id = $2 AND kind = $3 AND expires_at > $4",
    )
    .bind(secret::hash(token))
    .bind(lesson)
    .bind(kind)
    .bind(millis(now()))
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|(id, label)| ValidToken { id, label }))
}

async fn require_lead_or_administrator(live: &Live, id: LessonId, actor: &Actor) -> Result<()> {
    if timetable::lesson_status(&live.db, id).await?.is_none() {
        return Err(no_such_lesson());
    }
    let lead = timetable::role_in(&live.db, id, actor).await? == LessonRole::Lead;
    if lead || actor.is_administrator() {
        Ok(())
    } else {
        Err(Error::forbidden())
    }
}
