use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::*;
use crate::engine::AuditEntry;
use crate::store::{Commit, EachMinute, Loaded, Memory};
use crate::time::{Minute, Stopwatch};

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

    fn minutes(&self, from: Minute, each: &mut EachMinute<'_>) -> Result<(), StoreError> {
        self.memory.minutes(from, each)
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
    let catalog = Arc::new(crate::spec::load_texts("specs".as_ref(), &SPECS).unwrap().catalog);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (begun_in, begun) = unbounded();
    let (may_end, ends) = unbounded();
    let store = Arc::new(Slow { memory: Memory::new(), begun: begun_in, may_end: Mutex::new(ends) });
    let engine = restore(&catalog, &*store, clock.now()).unwrap();
    let writer = Writer::new(store.clone(), 0);
    let now = Arc::new(RwLock::new(clock.now()));
    let (mut owner, snapshots) = Owner::new(engine, writer, store, Arc::clone(&clock), now, Arc::default());
    let (deliveries_in, deliveries) = bounded(1);
    let (questions_in, questions) = bounded(8);
    let owning = thread::spawn(move || owner.run(&deliveries, &questions));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(answer(listener, snapshots, questions_in, Access::new(address, None), clock));

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
    drop(deliveries_in);
    owning.join().unwrap();
}
