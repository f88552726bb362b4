//! Scraping, from outside: a real server and targets that keep their own books.

#[path = "../serve/lines.rs"]
#[allow(dead_code, reason = "shared with a test that writes logs in more ways than this one does")]
mod lines;
mod percentiles;
#[path = "../serve/server.rs"]
#[allow(dead_code, reason = "shared with a test that does more to its server than this one does")]
mod server;
mod target;
mod unheard;

mod kinds;
mod mixed;
mod replicas;
mod trust;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;
use slogate::time::{Clock, Stopwatch, SystemClock};

use server::{PATIENCE_MS, Place};
use target::{Answer, Target};

const GLANCE: Duration = Duration::from_millis(20);

const OK: &str = "http_requests_total{code=\"200\"}";
const FAILED: &str = "http_requests_total{code=\"500\"}";

const RATIO: &str = r#"
[story]
name = "api"
service = "api"

[[slo]]
name = "ratio"
objective = 90.0
[slo.ratio]
source = "app"
total  = 'http_requests_total'
bad    = 'http_requests_total{code=~"5.."}'
"#;

/// Specs with one scraped source.
fn place(scrape: &str, story: &str) -> Place {
    let place = Place::new();
    for name in ["shop.toml", "search.toml"] {
        fs::remove_file(place.path("specs").join(name)).expect("it was there");
    }
    fs::write(place.path("specs/api.toml"), story).expect("written");
    write_engine(&place, scrape);
    place
}

fn write_engine(place: &Place, scrape: &str) {
    let listen = place.address;
    let text = format!(
        r#"
[server]
listen = "{listen}"
[store]
url = "redb:../store.redb"
[[source]]
name = "app"
[source.scrape]
interval = "1s"
{scrape}
[gate]
on_unknown = "deny"
min_events = 10
"#
    );
    fs::write(place.path("specs/slogate.toml"), text).expect("written");
}

fn targets(of: &[&Target]) -> String {
    let urls: Vec<String> = of.iter().map(|target| format!("\"{}\"", target.url())).collect();
    format!("targets = [{}]", urls.join(", "))
}

fn tally(place: &Place, slo: &str) -> (u64, u64) {
    let slo = place.get(&format!("/api/v1/slos/{slo}"));
    (slo["good"].as_u64().expect("a number"), slo["bad"].as_u64().expect("a number"))
}

fn source(place: &Place) -> Value {
    let sources = place.get("/api/v1/sources");
    let named = sources["sources"].as_array().expect("a list").iter().find(|source| source["source"] == "app").cloned();
    named.expect("a source")
}

/// Waits until it holds; what is wanted is told by `what`.
#[track_caller]
fn wait(place: &Place, what: &str, mut holds: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        assert!(watch.elapsed_ms() < PATIENCE_MS, "waited for {what}\n{:#}\n{}", source(place), place.words());
        thread::sleep(GLANCE);
    }
}

/// Waits for a page of each target that was asked for after now.
#[track_caller]
fn wait_for_pages(place: &Place, targets: &[&Target]) {
    // The one that is on its way may have been written before.
    for target in targets {
        let seen = target.pages();
        wait(place, "pages", || target.pages() >= seen + 2);
    }
}

#[track_caller]
fn wait_for_tally(place: &Place, slo: &str, expected: (u64, u64)) {
    wait(place, &format!("{slo} to be {expected:?} and not {:?}", tally(place, slo)), || tally(place, slo) == expected);
}

/// The matched, unmatched and rejected samples of the source are all of them.
#[track_caller]
fn assert_conserved(place: &Place) {
    let source = source(place);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let rejected: u64 = source["rejected"].as_object().expect("an object").values().map(number).sum();
    let accounted = number(&source["matched"]) + number(&source["unmatched"]) + rejected;
    assert_eq!(number(&source["records"]), accounted, "{source:#}");
    assert!(number(&source["records"]) > 0, "{source:#}");
}

#[test]
fn i05_a_renamed_slo_misses_nothing_that_its_targets_count() {
    let target = Target::new();
    target.count(OK, 100);
    target.count(FAILED, 10);
    let place = place(&targets(&[&target]), RATIO);
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    target.count(OK, 30);
    target.count(FAILED, 3);
    wait_for_tally(&place, "api/ratio", (30, 3));
    // While the server goes on.
    let rename = |to: &str, from: &str| {
        let text = RATIO.replace("\"ratio\"", &format!("\"{to}\"\nrenamed_from = \"{from}\""));
        fs::write(place.path("specs/api.toml"), text).expect("written");
    };
    rename("errors", "ratio");
    target.count(OK, 5);
    wait(&place, "the new name", || place.get("/api/v1/slos")["slos"][0]["slo"] == "errors");
    target.count(FAILED, 2);
    wait_for_tally(&place, "api/errors", (35, 5));
    // And while nobody scrapes.
    assert!(server.stop().success());
    rename("failures", "errors");
    target.count(OK, 7);
    let server = place.start();
    target.count(FAILED, 1);
    wait_for_tally(&place, "api/failures", (42, 6));
    assert_eq!(place.get("/api/v1/slos/api/failures")["gaps_total"], 0);
    assert_eq!(source(&place)["notes"], serde_json::json!([]));
    assert!(server.stop().success());
}

#[test]
fn counts_are_those_of_the_target_over_kills_and_restarts_of_the_server() {
    let target = Target::new();
    target.count(OK, 1_000_000);
    target.count(FAILED, 10);
    let place = place(&targets(&[&target]), RATIO);
    let mut server = place.start();
    wait_for_pages(&place, &[&target]);
    let before = (target.counted(OK), target.counted(FAILED));
    assert_eq!(tally(&place, "api/ratio"), (0, 0), "d04: a first page is a baseline");
    let counted = || (target.counted(OK) - before.0, target.counted(FAILED) - before.1);
    for round in 0..3 {
        target.count(OK, 50 + round);
        target.count(FAILED, 3);
        wait_for_tally(&place, "api/ratio", counted());
        assert!(server.kill().is_none(), "it was still running");
        target.count(OK, 700);
        target.count(FAILED, 20);
        server = place.start();
        wait_for_tally(&place, "api/ratio", counted());
    }
    wait_for_pages(&place, &[&target]);
    assert_eq!(tally(&place, "api/ratio"), counted());
    assert_conserved(&place);
    assert!(server.stop().success());
}

#[test]
fn d01_resets_and_new_series_are_counted_and_what_nobody_can_know_is_marked() {
    let target = Target::new();
    target.count(OK, 100);
    let place = place(&targets(&[&target]), RATIO);
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    // The page tells when the process began: all of its counts are of after the restart, also those of new series.
    target.restart(true);
    target.count(OK, 7);
    target.count(FAILED, 4);
    wait_for_tally(&place, "api/ratio", (7, 4));
    wait(&place, "the reset to be marked", || {
        let source = source(&place);
        let is_reset = |gap: &Value| gap["reason"] == "counter_reset";
        source["gaps"].as_array().expect("a list").iter().any(is_reset)
            && source["note_counts"]["counter_reset"].as_u64() > Some(0)
    });
    // A series that is gone for a while and comes back goes on.
    target.drop_series(FAILED);
    wait_for_pages(&place, &[&target]);
    target.show(FAILED, 4);
    target.count(FAILED, 2);
    wait_for_tally(&place, "api/ratio", (7, 6));
    assert_conserved(&place);
    drop(server);
}

#[test]
fn d05_pages_that_are_torn_slow_or_late_lose_nothing() {
    let target = Target::new();
    target.count(OK, 5);
    target.count(FAILED, 5);
    let place = place(&targets(&[&target]), RATIO);
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    for (answer, reason) in [(Answer::Torn, "torn"), (Answer::Drip, "deadline"), (Answer::Silent, "deadline")] {
        target.answer(answer);
        let before = source(&place)["scrape_errors"][reason].as_u64().unwrap_or(0);
        wait(&place, reason, || source(&place)["scrape_errors"][reason].as_u64() > Some(before));
        target.count(OK, 40);
        target.count(FAILED, 2);
        target.answer(Answer::Page);
        wait_for_tally(&place, "api/ratio", (target.counted(OK) - 5, target.counted(FAILED) - 5));
    }
    target.answer(Answer::Gzip);
    target.count(OK, 1);
    wait_for_tally(&place, "api/ratio", (target.counted(OK) - 5, target.counted(FAILED) - 5));
    target.answer(Answer::OpenMetrics);
    target.count(OK, 1);
    wait_for_tally(&place, "api/ratio", (target.counted(OK) - 5, target.counted(FAILED) - 5));
    assert!(target.last_request().contains("application/openmetrics-text"), "{}", target.last_request());
    assert_conserved(&place);
    drop(server);
}

/// A log beside the scraped source, and a journey over both.
const SHOP: &str = r#"
[[slo]]
name = "availability"
objective = 90.0
[slo.availability]
source = "lb"
requests = ["GET /shop/{item}"]
"#;

const JOURNEY: &str = r#"
[journey]
name = "buy"
objective = 90.0
stories = [{ story = "api", slo = "availability", weight = 1.0 }, { story = "api", slo = "ratio", weight = 2.0 }]
"#;

/// Specs with a log and a scraped source in one story.
fn mixed(scrape: &str) -> Place {
    let place = place(scrape, &format!("{RATIO}{SHOP}"));
    fs::write(place.path("specs/buy.toml"), JOURNEY).expect("written");
    let path = place.path("specs/slogate.toml");
    let engine = fs::read_to_string(&path).expect("written above");
    let (log, format) = (place.log(), server::FORMAT);
    let source =
        format!("[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"{}\"]\nnginx = '{format}'\n", log.display());
    fs::write(path, format!("{engine}{source}")).expect("written");
    place
}

fn log_requests(place: &Place, good: usize, bad: usize) {
    let now = DateTime::from_timestamp_millis(SystemClock.now().millis()).expect("a time");
    let now = now.format("%d/%b/%Y:%H:%M:%S +0000").to_string();
    let line =
        |status: u16| format!("127.0.0.1 - - [{now}] \"GET /shop/1 HTTP/1.1\" {status} 5 \"-\" \"curl\" 0.010\n");
    let mut log = File::options().create(true).append(true).open(place.log()).expect("a log");
    log.write_all((line(200).repeat(good) + &line(503).repeat(bad)).as_bytes()).expect("written");
}

#[test]
fn a_story_a_journey_and_a_gate_mix_logs_and_scrapes() {
    let target = Target::new();
    target.count(OK, 5);
    target.count(FAILED, 5);
    let place = mixed(&targets(&[&target]));
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    target.count(OK, 95);
    target.count(FAILED, 5);
    log_requests(&place, 38, 2);
    wait_for_tally(&place, "api/ratio", (95, 5));
    wait_for_tally(&place, "api/availability", (38, 2));
    let journey = place.get("/api/v1/journeys/buy");
    let compliance = journey["compliance"].as_f64().expect("a number");
    assert!((compliance - (38.0 + 2.0 * 95.0) / (40.0 + 2.0 * 100.0)).abs() < 1e-12, "{journey:#}");
    assert_eq!(place.gate("api").0, "open");
    // The budget of the scraped SLO alone freezes the gate of both.
    target.count(FAILED, 40);
    wait(&place, "a frozen gate", || place.gate("api").0 == "frozen");
    assert!(place.gate("api").2.is_some_and(|reason| reason.contains("api/ratio")), "{:?}", place.gate("api"));
    drop(server);
}

#[test]
fn d12_what_bad_targets_cost_is_their_deadline_and_one_clear_error() {
    let raw = |head: &str, body: &[u8]| Answer::Raw(head.to_owned(), body.to_vec());
    let login = b"<!doctype html><title>Log in</title>".to_vec();
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b'\n'; 64 << 20]).expect("memory");
    let bomb = bomb.finish().expect("memory");
    let redirect = "HTTP/1.1 302 Found\nLocation: http://169.254.169.254/latest/meta-data/";
    let packed = "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Encoding: gzip";
    let kinds = [
        (Answer::Endless(None), "too_long"),
        (Answer::Endless(Some(4 << 30)), "too_long"),
        (Answer::Drip, "deadline"),
        (Answer::Silent, "deadline"),
        (raw(redirect, b""), "redirect"),
        (raw("HTTP/1.1 200 OK\nContent-Type: text/html", &login), "not_metrics"),
        (raw("HTTP/1.1 200 OK\nContent-Type: text/plain", &login), "not_metrics"),
        (raw(packed, &bomb), "too_long"),
        (raw("HTTP/1.1 401 Unauthorized", b"who?"), "status"),
        (raw("HTTP/1.1 200 OK\nContent-Type: text/plain", b"a_total 1\na_total 2\n"), "duplicate"),
        (raw("HTTP/1.1 200 OK\nContent-Type: text/plain", b"a_total 1\nb_total 17"), "torn"),
    ];
    let bad: Vec<(Target, &str)> = kinds.into_iter().map(|(answer, reason)| (bad_target(answer), reason)).collect();
    let good = Target::new();
    good.count(OK, 1);
    good.count(FAILED, 1);
    let mut all: Vec<&Target> = bad.iter().map(|(target, _)| target).collect();
    all.push(&good);
    let secret = "s3cret-0f-the-targets";
    let mut place = mixed(&format!("{}\nmax_body = 1048576\ntoken_env = \"SCRAPE_TOKEN\"", targets(&all)));
    place.environment.push(("SCRAPE_TOKEN", secret.to_owned()));
    let server = place.start();
    wait_for_pages(&place, &[&good]);
    for round in 1..=3 {
        good.count(OK, 10);
        log_requests(&place, 10, 0);
        wait_for_tally(&place, "api/ratio", (10 * round, 0));
        wait_for_tally(&place, "api/availability", (10 * round, 0));
    }
    let found = |target: &Target| {
        let source = source(&place);
        let targets = source["targets"].as_array().expect("a list").iter();
        targets.into_iter().find(|found| found["url"] == target.url()).cloned().expect("a target")
    };
    for (target, reason) in &bad {
        wait(&place, reason, || found(target)["reason"] == *reason);
        let words = place.words();
        // Each line names it twice. A busy machine may see a deadline before the page is too long.
        let lines = words.matches(&target.url()).count() / 2;
        assert!((1..=target.asked().div_ceil(2)).contains(&lines), "{} scrapes: {words}", target.asked());
    }
    assert_eq!((found(&good)["health"].clone(), found(&good)["error"].clone()), ("up".into(), Value::Null));
    let duration = |target: &Target| found(target)["duration_seconds"].as_f64().expect("a number");
    assert!(bad.iter().all(|(target, _)| duration(target) < 2.0), "{:#}", source(&place));
    assert!(good.last_request().to_ascii_lowercase().contains(&format!("authorization: bearer {secret}")));
    let memory = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak").trim().to_owned();
    let peak_kib: u64 = peak.trim_end_matches(" kB").trim().parse().expect("a number");
    assert!(peak_kib < 300 << 10, "{peak}");
    assert!(!place.words().contains(secret));
    assert_conserved(&place);
    drop(server);
}

fn bad_target(answer: Answer) -> Target {
    let target = Target::new();
    target.count(OK, 1_000_000);
    target.answer(answer);
    target
}

#[test]
fn a_target_that_is_down_is_not_an_slo_that_is_met() {
    let (one, other) = (Target::new(), Target::new());
    for target in [&one, &other] {
        target.count(OK, 5);
        target.count(FAILED, 5);
    }
    let place = place(&targets(&[&one, &other]), RATIO);
    let path = place.path("specs/slogate.toml");
    let engine = fs::read_to_string(&path).expect("written above");
    fs::write(&path, engine.replace("min_events", "stale_after = \"4s\"\nmin_events")).expect("written");
    let server = place.start();
    wait_for_pages(&place, &[&one, &other]);
    one.count(OK, 100);
    wait_for_tally(&place, "api/ratio", (100, 0));
    wait(&place, "an open gate", || place.gate("api").0 == "open");
    other.answer(Answer::Raw("HTTP/1.1 503 Busy".into(), Vec::new()));
    // The other one goes on, and that is not enough.
    wait(&place, "an unknown gate", || {
        one.count(OK, 1);
        place.gate("api").0 == "unknown"
    });
    assert_eq!(place.get("/api/v1/slos/api/ratio")["evidence"], "stale");
    assert_eq!(source(&place)["health"], "stale");
    other.count(OK, 50);
    other.answer(Answer::Page);
    wait(&place, "an open gate again", || place.gate("api").0 == "open");
    wait_for_tally(&place, "api/ratio", (one.counted(OK) + other.counted(OK) - 10, 0));
    drop(server);
}

#[test]
fn targets_come_and_go_with_the_files_that_list_them() {
    let (one, other) = (Target::new(), Target::new());
    for target in [&one, &other] {
        target.count(OK, 5);
        target.count(FAILED, 5);
    }
    let place = place("file_sd = [\"../targets.json\"]", RATIO);
    let list = |targets: &[&Target]| {
        let addresses: Vec<String> = targets.iter().map(|target| format!("\"{}\"", target.address)).collect();
        let text = format!("[{{\"targets\": [{}]}}]", addresses.join(", "));
        fs::write(place.path("new.json"), text).expect("written");
        fs::rename(place.path("new.json"), place.path("targets.json")).expect("renamed");
    };
    list(&[&one]);
    let server = place.start();
    wait_for_pages(&place, &[&one]);
    assert_eq!(other.asked(), 0);
    list(&[&one, &other]);
    wait_for_pages(&place, &[&other]);
    one.count(OK, 20);
    other.count(OK, 30);
    wait_for_tally(&place, "api/ratio", (50, 0));
    list(&[&one]);
    let shown = || source(&place)["targets"].as_array().expect("a list").len();
    wait(&place, "one target", || shown() == 1);
    assert!(source(&place)["gaps"].as_array().expect("a list").iter().any(|gap| gap["reason"] == "target_gone"));
    fs::write(place.path("targets.json"), "[{").expect("written");
    wait(&place, "trouble", || source(&place)["discovery_errors"].as_array().is_some_and(|list| list.len() == 1));
    one.count(OK, 1);
    wait_for_tally(&place, "api/ratio", (51, 0));
    drop(server);
}

#[test]
fn reloaded_specs_go_on_with_the_counters() {
    let target = Target::new();
    target.count(OK, 100);
    target.count(FAILED, 100);
    let place = place(&targets(&[&target]), RATIO);
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    target.count(OK, 10);
    wait_for_tally(&place, "api/ratio", (10, 0));
    target.count(OK, 500);
    fs::write(place.path("specs/api.toml"), RATIO.replace("90.0", "95.0")).expect("written");
    wait(&place, "the other objective", || place.get("/api/v1/slos/api/ratio")["objective"] == 0.95);
    target.count(FAILED, 3);
    wait_for_tally(&place, "api/ratio", (510, 3));
    drop(server);
}

#[test]
fn metrics_show_every_target_and_every_error() {
    let (good, bad) = (Target::new(), bad_target(Answer::Raw("HTTP/1.1 500 Oops".into(), Vec::new())));
    good.count(OK, 5);
    let place = place(&targets(&[&good, &bad]), RATIO);
    let server = place.start();
    wait_for_pages(&place, &[&good]);
    wait(&place, "an error", || source(&place)["scrape_errors"]["status"].as_u64() > Some(0));
    let (_, metrics) = server::converse(place.address, "GET", "/metrics", &[], None).expect("an answer");
    let label = |target: &Target| format!("{{source=\"app\",target=\"{}\"}}", target.url());
    for line in [
        format!("slogate_scrape_up{} 1", label(&good)),
        format!("slogate_scrape_up{} 0", label(&bad)),
        format!("slogate_scrape_samples{} 2", label(&good)),
        "slogate_scrape_errors_total{source=\"app\",reason=\"status\"} ".to_owned(),
        format!("slogate_scrape_duration_seconds{}", label(&bad)),
    ] {
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    drop(server);
}
