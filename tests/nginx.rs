//! A real nginx, real traffic, exact counts.
//!
//! Each test starts Debian's nginx with one log format, sends it a mix of requests that is known to the byte, from the
//! ordinary to the hostile, and keeps its own tally of what was sent and what came back. Then `slogate report` has to
//! find exactly these counts in the log that nginx wrote. Rows of the list of known faults are named where they are
//! met.

#[path = "support/nginx.rs"]
mod nginx;
#[path = "support/report.rs"]
mod report;
#[path = "support/traffic.rs"]
mod traffic;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::Value;

use nginx::Nginx;
use report::{Duration, Expected, Format, Sent};
use traffic::{Ask, Route};

/// The shipped format: nginx's `combined` with the time taken.
const TIMED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time"#;

/// JSON, escaped by nginx, numbers as numbers.
const JSON: &str = r#"{"time":"$time_iso8601","user":"$remote_user","request":"$request","status":$status,"agent":"$http_user_agent","referer":"$http_referer","duration":$request_time}"#;

/// Everything in another order, what clients send first, the request line in parts, the upstreams' times.
const SPLIT: &str = r#"$request_method $host "$request_uri" "$http_user_agent" upstream="$upstream_response_time" at=$msec status=$status"#;

/// A format in which nginx escapes what clients send, with the time in brackets.
fn timed() -> Format {
    Format {
        spec: format!("nginx = '{TIMED}'"),
        directive: format!("log_format timed '{TIMED}';"),
        name: "timed",
        zone: "UTC0",
        is_split: false,
        duration: Duration::Request,
        can_be_too_long: true,
        time: time_local,
    }
}

#[test]
fn the_shipped_format_is_counted_exactly() {
    let run = Run::of(timed(), everything());
    run.check();
    assert_eq!(report::exit_code_of_gate(run.specs.path(), &run.log), Some(1), "the API has spent its budget");
    let document = report::report(run.specs.path(), Some(run.at), std::slice::from_ref(&run.log));
    check_gates(&document);
    check_journey(&document);
}

#[test]
fn b15_combined_has_no_duration_and_says_so() {
    let format = Format {
        spec: r#"format = "combined""#.to_owned(),
        directive: String::new(),
        name: "combined",
        // c01: west of Greenwich.
        zone: "EST5",
        duration: Duration::None,
        ..timed()
    };
    Run::of(format, everything()).check();
}

#[test]
fn b09_json_is_counted_exactly() {
    let format = Format {
        spec: format!("nginx = 'escape=json {JSON}'"),
        directive: format!("log_format json escape=json '{JSON}';"),
        name: "json",
        // c01: east of it, by half an hour too.
        zone: "IST-5:30",
        time: |line| iso8601(between(line, "\"time\":\"", "\"")),
        ..timed()
    };
    Run::of(format, everything()).check();
}

#[test]
fn b15_fields_in_any_order_and_the_times_of_several_upstreams_are_counted_exactly() {
    let format = Format {
        spec: format!("nginx = '{SPLIT}'"),
        directive: format!("log_format split '{SPLIT}';"),
        name: "split",
        zone: "NZST-12",
        is_split: true,
        duration: Duration::Upstream,
        can_be_too_long: false,
        time: |line| seconds(between(line, "\" at=", " ")),
    };
    let run = Run::of(format, [everything(), traffic::hosts()].concat());
    assert!(run.text.contains("upstream=\"0.000, 2.5"), "an upstream was down, another slow");
    run.check();
}

#[test]
fn compressed_and_split_copies_give_the_same_document() {
    let run = Run::of(timed(), [traffic::plain(), traffic::hostile_headers()].concat());
    run.check();
    let whole = without_samples(report::report(run.specs.path(), Some(run.at), std::slice::from_ref(&run.log)));
    let bytes = fs::read(&run.log).expect("the log is there");
    let middle = bytes.iter().take(bytes.len() / 2).rposition(|byte| *byte == b'\n').expect("there are lines") + 1;
    let first = run.copy("first.log", &bytes[..middle]);
    let second = run.copy("second.log", &bytes[middle..]);
    let members = [compressed("gzip", &first, "gz"), compressed("gzip", &second, "gz")];
    let frames = [compressed("zstd", &first, "zst"), compressed("zstd", &second, "zst")];
    let joined = |files: &[PathBuf]| files.iter().flat_map(|file| fs::read(file).expect("a copy")).collect::<Vec<u8>>();
    for files in [
        vec![compressed("gzip", &run.log, "gz")],
        vec![compressed("zstd", &run.log, "zst")],
        vec![first.clone(), second.clone()],
        vec![second.clone(), first.clone()],
        vec![members[1].clone(), frames[0].clone()],
        vec![first.clone(), members[1].clone()],
        vec![run.copy("members.log.gz", &joined(&members))],
        vec![run.copy("frames.log.zst", &joined(&frames))],
    ] {
        let document = report::report(run.specs.path(), Some(run.at), &files);
        assert_eq!(without_samples(document), whole, "{files:?}");
    }
    let document = report::report_of_stdin(run.specs.path(), Some(run.at), &bytes);
    assert_eq!(without_samples(document), whole, "standard input");

    let newest = report::reported(&report::report(run.specs.path(), None, std::slice::from_ref(&run.log)));
    let expected = report::reported(&whole);
    for slo in ["profile/availability", "profile/latency"] {
        assert_eq!(newest.slos[slo], expected.slos[slo], "{slo} as of the newest event");
    }
    assert_eq!((newest.records, newest.matched), (expected.records, expected.matched), "as of the newest event");
}

#[test]
fn a01_a_log_that_logrotate_moved_aside_counts_with_its_successor() {
    let run = Run::rotated(timed(), traffic::plain());
    let older = compressed("gzip", &run.log.with_extension("log.1"), "gz");
    let expected = Expected::of(&run.sent, &run.format, &run.text, run.at);
    let document = report::report(run.specs.path(), Some(run.at), &[run.log.clone(), older]);
    assert_eq!(report::reported(&document), expected);
}

/// The whole mix, but for what is sent side by side.
fn everything() -> Vec<Ask> {
    [traffic::plain(), traffic::odd_statuses(), traffic::hostile_lines(), traffic::hostile_headers()].concat()
}

/// One nginx's life: what was sent, and the log it left.
struct Run {
    format: Format,
    sent: Vec<Sent>,
    specs: tempfile::TempDir,
    /// Keeps the log.
    _nginx: Nginx,
    log: PathBuf,
    /// All of the log, rotated parts first.
    text: String,
    /// After the last request, in a later minute, so that every slice with traffic has ended.
    at: DateTime<Utc>,
}

impl Run {
    /// Sends `asks` one by one, and what takes time side by side.
    fn of(format: Format, asks: Vec<Ask>) -> Self {
        let nginx = Nginx::start(&format.directive, format.name, format.zone);
        let mut sent = vec![send(&nginx, &marker())];
        sent.extend(asks.iter().map(|ask| send(&nginx, ask)));
        sent.extend(send_side_by_side(&nginx, &[traffic::slow(), traffic::unfinished()].concat()));
        sent.extend(send_pipelined(&nginx));
        sent.extend(leave_early(&nginx));
        sent.push(send(&nginx, &marker()));
        Self::finish(format, nginx, sent, None)
    }

    /// Sends `asks` twice, and rotates the log in between.
    fn rotated(format: Format, asks: Vec<Ask>) -> Self {
        let nginx = Nginx::start(&format.directive, format.name, format.zone);
        let mut sent = vec![send(&nginx, &marker())];
        sent.extend(asks.iter().map(|ask| send(&nginx, ask)));
        let older = nginx.rotate("access.log.1");
        sent.extend(asks.iter().map(|ask| send(&nginx, ask)));
        sent.push(send(&nginx, &marker()));
        Self::finish(format, nginx, sent, Some(older))
    }

    fn finish(format: Format, mut nginx: Nginx, sent: Vec<Sent>, older: Option<PathBuf>) -> Self {
        let log = nginx.stop();
        let bytes: Vec<u8> = older.iter().chain([&log]).flat_map(|path| fs::read(path).expect("a log")).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, sent.len(), "nginx wrote a line for each request that the test knows of:\n{text}");
        let markers = text.lines().filter(|line| line.contains(report::MARKER)).map(format.time);
        let last = markers.max().expect("markers were sent");
        let at = Utc.timestamp_opt(last.timestamp() / 60 * 60, 0).single().expect("a time") + TimeDelta::minutes(2);
        let specs = tempfile::tempdir().expect("a temporary directory");
        report::write_specs(specs.path(), &format);
        Self { format, sent, specs, _nginx: nginx, log, text, at }
    }

    /// Asserts that the report on the log has the counts of what was sent.
    fn check(&self) {
        let expected = Expected::of(&self.sent, &self.format, &self.text, self.at);
        let document = report::report(self.specs.path(), Some(self.at), std::slice::from_ref(&self.log));
        assert_eq!(report::reported(&document), expected, "left: reported, right: sent; log:\n{}", self.text);
    }

    fn copy(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.log.with_file_name(name);
        fs::write(&path, bytes).expect("a copy is written");
        path
    }
}

fn marker() -> Ask {
    Ask::get(report::MARKER, Route::Elsewhere).finished()
}

fn send(nginx: &Nginx, ask: &Ask) -> Sent {
    let answered = nginx.send(&ask.bytes);
    let status = ask.unseen.or(answered);
    let status = status.unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(&ask.bytes)));
    Sent { ask: ask.clone(), status }
}

fn send_side_by_side(nginx: &Nginx, asks: &[Ask]) -> Vec<Sent> {
    thread::scope(|scope| {
        let sending: Vec<_> = asks.iter().map(|ask| scope.spawn(move || send(nginx, ask))).collect();
        sending.into_iter().map(|one| one.join().expect("it was answered")).collect()
    })
}

/// Several requests on one connection, each with a line of its own.
fn send_pipelined(nginx: &Nginx) -> Vec<Sent> {
    let ask = |target: &str, route, status| {
        let line = format!("GET {target} HTTP/1.1\r\n");
        Ask::raw(line, route).header("Host", "shop.example").answered(status)
    };
    let asks: Vec<Ask> = [
        ask("/profile/ada", Route::Profile, 200).finished(),
        ask("/profile/ada/avatar", Route::Avatar, 503).finished(),
        ask("/profile/ada", Route::Profile, 500).finished(),
        ask("/", Route::Elsewhere, 200).header("Connection", "close").finished(),
    ]
    .into();
    let statuses = nginx.send_pipelined(&asks.iter().flat_map(|ask| ask.bytes.clone()).collect::<Vec<u8>>());
    assert_eq!(statuses, [200, 503, 500, 200]);
    asks.into_iter().zip(statuses).map(|(ask, status)| Sent { ask, status }).collect()
}

/// b13: clients that leave while the backend works; nginx logs 499.
fn leave_early(nginx: &Nginx) -> Vec<Sent> {
    let asks = [("/profile/ada/avatar", Route::Avatar), ("/elsewhere", Route::Elsewhere)];
    let leave = |(target, route)| {
        let ask = Ask::get(target, route).header("X-Hold", "1").finished();
        nginx.send_and_leave(&ask.bytes);
        Sent { ask, status: 499 }
    };
    asks.map(leave).into()
}

/// The document but for the examples of refused lines, of which any will do.
fn without_samples(mut document: Value) -> Value {
    for source in document["sources"].as_array_mut().expect("sources are listed") {
        source.as_object_mut().expect("a source is an object").remove("samples");
    }
    document
}

/// The service that carries the profile has spent its budget; the one whose story never fails has not.
fn check_gates(document: &Value) {
    let gate = |service: &str| {
        let gates = document["gates"].as_array().expect("gates are listed");
        gates.iter().find(|gate| gate["service"] == service).unwrap_or_else(|| panic!("no gate of {service}"))
    };
    assert_eq!((gate("api")["level"].as_str(), gate("api")["allow"].as_bool()), (Some("frozen"), Some(false)));
    assert_eq!(gate("api")["reasons"][0]["kind"], "budget_spent");
    assert_eq!(gate("glacial")["level"], "frozen");
}

/// The journey's compliance is that of the weighted counts of its members.
fn check_journey(document: &Value) {
    let slos = report::reported(document).slos;
    let ((good_1, bad_1), (good_3, bad_3)) = (slos["profile/availability"], slos["profile/without-aborts"]);
    let expected = (good_1 + 3 * good_3) as f64 / (good_1 + bad_1 + 3 * (good_3 + bad_3)) as f64;
    let compliance = document["journeys"][0]["compliance"].as_f64().expect("the journey has data");
    assert!((compliance - expected).abs() < 1e-12, "{compliance} is not {expected}");
}

/// `file` compressed by the real program, beside it.
fn compressed(program: &str, file: &Path, extension: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    let path = PathBuf::from(name);
    let output = File::create(&path).expect("a copy is written");
    let mut command = Command::new(program);
    command.args(["-q", "-c"]).stdin(File::open(file).expect("the log is there")).stdout(Stdio::from(output));
    assert!(command.status().expect("tests/run.sh installs it").success(), "{program} of {}", file.display());
    path
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("no {before} in {line}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} in {line}")).0
}

fn time_local(line: &str) -> DateTime<Utc> {
    let text = between(line, " - - [", "]");
    DateTime::parse_from_str(text, "%d/%b/%Y:%H:%M:%S %z").expect("nginx writes $time_local so").to_utc()
}

fn iso8601(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("nginx writes $time_iso8601 so").to_utc()
}

fn seconds(text: &str) -> DateTime<Utc> {
    let millis = text.replace('.', "").parse().expect("nginx writes $msec so");
    DateTime::from_timestamp_millis(millis).expect("$msec is a time")
}
