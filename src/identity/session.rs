//! Sessions: a random token in an HttpOnly cookie, its hash in the database.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sqlx::AnyConnection;
use utoipa::ToSchema;

use crate::db::{Db, DbError, millis, time};
use crate::ids::{ClassroomId, PersonId};

use super::actor::{Actor, Classroom, Person, SchoolRef};
use super::{Role, secret};

/// Name of the session cookie.
const COOKIE: &str = "tongke_session";
/// Idle timeout of a person's session.
const PERSON_IDLE_TIMEOUT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Idle timeout of a classroom's session. A device is set up once; a new pass ends its session.
const CLASSROOM_IDLE_TIMEOUT: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Absolute lifetime of a person's session: one sign-in per school term.
const PERSON_LIFETIME: SignedDuration = SignedDuration::from_hours(150 * 24);
/// Absolute lifetime of a classroom's session. Its pass is the credential and is replaced sooner.
const CLASSROOM_LIFETIME: SignedDuration = SignedDuration::from_hours(3 * 365 * 24);
/// Resolution of a session's last use: most requests read the row without writing it.
const TOUCH_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// Characters of a `User-Agent` that are kept.
const MAX_USER_AGENT: usize = 300;

/// Digits of a token's hash that name a session in lists.
const ID_CHARS: usize = 16;
/// Concurrent sessions of one person or classroom; a new session evicts the oldest.
const MAX_SESSIONS: i64 = 100;

/// Owner of a session.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    Person(PersonId),
    Classroom(ClassroomId),
}

impl Owner {
    fn lifetime(self) -> SignedDuration {
        match self {
            Self::Person(_) => PERSON_LIFETIME,
            Self::Classroom(_) => CLASSROOM_LIFETIME,
        }
    }

    fn idle_timeout(self) -> SignedDuration {
        match self {
            Self::Person(_) => PERSON_IDLE_TIMEOUT,
            Self::Classroom(_) => CLASSROOM_IDLE_TIMEOUT,
        }
    }
}

/// Address and program of the client that signs in, for the list of sessions.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    pub address: IpAddr,
    pub user_agent: String,
}

impl ClientInfo {
    pub fn of(address: IpAddr, headers: &HeaderMap) -> Self {
        let agent = headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        let user_agent = agent
            .unwrap_or_default()
            .chars()
            .take(MAX_USER_AGENT)
            .collect();
        Self {
            address,
            user_agent,
        }
    }
}

/// Opens a session and returns its token.
pub async fn open(
    db: &Db,
    owner: Owner,
    client: &ClientInfo,
    now: Timestamp,
) -> Result<String, DbError> {
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
        "INSERT INTO sessions (token_hash, person_id, classroom_id, created_at, expires_at, used_at, address, user_agent)
         VALUES ($1, $2, $3, $4, $5, $4, $6, $7)",
    )
    .bind(secret::hash(&token))
    .bind(person)
    .bind(classroom)
    .bind(millis(now))
    .bind(millis(now + owner.idle_timeout()))
    .bind(client.address.to_string())
    .bind(&client.user_agent)
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

/// A session as an item of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionItem {
    /// First 16 digits of the token's hash.
    id: String,
    /// Milliseconds since 1970.
    created_at: i64,
    /// Resolution of one hour; absent in sessions of an older version, like the two below.
    used_at: Option<i64>,
    address: Option<String>,
    user_agent: Option<String>,
    /// True for the session of the request.
    current: bool,
}

/// Returns the sessions of a person, the last used first. `own` is the token of the request.
pub async fn of_person(
    db: &Db,
    person: PersonId,
    own: Option<&str>,
    now: Timestamp,
) -> Result<Vec<SessionItem>, DbError> {
    type Row = (String, i64, Option<i64>, Option<String>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT token_hash, created_at, used_at, address, user_agent FROM sessions
         WHERE person_id = $1 AND expires_at > $2 ORDER BY COALESCE(used_at, created_at) DESC, token_hash",
    )
    .bind(person)
    .bind(millis(now))
    .fetch_all(db.pool())
    .await?;
    let own = own.map(secret::hash);
    let item = |(hash, created_at, used_at, address, user_agent): Row| SessionItem {
        current: own.as_ref() == Some(&hash),
        id: hash[..ID_CHARS.min(hash.len())].to_owned(),
        created_at,
        used_at,
        address,
        user_agent,
    };
    Ok(rows.into_iter().map(item).collect())
}

/// Closes one session of a person. Returns false if there is none with that id.
pub async fn close_by_id(db: &Db, person: PersonId, id: &str) -> Result<bool, DbError> {
    let closed =
        sqlx::query("DELETE FROM sessions WHERE person_id = $1 AND SUBSTR(token_hash, 1, 16) = $2")
            .bind(person)
            .bind(id)
            .execute(db.pool())
            .await?;
    Ok(closed.rows_affected() > 0)
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
    created_at: i64,
    used_at: Option<i64>,
    must_change_password: Option<i64>,
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
        "SELECT s.created_at, s.used_at, p.must_change_password, p.id AS person_id, p.name AS person_name, p.role AS person_role,
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
    touch(db, &hash, &row, now).await?;
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
                must_change_password: self.must_change_password == Some(1),
            }));
        }
        Some(Actor::Classroom(Classroom {
            id: self.classroom_id?,
            name: self.classroom_name?,
            school: school?,
        }))
    }
}

/// Writes the last use and the expiry that follows from it, bounded by the absolute lifetime.
async fn touch(db: &Db, hash: &str, row: &Row, now: Timestamp) -> Result<(), DbError> {
    let owner = match (row.person_id, row.classroom_id) {
        (Some(person), _) => Owner::Person(person),
        (None, Some(classroom)) => Owner::Classroom(classroom),
        (None, None) => return Ok(()),
    };
    if row
        .used_at
        .is_some_and(|used| now < time(used) + TOUCH_INTERVAL)
    {
        return Ok(());
    }
    let end = (now + owner.idle_timeout()).min(time(row.created_at) + owner.lifetime());
    sqlx::query("UPDATE sessions SET used_at = $2, expires_at = $3 WHERE token_hash = $1")
        .bind(hash)
        .bind(millis(now))
        .bind(millis(end))
        .execute(db.pool())
        .await
        .map(drop)
}

/// Session token in the request's `Cookie` header.
pub fn token_of(headers: &HeaderMap) -> Option<&str> {
    cookie_of(headers, COOKIE)
}

/// Value of a cookie; `None` if it is absent or empty.
pub fn cookie_of<'a>(headers: &'a HeaderMap, cookie: &str) -> Option<&'a str> {
    let pairs = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|pairs| pairs.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == cookie && !value.is_empty())
        .map(|(_, value)| value)
}

/// `Set-Cookie` value of a session; `secure` under TLS. Its Max-Age exceeds the timeouts, which the
/// server enforces.
pub fn cookie(token: &str, secure: bool) -> HeaderValue {
    set_cookie(COOKIE, token, CLASSROOM_LIFETIME, secure)
}

/// `Set-Cookie` value of a cookie that scripts and other sites cannot use.
pub fn set_cookie(name: &str, value: &str, max_age: SignedDuration, secure: bool) -> HeaderValue {
    let max_age = max_age.as_secs();
    let suffix = suffix(secure);
    header_value(format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{suffix}"
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
