//! Which series a spec speaks of: vector selectors, as PromQL writes and understands them.
//!
//! `http_requests_total{route="/home",code!~"5.."}` selects what it selects in Prometheus, to the last detail:
//!
//! - a label that a series does not have is a label with an empty value;
//! - a regular expression matches the whole value, and a dot also a newline; its dialect is Go's;
//! - at least one matcher must refuse an empty value, so that nobody selects everything by mistake;
//! - names that are no identifiers stand between quotes, in the braces: `{"http.requests", "http.route"="/home"}`.
//!
//! Expressions run in linear time, and one that compiles to more than 1 MiB is refused.
//!
//! Left out on purpose: ranges, functions, operators, `offset` and `@`. Rates and sums are what counts are made into
//! later, and exactly.

mod dialect;
mod parse;

use std::collections::HashMap;
use std::fmt;

use regex::bytes::Regex;

use crate::formats::exposition::Labels;

/// A compiled vector selector.
#[derive(Clone, Debug)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

/// Why a selector cannot be used, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct SelectorError {
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub fault: SelectorFault,
}

/// What is wrong with a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorFault {
    /// It is not written as selectors are.
    #[error("{0}")]
    Syntax(String),
    /// A regular expression that is none.
    #[error("this regular expression cannot be read: {0}")]
    Regex(String),
    /// A regular expression that takes too much memory.
    #[error("this regular expression compiles to more than {} KiB, the limit; write fewer or smaller repetitions", .limit / 1024)]
    RegexTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Every matcher accepts an empty value.
    #[error(
        "this selects series of any name; at least one matcher must refuse the empty string, such as a metric name"
    )]
    SelectsAll,
}

/// A condition on one label.
#[derive(Clone, Debug)]
struct Matcher {
    label: String,
    test: Test,
    /// What it accepts, as written: a value or an expression.
    operand: String,
}

#[derive(Clone, Debug)]
enum Test {
    Equal,
    NotEqual,
    Matches(Regex),
    MatchesNot(Regex),
}

/// The label that is the name of the metric.
const NAME: &str = "__name__";

impl Selector {
    /// Reads and compiles a selector.
    ///
    /// # Errors
    /// When it is not one that PromQL takes, or is more than a selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let selector = Self { matchers: parse::matchers(text)? };
        if selector.matchers.iter().all(|matcher| matcher.accepts(b"")) {
            return Err(SelectorError { column: 1, fault: SelectorFault::SelectsAll });
        }
        Ok(selector)
    }

    /// The one metric name that it selects; `None` when it may select several.
    pub fn name(&self) -> Option<&str> {
        let is_name = |matcher: &&Matcher| matcher.label == NAME && matches!(matcher.test, Test::Equal);
        self.matchers.iter().find(is_name).map(|matcher| matcher.operand.as_str())
    }

    /// Whether any of its conditions is on this label.
    pub fn asks_for(&self, label: &str) -> bool {
        self.matchers.iter().any(|matcher| matcher.label == label)
    }

    /// The same selector for another part of the same metric, as `_bucket` is of a histogram; `None` when it does not
    /// select one name.
    pub fn with_suffix(&self, suffix: &str) -> Option<Self> {
        self.name()?;
        let mut selector = self.clone();
        for matcher in selector.matchers.iter_mut().filter(|matcher| matcher.label == NAME) {
            if !matches!(matcher.test, Test::Equal) {
                return None;
            }
            matcher.operand.push_str(suffix);
        }
        Some(selector)
    }

    /// Whether it selects the series of this name with these labels.
    pub fn selects(&self, name: &[u8], labels: Labels<'_, '_>) -> bool {
        self.accepts_name(name) && self.accepts_labels(labels, b"", 0)
    }

    /// Whether it selects series of this name, as far as the name is concerned.
    pub(crate) fn accepts_name(&self, name: &[u8]) -> bool {
        self.matchers.iter().filter(|matcher| matcher.label == NAME).all(|matcher| matcher.accepts(name))
    }

    /// Where in the line the label ends that makes it not select series with these labels: no line that begins with the
    /// same bytes up to there is selected. `None` when it selects them, or when it misses a label, which may yet follow
    /// in another line.
    pub(crate) fn refuses_at(&self, labels: Labels<'_, '_>) -> Option<usize> {
        let ends = self.matchers.iter().filter(|matcher| matcher.label != NAME).filter_map(|matcher| {
            let (value, end) = labels.find(matcher.label.as_bytes());
            end.filter(|_| !matcher.accepts(&value))
        });
        ends.min()
    }

    /// Whether it selects series with these labels, whatever the label `but` is and whatever their name. Labels that
    /// end within the first `known` bytes of the line are not asked about: it selected a line that begins with these.
    pub(crate) fn accepts_labels(&self, labels: Labels<'_, '_>, but: &[u8], known: usize) -> bool {
        let mut matchers =
            self.matchers.iter().filter(|matcher| matcher.label != NAME && matcher.label.as_bytes() != but);
        matchers.all(|matcher| {
            let (value, end) = labels.find(matcher.label.as_bytes());
            end.is_some_and(|end| end <= known) || matcher.accepts(&value)
        })
    }
}

/// The same conditions in the same order.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Selector {}

/// As PromQL, in one spelling.
impl fmt::Display for Selector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.matchers.as_slice();
        if let [Matcher { label, test: Test::Equal, operand }, behind @ ..] = rest
            && label == NAME
            && parse::is_identifier(operand, true)
        {
            out.write_str(operand)?;
            rest = behind;
            if rest.is_empty() {
                return Ok(());
            }
        }
        out.write_str("{")?;
        for (place, matcher) in rest.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(out, "{comma}{matcher}")?;
        }
        out.write_str("}")
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.test {
            Test::Equal => "=",
            Test::NotEqual => "!=",
            Test::Matches(_) => "=~",
            Test::MatchesNot(_) => "!~",
        };
        let quoted = |text: &str| {
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n").replace('\r', r"\r");
            format!("\"{text}\"")
        };
        let label = if parse::is_identifier(&self.label, false) { self.label.clone() } else { quoted(&self.label) };
        write!(out, "{label}{operator}{}", quoted(&self.operand))
    }
}

impl Matcher {
    fn accepts(&self, value: &[u8]) -> bool {
        match &self.test {
            Test::Equal => self.operand.as_bytes() == value,
            Test::NotEqual => self.operand.as_bytes() != value,
            Test::Matches(regex) => regex.is_match(value),
            Test::MatchesNot(regex) => !regex.is_match(value),
        }
    }
}

/// A selector by its place among those that were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectorId(pub u32);

/// Many selectors, asked at once.
#[derive(Clone, Debug, Default)]
pub struct Selectors {
    all: Vec<Selector>,
    by_name: HashMap<Vec<u8>, Vec<SelectorId>>,
    of_several_names: Vec<SelectorId>,
}

impl Selectors {
    /// These selectors; the first is `SelectorId(0)`.
    pub fn new(all: Vec<Selector>) -> Self {
        let mut selectors = Self::default();
        for (id, selector) in (0..).map(SelectorId).zip(&all) {
            match selector.name() {
                Some(name) => selectors.by_name.entry(name.into()).or_default().push(id),
                None => selectors.of_several_names.push(id),
            }
        }
        selectors.all = all;
        selectors
    }

    /// The selector with this number.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&self, id: SelectorId) -> &Selector {
        &self.all[id.0 as usize]
    }

    /// Those that select series of this name, as far as the name is concerned, ascending.
    pub(crate) fn of_name(&self, name: &[u8]) -> Vec<SelectorId> {
        let exact = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let candidates = exact.iter().chain(&self.of_several_names).copied();
        let mut selecting: Vec<SelectorId> = candidates.filter(|id| self.get(*id).accepts_name(name)).collect();
        selecting.sort_unstable();
        selecting
    }
}

#[cfg(test)]
mod tests;
