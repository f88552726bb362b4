//! Pages to read: sound ones, broken ones, and scrapes of one target.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use slogate::formats::exposition::Format;

const NAMES: &[&str] =
    &["a", "ab", "a_total", "a_created", "h", "h_bucket", "h_sum", "h_count", "x:y", "metric_of_long_name"];
const LABELS: &[&str] = &["x", "y", "le", "x_1", "\"é.\"", "quantile"];
const VALUES: &[&str] =
    &["", "1", "2", "+Inf", "0.5", "/users/{id}", "} 5 6", "a,y=2", "?q=#", r"\\", r"\n", r#"\""#, r"\d", "ö☃"];
const NUMBERS: &[&str] = &[
    "1",
    "0",
    "12345678",
    "123456789",
    "1.5",
    "1e3",
    "NaN",
    "+Inf",
    "-1",
    "18446744073709551615",
    "9007199254740993.0",
];
const TOKENS: &[&str] = &[
    "a",
    "h_bucket",
    "{",
    "}",
    "=",
    ",",
    "\"",
    "\"x\"",
    "\\",
    " ",
    "  ",
    "\t",
    "\n",
    "\r",
    "#",
    "# ",
    "# TYPE ",
    "# HELP ",
    "# UNIT ",
    "# EOF",
    "counter",
    "histogram",
    "1",
    "+Inf",
    "NaN",
    "1.5",
    "e",
    ".",
    "-",
    "ö",
    "\0",
    "x=\"1\"",
    "# {x=\"1\"} 1",
    "_total",
    "<",
    "[",
];

fn format() -> impl Strategy<Value = Format> {
    select(vec![Format::Text, Format::OpenMetrics])
}

/// A page of sound and broken lines, some bytes of which may have been changed.
pub fn any_page() -> impl Strategy<Value = (Format, Vec<u8>)> {
    (format(), prop_oneof![4 => Just(true), 1 => Just(false)]).prop_flat_map(|(format, ends)| {
        let lines = vec(prop_oneof![24 => line(format), 2 => metadata(), 1 => soup()], 0..14);
        let end = if ends && format == Format::OpenMetrics { "# EOF\n" } else { "" };
        let page = lines.prop_map(move |lines| lines.concat() + end);
        (Just(format), page.prop_flat_map(|page| changed(page.into_bytes())))
    })
}

/// Some pages of one target, one behind the other.
pub fn scrapes() -> impl Strategy<Value = Vec<(Format, Vec<u8>)>> {
    (format(), vec((any::<u8>(), line(Format::Text)), 1..8)).prop_flat_map(|(format, lines)| {
        let scrapes = vec(
            (
                vec(number(), 8),
                vec(prop_oneof![20 => Just(true), 1 => Just(false)], 8),
                prop_oneof![8 => Just(false), 1 => Just(true)],
            ),
            1..6,
        );
        (Just(format), Just(lines), scrapes).prop_flat_map(|(format, lines, scrapes)| {
            let pages: Vec<_> =
                scrapes.into_iter().map(|scrape| changed_rarely(one_scrape(format, &lines, scrape))).collect();
            pages.prop_map(move |pages| pages.into_iter().map(|page| (format, page)).collect())
        })
    })
}

/// The lines with other values, some left out, perhaps in the reverse order.
fn one_scrape(
    format: Format,
    lines: &[(u8, String)],
    (values, kept, reversed): (Vec<&str>, Vec<bool>, bool),
) -> Vec<u8> {
    let mut page: Vec<String> = Vec::new();
    for (place, (kind, line)) in lines.iter().enumerate().filter(|(place, _)| kept[*place]) {
        page.push(match kind % 16 {
            0 => "# HELP a text\n".to_owned(),
            1 => "# TYPE h histogram\n".to_owned(),
            2 if place == 0 => line.clone(),
            // A series for each place, so that few pages have one twice.
            3..6 => format!("a_total{{x=\"{place}\"}} {}\n", values[place]),
            6 => format!("a_created{{x=\"{}\"}} {}\n", place / 2, values[place]),
            7..12 => format!("h_bucket{{le=\"{place}\"}} {}\n", values[place]),
            _ => format!("{}{{y=\"{place}\"}} {}\n", NAMES[place], values[place]),
        });
    }
    page.sort();
    if reversed {
        page.reverse();
    }
    let end = if format == Format::OpenMetrics { "# EOF\n" } else { "" };
    (page.concat() + end).into_bytes()
}

fn number() -> impl Strategy<Value = &'static str> {
    prop_oneof![60 => select(NUMBERS), 1 => Just("1e400"), 1 => Just("1_0"), 1 => Just("")]
}

fn line(format: Format) -> impl Strategy<Value = String> {
    let unique = subsequence(LABELS, 0..4).prop_shuffle();
    let names = prop_oneof![12 => unique, 1 => vec(select([LABELS, &["\"x\"", "__name__"]].concat()), 0..4)];
    let labels =
        (names, vec(select(VALUES), 4)).prop_map(|(names, values)| names.into_iter().zip(values).collect::<Vec<_>>());
    let blank = match format {
        Format::Text => prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\t ")].boxed(),
        Format::OpenMetrics => prop_oneof![40 => Just(""), 1 => Just(" ")].boxed(),
    };
    let tail = match format {
        Format::Text => prop_oneof![8 => Just(""), 1 => Just(" 1395066363000"), 1 => Just(" -5"), 1 => Just(" ")].boxed(),
        Format::OpenMetrics => prop_oneof![
            8 => Just(""), 2 => Just(" 1.5"), 1 => Just(" 17"), 1 => Just(" # {id=\"} # {\"} 1"), 1 => Just(" 2 # {x=\"ö\",y=\"\"} 0.5 1.5")
        ]
        .boxed(),
    };
    let name = prop_oneof![9 => Just(false), 1 => Just(true)];
    (select(NAMES), name, labels, vec(blank, 8), number(), tail).prop_map(
        |(name, quoted, labels, blanks, number, tail)| {
            let mut items: Vec<String> = labels
                .iter()
                .zip(&blanks)
                .map(|((name, value), blank)| format!("{name}{blank}={blank}\"{value}\""))
                .collect();
            if quoted {
                items.insert(items.len() / 2, format!("\"{name}\""));
            }
            let separator = format!("{},{}", blanks[4], blanks[5]);
            let braces = if items.is_empty() {
                String::new()
            } else {
                format!("{{{}{}{}}}", blanks[6], items.join(&separator), blanks[7])
            };
            format!("{}{braces} {}{number}{tail}\n", if quoted { "" } else { name }, blanks[6])
        },
    )
}

fn metadata() -> impl Strategy<Value = String> {
    let words = select(vec![
        "counter",
        "gauge",
        "histogram",
        "summary",
        "untyped",
        "unknown",
        "info",
        "total",
        "some \\n text",
        "",
    ]);
    let name = prop_oneof![6 => select(NAMES).prop_map(str::to_owned), 1 => Just("\"a\"".to_owned()), 1 => Just(String::new())];
    (select(vec!["TYPE", "TYPE", "TYPE", "HELP", "HELP", "UNIT", "EOF"]), name, words)
        .prop_map(|(keyword, name, words)| format!("# {keyword} {name} {words}\n"))
}

fn soup() -> impl Strategy<Value = String> {
    vec(select(TOKENS), 0..10).prop_map(|tokens| tokens.concat() + "\n")
}

/// A page, most often as it is, or with a few bytes changed, taken out or doubled, or cut.
fn changed(page: Vec<u8>) -> BoxedStrategy<Vec<u8>> {
    let edits =
        vec((any::<Index>(), 0..5u8, prop_oneof![select(b"\"\\{}=, \n#1a\r\t\xff\xc3".to_vec()), any::<u8>()]), 1..4);
    prop_oneof![2 => Just(Vec::new()), 1 => edits].prop_map(move |edits| edited(page.clone(), &edits)).boxed()
}

fn changed_rarely(page: Vec<u8>) -> BoxedStrategy<Vec<u8>> {
    prop_oneof![6 => Just(page.clone()), 1 => changed(page)].boxed()
}

fn edited(mut page: Vec<u8>, edits: &[(Index, u8, u8)]) -> Vec<u8> {
    for (index, kind, byte) in edits {
        if page.is_empty() {
            break;
        }
        let at = index.index(page.len());
        match kind {
            0 => page[at] = *byte,
            1 => page.insert(at, *byte),
            2 => drop(page.remove(at)),
            3 => page.insert(at, page[at]),
            _ => page.truncate(at),
        }
    }
    page
}

/// A few scrapes of a page whose lines repeat in groups: histograms and gauges, most of them of the same lines, some
/// that lack one, have it in another spelling, or are in the page already, near or far.
pub fn grouped() -> impl Strategy<Value = Vec<(Format, Vec<u8>)>> {
    let group = (0..40u8, 0..3u8, prop_oneof![6 => Just(99), 1 => 0..5usize], 0..16u8);
    let groups = || vec(group.clone(), 0..9);
    (format(), groups(), groups(), vec(number(), 7), 1..4usize).prop_flat_map(
        |(format, first, last, numbers, scrapes)| {
            let page = |scrape: usize| {
                let mut page = "# HELP h text\n# TYPE h histogram\n".to_owned();
                let histogram: &[_] =
                    &[("_bucket", "1"), ("_bucket", "2.5"), ("_bucket", "+Inf"), ("_sum", ""), ("_count", "")];
                let gauge: &[_] = &[("", "free"), ("", "used"), ("", "cached_and_shared_with_others")];
                for (family, label, lines, groups) in [("h", "le", histogram, &first), ("a", "kind", gauge, &last)] {
                    for group in groups {
                        page += &one_group(family, (label, lines), *group, &numbers, scrape);
                    }
                }
                let end = if format == Format::OpenMetrics { "# EOF\n" } else { "" };
                (page + end).into_bytes()
            };
            let pages: Vec<_> = (0..scrapes).map(|scrape| changed_rarely(page(scrape))).collect();
            pages.prop_map(move |pages| pages.into_iter().map(|page| (format, page)).collect())
        },
    )
}

fn one_group(
    family: &str,
    (label, lines): (&str, &[(&str, &str)]),
    (x, y, omitted, spelling): (u8, u8, usize, u8),
    numbers: &[&str],
    scrape: usize,
) -> String {
    let mut group = String::new();
    for (place, (suffix, value)) in lines.iter().enumerate().filter(|(place, _)| *place != omitted) {
        let own = if value.is_empty() { String::new() } else { format!("{label}=\"{value}\"") };
        let labels = match spelling {
            0 => format!("y=\"{y}\",x=\"{x}\",{own}"),
            1 => format!("{own},x=\"{x}\",y=\"{y}\""),
            2 => format!("x=\"é\\\"{x}}}\",y=\"{y}\",{own}"),
            3 => format!("{label}=\"{x}\",y=\"{y}\",{own}"),
            _ => format!("x=\"{x}\",y=\"{y}\",{own}"),
        };
        let labels = labels.trim_matches(',');
        let number = numbers[(place + usize::from(x) + scrape) % numbers.len()];
        group += &format!("{family}{suffix}{{{labels}}} {number}\n");
    }
    group
}

/// A page of what prometheus-parse reads rightly: `TYPE` first, no escapes, no brace, comma or equals sign in a value.
pub fn simple_page() -> impl Strategy<Value = String> {
    let value = "[a-zA-Z0-9/._ öß#:-]{0,8}";
    let number = prop_oneof![
        any::<u32>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string())
    ];
    let number = number.prop_map(|number| number.replace("inf", "Inf"));
    vec((value, vec(number, 5)), 1..6).prop_map(|series| {
        let labels = |place: usize, value: &str| format!("place=\"{place}\",value=\"{value}\"");
        let mut page = "# HELP h A histogram.\n# TYPE h histogram\n".to_owned();
        for (place, (value, numbers)) in series.iter().enumerate() {
            for (bound, number) in ["0.005", "1", "2.5", "+Inf"].iter().zip(numbers) {
                page += &format!("h_bucket{{{},le=\"{bound}\"}} {number}\n", labels(place, value));
            }
        }
        page += "# TYPE summary summary\n";
        for (place, (value, numbers)) in series.iter().enumerate() {
            page += &format!("summary{{{},quantile=\"0.9\"}} {}\n", labels(place, value), numbers[0]);
        }
        page += "# TYPE c counter\n# TYPE g gauge\n";
        for (place, (value, numbers)) in series.iter().enumerate() {
            page += &format!("c{{{},}}\t{} 1395066363000\n", labels(place, value), numbers[1]);
            page += &format!("g{{{}}}  {}\n# a comment\n\n", labels(place, value), numbers[2]);
        }
        page + "plain 5"
    })
}

/// A few selectors.
pub fn selectors() -> impl Strategy<Value = Vec<String>> {
    let all = [
        "a_total",
        r#"a_total{x="1"}"#,
        "h_bucket",
        r#"h_bucket{le=~"[0-3]"}"#,
        r#"{__name__=~".+",y!=""}"#,
        r#"{__name__=~"h.*"}"#,
        "ab",
        r#"{x="/users/{id}"}"#,
    ];
    vec(select(all.map(str::to_owned).to_vec()), 1..4)
}

/// Selectors of few of the series of [`grouped`] pages, or none.
pub fn group_selectors() -> impl Strategy<Value = Vec<String>> {
    let all = [
        "nothing",
        r#"h_bucket{x=~"1.*"}"#,
        r#"h_bucket{le="2.5"}"#,
        r#"h_count{y="1"}"#,
        r#"{__name__=~"h_sum|a",x="7"}"#,
        r#"a{kind!="free",x=~"[0-4]"}"#,
    ];
    vec(select(all.map(str::to_owned).to_vec()), 1..3)
}

/// Text made of what selectors are made of.
pub fn selector_soup() -> impl Strategy<Value = String> {
    const TOKENS: &[&str] = &[
        "a",
        "m:n",
        "{",
        "}",
        "=",
        "!=",
        "=~",
        "!~",
        ",",
        "\"",
        "'",
        "`",
        "x",
        "__name__",
        "\"x\"",
        "'y'",
        "`z`",
        " ",
        "\n",
        "#",
        "\\n",
        "\\x41",
        "\\u00e9",
        "\"a|b{2}\"",
        "\".+\"",
        "\"[\"",
        "\"\\\\d\"",
        "ö",
        "5m",
        "[",
        "]",
        "(",
        ")",
    ];
    vec(select(TOKENS), 0..12).prop_map(|tokens| tokens.concat())
}
