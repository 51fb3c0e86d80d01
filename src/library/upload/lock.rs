//! Exclusive lock on an upload's file. A new request evicts the current one, which most often
//! belongs to a closed browser.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::{Uploads, tus};
use crate::error::{Error, Result};
use crate::ids::UploadId;

/// Time that a new request waits for the current holder to release the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);

/// Lock of one upload, shared by its holder and waiters.
pub(super) struct LockEntry {
    mutex: Arc<tokio::sync::Mutex<()>>,
    /// Asks the current holder to release the lock.
    evict: CancellationToken,
}

/// Held lock; released on drop.
pub(super) struct UploadLock {
    uploads: Uploads,
    id: UploadId,
    pub(super) evict: CancellationToken,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Uploads {
    /// Acquires the lock of an upload and evicts its current holder.
    pub(super) async fn lock(&self, id: UploadId) -> Result<UploadLock> {
        let (mutex, evict) = {
            let mut locks = self
                .inner
                .locks
                .lock()
                .expect("no holder of this lock can panic");
            let evict = self.inner.stop.child_token();
            let entry = locks.entry(id).or_insert_with(|| LockEntry {
                mutex: Arc::default(),
                evict: evict.clone(),
            });
            if !entry.evict.is_cancelled() && Arc::strong_count(&entry.mutex) > 1 {
                entry.evict.cancel();
            }
            entry.evict = evict.clone();
            (entry.mutex.clone(), evict)
        };
        let guard = tokio::time::timeout(LOCK_TIMEOUT, mutex.lock_owned())
            .await
            .map_err(|_| busy())?;
        Ok(UploadLock {
            uploads: self.clone(),
            id,
            evict,
            guard: Some(guard),
        })
    }
}

impl Drop for UploadLock {
    fn drop(&mut self) {
        self.guard = None;
        let mut locks = self
            .uploads
            .inner
            .locks
            .lock()
            .expect("no holder of this lock can panic");
        // The map's own reference is the last one: no holder and no waiter is left.
        if locks
            .get(&self.id)
            .is_some_and(|entry| Arc::strong_count(&entry.mutex) == 1)
        {
            locks.remove(&self.id);
        }
    }
}

fn busy() -> Error {
    tus::protocol_error(
        axum::http::StatusCode::LOCKED,
        "upload_busy",
        "这个文件正在另一个页面上传，请稍后再试。",
        "This file is being sent by another page. Try again in a moment.",
    )
}
