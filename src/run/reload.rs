//! Reloading: how other specs come into force while everything goes on.
//!
//! ```text
//! news -> followers stop -> what they have read is taken and committed -> engine restored with the other catalog
//!                                             followers of the other catalog start <- committed, shown to readers
//! ```
//!
//! - The old specs are in force, orders are followed and questions answered until the engine is replaced. Then the
//!   catalog, the board and every name in an answer are those of the new ones at once.
//! - What was counted is in the store before the engine is replaced, and is read back from there by the names of the
//!   specs, as at a start: nothing is counted by both, and nothing by neither. Orders and the memory of gates come
//!   along.
//! - Readers see the new specs only when the audit of what they changed is durable: to promise less is a way to open a
//!   gate.
//! - A freeze that is ordered while readers are kept at the old specs is shown there too.
//! - While the store cannot be written the old specs stay, and what is waited for is told.
//! - Whatever fails, the specs that were in force go on being followed.

use std::sync::Arc;

use super::descriptors::Descriptors;
use super::follow::Reading;
use super::following::Following;
use super::owner::{COMMIT_MS, Owner};
use super::revive::Revival;
use super::specs::{Cause, Change, News};
use super::{classifiers, followers, renamed, tell_measured, tell_not_followed};
use crate::api::{Access, SpecsHealth};
use crate::engine::{Board, SourceRename};
use crate::gate::{Decision, GateState, Hold, Level, Reason};
use crate::spec::{Catalog, Service};
use crate::time::Timestamp;

/// Of more faults than this only the number is told.
const MOST_FAULTS: usize = 50;

/// How far a reload has come.
pub(super) struct Reload {
    pub(super) specs: SpecsHealth,
    access: Access,
    /// What is to be in force as soon as that can be.
    coming: Option<Box<Change>>,
    /// How far sources were read that are not followed at the moment.
    carried: Vec<(String, Reading)>,
    /// What is in force has not been shown to readers yet.
    is_unseen: bool,
    /// What the specs changed before the start could not be written yet, and readers see no gate that it may open.
    pub(super) is_withheld: bool,
    /// When following was tried last without success.
    tried_ms: Option<u64>,
}

impl Reload {
    /// No reload, since the specs were loaded at the start.
    pub(super) fn new(access: Access, loaded_at: Timestamp) -> Self {
        let specs = SpecsHealth::loaded(loaded_at);
        let (coming, carried, tried_ms) = Default::default();
        Self { specs, access, coming, carried, is_unseen: false, is_withheld: false, tried_ms }
    }

    /// Whether readers are to see what they saw before, given that the store lacks something.
    pub(super) fn is_to_be_kept_back(&mut self, is_behind: bool) -> bool {
        self.is_unseen &= is_behind;
        self.is_unseen
    }
}

/// What readers are kept at, with every gate frozen on which a freeze was ordered since; `None` when there is none. The
/// order was answered, so that nobody may read anything else (see [`api`](crate::api)).
pub(super) fn frozen_as_well(shown: (&Catalog, &Board), coming: (&Catalog, &Board)) -> Option<Board> {
    let ordered = |(number, service): (usize, &Service)| {
        let state = &coming.1[coming.0.service_following(&service.name)?].state;
        let is_new = state.level == Level::Frozen && shown.1.gates[number].state.hold != state.hold;
        let Some(Hold::Freeze { reason, until, .. }) = &state.hold else { return None };
        let reason = Reason::ManualFreeze { reason: reason.clone(), until: *until };
        is_new.then(|| (number, state.clone(), reason))
    };
    let ordered: Vec<_> = shown.0.services.iter().enumerate().filter_map(ordered).collect();
    if ordered.is_empty() {
        return None;
    }
    let mut board = shown.1.clone();
    for (number, GateState { since, hold, .. }, reason) in ordered {
        let Decision { state, reasons } = &mut board.gates[number];
        if state.level != Level::Frozen {
            (state.level, state.since) = (Level::Frozen, since);
        }
        state.hold = hold;
        reasons.insert(0, reason);
    }
    Some(board)
}

impl Owner {
    /// Takes in what was found in the directory of the specs.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Faulty(faults, cause) => self.refuse(&faults, cause),
            News::Sound(change, cause) => {
                let is_same = self.reload.coming.is_none() && *change.catalog == **self.engine.catalog();
                match is_same {
                    true if cause == Cause::Again => {}
                    true => self.keep(*change),
                    false => {
                        self.reload.specs.rejected = None;
                        self.reload.coming = Some(change);
                    }
                }
            }
        }
    }

    /// Takes the next step of a reload, if there is one to take.
    pub(super) fn go_on_reloading(&mut self) {
        let is_idle = self.reload.coming.is_none() && !self.following.has_ended();
        if is_idle || self.is_stopping() {
            return;
        }
        // Of a server that has lost its store nothing is followed; one that starts from a sound store begins with the
        // specs of then.
        let is_lost = matches!(&self.store_health, Err(trouble) if trouble.is_lost);
        if is_lost || self.writer.is_behind() {
            return self.wait();
        }
        if !self.following.has_ended() {
            // What they have read is taken first, and then their deliveries end.
            return self.following.stop();
        }
        if self.commit().is_err() {
            return self.wait();
        }
        self.reload.specs.waiting = None;
        let carried = self.following.carried();
        self.reload.carried.extend(carried);
        match self.reload.coming.take() {
            Some(change) => self.replace(*change),
            None => self.follow_again(),
        }
    }

    fn refuse(&mut self, faults: &[String], cause: Cause) {
        let mut told: Vec<&str> = faults.iter().map(String::as_str).take(MOST_FAULTS).collect();
        let more = faults.len() - told.len();
        let more = format!("and {more} more");
        if faults.len() > MOST_FAULTS {
            told.push(&more);
        }
        let why = told.join("\n");
        // Something sound that waits was sound at another time: what is there now is meant.
        (self.reload.coming, self.reload.specs.waiting) = (None, None);
        if cause != Cause::Asked && self.reload.specs.rejected.as_ref() == Some(&why) {
            return;
        }
        for fault in told {
            tracing::error!("the specs are not taken over, those in force stay: {fault}");
        }
        self.reload.specs.reject(why);
    }

    /// What is in force was read anew. The token may be another one although the specs name the same place for it.
    fn keep(&mut self, same: Change) {
        self.reload.access.set_token(same.token);
        self.reload.specs.accept(self.clock.now());
        tracing::info!("the specs were reloaded; they say what they said before");
    }

    /// Tells what is waited for, if other specs wait and not only the followers of those in force.
    fn wait(&mut self) {
        let (Some(_), Err(why)) = (&self.reload.coming, &self.store_health) else { return };
        let waiting = format!("everything counted is to be written first, and that cannot be done: {}", why.why);
        if self.reload.specs.waiting.as_ref() != Some(&waiting) {
            tracing::warn!("the specs are taken over later: {waiting}");
            self.reload.specs.waiting = Some(waiting);
        }
    }

    /// Puts other specs in force; everything counted by the old ones is committed, and nobody follows.
    fn replace(&mut self, change: Change) {
        let Change { catalog, classifiers, token, .. } = change;
        let now = self.clock.now();
        if let Err(error) = Descriptors::of_process().check(catalog.sources.len()) {
            return self.stay(&error.to_string());
        }
        let restored = renamed::restored_whole(&*self.store, &catalog, now);
        let (engine, loaded) = match restored {
            Ok(restored) => restored,
            Err(error) => return self.stay(&error.to_string()),
        };
        let renamed_sources = engine.renamed_sources();
        let renamed = |(name, reading)| (SourceRename::latter(renamed_sources, name), reading);
        let carried = std::mem::take(&mut self.reload.carried).into_iter().map(renamed).collect();
        let mut followers = match followers(&catalog, classifiers, carried, &loaded.positions) {
            Ok(followers) => followers,
            Err(error) => return self.stay(&error.to_string()),
        };
        self.caught_up = carried_over(self.engine.catalog(), &catalog, renamed_sources, &self.caught_up);
        self.engine = engine.going_on_from(&self.engine);
        self.durations = None;
        followers.iter_mut().for_each(|follower| follower.go_on_telling(&self.engine));
        tell_measured(&mut self.engine, &followers, now);
        tell_not_followed(&self.engine);
        renamed::tell(&self.engine);
        self.reload.access.set_token(token);
        self.reload.specs.accept(now);
        self.reload.is_unseen = true;
        let (stories, slos) = (catalog.stories.len(), catalog.slos.len());
        tracing::info!("the specs were reloaded: {slos} SLOs of {stories} stories");
        let board = self.engine.tick(now);
        // When this cannot be written readers go on seeing the old specs until it can.
        let _ = self.commit();
        self.publish(Arc::new(board));
        self.start(followers);
    }

    fn stay(&mut self, why: &str) {
        self.refuse(&[why.to_owned()], Cause::Asked);
        self.follow_again();
    }

    /// Has the sources of the specs in force followed, as far as they were read.
    fn follow_again(&mut self) {
        let elapsed_ms = self.watch.elapsed_ms();
        if self.reload.tried_ms.is_some_and(|tried_ms| elapsed_ms - tried_ms < COMMIT_MS) {
            return;
        }
        self.reload.tried_ms = Some(elapsed_ms);
        let catalog = Arc::clone(self.engine.catalog());
        let carried = std::mem::take(&mut self.reload.carried);
        let loaded = self.store.load().map_err(|error| error.to_string());
        let found = loaded.and_then(|loaded| {
            let classifiers = classifiers(&catalog).map_err(|error| error.to_string())?;
            followers(&catalog, classifiers, carried, &loaded.positions).map_err(|error| error.to_string())
        });
        match found {
            Ok(mut followers) => {
                followers.iter_mut().for_each(|follower| follower.go_on_telling(&self.engine));
                self.start(followers);
            }
            Err(error) => tracing::error!("nothing is followed, and that is tried again: {error}"),
        }
    }

    fn start(&mut self, followers: Vec<super::following::Follower>) {
        self.revival = Revival::default();
        match Following::start(followers, &self.stop, &self.now) {
            Ok(following) => (self.following, self.reload.tried_ms) = (following, None),
            Err(error) => {
                tracing::error!("nothing is followed, and that is tried again: cannot start a thread: {error}");
                self.following = Following::nothing();
            }
        }
    }
}

/// What is known of the sources of `new` from those of `old`, by name: that they were started, not that they were read
/// to their end by now.
fn carried_over(
    old: &Catalog,
    new: &Catalog,
    renamed: &[SourceRename],
    caught_up: &[Option<bool>],
) -> Vec<Option<bool>> {
    let known = |name: &str| caught_up[old.source_named(SourceRename::former(renamed, name))?.0].map(|_| false);
    new.sources.iter().map(|source| known(&source.name)).collect()
}

#[cfg(test)]
pub(super) mod tests;
