//! Log files as they lie about: plain, gzip, zstd, or standard input.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::IntakeError;

/// How long somebody may take to open the other end of a named pipe.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// Whether it begins as text in UTF-16 does, of which no line can be read.
    pub is_utf16: bool,
    /// The file, where any part of it can be read at any time.
    pub file: Option<Arc<File>>,
    stream: Box<dyn Read + Send>,
}

/// Opens a log; `-` is standard input.
///
/// # Errors
/// When it cannot be opened, is a directory, is a pipe that nobody writes into, its first bytes cannot be read, or it
/// is compressed in another way.
pub fn open(path: &Path) -> Result<Archive, IntakeError> {
    let failed = |source| IntakeError::Open { path: path.to_owned(), source };
    if path.as_os_str() == "-" {
        return stream(path, 0, Box::new(io::stdin()));
    }
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(IntakeError::Directory { path: path.to_owned() });
    }
    if metadata.file_type().is_fifo() {
        return stream(path, 0, Box::new(open_pipe(path)?));
    }
    let mut file = File::open(path).map_err(failed)?;
    if !metadata.is_file() {
        return stream(path, 0, Box::new(file));
    }
    let beginning = beginning(&mut file).map_err(failed)?;
    refuse_strange(path, &beginning)?;
    file.rewind().map_err(failed)?;
    // A file without a size that has bytes all the same, as in /proc, cannot be cut into ranges.
    let is_sized = metadata.len() > 0 || beginning.is_empty();
    match Kind::of(&beginning) {
        Kind::Plain if is_sized => {
            let file = Arc::new(file);
            Ok(Archive {
                path: path.to_owned(),
                kind: Kind::Plain,
                size: metadata.len(),
                is_utf16: is_utf16(&beginning),
                stream: Box::new(Arc::clone(&file)),
                file: Some(file),
            })
        }
        _ => stream(path, metadata.len(), Box::new(file)),
    }
}

/// Opens a named pipe, which waits until somebody opens it to write.
fn open_pipe(path: &Path) -> Result<File, IntakeError> {
    let (opened_in, opened) = bounded(1);
    let waiting = path.to_owned();
    // Nothing ends this thread when nobody comes; it then lives as long as the process, and does nothing.
    thread::spawn(move || opened_in.send(File::open(waiting)));
    match opened.recv_timeout(PATIENCE) {
        Ok(file) => file.map_err(|source| IntakeError::Open { path: path.to_owned(), source }),
        Err(_) => Err(IntakeError::NoWriter { path: path.to_owned() }),
    }
}

/// A log that can only be read from its beginning to its end.
fn stream(path: &Path, size: u64, mut bytes: Box<dyn Read + Send>) -> Result<Archive, IntakeError> {
    let beginning = beginning(&mut bytes).map_err(|source| IntakeError::Open { path: path.to_owned(), source })?;
    refuse_strange(path, &beginning)?;
    let (kind, is_utf16) = (Kind::of(&beginning), is_utf16(&beginning));
    let stream = Box::new(io::Cursor::new(beginning).chain(bytes));
    Ok(Archive { path: path.to_owned(), kind, size, is_utf16, file: None, stream })
}

/// Refuses what logs are also compressed with, but not unpacked here.
fn refuse_strange(path: &Path, beginning: &[u8]) -> Result<(), IntakeError> {
    let unpack = match beginning {
        [b'B', b'Z', b'h', b'1'..=b'9'] => "bzip2 -dc",
        [0xFD, b'7', b'z', b'X'] => "xz -dc",
        [0x04, 0x22, 0x4D, 0x18] => "lz4 -dc",
        [b'P', b'K', 0x03, 0x04] => "unzip -p",
        _ => return Ok(()),
    };
    Err(IntakeError::Strange { path: path.to_owned(), unpack })
}

/// As many bytes as tell the kind of a log.
fn beginning(bytes: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    bytes.take(4).read_to_end(&mut beginning)?;
    Ok(beginning)
}

/// Whether a byte order mark of UTF-16 comes first.
fn is_utf16(beginning: &[u8]) -> bool {
    matches!(beginning, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..])
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
