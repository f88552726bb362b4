//! Log files as they lie about: plain, gzip, zstd, or standard input.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::IntakeError;

/// How a log is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it was written.
    Plain,
    /// gzip, of any number of members.
    Gzip,
    /// Zstandard, of any number of frames.
    Zstd,
}

impl Kind {
    pub(super) fn of(beginning: &[u8]) -> Self {
        match beginning {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// Its name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// A log that was opened.
pub struct Archive {
    /// As the user named it; `-` for standard input.
    pub path: PathBuf,
    /// How it is stored.
    pub kind: Kind,
    /// How many bytes it had when it was opened; 0 for a pipe.
    pub size: u64,
    /// The file, where any part of it can be read at any time.
    pub file: Option<Arc<File>>,
    stream: Box<dyn Read + Send>,
}

/// Opens a log; `-` is standard input.
///
/// # Errors
/// When it cannot be opened, is a directory, or its first bytes cannot be read.
pub fn open(path: &Path) -> Result<Archive, IntakeError> {
    let failed = |source| IntakeError::Open { path: path.to_owned(), source };
    if path.as_os_str() == "-" {
        return stream(path, 0, Box::new(io::stdin()));
    }
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(IntakeError::Directory { path: path.to_owned() });
    }
    if !metadata.is_file() {
        return stream(path, 0, Box::new(file));
    }
    let mut beginning = Vec::new();
    file.by_ref().take(4).read_to_end(&mut beginning).map_err(failed)?;
    file.rewind().map_err(failed)?;
    match Kind::of(&beginning) {
        Kind::Plain => {
            let file = Arc::new(file);
            Ok(Archive {
                path: path.to_owned(),
                kind: Kind::Plain,
                size: metadata.len(),
                stream: Box::new(Arc::clone(&file)),
                file: Some(file),
            })
        }
        _ => stream(path, metadata.len(), Box::new(file)),
    }
}

/// A log that can only be read from its beginning to its end.
fn stream(path: &Path, size: u64, mut bytes: Box<dyn Read + Send>) -> Result<Archive, IntakeError> {
    let mut beginning = Vec::new();
    let taken = bytes.by_ref().take(4).read_to_end(&mut beginning);
    taken.map_err(|source| IntakeError::Open { path: path.to_owned(), source })?;
    let kind = Kind::of(&beginning);
    let stream = Box::new(io::Cursor::new(beginning).chain(bytes));
    Ok(Archive { path: path.to_owned(), kind, size, file: None, stream })
}

impl Archive {
    /// Its text from the beginning; the bytes taken from the file are added to `read`.
    ///
    /// # Errors
    /// When the decoder cannot be set up.
    pub fn into_text(self, read: Arc<AtomicU64>) -> Result<Box<dyn Read + Send>, IntakeError> {
        let metered = Metered { bytes: self.stream, read };
        Ok(match self.kind {
            Kind::Plain => Box::new(metered),
            Kind::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, metered)))
            }
            Kind::Zstd => {
                let decoder = zstd::Decoder::new(metered);
                Box::new(decoder.map_err(|source| IntakeError::Open { path: self.path.clone(), source })?)
            }
        })
    }

    /// What an error while reading a log of this kind means.
    pub fn error(path: &Path, kind: Kind, source: io::Error) -> IntakeError {
        match kind {
            Kind::Plain => IntakeError::Read { path: path.to_owned(), source },
            Kind::Gzip | Kind::Zstd => IntakeError::Torn { path: path.to_owned(), what: kind.name(), source },
        }
    }
}

/// A reader that counts what passes through it.
struct Metered {
    bytes: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
