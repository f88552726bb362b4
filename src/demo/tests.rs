//! The room as a whole: what the gates make of the traffic, and where it answers.

use std::collections::BTreeMap;

use super::*;
use crate::classify::Classifier;
use crate::counts::Counter;
use crate::engine::{Board, Engine};
use crate::formats::Technique;
use crate::gate::Level;
use crate::spec::{Catalog, SourceId};
use crate::time::{Horizon, Minute, Timestamp};

const SOURCE: SourceId = SourceId(0);
const DAY: i64 = 24 * 60;

fn catalog() -> Arc<Catalog> {
    let temp = tempfile::tempdir().unwrap();
    let directory = temp.path().join("slo-specs");
    let places = Places { listen: ([127, 0, 0, 1], 9999).into(), metrics: ([127, 0, 0, 1], 9464).into() };
    specs::write(&directory, places).unwrap();
    Arc::new(spec::load(&directory).unwrap().catalog)
}

/// The lines of these minutes.
fn lines(traffic: &Traffic, from: Minute, minutes: i64) -> Vec<u8> {
    let (mut printer, mut text) = (Printer::default(), Vec::new());
    for minute in 0..minutes {
        traffic.minute(from.plus(minute)).iter().for_each(|record| printer.print(record, &mut text));
    }
    text
}

/// The levels of the gates by service.
fn levels(catalog: &Catalog, board: &Board) -> BTreeMap<String, Level> {
    let services = catalog.services.iter().zip(&board.gates);
    services.map(|(service, gate)| (service.name.clone(), gate.state.level)).collect()
}

/// Asserts that a demo that starts at `now` has a gate of each colour, then, an hour, and two days later, and that
/// every line is read.
#[track_caller]
fn check_colours(now: &str, seed: u64) {
    let now = Timestamp::parse_rfc3339(now).unwrap();
    let catalog = catalog();
    let traffic = Traffic::new(seed, now);
    let classifier = Classifier::new(&catalog, SOURCE).unwrap();
    let mut counter = Counter::new(&catalog, SOURCE, &classifier, Technique::fastest());
    let mut engine = Engine::keeping(Arc::clone(&catalog), Horizon::DAYS_28);
    let mut at = Horizon::DAYS_28.first_minute(now.minute());
    for (number, minutes) in [DAY; 28].into_iter().chain([60, 2 * DAY - 60]).enumerate() {
        counter.count(&lines(&traffic, at, minutes));
        at = at.plus(minutes);
        let now = at.plus(-1).start();
        engine.advance(now);
        engine.observe(counter.take());
        if number >= 27 {
            let board = engine.tick(now);
            let colours = [("api", Level::Frozen), ("shop", Level::Open), ("web", Level::Guarded)];
            let colours = colours.map(|(service, level)| (service.to_owned(), level));
            assert_eq!(levels(&catalog, &board), colours.into(), "seed {seed}, as of {now}");
            assert!(board.sources[0].rejected.values().all(|refused| *refused == 0), "{:?}", board.sources[0]);
        }
    }
}

#[test]
fn there_is_a_gate_of_each_colour_whenever_it_starts_and_days_later() {
    check_colours("2026-11-20T16:06:00Z", 28);
    check_colours("2027-01-04T00:00:00Z", 1);
    check_colours("2028-02-29T23:59:59Z", u64::MAX);
}

#[test]
fn a_free_port_is_taken_when_another_has_the_one_that_was_asked_for() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let found = free_address(taken).unwrap();
    assert_eq!(found.ip(), taken.ip());
    assert_ne!(found.port(), taken.port());
    assert!(free_address(([192, 0, 2, 1], 9999).into()).is_err(), "that is nobody's address");
}

#[test]
fn whoever_waits_to_be_told_is_told_also_by_a_thread_that_panics() {
    let stop = Stop::default();
    let panicking = {
        let stop = stop.clone();
        thread::spawn(move || {
            let _ending = TellAtEnd(&stop);
            panic!("as a test");
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(stop.clone().told());
    assert!(panicking.join().is_err() && stop.is_told());
}
