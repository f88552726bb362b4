//! A damaged store: what stands in for it until somebody has decided what becomes of it, and how it is put out of the
//! way.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::redb::{Claim, beside, io_error, sync_directory};
use super::{Commit, EachHour, EachSlot, Loaded, Store, StoreError};
use crate::engine::AuditEntry;
use crate::time::{Minute, Timestamp};

/// Stands in for a store that is damaged: there is nothing to go on from, and nothing can be committed.
///
/// With a [reserve](super::Reserved) over it, a freeze is kept all the same, for whatever store comes next.
#[derive(Debug)]
pub struct Damaged {
    path: PathBuf,
    detail: String,
    _claim: Claim,
}

impl Damaged {
    /// In place of the claimed store at `path`, of which `detail` was found.
    pub fn new(path: PathBuf, detail: String, claim: Claim) -> Self {
        Self { path, detail, _claim: claim }
    }

    /// What is wrong with it, and what is to be done.
    pub fn error(&self) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), detail: self.detail.clone() }
    }
}

impl Store for Damaged {
    fn revision(&self) -> Result<u64, StoreError> {
        Err(self.error())
    }

    /// Nothing: whoever begins with this has to say that nothing is known.
    fn load(&self) -> Result<Loaded, StoreError> {
        Ok(Loaded::default())
    }

    fn hours(&self, _from: Minute, _each: &mut EachHour<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    fn durations(&self, _from: Minute, _each: &mut EachSlot<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(&self, _revision: u64, _commit: &Commit) -> Result<(), StoreError> {
        Err(self.error())
    }

    fn audit(&self, _after: u64, _limit: usize, _service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        Err(self.error())
    }

    fn check(&self) -> Result<(), StoreError> {
        Err(self.error())
    }
}

/// Gives the claimed file at `path` a name that says since when it is out of the way, and returns that. Nothing is
/// deleted, and nothing that is there already is replaced.
///
/// # Errors
/// When it cannot be renamed.
pub fn set_aside(path: &Path, _claim: &Claim, now: Timestamp) -> Result<PathBuf, StoreError> {
    let fail = |source| io_error(path.to_owned(), source);
    let since = now.to_string().replace(['-', ':'], "");
    for number in 0..100 {
        let suffix = if number == 0 { format!(".damaged-{since}") } else { format!(".damaged-{since}-{number}") };
        let aside = beside(path, &suffix);
        // Unlike a rename this does not replace what has that name.
        match std::fs::hard_link(path, &aside) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fail(error)),
            Ok(()) => {
                std::fs::remove_file(path).and_then(|()| sync_directory(path)).map_err(fail)?;
                return Ok(aside);
            }
        }
    }
    Err(fail(ErrorKind::AlreadyExists.into()))
}
