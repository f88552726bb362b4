//! Log formats: bytes in, borrowed fields out.
//!
//! A log format is compiled once into a [`Template`]. A [`LineReader`] then turns each line into a [`Request`] that
//! borrows from it, or refuses it with a kind. Formats of nginx and Apache become the same rows of tokens, so that
//! everything below [`token`] is written once.
//!
//! - What cannot be read with certainty is refused, never guessed: whatever a client sends, it moves no trusted field.
//! - Nothing is allocated per line, and nothing is read as UTF-8.
//! - No reader does IO; lines come from `intake`.
//!
//! Left out on purpose: decoding. Percent-encoding is part of a path's name; only the backslash escapes that the server
//! added are taken back, where a path is compared.

mod apache;
mod beginning;
mod combined;
mod exhaustive;
pub mod exposition;
pub mod fields;
mod index;
mod lines;
mod nginx;
mod program;
mod template;
mod token;

pub use index::{Index, Technique};
pub use lines::LineReader;
pub use template::{Template, TemplateError};

use crate::time::Timestamp;

/// One record of an access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// When it ended.
    pub at: Timestamp,
    /// Its method; empty when there was no request line.
    pub method: &'a [u8],
    /// What it asked for; empty when there was no request line.
    pub target: Target<'a>,
    /// The host that it named, as logged; empty when it named none.
    pub host: &'a [u8],
    /// Its response's status, 100 to 599.
    pub status: u16,
    /// How long it took, in microseconds and at most a day; `None` when the record does not say.
    pub duration_us: Option<u64>,
}

/// A request target, with whatever follows it in memory.
///
/// The bytes behind it mean nothing, but as long as there are some a target can be loaded in blocks.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    beyond: &'a [u8],
    length: usize,
    escaped: bool,
}

impl<'a> Target<'a> {
    /// A target with nothing behind it; `escaped` when there may be backslashes in it that escape.
    pub fn new(bytes: &'a [u8], escaped: bool) -> Self {
        Self { beyond: bytes, length: bytes.len(), escaped }
    }

    /// A target that is a part of `text`. Of one that is not, the target with nothing behind it.
    #[inline(always)]
    pub fn within(text: &'a [u8], bytes: &'a [u8], escaped: bool) -> Self {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        match text.get(offset..) {
            Some(beyond) if beyond.len() >= bytes.len() && !bytes.is_empty() => {
                Self { beyond, length: bytes.len(), escaped }
            }
            _ => Self::new(bytes, escaped),
        }
    }

    /// Whether there may be backslashes in it, and they are escapes that the server has written.
    pub fn is_escaped(self) -> bool {
        self.escaped
    }

    /// The target.
    #[inline(always)]
    pub fn bytes(self) -> &'a [u8] {
        &self.beyond[..self.length]
    }

    /// The target and the bytes behind it.
    #[inline(always)]
    pub fn beyond(self) -> &'a [u8] {
        self.beyond
    }
}

impl PartialEq for Target<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Target<'_> {}

impl std::fmt::Debug for Target<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.bytes().escape_ascii())
    }
}

/// Why a line was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    /// It does not have the declared format; the detail says where it departs from it.
    Unparsed(Unparsed),
    /// It has the declared format in two ways that disagree.
    Ambiguous,
}

impl From<Unparsed> for Refused {
    fn from(part: Unparsed) -> Self {
        Self::Unparsed(part)
    }
}

/// Which part of a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unparsed {
    /// The fixed text between the fields, or the number of fields.
    Layout,
    /// The time.
    Time,
    /// The status: not three digits from 100 to 599.
    Status,
    /// There was no response: `-`, `000`.
    NoStatus,
    /// The duration: not a number, negative, or beyond a day.
    Duration,
    /// The last line of the file ends in the middle.
    Partial,
}
