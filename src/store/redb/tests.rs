//! What only a store on a disk can meet: full disks, failed syncs, power cuts, damaged files and other processes.

pub(in crate::store) mod disks;
mod faults;
mod folding;
mod power;
mod syncs;

use std::sync::Arc;

use ::redb::StorageBackend;

use super::disk::Disk;
use super::{Opener, Redb};
use crate::engine::{Action, AuditEntry, Checkpoint, Gap, MinuteCounts, SeriesId, Totals};
use crate::gate::Level;
use crate::store::tests::minutes_of;
use crate::store::{Commit, Memory, Position, Store, StoreError, Writer};
use crate::tally::Tally;
use crate::time::{Minute, Timestamp};

/// A small generator of pseudo-random numbers (Steele, Lea and Flood, "SplitMix", 2014).
#[derive(Clone, Debug)]
pub(in crate::store) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The commit that makes `revision`, with something of everything, the audit going on after entry `last_audit`. What is
/// counted is never older than what has expired, and some of it is hours late.
fn commit(random: &mut Random, revision: u64, last_audit: u64) -> Commit {
    let oldest = revision as i64 * 20;
    let first = oldest + random.below(240) as i64;
    let minute = |minute: i64, random: &mut Random| {
        let series = (0..600).filter(|series| series % (1 + random.0 % 40) == 0);
        let counts = series.map(|series| (SeriesId(series as u32), Tally::new(1 + series, random.0 % 3)));
        MinuteCounts { minute: Minute::from_number(minute), counts: counts.collect() }
    };
    let counts = (0..1 + random.below(12) as i64).map(|number| {
        random.next();
        minute(first + number, random)
    });
    let counts: Vec<MinuteCounts> = counts.collect();
    let totals = (0..random.below(300)).map(|series| Totals {
        series: SeriesId(series as u32 * 2),
        lifetime: Tally::new(series, 1),
        newest: Some(Timestamp::from_millis(random.0 as i64 >> 20)),
    });
    let totals = totals.collect();
    let audit = (last_audit + 1..=last_audit + random.below(3)).map(|number| AuditEntry {
        number,
        at: Timestamp::from_millis(number as i64),
        service: ["api", "web"][(random.0 % 2) as usize].to_owned(),
        by: "anna".to_owned(),
        action: Action::Freeze { until: None, exempt: vec!["fix".to_owned()] },
        reason: "why not ".repeat((random.0 % 100) as usize),
        before: None,
        after: Some(Level::Frozen),
        cause: "order".to_owned(),
    });
    let audit = audit.collect();
    let expire_before = (random.below(8) == 0).then(|| Minute::from_number(oldest));
    let at = (random.below(4) > 0).then(|| vec![random.0 as u8; random.below(400) as usize]);
    let key = vec![random.below(5) as u8];
    let instant = Timestamp::from_millis(random.below(1 << 40) as i64);
    let gap = Gap { source: "lb".into(), from: instant, to: instant, bytes: None, reason: "rotated_away".into() };
    Commit {
        checkpoint: Checkpoint { counts, totals, audit, expire_before, ..Checkpoint::default() },
        positions: vec![Position { source: "lb".into(), key, at }],
        gaps: vec![gap],
    }
}

/// Everything that a store says, for comparison.
fn contents(store: &dyn Store) -> String {
    let loaded = store.load().expect("the store can be read");
    let minutes = minutes_of(store, Minute::from_number(i64::MIN));
    let audit = store.audit(0, usize::MAX, None).expect("the audit can be read");
    let of_api = store.audit(0, usize::MAX, Some("api")).expect("the audit can be read");
    format!("{loaded:?} {minutes:?} {audit:?} {of_api:?}")
}

/// The store on a disk, which can be opened again and again.
fn opened(disk: &(impl StorageBackend + Clone)) -> Result<Redb, StoreError> {
    let disk = disk.clone();
    Redb::on(Opener(Box::new(move || Ok(Disk::new(disk.clone())))), "faulty.redb".as_ref(), None)
}

/// What a store holds, the number of commits aside.
fn all_of(store: &dyn Store) -> String {
    contents(store).split_once(", ").unwrap().1.to_owned()
}

/// A writer on a faulty disk, and what everything it was handed adds up to.
struct Written {
    writer: Writer,
    random: Random,
    last_audit: u64,
    all: Memory,
    /// Until the first error.
    acknowledged: Memory,
}

impl Written {
    fn to(store: Arc<dyn Store>, seed: u64) -> Self {
        let revision = store.revision().unwrap();
        let (all, acknowledged) = (Memory::new(), Memory::new());
        Self { writer: Writer::new(store, revision), random: Random(seed), last_audit: 0, all, acknowledged }
    }

    fn commits(&mut self, count: u64) {
        (0..count).for_each(|_| assert!(self.commit().is_ok()));
    }

    fn commit(&mut self) -> Result<u64, StoreError> {
        let revision = self.all.revision().unwrap() + 1;
        let commit = commit(&mut self.random, revision, self.last_audit);
        self.last_audit += commit.checkpoint.audit.len() as u64;
        self.all.commit(revision, &commit).unwrap();
        let made = self.writer.commit(commit.clone());
        if made.is_ok() && self.acknowledged.revision().unwrap() + 1 == revision {
            self.acknowledged.commit(revision, &commit).unwrap();
        }
        made
    }
}
