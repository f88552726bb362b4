//! Opening: one process at a time, nothing created half, and nothing touched that is not understood.
//!
//! Beside the store lies a lock file, held as long as the store is open and never deleted: two first starts cannot meet
//! in it. It says which process that is, and it is emptied when that process closes the store as it should; a name
//! left in it means a crash or a power cut, and then all checksums are verified before anything is believed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use ::redb::backends::FileBackend;
use ::redb::{Builder, Database, StorageBackend};

use super::disk::{Disk, Overlay, io_error};
use super::{CACHE_BYTES, Redb, SCHEMA, Trouble, tables};
use crate::store::StoreError;

/// That a process has the store open.
#[derive(Debug)]
pub(super) struct Presence {
    lock: File,
}

impl Drop for Presence {
    fn drop(&mut self) {
        // When this fails, the next start looks more closely than it needs to.
        let _ = self.lock.set_len(0);
    }
}

pub(super) fn open(path: &Path) -> Result<Redb, StoreError> {
    let (presence, unclean) = be_present(path)?;
    let exists = path.try_exists().map_err(|source| io_error(path.to_owned(), source))?;
    if !exists {
        create(path)?;
    }
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|source| io_error(path.to_owned(), source))?;
    let backend = FileBackend::new(file).map_err(|error| Trouble::from(error).at(path))?;
    Redb::on(Disk::new(backend), path, Some(presence), unclean && exists)
}

/// Takes the lock, and says whether whoever had it before did not close the store.
fn be_present(path: &Path) -> Result<(Presence, bool), StoreError> {
    let lock_path = beside(path, ".lock");
    let fail = |source| io_error(lock_path.clone(), source);
    let existed = lock_path.try_exists().map_err(fail)?;
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
    let mut lock = options.map_err(fail)?;
    let mut left = String::new();
    match lock.try_lock() {
        Ok(()) => {
            // What is not text is no process of ours, and leaves the store in doubt all the same.
            let _ = lock.read_to_string(&mut left);
        }
        Err(TryLockError::WouldBlock) => {
            let pid = lock.read_to_string(&mut left).ok().and_then(|_| left.trim().parse().ok());
            return Err(StoreError::InUse { path: path.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(fail(source)),
    }
    let unclean = !existed || lock.metadata().map_err(fail)?.len() > 0;
    let pid = format!("{}\n", std::process::id());
    let written = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(pid.as_bytes()));
    written.and_then(|()| lock.sync_all()).map_err(fail)?;
    Ok((Presence { lock }, unclean))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
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

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Opens a disk for redb.
pub(super) fn database(disk: impl StorageBackend) -> Result<Database, Trouble> {
    Ok(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(disk)?)
}

/// Looks at a store without touching it: that it is one, of a version that is known, and when it is in doubt also that
/// every checksum in it holds.
pub(super) fn look_at(disk: &Disk, path: &Path, doubtful: bool) -> Result<(), StoreError> {
    let looked = || -> Result<(), Trouble> {
        let io = |source| Trouble::Redb(::redb::Error::Io(source));
        if disk.len().map_err(io)? == 0 {
            return Err(Trouble::Unreadable("the file is empty".to_owned()));
        }
        let mut database = database(Overlay::over(disk.clone()).map_err(io)?)?;
        let found = tables::schema(&database)?;
        if found > SCHEMA {
            let path = path.to_owned();
            return Err(Trouble::Refused(StoreError::VersionNewer { path, found, known: SCHEMA }));
        }
        if doubtful { check(&mut database) } else { Ok(()) }
    };
    looked().map_err(|trouble| trouble.at(path))
}

/// Verifies every checksum.
pub(super) fn check(database: &mut Database) -> Result<(), Trouble> {
    let before = tables::revision(database)?;
    database.check_integrity()?;
    let after = tables::revision(database)?;
    match before == after {
        true => Ok(()),
        false => Err(Trouble::Unreadable(format!("commit {before} is broken; commit {after} is whole"))),
    }
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
