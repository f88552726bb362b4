//! The page of metrics that the benches measure with: histograms, the same bytes every time.

use std::fmt::Write as _;

/// How many histograms of each metric a page has, to be about 5.3 MB.
const SERIES: usize = 469;

const BOUNDS: [&str; 14] =
    ["0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5", "5", "10", "+Inf"];
const METRICS: [&str; 6] = [
    "http_request_duration_seconds",
    "grpc_server_handling_seconds",
    "db_query_duration_seconds",
    "cache_operation_seconds",
    "queue_publish_duration_seconds",
    "http_client_request_duration_seconds",
];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const WORDS: [&str; 10] =
    ["users", "orders", "items", "carts", "payments", "invoices", "reviews", "images", "search", "events"];

/// A service's page at its `scrape`th scrape: six histograms with labels, of 14 buckets each.
///
/// No label has a brace, a comma or an equals sign in its value, which prometheus-parse cannot read.
pub fn page(scrape: u64) -> String {
    page_of(SERIES, scrape)
}

/// The same of another size: 96 lines for each histogram that every metric has. Values never fall.
pub fn page_of(histograms: usize, scrape: u64) -> String {
    let mut page = String::with_capacity(histograms * 13_000);
    for metric in METRICS {
        let _ = writeln!(page, "# HELP {metric} How long it took, by service, method, route and code.");
        let _ = writeln!(page, "# TYPE {metric} histogram");
        for series in 0..histograms {
            histogram(&mut page, metric, series, scrape);
        }
    }
    page
}

fn histogram(page: &mut String, metric: &str, series: usize, scrape: u64) {
    let (word, method) = (WORDS[series % 10], METHODS[series / 10 % 4]);
    let (service, version) = (series / 40 % 5, series / 200 + 1);
    let code = [200, 201, 404, 500][series % 4];
    let labels = format!(r#"service="shop-{service}",method="{method}",route="/api/v{version}/{word}",code="{code}""#);
    let rate = 1 + (series as u64 * 7_919) % 997;
    let mut count = 0;
    for (place, bound) in BOUNDS.iter().enumerate() {
        count += rate * (place as u64 + 1) % 907 * scrape;
        let _ = writeln!(page, "{metric}_bucket{{{labels},le=\"{bound}\"}} {count}");
    }
    let _ = writeln!(page, "{metric}_sum{{{labels}}} {}", count as f64 * 0.0371);
    let _ = writeln!(page, "{metric}_count{{{labels}}} {count}");
}

/// Selects every series of the page.
pub const ALL: &str = r#"{__name__=~".+"}"#;

/// Selects about 2% of them, by name and labels.
pub const SOME: &str =
    r#"http_request_duration_seconds_bucket{route=~"/api/v[0-9]+/(orders|users)",code!~"5..",le!="+Inf"}"#;
