//! The county's synonyms: a file that is read again when it has changed.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tongke_search::Synonyms;

use super::Search;

/// What is used where the county has no file of its own.
const BUILT_IN: &str = include_str!("../../deploy/synonyms.txt");

/// The file, and the state of it that was read last.
pub struct SynonymsFile {
    path: PathBuf,
    read: Option<Option<(SystemTime, u64)>>,
}

impl SynonymsFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: None }
    }

    /// The synonyms, if they are others than were read last. A file that cannot be read leaves what there is.
    pub fn read(&mut self) -> Option<Synonyms> {
        let state = fs::metadata(&self.path)
            .and_then(|metadata| Ok((metadata.modified()?, metadata.len())))
            .ok();
        if self.read == Some(state) {
            return None;
        }
        self.read = Some(state);
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => BUILT_IN.to_owned(),
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the file of synonyms cannot be read");
                return None;
            }
        };
        let (synonyms, odd) = Synonyms::parse(&text);
        if !odd.is_empty() {
            tracing::warn!(path = %self.path.display(), lines = ?odd, "these lines of the file of synonyms name no two words");
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
