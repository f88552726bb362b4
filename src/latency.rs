//! Latency: how long requests took, over any window, for people to look at.
//!
//! The gate never consults this room: what an SLO promises of durations is decided by counts against its threshold,
//! exactly. This is for whoever asks how far from the threshold the requests are.
//!
//! A [`Ring`] holds the durations of one set of requests as counts in the buckets of an HdrHistogram, or of a scraped
//! histogram between the bounds that its targets chose. Such counts add up without loss, so that the percentiles of a
//! window are those of the sum of its slots: hours for the last three days ([`FINE_HOURS`]), days before. A slot is
//! packed into a byte or three for each bucket that saw a request (see `packed`), and into the standard V2 deflate
//! encoding of HdrHistograms in a store (see [`stored`]).
//!
//! - *The answer says what it covers.* A window is answered from whole slots, so that it begins up to an hour early,
//!   and up to a day when it begins before the last three days. [`Spread::from`] and [`Spread::to`] are exact.
//! - *The answer says how precise it is.* A percentile is the upper end of the bucket in which the request of its rank
//!   lies: never below that request's duration, and above it by at most the stated part ([`Precision`]). Of a scraped
//!   histogram it is two bounds (see `bounded`), and nothing between them is guessed.
//! - Ranks are integers: of n requests, percentile p is that of rank ceil(p / 100 * n), as everywhere in this program.
//! - Every request is in one slot only, that of its own time; when days fold, their hours are gone. Where the folding
//!   has come to changes no answer.
//! - Old slots give way when newer ones are written, as in windows, so that a clock that leaps ahead and comes back
//!   loses nothing.

mod bounded;
mod packed;
pub mod stored;
mod v2;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::counts::{BUCKETS, Cells, DIGITS, LONGEST_US, Range, Ranges, Took, shortest_us, sum_of_ranges};
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

/// How precise a percentile is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// In the buckets of this program: at most this part above the duration that has the rank, and never below.
    #[default]
    OneIn128,
    /// In buckets that somebody else chose: as precise as the bounds that are answered.
    Bounds,
}

impl Precision {
    /// The part by which a percentile may be too long at most; `None` where its bounds say it.
    pub fn relative_error(self) -> Option<f64> {
        match self {
            Self::OneIn128 => Some(1.0 / 128.0),
            Self::Bounds => None,
        }
    }
}

/// A value for each of [`PERCENTILES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percentiles {
    /// In microseconds, each at least the duration that has the rank.
    Micros([u64; PERCENTILES.len()]),
    /// The bounds between which the duration that has the rank lies.
    Bounds([Range; PERCENTILES.len()]),
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
    /// Their percentiles; `None` without requests.
    pub at: Option<Percentiles>,
    /// How precise those are.
    pub precision: Precision,
}

/// The durations of one set of requests.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    precision: Precision,
    hours: BTreeMap<i64, Held>,
    days: BTreeMap<i64, Held>,
}

/// What a slot counts.
#[derive(Clone, Debug)]
enum Held {
    Cells(Packed),
    Ranges(Box<[(Range, i64)]>),
}

/// A sum of slots.
struct Sum {
    /// By bucket.
    cells: Vec<u64>,
    ranges: Ranges,
}

impl Ring {
    /// An empty ring of durations that are told so precisely.
    pub fn new(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }

    /// Adds counts of a slot. Slots that end before the day of `oldest` are forgotten, this one too; what is further in
    /// the past than [`FINE_HOURS`] before `now` may be folded into days.
    pub fn add(&mut self, slot: Slot, took: &Took, oldest: Minute, now: Timestamp) {
        self.forget_before(oldest);
        if slot.day() < day_of(oldest) {
            return;
        }
        match slot {
            Slot::Hour(hour) => self.hours.entry(hour).or_default().add(took),
            Slot::Day(day) => self.days.entry(day).or_default().add(took),
        }
        if self.hours.len() > MOST_HOURS {
            self.fold(fine_from(now));
        }
    }

    /// Adds what another ring of the same requests holds; as [`Ring::add`].
    pub fn absorb(&mut self, other: &Self, oldest: Minute, now: Timestamp) {
        let hours = other.hours.iter().map(|(hour, held)| (Slot::Hour(*hour), held));
        let days = other.days.iter().map(|(day, held)| (Slot::Day(*day), held));
        hours.chain(days).for_each(|(slot, held)| self.add(slot, &held.took(), oldest, now));
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
        let mut sum = Sum::default();
        if first < end {
            self.hours.range(first..end).for_each(|(_, slot)| sum.add(slot));
        }
        // Days that reach beyond the stretch were never folded, or the stretch would reach as far.
        let days = (first.div_euclid(HOURS), end.div_euclid(HOURS));
        if days.0 < days.1 {
            self.days.range(days.0..days.1).for_each(|(_, slot)| sum.add(slot));
        }
        let (requests, at) = sum.percentiles(self.precision);
        let to = start_of(end).min(now).max(start_of(first));
        Spread { from: start_of(first), to, requests, at, precision: self.precision }
    }

    /// How many bytes the slots take.
    pub fn bytes(&self) -> usize {
        self.hours.values().chain(self.days.values()).map(Held::bytes).sum()
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
            let mut sum = Sum::default();
            old.values().chain(self.days.get(&day)).for_each(|slot| sum.add(slot));
            self.days.insert(day, Held::of(&sum.took()));
            old = later;
        }
    }
}

impl Held {
    fn of(took: &Took) -> Self {
        match took {
            Took::Cells(cells) => Self::Cells(Packed::of(cells)),
            Took::Ranges(ranges) => Self::Ranges(ranges.as_slice().into()),
        }
    }

    fn add(&mut self, took: &Took) {
        match (&mut *self, took) {
            (Self::Cells(packed), Took::Cells(cells)) => packed.add(cells),
            (held, took) => *self = Self::of(&held.took().plus(took)),
        }
    }

    fn took(&self) -> Took {
        match self {
            Self::Cells(packed) => Took::Cells(packed.cells()),
            Self::Ranges(ranges) => Took::Ranges(ranges.to_vec()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Cells(packed) => packed.bytes(),
            Self::Ranges(ranges) => size_of_val(&**ranges),
        }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::Cells(Packed::default())
    }
}

impl Sum {
    fn add(&mut self, held: &Held) {
        match held {
            Held::Cells(packed) => packed.add_to(&mut self.cells),
            Held::Ranges(ranges) => self.ranges = sum_of_ranges(&self.ranges, ranges),
        }
    }

    fn took(&self) -> Took {
        Took::Cells(cells_of(&self.cells)).plus(&Took::Ranges(self.ranges.clone()))
    }

    fn percentiles(&self, precision: Precision) -> (u64, Option<Percentiles>) {
        match precision {
            Precision::OneIn128 => {
                let (requests, at_us) = percentiles(&self.cells);
                (requests, at_us.map(Percentiles::Micros))
            }
            Precision::Bounds => {
                let (requests, at) = bounded::percentiles(&self.took().to_ranges());
                (requests, at.map(Percentiles::Bounds))
            }
        }
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self { cells: vec![0; BUCKETS], ranges: Vec::new() }
    }
}

/// The first hour of the days that are told apart by hours at `now`.
pub fn fine_from(now: Timestamp) -> i64 {
    now.minute().hour().saturating_sub(FINE_HOURS).div_euclid(HOURS).saturating_mul(HOURS)
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
