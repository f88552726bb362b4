//! Every resource that is read, and how it refuses.

use std::time::Duration;

use serde_json::{Value, json};
use slogate::api::paths;
use slogate::gate::Hold;
use slogate::spec::ServiceId;

use super::http::{Reply, get, request};
use super::owner::{NOW, Server, Setup};

fn filled() -> Server {
    let server = Server::start(Setup::default());
    server.fill();
    server
}

/// A path of the router with its parameters filled in.
pub fn example(path: &str) -> String {
    let names = [("{story}", "profile"), ("{slo}", "availability"), ("{journey}", "browse")];
    let names = names.iter().chain(&[("{service}", "api"), ("{source}", "lb")]);
    names.fold(path.to_owned(), |path, (parameter, name)| path.replace(parameter, name))
}

/// The paths that are read, filled in.
pub fn reads() -> Vec<String> {
    let writes = |path: &str| path.ends_with("/freeze") || path.ends_with("/unfreeze");
    paths().into_iter().filter(|path| !writes(path)).map(example).collect()
}

#[test]
fn every_read_is_answered_with_its_type_and_guarded() {
    let server = filled();
    for path in reads() {
        let reply = get(server.address, &path);
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        let media_type = match path.as_str() {
            "/" => "text/html; charset=utf-8",
            "/metrics" => "text/plain; version=0.0.4; charset=utf-8",
            _ => "application/json",
        };
        assert_eq!(reply.header("content-type"), Some(media_type), "{path}");
        assert_guarded(&reply);
    }
}

fn assert_guarded(reply: &Reply) {
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{reply:?}");
    }
    let policy = reply.header("content-security-policy");
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'")), "{reply:?}");
    assert_eq!(reply.header("server"), None);
}

#[test]
fn lists_are_objects_of_what_the_single_resources_give() {
    let server = filled();
    let json = |path: &str| get(server.address, path).json();
    for (list, key, name, single) in [
        ("/api/v1/slos", "slos", "slo", "/api/v1/slos/profile/availability"),
        ("/api/v1/stories", "stories", "story", "/api/v1/stories/profile"),
        ("/api/v1/journeys", "journeys", "journey", "/api/v1/journeys/browse"),
        ("/api/v1/gates", "gates", "service", "/api/v1/gates/api"),
        ("/api/v1/sources", "sources", "source", "/api/v1/sources/lb"),
    ] {
        let (list, single) = (json(list), json(single));
        assert_eq!(list["at"], "2026-11-20T10:12:00Z");
        let found = list[key].as_array().unwrap().iter().find(|one| one[name] == single[name]);
        assert_eq!(found, Some(&single));
    }
    let status = json("/api/v1/status");
    for (key, list) in [("stories", "/api/v1/stories"), ("journeys", "/api/v1/journeys"), ("gates", "/api/v1/gates")] {
        assert_eq!(status[key], json(list)[key]);
    }
    assert_eq!(status["sources"], json("/api/v1/sources")["sources"]);
    let slo = json("/api/v1/slos/profile/availability");
    assert_eq!(
        (&slo["good"], &slo["budget"]["remaining"], &slo["evidence"]),
        (&json!(10_000), &json!(1.0), &json!("ok"))
    );
}

/// Asserts the refusal of `GET path` and that its detail says `detail`.
#[track_caller]
fn check_refused(server: &Server, path: &str, status: u16, kind: &str, detail: &str) {
    let reply = get(server.address, path);
    let problem = reply.problem();
    assert_eq!((reply.status, problem.0.as_str()), (status, kind), "{path}: {reply:?}");
    assert!(problem.1.contains(detail), "{path}: {problem:?}");
    assert_guarded(&reply);
}

#[test]
fn g14_what_does_not_exist_is_404_with_the_nearest_name() {
    let server = filled();
    for (path, detail) in [
        ("/api/v1/gates/apj", "there is no service `apj`; did you mean `api`?"),
        ("/api/v1/gates/apj/check", "did you mean `api`?"),
        ("/api/v1/gates/payment/check", "there is no service `payment`"),
        ("/api/v1/stories/profil", "there is no story `profil`; did you mean `profile`?"),
        ("/api/v1/slos/profil/availability", "did you mean `profile`?"),
        ("/api/v1/slos/profile/availabilty", "did you mean `availability`?"),
        ("/api/v1/slos/profile/availabilty/history", "did you mean `availability`?"),
        ("/api/v1/journeys/brwse", "did you mean `browse`?"),
        ("/api/v1/sources/bl", "did you mean `lb`?"),
        ("/api/v1/audit?service=apj", "did you mean `api`?"),
        ("/api/v1/gates/%1b%5b2J%0a", "there is no service `\\u{1b}[2J\\n`"),
    ] {
        check_refused(&server, path, 404, "unknown-name", detail);
    }
    let suggested = get(server.address, "/api/v1/gates/apj").json();
    assert_eq!(suggested["did_you_mean"], "api");
    for path in ["/api/v2/status", "/api/v1/", "/api/v1/slos/profile", "/metrics/", "//", "/api/v1/gates/%ff"] {
        check_refused(&server, path, 404, "unknown-path", "");
    }
}

#[test]
fn bad_parameters_are_400_and_named() {
    let server = filled();
    let history = "/api/v1/slos/profile/availability/history";
    for (path, detail) in [
        ("/api/v1/status?at=yesterday".to_owned(), "`at`: `yesterday` is not an RFC 3339 time"),
        ("/api/v1/gates/api/check?chnage=fix".to_owned(), "there is no parameter `chnage`; did you mean `change`?"),
        ("/api/v1/gates/api/check?at=2026-11-20T10:00:00Z".to_owned(), "there is no parameter `at`"),
        ("/api/v1/gates/api/check?change=a%20b".to_owned(), "`change`: `a b` is not a word"),
        ("/api/v1/gates/api/check?change=".to_owned(), "`change`"),
        ("/api/v1/gates?change=a&change=b".to_owned(), "`change` is given twice"),
        ("/api/v1/audit?limit=0x10".to_owned(), "`limit`: `0x10` is not a whole number from 1 to 1000"),
        ("/api/v1/audit?limit=0".to_owned(), "`limit`: `0` is not a whole number from 1 to 1000"),
        ("/api/v1/audit?limit=1001".to_owned(), "from 1 to 1000"),
        ("/api/v1/audit?after=-1".to_owned(), "`after`"),
        ("/metrics?x=1".to_owned(), "there is no parameter `x`; there are none here"),
        (format!("{history}?step=90s"), "`step`: `90s` is not a whole number of minutes"),
        (format!("{history}?step=0m"), "`step`"),
        (format!("{history}?from=2026-11-20T10:12:00Z&to=2026-11-20T10:11:00Z"), "is after `to`"),
        (
            format!("{history}?from=2026-10-23T10:13:00Z&step=1m"),
            "40320 points, and at most 2000 are given; use a step of at least 21m",
        ),
        (format!("{history}?from=0001-01-01T00:00:00Z&step=1d"), "at most 2000"),
    ] {
        check_refused(&server, &path, 400, "bad-parameter", detail);
    }
}

#[test]
fn g23_a_token_in_a_url_is_refused_and_not_repeated() {
    let server = filled();
    for name in ["token", "access_token", "API_KEY", "Authorization"] {
        let path = format!("/api/v1/gates/api/check?{name}=9f2c7b1e8d4a6053");
        check_refused(&server, &path, 400, "token-in-query", "Authorization: Bearer");
        assert!(!get(server.address, &path).body.contains("9f2c"));
    }
}

#[test]
fn g27_other_methods_are_405_with_those_that_are_allowed() {
    let server = filled();
    for path in reads() {
        for method in ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FROB"] {
            let reply = request(server.address, method, &path, &[], "");
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET")), "{method} {path}: {reply:?}");
            assert_guarded(&reply);
            match method {
                "HEAD" => assert_eq!(reply.body, ""),
                _ => assert_eq!(reply.problem().0, "wrong-method"),
            }
        }
    }
    for verb in ["freeze", "unfreeze"] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let reply = request(server.address, method, &format!("/api/v1/gates/api/{verb}"), &[], "");
            assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{method}: {reply:?}");
        }
    }
    assert!(server.owner(|owner| owner.audit.is_empty()), "nothing was ordered");
}

/// Asserts the verdict on a change, the same body from the gate itself, and that nobody may keep it.
#[track_caller]
fn check_verdict(server: &Server, service: &str, change: &str, status: u16, level: &str, allow: bool) -> Reply {
    let reply = get(server.address, &format!("/api/v1/gates/{service}/check?change={change}"));
    let body = reply.json();
    assert_eq!((reply.status, &body["level"], &body["allow"]), (status, &json!(level), &json!(allow)), "{reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let gate = get(server.address, &format!("/api/v1/gates/{service}?change={change}"));
    assert_eq!((gate.status, gate.json()), (200, body.clone()));
    assert_eq!(body["change"], change);
    assert!(level == "open" || body["reasons"][0]["text"].is_string(), "{body}");
    reply
}

#[test]
fn g01_a_verdict_is_a_status_code() {
    let server = filled();
    check_verdict(&server, "api", "feature", 200, "open", true);
    assert_eq!(get(server.address, "/api/v1/gates/api/check").json()["change"], "feature");
    // 10,000 requests at 99.95% allow 5 bad ones.
    server.count("profile", "availability", 1, 0, 4);
    check_verdict(&server, "api", "feature", 200, "guarded", true);
    server.count("profile", "availability", 1, 0, 7);
    check_verdict(&server, "api", "feature", 423, "frozen", false);
    check_verdict(&server, "api", "fix", 200, "frozen", true);
    check_verdict(&server, "api", "FIX", 423, "frozen", false);
    check_verdict(&server, "search", "feature", 200, "open", true);
}

#[test]
fn g03_no_data_is_unknown_and_denied_unless_the_policy_says_otherwise() {
    let server = Server::start(Setup::default());
    let reply = check_verdict(&server, "api", "feature", 503, "unknown", false);
    assert_eq!(reply.header("retry-after"), Some("60"));
    assert_eq!(reply.json()["reasons"][0]["kind"], "no_evidence");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    check_verdict(&server, "api", "fix", 200, "unknown", true);
    check_verdict(&server, "search", "feature", 200, "unknown", true);
    let slo = get(server.address, "/api/v1/slos/profile/availability").json();
    assert_eq!((&slo["state"], &slo["compliance"]), (&json!("no_data"), &Value::Null));
}

#[test]
fn g16_a_verdict_repeats_the_nonce_of_its_question() {
    let server = filled();
    let ask = |nonce: &str| {
        request(server.address, "GET", "/api/v1/gates/api/check", &[("X-Slogate-Nonce", nonce)], "")
            .header("x-slogate-nonce")
            .map(str::to_owned)
    };
    assert_eq!(ask("a1b2c3"), Some("a1b2c3".to_owned()));
    assert_eq!(ask(&"x".repeat(65)), None);
    assert_eq!(get(server.address, "/api/v1/gates/api/check").header("x-slogate-nonce"), None);
}

#[test]
fn an_owner_that_has_stopped_deciding_leaves_gates_unknown_but_not_thawed() {
    let server = filled();
    server.owner(|owner| {
        let hold = Hold::Freeze { reason: "release".into(), until: None, exempt: Vec::new() };
        let service = ServiceId(owner.engine.catalog().service_named("search").unwrap().0);
        owner.engine.command(slogate::engine::Command { service, hold, by: "loopback".into() }, NOW).unwrap();
        owner.publish();
    });
    server.clock.advance(600_000);
    check_verdict(&server, "api", "feature", 200, "open", true);
    server.clock.advance(1);
    let reply = check_verdict(&server, "api", "feature", 503, "unknown", false);
    assert_eq!(reply.json()["reasons"][0]["kind"], "board_stale");
    check_verdict(&server, "search", "feature", 423, "frozen", false);
    let metrics = get(server.address, "/metrics").body;
    assert!(metrics.contains("slogate_gate_level{service=\"api\",level=\"unknown\"} 1\n"), "{metrics}");
    server.fill();
    check_verdict(&server, "api", "feature", 200, "open", true);
}

/// Nothing is counted while the store cannot be written, so that a verdict is soon too old; a freeze is not.
#[test]
fn f06_a_store_that_fails_for_too_long_leaves_gates_unknown_but_not_thawed() {
    let server = filled();
    server.owner(|owner| {
        let hold = Hold::Freeze { reason: "release".into(), until: None, exempt: Vec::new() };
        let service = ServiceId(owner.engine.catalog().service_named("search").unwrap().0);
        owner.engine.command(slogate::engine::Command { service, hold, by: "loopback".into() }, NOW).unwrap();
        owner.fail("the disk is full", false);
        owner.publish();
    });
    server.clock.advance(600_000);
    server.fill();
    check_verdict(&server, "api", "feature", 200, "open", true);
    server.clock.advance(1);
    server.fill();
    let reply = check_verdict(&server, "api", "feature", 503, "unknown", false);
    let reason = &reply.json()["reasons"][0];
    assert_eq!(reason["kind"], "store_failed");
    assert_eq!(reason["text"], "nothing has been counted since 2026-11-20T10:12:00Z: the disk is full");
    check_verdict(&server, "search", "feature", 423, "frozen", false);
    server.owner(|owner| owner.health.store = Ok(()));
    server.fill();
    check_verdict(&server, "api", "feature", 200, "open", true);
}

#[test]
fn f07_without_what_the_store_held_every_gate_is_unknown_at_once() {
    let server = filled();
    server.owner(|owner| {
        owner.fail("slogate.redb: the store is damaged", true);
        owner.publish();
    });
    for (service, change, status, allow) in [("api", "feature", 503, false), ("api", "fix", 200, true)] {
        let reply = check_verdict(&server, service, change, status, "unknown", allow);
        let reason = &reply.json()["reasons"][0];
        assert_eq!(reason["kind"], "store_corrupt");
        assert_eq!(reason["text"], "slogate.redb: the store is damaged");
    }
    // The policy of this one allows changes without sound evidence.
    check_verdict(&server, "search", "feature", 200, "unknown", true);
    let metrics = get(server.address, "/metrics").body;
    assert!(metrics.contains("slogate_gate_level{service=\"api\",level=\"unknown\"} 1\n"), "{metrics}");
}

#[test]
fn a_past_instant_is_answered_from_the_counts_of_then() {
    let server = filled();
    server.count("profile", "availability", 120, 100, 50);
    let good = |at: &str| get(server.address, &format!("/api/v1/slos/profile/availability{at}")).json()["good"].clone();
    assert_eq!(good(""), 10_100);
    assert_eq!(good("?at=2026-11-20T09:00:00Z"), 100);
    // A plus sign that nobody encoded.
    assert_eq!(good("?at=2026-11-20T10:00:00+01:00"), 100);
    let early = "/api/v1/slos/profile/availability?at=2026-11-20T08:00:00Z";
    check_refused(&server, early, 400, "not-kept", "counts are kept for instants from 2026-11-20T08:12:00Z on");
    let at = get(server.address, "/api/v1/status?at=2026-11-20T09:00:00Z").json();
    assert_eq!((&at["at"], &at["gates"][0]["level"]), (&json!("2026-11-20T09:00:00Z"), &json!("unknown")));
    assert_eq!(
        (&at["gates"][0]["allow"], &at["gates"][0]["reasons"][0]["kind"]),
        (&json!(false), &json!("not_recorded"))
    );
    // Between the newest board and now is now.
    server.clock.advance(400);
    assert_eq!(get(server.address, "/api/v1/status?at=2026-11-20T10:12:00.400Z").json()["at"], "2026-11-20T10:12:00Z");
    check_refused(&server, "/api/v1/status?at=2026-11-20T10:12:01Z", 400, "not-kept", "is in the future");
    server.count("profile", "availability", 28 * 1_440 - 1, 1, 0);
    server.clock.advance(20 * 86_400_000);
    server.fill();
    check_refused(
        &server,
        "/api/v1/status?at=2026-11-20T09:00:00Z",
        400,
        "not-kept",
        "counts are kept for instants from",
    );
}

#[test]
fn a_history_tiles_its_time_and_each_point_is_the_past() {
    let server = filled();
    for minutes_ago in [1, 59, 60, 61, 600] {
        server.count("profile", "availability", minutes_ago, 90, 10);
    }
    let path = "/api/v1/slos/profile/availability";
    // Not further back than counts begin.
    let young = get(server.address, &format!("{path}/history?step=1h")).json();
    assert_eq!(young["points"].as_array().unwrap().len(), 11);
    server.count("profile", "availability", 28 * 1_440 - 1, 1, 0);
    let history = |query: &str| get(server.address, &format!("{path}/history{query}")).json();
    let hourly = history("?from=2026-11-20T00:12:00Z&step=1h");
    let points = hourly["points"].as_array().unwrap();
    assert_eq!((points.len(), &hourly["step"]), (11, &json!("1h")));
    let totals: Vec<u64> = points.iter().map(|point| point["total"].as_u64().unwrap()).collect();
    assert_eq!(totals, [100, 0, 0, 0, 0, 0, 0, 0, 0, 200, 10_200]);
    assert_eq!((&points[9]["compliance"], &points[8]["compliance"]), (&json!(0.9), &Value::Null));
    for point in points {
        let then = get(server.address, &format!("{path}?at={}", point["t"].as_str().unwrap())).json();
        assert_eq!(point["remaining"], then["budget"]["remaining"], "{point}");
    }
    // All of the window, by default, and nothing twice.
    let whole = history("");
    let sum: u64 = whole["points"].as_array().unwrap().iter().map(|point| point["total"].as_u64().unwrap()).sum();
    assert_eq!((sum, &whole["to"]), (10_501, &json!("2026-11-20T10:12:00Z")));
    assert!((100..=360).contains(&whole["points"].as_array().unwrap().len()), "{}", whole["step"]);
    let daily = history("?step=1d");
    assert_eq!(daily["points"].as_array().unwrap().len(), 28);
    // Without a first point, as many of the newest as are given.
    let finest = history("?step=1m");
    let points = finest["points"].as_array().unwrap();
    assert_eq!((points.len(), &finest["from"]), (2_000, &json!("2026-11-19T00:53:00Z")));
    assert_eq!((&points[1_999]["t"], &points[1_998]["total"]), (&json!("2026-11-20T10:12:00Z"), &json!(100)));
    let single = history("?from=2026-11-20T10:12:00Z&to=2026-11-20T10:12:00Z&step=5m");
    assert_eq!(single["points"].as_array().unwrap().len(), 1);
    check_refused(&server, &format!("{path}/history?to=2026-11-20T10:13:00Z&step=1d"), 400, "not-kept", "future");
}

#[test]
fn a_history_begins_where_counts_begin_to_be_kept() {
    let server = filled();
    server.count("profile", "availability", 28 * 1_440 - 1, 1, 0);
    server.clock.advance(20 * 86_400_000);
    server.fill();
    let path = "/api/v1/slos/profile/availability/history";
    let kept = get(server.address, &format!("{path}?step=1d"));
    let points = kept.json()["points"].as_array().unwrap().len();
    assert!((10..28).contains(&points), "{kept:?}");
    let early = format!("{path}?step=1d&from=2026-11-18T00:00:00Z");
    check_refused(&server, &early, 400, "not-kept", "counts are kept for instants from");
}

#[test]
fn a_slow_owner_delays_nobody_who_reads() {
    let server = Server::start(Setup { deadline: Duration::from_millis(300), ..Setup::default() });
    server.fill();
    server.owner(|owner| owner.silent = true);
    let at = "?at=2026-11-20T09:00:00Z";
    for path in [
        format!("/api/v1/status{at}"),
        "/api/v1/audit".into(),
        format!("{}/history", "/api/v1/slos/search/availability"),
    ] {
        check_refused(&server, &path, 504, "late", "no answer within 300 ms");
    }
    let asks = |path: &str| path == "/api/v1/audit" || path.ends_with("/history") || path.ends_with("/latency");
    for path in reads().into_iter().filter(|path| !asks(path)) {
        assert_eq!(get(server.address, &path).status, 200, "{path}");
    }
    // More questions than the doors hold: refused at once instead of queued.
    server.owner(|owner| owner.speak());
    assert_eq!(get(server.address, "/api/v1/audit").status, 200);
}

#[test]
fn health_is_alive_and_readiness_is_what_can_be_relied_on() {
    let server = filled();
    assert_eq!(get(server.address, "/healthz").json(), json!({ "status": "ok" }));
    let ready = get(server.address, "/readyz");
    let expected = json!({
        "ready": true, "at": "2026-11-20T10:12:00Z", "store": "ok", "sources_started": true,
        "specs": { "loaded_at": "2026-11-20T10:12:00Z", "rejected": null, "waiting": null }, "data_as_of": null
    });
    assert_eq!((ready.status, ready.json()), (200, expected));
    server.owner(|owner| {
        owner.fail("no space left on device", false);
        owner.health.specs.rejected = Some("slogate.toml:1:1: unknown key".into());
        owner.publish();
    });
    let unready = get(server.address, "/readyz");
    assert_eq!((unready.status, &unready.json()["ready"]), (503, &json!(false)));
    assert_eq!(unready.json()["store"], "no space left on device");
    assert_eq!(unready.json()["specs"]["rejected"], "slogate.toml:1:1: unknown key");
    assert_eq!(get(server.address, "/healthz").status, 200);
    assert!(get(server.address, "/metrics").body.contains("\nslogate_store_healthy 0\n"));
    server.owner(|owner| {
        owner.health.store = Ok(());
        owner.health.sources_started = false;
        owner.publish();
    });
    assert_eq!(get(server.address, "/readyz").status, 503);
}

#[test]
fn b22_the_page_holds_text_and_no_markup_of_others() {
    let server = filled();
    server.owner(|owner| {
        let hold = Hold::Freeze { reason: "<script>alert(1)</script>".into(), until: None, exempt: Vec::new() };
        let service = owner.engine.catalog().service_named("api").unwrap();
        owner.engine.command(slogate::engine::Command { service, hold, by: "loopback".into() }, NOW).unwrap();
        owner.publish();
    });
    let page = get(server.address, "/").body;
    assert!(page.contains("frozen by hand: &lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(page.contains("User &lt;profile&gt;") && !page.contains("<script") && !page.contains("<profile"), "{page}");
    for word in ["frozen", "must wait", "may be deployed", "99.95%", "profile/availability", "100.0%"] {
        assert!(page.contains(word), "{word}: {page}");
    }
}
