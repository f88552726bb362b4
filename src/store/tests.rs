//! What every store does, checked on both, and what the writer makes of one that fails.

mod suite;
mod writer;

use std::collections::BTreeMap;

use crate::counts::PAGE_MINUTES;
use crate::engine::SeriesId;
use crate::store::Store;
use crate::tally::Tally;
use crate::time::Minute;
use crate::window::PackedHour;

/// The counts of every minute from the hour of `from` on that has any, ascending by minute and series.
pub(in crate::store) fn minutes_of(store: &dyn Store, from: Minute) -> Vec<(Minute, Vec<(SeriesId, Tally)>)> {
    let mut minutes: BTreeMap<Minute, BTreeMap<SeriesId, Tally>> = BTreeMap::new();
    let mut last = i64::MIN;
    let each = &mut |hour: i64, counts: &[(SeriesId, PackedHour<'_>)]| {
        assert!(last <= hour, "hours come in ascending order");
        last = hour;
        for (series, counts) in counts {
            let counts = counts.counts();
            assert!(!counts.sum().is_empty(), "series {series:?} of hour {hour} has counts");
            for row in (0..PAGE_MINUTES).filter(|row| !counts.minute(*row).is_empty()) {
                let minute = Minute::from_number(hour * PAGE_MINUTES as i64 + row as i64);
                let before = minutes.entry(minute).or_default().insert(*series, counts.minute(row));
                assert_eq!(before, None, "series {series:?} comes once in hour {hour}");
            }
        }
    };
    store.hours(from, each).expect("the counts can be read");
    minutes.into_iter().map(|(minute, counts)| (minute, counts.into_iter().collect())).collect()
}
