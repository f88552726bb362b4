//! What counters have increased by: scraped readings in, counts by the minute out.
//!
//! A target shows how much its counters have counted so far. This room turns pages of such readings into events: good
//! and bad, minute by minute, as whole numbers. Every process that counts begins at zero and may end at any time, so a
//! reading alone says nothing; what two readings say depends on whether the same process gave both.
//!
//! - One page is one reading of everything: good and bad are compared only if they are of the same page, and a page is
//!   taken as a whole or not at all. A page that began before the last one, or within half an interval of it, is not
//!   taken; nothing is lost, because the next one shows the same counters.
//! - A reading counts by its difference to the last one of the same process. A series' `_created`, or else the start of
//!   the process, tells processes apart; a later start than the last reading proves that all of the value was counted
//!   since. Without start times, a fall of the value shows a restart.
//! - A series that is new counts from zero if its start proves that it began while the target was being watched.
//!   Otherwise its first reading is a baseline: a million requests of last year are not a million requests of now.
//! - A fall that nothing explains may be a restart, or another replica behind the same address. What was counted from
//!   zero is held back until [`CONFIRMING_PAGES`] pages have followed without another fall; late minutes count like any
//!   others, so waiting costs time and no events. With [`FLAPS`] falls among [`WATCHED_PAGES`] pages, the target is
//!   taken for several processes: what is held back is dropped, and nothing counts until as many pages were calm.
//! - Good and total may be different counters. Then a page on which one of them cannot be continued counts for neither,
//!   because half of a pair would be errors that never happened.
//! - A part that is a counter of its own and disappears while its process goes on leaves no pair: nothing counts until
//!   it is there again, because all that happens would count as good (or as bad). After a restart, its absence is zero.
//! - A measure that is looked for and not found is [told](Hearing): it is another thing than one without events.
//! - A measure whose rule was changed goes on from the last readings of its series under the old rule
//!   ([`Target::restore`]).
//! - Increments are divided among the minutes between the readings in proportion, with an exact sum; good and bad of a
//!   minute add up to its total.
//! - The counts of a measure without a [`Note`] are exact as far as its target shows. Every stretch in which a counter
//!   may have counted more is named by a note, with the time it covers; there is no other way to lose an event.
//! - Whatever is shown, there are never more bad events than events, and never fewer than none.
//!
//! State is kept as bytes ([`Target::save`]), to be committed with the counts that came of it.
//!
//! Left out on purpose: extrapolation (`rate()` invents what the ends of a window did not show), and the samples' own
//! timestamps as times of events: they order the readings of a series, but their clock is not ours.

mod bytes;
mod gauge;
mod health;
mod hearing;
mod histogram;
mod member;
mod meter;
mod note;
mod reading;
mod roster;
mod saved;
mod spread;
mod taking;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::tally::Tally;
use crate::time::{Minute, Timestamp};

pub use gauge::{Comparison, Condition};
pub use health::{AGREEING_SCRAPES, Health};
pub use hearing::{Hearing, Silence};
pub use member::Role;
pub use meter::{CONFIRMING_PAGES, FLAPS, FORGET_AFTER_MS, WATCHED_PAGES};
pub use note::{Effect, Note, NoteKind};
pub use reading::{BadValue, Bound, whole};
pub use roster::Slot;
pub use saved::{Saved, SavedError};
pub use spread::{Buckets, Part, over_hours};
pub use target::{Ignored, LATE_PAGES, Measure, MeasureKind, PageRefused, Rules, Scrape, Target};

/// What a page of a target, or the want of one, gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// By measure, in the order in which the target was given them.
    pub measures: Vec<Increase>,
    /// Whether the target answers, if that has changed.
    pub health: Option<bool>,
}

/// What is to be added to the counts of a measure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Increase {
    /// Events by the minute, also of minutes long past. For a gauge: slices, by their first minute.
    pub minutes: BTreeMap<Minute, Tally>,
    /// Of histograms: the increments of cumulative buckets between two instants, for distributions that people look at.
    pub buckets: Vec<(Timestamp, Timestamp, Buckets)>,
    /// What is to be said beside the numbers, each kind at most once.
    pub notes: Vec<Note>,
}

impl Increase {
    /// All events of all minutes.
    pub fn sum(&self) -> Tally {
        self.minutes.values().copied().sum()
    }
}
