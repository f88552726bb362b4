//! Gaps: records that can never be counted, kept so that whoever reads a number knows what is not in it.
//!
//! - A gap is found once, kept durably by whoever finds it, and told to every later engine.
//! - None is ever dropped. When a source has more than 1,000 of them, the two oldest become one that spans both.
//! - What a board shows of a stretch of time is the sum of the gaps that reach into it, and the newest of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::engine::absence::REMOVED;
use crate::gate::Lost;
use crate::spec::SourceKind;
use crate::time::{Horizon, Timestamp};

/// Records that can never be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub source: String,
    /// They are not older than this.
    pub from: Timestamp,
    /// They are not younger than this.
    pub to: Timestamp,
    /// How much is missing, if known.
    pub bytes: Option<u64>,
    /// Why, as a name: `rotated_away`.
    pub reason: String,
}

/// What is missing of a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// The sum of it; `None` when nothing is missing.
    pub lost: Option<Lost>,
    /// The newest gaps, newest last; at most [`MOST_SHOWN`].
    pub newest: Vec<Arc<Gap>>,
}

/// Of a source, in memory; a store keeps all.
const MOST_REMEMBERED: usize = 1_000;
/// At most so many gaps are shown one by one.
pub const MOST_SHOWN: usize = 20;

/// The name of a gap that stands for several with different reasons, and of reasons that this version does not know.
pub const OTHER_REASON: &str = "other";

/// Reasons by name, and what they mean.
const REASONS: [(&str, &str); 22] = [
    ("rotated_away", "its log was rotated away or deleted before it was read"),
    ("rotated_while_down", "its log was rotated away or deleted while slogate was not running"),
    ("truncated_unread", "its log was truncated before it was read"),
    ("gzip_truncated", "its compressed log ends early or is damaged"),
    ("gzip_limit", "its compressed log unpacks to more than a log does"),
    ("late_rest", "it was written behind a last line that had been counted as it was"),
    ("counter_reset", "what a process counted between its last page and its end was never shown"),
    ("counter_reset_unobserved", "a counter fell, and nothing says when it began anew or what it had counted by then"),
    ("other_process", "another process answered that had been running before"),
    ("first_seen", "a counter was shown for the first time, and nothing proves when it was zero"),
    ("vanished", "a counter or a gauge is no longer shown"),
    ("unobserved", "a gauge was not looked at for a while"),
    ("refused", "a histogram cannot be read"),
    ("new_bounds", "a histogram has other buckets than before"),
    ("rebased", "a counter is shown again after so long that what it showed before says nothing"),
    ("torn", "counters of one SLO did not move together"),
    ("quarantined", "counters of a target fell so often that it is several processes; scrape each of them"),
    ("flapping_counter", "counters of a target fell so often that it is several processes; scrape each of them"),
    ("resolution", "a counter is so large that its target passes over events"),
    ("implausible", "a counter rose by more than any counter of events does"),
    ("target_down", "a target did not answer, and what its gauges showed meanwhile is not known"),
    ("target_gone", "a target is no longer listed; what it counted after its last page was never shown"),
];

/// The same of what is missing of an SLO and not of its source; no source is ever said to have it.
const REASONS_OF_SLOS: [(&str, &str); 2] =
    [(REMOVED, "no spec named the SLO"), (EXPIRED, "it was refused as expired when it came in")];

/// Why something is missing that was too old for every window when it came in.
pub(super) const EXPIRED: &str = "expired";

/// The place of the first reason that is about counters and not about logs.
const FIRST_OF_SCRAPES: usize = 6;

impl Gap {
    /// The names of all reasons.
    pub fn reasons() -> impl Iterator<Item = &'static str> {
        REASONS.iter().map(|(name, _)| *name).chain([OTHER_REASON])
    }

    /// The names of the reasons that a source of this kind can have.
    pub fn reasons_of(kind: &SourceKind) -> impl Iterator<Item = &'static str> {
        let (of_logs, of_scrapes) = REASONS.split_at(FIRST_OF_SCRAPES);
        let reasons = match kind {
            SourceKind::File(_) => of_logs,
            SourceKind::Scrape(_) => of_scrapes,
        };
        reasons.iter().map(|(name, _)| *name).chain([OTHER_REASON])
    }

    /// One sentence without a full stop that says what is missing and why.
    pub fn text(&self) -> String {
        let lost = Lost { gaps: 1, from: self.from, to: self.to, bytes: self.bytes };
        let all = || REASONS.iter().chain(&REASONS_OF_SLOS);
        let place = all().position(|(name, _)| *name == self.reason);
        let why = place.and_then(|place| all().nth(place)).map_or(&*self.reason, |(_, why)| why);
        match place.is_some_and(|place| place >= FIRST_OF_SCRAPES) {
            true => format!("{}: {why}", lost.text_of_events(&self.source)),
            false => format!("{}: {why}", lost.text(&self.source)),
        }
    }

    fn reason(&self) -> &'static str {
        Self::reasons().find(|name| *name == self.reason).unwrap_or(OTHER_REASON)
    }

    /// Whether it reaches into the window of length `window` at `t`.
    pub(super) fn is_within(&self, window: Horizon, t: Timestamp) -> bool {
        self.from <= t && self.to >= window.first_minute(t.minute()).start()
    }

    /// One gap in place of two.
    fn joined(&self, later: &Self) -> Self {
        let is_same = self.reason == later.reason;
        Self {
            source: self.source.clone(),
            from: self.from.min(later.from),
            to: self.to.max(later.to),
            bytes: sum(self.bytes, later.bytes),
            reason: if is_same { self.reason.clone() } else { OTHER_REASON.to_owned() },
        }
    }
}

impl Missing {
    /// What `gaps`, in the order in which they were found, come to.
    pub(super) fn of<'a>(gaps: impl IntoIterator<Item = &'a Arc<Gap>>) -> Self {
        let mut missing = Self::default();
        for gap in gaps {
            missing.lost = Some(match missing.lost {
                None => Lost { gaps: 1, from: gap.from, to: gap.to, bytes: gap.bytes },
                Some(lost) => Lost {
                    gaps: lost.gaps + 1,
                    from: lost.from.min(gap.from),
                    to: lost.to.max(gap.to),
                    bytes: sum(lost.bytes, gap.bytes),
                },
            });
            if missing.newest.len() == MOST_SHOWN {
                missing.newest.remove(0);
            }
            missing.newest.push(Arc::clone(gap));
        }
        missing
    }
}

/// The gaps of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    /// In the order in which they were found.
    found: VecDeque<Arc<Gap>>,
    /// How many there ever were, by reason.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// How long those are together of which that is known, in bytes.
    pub(super) bytes: u64,
}

impl Gaps {
    /// Takes a gap in.
    pub(super) fn note(&mut self, gap: Gap) {
        *self.counts.entry(gap.reason()).or_default() += 1;
        self.bytes = self.bytes.saturating_add(gap.bytes.unwrap_or(0));
        self.found.push_back(Arc::new(gap));
        if self.found.len() > MOST_REMEMBERED
            && let (Some(oldest), Some(next)) = (self.found.pop_front(), self.found.pop_front())
        {
            self.found.push_front(Arc::new(oldest.joined(&next)));
        }
    }

    /// Those that reach into the window of length `window` at `t`.
    pub(super) fn within(&self, window: Horizon, t: Timestamp) -> impl Iterator<Item = &Arc<Gap>> {
        self.found.iter().filter(move |gap| gap.is_within(window, t))
    }
}

/// What is not known in part is not known.
fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.saturating_add(b?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::tail::GapReason;
    use crate::time::Minute;

    /// A gap in the minutes from `from` to `to`.
    fn gap(from: i64, to: i64, bytes: Option<u64>, reason: &str) -> Gap {
        let at = |minute: i64| Minute::from_number(minute).start();
        Gap { source: "lb".into(), from: at(from), to: at(to), bytes, reason: reason.into() }
    }

    fn gaps(all: &[Gap]) -> Gaps {
        let mut gaps = Gaps::default();
        all.iter().for_each(|gap| gaps.note(gap.clone()));
        gaps
    }

    #[test]
    fn a_gap_is_in_every_window_that_it_reaches_into() {
        let gaps = gaps(&[gap(100, 110, None, "rotated_away")]);
        for (window, t, expected) in
            [(60, 99, 0), (60, 100, 1), (60, 105, 1), (60, 169, 1), (60, 170, 0), (120, 170, 1), (1, 110, 1)]
        {
            let at = Minute::from_number(t).start();
            assert_eq!(gaps.within(Horizon::of_minutes(window), at).count(), expected, "{window} minutes at {t}");
        }
    }

    #[test]
    fn what_is_not_known_in_part_is_not_known() {
        let all = [gap(1, 2, Some(5), "late_rest"), gap(3, 9, Some(6), "late_rest"), gap(0, 1, None, "late_rest")];
        let lost = |count: usize| Missing::of(gaps(&all[..count]).found.iter()).lost;
        let at = |minute: i64| Minute::from_number(minute).start();
        assert_eq!(lost(0), None);
        assert_eq!(lost(2), Some(Lost { gaps: 2, from: at(1), to: at(9), bytes: Some(11) }));
        assert_eq!(lost(3), Some(Lost { gaps: 3, from: at(0), to: at(9), bytes: None }));
    }

    #[test]
    fn no_gap_is_ever_dropped_and_memory_is_bounded() {
        let mut gaps = Gaps::default();
        let most = MOST_REMEMBERED as i64;
        (0..most + 5).for_each(|minute| gaps.note(gap(minute, minute, Some(1), "rotated_away")));
        gaps.note(gap(0, 0, Some(1), "odd"));
        assert_eq!(gaps.found.len(), MOST_REMEMBERED);
        let all = Missing::of(gaps.found.iter());
        assert_eq!(all.lost.map(|lost| (lost.from.minute().number(), lost.bytes)), Some((0, Some(most as u64 + 6))));
        assert_eq!((all.newest.len(), all.newest[MOST_SHOWN - 1].reason.as_str()), (MOST_SHOWN, "odd"));
        assert_eq!(gaps.counts, [("rotated_away", most as u64 + 5), (OTHER_REASON, 1)].into());
        assert_eq!(gaps.bytes, most as u64 + 6);
    }

    #[test]
    fn every_reason_of_a_log_is_known_here() {
        for reason in GapReason::ALL {
            assert!(Gap::reasons().any(|name| name == reason.name()), "{}", reason.name());
        }
    }

    #[test]
    fn a_gap_says_what_is_missing_and_why() {
        let text = gap(29_919_492, 29_919_493, None, "rotated_while_down").text();
        assert_eq!(
            text,
            "an unknown number of bytes of source lb from between 2026-11-20T10:12:00Z and 2026-11-20T10:13:00Z can \
             never be counted: its log was rotated away or deleted while slogate was not running"
        );
        assert!(gap(1, 2, Some(7), "cosmic_rays").text().ends_with("can never be counted: cosmic_rays"));
        let text = gap(29_919_492, 29_919_493, None, "target_gone").text();
        let begins = "events of source lb from between 2026-11-20T10:12:00Z and 2026-11-20T10:13:00Z may be missing: a";
        assert!(text.starts_with(begins), "{text}");
    }
}
