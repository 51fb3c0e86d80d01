//! Scratch directory of one job run.

use std::io;
use std::path::{Path, PathBuf};

use crate::ids::JobId;

/// Empty directory for one run of a job; removed when dropped.
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// Creates `parent/JOB_ID` and empties it if an earlier run left it behind.
    pub fn create(parent: &Path, job: JobId) -> io::Result<ScratchDir> {
        let path = std::path::absolute(parent.join(job.to_string()))?;
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)?;
        Ok(ScratchDir(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Path of a file in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // A directory that cannot be removed is emptied by the next run of the same job.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
