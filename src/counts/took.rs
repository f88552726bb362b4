//! How many requests took how long, as counts that add up.
//!
//! Durations that this program reads are counted in narrow [`Cells`] of its own. A scraped histogram tells durations
//! only between the bounds that its target chose: those are counted in [`Ranges`], each with its own two bounds, so
//! that targets with other bounds, and bounds that change, add up as well and nothing is made of them that was not
//! told.
//!
//! - *Counts of ranges have a sign.* A page that is written while an observation is made may show it in a small bucket
//!   and not yet in a larger one. What one page shows too little the next one shows too much, and the sum is right.
//! - *Ranges are few.* Of more than [`MOST_RANGES`] neighbours are joined: less is told of them, and nothing wrong.

use std::collections::BTreeMap;

use super::durations::{Cells, shortest_us};
use crate::increase::{Bound, Buckets, over_hours};
use crate::time::Timestamp;

/// At most so many ranges are told apart in one stretch of time: twice as many as one histogram may have.
pub const MOST_RANGES: usize = 1_024;

/// Between which bounds durations lie: above the one, and at most the other. In seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// They are longer than this, or as long as no time at all.
    pub above: Bound,
    /// They are not longer than this.
    pub within: Bound,
}

/// Ranges that saw requests, ascending, and how many; none of them zero.
pub type Ranges = Vec<(Range, i64)>;

/// How many requests took how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Took {
    /// In the buckets of this program.
    Cells(Cells),
    /// Between bounds that somebody else chose.
    Ranges(Ranges),
}

impl Took {
    /// Whether there were no requests.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many counts there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Cells(cells) => cells.len(),
            Self::Ranges(ranges) => ranges.len(),
        }
    }

    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Cells(one), Self::Cells(other)) => Self::Cells(sum_of_cells(one, other)),
            (one, other) if one.is_empty() => other.clone(),
            (one, other) if other.is_empty() => one.clone(),
            (one, other) => Self::Ranges(sum_of_ranges(&one.to_ranges(), &other.to_ranges())),
        }
    }

    /// The same as ranges.
    pub fn to_ranges(&self) -> Ranges {
        match self {
            Self::Cells(cells) => joined(cells.iter().map(of_cell).collect()),
            Self::Ranges(ranges) => ranges.clone(),
        }
    }
}

impl Default for Took {
    fn default() -> Self {
        Self::Cells(Vec::new())
    }
}

/// Adds up cells.
pub fn sum_of_cells(one: &[(u16, u64)], other: &[(u16, u64)]) -> Cells {
    sum_of(one, other, u64::saturating_add)
}

/// Adds up ranges.
pub fn sum_of_ranges(one: &[(Range, i64)], other: &[(Range, i64)]) -> Ranges {
    let mut sum = sum_of(one, other, i64::saturating_add);
    sum.retain(|(_, count)| *count != 0);
    joined(sum)
}

/// What buckets have increased by between two instants, by the hour, exactly in sum.
pub fn ranges_by_hour(buckets: &Buckets, from: Timestamp, to: Timestamp) -> Vec<(i64, Ranges)> {
    let mut hours: Vec<(i64, Ranges)> = Vec::new();
    for (range, count) in ranges_of(buckets) {
        for (hour, share) in over_hours(count.unsigned_abs(), from, to) {
            let share = i64::try_from(share).unwrap_or(i64::MAX) * count.signum();
            match hours.iter_mut().find(|(other, _)| *other == hour) {
                Some((_, ranges)) => ranges.push((range, share)),
                None => hours.push((hour, vec![(range, share)])),
            }
        }
    }
    hours
}

/// The counts between one bound and the next. A duration is never negative, unless a bound says that some are.
fn ranges_of(buckets: &Buckets) -> impl Iterator<Item = (Range, i64)> {
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let mut before = (None, 0);
    buckets.bounds.iter().zip(&buckets.counts).filter_map(move |(within, count)| {
        let lowest = if *within < Bound::ZERO { Bound::LOWEST } else { Bound::ZERO };
        let (above, less) = std::mem::replace(&mut before, (Some(*within), signed(*count)));
        let range = Range { above: above.unwrap_or(lowest), within: *within };
        Some((range, signed(*count) - less)).filter(|(_, count)| *count != 0)
    })
}

fn of_cell((cell, count): &(u16, u64)) -> (Range, i64) {
    let longest = shortest_us(cell + 1) - 1;
    let above = Bound::of_micros(shortest_us(*cell).saturating_sub(1));
    (Range { above, within: Bound::of_micros(longest) }, i64::try_from(*count).unwrap_or(i64::MAX))
}

/// No more ranges than there may be, each of which holds those that it was made of.
fn joined(mut ranges: Ranges) -> Ranges {
    while ranges.len() > MOST_RANGES {
        // Different neighbours may become the same range.
        let mut halved: BTreeMap<Range, i64> = BTreeMap::new();
        for two in ranges.chunks(2) {
            let above = two[0].0.above;
            let within = two.iter().map(|(range, _)| range.within).max().unwrap_or(above);
            let sum = halved.entry(Range { above, within }).or_default();
            *sum = two.iter().fold(*sum, |sum, (_, count)| sum.saturating_add(*count));
        }
        ranges = halved.into_iter().filter(|(_, count)| *count != 0).collect();
    }
    ranges
}

/// Adds up two lists of counts, each in the order of its keys.
fn sum_of<K: Copy + Ord, N: Copy>(left: &[(K, N)], right: &[(K, N)], add: impl Fn(N, N) -> N) -> Vec<(K, N)> {
    let mut sum = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().copied().peekable(), right.iter().copied().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.0 == b.0 => {
                sum.push((a.0, add(a.1, b.1)));
                left.next();
                right.next();
            }
            (Some(a), Some(b)) if a.0 < b.0 => sum.extend(left.next()),
            (_, Some(_)) => sum.extend(right.next()),
            (Some(_), None) => sum.extend(left.next()),
            (None, None) => return sum,
        }
    }
}
