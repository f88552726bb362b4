//! The owner: the one thread that has the engine, and writes the store.
//!
//! It takes deliveries and questions as they come. After each, and at least a few times a second, it lets the engine
//! tick; it commits when a gate has changed or a second has passed, and publishes what readers see.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, never, select};
use tokio::sync::watch;

use super::follow::Delivery;
use super::following::Following;
use super::reload::{self, Reload};
use super::renamed;
use super::revive::Revival;
use super::specs::News;
use crate::api::{self, Access, Ask, Followed, Health, Order, OrderError, Prepared, Snapshot, StoreTrouble};
use crate::document::{Actor, AuditEntry};
use crate::engine::{Board, Command, Engine, Gap, Recall, RestoringDurations};
use crate::gate::{Doubt, Hold, Level, Reason};
use crate::spec::{Catalog, ServiceId};
use crate::store::{self, Commit, LaterDurations, Store, StoreError, Writer};
use crate::time::{Clock, Stopwatch, Timestamp};

/// What readers see.
pub(super) type Published = Arc<Snapshot>;

/// At least this often the engine ticks.
const TICK: Duration = Duration::from_millis(250);
/// Not more often than this, however many deliveries come, in milliseconds.
const TICK_AT_MOST_MS: u64 = 100;
/// Durations that could not be read are tried again after this time.
const AGAIN_MS: u64 = 1_000;
/// At least this often what was counted is committed, in milliseconds.
pub(super) const COMMIT_MS: u64 = 1_000;
/// With so many counts waiting, a commit is made at once: history is being read.
const MOST_UNCOMMITTED: usize = 500_000;

/// The engine, the store, and what readers see of them.
pub(super) struct Owner {
    pub(super) engine: Engine,
    pub(super) writer: Writer,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    /// What time it is, for the followers.
    pub(super) now: Arc<RwLock<Timestamp>>,
    /// Whether the server is stopping.
    pub(super) stop: Arc<AtomicBool>,
    snapshots: watch::Sender<Published>,
    revision: u64,
    pub(super) following: Following,
    pub(super) reload: Reload,
    pub(super) revival: Revival,
    /// What goes into the next commit beside the engine's checkpoint.
    pending: Commit,
    /// By source: whether everything that was there had been read at the last delivery.
    pub(super) caught_up: Vec<Option<bool>>,
    pub(super) store_health: Result<(), StoreTrouble>,
    /// Up to when everything had been counted, as it was said last.
    data_as_of: Option<Timestamp>,
    /// What is read of durations while everything else goes on.
    pub(super) durations: Option<JoinHandle<Result<RestoringDurations, StoreError>>>,
    /// When that failed.
    durations_tried_ms: Option<u64>,
    pub(super) watch: Stopwatch,
    committed_ms: u64,
    ticked_ms: u64,
}

impl Owner {
    /// An owner that nobody delivers to yet, and where its snapshots appear.
    pub(super) fn new(
        mut engine: Engine,
        mut writer: Writer,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        now: Arc<RwLock<Timestamp>>,
        stop: Arc<AtomicBool>,
        access: Access,
    ) -> (Self, watch::Receiver<Published>) {
        let loaded_at = clock.now();
        let board = engine.tick(loaded_at);
        let mut reload = Reload::new(access, loaded_at);
        let specs = reload.specs.clone();
        // What the specs changed while nobody served may open a gate: its audit is durable before anybody sees that.
        let has_changed = engine.was_changed_by_specs();
        let made = has_changed.then(|| writer.commit(Commit { checkpoint: engine.checkpoint(), ..Commit::default() }));
        let store_health = made.transpose().map(drop).map_err(|error| {
            tracing::error!("{error}");
            StoreTrouble { since: loaded_at, why: error.to_string(), is_lost: false }
        });
        let unwritten = store_health.as_ref().err();
        let board = unwritten.map_or_else(|| board.clone(), |trouble| withheld(&board, &trouble.why));
        reload.is_withheld = unwritten.is_some();
        let health = Health { store: store_health.clone(), sources_started: false, specs, data_as_of: None };
        let catalog = Arc::clone(engine.catalog());
        let caught_up = vec![None; catalog.sources.len()];
        let first = Snapshot { revision: 0, catalog, board: Arc::new(board), health, prepared: Prepared::default() };
        let (snapshots, receiver) = watch::channel(Arc::new(first));
        let owner = Self {
            engine,
            writer,
            store,
            clock,
            now,
            stop,
            snapshots,
            revision: 0,
            following: Following::nothing(),
            reload,
            revival: Revival::default(),
            pending: Commit::default(),
            caught_up,
            store_health,
            data_as_of: None,
            durations: None,
            durations_tried_ms: None,
            watch: Stopwatch::start(),
            committed_ms: 0,
            ticked_ms: 0,
        };
        (owner, receiver)
    }

    /// Has durations read while everything else goes on, and taken over when that is done.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(super) fn await_durations(&mut self, durations: LaterDurations) -> io::Result<()> {
        let thread = thread::Builder::new().name("durations".into());
        self.durations = Some(thread.spawn(move || durations.read())?);
        Ok(())
    }

    /// Takes over durations that have been read.
    fn take_durations(&mut self) {
        let Some(reading) = self.durations.take_if(|reading| reading.is_finished()) else { return };
        match reading.join() {
            Ok(Ok(durations)) => self.engine.take_durations(durations),
            Ok(Err(error)) => self.durations_failed(&error.to_string()),
            Err(_) => self.durations_failed("reading it ended by a fault of slogate"),
        }
    }

    /// Takes note that durations could not be read, which is so after a commit that failed: the file is opened anew
    /// then.
    fn durations_failed(&mut self, why: &str) {
        tracing::error!("how long requests took is not known before it has been read again: {why}");
        self.durations_tried_ms = Some(self.watch.elapsed_ms());
    }

    /// Has durations that could not be read, read again, when the store can be written and some time has passed.
    fn read_durations_again(&mut self) -> Result<(), String> {
        let is_due = |tried_ms: &mut u64| self.watch.elapsed_ms().saturating_sub(*tried_ms) >= AGAIN_MS;
        if self.writer.is_behind() || self.durations_tried_ms.take_if(is_due).is_none() {
            return Ok(());
        }
        self.commit().map_err(|error| error.to_string())?;
        let (catalog, now) = (Arc::clone(self.engine.catalog()), self.clock.now());
        let restored = renamed::restored(&*self.store, &catalog, now);
        let (engine, _, durations) = restored.map_err(|error| error.to_string())?;
        self.engine = engine.going_on_from(&self.engine);
        self.await_durations(durations).map_err(|error| error.to_string())
    }

    /// Says from now on that nothing of what the store held is known.
    pub(super) fn lose_store(&mut self, why: &str) {
        let since = self.reload.specs.loaded_at;
        self.store_health = Err(StoreTrouble { since, why: why.to_owned(), is_lost: true });
        let board = self.engine.tick(since);
        self.publish(Arc::new(board));
    }

    /// Works until the server stops and nothing is delivered any more, then commits for the last time.
    pub(super) fn run(&mut self, questions: &Receiver<Ask>, news: &Receiver<News>) {
        let mut open_questions = questions.clone();
        let mut open_news = news.clone();
        while !(self.following.has_ended() && self.is_stopping()) {
            if self.is_stopping() {
                self.following.stop();
            }
            let next = if self.is_held_up() { never() } else { self.following.deliveries() };
            select! {
                recv(next) -> delivery => match delivery {
                    Ok(delivery) => self.take(delivery),
                    Err(_) => self.following.ended(),
                },
                recv(open_questions) -> question => match question {
                    Ok(question) => self.answer(question),
                    Err(_) => open_questions = never(),
                },
                recv(open_news) -> news => match news {
                    Ok(news) => self.hear(news),
                    Err(_) => open_news = never(),
                },
                default(TICK) => {}
            }
            self.go_on_reviving();
            self.go_on_reloading();
            self.turn();
        }
        self.finish();
    }

    /// Whether no deliveries are taken: while nothing can be written, files wait, and memory does not grow.
    pub(super) fn is_held_up(&self) -> bool {
        self.writer.is_behind() && !self.is_stopping()
    }

    /// Ticks, unless that was just done.
    pub(super) fn turn(&mut self) {
        self.take_durations();
        if let Err(why) = self.read_durations_again() {
            self.durations_failed(&why);
        }
        if self.watch.elapsed_ms().saturating_sub(self.ticked_ms) >= TICK_AT_MOST_MS {
            self.tick();
        }
    }

    /// Commits for the last time.
    pub(super) fn finish(&mut self) {
        self.tick();
        if self.commit().is_err() {
            tracing::error!("stopping with counts that could not be written; they are read from the logs again");
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Takes over what a follower has seen.
    pub(super) fn take(&mut self, delivery: Delivery) {
        let Delivery { batch, positions, gaps, reading, source, targets, measured } = delivery;
        let now = self.clock.now();
        self.engine.advance(now);
        self.caught_up[source.0] = Some(reading.is_up_to_date());
        let was_corrupt = self.engine.is_corrupt(source);
        self.engine.note_reading(source, reading);
        targets.into_iter().for_each(|targets| self.engine.note_targets(source, targets));
        self.engine.note_measured(measured);
        self.engine.observe(batch);
        if self.engine.is_corrupt(source) {
            // Its positions stay where its last sound counts are: a restart reads it from there again. To read on
            // before would be in vain.
            self.following.stop_one(source);
            if !was_corrupt {
                let name = &self.engine.catalog()[source].name;
                tracing::error!(source = name, "{}", Doubt::Corrupt.text(name));
            }
            return;
        }
        let gaps: Vec<Gap> = gaps.into_iter().map(|gap| Gap { to: now.max(gap.to), ..gap }).collect();
        self.engine.note_gaps(gaps.iter().cloned());
        self.pending.gaps.extend(gaps);
        self.pending.positions.extend(positions);
        if self.engine.uncommitted() > MOST_UNCOMMITTED {
            // Told by the health of the store; counting goes on.
            let _ = self.commit();
        }
    }

    /// Lets the engine see the time; commits what must be durable before it is seen, and publishes.
    fn tick(&mut self) {
        let elapsed_ms = self.watch.elapsed_ms();
        let since_ms = elapsed_ms.saturating_sub(self.ticked_ms);
        self.ticked_ms = elapsed_ms;
        let now = self.clock.now();
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = now;
        // A board that lacks counts is never shown, and nothing is decided by it: until it is whole, the last one
        // stays.
        let board = self.fill(now).then(|| self.engine.tick(now));
        if board.is_some() {
            self.engine.expire(i64::try_from(since_ms).unwrap_or(i64::MAX));
        }
        let has_changed_gates = board.as_ref().is_some_and(|board| self.gates_changed(board));
        if has_changed_gates || elapsed_ms.saturating_sub(self.committed_ms) >= COMMIT_MS {
            // When it cannot be written the board is shown all the same, with the store's trouble beside it.
            let _ = self.commit();
        }
        let board = board.map_or_else(|| Arc::clone(&self.snapshots.borrow().board), Arc::new);
        self.publish(board);
    }

    fn gates_changed(&self, board: &Board) -> bool {
        let shown = self.snapshots.borrow();
        let levels = |board: &Board| board.gates.iter().map(|gate| gate.state.level).collect::<Vec<_>>();
        levels(&shown.board) != levels(board)
    }

    /// Commits everything that waits.
    pub(super) fn commit(&mut self) -> Result<u64, StoreError> {
        self.committed_ms = self.watch.elapsed_ms();
        let commit = self.take_pending();
        if commit == Commit::default() && !self.writer.is_behind() {
            return Ok(self.writer.revision());
        }
        let made = self.writer.commit(commit);
        self.note_store_health(&made);
        made
    }

    /// Everything that waits; of sources whose counts were found not to add up, no positions either.
    fn take_pending(&mut self) -> Commit {
        let mut commit = std::mem::take(&mut self.pending);
        commit.checkpoint = self.engine.checkpoint();
        let catalog = self.engine.catalog();
        let is_sound = |name: &str| catalog.source_named(name).is_none_or(|source| !self.engine.is_corrupt(source));
        commit.positions.retain(|position| is_sound(&position.source));
        commit
    }

    fn note_store_health(&mut self, made: &Result<u64, StoreError>) {
        match (made, &mut self.store_health) {
            (Ok(_), Ok(())) => {}
            (Ok(_), health) => {
                tracing::info!("the store can be written again; nothing was lost");
                *health = Ok(());
            }
            (Err(error), health) => {
                let why = error.to_string();
                let before = health.as_ref().err();
                if before.is_none_or(|before| before.why != why) {
                    tracing::error!("{why}");
                    let since = before.map_or_else(|| self.clock.now(), |before| before.since);
                    *health = Err(StoreTrouble { since, why, is_lost: before.is_some_and(|before| before.is_lost) });
                }
            }
        }
    }

    pub(super) fn publish(&mut self, board: Arc<Board>) -> u64 {
        self.revision += 1;
        let all_read = self.caught_up.iter().all(|caught_up| *caught_up == Some(true));
        // Nothing is counted while something waits to be written.
        if !self.writer.is_behind() {
            self.data_as_of = (all_read && !self.following.is_stopping()).then_some(board.at);
        }
        let (catalog, board) = self.what_is_shown(board);
        let health = Health {
            store: self.store_health.clone(),
            sources_started: self.caught_up.iter().all(Option::is_some),
            specs: self.reload.specs.clone(),
            data_as_of: self.data_as_of,
        };
        let prepared = Prepared::default();
        let snapshot = Snapshot { revision: self.revision, catalog, board, health, prepared };
        self.snapshots.send_replace(Arc::new(snapshot));
        self.revision
    }

    /// The board, or the one that is shown already while readers are not to see other specs yet.
    fn what_is_shown(&mut self, board: Arc<Board>) -> (Arc<Catalog>, Arc<Board>) {
        if self.reload.is_to_be_kept_back(self.writer.is_behind()) {
            let shown = self.snapshots.borrow();
            let frozen = reload::frozen_as_well((&shown.catalog, &shown.board), (self.engine.catalog(), &board));
            return (Arc::clone(&shown.catalog), frozen.map_or_else(|| Arc::clone(&shown.board), Arc::new));
        }
        let catalog = Arc::clone(self.engine.catalog());
        self.reload.is_withheld &= self.writer.is_behind();
        match &self.store_health {
            Err(trouble) if self.reload.is_withheld => (catalog, Arc::new(withheld(&board, &trouble.why))),
            _ => (catalog, board),
        }
    }

    /// Whether the windows hold all that is to be shown `now`.
    pub(super) fn is_whole(&self, now: Timestamp) -> bool {
        !self.engine.must_be_restored_for(now)
    }

    /// Fills the windows from the store again if the clock was put right by so much that they lack counts `now`.
    /// `false` when that is not possible at present.
    fn fill(&mut self, now: Timestamp) -> bool {
        if self.is_whole(now) {
            return true;
        }
        tracing::warn!("the clock was stepped to {now}; the windows are filled from the store again");
        if self.commit().is_err() || self.writer.is_behind() {
            return false;
        }
        let catalog = Arc::clone(self.engine.catalog());
        match renamed::restored_whole(&*self.store, &catalog, now) {
            Ok((engine, _)) => {
                self.engine = engine.going_on_from(&self.engine);
                self.durations = None;
            }
            Err(error) => {
                tracing::error!("{error}");
                return false;
            }
        }
        true
    }

    /// Whoever asked may have gone away; replies to nobody are dropped.
    pub(super) fn answer(&mut self, question: Ask) {
        match question {
            Ask::Order { order, reply } => drop(reply.send(self.follow(order))),
            Ask::BoardAt { at, reply } => drop(reply.send(api::board_at(&self.engine, &self.recall(at)))),
            Ask::History { query, reply } => drop(reply.send(api::history(&self.engine, &query))),
            Ask::Latency { query, reply } => drop(reply.send(api::latency(&self.engine, &query))),
            Ask::Audit { query, reply } => {
                let entries = self.store.audit(query.after, query.limit, query.service.as_deref());
                let shown = entries.map(|entries| entries.iter().map(AuditEntry::from).collect());
                drop(reply.send(shown.map_err(|error| error.to_string())));
            }
        }
    }

    /// What the gates were at a past instant. What waits to be written is in no audit that could be read.
    fn recall(&self, at: Timestamp) -> Recall {
        let catalog = self.engine.catalog();
        match &self.store_health {
            Err(trouble) if self.writer.is_behind() => Recall::new(catalog, at).given_up(&trouble.why),
            _ => store::recall(&*self.store, catalog, self.engine.last_audit(), at),
        }
    }

    /// Follows an order: it is in force when it is durable, and not before.
    fn follow(&mut self, order: Order) -> Result<Followed, OrderError> {
        // What waits goes first, so that a store that cannot be written is known of before anything changes.
        let written = self.commit();
        let services = &self.engine.catalog().services;
        let service = services.iter().position(|service| service.name == order.service);
        let service = service.map(ServiceId).ok_or(OrderError::UnknownService)?;
        let is_freeze = matches!(order.hold, Hold::Freeze { .. });
        let now = self.clock.now();
        if !self.fill(now) {
            return Err(OrderError::NotWritten("the windows cannot be filled from the store".to_owned()));
        }
        let command = Command { service, hold: order.hold, by: order.actor.name() };
        command.check(now)?;
        match written {
            Ok(_) => {}
            Err(error) if is_freeze => return self.freeze_unwritten(command, now, &error),
            Err(error) => return Err(not_written(error)),
        }
        let board = self.engine.command(command, now)?;
        let ticket = self.store.ticket();
        self.pending.positions.extend(ticket.clone());
        let commit = self.take_pending();
        let entry = commit.checkpoint.audit.iter().rfind(|entry| entry.cause == "order").cloned();
        let made = self.writer.commit(commit);
        self.note_store_health(&made);
        let error = match made {
            Ok(_) => {
                let revision = self.publish(Arc::new(board));
                return Ok(Followed { revision, audit: entry.map(|entry| entry.number) });
            }
            Err(error) => error,
        };
        if !is_freeze {
            self.take_back(service, now);
            return Err(not_written(error));
        }
        let kept = ticket.zip(entry).map(|(ticket, entry)| self.store.keep(&ticket, &entry));
        let revision = self.publish(Arc::new(board));
        match kept {
            Some(Ok(())) => Ok(Followed { revision, audit: None }),
            Some(Err(worse)) => Err(OrderError::NotDurable(format!("{error}; {worse}"))),
            None => Err(OrderError::NotDurable(error.to_string())),
        }
    }

    /// Freezes although the store cannot be written, if the freeze can be kept elsewhere; otherwise nothing changes.
    fn freeze_unwritten(&mut self, freeze: Command, now: Timestamp, why: &StoreError) -> Result<Followed, OrderError> {
        let refused = |worse: StoreError| OrderError::NotWritten(format!("{why}; {worse}"));
        let ticket = self.store.ticket().ok_or(StoreError::NoReserve).map_err(refused)?;
        self.store.keep(&ticket, &self.engine.entry_of(&freeze, now)).map_err(refused)?;
        let board = self.engine.command(freeze, now)?;
        self.pending.positions.push(ticket);
        Ok(Followed { revision: self.publish(Arc::new(board)), audit: None })
    }

    /// An order to open that nobody could prove later does not open: the gate is shut until somebody can order again.
    fn take_back(&mut self, service: ServiceId, now: Timestamp) {
        let reason = "an order to unfreeze could not be written to the store".to_owned();
        let hold = Hold::Freeze { reason, until: None, exempt: Vec::new() };
        let command = Command { service, hold, by: Actor::ENGINE.name() };
        if let Some(ticket) = self.store.ticket() {
            // The order may have been written after all. That this is kept as well is not certain, and not promised.
            let _ = self.store.keep(&ticket, &self.engine.entry_of(&command, now));
            self.pending.positions.push(ticket);
        }
        if let Ok(board) = self.engine.command(command, now) {
            self.publish(Arc::new(board));
        }
    }
}

/// The same board, with every gate unknown that is not frozen, and letting nothing pass.
fn withheld(board: &Board, why: &str) -> Board {
    let mut withheld = board.clone();
    for decision in withheld.gates.iter_mut().filter(|decision| decision.state.level != Level::Frozen) {
        (decision.state.level, decision.state.since) = (Level::Unknown, board.at);
        decision.reasons.insert(0, Reason::SpecsUnwritten { why: why.to_owned() });
    }
    withheld
}

fn not_written(error: StoreError) -> OrderError {
    OrderError::NotWritten(error.to_string())
}
