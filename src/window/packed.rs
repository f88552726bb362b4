//! Sixty minutes of counts in as few bits as they need.
//!
//! Most minutes of most SLOs see a few hundred requests at most and not one bad one. An hour is therefore kept as two
//! lanes of 60 integers, good and bad, each lane as many bits wide as its own largest count needs: 9 for 300 requests a
//! minute, 0 for no bad ones, which makes 68 bytes. A lane grows when a count outgrows it, and never shrinks, because a
//! minute only ever sees more events. The lanes of a day lie one behind the other in one allocation.
//!
//! - A count is found with one unaligned load of eight bytes, a shift and a mask. A count of up to 56 bits lies within
//!   eight bytes wherever it begins; a wider one gets 64 bits, and begins with a byte.
//! - Eight bytes can be loaded at the last count too: behind the last lanes lie [`PADDING`] bytes.
//! - The store keeps hours in the same form ([`PackedHour`]), so that a start copies them: the lanes are a file format,
//!   and another one needs another version of the store.

use std::ops::Range;

use super::HourCounts;
use crate::counts::PAGE_MINUTES;
use crate::tally::Tally;

/// The counts of one hour's minutes, on their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    lanes: Lanes,
    /// The lanes and the padding; nothing while both are 0 bits wide.
    bytes: Box<[u8]>,
}

/// The counts of one hour's minutes, in bytes that somebody else holds: how hours are kept on disks.
///
/// It begins with how many bits a good and a bad count have, a byte each; then come the lanes.
#[derive(Clone, Copy, Debug)]
pub struct PackedHour<'b> {
    lanes: Lanes,
    /// From the lanes on, at least to [`PADDING`] bytes behind them.
    bytes: &'b [u8],
}

/// How the counts of an hour lie in bytes: first the lane of the good ones, then that of the bad ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lanes {
    good: Bits,
    bad: Bits,
}

/// How many bits a count has: 0 to 56, or 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Bits(u8);

/// Bytes behind the last lanes: a load at the last bit of them reads seven more.
pub(crate) const PADDING: usize = 7;
/// The widest count that eight bytes hold wherever it begins in the first of them.
const WIDEST_ANYWHERE: u8 = 56;

impl Packed {
    /// The counts of minute `row`.
    pub(crate) fn get(&self, row: usize) -> Tally {
        self.lanes.get(&self.bytes, row)
    }

    /// The counts of some minutes together.
    pub(crate) fn sum(&self, rows: Range<usize>) -> Tally {
        self.lanes.sum(&self.bytes, rows)
    }

    /// Adds counts to every minute.
    pub(crate) fn add(&mut self, counts: &HourCounts) {
        let sums = self.lanes.plus(&self.bytes, counts);
        let lanes = self.lanes.holding(&sums);
        if lanes != self.lanes {
            self.lanes = lanes;
            self.bytes = vec![0; lanes.len() + PADDING].into();
        }
        lanes.write(&mut self.bytes, &sums);
    }
}

impl<'b> PackedHour<'b> {
    /// Writes counts behind `bytes`, in as few bits as they need. [`PADDING`] bytes have to follow before they are
    /// read.
    pub(crate) fn write(counts: &HourCounts, bytes: &mut Vec<u8>) {
        let lanes = Lanes::default().holding(counts);
        bytes.extend([lanes.good.0, lanes.bad.0]);
        let start = bytes.len();
        bytes.resize(start + lanes.len(), 0);
        lanes.write(&mut bytes[start..], counts);
    }

    /// Finds the counts that `bytes` begin with, and what follows them; `None` when there are none, or fewer than
    /// [`PADDING`] bytes behind them.
    pub(crate) fn read(bytes: &'b [u8]) -> Option<(Self, &'b [u8])> {
        let ([good, bad], lanes_on) = bytes.split_first_chunk()?;
        let lanes = Lanes { good: Bits::checked(*good)?, bad: Bits::checked(*bad)? };
        let (_, behind) = lanes_on.split_at_checked(lanes.len())?;
        (behind.len() >= PADDING).then_some((Self { lanes, bytes: lanes_on }, behind))
    }

    /// The counts of every minute.
    pub fn counts(self) -> HourCounts {
        self.lanes.read(self.bytes)
    }

    /// All of the hour.
    pub fn sum(self) -> Tally {
        self.lanes.sum(self.bytes, 0..PAGE_MINUTES)
    }

    pub(super) fn lanes(self) -> Lanes {
        self.lanes
    }

    /// The lanes and nothing else.
    pub(super) fn lane_bytes(self) -> &'b [u8] {
        &self.bytes[..self.lanes.len()]
    }
}

/// Bytes are those from the beginning of the lanes on, at least to [`PADDING`] bytes behind them; any for lanes of 0
/// bits.
impl Lanes {
    /// How many bytes the lanes take.
    pub(super) fn len(self) -> usize {
        self.good.lane_bytes() + self.bad.lane_bytes()
    }

    /// Lanes that are wide enough for these counts, and not narrower than these.
    pub(super) fn holding(self, counts: &HourCounts) -> Self {
        // The widest count has the highest bit of all of them together, which is cheaper to find than a maximum.
        let bits = |lane: &[u64; PAGE_MINUTES]| Bits::of(lane.iter().fold(0, |bits, count| bits | count));
        Self { good: self.good.max(bits(&counts.good)), bad: self.bad.max(bits(&counts.bad)) }
    }

    /// Whether they are wide enough for these counts.
    pub(super) fn hold(self, tally: Tally) -> bool {
        Bits::of(tally.good) <= self.good && Bits::of(tally.bad) <= self.bad
    }

    /// The counts of minute `row`.
    pub(super) fn get(self, bytes: &[u8], row: usize) -> Tally {
        Tally::new(self.good.get(bytes, row), self.bad.get(self.bad_lane(bytes), row))
    }

    /// The counts of some minutes together.
    pub(super) fn sum(self, bytes: &[u8], rows: Range<usize>) -> Tally {
        Tally::new(self.good.sum(bytes, rows.clone()), self.bad.sum(self.bad_lane(bytes), rows))
    }

    /// Puts counts that the lanes [hold](Lanes::hold) in place of those of minute `row`.
    pub(super) fn set(self, bytes: &mut [u8], row: usize, tally: Tally) {
        self.good.set(bytes, row, tally.good);
        self.bad.set(bytes.get_mut(self.good.lane_bytes()..).unwrap_or_default(), row, tally.bad);
    }

    /// The counts of every minute.
    pub(super) fn read(self, bytes: &[u8]) -> HourCounts {
        let mut counts = HourCounts::ZERO;
        self.good.read(bytes, &mut counts.good);
        self.bad.read(self.bad_lane(bytes), &mut counts.bad);
        counts
    }

    /// The counts of every minute, with these added.
    pub(super) fn plus(self, bytes: &[u8], counts: &HourCounts) -> HourCounts {
        let mut sums = self.read(bytes);
        for (sums, counts) in [(&mut sums.good, &counts.good), (&mut sums.bad, &counts.bad)] {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = sum.saturating_add(*count);
            }
        }
        sums
    }

    /// Puts counts for which the lanes are wide enough in place of all. Nothing behind the lanes is written.
    pub(super) fn write(self, bytes: &mut [u8], counts: &HourCounts) {
        self.good.write(bytes, &counts.good);
        self.bad.write(bytes.get_mut(self.good.lane_bytes()..).unwrap_or_default(), &counts.bad);
    }

    fn bad_lane(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.good.lane_bytes()..).unwrap_or_default()
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

    /// As many bits as a disk says.
    fn checked(bits: u8) -> Option<Self> {
        (bits <= WIDEST_ANYWHERE || u32::from(bits) == u64::BITS).then_some(Self(bits))
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

    /// Gathers counts in a word and writes it when it is full.
    fn write(self, lane: &mut [u8], counts: &[u64; PAGE_MINUTES]) {
        if self.0 == 0 {
            return;
        }
        let bits = u32::from(self.0);
        let mut words = lane[..self.lane_bytes()].chunks_mut(8);
        let (mut word, mut filled) = (0, 0);
        for count in counts {
            word |= count << filled;
            filled += bits;
            if let Some(over) = filled.checked_sub(u64::BITS) {
                put(&mut words, word);
                // What did not fit; a shift by all 64 bits has to be two.
                (word, filled) = (count >> 1 >> (bits - over - 1), over);
            }
        }
        if filled > 0 {
            put(&mut words, word);
        }
    }
}

/// Writes a word to the next chunk, or as much of it as that has.
fn put(words: &mut std::slice::ChunksMut<'_, u8>, word: u64) {
    if let Some(chunk) = words.next() {
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
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
        packed.add(&minute(59, 0, 1));
        assert_eq!(packed.bytes.len(), 60 + 8 + PADDING);
        packed.add(&minute(0, 1, 1));
        assert_eq!(packed.bytes.len(), 68 + 8 + PADDING);
        assert_eq!(packed.get(0), Tally::new(256, 1));
        assert_eq!((packed.get(1), packed.get(59)), (Tally::new(255, 0), Tally::new(255, 1)));
    }

    /// One minute of an hour.
    fn minute(row: usize, good: u64, bad: u64) -> HourCounts {
        let mut counts = HourCounts::ZERO;
        (counts.good[row], counts.bad[row]) = (good, bad);
        counts
    }

    #[test]
    fn every_width_holds_its_largest_count() {
        for count in (0..=64).map(|bits| u64::MAX.checked_shr(64 - bits).unwrap_or(0)) {
            for row in [0, 1, 58, 59] {
                let mut packed = Packed::default();
                packed.add(&minute(row, count, 0));
                packed.add(&minute(row, 0, count));
                assert_eq!(packed.get(row), Tally::new(count, count));
                assert_eq!(packed.sum(0..PAGE_MINUTES), Tally::new(count, count));
                assert_eq!(packed.sum(row + 1..PAGE_MINUTES), Tally::ZERO);
                assert_eq!(packed.sum(0..row), Tally::ZERO);
            }
        }
    }

    /// A count of any width, the narrow ones as likely as the wide ones.
    fn count() -> impl Strategy<Value = u64> {
        (0..=63_u32, any::<u64>()).prop_map(|(bits, count)| count >> (63 - bits))
    }

    proptest! {
        #[test]
        fn an_hour_is_sixty_pairs_of_integers(
            added in proptest::collection::vec(
                proptest::collection::vec((0..PAGE_MINUTES, count(), count()), 0..20),
                0..8,
            ),
            set in proptest::collection::vec((0..PAGE_MINUTES, count(), count()), 0..20),
        ) {
            let (mut packed, mut plain) = (Packed::default(), [Tally::ZERO; PAGE_MINUTES]);
            for minutes in added {
                let mut counts = HourCounts::ZERO;
                for (row, good, bad) in minutes {
                    (counts.good[row], counts.bad[row]) = (good, bad);
                }
                packed.add(&counts);
                (0..PAGE_MINUTES).for_each(|row| plain[row] += counts.minute(row));
            }
            // What lies around the lanes stays as it is.
            let lanes = packed.lanes;
            let mut bytes = vec![0xa5; 3 + lanes.len() + PADDING];
            lanes.write(&mut bytes[3..], &lanes.read(&packed.bytes));
            for (row, good, bad) in set {
                if lanes.hold(Tally::new(good, bad)) {
                    lanes.set(&mut bytes[3..], row, Tally::new(good, bad));
                    plain[row] = Tally::new(good, bad);
                }
            }
            prop_assert_eq!(&bytes[..3], &[0xa5; 3]);
            prop_assert_eq!(&bytes[3 + lanes.len()..], &[0xa5; PADDING]);
            for row in 0..PAGE_MINUTES {
                prop_assert_eq!(lanes.get(&bytes[3..], row), plain[row]);
                prop_assert_eq!(lanes.sum(&bytes[3..], row / 2..row), plain[row / 2..row].iter().copied().sum());
            }
        }
    }
}
