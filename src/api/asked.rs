//! What was asked: the names in a path and the parameters behind it.

use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::problem::{Kind, Problem, shown};
use crate::spec::{is_name, nearest};
use crate::time::{Horizon, Timestamp, parse_duration_us};

/// Names that people give to parameters with secrets in them.
const SECRETS: [&str; 6] = ["token", "access_token", "api_key", "apikey", "authorization", "bearer"];

/// The names of a path, in its order, and the parameters of the query, as typed.
#[derive(Debug)]
pub(super) struct Asked {
    names: Vec<String>,
    query: String,
}

/// The parameters of one query, all of them known and given once.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let names = match RawPathParams::from_request_parts(parts, state).await {
            Ok(names) => names.iter().map(|(_, name)| name.to_owned()).collect(),
            Err(_) => {
                let detail = format!("`{}` is not UTF-8 in percent-encoding", shown(parts.uri.path()));
                return Err(Problem::new(Kind::UnknownPath, detail));
            }
        };
        Ok(Self { names, query })
    }
}

impl Asked {
    /// The name in place `index` of the path.
    pub(super) fn name(&self, index: usize) -> &str {
        &self.names[index]
    }

    /// The parameters, which must be among `known`.
    pub(super) fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(self.query.as_bytes()) {
            if SECRETS.contains(&&*name.to_ascii_lowercase()) {
                let detail = "a token in a URL ends up in logs; send it as `Authorization: Bearer ...`, and replace it";
                return Err(Problem::new(Kind::TokenInQuery, detail));
            }
            if !known.contains(&&*name) {
                return Err(unknown_parameter(&name, known));
            }
            if found.iter().any(|(other, _)| *other == name) {
                return Err(Problem::new(Kind::BadParameter, format!("the parameter `{name}` is given twice")));
            }
            found.push((name.into_owned(), value.into_owned()));
        }
        Ok(Query(found))
    }
}

fn unknown_parameter(name: &str, known: &[&str]) -> Problem {
    let help = match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None if known.is_empty() => "; there are none here".to_owned(),
        None => format!("; there are `{}`", known.join("`, `")),
    };
    Problem::new(Kind::BadParameter, format!("there is no parameter `{}`{help}", shown(name)))
}

impl Query {
    /// A parameter as text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is an RFC 3339 time.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // A `+` that was not percent-encoded arrives as a space; it can only be that of the offset.
        let parsed = Timestamp::parse_rfc3339(&text.replace(' ', "+"));
        parsed.map(Some).map_err(|_| {
            let detail = format!("`{name}`: `{}` is not an RFC 3339 time such as 2026-11-20T10:12:00Z", shown(text));
            Problem::new(Kind::BadParameter, detail)
        })
    }

    /// A parameter that is a length of time in whole minutes.
    pub(super) fn step(&self, name: &str) -> Result<Option<Horizon>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let whole = |us: u64| us.is_multiple_of(60_000_000).then(|| u32::try_from(us / 60_000_000).ok()).flatten();
        let horizon = parse_duration_us(text).ok().and_then(whole).and_then(Horizon::new);
        horizon.map(Some).ok_or_else(|| {
            let detail = format!("`{name}`: `{}` is not a whole number of minutes such as 5m, 1h or 1d", shown(text));
            Problem::new(Kind::BadParameter, detail)
        })
    }

    /// A parameter that is a whole number within these bounds.
    pub(super) fn number(&self, name: &str, bounds: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let parsed = text.parse().ok().filter(|number| bounds.contains(number));
        parsed.map(Some).ok_or_else(|| {
            let (least, most) = bounds.into_inner();
            let detail = format!("`{name}`: `{}` is not a whole number from {least} to {most}", shown(text));
            Problem::new(Kind::BadParameter, detail)
        })
    }

    /// A parameter that is a word, such as a kind of change.
    pub(super) fn word(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.text(name) {
            Some(text) if !is_name(text) => {
                let rule = "1 to 64 letters, digits, `_`, `.` or `-`";
                Err(Problem::new(Kind::BadParameter, format!("`{name}`: `{}` is not a word of {rule}", shown(text))))
            }
            word => Ok(word),
        }
    }
}
