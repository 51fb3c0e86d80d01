//! Education communities: `/api/communities`.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Schools;
use crate::db::{Db, MAX_ROWS, is_foreign_key_violation, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, line, now};
use crate::ids::CommunityId;

pub fn routes() -> OpenApiRouter<Schools> {
    OpenApiRouter::new()
        .routes(routes!(list_communities, create_community))
        .routes(routes!(update_community, delete_community))
}

/// A community of schools in a county.
#[derive(Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Community {
    pub id: CommunityId,
    pub name: String,
    pub county: String,
}

#[derive(Serialize, ToSchema)]
struct CommunityList {
    items: Vec<Community>,
}

/// Lists all communities.
#[utoipa::path(get, path = "/api/communities", tag = "schools", responses((status = 200, body = CommunityList)))]
async fn list_communities(State(schools): State<Schools>) -> Result<Json<CommunityList>> {
    let query = format!(
        "SELECT id, name, county FROM communities ORDER BY county, name, id LIMIT {MAX_ROWS}"
    );
    Ok(Json(CommunityList {
        items: sqlx::query_as(sqlx::AssertSqlSafe(query))
            .fetch_all(schools.db.pool())
            .await?,
    }))
}

/// Input of [`add_community`].
#[derive(Deserialize, ToSchema)]
pub struct NewCommunity {
    pub name: String,
    pub county: String,
}

/// Adds a community.
pub async fn add_community(db: &Db, new: NewCommunity) -> Result<Community> {
    let community = Community {
        id: CommunityId::fresh(),
        name: line("name", &new.name, 1..=60)?,
        county: line("county", &new.county, 1..=40)?,
    };
    sqlx::query("INSERT INTO communities (id, name, county, created_at) VALUES ($1, $2, $3, $4)")
        .bind(community.id)
        .bind(&community.name)
        .bind(&community.county)
        .bind(millis(now()))
        .execute(db.pool())
        .await?;
    Ok(community)
}

/// Adds a community.
#[utoipa::path(post, path = "/api/communities", tag = "schools", request_body = NewCommunity, responses((status = 201, body = Community), (status = 422, body = crate::error::Body)))]
async fn create_community(
    State(schools): State<Schools>,
    Json(form): Json<NewCommunity>,
) -> Result<(StatusCode, Json<Community>)> {
    Ok((
        StatusCode::CREATED,
        Json(add_community(&schools.db, form).await?),
    ))
}

#[derive(Deserialize, ToSchema)]
struct ChangeCommunity {
    name: Option<String>,
    county: Option<String>,
}

/// Changes a community.
#[utoipa::path(patch, path = "/api/communities/{id}", tag = "schools", request_body = ChangeCommunity, params(("id" = CommunityId, Path)), responses((status = 200, body = Community), (status = 404, body = crate::error::Body)))]
async fn update_community(
    State(schools): State<Schools>,
    Path(id): Path<CommunityId>,
    Json(form): Json<ChangeCommunity>,
) -> Result<Json<Community>> {
    let name = form
        .name
        .map(|name| line("name", &name, 1..=60))
        .transpose()?;
    let county = form
        .county
        .map(|county| line("county", &county, 1..=40))
        .transpose()?;
    let community: Option<Community> = sqlx::query_as(
        "UPDATE communities SET name = COALESCE($2, name), county = COALESCE($3, county) WHERE id = $1 RETURNING id, name, county",
    )
    .bind(id)
    .bind(name)
    .bind(county)
    .fetch_optional(schools.db.pool())
    .await?;
    community.map(Json).ok_or_else(no_community)
}

fn no_community() -> Error {
    Error::not_found("没有找到这个教育共同体。", "There is no such community.")
}

/// Removes a community without schools.
#[utoipa::path(delete, path = "/api/communities/{id}", tag = "schools", params(("id" = CommunityId, Path)), responses((status = 204), (status = 404, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn delete_community(
    State(schools): State<Schools>,
    Path(id): Path<CommunityId>,
) -> Result<StatusCode> {
    let removed = sqlx::query("DELETE FROM communities WHERE id = $1")
        .bind(id)
        .execute(schools.db.pool())
        .await;
    match removed {
        Ok(done) if done.rows_affected() == 0 => Err(no_community()),
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(error) if is_foreign_key_violation(&error) => Err(Error::conflict(
            "community_in_use",
            "共同体中还有学校，请先移出这些学校。",
            "Schools still belong to this community. Move them out first.",
        )),
        Err(error) => Err(error.into()),
    }
}
