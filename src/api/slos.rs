//! SLOs, now and over time.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::answer::{body, json, with_type};
use super::asked::{Asked, Query};
use super::problem::{Kind, Problem};
use super::{Api, Ask, HistoryQuery, LatencyQuery};
use crate::document::{SloHistory, SloLatency, SloStatus};
use crate::spec::SloId;
use crate::time::{Horizon, Timestamp};

/// No history has more points than this.
const MOST_POINTS: usize = 2_000;
/// A history that does not say its step has at most this many.
const PLENTY: i64 = 360;
/// The steps to choose from, in minutes.
const STEPS: [u32; 9] = [1, 5, 15, 30, 60, 2 * 60, 6 * 60, 12 * 60, 24 * 60];

#[derive(Serialize)]
struct Slos<'a> {
    at: Timestamp,
    slos: Vec<SloStatus<'a>>,
}

/// `GET /api/v1/slos`
pub(super) async fn slos(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let view = api.at(&asked.query(&["at"])?).await?;
    let all = (0..view.catalog.slos.len()).map(SloId);
    let slos = all.map(|id| SloStatus::new(&view.catalog, &view.board, id)).collect();
    Ok(json(StatusCode::OK, &Slos { at: view.board.at, slos }))
}

/// `GET /api/v1/slos/{story}/{slo}`
pub(super) async fn slo(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let view = api.at(&asked.query(&["at"])?).await?;
    let id = view.slo(asked.name(0), asked.name(1))?;
    let body = || body(&SloStatus::new(&view.catalog, &view.board, id));
    let body = match view.prepared() {
        Some(prepared) => prepared.slo(&view.catalog, id, body),
        None => body(),
    };
    Ok(with_type(StatusCode::OK, "application/json", body))
}

/// `GET /api/v1/slos/{story}/{slo}/history`
pub(super) async fn history(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let query = asked.query(&["from", "to", "step"])?;
    let view = api.now();
    let (story, slo) = (asked.name(0).to_owned(), asked.name(1).to_owned());
    let id = view.slo(&story, &slo)?;
    let (from, to, step) = range(&query, view.catalog[id].window, view.board.at)?;
    let question = HistoryQuery { story, slo, from, to, step, most_points: MOST_POINTS };
    let past = api.ask(|reply| Ask::History { query: question, reply }).await??;
    // The specs may have been reloaded in the meantime.
    let Some(id) = past.slo else {
        return Err(Problem::unknown("SLO named", asked.name(1), []));
    };
    let first = past.points.first().map_or(to, |point| point.t);
    Ok(json(StatusCode::OK, &SloHistory::new(&past.catalog, id, (first, to), step, past.points)))
}

/// `GET /api/v1/slos/{story}/{slo}/latency`
pub(super) async fn latency(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let query = asked.query(&["window", "at"])?;
    let view = api.now();
    let (story, slo) = (asked.name(0).to_owned(), asked.name(1).to_owned());
    let id = view.slo(&story, &slo)?;
    let window = query.step("window")?.unwrap_or(view.catalog[id].window);
    let longest = view.catalog.longest_window();
    if window > longest {
        let detail = format!("`window`: {window} is longer than what is kept, {longest}");
        return Err(Problem::new(Kind::BadParameter, detail));
    }
    let at = query.time("at")?.filter(|at| !api.is_present(*at));
    let question = LatencyQuery { story, slo, window, at };
    let past = api.ask(|reply| Ask::Latency { query: question, reply }).await??;
    // The specs may have been reloaded in the meantime.
    let Some((id, spread)) = past.slo else {
        return Err(Problem::unknown("SLO named", asked.name(1), []));
    };
    Ok(json(StatusCode::OK, &SloLatency::new(&past.catalog, id, past.at, window, &spread)))
}

/// The first point, if it is named, the last, and the step between points.
fn range(query: &Query, window: Horizon, now: Timestamp) -> Result<(Option<Timestamp>, Timestamp, Horizon), Problem> {
    let (from, to) = (query.time("from")?, query.time("to")?.unwrap_or(now));
    let asked_ms = match from {
        Some(from) if from > to => {
            return Err(Problem::new(Kind::BadParameter, format!("`from` ({from}) is after `to` ({to})")));
        }
        Some(from) => Some(to.millis().saturating_sub(from.millis())),
        None => None,
    };
    let comfortable = || comfortable_step(asked_ms.unwrap_or(window.seconds() * 1_000 - 1));
    let step = query.step("step")?.unwrap_or_else(comfortable);
    // Whoever names no first point gets the newest of them, as many as are given.
    let Some(reach_ms) = asked_ms else { return Ok((from, to, step)) };
    let points = reach_ms / (step.seconds() * 1_000) + 1;
    if points > MOST_POINTS as i64 {
        let least_ms = reach_ms / MOST_POINTS as i64 + 1;
        let least = u32::try_from(least_ms / 60_000 + 1).ok().and_then(Horizon::new);
        let help = least.map(|least| format!("; use a step of at least {least}")).unwrap_or_default();
        let detail = format!("these are {points} points, and at most {MOST_POINTS} are given{help}");
        return Err(Problem::new(Kind::BadParameter, detail));
    }
    Ok((from, to, step))
}

/// The shortest of the usual steps that does not give too many points to look at.
fn comfortable_step(reach_ms: i64) -> Horizon {
    let enough = |minutes: &u32| reach_ms / (i64::from(*minutes) * 60_000) < PLENTY;
    let minutes = STEPS.into_iter().find(enough);
    let days = u32::try_from(reach_ms / PLENTY / 86_400_000 + 1).unwrap_or(u32::MAX);
    minutes.and_then(Horizon::new).unwrap_or_else(|| Horizon::of_minutes(days.saturating_mul(24 * 60).max(1)))
}
