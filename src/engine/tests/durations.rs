//! How long requests took, through restarts, folding and the same requests under other specs.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::counts::{Durations, Range, Took, bucket_of, request_sets};
use crate::increase::Bound;
use crate::latency::{Precision, Slot};
use crate::store::{Commit, Memory, Redb, Store, restore, restore_counts};

const HOUR_MS: i64 = 3_600_000;

/// Specs whose log carries durations: two SLOs about the same requests, and one about some of them.
fn timed() -> Arc<Catalog> {
    let mut catalog = Catalog::clone(&catalog(vec![availability(), percentile(5), availability()]));
    let SourceKind::File(file) = &mut catalog.sources[0].kind else { panic!("it reads a log") };
    file.format = Template::nginx("$remote_addr [$time_local] \"$request\" $status $request_time", false).unwrap();
    catalog.slos[2].sli = Sli::Latency { threshold_us: 1, count: Statuses::range(200, 299) };
    Arc::new(catalog)
}

/// Durations as (hours before the hour of now, set, microseconds), in one batch.
fn took(engine: &Engine, durations: &[(i64, usize, u64)]) -> Batch {
    let now = engine.now().minute().hour();
    let one = |(hours, set, us): &(i64, usize, u64)| Durations {
        hour: now - hours,
        set: *set,
        took: Took::Cells(vec![(bucket_of(*us), 1)]),
    };
    let (pages, rejected, samples, unmatched) = Default::default();
    Batch {
        source: SourceId(0),
        pages,
        newest: vec![None; columns(engine.catalog(), SourceId(0)).len()],
        rejected,
        truncated: 0,
        records: 0,
        unread_run: 0,
        samples,
        unmatched,
        durations: durations.iter().map(one).collect(),
    }
}

fn spreads(engine: &Engine) -> Vec<Spread> {
    let windows = [1, 60, 1_440, 5_000, 40_320].map(Horizon::of_minutes);
    let slos = (0..engine.catalog().slos.len()).map(SloId);
    slos.flat_map(|slo| windows.map(|window| engine.latency_at(slo, window, engine.now()).unwrap())).collect()
}

#[test]
fn slos_about_the_same_requests_share_a_set() {
    let sets = request_sets(&timed(), SourceId(0));
    let slos: Vec<&[SloId]> = sets.iter().map(|set| &set.slos[..]).collect();
    assert_eq!(slos, [&[SloId(0), SloId(1)][..], &[SloId(2)]]);
    assert!(request_sets(&catalog(vec![availability()]), SourceId(0)).is_empty(), "no durations in this log");
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 24, ..Default::default() })]
    #[test]
    fn a_restart_changes_no_answer(
        batches in proptest::collection::vec(
            (proptest::collection::vec((0..700i64, 0..2usize, 0..5_000_000u64), 0..40), 0..60i64, any::<bool>()), 1..8,
        ),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let redb = Redb::open(&directory.path().join("slogate.redb")).unwrap();
        let stores: [&dyn Store; 2] = [&Memory::new(), &redb];
        for store in stores {
            let mut now = NOW;
            let mut engine = restore(store, timed(), Horizon::DAYS_28, now).unwrap().0;
            let mut reference = Engine::new(timed());
            for (durations, hours, restarts) in &batches {
                now = now.plus_millis(hours * HOUR_MS);
                for engine in [&mut engine, &mut reference] {
                    engine.tick(now);
                    engine.observe(took(engine, durations));
                }
                let commit = Commit { checkpoint: engine.checkpoint(), ..Commit::default() };
                store.commit(store.revision().unwrap() + 1, &commit).unwrap();
                if *restarts {
                    engine = restore(store, timed(), Horizon::DAYS_28, now).unwrap().0;
                }
                prop_assert_eq!(spreads(&engine), spreads(&reference));
            }
        }
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 24, ..Default::default() })]
    #[test]
    fn what_is_read_while_counting_goes_on_is_the_same_and_nothing_is_told_before(
        before in proptest::collection::vec((0..700i64, 0..2usize, 0..5_000_000u64), 0..60),
        since in proptest::collection::vec((0..3i64, 0..2usize, 0..5_000_000u64), 1..20),
        hours in 0..60i64,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let redb = Redb::open(&directory.path().join("slogate.redb")).unwrap();
        let stores: [&dyn Store; 2] = [&Memory::new(), &redb];
        for store in stores {
            let commit = |engine: &mut Engine| {
                let commit = Commit { checkpoint: engine.checkpoint(), ..Commit::default() };
                store.commit(store.revision().unwrap() + 1, &commit).unwrap();
            };
            let mut reference = Engine::new(timed());
            let mut engine = restore(store, timed(), Horizon::DAYS_28, NOW).unwrap().0;
            for engine in [&mut engine, &mut reference] {
                engine.tick(NOW);
                engine.observe(took(engine, &before));
            }
            commit(&mut engine);
            let now = NOW.plus_millis(hours * HOUR_MS);
            let (mut engine, _, durations) = restore_counts(store, timed(), Horizon::DAYS_28, now).unwrap();
            for engine in [&mut engine, &mut reference] {
                engine.tick(now);
                engine.observe(took(engine, &since));
            }
            // Half of it is in the store before the rest has been read from there.
            commit(&mut engine);
            engine.observe(took(&engine, &since));
            reference.observe(took(&reference, &since));
            let board = engine.tick(now);
            prop_assert!(board.slos.iter().all(|slo| slo.latency.is_none()));
            prop_assert_eq!(engine.latency_at(SloId(0), LATEST, now), Err(NotKept::BeingRead));
            engine.take_durations(durations.read().unwrap());
            prop_assert_eq!(spreads(&engine), spreads(&reference));
            commit(&mut engine);
            let engine = restore(store, timed(), Horizon::DAYS_28, now).unwrap().0;
            prop_assert_eq!(spreads(&engine), spreads(&reference));
        }
    }
}

/// Specs with a scraped histogram instead of the log.
fn scraped() -> Arc<Catalog> {
    let files = [
        (
            "slogate.toml",
            "[store]\nurl = \"redb:a\"\n[[source]]\nname = \"app\"\n[source.scrape]\ntargets = [\"http://app:9100\"]\n\
             [gate]\non_unknown = \"deny\"\n",
        ),
        (
            "api.toml",
            "[story]\nname = \"api\"\n[[slo]]\nname = \"fast\"\nobjective = 90.0\n[slo.histogram]\nsource = \"app\"\n\
             metric = 'took_seconds'\nthreshold = \"500ms\"\n",
        ),
    ];
    Arc::new(load_texts(Path::new("/specs"), &files).unwrap().catalog)
}

#[test]
fn what_lies_between_bounds_survives_restarts_and_folding_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let redb = Redb::open(&directory.path().join("slogate.redb")).unwrap();
    let stores: [&dyn Store; 2] = [&Memory::new(), &redb];
    let bounds = [0, 1, 100_000, 500_000, 2_000_000].map(Bound::of_micros);
    for store in stores {
        let mut reference = Engine::new(scraped());
        let mut now = NOW;
        reference.tick(now);
        for round in 0..12 {
            let mut engine = restore(store, scraped(), Horizon::DAYS_28, now).unwrap().0;
            assert_eq!(spreads(&engine), spreads(&reference), "{round}");
            let (above, within) =
                (bounds[round % 3], if round % 5 == 0 { Bound::INFINITE } else { bounds[round % 3 + 2] });
            for engine in [&mut engine, &mut reference] {
                engine.tick(now);
                let ranges = vec![(Range { above, within }, round as i64 + 1)];
                let mut batch = took(engine, &[(0, 0, 1), (50 * round as i64, 0, 1)]);
                batch.durations.iter_mut().for_each(|of| of.took = Took::Ranges(ranges.clone()));
                engine.observe(batch);
            }
            let commit = Commit { checkpoint: engine.checkpoint(), ..Commit::default() };
            store.commit(store.revision().unwrap() + 1, &commit).unwrap();
            now = now.plus_millis(17 * HOUR_MS);
            reference.tick(now);
        }
        let month = reference.latency_at(SloId(0), Horizon::DAYS_28, now).unwrap();
        assert!(month.requests > 100 && month.precision == Precision::Bounds, "{month:?}");
    }
}

#[test]
fn every_slo_of_a_board_tells_how_long_its_requests_took() {
    let mut engine = Engine::new(timed());
    engine.advance(NOW);
    let batch = took(&engine, &[(0, 0, 20_000), (48, 0, 30_000), (700, 1, 5), (-1, 1, 5)]);
    engine.observe(batch);
    let board = engine.tick(NOW);
    let requests = |slo| board[SloId(slo)].latency.map(|latency| (latency.hour.requests, latency.window.requests));
    assert_eq!([0, 1, 2].map(requests), [Some((1, 2)), Some((1, 2)), Some((0, 0))]);
    assert_eq!(engine.board_at(NOW).unwrap()[SloId(0)].latency, None);
}

#[test]
fn days_that_have_become_old_are_folded_by_the_store() {
    let store = Memory::new();
    let mut engine = restore(&store, timed(), Horizon::DAYS_28, NOW).unwrap().0;
    let commit = |engine: &mut Engine| {
        let commit = Commit { checkpoint: engine.checkpoint(), ..Commit::default() };
        store.commit(store.revision().unwrap() + 1, &commit).unwrap();
    };
    let batch = took(&engine, &[(1, 0, 5), (2, 0, 5), (2, 1, 7)]);
    engine.observe(batch);
    commit(&mut engine);
    for day in 1..=4 {
        engine.tick(NOW.plus_millis(day * 24 * HOUR_MS));
        commit(&mut engine);
    }
    let mut slots = Vec::new();
    store.durations(Minute::from_number(i64::MIN), &mut |counts| slots.push(counts.slot)).unwrap();
    let day = Slot::Hour(NOW.minute().hour()).day();
    assert_eq!(slots, [Slot::Day(day), Slot::Day(day)]);
}
