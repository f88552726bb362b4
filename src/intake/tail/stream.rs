//! One generation of a log: what was read of it, and where it lies at present.
//!
//! A generation is its content. It may move to another name (rotation), to another inode (copytruncate) or into an
//! archive (gzip), and is followed there; a file may lose its content and hold the next generation.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cut::{Account, Place, Within};
use super::digest::Digest;
use super::disk::{self, FileId, Stat};
use super::event::{Gap, GapReason};
use super::print::Print;

/// What must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The name it was seen under last.
    #[serde(with = "super::saved::path")]
    pub path: PathBuf,
    /// Where that name led, if it is a symlink.
    #[serde(with = "super::saved::optional_path")]
    pub target: Option<PathBuf>,
    /// The name that a glob meant, if it has moved to where none leads.
    #[serde(with = "super::saved::optional_path")]
    pub origin: Option<PathBuf>,
    /// The file that holds it, or held it last.
    pub id: FileId,
    /// How long that file was when it was looked at last.
    pub size: u64,
    /// When its content had been changed last by then.
    pub modified: u64,
    /// What was yielded ends here, exactly.
    pub place: Place,
    /// Where the bytes before the place went.
    pub account: Account,
    /// Its first bytes, of those that were passed.
    pub head: Print,
    /// The bytes just before the place.
    pub anchor: Print,
    /// All bytes before the place; `None` when not all of them were read, or that was before digests were kept.
    #[serde(default)]
    pub all: Option<Digest>,
    /// Its first line: generations with another one are not the same.
    pub first: Option<Print>,
    /// How it stands.
    pub state: State,
    /// It was renamed, copied away or packed: nobody begins a new line in it.
    pub is_aside: bool,
    /// It was read to its end and is written no more.
    pub is_settled: bool,
    /// How it is compressed, if it is; places are those of the text.
    pub packed: Option<Packed>,
}

/// How a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// Not known yet whether it is another generation or the copy of a known one.
    New,
    /// Read as it grows.
    Followed,
    /// The file is a copy of this other generation, whose own file is there: not read.
    CopyOf(u64),
    /// Its file is gone, and what was not read is looked for.
    Lost(Lost),
    /// Its file is gone and nothing of it is missing; remembered to know copies of it.
    Remembered,
}

impl Record {
    /// Takes note of what was passed: `text` ends at the place, and its first `before` bytes had been passed already.
    pub fn pass(&mut self, text: &[u8], before: usize) {
        let passed = &text[before..];
        let from = self.place.offset - passed.len() as u64;
        self.head = self.head.grown(from, passed);
        self.anchor = Print::anchor(text);
        let start = from - before as u64;
        self.all = self.all.take().and_then(|mut all| all.take(text, start).then_some(all));
    }
}

/// What will be missing if it is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lost {
    pub reason: GapReason,
    pub bytes: Option<u64>,
}

/// What is known of a compressed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packed {
    /// The length of the text in its whole members; `None` when it has not been looked through.
    pub length: Option<u64>,
    /// Whether something follows that cannot be unpacked.
    pub is_torn: bool,
}

/// A generation and its file.
#[derive(Debug)]
pub(super) struct Stream {
    pub kept: Record,
    /// When `kept` changed last.
    pub revision: u64,
    /// The open file.
    pub file: Option<File>,
    /// Whether a name leads to its file.
    pub is_seen: bool,
    /// Whether it has been seen since the program started.
    pub was_attached: bool,
    /// When it was seen first.
    pub attached_ms: u64,
    /// Nothing but the continuation of another generation is looked for in it.
    pub is_visitor: bool,
    /// It was there when following began.
    pub is_initial: bool,
    /// The generation that its file held before.
    pub heir_of: Option<u64>,
    /// What the file system said last, and when that changed.
    pub stat: Option<Stat>,
    pub changed_ms: u64,
    /// What it said when the content was looked at last, and when that was.
    pub looked: Option<(Stat, u64)>,
    /// When it was put aside, or lost.
    pub aside_ms: Option<u64>,
    /// When it was last read to its end.
    pub caught_up_ms: Option<u64>,
    /// How many bytes at the end are a line without its newline.
    pub pending: u64,
    /// A digest of the beginning of its file, as far as it was looked at to know whose copy it is.
    pub beginning: Digest,
    /// Of which other stream's file it was found to say the same, and up to where.
    pub same_as: Option<(u64, u64)>,
    /// How much is still to be compared before it is known whether it is a copy.
    pub uncompared: u64,
    /// Not opened again before this instant, and how long the next wait will be.
    pub retry_ms: u64,
    pub backoff_ms: u64,
    /// Why its file cannot be read, until it was.
    pub trouble: Option<Trouble>,
}

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// When that was found out first.
    pub since_ms: u64,
    /// What the system said last.
    pub why: String,
}

impl Trouble {
    /// The same trouble going on, or a new one.
    pub fn again(before: Option<Self>, error: &io::Error, now_ms: u64) -> Self {
        Self { since_ms: before.map_or(now_ms, |before| before.since_ms), why: error.to_string() }
    }
}

impl Stream {
    pub fn new(path: &Path, id: FileId) -> Self {
        Self::restored(Record {
            path: path.to_owned(),
            target: None,
            origin: None,
            id,
            size: 0,
            modified: 0,
            place: Place { offset: 0, within: Within::Line },
            account: Account::default(),
            head: Print::NONE,
            anchor: Print::NONE,
            all: Some(Digest::new()),
            first: None,
            state: State::New,
            is_aside: false,
            is_settled: false,
            packed: None,
        })
    }

    pub fn restored(kept: Record) -> Self {
        Self {
            kept,
            revision: 0,
            file: None,
            is_seen: false,
            was_attached: false,
            attached_ms: 0,
            is_visitor: false,
            is_initial: false,
            heir_of: None,
            stat: None,
            changed_ms: 0,
            looked: None,
            aside_ms: None,
            caught_up_ms: None,
            pending: 0,
            beginning: Digest::new(),
            same_as: None,
            uncompared: 0,
            retry_ms: 0,
            backoff_ms: 0,
            trouble: None,
        }
    }

    /// What was passed in the file.
    pub fn offset(&self) -> u64 {
        self.kept.place.offset
    }

    /// How long its file is, as far as is known.
    pub fn size(&self) -> u64 {
        self.stat.map_or(self.kept.size, |stat| stat.size)
    }

    /// How long its file is at least, unless it was truncated. A place says so itself; as long as nothing was read, the
    /// length that was seen does.
    pub fn least_size(&self) -> u64 {
        if self.offset() == 0 { self.kept.size } else { 0 }
    }

    pub fn gap(&self, reason: GapReason, bytes: Option<u64>) -> Gap {
        Gap { path: self.kept.path.clone(), reason, bytes, since_ms: self.caught_up_ms }
    }

    /// Whether its file is there.
    pub fn has_file(&self) -> bool {
        self.is_seen || self.file.is_some()
    }

    /// Whether another file may be a copy of it. A file that was renamed is not copied any more, and what looks like a
    /// copy of it is a generation that says the same.
    pub fn may_be_copied(&self) -> bool {
        !(self.is_seen && self.kept.is_aside)
    }

    /// Whether nobody looks for new lines in its file any more.
    pub fn is_over(&self) -> bool {
        self.kept.is_aside || !self.is_seen
    }

    /// Whether its file is gone, so that another may hold what follows the place.
    pub fn is_homeless(&self) -> bool {
        matches!(self.kept.state, State::Lost(_) | State::Remembered)
    }

    /// For how long nothing was written to it, since it was put aside if it was.
    pub fn quiet_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.changed_ms.max(self.aside_ms.unwrap_or(0)))
    }

    /// For how long it has been read to its end, with nothing written to it.
    pub fn quiet_unread_ms(&self, now_ms: u64) -> u64 {
        if self.behind() > 0 || self.pending > 0 { 0 } else { now_ms.saturating_sub(self.changed_ms) }
    }

    /// Whether its file was looked at before in this run, so that its size is known from then.
    pub fn was_looked_at(&self) -> bool {
        self.looked.is_some()
    }

    /// Whether the bytes that were passed add up. They always do, unless the program is wrong or its store was damaged.
    pub fn is_conserved(&self) -> bool {
        self.kept.account.total() == self.offset()
    }

    /// Why the file that a glob leads to cannot be read. What a visitor may hold is told as a gap of what is lost.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref().filter(|_| self.is_seen && !self.is_visitor && !self.is_homeless())
    }

    /// Lets go of a trouble that is over. That a file can be opened is no proof yet: what was looked at was read.
    pub fn note_readable(&mut self, is_unpacking: bool) {
        let was_read = if self.kept.packed.is_some() { !is_unpacking } else { self.was_looked_at() };
        if self.is_homeless() || (self.backoff_ms == 0 && was_read) {
            self.trouble = None;
        }
    }

    /// How many bytes wait to be read; the beginning of a last line does not.
    pub fn behind(&self) -> u64 {
        match (self.kept.state, self.kept.packed) {
            (State::Followed, None) if self.has_file() => {
                self.size().saturating_sub(self.offset().saturating_add(self.pending))
            }
            (State::Followed, Some(Packed { length: Some(length), .. })) => length.saturating_sub(self.offset()),
            // What is in it nobody knows before it was looked through, which waits while it may still be written.
            (State::New, Some(Packed { length: None, .. })) if self.has_file() && self.trouble.is_none() => self.size(),
            (State::New | State::CopyOf(_), None) => self.uncompared,
            _ => 0,
        }
    }

    /// Whether the content must be looked at: the file changed, or may have without a new time. Times of files are
    /// coarse, so that one look soon after a change is not enough.
    pub fn needs_look(&self, now_ms: u64) -> bool {
        const COARSE_MS: u64 = 2_000;
        if self.file.is_some() {
            return true;
        }
        let (Some(stat), Some((looked, at_ms))) = (self.stat, self.looked) else { return self.is_seen };
        let settled_ms = self.changed_ms.saturating_add(COARSE_MS);
        self.is_seen && (stat != looked || (at_ms < settled_ms && settled_ms <= now_ms))
    }

    /// Its file, opened for a moment if it is closed; `None` when it is open.
    ///
    /// # Errors
    /// When it cannot be opened, or its name leads to another file.
    pub fn open_anyway(&self) -> io::Result<Option<File>> {
        if self.file.is_some() {
            return Ok(None);
        }
        let (file, stat) = disk::open(&self.kept.path)?;
        match stat.id == self.kept.id {
            true => Ok(Some(file)),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Notes what the file system says.
    pub fn note_stat(&mut self, stat: Stat, now_ms: u64) {
        if self.stat != Some(stat) {
            self.changed_ms = now_ms;
            self.stat = Some(stat);
        }
    }
}
