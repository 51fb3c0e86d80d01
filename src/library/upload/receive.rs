//! Writes the body of one request to disk. At most two chunks of [`CHUNK_BYTES`] are in memory: one
//! is received while the other is hashed and written. Written bytes wait for fsync in the page
//! cache, bounded by [`PENDING_SYNCS`].

use std::io;
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream};
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::lock::UploadLock;
use super::partial_file::{PartialFile, Unsynced};
use super::tus::{self, ExpectedChecksum};
use super::{Upload, Uploads, blocking, io_error};
use crate::db::millis;
use crate::error::{Error, Result};
use crate::library::content::sniff;

/// Large enough that the hand-over to a blocking thread costs little, small enough for hundreds of
/// concurrent uploads.
const CHUNK_BYTES: usize = 1 << 20;
/// Interval of checkpoints within one request: a killed server costs a slow link no more than this.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);
/// Bytes after which a checkpoint is due earlier, on a fast link.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// Checkpoints queued while one is synced. Unsynced bytes stay below three times
/// [`CHECKPOINT_BYTES`].
const PENDING_SYNCS: usize = 1;
/// A connection without data for this long is considered dead; the client reconnects.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Blocking write; returns the file and, if a checkpoint is due, the bytes to sync.
type WriteTask = JoinHandle<io::Result<(PartialFile, Option<Unsynced>)>>;

impl Uploads {
    /// Appends the body at the upload's offset and returns the updated upload. Bytes received
    /// before a disconnect are kept, except with a checksum: such a request counts only as a whole.
    ///
    /// Two concurrent tasks: one receives and writes, the other fsyncs and acknowledges, so network
    /// and disk overlap.
    pub(super) async fn receive(
        &self,
        lock: &UploadLock,
        upload: Upload,
        body: Body,
        checksum: Option<ExpectedChecksum>,
    ) -> Result<Upload> {
        let (to_sync, pending) = mpsc::channel(PENDING_SYNCS);
        let chunks = BodyChunks::of(body, lock.evict.clone());
        // Both end before the lock is released: the next request sees neither a write nor an
        // acknowledgement of this one.
        let (received, synced) = tokio::join!(
            self.receive_and_write(&upload, chunks, checksum, to_sync),
            self.sync_and_acknowledge(upload.clone(), pending)
        );
        // A disk error takes precedence: it is the cause of the failure of the other task.
        let upload = synced?;
        received.map(|()| upload)
    }

    /// Receives, writes and hashes chunks; queues checkpoints when they are due and at the end.
    async fn receive_and_write(
        &self,
        upload: &Upload,
        mut chunks: BodyChunks,
        mut checksum: Option<ExpectedChecksum>,
        to_sync: mpsc::Sender<Unsynced>,
    ) -> Result<()> {
        let (path, start) = (self.path(upload.id), upload.checkpoint.clone());
        let mut write_task: WriteTask =
            spawn_blocking(move || PartialFile::open(&path, &start).map(|part| (part, None)));
        let (mut received, mut checkpoint_at, mut since) = (
            upload.checkpoint.received,
            upload.checkpoint.received,
            Instant::now(),
        );
        let part = loop {
            // On a slow link the written bytes are queued for sync before the next chunk is
            // complete.
            let (chunk, part) = tokio::join!(chunks.next(), finish_write(write_task, &to_sync));
            let mut part = part?;
            if chunk.is_empty() {
                break part;
            }
            self.check_chunk(upload, received, &chunk).await?;
            received += length(&chunk);
            if let Some(checksum) = &mut checksum {
                chunk.iter().for_each(|bytes| checksum.update(bytes));
            }
            let due = checksum.is_none()
                && (received - checkpoint_at >= CHECKPOINT_BYTES
                    || since.elapsed() >= CHECKPOINT_EVERY);
            if due {
                (checkpoint_at, since) = (received, Instant::now());
            }
            write_task = spawn_blocking(move || {
                part.write(&chunk)?;
                let unsynced = due.then(|| part.unsynced());
                Ok((part, unsynced))
            });
        };
        if let Some(checksum) = checksum {
            if chunks.incomplete {
                return Ok(());
            }
            checksum.check()?;
        }
        // The send fails only if the other task failed; it returns the error.
        let _ = to_sync.send(part.unsynced()).await;
        Ok(())
    }

    /// Syncs queued bytes to disk, then records their offset.
    async fn sync_and_acknowledge(
        &self,
        mut upload: Upload,
        mut pending: mpsc::Receiver<Unsynced>,
    ) -> Result<Upload> {
        while let Some(unsynced) = pending.recv().await {
            let checkpoint = blocking(move || unsynced.sync()).await.map_err(io_error)?;
            let expires: Timestamp = self.acknowledge(upload.id, &checkpoint).await?;
            upload.expires_at = millis(expires);
            upload.checkpoint = checkpoint;
        }
        Ok(upload)
    }

    /// Rejects bytes beyond the announced size, and executables at their first chunk.
    async fn check_chunk(&self, upload: &Upload, received: u64, chunk: &[Bytes]) -> Result<()> {
        if received + length(chunk) > upload.size_bytes {
            return Err(tus::protocol_error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "beyond_the_end",
                "收到的数据超过了文件的大小，文件可能在上传时被修改，请重新上传。",
                "More came than the file has; it may have changed meanwhile. Upload it anew.",
            ));
        }
        if received == 0 && chunk.first().is_some_and(|head| sniff::is_executable(head)) {
            self.remove(upload.id).await?;
            return Err(tus::protocol_error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "program",
                "这是一个程序文件，资源库不接收程序。",
                "This is a program, and the library takes no programs.",
            ));
        }
        Ok(())
    }
}

fn length(chunk: &[Bytes]) -> u64 {
    chunk.iter().map(|bytes| bytes.len() as u64).sum()
}

/// Waits for the write, and queues its checkpoint; blocks while too many syncs are pending.
async fn finish_write(
    write_task: WriteTask,
    to_sync: &mpsc::Sender<Unsynced>,
) -> Result<PartialFile> {
    let written = write_task
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)));
    let (part, unsynced) = written.map_err(io_error)?;
    if let Some(unsynced) = unsynced {
        let closed = |_| Error::internal("the sync task has failed");
        to_sync.send(unsynced).await.map_err(closed)?;
    }
    Ok(part)
}

/// Request body in chunks, until its end, a disconnect or the eviction of this request.
struct BodyChunks {
    body: BodyDataStream,
    evict: CancellationToken,
    ended: bool,
    /// The body ended early.
    incomplete: bool,
}

impl BodyChunks {
    fn of(body: Body, evict: CancellationToken) -> BodyChunks {
        BodyChunks {
            body: body.into_data_stream(),
            evict,
            ended: false,
            incomplete: false,
        }
    }

    /// Returns the next chunk; empty at the end.
    async fn next(&mut self) -> Vec<Bytes> {
        let (mut chunk, mut size) = (Vec::new(), 0);
        // On a slow link a chunk ends early, so that its bytes do not wait longer than a
        // checkpoint.
        let started = Instant::now();
        while !self.ended && size < CHUNK_BYTES && started.elapsed() < CHECKPOINT_EVERY {
            let wait = if chunk.is_empty() {
                STALL_TIMEOUT
            } else {
                CHECKPOINT_EVERY
            };
            let next = tokio::select! {
                next = tokio::time::timeout(wait, self.body.next()) => next,
                () = self.evict.cancelled() => Ok(None),
            };
            match next {
                Ok(Some(Ok(bytes))) => {
                    size += bytes.len();
                    chunk.push(bytes);
                }
                Ok(None) => (self.ended, self.incomplete) = (true, self.evict.is_cancelled()),
                Ok(Some(Err(_))) => (self.ended, self.incomplete) = (true, true),
                Err(_) if chunk.is_empty() => (self.ended, self.incomplete) = (true, true),
                Err(_) => break,
            }
        }
        chunk
    }
}
