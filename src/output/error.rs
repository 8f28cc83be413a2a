//! Why an output cannot be written, and what to do about it.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why an output cannot be written.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the fields are named and the messages tell the rest")]
pub enum Error {
    #[error("{}: {step}: {source}", path.display())]
    Io { path: PathBuf, step: &'static str, source: io::Error },
    #[error("{}: the file exists", path.display())]
    Exists { path: PathBuf },
    #[error("{}: it is another file of this run, and may not be written over", path.display())]
    SameFile { path: PathBuf },
    #[error("{}: no name of a file to write", path.display())]
    NoName { path: PathBuf },
    #[error("{}: it exists, and is no regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{}: it is complete, but its name could not be made durable: {source}", path.display())]
    NameNotDurable { path: PathBuf, source: io::Error },
    #[error("{}: {need} bytes are needed, {free} are free", directory.display())]
    NoSpace { directory: PathBuf, need: u64, free: u64 },
}

impl Error {
    /// A short, stable name for machine output.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Exists { .. } => "output-exists",
            Self::SameFile { .. } => "same-file",
            Self::NoName { .. } => "no-output-name",
            Self::NoSpace { .. } => "no-space",
            Self::NotAFile { .. } => "not-a-file",
            Self::NameNotDurable { .. } => "name-not-durable",
        }
    }

    /// Whether the output is there all the same.
    #[must_use]
    pub fn is_there(&self) -> bool {
        matches!(self, Self::NameNotDurable { .. })
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Io { .. } => "see to the cause and run it again",
            Self::Exists { .. } => "give another name, or --overwrite to replace it",
            Self::SameFile { .. } => "give another name",
            Self::NoName { .. } => "give the path of a file as --output",
            Self::NotAFile { .. } => "give the name of a file, or a name that is not taken",
            Self::NameNotDurable { .. } => {
                "it is there and whole; after a loss of power it may be gone: run `sync`, see that it is still there"
            }
            Self::NoSpace { .. } => "free some space, or write to another file system",
        }
    }
}
