//! *Folding*: minutes become hours, and no count is changed, lost or doubled by it.

use ::redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};

use super::disks::CutDisk;
use super::{all_of, opened};
use crate::engine::{Checkpoint, MinuteCounts, SeriesId};
use crate::store::redb::disk::Disk;
use crate::store::redb::tables::{Bytes, HOURS, MINUTES, create_as_version_1};
use crate::store::redb::{SCHEMA, open, tables};
use crate::store::{Commit, Memory, Store};
use crate::tally::Tally;
use crate::time::Minute;

/// A commit of one event of two series in each of these minutes.
fn counted(minutes: impl IntoIterator<Item = i64>) -> Commit {
    let of_minute = |minute: i64| MinuteCounts {
        minute: Minute::from_number(minute),
        counts: vec![(SeriesId(3), Tally::new(1, 0)), (SeriesId(700), Tally::new(0, 1))],
    };
    let counts = minutes.into_iter().map(of_minute).collect();
    Commit { checkpoint: Checkpoint { counts, ..Checkpoint::default() }, ..Commit::default() }
}

/// The minutes that lie as minutes, without repetition, and the hours that lie as hours.
fn lying(disk: &CutDisk) -> (Vec<i64>, Vec<i64>) {
    let read = open::database(Disk::new(disk.clone())).unwrap().begin_read().unwrap();
    let keys = |table: TableDefinition<'_, (i64, u32), Bytes>| {
        let rows = read.open_table(table).unwrap().range::<(i64, u32)>(..).unwrap();
        let mut keys: Vec<i64> = rows.map(|row| row.expect("it can be read").0.value().0).collect();
        keys.dedup();
        keys
    };
    (keys(MINUTES), keys(HOURS))
}

/// Makes commits on a disk and in memory, compares what both hold after each, and looks at how it lies in the end.
#[track_caller]
fn check(commits: &[Commit], minutes: &[i64], hours: &[i64]) {
    let (disk, memory) = (CutDisk::lying(false), Memory::new());
    tables::create(&open::database(Disk::new(disk.clone())).unwrap()).unwrap();
    for (commit, revision) in commits.iter().zip(1..) {
        let store = opened(&disk).unwrap();
        store.commit(revision, commit).unwrap();
        memory.commit(revision, commit).unwrap();
        assert_eq!(all_of(&store), all_of(&memory), "after commit {revision}");
    }
    assert_eq!(lying(&disk), (minutes.to_vec(), hours.to_vec()));
}

#[test]
fn the_newest_hours_are_left_as_minutes() {
    check(&[counted([0, 59, 60, 119])], &[0, 59, 60, 119], &[]);
    check(&[counted([0, 59]), counted([60, 119]), counted([120])], &[60, 119, 120], &[0]);
    check(&[counted([-61, -60, -1, 0])], &[-60, -1, 0], &[-2]);
}

#[test]
fn what_comes_late_is_added_to_its_hour() {
    check(&[counted([5, 300]), counted([5, 6, 301]), counted([59, 300])], &[300, 301], &[0]);
    // Nothing newer comes with it, so it waits.
    check(&[counted([5, 300]), counted([5])], &[5, 300], &[0]);
}

#[test]
fn c11_minutes_of_a_clock_that_was_years_ahead_delay_nothing() {
    let ahead = 5_000_000;
    check(&[counted([ahead]), counted([0]), counted([60]), counted([120])], &[60, 120, ahead], &[0]);
}

#[test]
fn what_is_older_than_a_cut_goes_from_hours_as_from_minutes() {
    let mut cut = counted([]);
    cut.checkpoint.expire_before = Some(Minute::from_number(66));
    check(&[counted([59, 60, 65, 66, 119, 200, 300]), cut.clone()], &[300], &[1, 3]);
    check(&[counted([59, 60, 65, 300]), cut.clone()], &[300], &[]);
    check(&[counted([59, 60, 65, 66]), cut], &[66], &[]);
}

#[test]
fn a_file_without_hours_is_read_as_it_is_and_folded_by_and_by() {
    let (disk, memory) = (CutDisk::lying(false), Memory::new());
    let before = counted(0..6_000);
    create_as_version_1(&open::database(Disk::new(disk.clone())).unwrap(), &before).unwrap();
    memory.commit(1, &before).unwrap();
    let store = opened(&disk).unwrap();
    assert_eq!(all_of(&store), all_of(&memory));
    let mut left = Vec::new();
    for revision in 2..6 {
        let more = counted([6_000, 7]);
        store.commit(revision, &more).unwrap();
        memory.commit(revision, &more).unwrap();
        assert_eq!(all_of(&store), all_of(&memory));
        let read = |database: &::redb::Database| {
            let read = database.begin_read()?;
            assert_eq!(tables::schema(database)?, SCHEMA);
            Ok(read.open_table(MINUTES)?.len()?)
        };
        left.push(store.with(read).unwrap());
    }
    // Two pages a minute, and whole hours: 35 times 120 rows, then all but the hour before the newest and that one.
    assert_eq!(left, [2 * 6_001 - 4_200, 2 * 6_001 - 8_400, 122, 122]);
}

#[test]
fn what_cannot_be_read_is_left_as_minutes_and_stops_no_commit() {
    let disk = CutDisk::lying(false);
    let database = open::database(Disk::new(disk.clone())).unwrap();
    tables::create(&database).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(MINUTES).unwrap().insert((0, 0), [0x80_u8].as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    opened(&disk).unwrap().commit(1, &counted([5, 70, 300])).unwrap();
    assert_eq!(lying(&disk), (vec![0, 5, 70, 300], vec![]));
}
