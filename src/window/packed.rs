//! Sixty minutes of counts in as few bits as they need.
//!
//! Most minutes of most SLOs see a few hundred requests at most and not one bad one. An hour is therefore kept as two
//! lanes of 60 integers, good and bad, each lane as many bits wide as its own largest count needs: 9 for 300 requests a
//! minute, 0 for no bad ones, which makes 68 bytes. A lane grows when a count outgrows it, and never shrinks, because a
//! minute only ever sees more events.
//!
//! - A count is found with one unaligned load of eight bytes, a shift and a mask. A count of up to 56 bits lies within
//!   eight bytes wherever it begins; a wider one gets 64 bits, and begins with a byte.
//! - Eight bytes can be loaded at the last count too: behind the lanes lie [`PADDING`] bytes.

use std::ops::Range;

use super::HourCounts;
use crate::counts::PAGE_MINUTES;
use crate::tally::Tally;

/// The counts of an hour's minutes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    good: Bits,
    bad: Bits,
    /// The lane of the good counts, that of the bad ones, and the padding; nothing while both are 0 bits wide.
    bytes: Box<[u8]>,
}

/// How many bits a count has: 0 to 56, or 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Bits(u8);

/// Bytes behind the lanes: a load at the last bit of them reads seven more.
const PADDING: usize = 7;
/// The widest count that eight bytes hold wherever it begins in the first of them.
const WIDEST_ANYWHERE: u8 = 56;

impl Packed {
    /// The counts of minute `row`.
    pub(crate) fn get(&self, row: usize) -> Tally {
        let (good, bad) = self.lanes();
        Tally::new(self.good.get(good, row), self.bad.get(bad, row))
    }

    /// The counts of some minutes together.
    pub(crate) fn sum(&self, rows: Range<usize>) -> Tally {
        let (good, bad) = self.lanes();
        Tally::new(self.good.sum(good, rows.clone()), self.bad.sum(bad, rows))
    }

    /// Puts `tally` in place of the counts of minute `row`.
    pub(super) fn set(&mut self, row: usize, tally: Tally) {
        if Bits::of(tally.good) > self.good || Bits::of(tally.bad) > self.bad {
            let mut counts = self.unpack();
            (counts.good[row], counts.bad[row]) = (tally.good, tally.bad);
            self.pack(&counts);
            return;
        }
        let bad = self.good.lane_bytes();
        self.good.set(&mut self.bytes, row, tally.good);
        self.bad.set(self.bytes.get_mut(bad..).unwrap_or_default(), row, tally.bad);
    }

    /// Adds counts to every minute.
    pub(crate) fn add(&mut self, counts: &HourCounts) {
        if self.bytes.is_empty() {
            return self.pack(counts);
        }
        let mut sums = self.unpack();
        let lanes = [(&mut sums.good, &counts.good), (&mut sums.bad, &counts.bad)];
        for (sums, counts) in lanes {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = sum.saturating_add(*count);
            }
        }
        self.pack(&sums);
    }

    /// Keeps `counts` instead, in lanes at least as wide as before.
    fn pack(&mut self, counts: &HourCounts) {
        // The widest count has the highest bit of all of them together, which is cheaper to find than a maximum.
        let bits = |lane: &[u64; PAGE_MINUTES]| lane.iter().fold(0, |bits, count| bits | count);
        let (good, bad) = (self.good.max(Bits::of(bits(&counts.good))), self.bad.max(Bits::of(bits(&counts.bad))));
        if (good, bad) != (self.good, self.bad) {
            let length = good.lane_bytes() + bad.lane_bytes() + PADDING;
            (self.good, self.bad, self.bytes) = (good, bad, vec![0; length].into_boxed_slice());
        }
        if !self.bytes.is_empty() {
            // In this order, because a lane is written in words, of which the last reaches beyond its end.
            good.write(&counts.good, &mut self.bytes);
            bad.write(&counts.bad, &mut self.bytes[good.lane_bytes()..]);
        }
    }

    fn unpack(&self) -> HourCounts {
        let mut counts = HourCounts::ZERO;
        let (good, bad) = self.lanes();
        self.good.read(good, &mut counts.good);
        self.bad.read(bad, &mut counts.bad);
        counts
    }

    /// The bytes from the beginning of each lane on.
    fn lanes(&self) -> (&[u8], &[u8]) {
        (&self.bytes, self.bytes.get(self.good.lane_bytes()..).unwrap_or_default())
    }
}

/// The sum of an hour's counts.
pub(super) fn total(lane: &[u64; PAGE_MINUTES]) -> u64 {
    // A plain sum vectorises, a saturating one does not; counts of 32 bits, which is what pages hold, cannot overflow.
    let bits = lane.iter().fold(0, |bits, count| bits | count);
    match bits <= u64::from(u32::MAX) {
        true => lane.iter().sum(),
        false => lane.iter().fold(0, |sum, count| sum.saturating_add(*count)),
    }
}

impl Bits {
    fn of(count: u64) -> Self {
        let bits = (u64::BITS - count.leading_zeros()) as u8;
        Self(if bits > WIDEST_ANYWHERE { u64::BITS as u8 } else { bits })
    }

    /// How long a lane is.
    fn lane_bytes(self) -> usize {
        (PAGE_MINUTES * usize::from(self.0)).div_ceil(8)
    }

    fn mask(self) -> u64 {
        u64::MAX >> (u64::BITS - u32::from(self.0))
    }

    /// In which byte a count begins, and at which bit of it.
    fn place(self, row: usize) -> (usize, u32) {
        let bit = row * usize::from(self.0);
        (bit / 8, (bit % 8) as u32)
    }

    // The lanes of the functions below begin where theirs does and reach to the end of the padding.

    #[inline(always)]
    fn get(self, lane: &[u8], row: usize) -> u64 {
        if self.0 == 0 {
            return 0;
        }
        let (byte, bit) = self.place(row);
        word_at(lane, byte) >> bit & self.mask()
    }

    fn sum(self, lane: &[u8], rows: Range<usize>) -> u64 {
        match self.0 {
            0 => 0,
            // Sixty of those do not overflow.
            1..=WIDEST_ANYWHERE => rows.map(|row| self.get(lane, row)).sum(),
            _ => rows.fold(0, |sum, row| sum.saturating_add(self.get(lane, row))),
        }
    }

    /// The count fits, which the caller has seen to.
    fn set(self, lane: &mut [u8], row: usize, count: u64) {
        if self.0 == 0 {
            return;
        }
        let (byte, bit) = self.place(row);
        let others = word_at(lane, byte) & !(self.mask() << bit);
        lane[byte..byte + 8].copy_from_slice(&(others | count << bit).to_le_bytes());
    }

    fn read(self, lane: &[u8], counts: &mut [u64; PAGE_MINUTES]) {
        if self.0 > 0 {
            (0..).zip(counts).for_each(|(row, count)| *count = self.get(lane, row));
        }
    }

    /// Writes all counts; what follows the lane in its last word becomes 0.
    fn write(self, counts: &[u64; PAGE_MINUTES], lane: &mut [u8]) {
        if self.0 == 0 {
            return;
        }
        for (row, count) in counts.iter().enumerate() {
            let (byte, bit) = self.place(row);
            // What lies before the count in its first byte has just been written.
            let before = u64::from(lane[byte]) & !(u64::MAX << bit);
            lane[byte..byte + 8].copy_from_slice(&(before | count << bit).to_le_bytes());
        }
    }
}

/// The eight bytes from `byte` on.
#[inline(always)]
fn word_at(lane: &[u8], byte: usize) -> u64 {
    u64::from_le_bytes(*lane[byte..].first_chunk().expect("the padding is long enough"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_hour_takes_as_many_bits_as_its_largest_counts_need() {
        let mut packed = Packed::default();
        packed.add(&HourCounts::ZERO);
        assert_eq!(packed.bytes.len(), 0);
        packed.add(&HourCounts { good: [255; PAGE_MINUTES], bad: [0; PAGE_MINUTES] });
        assert_eq!(packed.bytes.len(), 60 + PADDING);
        packed.set(59, Tally::new(255, 1));
        assert_eq!(packed.bytes.len(), 60 + 8 + PADDING);
        packed.set(0, Tally::new(256, 1));
        assert_eq!(packed.bytes.len(), 68 + 8 + PADDING);
        assert_eq!(packed.get(0), Tally::new(256, 1));
        assert_eq!((packed.get(1), packed.get(59)), (Tally::new(255, 0), Tally::new(255, 1)));
    }

    #[test]
    fn every_width_holds_its_largest_count() {
        for count in (0..=64).map(|bits| u64::MAX.checked_shr(64 - bits).unwrap_or(0)) {
            for row in [0, 1, 58, 59] {
                let mut packed = Packed::default();
                packed.set(row, Tally::new(count, 0));
                packed.set(row, Tally::new(count, count));
                assert_eq!(packed.get(row), Tally::new(count, count));
                assert_eq!(packed.sum(0..PAGE_MINUTES), Tally::new(count, count));
                assert_eq!(packed.sum(row + 1..PAGE_MINUTES), Tally::ZERO);
                assert_eq!(packed.sum(0..row), Tally::ZERO);
            }
        }
    }

    /// What may happen to an hour.
    #[derive(Clone, Debug)]
    enum Change {
        Set(usize, u64, u64),
        Add(Vec<(usize, u64, u64)>),
    }

    fn change() -> impl Strategy<Value = Change> {
        let count = || (0..=63_u32, any::<u64>()).prop_map(|(bits, count)| count >> (63 - bits));
        let minute = move || (0..PAGE_MINUTES, count(), count());
        prop_oneof![
            minute().prop_map(|(row, good, bad)| Change::Set(row, good, bad)),
            proptest::collection::vec(minute(), 0..20).prop_map(Change::Add),
        ]
    }

    proptest! {
        #[test]
        fn an_hour_is_sixty_pairs_of_integers(changes in proptest::collection::vec(change(), 0..12)) {
            let (mut packed, mut plain) = (Packed::default(), [Tally::ZERO; PAGE_MINUTES]);
            for change in changes {
                match change {
                    Change::Set(row, good, bad) => {
                        packed.set(row, Tally::new(good, bad));
                        plain[row] = Tally::new(good, bad);
                    }
                    Change::Add(minutes) => {
                        let mut counts = HourCounts::ZERO;
                        for (row, good, bad) in minutes {
                            (counts.good[row], counts.bad[row]) = (good, bad);
                        }
                        packed.add(&counts);
                        (0..PAGE_MINUTES).for_each(|row| plain[row] += counts.minute(row));
                    }
                }
                for row in 0..PAGE_MINUTES {
                    prop_assert_eq!(packed.get(row), plain[row]);
                    prop_assert_eq!(packed.sum(row / 2..row), plain[row / 2..row].iter().copied().sum());
                }
            }
        }
    }
}
