//! The grammar, case by case: what is read, and what is refused at which line and column.

use super::*;
use crate::time::Timestamp;

use Format::{OpenMetrics, Text as Plain};

/// The samples of a page, one a line: the series in one spelling, the value, `@` the timestamp in milliseconds.
fn read_until(page: &[u8], format: Format, end: End, limits: Limits) -> Result<String, PageError> {
    let mut scratch = Scratch::default();
    let mut page = Page::new(page, (format, end), limits, Key::random(), &mut scratch)?;
    let mut samples = Vec::new();
    while let Some(entry) = page.next_entry()? {
        if let Entry::Sample(sample) = entry {
            let at = sample.at.map_or(String::new(), |at| format!(" @{}", Timestamp::millis(at)));
            let value = match sample.value {
                Value::Whole(whole) => whole.to_string(),
                Value::Real(real) => format!("{real:?}"),
            };
            samples.push(format!("{} {value}{at}", sample.series()));
        }
    }
    assert_eq!(page.samples() as usize, samples.len());
    Ok(samples.join("\n"))
}

fn read(page: &[u8], format: Format) -> Result<String, PageError> {
    read_until(page, format, End::Certain, Limits::default())
}

/// Checks a page: `Ok` with its samples, or `Err` with how its refusal begins, `line:column: message`.
#[track_caller]
fn check(format: Format, page: impl AsRef<[u8]>, expected: Result<&str, &str>) {
    let page = page.as_ref();
    let found = read(page, format).map_err(|error| format!("{}:{}: {}", error.line, error.column, error.fault));
    let shown = page.escape_ascii();
    match (&found, expected) {
        (Ok(samples), Ok(expected)) => assert_eq!(samples, expected, "{shown}"),
        (Err(refusal), Err(expected)) => assert!(refusal.starts_with(expected), "{shown}: {refusal}"),
        _ => panic!("{shown} gave {found:?} and not {expected:?}"),
    }
}

/// The same in both formats, with `# EOF` added in OpenMetrics.
#[track_caller]
fn check_both(page: impl AsRef<[u8]>, expected: Result<&str, &str>) {
    check(Plain, page.as_ref(), expected);
    check(OpenMetrics, [page.as_ref(), b"# EOF\n"].concat(), expected);
}

#[test]
fn names_values_and_labels_are_read_in_both_formats() {
    for (page, samples) in [
        ("a 1\n", "a 1"),
        ("a{} 1\n", "a 1"),
        ("a{x=\"1\"} 1\n", "a{x=\"1\"} 1"),
        ("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"2\"} 2\n", "a{x=\"1\",y=\"2\"} 1\na{x=\"2\",y=\"2\"} 2"),
        ("some:aggregate:rate5m{a_b=\"c\"} 1\n", "some:aggregate:rate5m{a_b=\"c\"} 1"),
        ("_a{_b=\"c\"} 1\n", "_a{_b=\"c\"} 1"),
        ("a{x=\"\"} 1\n", "a 1"),
        ("a NaN\nb +Inf\nc -Inf\nd inf\n", "a NaN\nb inf\nc -inf\nd inf"),
        ("a 1e3\nb 1.5e-3\nc -2.5E+2\n", "a 1000\nb 0.0015\nc -250.0"),
        ("a 18446744073709551615\nb 9007199254740993.0\n", "a 18446744073709551615\nb 9007199254740993"),
    ] {
        check_both(page, Ok(samples));
    }
}

#[test]
fn between_quotes_nothing_means_anything() {
    for (page, samples) in [
        ("a{x=\"/users/{id}\"} 1\n", "a{x=\"/users/{id}\"} 1"),
        ("a{x=\"} 5 6\"} 1\n", "a{x=\"} 5 6\"} 1"),
        ("a{x=\"1,y=2\"} 1\n", "a{x=\"1,y=2\"} 1"),
        ("a{x=\"/s?q=x&r=\"} 1\n", "a{x=\"/s?q=x&r=\"} 1"),
        ("a{x=\"#\",y=\" # {\"} 1\n", "a{x=\"#\",y=\" # {\"} 1"),
        ("a{x=\"Zürich ☃ \u{1F980}\"} 1\n", "a{x=\"Zürich ☃ \u{1F980}\"} 1"),
        ("a{x=\"nul\0\"} 1\n", "a{x=\"nul\0\"} 1"),
        ("a{x=\"tab\tcr\r\"} 1\n", "a{x=\"tab\tcr\r\"} 1"),
        (r#"a{x="\"hi\"",y="C:\\DIR\n"} 1"#, r#"a{x="\"hi\"",y="C:\\DIR\n"} 1"#),
        (r#"a{x="\\"} 1"#, r#"a{x="\\"} 1"#),
        // A backslash before anything else stands for itself.
        (r#"a{x="\d\x"} 1"#, r#"a{x="\\d\\x"} 1"#),
    ] {
        check_both(format!("{}\n", page.trim_end_matches('\n')), Ok(samples));
    }
}

#[test]
fn names_between_quotes_are_read() {
    for (page, samples) in [
        (r#"{"my.metric"} 1"#, r#"{"my.metric"} 1"#),
        (r#"{"my.metric",x="1"} 1"#, r#"{"my.metric",x="1"} 1"#),
        (r#"{x="1","my.metric",y="2"} 1"#, r#"{"my.metric",x="1",y="2"} 1"#),
        (r#"{"plain"} 1"#, "plain 1"),
        (r#"a{"http.route"="/"} 1"#, r#"a{"http.route"="/"} 1"#),
        (r#"{"with \"quotes\" {and\nmore}","n \\"="6"} 1"#, r#"{"with \"quotes\" {and\nmore}","n \\"="6"} 1"#),
        ("# TYPE \"my.metric\" counter\n# HELP \"my.metric\" text\n{\"my.metric\"} 1", r#"{"my.metric"} 1"#),
    ] {
        check_both(format!("{page}\n"), Ok(samples));
    }
    for (page, refusal) in [
        (r#"{x="1"} 1"#, "1:1: this line names no metric"),
        (r#"{} 1"#, "1:1: this line names no metric"),
        (r#"{""} 1"#, "1:3: this line names no metric"),
        (r#"a{"b"} 1"#, "1:4: the metric has a name already"),
        (r#"{"a","b"} 1"#, "1:7: the metric has a name already"),
        (r#"{"a",__name__="b"} 1"#, "1:6: the metric has a name already"),
        (r#"a{__name__="b"} 1"#, "1:3: the metric has a name already"),
        (r#"a{""="b"} 1"#, "1:4: expected a label name"),
        (r#"{"a", "b = "c"} 1"#, "1:"),
        (r#"# TYPE "" counter"#, "1:8: this line names no metric"),
        (r#"# TYPE "a counter"#, "1:8: this quote is not closed"),
    ] {
        check_both(format!("{page}\n"), Err(refusal));
    }
}

#[test]
fn a_broken_line_refuses_the_page_at_its_place() {
    for (page, refusal) in [
        ("good 1\na\n", "2:2: expected"),
        ("a \n", "1:3: expected a value"),
        ("a{x=\"1\"}\n", "1:9: expected"),
        ("a true\n", "1:3: this is not a number"),
        ("a 1_2\n", "1:3: this is not a number"),
        ("a 0x1p-3\n", "1:3: this is not a number"),
        ("a 1e400\n", "1:3: this number is too large"),
        ("ä{x=\"1\"} 1\n", "1:1: expected a metric name"),
        ("ä 1\n", "1:1: expected a metric name"),
        ("9a 1\n", "1:1: expected a metric name"),
        ("a.b 1\n", "1:2: "),
        ("a{x='1'} 1\n", "1:5: expected a label value between double quotes"),
        ("a{x=1} 1\n", "1:5: expected a label value between double quotes"),
        ("a{x} 1\n", "1:4: expected `=`"),
        ("a{=\"1\"} 1\n", "1:3: expected a label name"),
        ("a{x=\"1\"y=\"2\"} 1\n", "1:8: expected a comma or `}`"),
        ("a{,x=\"1\"} 1\n", "1:3: expected a label name"),
        ("a{x=\"1\",,y=\"2\"} 1\n", "1:9: expected a label name"),
        ("a{9=\"1\"} 1\n", "1:3: expected a label name"),
        ("a{x:y=\"1\"} 1\n", "1:4: expected `=`"),
        ("a{ä=\"ö\",x=1} 1\n", "1:3: expected a label name"),
        ("a{z=\"ö\",x=1} 1\n", "1:11: expected a label value"),
        ("a{x=\"1} 1\nb 2\n", "1:5: this quote is not closed in its line"),
        ("a{x=\"1\\\"} 1\n", "1:5: this quote is not closed in its line"),
        ("a{x=\"1\\\n\"} 1\n", "1:5: this quote is not closed in its line"),
        ("a{x=\"two\nlines\"} 1\n", "1:5: this quote is not closed in its line"),
        ("a{x=\"1\",x=\"2\"} 1\n", "1:9: this label is in the line already"),
        ("a{x=\"1\",y=\"\",\"x\"=\"\"} 1\n", "1:15: this label is in the line already"),
        ("a\0 1\n", "1:2: "),
        ("a{x\0=\"1\"} 1\n", "1:4: expected `=`"),
        ("a 1\r\nb 2\r\n", "1:4: a carriage return"),
        ("a 1 5\r\n", "1:6: a carriage return"),
        ("a 1 5z\n", "1:5: this is not a timestamp"),
        ("a 1 NaN\n", "1:5: this is not a timestamp"),
        ("a 1 2 3\n", "1:"),
        ("# TYPE a\n", "1:9: "),
        ("# TYPE a gibberish\n", "1:10: the format has no such type"),
        ("# TYPE 9 counter\n", "1:8: expected a metric name"),
        ("# HELP #\n", "1:8: expected a metric name"),
        ("# HELP \n", "1:8: expected a metric name"),
    ] {
        check_both(page, Err(refusal));
    }
}

#[test]
fn bytes_that_are_not_utf8_refuse_the_page() {
    for (page, place) in [
        (&b"a 1\nb{x=\"\xff\"} 1\n"[..], "2:6"),
        (b"a{\xff=\"1\"} 1\n", "1:3"),
        (b"# HELP a \xc3\x28\na 1\n", "1:10"),
        (b"# a comment \xf0\x9f\n", "1:13"),
        (b"a{x=\"\xc3\xb6\xff\"} 1\n", "1:7"),
    ] {
        check_both(page, Err(&format!("{place}: this is not UTF-8")));
    }
}

#[test]
fn blanks_stand_anywhere_in_text_and_nowhere_else_in_openmetrics() {
    for (page, samples, column) in [
        (" a 1\n", "a 1", 1),
        ("\ta\t1\n", "a 1", 1),
        ("a  1\n", "a 1", 3),
        ("a 1 \n", "a 1", 5),
        ("a { x = \"1\" , y = \"2\" } 1\n", "a{x=\"1\",y=\"2\"} 1", 3),
        ("a{ x=\"1\"} 1\n", "a{x=\"1\"} 1", 3),
        ("a{x=\"1\", y=\"2\"} 1\n", "a{x=\"1\",y=\"2\"} 1", 9),
        ("a{x=\"1\",} 1\n", "a{x=\"1\"} 1", 9),
        ("a{x=\"1\"}1\n", "a{x=\"1\"} 1", 9),
        ("a{x=\"1\"}  1  5  \n", "a{x=\"1\"} 1 @5", 10),
        ("a+1\n", "a 1", 2),
        ("\na 1\n\n", "a 1", 1),
        ("   \na 1\n", "a 1", 1),
        ("# a comment\na 1\n", "a 1", 1),
        ("#\n#comment\n# TYPES are\n# HELP\n  # TYPE\na 1\n", "a 1", 1),
        ("#  TYPE \t a  counter \na 1\n", "a 1", 1),
    ] {
        check(Plain, page, Ok(samples));
        check(OpenMetrics, format!("{page}# EOF\n"), Err(&format!("1:{column}: ")));
    }
    check(Plain, "{ \"a\" , x=\"1\" , } 1\n", Ok("a{x=\"1\"} 1"));
}

#[test]
fn timestamps_are_whole_milliseconds_in_text() {
    check(Plain, "a 1 1395066363000\nb 1 -3982045\nc 1 0\n", Ok("a 1 @1395066363000\nb 1 @-3982045\nc 1 @0"));
    for timestamp in ["1.5", "1e3", "9223372036854775808", "+", "-"] {
        check(Plain, format!("a 1 {timestamp}\n"), Err("1:5: this is not a timestamp"));
    }
}

#[test]
fn timestamps_are_seconds_in_openmetrics() {
    let page = "a 1 1520879607.789\nb 1 123\nc 1 -1.5\nd 1 1e3\n# EOF\n";
    check(OpenMetrics, page, Ok("a 1 @1520879607789\nb 1 @123000\nc 1 @-1500\nd 1 @1000000"));
    for timestamp in ["Inf", "nan", "1e17", ""] {
        check(OpenMetrics, format!("a 1 {timestamp}\n# EOF\n"), Err("1:5: this is not a timestamp"));
    }
}

#[test]
fn exemplars_are_checked_and_dropped() {
    let page = "\
        # TYPE h histogram\n\
        h_bucket{le=\"1\"} 1 # {trace_id=\"a} 5 # {\"} 0.5\n\
        h_bucket{le=\"2\"} 2 # {} 1.5 123.123\n\
        h_bucket{le=\"+Inf\"} 3 5.5 # {\"id.thing\"=\"x\",y=\"z\"} 4 1e9\n\
        h_count 3\n# EOF\n";
    let samples = "h_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 2\nh_bucket{le=\"+Inf\"} 3 @5500\nh_count 3";
    check(OpenMetrics, page, Ok(samples));
    for (exemplar, refusal) in [
        ("# {aa=bb}", "1:11: expected a label value"),
        ("# {a=\"b\"}", "1:14: expected one blank and the exemplar's value"),
        ("# {bb} 1", "1:10: expected `=`"),
        ("# {\"bb\"} 1", "1:9: the metric has a name already"),
        ("# {a=\"b\",,c=\"d\"} 1", "1:14: expected a label name"),
        ("# {a=\"b\",} 1", "1:14: expected a label name"),
        ("# {a=\"b\",a=\"c\"} 1", "1:14: this label is in the line already"),
        ("# {a=\"b\"} true", "1:15: this is not a number"),
        ("# {a=\"b\"} 1 NaN", "1:17: this is not a timestamp"),
        ("# {a=\"b\"} 1 2 3", "1:18: expected the end of the line"),
        ("# {a=\"b\"", "1:13: expected a comma or `}`"),
        ("#", "1:4: expected the end of the line"),
        ("# x", "1:4: expected the end of the line"),
        ("5 #", "1:6: expected the end of the line"),
    ] {
        check(OpenMetrics, format!("a 1 {exemplar}\n# EOF\n"), Err(refusal));
    }
    check(Plain, "a 1 # {a=\"b\"} 1\n", Err("1:5: this is not a timestamp"));
}

#[test]
fn openmetrics_ends_with_eof_and_nothing_else() {
    check(OpenMetrics, "# EOF\n", Ok(""));
    check(OpenMetrics, "# EOF", Ok(""));
    check(OpenMetrics, "a 1\n# EOF", Ok("a 1"));
    for page in ["", "a 1\n", "a 1", "a 1 # {a=\"b\"} 4", "a{x=\"1", "# TYPE a counter", "# HELP a", "a", "# EO"] {
        let expected = format!("{}:", page.lines().count() + usize::from(page.ends_with('\n') || page.is_empty()));
        check(OpenMetrics, page, Err(&expected));
        assert_eq!(read(page.as_bytes(), OpenMetrics).unwrap_err().fault, Fault::NoEof, "{page}");
    }
    for (page, place) in [("# EOF\na 1", "2:1"), ("# EOF\n\n", "2:1"), ("# EOFa 1", "1:6"), ("# EOF\n# EOF\n", "2:1")] {
        check(OpenMetrics, page, Err(&format!("{place}: something follows")));
    }
    check(Plain, "# EOF\na 1\n", Ok("a 1"));
}

#[test]
fn a_last_line_without_its_newline_counts_when_the_transfer_is_whole() {
    for page in ["a 1\nb 25", "a 1\nb 25 7", "a 1\nb 2", "a 1\nb", "a 1\nb{x=\"y", "a 1\n# TYPE b cou"] {
        let error = read_until(page.as_bytes(), Plain, End::Uncertain, Limits::default()).unwrap_err();
        assert_eq!((error.fault, error.line), (Fault::Torn, 2), "{page}: {error}");
    }
    check(Plain, "a 1\nb 25", Ok("a 1\nb 25"));
    check(Plain, "a 1\n# a comment", Ok("a 1"));
    check(Plain, "a 1\n  ", Ok("a 1"));
    check(Plain, "", Ok(""));
    assert_eq!(read_until(b"a 1\nb 25\n", Plain, End::Uncertain, Limits::default()).unwrap(), "a 1\nb 25");
}

#[test]
fn metadata_stand_once_and_before_the_samples() {
    for (page, refusal) in [
        ("# TYPE a counter\n# TYPE a counter\n", "2:10: a second TYPE"),
        ("# HELP a x\n# HELP a y\n", "2:8: a second HELP"),
        ("a 1\n# TYPE a gauge\n", "2:10: TYPE after samples"),
        ("h_bucket{le=\"1\"} 1\n# TYPE h histogram\n", "2:10: TYPE after samples"),
        ("s_count 1\n# TYPE s summary\n", "2:10: TYPE after samples"),
    ] {
        check_both(page, Err(refusal));
    }
    let page = "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n";
    check_both(page, Ok("h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1"));
    check(Plain, "a 1\n# HELP a late\n", Ok("a 1"));
    check(OpenMetrics, "a 1\n# HELP a late\n# EOF\n", Err("2:8: HELP after samples"));
    // A metric of its own, as its own TYPE says.
    check(Plain, "# TYPE h_count gauge\nh_count 1\n# TYPE h histogram\nh_sum 1\n", Ok("h_count 1\nh_sum 1"));
}

#[test]
fn families_are_interleaved_in_text_alone() {
    check(Plain, "a{x=\"1\"} 1\nb 1\na{x=\"2\"} 1\n", Ok("a{x=\"1\"} 1\nb 1\na{x=\"2\"} 1"));
    check(OpenMetrics, "a{x=\"1\"} 1\nb 1\na{x=\"2\"} 1\n# EOF\n", Err("3:1: samples of this metric are above"));
    check(OpenMetrics, "a{x=\"1\"} 1\n# TYPE b gauge\na{x=\"2\"} 1\n# EOF\n", Err("3:1: samples of this metric"));
    let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_bucket{le=\"2\"} 1\nh_created 5\n# EOF\n";
    check(OpenMetrics, page, Ok("h_bucket{le=\"1\"} 1\nh_sum 1\nh_bucket{le=\"2\"} 1\nh_created 5"));
}

#[test]
fn each_format_has_its_types() {
    let types = |page: &str, format| {
        let mut scratch = Scratch::default();
        let mut page =
            Page::new(page.as_bytes(), (format, End::Certain), Limits::default(), Key::random(), &mut scratch)?;
        let mut types = Vec::new();
        while let Some(entry) = page.next_entry()? {
            if let Entry::Sample(sample) = entry {
                types.push(sample.metric_type);
            }
        }
        Ok::<_, PageError>(types)
    };
    use MetricType::*;
    let page = "# TYPE a_total counter\na_total 1\na 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_max 1\n\
        # TYPE s summary\ns{quantile=\"1\"} 1\ns_count 1\n# TYPE u untyped\nu 1\n# TYPE g gauge\ng 1\n";
    let expected = [Counter, Unknown, Histogram, Histogram, Unknown, Summary, Summary, Unknown, Gauge];
    assert_eq!(types(page, Plain).unwrap(), expected);
    let page = "# TYPE a counter\na_total 1\na_created 1\n# TYPE h gaugehistogram\nh_bucket{le=\"1\"} 1\nh_gsum 1\n\
        # TYPE i info\ni_info{x=\"y\"} 1\n# TYPE t stateset\nt{t=\"on\"} 1\n# TYPE u unknown\nu 1\n# EOF\n";
    let expected = [Counter, Counter, GaugeHistogram, GaugeHistogram, Info, StateSet, Unknown];
    assert_eq!(types(page, OpenMetrics).unwrap(), expected);
    for (format, word) in [(Plain, "info"), (Plain, "unknown"), (Plain, "Counter"), (OpenMetrics, "untyped")] {
        check(format, format!("# TYPE a {word}\n# EOF\n"), Err("1:10: the format has no such type"));
    }
    check(Plain, "# TYPE a counter\r\na 1\n", Err("1:17: a carriage return"));
    check(OpenMetrics, "# TYPE a  counter\n# EOF\n", Err("1:10: the format has no such type"));
}

#[test]
fn a_unit_ends_the_name() {
    check(OpenMetrics, "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 1\n# EOF\n", Ok("a_seconds 1"));
    check(OpenMetrics, "# UNIT a \na 1\n# EOF\n", Ok("a 1"));
    for name in ["a", "aseconds", "seconds", "_seconds"] {
        let column = 9 + name.len();
        check(
            OpenMetrics,
            format!("# UNIT {name} seconds\n# EOF\n"),
            Err(&format!("1:{column}: the name of the metric")),
        );
    }
    check(OpenMetrics, "# UNIT a\n# EOF\n", Err("1:9: expected one blank"));
    check(Plain, "# UNIT a nonsense\na 1\n", Ok("a 1"));
}

#[test]
fn a_series_is_in_a_page_once() {
    for page in [
        "a 1\na 2\n",
        "a 1\na{} 2\n",
        "a 1\na{x=\"\"} 1\n",
        "a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1\n",
        "a{x=\"1\"} 1\n{\"a\",\"x\"=\"1\"} 1\n",
        "a{x=\"\\\\d\"} 1\na{x=\"\\d\"} 1\n",
    ] {
        check_both(page, Err("2:1: this series is in the page already, in line 1"));
    }
    let mut page: String = (0..3_000).map(|line| format!("a{{x=\"{line}\"}} 1\n")).collect();
    page.push_str("a{x=\"1234\"} 1\n");
    check_both(page, Err("3001:1: this series is in the page already, in line 1235"));
    check_both(
        "a{x=\"1\",y=\"2\"} 1\na{x=\"2\",y=\"1\"} 1\na{x=\"12\"} 1\n",
        Ok("a{x=\"1\",y=\"2\"} 1\na{x=\"2\",y=\"1\"} 1\na{x=\"12\"} 1"),
    );
}

#[test]
fn openmetrics_may_have_several_points_of_a_series_in_order() {
    check(OpenMetrics, "a 17.0 123\na 18.0 456\na 19 457\n# EOF\n", Ok("a 17 @123000\na 18 @456000\na 19 @457000"));
    for page in ["a 1 5\na 1 5\n", "a 1 5\na 1 4\n", "a 1 5\na 1\n", "a 1\na 1 5\n"] {
        check(OpenMetrics, format!("{page}# EOF\n"), Err("2:1: this series is in the page already, in line 1"));
    }
    check(Plain, "a 1 5\na 1 6\n", Err("2:1: this series is in the page already"));
}

#[test]
fn limits_are_named_when_they_are_passed() {
    let limits = Limits { samples: 3, labels: 2, name_bytes: 5, value_bytes: 4 };
    let check = |page: &str, place: &str, limit, most| {
        let error = read_until(page.as_bytes(), Plain, End::Certain, limits).expect_err(page);
        assert_eq!(format!("{}:{}", error.line, error.column), place, "{page}: {error}");
        assert_eq!(error.fault, Fault::TooMany { limit, most }, "{page}");
        assert!(error.to_string().contains(&format!("more than {most} {limit}")), "{error}");
    };
    check("a 1\nb 1\nc 1\nd 1\n", "4:1", Limit::Samples, 3);
    check("a{b=\"1\",c=\"1\",d=\"1\"} 1\n", "1:15", Limit::Labels, 2);
    check("abcdef 1\n", "1:1", Limit::NameBytes, 5);
    check("{\"abcdef\"} 1\n", "1:3", Limit::NameBytes, 5);
    check("a{abcdef=\"1\"} 1\n", "1:3", Limit::NameBytes, 5);
    check("# HELP abcdef text\n", "1:8", Limit::NameBytes, 5);
    check("a{b=\"12345\"} 1\n", "1:6", Limit::ValueBytes, 4);
    read_until(b"abcde{b=\"1234\",c=\"1234\"} 1\nb 1\nc 1\n", Plain, End::Certain, limits).unwrap();
}

#[test]
fn what_is_no_page_of_metrics_is_called_what_it_is() {
    for (page, what) in [
        ("<!DOCTYPE html>\n<html>Please log in</html>\n", "a web page or XML"),
        ("\n  <html>\n", "a web page or XML"),
        ("{\"status\":\"ok\"}\n", "JSON"),
        ("{\n  \"status\": \"ok\"\n}", "JSON"),
        ("[1, 2]", "JSON"),
    ] {
        for format in [Plain, OpenMetrics] {
            let error = read(page.as_bytes(), format).expect_err(page);
            assert_eq!(error, PageError { line: 1, column: 1, fault: Fault::NotMetrics(what) }, "{page}");
            assert_eq!(error.fault.code(), "scrape.not_metrics");
        }
    }
    let packed = read(b"\x1f\x8b\x08\0\xff", Plain).unwrap_err().fault;
    assert_eq!(packed, Fault::NotMetrics("gzip that was not unpacked"));
    check(Plain, "{\"a\",x=\":\"} b\n", Err("1:13: this is not a number"));
    check(Plain, "login required\n", Err("1:7: this is not a number"));
}

#[test]
fn a_page_that_was_refused_stays_refused() {
    let mut scratch = Scratch::default();
    let read = (Plain, End::Certain);
    let mut page = Page::new(b"a 1\nb\nc 1\n", read, Limits::default(), Key::random(), &mut scratch).unwrap();
    assert!(page.next_entry().is_ok());
    let refused = page.next_entry().unwrap_err();
    assert_eq!((refused.line, page.next_entry().unwrap_err()), (2, refused));
}

#[test]
fn metadata_are_given_as_written() {
    let mut scratch = Scratch::default();
    let text = "# HELP a_seconds two\\nlines \n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n# EOF\n";
    let read = (OpenMetrics, End::Certain);
    let mut page = Page::new(text.as_bytes(), read, Limits::default(), Key::random(), &mut scratch).unwrap();
    let mut told = Vec::new();
    while let Some(entry) = page.next_entry().unwrap() {
        if let Entry::Metadata { keyword, name, text } = entry {
            told.push((keyword, name.to_text(), String::from_utf8_lossy(text).into_owned()));
        }
    }
    let expected = [(Keyword::Help, "two\\nlines "), (Keyword::Type, "gauge"), (Keyword::Unit, "seconds")];
    assert_eq!(told, expected.map(|(keyword, text)| (keyword, "a_seconds".to_owned(), text.to_owned())));
}
