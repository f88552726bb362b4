use super::*;
use crate::counts::{Batch, Page, Rejection, Sample};
use crate::engine::{Command, Engine, Gap};
use crate::formats::{Template, Unparsed};
use crate::gate::Hold;
use crate::spec::*;
use crate::time::Horizon;
use serde_json::{Value, json};
use std::num::NonZeroU64;
use std::sync::Arc;

/// 2026-11-20T10:12:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_795_169_520);

/// The contract's own example: a story with one SLO, a journey over it, a service and a source.
fn catalog() -> Arc<Catalog> {
    let file = FileSource {
        paths: vec!["access.log".into()],
        start: Start::Beginning,
        format: Template::preset("combined").unwrap(),
        max_line: 65_536,
    };
    let slo = Slo {
        name: "availability".into(),
        story: StoryId(0),
        objective: Objective::new(999_500_000).unwrap(),
        window: Horizon::DAYS_28,
        source: SourceId(0),
        requests: Some(Requests { patterns: Vec::new(), hosts: Vec::new() }),
        sli: Sli::Availability { good: Statuses::range(100, 499), ignore: Statuses::NONE },
        alerts: Vec::new(),
    };
    let policy = GatePolicy {
        on_unknown: OnUnknown::Deny,
        frozen_below_billionths: 0,
        thaw_above_billionths: 50_000_000,
        guarded_below_billionths: 250_000_000,
        stale_after_ms: 600_000,
        min_events: 100,
        max_unparsed_billionths: 10_000_000,
        on_gap: OnGap::Show,
        exempt: vec!["fix".into()],
        freeze_on: None,
    };
    let journey = Journey {
        name: "browse".into(),
        title: "Browse the store".into(),
        objective: Objective::new(999_000_000).unwrap(),
        window: Horizon::of_minutes(60),
        aggregate: Aggregate::Requests,
        members: vec![Member { slo: SloId(0), weight_millionths: NonZeroU64::new(1_500_000).unwrap() }],
    };
    let story = Story {
        name: "profile".into(),
        title: "User profile".into(),
        service: ServiceId(0),
        owner: Some("team-profile".into()),
        slos: vec![SloId(0)],
    };
    Arc::new(Catalog {
        directory: "slo-specs".into(),
        server: Server { listen: "127.0.0.1:9999".parse().unwrap(), token: None },
        store: StoreUrl::Redb("slogate.redb".into()),
        sources: vec![Source { name: "lb".into(), kind: SourceKind::File(file) }],
        stories: vec![story],
        slos: vec![slo],
        journeys: vec![journey],
        services: vec![Service { name: "api".into(), policy, slos: vec![SloId(0)] }],
        renames: Renames::default(),
    })
}

/// `good` and `bad` requests two hours ago, the newest of them at `newest`, and what was refused along with them.
fn engine(good: u32, bad: u32, newest: Timestamp) -> Engine {
    let mut engine = Engine::new(catalog());
    engine.advance(NOW);
    let mut page = Page::new(NOW.minute().hour() - 2);
    set(&mut page, 0, 0, good, bad);
    set(&mut page, 1, 0, good + bad, 100);
    set(&mut page, 2, 0, 5, 0);
    let (layout, time) = (Rejection::Unparsed(Unparsed::Layout), Rejection::Unparsed(Unparsed::Time));
    engine.observe(Batch {
        source: SourceId(0),
        pages: vec![page],
        newest: vec![Some(newest), Some(newest), None],
        rejected: [(layout, 11), (time, 7), (Rejection::Future, 2), (Rejection::Oversize, 0)].into(),
        truncated: 0,
        records: u64::from(good) + u64::from(bad) + 120,
        unread_run: 0,
        samples: vec![Sample { rejection: time, text: "no time".into() }],
        unmatched: vec![],
        durations: Vec::new(),
    });
    engine
}

fn status(engine: &mut Engine, change: &str) -> (String, Value) {
    let board = engine.tick(NOW);
    let text = serde_json::to_string(&Status::new(engine.catalog(), &board, change)).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

#[test]
fn an_slo_is_written_as_the_contract_has_it() {
    let (_, value) = status(&mut engine(1_999_200, 800, NOW.plus_millis(-2_000)), DEFAULT_CHANGE);
    let expected = json!({
        "story": "profile", "slo": "availability", "kind": "availability", "service": "api", "title": "User profile",
        "objective": 0.9995, "window": "28d", "at": "2026-11-20T10:12:00Z", "state": "met",
        "good": 1999200, "bad": 800, "total": 2000000, "compliance": 0.9996,
        "budget": { "allowed": 1000.0, "spent": 800, "remaining": 0.2, "remaining_seconds": 241.92 },
        "burn": { "5m": null, "30m": null, "1h": null, "2h": null, "6h": 0.8, "1d": 0.8, "3d": 0.8, "28d": 0.8 },
        "alerts": [], "evidence": "ok", "last_event": "2026-11-20T10:11:58Z", "gaps": [], "gaps_total": 0,
        "rules_changed": null
    });
    let story = &value["stories"][0];
    assert_eq!(story["slos"][0], expected);
    assert_eq!(
        (&story["story"], &story["title"], &story["service"], &story["owner"]),
        (&json!("profile"), &json!("User profile"), &json!("api"), &json!("team-profile"))
    );
    assert_eq!(value["at"], "2026-11-20T10:12:00Z");
}

#[test]
fn burn_windows_come_from_short_to_long() {
    let (text, _) = status(&mut engine(100, 0, NOW), DEFAULT_CHANGE);
    let start = text.find("\"burn\"").unwrap();
    let windows = ["\"5m\"", "\"30m\"", "\"1h\"", "\"2h\"", "\"6h\"", "\"1d\"", "\"3d\"", "\"28d\""];
    let places: Vec<usize> = windows.iter().map(|window| text[start..].find(window).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn no_data_is_null_and_never_a_number() {
    let mut engine = Engine::new(catalog());
    let (_, value) = status(&mut engine, DEFAULT_CHANGE);
    let slo = &value["stories"][0]["slos"][0];
    assert_eq!(
        (&slo["state"], &slo["compliance"], &slo["evidence"]),
        (&json!("no_data"), &Value::Null, &json!("none"))
    );
    assert_eq!((&slo["last_event"], &slo["burn"]["28d"]), (&Value::Null, &Value::Null));
    assert_eq!(slo["budget"], json!({ "allowed": 0.0, "spent": 0, "remaining": 1.0, "remaining_seconds": 1209.6 }));
    assert_eq!(
        value["sources"][0],
        json!({
            "source": "lb", "kind": "file", "records": 0, "matched": 0, "unmatched": 0, "rejected": {},
            "rejected_detail": {}, "truncated": 0, "missing": { "duration": 0 }, "last_event": null, "lag_seconds": null,
            "bytes_behind": null, "health": "unknown", "reasons": [], "gaps": [], "gaps_total": 0, "samples": []
        })
    );
    assert_eq!(value["journeys"][0]["members"][0]["compliance"], Value::Null);
    assert_eq!(value["gates"][0]["reasons"][0]["text"], "profile/availability has seen no events in its window");
}

#[test]
fn a_journey_is_written_as_the_contract_has_it() {
    let (_, value) = status(&mut engine(100, 0, NOW), DEFAULT_CHANGE);
    let members = json!([{
        "story": "profile", "slo": "availability", "weight": 1.5, "compliance": null, "share": 0.0, "spent_share": 0.0
    }]);
    let burn = json!({ "5m": null, "30m": null, "1h": null, "2h": null, "6h": 0.0, "1d": 0.0, "3d": 0.0, "28d": 0.0 });
    let expected = json!({
        "journey": "browse", "title": "Browse the store", "objective": 0.999, "aggregate": "requests", "window": "1h",
        "at": "2026-11-20T10:12:00Z", "state": "no_data", "compliance": null,
        "budget": { "remaining": 1.0, "remaining_seconds": 3.6 }, "burn": burn, "members": members,
        "gaps": [], "gaps_total": 0
    });
    assert_eq!(value["journeys"][0], expected);
}

#[test]
fn a_source_is_written_as_the_contract_has_it() {
    let (_, value) = status(&mut engine(1_999_200, 800, NOW.plus_millis(-400)), DEFAULT_CHANGE);
    let expected = json!({
        "source": "lb", "kind": "file", "records": 2000120, "matched": 2000000, "unmatched": 100,
        "rejected": { "unparsed": 18, "future": 2 }, "rejected_detail": { "layout": 11, "time": 7 },
        "truncated": 0, "missing": { "duration": 5 }, "last_event": "2026-11-20T10:11:59.600Z", "lag_seconds": 0.4, "bytes_behind": null,
        "health": "ok", "reasons": [], "gaps": [], "gaps_total": 0,
        "samples": [{ "reason": "unparsed", "detail": "time", "text": "no time" }]
    });
    assert_eq!(value["sources"][0], expected);
}

#[test]
fn a_gate_is_written_as_the_contract_has_it() {
    let (_, value) = status(&mut engine(1_998_880, 1_120, NOW), DEFAULT_CHANGE);
    let expected = json!({
        "service": "api", "level": "frozen", "allow": false, "change": "feature", "since": "2026-11-20T10:12:00Z",
        "until": null,
        "reasons": [{ "kind": "budget_spent", "story": "profile", "slo": "availability", "remaining": -0.12,
                      "text": "profile/availability has spent 112% of its 28d error budget" }]
    });
    assert_eq!(value["gates"][0], expected);
}

/// What people read: the level, the verdict and the texts of all reasons.
#[track_caller]
fn check_texts(engine: &mut Engine, change: &str, level: &str, allow: bool, texts: &[&str]) {
    let (_, value) = status(engine, change);
    let gate = &value["gates"][0];
    let found: Vec<&str> = gate["reasons"].as_array().unwrap().iter().map(|r| r["text"].as_str().unwrap()).collect();
    assert_eq!((gate["level"].as_str(), gate["allow"].as_bool()), (Some(level), Some(allow)));
    assert_eq!(found, texts);
}

#[test]
fn reasons_are_sentences_that_name_their_subject() {
    let spent = "profile/availability has spent 112% of its 28d error budget";
    check_texts(
        &mut engine(1_998_880, 1_120, NOW),
        "fix",
        "frozen",
        true,
        &[spent, "changes of kind fix pass this freeze"],
    );
    check_texts(
        &mut engine(1_999_200, 800, NOW),
        "feature",
        "guarded",
        true,
        &["profile/availability has spent 80% of its 28d error budget"],
    );
    check_texts(
        &mut engine(98, 1, NOW),
        "feature",
        "unknown",
        false,
        &["profile/availability has seen 99 events in its window, of at least 100"],
    );
    check_texts(
        &mut engine(100, 0, NOW.plus_millis(-3_600_000)),
        "fix",
        "unknown",
        true,
        &[
            "source lb was last heard at 2026-11-20T09:12:00Z, more than 10m ago",
            "changes of kind fix pass without sound evidence",
        ],
    );
}

#[test]
fn orders_are_told_with_their_reason_and_their_end() {
    let mut engine = engine(1_998_880, 1_120, NOW);
    let until = Some(NOW.plus_millis(3_600_000));
    let freeze = Hold::Freeze { reason: "release party".into(), until, exempt: Vec::new() };
    engine.command(Command { service: ServiceId(0), hold: freeze, by: "anna".into() }, NOW).unwrap();
    let spent = "profile/availability has spent 112% of its 28d error budget";
    let order = "frozen by hand until 2026-11-20T11:12:00Z: release party";
    check_texts(&mut engine, "fix", "frozen", false, &[order, spent]);
    let unfreeze = Hold::Unfreeze { reason: "accepted".into(), until: None };
    engine.command(Command { service: ServiceId(0), hold: unfreeze, by: "anna".into() }, NOW).unwrap();
    check_texts(&mut engine, "feature", "guarded", true, &[spent, "unfrozen by hand: accepted"]);
}

#[test]
fn a_gate_that_waits_for_recovery_says_what_it_waits_for() {
    let mut engine = engine(1_998_880, 1_120, NOW);
    engine.tick(NOW);
    let mut page = Page::new(NOW.minute().hour() - 2);
    set(&mut page, 0, 0, 300_000, 0);
    let (rejected, samples) = Default::default();
    engine.observe(Batch {
        source: SourceId(0),
        pages: vec![page],
        newest: vec![None; 3],
        rejected,
        truncated: 0,
        records: 0,
        unread_run: 0,
        samples,
        unmatched: vec![],
        durations: Vec::new(),
    });
    let waiting =
        "profile/availability has spent 97% of its 28d error budget; the gate opens again when more than 5% are left";
    check_texts(&mut engine, "feature", "frozen", false, &[waiting]);
}

#[test]
fn gaps_are_told_wherever_they_reach_into_a_window() {
    let mut engine = engine(1_999_200, 800, NOW);
    let hours_ago = |hours: i64| NOW.plus_millis(-hours * 3_600_000);
    let gap = |from, to, bytes| Gap { source: "lb".into(), from, to, bytes, reason: "rotated_while_down".into() };
    engine.note_gaps([gap(hours_ago(5), hours_ago(4), Some(12)), gap(hours_ago(30 * 24), hours_ago(29 * 24), None)]);
    engine.note_gaps([Gap { source: "cdn".into(), ..gap(hours_ago(1), NOW, None) }]);
    let (_, value) = status(&mut engine, DEFAULT_CHANGE);
    let lost = "12 bytes of source lb from between 2026-11-20T05:12:00Z and 2026-11-20T06:12:00Z can never be counted";
    let expected = json!([{
        "source": "lb", "from": "2026-11-20T05:12:00Z", "to": "2026-11-20T06:12:00Z", "bytes": 12,
        "reason": "rotated_while_down",
        "text": format!("{lost}: its log was rotated away or deleted while slogate was not running")
    }]);
    for place in [&value["stories"][0]["slos"][0], &value["sources"][0]] {
        assert_eq!((&place["gaps"], &place["gaps_total"]), (&expected, &json!(1)));
    }
    // The journey looks back an hour.
    assert_eq!((&value["journeys"][0]["gaps"], &value["journeys"][0]["gaps_total"]), (&json!([]), &json!(0)));
    assert_eq!(value["stories"][0]["slos"][0]["evidence"], "ok");
    check_texts(
        &mut engine,
        "feature",
        "guarded",
        true,
        &["profile/availability has spent 80% of its 28d error budget", lost],
    );
    engine.note_gaps([gap(hours_ago(1), NOW, None)]);
    let (_, value) = status(&mut engine, DEFAULT_CHANGE);
    assert_eq!((&value["journeys"][0]["gaps_total"], &value["sources"][0]["gaps_total"]), (&json!(1), &json!(2)));
    let reason = &value["gates"][0]["reasons"][1];
    assert_eq!((&reason["kind"], &reason["source"]), (&json!("gap"), &json!("lb")));
    let text = "an unknown number of bytes of source lb, in 2 gaps, from between 2026-11-20T05:12:00Z and \
                2026-11-20T10:12:00Z can never be counted";
    assert_eq!(reason["text"], text);
}

#[test]
fn a_doubt_is_told_with_the_source_with_its_slos_and_with_the_gate() {
    let mut engine = engine(1_999_200, 800, NOW);
    let rejected = [(Rejection::Ambiguous, 30_000)].into();
    let (pages, samples, unmatched) = Default::default();
    let (records, unread_run) = (30_000, 30_000);
    let newest = vec![None; 3];
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
    let (_, value) = status(&mut engine, "feature");
    let texts = [
        "none of the newest 30000 records of source lb could be read; its format has changed",
        "30018 of the newest 2030120 records of source lb could not be read, and errors may hide among them",
    ];
    assert_eq!(value["sources"][0]["health"], "degraded");
    let reasons = json!([{ "kind": "format_changed", "text": texts[0] }, { "kind": "unparsed", "text": texts[1] }]);
    assert_eq!(value["sources"][0]["reasons"], reasons);
    assert_eq!(value["stories"][0]["slos"][0]["evidence"], "degraded");
    let reason = &value["gates"][0]["reasons"][1];
    let expected = json!({ "kind": "source_degraded", "source": "lb", "cause": "unparsed", "text": texts[1] });
    assert_eq!(reason, &expected);
    check_texts(&mut engine, "feature", "unknown", false, &texts);
}

fn set(page: &mut Page, column: usize, minute: usize, good: u32, bad: u32) {
    let hour = page.column_mut(column);
    (hour.good[minute], hour.bad[minute]) = (good, bad);
}
