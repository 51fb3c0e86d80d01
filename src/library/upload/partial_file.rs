//! The bytes of one upload on disk, with the running SHA-256 of them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};

/// How far an upload is on disk: what must be in the database before the offset is told to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub received: u64,
    /// The state of the SHA-256 over exactly these bytes, in hexadecimal digits.
    pub hasher: String,
}

impl Checkpoint {
    /// Nothing has come yet.
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

    /// The SHA-256 of what has come, in hexadecimal digits.
    pub fn sha256(&self) -> io::Result<String> {
        Ok(hex::encode(self.hasher()?.finalize()))
    }
}

/// The open file of one upload. Its calls wait for the disk: they belong on a blocking thread.
pub struct Part {
    file: Arc<File>,
    offset: u64,
    hasher: Sha256,
}

/// Everything that was written up to a moment, on its way to the disk.
pub struct Written {
    file: Arc<File>,
    checkpoint: Checkpoint,
}

impl Part {
    /// Makes the empty file, so that it is there after a power cut.
    pub fn create(path: &Path) -> io::Result<()> {
        File::create_new(path)?.sync_all()?;
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    /// Takes the file up where `checkpoint` left it; what a crash left behind it was never acknowledged and is cut off.
    pub fn open(path: &Path, checkpoint: &Checkpoint) -> io::Result<Part> {
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() < checkpoint.received {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the upload's file is shorter than acknowledged",
            ));
        }
        file.set_len(checkpoint.received)?;
        Ok(Part {
            file: Arc::new(file),
            offset: checkpoint.received,
            hasher: checkpoint.hasher()?,
        })
    }

    pub fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        for piece in pieces {
            self.file.write_all_at(piece, self.offset)?;
            self.hasher.update(piece);
            self.offset += piece.len() as u64;
        }
        Ok(())
    }

    /// What is written by now. It counts when it is [synced](Written::sync); more may be written meanwhile.
    pub fn written(&self) -> Written {
        Written {
            file: self.file.clone(),
            checkpoint: Checkpoint::of(self.offset, &self.hasher),
        }
    }
}

impl Written {
    /// Returns when all of it is on the disk.
    pub fn sync(self) -> io::Result<Checkpoint> {
        self.file.sync_data()?;
        Ok(self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_on_where_a_killed_server_left_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("part");
        Part::create(&path).expect("made");
        let content: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let (mut checkpoint, mut cut) = (Checkpoint::start(), 1);
        while checkpoint.received < content.len() as u64 {
            let mut part = Part::open(&path, &checkpoint).expect("opens");
            let from = checkpoint.received as usize;
            let to = (from + cut).min(content.len());
            part.write(&[Bytes::copy_from_slice(&content[from..to])])
                .expect("written");
            let written = part.written();
            // What follows is killed before it is acknowledged.
            part.write(&[Bytes::from_static(b"never acknowledged")])
                .expect("written");
            checkpoint = written.sync().expect("on disk");
            cut = cut * 3 + 1;
        }
        assert_eq!(
            checkpoint.sha256().expect("whole"),
            hex::encode(Sha256::digest(&content))
        );
        drop(Part::open(&path, &checkpoint).expect("opens"));
        assert_eq!(std::fs::read(&path).expect("read"), content);
    }

    #[test]
    fn a_file_that_lost_acknowledged_bytes_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("part");
        Part::create(&path).expect("made");
        let checkpoint = Checkpoint {
            received: 5,
            ..Checkpoint::start()
        };
        assert!(Part::open(&path, &checkpoint).is_err());
    }
}
