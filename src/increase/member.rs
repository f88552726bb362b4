//! One counter of a measure, from reading to reading.
//!
//! What a new reading means depends on whether it is of the same process as the one before it. A start time, the
//! series' own `_created` or else the start of the process, tells; without one, a fall of the value does.

use std::sync::Arc;

use super::histogram::{self, Fault};
use super::reading::{BadValue, Bound};
use super::roster::Named;
use super::spread::Buckets;
use crate::time::Timestamp;

/// What a counter counts for a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The part that is selected, good or bad, and the total.
    Both,
    /// The total only.
    Total,
    /// The part only: the total is made of other counters.
    Part,
}

/// A counter of a measure.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub name: Arc<[u8]>,
    pub role: Role,
    pub last: Option<Last>,
    pub standing: Standing,
    /// What the page that is being read says.
    pub seen: Seen,
}

/// The last good reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Last {
    pub value: Value,
    /// The page that it was on.
    pub at: Timestamp,
    pub created: Option<Timestamp>,
    pub process: Option<Timestamp>,
    pub stamp: Option<Timestamp>,
}

/// How a counter stands after the last page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Read, or at least there.
    Live,
    /// Missing from one page.
    Missed,
    /// Missing from two pages or more, or from the first of a new process. It may come back.
    Gone,
    /// Given up: its next reading is a new baseline.
    Broken,
}

/// What a counter has counted: one number, or one for each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    One(u64),
    Buckets(Buckets),
}

/// What one page says of a counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The number of the page; everything else is of that page.
    pub page: u64,
    pub value: Option<Result<u64, BadValue>>,
    pub buckets: Vec<(Bound, Result<u64, BadValue>)>,
    /// The buckets tell what there is now, not what has been counted.
    pub is_gauge: bool,
    pub created: Option<Timestamp>,
    pub stamp: Option<Timestamp>,
}

/// The page as far as it concerns all counters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub number: u64,
    pub at: Timestamp,
    /// The page before it.
    pub before: Option<Timestamp>,
    /// When the process began that answered, if the page says so, and of the last page that did.
    pub process: Option<Timestamp>,
    pub known_process: Option<Timestamp>,
    /// The start proves that the process which gave the page before is gone.
    pub has_restarted: bool,
    pub interval_ms: i64,
}

/// What a page means for a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It is not on the page.
    Absent,
    /// It is, but cannot be used.
    Refused(Refusal),
    /// The same process has counted this much more.
    Step { value: Value, more: Value },
    /// All of it was counted since `from`, which a start time proves.
    FromZero { value: Value, from: Timestamp, proof: Proof },
    /// It fell, and nothing says why.
    Fell { value: Value },
    /// A new beginning, from which to count on; nothing is counted. Several processes would show it if `fell`.
    Baseline { value: Value, why: Why, fell: bool },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Value(BadValue),
    Histogram(Fault),
}

/// What is known of the reading before a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// There was none: the series is new.
    New,
    /// It was of a process that had gone before, and the new one has only now begun to show the series.
    Late {
        /// Its value is not below the last one, as if nothing had happened to what the process exports.
        may_go_on: bool,
    },
    /// It was higher.
    Fell,
    /// It was not, so that only the start time shows the restart.
    Rose,
}

/// Why there is a new baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    FirstSeen,
    OtherProcess,
    NewBounds,
    Rebased,
}

/// Readings further apart than this say nothing about the windows of today.
pub(super) const LONGEST_GAP_MS: i64 = 90 * 86_400_000;

impl Named for Member {
    fn name(&self) -> &Arc<[u8]> {
        &self.name
    }
}

impl Member {
    pub fn new(name: Arc<[u8]>, role: Role) -> Self {
        Self { name, role, last: None, standing: Standing::Gone, seen: Seen::default() }
    }

    /// What the page says of this counter, beginning with nothing.
    pub fn on_page(&mut self, page: u64) -> &mut Seen {
        if self.seen.page != page {
            self.seen.buckets.clear();
            self.seen = Seen { page, buckets: std::mem::take(&mut self.seen.buckets), ..Seen::default() };
        }
        &mut self.seen
    }

    /// What the page means for this counter. A series that was never read counts from zero if it began after
    /// `zero_after`.
    pub fn moved(&self, page: &Page, threshold: Option<Bound>, zero_after: Option<Timestamp>) -> Move {
        if self.seen.page != page.number {
            return Move::Absent;
        }
        let value = match self.seen.read(threshold, self.last.as_ref()) {
            Some(Ok(value)) => value,
            Some(Err(refusal)) => return Move::Refused(refusal),
            None => return Move::Absent,
        };
        let Some(last) = &self.last else { return self.first(value, page, zero_after) };
        let more = match value.since(&last.value) {
            Since::More(more) => Some(more),
            Since::Less => None,
            Since::OtherShape => return Move::Baseline { value, why: Why::NewBounds, fell: false },
        };
        let origin = last.origin_of(self.seen.created, page);
        if let (Origin::New(start), Standing::Missed | Standing::Gone) = (&origin, self.standing) {
            // What it had counted by the page before, it would have shown there.
            let from = page.before.map_or(*start, |before| before.max(*start));
            return Move::FromZero { value, from: from.min(page.at), proof: Proof::Late { may_go_on: more.is_some() } };
        }
        let far = page.at.millis().saturating_sub(last.at.millis()) > LONGEST_GAP_MS;
        if self.standing == Standing::Broken || far {
            let fell = match origin {
                Origin::Same => more.is_none(),
                Origin::Other => true,
                Origin::New(_) => false,
            };
            return Move::Baseline { value, why: Why::Rebased, fell };
        }
        match (origin, more) {
            (Origin::New(start), more) => {
                let proof = if more.is_some() { Proof::Rose } else { Proof::Fell };
                Move::FromZero { value, from: start.min(page.at), proof }
            }
            (Origin::Other, _) => Move::Baseline { value, why: Why::OtherProcess, fell: true },
            (Origin::Same, Some(more)) => Move::Step { value, more },
            (Origin::Same, None) if last.is_surely_of_the_same(&self.seen) => {
                Move::Refused(Refusal::Value(BadValue::Older))
            }
            (Origin::Same, None) => Move::Fell { value },
        }
    }

    fn first(&self, value: Value, page: &Page, zero_after: Option<Timestamp>) -> Move {
        match (self.seen.created.or(page.process), zero_after) {
            (Some(start), Some(after)) if start > after && self.standing != Standing::Broken => {
                let from = page.before.map_or(start, |before| before.max(start));
                Move::FromZero { value, from: from.min(page.at), proof: Proof::New }
            }
            _ => Move::Baseline { value, why: Why::FirstSeen, fell: false },
        }
    }

    /// Keeps a reading.
    pub fn keep(&mut self, value: Value, page: &Page) {
        let (created, stamp) = (self.seen.created, self.seen.stamp);
        self.last = Some(Last { value, at: page.at, created, process: page.process, stamp });
        self.standing = Standing::Live;
    }

    /// Whether the process that showed the last reading is proven to be gone.
    pub fn is_of_a_process_before(&self, page: &Page) -> bool {
        self.last.as_ref().is_some_and(|last| matches!(last.origin_of(None, page), Origin::New(_)))
    }

    /// Whether this page itself says when the process of this counter began, or the counter.
    pub fn names_its_start(&self, page: &Page) -> bool {
        let created = self.last.as_ref().and_then(|last| last.created).and(self.seen.created);
        page.process.or(created).is_some()
    }

    /// Whether it was read as a histogram.
    pub fn is_histogram(&self) -> bool {
        self.last.as_ref().is_some_and(|last| matches!(last.value, Value::Buckets(_)))
    }

    /// Whether the last reading was more than nothing.
    pub fn has_counted(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.value.total() > 0)
    }

    /// What a value of this counter adds to the part and to the total.
    pub fn share(&self, value: &Value, threshold: Option<Bound>) -> (u64, u64) {
        match (value, self.role) {
            (Value::One(count), Role::Both) => (*count, *count),
            (Value::One(count), Role::Total) => (0, *count),
            (Value::One(count), Role::Part) => (*count, 0),
            (Value::Buckets(buckets), _) => {
                let within = threshold.and_then(|threshold| buckets.within(threshold)).unwrap_or(0);
                (within, value.total())
            }
        }
    }
}

/// Which process a reading is of, seen from the reading before it.
enum Origin {
    /// The same, as far as anybody can tell.
    Same,
    /// One that began after that reading, then.
    New(Timestamp),
    /// One that had already been running.
    Other,
}

impl Last {
    /// Whether a reading is proven to be of the same counter, which never falls: by when that was created, or because
    /// it is said to be of the same instant. That a process says when it began proves nothing of counters that it only
    /// exports.
    fn is_surely_of_the_same(&self, seen: &Seen) -> bool {
        let is_same = |then: Option<Timestamp>, now: Option<Timestamp>| then.is_some() && then == now;
        is_same(self.created, seen.created) || is_same(self.stamp, seen.stamp)
    }

    fn origin_of(&self, created: Option<Timestamp>, page: &Page) -> Origin {
        // Once another process has answered, that of this reading is gone, even if a later page does not name its own.
        let process = page.process.or(page.known_process);
        let starts = self.created.zip(created).or_else(|| self.process.zip(process));
        match starts {
            Some((then, now)) if then != now && now > self.at => Origin::New(now),
            Some((then, now)) if then != now => Origin::Other,
            _ => Origin::Same,
        }
    }
}

impl Seen {
    /// The value on the page, if any; refused when it cannot be used.
    fn read(&self, threshold: Option<Bound>, last: Option<&Last>) -> Option<Result<Value, Refusal>> {
        let value = match threshold {
            None => self.value?.map(Value::One).map_err(Refusal::Value),
            Some(_) if self.is_gauge => Err(Refusal::Histogram(Fault::Gauge)),
            Some(_) if self.buckets.is_empty() => return None,
            Some(threshold) => histogram::read(&self.buckets, threshold, last).map(Value::Buckets),
        };
        let older = self.stamp.zip(last.and_then(|last| last.stamp)).is_some_and(|(now, then)| now < then);
        Some(if older { Err(Refusal::Value(BadValue::Older)) } else { value })
    }
}

/// What one value is to an earlier one.
pub(super) enum Since {
    More(Value),
    Less,
    OtherShape,
}

impl Value {
    /// All events.
    pub fn total(&self) -> u64 {
        match self {
            Self::One(count) => *count,
            Self::Buckets(buckets) => buckets.counts.last().copied().unwrap_or(0),
        }
    }

    fn since(&self, earlier: &Self) -> Since {
        match (self, earlier) {
            (Self::One(now), Self::One(then)) => {
                now.checked_sub(*then).map_or(Since::Less, |more| Since::More(Self::One(more)))
            }
            (Self::Buckets(now), Self::Buckets(then)) if now.bounds == then.bounds => now.since(then),
            _ => Since::OtherShape,
        }
    }
}
