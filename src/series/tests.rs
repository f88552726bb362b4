use super::*;
use crate::selector::Selector;

use Format::{OpenMetrics, Text};

/// A reader, and what it remembers of one target.
struct Scraper {
    reader: Reader,
    target: Target,
}

/// A reading, for people: values by series, and which of them came and went.
#[derive(Debug, Default, PartialEq)]
struct Told {
    values: Vec<String>,
    appeared: usize,
    forgotten: usize,
    was_followed: bool,
}

impl Scraper {
    fn new(selectors: &[&str]) -> Self {
        Self::with(selectors, Limits::default(), MemoryLimits::default())
    }

    fn with(selectors: &[&str], limits: Limits, memory: MemoryLimits) -> Self {
        let selectors = selectors.iter().map(|text| Selector::parse(text).unwrap()).collect();
        Self { reader: Reader::new(Arc::new(Selectors::new(selectors)), limits, memory), target: Target::default() }
    }

    fn read_as(&mut self, page: &str, format: Format) -> Result<Told, PageError> {
        let reading = self.reader.read(&mut self.target, page.as_bytes(), (format, End::Certain))?;
        let value = |read: &Read| {
            let series = self.target.series(read.slot);
            let by: Vec<String> = series.selected_by().iter().map(|id| id.0.to_string()).collect();
            let at = read.at.map_or(String::new(), |at| format!(" @{}", at.millis()));
            format!("{} {}{at} by {}", series.text(), read.value.as_f64(), by.join(","))
        };
        Ok(Told {
            values: reading.values.iter().map(value).collect(),
            appeared: reading.appeared.len(),
            forgotten: reading.forgotten.len(),
            was_followed: reading.was_followed,
        })
    }

    /// Checks a page: its values, and how many series appeared and were forgotten; whether it was followed.
    #[track_caller]
    fn check(&mut self, page: &str, values: &[&str], (appeared, forgotten): (usize, usize), was_followed: bool) {
        let expected =
            Told { values: values.iter().map(ToString::to_string).collect(), appeared, forgotten, was_followed };
        assert_eq!(self.read_as(page, Text).unwrap(), expected, "{page}");
    }
}

#[test]
fn a_line_that_begins_like_one_that_is_not_selected_is_looked_at_when_it_may_be() {
    let mut scraper = Scraper::new(&[r#"a{x="1",y!="2"}"#, r#"b{z="3"}"#]);
    let page = "a{w=\"\",x=\"0\",y=\"1\"} 1\na{w=\"\",x=\"0\",y=\"3\"} 2\na{w=\"\",x=\"1\",y=\"2\"} 3\n\
        a{w=\"\",x=\"1\",y=\"22\"} 4\na{w=\"\",x=\"1\"} 5\na 6\n\
        b{y=\"2\"} 7\nb{y=\"2\",z=\"3\"} 8\nb{y=\"2\",z=\"33\"} 9\nbb{z=\"3\"} 10\nb{z=\"3\"} 11\n";
    let values = [r#"a{x="1",y="22"} 4 by 0"#, r#"a{x="1"} 5 by 0"#, r#"b{y="2",z="3"} 8 by 1"#, r#"b{z="3"} 11 by 1"#];
    scraper.check(page, &values, (4, 0), false);
}

#[test]
fn selected_series_are_given_and_others_are_not() {
    let mut scraper = Scraper::new(&["a", r#"a{x="1"}"#, r#"{x=~".+"}"#]);
    let page = "# TYPE a counter\na 1\na{x=\"1\"} 2 77\nb 3\nb{x=\"\"} 4.5\n";
    let error = scraper.read_as(page, Text).unwrap_err();
    assert_eq!((error.line, error.fault.code()), (5, "scrape.duplicate_series"));
    assert!(scraper.target.is_empty());
    let page = page.replace("b{x=\"\"}", "b{x=\"é\"}");
    scraper.check(&page, &["a 1 by 0", "a{x=\"1\"} 2 @77 by 0,1,2", "b{x=\"é\"} 4.5 by 2"], (3, 0), false);
    let types: Vec<_> = (0..3).map(|slot| scraper.target.series(Slot(slot)).metric_type()).collect();
    assert_eq!(types, [MetricType::Counter, MetricType::Counter, MetricType::Unknown]);
}

#[test]
fn a_page_that_differs_in_its_values_alone_is_followed() {
    let mut scraper = Scraper::new(&["a", "h_bucket"]);
    let page = |values: [&str; 5]| {
        let [one, two, three, four, five] = values;
        format!(
            "# HELP a b\n# TYPE a counter\na{{x=\"y\"}} {one}\na{{x=\"z\"}} {two}\n\n# TYPE h histogram\n\
             h_bucket{{le=\"1\"}} {three}\nh_bucket{{le=\"+Inf\"}}  {four}\nh_sum 1.5\n  b 5\nc{{y=\"a\"}}{five}\n"
        )
    };
    let values = |values: [&str; 4]| {
        let series = ["a{x=\"y\"} ", "a{x=\"z\"} ", "h_bucket{le=\"1\"} ", "h_bucket{le=\"+Inf\"} "];
        let by = ["0", "0", "1", "1"];
        (0..4).map(|place| format!("{}{} by {}", series[place], values[place], by[place])).collect::<Vec<_>>()
    };
    for (round, values_of) in [
        (["1", "2", "3", "4", "5"], ["1", "2", "3", "4"]),
        (["10000000", "2.5", "123456789", "1e3", "-1"], ["10000000", "2.5", "123456789", "1000"]),
        (["NaN", "+Inf", "3 1234", "4  5  ", "0 0"], ["NaN", "inf", "3 @1234", "4 @5"]),
        (["99999999", "8", "7", "6", "5"], ["99999999", "8", "7", "6"]),
    ] {
        let told = scraper.read_as(&page(round), Text).unwrap();
        assert_eq!(told.values, values(values_of));
        assert_eq!(told.was_followed, round[0] != "1", "{round:?}");
    }
}

#[test]
fn a_page_that_departs_is_read_in_full_with_the_slots_that_were() {
    let mut scraper = Scraper::new(&["a"]);
    scraper.check("a{x=\"1\"} 1\na{x=\"2\"} 2\n", &["a{x=\"1\"} 1 by 0", "a{x=\"2\"} 2 by 0"], (2, 0), false);
    let first = scraper.reader.values.clone();
    // In another order and another spelling, with one more.
    let page = "a { x = \"2\" } 5\n{\"a\",x=\"1\"} 6\na{x=\"3\"} 7\n";
    scraper.check(page, &["a{x=\"2\"} 5 by 0", "a{x=\"1\"} 6 by 0", "a{x=\"3\"} 7 by 0"], (1, 0), false);
    let slots: Vec<Slot> = scraper.reader.values.iter().map(|read| read.slot).collect();
    assert_eq!(slots, [first[1].slot, first[0].slot, Slot(2)]);
    scraper.check(page, &["a{x=\"2\"} 5 by 0", "a{x=\"1\"} 6 by 0", "a{x=\"3\"} 7 by 0"], (0, 0), true);
}

#[test]
fn whatever_is_wrong_with_a_page_is_found_also_where_it_follows() {
    let good = "# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\n";
    for (page, line) in [
        ("# TYPE a counter\na{x=\"1\"} 1\na{x=\"1\"} 2\n", 3),
        ("# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2z\n", 3),
        ("# TYPE a counter\na{x=\"1\"} \na{x=\"2\"} 2\n", 2),
        ("# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\na{x=\"1\"} 3\n", 4),
        ("# TYPE a counter\na{x=\"1\"} 1\r\na{x=\"2\"} 2\n", 2),
        ("# TYPE a counter\na{x=\"1\"} 1e999\na{x=\"2\"} 2\n", 2),
        ("# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\n# TYPE a counter\n", 4),
    ] {
        let mut scraper = Scraper::new(&["a"]);
        scraper.read_as(good, Text).unwrap();
        let before = (scraper.target.len(), scraper.target.scrapes);
        assert_eq!(scraper.read_as(page, Text).unwrap_err().line, line, "{page}");
        assert_eq!((scraper.target.len(), scraper.target.scrapes), before, "{page} left a trace");
        assert!(scraper.read_as(good, Text).unwrap().was_followed);
    }
}

#[test]
fn a_refused_page_leaves_no_new_series() {
    let mut scraper = Scraper::new(&["a"]);
    scraper.read_as("a{x=\"1\"} 1\n", Text).unwrap();
    scraper.read_as("a{x=\"1\"} 1\na{x=\"2\"} 2\na{x=\"3\"} 3\nb\n", Text).unwrap_err();
    assert_eq!(scraper.target.len(), 1);
    scraper.check("a{x=\"3\"} 3\na{x=\"1\"} 1\n", &["a{x=\"3\"} 3 by 0", "a{x=\"1\"} 1 by 0"], (1, 0), false);
}

#[test]
fn a_name_without_anything_behind_it_is_not_mistaken_for_a_longer_one() {
    let mut scraper = Scraper::new(&["a", "a1"]);
    scraper.check("a+1\n", &["a 1 by 0"], (1, 0), false);
    scraper.check("a+1\n", &["a 1 by 0"], (0, 0), false);
    assert_eq!(scraper.read_as("a1\n", Text).unwrap_err().fault.code(), "scrape.syntax");
}

#[test]
fn series_that_stay_away_are_forgotten_after_so_many_scrapes() {
    let memory = MemoryLimits { forget_after: 3, ..MemoryLimits::default() };
    let mut scraper = Scraper::with(&["a"], Limits::default(), memory);
    let (both, one) = ("a{x=\"1\"} 1\na{x=\"2\"} 2\n", "a{x=\"1\"} 1\n");
    let told = |appeared, forgotten, was_followed| (appeared, forgotten, was_followed);
    let mut read = |page: &str| {
        let told = scraper.read_as(page, Text).unwrap();
        (told.appeared, told.forgotten, told.was_followed)
    };
    assert_eq!(read(both), told(2, 0, false));
    assert_eq!(read(both), told(0, 0, true));
    assert_eq!(read(one), told(0, 0, false));
    assert_eq!(read(one), told(0, 0, true));
    assert_eq!(read(both), told(0, 0, false), "back before its time");
    for _ in 0..3 {
        assert_eq!(read(one).1, 0);
    }
    assert_eq!(read(one), told(0, 1, true));
    assert_eq!(read(one), told(0, 0, true));
    assert_eq!(read(both), told(1, 0, false));
    assert_eq!(read(both), told(0, 0, true));
}

#[test]
fn memory_does_not_grow_with_series_that_come_and_go() {
    let limits = Limits { samples: 20, ..Limits::default() };
    let memory = MemoryLimits { forget_after: 1_000_000, ..MemoryLimits::default() };
    let mut scraper = Scraper::with(&["a"], limits, memory);
    for round in 0..2_000 {
        let page: String = (0..10).map(|line| format!("a{{x=\"{}\"}} 1\n", round * 10 + line)).collect();
        let told = scraper.read_as(&page, Text).unwrap();
        assert_eq!((told.values.len(), told.appeared), (10, 10));
        assert!(scraper.target.len() <= 40, "{}", scraper.target.len());
    }
    assert!(scraper.target.bytes() < 20_000, "{}", scraper.target.bytes());
}

#[test]
fn a_page_too_long_to_remember_is_read_in_full_each_time() {
    let memory = MemoryLimits { outline_bytes: 60, ..MemoryLimits::default() };
    let mut scraper = Scraper::with(&["a"], Limits::default(), memory);
    let page = "a{x=\"1\"} 1\n# a comment that takes more than there is for the outline of a page\n";
    scraper.check(page, &["a{x=\"1\"} 1 by 0"], (1, 0), false);
    scraper.check(page, &["a{x=\"1\"} 1 by 0"], (0, 0), false);
    assert!(scraper.target.bytes() < 1_000);
}

#[test]
fn unselected_series_cost_little_memory() {
    let mut scraper = Scraper::new(&["a"]);
    let line = |line| format!("http_request_duration_seconds_bucket{{route=\"/api/v1/orders\",le=\"{line}\"}} 1\n");
    let page: String = (0..5_000).map(line).collect();
    scraper.read_as(&page, Text).unwrap();
    assert!(scraper.target.bytes() < 5_000 * 20, "{}", scraper.target.bytes());
}

/// Lines that are not selected, histogram after histogram.
fn histograms(count: usize) -> String {
    let histogram = |place: usize| {
        let stem = format!("method=\"GET\",route=\"/api/v1/{place}\"");
        let buckets = ["0.1", "0.5", "1", "+Inf"].map(|le| format!("h_bucket{{{stem},le=\"{le}\"}} {place}\n"));
        format!("{}h_sum{{{stem}}} 1.{place}\nh_count{{{stem}}} {place}\n", buckets.concat())
    };
    (0..count).map(histogram).collect()
}

#[test]
fn lines_that_repeat_cost_little_more_than_one_of_their_group() {
    let mut scraper = Scraper::new(&["a"]);
    let page = format!("# TYPE h histogram\n{}a 1\n", histograms(1_000));
    scraper.check(&page, &["a 1 by 0"], (1, 0), false);
    // 8 bytes a line and 12 a run, and of one line in six what it does not share with the group before.
    assert!(scraper.target.bytes() < 6_000 * 9, "{}", scraper.target.bytes());
    scraper.check(&page.replace(" 1.", " 1234567.").replace("a 1\n", "a 5\n"), &["a 5 by 0"], (0, 0), true);
}

#[test]
fn what_is_wrong_with_a_line_that_repeats_is_told_as_of_any_other() {
    let good = format!("{}h_sum{{method=\"GET\",route=\"/last\"}} 1\n", histograms(3));
    let (last, limit) = ("method=\"GET\",route=\"/last\"", Limits { samples: 20, ..Limits::default() });
    for (line, place, code) in [
        (format!("h_count{{{last}}} 1x"), "20:37", "scrape.syntax"),
        (format!("h_count{{{last}}}  \n"), "20:38", "scrape.syntax"),
        (format!("h_count{{{last}}} 1\r"), "20:38", "scrape.syntax"),
        (format!("h_count{{{last}}} 1 1.5"), "20:39", "scrape.syntax"),
        (format!("h_count{{{last}}} 1e999"), "20:37", "scrape.syntax"),
        (format!("h_count{{{last},{last}}} 1"), "20:36", "scrape.duplicate_label"),
        (format!("h_count{{{last}}} 1\nh_count{{{last}}} 1"), "21:1", "scrape.limit"),
        (format!("h_sum{{{last}}} 1"), "20:1", "scrape.duplicate_series"),
        (histograms(1).lines().last().unwrap().to_owned(), "20:1", "scrape.duplicate_series"),
        ("# TYPE h histogram".to_owned(), "20:10", "scrape.syntax"),
    ] {
        let page = format!("{good}{line}\n");
        for selector in ["a", "h_sum", r#"{__name__=~"h.+"}"#] {
            let error = Scraper::with(&[selector], limit, MemoryLimits::default()).read_as(&page, Text).unwrap_err();
            assert_eq!(
                (format!("{}:{}", error.line, error.column).as_str(), error.fault.code()),
                (place, code),
                "{line}"
            );
        }
    }
}

#[test]
fn a_label_of_a_pattern_may_not_be_in_a_stem_as_well() {
    let group =
        |stem: &str| format!("h_sum{{{stem}}} 1\nh_bucket{{{stem},le=\"1\"}} 1\nh_bucket{{{stem},le=\"2\"}} 1\n");
    let page = [group("x=\"1\""), group("x=\"2\""), group("le=\"3\"")].concat();
    let error = Scraper::new(&["a"]).read_as(&page, Text).unwrap_err();
    assert_eq!((error.line, error.column, error.fault.code()), (8, 17, "scrape.duplicate_label"));
}

#[test]
fn openmetrics_pages_are_followed_to_their_eof() {
    let mut scraper = Scraper::new(&["a_total"]);
    let page = |rest: &str| format!("# TYPE a counter\na_total{{x=\"1\"}} {rest}");
    for (rest, was_followed) in [
        ("1\n# EOF\n", false),
        ("2.0 1.5\n# EOF\n", true),
        ("3 # {id=\"é\"} 1\n# EOF\n", true),
        ("4 5 # {id=\"}\",b=\"\"} 1 7\n# EOF\n", true),
        ("4\n# EOF", false),
        ("5\n# EOF", true),
    ] {
        let told = scraper.read_as(&page(rest), OpenMetrics).unwrap();
        assert_eq!((told.values.len(), told.was_followed), (1, was_followed), "{rest}");
    }
    for rest in ["1\n", "1\n# EOF\n# EOF", "1 # {id=1} 1\n# EOF", "1 # {id=\"a\",id=\"b\"} 1\n# EOF", "1  \n# EOF"] {
        scraper.read_as(&page(rest), OpenMetrics).expect_err(rest);
    }
    assert!(
        scraper
            .reader
            .read(
                &mut scraper.target,
                b"# TYPE a counter\na_total{x=\"1\"} 1 # {id=\"\xff\"} 1\n# EOF",
                (OpenMetrics, End::Certain)
            )
            .is_err()
    );
    scraper.read_as("# TYPE a counter\na_total{x=\"1\"} 3\n# EOF", Text).unwrap();
}

#[test]
fn several_points_of_a_new_series_get_one_slot() {
    let mut scraper = Scraper::new(&["a"]);
    for round in 0..3 {
        let told = scraper
            .read_as("a 1 5\na 2 6\na{x=\"y\"} 1\na{x=\"z\"} 5 1\na{x=\"z\"} 6 2\n# EOF\n", OpenMetrics)
            .unwrap();
        let values = [
            "a 1 @5000 by 0",
            "a 2 @6000 by 0",
            "a{x=\"y\"} 1 by 0",
            "a{x=\"z\"} 5 @1000 by 0",
            "a{x=\"z\"} 6 @2000 by 0",
        ];
        let appeared = if round == 0 { 3 } else { 0 };
        assert_eq!(
            (told.values, told.appeared, told.was_followed),
            (values.map(str::to_owned).to_vec(), appeared, false)
        );
        assert_eq!(scraper.target.len(), 3);
    }
}

#[test]
fn series_that_tell_when_others_were_created_come_with_them() {
    let mut scraper = Scraper::new(&[r#"a_total{x="1"}"#, "h_bucket", r#"s_count{le="5"}"#]);
    let page = "# TYPE a counter\na_created{x=\"1\"} 100.5\na_total{x=\"1\"} 1\na_total{x=\"2\"} 1\na_created{x=\"2\"} 7\n\
        # TYPE h histogram\nh_bucket{y=\"z\",le=\"1\"} 1\nh_bucket{y=\"z\",le=\"+Inf\"} 1\nh_count{y=\"z\"} 1\nh_created{y=\"z\"} 8\n\
        # TYPE s summary\ns_count{le=\"5\"} 1\ns_created 9\n# EOF\n";
    let told = scraper.read_as(page, OpenMetrics).unwrap();
    let created = [
        "a_created{x=\"1\"} 100.5 by ",
        "a_total{x=\"1\"} 1 by 0",
        "h_bucket{le=\"1\",y=\"z\"} 1 by 1",
        "h_bucket{le=\"+Inf\",y=\"z\"} 1 by 1",
        "h_created{y=\"z\"} 8 by ",
        "s_count{le=\"5\"} 1 by 2",
    ];
    assert_eq!(told.values, created);
    let links = |scraper: &Scraper| {
        let slots = 0..scraper.target.len() as u32;
        slots.map(|slot| scraper.target.series(Slot(slot)).created()).collect::<Vec<_>>()
    };
    let (of_a, of_h) = (Some(Slot(0)), Some(Slot(4)));
    assert_eq!(links(&scraper), [None, of_a, of_h, of_h, None, None]);
    assert!(scraper.read_as(page, OpenMetrics).unwrap().was_followed);
    // One that appears later is linked to those that were there.
    let mut scraper = Scraper::new(&["a_total"]);
    scraper.read_as("a_total 1\n", Text).unwrap();
    scraper.read_as("a_total 1\na_created 5\n", Text).unwrap();
    assert_eq!(links(&scraper), [Some(Slot(1)), None]);
}
