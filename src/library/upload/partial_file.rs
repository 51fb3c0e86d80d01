//! File of one upload, with the running SHA-256 of its bytes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};

/// Durable state of an upload. It must be in the database before its offset is sent to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub received: u64,
    /// State of the SHA-256 over exactly these bytes, in hexadecimal digits.
    pub hasher: String,
}

impl Checkpoint {
    /// Checkpoint of an empty file.
    pub fn start() -> Self {
        Self::of(0, &Sha256::new())
    }

    fn of(received: u64, hasher: &Sha256) -> Self {
        Self {
            received,
            hasher: hex::encode(hasher.serialize()),
        }
    }

    fn hasher(&self) -> io::Result<Sha256> {
        let state = hex::decode(&self.hasher)
            .ok()
            .and_then(|state| state.as_slice().try_into().ok());
        let hasher = state.and_then(|state| Sha256::deserialize(&state).ok());
        hasher.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the upload's hash state is damaged",
            )
        })
    }

    /// Returns the SHA-256 of the received bytes, in hexadecimal digits.
    pub fn sha256(&self) -> io::Result<String> {
        Ok(hex::encode(self.hasher()?.finalize()))
    }
}

/// Open file of one upload. Its methods block on the disk: call them on a blocking thread.
pub struct PartialFile {
    file: Arc<File>,
    offset: u64,
    hasher: Sha256,
}

/// Bytes that are written but not yet synced to disk.
pub struct Unsynced {
    file: Arc<File>,
    checkpoint: Checkpoint,
}

impl PartialFile {
    /// Creates the empty file durably: syncs the file and its directory.
    pub fn create(path: &Path) -> io::Result<()> {
        File::create_new(path)?.sync_all()?;
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    /// Opens the file at `checkpoint` and truncates bytes beyond it, which were never acknowledged.
    pub fn open(path: &Path, checkpoint: &Checkpoint) -> io::Result<PartialFile> {
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() < checkpoint.received {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the upload's file is shorter than acknowledged",
            ));
        }
        file.set_len(checkpoint.received)?;
        Ok(PartialFile {
            file: Arc::new(file),
            offset: checkpoint.received,
            hasher: checkpoint.hasher()?,
        })
    }

    pub fn write(&mut self, chunk: &[Bytes]) -> io::Result<()> {
        for bytes in chunk {
            self.file.write_all_at(bytes, self.offset)?;
            self.hasher.update(bytes);
            self.offset += bytes.len() as u64;
        }
        Ok(())
    }

    /// Returns a handle to [sync](Unsynced::sync) the bytes written so far; more may be written
    /// meanwhile.
    pub fn unsynced(&self) -> Unsynced {
        Unsynced {
            file: self.file.clone(),
            checkpoint: Checkpoint::of(self.offset, &self.hasher),
        }
    }
}

impl Unsynced {
    /// Waits until the bytes are on disk.
    pub fn sync(self) -> io::Result<Checkpoint> {
        self.file.sync_data()?;
        Ok(self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_continues_after_the_server_was_killed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("part");
        PartialFile::create(&path).expect("made");
        let content: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let (mut checkpoint, mut cut) = (Checkpoint::start(), 1);
        while checkpoint.received < content.len() as u64 {
            let mut part = PartialFile::open(&path, &checkpoint).expect("opens");
            let from = checkpoint.received as usize;
            let to = (from + cut).min(content.len());
            part.write(&[Bytes::copy_from_slice(&content[from..to])])
                .expect("written");
            let unsynced = part.unsynced();
            // The server is killed before it acknowledges these bytes.
            part.write(&[Bytes::from_static(b"never acknowledged")])
                .expect("written");
            checkpoint = unsynced.sync().expect("on disk");
            cut = cut * 3 + 1;
        }
        assert_eq!(
            checkpoint.sha256().expect("whole"),
            hex::encode(Sha256::digest(&content))
        );
        drop(PartialFile::open(&path, &checkpoint).expect("opens"));
        assert_eq!(std::fs::read(&path).expect("read"), content);
    }

    #[test]
    fn a_file_without_its_acknowledged_bytes_is_rejected() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("part");
        PartialFile::create(&path).expect("made");
        let checkpoint = Checkpoint {
            received: 5,
            ..Checkpoint::start()
        };
        assert!(PartialFile::open(&path, &checkpoint).is_err());
    }
}
