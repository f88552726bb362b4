//! The shipped dashboard asks only for metrics and labels that the server has.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use slogate::document::{SpecsHealth, metrics};
use slogate::engine::Engine;
use slogate::time::Timestamp;

/// Every name of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.starts_with("slogate_")).map(str::to_owned).collect()
}

fn exposed() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let catalog = Arc::new(slogate::spec::load(&root.join("slo-specs")).expect("the shipped specs").catalog);
    let mut engine = Engine::new(Arc::clone(&catalog));
    let board = engine.tick(Timestamp::from_seconds(1_795_169_520));
    names(&(metrics(&catalog, &board) + &SpecsHealth::loaded(board.at).metrics()))
}

#[test]
fn every_expression_of_every_panel_asks_for_metrics_that_exist() {
    let text = include_str!("../dashboards/overview.json");
    let dashboard: Value = serde_json::from_str(text).expect("JSON");
    let exposed = exposed();
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() >= 10, "a dashboard worth importing");
    for panel in panels {
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            let asked = names(expression);
            assert!(!asked.is_empty(), "{expression}");
            assert!(asked.is_subset(&exposed), "{expression}: {:?}", asked.difference(&exposed));
        }
    }
}
