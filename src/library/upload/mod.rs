//! Resumable uploads (tus 1.0).
//!
//! ```text
//! POST      row, empty file                      create · quota (quotas, free disk space)
//! PATCH     file, SHA-256, fsync, row            routes · receive · partial_file · lock
//! complete  type, object store, one transaction  finish
//! later     expiry, retries of finishing         expiry
//! ```
//!
//! The row's `received` is authoritative: an offset is acknowledged only after its bytes are on
//! disk and the row is updated. Bytes of the file beyond it are truncated when the upload resumes.
//! The row also holds the state of the SHA-256, so a restarted server continues the hash. Every
//! step of finishing may be repeated: the object store takes the same content under the same key,
//! and the transaction is a no-op once the row has a resource.

mod create;
mod expiry;
mod finish;
mod known;
mod lock;
mod partial_file;
mod quota;
mod receive;
mod routes;
mod rows;
mod tus;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::db::Db;
use crate::error::Error;
use crate::ids::{PersonId, ResourceId, UploadId};
use crate::library::content::ContentStore;
use crate::library::content::ingest::IngestOptions;
use crate::storage::Storage;
use lock::LockEntry;
use partial_file::Checkpoint;

pub use routes::routes;
pub use rows::{outcome, record_outcome};

/// Row of an upload.
#[derive(Clone, Debug)]
pub struct Upload {
    pub id: UploadId,
    pub person: PersonId,
    pub file_name: String,
    pub size_bytes: u64,
    pub checkpoint: Checkpoint,
    pub options: IngestOptions,
    /// Resource and version that the finished upload became.
    pub outcome: Option<(ResourceId, i64)>,
    pub created_at: i64,
    pub expires_at: i64,
}

impl Upload {
    pub fn is_complete(&self) -> bool {
        self.checkpoint.received == self.size_bytes
    }
}

/// Uploads of this server. Clones share them.
#[derive(Clone)]
pub struct Uploads {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    content: ContentStore,
    storage: Storage,
    folder: PathBuf,
    limits: config::Library,
    locks: Mutex<HashMap<UploadId, LockEntry>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Uploads {
    /// Opens the upload folder and finishes complete uploads of a crashed server in the background.
    pub async fn start(
        db: Db,
        storage: Storage,
        content: ContentStore,
        folder: PathBuf,
        limits: config::Library,
    ) -> io::Result<Uploads> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let (locks, stop, tasks) = Default::default();
        let uploads = Uploads {
            inner: Arc::new(Inner {
                db,
                content,
                storage,
                folder,
                limits,
                locks,
                stop,
                tasks,
            }),
        };
        let maintenance = uploads.clone();
        uploads
            .inner
            .tasks
            .spawn(async move { maintenance.run_maintenance().await });
        Ok(uploads)
    }

    /// Stops running requests after they acknowledge the bytes on disk; waits at most `limit`.
    pub async fn stop(&self, limit: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("unfinished uploads will be resumed at the next start");
        }
    }

    fn path(&self, id: UploadId) -> PathBuf {
        self.inner.folder.join(id.to_string())
    }

    fn expiry(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_hours(self.inner.limits.upload_keep_hours as i64)
    }
}

/// Runs disk I/O on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// Error of an access to the upload's file.
fn io_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => quota::disk_full(),
        _ => Error::internal(error),
    }
}
