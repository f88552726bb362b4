mod durations;
mod scripts;
mod simulation;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, never, unbounded};

use tokio::sync::oneshot;

use super::*;
use crate::api::{Order, OrderError};
use crate::document::Actor;
use crate::engine::{AuditEntry, CommandError};
use crate::gate::{Hold, Level, Reason};
use crate::spec::OnUnknown;
use crate::store::{Claim, Commit, EachHour, EachSlot, Loaded, Memory, Reserve, Reserved, Store, restore};
use crate::time::{Minute, Stopwatch};

/// A store on a disk that can be full.
#[derive(Debug, Default)]
struct Full {
    memory: Memory,
    is_full: AtomicBool,
}

impl Store for Full {
    fn revision(&self) -> Result<u64, StoreError> {
        self.memory.revision()
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
        match self.is_full.load(Ordering::SeqCst) {
            true => Err(StoreError::Full { path: "full.redb".into() }),
            false => self.memory.commit(revision, commit),
        }
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        self.memory.audit(after, limit, service)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.memory.check()
    }
}

/// A store on a disk that takes as long as the test wants it to.
#[derive(Debug)]
struct Slow {
    memory: Memory,
    begun: Sender<()>,
    may_end: Mutex<Receiver<()>>,
}

impl Store for Slow {
    fn revision(&self) -> Result<u64, StoreError> {
        self.memory.revision()
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
        let _ = self.begun.send(());
        // When nobody lets it end any more, the test is over.
        let _ = self.may_end.lock().unwrap().recv();
        self.memory.commit(revision, commit)
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        self.memory.audit(after, limit, service)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.memory.check()
    }
}

const SPECS: [(&str, &str); 2] = [
    (
        "slogate.toml",
        r#"
[[source]]
name = "lb"
[source.file]
paths = ["access.log"]
nginx = '$remote_addr [$time_local] "$request" $status $request_time'
[gate]
on_unknown = "deny"
"#,
    ),
    (
        "api.toml",
        r#"
[story]
name = "api"
[[slo]]
name = "availability"
objective = 99.0
[slo.availability]
source = "lb"
requests = ["GET /api"]
"#,
    ),
];

fn catalog() -> Arc<Catalog> {
    Arc::new(crate::spec::load_texts("specs".as_ref(), &SPECS).unwrap().catalog)
}

/// The same specs, but for a policy that allows what is unknown.
fn laxer() -> Arc<Catalog> {
    let mut catalog = Catalog::clone(&catalog());
    catalog.services[0].policy.on_unknown = OnUnknown::Allow;
    Arc::new(catalog)
}

/// An owner at work, until it is stopped.
struct Working {
    questions: Sender<api::Ask>,
    snapshots: watch::Receiver<Published>,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Working {
    fn on(store: Arc<dyn Store>) -> Self {
        Self::with(catalog(), store)
    }

    fn with(catalog: Arc<Catalog>, store: Arc<dyn Store>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (engine, loaded) = restore(&*store, Arc::clone(&catalog), kept_for(&catalog), clock.now()).unwrap();
        let writer = Writer::new(store.clone(), loaded.revision);
        let (now, stop) = (Arc::new(RwLock::new(clock.now())), Arc::new(AtomicBool::new(false)));
        let access = Access::new(catalog.server.listen, None);
        let (mut owner, snapshots) =
            Owner::new(engine, writer, store, clock, Arc::clone(&now), Arc::clone(&stop), access);
        // Nobody delivers anything, and nobody has ended either.
        owner.following = Following::start(Vec::new(), &stop, &now).unwrap();
        let (questions, asked) = bounded(8);
        let thread = thread::spawn(move || owner.run(&asked, &never()));
        Self { questions, snapshots, stop, thread }
    }

    fn order(&self, is_freeze: bool, reason: &str) -> Result<Option<u64>, OrderError> {
        let hold = match is_freeze {
            true => Hold::Freeze { reason: reason.into(), until: None, exempt: Vec::new() },
            false => Hold::Unfreeze { reason: reason.into(), until: None },
        };
        let (reply, answer) = oneshot::channel();
        let order = Order { service: "api".into(), hold, actor: Actor::ENGINE };
        self.questions.send(api::Ask::Order { order, reply }).unwrap();
        answer.blocking_recv().unwrap().map(|followed| {
            assert!(self.snapshots.borrow().revision >= followed.revision, "answered before it was shown");
            followed.audit
        })
    }

    /// Whether a feature may be deployed, as readers see it.
    fn allows(&self) -> bool {
        let shown = self.snapshots.borrow();
        shown.board.gates[0].verdict(&shown.catalog.services[0].policy, "feature").allow
    }

    fn level(&self) -> Level {
        self.snapshots.borrow().board.gates[0].state.level
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// The reasons of orders in the audit, in its order.
fn orders(store: &dyn Store) -> Vec<String> {
    let audit = store.audit(0, 100, None).unwrap();
    audit.into_iter().filter(|entry| entry.cause == "order").map(|entry| entry.reason).collect()
}

/// Also the first freeze that finds the disk full, and the one after an unfreeze that did.
#[test]
fn f04_f05_on_a_full_disk_gates_can_be_shut_and_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.redb");
    let claim = Claim::on(&path).unwrap();
    let full = Arc::new(Full::default());
    let open = || Arc::new(Reserved::over(full.clone(), Reserve::beside(&path, &claim).unwrap()).unwrap());

    let working = Working::on(open());
    assert!(matches!(working.order(true, "one"), Ok(Some(_))));
    assert!(matches!(working.order(false, "two"), Ok(Some(_))));
    full.is_full.store(true, Ordering::SeqCst);
    assert_eq!(working.order(true, "three"), Ok(None));
    assert_eq!(working.level(), Level::Frozen);
    assert!(matches!(working.order(false, "in vain"), Err(OrderError::NotWritten(_))));
    assert_eq!(working.order(true, "four"), Ok(None));
    assert_eq!(working.order(true, " "), Err(OrderError::Refused(CommandError::NoReason)));
    working.stop();
    assert_eq!(orders(&*full), ["one", "two"]);

    let working = Working::on(open());
    assert_eq!(working.level(), Level::Frozen);
    assert_eq!(working.order(true, "five"), Ok(None));
    full.is_full.store(false, Ordering::SeqCst);
    let number = working.order(false, "six").unwrap().expect("it is written");
    working.stop();
    assert_eq!(orders(&*full), ["one", "two", "three", "four", "five", "six"]);
    assert!(full.audit(number - 1, 1, None).unwrap()[0].reason == "six");
    let working = Working::on(open());
    assert_ne!(working.level(), Level::Frozen);
    working.stop();
}

#[test]
fn without_a_reserve_whoever_freezes_on_a_full_disk_is_told_how_long_it_holds() {
    let full = Arc::new(Full::default());
    let working = Working::on(full.clone());
    assert!(matches!(working.order(false, "one"), Ok(Some(_))));
    full.is_full.store(true, Ordering::SeqCst);
    let why = "full.redb: the disk is full; nothing is lost, and writing goes on when there is room";
    assert_eq!(working.order(true, "two"), Err(OrderError::NotDurable(why.into())));
    assert_eq!(working.level(), Level::Frozen);
    let why = format!("{why}; there is no reserved file for it");
    assert_eq!(working.order(true, "three"), Err(OrderError::NotWritten(why)));
    let reason = working.snapshots.borrow().board.gates[0].reasons[0].clone();
    assert!(matches!(&reason, Reason::ManualFreeze { reason, .. } if reason == "two"), "{reason:?}");
    working.stop();
}

/// The very first snapshot, and every later one until the store can be written.
#[test]
fn what_the_specs_changed_before_the_start_opens_no_gate_before_its_audit_is_durable() {
    let full = Arc::new(Full::default());
    let working = Working::on(full.clone());
    assert!(!working.allows());
    working.stop();
    full.is_full.store(true, Ordering::SeqCst);
    let working = Working::with(laxer(), full.clone());
    assert!(working.snapshots.borrow().health.store.is_err());
    let mut snapshots = working.snapshots.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..3 {
        assert!(!working.allows());
        let kind = working.snapshots.borrow().board.gates[0].reasons[0].kind();
        assert_eq!((working.level(), kind), (Level::Unknown, "specs_unwritten"));
        runtime.block_on(snapshots.changed()).unwrap();
    }
    full.is_full.store(false, Ordering::SeqCst);
    while !working.allows() {
        runtime.block_on(snapshots.changed()).unwrap();
    }
    let audit = full.audit(0, 100, None).unwrap();
    assert!(audit.iter().any(|entry| entry.action.name() == "terms"), "{audit:?}");
    working.stop();
    // Where the store is sound, the first snapshot of other specs comes after their audit.
    let working = Working::with(catalog(), full.clone());
    let audit = full.audit(0, 100, None).unwrap();
    assert_eq!(audit.iter().filter(|entry| entry.action.name() == "terms").count(), 2, "{audit:?}");
    working.stop();
}

/// One request: the status, and how long it took in milliseconds.
fn ask(address: SocketAddr, request: &str, body: &str) -> (u16, u64) {
    let watch = Stopwatch::start();
    let mut stream = TcpStream::connect(address).unwrap();
    let about = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let about = if body.is_empty() { String::new() } else { about };
    let head = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{about}\r\n{body}");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), watch.elapsed_ms())
}

/// The gate is read from what was published; only an order waits for the disk, and is not in force before.
#[test]
fn f12_gates_are_answered_at_once_while_a_commit_takes_its_time() {
    const CHECK: &str = "GET /api/v1/gates/api/check";
    let (begun_in, begun) = unbounded();
    let (may_end, ends) = unbounded();
    let store = Arc::new(Slow { memory: Memory::new(), begun: begun_in, may_end: Mutex::new(ends) });
    let working = Working::on(store);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (snapshots, questions) = (working.snapshots.clone(), working.questions.clone());
    let limits = Limits::default();
    runtime.spawn(answer(listener, limits, snapshots, questions, Access::new(address, None), Arc::new(SystemClock)));

    // The disk is busy with what was decided first.
    begun.recv_timeout(Duration::from_secs(20)).expect("a commit");
    let ordering = thread::spawn(move || ask(address, "POST /api/v1/gates/api/freeze", r#"{"reason":"x"}"#));
    for _ in 0..100 {
        let (status, took_ms) = ask(address, CHECK, "");
        assert_eq!(status, 503, "nothing has been counted, and the freeze is not in force");
        assert!(took_ms < 1_000, "{took_ms} ms");
    }
    assert!(!ordering.is_finished(), "the freeze was answered before it was durable");
    drop(may_end);
    assert_eq!(ordering.join().unwrap().0, 200);
    assert_eq!(ask(address, CHECK, "").0, 423);
    working.stop();
}
