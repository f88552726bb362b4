//! What scraping costs a running server: `cargo bench --bench scrape`.
//!
//! Two hundred targets with 4,992 series each (histograms, 0.6 MB a page), which the real program scrapes every 15 s,
//! in four runs: with SLOs that select 1% of the series and with SLOs that select all, of targets that send their pages
//! as they are and of targets that pack them with gzip, as most client libraries do for whoever offers it.
//!
//! A run prints how much of one core slogate computed while it read the first page of each target, how much while it
//! read the next ones, and how much memory it held then. The targets are served by a process of their own; every page
//! that it gives has other values than the one before. Servers run on the first core, targets on the second.
//!
//! `SLOGATE_BENCH_TARGETS` (200) and `SLOGATE_BENCH_INTERVALS` (4, of 15 s, in each run) change the amount,
//! `SLOGATE_BENCH_DIR` the place.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use slogate::time::Stopwatch;

#[path = "support/metrics.rs"]
#[allow(dead_code, reason = "shared with a bench that reads one large page")]
mod metrics;

/// Histograms of each of six metrics, of 16 lines each: 4,992 series.
const HISTOGRAMS: usize = 52;
const INTERVAL_MS: u64 = 15_000;
/// How long to wait for what has to come: for a start, or for the first page of every target.
const PATIENCE_MS: u64 = 60_000;

/// SLOs that select some of the series, or all of them.
struct Selection {
    name: &'static str,
    slos: &'static str,
}

const SELECTIONS: [Selection; 2] = [
    Selection {
        name: "1%",
        slos: r#"
[[slo]]
name = "errors"
objective = 50.0
[slo.ratio]
source = "app"
total  = 'http_request_duration_seconds_count'
bad    = 'http_request_duration_seconds_count{code=~"5.."}'
"#,
    },
    Selection {
        name: "all",
        slos: r#"
[[slo]]
name = "counts"
objective = 50.0
[slo.ratio]
source = "app"
total  = '{__name__=~".+_(bucket|count)"}'
bad    = '{__name__=~".+_(bucket|count)",code=~"5.."}'

[[slo]]
name = "sums"
objective = 50.0
[slo.gauge]
source    = "app"
metric    = '{__name__=~".+_sum"}'
good_when = ">= 0"
slice     = "1m"
"#,
    },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, packing] = arguments.as_slice()
        && role == "targets"
    {
        return serve_targets(packing == "gzip");
    }
    let number = |name: &str, or: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or);
    let (targets, intervals) = (number("SLOGATE_BENCH_TARGETS", 200), number("SLOGATE_BENCH_INTERVALS", 4));
    let directory = std::env::var("SLOGATE_BENCH_DIR").map_or(std::env::temp_dir(), Into::into);
    let directory = directory.join(format!("slogate-bench-scrape-{}", std::process::id()));
    let page = metrics::page_of(HISTOGRAMS, 1_000);
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    println!(
        "{targets} targets of {series} series and {} kB, scraped every {} s",
        page.len() / 1_000,
        INTERVAL_MS / 1_000
    );
    println!(
        "{:>8} {:>8} {:>16} {:>15} {:>12} {:>12}",
        "selected", "packed", "core, 1st pages", "core, next ones", "resident MB", "at most MB"
    );
    for (packing, selection) in
        ["no", "gzip"].iter().flat_map(|packing| SELECTIONS.iter().map(move |some| (packing, some)))
    {
        let place = directory.join(format!("{packing}-{}", selection.name.trim_end_matches('%')));
        fs::create_dir_all(&place).expect("the temporary directory is writable");
        let served = Targets::start(packing);
        write_specs(&place, served.address, targets, selection.slos);
        let server = Server::start(place);
        let first = server.core_percent(INTERVAL_MS);
        server.wait_for_pages(targets as usize);
        let next = server.core_percent(INTERVAL_MS * intervals);
        server.wait_for_pages(targets as usize);
        let (resident, most) = (server.memory("VmRSS"), server.memory("VmHWM"));
        println!("{:>8} {packing:>8} {first:>14.1} % {next:>13.1} % {resident:>12} {most:>12}", selection.name);
    }
    let _ = fs::remove_dir_all(&directory);
}

/// Writes specs of one scraped source.
fn write_specs(place: &Path, served: SocketAddr, targets: u64, slos: &str) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let targets: Vec<String> = (0..targets).map(|target| format!("\"http://{served}/{target}/metrics\"")).collect();
    let engine = format!(
        "[server]\nlisten = \"{free}\"\n[store]\nurl = \"redb:../slogate.redb\"\n[[source]]\nname = \"app\"\n\
        [source.scrape]\ninterval = \"{}s\"\ntargets = [{}]\n[gate]\non_unknown = \"deny\"\n",
        INTERVAL_MS / 1_000,
        targets.join(", ")
    );
    let story = format!("[story]\nname = \"api\"\n{slos}");
    fs::create_dir_all(place.join("specs")).expect("the directory is writable");
    for (name, text) in [("slogate.toml", engine), ("api.toml", story)] {
        fs::write(place.join("specs").join(name), text).expect("the directory is writable");
    }
}

/// The real program, scraping.
struct Server {
    process: Child,
    address: SocketAddr,
    place: PathBuf,
}

impl Server {
    fn start(place: PathBuf) -> Self {
        let engine = fs::read_to_string(place.join("specs/slogate.toml")).expect("the specs are there");
        let address = engine.split('"').nth(1).and_then(|text| text.parse().ok()).expect("the address comes first");
        let log = File::create(place.join("serve.log")).expect("the directory is writable");
        let mut command = on_core("0", Path::new(env!("CARGO_BIN_EXE_slogate")));
        let command = command.args(["serve", "--specs"]).arg(place.join("specs")).stderr(log);
        Self { process: command.spawn().expect("slogate starts"), address, place }
    }

    /// How much of a core it computes while so many milliseconds go by.
    fn core_percent(&self, for_ms: u64) -> f64 {
        let (before, clock) = (self.computed_ms(), Stopwatch::start());
        thread::sleep(Duration::from_millis(for_ms));
        (self.computed_ms() - before) as f64 * 100.0 / clock.elapsed_ms() as f64
    }

    fn computed_ms(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        // A tick is 10 ms on every Linux.
        10 * fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
    }

    /// A field of its `/proc` status, in MB.
    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        let kib = line.trim_matches(|letter: char| !letter.is_ascii_digit()).parse::<u64>();
        kib.map_or(0, |kib| kib * 1_024 / 1_000_000)
    }

    /// Waits until the last scrape of every target gave a page that was counted.
    fn wait_for_pages(&self, targets: usize) {
        let clock = Stopwatch::start();
        while self.targets_counted() < targets {
            if clock.elapsed_ms() > PATIENCE_MS {
                let log = fs::read_to_string(self.place.join("serve.log")).unwrap_or_default();
                panic!("{} of {targets} targets were counted:\n{log}", self.targets_counted());
            }
            thread::sleep(Duration::from_millis(500));
        }
    }

    fn targets_counted(&self) -> usize {
        let sources: Option<Value> = self.sources().and_then(|body| serde_json::from_slice(&body).ok());
        let targets = sources.as_ref().and_then(|sources| sources["sources"][0]["targets"].as_array());
        targets.map_or(0, |targets| {
            let is_counted = |target: &&Value| !target["last_page"].is_null() && target["error"].is_null();
            targets.iter().filter(is_counted).count()
        })
    }

    fn sources(&self) -> Option<Vec<u8>> {
        let mut connection = TcpStream::connect(self.address).ok()?;
        write!(connection, "GET /api/v1/sources HTTP/1.1\r\nHost: slogate\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).ok()?;
        let head = memchr::memmem::find(&answer, b"\r\n\r\n")?;
        Some(answer.split_off(head + 4))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command that runs on this core, if there are two.
fn on_core(core: &str, program: &Path) -> Command {
    if thread::available_parallelism().map_or(1, |cores| cores.get()) < 2 {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", core]).arg(program);
    command
}

/// The process that serves the targets.
struct Targets {
    process: Child,
    address: SocketAddr,
}

impl Targets {
    fn start(packing: &str) -> Self {
        let mut command = on_core("1", &std::env::current_exe().expect("this program has a path"));
        let mut process = command.args(["targets", packing]).stdout(Stdio::piped()).spawn().expect("it starts again");
        let mut line = String::new();
        let out = process.stdout.take().expect("it was asked for");
        BufReader::new(out).read_line(&mut line).expect("it says where it listens");
        Self { process, address: line.trim().parse().expect("an address") }
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves every target there may be; says where it listens, and never ends.
///
/// The page of this second is made once and given to whoever asks.
fn serve_targets(is_packed: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    println!("{}", listener.local_addr().expect("it has an address"));
    let (clock, answer) = (Stopwatch::start(), Arc::new(RwLock::new(Arc::new(answer(1_000, is_packed)))));
    let shared = Arc::clone(&answer);
    thread::spawn(move || {
        loop {
            let next = Arc::new(self::answer(1_000 + clock.elapsed_ms() / 1_000, is_packed));
            *shared.write().expect("nobody panics") = next;
            thread::sleep(Duration::from_secs(1));
        }
    });
    for connection in listener.incoming().flatten() {
        let answer = Arc::clone(&answer.read().expect("nobody panics"));
        thread::spawn(move || give(connection, &answer));
    }
}

/// Reads a request and answers it.
fn give(mut connection: TcpStream, answer: &[u8]) {
    let (mut request, mut filled) = ([0; 4_096], 0);
    while memchr::memmem::find(&request[..filled], b"\r\n\r\n").is_none() {
        match connection.read(&mut request[filled..]) {
            Ok(read) if read > 0 => filled += read,
            _ => return,
        }
    }
    let _ = connection.write_all(answer);
}

/// A page with its head, as it is sent.
fn answer(scrape: u64, is_packed: bool) -> Vec<u8> {
    let (mut body, mut packing) = (metrics::page_of(HISTOGRAMS, scrape).into_bytes(), "");
    if is_packed {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&body).expect("memory takes everything");
        (body, packing) = (packed.finish().expect("memory takes everything"), "Content-Encoding: gzip\r\n");
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n{packing}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}
