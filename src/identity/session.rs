//! Sessions: a random token in an HttpOnly cookie, its hash in the database.

use axum::http::{HeaderMap, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use sqlx::AnyConnection;

use crate::db::{Db, DbError, millis};
use crate::ids::{ClassroomId, PersonId};

use super::actor::{Actor, Classroom, Person, SchoolRef};
use super::{Role, secret};

/// Name of the session cookie.
const COOKIE: &str = "tongke_session";
/// Idle timeout of a person's session.
const PERSON_IDLE_TIMEOUT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Idle timeout of a classroom's session. A device is set up once; a new pass ends its session.
const CLASSROOM_IDLE_TIMEOUT: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Minimum extension of a session's expiry: most requests read the row without writing it.
const SLIDE_STEP: SignedDuration = SignedDuration::from_hours(24);

/// Concurrent sessions of one person or classroom; a new session evicts the oldest.
const MAX_SESSIONS: i64 = 100;

/// Owner of a session.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    Person(PersonId),
    Classroom(ClassroomId),
}

impl Owner {
    fn idle_timeout(self) -> SignedDuration {
        match self {
            Self::Person(_) => PERSON_IDLE_TIMEOUT,
            Self::Classroom(_) => CLASSROOM_IDLE_TIMEOUT,
        }
    }
}

/// Opens a session and returns its token.
pub async fn open(db: &Db, owner: Owner, now: Timestamp) -> Result<String, DbError> {
    let token = secret::token();
    let (person, classroom) = match owner {
        Owner::Person(id) => (Some(id), None),
        Owner::Classroom(id) => (None, Some(id)),
    };
    sqlx::query("DELETE FROM sessions WHERE expires_at <= $1")
        .bind(millis(now))
        .execute(db.pool())
        .await?;
    sqlx::query(
        "INSERT INTO sessions (token_hash, person_id, classroom_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(secret::hash(&token))
    .bind(person)
    .bind(classroom)
    .bind(millis(now))
    .bind(millis(now + owner.idle_timeout()))
    .execute(db.pool())
    .await?;
    sqlx::query(
        "DELETE FROM sessions WHERE token_hash IN (SELECT token_hash FROM sessions WHERE person_id = $1 OR classroom_id = $2
            ORDER BY created_at DESC, token_hash LIMIT 1000 OFFSET $3)",
    )
    .bind(person)
    .bind(classroom)
    .bind(MAX_SESSIONS)
    .execute(db.pool())
    .await?;
    Ok(token)
}

/// Closes a session.
pub async fn close(db: &Db, token: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM sessions WHERE token_hash = $1")
        .bind(secret::hash(token))
        .execute(db.pool())
        .await?;
    Ok(())
}

/// Closes every session of a classroom's device, in the transaction that replaces its pass.
pub async fn close_of_classroom(
    connection: &mut AnyConnection,
    id: ClassroomId,
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM sessions WHERE classroom_id = $1")
        .bind(id)
        .execute(connection)
        .await
        .map(drop)
}

/// Closes all sessions of a person except the one with token `keep`.
pub async fn close_others(db: &Db, person: PersonId, keep: Option<&str>) -> Result<(), DbError> {
    sqlx::query("DELETE FROM sessions WHERE person_id = $1 AND token_hash <> $2")
        .bind(person)
        .bind(keep.map(secret::hash).unwrap_or_default())
        .execute(db.pool())
        .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    expires_at: i64,
    person_id: Option<PersonId>,
    person_name: Option<String>,
    person_role: Option<Role>,
    classroom_id: Option<ClassroomId>,
    classroom_name: Option<String>,
    school_id: Option<crate::ids::SchoolId>,
    school_name: Option<String>,
}

/// Returns the owner of a session and extends its expiry; `None` if the token is unknown or expired.
pub async fn find(db: &Db, token: &str, now: Timestamp) -> Result<Option<Actor>, DbError> {
    let hash = secret::hash(token);
    let row: Option<Row> = sqlx::query_as(
        "SELECT s.expires_at, p.id AS person_id, p.name AS person_name, p.role AS person_role,
                c.id AS classroom_id, c.name AS classroom_name, o.id AS school_id, o.name AS school_name
         FROM sessions s
         LEFT JOIN people p ON p.id = s.person_id AND p.removed_at IS NULL
         LEFT JOIN classrooms c ON c.id = s.classroom_id AND c.removed_at IS NULL
         LEFT JOIN schools o ON o.id = COALESCE(p.school_id, c.school_id)
         WHERE s.token_hash = $1 AND s.expires_at > $2",
    )
    .bind(&hash)
    .bind(millis(now))
    .fetch_optional(db.pool())
    .await?;
    let Some(row) = row else { return Ok(None) };
    slide(db, &hash, &row, now).await?;
    Ok(row.actor())
}

impl Row {
    fn actor(self) -> Option<Actor> {
        let school = self
            .school_id
            .zip(self.school_name)
            .map(|(id, name)| SchoolRef { id, name });
        if let Some(id) = self.person_id {
            return Some(Actor::Person(Person {
                id,
                name: self.person_name?,
                role: self.person_role?,
                school,
            }));
        }
        Some(Actor::Classroom(Classroom {
            id: self.classroom_id?,
            name: self.classroom_name?,
            school: school?,
        }))
    }
}

async fn slide(db: &Db, hash: &str, row: &Row, now: Timestamp) -> Result<(), DbError> {
    let lasts = if row.person_id.is_some() {
        PERSON_IDLE_TIMEOUT
    } else {
        CLASSROOM_IDLE_TIMEOUT
    };
    let end = millis(now + lasts);
    if end - row.expires_at < SLIDE_STEP.as_millis() as i64 {
        return Ok(());
    }
    sqlx::query("UPDATE sessions SET expires_at = $2 WHERE token_hash = $1")
        .bind(hash)
        .bind(end)
        .execute(db.pool())
        .await?;
    Ok(())
}

/// Session token in the request's `Cookie` header.
pub fn token_of(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|pairs| pairs.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && !value.is_empty())
        .map(|(_, value)| value)
}

/// `Set-Cookie` value of a session; `secure` under TLS. Its Max-Age exceeds the idle timeout, which the
/// server enforces.
pub fn cookie(token: &str, secure: bool) -> HeaderValue {
    let max_age = CLASSROOM_IDLE_TIMEOUT.as_secs();
    header_value(format!(
        "{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{}",
        suffix(secure)
    ))
}

/// `Set-Cookie` value that deletes the session cookie.
pub fn deletion_cookie(secure: bool) -> HeaderValue {
    header_value(format!(
        "{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{}",
        suffix(secure)
    ))
}

fn suffix(secure: bool) -> &'static str {
    if secure { "; Secure" } else { "" }
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("a token is plain ASCII")
}

/// Returns the classroom with that pass.
pub async fn classroom_of_pass(db: &Db, pass: &str) -> Result<Option<ClassroomId>, DbError> {
    let row: Option<(ClassroomId,)> =
        sqlx::query_as("SELECT id FROM classrooms WHERE pass_hash = $1 AND removed_at IS NULL")
            .bind(secret::hash(pass))
            .fetch_optional(db.pool())
            .await?;
    Ok(row.map(|(id,)| id))
}
