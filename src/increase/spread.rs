//! Increments between two readings, divided among the minutes between them.
//!
//! A counter says how much happened between two readings and not when. The increments go to the minutes in proportion
//! to the time that each shares with the stretch, as whole numbers with an exact sum.
//!
//! Rounding is cumulative: up to the end of each minute, the minutes together hold the nearest whole number to their
//! share. That keeps every minute within one event of its share, as the method of the largest remainder does, but
//! leaves the whole events evenly apart, where largest remainders would crowd them into the first minutes of a long
//! gap.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reading::Bound;
use crate::tally::Tally;
use crate::time::{MILLIS_PER_MINUTE, Minute, Timestamp};

/// Which of the two counts an SLI selects beside the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Those that kept the promise.
    Good,
    /// Those that broke it.
    Bad,
}

impl Part {
    /// The tally of `total` events, `part` of which are this part; at most all of them.
    pub fn of(self, part: u64, total: u64) -> Tally {
        let part = part.min(total);
        match self {
            Self::Good => Tally::new(part, total - part),
            Self::Bad => Tally::new(total - part, part),
        }
    }
}

/// Cumulative counts of a histogram's buckets, or the increments of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Ascending, the last one infinite.
    pub bounds: Arc<[Bound]>,
    /// By bound: how many were within it.
    pub counts: Box<[u64]>,
}

/// What was counted between two instants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub from: Timestamp,
    pub to: Timestamp,
    pub part: u64,
    pub total: u64,
    pub buckets: Vec<Buckets>,
}

impl Stretch {
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to, part: 0, total: 0, buckets: Vec::new() }
    }
}

/// What a settlement gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    pub minutes: BTreeMap<Minute, Tally>,
    /// By how much the part was greater than the total.
    pub surplus: u64,
}

impl Settled {
    fn add(&mut self, minute: Minute, tally: Tally) {
        if !tally.is_empty() {
            *self.minutes.entry(minute).or_default() += tally;
        }
    }
}

/// Divides stretches that belong together among the minutes. `carry` is the surplus that is still to be settled.
pub(super) fn settle(stretches: &[Stretch], kind: Part, carry: u64) -> Settled {
    let mut settled = Settled::default();
    if carry == 0 && stretches.iter().all(|stretch| stretch.part <= stretch.total) {
        for stretch in stretches {
            let minutes = spread(stretch.total, stretch.from, stretch.to);
            divide(minutes, stretch.part, kind, &mut settled);
        }
        return settled;
    }
    // Good and total were read at different instants, so only their sums can be compared.
    let mut minutes: BTreeMap<Minute, u64> = BTreeMap::new();
    for stretch in stretches {
        for (minute, count) in spread(stretch.total, stretch.from, stretch.to) {
            let sum = minutes.entry(minute).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    let total = minutes.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let part = stretches.iter().fold(carry, |sum, stretch| sum.saturating_add(stretch.part));
    settled.surplus = part.saturating_sub(total);
    divide(minutes.into_iter().collect(), part.min(total), kind, &mut settled);
    settled
}

/// Divides `part` among minutes in proportion to their totals; no minute gets more than its total.
fn divide(minutes: Vec<(Minute, u64)>, part: u64, kind: Part, settled: &mut Settled) {
    let total = minutes.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
    let (mut counted, mut given) = (0_u64, 0);
    for (minute, count) in minutes {
        counted = counted.saturating_add(count);
        // The share grows by at most `count` from one minute to the next, since part <= total.
        let share = rounded_share(part, counted, total);
        settled.add(minute, kind.of(share - given, count));
        given = share;
    }
}

/// The hours between two instants with what each gets of `count`, by the shares of their minutes; those that get
/// nothing are left out.
pub fn over_hours(count: u64, from: Timestamp, to: Timestamp) -> Vec<(i64, u64)> {
    // Almost always a stretch lies in one hour, but its end on the boundary belongs to the hour that has just ended.
    let last = if from < to { to.plus_millis(-1) } else { to };
    if count > 0 && last.minute().hour() == from.minute().hour() {
        return vec![(last.minute().hour(), count)];
    }
    let mut hours: Vec<(i64, u64)> = Vec::new();
    for (minute, share) in spread(count, from, to) {
        match hours.last_mut().filter(|(hour, _)| *hour == minute.hour()) {
            Some((_, sum)) => *sum += share,
            None => hours.push((minute.hour(), share)),
        }
    }
    hours
}

/// The minutes between two instants with what each gets of `total`; those that get nothing are left out. Everything
/// goes to the last minute when there is no time between them, or less than none because a clock was set back.
fn spread(total: u64, from: Timestamp, to: Timestamp) -> Vec<(Minute, u64)> {
    if total == 0 {
        return Vec::new();
    }
    if to <= from || from.minute() == to.minute() {
        return vec![(to.minute(), total)];
    }
    let span = to.millis().saturating_sub(from.millis()).unsigned_abs();
    let mut minutes = Vec::new();
    let (mut minute, mut given) = (from.minute(), 0);
    while given < total {
        let end = minute.start().plus_millis(MILLIS_PER_MINUTE).min(to);
        let elapsed = end.millis().saturating_sub(from.millis()).unsigned_abs();
        let share = rounded_share(total, elapsed, span);
        if share > given {
            minutes.push((minute, share - given));
        }
        (minute, given) = (minute.plus(1), share);
    }
    minutes
}

/// amount * numerator / denominator to the nearest whole number, halves up; for numerator <= denominator.
fn rounded_share(amount: u64, numerator: u64, denominator: u64) -> u64 {
    if denominator == 0 {
        return 0;
    }
    // The square of 2^64 - 1 is below 2^128.
    let product = u128::from(amount) * u128::from(numerator);
    let (share, rest) = (product / u128::from(denominator), product % u128::from(denominator));
    let up = u128::from(rest * 2 >= u128::from(denominator));
    // At most `amount`, because the fraction is at most one.
    u64::try_from(share + up).unwrap_or(u64::MAX).min(amount)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn stretch(from: i64, to: i64, part: u64, total: u64) -> Stretch {
        Stretch { part, total, ..Stretch::new(at(from), at(to)) }
    }

    fn minutes(settled: &Settled) -> Vec<(i64, u64, u64)> {
        settled.minutes.iter().map(|(minute, tally)| (minute.number(), tally.good, tally.bad)).collect()
    }

    fn check(stretches: &[Stretch], carry: u64, expected: &[(i64, u64, u64)], surplus: u64) {
        let settled = settle(stretches, Part::Good, carry);
        assert_eq!((minutes(&settled).as_slice(), settled.surplus), (expected, surplus), "{stretches:?}");
    }

    #[test]
    fn increments_go_to_the_minutes_that_they_share_time_with() {
        check(&[stretch(5, 20, 7, 9)], 0, &[(0, 7, 2)], 0);
        check(&[stretch(50, 65, 15, 15)], 0, &[(0, 10, 0), (1, 5, 0)], 0);
        // The end of a stretch on the boundary belongs to the minute that has just ended.
        check(&[stretch(45, 60, 3, 3)], 0, &[(0, 3, 0)], 0);
        check(&[stretch(60, 60, 3, 3)], 0, &[(1, 3, 0)], 0);
        check(&[stretch(0, 60, 0, 0)], 0, &[], 0);
    }

    #[test]
    fn d05_a_gap_is_spread_evenly_and_to_the_unit() {
        let settled = settle(&[stretch(0, 3600, 110, 130)], Part::Bad, 0);
        assert_eq!(settled.minutes.len(), 60);
        assert_eq!(settled.minutes.values().copied().sum::<Tally>(), Tally::new(20, 110));
        assert!(settled.minutes.values().all(|tally| (2..=3).contains(&tally.total())), "{settled:?}");
        // Three events of an hour stand in the middle of its thirds.
        check(&[stretch(0, 3600, 3, 3)], 0, &[(9, 1, 0), (29, 1, 0), (49, 1, 0)], 0);
    }

    #[test]
    fn d08_a_surplus_of_good_is_settled_later_and_never_negative() {
        check(&[stretch(0, 60, 5, 3)], 0, &[(0, 3, 0)], 2);
        check(&[stretch(60, 120, 1, 4)], 2, &[(1, 3, 1)], 0);
        check(&[stretch(60, 120, 0, 0)], 2, &[], 2);
    }

    #[test]
    fn counters_that_were_read_at_different_instants_are_compared_as_sums() {
        let (good, total) = (stretch(0, 120, 10, 0), stretch(60, 120, 0, 12));
        check(&[good, total], 0, &[(1, 10, 2)], 0);
    }

    fn stretches() -> impl Strategy<Value = Vec<Stretch>> {
        let count = prop_oneof![0..20_u64, 0..1_000_000_u64, any::<u64>()];
        let one = (-200_000..200_000_i64, 0..600_000_i64, count.clone(), count);
        let one = one.prop_map(|(from, length, part, total)| Stretch {
            part,
            total,
            ..Stretch::new(Timestamp::from_millis(from), Timestamp::from_millis(from + length))
        });
        prop::collection::vec(one, 1..4)
    }

    proptest! {
        #[test]
        fn every_division_is_exact_and_within_one_of_its_share(stretches in stretches(), carry in 0..3_u64) {
            let settled = settle(&stretches, Part::Good, carry);
            let total = stretches.iter().fold(0_u64, |sum, stretch| sum.saturating_add(stretch.total));
            let part = stretches.iter().fold(carry, |sum, stretch| sum.saturating_add(stretch.part));
            let sum: Tally = settled.minutes.values().copied().sum();
            prop_assert_eq!(sum.total(), total);
            if total < u64::MAX && part < u64::MAX {
                prop_assert_eq!((sum.good, settled.surplus), (part.min(total), part.saturating_sub(total)));
            }
            if let [stretch] = &stretches[..] {
                let length = (stretch.to.millis() - stretch.from.millis()).max(1) as f64;
                for (minute, tally) in &settled.minutes {
                    let start = minute.start().max(stretch.from).millis();
                    let end = minute.plus(1).start().min(stretch.to).millis();
                    let share = total as f64 * (end - start) as f64 / length;
                    let whole = stretch.from.minute() == stretch.to.minute() || stretch.from == stretch.to;
                    prop_assert!(whole || (tally.total() as f64 - share).abs() <= 1.0 + share * 1e-9);
                }
            }
        }
    }
}
