//! Indexing of queued changes, in batches.
//!
//! One task indexes changes and advances a rebuild in turn, so that a rebuild misses no change: a
//! change goes into both indexes before its row is deleted.

use std::sync::Arc;

use tongke_search::{Change, Document, Index, Key, Writer};
use uuid::Uuid;

use crate::db::DbError;
use crate::error::Error;

use super::rebuild::Rebuild;
use super::{Kind, Search};
use crate::index_queue::{self, Pending};

/// Maximum changes per batch.
const BATCH: u32 = 500;
/// Maximum text per batch; bounds its memory.
const BATCH_BYTES: usize = 16 << 20;

/// Writer of the active index, and the rebuild in progress.
pub struct IndexWriters {
    pub writer: Arc<Writer>,
    pub rebuild: Option<Rebuild>,
}

/// Failure of an indexing step. The queued rows remain, so no change is lost.
#[derive(Debug, thiserror::Error)]
pub enum IndexingError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Index(#[from] tongke_search::Error),
    #[error("a source could not list its documents: {0}")]
    Source(Error),
    #[error("the indexer panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl IndexWriters {
    pub fn new(writer: Writer) -> Self {
        Self {
            writer: Arc::new(writer),
            rebuild: None,
        }
    }
}

impl Search {
    /// Indexes one batch of queued changes and advances a rebuild. Returns true if there may be
    /// more.
    pub(super) async fn run_once(&self) -> Result<bool, IndexingError> {
        let mut writers = self.inner.writers.lock().await;
        self.reload_synonyms();
        let indexed = self.index_pending(&writers).await?;
        let rebuilding = self.advance_rebuild(&mut writers).await?;
        Ok(indexed || rebuilding)
    }

    /// Indexes all queued changes, for tests.
    #[cfg(test)]
    pub async fn catch_up(&self) {
        while self.run_once().await.expect("the index can be written") {}
    }

    async fn index_pending(&self, writers: &IndexWriters) -> Result<bool, IndexingError> {
        let due = index_queue::due(&self.inner.db, BATCH).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let (mut changes, mut indexed, mut bytes) = (Vec::new(), Vec::new(), 0);
        for change in due {
            match self.read_change(&change).await {
                Ok((key, document)) => {
                    bytes += document.as_ref().map_or(0, text_size);
                    changes.push(document.map_or(Change::Remove(key.clone()), |document| {
                        Change::Put(key, Box::new(document))
                    }));
                    indexed.push(change);
                }
                Err(error) => self.reschedule(&change, &error).await?,
            }
            if bytes > BATCH_BYTES {
                break;
            }
        }
        // Before the new names are indexed, after which a rename can no longer be detected.
        self.enqueue_mentions(renamed(&self.active_index(), &changes)?)
            .await?;
        if let Some(rebuild) = &writers.rebuild {
            apply(&rebuild.writer, changes.clone()).await?;
        }
        apply(&writers.writer, changes).await?;
        index_queue::done(&self.inner.db, &indexed).await?;
        Ok(true)
    }

    async fn read_change(&self, change: &Pending) -> Result<(Key, Option<Document>), Error> {
        let id: Uuid = change.id.parse().map_err(Error::internal)?;
        Ok((
            Key::new(change.kind.as_str(), id),
            self.document(change.kind, id).await?,
        ))
    }

    /// Reads a document from the source of its kind.
    pub(super) async fn document(&self, kind: Kind, id: Uuid) -> Result<Option<Document>, Error> {
        let source = self.inner.sources.lock().get(&kind).cloned();
        let source =
            source.ok_or_else(|| Error::internal(format!("no source is registered for {kind}")))?;
        source.document(id).await
    }

    async fn reschedule(&self, change: &Pending, error: &Error) -> Result<(), DbError> {
        tracing::warn!(kind = %change.kind, id = change.id, %error, "a document could not be indexed; retrying");
        index_queue::failed(&self.inner.db, change, &error.to_string()).await
    }

    /// Queues the documents that show the name of a renamed author or school.
    async fn enqueue_mentions(&self, renamed: Vec<Uuid>) -> Result<(), IndexingError> {
        for id in renamed {
            let keys = self.active_index().referencing(id)?;
            let mut tx = self.inner.db.begin().await?;
            for key in keys {
                if let Ok(kind) = key.kind.parse() {
                    index_queue::enqueue(&mut tx, kind, key.id).await?;
                }
            }
            tx.commit().await?;
        }
        Ok(())
    }
}

/// Returns the people and schools whose name or school differs from the indexed one.
fn renamed(active: &Index, changes: &[Change]) -> Result<Vec<Uuid>, tongke_search::Error> {
    let names = [Kind::Person.as_str(), Kind::School.as_str()];
    let mut renamed = Vec::new();
    for change in changes {
        let Change::Put(key, document) = change else {
            continue;
        };
        if names.contains(&key.kind.as_str())
            && active
                .get(key)?
                .is_some_and(|known| is_renamed(&known, document))
        {
            renamed.push(key.id);
        }
    }
    Ok(renamed)
}

fn is_renamed(known: &Document, now: &Document) -> bool {
    (&known.title, &known.school) != (&now.title, &now.school)
}

/// Applies and commits the changes on a blocking thread.
pub async fn apply(writer: &Arc<Writer>, changes: Vec<Change>) -> Result<(), IndexingError> {
    let writer = writer.clone();
    Ok(tokio::task::spawn_blocking(move || writer.apply(changes)).await??)
}

/// Size of the text of a document in bytes.
pub fn text_size(document: &Document) -> usize {
    document.body.len() + document.pages.iter().map(String::len).sum::<usize>()
}
