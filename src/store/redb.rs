//! The embedded store: one file, kept by redb.
//!
//! redb is a copy-on-write tree. A commit writes new pages beside the old ones, makes them durable, and only then turns
//! the header to them, with a second sync; until then the file is what it was. Quick repair keeps the allocator's state
//! in every commit, so that opening after a crash takes milliseconds, however large the file.
//!
//! - Counts are keyed minute first: those of one minute lie side by side, and old minutes go in one range.
//! - *An error closes the file.* What redb holds in memory after a failed write is not what is on the disk, so the next
//!   call opens the file anew and sees what it holds. A full disk needs nothing more when there is room again.
//! - *A failed sync is final.* The kernel may have dropped what it could not write and say nothing the next time, so
//!   nothing is written any more until another [`Redb`] has looked at the file.
//! - The file is looked at before it is touched: a damaged one, or one of a later version, is refused as it is.

mod disk;
mod open;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use ::redb::Database;

use super::{Commit, EachMinute, Loaded, Store, StoreError};
use crate::engine::AuditEntry;
use crate::time::Minute;

use disk::Disk;
use open::Presence;

/// The version of what is in the file; a later one may mean something else.
const SCHEMA: u64 = 1;
/// How much of the file redb keeps in memory, in bytes. The engine has the counts; what is left are the pages of the
/// minutes that are being written.
const CACHE_BYTES: usize = 16 << 20;

/// A store in a file.
#[derive(Debug)]
pub struct Redb {
    path: PathBuf,
    disk: Disk,
    /// `None` after an error, until somebody needs it again.
    database: RwLock<Option<Database>>,
    /// Dropped after the database is closed.
    _presence: Option<Presence>,
}

impl Redb {
    /// Opens the store at `path`, or creates it when there is nothing there.
    ///
    /// # Errors
    /// When it is in use, may not be read and written, is damaged, or is of a later version; it is left as it was.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        open::open(path)
    }

    /// Opens or creates a store on any kind of disk.
    fn on(disk: Disk, path: &Path, presence: Option<Presence>) -> Result<Self, StoreError> {
        open::look_at(&disk, path)?;
        let database = open::database(disk.clone()).map_err(|trouble| trouble.at(path))?;
        Ok(Self { path: path.to_owned(), disk, database: RwLock::new(Some(database)), _presence: presence })
    }

    /// Does something with the open file, and closes it when that fails.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Trouble>) -> Result<T, StoreError> {
        let result = loop {
            if self.disk.has_failed() {
                return Err(StoreError::Failed { path: self.path.clone() });
            }
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            match &*database {
                Some(database) => break work(database),
                None => drop(database),
            }
            self.reopen()?;
        };
        result.map_err(|trouble| self.close_after(trouble))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some(open::database(self.disk.clone()).map_err(|trouble| trouble.at(&self.path))?);
        }
        Ok(())
    }

    fn close_after(&self, trouble: Trouble) -> StoreError {
        if !matches!(trouble, Trouble::Refused(_)) {
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        match self.disk.has_failed() {
            true => StoreError::Failed { path: self.path.clone() },
            false => trouble.at(&self.path),
        }
    }
}

impl Store for Redb {
    fn revision(&self) -> Result<u64, StoreError> {
        self.with(tables::revision)
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        self.with(tables::load)
    }

    fn minutes(&self, from: Minute, each: &mut EachMinute<'_>) -> Result<(), StoreError> {
        self.with(|database| tables::minutes(database, from, each))
    }

    fn commit(&self, revision: u64, commit: &Commit) -> Result<(), StoreError> {
        self.with(|database| tables::commit(database, revision, commit))
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        self.with(|database| tables::audit(database, after, limit, service))
    }

    fn check(&self) -> Result<(), StoreError> {
        self.revision()?;
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let checked = database.as_mut().map_or(Ok(()), open::check);
        drop(database);
        checked.map_err(|trouble| self.close_after(trouble))
    }
}

/// What went wrong, before it is known with which file.
#[derive(Debug)]
enum Trouble {
    /// redb or the system says so.
    Redb(::redb::Error),
    /// The tables do not hold what we write.
    Unreadable(String),
    /// Nothing is wrong with the file.
    Refused(StoreError),
}

macro_rules! from_redb {
    ($($error:ident)*) => {
        $(impl From<::redb::$error> for Trouble {
            fn from(error: ::redb::$error) -> Self {
                Self::Redb(error.into())
            }
        })*
    };
}

from_redb!(DatabaseError TransactionError TableError StorageError CommitError SetDurabilityError);

impl Trouble {
    fn at(self, path: &Path) -> StoreError {
        use ::redb::Error;
        let path = path.to_owned();
        let corrupt = |path, detail| StoreError::Corrupt { path, detail };
        match self {
            Self::Refused(error) => error,
            Self::Unreadable(detail) => corrupt(path, detail),
            Self::Redb(Error::Io(source)) => disk::io_error(path, source),
            Self::Redb(Error::DatabaseAlreadyOpen) => StoreError::InUse { path, pid: None },
            Self::Redb(error @ (Error::PreviousIo | Error::DatabaseClosed | Error::LockPoisoned(_))) => {
                StoreError::Io { path, source: std::io::Error::other(error) }
            }
            Self::Redb(error) => corrupt(path, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
