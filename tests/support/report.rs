//! What `slogate report` must say about traffic whose every request is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::traffic::{Ask, Route};

/// A log format as nginx and slogate are told about it, and what the test knows about its lines.
pub struct Format {
    /// The line of `slogate.toml`.
    pub spec: String,
    /// nginx's directive, empty for a format that it knows.
    pub directive: String,
    /// Its name in nginx.
    pub name: &'static str,
    /// nginx's POSIX time zone.
    pub zone: &'static str,
    /// Whether method, host and target stand apart, as nginx understood them.
    pub is_split: bool,
    /// Where the time taken is from.
    pub duration: Duration,
    /// Whether it has both user agent and referer, so that a line can be longer than 64 KiB.
    pub can_be_too_long: bool,
    /// Reads the time of a harmless line.
    pub time: fn(&str) -> DateTime<Utc>,
}

/// Where the time taken is from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Duration {
    /// Nowhere.
    None,
    /// Every line.
    Request,
    /// Lines of requests that an upstream took part in.
    Upstream,
}

/// The target of a harmless request with which each run begins and ends, on no route.
pub const MARKER: &str = "/marker";

/// A request that was sent, and the status that nginx logged for it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub ask: Ask,
    pub status: u16,
}

/// Counts of good and bad.
pub type Counts = (u64, u64);

/// What must be counted: the tallies of the SLOs by `story/slo`, and the source's records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub slos: BTreeMap<String, Counts>,
    pub records: u64,
    pub matched: u64,
    pub unmatched: u64,
    pub rejected: BTreeMap<String, u64>,
    pub missing: u64,
}

impl Expected {
    /// Judges what was sent by the words of the contract, one request at a time. The slices, whose number depends on
    /// the minutes of the run, come from the log's own times; their verdicts do not.
    pub fn of(sent: &[Sent], format: &Format, log: &str, at: DateTime<Utc>) -> Self {
        let mut expected = Self { records: sent.len() as u64, ..Self::default() };
        for slo in ["availability", "without-aborts", "latency", "latency-of-successes"] {
            expected.set(&format!("profile/{slo}"), (0, 0));
        }
        for Sent { ask, status } in sent {
            if !(100..600).contains(status) {
                *expected.rejected.entry("unparsed".to_owned()).or_default() += 1;
            } else {
                expected.count(ask, *status, format);
            }
        }
        let steady = minutes(log, format, "/steady/");
        let glacial = minutes(log, format, "/glacial/");
        let has_duration = format.duration != Duration::None;
        expected.set("steady/p99", if has_duration { (steady, 0) } else { (0, 0) });
        expected.set("glacial/p50", if has_duration { (0, glacial) } else { (0, 0) });
        // From the minute of the first record to the last one that has ended; those without traffic are bad.
        let first = log.lines().find(|line| line.contains(MARKER)).map(format.time).expect("markers were sent");
        let heard = (at.timestamp() / 60 - first.timestamp() / 60) as u64;
        expected.set("steady/throughput", (steady, heard - steady));
        expected
    }

    fn count(&mut self, ask: &Ask, status: u16, format: &Format) {
        let route = if format.is_split { ask.split_route } else { ask.route };
        match route {
            Route::Elsewhere => self.unmatched += 1,
            _ => self.matched += 1,
        }
        let answered = status < 500;
        if matches!(route, Route::Profile | Route::Avatar) {
            self.add("profile/availability", answered);
            if status != 499 {
                self.add("profile/without-aborts", answered);
            }
        }
        if route == Route::Tenant {
            self.add("tenant/availability", answered);
        }
        let is_cut_off = ask.too_long && format.can_be_too_long;
        let has_duration = match format.duration {
            Duration::None => false,
            Duration::Request => !is_cut_off,
            Duration::Upstream => ask.upstream,
        };
        let wants_duration = matches!(route, Route::Profile | Route::Steady | Route::Glacial);
        self.missing += u64::from(wants_duration && !has_duration);
        if route == Route::Profile && has_duration {
            self.add("profile/latency", !ask.slow);
            if (200..300).contains(&status) {
                self.add("profile/latency-of-successes", !ask.slow);
            }
        }
    }

    fn add(&mut self, slo: &str, good: bool) {
        let counts = self.slos.entry(slo.to_owned()).or_default();
        match good {
            true => counts.0 += 1,
            false => counts.1 += 1,
        }
    }

    fn set(&mut self, slo: &str, counts: Counts) {
        self.slos.insert(slo.to_owned(), counts);
    }
}

/// In how many different minutes the log has lines that hold `text`.
fn minutes(log: &str, format: &Format, text: &str) -> u64 {
    let lines = log.lines().filter(|line| line.contains(text));
    lines.map(|line| (format.time)(line).timestamp() / 60).collect::<BTreeSet<_>>().len() as u64
}

/// Writes the specs for `format` into `directory`.
pub fn write_specs(directory: &Path, format: &Format) {
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("a spec is written");
    write("slogate.toml", &format!("{}\n{}\n{}", ENGINE_BEFORE, format.spec, ENGINE_AFTER));
    write("profile.toml", PROFILE);
    write("steady.toml", STEADY);
    write("glacial.toml", GLACIAL);
    write("journey.toml", JOURNEY);
    if format.is_split {
        write("tenant.toml", TENANT);
    }
}

const ENGINE_BEFORE: &str = r#"
[server]
listen = "127.0.0.1:9999"

[[source]]
name = "lb"
[source.file]
paths = ["access.log*"]"#;

const ENGINE_AFTER: &str = r#"
[gate]
on_unknown = "deny"
min_events = 1
"#;

const PROFILE: &str = r#"
[story]
name    = "profile"
title   = "User profile"
service = "api"

[[slo]]
name      = "availability"
objective = 99.95
[slo.availability]
source   = "lb"
requests = ["GET /profile/{user}", "GET /profile/{user}/avatar"]

[[slo]]
name      = "without-aborts"
objective = 99.95
[slo.availability]
source   = "lb"
requests = ["GET /profile/{user}", "GET /profile/{user}/avatar", "GET /profile/ada"]
ignore   = ["499"]

[[slo]]
name      = "latency"
objective = 90.0
[slo.latency]
source    = "lb"
requests  = ["GET /profile/{user}"]
threshold = "2s"

[[slo]]
name      = "latency-of-successes"
objective = 90.0
[slo.latency]
source    = "lb"
requests  = ["GET /profile/{user}"]
threshold = "2s"
count     = ["2xx"]
"#;

const STEADY: &str = r#"
[story]
name = "steady"

[[slo]]
name      = "p99"
objective = 90.0
[slo.percentile]
source     = "lb"
requests   = ["GET /steady/{n}"]
percentile = 99.0
threshold  = "2s"
slice      = "1m"

[[slo]]
name      = "throughput"
objective = 50.0
[slo.throughput]
source   = "lb"
requests = ["GET /steady/{n}"]
minimum  = 0.01
slice    = "1m"
"#;

const GLACIAL: &str = r#"
[story]
name = "glacial"

[[slo]]
name      = "p50"
objective = 90.0
[slo.percentile]
source     = "lb"
requests   = ["GET /glacial/{n}"]
percentile = 50.0
threshold  = "2s"
slice      = "1m"
"#;

const TENANT: &str = r#"
[story]
name = "tenant"

[[slo]]
name      = "availability"
objective = 99.0
[slo.availability]
source   = "lb"
requests = ["GET /tenant/{name}"]
hosts    = ["shop.example", "*.shop.example"]
"#;

const JOURNEY: &str = r#"
[journey]
name      = "everything"
objective = 99.0
stories   = [ { story = "profile", slo = "availability", weight = 1.0 },
              { story = "profile", slo = "without-aborts", weight = 3.0 } ]
"#;

/// What the report says, in the shape of what must be counted. Every SLO's total must be the sum of its parts.
pub fn reported(document: &Value) -> Expected {
    let number = |value: &Value, name: &str| match &value[name] {
        Value::Null => panic!("no `{name}` in {value}"),
        number => number.as_u64().unwrap_or_else(|| panic!("`{name}` is no count in {value}")),
    };
    let list = |name: &str| document[name].as_array().unwrap_or_else(|| panic!("no list `{name}` in {document}"));
    let mut slos = BTreeMap::new();
    for slo in list("stories").iter().flat_map(|story| story["slos"].as_array().expect("a story has SLOs")) {
        let (good, bad) = (number(slo, "good"), number(slo, "bad"));
        assert_eq!(number(slo, "total"), good + bad, "{slo}");
        assert_eq!(slo["state"] == "no_data", good + bad == 0, "{slo}");
        assert_eq!(slo["compliance"].is_null(), good + bad == 0, "{slo}");
        let text = |name: &str| slo[name].as_str().expect("a name").to_owned();
        slos.insert(format!("{}/{}", text("story"), text("slo")), (good, bad));
    }
    let [source] = list("sources").as_slice() else { panic!("one source was asked for: {document}") };
    let rejected = source["rejected"].as_object().expect("`rejected` is an object");
    let rejected = rejected.iter().map(|(reason, count)| (reason.clone(), count.as_u64().expect("a count")));
    Expected {
        slos,
        records: number(source, "records"),
        matched: number(source, "matched"),
        unmatched: number(source, "unmatched"),
        rejected: rejected.filter(|(_, count)| *count > 0).collect(),
        missing: source["missing"]["duration"].as_u64().unwrap_or(0),
    }
}

/// Runs `slogate report --json` with these specs over these files; without `at` as of the newest event.
pub fn report(specs: &Path, at: Option<DateTime<Utc>>, files: &[PathBuf]) -> Value {
    document(&finished(command(specs, at).args(files)))
}

/// The same with `log` on standard input.
pub fn report_of_stdin(specs: &Path, at: Option<DateTime<Utc>>, log: &[u8]) -> Value {
    let mut command = command(specs, at);
    command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("slogate runs");
    process.stdin.take().expect("stdin is piped").write_all(log).expect("slogate reads its input");
    document(&process.wait_with_output().expect("slogate ends"))
}

/// The exit code under `--fail-on-frozen`.
pub fn exit_code_of_gate(specs: &Path, file: &Path) -> Option<i32> {
    finished(command(specs, None).arg("--fail-on-frozen").arg(file)).status.code()
}

fn command(specs: &Path, at: Option<DateTime<Utc>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slogate"));
    command.arg("report").arg("--specs").arg(specs).arg("--json");
    if let Some(at) = at {
        command.arg("--at").arg(at.to_rfc3339());
    }
    command
}

fn finished(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("slogate runs")
}

fn document(output: &Output) -> Value {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "slogate ended with {}:\n{words}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("standard output is not JSON: {error}\n{}\n{words}", String::from_utf8_lossy(&output.stdout))
    })
}
