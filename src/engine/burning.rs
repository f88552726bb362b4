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

use std::ops::Range;

use crate::alert::{Course, Threshold};
use crate::counts::PAGE_MINUTES;
use crate::engine::Engine;
use crate::engine::ledger::Tallies;
use crate::spec::{AlertRule, SloId};
use crate::time::{Minute, Timestamp};

/// Tells whether a rule burnt. It costs least to ask of one minute after the other, backwards.
pub(super) struct Burning<'l> {
    threshold: Threshold,
    /// What happened in the short and in the long window of the rule. Both have to burn. The short one does in few
    /// minutes, and only then is the long one looked at.
    windows: [Tallies<'l>; 2],
    /// The present, in which windows end before its minute does.
    now: Timestamp,
    /// Minutes in which it burnt for certain.
    certain: Range<i64>,
}

impl Engine {
    /// The course of an alert at `t`, by the counts alone.
    pub(super) fn course_of_past(&self, id: SloId, rule: &AlertRule, t: Timestamp) -> Course {
        // Further back, the long window would reach to minutes of which only a part may be kept.
        let oldest = self.oldest_accepted(t).plus(rule.long.minutes() - 1);
        let mut burning = self.burning(id, rule, t);
        Course::of_past(rule, t, oldest, |minute| burning.at(minute))
    }

    /// Whether a rule burnt, for minutes up to `t`.
    pub(super) fn burning(&self, id: SloId, rule: &AlertRule, t: Timestamp) -> Burning<'_> {
        let tallies = |window| self.ledgers[self.catalog[id].source.0].tallies(self.columns[id.0], window);
        let threshold = Threshold::new(rule, self.catalog[id].objective);
        Burning { threshold, windows: [tallies(rule.short), tallies(rule.long)], now: t, certain: 0..0 }
    }
}

impl Burning<'_> {
    /// Whether it burnt with its windows ending in this minute.
    pub(super) fn at(&mut self, minute: Minute) -> bool {
        if self.certain.contains(&minute.number()) {
            return true;
        }
        let end = if minute == self.now.minute() { self.now } else { minute.plus(1).start().plus_millis(-1) };
        let burns = self.windows.iter_mut().all(|window| self.threshold.is_reached(window.at(end)));
        if burns && minute.plus(1).hour() > minute.hour() {
            self.look_at_hour_before(minute);
        }
        burns
    }

    /// Looks whether it burnt for certain in each minute of the hour that ends with `last`.
    fn look_at_hour_before(&mut self, last: Minute) {
        let first = last.plus(1 - PAGE_MINUTES as i64);
        if self.windows.iter().all(|window| self.threshold.is_reached(window.mildest(first, last))) {
            self.certain = first.number()..last.number() + 1;
        }
    }
}
