//! Connections that are slow, silent, greedy or deceitful.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use slogate::api::Limits;

use super::http::{PATIENCE, Reply, connect, exchange, get, parse, read_to_end};
use super::owner::{Server, Setup};

const CHECK: &str = "/api/v1/gates/api/check";

fn limited(limits: Limits) -> Server {
    let server = Server::start(Setup { limits, ..Setup::default() });
    server.fill();
    server
}

/// How many connections a test may open: thousands, unless this process may not have that many files.
fn plenty() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let soft = line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).unwrap_or(1_024);
    // Other tests of this process have connections too, and each of ours has two ends.
    5_000.min(soft / 4)
}

/// Whether the server has closed a connection to which it has nothing to say; waits for it to do so.
#[track_caller]
fn assert_closed(stream: &mut TcpStream) {
    let (text, _) = read_to_end(stream);
    assert_eq!(text, "");
}

/// A request on a connection that stays open, and its response by its length.
#[track_caller]
fn ask(stream: &mut TcpStream, address: SocketAddr, path: &str) -> Reply {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("a server that listens");
    let mut text = Vec::new();
    let mut byte = [0; 1];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        text.push(byte[0]);
    }
    let mut reply = parse(&String::from_utf8(text).expect("ASCII"));
    let length = reply.header("content-length").and_then(|length| length.parse().ok()).expect("a length");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    reply.body = String::from_utf8(body).expect("UTF-8");
    reply
}

#[test]
fn g17_silent_connections_do_not_hold_the_gate() {
    // Nobody is shown out for being slow here: the silent ones would stay for ever.
    let forever = Duration::from_secs(3_600);
    let limits = Limits { connections: 200, first_byte: forever, head: forever, idle: forever, ..Limits::default() };
    let server = limited(limits);
    let silent: Vec<TcpStream> = (0..plenty())
        .map(|number| {
            let mut stream = connect(server.address);
            match number % 3 {
                0 => {}
                1 => stream.write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ").expect("a server that listens"),
                _ => assert_eq!(ask(&mut stream, server.address, "/healthz").status, 200),
            }
            if number % 50 == 0 {
                assert_eq!(get(server.address, CHECK).status, 200, "after {number} connections");
            }
            stream
        })
        .collect();
    assert!(silent.len() >= 250, "too few for a test: {}", silent.len());
    // A connection that is used stays, however many others come.
    let mut regular = connect(server.address);
    for _ in 0..50 {
        assert_eq!(ask(&mut regular, server.address, CHECK).status, 200);
        assert_eq!(get(server.address, CHECK).status, 200);
    }
    // The first ones had to make room.
    for mut stream in silent.into_iter().take(20) {
        assert_closed(&mut stream);
    }
}

#[test]
fn g17_who_says_nothing_or_dawdles_is_shown_out() {
    let short = Duration::from_millis(150);
    let server = limited(Limits { first_byte: short, head: short, idle: short, ..Limits::default() });
    assert_closed(&mut connect(server.address));

    let mut idle = connect(server.address);
    assert_eq!(ask(&mut idle, server.address, CHECK).status, 200);
    assert_closed(&mut idle);

    // A byte now and then is progress, but a head has its time.
    let mut dawdler = connect(server.address);
    dawdler.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let head = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nX-Slow: {}", server.address, "x".repeat(2_000));
    let mut sent = 0;
    let shown_out = head.bytes().any(|byte| {
        sent += 1;
        dawdler.write_all(&[byte]).is_err() || is_closed(&mut dawdler)
    });
    assert!(shown_out && sent > 3, "after {sent} bytes");

    let mut bodyless = connect(server.address);
    let head = "POST /api/v1/gates/api/freeze HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 10";
    write!(bodyless, "{head}\r\nHost: {}\r\n\r\n", server.address).expect("a server that listens");
    let (text, _) = read_to_end(&mut bodyless);
    assert!(text.is_empty() || parse(&text).status == 400, "{text}");
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[test]
fn g17_who_does_not_take_the_answers_is_shown_out() {
    let server = limited(Limits { write: Duration::from_millis(150), ..Limits::default() });
    let mut greedy = connect(server.address);
    greedy.set_write_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let question = format!("GET /openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).repeat(50);
    let cut = (0..20_000).any(|_| match greedy.write_all(question.as_bytes()) {
        Ok(()) => false,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    });
    assert!(cut, "the server goes on answering somebody who does not read");
}

#[test]
fn who_is_being_answered_is_not_shown_out() {
    let server = limited(Limits { connections: 4, ..Limits::default() });
    server.owner(|owner| owner.silent = true);
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let address = server.address;
            thread::spawn(move || get(address, "/api/v1/audit").status)
        })
        .collect();
    while server.owner(|owner| owner.waiting()) < 4 {
        thread::yield_now();
    }
    let (text, _) = exchange(server.address, b"");
    let reply = parse(&text);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{reply:?}");
    assert_eq!(reply.problem().0, "busy");
    server.owner(|owner| owner.speak());
    let statuses: Vec<u16> = waiting.into_iter().map(|waiting| waiting.join().expect("a reply")).collect();
    assert_eq!(statuses, [200; 4]);
    assert_eq!(get(server.address, CHECK).status, 200);
}

#[test]
fn who_goes_on_asking_may_stay() {
    let quarter = Duration::from_millis(250);
    let server = limited(Limits { first_byte: quarter, head: quarter, idle: quarter, ..Limits::default() });
    let mut regular = connect(server.address);
    // Much longer than any of the times, and never silent for one of them: a head is asked for in two pieces, of which
    // the first arrives together with the end of the one before.
    let head = format!("GET {CHECK} HTTP/1.1\r\nHost: {}\r\n", server.address);
    regular.write_all(head.as_bytes()).expect("a server that listens");
    for _ in 0..40 {
        // One write: the pieces of a `write!` could arrive apart.
        regular.write_all(format!("\r\n{head}").as_bytes()).expect("a server that listens");
        thread::sleep(quarter / 10);
    }
    write!(regular, "Connection: close\r\n\r\n").expect("a server that listens");
    let (text, _) = read_to_end(&mut regular);
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 41);
    // Empty lines are no requests.
    let mut empty = connect(server.address);
    empty.set_read_timeout(Some(quarter / 10)).expect("a timeout");
    assert!((0..1_000).any(|_| empty.write_all(b"\r\n").is_err() || is_closed(&mut empty)));
}

/// Asserts that a request is refused with `status`, and the connection closed.
#[track_caller]
fn check_refused(server: &Server, request: &str, statuses: &[u16]) {
    let (text, _) = exchange(server.address, request.as_bytes());
    let shown: String = request.chars().take(200).collect();
    let reply = parse(&text);
    assert!(statuses.contains(&reply.status), "{shown:?} gave {text:?}");
    assert_eq!(text.matches("HTTP/1.1 ").count() + text.matches("HTTP/1.0 ").count(), 1, "{shown:?} gave {text:?}");
    let kind = match reply.status {
        400 => "bad-request",
        414 => "uri-too-long",
        431 => "head-too-large",
        _ => return,
    };
    assert_eq!(reply.problem().0, kind, "{shown:?} gave {text:?}");
    assert_eq!(reply.json()["status"], reply.status, "{text:?}");
    assert_eq!(
        (reply.header("connection"), reply.header("cache-control")),
        (Some("close"), Some("no-store")),
        "{text:?}"
    );
}

#[test]
fn g18_heads_beyond_their_bounds_are_431() {
    let server = limited(Limits::default());
    let head = "GET /healthz HTTP/1.1\r\nHost: a\r\n";
    check_refused(&server, &format!("{head}X: {}\r\n\r\n", "x".repeat(1 << 20)), &[431]);
    check_refused(&server, &format!("{head}{}\r\n", "X: y\r\n".repeat(10_000)), &[431]);
    check_refused(&server, &format!("{head}{}\r\n", "X: y\r\n".repeat(100)), &[431]);
    check_refused(&server, &format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1 << 20)), &[414, 431]);
    let fits = format!("{head}{}Y: {}\r\nConnection: close\r\n\r\n", "X: y\r\n".repeat(50), "y".repeat(8_000));
    check_refused(&server, &fits, &[200]);
    assert_eq!(get(server.address, CHECK).status, 200);
}

#[test]
fn g20_requests_that_two_programs_would_divide_differently_are_refused() {
    let server = limited(Limits::default());
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for head in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nX: y\r\ncontent-length: 0\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 5\n",
        "X: y\n",
        "X: y\r\n folded\r\n",
        "X: y\r\n\tfolded\r\n",
        "X: a\rContent-Length: 5\r\n",
        "X: a\0b\r\n",
        "X\0: a\r\n",
        "no colon\r\n",
        ": nameless\r\n",
        "Host: b\r\n",
    ] {
        check_refused(&server, &format!("POST {CHECK} HTTP/1.1\r\nHost: a\r\n{head}\r\n0\r\n\r\n{smuggled}"), &[400]);
    }
    for text in [
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\nHost: a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\n",
        "GET /healthz HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /healthz HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /heal\0thz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\n\n\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}",
    ] {
        check_refused(&server, &format!("{text}{smuggled}"), &[400]);
    }
    assert_eq!(get(server.address, CHECK).status, 200);
}

#[test]
fn g20_a_request_with_a_body_is_the_last_of_its_connection() {
    let server = limited(Limits::default());
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for (head, body) in [
        ("Content-Length: 0\r\n", ""),
        ("Content-Length: 5\r\n", "abcde"),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nabcde\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\nabcde\n0\n\n"),
    ] {
        let request = format!("GET /api/v1/gates HTTP/1.1\r\nHost: a\r\n{head}\r\n{body}{smuggled}");
        let (text, _) = exchange(server.address, request.as_bytes());
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{request:?} gave {text:?}");
        assert_eq!(parse(&text).header("connection"), Some("close"), "{text:?}");
    }
}

#[test]
fn g19_there_is_no_http2_on_this_port() {
    let server = limited(Limits::default());
    let (text, _) = exchange(server.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(text.is_empty() || parse(&text).status == 400, "{text:?}");
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
    let request = format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n");
    let mut stream = connect(server.address);
    stream.write_all(request.as_bytes()).expect("a server that listens");
    assert_eq!(ask(&mut stream, server.address, CHECK).status, 200);
}

#[test]
fn requests_one_behind_another_are_answered_in_their_order() {
    let server = limited(Limits::default());
    let mut stream = connect(server.address);
    let requests: String = ["/healthz", "/readyz", "/nowhere", CHECK]
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .concat();
    // In pieces that end anywhere.
    for piece in requests.as_bytes().chunks(7) {
        stream.write_all(piece).expect("a server that listens");
    }
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("a server that listens");
    let (text, whole) = read_to_end(&mut stream);
    let statuses: Vec<&str> =
        text.match_indices("HTTP/1.1 ").map(|(at, word)| &text[at + word.len()..at + word.len() + 3]).collect();
    assert_eq!((statuses, whole), (vec!["200", "200", "404", "200", "200"], true));
}

#[test]
fn a_stop_lets_answers_finish_and_nobody_new_in() {
    let mut server = limited(Limits { shutdown: PATIENCE, ..Limits::default() });
    let mut idle = connect(server.address);
    assert_eq!(ask(&mut idle, server.address, CHECK).status, 200);
    server.owner(|owner| owner.silent = true);
    let address = server.address;
    let waiting = thread::spawn(move || get(address, "/api/v1/audit").status);
    while server.owner(|owner| owner.waiting()) == 0 {
        thread::yield_now();
    }
    server.stop();
    assert_closed(&mut idle);
    assert!(TcpStream::connect(address).is_err(), "the port is still open");
    server.owner(|owner| owner.speak());
    assert_eq!(waiting.join().expect("a reply"), 200);
    assert!(server.wait_for_end(PATIENCE));
}

#[test]
fn a_stop_waits_for_nobody_longer_than_its_deadline() {
    let mut server = limited(Limits { shutdown: Duration::from_millis(100), ..Limits::default() });
    server.owner(|owner| owner.silent = true);
    let mut stuck = connect(server.address);
    write!(stuck, "GET /api/v1/audit HTTP/1.1\r\nHost: a\r\n\r\n").expect("a server that listens");
    while server.owner(|owner| owner.waiting()) == 0 {
        thread::yield_now();
    }
    server.stop();
    assert!(server.wait_for_end(Duration::from_secs(10)), "the server waits for its clients");
    assert_closed(&mut stuck);
}
