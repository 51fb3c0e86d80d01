//! Schools and their membership in a community: `/api/schools`.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Schools;
use crate::db::{Db, DbError, MAX_ROWS, is_foreign_key_violation, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, line, now, nullable};
use crate::ids::{CommunityId, SchoolId};
use crate::index_queue::{self, Kind};

crate::string_enum! {
    /// Role of a school in its community.
    SchoolRole { Core = "core", Member = "member" }
}

crate::string_enum! {
    /// Grade of membership: close 紧密型 or allied 联盟型.
    Membership { Close = "close", Allied = "allied" }
}

pub fn routes() -> OpenApiRouter<Schools> {
    OpenApiRouter::new()
        .routes(routes!(list_schools, create_school))
        .routes(routes!(update_school, delete_school))
}

/// A school.
#[derive(Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct School {
    pub id: SchoolId,
    pub community_id: Option<CommunityId>,
    pub name: String,
    pub role: SchoolRole,
    /// `None` for a core school.
    pub membership: Option<Membership>,
}

const COLUMNS: &str = "id, community_id, name, role, membership";

#[derive(Serialize, ToSchema)]
struct SchoolList {
    items: Vec<School>,
}

/// Lists all schools.
#[utoipa::path(get, path = "/api/schools", tag = "schools", responses((status = 200, body = SchoolList)))]
async fn list_schools(State(schools): State<Schools>) -> Result<Json<SchoolList>> {
    let query = format!(
        "SELECT {COLUMNS} FROM schools WHERE removed_at IS NULL ORDER BY role, name, id LIMIT {MAX_ROWS}"
    );
    Ok(Json(SchoolList {
        items: sqlx::query_as(sqlx::AssertSqlSafe(query))
            .fetch_all(schools.db.pool())
            .await?,
    }))
}

/// Input of [`add_school`].
#[derive(Deserialize, ToSchema)]
pub struct NewSchool {
    pub community_id: Option<CommunityId>,
    pub name: String,
    pub role: SchoolRole,
    pub membership: Option<Membership>,
}

/// Rejects a membership grade for a core school.
fn check_membership(role: SchoolRole, membership: Option<Membership>) -> Result<()> {
    match (role, membership) {
        (SchoolRole::Core, Some(_)) => Err(Error::field(
            "membership",
            "核心校不需要填写成员类型。",
            "A core school has no kind of membership.",
        )),
        _ => Ok(()),
    }
}

/// Adds a school.
pub async fn add_school(db: &Db, new: NewSchool) -> Result<School> {
    check_membership(new.role, new.membership)?;
    let school = School {
        id: SchoolId::fresh(),
        community_id: new.community_id,
        name: line("name", &new.name, 1..=60)?,
        role: new.role,
        membership: new.membership,
    };
    let mut tx = db.begin().await?;
    sqlx::query(
        "INSERT INTO schools (id, community_id, name, role, membership, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(school.id)
    .bind(school.community_id)
    .bind(&school.name)
    .bind(school.role)
    .bind(school.membership)
    .bind(millis(now()))
    .execute(&mut *tx)
    .await
    .map_err(refused)?;
    index_queue::enqueue(&mut tx, Kind::School, school.id.0).await?;
    tx.commit().await?;
    Ok(school)
}

fn refused(error: DbError) -> Error {
    if is_foreign_key_violation(&error) {
        return Error::field(
            "community_id",
            "没有找到这个教育共同体。",
            "There is no such community.",
        );
    }
    error.into()
}

/// Adds a school.
#[utoipa::path(post, path = "/api/schools", tag = "schools", request_body = NewSchool, responses((status = 201, body = School), (status = 422, body = crate::error::Body)))]
async fn create_school(
    State(schools): State<Schools>,
    Json(form): Json<NewSchool>,
) -> Result<(StatusCode, Json<School>)> {
    Ok((
        StatusCode::CREATED,
        Json(add_school(&schools.db, form).await?),
    ))
}

#[derive(Deserialize, ToSchema)]
struct ChangeSchool {
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<CommunityId>)]
    community_id: Option<Option<CommunityId>>,
    name: Option<String>,
    role: Option<SchoolRole>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Membership>)]
    membership: Option<Option<Membership>>,
}

/// Changes a school.
#[utoipa::path(patch, path = "/api/schools/{id}", tag = "schools", request_body = ChangeSchool, params(("id" = SchoolId, Path)), responses((status = 200, body = School), (status = 404, body = crate::error::Body)))]
async fn update_school(
    State(schools): State<Schools>,
    Path(id): Path<SchoolId>,
    Json(form): Json<ChangeSchool>,
) -> Result<Json<School>> {
    let mut school = find(&schools.db, id).await?;
    let left = school.community_id;
    if let Some(name) = form.name {
        school.name = line("name", &name, 1..=60)?;
    }
    school.community_id = form.community_id.unwrap_or(school.community_id);
    school.role = form.role.unwrap_or(school.role);
    school.membership = form.membership.unwrap_or(school.membership);
    check_membership(school.role, school.membership)?;
    let mut tx = schools.db.begin().await?;
    sqlx::query(
        "UPDATE schools SET community_id = $2, name = $3, role = $4, membership = $5 WHERE id = $1",
    )
    .bind(id)
    .bind(school.community_id)
    .bind(&school.name)
    .bind(school.role)
    .bind(school.membership)
    .execute(&mut *tx)
    .await
    .map_err(refused)?;
    index_queue::enqueue(&mut tx, Kind::School, id.0).await?;
    if school.community_id != left {
        schools.bus.school_moved(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(Json(school))
}

async fn find(db: &Db, id: SchoolId) -> Result<School> {
    let query = format!("SELECT {COLUMNS} FROM schools WHERE id = $1 AND removed_at IS NULL");
    let school: Option<School> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(id)
        .fetch_optional(db.pool())
        .await?;
    school.ok_or_else(no_school)
}

fn no_school() -> Error {
    Error::not_found("没有找到这所学校。", "There is no such school.")
}

/// Removes a school without people and classrooms.
#[utoipa::path(delete, path = "/api/schools/{id}", tag = "schools", params(("id" = SchoolId, Path)), responses((status = 204), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn delete_school(
    State(schools): State<Schools>,
    Path(id): Path<SchoolId>,
) -> Result<StatusCode> {
    let mut tx = schools.db.begin().await?;
    let (in_use,): (i64,) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM people WHERE school_id = $1 AND removed_at IS NULL)
              + (SELECT COUNT(*) FROM classrooms WHERE school_id = $1 AND removed_at IS NULL)",
    )
    .bind(id)
    .fetch_one(&mut *tx)
    .await?;
    if in_use > 0 {
        return Err(Error::conflict(
            "school_in_use",
            "学校中还有人员或教室，请先移走或删除。",
            "The school still has people or classrooms. Move or remove them first.",
        ));
    }
    let removed =
        sqlx::query("UPDATE schools SET removed_at = $2, community_id = NULL WHERE id = $1 AND removed_at IS NULL")
            .bind(id)
            .bind(millis(now()))
            .execute(&mut *tx)
            .await?;
    if removed.rows_affected() == 0 {
        return Err(no_school());
    }
    index_queue::enqueue_hidden(&mut tx, Kind::School, id.0).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
