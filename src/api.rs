//! HTTP: what is known, for whoever asks, and a door for orders.
//!
//! Reading never waits. The owner of the engine publishes a [`Snapshot`] after every tick, and almost every answer is a
//! document of the newest one. What only the owner can tell (the past, the audit) or do (a freeze) goes to it as an
//! [`Ask`] with a reply channel and a deadline.
//!
//! - *No allow after a freeze.* An order is answered only when the snapshot that readers see is at least as new as the
//!   one that the order led to; and the owner replies only when the order is durable.
//! - *Never sure by accident.* When the owner has published nothing for longer than a service's `stale_after`, its gate
//!   is shown as unknown, unless it is frozen. So it is when the store could not be written for that long, since then
//!   nothing is counted, and at once when what the store held is lost.
//! - *No order beyond its end.* An unfreeze that has ended since the newest board was made is left out of the answer.
//! - Orders need a bearer token, or, where none is configured, a listener that only this machine reaches ([`Access`]).
//! - What a client sends is bounded before it is looked at: connections, time, headers, bodies (see `connections` and
//!   `wire`). Nothing that it sends stays, beyond a counter in a table of fixed size.
//! - Every refusal is an RFC 9457 problem that says what would be right. Unknown query parameters are refused, so that
//!   a misspelt `chnage=fix` is not answered as if nothing had been asked.
//!
//! There is no arithmetic here, nothing that outlives a snapshot, no TLS and no HTTP/2: a proxy in front does those
//! better.

mod access;
mod alerts;
mod answer;
mod asked;
mod audit;
mod connections;
mod doors;
mod gates;
mod health;
mod orders;
mod page;
mod prepared;
mod problem;
mod slos;
mod stories;
mod view;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};
use tokio::sync::{mpsc, watch};

use crate::time::Clock;

pub use crate::document::SpecsHealth;
pub use access::{Access, NoToken, Token, WeakToken, Weakness};
pub use connections::{Limits, Peer, serve};
pub use doors::{
    Ask, AuditQuery, Followed, Health, HistoryQuery, LatencyQuery, Order, OrderError, Past, PastHistory, PastLatency,
    Snapshot, StoreTrouble, board_at, history, latency,
};
pub use prepared::Prepared;

/// What the handlers share.
#[derive(Debug)]
pub struct Api {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    owner: mpsc::Sender<Ask>,
    access: Access,
    clock: ClockBox,
    deadline: Duration,
}

/// How long the owner may take to answer, unless told otherwise.
const OWNER_DEADLINE: Duration = Duration::from_secs(5);

impl Api {
    /// Reads from `snapshots`, asks `owner` for the rest, and lets those give orders whom `access` admits.
    pub fn new(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        owner: mpsc::Sender<Ask>,
        access: Access,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { snapshots, owner, access, clock: ClockBox(clock), deadline: OWNER_DEADLINE }
    }

    /// The same, with another deadline for the owner's answers.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

/// A clock that can stand in a type that prints itself.
struct ClockBox(Arc<dyn Clock>);

impl std::fmt::Debug for ClockBox {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Clock")
    }
}

/// Every resource: its path and what answers there.
fn routes() -> [(&'static str, MethodRouter<Arc<Api>>); 23] {
    [
        ("/", read(page::page)),
        ("/healthz", read(health::healthz)),
        ("/readyz", read(health::readyz)),
        ("/metrics", read(health::metrics)),
        ("/openapi.json", read(health::openapi)),
        ("/api/v1/status", read(stories::status)),
        ("/api/v1/slos", read(slos::slos)),
        ("/api/v1/slos/{story}/{slo}", read(slos::slo)),
        ("/api/v1/slos/{story}/{slo}/history", read(slos::history)),
        ("/api/v1/slos/{story}/{slo}/latency", read(slos::latency)),
        ("/api/v1/stories", read(stories::stories)),
        ("/api/v1/stories/{story}", read(stories::story)),
        ("/api/v1/journeys", read(stories::journeys)),
        ("/api/v1/journeys/{journey}", read(stories::journey)),
        ("/api/v1/gates", read(gates::gates)),
        ("/api/v1/gates/{service}", read(gates::gate)),
        ("/api/v1/gates/{service}/check", read(gates::check)),
        ("/api/v1/gates/{service}/freeze", command(orders::freeze)),
        ("/api/v1/gates/{service}/unfreeze", command(orders::unfreeze)),
        ("/api/v1/alerts", read(alerts::alerts)),
        ("/api/v1/audit", read(audit::audit)),
        ("/api/v1/sources", read(stories::sources)),
        ("/api/v1/sources/{source}", read(stories::source)),
    ]
}

/// A resource that is read, and by GET alone: the router's own would answer HEAD as well.
fn read<T: 'static, H: Handler<T, Arc<Api>>>(handler: H) -> MethodRouter<Arc<Api>> {
    get(handler).head(problem::only_get).fallback(problem::only_get)
}

/// A resource that takes orders.
fn command<T: 'static, H: Handler<T, Arc<Api>>>(handler: H) -> MethodRouter<Arc<Api>> {
    post(handler).fallback(problem::only_post)
}

/// The paths of every resource, with their parameters in braces.
pub fn paths() -> Vec<&'static str> {
    routes().iter().map(|(path, _)| *path).collect()
}

/// Everything that is answered over HTTP.
pub fn router(api: Api) -> Router {
    let all = routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    all.fallback(problem::not_found).with_state(Arc::new(api))
}
