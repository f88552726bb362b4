//! How long the observations of scraped histograms took, against targets that keep each of them.

use serde_json::{Value, json};

use super::server::{Place, converse};
use super::target::Target;
use super::{place, tally, targets, wait, wait_for_pages};

const FAST: &str = r#"
[story]
name = "api"
service = "api"

[[slo]]
name = "fast"
objective = 90.0
[slo.histogram]
source    = "app"
metric    = 'request_seconds{route="/"}'
threshold = "500ms"
"#;

const PERCENTILES: [(&str, usize); 5] = [("p50", 500), ("p90", 900), ("p95", 950), ("p99", 990), ("p99.9", 999)];
/// What 28 days and an hour are answered with, all of it having happened just now.
const WINDOWS: [&str; 2] = ["28d", "1h"];

/// A histogram of a target, in milliseconds.
struct Histogram<'a> {
    target: &'a Target,
    bounds: Vec<u64>,
}

impl Histogram<'_> {
    fn series(&self, bound: Option<u64>) -> String {
        let le = bound.map_or("+Inf".to_owned(), |bound| (bound as f64 / 1e3).to_string());
        format!("request_seconds_bucket{{route=\"/\",le=\"{le}\"}}")
    }

    fn all_series(&self) -> Vec<String> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.map(|bound| self.series(bound)).collect()
    }

    /// Shows its buckets with nothing in them.
    fn begin(&self) {
        self.all_series().iter().for_each(|series| self.target.count(series, 0));
    }

    fn end(&self) {
        self.all_series().iter().for_each(|series| self.target.drop_series(series));
    }

    /// Observes durations, largest bucket first: a page in between shows a duration that is in no smaller one yet.
    fn observe(&self, millis: &[u64], books: &mut Books) {
        for one in millis {
            self.target.count(&self.series(None), 1);
            for bound in self.bounds.iter().rev().filter(|bound| one <= bound) {
                self.target.count(&self.series(Some(*bound)), 1);
            }
            books.lower.push(self.bounds.iter().rfind(|bound| *bound < one).copied().unwrap_or(0));
            books.upper.push(self.bounds.iter().find(|bound| *bound >= one).copied());
        }
    }
}

/// The bounds of every observation.
#[derive(Default)]
struct Books {
    lower: Vec<u64>,
    upper: Vec<Option<u64>>,
}

impl Books {
    /// The bounds of each percentile, as the API tells them.
    fn bounds(&self) -> Value {
        let (mut lower, mut upper) = (self.lower.clone(), self.upper.clone());
        lower.sort_unstable();
        upper.sort_unstable_by_key(|bound| bound.unwrap_or(u64::MAX));
        let seconds = |millis: u64| millis as f64 / 1e3;
        let of = |per_thousand: usize| {
            let place = (lower.len() * per_thousand).div_ceil(1_000) - 1;
            json!({ "lower": seconds(lower[place]), "upper": upper[place].map(seconds) })
        };
        PERCENTILES.iter().map(|(name, per_thousand)| ((*name).to_owned(), of(*per_thousand))).collect()
    }
}

fn latency(place: &Place, window: &str) -> Value {
    place.get(&format!("/api/v1/slos/api/fast/latency?window={window}"))
}

/// Waits until every place that tells percentiles tells those of the books.
#[track_caller]
fn check(place: &Place, books: &Books) {
    let expected = books.bounds();
    for window in WINDOWS {
        wait(place, &format!("{expected} and not {}", latency(place, window)), || {
            let latency = latency(place, window);
            latency["requests"] == books.lower.len() && latency["bounds"] == expected
        });
        let latency = latency(place, window);
        for (name, _) in PERCENTILES {
            assert_eq!(latency["seconds"][name], expected[name]["upper"], "{name} of {latency:#}");
        }
        assert_eq!(latency["relative_error"], Value::Null);
    }
    wait(place, "the status", || place.get("/api/v1/slos/api/fast")["latency"]["bounds"] == expected);
    let (status, metrics) = converse(place.address, "GET", "/metrics", &[], None).expect("an answer");
    assert_eq!(status, 200);
    for (name, bound) in
        [("slogate_slo_latency_seconds", "upper"), ("slogate_slo_latency_lower_bound_seconds", "lower")]
    {
        for ((percentile, _), window) in PERCENTILES.iter().flat_map(|of| WINDOWS.map(|window| (of, window))) {
            let series = format!(
                "{name}{{story=\"api\",slo=\"fast\",service=\"api\",percentile=\"{percentile}\",window=\"{window}\"}}"
            );
            let line = metrics.lines().find_map(|line| line.strip_prefix(&*series)).expect("a sample");
            let told: f64 = line.trim().parse().expect("a number");
            assert_eq!(told, expected[percentile][bound].as_f64().unwrap_or(f64::INFINITY), "{series}");
        }
    }
}

#[test]
fn d19_percentiles_lie_between_the_bounds_of_every_target_through_changes_of_them_and_a_crash() {
    let (one, two) = (Target::new(), Target::new());
    let coarse = Histogram { target: &one, bounds: vec![100, 500, 1_000] };
    let fine = Histogram { target: &two, bounds: vec![50, 250, 500, 2_500] };
    coarse.begin();
    fine.begin();
    let place = place(&targets(&[&one, &two]), FAST);
    let server = place.start();
    wait_for_pages(&place, &[&one, &two]);
    assert_eq!(latency(&place, "28d")["bounds"]["p50"], Value::Null, "nothing was observed");

    let mut books = Books::default();
    coarse.observe(&[20, 80, 100, 101, 400, 450, 700], &mut books);
    fine.observe(&[10, 30, 30, 60, 240, 260, 2_400], &mut books);
    check(&place, &books);
    assert_eq!(tally(&place, "api/fast"), (12, 2));

    // Beyond every bound: nobody knows how far.
    fine.observe(&[9_000], &mut books);
    check(&place, &books);
    assert_eq!(latency(&place, "28d")["seconds"]["p99.9"], Value::Null);
    assert_eq!(latency(&place, "28d")["bounds"]["p99.9"]["lower"], 2.5);

    // Other bounds are a new baseline, and what was counted between the old ones stays as it was.
    coarse.end();
    let other = Histogram { target: &one, bounds: vec![200, 500] };
    other.begin();
    wait_for_pages(&place, &[&one]);
    other.observe(&[150, 199, 300, 600], &mut books);
    check(&place, &books);

    assert!(server.kill().is_none(), "it was still running");
    other.observe(&[1, 2, 3], &mut books);
    let server = place.start();
    check(&place, &books);
    assert_eq!(tally(&place, "api/fast"), (18, 4));
    assert!(server.stop().success());
}
