//! Budgets: what a tally means against a promise.
//!
//! An objective of 99.95% allows 0.05% of the events to be bad; that share is the error budget. This room holds every
//! formula about it, after the Site Reliability Workbook (chapter 2, "Implementing SLOs", and chapter 5, "Alerting on
//! SLOs"):
//!
//! - allowed = (1 - objective) * total; spent = bad; remaining = 1 - bad / allowed.
//! - burn rate = (bad / total) / (1 - objective); 1 spends exactly the whole budget in the SLO's window.
//! - budget as time = remaining * (1 - objective) * window.
//!
//! Invariants:
//! - Whatever decides something is an integer comparison ([`Standing::state`], [`Standing::compare_remaining`]); floats
//!   are for display alone, and each is one division of two integers, so that it is rounded once.
//! - Nothing happened is not a ratio: compliance and burn rate are `None`, and the budget is whole.
//!
//! The kinds of SLI that judge slices of time rather than requests are in [`SliceRule`]; their slices are tallied, and
//! from there on they are treated like any other event.

mod slices;

use std::cmp::Ordering;

use crate::spec::{AlertRule, BILLION, Objective};
use crate::tally::Tally;
use crate::time::Horizon;

pub use slices::SliceRule;

/// The windows over which every burn rate is given, shortest first: the long and short windows of the workbook's
/// multiwindow alerts, and the default window.
pub const BURN_WINDOWS: [Horizon; 8] = [
    Horizon::of_minutes(5),
    Horizon::of_minutes(30),
    Horizon::of_minutes(60),
    Horizon::of_minutes(2 * 60),
    Horizon::of_minutes(6 * 60),
    Horizon::of_minutes(24 * 60),
    Horizon::of_minutes(3 * 24 * 60),
    Horizon::DAYS_28,
];

/// The burn windows of something promised over `own` that alerts of these windows watch, shortest first:
/// [`BURN_WINDOWS`] and all of them.
pub fn burn_windows(own: Horizon, alerts: &[AlertRule]) -> Vec<Horizon> {
    let mut windows = BURN_WINDOWS.to_vec();
    windows.push(own);
    windows.extend(alerts.iter().flat_map(|rule| [rule.long, rule.short]));
    windows.sort();
    windows.dedup();
    windows
}

/// Whether a promise is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// compliance >= objective.
    Met,
    /// compliance < objective.
    Breached,
    /// Nothing happened.
    NoData,
}

impl State {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Breached => "breached",
            Self::NoData => "no_data",
        }
    }
}

/// What happened in a window, against what was promised for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What happened.
    pub tally: Tally,
    /// The promise.
    pub objective: Objective,
    /// Over how long.
    pub window: Horizon,
}

impl Standing {
    /// Whether the promise is kept, exactly.
    pub fn state(self) -> State {
        if self.tally.is_empty() {
            return State::NoData;
        }
        match self.compare_remaining(0) {
            Ordering::Less => State::Breached,
            Ordering::Equal | Ordering::Greater => State::Met,
        }
    }

    /// How many bad events the promise allows among these; a fraction, for display.
    pub fn allowed(self) -> f64 {
        let (share, whole) = budget_share(self.objective);
        ratio((share * total(self.tally)) as i128, whole)
    }

    /// The bad events.
    pub fn spent(self) -> u64 {
        self.tally.bad
    }

    /// The part of the budget that is left: 1 when nothing happened, negative when overspent.
    pub fn remaining(self) -> f64 {
        if self.tally.is_empty() {
            return 1.0;
        }
        ratio(self.unspent(), budget_share(self.objective).0 * total(self.tally))
    }

    /// The budget that is left as seconds of full outage; negative when overspent.
    pub fn remaining_seconds(self) -> f64 {
        let (share, whole) = budget_share(self.objective);
        let seconds = self.window.seconds() as i128;
        match self.tally.is_empty() {
            true => ratio(share as i128 * seconds, whole),
            // remaining * (1 - objective) * window, where the share of the budget cancels out.
            false => match self.unspent().checked_mul(seconds) {
                Some(unspent) => ratio(unspent, whole * total(self.tally)),
                None => self.remaining() * ratio(share as i128 * seconds, whole),
            },
        }
    }

    /// How the part of the budget that is left compares with a threshold in billionths, exactly.
    pub fn compare_remaining(self, billionths: i64) -> Ordering {
        if self.tally.is_empty() {
            return i128::from(BILLION).cmp(&i128::from(billionths));
        }
        // 1 - bad / (budget * total) <> threshold, multiplied out: (1 - threshold) * budget * total <> bad, in
        // billionths of billionths. The right side is at most 2^124, so a left side beyond 2^127 is the greater one.
        let factor = (i128::from(BILLION) - i128::from(billionths)) * i128::from(self.objective.budget_billionths());
        let bad = i128::from(self.tally.bad) * i128::from(BILLION) * i128::from(BILLION);
        match factor.checked_mul(total(self.tally) as i128) {
            Some(left) => left.cmp(&bad),
            None => factor.cmp(&0),
        }
    }

    /// The part of the budget that is spent in whole percent, rounded down, so that 100 means all of it.
    pub fn spent_percent(self) -> u128 {
        let (share, whole) = budget_share(self.objective);
        (100 * whole * u128::from(self.tally.bad)).checked_div(share * total(self.tally)).unwrap_or(0)
    }

    /// allowed - spent, in the units in which a whole event counts as the denominator of the budget's share.
    fn unspent(self) -> i128 {
        let (share, whole) = budget_share(self.objective);
        (share * total(self.tally)) as i128 - (whole * u128::from(self.tally.bad)) as i128
    }
}

/// How many times faster than allowed the budget is being spent; `None` when nothing happened.
pub fn burn_rate(tally: Tally, objective: Objective) -> Option<f64> {
    let (share, whole) = budget_share(objective);
    (!tally.is_empty()).then(|| ratio((whole * u128::from(tally.bad)) as i128, share * total(tally)))
}

/// The error budget as a fraction in lowest terms: 99.95% leaves 1/2000. Both are at most a billion.
pub(crate) fn budget_share(objective: Objective) -> (u128, u128) {
    let budget = objective.budget_billionths();
    let common = gcd(budget, BILLION);
    (u128::from(budget / common), u128::from(BILLION / common))
}

/// The greatest common divisor; that of 0 and a number is the number.
pub(crate) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A fraction as the nearest double while both parts are below 2^53, and within two units of its last place beyond.
pub(crate) fn ratio(numerator: i128, denominator: u128) -> f64 {
    numerator as f64 / denominator as f64
}

/// All events, without the saturation of [`Tally::total`].
fn total(tally: Tally) -> u128 {
    u128::from(tally.good) + u128::from(tally.bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(objective_billionths: u64, good: u64, bad: u64) -> Standing {
        Standing {
            tally: Tally::new(good, bad),
            objective: Objective::new(objective_billionths).unwrap(),
            window: Horizon::DAYS_28,
        }
    }

    /// `(objective, good, bad)` against `(state, allowed, remaining, remaining seconds, burn rate)`.
    #[track_caller]
    fn check(given: (u64, u64, u64), expected: (State, f64, f64, f64, Option<f64>)) {
        let standing = standing(given.0, given.1, given.2);
        let burn = burn_rate(standing.tally, standing.objective);
        let found = (standing.state(), standing.allowed(), standing.remaining(), standing.remaining_seconds(), burn);
        assert_eq!(found, expected, "{given:?}");
    }

    #[test]
    fn the_contracts_example_comes_out_to_the_digit() {
        check((999_500_000, 1_999_200, 800), (State::Met, 1_000.0, 0.2, 241.92, Some(0.8)));
    }

    #[test]
    fn five_nines_over_thirty_days_is_26_seconds_of_outage() {
        let whole = Standing { window: Horizon::of_minutes(30 * 24 * 60), ..standing(999_990_000, 0, 0) };
        assert_eq!(whole.remaining_seconds(), 25.92);
        assert_eq!(Standing { tally: Tally::new(1, 0), ..whole }.remaining_seconds(), 25.92);
    }

    #[test]
    fn nothing_happened_is_no_data_with_a_whole_budget() {
        check((900_000_000, 0, 0), (State::NoData, 0.0, 1.0, 241_920.0, None));
        assert_eq!(standing(900_000_000, 0, 0).spent_percent(), 0);
    }

    #[test]
    fn nothing_good_is_overspent_not_undefined() {
        check((900_000_000, 0, 1), (State::Breached, 0.1, -9.0, -2_177_280.0, Some(10.0)));
    }

    #[test]
    fn g05_one_event_decides_at_the_boundary() {
        for (objective, total, allowed) in [
            (999_500_000, 2_000_000, 1_000),
            (999_990_000, 100_000, 1),
            (999_999_999, 1_000_000_000, 1),
            (1, 1_000_000_000, 999_999_999),
            (333_333_333, 1_000_000_000, 666_666_667),
            (900_000_000, 10, 1),
            (500_000_000, u64::MAX - 1, u64::MAX / 2),
        ] {
            for (bad, state, side) in [
                (allowed - 1, State::Met, Ordering::Greater),
                (allowed, State::Met, Ordering::Equal),
                (allowed + 1, State::Breached, Ordering::Less),
            ] {
                let standing = standing(objective, total - bad, bad);
                assert_eq!((standing.state(), standing.compare_remaining(0)), (state, side), "{standing:?}");
                // Below 2^53 the display agrees with the decision at the boundary itself.
                if total < 1 << 53 {
                    assert_eq!(standing.remaining().partial_cmp(&0.0), Some(side), "{standing:?}");
                    assert_eq!(standing.remaining_seconds().partial_cmp(&0.0), Some(side), "{standing:?}");
                    assert_eq!(standing.spent_percent() >= 100, side != Ordering::Greater, "{standing:?}");
                }
            }
        }
    }

    #[test]
    fn g05_thresholds_are_compared_exactly() {
        // Of 1,000 allowed bad events, 950 leave exactly 5%.
        for (bad, threshold, side) in [
            (949, 50_000_000, Ordering::Greater),
            (950, 50_000_000, Ordering::Equal),
            (951, 50_000_000, Ordering::Less),
            (2_000, -1_000_000_000, Ordering::Equal),
            (2_001, -1_000_000_000, Ordering::Less),
            (0, 1_000_000_000, Ordering::Equal),
            (0, 1_000_000_001, Ordering::Less),
            (1_000, i64::MIN, Ordering::Greater),
            (0, i64::MAX, Ordering::Less),
        ] {
            let standing = standing(999_500_000, 2_000_000 - bad, bad);
            assert_eq!(standing.compare_remaining(threshold), side, "{bad} against {threshold}");
        }
        assert_eq!(standing(1, 0, 0).compare_remaining(999_999_999), Ordering::Greater);
    }

    #[test]
    fn the_largest_counts_neither_panic_nor_change_sides() {
        for (good, bad) in [(u64::MAX, u64::MAX), (0, u64::MAX), (u64::MAX, 0), (u64::MAX, 1)] {
            for objective in [1, 500_000_000, 999_999_999] {
                let standing = standing(objective, good, bad);
                for threshold in [i64::MIN, -1, 0, 1, i64::MAX] {
                    let _ = standing.compare_remaining(threshold);
                }
                assert!(standing.remaining().is_finite() && standing.remaining_seconds().is_finite());
                assert!(standing.allowed().is_finite() && burn_rate(standing.tally, standing.objective).is_some());
                let _ = standing.spent_percent();
            }
        }
    }

    #[test]
    fn the_own_window_takes_its_place_among_the_burn_windows() {
        let names = |own: u32| {
            let windows = burn_windows(Horizon::of_minutes(own), &[]);
            windows.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(40_320), "5m 30m 1h 2h 6h 1d 3d 28d");
        assert_eq!(names(7 * 1_440), "5m 30m 1h 2h 6h 1d 3d 7d 28d");
        assert_eq!(names(90 * 1_440), "5m 30m 1h 2h 6h 1d 3d 28d 90d");
    }
}
