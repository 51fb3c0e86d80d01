//! Lease of the database: one server at a time works on it. A second one would run the same lessons and
//! treat this one's running jobs as interrupted by a crash.
//!
//! The holder is the data directory, which a file lock already gives to one process: a server that was
//! killed gets its own lease back at once, another server waits for the expiry. A server that finds
//! another holder in the row stops: its lessons and jobs are the other's now.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::db::{Db, DbError, millis, time};

/// Time after the last renewal at which another server may take over.
const LIFETIME: SignedDuration = SignedDuration::from_secs(30);
/// Five renewals may fail before the lease expires.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// The only lease there is.
const NAME: &str = "server";

/// Errors of acquiring the lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(
        "another tongke is using this database; stop it first (if it was killed on another machine, \
         wait until {until} and start again)"
    )]
    Held { until: Timestamp },
    #[error("the file {path} cannot be used: {cause}")]
    HolderFile { path: String, cause: std::io::Error },
    #[error("the database failed: {0}")]
    Db(#[from] DbError),
}

/// The lease while this server runs.
#[derive(Clone)]
pub struct Lease {
    db: Db,
    holder: String,
}

impl Lease {
    /// Acquires the lease for the data directory, or fails with the time at which it expires.
    pub async fn acquire(db: &Db, data_dir: &Path, now: Timestamp) -> Result<Self, LeaseError> {
        let lease = Self {
            db: db.clone(),
            holder: holder_of(data_dir)?,
        };
        if lease.renew(now).await? {
            return Ok(lease);
        }
        let held: Option<(i64,)> =
            sqlx::query_as("SELECT expires_at FROM server_lease WHERE name = $1")
                .bind(NAME)
                .fetch_optional(db.pool())
                .await?;
        Err(LeaseError::Held {
            until: held.map_or(now, |(until,)| time(until)),
        })
    }

    /// Extends the lease. Returns false if another server holds it.
    async fn renew(&self, now: Timestamp) -> Result<bool, DbError> {
        let written = sqlx::query(
            "INSERT INTO server_lease (name, holder, expires_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
             WHERE server_lease.holder = excluded.holder OR server_lease.expires_at <= $4",
        )
        .bind(NAME)
        .bind(&self.holder)
        .bind(millis(now + LIFETIME))
        .bind(millis(now))
        .execute(self.db.pool())
        .await?;
        Ok(written.rows_affected() > 0)
    }

    /// Renews the lease; returns when another server has taken it over.
    pub async fn keep(self) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match self.renew(Timestamp::now()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "the lease of the database was not renewed"),
            }
        }
    }

    /// Gives the lease back, so that another server need not wait for its expiry.
    pub async fn release(&self) -> Result<(), DbError> {
        sqlx::query("DELETE FROM server_lease WHERE name = $1 AND holder = $2")
            .bind(NAME)
            .bind(&self.holder)
            .execute(self.db.pool())
            .await
            .map(drop)
    }
}

/// Reads the id of the data directory, creating it at the first start.
fn holder_of(data_dir: &Path) -> Result<String, LeaseError> {
    let path = data_dir.join("server-id");
    let failed = |cause| LeaseError::HolderFile {
        path: path.display().to_string(),
        cause,
    };
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().parse::<Uuid>().is_ok() => return Ok(text.trim().to_owned()),
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(failed(cause)),
        _ => {}
    }
    let id = Uuid::new_v4().to_string();
    std::fs::write(&path, &id).map_err(failed)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::databases;

    #[tokio::test]
    async fn a_second_server_is_refused_until_the_first_releases_or_its_lease_expires() {
        for (db, first_dir) in databases().await {
            let second_dir = tempfile::tempdir().expect("a folder");
            let now = Timestamp::now();
            let first = Lease::acquire(&db, first_dir.path(), now)
                .await
                .expect("free");
            let refused = Lease::acquire(&db, second_dir.path(), now).await;
            assert!(matches!(refused, Err(LeaseError::Held { until }) if until > now));
            Lease::acquire(&db, first_dir.path(), now)
                .await
                .expect("its own, after a crash");
            first.release().await.expect("written");
            let second = Lease::acquire(&db, second_dir.path(), now)
                .await
                .expect("released");
            let later = now + LIFETIME;
            assert!(
                !first.renew(now).await.expect("written"),
                "the second server has it"
            );
            assert!(first.renew(later).await.expect("written"), "expired");
            assert!(!second.renew(later).await.expect("written"), "taken over");
        }
    }
}
