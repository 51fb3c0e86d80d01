//! `/api/collections`: resources put together by somebody, in their order, to be found and downloaded together.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{Db, MAX_ROWS, millis, time};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, Query, line, now};
use crate::identity::Actor;
use crate::ids::{CollectionId, PersonId, ResourceId};
use crate::library::Library;
use crate::library::Visibility;
use crate::library::access::{Reader, SEES, SEES_COLLECTION};
use crate::library::feedback;
use crate::library::files;
use crate::library::files::zip::{self, Packed};
use crate::library::index_source;
use crate::library::resources::description::{file_name, paragraph};
use crate::library::resources::detail;
use crate::library::resources::summary::{self, Owner, ResourceCard};

/// What one looks through, and what one zip holds.
const MOST_ITEMS: usize = 1000;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(one, change, remove))
        .routes(routes!(set_items))
        .routes(routes!(zip))
}

/// A collection as lists show it.
#[derive(Serialize, ToSchema)]
struct CollectionCard {
    id: CollectionId,
    title: String,
    description: String,
    owner: Owner,
    visibility: Visibility,
    /// Resources in it that the reader may see.
    count: i64,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    can_edit: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: CollectionId,
    title: String,
    description: String,
    owner_id: PersonId,
    owner_name: String,
    visibility: Visibility,
    count: i64,
    updated_at: i64,
    can_edit: i64,
}

impl Row {
    fn card(self) -> CollectionCard {
        CollectionCard {
            id: self.id,
            title: self.title,
            description: self.description,
            owner: Owner {
                id: self.owner_id,
                name: self.owner_name,
            },
            visibility: self.visibility,
            count: self.count,
            updated_at: time(self.updated_at),
            can_edit: self.can_edit != 0,
        }
    }
}

async fn find(
    db: &Db,
    reader: &Reader,
    condition: &str,
    value: Option<String>,
) -> Result<Vec<CollectionCard>> {
    let query = format!(
        "SELECT c.id, c.title, c.description, c.owner_id, p.name AS owner_name, c.visibility, c.updated_at,
            (SELECT COUNT(*) FROM collection_items i JOIN resources r ON r.id = i.resource_id
             WHERE i.collection_id = c.id AND {SEES}) AS count,
            CASE WHEN c.owner_id = $1 OR $4 = 1 THEN 1 ELSE 0 END AS can_edit
         FROM collections c JOIN people p ON p.id = c.owner_id
         WHERE {SEES_COLLECTION} AND {condition} ORDER BY c.updated_at DESC, c.id DESC LIMIT {MAX_ROWS}"
    );
    let mut query = reader.bind(sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(query)));
    if let Some(value) = value {
        query = query.bind(value);
    }
    Ok(query
        .fetch_all(db.pool())
        .await?
        .into_iter()
        .map(Row::card)
        .collect())
}

async fn card(db: &Db, reader: &Reader, id: CollectionId) -> Result<CollectionCard> {
    find(db, reader, "c.id = $6", Some(id.to_string()))
        .await?
        .pop()
        .ok_or_else(missing)
}

/// Refuses unless the actor may change the collection.
pub async fn editable(library: &Library, actor: &Actor, id: CollectionId) -> Result<()> {
    let reader = Reader::of(&library.db, Some(actor)).await?;
    if card(&library.db, &reader, id).await?.can_edit {
        Ok(())
    } else {
        Err(Error::forbidden())
    }
}

/// Puts a resource at the end of a collection that is still there.
pub async fn append(
    tx: &mut Transaction<'static, Any>,
    id: CollectionId,
    resource: ResourceId,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO collection_items (collection_id, resource_id, place)
         SELECT c.id, $2, (SELECT COALESCE(MAX(i.place), 0) + 1 FROM collection_items i WHERE i.collection_id = c.id)
         FROM collections c WHERE c.id = $1 AND c.removed_at IS NULL ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(resource)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only my own.
    mine: bool,
    /// Only those with this resource in them.
    resource: Option<ResourceId>,
}

#[derive(Serialize, ToSchema)]
struct Collections {
    items: Vec<CollectionCard>,
}

/// Collections that I may see, the latest first.
#[utoipa::path(get, path = "/api/collections", tag = "library", params(Which), responses((status = 200, body = Collections)))]
async fn list(
    State(library): State<Library>,
    actor: Option<Actor>,
    Query(which): Query<Which>,
) -> Result<Json<Collections>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let mut condition = if which.mine {
        "c.owner_id = $1".to_owned()
    } else {
        "1 = 1".to_owned()
    };
    if which.resource.is_some() {
        condition.push_str(
            " AND EXISTS (SELECT 1 FROM collection_items m WHERE m.collection_id = c.id AND m.resource_id = $6)",
        );
    }
    let items = find(
        &library.db,
        &reader,
        &condition,
        which.resource.map(|id| id.to_string()),
    )
    .await?;
    Ok(Json(Collections { items }))
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

/// Makes a collection.
#[utoipa::path(post, path = "/api/collections", tag = "library", request_body = NewCollection, responses((status = 201, body = CollectionCard), (status = 422, body = crate::error::Body)))]
async fn add(
    State(library): State<Library>,
    actor: Actor,
    Json(form): Json<NewCollection>,
) -> Result<(StatusCode, Json<CollectionCard>)> {
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
    .bind(paragraph("description", &form.description, 2000)?)
    .bind(form.visibility.unwrap_or(Visibility::School))
    .bind(millis(now()))
    .execute(&mut *tx)
    .await?;
    place(&mut tx, &library.db, &reader, id, &form.resource_ids).await?;
    index_source::mark_collection(&mut tx, id, false).await?;
    tx.commit().await?;
    Ok((
        StatusCode::CREATED,
        Json(card(&library.db, &reader, id).await?),
    ))
}

/// Sets what is in a collection, in this order; what the actor may not see is refused.
async fn place(
    tx: &mut Transaction<'static, Any>,
    db: &Db,
    reader: &Reader,
    id: CollectionId,
    resources: &[ResourceId],
) -> Result<()> {
    if resources.len() > MOST_ITEMS {
        return Err(Error::field(
            "resource_ids",
            "一个合集最多 1000 个资源。",
            "A collection holds at most 1000 resources.",
        ));
    }
    if summary::by_ids(db, reader, resources).await?.len() < resources.len() {
        return Err(detail::missing());
    }
    sqlx::query("DELETE FROM collection_items WHERE collection_id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    for (place, resource) in resources.iter().enumerate() {
        sqlx::query(
            "INSERT INTO collection_items (collection_id, resource_id, place) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(resource)
        .bind(place as i64)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// A collection with its resources.
#[derive(Serialize, ToSchema)]
struct Collection {
    #[serde(flatten)]
    card: CollectionCard,
    items: Vec<ResourceCard>,
}

/// One collection.
#[utoipa::path(get, path = "/api/collections/{id}", tag = "library", params(("id" = CollectionId, Path)), responses((status = 200, body = Collection), (status = 404, body = crate::error::Body)))]
async fn one(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<CollectionId>,
) -> Result<Json<Collection>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let card = card(&library.db, &reader, id).await?;
    Ok(Json(Collection {
        card,
        items: items(&library.db, &reader, id).await?,
    }))
}

async fn items(db: &Db, reader: &Reader, id: CollectionId) -> Result<Vec<ResourceCard>> {
    let ids: Vec<(ResourceId,)> =
        sqlx::query_as("SELECT resource_id FROM collection_items WHERE collection_id = $1 ORDER BY place, resource_id")
            .bind(id)
            .fetch_all(db.pool())
            .await?;
    let ids: Vec<ResourceId> = ids.into_iter().map(|(id,)| id).collect();
    Ok(summary::by_ids(db, reader, &ids).await?)
}

#[derive(Deserialize, ToSchema)]
struct ChangeCollection {
    title: Option<String>,
    description: Option<String>,
    visibility: Option<Visibility>,
}

/// Changes a collection.
#[utoipa::path(patch, path = "/api/collections/{id}", tag = "library", params(("id" = CollectionId, Path)), request_body = ChangeCollection, responses((status = 200, body = CollectionCard), (status = 403, body = crate::error::Body)))]
async fn change(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<CollectionId>,
    Json(form): Json<ChangeCollection>,
) -> Result<Json<CollectionCard>> {
    editable(&library, &actor, id).await?;
    let mut tx = library.db.begin().await?;
    sqlx::query(
        "UPDATE collections SET title = COALESCE($2, title), description = COALESCE($3, description),
            visibility = COALESCE($4, visibility), updated_at = $5 WHERE id = $1",
    )
    .bind(id)
    .bind(form.title.map(|title| line("title", &title, 1..=100)).transpose()?)
    .bind(form.description.map(|text| paragraph("description", &text, 2000)).transpose()?)
    .bind(form.visibility)
    .bind(millis(now()))
    .execute(&mut *tx)
    .await?;
    index_source::mark_collection(&mut tx, id, form.visibility.is_some()).await?;
    tx.commit().await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    Ok(Json(card(&library.db, &reader, id).await?))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = CollectionItems)]
struct Items {
    resource_ids: Vec<ResourceId>,
}

/// Sets what is in a collection, in this order.
#[utoipa::path(put, path = "/api/collections/{id}/items", tag = "library", params(("id" = CollectionId, Path)), request_body = Items, responses((status = 200, body = Collection), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn set_items(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<CollectionId>,
    Json(form): Json<Items>,
) -> Result<Json<Collection>> {
    editable(&library, &actor, id).await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let mut tx = library.db.begin().await?;
    place(&mut tx, &library.db, &reader, id, &form.resource_ids).await?;
    sqlx::query("UPDATE collections SET updated_at = $2 WHERE id = $1")
        .bind(id)
        .bind(millis(now()))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let card = card(&library.db, &reader, id).await?;
    Ok(Json(Collection {
        card,
        items: items(&library.db, &reader, id).await?,
    }))
}

/// Removes a collection; its resources stay.
#[utoipa::path(delete, path = "/api/collections/{id}", tag = "library", params(("id" = CollectionId, Path)), responses((status = 204), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn remove(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<CollectionId>,
) -> Result<StatusCode> {
    editable(&library, &actor, id).await?;
    let mut tx = library.db.begin().await?;
    sqlx::query("UPDATE collections SET removed_at = $2 WHERE id = $1")
        .bind(id)
        .bind(millis(now()))
        .execute(&mut *tx)
        .await?;
    index_source::mark_collection(&mut tx, id, true).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Everything in a collection that I may see, as one zip, made while it is downloaded.
#[utoipa::path(get, path = "/api/collections/{id}/zip", tag = "library", params(("id" = CollectionId, Path)), responses((status = 200), (status = 404, body = crate::error::Body)))]
async fn zip(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<CollectionId>,
) -> Result<Response<Body>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let collection = card(&library.db, &reader, id).await?;
    let resources = items(&library.db, &reader, id).await?;
    if let Some(person) = reader.person {
        for resource in &resources {
            feedback::used(&library.db, resource.id, person, feedback::Way::Download).await?;
        }
    }
    let mut files = Vec::new();
    for resource in &resources {
        let file =
            files::handed_out(&library, &reader, resource.id, Some(resource.version)).await?;
        files.push(Packed {
            key: file.key,
            name: file.name,
            size_bytes: file.size_bytes,
        });
    }
    zip::zip(
        &library.storage,
        &format!("{}.zip", file_name(&collection.title)),
        files,
    )
}

fn missing() -> Error {
    Error::not_found("没有找到这个合集。", "There is no such collection.")
}
