//! What an operator meets when the store is in trouble: a full disk, and files that are no store any more.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};
use slogate::time::{Clock, Stopwatch, SystemClock};

use super::check;
use super::lines::{Expected, Log, Route};
use super::server::{PATIENCE_MS, Place, request};

/// The least that a file may grow to here: the reserve is as long as that.
const LEAST: u64 = 1 << 20;

/// Waits until an answer is as it is to be.
#[track_caller]
fn wait(place: &Place, path: &str, is_reached: impl Fn(u16, &Value) -> bool) -> Value {
    let watch = Stopwatch::start();
    loop {
        let answer = request(place.address, "GET", path, None);
        match answer {
            Ok((status, body)) if is_reached(status, &body) => return body,
            _ => {}
        }
        assert!(watch.elapsed_ms() < PATIENCE_MS, "{path}: {answer:?}\n{}", place.words());
        thread::sleep(Duration::from_millis(10));
    }
}

fn order(place: &Place, order: &str, service: &str, reason: &str) -> (u16, Value) {
    let path = format!("/api/v1/gates/{service}/{order}");
    request(place.address, "POST", &path, Some(&json!({ "reason": reason }))).expect("an answer")
}

/// The reasons of the people who froze and unfroze, in the order of the audit.
fn orders(place: &Place) -> Vec<String> {
    let audit = place.audit();
    assert!(audit.iter().zip(1..).all(|(entry, number)| entry["sequence"] == number), "{audit:#?}");
    let of_people = audit.iter().filter(|entry| entry["action"] == "freeze" || entry["action"] == "unfreeze");
    of_people.map(|entry| entry["reason"].as_str().expect("a reason").to_owned()).collect()
}

/// A request for each of the last minutes, so that the store has to grow by as many rows.
fn history(place: &Place, minutes: i64) -> Expected {
    let mut expected = Expected::new();
    let mut log = File::options().append(true).create(true).open(place.log()).expect("the log is opened");
    let now = SystemClock.now().millis();
    let mut text = String::new();
    for minute in (1..=minutes).rev() {
        let time = DateTime::from_timestamp_millis(now - minute * 60_000).expect("a time");
        let time = time.format("%d/%b/%Y:%H:%M:%S +0000");
        for (route, target) in [(Route::Shop, "/shop/lamp"), (Route::Search, "/search")] {
            expected.request(route, 200, false);
            text.push_str(&format!(
                "192.0.2.7 - - [{time}] \"GET {target} HTTP/1.1\" 200 5 \"-\" \"{minute}\" 0.012\n"
            ));
        }
    }
    log.write_all(text.as_bytes()).expect("the log is written");
    expected
}

fn reserve(place: &Place) -> Vec<u8> {
    fs::read(place.path("store.redb.reserve")).expect("there is a reserve")
}

fn store(place: &Place) -> PathBuf {
    place.path("store.redb")
}

#[test]
fn f04_on_a_full_disk_a_freeze_is_accepted_survives_and_is_entered_once() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(500);
    let mut server = place.spawn_limited(None);
    server.wait_until_ready();
    place.wait_for(&log.expected);
    assert_eq!(order(&place, "freeze", "api", "before").0, 200);
    assert_eq!(order(&place, "unfreeze", "api", "it was nothing").0, 200);

    let room = LEAST.max(fs::metadata(store(&place)).expect("a store").len());
    server.limit_files(Some(room));
    let expected = log.expected.plus(&history(&place, 20_000));
    let unready = wait(&place, "/readyz", |status, _| status == 503);
    assert!(unready["store"].as_str().is_some_and(|why| why.contains("the disk is full")), "{unready}");
    let data_as_of = unready["data_as_of"].clone();
    let (status, frozen) = order(&place, "freeze", "search", "the disk is full");
    assert_eq!((status, &frozen["level"], &frozen["audit"]), (200, &json!("frozen"), &json!(null)), "{frozen}");
    check(&place.ask(&["freeze", "api", "--reason", "this too"]), 0, "api: the gate is frozen now (the audit follows");
    check(&place.ask(&["gate", "search"]), 1, "deny search: ");
    // f05: what opens a gate waits for the store.
    let (status, problem) = order(&place, "unfreeze", "search", "in vain");
    assert_eq!((status, &problem["type"]), (507, &json!("urn:slogate:problem:not-written")), "{problem}");
    check(&place.ask(&["gate", "search"]), 1, "deny search: ");
    assert_eq!(wait(&place, "/readyz", |status, _| status == 503)["data_as_of"], data_as_of, "nothing is counted");
    assert!(server.kill().is_none());

    // Still full: what was promised holds, and waits.
    let mut server = place.spawn_limited(Some(room));
    wait(&place, "/api/v1/gates/search", |status, gate| {
        status == 200 && gate["reasons"][0]["text"] == "frozen by hand: the disk is full"
    });
    assert_eq!(place.gate("api").2.as_deref(), Some("frozen by hand: this too"));
    wait(&place, "/readyz", |status, ready| status == 503 && ready["store"] != "ok");
    assert!(reserve(&place).iter().any(|byte| *byte != 0));
    // f04: with room again it goes on by itself.
    server.limit_files(None);
    server.wait_until_ready();
    place.wait_for(&expected);
    let given = ["before", "it was nothing", "the disk is full", "this too"];
    assert_eq!(orders(&place), given);
    assert!(reserve(&place).iter().all(|byte| *byte == 0));
    assert!(server.kill().is_none());

    let server = place.start();
    place.wait_for(&expected);
    assert_eq!((place.gate("search").0, place.gate("api").0), ("frozen".to_owned(), "frozen".to_owned()));
    assert_eq!(orders(&place), given);
    assert_eq!(order(&place, "unfreeze", "search", "room again").0, 200);
    assert!(server.kill().is_none());
    let server = place.start();
    assert_ne!(place.gate("search").0, "frozen");
    assert_eq!(orders(&place), [&given[..], &["room again"]].concat());
    assert!(server.stop().success());
}

/// Files that are no store (any more), from one that is.
fn damaged(sound: &[u8]) -> [Vec<u8>; 5] {
    let (mut beheaded, mut hollow) = (sound.to_vec(), sound.to_vec());
    beheaded[..512].fill(0);
    hollow[4_096..].fill(0);
    [Vec::new(), b"not a store".to_vec(), vec![0; sound.len()], beheaded, hollow]
}

/// A place with a log and a store that has counted it.
fn filled() -> (Place, Log) {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(500);
    let server = place.start();
    place.wait_for(&log.expected);
    assert_eq!(order(&place, "freeze", "search", "what is lost").0, 200);
    assert!(server.stop().success());
    (place, log)
}

#[test]
fn f07_with_a_damaged_store_the_server_answers_that_it_knows_nothing() {
    let (place, _) = filled();
    let sound = fs::read(store(&place)).expect("a store");
    for bytes in damaged(&sound) {
        fs::write(store(&place), &bytes).expect("written");
        let server = place.spawn();
        wait(&place, "/healthz", |status, _| status == 200);
        let unready = wait(&place, "/readyz", |status, _| status == 503);
        let text = unready["store"].as_str().expect("a text").to_owned();
        assert!(text.contains("store.redb: the store is damaged (") && text.contains("store set-aside"), "{text}");
        assert_eq!((&unready["sources_started"], &unready["data_as_of"]), (&json!(false), &json!(null)));
        for service in ["api", "search"] {
            let gate = place.get(&format!("/api/v1/gates/{service}"));
            assert_eq!((&gate["level"], &gate["allow"]), (&json!("unknown"), &json!(false)), "{gate}");
            assert_eq!(gate["reasons"][0], json!({ "kind": "store_corrupt", "text": text }));
            check(&place.ask(&["gate", service]), 3, &format!("unknown {service}: "));
        }
        let audit = request(place.address, "GET", "/api/v1/audit", None).expect("an answer");
        assert_eq!(audit.0, 503, "{audit:?}");
        assert_eq!(order(&place, "unfreeze", "search", "in vain").0, 507);
        assert_eq!(place.start_in_vain().0, Some(3), "there is one server already");
        assert_eq!(place.get("/api/v1/status")["sources"][0]["records"], 0);
        assert!(server.stop().success());
        assert!(fs::read(store(&place)).expect("it is there") == bytes, "the file was touched");
    }
    assert_eq!(fs::read_dir(place.path(".")).expect("a directory").count(), 6, "nothing was moved aside");
}

#[test]
fn f07_a_damaged_store_is_set_aside_by_a_command_and_the_next_start_begins_anew() {
    let (place, log) = filled();
    let specs = place.path("specs");
    let specs = specs.to_str().expect("a path of letters");
    check(&place.ask(&["store", "check", "--specs", specs]), 0, "");
    check(&place.ask(&["store", "set-aside", "--specs", specs, "--yes"]), 1, "");
    let bytes = vec![0; 70_000];
    fs::write(store(&place), &bytes).expect("written");

    let server = place.spawn();
    wait(&place, "/readyz", |status, _| status == 503);
    // To hold deploys back needs no store; the next one takes it over.
    let (status, frozen) = order(&place, "freeze", "api", "nothing is known");
    assert_eq!((status, &frozen["level"]), (200, &json!("frozen")), "{frozen}");
    check(&place.ask(&["gate", "api", "--change", "fix"]), 1, "deny api: ");
    check(&place.ask(&["store", "set-aside", "--specs", specs, "--yes"]), 3, "");
    assert!(server.kill().is_none());
    let server = place.spawn();
    wait(&place, "/api/v1/gates/api", |status, gate| status == 200 && gate["level"] == "frozen");
    assert!(server.stop().success());

    check(&place.ask(&["store", "check", "--specs", specs]), 1, "");
    check(&place.ask(&["store", "set-aside", "--specs", specs]), 1, "");
    assert!(fs::read(store(&place)).expect("it is there") == bytes);
    let moved = place.ask(&["store", "set-aside", "--specs", specs, "--yes"]);
    let said = String::from_utf8_lossy(&moved.stdout).into_owned();
    assert_eq!(moved.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&moved.stderr));
    let aside = said.trim_end().split(": is now ").nth(1).expect("a name");
    assert!(aside.contains("store.redb.damaged-") && fs::read(aside).expect("it is there") == bytes, "{aside}");
    check(&place.ask(&["store", "check", "--specs", specs]), 3, "");

    let server = place.start();
    place.wait_for(&log.expected);
    assert_eq!(place.gate("api").2.as_deref(), Some("frozen by hand: nothing is known"));
    assert_eq!(orders(&place), ["nothing is known"]);
    assert!(server.kill().is_none());
    let server = place.start();
    assert_eq!((orders(&place), place.gate("api").0), (vec!["nothing is known".to_owned()], "frozen".to_owned()));
    assert!(server.stop().success());
}

#[test]
fn f07_a_backup_that_is_put_in_place_is_found_without_a_restart() {
    let (place, mut log) = filled();
    let backup = fs::read(store(&place)).expect("a store");
    fs::write(store(&place), b"").expect("written");
    let mut server = place.spawn();
    wait(&place, "/readyz", |status, _| status == 503);
    assert_eq!(order(&place, "freeze", "api", "meanwhile").0, 200);
    // Half of it is no store.
    fs::remove_file(store(&place)).expect("removed");
    fs::write(store(&place), &backup[..backup.len() / 2]).expect("written");
    let watch = Stopwatch::start();
    while place.words().matches("the store is damaged").count() < 2 {
        assert!(watch.elapsed_ms() < PATIENCE_MS, "{}", place.words());
        thread::sleep(Duration::from_millis(10));
    }
    fs::write(store(&place), &backup).expect("written");
    server.wait_until_ready();
    log.write(100);
    place.wait_for(&log.expected);
    let gates = (place.gate("search").2, place.gate("api").2);
    let frozen = |reason: &str| Some(format!("frozen by hand: {reason}"));
    assert_eq!(gates, (frozen("what is lost"), frozen("meanwhile")));
    assert_eq!(orders(&place), ["what is lost", "meanwhile"]);
    assert!(server.stop().success());
}
