//! Collections: ordered sets of resources that are found and downloaded together.

mod download;
mod edit;
mod list;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{Any, Transaction};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::db::{Db, MAX_ROWS, time};
use crate::error::{Error, Result};
use crate::ids::{CollectionId, PersonId, ResourceId};
use crate::library::access::{CAN_SEE, CAN_SEE_COLLECTION, Reader};
use crate::library::resources::summary::{self, Owner, ResourceSummary};
use crate::library::{Library, Visibility};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .merge(list::routes())
        .merge(edit::routes())
        .merge(download::routes())
}

/// Collection in a list.
#[derive(Serialize, ToSchema)]
pub struct CollectionSummary {
    pub id: CollectionId,
    pub title: String,
    pub description: String,
    pub owner: Owner,
    pub visibility: Visibility,
    /// Number of its resources that the reader may see.
    pub count: i64,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    pub can_edit: bool,
}

#[derive(sqlx::FromRow)]
struct CollectionRow {
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

impl CollectionRow {
    fn summary(self) -> CollectionSummary {
        CollectionSummary {
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

/// Returns the collections that match and that the reader may see, the latest change first.
pub(super) async fn matching(
    db: &Db,
    reader: &Reader,
    condition: &str,
    value: Option<String>,
) -> Result<Vec<CollectionSummary>> {
    let query = format!(
        "SELECT c.id, c.title, c.description, c.owner_id, p.name AS owner_name, c.visibility, c.updated_at,
            (SELECT COUNT(*) FROM collection_items i JOIN resources r ON r.id = i.resource_id
             WHERE i.collection_id = c.id AND {CAN_SEE}) AS count,
            CASE WHEN c.owner_id = $1 OR $4 = 1 THEN 1 ELSE 0 END AS can_edit
         FROM collections c JOIN people p ON p.id = c.owner_id
         WHERE {CAN_SEE_COLLECTION} AND {condition} ORDER BY c.updated_at DESC, c.id DESC LIMIT {MAX_ROWS}"
    );
    let mut query = reader.bind(sqlx::query_as::<_, CollectionRow>(sqlx::AssertSqlSafe(
        query,
    )));
    if let Some(value) = value {
        query = query.bind(value);
    }
    Ok(query
        .fetch_all(db.pool())
        .await?
        .into_iter()
        .map(CollectionRow::summary)
        .collect())
}

/// Returns one collection; 404 if there is none or the reader may not see it.
pub async fn find(db: &Db, reader: &Reader, id: CollectionId) -> Result<CollectionSummary> {
    matching(db, reader, "c.id = $6", Some(id.to_string()))
        .await?
        .pop()
        .ok_or_else(no_such_collection)
}

/// Returns the resources of a collection that the reader may see, in their order.
pub(super) async fn resources_of(
    db: &Db,
    reader: &Reader,
    id: CollectionId,
) -> Result<Vec<ResourceSummary>> {
    let ids: Vec<(ResourceId,)> =
        sqlx::query_as("SELECT resource_id FROM collection_items WHERE collection_id = $1 ORDER BY place, resource_id")
            .bind(id)
            .fetch_all(db.pool())
            .await?;
    let ids: Vec<ResourceId> = ids.into_iter().map(|(id,)| id).collect();
    Ok(summary::by_ids(db, reader, &ids).await?)
}

/// Appends a resource to a collection unless the collection was removed.
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

fn no_such_collection() -> Error {
    Error::not_found("没有找到这个合集。", "There is no such collection.")
}
