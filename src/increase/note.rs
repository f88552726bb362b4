//! What is said beside the numbers: everything that keeps a count from being the plain difference of two readings.

use super::reading::BadValue;
use crate::time::Timestamp;

/// What happened to counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// A start time proves a restart. All of the new process is counted; what the old one counted after its last
    /// reading and before the restart was never shown.
    Reset,
    /// A counter fell, and no start time says why: a restart at an unknown instant. Counted from zero once the counter
    /// has risen for a while.
    ResetUnobserved,
    /// Another process answered that was already running before: nothing connects its readings to those before.
    OtherProcess,
    /// A counter was seen for the first time and nothing proves when it was zero, or it cannot be read: at most
    /// `events` are not counted.
    FirstSeen,
    /// A counter is no longer shown; what it counted after its last reading, if anything, was never shown. Or a gauge
    /// is not.
    Vanished,
    /// A gauge is shown again after a time in which nobody saw it.
    Unobserved,
    /// A histogram has other buckets than before: a new baseline.
    NewBounds,
    /// A counter is read again after such a time, or such a confusion, that its earlier reading says nothing.
    Rebased,
    /// Good and total are different counters and did not move together, or the rule that tells them apart was changed
    /// while they waited for each other: `events` increments were given up.
    Torn,
    /// Counters fell so often that this target is several processes: what it showed is not counted until it is calm.
    /// `events` had been counted in the pages that showed it, and may be wrong.
    Flapping,
    /// A page of a flapping target; nothing of it is counted.
    Quarantined,
    /// The readings are far apart: the increments were spread evenly over the time between them.
    Interpolated,
    /// More good events (or bad ones) than events: by `events`, which are settled against the next page.
    GoodExceedsTotal,
    /// A sample was refused, and the reading before it kept.
    BadValue(BadValue),
    /// A histogram was refused: no bucket ends at the threshold, none is infinite, or counts fall from one bucket to a
    /// larger one. Nothing of it counts until it can be read again, with the same buckets; it never may be.
    BadHistogram,
    /// The page declares counters to be gauges. They are counted all the same, for many that are none are called so;
    /// told once, and by whoever knows what pages declare.
    NotACounter,
    /// A count beyond 2^53: a target that keeps it as a double passes over events.
    Resolution,
}

/// What a note means for the counts of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// They are exact.
    None,
    /// Their sum is exact, the division between good and bad may be off by `events`.
    Skewed,
    /// There may have been more.
    LowerBound,
    /// There may have been more or less.
    Suspect,
}

impl NoteKind {
    /// The names of all of them.
    pub const NAMES: [&'static str; 17] = [
        "counter_reset",
        "counter_reset_unobserved",
        "scrape.other_process",
        "scrape.first_seen",
        "scrape.vanished",
        "scrape.unobserved",
        "histogram.new_bounds",
        "scrape.rebased",
        "sli.torn",
        "scrape.flapping_counter",
        "scrape.quarantined",
        "interpolated",
        "sli.good_exceeds_total",
        "scrape.bad_value",
        "histogram.refused",
        "scrape.not_a_counter",
        "scrape.resolution",
    ];

    /// Its name in answers, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interpolated => "interpolated",
            Self::Reset => "counter_reset",
            Self::ResetUnobserved => "counter_reset_unobserved",
            Self::OtherProcess => "scrape.other_process",
            Self::FirstSeen => "scrape.first_seen",
            Self::Vanished => "scrape.vanished",
            Self::Unobserved => "scrape.unobserved",
            Self::NewBounds => "histogram.new_bounds",
            Self::Rebased => "scrape.rebased",
            Self::Torn => "sli.torn",
            Self::Flapping => "scrape.flapping_counter",
            Self::Quarantined => "scrape.quarantined",
            Self::GoodExceedsTotal => "sli.good_exceeds_total",
            Self::BadValue(_) => "scrape.bad_value",
            Self::BadHistogram => "histogram.refused",
            Self::NotACounter => "scrape.not_a_counter",
            Self::Resolution => "scrape.resolution",
        }
    }

    /// What it means for the counts.
    pub fn effect(self) -> Effect {
        match self {
            Self::Interpolated | Self::BadValue(_) | Self::NotACounter => Effect::None,
            Self::GoodExceedsTotal => Effect::Skewed,
            Self::Reset
            | Self::ResetUnobserved
            | Self::OtherProcess
            | Self::FirstSeen
            | Self::Vanished
            | Self::Unobserved
            | Self::NewBounds
            | Self::Rebased
            | Self::Torn
            | Self::Quarantined
            | Self::BadHistogram
            | Self::Resolution => Effect::LowerBound,
            Self::Flapping => Effect::Suspect,
        }
    }
}

/// One kind of thing that happened on one page, to one or more counters of a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What.
    pub kind: NoteKind,
    /// After this instant, and
    pub from: Timestamp,
    /// up to this one.
    pub to: Timestamp,
    /// How many events it is about, as the kind says; 0 where nobody can know.
    pub events: u64,
    /// How many counters it happened to.
    pub series: u32,
    /// One of them, or more words, for people; empty where no counter is meant in particular.
    pub example: String,
}

/// The notes of a page, one of each kind at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Vec<Note>);

/// Examples are cut here, in bytes.
const LONGEST_EXAMPLE: usize = 200;

impl Notes {
    /// All of them, in the order of their kinds.
    pub fn sorted(mut self) -> Vec<Note> {
        self.0.sort_by_key(|note| note.kind);
        self.0
    }

    /// Adds what happened to a counter after `from` and up to `to`; to none in particular when it has no name.
    pub fn add(&mut self, kind: NoteKind, (from, to): (Timestamp, Timestamp), events: u64, series: &[u8]) {
        let place = self.0.iter().position(|note| note.kind == kind).unwrap_or_else(|| {
            self.0.push(Note { kind, from, to, events: 0, series: 0, example: String::new() });
            self.0.len() - 1
        });
        let note = &mut self.0[place];
        // A clock that is set back turns the two around.
        (note.from, note.to) = (note.from.min(from.min(to)), note.to.max(from.max(to)));
        note.events = note.events.saturating_add(events);
        note.series = note.series.saturating_add(u32::from(!series.is_empty()));
        if note.example.is_empty() {
            note.example = example(series);
        }
    }
}

/// A series, cut where it is too long to be shown.
pub(super) fn example(series: &[u8]) -> String {
    let cut = &series[..series.len().min(LONGEST_EXAMPLE)];
    String::from_utf8_lossy(cut).into_owned()
}
