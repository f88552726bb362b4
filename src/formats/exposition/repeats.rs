//! Lines that repeat: the second histogram of a metric has the lines of the first, with other labels in their midst.
//!
//! A line is its *head* (to behind its brace), its *stem* (the labels that it shares with the lines around it) and its
//! *rest* (what is left up to the value). Lines of one stem are a group; when a group begins like the one before, the
//! pattern of heads and rests is known, and a line that is put together from the pattern and the group's stem needs no
//! lexing: its bytes were lexed already, in the same state.
//!
//! - Bytes are compared, all of them. Nothing is concluded from a line that is not in the pattern.
//! - A stem has the label names that the pattern was learnt with, so that no label of a rest is in the stem as well.
//! - Only lines that nobody wants are passed over in this way. Where nothing repeats, little is spent on finding out.

use std::ops::Range;

use super::families::NameId;
use super::labels::{Identity, Label};
use super::prefix::common_prefix;

/// The longest pattern that is learnt, in lines.
const MOST_LINES: usize = 64;

/// The lines of the last groups of a page.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    lines: Vec<Line>,
    /// The labels of the stem of the group that the pattern was learnt from, in the line that starts at `learnt_at`.
    stem: Vec<Label>,
    learnt_at: usize,
    /// Whether a second group began like the first: the pattern is learnt.
    is_learnt: bool,
    /// The line of the pattern that is expected next.
    next: usize,
    /// How many patterns the page has had.
    patterns: u32,
}

/// A line of a pattern, as places in the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    start: usize,
    head: u32,
    rest_at: u32,
    rest: u32,
    /// The first line of the pattern with the same head.
    pub alike: u32,
    pub name: NameId,
    /// What its name and the labels of its rest add to its identity.
    pub sum: u64,
}

/// A line that was lexed and has labels behind its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met<'a> {
    pub start: usize,
    /// How many bytes are before its labels, and before its value.
    pub inside: usize,
    pub key_length: usize,
    pub labels: &'a [Label],
    pub name: NameId,
    pub identity: Identity,
}

/// Lines that were passed over, since they repeat those of the pattern with the stem of the sample before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The number of the pattern in the page.
    pub pattern: u32,
    /// Which lines of it; the line before them in the pattern is that of the sample before.
    pub lines: Range<usize>,
    /// The bytes of the stem.
    pub stem: usize,
}

impl Line {
    pub(super) fn head<'p>(&self, page: &'p [u8]) -> &'p [u8] {
        &page[self.start..][..self.head as usize]
    }

    pub(super) fn head_bytes(&self) -> usize {
        self.head as usize
    }

    pub(super) fn rest<'p>(&self, page: &'p [u8]) -> &'p [u8] {
        &page[self.start + self.rest_at as usize..][..self.rest as usize]
    }
}

impl Repeats {
    /// Forgets the page before.
    pub(super) fn clear(&mut self) {
        self.restart();
        self.patterns = 0;
    }

    /// How many patterns the page has had.
    pub(super) fn pattern(&self) -> u32 {
        self.patterns
    }

    /// The lines of the pattern that is learnt.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// What the heads and the rests of the pattern are, and for each the first line with its head.
    pub(crate) fn texts<'p>(&self, page: &'p [u8]) -> impl Iterator<Item = (&'p [u8], &'p [u8], usize)> {
        self.lines.iter().map(move |line| (line.head(page), line.rest(page), line.alike as usize))
    }

    /// The labels of a stem, once there are lines with one.
    pub(super) fn stem_labels(&self) -> usize {
        self.stem.len()
    }

    /// Line `next` of the pattern is expected next.
    pub(super) fn expect(&mut self, next: usize) {
        self.next = if next < self.lines.len() { next } else { 0 };
    }

    /// Takes a line of the page; gives its place in the pattern, if one is learnt and has it.
    pub(super) fn meet(&mut self, page: &[u8], met: Met<'_>) -> Option<usize> {
        if self.is_learnt {
            let found = if self.has(page, met, self.next) { Some(self.next) } else { self.search(page, met) };
            if found.is_none() {
                self.restart();
                self.learn(page, met, 0);
            }
            return found;
        }
        let stem = self.stem.len();
        match self.lines.last() {
            None => self.learn(page, met, 0),
            Some(last) if stem == 0 => self.found_stem(page, met, *last),
            Some(_) if self.has_stem(page, met) => self.learn(page, met, stem),
            // Another group: it begins like the first, or nothing is known of it.
            Some(_) if self.has(page, met, 0) => {
                self.is_learnt = true;
                self.patterns += 1;
                return Some(0);
            }
            Some(_) => {
                self.restart();
                self.learn(page, met, 0);
            }
        }
        None
    }

    fn restart(&mut self) {
        self.lines.clear();
        self.stem.clear();
        self.is_learnt = false;
        self.next = 0;
    }

    /// The second line of a group: what it shares with the first, whole labels, is the stem.
    fn found_stem(&mut self, page: &[u8], met: Met<'_>, first: Line) {
        let before = &page[first.start + first.head as usize..first.start + (first.rest_at + first.rest) as usize];
        let shared = met.inside + common_prefix(before, &page[met.start + met.inside..met.start + met.key_length]);
        // A label that goes on in the other line is not shared: its closing quote is compared.
        let stem = met.labels.partition_point(|label| label.end() <= shared);
        if stem == 0 {
            self.restart();
            return self.learn(page, met, 0);
        }
        self.stem.extend_from_slice(&met.labels[..stem]);
        self.learnt_at = met.start;
        self.place_first(met, stem);
        self.learn(page, met, stem);
    }

    /// Cuts the stem, which is known now, from the first line.
    fn place_first(&mut self, met: Met<'_>, stem: usize) {
        let bytes = (met.labels[stem - 1].end() - met.inside) as u32;
        let first = &mut self.lines[0];
        first.rest_at += bytes;
        first.rest -= bytes;
        first.sum = first.sum.wrapping_sub(met.labels[stem - 1].sum);
    }

    /// Adds a line, whose first `stem` labels are the stem.
    fn learn(&mut self, page: &[u8], met: Met<'_>, stem: usize) {
        if self.lines.len() >= MOST_LINES {
            return;
        }
        let rest_at = met.stem_end(stem);
        let head = &page[met.start..][..met.inside];
        let alike = self.lines.iter().position(|line| line.head(page) == head).unwrap_or(self.lines.len());
        self.lines.push(Line {
            start: met.start,
            head: met.inside as u32,
            rest_at: rest_at as u32,
            rest: (met.key_length - rest_at) as u32,
            alike: alike as u32,
            name: met.name,
            sum: met.identity.0.wrapping_sub(met.stem_sum(stem)),
        });
    }

    /// Whether a line is of the group that is being learnt.
    fn has_stem(&self, page: &[u8], met: Met<'_>) -> bool {
        let Some((last, stem)) = self.lines.last().zip(self.stem.len().checked_sub(1)) else { return false };
        let bytes = &page[last.start + last.head as usize..last.start + last.rest_at as usize];
        let label = met.labels.get(stem);
        label.is_some_and(|label| page[met.start + met.inside..met.start + label.end()] == *bytes)
    }

    /// Whether line `place` of the pattern has the head and the rest of this one, and the stem its label names.
    fn has(&self, page: &[u8], met: Met<'_>, place: usize) -> bool {
        let (line, stem) = (&self.lines[place], self.stem.len());
        if met.labels.len() < stem || met.inside != line.head as usize {
            return false;
        }
        let rest_at = met.stem_end(stem);
        if met.key_length - rest_at != line.rest as usize {
            return false;
        }
        let (text, learnt) = (&page[met.start..], &page[self.learnt_at..]);
        let mut names = met.labels.iter().zip(&self.stem);
        text[rest_at..met.key_length] == *line.rest(page)
            && text[..met.inside] == *line.head(page)
            && names.all(|(label, other)| label.name.text(text) == other.name.text(learnt))
    }

    #[cold]
    fn search(&self, page: &[u8], met: Met<'_>) -> Option<usize> {
        (0..self.lines.len()).find(|place| self.has(page, met, *place))
    }
}

impl Met<'_> {
    /// The byte behind its first `stem` labels.
    pub(super) fn stem_end(&self, stem: usize) -> usize {
        stem.checked_sub(1).map_or(self.inside, |last| self.labels[last].end())
    }

    /// What its first `stem` labels add to its identity.
    pub(super) fn stem_sum(&self, stem: usize) -> u64 {
        stem.checked_sub(1).map_or(0, |last| self.labels[last].sum)
    }
}
