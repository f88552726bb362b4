//! The file of the reserve: its blocks exist before they are needed, and are never given back.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::redb::StorageBackend;
use ::redb::backends::FileBackend;

use super::slots::{Found, Mark, Record, SLOT, read};
use crate::store::StoreError;
use crate::store::redb::{Claim, Disk, beside, io_error, sync_directory};

/// How many orders there is room for.
pub(super) const SLOTS: usize = 128;
/// How long the file is, in bytes.
pub(super) const LENGTH: usize = SLOTS * SLOT;

/// Room for orders that cannot be committed.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` when there was no room for the file.
    disk: Option<Disk>,
    slots: Vec<Found>,
    /// The last number that was given out.
    last: Mark,
}

impl Reserve {
    /// The reserve of the claimed store at `path`; it is created when it is not there yet. Without room for it there is
    /// none, until [`Reserve::allocate`] finds some.
    ///
    /// # Errors
    /// When there is a file and it cannot be read: it may hold a freeze.
    pub fn beside(path: &Path, _claim: &Claim) -> Result<Self, StoreError> {
        let path = beside(path, ".reserve");
        let fail = |source| io_error(path.clone(), source);
        let disk = match path.try_exists().map_err(fail)? {
            true => Some(opened(&path).map_err(fail)?),
            false => created(&path).map_err(fail).map_or_else(without_room, |disk| Ok(Some(disk)))?,
        };
        Self::on(disk, &path)
    }

    pub(super) fn on(disk: Option<Disk>, path: &Path) -> Result<Self, StoreError> {
        let slots = match &disk {
            Some(disk) => slots(disk).map_err(|source| io_error(path.to_owned(), source))?,
            None => Vec::new(),
        };
        for number in (0..slots.len()).filter(|number| slots[*number] == Found::Ruins) {
            tracing::warn!(
                "{}: order {number} cannot be read. If the power failed while it was written, nobody was told that it \
                 is in force; otherwise see whether a freeze is missing",
                path.display()
            );
        }
        let state = State { last: last_of(&slots), disk, slots };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The orders in it, oldest first.
    pub(super) fn orders(&self) -> Vec<Record> {
        let state = self.state();
        let orders = state.slots.iter().filter_map(|found| match found {
            Found::Order(record) => Some(Record::clone(record)),
            Found::Nothing | Found::Ruins => None,
        });
        let mut orders: Vec<Record> = orders.collect();
        orders.sort_by_key(|record| record.mark);
        orders
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        !self.state().slots.iter().any(|found| matches!(found, Found::Order(_)))
    }

    /// Numbers on from what a store has taken over.
    pub(super) fn go_on_after(&self, mark: Mark) {
        let is_empty = self.is_empty();
        let last = &mut self.state().last;
        if is_empty || (last.series == mark.series && last.number < mark.number) {
            *last = mark;
        }
    }

    /// The last number that was given out.
    pub(super) fn last_mark(&self) -> Mark {
        self.state().last
    }

    /// The next number; it is not given out again.
    pub(super) fn next_mark(&self) -> Mark {
        let last = &mut self.state().last;
        last.number += 1;
        *last
    }

    /// Writes an order; it is durable then.
    pub(super) fn write(&self, record: &Record) -> Result<(), StoreError> {
        let mut state = self.state();
        let fail = |source| io_error(self.path.clone(), source);
        let bytes = record.slot().ok_or_else(|| fail(io::Error::other("the order is too long to be kept here")))?;
        let free = state.slots.iter().position(|found| !matches!(found, Found::Order(_)));
        let (Some(number), Some(disk)) = (free, state.disk.clone()) else {
            return Err(StoreError::Full { path: self.path.clone() });
        };
        // From here on it may be there, whatever comes.
        state.slots[number] = Found::Order(Box::new(record.clone()));
        disk.write(number as u64 * SLOT as u64, &bytes).and_then(|()| disk.sync_data()).map_err(fail)
    }

    /// Wipes what a store has taken over. What cannot be wiped stays and is known by its mark.
    pub(super) fn wipe(&self, mark: Mark) {
        let mut state = self.state();
        let Some(disk) = state.disk.clone() else { return };
        let mut is_wiped = false;
        for (number, found) in state.slots.iter_mut().enumerate() {
            if matches!(found, Found::Order(record) if mark.covers(record.mark))
                && disk.write(number as u64 * SLOT as u64, &[0; SLOT]).is_ok()
            {
                *found = Found::Nothing;
                is_wiped = true;
            }
        }
        if is_wiped && disk.sync_data().is_err() {
            tracing::error!("{}: the disk failed; no freeze can be kept there before a restart", self.path.display());
        }
    }

    /// Creates the file if there was no room for it before.
    pub(super) fn allocate(&self) {
        let mut state = self.state();
        if state.disk.is_some() {
            return;
        }
        if let Ok(disk) = created(&self.path) {
            state.disk = Some(disk);
            state.slots = vec![Found::Nothing; SLOTS];
        }
    }
}

/// Goes on without a file when there is only no room for it.
fn without_room(error: StoreError) -> Result<Option<Disk>, StoreError> {
    match error {
        StoreError::Full { path } => {
            tracing::warn!("{}: no room for the reserve; on a full disk a freeze will be refused", path.display());
            Ok(None)
        }
        error => Err(error),
    }
}

/// Every slot of a file that may have been cut.
fn slots(disk: &Disk) -> io::Result<Vec<Found>> {
    let length = disk.len()?.min(LENGTH as u64) as usize;
    let mut bytes = vec![0; LENGTH];
    disk.read(0, &mut bytes[..length])?;
    Ok(bytes.chunks(SLOT).map(read).collect())
}

/// The last number of the latest order; where there is none, a new series, unlike any that a store may know.
fn last_of(slots: &[Found]) -> Mark {
    let marks = slots.iter().filter_map(|found| match found {
        Found::Order(record) => Some(record.mark),
        Found::Nothing | Found::Ruins => None,
    });
    marks.max().unwrap_or_else(|| Mark { series: RandomState::new().hash_one(LENGTH), number: 0 })
}

fn opened(path: &Path) -> io::Result<Disk> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    if length < LENGTH as u64 {
        allocate(&file, length)?;
    }
    disk(file)
}

/// Creates the file under another name, so that under its own there is all of it or nothing.
fn created(path: &Path) -> io::Result<Disk> {
    let new = beside(path, ".new");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
    let named = allocate(&file, 0).and_then(|()| std::fs::rename(&new, path)).and_then(|()| sync_directory(path));
    match named {
        Ok(()) => disk(file),
        Err(error) => {
            // A leftover is overwritten by the next try.
            let _ = std::fs::remove_file(&new);
            Err(error)
        }
    }
}

/// Writes zeros from `length` on: a hole would have no blocks.
fn allocate(mut file: &File, length: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(length))?;
    file.write_all(&vec![0; LENGTH - length as usize])?;
    file.sync_all()
}

fn disk(file: File) -> io::Result<Disk> {
    FileBackend::new(file).map(Disk::new).map_err(io::Error::other)
}
