//! Garbage collection: deletes removed resources after their retention period, and content without
//! references.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::ContentStore;
use crate::db::{DbError, millis};
use crate::library::analysis::derived;
use crate::library::analysis::facts::Facts;
use crate::storage::{Key, StorageError};

const INTERVAL: Duration = Duration::from_secs(3600);
/// Grace period of content after its last reference is gone.
const UNREFERENCED_RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// Content that no resource version and no lesson deck refers to.
const UNREFERENCED: &str =
    "NOT EXISTS (SELECT 1 FROM resource_versions v WHERE v.hash = blobs.hash)
    AND NOT EXISTS (SELECT 1 FROM lesson_decks d WHERE d.hash = blobs.hash)";

#[derive(Debug, thiserror::Error)]
pub enum GarbageError {
    #[error("database: {0}")]
    Db(#[from] DbError),
    #[error("object store: {0}")]
    Storage(#[from] StorageError),
}

impl ContentStore {
    /// Collects garbage every hour until the server stops.
    pub async fn run_garbage_collector(self, removed_keep_days: u32) {
        loop {
            if let Err(error) = self
                .collect_garbage(Timestamp::now(), removed_keep_days)
                .await
            {
                tracing::warn!(%error, "library garbage collection failed; retrying at the next interval");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Deletes rows before objects. A crash in between leaves invisible objects, which an upload of
    /// the same content reuses.
    pub async fn collect_garbage(
        &self,
        now: Timestamp,
        removed_keep_days: u32,
    ) -> Result<(), GarbageError> {
        let removed_before = now - SignedDuration::from_hours(24 * i64::from(removed_keep_days));
        sqlx::query("DELETE FROM resources WHERE removed_at <= $1")
            .bind(millis(removed_before))
            .execute(self.db.pool())
            .await?;
        let statement = format!(
            "UPDATE blobs SET unused_since = $1 WHERE unused_since IS NULL AND {UNREFERENCED}"
        );
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(millis(now))
            .execute(self.db.pool())
            .await?;
        let unreferenced: Vec<(String, i64, String)> =
            sqlx::query_as("SELECT hash, pages, facts FROM blobs WHERE unused_since <= $1 ORDER BY hash LIMIT 1000")
                .bind(millis(now - UNREFERENCED_RETENTION))
                .fetch_all(self.db.pool())
                .await?;
        for (hash, pages, facts) in unreferenced {
            self.remove_content(&hash, pages, &Facts::parse(&facts))
                .await?;
        }
        Ok(())
    }

    async fn remove_content(
        &self,
        hash: &str,
        pages: i64,
        facts: &Facts,
    ) -> Result<(), GarbageError> {
        // Ingests wait here; an upload that arrives meanwhile stores its bytes again afterwards.
        let _exclusive = self.garbage_lock.write().await;
        let statement = format!(
            "DELETE FROM blobs WHERE hash = $1 AND unused_since IS NOT NULL AND {UNREFERENCED}"
        );
        let deleted = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(hash)
            .execute(self.db.pool())
            .await?;
        if deleted.rows_affected() == 0 {
            return Ok(());
        }
        for kind in ["words", "understand", "playable"] {
            self.jobs.remove(&format!("{kind}:{hash}")).await?;
        }
        for name in derived::names(pages, facts) {
            self.storage.remove(&Key::derived(hash, &name)).await?;
        }
        self.storage.remove(&Key::blob(hash)).await?;
        Ok(())
    }
}
