//! Files as they lie on the disk: which file it is, how long, and its bytes at a place.
//!
//! Every touch of a file goes through here, so that the tests can make any of them fail.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    pub dev: u64,
    pub ino: u64,
    /// When the inode was born, in nanoseconds since the epoch; `None` where the file system does not say. It tells a
    /// file from an earlier one that had the same inode.
    pub birth: Option<u64>,
}

impl FileId {
    /// Whether both are the same file on another device number, as after a restart of the machine.
    pub fn moved(self, other: Self) -> bool {
        self.ino == other.ino && self.ino != 0 && self.birth.is_some() && self.birth == other.birth
    }

    /// Whether this one may have been born after `other`.
    pub fn may_be_younger(self, other: Self) -> bool {
        match (self.birth, other.birth) {
            (Some(this), Some(other)) => this >= other,
            _ => true,
        }
    }
}

/// What the file system says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub id: FileId,
    pub size: u64,
    /// Of the last change of the content and of the inode, in nanoseconds.
    pub changed: (i64, i64),
    pub is_regular: bool,
}

impl Stat {
    /// When the content changed last, in nanoseconds since the epoch.
    pub fn modified(&self) -> u64 {
        u64::try_from(self.changed.0).unwrap_or(0)
    }

    fn new(metadata: &Metadata) -> Self {
        let birth = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            id: FileId {
                dev: metadata.dev(),
                ino: metadata.ino(),
                birth: birth.and_then(|born| u64::try_from(born.as_nanos()).ok()).filter(|_| faults::has_birth()),
            },
            size: metadata.len(),
            changed: (nanos(metadata.mtime(), metadata.mtime_nsec()), nanos(metadata.ctime(), metadata.ctime_nsec())),
            is_regular: metadata.is_file(),
        }
    }
}

/// What lies at `path`, behind symlinks.
pub(super) fn stat(path: &Path) -> io::Result<Stat> {
    faults::check(path, "stat")?;
    Ok(Stat::new(&fs::metadata(path)?))
}

/// Whether `path` itself is a symlink.
pub(super) fn is_symlink(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// Opens the file at `path`, which must be a regular one, without ever waiting for it: in place of the file that was
/// looked at there may be a pipe by now.
pub(super) fn open(path: &Path) -> io::Result<(File, Stat)> {
    faults::check(path, "open")?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let stat = Stat::new(&file.metadata()?);
    if !stat.is_regular {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((file, stat))
}

/// What the file system says about an open file. `path` is its name for the tests.
pub(super) fn stat_open(file: &File, path: &Path) -> io::Result<Stat> {
    faults::check(path, "fstat")?;
    Ok(Stat::new(&file.metadata()?))
}

/// Fills `buffer` from byte `offset` on, as far as the file goes; returns how many bytes that were.
pub(super) fn read_at(file: &File, path: &Path, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    faults::check(path, "read")?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(not(test))]
mod faults {
    use std::io;
    use std::path::Path;

    #[inline]
    pub fn check(_path: &Path, _what: &str) -> io::Result<()> {
        Ok(())
    }

    #[inline]
    pub fn has_birth() -> bool {
        true
    }
}

/// Failures that a test asks for: the superuser may read everything, and nobody has a network file system at hand.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::{Cell, RefCell};
    use std::collections::{BTreeMap, BTreeSet};
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};

    static PANICS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

    thread_local! {
        static FAILING: RefCell<BTreeMap<(PathBuf, &'static str), i32>> = const { RefCell::new(BTreeMap::new()) };
        static BIRTH: Cell<bool> = const { Cell::new(true) };
    }

    pub fn check(path: &Path, what: &'static str) -> io::Result<()> {
        let is_fatal = what == "read" && PANICS.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        assert!(!is_fatal, "a fault in reading {}", path.display());
        let failing = FAILING.with_borrow(|failing| failing.get(&(path.to_owned(), what)).copied());
        failing.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// From now on `what` fails for `path` on this thread, with this error; with `None` no longer.
    pub fn fail(path: &Path, what: &'static str, errno: Option<i32>) {
        FAILING.with_borrow_mut(|failing| match errno {
            Some(errno) => drop(failing.insert((path.to_owned(), what), errno)),
            None => drop(failing.remove(&(path.to_owned(), what))),
        });
    }

    /// Whoever reads `path` next panics, on any thread.
    pub fn panic_once(path: &Path) {
        PANICS.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }

    pub fn has_birth() -> bool {
        BIRTH.get()
    }

    /// Whether files tell when they were born, on this thread.
    pub fn set_birth(has_birth: bool) {
        BIRTH.set(has_birth);
    }
}
