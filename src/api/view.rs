//! Views: which board a request is answered from.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::problem::{Kind, Problem};
use super::{Api, Ask, Prepared, Snapshot, StoreTrouble, asked::Query};
use crate::alert;
use crate::engine::{Board, NotKept};
use crate::gate::{Decision, Level, Reason, Witness};
use crate::spec::{Catalog, JourneyId, ServiceId, SloId, SourceId, StoryId};
use crate::time::Timestamp;

/// One board with its names.
#[derive(Debug)]
pub(super) struct View {
    pub(super) catalog: Arc<Catalog>,
    pub(super) board: Arc<Board>,
    /// The snapshot that they are of, unless the board was made for this request.
    snapshot: Option<Arc<Snapshot>>,
}

impl Api {
    /// How everything stands now, as far as the owner has told.
    pub(super) fn now(&self) -> View {
        // The owner cannot publish while this is borrowed.
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let (catalog, now) = (Arc::clone(&snapshot.catalog), self.clock.0.now());
        if snapshot.health.store.is_ok() && now < snapshot.prepared.calm_before(&catalog, &snapshot.board) {
            return View { catalog, board: Arc::clone(&snapshot.board), snapshot: Some(snapshot) };
        }
        let board = lapsed(&catalog, &snapshot.board, now).map_or_else(|| Arc::clone(&snapshot.board), Arc::new);
        match doubts(&snapshot, &board, now) {
            doubts if doubts.is_empty() => View { catalog, board, snapshot: None },
            doubts => View { board: Arc::new(doubted(&board, doubts)), catalog, snapshot: None },
        }
    }

    /// How everything stood at the query's `at`, or stands now when there is none.
    pub(super) async fn at(&self, query: &Query) -> Result<View, Problem> {
        let Some(at) = query.time("at")? else { return Ok(self.now()) };
        if self.is_present(at) {
            return Ok(self.now());
        }
        let past = self.ask(|reply| Ask::BoardAt { at, reply }).await?;
        past.map(|past| View { catalog: past.catalog, board: past.board, snapshot: None }).map_err(Problem::from)
    }

    /// Whether an instant is the present: the newest board is at most a tick old, and so is whatever lies between it
    /// and now.
    pub(super) fn is_present(&self, at: Timestamp) -> bool {
        (self.snapshots.borrow().board.at..=self.clock.0.now()).contains(&at)
    }

    /// Puts a question to the owner and waits for its answer, but not for long.
    pub(super) async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Problem> {
        let busy = |detail: &str| Problem::new(Kind::Busy, detail).retry_after(1);
        let (reply, answer) = oneshot::channel();
        let asked = self.owner.try_send(question(reply));
        asked.map_err(|_| busy("the engine has more questions than it can answer now, or is stopping"))?;
        match timeout(self.deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(busy("the engine is stopping")),
            Err(_) => {
                let detail = format!("no answer within {} ms", self.deadline.as_millis());
                Err(Problem::new(Kind::Late, detail).retry_after(1))
            }
        }
    }
}

impl From<NotKept> for Problem {
    fn from(reason: NotKept) -> Self {
        match reason {
            NotKept::BeingRead => Self::new(Kind::Busy, reason.to_string()).retry_after(1),
            NotKept::Past(_) | NotKept::Future(_) => Self::new(Kind::NotKept, reason.to_string()),
        }
    }
}

/// The same board with every unfreeze left out that has ended since it was made; `None` when none has. An owner that
/// waits for a slow disk makes no new board, and an order must not outlive its time for that.
fn lapsed(catalog: &Catalog, board: &Board, now: Timestamp) -> Option<Board> {
    let witness = |id: &SloId| Witness {
        slo: *id,
        source: catalog[*id].source,
        standing: board[*id].standing,
        evidence: board[*id].evidence,
        firing: alert::most_urgent(&board[*id].alerts),
    };
    let due = (0..catalog.services.len()).filter_map(|number| {
        let service = &catalog[ServiceId(number)];
        let decision = &board.gates[number];
        // Most gates have no order that ends, and cost a request nothing.
        decision.until().filter(|until| *until <= now)?;
        let witnesses: Vec<Witness> = service.slos.iter().map(witness).collect();
        Some((number, decision.lapsed(&service.policy, &witnesses, now)?))
    });
    let due: Vec<(usize, Decision)> = due.collect();
    if due.is_empty() {
        return None;
    }
    let mut board = board.clone();
    due.into_iter().for_each(|(number, decision)| board.gates[number] = decision);
    Some(board)
}

/// The gates about which a board says too much, and why. A frozen gate stays frozen.
fn doubts(Snapshot { catalog, health, .. }: &Snapshot, board: &Board, now: Timestamp) -> Vec<(ServiceId, Reason)> {
    let age_ms = |since: Timestamp| now.millis().saturating_sub(since.millis());
    let doubt = |stale_after_ms: i64| match &health.store {
        Err(StoreTrouble { why, is_lost: true, .. }) => Some(Reason::StoreCorrupt { why: why.clone() }),
        _ if age_ms(board.at) > stale_after_ms => Some(Reason::BoardStale { decided_at: board.at }),
        Err(StoreTrouble { since, why, .. }) if age_ms(*since) > stale_after_ms => {
            Some(Reason::StoreFailed { since: *since, why: why.clone() })
        }
        Err(_) | Ok(()) => None,
    };
    let ids = (0..catalog.services.len()).map(ServiceId).filter(|id| board[*id].state.level != Level::Frozen);
    ids.filter_map(|id| Some((id, doubt(catalog[id].policy.stale_after_ms)?))).collect()
}

/// The same board, with these gates unknown.
fn doubted(board: &Board, doubts: Vec<(ServiceId, Reason)>) -> Board {
    let mut doubted = board.clone();
    for (id, doubt) in doubts {
        let decision = &mut doubted.gates[id.0];
        if decision.state.level != Level::Unknown {
            (decision.state.level, decision.state.since) = (Level::Unknown, board.at);
        }
        decision.reasons.insert(0, doubt);
    }
    doubted
}

impl View {
    /// Where bodies that follow from the board alone are kept.
    pub(super) fn prepared(&self) -> Option<&Prepared> {
        self.snapshot.as_deref().map(|snapshot| &snapshot.prepared)
    }
}

/// Names of a path to ids; what does not exist is answered with the nearest name.
impl View {
    pub(super) fn story(&self, name: &str) -> Result<StoryId, Problem> {
        let names = || self.catalog.stories.iter().map(|story| story.name.as_str());
        self.catalog.story_named(name).ok_or_else(|| Problem::unknown("story", name, names()))
    }

    pub(super) fn slo(&self, story: &str, name: &str) -> Result<SloId, Problem> {
        let names = self.catalog[self.story(story)?].slos.iter().map(|slo| self.catalog[*slo].name.as_str());
        let found = self.catalog.slo_named(story, name);
        found.ok_or_else(|| Problem::unknown(&format!("SLO of story `{story}` named"), name, names))
    }

    pub(super) fn journey(&self, name: &str) -> Result<JourneyId, Problem> {
        let names = || self.catalog.journeys.iter().map(|journey| journey.name.as_str());
        self.catalog.journey_named(name).ok_or_else(|| Problem::unknown("journey", name, names()))
    }

    pub(super) fn service(&self, name: &str) -> Result<ServiceId, Problem> {
        let names = || self.catalog.services.iter().map(|service| service.name.as_str());
        self.catalog.service_named(name).ok_or_else(|| Problem::unknown("service", name, names()))
    }

    pub(super) fn source(&self, name: &str) -> Result<SourceId, Problem> {
        let names = || self.catalog.sources.iter().map(|source| source.name.as_str());
        self.catalog.source_named(name).ok_or_else(|| Problem::unknown("source", name, names()))
    }
}
