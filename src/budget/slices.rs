//! Slices: stretches of time that are judged as a whole.
//!
//! A percentile or a rate is a property of a stretch of time, not of a request. Such an SLI cuts time into slices of
//! equal length, aligned to the epoch, and each slice is one event, good or bad. The verdict comes from counts alone:
//! a percentile is within its threshold exactly when enough requests are.
//!
//! - A slice belongs to a window when its first minute does.
//! - A slice is judged once it has ended; a late request changes the verdict of its slice.
//! - A percentile of nothing is nothing: a slice without traffic is no event. A rate of nothing is 0.

use crate::spec::{Percentile, Sli};
use crate::tally::Tally;
use crate::time::{Horizon, Minute, Timestamp};

/// How the slices of an SLI are cut and judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceRule {
    /// Enough of the requests are within the threshold.
    Percentile {
        /// How many are enough.
        percentile: Percentile,
        /// The length of a slice.
        slice: Horizon,
    },
    /// There are enough requests.
    Throughput {
        /// Millionths of a request per second.
        minimum_millionths: u64,
        /// The length of a slice.
        slice: Horizon,
    },
}

impl SliceRule {
    /// The rule of an SLI; `None` for the kinds that count requests.
    pub fn of(sli: &Sli) -> Option<Self> {
        match sli {
            // A gauge's slices are judged by whoever sees its samples, and arrive as events.
            Sli::Availability { .. }
            | Sli::Latency { .. }
            | Sli::Ratio { .. }
            | Sli::Histogram { .. }
            | Sli::Gauge { .. } => None,
            Sli::Percentile { percentile, slice, .. } => {
                Some(Self::Percentile { percentile: *percentile, slice: *slice })
            }
            Sli::Throughput { minimum_millionths, slice } => {
                Some(Self::Throughput { minimum_millionths: *minimum_millionths, slice: *slice })
            }
        }
    }

    /// The length of a slice.
    pub fn slice(self) -> Horizon {
        match self {
            Self::Percentile { slice, .. } | Self::Throughput { slice, .. } => slice,
        }
    }

    /// The verdict on a slice that saw these requests: one good event, one bad event, or none.
    pub fn judge(self, requests: Tally) -> Tally {
        let kept = match self {
            Self::Percentile { .. } if requests.is_empty() => return Tally::ZERO,
            Self::Percentile { percentile, .. } => requests.good >= percentile.needed_of(requests.total()),
            Self::Throughput { minimum_millionths, slice } => {
                let seen = u128::from(requests.total()) * 1_000_000;
                seen >= u128::from(minimum_millionths) * slice.seconds() as u128
            }
        };
        if kept { Tally::new(1, 0) } else { Tally::new(0, 1) }
    }

    /// The first minute of the slice that holds `minute`.
    pub fn start_of(self, minute: Minute) -> Minute {
        minute.plus(-minute.number().rem_euclid(self.slice().minutes()))
    }

    /// The first minute of the newest slice that has ended by `t`.
    pub fn last_ended(self, t: Timestamp) -> Minute {
        self.start_of(t.minute()).plus(-self.slice().minutes())
    }

    /// How many slices have their first minute from `first` to `last`, both included.
    pub fn count(self, first: Minute, last: Minute) -> u64 {
        let length = self.slice().minutes();
        // The first minutes are the multiples of the length; the number of them up to and including a minute is, but
        // for a constant, the minute divided by the length.
        let slices = last.number().div_euclid(length) - (first.number() - 1).div_euclid(length);
        u64::try_from(slices).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Tally = Tally::new(1, 0);
    const BAD: Tally = Tally::new(0, 1);

    fn percentile(millionths: u64, slice: u32) -> SliceRule {
        SliceRule::Percentile { percentile: Percentile::new(millionths).unwrap(), slice: Horizon::of_minutes(slice) }
    }

    fn throughput(minimum_millionths: u64, slice: u32) -> SliceRule {
        SliceRule::Throughput { minimum_millionths, slice: Horizon::of_minutes(slice) }
    }

    #[test]
    fn one_request_decides_a_percentile() {
        for (good, bad, verdict) in [(99, 1, GOOD), (98, 2, BAD), (1, 0, GOOD), (0, 1, BAD), (0, 0, Tally::ZERO)] {
            assert_eq!(percentile(99_000_000, 1).judge(Tally::new(good, bad)), verdict, "{good} and {bad}");
        }
    }

    #[test]
    fn one_request_decides_a_rate() {
        // 0.5 per second over 5 minutes are 150 requests.
        for (requests, verdict) in [(150, GOOD), (149, BAD), (0, BAD), (u64::MAX, GOOD)] {
            assert_eq!(throughput(500_000, 5).judge(Tally::new(requests, 0)), verdict, "{requests}");
        }
        assert_eq!(throughput(1, 1).judge(Tally::new(1, 0)), GOOD);
        assert_eq!(throughput(u64::MAX, u32::MAX).judge(Tally::new(u64::MAX, 0)), BAD);
    }

    #[test]
    fn slices_are_aligned_to_the_epoch_whatever_their_length() {
        for (length, minute, start) in [(1, 59, 59), (7, 13, 7), (7, 14, 14), (60, -1, -60), (7, -1, -7), (7, 0, 0)] {
            let rule = percentile(1, length);
            assert_eq!(rule.start_of(Minute::from_number(minute)).number(), start, "{length} at {minute}");
        }
    }

    #[test]
    fn a_slice_is_judged_once_it_has_ended_and_not_a_millisecond_before() {
        let rule = percentile(1, 7);
        for (millis, start) in [(14 * 60_000 - 1, 0), (14 * 60_000, 7), (21 * 60_000 - 1, 7), (0, -7), (-1, -14)] {
            assert_eq!(rule.last_ended(Timestamp::from_millis(millis)).number(), start, "{millis}");
        }
    }

    #[test]
    fn counted_slices_are_those_whose_first_minute_is_inside() {
        for length in [1, 7, 60, 61] {
            for first in -70..70 {
                for last in first - 3..first + 130 {
                    let expected = (first..=last).filter(|minute| minute % i64::from(length) == 0).count() as u64;
                    let count = percentile(1, length).count(Minute::from_number(first), Minute::from_number(last));
                    assert_eq!(count, expected, "slices of {length} in {first}..={last}");
                }
            }
        }
    }
}
