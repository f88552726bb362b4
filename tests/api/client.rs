//! The subcommands that ask a server, through the real binary.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{get, post};
use super::owner::{Server, Setup, TOKEN};

fn with_token() -> Server {
    let server = Server::start(Setup { token: Some(TOKEN), ..Setup::default() });
    server.fill();
    server
}

/// The binary in an environment without anything of the machine's.
fn slogate(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slogate"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
    command
}

fn run(url: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let environment = [&[("SLOGATE_URL", url)], environment].concat();
    slogate(arguments, &environment).output().expect("the binary runs")
}

/// Asserts exit code and output: stdout must begin with `out`, or be empty, and both must say what they must say.
#[track_caller]
fn check(output: &Output, code: i32, out: &str, says: &[&str]) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let all = format!("{stdout}{stderr}");
    assert_eq!(output.status.code(), Some(code), "{all}");
    assert!(stdout.starts_with(out) && stdout.is_empty() == out.is_empty(), "{all}");
    for words in says {
        assert!(all.contains(words), "no {words:?} in {all}");
    }
    assert!(!all.contains(TOKEN), "{all}");
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// An address at which nobody listens.
fn nowhere() -> String {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    format!("http://{port}")
}

#[test]
fn the_verdict_is_the_exit_code_and_one_line() {
    let server = with_token();
    let gate = |arguments: &[&str]| run(&url(&server), &[&["gate"], arguments].concat(), &[]);
    let open = gate(&["api"]);
    check(&open, 0, "allow api: feature is allowed, the gate is open\n", &[]);
    server.count("profile", "availability", 1, 0, 4);
    check(&gate(&["api"]), 0, "allow api: feature is allowed with care, the gate is guarded: profile/avail", &[]);
    server.count("profile", "availability", 1, 0, 7);
    let denied = gate(&["api"]);
    check(&denied, 1, "deny api: feature is held, the gate is frozen: profile/availability has spent", &[]);
    assert_eq!(String::from_utf8_lossy(&denied.stdout).lines().count(), 1);
    check(
        &gate(&["api", "--change", "fix"]),
        0,
        "allow api: fix is allowed although the gate is frozen",
        &["pass this"],
    );
    check(&gate(&["api", "--change", "a b"]), 2, "", &["cannot be the name of a kind of change"]);
    check(&gate(&[]), 2, "", &["SERVICE"]);
}

#[test]
fn g14_what_cannot_be_told_is_3_and_never_allowed() {
    let server = Server::start(Setup::default());
    let gate = |arguments: &[&str]| run(&url(&server), &[&["gate"], arguments].concat(), &[]);
    check(
        &gate(&["api"]),
        3,
        "unknown api: feature is held, the gate is unknown: profile/availability has seen no",
        &[],
    );
    check(&gate(&["apj"]), 3, "unknown apj: there is no service `apj`; did you mean `api`?", &[]);
    // Not even where somebody would rather deploy than wait for the server.
    check(&gate(&["apj", "--on-unreachable", "allow"]), 3, "unknown apj: there is no service", &[]);
    check(&gate(&["api", "--on-unreachable", "allow"]), 3, "unknown api: ", &[]);
    check(&run(&nowhere(), &["gate", "api"], &[]), 3, "unknown api: http://127.0.0.1:", &["cannot be reached"]);
    let allowed = run(&nowhere(), &["gate", "api", "--on-unreachable", "allow"], &[]);
    check(&allowed, 0, "allow api: ", &["cannot be reached", "allowed by --on-unreachable allow, not by the gate"]);
    for wrong in ["ftp://a", "127.0.0.1:9999", "http://", "http://user:secret@127.0.0.1"] {
        check(&run(wrong, &["gate", "api"], &[]), 2, "", &["URL"]);
    }
}

#[test]
fn something_else_than_slogate_is_not_believed() {
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\u{7}\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
    ] {
        let impostor = Impostor::start(response);
        check(&run(&impostor.url(), &["gate", "api"], &[]), 3, "unknown api: ", &[]);
        check(&run(&impostor.url(), &["status"], &[]), 3, "", &[]);
        let frozen = run(&impostor.url(), &["freeze", "api", "--reason", "x"], &[("SLOGATE_TOKEN", TOKEN)]);
        check(&frozen, 3, "", &[]);
    }
}

/// Answers everything with the same bytes, until it is dropped.
struct Impostor {
    address: SocketAddr,
}

impl Impostor {
    fn start(response: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.read(&mut [0; 4_096]);
                let _ = stream.write_all(response.as_bytes());
            }
        });
        Self { address }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

#[test]
fn waiting_ends_with_the_verdict_or_with_the_time() {
    let server = with_token();
    let frozen = json!({ "reason": "release party" }).to_string();
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("Authorization", authorization.as_str())];
    assert_eq!(post(server.address, "/api/v1/gates/api/freeze", &headers, &frozen).status, 200);
    let expired = run(&url(&server), &["gate", "api", "--wait", "400ms"], &[]);
    check(&expired, 1, "deny api: ", &["waiting: feature is held", "release party"]);
    check(&run(&url(&server), &["gate", "apj", "--wait", "1h"], &[]), 3, "unknown apj: ", &[]);
    check(&run(&url(&server), &["gate", "api", "--wait", "soon"], &[]), 2, "", &["`soon` is not a duration"]);

    let mut waiting = slogate(&["gate", "api", "--wait", "30s"], &[("SLOGATE_URL", &url(&server))]);
    let mut waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut told = [0; 8];
    waiting.stderr.as_mut().expect("a pipe").read_exact(&mut told).expect("it says that it waits");
    assert_eq!(&told, b"waiting:");
    assert_eq!(post(server.address, "/api/v1/gates/api/unfreeze", &headers, &frozen).status, 200);
    let allowed = waiting.wait_with_output().expect("it ends");
    check(&allowed, 0, "allow api: feature is allowed, the gate is open\n", &[]);
}

#[test]
fn orders_are_given_with_the_token_of_the_environment() {
    let server = with_token();
    let order = |arguments: &[&str], environment: &[(&str, &str)]| run(&url(&server), arguments, environment);
    let token = ("SLOGATE_TOKEN", TOKEN);
    let freeze =
        ["freeze", "api", "--reason", "release party", "--until", "2026-11-20T12:00:00Z", "--exempt", "security"];
    let frozen = order(&freeze, &[token, ("USER", "alice"), ("SLOGATE_ACTOR", "ci job 7")]);
    check(&frozen, 0, "api: the gate is frozen now (audit entry 1)\n", &[]);
    check(
        &order(&["gate", "api"], &[]),
        1,
        "deny api: ",
        &["frozen by hand until 2026-11-20T12:00:00Z: release party"],
    );
    check(&order(&["gate", "api", "--change", "security"], &[]), 0, "allow api: ", &[]);
    let thawed = order(&["unfreeze", "api", "--reason", "it is over"], &[token, ("USER", "alice")]);
    check(&thawed, 0, "api: the gate is open now (audit entry 2)\n", &[]);
    let audit = get(server.address, "/api/v1/audit").json();
    assert_eq!(audit["entries"][0]["actor"], json!({ "principal": "token", "claimed": "ci job 7" }));
    assert_eq!(audit["entries"][1]["actor"]["claimed"], "alice");

    let freeze = ["freeze", "api", "--reason", "x"];
    check(&order(&freeze, &[]), 1, "", &["Authorization: Bearer"]);
    check(&order(&freeze, &[("SLOGATE_TOKEN", "wrong")]), 1, "", &["Authorization: Bearer"]);
    check(&order(&["freeze", "apj", "--reason", "x"], &[token]), 3, "", &["did you mean `api`?"]);
    check(&order(&["freeze", "api", "--reason", " "], &[token]), 1, "", &["`reason` is required"]);
    check(&order(&["freeze", "api"], &[token]), 2, "", &["--reason"]);
    check(&order(&["freeze", "a b", "--reason", "x"], &[token]), 2, "", &["cannot be the name of a service"]);
    check(&order(&["freeze", "api", "--reason", "x", "--until", "noon"], &[token]), 2, "", &["RFC 3339"]);
    check(&order(&[&freeze[..], &["--until", "2020-01-01T00:00:00Z"]].concat(), &[token]), 1, "", &["later than now"]);
    server.owner(|owner| owner.broken = Some("no space left on device".into()));
    check(&order(&freeze, &[token]), 3, "", &["not in force: no space left on device"]);
    check(&run(&nowhere(), &freeze, &[token]), 3, "", &["cannot be reached"]);
}

#[test]
fn the_status_is_a_table_or_the_document() {
    let server = with_token();
    server.count("profile", "availability", 1, 0, 11);
    let status = |arguments: &[&str]| run(&url(&server), &[&["status"], arguments].concat(), &[]);
    let words = ["profile/availability", "99.95% / 28d", "11 of 10,011", "-119.8%", "breached", "frozen", "must wait"];
    check(&status(&[]), 0, "Service levels at 2026-11-20T10:12:00Z\n", &words);
    check(&status(&[]), 0, "Service", &["Journeys", "browse", "Sources", "lb", "30,015", "may be deployed"]);
    let story = status(&["profile"]);
    check(&story, 0, "Service levels at", &["profile/availability", "profile/latency"]);
    let slo = status(&["profile/latency"]);
    check(&slo, 0, "Service levels at", &["profile/latency", "90% / 1d"]);
    assert!(!String::from_utf8_lossy(&slo.stdout).contains("availability"));
    for (of, path) in [
        (vec![], "/api/v1/status"),
        (vec!["profile"], "/api/v1/stories/profile"),
        (vec!["profile/latency"], "/api/v1/slos/profile/latency"),
    ] {
        let printed = status(&[&of[..], &["--json"]].concat());
        assert_eq!(printed.status.code(), Some(0));
        let printed: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
        assert_eq!(printed, get(server.address, path).json());
    }
    check(&status(&["profil"]), 3, "", &["did you mean `profile`?"]);
    check(&status(&["profile/latancy"]), 3, "", &["did you mean `latency`?"]);
    check(&status(&["profile/latency/p99"]), 2, "", &["cannot be the name"]);
    check(&run(&nowhere(), &["status"], &[]), 3, "", &["cannot be reached"]);
}

#[test]
fn the_server_may_live_below_a_path() {
    let server = with_token();
    let below = format!("{}/", url(&server));
    check(&run("http://127.0.0.1:1", &["gate", "api", "--url", &below], &[]), 0, "allow api: ", &[]);
    let elsewhere = format!("{}/slo/gate?x=1#y", url(&server));
    check(
        &run(&elsewhere, &["gate", "api"], &[]),
        3,
        "unknown api: there is nothing at `/slo/gate/api/v1/gates/api",
        &[],
    );
}

/// A certificate that nobody vouches for is no answer, and TLS is spoken at all.
#[test]
fn https_is_spoken_and_plain_text_is_not_taken_for_it() {
    let server = with_token();
    let output = run(&format!("https://{}", server.address), &["gate", "api"], &[]);
    check(&output, 3, "unknown api: https://127.0.0.1:", &["cannot be reached"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let greeting = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let mut greeting = [0; 6];
        stream.read_exact(&mut greeting).expect("a greeting");
        greeting
    });
    check(&run(&format!("https://{address}"), &["gate", "api"], &[]), 3, "unknown api: https://", &[]);
    // A TLS record that holds a client's hello.
    let greeting = greeting.join().expect("a client came");
    assert_eq!((greeting[0], greeting[1], greeting[5]), (22, 3, 1));
}
