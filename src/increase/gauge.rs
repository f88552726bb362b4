//! Gauges: the last sample of every slice is judged.
//!
//! A gauge has no increments. Time is cut into slices, aligned to the epoch, and for each series the last sample in a
//! slice says whether the slice was good. A slice of a series in which no sample was seen is no event: what nobody
//! looked at was neither good nor bad, but is named by a note. A slice is judged once a later one has begun.

use std::collections::HashMap;
use std::sync::Arc;

use super::Increase;
use super::hearing::Silence;
use super::member::Page;
use super::meter::FORGET_AFTER_MS;
use super::note::{NoteKind, Notes};
use super::reading::BadValue;
use super::roster::{Named, Roster};
use crate::tally::Tally;
use crate::time::{Horizon, Minute, Timestamp};

/// When a gauge is good: `>= 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// How it compares.
    pub comparison: Comparison,
    /// With what; not NaN.
    pub value: f64,
}

/// How a gauge compares with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`.
    Above,
    /// `>=`.
    AtLeast,
    /// `<`.
    Below,
    /// `<=`.
    AtMost,
    /// `==`.
    Equal,
    /// `!=`.
    Unequal,
}

/// The operators, those that begin like another one first.
const COMPARISONS: [(&str, Comparison); 6] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    (">", Comparison::Above),
    ("<", Comparison::Below),
];

impl Condition {
    /// Reads `>= 1`, `< 0.5`, `== 0`.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shape = || format!("`{text}` is not a comparison with a number such as \">= 1\", \"< 0.5\" or \"!= 0\"");
        let trimmed = text.trim();
        let (sign, comparison) = COMPARISONS.iter().find(|(sign, _)| trimmed.starts_with(sign)).ok_or_else(shape)?;
        let value: f64 = trimmed[sign.len()..].trim().parse().map_err(|_| shape())?;
        if value.is_nan() { Err(shape()) } else { Ok(Self { comparison: *comparison, value }) }
    }

    /// Whether a sample fulfils it; NaN is no sample.
    pub fn holds(self, sample: f64) -> bool {
        match self.comparison {
            Comparison::Above => sample > self.value,
            Comparison::AtLeast => sample >= self.value,
            Comparison::Below => sample < self.value,
            Comparison::AtMost => sample <= self.value,
            Comparison::Equal => sample == self.value,
            Comparison::Unequal => sample != self.value,
        }
    }
}

/// As it is read: `>= 1`.
impl std::fmt::Display for Condition {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = COMPARISONS.iter().find(|(_, comparison)| *comparison == self.comparison);
        write!(out, "{} {}", sign.map_or("", |(sign, _)| *sign), self.value)
    }
}

/// A gauge measure on a target.
#[derive(Clone, Debug)]
pub(super) struct Gauge {
    pub good_when: Condition,
    pub slice: Horizon,
    pub series: Roster<GaugeSeries>,
    /// Series of other rules that may be series of this one as well, by name: the first page tells.
    pub seeds: HashMap<Arc<[u8]>, GaugeSeries>,
}

#[derive(Clone, Debug)]
pub(super) struct GaugeSeries {
    pub name: Arc<[u8]>,
    /// The slice that is going on, by its first minute, and whether its last sample was good.
    pub slice: Option<(Minute, bool)>,
    /// The page that showed it last.
    pub at: Option<Timestamp>,
    /// Whether it was missing from two pages or more since then, and that was said.
    pub is_gone: bool,
    /// What the page with this number says.
    pub seen: (u64, f64),
}

impl Named for GaugeSeries {
    fn name(&self) -> &Arc<[u8]> {
        &self.name
    }
}

impl GaugeSeries {
    pub fn new(name: Arc<[u8]>) -> Self {
        Self { name, slice: None, at: None, is_gone: false, seen: (0, 0.0) }
    }
}

impl GaugeSeries {
    /// Takes in a page that does not show it.
    fn miss(&mut self, page: &Page, notes: &mut Notes) {
        let Some(at) = self.at else { return };
        if !self.is_gone && page.before.is_some_and(|before| at < before) {
            self.is_gone = true;
            notes.add(NoteKind::Vanished, (at, page.at), 0, &self.name);
        }
    }

    /// Takes in the sample of a page in this slice. What it would have shown since the one before, nobody saw.
    fn show(&mut self, slice: Minute, good_when: Condition, page: &Page, notes: &mut Notes) {
        if let Some(at) = self.at.filter(|at| page.at.millis() - at.millis() > 2 * page.interval_ms) {
            notes.add(NoteKind::Unobserved, (at, page.at), 0, &self.name);
        }
        // A clock that was set back does not reopen a slice that is going on later.
        if self.slice.is_none_or(|(open, _)| open <= slice) {
            self.slice = Some((slice, good_when.holds(self.seen.1)));
        }
        (self.at, self.is_gone) = (Some(page.at), false);
    }
}

impl Gauge {
    pub fn new(good_when: Condition, slice: Horizon) -> Self {
        Self { good_when, slice, series: Roster::default(), seeds: HashMap::new() }
    }

    /// Takes in the page that the series have seen; why it could not be read in full, if it could not.
    pub fn finish(&mut self, page: &Page) -> (Increase, Option<Silence>) {
        let mut increase = self.judge(page.at);
        let mut notes = Notes::default();
        let slice = self.slice_of(page.at);
        let good_when = self.good_when;
        let mut silence = Some(Silence::Absent);
        for series in self.series.iter_mut() {
            if series.seen.0 != page.number {
                series.miss(page, &mut notes);
            } else if series.seen.1.is_nan() {
                let from = series.at.unwrap_or(page.at);
                notes.add(NoteKind::BadValue(BadValue::NotANumber), (from, page.at), 0, &series.name);
                silence = Some(Silence::Refused(format!("{} is NaN", String::from_utf8_lossy(&series.name))));
            } else {
                series.show(slice, good_when, page, &mut notes);
                silence = silence.filter(|silence| *silence != Silence::Absent);
            }
        }
        self.seeds.clear();
        let oldest = page.at.plus_millis(-FORGET_AFTER_MS);
        self.series.remove_if(|series| {
            let idle = series.slice.is_none() && series.at.is_none_or(|at| at < oldest);
            idle && series.seen.0 != page.number
        });
        increase.notes = notes.sorted();
        (increase, silence)
    }

    /// Judges the slices that have ended by `now`.
    pub fn judge(&mut self, now: Timestamp) -> Increase {
        let mut increase = Increase::default();
        let slice = self.slice_of(now);
        for series in self.series.iter_mut() {
            if let Some((start, good)) = series.slice.take_if(|(start, _)| *start < slice) {
                let verdict = if good { Tally::new(1, 0) } else { Tally::new(0, 1) };
                *increase.minutes.entry(start).or_default() += verdict;
            }
        }
        increase
    }

    fn slice_of(&self, at: Timestamp) -> Minute {
        let minute = at.minute();
        minute.plus(-minute.number().rem_euclid(self.slice.minutes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_read_as_the_specs_write_them() {
        for (text, below, at, above) in [
            (">= 1", false, true, true),
            (">1", false, false, true),
            (" < 1.0 ", true, false, false),
            ("<=1e0", true, true, false),
            ("== 1", false, true, false),
            ("!= 1", true, false, true),
        ] {
            let condition = Condition::parse(text).unwrap();
            assert_eq!([0.5, 1.0, f64::INFINITY].map(|x| condition.holds(x)), [below, at, above], "{text}");
            assert!(Condition::holds(condition, f64::NAN) == (text == "!= 1"), "{text}");
        }
        for text in ["", "1", "= 1", ">=", "> one", ">= NaN", "=> 1"] {
            assert!(Condition::parse(text).unwrap_err().contains("is not a comparison"), "{text}");
        }
    }
}
