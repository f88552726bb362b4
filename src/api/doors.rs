//! Doors: what the api and the engine's owner say to each other.
//!
//! The owner publishes [`Snapshot`]s and answers [`Ask`]s; [`board_at`] and [`history`] are the parts of those answers
//! that need nothing but an engine. Messages name services and SLOs instead of numbering them, because the specs may be
//! reloaded while a message is on its way.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Prepared;
use crate::document::{Actor, AuditEntry, HistoryPoint, SpecsHealth};
use crate::engine::{Board, CommandError, Engine, NotKept, Recall};
use crate::gate::Hold;
use crate::latency::Spread;
use crate::spec::{Catalog, SloId};
use crate::time::{Horizon, Timestamp};

/// How everything stands, as readers see it until the next one is published.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Grows with every snapshot that is published.
    pub revision: u64,
    /// What was promised.
    pub catalog: Arc<Catalog>,
    /// How that stands; of this very catalog.
    pub board: Arc<Board>,
    /// How the program itself is doing.
    pub health: Health,
    /// What readers have had made of it.
    pub prepared: Prepared,
}

/// How the program itself is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether what was counted could be written last.
    pub store: Result<(), StoreTrouble>,
    /// Whether every source has begun to be read.
    pub sources_started: bool,
    /// The specs in force.
    pub specs: SpecsHealth,
    /// Everything written to the sources before this instant has been counted, if that is known.
    pub data_as_of: Option<Timestamp>,
}

/// Why what is counted cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreTrouble {
    /// Since when.
    pub since: Timestamp,
    /// What is wrong, and what is to be done.
    pub why: String,
    /// Whether what was counted before is lost to this process, so that it knows nothing.
    pub is_lost: bool,
}

/// What only the engine's owner can do. A reply that is dropped tells that the owner is going away.
#[derive(Debug)]
pub enum Ask {
    /// Give a gate an order. To be answered when it is durable and its snapshot published.
    Order {
        /// What is ordered.
        order: Order,
        /// Where to.
        reply: oneshot::Sender<Result<Followed, OrderError>>,
    },
    /// Show everything as of a past instant; see [`board_at`].
    BoardAt {
        /// Which.
        at: Timestamp,
        /// Where to.
        reply: oneshot::Sender<Result<Past, NotKept>>,
    },
    /// Show how one SLO came to stand where it stands; see [`history`].
    History {
        /// Of what, and over what.
        query: HistoryQuery,
        /// Where to.
        reply: oneshot::Sender<Result<PastHistory, NotKept>>,
    },
    /// Show how long the requests of one SLO took; see [`latency`].
    Latency {
        /// Of which, and over what.
        query: LatencyQuery,
        /// Where to.
        reply: oneshot::Sender<Result<PastLatency, NotKept>>,
    },
    /// Read the audit.
    Audit {
        /// Which part of it.
        query: AuditQuery,
        /// Entries in the order of their numbers, or why they cannot be read.
        reply: oneshot::Sender<Result<Vec<AuditEntry>, String>>,
    },
}

/// What a person orders a gate to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whose gate.
    pub service: String,
    /// What it is to do.
    pub hold: Hold,
    /// Who says so.
    pub actor: Actor,
}

/// An order is in force and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The first [`Snapshot::revision`] that shows it.
    pub revision: u64,
    /// The number of its audit entry; `None` when it gets one only once the store can be written.
    pub audit: Option<u64>,
}

/// Why an order is not in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The specs in force name no such service.
    #[error("no story names this service any more")]
    UnknownService,
    /// The engine refuses it.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// It could not be made durable.
    #[error("the order could not be written and is not in force: {0}")]
    NotWritten(String),
    /// A freeze is in force, but could not be made durable.
    #[error("the gate is frozen until the server stops, but that could not be written: {0}")]
    NotDurable(String),
}

/// Everything as of a past instant.
#[derive(Clone, Debug)]
pub struct Past {
    /// The specs of today.
    pub catalog: Arc<Catalog>,
    /// How they stood.
    pub board: Arc<Board>,
}

/// Which points of which SLO. At most `most_points` are given, the latest ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The name of its story.
    pub story: String,
    /// Its name in the story.
    pub slo: String,
    /// The first point; one window before `to`, or as early as is kept, when `None`.
    pub from: Option<Timestamp>,
    /// No point is later.
    pub to: Timestamp,
    /// From one point to the next.
    pub step: Horizon,
    /// How many points there may be, at least one.
    pub most_points: usize,
}

/// The points of one SLO, which is `None` when the specs in force do not have it any more.
#[derive(Clone, Debug)]
pub struct PastHistory {
    /// The specs of today.
    pub catalog: Arc<Catalog>,
    /// Which SLO.
    pub slo: Option<SloId>,
    /// Oldest first.
    pub points: Vec<HistoryPoint>,
}

/// How long which requests took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyQuery {
    /// The name of the story.
    pub story: String,
    /// The name of the SLO in the story.
    pub slo: String,
    /// Over how long.
    pub window: Horizon,
    /// When the window ends; now when `None`.
    pub at: Option<Timestamp>,
}

/// How long the requests of one SLO took, which is `None` when the specs in force do not have it any more.
#[derive(Clone, Debug)]
pub struct PastLatency {
    /// The specs of today.
    pub catalog: Arc<Catalog>,
    /// Which SLO.
    pub slo: Option<(SloId, Spread)>,
    /// When the window ends.
    pub at: Timestamp,
}

/// Which part of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditQuery {
    /// About the gate of this service only.
    pub service: Option<String>,
    /// Entries with greater numbers only.
    pub after: u64,
    /// At most this many, the first ones.
    pub limit: usize,
}

/// Everything as of the instant of `recall`, gates as the audit tells.
///
/// # Errors
/// When counts for it are not kept any more, or it has not come yet.
pub fn board_at(engine: &Engine, recall: &Recall) -> Result<Past, NotKept> {
    let board = Arc::new(engine.board_recalled(recall)?);
    Ok(Past { catalog: Arc::clone(engine.catalog()), board })
}

/// How long the requests that a query is about took.
///
/// # Errors
/// When requests of the window are not kept any more, or it has not come yet.
pub fn latency(engine: &Engine, query: &LatencyQuery) -> Result<PastLatency, NotKept> {
    let catalog = Arc::clone(engine.catalog());
    let at = query.at.unwrap_or(engine.now());
    let id = catalog.slo_named(&query.story, &query.slo);
    let slo = id.map(|id| Ok((id, engine.latency_at(id, query.window, at)?))).transpose()?;
    Ok(PastLatency { catalog, slo, at })
}

/// The points that a query is about.
///
/// # Errors
/// When the query names its first point, and counts for that are not kept any more, or it has not come yet.
pub fn history(engine: &Engine, query: &HistoryQuery) -> Result<PastHistory, NotKept> {
    let catalog = Arc::clone(engine.catalog());
    let Some(id) = catalog.slo_named(&query.story, &query.slo) else {
        return Ok(PastHistory { catalog, slo: None, points: Vec::new() });
    };
    let step_ms = query.step.seconds() * 1_000;
    let most_ms = step_ms.saturating_mul(query.most_points.max(1) as i64 - 1);
    let earliest = query.to.plus_millis(most_ms.saturating_neg());
    let first = match query.from {
        Some(from) => from.max(earliest),
        None => default_start(engine, id, query, step_ms).max(earliest),
    };
    let mut points = Vec::new();
    let mut t = first;
    while t <= query.to && points.len() < query.most_points {
        let standing = engine.standing_at(id, t)?;
        points.push(HistoryPoint::new(t, engine.tally_at(id, query.step, t), standing));
        t = t.plus_millis(step_ms);
    }
    Ok(PastHistory { catalog, slo: Some(id), points })
}

/// One window before the last point, or as many steps before it as are kept.
fn default_start(engine: &Engine, id: SloId, query: &HistoryQuery, step_ms: i64) -> Timestamp {
    let window_ms = engine.catalog()[id].window.seconds() * 1_000;
    let steps_before = |reach_ms: i64| query.to.plus_millis(-(reach_ms.max(0) / step_ms * step_ms));
    let start = steps_before(window_ms - 1);
    match engine.standing_at(id, start) {
        Err(NotKept::Past(oldest)) => steps_before(query.to.millis().saturating_sub(oldest.millis())),
        Ok(_) | Err(NotKept::Future(_) | NotKept::BeingRead) => start,
    }
}
