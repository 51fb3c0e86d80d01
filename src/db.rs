//! The one module that knows which database is behind us: SQLite beside the server, or PostgreSQL. The same SQL runs on both.
//!
//! House rules of our SQL: `$1` placeholders; TEXT ids; times as BIGINT milliseconds since 1970; truth values as BIGINT 0/1;
//! JSON as TEXT; `ON CONFLICT … DO …` and `RETURNING` are allowed, engine functions are not.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{Any, AnyPool, Executor, Transaction};

use crate::config::Config;

/// Waiting longer than this for a connection means that the database is away or overwhelmed.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// A failed statement.
pub type DbError = sqlx::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

/// The pool and the engine behind it. Cloning shares it.
#[derive(Clone)]
pub struct Db {
    pool: AnyPool,
    engine: Engine,
}

/// Why the database cannot be used.
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
    /// Opens the configured database and brings it up to date.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let url = match config.database.url.as_str() {
            "" => sqlite_url(&config.server.data_dir.join("tongke.db")),
            url => url.to_owned(),
        };
        Self::connect(&url, config.database.connections).await
    }

    /// Opens a database by its address and brings it up to date.
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
            // A file does not go away between two statements, as a server may.
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

    /// For single statements.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// A transaction for several statements, writing ones included.
    pub async fn begin(&self) -> Result<Transaction<'static, Any>, DbError> {
        match self.engine {
            // A deferred transaction that reads first and writes later fails with SQLITE_BUSY when another wrote in between.
            Engine::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Engine::Postgres => self.pool.begin().await,
        }
    }

    /// Whether the database answers.
    pub async fn probe(&self) -> Result<(), DbError> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map(drop)
    }

    /// Waits for running statements and closes.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// The address of a SQLite file, made if it is missing.
pub fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}?mode=rwc", path.display())
}

async fn prepare_sqlite(connection: &mut sqlx::AnyConnection) -> Result<(), DbError> {
    // WAL lets readers go on while one writes; FULL keeps what was committed through a power cut.
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

/// Milliseconds since 1970, as a column holds a time.
pub fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// The time that a column holds; a value out of range reads as the nearest time there is.
pub fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// Whether a statement failed because a row with that unique value exists.
pub fn is_duplicate(error: &DbError) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation())
}

/// Whether a statement failed because another row points here, or to a row that does not exist.
pub fn is_dangling(error: &DbError) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_foreign_key_violation())
}

/// No list is longer than this; a county has hundreds of schools and thousands of rooms.
pub const MAX_ROWS: u32 = 5000;

/// `$from, $from+1, …`: the placeholders of a list of `count` values.
pub fn placeholders(from: usize, count: usize) -> String {
    (from..from + count)
        .map(|n| format!("${n}"))
        .collect::<Vec<_>>()
        .join(", ")
}
