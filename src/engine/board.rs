//! The board: everything the engine knows at one instant, computed once and never changed.
//!
//! Readers of all kinds (answers, metrics, the page) look at a board and never at the engine. Its vectors are in the
//! order of the catalog it was made from, so that an id of the catalog is a position here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alert::AlertStanding;
use crate::budget::{Standing, burn_rate};
use crate::counts::{Rejection, Sample};
use crate::engine::durations::Latency;
use crate::engine::gaps::Missing;
use crate::engine::targets::Targets;
use crate::gate::{Decision, Doubt, Evidence};
use crate::journey::Weighed;
use crate::spec::{JourneyId, Objective, ServiceId, SloId, SourceId};
use crate::tally::Tally;
use crate::time::{Horizon, Timestamp};

/// Everything as of [`Board::at`].
#[derive(Clone, Debug)]
pub struct Board {
    /// The instant all of it is about.
    pub at: Timestamp,
    /// By [`SloId`].
    pub slos: Vec<SloStanding>,
    /// By [`JourneyId`].
    pub journeys: Vec<JourneyStanding>,
    /// By [`ServiceId`]; the verdict on a kind of change follows from the decision.
    pub gates: Vec<Decision>,
    /// By [`SourceId`].
    pub sources: Vec<SourceStanding>,
}

/// How an SLO stands.
#[derive(Clone, Debug)]
pub struct SloStanding {
    /// Over its own window.
    pub standing: Standing,
    /// Over every burn window, shortest first.
    pub burns: Vec<Burn>,
    /// How it stands towards each of its alert rules, in their order.
    pub alerts: Vec<AlertStanding>,
    /// What that is worth.
    pub evidence: Evidence,
    /// Its newest event that is still counted; at worst the start of that event's minute. `None` when there is none.
    pub last_event: Option<Timestamp>,
    /// The requests counted for it since the engine began, whatever its kind.
    pub lifetime: Tally,
    /// How long its requests took, as it was summed up some ticks ago at most; `None` of the past, and where requests
    /// carry no durations. It informs, and decides nothing.
    pub latency: Option<Latency>,
    /// What of its source can never be counted in its window.
    pub gaps: Missing,
    /// When its rules changed last, if its window still holds that minute: what was counted before was counted by
    /// others.
    pub rules_changed: Option<Timestamp>,
}

/// What happened in one burn window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burn {
    /// How long it is.
    pub window: Horizon,
    /// What happened in it.
    pub tally: Tally,
}

impl Burn {
    /// How many times faster than allowed the budget is being spent; `None` when nothing happened.
    pub fn rate(self, objective: Objective) -> Option<f64> {
        burn_rate(self.tally, objective)
    }
}

/// How a journey stands.
#[derive(Clone, Debug)]
pub struct JourneyStanding {
    /// Over its own window.
    pub weighed: Weighed,
    /// Over every burn window, shortest first.
    pub burns: Vec<(Horizon, Weighed)>,
    /// What of its members' sources can never be counted in its window.
    pub gaps: Missing,
}

/// Whether a source is being heard, and can be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is and it can.
    Ok,
    /// What had been written before the program started is still being read.
    CatchingUp,
    /// It is heard, but errors may hide in what it delivers.
    Degraded,
    /// It has not been heard for too long.
    Stale,
    /// What was counted of it does not add up.
    Corrupt,
    /// It never was.
    NeverHeard,
}

impl Health {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::CatchingUp => "catching_up",
            Self::Degraded => "degraded",
            Self::Stale => "stale",
            Self::Corrupt => "corrupt",
            Self::NeverHeard => "unknown",
        }
    }
}

/// What a source has delivered since the engine began.
#[derive(Clone, Debug)]
pub struct SourceStanding {
    /// Records accepted that matched at least one SLO (good) or none (bad).
    pub accepted: Tally,
    /// Accepted records without a duration that an SLI wanted.
    pub missing_duration: u64,
    /// Records refused, by reason.
    pub rejected: BTreeMap<Rejection, u64>,
    /// Records, whatever became of them, that were longer than `max_line` and read by their beginnings, since the
    /// program started.
    pub truncated: u64,
    /// The newest refused records, newest last.
    pub samples: Vec<Sample>,
    /// Its newest accepted record.
    pub last_event: Option<Timestamp>,
    /// Whether it is being heard, and can be relied upon.
    pub health: Health,
    /// Why it cannot be relied upon, the worst first.
    pub doubts: Vec<Doubt>,
    /// What of it can never be counted in the longest window.
    pub gaps: Missing,
    /// How many gaps there ever were, as far as is remembered, by reason (see [`Gap::reasons`](super::Gap::reasons)).
    pub gap_counts: BTreeMap<&'static str, u64>,
    /// How long those are together of which that is known, in bytes.
    pub gap_bytes: u64,
    /// How often whoever reads it panicked, since the program started.
    pub panics: u64,
    /// How much waits to be read, in bytes; `None` when nobody has said, and of the past.
    pub bytes_behind: Option<u64>,
    /// What is known of its targets; `None` when it is not scraped, and of the past.
    pub targets: Option<Arc<Targets>>,
}

impl SourceStanding {
    /// Every record seen: accepted or refused.
    pub fn records(&self) -> u64 {
        self.rejected.values().fold(self.accepted.total(), |records, count| records.saturating_add(*count))
    }
}

macro_rules! by_id {
    ($id:ident, $field:ident, $of:ty) => {
        impl std::ops::Index<$id> for Board {
            type Output = $of;

            fn index(&self, id: $id) -> &$of {
                &self.$field[id.0]
            }
        }
    };
}

by_id!(SloId, slos, SloStanding);
by_id!(JourneyId, journeys, JourneyStanding);
by_id!(ServiceId, gates, Decision);
by_id!(SourceId, sources, SourceStanding);
