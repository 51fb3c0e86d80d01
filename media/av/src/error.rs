//! Why a job cannot be done.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be read as media: {source}", path.display())]
    BrokenInput {
        path: PathBuf,
        source: ffmpeg_next::Error,
    },
    #[error("{} holds no {what}", path.display())]
    Missing { path: PathBuf, what: &'static str },
    #[error("the manifest cannot be used: {0}")]
    Manifest(String),
    #[error("{} cannot be written: {source}", path.display())]
    Output {
        path: PathBuf,
        source: ffmpeg_next::Error,
    },
    #[error("libav lacks {0}")]
    Lacks(&'static str),
    #[error(transparent)]
    Av(#[from] ffmpeg_next::Error),
}

impl Error {
    pub fn broken(path: &Path) -> impl FnOnce(ffmpeg_next::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::BrokenInput { path, source }
    }

    pub fn output(path: &Path) -> impl FnOnce(ffmpeg_next::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Output { path, source }
    }

    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::BrokenInput { .. } => "broken_input",
            Error::Missing { .. } => "nothing_to_show",
            Error::Manifest(_) => "bad_manifest",
            Error::Output { .. } => "output",
            Error::Lacks(_) => "missing_codec",
            Error::Av(_) => "libav",
        }
    }

    /// The same input will fail again.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Error::BrokenInput { .. } | Error::Missing { .. } | Error::Manifest(_)
        )
    }
}
