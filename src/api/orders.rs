//! Orders: what changes state, and the only requests with a body.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::answer::json;
use super::asked::Asked;
use super::problem::{Kind, Problem, shown};
use super::{Api, Ask, Followed, Order, OrderError, Peer};
use crate::document::{Actor, DEFAULT_CHANGE, GateStatus};
use crate::gate::Hold;
use crate::spec::is_name;
use crate::time::Timestamp;

/// No order needs more, in bytes.
const LONGEST_BODY: usize = 8 << 10;
/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// What to tell whoever has waited in vain: the order is with the owner, and cannot be taken back.
const MAY_STILL_BE_FOLLOWED: &str = "; the order may still be followed: /api/v1/audit tells whether it was";
/// No reason is longer, in characters.
const LONGEST_REASON: usize = 500;
/// No order exempts more kinds of change.
const MOST_KINDS: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreezeBody {
    reason: String,
    until: Option<String>,
    #[serde(default)]
    exempt: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnfreezeBody {
    reason: String,
    until: Option<String>,
}

/// The new state of the gate, and the number of the audit entry that says so, once it has one.
#[derive(Serialize)]
struct Done<'a> {
    #[serde(flatten)]
    gate: GateStatus<'a>,
    audit: Option<u64>,
}

/// `POST /api/v1/gates/{service}/freeze`
pub(super) async fn freeze(State(api): State<Arc<Api>>, asked: Asked, request: Request) -> Result<Response, Problem> {
    let (actor, body) = admit(&api, &asked, request).await?;
    let FreezeBody { reason, until, exempt } = parse(&body)?;
    if exempt.len() > MOST_KINDS || !exempt.iter().all(|kind| is_name(kind)) {
        let rule = format!("`exempt` holds at most {MOST_KINDS} words of 1 to 64 letters, digits, `_`, `.` or `-`");
        return Err(Problem::new(Kind::BadBody, rule));
    }
    let hold = Hold::Freeze { reason: sound_reason(reason)?, until: time(until)?, exempt };
    order(&api, asked.name(0), hold, actor).await
}

/// `POST /api/v1/gates/{service}/unfreeze`
pub(super) async fn unfreeze(State(api): State<Arc<Api>>, asked: Asked, request: Request) -> Result<Response, Problem> {
    let (actor, body) = admit(&api, &asked, request).await?;
    let UnfreezeBody { reason, until } = parse(&body)?;
    let hold = Hold::Unfreeze { reason: sound_reason(reason)?, until: time(until)? };
    order(&api, asked.name(0), hold, actor).await
}

/// Who gives the order, and its body, which is read only then.
async fn admit(api: &Api, asked: &Asked, request: Request) -> Result<(Actor, Bytes), Problem> {
    asked.query(&[])?;
    let (parts, body) = request.into_parts();
    let Some(Peer(peer)) = parts.extensions.get::<Peer>() else {
        return Err(Problem::new(Kind::Forbidden, "it cannot be told where this request comes from"));
    };
    let actor = api.access.admit(&parts.headers, peer.ip(), api.clock.0.now())?;
    if !is_json(&parts.headers) {
        return Err(Problem::new(Kind::MediaType, "send `Content-Type: application/json`"));
    }
    api.now().service(asked.name(0))?;
    Ok((actor, read(body).await?))
}

/// Anything else could come from a form of another site without the browser asking first.
fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Kind::TooLarge, format!("no order is longer than {LONGEST_BODY} bytes"));
    // One that announces its length need not arrive.
    if HttpBody::size_hint(&body).lower() > LONGEST_BODY as u64 {
        return Err(too_large());
    }
    let collected = timeout(BODY_DEADLINE, Limited::new(body, LONGEST_BODY).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if is_length_limit(&*error) => Err(too_large()),
        Ok(Err(_)) | Err(_) => Err(Problem::new(Kind::BadBody, "the body did not arrive in whole")),
    }
}

fn is_length_limit(error: &(dyn Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_length_limit)
}

/// The parser alone would take a list as well, as the values of an order without their names.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::new(
            Kind::BadBody,
            "an order is a JSON object such as {\"reason\": \"...\"}, and no list",
        ));
    }
    serde_json::from_slice(body).map_err(|error| Problem::new(Kind::BadBody, shown_error(&error.to_string())))
}

/// The parser's message quotes what was sent.
fn shown_error(message: &str) -> String {
    const LONGEST: usize = 200;
    let message = crate::spec::printable(message);
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &message[..end]),
        None => message,
    }
}

/// A reason is read in terminals, chats and pages for as long as the audit is kept.
fn sound_reason(reason: String) -> Result<String, Problem> {
    let reason = reason.trim();
    let turns_text = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let why = match reason {
        "" => "`reason` is required",
        _ if reason.chars().count() > LONGEST_REASON => "`reason` is longer than 500 characters",
        _ if reason.contains(|c: char| c.is_control() || turns_text(c)) => {
            "`reason` has control characters in it; write one line of text"
        }
        _ => return Ok(reason.to_owned()),
    };
    Err(Problem::new(Kind::BadBody, why))
}

fn time(text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    let parse = |text: String| {
        Timestamp::parse_rfc3339(&text).map_err(|_| {
            let detail = format!("`until`: `{}` is not an RFC 3339 time such as 2026-11-20T10:12:00Z", shown(&text));
            Problem::new(Kind::BadBody, detail)
        })
    };
    text.map(parse).transpose()
}

/// Has the owner follow the order, and shows the gate once every reader sees it followed.
async fn order(api: &Api, service: &str, hold: Hold, actor: Actor) -> Result<Response, Problem> {
    let order = Order { service: service.to_owned(), hold, actor };
    let followed = api.ask(|reply| Ask::Order { order, reply }).await;
    let followed = followed.map_err(|problem| problem.when_late(MAY_STILL_BE_FOLLOWED))?;
    let Followed { revision, audit } = followed.map_err(|error| refused(service, &error))?;
    let mut snapshots = api.snapshots.clone();
    let published = timeout(api.deadline, snapshots.wait_for(|snapshot| snapshot.revision >= revision)).await;
    if !matches!(published, Ok(Ok(_))) {
        let detail = format!("the order is written, but not in force yet; /api/v1/gates/{service} tells when it is");
        return Err(Problem::new(Kind::Late, detail).retry_after(1));
    }
    drop(published);
    let view = api.now();
    let gate = GateStatus::new(&view.catalog, &view.board, view.service(service)?, DEFAULT_CHANGE);
    Ok(json(StatusCode::OK, &Done { gate, audit }))
}

fn refused(service: &str, error: &OrderError) -> Problem {
    match error {
        OrderError::UnknownService => Problem::unknown("service", service, []),
        OrderError::Refused(error) => Problem::new(Kind::BadBody, error.to_string()),
        OrderError::NotWritten(_) | OrderError::NotDurable(_) => {
            Problem::new(Kind::NotWritten, error.to_string()).retry_after(5)
        }
    }
}
