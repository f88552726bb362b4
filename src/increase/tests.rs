//! The rooms' claims, as pages and what comes of them.
//!
//! A page is written as its time in seconds and its samples: `30 2xx=107 5xx=3`. Names say what a series is: `2xx` is
//! good and in the total, `5xx` in the total only, `ok` good only and `all` total only, as when good and total are
//! different metrics. `2xx@20=7` was created at second 20, `start=20` is the start of the process, `2xx#19=7` has a
//! timestamp of its own. What comes of a page is written as `+good-bad` and the notes, with their numbers of events.

mod histograms;
mod kept;
mod rows;
mod unheard;

use super::*;
use crate::time::Horizon;

const RULES: Rules = Rules { interval_ms: 15_000, most_series: 100 };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn seconds(text: &str) -> Timestamp {
    let seconds: f64 = text.parse().unwrap();
    Timestamp::from_millis((seconds * 1e3) as i64)
}

fn ratio(part: Part) -> Measure {
    Measure { key: "ratio".into(), formerly: vec![], kind: MeasureKind::Ratio(part) }
}

fn role(name: &str) -> Role {
    match &name[..2] {
        "2x" => Role::Both,
        "ok" => Role::Part,
        _ => Role::Total,
    }
}

/// Shows a page to a target that measures one ratio.
fn show(target: &mut Target, page: &str) -> Result<Outcome, String> {
    let mut words = page.split(' ');
    let mut scrape = target.begin(seconds(words.next().unwrap())).map_err(|ignored| ignored.to_string())?;
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        if name == "start" {
            scrape.process_start(seconds(value));
            continue;
        }
        let (name, stamp) = name.split_once('#').map_or((name, None), |(name, stamp)| (name, Some(seconds(stamp))));
        let (name, created) =
            name.split_once('@').map_or((name, None), |(name, created)| (name, Some(seconds(created))));
        let Some(slot) = scrape.slot(0, name.as_bytes(), role(name)) else { continue };
        let value = value.parse().map(Ok).unwrap_or_else(|_| whole(value.parse().unwrap()));
        assert!(scrape.counter(slot, value, stamp));
        if let Some(created) = created {
            assert!(scrape.created(slot, created));
        }
    }
    scrape.finish().map_err(|refused| refused.to_string())
}

fn words(increase: &Increase) -> String {
    let sum = increase.sum();
    let mut words = format!("+{}-{}", sum.good, sum.bad);
    for note in &increase.notes {
        words += " ";
        words += note.kind.name();
        if note.events > 0 {
            words += &format!(":{}", note.events);
        }
    }
    words
}

/// Asserts what comes of each page, one after the other.
fn check_on(mut target: Target, pages: &[(&str, &str)]) -> Target {
    for (page, expected) in pages {
        let found = match show(&mut target, page) {
            Ok(outcome) => words(&outcome.measures[0]),
            Err(error) => error,
        };
        assert_eq!(found, *expected, "{page}");
    }
    target
}

fn check(pages: &[(&str, &str)]) -> Target {
    check_on(Target::new(RULES, &[ratio(Part::Good)], None), pages)
}
