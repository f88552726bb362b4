//! Targets: the endpoints of a scraped source, and what is to be said beside its counts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::{Board, Target, TargetNote, Targets, Unseen};
use crate::increase::Effect;
use crate::spec::{Catalog, SloId};
use crate::time::Timestamp;

/// What a source that is scraped has besides.
#[derive(Clone, Debug, Serialize)]
pub struct TargetsStatus<'a> {
    /// Its targets, by name.
    pub targets: Vec<TargetStatus<'a>>,
    /// What keeps more of them from being found.
    pub discovery_errors: &'a [String],
    /// Scrapes that gave nothing to count, by reason, since the server started.
    pub scrape_errors: BTreeMap<&'static str, u64>,
    /// What happened to counters, by kind, since the server started.
    pub note_counts: BTreeMap<&'static str, u64>,
    /// The newest of it, newest last.
    pub notes: Vec<NoteStatus<'a>>,
    /// Ratios of whose good (or bad) part no target shows a series.
    pub unseen: Vec<UnseenStatus<'a>>,
}

/// A ratio of whose good (or bad) part no target shows a series.
#[derive(Clone, Debug, Serialize)]
pub struct UnseenStatus<'a> {
    /// The name of its story.
    pub story: &'a str,
    /// Its name in the story.
    pub slo: &'a str,
    /// `good` or `bad`.
    pub key: &'static str,
    /// What that says, in one spelling.
    pub selector: &'a str,
    /// When a series of it was seen last; `null` when never, as far as is remembered.
    pub last_seen: Option<Timestamp>,
    /// The same in words.
    pub text: String,
}

/// One target.
#[derive(Clone, Debug, Serialize)]
pub struct TargetStatus<'a> {
    /// Its URL, behind a `#` the address when its name has several.
    pub url: &'a str,
    /// `up`, `down`, or `unknown` before the first scrape; two scrapes in a row must agree.
    pub health: &'static str,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it was asked last.
    pub last_scrape: Option<Timestamp>,
    /// When it was asked last for a page that was counted.
    pub last_page: Option<Timestamp>,
    /// How long the last scrape took.
    pub duration_seconds: f64,
    /// How long the page was, in bytes, unpacked.
    pub size_bytes: u64,
    /// How many samples it had.
    pub samples: u64,
    /// How many of them SLOs select.
    pub selected: u64,
    /// How many series are remembered of it.
    pub series: u64,
    /// The kind of `error`, as in `scrape_errors`.
    pub reason: Option<&'static str>,
    /// Why the last scrape gave nothing to count.
    pub error: Option<&'a str>,
}

/// Something to be said beside the counts of an SLO.
#[derive(Clone, Debug, Serialize)]
pub struct NoteStatus<'a> {
    /// What, for programs.
    pub kind: &'static str,
    /// What it means for the counts of its time: `exact`, `skewed`, `lower_bound` or `suspect`.
    pub effect: &'static str,
    /// Beside the counts of this story's
    pub story: &'a str,
    /// SLO.
    pub slo: &'a str,
    /// Of which target.
    pub target: &'a str,
    /// After this instant, and
    pub from: Timestamp,
    /// up to this one.
    pub to: Timestamp,
    /// How many events it is about, as the kind says; 0 where nobody can know.
    pub events: u64,
    /// How many series it happened to.
    pub series: u32,
    /// One of them, or more words.
    pub example: &'a str,
}

impl<'a> TargetsStatus<'a> {
    /// What is known of the targets of a source.
    pub fn new(catalog: &'a Catalog, found: &'a Targets) -> Self {
        Self {
            targets: found.targets.iter().map(|target| TargetStatus::new(target)).collect(),
            discovery_errors: &found.troubles,
            scrape_errors: those_there_are(&found.errors),
            note_counts: those_there_are(&found.note_counts),
            notes: found.notes.iter().filter_map(|note| NoteStatus::new(catalog, note)).collect(),
            unseen: found.unseen.iter().filter_map(|unseen| UnseenStatus::new(catalog, unseen)).collect(),
        }
    }
}

impl<'a> UnseenStatus<'a> {
    /// What is so of an SLO of the present.
    pub(super) fn of(catalog: &'a Catalog, board: &'a Board, id: SloId) -> Option<Self> {
        let mut unseen = board[catalog[id].source].targets.iter().flat_map(|targets| &targets.unseen);
        unseen.find(|unseen| unseen.slo == id).and_then(|unseen| Self::new(catalog, unseen))
    }

    /// `None` when it is of specs that had an SLO which these have not.
    fn new(catalog: &'a Catalog, unseen: &'a Unseen) -> Option<Self> {
        let slo = catalog.slos.get(unseen.slo.0)?;
        Some(Self {
            story: &catalog[slo.story].name,
            slo: &slo.name,
            key: unseen.key,
            selector: &unseen.selector,
            last_seen: unseen.last,
            text: unseen.text(),
        })
    }
}

fn those_there_are(counts: &BTreeMap<&'static str, u64>) -> BTreeMap<&'static str, u64> {
    counts.iter().filter(|(_, count)| **count > 0).map(|(name, count)| (*name, *count)).collect()
}

impl<'a> TargetStatus<'a> {
    fn new(target: &'a Target) -> Self {
        let health = match target.is_up {
            Some(true) => "up",
            Some(false) => "down",
            None => "unknown",
        };
        Self {
            url: &target.url,
            health,
            since: target.since,
            last_scrape: target.last_scrape,
            last_page: target.last_page,
            duration_seconds: target.duration_ms as f64 / 1_000.0,
            size_bytes: target.size_bytes,
            samples: target.samples,
            selected: target.selected,
            series: target.series,
            reason: target.reason,
            error: target.error.as_deref(),
        }
    }
}

impl<'a> NoteStatus<'a> {
    /// `None` when it is of specs that had an SLO which these have not.
    fn new(catalog: &'a Catalog, note: &'a TargetNote) -> Option<Self> {
        let SloId(place) = note.slo;
        let slo = catalog.slos.get(place)?;
        let effect = match note.kind.effect() {
            Effect::None => "exact",
            Effect::Skewed => "skewed",
            Effect::LowerBound => "lower_bound",
            Effect::Suspect => "suspect",
        };
        Some(Self {
            kind: note.kind.name(),
            effect,
            story: &catalog[slo.story].name,
            slo: &slo.name,
            target: &note.target,
            from: note.from,
            to: note.to,
            events: note.events,
            series: note.series,
            example: &note.example,
        })
    }
}
