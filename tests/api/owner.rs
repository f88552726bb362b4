//! The engine's owner in memory: a real engine behind the doors of the api, with a clock that the test moves.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slogate::api::{
    self, Access, Api, Ask, AuditQuery, Followed, Health, Limits, Order, OrderError, Prepared, Snapshot, StoreTrouble,
    Token,
};
use slogate::counts::{Batch, Durations, Page, Rejection, Sample, Took, bucket_of, columns, request_sets};
use slogate::document::{AuditAction, AuditEntry, SpecsHealth};
use slogate::engine::{Command, Engine, Gap, Objection, Reading, Recall, Target, TargetNote, Targets, Unseen};
use slogate::formats::Unparsed;
use slogate::gate::Hold;
use slogate::increase::NoteKind;
use slogate::spec::{Catalog, SloId, SourceId};
use slogate::time::{Clock, Horizon, Timestamp};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

/// 2026-11-20T10:12:00Z.
pub const NOW: Timestamp = Timestamp::from_seconds(1_795_169_520);
/// A token that is fit to be one.
pub const TOKEN: &str = "9f2c7b1e8d4a6053";

const SPECS: [(&str, &str); 4] = [
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
frozen_below = 0.0
thaw_above = 0.05
guarded_below = 0.25
stale_after = "10m"
min_events = 100
exempt = ["fix"]
[gate.service.search]
on_unknown = "allow"
"#,
    ),
    (
        "profile.toml",
        r#"
[story]
name = "profile"
title = "User <profile>"
service = "api"
owner = "team-profile"
[[slo]]
name = "availability"
objective = 99.95
[slo.availability]
source = "lb"
requests = ["GET /profile/{user}"]
[[slo]]
name = "latency"
objective = 90.0
window = "1d"
[slo.latency]
source = "lb"
requests = ["GET /profile/{user}"]
threshold = "500ms"
"#,
    ),
    (
        "search.toml",
        r#"
[story]
name = "search"
[[slo]]
name = "availability"
objective = 99.9
[slo.availability]
source = "lb"
requests = ["GET /search"]
"#,
    ),
    (
        "browse.toml",
        r#"
[journey]
name = "browse"
title = "Browse the store"
objective = 99.9
stories = [{ story = "profile", slo = "availability", weight = 1.0 }, { story = "search", slo = "availability", weight = 3.0 }]
"#,
    ),
];

/// The specs of these tests.
pub fn catalog() -> Arc<Catalog> {
    Arc::new(slogate::spec::load_texts(Path::new("specs"), &SPECS).expect("sound specs").catalog)
}

/// A clock that stands until it is moved.
#[derive(Debug)]
pub struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// What a test may want to be otherwise.
#[derive(Debug)]
pub struct Setup {
    /// The address that the access rule believes to be listened at; the real one is always on the loopback.
    pub listen: Option<SocketAddr>,
    /// The token that is configured.
    pub token: Option<&'static str>,
    /// What clients may take.
    pub limits: Limits,
    /// How long the owner may take.
    pub deadline: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self { listen: None, token: None, limits: Limits::default(), deadline: Duration::from_secs(20) }
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it takes for the time.
    pub clock: Arc<HandClock>,
    deeds: mpsc::UnboundedSender<Deed>,
    stop: Option<oneshot::Sender<()>>,
    ended: Mutex<std_mpsc::Receiver<()>>,
    _runtime: Runtime,
}

type Deed = Box<dyn FnOnce(&mut Owner) + Send>;

/// What a test may look at and change between two questions.
pub struct Owner {
    /// The engine.
    pub engine: Engine,
    /// Every order.
    pub audit: Vec<AuditEntry>,
    /// How the program is doing.
    pub health: Health,
    /// Why nothing can be written, when nothing can.
    pub broken: Option<String>,
    /// Whether questions are left without an answer.
    pub silent: bool,
    /// Whether an order is answered before it is shown, against the rule.
    pub hasty: bool,
    unanswered: Vec<Ask>,
    revision: u64,
    snapshots: watch::Sender<Arc<Snapshot>>,
    clock: Arc<HandClock>,
}

impl Server {
    /// A server over an engine that has counted nothing.
    pub fn start(setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let clock = Arc::new(HandClock(AtomicI64::new(NOW.millis())));
        let mut engine = Engine::keeping(catalog(), Horizon::of_minutes(40 * 24 * 60));
        let health = Health { store: Ok(()), sources_started: true, specs: SpecsHealth::loaded(NOW), data_as_of: None };
        let board = Arc::new(engine.tick(NOW));
        let first = Snapshot {
            revision: 0,
            catalog: Arc::clone(engine.catalog()),
            board,
            health: health.clone(),
            prepared: Prepared::default(),
        };
        let (snapshots, readers) = watch::channel(Arc::new(first));
        let (ask, asks) = mpsc::channel(64);
        let (deeds, todo) = mpsc::unbounded_channel();
        let owner = Owner {
            engine,
            audit: Vec::new(),
            health,
            broken: None,
            silent: false,
            hasty: false,
            unanswered: Vec::new(),
            revision: 0,
            snapshots,
            clock: Arc::clone(&clock),
        };
        runtime.spawn(owner.run(asks, todo));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let token = setup.token.map(|token| Token::new(token).expect("a sound token"));
        let access = Access::new(setup.listen.unwrap_or(address), token);
        let api = Api::new(readers, ask, access, Arc::clone(&clock) as Arc<dyn Clock>).with_deadline(setup.deadline);
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = std_mpsc::channel();
        runtime.spawn(async move {
            let shutdown = async { drop(stopped.await) };
            api::serve(listener, api::router(api), setup.limits, shutdown).await;
            let _ = end.send(());
        });
        Self { address, clock, deeds, stop: Some(stop), ended: Mutex::new(ended), _runtime: runtime }
    }

    /// Has the owner do something between two questions, and waits until it is done.
    pub fn owner<T: Send + 'static>(&self, deed: impl FnOnce(&mut Owner) -> T + Send + 'static) -> T {
        let (done, result) = std_mpsc::channel();
        let deed = move |owner: &mut Owner| drop(done.send(deed(owner)));
        self.deeds.send(Box::new(deed)).expect("an owner");
        result.recv().expect("the owner's result")
    }

    /// `good` and `bad` requests for an SLO, so many minutes ago.
    pub fn count(&self, story: &'static str, slo: &'static str, minutes_ago: i64, good: u32, bad: u32) {
        self.owner(move |owner| {
            owner.count(story, slo, minutes_ago, good, bad);
            owner.publish();
        });
    }

    /// Enough of everything for every gate to be open.
    pub fn fill(&self) {
        for (story, slo) in [("profile", "availability"), ("profile", "latency"), ("search", "availability")] {
            self.count(story, slo, 0, 10_000, 0);
        }
        self.owner(|owner| {
            let now = owner.clock.now();
            let reading = Reading { bytes_behind: 0, behind_since: now, is_conserved: true, unreadable: None };
            owner.engine.note_reading(SourceId(0), reading);
            owner.publish();
        });
    }

    /// A gap of an hour ago in the source.
    pub fn lose(&self, bytes: Option<u64>) {
        self.owner(move |owner| {
            let at = owner.clock.now().plus_millis(-3_600_000);
            let (source, reason) = ("lb".to_owned(), "rotated_away".to_owned());
            owner.engine.note_gaps([Gap { source, from: at, to: at, bytes, reason }]);
            owner.publish();
        });
    }

    /// A target of the source, which was scraped once in vain.
    pub fn scrape(&self) {
        self.owner(|owner| {
            let at = owner.clock.now();
            let target = Target {
                url: "http://app:9100/metrics".into(),
                is_up: Some(false),
                since: Some(at),
                last_scrape: Some(at),
                last_page: None,
                duration_ms: 1_500,
                size_bytes: 20,
                samples: 2,
                selected: 1,
                series: 1,
                error: Some("answered with status 500, not 200".into()),
                reason: Some("status"),
            };
            let (kind, example) = (NoteKind::Interpolated, String::new());
            let (from, to, url) = (at.plus_millis(-90_000), at, target.url.clone());
            let note = TargetNote { target: url, slo: SloId(0), kind, from, to, events: 7, series: 1, example };
            let why = "no bucket ends at 0.4; the bounds are 0.5, +Inf: took_seconds".to_owned();
            let objection = Objection { target: target.url.clone(), slo: SloId(0), why };
            let targets = Targets {
                targets: vec![Arc::new(target)],
                troubles: vec!["targets.json is not there".into()],
                errors: [("status", 1)].into(),
                note_counts: [("interpolated", 1)].into(),
                notes: vec![Arc::new(note)],
                objections: vec![Arc::new(objection)],
                unseen: vec![Unseen { slo: SloId(0), key: "bad", selector: "failed".into(), last: Some(at) }],
            };
            owner.engine.note_targets(SourceId(0), Arc::new(targets));
            owner.publish();
        });
    }

    /// So many records of the source that cannot be read.
    pub fn garble(&self, unread: u64) {
        self.owner(move |owner| {
            let newest = vec![None; columns(owner.engine.catalog(), SourceId(0)).len()];
            let rejected = [(Rejection::Unparsed(Unparsed::Layout), unread)].into();
            let (source, records, unread_run) = (SourceId(0), unread, unread);
            let (pages, samples, unmatched) = Default::default();
            owner.engine.observe(Batch {
                source,
                pages,
                newest,
                rejected,
                truncated: 0,
                records,
                unread_run,
                samples,
                unmatched,
                durations: Vec::new(),
            });
            owner.publish();
        });
    }

    /// Begins to stop.
    pub fn stop(&mut self) {
        self.stop.take().expect("it is stopped once").send(()).expect("a server");
    }

    /// Waits for the end of serving.
    pub fn wait_for_end(&self, longest: Duration) -> bool {
        self.ended.lock().expect("one waits").recv_timeout(longest).is_ok()
    }
}

impl HandClock {
    /// Moves the clock.
    pub fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Owner {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>, mut todo: mpsc::UnboundedReceiver<Deed>) {
        loop {
            tokio::select! {
                Some(ask) = asks.recv() => match self.silent {
                    true => self.unanswered.push(ask),
                    false => self.answer(ask),
                },
                Some(deed) = todo.recv() => deed(&mut self),
                else => break,
            }
        }
    }

    /// Answers what was left unanswered.
    pub fn speak(&mut self) {
        self.silent = false;
        for ask in std::mem::take(&mut self.unanswered) {
            self.answer(ask);
        }
    }

    /// From now on nothing can be written.
    pub fn fail(&mut self, why: &str, is_lost: bool) {
        self.health.store = Err(StoreTrouble { since: self.clock.now(), why: why.to_owned(), is_lost });
        self.broken = Some(why.to_owned());
    }

    /// How many questions wait.
    pub fn waiting(&self) -> usize {
        self.unanswered.len()
    }

    /// Whoever asked may have gone away.
    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Order { order, reply } => drop(reply.send(self.order(order))),
            Ask::BoardAt { at, reply } => {
                let recall = Recall::new(self.engine.catalog(), at);
                drop(reply.send(api::board_at(&self.engine, &recall)));
            }
            Ask::History { query, reply } => drop(reply.send(api::history(&self.engine, &query))),
            Ask::Latency { query, reply } => drop(reply.send(api::latency(&self.engine, &query))),
            Ask::Audit { query, reply } => drop(reply.send(self.audit(&query))),
        }
    }

    fn order(&mut self, order: Order) -> Result<Followed, OrderError> {
        let now = self.clock.now();
        let service = self.engine.catalog().service_named(&order.service).ok_or(OrderError::UnknownService)?;
        if let Some(why) = &self.broken {
            return Err(OrderError::NotWritten(why.clone()));
        }
        let before = self.engine.tick(now)[service].state.level;
        let hold = order.hold.clone();
        let board = self.engine.command(Command { service, hold, by: order.actor.name() }, now)?;
        let (action, reason, until, exempt) = match order.hold {
            Hold::Freeze { reason, until, exempt } => (AuditAction::Freeze, reason, until, exempt),
            Hold::Unfreeze { reason, until } => (AuditAction::Unfreeze, reason, until, Vec::new()),
        };
        let audit = self.audit.len() as u64 + 1;
        self.audit.push(AuditEntry {
            sequence: audit,
            at: now,
            service: order.service,
            action,
            actor: order.actor,
            before: Some(before),
            after: Some(board[service].state.level),
            reason,
            until,
            exempt,
        });
        if self.hasty {
            return Ok(Followed { revision: self.revision + 1, audit: Some(audit) });
        }
        self.publish();
        Ok(Followed { revision: self.revision, audit: Some(audit) })
    }

    fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, String> {
        if let Some(why) = &self.broken {
            return Err(why.clone());
        }
        let meant = |entry: &&AuditEntry| {
            entry.sequence > query.after && query.service.as_ref().is_none_or(|service| *service == entry.service)
        };
        Ok(self.audit.iter().filter(meant).take(query.limit).cloned().collect())
    }

    /// Decides everything as of the clock and shows it.
    pub fn publish(&mut self) {
        self.revision += 1;
        let board = Arc::new(self.engine.tick(self.clock.now()));
        let catalog = Arc::clone(self.engine.catalog());
        let health = self.health.clone();
        self.snapshots.send_replace(Arc::new(Snapshot {
            revision: self.revision,
            catalog,
            board,
            health,
            prepared: Prepared::default(),
        }));
    }

    fn count(&mut self, story: &str, slo: &str, minutes_ago: i64, good: u32, bad: u32) {
        let catalog = Arc::clone(self.engine.catalog());
        let columns = columns(&catalog, SourceId(0));
        let slo = catalog.slo_named(story, slo).expect("an SLO of these specs");
        let minute = self.clock.now().minute().plus(-minutes_ago);
        let mut page = Page::new(minute.hour());
        let row = minute.number().rem_euclid(60) as usize;
        let newest = minute.start().max(self.clock.now().plus_millis(-minutes_ago * 60_000));
        let mut batch = Batch {
            source: SourceId(0),
            pages: Vec::new(),
            newest: vec![None; columns.len()],
            rejected: [(Rejection::Future, 1)].into(),
            truncated: 0,
            records: u64::from(good) + u64::from(bad) + 1,
            unread_run: 0,
            samples: vec![Sample { rejection: Rejection::Unparsed(Unparsed::Time), text: "no time".into() }],
            unmatched: Vec::new(),
            durations: Vec::new(),
        };
        let records = columns.len() - 2;
        for (column, good, bad) in [(slo.0, good, bad), (records, good + bad, 0)] {
            let hour = page.column_mut(column);
            (hour.good[row], hour.bad[row]) = (good, bad);
            batch.newest[column] = Some(newest);
        }
        batch.pages.push(page);
        // Good ones take 20 ms, bad ones 800 ms.
        let sets = request_sets(&catalog, SourceId(0));
        let set = sets.iter().position(|set| set.slos.contains(&slo)).expect("the source has durations");
        let cells = [(bucket_of(20_000), u64::from(good)), (bucket_of(800_000), u64::from(bad))];
        let cells = cells.into_iter().filter(|(_, count)| *count > 0).collect();
        batch.durations.push(Durations { hour: minute.hour(), set, took: Took::Cells(cells) });
        self.engine.observe(batch);
    }
}
