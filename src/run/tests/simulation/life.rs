//! Lives: one process after the other, each the production follower and owner, stepped by hand beside the model.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

use super::check;
use super::model::{self, Model, PROMISES, SERVICES, Sent};
use super::plan::{self, Between, DAY, EDGE, FAR, FRONT, Op, Route, Shape};
use super::vault::{Deed, Shelf, Try, Vault};
use super::world::{Clocks, Memory, World};
use super::{Defect, Failure};
use crate::api::Access;
use crate::api::{Ask, Order, OrderError};
use crate::document::Actor;
use crate::document::Principal;
use crate::gate::Hold;
use crate::run::follow::{Delivery, Looking};
use crate::run::following::DELIVERIES;
use crate::run::following::Follower;
use crate::run::owner::{Owner, Published};
use crate::run::{StartError, classifiers, followers, kept_for, read_time};
use crate::spec::{Catalog, load_texts};
use crate::store::{Memory as MemoryStore, Store, Writer, restore};
use crate::time::{Clock, Horizon, Timestamp, by_hand};

/// How often a follower looks, in milliseconds.
const POLL_MS: i64 = 200;
/// How often the owner ticks.
const TURN_MS: i64 = 250;
/// The clock is put right when it has been years wrong for this long: what is deleted then is another test's matter.
const FAR_FOR_MS: i64 = 100_000;
/// 2026-11-20T10:12:00Z.
const START_MS: i64 = 1_795_169_520_000;

/// A machine: what outlives its processes.
pub struct Machine {
    _directory: TempDir,
    root: PathBuf,
    catalog: Arc<Catalog>,
    shelf: Shelf,
    defect: Option<Defect>,
    world: World,
    model: Model,
    clock: Arc<HandClock>,
    /// On a clock that never goes back.
    elapsed_ms: i64,
    true_ms: i64,
    /// How often the clock was years wrong, and since when it is.
    far: i64,
    far_since_ms: Option<i64>,
    /// Generations of which something must be in a gap.
    owed: std::collections::BTreeSet<usize>,
}

/// One process.
struct Life<'m, 'f> {
    machine: &'m mut Machine,
    vault: Arc<Vault>,
    owner: Owner,
    snapshots: watch::Receiver<Published>,
    now: Arc<RwLock<Timestamp>>,
    stop: Arc<AtomicBool>,
    followers: Vec<Looking<'f>>,
    memories: [Memory; 2],
    has_looked: [bool; 2],
    queue: VecDeque<(Delivery, Sent)>,
}

/// A clock that the test sets.
#[derive(Debug, Default)]
pub struct HandClock(AtomicI64);

impl HandClock {
    pub fn at(ms: i64) -> Self {
        Self(AtomicI64::new(ms))
    }

    pub fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Crash,
    OfPlan,
}

impl Machine {
    pub fn new(seed: u64, defect: Option<Defect>) -> Self {
        // Files in memory are fast; those on a disk have inodes that are used again.
        let directory = match seed % 16 {
            0 => tempfile::tempdir(),
            _ => tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()),
        };
        let directory = directory.unwrap();
        let root = directory.path().canonicalize().unwrap();
        let mut catalog = load_texts(&root, &model::SPECS).unwrap().catalog;
        if defect == Some(Defect::OffByOneWindowEdge) {
            let slos = catalog.slos.iter_mut();
            slos.for_each(|slo| slo.window = Horizon::of_minutes(slo.window.minutes() as u32 + 1));
        }
        by_hand::pass_ms(0);
        let clock = Arc::new(HandClock::at(START_MS));
        Self {
            world: World::new(&root),
            _directory: directory,
            root,
            catalog: Arc::new(catalog),
            shelf: if seed % 8 == 5 { Shelf::File } else { Shelf::Memory(Arc::new(MemoryStore::new())) },
            defect,
            model: Model::default(),
            clock,
            elapsed_ms: 0,
            true_ms: START_MS,
            far: 0,
            far_since_ms: None,
            owed: Default::default(),
        }
    }

    /// Carries out a plan, process after process, and at last starts once more and looks at what is there.
    pub fn run(&mut self, ops: &[Op]) -> Result<(), Failure> {
        let mut ops = ops.iter();
        while self.live(&mut ops)? == End::Crash {}
        self.live(&mut [].iter()).map(drop)
    }

    fn live<'o>(&mut self, ops: &mut impl Iterator<Item = &'o Op>) -> Result<End, Failure> {
        let vault = Arc::new(Vault::open(&self.shelf, &self.root, self.defect));
        let store: Arc<dyn Store> = vault.clone();
        let now = self.clock.now();
        let (engine, loaded) = restore(&*store, Arc::clone(&self.catalog), kept_for(&self.catalog), now)?;
        let classifiers = classifiers(&self.catalog)?;
        let followers = followers(&self.catalog, classifiers, Vec::new(), &loaded.positions);
        let mut followers = followers.map_err(StartError::from)?;
        let writer = Writer::new(Arc::clone(&store), loaded.revision);
        let shared = Arc::new(RwLock::new(now));
        let stop = Arc::new(AtomicBool::new(false));
        let clock: Arc<dyn Clock> = self.clock.clone();
        let access = Access::new(self.catalog.server.listen, None);
        let (owner, snapshots) =
            Owner::new(engine, writer, store, clock, Arc::clone(&shared), Arc::clone(&stop), access);
        self.model.restart(now.millis());
        let memory = |log: usize| Memory::of(self.model.now.seen[log].clone());
        let mut life = Life {
            memories: [memory(FRONT), memory(EDGE)],
            machine: self,
            vault,
            owner,
            snapshots,
            now: shared,
            stop,
            followers: followers.iter_mut().map(begin).collect(),
            has_looked: [false; 2],
            queue: VecDeque::new(),
        };
        life.check_store()?;
        life.check_board()?;
        life.vault.deeds();
        for op in ops {
            let goes_on = life.carry_out(op)?;
            life.check_now()?;
            if !goes_on || life.vault.is_off() {
                return Ok(End::Crash);
            }
        }
        Ok(End::OfPlan)
    }

    fn clocks(&self) -> Clocks {
        Clocks { wall_ms: self.clock.now().millis(), true_ms: self.true_ms }
    }

    fn pass(&mut self, ms: i64) {
        by_hand::pass_ms(ms.unsigned_abs());
        self.elapsed_ms += ms;
        self.sleep(ms);
        if self.far_since_ms.is_some_and(|since_ms| self.elapsed_ms - since_ms > FAR_FOR_MS) {
            self.put_right();
        }
    }

    fn sleep(&mut self, ms: i64) {
        self.true_ms += ms;
        self.clock.pass(ms);
    }

    fn put_right(&mut self) {
        self.far_since_ms = None;
        self.clock.set(self.true_ms);
    }

    /// Steps the clock, but never so that it adds up to more than a few days or leads to the same years twice.
    fn step(&mut self, ms: i64) {
        let skew_ms = self.clock.now().millis() - self.true_ms;
        match ms.abs() == FAR {
            true if self.far_since_ms.is_none() => {
                self.far += 1;
                self.far_since_ms = Some(self.elapsed_ms);
                self.clock.set(self.true_ms + self.far * ms);
            }
            false if (skew_ms + ms).abs() <= 4 * DAY => self.clock.pass(ms),
            _ => {}
        }
    }
}

impl Life<'_, '_> {
    /// Lets one thing happen; `false` when the process ends.
    fn carry_out(&mut self, op: &Op) -> Result<bool, Failure> {
        let clocks = self.machine.clocks();
        match op {
            Op::Write(log, lines) => self.machine.world.write(*log, lines, clocks),
            Op::WriteTorn(log, line, percent) => self.machine.world.write_torn(*log, *line, *percent, clocks),
            Op::WriteAside(line) => self.machine.world.write_aside(*line, clocks),
            Op::Poll(log) => self.poll(*log)?,
            Op::Take => self.take()?,
            Op::Turn => self.turn()?,
            Op::Work => self.work()?,
            Op::Pass(ms) => self.machine.pass(*ms),
            Op::Sleep(ms) => self.machine.sleep(*ms),
            Op::Step(ms) => self.machine.step(*ms),
            Op::PutRight => self.machine.put_right(),
            Op::Trouble(trouble, times) => self.vault.plan(*trouble, *times),
            Op::PowerFails { made } => self.vault.plan_power_failure(*made),
            Op::Crash => return Ok(false),
            Op::Stop => return self.stop(),
            Op::Order { service, freeze, until, hears } => self.order(*service, *freeze, *until, *hears)?,
            Op::Settle => return self.settle(),
            _ => self.happen_to_files(op)?,
        }
        Ok(true)
    }

    fn happen_to_files(&mut self, op: &Op) -> Result<(), Failure> {
        let clocks = self.machine.clocks();
        let Machine { world, model, .. } = &mut *self.machine;
        let [front, edge] = &model.committed.seen;
        match *op {
            Op::Rotate { leaves_torn, creates } => world.rotate(leaves_torn, creates, &self.memories[FRONT], front),
            Op::Truncate(log) => world.truncate(log, &mut self.memories[log]),
            Op::Delete(FRONT, leaves_torn) => world.delete(FRONT, leaves_torn, &self.memories[FRONT], front),
            Op::Delete(log, leaves_torn) => world.delete(log, leaves_torn, &self.memories[log], edge),
            Op::Switch { leaves_torn } => world.switch(leaves_torn, &self.memories[EDGE], edge),
            Op::Copytruncate { leaves_torn, between } => {
                let extra = plan::Line {
                    route: Route::Shop,
                    status: 200,
                    duration: Some(1),
                    shape: Shape::Plain,
                    at: plan::At::Ago(0),
                };
                let memory = &self.memories[FRONT];
                let Some(rest) = world.copytruncate(leaves_torn, between, (extra, clocks), memory, front) else {
                    return Ok(());
                };
                if matches!(between, Between::Poll | Between::WriteAndPoll) {
                    self.poll(FRONT)?;
                }
                self.machine.world.then_truncate(rest, &mut self.memories[FRONT]);
            }
            Op::Pack { place, is_seen_twice } => {
                let Some(name) = world.pack(place) else { return Ok(()) };
                if is_seen_twice {
                    self.poll(FRONT)?;
                }
                self.machine.world.remove(&name);
            }
            _ => {}
        }
        Ok(())
    }

    /// One look of a follower, when the owner has room for what it finds.
    fn poll(&mut self, log: usize) -> Result<(), Failure> {
        if self.queue.len() >= DELIVERIES {
            return Ok(());
        }
        self.machine.pass(POLL_MS);
        let now = read_time(&self.now);
        let memory = &mut self.memories[log];
        let mut records = self.machine.world.poll(log, memory);
        let missed = self.machine.world.missed(log, memory);
        if !std::mem::replace(&mut self.has_looked[log], true) {
            // What was lost while nobody looked, nobody can know the length of.
            self.machine.owed.extend(&missed - &memory.seen.missed);
        }
        memory.seen.missed.extend(missed);
        let polled = self.followers[log].poll(now);
        let Some(delivery) = polled.delivery else {
            return check::same("records without a delivery", &0, &records.len());
        };
        let delivered = check::records_in(&self.machine.catalog, &delivery.batch);
        if delivered == records.len() as u64 + 1 {
            records.extend(self.machine.world.hand_over(log, memory));
        }
        check::same(&format!("records delivered of log {log}"), &delivered, &(records.len() as u64))?;
        let sent = Sent { log, records, now_ms: now.millis(), seen: memory.seen.clone() };
        self.queue.push_back((delivery, sent));
        Ok(())
    }

    /// The owner takes the next delivery, if it takes any.
    fn take(&mut self) -> Result<(), Failure> {
        if self.owner.is_held_up() || self.vault.is_off() {
            return Ok(());
        }
        let Some((mut delivery, sent)) = self.queue.pop_front() else { return Ok(()) };
        let now_ms = self.machine.clock.now().millis();
        check::that("bytes that were read are unaccounted for", delivery.reading.is_conserved)?;
        check::that("a gap ends before it begins", delivery.gaps.iter().all(|gap| gap.from <= gap.to))?;
        self.machine.model.take(&sent, &delivery.gaps, &delivery.reading, now_ms);
        if self.machine.defect == Some(Defect::LostLateLine) {
            let hour = now_ms.div_euclid(plan::HOUR);
            delivery.batch.pages.retain(|page| page.hour >= hour - 1);
        }
        self.owner.take(delivery);
        let deeds = self.vault.deeds();
        self.note(&deeds);
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Failure> {
        if self.vault.is_off() {
            return Ok(());
        }
        self.machine.pass(TURN_MS);
        let shown = self.shown_levels();
        let now = self.machine.clock.now();
        let was_whole = self.owner.is_whole(now);
        self.owner.turn();
        let deeds = self.vault.deeds();
        self.note_tick(&deeds, was_whole);
        if self.vault.is_off() || !self.owner.is_whole(now) {
            return Ok(());
        }
        self.check_board()?;
        let has_failed = deeds.iter().any(|deed| matches!(deed, Deed::Commit(Try { told: false, .. })));
        if shown != self.shown_levels() && !has_failed && !self.owner.is_held_up() {
            let Model { now, committed, .. } = &self.machine.model;
            check::same("audit entries when a level was shown", &committed.audit.len(), &now.audit.len())?;
        }
        Ok(())
    }

    /// What a tick does to the model, given what was asked of the store meanwhile.
    fn note_tick(&mut self, deeds: &[Deed], was_whole: bool) {
        let filled = deeds.iter().position(|deed| *deed == Deed::Load);
        let (to_fill, to_tick) = deeds.split_at(if was_whole { 0 } else { filled.unwrap_or(deeds.len()) });
        self.note(to_fill);
        // What could not be filled is not looked at.
        if was_whole || filled.is_some() {
            self.machine.model.tick(self.machine.clock.now().millis());
        }
        self.note(to_tick);
    }

    /// The process takes what its followers have delivered, commits and ends.
    fn stop(&mut self) -> Result<bool, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        while !self.queue.is_empty() && !self.vault.is_off() {
            self.take()?;
        }
        let was_whole = self.owner.is_whole(self.machine.clock.now());
        self.owner.finish();
        let deeds = self.vault.deeds();
        self.note_tick(&deeds, was_whole);
        Ok(false)
    }

    fn shown_levels(&self) -> Vec<&'static str> {
        self.snapshots.borrow().board.gates.iter().map(|gate| gate.state.level.name()).collect()
    }

    fn work(&mut self) -> Result<(), Failure> {
        for _ in 0..2 {
            self.poll(FRONT)?;
            self.poll(EDGE)?;
            while !self.queue.is_empty() && !self.owner.is_held_up() && !self.vault.is_off() {
                self.take()?;
            }
            self.turn()?;
        }
        Ok(())
    }

    /// What the store took is what the model commits.
    fn note(&mut self, deeds: &[Deed]) {
        if deeds.iter().any(|deed| matches!(deed, Deed::Commit(Try { made: true, .. }))) {
            self.machine.model.commit();
        }
    }

    fn order(&mut self, service: usize, freeze: bool, until: Option<i64>, hears: bool) -> Result<(), Failure> {
        if self.vault.is_off() {
            return Ok(());
        }
        let now_ms = self.machine.clock.now().millis();
        let until_ms = until.map(|ms| now_ms + ms);
        let until = until_ms.map(Timestamp::from_millis);
        let reason = format!("order at {}", self.machine.elapsed_ms);
        let hold = match freeze {
            true => Hold::Freeze { reason: reason.clone(), until, exempt: Vec::new() },
            false => Hold::Unfreeze { reason: reason.clone(), until },
        };
        let actor = Actor { principal: Principal::Token, claimed: Some("anna".to_owned()) };
        let name = SERVICES.get(service).copied().unwrap_or("nobody").to_owned();
        let (reply, mut answer) = oneshot::channel();
        if !hears {
            answer.close();
        }
        let by = actor.name();
        self.owner.answer(Ask::Order { order: Order { service: name, hold, actor }, reply });
        let deeds = self.vault.deeds();
        let entry = self.machine.model.now.audit.len() as u64 + 1;
        let is_sound = service < SERVICES.len() && until_ms.is_none_or(|until_ms| until_ms > now_ms);
        let order = model::Order { freeze, until_ms, reason, by };
        let has_order =
            |deed: &Deed| is_sound && matches!(deed, Deed::Commit(Try { audit: Some(last), .. }) if *last >= entry);
        let first = deeds.iter().position(has_order).unwrap_or(deeds.len());
        let (waiting, ordered) = deeds.split_at(first);
        self.note(waiting);
        let is_followed = matches!(ordered, [Deed::Commit(Try { told: true, .. }), ..]);
        if !ordered.is_empty() {
            self.machine.model.order(service, order, now_ms);
            self.note(ordered);
            if !is_followed && !freeze {
                self.machine.model.take_back(service, now_ms);
            }
        }
        if self.vault.is_off() {
            return Ok(());
        }
        if !ordered.is_empty() {
            self.check_board()?;
        }
        match answer.try_recv() {
            Ok(Ok(followed)) => {
                check::that("an order was followed that was not written", is_followed)?;
                let entries = &self.machine.model.now.audit;
                let ordered =
                    entries.iter().rposition(|entry| entry.order.is_some()).map_or(0, |place| place as u64 + 1);
                check::same("audit entry of an order", &followed.audit, &Some(ordered))?;
                self.check_audit_of(ordered)
            }
            Ok(Err(OrderError::NotDurable(_))) => check::that(
                "a freeze is not in force that was said to be",
                freeze && !ordered.is_empty() && !is_followed,
            ),
            Ok(Err(OrderError::NotWritten(_))) => {
                let is_in_force = freeze && !ordered.is_empty();
                check::that("an order that was written was denied", !is_followed && !is_in_force)
            }
            Ok(Err(_)) => check::that("a sound order was refused", !is_sound),
            Err(_) => check::that("an order was not answered", !hears),
        }
    }

    /// The reply is true: what it tells of is in the store.
    fn check_audit_of(&self, entry: u64) -> Result<(), Failure> {
        let stored = self.vault.audit(entry - 1, 1, None)?;
        check::same("audit entries in the store when an order was answered", &stored.len(), &1)
    }

    /// Everything is read, and committed, and what was lost is known.
    fn settle(&mut self) -> Result<bool, Failure> {
        self.vault.calm();
        if self.vault.is_broken() {
            return Ok(false);
        }
        // Only beside the log itself are rotated files known to be that.
        self.machine.world.reopen();
        for _ in 0..14 {
            self.work()?;
            self.machine.pass(1_000);
        }
        self.machine.pass(1_000);
        self.turn()?;
        self.check_settled()?;
        Ok(true)
    }

    fn check_settled(&mut self) -> Result<(), Failure> {
        check::that("something waits to be committed", !self.owner.is_held_up() && self.queue.is_empty())?;
        let Machine { world, model, owed, .. } = &*self.machine;
        for log in [FRONT, EDGE] {
            let seen = [&self.memories[log].seen, &model.now.seen[log], &model.committed.seen[log]];
            check::that("not everything is committed", seen.iter().all(|other| *other == seen[0]))?;
            check::that("a last line was never handed over", !world.has_unfinished(log, &self.memories[log]))?;
            let of_log = |generation: &&usize| world.log_of(**generation) == log;
            let least = owed.iter().filter(of_log).count();
            let most = world.destroyed.iter().filter(of_log).count();
            let gaps = model.committed.gaps.iter().filter(|gap| gap.log == log).count();
            let all = &model.committed.gaps;
            check::that(
                &format!("{gaps} gaps of log {log}, not {least} to {most}: {all:?}"),
                (least..=most).contains(&gaps),
            )?;
        }
        self.check_store()?;
        self.look_back()
    }

    /// The past is what it was.
    fn look_back(&mut self) -> Result<(), Failure> {
        let now_ms = self.machine.clock.now().millis();
        let at = Timestamp::from_millis(now_ms - self.machine.elapsed_ms % (3 * plan::HOUR) - 1);
        let (reply, mut answer) = oneshot::channel();
        self.owner.answer(Ask::BoardAt { at, reply });
        match answer.try_recv() {
            Ok(Ok(past)) => {
                check::gates_then(&past.catalog, &past.board, &self.machine.model.committed)?;
                check::counts(&past.catalog, &past.board, &self.machine.model.now.without_doubts())
            }
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(Failure("a question about the past was not answered".into())),
        }
    }

    fn check_store(&self) -> Result<(), Failure> {
        check::store(&*self.vault, &self.machine.model.committed)
    }

    fn check_board(&self) -> Result<(), Failure> {
        let snapshot = self.snapshots.borrow();
        check::same("instant of the board", &snapshot.board.at.millis(), &self.machine.model.at_ms)?;
        check::board(&snapshot.catalog, &snapshot.board, &self.machine.model.now)
    }

    /// What holds after every step.
    fn check_now(&mut self) -> Result<(), Failure> {
        if self.vault.is_off() || self.vault.is_broken() {
            return Ok(());
        }
        let entries = self.vault.audit(0, 1_000, None)?;
        check::audit(&entries, &self.machine.model.committed)
    }
}

/// Whether the model of a promise is that of the catalog, name by name.
pub fn promises_agree(catalog: &Catalog) -> bool {
    PROMISES
        .iter()
        .enumerate()
        .all(|(slo, promise)| catalog.slo_named(promise.story, promise.slo).is_some_and(|id| id.0 == slo))
}

/// Both sources of the model are logs.
fn begin(follower: &mut Follower) -> Looking<'_> {
    match follower {
        Follower::Files(files) => files.begin(),
        Follower::Targets(_) => panic!("a log is followed by its files"),
    }
}
