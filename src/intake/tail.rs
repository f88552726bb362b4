//! Following logs while they are written, rotated, truncated, packed and deleted, over restarts.
//!
//! [`Tail::poll`] looks at the files of one source and yields what is complete; [`Tail::changes`] says what to commit
//! with it. Whoever commits the counts of all that was yielded, and the changes, in one transaction, counts every line
//! once: after a crash everything behind the last commit is yielded again.
//!
//! What is followed is a generation of a log, which is its content and not its name or inode. A generation that is
//! renamed is known by its inode; one that was copied (copytruncate) or packed (gzip) by all the bytes that were read
//! of it, by its length and by the rotated name; it is read on from that place. A file whose bytes before the place are
//! others than those read holds another generation and is read from its start.
//!
//! - Nothing waits, spawns or asks for the time: the caller polls, every 200 ms say, and says what time it is on a
//!   clock that never goes back. There is no limit on watches to run into, and network file systems need nothing else.
//! - A line is yielded whole and once. The beginning of a line is left until it is complete, or until nobody has
//!   written to its rotated file for `rotate_wait_ms`: then it is [`Piece::Unfinished`].
//! - What cannot be read any more is a [`Gap`]. A generation that is lost is looked for during `rotate_wait_ms` first.
//! - Every byte passed is in the [`Account`] of its generation, which adds up to the offset, or reading it stops.
//! - Memory and open files are bounded, whatever the logs do: one buffer, a kilobyte or two for each file, `max_open`
//!   open files. Files are read in turn, a bounded amount at each poll.
//!
//! Left out on purpose: a log that is replaced by a longer copy of itself under the same name (as rsync does by
//! default) is a new file and read from its start; use `rsync --append`.

mod census;
mod compare;
mod cut;
mod digest;
mod disk;
mod event;
pub(in crate::intake) mod names;
mod packed;
mod print;
mod read;
mod saved;
mod stream;
#[cfg(test)]
mod tests;
mod vet;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

pub use cut::Account;
#[cfg(test)]
pub(crate) use disk::faults;
pub use event::{Gap, GapReason, Note, NoteKind};
pub use saved::{Changes, SavedError, SavedPosition, are_about};

use super::Piece;
use crate::spec::{FileSource, Start};
use census::Missed;
use disk::FileId;
use packed::Unpacking;
use print::Print;
use saved::About;
use stream::{State, Stream, Trouble};

/// What to follow, and how.
#[derive(Clone, Debug)]
pub struct TailOptions {
    /// Paths with `*`, `?` and `[..]` in their names.
    pub globs: Vec<String>,
    /// Where reading begins in files that are there when following begins for the first time; later ones are read from
    /// their beginning.
    pub start: Start,
    /// Of lines longer than this only so many bytes are yielded.
    pub max_line: usize,
    /// For how long a rotated file must be quiet to be finished, and a lost one is looked for.
    pub rotate_wait_ms: u64,
    /// How many files are open at once, at least 4.
    pub max_open: usize,
    /// How many bytes one poll reads, roughly.
    pub bytes_per_poll: u64,
    /// The directories that logs may be in, behind symlinks; empty for any.
    pub roots: Vec<PathBuf>,
    /// Compressed logs are read up to this length of their text, and up to 200 times their own.
    pub max_unpacked: u64,
}

impl TailOptions {
    /// What a source declares, and sound values for the rest.
    pub fn new(source: &FileSource) -> Self {
        Self {
            globs: source.paths.clone(),
            start: source.start,
            max_line: source.max_line,
            rotate_wait_ms: 5_000,
            max_open: MOST_OPEN,
            bytes_per_poll: 32 << 20,
            roots: Vec::new(),
            max_unpacked: 256 << 30,
        }
    }
}

/// How many files of one source are open at once, unless it is given fewer.
pub const MOST_OPEN: usize = 256;

/// Takes what is found.
pub trait Sink {
    /// The next lines of a log.
    fn piece(&mut self, log: Log<'_>, piece: Piece<'_>);
    /// Bytes are missing: to be kept as durably as the counts, in the same commit as the next changes.
    fn gap(&mut self, gap: Gap);
    /// Something to tell people.
    fn note(&mut self, note: Note);
}

/// The log that a piece is from.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    /// Which generation; never used again for another.
    pub generation: u64,
    /// What its file is called at present.
    pub path: &'a Path,
}

/// How far one poll came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes were read.
    pub bytes_read: u64,
    /// How many bytes wait; the beginnings of lines that are being written do not.
    pub bytes_behind: u64,
    /// For how long the oldest of them have been waiting at most.
    pub behind_ms: u64,
    /// How many generations have a file.
    pub files: usize,
    /// How many files are open.
    pub open: usize,
    /// Logs that could not be read, or directories not listed, at the last try; [`Tail::unreadable`] tells of them.
    pub unreadable: usize,
    /// Generations whose bytes do not add up; nothing more of them is read.
    pub corrupt: usize,
}

impl Progress {
    /// Whether the next poll should follow at once.
    pub fn has_more(&self) -> bool {
        self.bytes_behind > 0 && self.bytes_read > 0
    }
}

/// Logs that cannot be read, and directories that cannot be listed: nobody knows what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// How many, at least 1.
    pub files: usize,
    /// The one that could not be read for the longest time.
    pub path: PathBuf,
    /// What the system said about that one.
    pub why: String,
    /// Since when, on the clock of [`Tail::poll`].
    pub since_ms: u64,
}

/// One generation of a log, for people and for checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Which.
    pub generation: u64,
    /// What its file is called, or was called last.
    pub path: PathBuf,
    /// How many bytes were passed.
    pub offset: u64,
    /// Where they went.
    pub account: Account,
    /// How many bytes wait.
    pub bytes_behind: u64,
}

/// Logs and directories that could not be looked at by the last scan.
type Blind = BTreeMap<PathBuf, Trouble>;

/// How many generations without a file are remembered to know copies of them.
const MOST_REMEMBERED: usize = 4_096;
/// The same note about the same log is made once in this time.
const NOTE_EVERY_MS: u64 = 60_000;
/// After the file it was about went, how many notes are remembered as made.
const MOST_TOLD: usize = 4_096;

/// Follows the logs of one source.
#[derive(Debug)]
pub struct Tail {
    options: TailOptions,
    streams: BTreeMap<u64, Stream>,
    /// The stream that a file holds, or held last.
    by_inode: HashMap<(u64, u64), u64>,
    by_first: HashMap<Print, BTreeSet<u64>>,
    /// The number of the next stream, and when that changed.
    next: u64,
    next_revision: u64,
    revision: u64,
    /// Streams that are no more, and since which revision.
    removed: Vec<(u64, u64)>,
    /// Whether following began before: files that were not there then are read from their start.
    has_begun: bool,
    has_scanned: bool,
    now_ms: u64,
    scan_ms: u64,
    blind: Blind,
    buffer: Vec<u8>,
    /// Streams in the order in which they were opened, some closed since.
    opened: VecDeque<u64>,
    open: usize,
    /// The stream that was read last.
    served: u64,
    gaps: Vec<Gap>,
    notes: Vec<Note>,
    told: HashMap<(NoteKind, PathBuf), u64>,
    /// Files that are no continuation of what is lost, with the size that they had.
    ignored: HashSet<(u64, u64, u64)>,
    unpacking: Option<Unpacking>,
    missed: Vec<Missed>,
    /// How much may still be compared during this poll.
    comparable: u64,
}

impl Tail {
    /// Follows from where `saved` says; from the beginning when it is empty.
    ///
    /// # Errors
    /// When the saved positions cannot be understood.
    pub fn new(options: TailOptions, saved: &[SavedPosition]) -> Result<Self, SavedError> {
        let mut tail = Self {
            buffer: vec![0; print::ANCHOR + read::QUANTUM.max(cut::Rules::least(options.max_line))],
            options,
            streams: BTreeMap::new(),
            by_inode: HashMap::new(),
            by_first: HashMap::new(),
            next: 1,
            next_revision: 0,
            revision: 0,
            removed: Vec::new(),
            has_begun: false,
            has_scanned: false,
            now_ms: 0,
            scan_ms: 0,
            blind: Blind::new(),
            opened: VecDeque::new(),
            open: 0,
            served: 0,
            gaps: Vec::new(),
            notes: Vec::new(),
            told: HashMap::new(),
            ignored: HashSet::new(),
            unpacking: None,
            missed: Vec::new(),
            comparable: 0,
        };
        if let Some((about, records)) = saved::restore(saved)? {
            tail.has_begun = true;
            tail.next = about.next;
            records.into_iter().for_each(|(key, record)| tail.restore(key, Stream::restored(record)));
        }
        Ok(tail)
    }

    /// Looks at the files and yields what is new, a bounded amount of it. `now_ms` is the time on any clock that does
    /// not go back.
    pub fn poll(&mut self, now_ms: u64, sink: &mut impl Sink) -> Progress {
        self.now_ms = self.now_ms.max(now_ms);
        self.revision += 1;
        if !self.has_scanned || self.now_ms >= self.scan_ms {
            self.scan();
        }
        self.comparable = self.options.bytes_per_poll;
        let bytes_read = self.read_all(sink);
        let bytes_read = bytes_read + (self.options.bytes_per_poll - self.comparable);
        self.settle(sink);
        self.give_up();
        self.forget();
        self.note_readable();
        self.gaps.drain(..).for_each(|gap| sink.gap(gap));
        self.notes.drain(..).for_each(|note| sink.note(note));
        self.progress(bytes_read)
    }

    /// From now on at most so many files are open at once, at least 4. Of those that are open already, as many are closed
    /// as can be opened again.
    pub fn limit_open(&mut self, most: usize) {
        self.options.max_open = most;
        self.make_room();
    }

    /// Everything to be saved.
    pub fn positions(&self) -> Vec<SavedPosition> {
        self.changes(0).put
    }

    /// What must be committed with all that was yielded, if `since` was the revision of the last commit; 0 for none.
    pub fn changes(&self, since: u64) -> Changes {
        let about = (self.next_revision > since || since == 0).then(|| About::new(self.next).to_saved());
        let streams = self.streams.iter().filter(|(_, stream)| stream.revision > since || since == 0);
        let streams = streams.filter(|(_, stream)| !stream.is_visitor);
        let removed = self.removed.iter().filter(|(revision, _)| *revision > since);
        Changes {
            revision: self.revision,
            put: about.into_iter().chain(streams.map(|(key, stream)| saved::to_saved(*key, &stream.kept))).collect(),
            removed: removed.map(|(_, key)| saved::key(*key)).collect(),
        }
    }

    /// The changes up to `revision` were committed and need not be remembered.
    pub fn committed(&mut self, revision: u64) {
        self.removed.retain(|(removed, _)| *removed > revision);
    }

    /// Every generation that is known, with its account.
    pub fn followed(&self) -> impl Iterator<Item = Followed> {
        self.streams.iter().map(|(key, stream)| Followed {
            generation: *key,
            path: stream.kept.path.clone(),
            offset: stream.offset(),
            account: stream.kept.account,
            bytes_behind: stream.behind(),
        })
    }

    /// What could not be read at the last try, if anything.
    pub fn unreadable(&self) -> Option<Unreadable> {
        let (path, trouble) = self.troubles().min_by_key(|(_, trouble)| trouble.since_ms)?;
        let (path, why, since_ms) = (path.to_owned(), trouble.why.clone(), trouble.since_ms);
        Some(Unreadable { files: self.troubles().count(), path, why, since_ms })
    }

    fn troubles(&self) -> impl Iterator<Item = (&Path, &Trouble)> {
        let streams = self.streams.values();
        let files = streams.filter_map(|stream| Some((stream.kept.path.as_path(), stream.trouble()?)));
        self.blind.iter().map(|(path, trouble)| (path.as_path(), trouble)).chain(files)
    }

    fn note_readable(&mut self) {
        let unpacking = self.unpacking.as_ref().map(|unpacking| unpacking.key);
        for (key, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.trouble.is_some()) {
            stream.note_readable(unpacking == Some(*key));
        }
    }

    fn progress(&self, bytes_read: u64) -> Progress {
        let unreadable = self.troubles().count();
        let mut progress = Progress { bytes_read, open: self.open, unreadable, ..Progress::default() };
        for stream in self.streams.values() {
            let behind = stream.behind();
            progress.files += usize::from(stream.has_file());
            progress.bytes_behind += behind;
            progress.corrupt += usize::from(!stream.is_conserved());
            if behind > 0 {
                let since_ms = stream.caught_up_ms.unwrap_or(stream.attached_ms);
                progress.behind_ms = progress.behind_ms.max(self.now_ms.saturating_sub(since_ms));
            }
        }
        progress
    }

    /// Puts a saved stream in its place.
    fn restore(&mut self, key: u64, stream: Stream) {
        self.next = self.next.max(key + 1);
        // Where a file changed hands, the later stream has it.
        self.by_inode.insert(inode(stream.kept.id), key);
        if let Some(first) = stream.kept.first {
            self.by_first.entry(first).or_default().insert(key);
        }
        self.streams.insert(key, stream);
    }

    /// A new stream for a file.
    fn begin(&mut self, stream: Stream) -> u64 {
        let key = self.next;
        self.next += 1;
        self.next_revision = self.revision;
        self.by_inode.insert(inode(stream.kept.id), key);
        self.streams.insert(key, stream);
        self.touch(key);
        key
    }

    /// Takes a stream out, and closes its file.
    fn remove(&mut self, key: u64) -> Option<Stream> {
        self.close(key);
        let stream = self.streams.remove(&key)?;
        self.removed.push((self.revision, key));
        if self.by_inode.get(&inode(stream.kept.id)) == Some(&key) {
            self.by_inode.remove(&inode(stream.kept.id));
        }
        if let Some(first) = stream.kept.first {
            self.drop_first(first, key);
        }
        Some(stream)
    }

    fn drop_first(&mut self, first: Print, key: u64) {
        if let Some(keys) = self.by_first.get_mut(&first) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_first.remove(&first);
            }
        }
    }

    /// The stream changed in what must be saved.
    fn touch(&mut self, key: u64) {
        let revision = self.revision;
        self.streams.entry(key).and_modify(|stream| stream.revision = revision);
    }

    /// Forgets the generations without a file that were touched longest ago, when there are too many.
    fn forget(&mut self) {
        let remembered = self.streams.iter().filter(|(_, stream)| stream.kept.state == State::Remembered);
        let mut by_age: Vec<(u64, u64)> = remembered.map(|(key, stream)| (stream.revision, *key)).collect();
        let surplus = by_age.len().saturating_sub(MOST_REMEMBERED);
        by_age.sort_unstable();
        for (_, key) in &by_age[..surplus] {
            self.remove(*key);
        }
    }

    /// Tells of what the system refused. That there are no descriptors left is one trouble, however many files have it.
    fn note_error(&mut self, kind: NoteKind, path: &Path, error: &io::Error) {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => self.note_about(NoteKind::NoDescriptors, "", path, error.to_string()),
            _ => self.note(kind, path, error.to_string()),
        }
    }

    fn note(&mut self, kind: NoteKind, path: &Path, detail: impl Into<String>) {
        self.note_about(kind, path, path, detail);
    }

    /// The same note about the same thing is made once in [`NOTE_EVERY_MS`], with the path at which it is met then.
    fn note_about(&mut self, kind: NoteKind, about: impl AsRef<Path>, path: &Path, detail: impl Into<String>) {
        let about = about.as_ref();
        if self.told.len() >= MOST_TOLD {
            let now_ms = self.now_ms;
            self.told.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < NOTE_EVERY_MS);
        }
        let told = self.told.get(&(kind, about.to_owned()));
        if told.is_some_and(|at_ms| self.now_ms.saturating_sub(*at_ms) < NOTE_EVERY_MS) || self.told.len() >= MOST_TOLD
        {
            return;
        }
        self.told.insert((kind, about.to_owned()), self.now_ms);
        self.notes.push(Note { kind, path: path.to_owned(), detail: detail.into() });
    }

    fn gap(&mut self, key: u64, reason: GapReason, bytes: Option<u64>) {
        self.gaps.extend(self.streams.get(&key).map(|stream| stream.gap(reason, bytes)));
    }
}

fn inode(id: FileId) -> (u64, u64) {
    (id.dev, id.ino)
}
