//! Recall: what the gates were at a past instant, as the audit log tells it.
//!
//! A gate has a memory, orders and freezes that are held by hysteresis, so that its level of the past does not follow
//! from counts. But every change of a level and every order is an entry of the audit. Entries are looked at from the
//! newest back, until for every service that is known which decided its level, since when it had it, and by whose
//! order.
//!
//! - What no entry tells is not known, and is said so: such a gate is unknown, and lets nothing pass.
//! - Reasons are those that counts give today, if they lead to the level that is recorded, and otherwise the words of
//!   the entry.
//! - Entries of before a rename are those of the service's name of then.
//! - Which kinds of change were exempt is not recorded. When a gate decided by other terms at that time, nothing passes
//!   as an exception.

use std::collections::BTreeMap;

use crate::engine::{Action, AuditEntry, Board, Engine, NotKept, SloStanding};
use crate::gate::{Decision, GateState, Hold, Level, Reason};
use crate::spec::{Catalog, Service, ServiceId};
use crate::time::Timestamp;

/// What the audit tells of the gates at one instant.
#[derive(Clone, Debug)]
pub struct Recall {
    at: Timestamp,
    services: BTreeMap<String, Then>,
    /// What services were called in the entries that come next, with their names of today.
    formerly: BTreeMap<String, String>,
    /// Why no more is known, when there was need for more.
    trouble: Option<String>,
}

/// What it tells of one gate.
#[derive(Clone, Debug, Default)]
struct Then {
    level: Option<Level>,
    /// Since when it had that level, and what the entry says of it.
    since: Option<(Timestamp, String)>,
    /// The order that was in force, if there was one, once that is known.
    hold: Option<Option<Hold>>,
    /// When it began to decide by other terms later.
    terms_changed: Option<Timestamp>,
    /// The earliest entry seen.
    earliest: Option<Timestamp>,
}

impl Recall {
    /// Nothing is known yet of the gates at `at`.
    pub fn new(catalog: &Catalog, at: Timestamp) -> Self {
        let services = catalog.services.iter().map(|service| (service.name.clone(), Then::default())).collect();
        Self { at, services, formerly: BTreeMap::new(), trouble: None }
    }

    /// The same, when no more of the audit can be had.
    pub fn given_up(self, why: &str) -> Self {
        Self { trouble: Some(why.to_owned()), ..self }
    }

    /// Takes the next entry, in descending order of their numbers.
    pub fn look(&mut self, entry: &AuditEntry) {
        let at = self.at;
        let name = self.formerly.get(&entry.service).unwrap_or(&entry.service).clone();
        let Some(then) = self.services.get_mut(&name) else { return };
        then.look(entry, at);
        if let Action::Renamed { from, to } = &entry.action
            && *to == entry.service
        {
            // Before that, the later name was that of another gate, if of any.
            self.formerly.remove(to);
            self.formerly.insert(from.clone(), name);
        }
    }

    /// Whether no earlier entry is of interest.
    pub fn is_done(&self) -> bool {
        self.services.values().all(Then::is_known)
    }
}

impl Then {
    fn look(&mut self, entry: &AuditEntry, at: Timestamp) {
        self.earliest = Some(entry.at);
        // What comes before an entry of then was before it, whatever a clock that was put right says.
        if entry.at > at && self.level.is_none() {
            if matches!(entry.action, Action::Terms { .. }) {
                self.terms_changed = Some(entry.at);
            }
            return;
        }
        let Some(after) = entry.after.filter(|_| !self.is_known()) else { return };
        let level = *self.level.get_or_insert(after);
        let changed = entry.before != entry.after;
        if changed && self.since.is_none() {
            self.since = Some((entry.at.min(at), entry.reason.clone()));
        }
        if self.hold.is_none() {
            self.hold = match order_of(entry) {
                Some(hold) => Some(Some(hold).filter(|hold| hold.until().is_none_or(|until| at < until))),
                // A freeze that was in force then froze the gate no earlier than it was frozen; and no unfreeze
                // outlives a freeze, nor comes before the first entry.
                None if changed && (level == Level::Frozen || entry.before == Some(Level::Frozen)) => Some(None),
                None if entry.before.is_none() => Some(None),
                None => None,
            };
        }
    }

    fn is_known(&self) -> bool {
        self.level.is_some() && self.since.is_some() && self.hold.is_some()
    }
}

fn order_of(entry: &AuditEntry) -> Option<Hold> {
    let reason = entry.reason.clone();
    match &entry.action {
        Action::Freeze { until, exempt } => Some(Hold::Freeze { reason, until: *until, exempt: exempt.clone() }),
        Action::Unfreeze { until } => Some(Hold::Unfreeze { reason, until: *until }),
        _ => None,
    }
}

impl Engine {
    /// Shows everything as of a past instant: from the counts that are kept, and the gates as they were.
    ///
    /// # Errors
    /// Those of [`Engine::board_at`].
    pub fn board_recalled(&self, recall: &Recall) -> Result<Board, NotKept> {
        let mut board = self.board_at(recall.at)?;
        let services = (0..self.catalog.services.len()).map(ServiceId);
        board.gates = services.map(|service| self.recalled(service, &board.slos, recall)).collect();
        Ok(board)
    }

    fn recalled(&self, service: ServiceId, slos: &[SloStanding], recall: &Recall) -> Decision {
        let Service { name, slos: members, .. } = &self.catalog[service];
        let then = recall.services.get(name);
        let known = then.and_then(|then| {
            let ((since, why), hold) = (then.since.clone()?, then.hold.clone()?);
            Some((then.level?, since, why, hold, then.terms_changed))
        });
        let Some((level, since, why, hold, terms_changed)) = known else {
            let from = then.and_then(|then| then.earliest);
            let reason = Reason::NotRecorded { service, from, why: recall.trouble.clone() };
            let (since, holding, hold) = (recall.at, Default::default(), None);
            return Decision {
                state: GateState { level: Level::Unknown, since, holding, hold },
                reasons: vec![reason],
            };
        };
        // Every SLO may have held the gate; those that counts show to have recovered did not.
        let is_held = level == Level::Frozen && !matches!(hold, Some(Hold::Freeze { .. }));
        let holding = members.iter().copied().filter(|_| is_held).collect();
        let before = GateState { level, since, holding, hold };
        let mut decision = self.decide(service, slos, Some(&before), recall.at);
        if decision.state.level != level {
            decision.state = before;
            decision.reasons.insert(0, Reason::Recorded { level, since, why });
        }
        decision.reasons.extend(terms_changed.map(|since| Reason::OtherTerms { since }));
        decision
    }
}
