//! Queue of changes for the search index. A feature writes the row in the transaction of the change
//! itself; the indexer asks the feature's [`Source`] for the document and deletes the row.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::AnyConnection;
use tongke_search::Document;
use uuid::Uuid;

use crate::db::{Db, DbError, millis};
use crate::error;

crate::string_enum! {
    /// A kind of document in the search index.
    Kind { Resource = "resource", Recording = "recording", Person = "person", School = "school", Collection = "collection" }
}

/// Documents of one kind, read from the feature that owns them.
pub trait Source: Send + Sync {
    /// Returns the current document; `None` when it was deleted or nobody may find it.
    fn document(&self, id: Uuid) -> BoxFuture<'_, error::Result<Option<Document>>>;
    /// Returns the next ids after `after`, ascending, for a rebuild of the whole index.
    fn ids(&self, after: Option<Uuid>, most: u32) -> BoxFuture<'_, error::Result<Vec<Uuid>>>;
}

/// A source and the kind it serves, as a feature registers it.
pub type IndexSource = (Kind, Arc<dyn Source>);

/// Retry delay of a document that its source cannot read: first and maximum.
const RETRY_MS: i64 = 1_000;
const RETRY_MAX_MS: i64 = 600_000;

/// Queues a created, changed or deleted entity, in the transaction that changes it.
pub async fn enqueue(connection: &mut AnyConnection, kind: Kind, id: Uuid) -> Result<(), DbError> {
    insert(connection, kind, id, false).await
}

/// Queues an entity whose access was narrowed. Search results leave it out from the commit on, until
/// the index has its new access groups.
pub async fn enqueue_hidden(
    connection: &mut AnyConnection,
    kind: Kind,
    id: Uuid,
) -> Result<(), DbError> {
    insert(connection, kind, id, true).await
}

async fn insert(
    connection: &mut AnyConnection,
    kind: Kind,
    id: Uuid,
    hidden: bool,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO search_pending (kind, id, stamp, hidden, attempts, due_at, error) VALUES ($1, $2, $3, $4, 0, $5, NULL)
         ON CONFLICT (kind, id) DO UPDATE SET stamp = excluded.stamp, attempts = 0, due_at = excluded.due_at, error = NULL,
             hidden = CASE WHEN search_pending.hidden = 1 THEN 1 ELSE excluded.hidden END",
    )
    .bind(kind)
    .bind(id.to_string())
    .bind(Uuid::now_v7().to_string())
    .bind(i64::from(hidden))
    .bind(millis(Timestamp::now()))
    .execute(connection)
    .await
    .map(drop)
}

/// A queued change.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Pending {
    pub kind: Kind,
    pub id: String,
    stamp: String,
    attempts: i64,
}

/// Returns the due changes, oldest first.
pub async fn due(db: &Db, most: u32) -> Result<Vec<Pending>, DbError> {
    let query = format!(
        "SELECT kind, id, stamp, attempts FROM search_pending WHERE due_at <= $1 ORDER BY due_at, id LIMIT {most}"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(millis(Timestamp::now()))
        .fetch_all(db.pool())
        .await
}

/// Deletes indexed changes, except those queued again since `due` read them.
pub async fn done(db: &Db, changes: &[Pending]) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    for change in changes {
        sqlx::query("DELETE FROM search_pending WHERE kind = $1 AND id = $2 AND stamp = $3")
            .bind(change.kind)
            .bind(&change.id)
            .bind(&change.stamp)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}

/// Reschedules a failed change with exponential backoff and stores the error in its row.
pub async fn failed(db: &Db, change: &Pending, error: &str) -> Result<(), DbError> {
    let pause = RETRY_MS
        .saturating_mul(1 << change.attempts.clamp(0, 20))
        .min(RETRY_MAX_MS);
    sqlx::query("UPDATE search_pending SET attempts = attempts + 1, due_at = $4, error = $5 WHERE kind = $1 AND id = $2 AND stamp = $3")
        .bind(change.kind)
        .bind(&change.id)
        .bind(&change.stamp)
        .bind(millis(Timestamp::now()) + pause)
        .bind(error)
        .execute(db.pool())
        .await
        .map(drop)
}

/// Returns the entities that results leave out until the index has their new access groups.
pub async fn hidden(db: &Db) -> Result<Vec<(Kind, String)>, DbError> {
    sqlx::query_as("SELECT kind, id FROM search_pending WHERE hidden = 1")
        .fetch_all(db.pool())
        .await
}

/// Returns the number of queued changes, and of those with an error.
pub async fn count(db: &Db) -> Result<(i64, i64), DbError> {
    sqlx::query_as("SELECT COUNT(*), COUNT(error) FROM search_pending")
        .fetch_one(db.pool())
        .await
}
