//! Maintenance of uploads: expiry, finishing of complete uploads that failed before, removal of
//! orphaned files.

use std::time::Duration;

use jiff::Timestamp;

use super::Uploads;
use crate::db::{DbError, millis};
use crate::error::Error;
use crate::ids::UploadId;

const INTERVAL: Duration = Duration::from_secs(60);

impl Uploads {
    /// Runs every minute until the server stops.
    pub(super) async fn run_maintenance(&self) {
        if let Err(error) = self.remove_orphaned_files().await {
            tracing::warn!(%error, "orphaned upload files could not be removed");
        }
        loop {
            if let Err(error) = self.expire_and_finish(Timestamp::now()).await {
                tracing::warn!(%error, "upload maintenance failed; retrying at the next interval");
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = self.inner.stop.cancelled() => return,
            }
        }
    }

    /// Removes expired uploads and finishes complete ones. A complete upload without a resource
    /// never expires: it waits for the object store.
    pub(in crate::library) async fn expire_and_finish(
        &self,
        now: Timestamp,
    ) -> Result<(), DbError> {
        let expired = "WHERE expires_at <= CAST($1 AS BIGINT) AND (received < size_bytes OR resource_id IS NOT NULL)";
        for upload in self.select(expired, millis(now).to_string()).await? {
            self.remove(upload.id).await?;
        }
        let complete = "WHERE received = size_bytes AND resource_id IS NULL AND id <> $1";
        for upload in self.select(complete, String::new()).await? {
            let id = upload.id;
            if let Err(error) = self.lock_and_finish(id).await {
                tracing::warn!(%error, upload.id = %id, "upload could not be finished; retrying at the next interval");
            }
        }
        Ok(())
    }

    /// Removes files without the row of an unfinished upload, which a crash leaves between the
    /// change of row and file.
    async fn remove_orphaned_files(&self) -> Result<(), Error> {
        let mut files = tokio::fs::read_dir(&self.inner.folder)
            .await
            .map_err(Error::internal)?;
        while let Some(file) = files.next_entry().await.map_err(Error::internal)? {
            let Some(id) = file
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<UploadId>().ok())
            else {
                continue;
            };
            let age = file
                .metadata()
                .await
                .ok()
                .and_then(|meta| meta.modified().ok())
                .and_then(|at| at.elapsed().ok());
            // A concurrent request creates the file before its row.
            let may_be_new = age.is_none_or(|age| age <= INTERVAL);
            if !may_be_new
                && self
                    .find(id)
                    .await?
                    .is_none_or(|upload| upload.outcome.is_some())
            {
                self.remove_file(id).await;
            }
        }
        Ok(())
    }
}
