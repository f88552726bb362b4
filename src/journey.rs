//! Journeys: several SLOs weighted into one indicator.
//!
//! A user who browses meets the home page, the search and the detail page; a journey says how they are doing together.
//! All members are weighed over the journey's own window, whatever window each promises for itself.
//!
//! - [`Aggregate::Requests`] weights counts: compliance = sum(w_i * good_i) / sum(w_i * total_i).
//! - [`Aggregate::Average`] weights compliances: sum(w_i * compliance_i) / sum(w_i), over the members with data.
//! - Budget and burn rate follow from the error ratio as for an SLO, see [`crate::budget`].
//!
//! Invariants:
//! - Weights are integers, so that weighted counts are exact; ratios appear only in what is shown.
//! - Whether the promise is kept is decided exactly for both aggregates, also for sums of fractions with different
//!   denominators (`sum_exceeds`).
//! - A member without data moves nothing; a journey in which nothing happened has no compliance and a whole budget.

use crate::budget::{State, budget_share, gcd, ratio};
use crate::spec::{Aggregate, BILLION, Journey, Objective};
use crate::tally::Tally;
use crate::time::Horizon;

/// What happened to a journey's members in one window, weighted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    aggregate: Aggregate,
    objective: Objective,
    /// In the order of the journey's members.
    members: Vec<Weight>,
}

/// One member: its weight, shortened by what all weights have in common, and what happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weight {
    weight: u64,
    tally: Tally,
}

impl Weight {
    /// Below 2^40 (a weight) times 2^65.
    fn total(self) -> u128 {
        u128::from(self.weight) * (u128::from(self.tally.good) + u128::from(self.tally.bad))
    }

    fn bad(self) -> u128 {
        u128::from(self.weight) * u128::from(self.tally.bad)
    }
}

impl Weighed {
    /// Weighs one tally per member, in the order of the members.
    ///
    /// # Panics
    /// When there is not exactly one tally per member.
    pub fn new(journey: &Journey, tallies: &[Tally]) -> Self {
        assert_eq!(journey.members.len(), tallies.len(), "one tally per member");
        let weights = journey.members.iter().map(|member| member.weight_millionths.get());
        let common = weights.clone().fold(0, gcd).max(1);
        let members = weights.zip(tallies).map(|(weight, tally)| Weight { weight: weight / common, tally: *tally });
        Self { aggregate: journey.aggregate, objective: journey.objective, members: members.collect() }
    }

    /// Whether the promise is kept, exactly.
    pub fn state(&self) -> State {
        if self.is_empty() {
            return State::NoData;
        }
        let breached = match self.aggregate {
            Aggregate::Requests => {
                let (bad, total) = self.sums();
                product(bad, BILLION) > product(total, self.objective.budget_billionths())
            }
            Aggregate::Average => {
                let (whole, fractions) = self.error_billionths();
                match self.budget_billionths().checked_sub(whole) {
                    Some(rest) => sum_exceeds(fractions, rest),
                    None => true,
                }
            }
        };
        if breached { State::Breached } else { State::Met }
    }

    /// The weighted share of good events, 0 to 1; `None` when nothing happened.
    pub fn compliance(&self) -> Option<f64> {
        (!self.is_empty()).then(|| match self.aggregate {
            Aggregate::Requests => {
                let (bad, total) = self.sums();
                ratio((total - bad) as i128, total)
            }
            Aggregate::Average => {
                let good = |member: &Weight| member.weight as f64 * member.tally.compliance().unwrap_or(0.0);
                self.with_data().map(good).sum::<f64>() / self.weights() as f64
            }
        })
    }

    /// The part of the budget that is left: 1 when nothing happened, negative when overspent.
    pub fn remaining(&self) -> f64 {
        if self.is_empty() {
            return 1.0;
        }
        match self.aggregate {
            Aggregate::Requests => {
                let (bad, total) = self.sums();
                let (share, whole) = budget_share(self.objective);
                let parts = total.checked_mul(share).and_then(|allowed| {
                    let unspent = i128::try_from(allowed)
                        .ok()?
                        .checked_sub(i128::try_from(bad).ok()?.checked_mul(whole as i128)?)?;
                    Some((unspent, allowed))
                });
                match parts {
                    Some((unspent, allowed)) => ratio(unspent, allowed),
                    None => 1.0 - self.spending(),
                }
            }
            Aggregate::Average => {
                let (whole, fractions) = self.error_billionths();
                let budget = self.budget_billionths();
                let fraction: f64 = fractions.map(|(part, of)| part as f64 / of as f64).sum();
                ((budget as i128 - whole as i128) as f64 - fraction) / budget as f64
            }
        }
    }

    /// The budget that is left as seconds of full outage of the whole journey.
    pub fn remaining_seconds(&self, window: Horizon) -> f64 {
        let (share, whole) = budget_share(self.objective);
        self.remaining() * ratio(share as i128 * window.seconds() as i128, whole)
    }

    /// How many times faster than allowed the budget is being spent; `None` when nothing happened.
    pub fn burn_rate(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.spending())
    }

    /// The compliance of member `index`; `None` when nothing happened to it.
    pub fn member_compliance(&self, index: usize) -> Option<f64> {
        self.members[index].tally.compliance()
    }

    /// The part of the weighted total that is member `index`; 0 when nothing happened to it.
    pub fn share(&self, index: usize) -> f64 {
        let member = self.members[index];
        match self.aggregate {
            _ if member.tally.is_empty() => 0.0,
            Aggregate::Requests => ratio(member.total() as i128, self.sums().1),
            Aggregate::Average => ratio(i128::from(member.weight), self.weights()),
        }
    }

    /// The part of the weighted bad that is member `index`; 0 when nothing was bad.
    pub fn spent_share(&self, index: usize) -> f64 {
        let member = self.members[index];
        match self.aggregate {
            _ if member.tally.bad == 0 => 0.0,
            Aggregate::Requests => ratio(member.bad() as i128, self.sums().0),
            Aggregate::Average => {
                let error = |member: &Weight| ratio(member.bad() as i128, member.total()) * member.weight as f64;
                error(&member) / self.with_data().map(error).sum::<f64>()
            }
        }
    }

    /// The error ratio over the budget, given that something happened.
    fn spending(&self) -> f64 {
        match self.aggregate {
            Aggregate::Requests => {
                let (bad, total) = self.sums();
                let (share, whole) = budget_share(self.objective);
                match (bad.checked_mul(whole).map(i128::try_from), total.checked_mul(share)) {
                    (Some(Ok(spent)), Some(allowed)) => ratio(spent, allowed),
                    _ => bad as f64 / total as f64 * whole as f64 / share as f64,
                }
            }
            Aggregate::Average => {
                let (whole, fractions) = self.error_billionths();
                let fraction: f64 = fractions.map(|(part, of)| part as f64 / of as f64).sum();
                (whole as f64 + fraction) / self.budget_billionths() as f64
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.with_data().next().is_none()
    }

    fn with_data(&self) -> impl Iterator<Item = &Weight> + Clone {
        self.members.iter().filter(|member| !member.tally.is_empty())
    }

    /// The weighted bad and total.
    fn sums(&self) -> (u128, u128) {
        (self.members.iter().map(|member| member.bad()).sum(), self.members.iter().map(|member| member.total()).sum())
    }

    /// The weights of the members with data.
    fn weights(&self) -> u128 {
        self.with_data().map(|member| u128::from(member.weight)).sum()
    }

    /// What the sum of [`Self::error_billionths`] may be.
    fn budget_billionths(&self) -> u128 {
        u128::from(self.objective.budget_billionths()) * self.weights()
    }

    /// The sum of w_i * bad_i / total_i in billionths: a whole number, and fractions `(part, of)` below 1 to be added.
    fn error_billionths(&self) -> (u128, impl Iterator<Item = (u128, u128)> + Clone) {
        // Two steps keep everything in 128 bits: first whole units and the rest, then billionths of the rest.
        let parts = self.with_data().map(|member| {
            let of = u128::from(member.tally.good) + u128::from(member.tally.bad);
            let rest = member.bad() % of * u128::from(BILLION);
            (member.bad() / of * u128::from(BILLION) + rest / of, rest % of, of)
        });
        (parts.clone().map(|(whole, ..)| whole).sum(), parts.map(|(_, part, of)| (part, of)))
    }
}

/// Whether a sum of fractions `(part, of)`, each below 1, is greater than `bound`.
///
/// The fractions are written out in base 2^32, a digit of each per round, and subtracted from the bound: what is left
/// of the bound is known ever more finely until it is negative (the sum is greater) or at least as much as the
/// fractions' remaining parts can ever come to (it is not). A common denominator is at most the product of all
/// denominators, so a difference that has not shown after as many digits as that product has is none.
fn sum_exceeds(fractions: impl Iterator<Item = (u128, u128)>, bound: u128) -> bool {
    const DIGIT_BITS: usize = 32;
    let mut fractions: Vec<(u128, u128)> = fractions.filter(|(part, _)| *part > 0).collect();
    let digits: usize = fractions.iter().map(|(_, of)| (128 - of.leading_zeros() as usize).div_ceil(DIGIT_BITS)).sum();
    let mut left = bound;
    for _ in 0..=digits {
        if left >= fractions.len() as u128 {
            return false;
        }
        left <<= DIGIT_BITS;
        for (part, of) in &mut fractions {
            *part <<= DIGIT_BITS;
            match left.checked_sub(*part / *of) {
                Some(rest) => left = rest,
                None => return true,
            }
            *part %= *of;
        }
        fractions.retain(|(part, _)| *part > 0);
    }
    false
}

/// A product of 192 bits: its upper part and its lower 64 bits, which compare as the product does.
fn product(a: u128, b: u64) -> (u128, u64) {
    let low = (a & u128::from(u64::MAX)) * u128::from(b);
    ((a >> 64) * u128::from(b) + (low >> 64), low as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Member, SloId};
    use std::num::NonZeroU64;

    fn journey(aggregate: Aggregate, objective: u64, weights: &[u64]) -> Journey {
        let member = |(slo, weight): (usize, &u64)| Member {
            slo: SloId(slo),
            weight_millionths: NonZeroU64::new(*weight).unwrap(),
        };
        Journey {
            name: "browse".into(),
            title: "Browse".into(),
            objective: Objective::new(objective).unwrap(),
            window: Horizon::DAYS_28,
            aggregate,
            members: weights.iter().enumerate().map(member).collect(),
        }
    }

    fn weighed(aggregate: Aggregate, objective: u64, members: &[(u64, u64, u64)]) -> Weighed {
        let weights: Vec<u64> = members.iter().map(|member| member.0).collect();
        let tallies: Vec<Tally> = members.iter().map(|member| Tally::new(member.1, member.2)).collect();
        Weighed::new(&journey(aggregate, objective, &weights), &tallies)
    }

    const BOTH: [Aggregate; 2] = [Aggregate::Requests, Aggregate::Average];

    #[test]
    fn requests_weigh_counts_and_average_weighs_ratios() {
        let members = [(1_000_000, 99, 1), (3_000_000, 900, 0)];
        let requests = weighed(Aggregate::Requests, 999_000_000, &members);
        assert_eq!(requests.compliance(), Some(2_799.0 / 2_800.0));
        assert_eq!((requests.share(0), requests.share(1)), (100.0 / 2_800.0, 2_700.0 / 2_800.0));
        assert_eq!((requests.spent_share(0), requests.spent_share(1)), (1.0, 0.0));
        assert_eq!(requests.state(), State::Met);
        assert_eq!(requests.burn_rate(), Some(1_000.0 / 2_800.0));
        assert_eq!(requests.remaining(), 1_800.0 / 2_800.0);

        let average = weighed(Aggregate::Average, 999_000_000, &members);
        assert_eq!(average.compliance(), Some((0.99 + 3.0) / 4.0));
        assert_eq!((average.share(0), average.share(1)), (0.25, 0.75));
        assert_eq!((average.spent_share(0), average.spent_share(1)), (1.0, 0.0));
        assert_eq!(average.state(), State::Breached);
        assert_eq!((average.burn_rate(), average.remaining()), (Some(2.5), -1.5));
        assert_eq!(average.remaining_seconds(Horizon::DAYS_28), -1.5 * 2_419.2);
    }

    #[test]
    fn nothing_happened_is_no_data_with_a_whole_budget() {
        for aggregate in BOTH {
            let weighed = weighed(aggregate, 999_000_000, &[(1, 0, 0), (2, 0, 0)]);
            assert_eq!((weighed.state(), weighed.compliance(), weighed.burn_rate()), (State::NoData, None, None));
            assert_eq!((weighed.remaining(), weighed.remaining_seconds(Horizon::DAYS_28)), (1.0, 2_419.2));
            assert_eq!((weighed.share(0), weighed.spent_share(0), weighed.member_compliance(0)), (0.0, 0.0, None));
        }
    }

    #[test]
    fn a_member_without_data_moves_nothing() {
        for aggregate in BOTH {
            let without = weighed(aggregate, 900_000_000, &[(2_000_000, 80, 20)]);
            let with = weighed(aggregate, 900_000_000, &[(2_000_000, 80, 20), (7_000_000, 0, 0)]);
            assert_eq!(
                (with.state(), with.compliance(), with.remaining(), with.burn_rate(), with.share(0)),
                (without.state(), without.compliance(), without.remaining(), without.burn_rate(), without.share(0)),
            );
            assert_eq!((with.share(1), with.spent_share(1)), (0.0, 0.0));
        }
    }

    #[test]
    fn one_event_decides_at_the_boundary() {
        for (bad, state) in [(2, State::Met), (3, State::Breached)] {
            // 3 * 100 + 1 * 300 weighted requests at 99% allow 6 bad ones, each of the first member counting three.
            let members = [(3_000_000, 100 - bad, bad), (1_000_000, 300, 0)];
            assert_eq!(weighed(Aggregate::Requests, 990_000_000, &members).state(), state);
            // Of 3/4 * bad/100 at most 1.5% may be spent.
            assert_eq!(weighed(Aggregate::Average, 985_000_000, &members).state(), state);
        }
    }

    #[test]
    fn thirds_that_add_up_to_the_budget_are_within_it() {
        // The errors 1/3, 1/6 and 1/7 average to (14 + 7 + 6) / 126 = 3/14; no sum of doubles could be trusted with it.
        let members = [(1, 2, 1), (1, 5, 1), (1, 6, 1)];
        assert_eq!(weighed(Aggregate::Average, 785_714_285, &members).state(), State::Met);
        assert_eq!(weighed(Aggregate::Average, 785_714_286, &members).state(), State::Breached);
        // 1/3 + 2/3 of equal weights are exactly 1/2.
        assert_eq!(weighed(Aggregate::Average, 500_000_000, &[(1, 2, 1), (1, 1, 2)]).state(), State::Met);
        assert_eq!(weighed(Aggregate::Average, 500_000_001, &[(1, 2, 1), (1, 1, 2)]).state(), State::Breached);
        assert_eq!(weighed(Aggregate::Average, 500_000_000, &[(1, 2, 1), (1, 1, 2)]).remaining(), 0.0);
    }

    #[test]
    fn fractions_are_summed_without_rounding() {
        let large = u128::from(u64::MAX);
        for (fractions, bound, exceeds) in [
            (vec![], 0, false),
            (vec![(1, 2)], 0, true),
            (vec![(1, 2)], 1, false),
            (vec![(1, 2), (1, 2)], 1, false),
            (vec![(1, 3), (1, 3), (1, 3)], 1, false),
            (vec![(1, 3), (1, 3), (1, 3), (1, large)], 1, true),
            (vec![(large - 1, large), (1, large)], 1, false),
            (vec![(large - 1, large), (2, large)], 1, true),
            (vec![(large - 1, large), (1, large - 1)], 1, true),
            (vec![(large - 1, large), (large - 1, large), (2, large)], 2, false),
            (vec![(large - 2, large - 1), (1, large)], 1, false),
        ] {
            assert_eq!(sum_exceeds(fractions.clone().into_iter(), bound), exceeds, "{fractions:?} > {bound}");
        }
    }

    #[test]
    fn the_largest_counts_neither_panic_nor_change_sides() {
        let heaviest = 1_000_000_000_000;
        for aggregate in BOTH {
            for (bad, state) in [(0, State::Met), (u64::MAX, State::Breached)] {
                let members = [(heaviest, u64::MAX, bad), (heaviest - 1, u64::MAX, bad), (1, 1, 0)];
                let weighed = weighed(aggregate, 999_999_999, &members);
                assert_eq!(weighed.state(), state);
                assert!(weighed.remaining().is_finite() && weighed.compliance().is_some());
                assert!(weighed.share(0) > 0.4 && weighed.spent_share(0).is_finite());
                assert_eq!(weighed.remaining() < 0.0, state == State::Breached);
            }
        }
    }

    #[test]
    fn products_beyond_128_bits_still_compare() {
        assert!(product(u128::MAX, 2) > product(u128::MAX, 1));
        assert!(product(u128::MAX, u64::MAX) > product(u128::MAX - 1, u64::MAX));
        assert_eq!(product(1 << 127, 2), (1 << 64, 0));
        assert_eq!(product(3, 7), (0, 21));
    }
}
