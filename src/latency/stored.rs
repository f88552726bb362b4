//! Slots as stores keep them: the V2 deflate encoding that every HdrHistogram library reads.

use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use crate::counts::{Cells, DIGITS, LONGEST_US, bucket_of};
use crate::latency::histogram_of;

/// Bytes that are not a histogram of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("they are no V2 histogram of durations")]
pub struct Unreadable;

/// The bytes of these counts, ascending and none of them zero. Counts above 2^63 - 1 are written as that.
pub fn encode(cells: &[(u16, u64)]) -> Vec<u8> {
    let most = |(bucket, count): &(u16, u64)| (*bucket, (*count).min(i64::MAX as u64));
    let mut bytes = Vec::new();
    let written =
        V2DeflateSerializer::new().serialize(&histogram_of(&cells.iter().map(most).collect::<Vec<_>>()), &mut bytes);
    written.expect("a histogram of this size can be written to memory");
    bytes
}

/// The counts that the bytes stand for.
///
/// # Errors
/// When they do not stand for counts in the buckets of this program.
pub fn decode(mut bytes: &[u8]) -> Result<Cells, Unreadable> {
    let histogram = Deserializer::new().deserialize::<u64, _>(&mut bytes).map_err(|_| Unreadable)?;
    if (histogram.low(), histogram.high(), histogram.sigfig()) != (1, LONGEST_US, DIGITS) {
        return Err(Unreadable);
    }
    let steps = histogram.iter_recorded();
    Ok(steps.map(|step| (bucket_of(step.value_iterated_to()), step.count_at_value())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::BUCKETS;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            cells in proptest::collection::btree_map(0..BUCKETS as u16, 1..=i64::MAX as u64, 0..100),
        ) {
            let cells: Cells = cells.into_iter().collect();
            prop_assert_eq!(decode(&encode(&cells)), Ok(cells));
        }

        #[test]
        fn other_bytes_are_refused(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&bytes), Err(Unreadable));
        }
    }

    #[test]
    fn a_damaged_histogram_is_refused() {
        let whole = encode(&[(5, 1), (4_000, 7)]);
        assert_eq!(decode(&whole[..whole.len() - 6]), Err(Unreadable));
        let other = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1_000, 3).unwrap();
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&other, &mut bytes).unwrap();
        assert_eq!(decode(&bytes), Err(Unreadable));
    }
}
