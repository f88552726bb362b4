//! Bytes at a place of a file into pieces of whole lines: pure, so that it can be tried with everything.
//!
//! - A line is yielded whole or, when it is longer than allowed, by its beginning; never in parts.
//! - Bytes without their newline stay where they are: the place does not move past them until the line is complete, is
//!   known to be too long, or is [given up](hand_over).
//! - Every byte passed is accounted for: as a line's or as skipped, and why.

use serde::{Deserialize, Serialize};

use super::super::Piece;

/// Where reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The first byte that was not passed yet.
    pub offset: u64,
    /// What it belongs to.
    pub within: Within,
}

/// What the byte at a place belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Within {
    /// A line begins here.
    #[serde(rename = "l")]
    Line,
    /// The rest of a line of which the beginning was yielded as too long.
    #[serde(rename = "o")]
    Oversize,
    /// The rest of a line that was yielded without its newline.
    #[serde(rename = "u")]
    Unfinished,
    /// The rest of a line that had begun before reading did.
    #[serde(rename = "s")]
    Unseen,
}

/// Where the bytes before a place went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Yielded: lines with their newlines, beginnings of oversize lines, last lines.
    #[serde(rename = "l")]
    pub yielded: u64,
    /// Skipped: NULs before a line, as a writer leaves them that does not append.
    #[serde(rename = "n")]
    pub nul: u64,
    /// Skipped: a byte order mark.
    #[serde(rename = "b")]
    pub mark: u64,
    /// Skipped: what followed the beginning of an oversize line.
    #[serde(rename = "o")]
    pub oversize: u64,
    /// Skipped: what was written behind a line after it had been yielded without its newline.
    #[serde(rename = "r")]
    pub rest: u64,
    /// Skipped: what the file held when it was first seen, with `start = "end"`.
    #[serde(rename = "s")]
    pub before_start: u64,
    /// Skipped: a copy of what had been read elsewhere.
    #[serde(rename = "c")]
    pub copied: u64,
}

impl Account {
    /// All of it: equals the offset, always.
    pub fn total(&self) -> u64 {
        self.yielded + self.skipped()
    }

    /// What was not yielded.
    pub fn skipped(&self) -> u64 {
        self.nul + self.mark + self.oversize + self.rest + self.before_start + self.copied
    }
}

/// How bytes are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Lines longer than this may be yielded as oversize; those longer by two bytes are.
    pub max_line: usize,
    /// Whether more bytes could not have been given: then NULs may be skipped that nothing follows yet.
    pub is_full: bool,
}

impl Rules {
    /// So many bytes must be given for a line to be sure to be yielded or found too long: a line that is just not too
    /// long, with CR LF.
    pub fn least(max_line: usize) -> usize {
        max_line + 2
    }
}

const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Yields what is complete in `data`, which begins at `place`, and moves the place; returns by how many bytes.
pub(super) fn cut<'a>(
    data: &'a [u8],
    place: &mut Place,
    account: &mut Account,
    rules: Rules,
    emit: &mut dyn FnMut(Piece<'a>),
) -> usize {
    let mut cutter = Cutter { data, at: 0, account, rules, emit };
    if place.offset == 0 && data.starts_with(MARK) {
        cutter.account.mark += cutter.pass(MARK.len());
    }
    while cutter.at < data.len() {
        let went_on = match place.within {
            Within::Line => cutter.nuls() && cutter.lines(place),
            _ => cutter.rest(place),
        };
        if !went_on {
            break;
        }
    }
    place.offset += cutter.at as u64;
    cutter.at
}

/// Yields `data`, the end of a file that nobody completes any more, as its last line.
pub(super) fn hand_over<'a>(data: &'a [u8], place: &mut Place, account: &mut Account, emit: &mut dyn FnMut(Piece<'a>)) {
    let nuls = data.iter().take_while(|byte| **byte == 0).count();
    account.nul += nuls as u64;
    place.offset += data.len() as u64;
    if nuls < data.len() {
        account.yielded += (data.len() - nuls) as u64;
        place.within = Within::Unfinished;
        emit(Piece::Unfinished(&data[nuls..]));
    }
}

struct Cutter<'a, 'c> {
    data: &'a [u8],
    at: usize,
    account: &'c mut Account,
    rules: Rules,
    emit: &'c mut dyn FnMut(Piece<'a>),
}

impl<'a> Cutter<'a, '_> {
    fn pass(&mut self, bytes: usize) -> u64 {
        self.at += bytes;
        bytes as u64
    }

    /// Passes NULs before a line. They are left when nothing follows them yet: a writer or a network file system may
    /// still put bytes in their place. `false` when there is nothing behind them.
    fn nuls(&mut self) -> bool {
        let rest = &self.data[self.at..];
        let nuls = rest.iter().take_while(|byte| **byte == 0).count();
        if nuls == rest.len() && !(self.rules.is_full && self.at == 0) {
            return false;
        }
        self.account.nul += self.pass(nuls);
        nuls < rest.len()
    }

    /// Yields the lines from here to the last newline, or to NULs before a line. `false` when there is no whole one.
    fn lines(&mut self, place: &mut Place) -> bool {
        let data: &'a [u8] = self.data;
        let lines = up_to_nuls(&data[self.at..]);
        let (whole, too_long) = whole_lines(lines, self.rules.max_line);
        if whole > 0 {
            self.account.yielded += self.pass(whole);
            (self.emit)(Piece::Lines(&lines[..whole]));
        }
        if too_long {
            let beginning = &lines[whole..whole + self.rules.max_line];
            self.account.yielded += self.pass(beginning.len());
            (self.emit)(Piece::Oversize(beginning));
            place.within = Within::Oversize;
        }
        whole > 0 || too_long
    }

    /// Passes the rest of a line that is not to be yielded. `false` when its newline is not there yet.
    fn rest(&mut self, place: &mut Place) -> bool {
        let rest = &self.data[self.at..];
        let newline = memchr::memchr(b'\n', rest);
        let passed = self.pass(newline.map_or(rest.len(), |newline| newline + 1));
        match place.within {
            Within::Oversize => self.account.oversize += passed,
            Within::Unfinished => self.account.rest += passed,
            Within::Unseen | Within::Line => self.account.before_start += passed,
        }
        if newline.is_some() {
            place.within = Within::Line;
        }
        newline.is_some()
    }
}

/// The bytes up to the first line that begins with a NUL.
fn up_to_nuls(text: &[u8]) -> &[u8] {
    let first = memchr::memchr_iter(0, text).find(|at| *at > 0 && text[at - 1] == b'\n');
    &text[..first.unwrap_or(text.len())]
}

/// How many bytes of `text` are lines of permitted length, and whether one follows that is too long. Looks only at the
/// places where a newline must be, not at every line.
fn whole_lines(text: &[u8], max_line: usize) -> (usize, bool) {
    let longest = Rules::least(max_line);
    let mut at = 0;
    loop {
        let window = &text[at..text.len().min(at + longest)];
        match memchr::memrchr(b'\n', window) {
            Some(newline) => at += newline + 1,
            None => return (at, window.len() == longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Place = Place { offset: 0, within: Within::Line };

    /// What is yielded when `text` becomes visible up to each of `ends` and `at_once` bytes are given at a time, and
    /// what the end is handed over as.
    fn pieces(text: &[u8], ends: &[usize], at_once: usize, max_line: usize) -> (Vec<(char, Vec<u8>)>, Account) {
        let (mut place, mut account, mut all) = (START, Account::default(), Vec::new());
        let mut emit = |piece: Piece<'_>| match piece {
            Piece::Lines(lines) => {
                assert!(lines.ends_with(b"\n"));
                all.extend(lines.split_inclusive(|byte| *byte == b'\n').map(|line| ('l', line.to_vec())));
            }
            Piece::Oversize(line) => all.push(('o', line.to_vec())),
            Piece::Unfinished(line) => all.push(('u', line.to_vec())),
        };
        for end in ends.iter().copied().chain([text.len()]) {
            loop {
                let from = place.offset as usize;
                let given = &text[from..end.max(from).min(from + at_once)];
                let rules = Rules { max_line, is_full: given.len() == at_once };
                let passed = cut(given, &mut place, &mut account, rules, &mut emit);
                assert_eq!(place.offset as usize, from + passed);
                assert_eq!(account.total(), place.offset, "every byte is accounted for");
                if passed == 0 {
                    break;
                }
            }
        }
        hand_over(&text[place.offset as usize..], &mut place, &mut account, &mut emit);
        assert_eq!((account.total(), place.offset), (text.len() as u64, text.len() as u64));
        (all, account)
    }

    /// The same, obvious and in one go.
    fn expected(text: &[u8], max_line: usize) -> Vec<(char, Vec<u8>)> {
        let mut all = Vec::new();
        let mut text = text.strip_prefix(MARK).unwrap_or(text);
        loop {
            let nuls = text.iter().take_while(|byte| **byte == 0).count();
            text = &text[nuls..];
            let end = text.iter().position(|byte| *byte == b'\n');
            let line = &text[..end.map_or(text.len(), |end| end + 1)];
            match end {
                _ if line.is_empty() => return all,
                Some(end) if end <= max_line + 1 => all.push(('l', line.to_vec())),
                None if line.len() < max_line + 2 => all.push(('u', line.to_vec())),
                _ => all.push(('o', line[..max_line].to_vec())),
            }
            text = &text[line.len()..];
        }
    }

    #[test]
    fn a18_a_byte_order_mark_is_skipped_and_bare_carriage_returns_are_data() {
        let (found, account) = pieces(b"\xEF\xBB\xBFa\rb\r\nc\n", &[1, 2, 4], 100, 10);
        assert_eq!(found, [('l', b"a\rb\r\n".to_vec()), ('l', b"c\n".to_vec())]);
        assert_eq!((account.mark, account.yielded), (3, 7));
    }

    #[test]
    fn a07_nuls_before_a_line_are_skipped_and_those_at_the_end_wait() {
        let text = [b"a\n".as_slice(), &[0; 50], b"b\n\0\0c\0c\n"].concat();
        let (found, account) = pieces(&text, &[2, 20, 52], 100, 10);
        assert_eq!(found, [b"a\n".to_vec(), b"b\n".to_vec(), b"c\0c\n".to_vec()].map(|line| ('l', line)));
        assert_eq!(account.nul, 52);
        let (mut place, mut account) = (START, Account::default());
        let rules = |is_full| Rules { max_line: 10, is_full };
        assert_eq!(cut(&[0; 20], &mut place, &mut account, rules(false), &mut |_| panic!("no line")), 0);
        assert_eq!(cut(&[0; 20], &mut place, &mut account, rules(true), &mut |_| panic!("no line")), 20);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn every_byte_comes_once_however_it_arrives(
            text in prop::collection::vec(prop_oneof![4 => Just(b'a'), 2 => Just(b'\n'), 1 => Just(0), 1 => Just(b'\r')], 0..200),
            marked in any::<bool>(),
            ends in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            more in 0..30_usize,
        ) {
            const MAX_LINE: usize = 12;
            let text = if marked { [MARK, &text].concat() } else { text };
            let mut ends: Vec<usize> = ends.iter().map(|end| end.index(text.len() + 1)).collect();
            ends.sort_unstable();
            let (found, _) = pieces(&text, &ends, Rules::least(MAX_LINE) + more, MAX_LINE);
            prop_assert_eq!(found, expected(&text, MAX_LINE));
        }
    }
}
