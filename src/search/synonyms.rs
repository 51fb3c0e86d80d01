//! Synonyms file of the county, reloaded when it changes.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tongke_search::Synonyms;

use super::Search;

/// Synonyms used without a file of the county.
const BUILT_IN: &str = include_str!("../../deploy/synonyms.txt");

/// Synonyms file and the state in which it was last read.
pub struct SynonymsFile {
    path: PathBuf,
    /// Modification time and size at the last read; the inner `None` if the file was missing.
    last_read: Option<Option<(SystemTime, u64)>>,
}

impl SynonymsFile {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            last_read: None,
        }
    }

    /// Returns the synonyms if the file has changed since the last read. An unreadable file keeps
    /// the current synonyms.
    pub fn read(&mut self) -> Option<Synonyms> {
        let state = fs::metadata(&self.path)
            .and_then(|metadata| Ok((metadata.modified()?, metadata.len())))
            .ok();
        if self.last_read == Some(state) {
            return None;
        }
        self.last_read = Some(state);
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => BUILT_IN.to_owned(),
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the synonyms file cannot be read");
                return None;
            }
        };
        let (synonyms, invalid) = Synonyms::parse(&text);
        if !invalid.is_empty() {
            tracing::warn!(path = %self.path.display(), lines = ?invalid, "lines of the synonyms file name fewer than two words");
        }
        Some(synonyms)
    }
}

impl Search {
    pub(super) fn reload_synonyms(&self) {
        if let Some(synonyms) = self.inner.synonyms_file.lock().read() {
            *self.inner.synonyms.write() = Arc::new(synonyms);
        }
    }
}
