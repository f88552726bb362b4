//! Reading histograms in the V2 deflate encoding of HdrHistogram, straight into cells.
//!
//! The hdrhistogram crate reads them as well, into a histogram of all 4,096 buckets that is then walked through. A
//! start reads a hundred thousand of them, which took 10 microseconds each that way and 2 with this, and was most of
//! the time until it was ready. The crate still writes them, and is what the tests compare with.
//!
//! The encoding (`EncodableHistogram` and `ZigZagEncoding` of HdrHistogram): a mark and a length, then zlib; in it a
//! mark, the length of the counts, an offset, the digits, the lowest and the highest value and a ratio, all with the
//! highest byte first; then the counts of the buckets in order, each a ZigZag LEB128 number whose ninth byte has all
//! its bits, where a negative number stands for so many empty buckets.

use flate2::{Decompress, FlushDecompress, Status};

use crate::counts::{BUCKETS, Cells, DIGITS, LONGEST_US};

const PACKED: u32 = 0x1c84_9314;
const PLAIN: u32 = 0x1c84_9313;
const HEADER_BYTES: usize = 40;
/// The longest histogram: nine bytes for every bucket.
const MOST_BYTES: usize = HEADER_BYTES + 9 * BUCKETS;

/// Reads one histogram after the other, and keeps the memory that this takes.
#[derive(Debug)]
pub(super) struct Reader {
    inflate: Decompress,
    plain: Box<[u8]>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { inflate: Decompress::new(true), plain: vec![0; MOST_BYTES].into() }
    }
}

impl Reader {
    /// The buckets that saw requests; `None` when the bytes are not a histogram with the buckets of this program.
    pub(super) fn cells(&mut self, bytes: &[u8]) -> Option<Cells> {
        let (head, zlib) = bytes.split_first_chunk::<8>()?;
        let (mark, length) = (be32(&head[..4]), be32(&head[4..]));
        if mark != PACKED || length as usize != zlib.len() {
            return None;
        }
        self.inflate.reset(true);
        let status = self.inflate.decompress(zlib, &mut self.plain, FlushDecompress::Finish).ok()?;
        if status != Status::StreamEnd || self.inflate.total_in() != zlib.len() as u64 {
            return None;
        }
        let plain = &self.plain[..usize::try_from(self.inflate.total_out()).ok()?];
        let (header, counts) = plain.split_first_chunk::<HEADER_BYTES>()?;
        if *header != self::header(u32::try_from(counts.len()).ok()?) {
            return None;
        }
        cells(counts)
    }
}

/// What stands before counts of this length.
fn header(length: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let words = [PLAIN, length, 0, u32::from(DIGITS)];
    header.as_chunks_mut().0.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_be_bytes());
    let longs = [1, LONGEST_US, 1_f64.to_bits()];
    header[16..].as_chunks_mut().0.iter_mut().zip(longs).for_each(|(place, long)| *place = long.to_be_bytes());
    header
}

fn cells(mut counts: &[u8]) -> Option<Cells> {
    let mut cells = Cells::new();
    let mut bucket: usize = 0;
    while !counts.is_empty() {
        let number = number(&mut counts)?;
        match (number >> 1) as i64 ^ -((number & 1) as i64) {
            empty @ ..0 => bucket = bucket.checked_add(usize::try_from(empty.unsigned_abs()).ok()?)?,
            count => {
                if bucket >= BUCKETS {
                    return None;
                }
                if count > 0 {
                    cells.push((bucket as u16, count as u64));
                }
                bucket += 1;
            }
        }
    }
    Some(cells)
}

/// The next number; `None` when the bytes end in it.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..56).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(number | u64::from(*byte) << 56)
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::bucket_of;
    use crate::latency::histogram_of;
    use crate::latency::stored::encode_cells;
    use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
    use proptest::prelude::*;
    use std::io::Write;

    /// What the hdrhistogram crate reads.
    fn by_the_crate(mut bytes: &[u8]) -> Option<Cells> {
        let histogram = Deserializer::new().deserialize::<u64, _>(&mut bytes).ok()?;
        if (histogram.low(), histogram.high(), histogram.sigfig()) != (1, LONGEST_US, DIGITS) {
            return None;
        }
        let steps = histogram.iter_recorded();
        Some(steps.map(|step| (bucket_of(step.value_iterated_to()), step.count_at_value())).collect())
    }

    proptest! {
        #[test]
        fn it_reads_what_the_crate_reads(
            histograms in proptest::collection::vec(
                proptest::collection::btree_map(
                    0..BUCKETS as u16,
                    prop_oneof![1..300_u64, 1..=i64::MAX as u64],
                    0..100,
                ),
                1..4,
            ),
        ) {
            // One reader for all of them: nothing of one is left for the next.
            let mut reader = Reader::default();
            for cells in histograms {
                let cells: Cells = cells.into_iter().collect();
                let bytes = encode_cells(&cells);
                prop_assert_eq!(reader.cells(&bytes), by_the_crate(&bytes));
                prop_assert_eq!(reader.cells(&bytes), Some(cells));
                prop_assert_eq!(reader.cells(&bytes[..bytes.len() - 1]), None);
            }
        }

        #[test]
        fn it_reads_counts_of_any_bytes_as_the_crate_does_or_not_at_all(counts: Vec<u8>) {
            let plain = plain(&counts);
            let bytes = packed(&plain);
            if let Some(cells) = Reader::default().cells(&bytes) {
                prop_assert_eq!(by_the_crate(&bytes), Some(cells));
            }
        }
    }

    #[test]
    fn what_is_no_histogram_of_ours_is_refused() {
        let sound = plain(&[2, 4]);
        let check = |plain: &[u8], expected: Option<Cells>| {
            assert_eq!(Reader::default().cells(&packed(plain)), expected, "{plain:?}");
        };
        check(&sound, Some(vec![(0, 1), (1, 2)]));
        for place in 0..HEADER_BYTES {
            let mut other = sound.clone();
            other[place] ^= 1;
            check(&other, None);
        }
        // One bucket more than there are; a number without an end; no counts at all.
        check(&plain(&[&[0xff, 0x3f][..], &[2]].concat()), None);
        check(&plain(&[0x80]), None);
        check(&plain(&[]), Some(vec![]));
        check(&sound[..HEADER_BYTES - 1], None);
        check(&vec![0; MOST_BYTES + 1], None);
        assert_eq!(Reader::default().cells(&[packed(&sound), vec![0]].concat()), None);

        let mut bytes = Vec::new();
        let histogram = histogram_of(&[(7, 1)]);
        V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
        assert_eq!(Reader::default().cells(&bytes), Some(vec![(7, 1)]));
    }

    fn plain(counts: &[u8]) -> Vec<u8> {
        [&header(counts.len() as u32), counts].concat()
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(plain).unwrap();
        let zlib = zlib.finish().unwrap();
        [PACKED.to_be_bytes().to_vec(), (zlib.len() as u32).to_be_bytes().to_vec(), zlib].concat()
    }
}
