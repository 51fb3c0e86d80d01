//! Classrooms and their passes: `/api/classrooms`.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Schools;
use crate::db::{Db, DbError, MAX_ROWS, is_foreign_key_violation, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, line, now};
use crate::identity::{SchoolRef, secret, session};
use crate::ids::{ClassroomId, SchoolId};

pub fn routes() -> OpenApiRouter<Schools> {
    OpenApiRouter::new()
        .routes(routes!(list_classrooms, create_classroom))
        .routes(routes!(update_classroom, delete_classroom))
        .routes(routes!(create_pass, revoke_pass))
}

/// A classroom as an item of a list.
#[derive(Debug, Serialize, ToSchema)]
struct ClassroomItem {
    id: ClassroomId,
    school_id: SchoolId,
    name: String,
    school: SchoolRef,
    /// True if the classroom has a pass, so that its device can sign in.
    has_pass: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: ClassroomId,
    name: String,
    school_id: SchoolId,
    school_name: String,
    has_pass: i64,
}

const SELECT: &str = "SELECT c.id, c.name, c.school_id, o.name AS school_name,
        CASE WHEN c.pass_hash IS NULL THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END AS has_pass
    FROM classrooms c JOIN schools o ON o.id = c.school_id WHERE c.removed_at IS NULL";

impl From<Row> for ClassroomItem {
    fn from(row: Row) -> Self {
        let school = SchoolRef {
            id: row.school_id,
            name: row.school_name,
        };
        Self {
            id: row.id,
            school_id: row.school_id,
            name: row.name,
            school,
            has_pass: row.has_pass == 1,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct ClassroomList {
    items: Vec<ClassroomItem>,
}

/// Lists all classrooms. Teachers need the list to plan lessons.
#[utoipa::path(get, path = "/api/classrooms", tag = "schools", responses((status = 200, body = ClassroomList)))]
async fn list_classrooms(State(schools): State<Schools>) -> Result<Json<ClassroomList>> {
    let query = format!("{SELECT} ORDER BY o.name, c.name, c.id LIMIT {MAX_ROWS}");
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .fetch_all(schools.db.pool())
        .await?;
    Ok(Json(ClassroomList {
        items: rows.into_iter().map(ClassroomItem::from).collect(),
    }))
}

/// Input of [`add_classroom`].
#[derive(Deserialize, ToSchema)]
pub struct NewClassroom {
    pub school_id: SchoolId,
    pub name: String,
}

/// Adds a classroom, without a pass.
pub async fn add_classroom(db: &Db, new: NewClassroom) -> Result<ClassroomId> {
    let id = ClassroomId::fresh();
    sqlx::query("INSERT INTO classrooms (id, school_id, name, created_at) VALUES ($1, $2, $3, $4)")
        .bind(id)
        .bind(new.school_id)
        .bind(line("name", &new.name, 1..=40)?)
        .bind(millis(now()))
        .execute(db.pool())
        .await
        .map_err(refused)?;
    Ok(id)
}

fn refused(error: DbError) -> Error {
    if is_foreign_key_violation(&error) {
        return Error::field(
            "school_id",
            "没有找到这所学校。",
            "There is no such school.",
        );
    }
    error.into()
}

/// Adds a classroom.
#[utoipa::path(post, path = "/api/classrooms", tag = "schools", request_body = NewClassroom, responses((status = 201, body = ClassroomItem), (status = 422, body = crate::error::Body)))]
async fn create_classroom(
    State(schools): State<Schools>,
    Json(form): Json<NewClassroom>,
) -> Result<(StatusCode, Json<ClassroomItem>)> {
    let id = add_classroom(&schools.db, form).await?;
    Ok((StatusCode::CREATED, Json(find(&schools.db, id).await?)))
}

async fn find(db: &Db, id: ClassroomId) -> Result<ClassroomItem> {
    let query = format!("{SELECT} AND c.id = $1");
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(id)
        .fetch_optional(db.pool())
        .await?;
    row.map(ClassroomItem::from).ok_or_else(no_classroom)
}

fn no_classroom() -> Error {
    Error::not_found("没有找到这间教室。", "There is no such classroom.")
}

#[derive(Deserialize, ToSchema)]
struct ChangeClassroom {
    school_id: Option<SchoolId>,
    name: Option<String>,
}

/// Changes a classroom.
#[utoipa::path(patch, path = "/api/classrooms/{id}", tag = "schools", request_body = ChangeClassroom, params(("id" = ClassroomId, Path)), responses((status = 200, body = ClassroomItem), (status = 404, body = crate::error::Body)))]
async fn update_classroom(
    State(schools): State<Schools>,
    Path(id): Path<ClassroomId>,
    Json(form): Json<ChangeClassroom>,
) -> Result<Json<ClassroomItem>> {
    let name = form
        .name
        .map(|name| line("name", &name, 1..=40))
        .transpose()?;
    sqlx::query(
        "UPDATE classrooms SET name = COALESCE($2, name), school_id = COALESCE($3, school_id) WHERE id = $1 AND removed_at IS NULL",
    )
    .bind(id)
    .bind(name)
    .bind(form.school_id)
    .execute(schools.db.pool())
    .await
    .map_err(refused)?;
    Ok(Json(find(&schools.db, id).await?))
}

/// Removes a classroom and signs its device out; past lessons keep its name.
#[utoipa::path(delete, path = "/api/classrooms/{id}", tag = "schools", params(("id" = ClassroomId, Path)), responses((status = 204), (status = 404, body = crate::error::Body)))]
async fn delete_classroom(
    State(schools): State<Schools>,
    Path(id): Path<ClassroomId>,
) -> Result<StatusCode> {
    let mut tx = schools.db.begin().await?;
    set_pass(&mut tx, id, None).await?;
    sqlx::query("UPDATE classrooms SET removed_at = $2 WHERE id = $1")
        .bind(id)
        .bind(millis(now()))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A classroom's pass.
#[derive(Serialize, ToSchema)]
struct NewPass {
    /// Only this response contains it.
    pass: String,
    /// Sign-in URL for the classroom's device.
    url: String,
}

/// Creates a new pass, revokes the old one and signs its devices out.
#[utoipa::path(post, path = "/api/classrooms/{id}/pass", tag = "schools", params(("id" = ClassroomId, Path)), responses((status = 200, body = NewPass), (status = 404, body = crate::error::Body)))]
async fn create_pass(
    State(schools): State<Schools>,
    Path(id): Path<ClassroomId>,
) -> Result<Json<NewPass>> {
    let pass = new_pass(&schools.db, id).await?;
    let url = format!("{}/room/{pass}", schools.config.public_url());
    Ok(Json(NewPass { pass, url }))
}

/// Replaces the pass of a classroom and returns the new one.
pub async fn new_pass(db: &Db, id: ClassroomId) -> Result<String> {
    let pass = secret::token();
    let mut tx = db.begin().await?;
    set_pass(&mut tx, id, Some(&pass)).await?;
    tx.commit().await?;
    Ok(pass)
}

/// Revokes the pass and signs its devices out.
#[utoipa::path(delete, path = "/api/classrooms/{id}/pass", tag = "schools", params(("id" = ClassroomId, Path)), responses((status = 204), (status = 404, body = crate::error::Body)))]
async fn revoke_pass(
    State(schools): State<Schools>,
    Path(id): Path<ClassroomId>,
) -> Result<StatusCode> {
    let mut tx = schools.db.begin().await?;
    set_pass(&mut tx, id, None).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_pass(
    tx: &mut Transaction<'static, Any>,
    id: ClassroomId,
    pass: Option<&str>,
) -> Result<()> {
    let changed =
        sqlx::query("UPDATE classrooms SET pass_hash = $2, pass_made_at = $3 WHERE id = $1 AND removed_at IS NULL")
            .bind(id)
            .bind(pass.map(secret::hash))
            .bind(pass.map(|_| millis(now())))
            .execute(&mut **tx)
            .await?;
    if changed.rows_affected() == 0 {
        return Err(no_classroom());
    }
    session::close_of_classroom(tx, id).await?;
    Ok(())
}
