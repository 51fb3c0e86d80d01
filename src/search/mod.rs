//! Search: one box for resources, recorded lessons, people and schools. The Chinese of it, and the index, are the crate `tongke-search`.
//!
//! ```text
//! a feature ── mark, in its own transaction ──▶ search_pending ──▶ indexer ── asks the kind's Source ──▶ index ──▶ rows deleted
//! /api/search ── groups of the reader ──▶ index ──▶ hits, counts, suggestions: nothing that the reader may not see
//! ```
//!
//! The index is derived data. It is committed before the rows that ordered it are deleted, and writing a document twice is the same as once, so a
//! crash at any moment heals by itself. An index that is missing, broken or of another format is built anew, beside the one in use.
//! A queue in memory was turned down (a crash would lose it), and so was asking the sources while searching (no counts, no ranking).

mod indexer;
mod reader;
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

use indexer::Engine;
use synonyms::SynonymsFile;

pub use rebuild::follow;
pub use routes::routes;

/// How often the indexer looks for changes: most of what passes between a change and its being found.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// After a failure of the database or the disk.
const PAUSE: Duration = Duration::from_secs(5);

/// Why the search cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Index(#[from] tongke_search::Error),
    #[error("the search index cannot be ordered: {0}")]
    Db(#[from] DbError),
}

/// The search of this server. Cloning shares it.
#[derive(Clone)]
pub struct Search {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    shelf: Generations,
    heap_bytes: usize,
    /// The index that answers.
    live: RwLock<Index>,
    sources: Mutex<HashMap<Kind, Arc<dyn Source>>>,
    synonyms: RwLock<Arc<Synonyms>>,
    synonyms_file: Mutex<SynonymsFile>,
    /// One question per core at a time; the others wait their turn.
    turns: Semaphore,
    engine: tokio::sync::Mutex<Engine>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Search {
    /// Opens the index, or orders a new one where there is none that can be read. Every feature registers
    /// its sources with [`Search::register`].
    pub async fn open(config: &Config, db: Db) -> Result<Self, OpenError> {
        let shelf = Generations::new(config.server.data_dir.join("search"));
        let live = match shelf.current() {
            Some(index) => index,
            None => {
                rebuild::order(&db).await?;
                shelf.create()?
            }
        };
        shelf
            .remove_others(&live)
            .map_err(tongke_search::Error::from)?;
        let heap_bytes = config.search.heap_bytes;
        let engine = Engine::new(Writer::start(&live, heap_bytes)?);
        let mut synonyms_file = SynonymsFile::new(synonyms_path(config));
        let synonyms = synonyms_file.read();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let inner = Inner {
            shelf,
            heap_bytes,
            live: RwLock::new(live),
            sources: Mutex::default(),
            db,
            synonyms: RwLock::new(Arc::new(synonyms.unwrap_or_default())),
            synonyms_file: Mutex::new(synonyms_file),
            turns: Semaphore::new(cores),
            engine: tokio::sync::Mutex::new(engine),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Says who knows a kind. To be called before [`Search::start`].
    pub fn register(&self, kind: Kind, source: Arc<dyn Source>) {
        self.inner.sources.lock().insert(kind, source);
    }

    /// Keeps the index up to date until [`Search::stop`].
    pub fn start(&self) {
        tokio::task::spawn_blocking(tongke_search::load_dictionary);
        let search = self.clone();
        self.inner
            .tasks
            .spawn(async move { search.keep_up().await });
    }

    async fn keep_up(&self) {
        while !self.inner.stop.is_cancelled() {
            let pause = match self.turn().await {
                Ok(true) => continue,
                Ok(false) => LOOK_EVERY,
                Err(error) => {
                    tracing::error!(%error, "the search index could not be brought up to date; trying again");
                    PAUSE
                }
            };
            let _ = tokio::time::timeout(pause, self.inner.stop.cancelled()).await;
        }
    }

    /// Ends the indexer. What is pending stays so until the next start.
    pub async fn stop(&self, limit: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("the search index is still being written; the next start takes it up");
        }
    }

    fn live(&self) -> Index {
        self.inner.live.read().clone()
    }
}

/// The county's own file, or the one in the data directory.
fn synonyms_path(config: &Config) -> PathBuf {
    match config.search.synonyms.as_str() {
        "" => config.server.data_dir.join("synonyms.txt"),
        path => PathBuf::from(path),
    }
}
