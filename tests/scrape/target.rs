//! A target that keeps its own books of what it counts, and can be as bad as targets get.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
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
}

#[derive(Debug)]
struct State {
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
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
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
                let (state, pages) = (Arc::clone(&state), Arc::clone(&pages));
                thread::spawn(move || answer(stream, &state, &pages));
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

    /// How many pages it has given in full.
    pub fn pages(&self) -> u64 {
        self.pages.load(Ordering::SeqCst)
    }

    /// The head of the newest request.
    pub fn last_request(&self) -> String {
        self.with(|state| state.requests.last().cloned().unwrap_or_default())
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

fn answer(mut stream: TcpStream, state: &Mutex<State>, pages: &AtomicU64) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let (how, text, open_metrics) = {
        let mut state = state.lock().expect("no test panics while it holds this");
        state.requests.push(String::from_utf8_lossy(&head).into_owned());
        (state.answer.clone(), page(&state, false), page(&state, true))
    };
    // Whoever asked may have gone away.
    let written = match how {
        Answer::Page => whole(&mut stream, "Content-Type: text/plain; version=0.0.4; charset=utf-8", text.as_bytes()),
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

fn whole(stream: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<bool> {
    let head = format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).map(|()| true)
}

fn endless(stream: &mut TcpStream, promised: Option<u64>) -> std::io::Result<()> {
    let length = promised.map_or(String::new(), |promised| format!("Content-Length: {promised}\r\n"));
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{length}\r\n").as_bytes())?;
    let lines = "up 1\n".repeat(20_000);
    loop {
        stream.write_all(lines.as_bytes())?;
    }
}

fn drip(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text.len());
    stream.write_all(head.as_bytes())?;
    for byte in text.bytes() {
        thread::sleep(Duration::from_millis(200));
        stream.write_all(&[byte])?;
    }
    Ok(())
}
