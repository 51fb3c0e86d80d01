//! Classrooms and their passes: `/api/classrooms`.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Schools;
use crate::db::{Db, DbError, MAX_ROWS, is_dangling, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, line, now};
use crate::identity::{SchoolRef, secret, session};
use crate::ids::{ClassroomId, SchoolId};

pub fn routes() -> OpenApiRouter<Schools> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(change, remove))
        .routes(routes!(make_pass, take_pass))
}

/// A classroom as lists show it.
#[derive(Debug, Serialize, ToSchema)]
struct Item {
    id: ClassroomId,
    school_id: SchoolId,
    name: String,
    school: SchoolRef,
    /// Whether its device can come in.
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

impl From<Row> for Item {
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
struct Items {
    items: Vec<Item>,
}

/// Every classroom. Teachers see it too, to plan lessons.
#[utoipa::path(get, path = "/api/classrooms", tag = "schools", responses((status = 200, body = Items)))]
async fn list(State(schools): State<Schools>) -> Result<Json<Items>> {
    let query = format!("{SELECT} ORDER BY o.name, c.name, c.id LIMIT {MAX_ROWS}");
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .fetch_all(schools.db.pool())
        .await?;
    Ok(Json(Items {
        items: rows.into_iter().map(Item::from).collect(),
    }))
}

/// What a classroom is made of.
#[derive(Deserialize, ToSchema)]
pub struct NewClassroom {
    pub school_id: SchoolId,
    pub name: String,
}

/// Adds a classroom; it has no pass yet.
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
    if is_dangling(&error) {
        return Error::field(
            "school_id",
            "没有找到这所学校。",
            "There is no such school.",
        );
    }
    error.into()
}

/// Adds a classroom.
#[utoipa::path(post, path = "/api/classrooms", tag = "schools", request_body = NewClassroom, responses((status = 201, body = Item), (status = 422, body = crate::error::Body)))]
async fn add(
    State(schools): State<Schools>,
    Json(form): Json<NewClassroom>,
) -> Result<(StatusCode, Json<Item>)> {
    let id = add_classroom(&schools.db, form).await?;
    Ok((StatusCode::CREATED, Json(find(&schools.db, id).await?)))
}

async fn find(db: &Db, id: ClassroomId) -> Result<Item> {
    let query = format!("{SELECT} AND c.id = $1");
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(id)
        .fetch_optional(db.pool())
        .await?;
    row.map(Item::from).ok_or_else(no_classroom)
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
#[utoipa::path(patch, path = "/api/classrooms/{id}", tag = "schools", request_body = ChangeClassroom, params(("id" = ClassroomId, Path)), responses((status = 200, body = Item), (status = 404, body = crate::error::Body)))]
async fn change(
    State(schools): State<Schools>,
    Path(id): Path<ClassroomId>,
    Json(form): Json<ChangeClassroom>,
) -> Result<Json<Item>> {
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

/// Removes a classroom: its device is signed out; lessons that it took part in keep its name.
#[utoipa::path(delete, path = "/api/classrooms/{id}", tag = "schools", params(("id" = ClassroomId, Path)), responses((status = 204), (status = 404, body = crate::error::Body)))]
async fn remove(State(schools): State<Schools>, Path(id): Path<ClassroomId>) -> Result<StatusCode> {
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
struct Pass {
    /// Told this once.
    pass: String,
    /// The address that the room's device opens.
    url: String,
}

/// Gives the classroom a new pass; the old one and the devices that used it are void.
#[utoipa::path(post, path = "/api/classrooms/{id}/pass", tag = "schools", params(("id" = ClassroomId, Path)), responses((status = 200, body = Pass), (status = 404, body = crate::error::Body)))]
async fn make_pass(
    State(schools): State<Schools>,
    Path(id): Path<ClassroomId>,
) -> Result<Json<Pass>> {
    let pass = new_pass(&schools.db, id).await?;
    let url = format!("{}/room/{pass}", schools.config.public_url());
    Ok(Json(Pass { pass, url }))
}

/// The new pass of a classroom.
pub async fn new_pass(db: &Db, id: ClassroomId) -> Result<String> {
    let pass = secret::token();
    let mut tx = db.begin().await?;
    set_pass(&mut tx, id, Some(&pass)).await?;
    tx.commit().await?;
    Ok(pass)
}

/// Takes the classroom's pass away and signs its device out.
#[utoipa::path(delete, path = "/api/classrooms/{id}/pass", tag = "schools", params(("id" = ClassroomId, Path)), responses((status = 204), (status = 404, body = crate::error::Body)))]
async fn take_pass(
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
