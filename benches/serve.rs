//! Whether `slogate serve` is small and quick: `cargo bench --bench serve`.
//!
//! A thousand SLOs of four kinds, with every minute of 28 days counted in the store, and the real program on top of
//! them:
//!
//! - how long it takes to be ready, how much memory it holds and how large its store is;
//! - how many gate checks and reads of one SLO it answers in a second, in turns with a bare axum handler that has the
//!   same body ready in memory, in a process of its own; the same while lines arrive;
//! - how long it takes from writing a line to seeing it in the answer, while lines arrive.
//!
//! Servers run on the first core, what drives them on the second, so that neither takes from the other; with a single
//! core they share it. A round asks [`CONNECTIONS`] connections one after the other, and then takes their answers.
//!
//! `SLOGATE_BENCH_SLOS` and `SLOGATE_BENCH_DAYS` change the amount, `SLOGATE_BENCH_LINES` the lines a second (100,000),
//! `SLOGATE_BENCH_ROUNDS` how often the turns are taken (9), and `SLOGATE_BENCH_DIR` the place.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get as get_route;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use slogate::demo::{Printer, Record};
use slogate::time::{Clock, Stopwatch, SystemClock, Timestamp};

#[path = "support/history.rs"]
mod history;

/// How many connections ask at once.
const CONNECTIONS: usize = 16;
/// How long one turn asks, in milliseconds.
const TURN_MS: u64 = 1_000;
/// How many times a line is waited for.
const LINES_WAITED_FOR: usize = 20;
/// The story whose SLOs are read.
const STORY: &str = "story7";
/// The one that the waited-for lines are about, and no others.
const MARKED: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, file] = arguments.as_slice()
        && role == "bare"
    {
        return bare(Path::new(file));
    }
    let number = |name: &str, or: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or);
    let (slos, days) = (number("SLOGATE_BENCH_SLOS", 1_000) as usize, number("SLOGATE_BENCH_DAYS", 28) as i64);
    let (lines, rounds) = (number("SLOGATE_BENCH_LINES", 100_000), number("SLOGATE_BENCH_ROUNDS", 9) as usize);
    let directory = std::env::var("SLOGATE_BENCH_DIR").map_or(std::env::temp_dir(), Into::into);
    let directory = directory.join(format!("slogate-bench-serve-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("the temporary directory is writable");

    prepare(&directory, slos, days);
    let server = Server::start(&directory);
    println!("{slos} SLOs, {days} full days of minutes");
    println!("ready                {:>7} ms after the start", server.ready_ms);
    println!("store                {:>7} MB", size(&directory.join("slogate.redb")) / 1_000_000);
    println!("resident             {:>7} MB, {} MB at most", server.memory("VmRSS"), server.memory("VmHWM"));
    own_core();
    let (log, stories) = (directory.join("access.log"), slos.div_ceil(4));
    let trickle = LogStream::start(&log, 100, stories);
    server.wait_for_verdict();
    for name in ["gate check", "single SLO"] {
        compare(name, &server, &directory, rounds);
    }
    trickle.stop();
    let stream = LogStream::start(&log, lines, stories);
    for name in ["gate check", "single SLO"] {
        compare(&format!("{name}, {lines} lines/s"), &server, &directory, rounds);
    }
    let waits = wait_for_lines(&server, &log);
    println!(
        "line to answer       {:>7} ms in the middle, {} ms at most, of {}",
        waits[waits.len() / 2],
        waits[waits.len() - 1],
        waits.len()
    );
    let (before, clock) = (computed_ms(&server.process), Stopwatch::start());
    thread::sleep(Duration::from_millis(3 * TURN_MS));
    let busy = (computed_ms(&server.process) - before) as f64 * 100.0 / clock.elapsed_ms() as f64;
    println!("lines arrived        {:>7.0} a second; counting them kept {busy:.0} % of a core busy", stream.stop());
    println!("resident             {:>7} MB, {} MB at most", server.memory("VmRSS"), server.memory("VmHWM"));
    drop(server);
    let _ = fs::remove_dir_all(&directory);
}

/// Writes the specs and the store.
fn prepare(directory: &Path, slos: usize, days: i64) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    history::write_specs(directory, slos, &free.to_string());
    fs::write(directory.join("access.log"), "").expect("the directory is writable");
    let catalog = Arc::new(slogate::spec::load(directory).expect("the specs are valid").catalog);
    history::fill(&directory.join("slogate.redb"), &catalog, days, SystemClock.now());
}

/// The real program, serving.
struct Server {
    process: Child,
    address: SocketAddr,
    ready_ms: u64,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let engine = fs::read_to_string(directory.join("slogate.toml")).expect("the specs are there");
        let listen = engine.split('"').nth(1).and_then(|text| text.parse().ok()).expect("the address comes first");
        let since = Stopwatch::start();
        let mut command = on_first_core(Path::new(env!("CARGO_BIN_EXE_slogate")));
        command
            .args(["serve", "--specs"])
            .arg(directory)
            .stderr(File::create(directory.join("serve.log")).expect("a log"));
        let mut server = Self { process: command.spawn().expect("slogate starts"), address: listen, ready_ms: 0 };
        while server.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            if get(server.address, "/readyz").is_some_and(|(status, _)| status == 200) {
                server.ready_ms = since.elapsed_ms();
                return server;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let log = fs::read_to_string(directory.join("serve.log")).unwrap_or_default();
        panic!("slogate ended before it was ready:\n{log}");
    }

    /// Waits until the gate is not unknown any more: its source has been heard.
    fn wait_for_verdict(&self) {
        while get(self.address, &path_of("gate check")).is_some_and(|(status, _)| status == 503) {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A field of its `/proc` status, in MB.
    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.trim_matches(|letter: char| !letter.is_ascii_digit())
            .parse::<u64>()
            .map_or(0, |kib| kib * 1_024 / 1_000_000)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How long a process has computed, in milliseconds.
fn computed_ms(process: &Child) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    // A tick is 10 ms on every Linux.
    10 * fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
}

/// A command that runs on the first core, if there is another one for what drives it.
fn on_first_core(program: &Path) -> Command {
    if thread::available_parallelism().map_or(1, |cores| cores.get()) < 2 {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(program);
    command
}

/// Puts this process on the second core, if there is one.
fn own_core() {
    let me = std::process::id().to_string();
    let _ =
        Command::new("taskset").args(["--all-tasks", "--pid", "--cpu-list", "1", &me]).stdout(Stdio::null()).status();
}

/// What a request is about.
fn path_of(name: &str) -> String {
    match name.starts_with("gate check") {
        true => format!("/api/v1/gates/{STORY}/check"),
        false => format!("/api/v1/slos/{STORY}/availability"),
    }
}

/// Asks slogate and a bare handler in turns, and says how many times as many answers slogate gave.
fn compare(name: &str, server: &Server, directory: &Path, rounds: usize) {
    let path = path_of(name);
    // A frozen gate answers with 423.
    let (status, body) = get(server.address, &path).expect("slogate answers");
    assert!(status == 200 || status == 423, "{status} {}", String::from_utf8_lossy(&body));
    let file = directory.join("body.json");
    fs::write(&file, &body).expect("the directory is writable");
    let mut command = on_first_core(&std::env::current_exe().expect("this program has a path"));
    let mut bare = command.arg("bare").arg(&file).stdout(Stdio::piped()).spawn().expect("it starts again");
    let mut line = [0; 32];
    let length = bare.stdout.as_mut().and_then(|out| out.read(&mut line).ok()).expect("it says where it listens");
    let address =
        std::str::from_utf8(&line[..length]).ok().and_then(|text| text.trim().parse().ok()).expect("an address");

    let ours = || turn(&server.process, server.address, &path, status);
    let bares = || turn(&bare, address, &path, 200);
    let mut turns: Vec<(Turn, Turn)> = (0..rounds).map(|_| (ours(), bares())).collect();
    let _ = bare.kill();
    let _ = bare.wait();
    turns.sort_by(|left, right| (left.0.rate / left.1.rate).total_cmp(&(right.0.rate / right.1.rate)));
    let (ours, bare) = turns[rounds / 2];
    println!(
        "{name:<30} {:>6.0} answers a second of {} bytes, {:.2} of a bare handler's {:.0}; cores busy {:.0} and {:.0} %",
        ours.rate,
        body.len(),
        ours.rate / bare.rate,
        bare.rate,
        ours.busy_percent,
        bare.busy_percent,
    );
}

/// What came of asking for a while.
#[derive(Clone, Copy)]
struct Turn {
    /// Answers a second.
    rate: f64,
    /// How much of a core the server computed. Below 100 it waited for questions, and could have answered more.
    busy_percent: f64,
}

fn turn(process: &Child, address: SocketAddr, path: &str, expected: u16) -> Turn {
    let (before, clock) = (computed_ms(process), Stopwatch::start());
    let rate = rate(address, path, expected);
    Turn { rate, busy_percent: (computed_ms(process) - before) as f64 * 100.0 / clock.elapsed_ms() as f64 }
}

/// Answers a second to this request, all of them with this status.
fn rate(address: SocketAddr, path: &str, expected: u16) -> f64 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut connections: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(address).expect("it listens")).collect();
    let mut buffer = vec![0; 64 << 10];
    let (mut answers, clock) = (0_u64, Stopwatch::start());
    while clock.elapsed_ms() < TURN_MS {
        for connection in &mut connections {
            connection.write_all(request.as_bytes()).expect("it reads");
        }
        for connection in &mut connections {
            let (status, _) = answer(connection, &mut buffer).expect("it answers");
            assert_eq!(status, expected);
            answers += 1;
        }
    }
    answers as f64 * 1_000.0 / clock.elapsed_ms() as f64
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

/// One answer, of which the connection has no other behind it: its status, and where its body is in the buffer.
fn answer(connection: &mut TcpStream, buffer: &mut [u8]) -> Option<(u16, std::ops::Range<usize>)> {
    let mut filled = 0;
    loop {
        let read = connection.read(&mut buffer[filled..]).ok().filter(|read| *read > 0)?;
        filled += read;
        let Some(head) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head]).ok()?;
        let length = text.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
        let status = text.get(9..12)?.parse().ok()?;
        let end = head + 4 + length;
        if filled >= end {
            return Some((status, head + 4..end));
        }
    }
}

/// One answer over a connection of its own.
fn get(address: SocketAddr, path: &str) -> Option<(u16, Vec<u8>)> {
    let mut connection = connect(address).ok()?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").ok()?;
    let mut buffer = vec![0; 1 << 20];
    let (status, body) = answer(&mut connection, &mut buffer)?;
    Some((status, buffer[body].to_vec()))
}

/// Lines that keep arriving at a log.
struct LogStream {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    clock: Stopwatch,
}

impl LogStream {
    fn start(log: &Path, lines_a_second: u64, stories: usize) -> Self {
        const TICKS: u64 = 100;
        let mut file = File::options().append(true).open(log).expect("the log is there");
        let (stop, written, clock) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Stopwatch::start());
        let (stopped, count) = (stop.clone(), written.clone());
        thread::spawn(move || {
            let (mut printer, mut text) = (Printer::default(), Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let due = lines_a_second * clock.elapsed_ms() / 1_000;
                text.clear();
                let done = count.load(Ordering::Relaxed);
                for number in done..due {
                    // Every story but the one that is waited for.
                    let story = match number as usize % stories {
                        MARKED => 0,
                        other => other,
                    };
                    printer.print(&record(SystemClock.now(), story, number), &mut text);
                }
                file.write_all(&text).expect("the disk has room");
                count.store(due, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1_000 / TICKS));
            }
        });
        Self { stop, written, clock }
    }

    /// Stops it, and says how many lines a second there were.
    fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.written.load(Ordering::Relaxed) as f64 * 1_000.0 / self.clock.elapsed_ms() as f64
    }
}

fn record(at: Timestamp, story: usize, number: u64) -> Record {
    Record {
        at,
        client: [198, 18, (number >> 8) as u8, number as u8].into(),
        request: format!("GET /story{story}/{number} HTTP/1.1"),
        status: if number.is_multiple_of(1_000) { 503 } else { 200 },
        bytes: 512 + number % 4_096,
        referer: "-",
        agent: "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
        duration_ms: number % 97,
    }
}

/// How long it took until lines were counted in the answer, in milliseconds, ascending.
fn wait_for_lines(server: &Server, log: &Path) -> Vec<u64> {
    let path = format!("/api/v1/slos/story{MARKED}/availability");
    let total = || {
        let (_, body) = get(server.address, &path).expect("slogate answers");
        let slo: Value = serde_json::from_slice(&body).expect("the answer is JSON");
        slo["total"].as_u64().expect("it has a total")
    };
    let mut file = File::options().append(true).open(log).expect("the log is there");
    let wait = |number: usize| {
        let (before, mut text) = (total(), Vec::new());
        Printer::default().print(&record(SystemClock.now(), MARKED, number as u64), &mut text);
        let clock = Stopwatch::start();
        file.write_all(&text).expect("the disk has room");
        while total() <= before {
            thread::sleep(Duration::from_millis(5));
        }
        clock.elapsed_ms()
    };
    let mut waits: Vec<u64> = (0..LINES_WAITED_FOR).map(wait).collect();
    waits.sort_unstable();
    waits
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// A bare axum handler that answers everything with the file's bytes; it says where it listens, and never ends.
fn bare(file: &Path) {
    let body = Bytes::from(fs::read(file).expect("the body is there"));
    let handler = move || async move { ([(CONTENT_TYPE, "application/json")], body) };
    let router = Router::new()
        .route("/api/v1/gates/{service}/check", get_route(handler.clone()))
        .route("/api/v1/slos/{story}/{slo}", get_route(handler));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("it has an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.set_nodelay(true);
            let router = router.clone();
            let service = service_fn(move |request| tower_service::Service::call(&mut router.clone(), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}
