//! The census: which files there are, and which stream each of them holds.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::disk::{self, Stat};
use super::event::{GapReason, NoteKind};
use super::names;
use super::stream::{Lost, State, Stream, Trouble};
use super::{Blind, Tail, inode};

/// So many files may be looked at for each millisecond between two scans.
const FILES_PER_MS: u64 = 10;

/// A file and the paths that lead to it.
struct Found {
    stat: Stat,
    paths: Vec<PathBuf>,
}

/// How long a program that rotates logs takes at most to rename all of them.
const SHIFT_MS: u64 = 1_000;

/// No program that shifts names keeps more generations than this.
const MOST_SHIFTED: u32 = 1_000;

/// A stream whose file was renamed.
struct Renamed {
    key: u64,
    from: PathBuf,
    to: PathBuf,
}

/// A log that got a rotated name with a hole before it: there may have been a generation in between.
#[derive(Debug)]
pub(super) struct Missed {
    key: u64,
    from: PathBuf,
    to: PathBuf,
    since_ms: u64,
}

impl Tail {
    /// Looks at all paths: follows renamed files, finds new ones, and lets go of those that are gone.
    pub(super) fn scan(&mut self) {
        let was_blind = std::mem::take(&mut self.blind);
        let (found, by_inode) = self.look_at_globs(was_blind);
        let paths: BTreeSet<&PathBuf> = found.iter().flat_map(|found| &found.paths).collect();
        let known: Vec<Option<u64>> = found.iter().map(|found| self.owner(found.stat)).collect();
        let mut unseen: BTreeSet<u64> = self.streams.keys().copied().collect();
        let mut renamed = Vec::new();
        for (found, key) in found.iter().zip(&known) {
            if let Some(key) = key {
                unseen.remove(key);
                renamed.extend(self.see(*key, found));
            }
        }
        // Names that lead to another file now: what had them was rotated, to where no glob leads perhaps.
        let was_live = |stream: &Stream| {
            let is_current = matches!(stream.kept.state, State::New | State::Followed) && !stream.kept.is_aside;
            is_current && (stream.is_seen || !stream.was_attached)
        };
        let replaced = unseen.iter().filter(|key| was_live(&self.streams[key]));
        let replaced: Vec<_> = replaced.map(|key| (self.streams[key].kept.path.clone(), *key)).collect();
        for key in unseen {
            self.look_elsewhere(key, &by_inode, &mut renamed);
        }
        for (found, _) in found.iter().zip(&known).filter(|(_, key)| key.is_none()) {
            self.meet(found, false);
        }
        self.mark_aside(&paths);
        self.visit_siblings(&by_inode, &replaced);
        self.miss_generations(renamed);
        self.has_scanned = true;
        if !self.has_begun {
            self.has_begun = true;
            self.next_revision = self.revision;
        }
        self.scan_ms = self.now_ms.saturating_add(self.streams.len() as u64 / FILES_PER_MS);
    }

    /// Every file that the globs mean, each once. Of what cannot be looked at, and could not before, `was_blind` tells
    /// since when.
    fn look_at_globs(&mut self, mut was_blind: Blind) -> (Vec<Found>, HashMap<(u64, u64), usize>) {
        let (mut paths, mut unlisted) = (BTreeSet::new(), Vec::new());
        for glob in &self.options.globs {
            names::expand(glob, &mut paths, &mut unlisted);
        }
        for (directory, error) in unlisted {
            self.note_error(NoteKind::Unlisted, &directory, &error);
            let trouble = Trouble::again(was_blind.remove(&directory), &error, self.now_ms);
            self.blind.insert(directory, trouble);
        }
        let mut found: Vec<Found> = Vec::new();
        let mut by_inode: HashMap<(u64, u64), usize> = HashMap::new();
        for path in paths {
            let Some(stat) = self.look(&path, &mut was_blind) else { continue };
            match by_inode.get(&inode(stat.id)) {
                Some(place) => found[*place].paths.push(path),
                None => {
                    by_inode.insert(inode(stat.id), found.len());
                    found.push(Found { stat, paths: vec![path] });
                }
            }
        }
        (found, by_inode)
    }

    /// What lies at a path, if it is a log that may be read.
    fn look(&mut self, path: &Path, was_blind: &mut Blind) -> Option<Stat> {
        match disk::stat(path) {
            Ok(stat) if !stat.is_regular => self.note(NoteKind::NotRegularFile, path, ""),
            Ok(stat) => match self.outside(path) {
                None => return Some(stat),
                Some(target) => self.note(NoteKind::OutsideRoot, path, target.display().to_string()),
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => {
                self.note_error(NoteKind::Unreadable, path, &error);
                let trouble = Trouble::again(was_blind.remove(path), &error, self.now_ms);
                self.blind.insert(path.to_owned(), trouble);
            }
        }
        None
    }

    /// Where a path leads, if that is outside the directories that logs may be in.
    fn outside(&self, path: &Path) -> Option<PathBuf> {
        if self.options.roots.is_empty() {
            return None;
        }
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        (!self.options.roots.iter().any(|root| target.starts_with(root))).then_some(target)
    }

    /// The stream that a file holds or held last.
    fn owner(&self, stat: Stat) -> Option<u64> {
        let key = *self.by_inode.get(&inode(stat.id))?;
        let id = self.streams.get(&key)?.kept.id;
        // The inode of a file that is no more may be given to another.
        (id == stat.id || id.birth.is_none() || stat.id.birth.is_none()).then_some(key)
    }

    /// The file of a stream was found.
    fn see(&mut self, key: u64, found: &Found) -> Option<Renamed> {
        if let [first, second, ..] = &found.paths[..] {
            self.see_twice(first, second, found.stat);
        }
        let now_ms = self.now_ms;
        let is_meant = found.paths.first().is_some_and(|path| self.is_meant(path));
        let stream = self.streams.get_mut(&key)?;
        let from = stream.kept.path.clone();
        stream.note_stat(found.stat, now_ms);
        stream.is_seen = true;
        if !stream.was_attached {
            stream.was_attached = true;
            stream.attached_ms = now_ms;
        }
        if let State::Lost(_) | State::Remembered = stream.kept.state {
            stream.kept.state = State::Followed;
            stream.revision = self.revision;
        }
        // What was read of it is compared with what is there before its length and time are believed.
        if found.paths.contains(&from) {
            return None;
        }
        let to = found.paths.first()?.clone();
        stream.kept.is_aside = !names::is_aside_of(&from, &to);
        stream.kept.target = target(&to);
        stream.kept.path.clone_from(&to);
        match is_meant {
            true => stream.kept.origin = None,
            false => stream.kept.origin = stream.kept.origin.take().or_else(|| Some(from.clone())),
        }
        stream.revision = self.revision;
        self.note(NoteKind::Rotated, &from, format!("it is {} now", to.display()));
        Some(Renamed { key, from, to })
    }

    fn see_twice(&mut self, first: &Path, second: &Path, stat: Stat) {
        // While a file is being renamed, a listing may show it under both names.
        let is_same = |path: &Path| disk::stat(path).is_ok_and(|again| again.id == stat.id);
        if is_same(first) && is_same(second) {
            self.note(NoteKind::SameFileTwice, second, first.display().to_string());
        }
    }

    /// No glob leads to the file of this stream: it is looked for where it was, where its symlink led, and under
    /// rotated names beside that.
    fn look_elsewhere(&mut self, key: u64, by_inode: &HashMap<(u64, u64), usize>, renamed: &mut Vec<Renamed>) {
        let stream = &self.streams[&key];
        if stream.is_homeless() || self.is_blind_for(&stream.kept.path) {
            return;
        }
        let (path, own, has_file) = (stream.kept.path.clone(), stream.kept.target.clone(), stream.file.is_some());
        let has_file = has_file || self.unpacking.as_ref().is_some_and(|unpacking| unpacking.key == key);
        let is_ours =
            self.is_meant_or_aside(&path) || stream.kept.origin.as_ref().is_some_and(|origin| self.is_meant(origin));
        let candidates = own.into_iter().chain([path.clone()]).chain(self.siblings(&path)).filter(|_| is_ours);
        for candidate in candidates.collect::<Vec<_>>() {
            let Ok(stat) = disk::stat(&candidate) else { continue };
            if stat.is_regular && !by_inode.contains_key(&inode(stat.id)) && self.owner(stat) == Some(key) {
                renamed.extend(self.see(key, &Found { stat, paths: vec![candidate] }));
                return;
            }
        }
        match has_file {
            true => {
                if let Some(stream) = self.streams.get_mut(&key) {
                    stream.is_seen = false;
                }
            }
            false => self.lose(key),
        }
    }

    /// Whether the scan could not see what is at this path.
    fn is_blind_for(&self, path: &Path) -> bool {
        self.blind.keys().any(|blind| path.starts_with(blind))
    }

    /// A file that holds no known stream.
    fn meet(&mut self, found: &Found, is_visitor: bool) {
        if let [first, second, ..] = &found.paths[..] {
            self.see_twice(first, second, found.stat);
        }
        let Some(path) = found.paths.first() else { return };
        let mut stream = Stream::new(path, found.stat.id);
        stream.kept.target = target(path);
        stream.is_seen = true;
        stream.was_attached = true;
        stream.attached_ms = self.now_ms;
        stream.is_visitor = is_visitor;
        stream.is_initial = !self.has_begun;
        stream.kept.size = found.stat.size;
        stream.kept.modified = found.stat.modified();
        stream.note_stat(found.stat, self.now_ms);
        self.begin(stream);
    }

    /// Files that are named as what a file beside them becomes when it is rotated.
    fn mark_aside(&mut self, paths: &BTreeSet<&PathBuf>) {
        let revision = self.revision;
        for stream in self.streams.values_mut().filter(|stream| stream.is_seen && !stream.kept.is_aside) {
            let Some(base) = names::before_rotation(&stream.kept.path) else { continue };
            if paths.contains(&stream.kept.path.with_file_name(OsStr::from_bytes(&base))) {
                stream.kept.is_aside = true;
                stream.revision = revision;
            }
        }
    }

    /// Looks beside streams that are lost, or whose name leads to another file now, for files that no glob leads to:
    /// copies of what is lost, and generations that came and went between two scans.
    fn visit_siblings(&mut self, by_inode: &HashMap<(u64, u64), usize>, replaced: &[(PathBuf, u64)]) {
        let is_lost = |stream: &Stream| matches!(stream.kept.state, State::Lost(_));
        let lost = self.streams.iter().filter(|(_, stream)| is_lost(stream));
        let lost: Vec<(PathBuf, u64)> = lost.map(|(key, stream)| (stream.kept.path.clone(), *key)).collect();
        if lost.is_empty() {
            self.ignored.clear();
        }
        for (path, key) in lost.iter().chain(replaced) {
            if !self.is_meant_or_aside(path) {
                continue;
            }
            for sibling in self.siblings(path) {
                let Ok(stat) = disk::stat(&sibling) else { continue };
                let is_known = by_inode.contains_key(&inode(stat.id)) || self.owner(stat).is_some();
                let is_ignored = self.ignored.contains(&(stat.id.dev, stat.id.ino, stat.size));
                if is_known || is_ignored || !stat.is_regular || self.outside(&sibling).is_some() {
                    continue;
                }
                let is_between = names::before_rotation(&sibling).is_some() && self.came_between(stat, *key, replaced);
                self.meet(&Found { stat, paths: vec![sibling] }, !is_between);
            }
        }
    }

    /// Whether a file was born since this stream was seen at its name: then it is a later generation of the same log,
    /// or the copy of one.
    fn came_between(&self, stat: Stat, key: u64, replaced: &[(PathBuf, u64)]) -> bool {
        let Some(stream) = self.streams.get(&key) else { return false };
        let Some(birth) = stat.id.birth else { return false };
        match stream.kept.state {
            State::Lost(Lost { reason: GapReason::TruncatedUnread, .. }) => birth > stream.kept.modified,
            _ => replaced.iter().any(|(_, of)| *of == key) && stream.kept.id.birth.is_some_and(|of| birth > of),
        }
    }

    /// A file that went from `access.log` to `access.log.3` at once leaves two generations to be found. While names are
    /// being shifted one of them is nobody's for a moment: missing is what every scan misses for a while. However many
    /// they are, it is one gap: of none of them is known what it held, and all of them are between the same two
    /// instants.
    fn miss_generations(&mut self, renamed: Vec<Renamed>) {
        let now_ms = self.now_ms;
        let suspected = renamed.into_iter().map(|Renamed { key, from, to }| Missed { key, from, to, since_ms: now_ms });
        self.missed.extend(suspected);
        for mut missed in std::mem::take(&mut self.missed) {
            if let Some(stream) = self.streams.get(&missed.key).filter(|stream| stream.is_seen) {
                missed.to.clone_from(&stream.kept.path);
            }
            match self.has_missed(&missed) {
                false => {}
                true if now_ms >= missed.since_ms.saturating_add(SHIFT_MS) => {
                    self.gap(missed.key, GapReason::RotatedAway, None);
                }
                true => self.missed.push(missed),
            }
        }
    }

    /// Whether a generation between the log and its rotated name has no file, by all that can be seen.
    ///
    /// A hole in the numbers is no evidence by itself: where names are given in another way than by shifting all of
    /// them by one, numbers may jump. That they are not shifted shows where an older generation has a lower number.
    /// Where no other generation is left to tell, only the second name is taken for one that was shifted to.
    fn has_missed(&self, Missed { key, from, to, .. }: &Missed) -> bool {
        // Nobody keeps so many; a number like a date is none of ours.
        let Some(number) = names::generation(to, from).filter(|number| (2..=MOST_SHIFTED).contains(number)) else {
            return false;
        };
        let Some(stream) = self.streams.get(key) else { return false };
        let modified = stream.stat.map_or(stream.kept.modified, |stat| stat.modified());
        let is_older = |stat: &Stat| stat.modified() < modified || self.owner(*stat).is_some_and(|of| of < *key);
        let (mut lower, mut is_shifted) = (BTreeSet::new(), number == 2);
        for sibling in self.siblings(from) {
            let other = names::generation(&sibling, from).filter(|other| *other != number);
            let (Some(other), Ok(stat)) = (other, disk::stat(&sibling)) else { continue };
            match (other < number, is_older(&stat)) {
                (true, true) => return false,
                (true, false) => {
                    lower.insert(other);
                    is_shifted = true;
                }
                (false, older) => is_shifted |= older,
            }
        }
        is_shifted && lower.len() + 1 < number as usize
    }

    /// The paths beside `path` that look like rotated names of the same log.
    fn siblings(&self, path: &Path) -> Vec<PathBuf> {
        let Some(directory) = path.parent() else { return Vec::new() };
        let mut names = names::list(directory).unwrap_or_default();
        names.sort_unstable();
        let siblings = names.into_iter().map(|name| directory.join(name));
        siblings.filter(|sibling| names::is_aside_of(sibling, path)).collect()
    }

    /// Whether a glob means this path.
    pub(super) fn is_meant(&self, path: &Path) -> bool {
        self.options.globs.iter().any(|glob| names::means(glob, path))
    }

    /// Whether a glob means this path, or the name it had before it was rotated.
    fn is_meant_or_aside(&self, path: &Path) -> bool {
        let base = names::before_rotation(path).map(|base| path.with_file_name(OsStr::from_bytes(&base)));
        self.is_meant(path) || base.is_some_and(|base| self.is_meant(&base))
    }
}

/// Where a path leads, if it is a symlink.
fn target(path: &Path) -> Option<PathBuf> {
    disk::is_symlink(path).then(|| fs::canonicalize(path).ok()).flatten()
}
