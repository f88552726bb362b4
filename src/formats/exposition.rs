//! Pages of metrics: the text format 0.0.4 of Prometheus and OpenMetrics 1.0.
//!
//! A [`Page`] is lexed in one pass, without copying, and gives its lines one by one. What the specifications forbid
//! refuses the page as a whole, with the place and the reason in a [`PageError`]; a caller keeps nothing of a page
//! until it has been read to its end.
//!
//! - Quotes rule: a brace, a comma, a blank or a `#` between quotes is part of a value.
//! - A page is refused that cannot be read in one way only: a label twice in a line, a series twice in a page, bytes
//!   that are not UTF-8, metadata twice or too late, an OpenMetrics page without its `# EOF` or with anything behind
//!   it.
//! - Numbers stay exact ([`Value`]), and are not judged here: a counter that is `NaN` is no reason to refuse the page.
//! - Everything has a bound ([`Limits`]). Nothing is allocated per line.
//!
//! The two specifications leave gaps and Prometheus' own parser departs from them; what is done here:
//!
//! - *Stricter than Prometheus, as specified*: a newline between quotes, labels without a comma between them, `TYPE` or
//!   `HELP` twice for a name, `TYPE` after samples of that name, duplicate series; in OpenMetrics also a comma behind
//!   the last label, and metric families that are interleaved.
//! - *Wider than Prometheus, as specified*: in the text format a timestamp may be negative, and the words of a `TYPE`
//!   line may be any number of blanks apart.
//! - *Like Prometheus, beyond the specifications*: quoted UTF-8 names in both formats; in the text format, metric
//!   families that are interleaved, and `HELP` after samples, which many programs without a client library write, and
//!   which changes no meaning; in OpenMetrics, samples whose suffix does not suit the type.
//! - *The last line* of the text format needs its newline by specification, but Prometheus takes it without. A line
//!   that was cut off by a broken connection looks the same, so that [`End`] decides.
//!
//! Left out on purpose: exemplars (their grammar is checked, their content dropped) and the text of `HELP`.

mod comment;
mod families;
mod labels;
mod lexer;
mod page;
mod prefix;
mod repeats;
mod twins;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;

pub use comment::Keyword;
pub use families::MetricType;
pub use labels::{Identity, Key, Labels, SeriesText, Text};
pub use page::{Entry, Page, Sample, Scratch};
pub use value::Value;

pub(crate) use families::NameId;
pub(crate) use lexer::{Lexer, LexerScratch};
pub(crate) use page::{Step, same_series};
pub(crate) use prefix::{common_prefix, starts_with};
pub(crate) use repeats::Run;

/// The format of a page, as its `Content-Type` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `text/plain; version=0.0.4`, and `version=1.0.0` of it, which adds quoted names.
    Text,
    /// `application/openmetrics-text; version=1.0.0`, and `0.0.1`.
    OpenMetrics,
}

/// What is known of the end of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The transfer says that all of the page has arrived: a `Content-Length` that is met, a last chunk, a file.
    Certain,
    /// The connection was closed, which may have cut the page anywhere.
    Uncertain,
}

/// How much of everything a page may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Samples in a page.
    pub samples: u32,
    /// Labels of a series.
    pub labels: u32,
    /// Bytes of the name of a metric or of a label.
    pub name_bytes: u32,
    /// Bytes of a label's value, as written.
    pub value_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { samples: 200_000, labels: 64, name_bytes: 1024, value_bytes: 4096 }
    }
}

/// Why a page is refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {fault}")]
pub struct PageError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The page is something else altogether.
    #[error("this is {0}, not metrics")]
    NotMetrics(&'static str),
    /// Bytes that are not UTF-8.
    #[error("this is not UTF-8")]
    Encoding,
    /// Something other than what belongs there.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A quote that is not closed in its line.
    #[error("this quote is not closed in its line; a newline in a value is written \\n")]
    OpenQuote,
    /// A carriage return at the end of a line.
    #[error("a carriage return: lines end with a line feed alone")]
    CarriageReturn,
    /// A value that is not a number.
    #[error("this is not a number")]
    Number,
    /// A number that `f64` cannot hold.
    #[error("this number is too large")]
    Range,
    /// A timestamp that is none.
    #[error("this is not a timestamp: whole milliseconds in the text format, seconds in OpenMetrics")]
    Timestamp,
    /// A label name for the second time in its line.
    #[error("this label is in the line already")]
    DuplicateLabel,
    /// A second metric name.
    #[error("the metric has a name already")]
    SecondName,
    /// A line without a metric name.
    #[error("this line names no metric")]
    NoName,
    /// A series for the second time in the page.
    #[error("this series is in the page already, in line {first_line}")]
    DuplicateSeries {
        /// Where it is for the first time.
        first_line: usize,
    },
    /// A type that the format does not have.
    #[error("the format has no such type")]
    UnknownType,
    /// `TYPE`, `HELP` or `UNIT` for the second time.
    #[error("a second {0} for this metric")]
    SecondMetadata(&'static str),
    /// Metadata after samples that it is about.
    #[error("{0} after samples of this metric")]
    LateMetadata(&'static str),
    /// A unit that the name does not end with.
    #[error("the name of the metric does not end with this unit")]
    Unit,
    /// A metric family that goes on after another began.
    #[error("samples of this metric are above already, with another metric between")]
    Interleaved,
    /// OpenMetrics that does not end with `# EOF`.
    #[error("the page does not end with `# EOF`: it is cut off")]
    NoEof,
    /// Something behind `# EOF`.
    #[error("something follows `# EOF`")]
    AfterEof,
    /// A last line without a newline, when the transfer may have been cut.
    #[error("the last line has no end: the page is cut off")]
    Torn,
    /// More of something than a page may have.
    #[error("more than {most} {limit}")]
    TooMany {
        /// Of what.
        limit: Limit,
        /// The limit.
        most: u32,
    },
}

/// A limit by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// [`Limits::samples`].
    Samples,
    /// [`Limits::labels`].
    Labels,
    /// [`Limits::name_bytes`].
    NameBytes,
    /// [`Limits::value_bytes`].
    ValueBytes,
    /// The largest page that can be read at all.
    PageBytes,
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Samples => "samples in a page",
            Self::Labels => "labels of a series",
            Self::NameBytes => "bytes in a name",
            Self::ValueBytes => "bytes in a label's value",
            Self::PageBytes => "bytes in a page",
        })
    }
}

impl Fault {
    /// The kind of fault, for events and counters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotMetrics(_) => "scrape.not_metrics",
            Self::Encoding => "scrape.encoding",
            Self::DuplicateSeries { .. } => "scrape.duplicate_series",
            Self::DuplicateLabel => "scrape.duplicate_label",
            Self::NoEof | Self::Torn => "scrape.torn",
            Self::TooMany { .. } => "scrape.limit",
            _ => "scrape.syntax",
        }
    }
}

/// A fault at a byte of the page; lines and columns are counted only when somebody is told.
///
/// It is boxed, since results that are moved at every line are to be small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(Box<(usize, Fault)>);

impl Refusal {
    fn parts(&self) -> (usize, Fault) {
        *self.0
    }

    /// As it is told.
    fn of(&self, page: &[u8]) -> PageError {
        let (at, fault) = self.parts();
        match misplaced(page) {
            Some(what) if fault.is_syntax() || fault == Fault::Encoding => {
                PageError { line: 1, column: 1, fault: Fault::NotMetrics(what) }
            }
            _ => {
                let (line, column) = position(page, at);
                PageError { line, column, fault }
            }
        }
    }
}

impl Fault {
    /// Whether it is what a page may look like that is cut off, or no page at all.
    fn is_syntax(&self) -> bool {
        let of_line =
            matches!(self, Self::Expected(_) | Self::NoName | Self::OpenQuote | Self::Number | Self::Timestamp);
        of_line || matches!(self, Self::UnknownType | Self::Unit | Self::NoEof | Self::Torn)
    }

    #[cold]
    fn at(self, at: usize) -> Refusal {
        Refusal(Box::new((at, self)))
    }
}

/// The line and the column of a byte, both from 1.
fn position(page: &[u8], at: usize) -> (usize, usize) {
    let before = &page[..at.min(page.len())];
    let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let characters = before[start..].iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    (memchr::memchr_iter(b'\n', before).count() + 1, characters + 1)
}

/// What a page that does not start as metrics do looks like.
fn misplaced(page: &[u8]) -> Option<&'static str> {
    let start = page.trim_ascii_start();
    let json = |rest: &[u8]| {
        matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}')) && memchr::memchr(b':', rest).is_some()
    };
    match start {
        [b'<', ..] => Some("a web page or XML"),
        [b'[', ..] => Some("JSON"),
        // A quoted metric name is followed by a comma or a brace, a key of JSON by a colon.
        [b'{', rest @ ..] if json(&rest[..rest.len().min(200)]) && !starts_with_quoted_name(rest) => Some("JSON"),
        [0x1F, 0x8B, ..] => Some("gzip that was not unpacked"),
        _ => None,
    }
}

fn starts_with_quoted_name(rest: &[u8]) -> bool {
    let [b'"', name @ ..] = rest.trim_ascii_start() else { return false };
    let Some(quote) = memchr::memchr(b'"', name) else { return false };
    matches!(name[quote + 1..].trim_ascii_start().first(), Some(b',' | b'}' | b'='))
}
