//! What is shipped for Prometheus and Grafana, before a real Prometheus that scrapes a real slogate: every query of the
//! dashboard has an answer, the alerts fire, and what Prometheus has stored is what was in the log.

#[path = "../serve/lines.rs"]
#[allow(dead_code, reason = "shared with a test that writes logs in more ways than this one does")]
mod lines;
#[allow(dead_code, reason = "shared with a test that scrapes Prometheus itself")]
mod peer;
mod queries;
#[path = "../serve/server.rs"]
#[allow(dead_code, reason = "shared with a test that does more to its server than this one does")]
mod server;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use slogate::time::{Clock, Stopwatch, SystemClock};

use lines::Log;
use peer::{Prometheus, SHIPPED, word};
use queries::{Query, Way, filled};
use server::{PATIENCE_MS, Place, converse};

/// How often Prometheus is asked again for what it does not have yet.
const GLANCE: Duration = Duration::from_millis(50);

const JOURNEY: &str = r#"
[journey]
name = "browse"
objective = 99.0
stories = [{ story = "shop", slo = "availability", weight = 2.0 }, { story = "search", slo = "availability", weight = 1.0 }]
"#;

/// A story that nobody asks for, so that there is a gate without evidence.
const QUIET: &str = r#"
[story]
name = "quiet"

[[slo]]
name = "availability"
objective = 99.0
[slo.availability]
source = "lb"
requests = ["GET /quiet"]
"#;

/// A story about slogate's own counters, which it scrapes.
const OWN: &str = r#"
[story]
name = "own"
service = "api"

[[slo]]
name = "whole"
objective = 99.0
[slo.ratio]
source = "own"
total = 'slogate_ingest_records_total{source="lb"}'
bad = 'slogate_ingest_gaps_total'
"#;

/// A slogate with a frozen, an open and an unknown gate, and a journey, once its log has been read. It scrapes itself,
/// and a target that is not there.
fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("specs/own.toml"), OWN).expect("written");
    let engine = fs::read_to_string(place.path("specs/slogate.toml")).expect("written before");
    let targets = format!("\"http://{}/metrics\", \"http://127.0.0.1:1/metrics\"", place.address);
    let own = format!("[[source]]\nname = \"own\"\n[source.scrape]\ntargets = [{targets}]\ninterval = \"1s\"\n");
    fs::write(place.path("specs/slogate.toml"), engine + &own).expect("written");
    fs::write(place.path("specs/browse.toml"), JOURNEY).expect("written");
    fs::write(place.path("specs/quiet.toml"), QUIET).expect("written");
    place
}

/// Waits until it holds.
#[track_caller]
fn wait_until(what: &str, prometheus: &Prometheus, mut holds: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        assert!(watch.elapsed_ms() < PATIENCE_MS, "{what}: not yet\nwords:\n{}", prometheus.words());
        thread::sleep(GLANCE);
    }
}

/// What Grafana fills in, when everything is chosen.
const ALL: [(&str, &str); 8] = [
    ("instance", ".*"),
    ("service", ".*"),
    ("story", ".*"),
    ("slo", ".*"),
    ("window", "(1h|6h)"),
    ("__rate_interval", "30s"),
    ("__interval", "1s"),
    ("__range", "1m"),
];

/// What it fills in, when one SLO is.
const ONE: [(&str, &str); 8] = [
    ("instance", ".*"),
    ("service", "api"),
    ("story", "shop"),
    ("slo", "availability"),
    ("window", "(1h|6h)"),
    ("__rate_interval", "30s"),
    ("__interval", "1s"),
    ("__range", "1m"),
];

/// The labels and values of each series that answers a query, or of each value of a variable.
fn answer(prometheus: &Prometheus, query: &Query, values: &[(&str, &str)]) -> Vec<(Value, Vec<f64>)> {
    let expression = filled(&query.expression, values);
    let now = SystemClock.now().millis() / 1_000;
    let (begin, end) = ((now - 60).to_string(), (now + 1).to_string());
    let number = |pair: &Value| word(&pair[1]).parse().expect("a number");
    let data = match &query.way {
        Way::Instant => prometheus.ask("query", &[("query", &expression)]),
        Way::Range => {
            let range = [("query", &*expression), ("start", &begin), ("end", &end), ("step", "1s")];
            prometheus.ask("query_range", &range)
        }
        Way::LabelValues(label) => {
            let found = prometheus.ask(&format!("label/{label}/values"), &[("match[]", &expression)]);
            let found = found.and_then(|found| found.as_array().cloned()).unwrap_or_default();
            return found.into_iter().map(|value| (value, Vec::new())).collect();
        }
    };
    let series = data.and_then(|data| data["result"].as_array().cloned()).unwrap_or_default();
    let values = |one: &Value| match one["values"].as_array() {
        Some(values) => values.iter().map(number).collect(),
        None => vec![number(&one["value"])],
    };
    series.iter().map(|one| (one["metric"].clone(), values(one))).collect()
}

/// Asserts that every series has the labels that are shown, and numbers that can be drawn.
fn check(query: &Query, answer: &[(Value, Vec<f64>)]) {
    for (labels, values) in answer {
        for shown in &query.shown {
            assert!(labels[shown].is_string(), "{}: {labels} has no {shown}, which is shown", query.of);
        }
        assert!(values.iter().all(|value| value.is_finite()), "{}: {labels} {values:?}", query.of);
    }
}

#[test]
fn every_query_of_the_dashboard_has_an_answer() {
    let place = place();
    let mut log = Log::open(&place.log());
    log.write(1_000);
    let server = place.start();
    let prometheus = Prometheus::scraping(place.address);
    let text = fs::read_to_string(format!("{SHIPPED}/overview.json")).expect("it is shipped");
    let queries = queries::of(&serde_json::from_str(&text).expect("JSON"));
    assert!(queries.len() > 40, "{}", queries.len());

    let mut unanswered: Vec<&Query> = queries.iter().collect();
    let watch = Stopwatch::start();
    while !unanswered.is_empty() {
        let these: Vec<String> = unanswered.iter().map(|query| format!("{}: {}", query.of, query.expression)).collect();
        assert!(watch.elapsed_ms() < PATIENCE_MS, "no answer to {these:#?}\nwords:\n{}", prometheus.words());
        log.write(20);
        unanswered.retain(|query| answer(&prometheus, query, &ALL).is_empty());
        thread::sleep(GLANCE);
    }
    for query in &queries {
        check(query, &answer(&prometheus, query, &ALL));
    }
    values_of_variables(&prometheus, &queries);
    gates_are_told_by_number(&prometheus, &queries);
    a_choice_narrows(&prometheus, &queries, &mut log);
    what_is_stored_is_what_was_logged(&prometheus, &log);
    assert!(server.stop().success());
}

fn values_of_variables(prometheus: &Prometheus, queries: &[Query]) {
    for (label, expected) in [
        ("service", &["api", "quiet", "search"][..]),
        ("story", &["own", "quiet", "search", "shop"]),
        ("slo", &["availability", "latency", "whole"]),
        ("window", &["1d", "1h", "28d", "2h", "30m", "3d", "5m", "6h"]),
    ] {
        let is_it = |query: &&Query| query.way == Way::LabelValues(label.to_owned());
        let query = queries.iter().find(is_it).expect("there is such a variable");
        let found: Vec<Value> = answer(prometheus, query, &ALL).into_iter().map(|(value, _)| value).collect();
        assert_eq!(found, expected, "{label}");
    }
}

/// The panels of gates show words and colours for the numbers 0 to 3.
fn gates_are_told_by_number(prometheus: &Prometheus, queries: &[Query]) {
    let panel = |query: &&Query| query.of == "panel \"Gates\"";
    let expression = &queries.iter().find(panel).expect("there is such a panel").expression;
    let samples = prometheus.samples(&filled(expression, &ALL));
    let expected = [("service=api", 3.0), ("service=quiet", 2.0), ("service=search", 0.0)];
    assert_eq!(samples, expected.map(|(labels, value)| (labels.to_owned(), value)));
}

/// With one SLO chosen, nothing of others is shown, and the panels still have something to show while lines arrive.
fn a_choice_narrows(prometheus: &Prometheus, queries: &[Query], log: &mut Log) {
    let watch = Stopwatch::start();
    for query in queries.iter().filter(|query| query.of.starts_with("panel")) {
        let mut found = answer(prometheus, query, &ONE);
        while found.is_empty() {
            assert!(watch.elapsed_ms() < PATIENCE_MS, "no answer to {}: {}", query.of, query.expression);
            log.write(20);
            thread::sleep(GLANCE);
            found = answer(prometheus, query, &ONE);
        }
        for (labels, _) in found {
            for (label, chosen) in [("service", "api"), ("story", "shop"), ("slo", "availability")] {
                assert!(labels[label].is_null() || labels[label] == chosen, "{}: {labels}", query.of);
            }
        }
    }
}

/// From the log to Prometheus nothing is lost or doubled.
fn what_is_stored_is_what_was_logged(prometheus: &Prometheus, log: &Log) {
    let mut expected = BTreeSet::new();
    for (slo, (good, bad)) in &log.expected.slos {
        let (story, slo) = slo.split_once('/').expect("story/slo");
        for (result, count) in [("good", good), ("bad", bad)] {
            expected.insert(format!("result={result},slo={slo},story={story}: {count}"));
        }
    }
    for (reason, count) in &log.expected.rejected {
        expected.insert(format!("reason={reason},source=lb: {count}"));
    }
    expected.insert(format!("source=lb: {}", log.expected.records));
    let events = r#"sum without (service) (slogate_slo_events_total{story!~"quiet|own"})"#;
    let stored = || {
        let records = r#"slogate_ingest_records_total{source="lb"}"#;
        let all = [events, records, "slogate_ingest_rejected_total > 0"];
        let samples = all.iter().flat_map(|expression| prometheus.samples(expression));
        samples.map(|(labels, value)| format!("{labels}: {value}")).collect::<BTreeSet<String>>()
    };
    wait_until(&format!("{expected:#?}"), prometheus, || stored() == expected);
}

#[test]
fn the_alerts_fire_over_a_real_server() {
    let place = place();
    let mut log = Log::open(&place.log());
    log.write(1_000);
    let _server = place.start();
    let prometheus = Prometheus::scraping(place.address);
    // A tenth of the requests fails: ten times what the shop promises, which is a page over 6 hours and not over one,
    // and a fifth of what the search does.
    let page = "alertname=ErrorBudgetBurnsFast,alertstate=firing,service=api,severity=page,short=30m,slo=availability,story=shop";
    let frozen = "alertname=GateFrozen,alertstate=firing,level=frozen,service=api,severity=info";
    let expected = [format!("{page},window=6h"), frozen.to_owned()].map(|labels| (labels, 1.0));
    let firing = || prometheus.samples(r#"ALERTS{alertstate="firing"}"#);
    wait_until("the alerts", &prometheus, || firing() == expected);
}

#[test]
fn the_alerts_fire_when_they_should_and_not_before() {
    promtool(&["test", "rules", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/prometheus/alerts.yml")], "");
    promtool(&["check", "config", &format!("{SHIPPED}/prometheus.yml")], "");
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    let place = place();
    let mut log = Log::open(&place.log());
    log.write(100);
    let server = place.start();
    let (status, metrics) = converse(place.address, "GET", "/metrics", &[], None).expect("metrics");
    assert_eq!(status, 200);
    let said = promtool(&["check", "metrics"], &metrics);
    assert_eq!(said, "");
    assert!(server.stop().success());
}

/// Runs it with this input, and asserts that it is content; what it said.
#[track_caller]
fn promtool(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("promtool (tests/run.sh installs it) runs");
    process.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = process.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}
