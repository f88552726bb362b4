//! Pages of metrics into counts: what [`Counter`](super::Counter) is for lines.
//!
//! A page is read as selected series ([`crate::series`]), these are what the measures of the source's SLOs are made of
//! ([`crate::increase`]), and their increments go into a [`Batch`] like any other counts. A sample that at least one
//! SLO selects is a matched record; one whose value cannot be a count is a refused one.
//!
//! - A page counts as a whole or not at all.
//! - Increments that no source of events can have made are not counted, and said to be lost.
//! - What a target is known to have counted is handed over as bytes, to be committed together with the batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::took::{Took, ranges_by_hour};
use super::{Batch, Column, Durations, PAGE_MINUTES, Page, Rejection, columns, request_sets};
use crate::formats::exposition::{End, Format, Limits, MetricType, PageError, SeriesText, Value};
use crate::increase::{
    self, BadValue, Bound, Health, Hearing, Ignored, Increase, Measure, MeasureKind, Note, NoteKind, Outcome,
    PageRefused, Part, Role, Rules, SavedError, Scrape, whole,
};
use crate::selector::{Selector, Selectors};
use crate::series::{self, MemoryLimits, Read, Reader};
use crate::spec::{Catalog, ScrapeSource, Sli, SloId, SourceId};
use crate::tally::Tally;
use crate::time::{Minute, Timestamp};

/// No measure of one target increases by more than this between two pages, in events.
pub const MOST_AT_ONCE: u64 = 1 << 38;
/// The series that tells when the process began that answers.
const PROCESS_START: &str = "process_start_time_seconds";

/// Counts the pages of one source.
#[derive(Debug)]
pub struct ScrapeCounter {
    rules: Rules,
    measures: Vec<Measured>,
    /// By selector: for which measure, and as what.
    wanted: Vec<(usize, Want)>,
    reader: Reader,
    counts: Counts,
    scratch: Scratch,
}

/// An SLO of the source.
#[derive(Debug)]
struct Measured {
    slo: SloId,
    column: usize,
    measure: Measure,
    /// The set of observations that it counts the durations of, if no SLO before it does.
    set: Option<usize>,
}

/// As what a series is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Total,
    Part,
    Bucket,
    Observations,
    Gauge,
    Process,
}

/// One target, from page to page.
#[derive(Debug)]
pub struct ScrapedTarget {
    series: series::Target,
    counters: increase::Target,
    /// By [`series::Slot`].
    uses: Vec<Vec<Use>>,
    /// By measure: whether its page declared that its counters are gauges, which is told once.
    mistyped: Vec<bool>,
    /// The number of the names that were handed over last.
    saved: Option<u64>,
}

/// What a series is used for.
#[derive(Clone, Copy, Debug)]
struct Use {
    measure: usize,
    what: What,
    place: Option<increase::Slot>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Counter(Role),
    Bucket(Bound),
    /// How many observations a histogram has: if it has no buckets, that says so.
    Observations,
    Gauge,
    Process,
    /// Nothing that could be understood.
    Strange,
}

/// What a page came to, or the want of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scraped {
    /// Samples on the page.
    pub samples: u64,
    /// Those that at least one SLO selects.
    pub selected: u64,
    /// What is to be said beside the numbers.
    pub notes: Vec<(SloId, Note)>,
    /// SLOs whose counters rose by more than [`MOST_AT_ONCE`]; that was not counted.
    pub implausible: Vec<SloId>,
    /// Whether the target answers, if that has changed.
    pub health: Option<bool>,
    /// Why the page was not counted although it is sound; nothing is lost.
    pub ignored: Option<Ignored>,
}

/// Why a page is refused as a whole. Nothing of it was counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// It is not written as metrics are.
    #[error(transparent)]
    Page(#[from] PageError),
    /// It cannot be counted.
    #[error(transparent)]
    Refused(#[from] PageRefused),
}

/// What was counted and not handed over yet.
#[derive(Debug)]
struct Counts {
    source: SourceId,
    records: usize,
    cells: BTreeMap<(Minute, usize), Tally>,
    newest: Vec<Option<Timestamp>>,
    rejected: BTreeMap<Rejection, u64>,
    /// By set and hour.
    took: BTreeMap<(usize, i64), Took>,
    seen: u64,
}

/// Memory that is used for every page again.
#[derive(Debug, Default)]
struct Scratch {
    /// By slot: the last place in the page where its value is. Several points in time of one series are one counter.
    latest: Vec<u32>,
    /// By slot, of the series that tell when others were created: when that was.
    created: Vec<Option<Timestamp>>,
}

impl ScrapeCounter {
    /// A counter for the SLOs over a source.
    pub fn new(catalog: &Catalog, source: SourceId, scrape: &ScrapeSource) -> Self {
        let columns = columns(catalog, source);
        let sets = request_sets(catalog, source);
        let (mut measures, mut wanted, mut selectors) = (Vec::new(), Vec::new(), Vec::new());
        for (column, of) in columns.iter().enumerate() {
            let Column::Slo(slo) = *of else { continue };
            let Some((measure, series)) = measure(catalog, slo) else { continue };
            for (selector, want) in series {
                wanted.push((measures.len(), want));
                selectors.push(selector);
            }
            let set = sets.iter().position(|set| set.slos.first() == Some(&slo));
            measures.push(Measured { slo, column, measure, set });
        }
        wanted.push((usize::MAX, Want::Process));
        selectors.push(Selector::parse(PROCESS_START).expect("the name of a metric is a selector"));
        let limits = limits(scrape);
        let interval_ms = i64::try_from(scrape.interval_ms).unwrap_or(i64::MAX);
        let reader = Reader::new(Arc::new(Selectors::new(selectors)), limits, MemoryLimits::default());
        let records = columns.iter().position(|column| *column == Column::Records).unwrap_or_default();
        let counts = Counts {
            source,
            records,
            cells: BTreeMap::new(),
            newest: vec![None; columns.len()],
            rejected: BTreeMap::new(),
            took: BTreeMap::new(),
            seen: 0,
        };
        let rules = Rules { interval_ms, most_series: scrape.limits.samples };
        Self { rules, measures, wanted, reader, counts, scratch: Scratch::default() }
    }

    /// A target that is known since then; a process of it that begins later is counted from its beginning.
    pub fn target(&self, known_since: Timestamp) -> ScrapedTarget {
        let measures = self.all_measures();
        ScrapedTarget::new(increase::Target::new(self.rules, &measures, Some(known_since)), measures.len())
    }

    /// A target as it was saved; `names` and `state` are what [`ScrapedTarget::save`] gave.
    ///
    /// # Errors
    /// Why the bytes cannot be used.
    pub fn restore(&self, names: &[u8], state: &[u8]) -> Result<ScrapedTarget, SavedError> {
        let measures = self.all_measures();
        let counters = increase::Target::restore(self.rules, &measures, names, state)?;
        Ok(ScrapedTarget::new(counters, measures.len()))
    }

    /// Counts a page that was asked for at `at`.
    ///
    /// # Errors
    /// Why it is refused; the target is as it was.
    pub fn count(
        &mut self,
        target: &mut ScrapedTarget,
        (page, format, end): (&[u8], Format, End),
        at: Timestamp,
    ) -> Result<Scraped, PageFault> {
        let Self { reader, wanted, measures, scratch, counts, .. } = self;
        let reading = reader.read(&mut target.series, page, (format, end))?;
        for slot in reading.appeared.iter().chain(reading.forgotten) {
            target.uses.resize_with(target.uses.len().max(slot.0 as usize + 1), Vec::new);
            target.uses[slot.0 as usize].clear();
        }
        for slot in reading.appeared {
            target.uses[slot.0 as usize] = uses(target.series.series(*slot), wanted);
        }
        let mut scraped = Scraped { samples: reading.samples.into(), ..Scraped::default() };
        let mut scrape = match target.counters.begin(at) {
            Ok(scrape) => scrape,
            Err(ignored) => return Ok(Scraped { ignored: Some(ignored), ..scraped }),
        };
        scratch.note(&target.series, &target.uses, reading.values);
        let mut rejected = Vec::new();
        let mut mistyped = BTreeMap::new();
        for (place, read) in reading.values.iter().enumerate() {
            let slot = read.slot.0 as usize;
            let used = &mut target.uses[slot];
            if scratch.latest[slot] != place as u32 || used.is_empty() {
                continue;
            }
            let series = target.series.series(read.slot);
            let created = series.created().and_then(|slot| scratch.created[slot.0 as usize]);
            let mut bad = None;
            for of in used.iter_mut() {
                if matches!(of.what, What::Counter(_)) && series.metric_type() == MetricType::Gauge {
                    mistyped.entry(of.measure).or_insert(read.slot);
                }
                bad = bad.max(of.show(&mut scrape, series, read, created).err());
            }
            scraped.selected += u64::from(used.iter().any(Use::is_counted));
            rejected.extend(bad);
        }
        let outcome = scrape.finish()?;
        counts.page(&scraped, &rejected, at);
        counts.take_in(measures, outcome, at, &mut scraped);
        for (measure, slot) in mistyped {
            if !std::mem::replace(&mut target.mistyped[measure], true) {
                let example = target.series.series(slot).text().to_string();
                scraped.notes.push((measures[measure].slo, not_a_counter(at, &example)));
            }
        }
        Ok(scraped)
    }

    /// Takes note of a scrape that gave no page.
    pub fn fail(&mut self, target: &mut ScrapedTarget, at: Timestamp) -> Scraped {
        let mut scraped = Scraped::default();
        let outcome = target.counters.failed(at);
        self.counts.take_in(&self.measures, outcome, at, &mut scraped);
        scraped
    }

    /// Hands over what was counted since the last time, of targets that have all been heard up to `heard`.
    pub fn take(&mut self, heard: Option<Timestamp>) -> Batch {
        self.counts.take(heard)
    }

    /// The SLOs that are measured.
    pub fn slos(&self) -> impl Iterator<Item = SloId> {
        self.measures.iter().map(|measured| measured.slo)
    }

    fn all_measures(&self) -> Vec<Measure> {
        self.measures.iter().map(|measured| measured.measure.clone()).collect()
    }
}

impl ScrapedTarget {
    fn new(counters: increase::Target, measures: usize) -> Self {
        let (series, uses, mistyped) = (series::Target::default(), Vec::new(), vec![false; measures]);
        Self { series, counters, uses, mistyped, saved: None }
    }

    /// Whether it answers.
    pub fn health(&self) -> &Health {
        self.counters.health()
    }

    /// How an SLO is read from it, by its place among [`ScrapeCounter::slos`], and whether a process has begun since
    /// then.
    pub fn hearing(&self, place: usize) -> Option<(&Hearing, bool)> {
        self.counters.hearing(place)
    }

    /// When it showed a counter of an SLO's good (or bad) part last, by the same place.
    pub fn part_seen(&self, place: usize) -> Option<Timestamp> {
        self.counters.part_seen(place)
    }

    /// How many series of it are remembered.
    pub fn series(&self) -> usize {
        self.counters.series()
    }

    /// What is to be kept of it: the names of its series, if they have changed since the last time, and its state.
    pub fn save(&mut self) -> (Option<Vec<u8>>, Vec<u8>) {
        let (number, state) = self.counters.save_state();
        if self.saved == Some(number) {
            return (None, state);
        }
        let saved = self.counters.save();
        self.saved = Some(saved.directory_number);
        (Some(saved.directory), saved.state)
    }
}

/// What an SLO measures and which series it needs for it; `None` for one that does not read metrics.
fn measure(catalog: &Catalog, id: SloId) -> Option<(Measure, Vec<(Selector, Want)>)> {
    let name = format!("{}/{}", catalog.story_of(id).name, catalog[id].name);
    let formerly = catalog.renames.slos.get(&id).into_iter().flatten();
    let formerly = formerly.map(|(story, slo)| format!("{story}/{slo}")).collect();
    let found = match &catalog[id].sli {
        Sli::Ratio { total, part, of } => {
            let word = if *part == Part::Good { "good" } else { "bad" };
            let key = format!("{name} ratio {total} {word} {of}");
            let series = vec![(total.clone(), Want::Total), (of.clone(), Want::Part)];
            (Measure { key, formerly, kind: MeasureKind::Ratio(*part) }, series)
        }
        Sli::Histogram { metric, threshold } => {
            let key = format!("{name} histogram {metric} {threshold}");
            let buckets = metric.with_suffix("_bucket").expect("the specs want a histogram to be named");
            let observations = metric.with_suffix("_count").expect("the specs want a histogram to be named");
            let series = vec![(buckets, Want::Bucket), (observations, Want::Observations)];
            (Measure { key, formerly, kind: MeasureKind::Histogram { threshold: *threshold } }, series)
        }
        Sli::Gauge { metric, good_when, slice } => {
            let key = format!("{name} gauge {metric} {good_when} {slice}");
            let kind = MeasureKind::Gauge { good_when: *good_when, slice: *slice };
            (Measure { key, formerly, kind }, vec![(metric.clone(), Want::Gauge)])
        }
        Sli::Availability { .. } | Sli::Latency { .. } | Sli::Percentile { .. } | Sli::Throughput { .. } => {
            return None;
        }
    };
    Some(found)
}

fn limits(scrape: &ScrapeSource) -> Limits {
    let limit = |most: usize| u32::try_from(most).unwrap_or(u32::MAX);
    let of = &scrape.limits;
    let Limits { name_bytes, .. } = Limits::default();
    Limits { samples: limit(of.samples), labels: limit(of.labels), name_bytes, value_bytes: limit(of.label_bytes) }
}

/// What is said of counters whose page says that they are none.
fn not_a_counter(at: Timestamp, series: &str) -> Note {
    let example = format!("its page declares a gauge, and it is counted as a counter all the same: {series}");
    Note { kind: NoteKind::NotACounter, from: at, to: at, events: 0, series: 1, example }
}

/// What a series is used for, by the selectors that select it.
fn uses(series: series::Series<'_>, wanted: &[(usize, Want)]) -> Vec<Use> {
    let mut uses: Vec<Use> = Vec::new();
    for (measure, want) in series.selected_by().iter().map(|id| wanted[id.0 as usize]) {
        let what = match want {
            Want::Total => What::Counter(Role::Total),
            Want::Part => What::Counter(Role::Part),
            Want::Bucket => bound(&series.text()).map_or(What::Strange, What::Bucket),
            Want::Observations => What::Observations,
            Want::Gauge => What::Gauge,
            // Of a page that others are relayed on, none of their starts is that of the counters.
            Want::Process if !series.text().labels.is_empty() => continue,
            Want::Process => What::Process,
        };
        match uses.last_mut().filter(|last| last.measure == measure) {
            Some(last) => last.what = What::Counter(Role::Both),
            None => uses.push(Use { measure, what, place: None }),
        }
    }
    uses
}

fn bound(series: &SeriesText) -> Option<Bound> {
    let (_, le) = series.labels.iter().find(|(name, _)| name == "le")?;
    Bound::parse(le)
}

impl Use {
    /// Whether it is for an SLO, and not only about what is.
    fn is_counted(&self) -> bool {
        !matches!(self.what, What::Process | What::Observations)
    }

    /// Shows a value to its measure.
    ///
    /// # Errors
    /// Why the value is refused.
    fn show(
        &mut self,
        scrape: &mut Scrape<'_>,
        series: series::Series<'_>,
        read: &Read,
        created: Option<Timestamp>,
    ) -> Result<(), BadValue> {
        let count = match read.value {
            Value::Whole(count) => Ok(count),
            Value::Real(real) => whole(real),
        };
        match self.what {
            What::Process => {
                // No SLO is made of it: one that tells no time leaves the start unknown.
                seconds(read.value).into_iter().for_each(|start| scrape.process_start(start));
                return Ok(());
            }
            What::Observations => {
                scrape.observations(self.measure);
                return Ok(());
            }
            What::Strange => return Err(BadValue::NotANumber),
            _ => {}
        }
        // A place may have been given to another series since, and is then looked for anew.
        for is_new in [false, true] {
            let place = match self.place.filter(|_| !is_new) {
                Some(place) => Some(place),
                None => self.find(scrape, series),
            };
            self.place = place;
            let Some(place) = place else { break };
            let is_taken = match self.what {
                What::Counter(_) => scrape.counter(place, count, read.at),
                What::Bucket(_) if series.metric_type() == MetricType::GaugeHistogram => scrape.gauge_bucket(place),
                What::Bucket(bound) => scrape.bucket(place, bound, count),
                _ => scrape.gauge(place, read.value.as_f64()),
            };
            if is_taken {
                let _ = created.is_some_and(|created| scrape.created(place, created));
                break;
            }
        }
        match self.what {
            // NaN is a gauge's way to say that there is nothing to show, which is up to its SLO alone.
            What::Gauge => Ok(()),
            _ => count.map(|_| ()),
        }
    }

    fn find(&self, scrape: &mut Scrape<'_>, series: series::Series<'_>) -> Option<increase::Slot> {
        let (text, role) = match self.what {
            What::Counter(role) => (series.text(), role),
            What::Bucket(_) => (series.text().without(b"le"), Role::Both),
            _ => (series.text(), Role::Both),
        };
        scrape.slot(self.measure, text.to_string().as_bytes(), role)
    }
}

/// An instant in seconds since 1970.
fn seconds(value: Value) -> Option<Timestamp> {
    let millis = value.as_f64() * 1_000.0;
    (millis.is_finite() && millis.abs() < 1e15).then(|| Timestamp::from_millis(millis.round() as i64))
}

impl Scratch {
    /// Takes note of where the values of a page are, and of when its series were created.
    fn note(&mut self, target: &series::Target, uses: &[Vec<Use>], values: &[Read]) {
        self.latest.resize(self.latest.len().max(uses.len()), 0);
        self.created.clear();
        self.created.resize(uses.len(), None);
        for (place, read) in values.iter().enumerate() {
            let slot = read.slot.0 as usize;
            self.latest[slot] = place as u32;
            if uses[slot].is_empty() && target.series(read.slot).selected_by().is_empty() {
                self.created[slot] = seconds(read.value);
            }
        }
    }
}

impl Counts {
    /// Counts the samples of a page.
    fn page(&mut self, scraped: &Scraped, rejected: &[BadValue], at: Timestamp) {
        self.seen += scraped.samples;
        for bad in rejected {
            *self.rejected.entry(Rejection::Value(*bad)).or_default() += 1;
        }
        let refused = rejected.len() as u64;
        let matched = scraped.selected.saturating_sub(refused);
        let read = scraped.samples.saturating_sub(refused);
        self.add(at.minute(), self.records, Tally::new(matched, read.saturating_sub(matched)));
    }

    /// Counts what the measures have increased by.
    fn take_in(&mut self, measures: &[Measured], outcome: Outcome, at: Timestamp, scraped: &mut Scraped) {
        scraped.health = outcome.health;
        for (measured, increase) in measures.iter().zip(outcome.measures) {
            scraped.notes.extend(increase.notes.iter().cloned().map(|note| (measured.slo, note)));
            if increase.sum().total() > MOST_AT_ONCE {
                scraped.implausible.push(measured.slo);
                continue;
            }
            self.increase(measured, &increase, at);
        }
    }

    fn increase(&mut self, measured: &Measured, increase: &Increase, at: Timestamp) {
        let is_gauge = matches!(measured.measure.kind, MeasureKind::Gauge { .. });
        for (minute, tally) in increase.minutes.iter().filter(|(_, tally)| !tally.is_empty()) {
            self.add(*minute, measured.column, *tally);
            let event = if is_gauge { minute.start() } else { at.min(minute.plus(1).start().plus_millis(-1)) };
            let newest = &mut self.newest[measured.column];
            *newest = (*newest).max(Some(event));
        }
        let Some(set) = measured.set else { return };
        for (from, to, buckets) in &increase.buckets {
            for (hour, ranges) in ranges_by_hour(buckets, *from, *to) {
                let took = self.took.entry((set, hour)).or_default();
                *took = took.plus(&Took::Ranges(ranges));
            }
        }
    }

    fn add(&mut self, minute: Minute, column: usize, tally: Tally) {
        *self.cells.entry((minute, column)).or_default() += tally;
    }

    fn take(&mut self, heard: Option<Timestamp>) -> Batch {
        let columns = self.newest.len();
        let mut newest = std::mem::replace(&mut self.newest, vec![None; columns]);
        newest[self.records] = heard;
        let durations = std::mem::take(&mut self.took).into_iter();
        Batch {
            source: self.source,
            pages: pages(std::mem::take(&mut self.cells)),
            newest,
            rejected: std::mem::take(&mut self.rejected),
            truncated: 0,
            records: std::mem::take(&mut self.seen),
            unread_run: 0,
            samples: Vec::new(),
            unmatched: Vec::new(),
            durations: durations.map(|((set, hour), took)| Durations { hour, set, took }).collect(),
        }
    }
}

/// Cells as pages, whose counts have 32 bits: what does not fit goes into further pages of the same hour.
fn pages(cells: BTreeMap<(Minute, usize), Tally>) -> Vec<Page> {
    let mut pages: Vec<Page> = Vec::new();
    for ((minute, column), mut left) in cells {
        let row = minute.number().rem_euclid(PAGE_MINUTES as i64) as usize;
        let first = pages.iter().position(|page| page.hour == minute.hour()).unwrap_or(pages.len());
        let mut place = first;
        while !left.is_empty() {
            match pages.get(place) {
                Some(page) if page.hour == minute.hour() => {}
                Some(_) => {
                    place += 1;
                    continue;
                }
                None => pages.push(Page::new(minute.hour())),
            }
            let fits = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
            let (good, bad) = (fits(left.good), fits(left.bad));
            let cells = pages[place].column_mut(column);
            (cells.good[row], cells.bad[row]) = (good, bad);
            left = Tally::new(left.good - u64::from(good), left.bad - u64::from(bad));
            place += 1;
        }
    }
    pages
}

#[cfg(test)]
mod tests;
