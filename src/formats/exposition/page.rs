//! A page, line by line.

use std::ops::Range;

use super::comment::{self, Comment, Keyword};
use super::families::{Families, MetricType, NameId};
use super::labels::{Identity, Key, Labels, SeriesText, Text};
use super::lexer::{Lexer, LexerScratch};
use super::prefix::starts_with;
use super::repeats::{Repeats, Run};
use super::twins::Twins;
use super::value::Value;
use super::{End, Fault, Format, Limit, Limits, PageError, Refusal, position};
use crate::time::Timestamp;

/// The memory that reading a page takes, for the next page, of whichever target.
#[derive(Debug, Default)]
pub struct Scratch {
    lexer: LexerScratch,
    families: Families,
    twins: Twins,
    repeats: Repeats,
}

impl Scratch {
    /// The part of it for lines alone.
    pub(crate) fn lexer(&mut self) -> &mut LexerScratch {
        &mut self.lexer
    }
}

impl SeriesText {
    /// The series that a sound line, or what stands in it before its value, is of.
    pub(crate) fn read(line: &[u8]) -> Self {
        let mut memory = LexerScratch::default();
        let mut lexer = Lexer::new(line, (Format::Text, End::Certain), UNLIMITED, Key::random(), &mut memory);
        let is_sound = lexer.key_only().is_ok();
        debug_assert!(is_sound, "{} is no series", line.escape_ascii());
        Self::new(lexer.name(), lexer.labels())
    }
}

impl Sample<'_, '_> {
    /// The series, on its own.
    pub fn series(&self) -> SeriesText {
        SeriesText::new(self.name, self.labels)
    }
}

/// For lines that were read within their limits already.
const UNLIMITED: Limits = Limits { samples: 1, labels: u32::MAX, name_bytes: u32::MAX, value_bytes: u32::MAX };

/// A page that is being read.
pub struct Page<'p, 's> {
    page: &'p [u8],
    format: Format,
    end: End,
    limits: Limits,
    key: Key,
    lexer: Lexer<'p, 's>,
    families: &'s mut Families,
    twins: &'s mut Twins,
    repeats: &'s mut Repeats,
    /// Where the next line starts.
    next: usize,
    line: Range<usize>,
    /// The last line without a sample.
    other: Entry<'p, 'p>,
    samples: u32,
    names: RecentNames,
    has_points: bool,
    over: bool,
    refused: Option<PageError>,
}

/// A line of a page.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a, 'p> {
    /// A sample.
    Sample(Sample<'a, 'p>),
    /// A line of metadata.
    Metadata {
        /// What it tells.
        keyword: Keyword,
        /// Of which metric family.
        name: Text<'p>,
        /// What it tells, as written.
        text: &'p [u8],
    },
    /// A comment, an empty line, or `# EOF`.
    Remark,
}

/// A line with a sample.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a, 'p> {
    /// The name of the metric.
    pub name: Text<'p>,
    /// Its labels.
    pub labels: Labels<'a, 'p>,
    /// Its value.
    pub value: Value,
    /// When it was measured, if the page says so.
    pub at: Option<Timestamp>,
    /// The type of its metric family.
    pub metric_type: MetricType,
    /// Its name and labels as written, and what stands between them and the value.
    pub key: &'p [u8],
    /// Equal for equal series, under one [`Key`].
    pub identity: Identity,
    pub(crate) name_id: NameId,
}

/// What a line turned out to be. What is in it stays where it was read: moving a whole sample at every line took as
/// long as half of the lexing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One with a [sample](Page::sample).
    Sample,
    /// Another.
    Other,
    /// There are no more, or the page is [refused](Page::refused).
    Over,
}

/// The names of the last samples: those of a histogram take turns.
#[derive(Clone, Debug, Default)]
struct RecentNames {
    names: [RecentName; 4],
    oldest: usize,
    /// That of the last sample.
    last: Option<(NameId, MetricType)>,
}

/// Where a name is, its length, and what was found out about it.
type RecentName = (usize, usize, Option<(NameId, MetricType)>);

/// A page has to be shorter, since places in it are kept in 32 bits.
const MOST_BYTES: u32 = u32::MAX - 64;

impl<'p, 's> Page<'p, 's> {
    /// Begins to read a page. `key` is what the identities of its series are keyed with.
    ///
    /// # Errors
    /// When it is too long or not UTF-8.
    pub fn new(
        page: &'p [u8],
        (format, end): (Format, End),
        limits: Limits,
        key: Key,
        scratch: &'s mut Scratch,
    ) -> Result<Self, PageError> {
        if page.len() > MOST_BYTES as usize {
            let fault = Fault::TooMany { limit: Limit::PageBytes, most: MOST_BYTES };
            return Err(PageError { line: 1, column: 1, fault });
        }
        if !page.is_ascii()
            && let Err(error) = std::str::from_utf8(page)
        {
            return Err(refused(&Fault::Encoding.at(error.valid_up_to()), page));
        }
        let Scratch { lexer, families, twins, repeats } = scratch;
        families.clear();
        twins.begin(page.len());
        repeats.clear();
        let lexer = Lexer::new(page, (format, end), limits, key, lexer);
        let names = RecentNames::default();
        let line = 0..0;
        Ok(Self {
            page,
            format,
            end,
            limits,
            key,
            lexer,
            families,
            twins,
            repeats,
            next: 0,
            line,
            other: Entry::Remark,
            samples: 0,
            names,
            has_points: false,
            over: false,
            refused: None,
        })
    }

    /// Reads the next line; `None` at the end of a page that is sound from its first byte to its last.
    ///
    /// # Errors
    /// When the page must not be used; nothing that was read of it before must be, either. Asked again, it says so
    /// again.
    #[inline(always)]
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_, 'p>>, PageError> {
        match self.next_line() {
            Step::Sample => Ok(Some(Entry::Sample(self.sample()))),
            Step::Other => Ok(Some(self.other)),
            Step::Over => self.refused.map_or(Ok(None), Err),
        }
    }

    /// Reads the next line, and says what it is.
    #[inline(always)]
    pub(crate) fn next_line(&mut self) -> Step {
        match self.step() {
            Ok(step) => step,
            Err(refusal) => {
                self.refuse(&refusal);
                Step::Over
            }
        }
    }

    /// Why the page must not be used, once it is [over](Step::Over).
    pub(crate) fn refused(&self) -> Option<PageError> {
        self.refused
    }

    /// How many bytes the last sample's key shares with that of the sample before, if the name is among them. Lines
    /// that were [passed over](Self::pass_repeats) are no samples here.
    #[inline(always)]
    pub(crate) fn shared(&self) -> Option<usize> {
        let lexed = self.lexer.lexed();
        lexed.is_same_name.then_some(lexed.shared)
    }

    /// What stands before the value of the last sample, and how much of it the sample before has as well.
    #[inline(always)]
    pub(crate) fn key(&self) -> (&'p [u8], usize) {
        let lexed = self.lexer.lexed();
        (&self.page[lexed.start..lexed.key_end], lexed.shared)
    }

    /// The sample in the last line.
    #[inline(always)]
    pub(crate) fn sample(&self) -> Sample<'_, 'p> {
        let (name_id, metric_type) = self.names.last.unwrap_or_default();
        let (lexed, (key, _)) = (self.lexer.lexed(), self.key());
        Sample {
            name: self.lexer.name(),
            labels: self.lexer.labels(),
            value: lexed.tail.value,
            at: lexed.tail.at,
            metric_type,
            key,
            identity: self.lexer.identity(),
            name_id,
        }
    }

    /// Passes over the lines behind the last sample that repeat those of a group before and that nobody wants: those of
    /// its name if they begin like it up to `unwanted_from`, those of another if `is_unwanted`. To be asked of samples
    /// that are not wanted themselves.
    ///
    /// A line is put together from the head and the rest of a line of the pattern and the stem of the last sample, each
    /// compared byte by byte; what does not fit, or has a value that is not sound, is left to be lexed.
    #[inline]
    pub(crate) fn pass_repeats(
        &mut self,
        unwanted_from: Option<usize>,
        is_unwanted: impl Fn(NameId) -> bool,
    ) -> Option<Run> {
        let (name, _) = self.names.last?;
        let met = self.lexer.met(name)?;
        let place = self.repeats.meet(self.page, met)?;
        let stem = self.repeats.stem_labels();
        let (head, stem_end, stem_sum) = (met.inside, met.stem_end(stem), met.stem_sum(stem));
        let (page, begins) = (self.page, &self.page[met.start..met.start + stem_end]);
        let is_refused = unwanted_from.is_some_and(|from| from <= stem_end);
        let (lines, most) = (self.repeats.lines(), self.limits.samples - self.samples);
        let (mut at, mut passed) = (self.next, 0);
        for line in lines[place + 1..].iter().take(most as usize) {
            let text = &page[at..];
            let (is_wanted, begins_so) = if line.alike == lines[place].alike {
                (!is_refused, is_refused && starts_with(text, begins))
            } else {
                let is_wanted = !is_unwanted(line.name) || !self.families.goes_on(line.name, self.format);
                let behind = || text.strip_prefix(line.head(page));
                (is_wanted, behind().is_some_and(|text| starts_with(text, &begins[head..])))
            };
            let rest_at = at + line.head_bytes() + stem_end - head;
            if is_wanted || !begins_so || !starts_with(&page[rest_at..], line.rest(page)) {
                break;
            }
            let Some((next, _)) = self.lexer.pass_value(rest_at + line.rest(page).len()) else { break };
            self.twins.add(Identity(stem_sum.wrapping_add(line.sum)), at as u32);
            at = next;
            passed += 1;
        }
        self.line = self.next..at;
        self.next = at;
        self.samples += passed;
        let lines = place + 1..place + 1 + passed as usize;
        self.repeats.expect(lines.end);
        (passed > 0).then(|| Run { pattern: self.repeats.pattern(), lines, stem: stem_end - head })
    }

    /// What the lines are that were passed over.
    pub(crate) fn repeats(&self) -> &Repeats {
        self.repeats
    }

    /// The bytes of the last line, with its newline.
    pub(crate) fn line(&self) -> Range<usize> {
        self.line.clone()
    }

    /// How many samples there were so far.
    pub fn samples(&self) -> u32 {
        self.samples
    }

    /// Whether there is a series with several points in time, as OpenMetrics has them; known at the end of the page.
    pub(crate) fn has_points(&self) -> bool {
        self.has_points
    }

    #[inline(always)]
    fn step(&mut self) -> Result<Step, Refusal> {
        let start = self.next;
        if self.over {
            return Ok(Step::Over);
        }
        let other = match self.page.get(start) {
            Some(b'#') => self.comment(start)?,
            Some(b'\n') => self.blank_line(start)?,
            Some(b' ' | b'\t') if self.format == Format::Text => match self.indented(start)? {
                Some(entry) => entry,
                None => return self.read_sample(start),
            },
            Some(_) => return self.read_sample(start),
            None => return self.finish(),
        };
        self.other = other;
        Ok(Step::Other)
    }

    #[inline(always)]
    fn read_sample(&mut self, start: usize) -> Result<Step, Refusal> {
        if self.samples >= self.limits.samples {
            return Err(Fault::TooMany { limit: Limit::Samples, most: self.limits.samples }.at(start));
        }
        self.lexer.line(start)?;
        let lexed = self.lexer.lexed();
        self.samples += 1;
        self.next = lexed.tail.next;
        self.line = start..self.next;
        // Only a sample can have been between, and what it says of its name holds.
        if !lexed.is_same_name || self.format != Format::Text || self.names.last.is_none() {
            self.names.last = Some(self.name().map_err(|fault| fault.at(start))?);
        }
        self.twins.add(self.lexer.identity(), start as u32);
        Ok(Step::Sample)
    }

    /// The last line's name.
    #[inline(always)]
    fn name(&mut self) -> Result<(NameId, MetricType), Fault> {
        let name = self.lexer.name();
        let (raw, escaped) = name.raw();
        let known = |(at, length, _): &&(usize, usize, _)| *length == raw.len() && self.page[*at..at + length] == *raw;
        if !escaped && let Some((.., Some((name_id, metric_type)))) = self.names.names.iter().find(known).copied() {
            self.families.sample_again(name_id, self.format)?;
            return Ok((name_id, metric_type));
        }
        let (name_id, metric_type) = self.families.sample(&name.bytes(), self.format)?;
        if !escaped {
            self.names.names[self.names.oldest] = (self.lexer.name_at(), raw.len(), Some((name_id, metric_type)));
            self.names.oldest = (self.names.oldest + 1) % self.names.names.len();
        }
        Ok((name_id, metric_type))
    }

    fn comment(&mut self, start: usize) -> Result<Entry<'p, 'p>, Refusal> {
        let length = memchr::memchr(b'\n', &self.page[start..]).unwrap_or(self.page.len() - start);
        let line = start..start + length;
        let comment = match self.format {
            Format::Text => comment::read_loose(self.page, line.clone())?,
            Format::OpenMetrics => comment::read_strict(self.page, line.clone())?,
        };
        if let Comment::Eof(behind) = comment {
            return self.eof(start, behind);
        }
        self.next = self.lexer.end_of_line(line.end)?;
        self.line = start..self.next;
        let Comment::Metadata { keyword, name, escaped, text } = comment else { return Ok(Entry::Remark) };
        let most = self.limits.name_bytes;
        if name.len() > most as usize {
            return Err(Fault::TooMany { limit: Limit::NameBytes, most }.at(name.start));
        }
        let at = if matches!(keyword, Keyword::Help) { name.start } else { text.start };
        let (name, text) = (comment::name_text(self.page, &name, escaped), &self.page[text]);
        self.families.describe(keyword, &name.bytes(), text, self.format).map_err(|fault| fault.at(at))?;
        Ok(Entry::Metadata { keyword, name, text })
    }

    fn eof(&mut self, start: usize, behind: usize) -> Result<Entry<'p, 'p>, Refusal> {
        self.next = self.page.len();
        self.line = start..self.next;
        if behind + 1 < self.page.len() {
            return Err(Fault::AfterEof.at(behind + 1));
        }
        self.over = true;
        self.check_twins()?;
        Ok(Entry::Remark)
    }

    fn blank_line(&mut self, start: usize) -> Result<Entry<'p, 'p>, Refusal> {
        if self.format == Format::OpenMetrics {
            return Err(Fault::Expected("a line; OpenMetrics has no empty ones").at(start));
        }
        self.next = start + 1;
        self.line = start..self.next;
        Ok(Entry::Remark)
    }

    /// A line of the text format that starts with blanks, if it has no sample.
    #[cold]
    fn indented(&mut self, start: usize) -> Result<Option<Entry<'p, 'p>>, Refusal> {
        let blanks = self.page[start..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match self.page.get(start + blanks) {
            Some(b'#') => self.comment(start).map(Some),
            Some(b'\n') | None => {
                self.next = self.lexer.end_of_line(start + blanks)?;
                self.line = start..self.next;
                Ok(Some(Entry::Remark))
            }
            _ => Ok(None),
        }
    }

    fn finish(&mut self) -> Result<Step, Refusal> {
        self.over = true;
        if self.format == Format::OpenMetrics {
            return Err(Fault::NoEof.at(self.page.len()));
        }
        self.check_twins()?;
        Ok(Step::Over)
    }

    /// No series may be in the page twice, but for later points in time, which OpenMetrics allows.
    fn check_twins(&mut self) -> Result<(), Refusal> {
        for (before, later) in self.twins.pairs() {
            let (before, later) = (before as usize, later as usize);
            if !same_series(&self.page[before..], &self.page[later..], self.key) {
                continue;
            }
            let (time, later_time) = (self.time_of(before)?, self.time_of(later)?);
            if self.format == Format::Text || time.is_none() || time >= later_time {
                return Err(Fault::DuplicateSeries { first_line: position(self.page, before).0 }.at(later));
            }
            self.has_points = true;
        }
        Ok(())
    }

    /// The timestamp in the line at `start`, which is sound.
    fn time_of(&self, start: usize) -> Result<Option<Timestamp>, Refusal> {
        let mut memory = LexerScratch::default();
        let mut lexer = Lexer::new(self.page, (self.format, self.end), self.limits, self.key, &mut memory);
        lexer.line(start)?;
        Ok(lexer.lexed().tail.at)
    }

    #[cold]
    fn refuse(&mut self, refusal: &Refusal) {
        let (at, fault) = refusal.parts();
        // Whatever is wrong with a line that was cut off, that it was cut off is why.
        let last_line = memchr::memchr(b'\n', &self.page[at.min(self.page.len())..]).is_none();
        let fault = match self.format {
            Format::Text if last_line && fault.is_syntax() && self.end == End::Uncertain => Fault::Torn,
            Format::OpenMetrics if last_line && fault.is_syntax() => Fault::NoEof,
            _ => fault,
        };
        let error = refused(&fault.at(at), self.page);
        (self.over, self.refused) = (true, Some(error));
    }
}

#[cold]
fn refused(refusal: &Refusal, page: &[u8]) -> PageError {
    refusal.of(page)
}

/// Whether two lines, or what stands in them before their values, are of the same series. Both must be sound.
#[cold]
pub(crate) fn same_series(one: &[u8], two: &[u8], key: Key) -> bool {
    let (mut memory, mut other_memory) = (LexerScratch::default(), LexerScratch::default());
    let read = (Format::Text, End::Certain);
    let (mut one, mut two) =
        (Lexer::new(one, read, UNLIMITED, key, &mut memory), Lexer::new(two, read, UNLIMITED, key, &mut other_memory));
    one.key_only().is_ok() && two.key_only().is_ok() && one.name() == two.name() && one.labels().same_as(two.labels())
}
