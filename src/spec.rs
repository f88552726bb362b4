//! Specs: what the teams promise, read from one directory of TOML.

mod catalog;

pub use catalog::*;
