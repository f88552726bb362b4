//! Reloads of an owner with real followers, over a store that fails when it is told to.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

use super::*;
use crate::api::{Ask, Order, OrderError};
use crate::document::{Actor, Principal};
use crate::engine::{Action, AuditEntry};
use crate::gate::{GateState, Hold, Level};
use crate::run::owner::Published;
use crate::run::specs::Watch;
use crate::spec;
use crate::store::{Commit, EachHour, EachSlot, Loaded, Memory, Store, StoreError, Writer};
use crate::tally::Tally;
use crate::time::{Clock, Minute, Stopwatch, SystemClock};

/// Nothing here takes this long unless it hangs.
const PATIENCE_MS: u64 = 30_000;

/// Which commits fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// All.
    Full,
    /// Those that enter a change of a promise into the audit.
    Shy,
    /// All, although they are made.
    Doubtful,
}

#[derive(Debug)]
pub(in crate::run) struct Moody {
    store: Memory,
    mood: Mutex<Mood>,
}

impl Store for Moody {
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
        let is_promise = |entry: &AuditEntry| matches!(entry.action, Action::Promise { .. });
        let full = Err(StoreError::Full { path: "store".into() });
        match *self.mood.lock().unwrap() {
            Mood::Full => full,
            Mood::Shy if commit.checkpoint.audit.iter().any(is_promise) => full,
            Mood::Doubtful => self.store.commit(revision, commit).and(full),
            Mood::Well | Mood::Shy => self.store.commit(revision, commit),
        }
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        self.store.audit(after, limit, service)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.store.check()
    }
}

/// Specs that are the same but for this.
#[derive(Clone, Copy, Debug)]
pub(in crate::run) struct Edition {
    pub objective: u32,
    pub source: &'static str,
    pub others: usize,
    /// Whether there is another source, called `cdn`, that no story is about.
    pub has_second: bool,
}

pub(in crate::run) const FIRST: Edition = Edition { objective: 99, source: "lb", others: 0, has_second: false };

/// Stops the owner also when a test fails.
struct Stopping(Arc<AtomicBool>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A server without HTTP.
pub(in crate::run) struct Desk {
    pub directory: TempDir,
    store: Arc<Moody>,
    started: Arc<Catalog>,
    news: Sender<News>,
    questions: Sender<Ask>,
    snapshots: watch::Receiver<Published>,
    stop: Stopping,
    owning: Option<JoinHandle<()>>,
    log: File,
    pub written: Tally,
}

impl Desk {
    fn start() -> Self {
        Self::with(FIRST)
    }

    pub fn with(edition: Edition) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("specs")).unwrap();
        write(&directory, edition);
        let started = Arc::new(spec::load(&directory.path().join("specs")).unwrap().catalog);
        let store = Arc::new(Moody { store: Memory::new(), mood: Mutex::new(Mood::Well) });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (now, stop) = (Arc::new(RwLock::new(clock.now())), Arc::new(AtomicBool::new(false)));
        let (engine, loaded) = renamed::restored_whole(&*store, &started, clock.now()).unwrap();
        let all = followers(&started, classifiers(&started).unwrap(), Vec::new(), &loaded.positions).unwrap();
        let (news, heard) = bounded(1);
        let (questions, asked) = bounded(1);
        let writer = Writer::new(store.clone(), loaded.revision);
        let access = Access::new(started.server.listen, None);
        let (mut owner, snapshots) =
            Owner::new(engine, writer, store.clone(), clock, Arc::clone(&now), Arc::clone(&stop), access);
        owner.following = Following::start(all, &stop, &now).unwrap();
        let owning = Some(thread::spawn(move || owner.run(&asked, &heard)));
        let log = File::options().append(true).create(true).open(directory.path().join("log")).unwrap();
        let (written, stop) = (Tally::ZERO, Stopping(stop));
        Self { directory, store, started, news, questions, snapshots, stop, owning, log, written }
    }

    fn feel(&self, mood: Mood) {
        *self.store.mood.lock().unwrap() = mood;
    }

    /// Appends lines, every fourth of them bad.
    pub fn log(&mut self, lines: u64) {
        for number in 0..lines {
            let is_bad = number % 4 == 3;
            let status = if is_bad { 500 } else { 200 };
            self.written += Tally::new(u64::from(!is_bad), u64::from(is_bad));
            let time = chrono::DateTime::from_timestamp_millis(SystemClock.now().millis()).unwrap();
            let time = time.format("%d/%b/%Y:%H:%M:%S +0000");
            let line = format!("192.0.2.7 - - [{time}] \"GET /{number} HTTP/1.1\" {status} {}\n", self.written.total());
            self.log.write_all(line.as_bytes()).unwrap();
        }
    }

    /// Writes these specs and tells the owner of them.
    pub fn edit(&self, edition: Edition) {
        write(&self.directory, edition);
        self.tell();
    }

    fn tell(&self) {
        let (started, stop) = (Arc::clone(&self.started), Arc::clone(&self.stop.0));
        let watch = Watch::new(started, bounded(1).1, bounded(1).0, stop);
        self.news.send(watch.read(Cause::Changed)).unwrap();
    }

    /// Has the gate frozen by hand.
    pub fn freeze(&self) -> Result<(), OrderError> {
        let (reply, answer) = oneshot::channel();
        let hold = Hold::Freeze { reason: "by hand".into(), until: None, exempt: Vec::new() };
        let actor = Actor { principal: Principal::Loopback, claimed: None };
        self.questions.send(Ask::Order { order: Order { service: "shop".into(), hold, actor }, reply }).unwrap();
        answer.blocking_recv().unwrap().map(|_| ())
    }

    fn shown(&self) -> Published {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Waits until the snapshot that is shown is so.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&Published) -> bool) -> Published {
        let watch = Stopwatch::start();
        loop {
            let shown = self.shown();
            if is_so(&shown) {
                return shown;
            }
            let health = &shown.health;
            assert!(watch.elapsed_ms() < PATIENCE_MS, "{what} does not come: {health:?}, {:?}", counted(&shown));
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for some more snapshots, each of which must be so.
    #[track_caller]
    fn during(&self, is_so: impl Fn(&Published) -> bool) {
        let first = self.shown().revision;
        self.until("time", |shown| {
            assert!(is_so(shown), "{:?}", shown.health);
            shown.revision > first + 8
        });
    }

    /// Stops the server, and gives what a start would restore.
    pub fn end(mut self) -> (Arc<Moody>, TempDir, Tally) {
        drop(self.stop);
        self.owning.take().unwrap().join().unwrap();
        (Arc::clone(&self.store), self.directory, self.written)
    }
}

fn write(directory: &TempDir, Edition { objective, source, others, has_second }: Edition) {
    let path = |name: &str| -> PathBuf { directory.path().join("specs").join(name) };
    let log = directory.path().join("log");
    let second = directory.path().join("second");
    let second =
        format!("[[source]]\nname = \"cdn\"\n[source.file]\npaths = [\"{}\"]\nformat = \"common\"\n", second.display());
    let second = if has_second { second.as_str() } else { "" };
    let engine = format!(
        "{second}[[source]]\nname = \"{source}\"\n[source.file]\npaths = [\"{}*\"]\nformat = \"common\"\n[gate]\n\
         on_unknown = \"deny\"\nmin_events = 1\n",
        log.display()
    );
    let story = |name: &str, target: &str| {
        format!(
            "[story]\nname = \"{name}\"\n[[slo]]\nname = \"up\"\nobjective = {objective}.0\n[slo.availability]\n\
             source = \"{source}\"\nrequests = [\"GET /{target}\"]\n"
        )
    };
    fs::write(path("slogate.toml"), engine).unwrap();
    fs::write(path("shop.toml"), story("shop", "{n}")).unwrap();
    for other in 0..4 {
        let name = format!("other{other}");
        let _ = fs::remove_file(path(&format!("{name}.toml")));
        if other < others {
            fs::write(path(&format!("{name}.toml")), story(&name, "other/{n}")).unwrap();
        }
    }
}

pub(in crate::run) fn objective(shown: &Published) -> u32 {
    let slo = shown.catalog.slo_named("shop", "up").unwrap();
    (shown.catalog[slo].objective.ratio() * 100.0).round() as u32
}

pub(in crate::run) fn gate(shown: &Published) -> GateState {
    shown.board[shown.catalog.service_named("shop").unwrap()].state.clone()
}

pub(in crate::run) fn counted(shown: &Published) -> Tally {
    let slo = shown.catalog.slo_named("shop", "up").unwrap();
    shown.board[slo].standing.tally
}

#[test]
fn while_the_store_cannot_be_written_the_old_specs_stay_and_that_is_told() {
    // Whether that is known already when the specs change, or found out only then.
    for (mood, is_known) in [(Mood::Full, true), (Mood::Doubtful, true), (Mood::Full, false), (Mood::Doubtful, false)] {
        let mut desk = Desk::start();
        desk.log(100);
        desk.until("100 lines", |shown| counted(shown) == desk.written);
        desk.feel(mood);
        desk.log(10);
        desk.until("the failure", |shown| !is_known || shown.health.store.is_err());
        desk.edit(Edition { objective: 50, ..FIRST });
        let shown = desk.until("the wait", |shown| shown.health.specs.waiting.is_some());
        let waiting = shown.health.specs.waiting.as_deref().unwrap_or_default();
        let sentence = "everything counted is to be written first, and that cannot be done: store: the disk is full";
        assert!(waiting.starts_with(sentence), "{waiting}");
        desk.during(|shown| objective(shown) == 99 && shown.health.store.is_err());
        desk.feel(Mood::Well);
        let shown = desk.until("the objective", |shown| objective(shown) == 50);
        assert_eq!((&shown.health.specs.waiting, shown.health.specs.accepted), (&None, 1));
        desk.log(10);
        desk.until("120 lines", |shown| counted(shown) == desk.written);
    }
}

#[test]
fn what_waits_gives_way_to_what_came_later() {
    let mut desk = Desk::start();
    desk.feel(Mood::Full);
    desk.log(10);
    desk.edit(Edition { objective: 50, ..FIRST });
    desk.until("the wait", |shown| shown.health.specs.waiting.is_some());
    fs::write(desk.directory.path().join("specs/shop.toml"), "[story").unwrap();
    desk.tell();
    let shown = desk.until("the refusal", |shown| shown.health.specs.rejected.is_some());
    assert_eq!(shown.health.specs.waiting, None);
    desk.feel(Mood::Well);
    desk.until("10 lines", |shown| counted(shown) == desk.written);
    desk.log(10);
    desk.until("20 lines", |shown| counted(shown) == desk.written);
    desk.during(|shown| objective(shown) == 99 && shown.health.specs.accepted == 0);

    desk.feel(Mood::Full);
    desk.log(10);
    desk.edit(Edition { objective: 50, ..FIRST });
    desk.until("the wait", |shown| shown.health.specs.waiting.is_some());
    desk.edit(Edition { objective: 60, ..FIRST });
    desk.feel(Mood::Well);
    desk.until("the last objective", |shown| {
        assert_ne!(objective(shown), 50);
        objective(shown) == 60
    });
    desk.until("30 lines", |shown| counted(shown) == desk.written);
}

#[test]
fn g06_a_freeze_is_read_also_by_those_who_still_see_the_old_specs() {
    let desk = Desk::start();
    let shown = desk.shown();
    assert_ne!(gate(&shown).level, Level::Frozen);
    let (catalog, board) = (&*shown.catalog, &*shown.board);
    let frozen = |until: Option<Timestamp>| {
        let mut coming = board.clone();
        let state = &mut coming.gates[catalog.service_named("shop").unwrap().0].state;
        let hold = Hold::Freeze { reason: "incident 7".to_owned(), until, exempt: vec!["fix".to_owned()] };
        *state = GateState { level: Level::Frozen, since: board.at, hold: Some(hold), ..state.clone() };
        coming
    };
    assert!(frozen_as_well((catalog, board), (catalog, board)).is_none());
    // The catalog that is coming has others before it.
    let mut other = catalog.clone();
    other.services.reverse();
    let mut coming = frozen(None);
    coming.gates.reverse();
    let kept = frozen_as_well((catalog, board), (&other, &coming)).unwrap();
    for (before, after) in board.gates.iter().zip(&kept.gates) {
        let is_shop = after.state.hold.is_some();
        assert_eq!(after.state.level == Level::Frozen, is_shop);
        assert_eq!(after == before, !is_shop);
    }
    let shop = &kept[catalog.service_named("shop").unwrap()];
    assert!(matches!(&shop.reasons[0], Reason::ManualFreeze { reason, .. } if reason == "incident 7"));
    // Its service may have another name there.
    let (mut renamed, id) = (catalog.clone(), catalog.service_named("shop").unwrap());
    renamed.services[id.0].name = "shopping".to_owned();
    renamed.renames.services.insert(id, "shop".to_owned());
    assert_eq!(frozen_as_well((catalog, board), (&renamed, &frozen(None))).unwrap()[id].state.level, Level::Frozen);
    // What has been shown is not shown twice.
    assert!(frozen_as_well((catalog, &kept), (&other, &coming)).is_none());
    desk.end();
}

#[test]
fn another_promise_is_seen_only_when_its_audit_is_durable() {
    let mut desk = Desk::start();
    desk.log(100);
    desk.until("a frozen gate", |shown| gate(shown).level == Level::Frozen);
    desk.until("a commit", |_| desk.store.load().unwrap().kept.gates.iter().any(|gate| gate.level == Level::Frozen));
    desk.feel(Mood::Shy);
    desk.edit(Edition { objective: 50, ..FIRST });
    desk.until("the failure", |shown| shown.health.store.is_err());
    desk.during(|shown| objective(shown) == 99 && gate(shown).level == Level::Frozen);
    assert!(matches!(desk.freeze(), Err(OrderError::NotWritten(_))));
    desk.feel(Mood::Well);
    let shown = desk.until("the objective", |shown| objective(shown) == 50);
    assert_eq!(gate(&shown).level, Level::Open);
    let actions: Vec<&str> =
        desk.store.audit(0, 100, None).unwrap().iter().map(|entry| entry.action.name()).rev().take(2).collect();
    assert_eq!(actions, ["level", "promise"]);
    desk.log(10);
    desk.until("110 lines", |shown| counted(shown) == desk.written);
}

/// Lines are written, specs edited well and badly and commits refused, without waiting for anything in between.
#[test]
fn f17_whenever_specs_change_every_line_counts_once_and_a_frozen_gate_stays_frozen() {
    let seed = std::env::var("SLOGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut dice = seed.unwrap_or_else(|| SystemClock.now().millis().unsigned_abs());
    println!("SLOGATE_SEED={dice}");
    let mut below = |limit: u64| {
        // A step of Knuth's, of which the upper bits are good enough here.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % limit
    };
    let mut desk = Desk::start();
    desk.freeze().unwrap();
    let mut edition = FIRST;
    for _ in 0..120 {
        match below(10) {
            0..4 => desk.log(below(200)),
            4 => edition.objective = 50 + below(50) as u32,
            5 => edition.others = below(4) as usize,
            6 => edition.source = ["lb", "front", "edge"][below(3) as usize],
            7 => desk.feel([Mood::Full, Mood::Doubtful, Mood::Shy, Mood::Well][below(4) as usize]),
            8 => {
                fs::write(desk.directory.path().join("specs/shop.toml"), "[story]\nname = 1\n").unwrap();
                desk.tell();
            }
            _ => thread::sleep(Duration::from_millis(below(400))),
        }
        if below(3) == 0 {
            desk.edit(edition);
        }
        assert_eq!(gate(&desk.shown()).level, Level::Frozen);
    }
    desk.feel(Mood::Well);
    desk.edit(Edition { objective: 42, ..edition });
    desk.log(10);
    desk.until("the end", |shown| objective(shown) == 42 && counted(shown) == desk.written);
    let (store, directory, written) = desk.end();

    let catalog = Arc::new(spec::load(&directory.path().join("specs")).unwrap().catalog);
    let (mut engine, loaded) = renamed::restored_whole(&*store, &catalog, SystemClock.now()).unwrap();
    let board = engine.tick(SystemClock.now());
    assert_eq!(board[catalog.slo_named("shop", "up").unwrap()].standing.tally, written);
    assert_eq!(
        board[catalog.service_named("shop").unwrap()]
            .state
            .hold
            .as_ref()
            .map(|hold| matches!(hold, Hold::Freeze { .. })),
        Some(true)
    );
    let sources: Vec<&str> = loaded.positions.iter().map(|position| position.source.as_str()).collect();
    assert!(sources.iter().all(|source| *source == edition.source), "{sources:?}");
    let entries = store.audit(0, 1_000, None).unwrap();
    assert!(entries.iter().zip(1..).all(|(entry, number)| entry.number == number), "{entries:?}");
}
