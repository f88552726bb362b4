//! Alerts: how fast budgets burn, and since when.

use serde::Serialize;

use crate::alert::{AlertStanding, Course};
use crate::budget::burn_rate;
use crate::engine::Board;
use crate::spec::{Catalog, SloId};
use crate::time::Timestamp;

/// One rule of one SLO.
#[derive(Clone, Debug, Serialize)]
pub struct AlertStatus<'a> {
    /// The name of its story.
    pub story: &'a str,
    /// Its name in the story.
    pub slo: &'a str,
    /// The service that carries the story.
    pub service: &'a str,
    /// `page` or `ticket`.
    pub severity: &'static str,
    /// `inactive`, `pending`, `firing` or `resolved`.
    pub state: &'static str,
    /// The long window, `1h`.
    pub long: String,
    /// The short window, `5m`.
    pub short: String,
    /// It burns while both burn rates are at least this.
    pub factor: f64,
    /// For how long it must, until then it is pending.
    pub for_seconds: f64,
    /// The burn rate of the long window, as the rule is judged by it; `null` when nothing happened.
    pub burn_long: Option<f64>,
    /// The burn rate of the short window, as the rule is judged by it; `null` when nothing happened.
    pub burn_short: Option<f64>,
    /// Since when it burns, or burnt.
    pub since: Option<Timestamp>,
    /// When it fired.
    pub fired_at: Option<Timestamp>,
    /// When it stopped burning.
    pub resolved_at: Option<Timestamp>,
}

impl<'a> AlertStatus<'a> {
    /// Every rule of an SLO, in order.
    pub fn all(catalog: &'a Catalog, board: &Board, id: SloId) -> impl Iterator<Item = Self> {
        board[id].alerts.iter().map(move |alert| Self::new(catalog, id, alert))
    }

    /// The rules of an SLO that are pending, firing or resolved, in order.
    pub fn active(catalog: &'a Catalog, board: &Board, id: SloId) -> Vec<Self> {
        let alerts = board[id].alerts.iter().filter(|alert| alert.course != Course::Quiet);
        alerts.map(|alert| Self::new(catalog, id, alert)).collect()
    }

    fn new(catalog: &'a Catalog, id: SloId, alert: &AlertStanding) -> Self {
        let (slo, story) = (&catalog[id], catalog.story_of(id));
        let AlertStanding { rule, course, .. } = alert;
        Self {
            story: &story.name,
            slo: &slo.name,
            service: &catalog[story.service].name,
            severity: rule.severity.name(),
            state: course.state(),
            long: rule.long.to_string(),
            short: rule.short.to_string(),
            factor: rule.factor.value(),
            for_seconds: rule.hold_ms as f64 / 1_000.0,
            burn_long: burn_rate(alert.long, slo.objective),
            burn_short: burn_rate(alert.short, slo.objective),
            since: course.since(),
            fired_at: course.fired(),
            resolved_at: course.resolved(),
        }
    }
}
