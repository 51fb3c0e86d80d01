//! Resumable uploads (tus 1.0).
//!
//! ```text
//! POST  → row, empty file              routes · limits (quotas, room on the disk)
//! PATCH → file, SHA-256, fsync, row    receive · part     an offset is told only when its bytes are on the disk and the row says so
//! whole → type, object store, one transaction, file gone     finish
//! ```
//!
//! The row's `received` is the truth; bytes of the file behind it were never acknowledged and are cut off when the upload goes on. The hash's
//! state stands in the same row, so a killed server goes on hashing where it was. Every step of the end may be repeated: the store takes the
//! same content under the same key, and the transaction is done by whoever finds the row without a resource.

mod finish;
mod partial_file;
mod quota;
mod receive;
mod routes;
mod tus;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::db::{Db, DbError, millis};
use crate::error::{Error, Result};
use crate::ids::{CollectionId, PersonId, ResourceId, UploadId};
use crate::library::Visibility;
use crate::library::content::ingest::Shelf;
use crate::library::resources::description::Description;
use crate::storage::Storage;
use partial_file::{Checkpoint, Part};

pub use quota::used_by_person;
pub use routes::routes;

/// A newcomer waits this long for the request that has the upload to let go.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often expired uploads are removed, and whole ones that could not be finished are tried again.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What the uploader wants to become of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// A new version of this one.
    pub resource: Option<ResourceId>,
    /// What changed in it.
    pub changes: String,
    /// The folder that it lay in, as a hint to what it is about.
    pub folder: String,
    pub collection: Option<CollectionId>,
    pub visibility: Option<Visibility>,
    pub description: Description,
}

/// An upload as its row has it.
#[derive(Clone, Debug)]
pub struct Upload {
    pub id: UploadId,
    pub person: PersonId,
    pub file_name: String,
    pub size_bytes: u64,
    pub checkpoint: Checkpoint,
    pub wish: Wish,
    /// What it became.
    pub resource: Option<(ResourceId, i64)>,
    pub created_at: i64,
    pub expires_at: i64,
}

impl Upload {
    pub fn is_whole(&self) -> bool {
        self.checkpoint.received == self.size_bytes
    }
}

/// The uploads of this server. Cloning shares them.
#[derive(Clone)]
pub struct Uploads {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    shelf: Shelf,
    storage: Storage,
    folder: PathBuf,
    limits: config::Library,
    holders: Mutex<HashMap<UploadId, Holder>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Whose turn it is at an upload's file.
struct Holder {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Tells the request that has it to let go.
    leave: CancellationToken,
}

/// One request's turn at an upload's file.
struct Turn {
    uploads: Uploads,
    id: UploadId,
    leave: CancellationToken,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Uploads {
    /// Opens the folder and finishes, in the background, what a crash left whole.
    pub async fn start(
        db: Db,
        storage: Storage,
        shelf: Shelf,
        folder: PathBuf,
        limits: config::Library,
    ) -> io::Result<Uploads> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let (holders, stop, tasks) = Default::default();
        let uploads = Uploads {
            inner: Arc::new(Inner {
                db,
                shelf,
                storage,
                folder,
                limits,
                holders,
                stop,
                tasks,
            }),
        };
        let sweeper = uploads.clone();
        uploads
            .inner
            .tasks
            .spawn(async move { sweeper.sweep().await });
        Ok(uploads)
    }

    /// Lets running uploads write down what they have, no longer than `limit`.
    pub async fn stop(&self, limit: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("uploads still being finished will be taken up at the next start");
        }
    }

    /// Writes the row after the empty file is there.
    async fn create(&self, upload: &Upload) -> Result<()> {
        let path = self.path(upload.id);
        blocking(move || Part::create(&path))
            .await
            .map_err(failed)?;
        sqlx::query(
            "INSERT INTO uploads (id, person_id, file_name, size_bytes, received, hasher, wish, created_at, expires_at)
             VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8)",
        )
        .bind(upload.id)
        .bind(upload.person)
        .bind(&upload.file_name)
        .bind(upload.size_bytes as i64)
        .bind(&upload.checkpoint.hasher)
        .bind(serde_json::to_string(&upload.wish).map_err(Error::internal)?)
        .bind(upload.created_at)
        .bind(upload.expires_at)
        .execute(self.inner.db.pool())
        .await?;
        Ok(())
    }

    async fn find(&self, id: UploadId) -> Result<Option<Upload>, DbError> {
        Ok(self.rows("WHERE id = $1", id.to_string()).await?.pop())
    }

    /// Unfinished uploads of a person, the newest first.
    async fn unfinished(&self, person: PersonId) -> Result<Vec<Upload>, DbError> {
        self.rows(
            "WHERE person_id = $1 AND resource_id IS NULL ORDER BY created_at DESC, id DESC",
            person.to_string(),
        )
        .await
    }

    async fn rows(&self, which: &str, value: String) -> Result<Vec<Upload>, DbError> {
        let query = format!(
            "SELECT id, person_id, file_name, size_bytes, received, hasher, wish, resource_id, version, created_at, expires_at
             FROM uploads {which} LIMIT {}",
            crate::db::MAX_ROWS
        );
        let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(value)
            .fetch_all(self.inner.db.pool())
            .await?;
        Ok(rows.into_iter().map(Row::upload).collect())
    }

    /// The bytes are on the disk; when this returns, the offset may be told.
    async fn acknowledge(
        &self,
        id: UploadId,
        checkpoint: &Checkpoint,
    ) -> Result<Timestamp, DbError> {
        let expires = self.expiry();
        sqlx::query("UPDATE uploads SET received = $2, hasher = $3, expires_at = $4 WHERE id = $1")
            .bind(id)
            .bind(checkpoint.received as i64)
            .bind(&checkpoint.hasher)
            .bind(millis(expires))
            .execute(self.inner.db.pool())
            .await?;
        Ok(expires)
    }

    /// Forgets an upload: first its row, then its file.
    async fn remove(&self, id: UploadId) -> Result<(), DbError> {
        sqlx::query("DELETE FROM uploads WHERE id = $1")
            .bind(id)
            .execute(self.inner.db.pool())
            .await?;
        self.remove_file(id).await;
        Ok(())
    }

    async fn remove_file(&self, id: UploadId) {
        // What stays is removed by the next start's sweep.
        let _ = tokio::fs::remove_file(self.path(id)).await;
    }

    fn path(&self, id: UploadId) -> PathBuf {
        self.inner.folder.join(id.to_string())
    }

    fn expiry(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_hours(self.inner.limits.upload_keep_hours as i64)
    }

    /// Takes the turn at an upload's file. A request that has it already (of a browser that is gone, most often) is told to let go.
    async fn turn(&self, id: UploadId) -> Result<Turn> {
        let (turn, leave) = {
            let mut holders = self
                .inner
                .holders
                .lock()
                .expect("no holder of this lock can panic");
            let leave = self.inner.stop.child_token();
            let holder = holders.entry(id).or_insert_with(|| Holder {
                turn: Arc::default(),
                leave: leave.clone(),
            });
            if !holder.leave.is_cancelled() && Arc::strong_count(&holder.turn) > 1 {
                holder.leave.cancel();
            }
            holder.leave = leave.clone();
            (holder.turn.clone(), leave)
        };
        let guard = tokio::time::timeout(PATIENCE, turn.lock_owned())
            .await
            .map_err(|_| busy())?;
        Ok(Turn {
            uploads: self.clone(),
            id,
            leave,
            guard: Some(guard),
        })
    }

    /// Removes what expired and finishes what is whole, over and over.
    async fn sweep(&self) {
        if let Err(error) = self.remove_strays().await {
            tracing::warn!(%error, "files of forgotten uploads could not be removed");
        }
        loop {
            if let Err(error) = self.sweep_once(Timestamp::now()).await {
                tracing::warn!(%error, "uploads could not be swept; trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(SWEEP_EVERY) => {}
                () = self.inner.stop.cancelled() => return,
            }
        }
    }

    /// A whole upload is never expired: it waits for the store.
    pub(super) async fn sweep_once(&self, now: Timestamp) -> Result<(), DbError> {
        let expired = "WHERE expires_at <= CAST($1 AS BIGINT) AND (received < size_bytes OR resource_id IS NOT NULL)";
        for upload in self.rows(expired, millis(now).to_string()).await? {
            self.remove(upload.id).await?;
        }
        for upload in self
            .rows(
                "WHERE received = size_bytes AND resource_id IS NULL AND id <> $1",
                String::new(),
            )
            .await?
        {
            let id = upload.id;
            if let Err(error) = self.finish_in_turn(id).await {
                tracing::warn!(%error, upload.id = %id, "a whole upload could not be finished; trying again");
            }
        }
        Ok(())
    }

    /// Files without an unfinished row, left by a crash between row and file.
    async fn remove_strays(&self) -> Result<(), Error> {
        let mut files = tokio::fs::read_dir(&self.inner.folder)
            .await
            .map_err(Error::internal)?;
        while let Some(file) = files.next_entry().await.map_err(Error::internal)? {
            let Some(id) = file
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<UploadId>().ok())
            else {
                continue;
            };
            let age = file
                .metadata()
                .await
                .ok()
                .and_then(|meta| meta.modified().ok())
                .and_then(|at| at.elapsed().ok());
            // A file is made a moment before its row.
            let is_settled = age.is_some_and(|age| age > SWEEP_EVERY);
            if is_settled
                && self
                    .find(id)
                    .await?
                    .is_none_or(|upload| upload.resource.is_some())
            {
                self.remove_file(id).await;
            }
        }
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut holders = self
            .uploads
            .inner
            .holders
            .lock()
            .expect("no holder of this lock can panic");
        // Nobody has it or waits for it any more.
        if holders
            .get(&self.id)
            .is_some_and(|holder| Arc::strong_count(&holder.turn) == 1)
        {
            holders.remove(&self.id);
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: UploadId,
    person_id: PersonId,
    file_name: String,
    size_bytes: i64,
    received: i64,
    hasher: String,
    wish: String,
    resource_id: Option<ResourceId>,
    version: Option<i64>,
    created_at: i64,
    expires_at: i64,
}

impl Row {
    fn upload(self) -> Upload {
        Upload {
            id: self.id,
            person: self.person_id,
            file_name: self.file_name,
            size_bytes: self.size_bytes as u64,
            checkpoint: Checkpoint {
                received: self.received as u64,
                hasher: self.hasher,
            },
            wish: serde_json::from_str(&self.wish).unwrap_or_default(),
            resource: self.resource_id.zip(self.version),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

/// Runs what waits for the disk where it may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// A failed access to the upload's file.
fn failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => quota::disk_full(),
        _ => Error::internal(error),
    }
}

fn busy() -> Error {
    tus::refused(
        axum::http::StatusCode::LOCKED,
        "upload_busy",
        "这个文件正在另一个页面上传，请稍后再试。",
        "This file is being sent by another page. Try again in a moment.",
    )
}
