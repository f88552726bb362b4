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
pub mod scrape;
pub mod tail;

pub use archive::{Archive, Kind, open};
pub use blocks::{LineBlocks, Piece, Range};

use std::io;
use std::path::{Path, PathBuf};

use crate::spec::printable;

/// Why a log could not be read to its end: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// It cannot be opened.
    #[error("{}: cannot be opened ({}); {}", name(path), plain(source), advice(source))]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a directory.
    #[error("{}: is a directory; name the log files in it, such as {}", name(path), path.join("access.log*").display())]
    Directory {
        /// Which.
        path: PathBuf,
    },
    /// It is a named pipe, and nobody opens its other end.
    #[error("{}: is a pipe that nobody writes into; start the program that does and try again", name(path))]
    NoWriter {
        /// Which.
        path: PathBuf,
    },
    /// It is compressed with something other than gzip and Zstandard.
    #[error("{}: is compressed in a way that is not read here; pipe it: {unpack} FILE | slogate report -", name(path))]
    Strange {
        /// Which.
        path: PathBuf,
        /// What unpacks it.
        unpack: &'static str,
    },
    /// It is compressed and ends in the middle, or is damaged.
    #[error(
        "{}: the {what} data ends early or is damaged ({}); the lines before that place are counted, fetch or \
         compress the file again for the rest",
        name(path),
        plain(source)
    )]
    Torn {
        /// Which.
        path: PathBuf,
        /// How it is compressed.
        what: &'static str,
        /// What the decoder said.
        source: io::Error,
    },
    /// Reading failed in the middle.
    #[error("{}: reading stopped ({}); the lines before that place are counted, try again", name(path), plain(source))]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl IntakeError {
    /// The log that is meant.
    pub fn path(&self) -> &Path {
        match self {
            Self::Open { path, .. }
            | Self::Directory { path }
            | Self::NoWriter { path }
            | Self::Strange { path, .. }
            | Self::Torn { path, .. }
            | Self::Read { path, .. } => path,
        }
    }
}

/// What to call a log when speaking of it.
pub fn name(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => printable(&path.to_string_lossy()),
    }
}

/// What the system said, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_owned()
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "run as a user or in a group that may read it",
        _ => "check that it is a log file",
    }
}
