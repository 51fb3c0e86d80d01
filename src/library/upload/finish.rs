//! A whole upload becomes a resource, or a version of one.
//!
//! Steps: the object store has the content under its hash → one transaction writes content, resource, version, job and the upload's
//! outcome → the file goes. A crash between any two leaves a row that is whole and without outcome, and the same steps are taken again: the
//! store gets the same bytes under the same key, and the transaction changes nothing when the outcome is there.

use std::fs::File;
use std::io::Read;

use super::{Upload, Uploads, blocking, failed};
use crate::error::{Error, Result, Text};
use crate::ids::{ResourceId, UploadId};
use crate::library::content::ingest::{Arrival, Content};
use crate::library::content::sniff;
use crate::storage::{Key, StorageError};

impl Uploads {
    /// Finishes a whole upload, once, however often it is asked for. In a task of its own: a browser that leaves does not stop it.
    pub(super) async fn finish_in_turn(&self, id: UploadId) -> Result<Option<(ResourceId, i64)>> {
        let uploads = self.clone();
        let task = self.inner.tasks.spawn(async move {
            let _turn = uploads.turn(id).await?;
            match uploads.find(id).await? {
                Some(upload) => uploads.finish(upload).await.map(Some),
                None => Ok(None),
            }
        });
        task.await.map_err(Error::internal)?
    }

    /// The caller has the upload's turn.
    pub(super) async fn finish(&self, upload: Upload) -> Result<(ResourceId, i64)> {
        if let Some(outcome) = upload.resource {
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
            .map_err(failed)?
        };
        let content = Content {
            hash,
            size_bytes: upload.size_bytes,
            sniffed: sniff::sniff(&head),
        };
        // Content that nobody has any more is not removed between these two steps.
        let _kept = self.inner.shelf.keep_content().await;
        self.inner
            .storage
            .link_file(&Key::blob(&content.hash), &path)
            .await
            .map_err(away)?;
        let arrival = Arrival {
            person: upload.person,
            file_name: upload.file_name.clone(),
            content,
            wish: upload.wish.clone(),
            upload: Some(upload.id),
        };
        let outcome = self.inner.shelf.arrive(arrival).await?;
        self.remove_file(upload.id).await;
        Ok(outcome)
    }
}

fn away(error: StorageError) -> Error {
    tracing::warn!(%error, "the object store takes no upload");
    Error::Unavailable(Text::new(
        "文件已收到，但存储暂时不可用；服务器会自动重试，无需重新上传。",
        "The file has come, and the storage is away; the server will try again by itself. There is no need to send it again.",
    ))
}
