//! A slogate of its own for a test: a directory with specs, logs and a store, and the real binary serving it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use slogate::time::Stopwatch;
use tempfile::TempDir;

use super::lines::Expected;

/// Nothing here takes this long unless it hangs, in milliseconds.
pub const PATIENCE_MS: u64 = 30_000;
/// How often something is looked at that is waited for.
const GLANCE: Duration = Duration::from_millis(10);

/// The format of the logs.
pub const FORMAT: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time"#;

const STORIES: &str = r#"
[story]
name = "shop"
service = "api"

[[slo]]
name = "availability"
objective = 99.0
[slo.availability]
source = "lb"
requests = ["GET /shop/{item}"]

[[slo]]
name = "latency"
objective = 50.0
[slo.latency]
source = "lb"
requests = ["GET /shop/{item}"]
threshold = "2s"
"#;

const SEARCH: &str = r#"
[story]
name = "search"

[[slo]]
name = "availability"
objective = 50.0
[slo.availability]
source = "lb"
requests = ["GET /search"]
"#;

/// The files of one slogate. They go with it.
pub struct Place {
    directory: TempDir,
    /// Where it listens.
    pub address: SocketAddr,
    /// What is set in the environment of the server and of the clients.
    pub environment: Vec<(&'static str, String)>,
}

impl Place {
    /// Specs for logs that are called `logs/access.log*`, and none of them there yet.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in ["specs", "logs"] {
            fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        let address = free_address();
        let place = Self { directory, address, environment: Vec::new() };
        fs::write(place.path("specs/shop.toml"), STORIES).expect("written");
        fs::write(place.path("specs/search.toml"), SEARCH).expect("written");
        place.write_engine(&address.to_string(), &place.path("logs/access.log*"), "");
        place
    }

    /// Writes `slogate.toml`.
    pub fn write_engine(&self, listen: &str, logs: &Path, server: &str) {
        let logs = logs.display();
        let text = format!(
            r#"
[server]
listen = "{listen}"
{server}

[store]
url = "redb:../store.redb"

[[source]]
name = "lb"
[source.file]
paths = ["{logs}"]
nginx = '{FORMAT}'

[gate]
on_unknown = "deny"
min_events = 10
max_unparsed = 10.0 # the logs of most tests have lines that cannot be read
"#
        );
        fs::write(self.path("specs/slogate.toml"), text).expect("written");
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The log that is written to.
    pub fn log(&self) -> PathBuf {
        self.path("logs/access.log")
    }

    /// What the servers so far have written to stderr.
    pub fn words(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("words")).unwrap_or_default()).into_owned()
    }

    fn serve(&self) -> Command {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_slogate")));
        command.arg("serve").arg("--specs").arg(self.path("specs"));
        command
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a server and waits for nothing.
    pub fn spawn(&self) -> Server<'_> {
        self.spawn_command(self.serve())
    }

    /// Starts a server by another program, which is given the server's command behind its own arguments.
    pub fn spawn_by(&self, program: &[&str]) -> Server<'_> {
        let mut command = self.command(Path::new(program[0]));
        command.args(&program[1..]).arg(env!("CARGO_BIN_EXE_slogate")).arg("serve");
        command.arg("--specs").arg(self.path("specs"));
        self.spawn_command(command)
    }

    /// Starts a server as another user, who gets everything in the directory.
    pub fn spawn_as(&self, uid: u32) -> Server<'_> {
        // The binary may lie where that user cannot get.
        let program = self.path("slogate");
        fs::copy(env!("CARGO_BIN_EXE_slogate"), &program).expect("the binary is copied");
        give_to(self.directory.path(), uid);
        let mut command = self.command(&program);
        command.arg("serve").arg("--specs").arg(self.path("specs")).uid(uid).gid(uid);
        self.spawn_command(command)
    }

    /// Starts a server whose files may not grow beyond so many bytes, which it meets like a full disk.
    pub fn spawn_limited(&self, bytes: Option<u64>) -> Server<'_> {
        // Without the trap, the system ends whoever writes more.
        let limit = file_limit(bytes);
        self.spawn_by(&["/bin/sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh", "/usr/bin/prlimit", &limit])
    }

    fn spawn_command(&self, mut command: Command) -> Server<'_> {
        let words = File::options().create(true).append(true).open(self.path("words")).expect("a file for its words");
        let process = command.stdout(Stdio::null()).stderr(words).spawn().expect("the binary runs");
        Server { place: self, process }
    }

    /// Starts a server and waits until it is ready.
    pub fn start(&self) -> Server<'_> {
        let mut server = self.spawn();
        server.wait_until_ready();
        server
    }

    /// Runs a server that must not start; its exit code and the last line that it wrote.
    pub fn start_in_vain(&self) -> (Option<i32>, String) {
        let output = self.serve().output().expect("the binary runs");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), words.lines().last().unwrap_or_default().to_owned())
    }

    /// Runs another subcommand, which asks the server.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_slogate")));
        command.args(arguments).env("SLOGATE_URL", format!("http://{}", self.address));
        command.output().expect("the binary runs")
    }

    /// `GET`, of a server that is there.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = request(self.address, "GET", path, None).expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// All of the audit.
    pub fn audit(&self) -> Vec<Value> {
        let mut entries = Vec::new();
        let mut after = 0;
        loop {
            let page = self.get(&format!("/api/v1/audit?limit=1000&after={after}"));
            entries.extend(page["entries"].as_array().expect("entries").iter().cloned());
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => return entries,
            }
        }
    }

    /// The gate, without what changes while nothing happens.
    pub fn gate(&self, service: &str) -> (String, String, Option<String>) {
        let gate = self.get(&format!("/api/v1/gates/{service}"));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let reason = text(&gate["reasons"][0]["text"]);
        (text(&gate["level"]).expect("a level"), text(&gate["since"]).expect("a time"), reason)
    }

    /// Waits until everything expected has been counted, and nothing else; how long that took, in milliseconds.
    #[track_caller]
    pub fn wait_for(&self, expected: &Expected) -> u64 {
        let watch = Stopwatch::start();
        let mut counted = Expected::counted(&self.get("/api/v1/status"));
        while counted != *expected {
            let is_hopeless = counted.records > expected.records || watch.elapsed_ms() > PATIENCE_MS;
            assert!(!is_hopeless, "counted {counted:?}\nof {expected:?}\nwords:\n{}", self.words());
            thread::sleep(GLANCE);
            counted = Expected::counted(&self.get("/api/v1/status"));
        }
        watch.elapsed_ms()
    }
}

/// A server. It is killed with the test.
pub struct Server<'a> {
    place: &'a Place,
    process: Child,
}

impl Server<'_> {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// From now on its files may not grow beyond so many bytes.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let mut command = Command::new("/usr/bin/prlimit");
        let status = command.arg(file_limit(bytes)).arg("--pid").arg(self.pid().to_string()).status();
        assert!(status.expect("prlimit runs").success());
    }

    /// Waits until it says that it is ready.
    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        let watch = Stopwatch::start();
        while !matches!(request(self.place.address, "GET", "/readyz", None), Ok((200, _))) {
            let status = self.process.try_wait().expect("a status");
            assert!(status.is_none(), "the server ended with {status:?}:\n{}", self.place.words());
            assert!(watch.elapsed_ms() < PATIENCE_MS, "the server does not get ready:\n{}", self.place.words());
            thread::sleep(GLANCE);
        }
    }

    /// Stops it by SIGTERM.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        let killed = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().expect("kill runs");
        assert!(killed.success());
        self.wait_until_ended()
    }

    /// How it ended by itself.
    #[track_caller]
    pub fn ended(mut self) -> ExitStatus {
        self.wait_until_ended()
    }

    #[track_caller]
    fn wait_until_ended(&mut self) -> ExitStatus {
        let watch = Stopwatch::start();
        loop {
            if let Some(status) = self.process.try_wait().expect("a status") {
                return status;
            }
            assert!(watch.elapsed_ms() < PATIENCE_MS, "the server does not stop:\n{}", self.place.words());
            thread::sleep(GLANCE);
        }
    }

    /// Ends it by SIGKILL, which it cannot notice; how it had ended already, if it had.
    pub fn kill(mut self) -> Option<ExitStatus> {
        let ended = self.process.try_wait().expect("a status");
        self.process.kill().expect("it is ours");
        self.process.wait().expect("a status");
        ended
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until something is so.
#[track_caller]
pub fn until(place: &Place, what: &str, is_so: impl Fn() -> bool) {
    let watch = Stopwatch::start();
    while !is_so() {
        assert!(watch.elapsed_ms() < PATIENCE_MS, "{what} does not come; words:\n{}", place.words());
        thread::sleep(GLANCE);
    }
}

/// One request on a connection of its own: the status, and the body as JSON (`Null` when it is none).
pub fn request(address: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> io::Result<(u16, Value)> {
    let (status, text) = converse(address, method, path, &[], body)?;
    Ok((status, serde_json::from_str(&text).unwrap_or_default()))
}

/// One request on a connection of its own, with more headers: the status and the body.
pub fn converse(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS)))?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let body = body.map(Value::to_string);
    let about =
        body.as_ref().map(|body| format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    let (about, body) = (about.unwrap_or_default(), body.unwrap_or_default());
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}{about}\r\n");
    stream.write_all((head + &body).as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let torn = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(torn)?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(torn)?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    match length == Some(body.len()) {
        true => Ok((status, body.to_owned())),
        false => Err(torn()),
    }
}

/// A port that nobody listens at, and that no outgoing connection is given: those begin at 32768.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = std::process::id().wrapping_mul(53) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (next % 12_000) as u16;
        if let Ok(address) = TcpListener::bind(("127.0.0.1", port)).and_then(|listener| listener.local_addr()) {
            return address;
        }
    }
}

fn file_limit(bytes: Option<u64>) -> String {
    let bytes = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    format!("--fsize={bytes}:unlimited")
}

fn give_to(path: &Path, uid: u32) {
    std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("root may do that");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            give_to(&entry.expect("an entry").path(), uid);
        }
    }
}
