//! Intake: bytes of logs, cut into whole lines.
//!
//! Where the world is read. Intake knows files, compression and line ends, and no log format; what it yields are
//! [`Piece`]s of whole lines, in memory that does not grow with the log.
//!
//! - A plain file is cut into ranges that cores read independently: a line belongs to the range in which it begins.
//! - Compression is recognised by content, not by name. A compressed log that ends early gives the lines before the end
//!   and an error.
//! - A line longer than the buffer is skipped in constant memory and reported as oversize.

mod archive;
mod blocks;
pub mod tail;

pub use archive::{Archive, Kind, open};
pub use blocks::{LineBlocks, Piece, Range};

use std::path::{Path, PathBuf};

/// Why a log could not be read to its end: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// It cannot be opened.
    #[error("{}: cannot be opened ({source}); {}", path.display(), advice(source))]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is a directory.
    #[error("{}: is a directory; name the log files in it, such as {}/access.log*", path.display(), path.display())]
    Directory {
        /// Which.
        path: PathBuf,
    },
    /// It is compressed and ends in the middle, or is damaged.
    #[error(
        "{}: the {what} data ends early or is damaged ({source}); the lines before that place are counted, fetch or \
         compress the file again for the rest", path.display()
    )]
    Torn {
        /// Which.
        path: PathBuf,
        /// How it is compressed.
        what: &'static str,
        /// What the decoder said.
        source: std::io::Error,
    },
    /// Reading failed in the middle.
    #[error("{}: reading stopped ({source}); the lines before that place are counted, try again", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl IntakeError {
    /// The log that is meant.
    pub fn path(&self) -> &Path {
        match self {
            Self::Open { path, .. } | Self::Directory { path } | Self::Torn { path, .. } | Self::Read { path, .. } => {
                path
            }
        }
    }
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "check the path",
        std::io::ErrorKind::PermissionDenied => "run as a user or in a group that may read it",
        _ => "check that it is a log file",
    }
}
