//! Gaps: records that can never be counted, wherever they matter.

use serde::Serialize;

use crate::engine::{Gap, Missing};
use crate::time::Timestamp;

/// Records that can never be counted.
#[derive(Clone, Debug, Serialize)]
pub struct GapStatus<'a> {
    /// Of which source.
    pub source: &'a str,
    /// They are not older than this.
    pub from: Timestamp,
    /// They are not younger than this.
    pub to: Timestamp,
    /// How long they are; `null` when nobody can know.
    pub bytes: Option<u64>,
    /// Why they are missing, for programs.
    pub reason: &'a str,
    /// For people.
    pub text: String,
}

impl<'a> GapStatus<'a> {
    /// The newest gaps, newest last; and how many there are in all.
    pub(super) fn list(missing: &'a Missing) -> (Vec<Self>, usize) {
        (missing.newest.iter().map(|gap| Self::new(gap)).collect(), missing.lost.map_or(0, |lost| lost.gaps))
    }

    fn new(gap: &'a Gap) -> Self {
        let Gap { source, from, to, bytes, reason } = gap;
        Self { source, from: *from, to: *to, bytes: *bytes, reason, text: gap.text() }
    }
}
