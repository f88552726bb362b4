//! An HTTP client that sends exactly what it is told and reads to the end of the connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Nothing in these tests takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The last part of the problem's type and its detail; asserts that it is one.
    #[track_caller]
    pub fn problem(&self) -> (String, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{self:?}");
        assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{self:?}");
        let kind = body["type"].as_str().and_then(|kind| kind.strip_prefix("urn:slogate:problem:"));
        (kind.expect("a type").to_owned(), body["detail"].as_str().expect("a detail").to_owned())
    }
}

/// `GET path`.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Reply {
    request(address, "GET", path, &[], "")
}

/// A request with a `Host` and whatever else is given.
#[track_caller]
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let (text, _) = exchange(address, format!("{head}Connection: close\r\n\r\n{body}").as_bytes());
    parse(&text)
}

/// `POST path` with a JSON body.
#[track_caller]
pub fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let json = [("Content-Type", "application/json")];
    request(address, "POST", path, &[&json[..], headers].concat(), body)
}

/// A connection that does not wait for ever.
#[track_caller]
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Sends bytes and reads until the server closes; `false` when it cut the connection.
#[track_caller]
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> (String, bool) {
    let mut stream = connect(address);
    // The server may have answered and closed before it was told everything.
    let _ = stream.write_all(bytes);
    read_to_end(&mut stream)
}

/// Reads until the server closes; `false` when it cut the connection.
#[track_caller]
pub fn read_to_end(stream: &mut TcpStream) -> (String, bool) {
    let mut bytes = Vec::new();
    let whole = match stream.read_to_end(&mut bytes) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
        Err(error) => panic!("the server neither answers nor closes: {error}; so far {bytes:?}"),
    };
    (String::from_utf8_lossy(&bytes).into_owned(), whole)
}

/// The first response in a text.
#[track_caller]
pub fn parse(text: &str) -> Reply {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    Reply { status: status.expect("a status"), headers: lines.map(header).collect(), body: body.to_owned() }
}
