//! Latency: how long the requests of an SLO took.

use serde::Serialize;

use super::Ordered;
use crate::counts::Range;
use crate::increase::Bound;
use crate::latency::{PERCENTILES, Percentiles, Precision, Spread};
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
    /// By percentile, at least the duration that has the rank: of a histogram the end of its bucket, and `null` where
    /// that has none. `null` without requests.
    pub seconds: Ordered<&'static str, Option<f64>>,
    /// By at most this part of itself a duration is below the percentile that is told; it is never above it. `null` for
    /// a histogram, whose error is its bounds.
    pub relative_error: Option<f64>,
    /// Of a histogram, by percentile: the bounds that the duration with the rank lies between. `null` for a log.
    pub bounds: Option<Ordered<&'static str, Option<LatencyBounds>>>,
}

/// Between which bounds a percentile lies. Nothing is known of where between them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencyBounds {
    /// It is not below this, in seconds; `null` when the bucket has no lower end.
    pub lower: Option<f64>,
    /// It is not above this, in seconds; `null` when it is above all bounds of its histogram.
    pub upper: Option<f64>,
}

impl LatencyStatus {
    /// How long requests took in a window.
    pub fn new(window: Horizon, spread: &Spread) -> Self {
        let Spread { from, to, requests, precision, .. } = *spread;
        let seconds = upper_bounds(spread).map(|bound| bound.and_then(finite));
        let seconds = PERCENTILES.iter().zip(seconds).map(|((name, ..), seconds)| (*name, seconds));
        let seconds = Ordered(seconds.collect());
        let relative_error = precision.relative_error();
        let bounds = bounds(spread).map(|bounds| Ordered(bounds.collect()));
        Self { window: window.to_string(), from, to, requests, seconds, relative_error, bounds }
    }
}

/// What each of the [`PERCENTILES`] is at most, in seconds; `None` without requests.
pub(super) fn upper_bounds(spread: &Spread) -> [Option<Bound>; PERCENTILES.len()] {
    match spread.at {
        Some(Percentiles::Micros(at_us)) => at_us.map(|us| Some(Bound::of_micros(us))),
        Some(Percentiles::Bounds(bounds)) => bounds.map(|range| Some(range.within)),
        None => [None; PERCENTILES.len()],
    }
}

/// What each of the [`PERCENTILES`] of a histogram is not below, in seconds; `None` without requests.
pub(super) fn lower_bounds(spread: &Spread) -> [Option<Bound>; PERCENTILES.len()] {
    match spread.at {
        Some(Percentiles::Bounds(bounds)) => bounds.map(|range| Some(range.above)),
        Some(Percentiles::Micros(_)) | None => [None; PERCENTILES.len()],
    }
}

/// By name, the bounds of the [`PERCENTILES`] of a histogram, each `None` without requests; `None` for anything else.
fn bounds(spread: &Spread) -> Option<impl Iterator<Item = (&'static str, Option<LatencyBounds>)>> {
    let bounds = match (spread.precision, spread.at) {
        (Precision::Bounds, Some(Percentiles::Bounds(bounds))) => bounds.map(Some),
        (Precision::Bounds, _) => [None; PERCENTILES.len()],
        (Precision::OneIn128, _) => return None,
    };
    let shown = |range: Range| LatencyBounds { lower: finite(range.above), upper: finite(range.within) };
    Some(PERCENTILES.into_iter().zip(bounds).map(move |((name, _), range)| (name, range.map(shown))))
}

fn finite(bound: Bound) -> Option<f64> {
    Some(bound.value()).filter(|value| value.is_finite())
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
