//! From the spool into the object store. Order: the store has the object, the catalogue says so, the spool gives the file up; a crash between
//! any two of them repeats a step, and repeating is harmless. While the store is away, files stay in the spool and are tried again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::spool::{Piece, Place, Spool};
use crate::db::{Db, DbError};
use crate::storage::{Key, Storage, StorageError};

/// Files on their way at a time: a lesson makes a few dozen a second at most, and a store answers within a tenth.
const IN_FLIGHT: usize = 8;
/// Pause after a failed try; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where recorded files are announced. Cloning shares it.
#[derive(Clone)]
pub struct Uploads {
    queue: mpsc::UnboundedSender<(Place, Piece)>,
}

/// What an upload works with.
#[derive(Clone)]
struct Courier {
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
    #[error("the catalogue does not know it yet")]
    NotWritten,
}

impl Uploads {
    /// Starts to carry files. The queue holds a name per file in the spool, which is bounded by its size.
    pub fn start(db: Db, storage: Storage, spool: Spool) -> Uploads {
        let (queue, incoming) = mpsc::unbounded_channel();
        tokio::spawn(carry(Courier { db, storage, spool }, incoming));
        Uploads { queue }
    }

    /// A whole file lies in the spool.
    pub fn add(&self, place: Place, piece: Piece) {
        // The carrier lives as long as the server.
        let _ = self.queue.send((place, piece));
    }
}

async fn carry(courier: Courier, mut incoming: mpsc::UnboundedReceiver<(Place, Piece)>) {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    while let Some((place, piece)) = incoming.recv().await {
        let slot = slots.clone().acquire_owned().await.expect("never closed");
        let courier = courier.clone();
        tokio::spawn(async move {
            courier.deliver(place, piece).await;
            metrics::gauge!(crate::metrics::RECORDING_SPOOL_BYTES)
                .set(courier.spool.used_bytes() as f64);
            drop(slot);
        });
    }
}

impl Courier {
    /// Tries until the file is stored.
    async fn deliver(&self, place: Place, piece: Piece) {
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.store(place, piece).await {
            if !matches!(error, UploadError::NotWritten) {
                metrics::counter!(crate::metrics::RECORDING_UPLOAD_FAILURES).increment(1);
                metrics::gauge!(crate::metrics::RECORDING_SPOOL_BYTES)
                    .set(self.spool.used_bytes() as f64);
                tracing::warn!(%error, lesson.id = %place.lesson, track = %place.track, ?piece, "a recorded file waits in the spool");
            }
            if is_gone(&error) {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn store(&self, place: Place, piece: Piece) -> Result<(), UploadError> {
        let path = self.spool.path(place, piece);
        let bytes = tokio::fs::read(&path).await?;
        self.storage.put(&key(place, piece), bytes.into()).await?;
        if !self.mark_stored(place, piece).await? {
            return Err(UploadError::NotWritten);
        }
        self.spool.remove(place, piece)?;
        Ok(())
    }

    /// False when the ledger has not written the row yet.
    async fn mark_stored(&self, place: Place, piece: Piece) -> Result<bool, DbError> {
        let (statement, number) = match piece {
            Piece::Init(number) => (
                "UPDATE recording_inits SET stored = 1 WHERE track_id = $1 AND layer = $2 AND number = $3",
                number,
            ),
            Piece::Segment { number, .. } => (
                "UPDATE recording_segments SET stored = 1 WHERE track_id = $1 AND layer = $2 AND number = $3",
                number,
            ),
        };
        let changed = sqlx::query(statement)
            .bind(place.track)
            .bind(i64::from(place.layer))
            .bind(i64::from(number))
            .execute(self.db.pool())
            .await?;
        Ok(changed.rows_affected() > 0)
    }
}

/// The file is not in the spool: it was delivered before.
fn is_gone(error: &UploadError) -> bool {
    matches!(error, UploadError::Spool(error) if error.kind() == std::io::ErrorKind::NotFound)
}

/// Where the store keeps a file of the spool.
pub fn key(place: Place, piece: Piece) -> Key {
    let track = place.track.to_string();
    match piece {
        Piece::Init(number) => Key::init(place.lesson, &track, place.layer, number.into()),
        Piece::Segment { number, .. } => {
            Key::segment(place.lesson, &track, place.layer, number.into())
        }
    }
}
