//! One page from one target.

use std::collections::HashMap;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Response, redirect};
use tokio::sync::OwnedSemaphorePermit;
use url::{Host, Url};

use super::body::{Body, Memory};
use super::{Endpoint, ScrapeError};
use crate::formats::exposition::{End, Format};
use crate::spec::{ScrapeSource, Secret, printable};

/// What is asked for: OpenMetrics says more than the text format (when counters were created).
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// So many redirects are followed one after the other, where any are.
const MOST_REDIRECTS: usize = 5;
/// So many of the largest pages may be on their way at one time.
const LARGEST_AT_ONCE: usize = 4;
/// Connections to single addresses are prepared for so many.
const MOST_CLIENTS: usize = crate::spec::MOST_TARGETS;
/// What a target says about itself is cut here, in characters.
const LONGEST_QUOTE: usize = 100;

/// A page as a target gave it.
#[derive(Debug)]
pub struct Fetched {
    /// All of it, unpacked.
    pub page: Vec<u8>,
    /// How it is written.
    pub format: Format,
    /// Whether it is known to be all.
    pub end: End,
    /// The memory that is reserved for it.
    _memory: Option<OwnedSemaphorePermit>,
}

/// Asks the targets of one source.
#[derive(Debug)]
pub struct Fetcher {
    source: ScrapeSource,
    memory: Memory,
    token: Option<HeaderValue>,
    /// By the name and the address that it leads to, and one for all other targets.
    clients: Mutex<HashMap<ClientKey, Client>>,
}

/// Whether connections are secured, and where a name leads instead of where it would.
type ClientKey = (bool, Option<(String, SocketAddr)>);

impl Fetcher {
    /// A fetcher for the targets of a source. Nothing is read yet.
    pub fn new(source: &ScrapeSource) -> Self {
        // A second provider of the same process would be an error of its own, and there is none.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let memory = Memory::new(source.limits.body_bytes.saturating_mul(LARGEST_AT_ONCE));
        Self { source: source.clone(), memory, token: None, clients: Mutex::default() }
    }

    /// Reads the token again, which may have been replaced.
    ///
    /// # Errors
    /// Why there is none although the specs name one; with what else is missing, so that nobody has to try twice.
    pub fn read_token(&mut self) -> Result<(), ScrapeError> {
        let found = self.source.token.as_ref().map(token).transpose();
        self.token = found.map_err(|error| match (error, self.source.ca_file.as_deref().map(authorities)) {
            (ScrapeError::Token(why), Some(Err(also))) => ScrapeError::Token(format!("{why}; and {also}")),
            (error, _) => error,
        })?;
        Ok(())
    }

    /// Asks a target for its page.
    ///
    /// # Errors
    /// Why there is none; it took no longer than the deadline.
    pub async fn fetch(&self, endpoint: &Endpoint) -> Result<Fetched, ScrapeError> {
        let (deadline_ms, came) = (self.source.timeout_ms, AtomicU64::new(0));
        let fetched = tokio::time::timeout(Duration::from_millis(deadline_ms), self.fetch_at_leisure(endpoint, &came));
        let late = |_| ScrapeError::Deadline { deadline_ms, bytes: came.load(Ordering::Relaxed) };
        fetched.await.map_err(late)?
    }

    async fn fetch_at_leisure(&self, endpoint: &Endpoint, came: &AtomicU64) -> Result<Fetched, ScrapeError> {
        let mut response = self.ask(endpoint).await?;
        let (format, is_gzip) = (format(response.headers())?, is_gzip(response.headers())?);
        let most = self.source.limits.body_bytes;
        if response.content_length().is_some_and(|length| length > most as u64) {
            return Err(ScrapeError::TooLong(most));
        }
        let is_delimited = response.headers().contains_key(header::CONTENT_LENGTH)
            || response.headers().contains_key(header::TRANSFER_ENCODING);
        let mut body = Body::new(is_gzip, most, &self.memory);
        while let Some(piece) = response.chunk().await.map_err(|error| ScrapeError::CutOff(cause(&error)))? {
            came.fetch_add(piece.len() as u64, Ordering::Relaxed);
            body.add(&piece).await?;
        }
        let (page, memory) = body.finish()?;
        let end = if is_delimited || is_gzip { End::Certain } else { End::Uncertain };
        Ok(Fetched { page, format, end, _memory: memory })
    }

    /// The answer of the target, or of where it leads if that is allowed.
    async fn ask(&self, endpoint: &Endpoint) -> Result<Response, ScrapeError> {
        let mut response = self.ask_once(&endpoint.url, endpoint.address, true).await?;
        let mut at = endpoint.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let status = response.status();
            if !status.is_redirection() {
                return if status.as_u16() == 200 { Ok(response) } else { Err(ScrapeError::Status(status.as_u16())) };
            }
            let next = self.redirected(&at, &response)?;
            let is_home = next.origin() == endpoint.url.origin();
            let address = endpoint.address.filter(|_| is_home);
            response = self.ask_once(&next, address, is_home).await?;
            if response.remote_addr().is_some_and(|address| is_link_local(address.ip())) {
                return Err(refused(&next, "whose name leads to a link-local address"));
            }
            at = next;
        }
        Err(refused(&at, "which is the end of too many redirects"))
    }

    /// Where a redirect leads, if it may be followed.
    fn redirected(&self, at: &Url, response: &Response) -> Result<Url, ScrapeError> {
        let to = response.headers().get(header::LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
        let to = to.unwrap_or_default();
        let nowhere = |why| ScrapeError::Redirect { to: quoted(&to), why };
        if !self.source.follow_redirects {
            return Err(nowhere("which is not followed; name the endpoint itself"));
        }
        let next = at.join(&to).map_err(|_| nowhere("which is no URL"))?;
        match next.host() {
            _ if !matches!(next.scheme(), "http" | "https") => Err(nowhere("which is neither http:// nor https://")),
            _ if at.scheme() == "https" && next.scheme() == "http" => Err(nowhere("which is not secured")),
            Some(Host::Ipv4(ip)) if is_link_local(ip.into()) => Err(nowhere("which is a link-local address")),
            Some(Host::Ipv6(ip)) if is_link_local(ip.into()) => Err(nowhere("which is a link-local address")),
            Some(_) => Ok(next),
            None => Err(nowhere("which names no host")),
        }
    }

    async fn ask_once(&self, url: &Url, at: Option<SocketAddr>, is_home: bool) -> Result<Response, ScrapeError> {
        let mut request = self.client(url, at)?.get(url.clone());
        if let Some(token) = self.token.as_ref().filter(|_| is_home) {
            request = request.header(header::AUTHORIZATION, token.clone());
        }
        let seconds = self.source.timeout_ms as f64 / 1_000.0;
        let request = request.header("X-Prometheus-Scrape-Timeout-Seconds", seconds.to_string());
        request.send().await.map_err(|error| ScrapeError::Unreachable(cause(&error)))
    }

    /// The client for a URL, which is made when it is needed first.
    fn client(&self, url: &Url, address: Option<SocketAddr>) -> Result<Client, ScrapeError> {
        let is_secure = url.scheme() == "https";
        let leads_to = address.zip(url.host_str()).map(|(address, host)| (host.to_owned(), address));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (is_secure, leads_to);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        let mut builder = plain_client();
        if let Some((host, address)) = &key.1 {
            builder = builder.resolve(host, *address);
        }
        builder = match (&self.source.ca_file, is_secure) {
            // Without a connection to be secured, nobody needs to be trusted.
            (_, false) => builder.tls_certs_only([]),
            (None, true) => builder,
            (Some(path), true) => builder.tls_certs_only(authorities(path)?),
        };
        let client = builder.build().map_err(|error| ScrapeError::Trust(cause(&error)))?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn plain_client() -> ClientBuilder {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    Client::builder()
        .user_agent(concat!("slogate/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .no_proxy()
}

/// The authorities that a file names; at least one.
fn authorities(path: &Path) -> Result<Vec<Certificate>, ScrapeError> {
    let named = |why: String| ScrapeError::Trust(format!("{}: {why}", printable(&path.to_string_lossy())));
    let pem = std::fs::read(path).map_err(|error| named(error.to_string()))?;
    let trusted = Certificate::from_pem_bundle(&pem).map_err(|error| named(cause(&error)))?;
    match trusted.is_empty() {
        true => Err(named("there is no certificate in it".to_owned())),
        false => Ok(trusted),
    }
}

fn token(secret: &Secret) -> Result<HeaderValue, ScrapeError> {
    let text = match secret {
        Secret::Env(name) => {
            std::env::var(name).map_err(|_| ScrapeError::Token(format!("the variable {name} is not set")))?
        }
        Secret::File(path) => {
            let named = |why| ScrapeError::Token(format!("{}: {why}", printable(&path.to_string_lossy())));
            std::fs::read_to_string(path).map_err(named)?
        }
    };
    let value = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
    let mut value = value.map_err(|_| ScrapeError::Token("it has characters that no header may have".to_owned()))?;
    if text.trim().is_empty() {
        return Err(ScrapeError::Token("it is empty".to_owned()));
    }
    value.set_sensitive(true);
    Ok(value)
}

/// How the page is written, by what the target says of it. One that says nothing means the text format, as ever.
fn format(headers: &HeaderMap) -> Result<Format, ScrapeError> {
    let Some(told) = headers.get(header::CONTENT_TYPE) else { return Ok(Format::Text) };
    let told = String::from_utf8_lossy(told.as_bytes()).into_owned();
    let mut parts = told.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let version = parts.find_map(|part| part.to_ascii_lowercase().strip_prefix("version=").map(str::to_owned));
    let version = version.as_deref().map(|version| version.trim_matches('"'));
    match (media.as_str(), version) {
        ("text/plain", None | Some("0.0.4" | "1.0.0")) => Ok(Format::Text),
        ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => Ok(Format::OpenMetrics),
        ("application/vnd.google.protobuf", _) => {
            Err(ScrapeError::NotMetrics("it is protobuf, which is not read (nor are native histograms)".to_owned()))
        }
        _ => Err(ScrapeError::NotMetrics(format!("its Content-Type is {}", quoted(&told)))),
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, ScrapeError> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else { return Ok(false) };
    match encoding.as_bytes().to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => Ok(true),
        b"identity" | b"" => Ok(false),
        other => Err(ScrapeError::Packed(format!("it is packed as {}", quoted(&String::from_utf8_lossy(other))))),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| ip.is_unicast_link_local(), |ip| ip.is_link_local()),
    }
}

fn refused(to: &Url, why: &'static str) -> ScrapeError {
    ScrapeError::Redirect { to: quoted(to.as_str()), why }
}

/// What a target said, such that it can be shown.
fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(LONGEST_QUOTE).collect();
    format!("`{}`", printable(&cut))
}

/// What lies behind an error: the last thing that is said about it.
fn cause(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    printable(&last.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ScrapeLimits;

    #[track_caller]
    fn check(content_type: &str, expected: Result<Format, &str>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        match (format(&headers), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{content_type}"),
            (Err(found), Err(expected)) => assert!(found.to_string().contains(expected), "{found}"),
            (found, expected) => panic!("{content_type}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn only_what_declares_itself_as_metrics_is_taken_for_metrics() {
        check("text/plain; version=0.0.4; charset=utf-8; escaping=underscores", Ok(Format::Text));
        check("text/plain", Ok(Format::Text));
        check("Text/Plain;version=1.0.0", Ok(Format::Text));
        check("application/openmetrics-text; version=1.0.0; charset=utf-8", Ok(Format::OpenMetrics));
        check("application/openmetrics-text;version=\"0.0.1\"", Ok(Format::OpenMetrics));
        check("application/openmetrics-text; version=2.0.0", Err("its Content-Type is"));
        check("text/html; charset=utf-8", Err("its Content-Type is `text/html"));
        check("application/vnd.google.protobuf; encoding=delimited", Err("protobuf"));
        assert_eq!(format(&HeaderMap::new()), Ok(Format::Text));
    }

    #[test]
    fn d15_addresses_where_clouds_answer_are_known() {
        for (ip, expected) in [
            ("169.254.169.254", true),
            ("fe80::1", true),
            ("::ffff:169.254.169.254", true),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_link_local(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    #[test]
    fn a_token_is_trimmed_and_never_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "secret\n").unwrap();
        let found = token(&Secret::File(path.clone())).unwrap();
        assert_eq!(found.as_bytes(), b"Bearer secret");
        assert!(found.is_sensitive());
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(token(&Secret::File(path)).unwrap_err().reason(), "token");
        assert!(token(&Secret::Env("SLOGATE_NO_SUCH".into())).unwrap_err().to_string().contains("SLOGATE_NO_SUCH"));
    }

    #[test]
    fn all_that_is_missing_is_told_at_once() {
        let source = ScrapeSource {
            targets: vec!["https://app:9100/metrics".into()],
            file_sd: Vec::new(),
            dns: Vec::new(),
            interval_ms: 15_000,
            timeout_ms: 10_000,
            limits: ScrapeLimits { body_bytes: 1_024, samples: 1, labels: 1, label_bytes: 16 },
            ca_file: Some("/no/ca.pem".into()),
            token: Some(Secret::Env("SLOGATE_NO_SUCH".into())),
            follow_redirects: false,
        };
        let told = Fetcher::new(&source).read_token().unwrap_err();
        let words = "the token for the targets cannot be used: the variable SLOGATE_NO_SUCH is not set; \
                     and no connection can be secured: /no/ca.pem: No such file";
        assert!(told.to_string().starts_with(words), "{told}");
        assert_eq!(told.reason(), "token");
        let tokenless = ScrapeSource { token: None, ..source };
        assert_eq!(Fetcher::new(&tokenless).read_token(), Ok(()), "and only when it is needed");
    }
}
