//! What a page looks like but for its values, to recognise the next.
//!
//! A target writes the same lines at each scrape; only the values change. The outline keeps all that stands before the
//! values, in the page's order, and what became of each line. A page that follows it from its first byte to its last
//! can be read value by value: whatever is true of a page because of the rest of it (its grammar, its labels, its
//! types, that no series is in it twice, what is selected) was found out when the outline was taken.
//!
//! - Bytes are compared, all of them, and no hash is trusted.
//! - Only what differs from the sample before is kept, since the lines of a page begin alike: some 20 bytes a line.
//! - Lines that repeat those of a group before and are not selected are kept as a run of a pattern, some bytes in all.
//! - A page that departs from the outline anywhere is not an error; it is read in full, and gives the next outline.

use std::ops::Range;

use super::{Read, Slot};
use crate::formats::exposition::{End, Format, Key, Lexer, LexerScratch, Limits, Run, starts_with};

/// The lines of a page without their values.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    /// The page's format; `None` when there is no page to follow.
    format: Option<Format>,
    lines: Vec<Line>,
    /// The bytes of each line that it does not share with the sample before.
    fresh: Vec<u8>,
    /// The lines of patterns, and their heads and rests.
    patterns: Vec<PatternLine>,
    texts: Vec<u8>,
    /// For each run of repeated lines the first of them in `patterns`.
    runs: Vec<u32>,
}

/// A line of a pattern: the places of its head and its rest in [`Outline::texts`].
#[derive(Clone, Copy, Debug)]
struct PatternLine {
    head: (u32, u32),
    rest: (u32, u32),
}

/// A line, or what stands before its value; or a run of lines.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// How many bytes it shares with the sample before that is no part of a run; of a run the bytes of its stem.
    shared: u16,
    /// How many follow in [`Outline::fresh`]; of a run its lines.
    fresh: u16,
    what: What,
}

/// What became of a line: the slot of the series, or one of the numbers behind all slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct What(u32);

impl What {
    const REMARK: Self = Self(u32::MAX);
    const NOT_SELECTED: Self = Self(u32::MAX - 1);
    /// The next of [`Outline::runs`].
    const RUN: Self = Self(u32::MAX - 2);
}

/// Takes the outline of a page that is being read.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    outline: Outline,
    most_bytes: usize,
    /// The last pattern that was kept, and its first line in [`Outline::patterns`].
    pattern: (u32, usize),
    /// The page cannot be kept: it is too long.
    given_up: bool,
}

impl Recorder {
    /// Begins with a page, of which at most `most_bytes` are kept.
    pub(super) fn begin(&mut self, most_bytes: usize) {
        self.outline.clear();
        self.pattern = (0, 0);
        self.most_bytes = most_bytes;
        self.given_up = false;
    }

    /// Adds a sample by what stands before its value, `shared` bytes of which are those of the sample before.
    #[inline(always)]
    pub(super) fn sample(&mut self, shared: usize, key: &[u8], slot: Option<Slot>) {
        // A name that nothing separates from the value might go on in the next page.
        if !matches!(key.last(), Some(b' ' | b'\t' | b'}')) {
            self.given_up = true;
        }
        let shared = shared.min(usize::from(u16::MAX));
        self.push(shared, &key[shared..], slot.map_or(What::NOT_SELECTED, |slot| What(slot.0)));
    }

    /// Adds lines that repeat those of a pattern, none of them selected; `texts` are the heads and the rests of the
    /// pattern and for each the first line with its head.
    #[inline]
    pub(super) fn repeats<'p>(&mut self, run: &Run, texts: impl Iterator<Item = (&'p [u8], &'p [u8], usize)>) {
        if self.given_up {
            return;
        }
        if run.pattern != self.pattern.0 {
            self.keep_pattern(run.pattern, texts);
        }
        let (Ok(stem), Ok(lines)) = (u16::try_from(run.stem), u16::try_from(run.lines.len())) else {
            self.given_up = true;
            return;
        };
        self.given_up |= self.outline.bytes() > self.most_bytes;
        if !self.given_up {
            self.outline.lines.push(Line { shared: stem, fresh: lines, what: What::RUN });
            self.outline.runs.push((self.pattern.1 + run.lines.start) as u32);
        }
    }

    #[cold]
    fn keep_pattern<'p>(&mut self, number: u32, texts: impl Iterator<Item = (&'p [u8], &'p [u8], usize)>) {
        let first = self.outline.patterns.len();
        self.pattern = (number, first);
        for (head, rest, alike) in texts {
            let known = self.outline.patterns.get(first + alike).map(|line| line.head);
            let head = known.unwrap_or_else(|| self.outline.keep_text(head));
            let rest = self.outline.keep_text(rest);
            self.outline.patterns.push(PatternLine { head, rest });
        }
    }

    /// Adds a line without a value.
    pub(super) fn remark(&mut self, line: &[u8]) {
        self.push(0, line, What::REMARK);
    }

    /// The outline, with the memory that it takes and no more; empty when the page cannot be kept.
    pub(super) fn finish(&mut self, format: Format) -> Outline {
        if self.given_up {
            return Outline::default();
        }
        // Copied, so that the next page need not find room for each of its lines again.
        Outline { format: Some(format), ..self.outline.clone() }
    }

    #[inline(always)]
    fn push(&mut self, shared: usize, bytes: &[u8], what: What) {
        let Ok(fresh) = u16::try_from(bytes.len()) else {
            self.given_up = true;
            return;
        };
        self.given_up |= self.outline.bytes() + bytes.len() > self.most_bytes;
        if !self.given_up {
            self.outline.lines.push(Line { shared: shared as u16, fresh, what });
            self.outline.fresh.extend_from_slice(bytes);
        }
    }
}

impl Outline {
    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let patterns = self.patterns.len() * size_of::<PatternLine>() + self.texts.len();
        self.lines.len() * size_of::<Line>() + self.fresh.len() + self.runs.len() * size_of::<u32>() + patterns
    }

    fn clear(&mut self) {
        self.format = None;
        self.lines.clear();
        self.fresh.clear();
        self.patterns.clear();
        self.texts.clear();
        self.runs.clear();
    }

    fn keep_text(&mut self, text: &[u8]) -> (u32, u32) {
        let start = self.texts.len();
        self.texts.extend_from_slice(text);
        (start as u32, text.len() as u32)
    }

    fn text(&self, (start, length): (u32, u32)) -> &[u8] {
        &self.texts[start as usize..][..length as usize]
    }

    /// Reads the lines of a run from `at`, behind the sample at `before`; gives where they end.
    #[inline(always)]
    fn follow_run(
        &self,
        page: &[u8],
        lexer: &mut Lexer<'_, '_>,
        (stem, lines): (usize, &[PatternLine]),
        (before, at): (usize, usize),
    ) -> Option<usize> {
        let [base, lines @ ..] = lines else { return None };
        let head = base.head.1 as usize;
        let begins = page.get(before..before + head + stem)?;
        let mut at = at;
        for line in lines {
            let (text, rest) = (page.get(at..)?, self.text(line.rest));
            let begins_so = match line.head == base.head {
                true => starts_with(text, begins),
                false => text.strip_prefix(self.text(line.head)).is_some_and(|text| starts_with(text, &begins[head..])),
            };
            let rest_at = line.head.1 as usize + stem;
            if !begins_so || !starts_with(&text[rest_at..], rest) {
                return None;
            }
            let value_at = at + rest_at + rest.len();
            let (next, is_long) = lexer.pass_value(value_at)?;
            if is_long && !is_utf8(page, value_at..next) {
                return None;
            }
            at = next;
        }
        Some(at)
    }

    /// Reads a page that has this outline, and gives how many samples it has, selected or not. When it gives `None`,
    /// the page departs somewhere, and what is in `read` means nothing.
    pub(super) fn follow(
        &self,
        page: &[u8],
        (format, end): (Format, End),
        (limits, key): (Limits, Key),
        scratch: &mut LexerScratch,
        read: &mut Vec<Read>,
    ) -> Option<u32> {
        if self.format != Some(format) {
            return None;
        }
        let mut lexer = Lexer::new(page, (format, end), limits, key, scratch);
        let (mut at, mut before, mut samples) = (0, 0, 0);
        let (mut fresh, mut runs) = (self.fresh.as_slice(), self.runs.iter());
        for line in &self.lines {
            if line.what == What::RUN {
                let first = *runs.next()? as usize;
                let run = (usize::from(line.shared), self.patterns.get(first - 1..first + usize::from(line.fresh))?);
                at = self.follow_run(page, &mut lexer, run, (before, at))?;
                samples += u32::from(line.fresh);
                continue;
            }
            let shared = usize::from(line.shared);
            let (expected, behind) = fresh.split_at_checked(usize::from(line.fresh))?;
            fresh = behind;
            let value_at = at + shared + expected.len();
            let key = page.get(at..value_at)?;
            if key[shared..] != *expected || key[..shared] != *page.get(before..before + shared)? {
                return None;
            }
            if line.what == What::REMARK {
                at = value_at;
                continue;
            }
            let tail = lexer.tail(value_at).ok()?;
            if tail.is_long && !is_utf8(page, value_at..tail.next) {
                return None;
            }
            samples += 1;
            if line.what != What::NOT_SELECTED {
                read.push(Read { slot: Slot(line.what.0), value: tail.value, at: tail.at });
            }
            before = at;
            at = tail.next;
        }
        (at == page.len()).then_some(samples)
    }
}

/// Whether what follows a value, which may be an exemplar, is UTF-8.
fn is_utf8(page: &[u8], behind: Range<usize>) -> bool {
    std::str::from_utf8(&page[behind]).is_ok()
}
