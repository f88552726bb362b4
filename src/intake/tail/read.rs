//! Reading: opening files within the limit, and plain files from their places on.

use std::io;

use super::cut::{self, Account, Rules, Within};
use super::disk;
use super::event::{GapReason, NoteKind};
use super::print::{ANCHOR, Print};
use super::stream::{Lost, State, Stream, Trouble};
use super::{Log, Sink, Tail};

/// How much is read of one file before it is another's turn.
pub(super) const QUANTUM: usize = 256 * 1024;
/// The first wait before a file that cannot be opened is tried again, and the longest.
const BACKOFF_MS: (u64, u64) = (1_000, 30_000);
/// A file that nobody has written to for so long, and that then vanishes, has most likely been read to its end.
const LONG_QUIET_MS: u64 = 600_000;

impl Tail {
    /// Reads what is new in all files, in turn, until nothing is left or enough was read.
    pub(super) fn read_all(&mut self, sink: &mut impl Sink) -> u64 {
        let mut total = 0;
        let mut is_first_round = true;
        loop {
            let vetted = self.vet_all();
            let turns = self.turns(is_first_round);
            let (before, mut read) = (total, 0);
            for key in turns {
                if total + read >= self.options.bytes_per_poll {
                    break;
                }
                read += self.read_plain(key, sink);
                self.served = key;
            }
            // Behind the others, so that what is truncated is known to be when an archive of it is looked at.
            total += read + self.unpack(sink);
            is_first_round = false;
            if total >= self.options.bytes_per_poll {
                // What was found to be truncated is looked at now, so that it is known again if it is once more.
                self.vet_all();
                return total;
            }
            if total == before && !vetted {
                return total;
            }
        }
    }

    /// The streams to be read now: those that are over first, so that older lines come before newer ones; the others
    /// beginning behind the one that was read last, so that none waits for ever.
    fn turns(&self, is_first_round: bool) -> Vec<u64> {
        let is_due = |stream: &Stream| {
            stream.kept.state == State::Followed
                && stream.kept.packed.is_none()
                && stream.is_conserved()
                && match is_first_round {
                    true => stream.needs_look(self.now_ms),
                    false => stream.behind() > 0 || stream.looked.is_none(),
                }
        };
        let due = || self.streams.iter().filter(|(_, stream)| is_due(stream));
        let over = due().filter(|(_, stream)| stream.is_over()).map(|(key, _)| *key);
        let live = || due().filter(|(_, stream)| !stream.is_over()).map(|(key, _)| *key);
        let behind = live().filter(|key| *key > self.served);
        over.chain(behind).chain(live().filter(|key| *key <= self.served)).collect()
    }

    /// Reads one quantum; returns how many bytes were passed, or 1 when something else was found out.
    fn read_plain(&mut self, key: u64, sink: &mut dyn Sink) -> u64 {
        if !self.ensure_open(key) {
            return 0;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.read_into(key, &mut buffer);
        let passed = match read {
            Ok(Read::Bytes { anchor, end }) => self.take_in(key, &buffer[..end], anchor, end == buffer.len(), sink),
            Ok(Read::Truncated { bytes }) => {
                self.truncated(key, bytes);
                1
            }
            Err(error) => {
                self.failed(key, &error);
                0
            }
        };
        self.buffer = buffer;
        passed
    }

    /// Fills the buffer from the anchor on.
    fn read_into(&mut self, key: u64, buffer: &mut [u8]) -> io::Result<Read> {
        let now_ms = self.now_ms;
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(Read::Bytes { anchor: 0, end: 0 }) };
        let Some(file) = &stream.file else { return Ok(Read::Bytes { anchor: 0, end: 0 }) };
        let stat = disk::stat_open(file, &stream.kept.path)?;
        let (offset, anchor, known) = (stream.kept.place.offset, stream.kept.anchor, stream.kept.size);
        let was_looked_at = stream.was_looked_at();
        if stat.size < offset.max(stream.least_size()) {
            return Ok(Read::Truncated { bytes: was_looked_at.then_some(known.saturating_sub(offset)) });
        }
        let end = disk::read_at(file, &stream.kept.path, buffer, offset - anchor.length as u64)?;
        let is_same = end >= anchor.length && Print::of(&buffer[..anchor.length]) == anchor;
        if !is_same || (offset == 0 && !stream.kept.first.is_none_or(|first| first.begins(&buffer[..end]))) {
            return Ok(Read::Truncated { bytes: None });
        }
        if stat.size < known {
            // Cut behind the place: what was there was not read, what is there now follows.
            stream.kept.size = stat.size;
            let gap = stream.gap(GapReason::TruncatedUnread, was_looked_at.then_some(known - stat.size));
            self.gaps.push(gap);
            stream.revision = self.revision;
        }
        stream.note_stat(stat, now_ms);
        stream.looked = Some((stat, now_ms));
        Ok(Read::Bytes { anchor: anchor.length, end })
    }

    /// Yields what is complete in `read`, of which the first `anchor` bytes lie before the place.
    fn take_in(&mut self, key: u64, read: &[u8], anchor: usize, is_full: bool, sink: &mut dyn Sink) -> u64 {
        self.measure_hole(key, &read[anchor..]);
        let (now_ms, max_line) = (self.now_ms, self.options.max_line);
        let Some(stream) = self.streams.get_mut(&key) else { return 0 };
        let data = &read[anchor..];
        let kept = &mut stream.kept;
        let (from, was_within, before) = (kept.place.offset, kept.place.within, kept.account);
        let log = Log { generation: key, path: &kept.path };
        let rules = Rules { max_line, is_full };
        let passed = cut::cut(data, &mut kept.place, &mut kept.account, rules, &mut |piece| sink.piece(log, piece));
        kept.pass(&read[..anchor + passed], anchor);
        let size = stream.stat.map_or(kept.size, |stat| stat.size).max(from + data.len() as u64);
        let has_changed = passed > 0 || size != kept.size;
        kept.size = size;
        if has_changed && let Some(stat) = stream.stat {
            kept.modified = stat.modified();
        }
        kept.is_settled &= !has_changed;
        stream.pending = 0;
        if !is_full {
            stream.pending = (data.len() - passed) as u64;
            stream.caught_up_ms = Some(now_ms);
        }
        let rest = late_rest(was_within, data, before, stream.kept.account);
        if stream.kept.is_settled {
            self.close(key);
        }
        if has_changed {
            self.touch(key);
        }
        if rest > 0 {
            self.gap(key, GapReason::LateRest, Some(rest));
        }
        passed as u64
    }

    /// A writer that does not append goes on where it was when its file was truncated, and leaves a hole of that
    /// length: which tells how long the file had been.
    fn measure_hole(&mut self, key: u64, data: &[u8]) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let nul = stream.kept.account.nul;
        let zeros = data.iter().take_while(|byte| **byte == 0).count();
        if stream.heir_of.is_none() || zeros == data.len() {
            return;
        }
        let hole = nul + zeros as u64;
        let is_first = stream.kept.place.offset == nul;
        let Some(of) = stream.heir_of.take().filter(|_| is_first && hole > 0) else { return };
        let Some(lost) = self.streams.get_mut(&of) else { return };
        let offset = lost.offset();
        if let State::Lost(Lost { bytes: bytes @ None, .. }) = &mut lost.kept.state
            && hole >= offset
        {
            *bytes = Some(hole - offset);
            self.touch(of);
        }
    }

    /// The file of a stream holds another generation now: it becomes that of a new stream, and what was not read of
    /// this one is looked for.
    pub(super) fn truncated(&mut self, key: u64, bytes: Option<u64>) {
        let now_ms = self.now_ms;
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let bytes = if stream.kept.is_settled { Some(0) } else { bytes };
        let path = stream.kept.path.clone();
        let mut heir = Stream::new(&path, stream.kept.id);
        heir.kept.target = stream.kept.target.take();
        heir.kept.origin.clone_from(&stream.kept.origin);
        heir.kept.is_aside = stream.kept.is_aside;
        heir.file = stream.file.take();
        heir.is_seen = std::mem::take(&mut stream.is_seen);
        heir.was_attached = stream.was_attached;
        heir.attached_ms = stream.attached_ms;
        heir.heir_of = Some(key);
        heir.changed_ms = now_ms;
        stream.kept.state = State::Lost(Lost { reason: GapReason::TruncatedUnread, bytes });
        stream.aside_ms = Some(now_ms);
        stream.pending = 0;
        // No inode leads to it any more, until a copy is found.
        (stream.kept.id.dev, stream.kept.id.ino) = (0, 0);
        if stream.kept.first.is_none() {
            self.set_first(key, Print::NONE);
        }
        let is_open = heir.file.is_some();
        let heir = self.begin(heir);
        if is_open {
            self.opened.push_back(heir);
        }
        self.touch(key);
        self.note(NoteKind::Truncated, &path, "");
    }

    /// The file of a stream is gone, and nobody had it open.
    ///
    /// That it had been read to its end is no proof that nothing is missing: whoever writes a log goes on for a while
    /// in a file that was renamed or deleted, until it opens the new one. A file that is held open is read for
    /// `rotate_wait_ms` after that, and settled. When the program was killed before, nobody has seen whether more was
    /// written, and the generation counts as lost: a gap too many rather than one too few.
    pub(super) fn lose(&mut self, key: u64) {
        let now_ms = self.now_ms;
        self.close(key);
        let Some(stream) = self.streams.get_mut(&key) else { return };
        stream.is_seen = false;
        stream.aside_ms = Some(now_ms);
        let is_empty = stream.offset() == 0 && stream.size() == 0;
        let is_complete =
            stream.kept.is_settled || (stream.was_attached && stream.quiet_unread_ms(now_ms) >= LONG_QUIET_MS);
        match stream.kept.state {
            State::CopyOf(_) => return drop(self.remove(key)),
            State::New if is_complete && is_empty => return drop(self.remove(key)),
            State::Lost(_) | State::Remembered => return,
            State::New | State::Followed => {}
        }
        let reason = if stream.was_attached { GapReason::RotatedAway } else { GapReason::RotatedWhileDown };
        stream.kept.state = if is_complete { State::Remembered } else { State::Lost(Lost { reason, bytes: None }) };
        self.touch(key);
    }

    /// Finishes the files that are over and were quiet for long enough: hands over a last line without its newline, and
    /// closes them.
    pub(super) fn settle(&mut self, sink: &mut impl Sink) {
        let (now_ms, wait_ms) = (self.now_ms, self.options.rotate_wait_ms);
        for stream in self.streams.values_mut() {
            match stream.is_over() {
                true => stream.aside_ms = stream.aside_ms.or(Some(now_ms)),
                false => stream.aside_ms = None,
            }
        }
        let is_due = |stream: &Stream| {
            stream.kept.state == State::Followed
                && stream.kept.packed.is_none()
                && stream.is_over()
                && (!stream.kept.is_settled || !stream.is_seen)
                && stream.behind() == 0
                && stream.is_conserved()
                && stream.stat.is_some_and(|stat| stream.looked.is_some_and(|(looked, _)| stat == looked))
                && stream.quiet_ms(now_ms) >= wait_ms
        };
        let due: Vec<u64> = self.streams.iter().filter(|(_, stream)| is_due(stream)).map(|(key, _)| *key).collect();
        for key in due {
            if self.hand_over(key, sink) {
                self.finish(key);
            }
        }
    }

    /// Yields the last line of a stream, which has no newline, if there is one. `false` when it cannot be read.
    fn hand_over(&mut self, key: u64, sink: &mut dyn Sink) -> bool {
        if self.streams[&key].pending == 0 {
            return true;
        }
        if !self.ensure_open(key) {
            return false;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.read_into(key, &mut buffer);
        if let (Ok(Read::Bytes { anchor, end }), Some(stream)) = (&read, self.streams.get_mut(&key)) {
            let data = &buffer[*anchor..*end];
            let kept = &mut stream.kept;
            let log = Log { generation: key, path: &kept.path };
            // Whoever wrote more at this very moment is waited for again.
            if data.len() as u64 == stream.pending && !data.contains(&b'\n') {
                cut::hand_over(data, &mut kept.place, &mut kept.account, &mut |piece| sink.piece(log, piece));
                kept.pass(&buffer[..*end], *anchor);
                stream.pending = 0;
            }
        }
        let is_done = self.streams[&key].pending == 0;
        self.buffer = buffer;
        self.touch(key);
        is_done
    }

    /// Closes a stream that was read to its end for good.
    pub(super) fn finish(&mut self, key: u64) {
        self.close(key);
        let is_meant = self.streams.get(&key).is_some_and(|stream| self.is_meant(&stream.kept.path));
        let Some(stream) = self.streams.get_mut(&key) else { return };
        stream.kept.is_settled = true;
        if !stream.is_seen || !is_meant {
            stream.is_seen = false;
            stream.kept.state = State::Remembered;
        }
        self.touch(key);
    }

    /// Opens the file of a stream if it is closed and may be tried. `false` when it is not open after that.
    pub(super) fn ensure_open(&mut self, key: u64) -> bool {
        let Some(stream) = self.streams.get(&key) else { return false };
        if stream.file.is_some() {
            return true;
        }
        if !stream.is_seen || stream.retry_ms > self.now_ms || !self.make_room() {
            return false;
        }
        let (path, id) = (self.streams[&key].kept.path.clone(), self.streams[&key].kept.id);
        let now_ms = self.now_ms;
        match disk::open(&path) {
            // By now the path leads to another file: the next scan will find that out.
            Ok((_, stat)) if stat.id != id => false,
            Ok((file, stat)) => {
                let Some(stream) = self.streams.get_mut(&key) else { return false };
                stream.file = Some(file);
                stream.note_stat(stat, now_ms);
                (stream.retry_ms, stream.backoff_ms) = (0, 0);
                self.open += 1;
                self.opened.push_back(key);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                self.failed(key, &error);
                false
            }
        }
    }

    /// A file could not be opened or read: it is closed and tried again later, from where it was.
    pub(super) fn failed(&mut self, key: u64, error: &io::Error) {
        self.close(key);
        let now_ms = self.now_ms;
        let Some(stream) = self.streams.get_mut(&key) else { return };
        stream.backoff_ms = (stream.backoff_ms * 2).clamp(BACKOFF_MS.0, BACKOFF_MS.1);
        stream.retry_ms = now_ms.saturating_add(stream.backoff_ms);
        stream.looked = None;
        stream.trouble = Some(Trouble::again(stream.trouble.take(), error, now_ms));
        let path = stream.kept.path.clone();
        self.note_error(NoteKind::Unreadable, &path, error);
    }

    pub(super) fn close(&mut self, key: u64) {
        if let Some(stream) = self.streams.get_mut(&key)
            && stream.file.take().is_some()
        {
            self.open -= 1;
        }
    }

    /// Closes a file if there is no room for another: one that was put aside, else the one that was opened longest ago.
    /// Files that no name leads to any more are kept: nothing could open them again.
    pub(super) fn make_room(&mut self) -> bool {
        // Two are left: for the compressed log that is unpacked, and for looking at a candidate.
        let most = self.options.max_open.saturating_sub(2).max(1);
        let streams = &self.streams;
        self.opened.retain(|key| streams.get(key).is_some_and(|stream| stream.file.is_some()));
        while self.open >= most {
            let may_close = |key: &u64| self.streams[key].is_seen;
            let aside = self.opened.iter().position(|key| may_close(key) && self.streams[key].kept.is_aside);
            let Some(place) = aside.or_else(|| self.opened.iter().position(may_close)) else { return false };
            self.opened.remove(place).into_iter().for_each(|key| self.close(key));
        }
        true
    }
}

/// What reading a plain file found.
enum Read {
    /// The buffer is filled up to `end`, with `anchor` bytes from before the place.
    Bytes { anchor: usize, end: usize },
    /// The file holds another generation; so many bytes of the old one are known to be unread.
    Truncated { bytes: Option<u64> },
}

/// How many bytes were skipped that should have been part of a line that was yielded without its newline.
fn late_rest(was_within: Within, data: &[u8], before: Account, after: Account) -> u64 {
    match was_within {
        Within::Unfinished if !data.starts_with(b"\n") && !data.starts_with(b"\r\n") => after.rest - before.rest,
        _ => 0,
    }
}

const _: () = assert!(QUANTUM > ANCHOR);
