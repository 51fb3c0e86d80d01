//! Turns a complete upload into a resource or a version of one.
//!
//! Steps: put the content into the object store under its hash → write content, resource, version,
//! jobs and the upload's outcome in one transaction → delete the file. A crash between two steps
//! leaves a complete row without outcome, and the steps are repeated: the store gets the same bytes
//! under the same key, and the transaction changes nothing if the outcome exists.

use std::fs::File;
use std::io::Read;

use super::{Upload, Uploads, blocking, io_error};
use crate::error::{Error, Result, Text};
use crate::ids::{ResourceId, UploadId};
use crate::library::content::ingest::{Content, IncomingFile};
use crate::library::content::sniff;
use crate::storage::{Key, StorageError};

impl Uploads {
    /// Finishes a complete upload under its lock; idempotent. Runs in its own task, so that a
    /// disconnected client does not abort it.
    pub(super) async fn lock_and_finish(&self, id: UploadId) -> Result<Option<(ResourceId, i64)>> {
        let uploads = self.clone();
        let task = self.inner.tasks.spawn(async move {
            let _lock = uploads.lock(id).await?;
            match uploads.find(id).await? {
                Some(upload) => uploads.finish(upload).await.map(Some),
                None => Ok(None),
            }
        });
        task.await.map_err(Error::internal)?
    }

    /// Finishes a complete upload; the caller holds its lock.
    pub(super) async fn finish(&self, upload: Upload) -> Result<(ResourceId, i64)> {
        if let Some(outcome) = upload.outcome {
            return Ok(outcome);
        }
        let hash = upload.checkpoint.sha256().map_err(Error::internal)?;
        let path = self.path(upload.id);
        let head = {
            let path = path.clone();
            blocking(move || {
                let mut head = Vec::new();
                File::open(path)?
                    .take(sniff::HEAD_BYTES as u64)
                    .read_to_end(&mut head)?;
                Ok(head)
            })
            .await
            .map_err(io_error)?
        };
        let content = Content {
            hash,
            size_bytes: upload.size_bytes,
            sniffed: sniff::sniff(&head),
        };
        // Keeps the stored content until its row exists.
        let _paused = self.inner.content.pause_garbage_collection().await;
        self.inner
            .storage
            .link_file(&Key::blob(&content.hash), &path)
            .await
            .map_err(storage_unavailable)?;
        let file = IncomingFile {
            person: upload.person,
            file_name: upload.file_name.clone(),
            content,
            options: upload.options.clone(),
            upload: Some(upload.id),
        };
        let outcome = self.inner.content.ingest(file).await?;
        self.remove_file(upload.id).await;
        Ok(outcome)
    }
}

fn storage_unavailable(error: StorageError) -> Error {
    tracing::warn!(%error, "object store rejected an upload");
    Error::Unavailable(Text::new(
        "文件已收到，但存储暂时不可用；服务器会自动重试，无需重新上传。",
        "The file has come, and the storage is away; the server will try again by itself. There is no need to send it again.",
    ))
}
