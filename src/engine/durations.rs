//! How long requests took: the rings of every set of requests, for people to look at. Nothing is decided by them.
//!
//! Summing up a month costs more than everything else that is shown of an SLO, and hardly changes from one tick to the
//! next. A tick therefore does it for a few SLOs only, one after the other; a [`Latency`] says what it covers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::counts::{Durations, RequestSet, Took, request_sets};
use crate::engine::ledger::Bounds;
use crate::engine::{SeriesId, SlotCounts};
use crate::latency::{Precision, Ring, Slot, Spread, fine_from};
use crate::spec::{Catalog, SloId, SourceId, SourceKind};
use crate::time::{Horizon, Minute, Timestamp};

/// How long the requests of an SLO took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// In its own window.
    pub window: Spread,
    /// In the last hour.
    pub hour: Spread,
}

/// The window that is shown of every SLO beside its own.
pub const LATEST: Horizon = Horizon::of_minutes(60);

/// In so many ticks everything is summed up anew.
const TICKS: usize = 64;
/// But at least this many SLOs in a tick.
const AT_LEAST: usize = 8;
/// And at most this many of those that were never summed up, which at a start is all.
const NEW_AT_MOST: usize = 64;
/// At most so many days of a set are folded in one checkpoint.
const MOST_FOLDED: usize = 32;

/// The rings of all sets, and what was shown of them last.
#[derive(Clone, Debug)]
pub(super) struct Rings {
    /// By source and set.
    rings: Vec<Vec<Ring>>,
    /// By SLO: its source and set, if its requests carry durations.
    places: Vec<Option<(SourceId, usize)>>,
    /// By SLO.
    shown: Vec<Option<Latency>>,
    /// The SLO that is summed up next.
    turn: usize,
    /// What is to be in the next checkpoint, if there is to be one.
    pending: Option<Pending>,
    /// What an earlier engine counted is being read, and until then nothing is told.
    awaits_past: bool,
}

/// Additions that are not kept yet, and days that the store may fold.
#[derive(Clone, Debug, Default)]
struct Pending {
    /// By source, set and hour.
    added: BTreeMap<(usize, usize, i64), Took>,
    folds: VecDeque<(SeriesId, i64)>,
    /// The first hour that is told apart, as in the last checkpoint.
    fine_from: Option<i64>,
}

impl Rings {
    pub(super) fn new(catalog: &Catalog) -> Self {
        let sets: Vec<Vec<RequestSet>> =
            (0..catalog.sources.len()).map(|source| request_sets(catalog, SourceId(source))).collect();
        let mut places = vec![None; catalog.slos.len()];
        for (source, sets) in sets.iter().enumerate() {
            for (set, of_set) in sets.iter().enumerate() {
                of_set.slos.iter().for_each(|slo| places[slo.0] = Some((SourceId(source), set)));
            }
        }
        let ring = |source: usize| match catalog.sources[source].kind {
            SourceKind::File(_) => Ring::new(Precision::OneIn128),
            SourceKind::Scrape(_) => Ring::new(Precision::Bounds),
        };
        let rings = sets.iter().enumerate().map(|(source, sets)| vec![ring(source); sets.len()]).collect();
        let shown = vec![None; catalog.slos.len()];
        Self { rings, places, shown, turn: 0, pending: None, awaits_past: false }
    }

    /// Adds what a worker counted, as far as it lies in hours that are accepted.
    pub(super) fn observe(&mut self, source: SourceId, durations: Vec<Durations>, bounds: Bounds, now: Timestamp) {
        let oldest = Slot::Hour(bounds.oldest.hour()).day();
        for Durations { hour, set, took } in durations {
            if Slot::Hour(hour).day() < oldest || hour > bounds.newest.hour() {
                continue;
            }
            self.rings[source.0][set].add(Slot::Hour(hour), &took, bounds.kept, now);
            if let Some(pending) = &mut self.pending {
                let added = pending.added.entry((source.0, set, hour)).or_default();
                *added = if added.is_empty() { took } else { added.plus(&took) };
            }
        }
    }

    /// Forgets what lies before the day of `oldest`.
    pub(super) fn forget_before(&mut self, oldest: Minute) {
        self.rings.iter_mut().flatten().for_each(|ring| ring.forget_before(oldest));
    }

    /// How long the requests of an SLO took in a window; `None` when they carry no durations.
    pub(super) fn spread(&self, slo: SloId, window: Horizon, t: Timestamp, now: Timestamp) -> Option<Spread> {
        if self.awaits_past {
            return None;
        }
        let (source, set) = self.places[slo.0]?;
        Some(self.rings[source.0][set].spread(window, t, now))
    }

    /// Sums up the next few SLOs, and some of those that never were; then shows all of them.
    pub(super) fn show(&mut self, catalog: &Catalog, now: Timestamp) -> &[Option<Latency>] {
        let slos = self.places.len();
        let few = slos.div_ceil(TICKS).max(AT_LEAST).min(slos);
        let turns: BTreeSet<usize> = (0..few).map(|offset| (self.turn + offset) % slos).collect();
        self.turn = (self.turn + few).checked_rem(slos).unwrap_or(0);
        // SLOs about the same requests, of which there are often several, are summed up once.
        let mut known = BTreeMap::new();
        let mut new = 0;
        for slo in 0..slos {
            let is_new = self.shown[slo].is_none() && self.places[slo].is_some();
            let is_next = turns.contains(&slo) || is_new && new < NEW_AT_MOST;
            if !is_next {
                continue;
            }
            new += usize::from(is_new);
            let mut spread = |window| {
                let set = self.places[slo]?;
                *known.entry((set, window)).or_insert_with(|| self.spread(SloId(slo), window, now, now))
            };
            let spreads = spread(catalog.slos[slo].window).zip(spread(LATEST));
            self.shown[slo] = spreads.map(|(window, hour)| Latency { window, hour });
        }
        &self.shown
    }

    /// From here on, remembers what changes.
    pub(super) fn remember(&mut self) {
        self.pending = Some(Pending::default());
    }

    /// Begins to wait for what an earlier engine counted, and returns where that is gathered.
    pub(super) fn await_past(&mut self) -> Self {
        let past = self.clone();
        self.awaits_past = true;
        past
    }

    /// Whether that has not come yet.
    pub(super) fn awaits_past(&self) -> bool {
        self.awaits_past
    }

    /// Takes over what an earlier engine counted, with what was counted here while that was gathered.
    pub(super) fn take_over(&mut self, past: Self, oldest: Minute, now: Timestamp) {
        let rings = std::mem::replace(&mut self.rings, past.rings);
        for (ring, since) in self.rings.iter_mut().flatten().zip(rings.iter().flatten()) {
            ring.absorb(since, oldest, now);
        }
        if let (Some(pending), Some(past)) = (&mut self.pending, past.pending) {
            pending.folds.extend(past.folds);
        }
        self.awaits_past = false;
    }

    /// Takes over a slot of an earlier engine. Its hours are to be folded in the store when they are old.
    pub(super) fn restore(&mut self, place: (usize, usize), counts: &SlotCounts, oldest: Minute, now: Timestamp) {
        let SlotCounts { series, slot, took } = counts;
        self.rings[place.0][place.1].add(*slot, took, oldest, now);
        let is_old = matches!(slot, Slot::Hour(hour) if *hour < fine_from(now));
        if let Some(pending) = self.pending.as_mut().filter(|_| is_old) {
            let fold = (*series, slot.day());
            if pending.folds.back() != Some(&fold) {
                pending.folds.push_back(fold);
            }
        }
    }

    /// How many counts are not kept yet, roughly.
    pub(super) fn uncommitted(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.added.values().map(Took::len).sum())
    }

    /// Hands over what is not kept yet of the sources that `is_sound`, each set's under the number that `series` gives
    /// it, and the days that the store may fold by now.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        series: &[Vec<SeriesId>],
        is_sound: impl Fn(usize) -> bool,
    ) -> (Vec<SlotCounts>, Vec<(SeriesId, i64)>) {
        let Some(pending) = &mut self.pending else { return Default::default() };
        let fine_from = fine_from(now);
        let before = pending.fine_from.replace(fine_from);
        if before.is_some_and(|before| before < fine_from) {
            // The day that has just become old. Others are found by a restart: a clock may have leaped.
            let day = Slot::Hour(fine_from - 1).day();
            pending.folds.extend(series.iter().flatten().map(|series| (*series, day)));
        }
        let few = pending.folds.len().min(MOST_FOLDED);
        let folds = pending.folds.drain(..few).collect();
        let mut slots = BTreeMap::<(SeriesId, Slot), Took>::new();
        for ((source, set, hour), took) in std::mem::take(&mut pending.added) {
            if is_sound(source) {
                // What is old already, when history is read, need not be folded later.
                let slot = if hour < fine_from { Slot::Day(Slot::Hour(hour).day()) } else { Slot::Hour(hour) };
                let sum = slots.entry((series[source][set], slot)).or_default();
                *sum = if sum.is_empty() { took } else { sum.plus(&took) };
            }
        }
        let counts = slots.into_iter().map(|((series, slot), took)| SlotCounts { series, slot, took });
        (counts.collect(), folds)
    }
}
