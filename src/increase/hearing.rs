//! Whether a measure is still read on a target.
//!
//! A page alone does not say that what is measured is on it: a metric may have been renamed, a bucket may be gone. Then
//! nothing is counted, which looks like an hour without events, and therefore is told apart from it here.

use std::fmt;

use crate::time::Timestamp;

/// How a measure is read on one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hearing {
    /// Since when it is looked for; `None` before the first scrape.
    pub since: Option<Timestamp>,
    /// The last page on which it could be read in full.
    pub last: Option<Timestamp>,
    /// Why not on the last page; `None` when it could, and before the first.
    pub silence: Option<Silence>,
}

/// Why a measure cannot be read on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// None of its series is there.
    Absent,
    /// Of its histogram there is the number of observations, and no bucket.
    NoBuckets,
    /// Good (or bad) is a counter of its own that had been there, is gone, and nothing has restarted.
    PartGone,
    /// A series is there and cannot be used: which, and why.
    Refused(String),
    /// Its counters fall, or begin anew, so often that it is several processes.
    Several,
}

impl fmt::Display for Silence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Absent => "none of its series is on the page",
            Self::NoBuckets => {
                "it has no buckets, only a count of observations: native histograms and summaries cannot be judged by a \
                 threshold, so let it expose classic buckets as well"
            }
            Self::PartGone => "the counters that tell good from bad are gone from the page, and nothing has restarted",
            Self::Refused(why) => why,
            Self::Several => "its counters fall or begin anew so often that several processes may answer; scrape each of them",
        })
    }
}

impl Hearing {
    /// Takes in a scrape at `at` that gave no page.
    pub(super) fn unanswered(&mut self, at: Timestamp) {
        self.since.get_or_insert(at);
    }

    /// Takes in the page of `at`, on which the measure could be read unless there was `silence`.
    pub(super) fn answered(&mut self, at: Timestamp, silence: Option<Silence>) {
        self.since.get_or_insert(at);
        if silence.is_none() {
            self.last = Some(at);
        }
        self.silence = silence;
    }
}
