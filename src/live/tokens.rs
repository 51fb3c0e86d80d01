//! Bearer tokens of foreign programs: one token lets one encoder (WHIP) or player (WHEP) into one lesson.

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

/// A token is made while a lesson is planned, at most a term ahead; the lesson's end makes it useless in any case.
const LASTS: SignedDuration = SignedDuration::from_hours(200 * 24);

/// Tokens that one lesson may have: encoders and screens of a school, not an open broadcast.
const PER_LESSON: i64 = 50;

crate::string_enum! {
    /// What a token lets in.
    TokenKind { Whip = "whip", Whep = "whep" }
}

/// A token that was presented and is good.
#[derive(Clone, Debug)]
pub struct Granted {
    pub id: TokenId,
    pub label: String,
}

#[derive(Deserialize, ToSchema)]
pub struct NewToken {
    kind: TokenKind,
    /// What people call the program; an encoder takes part under this name.
    label: String,
}

/// The only time that the token itself is shown.
#[derive(Serialize, ToSchema)]
pub struct MadeToken {
    id: TokenId,
    /// The WHIP or WHEP endpoint.
    url: String,
    token: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub struct TokenItem {
    id: TokenId,
    kind: TokenKind,
    label: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub struct TokenItems {
    items: Vec<TokenItem>,
}

/// The lesson's tokens, without the tokens themselves. For the lead and administrators.
#[utoipa::path(get, path = "/api/lessons/{id}/tokens", tag = "live", params(("id" = LessonId, Path)),
    responses((status = 200, body = TokenItems), (status = 403), (status = 404)))]
pub async fn list(
    State(live): State<Live>,
    actor: Actor,
    Path(id): Path<LessonId>,
) -> Result<Json<TokenItems>> {
    may_grant(&live, id, &actor).await?;
    let rows: Vec<(TokenId, TokenKind, String, i64, i64)> = sqlx::query_as(
        "SELECT id, kind, label, created_at, expires_at FROM media_tokens WHERE lesson_id = $1 ORDER BY created_at, id",
    )
    .bind(id)
    .fetch_all(live.db.pool())
    .await?;
    let item = |(id, kind, label, created, expires)| TokenItem {
        id,
        kind,
        label,
        created_at: time(created),
        expires_at: time(expires),
    };
    Ok(Json(TokenItems {
        items: rows.into_iter().map(item).collect(),
    }))
}

/// Makes a token for an encoder or a player. For the lead and administrators.
#[utoipa::path(post, path = "/api/lessons/{id}/tokens", tag = "live", params(("id" = LessonId, Path)), request_body = NewToken,
    responses((status = 201, body = MadeToken), (status = 403), (status = 404), (status = 409), (status = 422)))]
pub async fn create(
    State(live): State<Live>,
    actor: Actor,
    Path(id): Path<LessonId>,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>)> {
    may_grant(&live, id, &actor).await?;
    let label = line("label", &new.label, 1..=40)?;
    let brief = timetable::lesson_status(&live.db, id)
        .await?
        .ok_or_else(no_such_lesson)?;
    if brief.phase == Phase::Ended {
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
    if count >= PER_LESSON {
        return Err(Error::conflict(
            "too_many_tokens",
            "这节课的令牌过多，请先删除不用的。",
            "This lesson has too many tokens. Delete some first.",
        ));
    }
    let (token_id, token, expires_at) = (TokenId::fresh(), secret::token(), now() + LASTS);
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
        Json(MadeToken {
            id: token_id,
            url,
            token,
            expires_at,
        }),
    ))
}

/// Takes a token back; what came in with it leaves at once. For the lead and administrators.
#[utoipa::path(delete, path = "/api/lessons/{id}/tokens/{token_id}", tag = "live",
    params(("id" = LessonId, Path), ("token_id" = TokenId, Path)), responses((status = 204), (status = 403), (status = 404)))]
pub async fn revoke(
    State(live): State<Live>,
    actor: Actor,
    Path((id, token_id)): Path<(LessonId, TokenId)>,
) -> Result<StatusCode> {
    may_grant(&live, id, &actor).await?;
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

/// What a presented token grants, if anything.
pub async fn check(
    db: &Db,
    lesson: LessonId,
    kind: TokenKind,
    token: &str,
) -> Result<Option<Granted>, DbError> {
    let row: Option<(TokenId, String)> = sqlx::query_as(
        "SELECT id, label FROM media_tokens WHERE token_hash = $1 AND lesson_id = $2 AND kind = $3 AND expires_at > $4",
    )
    .bind(secret::hash(token))
    .bind(lesson)
    .bind(kind)
    .bind(millis(now()))
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|(id, label)| Granted { id, label }))
}

async fn may_grant(live: &Live, id: LessonId, actor: &Actor) -> Result<()> {
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
