//! The one who commits: numbers commits, and keeps what could not be committed until it can.

use std::sync::Arc;

use super::{Commit, Store, StoreError};
use crate::engine::SourceRename;

/// Commits to a store, each exactly once.
///
/// An error leaves open whether a commit was made. Before anything else is committed, the store is asked; only what it
/// does not have is committed again, together with what has come since.
#[derive(Debug)]
pub struct Writer {
    store: Arc<dyn Store>,
    revision: u64,
    /// What may or may not have been made.
    doubtful: Option<Commit>,
    /// What has never been tried.
    waiting: Option<Commit>,
}

impl Writer {
    /// A writer that goes on after `revision`.
    pub fn new(store: Arc<dyn Store>, revision: u64) -> Self {
        Self { store, revision, doubtful: None, waiting: None }
    }

    /// The revision of the last commit that is known to have been made.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether something waits to be committed.
    pub fn is_behind(&self) -> bool {
        self.doubtful.is_some() || self.waiting.is_some()
    }

    /// Commits everything handed over so far, and returns the revision at which all of it is durable. What is handed
    /// over with an error is not lost: it waits for the next call.
    ///
    /// # Errors
    /// Those of [`Store::commit`] and [`Store::revision`].
    pub fn commit(&mut self, commit: Commit) -> Result<u64, StoreError> {
        append(&mut self.waiting, commit);
        self.settle()?;
        if let Some(commit) = self.waiting.take() {
            match self.store.commit(self.revision + 1, &commit) {
                Ok(()) => self.revision += 1,
                Err(error) => {
                    // What was refused for its number was certainly not made; the number may be somebody else's.
                    let refused = matches!(error, StoreError::OutOfOrder { .. });
                    let kept = if refused { &mut self.waiting } else { &mut self.doubtful };
                    *kept = Some(commit);
                    return Err(error);
                }
            }
        }
        Ok(self.revision)
    }

    /// Finds out whether what is in doubt was made after all.
    fn settle(&mut self) -> Result<(), StoreError> {
        if self.doubtful.is_none() {
            return Ok(());
        }
        let (stored, given) = (self.store.revision()?, self.revision + 1);
        if stored == given {
            self.revision = stored;
            self.doubtful = None;
        } else if stored == self.revision {
            let later = self.waiting.take().unwrap_or_default();
            append(&mut self.doubtful, later);
            self.waiting = self.doubtful.take();
        } else {
            return Err(StoreError::OutOfOrder { stored, given });
        }
        Ok(())
    }
}

fn append(commit: &mut Option<Commit>, later: Commit) {
    match commit {
        Some(commit) => commit.absorb(later),
        None => *commit = Some(later),
    }
}

impl Commit {
    /// Takes a later commit into this one, so that making this one is the same as making both.
    pub fn absorb(&mut self, later: Self) {
        let names = self.positions.iter_mut().map(|position| &mut position.source);
        let names = names.chain(self.gaps.iter_mut().map(|gap| &mut gap.source));
        for name in names {
            *name = SourceRename::latter(&later.checkpoint.renamed_sources, std::mem::take(name));
        }
        self.checkpoint.absorb(later.checkpoint);
        self.positions.extend(later.positions);
        self.gaps.extend(later.gaps);
    }
}
