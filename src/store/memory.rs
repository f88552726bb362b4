//! A store in memory: nothing survives the process, everything else is as in [`super::Redb`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Commit, EachHour, EachSlot, Loaded, MOST_AUDIT, MOST_GAPS, Position, Store, StoreError};
use crate::counts::{PAGE_MINUTES, Took};
use crate::engine::{
    AuditEntry, Gap, Kept, KeptGate, Series, SeriesId, SlotCounts, SourceRename, SourceTotals, Totals,
};
use crate::latency::Slot;
use crate::tally::Tally;
use crate::time::Minute;
use crate::window::{HourCounts, PADDING, PackedHour};

/// Keeps everything as long as it lives.
#[derive(Debug, Default)]
pub struct Memory {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    revision: u64,
    minutes: BTreeMap<Minute, BTreeMap<SeriesId, Tally>>,
    /// By day, series and slot.
    durations: BTreeMap<(i64, SeriesId, Slot), Took>,
    series: BTreeMap<SeriesId, Series>,
    totals: BTreeMap<SeriesId, Totals>,
    sources: BTreeMap<String, SourceTotals>,
    positions: BTreeMap<(String, Vec<u8>), Vec<u8>>,
    gates: BTreeMap<String, KeptGate>,
    gaps: Vec<Gap>,
    /// Ascending by number.
    audit: Vec<AuditEntry>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Nothing in here panics half way through a change.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn revision(&self) -> Result<u64, StoreError> {
        Ok(self.tables().revision)
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        let tables = self.tables();
        let position = |((source, key), at): (&(String, Vec<u8>), &Vec<u8>)| Position {
            source: source.clone(),
            key: key.clone(),
            at: Some(at.clone()),
        };
        let kept = Kept {
            series: tables.series.values().cloned().collect(),
            totals: tables.totals.values().copied().collect(),
            sources: tables.sources.values().cloned().collect(),
            gates: tables.gates.values().cloned().collect(),
            last_audit: tables.audit.last().map_or(0, |entry| entry.number),
            earliest: tables.minutes.first_key_value().map(|(minute, _)| *minute),
            renamed_sources: Vec::new(),
        };
        let gaps = tables.gaps[tables.gaps.len().saturating_sub(MOST_GAPS)..].to_vec();
        let positions = tables.positions.iter().map(position).collect();
        Ok(Loaded { revision: tables.revision, kept, positions, gaps })
    }

    fn hours(&self, from: Minute, each: &mut EachHour<'_>) -> Result<(), StoreError> {
        let mut hours: BTreeMap<i64, BTreeMap<SeriesId, HourCounts>> = BTreeMap::new();
        let start = Minute::from_number(from.hour().saturating_mul(PAGE_MINUTES as i64));
        for (minute, counts) in self.tables().minutes.range(start..) {
            let row = minute.number().rem_euclid(PAGE_MINUTES as i64) as usize;
            let hour = hours.entry(minute.hour()).or_default();
            counts.iter().for_each(|(series, tally)| hour.entry(*series).or_insert(HourCounts::ZERO).add(row, *tally));
        }
        for (hour, counts) in hours {
            for (series, counts) in counts {
                let mut bytes = Vec::new();
                PackedHour::write(&counts, &mut bytes);
                bytes.resize(bytes.len() + PADDING, 0);
                let packed = PackedHour::read(&bytes).map(|(packed, _)| (series, packed));
                each(hour, packed.as_slice());
            }
        }
        Ok(())
    }

    fn durations(&self, from: Minute, each: &mut EachSlot<'_>) -> Result<(), StoreError> {
        let first = Slot::Hour(from.hour()).day();
        for ((_, series, slot), took) in self.tables().durations.range((first, SeriesId(0), Slot::Hour(i64::MIN))..) {
            each(&SlotCounts { series: *series, slot: *slot, took: took.clone() });
        }
        Ok(())
    }

    fn commit(&self, revision: u64, commit: &Commit) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if revision != tables.revision + 1 {
            return Err(StoreError::OutOfOrder { stored: tables.revision, given: revision });
        }
        tables.apply(commit);
        tables.revision = revision;
        Ok(())
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        let tables = self.tables();
        let first = tables.audit.partition_point(|entry| entry.number <= after);
        let wanted =
            tables.audit[first..].iter().filter(|entry| service.is_none_or(|service| entry.service == service));
        Ok(wanted.take(limit.min(MOST_AUDIT)).cloned().collect())
    }

    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Tables {
    fn add_durations(&mut self, added: &[SlotCounts], folds: &[(SeriesId, i64)]) {
        for SlotCounts { series, slot, took } in added {
            let sum = self.durations.entry((slot.day(), *series, *slot)).or_default();
            *sum = sum.plus(took);
        }
        for (series, day) in folds {
            let of_day = (*day, *series, Slot::Hour(i64::MIN))..=(*day, *series, Slot::Day(*day));
            let slots: Vec<_> = self.durations.range(of_day).map(|(key, _)| *key).collect();
            let took = slots.iter().filter_map(|key| self.durations.remove(key));
            let sum = took.reduce(|sum, took| sum.plus(&took));
            sum.map(|sum| self.durations.insert((*day, *series, Slot::Day(*day)), sum));
        }
    }

    fn rename_source(&mut self, rename: &SourceRename) {
        if let Some(totals) = self.sources.remove(&rename.from) {
            let totals = SourceTotals { source: rename.to.clone(), ..totals };
            add_source(&mut self.sources, &totals);
        }
        let positions = std::mem::take(&mut self.positions).into_iter();
        self.positions = positions.map(|((source, key), at)| ((rename.name(source), key), at)).collect();
        self.gaps.iter_mut().for_each(|gap| gap.source = rename.name(std::mem::take(&mut gap.source)));
    }

    fn apply(&mut self, Commit { checkpoint, positions, gaps }: &Commit) {
        checkpoint.renamed_sources.iter().for_each(|rename| self.rename_source(rename));
        self.series.extend(checkpoint.series.iter().map(|series| (series.id, series.clone())));
        for counts in &checkpoint.counts {
            let minute = self.minutes.entry(counts.minute).or_default();
            counts.counts.iter().for_each(|(series, tally)| *minute.entry(*series).or_default() += *tally);
        }
        self.add_durations(&checkpoint.durations, &checkpoint.folds);
        if let Some(cut) = checkpoint.expire_before {
            self.minutes = self.minutes.split_off(&cut);
            let first = Slot::Hour(cut.hour()).day();
            self.durations.retain(|(day, _, _), _| *day >= first);
        }
        self.durations.retain(|(_, series, _), _| !checkpoint.forget.contains(series));
        for more in &checkpoint.totals {
            let totals = self.totals.entry(more.series).or_insert(Totals { lifetime: Tally::ZERO, ..*more });
            totals.lifetime += more.lifetime;
            totals.newest = more.newest.or(totals.newest);
        }
        for series in &checkpoint.forget {
            self.series.remove(series);
            self.totals.remove(series);
        }
        for more in &checkpoint.sources {
            add_source(&mut self.sources, more);
        }
        self.gates.extend(checkpoint.gates.iter().map(|gate| (gate.service.clone(), gate.clone())));
        self.gates.retain(|service, _| !checkpoint.gone_gates.contains(service));
        self.audit.extend(checkpoint.audit.iter().cloned());
        self.gaps.extend(gaps.iter().cloned());
        for Position { source, key, at } in positions {
            let key = (source.clone(), key.clone());
            match at {
                Some(at) => drop(self.positions.insert(key, at.clone())),
                None => drop(self.positions.remove(&key)),
            }
        }
    }
}

fn add_source(sources: &mut BTreeMap<String, SourceTotals>, more: &SourceTotals) {
    match sources.get_mut(&more.source) {
        Some(totals) => totals.add(more),
        None => drop(sources.insert(more.source.clone(), more.clone())),
    }
}
