//! `/metrics` as its readers parse it.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use prometheus_parse::{Scrape, Value};

use super::http::get;
use super::owner::{Server, Setup, catalog};

fn scrape(server: &Server) -> Scrape {
    let text = get(server.address, "/metrics").body;
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).expect("an exposition")
}

/// The samples by name and labels.
fn samples(scrape: &Scrape) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for sample in &scrape.samples {
        let labels: BTreeMap<&String, &String> = sample.labels.iter().collect();
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let value = match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
            _ => panic!("{sample:?} is neither a counter nor a gauge"),
        };
        let name = format!("{}{{{}}}", sample.metric, labels.join(","));
        assert!(found.insert(name, value).is_none(), "{sample:?} is there twice");
    }
    found
}

#[test]
fn metrics_are_those_of_the_contract() {
    let server = Server::start(Setup::default());
    server.fill();
    server.count("profile", "availability", 1, 0, 4);
    server.lose(Some(12));
    server.lose(None);
    let found = samples(&scrape(&server));
    let slo = "service=api,slo=availability,story=profile";
    for (name, value) in [
        (format!("slogate_slo_objective_ratio{{{slo}}}"), 0.9995),
        (format!("slogate_slo_compliance_ratio{{{slo}}}"), 10_000.0 / 10_004.0),
        (format!("slogate_slo_budget_remaining_ratio{{{slo}}}"), 1.0 - 4.0 / (10_004.0 * 0.0005)),
        (format!("slogate_slo_burn_rate{{{slo},window=28d}}"), 4.0 / (10_004.0 * 0.0005)),
        (format!("slogate_slo_burn_rate{{{slo},window=5m}}"), 4.0 / (10_004.0 * 0.0005)),
        (format!("slogate_slo_events_total{{result=good,{slo}}}"), 10_000.0),
        (format!("slogate_slo_events_total{{result=bad,{slo}}}"), 4.0),
        (format!("slogate_slo_latency_seconds{{percentile=p50,{slo},window=1h}}"), 0.020_095),
        (format!("slogate_slo_latency_seconds{{percentile=p99.9,{slo},window=28d}}"), 0.020_095),
        (
            format!(
                "slogate_alert_firing{{service=api,severity=page,short=5m,{},window=1h}}",
                &slo["service=api,".len()..]
            ),
            0.0,
        ),
        (
            format!(
                "slogate_alert_pending{{service=api,severity=ticket,short=6h,{},window=3d}}",
                &slo["service=api,".len()..]
            ),
            0.0,
        ),
        ("slogate_journey_compliance_ratio{journey=browse}".into(), 40_000.0 / 40_004.0),
        ("slogate_journey_budget_remaining_ratio{journey=browse}".into(), 1.0 - 4.0 / 40.004),
        ("slogate_gate_level{level=guarded,service=api}".into(), 1.0),
        ("slogate_gate_level{level=open,service=api}".into(), 0.0),
        ("slogate_gate_level{level=open,service=search}".into(), 1.0),
        ("slogate_ingest_records_total{source=lb}".into(), 30_004.0 + 4.0),
        ("slogate_ingest_rejected_total{reason=future,source=lb}".into(), 4.0),
        ("slogate_ingest_rejected_total{reason=unparsed,source=lb}".into(), 0.0),
        ("slogate_ingest_missing_field_total{field=duration,source=lb}".into(), 0.0),
        ("slogate_ingest_lag_seconds{source=lb}".into(), 0.0),
        ("slogate_ingest_lag_bytes{source=lb}".into(), 0.0),
        ("slogate_ingest_gaps_total{reason=rotated_away,source=lb}".into(), 2.0),
        ("slogate_ingest_gaps_total{reason=rotated_while_down,source=lb}".into(), 0.0),
        ("slogate_ingest_gap_bytes_total{source=lb}".into(), 12.0),
        ("slogate_ingest_degraded{reason=unparsed,source=lb}".into(), 0.0),
        ("slogate_store_healthy{}".into(), 1.0),
        ("slogate_specs_reloads_total{result=accepted}".into(), 0.0),
        ("slogate_specs_reloads_total{result=rejected}".into(), 0.0),
        ("slogate_specs_loaded_timestamp_seconds{}".into(), 1_795_169_520.0),
        ("slogate_specs_rejected{}".into(), 0.0),
        (format!("slogate_build_info{{version={}}}", env!("CARGO_PKG_VERSION")), 1.0),
    ] {
        let found = found.get(&name).unwrap_or_else(|| panic!("no {name} in {found:#?}"));
        assert!((found - value).abs() < 1e-9, "{name} is {found} and not {value}");
    }
}

#[test]
fn no_data_is_no_sample() {
    let server = Server::start(Setup::default());
    let found = samples(&scrape(&server));
    let absent = ["slogate_slo_compliance_ratio", "slogate_slo_burn_rate", "slogate_slo_latency", "slogate_ingest_lag"];
    assert!(!found.keys().any(|name| absent.iter().any(|absent| name.starts_with(absent))), "{found:#?}");
    assert!(found.values().all(|value| value.is_finite()));
}

/// The bound that the room's opening note states; traffic and clients cannot move it.
#[test]
fn j05_the_number_of_series_follows_from_the_specs() {
    let server = Server::start(Setup::default());
    server.fill();
    for odd in ["/x", "/api/v1/gates/nobody", "/api/v1/status?at=1", "/metrics?y"] {
        get(server.address, odd);
    }
    let catalog = catalog();
    let burns: usize =
        catalog.slos.iter().map(|slo| slogate::budget::burn_windows(slo.window, &slo.alerts).len()).sum();
    let series = catalog.slos.len() * 5 + burns + catalog.journeys.len() * 2;
    let alerts: usize = catalog.slos.iter().map(|slo| slo.alerts.len() * 2).sum();
    let latency = catalog.slos.len() * 2 * 5;
    let series = series + latency + alerts + catalog.services.len() * 4 + catalog.sources.len() * 26 + 2 + 4;
    let before = samples(&scrape(&server));
    assert_eq!(before.len(), series, "{before:#?}");
    server.count("search", "availability", 3, 5, 5);
    server.lose(None);
    server.garble(2_000);
    assert!(samples(&scrape(&server)).keys().eq(before.keys()));
}

/// Every family has its help and its type, once and before its samples; and Prometheus' own linter has nothing to say.
#[test]
fn the_exposition_is_sound() {
    let server = Server::start(Setup::default());
    server.fill();
    let text = get(server.address, "/metrics").body;
    let scrape = scrape(&server);
    let mut families: Vec<&str> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split([' ', '{']).collect();
        match words[..] {
            ["#", "HELP", family, ..] => {
                assert!(!families.contains(&family), "{family} twice");
                families.push(family);
            }
            ["#", "TYPE", family, kind] => {
                assert_eq!(families.last(), Some(&family), "{line}");
                assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
                assert!(scrape.docs.contains_key(family), "{family} has no help");
            }
            [family, ..] => assert_eq!(families.last(), Some(&family), "{line}"),
            [] => panic!("an empty line"),
        }
    }
    assert_eq!(families.len(), 27, "{families:?}");
    let promtool = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn();
    let mut promtool = promtool.expect("promtool, of Debian's package prometheus, which tests/run.sh installs");
    promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("promtool reads");
    assert!(promtool.wait().expect("promtool ends").success());
}
