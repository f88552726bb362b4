//! *Exposition*: pages of metrics are read as a slow and obvious reader reads them, whatever is in them.
//!
//! Pages are made of sound lines, of broken ones and of a soup of tokens, then bytes of them are changed. Three things
//! must hold: the lexer agrees with the reference on every sample, and on the line of the first fault; a reader that
//! has read other pages of the target gives what one gives that has not; and where prometheus-parse reads rightly, both
//! agree.
//!
//! `SLOGATE_CASES` sets the number of cases. Seeds of failures are kept in `tests/proptest-regressions`.

#![allow(clippy::unwrap_used, reason = "a test may fail where it finds something wrong")]

mod pages;
mod reference;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};
use slogate::formats::exposition::{End, Entry, Fault, Format, Key, Limits, Page, PageError, Scratch, Value};
use slogate::selector::{Selector, Selectors};
use slogate::series::{MemoryLimits, Reader, Target};

use reference::Read;

fn config() -> Config {
    let cases = std::env::var("SLOGATE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000);
    let seeds = FileFailurePersistence::Direct("tests/proptest-regressions/exposition.txt");
    Config { cases, failure_persistence: Some(Box::new(seeds)), ..Config::default() }
}

/// Limits that are small enough to be met.
const LIMITS: Limits = Limits { samples: 12, labels: 3, name_bytes: 12, value_bytes: 16 };

proptest! {
    #![proptest_config(config())]

    #[test]
    fn pages_are_read_as_the_reference_reads_them((format, page) in pages::any_page(), is_whole in any::<bool>()) {
        let end = if is_whole { End::Certain } else { End::Uncertain };
        for limits in [Limits::default(), LIMITS] {
            let expected = reference::read(&page, format, end, limits);
            let found = lex(&page, (format, end), limits);
            if let Err(PageError { fault: Fault::NotMetrics(_), .. }) = found {
                // That is said of the page as a whole, wherever it is broken.
                prop_assert!(expected.is_err(), "{}", String::from_utf8_lossy(&page));
                continue;
            }
            let found = found.map_err(|error| error.line);
            prop_assert_eq!(found, expected, "{}", String::from_utf8_lossy(&page));
        }
    }

    #[test]
    fn what_was_read_before_changes_nothing(pages in pages::scrapes(), selectors in pages::selectors()) {
        let parse = |text: &String| Selector::parse(text).unwrap();
        let selectors = Arc::new(Selectors::new(selectors.iter().map(parse).collect()));
        let memory = MemoryLimits { forget_after: 2, outline_bytes: 500 };
        let mut reader = Reader::new(Arc::clone(&selectors), Limits::default(), memory);
        let mut target = Target::default();
        for (format, page) in &pages {
            let mut fresh = Reader::new(Arc::clone(&selectors), Limits::default(), memory);
            let expected = scrape(&mut fresh, &mut Target::default(), page, *format);
            let found = scrape(&mut reader, &mut target, page, *format);
            prop_assert_eq!(found, expected, "{}", String::from_utf8_lossy(page));
        }
    }

    #[test]
    fn kept_is_what_each_selector_selects(pages in pages::scrapes(), selectors in pages::selectors()) {
        let selectors: Vec<Selector> = selectors.iter().map(|text| Selector::parse(text).unwrap()).collect();
        let all = Arc::new(Selectors::new(selectors.clone()));
        for (format, page) in &pages {
            let mut fresh = Reader::new(Arc::clone(&all), Limits::default(), MemoryLimits::default());
            let found = scrape(&mut fresh, &mut Target::default(), page, *format);
            // A series that only tells when others were created is selected by none.
            let found = found.map(|given| {
                let selected = given.into_iter().filter(|(.., selected, _)| *selected > 0);
                selected.map(|(series, value, at, selected, _)| (series, value, at, selected)).collect::<Vec<_>>()
            });
            prop_assert_eq!(found, select_one_by_one(page, *format, &selectors), "{}", String::from_utf8_lossy(page));
        }
    }

    #[test]
    fn groups_that_repeat_are_read_as_if_each_line_stood_alone(pages in pages::grouped(), selectors in pages::group_selectors()) {
        let selectors: Vec<Selector> = selectors.iter().map(|text| Selector::parse(text).unwrap()).collect();
        let all = Arc::new(Selectors::new(selectors.clone()));
        let mut reader = Reader::new(all, Limits::default(), MemoryLimits::default());
        let mut target = Target::default();
        for (format, page) in &pages {
            let found = scrape(&mut reader, &mut target, page, *format);
            let found = found.map(|given| {
                given.into_iter().map(|(series, value, at, selected, _)| (series, value, at, selected)).collect::<Vec<_>>()
            });
            prop_assert_eq!(found, select_one_by_one(page, *format, &selectors), "{}", String::from_utf8_lossy(page));
        }
    }

    #[test]
    fn prometheus_parse_agrees_where_it_reads_rightly(page in pages::simple_page()) {
        let lines = page.lines().map(|line| Ok(line.to_owned()));
        let scrape = prometheus_parse::Scrape::parse(lines).unwrap();
        let mut expected = BTreeMap::new();
        for sample in scrape.samples {
            // A label without a value is none.
            let labels = sample.labels.iter().filter(|(_, value)| !value.is_empty());
            let labels: BTreeMap<String, String> = labels.map(|(name, value)| (name.clone(), value.clone())).collect();
            let mut add = |name: String, bound: Option<(&str, f64)>, value: f64| {
                let bound = bound.map(|(label, bound)| (label.to_owned(), bound.to_bits()));
                expected.insert((name, labels.clone(), bound), value.to_bits());
            };
            match sample.value {
                prometheus_parse::Value::Histogram(buckets) => {
                    for bucket in buckets {
                        add(format!("{}_bucket", sample.metric), Some(("le", bucket.less_than)), bucket.count);
                    }
                }
                prometheus_parse::Value::Summary(quantiles) => {
                    for quantile in quantiles {
                        add(sample.metric.clone(), Some(("quantile", quantile.quantile)), quantile.count);
                    }
                }
                prometheus_parse::Value::Counter(value)
                | prometheus_parse::Value::Gauge(value)
                | prometheus_parse::Value::Untyped(value) => add(sample.metric, None, value),
            }
        }
        let read = lex(page.as_bytes(), (Format::Text, End::Certain), Limits::default()).unwrap();
        let found: BTreeMap<_, _> = read.into_iter().map(|read| {
            let mut labels: BTreeMap<String, String> = read.labels.into_iter().collect();
            let is_bucket = read.name.ends_with("_bucket");
            let bound = if is_bucket { Some("le") } else if read.name == "summary" { Some("quantile") } else { None };
            let bound = bound.map(|label| (label.to_owned(), labels.remove(label).unwrap().parse::<f64>().unwrap().to_bits()));
            ((read.name, labels, bound), read.value)
        }).collect();
        prop_assert_eq!(found, expected, "{}", page);
    }

    #[test]
    fn any_bytes_at_all_are_read_or_refused(page in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Text, Format::OpenMetrics] {
            let _ = lex(&page, (format, End::Certain), Limits::default());
        }
    }

    #[test]
    fn any_text_at_all_is_a_selector_or_not(text in pages::selector_soup()) {
        if let Ok(selector) = Selector::parse(&text) {
            let again = Selector::parse(&selector.to_string());
            prop_assert_eq!(again.as_ref(), Ok(&selector), "{}", text);
        }
    }
}

/// The samples of a page, as the lexer reads it.
fn lex(page: &[u8], read: (Format, End), limits: Limits) -> Result<Vec<Read>, PageError> {
    let mut scratch = Scratch::default();
    let mut page = Page::new(page, read, limits, Key::random(), &mut scratch)?;
    let mut samples = Vec::new();
    while let Some(entry) = page.next_entry()? {
        if let Entry::Sample(sample) = entry {
            let series = sample.series();
            for (name, value) in sample.labels.iter() {
                assert_eq!(sample.labels.get(&name.bytes()), value.bytes());
            }
            samples.push(Read {
                name: series.name,
                labels: series.labels,
                value: sample.value.as_f64().to_bits(),
                count: sample.value.count(),
                at: sample.at.map(|at| at.millis()),
            });
        }
    }
    Ok(samples)
}

/// A series with its value, its time, and how many selectors select it.
type Selected = (String, Value, Option<i64>, usize);

/// The samples of a page that are selected, each asked for on its own; with how many selectors select it.
fn select_one_by_one(page: &[u8], format: Format, selectors: &[Selector]) -> Result<Vec<Selected>, PageError> {
    let mut scratch = Scratch::default();
    let mut page = Page::new(page, (format, End::Certain), Limits::default(), Key::random(), &mut scratch)?;
    let mut selected = Vec::new();
    while let Some(entry) = page.next_entry()? {
        let Entry::Sample(sample) = entry else { continue };
        let selecting =
            selectors.iter().filter(|selector| selector.selects(&sample.name.bytes(), sample.labels)).count();
        if selecting > 0 {
            let at = sample.at.map(|at| at.millis());
            selected.push((sample.series().to_string(), sample.value, at, selecting));
        }
    }
    Ok(selected)
}

/// What a reader gives of a page: each series with its value, its time, and how many selectors select it.
type Given = Vec<(String, Value, Option<i64>, usize, Option<String>)>;

fn scrape(reader: &mut Reader, target: &mut Target, page: &[u8], format: Format) -> Result<Given, PageError> {
    let reading = reader.read(target, page, (format, End::Certain))?;
    assert!(reading.forgotten.iter().all(|slot| reading.values.iter().all(|read| read.slot != *slot)));
    let here = |slot| reading.values.iter().any(|read| read.slot == slot);
    let given = reading.values.iter().map(|read| {
        let series = target.series(read.slot);
        // One that was forgotten or is not in this page may still be linked to one that is.
        let created = series.created().filter(|slot| here(*slot)).map(|slot| target.series(slot).text().to_string());
        (series.text().to_string(), read.value, read.at.map(|at| at.millis()), series.selected_by().len(), created)
    });
    Ok(given.collect())
}
