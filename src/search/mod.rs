//! Full-text search of resources, recorded lessons, people and schools. The index and the Chinese
//! text analysis are in the crate `tongke-search`.
//!
//! ```text
//! feature ── enqueue in its own transaction ──▶ search_pending ──▶ indexer ──▶ index
//! /api/search ── ACL groups of the reader ──▶ index ──▶ hits, counts, suggestions
//! ```
//!
//! The index is derived data. It is committed before the queued rows are deleted, and indexing is
//! idempotent, so no change is lost in a crash. An index that is missing, corrupt or of another
//! format is rebuilt beside the one in use. Two alternatives were rejected: an in-memory queue (a
//! crash would lose it) and querying the sources at search time (no counts, no ranking).

mod access;
mod indexer;
mod rebuild;
mod routes;
mod synonyms;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tongke_search::{Facet, Generations, Index, Synonyms, Writer};

use crate::config::Config;
use crate::db::{Db, DbError};
use crate::index_queue::{Kind, Source};

use indexer::IndexWriters;
use synonyms::SynonymsFile;

pub use rebuild::rebuild_with_progress;
pub use routes::routes;

/// Polling interval of the indexer; most of the delay between a change and its visibility in
/// results.
const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// Pause after a failure of the database or the disk.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Failure to open the search.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Index(#[from] tongke_search::Error),
    #[error("the rebuild of the search index cannot be requested: {0}")]
    Db(#[from] DbError),
}

/// The search of this server. Clones share it.
#[derive(Clone)]
pub struct Search {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    generations: Generations,
    heap_bytes: usize,
    /// The index that serves queries.
    active: RwLock<Index>,
    sources: Mutex<HashMap<Kind, Arc<dyn Source>>>,
    synonyms: RwLock<Arc<Synonyms>>,
    synonyms_file: Mutex<SynonymsFile>,
    /// Limits concurrent queries to one per core.
    query_slots: Semaphore,
    writers: tokio::sync::Mutex<IndexWriters>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Search {
    /// Opens the index, or creates one and requests a rebuild if none can be read.
    ///
    /// Features register their sources with [`Search::register`].
    pub async fn open(config: &Config, db: Db) -> Result<Self, OpenError> {
        let generations = Generations::new(config.server.data_dir.join("search"));
        let active = match generations.current() {
            Some(index) => index,
            None => {
                rebuild::request_rebuild(&db).await?;
                generations.create()?
            }
        };
        generations
            .remove_others(&active)
            .map_err(tongke_search::Error::from)?;
        let heap_bytes = config.search.heap_bytes;
        let writers = IndexWriters::new(Writer::start(&active, heap_bytes)?);
        let mut synonyms_file = SynonymsFile::new(synonyms_path(config));
        let synonyms = synonyms_file.read();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let inner = Inner {
            generations,
            heap_bytes,
            active: RwLock::new(active),
            sources: Mutex::default(),
            db,
            synonyms: RwLock::new(Arc::new(synonyms.unwrap_or_default())),
            synonyms_file: Mutex::new(synonyms_file),
            query_slots: Semaphore::new(cores),
            writers: tokio::sync::Mutex::new(writers),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Registers the source of a kind. Call it before [`Search::start`].
    pub fn register(&self, kind: Kind, source: Arc<dyn Source>) {
        self.inner.sources.lock().insert(kind, source);
    }

    /// Keeps the index up to date until [`Search::stop`].
    pub fn start(&self) {
        tokio::task::spawn_blocking(tongke_search::load_dictionary);
        let search = self.clone();
        self.inner
            .tasks
            .spawn(async move { search.run_indexer().await });
    }

    async fn run_indexer(&self) {
        while !self.inner.stop.is_cancelled() {
            let pause = match self.run_once().await {
                Ok(true) => continue,
                Ok(false) => POLL_INTERVAL,
                Err(error) => {
                    tracing::error!(%error, "the search index could not be updated; retrying");
                    RETRY_DELAY
                }
            };
            let _ = tokio::time::timeout(pause, self.inner.stop.cancelled()).await;
        }
    }

    /// Stops the indexer. Queued changes are indexed after the next start.
    pub async fn stop(&self, limit: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "the search index is still being written; the next start repeats the batch"
            );
        }
    }

    fn active_index(&self) -> Index {
        self.inner.active.read().clone()
    }
}

/// Path of the configured synonyms file, by default in the data directory.
fn synonyms_path(config: &Config) -> PathBuf {
    match config.search.synonyms.as_str() {
        "" => config.server.data_dir.join("synonyms.txt"),
        path => PathBuf::from(path),
    }
}
