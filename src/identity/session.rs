//! Sessions: a random token in an HttpOnly cookie, its hash in the database.

use axum::http::{HeaderMap, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use sqlx::AnyConnection;

use crate::db::{Db, DbError, millis};
use crate::ids::{ClassroomId, PersonId};

use super::actor::{Actor, Classroom, Person, SchoolRef};
use super::{Role, secret};

/// The cookie's name.
const COOKIE: &str = "tongke_session";
/// A person's session ends this long after its last use.
const PERSON_LASTS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A classroom's device is set up once; it is ended by replacing the pass.
const CLASSROOM_LASTS: SignedDuration = SignedDuration::from_hours(365 * 24);
/// The end of a session moves when it would move by at least this, so that reading is not always writing.
const SLIDE_STEP: SignedDuration = SignedDuration::from_hours(24);

/// Sessions that one person or classroom has at a time: every device of a school day, and then some. The oldest make room.
const MOST: i64 = 100;

/// Who gets a session.
#[derive(Clone, Copy, Debug)]
pub enum Holder {
    Person(PersonId),
    Classroom(ClassroomId),
}

impl Holder {
    fn lasts(self) -> SignedDuration {
        match self {
            Self::Person(_) => PERSON_LASTS,
            Self::Classroom(_) => CLASSROOM_LASTS,
        }
    }
}

/// Opens a session and returns its token.
pub async fn open(db: &Db, holder: Holder, now: Timestamp) -> Result<String, DbError> {
    let token = secret::token();
    let (person, classroom) = match holder {
        Holder::Person(id) => (Some(id), None),
        Holder::Classroom(id) => (None, Some(id)),
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
    .bind(millis(now + holder.lasts()))
    .execute(db.pool())
    .await?;
    sqlx::query(
        "DELETE FROM sessions WHERE token_hash IN (SELECT token_hash FROM sessions WHERE person_id = $1 OR classroom_id = $2
            ORDER BY created_at DESC, token_hash LIMIT 1000 OFFSET $3)",
    )
    .bind(person)
    .bind(classroom)
    .bind(MOST)
    .execute(db.pool())
    .await?;
    Ok(token)
}

/// Ends a session.
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

/// Ends all sessions of a person but the one with `keep`.
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

/// Whose session the token is, if it is one. A session in use lasts on.
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
        PERSON_LASTS
    } else {
        CLASSROOM_LASTS
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

/// The session token that a request carries.
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

/// The `Set-Cookie` that hands a page its session. `secure` under TLS. It outlives a person's session, whose end slides on the server.
pub fn cookie(token: &str, secure: bool) -> HeaderValue {
    let max_age = CLASSROOM_LASTS.as_secs();
    header_value(format!(
        "{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{}",
        suffix(secure)
    ))
}

/// The `Set-Cookie` that takes it back.
pub fn no_cookie(secure: bool) -> HeaderValue {
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

/// Whose pass it is.
pub async fn classroom_of_pass(db: &Db, pass: &str) -> Result<Option<ClassroomId>, DbError> {
    let row: Option<(ClassroomId,)> =
        sqlx::query_as("SELECT id FROM classrooms WHERE pass_hash = $1 AND removed_at IS NULL")
            .bind(secret::hash(pass))
            .fetch_optional(db.pool())
            .await?;
    Ok(row.map(|(id,)| id))
}
