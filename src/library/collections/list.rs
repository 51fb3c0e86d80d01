//! `GET /api/collections` and `GET /api/collections/{id}`.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::CollectionSummary;
use crate::error::Result;
use crate::extract::{Json, Path, Query};
use crate::identity::Actor;
use crate::ids::{CollectionId, ResourceId};
use crate::library::Library;
use crate::library::access::Reader;
use crate::library::resources::summary::ResourceSummary;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(list_collections))
        .routes(routes!(get_collection))
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct CollectionFilter {
    /// Only collections that the requester owns.
    mine: bool,
    /// Only collections that contain this resource.
    resource: Option<ResourceId>,
}

#[derive(Serialize, ToSchema)]
struct CollectionList {
    items: Vec<CollectionSummary>,
}

/// Lists the collections that the requester may see, the latest change first.
#[utoipa::path(get, path = "/api/collections", tag = "library", params(CollectionFilter), responses((status = 200, body = CollectionList)))]
async fn list_collections(
    State(library): State<Library>,
    actor: Option<Actor>,
    Query(filter): Query<CollectionFilter>,
) -> Result<Json<CollectionList>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let mut condition = if filter.mine {
        "c.owner_id = $1".to_owned()
    } else {
        "1 = 1".to_owned()
    };
    if filter.resource.is_some() {
        condition.push_str(
            " AND EXISTS (SELECT 1 FROM collection_items m WHERE m.collection_id = c.id AND m.resource_id = $6)",
        );
    }
    let items = super::matching(
        &library.db,
        &reader,
        &condition,
        filter.resource.map(|id| id.to_string()),
    )
    .await?;
    Ok(Json(CollectionList { items }))
}

/// Collection with its resources.
#[derive(Serialize, ToSchema)]
pub(super) struct CollectionDetail {
    #[serde(flatten)]
    pub(super) summary: CollectionSummary,
    pub(super) items: Vec<ResourceSummary>,
}

/// Returns one collection.
#[utoipa::path(get, path = "/api/collections/{id}", tag = "library", params(("id" = CollectionId, Path)), responses((status = 200, body = CollectionDetail), (status = 404, body = crate::error::Body)))]
async fn get_collection(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<CollectionId>,
) -> Result<Json<CollectionDetail>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let summary = super::find(&library.db, &reader, id).await?;
    Ok(Json(CollectionDetail {
        summary,
        items: super::resources_of(&library.db, &reader, id).await?,
    }))
}
