//! Series that are in a page twice.
//!
//! Identities are written down line by line and looked at together when the page has been read: a hash table that is
//! asked at every line would be as large as a processor's cache, and waiting for it took longer than lexing the line.
//! A bit for every sixteenth of a line tells which identities may have come twice; only for these few is it found out.

use super::labels::Identity;

/// The lines of a page by their identities.
#[derive(Debug, Default)]
pub(super) struct Twins {
    lines: Vec<(Identity, u32)>,
    seen: Bits,
    suspects: Vec<Identity>,
    suspected: Bits,
}

impl Twins {
    /// Forgets the page before.
    pub(super) fn clear(&mut self) {
        self.lines.clear();
    }

    /// Adds the line at `start`.
    #[inline(always)]
    pub(super) fn add(&mut self, identity: Identity, start: u32) {
        self.lines.push((identity, start));
    }

    /// Each line that may be of the same series as a line before it, with the last such line before it, ascending.
    /// Those of the same identity by chance are among them.
    pub(super) fn pairs(&mut self) -> Vec<(u32, u32)> {
        self.seen.clear(self.lines.len());
        self.suspects.clear();
        for (identity, _) in &self.lines {
            if self.seen.set(*identity) {
                self.suspects.push(*identity);
            }
        }
        if self.suspects.is_empty() {
            return Vec::new();
        }
        self.suspected.clear(self.suspects.len());
        for identity in &self.suspects {
            self.suspected.set(*identity);
        }
        self.suspects.sort_unstable();
        let is_suspect = |(identity, _): &&(Identity, u32)| {
            self.suspected.has(*identity) && self.suspects.binary_search(identity).is_ok()
        };
        let mut found: Vec<(Identity, u32)> = self.lines.iter().filter(is_suspect).copied().collect();
        found.sort_unstable();
        let twins = found.windows(2).filter(|two| two[0].0 == two[1].0);
        let mut pairs: Vec<(u32, u32)> = twins.map(|two| (two[0].1, two[1].1)).collect();
        pairs.sort_unstable_by_key(|(_, later)| *later);
        pairs
    }
}

/// A set of identities in which others may seem to be.
#[derive(Debug, Default)]
struct Bits {
    words: Vec<u64>,
    /// How far an identity is shifted to be the place of a bit.
    shift: u32,
}

impl Bits {
    /// Empties it, and makes room for about `most` identities.
    fn clear(&mut self, most: usize) {
        let bits = (most * 16).next_power_of_two().max(64);
        self.shift = 64 - bits.ilog2();
        self.words.clear();
        self.words.resize(bits / 64, 0);
    }

    /// Adds an identity; gives whether it seems to have been there.
    #[inline(always)]
    fn set(&mut self, identity: Identity) -> bool {
        let place = identity.0 >> self.shift;
        let (word, bit) = (&mut self.words[place as usize / 64], 1 << (place % 64));
        let was_set = *word & bit != 0;
        *word |= bit;
        was_set
    }

    #[inline(always)]
    fn has(&self, identity: Identity) -> bool {
        let place = identity.0 >> self.shift;
        self.words[place as usize / 64] & 1 << (place % 64) != 0
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
        for _ in 0..2 {
            twins.clear();
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
