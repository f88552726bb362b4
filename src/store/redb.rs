//! The embedded store: one file, kept by redb.
//!
//! redb is a copy-on-write tree. A commit writes new pages beside the old ones, makes them durable, and only then turns
//! the header to them, with a second sync; until then the file is what it was. Quick repair keeps the allocator's state
//! in every commit, so that opening after a crash takes milliseconds, however large the file.
//!
//! - Counts are keyed by time first: those of one minute lie side by side, and old ones go in one range. Hours that are
//!   over lie in one packed row each (see `hours`).
//! - *An error closes the file.* What redb holds in memory after a failed write is not what is on the disk, so the next
//!   call opens the file anew and sees what it holds. A full disk needs nothing more when there is room again.
//! - *A failed sync is never tried again as if it had worked.* The kernel may have dropped what it could not write and
//!   say nothing the next time. The file is closed, opened once more and looked at like at a start; what it holds then
//!   is what was committed, and [`Store::revision`] tells whether that includes the last commit. When a sync fails
//!   after that, nothing is written any more until another process has looked at the file.
//! - The file is looked at before it is touched: a damaged one, or one of a later version, is refused as it is.

mod disk;
mod hours;
mod open;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use ::redb::Database;

use super::{Commit, EachHour, EachSlot, Loaded, ReadDurations, Store, StoreError};
use crate::engine::AuditEntry;
use crate::time::Minute;

pub(super) use disk::{Disk, io_error};
pub use open::{Claim, look_at_file};
pub(super) use open::{beside, sync_directory};

/// The version of what is in the file; a later one may mean something else. The first one had no hours; such a file is
/// read as it is, and gets this version with the first commit.
const SCHEMA: u64 = 2;
/// How much of the file redb keeps in memory, in bytes. The engine has the counts; what is left are the pages of the
/// minutes that are being written.
const CACHE_BYTES: usize = 16 << 20;

/// A store in a file.
#[derive(Debug)]
pub struct Redb {
    path: PathBuf,
    opener: Opener,
    file: RwLock<OpenFile>,
    /// Dropped after the file is closed.
    _claim: Option<Claim>,
}

/// What opens the disk that the store is on.
struct Opener(Box<dyn Fn() -> Result<Disk, Trouble> + Send + Sync>);

impl std::fmt::Debug for Opener {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Opener")
    }
}

/// What is open of the file.
#[derive(Debug)]
struct OpenFile {
    /// `None` after an error, until somebody needs it again.
    database: Option<Database>,
    /// `None` when it could not even be opened once more.
    disk: Option<Disk>,
    /// Whether it has been opened once more after a failed sync, which is not done twice.
    is_second: bool,
}

impl Redb {
    /// Opens the store at `path`, or creates it when there is nothing there.
    ///
    /// # Errors
    /// When it is in use, may not be read and written, is damaged, or is of a later version; it is left as it was.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_claimed(path, &Claim::on(path)?)
    }

    /// Opens or creates the store at `path`, which this process has claimed.
    ///
    /// # Errors
    /// As [`Redb::open`].
    pub fn open_claimed(path: &Path, claim: &Claim) -> Result<Self, StoreError> {
        open::open(path, claim)
    }

    /// Opens or creates a store on any kind of disk.
    fn on(opener: Opener, path: &Path, claim: Option<Claim>) -> Result<Self, StoreError> {
        let disk = (opener.0)().map_err(|trouble| trouble.at(path))?;
        open::look_at(&disk, path)?;
        let database = open::database(disk.clone()).map_err(|trouble| trouble.at(path))?;
        let file = OpenFile { database: Some(database), disk: Some(disk), is_second: false };
        Ok(Self { path: path.to_owned(), opener, file: RwLock::new(file), _claim: claim })
    }

    /// Does something with the open file, and closes it when that fails.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Trouble>) -> Result<T, StoreError> {
        let result = loop {
            let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
            match &file.database {
                Some(database) => break work(database),
                None => drop(file),
            }
            self.reopen()?;
        };
        result.map_err(|trouble| self.close_after(trouble))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        match &file.disk {
            _ if file.database.is_some() => Ok(()),
            Some(disk) if !disk.has_failed() => {
                let database = open::database(disk.clone()).map_err(|trouble| trouble.at(&self.path))?;
                file.database = Some(database);
                Ok(())
            }
            Some(_) | None if !file.is_second => self.open_once_more(&mut file),
            Some(_) | None => Err(self.failed()),
        }
    }

    /// After a failed sync: looks at what the file holds and goes on from there. Whatever goes wrong then is final;
    /// that the file cannot be opened is not, since whoever reads durations may have it open for a moment longer.
    fn open_once_more(&self, file: &mut OpenFile) -> Result<(), StoreError> {
        tracing::warn!("{}: a sync failed; looking at what the store holds", self.path.display());
        // It is locked as long as it is open.
        file.disk = None;
        let disk = (self.opener.0)().map_err(|trouble| trouble.at(&self.path))?;
        file.is_second = true;
        open::look_at(&disk, &self.path)?;
        disk.make_header_durable().map_err(|_| self.failed())?;
        let opened = open::database(disk.clone());
        file.database =
            Some(opened.map_err(|trouble| if disk.has_failed() { self.failed() } else { trouble.at(&self.path) })?);
        file.disk = Some(disk);
        Ok(())
    }

    fn failed(&self) -> StoreError {
        StoreError::Failed { path: self.path.clone() }
    }

    fn close_after(&self, trouble: Trouble) -> StoreError {
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        if !matches!(trouble, Trouble::Refused(_)) {
            file.database = None;
        }
        match file.disk.as_ref().is_none_or(Disk::has_failed) {
            true => self.failed(),
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

    fn hours(&self, from: Minute, each: &mut EachHour<'_>) -> Result<(), StoreError> {
        self.with(|database| tables::hours(database, from, each))
    }

    fn durations(&self, from: Minute, each: &mut EachSlot<'_>) -> Result<(), StoreError> {
        let durations = self.with(tables::durations)?;
        durations.read(from, each).map_err(|trouble| self.close_after(trouble))
    }

    fn durations_later(&self, from: Minute) -> Result<ReadDurations, StoreError> {
        let durations = self.with(tables::durations)?;
        let path = self.path.clone();
        Ok(Box::new(move |each| durations.read(from, each).map_err(|trouble| trouble.at(&path))))
    }

    fn commit(&self, revision: u64, commit: &Commit) -> Result<(), StoreError> {
        self.with(|database| tables::commit(database, revision, commit))
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        self.with(|database| tables::audit(database, after, limit, service))
    }

    fn check(&self) -> Result<(), StoreError> {
        self.revision()?;
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        let checked = file.database.as_mut().map_or(Ok(()), open::check);
        drop(file);
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
            Self::Redb(Error::Io(source)) => io_error(path, source),
            Self::Redb(Error::DatabaseAlreadyOpen) => StoreError::InUse { path, pid: None },
            Self::Redb(error @ (Error::PreviousIo | Error::DatabaseClosed | Error::LockPoisoned(_))) => {
                StoreError::Io { path, source: std::io::Error::other(error) }
            }
            Self::Redb(error) => corrupt(path, error.to_string()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
