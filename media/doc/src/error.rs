//! Errors of a document job.

use std::path::{Path, PathBuf};

/// Error of a document job; [`Error::code`] and the message go to the server as JSON.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// Reading needs a password.
    #[error("it is protected by a password")]
    Encrypted,
    /// The file violates its format.
    #[error("it is damaged: {0}")]
    Broken(String),
    /// A size in bytes, pixels or memory exceeds its limit.
    #[error("it is too large: {0}")]
    TooLarge(String),
    /// A count of parts or entries exceeds its limit.
    #[error("it has too many {0}")]
    TooMany(&'static str),
    /// The time limit was exceeded.
    #[error("reading it took too long")]
    TooSlow,
    /// The file contains a construct of known attacks.
    #[error("it holds something that only an attack needs: {0}")]
    Hostile(&'static str),
    /// No reader supports the format.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The input file cannot be read from disk.
    #[error("{} cannot be read: {source}", path.display())]
    Input {
        path: PathBuf,
        source: std::io::Error,
    },
    /// An output file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Output {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A child process or a thread cannot be started.
    #[error("the program cannot start its work: {0}")]
    Start(std::io::Error),
}

impl Error {
    /// Maps an error of a parser to [`Error::Broken`].
    pub fn broken(cause: impl std::fmt::Display) -> Error {
        Error::Broken(cause.to_string())
    }

    /// Maps an I/O error to [`Error::Input`].
    pub fn input(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Input { path, source }
    }

    /// Maps an I/O error to [`Error::Output`].
    pub fn output(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Output { path, source }
    }

    /// Error code in the JSON report.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Empty => "empty",
            Error::Encrypted => "encrypted",
            Error::Broken(_) => "broken",
            Error::TooLarge(_) => "too_large",
            Error::TooMany(_) => "too_many",
            Error::TooSlow => "too_slow",
            Error::Hostile(_) => "hostile",
            Error::Unsupported(_) => "unsupported",
            Error::Input { .. } => "input",
            Error::Output { .. } => "output",
            Error::Start(_) => "start",
        }
    }

    /// Returns true if a retry with the same file cannot succeed.
    pub fn is_final(&self) -> bool {
        !matches!(
            self,
            Error::Input { .. } | Error::Output { .. } | Error::Start(_)
        )
    }
}
