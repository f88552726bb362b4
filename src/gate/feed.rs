//! Feeds: what there is to say against a source whose records a gate is judged by.
//!
//! A source that is heard may still not tell the truth: lines that nobody can read may be errors, and what waits to be
//! read may be. While there is such a [`Doubt`] about a source, its SLOs are no sound evidence: they can freeze a gate,
//! for what was counted was counted, but neither open nor thaw it. Records that are [`Lost`] for good are shown.
//!
//! A scraped source may be heard and not show what one of its SLOs is made of, which its [`Measurement`] tells.

use std::sync::Arc;

use crate::spec::{SloId, SourceId};
use crate::time::Timestamp;

/// One source of a service's SLOs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Which.
    pub source: SourceId,
    /// Why what it delivers cannot be relied upon; empty when it can.
    pub doubts: Vec<Doubt>,
    /// Those of these SLOs that have not been measured for too long although it is heard.
    pub unmeasured: Vec<(SloId, Measurement)>,
    /// What of it can never be counted inside the windows of these SLOs, if anything.
    pub lost: Option<Lost>,
}

/// How an SLO over scraped targets is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// Since when it is looked for.
    pub since: Timestamp,
    /// Up to when all targets that ever showed what it is made of did; `None` when none ever has.
    pub last: Option<Timestamp>,
    /// What keeps it from being measured, if anything does.
    pub why: Option<Arc<str>>,
}

impl Measurement {
    /// Whether it has not been measured for longer than `longest_ms`.
    pub fn is_overdue(&self, longest_ms: i64, now: Timestamp) -> bool {
        now.millis().saturating_sub(self.last.unwrap_or(self.since).millis()) > longest_ms
    }

    /// What there is to say about the SLO of this name, without a full stop.
    pub fn text(&self, slo: &str) -> String {
        let why = self.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        match self.last {
            Some(last) => format!("{slo} was last measured at {last}{why}"),
            None => format!("{slo} has been looked for since {} and never measured{why}", self.since),
        }
    }
}

/// Files of a source that cannot be read, of which nobody knows what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// How many, at least 1.
    pub files: usize,
    /// The one for which that is so for the longest time, and why.
    pub worst: Arc<str>,
    /// Since when.
    pub since: Timestamp,
}

/// Why what a source delivers cannot be relied upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// What was counted of it does not add up, and nothing more of it is counted.
    Corrupt,
    /// Whoever reads it ended by a fault of this program, and is to begin again.
    Panicked {
        /// How often that was, since the program started.
        times: u64,
    },
    /// Some of its files cannot be read, and errors may be in them.
    Unreadable(Unreadable),
    /// None of its newest records, one after the other, could be read.
    FormatChanged {
        /// How many.
        run: u64,
    },
    /// Too many of its newest records could not be read.
    Unparsed {
        /// How many.
        unread: u64,
        /// Of how many.
        records: u64,
    },
    /// What had been written before the program started is still being read.
    CatchingUp {
        /// How much is left, in bytes.
        bytes: u64,
    },
    /// It is written faster than it is read, or cannot be read.
    Lag {
        /// How much waits, in bytes.
        bytes: u64,
        /// Since when the oldest of it has been waiting.
        since: Timestamp,
    },
}

/// Records that can never be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// In how many places.
    pub gaps: usize,
    /// None of them is older than this.
    pub from: Timestamp,
    /// None of them is younger than this.
    pub to: Timestamp,
    /// How long they are, in bytes; `None` when nobody can know.
    pub bytes: Option<u64>,
}

impl Doubt {
    /// The names of all of them, the worst first.
    pub const NAMES: [&'static str; 7] =
        ["corrupt", "panic", "unreadable", "format_changed", "unparsed", "lag", "catching_up"];

    /// Its name in answers and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Panicked { .. } => "panic",
            Self::Unreadable(_) => "unreadable",
            Self::FormatChanged { .. } => "format_changed",
            Self::Unparsed { .. } => "unparsed",
            Self::Lag { .. } => "lag",
            Self::CatchingUp { .. } => "catching_up",
        }
    }

    /// One sentence without a full stop about the source of this name.
    pub fn text(&self, source: &str) -> String {
        match self {
            Self::Corrupt => {
                format!("the counts of source {source} do not add up; nothing more of it is counted until a restart")
            }
            Self::Panicked { times } => {
                let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
                format!(
                    "reading source {source} ended by a fault of slogate, {times} since it started; it begins again \
                     where its counts were committed last"
                )
            }
            Self::Unreadable(Unreadable { files: 1, worst, since }) => {
                format!("a file of source {source} cannot be read since {since}, and errors may be in it: {worst}")
            }
            Self::Unreadable(Unreadable { files, worst, since }) => {
                format!("{files} files of source {source} cannot be read, the first since {since}: {worst}")
            }
            Self::FormatChanged { run } => {
                format!("none of the newest {run} records of source {source} could be read; its format has changed")
            }
            Self::Unparsed { unread, records } => {
                format!(
                    "{unread} of the newest {records} records of source {source} could not be read, and errors may hide \
                     among them"
                )
            }
            Self::Lag { bytes, since } => {
                format!("{bytes} bytes of source {source} wait to be read, the oldest of them since {since}")
            }
            Self::CatchingUp { bytes } => {
                format!("source {source} is being caught up with; {bytes} bytes are still to be read")
            }
        }
    }
}

impl Lost {
    /// One sentence without a full stop about the source of this name, which writes logs.
    pub fn text(&self, source: &str) -> String {
        let Self { from, to, bytes, .. } = self;
        let much = bytes.map_or("an unknown number of bytes".to_owned(), |bytes| format!("{bytes} bytes"));
        format!("{much} of source {source}{} from between {from} and {to} can never be counted", self.places())
    }

    /// The same for one that is scraped. Its counters show what was counted; whether more was, nobody can know.
    pub fn text_of_events(&self, source: &str) -> String {
        let Self { from, to, .. } = self;
        format!("events of source {source}{} from between {from} and {to} may be missing", self.places())
    }

    fn places(&self) -> String {
        if self.gaps == 1 { String::new() } else { format!(", in {} gaps,", self.gaps) }
    }
}
