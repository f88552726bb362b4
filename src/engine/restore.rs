//! Restoring: an engine that goes on where a checkpoint ended.
//!
//! Counts come by the hour, packed as the windows hold them. What is derived, the verdicts on slices, is derived anew.
//!
//! The windows are rings around `now`. When the clock is put right by more than they have room for, what they should
//! hold is no longer in them, but it is in the store: [`Coverage`] knows that, and the engine asks to be restored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::counts::PAGE_MINUTES;
use crate::engine::audit::Journal;
use crate::engine::durations::Rings;
use crate::engine::identity::Book;
use crate::engine::renames::{self, Renamed};
use crate::engine::terms::enter_change;
use crate::engine::{Engine, Kept, KeptGate, SeriesId, SeriesName, SlotCounts, SourceRename, Terms, Totals, Tracking};
use crate::gate::GateState;
use crate::latency::Slot;
use crate::spec::{Catalog, ServiceId, SloId, SourceId, SourceKind};
use crate::time::{Horizon, Minute, Timestamp};
use crate::window::{PackedHour, Window};

/// The minutes whose counts, if there are any, are in the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coverage {
    /// The first.
    pub(super) from: Minute,
    /// The first minute after that which has counts elsewhere.
    pub(super) until: Option<Minute>,
}

impl Coverage {
    /// Takes note that `minute` was written to windows that keep `kept`: it may have displaced others.
    pub(super) fn wrote(&mut self, minute: Minute, kept: Horizon) {
        self.from = self.from.max(Window::first_beside(minute, kept));
    }
}

/// An engine that is being restored.
#[derive(Debug)]
pub struct Restoring {
    engine: Engine,
    /// By number of a series: its source and column, if the catalog has one.
    places: Vec<Option<Place>>,
    from: Minute,
    last: Minute,
    until: Option<Minute>,
}

/// The durations of an engine that is being restored: they and the counts can be read at the same time.
#[derive(Debug)]
pub struct RestoringDurations {
    rings: Rings,
    /// By number of a series: its source and set of requests, if the catalog has one.
    sets: BTreeMap<SeriesId, (usize, usize)>,
    oldest: Minute,
    last_day: i64,
    now: Timestamp,
}

/// Where the counts of a series go.
#[derive(Clone, Copy, Debug)]
struct Place {
    source: SourceId,
    column: usize,
}

impl Engine {
    /// Begins to go on where `kept` ended, at `now`: with its series, totals, gates and numbers. From here on the
    /// engine remembers what changes, for [`Engine::checkpoint`].
    pub fn restore(mut self, kept: &Kept, now: Timestamp) -> (Restoring, RestoringDurations) {
        self.now = now;
        let mut journal = Journal::after(kept.last_audit);
        let renamed = renames::follow(&self.catalog, kept, now, &mut journal);
        let Renamed { kept, series, gates: renamed, gone_gates, not_followed } = renamed;
        let kept = &*kept;
        let renamed_sources = (kept.renamed_sources.clone(), false);
        let book = Book::new(&self.catalog, kept, series, now, &mut journal);
        let restored = |gate: &KeptGate| self.gate_from(gate);
        for (service, state) in kept.gates.iter().filter_map(restored).collect::<Vec<_>>() {
            self.gates[service.0] = Some(state);
        }
        self.restore_totals(kept, &book);
        // A whole day, so that a clock that wavers around a minute needs nothing that is not there.
        let from = Minute::from_number(self.kept.first_minute(now.minute()).number().div_euclid(1_440) * 1_440);
        let places = places(&self.catalog, &book);
        let sets = book.sets().iter().enumerate();
        let sets = sets.flat_map(|(source, sets)| sets.iter().enumerate().map(move |(set, id)| (*id, (source, set))));
        let sets = sets.collect();
        let coverage = Coverage { from, until: None };
        let earliest = kept.earliest;
        let gates = self.gates_as_kept(kept, &renamed, now, &mut journal);
        let (expiry, cut) = (None, None);
        self.tracking = Some(Box::new(Tracking {
            book,
            journal,
            gates,
            gone_gates,
            renamed_sources,
            not_followed,
            coverage,
            expiry,
            earliest,
            cut,
        }));
        self.ledgers.iter_mut().for_each(|ledger| ledger.remember());
        self.durations.remember();
        let last = Window::last_beside(from, self.kept);
        let rings = self.durations.await_past();
        let oldest = self.kept.first_minute(now.minute());
        let last_day = Slot::Hour(self.newest_accepted().hour()).day();
        let durations = RestoringDurations { rings, sets, oldest, last_day, now };
        (Restoring { engine: self, places, from, last, until: None }, durations)
    }

    /// Takes over the durations of an earlier engine, and adds those that were counted since this one began.
    pub fn take_durations(&mut self, durations: RestoringDurations) {
        let RestoringDurations { rings, oldest, now, .. } = durations;
        self.durations.take_over(rings, oldest, now);
    }

    /// The same engine, with what only the engine before it in this process knows of sources that both have: how far
    /// they are read, which must not be counted any more, and the refused records that people may look at. How SLOs are
    /// measured is known only of the same catalog.
    pub fn going_on_from(mut self, before: &Self) -> Self {
        let renamed = self.renamed_sources().to_vec();
        for (ledger, source) in self.ledgers.iter_mut().zip(&self.catalog.sources) {
            if let Some(same) = before.catalog.source_named(SourceRename::former(&renamed, &source.name)) {
                ledger.quality.take_over(&before.ledgers[same.0].quality);
                ledger.show_samples_of(&before.ledgers[same.0]);
                let targets = before.ledgers[same.0].targets.as_ref();
                let targets = targets.filter(|_| matches!(source.kind, SourceKind::Scrape(_)));
                ledger.targets = targets.map(|targets| match self.catalog == before.catalog {
                    true => Arc::clone(targets),
                    false => Arc::new(targets.by_specs(&before.catalog, &self.catalog)),
                });
            }
        }
        if self.catalog == before.catalog {
            self.measured.clone_from(&before.measured);
        }
        self
    }

    fn restore_totals(&mut self, kept: &Kept, book: &Book) {
        let by_series: BTreeMap<SeriesId, &Totals> = kept.totals.iter().map(|totals| (totals.series, totals)).collect();
        for source in (0..self.ledgers.len()).map(SourceId) {
            let name = &self.catalog[source].name;
            if let Some(totals) = kept.sources.iter().find(|totals| totals.source == *name) {
                self.ledgers[source.0].restore(totals);
            }
            for (column, series) in book.columns(source).iter().enumerate() {
                self.ledgers[source.0].restore_absences(column, &book.series(source, column).absences);
                if let Some(totals) = by_series.get(series) {
                    self.ledgers[source.0].restore_column(column, totals);
                }
            }
        }
    }

    /// The gate of a service that still exists; SLOs that do not no longer hold it.
    fn gate_from(&self, gate: &KeptGate) -> Option<(ServiceId, GateState)> {
        let service = self.catalog.services.iter().position(|service| service.name == gate.service)?;
        let named = |(story, slo): &(String, String)| {
            let is = |id: &SloId| self.catalog.story_of(*id).name == *story && self.catalog[*id].name == *slo;
            self.catalog.services[service].slos.iter().copied().find(is)
        };
        let KeptGate { level, since, holding, hold, .. } = gate;
        let holding = holding.iter().filter_map(named).collect();
        Some((ServiceId(service), GateState { level: *level, since: *since, holding, hold: hold.clone() }))
    }

    /// The states of gates that need not be kept again, for what is kept of them is what there is, but for those of
    /// `renamed` services. Where a gate decides by other terms than before, that is entered into the journal.
    fn gates_as_kept(
        &self,
        kept: &Kept,
        renamed: &BTreeSet<String>,
        now: Timestamp,
        journal: &mut Journal,
    ) -> Vec<Option<GateState>> {
        let mut gates = self.gates.clone();
        for gate in &kept.gates {
            let Some(service) = self.catalog.service_named(&gate.service) else { continue };
            let terms = Terms::of(&self.catalog, service);
            if gate.terms != terms {
                enter_change(gate, &terms, now, journal);
                gates[service.0] = None;
            }
            if renamed.contains(&gate.service) {
                gates[service.0] = None;
            }
        }
        gates
    }

    /// The state of a gate, by names.
    pub(super) fn kept_gate(&self, service: ServiceId, state: &GateState) -> KeptGate {
        let name = |slo: &SloId| (self.catalog.story_of(*slo).name.clone(), self.catalog[*slo].name.clone());
        KeptGate {
            service: self.catalog[service].name.clone(),
            level: state.level,
            since: state.since,
            holding: state.holding.iter().map(name).collect(),
            hold: state.hold.clone(),
            terms: Terms::of(&self.catalog, service),
        }
    }
}

impl RestoringDurations {
    /// Takes the durations of a slot; in any order. Those of series that no spec names are left out.
    pub fn add(&mut self, counts: &SlotCounts) {
        if let Some(place) = self.sets.get(&counts.series)
            && counts.slot.day() <= self.last_day
        {
            self.rings.restore(*place, counts, self.oldest, self.now);
        }
    }
}

impl Restoring {
    /// The first minute whose counts are wanted.
    pub fn from(&self) -> Minute {
        self.from
    }

    /// Takes the counts of an hour, or some of them; hours come in ascending order, and each series once in an hour.
    /// Counts of series that no spec names are left out.
    pub fn add(&mut self, hour: i64, counts: &[(SeriesId, PackedHour<'_>)]) {
        let start = Minute::from_number(hour.saturating_mul(PAGE_MINUTES as i64));
        if start < self.from {
            return;
        }
        if start > self.last {
            if self.until.is_none_or(|until| until.hour() == hour) {
                self.until = self.until.into_iter().chain(first_of(start, counts)).min();
            }
            return;
        }
        for (series, counts) in counts {
            if let Some(Some(Place { source, column })) = self.places.get(series.0 as usize) {
                self.engine.ledgers[source.0].restore_hour(*column, start, *counts, self.from);
            }
        }
    }

    /// The engine, as it was, but for the durations: it tells none before it has [taken](Engine::take_durations) them.
    pub fn finish(mut self) -> Engine {
        if let Some(tracking) = &mut self.engine.tracking {
            tracking.coverage.until = self.until;
        }
        self.engine
    }
}

/// The first minute of an hour that has counts.
fn first_of(start: Minute, counts: &[(SeriesId, PackedHour<'_>)]) -> Option<Minute> {
    let rows = counts.iter().filter_map(|(_, counts)| counts.counts().occupied());
    rows.map(|(first, _)| start.plus(first as i64)).min()
}

/// Where each series goes.
fn places(catalog: &Catalog, book: &Book) -> Vec<Option<Place>> {
    let mut places = Vec::new();
    for source in (0..catalog.sources.len()).map(SourceId) {
        for (column, series) in book.columns(source).iter().enumerate() {
            let index = series.0 as usize;
            if places.len() <= index {
                places.resize(index + 1, None);
            }
            places[index] = Some(Place { source, column });
        }
    }
    places
}

/// A name for people.
impl std::fmt::Display for SeriesName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Slo { story, slo } => write!(out, "{story}/{slo}"),
            Self::Records { source } => write!(out, "records of {source}"),
            Self::Arrivals { source } => write!(out, "arrivals of {source}"),
            Self::Missing { source } => write!(out, "missing fields of {source}"),
            Self::Durations { source, requests } => write!(out, "durations of {source}: {requests}"),
        }
    }
}
