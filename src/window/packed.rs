//! Sixty minutes of counts in as few bytes as they need.
//!
//! Most minutes of most SLOs see fewer than 256 requests and not one bad one. An hour is therefore kept as two lanes of
//! 60 little-endian integers, good and bad, each lane as wide as its own largest count needs: 0, 1, 2, 4 or 8 bytes. An
//! ordinary hour is one allocation of 60 bytes. A lane grows when a count outgrows it, and never shrinks, because a
//! minute only ever sees more events.

use std::ops::Range;

use super::HourCounts;
use crate::counts::PAGE_MINUTES;
use crate::tally::Tally;

/// The counts of an hour's minutes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    good: Width,
    bad: Width,
    /// The lane of the good counts, then that of the bad ones.
    bytes: Box<[u8]>,
}

/// Bytes of one count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    #[default]
    None = 0,
    One = 1,
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Packed {
    /// The counts of minute `row`.
    pub(crate) fn get(&self, row: usize) -> Tally {
        let (good, bad) = self.lanes();
        Tally::new(get(self.good, good, row), get(self.bad, bad, row))
    }

    /// The counts of some minutes together.
    pub(crate) fn sum(&self, rows: Range<usize>) -> Tally {
        let (good, bad) = self.lanes();
        Tally::new(sum(self.good, good, rows.clone()), sum(self.bad, bad, rows))
    }

    /// Puts `tally` in place of the counts of minute `row`.
    pub(super) fn set(&mut self, row: usize, tally: Tally) {
        if Width::of(tally.good) > self.good || Width::of(tally.bad) > self.bad {
            let mut counts = self.unpack();
            (counts.good[row], counts.bad[row]) = (tally.good, tally.bad);
            self.pack(&counts);
            return;
        }
        let (good, bad) = self.bytes.split_at_mut(self.good as usize * PAGE_MINUTES);
        set(self.good, good, row, tally.good);
        set(self.bad, bad, row, tally.bad);
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
        let (good, bad) = (self.good.max(Width::of(bits(&counts.good))), self.bad.max(Width::of(bits(&counts.bad))));
        if (good, bad) != (self.good, self.bad) {
            let length = (good as usize + bad as usize) * PAGE_MINUTES;
            (self.good, self.bad, self.bytes) = (good, bad, vec![0; length].into_boxed_slice());
        }
        let (good, bad) = self.bytes.split_at_mut(self.good as usize * PAGE_MINUTES);
        write(self.good, good, &counts.good);
        write(self.bad, bad, &counts.bad);
    }

    fn unpack(&self) -> HourCounts {
        let mut counts = HourCounts::ZERO;
        let (good, bad) = self.lanes();
        read(self.good, good, &mut counts.good);
        read(self.bad, bad, &mut counts.bad);
        counts
    }

    fn lanes(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.good as usize * PAGE_MINUTES)
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

impl Width {
    fn of(count: u64) -> Self {
        match count {
            0 => Self::None,
            1..=0xff => Self::One,
            0x100..=0xffff => Self::Two,
            0x1_0000..=0xffff_ffff => Self::Four,
            _ => Self::Eight,
        }
    }
}

// The five functions below are one loop each, written out by width, so that the compiler sees fixed-size integers and
// turns each into a few vector instructions.

fn get(width: Width, lane: &[u8], row: usize) -> u64 {
    match width {
        Width::None => 0,
        Width::One => u64::from(lane[row]),
        Width::Two => u64::from(u16::from_le_bytes(lane.as_chunks().0[row])),
        Width::Four => u64::from(u32::from_le_bytes(lane.as_chunks().0[row])),
        Width::Eight => u64::from_le_bytes(lane.as_chunks().0[row]),
    }
}

fn sum(width: Width, lane: &[u8], rows: Range<usize>) -> u64 {
    match width {
        Width::None => 0,
        Width::One => lane[rows].iter().map(|count| u64::from(*count)).sum(),
        Width::Two => lane.as_chunks().0[rows].iter().map(|count| u64::from(u16::from_le_bytes(*count))).sum(),
        Width::Four => lane.as_chunks().0[rows].iter().map(|count| u64::from(u32::from_le_bytes(*count))).sum(),
        Width::Eight => {
            let counts = lane.as_chunks().0[rows].iter().map(|count| u64::from_le_bytes(*count));
            counts.fold(0, u64::saturating_add)
        }
    }
}

/// The count fits the width, which the caller has seen to.
fn set(width: Width, lane: &mut [u8], row: usize, count: u64) {
    match width {
        Width::None => {}
        Width::One => lane[row] = count as u8,
        Width::Two => lane.as_chunks_mut().0[row] = (count as u16).to_le_bytes(),
        Width::Four => lane.as_chunks_mut().0[row] = (count as u32).to_le_bytes(),
        Width::Eight => lane.as_chunks_mut().0[row] = count.to_le_bytes(),
    }
}

fn read(width: Width, lane: &[u8], counts: &mut [u64; PAGE_MINUTES]) {
    let counts = counts.iter_mut();
    match width {
        Width::None => {}
        Width::One => counts.zip(lane).for_each(|(count, byte)| *count = u64::from(*byte)),
        Width::Two => {
            let places = counts.zip(lane.as_chunks().0);
            places.for_each(|(count, place)| *count = u64::from(u16::from_le_bytes(*place)));
        }
        Width::Four => {
            let places = counts.zip(lane.as_chunks().0);
            places.for_each(|(count, place)| *count = u64::from(u32::from_le_bytes(*place)));
        }
        Width::Eight => {
            let places = counts.zip(lane.as_chunks().0);
            places.for_each(|(count, place)| *count = u64::from_le_bytes(*place));
        }
    }
}

fn write(width: Width, lane: &mut [u8], counts: &[u64; PAGE_MINUTES]) {
    match width {
        Width::None => {}
        Width::One => lane.iter_mut().zip(counts).for_each(|(byte, count)| *byte = *count as u8),
        Width::Two => {
            let places = lane.as_chunks_mut().0.iter_mut();
            places.zip(counts).for_each(|(place, count)| *place = (*count as u16).to_le_bytes());
        }
        Width::Four => {
            let places = lane.as_chunks_mut().0.iter_mut();
            places.zip(counts).for_each(|(place, count)| *place = (*count as u32).to_le_bytes());
        }
        Width::Eight => {
            let places = lane.as_chunks_mut().0.iter_mut();
            places.zip(counts).for_each(|(place, count)| *place = count.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_hour_takes_sixty_bytes_and_an_empty_one_none() {
        let mut packed = Packed::default();
        assert_eq!(packed.bytes.len(), 0);
        packed.add(&HourCounts { good: [255; PAGE_MINUTES], bad: [0; PAGE_MINUTES] });
        assert_eq!(packed.bytes.len(), 60);
        packed.set(59, Tally::new(255, 1));
        assert_eq!(packed.bytes.len(), 120);
        packed.set(0, Tally::new(256, 1));
        assert_eq!(packed.bytes.len(), 180);
        assert_eq!((packed.get(0), packed.get(1), packed.get(59)).0, Tally::new(256, 1));
        assert_eq!((packed.get(1), packed.get(59)), (Tally::new(255, 0), Tally::new(255, 1)));
    }

    #[test]
    fn every_width_holds_its_largest_count() {
        for count in [0, 1, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX] {
            for row in [0, 1, 59] {
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
}
