//! Stories that an SRE can read: `tests/scripts/*.script`, each told to a server on a store in memory and to one on a
//! disk, which must say the same.
//!
//! A line that begins with `> ` is a command, and the lines below it are what the server says to it. After every
//! command a second passes in which the server looks at its logs, counts, decides and commits.
//! `SLOGATE_WRITE_SCRIPTS=1` writes what is said into the scripts, to be read before it is believed.
//!
//! ```text
//! log 20 GET /profile/ada 200 [late 1h]   lines are written, each with the time of the clock, or before (`early`:
//! after)
//! torn GET /profile/ada 200, rest         half of a line is written, and the other half
//! rotate, copytruncate, pack, truncate, delete
//! advance 1h, clock +400d, clock right    time passes; somebody sets the clock; it is put right
//! crash, stop, start                      of the server; what happens in between happens without it
//! disk full, disk free
//! freeze api until 1h: why, unfreeze api: why
//! gate api [fix], slo profile/availability, source, audit, gaps
//! ```

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};

use chrono::DateTime;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{oneshot, watch};

use super::simulation::{HandClock, Shelf, Trouble, Vault};
use crate::api::{Access, Ask, Order};
use crate::document::{Actor, GateStatus, Principal};
use crate::gate::Hold;
use crate::run::follow::Looking;
use crate::run::following::Follower;
use crate::run::owner::{Owner, Published};
use crate::run::{classifiers, followers, kept_for, read_time};
use crate::spec::{Catalog, SourceId, load_texts};
use crate::store::{Memory, Store, Writer, restore};
use crate::time::{Clock, Timestamp, by_hand, parse_duration_us};

const SPECS: [(&str, &str); 2] = [
    (
        "slogate.toml",
        r#"
[[source]]
name = "lb"
[source.file]
paths = ["access.log*"]
nginx = '$remote_addr [$time_local] "$request" $status $request_time'
[gate]
on_unknown = "deny"
frozen_below = 0.0
thaw_above = 0.2
guarded_below = 0.5
stale_after = "10m"
min_events = 10
exempt = ["fix"]
"#,
    ),
    (
        "profile.toml",
        r#"
[story]
name = "profile"
service = "api"
[[slo]]
name = "availability"
objective = 90.0
window = "1h"
[slo.availability]
source = "lb"
requests = ["GET /profile/{user}"]
"#,
    ),
];

/// 2026-11-20T10:00:00Z.
const START_MS: i64 = 1_795_168_800_000;
const SECOND_MS: u64 = 1_000;

#[test]
fn every_script_comes_true_in_memory_and_on_a_disk() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "script"));
    scripts.sort();
    assert!(scripts.len() >= 6, "{} scripts", scripts.len());
    for path in scripts {
        let script = fs::read_to_string(&path).unwrap();
        let in_memory = told(&script, Shelf::Memory(Arc::new(Memory::new())));
        assert_eq!(told(&script, Shelf::File), in_memory, "{}: on a disk, and in memory", path.display());
        if std::env::var_os("SLOGATE_WRITE_SCRIPTS").is_some() {
            fs::write(&path, &in_memory).unwrap();
        }
        assert_eq!(in_memory, fs::read_to_string(&path).unwrap(), "{}: what is said, and the script", path.display());
    }
}

/// The script with what the server says to its commands.
fn told(script: &str, shelf: Shelf) -> String {
    let mut stage = Stage::new(shelf);
    let mut text = String::new();
    // What was said before is left out; comments and empty lines stay.
    let is_kept = |line: &&str| line.starts_with("> ") || line.starts_with('#') || line.is_empty();
    let mut lines = script.lines().filter(is_kept);
    let mut is_running = true;
    loop {
        is_running = match is_running {
            true => stage.run(&mut lines, &mut text),
            false => stage.wait(&mut lines, &mut text),
        };
        if stage.is_over {
            return text;
        }
    }
}

/// What outlives the server.
struct Stage {
    _directory: tempfile::TempDir,
    root: PathBuf,
    catalog: Arc<Catalog>,
    shelf: Shelf,
    clock: Arc<HandClock>,
    true_ms: i64,
    /// The rest of a line, and the number of the next request.
    rest: String,
    next: u32,
    is_over: bool,
}

/// The server.
struct Server<'f> {
    owner: Owner,
    snapshots: watch::Receiver<Published>,
    follower: Looking<'f>,
    now: Arc<RwLock<Timestamp>>,
    vault: Arc<Vault>,
}

impl Stage {
    fn new(shelf: Shelf) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let root = directory.path().canonicalize().unwrap();
        by_hand::pass_ms(0);
        Self {
            _directory: directory,
            catalog: Arc::new(load_texts(&root, &SPECS).unwrap().catalog),
            root,
            shelf,
            clock: Arc::new(HandClock::at(START_MS)),
            true_ms: START_MS,
            rest: String::new(),
            next: 1,
            is_over: false,
        }
    }

    /// Runs a server until it ends; `false` when it does not run any more.
    fn run<'s>(&mut self, lines: &mut impl Iterator<Item = &'s str>, text: &mut String) -> bool {
        let vault = Arc::new(Vault::open(&self.shelf, &self.root, None));
        let store: Arc<dyn Store> = vault.clone();
        let now = Arc::new(RwLock::new(self.clock.now()));
        let kept = kept_for(&self.catalog);
        let (engine, loaded) = restore(&*store, Arc::clone(&self.catalog), kept, self.clock.now()).unwrap();
        let classifiers = classifiers(&self.catalog).unwrap();
        let mut all = followers(&self.catalog, classifiers, Vec::new(), &loaded.positions).unwrap();
        let Some(Follower::Files(follower)) = all.first_mut() else { panic!("the source is a log") };
        let writer = Writer::new(Arc::clone(&store), loaded.revision);
        let stop = Arc::new(AtomicBool::new(false));
        let clock: Arc<dyn Clock> = self.clock.clone();
        let access = Access::new(self.catalog.server.listen, None);
        let (owner, snapshots) = Owner::new(engine, writer, store, clock, Arc::clone(&now), stop, access);
        let follower = follower.begin();
        let mut server = Server { owner, snapshots, follower, now, vault };
        for line in lines.by_ref() {
            let _ = writeln!(text, "{line}");
            let Some(command) = line.strip_prefix("> ") else { continue };
            match command {
                "crash" => return false,
                "stop" => {
                    server.owner.finish();
                    return false;
                }
                "disk full" => server.vault.plan(Trouble::Full, usize::MAX >> 1),
                "disk free" => server.vault.calm(),
                _ if self.happens(command) => {}
                _ => text.push_str(&server.answer(&self.catalog, command)),
            }
            self.pass(SECOND_MS);
            server.work();
        }
        self.is_over = true;
        true
    }

    /// Lets things happen until the server is started.
    fn wait<'s>(&mut self, lines: &mut impl Iterator<Item = &'s str>, text: &mut String) -> bool {
        for line in lines.by_ref() {
            let _ = writeln!(text, "{line}");
            match line.strip_prefix("> ") {
                None => {}
                Some("start") => return true,
                Some(command) => assert!(self.happens(command), "`{command}` needs a server"),
            }
        }
        self.is_over = true;
        false
    }

    fn pass(&mut self, ms: u64) {
        by_hand::pass_ms(ms);
        self.true_ms += ms as i64;
        self.clock.pass(ms as i64);
    }

    /// What happens outside of the server; `false` when the command is none of that.
    fn happens(&mut self, command: &str) -> bool {
        let live = self.root.join("access.log");
        let (word, words) = command.split_once(' ').unwrap_or((command, ""));
        match word {
            "log" => self.log(words),
            "torn" => {
                let line = self.line(words, 0);
                self.append(&line[..line.len() / 2]);
                self.rest = line[line.len() / 2..].to_owned();
            }
            "rest" => {
                let rest = std::mem::take(&mut self.rest);
                self.append(&rest);
            }
            "rotate" => {
                self.shift();
                fs::rename(&live, self.root.join("access.log.1")).unwrap();
                File::create(&live).unwrap();
            }
            "copytruncate" => {
                self.shift();
                fs::copy(&live, self.root.join("access.log.1")).unwrap();
                File::create(&live).unwrap();
            }
            "pack" => self.pack(),
            "truncate" => drop(File::create(&live).unwrap()),
            "delete" => fs::remove_file(&live).unwrap(),
            "advance" => self.pass(ms(words).unsigned_abs()),
            "clock" if words == "right" => self.clock.set(self.true_ms),
            "clock" => {
                self.clock.pass(ms(words.trim_start_matches(['+', '-'])) * if words.starts_with('-') { -1 } else { 1 })
            }
            _ => return false,
        }
        true
    }

    /// `20 GET /profile/ada 200 late 1h`, or `early 6m`
    fn log(&mut self, words: &str) {
        let (count, words) = words.split_once(' ').unwrap();
        let (request, late) = words.split_once(" late ").unwrap_or((words, "0s"));
        let (request, early) = request.split_once(" early ").unwrap_or((request, "0s"));
        for _ in 0..count.parse::<u32>().unwrap() {
            let line = self.line(request, ms(late) - ms(early));
            self.append(&line);
        }
    }

    fn line(&mut self, request: &str, late_ms: i64) -> String {
        let (request, status) = request.rsplit_once(' ').unwrap();
        let at = DateTime::from_timestamp_millis(self.clock.now().millis() - late_ms).unwrap();
        let at = at.format("%d/%b/%Y:%H:%M:%S +0000");
        self.next += 1;
        format!("10.0.{}.{} [{at}] \"{request} HTTP/1.1\" {status} 0.010\n", self.next / 250, self.next % 250)
    }

    fn append(&self, text: &str) {
        let log = OpenOptions::new().append(true).create(true).open(self.root.join("access.log"));
        log.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn shift(&self) {
        for number in (1..9).rev() {
            for end in ["", ".gz"] {
                let (from, to) = (format!("access.log.{number}{end}"), format!("access.log.{}{end}", number + 1));
                // Most of them are not there.
                let _ = fs::rename(self.root.join(from), self.root.join(to));
            }
        }
    }

    fn pack(&self) {
        let rotated = self.root.join("access.log.1");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&fs::read(&rotated).unwrap()).unwrap();
        fs::write(self.root.join("access.log.1.gz"), encoder.finish().unwrap()).unwrap();
        fs::remove_file(rotated).unwrap();
    }
}

impl Server<'_> {
    /// A second in the life of a server: it looks, takes and ticks.
    fn work(&mut self) {
        if !self.owner.is_held_up() {
            let polled = self.follower.poll(read_time(&self.now));
            polled.delivery.into_iter().for_each(|delivery| self.owner.take(delivery));
        }
        self.owner.turn();
    }

    /// What it says to a question or an order.
    fn answer(&mut self, catalog: &Catalog, command: &str) -> String {
        let (word, words) = command.split_once(' ').unwrap_or((command, ""));
        match word {
            "gate" => self.gate(words),
            "slo" => self.slo(catalog, words),
            "source" => self.source(),
            "audit" => self.audit(),
            "gaps" => self.gaps(),
            "freeze" | "unfreeze" => self.order(word == "freeze", words),
            _ => panic!("there is no command `{command}`"),
        }
    }

    fn gate(&self, words: &str) -> String {
        let (service, change) = words.split_once(' ').unwrap_or((words, "feature"));
        let shown = Arc::clone(&self.snapshots.borrow());
        let (catalog, board) = (&shown.catalog, &shown.board);
        let status = GateStatus::new(catalog, board, catalog.service_named(service).unwrap(), change);
        let verdict = if status.allow { "may" } else { "may not" };
        let mut text =
            format!("{service} is {} since {}: a {change} {verdict} pass\n", status.level, time(status.since));
        status.reasons.iter().for_each(|reason| text.push_str(&format!("  {}: {}\n", reason.kind, reason.text)));
        text
    }

    fn slo(&self, catalog: &Catalog, name: &str) -> String {
        let (story, slo) = name.split_once('/').unwrap();
        let board = Arc::clone(&self.snapshots.borrow().board);
        let found = &board[catalog.slo_named(story, slo).unwrap()];
        let (standing, evidence) = (found.standing, found.evidence.name());
        let (good, bad, state) = (standing.tally.good, standing.tally.bad, standing.state().name());
        let left = (100.0 * standing.remaining()).round();
        format!("{name}: {good} good, {bad} bad, {state}; {left}% of the budget left; evidence {evidence}\n")
    }

    fn source(&self) -> String {
        let board = Arc::clone(&self.snapshots.borrow().board);
        let found = &board[SourceId(0)];
        let mut text =
            format!("{} records, {} matched, {} not", found.records(), found.accepted.good, found.accepted.bad);
        found.rejected.iter().for_each(|(why, count)| text.push_str(&format!(", {count} {}", why.reason())));
        format!("{text}; health {}\n", found.health.name())
    }

    fn audit(&self) -> String {
        let entries = self.vault.audit(0, 100, None).unwrap();
        let line = |entry: &crate::engine::AuditEntry| {
            let level = |level: Option<crate::gate::Level>| level.map_or("none", |level| level.name());
            let (number, by, action) = (entry.number, &entry.by, entry.action.name());
            let (before, after) = (level(entry.before), level(entry.after));
            format!("{number}. {} {by}: {action}, {before} to {after}: {}\n", time(entry.at), entry.reason)
        };
        entries.iter().map(line).collect()
    }

    fn gaps(&self) -> String {
        let gaps = self.vault.load().unwrap().gaps;
        let line = |gap: &crate::engine::Gap| {
            let bytes = gap.bytes.map_or("an unknown number of".to_owned(), |bytes| bytes.to_string());
            format!("{}: {bytes} bytes of {}, not after {}\n", gap.reason, gap.source, time(gap.to))
        };
        if gaps.is_empty() { "none\n".to_owned() } else { gaps.iter().map(line).collect() }
    }

    /// `api until 1h: why`
    fn order(&mut self, is_freeze: bool, words: &str) -> String {
        let (whom, reason) = words.split_once(": ").unwrap();
        let (service, until) =
            whom.split_once(" until ").map_or((whom, None), |(service, until)| (service, Some(until)));
        let now = read_time(&self.now);
        let until = until.map(|until| now.plus_millis(ms(until)));
        let (service, reason) = (service.to_owned(), reason.to_owned());
        let hold = match is_freeze {
            true => Hold::Freeze { reason, until, exempt: Vec::new() },
            false => Hold::Unfreeze { reason, until },
        };
        let actor = Actor { principal: Principal::Token, claimed: None };
        let (reply, mut answer) = oneshot::channel();
        self.owner.answer(Ask::Order { order: Order { service, hold, actor }, reply });
        match answer.try_recv().unwrap() {
            Ok(followed) => match followed.audit {
                Some(entry) => format!("done, audit entry {entry}\n"),
                None => "done, to be entered into the audit later\n".to_owned(),
            },
            Err(error) => format!("not done: {error}\n"),
        }
    }
}

fn ms(duration: &str) -> i64 {
    (parse_duration_us(duration).unwrap() / 1_000) as i64
}

/// The day only when it is another than that on which the stories begin.
fn time(at: Timestamp) -> String {
    at.to_string().trim_start_matches("2026-11-20T").trim_end_matches('Z').to_owned()
}
