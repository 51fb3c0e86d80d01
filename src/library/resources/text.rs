//! Text and pages that were extracted from a resource's file.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::error::Result;
use crate::extract::{Json, Path, Query};
use crate::identity::Actor;
use crate::ids::ResourceId;
use crate::library::Library;
use crate::library::access::{Reader, visible_version};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(get_text))
        .routes(routes!(list_pages))
}

/// Version selected by a request.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// Absent: the newest version that the requester may see.
    pub version: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct ResourceText {
    text: String,
}

/// Returns the text extracted from the file; empty while there is none.
#[utoipa::path(get, path = "/api/resources/{id}/text", tag = "library", params(("id" = ResourceId, Path), VersionQuery), responses((status = 200, body = ResourceText), (status = 404, body = crate::error::Body)))]
async fn get_text(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(query): Query<VersionQuery>,
) -> Result<Json<ResourceText>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let version = visible_version(&library.db, &reader, id, query.version).await?;
    let found: Option<(String,)> = sqlx::query_as("SELECT body FROM blob_texts WHERE hash = $1")
        .bind(version.hash)
        .fetch_optional(library.db.pool())
        .await?;
    Ok(Json(ResourceText {
        text: found.map(|(body,)| body).unwrap_or_default(),
    }))
}

#[derive(Serialize, ToSchema)]
struct PageList {
    version: i64,
    items: Vec<Page>,
}

/// Page of a deck or document, with WebP images.
#[derive(Serialize, ToSchema)]
struct Page {
    n: i64,
    width: i64,
    height: i64,
    text: String,
    /// `None` if the page could not be rendered.
    large_url: Option<String>,
    small_url: Option<String>,
}

/// Lists the pages of the file.
#[utoipa::path(get, path = "/api/resources/{id}/pages", tag = "library", params(("id" = ResourceId, Path), VersionQuery), responses((status = 200, body = PageList), (status = 404, body = crate::error::Body)))]
async fn list_pages(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(query): Query<VersionQuery>,
) -> Result<Json<PageList>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let version = visible_version(&library.db, &reader, id, query.version).await?;
    let rows: Vec<(i64, i64, i64, i64, String)> = sqlx::query_as(
        "SELECT number, width, height, drawn, body FROM blob_pages WHERE hash = $1 ORDER BY number",
    )
    .bind(version.hash)
    .fetch_all(library.db.pool())
    .await?;
    let url = |n: i64, size: &str| {
        format!(
            "/api/resources/{id}/pages/{n}/{size}?version={}",
            version.number
        )
    };
    let items = rows
        .into_iter()
        .map(|(n, width, height, drawn, text)| Page {
            n,
            width,
            height,
            text,
            large_url: (drawn != 0).then(|| url(n, "large")),
            small_url: (drawn != 0).then(|| url(n, "small")),
        });
    Ok(Json(PageList {
        version: version.number,
        items: items.collect(),
    }))
}
