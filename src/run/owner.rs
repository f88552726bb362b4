//! The owner: the one thread that has the engine, and writes the store.
//!
//! It takes deliveries and questions as they come. After each, and at least a few times a second, it lets the engine
//! tick; it commits when a gate has changed or a second has passed, and publishes what readers see.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, never, select};
use tokio::sync::watch;

use super::follow::Delivery;
use super::restore;
use crate::api::{self, Ask, Followed, Health, Order, OrderError, Snapshot, SpecsHealth};
use crate::document::{Actor, AuditEntry};
use crate::engine::{Board, Command, Engine, Gap};
use crate::gate::Hold;
use crate::intake::tail;
use crate::spec::ServiceId;
use crate::store::{Commit, Store, StoreError, Writer};
use crate::time::{Clock, Stopwatch, Timestamp};

/// What readers see.
pub(super) type Published = Arc<Snapshot>;

/// At least this often the engine ticks.
const TICK: Duration = Duration::from_millis(250);
/// Not more often than this, however many deliveries come, in milliseconds.
const TICK_AT_MOST_MS: u64 = 100;
/// At least this often what was counted is committed, in milliseconds.
const COMMIT_MS: u64 = 1_000;
/// With so many counts waiting, a commit is made at once: history is being read.
const MOST_UNCOMMITTED: usize = 500_000;

/// The engine, the store, and what readers see of them.
pub(super) struct Owner {
    engine: Engine,
    writer: Writer,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// What time it is, for the followers.
    now: Arc<RwLock<Timestamp>>,
    /// Whether the server is stopping.
    stop: Arc<AtomicBool>,
    snapshots: watch::Sender<Published>,
    revision: u64,
    loaded_at: Timestamp,
    /// What goes into the next commit beside the engine's checkpoint.
    pending: Commit,
    /// By source: whether everything that was there had been read at the last delivery.
    caught_up: Vec<Option<bool>>,
    store_health: Result<(), String>,
    watch: Stopwatch,
    committed_ms: u64,
    ticked_ms: u64,
}

impl Owner {
    /// An owner, and where its snapshots appear.
    pub(super) fn new(
        mut engine: Engine,
        writer: Writer,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        now: Arc<RwLock<Timestamp>>,
        stop: Arc<AtomicBool>,
    ) -> (Self, watch::Receiver<Published>) {
        let loaded_at = clock.now();
        let board = engine.tick(loaded_at);
        let specs = SpecsHealth { loaded_at, rejected: None };
        let health = Health { store: Ok(()), sources_started: false, specs, data_as_of: None };
        let catalog = Arc::clone(engine.catalog());
        let caught_up = vec![None; catalog.sources.len()];
        let first = Snapshot { revision: 0, catalog, board: Arc::new(board), health };
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
            loaded_at,
            pending: Commit::default(),
            caught_up,
            store_health: Ok(()),
            watch: Stopwatch::start(),
            committed_ms: 0,
            ticked_ms: 0,
        };
        (owner, receiver)
    }

    /// Works until there are no deliveries any more, then commits for the last time.
    pub(super) fn run(&mut self, deliveries: &Receiver<Delivery>, questions: &Receiver<Ask>) {
        let mut open_questions = questions.clone();
        let nothing = never();
        loop {
            let next = if self.is_held_up() { &nothing } else { deliveries };
            select! {
                recv(next) -> delivery => match delivery {
                    Ok(delivery) => self.take(delivery),
                    Err(_) => break,
                },
                recv(open_questions) -> question => match question {
                    Ok(question) => self.answer(question),
                    Err(_) => open_questions = never(),
                },
                default(TICK) => {}
            }
            self.turn();
        }
        self.finish();
    }

    /// Whether no deliveries are taken: while nothing can be written, files wait, and memory does not grow.
    pub(super) fn is_held_up(&self) -> bool {
        self.writer.is_behind() && !self.stop.load(Ordering::Relaxed)
    }

    /// Ticks, unless that was just done.
    pub(super) fn turn(&mut self) {
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

    /// Takes over what a follower has seen.
    pub(super) fn take(&mut self, delivery: Delivery) {
        let now = self.clock.now();
        self.engine.advance(now);
        self.caught_up[delivery.source.0] = Some(delivery.progress.bytes_behind == 0);
        let source = &self.engine.catalog()[delivery.source].name;
        let gaps: Vec<Gap> = delivery.gaps.iter().map(|gap| self.gap(source, gap, now)).collect();
        self.pending.gaps.extend(gaps);
        self.pending.positions.extend(delivery.positions);
        self.engine.observe(delivery.batch);
        if self.engine.uncommitted() > MOST_UNCOMMITTED {
            // Told by the health of the store; counting goes on.
            let _ = self.commit();
        }
    }

    fn gap(&self, source: &str, gap: &tail::Gap, now: Timestamp) -> Gap {
        // Known only by the follower's own clock, which started about when this one did.
        let since = gap.since_ms.map(|since_ms| {
            let ago_ms = self.watch.elapsed_ms().saturating_sub(since_ms);
            now.plus_millis(-i64::try_from(ago_ms).unwrap_or(i64::MAX))
        });
        let oldest = self.engine.catalog().longest_window().first_minute(now.minute()).start();
        Gap {
            source: source.to_owned(),
            from: since.unwrap_or(oldest),
            to: now,
            bytes: gap.bytes,
            reason: gap.reason.name().to_owned(),
        }
    }

    /// Lets the engine see the time; commits what must be durable before it is seen, and publishes.
    fn tick(&mut self) {
        let elapsed_ms = self.watch.elapsed_ms();
        let since_ms = elapsed_ms.saturating_sub(self.ticked_ms);
        self.ticked_ms = elapsed_ms;
        let now = self.clock.now();
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = now;
        // A board that lacks counts is never shown, and nothing is decided by it: until it is whole, the last one stays.
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
    fn commit(&mut self) -> Result<u64, StoreError> {
        self.committed_ms = self.watch.elapsed_ms();
        self.pending.checkpoint = self.engine.checkpoint();
        let commit = std::mem::take(&mut self.pending);
        if commit == Commit::default() && !self.writer.is_behind() {
            return Ok(self.writer.revision());
        }
        let made = self.writer.commit(commit);
        self.note_store_health(&made);
        made
    }

    fn note_store_health(&mut self, made: &Result<u64, StoreError>) {
        let health = made.as_ref().map(|_| ()).map_err(ToString::to_string);
        if health != self.store_health {
            match &health {
                Ok(()) => tracing::info!("the store can be written again; nothing was lost"),
                Err(why) => tracing::error!("{why}"),
            }
            self.store_health = health;
        }
    }

    fn publish(&mut self, board: Arc<Board>) -> u64 {
        self.revision += 1;
        let all_read = self.caught_up.iter().all(|caught_up| *caught_up == Some(true));
        let health = Health {
            store: self.store_health.clone(),
            sources_started: self.caught_up.iter().all(Option::is_some),
            specs: SpecsHealth { loaded_at: self.loaded_at, rejected: None },
            data_as_of: all_read.then_some(board.at),
        };
        let catalog = Arc::clone(self.engine.catalog());
        let snapshot = Snapshot { revision: self.revision, catalog, board, health };
        self.snapshots.send_replace(Arc::new(snapshot));
        self.revision
    }

    /// Whether the windows hold all that is to be shown `now`.
    pub(super) fn is_whole(&self, now: Timestamp) -> bool {
        !self.engine.must_be_restored_for(now)
    }

    /// Fills the windows from the store again if the clock was put right by so much that they lack counts `now`. `false`
    /// when that is not possible at present.
    fn fill(&mut self, now: Timestamp) -> bool {
        if self.is_whole(now) {
            return true;
        }
        tracing::warn!("the clock was stepped to {now}; the windows are filled from the store again");
        if self.commit().is_err() || self.writer.is_behind() {
            return false;
        }
        match restore(self.engine.catalog(), &*self.store, now) {
            Ok(engine) => self.engine = engine,
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
            Ask::BoardAt { at, reply } => drop(reply.send(api::board_at(&self.engine, at))),
            Ask::History { query, reply } => drop(reply.send(api::history(&self.engine, &query))),
            Ask::Audit { query, reply } => {
                let entries = self.store.audit(query.after, query.limit, query.service.as_deref());
                let shown = entries.map(|entries| entries.iter().map(AuditEntry::from).collect());
                drop(reply.send(shown.map_err(|error| error.to_string())));
            }
        }
    }

    /// Follows an order: it is in force when it is durable, and not before.
    fn follow(&mut self, order: Order) -> Result<Followed, OrderError> {
        // What waits goes first, so that a store that cannot be written refuses the order before anything changed.
        self.commit().map_err(not_written)?;
        let services = &self.engine.catalog().services;
        let service = services.iter().position(|service| service.name == order.service);
        let service = service.map(ServiceId).ok_or(OrderError::UnknownService)?;
        let is_freeze = matches!(order.hold, Hold::Freeze { .. });
        let now = self.clock.now();
        if !self.fill(now) {
            return Err(OrderError::NotWritten("the windows cannot be filled from the store".to_owned()));
        }
        let command = Command { service, hold: order.hold, by: order.actor.name() };
        let board = self.engine.command(command, now)?;
        self.pending.checkpoint = self.engine.checkpoint();
        // The same instant may have changed other gates, too.
        let name = &self.engine.catalog()[service].name;
        let entry = self.pending.checkpoint.audit.iter().rfind(|entry| entry.service == *name);
        let audit = entry.map_or(0, |entry| entry.number);
        let commit = std::mem::take(&mut self.pending);
        let made = self.writer.commit(commit);
        self.note_store_health(&made);
        match made {
            Ok(_) => Ok(Followed { revision: self.publish(Arc::new(board)), audit }),
            Err(error) => {
                if !is_freeze {
                    self.take_back(service, now);
                }
                Err(not_written(error))
            }
        }
    }

    /// An order to open that nobody could prove later does not open: the gate is shut until somebody can order again.
    fn take_back(&mut self, service: ServiceId, now: Timestamp) {
        let reason = "an order to unfreeze could not be written to the store".to_owned();
        let hold = Hold::Freeze { reason, until: None, exempt: Vec::new() };
        let command = Command { service, hold, by: Actor::ENGINE.name() };
        if let Ok(board) = self.engine.command(command, now) {
            self.publish(Arc::new(board));
        }
    }
}

fn not_written(error: StoreError) -> OrderError {
    OrderError::NotWritten(error.to_string())
}
