//! What every store does, checked on both, and what the writer makes of one that fails.

mod suite;
mod writer;
