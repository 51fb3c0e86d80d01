//! Creation, changes and removal of collections.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::CollectionSummary;
use super::list::CollectionDetail;
use crate::db::{Db, millis};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, line, now};
use crate::identity::Actor;
use crate::ids::{CollectionId, PersonId, ResourceId};
use crate::library::access::{Reader, no_such_resource, require_editable_collection};
use crate::library::resources::description::multiline;
use crate::library::resources::summary;
use crate::library::{Library, Visibility, index_source};

/// Bound of a list without result pages, and of one zip.
const MAX_ITEMS: usize = 1000;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(create_collection))
        .routes(routes!(update_collection, delete_collection))
        .routes(routes!(replace_collection_items))
}

#[derive(Deserialize, ToSchema)]
struct NewCollection {
    title: String,
    #[serde(default)]
    description: String,
    visibility: Option<Visibility>,
    #[serde(default)]
    resource_ids: Vec<ResourceId>,
}

/// Creates a collection.
#[utoipa::path(post, path = "/api/collections", tag = "library", request_body = NewCollection, responses((status = 201, body = CollectionSummary), (status = 422, body = crate::error::Body)))]
async fn create_collection(
    State(library): State<Library>,
    actor: Actor,
    Json(form): Json<NewCollection>,
) -> Result<(StatusCode, Json<CollectionSummary>)> {
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let id = CollectionId::fresh();
    let mut tx = library.db.begin().await?;
    sqlx::query(
        "INSERT INTO collections (id, owner_id, school_id, title, description, visibility, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(id)
    .bind(PersonId(actor.id()))
    .bind(reader.school)
    .bind(line("title", &form.title, 1..=100)?)
    .bind(multiline("description", &form.description, 2000)?)
    .bind(form.visibility.unwrap_or(Visibility::School))
    .bind(millis(now()))
    .execute(&mut *tx)
    .await?;
    replace_items(&mut tx, &library.db, &reader, id, &form.resource_ids).await?;
    index_source::enqueue_collection(&mut tx, id).await?;
    tx.commit().await?;
    Ok((
        StatusCode::CREATED,
        Json(super::find(&library.db, &reader, id).await?),
    ))
}

#[derive(Deserialize, ToSchema)]
struct CollectionChange {
    title: Option<String>,
    description: Option<String>,
    visibility: Option<Visibility>,
}

/// Changes the title, description or visibility of a collection.
#[utoipa::path(patch, path = "/api/collections/{id}", tag = "library", params(("id" = CollectionId, Path)), request_body = CollectionChange, responses((status = 200, body = CollectionSummary), (status = 403, body = crate::error::Body)))]
async fn update_collection(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<CollectionId>,
    Json(form): Json<CollectionChange>,
) -> Result<Json<CollectionSummary>> {
    require_editable_collection(&library.db, &actor, id).await?;
    let mut tx = library.db.begin().await?;
    sqlx::query(
        "UPDATE collections SET title = COALESCE($2, title), description = COALESCE($3, description),
            visibility = COALESCE($4, visibility), updated_at = $5 WHERE id = $1",
    )
    .bind(id)
    .bind(form.title.map(|title| line("title", &title, 1..=100)).transpose()?)
    .bind(form.description.map(|text| multiline("description", &text, 2000)).transpose()?)
    .bind(form.visibility)
    .bind(millis(now()))
    .execute(&mut *tx)
    .await?;
    // The index hides the collection until it has the new visibility.
    match form.visibility {
        Some(_) => index_source::enqueue_hidden_collection(&mut tx, id).await?,
        None => index_source::enqueue_collection(&mut tx, id).await?,
    }
    tx.commit().await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    Ok(Json(super::find(&library.db, &reader, id).await?))
}

#[derive(Deserialize, ToSchema)]
struct CollectionItems {
    resource_ids: Vec<ResourceId>,
}

/// Replaces the resources of a collection, in the given order.
#[utoipa::path(put, path = "/api/collections/{id}/items", tag = "library", params(("id" = CollectionId, Path)), request_body = CollectionItems, responses((status = 200, body = CollectionDetail), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn replace_collection_items(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<CollectionId>,
    Json(form): Json<CollectionItems>,
) -> Result<Json<CollectionDetail>> {
    require_editable_collection(&library.db, &actor, id).await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let mut tx = library.db.begin().await?;
    replace_items(&mut tx, &library.db, &reader, id, &form.resource_ids).await?;
    sqlx::query("UPDATE collections SET updated_at = $2 WHERE id = $1")
        .bind(id)
        .bind(millis(now()))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let summary = super::find(&library.db, &reader, id).await?;
    Ok(Json(CollectionDetail {
        summary,
        items: super::resources_of(&library.db, &reader, id).await?,
    }))
}

/// Replaces the resources of a collection. Rejects resources that the reader may not see.
async fn replace_items(
    tx: &mut Transaction<'static, Any>,
    db: &Db,
    reader: &Reader,
    id: CollectionId,
    resources: &[ResourceId],
) -> Result<()> {
    if resources.len() > MAX_ITEMS {
        return Err(Error::field(
            "resource_ids",
            "一个合集最多 1000 个资源。",
            "A collection holds at most 1000 resources.",
        ));
    }
    if summary::by_ids(db, reader, resources).await?.len() < resources.len() {
        return Err(no_such_resource());
    }
    sqlx::query("DELETE FROM collection_items WHERE collection_id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    for (index, resource) in resources.iter().enumerate() {
        sqlx::query(
            "INSERT INTO collection_items (collection_id, resource_id, place) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(resource)
        .bind(index as i64)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Removes a collection; its resources are kept.
#[utoipa::path(delete, path = "/api/collections/{id}", tag = "library", params(("id" = CollectionId, Path)), responses((status = 204), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn delete_collection(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<CollectionId>,
) -> Result<StatusCode> {
    require_editable_collection(&library.db, &actor, id).await?;
    let mut tx = library.db.begin().await?;
    sqlx::query("UPDATE collections SET removed_at = $2 WHERE id = $1")
        .bind(id)
        .bind(millis(now()))
        .execute(&mut *tx)
        .await?;
    index_source::enqueue_hidden_collection(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
