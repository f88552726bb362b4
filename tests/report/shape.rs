//! The names and shapes of the document's fields, with and without data.

use serde_json::{Value, json};

use crate::desk::{Desk, availability, bad, good, line, slo};

/// The keys of an object, in its order.
#[track_caller]
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object")).keys().map(String::as_str).collect()
}

/// An object has exactly these keys, in any order.
#[track_caller]
fn check_keys(value: &Value, expected: &str) {
    let mut expected: Vec<&str> = expected.split_whitespace().collect();
    expected.sort_unstable();
    let mut found = keys(value);
    found.sort_unstable();
    assert_eq!(found, expected);
}

fn desk() -> Desk {
    let slos = availability("availability", "99.0", "window = \"7d\"", "")
        + &slo("latency", "90.0", "latency", "threshold = \"500ms\"")
        + &slo("p99", "90.0", "percentile", "percentile = 99.0\nthreshold = \"500ms\"\nslice = \"1m\"")
        + &slo("rate", "90.0", "throughput", "minimum = 1.0\nslice = \"1m\"");
    let desk = Desk::new(&slos);
    let journey = "[journey]\nname = \"browse\"\ntitle = \"Browse\"\nobjective = 99.0\n\
                   stories = [ { story = \"shop\", slo = \"availability\", weight = 1.5 } ]\n";
    desk.write("slo-specs/browse.toml", journey);
    desk
}

#[test]
fn every_object_has_the_fields_of_the_contract() {
    let document = desk().document_of(good(0, 3) + &bad(0, 1) + &line(-300, "GET /elsewhere", 200, "0.1"));
    check_keys(&document, "at stories journeys gates alerts sources");
    let story = &document["stories"][0];
    check_keys(story, "story title service owner slos");
    assert_eq!((&story["story"], &story["service"], &story["owner"]), (&"shop".into(), &"shop".into(), &Value::Null));
    let kinds = ["availability", "latency", "percentile", "throughput"];
    for (slo, kind) in story["slos"].as_array().expect("SLOs").iter().zip(kinds) {
        check_keys(
            slo,
            "story slo kind service title objective window at state good bad total compliance budget burn alerts \
             latency evidence last_event gaps gaps_total rules_changed",
        );
        check_keys(&slo["budget"], "allowed spent remaining remaining_seconds");
        assert_eq!(slo["kind"], kind);
    }
    check_keys(&story["slos"][0]["burn"], "5m 30m 1h 2h 6h 1d 3d 7d 28d");
    check_keys(&story["slos"][1]["burn"], "5m 30m 1h 2h 6h 1d 3d 28d");
    let journey = &document["journeys"][0];
    check_keys(
        journey,
        "journey title objective aggregate window at state compliance budget burn members gaps gaps_total",
    );
    check_keys(&journey["budget"], "remaining remaining_seconds");
    check_keys(&journey["members"][0], "story slo weight compliance share spent_share");
    assert_eq!((&journey["aggregate"], &journey["members"][0]["weight"]), (&"requests".into(), &json!(1.5)));
    let source = &document["sources"][0];
    check_keys(
        source,
        "source kind records matched unmatched rejected rejected_detail truncated missing last_event lag_seconds \
         bytes_behind health reasons gaps gaps_total samples",
    );
    assert_eq!(
        (&source["kind"], &source["health"], &source["lag_seconds"]),
        (&"file".into(), &"ok".into(), &json!(0.0))
    );
    let gate = &document["gates"][0];
    check_keys(gate, "service level allow change since until reasons");
    assert_eq!((&gate["change"], &gate["until"]), (&"feature".into(), &Value::Null));
    check_keys(&gate["reasons"][0], "kind story slo remaining text");
    let reason = json!({
        "kind": "budget_spent", "story": "shop", "slo": "availability", "remaining": -24.0,
        "text": "shop/availability has spent 2500% of its 7d error budget"
    });
    assert_eq!((&gate["level"], &gate["allow"], &gate["reasons"][0]), (&"frozen".into(), &false.into(), &reason));
}

#[test]
fn an_slo_says_what_the_contract_says_of_it() {
    let document = desk().document_of(good(-60, 199) + &bad(-7_200, 1));
    // The one bad request was all that there was: it burnt until the good ones came.
    let resolved = json!({
        "story": "shop", "slo": "availability", "service": "shop", "severity": "ticket", "state": "resolved",
        "long": "3d", "short": "6h", "factor": 1.0, "for_seconds": 0.0, "burn_long": 0.5, "burn_short": 0.5,
        "since": "2026-11-20T08:12:00Z", "fired_at": "2026-11-20T08:12:00Z", "resolved_at": "2026-11-20T10:11:00Z"
    });
    let expected = json!({
        "story": "shop", "slo": "availability", "kind": "availability", "service": "shop", "title": "shop",
        "objective": 0.99, "window": "7d", "at": "2026-11-20T10:11:00Z", "state": "met",
        "good": 199, "bad": 1, "total": 200, "compliance": 0.995,
        "budget": { "allowed": 2.0, "spent": 1, "remaining": 0.5, "remaining_seconds": 3024.0 },
        "burn": { "5m": 0.0, "30m": 0.0, "1h": 0.0, "2h": 0.5, "6h": 0.5, "1d": 0.5, "3d": 0.5, "7d": 0.5, "28d": 0.5 },
        "alerts": [resolved], "evidence": "ok", "last_event": "2026-11-20T10:11:00Z", "gaps": [], "gaps_total": 0,
        "rules_changed": null
    });
    // 10:12 - 2h = 08:12, which is in the 2 hours that end with the minute 10:11.
    let mut slo = document["stories"][0]["slos"][0].clone();
    // How long its requests took has a test of its own.
    assert!(slo.as_object_mut().expect("an object").remove("latency").is_some_and(|latency| latency.is_object()));
    assert_eq!(slo, expected);
}

#[test]
fn g03_no_data_is_null_and_unknown_and_never_a_number() {
    let desk = desk();
    let document = desk.report(&["--json", desk.write("empty.log", "").to_str().expect("UTF-8")]).document();
    for slo in document["stories"][0]["slos"].as_array().expect("SLOs") {
        assert_eq!((&slo["state"], &slo["evidence"]), (&"no_data".into(), &"none".into()), "{slo}");
        assert_eq!((&slo["compliance"], &slo["last_event"]), (&Value::Null, &Value::Null), "{slo}");
        assert_eq!((&slo["total"], &slo["budget"]["remaining"]), (&json!(0), &json!(1.0)), "{slo}");
        assert!(slo["burn"].as_object().expect("burn").values().all(Value::is_null), "{slo}");
    }
    let journey = &document["journeys"][0];
    assert_eq!((&journey["state"], &journey["compliance"]), (&"no_data".into(), &Value::Null));
    assert!(journey["burn"].as_object().expect("burn").values().all(Value::is_null));
    let source = &document["sources"][0];
    assert_eq!((&source["last_event"], &source["lag_seconds"]), (&Value::Null, &Value::Null));
    assert_eq!((&source["health"], &source["rejected"]), (&"unknown".into(), &json!({})));
    let gate = &document["gates"][0];
    assert_eq!((&gate["level"], &gate["allow"]), (&"unknown".into(), &false.into()));
    let text = "shop/availability has seen no events in its window";
    let reason = json!({ "kind": "no_evidence", "story": "shop", "slo": "availability", "text": text });
    assert_eq!(gate["reasons"][0], reason);
}

#[test]
fn a_source_that_was_last_heard_long_before_at_is_stale() {
    let desk = Desk::new(&availability("availability", "99.0", "", ""));
    desk.write("access.log", good(0, 3));
    let at = |at: &str| desk.document(&["--at", at, "access.log"]);
    let fresh = at("2026-11-20T10:22:00Z");
    assert_eq!(fresh["sources"][0]["health"], "ok");
    assert_eq!(fresh["sources"][0]["lag_seconds"], json!(600.0));
    let stale = at("2026-11-20T10:22:01Z");
    assert_eq!(stale["sources"][0]["health"], "stale");
    assert_eq!(stale["stories"][0]["slos"][0]["evidence"], "stale");
    assert_eq!(stale["stories"][0]["slos"][0]["state"], "met");
    assert_eq!(stale["gates"][0]["reasons"][0]["kind"], "source_stale");
    assert_eq!(stale["gates"][0]["reasons"][0]["source"], "lb");
}

#[test]
fn the_table_says_what_the_document_says() {
    let desk = desk();
    desk.write("access.log", good(0, 1_234) + &bad(0, 1) + "torn");
    let told = desk.report(&["access.log"]);
    let has = |parts: &[&str]| {
        let found = told.stdout.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "{parts:?} in\n{}", told.stdout);
    };
    has(&["Service levels at 2026-11-20T10:12:00Z"]);
    has(&["availability", "99% / 7d", "99.919028%", "1 of 1,235", "█████████░", "91.9%", "1h 32m", "0.08", "met"]);
    has(&["p99", "0 of 0", "-", "no data"]);
    has(&["Journey browse · Browse"]);
    has(&["shop/availability", "1.5", "100.0%"]);
    has(&["1,236 records: 1,235 matched an SLO, 0 matched none, 1 refused"]);
    has(&["refused: unparsed 1 (unparsed: partial 1)"]);
    has(&["unparsed partial: torn"]);
}
