//! Sums over stretches of minutes of which each lies close to the one before.
//!
//! Whoever asks since when an alert has burnt goes back minute by minute, and wants to know at each of them what the
//! hour or the three days before it saw. From one such stretch to the next a minute comes in at one end and one goes
//! out at the other. A [`Sliding`] remembers the last stretch with its sum, and looks at those two minutes only.
//!
//! - Every sum is the one that [`Window::sum`] gives, whatever was asked before.
//! - A sum costs as many minutes as the ends have moved by. When an end has moved by more than [`FARTHEST`], or the
//!   stretches have no minute in common, it is made anew, so that it never costs much more than that.
//! - Nothing can be subtracted from a sum that has saturated: the next one is made anew as well.

use super::Window;
use super::packed::Lanes;
use crate::counts::PAGE_MINUTES;
use crate::tally::Tally;
use crate::time::Minute;

/// By how many minutes an end may have moved: a sum that is made anew looks at up to 59 of them at each end.
const FARTHEST: u64 = 30;

/// Sums over stretches of a window.
#[derive(Clone, Debug)]
pub struct Sliding<'w> {
    window: &'w Window,
    /// The first minute of the last stretch.
    first: i64,
    /// The first one after it.
    end: i64,
    /// What happened in it.
    sum: Tally,
    /// Where the stretch begins, and where it ends.
    edges: [Edge<'w>; 2],
}

impl<'w> Sliding<'w> {
    /// Begins with a stretch of no minutes.
    pub(super) fn new(window: &'w Window) -> Self {
        Self { window, first: 0, end: 0, sum: Tally::ZERO, edges: [Edge::at(window, 0); 2] }
    }

    /// The events from `first` to `last`, both included; nothing when `last` is before `first`.
    pub fn sum(&mut self, first: Minute, last: Minute) -> Tally {
        let (from, end) = (first.max(self.window.first_with(last)).number(), last.number() + 1);
        let has_saturated = self.sum.good == u64::MAX || self.sum.bad == u64::MAX;
        let is_near = self.first.abs_diff(from) <= FARTHEST && self.end.abs_diff(end) <= FARTHEST;
        let overlaps = self.first.max(from) < self.end.min(end);
        match is_near && overlaps && !has_saturated {
            true => self.slide(from, end),
            false => self.sum = self.window.sum(first, last),
        }
        (self.first, self.end) = (from, end);
        self.sum
    }

    /// Slides to a stretch that overlaps with the last one. What goes out goes first: it is a part of the sum, which
    /// has not saturated, and what comes in may make it saturate as any other sum.
    fn slide(&mut self, first: i64, end: i64) {
        let [beginning, ending] = &mut self.edges;
        let outgoing = [(&mut *beginning, self.first..first), (&mut *ending, end..self.end)];
        for (edge, minutes) in outgoing {
            for minute in minutes {
                let tally = edge.minute(self.window, minute);
                self.sum = Tally::new(self.sum.good - tally.good, self.sum.bad - tally.bad);
            }
        }
        let incoming = [(beginning, first..self.first), (ending, self.end..end)];
        for (edge, minutes) in incoming {
            for minute in minutes {
                self.sum += edge.minute(self.window, minute);
            }
        }
    }
}

/// The hour in which a stretch begins or ends, found once for all minutes of it.
#[derive(Clone, Copy, Debug)]
struct Edge<'w> {
    /// The first minute of the hour.
    start: i64,
    lanes: Lanes,
    /// From the lanes on.
    bytes: &'w [u8],
}

impl<'w> Edge<'w> {
    /// The hour of a minute.
    fn at(window: &'w Window, minute: i64) -> Self {
        let hour = minute.div_euclid(PAGE_MINUTES as i64);
        let (lanes, bytes) = window.hour(hour).unwrap_or_default();
        Self { start: hour * PAGE_MINUTES as i64, lanes, bytes }
    }

    /// The events of a minute, in whatever hour.
    #[inline(always)]
    fn minute(&mut self, window: &'w Window, minute: i64) -> Tally {
        if !(0..PAGE_MINUTES as i64).contains(&(minute - self.start)) {
            *self = Self::at(window, minute);
        }
        self.lanes.get(self.bytes, (minute - self.start) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Horizon;
    use proptest::prelude::*;

    /// A count, mostly a small one, and now and then one that makes sums saturate.
    fn count() -> impl Strategy<Value = u64> {
        prop_oneof![8 => 0..4u64, 1 => any::<u32>().prop_map(u64::from), 1 => Just(u64::MAX)]
    }

    /// Where the next stretch begins and ends, beside the last one: mostly a step away, at times anywhere.
    fn steps() -> impl Strategy<Value = (i64, i64)> {
        let step = || prop_oneof![4 => Just(-1i64), 2 => -3..4i64, 1 => -70..70i64, 1 => -6_000..6_000i64];
        prop_oneof![3 => step().prop_map(|step| (step, step)), 1 => (step(), step())]
    }

    proptest! {
        #[test]
        fn every_sum_is_the_one_that_is_made_anew(
            events in proptest::collection::vec((-4_000..4_000i64, count(), count()), 0..60),
            start in (-4_000..4_000i64, -10..3_000i64),
            steps in proptest::collection::vec(steps(), 1..60),
        ) {
            let mut window = Window::new(Horizon::of_minutes(2_000));
            for (minute, good, bad) in events {
                window.add(Minute::from_number(minute), Tally::new(good, bad));
            }
            let mut sliding = window.sliding();
            let (mut first, mut last) = (start.0, start.0 + start.1);
            for (step, last_step) in steps {
                (first, last) = (first + step, last + last_step);
                let (from, to) = (Minute::from_number(first), Minute::from_number(last));
                prop_assert_eq!(sliding.sum(from, to), window.sum(from, to), "{} to {}", first, last);
            }
        }
    }

    #[test]
    fn an_hour_goes_back_minute_by_minute() {
        let mut window = Window::new(Horizon::of_minutes(2_880));
        (0..2_880).for_each(|minute| window.add(Minute::from_number(minute), Tally::new(1 << (minute % 40), 1)));
        let mut sliding = window.sliding();
        for last in (0..3_000).rev().map(Minute::from_number) {
            let first = Horizon::of_minutes(60).first_minute(last);
            assert_eq!(sliding.sum(first, last), window.sum(first, last), "{last:?}");
        }
    }

    #[test]
    fn f18_a_sum_that_saturated_is_right_again_when_its_cause_is_gone() {
        let mut window = Window::new(Horizon::of_minutes(60));
        for (minute, good) in [(10, 7), (11, u64::MAX), (12, 5)] {
            window.add(Minute::from_number(minute), Tally::new(good, 0));
        }
        let mut sliding = window.sliding();
        let mut sum = |first, last| sliding.sum(Minute::from_number(first), Minute::from_number(last)).good;
        assert_eq!([sum(10, 12), sum(9, 11), sum(8, 10), sum(12, 14)], [u64::MAX, u64::MAX, 7, 5]);
    }
}
