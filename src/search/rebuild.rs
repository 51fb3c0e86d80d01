//! Rebuild of the index beside the active one, in batches; the new index replaces it when complete.
//!
//! The request is a row, so that a rebuild restarts after a crash, and another process
//! (`tongke search rebuild`) can request it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tongke_search::{Change, Index, Key, Writer};
use uuid::Uuid;

use crate::db::{Db, DbError, millis};

use super::indexer::{IndexWriters, IndexingError, apply, text_size};
use super::{Kind, POLL_INTERVAL, Search};
use crate::index_queue;

/// Maximum documents per batch; queued changes are indexed between batches.
const BATCH: u32 = 300;
/// Maximum text per batch; bounds its memory.
const BATCH_BYTES: usize = 16 << 20;
/// Time within which a running server starts a rebuild, unless it is busy with an earlier request.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Kinds in the order of the rebuild.
const KINDS: [Kind; 5] = [
    Kind::Person,
    Kind::School,
    Kind::Recording,
    Kind::Collection,
    Kind::Resource,
];

/// Rebuild in progress.
pub struct Rebuild {
    /// The request that it fulfils, with all earlier ones.
    request: RebuildRequest,
    index: Index,
    pub writer: Arc<Writer>,
    kind: usize,
    after: Option<Uuid>,
    done: i64,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RebuildRequest {
    id: String,
    pub requested_at: i64,
    pub done: Option<i64>,
}

/// Requests a rebuild and returns the id of the request.
pub async fn request_rebuild(db: &Db) -> Result<String, DbError> {
    let id = Uuid::now_v7().to_string();
    sqlx::query("INSERT INTO search_rebuilds (id, requested_at, done) VALUES ($1, $2, NULL)")
        .bind(&id)
        .bind(millis(Timestamp::now()))
        .execute(db.pool())
        .await?;
    Ok(id)
}

/// Returns the latest request, which includes all earlier ones.
pub async fn latest_request(db: &Db) -> Result<Option<RebuildRequest>, DbError> {
    sqlx::query_as("SELECT id, requested_at, done FROM search_rebuilds ORDER BY id DESC LIMIT 1")
        .fetch_optional(db.pool())
        .await
}

/// Requests a rebuild from another process and reports its progress until it is done or no server
/// starts it in time.
pub async fn rebuild_with_progress(db: &Db, mut report: impl FnMut(String)) -> Result<(), DbError> {
    let id = request_rebuild(db).await?;
    let requested_at = Instant::now();
    let mut known = None;
    loop {
        let row: Option<(Option<i64>,)> =
            sqlx::query_as("SELECT done FROM search_rebuilds WHERE id = $1")
                .bind(&id)
                .fetch_optional(db.pool())
                .await?;
        let Some((done,)) = row else {
            break report("The search index has been built anew.".into());
        };
        if done.is_none() && requested_at.elapsed() > START_TIMEOUT {
            break report(
                "No server has taken the order up yet; the next one that starts will.".into(),
            );
        }
        if let Some(documents) = done.filter(|_| done != known) {
            report(format!("{documents} documents …"));
        }
        known = done;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

impl Search {
    /// Starts a requested rebuild or indexes its next batch. Returns true while there is one.
    pub(super) async fn advance_rebuild(
        &self,
        writers: &mut IndexWriters,
    ) -> Result<bool, IndexingError> {
        let rebuild = match &mut writers.rebuild {
            Some(rebuild) => rebuild,
            None => match latest_request(&self.inner.db).await? {
                Some(request) => writers.rebuild.insert(self.start_rebuild(request).await?),
                None => return Ok(false),
            },
        };
        if !self.index_batch(rebuild).await? {
            return Ok(true);
        }
        if let Some(rebuild) = writers.rebuild.take() {
            self.activate_rebuild(writers, rebuild).await?;
        }
        Ok(true)
    }

    async fn start_rebuild(&self, request: RebuildRequest) -> Result<Rebuild, IndexingError> {
        tracing::info!("rebuilding the search index");
        let index = self.inner.generations.create()?;
        let writer = Arc::new(Writer::start(&index, self.inner.heap_bytes)?);
        let rebuild = Rebuild {
            request,
            index,
            writer,
            kind: 0,
            after: None,
            done: 0,
        };
        self.write_progress(&rebuild).await?;
        Ok(rebuild)
    }

    /// Indexes the next batch. Returns true once nothing is left.
    async fn index_batch(&self, rebuild: &mut Rebuild) -> Result<bool, IndexingError> {
        let Some(kind) = KINDS.get(rebuild.kind) else {
            return Ok(true);
        };
        let source = self.inner.sources.lock().get(kind).cloned();
        let ids = match source {
            Some(source) => source
                .ids(rebuild.after, BATCH)
                .await
                .map_err(IndexingError::Source)?,
            None => Vec::new(),
        };
        if ids.is_empty() {
            (rebuild.kind, rebuild.after) = (rebuild.kind + 1, None);
            return Ok(false);
        }
        let (mut changes, mut bytes) = (Vec::new(), 0);
        for id in ids {
            match self.document(*kind, id).await {
                Ok(Some(document)) => {
                    bytes += text_size(&document);
                    changes.push(Change::Put(Key::new(kind.as_str(), id), Box::new(document)));
                }
                Ok(None) => {}
                // Queued as a change, whose failures are logged and retried.
                Err(_) => {
                    index_queue::enqueue(&mut *self.inner.db.pool().acquire().await?, *kind, id)
                        .await?
                }
            }
            rebuild.after = Some(id);
            if bytes > BATCH_BYTES {
                break;
            }
        }
        rebuild.done += changes.len() as i64;
        apply(&rebuild.writer, changes).await?;
        self.write_progress(rebuild).await?;
        Ok(false)
    }

    async fn write_progress(&self, rebuild: &Rebuild) -> Result<(), DbError> {
        sqlx::query("UPDATE search_rebuilds SET done = $2 WHERE id <= $1")
            .bind(&rebuild.request.id)
            .bind(rebuild.done)
            .execute(self.inner.db.pool())
            .await
            .map(drop)
    }

    /// Makes the new index the active one, durably, and removes the old one.
    async fn activate_rebuild(
        &self,
        writers: &mut IndexWriters,
        rebuild: Rebuild,
    ) -> Result<(), IndexingError> {
        self.inner.generations.activate(&rebuild.index)?;
        *self.inner.active.write() = rebuild.index.clone();
        writers.writer = rebuild.writer;
        if let Err(error) = self.inner.generations.remove_others(&rebuild.index) {
            tracing::warn!(%error, "the old search index could not be removed");
        }
        sqlx::query("DELETE FROM search_rebuilds WHERE id <= $1")
            .bind(&rebuild.request.id)
            .execute(self.inner.db.pool())
            .await?;
        tracing::info!(
            documents = rebuild.done,
            "the search index has been rebuilt"
        );
        Ok(())
    }
}
