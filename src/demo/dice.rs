//! Dice: pseudo-random numbers that are the same for the same seed, on every machine and in every version.

/// A small generator of pseudo-random numbers (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// 2014). It is not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(u64);

/// The generator's step: the golden ratio of 64 bits.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Dice {
    /// The dice of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice for one part of what a seed makes, independent of those for every other part.
    pub fn for_part(seed: u64, part: u64) -> Self {
        Self(Self(Self(seed).next() ^ part).next())
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// `true` in so many of a million throws.
    pub fn hits(&mut self, of_a_million: u64) -> bool {
        self.below(1_000_000) < of_a_million
    }

    /// A whole number that is `thousandths / 1000` on average, and differs from it by less than 1.
    pub fn round(&mut self, thousandths: u64) -> u64 {
        (thousandths + self.below(1_000)) / 1_000
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        // The first outputs for the seed 0, as published with the algorithm.
        let mut dice = Dice::new(0);
        assert_eq!([dice.next(), dice.next()], [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4]);
    }

    #[test]
    fn parts_of_a_seed_and_seeds_of_a_part_differ() {
        let first = |seed, part| Dice::for_part(seed, part).next();
        let mut seen: Vec<u64> = (0..32).flat_map(|seed| (0..32).map(move |part| first(seed, part))).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 32 * 32);
    }

    #[test]
    fn throws_stay_within_their_bounds_and_reach_them() {
        let mut dice = Dice::new(7);
        let mut seen: Vec<u64> = (0..1_000).map(|_| dice.between(3, 6)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [3, 4, 5, 6]);
        assert_eq!(dice.below(0), 0);
        assert!(!dice.hits(0) && dice.hits(1_000_000));
    }

    #[test]
    fn rounding_is_right_on_average() {
        let mut dice = Dice::new(7);
        let sum: u64 = (0..10_000).map(|_| dice.round(2_300)).sum();
        assert!((22_800..23_200).contains(&sum), "{sum}");
        assert_eq!(dice.round(2_000), 2);
    }
}
