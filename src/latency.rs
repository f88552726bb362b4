//! Latency: how long requests took, over any window, for people to look at.
//!
//! The gate never consults this room: what an SLO promises of durations is decided by counts against its threshold,
//! exactly. This is for whoever asks how far from the threshold the requests are.
//!
//! A [`Ring`] holds the durations of one set of requests as counts in the buckets of an HdrHistogram. Such counts add up
//! without loss, so that the percentiles of a window are those of the sum of its slots: hours for the last three days
//! ([`FINE_HOURS`]), days before. A slot is packed into a byte or three for each bucket that saw a request (see
//! `packed`), and into the standard V2 deflate encoding of HdrHistograms in a store (see [`stored`]).
//!
//! - *The answer says what it covers.* A window is answered from whole slots, so that it begins up to an hour early, and
//!   up to a day when it begins before the last three days. [`Spread::from`] and [`Spread::to`] are exact.
//! - *The answer says how precise it is.* A percentile is the upper end of the bucket in which the request of its rank
//!   lies: never below that request's duration, and above it by at most the stated part ([`Precision`]).
//! - Ranks are integers: of n requests, percentile p is that of rank ceil(p / 100 * n), as everywhere in this program.
//! - Every request is in one slot only, that of its own time; when days fold, their hours are gone. Where the folding has
//!   come to changes no answer.
//! - Old slots give way when newer ones are written, as in windows, so that a clock that leaps ahead and comes back loses
//!   nothing.

mod packed;
pub mod stored;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::counts::{BUCKETS, Cells, DIGITS, LONGEST_US, shortest_us};
use crate::spec::Percentile;
use crate::time::{Horizon, Minute, Timestamp};
use packed::Packed;

/// The percentiles that are answered.
pub const PERCENTILES: [(&str, Percentile); 5] = [
    ("p50", percentile(50_000_000)),
    ("p90", percentile(90_000_000)),
    ("p95", percentile(95_000_000)),
    ("p99", percentile(99_000_000)),
    ("p99.9", percentile(99_900_000)),
];

/// At least so many hours before the present one are told apart.
pub const FINE_HOURS: i64 = 72;

const HOURS: i64 = 24;
/// With more slots of hours than this the old ones fold into days: the fine ones, and a day's worth at a time.
const MOST_HOURS: usize = (FINE_HOURS + 3 * HOURS) as usize;

const fn percentile(millionths: u64) -> Percentile {
    Percentile::new(millionths).expect("between 0 and 100")
}

/// A stretch of time whose durations are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// An hour, numbered from the epoch.
    Hour(i64),
    /// A day, numbered from the epoch.
    Day(i64),
}

impl Slot {
    /// The day that it is or lies in.
    pub fn day(self) -> i64 {
        match self {
            Self::Hour(hour) => hour.div_euclid(HOURS),
            Self::Day(day) => day,
        }
    }
}

/// How precise a percentile is. Distributions that come in buckets of somebody else's choice would have their bounds
/// here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// At most this part above the duration that has the rank, and never below: one in so many.
    OneIn(u32),
}

impl Precision {
    /// That of counts in the buckets of this program.
    pub const OF_BUCKETS: Self = Self::OneIn(128);

    /// The part as a ratio.
    pub fn relative_error(self) -> f64 {
        match self {
            Self::OneIn(parts) => 1.0 / f64::from(parts),
        }
    }
}

/// How long requests took in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The first instant that it is about.
    pub from: Timestamp,
    /// The first instant that it is not about any more.
    pub to: Timestamp,
    /// How many requests.
    pub requests: u64,
    /// Of each of [`PERCENTILES`], in microseconds; `None` without requests.
    pub at_us: Option<[u64; PERCENTILES.len()]>,
    /// How precise those are.
    pub precision: Precision,
}

/// The durations of one set of requests.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    hours: BTreeMap<i64, Packed>,
    days: BTreeMap<i64, Packed>,
}

impl Ring {
    /// Adds counts of a slot. Slots that end before the day of `oldest` are forgotten, this one too; what is further in
    /// the past than [`FINE_HOURS`] before `now` may be folded into days.
    pub fn add(&mut self, slot: Slot, cells: &[(u16, u64)], oldest: Minute, now: Timestamp) {
        self.forget_before(oldest);
        if slot.day() < day_of(oldest) {
            return;
        }
        match slot {
            Slot::Hour(hour) => self.hours.entry(hour).or_default().add(cells),
            Slot::Day(day) => self.days.entry(day).or_default().add(cells),
        }
        if self.hours.len() > MOST_HOURS {
            self.fold(fine_from(now));
        }
    }

    /// Forgets the slots that end before the day of `oldest`.
    pub fn forget_before(&mut self, oldest: Minute) {
        let day = day_of(oldest);
        while self.hours.first_key_value().is_some_and(|(hour, _)| *hour < day.saturating_mul(HOURS)) {
            self.hours.pop_first();
        }
        while self.days.first_key_value().is_some_and(|(first, _)| *first < day) {
            self.days.pop_first();
        }
    }

    /// How long the requests of the window of length `window` at `t` took, as far as it is known at `now`.
    pub fn spread(&self, window: Horizon, t: Timestamp, now: Timestamp) -> Spread {
        let (first, end) = self.hours_of(window, t, now);
        let mut sum = vec![0; BUCKETS];
        if first < end {
            self.hours.range(first..end).for_each(|(_, slot)| slot.add_to(&mut sum));
        }
        // Days that reach beyond the stretch were never folded, or the stretch would reach as far.
        let days = (first.div_euclid(HOURS), end.div_euclid(HOURS));
        if days.0 < days.1 {
            self.days.range(days.0..days.1).for_each(|(_, slot)| slot.add_to(&mut sum));
        }
        let (requests, at_us) = percentiles(&sum);
        let to = start_of(end).min(now).max(start_of(first));
        Spread { from: start_of(first), to, requests, at_us, precision: Precision::OF_BUCKETS }
    }

    /// How many bytes the slots take.
    pub fn bytes(&self) -> usize {
        self.hours.values().chain(self.days.values()).map(Packed::bytes).sum()
    }

    /// The hours of whole slots that hold a window: the first, and the first one after it.
    fn hours_of(&self, window: Horizon, t: Timestamp, now: Timestamp) -> (i64, i64) {
        let fine_from = fine_from(now);
        let is_coarse = |hour: i64| hour < fine_from || self.days.contains_key(&hour.div_euclid(HOURS));
        let (first, last) = (window.first_minute(t.minute()).hour(), t.minute().hour());
        let first = if is_coarse(first) { first.div_euclid(HOURS).saturating_mul(HOURS) } else { first };
        let end = if is_coarse(last) { (last.div_euclid(HOURS) + 1).saturating_mul(HOURS) } else { last + 1 };
        (first, end)
    }

    /// Makes days of the hours before `end`, which begins a day.
    fn fold(&mut self, end: i64) {
        let fine = self.hours.split_off(&end);
        let mut old = std::mem::replace(&mut self.hours, fine);
        while let Some((hour, _)) = old.first_key_value() {
            let day = hour.div_euclid(HOURS);
            let later = old.split_off(&((day + 1) * HOURS));
            let mut sum = vec![0; BUCKETS];
            old.values().chain(self.days.get(&day)).for_each(|slot| slot.add_to(&mut sum));
            self.days.insert(day, Packed::of(&cells_of(&sum)));
            old = later;
        }
    }
}

/// The first hour of the days that are told apart by hours at `now`.
pub fn fine_from(now: Timestamp) -> i64 {
    now.minute().hour().saturating_sub(FINE_HOURS).div_euclid(HOURS).saturating_mul(HOURS)
}

/// Adds up two lists of buckets.
pub fn sum_of(left: &[(u16, u64)], right: &[(u16, u64)]) -> Cells {
    let mut sum = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().copied().peekable(), right.iter().copied().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.0 == b.0 => {
                sum.push((a.0, a.1.saturating_add(b.1)));
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

/// How many requests there are, and their percentiles.
fn percentiles(sum: &[u64]) -> (u64, Option<[u64; PERCENTILES.len()]>) {
    let histogram = histogram_of(&cells_of(sum));
    let requests = histogram.len();
    if requests == 0 {
        return (0, None);
    }
    let mut found = [histogram.max(); PERCENTILES.len()];
    let mut ranks = PERCENTILES.iter().map(|(_, percentile)| percentile.needed_of(requests)).zip(&mut found);
    let mut next = ranks.next();
    let mut so_far: u64 = 0;
    for step in histogram.iter_recorded() {
        so_far += step.count_at_value();
        while let Some((rank, place)) = next.take_if(|(rank, _)| *rank <= so_far) {
            debug_assert!(rank > 0, "there are requests");
            *place = step.value_iterated_to();
            next = ranks.next();
        }
    }
    (requests, Some(found))
}

/// The histogram with these counts.
fn histogram_of(cells: &[(u16, u64)]) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are those of the buckets");
    cells.iter().for_each(|(bucket, count)| histogram.saturating_record_n(shortest_us(*bucket), *count));
    histogram
}

fn cells_of(sum: &[u64]) -> Cells {
    (0..).zip(sum).filter(|(_, count)| **count > 0).map(|(bucket, count)| (bucket, *count)).collect()
}

fn day_of(minute: Minute) -> i64 {
    Slot::Hour(minute.hour()).day()
}

fn start_of(hour: i64) -> Timestamp {
    Minute::from_number(hour.saturating_mul(60)).start()
}

#[cfg(test)]
mod tests;
