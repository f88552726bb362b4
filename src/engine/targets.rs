//! Targets: what is known of the endpoints of a scraped source, for people to look at.
//!
//! Nothing here decides anything. Whoever scrapes tells it after every scrape, and boards of the present show what was
//! told last.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::increase::NoteKind;
use crate::spec::{Catalog, SloId};
use crate::time::Timestamp;

/// At most so many notes of a source are shown.
pub const MOST_NOTES: usize = 50;
/// At most so many objections of a source are shown.
pub const MOST_OBJECTIONS: usize = 1_000;

/// The targets of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// By name.
    pub targets: Vec<Arc<Target>>,
    /// What keeps more targets from being found, a sentence each.
    pub troubles: Vec<String>,
    /// Scrapes that gave nothing to count, by reason, since the process began; zero for what has not happened.
    pub errors: BTreeMap<&'static str, u64>,
    /// What happened to counters, by kind, since the process began.
    pub note_counts: BTreeMap<&'static str, u64>,
    /// The newest things that are to be said beside the counts, newest last; at most [`MOST_NOTES`].
    pub notes: Vec<Arc<TargetNote>>,
    /// What the last pages show for SLOs and cannot be counted, by target; at most [`MOST_OBJECTIONS`].
    pub objections: Vec<Arc<Objection>>,
    /// Ratios of whose good (or bad) part no target shows anything, by SLO.
    pub unseen: Vec<Unseen>,
}

/// A ratio of whose good (or bad) part no target shows a series, while they do of all events. That is right as long as
/// nothing of it has happened where series come with their first event, and a slip in the selector otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Which.
    pub slo: SloId,
    /// The key of the part, `good` or `bad`.
    pub key: &'static str,
    /// What that says, in one spelling.
    pub selector: String,
    /// When one was seen last, as far as is remembered.
    pub last: Option<Timestamp>,
}

impl Unseen {
    /// One sentence without a full stop.
    pub fn text(&self) -> String {
        let Self { key, selector, last, .. } = self;
        let last = last.map(|last| format!(" since {last}")).unwrap_or_default();
        format!(
            "no target shows a series that `{key}` selects{last}, so that no event counts as {key}: {selector}; if such \
             series come with their first event, this is as it should be, and otherwise the selector has a slip"
        )
    }
}

impl Targets {
    /// The same for those who know SLOs by other specs: what is about an SLO that these have not is left out, and so is
    /// that its part is unseen if it counts by another rule.
    pub(super) fn by_specs(&self, before: &Catalog, after: &Catalog) -> Self {
        let now = |slo: SloId| {
            let was = before.slos.get(slo.0)?;
            after.slo_following(&before[was.story].name, &was.name)
        };
        let note =
            |note: &Arc<TargetNote>| Some(Arc::new(TargetNote { slo: now(note.slo)?, ..TargetNote::clone(note) }));
        let objection =
            |found: &Arc<Objection>| Some(Arc::new(Objection { slo: now(found.slo)?, ..Objection::clone(found) }));
        let unseen = |found: &Unseen| {
            let slo = now(found.slo).filter(|slo| after[*slo].sli == before[found.slo].sli)?;
            Some(Unseen { slo, ..found.clone() })
        };
        Self {
            notes: self.notes.iter().filter_map(note).collect(),
            objections: self.objections.iter().filter_map(objection).collect(),
            unseen: self.unseen.iter().filter_map(unseen).collect(),
            ..self.clone()
        }
    }
}

/// Something that a target shows for an SLO and that cannot be counted as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Of which target.
    pub target: String,
    /// For which SLO.
    pub slo: SloId,
    /// Why not, and what there is instead.
    pub why: String,
}

/// One target, as it was scraped last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its URL, behind a `#` the address when its name has several.
    pub url: String,
    /// Whether it answers; two scrapes in a row must agree on it. `None` before the first.
    pub is_up: Option<bool>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it was asked last.
    pub last_scrape: Option<Timestamp>,
    /// When it was asked last for a page that was counted.
    pub last_page: Option<Timestamp>,
    /// How long the last scrape took, in milliseconds.
    pub duration_ms: u64,
    /// How long the last page was, in bytes, unpacked.
    pub size_bytes: u64,
    /// How many samples it had.
    pub samples: u64,
    /// How many of them SLOs select.
    pub selected: u64,
    /// How many series are remembered of it.
    pub series: u64,
    /// Why the last scrape gave nothing to count.
    pub error: Option<String>,
    /// The kind of that, as in [`Targets::errors`].
    pub reason: Option<&'static str>,
}

/// Something to be said beside the counts of an SLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetNote {
    /// Of which target.
    pub target: String,
    /// Beside which counts.
    pub slo: SloId,
    /// What.
    pub kind: NoteKind,
    /// After this instant, and
    pub from: Timestamp,
    /// up to this one.
    pub to: Timestamp,
    /// How many events it is about, as the kind says; 0 where nobody can know.
    pub events: u64,
    /// How many series it happened to.
    pub series: u32,
    /// One of them, or more words.
    pub example: String,
}
