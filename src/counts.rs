//! Counts of a stretch of log lines, or of pages of metrics: what a worker hands to the engine.
//!
//! Lines are parsed and judged in parallel, one worker per core. Each worker adds what it saw into [`Batch`]es of small
//! integers, minute by minute, and the one owner of the windows adds those up. Sums do not care about order, so it does
//! not matter which worker saw which line.
//!
//! - While lines are counted, all outcomes of one minute lie side by side, so that the lines of a minute touch a few
//!   neighbouring cache lines however long the log is. A [`Page`] is an hour of that, handed over column by column, as
//!   windows take it.
//! - The columns of a source are its SLOs in the catalog's order, then [`Column::Records`] and [`Column::Missing`].
//! - A batch says how many records it is about, counted apart from what became of each: both must agree.

use std::collections::BTreeMap;

mod counter;
mod durations;
mod scraped;
mod took;
mod unmatched;

pub use counter::{Bounds, Counter, Seen};
pub use durations::{BUCKETS, Cells, DIGITS, Durations, LONGEST_US, RequestSet, bucket_of, request_sets, shortest_us};
pub use scraped::{MOST_AT_ONCE, PageFault, ScrapeCounter, Scraped, ScrapedTarget};
pub use took::{MOST_RANGES, Range, Ranges, Took, ranges_by_hour, sum_of_cells, sum_of_ranges};
pub use unmatched::Unmatched;

use crate::formats::{Refused, Unparsed};
use crate::increase::BadValue;
use crate::spec::{Catalog, SloId, SourceId};
use crate::time::Timestamp;

/// Minutes in a page.
pub const PAGE_MINUTES: usize = 60;

/// What a column of a source's pages counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The events of an SLO, good and bad. For the slice kinds: requests, within the threshold and beyond
    /// (percentile), or all of them as good (throughput).
    Slo(SloId),
    /// Records whose time was accepted; good: matched by at least one SLO, bad: by none.
    Records,
    /// Records that a duration-based SLI wanted but that carry no duration, as good.
    Missing,
    /// Records when they came in, whatever time they carry; good: could be read, bad: could not. In no page: the engine
    /// adds it, by its own time.
    Arrivals,
}

/// The columns of a source, in the order of its pages.
pub fn columns(catalog: &Catalog, source: SourceId) -> Vec<Column> {
    let slos = (0..catalog.slos.len()).map(SloId).filter(|slo| catalog[*slo].source == source);
    slos.map(Column::Slo).chain([Column::Records, Column::Missing]).collect()
}

/// An hour of counts of one column, minute by minute. 32 bits do for a page, which is handed over long before 4 billion
/// lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourCells {
    /// Good events.
    pub good: [u32; PAGE_MINUTES],
    /// Bad events.
    pub bad: [u32; PAGE_MINUTES],
}

impl HourCells {
    /// An hour without events.
    pub const ZERO: Self = Self { good: [0; PAGE_MINUTES], bad: [0; PAGE_MINUTES] };
}

/// An hour of counts of one source: the columns in which something was counted.
#[derive(Clone, Debug)]
pub struct Page {
    /// Hours since the epoch.
    pub hour: i64,
    /// Each column at most once, in no order.
    columns: Vec<(usize, HourCells)>,
}

impl Page {
    /// An empty page.
    pub fn new(hour: i64) -> Self {
        Self { hour, columns: Vec::new() }
    }

    /// The columns in which something was counted, in no order.
    pub fn columns(&self) -> impl Iterator<Item = (usize, &HourCells)> {
        self.columns.iter().map(|(column, hour)| (*column, hour))
    }

    /// One column, if anything was counted in it.
    pub fn column(&self, column: usize) -> Option<&HourCells> {
        self.columns().find(|(other, _)| *other == column).map(|(_, hour)| hour)
    }

    /// One column, to count in. Looks for it: for whoever counts little.
    pub fn column_mut(&mut self, column: usize) -> &mut HourCells {
        let place = self.columns.iter().position(|(other, _)| *other == column).unwrap_or_else(|| self.add(column));
        &mut self.columns[place].1
    }

    /// Adds an empty column that is not there yet; returns its place.
    fn add(&mut self, column: usize) -> usize {
        self.columns.push((column, HourCells::ZERO));
        self.columns.len() - 1
    }
}

/// Why a record was refused; every record that is not counted has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// It does not have the declared format; the detail says where it departs from it.
    Unparsed(Unparsed),
    /// It has the declared format in two ways that disagree.
    Ambiguous,
    /// It is longer than `max_line`, and its beginning does not tell what became of the request.
    Oversize,
    /// It is more than five minutes ahead of now.
    Future,
    /// It is older than the longest window.
    Expired,
    /// It is a sample whose value cannot be a count.
    Value(BadValue),
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unparsed(part) => Self::Unparsed(part),
            Refused::Ambiguous => Self::Ambiguous,
        }
    }
}

impl Rejection {
    /// Whether an error may hide behind it: what became of the request is not known.
    pub fn hides_outcome(self) -> bool {
        matches!(self, Self::Unparsed(_) | Self::Ambiguous | Self::Oversize | Self::Value(_))
    }

    /// The reason in `rejected` and in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unparsed(_) => "unparsed",
            Self::Ambiguous => "ambiguous",
            Self::Oversize => "oversize",
            Self::Future => "future",
            Self::Expired => "expired",
            Self::Value(_) => "bad_value",
        }
    }
}

/// A refused record, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Why.
    pub rejection: Rejection,
    /// Its beginning: at most 200 bytes, printable, without query strings.
    pub text: String,
}

/// What one worker counted of one source since the last hand-over.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whose records.
    pub source: SourceId,
    /// Counts by hour, in no order; an hour may occur more than once.
    pub pages: Vec<Page>,
    /// Per column of the pages: its newest counted event. Of `Records`: the newest accepted record.
    pub newest: Vec<Option<Timestamp>>,
    /// How many records were refused, by reason.
    pub rejected: BTreeMap<Rejection, u64>,
    /// How many records were longer than `max_line` and read by their beginnings, whatever became of them.
    pub truncated: u64,
    /// How many records there were, whatever became of them.
    pub records: u64,
    /// How many of the last of them, one after the other, could not be read.
    pub unread_run: u64,
    /// Some of them, newest last.
    pub samples: Vec<Sample>,
    /// Some of the routes that no SLO is about, with how often they were met: an estimate.
    pub unmatched: Vec<(String, u64)>,
    /// How long requests took, by hour and set, in no order; an hour and set may occur more than once.
    pub durations: Vec<Durations>,
}

impl Batch {
    /// The newest accepted record.
    pub fn newest_record(&self) -> Option<Timestamp> {
        // The columns end with `Records` and `Missing`.
        self.newest.iter().rev().nth(1).copied().flatten()
    }

    /// How many records it says what became of: accepted or refused, each once.
    pub fn accounted(&self) -> u64 {
        let records = self.newest.len().saturating_sub(2);
        let cells = self.pages.iter().filter_map(|page| page.column(records));
        let cells = cells.flat_map(|hour| hour.good.iter().chain(&hour.bad)).map(|count| u64::from(*count));
        cells.chain(self.rejected.values().copied()).fold(0, u64::saturating_add)
    }

    /// How many of its records could not be read.
    pub fn unread(&self) -> u64 {
        let unread = self.rejected.iter().filter(|(rejection, _)| rejection.hides_outcome());
        unread.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests;
