//! Latency: how long the requests of an SLO took.

use serde::Serialize;

use super::Ordered;
use crate::latency::{PERCENTILES, Spread};
use crate::spec::{Catalog, SloId};
use crate::time::{Horizon, Timestamp};

/// How long the requests of an SLO took. It informs, and decides nothing.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyStatus {
    /// The window that was asked for, `28d`.
    pub window: String,
    /// The first instant that is covered; a window is answered from whole hours, or days further back.
    pub from: Timestamp,
    /// The first instant that is not covered any more.
    pub to: Timestamp,
    /// How many requests carried a duration.
    pub requests: u64,
    /// By percentile; `null` without requests.
    pub seconds: Ordered<&'static str, Option<f64>>,
    /// By at most this part of itself a duration is below the percentile that is told; it is never above it.
    pub relative_error: f64,
}

impl LatencyStatus {
    /// How long requests took in a window.
    pub fn new(window: Horizon, spread: &Spread) -> Self {
        let Spread { from, to, requests, precision, .. } = *spread;
        let seconds = PERCENTILES.iter().zip(seconds(spread)).map(|((name, ..), seconds)| (*name, seconds));
        let relative_error = precision.relative_error();
        Self { window: window.to_string(), from, to, requests, seconds: Ordered(seconds.collect()), relative_error }
    }
}

/// The [`PERCENTILES`] in seconds; `None` without requests.
pub(super) fn seconds(spread: &Spread) -> [Option<f64>; PERCENTILES.len()] {
    std::array::from_fn(|place| spread.at_us.map(|at_us| at_us[place] as f64 / 1e6))
}

/// How long the requests of one SLO took.
#[derive(Clone, Debug, Serialize)]
pub struct SloLatency<'a> {
    /// The name of its story.
    pub story: &'a str,
    /// Its name in the story.
    pub slo: &'a str,
    /// The instant at which the window ends.
    pub at: Timestamp,
    /// The answer.
    #[serde(flatten)]
    pub latency: LatencyStatus,
}

impl<'a> SloLatency<'a> {
    /// How long the requests of one SLO took in a window that ends at `at`.
    pub fn new(catalog: &'a Catalog, id: SloId, at: Timestamp, window: Horizon, spread: &Spread) -> Self {
        let (story, slo) = (&catalog.story_of(id).name, &catalog[id].name);
        Self { story, slo, at, latency: LatencyStatus::new(window, spread) }
    }
}
