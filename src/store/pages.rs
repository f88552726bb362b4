//! Counts as bytes: a page holds the counts of one minute or hour, or the totals, of up to [`SERIES`] neighbouring
//! series.
//!
//! Most minutes of most series see a few requests and not one bad one; such a count takes two bytes. Everything is a
//! sequence of little-endian base-128 integers (7 bits a byte, the highest bit says that more follow). An entry is the
//! distance from the entry before, doubled, with the lowest bit for whether its last part follows: the bad count of a
//! minute, the newest event of a total. The counts of an hour are packed as they are in memory, and no part of them is
//! ever missing.
//!
//! Reading checks everything: numbers that do not fit, pages that end in the middle, series that belong to another
//! page.

use crate::engine::{SeriesId, Totals};
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::window::{HourCounts, PADDING, PackedHour};

/// How many series a page is for.
pub(super) const SERIES: u32 = 256;

/// The page of a series.
pub(super) fn page_of(series: SeriesId) -> u32 {
    series.0 / SERIES
}

/// Bytes that are not a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Writes the counts of one page, ascending and none of them empty.
pub(super) fn write_counts(counts: &[(SeriesId, Tally)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(counts.len() * 3);
    let mut next = counts.first().map_or(0, |(series, _)| page_of(*series) * SERIES);
    for (series, tally) in counts {
        write(&mut bytes, u64::from(series.0 - next) << 1 | u64::from(tally.bad > 0));
        write(&mut bytes, tally.good);
        if tally.bad > 0 {
            write(&mut bytes, tally.bad);
        }
        next = series.0 + 1;
    }
    bytes
}

/// Reads the counts of page number `page` behind those in `counts`.
pub(super) fn read_counts(page: u32, bytes: &[u8], counts: &mut Vec<(SeriesId, Tally)>) -> Result<(), Unreadable> {
    let mut reader = Reader::new(page, bytes);
    while let Some((series, has_bad)) = reader.next_series()? {
        let good = reader.number()?;
        let bad = if has_bad { reader.number()? } else { 0 };
        counts.push((series, Tally::new(good, bad)));
    }
    Ok(())
}

/// Writes the counts of one page over an hour, ascending.
pub(super) fn write_hours<'c>(counts: impl IntoIterator<Item = (&'c SeriesId, &'c HourCounts)>) -> Vec<u8> {
    let (mut bytes, mut next) = (Vec::new(), None);
    for (series, counts) in counts {
        let from = next.unwrap_or_else(|| page_of(*series) * SERIES);
        write(&mut bytes, u64::from(series.0 - from) << 1);
        PackedHour::write(counts, &mut bytes);
        next = Some(series.0 + 1);
    }
    bytes.resize(bytes.len() + PADDING, 0);
    bytes
}

/// Reads the counts of page number `page` over an hour, behind those in `counts`.
pub(super) fn read_hours<'b>(
    page: u32,
    bytes: &'b [u8],
    counts: &mut Vec<(SeriesId, PackedHour<'b>)>,
) -> Result<(), Unreadable> {
    let mut reader = Reader::new(page, bytes);
    while reader.bytes.len() > PADDING {
        let (series, _) = reader.next_series()?.ok_or(Unreadable)?;
        let (hour, behind) = PackedHour::read(reader.bytes).ok_or(Unreadable)?;
        reader.bytes = behind;
        counts.push((series, hour));
    }
    Ok(())
}

/// Writes the totals of one page, ascending.
pub(super) fn write_totals(totals: &[Totals]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(totals.len() * 16);
    let mut next = totals.first().map_or(0, |totals| page_of(totals.series) * SERIES);
    for Totals { series, lifetime, newest } in totals {
        write(&mut bytes, u64::from(series.0 - next) << 1 | u64::from(newest.is_some()));
        write(&mut bytes, lifetime.good);
        write(&mut bytes, lifetime.bad);
        if let Some(newest) = newest {
            let millis = newest.millis();
            // The sign goes to the lowest bit, so that small numbers of either sign are short.
            write(&mut bytes, (millis << 1 ^ millis >> 63) as u64);
        }
        next = series.0 + 1;
    }
    bytes
}

/// Reads the totals of page number `page` behind those in `totals`.
pub(super) fn read_totals(page: u32, bytes: &[u8], totals: &mut Vec<Totals>) -> Result<(), Unreadable> {
    let mut reader = Reader::new(page, bytes);
    while let Some((series, has_newest)) = reader.next_series()? {
        let lifetime = Tally::new(reader.number()?, reader.number()?);
        let newest = if has_newest { Some(reader.number()?) } else { None };
        let millis = |number: u64| (number >> 1) as i64 ^ -((number & 1) as i64);
        totals.push(Totals { series, lifetime, newest: newest.map(|number| Timestamp::from_millis(millis(number))) });
    }
    Ok(())
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

struct Reader<'b> {
    bytes: &'b [u8],
    next: u32,
    end: u32,
}

impl<'b> Reader<'b> {
    fn new(page: u32, bytes: &'b [u8]) -> Self {
        let next = page.saturating_mul(SERIES);
        Self { bytes, next, end: next.saturating_add(SERIES) }
    }

    /// The next series of the page and whether its last part follows; `None` at the end.
    fn next_series(&mut self) -> Result<Option<(SeriesId, bool)>, Unreadable> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let number = self.number()?;
        let distance = u32::try_from(number >> 1).map_err(|_| Unreadable)?;
        let series = self.next.checked_add(distance).filter(|series| *series < self.end).ok_or(Unreadable)?;
        self.next = series + 1;
        Ok(Some((SeriesId(series), number & 1 == 1)))
    }

    /// The next number. Whether a count has one byte or two is anybody's guess, so those two are read without a branch.
    #[inline(always)]
    fn number(&mut self) -> Result<u64, Unreadable> {
        let Some([first, second]) = self.bytes.first_chunk().copied() else { return self.long_number() };
        if first & second >= 0x80 {
            return self.long_number();
        }
        let has_second = u64::from(first >> 7);
        self.bytes = &self.bytes[1 + has_second as usize..];
        Ok(u64::from(first & 0x7f) | (u64::from(second) * has_second) << 7)
    }

    #[cold]
    fn long_number(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.bytes.split_first().ok_or(Unreadable)?;
            self.bytes = rest;
            let bits = u64::from(byte & 0x7f);
            if bits.leading_zeros() < shift {
                return Err(Unreadable);
            }
            number |= bits << shift;
            if *byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(1), Just(0x7f), Just(0x80), Just(u64::MAX), any::<u64>(), 0..300u64]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            page in 0..3u32,
            rows in proptest::collection::btree_map(0..SERIES, (numbers(), numbers(), any::<Option<i64>>()), 0..SERIES as usize),
        ) {
            let series = |offset: &u32| SeriesId(page * SERIES + offset);
            let counts: Vec<_> = rows.iter().map(|(at, (good, bad, _))| (series(at), Tally::new(*good, *bad))).collect();
            let mut read = Vec::new();
            prop_assert_eq!(read_counts(page, &write_counts(&counts), &mut read), Ok(()));
            prop_assert_eq!(read, counts);

            let hour = |good: &u64, bad: &u64| {
                let mut hour = HourCounts::ZERO;
                (hour.good[*good as usize % 60], hour.bad[*bad as usize % 60]) = (*good, *bad);
                hour
            };
            let hours: Vec<_> = rows.iter().map(|(at, (good, bad, _))| (series(at), hour(good, bad))).collect();
            let bytes = write_hours(hours.iter().map(|(series, hour)| (series, hour)));
            let mut read = Vec::new();
            prop_assert_eq!(read_hours(page, &bytes, &mut read), Ok(()));
            let read: Vec<_> = read.into_iter().map(|(series, hour)| (series, hour.counts())).collect();
            prop_assert_eq!(read, hours);

            let newest = |millis: &Option<i64>| millis.map(Timestamp::from_millis);
            let totals = rows.iter().map(|(at, (good, bad, millis))| {
                Totals { series: series(at), lifetime: Tally::new(*good, *bad), newest: newest(millis) }
            });
            let totals: Vec<_> = totals.collect();
            let mut read = Vec::new();
            prop_assert_eq!(read_totals(page, &write_totals(&totals), &mut read), Ok(()));
            prop_assert_eq!(read, totals);
        }

        #[test]
        fn any_bytes_are_read_or_refused(page in any::<u32>(), bytes: Vec<u8>) {
            let mut counts = Vec::new();
            if read_counts(page, &bytes, &mut counts).is_ok() {
                prop_assert!(counts.iter().all(|(series, _)| page_of(*series) == page));
                prop_assert!(counts.is_sorted_by(|a, b| a.0 < b.0));
            }
            prop_assert!(read_totals(page, &bytes, &mut Vec::new()).is_ok() || !bytes.is_empty());
            let mut hours = Vec::new();
            if read_hours(page, &bytes, &mut hours).is_ok() {
                prop_assert!(hours.iter().all(|(series, _)| page_of(*series) == page));
                prop_assert!(hours.is_sorted_by(|a, b| a.0 < b.0));
                prop_assert!(hours.iter().all(|(_, hour)| hour.counts().sum() == hour.sum()));
            }
        }
    }

    #[test]
    fn hours_keep_their_shape() {
        let mut counts = HourCounts::ZERO;
        (counts.good[0], counts.good[1], counts.bad[59]) = (5, 2, 1);
        let hours = [(SeriesId(257), HourCounts::ZERO), (SeriesId(259), counts)];
        let bytes = write_hours(hours.iter().map(|(series, hour)| (series, hour)));
        let (mut good, mut bad) = (vec![0; 23], vec![0; 8]);
        // Three bits a good count, one a bad one.
        (good[0], bad[7]) = (5 | 2 << 3, 1 << 3);
        let expected = [vec![2, 0, 0], vec![2, 3, 1], good, bad, vec![0; 7]].concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_ordinary_count_takes_two_bytes() {
        let counts: Vec<_> = (256..512).map(|series| (SeriesId(series), Tally::new(100, 0))).collect();
        assert_eq!(write_counts(&counts).len(), 512);
    }
}
