//! What following a log has to say beside lines.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Bytes that were written and cannot be read any more, or cannot be read soundly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The log, by its last name.
    pub path: PathBuf,
    /// Why.
    pub reason: GapReason,
    /// How many bytes; `None` when nobody can know.
    pub bytes: Option<u64>,
    /// When the log was last known to be read to its end, on the clock of [`Tail::poll`](super::Tail::poll); `None`
    /// when that was before the program started.
    pub since_ms: Option<u64>,
}

/// Why bytes are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Truncated before everything was read, and no copy was found.
    TruncatedUnread,
    /// Rotated or deleted while nobody had it open, and not found under another name.
    RotatedAway,
    /// The same, while the program did not run.
    RotatedWhileDown,
    /// A compressed log ends in the middle or is damaged.
    PackedTorn,
    /// A compressed log unpacks to more than is sensible.
    PackedLimit,
    /// Something was written behind a last line long after that had been taken for complete.
    LateRest,
}

impl GapReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::TruncatedUnread,
        Self::RotatedAway,
        Self::RotatedWhileDown,
        Self::PackedTorn,
        Self::PackedLimit,
        Self::LateRest,
    ];

    /// Its name in records and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::TruncatedUnread => "truncated_unread",
            Self::RotatedAway => "rotated_away",
            Self::RotatedWhileDown => "rotated_while_down",
            Self::PackedTorn => "gzip_truncated",
            Self::PackedLimit => "gzip_limit",
            Self::LateRest => "late_rest",
        }
    }
}

/// One sentence that says what is missing and what to do.
impl fmt::Display for Gap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.bytes {
            Some(bytes) => write!(out, "{path}: {bytes} bytes are not counted: ")?,
            None => write!(out, "{path}: an unknown number of bytes is not counted: ")?,
        }
        out.write_str(match self.reason {
            GapReason::TruncatedUnread => {
                "it was truncated before all of it was read, and no copy was found beside it; rotate by renaming, or \
                 let the source's paths include the copies"
            }
            GapReason::RotatedAway => {
                "it was rotated away or deleted and is not found under another name; let the source's paths include \
                 the rotated files, and keep them longer"
            }
            GapReason::RotatedWhileDown => {
                "it was rotated away or deleted while slogate was not running, and is not found under another name; \
                 keep rotated files longer"
            }
            GapReason::PackedTorn => {
                "its compressed data ends early or is damaged; only what was whole before that place is counted, \
                 compress it again for the rest"
            }
            GapReason::PackedLimit => {
                "its compressed data unpacks to more than a log does; if it is one, unpack it yourself"
            }
            GapReason::LateRest => {
                "they were written behind a last line that had been counted as it was, since its file was rotated; \
                 make the writer reopen its log sooner"
            }
        })
    }
}

/// Something to know about a log; nothing is missing for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What.
    pub kind: NoteKind,
    /// Which log.
    pub path: PathBuf,
    /// The other path, where there is one, or what the system said.
    pub detail: String,
}

/// What there is to know about a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// Its name was given to a new file; the old one is read to its end.
    Rotated,
    /// It was truncated and is read from its beginning.
    Truncated,
    /// Two paths lead to one file, which is read once.
    SameFileTwice,
    /// It is a directory, a device or a pipe.
    NotRegularFile,
    /// It lies outside the directories that logs may be in.
    OutsideRoot,
    /// It is UTF-16, which no log format is.
    Utf16,
    /// It cannot be opened or read at present.
    Unreadable,
    /// A directory cannot be listed at present.
    Unlisted,
    /// It cannot be opened, since the process may have no more files open.
    NoDescriptors,
}

impl NoteKind {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rotated => "tail.rotated",
            Self::Truncated => "tail.truncated",
            Self::SameFileTwice => "tail.same_file_twice",
            Self::NotRegularFile => "tail.not_regular_file",
            Self::OutsideRoot => "tail.outside_root",
            Self::Utf16 => "tail.encoding_utf16",
            Self::Unreadable => "tail.unreadable",
            Self::Unlisted => "tail.unlisted",
            Self::NoDescriptors => "tail.no_descriptors",
        }
    }

    /// Whether somebody should do something about it.
    pub fn is_warning(self) -> bool {
        !matches!(self, Self::Rotated | Self::Truncated)
    }
}

/// One sentence.
impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, detail) = (self.path.display(), &self.detail);
        match self.kind {
            NoteKind::Rotated => write!(out, "{path}: rotated ({detail}); the old file is read to its end"),
            NoteKind::Truncated => write!(out, "{path}: truncated; it is read from its beginning"),
            NoteKind::SameFileTwice => write!(out, "{path}: is the same file as {detail}; it is read once"),
            NoteKind::NotRegularFile => {
                write!(out, "{path}: is no regular file and is left alone; name log files in the source's paths")
            }
            NoteKind::OutsideRoot => {
                write!(out, "{path}: leads to {detail}, outside the directories that logs may be in; it is left alone")
            }
            NoteKind::Utf16 => write!(out, "{path}: is UTF-16; have the server write its log in UTF-8"),
            NoteKind::Unreadable => {
                write!(out, "{path}: cannot be read ({detail}) and is tried again; see that slogate may read it")
            }
            NoteKind::NoDescriptors => write!(
                out,
                "{path}: cannot be opened ({detail}) and is tried again, like others perhaps; raise the limit of slogate \
                 (LimitNOFILE= in its systemd unit, `ulimit -n` in a shell)"
            ),
            NoteKind::Unlisted => {
                write!(out, "{path}: cannot be listed ({detail}) and is tried again; see that slogate may read it")
            }
        }
    }
}
