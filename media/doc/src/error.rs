//! Why a file cannot be shown.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the file is empty")]
    Empty,
    #[error("it is protected by a password")]
    Encrypted,
    #[error("it is damaged: {0}")]
    Broken(String),
    /// Bytes, pixels or memory.
    #[error("it is too large: {0}")]
    TooLarge(String),
    /// Parts, pages or levels.
    #[error("it has too many {0}")]
    TooMany(&'static str),
    #[error("reading it took too long")]
    TooSlow,
    #[error("it holds something that only an attack needs: {0}")]
    Hostile(&'static str),
    #[error("{0}")]
    Unsupported(&'static str),
    #[error("{} cannot be read: {source}", path.display())]
    Input {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} cannot be written: {source}", path.display())]
    Output {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the program cannot start its work: {0}")]
    Start(std::io::Error),
}

impl Error {
    pub fn broken(cause: impl std::fmt::Display) -> Error {
        Error::Broken(cause.to_string())
    }

    pub fn input(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Input { path, source }
    }

    pub fn output(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Output { path, source }
    }

    /// A word for programs.
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

    /// The same file will fail again.
    pub fn is_final(&self) -> bool {
        !matches!(
            self,
            Error::Input { .. } | Error::Output { .. } | Error::Start(_)
        )
    }
}
