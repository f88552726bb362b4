//! *Histories*: whatever happens to counters between being moved and being read, what is counted equals the target's
//! own books where that can be told, and is marked where it cannot.
//!
//! A simulated target keeps every event with its true time while its processes restart, its series come and go, and its
//! pages are late, torn, doubled, out of order or of another replica. Nothing noted: the counts are those of the books,
//! in total and minute by minute. A lower bound: never more than the books, and less only by what the notes cover.
//! Never more bad events than events.
//!
//! `SLOGATE_CASES` sets the number of histories, `SLOGATE_SEED` the first; each has a seed of its own, which a failure
//! names.

#![allow(clippy::unwrap_used, reason = "a test may fail where it finds something wrong")]

mod play;
mod twin;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use play::{History, Verdict};
use world::{Dice, World};

const CASES: u64 = 50_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

#[test]
fn every_history_is_counted_as_it_was_or_marked() {
    let (cases, first) = (number("SLOGATE_CASES").unwrap_or(CASES), number("SLOGATE_SEED").unwrap_or(0));
    let mut verdicts: BTreeMap<Verdict, u64> = BTreeMap::new();
    for seed in first..first + cases {
        let mut dice = Dice(seed);
        let world = World::new(&mut dice);
        let verdict = catch_unwind(AssertUnwindSafe(|| History::play(&world, &mut dice)));
        match verdict {
            Ok(verdict) => *verdicts.entry(verdict).or_default() += 1,
            Err(panic) => {
                eprintln!("{world:?}\nto see it again: SLOGATE_SEED={seed} SLOGATE_CASES=1");
                resume_unwind(panic);
            }
        }
    }
    println!("{cases} histories: {verdicts:?}");
    // Each kind must be met often enough to mean something.
    let rare = |verdict: &Verdict| cases >= 1_000 && verdicts.get(verdict).copied().unwrap_or(0) * 500 < cases;
    let kinds =
        [Verdict::Exact, Verdict::LowerBound, Verdict::Skewed, Verdict::Suspect, Verdict::Unseen, Verdict::Mixed];
    let rare: Vec<&Verdict> = kinds.iter().filter(|verdict| rare(verdict)).collect();
    assert!(rare.is_empty(), "hardly ever met: {rare:?} in {verdicts:?}");
}
