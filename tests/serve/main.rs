//! `slogate serve` as an operator meets it: the real binary, real files, real signals, answers over HTTP.
//!
//! Each test has a server of its own, with specs, logs and store in a temporary directory, and writes logs whose every
//! line is known. What is waited for is asked for again and again until it is there; nothing relies on a pause being
//! long enough. Rows of the list of known faults are named where they are met.

mod crash;
mod descriptors;
mod lines;
mod live;
#[path = "../support/nginx.rs"]
#[allow(dead_code, reason = "shared with a test that sends nginx more than this one does")]
mod nginx;
mod quality;
mod reload;
mod server;
mod store;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Output;

use serde_json::json;

use lines::Log;
use server::{Place, converse, request};

/// From a line's write to its effect in the answer, in milliseconds.
const EFFECT_MS: u64 = 2_000;
/// A token that nobody would guess.
const TOKEN: &str = "5d41402abc4b2a76b9719d911017c592";

#[test]
fn a_log_is_counted_and_followed_to_the_line_within_two_seconds() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(2_000);
    let server = place.start();
    place.wait_for(&log.expected);
    for lines in [1, 1, 500, 1, 20_000] {
        log.write(lines);
        let took_ms = place.wait_for(&log.expected);
        assert!(took_ms <= EFFECT_MS, "{lines} lines had their effect after {took_ms} ms");
    }
    // a14: the beginning of a line is no line, and then it is one.
    let before = log.expected.clone();
    log.write_torn(|| {
        place.wait_for(&before);
    });
    place.wait_for(&log.expected);
    let (status, metrics) = converse(place.address, "GET", "/metrics", &[], None).expect("metrics");
    let (good, _) = log.expected.slos["shop/availability"];
    let labels = r#"{story="shop",slo="availability",service="api",result="good"}"#;
    assert_eq!(status, 200);
    assert!(metrics.contains(&format!("slogate_slo_events_total{labels} {good}\n")), "{metrics}");
    assert!(server.stop().success());
}

#[test]
fn f16_sigterm_commits_everything_read_and_a_restart_goes_on_from_there() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(1_000);
    let server = place.start();
    place.wait_for(&log.expected);
    for (order, service) in [("freeze", "search"), ("unfreeze", "api"), ("freeze", "api")] {
        let reason = json!({ "reason": format!("{order} it") });
        let path = format!("/api/v1/gates/{service}/{order}");
        let (status, body) = request(place.address, "POST", &path, Some(&reason)).expect("an answer");
        assert_eq!(status, 200, "{body}");
    }
    let seen = || (place.gate("api"), place.gate("search"), place.audit());
    let before = seen();
    assert_eq!(before.0.2.as_deref(), Some("frozen by hand: freeze it"));
    assert!(before.2.iter().zip(1..).all(|(entry, number)| entry["sequence"] == number), "{:?}", before.2);
    // These are read, or left for the next start; either way they count once.
    log.write(200);
    assert_eq!(server.stop().code(), Some(0));

    let server = place.start();
    place.wait_for(&log.expected);
    assert_eq!(seen(), before);
    assert_eq!(server.stop().code(), Some(0));
    // a03: rotated and written to while nobody looked.
    fs::rename(place.log(), place.path("logs/access.log.1")).expect("renamed");
    log.write(10);
    log.reopen(&place.log());
    log.write(10);
    let server = place.start();
    place.wait_for(&log.expected);
    assert_eq!(seen(), before);
    // Without anything new to be read, everything comes from the store.
    assert_eq!(server.stop().code(), Some(0));
    fs::remove_dir_all(place.path("logs")).expect("removed");
    let _server = place.start();
    place.wait_for(&log.expected);
    assert_eq!(seen(), before);
}

#[test]
fn f11_a_second_start_is_refused_and_the_first_goes_on() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    let first = place.start();
    let (code, said) = place.start_in_vain();
    assert_eq!(code, Some(3), "{said}");
    let store = place.path("specs/../store.redb");
    let sentence = format!(
        "{}: the store is in use by process {}; stop it first, or give this one another [store] url",
        store.display(),
        first.pid()
    );
    assert_eq!(said, sentence);
    log.write(100);
    place.wait_for(&log.expected);
}

#[test]
fn a_port_in_use_is_named_in_one_sentence() {
    let (place, other) = (Place::new(), Place::new());
    let _first = place.start();
    other.write_engine(&place.address.to_string(), &other.log(), "");
    let (code, said) = other.start_in_vain();
    assert_eq!(code, Some(3), "{said}");
    let sentence =
        format!("{}: cannot listen there (Address already in use (os error 98)); stop what does, or", place.address);
    assert!(said.starts_with(&sentence), "{said}");
    // It has left nothing behind.
    let names = fs::read_dir(other.path(".")).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("store.redb")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn g24_a_weak_token_is_taken_and_whoever_is_refused_is_told_to_the_log() {
    const WEAK: &str = "hunter2";
    let mut place = Place::new();
    place.write_engine(&place.address.to_string(), &place.log(), r#"token_env = "SHOP_TOKEN""#);
    place.environment = vec![("SHOP_TOKEN", WEAK.to_owned())];
    let server = place.start();
    assert!(place.words().contains("WARN the token is shorter than 16 characters"), "{}", place.words());
    let body = json!({ "reason": "a release" });
    let order = |token: &str| {
        let header = format!("Bearer {token}");
        let headers = [("Authorization", header.as_str())];
        converse(place.address, "POST", "/api/v1/gates/api/freeze", &headers, Some(&body)).expect("an answer").0
    };
    let guesses: Vec<u16> = (0..30).map(|number| order(&format!("guess{number}"))).collect();
    assert!(guesses[..10].iter().all(|status| *status == 401) && guesses[10..].iter().all(|status| *status == 429));
    // One that can be guessed is not told from a guess while its address has to wait.
    assert_eq!(order(WEAK), 429);
    let words = place.words();
    let told: Vec<&str> = words.lines().filter(|line| line.contains("refused an order from 127.0.0.1")).collect();
    assert!((1..10).contains(&told.len()) && told[0].contains("WARN"), "{words}");
    assert!(!words.contains("guess") && !words.contains(WEAK), "{words}");
    assert!(server.stop().success());
}

#[test]
fn g24_only_whoever_has_the_token_gives_orders() {
    let mut place = Place::new();
    place.write_engine(&place.address.to_string(), &place.log(), r#"token_env = "SHOP_TOKEN""#);
    place.environment = vec![("SHOP_TOKEN", "changeme".to_owned())];
    let (code, said) = place.start_in_vain();
    assert_eq!((code, said.contains("placeholder")), (Some(3), true), "{said}");

    place.environment = vec![("SHOP_TOKEN", TOKEN.to_owned())];
    let server = place.start();
    let path = "/api/v1/gates/api/freeze";
    let body = json!({ "reason": "a release" });
    let order =
        |headers: &[(&str, &str)]| converse(place.address, "POST", path, headers, Some(&body)).expect("an answer");
    assert_eq!(order(&[]).0, 401);
    assert_eq!(order(&[("Authorization", "Bearer 5d41402abc4b2a76b9719d911017c593")]).0, 401);
    assert_eq!(order(&[("Authorization", &format!("Bearer {TOKEN}"))]).0, 200);
    check(&place.ask(&["unfreeze", "api", "--reason", "x"]), 1, "");
    assert!(server.stop().success());
    assert!(!place.words().contains(TOKEN));

    // Without the variable it still starts where only this machine can reach it, and says so; nowhere else.
    place.environment.clear();
    let server = place.start();
    assert!(place.words().contains("the variable SHOP_TOKEN is not set"), "{}", place.words());
    check(&place.ask(&["unfreeze", "api", "--reason", "x"]), 0, "api: the gate is unknown now (audit entry ");
    assert!(server.stop().success());
    let everywhere = format!("0.0.0.0:{}", place.address.port());
    place.write_engine(&everywhere, &place.log(), r#"token_env = "SHOP_TOKEN""#);
    let (code, said) = place.start_in_vain();
    assert_eq!((code, said.contains("SHOP_TOKEN")), (Some(3), true), "{said}");
}

#[test]
fn a21_a_log_that_may_not_be_read_is_named_and_counted_when_it_may() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(100);
    let secret = place.path("logs/access.log.secret");
    let mut others = Log::behind(&secret, 1_000_000);
    others.write(50);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).expect("permissions are set");
    // Root may read everything.
    let is_root = fs::metadata(place.path("specs")).expect("it is there").uid() == 0;
    let mut server = if is_root { place.spawn_as(65_534) } else { place.spawn() };
    server.wait_until_ready();
    place.wait_for(&log.expected);
    let said = place.words();
    let line = said.lines().find(|line| line.contains("access.log.secret")).unwrap_or_default();
    assert!(line.contains("WARN") && line.contains("Permission denied"), "{said}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("permissions are set");
    let both = log.expected.plus(&others.expected);
    place.wait_for(&both);
    assert!(server.stop().success());
}

#[test]
fn the_clients_work_against_it_and_what_they_ordered_survives() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(1_000);
    let server = place.start();
    place.wait_for(&log.expected);
    let status = place.ask(&["status"]);
    check(&status, 0, "");
    let shown = String::from_utf8_lossy(&status.stdout);
    assert!(shown.contains("shop") && shown.contains("search") && shown.contains("frozen"), "{shown}");
    // An alert with both its windows.
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let is_alert =
        |words: &[String]| words.contains(&"page".into()) && words.windows(2).any(|pair| pair == ["6h", "30m"]);
    assert!(shown.lines().any(|line| is_alert(&words(line))), "{shown}");
    check(&place.ask(&["gate", "search"]), 0, "allow search: ");
    check(
        &place.ask(&["gate", "api"]),
        1,
        "deny api: feature is held, the gate is frozen: shop/availability has spent",
    );
    check(&place.ask(&["gate", "api", "--change", "fix"]), 0, "allow api: fix is allowed although");
    check(&place.ask(&["unfreeze", "api", "--reason", "we know"]), 0, "api: the gate is ");
    check(&place.ask(&["gate", "api"]), 0, "allow api: ");
    check(
        &place.ask(&["freeze", "search", "--reason", "inventory"]),
        0,
        "search: the gate is frozen now (audit entry ",
    );
    check(
        &place.ask(&["gate", "search"]),
        1,
        "deny search: feature is held, the gate is frozen: frozen by hand: inven",
    );
    assert!(server.kill().is_none());
    check(&place.ask(&["gate", "api"]), 3, "unknown api: ");

    let server = place.start();
    check(&place.ask(&["gate", "search"]), 1, "deny search: ");
    check(&place.ask(&["gate", "api"]), 0, "allow api: ");
    check(&place.ask(&["unfreeze", "search", "--reason", "done"]), 0, "search: the gate is open now");
    check(&place.ask(&["gate", "search"]), 0, "allow search: ");
    assert!(server.stop().success());
}

/// Asserts exit code and the beginning of stdout.
#[track_caller]
fn check(output: &Output, code: i32, begins: &str) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    assert!(stdout.starts_with(begins), "{stdout}{stderr}");
}
