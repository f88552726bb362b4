//! Whether a rule burnt in minutes of the past, one after the other backwards.
//!
//! Since when an alert burns is found by going back until it did not (see [`Course::of_past`]). That may be weeks, and
//! there may be thousands of alerts when a server starts, so that a minute has to cost little:
//!
//! - The sums of its windows slide from one minute to the next (see [`Sliding`](crate::window::Sliding)).
//! - Of a whole hour one comparison may be enough: what all windows that end in it have in common holds so many bad
//!   events, and what they cover together so few events, that each of them burns. Then no minute of it is looked at.
//!
//! Both only spare work. The answer for a minute is that of its counts.
//!
//! A window that saw nothing yet is no calm. What happens now is known when its line is written or its target is
//! scraped next, so that the first seconds of a minute always look silent, and with them every window of one minute.
//! Such a window is looked at as it ended a little earlier, when it saw something, and only if it saw nothing then
//! either, nothing burns. How much earlier is what the source may be behind by design ([`Engine::lag`]); it is the same
//! for the present and the past, so that both tell the same.

use std::ops::Range;

use crate::alert::{Course, Threshold};
use crate::counts::PAGE_MINUTES;
use crate::engine::Engine;
use crate::engine::ledger::Tallies;
use crate::spec::{AlertRule, Sli, SloId, SourceKind};
use crate::tally::Tally;
use crate::time::{MILLIS_PER_MINUTE, Minute, Timestamp};

/// Tells whether a rule burnt. It costs least to ask of one minute after the other, backwards.
pub(super) struct Burning<'l> {
    threshold: Threshold,
    /// The short and the long window of the rule. Both have to burn. The short one does in few minutes, and only then
    /// is the long one looked at.
    windows: [Lagging<'l>; 2],
    /// Minutes in which it burnt for certain.
    certain: Range<i64>,
}

/// A window of a rule.
struct Lagging<'l> {
    tallies: Tallies<'l>,
    /// For so many minutes, it may have seen nothing because nobody could know yet.
    lag: i64,
    /// The present, in which windows end before its minute does.
    now: Timestamp,
    /// Minutes with which it ended without an event, so that no minute of a silence is asked twice.
    silent: Range<i64>,
}

impl Engine {
    /// The course of an alert at `t`, by the counts alone.
    pub(super) fn course_of_past(&self, id: SloId, rule: &AlertRule, t: Timestamp) -> Course {
        // Further back, the long window would reach to minutes of which only a part may be kept.
        let oldest = self.oldest_accepted(t).plus(rule.long.minutes() - 1 + self.lag(id));
        let mut burning = self.burning(id, rule, t);
        Course::of_past(rule, t, oldest, |minute| burning.at(minute))
    }

    /// Whether a rule burnt, for minutes up to `t`.
    pub(super) fn burning(&self, id: SloId, rule: &AlertRule, t: Timestamp) -> Burning<'_> {
        let window = |length| Lagging {
            tallies: self.ledgers[self.catalog[id].source.0].tallies(self.columns[id.0], length),
            lag: self.lag(id),
            now: t,
            silent: 0..0,
        };
        let threshold = Threshold::new(rule, self.catalog[id].objective);
        Burning { threshold, windows: [window(rule.short), window(rule.long)], certain: 0..0 }
    }

    /// For how many minutes the events of an SLO may be missing although its source is well, at least 1: a line is
    /// written within a minute; what a target counts is known when the next scrape is over, and some of it may belong
    /// to the minute before; a slice is an event of its first minute, and known when it is over.
    pub(super) fn lag(&self, id: SloId) -> i64 {
        let slo = &self.catalog[id];
        let scrape_ms = match &self.catalog[slo.source].kind {
            SourceKind::File(_) => 0,
            SourceKind::Scrape(scrape) => scrape.interval_ms.saturating_add(scrape.timeout_ms),
        };
        let slice = match &slo.sli {
            Sli::Percentile { slice, .. } | Sli::Throughput { slice, .. } | Sli::Gauge { slice, .. } => slice.minutes(),
            Sli::Availability { .. } | Sli::Latency { .. } | Sli::Ratio { .. } | Sli::Histogram { .. } => 0,
        };
        slice + 1 + i64::try_from(scrape_ms).unwrap_or(i64::MAX) / MILLIS_PER_MINUTE
    }
}

impl Burning<'_> {
    /// Whether it burnt with its windows ending in this minute.
    pub(super) fn at(&mut self, minute: Minute) -> bool {
        if self.certain.contains(&minute.number()) {
            return true;
        }
        let burns = self.windows.iter_mut().all(|window| self.threshold.is_reached(window.ending(minute)));
        if burns && minute.plus(1).hour() > minute.hour() {
            self.look_at_hour_before(minute);
        }
        burns
    }

    /// By what it is judged in this minute: what happened in its long and in its short window.
    pub(super) fn judged(&mut self, minute: Minute) -> (Tally, Tally) {
        let [short, long] = &mut self.windows;
        (long.ending(minute), short.ending(minute))
    }

    /// Looks whether it burnt for certain in each minute of the hour that ends with `last`.
    fn look_at_hour_before(&mut self, last: Minute) {
        let first = last.plus(1 - PAGE_MINUTES as i64);
        if self.windows.iter().all(|window| self.threshold.is_reached(window.tallies.mildest(first, last))) {
            self.certain = first.number()..last.number() + 1;
        }
    }
}

impl Lagging<'_> {
    /// What happened in it when it ended with `minute`; when that is nothing, when it ended with the latest minute
    /// before with which it saw something, as far back as the lag reaches.
    fn ending(&mut self, minute: Minute) -> Tally {
        if !self.silent.contains(&minute.number()) {
            self.silent = minute.number() + 1..minute.number() + 1;
        }
        while self.silent.start > minute.number() - self.lag {
            let last = Minute::from_number(self.silent.start - 1);
            let end = if last == self.now.minute() { self.now } else { last.plus(1).start().plus_millis(-1) };
            let tally = self.tallies.at(end);
            if !tally.is_empty() {
                return tally;
            }
            self.silent.start -= 1;
        }
        Tally::ZERO
    }
}
