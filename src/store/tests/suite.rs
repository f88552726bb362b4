use std::sync::Arc;

use crate::counts::{Range, Rejection, Took};
use crate::engine::*;
use crate::formats::Unparsed;
use crate::gate::{Hold, Level};
use crate::increase::Bound;
use crate::latency::Slot;
use crate::store::*;
use crate::tally::Tally;

/// A place where stores are kept, so that one can be opened again.
trait Place {
    /// Opens the store, as it was left.
    fn open(&self) -> Arc<dyn Store>;
}

struct InMemory(Arc<Memory>);

impl Place for InMemory {
    fn open(&self) -> Arc<dyn Store> {
        self.0.clone()
    }
}

struct OnDisk(tempfile::TempDir);

impl Place for OnDisk {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(Redb::open(&self.0.path().join("slogate.redb")).unwrap())
    }
}

/// Makes commits on every kind of store, opened anew for each, and looks at what the store says then.
#[track_caller]
fn check(commits: &[Commit], claim: impl Fn(&dyn Store)) {
    let places: [Box<dyn Place>; 2] =
        [Box::new(InMemory(Arc::default())), Box::new(OnDisk(tempfile::tempdir().unwrap()))];
    for place in places {
        for (commit, revision) in commits.iter().zip(1..) {
            place.open().commit(revision, commit).unwrap();
        }
        let store = place.open();
        claim(&*store);
        store.check().unwrap();
        claim(&*store);
    }
}

/// (series, good, bad).
type Count = (u32, u64, u64);

fn counted(counts: &[(i64, &[Count])]) -> Commit {
    let minute = |(minute, counts): &(i64, &[Count])| MinuteCounts {
        minute: Minute::from_number(*minute),
        counts: counts.iter().map(|(id, good, bad)| (SeriesId(*id), Tally::new(*good, *bad))).collect(),
    };
    let checkpoint = Checkpoint { counts: counts.iter().map(minute).collect(), ..Checkpoint::default() };
    Commit { checkpoint, ..Commit::default() }
}

fn minutes_of(store: &dyn Store, from: i64) -> Vec<(i64, Vec<Count>)> {
    let found = super::minutes_of(store, Minute::from_number(from));
    let counts =
        |counts: Vec<(SeriesId, Tally)>| counts.iter().map(|(id, tally)| (id.0, tally.good, tally.bad)).collect();
    found.into_iter().map(|(minute, found)| (minute.number(), counts(found))).collect()
}

/// What a slot of a series adds to its buckets.
type Written<'a> = (u32, Slot, &'a [(u16, u64)]);
/// What a slot of a series has in its buckets.
type Kept = (u32, Slot, Vec<(u16, u64)>);

fn added(day: i64, durations: &[Written<'_>], folds: &[u32]) -> Commit {
    let counts = |(series, slot, cells): &(u32, Slot, &[(u16, u64)])| SlotCounts {
        series: SeriesId(*series),
        slot: *slot,
        took: Took::Cells(cells.to_vec()),
    };
    let durations = durations.iter().map(counts).collect();
    let folds = folds.iter().map(|series| (SeriesId(*series), day)).collect();
    Commit { checkpoint: Checkpoint { durations, folds, ..Checkpoint::default() }, ..Commit::default() }
}

fn durations_of(store: &dyn Store, from: i64) -> Vec<Kept> {
    let mut found = Vec::new();
    let each = &mut |SlotCounts { series, slot, took }: &SlotCounts| {
        let Took::Cells(cells) = took else { panic!("only cells were written") };
        found.push((series.0, *slot, cells.clone()));
    };
    store.durations(Minute::from_number(from), each).unwrap();
    found
}

fn series(id: u32, slo: &str) -> Series {
    let name = SeriesName::Slo { story: "profile".into(), slo: slo.into() };
    let (rules, absences) = (format!("rules of {slo}"), Vec::new());
    Series { id: SeriesId(id), name, rules, promise: "99%".into(), changed: None, absences }
}

fn position(key: &str, at: Option<&str>) -> Position {
    Position { source: "lb".into(), key: key.into(), at: at.map(Into::into) }
}

fn gap(reason: &str) -> Gap {
    let (from, to) = (Timestamp::from_millis(5), Timestamp::from_millis(-7));
    Gap { source: "lb".into(), from, to, bytes: None, reason: reason.into() }
}

fn entry(number: u64, service: &str) -> AuditEntry {
    AuditEntry {
        number,
        at: Timestamp::from_millis(number as i64),
        service: service.into(),
        by: "anna".into(),
        action: Action::Freeze { until: None, exempt: vec!["fix".into()] },
        reason: "party".into(),
        before: None,
        after: Some(Level::Frozen),
        cause: "order".into(),
    }
}

fn audited(entries: Vec<AuditEntry>) -> Commit {
    Commit { checkpoint: Checkpoint { audit: entries, ..Checkpoint::default() }, ..Commit::default() }
}

#[test]
fn a_new_store_is_empty() {
    check(&[], |store| {
        assert_eq!(store.load().unwrap(), Loaded::default());
        assert_eq!(minutes_of(store, i64::MIN), []);
        assert_eq!(store.audit(0, 10, None).unwrap(), []);
    });
}

#[test]
fn a_gate_that_is_gone_is_gone_and_one_that_came_back_is_there() {
    let gate = |service: &str| {
        let (service, since) = (service.to_owned(), Timestamp::from_millis(5));
        KeptGate { service, level: Level::Open, since, holding: vec![], hold: None, terms: Terms::default() }
    };
    let changed = |kept: &[&str], gone: &[&str]| {
        let gates = kept.iter().map(|service| gate(service)).collect();
        let gone_gates = gone.iter().map(|&service| service.to_owned()).collect();
        Commit { checkpoint: Checkpoint { gates, gone_gates, ..Checkpoint::default() }, ..Commit::default() }
    };
    let commits = [changed(&["a", "b"], &[]), changed(&["c"], &["a", "none"]), changed(&["a"], &["c"])];
    let absorbed = commits.iter().cloned().reduce(|mut all, later| {
        all.absorb(later);
        all
    });
    for commits in [&commits[..], &[absorbed.unwrap()]] {
        check(commits, |store| {
            let kept = store.load().unwrap().kept.gates.into_iter().map(|gate| gate.service);
            assert_eq!(kept.collect::<Vec<_>>(), ["a", "b"]);
        });
    }
}

#[test]
fn counts_add_up_minute_by_minute() {
    let commits = [
        counted(&[(-5, &[(0, 1, 0)]), (10, &[(0, 1, 0), (3, 2, 2), (700, 0, 1)])]),
        counted(&[(10, &[(1, 1, 1), (3, 1, 0), (255, 1, 0), (256, u64::MAX, 1)]), (11, &[(700, 1, 0)])]),
        counted(&[(10, &[(256, 5, 5)])]),
    ];
    check(&commits, |store| {
        let ten = vec![(0, 1, 0), (1, 1, 1), (3, 3, 2), (255, 1, 0), (256, u64::MAX, 6), (700, 0, 1)];
        let all = [(-5, vec![(0, 1, 0)]), (10, ten), (11, vec![(700, 1, 0)])];
        assert_eq!(minutes_of(store, i64::MIN), all);
        // From the hour on.
        assert_eq!(minutes_of(store, 59), all[1..]);
        assert_eq!(minutes_of(store, 60), []);
        assert_eq!(store.load().unwrap().kept.earliest, Some(Minute::from_number(-5)));
    });
}

#[test]
fn durations_add_up_slot_by_slot_and_hours_fold_into_days() {
    let commits = [
        added(0, &[(7, Slot::Hour(-1), &[(0, 1)]), (7, Slot::Hour(3), &[(5, 1), (900, 2)])], &[]),
        added(0, &[(7, Slot::Hour(3), &[(900, 1), (4_095, 1)]), (300, Slot::Hour(23), &[(1, 1)])], &[]),
    ];
    let summed = vec![(5, 1), (900, 3), (4_095, 1)];
    let minus_one = (7, Slot::Hour(-1), vec![(0, 1)]);
    check(&commits, |store| {
        let expected = [minus_one.clone(), (7, Slot::Hour(3), summed.clone()), (300, Slot::Hour(23), vec![(1, 1)])];
        assert_eq!(durations_of(store, i64::MIN), expected);
        assert_eq!(durations_of(store, 1_439), expected[1..]);
        assert_eq!(durations_of(store, 1_440), []);
    });
    let [first, second] = commits;
    let late = added(0, &[(7, Slot::Hour(0), &[(5, 6)]), (9, Slot::Hour(0), &[(8, 1)])], &[7, 8]);
    let later = added(0, &[(7, Slot::Hour(2), &[(6, 1)])], &[7]);
    check(&[first, second, late, later], |store| {
        let day = vec![(5, 7), (6, 1), (900, 3), (4_095, 1)];
        let others = [(9, Slot::Hour(0), vec![(8, 1)]), (300, Slot::Hour(23), vec![(1, 1)])];
        let expected = [vec![minus_one.clone(), (7, Slot::Day(0), day)], others.to_vec()].concat();
        assert_eq!(durations_of(store, i64::MIN), expected);
    });
}

#[test]
fn ranges_add_up_like_durations_and_a_sum_of_none_is_none() {
    let range = |above: u64, within: Bound, count: i64| (Range { above: Bound::of_micros(above), within }, count);
    let write = |hour: i64, ranges: &[(Range, i64)], folds: &[u32]| {
        let took = Took::Ranges(ranges.to_vec());
        let durations = vec![SlotCounts { series: SeriesId(7), slot: Slot::Hour(hour), took }];
        Commit { checkpoint: Checkpoint { durations, ..added(0, &[], folds).checkpoint }, ..Commit::default() }
    };
    let (half, none) = (Bound::of_micros(500_000), Bound::INFINITE);
    let commits = [
        write(3, &[range(0, half, 4), range(500_000, none, -1)], &[]),
        write(3, &[range(100, half, 1), range(500_000, none, 1)], &[]),
        write(5, &[range(0, half, -4)], &[7]),
    ];
    check(&commits, |store| {
        let mut found = Vec::new();
        store.durations(Minute::from_number(0), &mut |counts| found.push(counts.clone())).unwrap();
        let took = Took::Ranges(vec![range(100, half, 1)]);
        assert_eq!(found, [SlotCounts { series: SeriesId(7), slot: Slot::Day(0), took }]);
    });
}

#[test]
fn old_days_of_durations_go_and_those_of_forgotten_series() {
    let slots = [(7, Slot::Hour(23), [(0, 1)]), (7, Slot::Hour(24), [(0, 2)]), (8, Slot::Day(1), [(0, 3)])];
    let slots: Vec<_> = slots.iter().map(|(series, slot, cells)| (*series, *slot, &cells[..])).collect();
    let mut second = Commit::default();
    // The day is kept as long as any of it is.
    second.checkpoint.expire_before = Some(Minute::from_number(2_000));
    second.checkpoint.forget = vec![SeriesId(8)];
    check(&[added(0, &slots, &[]), second], |store| {
        assert_eq!(durations_of(store, i64::MIN), [(7, Slot::Hour(24), vec![(0, 2)])]);
    });
}

#[test]
fn totals_add_up_and_the_newest_event_is_what_was_said_last() {
    let totals = |id, good, newest: Option<i64>| Totals {
        series: SeriesId(id),
        lifetime: Tally::new(good, 1),
        newest: newest.map(Timestamp::from_millis),
    };
    let commit = |totals| Commit { checkpoint: Checkpoint { totals, ..Checkpoint::default() }, ..Commit::default() };
    let commits = [
        commit(vec![totals(300, 1, Some(-5)), totals(2, 7, None)]),
        commit(vec![totals(2, 1, Some(9)), totals(300, 1, Some(-6)), totals(301, 0, None)]),
    ];
    check(&commits, |store| {
        let sums =
            |id, good, bad, newest: Option<i64>| Totals { lifetime: Tally::new(good, bad), ..totals(id, 0, newest) };
        let expected = [sums(2, 8, 2, Some(9)), sums(300, 2, 2, Some(-6)), sums(301, 0, 1, None)];
        assert_eq!(store.load().unwrap().kept.totals, expected);
    });
}

#[test]
fn what_is_refused_adds_up_by_source() {
    let commit = |source: &str, rejected: &[(Rejection, u64)], heard: Option<i64>| {
        let (source, first_heard) = (source.to_owned(), heard.map(Minute::from_number));
        let sources = vec![SourceTotals {
            source,
            rejected: rejected.iter().copied().collect(),
            first_heard,
            expired: None,
            quality: None,
        }];
        Commit { checkpoint: Checkpoint { sources, ..Checkpoint::default() }, ..Commit::default() }
    };
    let (time, future) = (Rejection::Unparsed(Unparsed::Time), Rejection::Future);
    let commits = [
        commit("lb", &[(time, 1)], None),
        commit("cdn", &[], Some(3)),
        commit("lb", &[(time, u64::MAX), (future, 2)], Some(8)),
        commit("lb", &[], Some(7)),
    ];
    check(&commits, |store| {
        let source = |source: &str, rejected: &[(Rejection, u64)], heard| SourceTotals {
            source: source.to_owned(),
            rejected: rejected.iter().copied().collect(),
            first_heard: Some(Minute::from_number(heard)),
            expired: None,
            quality: None,
        };
        let expected = [source("cdn", &[], 3), source("lb", &[(time, u64::MAX), (future, 2)], 7)];
        assert_eq!(store.load().unwrap().kept.sources, expected);
    });
}

#[test]
fn series_and_gates_are_as_they_were_said_last() {
    let gate = |level, hold| KeptGate {
        service: "api".into(),
        level,
        since: Timestamp::from_millis(1),
        holding: vec![("profile".into(), "latency".into())],
        hold,
        terms: Terms { policy: "strict".into(), slos: vec!["profile/latency".into()] },
    };
    let hold = Hold::Unfreeze { reason: "over".into(), until: Some(Timestamp::from_millis(2)) };
    let changed = Series { changed: Some(Timestamp::from_millis(4)), ..series(1, "latency") };
    let commit = |series: &[&Series], gates: &[KeptGate]| {
        let series = series.iter().copied().cloned().collect();
        Commit { checkpoint: Checkpoint { series, gates: gates.into(), ..Checkpoint::default() }, ..Commit::default() }
    };
    let commits = [
        commit(&[&series(0, "availability"), &series(1, "latency")], &[gate(Level::Frozen, None)]),
        commit(&[&changed], &[gate(Level::Open, Some(hold.clone()))]),
    ];
    check(&commits, |store| {
        let kept = store.load().unwrap().kept;
        assert_eq!(kept.series, [series(0, "availability"), changed.clone()]);
        assert_eq!(kept.gates, [gate(Level::Open, Some(hold.clone()))]);
    });
}

#[test]
fn positions_are_put_and_taken_out() {
    let commit = |positions: &[Position]| Commit { positions: positions.into(), ..Commit::default() };
    let commits = [
        commit(&[position("b", Some("1")), position("a", Some("2")), position("c", Some("3"))]),
        commit(&[position("b", Some("4")), position("b", Some("5")), position("a", None), position("d", None)]),
        commit(&[position("", Some(""))]),
    ];
    check(&commits, |store| {
        let expected = [position("", Some("")), position("b", Some("5")), position("c", Some("3"))];
        assert_eq!(store.load().unwrap().positions, expected);
    });
}

#[test]
fn what_is_kept_of_a_source_moves_to_its_new_name_and_nothing_else_does() {
    let rename = |from: &str, to: &str| SourceRename { from: from.into(), to: to.into() };
    let of = |source: &str, more: u64| SourceTotals {
        source: source.into(),
        rejected: [(Rejection::Future, more)].into(),
        first_heard: None,
        expired: None,
        quality: None,
    };
    let position = |source: &str, at: &str| Position { source: source.into(), ..position("k", Some(at)) };
    let gap = |source: &str, why: &str| Gap { source: source.into(), ..gap(why) };
    let commit = |renames: &[SourceRename], source: &str, at: &str| Commit {
        checkpoint: Checkpoint {
            renamed_sources: renames.into(),
            sources: vec![of(source, 1)],
            ..Checkpoint::default()
        },
        positions: vec![position(source, at)],
        gaps: vec![gap(source, at)],
    };
    let commits = [
        commit(&[], "lb", "1"),
        commit(&[], "lb2", "2"),
        commit(&[rename("lb", "edge")], "edge", "3"),
        commit(&[rename("edge", "e"), rename("none", "lb")], "l", "4"),
        commit(&[rename("e", "front")], "lb", "5"),
    ];
    let absorbed = |commits: &[Commit]| {
        let mut all = commits.iter().cloned();
        let first = all.next().unwrap();
        all.fold(first, |mut all, later| {
            all.absorb(later);
            all
        })
    };
    for whole in 0..commits.len() {
        let (apart, together) = commits.split_at(whole);
        check(&[apart, &[absorbed(together)]].concat(), |store| {
            let loaded = store.load().unwrap();
            assert_eq!(loaded.kept.sources, [of("front", 2), of("l", 1), of("lb", 1), of("lb2", 1)]);
            let positions = [("front", "3"), ("l", "4"), ("lb", "5"), ("lb2", "2")];
            assert_eq!(loaded.positions, positions.map(|(source, at)| position(source, at)));
            let gaps = [("front", "1"), ("lb2", "2"), ("front", "3"), ("l", "4"), ("lb", "5")];
            assert_eq!(loaded.gaps, gaps.map(|(source, why)| gap(source, why)));
        });
    }
}

#[test]
fn gaps_are_kept_in_order_and_the_newest_are_given() {
    let commit = |gaps: Vec<Gap>| Commit { gaps, ..Commit::default() };
    check(&[commit(vec![gap("a"), gap("b")]), commit(vec![gap("a")])], |store| {
        assert_eq!(store.load().unwrap().gaps, [gap("a"), gap("b"), gap("a")]);
    });
    let many = (0..MOST_GAPS + 3).map(|number| gap(&number.to_string())).collect();
    check(&[commit(many)], |store| {
        let gaps = store.load().unwrap().gaps;
        assert_eq!((gaps.len(), &gaps[0]), (MOST_GAPS, &gap("3")));
    });
}

#[test]
fn audit_is_read_in_pages() {
    let services = ["api", "web", "api", "apis", "api"];
    let entries: Vec<AuditEntry> = (1..).zip(services).map(|(number, service)| entry(number, service)).collect();
    let commits = [audited(entries[..2].into()), Commit::default(), audited(entries[2..].into())];
    check(&commits, |store| {
        let page = |after, limit, service| -> Vec<u64> {
            let page = store.audit(after, limit, service).unwrap();
            assert!(page.iter().all(|entry| *entry == entries[entry.number as usize - 1]));
            page.iter().map(|entry| entry.number).collect()
        };
        assert_eq!(page(0, 10, None), [1, 2, 3, 4, 5]);
        assert_eq!(page(0, 2, None), [1, 2]);
        assert_eq!(page(2, 2, None), [3, 4]);
        assert_eq!(page(0, 2, Some("api")), [1, 3]);
        assert_eq!(page(3, 2, Some("api")), [5]);
        assert_eq!(page(0, 10, Some("apis")), [4]);
        assert!(page(0, 10, Some("ap")).is_empty());
        assert!(page(5, 10, None).is_empty());
        assert!(page(u64::MAX, 10, Some("api")).is_empty());
        assert!(page(0, 0, None).is_empty());
        assert_eq!(store.load().unwrap().kept.last_audit, 5);
    });
    let many = (1..=MOST_AUDIT as u64 + 5).map(|number| entry(number, "api")).collect();
    check(&[audited(many)], |store| {
        assert_eq!(store.audit(0, usize::MAX, None).unwrap().len(), MOST_AUDIT);
        assert_eq!(store.audit(3, usize::MAX, Some("api")).unwrap().len(), MOST_AUDIT);
    });
}

#[test]
fn old_minutes_go_and_forgotten_series_with_them() {
    let mut first = counted(&[(1, &[(0, 1, 0), (1, 1, 0)]), (2, &[(0, 1, 0)]), (3, &[(0, 1, 0)])]);
    first.checkpoint.series = vec![series(0, "availability"), series(1, "latency")];
    let total = |id| Totals { series: SeriesId(id), lifetime: Tally::new(1, 0), newest: None };
    first.checkpoint.totals = vec![total(0), total(1)];
    let mut second = counted(&[(2, &[(0, 1, 0)]), (4, &[(0, 1, 0)])]);
    second.checkpoint.expire_before = Some(Minute::from_number(3));
    second.checkpoint.forget = vec![SeriesId(1)];
    check(&[first, second], |store| {
        assert_eq!(minutes_of(store, i64::MIN), [(3, vec![(0, 1, 0)]), (4, vec![(0, 1, 0)])]);
        let kept = store.load().unwrap().kept;
        assert_eq!((kept.series, kept.totals), (vec![series(0, "availability")], vec![total(0)]));
        assert_eq!(kept.earliest, Some(Minute::from_number(3)));
    });
}

#[test]
fn a_commit_has_the_next_number_or_is_refused() {
    let commit = counted(&[(1, &[(0, 1, 0)])]);
    check(&[commit.clone(), commit.clone()], |store| {
        for given in [0, 1, 2, 4, u64::MAX] {
            let refused = store.commit(given, &commit).unwrap_err();
            assert!(matches!(refused, StoreError::OutOfOrder { stored: 2, given: named } if named == given));
        }
        assert_eq!(store.revision().unwrap(), 2);
        assert_eq!(minutes_of(store, 0), [(1, vec![(0, 2, 0)])]);
    });
}

#[test]
fn a_store_is_read_while_it_is_written() {
    let commit = audited(vec![entry(1, "api")]);
    check(&[commit], |store| {
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (0..50).all(|_| store.audit(0, 1, None).unwrap().len() == 1));
            let next = store.revision().unwrap() + 1;
            (next..next + 20).for_each(|revision| store.commit(revision, &Commit::default()).unwrap());
            assert!(reader.join().unwrap());
        });
    });
}
