//! The world: logs on a real disk, and what was truly written to them.
//!
//! A generation is what one log holds between two beginnings. The world knows which file holds which generation because
//! it put it there; the follower has to find that out. Nothing is ever taken from a generation, so that what nobody can
//! read any more is known to the byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::model::{Event, Record};
use super::plan::{At, Between, EDGE, FRONT, Line, Route, Shape};
use crate::time::Timestamp;

/// Lines longer than this are oversize.
pub const MAX_LINE: usize = 1_024;
/// So many rotated files are kept.
const KEPT: usize = 4;
/// What switches, and what is behind it.
const CURRENT: &str = "edge/current";

/// The logs.
pub struct World {
    root: PathBuf,
    generations: Vec<Generation>,
    files: Vec<Holder>,
    /// What well-formed lines say, by their bytes.
    meanings: BTreeMap<Vec<u8>, Event>,
    /// By log: what is still to be written of a line.
    torn: [Option<Vec<u8>>; 2],
    /// The name of the file that is written to, by log.
    live: [String; 2],
    next_line: u32,
    next_day: u32,
    next_file: usize,
    /// The files that were truncated.
    emptied: BTreeSet<usize>,
    /// Generations of which some bytes have no file any more; those that nobody could tell apart count several times.
    pub destroyed: Vec<usize>,
}

/// What a log held for a while.
struct Generation {
    log: usize,
    bytes: Vec<u8>,
    /// What is behind this was written between the making of a copy and the truncation, and left no trace.
    traced: Option<usize>,
}

/// A file, and what it holds.
struct Holder {
    name: String,
    /// Which file it is, whatever it holds.
    number: usize,
    generation: usize,
    /// Of a copy: how much of the generation it has. The file that is written to has all of it.
    length: Option<usize>,
    is_packed: bool,
}

/// What a follower is known to have seen, by what it said: all that outlives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How far each generation has been read.
    places: BTreeMap<usize, Place>,
    /// The generations that it has met, and the files.
    met: BTreeSet<usize>,
    met_files: BTreeSet<usize>,
    /// The generations of which it knows that something cannot be read any more.
    pub missed: BTreeSet<usize>,
}

/// Where reading of a generation goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    offset: usize,
    /// Inside a line of which the beginning was too long.
    in_oversize: bool,
}

/// A follower: what it has seen, and the files that it has open.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub seen: Seen,
    /// By generation: how much of it the open file has, if that is a copy.
    open: BTreeMap<usize, Option<usize>>,
}

impl Memory {
    /// That of a follower that goes on from what another has seen.
    pub fn of(seen: Seen) -> Self {
        Self { seen, open: BTreeMap::new() }
    }
}

impl World {
    pub fn new(root: &Path) -> Self {
        fs::create_dir(root.join("front")).unwrap();
        fs::create_dir(root.join("edge")).unwrap();
        let world = Self {
            root: root.to_owned(),
            generations: Vec::new(),
            files: Vec::new(),
            meanings: BTreeMap::new(),
            torn: [None, None],
            live: ["front/access.log".to_owned(), "edge/day-0".to_owned()],
            next_line: 0,
            next_day: 1,
            next_file: 0,
            emptied: BTreeSet::new(),
            destroyed: Vec::new(),
        };
        symlink(world.path("edge/day-0"), world.path(CURRENT)).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The file of this name, if it is there.
    fn file(&self, name: &str) -> Option<usize> {
        self.files.iter().position(|file| file.name == name)
    }

    fn live(&self, log: usize) -> Option<usize> {
        self.file(&self.live[log])
    }

    // What web servers do.

    /// Writes whole lines.
    pub fn write(&mut self, log: usize, lines: &[Line], clocks: Clocks) {
        let texts: Vec<Vec<u8>> = lines.iter().map(|line| self.text(log, *line, clocks)).collect();
        let rest = self.torn[log].take().unwrap_or_default();
        self.append(log, &[rest, texts.concat()].concat());
    }

    /// Writes the beginning of a line.
    pub fn write_torn(&mut self, log: usize, line: Line, percent: usize, clocks: Clocks) {
        let text = self.text(log, line, clocks);
        // Behind the place where a line could begin, for what begins with any word but goes on like a line is one.
        let least = text.iter().position(|byte| *byte == b'[').map_or(1, |bracket| bracket + 1);
        let (beginning, rest) = text.split_at((text.len() * percent / 100).clamp(least, text.len() - 1));
        let before = self.torn[log].take().unwrap_or_default();
        self.append(log, &[&before, beginning].concat());
        self.torn[log] = Some(rest.to_owned());
    }

    /// Writes a line to the file that was renamed last.
    pub fn write_aside(&mut self, line: Line, clocks: Clocks) {
        let Some(file) = self.file("front/access.log.1") else { return };
        let Holder { generation, length: None, .. } = self.files[file] else { return };
        if self.generations[generation].bytes.last() == Some(&b'\n') {
            let text = self.text(FRONT, line, clocks);
            self.append_to("front/access.log.1", generation, &text);
        }
    }

    fn append(&mut self, log: usize, bytes: &[u8]) {
        let generation = match self.live(log) {
            Some(file) => self.files[file].generation,
            None => self.begin(log),
        };
        let name = self.live[log].clone();
        self.append_to(&name, generation, bytes);
    }

    fn append_to(&mut self, name: &str, generation: usize, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(bytes).unwrap();
        self.generations[generation].bytes.extend(bytes);
    }

    /// A new generation in the file that is written to, which is created if need be.
    fn begin(&mut self, log: usize) -> usize {
        self.generations.push(Generation { log, bytes: Vec::new(), traced: None });
        let generation = self.generations.len() - 1;
        match self.live(log) {
            Some(file) => self.files[file].generation = generation,
            None => {
                File::create(self.path(&self.live[log])).unwrap();
                let name = self.live[log].clone();
                self.hold(name, generation, None, false);
            }
        }
        generation
    }

    fn hold(&mut self, name: String, generation: usize, length: Option<usize>, is_packed: bool) {
        self.files.push(Holder { name, number: self.next_file, generation, length, is_packed });
        self.next_file += 1;
    }

    fn text(&mut self, log: usize, line: Line, clocks: Clocks) -> Vec<u8> {
        self.next_line += 1;
        let number = self.next_line;
        let (clock_ms, ago_ms) = match line.at {
            At::Ago(ago_ms) => (clocks.wall_ms, ago_ms),
            At::TrulyAgo(ago_ms) => (clocks.true_ms, ago_ms),
        };
        let at_ms = (clock_ms - ago_ms).div_euclid(1_000) * 1_000;
        let route = match line.route {
            Route::Cart => "POST /cart",
            Route::Edge => "GET /edge",
            Route::Shop => "GET /shop",
            Route::Other => "GET /other",
        };
        let tail = match line.shape {
            Shape::Forged => r#"\x22\x20200\x205\x200.001"#,
            Shape::Injected => r#"" 200 0.001 ""#,
            _ => "",
        };
        let duration = line.duration.map_or("-".to_owned(), |ms| format!("{}.{:03}", ms / 1_000, ms % 1_000));
        let long = if line.shape == Shape::Oversize { "x".repeat(2 * MAX_LINE) } else { String::new() };
        let time = local_time(Timestamp::from_millis(at_ms));
        let text = format!(r#"10.0.0.1 [{time}] "{route}/{number}{long}{tail} HTTP/1.1" {} {duration}"#, line.status);
        let event = Event { log, at_ms, route: line.route, status: line.status, duration_ms: line.duration };
        let text = match line.shape {
            Shape::Garbage => format!("{number} is no line of any format [{time}]").into_bytes(),
            Shape::Injected | Shape::Oversize => text.into_bytes(),
            Shape::Plain | Shape::Forged | Shape::Nuls(_) | Shape::Cr => {
                self.meanings.insert(text.clone().into_bytes(), event);
                text.into_bytes()
            }
        };
        match line.shape {
            Shape::Nuls(count) => [vec![0; count], text, b"\n".to_vec()].concat(),
            Shape::Cr => [text, b"\r\n".to_vec()].concat(),
            _ => [text, b"\n".to_vec()].concat(),
        }
    }

    /// Every server opens its log, and creates it if it is not there.
    pub fn reopen(&mut self) {
        for log in [FRONT, EDGE] {
            if self.live(log).is_none() {
                self.begin(log);
            }
        }
    }

    // What becomes of the files.

    /// Whether what is half written may be left so: only one such line waits at a time, so that it is known which one
    /// it is that is handed over. The rest of it, or nothing when it was completed.
    fn settle_torn(&mut self, log: usize, leaves_torn: bool, memory: &Memory, committed: &Seen) -> Option<Vec<u8>> {
        let seen = [&memory.seen, committed];
        let is_waiting = self.over(log).any(|generation| {
            let available = self.available(generation, memory);
            available
                .is_some_and(|length| seen.iter().any(|seen| !self.unfinished(generation, seen, length).is_empty()))
        });
        let rest = self.torn[log].take()?;
        if leaves_torn && !is_waiting {
            return Some(rest);
        }
        self.append(log, &rest);
        None
    }

    /// The generations of a log that nobody writes to any more.
    fn over(&self, log: usize) -> impl Iterator<Item = usize> {
        let live = self.live(log).map(|live| self.files[live].generation);
        let of_log = move |generation: &usize| self.generations[*generation].log == log && live != Some(*generation);
        (0..self.generations.len()).filter(of_log)
    }

    /// Renames the log and all that were renamed before.
    pub fn rotate(&mut self, leaves_torn: bool, creates: bool, memory: &Memory, committed: &Seen) {
        if self.live(FRONT).is_none() || !self.shift(memory) {
            return;
        }
        self.settle_torn(FRONT, leaves_torn, memory, committed);
        self.rename("front/access.log", "front/access.log.1");
        if creates {
            self.begin(FRONT);
        }
    }

    /// Copies the log and empties it; `meanwhile` happens between the two.
    pub fn copytruncate(
        &mut self,
        leaves_torn: bool,
        between: Between,
        extra: (Line, Clocks),
        memory: &Memory,
        committed: &Seen,
    ) -> Option<Truncation> {
        if self.live(FRONT).is_none() || !self.shift(memory) {
            return None;
        }
        let rest = self.settle_torn(FRONT, leaves_torn, memory, committed);
        let live = self.live(FRONT)?;
        let generation = self.files[live].generation;
        let length = Some(self.generations[generation].bytes.len());
        fs::copy(self.path("front/access.log"), self.path("front/access.log.1")).unwrap();
        let name = "front/access.log.1".to_owned();
        self.hold(name, generation, length, false);
        // A copy without one whole line is not known for one.
        let has_line = self.generations[generation].bytes.contains(&b'\n');
        if has_line && matches!(between, Between::Write | Between::WriteAndPoll) {
            let text = self.text(FRONT, extra.0, extra.1);
            let end = rest.as_deref().unwrap_or_default();
            self.append(FRONT, &[end, &text[..]].concat());
            return Some(Truncation(None));
        }
        Some(Truncation(rest))
    }

    /// The second half of copying and truncating.
    pub fn then_truncate(&mut self, Truncation(rest): Truncation, memory: &mut Memory) {
        self.torn[FRONT] = rest;
        self.truncate(FRONT, memory);
    }

    /// The log loses its content. What was half written goes on at its beginning.
    pub fn truncate(&mut self, log: usize, memory: &mut Memory) {
        let Some(live) = self.live(log) else { return };
        let before = self.files[live].generation;
        File::options().write(true).open(self.path(&self.live[log])).unwrap().set_len(0).unwrap();
        let after = self.begin(log);
        self.emptied.insert(self.files[live].number);
        // Whoever had the file open has it still.
        if memory.open.remove(&before).is_some() {
            memory.open.insert(after, None);
        }
        let copies = self.files.iter().filter(|file| file.generation == before);
        self.generations[before].traced = copies.filter_map(|file| file.length).max();
        self.note_destroyed(before);
    }

    /// Deletes the log.
    pub fn delete(&mut self, log: usize, leaves_torn: bool, memory: &Memory, committed: &Seen) {
        if self.live(log).is_some() {
            self.settle_torn(log, leaves_torn, memory, committed);
            let name = self.live[log].clone();
            self.remove(&name);
        }
    }

    /// Lets the symlink lead to a new file.
    pub fn switch(&mut self, leaves_torn: bool, memory: &Memory, committed: &Seen) {
        if self.live(EDGE).is_some() {
            self.settle_torn(EDGE, leaves_torn, memory, committed);
        }
        self.torn[EDGE] = None;
        self.live[EDGE] = format!("edge/day-{}", self.next_day);
        self.next_day += 1;
        self.begin(EDGE);
        fs::remove_file(self.path(CURRENT)).unwrap();
        symlink(self.path(&self.live[EDGE]), self.path(CURRENT)).unwrap();
    }

    /// Packs a rotated file: the archive appears, then the file goes. Returns the file's name, to be removed.
    pub fn pack(&mut self, place: usize) -> Option<String> {
        let plain: Vec<usize> = (0..self.files.len()).filter(|file| self.is_plain_aside(*file)).collect();
        let file = *plain.get(place % plain.len().max(1))?;
        let Holder { ref name, generation, length, .. } = self.files[file];
        let name = name.clone();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&fs::read(self.path(&name)).unwrap()).unwrap();
        fs::write(self.path("packing"), encoder.finish().unwrap()).unwrap();
        fs::rename(self.path("packing"), self.path(&format!("{name}.gz"))).unwrap();
        let length = Some(length.unwrap_or(self.generations[generation].bytes.len()));
        self.hold(format!("{name}.gz"), generation, length, true);
        Some(name)
    }

    /// Whether a file may be packed. One that lacks what was written between its making and the truncation may not: of
    /// a log below the length that a follower remembers the beginning of, nobody can tell its archive from another log.
    fn is_plain_aside(&self, file: usize) -> bool {
        let Holder { name, generation, length, is_packed, .. } = &self.files[file];
        let whole = self.whole(*generation);
        name.starts_with("front/access.log.") && !is_packed && length.unwrap_or(whole) == whole
    }

    pub fn remove(&mut self, name: &str) {
        let Some(file) = self.file(name) else { return };
        fs::remove_file(self.path(name)).unwrap();
        let Holder { number, generation, .. } = self.files.remove(file);
        self.note_destroyed(generation);
        if self.emptied.contains(&number) {
            // Whoever knew what it held before cannot know what it held in the end.
            self.destroyed.push(generation);
        }
    }

    fn note_destroyed(&mut self, generation: usize) {
        let whole = self.whole(generation);
        let holds_all = |file: &Holder| file.generation == generation && file.length.unwrap_or(whole) == whole;
        // What has no line is like anything else, and no copy of it can be known.
        let has_line = self.generations[generation].bytes.contains(&b'\n');
        if !has_line || !self.files.iter().any(holds_all) {
            self.destroyed.push(generation);
        }
    }

    /// Moves every rotated file one further; the oldest goes. `false` when that would take away what nobody can say
    /// whether the follower still has open.
    fn shift(&mut self, memory: &Memory) -> bool {
        let number = |file: &Holder| -> Option<usize> {
            file.name.strip_prefix("front/access.log.")?.split('.').next()?.parse().ok()
        };
        let mut rotated: Vec<(usize, String)> =
            self.files.iter().filter_map(|file| Some((number(file)?, file.name.clone()))).collect();
        rotated.sort();
        if let Some((_, oldest)) = rotated.iter().find(|(number, _)| *number >= KEPT) {
            let generation = self.files[self.file(oldest).unwrap()].generation;
            let is_read = self.unread(generation, &memory.seen, self.whole(generation)).0.is_empty();
            if !is_read && memory.open.contains_key(&generation) {
                return false;
            }
            self.remove(&oldest.clone());
            rotated.retain(|(number, _)| *number < KEPT);
        }
        for (number, name) in rotated.iter().rev() {
            let end = if name.ends_with(".gz") { ".gz" } else { "" };
            self.rename(name, &format!("front/access.log.{}{end}", number + 1));
        }
        true
    }

    fn rename(&mut self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
        let file = self.file(from).unwrap();
        self.files[file].name = to.to_owned();
    }

    // What a follower must see.

    /// What a follower yields when it looks at the files of a log now.
    pub fn poll(&self, log: usize, memory: &mut Memory) -> Vec<Record> {
        let mut records = Vec::new();
        for (number, generation) in self.generations.iter().enumerate().filter(|(_, found)| found.log == log) {
            let Some(available) = self.available(number, memory) else { continue };
            memory.seen.met.insert(number);
            let holding = self.files.iter().filter(|file| file.generation == number);
            memory.seen.met_files.extend(holding.map(|file| file.number));
            let plain = self.files.iter().filter(|file| file.generation == number && !file.is_packed);
            if let Some(longest) = plain.map(|file| file.length).max_by_key(|length| length.unwrap_or(usize::MAX)) {
                memory.open.insert(number, longest);
            }
            let place = memory.seen.places.entry(number).or_default();
            read(&generation.bytes[..available], place, &mut |line| records.push(self.record(line)));
        }
        records
    }

    /// How much of a generation can be read.
    fn available(&self, generation: usize, memory: &Memory) -> Option<usize> {
        let whole = self.whole(generation);
        let is_findable = |file: &&Holder| {
            let is_current = file.name.starts_with("front/") || file.name == self.live[EDGE];
            file.generation == generation && (is_current || memory.seen.met_files.contains(&file.number))
        };
        let lengths = self.files.iter().filter(is_findable).map(|file| file.length.unwrap_or(whole));
        lengths.chain(memory.open.get(&generation).map(|length| length.unwrap_or(whole))).max()
    }

    fn record(&self, line: Yielded<'_>) -> Record {
        let known = |line: &[u8]| self.meanings.get(line.strip_suffix(b"\r").unwrap_or(line));
        match line {
            Yielded::Oversize => Record::Oversize,
            Yielded::Line(line) if line.strip_suffix(b"\r").unwrap_or(line).len() > MAX_LINE => Record::Oversize,
            Yielded::Line(line) => known(line).map_or(Record::Unparsed, |event| Record::Event(*event)),
        }
    }

    /// A record that was yielded beyond those that had to be: the beginning of the one line that nobody completes.
    pub fn hand_over(&self, log: usize, memory: &mut Memory) -> Option<Record> {
        let (generation, length) = self.over(log).find_map(|generation| {
            let length = self.available(generation, memory)?;
            (!self.unfinished(generation, &memory.seen, length).is_empty()).then_some((generation, length))
        })?;
        let text = self.unfinished(generation, &memory.seen, length).to_owned();
        memory.seen.places.entry(generation).or_default().offset = length;
        // A line that ends in a whole duration lacks nothing but its end.
        let event = self.meanings.get(text.strip_suffix(b"\r").unwrap_or(&text));
        let event = event.filter(|event| event.duration_ms.is_some());
        Some(event.map_or(Record::Unparsed, |event| Record::Event(*event)))
    }

    /// What is left of the first bytes of a generation: whole lines, and the place behind them.
    fn unread(&self, generation: usize, seen: &Seen, length: usize) -> (Vec<Record>, Place) {
        let mut place = seen.places.get(&generation).copied().unwrap_or_default();
        let mut records = Vec::new();
        read(&self.generations[generation].bytes[..length], &mut place, &mut |line| records.push(self.record(line)));
        (records, place)
    }

    /// The last line of so many bytes of a generation, if it lacks its end and has not been handed over.
    fn unfinished(&self, generation: usize, seen: &Seen, length: usize) -> &[u8] {
        let (_, place) = self.unread(generation, seen, length);
        let rest = &self.generations[generation].bytes[place.offset.min(length)..length];
        if place.in_oversize { &[] } else { &rest[rest.iter().take_while(|byte| **byte == 0).count()..] }
    }

    fn whole(&self, generation: usize) -> usize {
        self.generations[generation].bytes.len()
    }

    /// The generations that a follower has met, of which it cannot read any more what it has not read.
    pub fn missed(&self, log: usize, memory: &Memory) -> BTreeSet<usize> {
        let is_missed = |generation: &usize| {
            let length = self.generations[*generation].traced.unwrap_or(self.whole(*generation));
            let has_more = || !self.unread(*generation, &memory.seen, length).0.is_empty();
            // What was empty when it was seen, and is empty again, has left no trace.
            let has_read = memory.seen.places.get(generation).is_some_and(|place| place.offset > 0);
            let is_of_log = self.generations[*generation].log == log;
            is_of_log && has_read && self.available(*generation, memory).is_none() && has_more()
        };
        memory.seen.met.iter().copied().filter(is_missed).collect()
    }

    /// Whether a last line is still to be handed over.
    pub fn has_unfinished(&self, log: usize, memory: &Memory) -> bool {
        self.hand_over(log, &mut memory.clone()).is_some()
    }

    pub fn log_of(&self, generation: usize) -> usize {
        self.generations[generation].log
    }
}

/// What is to be done when a log has been copied: the rest of the line that was half written.
pub struct Truncation(Option<Vec<u8>>);

/// What a writer believes about the time.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    pub wall_ms: i64,
    pub true_ms: i64,
}

/// What reading finds.
enum Yielded<'a> {
    Line(&'a [u8]),
    Oversize,
}

/// Reads whole lines, one byte after the other.
fn read<'a>(bytes: &'a [u8], place: &mut Place, found: &mut dyn FnMut(Yielded<'a>)) {
    // Of a copy, more may have been read elsewhere.
    while let Some(rest) = bytes.get(place.offset..) {
        let newline = |rest: &[u8]| rest.iter().position(|byte| *byte == b'\n');
        if place.in_oversize {
            let Some(end) = newline(rest) else {
                place.offset = bytes.len();
                return;
            };
            (place.offset, place.in_oversize) = (place.offset + end + 1, false);
            continue;
        }
        let nuls = rest.iter().take_while(|byte| **byte == 0).count();
        let line = &rest[nuls..];
        match newline(line) {
            Some(end) => {
                found(Yielded::Line(&line[..end]));
                place.offset += nuls + end + 1;
            }
            None if line.len() >= MAX_LINE + 2 => {
                found(Yielded::Oversize);
                *place = Place { offset: place.offset + nuls + MAX_LINE, in_oversize: true };
            }
            None => return,
        }
    }
}

/// As nginx writes it.
fn local_time(at: Timestamp) -> String {
    let time = chrono::DateTime::from_timestamp_millis(at.millis()).unwrap();
    time.format("%d/%b/%Y:%H:%M:%S +0000").to_string()
}
