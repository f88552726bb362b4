use std::path::Path;

use super::*;
use crate::spec::{self, SourceKind};

const ENGINE: &str = r#"
[store]
url = "redb:a"
[[source]]
name = "app"
[source.scrape]
targets = ["http://app:9100"]
interval = "15s"
[gate]
on_unknown = "deny"
"#;

const STORY: &str = r#"
[story]
name = "api"
[[slo]]
name = "ratio"
objective = 90.0
[slo.ratio]
source = "app"
total = 'requests_total'
bad = 'requests_total{code=~"5.."}'
[[slo]]
name = "fast"
objective = 90.0
[slo.histogram]
source = "app"
metric = 'latency_seconds{route="/"}'
threshold = "500ms"
[[slo]]
name = "up"
objective = 90.0
[slo.gauge]
source = "app"
metric = 'healthy'
good_when = ">= 1"
slice = "1m"
"#;

const START: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(START + second)
}

fn counter() -> ScrapeCounter {
    let files = [("slogate.toml", ENGINE), ("api.toml", STORY)];
    let catalog = spec::load_texts(Path::new("/specs"), &files).unwrap().catalog;
    let SourceKind::Scrape(scrape) = &catalog.sources[0].kind else { panic!("it is scraped") };
    ScrapeCounter::new(&catalog, SourceId(0), scrape)
}

fn page(good: u64, bad: &str, buckets: [u64; 3], healthy: &str) -> String {
    let [fast, slow, all] = buckets;
    format!(
        "requests_total{{code=\"200\"}} {good}\nrequests_total{{code=\"503\"}} {bad}\n\
         latency_seconds_bucket{{route=\"/\",le=\"5e-1\"}} {fast}\nlatency_seconds_bucket{{route=\"/\",le=\"1\"}} {slow}\n\
         latency_seconds_bucket{{route=\"/\",le=\"+Inf\"}} {all}\nlatency_seconds_bucket{{route=\"/other\",le=\"1\"}} 9\n\
         latency_seconds_sum{{route=\"/\"}} 12.5\nlatency_seconds_count{{route=\"/\"}} {all}\nhealthy {healthy}\n"
    )
}

fn read(
    counter: &mut ScrapeCounter,
    target: &mut ScrapedTarget,
    page: &str,
    second: i64,
) -> Result<Scraped, PageFault> {
    counter.count(target, (page.as_bytes(), Format::Text, End::Certain), at(second))
}

/// The sum of each column of a batch; the records last.
fn sums(batch: &Batch) -> Vec<Tally> {
    let sum = |column: usize| {
        let hours = batch.pages.iter().filter_map(|page| page.column(column));
        hours
            .flat_map(|hour| hour.good.iter().zip(&hour.bad))
            .map(|(good, bad)| Tally::new((*good).into(), (*bad).into()))
            .sum()
    };
    assert_eq!(batch.accounted(), batch.records, "every record is accounted for");
    (0..4).map(sum).collect()
}

#[test]
fn each_kind_counts_what_its_series_increased_by() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    let first = read(&mut counter, &mut target, &page(100, "7", [10, 20, 30], "1"), 0).unwrap();
    assert_eq!((first.samples, first.selected, first.health), (9, 6, Some(true)));
    let batch = counter.take(Some(at(0)));
    let records = Tally::new(6, 3);
    assert_eq!(sums(&batch), [Tally::ZERO, Tally::ZERO, Tally::ZERO, records]);
    assert_eq!(batch.newest_record(), Some(at(0)));

    read(&mut counter, &mut target, &page(150, "9", [14, 25, 36], "0"), 15).unwrap();
    read(&mut counter, &mut target, &page(151, "9", [14, 26, 37], "1"), 61).unwrap();
    let batch = counter.take(None);
    // The gauge's first minute ended with a sample that was not good.
    assert_eq!(sums(&batch), [Tally::new(51, 2), Tally::new(4, 3), Tally::new(0, 1), Tally::new(12, 6)]);
    // The one increment of 46 seconds belongs to the minute in which most of them were.
    assert_eq!(batch.newest[0].map(Timestamp::minute), Some(at(0).minute()));
}

#[test]
fn d07_a_value_that_is_no_count_is_a_refused_record_and_counts_for_nothing() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    read(&mut counter, &mut target, &page(100, "7", [10, 20, 30], "1"), 0).unwrap();
    for (second, bad) in [(15, "NaN"), (30, "-1"), (45, "7.5"), (60, "+Inf"), (75, "1e300")] {
        read(&mut counter, &mut target, &page(100 + second as u64, bad, [10, 20, 30], "NaN"), second).unwrap();
    }
    read(&mut counter, &mut target, &page(200, "9", [10, 20, 30], "1"), 90).unwrap();
    let batch = counter.take(None);
    let refused: Vec<(&str, u64)> =
        batch.rejected.iter().map(|(rejection, count)| (rejection.reason(), *count)).collect();
    // NaN is a gauge's own way to say nothing, and leaves its SLO unread.
    assert_eq!(refused.iter().map(|(_, count)| count).sum::<u64>(), 5);
    assert!(refused.iter().all(|(reason, _)| *reason == "bad_value"), "{refused:?}");
    let sums = sums(&batch);
    assert_eq!(sums[0], Tally::new(100, 2));
    assert_eq!(sums[3].total() + 5, batch.records);
}

#[test]
fn a_start_that_is_no_time_and_a_gauge_that_shows_nothing_are_no_bad_records_of_the_source() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    let start = "process_start_time_seconds NaN\n";
    read(&mut counter, &mut target, &(page(100, "7", [10, 20, 30], "NaN") + start), 0).unwrap();
    assert_eq!(counter.take(None).rejected.len(), 0);
    let last: Vec<Option<Timestamp>> = (0..3).map(|place| target.hearing(place).unwrap().0.last).collect();
    assert_eq!(last, [Some(at(0)), Some(at(0)), None], "only the gauge's SLO is in doubt");
}

#[test]
fn a_histogram_without_buckets_is_told_to_be_native_and_names_may_be_longer_than_values() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    let native = page(100, "7", [10, 20, 30], "1");
    let native: String =
        native.lines().filter(|line| !line.contains("_bucket")).map(|line| format!("{line}\n")).collect();
    let name = native.lines().find_map(|line| line.split_once("_count").map(|(name, _)| name.to_owned()));
    let native = if name.is_some() { native } else { native + "latency_seconds_count 30\n" };
    read(&mut counter, &mut target, &native, 0).unwrap();
    let silence = target.hearing(1).unwrap().0.silence.as_ref().map(ToString::to_string);
    assert!(silence.as_ref().is_some_and(|words| words.contains("native histograms")), "{silence:?}");
}

#[test]
fn a_page_that_is_refused_leaves_everything_as_it_was() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    read(&mut counter, &mut target, &page(100, "7", [10, 20, 30], "1"), 0).unwrap();
    drop(counter.take(None));
    let twice = page(500, "7", [10, 20, 30], "1") + "requests_total{code=\"200\"} 1\n";
    assert!(matches!(read(&mut counter, &mut target, &twice, 15), Err(PageFault::Page(_))));
    assert!(matches!(read(&mut counter, &mut target, "<html>", 15), Err(PageFault::Page(_))));
    let batch = counter.take(None);
    assert_eq!((batch.records, sums(&batch)), (0, vec![Tally::ZERO; 4]));
    read(&mut counter, &mut target, &page(101, "7", [10, 20, 30], "1"), 30).unwrap();
    assert_eq!(sums(&counter.take(None))[0], Tally::new(1, 0));
}

#[test]
fn a_target_goes_on_from_what_was_saved_of_it() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    read(&mut counter, &mut target, &page(100, "7", [10, 20, 30], "1"), 0).unwrap();
    let (names, _) = target.save();
    read(&mut counter, &mut target, &page(110, "7", [11, 21, 31], "1"), 15).unwrap();
    let (same, state) = target.save();
    assert!(same.is_none(), "the names have not changed");
    drop(counter.take(None));
    let mut restored = counter.restore(&names.unwrap(), &state).unwrap();
    read(&mut counter, &mut restored, &page(115, "8", [12, 23, 33], "1"), 30).unwrap();
    let sums = sums(&counter.take(None));
    assert_eq!(sums[..2], [Tally::new(5, 1), Tally::new(1, 1)]);
}

#[test]
fn a_histogram_without_the_bound_lists_those_that_there_are() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    let other = page(1, "1", [1, 2, 3], "1").replace("5e-1", "0.25");
    let scraped = read(&mut counter, &mut target, &other, 0).unwrap();
    let notes: Vec<&str> = scraped.notes.iter().map(|(_, note)| &*note.example).collect();
    assert!(notes.iter().any(|note| note.contains("no bucket ends at 0.5; the bounds are 0.25, 1, +Inf")), "{notes:?}");
}

#[test]
fn more_than_any_counter_of_events_counts_is_not_counted() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    read(&mut counter, &mut target, &page(0, "0", [1, 1, 1], "1"), 0).unwrap();
    let scraped = read(&mut counter, &mut target, &page(MOST_AT_ONCE + 1, "0", [1, 1, 1], "1"), 15).unwrap();
    assert_eq!(scraped.implausible, [SloId(0)]);
    read(&mut counter, &mut target, &page(MOST_AT_ONCE + 10_000_000_001, "0", [1, 1, 1], "1"), 30).unwrap();
    // As many as do not fit into one cell.
    assert_eq!(sums(&counter.take(None))[0], Tally::new(10_000_000_000, 0));
}

#[test]
fn a_histogram_hands_on_how_long_its_observations_took() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    read(&mut counter, &mut target, &page(1, "1", [10, 20, 30], "1"), 0).unwrap();
    assert!(counter.take(None).durations.is_empty(), "a baseline");
    read(&mut counter, &mut target, &page(1, "1", [14, 25, 36], "1"), 15).unwrap();
    read(&mut counter, &mut target, &page(1, "1", [15, 26, 38], "1"), 30).unwrap();
    let durations = counter.take(None).durations;
    let range = |above: u64, within: Bound| crate::counts::Range { above: Bound::of_micros(above), within };
    let (half, one) = (Bound::of_micros(500_000), Bound::of_micros(1_000_000));
    let took =
        Took::Ranges(vec![(range(0, half), 5), (range(500_000, one), 1), (range(1_000_000, Bound::INFINITE), 2)]);
    assert_eq!(durations, [Durations { hour: at(0).minute().hour(), set: 0, took }]);
    assert!(counter.take(None).durations.is_empty(), "it is handed over once");
    // A fall is a restart, told by no start time: counted from zero once it is confirmed, like the counts.
    for second in (45..120).step_by(15) {
        read(&mut counter, &mut target, &page(1, "1", [1, 1, 2], "1"), second).unwrap();
    }
    let batch = counter.take(None);
    let handed_on: i64 = batch.durations.iter().flat_map(|of| of.took.to_ranges()).map(|(_, count)| count).sum();
    assert_eq!(handed_on, sums(&batch)[1].total() as i64);
    assert_eq!(handed_on, 2);
}

/// A page of OpenMetrics with the types that it declares.
fn typed(requests: &str, latency: &str, bad: u64, fast: u64) -> String {
    format!(
        "# TYPE requests_total {requests}\nrequests_total{{code=\"200\"}} 100\nrequests_total{{code=\"503\"}} {bad}\n\
         # TYPE latency_seconds {latency}\nlatency_seconds_bucket{{route=\"/\",le=\"0.5\"}} {fast}\n\
         latency_seconds_bucket{{route=\"/\",le=\"+Inf\"}} {fast}\n# EOF\n"
    )
}

#[test]
fn a_gauge_histogram_counts_nothing_and_says_so_and_a_counter_called_a_gauge_counts_with_a_note() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    let mut told = Vec::new();
    for (second, bad) in [(0, 7), (15, 9), (30, 12)] {
        let page = typed("gauge", "gaugehistogram", bad, 10 + bad);
        let read =
            counter.count(&mut target, (page.as_bytes(), Format::OpenMetrics, End::Certain), at(second)).unwrap();
        told.extend(read.notes.into_iter().filter(|(slo, _)| *slo == SloId(0)));
    }
    let sums = sums(&counter.take(None));
    assert_eq!(sums[..2], [Tally::new(0, 5), Tally::ZERO]);
    let [(_, note)] = &told[..] else { panic!("{told:?}") };
    let words = "its page declares a gauge, and it is counted as a counter all the same: requests_total{code=\"200\"}";
    assert_eq!((note.kind.name(), note.example.as_str()), ("scrape.not_a_counter", words));
    let hearing = target.hearing(1).unwrap().0;
    assert_eq!(hearing.last, None, "it was never measured");
    let silence = hearing.silence.as_ref().unwrap().to_string();
    assert!(silence.starts_with("its page declares a gauge histogram"), "{silence}");
    assert!(target.hearing(0).unwrap().0.silence.is_none());
}

#[test]
fn a_histogram_that_becomes_one_of_gauges_stops_counting_until_it_is_one_of_counters_again() {
    let mut counter = counter();
    let mut target = counter.target(at(0));
    let types = ["histogram", "histogram", "gaugehistogram", "gaugehistogram", "histogram", "histogram"];
    let mut events = Vec::new();
    for (second, (latency, fast)) in (0..).step_by(15).zip(types.into_iter().zip([10, 14, 15, 3, 15, 18])) {
        let page = typed("counter", latency, 7, fast);
        let page = page.replace("TYPE requests_total", "TYPE requests");
        counter.count(&mut target, (page.as_bytes(), Format::OpenMetrics, End::Certain), at(second)).unwrap();
        events.push(sums(&counter.take(None))[1].total());
    }
    assert_eq!(events, [0, 4, 0, 0, 1, 3]);
}
