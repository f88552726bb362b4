//! The rows of the list of faults, one test each, on real files; then random sequences of all of them.

mod file_rows;
mod packed_rows;
mod rows;
mod simulation;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::disk::faults;
use super::*;

/// Everything that was yielded.
#[derive(Clone, Debug, Default)]
struct Found {
    /// Whole lines without their newlines.
    lines: Vec<String>,
    oversize: Vec<Vec<u8>>,
    unfinished: Vec<String>,
    gaps: Vec<Gap>,
    notes: Vec<Note>,
    /// The bytes of all pieces.
    bytes: u64,
}

impl Sink for Found {
    fn piece(&mut self, _: Log<'_>, piece: Piece<'_>) {
        match piece {
            Piece::Lines(lines) => {
                self.bytes += lines.len() as u64;
                assert!(lines.ends_with(b"\n"), "whole lines");
                let lines = lines.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
                self.lines.extend(lines.map(|line| String::from_utf8_lossy(line).into_owned()));
            }
            Piece::Oversize(line) => {
                self.bytes += line.len() as u64;
                self.oversize.push(line.to_vec());
            }
            Piece::Unfinished(line) => {
                self.bytes += line.len() as u64;
                self.unfinished.push(String::from_utf8_lossy(line).into_owned());
            }
        }
    }

    fn gap(&mut self, gap: Gap) {
        assert!(gap.to_string().len() > 40);
        self.gaps.push(gap);
    }

    fn note(&mut self, note: Note) {
        assert!(note.to_string().len() > 20);
        self.notes.push(note);
    }
}

/// A directory of logs and somebody who follows them.
struct Scene {
    directory: TempDir,
    options: TailOptions,
    tail: Tail,
    now_ms: u64,
    saved: BTreeMap<String, Vec<u8>>,
    revision: u64,
    found: Found,
    progress: Progress,
}

impl Scene {
    /// Follows these globs, relative to a new directory.
    fn new(globs: &[&str]) -> Self {
        Self::with(globs, |_| {})
    }

    fn with(globs: &[&str], adjust: impl FnOnce(&mut TailOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let mut options = TailOptions {
            globs: globs.iter().map(|glob| root.join(glob).to_str().unwrap().to_owned()).collect(),
            start: Start::Beginning,
            max_line: 1_000,
            rotate_wait_ms: 5_000,
            max_open: 64,
            bytes_per_poll: 4 << 20,
            roots: Vec::new(),
            max_unpacked: 1 << 30,
        };
        adjust(&mut options);
        let tail = Tail::new(options.clone(), &[]).unwrap();
        let (found, progress) = (Found::default(), Progress::default());
        Self { directory, options, tail, now_ms: 0, saved: BTreeMap::new(), revision: 0, found, progress }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn truncate(&self, name: &str) {
        File::options().write(true).open(self.path(name)).unwrap().set_len(0).unwrap();
    }

    fn copytruncate(&self, name: &str, to: &str) {
        fs::copy(self.path(name), self.path(to)).unwrap();
        self.truncate(name);
    }

    /// Waits until the file system gives another time to what is created: it is coarse.
    fn pass_time(&self) {
        let born = || {
            fs::write(self.path("clock"), "").unwrap();
            let stat = disk::stat(&self.path("clock")).unwrap();
            self.remove("clock");
            stat.changed
        };
        let before = born();
        while born() == before {}
    }

    /// Polls once, `ms` later, and commits.
    fn poll_after(&mut self, ms: u64) {
        self.now_ms += ms;
        self.progress = self.tail.poll(self.now_ms, &mut self.found);
        self.check();
        self.commit();
    }

    fn poll(&mut self) {
        self.poll_after(200);
    }

    /// Polls until everything that is waited for is decided.
    fn poll_long(&mut self) {
        (0..80).for_each(|_| self.poll());
    }

    fn commit(&mut self) {
        let changes = self.tail.changes(self.revision);
        changes.removed.iter().for_each(|key| drop(self.saved.remove(key)));
        self.saved.extend(changes.put.into_iter().map(|entry| (entry.key, entry.value)));
        self.revision = changes.revision;
        self.tail.committed(self.revision);
        let all: BTreeMap<_, _> = self.tail.positions().into_iter().map(|entry| (entry.key, entry.value)).collect();
        assert_eq!(self.saved.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
        for (key, value) in &all {
            assert_eq!(String::from_utf8_lossy(&self.saved[key]), String::from_utf8_lossy(value), "changes tell all");
        }
    }

    /// Starts again from what was committed.
    fn restart(&mut self) {
        let saved: Vec<_> = self.saved.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let saved: Vec<_> = saved.into_iter().map(|(key, value)| SavedPosition { key, value }).collect();
        self.tail = Tail::new(self.options.clone(), &saved).unwrap();
        self.revision = 0;
    }

    fn check(&self) {
        let mut yielded = 0;
        for followed in self.tail.followed() {
            assert_eq!(followed.account.total(), followed.offset, "conservation: {followed:?}");
            yielded += followed.account.yielded;
        }
        assert!(yielded <= self.found.bytes, "{yielded} <= {}", self.found.bytes);
        assert!(self.progress.open <= self.options.max_open);
        assert_eq!(self.progress.corrupt, 0);
    }

    /// Asserts what was yielded so far, lines in the order of their names; there was no gap.
    fn expect(&self, lines: impl IntoIterator<Item = impl Into<String>>) {
        self.expect_with_gaps(lines, &[]);
    }

    fn expect_with_gaps(&self, lines: impl IntoIterator<Item = impl Into<String>>, gaps: &[(GapReason, Option<u64>)]) {
        let mut expected: Vec<String> = lines.into_iter().map(Into::into).collect();
        let mut found = self.found.lines.clone();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        let found: Vec<_> = self.found.gaps.iter().map(|gap| (gap.reason, gap.bytes)).collect();
        assert_eq!(found, gaps, "{:?}", self.found.gaps);
    }

    fn notes(&self, kind: NoteKind) -> Vec<(&Path, &str)> {
        let notes = self.found.notes.iter().filter(|note| note.kind == kind);
        notes.map(|note| (note.path.as_path(), note.detail.as_str())).collect()
    }
}

/// Lines `name from` to `name to`, both included, as a text.
fn text(name: &str, numbers: std::ops::RangeInclusive<u32>) -> String {
    numbers.map(|number| format!("{name} {number}\n")).collect()
}

fn lines(name: &str, numbers: std::ops::RangeInclusive<u32>) -> impl Iterator<Item = String> {
    numbers.map(move |number| format!("{name} {number}"))
}
