//! Alerts: is a budget burning so fast that somebody must be told?
//!
//! Multiwindow, multi-burn-rate alerts after the Site Reliability Workbook, chapter 5. A rule burns while the burn rate
//! of both its windows is at least its factor; it is pending until it has burnt for as long as the rule asks, then it
//! fires, and it is resolved when it has stopped.
//!
//! - Whether a rule burns is an integer comparison of counts, as everything that decides. Windows without events do not
//!   burn; whoever asks gives the windows as they were when they last saw some, as far back as the source may be
//!   behind, so that an alert does not go off because a minute has just begun.
//! - A [`Course`] is a function of counts: [`Course::of_past`] finds it for any instant from the minutes before. What
//!   is remembered from one decision to the next only spares that work, so that a restart forgets no alert that fires.
//! - Alerts inform; a gate freezes for one only where its policy says so.
//!
//! It sends nothing to anybody: what has fired is in the answers and the metrics, and the same rules can be exported
//! for Prometheus.

use crate::budget::budget_share;
use crate::spec::{AlertRule, Objective};
use crate::tally::Tally;
use crate::time::{Minute, Timestamp};

/// For how long a resolved alert is shown, in milliseconds: a day.
const SHOWN_MS: i64 = 86_400_000;
/// How far back an alert is looked for that has ended, in minutes. What ended earlier is only known to a server that
/// was there.
const LOOKED_BACK: i64 = 60;

/// What has become of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Course {
    /// It does not burn, and has not for a while.
    #[default]
    Quiet,
    /// It burns, but not for as long as the rule asks.
    Pending {
        /// Since when.
        since: Timestamp,
    },
    /// It burns.
    Firing {
        /// Since when.
        since: Timestamp,
        /// When that had lasted for as long as the rule asks.
        fired: Timestamp,
    },
    /// It has fired and does not burn any more.
    Resolved {
        /// Since when it burnt.
        since: Timestamp,
        /// When it fired.
        fired: Timestamp,
        /// When it stopped burning.
        resolved: Timestamp,
    },
}

impl Course {
    /// Its name in answers.
    pub fn state(self) -> &'static str {
        match self {
            Self::Quiet => "inactive",
            Self::Pending { .. } => "pending",
            Self::Firing { .. } => "firing",
            Self::Resolved { .. } => "resolved",
        }
    }

    /// Whether it fires.
    pub fn is_firing(self) -> bool {
        matches!(self, Self::Firing { .. })
    }

    /// Since when it burns, or burnt.
    pub fn since(self) -> Option<Timestamp> {
        match self {
            Self::Quiet => None,
            Self::Pending { since } | Self::Firing { since, .. } | Self::Resolved { since, .. } => Some(since),
        }
    }

    /// When it fired.
    pub fn fired(self) -> Option<Timestamp> {
        match self {
            Self::Quiet | Self::Pending { .. } => None,
            Self::Firing { fired, .. } | Self::Resolved { fired, .. } => Some(fired),
        }
    }

    /// When it stopped burning.
    pub fn resolved(self) -> Option<Timestamp> {
        match self {
            Self::Resolved { resolved, .. } => Some(resolved),
            _ => None,
        }
    }

    /// Its course at `now`, when it burns or not at that time, and has come to this before.
    pub fn next(self, rule: &AlertRule, burns: bool, now: Timestamp) -> Self {
        match (self, burns) {
            (Self::Quiet | Self::Resolved { .. }, true) => Self::burning_since(rule, now, now),
            // A clock that was put back must not make an alert wait for the time that it had shown.
            (Self::Pending { since }, true) => Self::burning_since(rule, since.min(now), now),
            (Self::Firing { since, fired }, false) => Self::Resolved { since, fired, resolved: now },
            (Self::Pending { .. }, false) => Self::Quiet,
            (Self::Resolved { resolved, .. }, false) if since_ms(resolved, now) > SHOWN_MS => Self::Quiet,
            (course, _) => course,
        }
    }

    /// Its course at `now` by the counts alone. `burns` tells of any minute not before `oldest` whether the rule burnt
    /// with its windows ending there; it is asked of one minute after the other, backwards from now.
    pub fn of_past(rule: &AlertRule, now: Timestamp, oldest: Minute, mut burns: impl FnMut(Minute) -> bool) -> Self {
        let current = now.minute();
        let earliest = current.plus(-LOOKED_BACK).max(oldest).min(current);
        let mut last = current;
        while last > earliest && !burns(last) {
            last = last.plus(-1);
        }
        if last < earliest || !burns(last) {
            return Self::Quiet;
        }
        let mut first = last;
        while first > oldest && burns(first.plus(-1)) {
            first = first.plus(-1);
        }
        let (since, ended) = (first.start(), last.plus(1).start());
        match last == current {
            true => Self::burning_since(rule, since, now),
            // It fired if it still burnt when it had burnt for long enough.
            false => match Self::burning_since(rule, since, last.start()) {
                Self::Firing { since, fired } => Self::Resolved { since, fired, resolved: ended },
                _ => Self::Quiet,
            },
        }
    }

    fn burning_since(rule: &AlertRule, since: Timestamp, now: Timestamp) -> Self {
        match since_ms(since, now) >= rule.hold_ms {
            true => Self::Firing { since, fired: since.plus_millis(rule.hold_ms) },
            false => Self::Pending { since },
        }
    }
}

fn since_ms(then: Timestamp, now: Timestamp) -> i64 {
    now.millis().saturating_sub(then.millis())
}

/// How an SLO stands towards one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertStanding {
    /// The rule.
    pub rule: AlertRule,
    /// What happened in its long window.
    pub long: Tally,
    /// What happened in its short window.
    pub short: Tally,
    /// What has become of it.
    pub course: Course,
}

/// The most urgent of the alerts that fire, and of those the fastest burning rule.
pub fn most_urgent(alerts: &[AlertStanding]) -> Option<AlertStanding> {
    let urgency = |alert: &&AlertStanding| (alert.rule.severity, alert.rule.factor);
    alerts.iter().filter(|alert| alert.course.is_firing()).max_by_key(urgency).copied()
}

/// Whether what happened in both windows burns the budget at least as fast as the rule says.
pub fn burns(rule: &AlertRule, objective: Objective, long: Tally, short: Tally) -> bool {
    let threshold = Threshold::new(rule, objective);
    [long, short].into_iter().all(|tally| threshold.is_reached(tally))
}

/// The burn rate from which a rule burns: bad / total / (1 - objective) >= factor, multiplied out.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    /// What a bad event spends of the budget.
    spends: u128,
    /// What every event adds to a budget that is spent as fast as the rule says, in the same unit.
    allows: u128,
}

impl Threshold {
    /// That of a rule about an SLO with this objective.
    pub fn new(rule: &AlertRule, objective: Objective) -> Self {
        let (share, whole) = budget_share(objective);
        let (numerator, denominator) = rule.factor.parts();
        // The parts of a share are at most a billion, so that neither product overflows.
        Self { spends: whole * u128::from(denominator), allows: share * u128::from(numerator) }
    }

    /// Whether what happened in one window burns as fast as that. Nothing bad never does.
    pub fn is_reached(self, tally: Tally) -> bool {
        if tally.bad == 0 {
            return false;
        }
        let (bad, total) = (u128::from(tally.bad), u128::from(tally.good) + u128::from(tally.bad));
        match (bad.checked_mul(self.spends), total.checked_mul(self.allows)) {
            (Some(spent), Some(allowed)) => spent >= allowed,
            // Beyond 2^53 events in a window the comparison need not be exact.
            _ => bad as f64 * self.spends as f64 >= total as f64 * self.allows as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Factor, Severity};
    use crate::time::Horizon;
    use std::collections::BTreeSet;

    fn rule(hold_minutes: i64) -> AlertRule {
        AlertRule {
            severity: Severity::Page,
            long: Horizon::of_minutes(60),
            short: Horizon::of_minutes(5),
            factor: Factor::new(1_344, 100).unwrap(),
            hold_ms: hold_minutes * 60_000,
        }
    }

    fn minute(number: i64) -> Timestamp {
        Minute::from_number(1_000 + number).start()
    }

    #[test]
    fn one_event_decides_whether_a_rule_burns() {
        // 13.44 times 0.05% of 1,000,000 events are 6,720.
        let objective = Objective::new(999_500_000).unwrap();
        let tally = |bad: u64| Tally::new(1_000_000 - bad, bad);
        for (long, short, expected) in
            [(6_720, 6_720, true), (6_719, 6_720, false), (6_720, 6_719, false), (1_000_000, 1_000_000, true)]
        {
            assert_eq!(burns(&rule(0), objective, tally(long), tally(short)), expected, "{long} {short}");
        }
        assert!(!burns(&rule(0), objective, tally(1_000_000), Tally::ZERO), "no events burn nothing");
        assert!(!burns(&rule(0), objective, Tally::ZERO, Tally::ZERO));
        let vast = Tally::new(0, u64::MAX);
        assert!(burns(&rule(0), objective, vast, vast));
    }

    #[test]
    fn a_factor_that_everything_bad_just_reaches_fires() {
        let most = AlertRule { factor: Factor::new(10, 1).unwrap(), ..rule(0) };
        let objective = Objective::new(900_000_000).unwrap();
        assert!(burns(&most, objective, Tally::new(0, 7), Tally::new(0, 1)));
        assert!(!burns(&most, objective, Tally::new(1, 6), Tally::new(0, 1)));
    }

    #[test]
    fn an_alert_is_pending_then_fires_then_is_resolved_and_then_forgotten() {
        let rule = rule(2);
        let mut course = Course::Quiet;
        let mut shown = Vec::new();
        for (at, burns) in [(0, false), (1, true), (2, true), (3, true), (4, false), (5, false)] {
            course = course.next(&rule, burns, minute(at));
            shown.push(course.state());
        }
        assert_eq!(shown, ["inactive", "pending", "pending", "firing", "resolved", "resolved"]);
        assert_eq!(
            (course.since(), course.fired(), course.resolved()),
            (Some(minute(1)), Some(minute(3)), Some(minute(4)))
        );
        assert_eq!(course.next(&rule, false, minute(4 + 24 * 60)), course);
        assert_eq!(course.next(&rule, false, minute(5 + 24 * 60)), Course::Quiet);
        assert_eq!(course.next(&rule, true, minute(9)), Course::Pending { since: minute(9) }, "it starts anew");
        let pending = Course::Pending { since: minute(1) };
        assert_eq!(pending.next(&rule, false, minute(2)), Course::Quiet, "what never fired is not resolved");
    }

    #[test]
    fn c10_a_clock_put_back_neither_fires_nor_resolves() {
        let rule = rule(2);
        let pending = Course::Pending { since: minute(100) };
        assert_eq!(pending.next(&rule, true, minute(40)), Course::Pending { since: minute(40) });
        let firing = Course::Firing { since: minute(100), fired: minute(102) };
        assert_eq!(firing.next(&rule, true, minute(40)), firing);
    }

    /// The course by the past against the same minutes one by one.
    #[test]
    fn the_past_tells_what_whoever_was_there_remembers() {
        for hold in [0, 1, 3] {
            for pattern in 0_u32..256 {
                let burning: BTreeSet<i64> = (0..8).filter(|bit| pattern >> bit & 1 == 1).collect();
                let burns = |minute: Minute| burning.contains(&(minute.number() - 1_000));
                let mut remembered = Course::Quiet;
                for number in 0..=9 {
                    remembered = remembered.next(&rule(hold), burns(minute(number).minute()), minute(number));
                }
                let found = Course::of_past(&rule(hold), minute(9), Minute::from_number(1_000), burns);
                // The past shows the last run of minutes only; an earlier one that fired is gone with the memory.
                let last_run = (0..8).rev().find(|bit| burning.contains(bit));
                let is_same_run = remembered.resolved().map(|at| at.minute().number() - 1_001) == last_run;
                let expected = if is_same_run { remembered } else { Course::Quiet };
                assert_eq!(found, expected, "{pattern:b} {hold}");
            }
        }
    }

    #[test]
    fn an_alert_that_fires_is_found_by_the_past_however_long_it_has() {
        let burns = |minute: Minute| minute.number() >= 100;
        let now = Minute::from_number(5_000).start().plus_millis(30_000);
        let since = Minute::from_number(100).start();
        let found = Course::of_past(&rule(2), now, Minute::from_number(0), burns);
        assert_eq!(found, Course::Firing { since, fired: since.plus_millis(120_000) });
        let found = Course::of_past(&rule(2), now, Minute::from_number(4_999), burns);
        assert_eq!(found, Course::Pending { since: Minute::from_number(4_999).start() }, "only what is kept is known");
    }
}
