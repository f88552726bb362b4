//! Vetting: whether a file is another generation, or holds one that is known.
//!
//! A file can hold a known generation under a new inode only when it was put aside: copied by copytruncate, packed, or
//! moved to another file system. Such a file has a rotated name, is not older than the file it was made from, begins
//! with the same bytes, and has the same bytes before the place that was read up to. What is found at a live name is
//! always another generation, even if it says the same.
//!
//! - Where the original is still there, the copy is left alone: everything in it is read from the original. It stays so
//!   until the original is gone or truncated, which makes the copy its continuation, or until they differ, which shows
//!   that it never was a copy.
//! - Where the original is gone, the copy is read on from the place that was read up to.
//! - Logs may begin alike and be different ones, so first bytes and last bytes only show what is worth comparing: a
//!   file is taken for a copy when all of it is in the original's file, or, where that is gone, when all that was read
//!   of the original is in it, by their [digests](super::digest). A bounded amount is compared at each poll; until it
//!   is done the file waits.

use std::fs::File;
use std::io;
use std::path::Path;

use super::compare::Compared;
use super::cut::{Account, Place, Within};
use super::digest::Digest;
use super::disk::{self, FileId};
use super::event::{GapReason, NoteKind};
use super::names;
use super::print::{ANCHOR, HEAD, Print};
use super::stream::{Lost, Packed, State, Stream};
use super::{Tail, inode};
use crate::spec::Start;

/// A first line is looked at up to this length.
const FIRST: usize = 256;

/// What the beginning of a file shows.
pub(super) enum Beginning {
    /// Not enough yet.
    Unclear,
    /// Compressed data.
    Packed,
    /// Text, with this first line.
    Text(Print),
}

/// What is known of the logs that a file may be a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Originals {
    Known,
    /// One of them was truncated: what it holds now must be looked at first.
    Truncated,
    /// One of them could not be looked at yet.
    Unknown,
}

impl Tail {
    /// Decides about all new files that can be decided about; `true` if any was.
    pub(super) fn vet_all(&mut self) -> bool {
        let is_final =
            |stream: &Stream| stream.is_over() && stream.quiet_ms(self.now_ms) >= self.options.rotate_wait_ms;
        let undecided = |stream: &Stream| match stream.kept.state {
            State::New => stream.kept.packed.is_none() && (stream.needs_look(self.now_ms) || is_final(stream)),
            State::CopyOf(_) => true,
            _ => false,
        };
        let mut keys: Vec<u64> = self.streams.iter().filter(|(_, s)| undecided(s)).map(|(key, _)| *key).collect();
        // Originals before what may be a copy of them.
        keys.sort_by_key(|key| names::before_rotation(&self.streams[key].kept.path).is_some());
        let mut has_decided = false;
        let next = self.next;
        for key in keys {
            has_decided |= match self.streams.get(&key).map(|stream| stream.kept.state) {
                Some(State::New) => self.vet(key),
                Some(State::CopyOf(of)) => self.vet_copy(key, of),
                _ => false,
            };
        }
        // A file that was found to be truncated holds another generation, which is not decided about yet.
        has_decided || self.next != next
    }

    /// Decides about a new file; `false` when it cannot be decided yet.
    fn vet(&mut self, key: u64) -> bool {
        if !self.ensure_open(key) {
            return false;
        }
        match self.beginning(key) {
            Err(error) => {
                self.failed(key, &error);
                false
            }
            Ok((beginning, read)) => {
                let now_ms = self.now_ms;
                if let Some(stream) = self.streams.get_mut(&key) {
                    stream.looked = stream.stat.map(|stat| (stat, now_ms));
                }
                match beginning {
                    Beginning::Unclear => self.vet_empty(key),
                    Beginning::Packed => {
                        self.admit_packed(key);
                        true
                    }
                    Beginning::Text(first) => self.vet_text(key, first, &read),
                }
            }
        }
    }

    /// A file that says nothing, and that nobody will write to any more, is nothing.
    fn vet_empty(&mut self, key: u64) -> bool {
        let Some(stream) = self.streams.get(&key) else { return false };
        if stream.size() == 0 && !stream.is_seen && stream.quiet_ms(self.now_ms) >= self.options.rotate_wait_ms {
            self.remove(key);
        }
        false
    }

    fn beginning(&mut self, key: u64) -> io::Result<(Beginning, Vec<u8>)> {
        let (now_ms, wait_ms) = (self.now_ms, self.options.rotate_wait_ms);
        let Some(stream) = self.streams.get_mut(&key) else { return Ok((Beginning::Unclear, Vec::new())) };
        let Some(file) = &stream.file else { return Ok((Beginning::Unclear, Vec::new())) };
        let mut read = vec![0; HEAD];
        let stat = disk::stat_open(file, &stream.kept.path)?;
        let length = disk::read_at(file, &stream.kept.path, &mut read, 0)?;
        read.truncate(length);
        stream.note_stat(stat, now_ms);
        if stat.size < stream.kept.size && stream.kept.packed.is_none() {
            let unread = stream.kept.size;
            stream.kept.size = stat.size;
            self.truncated(key, Some(unread));
            return Ok((Beginning::Unclear, Vec::new()));
        }
        stream.kept.size = stat.size;
        stream.revision = self.revision;
        let is_final = stream.is_over() && stream.quiet_ms(now_ms) >= wait_ms;
        Ok((beginning(&read, is_final), read))
    }

    /// Looks whether the logs that this file may be a copy of hold what they are known to hold. Only then can it be
    /// told whether it is a copy.
    pub(super) fn refresh_originals(&mut self, key: u64) -> io::Result<Originals> {
        let path = &self.streams[&key].kept.path;
        let Some(base) = names::before_rotation(path) else { return Ok(Originals::Known) };
        let (name, directory) = (names::name(path), path.parent());
        let is_packed = self.streams[&key].kept.packed.is_some();
        let is_near = |other: Option<&Path>| other == directory || other == directory.and_then(Path::parent);
        let may_be = |(of, stream): &(&u64, &Stream)| {
            let kept = &stream.kept;
            // Copies are made of live logs, archives of those that were put aside as well.
            let is_log = stream.has_file() && (is_packed || !kept.is_aside) && kept.packed.is_none() && **of != key;
            let is_known = !stream.is_initial || stream.attached_ms < self.now_ms;
            let original = names::name(&kept.path);
            is_log && is_known && (original == base || name.starts_with(original)) && is_near(kept.path.parent())
        };
        let mut found = Originals::Known;
        for of in self.streams.iter().filter(may_be).map(|(of, _)| *of).collect::<Vec<_>>() {
            match self.streams[&of].kept.state {
                State::New if self.streams[&of].looked.is_none() => return Ok(Originals::Unknown),
                State::Followed => match self.is_intact(of) {
                    Ok(true) => {}
                    Ok(false) => found = Originals::Truncated,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                },
                _ => {}
            }
        }
        Ok(found)
    }

    /// Decides about a file of text.
    fn vet_text(&mut self, key: u64, first: Print, read: &[u8]) -> bool {
        let path = self.streams[&key].kept.path.clone();
        if read.starts_with(b"\xFF\xFE") || read.starts_with(b"\xFE\xFF") {
            self.note(NoteKind::Utf16, &path, "");
        }
        match self.refresh_originals(key) {
            Ok(Originals::Known) => {}
            Ok(Originals::Truncated) => {
                // It is looked at again when the next generation has been.
                self.look_again(key);
                return true;
            }
            Ok(Originals::Unknown) => {
                self.look_again(key);
                return false;
            }
            Err(error) => {
                self.failed(key, &error);
                return false;
            }
        }
        for of in self.candidates(key, first) {
            match self.vet_against(key, of, read) {
                Ok(Compared::Different) => {}
                Ok(Compared::Copy) => return true,
                Ok(Compared::Later) => return false,
                Err(error) => {
                    self.failed(key, &error);
                    return false;
                }
            }
        }
        if self.streams[&key].is_visitor {
            return self.dismiss(key);
        }
        self.admit(key, first);
        true
    }

    fn look_again(&mut self, key: u64) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.looked = None;
        }
    }

    /// A file that holds nothing of what is lost, and that no glob leads to.
    pub(super) fn dismiss(&mut self, key: u64) -> bool {
        if let Some(stream) = self.remove(key) {
            self.ignored.insert((stream.kept.id.dev, stream.kept.id.ino, stream.size()));
            // It never was to be saved, so there is nothing to remove.
            self.removed.pop();
        }
        true
    }

    /// The streams that this file may be a copy of, those first of which the most was read.
    pub(super) fn candidates(&self, key: u64, first: Print) -> Vec<u64> {
        let Some(stream) = self.streams.get(&key) else { return Vec::new() };
        // Of what was lost before a whole line of it was seen, no first line is known.
        let same = [first, Print::NONE].into_iter().filter_map(|first| self.by_first.get(&first)).flatten();
        let same = same.filter(|of| **of != key);
        let mut candidates: Vec<u64> = same.copied().filter(|of| may_hold(stream, &self.streams[of])).collect();
        candidates.sort_by_key(|of| std::cmp::Reverse(self.streams[of].offset()));
        candidates
    }

    /// Decides whether this file is a copy of that stream.
    fn vet_against(&mut self, key: u64, of: u64, read: &[u8]) -> io::Result<Compared> {
        if !self.streams[&of].is_homeless() {
            if self.streams[&of].kept.packed.is_some() {
                return Ok(Compared::Different);
            }
            let may_be = self.streams[&of].may_be_copied() && !self.streams[&key].is_visitor;
            let compared = match may_be {
                true => self.compare(key, of)?,
                false => self.is_intact(of).map(|_| Compared::Different)?,
            };
            // It may have been found that the original was truncated: then the copy is its continuation.
            if !self.streams[&of].is_homeless() {
                if compared == Compared::Copy {
                    self.set_state(key, State::CopyOf(of));
                    self.close(key);
                }
                return Ok(compared);
            }
        }
        self.vet_against_lost(key, of, read)
    }

    /// The same, of a stream whose file is gone.
    fn vet_against_lost(&mut self, key: u64, of: u64, read: &[u8]) -> io::Result<Compared> {
        let (stream, original) = (&self.streams[&key], &self.streams[&of]);
        let (size, offset, anchor) = (stream.size(), original.offset(), original.kept.anchor);
        if !original.kept.head.begins(read) {
            return Ok(Compared::Different);
        }
        if offset == 0 {
            // Nothing was read of it; what it held is known by its first line and length only.
            let is_held = matches!(original.kept.state, State::Lost(_)) && size >= original.kept.size;
            if is_held {
                self.take_over(of, key);
                self.set_first(of, first_line(read).unwrap_or_else(|| Print::of(read)));
            }
            return Ok(if is_held { Compared::Copy } else { Compared::Different });
        }
        let Some(file) = &stream.file else { return Ok(Compared::Different) };
        let is_alike = match size < offset {
            true => original.kept.head.length == HEAD,
            false => print_before(file, stream, offset, anchor.length)? == anchor,
        };
        if !is_alike {
            return Ok(Compared::Different);
        }
        if !self.digest_beginning(key, size.min(offset))? {
            return Ok(Compared::Later);
        }
        let all = self.streams[&of].kept.all.as_ref();
        if !all.is_none_or(|all| all.agrees(&self.streams[&key].beginning)) {
            return Ok(Compared::Different);
        }
        match size < offset {
            true => self.settle_copy(key, size)?,
            false => self.take_over(of, key),
        }
        Ok(Compared::Copy)
    }

    /// Decides again about a copy, if it or its original has changed; `true` when it is none any more.
    fn vet_copy(&mut self, key: u64, of: u64) -> bool {
        let is_gone = self.streams.get(&of).is_none_or(Stream::is_homeless);
        let has_changed = self.streams[&key].needs_look(self.now_ms);
        if !is_gone && !has_changed {
            return false;
        }
        if self.streams[&key].kept.packed.is_some() {
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.kept.packed = Some(Packed { length: None, is_torn: false });
            }
            self.set_state(key, State::New);
            return true;
        }
        if !self.ensure_open(key) {
            return false;
        }
        if !is_gone {
            match self.compare(key, of) {
                Ok(Compared::Copy) if !self.streams[&of].is_homeless() => {
                    self.close(key);
                    let now_ms = self.now_ms;
                    if let Some(stream) = self.streams.get_mut(&key) {
                        stream.looked = stream.stat.map(|stat| (stat, now_ms));
                    }
                    return false;
                }
                Ok(Compared::Later) if !self.streams[&of].is_homeless() => return false,
                Ok(_) => {}
                Err(error) => {
                    self.failed(key, &error);
                    return false;
                }
            }
        }
        // Known bytes only were copied as long as the original was there, up to where they were compared.
        let (offset, size) = (self.streams.get(&of).map_or(0, Stream::offset), self.streams[&key].size());
        let is_lost = self.streams.get(&of).is_some_and(Stream::is_homeless);
        if is_lost && size < offset && size <= self.streams[&key].kept.size {
            let settled = match self.digest_beginning(key, size) {
                Ok(true) => self.settle_copy(key, size),
                Ok(false) => return false,
                Err(error) => Err(error),
            };
            if let Err(error) = settled {
                self.failed(key, &error);
            }
            return true;
        }
        self.set_state(key, State::New);
        self.look_again(key);
        self.vet(key)
    }

    /// Whether the file of a stream still holds what was read of it; that it was truncated is found out here, too.
    pub(super) fn is_intact(&mut self, of: u64) -> io::Result<bool> {
        let original = &self.streams[&of];
        let opened = original.open_anyway()?;
        let Some(file) = opened.as_ref().or(original.file.as_ref()) else { return Ok(false) };
        let (size, kept) = (disk::stat_open(file, &original.kept.path)?.size, &original.kept);
        let offset = kept.place.offset;
        let begins_so = match kept.first {
            Some(first) if offset == 0 => beginning_of(file, original, first.length as u64)? == first,
            _ => true,
        };
        let is_anchored =
            || -> io::Result<bool> { Ok(print_before(file, original, offset, kept.anchor.length)? == kept.anchor) };
        if size >= offset.max(original.least_size()) && begins_so && is_anchored()? {
            return Ok(true);
        }
        let unread = kept.size.saturating_sub(offset);
        let bytes = (size < offset && original.was_looked_at()).then_some(unread);
        self.truncated(of, bytes);
        Ok(false)
    }

    /// Whether the file of a stream begins with a text of this length, of this beginning and with this end.
    pub(super) fn holds(&self, of: u64, length: u64, (head, end): (Print, Print)) -> io::Result<bool> {
        let original = &self.streams[&of];
        let opened = original.open_anyway()?;
        let Some(file) = opened.as_ref().or(original.file.as_ref()) else { return Ok(false) };
        Ok(length <= disk::stat_open(file, &original.kept.path)?.size
            && beginning_of(file, original, length)? == head
            && print_before(file, original, length, ANCHOR)? == end)
    }

    /// Follows a file as a generation of its own.
    pub(super) fn admit(&mut self, key: u64, first: Print) {
        let starts_at_end = self.options.start == Start::End && self.streams[&key].is_initial;
        self.set_first(key, first);
        self.set_state(key, State::Followed);
        if starts_at_end {
            let size = self.streams[&key].size();
            if let Err(error) = self.start_at(key, size) {
                self.set_state(key, State::New);
                self.failed(key, &error);
            }
        }
    }

    /// Begins behind what the file holds.
    fn start_at(&mut self, key: u64, size: u64) -> io::Result<()> {
        let (head, anchor, last) = self.prints_at(key, size)?;
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        (stream.kept.head, stream.kept.anchor) = (head, anchor);
        // It would take all of it to know that.
        stream.kept.all = (size == 0).then(Digest::new);
        let within = if size > 0 && last != Some(b'\n') { Within::Unseen } else { Within::Line };
        stream.kept.place = Place { offset: size, within };
        stream.kept.account = Account { before_start: size, ..Account::default() };
        Ok(())
    }

    /// A file holds nothing but what was read elsewhere.
    fn settle_copy(&mut self, key: u64, size: u64) -> io::Result<()> {
        let (head, anchor, last) = self.prints_at(key, size)?;
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        (stream.kept.head, stream.kept.anchor) = (head, anchor);
        let within = if last == Some(b'\n') { Within::Line } else { Within::Unseen };
        stream.kept.place = Place { offset: size, within };
        stream.kept.account = Account { copied: size, ..Account::default() };
        let beginning = std::mem::take(&mut stream.beginning);
        stream.kept.all = (beginning.length() == Digest::reach(size)).then_some(beginning);
        stream.kept.is_aside = true;
        stream.kept.is_settled = true;
        self.set_state(key, State::Followed);
        self.close(key);
        Ok(())
    }

    /// The prints of a file of this size, and its last byte.
    fn prints_at(&self, key: u64, size: u64) -> io::Result<(Print, Print, Option<u8>)> {
        let stream = &self.streams[&key];
        let Some(file) = &stream.file else { return Err(io::Error::from(io::ErrorKind::NotFound)) };
        let mut last = [0];
        let has_last = size > 0 && disk::read_at(file, &stream.kept.path, &mut last, size - 1)? == 1;
        let anchor = print_before(file, stream, size, ANCHOR)?;
        Ok((beginning_of(file, stream, size)?, anchor, has_last.then_some(last[0])))
    }

    /// The stream `of`, whose own file is gone, goes on in the file of `key`.
    pub(super) fn take_over(&mut self, of: u64, key: u64) {
        let file = self.streams.get_mut(&key).and_then(|stream| stream.file.take());
        let is_open = file.is_some();
        let Some(holder) = self.remove(key) else { return };
        if holder.is_visitor {
            self.removed.pop();
        }
        let Some(stream) = self.streams.get(&of) else { return };
        let is_moved = stream.kept.id.dev != holder.kept.id.dev || holder.kept.packed.is_some();
        if let State::Lost(Lost { reason: reason @ (GapReason::RotatedAway | GapReason::RotatedWhileDown), .. }) =
            stream.kept.state
            && !is_moved
        {
            // A copy was made and the original kept: that held something else when it vanished.
            self.gap(of, reason, None);
        }
        let Some(stream) = self.streams.get_mut(&of) else { return };
        if self.by_inode.get(&inode(stream.kept.id)) == Some(&of) {
            self.by_inode.remove(&inode(stream.kept.id));
        }
        stream.kept.path = holder.kept.path;
        stream.kept.target = holder.kept.target;
        stream.kept.id = holder.kept.id;
        stream.kept.size = holder.stat.map_or(holder.kept.size, |stat| stat.size);
        stream.kept.packed = holder.kept.packed;
        stream.kept.is_aside = true;
        stream.kept.is_settled = false;
        stream.file = file;
        stream.is_seen = holder.is_seen;
        stream.was_attached = true;
        stream.stat = holder.stat;
        stream.changed_ms = holder.changed_ms;
        stream.looked = None;
        stream.aside_ms = Some(self.now_ms);
        stream.pending = 0;
        self.by_inode.insert(inode(stream.kept.id), of);
        self.set_state(of, State::Followed);
        if is_open {
            self.opened.push_back(of);
        }
        let copies = self.streams.values_mut().filter(|stream| stream.kept.state == State::CopyOf(key));
        for copy in copies {
            copy.kept.state = State::CopyOf(of);
            copy.revision = self.revision;
        }
    }

    /// What was lost and not found for long enough, while nothing is left that might hold it, is a gap.
    pub(super) fn give_up(&mut self) {
        let wait_ms = self.options.rotate_wait_ms;
        let may_hold_it = |stream: &Stream| {
            let is_aside = stream.is_visitor || names::before_rotation(&stream.kept.path).is_some();
            stream.kept.state == State::New && stream.size() > 0 && stream.has_file() && is_aside
        };
        if self.streams.values().any(|stream| may_hold_it(stream) && stream.uncompared > 0) {
            return;
        }
        let is_hopeful = self.streams.values().any(may_hold_it) || !self.blind.is_empty();
        let is_due = |stream: &Stream| {
            let waited_ms = self.now_ms.saturating_sub(stream.aside_ms.unwrap_or(self.now_ms));
            waited_ms >= wait_ms && (!is_hopeful || waited_ms >= wait_ms.saturating_mul(10))
        };
        let due = self.streams.iter().filter(|(_, stream)| is_due(stream));
        let due = due.filter_map(|(key, stream)| match stream.kept.state {
            State::Lost(lost) => Some((*key, lost)),
            _ => None,
        });
        for (key, Lost { reason, bytes }) in due.collect::<Vec<_>>() {
            if bytes != Some(0) {
                self.gap(key, reason, bytes);
            }
            self.set_state(key, State::Remembered);
        }
    }

    pub(super) fn set_state(&mut self, key: u64, state: State) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.kept.state = state;
        }
        self.touch(key);
    }

    pub(super) fn set_first(&mut self, key: u64, first: Print) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if let Some(before) = stream.kept.first.replace(first) {
            self.drop_first(before, key);
        }
        self.by_first.entry(first).or_default().insert(key);
        self.touch(key);
    }
}

/// What the first bytes of a file show; no more will come when they are final.
fn beginning(read: &[u8], is_final: bool) -> Beginning {
    match read {
        [0x1F, 0x8B, _, _, ..] | [0x28, 0xB5, 0x2F, 0xFD, ..] => return Beginning::Packed,
        [0x1F | 0x28, ..] if read.len() < 4 && !is_final => return Beginning::Unclear,
        _ => {}
    }
    match first_line(read) {
        Some(first) => Beginning::Text(first),
        None if is_final && !read.is_empty() => Beginning::Text(Print::of(read)),
        None => Beginning::Unclear,
    }
}

/// The first line of a text of which this is the beginning; `None` when it is not complete.
pub(super) fn first_line(read: &[u8]) -> Option<Print> {
    let beginning = &read[..read.len().min(FIRST)];
    match memchr::memchr(b'\n', beginning) {
        Some(newline) => Some(Print::of(&beginning[..=newline])),
        None => (beginning.len() == FIRST).then(|| Print::of(beginning)),
    }
}

/// Whether `file` may be a file that the generation `of` was put into.
pub(super) fn may_hold(file: &Stream, of: &Stream) -> bool {
    let (file_id, of_id): (FileId, FileId) = (file.kept.id, of.kept.id);
    let is_same_file = of.is_homeless() && file_id.moved(of_id);
    is_same_file || (names::is_aside_of(&file.kept.path, &of.kept.path) && file_id.may_be_younger(of_id))
}

/// The print of the first bytes, up to `size`.
pub(super) fn beginning_of(file: &File, stream: &Stream, size: u64) -> io::Result<Print> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(HEAD).min(HEAD)];
    let length = disk::read_at(file, &stream.kept.path, &mut bytes, 0)?;
    Ok(Print::of(&bytes[..length]))
}

/// The print of up to `length` bytes before `offset`.
pub(super) fn print_before(file: &File, stream: &Stream, offset: u64, length: usize) -> io::Result<Print> {
    let length = usize::try_from(offset).unwrap_or(length).min(length);
    let mut bytes = vec![0; length];
    let read = disk::read_at(file, &stream.kept.path, &mut bytes, offset - length as u64)?;
    Ok(Print::of(&bytes[..read]))
}
