//! Documents: what the program answers, field by field.
//!
//! `report --json` and every read over HTTP give the same documents, and this room is where their names and shapes are
//! written down. A document is a view of a [`Board`] with the names of its [`Catalog`]; building one computes nothing
//! that the rooms above have not decided.
//!
//! - Objectives, compliances and budgets are ratios; times are RFC 3339 in UTC; nothing is `null` where a number could
//!   be meant: no data is `null`, never 0 or 1.
//! - Maps keep the order that means something: burn windows from short to long, reasons of refusal as declared.

mod alert;
mod audit;
mod gap;
mod gate;
mod history;
mod latency;
mod metrics;
mod rules;
mod slo;
mod source;
mod specs;
mod target;

use std::fmt::Display;

use serde::{Serialize, Serializer};

use crate::engine::Board;
use crate::spec::{Catalog, JourneyId, ServiceId, SloId, SourceId, StoryId};
use crate::time::Timestamp;

pub use alert::AlertStatus;
pub use audit::{Actor, AuditAction, AuditEntry, Principal};
pub use gap::GapStatus;
pub use gate::{GateReason, GateStatus};
pub use history::{HistoryPoint, SloHistory};
pub use latency::{LatencyBounds, LatencyStatus, SloLatency};
pub use metrics::metrics;
pub use rules::prometheus_rules;
pub use slo::{Budget, JourneyBudget, JourneyStatus, MemberStatus, SloError, SloStatus, StoryStatus};
pub use source::{RejectedSample, SourceReason, SourceStatus};
pub use specs::SpecsHealth;
pub use target::{NoteStatus, TargetStatus, TargetsStatus, UnseenStatus};

/// The kind of change that is meant when none is named.
pub const DEFAULT_CHANGE: &str = "feature";

/// Everything: `/api/v1/status` and `report --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Status<'a> {
    /// The instant all of it is about.
    pub at: Timestamp,
    /// By name, each with its SLOs.
    pub stories: Vec<StoryStatus<'a>>,
    /// By name.
    pub journeys: Vec<JourneyStatus<'a>>,
    /// By service.
    pub gates: Vec<GateStatus<'a>>,
    /// Those that are pending, firing or resolved, by story and SLO.
    pub alerts: Vec<AlertStatus<'a>>,
    /// As in `slogate.toml`.
    pub sources: Vec<SourceStatus<'a>>,
}

impl<'a> Status<'a> {
    /// The whole board, its gates asked about a change of kind `change`.
    pub fn new(catalog: &'a Catalog, board: &'a Board, change: &'a str) -> Self {
        let stories = (0..catalog.stories.len()).map(|id| StoryStatus::new(catalog, board, StoryId(id)));
        let journeys = (0..catalog.journeys.len()).map(|id| JourneyStatus::new(catalog, board, JourneyId(id)));
        let gates = (0..catalog.services.len()).map(|id| GateStatus::new(catalog, board, ServiceId(id), change));
        let alerts = (0..catalog.slos.len()).flat_map(|id| AlertStatus::active(catalog, board, SloId(id)));
        let sources = (0..catalog.sources.len()).map(|id| SourceStatus::new(catalog, board, SourceId(id)));
        Self {
            at: board.at,
            stories: stories.collect(),
            journeys: journeys.collect(),
            gates: gates.collect(),
            alerts: alerts.collect(),
            sources: sources.collect(),
        }
    }
}

/// A JSON object whose keys come in the order of the vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered<K, V>(pub Vec<(K, V)>);

impl<K: Display, V: Serialize> Serialize for Ordered<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key.to_string(), value)))
    }
}

#[cfg(test)]
mod tests;
