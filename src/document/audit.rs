//! The audit: who did what to a gate, when, and why.

use serde::Serialize;

use crate::engine::{self, Action};
use crate::gate::Level;
use crate::time::Timestamp;

/// One entry of the audit. Entries are numbered from 1 without gaps and never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Its number.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// Whose gate.
    pub service: String,
    /// What happened.
    pub action: AuditAction,
    /// Who did it.
    pub actor: Actor,
    /// The gate's level before; `null` when it had none.
    #[serde(serialize_with = "level_name")]
    pub before: Option<Level>,
    /// The gate's level after.
    #[serde(serialize_with = "level_name")]
    pub after: Option<Level>,
    /// Why: a person's words, or the reasons of the decision, the one that decided first.
    pub reason: String,
    /// When the order ends by itself, if it is one that does.
    pub until: Option<Timestamp>,
    /// The kinds of change that the order lets pass.
    pub exempt: Vec<String>,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// A person froze the gate.
    Freeze,
    /// A person held an automatic freeze off.
    Unfreeze,
    /// The level changed by itself.
    Level,
    /// An SLO promises something else than before.
    Promise,
    /// An SLO counts by other rules than before.
    Rules,
    /// The gate decides by another policy or by other SLOs than before.
    Terms,
    /// No spec names an SLO any more.
    Removed,
    /// An SLO that was gone is named again.
    Returned,
    /// An SLO or a gate goes on under another name.
    Renamed,
}

impl From<&engine::AuditEntry> for AuditEntry {
    fn from(entry: &engine::AuditEntry) -> Self {
        let (until, exempt) = match &entry.action {
            Action::Freeze { until, exempt } => (*until, exempt.clone()),
            Action::Unfreeze { until } => (*until, Vec::new()),
            _ => (None, Vec::new()),
        };
        let (action, reason) = match &entry.action {
            Action::Freeze { .. } => (AuditAction::Freeze, entry.reason.clone()),
            Action::Unfreeze { .. } => (AuditAction::Unfreeze, entry.reason.clone()),
            Action::Level => (AuditAction::Level, entry.reason.clone()),
            Action::Removed { .. } => (AuditAction::Removed, entry.reason.clone()),
            Action::Returned { .. } => (AuditAction::Returned, entry.reason.clone()),
            Action::Renamed { .. } => (AuditAction::Renamed, entry.reason.clone()),
            Action::Promise { slo, from, to } => (AuditAction::Promise, format!("{slo}: {from} became {to}")),
            Action::Rules { slo, from, to } => (AuditAction::Rules, format!("{slo}: {from} became {to}")),
            Action::Terms { from, to } => {
                let known = |terms: &str| if terms.is_empty() { "nothing".to_owned() } else { terms.to_owned() };
                (AuditAction::Terms, format!("{}: {} became {}", entry.service, known(from), known(to)))
            }
        };
        Self {
            sequence: entry.number,
            at: entry.at,
            service: entry.service.clone(),
            action,
            actor: Actor::from_name(&entry.by),
            before: entry.before,
            after: entry.after,
            reason,
            until,
            exempt,
        }
    }
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// Who that is known to be.
    pub principal: Principal,
    /// The name that they gave themselves; nobody has checked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed: Option<String>,
}

/// Who somebody is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// The engine itself.
    Engine,
    /// Whoever may write the specs.
    Specs,
    /// Whoever holds the token.
    Token,
    /// Somebody on this machine, where no token is configured.
    Loopback,
}

impl Actor {
    /// The engine itself.
    pub const ENGINE: Self = Self { principal: Principal::Engine, claimed: None };

    /// How the audit log names it: the principal, and the claimed name behind a colon.
    pub fn name(&self) -> String {
        let principal = match self.principal {
            Principal::Engine => engine::ITSELF,
            Principal::Specs => engine::SPECS,
            Principal::Token => "token",
            Principal::Loopback => "loopback",
        };
        self.claimed.as_ref().map_or_else(|| principal.to_owned(), |claimed| format!("{principal}:{claimed}"))
    }

    /// Whom the audit log names like this.
    fn from_name(name: &str) -> Self {
        let (principal, claimed) = name.split_once(':').map_or((name, None), |(who, claimed)| (who, Some(claimed)));
        let principal = match principal {
            "token" => Principal::Token,
            "loopback" => Principal::Loopback,
            engine::SPECS => Principal::Specs,
            _ => Principal::Engine,
        };
        Self { principal, claimed: claimed.map(str::to_owned) }
    }
}

fn level_name<S: serde::Serializer>(level: &Option<Level>, serializer: S) -> Result<S::Ok, S::Error> {
    level.map(Level::name).serialize(serializer)
}
