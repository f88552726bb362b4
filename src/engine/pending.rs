//! What a ledger has counted since the last checkpoint, packed like the windows: an hour of every column that saw
//! events.

use std::collections::BTreeMap;

use crate::counts::{PAGE_MINUTES, Rejection};
use crate::engine::SeriesId;
use crate::tally::Tally;
use crate::time::Minute;
use crate::window::{HourCounts, Packed};

/// Additions that are not kept yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    /// By hour since the epoch, then by column.
    hours: BTreeMap<i64, BTreeMap<usize, Packed>>,
    /// How many more records were refused.
    pub(super) rejected: BTreeMap<Rejection, u64>,
}

impl Pending {
    /// Adds an hour of a column.
    pub(super) fn add(&mut self, hour: i64, column: usize, counts: &HourCounts) {
        if !counts.sum().is_empty() {
            self.hours.entry(hour).or_default().entry(column).or_default().add(counts);
        }
    }

    /// How many counts a checkpoint may have, at most.
    pub(super) fn len(&self) -> usize {
        self.hours.values().map(|columns| columns.len() * PAGE_MINUTES).sum()
    }

    /// Adds every count to its minute under the number of its column, and forgets it.
    pub(super) fn drain_into(&mut self, minutes: &mut BTreeMap<Minute, Vec<(SeriesId, Tally)>>, series: &[SeriesId]) {
        for (hour, columns) in std::mem::take(&mut self.hours) {
            let start = Minute::from_number(hour.saturating_mul(PAGE_MINUTES as i64));
            for row in 0..PAGE_MINUTES {
                let counts = columns.iter().map(|(column, counts)| (series[*column], counts.get(row)));
                let mut counts = counts.filter(|(_, tally)| !tally.is_empty()).peekable();
                if counts.peek().is_some() {
                    minutes.entry(start.plus(row as i64)).or_default().extend(counts);
                }
            }
        }
    }

    /// Everything counted in each column.
    pub(super) fn totals(&self, columns: usize) -> Vec<Tally> {
        let mut totals = vec![Tally::ZERO; columns];
        for (column, counts) in self.hours.values().flatten() {
            totals[*column] += counts.sum(0..PAGE_MINUTES);
        }
        totals
    }
}
