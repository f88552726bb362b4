//! A reader of pages that is slow and obvious: lines, regular expressions and lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use slogate::formats::exposition::{End, Format, Limits};

/// A sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub name: String,
    /// Without those that are empty, by name.
    pub labels: Vec<(String, String)>,
    /// The bits of the nearest float.
    pub value: u64,
    /// The value, when it is a whole number below 2^64.
    pub count: Option<u64>,
    pub at: Option<i64>,
}

const QUOTED: &str = r#""(?:[^"\\\n]|\\[^\n])*""#;
const NUMBER: &str = r"(?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?i:inf|infinity)|(?i:nan))";
const REAL: &str = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?";

/// The grammar of a format.
struct Grammar {
    name: Regex,
    braces: Regex,
    item: Regex,
    /// What follows name and braces.
    rest: Regex,
    exemplar: Regex,
    metadata: Regex,
}

static TEXT: LazyLock<Grammar> = LazyLock::new(|| {
    grammar(r"[ \t]*", r",?[ \t]*", r"[ \t]*", &format!("({NUMBER})(?:[ \\t]+([+-]?[0-9]+))?[ \\t]*"))
});
static OPENMETRICS: LazyLock<Grammar> =
    LazyLock::new(|| grammar("", "", " ", &format!("({NUMBER})(?: ({REAL}))?( # .*)?")));

fn grammar(blank: &str, last: &str, before_value: &str, rest: &str) -> Grammar {
    let pair = format!(r#"(?:[a-zA-Z_][a-zA-Z0-9_]*|{QUOTED}){blank}={blank}{QUOTED}"#);
    let braces = format!(r"\{{{blank}(?:(?:{pair}|{QUOTED}){blank}(?:,{blank}(?:{pair}|{QUOTED}){blank})*{last})?\}}");
    let new = |pattern: String| Regex::new(&format!("^(?s:{pattern})")).unwrap();
    Grammar {
        name: new(format!("{blank}([a-zA-Z_:][a-zA-Z0-9_:]*)?{blank}")),
        braces: new(braces),
        item: new(format!(
            r#"[{{,]{blank}(?:([a-zA-Z_][a-zA-Z0-9_]*|{QUOTED}){blank}={blank}({QUOTED})|({QUOTED})){blank}"#
        )),
        rest: new(format!("{before_value}{rest}$")),
        exemplar: new(format!(r" # (\{{(?:{pair}(?:,{pair})*)?\}}) {NUMBER}(?: ({REAL}))?$")),
        metadata: new(format!(r"(TYPE|HELP|UNIT)(?:[ \t]+)([a-zA-Z_:][a-zA-Z0-9_:]*|{QUOTED})(?s)(.*)$")),
    }
}

/// Reads a page: its samples, or the line of its first fault.
pub fn read(page: &[u8], format: Format, end: End, limits: Limits) -> Result<Vec<Read>, usize> {
    // A page that is something else altogether is refused at its first line.
    let is_other = [&b"<"[..], b"["].iter().any(|start| page.trim_ascii_start().starts_with(start));
    let page = std::str::from_utf8(page).map_err(|error| match is_other {
        true => 1,
        false => page[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1,
    })?;
    let mut reader = Reader { format, limits, ..Reader::default() };
    let result = reader.page(page, end);
    result.map_err(|line| if is_other && reader.is_syntax { 1 } else { line })?;
    Ok(reader.samples.into_iter().map(|(read, _)| read).collect())
}

struct Reader {
    format: Format,
    limits: Limits,
    samples: Vec<(Read, usize)>,
    told: BTreeSet<(String, String)>,
    types: BTreeMap<String, String>,
    /// The families of names that had samples.
    families: BTreeMap<String, String>,
    current: Option<String>,
    left: BTreeSet<String>,
    is_syntax: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            format: Format::Text,
            limits: Limits::default(),
            samples: Vec::new(),
            told: BTreeSet::new(),
            types: BTreeMap::new(),
            families: BTreeMap::new(),
            current: None,
            left: BTreeSet::new(),
            is_syntax: true,
        }
    }
}

/// A fault, and whether it is one of syntax.
struct Fault(bool);

const SYNTAX: Fault = Fault(true);
const OTHER: Fault = Fault(false);

impl Reader {
    fn page(&mut self, page: &str, end: End) -> Result<(), usize> {
        let strict = self.format == Format::OpenMetrics;
        let mut lines: Vec<&str> = page.split('\n').collect();
        let has_last_line = lines.last().is_some_and(|last| !last.is_empty());
        if !has_last_line {
            lines.pop();
        }
        let mut eof = None;
        for (place, line) in lines.iter().enumerate() {
            let number = place + 1;
            if eof.is_some() {
                self.is_syntax = false;
                return Err(number);
            }
            if strict && *line == "# EOF" {
                eof = Some(number);
                continue;
            }
            let taken = self.line(line, number);
            if let Err(Fault(is_syntax)) = taken {
                self.is_syntax = is_syntax;
                return Err(number);
            }
            if has_last_line && number == lines.len() && (strict || end == End::Uncertain) {
                self.is_syntax = strict;
                return Err(number);
            }
        }
        if strict && eof.is_none() {
            return Err(lines.len() + 1);
        }
        self.twins()
    }

    fn line(&mut self, line: &str, number: usize) -> Result<(), Fault> {
        let strict = self.format == Format::OpenMetrics;
        let trimmed = if strict { line } else { line.trim_start_matches([' ', '\t']) };
        if trimmed.is_empty() && !strict {
            return Ok(());
        }
        if let Some(comment) = trimmed.strip_prefix('#') {
            return self.comment(comment);
        }
        if self.samples.len() >= self.limits.samples as usize {
            return Err(OTHER);
        }
        let read = self.sample(line)?;
        self.enter_sample(&read.name)?;
        self.samples.push((read, number));
        Ok(())
    }

    fn grammar(&self) -> &'static Grammar {
        if self.format == Format::OpenMetrics { &OPENMETRICS } else { &TEXT }
    }

    fn sample(&self, line: &str) -> Result<Read, Fault> {
        let grammar = self.grammar();
        let head = grammar.name.captures(line).ok_or(SYNTAX)?;
        let mut name = head.get(1).map(|name| name.as_str().to_owned());
        let is_bare = name.is_some();
        let mut rest = &line[head[0].len()..];
        let mut labels = Vec::new();
        let has_braces = rest.starts_with('{');
        if has_braces {
            let braces = grammar.braces.find(rest).ok_or(SYNTAX)?.as_str();
            rest = &rest[braces.len()..];
            (name, labels) = self.items(braces, name)?;
        } else if is_bare {
            // The blanks behind the name belong to the value; without any, the value must not go on with the name.
            rest = &line[head.get(1).unwrap().end()..];
        }
        let name = name.ok_or(SYNTAX)?;
        if name.is_empty() || (is_bare && name.len() > self.limits.name_bytes as usize) {
            return Err(OTHER);
        }
        let rest = grammar.rest.captures(rest).ok_or(SYNTAX)?;
        let (value, count) = number(&rest[1]).ok_or(OTHER)?;
        let at = rest.get(2).map(|at| self.time(at.as_str()).ok_or(SYNTAX)).transpose()?;
        if let Some(exemplar) = rest.get(3) {
            self.exemplar(exemplar.as_str())?;
        }
        labels.retain(|(_, value): &(String, String)| !value.is_empty());
        labels.sort();
        Ok(Read { name, labels, value, count, at })
    }

    /// The labels between braces, and the metric's name if it is there.
    #[allow(clippy::type_complexity, reason = "a name and its labels")]
    fn items(&self, braces: &str, name: Option<String>) -> Result<(Option<String>, Vec<(String, String)>), Fault> {
        let mut name = name;
        let mut labels: Vec<(String, String)> = Vec::new();
        let mut rest = braces;
        let most = |text: &str, most: u32| if text.len() > most as usize { Err(OTHER) } else { Ok(()) };
        while let Some(item) = self.grammar().item.captures(rest) {
            rest = &rest[item[0].len()..];
            if let Some(quoted) = item.get(3) {
                let inner = inner(quoted.as_str());
                most(inner, self.limits.name_bytes)?;
                if name.replace(unescape(inner)).is_some() || inner.is_empty() {
                    return Err(OTHER);
                }
                continue;
            }
            let (label, value) = (inner(&item[1]), inner(&item[2]));
            most(label, self.limits.name_bytes)?;
            most(value, self.limits.value_bytes)?;
            let label = unescape(label);
            let is_known = labels.iter().any(|(known, _)| *known == label);
            if is_known || label.is_empty() || label == "__name__" || labels.len() >= self.limits.labels as usize {
                return Err(OTHER);
            }
            labels.push((label, unescape(value)));
        }
        Ok((name, labels))
    }

    fn exemplar(&self, text: &str) -> Result<(), Fault> {
        let exemplar = self.grammar().exemplar.captures(text).ok_or(SYNTAX)?;
        self.items(&exemplar[1], Some("exemplar".to_owned()))?;
        number(text[3 + exemplar[1].len()..].trim_start().split(' ').next().unwrap()).ok_or(OTHER)?;
        exemplar.get(2).map_or(Ok(()), |at| self.time(at.as_str()).map(|_| ()).ok_or(SYNTAX))
    }

    fn time(&self, text: &str) -> Option<i64> {
        if self.format == Format::Text {
            return text.parse().ok();
        }
        let (negative, digits, exponent) = decimal(text)?;
        let millis = scaled(&digits, exponent + 3)?;
        let millis = i64::try_from(millis).ok()?;
        Some(if negative { -millis } else { millis })
    }

    fn comment(&mut self, comment: &str) -> Result<(), Fault> {
        let strict = self.format == Format::OpenMetrics;
        let words = if strict {
            let words = comment.strip_prefix(' ').ok_or(SYNTAX)?;
            if words.starts_with("EOF") {
                return Err(OTHER);
            }
            words
        } else {
            let words = comment.trim_start_matches([' ', '\t']);
            let is_told = ["HELP ", "HELP\t", "TYPE ", "TYPE\t"].iter().any(|start| words.starts_with(start));
            if words.len() == comment.len() || !is_told {
                return Ok(());
            }
            words
        };
        let told = self.grammar().metadata.captures(words).ok_or(SYNTAX)?;
        let (keyword, written, text) = (told[1].to_owned(), &told[2], &told[3]);
        let blanks = &words[4..told.get(2).unwrap().start()];
        let text = if strict {
            if blanks != " " {
                return Err(SYNTAX);
            }
            text.strip_prefix(' ').ok_or(SYNTAX)?
        } else if text.is_empty() || text.starts_with([' ', '\t']) {
            text.trim_start_matches([' ', '\t'])
        } else {
            return Err(SYNTAX);
        };
        let name = unescape(inner(written));
        if name.is_empty() {
            return Err(SYNTAX);
        }
        if inner(written).len() > self.limits.name_bytes as usize {
            return Err(OTHER);
        }
        let text = if keyword == "TYPE" && !strict { text.trim_end_matches([' ', '\t']) } else { text };
        self.metadata(&keyword, name, text)
    }

    fn metadata(&mut self, keyword: &str, name: String, text: &str) -> Result<(), Fault> {
        let strict = self.format == Format::OpenMetrics;
        if keyword == "TYPE" {
            let common = ["counter", "gauge", "histogram", "summary"];
            let types: &[&str] = if strict { &["gaugehistogram", "info", "stateset", "unknown"] } else { &["untyped"] };
            if !common.contains(&text) && !types.contains(&text) {
                return Err(SYNTAX);
            }
        }
        if keyword == "UNIT"
            && !text.is_empty()
            && !(name.len() > text.len() + 1 && name.ends_with(&format!("_{text}")))
        {
            return Err(SYNTAX);
        }
        if !self.told.insert((keyword.to_owned(), name.clone())) {
            return Err(OTHER);
        }
        let has_samples = self.families.values().any(|family| *family == name);
        if has_samples && (strict || keyword == "TYPE") {
            return Err(OTHER);
        }
        if keyword == "TYPE" {
            let of_it = |sample: &String| {
                let suffix = sample.strip_prefix(&name).unwrap_or_default();
                let is_own = self.types.contains_key(sample);
                self.families.values().any(|family| family == sample)
                    && !is_own
                    && suffixes(text, strict).contains(&suffix)
            };
            if self.families.values().any(of_it) {
                return Err(OTHER);
            }
            self.types.insert(name.clone(), text.to_owned());
        }
        self.enter(name)
    }

    fn enter_sample(&mut self, name: &str) -> Result<(), Fault> {
        let strict = self.format == Format::OpenMetrics;
        let family = self.families.get(name).cloned().unwrap_or_else(|| {
            let (base, suffix) = name.rfind('_').map_or((name, ""), |at| name.split_at(at));
            let covers = self.types.get(base).is_some_and(|kind| suffixes(kind, strict).contains(&suffix));
            if covers && !self.types.contains_key(name) && !suffix.is_empty() { base } else { name }.to_owned()
        });
        self.enter(family.clone())?;
        self.families.insert(name.to_owned(), family);
        Ok(())
    }

    fn enter(&mut self, family: String) -> Result<(), Fault> {
        if self.format == Format::Text || self.current.as_ref() == Some(&family) {
            return Ok(());
        }
        if let Some(current) = self.current.replace(family.clone())
            && self.families.values().any(|sampled| *sampled == current)
        {
            self.left.insert(current);
        }
        if self.left.contains(&family) { Err(OTHER) } else { Ok(()) }
    }

    fn twins(&mut self) -> Result<(), usize> {
        self.is_syntax = false;
        for (place, (read, number)) in self.samples.iter().enumerate() {
            let same = |(other, _): &&(Read, usize)| other.name == read.name && other.labels == read.labels;
            if let Some((before, _)) = self.samples[..place].iter().rfind(same) {
                let is_later = before.at.is_some() && before.at < read.at;
                if self.format == Format::Text || !is_later {
                    return Err(*number);
                }
            }
        }
        Ok(())
    }
}

fn suffixes(kind: &str, strict: bool) -> &'static [&'static str] {
    match (kind, strict) {
        ("counter", true) => &["_total", "_created"],
        ("histogram", false) => &["_bucket", "_sum", "_count"],
        ("histogram", true) => &["_bucket", "_sum", "_count", "_created"],
        ("gaugehistogram", _) => &["_bucket", "_gsum", "_gcount"],
        ("summary", false) => &["_sum", "_count"],
        ("summary", true) => &["_sum", "_count", "_created"],
        ("info", _) => &["_info"],
        _ => &[],
    }
}

fn inner(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

fn unescape(text: &str) -> String {
    let mut characters = text.chars().peekable();
    let mut plain = String::new();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied();
        match (character, next) {
            ('\\', Some('\\' | '"')) => plain.extend(characters.next()),
            ('\\', Some('n')) => {
                characters.next();
                plain.push('\n');
            }
            _ => plain.push(character),
        }
    }
    plain
}

/// The bits of a number, and the number itself when it is whole; `None` when it is too large.
fn number(text: &str) -> Option<(u64, Option<u64>)> {
    let value: f64 = text.to_ascii_lowercase().parse().ok()?;
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Some((value.to_bits(), None));
    }
    let (negative, digits, exponent) = decimal(text)?;
    let is_whole = exponent >= 0 || digits.len() as i64 <= 1 && digits == "0";
    let count = (!negative && is_whole).then(|| scaled(&digits, exponent)).flatten();
    let value = count.map_or(value, |count| count as f64);
    value.is_finite().then_some((value.to_bits(), count))
}

/// Whether it is negative, its digits without zeros at either end, and the power of ten of the last of them.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = (text.starts_with('-'), text.trim_start_matches(['+', '-']).to_ascii_lowercase());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_end_matches('0');
    let exponent: i64 =
        exponent.trim_start_matches('+').parse().unwrap_or(if exponent.starts_with('-') { -99_999 } else { 99_999 });
    let exponent = exponent - fraction.len() as i64 + (all.len() - significant.len()) as i64;
    let significant = significant.trim_start_matches('0');
    let is_zero = significant.is_empty();
    Some((negative, if is_zero { "0" } else { significant }.to_owned(), if is_zero { 0 } else { exponent }))
}

/// The digits times this power of ten, cut to a whole number; `None` when it does not fit, or when the digits alone do
/// not.
fn scaled(digits: &str, exponent: i64) -> Option<u64> {
    if digits == "0" {
        return Some(0);
    }
    let _: u64 = digits.parse().ok()?;
    match usize::try_from(exponent) {
        Ok(zeros) if zeros > 20 => None,
        Ok(zeros) => format!("{digits}{}", "0".repeat(zeros)).parse().ok(),
        Err(_) => {
            let kept = (digits.len() as i64 + exponent).max(0) as usize;
            Some(digits[..kept].parse().unwrap_or(0))
        }
    }
}
