//! What is wrong with the numbers, as an operator meets it: lines that are lost, and lines that cannot be read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::thread;
use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;
use slogate::time::{Clock, Stopwatch, SystemClock, Timestamp};

use super::lines::Log;
use super::server::{PATIENCE_MS, Place, converse, request};

const GAP: &str = "rotated away or deleted while slogate was not running";

/// Asks again and again until the answer is as it should be, and returns it.
#[track_caller]
fn wait_until(place: &Place, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let watch = Stopwatch::start();
    loop {
        let answer = place.get(path);
        if is_so(&answer) {
            return answer;
        }
        assert!(watch.elapsed_ms() < PATIENCE_MS, "{path} stays {answer:#}\nwords:\n{}", place.words());
        thread::sleep(Duration::from_millis(20));
    }
}

/// A place whose gates doubt a source as they do by default.
fn doubting() -> Place {
    let place = Place::new();
    let path = place.path("specs/slogate.toml");
    let engine = fs::read_to_string(&path).expect("it was written");
    assert!(engine.contains("max_unparsed = 10.0"));
    fs::write(&path, engine.replace("max_unparsed = 10.0", "# max_unparsed = 1")).expect("written");
    place
}

/// Appends lines: searches that were answered well, and lines of another format.
fn append(place: &Place, searches: usize, strange: usize) {
    let time = DateTime::from_timestamp_millis(SystemClock.now().millis()).expect("a time");
    let time = time.format("%d/%b/%Y:%H:%M:%S +0000");
    let search = format!("192.0.2.7 - - [{time}] \"GET /search HTTP/1.1\" 200 5 \"-\" \"test\" 0.012\n");
    let other = format!("{time} GET /search 503 192.0.2.7\n");
    let mut file = OpenOptions::new().append(true).create(true).open(place.log()).expect("the log is opened");
    file.write_all((search.repeat(searches) + &other.repeat(strange)).as_bytes()).expect("the log is written");
}

fn texts(reasons: &Value, kind: &str) -> Vec<String> {
    let reasons = reasons.as_array().expect("reasons").iter().filter(|reason| reason["kind"] == kind);
    reasons.map(|reason| reason["text"].as_str().expect("a text").to_owned()).collect()
}

fn metric(place: &Place, sample: &str) -> String {
    let (_, text) = converse(place.address, "GET", "/metrics", &[], None).expect("metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(sample));
    line.unwrap_or_else(|| panic!("no {sample} in {text}")).trim().to_owned()
}

#[test]
fn a03_what_was_rotated_away_while_down_is_told_wherever_it_matters_and_for_good() {
    let place = Place::new();
    let begun = SystemClock.now();
    let mut log = Log::open(&place.log());
    log.write(1_000);
    let server = place.start();
    place.wait_for(&log.expected);
    let before = place.gate("search");
    assert!(server.stop().success());
    append(&place, 50, 0);
    fs::remove_file(place.log()).expect("removed");
    log.reopen(&place.log());
    log.write(10);

    let server = place.start();
    let status = wait_until(&place, "/api/v1/status", |status| status["sources"][0]["gaps_total"] == 1);
    place.wait_for(&log.expected);
    check_gap(&place, &status, begun);
    let after = place.gate("search");
    assert_eq!((&after.0, &after.1), (&before.0, &before.1), "a gap alone is no reason to close a gate");
    assert!(server.stop().success());

    // It is there at once after another start, and once.
    let server = place.start();
    check_gap(&place, &place.get("/api/v1/status"), begun);
    assert!(server.stop().success());

    // Where the policy says so, it is reason enough.
    let path = place.path("specs/slogate.toml");
    let engine = fs::read_to_string(&path).expect("it was written") + "on_gap = \"unknown\"\n";
    fs::write(&path, engine).expect("written");
    let _server = place.start();
    let (status, body) = request(place.address, "GET", "/api/v1/gates/search/check", None).expect("an answer");
    assert_eq!((status, &body["level"], &body["reasons"][0]["kind"]), (503, &"unknown".into(), &"gap".into()));
}

/// The one gap, in everything that is said of a source, its SLOs and its gates.
#[track_caller]
fn check_gap(place: &Place, status: &Value, begun: Timestamp) {
    let gap = &status["sources"][0]["gaps"][0];
    assert_eq!(
        (&gap["source"], &gap["reason"], &gap["bytes"]),
        (&"lb".into(), &"rotated_while_down".into(), &Value::Null)
    );
    let time = |name: &str| Timestamp::parse_rfc3339(gap[name].as_str().expect("a time")).expect("a time");
    // Everything that had been there before had been read.
    assert!(time("from") >= begun.plus_millis(-1_000) && time("from") < time("to"), "{gap}");
    for slo in ["shop/availability", "search/availability"] {
        let slo = place.get(&format!("/api/v1/slos/{slo}"));
        assert_eq!((&slo["gaps_total"], &slo["gaps"][0]), (&1.into(), gap));
    }
    for gate in status["gates"].as_array().expect("gates") {
        let texts = texts(&gate["reasons"], "gap");
        assert!(matches!(&texts[..], [text] if text.starts_with("an unknown number of bytes of source lb")), "{gate}");
    }
    assert_eq!(metric(place, r#"slogate_ingest_gaps_total{source="lb",reason="rotated_while_down"}"#), "1");
    let before = Timestamp::parse_rfc3339(gap["from"].as_str().expect("a time")).expect("a time").plus_millis(-1_000);
    assert_eq!(place.get(&format!("/api/v1/sources?at={before}"))["sources"][0]["gaps_total"], 0);
    let told = place.ask(&["status"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("lb: gap: ")).collect();
    assert!(matches!(&lines[..], [line] if line.contains(GAP)), "{told}");
    let (_, page) = converse(place.address, "GET", "/", &[], None).expect("a page");
    assert!(page.contains(GAP), "{page}");
}

#[test]
fn i05_what_is_wrong_with_a_source_is_told_when_it_has_another_name() {
    let place = doubting();
    rewrite(&place, "slogate.toml", |text| text + "on_gap = \"unknown\"\n");
    let mut log = Log::open(&place.log());
    log.write(1_000);
    let server = place.start();
    place.wait_for(&log.expected);
    assert!(server.stop().success());
    append(&place, 50, 0);
    fs::remove_file(place.log()).expect("removed");
    log.reopen(&place.log());
    log.write(100);
    let mut server = place.start();
    wait_until(&place, "/api/v1/status", |status| status["sources"][0]["gaps_total"] == 1);
    place.wait_for(&log.expected);
    append(&place, 0, 1_000);
    wait_until(&place, "/api/v1/sources/lb", |source| source["records"] == 2_100);
    let before = all_that_is_told(&place);
    for words in
        ["its format has changed", "errors may hide", "can never be counted", "rotated_while_down", "\"unknown\""]
    {
        assert!(before.contains(words), "{words} is not in {before}");
    }

    // While the server goes on, and then while nobody serves.
    let names = ["lb", "edge", "front"];
    for (from, to) in names.iter().zip(&names[1..]) {
        if *to == "front" {
            assert!(server.stop().success());
            rename_source(&place, from, to);
            server = place.start();
        } else {
            rename_source(&place, from, to);
        }
        wait_until(&place, "/api/v1/status", |status| status["sources"][0]["source"] == *to);
        let expected = before.replace("\"lb\"", &format!("\"{to}\"")).replace("source lb", &format!("source {to}"));
        wait_for_durations(&place);
        assert_eq!(all_that_is_told(&place), expected);
        // And for good, whatever ends the server.
        server.kill();
        server = place.start();
        wait_for_durations(&place);
        assert_eq!(all_that_is_told(&place), expected);
    }
    assert!(server.stop().success());
}

/// Gives a source another name in all specs; whatever is only half renamed is refused.
fn rename_source(place: &Place, from: &str, to: &str) {
    for file in ["slogate.toml", "shop.toml", "search.toml"] {
        rewrite(place, file, |text| text.replace(&format!("\"{from}\""), &format!("\"{to}\"")));
    }
}

/// Puts a text in the place of a file of the specs, in one step.
fn rewrite(place: &Place, file: &str, change: impl Fn(String) -> String) {
    let path = place.path("specs").join(file);
    let text = fs::read_to_string(&path).expect("it is there");
    fs::write(place.path("draft"), change(text)).expect("written");
    fs::rename(place.path("draft"), path).expect("renamed");
}

/// Waits until durations have been read from the store.
fn wait_for_durations(place: &Place) {
    wait_until(place, "/api/v1/slos/shop/latency", |slo| !slo["latency"].is_null());
}

/// All that is said of the source, its SLOs and its gates, but for what is only of the moment.
fn all_that_is_told(place: &Place) -> String {
    let status = place.get("/api/v1/status");
    let parts = |value: &Value, keys: &[&str]| -> Vec<Value> { keys.iter().map(|key| value[*key].clone()).collect() };
    let source = parts(
        &status["sources"][0],
        &["records", "matched", "unmatched", "rejected", "gaps_total", "gaps", "health", "reasons", "last_event"],
    );
    let slos = ["shop/availability", "shop/latency", "search/availability"].map(|slo| {
        let slo = place.get(&format!("/api/v1/slos/{slo}"));
        parts(&slo, &["good", "bad", "evidence", "rules_changed", "gaps_total", "gaps"])
            .into_iter()
            .chain(parts(&slo["latency"], &["requests", "seconds"]))
            .collect::<Vec<_>>()
    });
    let gates: Vec<_> = status["gates"].as_array().expect("gates").iter().collect();
    let gates: Vec<_> = gates.iter().map(|gate| parts(gate, &["service", "level", "allow", "reasons"])).collect();
    format!("{source:#?} {slos:#?} {gates:#?}")
}

#[test]
fn b21_a_log_whose_format_changes_closes_the_gate_until_it_is_put_right() {
    let place = doubting();
    append(&place, 2_000, 0);
    let server = place.start();
    wait_until(&place, "/api/v1/gates/search", |gate| gate["level"] == "open");
    append(&place, 0, 1_000);
    let gate = wait_until(&place, "/api/v1/gates/search", |gate| texts(&gate["reasons"], "source_degraded").len() == 2);
    let check_closed = |gate: &Value| {
        assert_eq!((&gate["level"], &gate["allow"]), (&"unknown".into(), &false.into()));
        let told = texts(&gate["reasons"], "source_degraded");
        assert_eq!(told[0], "none of the newest 1000 records of source lb could be read; its format has changed");
        let text = "1000 of the newest 3000 records of source lb could not be read, and errors may hide among them";
        assert_eq!(told[1], text);
        let source = place.get("/api/v1/sources/lb");
        assert_eq!((&source["health"], &source["reasons"][0]["kind"]), (&"degraded".into(), &"format_changed".into()));
        assert_eq!(place.get("/api/v1/slos/search/availability")["evidence"], "degraded");
        assert_eq!(metric(&place, r#"slogate_ingest_degraded{source="lb",reason="unparsed"}"#), "1");
        let (status, _) = request(place.address, "GET", "/api/v1/gates/search/check", None).expect("an answer");
        assert_eq!(status, 503);
        assert_eq!(place.ask(&["gate", "search"]).status.code(), Some(3));
    };
    check_closed(&gate);
    assert!(server.stop().success());

    // A restart does not forget.
    let _server = place.start();
    check_closed(&place.get("/api/v1/gates/search"));
    append(&place, 100_000, 0);
    wait_until(&place, "/api/v1/sources/lb", |source| source["records"] == 103_000);
    let gate = place.get("/api/v1/gates/search");
    assert_eq!(gate["level"], "unknown", "one in a hundred is not yet few");
    assert_eq!(gate["reasons"][0]["cause"], "unparsed");
    append(&place, 100_000, 0);
    let gate = wait_until(&place, "/api/v1/gates/search", |gate| gate["level"] == "open");
    assert_eq!(gate["reasons"], Value::Array(Vec::new()));
    assert_eq!(place.get("/api/v1/sources/lb")["health"], "ok");
    let causes = place.audit();
    let levels: Vec<&str> = causes
        .iter()
        .filter(|entry| entry["service"] == "search")
        .filter_map(|entry| entry["after"].as_str())
        .collect();
    assert_eq!(levels[levels.len() - 3..], ["open", "unknown", "open"], "{causes:#?}");
}

#[test]
fn b07_lines_that_cannot_be_read_never_leave_the_gate_open() {
    let place = doubting();
    let _server = place.start();
    let mut written = 0;
    for (searches, strange) in [(500, 3), (500, 4), (500, 90), (0, 2), (0, 1), (3_000, 0), (10, 200), (5_000, 40)] {
        append(&place, searches, strange);
        written += searches + strange;
        let mut records = 0;
        while records < written as u64 {
            // One answer, so that the gate and the counts in it belong together.
            let status = place.get("/api/v1/status");
            let source = &status["sources"][0];
            let unparsed = source["rejected"]["unparsed"].as_u64().unwrap_or(0);
            records = source["records"].as_u64().expect("a number");
            let hides = unparsed >= 100 && unparsed * 100 > records;
            let gates = status["gates"].as_array().expect("gates");
            assert!(
                !hides || gates.iter().all(|gate| gate["level"] == "unknown"),
                "{unparsed} of {records}: {gates:#?}"
            );
        }
    }
    assert_eq!(place.gate("search").0, "unknown");
}
