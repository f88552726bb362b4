//! Digests: whether two files say the same in all that was read, without keeping any of it.
//!
//! Logs may begin with the same lines and still be different ones: a header, a burst of equal requests. So whoever
//! takes a file for a copy compares everything that was read, not only its first bytes and its last. What was read of a
//! log may be gone by then, so that a digest of it is carried along while it is read.
//!
//! - It is extended by whole blocks. The bytes behind the last one, fewer than [`BLOCK`], are among those that the
//!   [anchor](super::print::Print::anchor) covers.
//! - It remembers what it was at eight lengths between each power of two and the next. So texts of different lengths
//!   can be compared as far as both go, but for less than an eighth of the shorter one.
//! - It costs a small part of what finding the lines does, takes less than a kilobyte, and survives restarts.
//!
//! Left out on purpose: it is no defence against somebody who makes two files with the same digest.

use serde::{Deserialize, Serialize};

/// It is extended by so many bytes at once: a word for each lane.
pub(super) const BLOCK: usize = 32;
/// What it was at this many times [`STEP`] is remembered, and at so many lengths between each doubling of that.
const RUNGS: usize = 8;
const STEP: u64 = 128;
/// The primes of XXH64, of which the lanes are taken.
const PRIMES: [u64; 3] = [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9];

/// What is left of a text: four numbers, and what they came to on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest {
    #[serde(rename = "n")]
    length: u64,
    #[serde(rename = "l")]
    lanes: [u64; 4],
    #[serde(rename = "r")]
    rungs: Vec<u32>,
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl Digest {
    /// That of no bytes.
    pub fn new() -> Self {
        let [first, second, _] = PRIMES;
        let lanes = [first.wrapping_add(second), second, 0, first.wrapping_neg()];
        Self { length: 0, lanes, rungs: Vec::new() }
    }

    /// How many bytes of the text it is of.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How much of a text of this length a digest of it is of.
    pub fn reach(length: u64) -> u64 {
        length - length % BLOCK as u64
    }

    /// Extends it by what of `text`, which begins at byte `from` of the whole, it is not of yet. `false` when bytes
    /// between are missing, so that it is of no use any more.
    pub fn take(&mut self, text: &[u8], from: u64) -> bool {
        let known = self.length.checked_sub(from).and_then(|known| usize::try_from(known).ok());
        let Some(mut fresh) = known.and_then(|known| text.get(known..)) else { return false };
        while fresh.len() >= BLOCK {
            // One that was damaged where it was kept is of no use.
            let Some(missing @ 1..) = rung(self.rungs.len()).checked_sub(self.length) else { return false };
            let missing = usize::try_from(missing).unwrap_or(usize::MAX);
            let (now, later) = fresh.split_at((fresh.len() - fresh.len() % BLOCK).min(missing));
            self.lanes = mixed(self.lanes, now);
            self.length += now.len() as u64;
            if self.length == rung(self.rungs.len()) {
                self.rungs.push(self.value());
            }
            fresh = later;
        }
        true
    }

    /// Whether the texts are the same as far as both go, by all that is known: wholly when they are of one length,
    /// otherwise up to the last length at which both remember what they were.
    pub fn agrees(&self, other: &Self) -> bool {
        let common = self.rungs.len().min(other.rungs.len());
        self.rungs[..common] == other.rungs[..common] && (self.length != other.length || self.lanes == other.lanes)
    }

    fn value(&self) -> u32 {
        let folded = self.lanes.iter().zip([1, 7, 12, 18]);
        let value = folded.fold(self.length, |value, (lane, turn)| value.wrapping_add(lane.rotate_left(turn)));
        ((value ^ (value >> 33)).wrapping_mul(PRIMES[1]).rotate_left(31).wrapping_mul(PRIMES[2]) >> 32) as u32
    }
}

/// The length at which it is remembered for the time of this number.
fn rung(number: usize) -> u64 {
    let doubling = 1_u64.checked_shl((number / RUNGS) as u32).unwrap_or(u64::MAX);
    doubling.saturating_mul(STEP).saturating_mul((RUNGS + number % RUNGS) as u64)
}

/// The lanes after these whole blocks: the rounds of XXH64, whose lanes do not wait for each other.
fn mixed(mut lanes: [u64; 4], blocks: &[u8]) -> [u64; 4] {
    let (words, _) = blocks.as_chunks::<8>();
    let (blocks, _) = words.as_chunks::<4>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block) {
            let taken = lane.wrapping_add(u64::from_le_bytes(*word).wrapping_mul(PRIMES[1]));
            *lane = taken.rotate_left(31).wrapping_mul(PRIMES[0]);
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Vec<u8> {
        (0..length as u64).map(|at| (at.wrapping_mul(PRIMES[0]) >> 40) as u8).collect()
    }

    fn digest(text: &[u8]) -> Digest {
        let mut digest = Digest::new();
        assert!(digest.take(text, 0));
        digest
    }

    #[test]
    fn it_is_the_same_however_the_text_is_cut() {
        let text = text(70_000);
        for step in [1, 31, 33, 1_000, 4_096, 65_536] {
            let mut cut = Digest::new();
            for end in (step..text.len()).step_by(step).chain([text.len()]) {
                // Some bytes from before are given again, as an anchor is.
                let from = end.saturating_sub(step + 256).min(cut.length() as usize);
                assert!(cut.take(&text[from..end], from as u64));
            }
            assert_eq!(cut, digest(&text), "in steps of {step}");
        }
        assert_eq!(digest(&text).length(), Digest::reach(text.len() as u64));
    }

    #[test]
    fn bytes_that_are_missing_are_noticed() {
        let mut digest = digest(&text(64));
        assert!(!digest.take(&text(64), 65));
        assert!(!digest.take(&[1], 10), "it is of more than that");
        assert!(digest.take(&[], 64));
    }

    #[test]
    fn every_byte_counts() {
        let text = text(5_000);
        let of_all = digest(&text);
        for place in 0..Digest::reach(5_000) as usize {
            let mut other = text.clone();
            other[place] ^= 0x80;
            assert!(!digest(&other).agrees(&of_all), "byte {place}");
        }
    }

    #[test]
    fn texts_of_different_lengths_agree_as_far_as_both_go() {
        let text = text(5_000);
        let mut other = text.clone();
        other[3_000] ^= 1;
        let of_all = digest(&text);
        for (beginning, agrees) in [
            (&text[..0], true),
            (&text[..900], true),
            (&text[..3_500], true),
            (&other[..3_050], true),
            (&other[..3_400], false),
            (&other[..4_200], false),
        ] {
            assert_eq!(digest(beginning).agrees(&of_all), agrees, "{}", beginning.len());
        }
    }

    #[test]
    fn it_never_changes() {
        let digest = digest(&text(2_048));
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert_eq!((digest.rungs.len(), digest.rungs[0], digest.rungs[8]), (9, 0x5DB7_F344, 0xA561_CFFB));
        let lengths: Vec<u64> = (6..11).map(rung).collect();
        assert_eq!(lengths, [1_792, 1_920, 2_048, 2_304, 2_560]);
        assert_eq!(rung(usize::MAX), u64::MAX);
    }
}
