//! Windows: how many good and bad events each minute saw, and sums over any stretch of minutes.
//!
//! Every answer of this program is a sum over minutes, so this room keeps the minutes themselves: exact counts, no
//! decay, no sampling, no coarser past. A [`Window`] is a ring of days. A day knows its sum and its 24 hours, an hour
//! knows its sum and its 60 minutes, and the minutes are packed into as few bits as their largest count needs (see
//! `packed`). A sum over 28 days therefore adds about 28 days, 2 x 23 hours and the bytes of two hours, not 40,320
//! minutes; and the minutes of a thousand SLOs with ordinary traffic fit in less than 100 MB.
//!
//! - An event is added to its own minute, however late and in whatever order it arrives.
//! - A window is a view: nothing is deleted because time passes. A day gives way when a day that is a ring's length
//!   away is written, so an idle month costs nothing, and a clock that leaps ahead and comes back loses nothing.
//! - Hours and days are aligned to the epoch; the ring is long enough for what is kept at any alignment.
//! - A day without events takes no memory beyond its place in the ring, an hour without events no bytes.
//!
//! It does not know what time it is, and does not judge which minutes are acceptable: the engine does, from its `now`.
//! Writing minutes further apart than the ring is long would let the younger or older of two days win by order of
//! arrival, so the engine refuses what lies outside before it writes.

mod packed;
mod sliding;

use std::ops::Range;

use crate::counts::{HourCells, PAGE_MINUTES};
use crate::tally::Tally;
use crate::time::{Horizon, Minute};

use packed::Lanes;
pub use packed::PackedHour;
pub(crate) use packed::{PADDING, Packed};
pub use sliding::Sliding;

const HOURS: usize = 24;
const DAY_MINUTES: i64 = 24 * 60;

/// Minutes ahead of now that a window has room for: events may be that early.
pub const MINUTES_AHEAD: i64 = 5;

/// Exact counts per minute over a bounded stretch of time.
#[derive(Clone, Debug)]
pub struct Window {
    ring: Box<[Option<Day>]>,
}

/// The counts of one hour, minute by minute: what is added to a window at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourCounts {
    /// Good events of each minute.
    pub good: [u64; PAGE_MINUTES],
    /// Bad events of each minute.
    pub bad: [u64; PAGE_MINUTES],
}

impl HourCounts {
    /// Sixty minutes without events.
    pub const ZERO: Self = Self { good: [0; PAGE_MINUTES], bad: [0; PAGE_MINUTES] };

    /// One column of a page, as far as `rows` go; the other minutes are left empty.
    pub fn of_column(hour: &HourCells, rows: Range<usize>) -> Self {
        let mut counts = Self::ZERO;
        if rows.is_empty() {
            return counts;
        }
        for row in rows {
            counts.good[row] = u64::from(hour.good[row]);
            counts.bad[row] = u64::from(hour.bad[row]);
        }
        counts
    }

    /// Adds events to minute `row` of the hour.
    pub fn add(&mut self, row: usize, tally: Tally) {
        self.good[row] = self.good[row].saturating_add(tally.good);
        self.bad[row] = self.bad[row].saturating_add(tally.bad);
    }

    /// Empties some minutes.
    pub fn clear(&mut self, rows: Range<usize>) {
        self.good[rows.clone()].fill(0);
        self.bad[rows].fill(0);
    }

    /// All of the hour.
    pub fn sum(&self) -> Tally {
        Tally::new(packed::total(&self.good), packed::total(&self.bad))
    }

    /// Minute `row` of the hour.
    pub fn minute(&self, row: usize) -> Tally {
        Tally::new(self.good[row], self.bad[row])
    }

    /// The first and the last minute of the hour that saw an event.
    pub fn occupied(&self) -> Option<(usize, usize)> {
        let mut rows = (0..PAGE_MINUTES).filter(|row| !self.minute(*row).is_empty());
        let first = rows.next()?;
        Some((first, rows.next_back().unwrap_or(first)))
    }
}

impl Window {
    /// An empty window that can hold `kept` minutes up to any now, and [`MINUTES_AHEAD`] more.
    pub fn new(kept: Horizon) -> Self {
        Self { ring: (0..days(kept)).map(|_| None).collect() }
    }

    /// The first minute that a window which keeps `kept` surely still holds when `minute` has been written.
    pub fn first_beside(minute: Minute, kept: Horizon) -> Minute {
        let day = minute.number().div_euclid(DAY_MINUTES).saturating_sub(days(kept) - 1);
        Minute::from_number(day.saturating_mul(DAY_MINUTES))
    }

    /// The last minute that can be written to a window which keeps `kept` without displacing `minute`.
    pub fn last_beside(minute: Minute, kept: Horizon) -> Minute {
        let day = minute.number().div_euclid(DAY_MINUTES).saturating_add(days(kept));
        Minute::from_number(day.saturating_mul(DAY_MINUTES)).plus(-1)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ring.fill_with(|| None);
    }

    /// Adds events to their minute.
    pub fn add(&mut self, minute: Minute, tally: Tally) {
        if tally.is_empty() {
            return;
        }
        let (day, hour, row) = self.place(minute);
        let sum = day.get(hour, row) + tally;
        day.set(hour, row, sum);
        day.sum += tally;
        day.hours[hour].sum += tally;
    }

    /// Adds an hour of events, the hours being numbered from the epoch, and returns how many those were.
    pub fn add_hour(&mut self, hour: i64, counts: &HourCounts) -> Tally {
        let sum = counts.sum();
        if sum.is_empty() {
            return sum;
        }
        let (day, hour, _) = self.place(Minute::from_number(hour.saturating_mul(60)));
        day.add(hour, counts);
        day.sum += sum;
        day.hours[hour].sum += sum;
        sum
    }

    /// Adds an hour of events that is packed already, and returns how many those were.
    pub fn add_packed_hour(&mut self, hour: i64, counts: PackedHour<'_>) -> Tally {
        let sum = counts.sum();
        if sum.is_empty() {
            return sum;
        }
        let (day, hour, _) = self.place(Minute::from_number(hour.saturating_mul(60)));
        match day.hours[hour].lanes.len() {
            0 => day.put_packed(hour, counts),
            _ => day.add(hour, &counts.counts()),
        }
        day.sum += sum;
        day.hours[hour].sum += sum;
        sum
    }

    /// Puts `tally` in place of what a minute held.
    pub fn replace(&mut self, minute: Minute, tally: Tally) {
        let (day, hour, row) = self.place(minute);
        let old = day.get(hour, row);
        if old == tally {
            return;
        }
        day.set(hour, row, tally);
        for sum in [&mut day.sum, &mut day.hours[hour].sum] {
            sum.good = sum.good.saturating_sub(old.good).saturating_add(tally.good);
            sum.bad = sum.bad.saturating_sub(old.bad).saturating_add(tally.bad);
        }
    }

    /// The events from `first` to `last`, both included; nothing when `last` is before `first`.
    pub fn sum(&self, first: Minute, last: Minute) -> Tally {
        self.days(first, last).map(|(day, minutes)| day.sum_of(minutes)).sum()
    }

    /// Sums over one stretch after the other, for whoever asks for many that lie close together.
    pub fn sliding(&self) -> Sliding<'_> {
        Sliding::new(self)
    }

    /// The earliest minute from `first` to `last`, both included, that saw an event.
    pub fn first_occupied(&self, first: Minute, last: Minute) -> Option<Minute> {
        self.days(first, last).find_map(|(day, minutes)| {
            let found = minutes.into_iter().find(|minute| !day.minute(*minute).is_empty())?;
            Some(Minute::from_number(day.number * DAY_MINUTES + found as i64))
        })
    }

    /// The latest minute from `first` to `last`, both included, that saw an event.
    pub fn last_occupied(&self, first: Minute, last: Minute) -> Option<Minute> {
        let days = self.days(first, last).filter(|(day, minutes)| !day.sum_of(minutes.clone()).is_empty());
        let (day, minutes) = days.last()?;
        let found = minutes.into_iter().rev().find(|minute| !day.minute(*minute).is_empty())?;
        Some(Minute::from_number(day.number * DAY_MINUTES + found as i64))
    }

    /// The days of a stretch that saw events, in order, each with the minutes of it that belong to the stretch.
    fn days(&self, first: Minute, last: Minute) -> impl Iterator<Item = (&Day, Range<usize>)> {
        let (first, last) = (first.max(self.first_with(last)).number(), last.number());
        let (first_day, last_day) = (first.div_euclid(DAY_MINUTES), last.div_euclid(DAY_MINUTES));
        let mut slot = self.slot(first_day);
        (first_day..=last_day).filter_map(move |number| {
            let day = self.ring[slot].as_ref().filter(|day| day.number == number);
            slot = if slot + 1 == self.ring.len() { 0 } else { slot + 1 };
            let start = number * DAY_MINUTES;
            let from = (first - start).clamp(0, DAY_MINUTES) as usize;
            let to = (last + 1 - start).clamp(0, DAY_MINUTES) as usize;
            Some((day?, from..to)).filter(|_| from < to)
        })
    }

    /// The first minute that can be in one stretch with `last`: of days further apart than the ring is long, only one
    /// is sure to be there.
    fn first_with(&self, last: Minute) -> Minute {
        let first_day = last.number().div_euclid(DAY_MINUTES) - (self.ring.len() as i64 - 1);
        Minute::from_number(first_day * DAY_MINUTES)
    }

    /// The counts of an hour, the hours being numbered from the epoch: its lanes and the bytes from them on; `None`
    /// when it saw no event.
    fn hour(&self, hour: i64) -> Option<(Lanes, &[u8])> {
        let number = hour.div_euclid(HOURS as i64);
        let day = self.ring[self.slot(number)].as_ref().filter(|day| day.number == number)?;
        let Hour { lanes, start, .. } = day.hours[hour.rem_euclid(HOURS as i64) as usize];
        Some((lanes, &day.bytes[start.into()..]))
    }

    /// The day, hour and row of a minute, made empty first when its place holds another day.
    fn place(&mut self, minute: Minute) -> (&mut Day, usize, usize) {
        let number = minute.number().div_euclid(DAY_MINUTES);
        let within = minute.number().rem_euclid(DAY_MINUTES) as usize;
        let slot = self.slot(number);
        if self.ring[slot].as_ref().is_none_or(|day| day.number != number) {
            self.ring[slot] = None;
        }
        let day = self.ring[slot].get_or_insert_with(|| Day::empty(number));
        (day, within / PAGE_MINUTES, within % PAGE_MINUTES)
    }

    fn slot(&self, day: i64) -> usize {
        day.rem_euclid(self.ring.len() as i64) as usize
    }
}

/// How many days a ring has that keeps `kept`.
fn days(kept: Horizon) -> i64 {
    // A stretch of n minutes touches, at its worst alignment, one day more than n - 1 minutes fill.
    (kept.minutes() + MINUTES_AHEAD - 2).div_euclid(DAY_MINUTES) + 2
}

#[derive(Clone, Debug)]
struct Day {
    /// Days since the epoch.
    number: i64,
    sum: Tally,
    hours: Box<[Hour; HOURS]>,
    /// The lanes of the hours, one behind the other, and the padding; nothing before there are any.
    bytes: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Hour {
    sum: Tally,
    /// Where its lanes begin. Those of a day are shorter than 2^16 bytes.
    start: u16,
    lanes: Lanes,
}

impl Day {
    fn empty(number: i64) -> Self {
        Self { number, sum: Tally::ZERO, hours: Box::new([Hour::default(); HOURS]), bytes: Box::default() }
    }

    fn minute(&self, minute: usize) -> Tally {
        let hour = minute / PAGE_MINUTES;
        if self.hours[hour].sum.is_empty() { Tally::ZERO } else { self.get(hour, minute % PAGE_MINUTES) }
    }

    fn get(&self, hour: usize, row: usize) -> Tally {
        let Hour { lanes, start, .. } = self.hours[hour];
        lanes.get(&self.bytes[start.into()..], row)
    }

    fn set(&mut self, hour: usize, row: usize, tally: Tally) {
        let Hour { lanes, start, .. } = self.hours[hour];
        let bytes = &mut self.bytes[start.into()..];
        if lanes.hold(tally) {
            return lanes.set(bytes, row, tally);
        }
        let mut counts = lanes.read(bytes);
        (counts.good[row], counts.bad[row]) = (tally.good, tally.bad);
        self.put(hour, &counts);
    }

    fn add(&mut self, hour: usize, counts: &HourCounts) {
        let Hour { lanes, start, .. } = self.hours[hour];
        match lanes.len() {
            0 => self.put(hour, counts),
            _ => self.put(hour, &lanes.plus(&self.bytes[start.into()..], counts)),
        }
    }

    /// Keeps these counts of an hour instead, and makes room for them where they need more.
    fn put(&mut self, hour: usize, counts: &HourCounts) {
        let Hour { lanes, start, .. } = self.hours[hour];
        let lanes = lanes.holding(counts);
        self.make_room(hour, lanes);
        lanes.write(&mut self.bytes[start.into()..], counts);
    }

    /// Keeps these counts of an hour that has none.
    fn put_packed(&mut self, hour: usize, counts: PackedHour<'_>) {
        self.make_room(hour, counts.lanes());
        let (start, lanes) = (usize::from(self.hours[hour].start), counts.lane_bytes());
        self.bytes[start..start + lanes.len()].copy_from_slice(lanes);
    }

    /// Gives an hour lanes that are at least as wide as those that it has. What is in them has to be written after
    /// that.
    fn make_room(&mut self, hour: usize, lanes: Lanes) {
        let Hour { lanes: old, start, .. } = self.hours[hour];
        if lanes == old {
            return;
        }
        let (start, more) = (usize::from(start), lanes.len() - old.len());
        let padding = if self.bytes.is_empty() { PADDING } else { 0 };
        let mut bytes = Vec::with_capacity(self.bytes.len() + more + padding);
        bytes.extend_from_slice(&self.bytes[..start]);
        bytes.resize(start + lanes.len(), 0);
        bytes.extend_from_slice(&self.bytes[start + old.len()..]);
        bytes.resize(bytes.len() + padding, 0);
        self.bytes = bytes.into();
        self.hours[hour].lanes = lanes;
        self.hours[hour + 1..].iter_mut().for_each(|later| later.start += more as u16);
    }

    fn sum_of(&self, minutes: Range<usize>) -> Tally {
        if minutes.len() == DAY_MINUTES as usize {
            return self.sum;
        }
        let (first, last) = (minutes.start / PAGE_MINUTES, (minutes.end - 1) / PAGE_MINUTES);
        let of_hour = |hour: usize| {
            let start = hour * PAGE_MINUTES;
            let rows = minutes.start.max(start) - start..minutes.end.min(start + PAGE_MINUTES) - start;
            let Hour { sum, lanes, start } = self.hours[hour];
            if rows.len() == PAGE_MINUTES { sum } else { lanes.sum(&self.bytes[start.into()..], rows) }
        };
        (first..=last).map(of_hour).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Adds every `(minute, good, bad)` to a window of `kept` minutes and compares sums over the stretches given by
    /// their ends with those of a map of minutes.
    fn check(kept: u32, events: &[(i64, u64, u64)]) {
        let mut window = Window::new(Horizon::of_minutes(kept));
        let mut minutes: BTreeMap<i64, Tally> = BTreeMap::new();
        for (minute, good, bad) in events {
            window.add(Minute::from_number(*minute), Tally::new(*good, *bad));
            *minutes.entry(*minute).or_default() += Tally::new(*good, *bad);
        }
        let ends = events.iter().flat_map(|(minute, ..)| [minute - 61, minute - 1, *minute, minute + 1, minute + 60]);
        let ends: Vec<i64> = ends.collect();
        for first in &ends {
            for last in &ends {
                let expected: Tally = match first <= last {
                    true => minutes.range(first..=last).map(|(_, tally)| *tally).sum(),
                    false => Tally::ZERO,
                };
                let (from, to) = (Minute::from_number(*first), Minute::from_number(*last));
                assert_eq!(window.sum(from, to), expected, "{first}..={last} of {events:?}");
                let occupied: Vec<i64> = minutes.keys().copied().filter(|m| first <= m && m <= last).collect();
                let number = |minute: Option<Minute>| minute.map(Minute::number);
                assert_eq!(number(window.first_occupied(from, to)), occupied.first().copied());
                assert_eq!(number(window.last_occupied(from, to)), occupied.last().copied());
            }
        }
    }

    #[test]
    fn sums_are_exact_at_every_minute() {
        check(1, &[]);
        check(1, &[(0, 1, 0)]);
        check(60, &[(7, 1, 2), (7, 3, 4), (8, 1, 0), (66, 0, 1)]);
        check(2_880, &[(1_439, 1, 0), (1_440, 2, 0), (2_879, 3, 1), (2_880, 4, 1), (1_500, 5, 0), (0, 9, 9)]);
    }

    #[test]
    fn minutes_before_the_epoch_are_minutes_too() {
        check(3_000, &[(-1, 1, 0), (-60, 2, 0), (-61, 3, 1), (0, 4, 0), (-1_440, 5, 0), (-1_441, 6, 0)]);
    }

    #[test]
    fn late_minutes_are_added_to_their_own_minute() {
        check(40_320, &[(40_319, 1, 0), (0, 1, 1), (20_000, 7, 0), (40_319, 1, 0), (0, 255, 0), (1, 256, 65_536)]);
    }

    #[test]
    fn counts_of_any_size_are_kept() {
        let powers = (0..63).map(|power| (i64::from(power), 1u64 << power, (1u64 << power) - 1));
        check(100, &powers.collect::<Vec<_>>());
    }

    #[test]
    fn f18_sums_saturate() {
        let mut window = Window::new(Horizon::of_minutes(60));
        for minute in [3, 3, 4] {
            window.add(Minute::from_number(minute), Tally::new(u64::MAX, 1));
        }
        let all = window.sum(Minute::from_number(0), Minute::from_number(59));
        assert_eq!(all, Tally::new(u64::MAX, 3));
    }

    #[test]
    fn what_is_kept_survives_at_every_alignment_and_five_minutes_ahead() {
        for kept in [1, 1_435, 1_436, 1_437, 1_440, 2_875, 2_876, 2_877] {
            for now in 10_000..11_441 {
                let mut window = Window::new(Horizon::of_minutes(kept));
                let oldest = Horizon::of_minutes(kept).first_minute(Minute::from_number(now));
                let newest = Minute::from_number(now + MINUTES_AHEAD);
                window.add(oldest, Tally::new(1, 0));
                window.add(newest, Tally::new(0, 1));
                assert_eq!(window.sum(oldest, newest), Tally::new(1, 1), "{kept} minutes at {now}");
            }
        }
    }

    #[test]
    fn a_day_gives_way_to_the_one_a_ring_later_and_to_nothing_else() {
        let mut window = Window::new(Horizon::of_minutes(60));
        let days = window.ring.len() as i64;
        let (old, young) = (Minute::from_number(100), Minute::from_number(100 + days * DAY_MINUTES));
        window.add(old, Tally::new(1, 0));
        assert_eq!(window.sum(young, young), Tally::ZERO);
        assert_eq!(window.sum(old, old), Tally::new(1, 0));
        window.add(young, Tally::new(2, 0));
        assert_eq!(window.sum(old, old), Tally::ZERO);
        assert_eq!(window.sum(old, young), Tally::new(2, 0));
    }

    #[test]
    fn an_hour_at_once_is_the_same_as_minute_by_minute() {
        let mut state = 1u64;
        let mut next = |bits: u32| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> (64 - bits)
        };
        for (good_bits, bad_bits) in [(1, 1), (8, 1), (9, 8), (16, 17), (33, 2), (60, 60)] {
            let empty = || Window::new(Horizon::DAYS_28);
            let (mut at_once, mut packed, mut one_by_one) = (empty(), empty(), empty());
            for _ in 0..3 {
                let mut counts = HourCounts::ZERO;
                for row in 0..PAGE_MINUTES {
                    (counts.good[row], counts.bad[row]) = (next(good_bits), next(bad_bits));
                    one_by_one.add(Minute::from_number(600 + row as i64), counts.minute(row));
                }
                let mut bytes = Vec::new();
                PackedHour::write(&counts, &mut bytes);
                bytes.resize(bytes.len() + PADDING, 0);
                let (hour, _) = PackedHour::read(&bytes).expect("it was just written");
                assert_eq!(packed.add_packed_hour(10, hour), at_once.add_hour(10, &counts));
            }
            for (first, last) in [(600, 659), (600, 630), (631, 659), (640, 640), (0, 10_000)] {
                let (first, last) = (Minute::from_number(first), Minute::from_number(last));
                assert_eq!(at_once.sum(first, last), one_by_one.sum(first, last));
                assert_eq!(packed.sum(first, last), one_by_one.sum(first, last));
            }
        }
    }

    #[test]
    fn a_column_of_a_page_is_taken_as_far_as_the_rows_go() {
        let hour = |column: usize| HourCells {
            good: std::array::from_fn(|minute| (minute * 3 + column) as u32),
            bad: [column as u32; PAGE_MINUTES],
        };
        let counts = HourCounts::of_column(&hour(1), 2..4);
        let expected: Vec<_> =
            [(0, 0), (0, 0), (7, 1), (10, 1), (0, 0)].map(|(good, bad)| Tally::new(good, bad)).into();
        assert_eq!((0..5).map(|row| counts.minute(row)).collect::<Vec<_>>(), expected);
        assert_eq!(counts.occupied(), Some((2, 3)));
        assert_eq!(HourCounts::of_column(&hour(2), 59..60).minute(59), Tally::new(179, 2));
        for nothing in [0..0, 60..60] {
            assert_eq!(HourCounts::of_column(&hour(2), nothing).occupied(), None);
        }
    }

    #[test]
    fn a_replaced_minute_leaves_nothing_of_the_old_one() {
        let mut window = Window::new(Horizon::of_minutes(60));
        let minute = Minute::from_number(61);
        for tally in [Tally::new(1, 0), Tally::new(0, 1), Tally::new(0, 1), Tally::new(70_000, 3), Tally::ZERO] {
            window.replace(minute, tally);
            for (first, last) in [(61, 61), (60, 119), (0, 1_439), (30, 90)] {
                assert_eq!(window.sum(Minute::from_number(first), Minute::from_number(last)), tally);
            }
        }
    }
}
