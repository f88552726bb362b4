//! The tables, and what is read from and written to them.

use std::collections::BTreeMap;

use ::redb::{
    Database, Durability, Key, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError,
    Value, WriteTransaction,
};

use super::{SCHEMA, Trouble, hours};
use crate::counts::Took;
use crate::engine::{
    AuditEntry, Checkpoint, Gap, Kept, MinuteCounts, SeriesId, SlotCounts, SourceRename, SourceTotals, Totals,
};
use crate::latency::Slot;
use crate::latency::stored::{Decoder, encode};
use crate::store::pages::{page_of, read_counts, read_totals, write_counts, write_totals};
use crate::store::record::{self, Stored};
use crate::store::{Commit, EachHour, EachSlot, Loaded, MOST_AUDIT, MOST_GAPS, Position, StoreError};
use crate::time::Minute;

pub(super) type Bytes = &'static [u8];

/// `schema` and `revision`.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
/// By minute and page of series: those that are not in [`HOURS`] yet.
pub(super) const MINUTES: TableDefinition<'_, (i64, u32), Bytes> = TableDefinition::new("minutes");
/// By hour and page of series.
pub(super) const HOURS: TableDefinition<'_, (i64, u32), Bytes> = TableDefinition::new("hours");
/// By day, series, and hour of the day, 24 for the day as a whole.
const DURATIONS: TableDefinition<'_, (i64, u32, u8), Bytes> = TableDefinition::new("durations");
/// By page of series.
const TOTALS: TableDefinition<'_, u32, Bytes> = TableDefinition::new("totals");
/// By number.
const SERIES: TableDefinition<'_, u32, Bytes> = TableDefinition::new("series");
/// By name.
const SOURCES: TableDefinition<'_, &str, Bytes> = TableDefinition::new("sources");
/// By source and key.
const POSITIONS: TableDefinition<'_, (&str, Bytes), Bytes> = TableDefinition::new("positions");
/// By service.
const GATES: TableDefinition<'_, &str, Bytes> = TableDefinition::new("gates");
/// Numbered.
const GAPS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("gaps");
/// By number.
const AUDIT: TableDefinition<'_, u64, Bytes> = TableDefinition::new("audit");
/// The hour that stands for all of a day.
const WHOLE_DAY: u8 = 24;
/// Which entries are about a service.
const AUDIT_OF: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("audit_of");

/// Writes empty tables.
pub(super) fn create(database: &Database) -> Result<(), Trouble> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut about = transaction.open_table(ABOUT)?;
        about.insert("schema", SCHEMA)?;
        about.insert("revision", 0)?;
        transaction.open_table(MINUTES)?;
        transaction.open_table(HOURS)?;
        transaction.open_table(DURATIONS)?;
        transaction.open_table(TOTALS)?;
        transaction.open_table(SERIES)?;
        transaction.open_table(SOURCES)?;
        transaction.open_table(POSITIONS)?;
        transaction.open_table(GATES)?;
        transaction.open_table(GAPS)?;
        transaction.open_table(AUDIT)?;
        transaction.open_table(AUDIT_OF)?;
    }
    Ok(transaction.commit()?)
}

/// The version of what is in the tables.
pub(super) fn schema(database: &Database) -> Result<u64, Trouble> {
    about(&database.begin_read()?.open_table(ABOUT)?, "schema")
}

pub(super) fn revision(database: &Database) -> Result<u64, Trouble> {
    about(&database.begin_read()?.open_table(ABOUT)?, "revision")
}

fn about(table: &impl ReadableTable<&'static str, u64>, what: &str) -> Result<u64, Trouble> {
    let value = table.get(what)?.ok_or_else(|| Trouble::Unreadable(format!("there is no {what} in it")))?;
    Ok(value.value())
}

pub(super) fn load(database: &Database) -> Result<Loaded, Trouble> {
    let read = database.begin_read()?;
    let mut positions = Vec::new();
    for row in read.open_table(POSITIONS)?.range::<(&str, &[u8])>(..)? {
        let (key, at) = row?;
        let (source, key) = key.value();
        positions.push(Position { source: source.to_owned(), key: key.to_vec(), at: Some(at.value().to_vec()) });
    }
    let mut gaps: Vec<Gap> = Vec::new();
    for row in read.open_table(GAPS)?.range::<u64>(..)?.rev().take(MOST_GAPS) {
        gaps.push(decode("gap", row?.1.value())?);
    }
    gaps.reverse();
    let mut totals: Vec<Totals> = Vec::new();
    for row in read.open_table(TOTALS)?.range::<u32>(..)? {
        let (page, bytes) = row?;
        let page = page.value();
        read_totals(page, bytes.value(), &mut totals).map_err(|_| unreadable(format!("totals {page}")))?;
    }
    let mut kept = Kept { totals, ..Kept::default() };
    for row in read.open_table(SERIES)?.range::<u32>(..)? {
        kept.series.push(decode("series", row?.1.value())?);
    }
    for row in read.open_table(SOURCES)?.range::<&str>(..)? {
        kept.sources.push(decode("source", row?.1.value())?);
    }
    for row in read.open_table(GATES)?.range::<&str>(..)? {
        kept.gates.push(decode("gate", row?.1.value())?);
    }
    kept.last_audit = read.open_table(AUDIT)?.last()?.map_or(0, |(number, _)| number.value());
    let folded = existing(read.open_table(HOURS))?.map_or(Ok(None), |table| hours::earliest(&table))?;
    let unfolded = read.open_table(MINUTES)?.first()?.map(|(key, _)| Minute::from_number(key.value().0));
    kept.earliest = folded.into_iter().chain(unfolded).min();
    let revision = about(&read.open_table(ABOUT)?, "revision")?;
    Ok(Loaded { revision, kept, positions, gaps })
}

pub(super) fn hours(database: &Database, from: Minute, each: &mut EachHour<'_>) -> Result<(), Trouble> {
    let read = database.begin_read()?;
    let folded = existing(read.open_table(HOURS))?;
    hours::read(&read.open_table(MINUTES)?, folded.as_ref(), from.hour(), each)
}

/// A table, unless the file was written by a version that had none of them.
fn existing<K: Key, V: Value>(
    table: Result<ReadOnlyTable<K, V>, TableError>,
) -> Result<Option<ReadOnlyTable<K, V>>, Trouble> {
    match table {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => Ok(Some(table?)),
    }
}

/// The durations as they were at one commit; none when the file was written by a version that kept none.
pub(super) struct DurationsThen(Option<ReadOnlyTable<(i64, u32, u8), Bytes>>);

pub(super) fn durations(database: &Database) -> Result<DurationsThen, Trouble> {
    Ok(DurationsThen(existing(database.begin_read()?.open_table(DURATIONS))?))
}

impl DurationsThen {
    pub(super) fn read(self, from: Minute, each: &mut EachSlot<'_>) -> Result<(), Trouble> {
        self.0.map_or(Ok(()), |table| read_durations(&table, from, each))
    }
}

fn read_durations(
    table: &ReadOnlyTable<(i64, u32, u8), Bytes>,
    from: Minute,
    each: &mut EachSlot<'_>,
) -> Result<(), Trouble> {
    let mut decoder = Decoder::default();
    for row in table.range((Slot::Hour(from.hour()).day(), 0, 0)..)? {
        let (key, bytes) = row?;
        let (day, series, part) = key.value();
        let slot = if part < WHOLE_DAY { Slot::Hour(day * 24 + i64::from(part)) } else { Slot::Day(day) };
        each(&SlotCounts { series: SeriesId(series), slot, took: decode_durations(&mut decoder, bytes.value())? });
    }
    Ok(())
}

pub(super) fn audit(
    database: &Database,
    after: u64,
    limit: usize,
    service: Option<&str>,
) -> Result<Vec<AuditEntry>, Trouble> {
    let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
    let limit = limit.min(MOST_AUDIT);
    let read = database.begin_read()?;
    let entries = read.open_table(AUDIT)?;
    let mut found = Vec::new();
    match service {
        None => {
            for row in entries.range(first..)?.take(limit) {
                found.push(decode("audit entry", row?.1.value())?);
            }
        }
        Some(service) => {
            for row in read.open_table(AUDIT_OF)?.range((service, first)..=(service, u64::MAX))?.take(limit) {
                let (_, number) = row?.0.value();
                let entry = entries.get(number)?.ok_or_else(|| unreadable(format!("audit entry {number}")))?;
                found.push(decode("audit entry", entry.value())?);
            }
        }
    }
    Ok(found)
}

/// Makes a commit. Whatever error there is, nothing of it is in the tables unless all of it is.
pub(super) fn commit(database: &Database, revision: u64, commit: &Commit) -> Result<(), Trouble> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    // This also commits in two phases, so that a commit cannot be taken for whole because its checksums happen to hold.
    transaction.set_quick_repair(true);
    {
        let mut table = transaction.open_table(ABOUT)?;
        let stored = about(&table, "revision")?;
        if stored.checked_add(1) != Some(revision) {
            return Err(Trouble::Refused(StoreError::OutOfOrder { stored, given: revision }));
        }
        table.insert("revision", revision)?;
        table.insert("schema", SCHEMA)?;
        let checkpoint = &commit.checkpoint;
        checkpoint.renamed_sources.iter().try_for_each(|rename| rename_source(&transaction, rename))?;
        let Checkpoint { series, counts, totals, sources, gates, gone_gates, audit, expire_before, forget, .. } =
            checkpoint;
        let mut table = transaction.open_table(SERIES)?;
        for one in series {
            table.insert(one.id.0, record::write(one).as_slice())?;
        }
        for id in forget {
            table.remove(id.0)?;
        }
        let (mut minutes, mut hours) = (transaction.open_table(MINUTES)?, transaction.open_table(HOURS)?);
        add_counts(&mut minutes, counts)?;
        if let Some(newest) = counts.iter().map(|counts| counts.minute).max() {
            hours::fold(&mut minutes, &mut hours, newest)?;
        }
        if let Some(cut) = expire_before {
            minutes.retain_in(..(cut.number(), 0), |_, _| false)?;
            hours::expire(&mut hours, *cut)?;
        }
        change_durations(&transaction, checkpoint)?;
        change_totals(&mut transaction.open_table(TOTALS)?, totals, forget)?;
        add_sources(&mut transaction.open_table(SOURCES)?, sources)?;
        put_positions(&mut transaction.open_table(POSITIONS)?, &commit.positions)?;
        let mut table = transaction.open_table(GATES)?;
        for gate in gates {
            table.insert(gate.service.as_str(), record::write(gate).as_slice())?;
        }
        for service in gone_gates {
            table.remove(service.as_str())?;
        }
        put_audit(&mut transaction.open_table(AUDIT)?, &mut transaction.open_table(AUDIT_OF)?, audit)?;
        put_gaps(&mut transaction.open_table(GAPS)?, &commit.gaps)?;
    }
    Ok(transaction.commit()?)
}

fn add_counts(table: &mut Table<'_, (i64, u32), Bytes>, minutes: &[MinuteCounts]) -> Result<(), Trouble> {
    for MinuteCounts { minute, counts } in minutes {
        for added in counts.chunk_by(|a, b| page_of(a.0) == page_of(b.0)) {
            let page = page_of(added[0].0);
            let key = (minute.number(), page);
            let mut sums = Vec::new();
            if let Some(bytes) = table.get(key)? {
                read_counts(page, bytes.value(), &mut sums).map_err(|_| unreadable(format!("counts of {minute:?}")))?;
            }
            let sums = merge(sums, added, |count| count.0, |sum, added| sum.1 += added.1);
            table.insert(key, write_counts(&sums).as_slice())?;
        }
    }
    Ok(())
}

fn change_durations(transaction: &WriteTransaction, checkpoint: &Checkpoint) -> Result<(), Trouble> {
    let Checkpoint { durations, folds, expire_before, forget, .. } = checkpoint;
    if durations.is_empty() && folds.is_empty() && expire_before.is_none() && forget.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(DURATIONS)?;
    let mut decoder = Decoder::default();
    for SlotCounts { series, slot, took } in durations {
        let part = match slot {
            Slot::Hour(hour) => hour.rem_euclid(24) as u8,
            Slot::Day(_) => WHOLE_DAY,
        };
        let key = (slot.day(), series.0, part);
        let kept = table.get(key)?.map(|bytes| decode_durations(&mut decoder, bytes.value())).transpose()?;
        let sum = kept.map_or_else(|| encode(took), |kept| encode(&kept.plus(took)));
        table.insert(key, sum.as_slice())?;
    }
    for (series, day) in folds {
        let of_day = (*day, series.0, 0)..=(*day, series.0, WHOLE_DAY);
        let mut sum = Took::default();
        for row in table.extract_from_if(of_day, |_, _| true)? {
            sum = sum.plus(&decode_durations(&mut decoder, row?.1.value())?);
        }
        if !sum.is_empty() {
            table.insert((*day, series.0, WHOLE_DAY), encode(&sum).as_slice())?;
        }
    }
    if let Some(cut) = expire_before {
        table.retain_in(..(Slot::Hour(cut.hour()).day(), 0, 0), |_, _| false)?;
    }
    if !forget.is_empty() {
        table.retain(|(_, series, _), _| !forget.contains(&SeriesId(series)))?;
    }
    Ok(())
}

fn decode_durations(decoder: &mut Decoder, bytes: &[u8]) -> Result<Took, Trouble> {
    decoder.decode(bytes).map_err(|error| Trouble::Unreadable(format!("durations cannot be read: {error}")))
}

fn change_totals(table: &mut Table<'_, u32, Bytes>, totals: &[Totals], forget: &[SeriesId]) -> Result<(), Trouble> {
    let mut by_page: BTreeMap<u32, Vec<Totals>> = BTreeMap::new();
    for totals in totals {
        by_page.entry(page_of(totals.series)).or_default().push(*totals);
    }
    for series in forget {
        by_page.entry(page_of(*series)).or_default();
    }
    for (page, mut added) in by_page {
        added.sort_by_key(|totals| totals.series);
        let mut sums = Vec::new();
        if let Some(bytes) = table.get(page)? {
            read_totals(page, bytes.value(), &mut sums).map_err(|_| unreadable(format!("totals {page}")))?;
        }
        let mut sums = merge(
            sums,
            &added,
            |totals| totals.series,
            |sum, added| {
                sum.lifetime += added.lifetime;
                sum.newest = added.newest.or(sum.newest);
            },
        );
        sums.retain(|totals| !forget.contains(&totals.series));
        table.insert(page, write_totals(&sums).as_slice())?;
    }
    Ok(())
}

/// Adds up two ascending lists.
fn merge<T: Copy>(mut sums: Vec<T>, added: &[T], key: impl Fn(&T) -> SeriesId, add: impl Fn(&mut T, &T)) -> Vec<T> {
    for more in added {
        match sums.binary_search_by_key(&key(more), &key) {
            Ok(at) => add(&mut sums[at], more),
            // Nearly always the end: a page is mostly written for the first time or about the same series.
            Err(at) => sums.insert(at, *more),
        }
    }
    sums
}

fn add_sources(table: &mut Table<'_, &str, Bytes>, sources: &[SourceTotals]) -> Result<(), Trouble> {
    for more in sources {
        let kept = table.get(more.source.as_str())?.map(|bytes| decode("source", bytes.value())).transpose()?;
        let sum = match kept {
            None => more.clone(),
            Some(kept) => {
                let mut sum: SourceTotals = kept;
                sum.add(more);
                sum
            }
        };
        table.insert(more.source.as_str(), record::write(&sum).as_slice())?;
    }
    Ok(())
}

/// Keeps all that is kept under the old name of a source under the new one; series are described by whoever renames it.
fn rename_source(transaction: &WriteTransaction, rename: &SourceRename) -> Result<(), Trouble> {
    let SourceRename { from, to } = rename;
    let mut sources = transaction.open_table(SOURCES)?;
    let totals: Option<SourceTotals> =
        sources.remove(from.as_str())?.map(|bytes| decode("source", bytes.value())).transpose()?;
    let totals = totals.map(|totals| SourceTotals { source: to.clone(), ..totals });
    add_sources(&mut sources, totals.as_slice())?;
    let mut positions = transaction.open_table(POSITIONS)?;
    let (nothing, next): (&[u8], String) = (&[], format!("{from}\0"));
    let mut moved = Vec::new();
    for row in positions.extract_from_if((from.as_str(), nothing)..(next.as_str(), nothing), |_, _| true)? {
        let (key, at) = row?;
        moved.push(Position { source: to.clone(), key: key.value().1.to_vec(), at: Some(at.value().to_vec()) });
    }
    put_positions(&mut positions, &moved)?;
    let mut gaps = transaction.open_table(GAPS)?;
    let mut renamed = Vec::new();
    for row in gaps.range::<u64>(..)? {
        let (number, bytes) = row?;
        let gap: Gap = decode("gap", bytes.value())?;
        renamed.extend((gap.source == *from).then(|| (number.value(), Gap { source: to.clone(), ..gap })));
    }
    for (number, gap) in renamed {
        gaps.insert(number, record::write(&gap).as_slice())?;
    }
    Ok(())
}

fn put_positions(table: &mut Table<'_, (&str, Bytes), Bytes>, positions: &[Position]) -> Result<(), Trouble> {
    for Position { source, key, at } in positions {
        let key = (source.as_str(), key.as_slice());
        match at {
            Some(at) => drop(table.insert(key, at.as_slice())?),
            None => drop(table.remove(key)?),
        }
    }
    Ok(())
}

fn put_audit(
    table: &mut Table<'_, u64, Bytes>,
    audit_of: &mut Table<'_, (&str, u64), ()>,
    entries: &[AuditEntry],
) -> Result<(), Trouble> {
    for entry in entries {
        table.insert(entry.number, record::write(entry).as_slice())?;
        audit_of.insert((entry.service.as_str(), entry.number), ())?;
    }
    Ok(())
}

fn put_gaps(table: &mut Table<'_, u64, Bytes>, gaps: &[Gap]) -> Result<(), Trouble> {
    let next = table.last()?.map_or(0, |(number, _)| number.value() + 1);
    for (number, gap) in (next..).zip(gaps) {
        table.insert(number, record::write(gap).as_slice())?;
    }
    Ok(())
}

fn decode<T: Stored>(what: &str, bytes: &[u8]) -> Result<T, Trouble> {
    record::read(bytes).map_err(|error| Trouble::Unreadable(format!("a {what} cannot be read: {error}")))
}

pub(super) fn unreadable(what: String) -> Trouble {
    Trouble::Unreadable(format!("{what} cannot be read"))
}

/// Writes tables as the first version did, with counts as it kept them.
#[cfg(test)]
pub(super) fn create_as_version_1(database: &Database, commit: &Commit) -> Result<(), Trouble> {
    create(database)?;
    let transaction = database.begin_write()?;
    {
        let mut about = transaction.open_table(ABOUT)?;
        about.insert("schema", 1)?;
        about.insert("revision", 1)?;
        add_counts(&mut transaction.open_table(MINUTES)?, &commit.checkpoint.counts)?;
    }
    transaction.delete_table(HOURS)?;
    Ok(transaction.commit()?)
}
