//! The whole server but for its threads and its network, in worlds where everything goes wrong.
//!
//! From a seed comes a plan of random operations: traffic with late, future, torn, forged and oversize lines; logs that
//! are renamed, copied, truncated, packed, deleted and switched; clocks that are stepped by seconds and by years;
//! commits that fail, with and without having been made; syncs that fail; crashes between any two steps and power
//! failures in the middle of a commit; orders whose answer nobody hears. The production follower, owner, engine and
//! store live through it step by step, in one thread, over real files and on clocks that the test moves. Beside them
//! lives a naive model ([`model`]) that knows what was truly written ([`world`]) and keeps every event in a vector.
//!
//! - After every step the audit log in the store is that of the model, and whenever a board is published, every count,
//!   budget, burn, level, order and refusal on it is the model's. When all is read and committed, so are the gaps; and
//!   whatever was lost could not be read by anybody.
//! - *Taken at a follower's word:* how much it has not read and since when, and when a gap began. What follows from the
//!   first for doubts, evidence, health and gates is the model's own; that there are gaps where something was lost, and
//!   nowhere else, is checked when everything is read.
//! - *Not here:* alerts and their courses, samples, records that cannot be read in such numbers that errors may hide
//!   among them, reloads of specs, and the file that is reserved for freezes on a full disk.
//! - A failure prints its seed and a plan that was cut down to the operations that it needs.
//! - *It can find bugs*: with each of a list of [`Defect`]s built in, it fails.
//!
//! `SLOGATE_SEEDS` says how many seeds to try, `SLOGATE_SEED` which one alone.

mod check;
mod life;
mod model;
mod plan;
mod vault;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) use life::HandClock;
pub(super) use plan::Trouble;
pub(super) use vault::{Shelf, Vault};

use life::Machine;
use plan::{At, EDGE, FAR, FRONT, HOUR, Line, Op, Route, Shape, plan};

use crate::run::StartError;
use crate::store::StoreError;

const SEEDS: u64 = 200;

/// Why a simulation failed.
#[derive(Debug)]
pub struct Failure(String);

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self(error.to_string())
    }
}

/// A bug to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Read positions are durable before what was read up to them is.
    OffsetsCommittedBeforeCounts,
    /// What was read is durable before the positions up to which it was read are.
    CountsCommittedBeforeOffsets,
    /// Every fourth commit is said to have been made and was not.
    SkippedCommit,
    /// What was committed in spite of an error is committed again.
    DoubleReplay,
    /// Windows are a minute too long.
    OffByOneWindowEdge,
    /// Lines that arrive more than an hour late are not counted.
    LostLateLine,
    /// The order in the store is the one before the last.
    StaleHold,
    /// An order is answered before its entry in the audit log is durable.
    AuditAfterReply,
    /// Gaps are found and forgotten.
    LostGap,
}

/// Plays a plan in a new world.
fn play(seed: u64, ops: &[Op], defect: Option<Defect>) -> Result<(), Failure> {
    let played = catch_unwind(AssertUnwindSafe(|| Machine::new(seed, defect).run(ops)));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Failure(format!("panic: {}", text.unwrap_or("without a word"))))
    })
}

/// Leaves out operations as long as the plan still fails, larger stretches first.
fn cut_down(seed: u64, mut ops: Vec<Op>) -> Vec<Op> {
    let mut length = ops.len() / 2;
    while length > 0 {
        let mut from = 0;
        while from < ops.len() {
            let without = [&ops[..from], &ops[(from + length).min(ops.len())..]].concat();
            match play(seed, &without, None) {
                Err(_) => ops = without,
                Ok(()) => from += length,
            }
        }
        length /= 2;
    }
    ops
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn whatever_happens_everything_shown_and_kept_is_what_was_written() {
    let seeds = match from_environment("SLOGATE_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=from_environment("SLOGATE_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let ops = plan(seed);
        if play(seed, &ops, None).is_err() {
            let ops = cut_down(seed, ops);
            let Failure(why) = play(seed, &ops, None).expect_err("the plan failed when it was cut down");
            let ops: Vec<String> = ops.iter().map(|op| format!("  {op:?}")).collect();
            panic!("SLOGATE_SEED={seed}: {why}, after\n{}", ops.join("\n"));
        }
    }
}

/// A plan that once failed.
#[track_caller]
fn lives_through(ops: &[Op]) {
    for seed in [1, 4, 5] {
        if let Err(Failure(why)) = play(seed, ops, None) {
            panic!("{why}");
        }
    }
}

/// So many lines of a log's own route, a second old.
fn lines(log: usize, count: usize, status: u16) -> Op {
    let route = if log == EDGE { Route::Edge } else { Route::Shop };
    Op::Write(log, vec![Line { route, status, duration: Some(1), shape: Shape::Plain, at: At::Ago(1_000) }; count])
}

#[test]
fn c11_no_board_is_shown_that_lacks_counts_after_a_clock_was_wrong() {
    let start_wrong = [Op::Step(FAR), Op::Crash, Op::PutRight, Op::Turn];
    lives_through(&[&[lines(EDGE, 5, 500), Op::Settle][..], &start_wrong, &[Op::Settle]].concat());
    // The windows are filled with other years meanwhile.
    let count_wrong = [Op::Step(-FAR), Op::Work, lines(EDGE, 5, 200), Op::Work, Op::PutRight, Op::Turn];
    lives_through(&[&[lines(EDGE, 5, 500), Op::Settle][..], &count_wrong, &[Op::Settle]].concat());
}

#[test]
fn c11_no_order_is_decided_by_a_board_that_lacks_counts() {
    let order = Op::Order { service: 1, freeze: false, until: None, hears: true };
    lives_through(&[lines(EDGE, 5, 500), Op::Settle, Op::Step(FAR), Op::Crash, Op::PutRight, order, Op::Settle]);
}

#[test]
fn c11_a_clock_that_leaps_for_a_moment_deletes_nothing() {
    let leap = [Op::Pass(HOUR), Op::Step(FAR), Op::Work, Op::PutRight, Op::Crash, Op::Settle];
    lives_through(&[&[lines(FRONT, 5, 200), Op::Work][..], &leap].concat());
}

#[test]
fn an_order_is_told_its_own_audit_entry_when_other_gates_change_in_the_same_instant() {
    let freeze = |service| Op::Order { service, freeze: true, until: None, hears: true };
    for (log, service) in [(FRONT, 1), (EDGE, 0)] {
        lives_through(&[lines(log, 5, 200), Op::Poll(log), Op::Take, freeze(service), Op::Settle]);
    }
}

#[test]
fn the_model_and_the_specs_promise_the_same() {
    assert!(life::promises_agree(&crate::spec::load_texts("specs".as_ref(), &model::SPECS).unwrap().catalog));
}

/// The simulation fails with this defect built in, and says so in one of these words.
#[track_caller]
fn finds(defect: Defect, words: &[&str]) {
    for seed in 1..=SEEDS {
        if let Err(Failure(why)) = play(seed, &plan(seed), Some(defect)) {
            assert!(words.iter().any(|word| why.starts_with(word)), "{defect:?} was found by something else: {why}");
            println!("seed {seed}: {why}");
            return;
        }
    }
    panic!("{defect:?} was not found");
}

const COUNTS: [&str; 6] = ["tally", "burn", "lifetime", "accepted", "refused", "records delivered"];

#[test]
fn finds_offsets_committed_before_counts() {
    finds(Defect::OffsetsCommittedBeforeCounts, &COUNTS);
}

#[test]
fn finds_counts_committed_before_offsets() {
    finds(Defect::CountsCommittedBeforeOffsets, &COUNTS);
}

#[test]
fn finds_a_skipped_commit() {
    finds(Defect::SkippedCommit, &[&COUNTS[..], &["audit entries"]].concat());
}

#[test]
fn finds_a_double_replay() {
    finds(Defect::DoubleReplay, &[&COUNTS[..], &["audit entries", "audit entry"]].concat());
}

#[test]
fn finds_a_window_edge_that_is_off_by_one() {
    finds(Defect::OffByOneWindowEdge, &COUNTS);
}

#[test]
fn finds_a_lost_late_line() {
    finds(Defect::LostLateLine, &COUNTS);
}

#[test]
fn finds_a_stale_hold() {
    finds(Defect::StaleHold, &["order of", "level of", "instant of the level of"]);
}

#[test]
fn finds_an_audit_entry_that_comes_after_the_reply() {
    finds(Defect::AuditAfterReply, &["audit entries"]);
}

#[test]
fn finds_a_lost_gap() {
    finds(Defect::LostGap, &["gaps in the store"]);
}
