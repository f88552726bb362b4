//! The store: what survives the process.
//!
//! Counts, read positions, gate states and audit entries are kept together in one transaction, so that a crash at any
//! instruction replays from the last commit and arrives at the same integers. Everything behind [`Store`] is plain data
//! of the rooms above; no room above knows how it is kept. There are two: [`Redb`], one file on this machine, and
//! [`Memory`], its twin for tests and for a server that need not remember. [`Reserved`] adds to one of them what is
//! kept for it while it cannot be written.
//!
//! - A store counts its commits: the [revision](Store::revision). A commit names the revision that it makes, so that
//!   none can be made twice, and after an error anyone can see whether it was made after all. [`Writer`] does that.
//! - Counts in a commit are additions, durations too. What is added up is the store's business.
//! - Nothing is repaired behind anyone's back: a file that is not a sound store of ours is refused and left as it is.
//!
//! It keeps no sample of refused records, which may hold what nobody wants to find on a disk.

mod damaged;
mod memory;
mod pages;
mod record;
mod redb;
mod reserve;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::{
    AuditEntry, Checkpoint, Engine, Gap, Kept, Recall, RestoringDurations, SeriesId, SlotCounts, SourceRename,
};
use crate::spec::Catalog;
use crate::time::{Horizon, Minute, Timestamp};
use crate::window::PackedHour;

pub use self::redb::{Claim, Redb, look_at_file};
pub use damaged::{Damaged, set_aside};
pub use memory::Memory;
pub use reserve::{Reserve, Reserved};
pub use writer::Writer;

/// How many gap records [`Store::load`] gives at most, the newest; all are kept.
pub const MOST_GAPS: usize = 10_000;
/// How many audit entries [`Store::audit`] gives at most.
pub const MOST_AUDIT: usize = 1_000;
/// How many audit entries are looked at for the gates of a past instant.
const MOST_RECALLED: usize = 20_000;

/// Everything that changes in one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// What the engine counted and decided.
    pub checkpoint: Checkpoint,
    /// How far sources have been read; the last one under a key counts.
    pub positions: Vec<Position>,
    /// What could not be read, oldest first.
    pub gaps: Vec<Gap>,
}

/// How far something has been read: opaque to the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Whose.
    pub source: String,
    /// Of what.
    pub key: Vec<u8>,
    /// How far; `None` takes it out.
    pub at: Option<Vec<u8>>,
}

/// Everything that a start needs, but for the counts of the minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The number of commits so far.
    pub revision: u64,
    /// What the engine goes on from.
    pub kept: Kept,
    /// Read positions, by source and key.
    pub positions: Vec<Position>,
    /// The newest gap records, oldest first.
    pub gaps: Vec<Gap>,
}

impl Loaded {
    /// Tells read positions and gaps under the new names of their sources; the engine sees to the rest.
    fn follow(&mut self, renamed: Vec<SourceRename>) {
        let names = self.positions.iter_mut().map(|position| &mut position.source);
        for name in names.chain(self.gaps.iter_mut().map(|gap| &mut gap.source)) {
            *name = SourceRename::latter(&renamed, std::mem::take(name));
        }
        self.kept.renamed_sources = renamed;
    }
}

/// What is told the counts of one hour after the other; hours are numbered from the epoch.
pub type EachHour<'a> = dyn FnMut(i64, &[(SeriesId, PackedHour<'_>)]) + 'a;

/// What is told the durations of one slot after the other.
pub type EachSlot<'a> = dyn FnMut(&SlotCounts) + 'a;

/// What hands over durations as they were when it was made.
pub type ReadDurations = Box<dyn FnOnce(&mut EachSlot<'_>) -> Result<(), StoreError> + Send>;

/// Where things are kept.
///
/// What a commit returned `Ok` for is there, whole, after any crash or power cut; what it returned an error for is
/// there whole or not at all, and [`Store::revision`] tells which.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// The number of commits that have been made.
    ///
    /// # Errors
    /// When it cannot be read.
    fn revision(&self) -> Result<u64, StoreError>;

    /// Everything that a start needs, but for the counts of the minutes.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    fn load(&self) -> Result<Loaded, StoreError>;

    /// Hands over the counts of every hour from that of `from` on that has any, in ascending order, an hour in one or
    /// more parts: each series that was counted in it is in one of them.
    ///
    /// # Errors
    /// When they cannot be read, or are not what was written.
    fn hours(&self, from: Minute, each: &mut EachHour<'_>) -> Result<(), StoreError>;

    /// Hands over the durations of every slot from the day of `from` on, by day, series and hour.
    ///
    /// # Errors
    /// When they cannot be read, or are not what was written.
    fn durations(&self, from: Minute, each: &mut EachSlot<'_>) -> Result<(), StoreError>;

    /// What hands over the same durations later, without those of commits that are made in the meantime.
    ///
    /// # Errors
    /// As [`Store::durations`].
    fn durations_later(&self, from: Minute) -> Result<ReadDurations, StoreError> {
        let mut slots = Vec::new();
        self.durations(from, &mut |slot| slots.push(slot.clone()))?;
        Ok(Box::new(move |each| {
            slots.iter().for_each(each);
            Ok(())
        }))
    }

    /// Makes a commit, whole and durable; `revision` is the number that it gets, one more than the last.
    ///
    /// # Errors
    /// When it is not known to be durable, or its revision is not the next one.
    fn commit(&self, revision: u64, commit: &Commit) -> Result<(), StoreError>;

    /// The audit entries with numbers above `after`, of one service or of all, in order: at most `limit` and at most
    /// [`MOST_AUDIT`] of them.
    ///
    /// # Errors
    /// When they cannot be read.
    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError>;

    /// A number for an order, as a position that is to be committed together with what the order comes to, whether it
    /// is [kept](Store::keep) before or not: it also covers whatever was kept earlier. `None` when there is no reserve.
    fn ticket(&self) -> Option<Position> {
        None
    }

    /// Keeps an order that could not be committed, so that the next process finds it unless a commit with its ticket
    /// was made; see [`Reserved`]. Only freezes are kept; they get the number of their entry later.
    ///
    /// # Errors
    /// When it is not known to be durable, or there is no room for it.
    ///
    /// # Panics
    /// When the ticket is none of this store's, or the order is no freeze.
    fn keep(&self, _ticket: &Position, _order: &AuditEntry) -> Result<(), StoreError> {
        Err(StoreError::NoReserve)
    }

    /// Looks at everything there is for damage.
    ///
    /// # Errors
    /// When there is any, or it cannot be read.
    fn check(&self) -> Result<(), StoreError>;
}

/// What can go wrong with a store, each with what is to be done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{}: the store is in use by {}; stop it first, or give this one another [store] url", path.display(), process(*pid))]
    InUse {
        /// The file.
        path: PathBuf,
        /// Whose it is, if that can be known.
        pid: Option<u32>,
    },
    /// This process may not write there.
    #[error("{}: user {} may not read and write here{}", path.display(), number(*uid), owner_of(*owner))]
    Denied {
        /// The file or its directory.
        path: PathBuf,
        /// Who this process is.
        uid: Option<u32>,
        /// Whose the file or directory is.
        owner: Option<u32>,
    },
    /// There can be no store at that path.
    #[error("{}: {why}", path.display())]
    Misplaced {
        /// Where the store was to be.
        path: PathBuf,
        /// Why not there, and what to do.
        why: String,
    },
    /// It was written by a later version.
    #[error("{}: the store has version {found}, and this program knows up to {known}; use a newer slogate", path.display())]
    VersionNewer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version this program knows.
        known: u64,
    },
    /// It is not a sound store.
    #[error(
        "{}: the store is damaged ({detail}); nothing was changed: put a backup in its place, or stop the server, run \
         `slogate store set-aside` and start it to begin anew",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// There is no room on the disk.
    #[error("{}: the disk is full; nothing is lost, and writing goes on when there is room", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The disk did not do what it was asked to, and what is on it is not certain any more.
    #[error(
        "{}: the disk failed to make a write durable; what it holds is looked at once more, and after another failure \
         only by a restart",
        path.display()
    )]
    Failed {
        /// The file.
        path: PathBuf,
    },
    /// Any other trouble with the file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no reserve.
    #[error("there is no reserved file for it")]
    NoReserve,
    /// The commit is not the next one: it has been made already, or there is another writer.
    #[error("commit {given} does not follow revision {stored}")]
    OutOfOrder {
        /// The revision of the store.
        stored: u64,
        /// That of the commit.
        given: u64,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map_or("another process".to_owned(), |pid| format!("process {pid}"))
}

fn number(uid: Option<u32>) -> String {
    uid.map_or("of this process".to_owned(), |uid| uid.to_string())
}

fn owner_of(owner: Option<u32>) -> String {
    owner.map_or(String::new(), |owner| format!("; the owner is user {owner}"))
}

/// Restores an engine for `catalog` from a store, as of `now`, its windows at least as long as `kept` and as the
/// longest of the catalog; with it what else a start needs.
///
/// # Errors
/// When the store cannot be read.
pub fn restore(
    store: &dyn Store,
    catalog: Arc<Catalog>,
    kept: Horizon,
    now: Timestamp,
) -> Result<(Engine, Loaded), StoreError> {
    let (mut engine, loaded, durations) = restore_counts(store, catalog, kept, now)?;
    engine.take_durations(durations.read()?);
    Ok((engine, loaded))
}

/// The same without the durations, which may be read while the engine is at work already.
///
/// # Errors
/// When the store cannot be read.
pub fn restore_counts(
    store: &dyn Store,
    catalog: Arc<Catalog>,
    kept: Horizon,
    now: Timestamp,
) -> Result<(Engine, Loaded, LaterDurations), StoreError> {
    restore_renamed(store, catalog, kept, now, |_| Vec::new())
}

/// The same with sources that go on under other names, which `renamed` finds in what is kept. Everything is told under
/// the new names; the store has them with the first checkpoint of the engine.
///
/// # Errors
/// When the store cannot be read.
pub fn restore_renamed(
    store: &dyn Store,
    catalog: Arc<Catalog>,
    kept: Horizon,
    now: Timestamp,
    renamed: impl FnOnce(&Loaded) -> Vec<SourceRename>,
) -> Result<(Engine, Loaded, LaterDurations), StoreError> {
    let mut loaded = store.load()?;
    loaded.follow(renamed(&loaded));
    let (mut restoring, into) = Engine::keeping(catalog, kept).restore(&loaded.kept, now);
    let from = restoring.from();
    store.hours(from, &mut |hour, counts| restoring.add(hour, counts))?;
    let read = store.durations_later(from)?;
    let mut engine = restoring.finish();
    engine.note_gaps(loaded.gaps.iter().cloned());
    Ok((engine, loaded, LaterDurations { read, into }))
}

/// Durations that are still to be read. They are as many bytes as the counts, and nothing is decided by them.
pub struct LaterDurations {
    read: ReadDurations,
    into: RestoringDurations,
}

impl std::fmt::Debug for LaterDurations {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("LaterDurations")
    }
}

impl LaterDurations {
    /// Reads them, for [`Engine::take_durations`].
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(self) -> Result<RestoringDurations, StoreError> {
        let Self { read, mut into } = self;
        read(&mut |slot| into.add(slot))?;
        Ok(into)
    }
}

/// What the audit of a store, in which `last` is the last number, tells of the gates at a past instant. When it cannot
/// be read, or reaches too far back, that is what is told.
pub fn recall(store: &dyn Store, catalog: &Catalog, last: u64, at: Timestamp) -> Recall {
    let mut recall = Recall::new(catalog, at);
    let mut end = last;
    for _ in 0..MOST_RECALLED / MOST_AUDIT {
        let start = end.saturating_sub(MOST_AUDIT as u64);
        match store.audit(start, MOST_AUDIT, None) {
            Ok(entries) => {
                entries.iter().rev().filter(|entry| entry.number <= end).for_each(|entry| recall.look(entry))
            }
            Err(error) => return recall.given_up(&error.to_string()),
        }
        if start == 0 || recall.is_done() {
            return recall;
        }
        end = start;
    }
    recall.given_up(&format!("of the audit, only the last {MOST_RECALLED} entries are looked at"))
}

#[cfg(test)]
mod tests;
