//! A slot in as few bytes as it needs.
//!
//! Durations of one set of requests lie close together, and most buckets of an ordinary hour saw one request or a few.
//! A slot is a sequence of little-endian base-128 integers (7 bits a byte, the highest bit says that more follow): for
//! each bucket that saw requests, ascending, the distance from the one before, doubled, with the lowest bit for whether
//! there was more than one; and then how many, if there was.

use crate::counts::{BUCKETS, Cells, sum_of_cells};

/// Counts of buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    /// These counts, ascending and none of them zero.
    pub(super) fn of(cells: &[(u16, u64)]) -> Self {
        let mut bytes = Vec::with_capacity(cells.len() * 3);
        let mut next = 0;
        for (bucket, count) in cells {
            write(&mut bytes, u64::from(bucket - next) << 1 | u64::from(*count > 1));
            if *count > 1 {
                write(&mut bytes, *count);
            }
            next = bucket + 1;
        }
        Self(bytes.into())
    }

    /// Adds counts.
    pub(super) fn add(&mut self, cells: &[(u16, u64)]) {
        *self = match self.0.is_empty() {
            true => Self::of(cells),
            false => Self::of(&sum_of_cells(&self.cells(), cells)),
        };
    }

    /// Adds these counts to a sum that has all buckets.
    pub(super) fn add_to(&self, sum: &mut [u64]) {
        self.each(|bucket, count| {
            let sum = &mut sum[usize::from(bucket) % BUCKETS];
            *sum = sum.saturating_add(count);
        });
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The counts, ascending.
    pub(super) fn cells(&self) -> Cells {
        let mut cells = Vec::new();
        self.each(|bucket, count| cells.push((bucket, count)));
        cells
    }

    #[inline(always)]
    fn each(&self, mut each: impl FnMut(u16, u64)) {
        let mut bytes = self.0.iter();
        let mut next = 0;
        while let Some(first) = read(&mut bytes) {
            let bucket = next + (first >> 1) as u16;
            let count = if first & 1 == 1 { read(&mut bytes).unwrap_or(0) } else { 1 };
            each(bucket, count);
            next = bucket + 1;
        }
    }
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// What [`write`] wrote; `None` at the end.
#[inline(always)]
fn read(bytes: &mut std::slice::Iter<'_, u8>) -> Option<u64> {
    let first = *bytes.next()?;
    let mut number = u64::from(first & 0x7f);
    let (mut more, mut shift) = (first >= 0x80, 7);
    while more {
        let byte = *bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        (more, shift) = (byte >= 0x80, shift + 7);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn cells() -> impl Strategy<Value = Cells> {
        let count = prop_oneof![Just(1), 1..300u64, Just(u64::MAX)];
        let cells = proptest::collection::btree_map(0..BUCKETS as u16, count, 0..200);
        cells.prop_map(|cells| cells.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_is_packed_adds_up(one in cells(), other in cells()) {
            let mut packed = Packed::of(&one);
            prop_assert_eq!(packed.cells(), one.clone());
            packed.add(&other);
            let mut sum: BTreeMap<u16, u64> = one.into_iter().collect();
            for (bucket, count) in other {
                let sum = sum.entry(bucket).or_default();
                *sum = sum.saturating_add(count);
            }
            prop_assert_eq!(packed.cells(), sum.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_request_in_a_neighbouring_bucket_takes_a_byte() {
        let cells: Cells = (1_500..1_700).map(|bucket| (bucket, 1)).collect();
        assert_eq!(Packed::of(&cells).bytes(), 201);
    }
}
