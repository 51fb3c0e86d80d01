//! Database access: SQLite or PostgreSQL behind one pool. The same SQL runs on both.
//!
//! SQL conventions: `$1` placeholders; TEXT ids; times as BIGINT milliseconds since 1970; booleans
//! as BIGINT 0/1; JSON as TEXT; `ON CONFLICT … DO …` and `RETURNING` are allowed, engine-specific
//! functions are not.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{Any, AnyPool, Executor, Transaction};

use crate::config::Config;

/// Time after which a missing connection is an error: the database is down or overloaded.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Failure of a statement.
pub type DbError = sqlx::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

/// Connection pool and its engine. Clones share the pool.
#[derive(Clone)]
pub struct Db {
    pool: AnyPool,
    engine: Engine,
}

/// Failure to open the database.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("[database] url must start with sqlite: or postgres:, not {0:?}")]
    UnknownEngine(String),
    #[error("cannot open the database: {0}")]
    Connect(#[from] sqlx::Error),
    #[error("cannot bring the database up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl Db {
    /// Opens the configured database and runs pending migrations.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let url = match config.database.url.as_str() {
            "" => sqlite_url(&config.server.data_dir.join("tongke.db")),
            url => url.to_owned(),
        };
        Self::connect(&url, config.database.connections).await
    }

    /// Opens a database by its URL and runs pending migrations.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, OpenError> {
        install_default_drivers();
        let engine = match url.split(':').next() {
            Some("sqlite") => Engine::Sqlite,
            Some("postgres" | "postgresql") => Engine::Postgres,
            other => {
                return Err(OpenError::UnknownEngine(
                    other.unwrap_or_default().to_owned(),
                ));
            }
        };
        let options = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = match engine {
            // A file needs no check: unlike a server, it cannot disconnect between two statements.
            Engine::Sqlite => options
                .test_before_acquire(false)
                .after_connect(|connection, _| Box::pin(prepare_sqlite(connection))),
            Engine::Postgres => options,
        }
        .connect(url)
        .await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        Ok(Self { pool, engine })
    }

    /// Pool for single statements.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a read-write transaction.
    pub async fn begin(&self) -> Result<Transaction<'static, Any>, DbError> {
        match self.engine {
            // A deferred transaction that reads before it writes fails with SQLITE_BUSY if another
            // connection wrote in between.
            Engine::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Engine::Postgres => self.pool.begin().await,
        }
    }

    /// Checks that the database answers.
    pub async fn probe(&self) -> Result<(), DbError> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map(drop)
    }

    /// Waits for running statements and closes the pool.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// URL of a SQLite file, which is created if it is missing.
pub fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}?mode=rwc", path.display())
}

async fn prepare_sqlite(connection: &mut sqlx::AnyConnection) -> Result<(), DbError> {
    // WAL does not block readers while a writer works; FULL makes commits survive a power cut.
    for pragma in [
        "PRAGMA busy_timeout = 10000",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
    ] {
        connection.execute(pragma).await?;
    }
    Ok(())
}

/// Converts a time to its column value, milliseconds since 1970.
pub fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// Converts a column value to a time; clamps values out of range.
pub fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// Returns true if a statement violated a unique constraint.
pub fn is_unique_violation(error: &DbError) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation())
}

/// Returns true if a statement violated a foreign key: the row is still referenced, or references a
/// missing row.
pub fn is_foreign_key_violation(error: &DbError) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_foreign_key_violation())
}

/// Row limit of unpaginated lists; a county has hundreds of schools and thousands of classrooms.
pub const MAX_ROWS: u32 = 5000;

/// Returns `$from, $from+1, …`, the placeholders of `count` values.
pub fn placeholders(from: usize, count: usize) -> String {
    (from..from + count)
        .map(|n| format!("${n}"))
        .collect::<Vec<_>>()
        .join(", ")
}
