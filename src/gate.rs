//! The gate: may this service be deployed now?
//!
//! [`decide`] looks at the standings of a service's SLOs and at what people have ordered, and names one of four levels,
//! the worst that applies: a manual freeze, a spent budget, nothing sound to judge by, a low budget, open. Whether a
//! particular change may pass at that level is a second, smaller question, [`Decision::verdict`].
//!
//! - Everything that decides is an integer comparison; every level but open carries at least one [`Reason`].
//! - *Hysteresis.* A budget at or below `frozen_below` closes the gate and the SLO is remembered as holding it; the
//!   gate opens again only when each SLO that holds it has been seen, with sound evidence, above `thaw_above`. An SLO
//!   whose evidence grows thin or disappears in the meantime goes on holding: quiet is not recovery.
//! - *Alerts.* Where the policy says so, an alert that fires freezes the gate, and only while it fires: its short
//!   window is what keeps it from lingering.
//! - *Evidence.* Fewer than `min_events` in the window can neither freeze nor thaw. A source that has gone silent
//!   leaves its SLOs without sound evidence; what it has already proved, a spent budget, still freezes.
//! - *Measurement.* An SLO over scraped targets that do not show any more what it is made of, or never have, is no
//!   sound evidence either, whatever else the source shows, and makes the gate unknown: silence there is not an absence
//!   of events.
//! - *Doubt.* A source that is heard may hide errors (see [`Feed`]): as long as it does, its SLOs are no sound evidence
//!   and the gate is unknown, unless something freezes it. What is lost for good is a reason that is shown, and decides
//!   nothing unless the policy says so.
//! - *Holds.* People overrule the automatic part in both directions, and there is one order at a time: a freeze beats
//!   everything, an unfreeze holds an automatic freeze off until the budgets have recovered. Either may end by itself.
//! - [`GateState`] is all that one decision hands to the next, and all that must survive a restart.
//!
//! It keeps no record of changes and knows no names: audit and texts are made from its decisions.

mod feed;
mod reason;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::alert::AlertStanding;
use crate::budget::Standing;
use crate::spec::{GatePolicy, OnGap, OnUnknown, SloId, SourceId};
use crate::tally::Tally;
use crate::time::Timestamp;

pub use feed::{Doubt, Feed, Lost, Measurement, Unreadable};
pub use reason::Reason;

/// How far a service may be changed, from free to not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Deploy.
    Open,
    /// Deploy with care, canary first.
    Guarded,
    /// There is nothing sound to judge by; the policy says what that means.
    Unknown,
    /// Do not deploy.
    Frozen,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Guarded, Self::Unknown, Self::Frozen];

    /// Its name in answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Guarded => "guarded",
            Self::Unknown => "unknown",
            Self::Frozen => "frozen",
        }
    }
}

/// How much an SLO's standing is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Enough events from a source that is being heard.
    Ok,
    /// Fewer events than the policy asks for.
    Thin,
    /// Its source was heard last at this time, too long ago, or never, so that its events are from elsewhere: from the
    /// source that it was read from before, or from what this one was called before.
    Stale {
        /// The newest record of the source, if there ever was one.
        last_heard: Option<Timestamp>,
    },
    /// Its source is heard and has not shown it since this time, too long ago; never when `None`.
    Unmeasured {
        /// The last time that it could be measured.
        last: Option<Timestamp>,
    },
    /// Its source is heard, but errors may hide in what it delivers.
    Degraded,
    /// No events at all.
    None,
}

impl Evidence {
    /// What a tally is worth at `now`, when the newest record of its source is from `last_heard` and there is doubt
    /// about that source or none.
    pub fn of(policy: &GatePolicy, tally: Tally, last_heard: Option<Timestamp>, doubt: bool, now: Timestamp) -> Self {
        let is_silent = match last_heard {
            Some(heard) => now.millis().saturating_sub(heard.millis()) > policy.stale_after_ms,
            // A source that nothing was ever heard of, and nothing counted of, is none yet.
            None => !tally.is_empty(),
        };
        match tally.total() {
            _ if is_silent => Self::Stale { last_heard },
            _ if doubt => Self::Degraded,
            0 => Self::None,
            total if total < policy.min_events => Self::Thin,
            _ => Self::Ok,
        }
    }

    /// What it is worth when it has not been measured for too long.
    pub fn unmeasured(self, measurement: &Measurement) -> Self {
        match self {
            Self::Stale { .. } => self,
            _ => Self::Unmeasured { last: measurement.last },
        }
    }

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Thin => "thin",
            Self::Stale { .. } | Self::Unmeasured { last: Some(_) } => "stale",
            Self::Degraded => "degraded",
            Self::None | Self::Unmeasured { last: None } => "none",
        }
    }
}

/// One SLO of a service, as the gate sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Which SLO.
    pub slo: SloId,
    /// Where its events come from.
    pub source: SourceId,
    /// How it stands over its window.
    pub standing: Standing,
    /// What that is worth.
    pub evidence: Evidence,
    /// The most urgent of its alerts that fire.
    pub firing: Option<AlertStanding>,
}

impl Witness {
    /// Whether it has shown, with enough events, that its budget is spent. A silent source does not take that back.
    fn is_spent(&self, policy: &GatePolicy) -> bool {
        self.has_enough(policy) && self.standing.compare_remaining(policy.frozen_below_billionths) != Ordering::Greater
    }

    fn has_enough(&self, policy: &GatePolicy) -> bool {
        let tally = self.standing.tally;
        !tally.is_empty() && tally.total() >= policy.min_events
    }

    /// The alert for which the policy freezes, if one fires and there is enough to believe it.
    fn burning(&self, policy: &GatePolicy) -> Option<AlertStanding> {
        let freezes = |alert: &AlertStanding| policy.freeze_on.is_some_and(|least| alert.rule.severity >= least);
        self.firing.filter(freezes).filter(|_| self.has_enough(policy))
    }

    fn is_sound(&self) -> bool {
        self.evidence == Evidence::Ok
    }

    fn is_above(&self, billionths: i64) -> bool {
        self.standing.compare_remaining(billionths) == Ordering::Greater
    }
}

/// What a person ordered; one order is in force at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing passes but the kinds listed.
    Freeze {
        /// Why.
        reason: String,
        /// When it ends by itself; never when `None`.
        until: Option<Timestamp>,
        /// Kinds of change that pass all the same.
        exempt: Vec<String>,
    },
    /// An automatic freeze is held off.
    Unfreeze {
        /// Why.
        reason: String,
        /// When it ends even though the budgets have not recovered.
        until: Option<Timestamp>,
    },
}

impl Hold {
    /// When it ends by itself.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Freeze { until, .. } | Self::Unfreeze { until, .. } => *until,
        }
    }

    /// Whether it still has something to say: until its time, and an unfreeze only while there is something to hold
    /// off.
    fn is_in_force(&self, is_held: bool, now: Timestamp) -> bool {
        let in_time = self.until().is_none_or(|until| now < until);
        match self {
            Self::Freeze { .. } => in_time,
            Self::Unfreeze { .. } => in_time && is_held,
        }
    }
}

/// What one decision hands to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateState {
    /// The level that was found.
    pub level: Level,
    /// Since when it has been that level.
    pub since: Timestamp,
    /// The SLOs that hold an automatic freeze; when empty there is none.
    pub holding: BTreeSet<SloId>,
    /// What people ordered.
    pub hold: Option<Hold>,
}

/// The level of a gate, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// To be handed to the next decision.
    pub state: GateState,
    /// At least one unless the gate is open; the one that decides comes first. Those of an open gate, and the last ones
    /// of any other, are to be known and decide nothing.
    pub reasons: Vec<Reason>,
}

/// Whether one kind of change may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may.
    pub allow: bool,
    /// Why this kind passes where others do not.
    pub exception: Option<Reason>,
}

/// Decides the level of a gate at `now`.
///
/// `feeds` are the sources of the SLOs, each once. `before` is the state of the previous decision; `None` for the
/// first, which starts without a freeze and without orders. Decisions are to be made in the order of their time.
pub fn decide(
    policy: &GatePolicy,
    slos: &[Witness],
    feeds: &[Feed],
    before: Option<&GateState>,
    now: Timestamp,
) -> Decision {
    let holding = holding(policy, slos, before.map(|state| &state.holding));
    let is_held = !holding.is_empty() || slos.iter().any(|slo| slo.burning(policy).is_some());
    let hold = before.and_then(|state| state.hold.clone()).filter(|hold| hold.is_in_force(is_held, now));
    let (level, mut reasons) = weigh(policy, slos, feeds, &holding, hold.as_ref());
    for reason in feeds.iter().flat_map(|feed| reasons_of(feed).chain(reason_of_loss(feed))) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let since = before.filter(|state| state.level == level).map_or(now, |state| state.since);
    Decision { state: GateState { level, since, holding, hold }, reasons }
}

impl Decision {
    /// Whether a change of this kind may pass.
    pub fn verdict(&self, policy: &GatePolicy, change: &str) -> Verdict {
        let exempts = |kinds: &[String]| kinds.iter().any(|kind| kind == change);
        let exempt = |level| Some(Reason::Exempt { change: change.to_owned(), level });
        let pass = |exception| Verdict { allow: true, exception };
        match (self.state.level, &self.state.hold) {
            (Level::Open | Level::Guarded, _) => pass(None),
            _ if self.reasons.iter().any(Reason::bars_exceptions) => Verdict { allow: false, exception: None },
            (level @ Level::Frozen, Some(Hold::Freeze { exempt: kinds, .. })) if exempts(kinds) => pass(exempt(level)),
            (Level::Frozen, Some(Hold::Freeze { .. })) => Verdict { allow: false, exception: None },
            (level @ (Level::Frozen | Level::Unknown), _) if exempts(&policy.exempt) => pass(exempt(level)),
            (Level::Unknown, _) if policy.on_unknown == OnUnknown::Allow => pass(Some(Reason::UnknownAllowed)),
            (Level::Frozen | Level::Unknown, _) => Verdict { allow: false, exception: None },
        }
    }

    /// The decision that is due at `now` because an unfreeze has ended that this one still heeds; `None` when none has.
    ///
    /// It is what somebody who reads an old decision must see, made of what was known then: the gate is frozen again if
    /// something held it, since the very end of the order. To be decided anew it needs [`decide`].
    pub fn lapsed(&self, policy: &GatePolicy, slos: &[Witness], now: Timestamp) -> Option<Self> {
        let Some(Hold::Unfreeze { until: Some(until), .. }) = self.state.hold.clone() else { return None };
        if now < until {
            return None;
        }
        let mut reasons = reasons_to_freeze(policy, slos, &self.state.holding);
        let (level, since) = match reasons.is_empty() {
            true => (self.state.level, self.state.since),
            false => (Level::Frozen, until),
        };
        reasons.extend(self.reasons.iter().filter(|reason| !matches!(reason, Reason::Unfrozen { .. })).cloned());
        Some(Self { state: GateState { level, since, holding: self.state.holding.clone(), hold: None }, reasons })
    }

    /// When the present order ends by itself, if one is in force and says so.
    pub fn until(&self) -> Option<Timestamp> {
        self.state.hold.as_ref().and_then(Hold::until)
    }
}

/// The SLOs that hold an automatic freeze now.
fn holding(policy: &GatePolicy, slos: &[Witness], before: Option<&BTreeSet<SloId>>) -> BTreeSet<SloId> {
    let was_frozen = before.is_some_and(|before| !before.is_empty());
    let held = |slo: &Witness| before.is_some_and(|before| before.contains(&slo.slo));
    let holds = |slo: &&Witness| {
        let recovered = slo.is_sound() && slo.is_above(policy.thaw_above_billionths);
        // While the gate is frozen, an SLO that is seen below the thaw threshold holds it too, whoever froze it.
        let joins = was_frozen && slo.is_sound();
        slo.is_spent(policy) || ((held(slo) || joins) && !recovered)
    };
    slos.iter().filter(holds).map(|slo| slo.slo).collect()
}

/// The worst level that applies, with its reasons.
fn weigh(
    policy: &GatePolicy,
    slos: &[Witness],
    feeds: &[Feed],
    holding: &BTreeSet<SloId>,
    hold: Option<&Hold>,
) -> (Level, Vec<Reason>) {
    let frozen = reasons_to_freeze(policy, slos, holding);
    match hold {
        Some(Hold::Freeze { reason, until, .. }) => {
            let order = Reason::ManualFreeze { reason: reason.clone(), until: *until };
            return (Level::Frozen, [order].into_iter().chain(frozen).collect());
        }
        None if !frozen.is_empty() => return (Level::Frozen, frozen),
        Some(Hold::Unfreeze { .. }) | None => {}
    }
    let (level, mut reasons) = weigh_evidence(policy, slos, feeds);
    if let Some(Hold::Unfreeze { reason, until }) = hold {
        reasons.push(Reason::Unfrozen { reason: reason.clone(), until: *until });
    }
    (level, reasons)
}

/// The level of a gate that nothing freezes.
fn weigh_evidence(policy: &GatePolicy, slos: &[Witness], feeds: &[Feed]) -> (Level, Vec<Reason>) {
    let unknown = reasons_to_doubt(policy, slos, feeds);
    if !unknown.is_empty() {
        return (Level::Unknown, unknown);
    }
    let low = |slo: &&Witness| {
        let remaining = slo.standing.compare_remaining(policy.guarded_below_billionths);
        slo.is_sound() && remaining == Ordering::Less
    };
    let reason = |slo: &Witness| Reason::BudgetLow { slo: slo.slo, standing: slo.standing };
    let guarded: Vec<Reason> = slos.iter().filter(low).map(reason).collect();
    (if guarded.is_empty() { Level::Open } else { Level::Guarded }, guarded)
}

fn reasons_to_freeze(policy: &GatePolicy, slos: &[Witness], holding: &BTreeSet<SloId>) -> Vec<Reason> {
    let (spent, waiting): (Vec<&Witness>, Vec<&Witness>) =
        slos.iter().filter(|slo| holding.contains(&slo.slo)).partition(|slo| slo.is_spent(policy));
    let spent = spent.into_iter().map(|slo| Reason::BudgetSpent { slo: slo.slo, standing: slo.standing });
    let waiting = waiting.into_iter().map(|slo| Reason::NotRecovered {
        slo: slo.slo,
        standing: slo.standing,
        evidence: slo.evidence,
        thaw_above_billionths: policy.thaw_above_billionths,
    });
    let burning = slos.iter().filter_map(|slo| {
        let alert = slo.burning(policy)?;
        Some(Reason::Burning { slo: slo.slo, objective: slo.standing.objective, alert })
    });
    spent.chain(waiting).chain(burning).collect()
}

/// Why the SLOs are not enough to judge by; empty when they are.
fn reasons_to_doubt(policy: &GatePolicy, slos: &[Witness], feeds: &[Feed]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for slo in slos {
        if let Evidence::Stale { last_heard } = slo.evidence {
            let reason = Reason::SourceStale { source: slo.source, last_heard, stale_after_ms: policy.stale_after_ms };
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    reasons.extend(feeds.iter().flat_map(reasons_of));
    if policy.on_gap == OnGap::Unknown {
        reasons.extend(feeds.iter().filter_map(reason_of_loss));
    }
    if !reasons.is_empty() || slos.iter().any(Witness::is_sound) {
        return reasons;
    }
    let reason = |slo: &Witness| match slo.standing.tally.total() {
        0 => Reason::NoEvidence { slo: Some(slo.slo) },
        total => Reason::ThinEvidence { slo: slo.slo, total, min_events: policy.min_events },
    };
    match slos.is_empty() {
        true => vec![Reason::NoEvidence { slo: None }],
        false => slos.iter().map(reason).collect(),
    }
}

fn reasons_of(feed: &Feed) -> impl Iterator<Item = Reason> {
    let doubts = feed.doubts.iter().map(|doubt| Reason::SourceDegraded { source: feed.source, doubt: doubt.clone() });
    let not_measured =
        |(slo, measurement): &(SloId, Measurement)| Reason::NotMeasured { slo: *slo, measurement: measurement.clone() };
    doubts.chain(feed.unmeasured.iter().map(not_measured))
}

fn reason_of_loss(feed: &Feed) -> Option<Reason> {
    feed.lost.map(|lost| Reason::Gap { source: feed.source, lost })
}

#[cfg(test)]
mod tests;
