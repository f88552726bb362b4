//! The audit, page by page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::answer::json;
use super::asked::Asked;
use super::problem::{Kind, Problem};
use super::{Api, Ask, AuditQuery};
use crate::document::AuditEntry;
use crate::time::Timestamp;

/// How many entries there are on a page, unless asked otherwise.
const LIMIT: u64 = 100;
/// How many there may be.
const MOST: u64 = 1_000;

#[derive(Serialize)]
struct Audit {
    at: Timestamp,
    entries: Vec<AuditEntry>,
    /// The `after` of the next page, when there may be one.
    next: Option<u64>,
}

/// `GET /api/v1/audit`
pub(super) async fn audit(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let query = asked.query(&["service", "after", "limit"])?;
    let service = query.word("service")?.map(str::to_owned);
    let after = query.number("after", 0..=u64::MAX)?.unwrap_or(0);
    let limit = query.number("limit", 1..=MOST)?.unwrap_or(LIMIT) as usize;
    let question = AuditQuery { service: service.clone(), after, limit };
    let entries = api.ask(|reply| Ask::Audit { query: question, reply }).await?;
    let unreadable = |error| Problem::new(Kind::Busy, format!("the audit cannot be read: {error}")).retry_after(1);
    let entries = entries.map_err(unreadable)?;
    let view = api.now();
    if let (true, Some(service)) = (entries.is_empty() && after == 0, service) {
        // A service that has left the specs keeps its entries; one without any must at least exist.
        view.service(&service)?;
    }
    let next = entries.last().filter(|_| entries.len() == limit).map(|entry| entry.sequence);
    Ok(json(StatusCode::OK, &Audit { at: view.board.at, entries, next }))
}
