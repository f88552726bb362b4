//! *Failed syncs*: what they were to make durable is on the disk in part, the kernel does not try again, and what is
//! read afterwards may be what was written or what is on the disk.

use std::sync::Arc;

use super::disks::{CutDisk, FaultyDisk};
use super::{Random, Written, all_of, contents, opened};
use crate::store::redb::disk::Disk;
use crate::store::redb::{open, tables};
use crate::store::{Store, StoreError};

/// A failed sync in one of many places: the store is opened once more and goes on, and a power cut right after the next
/// commit takes nothing back; after the second failed sync it does not go on.
#[test]
fn f06_after_a_failed_sync_the_store_is_opened_once_more_and_loses_and_doubles_nothing() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..120 {
        let mut random = Random(seed);
        let disk = CutDisk::default();
        tables::create(&open::database(Disk::new(disk.clone())).unwrap()).unwrap();
        let store = Arc::new(opened(&disk).unwrap());
        let mut written = Written::to(store.clone(), seed);
        written.commits(1 + random.below(4));
        let before = store.revision().unwrap();

        disk.fail_sync_after(random.below(5));
        let failure = (0..4).find_map(|_| written.commit().err()).expect("a sync fails");
        assert!(matches!(failure, StoreError::Failed { .. }), "seed {seed}: {failure}");
        if random.below(2) == 0 {
            disk.drop_cache();
        }
        let acknowledged = written.acknowledged.load().unwrap().revision;
        assert!(acknowledged >= before);
        match store.revision().unwrap() - acknowledged {
            0 => lost += 1,
            1 => kept += 1,
            more => panic!("seed {seed}: {more} commits out of nowhere"),
        }
        written.commits(1);
        disk.power_cycle(&mut random);
        assert!(all_of(&opened(&disk).unwrap()) == all_of(&written.all), "seed {seed}");
    }
    assert!(lost > 20 && kept > 20, "the commit was lost {lost} times and kept {kept} times");
}

#[test]
fn f06_a_second_failed_sync_is_final() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let disk = CutDisk::default();
        tables::create(&open::database(Disk::new(disk.clone())).unwrap()).unwrap();
        let store = Arc::new(opened(&disk).unwrap());
        let mut written = Written::to(store.clone(), seed);
        for _ in 0..2 {
            written.commits(2);
            disk.fail_sync_after(random.below(2));
            assert!(matches!(written.commit(), Err(StoreError::Failed { .. })), "seed {seed}");
        }
        let syncs = disk.syncs();
        for _ in 0..3 {
            assert!(matches!(written.commit(), Err(StoreError::Failed { .. })));
            assert!(matches!(store.load(), Err(StoreError::Failed { .. })));
            assert!(matches!(store.check(), Err(StoreError::Failed { .. })));
        }
        assert!(written.writer.is_behind());
        let revision = written.writer.revision();
        drop((store, written.writer));
        assert_eq!(disk.syncs(), syncs, "nothing was synced any more");
        // A restart looks at what is there: what was acknowledged, and perhaps one more.
        disk.power_cycle(&mut random);
        let stored = opened(&disk).unwrap().revision().unwrap();
        assert!((revision..=revision + 1).contains(&stored), "seed {seed}: {stored} after {revision}");
    }
}

#[test]
fn f06_a_disk_whose_syncs_all_fail_is_given_up_at_once_and_keeps_what_it_has() {
    let disk = FaultyDisk::default();
    tables::create(&open::database(Disk::new(disk.clone())).unwrap()).unwrap();
    let store = Arc::new(opened(&disk).unwrap());
    let mut written = Written::to(store.clone(), 8);
    written.commits(3);
    disk.set_fails_to_sync(true);
    for _ in 0..3 {
        assert!(matches!(written.commit(), Err(StoreError::Failed { .. })));
    }
    disk.set_fails_to_sync(false);
    let syncs = disk.syncs();
    assert!(matches!(written.commit(), Err(StoreError::Failed { .. })));
    drop((store, written.writer));
    assert_eq!(disk.syncs(), syncs, "nothing was synced any more");
    let store = opened(&disk).unwrap();
    let revision = store.revision().unwrap();
    assert!((3..=4).contains(&revision));
    assert!(revision > 3 || contents(&store) == contents(&written.acknowledged));
}
