//! Percentiles of durations that are known to lie between bounds.
//!
//! Of n durations, each of which lies somewhere in its range, the one with rank r is above the r-th smallest of the
//! lower bounds and at most the r-th smallest of the upper ones. That holds for ranges of different histograms as well,
//! however they overlap, and no narrower bounds are certain.
//!
//! Counts of ranges may be negative for the time between two pages (see [`Took`](crate::counts::Took)). The lower bound
//! is then taken where a rank is reached first, and the upper one where it is reached for good.

use crate::counts::Range;
use crate::increase::Bound;
use crate::latency::PERCENTILES;

/// How many there are, and the bounds of their [`PERCENTILES`].
pub(super) fn percentiles(ranges: &[(Range, i64)]) -> (u64, Option<[Range; PERCENTILES.len()]>) {
    let sum = ranges.iter().fold(0, |sum: i64, (_, count)| sum.saturating_add(*count));
    let Some(requests) = u64::try_from(sum).ok().filter(|requests| *requests > 0) else { return (0, None) };
    let lower = cumulative(ranges.iter().map(|(range, count)| (range.above, *count)).collect());
    let upper = cumulative(ranges.iter().map(|(range, count)| (range.within, *count)).collect());
    let at = PERCENTILES.map(|(_, percentile)| {
        let rank = i64::try_from(percentile.needed_of(requests)).unwrap_or(i64::MAX);
        let above = lower.iter().find(|(_, so_far)| *so_far >= rank);
        let within = upper.iter().rev().take_while(|(_, so_far)| *so_far >= rank).last();
        Range {
            above: above.map_or(Bound::LOWEST, |(bound, _)| *bound),
            within: within.map_or(Bound::INFINITE, |(bound, _)| *bound),
        }
    });
    (requests, Some(at))
}

/// Every bound with how many are at or below it.
fn cumulative(mut bounds: Vec<(Bound, i64)>) -> Vec<(Bound, i64)> {
    bounds.sort_unstable_by_key(|(bound, _)| *bound);
    let mut sums: Vec<(Bound, i64)> = Vec::with_capacity(bounds.len());
    let mut so_far: i64 = 0;
    for (bound, count) in bounds {
        so_far = so_far.saturating_add(count);
        match sums.last_mut().filter(|(last, _)| *last == bound) {
            Some((_, sum)) => *sum = so_far,
            None => sums.push((bound, so_far)),
        }
    }
    sums
}
