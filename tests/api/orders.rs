//! Freezing and thawing: who may, how, and what everybody sees afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::http::{Reply, exchange, get, parse, post, request};
use super::owner::{Server, Setup, TOKEN};

const FREEZE: &str = "/api/v1/gates/api/freeze";
const UNFREEZE: &str = "/api/v1/gates/api/unfreeze";
const BODY: &str = r#"{"reason":"release party"}"#;

fn filled(setup: Setup) -> Server {
    let server = Server::start(setup);
    server.fill();
    server
}

fn with_token() -> Server {
    filled(Setup { token: Some(TOKEN), ..Setup::default() })
}

fn bearer() -> (&'static str, &'static str) {
    const HEADER: &str = "Bearer 9f2c7b1e8d4a6053";
    assert!(HEADER.ends_with(TOKEN));
    ("Authorization", HEADER)
}

/// Asserts a refusal, and that nothing was ordered.
#[track_caller]
fn check_refused(server: &Server, reply: &Reply, status: u16, kind: &str, detail: &str) {
    let problem = reply.problem();
    assert_eq!((reply.status, problem.0.as_str()), (status, kind), "{reply:?}");
    assert!(problem.1.contains(detail), "{problem:?}");
    assert!(server.owner(|owner| owner.audit.is_empty()), "something was ordered");
}

#[test]
fn a_freeze_holds_the_gate_and_an_unfreeze_releases_it() {
    let server = with_token();
    let until = r#"{"reason":"release party","until":"2026-11-20T12:12:00+01:00","exempt":["security"]}"#;
    let frozen = post(server.address, FREEZE, &[bearer()], until);
    assert_eq!(frozen.status, 200, "{frozen:?}");
    let expected = json!({
        "service": "api", "level": "frozen", "allow": false, "change": "feature", "since": "2026-11-20T10:12:00Z",
        "until": "2026-11-20T11:12:00Z", "audit": 1,
        "reasons": [{ "kind": "manual_freeze", "text": "frozen by hand until 2026-11-20T11:12:00Z: release party" }]
    });
    assert_eq!(frozen.json(), expected);
    let verdict = |change: &str| get(server.address, &format!("/api/v1/gates/api/check?change={change}")).status;
    // What the policy exempts from an automatic freeze does not pass a person's.
    assert_eq!((verdict("feature"), verdict("fix"), verdict("security")), (423, 423, 200));
    let open = post(server.address, UNFREEZE, &[bearer()], r#"{"reason":"it is over"}"#);
    assert_eq!((open.status, &open.json()["level"], &open.json()["audit"]), (200, &json!("open"), &json!(2)));
    assert_eq!(verdict("feature"), 200);
}

#[test]
fn a_freeze_ends_by_itself() {
    let server = with_token();
    post(server.address, FREEZE, &[bearer()], r#"{"reason":"lunch","until":"2026-11-20T11:12:00Z"}"#);
    server.clock.advance(3_599_999);
    server.fill();
    assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 423);
    server.clock.advance(1);
    server.fill();
    assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 200);
}

#[test]
fn an_unfreeze_holds_an_automatic_freeze_off() {
    let server = with_token();
    server.count("profile", "availability", 1, 0, 50);
    assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 423);
    let open = post(server.address, UNFREEZE, &[bearer()], r#"{"reason":"accepted","until":"2026-11-20T11:12:00Z"}"#);
    assert_eq!((&open.json()["allow"], &open.json()["until"]), (&json!(true), &json!("2026-11-20T11:12:00Z")));
    server.clock.advance(3_600_000);
    server.count("profile", "availability", 0, 1, 0);
    assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 423);
}

#[test]
fn every_order_is_in_the_audit_with_who_gave_it() {
    let server = with_token();
    let alice = ("X-Slogate-Actor", "alice@ci");
    post(server.address, FREEZE, &[bearer(), alice], r#"{"reason":"one","exempt":["fix"]}"#);
    post(server.address, "/api/v1/gates/search/freeze", &[bearer()], r#"{"reason":"two"}"#);
    post(server.address, UNFREEZE, &[bearer()], r#"{"reason":"three"}"#);
    let audit = |query: &str| get(server.address, &format!("/api/v1/audit{query}")).json();
    let first = json!({
        "sequence": 1, "at": "2026-11-20T10:12:00Z", "service": "api", "action": "freeze",
        "actor": { "principal": "token", "claimed": "alice@ci" }, "before": "open", "after": "frozen",
        "reason": "one", "until": null, "exempt": ["fix"]
    });
    let all = audit("");
    assert_eq!((&all["entries"][0], &all["next"]), (&first, &json!(null)));
    let numbers = |page: &serde_json::Value| {
        let entries = page["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["sequence"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&all), [1, 2, 3]);
    assert_eq!(numbers(&audit("?service=api")), [1, 3]);
    let page = audit("?limit=2");
    assert_eq!((numbers(&page), &page["next"]), (vec![1, 2], &json!(2)));
    assert_eq!(numbers(&audit("?limit=2&after=2")), [3]);
    assert_eq!(numbers(&audit("?after=3")), [0_u64; 0]);
    assert_eq!(audit("")["entries"][2]["action"], "unfreeze");
    assert_eq!(audit("")["entries"][1]["actor"], json!({ "principal": "token" }));
}

#[test]
fn g22_wrong_tokens_are_401_alike_and_then_429() {
    let server = with_token();
    let wrong = [
        vec![],
        vec![("Authorization", "Bearer")],
        vec![("Authorization", "Bearer ")],
        vec![("Authorization", "Bearer 9f2c7b1e8d4a605")],
        vec![("Authorization", "Bearer 9f2c7b1e8d4a60533")],
        vec![("Authorization", "Basic 9f2c7b1e8d4a6053")],
        vec![("Authorization", "9f2c7b1e8d4a6053")],
        vec![bearer(), bearer()],
    ];
    let bodies: Vec<String> = wrong
        .iter()
        .map(|headers| {
            let reply = post(server.address, FREEZE, headers, BODY);
            check_refused(&server, &reply, 401, "unauthorized", "Authorization: Bearer");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"slogate\""));
            reply.body
        })
        .collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    // A service that does not exist is not told to whoever may not know.
    let reply = post(server.address, "/api/v1/gates/none/freeze", &[], BODY);
    check_refused(&server, &reply, 401, "unauthorized", "");

    let guess = |number: u32| post(server.address, FREEZE, &[("Authorization", &format!("Bearer {number:016}"))], BODY);
    let statuses: Vec<u16> = (0..12).map(|number| guess(number).status).collect();
    assert!(statuses.starts_with(&[401, 401]) && statuses.ends_with(&[429, 429]), "{statuses:?}");
    let reply = guess(12);
    check_refused(&server, &reply, 429, "too-many-attempts", "");
    assert_eq!(reply.header("retry-after"), Some("61"));
    // Reading goes on, and whoever has the right one is not kept out by a neighbour who guesses.
    assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 200);
    assert_eq!(post(server.address, FREEZE, &[bearer()], BODY).status, 200);
    server.clock.advance(60_000);
    assert_eq!(guess(13).status, 401);
}

#[test]
fn without_a_token_only_this_machine_gives_orders() {
    let server = filled(Setup::default());
    for (headers, detail) in [
        (vec![("Host", "evil.example:9999")], "`Host`"),
        (vec![("Host", "127.0.0.1.evil.example")], "`Host`"),
        (vec![("X-Forwarded-For", "192.0.2.1")], "passed on by a proxy"),
        (vec![("Forwarded", "for=192.0.2.1")], "passed on by a proxy"),
        (vec![("Via", "1.1 nginx")], "passed on by a proxy"),
    ] {
        let reply = post(server.address, FREEZE, &headers, BODY);
        check_refused(&server, &reply, 403, "forbidden", detail);
    }
    let reply = post(server.address, FREEZE, &[], BODY);
    assert_eq!(reply.status, 200, "{reply:?}");
    let actor = server.owner(|owner| serde_json::to_value(&owner.audit[0].actor).unwrap());
    assert_eq!(actor, json!({ "principal": "loopback" }));
}

#[test]
fn g28_without_a_token_and_beyond_loopback_nobody_gives_orders() {
    for listen in ["0.0.0.0:9999", "192.0.2.1:9999", "[::]:9999"] {
        let server = filled(Setup { listen: listen.parse().ok(), ..Setup::default() });
        let reply = post(server.address, FREEZE, &[bearer()], BODY);
        check_refused(&server, &reply, 403, "forbidden", "token_env");
        assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 200);
    }
}

#[test]
fn g26_a_page_of_another_site_gives_no_orders() {
    for server in [filled(Setup::default()), with_token()] {
        for header in [
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Origin", "http://127.0.0.1:1"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ] {
            let reply = post(server.address, FREEZE, &[bearer(), header], BODY);
            check_refused(&server, &reply, 403, "forbidden", "another site");
        }
        for media_type in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"]
        {
            let reply = request(server.address, "POST", FREEZE, &[bearer(), ("Content-Type", media_type)], BODY);
            check_refused(&server, &reply, 415, "media-type", "application/json");
        }
        check_refused(&server, &request(server.address, "POST", FREEZE, &[bearer()], BODY), 415, "media-type", "");
        let own = format!("http://{}", server.address);
        let headers = [bearer(), ("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
        let typed = [&headers[..], &[("Content-Type", "Application/JSON; charset=utf-8")]].concat();
        assert_eq!(request(server.address, "POST", FREEZE, &typed, BODY).status, 200);
    }
}

#[test]
fn g31_orders_that_cannot_be_understood_or_kept_are_refused() {
    let server = with_token();
    let long = format!(r#"{{"reason":"{}"}}"#, "é".repeat(501));
    let many = format!(r#"{{"reason":"x","exempt":{}}}"#, json!(vec!["a"; 17]));
    for (body, detail) in [
        ("", "EOF while parsing"),
        ("{", "EOF while parsing"),
        ("[]", "an order is a JSON object"),
        (r#"["a",null]"#, "an order is a JSON object"),
        (r#" ["a", null, []]"#, "an order is a JSON object"),
        (r#""a""#, "invalid type"),
        ("{}", "missing field `reason`"),
        (r#"{"reason":7}"#, "invalid type"),
        (r#"{"reason":"  "}"#, "`reason` is required"),
        (r#"{"reason":"a\nb"}"#, "control characters"),
        (r#"{"reason":"a\u001b[2J"}"#, "control characters"),
        (r#"{"reason":"a\u202eb"}"#, "control characters"),
        (long.as_str(), "longer than 500"),
        (r#"{"reason":"x","untill":"2026-11-20T11:12:00Z"}"#, "unknown field `untill`"),
        (r#"{"reason":"x","until":"tomorrow"}"#, "`until`: `tomorrow` is not an RFC 3339 time"),
        (r#"{"reason":"x","until":"2026-11-20T10:12:00Z"}"#, "must be later than now"),
        (r#"{"reason":"x","exempt":["a b"]}"#, "`exempt` holds"),
        (many.as_str(), "`exempt` holds"),
        (r#"{"reason":"x","reason":"y"}"#, "duplicate field"),
    ] {
        check_refused(&server, &post(server.address, FREEZE, &[bearer()], body), 400, "bad-body", detail);
    }
    let reply = post(server.address, UNFREEZE, &[bearer()], r#"["x",null]"#);
    check_refused(&server, &reply, 400, "bad-body", "an order is a JSON object");
    let reply = post(server.address, UNFREEZE, &[bearer()], r#"{"reason":"x","exempt":["fix"]}"#);
    check_refused(&server, &reply, 400, "bad-body", "unknown field `exempt`");
    let reply = post(server.address, "/api/v1/gates/apj/freeze", &[bearer()], BODY);
    check_refused(&server, &reply, 404, "unknown-name", "did you mean `api`?");
    let reply = post(server.address, &format!("{FREEZE}?reason=x"), &[bearer()], BODY);
    check_refused(&server, &reply, 400, "bad-parameter", "`reason`");
    for claim in ["x".repeat(65), "a\tb".into(), "é".into(), String::new()] {
        let reply = post(server.address, FREEZE, &[bearer(), ("X-Slogate-Actor", &claim)], BODY);
        check_refused(&server, &reply, 400, "bad-parameter", "X-Slogate-Actor");
    }
}

#[test]
fn a_body_beyond_its_bound_is_413_however_it_is_sent() {
    let server = with_token();
    let large = format!(r#"{{"reason":"{}"}}"#, "x".repeat(9_000));
    check_refused(&server, &post(server.address, FREEZE, &[bearer()], &large), 413, "too-large", "8192 bytes");
    // Announced only, and never sent.
    let head = format!("POST {FREEZE} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n", server.address);
    let head = format!("{head}Content-Type: application/json\r\n");
    let (text, _) = exchange(server.address, format!("{head}Content-Length: 104857600\r\n\r\n").as_bytes());
    check_refused(&server, &parse(&text), 413, "too-large", "");
    // In chunks without an end.
    let chunks = "400\r\n".to_owned() + &"x".repeat(1_024) + "\r\n";
    let (text, _) =
        exchange(server.address, format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunks.repeat(64)).as_bytes());
    check_refused(&server, &parse(&text), 413, "too-large", "");
}

#[test]
fn f05_an_order_that_is_not_durable_is_not_in_force() {
    let server = with_token();
    server.owner(|owner| owner.broken = Some("no space left on device".into()));
    let reply = post(server.address, FREEZE, &[bearer()], BODY);
    check_refused(&server, &reply, 507, "not-written", "not in force: no space left on device");
    assert_eq!(reply.header("retry-after"), Some("5"));
    assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 200);
    assert_eq!(get(server.address, "/api/v1/audit").status, 503);
}

#[test]
fn an_order_is_answered_only_when_it_is_durable() {
    let server = Arc::new(with_token());
    server.owner(|owner| owner.silent = true);
    let answered = Arc::new(AtomicBool::new(false));
    let order = {
        let (server, answered) = (Arc::clone(&server), Arc::clone(&answered));
        thread::spawn(move || {
            let reply = post(server.address, FREEZE, &[bearer()], BODY);
            answered.store(true, Ordering::SeqCst);
            reply
        })
    };
    while server.owner(|owner| owner.waiting()) == 0 {
        thread::yield_now();
    }
    assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 200, "not yet in force");
    assert!(!answered.load(Ordering::SeqCst), "answered before the owner followed it");
    server.owner(|owner| owner.speak());
    assert_eq!(order.join().unwrap().status, 200);
}

/// Even an owner that replies too early does not have the api say what readers cannot see yet.
#[test]
fn g06_an_order_is_answered_only_when_every_reader_sees_it() {
    let server = with_token();
    server.owner(|owner| owner.hasty = true);
    thread::scope(|scope| {
        let order = scope.spawn(|| post(server.address, FREEZE, &[bearer()], BODY));
        while server.owner(|owner| owner.audit.is_empty()) {
            thread::yield_now();
        }
        for _ in 0..50 {
            assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 200, "not yet in force");
            assert!(!order.is_finished(), "answered before anybody could see it");
        }
        server.owner(|owner| owner.publish());
        let reply = order.join().unwrap();
        assert_eq!((reply.status, &reply.json()["level"]), (200, &json!("frozen")));
    });
}

#[test]
fn an_order_without_an_answer_is_504() {
    let server = filled(Setup { token: Some(TOKEN), deadline: Duration::from_millis(200), ..Setup::default() });
    server.owner(|owner| owner.silent = true);
    let reply = post(server.address, FREEZE, &[bearer()], BODY);
    check_refused(&server, &reply, 504, "late", "the order may still be followed: /api/v1/audit tells");
    // And so it is.
    server.owner(|owner| owner.speak());
    assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 423);
    assert_eq!(get(server.address, "/api/v1/audit").json()["entries"][0]["action"], "freeze");
}

/// An owner that waits for a slow disk decides nothing anew, and an order ends all the same.
#[test]
fn g13_an_unfreeze_ends_on_time_though_nothing_is_decided() {
    let server = with_token();
    server.count("profile", "availability", 1, 0, 50);
    let body = r#"{"reason":"accepted","until":"2026-11-20T10:12:10Z"}"#;
    assert_eq!(post(server.address, UNFREEZE, &[bearer()], body).json()["allow"], true);
    server.owner(|owner| owner.silent = true);
    let check = || get(server.address, "/api/v1/gates/api/check");
    server.clock.advance(9_999);
    assert_eq!(check().status, 200);
    server.clock.advance(1);
    let frozen = check();
    assert_eq!(frozen.status, 423, "{frozen:?}");
    let gate = frozen.json();
    assert_eq!(
        (&gate["level"], &gate["since"], &gate["until"]),
        (&json!("frozen"), &json!("2026-11-20T10:12:10Z"), &json!(null))
    );
    assert_eq!(gate["reasons"][0]["kind"], "budget_spent");
    assert!(!gate["reasons"].to_string().contains("unfrozen"), "{gate}");
    assert_eq!(get(server.address, "/api/v1/gates/api/check?change=fix").status, 200);
    assert_eq!(get(server.address, "/api/v1/gates").json()["gates"][0]["level"], "frozen");
    assert_eq!(get(server.address, "/api/v1/status").json()["gates"][0]["level"], "frozen");
    let metrics = get(server.address, "/metrics").body;
    assert!(metrics.contains("slogate_gate_level{service=\"api\",level=\"frozen\"} 1"), "{metrics}");
    // The other gate had no order.
    assert_eq!(get(server.address, "/api/v1/gates/search/check").status, 200);
}

/// However many read, and however fast: after a freeze was acknowledged no read that starts later says allow.
#[test]
fn g06_a_read_that_starts_after_a_freeze_was_acknowledged_never_says_allow() {
    const ROUNDS: u64 = 150;
    let server = with_token();
    // Odd while the gate is known to be frozen; even while it may be anything.
    let (epoch, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let checked = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let before = epoch.load(Ordering::SeqCst);
                    let status = get(server.address, "/api/v1/gates/api/check").status;
                    let after = epoch.load(Ordering::SeqCst);
                    if before % 2 == 1 && before == after {
                        checked.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(status, 423, "an allow after the freeze of round {before}");
                    }
                }
            });
        }
        for _ in 0..ROUNDS {
            assert_eq!(post(server.address, FREEZE, &[bearer()], BODY).status, 200);
            epoch.fetch_add(1, Ordering::SeqCst);
            for _ in 0..3 {
                assert_eq!(get(server.address, "/api/v1/gates/api/check").status, 423);
            }
            epoch.fetch_add(1, Ordering::SeqCst);
            assert_eq!(post(server.address, UNFREEZE, &[bearer()], BODY).status, 200);
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(checked.load(Ordering::SeqCst) > ROUNDS, "{checked:?} reads were within a freeze");
}
