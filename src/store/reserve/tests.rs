use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use super::file::{LENGTH, SLOTS};
use super::slots::{COPY, Found, SLOT, read};
use super::*;
use crate::store::redb::Disk;
use crate::store::redb::tests::Random;
use crate::store::redb::tests::disks::CutDisk;
use crate::store::{Claim, Memory, Redb, Writer};
use crate::time::Timestamp;
use ::redb::StorageBackend;

/// An order about one of two gates, told from all others by its number.
fn order(number: u64, is_freeze: bool) -> AuditEntry {
    let action = match is_freeze {
        true => Action::Freeze { until: None, exempt: vec!["fix".into()] },
        false => Action::Unfreeze { until: None },
    };
    AuditEntry {
        number: 0,
        at: Timestamp::from_millis(number as i64),
        service: ["api", "web"][(number % 2) as usize].into(),
        by: "token:anna".into(),
        action,
        reason: format!("order {number}"),
        before: None,
        after: Some(Level::Frozen),
        cause: "order".into(),
    }
}

fn record(number: u64) -> Record {
    Record { mark: Mark { series: 7, number }, order: order(number, true) }
}

fn formatted() -> CutDisk {
    let disk = CutDisk::default();
    disk.write(0, &vec![0; LENGTH]).unwrap();
    disk.sync_data().unwrap();
    disk
}

fn on(disk: &CutDisk) -> Reserve {
    Reserve::on(Some(Disk::new(disk.clone())), "test.reserve".as_ref()).unwrap()
}

#[test]
fn an_order_is_read_as_it_was_written_or_not_at_all() {
    let sound = record(3).slot().unwrap();
    assert_eq!((sound.len(), read(&sound)), (SLOT, Found::Order(Box::new(record(3)))));
    assert_eq!(read(&[0; SLOT]), Found::Nothing);
    // Torn anywhere: what is not whole in one of its two places is no order.
    for end in 0..SLOT {
        let mut torn = vec![0; SLOT];
        torn[..end].copy_from_slice(&sound[..end]);
        let is_whole = end > sound[..COPY].iter().rposition(|byte| *byte != 0).unwrap();
        match read(&torn) {
            Found::Order(found) => assert!(is_whole && *found == record(3), "torn at {end}"),
            Found::Ruins => assert!(!is_whole, "torn at {end}"),
            Found::Nothing => assert_eq!(end, 0),
        }
    }
    // A flipped bit in one place is made good by the other; in both it is found.
    for at in 0..COPY {
        for bit in [0, 5] {
            let mut flipped = sound.clone();
            flipped[at] ^= 1 << bit;
            assert_eq!(read(&flipped), Found::Order(Box::new(record(3))), "byte {at}");
            flipped[COPY + at] ^= 1 << bit;
            match read(&flipped) {
                Found::Order(found) => assert!(sound[at] == 0 && *found == record(3), "byte {at}"),
                found => assert_eq!(found, Found::Ruins, "byte {at}"),
            }
        }
    }
    let mut long = record(3);
    long.order.reason = "\u{1}".repeat(1_000);
    assert_eq!(long.slot(), None);
}

#[test]
fn there_is_room_for_128_orders_and_the_next_is_refused() {
    let disk = formatted();
    let reserve = on(&disk);
    let keep = |reserve: &Reserve| {
        let mark = reserve.next_mark();
        reserve.write(&Record { mark, order: order(mark.number, true) })
    };
    (0..SLOTS).for_each(|_| keep(&reserve).unwrap());
    assert!(matches!(keep(&reserve), Err(StoreError::Full { .. })));
    let series = reserve.next_mark().series;
    // What was wiped is room again, and numbers go on.
    reserve.wipe(Mark { series, number: 1 });
    keep(&reserve).unwrap();
    let reserve = on(&disk);
    let numbers: Vec<u64> = reserve.orders().iter().map(|record| record.mark.number).collect();
    assert_eq!(numbers, (2..=128).chain([131]).collect::<Vec<u64>>());
    assert_eq!(reserve.next_mark(), Mark { series, number: 132 });
    reserve.wipe(Mark { series: series ^ 1, number: 500 });
    assert_eq!(reserve.orders().len(), SLOTS);
}

#[test]
fn after_a_failed_sync_nothing_more_is_kept() {
    let disk = formatted();
    let reserve = on(&disk);
    disk.fail_sync_after(0);
    for _ in 0..3 {
        let mark = reserve.next_mark();
        assert!(reserve.write(&Record { mark, order: order(1, true) }).is_err());
    }
    assert_eq!(disk.syncs(), 2, "one to format it, and the one that failed");
}

#[test]
fn the_file_has_its_blocks_before_they_are_needed_and_keeps_what_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slogate.redb");
    let file = directory.path().join("slogate.redb.reserve");
    let claim = Claim::on(&path).unwrap();
    let reserve = Reserve::beside(&path, &claim).unwrap();
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!(metadata.len(), LENGTH as u64);
    assert!(metadata.blocks() * 512 >= LENGTH as u64, "{} blocks", metadata.blocks());
    let mark = reserve.next_mark();
    let kept = Record { mark, order: order(1, true) };
    reserve.write(&kept).unwrap();
    drop(reserve);
    assert_eq!(Reserve::beside(&path, &claim).unwrap().orders(), std::slice::from_ref(&kept));
    // A file that was cut is made whole again, with what is left in it.
    std::fs::File::options().write(true).open(&file).unwrap().set_len(SLOT as u64 + 5).unwrap();
    assert_eq!(Reserve::beside(&path, &claim).unwrap().orders(), [kept]);
    let metadata = std::fs::metadata(&file).unwrap();
    assert!(metadata.len() == LENGTH as u64 && metadata.blocks() * 512 >= LENGTH as u64);
    // What cannot be read may hold a freeze.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(Reserve::beside(&path, &claim).is_err());
}

#[test]
fn without_room_for_the_file_the_server_starts_and_keeps_nothing() {
    let reserve = without_a_file();
    let store = Reserved::over(Arc::new(Memory::new()), reserve).unwrap();
    let ticket = store.ticket().unwrap();
    assert!(matches!(store.keep(&ticket, &order(1, true)), Err(StoreError::Full { .. })));
    assert_eq!(store.load().unwrap(), Loaded::default());
}

fn without_a_file() -> Reserve {
    Reserve::on(None, "/proc/no-room.reserve".as_ref()).unwrap()
}

/// A store set aside takes its mark with it; what was kept for it goes into the new one.
#[test]
fn orders_go_into_whatever_store_comes_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slogate.redb");
    let open = || {
        let claim = Claim::on(&path).unwrap();
        let reserve = Reserve::beside(&path, &claim).unwrap();
        Reserved::over(Arc::new(Redb::open_claimed(&path, &claim).unwrap()), reserve).unwrap()
    };
    let store = open();
    let committed = Commit { positions: vec![store.ticket().unwrap()], ..Commit::default() };
    store.commit(1, &committed).unwrap();
    store.keep(&store.ticket().unwrap(), &order(1, true)).unwrap();
    drop(store);
    std::fs::rename(&path, directory.path().join("aside")).unwrap();
    for _ in 0..2 {
        let store = open();
        let loaded = store.load().unwrap();
        assert_eq!((loaded.revision, loaded.kept.last_audit, loaded.positions.len()), (0, 1, 0));
        assert_eq!(store.audit(0, 10, Some("web")).unwrap(), [AuditEntry { number: 1, ..order(1, true) }]);
        assert_eq!(store.audit(0, 10, Some("api")).unwrap(), []);
        assert_eq!((loaded.kept.gates[0].level, loaded.kept.gates[0].since), (Level::Frozen, order(1, true).at));
    }
    let store = open();
    store.load().unwrap();
    store.commit(1, &Commit::default()).unwrap();
    assert!(store.reserve.is_empty());
    drop(store);
    let store = open();
    assert_eq!(store.load().unwrap().kept.last_audit, 1);
    assert_eq!(store.audit(0, 10, None).unwrap().len(), 1);
}

/// Whoever kept it in this process is going to commit what it comes to.
#[test]
fn an_order_is_not_found_by_the_process_that_kept_it() {
    let (memory, disk) = (Arc::new(Memory::new()), formatted());
    let store = Reserved::over(memory.clone(), on(&disk)).unwrap();
    let ticket = store.ticket().unwrap();
    store.keep(&ticket, &order(1, true)).unwrap();
    assert_eq!(store.load().unwrap(), Loaded::default());
    assert_eq!(Reserved::over(memory.clone(), on(&disk)).unwrap().load().unwrap().kept.last_audit, 1);
    store.commit(1, &Commit { positions: vec![ticket], ..Commit::default() }).unwrap();
    assert!(store.reserve.is_empty());
    assert_eq!(Reserved::over(memory, on(&disk)).unwrap().load().unwrap().kept.last_audit, 0);
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Made,
    Refused,
    MadeButFailed,
}

/// A store that outlives the process, and whose commits meet their fates at random.
#[derive(Debug)]
struct Fated {
    memory: Memory,
    random: Mutex<Random>,
}

impl Store for Fated {
    fn revision(&self) -> Result<u64, StoreError> {
        self.memory.revision()
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        self.memory.load()
    }

    fn hours(&self, from: Minute, each: &mut EachHour<'_>) -> Result<(), StoreError> {
        self.memory.hours(from, each)
    }

    fn durations(&self, from: Minute, each: &mut EachSlot<'_>) -> Result<(), StoreError> {
        self.memory.durations(from, each)
    }

    fn commit(&self, revision: u64, commit: &Commit) -> Result<(), StoreError> {
        let fates = [Fate::Made, Fate::Made, Fate::Refused, Fate::Refused, Fate::MadeButFailed];
        let fate = fates[self.random.lock().unwrap().below(5) as usize];
        if fate != Fate::Refused {
            self.memory.commit(revision, commit)?;
        }
        if fate == Fate::Made { Ok(()) } else { Err(StoreError::Full { path: "fated".into() }) }
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        self.memory.audit(after, limit, service)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.memory.check()
    }
}

/// Orders are given as the server gives them, the store fails at random, the power is cut at random; every order that
/// was acknowledged is in the audit once and in its place, and the last one is in force.
#[test]
fn f04_what_was_acknowledged_is_applied_once_and_in_order_through_crashes() {
    let mut met = (0, 0);
    for seed in 0..150 {
        lives(seed, &mut met);
    }
    assert!(met.0 > 150 && met.1 > 150, "{met:?} orders kept and committed");
}

fn lives(seed: u64, met: &mut (u64, u64)) {
    let fated = Arc::new(Fated { memory: Memory::new(), random: Mutex::new(Random(seed)) });
    let disk = formatted();
    let mut random = Random(seed ^ 0xffff);
    let (mut given, mut acknowledged) = (0, BTreeSet::new());
    for _ in 0..6 {
        let reserve = on(&disk);
        let store = Arc::new(Reserved::over(fated.clone(), reserve).unwrap());
        let mut life = Life::begin(&store, given);
        check(&store, &acknowledged, seed);
        disk.cut_after(random.below(30));
        for _ in 0..random.below(8) {
            let is_freeze = random.below(3) > 0;
            if life.order(is_freeze, met) {
                acknowledged.insert(life.given);
            }
            if random.below(2) == 0 {
                // As every second.
                let _ = life.writer.commit(Commit::default());
            }
        }
        given = life.given;
        disk.power_cycle(&mut random);
    }
    let store = Reserved::over(fated, on(&disk)).unwrap();
    store.load().unwrap();
    check(&store, &acknowledged, seed);
}

/// One process.
struct Life {
    store: Arc<Reserved>,
    writer: Writer,
    last_audit: u64,
    /// How many orders there were.
    given: u64,
}

impl Life {
    fn begin(store: &Arc<Reserved>, given: u64) -> Self {
        let loaded = store.load().unwrap();
        let writer = Writer::new(store.clone(), loaded.revision);
        Self { store: store.clone(), writer, last_audit: loaded.kept.last_audit, given }
    }

    /// Gives the next order; whether it was acknowledged.
    fn order(&mut self, is_freeze: bool, (kept, committed): &mut (u64, u64)) -> bool {
        self.given += 1;
        let order = order(self.given, is_freeze);
        let written = self.writer.commit(Commit::default()).is_ok();
        let ticket = self.store.ticket().unwrap();
        if written && self.commit(&order, &ticket) {
            *committed += 1;
            return true;
        }
        if !is_freeze {
            return false;
        }
        let is_kept = self.store.keep(&ticket, &order).is_ok();
        *kept += u64::from(is_kept);
        if is_kept && !written {
            self.commit(&order, &ticket);
        }
        is_kept
    }

    fn commit(&mut self, order: &AuditEntry, ticket: &Position) -> bool {
        let commit = self.follow(order, ticket);
        self.writer.commit(commit).is_ok()
    }

    /// What an order comes to.
    fn follow(&mut self, order: &AuditEntry, ticket: &Position) -> Commit {
        self.last_audit += 1;
        let reason = order.reason.clone();
        let hold = match &order.action {
            Action::Freeze { until, exempt } => Hold::Freeze { reason, until: *until, exempt: exempt.clone() },
            _ => Hold::Unfreeze { reason, until: None },
        };
        let (service, level) = (order.service.clone(), Level::Frozen);
        let mut commit = Commit { positions: vec![ticket.clone()], ..Commit::default() };
        commit.checkpoint.gates = vec![KeptGate {
            service,
            level,
            since: order.at,
            holding: Vec::new(),
            hold: Some(hold),
            terms: Terms::default(),
        }];
        commit.checkpoint.audit = vec![AuditEntry { number: self.last_audit, ..order.clone() }];
        commit
    }
}

/// Asserts that a store that was just loaded has what was acknowledged.
#[track_caller]
fn check(store: &Reserved, acknowledged: &BTreeSet<u64>, seed: u64) {
    let audit = store.audit(0, 1_000, None).unwrap();
    assert!(audit.iter().zip(1..).all(|(entry, number)| entry.number == number), "seed {seed}: {audit:#?}");
    let orders: Vec<u64> = audit.iter().map(|entry| entry.at.millis() as u64).collect();
    assert!(orders.is_sorted_by(|a, b| a < b), "seed {seed}: {orders:?}");
    let missing: Vec<&u64> = acknowledged.iter().filter(|number| !orders.contains(number)).collect();
    assert!(missing.is_empty(), "seed {seed}: {missing:?} of {acknowledged:?} are not in {orders:?}");
    let kept = store.load().unwrap().kept;
    assert_eq!(kept.last_audit, audit.len() as u64);
    for gate in &kept.gates {
        let last = audit.iter().rfind(|entry| entry.service == gate.service).expect("somebody ordered that");
        let (Hold::Freeze { reason, .. } | Hold::Unfreeze { reason, .. }) = gate.hold.as_ref().unwrap();
        assert_eq!(*reason, last.reason, "seed {seed}");
    }
}
