//! Identity: which series of the past a column of today's catalog goes on with.
//!
//! Series are found by name. Rules and promises are compared as texts that are equal exactly when they mean the same:
//! the order of patterns, the names of placeholders and the way a set of statuses was written do not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::counts::{Column, RequestSet, request_sets};
use crate::engine::absence::{self, Absence};
use crate::engine::audit::{Action, AuditEntry, Journal, SPECS};
use crate::engine::ledger::all_columns;
use crate::engine::{Kept, KeptGate, Series, SeriesId, SeriesName};
use crate::gate::Level;
use crate::increase::Part;
use crate::spec::{Catalog, Objective, Requests, Sli, SloId, SourceId};
use crate::time::{Minute, Timestamp};

/// Every series, and the columns of today that count for some of them.
#[derive(Clone, Debug)]
pub(super) struct Book {
    series: BTreeMap<SeriesId, Series>,
    /// By source and column.
    columns: Vec<Vec<SeriesId>>,
    /// By source and set of requests.
    sets: Vec<Vec<SeriesId>>,
    /// New, or described anew.
    unsaved: BTreeSet<SeriesId>,
    /// Of series that no spec names any more: their newest events.
    orphans: BTreeMap<SeriesId, Option<Timestamp>>,
}

impl Book {
    /// Finds or numbers the series of every column, and enters into the journal what the catalog changes of them. Those
    /// that were `renamed` are described anew already.
    pub(super) fn new(
        catalog: &Catalog,
        kept: &Kept,
        renamed: BTreeSet<SeriesId>,
        now: Timestamp,
        journal: &mut Journal,
    ) -> Self {
        let newest: BTreeMap<SeriesId, Option<Timestamp>> =
            kept.totals.iter().map(|totals| (totals.series, totals.newest)).collect();
        let mut book = Self {
            series: kept.series.iter().map(|series| (series.id, series.clone())).collect(),
            columns: Vec::new(),
            sets: Vec::new(),
            unsaved: renamed,
            orphans: kept.series.iter().map(|series| (series.id, newest.get(&series.id).copied().flatten())).collect(),
        };
        let by_name: BTreeMap<&SeriesName, SeriesId> =
            kept.series.iter().map(|series| (&series.name, series.id)).collect();
        for source in (0..catalog.sources.len()).map(SourceId) {
            // What is named before its source was heard for the first time will count everything there ever was.
            let name = &catalog[source].name;
            let was_heard = kept.sources.iter().any(|totals| totals.source == *name && totals.first_heard.is_some());
            let described = all_columns(catalog, source).into_iter().map(|column| describe(catalog, source, column));
            let numbered = described.map(|series| match by_name.get(&series.name) {
                None => book.enter(began(series, was_heard.then_some(now))),
                Some(id) => {
                    book.come_back(*id, catalog, kept, now, journal);
                    let counted = newest.contains_key(id);
                    book.go_on(*id, series, counted, now).into_iter().for_each(|action| {
                        enter_change(catalog, kept, action, now, journal);
                    });
                    *id
                }
            });
            let numbered = numbered.collect();
            book.columns.push(numbered);
            let described = request_sets(catalog, source).into_iter().map(|set| durations(catalog, source, set));
            let numbered = described.map(|series| match by_name.get(&series.name) {
                None => book.enter(series),
                Some(id) => *id,
            });
            let numbered = numbered.collect();
            book.sets.push(numbered);
        }
        for id in book.columns.iter().chain(&book.sets).flatten() {
            book.orphans.remove(id);
        }
        book.miss(kept, now, journal);
        book
    }

    /// The series of a source's columns.
    pub(super) fn columns(&self, source: SourceId) -> &[SeriesId] {
        &self.columns[source.0]
    }

    /// The series of every source's sets of requests.
    pub(super) fn sets(&self) -> &[Vec<SeriesId>] {
        &self.sets
    }

    /// The series of one column.
    pub(super) fn series(&self, source: SourceId, column: usize) -> &Series {
        &self.series[&self.columns[source.0][column]]
    }

    /// What is new since the last time.
    pub(super) fn take_unsaved(&mut self) -> Vec<Series> {
        let unsaved = std::mem::take(&mut self.unsaved);
        unsaved.iter().map(|id| self.series[id].clone()).collect()
    }

    /// Forgets the series that no spec names and whose counts all lie before `cut`, and returns their numbers.
    pub(super) fn forget_before(&mut self, cut: Minute) -> Vec<SeriesId> {
        let is_over = |newest: &Option<Timestamp>| newest.is_none_or(|newest| newest.minute() < cut);
        let over: Vec<SeriesId> =
            self.orphans.iter().filter(|(_, newest)| is_over(newest)).map(|(id, _)| *id).collect();
        for id in &over {
            self.orphans.remove(id);
            self.series.remove(id);
            self.unsaved.remove(id);
        }
        over
    }

    /// Ends the absence of an SLO that is named again.
    fn come_back(&mut self, id: SeriesId, catalog: &Catalog, kept: &Kept, now: Timestamp, journal: &mut Journal) {
        let Some(series) = self.series.get_mut(&id) else { return };
        let SeriesName::Slo { story, slo } = &series.name else { return };
        let Some(Absence { from, .. }) = absence::end(&mut series.absences, now) else { return };
        let since = from.map(Minute::start);
        let service = catalog.slo_named(story, slo).map(|slo| catalog[catalog.story_of(slo).service].name.clone());
        let slo = format!("{story}/{slo}");
        let long = since.map(|since| format!(" since {since}")).unwrap_or_default();
        let reason = format!("{slo} is named again; nothing was counted for it{long}");
        let service = service.unwrap_or_else(|| story.clone());
        enter_spec_change(kept, service, Action::Returned { slo, since }, reason, now, journal);
        self.unsaved.insert(id);
    }

    /// Begins the absence of every SLO that was named until now: nothing that comes in from here on is counted for it.
    /// At a start, neither is what was written since anything came in last.
    fn miss(&mut self, kept: &Kept, now: Timestamp, journal: &mut Journal) {
        let is_arrivals = |series: &&Series| matches!(series.name, SeriesName::Arrivals { .. });
        let arrivals: BTreeSet<SeriesId> = kept.series.iter().filter(is_arrivals).map(|series| series.id).collect();
        let arrived = kept.totals.iter().filter(|totals| arrivals.contains(&totals.series));
        let since = arrived.filter_map(|totals| totals.newest).max().map_or(now, |newest| newest.min(now));
        for id in self.orphans.keys() {
            let Some(series) = self.series.get_mut(id) else { continue };
            let SeriesName::Slo { story, slo } = &series.name else { continue };
            if series.absences.last().is_some_and(Absence::lasts) {
                continue;
            }
            absence::begin(&mut series.absences, since);
            let slo_path = format!("{story}/{slo}");
            let speaks_for = |gate: &&KeptGate| gate.terms.slos.contains(&slo_path);
            let service = kept.gates.iter().find(speaks_for).map_or(story, |gate| &gate.service).clone();
            let reason = format!("{slo_path} is named by no spec any more; nothing more is counted for it");
            enter_spec_change(kept, service, Action::Removed { slo: slo_path }, reason, now, journal);
            self.unsaved.insert(*id);
        }
    }

    /// Numbers a new series. A number is free again only when nothing is counted under it any more.
    fn enter(&mut self, described: Series) -> SeriesId {
        let id = SeriesId(self.series.last_key_value().map_or(0, |(last, _)| last.0 + 1));
        self.series.insert(id, Series { id, ..described });
        self.unsaved.insert(id);
        id
    }

    /// Goes on with a series as it is described now, and says what changed.
    fn go_on(&mut self, id: SeriesId, described: Series, counted: bool, now: Timestamp) -> Vec<Action> {
        let Some(series) = self.series.get_mut(&id) else { return Vec::new() };
        let SeriesName::Slo { story, slo } = &series.name else { return Vec::new() };
        let slo = format!("{story}/{slo}");
        let mut changes = Vec::new();
        if series.promise != described.promise {
            let from = std::mem::replace(&mut series.promise, described.promise.clone());
            changes.push(Action::Promise { slo: slo.clone(), from, to: described.promise });
        }
        if series.rules != described.rules {
            let from = std::mem::replace(&mut series.rules, described.rules.clone());
            changes.push(Action::Rules { slo, from, to: described.rules });
            series.changed = if counted { Some(now) } else { series.changed };
        }
        if !changes.is_empty() {
            self.unsaved.insert(id);
        }
        changes
    }
}

fn enter_change(catalog: &Catalog, kept: &Kept, action: Action, at: Timestamp, journal: &mut Journal) {
    let (Action::Promise { slo, .. } | Action::Rules { slo, .. }) = &action else { return };
    let named = |id: &SloId| *slo == format!("{}/{}", catalog.story_of(*id).name, catalog[*id].name);
    let Some(id) = (0..catalog.slos.len()).map(SloId).find(named) else { return };
    let service = catalog[catalog[catalog[id].story].service].name.clone();
    let reason = match &action {
        Action::Promise { from, to, .. } => format!("{slo} promises {to}, and promised {from}"),
        _ => format!("{slo} counts by other rules from now on; what was counted stays as it is"),
    };
    enter_spec_change(kept, service, action, reason, at, journal);
}

/// Enters what a change of the specs does about a service, whose gate keeps its level until it is decided anew.
pub(super) fn enter_spec_change(
    kept: &Kept,
    service: String,
    action: Action,
    reason: String,
    at: Timestamp,
    journal: &mut Journal,
) {
    let level: Option<Level> = kept.gates.iter().find(|gate| gate.service == service).map(|gate| gate.level);
    let (by, cause) = (SPECS.to_owned(), "specs".to_owned());
    journal.enter(AuditEntry { number: 0, at, service, by, action, reason, before: level, after: level, cause });
}

/// A new series: what was there before `now`, if there was anything, is not counted for it.
fn began(series: Series, now: Option<Timestamp>) -> Series {
    let is_slo = matches!(series.name, SeriesName::Slo { .. });
    let absences = now.filter(|_| is_slo).map(|now| Absence::until(now.minute()));
    Series { absences: absences.into_iter().collect(), ..series }
}

/// A column as a series, without a number yet.
fn describe(catalog: &Catalog, source: SourceId, column: Column) -> Series {
    let source_name = || catalog[source].name.clone();
    let (name, rules, promise) = match column {
        Column::Slo(slo) => {
            let name = SeriesName::Slo { story: catalog.story_of(slo).name.clone(), slo: catalog[slo].name.clone() };
            (name, rules(catalog, slo), promise(catalog, slo))
        }
        Column::Records => (SeriesName::Records { source: source_name() }, String::new(), String::new()),
        Column::Missing => (SeriesName::Missing { source: source_name() }, String::new(), String::new()),
        Column::Arrivals => (SeriesName::Arrivals { source: source_name() }, String::new(), String::new()),
    };
    Series { id: SeriesId(0), name, rules, promise, changed: None, absences: Vec::new() }
}

/// A set of requests as a series, without a number yet. Its name says everything: other requests are another series.
fn durations(catalog: &Catalog, source: SourceId, set: RequestSet) -> Series {
    let name = SeriesName::Durations { source: catalog[source].name.clone(), requests: set.name };
    let (rules, promise, absences) = Default::default();
    Series { id: SeriesId(0), name, rules, promise, changed: None, absences }
}

/// Everything that decides which requests are counted for an SLO, and as what.
fn rules(catalog: &Catalog, slo: SloId) -> String {
    let slo = &catalog[slo];
    let mut text = format!("{} of {}: ", slo.sli.kind(), catalog[slo.source].name);
    text.extend(slo.requests.as_ref().map(Requests::canonical));
    // What a percentile or a throughput makes of its requests is decided when the counts are read.
    let _ = match &slo.sli {
        Sli::Availability { good, ignore } => write!(text, "; good {good}; ignored {ignore}"),
        Sli::Latency { threshold_us, count } => write!(text, "; good up to {threshold_us}us; counted {count}"),
        Sli::Percentile { threshold_us, .. } => write!(text, "; good up to {threshold_us}us"),
        Sli::Throughput { .. } => Ok(()),
        Sli::Ratio { total, part, of } => write!(text, "{total}; {} {of}", part_name(*part)),
        Sli::Histogram { metric, threshold } => write!(text, "{metric}; good up to {}", threshold.value()),
        Sli::Gauge { metric, good_when, slice } => {
            write!(text, "{metric} in slices of {slice}; good when {good_when}")
        }
    };
    text
}

/// Replaces the name of a source in the rules of an SLO; says whether it was there.
pub(super) fn rename_in_rules(rules: &mut String, from: &str, to: &str) -> bool {
    let Some((kind, rest)) = rules.split_once(" of ") else { return false };
    let Some(rest) = rest.strip_prefix(from).filter(|rest| rest.starts_with(": ")) else { return false };
    *rules = format!("{kind} of {to}{rest}");
    true
}

/// What an SLO promises of its counts.
fn promise(catalog: &Catalog, slo: SloId) -> String {
    let slo = &catalog[slo];
    let (objective, window) = (percent(slo.objective), slo.window);
    match &slo.sli {
        Sli::Availability { .. } | Sli::Latency { .. } | Sli::Ratio { .. } | Sli::Histogram { .. } => {
            format!("{objective}% over {window}")
        }
        Sli::Percentile { percentile, slice, .. } => {
            let percentile = percentile.percent();
            format!("{objective}% of slices of {slice} over {window}, each by its percentile {percentile}")
        }
        Sli::Gauge { slice, .. } => format!("{objective}% of slices of {slice} over {window}"),
        Sli::Throughput { minimum_millionths, slice } => {
            let minimum = *minimum_millionths as f64 / 1e6;
            format!("{objective}% of slices of {slice} over {window}, each with at least {minimum} requests a second")
        }
    }
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::Good => "good",
        Part::Bad => "bad",
    }
}

/// All digits of an objective, in percent.
fn percent(objective: Objective) -> String {
    let (whole, part) = (objective.billionths() / 10_000_000, objective.billionths() % 10_000_000);
    format!("{whole}.{part:07}").trim_end_matches('0').trim_end_matches('.').to_owned()
}
