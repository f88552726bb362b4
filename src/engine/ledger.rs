//! Ledgers: everything one source has delivered.
//!
//! A ledger has one window per column of the source's pages, in the same order, and beside them the totals that do not
//! depend on time. For the kinds of SLI that judge slices, the window holds requests, and a second one holds the
//! verdict on each slice at its first minute; a verdict is made anew whenever its slice sees more requests, so that
//! reading a month of slices is a sum like any other. One more column counts records when they come in, for their
//! [`Quality`].
//!
//! *Conservation*: a batch says how many records there were, counted apart from what became of each. When the two do
//! not agree, by batch or in total, nothing of it is counted and nothing more of the source is, nor handed over to be
//! kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::budget::SliceRule;
use crate::counts::{Batch, Column, PAGE_MINUTES, Page, Rejection, Sample, columns};
use crate::engine::absence::{Absence, attended};
use crate::engine::gaps::{Gaps, Missing};
use crate::engine::pending::Pending;
use crate::engine::quality::{Quality, RECENT};
use crate::engine::{AHEAD_MS, Health, SeriesId, SourceStanding, SourceTotals, Targets, Totals};
use crate::gate::Doubt;
use crate::spec::{Catalog, SloId, SourceId};
use crate::tally::Tally;
use crate::time::{Horizon, Minute, Timestamp};
use crate::window::{HourCounts, PackedHour, Sliding, Window};

/// How many refused records are kept for people to look at.
const SAMPLES: usize = 10;

/// Everything one source has delivered.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    columns: Vec<Counted>,
    rejected: BTreeMap<Rejection, u64>,
    /// Newest last.
    samples: VecDeque<Sample>,
    /// The minute of the earliest accepted record.
    first_heard: Option<Minute>,
    /// The newest minute of which a record was refused because it was too old.
    expired: Option<Minute>,
    /// What is to be in the next checkpoint, if there is to be one.
    pending: Option<Pending>,
    /// As in the last checkpoint.
    kept_first_heard: Option<Minute>,
    /// As in the last checkpoint.
    kept_expired: Option<Minute>,
    /// How many records there ever were.
    delivered: u64,
    /// What can never be counted.
    pub(super) gaps: Gaps,
    /// Whether what is counted can be relied upon.
    pub(super) quality: Quality,
    /// What is known of its targets, when it is scraped.
    pub(super) targets: Option<Arc<Targets>>,
}

/// The columns of a source's pages, and behind them the one that only the ledger has.
pub(super) fn all_columns(catalog: &Catalog, source: SourceId) -> Vec<Column> {
    columns(catalog, source).into_iter().chain([Column::Arrivals]).collect()
}

/// What a ledger shows beside what it has counted.
pub(super) struct Shown {
    pub(super) last_event: Option<Timestamp>,
    pub(super) health: Health,
    pub(super) doubts: Vec<Doubt>,
    pub(super) gaps: Missing,
    pub(super) bytes_behind: Option<u64>,
    pub(super) targets: Option<Arc<Targets>>,
}

/// The minutes that matter at one now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The first that is kept.
    pub(super) kept: Minute,
    /// The first that is accepted.
    pub(super) oldest: Minute,
    /// The last that is accepted.
    pub(super) newest: Minute,
}

/// One column.
#[derive(Clone, Debug)]
struct Counted {
    column: Column,
    window: Window,
    slices: Option<Slices>,
    /// Since the beginning, also of what is no longer kept.
    lifetime: Tally,
    /// The newest event; of one that was ahead of its time, when it came in.
    newest: Option<Timestamp>,
    /// The last minute of an event that was ahead of its time, if that is all there is to know of it.
    ahead: Option<Minute>,
    /// As in the last checkpoint.
    kept_newest: Option<Timestamp>,
}

/// The verdicts on the slices of a column that saw requests, each at the slice's first minute.
#[derive(Clone, Debug)]
struct Slices {
    rule: SliceRule,
    verdicts: Window,
    /// When nobody counted for it.
    absences: Vec<Absence>,
}

/// What happened in a column in windows of one length. Instants that lie close to the one asked of before cost least.
#[derive(Clone, Debug)]
pub(super) struct Tallies<'l> {
    events: &'l Window,
    slices: Option<&'l Slices>,
    first_heard: Option<Minute>,
    length: Horizon,
    /// Of the verdicts on the slices, if there are any, else of the events.
    sums: Sliding<'l>,
}

impl Ledger {
    pub(super) fn new(catalog: &Catalog, source: SourceId, kept: Horizon) -> Self {
        let counted = |column: Column| {
            let rule = match column {
                Column::Slo(slo) => SliceRule::of(&catalog[slo].sli),
                Column::Records | Column::Missing | Column::Arrivals => None,
            };
            let slices = rule.map(|rule| Slices { rule, verdicts: Window::new(kept), absences: Vec::new() });
            Counted {
                column,
                window: Window::new(kept),
                slices,
                lifetime: Tally::ZERO,
                newest: None,
                ahead: None,
                kept_newest: None,
            }
        };
        let columns = all_columns(catalog, source).into_iter().map(counted).collect();
        let (rejected, samples, gaps) = Default::default();
        let quality = Quality::new(catalog.policies_over(source));
        let (first_heard, expired, pending, delivered, targets) = (None, None, None, 0, None);
        Self {
            columns,
            rejected,
            samples,
            first_heard,
            expired,
            pending,
            kept_first_heard: first_heard,
            kept_expired: expired,
            delivered,
            gaps,
            quality,
            targets,
        }
    }

    /// The column of an SLO of this source.
    pub(super) fn column_of(&self, slo: SloId) -> usize {
        let found = self.columns.iter().position(|counted| counted.column == Column::Slo(slo));
        found.expect("every SLO of a source has a column")
    }

    /// Adds a batch that comes in at `now`, refusing what lies outside the accepted minutes. When counts do not add up
    /// it is not added, or at least not kept, and neither is any later one.
    pub(super) fn observe(&mut self, batch: Batch, bounds: Bounds, now: Timestamp) {
        assert_eq!(batch.newest.len() + 1, self.columns.len(), "a batch has the columns of its source");
        if batch.accounted() != batch.records {
            self.quality.condemn();
        }
        if self.quality.is_corrupt() {
            return;
        }
        self.delivered = self.delivered.saturating_add(batch.records);
        self.arrive(&batch, now);
        for page in &batch.pages {
            self.observe_page(page, bounds);
        }
        for (counted, event) in self.columns.iter_mut().zip(&batch.newest) {
            counted.meet(*event, bounds, now);
        }
        if batch.rejected.contains_key(&Rejection::Expired) {
            // Whoever counted has refused only what is not kept; of what is kept but not accepted, pages tell the
            // minutes.
            self.expired = self.expired.max(Some(bounds.kept.plus(-1)));
        }
        for (rejection, count) in batch.rejected {
            self.reject(rejection, count);
        }
        self.samples.extend(batch.samples);
        self.samples.drain(..self.samples.len().saturating_sub(SAMPLES));
    }

    /// What happened in a column in the window of length `window` at `t`.
    pub(super) fn tally(&self, column: usize, window: Horizon, t: Timestamp) -> Tally {
        self.tallies(column, window).at(t)
    }

    /// What happened in a column in windows of length `length`, for whoever asks of one instant after the other.
    pub(super) fn tallies(&self, column: usize, length: Horizon) -> Tallies<'_> {
        let Counted { window, slices, .. } = &self.columns[column];
        let sums = slices.as_ref().map_or(window, |slices| &slices.verdicts).sliding();
        Tallies { events: window, slices: slices.as_ref(), first_heard: self.first_heard, length, sums }
    }

    /// The newest event of a column that is not in a minute after `t` and not before `oldest`.
    pub(super) fn last_event(&self, column: usize, t: Timestamp, oldest: Minute) -> Option<Timestamp> {
        let Counted { window, newest, ahead, .. } = &self.columns[column];
        let newest = (*newest)?;
        if newest.minute() > t.minute() {
            return window.last_occupied(oldest, t.minute()).map(Minute::start);
        }
        // One that was ahead of its time is the newest when that time has come.
        let later = ahead.filter(|ahead| *ahead > newest.minute());
        let later = later.and_then(|_| window.last_occupied(newest.minute().plus(1), t.minute()));
        Some(later.map_or(newest, Minute::start)).filter(|newest| newest.minute() >= oldest)
    }

    /// When the source was last heard by `t`: the time of its newest record, and of one that was ahead of its time,
    /// when it came in, so that it does not pass for news later. However old, but when there are newer ones, only as
    /// far back as `oldest`, and beyond that no later than its first record.
    pub(super) fn last_heard(&self, t: Timestamp, oldest: Minute) -> Option<Timestamp> {
        let Counted { window, newest, .. } = &self.columns[self.index_of(Column::Records)];
        match (*newest)? {
            newest if newest.minute() <= t.minute() => Some(newest),
            _ => window.last_occupied(oldest, t.minute()).or(self.first_heard_by(t)).map(Minute::start),
        }
    }

    /// Takes back the newest events that only a clock which was far ahead has seen: from the minutes that are there,
    /// the first of which is `kept`, the newest by `now` takes their place.
    pub(super) fn put_right(&mut self, kept: Minute, now: Timestamp) {
        let (records, first_heard) = (self.index_of(Column::Records), self.first_heard_by(now));
        let latest = now.plus_millis(AHEAD_MS).minute();
        for (index, counted) in self.columns.iter_mut().enumerate() {
            let Some(newest) = counted.newest.filter(|newest| newest.minute() > latest) else { continue };
            let found = counted.window.last_occupied(kept, now.minute()).or(first_heard.filter(|_| index == records));
            if let Some(found) = found {
                (counted.newest, counted.ahead) = (Some(found.start()), counted.ahead.max(Some(newest.minute())));
            }
        }
    }

    /// The minute of the earliest accepted record, if that is not after `t`.
    fn first_heard_by(&self, t: Timestamp) -> Option<Minute> {
        self.first_heard.filter(|first| *first <= t.minute())
    }

    /// The newest minute of which a record was refused because it was too old.
    pub(super) fn expired(&self) -> Option<Minute> {
        self.expired
    }

    /// Every event ever counted in a column.
    pub(super) fn lifetime(&self, column: usize) -> Tally {
        self.columns[column].lifetime
    }

    /// The first minute that any count of this ledger refers to: that of the earliest record, or of the earliest slice
    /// that the record belongs to.
    pub(super) fn begins(&self) -> Option<Minute> {
        let heard = self.first_heard?;
        let slices = self.columns.iter().filter_map(|counted| counted.slices.as_ref());
        slices.map(|slices| slices.rule.start_of(heard)).chain([heard]).min()
    }

    /// The records that came in during the last quarter of an hour before `t`: read as good, not to be read as bad.
    pub(super) fn newest_records(&self, t: Timestamp) -> Tally {
        self.tally(self.arrivals(), RECENT, t)
    }

    /// The totals, for the board.
    pub(super) fn standing(&self, shown: Shown) -> SourceStanding {
        let Shown { last_event, health, doubts, gaps, bytes_behind, targets } = shown;
        SourceStanding {
            doubts,
            gaps,
            gap_counts: self.gaps.counts.clone(),
            gap_bytes: self.gaps.bytes,
            panics: self.quality.panics(),
            truncated: self.quality.truncated(),
            bytes_behind,
            accepted: self.lifetime(self.index_of(Column::Records)),
            missing_duration: self.lifetime(self.index_of(Column::Missing)).good,
            rejected: self.rejected.clone(),
            samples: self.samples.iter().cloned().collect(),
            last_event,
            health,
            targets,
        }
    }

    /// Counts as expired what was accepted but lies before `oldest`, and forgets in which order records came in: they
    /// are all as new as `now`.
    pub(super) fn expire_in_retrospect(&mut self, oldest: Minute, newest: Minute, now: Timestamp) {
        let records = self.index_of(Column::Records);
        let accepted = self.columns[records].lifetime;
        for counted in self.columns.iter_mut().filter(|counted| counted.column != Column::Arrivals) {
            counted.lifetime = counted.window.sum(oldest, newest);
            counted.newest = counted.newest.filter(|newest| newest.minute() >= oldest);
        }
        let Counted { lifetime, window, .. } = &self.columns[records];
        self.first_heard = window.first_occupied(oldest, newest);
        let expired = accepted.total().saturating_sub(lifetime.total());
        self.reject(Rejection::Expired, expired);
        self.quality.forget_order();
        let arrivals = self.arrivals();
        let Counted { lifetime, window, .. } = &mut self.columns[arrivals];
        window.clear();
        window.add(now.minute(), *lifetime);
    }

    /// From here on, remembers what changes.
    pub(super) fn remember(&mut self) {
        self.pending = Some(Pending::default());
    }

    /// Shows the refused records of an earlier ledger.
    pub(super) fn show_samples_of(&mut self, other: &Self) {
        self.samples.clone_from(&other.samples);
    }

    /// Takes over the totals of an earlier ledger.
    pub(super) fn restore(&mut self, totals: &SourceTotals) {
        self.rejected.clone_from(&totals.rejected);
        (self.first_heard, self.kept_first_heard) = (totals.first_heard, totals.first_heard);
        (self.expired, self.kept_expired) = (totals.expired, totals.expired);
        if let Some(quality) = &totals.quality {
            self.quality.restore(quality);
        }
        self.delivered = self.accounted();
    }

    /// Takes over the totals of a column of an earlier ledger.
    pub(super) fn restore_column(&mut self, column: usize, totals: &Totals) {
        let counted = &mut self.columns[column];
        counted.lifetime = totals.lifetime;
        (counted.newest, counted.kept_newest) = (totals.newest, totals.newest);
        self.delivered = self.accounted();
    }

    /// When nobody counted for a column.
    pub(super) fn restore_absences(&mut self, column: usize, absences: &[Absence]) {
        if let Some(slices) = &mut self.columns[column].slices {
            slices.absences = absences.to_vec();
        }
    }

    /// Takes over an hour of counts of an earlier ledger, which are in the totals already.
    pub(super) fn restore_hour(&mut self, column: usize, start: Minute, counts: PackedHour<'_>, kept: Minute) {
        let Counted { window, slices, newest, ahead, .. } = &mut self.columns[column];
        if window.add_packed_hour(start.hour(), counts).is_empty() {
            return;
        }
        if newest.is_none_or(|newest| newest.minute() < start.plus(PAGE_MINUTES as i64 - 1)) {
            *ahead = (*ahead).max(counts.counts().occupied().map(|(_, last)| start.plus(last as i64)));
        }
        if let Some(slices) = slices {
            slices.judge_restored(window, start, &counts.counts(), kept);
        }
    }

    /// Looks whether every record became one thing, before anything of it is kept. What does not add up is not handed
    /// over: after a restart it is counted anew.
    pub(super) fn audit(&mut self) -> bool {
        if self.accounted() != self.delivered {
            self.quality.condemn();
        }
        !self.quality.is_corrupt()
    }

    /// How many counts are not kept yet, at most.
    pub(super) fn uncommitted(&self) -> usize {
        self.pending.as_ref().map_or(0, Pending::len)
    }

    /// Hands over the counts that are not kept yet, by minute, each column's under the number that `series` gives it.
    pub(super) fn take_counts(&mut self, minutes: &mut BTreeMap<Minute, Vec<(SeriesId, Tally)>>, series: &[SeriesId]) {
        if let Some(pending) = &mut self.pending {
            pending.drain_into(minutes, series);
        }
    }

    /// What [`Ledger::take_counts`] would hand over adds to the totals.
    pub(super) fn take_totals(&mut self, series: &[SeriesId]) -> Vec<Totals> {
        let Some(pending) = &self.pending else { return Vec::new() };
        let added = pending.totals(self.columns.len()).into_iter().zip(&mut self.columns).zip(series);
        let changed = added.filter(|((added, counted), _)| !added.is_empty() || counted.newest != counted.kept_newest);
        let totals = changed.map(|((added, counted), series)| {
            counted.kept_newest = counted.newest;
            Totals { series: *series, lifetime: added, newest: counted.newest }
        });
        totals.collect()
    }

    /// What is not kept yet of the source itself, if anything.
    pub(super) fn take_source(&mut self, name: &str) -> Option<SourceTotals> {
        let rejected = std::mem::take(&mut self.pending.as_mut()?.rejected);
        let quality = self.quality.take_changed();
        let minutes = (self.first_heard, self.expired);
        let changed =
            !rejected.is_empty() || minutes != (self.kept_first_heard, self.kept_expired) || quality.is_some();
        (self.kept_first_heard, self.kept_expired) = minutes;
        let (first_heard, expired) = minutes;
        changed.then(|| SourceTotals { source: name.to_owned(), rejected, first_heard, expired, quality })
    }

    /// How many records are known to have become something.
    fn accounted(&self) -> u64 {
        let accepted = self.lifetime(self.index_of(Column::Records)).total();
        self.rejected.values().fold(accepted, |records, count| records.saturating_add(*count))
    }

    /// The column behind those of the pages.
    fn arrivals(&self) -> usize {
        self.columns.len() - 1
    }

    /// Counts the records of a batch in the minute in which they come in.
    fn arrive(&mut self, batch: &Batch, now: Timestamp) {
        self.quality.arrived(batch.records, batch.unread_run);
        self.quality.cut_off(batch.truncated);
        if batch.records == 0 {
            return;
        }
        let minute = now.minute();
        let row = minute.number().rem_euclid(PAGE_MINUTES as i64) as usize;
        let unread = batch.unread();
        let mut counts = HourCounts::ZERO;
        (counts.good[row], counts.bad[row]) = (batch.records.saturating_sub(unread), unread);
        let arrivals = self.arrivals();
        if let Some(pending) = &mut self.pending {
            pending.add(minute.hour(), arrivals, &counts);
        }
        let counted = &mut self.columns[arrivals];
        counted.lifetime += counted.window.add_hour(minute.hour(), &counts);
        counted.newest = counted.newest.max(Some(now));
    }

    fn index_of(&self, column: Column) -> usize {
        let found = self.columns.iter().position(|counted| counted.column == column);
        found.expect("every source has columns for its records and for missing fields")
    }

    fn reject(&mut self, rejection: Rejection, count: u64) {
        if count > 0 {
            let refused = self.rejected.entry(rejection).or_default();
            *refused = refused.saturating_add(count);
            if let Some(pending) = &mut self.pending {
                let refused = pending.rejected.entry(rejection).or_default();
                *refused = refused.saturating_add(count);
            }
        }
    }

    fn observe_page(&mut self, page: &Page, bounds: Bounds) {
        let first = page.hour.saturating_mul(PAGE_MINUTES as i64);
        let row = |minute: Minute| minute.number().saturating_sub(first).clamp(0, PAGE_MINUTES as i64) as usize;
        let (from, to) = (row(bounds.oldest), row(bounds.newest.plus(1)));
        if from > 0 || to < PAGE_MINUTES {
            let records = self.index_of(Column::Records);
            let refused = |rows| page.column(records).map(|hour| HourCounts::of_column(hour, rows));
            let refused = |rows| refused(rows).unwrap_or(HourCounts::ZERO);
            let (expired, future) = (refused(0..from), refused(to..PAGE_MINUTES));
            let last_expired = expired.occupied().map(|(_, last)| Minute::from_number(first).plus(last as i64));
            self.expired = self.expired.max(last_expired);
            self.reject(Rejection::Expired, expired.sum().total());
            self.reject(Rejection::Future, future.sum().total());
        }
        if from >= to {
            return;
        }
        let start = Minute::from_number(first);
        for (index, hour) in page.columns() {
            let counted = &mut self.columns[index];
            let counts = HourCounts::of_column(hour, from..to);
            if let Some(pending) = &mut self.pending {
                pending.add(page.hour, index, &counts);
            }
            let heard = counted.add_hour(start, &counts, bounds.kept);
            if counted.column == Column::Records {
                self.first_heard = self.first_heard.into_iter().chain(heard).min();
            }
        }
    }
}

impl Tallies<'_> {
    /// What happened in the window that ends at `t`.
    pub(super) fn at(&mut self, t: Timestamp) -> Tally {
        let first = self.length.first_minute(t.minute());
        match self.slices {
            None => self.sums.sum(first, t.minute()),
            Some(slices) => slices.tally(&mut self.sums, first, t, self.first_heard),
        }
    }

    /// A tally that burns no faster than any window that ends in a minute from `first` to `last`: the bad events that
    /// all of those have in common, and the events that any of them has. Nothing where that is not known.
    pub(super) fn mildest(&self, first: Minute, last: Minute) -> Tally {
        let common = self.events.sum(self.length.first_minute(last), first);
        let all = self.events.sum(self.length.first_minute(first), last);
        match all.total().checked_sub(common.bad) {
            Some(others) if self.slices.is_none() && all.total() < u64::MAX => Tally::new(others, common.bad),
            _ => Tally::ZERO,
        }
    }
}

impl Counted {
    /// Adds the hour that begins at `start`, judges the slices that it reaches into, and returns the first minute that
    /// saw an event. What that needs is looked for only where somebody wants it: this is where a report spends its
    /// time.
    fn add_hour(&mut self, start: Minute, counts: &HourCounts, kept: Minute) -> Option<Minute> {
        let sum = self.window.add_hour(start.hour(), counts);
        self.lifetime += sum;
        if sum.is_empty() || (self.slices.is_none() && self.column != Column::Records) {
            return None;
        }
        let (first, last) = counts.occupied()?;
        let first = start.plus(first as i64);
        if let Some(slices) = &mut self.slices {
            slices.judge(&self.window, first, start.plus(last as i64), kept);
        }
        Some(first)
    }

    /// Takes note of the newest event of a batch that comes in at `now`. One that lies outside the accepted minutes was
    /// refused, and then all that is known of the newest accepted one is its minute.
    fn meet(&mut self, event: Option<Timestamp>, Bounds { oldest, newest, .. }: Bounds, now: Timestamp) {
        let event = match event {
            Some(event) if event.minute() > newest => self.window.last_occupied(oldest, newest).map(Minute::start),
            event => event.filter(|event| event.minute() >= oldest),
        };
        self.ahead = self.ahead.max(event.filter(|event| *event > now).map(Timestamp::minute));
        self.newest = self.newest.max(event.map(|event| event.min(now)));
    }
}

impl Slices {
    /// Judges every slice that reaches into the minutes from `first` to `last` anew; none that begins before `kept`,
    /// for such a slice is in no window any more and has no place in the ring.
    fn judge(&mut self, requests: &Window, first: Minute, last: Minute, kept: Minute) {
        let length = self.rule.slice().minutes();
        let mut start = self.rule.start_of(first);
        if start < kept {
            start = start.plus(length);
        }
        while start <= last {
            let verdict = self.rule.judge(requests.sum(start, start.plus(length - 1)));
            self.verdicts.replace(start, verdict);
            start = start.plus(length);
        }
    }

    /// Judges the slices of an hour that has no verdicts yet. Those that an hour holds whole need no window for it, and
    /// there are a million of them to be judged before a server with many SLOs is ready.
    fn judge_restored(&mut self, requests: &Window, start: Minute, counts: &HourCounts, kept: Minute) {
        let length = self.rule.slice().minutes() as usize;
        if !PAGE_MINUTES.is_multiple_of(length) {
            let occupied = counts.occupied().map(|(first, last)| (start.plus(first as i64), start.plus(last as i64)));
            return occupied.into_iter().for_each(|(first, last)| self.judge(requests, first, last, kept));
        }
        let mut verdicts = HourCounts::ZERO;
        for row in (0..PAGE_MINUTES).step_by(length) {
            let slice = (row..row + length).map(|row| counts.minute(row)).sum::<Tally>();
            if !slice.is_empty() {
                let verdict = self.rule.judge(slice);
                (verdicts.good[row], verdicts.bad[row]) = (verdict.good, verdict.bad);
            }
        }
        self.verdicts.add_hour(start.hour(), &verdicts);
    }

    /// The slices that belong to the window from `first` to `t` and have ended by `t`. Silence is judged only where
    /// somebody would have counted: a rate in slices that the source was heard in or before, and that lie outside every
    /// absence. A percentile needs no such care, for of silence it says nothing. `verdicts` are the sums of its own.
    fn tally(&self, verdicts: &mut Sliding<'_>, first: Minute, t: Timestamp, first_heard: Option<Minute>) -> Tally {
        let last = self.rule.last_ended(t);
        match (self.rule, first_heard) {
            (SliceRule::Percentile { .. }, _) | (SliceRule::Throughput { .. }, None) => verdicts.sum(first, last),
            (SliceRule::Throughput { .. }, Some(heard)) => {
                let first = first.max(self.rule.start_of(heard));
                let attended = attended(&self.absences, self.rule, first, last);
                attended.map(|(first, last)| self.tally_attended(verdicts.sum(first, last), first, last)).sum()
            }
        }
    }

    /// The slices with their first minute from `first` to `last`: those with traffic, which were judged, and the
    /// others.
    fn tally_attended(&self, judged: Tally, first: Minute, last: Minute) -> Tally {
        let silent = self.rule.count(first, last).saturating_sub(judged.total());
        match self.rule.judge(Tally::ZERO) {
            Tally { good: 1, .. } => judged + Tally::new(silent, 0),
            _ => judged + Tally::new(0, silent),
        }
    }
}
