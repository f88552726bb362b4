//! A desk to report at: a directory with specs and logs, and what the binary says about them.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use chrono::DateTime;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

/// 2026-11-20T10:12:00Z, in seconds; a whole minute.
pub const NOW: i64 = 1_795_169_520;

/// The log format of the logs here: all that any kind of SLO needs.
pub const FORMAT: &str = r#"$remote_addr [$time_local] $host "$request" $status "$http_user_agent" $request_time"#;

const GATE: &str = "[gate]\non_unknown = \"deny\"\nmin_events = 1\n";

/// A directory with `slo-specs` and logs, in which the binary runs.
pub struct Desk {
    directory: TempDir,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Told {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Told {
    /// What it printed, as a document.
    #[track_caller]
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The lines of stderr.
    pub fn sentences(&self) -> Vec<&str> {
        self.stderr.lines().collect()
    }
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Desk {
    /// A desk with one story, whose SLOs `slos` holds, and a gate for which one event is evidence enough.
    pub fn new(slos: &str) -> Self {
        Self::with_gate(slos, GATE)
    }

    /// A desk with one story and this gate.
    pub fn with_gate(slos: &str, gate: &str) -> Self {
        let source =
            format!("[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"access.log\"]\nnginx = '{FORMAT}'\n");
        Self::with_engine(slos, &format!("{source}{gate}"))
    }

    /// A desk with one story and this `slogate.toml`.
    pub fn with_engine(slos: &str, engine: &str) -> Self {
        let desk = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        fs::create_dir(desk.path("slo-specs")).expect("a directory for the specs");
        desk.write("slo-specs/slogate.toml", engine);
        desk.write("slo-specs/shop.toml", format!("[story]\nname = \"shop\"\n{slos}"));
        desk
    }

    /// A place in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a writable directory");
        path
    }

    /// `slogate report` with these arguments.
    pub fn report(&self, arguments: &[&str]) -> Told {
        self.command("report", arguments).stdin(Stdio::null()).output().expect("the binary runs").into()
    }

    /// The document about these files.
    #[track_caller]
    pub fn document(&self, arguments: &[&str]) -> Value {
        let told = self.report(&[&["--json"], arguments].concat());
        assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        told.document()
    }

    /// The document about a log that is one file.
    #[track_caller]
    pub fn document_of(&self, log: impl AsRef<[u8]>) -> Value {
        self.write("access.log", log);
        self.document(&["access.log"])
    }

    /// The binary with these arguments, about to run in the directory.
    pub fn command(&self, subcommand: &str, arguments: &[&str]) -> Command {
        self.prepared(Command::new(env!("CARGO_BIN_EXE_slogate")), subcommand, arguments)
    }

    /// The same, on one of the cores that this test may use.
    pub fn command_on_one_core(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
        let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("Linux tells");
        let core = cores.trim().split(['-', ',']).next().expect("there is a core");
        let mut command = Command::new("taskset");
        command.args(["-c", core, env!("CARGO_BIN_EXE_slogate")]);
        self.prepared(command, subcommand, arguments)
    }

    fn prepared(&self, mut command: Command, subcommand: &str, arguments: &[&str]) -> Command {
        command.current_dir(self.directory.path()).arg(subcommand).args(arguments).env_remove("NO_COLOR");
        command
    }
}

/// A request, `seconds` after [`NOW`].
pub fn line(seconds: i64, request: &str, status: u16, duration: &str) -> String {
    line_of_host(seconds, "shop.example", request, status, duration)
}

/// A request to a host, `seconds` after [`NOW`].
pub fn line_of_host(seconds: i64, host: &str, request: &str, status: u16, duration: &str) -> String {
    let time = DateTime::from_timestamp(NOW + seconds, 0).expect("a time of this century");
    let time = time.format("%d/%b/%Y:%H:%M:%S +0000");
    format!("192.0.2.1 [{time}] {host} \"{request} HTTP/1.1\" {status} \"curl/8\" {duration}\n")
}

/// `count` good requests for an item in the same second.
pub fn good(seconds: i64, count: usize) -> String {
    line(seconds, "GET /item/1", 200, "0.100").repeat(count)
}

/// `count` failed requests for an item in the same second.
pub fn bad(seconds: i64, count: usize) -> String {
    line(seconds, "GET /item/1", 500, "0.100").repeat(count)
}

/// An availability SLO on items, with more keys for `[[slo]]` and for `[slo.availability]`.
pub fn availability(name: &str, objective: &str, slo: &str, sli: &str) -> String {
    format!(
        "[[slo]]\nname = \"{name}\"\nobjective = {objective}\n{slo}\n[slo.availability]\nsource = \"lb\"\n\
         requests = [\"GET /item/{{id}}\"]\n{sli}\n"
    )
}

/// An SLO of another kind on items: `body` is what stands in its table.
pub fn slo(name: &str, objective: &str, kind: &str, body: &str) -> String {
    format!(
        "[[slo]]\nname = \"{name}\"\nobjective = {objective}\n[slo.{kind}]\nsource = \"lb\"\n\
         requests = [\"GET /item/{{id}}\"]\n{body}\n"
    )
}

/// The SLO of this name.
#[track_caller]
pub fn find<'d>(document: &'d Value, name: &str) -> &'d Value {
    let stories = document["stories"].as_array().expect("stories");
    let mut slos = stories.iter().flat_map(|story| story["slos"].as_array().expect("SLOs"));
    slos.find(|slo| slo["slo"] == name).unwrap_or_else(|| panic!("no SLO {name} in {document}"))
}

/// Good and bad of the SLO of this name.
#[track_caller]
pub fn counts(document: &Value, name: &str) -> (u64, u64) {
    let slo = find(document, name);
    let count = |key: &str| slo[key].as_u64().unwrap_or_else(|| panic!("no {key} in {slo}"));
    assert_eq!(count("total"), count("good") + count("bad"), "{slo}");
    (count("good"), count("bad"))
}

/// Records, matched, unmatched and refused of the first source, which must add up.
#[track_caller]
pub fn conserved(document: &Value) -> [u64; 4] {
    let source = &document["sources"][0];
    let count = |key: &str| source[key].as_u64().unwrap_or_else(|| panic!("no {key} in {source}"));
    let refused = source["rejected"].as_object().expect("an object");
    let refused = refused.values().map(|count| count.as_u64().expect("a count")).sum();
    let counts = [count("records"), count("matched"), count("unmatched"), refused];
    assert_eq!(counts[0], counts[1..].iter().sum::<u64>(), "{source}");
    counts
}

/// The bytes as a gzip file.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// The bytes as a zstd file.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory takes everything")
}
