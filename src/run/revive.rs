//! Reviving: a follower that panicked begins again, while all others go on.
//!
//! A panic is a fault of this program, in whatever one source made it do. What the follower had read and not delivered
//! is gone with it, and so is what it knew of its files; what it had delivered is sound. So that is taken and
//! committed, and another follower is begun by what the store says then, as at a start: every line is counted once.
//!
//! - It waits before it begins again, twice as long each time: whatever made it panic may still be there.
//! - What was told of its targets since the process began goes on: nothing that is counted up ever goes down.
//! - Until it has delivered something again its source is no sound evidence, and says why. How often that happened is
//!   counted.
//! - The owner, the other followers and the gates notice nothing else of it.
//! - A source whose counts do not add up is not read again before a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::follower;
use super::following::Follower;
use super::owner::Owner;
use crate::classify::Classifier;
use crate::spec::SourceId;
use crate::store::Loaded;

/// The first wait before a follower begins again, and the longest.
const BACKOFF_MS: (u64, u64) = (1_000, 60_000);
/// One that has gone on for so long since is as good as new.
const CALM_MS: u64 = 600_000;

/// The followers that panicked, by source.
#[derive(Debug, Default)]
pub(super) struct Revival {
    fallen: BTreeMap<usize, Fallen>,
}

/// A follower that panicked.
#[derive(Clone, Copy, Debug)]
struct Fallen {
    at_ms: u64,
    backoff_ms: u64,
    /// Whether it has not begun again yet.
    is_waiting: bool,
}

impl Revival {
    /// Takes note that one panicked; returns for how long it waits.
    fn note(&mut self, source: SourceId, now_ms: u64) -> u64 {
        let before = self.fallen.get(&source.0).filter(|before| now_ms - before.at_ms < CALM_MS);
        let backoff_ms = before.map_or(BACKOFF_MS.0, |before| (before.backoff_ms * 2).min(BACKOFF_MS.1));
        self.fallen.insert(source.0, Fallen { at_ms: now_ms, backoff_ms, is_waiting: true });
        backoff_ms
    }

    /// Those that have waited for long enough.
    fn due(&self, now_ms: u64) -> Vec<SourceId> {
        let is_due = |fallen: &Fallen| fallen.is_waiting && now_ms - fallen.at_ms >= fallen.backoff_ms;
        self.fallen.iter().filter(|(_, fallen)| is_due(fallen)).map(|(source, _)| SourceId(*source)).collect()
    }

    fn begun(&mut self, source: SourceId) {
        self.fallen.entry(source.0).and_modify(|fallen| fallen.is_waiting = false);
    }
}

impl Owner {
    /// Takes note of followers that panicked, and has those begin again that have waited for long enough.
    pub(super) fn go_on_reviving(&mut self) {
        if self.following.is_stopping() || self.following.has_ended() {
            return;
        }
        for (source, why) in self.following.fallen() {
            self.mourn(source, &why);
        }
        let is_sound = |source: &SourceId| !self.engine.is_corrupt(*source);
        let due: Vec<SourceId> = self.revival.due(self.watch.elapsed_ms()).into_iter().filter(is_sound).collect();
        // What it had delivered must be in the store before anybody begins by what the store says.
        if due.is_empty() || self.is_held_up() || self.commit().is_err() {
            return;
        }
        let loaded = self.store.load().map_err(|error| error.to_string());
        for source in due {
            let begun = loaded.as_ref().map_err(String::clone).and_then(|loaded| self.begin_again(source, loaded));
            match begun {
                Ok(()) => self.revival.begun(source),
                Err(why) => {
                    let backoff_ms = self.revival.note(source, self.watch.elapsed_ms());
                    let name = &self.engine.catalog()[source].name;
                    tracing::error!(
                        source = name,
                        "source {name} cannot be read again ({why}); tried in {backoff_ms} ms"
                    );
                }
            }
        }
    }

    /// Takes what a follower had delivered when it panicked, and says that it did.
    fn mourn(&mut self, source: SourceId, why: &str) {
        for delivery in self.following.arrived() {
            self.take(delivery);
        }
        self.engine.note_panic(source);
        // One that has never delivered has not begun.
        self.caught_up[source.0] = self.caught_up[source.0].map(|_| false);
        let backoff_ms = self.revival.note(source, self.watch.elapsed_ms());
        let name = &self.engine.catalog()[source].name;
        tracing::error!(
            source = name,
            "reading source {name} ended by a fault of slogate ({why}); it begins again in {backoff_ms} ms where its \
             counts were committed last; please report it"
        );
    }

    fn begin_again(&mut self, source: SourceId, loaded: &Loaded) -> Result<(), String> {
        let catalog = Arc::clone(self.engine.catalog());
        let classifier = Classifier::new(&catalog, source).map_err(|error| error.to_string())?;
        let follower = follower(&catalog, source, classifier, None, &loaded.positions);
        let mut follower: Follower = follower.map_err(|error| error.to_string())?;
        follower.go_on_telling(&self.engine);
        self.following.add(follower).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
