//! Slots as stores keep them: cells in the V2 deflate encoding that every HdrHistogram library reads, and ranges as
//! little-endian numbers behind a mark that no histogram begins with: the two bounds as doubles, and how many.

use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use crate::counts::{MOST_RANGES, Range, Ranges, Took};
use crate::increase::Bound;
use crate::latency::histogram_of;
use crate::latency::v2;

/// Bytes that are not a histogram of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("they are no histogram of durations")]
pub struct Unreadable;

/// What ranges begin with; an HdrHistogram begins with 0x1c.
const RANGES: &[u8] = b"le01";
const RANGE_BYTES: usize = 24;

/// The bytes of these counts, ascending and none of them zero. Counts above 2^63 - 1 are written as that.
pub fn encode(took: &Took) -> Vec<u8> {
    match took {
        Took::Cells(cells) => encode_cells(cells),
        Took::Ranges(ranges) => encode_ranges(ranges),
    }
}

/// Reads what [`encode`] wrote, one after the other.
#[derive(Debug, Default)]
pub struct Decoder(v2::Reader);

impl Decoder {
    /// The counts that the bytes stand for.
    ///
    /// # Errors
    /// When they do not stand for counts in the buckets of this program, or between bounds.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Took, Unreadable> {
        let took = match bytes.strip_prefix(RANGES) {
            Some(ranges) => decode_ranges(ranges).map(Took::Ranges),
            None => self.0.cells(bytes).map(Took::Cells),
        };
        took.ok_or(Unreadable)
    }
}

fn encode_ranges(ranges: &[(Range, i64)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RANGES.len() + ranges.len() * RANGE_BYTES);
    bytes.extend_from_slice(RANGES);
    for (Range { above, within }, count) in ranges {
        bytes.extend_from_slice(&above.value().to_le_bytes());
        bytes.extend_from_slice(&within.value().to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    bytes
}

/// What [`encode_ranges`] wrote; `None` for anything that it does not write.
fn decode_ranges(bytes: &[u8]) -> Option<Ranges> {
    let (rows, []) = bytes.as_chunks::<RANGE_BYTES>() else { return None };
    let ranges: Ranges = rows.iter().map(decode_range).collect::<Option<_>>()?;
    let ascends = ranges.is_sorted_by(|(one, _), (next, _)| one < next);
    (ascends && ranges.len() <= MOST_RANGES).then_some(ranges)
}

fn decode_range(row: &[u8; RANGE_BYTES]) -> Option<(Range, i64)> {
    let (words, _) = row.as_chunks::<8>();
    let bound = |word: [u8; 8]| Bound::new(f64::from_le_bytes(word));
    let range = Range { above: bound(words[0])?, within: bound(words[1])? };
    let count = i64::from_le_bytes(words[2]);
    (range.above <= range.within && count != 0).then_some((range, count))
}

pub(super) fn encode_cells(cells: &[(u16, u64)]) -> Vec<u8> {
    let most = |(bucket, count): &(u16, u64)| (*bucket, (*count).min(i64::MAX as u64));
    let mut bytes = Vec::new();
    let written =
        V2DeflateSerializer::new().serialize(&histogram_of(&cells.iter().map(most).collect::<Vec<_>>()), &mut bytes);
    written.expect("a histogram of this size can be written to memory");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::{BUCKETS, Cells};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn decode(bytes: &[u8]) -> Result<Took, Unreadable> {
        Decoder::default().decode(bytes)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            cells in proptest::collection::btree_map(0..BUCKETS as u16, 1..=i64::MAX as u64, 0..100),
        ) {
            let cells: Cells = cells.into_iter().collect();
            let took = Took::Cells(cells);
            prop_assert_eq!(decode(&encode(&took)), Ok(took));
        }

        #[test]
        fn ranges_that_are_encoded_are_decoded(
            ranges in proptest::collection::btree_map((0..9u64, 0..9u64), prop_oneof![-5..0i64, 1..=i64::MAX], 0..40),
        ) {
            let range = |((from, width), count)| {
                let within = if width == 0 { Bound::INFINITE } else { Bound::of_micros(from + width) };
                (Range { above: Bound::of_micros(from), within }, count)
            };
            let ranges: BTreeMap<Range, i64> = ranges.into_iter().map(range).collect();
            let took = Took::Ranges(ranges.into_iter().collect());
            let bytes = encode(&took);
            prop_assert_eq!(decode(&bytes), Ok(took));
            prop_assert_eq!(decode(&bytes[..bytes.len() - 1]), Err(Unreadable));
        }

        #[test]
        fn other_bytes_are_refused(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&bytes), Err(Unreadable));
        }

        #[test]
        fn whatever_is_read_as_ranges_can_be_written_again(rows in proptest::collection::vec(any::<[u8; 24]>(), 0..3)) {
            let bytes = [RANGES, &rows.concat()].concat();
            if let Ok(took) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&took)), Ok(took));
            }
        }
    }

    #[test]
    fn ranges_that_nobody_writes_are_refused() {
        let range = |above: f64, within: f64, count: i64| {
            [above.to_le_bytes(), within.to_le_bytes(), count.to_le_bytes()].concat()
        };
        let sound = range(0.0, 0.5, 1);
        let too_many: Vec<u8> = (0..=MOST_RANGES).flat_map(|place| range(place as f64, f64::INFINITY, 1)).collect();
        for (rows, is_sound) in [
            (sound.clone(), true),
            ([sound.clone(), range(0.5, f64::INFINITY, -1)].concat(), true),
            ([sound.clone(), sound].concat(), false),
            (range(f64::NAN, 0.5, 1), false),
            (range(0.5, 0.1, 1), false),
            (range(0.1, 0.5, 0), false),
            (too_many, false),
        ] {
            assert_eq!(decode(&[RANGES, &rows].concat()).is_ok(), is_sound, "{rows:?}");
        }
    }

    #[test]
    fn a_damaged_histogram_is_refused() {
        let whole = encode(&Took::Cells(vec![(5, 1), (4_000, 7)]));
        assert_eq!(decode(&whole[..whole.len() - 6]), Err(Unreadable));
        let other = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1_000, 3).unwrap();
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&other, &mut bytes).unwrap();
        assert_eq!(decode(&bytes), Err(Unreadable));
    }
}
