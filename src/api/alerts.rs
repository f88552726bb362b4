//! Alerts of every SLO.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::Api;
use super::answer::json;
use super::asked::Asked;
use super::problem::{Kind, Problem, shown};
use crate::document::AlertStatus;
use crate::spec::SloId;
use crate::time::Timestamp;

/// What `state` may say; without it, all but `inactive` are given.
const STATES: [&str; 4] = ["inactive", "pending", "firing", "resolved"];

#[derive(Serialize)]
struct Alerts<'a> {
    at: Timestamp,
    alerts: Vec<AlertStatus<'a>>,
}

/// `GET /api/v1/alerts`
pub(super) async fn alerts(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let query = asked.query(&["at", "state"])?;
    let state = query.text("state");
    if let Some(state) = state.filter(|state| !STATES.contains(state)) {
        let detail = format!("`state`: `{}` is none of {}", shown(state), STATES.join(", "));
        return Err(Problem::new(Kind::BadParameter, detail));
    }
    let view = api.at(&query).await?;
    let is_asked_for = |alert: &AlertStatus<'_>| match state {
        Some(state) => alert.state == state,
        None => alert.state != "inactive",
    };
    let all = (0..view.catalog.slos.len()).map(SloId);
    let alerts = all.flat_map(|id| AlertStatus::all(&view.catalog, &view.board, id)).filter(is_asked_for).collect();
    Ok(json(StatusCode::OK, &Alerts { at: view.board.at, alerts }))
}
