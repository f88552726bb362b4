//! One target: which pages are taken, in which order, and of which process they are.

use std::sync::Arc;

use super::gauge::{Condition, Gauge, GaugeSeries};
use super::health::Health;
use super::hearing::Hearing;
use super::member::{Member, Page, Role, Seen};
use super::meter::Meter;
use super::reading::{BadValue, Bound};
use super::roster::Slot;
use super::spread::Part;
use super::{Increase, Outcome};
use crate::time::{Horizon, Timestamp};

/// What holds for all pages of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How far scrapes are meant to be apart, in milliseconds.
    pub interval_ms: i64,
    /// How many series may be remembered, all measures together.
    pub most_series: usize,
}

/// What is measured: an SLI over the pages of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What it is kept under: a name, and behind a blank its rule. One with the same name and another rule takes its
    /// place, since what was kept would mean another thing.
    pub key: String,
    /// Names that it had before. What is kept under one of them is its own, unless something is kept under its name.
    pub formerly: Vec<String>,
    /// How.
    pub kind: MeasureKind,
}

/// How good and bad are told apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MeasureKind {
    /// Counters of all events, and counters of some of them.
    Ratio(Part),
    /// Observations in a bucket that ends at the threshold.
    Histogram {
        /// One of the bucket's bounds.
        threshold: Bound,
    },
    /// The last sample of each slice.
    Gauge {
        /// When it is good.
        good_when: Condition,
        /// The length of a slice.
        slice: Horizon,
    },
}

/// One target of a source and all that is measured on it.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) rules: Rules,
    pub(super) measures: Vec<Measured>,
    pub(super) state: TargetState,
    /// Every scrape that is begun has a number.
    number: u64,
    /// The number of the directory of names, but for the series that came and went since.
    directory: u64,
}

/// What is kept of a target beside its measures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TargetState {
    /// The last page that was taken.
    pub last: Option<Timestamp>,
    /// Pages that were older than it, one after the other: how many, and the newest.
    pub late: u8,
    pub late_at: Option<Timestamp>,
    /// When the process began that answered last and said so.
    pub process: Option<Timestamp>,
    pub health: Health,
}

#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub key: String,
    pub what: What,
    pub hearing: Hearing,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Meter(Box<Meter>),
    Gauge(Gauge),
}

/// Why a scrape is not taken; nothing is lost, because the next one shows the same counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It began less than half an interval after the last one.
    #[error("a second scrape within one interval is not counted")]
    Duplicate,
    /// It began before the last one did.
    #[error("a scrape that began before the last one is not counted")]
    OutOfOrder,
    /// Its time is none that can be counted in.
    #[error("{0} is no time to count in")]
    NoTime(Timestamp),
}

/// Why a page is refused as a whole. Nothing of it was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageRefused {
    /// It shows this series twice, or this bucket of a histogram, if in different spellings.
    #[error("a series is on the page twice: {0}")]
    DuplicateSeries(String),
    /// It shows more series than may be remembered.
    #[error("more than {0} series are selected; select fewer, or raise the limit")]
    TooManySeries(usize),
}

/// A clock that was set back is recognised by this many scrapes in a row that seem to be of the past. Scrapes that were
/// overtaken are never so many.
pub const LATE_PAGES: u8 = 10;
/// A start time further ahead of us than this is of a wrong clock and proves nothing.
const AHEAD_MS: i64 = 60_000;
/// Start times of one process may differ by this much, and then by whole seconds: kernels tell the start of a process
/// by that of the machine, which they tell in seconds. Replicas that were started together differ by fractions as well.
const START_JITTER_MS: u64 = 2_000;
/// Times are of the years 1970 to 9999.
pub(super) const LATEST_MS: i64 = 253_402_300_799_999;

impl Target {
    /// A target that was never scraped. If it is known since when it would have been scraped, had it been there, then a
    /// process that began later is counted from its beginning; otherwise, the first page is where counting begins.
    pub fn new(rules: Rules, measures: &[Measure], watched_since: Option<Timestamp>) -> Self {
        let watched_since = watched_since.filter(|since| is_time(*since));
        let measures = measures.iter().map(|measure| Measured::new(measure, watched_since)).collect();
        let interval_ms = rules.interval_ms.clamp(1, LATEST_MS);
        Self { rules: Rules { interval_ms, ..rules }, measures, state: TargetState::default(), number: 0, directory: 0 }
    }

    /// Begins to read a page; `at` is when the request was sent. Nothing changes before [`Scrape::finish`].
    ///
    /// # Errors
    /// Why the page is not to be counted.
    pub fn begin(&mut self, at: Timestamp) -> Result<Scrape<'_>, Ignored> {
        self.admit(at)?;
        self.number += 1;
        let series = self.series();
        Ok(Scrape { target: self, at, process: None, refused: None, series, made_room: false })
    }

    /// A scrape that gave no page. Returns the slices that have ended, and the state if it has changed.
    pub fn failed(&mut self, at: Timestamp) -> Outcome {
        let at = Timestamp::from_millis(at.millis().clamp(0, LATEST_MS));
        let health = self.state.health.observe(false, at);
        let measures = self.measures.iter_mut().map(|measured| {
            measured.hearing.unanswered(at);
            match &mut measured.what {
                What::Meter(_) => Increase::default(),
                What::Gauge(gauge) => gauge.judge(at),
            }
        });
        Outcome { measures: measures.collect(), health }
    }

    /// Whether it answers.
    pub fn health(&self) -> &Health {
        &self.state.health
    }

    /// When a counter of a measure's part was seen last, as far as is remembered, by the measure's place. Of a measure
    /// without such counters, never.
    pub fn part_seen(&self, place: usize) -> Option<Timestamp> {
        match &self.measures.get(place)?.what {
            What::Meter(meter) => meter.part_seen,
            What::Gauge(_) => None,
        }
    }

    /// How a measure is read, and whether a process has begun since it was read last: what that does not show it may
    /// not have counted yet.
    pub fn hearing(&self, measure: usize) -> Option<(&Hearing, bool)> {
        let hearing = &self.measures.get(measure)?.hearing;
        Some((hearing, hearing.last.is_some() && self.state.process > hearing.last))
    }

    /// How many series are remembered.
    pub fn series(&self) -> usize {
        self.measures.iter().map(|measured| measured.what.series()).sum()
    }

    /// Events of a measure that are held back until a restart is confirmed, or until good and total agree.
    pub fn held_back(&self, measure: usize) -> u64 {
        match self.measures.get(measure).map(|measured| &measured.what) {
            Some(What::Meter(meter)) => meter.held_back(),
            _ => 0,
        }
    }

    /// Changes whenever a series comes or goes.
    pub(super) fn directory_number(&self) -> u64 {
        let changes = self.measures.iter().map(|measured| measured.what.revision());
        changes.fold(self.directory, u64::wrapping_add)
    }

    /// Gives the directory as it is now this number.
    pub(super) fn number_directory(&mut self, number: u64) {
        self.directory = 0;
        self.directory = number.wrapping_sub(self.directory_number());
    }

    fn admit(&mut self, at: Timestamp) -> Result<(), Ignored> {
        if !is_time(at) {
            return Err(Ignored::NoTime(at));
        }
        let half_ms = (self.rules.interval_ms + 1) / 2;
        let close = |earlier: Timestamp| (at.millis() - earlier.millis()) < half_ms;
        match self.state.last {
            Some(last) if at <= last => {
                if self.state.late_at.is_none_or(|late| !close(late)) {
                    (self.state.late, self.state.late_at) = (self.state.late.saturating_add(1), Some(at));
                }
                // Values still tell what was counted; only the times between the two clocks are lost.
                if self.state.late < LATE_PAGES { Err(Ignored::OutOfOrder) } else { Ok(()) }
            }
            Some(last) if close(last) => Err(Ignored::Duplicate),
            _ => Ok(()),
        }
    }

    /// The start of the process as it is compared: one that is only told differently is no other process.
    fn process(&mut self, start: Option<Timestamp>, at: Timestamp) -> Option<Timestamp> {
        let start = start.filter(|start| is_plausible(*start, at))?;
        if let Some((known, last)) = self.state.process.zip(self.state.last) {
            let apart_ms = start.millis().abs_diff(known.millis());
            let trembles = start <= last && apart_ms <= START_JITTER_MS && apart_ms % 1_000 == 0;
            if trembles {
                return Some(known);
            }
        }
        self.state.process = Some(start);
        Some(start)
    }
}

fn is_plausible(start: Timestamp, at: Timestamp) -> bool {
    is_time(start) && start <= at.plus_millis(AHEAD_MS)
}

fn is_time(time: Timestamp) -> bool {
    (0..=LATEST_MS).contains(&time.millis())
}

impl Measure {
    /// Whether it is what was kept under this key.
    pub(super) fn is_kept_under(&self, key: &str) -> bool {
        let (name, rule) = parts(key);
        rule == parts(&self.key).1 && self.had_name(name)
    }

    /// Whether this is its name, or was.
    pub(super) fn had_name(&self, name: &str) -> bool {
        name == parts(&self.key).0 || self.formerly.iter().any(|former| former == name)
    }
}

/// The name and the rule in the key of a measure.
pub(super) fn parts(key: &str) -> (&str, &str) {
    key.split_once(' ').unwrap_or((key, ""))
}

impl Measured {
    fn new(measure: &Measure, zero_after: Option<Timestamp>) -> Self {
        let what = match measure.kind {
            MeasureKind::Ratio(part) => What::Meter(Box::new(Meter::new(part, None, zero_after))),
            MeasureKind::Histogram { threshold } => {
                What::Meter(Box::new(Meter::new(Part::Good, Some(threshold), zero_after)))
            }
            MeasureKind::Gauge { good_when, slice } => What::Gauge(Gauge::new(good_when, slice)),
        };
        Self { key: measure.key.clone(), what, hearing: Hearing::default() }
    }
}

impl What {
    fn series(&self) -> usize {
        match self {
            Self::Meter(meter) => meter.members.len(),
            Self::Gauge(gauge) => gauge.series.len(),
        }
    }

    fn revision(&self) -> u64 {
        match self {
            Self::Meter(meter) => meter.members.revision(),
            Self::Gauge(gauge) => gauge.series.revision(),
        }
    }

    /// Forgets the series that are gone, to make room.
    fn forget_the_gone(&mut self, page: u64) {
        match self {
            Self::Meter(meter) => meter.forget_the_gone(page),
            Self::Gauge(gauge) => {
                drop(gauge.series.remove_if(|series| series.slice.is_none() && series.seen.0 != page))
            }
        }
    }
}

/// A page that is being read.
///
/// Samples may come in any order. Dropping it instead of finishing it leaves the target as it was, but for the names of
/// series, which the next page forgets if it does not show them.
#[derive(Debug)]
pub struct Scrape<'t> {
    target: &'t mut Target,
    at: Timestamp,
    process: Option<Timestamp>,
    refused: Option<PageRefused>,
    /// How many series the target remembers, and whether those that are gone were forgotten already.
    series: usize,
    made_room: bool,
}

impl Scrape<'_> {
    /// The place of a series of a measure, by its position among the measures. `name` is what tells it from every other
    /// series of the measure: for a histogram without the label `le`.
    ///
    /// `None` when there is no such measure, or when there are too many series; then the page is refused.
    pub fn slot(&mut self, measure: usize, name: &[u8], role: Role) -> Option<Slot> {
        let what = &mut self.target.measures.get_mut(measure)?.what;
        let measure = u32::try_from(measure).ok()?;
        let known = match what {
            What::Meter(meter) => meter.members.find(measure, name),
            What::Gauge(gauge) => gauge.series.find(measure, name),
        };
        if known.is_some() {
            return known;
        }
        self.make_room()?;
        let (what, number) = (&mut self.target.measures[measure as usize].what, self.target.number);
        Some(match what {
            What::Meter(meter) => {
                let role = if meter.threshold.is_some() { Role::Both } else { role };
                let seed = meter.seeds.remove(name).map(|seed| Member { role, ..seed });
                let mut member = seed.unwrap_or_else(|| Member::new(name.into(), role));
                member.on_page(number);
                meter.members.add(measure, member)
            }
            What::Gauge(gauge) => {
                let seed = gauge.seeds.remove(name);
                gauge.series.add(measure, seed.unwrap_or_else(|| GaugeSeries::new(name.into())))
            }
        })
    }

    /// The page has a number of observations for the histogram of a measure, whether or not it has buckets.
    pub fn observations(&mut self, measure: usize) {
        let number = self.target.number;
        if let Some(What::Meter(meter)) = self.target.measures.get_mut(measure).map(|measured| &mut measured.what) {
            meter.observations_on = number;
        }
    }

    /// Counts another series in, if need be in place of those that are gone; `None` when that is not enough.
    fn make_room(&mut self) -> Option<()> {
        let (most, number) = (self.target.rules.most_series, self.target.number);
        if self.series >= most && !std::mem::replace(&mut self.made_room, true) {
            self.target.measures.iter_mut().for_each(|measured| measured.what.forget_the_gone(number));
            self.series = self.target.series();
        }
        if self.series >= most {
            self.refused = Some(PageRefused::TooManySeries(most));
            return None;
        }
        self.series += 1;
        Some(())
    }

    /// When the process began that answers, if the page says so.
    pub fn process_start(&mut self, start: Timestamp) {
        self.process = Some(start);
    }

    /// A sample of a counter, with its own timestamp if it has one. `false` when the slot is no longer (or never was)
    /// that of a counter; its series must be looked up again.
    pub fn counter(&mut self, slot: Slot, value: Result<u64, BadValue>, stamp: Option<Timestamp>) -> bool {
        let Some((seen, false)) = self.seen(slot) else { return false };
        if seen.value.is_some() {
            self.refuse_twice(slot, "");
        } else {
            (seen.value, seen.stamp) = (Some(value), stamp.filter(|stamp| is_time(*stamp)));
        }
        true
    }

    /// When a counter or a histogram began, its `_created`. `false` as for [`Scrape::counter`].
    pub fn created(&mut self, slot: Slot, created: Timestamp) -> bool {
        let at = self.at;
        let Some((seen, _)) = self.seen(slot) else { return false };
        seen.created = Some(created).filter(|created| is_plausible(*created, at));
        true
    }

    /// A bucket of a histogram. `false` as for [`Scrape::counter`].
    pub fn bucket(&mut self, slot: Slot, bound: Bound, count: Result<u64, BadValue>) -> bool {
        let Some((seen, true)) = self.seen(slot) else { return false };
        if seen.buckets.len() > super::histogram::MOST_BUCKETS {
            return true;
        }
        if seen.buckets.iter().any(|(other, _)| *other == bound) {
            self.refuse_twice(slot, &format!(", its bucket up to {bound}, if in two spellings"));
        } else {
            seen.buckets.push((bound, count));
        }
        true
    }

    /// A bucket of a gauge histogram, which counts nothing and leaves its measure unread. `false` as for
    /// [`Scrape::counter`].
    pub fn gauge_bucket(&mut self, slot: Slot) -> bool {
        let Some((seen, true)) = self.seen(slot) else { return false };
        seen.is_gauge = true;
        true
    }

    /// A sample of a gauge. `false` when the slot is not that of a gauge, or no longer.
    pub fn gauge(&mut self, slot: Slot, value: f64) -> bool {
        let number = self.target.number;
        let Some(measured) = self.target.measures.get_mut(slot.measure as usize) else { return false };
        let What::Gauge(gauge) = &mut measured.what else { return false };
        let Some(series) = gauge.series.get_mut(slot) else { return false };
        if series.seen.0 == number {
            self.refuse_twice(slot, "");
        } else {
            series.seen = (number, value);
        }
        true
    }

    fn refuse_twice(&mut self, slot: Slot, more: &str) {
        let name = match &mut self.target.measures[slot.measure as usize].what {
            What::Meter(meter) => meter.members.get_mut(slot).map(|member| Arc::clone(&member.name)),
            What::Gauge(gauge) => gauge.series.get_mut(slot).map(|series| Arc::clone(&series.name)),
        };
        let name = name.map(|name| super::note::example(&name)).unwrap_or_default();
        self.refused = Some(PageRefused::DuplicateSeries(format!("{name}{more}")));
    }

    /// Takes the page.
    ///
    /// # Errors
    /// Why it was refused; the target is as it was.
    pub fn finish(self) -> Result<Outcome, PageRefused> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let target = self.target;
        let before = target.state.process;
        let process = target.process(self.process, self.at);
        let page = Page {
            number: target.number,
            at: self.at,
            before: target.state.last,
            process,
            known_process: target.state.process,
            has_restarted: process.zip(before).is_some_and(|(now, then)| now != then && Some(now) > target.state.last),
            interval_ms: target.rules.interval_ms,
        };
        let measures = target.measures.iter_mut().map(|measured| {
            let (increase, silence) = match &mut measured.what {
                What::Meter(meter) => meter.finish(&page),
                What::Gauge(gauge) => gauge.finish(&page),
            };
            measured.hearing.answered(page.at, silence);
            increase
        });
        let measures = measures.collect();
        let state = &mut target.state;
        (state.last, state.late, state.late_at) = (Some(self.at), 0, None);
        Ok(Outcome { measures, health: state.health.observe(true, self.at) })
    }

    /// What the page says of a counter so far, and whether it is a histogram.
    fn seen(&mut self, slot: Slot) -> Option<(&mut Seen, bool)> {
        let number = self.target.number;
        let What::Meter(meter) = &mut self.target.measures.get_mut(slot.measure as usize)?.what else { return None };
        Some((meter.members.get_mut(slot)?.on_page(number), meter.threshold.is_some()))
    }
}
