//! The shipped dashboard, as a file: it asks only for metrics that the server has, its panels lie side by side, and
//! Grafana's own types accept it. What it asks is asked in `tests/prometheus`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use slogate::document::{SpecsHealth, metrics};
use slogate::engine::Engine;
use slogate::time::Timestamp;

const DASHBOARD: &str = include_str!("../dashboards/overview.json");

/// The metrics that are promised to stay; all of them are to be seen.
const PROMISED: [&str; 31] = [
    "slogate_alert_firing",
    "slogate_alert_pending",
    "slogate_build_info",
    "slogate_gate_level",
    "slogate_ingest_degraded",
    "slogate_ingest_gap_bytes_total",
    "slogate_ingest_gaps_total",
    "slogate_ingest_lag_bytes",
    "slogate_ingest_lag_seconds",
    "slogate_ingest_missing_field_total",
    "slogate_ingest_records_total",
    "slogate_ingest_rejected_total",
    "slogate_journey_budget_remaining_ratio",
    "slogate_journey_compliance_ratio",
    "slogate_scrape_duration_seconds",
    "slogate_scrape_errors_total",
    "slogate_scrape_last_page_timestamp_seconds",
    "slogate_scrape_notes_total",
    "slogate_scrape_samples",
    "slogate_scrape_size_bytes",
    "slogate_scrape_up",
    "slogate_slo_budget_remaining_ratio",
    "slogate_slo_burn_rate",
    "slogate_slo_compliance_ratio",
    "slogate_slo_events_total",
    "slogate_slo_latency_seconds",
    "slogate_slo_objective_ratio",
    "slogate_specs_loaded_timestamp_seconds",
    "slogate_specs_rejected",
    "slogate_specs_reloads_total",
    "slogate_store_healthy",
];

/// Mistakes that the types must find, each as what stands in the file and what is put there instead. Grafana's own
/// `Dashboard`, which leaves options and queries open, would let most of them pass.
const MISTAKES: [(&str, &str); 16] = [
    (r#""schemaVersion": 39"#, r#""schemaVersion": "39""#),
    (r#""graphTooltip": 1"#, r#""graphTooltip": 7"#),
    (r#""type": "dashboards""#, r#""type": "dashboard""#),
    (r#""type": "bargauge""#, r#""type": "bar-gauge""#),
    (r#""colorMode": "background""#, r#""colorMode": "backgroun""#),
    (r#""showHeader": true"#, r#""showHeaders": true"#),
    (r#""rowHeight": 0.8"#, r#""rowHeight": "0.8""#),
    (r#""drawStyle": "line""#, r#""drawStyle": "lines""#),
    (r#""spanNulls": false"#, r#""spanNull": false"#),
    (r#""unit": "percentunit""#, r#""units": "percentunit""#),
    (r#""mode": "line+area""#, r#""mode": "line-area""#),
    (r#""id": "custom.cellOptions""#, r#""id": "custom.cellOption""#),
    (r#""rowField""#, r#""rowFeld""#),
    (r#""legendFormat": "{{service}}""#, r#""legend": "{{service}}""#),
    (r#""uid": "${datasource}""#, r#""uid": "P1809F7CD0C75ACF3""#),
    (r#""refresh": 2"#, r#""refresh": 3"#),
];

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("JSON")
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().expect("panels")
}

/// Every name of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.starts_with("slogate_")).map(str::to_owned).collect()
}

/// What a server exposes that follows a log and scrapes.
fn exposed() -> BTreeSet<String> {
    let engine = "[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"/nowhere\"]\nformat = \"combined\"\n\
                  [[source]]\nname = \"app\"\n[source.scrape]\ntargets = [\"http://app:9100/metrics\"]\n\
                  [gate]\non_unknown = \"deny\"\n";
    let story = "[story]\nname = \"shop\"\n[[slo]]\nname = \"up\"\nobjective = 99.0\n[slo.availability]\n\
                 source = \"lb\"\nrequests = [\"GET /\"]\n";
    let specs = slogate::spec::load_texts(Path::new("specs"), &[("slogate.toml", engine), ("shop.toml", story)]);
    let catalog = Arc::new(specs.expect("sound specs").catalog);
    let mut engine = Engine::new(Arc::clone(&catalog));
    let board = engine.tick(Timestamp::from_seconds(1_795_169_520));
    names(&(metrics(&catalog, &board, true) + &SpecsHealth::loaded(board.at).metrics()))
}

#[test]
fn it_asks_for_metrics_that_exist_and_shows_all_that_are_promised() {
    let exposed = exposed();
    let asked = names(DASHBOARD);
    assert!(asked.is_subset(&exposed), "{:?}", asked.difference(&exposed));
    let promised = PROMISED.map(str::to_owned).into();
    assert!(asked.is_superset(&promised), "not shown: {:?}", promised.difference(&asked));
    let alerts = names(include_str!("../dashboards/alerts.yml"));
    assert!(!alerts.is_empty() && alerts.is_subset(&exposed), "{:?}", alerts.difference(&exposed));
}

#[test]
fn its_panels_lie_side_by_side() {
    let dashboard = dashboard();
    let number = |panel: &Value, name: &str| panel["gridPos"][name].as_u64().expect("a place");
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| number(panel, name));
        assert!(w > 0 && h > 0 && x + w <= 24, "{}: beyond the edge", panel["title"]);
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            assert!(taken.insert(cell), "{}: over another panel", panel["title"]);
        }
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{}: a second panel of its id", panel["title"]);
    }
    let lines = taken.iter().map(|(_, line)| line + 1).max().expect("there are panels");
    assert_eq!(taken.len() as u64, 24 * lines, "there are holes");
}

/// The words for the levels of gates are those of the API.
#[test]
fn its_levels_have_their_names() {
    let dashboard = dashboard();
    let gates: Vec<&Value> =
        panels(&dashboard).iter().filter(|panel| panel["fieldConfig"].to_string().contains("frozen")).collect();
    assert_eq!(gates.len(), 2, "now and over time");
    for panel in gates {
        let options = &panel["fieldConfig"]["defaults"]["mappings"][0]["options"];
        let expected = ["open", "guarded", "unknown", "frozen"];
        let words: Vec<&Value> = ["0", "1", "2", "3"].map(|level| &options[level]["text"]).into();
        assert_eq!(words, expected, "{}", panel["title"]);
    }
}

#[test]
fn grafanas_own_types_accept_it_and_find_mistakes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let types = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grafana");
    let modules = types.join("node_modules");
    assert!(modules.join("typescript").is_dir(), "tests/run.sh, or `npm ci` in {}, has to run first", types.display());
    symlink(&modules, directory.path().join("node_modules")).expect("a link");
    for name in ["dashboard.ts", "tsconfig.json"] {
        fs::copy(types.join(name), directory.path().join(name)).expect("copied");
    }
    let module = |name: &str, dashboard: &str| {
        let text = format!(
            "import type {{ Plain, Shipped }} from './dashboard';\n\
             export const shipped: Shipped = {dashboard};\n\
             export const plain: Plain = shipped;\n"
        );
        fs::write(directory.path().join(name), text).expect("written");
    };
    module("overview.ts", DASHBOARD);
    for (number, (right, wrong)) in MISTAKES.iter().enumerate() {
        assert!(DASHBOARD.contains(right), "{right} is not there any more");
        module(&format!("mistake_{number}.ts"), &DASHBOARD.replacen(right, wrong, 1));
    }
    let (faulty, said) = compile(directory.path());
    assert!(!faulty.contains("overview.ts") && !faulty.contains("dashboard.ts"), "{said}");
    for (number, (_, wrong)) in MISTAKES.iter().enumerate() {
        assert!(faulty.contains(&format!("mistake_{number}.ts")), "not found: {wrong}\n{said}");
    }
    assert_eq!(faulty.len(), MISTAKES.len(), "{said}");
}

/// Checks the types of a directory; the files with mistakes, and everything that was said.
fn compile(directory: &Path) -> (BTreeSet<String>, String) {
    let compiler: PathBuf = directory.join("node_modules/typescript/bin/tsc");
    let mut command = Command::new("node");
    command.arg(compiler).args(["--project", "."]).current_dir(directory);
    let output = command.output().expect("node (tests/run.sh installs it) runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // `FILE(LINE,COLUMN): error TS...`; more about it follows, indented.
    let files = said.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| {
        let (file, rest) = line.split_once('(')?;
        rest.contains("): error TS").then(|| file.to_owned())
    });
    (files.collect(), said)
}
