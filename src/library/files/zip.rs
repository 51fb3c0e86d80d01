//! Streams several files as one zip. Nothing is written to disk and memory use does not depend on
//! file sizes. Entries are stored uncompressed, because courseware formats are compressed already.
//! A read error aborts the transfer, so that a truncated zip does not pass for a complete one.

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
use crate::library::resources::file_name::file_stem;
use crate::storage::{Key, Storage};

/// Chunks queued for a slow client; bounds memory to 2 MiB plus the chunk being filled.
const QUEUED_CHUNKS: usize = 2;
const CHUNK_BYTES: usize = 1 << 20;
/// Entries from this size on need ZIP64.
const ZIP64_FROM_BYTES: u64 = 0xffff_0000;

/// File of a zip.
pub struct ZipEntry {
    pub key: Key,
    pub name: String,
    pub size_bytes: u64,
}

/// Returns a response that streams the zip as a download with the given file name.
pub fn stream_zip(storage: &Storage, name: &str, entries: Vec<ZipEntry>) -> Result<Response<Body>> {
    let (sender, receiver) = mpsc::channel(QUEUED_CHUNKS);
    let (storage, handle) = (storage.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        let mut writer = ChannelWriter {
            sender,
            chunk: Vec::with_capacity(CHUNK_BYTES),
        };
        if let Err(error) = write(&mut writer, &storage, &handle, entries) {
            tracing::warn!(%error, "zip download aborted");
            // The send fails if the client has disconnected.
            let _ = writer.sender.blocking_send(Err(error));
        }
    });
    // hyper polls once more after the end, and an unfold that is not fused panics then.
    let chunks = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    })
    .fuse();
    Response::builder()
        .header(header::CONTENT_TYPE, "application/zip")
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_DISPOSITION, attachment(name))
        .body(Body::from_stream(chunks))
        .map_err(Error::internal)
}

fn write(
    writer: &mut ChannelWriter,
    storage: &Storage,
    handle: &Handle,
    entries: Vec<ZipEntry>,
) -> io::Result<()> {
    let mut archive = ZipWriter::new_stream(&mut *writer);
    let mut names = HashSet::new();
    for entry in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(entry.size_bytes >= ZIP64_FROM_BYTES);
        archive
            .start_file(unique_name(&mut names, &entry.name), options)
            .map_err(io::Error::other)?;
        let mut content = handle
            .block_on(storage.stream(&entry.key, None))
            .map_err(io::Error::other)?;
        while let Some(bytes) = handle.block_on(content.next()) {
            archive.write_all(&bytes.map_err(io::Error::other)?)?;
        }
    }
    archive.finish().map_err(io::Error::other)?;
    writer.flush()
}

/// Numbers files of equal name, as browsers do.
fn unique_name(names: &mut HashSet<String>, name: &str) -> String {
    let mut found = name.to_owned();
    let mut number = 2;
    // Windows and macOS file systems are case-insensitive.
    while !names.insert(found.to_lowercase()) {
        let stem = file_stem(name);
        let extension = &name[stem.len()..];
        found = format!("{stem} ({number}){extension}");
        number += 1;
    }
    found
}

/// Sends written bytes to the response body in large chunks; a disconnected client is a broken
/// pipe.
struct ChannelWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        self.sender
            .blocking_send(Ok(chunk.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_decks_of_equal_name_are_both_in_the_zip() {
        let mut names = HashSet::new();
        let all = ["课件.pptx", "课件.pptx", "课件.PPTX", "教案"]
            .map(|name| unique_name(&mut names, name));
        assert_eq!(all, ["课件.pptx", "课件 (2).pptx", "课件 (3).PPTX", "教案"]);
    }
}
