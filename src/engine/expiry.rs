//! Expiry: which minutes may be deleted, decided without hurry.
//!
//! A wall clock can be years wrong for an hour, and whatever is deleted in that hour is gone when it is put right.
//! Minutes are therefore deleted only when they are older than twice the longest window, and never more of them than a
//! day's in an hour of time that no clock can jump over: the caller says how much of that has passed. Time counts only
//! while there is something to delete, so that nothing is saved up for the moment in which a clock is wrong.

use crate::time::{Horizon, Minute, Timestamp};

/// At most this many minutes of counts are deleted at once, and in an hour.
const MINUTES_AN_HOUR: i64 = 24 * 60;
/// A step is at least this many minutes, so that deleting is not a part of every commit.
const STEP_MINUTES: i64 = 60;
const HOUR_MS: i64 = 3_600_000;

/// How far the deletion has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Minutes before this one are deleted.
    cut: Minute,
    /// What may still be deleted: minutes, multiplied by the milliseconds of an hour. `None` when there was nothing to
    /// delete.
    allowance: Option<i64>,
}

impl Expiry {
    /// Nothing before `earliest` is there to be deleted.
    pub fn from(earliest: Minute) -> Self {
        Self { cut: earliest, allowance: None }
    }

    /// Lets `elapsed_ms` of monotonic time pass, and returns the minute before which everything may now be deleted if
    /// that has moved.
    pub fn pass(&mut self, elapsed_ms: i64, now: Timestamp, longest: Horizon) -> Option<Minute> {
        let due = longest.first_minute(now.minute()).plus(-longest.minutes());
        if due <= self.cut {
            self.allowance = None;
            return None;
        }
        let earned = self.allowance.map_or(0, |_| elapsed_ms.max(0).saturating_mul(MINUTES_AN_HOUR));
        let allowance = self.allowance.unwrap_or(0).saturating_add(earned).min(MINUTES_AN_HOUR * HOUR_MS);
        let step = due.number().saturating_sub(self.cut.number()).min(allowance / HOUR_MS);
        if step < STEP_MINUTES {
            self.allowance = Some(allowance);
            return None;
        }
        self.allowance = Some(allowance - step * HOUR_MS);
        self.cut = self.cut.plus(step);
        Some(self.cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = HOUR_MS;
    const LONGEST: Horizon = Horizon::DAYS_28;

    /// An expiry over counts that begin `days` before now, and the number of minutes that steps of `(hours, now)`
    /// delete.
    #[track_caller]
    fn check(days: i64, steps: &[(i64, i64)], deleted: &[i64]) {
        let start = Minute::from_number(30_000_000);
        let earliest = start.plus(-days * 1_440);
        let mut expiry = Expiry::from(earliest);
        let mut cut = earliest;
        let mut found = Vec::new();
        for (hours, ahead_days) in steps {
            let moved = expiry.pass(hours * HOUR, start.plus(ahead_days * 1_440).start(), LONGEST);
            found.push(moved.map_or(0, |moved| moved.number() - cut.number()));
            cut = moved.unwrap_or(cut);
        }
        assert_eq!(found, deleted);
    }

    #[test]
    fn nothing_younger_than_two_windows_is_deleted() {
        check(28, &[(1, 0), (24, 0)], &[0, 0]);
        check(55, &[(1, 0), (1, 0)], &[0, 0]);
        check(57, &[(1, 0), (1, 0), (1, 0)], &[0, 1_440, 0]);
    }

    #[test]
    fn c11_a_clock_ten_years_ahead_deletes_a_day_an_hour() {
        check(56, &[(0, 3_650), (1, 3_650), (1, 3_650), (1, 3_650)], &[0, 1_440, 1_440, 1_440]);
    }

    #[test]
    fn c11_a_clock_that_leaps_for_a_moment_deletes_nothing() {
        // None of the time that passed before counts, nor does that of a time when it was right again.
        check(1, &[(500, 0), (500, 0), (1, 3_650), (0, 3_650)], &[0, 0, 0, 0]);
        check(1, &[(1, 3_650), (1, 0), (1, 3_650), (1, 0)], &[0, 0, 0, 0]);
    }

    #[test]
    fn c10_time_that_runs_backwards_earns_nothing() {
        check(90, &[(-5, 0), (0, 0), (1, -100)], &[0, 0, 0]);
    }

    #[test]
    fn c12_after_an_idle_month_the_old_minutes_go_slowly() {
        check(87, &[(1, 0), (1, 0), (10, 0)], &[0, 1_440, 1_440]);
    }

    #[test]
    fn small_steps_add_up() {
        let mut expiry = Expiry::from(Minute::from_number(0));
        let now = Minute::from_number(10_000_000).start();
        let steps: Vec<i64> =
            (0..=3_600).filter_map(|_| expiry.pass(1_000, now, LONGEST)).map(Minute::number).collect();
        assert_eq!(steps.last(), Some(&1_440));
        assert_eq!(steps.len(), 24);
    }
}
