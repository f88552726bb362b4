//! *Power cuts*: whatever was acknowledged is there after any of them, whole, and what was not is there whole or not at
//! all. `SLOGATE_CUTS` sets how many there are.

use super::disks::CutDisk;
use super::{Random, commit, contents, opened};
use crate::store::redb::disk::Disk;
use crate::store::redb::{Redb, open, tables};
use crate::store::{Loaded, Memory, Store};

/// How many times one disk loses its power.
const CUTS_OF_A_DISK: u64 = 10;

fn cuts() -> u64 {
    std::env::var("SLOGATE_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(300)
}

#[test]
fn f02_a_power_cut_loses_nothing_that_was_acknowledged_and_tears_nothing() {
    let mut met = Met::default();
    for seed in 0..cuts().div_ceil(CUTS_OF_A_DISK) {
        if let Err(found) = lives(seed, false, &mut met) {
            panic!("seed {seed}: {found}");
        }
    }
    assert!(met.recoveries > 20 && met.lost > 20 && met.kept > 5, "too few of some kind of cut: {met:?}");
}

/// What the power was cut in.
#[derive(Debug, Default)]
struct Met {
    /// In opening the store.
    recoveries: u64,
    /// In a commit that was not there afterwards.
    lost: u64,
    /// In a commit that was there although nobody was told.
    kept: u64,
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_caught() {
    let caught = (0..10).filter(|seed| lives(*seed, true, &mut Met::default()).is_err()).count();
    assert!(caught >= 8, "{caught} of 10 caught");
}

/// Many lives of one disk, each ended by a power cut; says what went wrong.
fn lives(seed: u64, lies: bool, met: &mut Met) -> Result<(), String> {
    let mut random = Random(seed);
    let disk = CutDisk::lying(lies);
    let database = open::database(Disk::new(disk.clone())).map_err(|error| format!("{error:?}"))?;
    tables::create(&database).map_err(|error| format!("{error:?}"))?;
    drop(database);
    let mut life = Life { random, disk, acknowledged: Memory::new(), doubtful: None, met };
    for _ in 0..CUTS_OF_A_DISK {
        life.live()?;
        life.disk.power_cycle(&mut life.random);
    }
    random = life.random.clone();
    life.disk.power_cycle(&mut random);
    life.wake().map(drop)
}

struct Life<'m> {
    random: Random,
    disk: CutDisk,
    /// What the store has to hold.
    acknowledged: Memory,
    /// The commit during which the power went; the store may hold it as well.
    doubtful: Option<super::Commit>,
    met: &'m mut Met,
}

impl Life<'_> {
    /// Commits until the power goes, which may be before the store is open.
    fn live(&mut self) -> Result<(), String> {
        // Half of the cuts come early, so that many hit the recovery from the one before.
        let longest = [12, 90][self.random.below(2) as usize];
        self.disk.cut_after(self.random.below(longest));
        let store = match self.wake() {
            Ok(store) => store,
            Err(_) if self.disk.is_off() => {
                self.met.recoveries += 1;
                return Ok(());
            }
            Err(found) => return Err(found),
        };
        loop {
            let Loaded { revision, kept, .. } = self.acknowledged.load().map_err(|error| error.to_string())?;
            let revision = revision + 1;
            let next = commit(&mut self.random, revision, kept.last_audit);
            match store.commit(revision, &next) {
                Ok(()) => self.acknowledge(&next),
                Err(_) if self.disk.is_off() => {
                    self.doubtful = Some(next);
                    return Ok(());
                }
                Err(error) => return Err(format!("commit {revision}: {error}")),
            }
        }
    }

    /// Opens the store and compares it with what it has to hold.
    fn wake(&mut self) -> Result<Redb, String> {
        let store = opened(&self.disk);
        let store = store.map_err(|error| format!("opening: {error}"))?;
        let stored = store.revision().map_err(|error| error.to_string())?;
        let expected = self.acknowledged.revision().map_err(|error| error.to_string())?;
        match (&self.doubtful.take(), stored.checked_sub(expected)) {
            (doubtful, Some(0)) => self.met.lost += u64::from(doubtful.is_some()),
            (Some(doubtful), Some(1)) => {
                self.met.kept += 1;
                self.acknowledge(doubtful);
            }
            _ => return Err(format!("revision {stored} instead of {expected}")),
        }
        match contents(&store) == contents(&self.acknowledged) {
            true => Ok(store),
            false => Err(format!("revision {stored} does not hold what was committed")),
        }
    }

    fn acknowledge(&mut self, commit: &super::Commit) {
        let revision = self.acknowledged.revision().map_or(0, |revision| revision + 1);
        self.acknowledged.commit(revision, commit).unwrap();
    }
}
