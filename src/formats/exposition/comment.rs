//! Lines that start with `#`: metadata, remarks, the end.

use std::ops::Range;

use super::labels::Text;
use super::lexer::{METRIC, METRIC_START, name_class};
use super::{Fault, Refusal};

/// What a line of metadata tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    /// `TYPE`
    Type,
    /// `HELP`
    Help,
    /// `UNIT`, of OpenMetrics.
    Unit,
}

impl Keyword {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Type => "TYPE",
            Self::Help => "HELP",
            Self::Unit => "UNIT",
        }
    }
}

/// A line that starts with `#`, as ranges of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Comment {
    /// One that says nothing; only in the text format.
    Remark,
    /// `# EOF`, only in OpenMetrics; the byte behind it.
    Eof(usize),
    Metadata {
        keyword: Keyword,
        name: Range<usize>,
        escaped: bool,
        text: Range<usize>,
    },
}

/// Reads the line at `line` in the text format, whose `#` is its first byte that is no blank.
pub(super) fn read_loose(page: &[u8], line: Range<usize>) -> Result<Comment, Refusal> {
    let blank = |at: usize| at < line.end && matches!(page[at], b' ' | b'\t');
    let skip_blanks = |mut at: usize| {
        while blank(at) {
            at += 1;
        }
        at
    };
    let hash = skip_blanks(line.start);
    let word = skip_blanks(hash + 1);
    let keyword = match page[word..line.end].get(..4) {
        Some(b"HELP") if word > hash + 1 && blank(word + 4) => Keyword::Help,
        Some(b"TYPE") if word > hash + 1 && blank(word + 4) => Keyword::Type,
        _ => return Ok(Comment::Remark),
    };
    let (name, escaped, behind) = metric_name(page, skip_blanks(word + 4), line.end)?;
    if behind < line.end && !blank(behind) {
        return Err(Fault::Expected("a blank behind the metric name").at(behind));
    }
    let mut text = skip_blanks(behind)..line.end;
    while keyword == Keyword::Type && text.end > text.start && blank(text.end - 1) {
        text.end -= 1;
    }
    if page[text.clone()].ends_with(b"\r") && keyword == Keyword::Type {
        return Err(Fault::CarriageReturn.at(text.end - 1));
    }
    Ok(Comment::Metadata { keyword, name, escaped, text })
}

/// Reads the line at `line` in OpenMetrics, whose first byte is `#`.
pub(super) fn read_strict(page: &[u8], line: Range<usize>) -> Result<Comment, Refusal> {
    let whole = &page[line.clone()];
    let keyword = match whole {
        b"# EOF" => return Ok(Comment::Eof(line.end)),
        [b'#', b' ', b'E', b'O', b'F', ..] => return Err(Fault::AfterEof.at(line.start + 5)),
        [b'#', b' ', b'T', b'Y', b'P', b'E', b' ', ..] => Keyword::Type,
        [b'#', b' ', b'H', b'E', b'L', b'P', b' ', ..] => Keyword::Help,
        [b'#', b' ', b'U', b'N', b'I', b'T', b' ', ..] => Keyword::Unit,
        _ => return Err(Fault::Expected("`# TYPE `, `# HELP `, `# UNIT ` or `# EOF`").at(line.start)),
    };
    let (name, escaped, behind) = metric_name(page, line.start + 7, line.end)?;
    if behind >= line.end || page[behind] != b' ' {
        return Err(Fault::Expected("one blank behind the metric name").at(behind));
    }
    Ok(Comment::Metadata { keyword, name, escaped, text: behind + 1..line.end })
}

/// The metric name at `at`, whether it has backslashes, and the byte behind it and its quotes.
fn metric_name(page: &[u8], at: usize, end: usize) -> Result<(Range<usize>, bool, usize), Refusal> {
    let line = &page[..end];
    match line.get(at) {
        Some(b'"') => {
            let (mut behind, mut escaped) = (at + 1, false);
            while behind < end && line[behind] != b'"' {
                escaped |= line[behind] == b'\\';
                behind += if line[behind] == b'\\' { 2 } else { 1 };
            }
            match behind {
                _ if behind >= end => Err(Fault::OpenQuote.at(at)),
                _ if behind == at + 1 => Err(Fault::NoName.at(at)),
                _ => Ok((at + 1..behind, escaped, behind + 1)),
            }
        }
        Some(first) if name_class(*first) & METRIC_START != 0 => {
            let length = line[at..].iter().take_while(|byte| name_class(**byte) & METRIC != 0).count();
            Ok((at..at + length, false, at + length))
        }
        _ => Err(Fault::Expected("a metric name").at(at)),
    }
}

/// The name that [`Comment::Metadata`] gives as a range.
pub(super) fn name_text<'p>(page: &'p [u8], name: &Range<usize>, escaped: bool) -> Text<'p> {
    Text::new(&page[name.clone()], escaped)
}
