//! Rows of table `uploads`.

use jiff::Timestamp;
use sqlx::{Any, Transaction};

use super::partial_file::{Checkpoint, PartialFile};
use super::{Upload, Uploads, blocking, io_error};
use crate::db::{DbError, millis};
use crate::error::{Error, Result};
use crate::ids::{PersonId, ResourceId, UploadId};

#[derive(sqlx::FromRow)]
struct UploadRow {
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

impl UploadRow {
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
            options: serde_json::from_str(&self.wish).unwrap_or_default(),
            outcome: self.resource_id.zip(self.version),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

impl Uploads {
    /// Creates the empty file, then the row.
    pub(super) async fn create(&self, upload: &Upload) -> Result<()> {
        let path = self.path(upload.id);
        blocking(move || PartialFile::create(&path))
            .await
            .map_err(io_error)?;
        sqlx::query(
            "INSERT INTO uploads (id, person_id, file_name, size_bytes, received, hasher, wish, created_at, expires_at)
             VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8)",
        )
        .bind(upload.id)
        .bind(upload.person)
        .bind(&upload.file_name)
        .bind(upload.size_bytes as i64)
        .bind(&upload.checkpoint.hasher)
        .bind(serde_json::to_string(&upload.options).map_err(Error::internal)?)
        .bind(upload.created_at)
        .bind(upload.expires_at)
        .execute(self.inner.db.pool())
        .await?;
        Ok(())
    }

    pub(super) async fn find(&self, id: UploadId) -> Result<Option<Upload>, DbError> {
        Ok(self.select("WHERE id = $1", id.to_string()).await?.pop())
    }

    /// Returns the unfinished uploads of a person, newest first.
    pub(super) async fn unfinished(&self, person: PersonId) -> Result<Vec<Upload>, DbError> {
        self.select(
            "WHERE person_id = $1 AND resource_id IS NULL ORDER BY created_at DESC, id DESC",
            person.to_string(),
        )
        .await
    }

    pub(super) async fn select(
        &self,
        condition: &str,
        value: String,
    ) -> Result<Vec<Upload>, DbError> {
        let query = format!(
            "SELECT id, person_id, file_name, size_bytes, received, hasher, wish, resource_id, version, created_at, expires_at
             FROM uploads {condition} LIMIT {}",
            crate::db::MAX_ROWS
        );
        let rows: Vec<UploadRow> = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(value)
            .fetch_all(self.inner.db.pool())
            .await?;
        Ok(rows.into_iter().map(UploadRow::upload).collect())
    }

    /// Records a checkpoint whose bytes are on disk. After it returns, the offset may be sent to
    /// the client.
    pub(super) async fn acknowledge(
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

    /// Removes an upload: first its row, then its file.
    pub(super) async fn remove(&self, id: UploadId) -> Result<(), DbError> {
        sqlx::query("DELETE FROM uploads WHERE id = $1")
            .bind(id)
            .execute(self.inner.db.pool())
            .await?;
        self.remove_file(id).await;
        Ok(())
    }

    pub(super) async fn remove_file(&self, id: UploadId) {
        // A file that cannot be removed is an orphan, removed after the next start.
        let _ = tokio::fs::remove_file(self.path(id)).await;
    }
}

/// Returns the outcome that an earlier attempt recorded for the upload.
pub async fn outcome(
    tx: &mut Transaction<'static, Any>,
    upload: UploadId,
) -> Result<Option<(ResourceId, i64)>> {
    let row: Option<(Option<ResourceId>, Option<i64>)> =
        sqlx::query_as("SELECT resource_id, version FROM uploads WHERE id = $1")
            .bind(upload)
            .fetch_optional(&mut **tx)
            .await?;
    let (resource, version) =
        row.ok_or_else(|| Error::not_found("这次上传已被取消。", "This upload was given up."))?;
    Ok(resource.zip(version))
}

/// Records the resource and version that the upload became.
pub async fn record_outcome(
    tx: &mut Transaction<'static, Any>,
    upload: UploadId,
    (resource, version): (ResourceId, i64),
) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE uploads SET resource_id = $2, version = $3 WHERE id = $1 AND resource_id IS NULL",
    )
    .bind(upload)
    .bind(resource)
    .bind(version)
    .execute(&mut **tx)
    .await?;
    match updated.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::internal("a concurrent attempt finished the upload")),
    }
}
