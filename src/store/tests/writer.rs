use std::sync::{Arc, Mutex};

use crate::engine::{AuditEntry, Checkpoint, Gap, MinuteCounts};
use crate::store::tests::minutes_of;
use crate::store::*;
use crate::tally::Tally;

/// What becomes of a commit, or of a question for the revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Made,
    Failed,
    MadeButFailed,
    /// And the next question for the revision is not answered.
    FailedAndSilent,
}

/// A store whose commits have the fates that were chosen before; all others are made.
#[derive(Debug, Default)]
struct Fated {
    memory: Memory,
    fates: Mutex<Vec<Fate>>,
    is_silent: Mutex<bool>,
}

fn failure() -> StoreError {
    StoreError::Full { path: "fated".into() }
}

impl Store for Fated {
    fn revision(&self) -> Result<u64, StoreError> {
        match std::mem::take(&mut *self.is_silent.lock().unwrap()) {
            true => Err(failure()),
            false => self.memory.revision(),
        }
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        self.memory.load()
    }

    fn hours(&self, from: Minute, each: &mut EachHour<'_>) -> Result<(), StoreError> {
        self.memory.hours(from, each)
    }

    fn durations(&self, from: Minute, each: &mut EachSlot<'_>) -> Result<(), StoreError> {
        self.memory.durations(from, each)
    }

    fn commit(&self, revision: u64, commit: &Commit) -> Result<(), StoreError> {
        let fate = self.fates.lock().unwrap().pop().unwrap_or(Fate::Made);
        if matches!(fate, Fate::Made | Fate::MadeButFailed) {
            self.memory.commit(revision, commit)?;
        }
        *self.is_silent.lock().unwrap() = fate == Fate::FailedAndSilent;
        if fate == Fate::Made { Ok(()) } else { Err(failure()) }
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        self.memory.audit(after, limit, service)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.memory.check()
    }
}

/// Hands five commits to a writer whose store has these fates for them, and a last one after that: each counts once,
/// whatever happens, and what was written last is what stays.
#[track_caller]
fn check(fates: [Fate; 5]) {
    let store = Arc::new(Fated::default());
    *store.fates.lock().unwrap() = fates.into_iter().rev().collect();
    let mut writer = Writer::new(store.clone(), 0);
    for number in 0..6u64 {
        let counts = vec![(SeriesId(0), Tally::new(1 << number, 0)), (SeriesId(number as u32 + 1), Tally::new(1, 0))];
        let counts = vec![MinuteCounts { minute: Minute::from_number(0), counts }];
        let instant = Timestamp::from_millis(number as i64);
        let gap = Gap { source: "lb".into(), from: instant, to: instant, bytes: None, reason: "test".into() };
        let at = Some(vec![number as u8]);
        let commit = Commit {
            checkpoint: Checkpoint { counts, ..Checkpoint::default() },
            positions: vec![Position { source: "lb".into(), key: vec![], at }],
            gaps: vec![gap],
        };
        let made = writer.commit(commit);
        assert_eq!(made.is_err(), writer.is_behind());
        if let Ok(revision) = made {
            assert_eq!(revision, store.memory.revision().unwrap());
        }
    }
    // Some fates may be left when the store was silent for a while.
    (0..5).for_each(|_| drop(writer.commit(Commit::default())));
    assert!(!writer.is_behind());
    let found: Vec<_> =
        minutes_of(&*store, Minute::from_number(0)).into_iter().flat_map(|(_, counts)| counts).collect();
    let expected: Vec<_> = (0..7).map(|id| (SeriesId(id), Tally::new(if id == 0 { 63 } else { 1 }, 0))).collect();
    assert_eq!(found, expected, "{fates:?}");
    let loaded = store.load().unwrap();
    assert_eq!(loaded.positions[0].at, Some(vec![5]));
    let gaps: Vec<i64> = loaded.gaps.iter().map(|gap| gap.from.millis()).collect();
    assert_eq!(gaps, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn every_commit_counts_once_whatever_becomes_of_it() {
    const FATES: [Fate; 4] = [Fate::Made, Fate::Failed, Fate::MadeButFailed, Fate::FailedAndSilent];
    for number in 0..4usize.pow(5) {
        check(std::array::from_fn(|place| FATES[number / 4usize.pow(place as u32) % 4]));
    }
}

#[test]
fn a_second_writer_is_noticed() {
    let store = Arc::new(Fated::default());
    let mut writer = Writer::new(store.clone(), 0);
    store.memory.commit(1, &Commit::default()).unwrap();
    let refused = writer.commit(Commit::default()).unwrap_err();
    assert!(matches!(refused, StoreError::OutOfOrder { stored: 1, given: 1 }));
    let refused = writer.commit(Commit::default()).unwrap_err();
    assert!(matches!(refused, StoreError::OutOfOrder { stored: 1, given: 1 }));
    assert!(writer.is_behind());
}
