//! Index storage: one folder per generation, and a file that names the current one.
//!
//! A rebuild writes a new generation beside the current one and replaces it with one atomic rename.
//! After a crash at any moment one complete generation is current.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::index::{Index, Result};
use crate::schema::FORMAT_VERSION;

/// File that contains the name of the current generation's folder.
const CURRENT: &str = "current";

/// Folder that contains all generations of an index.
#[derive(Clone, Debug)]
pub struct Generations {
    folder: PathBuf,
}

impl Generations {
    /// Uses `folder`, which is created with the first generation.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Opens the current generation. Returns `None` when there is none that this program can read; the caller
    /// rebuilds it, as the index is derived data.
    pub fn current(&self) -> Option<Index> {
        let name = fs::read_to_string(self.folder.join(CURRENT)).ok()?;
        if !name.starts_with(&format!("{FORMAT_VERSION}-"))
            || Path::new(&name).components().count() != 1
        {
            tracing::info!(name, "the search index has another format version");
            return None;
        }
        match Index::open(&self.folder.join(&name)) {
            Ok(index) => Some(index),
            Err(error) => {
                tracing::warn!(%error, "the search index cannot be read");
                None
            }
        }
    }

    /// Creates a new, empty generation. It becomes current with [`activate`](Self::activate).
    pub fn create(&self) -> Result<Index> {
        let name = format!("{FORMAT_VERSION}-{:016x}", rand::random::<u64>());
        Index::create(&self.folder.join(name))
    }

    /// Makes a generation the current one, durably.
    pub fn activate(&self, index: &Index) -> Result<()> {
        let name = index
            .folder()
            .file_name()
            .expect("a generation's folder has a name")
            .as_encoded_bytes();
        let new = self.folder.join("current.new");
        let mut file = File::create(&new)?;
        file.write_all(name)?;
        file.sync_all()?;
        fs::rename(new, self.folder.join(CURRENT))?;
        Ok(File::open(&self.folder)?.sync_all()?)
    }

    /// Deletes all generations except `kept`. Queries that still run on one of them keep its files open.
    pub fn remove_others(&self, kept: &Index) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.is_dir() && path != kept.folder() {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }
}
