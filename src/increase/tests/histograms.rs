//! Histograms: good is what is within the bucket at the threshold.

use super::*;

/// Shows a page of one histogram, `0.1=5 0.5=7 +Inf=9`, and tells what comes of it.
fn show(target: &mut Target, second: i64, buckets: &str) -> Increase {
    let mut scrape = target.begin(at(second)).unwrap();
    let slot = scrape.slot(0, b"{route=\"/\"}", Role::Both).unwrap();
    for bucket in buckets.split_whitespace() {
        let (bound, count) = bucket.split_once('=').unwrap();
        if bound == "created" {
            assert!(scrape.created(slot, seconds(count)));
            continue;
        }
        let count = count.parse().map(Ok).unwrap_or_else(|_| whole(count.parse().unwrap()));
        assert!(scrape.bucket(slot, Bound::parse(bound).unwrap(), count));
    }
    assert!(!scrape.counter(slot, Ok(1), None), "a histogram is no counter");
    scrape.finish().unwrap().measures.remove(0)
}

fn histogram(threshold_us: u64) -> Target {
    let kind = MeasureKind::Histogram { threshold: Bound::of_micros(threshold_us) };
    Target::new(RULES, &[Measure { key: "latency".into(), formerly: vec![], kind }], None)
}

fn check(pages: &[(&str, &str)]) {
    let mut target = histogram(500_000);
    for ((buckets, expected), second) in pages.iter().zip((1000..).step_by(15)) {
        assert_eq!(words(&show(&mut target, second, buckets)), *expected, "{buckets}");
    }
}

#[test]
fn good_is_what_is_within_the_threshold() {
    check(&[
        ("0.1=5 0.5=7 +Inf=9", "+0-0"),
        // In any order, and however the numbers are spelled.
        ("+Inf=20 5e-1=15 0.10=5", "+8-3"),
        (".1=5 0.50=15 Inf=20", "+0-0"),
    ]);
}

#[test]
fn d19_what_is_no_histogram_is_refused_and_nothing_lost() {
    for bad in ["0.1=6 0.5=5 +Inf=9", "0.1=5 0.5=9 +Inf=8", "0.1=5 0.5=7", "0.1=5 1=7 +Inf=9"] {
        check(&[("0.1=5 0.5=7 +Inf=9", "+0-0"), (bad, "+0-0 histogram.refused"), ("0.1=9 0.5=11 +Inf=14", "+4-1")]);
    }
    check(&[
        ("0.1=5 0.5=7 +Inf=9", "+0-0"),
        ("0.1=5 0.5=NaN +Inf=9", "+0-0 scrape.bad_value"),
        ("0.1=9 0.5=11 +Inf=14", "+4-1"),
    ]);
}

#[test]
fn d19_a_threshold_that_is_no_bound_names_the_bounds_that_are() {
    let mut target = histogram(300_000);
    let increase = show(&mut target, 1000, "0.1=5 0.5=7 +Inf=9");
    let words = "no bucket ends at 0.3; the bounds are 0.1, 0.5, +Inf: {route=\"/\"}";
    assert_eq!((increase.notes[0].kind, increase.notes[0].example.as_str()), (NoteKind::BadHistogram, words));
}

#[test]
fn d19_other_bounds_are_a_new_baseline() {
    check(&[
        ("0.1=5 0.5=7 +Inf=9", "+0-0"),
        ("0.1=5 0.5=8 1=9 +Inf=10", "+0-0 histogram.new_bounds:10"),
        ("0.1=5 0.5=9 1=11 +Inf=12", "+1-1"),
    ]);
}

#[test]
fn one_bucket_that_falls_shows_a_restart_of_all() {
    check(&[
        ("0.1=5 0.5=7 +Inf=9", "+0-0"),
        ("0.1=4 0.5=8 +Inf=10", "+0-0 counter_reset_unobserved"),
        ("0.1=4 0.5=8 +Inf=10", "+0-0"),
        ("0.1=4 0.5=8 +Inf=10", "+0-0"),
        ("0.1=4 0.5=8 +Inf=10", "+0-0"),
        ("0.1=4 0.5=8 +Inf=10", "+8-2"),
    ]);
    check(&[("created=5 0.1=5 0.5=7 +Inf=9", "+0-0"), ("created=1010 0.1=4 0.5=8 +Inf=10", "+8-2 counter_reset")]);
}

#[test]
fn a_page_that_was_written_while_something_was_observed_is_settled_by_the_next() {
    check(&[
        ("0.1=5 0.5=7 +Inf=9", "+0-0"),
        ("0.1=5 0.5=8 +Inf=9", "+0-0 sli.good_exceeds_total:1"),
        ("0.1=5 0.5=8 +Inf=10", "+1-0"),
    ]);
}

#[test]
fn all_buckets_are_handed_on_for_distributions() {
    let mut target = histogram(500_000);
    show(&mut target, 1000, "0.1=5 0.5=7 +Inf=9");
    let increase = show(&mut target, 1015, "0.1=6 0.5=10 +Inf=14");
    let (from, to, buckets) = &increase.buckets[0];
    assert_eq!((*from, *to, &buckets.counts[..]), (at(1000), at(1015), &[1, 3, 5][..]));
    assert_eq!(buckets.bounds.iter().map(Bound::to_string).collect::<Vec<_>>(), ["0.1", "0.5", "+Inf"]);
    assert_eq!(buckets.within(Bound::of_micros(100_000)), Some(1));
    assert_eq!(buckets.within(Bound::of_micros(200_000)), None);
}

#[test]
fn a_bucket_twice_refuses_the_page() {
    let mut target = histogram(500_000);
    let mut scrape = target.begin(at(0)).unwrap();
    let slot = scrape.slot(0, b"h", Role::Both).unwrap();
    for bound in ["0.5", "5e-1"] {
        assert!(scrape.bucket(slot, Bound::parse(bound).unwrap(), Ok(1)));
    }
    let words = "a series is on the page twice: h, its bucket up to 0.5, if in two spellings";
    assert_eq!(scrape.finish().unwrap_err().to_string(), words);
}
