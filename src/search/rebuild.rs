//! The index built anew: beside the one that answers, a batch per turn, and in its place when it has everything. The order is a row, so a crash
//! in the middle begins it again, and another process (`tongke search rebuild`) can give it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tongke_search::{Change, Index, Key, Writer};
use uuid::Uuid;

use crate::db::{Db, DbError, millis};

use super::indexer::{Engine, TurnError, apply, size};
use super::{Kind, LOOK_EVERY, Search};
use crate::index_queue;

/// Documents read per turn; between turns what is pending goes first.
const BATCH: u32 = 300;
/// Text written at a time.
const BATCH_BYTES: usize = 16 << 20;
/// A running server takes an order up sooner, unless it is busy with one that was given before.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(10);

/// In this order; people first, so that names are there soon.
const KINDS: [Kind; 5] = [
    Kind::Person,
    Kind::School,
    Kind::Recording,
    Kind::Collection,
    Kind::Resource,
];

/// A rebuild on its way.
pub struct Rebuild {
    /// The order that it fulfils, and all that were given before it.
    order: Order,
    index: Index,
    pub writer: Arc<Writer>,
    kind: usize,
    after: Option<Uuid>,
    done: i64,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Order {
    id: String,
    pub requested_at: i64,
    pub done: Option<i64>,
}

/// Orders a rebuild.
pub async fn order(db: &Db) -> Result<String, DbError> {
    let id = Uuid::now_v7().to_string();
    sqlx::query("INSERT INTO search_rebuilds (id, requested_at, done) VALUES ($1, $2, NULL)")
        .bind(&id)
        .bind(millis(Timestamp::now()))
        .execute(db.pool())
        .await?;
    Ok(id)
}

/// The youngest order; it stands for all before it.
pub async fn ordered(db: &Db) -> Result<Option<Order>, DbError> {
    sqlx::query_as("SELECT id, requested_at, done FROM search_rebuilds ORDER BY id DESC LIMIT 1")
        .fetch_optional(db.pool())
        .await
}

/// Orders a rebuild from another process and tells how it goes, until it is done or it is clear that no server takes it up.
pub async fn follow(db: &Db, mut tell: impl FnMut(String)) -> Result<(), DbError> {
    let id = order(db).await?;
    let ordered_at = Instant::now();
    let mut known = None;
    loop {
        let row: Option<(Option<i64>,)> =
            sqlx::query_as("SELECT done FROM search_rebuilds WHERE id = $1")
                .bind(&id)
                .fetch_optional(db.pool())
                .await?;
        let Some((done,)) = row else {
            break tell("The search index has been built anew.".into());
        };
        if done.is_none() && ordered_at.elapsed() > TAKEN_UP_WITHIN {
            break tell(
                "No server has taken the order up yet; the next one that starts will.".into(),
            );
        }
        if let Some(documents) = done.filter(|_| done != known) {
            tell(format!("{documents} documents …"));
        }
        known = done;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

impl Search {
    /// Takes the rebuild that was ordered a step on. True while there is one.
    pub(super) async fn rebuild_some(&self, engine: &mut Engine) -> Result<bool, TurnError> {
        let rebuild = match &mut engine.rebuild {
            Some(rebuild) => rebuild,
            None => match ordered(&self.inner.db).await? {
                Some(order) => engine.rebuild.insert(self.begin(order).await?),
                None => return Ok(false),
            },
        };
        if !self.read_some(rebuild).await? {
            return Ok(true);
        }
        if let Some(rebuild) = engine.rebuild.take() {
            self.replace(engine, rebuild).await?;
        }
        Ok(true)
    }

    async fn begin(&self, order: Order) -> Result<Rebuild, TurnError> {
        tracing::info!("the search index is being built anew");
        let index = self.inner.shelf.create()?;
        let writer = Arc::new(Writer::start(&index, self.inner.heap_bytes)?);
        let rebuild = Rebuild {
            order,
            index,
            writer,
            kind: 0,
            after: None,
            done: 0,
        };
        self.tell_progress(&rebuild).await?;
        Ok(rebuild)
    }

    /// Reads a batch into the new index. True when there was nothing left to read.
    async fn read_some(&self, rebuild: &mut Rebuild) -> Result<bool, TurnError> {
        let Some(kind) = KINDS.get(rebuild.kind) else {
            return Ok(true);
        };
        let source = self.inner.sources.lock().get(kind).cloned();
        let ids = match source {
            Some(source) => source
                .ids(rebuild.after, BATCH)
                .await
                .map_err(TurnError::Source)?,
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
                    bytes += size(&document);
                    changes.push(Change::Put(Key::new(kind.as_str(), id), Box::new(document)));
                }
                Ok(None) => {}
                // It goes the way of all changes, which tells of it and tries again.
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
        self.tell_progress(rebuild).await?;
        Ok(false)
    }

    async fn tell_progress(&self, rebuild: &Rebuild) -> Result<(), DbError> {
        sqlx::query("UPDATE search_rebuilds SET done = $2 WHERE id <= $1")
            .bind(&rebuild.order.id)
            .bind(rebuild.done)
            .execute(self.inner.db.pool())
            .await
            .map(drop)
    }

    /// From now on the new index answers, after a crash too.
    async fn replace(&self, engine: &mut Engine, rebuild: Rebuild) -> Result<(), TurnError> {
        self.inner.shelf.activate(&rebuild.index)?;
        *self.inner.live.write() = rebuild.index.clone();
        engine.writer = rebuild.writer;
        if let Err(error) = self.inner.shelf.remove_others(&rebuild.index) {
            tracing::warn!(%error, "the old search index could not be removed");
        }
        sqlx::query("DELETE FROM search_rebuilds WHERE id <= $1")
            .bind(&rebuild.order.id)
            .execute(self.inner.db.pool())
            .await?;
        tracing::info!(
            documents = rebuild.done,
            "the search index has been built anew"
        );
        Ok(())
    }
}
