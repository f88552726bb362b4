//! The parts put together, step by step, in one thread and on a clock that the test moves.

mod scripts;
mod simulation;
