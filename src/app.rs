//! What every handler can reach, and how the server starts and stops.

use std::sync::Arc;

use crate::bus::Bus;
use crate::config::Config;
use crate::db::Db;
use crate::jobs::Jobs;
use crate::storage::Storage;

/// The server's parts; axum's state. Cloning shares them.
#[derive(Clone)]
pub struct App {
    pub config: Arc<Config>,
    pub db: Db,
    pub storage: Storage,
    pub bus: Bus,
    pub jobs: Jobs,
}
