mod absences;
mod courses;
mod durations;
mod kept;
mod past;
mod quality;
mod renames;

use super::*;
use crate::counts::{Column, Page, Rejection, Sample, columns};
use crate::formats::{Template, Unparsed};
use crate::spec::*;
use crate::time::MILLIS_PER_MINUTE;

/// 2026-11-20T10:12:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_795_169_520);
const LONGEST: i64 = 28 * 24 * 60;

/// One source, one service, and a story with an SLO of 90% over 28 days for each SLI.
fn catalog(slis: Vec<Sli>) -> Arc<Catalog> {
    let file = FileSource {
        paths: vec!["access.log".into()],
        start: Start::Beginning,
        format: Template::preset("combined").unwrap(),
        max_line: 65_536,
    };
    let slo = |(id, sli): (usize, Sli)| Slo {
        name: format!("{}{id}", sli.kind()),
        story: StoryId(0),
        objective: Objective::new(900_000_000).unwrap(),
        window: Horizon::DAYS_28,
        source: SourceId(0),
        requests: Some(Requests { patterns: Vec::new(), hosts: Vec::new() }),
        sli,
        alerts: Vec::new(),
    };
    let policy = GatePolicy {
        on_unknown: OnUnknown::Deny,
        frozen_below_billionths: 0,
        thaw_above_billionths: 50_000_000,
        guarded_below_billionths: 250_000_000,
        stale_after_ms: 600_000,
        min_events: 1,
        max_unparsed_billionths: 10_000_000,
        on_gap: OnGap::Show,
        exempt: vec!["fix".into()],
        freeze_on: None,
    };
    let slos: Vec<SloId> = (0..slis.len()).map(SloId).collect();
    Arc::new(Catalog {
        directory: "slo-specs".into(),
        server: Server { listen: "127.0.0.1:9999".parse().unwrap(), token: None },
        store: StoreUrl::Redb("slogate.redb".into()),
        sources: vec![Source { name: "lb".into(), kind: SourceKind::File(file) }],
        stories: vec![Story {
            name: "profile".into(),
            title: "User profile".into(),
            service: ServiceId(0),
            owner: None,
            slos: slos.clone(),
        }],
        slos: slis.into_iter().enumerate().map(slo).collect(),
        journeys: Vec::new(),
        services: vec![Service { name: "api".into(), policy, slos }],
        renames: Renames::default(),
    })
}

fn availability() -> Sli {
    Sli::Availability { good: Statuses::range(100, 499), ignore: Statuses::NONE }
}

fn percentile(slice: u32) -> Sli {
    let percentile = Percentile::new(50_000_000).unwrap();
    Sli::Percentile { percentile, threshold_us: 1, slice: Horizon::of_minutes(slice) }
}

/// A rate that two requests in a slice meet and one does not.
fn throughput(slice: u32) -> Sli {
    let minimum_millionths = 2_000_000 / (u64::from(slice) * 60);
    Sli::Throughput { minimum_millionths, slice: Horizon::of_minutes(slice) }
}

/// Hands over `(instant, good)` events that count for every SLO.
fn observe(engine: &mut Engine, events: &[(Timestamp, bool)]) {
    let columns = columns(engine.catalog(), SourceId(0));
    let mut newest = vec![None; columns.len()];
    let mut pages = Vec::new();
    for (at, good) in events {
        let mut page = Page::new(at.minute().hour());
        let minute = at.minute().number().rem_euclid(60) as usize;
        for (index, column) in columns.iter().enumerate().filter(|(_, column)| **column != Column::Missing) {
            let good = *good || *column == Column::Records;
            set(&mut page, index, minute, good.into(), (!good).into());
            newest[index] = newest[index].max(Some(*at));
        }
        pages.push(page);
    }
    let (rejected, samples) = Default::default();
    let (records, unread_run, unmatched) = (events.len() as u64, 0, vec![]);
    engine.observe(Batch {
        source: SourceId(0),
        pages,
        newest,
        rejected,
        truncated: 0,
        records,
        unread_run,
        samples,
        unmatched,
        durations: Vec::new(),
    });
}

fn engine(slis: Vec<Sli>) -> Engine {
    let mut engine = Engine::new(catalog(slis));
    engine.advance(NOW);
    engine
}

fn minutes_ago(minutes: i64) -> Timestamp {
    NOW.plus_millis(-minutes * MILLIS_PER_MINUTE)
}

/// Events (minutes ago) against the tally of the only SLO, and how many records were refused as (expired, future).
#[track_caller]
fn check(sli: Sli, events: &[(i64, bool)], tally: (u64, u64), refused: (u64, u64)) {
    let mut engine = engine(vec![sli]);
    let events: Vec<_> = events.iter().map(|(minutes, good)| (minutes_ago(*minutes), *good)).collect();
    observe(&mut engine, &events);
    let board = engine.tick(NOW);
    let source = &board[SourceId(0)];
    let rejected = |reason| source.rejected.get(&reason).copied().unwrap_or(0);
    assert_eq!(board[SloId(0)].standing.tally, Tally::new(tally.0, tally.1));
    assert_eq!((rejected(Rejection::Expired), rejected(Rejection::Future)), refused);
    assert_eq!(source.records(), events.len() as u64);
}

#[test]
fn a_window_holds_the_minute_of_now_and_those_before_it() {
    check(availability(), &[(0, true), (LONGEST - 1, false)], (1, 1), (0, 0));
    check(availability(), &[(0, true), (LONGEST, false)], (1, 0), (1, 0));
    check(availability(), &[(-1, true), (-5, true), (-6, true)], (0, 0), (0, 1));
}

#[test]
fn c07_a_wrong_clock_in_the_data_moves_nothing() {
    check(availability(), &[(1, true), (-1_440, false), (-9_000_000, false)], (1, 0), (0, 2));
    check(availability(), &[(1, true), (i64::MAX / MILLIS_PER_MINUTE - 1, false)], (1, 0), (1, 0));
}

#[test]
fn c08_late_events_count_in_their_own_minute() {
    let mut engine = engine(vec![availability()]);
    observe(&mut engine, &[(NOW, true)]);
    engine.tick(NOW);
    observe(&mut engine, &[(minutes_ago(29), false)]);
    let board = engine.tick(NOW);
    let tallies: Vec<u64> = board[SloId(0)].burns.iter().map(|burn| burn.tally.bad).collect();
    assert_eq!(tallies, [0, 1, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn c11_a_clock_that_leaps_ahead_and_comes_back_loses_nothing() {
    let mut engine = engine(vec![availability(), percentile(1)]);
    observe(&mut engine, &[(NOW, true), (minutes_ago(20_000), true)]);
    let before = engine.tick(NOW);
    let leap = engine.tick(NOW.plus_millis(10 * 365 * 86_400_000));
    assert_eq!(leap[SloId(0)].standing.tally, Tally::ZERO);
    assert_eq!(leap[ServiceId(0)].state.level, Level::Unknown);
    let after = engine.tick(NOW);
    for slo in [SloId(0), SloId(1)] {
        assert_eq!(after[slo].standing, before[slo].standing);
    }
}

#[test]
fn advancing_never_goes_back_but_a_tick_sets_the_time() {
    let mut engine = engine(vec![availability()]);
    engine.advance(minutes_ago(1));
    assert_eq!(engine.now(), NOW);
    engine.tick(minutes_ago(1));
    assert_eq!(engine.now(), minutes_ago(1));
}

#[test]
fn an_engine_that_was_never_told_the_time_accepts_nothing() {
    let mut engine = Engine::new(catalog(vec![availability(), throughput(7)]));
    observe(&mut engine, &[(NOW, true), (Timestamp::from_millis(0), true)]);
    let board = engine.tick(NOW);
    assert_eq!(board[SourceId(0)].rejected, [(Rejection::Future, 2)].into());
    assert_eq!(board[SourceId(0)].health, Health::NeverHeard);
    assert_eq!(board[SloId(0)].last_event, None);
}

#[test]
fn a_slice_without_traffic_is_no_event_of_a_percentile() {
    // NOW is minute 12 of its hour, so the slices of 5 minutes ago are [10:00, 10:05) and [10:05, 10:10).
    check(percentile(5), &[(3, true), (7, false), (8, false), (9, false)], (1, 1), (0, 0));
    // The running slice is not judged.
    check(percentile(5), &[(0, false), (2, false)], (0, 0), (0, 0));
}

#[test]
fn a_late_event_changes_the_verdict_of_its_slice() {
    let mut engine = engine(vec![percentile(5)]);
    let mut tally_after = |event| {
        observe(&mut engine, &[event]);
        engine.tick(NOW)[SloId(0)].standing.tally
    };
    assert_eq!(tally_after((minutes_ago(5), false)), Tally::new(0, 1));
    assert_eq!(tally_after((minutes_ago(4), true)), Tally::new(1, 0));
    assert_eq!(tally_after((minutes_ago(3), false)), Tally::new(0, 1));
}

#[test]
fn silence_counts_against_a_rate_from_the_first_heard_record_on() {
    check(throughput(1), &[], (0, 0), (0, 0));
    // Minutes 5 to 1 before now have ended; only one of them saw two requests.
    check(throughput(1), &[(5, true), (3, true), (3, true)], (1, 4), (0, 0));
    // [10:00, 10:05) is the slice of the first record, although 10:00 itself was silent.
    check(throughput(5), &[(8, true), (9, true)], (1, 1), (0, 0));
}

#[test]
fn a_slice_that_begins_before_the_window_is_not_in_it() {
    // The window begins at a minute that is 1 more than a multiple of 7 or not, as the case may be; the slice that
    // straddles its first minute never counts, the next one does.
    let first = Horizon::DAYS_28.first_minute(NOW.minute()).number();
    let next = first + (7 - first.rem_euclid(7)) % 7;
    let ago = |minute: i64| NOW.minute().number() - minute;
    check(percentile(7), &[(ago(next), true)], (1, 0), (0, 0));
    check(percentile(7), &[(ago(next + 6), true)], (1, 0), (0, 0));
    check(percentile(7), &[(ago(next + 6), true), (ago(next + 7), false)], (1, 1), (0, 0));
    let straddling = if next == first { vec![] } else { vec![(ago(next - 1), true)] };
    check(percentile(7), &straddling, (0, 0), (0, 0));
}

#[test]
fn a_slice_that_begins_before_what_is_kept_does_not_disturb_a_running_one() {
    // Ten slices of 3 days are 30 days, the length of the ring: the slice that straddles the oldest accepted minute and
    // the running one begin on days that share a place.
    let length = 3 * 1_440;
    let mut engine = Engine::new(catalog(vec![percentile(length as u32)]));
    let running = Minute::from_number(NOW.minute().number() / length * length);
    engine.advance(running.plus(60).start());
    observe(&mut engine, &[(running.start(), true)]);
    observe(&mut engine, &[(running.plus(-9 * length - 1).start(), true)]);
    assert_eq!(engine.tick(running.plus(60).start())[SourceId(0)].accepted.total(), 2);
    let board = engine.tick(running.plus(length).start());
    assert_eq!(board[SloId(0)].standing.tally, Tally::new(1, 0));
}

#[test]
fn a_slice_as_long_as_the_window_is_never_in_it() {
    // When it has ended, the window holds the minute after it, and its first minute has left.
    let mut engine = Engine::new(catalog(vec![percentile(LONGEST as u32), percentile(LONGEST as u32 - 1)]));
    for (slo, length, tally) in [(SloId(0), LONGEST, Tally::ZERO), (SloId(1), LONGEST - 1, Tally::new(1, 0))] {
        let start = Minute::from_number(NOW.minute().number() / length * length + length);
        engine.advance(start.start());
        observe(&mut engine, &[(start.start(), true)]);
        let end = start.plus(length).start();
        for (t, tally) in [(end.plus_millis(-1), Tally::ZERO), (end, tally), (end.plus_millis(60_000), Tally::ZERO)] {
            assert_eq!(engine.tally_at(slo, Horizon::DAYS_28, t), tally, "{t}");
        }
    }
}

#[test]
fn records_are_matched_unmatched_or_refused_and_nothing_else() {
    let mut engine = engine(vec![availability()]);
    observe(&mut engine, &[(NOW, true), (minutes_ago(-60), true), (minutes_ago(LONGEST), false)]);
    let mut page = Page::new(NOW.minute().hour());
    set(&mut page, 1, 0, 0, 4);
    set(&mut page, 2, 0, 3, 0);
    let rejected = [(Rejection::Unparsed(Unparsed::Time), 5), (Rejection::Oversize, 0), (Rejection::Future, 2)];
    engine.observe(Batch {
        source: SourceId(0),
        pages: vec![page],
        newest: vec![None, Some(NOW.minute().start()), None],
        rejected: rejected.into(),
        truncated: 0,
        records: 11,
        unread_run: 0,
        samples: Vec::new(),
        unmatched: vec![],
        durations: Vec::new(),
    });
    let board = engine.tick(NOW);
    let source = &board[SourceId(0)];
    assert_eq!((source.accepted, source.missing_duration, source.records()), (Tally::new(1, 4), 3, 14));
    let refused = [(Rejection::Unparsed(Unparsed::Time), 5), (Rejection::Future, 3), (Rejection::Expired, 1)];
    assert_eq!(source.rejected, refused.into());
}

#[test]
fn the_newest_ten_samples_are_kept() {
    let mut engine = engine(vec![availability()]);
    for hand_over in 0..3 {
        let sample = |line| Sample { rejection: Rejection::Oversize, text: format!("{hand_over}.{line}") };
        let (pages, rejected) = Default::default();
        let samples = (0..6).map(sample).collect();
        engine.observe(Batch {
            source: SourceId(0),
            pages,
            newest: vec![None; 3],
            rejected,
            truncated: 0,
            records: 0,
            unread_run: 0,
            samples,
            unmatched: vec![],
            durations: Vec::new(),
        });
    }
    let board = engine.tick(NOW);
    let texts: Vec<&str> = board[SourceId(0)].samples.iter().map(|sample| sample.text.as_str()).collect();
    assert_eq!(texts, ["1.2", "1.3", "1.4", "1.5", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5"]);
}

#[test]
fn of_a_newest_event_that_was_refused_only_the_accepted_minute_is_known() {
    let mut engine = engine(vec![availability()]);
    let event = minutes_ago(1).plus_millis(1_500);
    observe(&mut engine, &[(event, true), (minutes_ago(-60), true)]);
    let board = engine.tick(NOW);
    assert_eq!(board[SloId(0)].last_event, Some(event.minute().start()));
    observe(&mut engine, &[(event, true)]);
    assert_eq!(engine.tick(NOW)[SloId(0)].last_event, Some(event));
}

#[test]
fn an_event_that_is_no_longer_kept_is_not_the_last_one() {
    let mut engine = engine(vec![availability()]);
    observe(&mut engine, &[(NOW, true)]);
    let at = |minutes: i64| NOW.plus_millis(minutes * MILLIS_PER_MINUTE);
    assert_eq!(engine.tick(at(LONGEST - 1))[SloId(0)].last_event, Some(NOW));
    let board = engine.tick(at(LONGEST));
    assert_eq!(board[SloId(0)].last_event, None);
    assert_eq!(board[SourceId(0)].last_event, Some(NOW));
    assert_eq!(board[SourceId(0)].health, Health::Stale);
}

#[test]
fn what_expired_in_retrospect_is_expired() {
    let mut engine = Engine::new(catalog(vec![availability(), throughput(60)]));
    for event in [(minutes_ago(50_000), true), (minutes_ago(120), false), (NOW, true)] {
        engine.advance(event.0);
        observe(&mut engine, &[event]);
    }
    engine.expire_in_retrospect();
    let board = engine.tick(NOW);
    let source = &board[SourceId(0)];
    assert_eq!((source.accepted.total(), source.records()), (2, 3));
    assert_eq!(source.rejected, [(Rejection::Expired, 1)].into());
    assert_eq!(board[SloId(0)].lifetime, Tally::new(1, 1));
    // 8:12 is heard first by now, so that the hours from 8:00 and 9:00 are judged; 10:00 has not ended.
    assert_eq!(board[SloId(1)].standing.tally.total(), 2);
    engine.expire_in_retrospect();
    assert_eq!(engine.tick(NOW)[SourceId(0)].records(), 3);
}

#[test]
fn the_past_is_answered_as_far_as_it_is_kept() {
    let kept = Horizon::of_minutes(LONGEST as u32 + 60);
    let mut engine = Engine::keeping(catalog(vec![availability()]), kept);
    engine.advance(NOW);
    observe(&mut engine, &[(minutes_ago(LONGEST - 1), true), (NOW, false)]);
    // Nothing has been lost so far, back to when there was nothing.
    for (minutes, tally) in [(0, (1, 1)), (1, (1, 0)), (LONGEST - 1, (1, 0))] {
        let board = engine.board_at(minutes_ago(minutes)).unwrap();
        assert_eq!(board[SloId(0)].standing.tally, Tally::new(tally.0, tally.1), "{minutes} minutes ago");
    }
    let begun = minutes_ago(LONGEST - 1).minute().start();
    for t in [begun.plus_millis(-1), minutes_ago(LONGEST * 3)] {
        assert_eq!(engine.board_at(t).unwrap_err(), NotKept::Past(begun), "{t}");
        assert_eq!(engine.standing_at(SloId(0), t).unwrap_err(), NotKept::Past(begun), "{t}");
    }
    assert_eq!(engine.board_at(NOW.plus_millis(1)).unwrap_err(), NotKept::Future(NOW.plus_millis(1)));
    // 62 minutes later the oldest event is beyond what is kept.
    let later = NOW.plus_millis(62 * MILLIS_PER_MINUTE);
    engine.tick(later);
    let first = NOW.plus_millis(2 * MILLIS_PER_MINUTE);
    assert!(engine.board_at(first).is_ok());
    assert_eq!(engine.board_at(first.plus_millis(-1)).unwrap_err(), NotKept::Past(first));
}

#[test]
fn looking_back_leaves_the_gates_memory_alone() {
    let mut engine = engine(vec![availability()]);
    observe(&mut engine, &[(minutes_ago(200), true), (minutes_ago(90), false), (NOW, true)]);
    let frozen = engine.tick(NOW)[ServiceId(0)].clone();
    assert_eq!(frozen.state.level, Level::Frozen);
    let past = engine.board_at(minutes_ago(100)).unwrap();
    assert_eq!(past[ServiceId(0)].state.level, Level::Unknown);
    assert_eq!(engine.tick(NOW)[ServiceId(0)], frozen);
}

#[test]
fn g06_an_order_is_followed_by_the_very_next_board() {
    let mut engine = engine(vec![availability()]);
    observe(&mut engine, &[(NOW, true)]);
    assert_eq!(engine.tick(NOW)[ServiceId(0)].state.level, Level::Open);
    let order = |hold| Command { service: ServiceId(0), hold, by: "anna".into() };
    let freeze = |reason: &str, until| Hold::Freeze { reason: reason.into(), until, exempt: Vec::new() };
    let board = engine.command(order(freeze("party", None)), NOW.plus_millis(5)).unwrap();
    let state = &board[ServiceId(0)].state;
    assert_eq!((state.level, state.since), (Level::Frozen, NOW.plus_millis(5)));
    let board = engine.command(order(Hold::Unfreeze { reason: "over".into(), until: None }), NOW.plus_millis(6));
    assert_eq!(board.unwrap()[ServiceId(0)].state.level, Level::Open);
}

#[test]
fn an_order_needs_a_reason_and_a_future() {
    let mut engine = engine(vec![availability()]);
    for (reason, until, error) in [
        ("", None, CommandError::NoReason),
        (" \t", None, CommandError::NoReason),
        ("party", Some(NOW), CommandError::UntilIsPast),
    ] {
        for hold in [
            Hold::Freeze { reason: reason.into(), until, exempt: Vec::new() },
            Hold::Unfreeze { reason: reason.into(), until },
        ] {
            let refused = engine.command(Command { service: ServiceId(0), hold, by: "anna".into() }, NOW);
            assert_eq!(refused.err(), Some(error));
        }
    }
    assert_eq!(engine.tick(NOW)[ServiceId(0)].state.hold, None);
}

fn set(page: &mut Page, column: usize, minute: usize, good: u32, bad: u32) {
    let hour = page.column_mut(column);
    (hour.good[minute], hour.bad[minute]) = (good, bad);
}
