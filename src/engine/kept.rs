//! What outlives an engine, as plain data: what it says at a checkpoint, and what the next one is restored from.
//!
//! - *Names become numbers once.* Every column of counts is a [`Series`]: found again by its name, counted under a
//!   number that is never given to another as long as anything is counted under it. What an SLO promises may change
//!   without touching its counts; when what decides its counts changes, the counts stay and the series says since when.
//! - *Counts are additions.* A [`Checkpoint`] holds what was added since the last one, so that whoever keeps it adds it
//!   up and never has to know what was there; everything else in it replaces what was kept under the same name.
//! - Nothing derived is kept: verdicts on slices, sums and levels of the past follow from counts.

use std::collections::BTreeMap;

use crate::counts::{Rejection, Took};
use crate::engine::quality::KeptQuality;
use crate::engine::{Absence, AuditEntry, SourceRename, Terms};
use crate::gate::{Hold, Level};
use crate::latency::Slot;
use crate::tally::Tally;
use crate::time::{Minute, Timestamp};

/// The number under which a series is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// What a series counts, by the names of the specs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SeriesName {
    /// The events of an SLO; of the kinds that judge slices, the requests.
    Slo {
        /// Its story.
        story: String,
        /// Its name in that story.
        slo: String,
    },
    /// The accepted records of a source: those that matched an SLO as good, the others as bad.
    Records {
        /// Its name.
        source: String,
    },
    /// The records of a source that lacked a duration, as good.
    Missing {
        /// Its name.
        source: String,
    },
    /// The records of a source by the minute in which they came in: those that could be read as good, the others as
    /// bad.
    Arrivals {
        /// Its name.
        source: String,
    },
    /// How long some requests of a source took.
    Durations {
        /// Its name.
        source: String,
        /// Which requests, in one spelling.
        requests: String,
    },
}

/// One series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its number.
    pub id: SeriesId,
    /// What it counts.
    pub name: SeriesName,
    /// Everything that decides what is counted and as what, in a form that two equal rules share; empty for what is not
    /// an SLO.
    pub rules: String,
    /// What is promised of it, which decides no count; empty for what is not an SLO.
    pub promise: String,
    /// When the rules changed last while there were counts by the old ones.
    pub changed: Option<Timestamp>,
    /// When no spec named it, in order; of an SLO that came to a source that had been heard before, also the time until
    /// then. At most [`MOST_ABSENCES`](super::MOST_ABSENCES).
    pub absences: Vec<Absence>,
}

/// Counts of one minute, or additions to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinuteCounts {
    /// Which.
    pub minute: Minute,
    /// By number, each series at most once and none with an empty tally.
    pub counts: Vec<(SeriesId, Tally)>,
}

/// Counts of durations of one slot, or additions to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotCounts {
    /// Of which requests.
    pub series: SeriesId,
    /// When.
    pub slot: Slot,
    /// What was counted.
    pub took: Took,
}

/// What is known of a series beside its minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Which.
    pub series: SeriesId,
    /// Everything ever counted; in a checkpoint, what was added.
    pub lifetime: Tally,
    /// Its newest event; in a checkpoint in place of the one before, which only a wrong clock may have seen.
    pub newest: Option<Timestamp>,
}

/// What is known of a source beside its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTotals {
    /// Its name.
    pub source: String,
    /// How many records were refused, by reason; in a checkpoint, how many more.
    pub rejected: BTreeMap<Rejection, u64>,
    /// The minute of its earliest accepted record.
    pub first_heard: Option<Minute>,
    /// The newest minute of which a record was refused because it was too old.
    pub expired: Option<Minute>,
    /// What is remembered of its quality; in a checkpoint, if that has changed.
    pub quality: Option<KeptQuality>,
}

/// The state of one gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptGate {
    /// Whose.
    pub service: String,
    /// The level that was found.
    pub level: Level,
    /// Since when it has been that level.
    pub since: Timestamp,
    /// The SLOs that hold an automatic freeze, as (story, slo).
    pub holding: Vec<(String, String)>,
    /// What people ordered.
    pub hold: Option<Hold>,
    /// By what it decides.
    pub terms: Terms,
}

/// Everything an engine is restored from, but for the counts of the minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Every series, also those that no spec names any more.
    pub series: Vec<Series>,
    /// Of those that counted anything.
    pub totals: Vec<Totals>,
    /// By source.
    pub sources: Vec<SourceTotals>,
    /// By service.
    pub gates: Vec<KeptGate>,
    /// The number of the last entry of the audit log; 0 before the first.
    pub last_audit: u64,
    /// The earliest minute with counts.
    pub earliest: Option<Minute>,
    /// Sources that go on under other names from here on. No store keeps that: whoever knows what sources are read from
    /// finds it.
    pub renamed_sources: Vec<SourceRename>,
}

/// What changed since the last checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Sources with other names than everything is kept under: before anything else, all that is kept under the old
    /// ones is to be kept under the new ones, one rename after the other.
    pub renamed_sources: Vec<SourceRename>,
    /// Series that are new or described anew.
    pub series: Vec<Series>,
    /// To be added, by minute, each at most once.
    pub counts: Vec<MinuteCounts>,
    /// To be added, by series and slot.
    pub durations: Vec<SlotCounts>,
    /// Days of series whose hours need not be told apart any more.
    pub folds: Vec<(SeriesId, i64)>,
    /// Lifetimes to be added, and the newest events.
    pub totals: Vec<Totals>,
    /// Refusals to be added, and the earliest minutes.
    pub sources: Vec<SourceTotals>,
    /// To replace what was kept of the same service.
    pub gates: Vec<KeptGate>,
    /// Services of whose gates nothing is to be kept any more: they go on under other names, which are in `gates`.
    pub gone_gates: Vec<String>,
    /// Numbered on from the last.
    pub audit: Vec<AuditEntry>,
    /// Minutes before this one are no longer needed.
    pub expire_before: Option<Minute>,
    /// Series of which nothing is left once those minutes are gone.
    pub forget: Vec<SeriesId>,
}

impl Checkpoint {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes a later checkpoint into this one, so that keeping this is the same as keeping both, one after the other.
    pub fn absorb(&mut self, later: Self) {
        later.renamed_sources.iter().for_each(|rename| rename.follow_in_totals(&mut self.sources));
        self.renamed_sources.extend(later.renamed_sources);
        replace(&mut self.series, later.series, |series| series.id);
        self.counts = sum_by_minute(std::mem::take(&mut self.counts), later.counts);
        absorb_durations(&mut self.durations, later.durations);
        self.folds.extend(later.folds);
        absorb_totals(&mut self.totals, later.totals);
        absorb_sources(&mut self.sources, later.sources);
        self.gates.retain(|gate| !later.gone_gates.contains(&gate.service));
        self.gone_gates.retain(|gone| later.gates.iter().all(|gate| gate.service != *gone));
        self.gone_gates.extend(later.gone_gates);
        replace(&mut self.gates, later.gates, |gate| gate.service.clone());
        self.audit.extend(later.audit);
        self.expire_before = self.expire_before.max(later.expire_before);
        self.forget.extend(later.forget);
    }
}

/// Puts the later ones in place of those with the same key.
fn replace<T, K: Ord>(earlier: &mut Vec<T>, later: Vec<T>, key: impl Fn(&T) -> K) {
    let all = earlier.drain(..).chain(later);
    let by_key: BTreeMap<K, T> = all.map(|one| (key(&one), one)).collect();
    earlier.extend(by_key.into_values());
}

fn sum_by_minute(earlier: Vec<MinuteCounts>, later: Vec<MinuteCounts>) -> Vec<MinuteCounts> {
    let mut minutes: BTreeMap<Minute, BTreeMap<SeriesId, Tally>> = BTreeMap::new();
    for MinuteCounts { minute, counts } in earlier.into_iter().chain(later) {
        let sums = minutes.entry(minute).or_default();
        counts.into_iter().for_each(|(series, tally)| *sums.entry(series).or_default() += tally);
    }
    let minutes = minutes.into_iter();
    minutes.map(|(minute, counts)| MinuteCounts { minute, counts: counts.into_iter().collect() }).collect()
}

fn absorb_durations(earlier: &mut Vec<SlotCounts>, later: Vec<SlotCounts>) {
    let mut sums: BTreeMap<(SeriesId, Slot), Took> = BTreeMap::new();
    for SlotCounts { series, slot, took } in earlier.drain(..).chain(later) {
        let sum = sums.entry((series, slot)).or_default();
        *sum = sum.plus(&took);
    }
    earlier.extend(sums.into_iter().map(|((series, slot), took)| SlotCounts { series, slot, took }));
}

fn absorb_totals(earlier: &mut Vec<Totals>, later: Vec<Totals>) {
    for more in later {
        match earlier.iter_mut().find(|totals| totals.series == more.series) {
            Some(totals) => {
                totals.lifetime += more.lifetime;
                totals.newest = more.newest.or(totals.newest);
            }
            None => earlier.push(more),
        }
    }
}

fn absorb_sources(earlier: &mut Vec<SourceTotals>, later: Vec<SourceTotals>) {
    for more in later {
        match earlier.iter_mut().find(|totals| totals.source == more.source) {
            Some(totals) => totals.add(&more),
            None => earlier.push(more),
        }
    }
}

impl SourceTotals {
    /// Adds what was refused, and keeps the earlier of the two minutes first heard, the later ones of the others and
    /// the later quality.
    pub fn add(&mut self, more: &Self) {
        for (rejection, count) in &more.rejected {
            let refused = self.rejected.entry(*rejection).or_default();
            *refused = refused.saturating_add(*count);
        }
        self.first_heard = self.first_heard.into_iter().chain(more.first_heard).min();
        self.expired = self.expired.max(more.expired);
        if more.quality.is_some() {
            self.quality.clone_from(&more.quality);
        }
    }
}
