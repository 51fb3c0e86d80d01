//! Sign-in and sign-out: `/api/session`.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::AppendHeaders;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::audit_log::Note;
use crate::error::{Error, Result};
use crate::extract::{Client, Json, now};
use crate::ids::{ClassroomId, PersonId};

use super::Identity;
use super::actor::{Actor, SchoolRef};
use super::device;
use super::limiter::Origin;
use super::session::{self, ClientInfo, Owner};
use super::{Role, password};

pub fn routes() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .routes(routes!(get_session, sign_in, sign_out))
        .routes(routes!(sign_in_with_pass))
        .routes(routes!(change_password))
}

/// The signed-in person or classroom.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Me {
    Person {
        id: PersonId,
        name: String,
        role: Role,
        school: Option<SchoolRef>,
        /// True while nothing but the change of the password is allowed.
        must_change_password: bool,
    },
    Classroom {
        id: ClassroomId,
        name: String,
        school: SchoolRef,
    },
}

impl From<Actor> for Me {
    fn from(actor: Actor) -> Self {
        match actor {
            Actor::Person(p) => Self::Person {
                id: p.id,
                name: p.name,
                role: p.role,
                school: p.school,
                must_change_password: p.must_change_password,
            },
            Actor::Classroom(c) => Self::Classroom {
                id: c.id,
                name: c.name,
                school: c.school,
            },
        }
    }
}

/// `Me` with the session cookie.
pub type SignedIn = (AppendHeaders<Vec<(HeaderName, HeaderValue)>>, Json<Me>);

/// Returns the signed-in person or classroom.
#[utoipa::path(get, path = "/api/session", tag = "session", responses((status = 200, body = Me), (status = 401, body = crate::error::Body)))]
async fn get_session(actor: Actor) -> Json<Me> {
    Json(actor.into())
}

#[derive(Deserialize, ToSchema)]
struct SignIn {
    login: String,
    password: String,
}

/// Signs a person in.
#[utoipa::path(post, path = "/api/session", tag = "session", request_body = SignIn, responses((status = 200, body = Me), (status = 401, body = crate::error::Body), (status = 429, body = crate::error::Body)))]
async fn sign_in(
    State(identity): State<Identity>,
    Client(address): Client,
    headers: HeaderMap,
    note: Note,
    Json(form): Json<SignIn>,
) -> Result<SignedIn> {
    let login = form.login.trim().to_lowercase();
    note.add("login", login.chars().take(64).collect::<String>());
    if login.chars().count() > 64 || form.password.chars().count() > *password::LENGTH.end() {
        return Err(Error::WrongSignIn);
    }
    let found: Option<(PersonId, String)> = sqlx::query_as(
        "SELECT id, password_hash FROM people WHERE login = $1 AND removed_at IS NULL",
    )
    .bind(&login)
    .fetch_optional(identity.db.pool())
    .await?;
    let (id, hash) = found.unzip();
    let device = match id {
        Some(id) => device::known(&identity.db, &headers, id, now()).await?,
        None => None,
    };
    let origin = device
        .clone()
        .map_or(Origin::Address(address), Origin::KnownDevice);
    identity.limiter.check(&login, &origin, Instant::now())?;
    let matches = identity.hasher.verify(form.password, hash).await?;
    let Some(id) = id.filter(|_| matches) else {
        tracing::info!(%address, "a sign-in failed");
        return Err(Error::WrongSignIn);
    };
    identity.limiter.succeeded(&login, &origin);
    let client = ClientInfo::of(address, &headers);
    let (mut cookies, me) = open_session(&identity, Owner::Person(id), &client, &note).await?;
    match device {
        Some(hash) => device::touch(&identity.db, &hash, now()).await?,
        None => {
            let secure = identity.config.is_secure();
            let cookie = device::remember(&identity.db, id, now(), secure).await?;
            cookies.0.push((header::SET_COOKIE, cookie));
        }
    }
    Ok((cookies, me))
}

#[derive(Deserialize, ToSchema)]
struct Pass {
    pass: String,
}

/// Signs a classroom's device in. Attempts are not limited: a pass has 160 random bits, and the rooms of
/// a school share an address.
#[utoipa::path(post, path = "/api/session/pass", tag = "session", request_body = Pass, responses((status = 200, body = Me), (status = 401, body = crate::error::Body)))]
async fn sign_in_with_pass(
    State(identity): State<Identity>,
    Client(address): Client,
    headers: HeaderMap,
    note: Note,
    Json(form): Json<Pass>,
) -> Result<SignedIn> {
    let id = session::classroom_of_pass(&identity.db, form.pass.trim())
        .await?
        .ok_or(Error::WrongPass)?;
    let client = ClientInfo::of(address, &headers);
    open_session(&identity, Owner::Classroom(id), &client, &note).await
}

/// Opens a session and returns its cookie.
pub async fn open_session(
    identity: &Identity,
    owner: Owner,
    client: &ClientInfo,
    note: &Note,
) -> Result<SignedIn> {
    let token = session::open(&identity.db, owner, client, now()).await?;
    let actor = session::find(&identity.db, &token, now())
        .await?
        .ok_or(Error::NotSignedIn)?;
    note.set_author(actor.author());
    let cookie = session::cookie(&token, identity.config.is_secure());
    Ok((
        AppendHeaders(vec![(header::SET_COOKIE, cookie)]),
        Json(actor.into()),
    ))
}

/// Signs out.
#[utoipa::path(delete, path = "/api/session", tag = "session", responses((status = 204)))]
async fn sign_out(
    State(identity): State<Identity>,
    headers: HeaderMap,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1])> {
    if let Some(token) = session::token_of(&headers) {
        session::close(&identity.db, token).await?;
    }
    Ok((
        StatusCode::NO_CONTENT,
        [(
            header::SET_COOKIE,
            session::deletion_cookie(identity.config.is_secure()),
        )],
    ))
}

#[derive(Deserialize, ToSchema)]
struct ChangePassword {
    old: String,
    new: String,
}

/// Changes the person's own password and closes their other sessions.
#[utoipa::path(put, path = "/api/session/password", tag = "session", request_body = ChangePassword, responses((status = 204), (status = 422, body = crate::error::Body)))]
async fn change_password(
    State(identity): State<Identity>,
    actor: Actor,
    headers: HeaderMap,
    Json(form): Json<ChangePassword>,
) -> Result<StatusCode> {
    let Actor::Person(person) = actor else {
        return Err(Error::forbidden());
    };
    password::check("new", &form.new, &[&person.name])?;
    // The session proves who is asking: its failures count for this person only.
    let origin = Origin::KnownDevice(person.id.to_string());
    identity.limiter.check("", &origin, Instant::now())?;
    let (hash,): (String,) = sqlx::query_as("SELECT password_hash FROM people WHERE id = $1")
        .bind(person.id)
        .fetch_one(identity.db.pool())
        .await?;
    if !identity.hasher.verify(form.old, Some(hash)).await? {
        return Err(Error::field(
            "old",
            "原密码不正确。",
            "The present password is not right.",
        ));
    }
    identity.limiter.succeeded("", &origin);
    let hash = identity.hasher.hash(form.new).await?;
    sqlx::query("UPDATE people SET password_hash = $2, must_change_password = 0 WHERE id = $1")
        .bind(person.id)
        .bind(hash)
        .execute(identity.db.pool())
        .await?;
    session::close_others(&identity.db, person.id, session::token_of(&headers)).await?;
    Ok(StatusCode::NO_CONTENT)
}
