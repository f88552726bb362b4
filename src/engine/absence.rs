//! Absences: when nobody counted for an SLO although its source was read.
//!
//! An SLO that is new begins when it is named; one that was taken out of the specs and put back has a hole. What its
//! source delivered meanwhile was not counted for it, and must be taken neither for silence nor for good: a rate is not
//! judged there, and a hole is shown as a gap.
//!
//! The number of absences is bounded: before there are too many, the two that are closest together become one.

use crate::budget::SliceRule;
use crate::engine::Gap;
use crate::time::{Minute, Timestamp};

/// How many absences of an SLO are remembered.
pub const MOST_ABSENCES: usize = 16;

/// Why something is missing of an SLO that was gone.
pub(super) const REMOVED: &str = "slo_removed";

/// A stretch of time in which nobody counted, in part or as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// The first minute; `None` when that was the beginning.
    pub from: Option<Minute>,
    /// The last minute; `None` while it lasts.
    pub to: Option<Minute>,
}

impl Absence {
    /// The absence of what is counted from `minute` on.
    pub(super) fn until(minute: Minute) -> Self {
        Self { from: None, to: Some(minute) }
    }

    /// Whether it has not ended.
    pub(super) fn lasts(&self) -> bool {
        self.to.is_none()
    }

    /// What is missing because of it, of an SLO of this source; nothing when the SLO had not begun, or is still gone.
    pub(super) fn gap(&self, source: &str) -> Option<Gap> {
        let (from, to) = (self.from?.start(), self.to?.plus(1).start().plus_millis(-1));
        Some(Gap { source: source.to_owned(), from, to, bytes: None, reason: REMOVED.to_owned() })
    }
}

/// Begins an absence in the minute of `at`.
pub(super) fn begin(absences: &mut Vec<Absence>, at: Timestamp) {
    // A clock that was put right may be behind the last one.
    let from = absences.last().and_then(|last| last.to).map_or(at.minute(), |to| to.max(at.minute()));
    absences.push(Absence { from: Some(from), to: None });
    if absences.len() > MOST_ABSENCES {
        join_closest(absences);
    }
}

/// Ends the absence that lasts, if one does, in the minute of `at`; since when it had lasted.
pub(super) fn end(absences: &mut [Absence], at: Timestamp) -> Option<Absence> {
    let last = absences.last_mut().filter(|absence| absence.lasts())?;
    // A clock that was put right may be behind.
    last.to = Some(last.from.map_or(at.minute(), |from| from.max(at.minute())));
    Some(*last)
}

fn join_closest(absences: &mut Vec<Absence>) {
    let distance = |pair: &[Absence]| pair[1].from.zip(pair[0].to).map(|(from, to)| from.number() - to.number());
    let closest = (1..absences.len()).min_by_key(|later| distance(&absences[later - 1..=*later]));
    if let Some(later) = closest {
        let joined = absences.remove(later);
        absences[later - 1].to = joined.to;
    }
}

/// The stretches of slices, by their first minutes, from `first` to `last` that reach into no absence.
pub(super) fn attended(
    absences: &[Absence],
    rule: SliceRule,
    first: Minute,
    last: Minute,
) -> impl Iterator<Item = (Minute, Minute)> {
    let length = rule.slice().minutes();
    let mut next = Some(first);
    let before = absences.iter().map(move |absence| {
        let from = absence.from.map_or(first, |from| rule.start_of(from));
        (from, absence.to.map(|to| rule.start_of(to).plus(length)))
    });
    let pieces = before.chain([(last.plus(1), None)]).filter_map(move |(gone, back)| {
        let start = next?;
        next = back.map(|back| back.max(start));
        Some((start, gone.plus(-1).min(last)))
    });
    pieces.filter(|(first, last)| first <= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Horizon;

    fn absences(all: &[(i64, i64)]) -> Vec<Absence> {
        let minute = |number: &i64| (*number != 0).then(|| Minute::from_number(*number));
        all.iter().map(|(from, to)| Absence { from: minute(from), to: minute(to) }).collect()
    }

    /// Absences, 0 standing for none, against the stretches that are left of the minutes from 10 to 50, in slices of 5.
    #[track_caller]
    fn check(gone: &[(i64, i64)], expected: &[(i64, i64)]) {
        let rule = SliceRule::Throughput { minimum_millionths: 1, slice: Horizon::of_minutes(5) };
        let (first, last) = (Minute::from_number(10), Minute::from_number(50));
        let gone_for = absences(gone);
        let found = attended(&gone_for, rule, first, last);
        let found: Vec<_> = found.map(|(first, last)| (first.number(), last.number())).collect();
        assert_eq!(found, expected, "{gone:?}");
    }

    #[test]
    fn a_slice_that_reaches_into_an_absence_is_not_attended() {
        check(&[], &[(10, 50)]);
        check(&[(0, 9)], &[(10, 50)]);
        check(&[(0, 10)], &[(15, 50)]);
        check(&[(0, 14)], &[(15, 50)]);
        check(&[(22, 23)], &[(10, 19), (25, 50)]);
        check(&[(0, 12), (22, 31), (33, 33), (44, 0)], &[(15, 19), (35, 39)]);
        check(&[(60, 70)], &[(10, 50)]);
        check(&[(1, 70)], &[]);
        check(&[(5, 0)], &[]);
    }

    #[test]
    fn too_many_absences_become_fewer_and_none_is_forgotten() {
        let at = |minute: i64| Minute::from_number(minute).start();
        let mut all = vec![Absence::until(Minute::from_number(3))];
        for number in 1..=20 {
            begin(&mut all, at(number * number * 10));
            assert_eq!(end(&mut all, at(number * number * 10 + 2)).map(|absence| absence.lasts()), Some(false));
        }
        assert_eq!(all.len(), MOST_ABSENCES);
        assert_eq!(all[0], Absence { from: None, to: Some(Minute::from_number(252)) });
        assert_eq!(end(&mut all, at(9_000)), None);
    }
}
