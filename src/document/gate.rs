//! Gates: one service, one kind of change, one verdict.

use serde::Serialize;

use crate::engine::Board;
use crate::gate::Reason;
use crate::spec::{Catalog, ServiceId};
use crate::time::Timestamp;

/// A gate, asked about one kind of change.
#[derive(Clone, Debug, Serialize)]
pub struct GateStatus<'a> {
    /// Whose gate.
    pub service: &'a str,
    /// `open`, `guarded`, `frozen` or `unknown`.
    pub level: &'static str,
    /// Whether the change may pass.
    pub allow: bool,
    /// The kind of change that was asked about.
    pub change: &'a str,
    /// Since when the gate has had this level.
    pub since: Timestamp,
    /// When the present order of a person ends by itself.
    pub until: Option<Timestamp>,
    /// Why; the first decides. An open gate has none, or such as are to be known and decide nothing.
    pub reasons: Vec<GateReason<'a>>,
}

/// One reason.
#[derive(Clone, Debug, Serialize)]
pub struct GateReason<'a> {
    /// For programs.
    pub kind: &'static str,
    /// The story of the SLO that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub story: Option<&'a str>,
    /// The SLO that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo: Option<&'a str>,
    /// The source that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'a str>,
    /// What is wrong with that source, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The part of that SLO's budget that is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<f64>,
    /// For people.
    pub text: String,
}

impl<'a> GateStatus<'a> {
    /// How one gate stands towards a change of kind `change`.
    pub fn new(catalog: &'a Catalog, board: &Board, id: ServiceId, change: &'a str) -> Self {
        let (service, decision) = (&catalog[id], &board[id]);
        let verdict = decision.verdict(&service.policy, change);
        let reasons = decision.reasons.iter().chain(&verdict.exception);
        Self {
            service: &service.name,
            level: decision.state.level.name(),
            allow: verdict.allow,
            change,
            since: decision.state.since,
            until: decision.until(),
            reasons: reasons.map(|reason| GateReason::new(catalog, reason)).collect(),
        }
    }
}

impl<'a> GateReason<'a> {
    fn new(catalog: &'a Catalog, reason: &Reason) -> Self {
        Self {
            kind: reason.kind(),
            story: reason.slo().map(|slo| catalog.story_of(slo).name.as_str()),
            slo: reason.slo().map(|slo| catalog[slo].name.as_str()),
            source: reason.source().map(|source| catalog[source].name.as_str()),
            cause: reason.cause(),
            remaining: reason.remaining(),
            text: reason.text(catalog),
        }
    }
}
