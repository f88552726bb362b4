//! The store as a faulty machine has it: commits fail as planned, the power goes in the middle of one, and, to prove
//! that the simulation would notice, it can be made to break its promise.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Defect;
use super::plan::Trouble;
use crate::engine::{AuditEntry, Checkpoint};
use crate::store::{Commit, EachHour, EachSlot, Loaded, Memory, Redb, Store, StoreError};
use crate::time::Minute;

/// What outlives the process: a file, or its twin in memory.
#[derive(Clone, Debug)]
pub enum Shelf {
    Memory(Arc<Memory>),
    File,
}

/// The store of one process.
#[derive(Debug)]
pub struct Vault {
    store: Arc<dyn Store>,
    defect: Option<Defect>,
    state: Mutex<Machine>,
}

#[derive(Debug, Default)]
struct Machine {
    /// What becomes of the next commits, and of how many.
    planned: VecDeque<(Trouble, usize)>,
    /// Whether the power goes in the next commit, and whether that is made.
    power_fails: Option<bool>,
    is_off: bool,
    is_broken: bool,
    deeds: Vec<Deed>,
    /// How many commits the store was asked for; some defects strike at every so-manieth.
    asked: u64,
    /// What a defect keeps back for the next commit.
    kept_back: Vec<AuditEntry>,
    /// How many commits a defect denies to have made.
    denied: u64,
}

impl Machine {
    fn next_planned(&mut self) -> Option<Trouble> {
        let (trouble, times) = self.planned.front_mut()?;
        let trouble = *trouble;
        *times -= 1;
        if *times == 0 {
            self.planned.pop_front();
        }
        Some(trouble)
    }
}

/// What was asked of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Commit(Try),
    /// The windows are filled from it.
    Load,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    pub made: bool,
    pub told: bool,
    /// The last entry of the audit in it.
    pub audit: Option<u64>,
}

impl Vault {
    pub fn open(shelf: &Shelf, root: &Path, defect: Option<Defect>) -> Self {
        let store: Arc<dyn Store> = match shelf {
            Shelf::Memory(memory) => memory.clone(),
            Shelf::File => Arc::new(Redb::open(&root.join("store")).unwrap()),
        };
        Self { store, defect, state: Mutex::default() }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.state.lock().unwrap()
    }

    pub fn plan(&self, trouble: Trouble, times: usize) {
        self.machine().planned.push_back((trouble, times));
    }

    pub fn plan_power_failure(&self, made: bool) {
        self.machine().power_fails = Some(made);
    }

    /// From now on all goes well, as far as it still can.
    pub fn calm(&self) {
        let mut machine = self.machine();
        machine.planned.clear();
        machine.power_fails = None;
    }

    pub fn is_off(&self) -> bool {
        self.machine().is_off
    }

    pub fn is_broken(&self) -> bool {
        self.machine().is_broken
    }

    /// What was asked since the last time.
    pub fn deeds(&self) -> Vec<Deed> {
        std::mem::take(&mut self.machine().deeds)
    }

    /// How many commits of the store below make one.
    fn parts(&self) -> u64 {
        match self.defect {
            Some(Defect::OffsetsCommittedBeforeCounts | Defect::CountsCommittedBeforeOffsets) => 2,
            _ => 1,
        }
    }

    /// Makes a commit, or as many parts of it as the power lasts for.
    fn make(&self, revision: u64, commit: &Commit, is_whole: bool) -> Result<(), StoreError> {
        let (stored, mut machine) = (self.revision_of(self.store.revision()?), self.machine());
        let stored = stored - machine.denied;
        if revision != stored + 1 {
            return Err(StoreError::OutOfOrder { stored, given: revision });
        }
        machine.asked += 1;
        let parts = self.spoil(&mut machine, commit);
        let lasting = if is_whole { parts.len() } else { parts.len() - 1 };
        for part in &parts[..lasting] {
            self.store.commit(self.store.revision()? + 1, part)?;
        }
        Ok(())
    }

    /// The commits that are made in place of this one: itself, unless there is a defect.
    fn spoil(&self, machine: &mut Machine, commit: &Commit) -> Vec<Commit> {
        let mut spoilt = commit.clone();
        let offsets = || Commit { positions: commit.positions.clone(), ..Commit::default() };
        let others = || Commit { positions: Vec::new(), ..commit.clone() };
        match self.defect {
            Some(Defect::OffsetsCommittedBeforeCounts) => return vec![offsets(), others()],
            Some(Defect::CountsCommittedBeforeOffsets) => return vec![others(), offsets()],
            Some(Defect::SkippedCommit) if machine.asked.is_multiple_of(4) => return vec![Commit::default()],
            Some(Defect::StaleHold) if commit.checkpoint.audit.iter().any(|entry| entry.cause == "order") => {
                spoilt.checkpoint.gates.clear();
            }
            Some(Defect::AuditAfterReply) => {
                let audit = std::mem::replace(&mut machine.kept_back, spoilt.checkpoint.audit);
                spoilt.checkpoint = Checkpoint { audit, ..spoilt.checkpoint };
            }
            Some(Defect::LostGap) => spoilt.gaps.clear(),
            _ => {}
        }
        vec![spoilt]
    }

    fn revision_of(&self, stored: u64) -> u64 {
        stored / self.parts()
    }

    fn check_power(&self) -> Result<(), StoreError> {
        let machine = self.machine();
        match (machine.is_off, machine.is_broken) {
            (true, _) => Err(StoreError::Io { path: "store".into(), source: std::io::Error::other("no power") }),
            (false, true) => Err(StoreError::Failed { path: "store".into() }),
            (false, false) => Ok(()),
        }
    }
}

impl Store for Vault {
    fn revision(&self) -> Result<u64, StoreError> {
        self.check_power()?;
        Ok(self.revision_of(self.store.revision()?) - self.machine().denied)
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        self.check_power()?;
        self.machine().deeds.push(Deed::Load);
        let loaded = self.store.load()?;
        Ok(Loaded { revision: self.revision_of(loaded.revision), ..loaded })
    }

    fn hours(&self, from: Minute, each: &mut EachHour<'_>) -> Result<(), StoreError> {
        self.check_power()?;
        self.store.hours(from, each)
    }

    fn durations(&self, from: Minute, each: &mut EachSlot<'_>) -> Result<(), StoreError> {
        self.check_power()?;
        self.store.durations(from, each)
    }

    fn commit(&self, revision: u64, commit: &Commit) -> Result<(), StoreError> {
        let powered = self.check_power();
        let (planned, power_fails) = {
            let mut machine = self.machine();
            let power_fails = machine.power_fails.take();
            let is_tried = powered.is_ok() && power_fails.is_none();
            (if is_tried { machine.next_planned() } else { None }, power_fails)
        };
        let error = |error| if error == Trouble::Full { StoreError::Full { path: "store".into() } } else { failed() };
        let (makes, result) = match (powered, power_fails, planned) {
            (Err(error), _, _) => (None, Err(error)),
            (Ok(()), Some(made), _) => (Some(made), Err(failed())),
            (Ok(()), None, None) => (Some(true), Ok(())),
            (Ok(()), None, Some(trouble)) => {
                let made = matches!(trouble, Trouble::MadeAfterAll | Trouble::Broken { made: true });
                (Some(made), Err(error(trouble)))
            }
        };
        if let Some(is_whole) = makes {
            self.make(revision, commit, is_whole)?;
        }
        let mut machine = self.machine();
        machine.is_off |= power_fails.is_some();
        machine.is_broken |= matches!(planned, Some(Trouble::Broken { .. }));
        if self.defect == Some(Defect::DoubleReplay) && planned == Some(Trouble::MadeAfterAll) {
            machine.denied += 1;
        }
        let audit = commit.checkpoint.audit.last().map(|entry| entry.number);
        machine.deeds.push(Deed::Commit(Try { made: makes == Some(true), told: result.is_ok(), audit }));
        result
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        self.check_power()?;
        self.store.audit(after, limit, service)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.store.check()
    }
}

fn failed() -> StoreError {
    StoreError::Failed { path: "store".into() }
}
