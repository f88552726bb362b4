//! What programs look at: health, metrics, and the description of all this.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::answer::{json, with_type};
use super::asked::Asked;
use super::problem::Problem;
use super::{Api, Snapshot};
use crate::document;
use crate::time::Timestamp;

const OPENAPI: &str = include_str!("openapi.json");

#[derive(Serialize)]
struct Alive {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    /// When everything was decided last.
    at: Timestamp,
    /// `ok`, or what went wrong.
    store: &'a str,
    sources_started: bool,
    specs: Specs<'a>,
    data_as_of: Option<Timestamp>,
}

#[derive(Serialize)]
struct Specs<'a> {
    loaded_at: Timestamp,
    /// Why a later version of them is not in force.
    rejected: Option<&'a str>,
    /// Why it is not in force yet.
    waiting: Option<&'a str>,
}

/// `GET /healthz`: the process answers.
pub(super) async fn healthz(asked: Asked) -> Result<Response, Problem> {
    asked.query(&[])?;
    Ok(json(StatusCode::OK, &Alive { status: "ok" }))
}

/// `GET /readyz`: what is answered can be relied on.
pub(super) async fn readyz(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    asked.query(&[])?;
    let snapshot = Arc::clone(&api.snapshots.borrow());
    let Snapshot { board, health, .. } = &*snapshot;
    let ready = health.store.is_ok() && health.sources_started;
    let document = Ready {
        ready,
        at: board.at,
        store: health.store.as_ref().map_or_else(|trouble| trouble.why.as_str(), |()| "ok"),
        sources_started: health.sources_started,
        specs: Specs {
            loaded_at: health.specs.loaded_at,
            rejected: health.specs.rejected.as_deref(),
            waiting: health.specs.waiting.as_deref(),
        },
        data_as_of: health.data_as_of,
    };
    Ok(json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &document))
}

/// `GET /metrics`
pub(super) async fn metrics(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    asked.query(&[])?;
    let is_store_healthy = api.snapshots.borrow().health.store.is_ok();
    let view = api.now();
    let specs = api.snapshots.borrow().health.specs.metrics();
    let text = document::metrics(&view.catalog, &view.board, is_store_healthy) + &specs;
    Ok(with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}

/// `GET /openapi.json`
pub(super) async fn openapi(asked: Asked) -> Result<Response, Problem> {
    asked.query(&[])?;
    Ok(with_type(StatusCode::OK, "application/json", OPENAPI))
}
