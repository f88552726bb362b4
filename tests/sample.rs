//! The shipped sample: a log that a real nginx wrote, under the shipped specs.
//!
//! `slogate report tests/sample/access.log.gz` is among the first things that the README has one run, so its outcome is
//! held here: the counts against a count by splitting at quotes, as one would do it with awk, and what each gate says.

#[path = "support/by_hand.rs"]
mod by_hand;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use by_hand::by_hand;

const LOG: &str = "tests/sample/access.log.gz";

#[test]
fn the_shipped_sample_counts_as_by_hand() {
    let document = document();
    let by_hand = by_hand(&sample());
    assert!(by_hand.values().map(|(good, bad)| good + bad).sum::<u64>() > 10_000, "the sample is no trifle");
    for (slo, counts) in &by_hand {
        let (story, name) = slo.split_once('/').expect("story/slo");
        let found = find(find(&document["stories"], "story", story)["slos"].clone(), "slo", name);
        assert_eq!((found["good"].as_u64(), found["bad"].as_u64()), (Some(counts.0), Some(counts.1)), "{slo}");
    }
    let source = find(&document["sources"], "source", "lb");
    assert_eq!(source["records"].as_u64(), Some(sample().lines().count() as u64));
    let rejected = source["rejected"].as_object().expect("`rejected` is an object");
    assert!(rejected.values().all(|count| *count == 0), "{source}");
}

#[test]
fn the_shipped_sample_has_a_gate_of_each_colour() {
    let document = document();
    let level = |service| find(&document["gates"], "service", service)["level"].clone();
    assert_eq!((level("api"), level("web"), level("shop")), ("frozen".into(), "guarded".into(), "open".into()));
    let reasons = find(&document["gates"], "service", "api")["reasons"].clone();
    assert_eq!((&reasons[0]["kind"], &reasons[0]["slo"]), (&"budget_spent".into(), &"availability".into()));
}

#[test]
fn the_readme_shows_what_the_report_prints() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("a readme");
    let shown =
        readme.split_once("<!-- sample output: begin -->\n```text\n").and_then(|(_, rest)| rest.split_once("```\n"));
    let printed = String::from_utf8(report(&[]).stdout).expect("a table is text");
    assert_eq!(shown.map(|(shown, _)| shown), Some(printed.as_str()));
}

#[test]
fn a_frozen_gate_fails_the_pipeline_that_asks_for_it() {
    assert_eq!(report(&["--fail-on-frozen"]).status.code(), Some(1));
    let table = report(&[]);
    assert_eq!(table.status.code(), Some(0));
    let text = String::from_utf8(table.stdout).expect("a table is text");
    for word in ["profile", "availability", "frozen", "guarded", "open"] {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
}

fn report(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slogate"));
    // The shipped specs and log are named from the repository's root.
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("report").args(arguments).arg(LOG);
    command.output().expect("slogate runs")
}

fn document() -> Value {
    let output = report(&["--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("standard output is JSON")
}

fn find(list: impl std::borrow::Borrow<Value>, key: &str, name: &str) -> Value {
    let list = list.borrow().as_array().unwrap_or_else(|| panic!("a list of {key}")).clone();
    list.into_iter().find(|item| item[key] == name).unwrap_or_else(|| panic!("no {key} `{name}`"))
}

fn sample() -> String {
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(LOG)).expect("the sample is shipped");
    let mut text = String::new();
    MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("nginx escapes what is not ASCII");
    text
}
