//! One line with a sample, from its name to its newline.
//!
//! Pages are repetitive: a line of a histogram differs from the one before in its last label and its value. The lexer
//! goes from left to right and looks at nothing twice, so that what it found in the bytes that two lines share holds
//! for both; a line is lexed from where it departs from the one before.

use std::ops::Range;

use wide::u8x16;

use super::families::NameId;
use super::labels::{Identity, Key, Label, Labels, Place, Text};
use super::prefix::common_prefix;
use super::repeats::Met;
use super::value::{self, Value};
use super::{End, Fault, Format, Limit, Limits, Refusal};
use crate::time::Timestamp;

/// The memory of a lexer, for the next page.
#[derive(Debug, Default)]
pub(crate) struct LexerScratch {
    labels: Vec<Label>,
    exemplar: Vec<Label>,
}

/// Lexes the lines of a page.
pub(crate) struct Lexer<'p, 's> {
    page: &'p [u8],
    /// Without blanks between tokens: OpenMetrics.
    strict: bool,
    end: End,
    limits: Limits,
    key: Key,
    scratch: &'s mut LexerScratch,
    head: Head,
    lexed: Lexed,
}

/// The last line with a sample.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    start: usize,
    /// How many of its bytes stand before the value.
    key_length: usize,
    name: Place,
    named: u64,
    /// The byte behind its opening brace, if it has labels and its name stands before them.
    inside: Option<usize>,
}

/// What stands behind the labels.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tail {
    pub value: Value,
    pub at: Option<Timestamp>,
    /// Where the next line starts.
    pub next: usize,
    /// Whether there is more than a small whole number.
    pub is_long: bool,
}

/// A line with a sample; its name and labels are the lexer's until it lexes the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lexed {
    pub start: usize,
    /// The bytes before the value, from the start of the page.
    pub key_end: usize,
    /// How many of them are those of the sample before.
    pub shared: usize,
    /// Whether the name is that of the sample before.
    pub is_same_name: bool,
    pub tail: Tail,
}

impl<'p, 's> Lexer<'p, 's> {
    pub(crate) fn new(
        page: &'p [u8],
        (format, end): (Format, End),
        limits: Limits,
        key: Key,
        scratch: &'s mut LexerScratch,
    ) -> Self {
        scratch.labels.clear();
        let strict = format == Format::OpenMetrics;
        Self { page, strict, end, limits, key, scratch, head: Head::default(), lexed: Lexed::default() }
    }

    /// Lexes the line at `start`.
    #[inline]
    pub(super) fn line(&mut self, start: usize) -> Result<(), Refusal> {
        let before = &self.page[self.head.start..][..self.head.key_length];
        let shared = common_prefix(before, &self.page[start..]);
        let is_same_name = self.head.inside.is_some_and(|inside| inside <= shared);
        let key_end = self.series(start, shared)?;
        self.head.start = start;
        self.head.key_length = key_end - start;
        let tail = self.tail(key_end)?;
        self.lexed = Lexed { start, key_end, shared, is_same_name, tail };
        Ok(())
    }

    /// The last line.
    #[inline(always)]
    pub(super) fn lexed(&self) -> &Lexed {
        &self.lexed
    }

    /// The last line, if it has labels behind its name, which is the one with this number.
    #[inline(always)]
    pub(super) fn met(&self, name: NameId) -> Option<Met<'_>> {
        let (start, key_length) = (self.head.start, self.head.key_length);
        let (identity, labels) = (self.identity(), self.scratch.labels.as_slice());
        self.head.inside.map(|inside| Met { start, inside, key_length, labels, name, identity })
    }

    /// Lexes name and labels of the line that the page starts with, and nothing behind them.
    pub(crate) fn key_only(&mut self) -> Result<(), Refusal> {
        self.series_afresh(0, 0).map(|_| ())
    }

    /// The name in the last line.
    #[inline(always)]
    pub(super) fn name(&self) -> Text<'p> {
        self.head.name.text(&self.page[self.head.start..])
    }

    /// Where in the page it is.
    pub(super) fn name_at(&self) -> usize {
        self.head.start + self.head.name.start()
    }

    /// The labels of the last line.
    #[inline(always)]
    pub(super) fn labels(&self) -> Labels<'_, 'p> {
        Labels::new(&self.page[self.head.start..], &self.scratch.labels)
    }

    /// The identity of the last line's series.
    #[inline(always)]
    pub(super) fn identity(&self) -> Identity {
        self.key.series(self.head.named, self.scratch.labels.last().map_or(0, |label| label.sum))
    }

    /// Lexes name and labels; gives where the value begins.
    #[inline(always)]
    fn series(&mut self, start: usize, shared: usize) -> Result<usize, Refusal> {
        let behind = match self.head.inside {
            Some(inside) if inside <= shared => {
                let mut kept = self.scratch.labels.len();
                while kept > 0 && self.scratch.labels[kept - 1].end() > shared {
                    kept -= 1;
                }
                match self.scratch.labels.get(kept) {
                    Some(label) if label.value.start() <= shared => {
                        let at = self.other_value(start, kept)?;
                        self.braces(start, at, true)?
                    }
                    _ => {
                        self.scratch.labels.truncate(kept);
                        let at = start + self.scratch.labels.last().map_or(inside, Label::end);
                        self.braces(start, at, kept > 0)?
                    }
                }
            }
            _ => self.series_afresh(start, shared)?,
        };
        self.before_value(behind)
    }

    /// Lexes the value of a label whose name, and all before it, is that of the line before: what was found out about
    /// the name holds. Gives the byte behind the label.
    #[inline(always)]
    fn other_value(&mut self, start: usize, place: usize) -> Result<usize, Refusal> {
        let value_at = start + self.scratch.labels[place].value.start();
        let (value, escaped) = self.quoted(value_at - 1)?;
        let end = value.end + 1;
        let before = place.checked_sub(1).map_or(0, |before| self.scratch.labels[before].sum);
        let value = self.value_place(start, value, escaped)?;
        self.scratch.labels.truncate(place + 1);
        let label = &mut self.scratch.labels[place];
        label.value = value;
        label.sum = before.wrapping_add(self.key.label(label.named, value.text(&self.page[start..])));
        Ok(end)
    }

    /// The same for a line whose name is not that of the sample before.
    fn series_afresh(&mut self, start: usize, shared: usize) -> Result<usize, Refusal> {
        let before = std::mem::take(&mut self.head);
        let mut at = self.blanks(start);
        if name_class(self.byte(at)) & METRIC_START != 0 {
            // What both names begin with are bytes of a name.
            let is_plain = before.inside.is_some() && before.name.start() == 0;
            let known = if is_plain { shared.min(before.name.length() as usize) } else { 0 };
            let end = self.run(at.max(start + known), METRIC);
            self.set_name(start, at..end, false)?;
            at = self.blanks(end);
            if self.byte(at) != b'{' {
                self.scratch.labels.clear();
                return Ok(end);
            }
            let inside = at + 1 - start;
            self.head.inside = Some(inside);
            self.take_over(&before, start + inside, inside);
            let behind = self.scratch.labels.last().map_or(start + inside, |label| start + label.end());
            return self.braces(start, behind, !self.scratch.labels.is_empty());
        }
        if self.byte(at) != b'{' {
            return Err(Fault::Expected("a metric name, `{` or `#`").at(at));
        }
        self.scratch.labels.clear();
        let behind = self.braces(start, at + 1, false)?;
        if self.head.name.length() == 0 {
            return Err(Fault::NoName.at(at));
        }
        Ok(behind)
    }

    /// Keeps the labels of the line `before` with which those at `at` begin as well: `h_sum` and `h_count` have the
    /// labels of `h_bucket` but one.
    fn take_over(&mut self, before: &Head, at: usize, inside: usize) {
        let Some(inside_before) = before.inside else { return self.scratch.labels.clear() };
        let line_before = &self.page[before.start..][..before.key_length];
        let shared = inside_before + common_prefix(&line_before[inside_before..], &self.page[at..]);
        self.scratch.labels.truncate(self.scratch.labels.partition_point(|label| label.end() <= shared));
        for label in &mut self.scratch.labels {
            label.name.shift(inside_before, inside);
            label.value.shift(inside_before, inside);
        }
    }

    /// Lexes what is between braces from `at`, which stands behind a label or behind the brace; gives the byte behind
    /// the closing brace.
    #[inline(always)]
    fn braces(&mut self, start: usize, mut at: usize, mut behind_label: bool) -> Result<usize, Refusal> {
        loop {
            let mut behind_comma = false;
            if behind_label {
                at = self.blanks(at);
                match self.byte(at) {
                    b',' => behind_comma = true,
                    b'}' => return Ok(at + 1),
                    _ => return Err(Fault::Expected("a comma or `}`").at(at)),
                }
                at += 1;
            }
            at = self.blanks(at);
            if self.byte(at) == b'}' && !(behind_comma && self.strict) {
                return Ok(at + 1);
            }
            at = self.label(start, at)?;
            behind_label = true;
        }
    }

    /// Lexes a label, or a metric name between quotes; gives the byte behind it.
    #[inline(always)]
    fn label(&mut self, start: usize, at: usize) -> Result<usize, Refusal> {
        let (name, escaped, mut behind) = if name_class(self.byte(at)) & LABEL_START != 0 {
            let end = self.run(at, LABEL);
            (at..end, false, end)
        } else if self.byte(at) == b'"' {
            let (name, escaped) = self.quoted(at)?;
            let behind = self.blanks(name.end + 1);
            if matches!(self.byte(behind), b',' | b'}') {
                let behind = name.end + 1;
                return self.set_name(start, name, escaped).map(|()| behind);
            }
            (name, escaped, behind)
        } else {
            return Err(Fault::Expected("a label name").at(at));
        };
        behind = self.blanks(behind);
        if self.byte(behind) != b'=' {
            return Err(Fault::Expected("`=`").at(behind));
        }
        behind = self.blanks(behind + 1);
        if self.byte(behind) != b'"' {
            return Err(Fault::Expected("a label value between double quotes").at(behind));
        }
        let (value, value_escaped) = self.quoted(behind)?;
        let end = value.end + 1;
        self.add_label(start, Place::new(start, name, escaped), value, value_escaped)?;
        Ok(end)
    }

    #[inline(always)]
    fn value_place(&self, start: usize, value: Range<usize>, escaped: bool) -> Result<Place, Refusal> {
        let (place, most) = (Place::new(start, value.clone(), escaped), self.limits.value_bytes);
        match place.length() > most {
            true => Err(Fault::TooMany { limit: Limit::ValueBytes, most }.at(value.start)),
            false => Ok(place),
        }
    }

    #[inline(always)]
    fn add_label(&mut self, start: usize, name: Place, value: Range<usize>, escaped: bool) -> Result<(), Refusal> {
        let line = &self.page[start..];
        let at = start + name.start();
        let Limits { labels, name_bytes, .. } = self.limits;
        if name.length() > name_bytes {
            return Err(Fault::TooMany { limit: Limit::NameBytes, most: name_bytes }.at(at));
        }
        let value = self.value_place(start, value, escaped)?;
        if self.scratch.labels.len() >= labels as usize {
            return Err(Fault::TooMany { limit: Limit::Labels, most: labels }.at(at));
        }
        let named = self.key.text(name.text(line));
        for other in &self.scratch.labels {
            if other.named == named && other.name.text(line) == name.text(line) {
                return Err(Fault::DuplicateLabel.at(at));
            }
        }
        if name.length() == 0 {
            return Err(Fault::Expected("a label name").at(at));
        }
        if name.length() == 8 && name.text(line) == b"__name__"[..] {
            return Err(Fault::SecondName.at(at));
        }
        let before = self.scratch.labels.last().map_or(0, |label| label.sum);
        let sum = before.wrapping_add(self.key.label(named, value.text(line)));
        self.scratch.labels.push(Label { name, value, named, sum });
        Ok(())
    }

    fn set_name(&mut self, start: usize, name: Range<usize>, escaped: bool) -> Result<(), Refusal> {
        if self.head.name.length() > 0 {
            return Err(Fault::SecondName.at(name.start));
        }
        if name.is_empty() {
            return Err(Fault::NoName.at(name.start));
        }
        let most = self.limits.name_bytes;
        if name.len() > most as usize {
            return Err(Fault::TooMany { limit: Limit::NameBytes, most }.at(name.start));
        }
        self.head.name = Place::new(start, name, escaped);
        self.head.named = self.key.text(self.head.name.text(&self.page[start..]));
        Ok(())
    }

    /// The string whose opening quote is at `at`, without its quotes, and whether it has backslashes.
    #[inline(always)]
    fn quoted(&self, at: usize) -> Result<(Range<usize>, bool), Refusal> {
        let mut end = self.next_special(at + 1);
        let mut escaped = false;
        while self.byte(end) == b'\\' && self.byte(end + 1) != b'\n' {
            escaped = true;
            end = self.next_special(end + 2);
        }
        if self.byte(end) == b'"' { Ok((at + 1..end, escaped)) } else { Err(Fault::OpenQuote.at(at)) }
    }

    /// The first quote, backslash or newline from `at`, or the end of the page.
    #[inline(always)]
    fn next_special(&self, mut at: usize) -> usize {
        while let Some(block) = self.page.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
            let block = u8x16::new(*block);
            let equal = |byte: u8| block.simd_eq(u8x16::splat(byte));
            let found = (equal(b'"') | equal(b'\\') | equal(b'\n')).to_bitmask();
            if found != 0 {
                return at + found.trailing_zeros() as usize;
            }
            at += 16;
        }
        while at < self.page.len() && !matches!(self.page[at], b'"' | b'\\' | b'\n') {
            at += 1;
        }
        at
    }

    /// From the byte behind name and labels to the value.
    #[inline(always)]
    fn before_value(&self, behind: usize) -> Result<usize, Refusal> {
        let at = if !self.strict {
            self.blanks(behind)
        } else if self.byte(behind) == b' ' {
            behind + 1
        } else {
            return Err(Fault::Expected("one blank and a value").at(behind));
        };
        match self.byte(at) {
            b'\n' if at >= self.page.len() && self.end == End::Uncertain => Err(self.cut()),
            b'\n' | b' ' | b'\t' | b'{' => Err(Fault::Expected("a value").at(at)),
            _ => Ok(at),
        }
    }

    /// Lexes a value and what follows it, to the end of the line.
    #[inline(always)]
    pub(crate) fn tail(&mut self, at: usize) -> Result<Tail, Refusal> {
        if let Some(word) = self.page.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let (digits, whole) = value::leading_digits(word);
            if digits > 0 && self.byte(at + digits) == b'\n' && at + digits < self.page.len() {
                return Ok(Tail { value: Value::Whole(whole), at: None, next: at + digits + 1, is_long: false });
            }
        }
        self.long_tail(at)
    }

    /// Where the line behind the value at `at` starts, if the value and what follows it are sound, and whether there
    /// may be more than digits and a point.
    #[inline(always)]
    pub(crate) fn pass_value(&mut self, at: usize) -> Option<(usize, bool)> {
        if let Some(block) = self.page.get(at..).and_then(|rest| rest.first_chunk::<32>())
            && let Some(length) = value::plain_decimal(block)
        {
            return Some((at + length + 1, false));
        }
        match self.byte(at) {
            b'\n' | b' ' | b'\t' => None,
            _ => self.tail(at).ok().map(|tail| (tail.next, tail.is_long)),
        }
    }

    fn long_tail(&mut self, at: usize) -> Result<Tail, Refusal> {
        let end = self.token(at);
        let value = value::number(&self.page[at..end]).map_err(|fault| self.at_token(fault, at, end))?;
        let (timestamp, behind) = if self.strict { self.strict_rest(end)? } else { self.loose_rest(end)? };
        Ok(Tail { value, at: timestamp.map(Timestamp::from_millis), next: self.end_of_line(behind)?, is_long: true })
    }

    /// What may follow a value in the text format: blanks and a timestamp.
    fn loose_rest(&self, behind: usize) -> Result<(Option<i64>, usize), Refusal> {
        let at = self.blanks(behind);
        if self.byte(at) == b'\n' {
            return Ok((None, at));
        }
        let end = self.token(at);
        let millis = value::milliseconds(&self.page[at..end]).map_err(|fault| self.at_token(fault, at, end))?;
        Ok((Some(millis), self.blanks(end)))
    }

    /// What may follow a value in OpenMetrics: one blank and a timestamp, and an exemplar.
    fn strict_rest(&mut self, behind: usize) -> Result<(Option<i64>, usize), Refusal> {
        let (mut timestamp, mut behind) = (None, behind);
        if self.byte(behind) == b' ' && self.byte(behind + 1) != b'#' {
            (timestamp, behind) = self.seconds(behind + 1)?;
        }
        if self.page[behind.min(self.page.len())..].starts_with(b" # {") {
            behind = self.exemplar(behind + 3)?;
        }
        Ok((timestamp, behind))
    }

    fn seconds(&self, at: usize) -> Result<(Option<i64>, usize), Refusal> {
        let end = self.token(at);
        let millis = value::seconds(&self.page[at..end]).map_err(|fault| self.at_token(fault, at, end))?;
        Ok((Some(millis), end))
    }

    /// Checks the exemplar whose opening brace is at `at`; gives the byte behind it.
    fn exemplar(&mut self, at: usize) -> Result<usize, Refusal> {
        std::mem::swap(&mut self.scratch.labels, &mut self.scratch.exemplar);
        self.scratch.labels.clear();
        let head = std::mem::take(&mut self.head);
        // It is of a metric that has its name: what is between quotes is a label.
        self.head.name = head.name;
        let behind = self.braces(at, at + 1, false);
        self.head = head;
        std::mem::swap(&mut self.scratch.labels, &mut self.scratch.exemplar);
        let behind = behind?;
        if self.byte(behind) != b' ' {
            return Err(Fault::Expected("one blank and the exemplar's value").at(behind));
        }
        let end = self.token(behind + 1);
        let value = &self.page[behind + 1..end];
        value::number(value).map_err(|fault| self.at_token(fault, behind + 1, end))?;
        if self.byte(end) == b' ' { self.seconds(end + 1).map(|(_, end)| end) } else { Ok(end) }
    }

    /// The end of what is neither blank nor newline from `at`.
    fn token(&self, at: usize) -> usize {
        let rest = &self.page[at.min(self.page.len())..];
        let blank = |byte: &u8| matches!(byte, b' ' | b'\n') || (*byte == b'\t' && !self.strict);
        at + rest.iter().position(blank).unwrap_or(rest.len())
    }

    fn at_token(&self, fault: Fault, at: usize, end: usize) -> Refusal {
        match self.page[..end].last() {
            _ if at == end && end >= self.page.len() => self.cut(),
            Some(b'\r') => Fault::CarriageReturn.at(end - 1),
            _ => fault.at(at),
        }
    }

    /// Where the line behind the one that ends at `at` starts.
    pub(super) fn end_of_line(&self, at: usize) -> Result<usize, Refusal> {
        match self.page.get(at) {
            Some(b'\n') => Ok(at + 1),
            Some(b'\r') => Err(Fault::CarriageReturn.at(at)),
            Some(_) => Err(Fault::Expected("the end of the line").at(at)),
            None if self.strict || self.end == End::Uncertain => Err(self.cut()),
            None => Ok(at),
        }
    }

    /// The page ends in the middle of a line.
    fn cut(&self) -> Refusal {
        let fault = if self.strict { Fault::NoEof } else { Fault::Torn };
        fault.at(self.page.len())
    }

    /// The byte at `at`; behind the page is the end of a line.
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.page.get(at).copied().unwrap_or(b'\n')
    }

    /// The first byte from `at` that is no blank, where blanks may be.
    #[inline(always)]
    fn blanks(&self, mut at: usize) -> usize {
        while !self.strict && matches!(self.byte(at), b' ' | b'\t') {
            at += 1;
        }
        at
    }

    /// The end of the bytes of this class from `at`.
    #[inline(always)]
    fn run(&self, mut at: usize, class: u8) -> usize {
        while name_class(self.byte(at)) & class != 0 {
            at += 1;
        }
        at
    }
}

/// Bytes that a metric name starts with, that are in one, and the same of label names.
pub(super) const METRIC_START: u8 = 1;
pub(super) const METRIC: u8 = 2;
const LABEL_START: u8 = 4;
const LABEL: u8 = 8;

#[inline(always)]
pub(super) fn name_class(byte: u8) -> u8 {
    NAME_CLASSES[byte as usize]
}

static NAME_CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => METRIC_START | METRIC | LABEL_START | LABEL,
            b'0'..=b'9' => METRIC | LABEL,
            b':' => METRIC_START | METRIC,
            _ => 0,
        };
        byte += 1;
    }
    classes
};
