//! What is wrong with a source, over time and over restarts.

use super::*;
use crate::gate::{Lost, Unreadable};
use crate::spec::OnGap;
use crate::store::{Commit, Memory, Store, restore};

/// Hands over so many records that could be read, all good, and then so many that could not.
fn arrive(engine: &mut Engine, read: u32, unread: u64) {
    engine.observe(arriving(engine, read, unread));
}

fn arriving(engine: &Engine, read: u32, unread: u64) -> Batch {
    let now = engine.now();
    let mut page = Page::new(now.minute().hour());
    let row = now.minute().number().rem_euclid(60) as usize;
    for column in [0, 1] {
        set(&mut page, column, row, read, 0);
    }
    let newest = (read > 0).then_some(now);
    Batch {
        source: SourceId(0),
        pages: vec![page],
        newest: vec![newest, newest, None],
        rejected: [(Rejection::Unparsed(Unparsed::Layout), unread)].into(),
        truncated: 0,
        records: u64::from(read) + unread,
        unread_run: unread,
        samples: Vec::new(),
        unmatched: Vec::new(),
        durations: Vec::new(),
    }
}

/// The level of the gate, its reasons, and the health of the source.
fn look(engine: &mut Engine, now: Timestamp) -> (Level, Vec<&'static str>, &'static str) {
    let board = engine.tick(now);
    let decision = &board[ServiceId(0)];
    let causes = decision.reasons.iter().map(|reason| reason.cause().unwrap_or(reason.kind())).collect();
    (decision.state.level, causes, board[SourceId(0)].health.name())
}

fn reading(bytes_behind: u64, behind_since: Timestamp) -> Reading {
    Reading { bytes_behind, behind_since, is_conserved: true, unreadable: None }
}

#[test]
fn b07_unread_records_close_the_gate_until_they_are_old_or_few() {
    let mut engine = engine(vec![availability()]);
    let later = |minutes: i64| minutes_ago(-minutes);
    arrive(&mut engine, 9_900, 99);
    assert_eq!(look(&mut engine, NOW), (Level::Open, vec![], "ok"));
    arrive(&mut engine, 0, 1);
    assert_eq!(look(&mut engine, NOW), (Level::Open, vec![], "ok"), "one in a hundred is allowed");
    arrive(&mut engine, 0, 1);
    assert_eq!(look(&mut engine, NOW), (Level::Unknown, vec!["unparsed"], "degraded"));
    // Among more records they are fewer, but not yet few.
    arrive(&mut engine, 10_000, 0);
    assert_eq!(look(&mut engine, NOW).0, Level::Unknown);
    arrive(&mut engine, 300, 0);
    assert_eq!(look(&mut engine, NOW), (Level::Open, vec![], "ok"));
    arrive(&mut engine, 0, 200);
    assert_eq!(look(&mut engine, NOW).0, Level::Unknown);
    assert_eq!(look(&mut engine, later(9)).0, Level::Unknown);
    arrive(&mut engine, 100, 0);
    assert_eq!(look(&mut engine, later(14)), (Level::Unknown, vec!["unparsed"], "degraded"));
    assert_eq!(look(&mut engine, later(15)), (Level::Open, vec![], "ok"));
    // The past is as it was.
    let levels = |minutes| engine.board_at(later(minutes)).unwrap()[ServiceId(0)].state.level;
    assert_eq!((levels(0), levels(14), levels(15)), (Level::Unknown, Level::Unknown, Level::Open));
}

#[test]
fn doubts_survive_a_restart() {
    let catalog = catalog(vec![availability()]);
    let store = Memory::new();
    let mut engine = restore(&store, Arc::clone(&catalog), Horizon::DAYS_28, NOW).unwrap().0;
    let restarted = |engine: &mut Engine, now| {
        let commit = Commit { checkpoint: engine.checkpoint(), ..Commit::default() };
        store.commit(store.revision().unwrap() + 1, &commit).unwrap();
        *engine = restore(&store, Arc::clone(&catalog), Horizon::DAYS_28, now).unwrap().0;
        look(engine, now)
    };
    arrive(&mut engine, 1_000, 0);
    arrive(&mut engine, 0, 999);
    look(&mut engine, NOW);
    assert_eq!(restarted(&mut engine, NOW), (Level::Unknown, vec!["unparsed"], "degraded"));
    arrive(&mut engine, 0, 1);
    assert_eq!(restarted(&mut engine, NOW), (Level::Unknown, vec!["format_changed", "unparsed"], "degraded"));
    // The share is below the limit, and above its half.
    arrive(&mut engine, 120_000, 0);
    assert_eq!(look(&mut engine, NOW), (Level::Unknown, vec!["unparsed"], "degraded"));
    assert_eq!(restarted(&mut engine, NOW), (Level::Unknown, vec!["unparsed"], "degraded"));
    let over = minutes_ago(-16);
    engine.advance(over);
    arrive(&mut engine, 1, 0);
    assert_eq!(restarted(&mut engine, over), (Level::Open, vec![], "ok"));
}

#[test]
fn a25_a_source_that_is_behind_is_no_sound_evidence() {
    let mut engine = engine(vec![availability()]);
    arrive(&mut engine, 1_000, 0);
    engine.note_reading(SourceId(0), reading(7, minutes_ago(11)));
    assert_eq!(look(&mut engine, NOW), (Level::Unknown, vec!["catching_up"], "catching_up"));
    engine.note_reading(SourceId(0), reading(0, NOW));
    assert_eq!(look(&mut engine, NOW), (Level::Open, vec![], "ok"));
    engine.note_reading(SourceId(0), reading(7, minutes_ago(10)));
    assert_eq!(look(&mut engine, NOW), (Level::Open, vec![], "ok"));
    let now = NOW.plus_millis(1);
    assert_eq!(look(&mut engine, now), (Level::Unknown, vec!["lag"], "degraded"));
    assert_eq!(engine.tick(now)[SourceId(0)].bytes_behind, Some(7));
    assert_eq!(engine.board_at(NOW).unwrap()[SourceId(0)].bytes_behind, None);
    // What follows in the same process knows it as well.
    let mut next = Engine::new(Arc::clone(engine.catalog())).going_on_from(&engine);
    assert_eq!(look(&mut next, now).1, ["lag"]);
}

#[test]
fn a21_a_file_that_cannot_be_read_is_doubted_at_the_start_and_later_when_that_lasts() {
    let mut engine = engine(vec![availability()]);
    arrive(&mut engine, 1_000, 0);
    let shut = |since| {
        let unreadable = Unreadable { files: 2, worst: "/b.log: Permission denied".into(), since };
        Reading { unreadable: Some(unreadable), ..reading(0, NOW) }
    };
    let found = |engine: &mut Engine, reading| {
        engine.note_reading(SourceId(0), reading);
        look(engine, NOW)
    };
    assert_eq!(found(&mut engine, shut(NOW)), (Level::Unknown, vec!["unreadable"], "degraded"));
    assert_eq!(found(&mut engine, reading(0, NOW)), (Level::Open, vec![], "ok"));
    assert_eq!(found(&mut engine, shut(minutes_ago(10))), (Level::Open, vec![], "ok"), "as while it is renamed");
    let now = NOW.plus_millis(1);
    assert_eq!(look(&mut engine, now), (Level::Unknown, vec!["unreadable"], "degraded"));
    let mut next = Engine::new(Arc::clone(engine.catalog())).going_on_from(&engine);
    assert_eq!(look(&mut next, now).1, ["unreadable"]);
    let text = engine.tick(now)[SourceId(0)].doubts[0].text("lb");
    let expected =
        format!("2 files of source lb cannot be read, the first since {}: /b.log: Permission denied", minutes_ago(10));
    assert_eq!(text, expected);
}

#[test]
fn counts_that_do_not_add_up_stop_their_source_and_not_the_gate() {
    let catalog = catalog(vec![availability()]);
    let store = Memory::new();
    let mut engine = restore(&store, catalog, Horizon::DAYS_28, NOW).unwrap().0;
    arrive(&mut engine, 1_000, 0);
    assert_eq!(engine.checkpoint().totals.len(), 3);
    let before = engine.tick(NOW);
    for records in [1_001, 999] {
        let mut engine = engine.clone();
        let odd = Batch { records, ..arriving(&engine, 1_000, 0) };
        engine.observe(odd);
        arrive(&mut engine, 1_000, 0);
        assert!(engine.is_corrupt(SourceId(0)));
        assert_eq!(look(&mut engine, NOW), (Level::Unknown, vec!["corrupt"], "corrupt"));
        let board = engine.tick(NOW);
        assert_eq!(board[SourceId(0)].records(), before[SourceId(0)].records());
        assert_eq!(board[SloId(0)].standing, before[SloId(0)].standing);
        // Only what became of the gate is kept.
        let checkpoint = engine.checkpoint();
        assert!(checkpoint.counts.is_empty() && checkpoint.totals.is_empty() && checkpoint.sources.is_empty());
        assert_eq!(checkpoint.gates.len(), 1);
        let next = Engine::new(Arc::clone(engine.catalog())).going_on_from(&engine);
        assert!(next.is_corrupt(SourceId(0)));
    }
    assert!(!engine.is_corrupt(SourceId(0)));
}

#[test]
fn gaps_are_shown_while_a_window_reaches_back_to_them() {
    let catalog = catalog(vec![availability()]);
    let store = Memory::new();
    let found = Gap {
        source: "lb".into(),
        from: minutes_ago(30),
        to: minutes_ago(20),
        bytes: Some(5),
        reason: "rotated_away".into(),
    };
    store.commit(1, &Commit { gaps: vec![found.clone()], ..Commit::default() }).unwrap();
    let mut engine = restore(&store, Arc::clone(&catalog), Horizon::DAYS_28, NOW).unwrap().0;
    arrive(&mut engine, 1_000, 0);
    engine.tick(NOW);
    let lost = Lost { gaps: 1, from: found.from, to: found.to, bytes: Some(5) };
    let sees = |board: &Board| (board[SloId(0)].gaps.lost, board[SourceId(0)].gaps.lost);
    assert_eq!(sees(&engine.tick(NOW)), (Some(lost), Some(lost)));
    assert_eq!(look(&mut engine, NOW), (Level::Open, vec!["gap"], "ok"));
    observe(&mut engine, &[(minutes_ago(40), true)]);
    assert_eq!(sees(&engine.board_at(minutes_ago(30)).unwrap()), (Some(lost), Some(lost)));
    assert_eq!(sees(&engine.board_at(minutes_ago(31)).unwrap()), (None, None));
    let last = minutes_ago(20 - LONGEST + 1);
    assert_eq!(sees(&engine.tick(last)), (Some(lost), Some(lost)));
    let board = engine.tick(last.plus_millis(MILLIS_PER_MINUTE));
    assert_eq!(sees(&board), (None, None));
    assert_eq!((&board[SourceId(0)].gap_counts, board[SourceId(0)].gap_bytes), (&[("rotated_away", 1)].into(), 5));
    // c11: time that leaps and comes back forgets none.
    assert_eq!(sees(&engine.tick(NOW)), (Some(lost), Some(lost)));

    let mut strict = Catalog::clone(&catalog);
    strict.services[0].policy.on_gap = OnGap::Unknown;
    let mut engine = restore(&store, Arc::new(strict), Horizon::DAYS_28, NOW).unwrap().0;
    arrive(&mut engine, 1_000, 0);
    assert_eq!(look(&mut engine, NOW), (Level::Unknown, vec!["gap"], "ok"));
}

#[test]
fn a_report_takes_all_of_its_records_for_the_newest_in_whatever_order_they_come() {
    for unread_first in [false, true] {
        let mut engine = Engine::new(catalog(vec![availability()]));
        engine.advance(minutes_ago(60));
        let (early, late) = if unread_first { ((0, 1_200), (50_000, 0)) } else { ((50_000, 0), (0, 1_200)) };
        arrive(&mut engine, early.0, early.1);
        engine.advance(NOW);
        arrive(&mut engine, late.0, late.1);
        arrive(&mut engine, 1_000, 0);
        engine.expire_in_retrospect();
        assert_eq!(look(&mut engine, NOW), (Level::Unknown, vec!["unparsed"], "degraded"));
    }
}
