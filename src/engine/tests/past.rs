//! The past: what can be answered of it, and what the gates were.

use super::kept::{Server, changed};
use super::*;
use crate::gate::Reason;
use crate::store::recall;

/// Gives an order at `at` and keeps what comes of it.
fn order(server: &mut Server, at: Timestamp, hold: Hold) {
    server.engine.command(Command { service: ServiceId(0), hold, by: "anna".into() }, at).unwrap();
    server.commit();
}

fn tick(server: &mut Server, at: Timestamp) -> Level {
    let level = server.engine.tick(at)[ServiceId(0)].state.level;
    server.commit();
    level
}

/// The gate as it was.
fn then(server: &Server, at: Timestamp) -> Decision {
    let (engine, store) = (&server.engine, &server.store);
    let recall = recall(store, engine.catalog(), engine.last_audit(), at);
    engine.board_recalled(&recall).unwrap()[ServiceId(0)].clone()
}

fn after(seconds: i64) -> Timestamp {
    NOW.plus_millis(seconds * 1_000)
}

fn freeze(until: Option<Timestamp>) -> Hold {
    Hold::Freeze { reason: "party".into(), until, exempt: vec!["security".into()] }
}

/// A server that has been heard for an hour.
fn heard(catalog: Arc<Catalog>) -> Server {
    let mut server = Server::start(catalog, NOW);
    observe(&mut server.engine, &[(minutes_ago(60), true), (NOW, true)]);
    server
}

#[test]
fn a_gate_was_what_the_audit_says() {
    let mut server = heard(catalog(vec![availability()]));
    assert_eq!(tick(&mut server, NOW), Level::Open);
    order(&mut server, after(10), freeze(Some(after(60))));
    order(&mut server, after(20), freeze(None));
    order(&mut server, after(30), Hold::Unfreeze { reason: "over".into(), until: None });
    tick(&mut server, after(100));
    server.restart(server.engine.catalog().clone(), after(100));
    server.engine.tick(after(100));
    let policy = server.engine.catalog().services[0].policy.clone();
    for (seconds, level, since, until, reason, feature, security) in [
        (0, Level::Open, 0, None, None, true, true),
        (9, Level::Open, 0, None, None, true, true),
        (10, Level::Frozen, 10, Some(after(60)), Some("manual_freeze"), false, true),
        (29, Level::Frozen, 10, None, Some("manual_freeze"), false, true),
        (30, Level::Open, 30, None, None, true, true),
        (99, Level::Open, 30, None, None, true, true),
    ] {
        let found = then(&server, after(seconds));
        assert_eq!((found.state.level, found.state.since), (level, after(since)), "{seconds}");
        assert_eq!((found.until(), found.reasons.first().map(Reason::kind)), (until, reason), "{seconds}");
        assert_eq!(found.verdict(&policy, "feature").allow, feature, "{seconds}");
        assert_eq!(found.verdict(&policy, "security").allow, security, "{seconds}");
    }
}

#[test]
fn before_its_audit_begins_a_gate_is_unknown_and_lets_nothing_pass() {
    let lax = changed(&catalog(vec![availability()]), |catalog| {
        catalog.services[0].policy.on_unknown = OnUnknown::Allow;
    });
    let mut server = heard(lax.clone());
    tick(&mut server, NOW);
    let found = then(&server, minutes_ago(1));
    assert_eq!((found.state.level, found.reasons[0].kind()), (Level::Unknown, "not_recorded"));
    assert_eq!(
        found.reasons[0].text(&lax),
        "what the gate of api was at that time is not known; its audit begins at 2026-11-20T10:12:00Z"
    );
    for change in ["feature", "fix"] {
        assert!(!found.verdict(&lax.services[0].policy, change).allow, "{change}");
    }
    // The same when the audit cannot be had.
    let given_up = Recall::new(&lax, NOW).given_up("the disk is gone");
    let board = server.engine.board_recalled(&given_up).unwrap();
    assert_eq!(board[ServiceId(0)].state.level, Level::Unknown);
    assert!(board[ServiceId(0)].reasons[0].text(&lax).ends_with("is not known: the disk is gone"));
}

#[test]
fn a_freeze_that_hysteresis_held_was_a_freeze() {
    let mut server = heard(catalog(vec![availability()]));
    assert_eq!(tick(&mut server, NOW), Level::Open);
    observe(&mut server.engine, &[(NOW, false); 2]);
    assert_eq!(tick(&mut server, after(1)), Level::Frozen);
    // So many good records leave the budget above 0 and below the thaw threshold.
    observe(&mut server.engine, &[(NOW, true); 17]);
    assert_eq!(tick(&mut server, after(2)), Level::Frozen);
    assert_eq!(server.engine.board_at(after(2)).unwrap()[ServiceId(0)].state.level, Level::Guarded);
    let found = then(&server, after(2));
    assert_eq!((found.state.level, found.state.since), (Level::Frozen, after(1)));
    assert_eq!(found.reasons[0].kind(), "not_recovered");
    // When so much came late that counts speak of another level, the words of the audit stand for it.
    observe(&mut server.engine, &[(NOW, true); 100]);
    assert_eq!(tick(&mut server, after(3)), Level::Open);
    let found = then(&server, after(2));
    assert_eq!((found.state.level, found.reasons[0].kind()), (Level::Frozen, "recorded"));
    assert!(found.reasons[0].text(server.engine.catalog()).contains("has spent"));
    assert!(!found.verdict(&server.engine.catalog().services[0].policy, "feature").allow);
}

#[test]
fn an_unfreeze_that_was_in_force_is_told_until_the_gate_froze_again() {
    let mut server = heard(catalog(vec![availability()]));
    observe(&mut server.engine, &[(NOW, false)]);
    assert_eq!(tick(&mut server, NOW), Level::Frozen);
    order(&mut server, after(1), Hold::Unfreeze { reason: "known".into(), until: Some(after(5)) });
    assert_eq!(tick(&mut server, after(6)), Level::Frozen);
    let found = then(&server, after(4));
    assert_eq!((found.state.level, found.until()), (Level::Guarded, Some(after(5))));
    assert!(found.reasons.iter().any(|reason| reason.kind() == "unfrozen"));
    let found = then(&server, after(6));
    assert_eq!((found.state.level, found.state.since, found.until()), (Level::Frozen, after(6), None));
}

#[test]
fn of_a_time_of_other_terms_nothing_passes_as_an_exception() {
    let before = catalog(vec![availability()]);
    let mut server = heard(before.clone());
    observe(&mut server.engine, &[(NOW, false)]);
    assert_eq!(tick(&mut server, NOW), Level::Frozen);
    let policy = &before.services[0].policy;
    assert!(then(&server, NOW).verdict(policy, "fix").allow);
    let other = changed(&before, |catalog| catalog.services[0].policy.exempt.push("rollback".into()));
    server.restart(other.clone(), after(5));
    tick(&mut server, after(5));
    let (earlier, later) = (then(&server, after(4)), then(&server, after(5)));
    assert!(!earlier.verdict(&other.services[0].policy, "rollback").allow);
    assert!(earlier.reasons.iter().any(|reason| reason.kind() == "other_terms"));
    assert!(later.verdict(&other.services[0].policy, "rollback").allow);
}

#[test]
fn a_past_that_lacks_what_was_refused_as_expired_is_not_answered() {
    let kept = Horizon::of_minutes(LONGEST as u32 + 1_440);
    let mut engine = Engine::keeping(catalog(vec![availability()]), kept);
    engine.advance(NOW);
    observe(&mut engine, &[(minutes_ago(LONGEST + 60), false), (minutes_ago(LONGEST - 10), true), (NOW, true)]);
    engine.tick(NOW);
    // The window of an hour and a minute ago begins behind the refused one; a minute earlier it would hold it.
    let first = minutes_ago(60).minute().start();
    assert!(engine.board_at(first).is_ok() && engine.standing_at(SloId(0), first).is_ok());
    let before = first.plus_millis(-1);
    assert_eq!(engine.board_at(before).unwrap_err(), NotKept::Past(first));
    assert_eq!(engine.standing_at(SloId(0), before).unwrap_err(), NotKept::Past(first));
}

#[test]
fn what_was_refused_as_expired_is_remembered_over_a_restart() {
    let specs = catalog(vec![availability()]);
    let mut server = Server::start(specs.clone(), NOW);
    observe(&mut server.engine, &[(minutes_ago(LONGEST), false), (minutes_ago(LONGEST - 10), true)]);
    server.restart(specs, NOW);
    assert_eq!(server.engine.board_at(minutes_ago(1)).unwrap_err(), NotKept::Past(NOW));
}

#[test]
fn c07_a_record_ahead_of_its_time_does_not_pass_for_news_later() {
    let specs = catalog(vec![availability()]);
    let mut server = Server::start(specs.clone(), NOW);
    let heard = NOW.plus_millis(20_000);
    server.engine.tick(heard);
    observe(&mut server.engine, &[(heard, true), (minutes_ago(-4), true)]);
    for restarts in [false, true] {
        if restarts {
            server.restart(specs.clone(), heard);
        }
        let board = server.engine.tick(heard);
        assert_eq!((board[SourceId(0)].last_event, board[SloId(0)].last_event), (Some(heard), Some(heard)));
        let last = heard.plus_millis(600_000);
        let board = server.engine.tick(last);
        assert_eq!((board[SourceId(0)].health, board[SourceId(0)].last_event), (Health::Ok, Some(heard)));
        assert_eq!(board[SloId(0)].last_event, Some(minutes_ago(-4)));
        assert_eq!(server.engine.tick(last.plus_millis(1))[SourceId(0)].health, Health::Stale);
    }
}

#[test]
fn c12_after_a_start_with_a_clock_far_ahead_a_source_is_stale() {
    const DAY_MS: i64 = 86_400_000;
    let specs = catalog(vec![availability()]);
    let mut server = Server::start(specs.clone(), NOW);
    observe(&mut server.engine, &[(minutes_ago(3), true), (NOW, true)]);
    let (month, far) = (NOW.plus_millis(30 * DAY_MS), NOW.plus_millis(40 * DAY_MS));
    server.restart(specs.clone(), month);
    let seen = |server: &mut Server, at| {
        let board = server.engine.tick(at);
        let kind = board[ServiceId(0)].reasons.first().map(Reason::kind);
        (board[SourceId(0)].last_event, board[SloId(0)].evidence.name(), kind)
    };
    assert_eq!(seen(&mut server, month), (Some(NOW), "stale", Some("source_stale")));
    // A record of a time that was none: when the clock is put right, it is not the newest any more.
    server.restart(specs.clone(), far);
    observe(&mut server.engine, &[(far, true)]);
    assert_eq!(seen(&mut server, far).0, Some(far));
    server.restart(specs.clone(), NOW);
    assert_eq!(seen(&mut server, NOW), (Some(NOW), "ok", None));
    server.restart(specs.clone(), month);
    assert_eq!(seen(&mut server, month), (Some(NOW), "stale", Some("source_stale")));
    // Even without having been put right in between, no more than its first record is certain.
    server.restart(specs.clone(), far);
    observe(&mut server.engine, &[(far, true)]);
    server.restart(specs, month);
    assert_eq!(seen(&mut server, month), (Some(minutes_ago(3)), "stale", Some("source_stale")));
}
