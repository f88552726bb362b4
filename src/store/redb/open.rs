//! Opening: one process at a time, nothing created half, and nothing touched that is not understood.
//!
//! Beside the store lies a lock file, held as long as the store is open and never deleted, so that not even two first
//! starts can meet. It says which process holds it.
//!
//! Before the file is opened to be written, everything is looked at through an overlay that keeps all writes to itself:
//! every checksum is verified, which takes a fraction of the time that reading the counts takes, and the version is
//! read. What redb makes of a damaged file, repairs included, therefore never reaches it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::backends::FileBackend;
use ::redb::{Builder, Database, StorageBackend};

use super::disk::{Disk, Overlay, io_error};
use super::{CACHE_BYTES, Opener, Redb, SCHEMA, Trouble, tables};
use crate::store::StoreError;

/// That this process, and no other, has to do with the store at a path; as long as a clone of it lives.
#[derive(Clone, Debug)]
pub struct Claim {
    _lock: Arc<File>,
}

pub(super) fn open(path: &Path, claim: &Claim) -> Result<Redb, StoreError> {
    if !path.try_exists().map_err(|source| io_error(path.to_owned(), source))? {
        create(path)?;
    }
    let file = path.to_owned();
    Redb::on(Opener(Box::new(move || disk_at(&file))), path, Some(claim.clone()))
}

/// Looks at the store at `path` without touching it: that every checksum in it holds, and that its version is known.
///
/// # Errors
/// When there is none, it cannot be read, is damaged, or is of a later version.
pub fn look_at_file(path: &Path, _claim: &Claim) -> Result<(), StoreError> {
    look_at(&disk_at(path).map_err(|trouble| trouble.at(path))?, path)
}

fn disk_at(path: &Path) -> Result<Disk, Trouble> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|source| Trouble::Redb(::redb::Error::Io(source)))?;
    Ok(Disk::new(FileBackend::new(file)?))
}

impl Claim {
    /// Takes the lock beside the store at `path`, which need not be there, and writes into it who has it.
    ///
    /// # Errors
    /// When another process has it, or this one may not write there.
    pub fn on(path: &Path) -> Result<Self, StoreError> {
        check_place(path)?;
        let lock_path = beside(path, ".lock");
        let fail = |source| io_error(lock_path.clone(), source);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
        let mut lock = opened.map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let pid = lock.read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse().ok());
                return Err(StoreError::InUse { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        let pid = format!("{}\n", std::process::id());
        // In this order it needs no more room than it has, and where there is none at all nobody is told the number.
        let written = lock.write_all(pid.as_bytes()).and_then(|()| lock.set_len(pid.len() as u64));
        match written.map_err(fail) {
            Ok(()) | Err(StoreError::Full { .. }) => Ok(Self { _lock: Arc::new(lock) }),
            Err(error) => Err(error),
        }
    }
}

/// Whether a file can be at `path`: what the system says of one that cannot does not tell what to do.
fn check_place(path: &Path) -> Result<(), StoreError> {
    let misplaced = |why| Err(StoreError::Misplaced { path: path.to_owned(), why });
    if path.is_dir() {
        let inside = path.join("slogate.redb");
        let inside = inside.display();
        return misplaced(format!(
            "the store is a file, and this is a directory; set [store] url = \"redb:{inside}\" say"
        ));
    }
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    match directory.map(|directory| (directory.display(), std::fs::metadata(directory))) {
        Some((name, Err(error))) if error.kind() == ErrorKind::NotFound => misplaced(format!(
            "there is no directory {name} for the store; create it, or set [store] url to another place"
        )),
        Some((name, Ok(found))) if !found.is_dir() => {
            misplaced(format!("{name}, where the store is to be, is no directory; set [store] url to another place"))
        }
        _ => Ok(()),
    }
}

/// The path with something added to its name.
pub(in crate::store) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Creates an empty store under another name and then gives it its own, so that under that name there is a whole store
/// or nothing.
fn create(path: &Path) -> Result<(), StoreError> {
    let new = beside(path, ".new");
    let created = create_as(&new).map_err(|trouble| trouble.at(path));
    let named = created.and_then(|()| {
        std::fs::rename(&new, path).map_err(|source| io_error(path.to_owned(), source))?;
        sync_directory(path).map_err(|source| io_error(path.to_owned(), source))
    });
    named.inspect_err(|_| {
        // It was never a store; a leftover is overwritten by the next try.
        let _ = std::fs::remove_file(&new);
    })
}

fn create_as(new: &Path) -> Result<(), Trouble> {
    let io = |source| Trouble::Redb(::redb::Error::Io(source));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(new).map_err(io)?;
    let whole = file.try_clone().map_err(io)?;
    let database = database(Disk::new(FileBackend::new(file)?))?;
    tables::create(&database)?;
    drop(database);
    whole.sync_all().map_err(io)
}

pub(in crate::store) fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Opens a disk for redb.
pub(super) fn database(disk: impl StorageBackend) -> Result<Database, Trouble> {
    Ok(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(disk)?)
}

/// Looks at a store without touching it: that every checksum in it holds, and that its version is known.
pub(super) fn look_at(disk: &Disk, path: &Path) -> Result<(), StoreError> {
    let io = |source| Trouble::Redb(::redb::Error::Io(source));
    let look = || -> Result<(), Trouble> {
        if disk.len().map_err(io)? == 0 {
            return Err(unsound("the file is empty"));
        }
        let mut database = database(Overlay::over(disk.clone()).map_err(io)?)?;
        check(&mut database)?;
        let found = tables::schema(&database)?;
        match found > SCHEMA {
            true => Err(Trouble::Refused(StoreError::VersionNewer { path: path.to_owned(), found, known: SCHEMA })),
            false => Ok(()),
        }
    };
    // redb trusts what it reads before it has verified it, and a broken page can lead it to where it believes it cannot
    // be. All it has changed by then is the overlay, which goes with it.
    let looked = std::panic::catch_unwind(AssertUnwindSafe(look));
    looked.unwrap_or_else(|_| Err(unsound("its pages contradict each other"))).map_err(|trouble| trouble.at(path))
}

/// Verifies every checksum.
pub(super) fn check(database: &mut Database) -> Result<(), Trouble> {
    match database.check_integrity()? {
        true => Ok(()),
        // It could be made whole again, but only by going back to an earlier commit.
        false => Err(unsound("a checksum does not hold")),
    }
}

fn unsound(detail: &str) -> Trouble {
    Trouble::Unreadable(detail.to_owned())
}

/// That this process may not use a file, with who it is and whose the file is.
pub(super) fn denied(path: PathBuf) -> StoreError {
    let existing = path.ancestors().find_map(|path| std::fs::metadata(path).ok());
    StoreError::Denied { uid: user_of_this_process(), owner: existing.as_ref().and_then(owner), path }
}

#[cfg(unix)]
fn owner(metadata: &std::fs::Metadata) -> Option<u32> {
    Some(std::os::unix::fs::MetadataExt::uid(metadata))
}

#[cfg(not(unix))]
fn owner(_: &std::fs::Metadata) -> Option<u32> {
    None
}

/// Linux shows every process its own directory, which belongs to its user.
fn user_of_this_process() -> Option<u32> {
    std::fs::metadata("/proc/self").ok().as_ref().and_then(owner)
}
