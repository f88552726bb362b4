//! How long requests took, from the log to the report, against durations sorted by hand.

use serde_json::Value;

use crate::desk::{Desk, availability, line, slo};

const PERCENTILES: [(&str, u64); 5] = [("p50", 500), ("p90", 900), ("p95", 950), ("p99", 990), ("p99.9", 999)];

/// Asserts that a document's percentiles are those of durations in milliseconds, within the error that it states.
#[track_caller]
fn check(latency: &Value, durations_ms: &[u64]) {
    let mut sorted = durations_ms.to_vec();
    sorted.sort_unstable();
    assert_eq!(latency["requests"], sorted.len());
    let error = latency["relative_error"].as_f64().expect("an error");
    assert!(error < 0.01, "{error}");
    for (name, permille) in PERCENTILES {
        let rank = (permille * sorted.len() as u64).div_ceil(1_000);
        let exact = sorted[rank as usize - 1] as f64 / 1e3;
        let found = latency["seconds"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {latency}"));
        assert!(found >= exact && found <= exact * (1.0 + error), "{name}: {found} for {exact}");
    }
}

fn specs() -> String {
    availability("availability", "99.0", "", "ignore = [\"499\"]")
        + &slo("latency", "90.0", "latency", "threshold = \"500ms\"")
        + &slo("of-successes", "90.0", "latency", "threshold = \"500ms\"\ncount = [\"2xx\"]")
        + &slo("p99", "90.0", "percentile", "percentile = 99.0\nthreshold = \"500ms\"\nslice = \"1m\"")
}

#[test]
fn percentiles_are_those_of_the_requests_that_count() {
    let desk = Desk::new(&specs());
    let status = |number: u64| [200, 404, 499, 502][number as usize % 4];
    // Over three weeks, in no order, with requests of no duration and of no SLO among them.
    let duration_ms = |number: u64| number * number * 7_919 % 3_000 + 1;
    let numbers = || (0..900).map(|number| number * 397 % 900);
    let mut log = String::new();
    for number in numbers() {
        let seconds = -(number as i64) * 2_000;
        let ms = duration_ms(number);
        let taken = format!("{}.{:03}", ms / 1_000, ms % 1_000);
        log += &line(seconds, "GET /item/1", status(number), &taken);
        log += &line(seconds, "GET /item/1", status(number), "-");
        log += &line(seconds, "GET /elsewhere", 200, "9.999");
    }
    let document = desk.document_of(&log);
    let slos = document["stories"][0]["slos"].as_array().expect("SLOs");
    let of =
        |counts: fn(u64) -> bool| -> Vec<u64> { numbers().filter(|number| counts(*number)).map(duration_ms).collect() };
    check(&slos[0]["latency"], &of(|number| number % 4 != 2));
    check(&slos[1]["latency"], &of(|_| true));
    check(&slos[2]["latency"], &of(|number| number.is_multiple_of(4)));
    assert_eq!(slos[3]["latency"]["seconds"], slos[1]["latency"]["seconds"]);
    let tables = desk.report(&["access.log"]).stdout;
    assert!(tables.contains("How long requests took"), "{tables}");
    let tables = tables.split("\nGates\n").next().unwrap_or_default();
    assert!(!tables.contains("shop/availability  "), "only SLOs that promise durations have a row: {tables}");
}

#[test]
fn a_log_without_durations_has_no_latency() {
    let engine = "[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"access.log\"]\nformat = \"common\"\n\
                  [gate]\non_unknown = \"deny\"\n";
    let desk = Desk::with_engine(&availability("availability", "99.0", "", ""), engine);
    let document = desk.document_of("a - - [20/Nov/2026:10:12:00 +0000] \"GET /item/1 HTTP/1.1\" 200 5\n");
    let slo = &document["stories"][0]["slos"][0];
    assert_eq!((&slo["good"], slo.get("latency")), (&1.into(), None));
}
