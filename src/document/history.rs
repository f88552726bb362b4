//! History: how one SLO came to stand where it stands.

use serde::Serialize;

use crate::budget::Standing;
use crate::spec::{Catalog, SloId};
use crate::tally::Tally;
use crate::time::{Horizon, Timestamp};

/// Points of one SLO, evenly spaced.
#[derive(Clone, Debug, Serialize)]
pub struct SloHistory<'a> {
    /// The name of its story.
    pub story: &'a str,
    /// Its name in the story.
    pub slo: &'a str,
    /// The instant of the first point.
    pub from: Timestamp,
    /// No point is later than this.
    pub to: Timestamp,
    /// From one point to the next, `1h`.
    pub step: String,
    /// Oldest first.
    pub points: Vec<HistoryPoint>,
}

/// One point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HistoryPoint {
    /// Its instant.
    pub t: Timestamp,
    /// Good events, or slices, of the step that ends with the minute of `t`.
    pub good: u64,
    /// All events, or slices, of that step.
    pub total: u64,
    /// good / total; `null` when nothing happened.
    pub compliance: Option<f64>,
    /// The part of the error budget that was left at `t`, over the SLO's whole window.
    pub remaining: f64,
}

impl HistoryPoint {
    /// What a step saw, and how the SLO stood at its end.
    pub fn new(t: Timestamp, step: Tally, standing: Standing) -> Self {
        Self { t, good: step.good, total: step.total(), compliance: step.compliance(), remaining: standing.remaining() }
    }
}

impl<'a> SloHistory<'a> {
    /// The points of one SLO from `from` to `to`.
    pub fn new(
        catalog: &'a Catalog,
        id: SloId,
        (from, to): (Timestamp, Timestamp),
        step: Horizon,
        points: Vec<HistoryPoint>,
    ) -> Self {
        let (story, slo) = (&catalog.story_of(id).name, &catalog[id].name);
        Self { story, slo, from, to, step: step.to_string(), points }
    }
}
