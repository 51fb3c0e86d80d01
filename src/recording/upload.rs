//! Upload of spooled files to the object store.
//!
//! Order: put the object, mark its row as stored, remove the spool file. A crash between two steps
//! repeats a step, which is harmless. While the store is unavailable, files stay in the spool and
//! are retried.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::spool::{LayerFile, LayerKey, Spool};
use crate::db::{Db, DbError};
use crate::storage::{Key, Storage, StorageError};

/// Concurrent uploads: a lesson produces at most a few dozen files a second, and a store answers
/// within 100 ms.
const MAX_CONCURRENT: usize = 8;
/// Backoff after a failed attempt; doubles up to the maximum.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Queue of complete files in the spool. Clones share it.
#[derive(Clone)]
pub struct UploadQueue {
    queue: mpsc::UnboundedSender<(LayerKey, LayerFile)>,
}

#[derive(Clone)]
struct Uploader {
    db: Db,
    storage: Storage,
    spool: Spool,
}

#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("the store: {0}")]
    Storage(#[from] StorageError),
    #[error("the database: {0}")]
    Db(#[from] DbError),
    #[error("the spool: {0}")]
    Spool(#[from] std::io::Error),
    #[error("the catalogue has no row of it yet")]
    MissingRow,
}

impl UploadQueue {
    /// Starts the uploads. The queue holds one name per spooled file, so the spool's limit bounds
    /// it.
    pub fn start(db: Db, storage: Storage, spool: Spool) -> UploadQueue {
        let (queue, incoming) = mpsc::unbounded_channel();
        tokio::spawn(run(Uploader { db, storage, spool }, incoming));
        UploadQueue { queue }
    }

    /// Queues a complete file of the spool.
    pub fn enqueue(&self, layer_key: LayerKey, layer_file: LayerFile) {
        // The upload task runs as long as the server.
        let _ = self.queue.send((layer_key, layer_file));
    }
}

async fn run(uploader: Uploader, mut incoming: mpsc::UnboundedReceiver<(LayerKey, LayerFile)>) {
    let slots = Arc::new(Semaphore::new(MAX_CONCURRENT));
    while let Some((layer_key, layer_file)) = incoming.recv().await {
        let slot = slots.clone().acquire_owned().await.expect("never closed");
        let uploader = uploader.clone();
        tokio::spawn(async move {
            uploader.upload_with_retry(layer_key, layer_file).await;
            metrics::gauge!(crate::metrics::RECORDING_SPOOL_BYTES)
                .set(uploader.spool.used_bytes() as f64);
            drop(slot);
        });
    }
}

impl Uploader {
    /// Uploads a file, retrying until it succeeds or the file is gone.
    async fn upload_with_retry(&self, layer_key: LayerKey, layer_file: LayerFile) {
        let mut backoff = MIN_BACKOFF;
        while let Err(error) = self.upload(layer_key, layer_file).await {
            if !matches!(error, UploadError::MissingRow) {
                metrics::counter!(crate::metrics::RECORDING_UPLOAD_FAILURES).increment(1);
                metrics::gauge!(crate::metrics::RECORDING_SPOOL_BYTES)
                    .set(self.spool.used_bytes() as f64);
                tracing::warn!(%error, lesson.id = %layer_key.lesson, track = %layer_key.track, ?layer_file, "a recorded file could not be uploaded");
            }
            if is_gone(&error) {
                return;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    async fn upload(&self, layer_key: LayerKey, layer_file: LayerFile) -> Result<(), UploadError> {
        let path = self.spool.path(layer_key, layer_file);
        let bytes = tokio::fs::read(&path).await?;
        self.storage
            .put(&object_key(layer_key, layer_file), bytes.into())
            .await?;
        if !self.mark_stored(layer_key, layer_file).await? {
            return Err(UploadError::MissingRow);
        }
        self.spool.remove(layer_key, layer_file)?;
        Ok(())
    }

    /// Sets `stored`; returns false if the row is not written yet.
    async fn mark_stored(
        &self,
        layer_key: LayerKey,
        layer_file: LayerFile,
    ) -> Result<bool, DbError> {
        let (statement, number) = match layer_file {
            LayerFile::Init(number) => (
                "UPDATE recording_inits SET stored = 1 WHERE track_id = $1 AND layer = $2 AND number = $3",
                number,
            ),
            LayerFile::Segment { number, .. } => (
                "UPDATE recording_segments SET stored = 1 WHERE track_id = $1 AND layer = $2 AND number = $3",
                number,
            ),
        };
        let changed = sqlx::query(statement)
            .bind(layer_key.track)
            .bind(i64::from(layer_key.layer))
            .bind(i64::from(number))
            .execute(self.db.pool())
            .await?;
        Ok(changed.rows_affected() > 0)
    }
}

/// Returns true if the file is not in the spool: it was uploaded before.
fn is_gone(error: &UploadError) -> bool {
    matches!(error, UploadError::Spool(error) if error.kind() == std::io::ErrorKind::NotFound)
}

/// Object key of a spooled file.
pub fn object_key(layer_key: LayerKey, layer_file: LayerFile) -> Key {
    let track = layer_key.track.to_string();
    match layer_file {
        LayerFile::Init(number) => {
            Key::init(layer_key.lesson, &track, layer_key.layer, number.into())
        }
        LayerFile::Segment { number, .. } => {
            Key::segment(layer_key.lesson, &track, layer_key.layer, number.into())
        }
    }
}
