//! The audit log: who did what to a gate, when and why, and every change of a gate's level with its cause.
//!
//! - Entries are numbered from 1 without a gap, also across restarts; nothing is ever changed or taken out.
//! - An order and the change of level that it makes are one entry. An order that changes nothing is an entry too.
//! - What people write is kept as they wrote it; whoever shows it escapes it. The engine limits its length.

use crate::engine::{Command, Engine};
use crate::gate::{Decision, GateState, Hold, Level};
use crate::spec::Catalog;
use crate::time::Timestamp;

/// Who did what no person did.
pub const ITSELF: &str = "slogate";
/// Who did what a change of the specs did: whoever may write them, which nobody here can know better.
pub const SPECS: &str = "specs";

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// From 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Whose gate.
    pub service: String,
    /// Who: a person, [`SPECS`], or [`ITSELF`].
    pub by: String,
    /// What.
    pub action: Action,
    /// Why, in words: those of the person, or of the reason that decided.
    pub reason: String,
    /// The level before; `None` when there had been none.
    pub before: Option<Level>,
    /// The level after; `None` when there has been none yet.
    pub after: Option<Level>,
    /// What made the level what it is, by kind: that of the reason that decides it, `order`, or for an open gate what
    /// has ended: `recovered`, `order_ended`; `started` for the first level of all, `specs` for a change of the specs.
    pub cause: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A person froze the gate.
    Freeze {
        /// When that ends by itself.
        until: Option<Timestamp>,
        /// Kinds of change that pass all the same.
        exempt: Vec<String>,
    },
    /// A person held an automatic freeze off.
    Unfreeze {
        /// When that ends by itself.
        until: Option<Timestamp>,
    },
    /// The level changed without an order.
    Level,
    /// An SLO promises something else than before; its counts are the same.
    Promise {
        /// `story/slo`.
        slo: String,
        /// What it promised.
        from: String,
        /// What it promises.
        to: String,
    },
    /// An SLO counts by other rules than before; what is counted stays as it is.
    Rules {
        /// `story/slo`.
        slo: String,
        /// The rules so far.
        from: String,
        /// The rules from now on.
        to: String,
    },
    /// A gate decides by another policy or by other SLOs than before. Only what differs is told, in words.
    Terms {
        /// What does not hold any more; empty when something was only added.
        from: String,
        /// What holds from now on; empty when something was only taken away.
        to: String,
    },
    /// No spec names an SLO any more, so that nothing is counted for it.
    Removed {
        /// `story/slo`.
        slo: String,
    },
    /// An SLO that was gone is named again and goes on with what was counted before.
    Returned {
        /// `story/slo`.
        slo: String,
        /// Since when nothing was counted for it; `None` if nothing ever was.
        since: Option<Timestamp>,
    },
    /// An SLO goes on with what was counted under another name, or a gate with the level and the orders of another.
    Renamed {
        /// `story/slo`, or of a gate the service, as it was.
        from: String,
        /// As it is.
        to: String,
    },
}

impl Action {
    /// Its name in answers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Freeze { .. } => "freeze",
            Self::Unfreeze { .. } => "unfreeze",
            Self::Level => "level",
            Self::Promise { .. } => "promise",
            Self::Rules { .. } => "rules",
            Self::Terms { .. } => "terms",
            Self::Removed { .. } => "removed",
            Self::Returned { .. } => "returned",
            Self::Renamed { .. } => "renamed",
        }
    }
}

impl Engine {
    /// The entry that a freeze makes when it is followed at `now`, but for its number, which is 0.
    pub fn entry_of(&self, freeze: &Command, now: Timestamp) -> AuditEntry {
        AuditEntry {
            number: 0,
            at: now,
            service: self.catalog[freeze.service].name.clone(),
            by: freeze.by.clone(),
            action: Action::of(&freeze.hold),
            reason: reason_of(&freeze.hold).to_owned(),
            before: self.gates[freeze.service.0].as_ref().map(|state| state.level),
            after: Some(Level::Frozen),
            cause: "order".to_owned(),
        }
    }
}

/// The entries that are not kept yet.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    last: u64,
    entries: Vec<AuditEntry>,
}

impl Journal {
    /// A journal that goes on after entry `last`.
    pub(super) fn after(last: u64) -> Self {
        Self { last, entries: Vec::new() }
    }

    /// The number of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether an entry since the last time says that somebody did something.
    pub(super) fn has_entry_by(&self, who: &str) -> bool {
        self.entries.iter().any(|entry| entry.by == who)
    }

    /// The entries since the last time.
    pub(super) fn take(&mut self) -> Vec<AuditEntry> {
        std::mem::take(&mut self.entries)
    }

    /// Enters what a decision did to a gate: nothing when it left the level as it was and nobody ordered anything.
    pub(super) fn decided(
        &mut self,
        catalog: &Catalog,
        service: &str,
        before: Option<&GateState>,
        decision: &Decision,
        order: Option<&Command>,
        at: Timestamp,
    ) {
        let (was, is) = (before.map(|state| state.level), decision.state.level);
        if was == Some(is) && order.is_none() {
            return;
        }
        let (cause, text) = cause(catalog, before, decision, order);
        let (by, action, reason) = match order {
            Some(Command { by, hold, .. }) => (by.clone(), Action::of(hold), reason_of(hold).to_owned()),
            None => (ITSELF.to_owned(), Action::Level, text),
        };
        self.enter(AuditEntry {
            number: 0,
            at,
            service: service.to_owned(),
            by,
            action,
            reason,
            before: was,
            after: Some(is),
            cause: cause.to_owned(),
        });
    }

    /// Enters an entry under the next number.
    pub(super) fn enter(&mut self, entry: AuditEntry) {
        self.last += 1;
        self.entries.push(AuditEntry { number: self.last, ..entry });
    }
}

impl Action {
    fn of(hold: &Hold) -> Self {
        match hold {
            Hold::Freeze { until, exempt, .. } => Self::Freeze { until: *until, exempt: exempt.clone() },
            Hold::Unfreeze { until, .. } => Self::Unfreeze { until: *until },
        }
    }
}

fn reason_of(hold: &Hold) -> &str {
    let (Hold::Freeze { reason, .. } | Hold::Unfreeze { reason, .. }) = hold;
    reason
}

/// What made the level what it is, by kind and in words.
fn cause(
    catalog: &Catalog,
    before: Option<&GateState>,
    decision: &Decision,
    order: Option<&Command>,
) -> (&'static str, String) {
    let deciding = decision.reasons.first().filter(|_| decision.state.level != Level::Open);
    let order_ended = before.is_some_and(|before| before.hold.is_some()) && decision.state.hold.is_none();
    match (deciding, order) {
        (_, Some(_)) => ("order", String::new()),
        (Some(reason), None) => (reason.kind(), reason.text(catalog)),
        (None, None) if before.is_none() => ("started", "nothing speaks against a change".to_owned()),
        (None, None) if order_ended => ("order_ended", "the order that held the gate has ended".to_owned()),
        (None, None) => ("recovered", "what held the gate is over".to_owned()),
    }
}
