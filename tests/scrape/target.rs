//! A target that keeps its own books of what it counts, and can be as bad as targets get.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use slogate::time::{Clock, SystemClock};

/// How a target answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// With its page, as text.
    Page,
    /// With its page, as OpenMetrics, which says when each counter began.
    OpenMetrics,
    /// With its page, packed.
    Gzip,
    /// With less of its page than it promised.
    Torn,
    /// With these bytes behind a head of these lines.
    Raw(String, Vec<u8>),
    /// With zeros for ever, of which it promised so many.
    Endless(Option<u64>),
    /// With a byte of its page every 200 ms.
    Drip,
    /// Not at all, but the connection stands.
    Silent,
    /// With its page to every other request, and with status 503 to those between.
    EveryOther,
    /// With its page, or for `/metrics` with a redirect to there.
    Redirect(String),
    /// With the pages of these, one after the other, as a balancer before them would.
    Balanced(Vec<Arc<Mutex<State>>>),
}

/// What a target is at the moment.
#[derive(Debug)]
pub struct State {
    answer: Answer,
    /// What is on the page, by series.
    series: BTreeMap<String, u64>,
    /// What was ever counted, by series.
    books: BTreeMap<String, u64>,
    /// When its process began, in milliseconds since 1970, if it tells.
    began_ms: Option<i64>,
    /// The heads of the requests that it was asked with.
    requests: Vec<String>,
}

/// A target on a port of its own.
#[derive(Debug)]
pub struct Target {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Pages that were given in full.
    pages: Arc<AtomicU64>,
}

impl Target {
    /// A target that began just now and counts nothing yet.
    pub fn new() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"), None)
    }

    /// The same at this address, if need be with secured connections.
    pub fn at(address: SocketAddr, secured: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = State {
            answer: Answer::Page,
            series: BTreeMap::new(),
            books: BTreeMap::new(),
            began_ms: Some(now_ms()),
            requests: Vec::new(),
        };
        let (state, pages) = (Arc::new(Mutex::new(state)), Arc::new(AtomicU64::new(0)));
        let target = Self { address, state: Arc::clone(&state), pages: Arc::clone(&pages) };
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, pages, secured) = (Arc::clone(&state), Arc::clone(&pages), secured.clone());
                thread::spawn(move || match secured.map(ServerConnection::new) {
                    None => answer(stream, &state, &pages),
                    // It has said why, and whoever does not trust it goes away.
                    Some(connection) => {
                        let connection = connection.expect("a sound configuration");
                        answer(StreamOwned::new(connection, stream), &state, &pages);
                    }
                });
            }
        });
        target
    }

    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no test panics while it holds this"))
    }

    /// Counts events of a series.
    pub fn count(&self, series: &str, events: u64) {
        self.with(|state| {
            *state.series.entry(series.to_owned()).or_default() += events;
            *state.books.entry(series.to_owned()).or_default() += events;
        });
    }

    /// Shows a series with this value, whatever was counted.
    pub fn show(&self, series: &str, value: u64) {
        self.with(|state| state.series.insert(series.to_owned(), value));
    }

    /// What was ever counted of a series.
    pub fn counted(&self, series: &str) -> u64 {
        self.with(|state| state.books.get(series).copied().unwrap_or(0))
    }

    /// Begins anew, with all counters at zero; `tells` whether its pages say so.
    pub fn restart(&self, tells: bool) {
        self.with(|state| {
            state.series.values_mut().for_each(|value| *value = 0);
            state.began_ms = tells.then(now_ms);
        });
    }

    /// No longer shows a series.
    pub fn drop_series(&self, series: &str) {
        self.with(|state| state.series.remove(series));
    }

    pub fn answer(&self, answer: Answer) {
        self.with(|state| state.answer = answer);
    }

    /// Answers as a balancer before these targets would.
    pub fn balance(&self, between: &[&Self]) {
        self.answer(Answer::Balanced(between.iter().map(|target| Arc::clone(&target.state)).collect()));
    }

    /// How many pages it has given in full.
    pub fn pages(&self) -> u64 {
        self.pages.load(Ordering::SeqCst)
    }

    /// The head of the newest request.
    pub fn last_request(&self) -> String {
        self.with(|state| state.requests.last().cloned().unwrap_or_default())
    }

    /// The heads of all requests.
    pub fn requests(&self) -> Vec<String> {
        self.with(|state| state.requests.clone())
    }

    /// Its process began so much earlier, in milliseconds.
    pub fn began_earlier_by(&self, millis: i64) {
        self.with(|state| state.began_ms = state.began_ms.map(|began_ms| began_ms - millis));
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.with(|state| state.requests.len())
    }
}

fn now_ms() -> i64 {
    SystemClock.now().millis()
}

fn page(state: &State, is_open_metrics: bool) -> String {
    let mut page = String::new();
    let mut family = String::new();
    for (series, value) in &state.series {
        let name = series.split('{').next().unwrap_or(series);
        let base = if is_open_metrics { name.strip_suffix("_total").unwrap_or(name) } else { name };
        let base = base.strip_suffix("_bucket").unwrap_or(base);
        if base != family {
            let kind = match name {
                _ if name.ends_with("_bucket") => "histogram",
                _ if name.ends_with("_total") => "counter",
                _ => "gauge",
            };
            let _ = writeln!(page, "# TYPE {base} {kind}");
            family = base.to_owned();
        }
        let _ = writeln!(page, "{series} {value}");
    }
    if let Some(began_ms) = state.began_ms {
        let seconds = began_ms as f64 / 1_000.0;
        let _ = writeln!(page, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {seconds}");
    }
    page + if is_open_metrics { "# EOF\n" } else { "" }
}

fn answer(mut stream: impl Read + Write, state: &Mutex<State>, pages: &AtomicU64) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (how, text, open_metrics, number) = {
        let mut state = state.lock().expect("no test panics while it holds this");
        state.requests.push(head.clone());
        (state.answer.clone(), page(&state, false), page(&state, true), state.requests.len())
    };
    const TEXT: &str = "Content-Type: text/plain; version=0.0.4; charset=utf-8";
    const BUSY: &[u8] = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // Whoever asked may have gone away.
    let written = match how {
        Answer::EveryOther if number % 2 == 0 => stream.write_all(BUSY).map(|()| false),
        Answer::Redirect(to) if head.starts_with("GET /metrics ") => {
            let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).map(|()| false)
        }
        Answer::Page | Answer::EveryOther | Answer::Redirect(_) => whole(&mut stream, TEXT, text.as_bytes()),
        Answer::Balanced(between) => {
            let state = between[number % between.len()].lock().expect("no test panics while it holds this");
            whole(&mut stream, TEXT, page(&state, false).as_bytes())
        }
        Answer::OpenMetrics => {
            let head = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8";
            whole(&mut stream, head, open_metrics.as_bytes())
        }
        Answer::Gzip => {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(text.as_bytes()).expect("memory");
            let head = "Content-Type: text/plain; version=0.0.4\r\nContent-Encoding: gzip";
            whole(&mut stream, head, &packed.finish().expect("memory"))
        }
        Answer::Torn => {
            let sent = &text.as_bytes()[..text.len() / 2];
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text.len());
            stream.write_all(&[head.as_bytes(), sent].concat()).map(|()| false)
        }
        Answer::Raw(head, body) => {
            let head = format!("{}\r\nConnection: close\r\n\r\n", head.replace('\n', "\r\n"));
            stream.write_all(&[head.as_bytes(), &body].concat()).map(|()| false)
        }
        Answer::Endless(promised) => endless(&mut stream, promised).map(|()| false),
        Answer::Drip => drip(&mut stream, &text).map(|()| false),
        Answer::Silent => {
            thread::sleep(Duration::from_secs(30));
            Ok(false)
        }
    };
    pages.fetch_add(u64::from(written.unwrap_or(false)), Ordering::SeqCst);
}

fn whole(stream: &mut impl Write, head: &str, body: &[u8]) -> std::io::Result<bool> {
    let head = format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())?;
    stream.flush().map(|()| true)
}

fn endless(stream: &mut impl Write, promised: Option<u64>) -> std::io::Result<()> {
    let length = promised.map_or(String::new(), |promised| format!("Content-Length: {promised}\r\n"));
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{length}\r\n").as_bytes())?;
    let lines = "up 1\n".repeat(20_000);
    loop {
        stream.write_all(lines.as_bytes())?;
    }
}

fn drip(stream: &mut impl Write, text: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text.len());
    stream.write_all(head.as_bytes())?;
    for byte in text.bytes() {
        thread::sleep(Duration::from_millis(200));
        stream.write_all(&[byte])?;
    }
    Ok(())
}
