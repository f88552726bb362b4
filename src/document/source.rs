//! Sources: what was delivered, and what was refused and why.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{GapStatus, Ordered, TargetsStatus};
use crate::counts::{Rejection, Sample};
use crate::engine::{Board, SourceStanding};
use crate::formats::Unparsed;
use crate::gate::Doubt;
use crate::spec::{Catalog, SourceId};
use crate::time::Timestamp;

/// One source. records = matched + unmatched + the sum of rejected.
#[derive(Clone, Debug, Serialize)]
pub struct SourceStatus<'a> {
    /// Its name.
    pub source: &'a str,
    /// What it reads.
    pub kind: &'static str,
    /// Every complete record seen.
    pub records: u64,
    /// Records that at least one SLO is about.
    pub matched: u64,
    /// Records that no SLO is about.
    pub unmatched: u64,
    /// Records refused, by reason; only reasons that occurred.
    pub rejected: Ordered<&'static str, u64>,
    /// The part of a record that could not be read, for those refused as `unparsed`; only parts that occurred.
    pub rejected_detail: Ordered<&'static str, u64>,
    /// Records that were longer than `max_line` and read by their beginnings, since the program started.
    pub truncated: u64,
    /// Fields that an SLI wanted and a record did not carry.
    pub missing: Ordered<&'static str, u64>,
    /// Its newest accepted record.
    pub last_event: Option<Timestamp>,
    /// How long ago that was; 0 for one ahead of now.
    pub lag_seconds: Option<f64>,
    /// How much waits to be read; `null` when that is not known.
    pub bytes_behind: Option<u64>,
    /// `ok`, `catching_up`, `degraded`, `stale`, `corrupt`, or `unknown` when it was never heard.
    pub health: &'static str,
    /// Why it cannot be relied upon, the worst first.
    pub reasons: Vec<SourceReason>,
    /// What of it can never be counted in the longest window: the newest gaps, newest last.
    pub gaps: Vec<GapStatus<'a>>,
    /// How many gaps there are in the longest window.
    pub gaps_total: usize,
    /// The newest refused records, newest last.
    pub samples: Vec<RejectedSample<'a>>,
    /// Its targets, when it is scraped and not asked for the past.
    #[serde(flatten)]
    pub targets: Option<TargetsStatus<'a>>,
}

/// Why a source cannot be relied upon.
#[derive(Clone, Debug, Serialize)]
pub struct SourceReason {
    /// For programs.
    pub kind: &'static str,
    /// For people.
    pub text: String,
}

/// A refused record.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RejectedSample<'a> {
    /// Why, as in `rejected`.
    pub reason: &'static str,
    /// Which part of it, as in `rejected_detail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
    /// Its beginning.
    pub text: &'a str,
}

impl<'a> SourceStatus<'a> {
    /// What one source has delivered.
    pub fn new(catalog: &'a Catalog, board: &'a Board, id: SourceId) -> Self {
        let (source, found) = (&catalog[id], &board[id]);
        let (gaps, gaps_total) = GapStatus::list(&found.gaps);
        let reason = |doubt: &Doubt| SourceReason { kind: doubt.name(), text: doubt.text(&source.name) };
        let lag_ms = found.last_event.map(|event| board.at.millis().saturating_sub(event.millis()).max(0));
        Self {
            source: &source.name,
            kind: source.kind.name(),
            records: found.records(),
            matched: found.accepted.good,
            unmatched: found.accepted.bad,
            rejected: counted(found, |rejection| Some(rejection.reason())),
            rejected_detail: counted(found, detail),
            truncated: found.truncated,
            missing: Ordered(vec![("duration", found.missing_duration)]),
            last_event: found.last_event,
            lag_seconds: lag_ms.map(|millis| millis as f64 / 1_000.0),
            bytes_behind: found.bytes_behind,
            health: found.health.name(),
            reasons: found.doubts.iter().map(reason).collect(),
            gaps,
            gaps_total,
            samples: found.samples.iter().map(RejectedSample::new).collect(),
            targets: found.targets.as_ref().map(|targets| TargetsStatus::new(catalog, targets)),
        }
    }
}

impl<'a> RejectedSample<'a> {
    fn new(sample: &'a Sample) -> Self {
        Self { reason: sample.rejection.reason(), detail: detail(sample.rejection), text: &sample.text }
    }
}

/// What was refused, added up by name, in the order in which the reasons are declared.
fn counted(found: &SourceStanding, name: fn(Rejection) -> Option<&'static str>) -> Ordered<&'static str, u64> {
    let mut order: Vec<&'static str> = Vec::new();
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (rejection, count) in found.rejected.iter().filter(|(_, count)| **count > 0) {
        let Some(name) = name(*rejection) else { continue };
        if !order.contains(&name) {
            order.push(name);
        }
        let sum = counts.entry(name).or_default();
        *sum = sum.saturating_add(*count);
    }
    Ordered(order.into_iter().map(|name| (name, counts[name])).collect())
}

fn detail(rejection: Rejection) -> Option<&'static str> {
    let part = match rejection {
        Rejection::Unparsed(part) => part,
        Rejection::Value(bad) => return Some(bad.reason()),
        _ => return None,
    };
    Some(match part {
        Unparsed::Layout => "layout",
        Unparsed::Time => "time",
        Unparsed::Status => "status",
        Unparsed::NoStatus => "no_status",
        Unparsed::Duration => "duration",
        Unparsed::Partial => "partial",
    })
}
