//! Many files as one zip, made while it is sent: nothing of it is kept, and memory stays flat whatever the files' size. Files are stored,
//! not compressed: courseware is compressed already. A file that cannot be read breaks the transfer, so that nobody takes a part for the whole.

use std::collections::HashSet;
use std::io::{self, Write};

use axum::body::Body;
use axum::http::{Response, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::download::attachment;
use crate::error::{Error, Result};
use crate::library::resources::description::stem;
use crate::storage::{Key, Storage};

/// Pieces on their way to a slow reader: two of a megabyte at most.
const PIECES: usize = 2;
const PIECE_BYTES: usize = 1 << 20;
/// A file of this size needs the long form of its entry.
const LONG_FROM: u64 = 0xffff_0000;

/// A file to be packed.
pub struct Packed {
    pub key: Key,
    pub name: String,
    pub size_bytes: u64,
}

/// The answer with the zip, to be saved under `name`.
pub fn zip(storage: &Storage, name: &str, files: Vec<Packed>) -> Result<Response<Body>> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let (storage, handle) = (storage.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        let mut pipe = Pipe {
            sender,
            piece: Vec::with_capacity(PIECE_BYTES),
        };
        if let Err(error) = write(&mut pipe, &storage, &handle, files) {
            tracing::warn!(%error, "a zip could not be made to its end");
            // Nobody listens when the reader is gone.
            let _ = pipe.sender.blocking_send(Err(error));
        }
    });
    // A browser's connection asks once more after the end; an unfold that is not fused panics then.
    let pieces = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    })
    .fuse();
    Response::builder()
        .header(header::CONTENT_TYPE, "application/zip")
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_DISPOSITION, attachment(name))
        .body(Body::from_stream(pieces))
        .map_err(Error::internal)
}

fn write(
    pipe: &mut Pipe,
    storage: &Storage,
    handle: &Handle,
    files: Vec<Packed>,
) -> io::Result<()> {
    let mut archive = ZipWriter::new_stream(&mut *pipe);
    let mut names = HashSet::new();
    for file in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(file.size_bytes >= LONG_FROM);
        archive
            .start_file(unused(&mut names, &file.name), options)
            .map_err(io::Error::other)?;
        let mut content = handle
            .block_on(storage.stream(&file.key, None))
            .map_err(io::Error::other)?;
        while let Some(bytes) = handle.block_on(content.next()) {
            archive.write_all(&bytes.map_err(io::Error::other)?)?;
        }
    }
    archive.finish().map_err(io::Error::other)?;
    pipe.flush()
}

/// Two files of the same name get a number, as a browser would give them.
fn unused(names: &mut HashSet<String>, name: &str) -> String {
    let mut found = name.to_owned();
    let mut number = 2;
    // File systems of the teachers' computers do not tell upper from lower case.
    while !names.insert(found.to_lowercase()) {
        let (stem, extension) = (stem(name), &name[stem(name).len()..]);
        found = format!("{stem} ({number}){extension}");
        number += 1;
    }
    found
}

/// What is written goes to the reader in large pieces; a reader that is gone is a broken pipe.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.sender
            .blocking_send(Ok(piece.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_decks_of_one_name_are_both_in_the_zip() {
        let mut names = HashSet::new();
        let all =
            ["课件.pptx", "课件.pptx", "课件.PPTX", "教案"].map(|name| unused(&mut names, name));
        assert_eq!(all, ["课件.pptx", "课件 (2).pptx", "课件 (3).PPTX", "教案"]);
    }
}
