//! f14, a26: more logs and connections than a process may have open.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::lines::{Expected, Log};
use super::server::{Place, Server, until};

/// Logs with some lines each, all different.
struct Logs(Vec<Log>);

impl Logs {
    fn write(place: &Place, logs: u64) -> Self {
        let log = |number: u64| Log::behind(&place.path(&format!("logs/access.log-{number}")), number * 1_000);
        let mut logs = Self((0..logs).map(log).collect());
        logs.append(1);
        logs
    }

    /// Appends some lines to every n-th.
    fn append(&mut self, step: usize) {
        self.0.iter_mut().step_by(step).for_each(|log| log.write(3));
    }

    fn expected(&self) -> Expected {
        self.0.iter().fold(Expected::new(), |sum, log| sum.plus(&log.expected))
    }
}

/// Starts a server that may have so many files open.
fn start_with(place: &Place, descriptors: usize) -> Server<'_> {
    let limit = format!("ulimit -n {descriptors}; exec \"$@\"");
    let mut server = place.spawn_by(&["/bin/sh", "-c", &limit, "sh"]);
    server.wait_until_ready();
    server
}

#[test]
fn f14_a26_gates_are_answered_and_every_log_is_read_however_few_descriptors_there_are() {
    for descriptors in [64, 256] {
        let place = Place::new();
        let mut logs = Logs::write(&place, 600);
        let server = start_with(&place, descriptors);
        place.wait_for(&logs.expected());
        // Clients that say nothing take no descriptor from anybody else.
        let silent: Vec<_> = (0..300).map_while(|_| TcpStream::connect(place.address).ok()).collect();
        assert_eq!(silent.len(), 300);
        logs.append(7);
        place.wait_for(&logs.expected());
        let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("its descriptors").count();
        assert!(open <= descriptors, "{open} of {descriptors}");
        assert_eq!(place.gate("api").0, "frozen");
        // Other specs can be read, too.
        let shop = place.path("specs/shop.toml");
        let text = fs::read_to_string(&shop).expect("it is there").replace("99.0", "50.0");
        fs::write(&shop, text).expect("written");
        until(&place, "the objective", || place.get("/api/v1/slos/shop/availability")["objective"] == 0.5);
        logs.append(11);
        place.wait_for(&logs.expected());
        assert!(!place.words().contains("os error 24"), "{}", place.words());
        drop(silent);
        assert!(server.stop().success());
    }
}

#[test]
fn f14_targets_that_do_not_answer_take_no_descriptor_from_anybody_and_all_are_asked() {
    let place = Place::new();
    // Connections to it come about, and nobody takes them.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address");
    let urls: Vec<String> = (0..100).map(|number| format!("\"http://{address}/{number}\"")).collect();
    let path = place.path("specs/slogate.toml");
    let engine = fs::read_to_string(&path).expect("it is there");
    let scraped = "[[source]]\nname = \"app\"\n[source.scrape]\ninterval = \"1s\"\n";
    fs::write(&path, format!("{engine}{scraped}targets = [{}]\n", urls.join(", "))).expect("written");
    let mut logs = Logs::write(&place, 100);
    let server = start_with(&place, 128);
    until(&place, "an answer of every target", || {
        let targets = place.get("/api/v1/sources/app")["targets"].as_array().cloned().unwrap_or_default();
        targets.len() == 100 && targets.iter().all(|target| target["error"].is_string())
    });
    logs.append(1);
    place.wait_for(&logs.expected());
    assert!(!place.words().contains("os error 24"), "{}", place.words());
    assert!(server.stop().success());
}

#[test]
fn f14_a_limit_that_leaves_nothing_to_work_with_is_told_at_the_start() {
    let place = Place::new();
    let server = place.spawn_by(&["/bin/sh", "-c", "ulimit -n 40; exec \"$@\"", "sh"]);
    assert_eq!(server.ended().code(), Some(3));
    let words = "slogate may have 40 files open, and the sources of its specs (1) need at least 48; raise the limit \
                 (LimitNOFILE= in its systemd unit, `ulimit -n` in a shell)\n";
    assert!(place.words().ends_with(words), "{}", place.words());
    assert!(!place.path("store.redb").exists());
}

#[test]
fn f14_specs_that_need_more_than_there_is_are_refused_while_the_others_stay() {
    let place = Place::new();
    let mut logs = Logs::write(&place, 100);
    let server = start_with(&place, 64);
    place.wait_for(&logs.expected());
    let path = place.path("specs/slogate.toml");
    let engine = fs::read_to_string(&path).expect("it is there");
    let more = |name: &str| {
        format!("[[source]]\nname = \"{name}\"\n[source.file]\npaths = [\"{name}.log\"]\nformat = \"combined\"\n")
    };
    fs::write(&path, format!("{engine}{}{}", more("a"), more("b"))).expect("written");
    let rejected = || place.get("/readyz")["specs"]["rejected"].as_str().map(str::to_owned);
    until(&place, "the refusal", || rejected().is_some());
    let words = "slogate may have 64 files open, and the sources of its specs (3) need at least 68; raise the limit";
    assert!(rejected().is_some_and(|rejected| rejected.starts_with(words)), "{:?}", rejected());
    logs.append(3);
    place.wait_for(&logs.expected());
    fs::write(&path, format!("{engine}{}", more("a"))).expect("written");
    until(&place, "the second source", || place.get("/api/v1/sources")["sources"].as_array().map(Vec::len) == Some(2));
    logs.append(3);
    place.wait_for(&logs.expected());
    assert!(server.stop().success());
}

#[test]
fn f14_without_descriptors_it_is_told_once_how_to_have_more() {
    let place = Place::new();
    let server = start_with(&place, 256);
    let limit = |most: usize| {
        let mut set = Command::new("/usr/bin/prlimit");
        set.arg(format!("--nofile={most}:256"));
        assert!(set.arg("--pid").arg(server.pid().to_string()).status().expect("prlimit runs").success());
    };
    limit(4);
    let logs = Logs::write(&place, 20);
    let told =
        || place.words().lines().filter(|line| line.contains("os error 24")).map(str::to_owned).collect::<Vec<_>>();
    until(&place, "the warning", || !told().is_empty());
    limit(256);
    place.wait_for(&logs.expected());
    let told = told();
    assert!(matches!(&told[..], [one] if one.contains("raise the limit of slogate (LimitNOFILE=")), "{told:?}");
    assert!(server.stop().success());
}
