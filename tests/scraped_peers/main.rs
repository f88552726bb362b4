//! Scraping real programs: Debian's Prometheus and its node exporter, and Prometheus beside slogate on one target.

#[path = "../serve/lines.rs"]
#[allow(dead_code, reason = "shared with a test that writes logs, which this one does not")]
mod lines;
#[path = "../prometheus/peer.rs"]
#[allow(dead_code, reason = "shared with a test that asks Prometheus for more than this one does")]
mod peer;
#[path = "../serve/server.rs"]
#[allow(dead_code, reason = "shared with a test that does more to its server than this one does")]
mod server;
#[path = "../scrape/target.rs"]
#[allow(dead_code, reason = "shared with a test whose targets are worse than this one's")]
mod target;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use slogate::time::Stopwatch;

use peer::Prometheus;
use server::{PATIENCE_MS, Place, free_address};
use target::Target;

const GLANCE: Duration = Duration::from_millis(50);

const STORY: &str = r#"
[story]
name = "real"

[[slo]]
name = "ours"
objective = 90.0
[slo.ratio]
source = "app"
total  = 'http_requests_total'
bad    = 'http_requests_total{code="500"}'

[[slo]]
name = "queries"
objective = 90.0
[slo.ratio]
source = "app"
total  = 'prometheus_http_requests_total{handler="/api/v1/query"}'
bad    = 'prometheus_http_requests_total{handler="/api/v1/query",code=~"5.."}'

[[slo]]
name = "fast"
objective = 90.0
[slo.histogram]
source    = "app"
metric    = 'prometheus_http_request_duration_seconds{handler="/api/v1/query"}'
threshold = "1s"

[[slo]]
name = "pages"
objective = 90.0
[slo.ratio]
source = "app"
total  = 'promhttp_metric_handler_requests_total'
bad    = 'promhttp_metric_handler_requests_total{code=~"5.."}'
"#;

/// The node exporter. It is killed with the test.
struct NodeExporter(Child);

impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn place(urls: &[String]) -> Place {
    let place = Place::new();
    for name in ["shop.toml", "search.toml"] {
        fs::remove_file(place.path("specs").join(name)).expect("it was there");
    }
    fs::write(place.path("specs/real.toml"), STORY).expect("written");
    let (listen, urls) = (place.address, urls.join("\", \""));
    let engine = format!(
        "[server]\nlisten = \"{listen}\"\n[store]\nurl = \"redb:../store.redb\"\n[[source]]\nname = \"app\"\n\
         [source.scrape]\ninterval = \"1s\"\ntargets = [\"{urls}\"]\n[gate]\non_unknown = \"deny\"\n"
    );
    fs::write(place.path("specs/slogate.toml"), engine).expect("written");
    place
}

fn tally(place: &Place, slo: &str) -> (u64, u64) {
    let slo = place.get(&format!("/api/v1/slos/real/{slo}"));
    (slo["good"].as_u64().expect("a number"), slo["bad"].as_u64().expect("a number"))
}

/// Waits until every target gave a page that was asked for after now.
#[track_caller]
fn wait_for_pages(place: &Place, targets: usize) {
    let pages = || -> Vec<String> {
        let source = place.get("/api/v1/sources")["sources"][0].clone();
        let found = source["targets"].as_array().cloned().unwrap_or_default();
        found.iter().filter_map(|target| target["last_page"].as_str().map(str::to_owned)).collect()
    };
    for _ in 0..2 {
        let before = pages();
        let is_new = |now: &[String]| now.len() == targets && now.iter().all(|page| !before.contains(page));
        wait(place, || is_new(&pages()));
    }
}

#[track_caller]
fn wait(place: &Place, mut holds: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        let sources = place.get("/api/v1/sources");
        assert!(watch.elapsed_ms() < PATIENCE_MS, "{sources:#}\n{}", place.words());
        thread::sleep(GLANCE);
    }
}

#[test]
fn real_programs_are_scraped_and_counts_are_exact_where_prometheus_extrapolates() {
    const OK: &str = "http_requests_total{code=\"200\"}";
    const FAILED: &str = "http_requests_total{code=\"500\"}";
    let target = Target::new();
    target.count(OK, 1_000);
    target.count(FAILED, 10);
    let prometheus = Prometheus::scraping(target.address);
    let address = free_address();
    let mut exporter = Command::new("prometheus-node-exporter");
    exporter.arg(format!("--web.listen-address={address}")).stdout(Stdio::null()).stderr(Stdio::null());
    let _exporter = NodeExporter(exporter.spawn().expect("the node exporter (tests/run.sh installs it) runs"));
    let own = format!("http://{}/metrics", prometheus.address());
    let place = place(&[target.url(), own, format!("http://{address}/metrics")]);
    let server = place.start();
    wait(&place, || !prometheus.samples("http_requests_total").is_empty());
    wait_for_pages(&place, 3);
    let (queries, _) = tally(&place, "queries");
    let (fast, slow) = tally(&place, "fast");

    // A page every second, a restart in the middle: books are kept by the target.
    let before = (target.counted(OK), target.counted(FAILED));
    for round in 0..5 {
        if round == 2 {
            target.restart(true);
        }
        target.count(OK, 100 + round);
        target.count(FAILED, 3);
        wait_for_pages(&place, 3);
    }
    let expected = (target.counted(OK) - before.0, target.counted(FAILED) - before.1);
    wait(&place, || tally(&place, "ours") == expected);
    let increase = "sum(increase(http_requests_total[2m]))";
    let theirs = prometheus.samples(increase);
    println!(
        "the target counted {}, slogate {}, Prometheus' {increase} says {}",
        expected.0 + expected.1,
        tally(&place, "ours").0 + tally(&place, "ours").1,
        theirs.first().map_or("nothing".to_owned(), |(_, value)| value.to_string()),
    );

    // What Prometheus counts of itself is what it was asked.
    (0..20).for_each(|_| drop(prometheus.samples("up")));
    wait(&place, || tally(&place, "queries") == (queries + 21, 0));
    wait(&place, || tally(&place, "fast") == (fast + 21, slow));
    // And what the node exporter counts of itself are the pages that it gave.
    assert!(tally(&place, "pages").0 > 0);
    let sources = place.get("/api/v1/sources");
    let targets = sources["sources"][0]["targets"].as_array().expect("a list").clone();
    assert!(targets.iter().all(|target| target["health"] == "up" && target["error"] == Value::Null), "{targets:#?}");
    assert!(targets.iter().filter(|target| target["samples"].as_u64() > Some(300)).count() >= 2, "{targets:#?}");
    assert!(server.stop().success());
}
