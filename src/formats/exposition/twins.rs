//! Series that are in a page twice.
//!
//! Identities are written down line by line, and bits in a few kilobytes tell which of them may have come twice: a hash
//! table would be as large as a processor's cache, and waiting for it took longer than lexing the line. Only for the
//! few that may have come twice is it found out when the page has been read.

use super::labels::Identity;

/// The lines of a page by their identities.
#[derive(Debug, Default)]
pub(super) struct Twins {
    identities: Vec<Identity>,
    starts: Vec<u32>,
    seen: Bits,
    /// Identities that may have been there before, when they came.
    suspects: Vec<Identity>,
    suspected: Bits,
}

/// The bytes of a line, about; when lines are shorter, there are more of them than there is room for at first.
const LINE_BYTES: usize = 128;

impl Twins {
    /// Forgets the page before; the next has so many bytes.
    pub(super) fn begin(&mut self, bytes: usize) {
        self.identities.clear();
        self.starts.clear();
        self.suspects.clear();
        self.seen.clear(bytes / LINE_BYTES);
    }

    /// Adds the line at `start`.
    #[inline(always)]
    pub(super) fn add(&mut self, identity: Identity, start: u32) {
        if self.identities.len() >= self.seen.most {
            self.make_room();
        }
        if self.seen.set(identity) {
            self.suspects.push(identity);
        }
        self.identities.push(identity);
        self.starts.push(start);
    }

    /// Each line that may be of the same series as a line before it, with the last such line before it, ascending.
    /// Those of the same identity by chance are among them.
    pub(super) fn pairs(&mut self) -> Vec<(u32, u32)> {
        if self.suspects.is_empty() {
            return Vec::new();
        }
        self.suspected.clear(self.suspects.len());
        for identity in &self.suspects {
            self.suspected.set(*identity);
        }
        self.suspects.sort_unstable();
        let lines = self.identities.iter().zip(&self.starts);
        let suspected =
            lines.filter(|(line, _)| self.suspected.has(**line) && self.suspects.binary_search(line).is_ok());
        let mut found: Vec<(Identity, u32)> = suspected.map(|(line, start)| (*line, *start)).collect();
        found.sort_unstable();
        let twins = found.windows(2).filter(|two| two[0].0 == two[1].0);
        let mut pairs: Vec<(u32, u32)> = twins.map(|two| (two[0].1, two[1].1)).collect();
        pairs.sort_unstable_by_key(|(_, later)| *later);
        pairs
    }

    #[cold]
    fn make_room(&mut self) {
        self.seen.clear(self.identities.len() * 2);
        for identity in &self.identities {
            self.seen.set(*identity);
        }
    }
}

/// A set of identities in which others may seem to be: each is three bits of a word.
#[derive(Debug, Default)]
struct Bits {
    words: Vec<u64>,
    /// How far an identity is shifted to be the place of a word.
    shift: u32,
    /// For how many identities there is room.
    most: usize,
}

impl Bits {
    /// Empties it, and makes room for this many identities: 16 bits for each.
    fn clear(&mut self, most: usize) {
        let words = (most / 4).next_power_of_two().max(2);
        self.shift = 64 - words.ilog2();
        self.most = words * 4;
        self.words.clear();
        self.words.resize(words, 0);
    }

    /// Adds an identity; gives whether it seems to have been there.
    #[inline(always)]
    fn set(&mut self, identity: Identity) -> bool {
        let (place, bits) = self.place(identity);
        let word = &mut self.words[place];
        let was_set = *word & bits == bits;
        *word |= bits;
        was_set
    }

    #[inline(always)]
    fn has(&self, identity: Identity) -> bool {
        let (place, bits) = self.place(identity);
        self.words[place] & bits == bits
    }

    /// The word of an identity, and its bits there.
    #[inline(always)]
    fn place(&self, Identity(identity): Identity) -> (usize, u64) {
        let bit = |shift: u32| 1u64 << ((identity >> shift) % 64);
        ((identity >> self.shift) as usize, bit(0) | bit(6) | bit(12))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(line: u32) -> Identity {
        Identity(u64::from(line).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn check(lines: &[u32], expected: &[(u32, u32)]) {
        let mut twins = Twins::default();
        for bytes in [0, 1 << 10, 8 << 20] {
            twins.begin(bytes);
            for (line, start) in lines.iter().zip(0..) {
                twins.add(spread(*line), start);
            }
            assert_eq!(twins.pairs(), expected, "{lines:?}");
        }
    }

    #[test]
    fn pairs_are_lines_of_one_identity_and_the_last_before() {
        check(&[], &[]);
        check(&[1, 2, 3], &[]);
        check(&[1, 2, 1, 3, 3, 1], &[(0, 2), (3, 4), (2, 5)]);
    }

    #[test]
    fn among_many_lines_only_twins_are_found() {
        let mut lines: Vec<u32> = (0..50_000).collect();
        check(&lines, &[]);
        lines.push(33);
        lines.push(49_999);
        check(&lines, &[(33, 50_000), (49_999, 50_001)]);
    }
}
