//! Fingerprints: what tells the content of one file from another's.
//!
//! An inode says where bytes lie, not which bytes they are: it is used again, and copytruncate puts the bytes
//! elsewhere. So a generation of a log is known by its first bytes and by those just before the place that was read up
//! to.

use serde::{Deserialize, Serialize};

/// How much of a beginning is hashed at most.
pub(super) const HEAD: usize = 1_024;
/// How many bytes before the place that was read up to are hashed at most.
pub(super) const ANCHOR: usize = 256;

/// FNV-1a: positions outlive the program, so the hash must be the same in every version and on every machine.
fn extend(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    hash
}

/// A number of bytes and their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Print {
    /// How many bytes.
    pub length: usize,
    hash: u64,
}

impl Print {
    /// That of no bytes.
    pub const NONE: Self = Self { length: 0, hash: 0xCBF2_9CE4_8422_2325 };

    pub fn of(bytes: &[u8]) -> Self {
        Self::NONE.and(bytes)
    }

    /// That of the same bytes with more behind them.
    pub fn and(self, more: &[u8]) -> Self {
        Self { length: self.length + more.len(), hash: extend(self.hash, more) }
    }

    /// The print of a beginning, of which `read` bytes were known, when `more` follow at byte `from` of the file.
    pub fn grown(self, from: u64, more: &[u8]) -> Self {
        if self.length >= HEAD || from != self.length as u64 {
            return self;
        }
        self.and(&more[..more.len().min(HEAD - self.length)])
    }

    /// Whether `beginning`, the first bytes of some file, begins with these bytes.
    pub fn begins(self, beginning: &[u8]) -> bool {
        beginning.len() >= self.length && Self::of(&beginning[..self.length]) == self
    }

    /// The print of the place at the end of `read`.
    pub fn anchor(read: &[u8]) -> Self {
        Self::of(&read[read.len().saturating_sub(ANCHOR)..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_grows_to_its_bound_and_no_further() {
        let text: Vec<u8> = (0..3_000_u32).map(|number| (number % 251) as u8).collect();
        let mut head = Print::NONE;
        for (from, length) in [(0, 10), (10, 500), (510, 2_000), (2_510, 100)] {
            head = head.grown(from as u64, &text[from..from + length]);
        }
        assert_eq!(head, Print::of(&text[..HEAD]));
        assert!(head.begins(&text));
        assert!(!head.begins(&text[..HEAD - 1]), "too short to tell");
        assert!(!head.begins(&text[1..]));
        assert_eq!(Print::NONE.grown(5, b"later"), Print::NONE, "a hole before it");
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(Print::of(b"foobar").hash, 0x8594_4171_F739_67E8);
        assert_eq!(Print::anchor(&[b'x'; 1_000]), Print::of(&[b'x'; ANCHOR]));
    }
}
