//! A real Prometheus for a test, with the shipped configuration but for what it scrapes and how often.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::server::{PATIENCE_MS, free_address};

/// Where the files lie that are shipped for Prometheus and Grafana.
pub const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");

/// A Prometheus. It is killed with the test.
pub struct Prometheus {
    address: SocketAddr,
    directory: TempDir,
    process: Child,
}

impl Prometheus {
    /// Starts one that scrapes a server five times a second.
    pub fn scraping(server: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let shipped = |name: &str| fs::read_to_string(Path::new(SHIPPED).join(name)).expect("it is shipped");
        let mut configuration = shipped("prometheus.yml");
        for (there, here) in [
            ("\"127.0.0.1:9999\"", format!("\"{server}\"")),
            ("scrape_interval: 15s", "scrape_interval: 200ms".to_owned()),
            ("evaluation_interval: 30s", "evaluation_interval: 200ms".to_owned()),
        ] {
            assert_eq!(configuration.matches(there).count(), 1, "{there} is in prometheus.yml once");
            configuration = configuration.replace(there, &here);
        }
        let path = |name: &str| directory.path().join(name);
        fs::write(path("prometheus.yml"), configuration).expect("written");
        fs::write(path("alerts.yml"), shipped("alerts.yml")).expect("written");
        let address = free_address();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", path("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", path("data").display()));
        command.arg(format!("--web.listen-address={address}")).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(path("words")).expect("a file for its words"));
        let process = command.spawn().expect("prometheus (tests/run.sh installs it) runs");
        Self { address, directory, process }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has written to stderr.
    pub fn words(&self) -> String {
        fs::read_to_string(self.directory.path().join("words")).unwrap_or_default()
    }

    /// `data` of its answer; `None` while it does not answer yet.
    ///
    /// # Panics
    /// When it does not understand what it is asked.
    #[track_caller]
    pub fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let answer = self.get(&format!("/api/v1/{path}?{query}"))?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        assert_eq!(answer["status"], "success", "{path} {query}: {answer}");
        Some(answer["data"].clone())
    }

    /// The samples of an instant query by their labels without `instance` and `job`, as `name=value,...`.
    pub fn samples(&self, expression: &str) -> Vec<(String, f64)> {
        let data = self.ask("query", &[("query", expression)]).unwrap_or_default();
        let sample = |result: &Value| {
            let labels = result["metric"].as_object().expect("labels").iter();
            let labels = labels.filter(|(name, _)| !["__name__", "instance", "job"].contains(&name.as_str()));
            let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={}", word(value))).collect();
            (labels.join(","), word(&result["value"][1]).parse().expect("a number"))
        };
        let mut samples: Vec<(String, f64)> = data["result"].as_array().into_iter().flatten().map(sample).collect();
        samples.sort_by(|(one, _), (other, _)| one.cmp(other));
        samples
    }

    /// The body of an answer. HTTP/1.0, so that it comes in one piece.
    fn get(&self, target: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS))).ok()?;
        write!(stream, "GET {target} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A text of an answer.
pub fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}
