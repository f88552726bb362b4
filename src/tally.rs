//! Tallies: how many were good, how many were bad.
//!
//! The currency of every room below. A tally holds the two counts that were observed and derives the total, so that no
//! tally can claim more good events than events. Ratios are computed when somebody asks and are never stored: sums of
//! counts are exact, averages of ratios are not.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Counts of good and bad events.
///
/// Additions saturate at `u64::MAX` instead of wrapping: at a billion events a second that is 584 years of counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    /// Events that kept the promise.
    pub good: u64,
    /// Events that broke it.
    pub bad: u64,
}

impl Tally {
    /// Nothing happened.
    pub const ZERO: Self = Self { good: 0, bad: 0 };

    /// A tally of these counts.
    pub const fn new(good: u64, bad: u64) -> Self {
        Self { good, bad }
    }

    /// All events, good and bad.
    pub const fn total(self) -> u64 {
        self.good.saturating_add(self.bad)
    }

    /// Whether nothing happened.
    pub const fn is_empty(self) -> bool {
        self.good == 0 && self.bad == 0
    }

    /// The share of good events, 0 to 1; `None` when nothing happened.
    pub fn compliance(self) -> Option<f64> {
        (!self.is_empty()).then(|| self.good as f64 / self.total() as f64)
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { good: self.good.saturating_add(other.good), bad: self.bad.saturating_add(other.bad) }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_compliance() {
        assert_eq!(Tally::ZERO.compliance(), None);
        assert_eq!(Tally::new(0, 1).compliance(), Some(0.0));
        assert_eq!(Tally::new(3, 1).compliance(), Some(0.75));
    }

    #[test]
    fn sums_saturate_instead_of_wrapping() {
        let full = Tally::new(u64::MAX, 1) + Tally::new(1, 1);
        assert_eq!((full.good, full.bad, full.total()), (u64::MAX, 2, u64::MAX));
    }
}
