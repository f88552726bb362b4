//! Series that are in a page twice.
//!
//! The page itself keeps the lines; the table keeps 8 bytes for each, half an identity and the place of the line, and is
//! used again for the next page.

use super::labels::Identity;

/// The lines of a page by their identities.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// Half an identity above, the place of its line and 1 below; 0 is empty. The first `1 << bits` are in use.
    slots: Vec<u64>,
    bits: u32,
    lines: usize,
}

/// The fewest slots, as a power of two.
const LEAST_BITS: u32 = 6;

impl Twins {
    /// Forgets the page before, and makes room for about as many lines as `page_bytes` have.
    pub(super) fn clear(&mut self, page_bytes: usize) {
        const BYTES_PER_LINE: usize = 64;
        self.lines = 0;
        self.bits = (page_bytes / BYTES_PER_LINE).max(1).ilog2().max(LEAST_BITS) + 1;
        self.slots.truncate(1 << self.bits);
        self.slots.fill(0);
        self.slots.resize(1 << self.bits, 0);
    }

    /// Adds the line at `start`, unless one before it is its twin; then that one's place is replaced and given.
    ///
    /// `is_twin` is asked about lines that are twins but for chance.
    #[inline(always)]
    pub(super) fn add(&mut self, identity: Identity, start: u32, is_twin: impl Fn(u32) -> bool) -> Option<u32> {
        if self.lines * 2 >= self.slots.len() {
            self.grow();
        }
        let half = identity.0 >> 32;
        let new = half << 32 | u64::from(start + 1);
        let mask = self.slots.len() - 1;
        let mut at = (half >> (32 - self.bits)) as usize;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                self.slots[at] = new;
                self.lines += 1;
                return None;
            }
            if slot >> 32 == half && is_twin(slot as u32 - 1) {
                self.slots[at] = new;
                return Some(slot as u32 - 1);
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        self.bits += 1;
        let mut slots = vec![0u64; 1 << self.bits];
        let mask = slots.len() - 1;
        for slot in self.slots.iter().filter(|slot| **slot != 0) {
            let mut at = (slot >> 32 >> (32 - self.bits)) as usize;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = *slot;
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_again_when_the_table_has_grown() {
        let mut twins = Twins::default();
        for _ in 0..2 {
            twins.clear(1);
            let identity = |line: u32| Identity(u64::from(line % 5_000).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            for line in 0..10_000 {
                let found = twins.add(identity(line), line, |other| other % 5_000 == line % 5_000);
                assert_eq!(found, (line >= 5_000).then(|| line - 5_000), "{line}");
            }
        }
    }

    #[test]
    fn lines_that_share_an_identity_by_chance_are_no_twins() {
        let mut twins = Twins::default();
        twins.clear(1_000);
        for line in 0..50 {
            assert_eq!(twins.add(Identity(7 << 32), line, |_| false), None);
        }
        assert_eq!(twins.add(Identity(7 << 32), 99, |other| other == 33), Some(33));
    }
}
