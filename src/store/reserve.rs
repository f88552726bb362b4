//! The reserve: a freeze is accepted and durable even when the disk is full.
//!
//! Beside the store lies a file whose blocks were allocated when there was room ([`Reserve`]). When a freeze cannot be
//! committed it is written there in place; [`Reserved`] is a store together with its reserve, and to whoever loads it
//! what is in the reserve is a part of what the store holds.
//!
//! The promise: *an order that [`Store::keep`] returned `Ok` for is in force after any crash or power cut, and gets one
//! audit entry*, in the first commit that can be made; what it returned an error for may be there as well.
//!
//! - *Exactly once.* Every order has a number, and the commit that holds what it came to says so: a position under the
//!   name of no source. What that position covers is never applied again, whatever is still in the file; then it is
//!   wiped.
//! - *In order.* An order from the reserve goes before everything in the commit that takes it over, so that whatever
//!   was ordered later still comes later.
//! - *Only freezes.* To hold deploys back is safe to do on the word of a file that nothing else depends on. Releasing
//!   them is not, and waits for the store.
//! - *A bound.* It holds 128 orders; when nothing can be committed for that long, further ones are refused.
//! - Each order is written twice, so that a damaged block does not lose it; one that cannot be read in either place is
//!   told of and left alone.
//!
//! A file system that writes every block to a new place (btrfs, ZFS) may need room even to overwrite. There the reserve
//! is only as good as that file system's own.

mod file;
mod slots;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Commit, EachHour, EachSlot, Loaded, Position, ReadDurations, Store, StoreError};
use crate::engine::{Action, AuditEntry, Kept, KeptGate, Terms};
use crate::gate::{Hold, Level};
use crate::time::Minute;

pub use file::Reserve;
use slots::{Mark, Record};

/// Where a store keeps how far the reserve has been taken over: no source has this name.
const MARK: (&str, &[u8]) = ("", b"reserve");

/// A store with its reserve.
#[derive(Debug)]
pub struct Reserved {
    store: Arc<dyn Store>,
    reserve: Reserve,
    /// Orders with greater numbers are this process's own: whoever kept them commits what they come to.
    inherited: u64,
    late: Mutex<Late>,
}

/// What goes before the next commit.
#[derive(Debug, Default)]
struct Late {
    /// What the orders come to that were in the reserve when it was loaded, with the mark that covers them.
    commit: Option<(Mark, Commit)>,
    /// Whether a commit may have been made after all.
    is_unsure: bool,
}

impl Reserved {
    /// A store and the reserve that lies beside it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn over(store: Arc<dyn Store>, reserve: Reserve) -> Result<Self, StoreError> {
        if let Some(mark) = mark_in(&store.load()?.positions) {
            reserve.go_on_after(mark);
        }
        let inherited = reserve.last_mark().number;
        Ok(Self { store, reserve, inherited, late: Mutex::default() })
    }

    fn late(&self) -> MutexGuard<'_, Late> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After an error nobody knows what was made; the store does.
    fn settle(&self, late: &mut Late) -> Result<(), StoreError> {
        if !late.is_unsure || (late.commit.is_none() && self.reserve.is_empty()) {
            return Ok(());
        }
        if let Some(mark) = mark_in(&self.store.load()?.positions) {
            late.commit.take_if(|(covered, _)| mark.covers(*covered));
            self.reserve.wipe(mark);
        }
        Ok(())
    }
}

impl Store for Reserved {
    fn revision(&self) -> Result<u64, StoreError> {
        self.store.revision()
    }

    /// What the store holds, and what orders add to it that were in the reserve when this process began. That goes
    /// before the next commit.
    fn load(&self) -> Result<Loaded, StoreError> {
        let mut loaded = self.store.load()?;
        let mark = mark_in(&loaded.positions);
        mark.into_iter().for_each(|mark| self.reserve.wipe(mark));
        let orders = self.reserve.orders();
        let is_open =
            |order: &Record| order.mark.number <= self.inherited && !mark.is_some_and(|mark| mark.covers(order.mark));
        let open = orders.into_iter().filter(is_open);
        *self.late() = Late { commit: take_over(open.collect(), &mut loaded.kept), is_unsure: false };
        loaded.positions.retain(|position| !is_mark(position));
        Ok(loaded)
    }

    fn hours(&self, from: Minute, each: &mut EachHour<'_>) -> Result<(), StoreError> {
        self.store.hours(from, each)
    }

    fn durations(&self, from: Minute, each: &mut EachSlot<'_>) -> Result<(), StoreError> {
        self.store.durations(from, each)
    }

    fn durations_later(&self, from: Minute) -> Result<ReadDurations, StoreError> {
        self.store.durations_later(from)
    }

    fn commit(&self, revision: u64, commit: &Commit) -> Result<(), StoreError> {
        let mut late = self.late();
        self.settle(&mut late)?;
        let mut mark = mark_in(&commit.positions);
        let made = match &late.commit {
            None => self.store.commit(revision, commit),
            Some((covered, first)) => {
                mark = mark.or(Some(*covered));
                let mut whole = first.clone();
                whole.absorb(commit.clone());
                self.store.commit(revision, &whole)
            }
        };
        let was_unsure = std::mem::replace(&mut late.is_unsure, made.is_err());
        if made.is_ok() {
            late.commit = None;
            mark.into_iter().for_each(|mark| self.reserve.wipe(mark));
            if was_unsure {
                self.reserve.allocate();
            }
        }
        made
    }

    fn audit(&self, after: u64, limit: usize, service: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        let mut entries = self.store.audit(after, limit, service)?;
        let late = self.late();
        let waiting = late.commit.iter().flat_map(|(_, commit)| &commit.checkpoint.audit);
        // Those that a commit holds which may have been made are in the store by now.
        let last = entries.last().map_or(after, |entry| entry.number);
        let is_meant =
            |entry: &&AuditEntry| entry.number > last && service.is_none_or(|service| entry.service == service);
        let room = limit.min(super::MOST_AUDIT).saturating_sub(entries.len());
        entries.extend(waiting.filter(is_meant).take(room).cloned());
        Ok(entries)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.store.check()
    }

    fn ticket(&self) -> Option<Position> {
        Some(position_of(self.reserve.next_mark()))
    }

    fn keep(&self, ticket: &Position, order: &AuditEntry) -> Result<(), StoreError> {
        let mark = mark_of(ticket).expect("tickets come from `Store::ticket`");
        assert!(matches!(order.action, Action::Freeze { .. }), "nothing but freezes is kept in the reserve");
        self.reserve.write(&Record { mark, order: order.clone() })
    }
}

/// Adds to what is kept what orders that are not in it come to; with the commit that does the same to the store.
fn take_over(orders: Vec<Record>, kept: &mut Kept) -> Option<(Mark, Commit)> {
    let covered = orders.iter().map(|record| record.mark).max()?;
    let mut commit = Commit { positions: vec![position_of(covered)], ..Commit::default() };
    for Record { order, .. } in orders {
        let Action::Freeze { until, exempt } = &order.action else { continue };
        let hold = Hold::Freeze { reason: order.reason.clone(), until: *until, exempt: exempt.clone() };
        let before = kept.gates.iter().position(|gate| gate.service == order.service);
        let at = before.unwrap_or_else(|| {
            let (service, since) = (order.service.clone(), order.at);
            let (holding, terms) = (Vec::new(), Terms::default());
            kept.gates.push(KeptGate { service, level: Level::Frozen, since, holding, hold: None, terms });
            kept.gates.len() - 1
        });
        let gate = &mut kept.gates[at];
        if gate.level != Level::Frozen {
            (gate.level, gate.since) = (Level::Frozen, order.at);
        }
        gate.hold = Some(hold);
        kept.last_audit += 1;
        commit.checkpoint.gates.retain(|other| other.service != gate.service);
        commit.checkpoint.gates.push(gate.clone());
        commit.checkpoint.audit.push(AuditEntry { number: kept.last_audit, ..order });
    }
    Some((covered, commit))
}

fn is_mark(position: &Position) -> bool {
    (position.source.as_str(), position.key.as_slice()) == MARK
}

fn mark_of(position: &Position) -> Option<Mark> {
    position.at.as_deref().filter(|_| is_mark(position)).and_then(Mark::read)
}

/// The last one counts, as among all positions.
fn mark_in(positions: &[Position]) -> Option<Mark> {
    positions.iter().rev().find_map(mark_of)
}

fn position_of(mark: Mark) -> Position {
    let (source, key) = MARK;
    Position { source: source.to_owned(), key: key.to_vec(), at: Some(mark.write().to_vec()) }
}

#[cfg(test)]
mod tests;
