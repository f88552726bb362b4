//! Debian's nginx in front of a small backend, both for the time of one test.
//!
//! nginx runs unprivileged in a temporary directory that holds its configuration, its pid and its log. It is waited for
//! by reading its error log, and stopped gracefully before its access log is read, so that the log is complete. It dies
//! with the test: at the end of a test that passes or panics, and by the kernel's hand when the test is killed.
//!
//! The backend does what a request's headers ask for: `X-Status: 503`, `X-Delay-Ms: 2500`, or `X-Hold: 1` for never
//! answering. It reports every held request, so that a client can leave at a known moment.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// Long enough for any machine, short enough to end a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running nginx.
pub struct Nginx {
    directory: TempDir,
    port: u16,
    process: Child,
    /// Collects the error log until the last nginx process has closed it.
    errors: Option<thread::JoinHandle<String>>,
    backend: Backend,
}

impl Nginx {
    /// Starts nginx with `log_format`, a directive (empty for a format that nginx knows), writing `format_name`, in the
    /// POSIX time zone `zone`.
    pub fn start(log_format: &str, format_name: &str, zone: &str) -> Self {
        let backend = Backend::start();
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Between finding a free port and binding it, somebody else can take it; then there is another one.
        for _ in 0..10 {
            let port = free_port();
            let configuration = configuration(directory.path(), port, backend.port, log_format, format_name);
            fs::write(directory.path().join("nginx.conf"), configuration).expect("nginx.conf written");
            let mut process = nginx(directory.path())
                .env("TZ", zone)
                .stderr(Stdio::piped())
                .spawn()
                .expect("setpriv (util-linux) runs nginx");
            match wait_until_started(process.stderr.take().expect("stderr is piped")) {
                Ok(errors) => return Self { directory, port, process, errors: Some(errors), backend },
                Err(log) => {
                    process.wait().expect("nginx gives its status");
                    assert!(log.contains("Address already in use"), "nginx (tests/run.sh installs it) said:\n{log}");
                }
            }
        }
        panic!("ten free ports were taken before nginx could bind them");
    }

    /// Sends `request` on a connection of its own; the status answered, `None` when nginx answered without one.
    pub fn send(&self, request: &[u8]) -> Option<u16> {
        statuses(&self.converse(request)).first().copied()
    }

    /// Sends several requests, the last of which closes the connection, in one go; their statuses in order.
    pub fn send_pipelined(&self, requests: &[u8]) -> Vec<u16> {
        statuses(&self.converse(requests))
    }

    /// Sends a request that the backend holds, and leaves as soon as it does.
    pub fn send_and_leave(&self, request: &[u8]) {
        let mut connection = self.connect();
        connection.write_all(request).expect("nginx reads the request");
        let held = self.backend.held.lock().expect("nobody panicked while waiting");
        held.recv_timeout(PATIENCE).expect("the backend got the request");
    }

    /// Gives the access log this name, as logrotate does, has nginx open a new one, and returns where the old one is.
    pub fn rotate(&self, name: &str) -> PathBuf {
        let rotated = self.log().with_file_name(name);
        fs::rename(self.log(), &rotated).expect("the log is renamed");
        self.signal("reopen");
        rotated
    }

    /// Stops nginx after its last request and returns where the access log is, now complete. It is kept until drop.
    pub fn stop(&mut self) -> PathBuf {
        self.signal("quit");
        let status = self.process.wait().expect("nginx gives its status");
        let errors = self.errors.take().expect("stopped once").join().expect("the error log is read");
        assert!(status.success(), "nginx ended with {status}:\n{errors}");
        self.log()
    }

    /// Where the access log is.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("access.log")
    }

    fn signal(&self, name: &str) {
        let output = nginx(self.directory.path()).args(["-s", name]).output().expect("nginx runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(("127.0.0.1", self.port)).expect("nginx accepts");
        connection.set_read_timeout(Some(PATIENCE)).expect("a timeout is set");
        connection
    }

    /// All that nginx answers until it closes the connection. It may do so before it has read everything.
    fn converse(&self, bytes: &[u8]) -> Vec<u8> {
        let mut connection = self.connect();
        let sent = connection.write_all(bytes);
        let mut answer = Vec::new();
        match connection.read_to_end(&mut answer) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("no answer: {error}; {sent:?}"),
            _ => answer,
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = nginx(self.directory.path()).args(["-s", "stop"]).output();
            let _ = self.process.wait();
        }
    }
}

/// The command line of nginx for this directory. `setpriv` has the kernel end it with the thread that started it.
fn nginx(directory: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin";
    command.args(["--pdeathsig", "TERM", "--", "nginx", "-e", "stderr", "-p"]).arg(directory);
    command.arg("-c").arg(directory.join("nginx.conf")).env("PATH", path).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Reads the error log until nginx has its workers, and goes on reading it behind the scenes. nginx binds its ports
/// before it starts workers, so from then on a connection waits rather than fails.
fn wait_until_started(stderr: ChildStderr) -> Result<thread::JoinHandle<String>, String> {
    let mut lines = BufReader::new(stderr);
    let mut log = String::new();
    while lines.read_line(&mut log).expect("the error log is text") > 0 {
        if log.contains("start worker process ") {
            return Ok(thread::spawn(move || {
                // From here on it quotes what clients send.
                let mut rest = Vec::new();
                let _ = lines.read_to_end(&mut rest);
                log + &String::from_utf8_lossy(&rest)
            }));
        }
    }
    Err(log)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn configuration(directory: &Path, port: u16, backend: u16, log_format: &str, format_name: &str) -> String {
    let path = directory.display();
    // A worker of root would become another user, who cannot enter the directory.
    let user = match fs::metadata(directory).expect("the directory is there").uid() {
        0 => "user root;",
        _ => "",
    };
    format!(
        r#"
daemon off;
{user}
worker_processes 1;
pid {path}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
    {log_format}
    access_log {path}/access.log {format_name};
    client_header_timeout 1s;
    lingering_close always;
    proxy_read_timeout 60s;
    upstream shop {{ server 127.0.0.1:{backend}; }}
    # The first server is always down: nginx notes two upstreams, `502, 200` and `0.000, 0.001`.
    upstream flaky {{ server unix:{path}/nobody.sock max_fails=0; server 127.0.0.1:{backend} backup; }}
    server {{
        listen 127.0.0.1:{port};
        server_name default.invalid;
        location / {{ proxy_pass http://shop; }}
        location /profile/flaky {{ proxy_pass http://flaky; }}
        location = /profile/dead {{ proxy_pass http://unix:{path}/nobody.sock; }}
        location = /profile/hangup {{ return 444; }}
        location = /profile/socket {{
            proxy_pass http://shop;
            proxy_http_version 1.1;
            proxy_set_header Upgrade websocket;
            proxy_set_header Connection upgrade;
        }}
    }}
}}
"#
    )
}

/// The statuses of the responses in `answer`, whose bodies are empty or come with their length.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    let mut rest = answer;
    while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
        let Some(status) = head.strip_prefix("http/1.1 ").and_then(|head| head.get(..3)) else { break };
        statuses.push(status.parse().expect("nginx answers with a number"));
        let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        rest = &rest[(end + 4 + length).min(rest.len())..];
    }
    statuses
}

/// The value of a header in `head`, which is lower-case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// What stands behind nginx. Its threads end with the process.
struct Backend {
    port: u16,
    held: Mutex<Receiver<()>>,
}

impl Backend {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (holding, held) = channel();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let holding = holding.clone();
                // nginx sees a broken connection as what it is, and the test sees its 502.
                thread::spawn(move || answer(connection, &holding).ok());
            }
        });
        Self { port, held: Mutex::new(held) }
    }
}

/// Does what one request asks for. The request is read whole: closing on unread bytes would reset the connection.
fn answer(mut connection: TcpStream, holding: &Sender<()>) -> io::Result<()> {
    let mut bytes = BufReader::new(connection.try_clone()?);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && bytes.read_until(b'\n', &mut head)? > 0 {}
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let number = |name: &str| header(&head, name).and_then(|value| value.parse::<u64>().ok());
    io::copy(&mut (&mut bytes).take(number("content-length").unwrap_or(0)), &mut io::sink())?;
    if number("x-hold").is_some() {
        let _ = holding.send(());
        // Until nginx gives up, which it does when its client has left.
        io::copy(&mut bytes, &mut io::sink())?;
        return Ok(());
    }
    if let Some(delay) = number("x-delay-ms") {
        thread::sleep(Duration::from_millis(delay));
    }
    let status = header(&head, "x-status").unwrap_or("200");
    let rest = match status {
        "101" => "Upgrade: websocket\r\nConnection: upgrade",
        _ => "Content-Length: 0\r\nConnection: close",
    };
    write!(connection, "HTTP/1.1 {status} As asked\r\n{rest}\r\n\r\n")
}
