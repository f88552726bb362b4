//! Stretches in which events may be missing, on their way to the owner.
//!
//! A target in trouble has the same one on every page. The first gap of a reason is handed over at once, those that
//! follow within a minute become one. A crash in that minute loses how long the trouble lasted, not that there was one.

use std::collections::BTreeMap;

use crate::engine::Gap;
use crate::increase::{Effect, Note};
use crate::time::Timestamp;

/// Between two gaps of one reason, in milliseconds.
const PAUSE_MS: u64 = 60_000;

/// The gaps of one source.
pub(super) struct Gaps {
    source: String,
    ready: Vec<Gap>,
    /// By reason: what came since one was handed over.
    held: BTreeMap<&'static str, Held>,
    elapsed_ms: u64,
}

struct Held {
    since_ms: u64,
    gap: Option<Gap>,
}

impl Gaps {
    /// None yet.
    pub(super) fn new(source: &str) -> Self {
        Self { source: source.to_owned(), ready: Vec::new(), held: BTreeMap::new(), elapsed_ms: 0 }
    }

    /// Adds the stretch that a note is about, if events may be missing in it.
    pub(super) fn add_note(&mut self, note: &Note) {
        if matches!(note.kind.effect(), Effect::LowerBound | Effect::Suspect) {
            let name = note.kind.name();
            self.add(name.rsplit('.').next().unwrap_or(name), note.from, note.to);
        }
    }

    /// Adds a stretch after `from` and up to `to`.
    pub(super) fn add(&mut self, reason: &'static str, from: Timestamp, to: Timestamp) {
        let gap = Gap { source: self.source.clone(), from: from.min(to), to, bytes: None, reason: reason.to_owned() };
        match self.held.get_mut(reason) {
            None => {
                self.held.insert(reason, Held { since_ms: self.elapsed_ms, gap: None });
                self.hand_over(gap);
            }
            Some(held) => match &mut held.gap {
                Some(held) => (held.from, held.to) = (held.from.min(gap.from), held.to.max(gap.to)),
                empty => *empty = Some(gap),
            },
        }
    }

    /// Hands over what was held for long enough; whether that was anything.
    pub(super) fn release(&mut self, elapsed_ms: u64) -> bool {
        self.elapsed_ms = elapsed_ms;
        let over: Vec<&'static str> = self
            .held
            .iter()
            .filter(|(_, held)| elapsed_ms - held.since_ms >= PAUSE_MS)
            .map(|(name, _)| *name)
            .collect();
        for reason in over {
            let Some(held) = self.held.remove(reason) else { continue };
            if let Some(gap) = held.gap {
                self.held.insert(reason, Held { since_ms: elapsed_ms, gap: None });
                self.hand_over(gap);
            }
        }
        !self.ready.is_empty()
    }

    /// Hands over everything; whether there was anything.
    pub(super) fn release_all(&mut self) -> bool {
        let held: Vec<Gap> = std::mem::take(&mut self.held).into_values().filter_map(|held| held.gap).collect();
        held.into_iter().for_each(|gap| self.hand_over(gap));
        !self.ready.is_empty()
    }

    /// What is handed over.
    pub(super) fn take(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.ready)
    }

    fn hand_over(&mut self, gap: Gap) {
        tracing::warn!(source = self.source, reason = gap.reason, "gap: {}", gap.text());
        self.ready.push(gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_on_every_page_is_a_gap_a_minute() {
        let mut gaps = Gaps::new("api");
        let at = Timestamp::from_seconds;
        let mut found = Vec::new();
        for second in (0..180).step_by(15) {
            gaps.release(second as u64 * 1_000);
            gaps.add("quarantined", at(second - 15), at(second));
            found.extend(gaps.take().into_iter().map(|gap| (gap.from, gap.to)));
        }
        assert_eq!(found, [(at(-15), at(0)), (at(0), at(45)), (at(45), at(105))]);
        gaps.add("vanished", at(1), at(2));
        assert!(gaps.release_all());
        let rest = gaps.take().into_iter().map(|gap| (gap.reason, gap.from, gap.to));
        let rest: Vec<_> = rest.collect();
        assert_eq!(rest, [("vanished".to_owned(), at(1), at(2)), ("quarantined".to_owned(), at(105), at(165))]);
        assert!(!gaps.release_all());
    }
}
