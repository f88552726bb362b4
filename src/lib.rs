//! slogate turns traffic into an error budget, and the error budget into a deploy decision.
//!
//! The rooms, in reading order; a room uses only rooms listed above it. Evidence comes in at the top and a decision
//! leaves at the bottom.

pub mod time;

pub mod tally;

pub mod increase;

pub mod formats;

pub mod selector;

pub mod series;

pub mod spec;

pub mod intake;

pub mod classify;

pub mod counts;

pub mod window;

pub mod latency;

pub mod budget;

pub mod alert;

pub mod journey;

pub mod gate;

pub mod engine;

pub mod document;

pub mod api;
pub mod store;

pub mod report;

pub mod run;

pub mod demo;
