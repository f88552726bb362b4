//! Compressed logs: looked through first, read then.
//!
//! A compressed log is mostly one that was read before it was compressed, and in any case it is written by nobody for
//! long. So it is unpacked twice: once to learn how long the text of its whole members is and whose continuation it is,
//! which takes no memory, and once from the place on up to which that was read. Of a log of which everything was read,
//! nothing is yielded; of a torn member neither, because nothing vouches for it.
//!
//! - One compressed log is unpacked at a time, a bounded amount at each turn.
//! - One that is torn is given time: it may be being written.

mod unpacker;

use std::io;

use super::cut::{self, Account, Place, Rules, Within};
use super::digest::Digest;
use super::disk::{self, Stat};
use super::event::GapReason;
use super::print::{ANCHOR, HEAD, Print};
use super::stream::{Packed, State, Stream};
use super::vet::Originals;
use super::{Log, Sink, Tail, vet};
use crate::spec::Start;
use unpacker::{Unpacked, Unpacker};

/// How much is unpacked at one turn, and at one step.
const TURN: u64 = 1 << 20;
const STEP: usize = 64 * 1024;
/// No log shrinks to less than this part of its length.
const MOST_RATIO: u64 = 200;
/// Below this length the ratio says nothing.
const LEAST_SUSPECT: u64 = 1 << 20;

/// The compressed log that is unpacked at present.
#[derive(Debug)]
pub(super) struct Unpacking {
    pub key: u64,
    unpacker: Unpacker,
    /// What the file system said when it was opened.
    stat: Stat,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    Survey(Box<Survey>),
    Reading(Reading),
}

/// What is learnt by looking through it.
#[derive(Debug, Default)]
struct Survey {
    /// How much was unpacked so far.
    length: u64,
    /// The length of the whole members, and the print of the bytes before their end.
    whole: u64,
    whole_anchor: Option<Print>,
    head: Vec<u8>,
    /// The last that was unpacked, at least the anchor before `checked`.
    window: Vec<u8>,
    /// The streams that it may hold, once enough is known.
    candidates: Option<Vec<Candidate>>,
    /// Up to where it was compared with them.
    checked: u64,
    /// Those that it does hold, and how much was read of them.
    held: Vec<(u64, u64)>,
    /// A digest of all of it up to there, and of the whole members.
    digest: Digest,
    whole_digest: Digest,
}

/// A stream that a compressed log may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    of: u64,
    /// How much was read of it, the bytes before that place, and all of them.
    offset: u64,
    anchor: Print,
    all: Option<Digest>,
}

/// Text on its way.
#[derive(Debug, Default)]
struct Reading {
    /// Unpacked and not passed yet, with some bytes from before.
    text: Vec<u8>,
    /// How much of the log was unpacked: where `text` ends.
    end: u64,
    is_checked: bool,
}

/// How looking through it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Torn,
    Limit,
}

impl Tail {
    /// A new file holds compressed data.
    pub(super) fn admit_packed(&mut self, key: u64) {
        self.close(key);
        let starts_at_end = self.options.start == Start::End;
        let Some(stream) = self.streams.get_mut(&key) else { return };
        stream.kept.is_aside = true;
        stream.kept.packed = Some(Packed { length: None, is_torn: false });
        if starts_at_end && stream.is_initial {
            stream.kept.packed = Some(Packed { length: Some(0), is_torn: false });
            stream.kept.place.within = Within::Unseen;
            self.finish_packed(key);
        }
        self.touch(key);
    }

    /// Unpacks a bounded amount; returns how much that was.
    pub(super) fn unpack(&mut self, sink: &mut dyn Sink) -> u64 {
        let mut total = 0;
        while total < TURN.min(self.options.bytes_per_poll) {
            let Some(mut unpacking) = self.unpacking.take().or_else(|| self.next_to_unpack()) else { break };
            let step = match &mut unpacking.purpose {
                Purpose::Survey(survey) => self.survey(unpacking.key, &mut unpacking.unpacker, survey),
                Purpose::Reading(reading) => self.read_packed(unpacking.key, &mut unpacking.unpacker, reading, sink),
            };
            match step {
                Ok(Step::More(bytes)) => {
                    total += bytes.max(1);
                    self.unpacking = Some(unpacking);
                }
                Ok(Step::Surveyed(end)) => {
                    total += 1;
                    self.unpacking = self.decide(unpacking, end);
                }
                Ok(Step::Done) => total += 1,
                Err(error) => self.failed(unpacking.key, &error),
            }
        }
        total
    }

    /// Opens the next compressed log that is to be looked through or read.
    fn next_to_unpack(&mut self) -> Option<Unpacking> {
        let now_ms = self.now_ms;
        for stream in self.streams.values_mut().filter(|stream| has_changed(stream)) {
            stream.kept.state = State::New;
            stream.kept.packed = Some(Packed { length: None, is_torn: false });
            stream.revision = self.revision;
        }
        let is_due = |stream: &Stream| {
            let Some(packed) = stream.kept.packed else { return false };
            let is_wanted = match (stream.kept.state, packed.length) {
                (State::New, None) => true,
                (State::Followed, Some(length)) => length > stream.offset(),
                _ => false,
            };
            is_wanted && stream.is_seen && stream.retry_ms <= now_ms && stream.is_conserved()
        };
        let due: Vec<u64> = self.streams.iter().filter(|(_, stream)| is_due(stream)).map(|(key, _)| *key).collect();
        due.into_iter().find_map(|key| {
            let (path, id) = (self.streams[&key].kept.path.clone(), self.streams[&key].kept.id);
            let opened = disk::open(&path).and_then(|(file, stat)| Ok((Unpacker::new(file, &path)?, stat)));
            match opened {
                Ok((_, stat)) if stat.id != id => None,
                Ok((unpacker, stat)) => {
                    let stream = self.streams.get_mut(&key)?;
                    stream.note_stat(stat, now_ms);
                    (stream.retry_ms, stream.backoff_ms) = (0, 0);
                    let purpose = match stream.kept.state {
                        State::Followed => Purpose::Reading(Reading::default()),
                        _ => Purpose::Survey(Box::default()),
                    };
                    Some(Unpacking { key, unpacker, stat, purpose })
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => {
                    self.failed(key, &error);
                    None
                }
            }
        })
    }

    /// Looks through some more.
    fn survey(&self, key: u64, unpacker: &mut Unpacker, survey: &mut Survey) -> io::Result<Step> {
        let mut text = vec![0; STEP];
        match unpacker.read(&mut text)? {
            Unpacked::Text(length) => {
                survey.take(&text[..length]);
                if survey.head.len() >= HEAD {
                    survey.compare(|head| self.packed_candidates(key, head));
                }
                let is_bomb = survey.length > LEAST_SUSPECT && survey.length / MOST_RATIO > unpacker.taken()?;
                match is_bomb || survey.length > self.options.max_unpacked {
                    true => Ok(Step::Surveyed(End::Limit)),
                    false => Ok(Step::More(length as u64)),
                }
            }
            Unpacked::MemberEnd => {
                survey.end_member();
                Ok(Step::More(0))
            }
            Unpacked::End => Ok(Step::Surveyed(End::Whole)),
            Unpacked::Torn => Ok(Step::Surveyed(End::Torn)),
        }
    }

    /// The streams without a file that this log may hold, those first of which the least was read.
    fn packed_candidates(&self, key: u64, head: &[u8]) -> Vec<Candidate> {
        let first = vet::first_line(head).unwrap_or_else(|| Print::of(head));
        let own = self.streams.get(&key).filter(|stream| stream.offset() > 0).map(|_| key);
        let others = self.candidates(key, first).into_iter().filter(|of| self.streams[of].is_homeless());
        let candidates = own.into_iter().chain(others).map(|of| (of, &self.streams[&of].kept));
        let candidates = candidates.filter(|(_, kept)| kept.place.offset > 0 && kept.head.begins(head));
        let candidates = candidates.map(|(of, kept)| Candidate {
            of,
            offset: kept.place.offset,
            anchor: kept.anchor,
            all: kept.all.clone(),
        });
        let mut candidates: Vec<Candidate> = candidates.collect();
        candidates.sort_by_key(|candidate| candidate.offset);
        candidates
    }

    /// Decides what a compressed log is, having looked through it; returns what is to be unpacked next.
    fn decide(&mut self, unpacking: Unpacking, end: End) -> Option<Unpacking> {
        let Unpacking { key, unpacker, stat, purpose: Purpose::Survey(mut survey) } = unpacking else { return None };
        survey.compare(|head| self.packed_candidates(key, head));
        let (now_ms, wait_ms) = (self.now_ms, self.options.rotate_wait_ms);
        let stream = self.streams.get_mut(&key)?;
        stream.looked = Some((stat, now_ms));
        let waited_ms = now_ms.saturating_sub(stream.changed_ms);
        match self.refresh_originals(key) {
            Ok(Originals::Known) => {}
            Ok(Originals::Truncated | Originals::Unknown) => return None,
            Err(error) => {
                self.failed(key, &error);
                return None;
            }
        }
        let first = vet::first_line(&survey.head).unwrap_or_else(|| Print::of(&survey.head));
        match self.original_of(key, first, &survey, end) {
            // What lost its file in the meantime was not looked for in here.
            Ok(None) if !self.packed_candidates(key, &survey.head).iter().all(|of| survey.knows(of)) => return None,
            Ok(None) => {}
            Ok(Some(of)) => {
                self.set_state(key, State::CopyOf(of));
                return None;
            }
            Err(error) => {
                self.failed(key, &error);
                return None;
            }
        }
        if end == End::Torn && waited_ms < wait_ms {
            // It may be being written.
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.retry_ms = now_ms + wait_ms - waited_ms;
            }
            return None;
        }
        let packed = Packed { length: Some(survey.whole), is_torn: end != End::Whole };
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.kept.packed = Some(packed);
            stream.kept.size = stat.size;
        }
        let key = self.place_packed(key, first, &survey)?;
        self.set_state(key, State::Followed);
        if packed.is_torn && !self.streams[&key].kept.is_settled {
            let reason = if end == End::Torn { GapReason::PackedTorn } else { GapReason::PackedLimit };
            self.gap(key, reason, None);
        }
        if self.streams[&key].offset() >= survey.whole {
            self.finish_packed(key);
            return None;
        }
        let unpacker = match unpacker.again() {
            Ok(unpacker) => unpacker,
            Err(error) => {
                self.failed(key, &error);
                return None;
            }
        };
        Some(Unpacking { key, unpacker, stat, purpose: Purpose::Reading(Reading::default()) })
    }

    /// The stream whose own file is there and holds all that this log does. A log that is being written is compared as
    /// far as it goes.
    fn original_of(&mut self, key: u64, first: Print, survey: &Survey, end: End) -> io::Result<Option<u64>> {
        // Tools put `log.gz` beside `log` and remove that when they are done.
        let packed = &self.streams[&key];
        let made_from = packed.kept.path.with_extension("");
        let others = self.streams.iter().filter(|(of, stream)| **of != key && stream.has_file());
        let beside = others.clone().find(|(_, stream)| stream.kept.path == made_from).map(|(of, _)| *of);
        if end == End::Torn && beside.is_some() {
            return Ok(beside);
        }
        // What has no whole line yet is not known by its first one, and is compared as well.
        let lineless = others.filter(|(_, stream)| stream.kept.first.is_none() && vet::may_hold(packed, stream));
        let lineless: Vec<u64> = lineless.map(|(of, _)| *of).collect();
        for of in self.candidates(key, first).into_iter().chain(lineless) {
            let original = &self.streams[&of];
            if original.is_homeless() || original.kept.packed.is_some() || !original.has_file() || survey.length == 0 {
                continue;
            }
            let is_intact = self.is_intact(of)?;
            let is_same = || self.streams[&of].kept.all.as_ref().is_none_or(|all| all.agrees(&survey.digest));
            if is_intact && is_same() && self.holds(of, survey.length, (Print::of(&survey.head), survey.end()))? {
                return Ok(Some(of));
            }
        }
        Ok(None)
    }

    /// Finds the stream that a compressed log holds, and lets it go on there; the log's own where it holds none that is
    /// known. `None` when the log is none of ours.
    fn place_packed(&mut self, key: u64, first: Print, survey: &Survey) -> Option<u64> {
        let is_valid = |(of, offset): &&(u64, u64)| {
            let stream = self.streams.get(of);
            *offset <= survey.whole && stream.is_some_and(|s| s.offset() == *offset && (s.is_homeless() || *of == key))
        };
        let held = survey.held.iter().filter(is_valid).max_by_key(|(_, offset)| *offset);
        if let Some((of, _)) = held.copied() {
            if of != key {
                self.take_over(of, key);
            }
            return Some(of);
        }
        let unread = self.candidates(key, first).into_iter().find(|of| {
            let of = &self.streams[of];
            let is_lost = matches!(of.kept.state, State::Lost(_));
            is_lost && of.offset() == 0 && of.kept.size > 0 && of.kept.size <= survey.whole
        });
        if let Some(of) = unread {
            self.take_over(of, key);
            self.set_first(of, first);
            return Some(of);
        }
        let is_cut = self.candidates(key, first).into_iter().any(|of| {
            let of = &self.streams[&of];
            let is_longer = of.is_homeless() && of.offset() > survey.whole && of.kept.head.length == HEAD;
            let is_same = of.kept.all.as_ref().is_none_or(|all| all.agrees(&survey.whole_digest));
            is_longer && is_same && of.kept.head.begins(survey.whole_head())
        });
        if self.streams[&key].is_visitor && !is_cut {
            self.dismiss(key);
            return None;
        }
        let stream = self.streams.get_mut(&key)?;
        stream.kept.place = Place { offset: 0, within: Within::Line };
        stream.kept.account = Account::default();
        (stream.kept.head, stream.kept.anchor) = (Print::NONE, Print::NONE);
        stream.kept.all = Some(Digest::new());
        if is_cut {
            stream.kept.place.offset = survey.whole;
            stream.kept.account.copied = survey.whole;
            stream.kept.head = Print::of(survey.whole_head());
            stream.kept.anchor = survey.whole_anchor.unwrap_or(Print::NONE);
            stream.kept.all = Some(survey.whole_digest.clone());
            stream.kept.is_settled = true;
        }
        self.set_first(key, first);
        Some(key)
    }

    /// Reads some more of a compressed log of which is known what it is.
    fn read_packed(
        &mut self,
        key: u64,
        unpacker: &mut Unpacker,
        reading: &mut Reading,
        sink: &mut dyn Sink,
    ) -> io::Result<Step> {
        let max_line = self.options.max_line;
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(Step::Done) };
        let (State::Followed, Some(Packed { length: Some(length), is_torn })) = (stream.kept.state, stream.kept.packed)
        else {
            return Ok(Step::Done);
        };
        let fresh = if reading.end < length { reading.more(unpacker)? } else { Some(0) };
        let is_same = fresh.is_some() && reading.check(stream, length);
        if !is_same {
            // It is not what it was when it was looked through.
            stream.kept.packed = Some(Packed { length: None, is_torn: false });
            self.set_state(key, State::New);
            return Ok(Step::Done);
        }
        let kept = &mut stream.kept;
        let Some(at) = reading.place_of(kept.place.offset) else { return Ok(Step::More(fresh.unwrap_or(0))) };
        let surplus = usize::try_from(reading.end.saturating_sub(length)).unwrap_or(usize::MAX);
        let text = &reading.text[..reading.text.len().saturating_sub(surplus)];
        let data = &text[at..];
        let log = Log { generation: key, path: &kept.path };
        let rules = Rules { max_line, is_full: data.len() >= Rules::least(max_line) };
        let mut emit = |piece: super::Piece<'_>| sink.piece(log, piece);
        let mut passed = cut::cut(data, &mut kept.place, &mut kept.account, rules, &mut emit);
        let is_done = passed == 0 && reading.end >= length;
        // The end of a torn log is not the end of a line.
        if is_done && !is_torn && passed < data.len() {
            cut::hand_over(&data[passed..], &mut kept.place, &mut kept.account, &mut emit);
            passed = data.len();
        }
        kept.pass(&text[..at + passed], at);
        self.touch(key);
        if is_done {
            self.finish_packed(key);
            return Ok(Step::Done);
        }
        Ok(Step::More(fresh.unwrap_or(0).max(passed as u64)))
    }

    fn finish_packed(&mut self, key: u64) {
        self.finish(key);
        if let Some(stream) = self.streams.get_mut(&key) {
            // What follows the last line of a torn log is not waited for.
            stream.caught_up_ms = Some(self.now_ms);
            if let Some(Packed { length: Some(length), .. }) = &mut stream.kept.packed {
                *length = (*length).min(stream.kept.place.offset);
            }
            if stream.kept.state == State::New {
                stream.kept.state = State::Followed;
            }
        }
    }
}

/// What one step came to.
enum Step {
    /// So much was unpacked; there is more to do.
    More(u64),
    Surveyed(End),
    Done,
}

/// Whether a compressed log that had been dealt with was changed. Its times alone change when it is renamed.
fn has_changed(stream: &Stream) -> bool {
    let (Some(stat), Some(Packed { length: Some(_), .. })) = (stream.stat, stream.kept.packed) else { return false };
    stream.kept.state == State::Followed
        && stream.kept.is_settled
        && stream.kept.place.within != Within::Unseen
        && match stream.looked {
            Some((looked, _)) => (looked.size, looked.changed.0) != (stat.size, stat.changed.0),
            None => stat.size != stream.kept.size,
        }
}

impl Survey {
    fn take(&mut self, text: &[u8]) {
        self.length += text.len() as u64;
        let missing = HEAD - self.head.len();
        self.head.extend(&text[..text.len().min(missing)]);
        self.window.extend(text);
    }

    /// Compares what was unpacked with the candidates, who are looked for when the beginning is known.
    fn compare(&mut self, candidates: impl FnOnce(&[u8]) -> Vec<Candidate>) {
        let candidates = self.candidates.get_or_insert_with(|| candidates(&self.head));
        let start = self.length - self.window.len() as u64;
        for Candidate { of, offset, anchor, all } in candidates.iter() {
            if (self.checked + 1..=self.length).contains(offset) {
                let at = (offset - start) as usize;
                self.digest.take(&self.window[..at], start);
                let is_same = all.as_ref().is_none_or(|all| all.agrees(&self.digest));
                let is_anchored = at >= anchor.length && Print::of(&self.window[at - anchor.length..at]) == *anchor;
                self.held.extend((is_same && is_anchored).then_some((*of, *offset)));
            }
        }
        self.digest.take(&self.window, start);
        self.checked = self.length;
        self.window.drain(..self.window.len().saturating_sub(ANCHOR));
    }

    /// Whether this candidate was looked for from the beginning.
    fn knows(&self, candidate: &Candidate) -> bool {
        self.candidates.as_ref().is_some_and(|candidates| candidates.contains(candidate))
    }

    fn end_member(&mut self) {
        self.whole = self.length;
        self.whole_anchor = Some(self.end());
        self.whole_digest = self.digest.clone();
    }

    /// The print of the last bytes.
    fn end(&self) -> Print {
        Print::anchor(&self.window)
    }

    /// The beginning of what is whole.
    fn whole_head(&self) -> &[u8] {
        let whole = usize::try_from(self.whole).unwrap_or(HEAD);
        &self.head[..self.head.len().min(whole)]
    }
}

impl Reading {
    /// Unpacks more; `None` when the log ends.
    fn more(&mut self, unpacker: &mut Unpacker) -> io::Result<Option<u64>> {
        let before = self.text.len();
        self.text.resize(before + STEP, 0);
        let length = loop {
            match unpacker.read(&mut self.text[before..])? {
                Unpacked::Text(length) => break Some(length),
                Unpacked::MemberEnd => {}
                Unpacked::End | Unpacked::Torn => break None,
            }
        };
        self.text.truncate(before + length.unwrap_or(0));
        self.end += length.unwrap_or(0) as u64;
        Ok(length.map(|length| length as u64))
    }

    /// Forgets what is no longer needed, and checks once that the bytes before the place are those that were read.
    fn check(&mut self, stream: &Stream, length: u64) -> bool {
        let offset = stream.offset();
        let needed = offset.min(self.end).saturating_sub(ANCHOR as u64);
        let start = self.end - self.text.len() as u64;
        self.text.drain(..needed.saturating_sub(start) as usize);
        if self.is_checked || self.end < offset {
            return offset <= length;
        }
        self.is_checked = true;
        let anchor = stream.kept.anchor;
        let at = self.place_of(offset).unwrap_or(0);
        at >= anchor.length && Print::of(&self.text[at - anchor.length..at]) == anchor
    }

    /// Where byte `offset` of the log is in the text.
    fn place_of(&self, offset: u64) -> Option<usize> {
        let start = self.end - self.text.len() as u64;
        (offset <= self.end).then(|| offset.checked_sub(start)).flatten().map(|at| at as usize)
    }
}
