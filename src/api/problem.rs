//! Problems: refusals after RFC 9457, each with a sentence that says what would be right.

use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::answer;
use crate::spec::printable;

/// One refusal.
#[derive(Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    /// The name that was probably meant.
    nearest: Option<String>,
    retry_after_seconds: Option<u32>,
}

/// The kinds of refusal: status, the last part of its `type`, and its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    BadRequest,
    BadParameter,
    BadBody,
    TokenInQuery,
    NotKept,
    Unauthorized,
    Forbidden,
    UnknownName,
    UnknownPath,
    WrongMethod,
    TooLarge,
    UriTooLong,
    HeadTooLarge,
    MediaType,
    TooManyAttempts,
    Busy,
    NotWritten,
    Late,
}

impl Kind {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad-request", "This is not a sound HTTP request"),
            Self::BadParameter => (StatusCode::BAD_REQUEST, "bad-parameter", "A parameter cannot be understood"),
            Self::BadBody => (StatusCode::BAD_REQUEST, "bad-body", "The body cannot be understood"),
            Self::TokenInQuery => (StatusCode::BAD_REQUEST, "token-in-query", "Secrets do not belong into URLs"),
            Self::NotKept => (StatusCode::BAD_REQUEST, "not-kept", "There is no answer for this instant"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid bearer token is required"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Orders are not accepted this way"),
            Self::UnknownName => (StatusCode::NOT_FOUND, "unknown-name", "There is nothing of this name"),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown-path", "There is nothing at this path"),
            Self::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "This resource has other methods"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::UriTooLong => (StatusCode::URI_TOO_LONG, "uri-too-long", "The path and query are too long"),
            Self::HeadTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "The head of the request is too large")
            }
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The body must be JSON"),
            Self::TooManyAttempts => (StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", "Too many wrong tokens"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "The engine cannot answer now"),
            Self::NotWritten => (StatusCode::INSUFFICIENT_STORAGE, "not-written", "The order could not be written"),
            Self::Late => (StatusCode::GATEWAY_TIMEOUT, "late", "The engine did not answer in time"),
        }
    }
}

/// As it is sent.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    did_you_mean: Option<&'a str>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), nearest: None, retry_after_seconds: None }
    }

    /// A `what` that does not exist, with the one of `names` that was probably meant.
    pub(super) fn unknown<'a>(what: &str, name: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let nearest = crate::spec::nearest(name, names).map(str::to_owned);
        let help = nearest.as_ref().map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
        let detail = format!("there is no {what} `{}`{help}", shown(name));
        Self { nearest, ..Self::new(Kind::UnknownName, detail) }
    }

    fn body(&self) -> Body<'_> {
        let (status, kind, title) = self.kind.parts();
        Body {
            r#type: format!("urn:slogate:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            did_you_mean: self.nearest.as_deref(),
        }
    }

    /// The sentence that says what would be right.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same, when it came too late to say what becomes of what was asked, with more words behind its detail.
    pub(super) fn when_late(self, more: &str) -> Self {
        match self.kind {
            Kind::Late => Self { detail: self.detail + more, ..self },
            _ => self,
        }
    }

    pub(super) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }
}

/// The media type of a problem.
pub(super) const PROBLEM: &str = "application/problem+json";

/// What to say of a request that is refused with this status before any handler sees it; as its body.
pub(super) fn unseen(status: StatusCode) -> Option<Vec<u8>> {
    let problem = match status {
        StatusCode::BAD_REQUEST => {
            Problem::new(Kind::BadRequest, "the head of the request breaks the rules of HTTP/1.1")
        }
        StatusCode::URI_TOO_LONG => Problem::new(Kind::UriTooLong, "no path and query of this server is so long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            Problem::new(Kind::HeadTooLarge, "the head of the request is too long, or has too many fields")
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            Problem::new(Kind::Busy, "all connections that there may be are being answered")
        }
        _ => return None,
    };
    let mut body = serde_json::to_vec(&problem.body()).ok()?;
    body.push(b'\n');
    Some(body)
}

/// What a client sent, for a message: printable, and not too much of it.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", printable(&text[..end])),
        None => printable(text),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = answer::json(self.kind.parts().0, &self.body());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"slogate\""));
        }
        response
    }
}

/// No resource has this path.
pub(super) async fn not_found(uri: Uri) -> Problem {
    Problem::new(Kind::UnknownPath, format!("there is nothing at `{}`; see /openapi.json", shown(uri.path())))
}

/// The resource is only read; not even HEAD, which would have all of its answer made and thrown away.
pub(super) async fn only_get(uri: Uri) -> Response {
    wrong_method(&uri, "GET")
}

/// The resource only takes orders.
pub(super) async fn only_post(uri: Uri) -> Response {
    wrong_method(&uri, "POST")
}

fn wrong_method(uri: &Uri, right: &'static str) -> Response {
    let detail = format!("`{}` has no method but {right}", shown(uri.path()));
    let mut response = Problem::new(Kind::WrongMethod, detail).into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(right));
    response
}
