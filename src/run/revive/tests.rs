//! Followers that panic, and one that is not to go on.

use std::fs;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::api::Access;
use crate::document::{SourceStatus, metrics};
use crate::engine::{TargetNote, Targets};
use crate::gate::Level;
use crate::increase::NoteKind;
use crate::intake::scrape::ScrapeError;
use crate::intake::tail::faults;
use crate::run::following::Following;
use crate::run::owner::Published;
use crate::run::reload::tests::{Desk, Edition, FIRST, counted, gate, objective};
use crate::run::{classifiers, followers, kept_for};
use crate::spec::{Catalog, SloId};
use crate::store::{Memory, Store, Writer, restore};
use crate::time::{Clock, Stopwatch, SystemClock};

fn source(shown: &Published, name: &str) -> SourceId {
    source_named(&shown.catalog, name)
}

fn source_named(catalog: &Catalog, name: &str) -> SourceId {
    catalog.source_named(name).unwrap()
}

fn panics(shown: &Published) -> u64 {
    shown.board[source(shown, "lb")].panics
}

/// Kinds of reasons why a source cannot be relied upon, and its health, as the API shows them.
fn standing(shown: &Published, name: &str) -> (Vec<(&'static str, String)>, &'static str) {
    let status = SourceStatus::new(&shown.catalog, &shown.board, source(shown, name));
    (status.reasons.into_iter().map(|reason| (reason.kind, reason.text)).collect(), status.health)
}

#[test]
fn f15_a_follower_that_panics_begins_again_and_nobody_else_notices() {
    let mut desk = Desk::with(Edition { has_second: true, ..FIRST });
    let (log, second) = (desk.directory.path().join("log"), desk.directory.path().join("second"));
    desk.log(100);
    desk.until("100 lines", |shown| counted(shown) == desk.written);
    for times in 1..=2 {
        faults::panic_once(&log);
        desk.log(10);
        let shown = desk.until("a panic", |shown| panics(shown) == times);
        let (reasons, health) = standing(&shown, "lb");
        let times_told = if times == 1 { "once" } else { "2 times" };
        let text = format!(
            "reading source lb ended by a fault of slogate, {times_told} since it started; it begins again where its \
             counts were committed last"
        );
        assert_eq!((reasons, health), (vec![("panic", text)], "degraded"));
        let page = metrics(&shown.catalog, &shown.board, true);
        assert!(page.contains(&format!("slogate_ingest_panics_total{{source=\"lb\"}} {times}\n")), "{page}");
        assert!(page.contains("slogate_ingest_degraded{source=\"lb\",reason=\"panic\"} 1\n"), "{page}");
        assert!(page.contains("slogate_ingest_panics_total{source=\"cdn\"} 0\n"), "{page}");
        // Before it begins again, another source is read, an order is followed and the gate answers.
        fs::write(&second, "not a record\n".repeat(times as usize)).unwrap();
        let shown = desk.until("the other source", |shown| shown.board[source(shown, "cdn")].records() == times);
        assert_eq!(standing(&shown, "cdn").0, []);
        desk.freeze().unwrap();
        desk.until("a frozen gate", |shown| gate(shown).level == Level::Frozen);
        // Some of it after all.
        desk.log(10);
        let shown = desk.until("all lines", |shown| counted(shown) == desk.written);
        assert_eq!((standing(&shown, "lb"), panics(&shown)), ((Vec::new(), "ok"), times));
    }
    let (store, directory, written) = desk.end();
    let catalog = Arc::new(crate::spec::load(&directory.path().join("specs")).unwrap().catalog);
    let now = SystemClock.now();
    let (mut engine, _) = restore(&*store, Arc::clone(&catalog), kept_for(&catalog), now).unwrap();
    let slo = catalog.slo_named("shop", "up").unwrap();
    assert_eq!(engine.tick(now)[slo].standing.tally, written);
}

#[test]
fn f15_specs_change_while_a_follower_waits_to_begin_again() {
    let mut desk = Desk::with(FIRST);
    desk.log(100);
    desk.until("100 lines", |shown| counted(shown) == desk.written);
    faults::panic_once(&desk.directory.path().join("log"));
    desk.log(10);
    desk.until("a panic", |shown| panics(shown) == 1);
    desk.edit(Edition { objective: 50, ..FIRST });
    desk.until("the objective", |shown| objective(shown) == 50);
    desk.log(10);
    let shown = desk.until("120 lines", |shown| counted(shown) == desk.written);
    assert_eq!((standing(&shown, "lb"), panics(&shown)), ((Vec::new(), "ok"), 1));
}

/// What it would read is not counted, and after a restart it is read again from its last sound counts.
#[test]
fn a_source_whose_counts_do_not_add_up_is_read_no_further() {
    let directory = tempfile::tempdir().unwrap();
    let specs = format!(
        "[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"{0}/a\"]\nformat = \"common\"\n[[source]]\nname = \"cdn\"\n\
         [source.file]\npaths = [\"{0}/b\"]\nformat = \"common\"\n[gate]\non_unknown = \"deny\"\n",
        directory.path().display()
    );
    let story = "[story]\nname = \"shop\"\n[[slo]]\nname = \"up\"\nobjective = 99.0\n[slo.availability]\nsource = \"lb\"\n\
                 requests = [\"GET /\"]\n";
    let catalog = Arc::new(
        crate::spec::load_texts("specs".as_ref(), &[("slogate.toml", &specs), ("shop.toml", story)]).unwrap().catalog,
    );
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (engine, loaded) = restore(&*store, Arc::clone(&catalog), kept_for(&catalog), clock.now()).unwrap();
    let all = followers(&catalog, classifiers(&catalog).unwrap(), Vec::new(), &loaded.positions).unwrap();
    let (now, stop) = (Arc::new(RwLock::new(clock.now())), Arc::new(AtomicBool::new(false)));
    let (writer, access) = (Writer::new(store.clone(), loaded.revision), Access::new(catalog.server.listen, None));
    let (mut owner, _snapshots) = Owner::new(engine, writer, store, clock, Arc::clone(&now), Arc::clone(&stop), access);
    owner.following = Following::start(all, &stop, &now).unwrap();
    for _ in 0..2 {
        let mut delivery = owner.following.deliveries().recv().unwrap();
        delivery.reading.is_conserved = delivery.source != source_named(&catalog, "lb");
        owner.take(delivery);
    }
    let watch = Stopwatch::start();
    while owner.following.at_work() > 1 {
        assert!(watch.elapsed_ms() < 30_000, "it goes on");
        std::thread::yield_now();
    }
    assert!(owner.engine.is_corrupt(source_named(&catalog, "lb")));
    owner.go_on_reviving();
    assert_eq!(owner.following.at_work(), 1, "the other goes on, and it does not begin again");
    assert_eq!(owner.engine.tick(SystemClock.now())[source_named(&catalog, "lb")].panics, 0);
    stop.store(true, Ordering::Relaxed);
}

#[test]
fn what_was_told_of_targets_goes_on_after_a_panic() {
    let specs = "[[source]]\nname = \"app\"\n[source.scrape]\ntargets = [\"http://127.0.0.1:1/metrics\"]\n[gate]\n\
                 on_unknown = \"deny\"\n";
    let story = "[story]\nname = \"shop\"\n[[slo]]\nname = \"up\"\nobjective = 99.0\n[slo.ratio]\nsource = \"app\"\n\
                 total = \"all\"\nbad = \"failed\"\n";
    let texts = [("slogate.toml", specs), ("shop.toml", story)];
    let catalog = Arc::new(crate::spec::load_texts("specs".as_ref(), &texts).unwrap().catalog);
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (engine, loaded) = restore(&*store, Arc::clone(&catalog), kept_for(&catalog), clock.now()).unwrap();
    let (now, stop) = (Arc::new(RwLock::new(clock.now())), Arc::new(AtomicBool::new(false)));
    let (writer, access) = (Writer::new(store.clone(), loaded.revision), Access::new(catalog.server.listen, None));
    let at = clock.now();
    let (mut owner, _snapshots) = Owner::new(engine, writer, store, clock, Arc::clone(&now), Arc::clone(&stop), access);
    let note = Arc::new(TargetNote {
        target: "http://127.0.0.1:1/metrics".into(),
        slo: SloId(0),
        kind: NoteKind::Vanished,
        from: at,
        to: at,
        events: 0,
        series: 1,
        example: "failed".into(),
    });
    let told = Targets {
        errors: [("deadline", 7)].into(),
        note_counts: [("scrape.vanished", 3)].into(),
        notes: vec![Arc::clone(&note)],
        ..Targets::default()
    };
    owner.engine.note_targets(SourceId(0), Arc::new(told));
    owner.following = Following::start(Vec::new(), &stop, &now).unwrap();
    owner.begin_again(SourceId(0), &loaded).unwrap();
    let targets = owner.following.deliveries().recv().unwrap().targets.unwrap();
    assert_eq!((targets.errors["deadline"], targets.note_counts["scrape.vanished"]), (7, 3));
    assert_eq!(targets.notes, [note]);
    // What has not happened is there as well.
    assert_eq!((targets.errors.len(), targets.note_counts.len()), (ScrapeError::REASONS.len(), NoteKind::NAMES.len()));
    stop.store(true, Ordering::Relaxed);
}

#[test]
fn each_wait_is_twice_as_long_up_to_a_minute_until_it_has_gone_well_for_a_while() {
    let mut revival = Revival::default();
    let mut now_ms = 5;
    for expected in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        assert_eq!(revival.note(SourceId(3), now_ms), expected);
        assert!(revival.due(now_ms + expected - 1).is_empty());
        now_ms += expected;
        assert_eq!(revival.due(now_ms), [SourceId(3)]);
        revival.begun(SourceId(3));
        assert!(revival.due(now_ms).is_empty(), "it has begun");
    }
    assert_eq!(revival.note(SourceId(1), now_ms), 1_000, "each for itself");
    assert_eq!(revival.note(SourceId(3), now_ms + CALM_MS), 1_000);
}
