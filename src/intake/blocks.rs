//! Bytes into blocks of whole lines.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// What a log is read in.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Whole lines, each with its newline.
    Lines(&'a [u8]),
    /// The beginning of a line that is longer than allowed, as much of it as is allowed; the rest was skipped.
    Oversize(&'a [u8]),
    /// The last line, which has no newline.
    Unfinished(&'a [u8]),
}

/// How much is read at once: enough to make a system call cheap, little enough to stay in a core's own cache.
const READ_AT_ONCE: usize = 256 * 1024;

/// Reads whole lines, in a buffer of fixed size.
pub struct LineBlocks<R> {
    bytes: R,
    /// How much of a line that is too long is yielded; less than the buffer.
    max_line: usize,
    buffer: Vec<u8>,
    /// The bytes of the buffer that were read and not yet yielded.
    start: usize,
    end: usize,
    /// How many bytes of the log were before the buffer's first.
    passed: u64,
    /// Lines that begin at this byte of `bytes` or later belong to somebody else.
    limit: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was read yet; the log begins here.
    Beginning,
    /// A line begins at the start.
    AtLine,
    /// The start is inside a line that is not ours or was reported already.
    InsideLine,
    Done,
}

impl<R: Read> LineBlocks<R> {
    /// The lines of `bytes`, of which lines up to `max_line` bytes are sure to be yielded whole.
    pub fn new(bytes: R, max_line: usize) -> Self {
        Self::limited(bytes, max_line, u64::MAX, State::Beginning)
    }

    fn limited(bytes: R, max_line: usize, limit: u64, state: State) -> Self {
        let size = READ_AT_ONCE.max(2 * max_line + 2);
        Self { bytes, max_line, buffer: vec![0; size], start: 0, end: 0, passed: 0, limit, state }
    }

    /// The next piece; `None` behind the last.
    ///
    /// # Errors
    /// When reading fails; the lines before that place have been yielded.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece<'_>>> {
        loop {
            match self.state {
                State::Done => return Ok(None),
                State::Beginning => {
                    self.state = State::AtLine;
                    self.skip_byte_order_mark()?;
                }
                State::InsideLine => {
                    if !self.skip_line()? {
                        self.state = State::Done;
                    }
                }
                State::AtLine if self.passed + self.start as u64 >= self.limit => self.state = State::Done,
                State::AtLine => {
                    if let Some((from, to, kind)) = self.find_piece()? {
                        let bytes = &self.buffer[from..to];
                        return Ok(Some(match kind {
                            Found::Lines => Piece::Lines(bytes),
                            Found::Oversize => Piece::Oversize(&bytes[..self.max_line]),
                            Found::Unfinished => Piece::Unfinished(bytes),
                        }));
                    }
                }
            }
        }
    }

    /// Where the next piece is in the buffer; reads until there is one. `None` at the end, with the state `Done`.
    fn find_piece(&mut self) -> io::Result<Option<(usize, usize, Found)>> {
        let mut searched = self.start;
        loop {
            if let Some(newline) = memchr::memrchr(b'\n', &self.buffer[searched..self.end]) {
                let (from, to) = (self.start, self.end_of_ours(searched + newline + 1));
                self.start = to;
                return Ok(Some((from, to, Found::Lines)));
            }
            if self.start == 0 && self.end == self.buffer.len() {
                let found = (0, self.end, Found::Oversize);
                self.start = self.end;
                self.state = State::InsideLine;
                return Ok(Some(found));
            }
            let fresh = self.fill()?;
            searched = self.end - fresh;
            if fresh == 0 {
                self.state = State::Done;
                let (from, to) = (self.start, self.end);
                self.start = to;
                return Ok((from < to).then_some((from, to, Found::Unfinished)));
            }
        }
    }

    /// Where our lines end, given that lines end at `to`: behind the line that holds the byte before the limit.
    fn end_of_ours(&mut self, to: usize) -> usize {
        let limit = usize::try_from(self.limit.saturating_sub(self.passed)).unwrap_or(usize::MAX);
        if limit > to {
            return to;
        }
        // The first newline at or behind the last byte that is before the limit ends the last line that is ours.
        let last = limit.saturating_sub(1).max(self.start);
        memchr::memchr(b'\n', &self.buffer[last..to]).map_or(to, |newline| last + newline + 1)
    }

    /// Passes over the rest of a line; `false` when the log ends in it.
    fn skip_line(&mut self) -> io::Result<bool> {
        loop {
            if let Some(newline) = memchr::memchr(b'\n', &self.buffer[self.start..self.end]) {
                self.start += newline + 1;
                self.state = State::AtLine;
                return Ok(true);
            }
            self.start = self.end;
            if self.fill()? == 0 {
                return Ok(false);
            }
        }
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        const MARK: &[u8] = b"\xEF\xBB\xBF";
        while self.end < MARK.len() && self.fill()? > 0 {}
        if self.buffer[..self.end].starts_with(MARK) {
            self.start = MARK.len();
        }
        Ok(())
    }

    /// Reads more bytes behind those not yet yielded, which move to the front; returns how many.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.passed += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        let fresh = loop {
            match self.bytes.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += fresh;
        Ok(fresh)
    }
}

#[derive(Clone, Copy)]
enum Found {
    Lines,
    Oversize,
    Unfinished,
}

/// A part of a plain file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub from: u64,
    /// The byte behind the last.
    pub to: u64,
}

impl Range {
    /// Cuts a file of `size` bytes into ranges of about `length` bytes, at least one byte.
    pub fn cut(size: u64, length: u64) -> impl Iterator<Item = Self> {
        let length = length.max(1);
        (0..size.div_ceil(length)).map(move |place| Self { from: place * length, to: size.min((place + 1) * length) })
    }

    /// The lines of `file` that begin in this range.
    pub fn blocks(self, file: Arc<File>, max_line: usize) -> LineBlocks<FileFrom> {
        // The byte before the range tells whether a line begins with it.
        let offset = self.from.saturating_sub(1);
        let state = if self.from == 0 { State::Beginning } else { State::InsideLine };
        LineBlocks::limited(FileFrom { file, offset }, max_line, self.to - offset, state)
    }
}

/// A file read from a place on, whatever others read of it.
pub struct FileFrom {
    file: Arc<File>,
    offset: u64,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use proptest::prelude::*;

    /// Everything that the blocks yield, each piece marked with its kind.
    fn pieces<R: Read>(mut blocks: LineBlocks<R>) -> Vec<(char, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(piece) = blocks.next_piece().unwrap() {
            match piece {
                Piece::Lines(lines) => {
                    assert!(lines.ends_with(b"\n"));
                    all.extend(lines.split_inclusive(|byte| *byte == b'\n').map(|line| ('l', line.to_vec())));
                }
                Piece::Oversize(line) => all.push(('o', line.to_vec())),
                Piece::Unfinished(line) => all.push(('u', line.to_vec())),
            }
        }
        all
    }

    fn expected(text: &[u8]) -> Vec<(char, Vec<u8>)> {
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| (if line.ends_with(b"\n") { 'l' } else { 'u' }, line.to_vec())).collect()
    }

    /// Gives a few bytes at a time, as pipes do.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn a18_a_byte_order_mark_is_no_part_of_the_first_line() {
        assert_eq!(pieces(LineBlocks::new(&b"\xEF\xBB\xBFa\nb"[..], 10)), expected(b"a\nb"));
        assert_eq!(pieces(LineBlocks::new(&b"\xEF\xBB"[..], 10)), expected(b"\xEF\xBB"));
    }

    #[test]
    fn a17_a_line_without_end_is_skipped_in_constant_memory() {
        let mut text = b"first\n".to_vec();
        text.extend(vec![b'x'; 3 * READ_AT_ONCE]);
        text.extend(b"\nlast\n");
        let found = pieces(LineBlocks::new(Dribble(&text, 10_000), 1_000));
        assert_eq!(found[0], ('l', b"first\n".to_vec()));
        assert_eq!((found[1].0, found[1].1.len()), ('o', 1_000), "as much as is allowed");
        assert_eq!(found[2..], [('l', b"last\n".to_vec())]);
        text.truncate(2 * READ_AT_ONCE);
        assert_eq!(pieces(LineBlocks::new(&text[..], 1_000)).len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn every_line_is_yielded_once_by_the_range_it_begins_in(
            lines in prop::collection::vec(0..12_usize, 0..40),
            unfinished in any::<bool>(),
            length in 1..40_u64,
            at_once in 1..50_usize,
        ) {
            let mut text = Vec::new();
            for (number, line) in lines.iter().enumerate() {
                text.extend(std::iter::repeat_n(b'a' + (number % 26) as u8, *line));
                text.push(b'\n');
            }
            if unfinished {
                text.pop();
            }
            prop_assert_eq!(pieces(LineBlocks::new(Dribble(&text, at_once), 20)), expected(&text));
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&text).unwrap();
            let file = Arc::new(file);
            let ranges = Range::cut(text.len() as u64, length);
            let found: Vec<_> = ranges.flat_map(|range| pieces(range.blocks(Arc::clone(&file), 20))).collect();
            prop_assert_eq!(found, expected(&text));
        }
    }
}
