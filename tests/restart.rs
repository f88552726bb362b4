//! *Restarts*: an engine that crashed anywhere and was restored from its store is the same, to the last count, level
//! and audit number, as one that never stopped and saw only what had been committed.
//!
//! Two engines see the same scenario. One is thrown away and restored again and again; the other is a copy that was
//! made when the store took the commit that the first is restored from, and which has never been restored. Commits fail
//! at random, before or after they were made. `SLOGATE_CASES` sets the number of cases.

#![allow(clippy::unwrap_used, reason = "a test may fail where it finds something wrong")]
#![allow(dead_code, reason = "the scenarios are shared with a test that looks at more of them")]

#[path = "exact/scenario.rs"]
mod scenario;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, FileFailurePersistence};
use slogate::engine::{AuditEntry, Board, Command, Engine};
use slogate::gate::Hold;
use slogate::spec::ServiceId;
use slogate::store::{Commit, EachHour, EachSlot, Loaded, Memory, Position, Redb, Store, StoreError, Writer};
use slogate::time::{Horizon, Minute, Timestamp};

use scenario::{Event, LONGEST, SOURCES, Scenario, Step, scenarios};

fn config(cases: u32) -> Config {
    let cases = std::env::var("SLOGATE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let seeds = FileFailurePersistence::Direct("tests/proptest-regressions/restart.txt");
    Config { cases, failure_persistence: Some(Box::new(seeds)), ..Config::default() }
}

/// What happens after a step.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Nothing,
    /// A commit, and what becomes of it.
    Commit(Outcome),
    Crash,
    /// A commit, and a crash before its success can be told.
    CommitAndCrash(Outcome),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Made,
    /// It fails, and was not made.
    Failed,
    /// It fails, but was made.
    MadeAfterAll,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let outcome = || select(vec![Outcome::Made, Outcome::Made, Outcome::Failed, Outcome::MadeAfterAll]);
    let fate = prop_oneof![
        2 => Just(Fate::Nothing),
        3 => outcome().prop_map(Fate::Commit),
        1 => Just(Fate::Crash),
        1 => outcome().prop_map(Fate::CommitAndCrash),
    ];
    proptest::collection::vec(fate, 14)
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn f01_a_crash_loses_nothing_that_was_committed(scenario in scenarios(), fates in fates()) {
        Run::new(&scenario, Arc::new(Memory::new())).play(&fates);
    }
}

proptest! {
    #![proptest_config(config(25))]

    #[test]
    fn f01_a_crash_loses_nothing_that_was_committed_to_a_file(scenario in scenarios(), fates in fates()) {
        let directory = tempfile::tempdir().unwrap();
        Run::new(&scenario, Arc::new(Redb::open(&directory.path().join("store")).unwrap())).play(&fates);
    }
}

/// A store whose next commit has an outcome that was chosen before, and which remembers at which revisions it was asked
/// for commits, with what stood for the state then.
#[derive(Debug)]
struct Flaky {
    store: Arc<dyn Store>,
    outcome: Mutex<Outcome>,
    asked: Mutex<Vec<u64>>,
}

impl Store for Flaky {
    fn revision(&self) -> Result<u64, StoreError> {
        self.store.revision()
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        self.store.load()
    }

    fn hours(&self, from: Minute, each: &mut EachHour<'_>) -> Result<(), StoreError> {
        self.store.hours(from, each)
    }

    fn durations(&self, from: Minute, each: &mut EachSlot<'_>) -> Result<(), StoreError> {
        self.store.durations(from, each)
    }

    fn commit(&self, revision: u64, commit: &Commit) -> Result<(), StoreError> {
        self.asked.lock().unwrap().push(revision);
        let outcome = *self.outcome.lock().unwrap();
        if outcome != Outcome::Failed {
            self.store.commit(revision, commit)?;
        }
        match outcome {
            Outcome::Made => Ok(()),
            _ => Err(StoreError::Full { path: "flaky".into() }),
        }
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        self.store.audit(after, limit, service)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.store.check()
    }
}

struct Run<'a> {
    scenario: &'a Scenario,
    store: Arc<Flaky>,
    writer: Writer,
    /// Restored after every crash.
    engine: Engine,
    /// Never restored.
    reference: Engine,
    /// How many commits the reference has seen, kept as a read position.
    commits: u64,
    audit: Vec<AuditEntry>,
    /// What the store holds when it has this revision.
    at_revision: BTreeMap<u64, (Engine, u64, Vec<AuditEntry>)>,
    now: i64,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, store: Arc<dyn Store>) -> Self {
        let store = Arc::new(Flaky { store, outcome: Mutex::new(Outcome::Made), asked: Mutex::default() });
        let now = scenario.start_ms;
        let engine = restored(scenario, &*store, now).0;
        let at_revision = [(0, (engine.clone(), 0, Vec::new()))].into();
        let (reference, writer) = (engine.clone(), Writer::new(store.clone(), 0));
        Self { scenario, store, writer, engine, reference, commits: 0, audit: Vec::new(), at_revision, now }
    }

    fn play(&mut self, fates: &[Fate]) {
        self.compare();
        for (step, fate) in self.scenario.steps.iter().zip(fates) {
            match step {
                Step::Events(plans, batches) => {
                    let events: Vec<Event> = plans.iter().flat_map(|plan| plan.events(self.now)).collect();
                    self.observe(&events, *batches);
                }
                Step::Wait(ms) => self.now += ms,
                Step::LookBack(ms) => self.look_back(self.now - ms),
                Step::Order { service, freeze, until_ms } => self.order(*service, *freeze, *until_ms),
            }
            self.compare();
            match fate {
                Fate::Nothing => {}
                Fate::Commit(outcome) => self.commit(*outcome),
                Fate::Crash => self.crash(),
                Fate::CommitAndCrash(outcome) => {
                    self.commit(*outcome);
                    self.crash();
                }
            }
            self.compare();
        }
        self.commit(Outcome::Made);
        self.crash();
        self.compare();
        self.look_back(self.now);
    }

    /// Both engines tick and show the same.
    fn compare(&mut self) {
        let now = Timestamp::from_millis(self.now);
        let (board, expected) = (seen(self.engine.tick(now)), seen(self.reference.tick(now)));
        assert_eq!(format!("{board:#?}"), format!("{expected:#?}"));
    }

    fn look_back(&self, t: i64) {
        let t = Timestamp::from_millis(t);
        let (board, expected) = (self.engine.board_at(t).map(seen), self.reference.board_at(t).map(seen));
        assert_eq!(format!("{board:#?}"), format!("{expected:#?}"));
    }

    fn observe(&mut self, events: &[Event], batches: usize) {
        let latest = (self.now + 5 * scenario::MINUTE_MS).div_euclid(scenario::MINUTE_MS);
        for events in events.chunks(events.len().div_ceil(batches)) {
            for source in 0..SOURCES {
                let events: Vec<Event> = events.iter().filter(|event| event.source == source).cloned().collect();
                let batch = self.scenario.batch(self.engine.catalog(), source, &events, latest);
                for engine in [&mut self.engine, &mut self.reference] {
                    engine.advance(Timestamp::from_millis(self.now));
                    engine.observe(batch.clone());
                }
            }
        }
    }

    fn order(&mut self, service: usize, freeze: bool, until_ms: Option<i64>) {
        let until = until_ms.map(|ms| Timestamp::from_millis(self.now + ms));
        let reason = "because".to_owned();
        let hold = match freeze {
            true => Hold::Freeze { reason, until, exempt: vec!["security".into()] },
            false => Hold::Unfreeze { reason, until },
        };
        let command = Command { service: ServiceId(service), hold, by: "anna".into() };
        let boards = [&mut self.engine, &mut self.reference]
            .map(|engine| engine.command(command.clone(), Timestamp::from_millis(self.now)).map(seen));
        assert_eq!(format!("{:?}", boards[0]), format!("{:?}", boards[1]));
    }

    fn commit(&mut self, outcome: Outcome) {
        let checkpoint = self.engine.checkpoint();
        assert_eq!(checkpoint, self.reference.checkpoint());
        assert!(self.engine.checkpoint().is_empty() && self.engine.uncommitted() == 0);
        self.audit.extend(checkpoint.audit.iter().cloned());
        self.commits += 1;
        let position = Position { source: "lb".into(), key: vec![], at: Some(self.commits.to_le_bytes().into()) };
        *self.store.outcome.lock().unwrap() = outcome;
        let made = self.writer.commit(Commit { checkpoint, positions: vec![position], gaps: vec![] });
        assert_eq!(made.is_ok(), outcome == Outcome::Made);
        assert_eq!(self.writer.is_behind(), made.is_err());
        for revision in self.store.asked.lock().unwrap().drain(..) {
            let state = (self.reference.clone(), self.commits, self.audit.clone());
            self.at_revision.insert(revision, state);
        }
    }

    fn crash(&mut self) {
        let (engine, loaded) = restored(self.scenario, &*self.store, self.now);
        self.engine = engine;
        self.writer = Writer::new(self.store.clone(), loaded.revision);
        (self.reference, self.commits, self.audit) = self.at_revision[&loaded.revision].clone();
        let position = loaded.positions.first().and_then(|position| position.at.clone());
        assert_eq!(position.unwrap_or(vec![0; 8]), self.commits.to_le_bytes());
        assert_eq!(self.store.audit(0, 1_000, None).unwrap(), self.audit);
        let numbers: Vec<u64> = self.audit.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    }
}

fn restored(scenario: &Scenario, store: &dyn Store, now: i64) -> (Engine, Loaded) {
    let loaded = store.load().unwrap();
    let kept = Horizon::of_minutes(LONGEST as u32 + scenario.kept_more);
    let engine = Engine::keeping(scenario.catalog(), kept);
    let (mut restoring, durations) = engine.restore(&loaded.kept, Timestamp::from_millis(now));
    store.hours(Minute::from_number(i64::MIN), &mut |hour, counts| restoring.add(hour, counts)).unwrap();
    (
        {
            let mut engine = restoring.finish();
            engine.take_durations(durations);
            engine
        },
        loaded,
    )
}

/// A board without its alerts: since when one fires is known to the minute after a restart, and to the tick before.
fn seen(mut board: Board) -> Board {
    board.slos.iter_mut().for_each(|slo| slo.alerts.clear());
    board
}
