//! Stories, journeys, sources, and all of them at once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::Api;
use super::answer::json;
use super::asked::Asked;
use super::problem::Problem;
use crate::document::{DEFAULT_CHANGE, JourneyStatus, SourceStatus, Status, StoryStatus};
use crate::spec::{JourneyId, SourceId, StoryId};
use crate::time::Timestamp;

#[derive(Serialize)]
struct Stories<'a> {
    at: Timestamp,
    stories: Vec<StoryStatus<'a>>,
}

#[derive(Serialize)]
struct Journeys<'a> {
    at: Timestamp,
    journeys: Vec<JourneyStatus<'a>>,
}

#[derive(Serialize)]
struct Sources<'a> {
    at: Timestamp,
    sources: Vec<SourceStatus<'a>>,
}

/// `GET /api/v1/status`
pub(super) async fn status(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let view = api.at(&asked.query(&["at"])?).await?;
    Ok(json(StatusCode::OK, &Status::new(&view.catalog, &view.board, DEFAULT_CHANGE)))
}

/// `GET /api/v1/stories`
pub(super) async fn stories(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let view = api.at(&asked.query(&["at"])?).await?;
    let all = (0..view.catalog.stories.len()).map(StoryId);
    let stories = all.map(|id| StoryStatus::new(&view.catalog, &view.board, id)).collect();
    Ok(json(StatusCode::OK, &Stories { at: view.board.at, stories }))
}

/// `GET /api/v1/stories/{story}`
pub(super) async fn story(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let view = api.at(&asked.query(&["at"])?).await?;
    let id = view.story(asked.name(0))?;
    Ok(json(StatusCode::OK, &StoryStatus::new(&view.catalog, &view.board, id)))
}

/// `GET /api/v1/journeys`
pub(super) async fn journeys(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let view = api.at(&asked.query(&["at"])?).await?;
    let all = (0..view.catalog.journeys.len()).map(JourneyId);
    let journeys = all.map(|id| JourneyStatus::new(&view.catalog, &view.board, id)).collect();
    Ok(json(StatusCode::OK, &Journeys { at: view.board.at, journeys }))
}

/// `GET /api/v1/journeys/{journey}`
pub(super) async fn journey(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let view = api.at(&asked.query(&["at"])?).await?;
    let id = view.journey(asked.name(0))?;
    Ok(json(StatusCode::OK, &JourneyStatus::new(&view.catalog, &view.board, id)))
}

/// `GET /api/v1/sources`
pub(super) async fn sources(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let view = api.at(&asked.query(&["at"])?).await?;
    let all = (0..view.catalog.sources.len()).map(SourceId);
    let sources = all.map(|id| SourceStatus::new(&view.catalog, &view.board, id)).collect();
    Ok(json(StatusCode::OK, &Sources { at: view.board.at, sources }))
}

/// `GET /api/v1/sources/{source}`
pub(super) async fn source(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let view = api.at(&asked.query(&["at"])?).await?;
    let id = view.source(asked.name(0))?;
    Ok(json(StatusCode::OK, &SourceStatus::new(&view.catalog, &view.board, id)))
}
