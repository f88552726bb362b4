//! Alert rules: how fast a budget may burn before somebody is told.
//!
//! After the Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts": a rule looks at a long
//! window, which says that the budget is really being spent, and a short one, which says that it still is. Its factor
//! is the burn rate that spends a share of the budget in the long window, so that it scales with the SLO's own window:
//! 2% in an hour is 14.4 over 30 days and 13.44 over 28.

use std::cmp::Ordering;
use std::fmt;

use crate::time::Horizon;

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Somebody should look at it in working hours.
    Ticket,
    /// Somebody should look at it now.
    Page,
}

impl Severity {
    /// Both, the more urgent one first.
    pub const ALL: [Self; 2] = [Self::Page, Self::Ticket];

    /// Its name in specs, answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// A burn rate as a fraction in lowest terms, above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    numerator: u64,
    denominator: u64,
}

impl Factor {
    /// The fraction; `None` when either part is 0.
    pub fn new(numerator: u64, denominator: u64) -> Option<Self> {
        let common = gcd(numerator, denominator);
        let is_positive = numerator > 0 && denominator > 0;
        is_positive.then(|| Self { numerator: numerator / common, denominator: denominator / common })
    }

    /// Numerator and denominator.
    pub const fn parts(self) -> (u64, u64) {
        (self.numerator, self.denominator)
    }

    /// The double nearest to it.
    pub fn value(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

impl PartialOrd for Factor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Factor {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        product(self.numerator, other.denominator).cmp(&product(other.numerator, self.denominator))
    }
}

/// The double nearest to it: `13.44`.
impl fmt::Display for Factor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.value())
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// `[[alert]]`: tell somebody while a budget burns at least this fast over both windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertRule {
    /// How urgent it is.
    pub severity: Severity,
    /// Says that the budget is really being spent.
    pub long: Horizon,
    /// Says that it still is; shorter than `long`.
    pub short: Horizon,
    /// The least burn rate that counts, in both windows.
    pub factor: Factor,
    /// For how long it must have burnt like that, in milliseconds; until then the alert is pending.
    pub hold_ms: i64,
}

/// A rule of the workbook: how much of the budget may be spent in the long window, in percent.
struct Recommended {
    severity: Severity,
    long: Horizon,
    short: Horizon,
    /// `None` for the last rule, whose factor is 1 whatever the window: the budget will just not last.
    budget_percent: Option<u64>,
}

/// Table 5-8 of the workbook.
const RECOMMENDED: [Recommended; 4] = [
    recommended(Severity::Page, 60, 5, Some(2)),
    recommended(Severity::Page, 6 * 60, 30, Some(5)),
    recommended(Severity::Ticket, 24 * 60, 2 * 60, Some(10)),
    recommended(Severity::Ticket, 3 * 24 * 60, 6 * 60, None),
];

const fn recommended(severity: Severity, long: u32, short: u32, budget_percent: Option<u64>) -> Recommended {
    Recommended { severity, long: Horizon::of_minutes(long), short: Horizon::of_minutes(short), budget_percent }
}

impl AlertRule {
    /// The rules of an SLO that has none of its own: those of the workbook, scaled to its window.
    ///
    /// A rule that makes no sense there is left out: one whose long window is not shorter than the SLO's, or one that
    /// would fire although the budget lasts, which happens to windows below ten days.
    pub fn recommended(window: Horizon) -> Vec<Self> {
        let rule = |rule: &Recommended| {
            let factor = match rule.budget_percent {
                Some(percent) => Self::spending(percent, 100, rule.long, window),
                None => Factor::new(1, 1),
            };
            let factor = factor.filter(|factor| factor.numerator >= factor.denominator)?;
            let Recommended { severity, long, short, .. } = *rule;
            (long < window).then_some(Self { severity, long, short, factor, hold_ms: 0 })
        };
        RECOMMENDED.iter().filter_map(rule).collect()
    }

    /// The burn rate that spends `share / whole` of the budget of `window` in `long`.
    pub fn spending(share: u64, whole: u64, long: Horizon, window: Horizon) -> Option<Factor> {
        let numerator = share.checked_mul(window.minutes().unsigned_abs())?;
        Factor::new(numerator, whole.checked_mul(long.minutes().unsigned_abs())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(days: u32) -> String {
        let rules = AlertRule::recommended(Horizon::of_minutes(days * 24 * 60));
        let shown = rules
            .iter()
            .map(|rule| format!("{} {} over {} and {}", rule.severity.name(), rule.factor, rule.long, rule.short));
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_workbooks_rules_scale_exactly_with_the_window() {
        assert_eq!(
            factors(28),
            "page 13.44 over 1h and 5m, page 5.6 over 6h and 30m, ticket 2.8 over 1d and 2h, ticket 1 over 3d and 6h"
        );
        assert_eq!(
            factors(30),
            "page 14.4 over 1h and 5m, page 6 over 6h and 30m, ticket 3 over 1d and 2h, ticket 1 over 3d and 6h"
        );
    }

    #[test]
    fn rules_that_would_fire_although_the_budget_lasts_are_left_out() {
        assert_eq!(factors(7), "page 3.36 over 1h and 5m, page 1.4 over 6h and 30m, ticket 1 over 3d and 6h");
        assert_eq!(factors(3), "page 1.44 over 1h and 5m");
        assert_eq!(factors(1), "");
    }
}
