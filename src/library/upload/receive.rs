//! Takes the bytes of one request to the disk. Memory stays flat: at most two pieces of [`PIECE_BYTES`] are in it, the one that comes in
//! while the other one is hashed and written. What is written waits for the disk in the system's cache, and there is a bound to it:
//! [`WAITING`].

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

use super::partial_file::{Part, Written};
use super::tus::{self, Expected};
use super::{Turn, Upload, Uploads, blocking, failed};
use crate::db::millis;
use crate::error::{Error, Result};
use crate::library::content::sniff;

/// Large enough that a thread's hand-over costs nothing, small enough for hundreds of uploads at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Within one request, what came is made durable this often: a killed server costs a slow line no more than this.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);
/// On a fast line it is done more often.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// Checkpoints that wait while the disk is at work on one: it falls behind by no more than three times [`CHECKPOINT_BYTES`].
const WAITING: usize = 1;
/// A line that brings nothing for this long is dead; the browser comes again.
const STALL: Duration = Duration::from_secs(60);

/// The file while a thread writes to it, and what is to go to the disk after that.
type Writing = JoinHandle<io::Result<(Part, Option<Written>)>>;

impl Uploads {
    /// Appends the body at the upload's offset and returns the upload as it is then. What came before the line broke is kept, unless
    /// a checksum was promised: such a piece counts whole or not at all.
    ///
    /// Two hands at once: one writes what comes, the other waits for the disk and tells how far it is. The disk works while the line does.
    pub(super) async fn receive(
        &self,
        turn: &Turn,
        upload: Upload,
        body: Body,
        expected: Option<Expected>,
    ) -> Result<Upload> {
        let (written, waiting) = mpsc::channel(WAITING);
        let pieces = Pieces::of(body, turn.leave.clone());
        // Both come to their end before the turn does: nothing is written or told behind the next request's back.
        let (taken, kept) = tokio::join!(
            self.take_in(&upload, pieces, expected, written),
            self.keep(upload.clone(), waiting)
        );
        // A failure of the disk comes first: it is why the other hand had to stop.
        let upload = kept?;
        taken.map(|()| upload)
    }

    /// Writes and hashes what comes, and passes on what the disk shall have, from time to time and at the end.
    async fn take_in(
        &self,
        upload: &Upload,
        mut pieces: Pieces,
        mut expected: Option<Expected>,
        written: mpsc::Sender<Written>,
    ) -> Result<()> {
        let (path, start) = (self.path(upload.id), upload.checkpoint.clone());
        let mut writing: Writing =
            spawn_blocking(move || Part::open(&path, &start).map(|part| (part, None)));
        let (mut came, mut asked, mut since) = (
            upload.checkpoint.received,
            upload.checkpoint.received,
            Instant::now(),
        );
        let part = loop {
            // On a slow line what is written goes to the disk before the next piece has come.
            let (piece, part) = tokio::join!(pieces.next(), passed_on(writing, &written));
            let mut part = part?;
            if piece.is_empty() {
                break part;
            }
            self.check_piece(upload, came, &piece).await?;
            came += length(&piece);
            if let Some(expected) = &mut expected {
                piece.iter().for_each(|bytes| expected.update(bytes));
            }
            let due = expected.is_none()
                && (came - asked >= CHECKPOINT_BYTES || since.elapsed() >= CHECKPOINT_EVERY);
            if due {
                (asked, since) = (came, Instant::now());
            }
            writing = spawn_blocking(move || {
                part.write(&piece)?;
                let for_the_disk = due.then(|| part.written());
                Ok((part, for_the_disk))
            });
        };
        if let Some(expected) = expected {
            if pieces.broke {
                return Ok(());
            }
            expected.check()?;
        }
        // Where nobody takes it, the other hand failed and says why.
        let _ = written.send(part.written()).await;
        Ok(())
    }

    /// Waits for the disk, and then makes the offset one that may be told.
    async fn keep(
        &self,
        mut upload: Upload,
        mut waiting: mpsc::Receiver<Written>,
    ) -> Result<Upload> {
        while let Some(written) = waiting.recv().await {
            let checkpoint = blocking(move || written.sync()).await.map_err(failed)?;
            let expires: Timestamp = self.acknowledge(upload.id, &checkpoint).await?;
            upload.expires_at = millis(expires);
            upload.checkpoint = checkpoint;
        }
        Ok(upload)
    }

    /// Refuses bytes beyond the announced end, and programs as soon as they show themselves.
    async fn check_piece(&self, upload: &Upload, came: u64, piece: &[Bytes]) -> Result<()> {
        if came + length(piece) > upload.size_bytes {
            return Err(tus::refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "beyond_the_end",
                "收到的数据超过了文件的大小，文件可能在上传时被修改，请重新上传。",
                "More came than the file has; it may have changed meanwhile. Upload it anew.",
            ));
        }
        if came == 0 && piece.first().is_some_and(|head| sniff::is_program(head)) {
            self.remove(upload.id).await?;
            return Err(tus::refused(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "program",
                "这是一个程序文件，资源库不接收程序。",
                "This is a program, and the library takes no programs.",
            ));
        }
        Ok(())
    }
}

fn length(piece: &[Bytes]) -> u64 {
    piece.iter().map(|bytes| bytes.len() as u64).sum()
}

/// Waits for the writing thread, and until the disk is not too far behind it.
async fn passed_on(writing: Writing, written: &mpsc::Sender<Written>) -> Result<Part> {
    let settled = writing
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)));
    let (part, for_the_disk) = settled.map_err(failed)?;
    if let Some(for_the_disk) = for_the_disk {
        let gone = |_| Error::internal("nobody waits for the disk any more");
        written.send(for_the_disk).await.map_err(gone)?;
    }
    Ok(part)
}

/// A request's body in pieces, until its end, its line's, or our being told to let go.
struct Pieces {
    body: BodyDataStream,
    leave: CancellationToken,
    over: bool,
    /// It ended before its end.
    broke: bool,
}

impl Pieces {
    fn of(body: Body, leave: CancellationToken) -> Pieces {
        Pieces {
            body: body.into_data_stream(),
            leave,
            over: false,
            broke: false,
        }
    }

    /// The next piece; empty at the end.
    async fn next(&mut self) -> Vec<Bytes> {
        let (mut piece, mut size) = (Vec::new(), 0);
        // On a slow line what has come is passed on before it would have waited longer than a checkpoint.
        let begun = Instant::now();
        while !self.over && size < PIECE_BYTES && begun.elapsed() < CHECKPOINT_EVERY {
            let wait = if piece.is_empty() {
                STALL
            } else {
                CHECKPOINT_EVERY
            };
            let next = tokio::select! {
                next = tokio::time::timeout(wait, self.body.next()) => next,
                () = self.leave.cancelled() => Ok(None),
            };
            match next {
                Ok(Some(Ok(bytes))) => {
                    size += bytes.len();
                    piece.push(bytes);
                }
                Ok(None) => (self.over, self.broke) = (true, self.leave.is_cancelled()),
                Ok(Some(Err(_))) => (self.over, self.broke) = (true, true),
                Err(_) if piece.is_empty() => (self.over, self.broke) = (true, true),
                Err(_) => break,
            }
        }
        piece
    }
}
