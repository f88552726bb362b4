use super::*;
use crate::formats::exposition::{End, Entry, Format, Key, Limits, Page, Scratch};

fn selects(selector: &Selector, series: &str) -> bool {
    let page = format!("{series} 1\n");
    let mut scratch = Scratch::default();
    let read = (Format::Text, End::Certain);
    let mut page = Page::new(page.as_bytes(), read, Limits::default(), Key::random(), &mut scratch).unwrap();
    match page.next_entry().unwrap() {
        Some(Entry::Sample(sample)) => selector.selects(&sample.name.bytes(), sample.labels),
        other => panic!("{series} gave {other:?}"),
    }
}

fn check(selector: &str, selected: &[&str], others: &[&str]) {
    let parsed = Selector::parse(selector).unwrap_or_else(|error| panic!("{selector}: {error}"));
    for parsed in [&parsed, &Selector::parse(&parsed.to_string()).unwrap()] {
        for series in selected {
            assert!(selects(parsed, series), "{selector} as {parsed} does not select {series}");
        }
        for series in others {
            assert!(!selects(parsed, series), "{selector} as {parsed} selects {series}");
        }
    }
}

#[test]
fn a_name_selects_the_metric_with_whatever_labels() {
    check("up", &["up", "up{}", r#"up{a="b"}"#], &["upper", "u"]);
    check(" job:rate5m { } ", &["job:rate5m"], &["job"]);
    check(r#"{"http.requests"}"#, &[r#"{"http.requests"}"#, r#"{"http.requests",a="b"}"#], &["http"]);
    check(r#"{__name__="up"}"#, &["up"], &["down"]);
    check(r#"{__name__=~"http_.+_total"}"#, &["http_requests_total"], &["http__total", "xhttp_requests_total"]);
    check(r#"{__name__!="up",__name__=~"u.*"}"#, &["uptime"], &["up", "down"]);
}

#[test]
fn each_matcher_must_accept() {
    check(r#"m{a="x",b!="y"}"#, &[r#"m{a="x"}"#, r#"m{b="z",a="x"}"#], &[r#"m{a="x",b="y"}"#, "m"]);
    check(
        r#"m{code=~"5..|429"}"#,
        &[r#"m{code="503"}"#, r#"m{code="429"}"#],
        &[r#"m{code="5033"}"#, r#"m{code="x429"}"#],
    );
    check(r#"m{code!~"5.."}"#, &[r#"m{code="200"}"#, "m"], &[r#"m{code="500"}"#]);
    check(r#"m{route=~"/users/{id}.*"}"#, &[r#"m{route="/users/{id}/x"}"#], &[r#"m{route="/users/id"}"#]);
    check(r#"m{"http.route"="/"}"#, &[r#"m{"http.route"="/"}"#], &["m"]);
    check(r#"m{a=~"x.y"}"#, &[r#"m{a="x\ny"}"#], &[r#"m{a="xy"}"#]);
}

#[test]
fn an_absent_label_is_an_empty_one() {
    check(r#"m{a=""}"#, &["m", r#"m{a=""}"#], &[r#"m{a="x"}"#]);
    check(r#"m{a!=""}"#, &[r#"m{a="x"}"#], &["m", r#"m{a=""}"#]);
    check(r#"m{a=~"x?"}"#, &["m", r#"m{a="x"}"#], &[r#"m{a="y"}"#]);
    check(r#"m{a!~".+"}"#, &["m", r#"m{a=""}"#], &[r#"m{a="y"}"#]);
    check(r#"m{a=~".*"}"#, &["m", r#"m{a="y"}"#], &[]);
}

#[test]
fn strings_are_written_in_three_ways() {
    check(r#"m{a="q\"\\\n\x41\u00e9\101"}"#, &["m{a=\"q\\\"\\\\\\nAéA\"}"], &[]);
    check(r#"m{a='it\'s "so"'}"#, &[r#"m{a="it's \"so\""}"#], &[]);
    check(r"m{a=~`\d+\.x`}", &[r#"m{a="12.x"}"#], &[r#"m{a="12x"}"#]);
    check("m{ # a comment\n a = \"x\" , }", &[r#"m{a="x"}"#], &["m"]);
}

fn check_refused(selector: &str, column: usize, part: &str) {
    let error = Selector::parse(selector).expect_err(selector);
    assert_eq!(error.column, column, "{selector}: {error}");
    assert!(error.to_string().contains(part), "{selector}: {error}");
}

#[test]
fn what_promql_refuses_is_refused_where_it_stands() {
    for (selector, column, part) in [
        ("", 1, "metric name"),
        ("5m", 1, "metric name"),
        ("http.requests", 5, "ends here"),
        ("m[5m]", 2, "range"),
        ("rate(m[5m])", 5, "function"),
        ("m offset 5m", 3, "ends here"),
        ("m{a=\"x\"} > 5", 10, "ends here"),
        ("m{a}", 4, "expected `=`"),
        ("m{a==\"x\"}", 5, "quotes"),
        ("m{a=x}", 5, "quotes"),
        ("m{a=\"x\" b=\"y\"}", 9, "comma"),
        ("m{,}", 3, "label name"),
        ("m{a=\"x\",,}", 9, "label name"),
        ("m{a=\"x\"", 8, "comma"),
        ("m{a=\"x", 5, "not closed"),
        ("m{a=\"x\ny\"}", 5, "not closed"),
        (r#"m{a="\d"}"#, 6, "escape"),
        (r#"m{a="\'"}"#, 6, "escape"),
        (r#"m{a="\xff"}"#, 5, "UTF-8"),
        (r#"m{a="\400"}"#, 6, "no character"),
        (r#"m{a="\x+1"}"#, 6, "no character"),
        (r#"m{__name__="n"}"#, 3, "name already"),
        (r#"m{"n"}"#, 3, "name already"),
        (r#"{__name__="n","m"}"#, 15, "name already"),
        (r#"{"ö" x}"#, 6, "expected `=`"),
        (r#"m{a=~"("}"#, 6, "unclosed group"),
        (r#"m{a=~"x(?=y)"}"#, 6, "Prometheus has no `(?=y`"),
    ] {
        check_refused(selector, column, part);
    }
}

#[test]
fn a_selector_of_everything_is_refused() {
    for selector in ["{}", r#"{a=""}"#, r#"{a=~".*"}"#, r#"{a!="x"}"#, r#"{__name__=~".*"}"#, r#"{""}"#] {
        check_refused(selector, 1, "any name");
    }
    check(r#"{a=~".+"}"#, &[r#"m{a="x"}"#], &["m"]);
}

#[test]
fn an_expression_that_compiles_to_too_much_is_refused_by_the_name_of_the_limit() {
    let error = Selector::parse(r#"m{a=~"((\\pL{500}){500}){50}"}"#).unwrap_err();
    assert_eq!(error.fault, SelectorFault::RegexTooBig { limit: 1 << 20 });
    assert!(error.to_string().contains("1024 KiB"), "{error}");
}

#[test]
fn expressions_run_in_linear_time() {
    let selector = Selector::parse(r#"m{a=~"(a*)*(a*)*b"}"#).unwrap();
    assert!(!selects(&selector, &format!("m{{a=\"{}\"}}", "a".repeat(4000))));
}

#[test]
fn a_selector_of_one_name_can_be_turned_to_a_part_of_the_metric() {
    let selector = Selector::parse(r#"h_seconds{a="x"}"#).unwrap();
    assert_eq!(selector.with_suffix("_bucket").unwrap().to_string(), r#"h_seconds_bucket{a="x"}"#);
    assert_eq!(Selector::parse(r#"{__name__=~"h.*"}"#).unwrap().with_suffix("_bucket"), None);
}

#[test]
fn many_selectors_are_asked_by_name() {
    let parse = |text| Selector::parse(text).unwrap();
    let all = ["b", r#"{__name__=~"a|b"}"#, "a", r#"b{x="y"}"#, r#"{x="y"}"#].map(parse);
    let selectors = Selectors::new(all.to_vec());
    let ids = |ids: &[u32]| ids.iter().copied().map(SelectorId).collect::<Vec<_>>();
    assert_eq!(selectors.of_name(b"a"), ids(&[1, 2, 4]));
    assert_eq!(selectors.of_name(b"b"), ids(&[0, 1, 3, 4]));
    assert_eq!(selectors.of_name(b"c"), ids(&[4]));
    assert_eq!(selectors.get(SelectorId(2)), &parse("a"));
}
