//! Answers: bodies and the headers that all of them carry.

use axum::body::{Body, Bytes};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

/// A document as JSON, ended by a newline for those who read it in a terminal.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Response {
    with_type(status, "application/json", body(document))
}

/// The body of [`json`].
pub(super) fn body(document: &impl Serialize) -> Bytes {
    let mut text = Vec::with_capacity(1_024);
    // A document is made of numbers, texts and lists; only a map with keys that are no texts could not be written.
    serde_json::to_writer(&mut text, document).expect("a document can be written as JSON");
    text.push(b'\n');
    text.into()
}

/// A body of a media type.
pub(super) fn with_type(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    guard(response.headers_mut());
    response
}

/// No answer is to be kept, guessed at, framed, or to load anything.
fn guard(headers: &mut HeaderMap) {
    const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}
