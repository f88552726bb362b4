//! Terms: by what a gate decides, in words, so that a change of them can be seen and told.
//!
//! A policy that freezes later, an exemption more or an SLO less opens a gate as surely as an order does; what the SLOs
//! themselves promise is told apart (see [`identity`](super::identity)).

use crate::engine::KeptGate;
use crate::engine::audit::{Action, AuditEntry, Journal, SPECS};
use crate::spec::{Catalog, GatePolicy, OnGap, OnUnknown, Service, ServiceId, Severity, SloId};
use crate::time::Timestamp;

/// By what a gate decides. Empty for one that was kept before this was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Its policy, equal for equal policies.
    pub policy: String,
    /// The SLOs that speak for it, as `story/slo`, in order.
    pub slos: Vec<String>,
}

/// Of more SLOs than this only the number is told.
const MOST_NAMES: usize = 20;

impl Terms {
    pub(super) fn of(catalog: &Catalog, service: ServiceId) -> Self {
        let Service { policy, slos, .. } = &catalog[service];
        let name = |slo: &SloId| format!("{}/{}", catalog.story_of(*slo).name, catalog[*slo].name);
        let mut slos: Vec<String> = slos.iter().map(name).collect();
        slos.sort_unstable();
        Self { policy: describe(policy), slos }
    }

    /// What these terms have and those have not, in words; empty when that is nothing.
    fn beyond(&self, others: &Self) -> String {
        let mut parts = Vec::new();
        if self.policy != others.policy {
            parts.push(self.policy.clone());
        }
        let alone: Vec<&str> =
            self.slos.iter().map(String::as_str).filter(|slo| !others.slos.iter().any(|other| other == slo)).collect();
        if !alone.is_empty() {
            let named = alone.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
            let more = alone.len().saturating_sub(MOST_NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            parts.push(format!("by {named}{more}"));
        }
        parts.join("; ")
    }
}

/// Enters into the journal by what other terms than before a gate decides.
pub(super) fn enter_change(kept: &KeptGate, terms: &Terms, at: Timestamp, journal: &mut Journal) {
    if kept.terms == *terms || kept.terms == Terms::default() {
        return;
    }
    let action = Action::Terms { from: kept.terms.beyond(terms), to: terms.beyond(&kept.terms) };
    let (service, level) = (kept.service.clone(), Some(kept.level));
    let reason = format!("the gate of {service} decides by other terms");
    let (by, cause) = (SPECS.to_owned(), SPECS.to_owned());
    journal.enter(AuditEntry { number: 0, at, service, by, action, reason, before: level, after: level, cause });
}

fn describe(policy: &GatePolicy) -> String {
    // Every key by its name, so that none that is new is forgotten here.
    let GatePolicy {
        on_unknown,
        frozen_below_billionths,
        thaw_above_billionths,
        guarded_below_billionths,
        stale_after_ms,
        min_events,
        max_unparsed_billionths,
        on_gap,
        exempt,
        freeze_on,
    } = policy;
    let part = |billionths: &i64| *billionths as f64 / 1e9;
    let mut exempt = exempt.clone();
    exempt.sort_unstable();
    exempt.dedup();
    let unknown = match on_unknown {
        OnUnknown::Deny => "denied",
        OnUnknown::Allow => "allowed",
    };
    let gap = match on_gap {
        OnGap::Show => "unmoved",
        OnGap::Unknown => "unknown",
    };
    format!(
        "frozen below {}, thawed above {}, guarded below {}, {unknown} when unknown, stale after {} ms, thin below {} \
         events, doubted above {} unread, {gap} on a gap, frozen on alerts: {}, exempt: {}",
        part(frozen_below_billionths),
        part(thaw_above_billionths),
        part(guarded_below_billionths),
        stale_after_ms,
        min_events,
        part(max_unparsed_billionths),
        freeze_on.map_or("none", Severity::name),
        if exempt.is_empty() { "none".to_owned() } else { exempt.join(" ") },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(slos: &[&str], others: &[&str], expected: &str) {
        let terms = |slos: &[&str]| Terms { policy: "p".into(), slos: slos.iter().map(|&slo| slo.into()).collect() };
        assert_eq!(terms(slos).beyond(&terms(others)), expected);
    }

    #[test]
    fn only_what_differs_is_told_and_not_too_much_of_it() {
        check(&["a/b"], &["a/b"], "");
        check(&["a/b"], &["a/b", "c/d"], "");
        check(&["a/b", "c/d", "e/f"], &["c/d"], "by a/b, e/f");
        let many: Vec<String> = (0..25).map(|number| format!("{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let found = Terms { policy: "p".into(), slos: many.iter().map(|&slo| slo.into()).collect() };
        assert!(found.beyond(&Terms::default()).starts_with("p; by 0, 1, "), "{}", found.beyond(&Terms::default()));
        check(&many, &[], &format!("by {} and 5 more", many[..20].join(", ")));
    }
}
