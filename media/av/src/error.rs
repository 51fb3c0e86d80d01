//! Errors of a media job.

use std::path::{Path, PathBuf};

/// Error of a media job; [`Error::code`] and the message go to the server as JSON.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not media, or the demuxer or the decoder failed.
    #[error("{} cannot be read as media: {source}", path.display())]
    BrokenInput {
        path: PathBuf,
        source: ffmpeg_next::Error,
    },
    /// The file has no stream of the needed kind, or the stream has no frame.
    #[error("{} holds no {what}", path.display())]
    NoStream { path: PathBuf, what: &'static str },
    /// The manifest is not valid JSON or violates its rules.
    #[error("the manifest cannot be used: {0}")]
    Manifest(String),
    /// The output file cannot be created or written.
    #[error("{} cannot be written: {source}", path.display())]
    Output {
        path: PathBuf,
        source: ffmpeg_next::Error,
    },
    /// This build of libav lacks an encoder.
    #[error("libav lacks {0}")]
    MissingCodec(&'static str),
    /// Any other error of libav.
    #[error(transparent)]
    Av(#[from] ffmpeg_next::Error),
}

impl Error {
    /// Maps a libav error to [`Error::BrokenInput`].
    pub fn broken(path: &Path) -> impl FnOnce(ffmpeg_next::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::BrokenInput { path, source }
    }

    /// Maps a libav error to [`Error::Output`].
    pub fn output(path: &Path) -> impl FnOnce(ffmpeg_next::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Output { path, source }
    }

    /// Error code in the JSON report.
    pub fn code(&self) -> &'static str {
        match self {
            Error::BrokenInput { .. } => "broken_input",
            Error::NoStream { .. } => "nothing_to_show",
            Error::Manifest(_) => "bad_manifest",
            Error::Output { .. } => "output",
            Error::MissingCodec(_) => "missing_codec",
            Error::Av(_) => "libav",
        }
    }

    /// Returns true if a retry with the same input cannot succeed.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Error::BrokenInput { .. } | Error::NoStream { .. } | Error::Manifest(_)
        )
    }
}
