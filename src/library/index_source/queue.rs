//! Changes queued for indexing.

use futures_util::future::BoxFuture;
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::bus::SchoolSubscriber;
use crate::db::DbError;
use crate::ids::{CollectionId, ResourceId, SchoolId};
use crate::index_queue::{self, Kind};

/// Queues a resource for indexing.
pub async fn enqueue(connection: &mut AnyConnection, id: ResourceId) -> Result<(), DbError> {
    index_queue::enqueue(connection, Kind::Resource, id.0).await
}

/// Queues a resource whose audience shrank; it is hidden from search until it is indexed again.
pub async fn enqueue_hidden(connection: &mut AnyConnection, id: ResourceId) -> Result<(), DbError> {
    index_queue::enqueue_hidden(connection, Kind::Resource, id.0).await
}

/// Queues a collection for indexing.
pub async fn enqueue_collection(
    connection: &mut AnyConnection,
    id: CollectionId,
) -> Result<(), DbError> {
    index_queue::enqueue(connection, Kind::Collection, id.0).await
}

/// Queues a collection whose audience may have shrunk; it is hidden from search until it is indexed
/// again.
pub async fn enqueue_hidden_collection(
    connection: &mut AnyConnection,
    id: CollectionId,
) -> Result<(), DbError> {
    index_queue::enqueue_hidden(connection, Kind::Collection, id.0).await
}

/// Queues entries shared with the community when their school moves to another one.
pub struct SharedWithCommunity;

impl SchoolSubscriber for SharedWithCommunity {
    /// Hides the school's resources and collections until the index has their new community.
    fn school_moved<'c>(
        &'c self,
        connection: &'c mut AnyConnection,
        school: SchoolId,
    ) -> BoxFuture<'c, Result<(), DbError>> {
        Box::pin(async move {
            let shared = "visibility = 'community'";
            for id in ids_of_school(connection, "resources", school, shared).await? {
                index_queue::enqueue_hidden(connection, Kind::Resource, id).await?;
            }
            for id in ids_of_school(connection, "collections", school, shared).await? {
                index_queue::enqueue_hidden(connection, Kind::Collection, id).await?;
            }
            Ok(())
        })
    }
}

/// Queues the pending resources of a school whose reviewers changed.
pub async fn enqueue_pending_reviews(
    connection: &mut AnyConnection,
    school: SchoolId,
) -> Result<(), DbError> {
    for id in ids_of_school(connection, "resources", school, "review = 'pending'").await? {
        index_queue::enqueue_hidden(connection, Kind::Resource, id).await?;
    }
    Ok(())
}

async fn ids_of_school(
    connection: &mut AnyConnection,
    table: &str,
    school: SchoolId,
    condition: &str,
) -> Result<Vec<Uuid>, DbError> {
    let query = format!(
        "SELECT id FROM {table} WHERE school_id = $1 AND removed_at IS NULL AND {condition}"
    );
    let rows: Vec<(ResourceId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(school)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(id,)| id.0).collect())
}
