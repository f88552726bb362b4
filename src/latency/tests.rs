mod bounds;

use super::*;
use crate::counts::bucket_of;
use proptest::prelude::*;

/// 2026-11-20T10:12:30Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_169_550_000);
const HOUR_MS: i64 = 3_600_000;

/// Requests as (hours before the hour of now, microseconds), in this order.
fn ring(requests: &[(i64, u64)]) -> Ring {
    let mut ring = Ring::default();
    let oldest = Horizon::DAYS_28.first_minute(NOW.minute());
    for (hours, us) in requests {
        ring.add(Slot::Hour(NOW.minute().hour() - hours), &Took::Cells(vec![(bucket_of(*us), 1)]), oldest, NOW);
    }
    ring
}

/// Asserts that a spread is that of the durations of a stretch of hours, all of them kept.
#[track_caller]
fn check(spread: &Spread, requests: &[(i64, u64)]) {
    let hour = |at: Timestamp| at.minute().hour();
    let end = if spread.to == NOW { hour(NOW) + 1 } else { hour(spread.to) };
    let inside = requests.iter().filter(|(hours, _)| (hour(spread.from)..end).contains(&(hour(NOW) - hours)));
    let mut durations: Vec<u64> = inside.map(|(_, us)| *us).collect();
    durations.sort_unstable();
    assert_eq!(spread.requests, durations.len() as u64);
    assert_eq!(spread.at.is_none(), durations.is_empty());
    let Some(Percentiles::Micros(at_us)) = spread.at else { return };
    for ((name, percentile), found) in PERCENTILES.iter().zip(at_us) {
        let exact = durations[percentile.needed_of(spread.requests) as usize - 1];
        let most = exact as f64 * (1.0 + spread.precision.relative_error().unwrap());
        assert!(exact <= found && found as f64 <= most, "{name}: {found} for {exact}");
    }
}

fn durations() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 1_000..400_000u64, Just(86_400_000_000), 0..86_400_000_000u64]
}

proptest! {
    #[test]
    fn percentiles_are_within_the_stated_error(
        requests in proptest::collection::vec((0..28 * 24i64, durations()), 0..400),
        minutes in 1..40_320u32,
        ago in prop_oneof![Just(0), 0..28 * 24i64],
    ) {
        let ring = ring(&requests);
        let t = NOW.plus_millis(-ago * HOUR_MS);
        let window = Horizon::of_minutes(minutes);
        let spread = ring.spread(window, t, NOW);
        check(&spread, &requests);
        let first = window.first_minute(t.minute()).start();
        prop_assert!(spread.from <= first && spread.to >= t);
        let early_ms = first.millis() - spread.from.millis();
        let fine = first.minute().hour() >= fine_from(NOW);
        prop_assert!(early_ms < if fine { HOUR_MS } else { 24 * HOUR_MS }, "{} for {first}", spread.from);
    }

    #[test]
    fn folding_and_the_order_of_arrival_change_no_answer(
        requests in proptest::collection::vec((0..28 * 24i64, durations()), 0..600),
        minutes in 1..40_320u32,
    ) {
        let mut backwards = requests.clone();
        backwards.reverse();
        let mut folded = ring(&requests);
        folded.fold(fine_from(NOW));
        let window = Horizon::of_minutes(minutes);
        let spread = ring(&requests).spread(window, NOW, NOW);
        prop_assert_eq!(ring(&backwards).spread(window, NOW, NOW), spread);
        prop_assert_eq!(folded.spread(window, NOW, NOW), spread);
    }
}

#[test]
fn no_requests_have_no_percentiles() {
    let spread = Ring::default().spread(Horizon::DAYS_28, NOW, NOW);
    assert_eq!((spread.requests, spread.at), (0, None));
}

#[test]
fn a_window_covers_whole_hours_of_the_last_days_and_whole_days_before() {
    let ring = ring(&[(0, 1), (30 * 24, 1)]);
    for (minutes, from) in [
        (1, "2026-11-20T10:00:00Z"),
        (60, "2026-11-20T09:00:00Z"),
        (24 * 60, "2026-11-19T10:00:00Z"),
        (82 * 60, "2026-11-17T00:00:00Z"),
        (83 * 60, "2026-11-16T00:00:00Z"),
        (28 * 24 * 60, "2026-10-23T00:00:00Z"),
    ] {
        let spread = ring.spread(Horizon::of_minutes(minutes), NOW, NOW);
        assert_eq!((spread.from.to_string(), spread.to), (from.to_owned(), NOW), "{minutes}");
    }
    let past = ring.spread(Horizon::of_minutes(1), NOW.plus_millis(-HOUR_MS), NOW);
    assert_eq!(
        (past.from.to_string(), past.to.to_string()),
        ("2026-11-20T09:00:00Z".into(), "2026-11-20T10:00:00Z".into())
    );
}

#[test]
fn hours_fold_so_that_a_month_is_a_few_slots() {
    let every_hour: Vec<(i64, u64)> = (0..28 * 24).map(|hours| (hours, 1_000)).collect();
    let ring = ring(&every_hour);
    assert!(ring.hours.len() <= MOST_HOURS && ring.hours.len() + ring.days.len() < 180, "{}", ring.hours.len());
    check(&ring.spread(Horizon::DAYS_28, NOW, NOW), &every_hour);
}

#[test]
fn what_is_older_than_kept_is_dropped_by_days() {
    let mut ring = ring(&[(24, 5), (0, 7)]);
    ring.forget_before(NOW.minute().plus(-12 * 60));
    // Yesterday evening is still kept, and with it the whole day.
    assert_eq!(ring.spread(Horizon::DAYS_28, NOW, NOW).requests, 2);
    ring.forget_before(NOW.minute());
    assert_eq!(ring.spread(Horizon::DAYS_28, NOW, NOW).requests, 1);
    ring.add(Slot::Hour(NOW.minute().hour() - 24), &Took::Cells(vec![(3, 1)]), NOW.minute(), NOW);
    assert_eq!(ring.spread(Horizon::DAYS_28, NOW, NOW).requests, 1);
}

#[test]
fn c11_a_clock_that_leaps_ahead_and_comes_back_loses_nothing() {
    let ring = ring(&[(3, 5)]);
    let before = ring.spread(Horizon::DAYS_28, NOW, NOW);
    let leap = NOW.plus_millis(10 * 365 * 24 * HOUR_MS);
    assert_eq!(ring.spread(Horizon::DAYS_28, leap, leap).requests, 0);
    assert_eq!(ring.spread(Horizon::DAYS_28, NOW, NOW), before);
}

#[test]
fn a_busy_month_takes_little_memory() {
    // Some 200 buckets an hour, as a log in whole milliseconds fills them at many thousand requests.
    let mut ring = Ring::default();
    let mut cells: Cells = (0..250u64).map(|ms| (bucket_of(ms * 1_000), 1 + ms * 7 % 90)).collect();
    cells.dedup_by_key(|cell| cell.0);
    let oldest = Horizon::DAYS_28.first_minute(NOW.minute());
    for hours in (0..28 * 24).rev() {
        ring.add(Slot::Hour(NOW.minute().hour() - hours), &Took::Cells(cells.clone()), oldest, NOW);
    }
    assert!(ring.bytes() < 80_000, "{}", ring.bytes());
}
