//! Content-addressed storage: each file is stored once under its SHA-256, and every resource
//! version with that content refers to it.

pub mod garbage;
pub mod ingest;
pub mod sniff;

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::db::Db;
use crate::jobs::Jobs;
use crate::storage::Storage;

/// Content and the resources that refer to it. Clones share it.
#[derive(Clone)]
pub struct ContentStore {
    pub db: Db,
    pub storage: Storage,
    jobs: Jobs,
    /// Read-locked while content is stored and gets its row, write-locked while unreferenced
    /// content is removed.
    garbage_lock: Arc<RwLock<()>>,
}

impl ContentStore {
    pub fn new(db: Db, storage: Storage, jobs: Jobs) -> ContentStore {
        ContentStore {
            db,
            storage,
            jobs,
            garbage_lock: Arc::default(),
        }
    }

    /// Keeps the garbage collector from removing content until the guard is dropped.
    pub async fn pause_garbage_collection(&self) -> OwnedRwLockReadGuard<()> {
        self.garbage_lock.clone().read_owned().await
    }
}
