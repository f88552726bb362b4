//! Histograms of targets that agree on nothing, against a twin that keeps every observation.

use std::sync::Arc;

use proptest::collection::vec;

use super::*;
use crate::counts::{MOST_RANGES, ranges_by_hour};
use crate::increase::{Bound, Buckets};

/// A page's worth of observations in microseconds, with the bounds that its target has at that time.
#[derive(Clone, Debug)]
struct Shown {
    hours: i64,
    bounds: Vec<u64>,
    micros: Vec<u64>,
}

impl Shown {
    /// What the target's buckets increase by.
    fn buckets(&self) -> Buckets {
        let finite = self.bounds.iter().map(|bound| (Bound::of_micros(*bound), *bound));
        let bounds: Vec<(Bound, u64)> = finite.chain([(Bound::INFINITE, u64::MAX)]).collect();
        let within = |most: u64| self.micros.iter().filter(|micros| **micros <= most).count() as u64;
        Buckets {
            bounds: bounds.iter().map(|(bound, _)| *bound).collect(),
            counts: bounds.iter().map(|(_, most)| within(*most)).collect(),
        }
    }

    /// The bounds of the bucket that an observation is in.
    fn range_of(&self, micros: u64) -> Range {
        let above = self.bounds.iter().rfind(|bound| **bound < micros).copied().unwrap_or(0);
        let within = self.bounds.iter().find(|bound| **bound >= micros);
        Range {
            above: Bound::of_micros(above),
            within: within.map_or(Bound::INFINITE, |bound| Bound::of_micros(*bound)),
        }
    }

    fn took(&self) -> Took {
        let end = Minute::from_number((NOW.minute().hour() - self.hours) * 60 + 30).start();
        let hours = ranges_by_hour(&self.buckets(), end.plus_millis(-15_000), end);
        assert!(hours.len() <= 1, "they are of one hour");
        Took::Ranges(hours.into_iter().flat_map(|(_, ranges)| ranges).collect())
    }
}

fn shown() -> impl Strategy<Value = Shown> {
    let micros = prop_oneof![0..20u64, 1_000..400_000u64, 0..86_400_000_000u64];
    let bounds = prop_oneof![
        Just(vec![5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000]),
        Just(vec![100_000, 300_000]),
        Just(Vec::new()),
        proptest::collection::btree_set(micros.clone(), 0..20).prop_map(|bounds| bounds.into_iter().collect()),
    ];
    (0..28 * 24i64, bounds, vec(micros, 0..12)).prop_map(|(hours, bounds, micros)| Shown { hours, bounds, micros })
}

fn ring_of(pages: &[Shown]) -> Ring {
    let mut ring = Ring::new(Precision::Bounds);
    let oldest = Horizon::DAYS_28.first_minute(NOW.minute());
    for shown in pages {
        ring.add(Slot::Hour(NOW.minute().hour() - shown.hours), &shown.took(), oldest, NOW);
    }
    ring
}

/// Asserts that a spread is that of the observations of a stretch of hours: the bounds hold the observation that has
/// the rank, and they are those that its targets' buckets allow, no wider.
#[track_caller]
fn check_bounds(spread: &Spread, pages: &[Shown]) {
    let hour = |at: Timestamp| at.minute().hour();
    let end = if spread.to == NOW { hour(NOW) + 1 } else { hour(spread.to) };
    let inside = pages.iter().filter(|shown| (hour(spread.from)..end).contains(&(hour(NOW) - shown.hours)));
    let (mut micros, mut lower, mut upper) = (Vec::new(), Vec::new(), Vec::new());
    for (shown, one) in inside.flat_map(|shown| shown.micros.iter().map(move |one| (shown, *one))) {
        micros.push(one);
        lower.push(shown.range_of(one).above);
        upper.push(shown.range_of(one).within);
    }
    micros.sort_unstable();
    lower.sort_unstable();
    upper.sort_unstable();
    assert_eq!((spread.requests, spread.precision), (micros.len() as u64, Precision::Bounds));
    let Some(Percentiles::Bounds(found)) = spread.at else { return assert!(micros.is_empty()) };
    for ((name, percentile), range) in PERCENTILES.iter().zip(found) {
        let place = percentile.needed_of(spread.requests) as usize - 1;
        let exact = Bound::of_micros(micros[place]);
        assert!(range.above <= exact && exact <= range.within, "{name}: {range:?} for {exact}");
        assert_eq!((range.above, range.within), (lower[place], upper[place]), "{name}");
    }
}

proptest! {
    #[test]
    fn the_bounds_hold_the_observation_of_the_rank_whatever_the_targets_chose(
        pages in vec(shown(), 0..60),
        minutes in 1..40_320u32,
    ) {
        let ring = ring_of(&pages);
        let window = Horizon::of_minutes(minutes);
        let spread = ring.spread(window, NOW, NOW);
        check_bounds(&spread, &pages);
        let mut folded = ring.clone();
        folded.fold(fine_from(NOW));
        prop_assert_eq!(folded.spread(window, NOW, NOW), spread);
    }

    #[test]
    fn too_many_ranges_are_joined_to_wider_ones_and_never_to_wrong_ones(
        pages in vec((vec(1..1_000_000u64, 1..400), vec(0..1_000_000u64, 1..40)), 1..24),
    ) {
        let shown = |(mut bounds, micros): (Vec<u64>, Vec<u64>)| {
            bounds.sort_unstable();
            bounds.dedup();
            Shown { hours: 0, bounds, micros }
        };
        let pages: Vec<Shown> = pages.into_iter().map(shown).collect();
        let ring = ring_of(&pages);
        prop_assert!(ring.bytes() <= MOST_RANGES * size_of::<(Range, i64)>());
        let mut micros: Vec<u64> = pages.iter().flat_map(|shown| shown.micros.clone()).collect();
        micros.sort_unstable();
        let spread = ring.spread(Horizon::DAYS_28, NOW, NOW);
        prop_assert_eq!(spread.requests, micros.len() as u64);
        let Some(Percentiles::Bounds(found)) = spread.at else { panic!("there are requests") };
        for ((_, percentile), range) in PERCENTILES.iter().zip(found) {
            let exact = Bound::of_micros(micros[percentile.needed_of(spread.requests) as usize - 1]);
            prop_assert!(range.above <= exact && exact <= range.within, "{range:?} for {exact}");
        }
    }
}

/// Buckets as (bound, increment up to it).
fn buckets(cumulative: &[(f64, u64)]) -> Buckets {
    let bounds: Arc<[Bound]> = cumulative.iter().map(|(bound, _)| Bound::new(*bound).unwrap()).collect();
    Buckets { bounds, counts: cumulative.iter().map(|(_, count)| *count).collect() }
}

fn took(cumulative: &[(f64, u64)]) -> Took {
    let hours = ranges_by_hour(&buckets(cumulative), NOW, NOW.plus_millis(15_000));
    Took::Ranges(hours.into_iter().flat_map(|(_, ranges)| ranges).collect())
}

/// Asserts the bounds of p50 and p99.9 of the sum of increments.
#[track_caller]
fn check_sum(increments: &[&[(f64, u64)]], expected: Option<[(f64, f64); 2]>) {
    let mut ring = Ring::new(Precision::Bounds);
    let oldest = Horizon::DAYS_28.first_minute(NOW.minute());
    for increment in increments {
        ring.add(Slot::Hour(NOW.minute().hour()), &took(increment), oldest, NOW);
    }
    let at = ring.spread(Horizon::of_minutes(60), NOW, NOW).at;
    let found = at.map(|at| match at {
        Percentiles::Bounds([p50, .., p999]) => [p50, p999].map(|range| (range.above.value(), range.within.value())),
        Percentiles::Micros(_) => panic!("a histogram has bounds"),
    });
    assert_eq!(found, expected);
}

const INF: f64 = f64::INFINITY;

#[test]
fn what_is_beyond_every_bound_has_no_upper_one() {
    check_sum(&[&[(0.1, 9), (0.5, 9), (INF, 10)]], Some([(0.0, 0.1), (0.5, INF)]));
    check_sum(&[&[(INF, 10)]], Some([(0.0, INF), (0.0, INF)]));
    check_sum(&[&[(0.1, 0), (INF, 0)]], None);
    check_sum(&[], None);
}

#[test]
fn only_a_bound_below_zero_lets_durations_be_negative() {
    check_sum(&[&[(-1.0, 1), (0.0, 1), (INF, 1)]], Some([(-INF, -1.0), (-INF, -1.0)]));
    check_sum(&[&[(0.0, 1), (INF, 2)]], Some([(0.0, 0.0), (0.0, INF)]));
}

#[test]
fn a_page_that_was_written_during_an_observation_is_set_right_by_the_next_one() {
    let torn: &[(f64, u64)] = &[(0.1, 3), (0.5, 2), (INF, 5)];
    // Until then the bounds are those of all that the page may mean.
    check_sum(&[torn], Some([(0.0, INF), (0.5, INF)]));
    check_sum(&[torn, &[(0.1, 0), (0.5, 1), (INF, 1)]], Some([(0.0, 0.1), (0.5, INF)]));
}

#[test]
fn increments_of_two_hours_are_divided_exactly_in_sum() {
    let (from, to) = (NOW.plus_millis(-3 * HOUR_MS), NOW);
    let hours = ranges_by_hour(&buckets(&[(0.1, 7), (0.5, 6), (INF, 1_000)]), from, to);
    assert_eq!(hours.iter().map(|(hour, _)| NOW.minute().hour() - hour).collect::<Vec<_>>(), [3, 2, 1, 0]);
    let took = hours.into_iter().fold(Took::default(), |sum, (_, ranges)| sum.plus(&Took::Ranges(ranges)));
    assert_eq!(took.to_ranges().iter().map(|(_, count)| *count).collect::<Vec<_>>(), [7, -1, 994]);
}

#[test]
fn durations_of_both_kinds_are_told_between_bounds() {
    // No two sources share a series, so that this takes a store that somebody else has written.
    let both = Took::Cells(vec![(bucket_of(7), 1), (bucket_of(90_000), 1)]).plus(&took(&[(0.1, 1), (INF, 1)]));
    let mut ring = Ring::new(Precision::Bounds);
    ring.add(Slot::Hour(NOW.minute().hour()), &both, NOW.minute(), NOW);
    let spread = ring.spread(Horizon::of_minutes(1), NOW, NOW);
    let Some(Percentiles::Bounds([p50, ..])) = spread.at else { panic!("it has bounds") };
    assert_eq!((spread.requests, p50.above), (3, Bound::of_micros(6)));
    assert!(p50.within >= Bound::of_micros(90_000) && p50.within < Bound::of_micros(91_000), "{p50:?}");
}
