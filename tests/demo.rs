//! `slogate demo` as a newcomer meets it: started from anywhere, tried as it suggests, stopped.
//!
//! Each demo has a temporary directory of its own, so that what it leaves behind can be seen.

#[path = "support/by_hand.rs"]
mod by_hand;

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use slogate::time::Stopwatch;
use tempfile::TempDir;

use by_hand::by_hand;

/// From the start to one frozen gate and one open one, in milliseconds.
const NEWCOMER_MS: u64 = 20_000;
/// Nothing else here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something is looked at that is waited for.
const GLANCE: Duration = Duration::from_millis(20);
/// A free port, whichever.
const ANYWHERE: [&str; 2] = ["--listen", "127.0.0.1:0"];

#[test]
fn a_newcomer_sees_a_frozen_gate_and_an_open_one_within_twenty_seconds_and_what_is_suggested_works() {
    let demo = Demo::start(&ANYWHERE);
    let api = demo.get("/api/v1/gates/api");
    assert_eq!(demo.get("/api/v1/gates/shop")["level"], "open");
    assert_eq!(api["level"], "frozen");
    let took_ms = demo.started.elapsed_ms();
    assert!(took_ms < NEWCOMER_MS, "it took {took_ms} ms");
    assert_eq!((&api["reasons"][0]["kind"], &api["reasons"][0]["story"]), (&"budget_spent".into(), &"profile".into()));
    assert_eq!(demo.get("/api/v1/gates/web")["level"], "guarded");

    let answers: Vec<String> = demo.commands().iter().map(|command| shell(command)).collect();
    let [slo, denied, allowed, scraped] = answers.as_slice() else { panic!("four commands: {}", demo.banner) };
    let slo: Value = serde_json::from_str(slo).expect("JSON");
    assert_eq!((&slo["story"], &slo["state"]), (&"profile".into(), &"breached".into()));
    let scraped: Value = serde_json::from_str(scraped).expect("JSON");
    assert_eq!((&scraped["story"], &scraped["kind"]), (&"checkout".into(), &"ratio".into()));
    for (answer, allow, status) in [(denied, false, "423"), (allowed, true, "200")] {
        let (body, code) = answer.trim_end().rsplit_once('\n').expect("a body and a status");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!((&body["allow"], code), (&allow.into(), status), "{answer}");
    }
    assert_eq!(demo.words(), "writing four weeks of a shop's access log ...\n", "otherwise it is quiet");

    assert_readme_shows("demo output", &demo.banner);
    let transcript: String = demo.commands()[1..3]
        .iter()
        .zip(&answers[1..3])
        .map(|(command, answer)| format!("$ {command}\n{answer}"))
        .collect();
    assert_readme_shows("demo answers", &transcript);
    demo.stop("INT");
}

#[test]
fn live_lines_are_counted_exactly_while_the_log_is_rotated() {
    let demo = Demo::start(&[&ANYWHERE[..], &["--rotate-every", "500ms"]].concat());
    let history = demo.banner_lines();
    let before = metric(&demo, "slogate_ingest_records_total");
    demo.wait("new lines and five rotations", || {
        demo.logs().len() >= 29 + 5 && metric(&demo, "slogate_ingest_records_total") >= before + 5
    });
    let (status, text) = demo.frozen_in_time();
    let records = status["sources"][0]["records"].as_u64().expect("a count");
    assert_eq!(records, text.lines().count() as u64);
    assert!(records > history, "{records} of which {history} are history");
    assert_eq!(status["sources"][0]["rejected"], serde_json::json!({}));
    let counted = |slo: &str| {
        let slo = slos(&status).find(|found| name(found) == slo).expect("an SLO of the shipped specs");
        (slo["good"].as_u64().expect("a count"), slo["bad"].as_u64().expect("a count"))
    };
    for (slo, expected) in by_hand(&text) {
        assert_eq!(counted(slo), expected, "{slo}");
    }
    demo.stop("TERM");
}

#[test]
fn the_report_of_the_same_files_agrees_on_every_slo() {
    let demo = Demo::start(&ANYWHERE);
    let (status, _) = demo.frozen_in_time();
    let mut report = Command::new(env!("CARGO_BIN_EXE_slogate"));
    report.args(["report", "--json", "--at", status["at"].as_str().expect("a time"), "--specs"]);
    report.arg(demo.directory().join("slo-specs")).args(demo.logs());
    let output = report.output().expect("slogate runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // Nobody can scrape the past: of the story that is counted from metrics, a report says nothing.
    let is_logged = |slo: &&Value| slo["story"] != "checkout";
    let of = |document: &Value| -> Vec<(String, Value, Value)> {
        slos(document).filter(is_logged).map(|slo| (name(slo), slo["good"].clone(), slo["bad"].clone())).collect()
    };
    assert!(slos(&report).filter(|slo| !is_logged(slo)).all(|slo| slo["state"] == "no_data"), "{report}");
    assert_eq!(of(&report), of(&status));
    assert!(of(&report).len() >= 12, "{report}");
    demo.stop("INT");
}

#[test]
fn a_story_is_counted_from_metrics_that_the_demo_exposes() {
    let demo = Demo::start(&ANYWHERE);
    let target = demo.target();
    let payments = |status: &Value, slo: &str| {
        let slo = slos(status).find(|found| name(found) == slo).expect("an SLO of the shipped specs").clone();
        (slo["total"].as_u64().expect("a count"), slo["evidence"].as_str().expect("a word").to_owned())
    };
    let shown = || {
        let page = shell(&format!("curl -sf {target}"));
        let line = page.lines().find(|line| line.starts_with("payment_duration_seconds_count ")).expect("a count");
        line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).expect("a whole number")
    };
    let mut last = 0;
    demo.wait("sound evidence", || {
        let status = demo.get("/api/v1/status");
        let (total, evidence) = payments(&status, "checkout/payments");
        // Both are of one page, always.
        assert_eq!(payments(&status, "checkout/latency"), (total, evidence.clone()));
        assert!((last..=shown()).contains(&total), "{total} payments after {last}");
        last = total;
        assert_eq!(evidence == "ok", total >= 100, "{total} payments are {evidence}");
        // The logs are enough for an open gate, before and after.
        assert_eq!(demo.get("/api/v1/gates/shop")["level"], "open");
        evidence == "ok"
    });
    let source = demo.get("/api/v1/sources/payments");
    assert_eq!((&source["health"], &source["targets"][0]["url"]), (&"ok".into(), &target.as_str().into()));
    assert_eq!((&source["gaps_total"], &source["scrape_errors"]), (&0.into(), &serde_json::json!({})));
    let journey = demo.get("/api/v1/journeys/buy");
    assert!(journey["members"].as_array().expect("members").iter().all(|member| member["compliance"].is_number()));
    demo.stop("INT");
    let after = Command::new("sh").args(["-c", &format!("curl -sf {target}")]).status();
    assert!(!after.expect("sh runs").success(), "nothing listens there any more");
}

#[test]
fn a_port_that_is_taken_is_told_and_another_is_used() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address").to_string();
    let demo = Demo::start(&["--listen", &taken]);
    assert!(!demo.url().ends_with(&taken), "{}", demo.banner);
    let said = format!("{taken} is taken; answering at {} instead\n", demo.url().trim_start_matches("http://"));
    assert!(demo.words().starts_with(&said), "{}", demo.words());
    assert_eq!(demo.get("/healthz")["status"], "ok");
    demo.stop("HUP");
}

#[test]
fn whoever_stops_it_before_it_serves_finds_nothing_left_either() {
    let demo = Demo::spawn(&ANYWHERE);
    demo.wait("its first words", || !demo.words().is_empty());
    demo.stop("INT");
}

#[test]
fn a_log_that_is_taken_away_ends_it_with_a_sentence() {
    let demo = Demo::start(&[&ANYWHERE[..], &["--rotate-every", "500ms"]].concat());
    let logs = demo.directory().join("logs");
    fs::remove_dir_all(&logs).expect("they are removed");
    let (code, said) = demo.ended();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.lines().last().is_some_and(|line| line.starts_with(&format!("{}: ", logs.display()))), "{said}");
}

#[test]
fn what_cannot_be_had_is_one_sentence_and_leaves_nothing() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let nowhere = temp.path().join("nowhere");
    let in_vain = |place: &Path, arguments: &[&str]| {
        let output = command(place, arguments).output().expect("slogate runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let listen = "192.0.2.1:9999: cannot listen there (";
    for (place, arguments, code, begins) in [
        (temp.path(), &["--listen", "192.0.2.1:9999"][..], Some(3), listen),
        (&nowhere, &ANYWHERE[..], Some(3), nowhere.to_str().expect("a path")),
        (temp.path(), &["--seed", "many"], Some(2), "error: invalid value 'many' for '--seed <NUMBER>'"),
        (temp.path(), &["--rotate-every", "0s"], Some(2), "error: invalid value '0s' for '--rotate-every"),
        // Whoever is on the network must not give orders.
        (temp.path(), &["--listen", "0.0.0.0:0"], Some(3), "writing four weeks"),
    ] {
        let (exit, said) = in_vain(place, arguments);
        assert_eq!(exit, code, "{said}");
        assert!(said.starts_with(begins), "{said}");
        assert_eq!(entries(temp.path()), Vec::<PathBuf>::new());
    }
}

/// One at a time, so that what is measured is one demo.
static TURN: Mutex<()> = Mutex::new(());

/// A running demo. It ends with the test.
struct Demo {
    _turn: MutexGuard<'static, ()>,
    started: Stopwatch,
    temp: TempDir,
    process: Child,
    /// What it said on stdout so far.
    banner: String,
    stdout: Receiver<String>,
}

impl Demo {
    /// Starts one and waits until it has told what there is to see.
    #[track_caller]
    fn start(arguments: &[&str]) -> Self {
        let mut demo = Self::spawn(arguments);
        while !demo.banner.contains("until Ctrl-C.\n") {
            let line = demo.stdout.recv_timeout(PATIENCE);
            demo.banner += &line.unwrap_or_else(|why| panic!("{why}: {}{}", demo.banner, demo.words()));
        }
        demo
    }

    fn spawn(arguments: &[&str]) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let temp = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(temp.path().join("tmp")).expect("a directory");
        let words = fs::File::create(temp.path().join("words")).expect("a file for its words");
        let mut command = command(&temp.path().join("tmp"), arguments);
        let started = Stopwatch::start();
        let mut process = command.stdout(Stdio::piped()).stderr(words).spawn().expect("slogate runs");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped"));
        let (out, stdout) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                if out.send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
        });
        Self { _turn: turn, started, temp, process, banner: String::new(), stdout }
    }

    /// What it said on stderr.
    fn words(&self) -> String {
        fs::read_to_string(self.temp.path().join("words")).expect("its words")
    }

    fn url(&self) -> &str {
        self.banner.lines().next().and_then(|line| line.strip_prefix("slogate demo: ")).expect("a URL")
    }

    /// How many lines it says it has read.
    fn banner_lines(&self) -> u64 {
        let (_, rest) = self.banner.split_once("shop: ").expect("a count");
        rest.split(' ').next().and_then(|count| count.replace(',', "").parse().ok()).expect("a count")
    }

    /// What it says is scraped.
    fn target(&self) -> String {
        let (_, rest) = self.banner.split_once("slogate scrapes ").expect("a target");
        rest.split(' ').next().expect("a URL").to_owned()
    }

    /// The commands that it suggests.
    fn commands(&self) -> Vec<String> {
        self.banner.lines().map(str::trim).filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
    }

    /// Where its files are.
    fn directory(&self) -> PathBuf {
        let [directory] = entries(&self.temp.path().join("tmp")).try_into().expect("one directory");
        assert!(self.banner.contains(&format!("Specs and logs are in {} until", directory.display())));
        directory
    }

    fn logs(&self) -> Vec<PathBuf> {
        entries(&self.directory().join("logs"))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&shell(&format!("curl -s {}{path}", self.url()))).expect("JSON")
    }

    #[track_caller]
    fn wait(&self, what: &str, mut is_there: impl FnMut() -> bool) {
        let watch = Stopwatch::start();
        while !is_there() {
            assert!(
                u128::from(watch.elapsed_ms()) < PATIENCE.as_millis(),
                "waited in vain for {what}: {}",
                self.words()
            );
            thread::sleep(GLANCE);
        }
    }

    /// The status at a moment at which everything in the logs has been read, and the text of the logs.
    #[track_caller]
    fn frozen_in_time(&self) -> (Value, String) {
        let watch = Stopwatch::start();
        loop {
            let status = self.get("/api/v1/status");
            self.signal("STOP");
            // Whatever is just being packed cannot be read, and the demo is let go on for a moment.
            let text: io::Result<String> = self.logs().iter().map(|log| text(log)).collect();
            let records = status["sources"][0]["records"].as_u64();
            match text {
                Ok(text) if records == Some(text.lines().count() as u64) => return (status, text),
                Ok(_) | Err(_) => {}
            }
            assert!(u128::from(watch.elapsed_ms()) < PATIENCE.as_millis(), "{status}");
            self.signal("CONT");
            thread::sleep(GLANCE);
        }
    }

    #[track_caller]
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.process.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Stops it.
    #[track_caller]
    fn stop(self, signal: &str) {
        self.signal("CONT");
        self.signal(signal);
        let (code, said) = self.ended();
        assert_eq!(code, Some(0), "{said}");
    }

    /// Waits for its end, which must leave nothing: its exit code, and what it said on stderr.
    #[track_caller]
    fn ended(mut self) -> (Option<i32>, String) {
        let watch = Stopwatch::start();
        let status = loop {
            match self.process.try_wait().expect("a status") {
                Some(status) => break status,
                None => thread::sleep(GLANCE),
            }
            assert!(u128::from(watch.elapsed_ms()) < PATIENCE.as_millis(), "it does not end: {}", self.words());
        };
        assert_eq!(entries(&self.temp.path().join("tmp")), Vec::<PathBuf>::new());
        (status.code(), self.words())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A demo with nothing but a place for its files, from a directory without anything.
fn command(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slogate"));
    command.arg("demo").args(arguments).env_clear().env("TMPDIR", place).current_dir("/").stdin(Stdio::null());
    command
}

/// What a command line prints.
#[track_caller]
fn shell(line: &str) -> String {
    let Output { status, stdout, stderr } = Command::new("sh").args(["-c", line]).output().expect("sh runs");
    assert!(status.success(), "`{line}` (tests/run.sh installs curl): {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("text")
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn text(log: &Path) -> io::Result<String> {
    let (mut text, mut file) = (String::new(), fs::File::open(log)?);
    match log.extension().is_some_and(|extension| extension == "gz") {
        true => MultiGzDecoder::new(file).read_to_string(&mut text)?,
        false => file.read_to_string(&mut text)?,
    };
    Ok(text)
}

/// The value of a metric with one sample.
#[track_caller]
fn metric(demo: &Demo, metric: &str) -> u64 {
    let metrics = shell(&format!("curl -s {}/metrics", demo.url()));
    let line = metrics.lines().find(|line| line.starts_with(metric)).expect("the metric");
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a whole number")
}

fn slos(document: &Value) -> impl Iterator<Item = &Value> {
    let stories = document["stories"].as_array().expect("stories");
    stories.iter().flat_map(|story| story["slos"].as_array().expect("SLOs"))
}

fn name(slo: &Value) -> String {
    format!("{}/{}", slo["story"].as_str().expect("a name"), slo["slo"].as_str().expect("a name"))
}

/// Asserts that the README shows this, apart from numbers, times and the name of the directory.
#[track_caller]
fn assert_readme_shows(block: &str, printed: &str) {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("a readme");
    let begin = format!("<!-- {block}: begin -->\n```text\n");
    let shown = readme.split_once(&begin).and_then(|(_, rest)| rest.split_once("```\n")).map(|(shown, _)| shown);
    assert_eq!(shown.map(without_numbers), Some(without_numbers(printed)), "{block}");
}

/// A text with every number as `#`, and without the directory of the demo.
fn without_numbers(text: &str) -> String {
    let text = match (text.find(" are in "), text.find(" until Ctrl-C")) {
        (Some(from), Some(to)) => format!("{}{}", &text[..from], &text[to..]),
        _ => text.to_owned(),
    };
    let mut kept = String::new();
    for character in text.chars() {
        let goes_on = kept.ends_with('#') && (character.is_ascii_digit() || ".,".contains(character));
        match character {
            _ if goes_on => {}
            '0'..='9' => kept.push('#'),
            _ => kept.push(character),
        }
    }
    kept
}
