//! Buckets of a page into cumulative counts that can be trusted.

use std::fmt;
use std::sync::Arc;

use super::member::{Last, Refusal, Since, Value};
use super::reading::{BadValue, Bound};
use super::spread::Buckets;

/// Why a histogram is refused on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is one of what there is now.
    Gauge,
    /// No bucket ends at the threshold; these bounds exist.
    NoSuchBound { threshold: Bound, bounds: Vec<Bound> },
    /// There is no bucket without an end.
    NotInfinite { bounds: Vec<Bound> },
    /// A bucket holds less than a smaller one.
    NotMonotone { bound: Bound },
    /// More buckets than anybody needs.
    TooMany,
}

/// Buckets of one histogram; native client libraries have a dozen.
pub(super) const MOST_BUCKETS: usize = 512;

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |bounds: &[Bound]| bounds.iter().map(Bound::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Gauge => write!(
                out,
                "its page declares a gauge histogram, which tells what there is now and may fall, so that it counts no events"
            ),
            Self::NoSuchBound { threshold, bounds } if bounds[..] == [Bound::INFINITE] => {
                write!(out, "no bucket ends at {threshold}; the only bound is +Inf, as where a native histogram is ")?;
                write!(out, "exposed, which is not read: have the target expose classic buckets")
            }
            Self::NoSuchBound { threshold, bounds } => {
                write!(out, "no bucket ends at {threshold}; the bounds are {}", list(bounds))
            }
            Self::NotInfinite { bounds } => write!(out, "no bucket ends at +Inf; the bounds are {}", list(bounds)),
            Self::NotMonotone { bound } => write!(out, "the bucket up to {bound} holds less than a smaller one"),
            Self::TooMany => write!(out, "more than {MOST_BUCKETS} buckets"),
        }
    }
}

/// The buckets of a page, which may stand in any order, in the order of their bounds.
pub(super) fn read(
    buckets: &[(Bound, Result<u64, BadValue>)],
    threshold: Bound,
    last: Option<&Last>,
) -> Result<Buckets, Refusal> {
    if buckets.len() > MOST_BUCKETS {
        return Err(Refusal::Histogram(Fault::TooMany));
    }
    let mut counted = Vec::with_capacity(buckets.len());
    for (bound, count) in buckets {
        counted.push((*bound, count.map_err(Refusal::Value)?));
    }
    counted.sort_by_key(|(bound, _)| *bound);
    check(&counted, threshold).map_err(Refusal::Histogram)?;
    let counts = counted.iter().map(|(_, count)| *count).collect();
    // Almost always the bounds are those of the page before, and one list of them is enough.
    let known = match last.map(|last| &last.value) {
        Some(Value::Buckets(last)) if last.bounds.iter().eq(counted.iter().map(|(bound, _)| bound)) => {
            Some(Arc::clone(&last.bounds))
        }
        _ => None,
    };
    let bounds = known.unwrap_or_else(|| counted.iter().map(|(bound, _)| *bound).collect());
    Ok(Buckets { bounds, counts })
}

fn check(counted: &[(Bound, u64)], threshold: Bound) -> Result<(), Fault> {
    let bounds = || counted.iter().map(|(bound, _)| *bound).collect();
    if counted.last().is_none_or(|(bound, _)| *bound != Bound::INFINITE) {
        return Err(Fault::NotInfinite { bounds: bounds() });
    }
    if !counted.iter().any(|(bound, _)| *bound == threshold) {
        return Err(Fault::NoSuchBound { threshold, bounds: bounds() });
    }
    match counted.windows(2).find(|two| two[1].1 < two[0].1) {
        Some(two) => Err(Fault::NotMonotone { bound: two[1].0 }),
        None => Ok(()),
    }
}

impl Buckets {
    /// How many were within a bound; `None` when no bucket ends there.
    pub fn within(&self, bound: Bound) -> Option<u64> {
        let place = self.bounds.binary_search(&bound).ok()?;
        self.counts.get(place).copied()
    }

    /// The increments since earlier counts of the same bounds; one that fell makes all of them fall.
    ///
    /// They may grow by less in a larger bucket than in a smaller one: a page that was written while an observation was
    /// made shows that, and the next page sets it right.
    pub(super) fn since(&self, earlier: &Self) -> Since {
        let pairs = self.counts.iter().zip(&earlier.counts);
        let more: Option<Box<[u64]>> = pairs.map(|(now, then)| now.checked_sub(*then)).collect();
        more.map_or(Since::Less, |counts| {
            Since::More(Value::Buckets(Self { bounds: Arc::clone(&self.bounds), counts }))
        })
    }

    /// Adds increments of the same bounds.
    pub(super) fn add(&mut self, more: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(&more.counts) {
            *sum = sum.saturating_add(*count);
        }
    }
}
