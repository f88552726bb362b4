//! The server, seen from a subcommand: one question, one answer, with a deadline.
//!
//! - Redirects are not followed: they could carry the token to somebody else, and a gate's answer from elsewhere is
//!   none.
//! - What comes back is bounded, and only text that cannot drive a terminal is shown of it.

use std::time::Duration;

use clap::Args;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Url, redirect};
use serde_json::Value;
use slogate::spec::{is_name, printable};
use tokio::runtime::Runtime;

/// How long a connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long a whole answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// The status of ten thousand SLOs has less than half of this, in bytes.
const LONGEST_ANSWER: usize = 64 << 20;
/// Where the token comes from; a command line is read by everybody on the machine.
const TOKEN: &str = "SLOGATE_TOKEN";

/// Which server.
#[derive(Args, Debug)]
pub(super) struct ServerArgument {
    /// The server
    #[arg(long, value_name = "URL", env = "SLOGATE_URL", default_value = "http://127.0.0.1:9999")]
    url: String,
}

/// A server that can be asked.
pub(super) struct Remote {
    runtime: Runtime,
    client: Client,
    base: Url,
}

/// What it answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// One question.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    /// Below `/api/v1`.
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Option<Value>,
}

impl<'a> Question<'a> {
    /// `GET` of a path below `/api/v1`.
    pub(super) fn get(path: &'a [&'a str]) -> Self {
        Self { method: Method::GET, path, query: &[], headers: Vec::new(), body: None }
    }
}

impl Remote {
    /// The server that the arguments name; nothing is sent yet.
    ///
    /// # Errors
    /// A sentence, when the URL is none, or this machine cannot make connections.
    pub(super) fn new(argument: &ServerArgument) -> Result<Self, String> {
        let text = printable(&argument.url);
        let base = Url::parse(&argument.url).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(format!("`{text}` is not a URL such as http://127.0.0.1:9999 or https://slogate.example"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(format!("a URL is no place for secrets; the token comes from the variable {TOKEN}"));
        }
        // A second provider of the same process would be an error of its own, and there is none.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(redirect::Policy::none()).connect_timeout(CONNECT_DEADLINE);
        let client = client.timeout(ANSWER_DEADLINE).user_agent(concat!("slogate/", env!("CARGO_PKG_VERSION")));
        // What this machine says to itself is not for a proxy.
        let client = if is_local(&base) { client.no_proxy() } else { client };
        let client = client.build().map_err(|error| format!("cannot make connections: {}", chain(&error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot make connections: {error}"))?;
        Ok(Self { runtime, client, base })
    }

    /// Runs what asks questions to its end.
    pub(super) fn block_on<T>(&self, asking: impl Future<Output = T>) -> T {
        self.runtime.block_on(asking)
    }

    /// Its URL, for messages.
    pub(super) fn url(&self) -> String {
        printable(self.base.as_str().trim_end_matches('/'))
    }

    /// Asks once.
    ///
    /// # Errors
    /// A sentence, when there is no answer.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Answer, String> {
        let mut request = self.client.request(question.method.clone(), self.address(question));
        for (name, value) in &question.headers {
            request = request.header(name, value.clone());
        }
        if let Some(body) = &question.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let unreachable = |error: &reqwest::Error| format!("{} cannot be reached: {}", self.url(), chain(error));
        let mut response = request.send().await.map_err(|error| unreachable(&error))?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        if let (300..400, Some(place)) = (status, headers.get(LOCATION)) {
            let place = printable(&String::from_utf8_lossy(place.as_bytes()));
            return Err(format!("{} redirects to {place}; name that place with --url", self.url()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(format!("{} does not stop answering", self.url()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn address(&self, question: &Question<'_>) -> Url {
        let mut address = self.base.clone();
        // A URL with a host has a path to add to.
        if let Ok(mut path) = address.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(question.path);
        }
        address.set_query(None);
        address.set_fragment(None);
        if !question.query.is_empty() {
            address.query_pairs_mut().extend_pairs(question.query);
        }
        address
    }

    /// The header that carries the token of the environment, if there is one; warns when others could read it.
    ///
    /// # Errors
    /// A sentence, when the token does not fit in a header.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let Ok(token) = std::env::var(TOKEN) else { return Ok(None) };
        if token.is_empty() {
            return Ok(None);
        }
        if self.base.scheme() == "http" && !is_local(&self.base) {
            super::say(&format!("warning: the token goes to {} unencrypted", self.url()));
        }
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| format!("the token in {TOKEN} has characters that no header may hold"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Answer {
    /// What the server says is wrong.
    pub(super) fn problem(&self) -> String {
        let detail =
            serde_json::from_str(&self.body).ok().and_then(|body: Value| body["detail"].as_str().map(printable));
        detail.unwrap_or_else(|| format!("the answer is {}, and not one of slogate's", self.status))
    }
}

/// Tells stderr what is wrong with a name that was typed, if something is.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), super::Exit> {
    if is_name(name) {
        return Ok(());
    }
    super::say(&format!("`{}` cannot be the name of {what}", printable(name)));
    Err(super::Exit::Usage)
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// An error with its causes, without the URL, which is said already.
fn chain(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some of them repeat what caused them.
        if causes.last().is_none_or(|last| !last.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    if error.is_timeout() {
        causes.insert(0, "it took too long".to_owned());
    }
    match causes.is_empty() {
        true => printable(&error.to_string()),
        false => printable(&causes.join(": ")),
    }
}
