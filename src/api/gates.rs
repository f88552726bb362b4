//! Gates, as they stand.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::Api;
use super::answer::{body, json, with_type};
use super::asked::Asked;
use super::problem::Problem;
use super::view::View;
use crate::document::{DEFAULT_CHANGE, GateStatus};
use crate::gate::Level;
use crate::spec::ServiceId;
use crate::time::Timestamp;

/// When to ask an unknown gate again. Evidence comes by the minute.
const RETRY_UNKNOWN_SECONDS: u32 = 60;
/// A word of the client's that comes back with the verdict, so that it can tell a fresh answer from one out of a cache.
const NONCE: HeaderName = HeaderName::from_static("x-slogate-nonce");
/// A longer one does not come back.
const LONGEST_NONCE: usize = 64;

#[derive(Serialize)]
struct Gates<'a> {
    at: Timestamp,
    gates: Vec<GateStatus<'a>>,
}

/// `GET /api/v1/gates`
pub(super) async fn gates(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let query = asked.query(&["at", "change"])?;
    let change = query.word("change")?.unwrap_or(DEFAULT_CHANGE);
    let view = api.at(&query).await?;
    let all = (0..view.catalog.services.len()).map(ServiceId);
    let gates = all.map(|id| GateStatus::new(&view.catalog, &view.board, id, change)).collect();
    Ok(json(StatusCode::OK, &Gates { at: view.board.at, gates }))
}

/// `GET /api/v1/gates/{service}`
pub(super) async fn gate(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let query = asked.query(&["at", "change"])?;
    let change = query.word("change")?.unwrap_or(DEFAULT_CHANGE);
    let view = api.at(&query).await?;
    let id = view.service(asked.name(0))?;
    Ok(json(StatusCode::OK, &GateStatus::new(&view.catalog, &view.board, id, change)))
}

/// `GET /api/v1/gates/{service}/check`: the verdict as a status code.
pub(super) async fn check(State(api): State<Arc<Api>>, headers: HeaderMap, asked: Asked) -> Result<Response, Problem> {
    let query = asked.query(&["change"])?;
    let change = query.word("change")?.unwrap_or(DEFAULT_CHANGE);
    let view = api.now();
    let id = view.service(asked.name(0))?;
    let (status, body) = match view.prepared().filter(|_| change == DEFAULT_CHANGE) {
        Some(prepared) => prepared.verdict(&view.catalog, id, || verdict(&view, id, change)),
        None => verdict(&view, id, change),
    };
    let mut response = with_type(status, "application/json", body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_UNKNOWN_SECONDS));
    }
    if let Some(nonce) = headers.get(NONCE).filter(|nonce| nonce.len() <= LONGEST_NONCE) {
        response.headers_mut().insert(NONCE, nonce.clone());
    }
    Ok(response)
}

fn verdict(view: &View, id: ServiceId, change: &str) -> (StatusCode, Bytes) {
    let gate = GateStatus::new(&view.catalog, &view.board, id, change);
    let status = match (gate.allow, view.board[id].state.level) {
        (true, _) => StatusCode::OK,
        (false, Level::Unknown) => StatusCode::SERVICE_UNAVAILABLE,
        (false, _) => StatusCode::LOCKED,
    };
    (status, body(&gate))
}
