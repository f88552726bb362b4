//! Incidents: for some minutes, requests fail that would not have.

use chrono::{DateTime, Datelike, Days, Weekday};

use super::dice::Dice;
use crate::time::{Minute, Timestamp};

/// Something that went wrong with one service, and was put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// What is hit.
    pub service: &'static str,
    /// What it was, in a few words.
    pub what: &'static str,
    /// Its first minute.
    pub from: Minute,
    course: &'static Course,
}

/// What an incident does to the requests of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// How many of a thousand fail.
    pub(super) failing: u64,
    /// What those are answered.
    pub(super) statuses: &'static [u16],
    /// How many times as long the others take.
    pub(super) slower: u64,
    /// How many requests come instead of a thousand, because clients try again.
    pub(super) arriving: u64,
}

/// How an incident goes.
#[derive(Debug, PartialEq, Eq)]
struct Course {
    /// Minutes since the beginning, and how many of a thousand requests fail then; between two points it is a line.
    failing: &'static [(u64, u64)],
    statuses: &'static [u16],
    slower: u64,
    arriving: u64,
}

/// A release that cannot answer half of the requests. It is rolled out within minutes, alarms go off, somebody looks,
/// doubts, and rolls it back.
const BAD_DEPLOY: Course = Course {
    failing: &[(0, 0), (3, 520), (12, 560), (24, 540), (27, 480), (33, 0)],
    statuses: &[500, 500, 500, 502, 504],
    slower: 9,
    arriving: 1_300,
};

/// One of eight edge servers without a backend: few enough errors that nobody is woken, for hours.
const EDGE_SERVER: Course =
    Course { failing: &[(0, 0), (20, 126), (220, 126), (240, 0)], statuses: &[502], slower: 1, arriving: 1_000 };

impl Incident {
    /// Those of the four weeks before `now`: one that spends the budget of `api`, and one that nearly spends that of
    /// `web`. Both are during working hours.
    pub(super) fn before(now: Timestamp, seed: u64) -> [Self; 2] {
        // Of no minute that will ever be.
        let mut dice = Dice::for_part(seed, u64::MAX);
        let edge_server = working_minute(now, dice.between(9, 14), &mut dice);
        let bad_deploy = working_minute(now, dice.between(2, 4), &mut dice);
        [
            Self { service: "web", what: "an edge server lost its backend", from: edge_server, course: &EDGE_SERVER },
            Self { service: "api", what: "a bad deploy, rolled back", from: bad_deploy, course: &BAD_DEPLOY },
        ]
    }

    /// How long it lasted.
    pub fn minutes(&self) -> u64 {
        self.course.failing.last().map_or(0, |(minute, _)| *minute)
    }

    /// What it does in this minute; `None` outside its time.
    pub(super) fn trouble(&self, minute: Minute) -> Option<Trouble> {
        let since = u64::try_from(minute.number() - self.from.number()).ok()?;
        let next = self.course.failing.iter().position(|(at, _)| *at > since)?;
        let ((from, low), (to, high)) = (self.course.failing[next.checked_sub(1)?], self.course.failing[next]);
        let failing = (low * (to - since) + high * (since - from)) / (to - from);
        let Course { statuses, slower, arriving, .. } = *self.course;
        Some(Trouble { failing, statuses, slower, arriving })
    }
}

/// A minute between 9:00 and 15:00 UTC, so many days before `now`, or up to two more where that would be a weekend.
fn working_minute(now: Timestamp, days: u64, dice: &mut Dice) -> Minute {
    let today = DateTime::from_timestamp_millis(now.millis()).unwrap_or_default().date_naive();
    let day = today.checked_sub_days(Days::new(days)).unwrap_or_default();
    let weekend = match day.weekday() {
        Weekday::Sat => 1,
        Weekday::Sun => 2,
        _ => 0,
    };
    let day = day.checked_sub_days(Days::new(weekend)).unwrap_or_default();
    let midnight = Timestamp::from_seconds(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp());
    midnight.minute().plus(dice.between(9 * 60, 15 * 60) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_rises_and_falls_as_its_course_says_and_is_nowhere_else() {
        let from = Minute::from_number(29_000_000);
        let incident = Incident { service: "api", what: "", from, course: &BAD_DEPLOY };
        let failing = |offset: i64| incident.trouble(from.plus(offset)).map(|trouble| trouble.failing);
        for (offset, expected) in [
            (-1, None),
            (0, Some(0)),
            (1, Some(173)),
            (3, Some(520)),
            (12, Some(560)),
            (30, Some(240)),
            (32, Some(80)),
            (33, None),
            (40_000, None),
        ] {
            assert_eq!(failing(offset), expected, "after {offset} minutes");
        }
        assert_eq!(incident.minutes(), 33);
    }

    #[test]
    fn incidents_are_on_working_days_and_over() {
        for hour in 0..24 * 14 {
            let now = Timestamp::from_seconds(1_795_132_800 + hour * 3_600);
            for incident in Incident::before(now, 28) {
                let at = DateTime::from_timestamp_millis(incident.from.start().millis()).unwrap();
                assert!(!matches!(at.weekday(), Weekday::Sat | Weekday::Sun), "{at}");
                let ago = now.minute().number() - incident.from.number();
                assert!(ago > 24 * 60 && ago < 18 * 24 * 60, "{ago} minutes before {now}");
            }
        }
    }
}
