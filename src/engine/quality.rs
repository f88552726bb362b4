//! Quality: whether what a source delivers can be relied upon.
//!
//! A record that cannot be read may have been an error. When more than a small share of the newest records cannot, the
//! counts of the rest prove nothing, and neither do they while much waits to be read, or a file cannot be read at all.
//! Each is told as a [`Doubt`]; what follows from it is decided by the gate.
//!
//! - Records are looked at as they come in, by the engine's own time: one that cannot be read carries none. They are
//!   counted by the minute like everything else, so that a restart knows them, and a past instant can be asked about.
//! - *Hysteresis.* A share above the limit raises the doubt, at least [`FEW_UNREAD`] records provided; it stays until
//!   the share is at most half the limit. That it was raised is kept, like the memory of a gate.
//! - A whole run of records that cannot be read is a format that was changed, however few they are in [`RECENT`].
//! - Whether a source has been caught up with, and how far behind it is, belongs to the present alone.

use std::collections::BTreeMap;

use crate::gate::{Doubt, Unreadable};
use crate::spec::GatePolicy;
use crate::tally::Tally;
use crate::time::{Horizon, Timestamp};

/// The records that came in during this time are the newest ones.
pub(super) const RECENT: Horizon = Horizon::of_minutes(15);
/// So few records that cannot be read raise no doubt.
const FEW_UNREAD: u64 = 100;
/// So many, one after the other, mean that the format has changed.
const FORMAT_CHANGED: u64 = 1_000;
const BILLION: u128 = 1_000_000_000;

/// Whether so many of some records could not be read (bad) that errors may hide among them: at least 100, and more than
/// `max_unparsed_billionths` of all.
pub fn may_hide_errors(records: Tally, max_unparsed_billionths: i64) -> bool {
    records.bad >= FEW_UNREAD && exceeds(records, max_unparsed_billionths.unsigned_abs().into())
}

/// Whether, once there was a doubt, there still is.
fn may_still_hide_errors(records: Tally, max_unparsed_billionths: i64) -> bool {
    // Half a billionth is lost on an odd limit, to the side of doubt.
    records.bad >= FEW_UNREAD / 2 && exceeds(records, u128::from(max_unparsed_billionths.unsigned_abs() / 2))
}

fn exceeds(records: Tally, limit_billionths: u128) -> bool {
    u128::from(records.bad) * BILLION > u128::from(records.total()) * limit_billionths
}

/// How far the reading of a source has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How much waits to be read, in bytes.
    pub bytes_behind: u64,
    /// Since when the oldest of it has been waiting.
    pub behind_since: Timestamp,
    /// Whether every byte that was passed is accounted for.
    pub is_conserved: bool,
    /// What cannot be read of it, whose length does not count as waiting.
    pub unreadable: Option<Unreadable>,
}

impl Reading {
    /// Whether everything there is has been read.
    pub fn is_up_to_date(&self) -> bool {
        self.bytes_behind == 0 && self.unreadable.is_none()
    }
}

/// What a policy finds tolerable, or the strictest of several policies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tolerance {
    max_unparsed_billionths: Option<i64>,
    stale_after_ms: Option<i64>,
}

impl Tolerance {
    /// That of the strictest of these policies; any, when there are none.
    pub(super) fn of<'a>(policies: impl IntoIterator<Item = &'a GatePolicy>) -> Self {
        let strictest = |a: Option<i64>, b: i64| Some(a.map_or(b, |a| a.min(b)));
        policies.into_iter().fold(Self::default(), |all, policy| Self {
            max_unparsed_billionths: strictest(all.max_unparsed_billionths, policy.max_unparsed_billionths),
            stale_after_ms: strictest(all.stale_after_ms, policy.stale_after_ms),
        })
    }

    /// Whether what has lasted since then has lasted for too long.
    pub(super) fn is_too_long(&self, since: Timestamp, now: Timestamp) -> bool {
        self.stale_after_ms.is_some_and(|longest| now.millis().saturating_sub(since.millis()) > longest)
    }
}

/// What is remembered of the quality of a source over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptQuality {
    /// How many of its newest records, one after the other, could not be read.
    pub unread_run: u64,
    /// The limits, in billionths, above which the share of the newest records that could not be read was, and has not
    /// fallen to the half since.
    pub exceeded: Vec<i64>,
}

/// The quality of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Quality {
    unread_run: u64,
    /// Every limit that a policy has for this source, and whether it was exceeded.
    exceeded: BTreeMap<i64, bool>,
    reading: Option<Reading>,
    /// Whether everything there was has been read at least once.
    was_caught_up: bool,
    /// Whether a count did not add up.
    is_corrupt: bool,
    /// How often whoever reads it panicked, and whether nothing was heard of them since.
    panics: u64,
    is_panicked: bool,
    /// How many records were read by their beginnings.
    truncated: u64,
    /// As in the last checkpoint.
    kept: KeptQuality,
}

impl Quality {
    /// Of a source that these policies look at.
    pub(super) fn new<'a>(policies: impl IntoIterator<Item = &'a GatePolicy>) -> Self {
        let exceeded = policies.into_iter().map(|policy| (policy.max_unparsed_billionths, false));
        Self { exceeded: exceeded.collect(), ..Self::default() }
    }

    /// Goes on where an earlier one was.
    pub(super) fn restore(&mut self, kept: &KeptQuality) {
        self.unread_run = kept.unread_run;
        for (limit, exceeded) in &mut self.exceeded {
            *exceeded = kept.exceeded.contains(limit);
        }
        self.kept = kept.clone();
    }

    /// Knows of the present what `before` knew, of the same source in the same process.
    pub(super) fn take_over(&mut self, before: &Self) {
        self.reading.clone_from(&before.reading);
        self.was_caught_up = before.was_caught_up;
        self.is_corrupt = before.is_corrupt;
        (self.panics, self.is_panicked) = (before.panics, before.is_panicked);
        self.truncated = before.truncated;
    }

    /// What is to be kept, if that has changed.
    pub(super) fn take_changed(&mut self) -> Option<KeptQuality> {
        let exceeded = self.exceeded.iter().filter(|(_, exceeded)| **exceeded).map(|(limit, _)| *limit);
        let now = KeptQuality { unread_run: self.unread_run, exceeded: exceeded.collect() };
        let changed = (now != self.kept).then(|| now.clone());
        self.kept = now;
        changed
    }

    /// Takes note of records that came in, of which the last `run` could not be read.
    pub(super) fn arrived(&mut self, records: u64, run: u64) {
        self.unread_run = if run >= records { self.unread_run.saturating_add(run) } else { run };
    }

    /// Takes note of records that were read by their beginnings.
    pub(super) fn cut_off(&mut self, records: u64) {
        self.truncated = self.truncated.saturating_add(records);
    }

    /// How many there were, since the program started.
    pub(super) fn truncated(&self) -> u64 {
        self.truncated
    }

    /// Forgets in which order records came in.
    pub(super) fn forget_order(&mut self) {
        self.unread_run = 0;
    }

    /// Takes note of how far the reading has come.
    pub(super) fn read(&mut self, reading: Reading) {
        self.was_caught_up |= reading.is_up_to_date();
        self.is_corrupt |= !reading.is_conserved;
        self.is_panicked = false;
        self.reading = Some(reading);
    }

    /// Takes note that a count did not add up.
    pub(super) fn condemn(&mut self) {
        self.is_corrupt = true;
    }

    /// Takes note that whoever reads it panicked. That stands until they are heard again.
    pub(super) fn panicked(&mut self) {
        self.panics = self.panics.saturating_add(1);
        self.is_panicked = true;
    }

    /// How often they did, since the program started.
    pub(super) fn panics(&self) -> u64 {
        self.panics
    }

    /// Whether nothing more of it is to be counted.
    pub(super) fn is_corrupt(&self) -> bool {
        self.is_corrupt
    }

    /// How much waits to be read, in bytes, if that is known.
    pub(super) fn bytes_behind(&self) -> Option<u64> {
        self.reading.as_ref().map(|reading| reading.bytes_behind)
    }

    /// Lets the newest records raise and lay doubts.
    pub(super) fn judge(&mut self, newest: Tally) {
        for (limit, exceeded) in &mut self.exceeded {
            *exceeded = may_hide_errors(newest, *limit) || (*exceeded && may_still_hide_errors(newest, *limit));
        }
    }

    /// The doubts there are now, the worst first.
    pub(super) fn doubts(&self, newest: Tally, tolerance: Tolerance, now: Timestamp) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        if self.is_corrupt {
            doubts.push(Doubt::Corrupt);
        }
        if self.is_panicked {
            doubts.push(Doubt::Panicked { times: self.panics });
        }
        doubts.extend(self.unreadable(tolerance, now));
        if self.unread_run >= FORMAT_CHANGED {
            doubts.push(Doubt::FormatChanged { run: self.unread_run });
        }
        let limit = tolerance.max_unparsed_billionths;
        if limit.is_some_and(|limit| self.exceeded.get(&limit) == Some(&true)) {
            doubts.push(unparsed(newest));
        }
        doubts.extend(self.behind(tolerance, now));
        doubts
    }

    /// What cannot be read for a moment, as while a file is renamed, raises no doubt. What could not be read from the
    /// start may not have been for long before that.
    fn unreadable(&self, tolerance: Tolerance, now: Timestamp) -> Option<Doubt> {
        let unreadable = self.reading.as_ref()?.unreadable.as_ref()?;
        let is_doubtful = !self.was_caught_up || tolerance.is_too_long(unreadable.since, now);
        is_doubtful.then(|| Doubt::Unreadable(unreadable.clone()))
    }

    fn behind(&self, tolerance: Tolerance, now: Timestamp) -> Option<Doubt> {
        let &Reading { bytes_behind: bytes, behind_since: since, .. } =
            self.reading.as_ref().filter(|reading| reading.bytes_behind > 0)?;
        if !self.was_caught_up {
            return Some(Doubt::CatchingUp { bytes });
        }
        tolerance.is_too_long(since, now).then_some(Doubt::Lag { bytes, since })
    }
}

/// The doubts there were at a past instant, of whose newest records nothing but their number is known.
pub(super) fn past_doubts(newest: Tally, tolerance: Tolerance) -> Vec<Doubt> {
    let hides = tolerance.max_unparsed_billionths.is_some_and(|limit| may_hide_errors(newest, limit));
    hides.then(|| unparsed(newest)).into_iter().collect()
}

fn unparsed(newest: Tally) -> Doubt {
    Doubt::Unparsed { unread: newest.bad, records: newest.total() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{OnGap, OnUnknown};

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    /// 1 %.
    const LIMIT: i64 = 10_000_000;

    fn policy(max_unparsed_billionths: i64) -> GatePolicy {
        GatePolicy {
            on_unknown: OnUnknown::Deny,
            frozen_below_billionths: 0,
            thaw_above_billionths: 0,
            guarded_below_billionths: 0,
            stale_after_ms: 600_000,
            min_events: 1,
            max_unparsed_billionths,
            on_gap: OnGap::Show,
            exempt: Vec::new(),
            freeze_on: None,
        }
    }

    fn names(doubts: &[Doubt]) -> Vec<&'static str> {
        doubts.iter().map(Doubt::name).collect()
    }

    #[test]
    fn b07_more_than_the_limit_and_at_least_a_hundred_may_hide_errors() {
        for (read, unread, limit, expected) in [
            (9_900, 100, LIMIT, false),
            (9_899, 100, LIMIT, true),
            (0, 99, LIMIT, false),
            (0, 100, LIMIT, true),
            (0, 0, 0, false),
            (u64::MAX, 100, 0, true),
            (0, 1_000, 1_000_000_000, false),
            (u64::MAX, u64::MAX, LIMIT, true),
        ] {
            assert_eq!(may_hide_errors(Tally::new(read, unread), limit), expected, "{read} {unread} {limit}");
        }
    }

    /// A source whose newest records are, one after the other, these; whether there is doubt after each.
    #[track_caller]
    fn check(newest: &[(u64, u64)], doubts: &[bool]) {
        let policy = policy(LIMIT);
        let mut quality = Quality::new([&policy]);
        for ((read, unread), expected) in newest.iter().zip(doubts) {
            let newest = Tally::new(*read, *unread);
            quality.judge(newest);
            let found = quality.doubts(newest, Tolerance::of([&policy]), NOW);
            assert_eq!(names(&found) == ["unparsed"], *expected, "{read} {unread}: {found:?}");
            let (kept, mut restored) = (quality.take_changed(), Quality::new([&policy]));
            restored.restore(&kept.unwrap_or_else(|| quality.kept.clone()));
            assert_eq!(restored.exceeded, quality.exceeded);
        }
    }

    #[test]
    fn a_doubt_stays_until_the_share_has_halved() {
        check(
            &[(10_000, 99), (9_000, 100), (15_000, 100), (19_899, 100), (19_900, 100), (15_000, 100), (0, 0)],
            &[false, true, true, true, false, false, false],
        );
        check(&[(0, 100), (0, 50), (0, 49), (0, 99)], &[true, true, false, false]);
    }

    #[test]
    fn each_policy_has_its_own_limit() {
        let (strict, lax) = (policy(LIMIT), policy(20 * LIMIT));
        let mut quality = Quality::new([&strict, &lax]);
        let newest = Tally::new(900, 100);
        quality.judge(newest);
        let doubts = |policies: &[&GatePolicy]| quality.doubts(newest, Tolerance::of(policies.iter().copied()), NOW);
        assert_eq!(names(&doubts(&[&strict])), ["unparsed"]);
        assert!(doubts(&[&lax]).is_empty() && doubts(&[]).is_empty());
        assert_eq!(names(&doubts(&[&lax, &strict])), ["unparsed"]);
        assert_eq!(names(&past_doubts(newest, Tolerance::of([&strict]))), ["unparsed"]);
        assert!(past_doubts(newest, Tolerance::of([&lax])).is_empty());
    }

    #[test]
    fn b21_a_thousand_lines_in_a_row_that_cannot_be_read_are_another_format() {
        let mut quality = Quality::new([]);
        let found = |quality: &Quality| names(&quality.doubts(Tally::ZERO, Tolerance::default(), NOW));
        for (records, run, expected) in
            [(2_000, 600, &[][..]), (399, 399, &[]), (0, 0, &[]), (1, 1, &["format_changed"]), (5, 4, &[])]
        {
            quality.arrived(records, run);
            assert_eq!(found(&quality), expected, "{run} of {records}");
        }
    }

    #[test]
    fn a25_bytes_that_wait_for_too_long_are_lag_and_before_that_catching_up() {
        let policy = policy(LIMIT);
        let tolerance = Tolerance::of([&policy]);
        let mut quality = Quality::new([&policy]);
        let found = |quality: &Quality| names(&quality.doubts(Tally::ZERO, tolerance, NOW));
        let reading = |bytes_behind, waited_ms: i64| Reading {
            bytes_behind,
            behind_since: NOW.plus_millis(-waited_ms),
            is_conserved: true,
            unreadable: None,
        };
        assert_eq!((found(&quality), quality.bytes_behind()), (vec![], None));
        for (bytes, waited_ms, expected) in [
            (7, 0, &["catching_up"][..]),
            (7, 9_000_000, &["catching_up"]),
            (0, 0, &[]),
            (7, 600_000, &[]),
            (7, 600_001, &["lag"]),
            (0, 600_001, &[]),
        ] {
            quality.read(reading(bytes, waited_ms));
            assert_eq!(found(&quality), expected, "{bytes} for {waited_ms}");
            assert_eq!(quality.bytes_behind(), Some(bytes));
        }
        quality.read(Reading { is_conserved: false, ..reading(0, 0) });
        quality.read(reading(0, 0));
        assert_eq!(found(&quality), ["corrupt"]);
    }
}
