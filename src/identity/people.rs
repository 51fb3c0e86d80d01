//! Accounts of people: `/api/people`.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::audit_log::Note;
use crate::db::{DbError, MAX_ROWS, is_foreign_key_violation, is_unique_violation, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, line, now, nullable};
use crate::ids::{PersonId, SchoolId};
use crate::index_queue::{self, Kind};

use super::Identity;
use super::{Actor, Role, SchoolRef, password, secret, session};

pub fn routes() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .routes(routes!(list_people, create_person))
        .routes(routes!(update_person, delete_person))
        .routes(routes!(reset_password))
}

/// A person as an item of a list.
#[derive(Debug, Serialize, ToSchema)]
struct PersonItem {
    id: PersonId,
    name: String,
    /// Present for administrators only.
    login: Option<String>,
    role: Role,
    school_id: Option<SchoolId>,
    school: Option<SchoolRef>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: PersonId,
    name: String,
    login: Option<String>,
    role: Role,
    school_id: Option<SchoolId>,
    school_name: Option<String>,
}

const SELECT: &str = "SELECT p.id, p.name, p.login, p.role, p.school_id, o.name AS school_name
    FROM people p LEFT JOIN schools o ON o.id = p.school_id WHERE p.removed_at IS NULL";

impl Row {
    fn item(self, with_login: bool) -> PersonItem {
        let school = self
            .school_id
            .zip(self.school_name)
            .map(|(id, name)| SchoolRef { id, name });
        let login = self.login.filter(|_| with_login);
        PersonItem {
            id: self.id,
            name: self.name,
            login,
            role: self.role,
            school_id: self.school_id,
            school,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct PersonList {
    items: Vec<PersonItem>,
}

/// Lists all people. Teachers need the list to name assistants.
#[utoipa::path(get, path = "/api/people", tag = "people", responses((status = 200, body = PersonList)))]
async fn list_people(State(identity): State<Identity>, actor: Actor) -> Result<Json<PersonList>> {
    let query = format!("{SELECT} ORDER BY p.name, p.id LIMIT {MAX_ROWS}");
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .fetch_all(identity.db.pool())
        .await?;
    let with_login = actor.is_administrator();
    Ok(Json(PersonList {
        items: rows.into_iter().map(|row| row.item(with_login)).collect(),
    }))
}

#[derive(Deserialize, ToSchema)]
struct AddPerson {
    school_id: Option<SchoolId>,
    name: String,
    login: String,
    role: Role,
    /// Without it, the server generates a password and returns it once.
    password: Option<String>,
}

/// The new person, with the generated password: only this response contains it.
#[derive(Serialize, ToSchema)]
struct Added {
    #[serde(flatten)]
    item: PersonItem,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    initial_password: Option<String>,
}

/// Adds a person.
#[utoipa::path(post, path = "/api/people", tag = "people", request_body = AddPerson, responses((status = 201, body = Added), (status = 422, body = crate::error::Body)))]
async fn create_person(
    State(identity): State<Identity>,
    note: Note,
    Json(form): Json<AddPerson>,
) -> Result<(StatusCode, Json<Added>)> {
    note.add("name", form.name.as_str());
    note.add("role", form.role.as_str());
    let person = NewPerson {
        school: form.school_id,
        name: form.name,
        login: form.login,
        role: form.role,
    };
    let initial_password = form.password.is_none().then(secret::password);
    let password = form
        .password
        .or_else(|| initial_password.clone())
        .unwrap_or_default();
    // The administrator has seen this password, generated or not.
    let id = add(&identity, person, password, true).await?;
    Ok((
        StatusCode::CREATED,
        Json(Added {
            item: find(&identity, id).await?,
            initial_password,
        }),
    ))
}

async fn find(identity: &Identity, id: PersonId) -> Result<PersonItem> {
    let query = format!("{SELECT} AND p.id = $1");
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(id)
        .fetch_optional(identity.db.pool())
        .await?;
    row.map(|row| row.item(true)).ok_or_else(no_person)
}

fn no_person() -> Error {
    Error::not_found("没有找到这个人。", "There is no such person.")
}

/// Input of [`add_person`].
pub struct NewPerson {
    pub school: Option<SchoolId>,
    pub name: String,
    pub login: String,
    pub role: Role,
}

impl NewPerson {
    /// Trims and validates every field.
    pub fn check(self) -> Result<Self> {
        Ok(Self {
            name: line("name", &self.name, 1..=40)?,
            login: check_login(&self.login)?,
            ..self
        })
    }
}

/// Adds a person with a password.
pub async fn add_person(
    identity: &Identity,
    person: NewPerson,
    password: String,
) -> Result<PersonId> {
    add(identity, person, password, false).await
}

async fn add(
    identity: &Identity,
    person: NewPerson,
    password: String,
    must_change_password: bool,
) -> Result<PersonId> {
    let person = person.check()?;
    password::check("password", &password, &[&person.name, &person.login])?;
    let hash = identity.hasher.hash(password).await?;
    let mut tx = identity.db.begin().await?;
    let id = insert(&mut tx, &person, &hash).await?;
    if must_change_password {
        sqlx::query("UPDATE people SET must_change_password = 1 WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(id)
}

/// Accepts ASCII letters, digits and `._-@`: a login is typed on any keyboard.
fn check_login(login: &str) -> Result<String> {
    let login = line("login", login, 2..=64)?.to_lowercase();
    if login
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-@".contains(c))
    {
        return Ok(login);
    }
    Err(Error::field(
        "login",
        "账号只能使用字母、数字和 . _ - @。",
        "A sign-in name takes letters, digits and . _ - @ only.",
    ))
}

/// Inserts the row of a validated person.
pub async fn insert(
    tx: &mut Transaction<'static, Any>,
    person: &NewPerson,
    password_hash: &str,
) -> Result<PersonId> {
    let id = PersonId::fresh();
    sqlx::query("INSERT INTO people (id, school_id, name, login, role, password_hash, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(id)
        .bind(person.school)
        .bind(&person.name)
        .bind(&person.login)
        .bind(person.role)
        .bind(password_hash)
        .bind(millis(now()))
        .execute(&mut **tx)
        .await
        .map_err(refused)?;
    index_queue::enqueue(tx, Kind::Person, id.0).await?;
    Ok(id)
}

fn refused(error: DbError) -> Error {
    if is_unique_violation(&error) {
        return Error::field("login", "这个账号已被使用。", "This sign-in name is taken.");
    }
    if is_foreign_key_violation(&error) {
        return Error::field(
            "school_id",
            "没有找到这所学校。",
            "There is no such school.",
        );
    }
    error.into()
}

#[derive(Deserialize, ToSchema)]
struct ChangePerson {
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<SchoolId>)]
    school_id: Option<Option<SchoolId>>,
    name: Option<String>,
    login: Option<String>,
    role: Option<Role>,
}

/// Changes a person.
#[utoipa::path(patch, path = "/api/people/{id}", tag = "people", request_body = ChangePerson, params(("id" = PersonId, Path)), responses((status = 200, body = PersonItem), (status = 404, body = crate::error::Body)))]
async fn update_person(
    State(identity): State<Identity>,
    Path(id): Path<PersonId>,
    note: Note,
    Json(form): Json<ChangePerson>,
) -> Result<Json<PersonItem>> {
    let present = find(&identity, id).await?;
    let name = form
        .name
        .map(|name| line("name", &name, 1..=40))
        .transpose()?
        .unwrap_or(present.name);
    let login = form
        .login
        .map(|login| check_login(&login))
        .transpose()?
        .or(present.login);
    let role = form.role.unwrap_or(present.role);
    note.add("name", name.as_str());
    if role != present.role {
        note.add("role_before", present.role.as_str());
        note.add("role", role.as_str());
    }
    let mut tx = identity.db.begin().await?;
    if role != Role::Administrator {
        keep_an_administrator(&mut tx, id).await?;
    }
    sqlx::query(
        "UPDATE people SET school_id = $2, name = $3, login = $4, role = $5 WHERE id = $1 AND removed_at IS NULL",
    )
    .bind(id)
    .bind(form.school_id.unwrap_or(present.school_id))
    .bind(name)
    .bind(login)
    .bind(role)
    .execute(&mut *tx)
    .await
    .map_err(refused)?;
    index_queue::enqueue(&mut tx, Kind::Person, id.0).await?;
    tx.commit().await?;
    Ok(Json(find(&identity, id).await?))
}

/// Rejects a change that would leave the server without an administrator.
async fn keep_an_administrator(
    tx: &mut Transaction<'static, Any>,
    leaving: PersonId,
) -> Result<()> {
    let (role, others): (Option<Role>, i64) = sqlx::query_as(
        "SELECT (SELECT role FROM people WHERE id = $1),
                (SELECT COUNT(*) FROM people WHERE role = $2 AND removed_at IS NULL AND id <> $1)",
    )
    .bind(leaving)
    .bind(Role::Administrator)
    .fetch_one(&mut **tx)
    .await?;
    if role == Some(Role::Administrator) && others == 0 {
        return Err(Error::conflict(
            "last_administrator",
            "这是唯一的管理员，请先添加另一位管理员。",
            "This is the only administrator. Add another one first.",
        ));
    }
    Ok(())
}

/// Removes a person. They can no longer sign in; past lessons keep their name.
#[utoipa::path(delete, path = "/api/people/{id}", tag = "people", params(("id" = PersonId, Path)), responses((status = 204), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn delete_person(
    State(identity): State<Identity>,
    Path(id): Path<PersonId>,
) -> Result<StatusCode> {
    let mut tx = identity.db.begin().await?;
    keep_an_administrator(&mut tx, id).await?;
    let removed = sqlx::query(
        "UPDATE people SET removed_at = $2, login = NULL WHERE id = $1 AND removed_at IS NULL",
    )
    .bind(id)
    .bind(millis(now()))
    .execute(&mut *tx)
    .await?;
    if removed.rows_affected() == 0 {
        return Err(no_person());
    }
    sqlx::query("DELETE FROM sessions WHERE person_id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    index_queue::enqueue_hidden(&mut tx, Kind::Person, id.0).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
struct InitialPassword {
    /// Only this response contains it.
    initial_password: String,
}

/// Sets a new generated password and closes the person's sessions.
#[utoipa::path(post, path = "/api/people/{id}/password", tag = "people", params(("id" = PersonId, Path)), responses((status = 200, body = InitialPassword), (status = 404, body = crate::error::Body)))]
async fn reset_password(
    State(identity): State<Identity>,
    Path(id): Path<PersonId>,
) -> Result<Json<InitialPassword>> {
    let initial_password = secret::password();
    let hash = identity.hasher.hash(initial_password.clone()).await?;
    let changed =
        sqlx::query("UPDATE people SET password_hash = $2, must_change_password = 1 WHERE id = $1 AND removed_at IS NULL")
            .bind(id)
            .bind(hash)
            .execute(identity.db.pool())
            .await?;
    if changed.rows_affected() == 0 {
        return Err(no_person());
    }
    session::close_others(&identity.db, id, None).await?;
    Ok(Json(InitialPassword { initial_password }))
}
