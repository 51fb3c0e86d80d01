//! Takes up what is pending, a batch at a time. One turn does everything in order, so an index being built anew never misses a change: what is
//! pending goes into both before a row is deleted, and what the rebuild reads is read in the same task.

use std::sync::Arc;

use tongke_search::{Change, Document, Index, Key, Writer};
use uuid::Uuid;

use crate::db::DbError;
use crate::error::Error;

use super::rebuild::Rebuild;
use super::{Kind, Search};
use crate::index_queue::{self, Pending};

/// Changes taken up at a time.
const BATCH: u32 = 500;
/// Text written at a time: what a batch may hold in memory.
const BATCH_BYTES: usize = 16 << 20;

/// What the indexer holds.
pub struct Engine {
    pub writer: Arc<Writer>,
    pub rebuild: Option<Rebuild>,
}

/// Why a turn ended early. Nothing is lost: the rows are still there.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Index(#[from] tongke_search::Error),
    #[error("a feature could not tell what it has: {0}")]
    Source(Error),
    #[error("the indexer panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl Engine {
    pub fn new(writer: Writer) -> Self {
        Self {
            writer: Arc::new(writer),
            rebuild: None,
        }
    }
}

impl Search {
    /// One turn: some of what is pending, and some of a rebuild that was ordered. True when there may be more to do.
    pub(super) async fn turn(&self) -> Result<bool, TurnError> {
        let mut engine = self.inner.engine.lock().await;
        self.reload_synonyms();
        let taken = self.take_up(&engine).await?;
        let rebuilding = self.rebuild_some(&mut engine).await?;
        Ok(taken || rebuilding)
    }

    /// Everything that is pending now, for tests that do not wait.
    #[cfg(test)]
    pub async fn catch_up(&self) {
        while self.turn().await.expect("the index can be written") {}
    }

    async fn take_up(&self, engine: &Engine) -> Result<bool, TurnError> {
        let due = index_queue::due(&self.inner.db, BATCH).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let (mut changes, mut told, mut bytes) = (Vec::new(), Vec::new(), 0);
        for change in due {
            match self.tell(&change).await {
                Ok((key, document)) => {
                    bytes += document.as_ref().map_or(0, size);
                    changes.push(document.map_or(Change::Remove(key.clone()), |document| {
                        Change::Put(key, Box::new(document))
                    }));
                    told.push(change);
                }
                Err(error) => self.give_up_for_now(&change, &error).await?,
            }
            if bytes > BATCH_BYTES {
                break;
            }
        }
        // Before the new name is in the index, after which nobody could tell that it is new.
        self.mark_mentions(renamed(&self.live(), &changes)?).await?;
        if let Some(rebuild) = &engine.rebuild {
            apply(&rebuild.writer, changes.clone()).await?;
        }
        apply(&engine.writer, changes).await?;
        index_queue::done(&self.inner.db, &told).await?;
        Ok(true)
    }

    async fn tell(&self, change: &Pending) -> Result<(Key, Option<Document>), Error> {
        let id: Uuid = change.id.parse().map_err(Error::internal)?;
        Ok((
            Key::new(change.kind.as_str(), id),
            self.document(change.kind, id).await?,
        ))
    }

    /// What the kind's feature tells of it.
    pub(super) async fn document(&self, kind: Kind, id: Uuid) -> Result<Option<Document>, Error> {
        let source = self.inner.sources.lock().get(&kind).cloned();
        let source =
            source.ok_or_else(|| Error::internal(format!("nobody knows what a {kind} is")))?;
        source.document(id).await
    }

    async fn give_up_for_now(&self, change: &Pending, error: &Error) -> Result<(), DbError> {
        tracing::warn!(kind = %change.kind, id = change.id, %error, "something could not be indexed; it is tried again");
        index_queue::failed(&self.inner.db, change, &error.to_string()).await
    }

    /// Documents show the names of their author and school: a new name changes them too.
    async fn mark_mentions(&self, renamed: Vec<Uuid>) -> Result<(), TurnError> {
        for id in renamed {
            let keys = self.live().referencing(id)?;
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

/// People and schools among the changes that are called otherwise than the index has it, or belong elsewhere.
fn renamed(live: &Index, changes: &[Change]) -> Result<Vec<Uuid>, tongke_search::Error> {
    let names = [Kind::Person.as_str(), Kind::School.as_str()];
    let mut renamed = Vec::new();
    for change in changes {
        let Change::Put(key, document) = change else {
            continue;
        };
        if names.contains(&key.kind.as_str())
            && live
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

/// Writes in the writer's own thread and waits for it.
pub async fn apply(writer: &Arc<Writer>, changes: Vec<Change>) -> Result<(), TurnError> {
    let writer = writer.clone();
    Ok(tokio::task::spawn_blocking(move || writer.apply(changes)).await??)
}

pub fn size(document: &Document) -> usize {
    document.body.len() + document.pages.iter().map(String::len).sum::<usize>()
}
