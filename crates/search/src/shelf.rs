//! Where the index is kept: one folder per generation, and a file that names the current one.
//!
//! A rebuilt index grows beside the current one and takes its place by one rename: a crash at any moment leaves one of the two whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::index::{Index, Result};
use crate::schema::FORMAT;

/// Names the folder of the current generation.
const CURRENT: &str = "current";

/// The folder with all generations.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The current index; `None` when there is none that this program can read. It is derived data: whoever gets `None` builds it anew.
    pub fn current(&self) -> Option<Index> {
        let name = fs::read_to_string(self.folder.join(CURRENT)).ok()?;
        if !name.starts_with(&format!("{FORMAT}-")) || Path::new(&name).components().count() != 1 {
            tracing::info!(name, "the search index has another format");
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

    /// A new, empty generation.
    pub fn begin(&self) -> Result<Index> {
        let name = format!("{FORMAT}-{:016x}", rand::random::<u64>());
        Index::create(&self.folder.join(name))
    }

    /// Makes a generation the current one, durably.
    pub fn adopt(&self, index: &Index) -> Result<()> {
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

    /// Removes all generations but `kept`. Questions that are still being answered from one of them keep its files open.
    pub fn clear(&self, kept: &Index) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.is_dir() && path != kept.folder() {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }
}
