//! The wire: bytes of one connection, on time and without tricks.
//!
//! A [`Wire`] stands between the socket and hyper. It knows just enough of HTTP/1.1 to tell heads from what follows
//! them, which lets it do what hyper leaves to others:
//!
//! - *Deadlines.* For the first byte, for the rest of a head, for the next request, and for a client that does not
//!   read.
//! - *One reading only.* Request smuggling lives on messages that two programs divide differently. Lines of a head must
//!   end with CR LF, and a head must not have both `Content-Length` and `Transfer-Encoding`; where that is not so, the
//!   byte that ends the line is replaced by one that no head may hold, and hyper refuses the request and closes.
//! - *Words for every refusal.* What hyper refuses by itself it answers with a bare head. Such a head is given the body
//!   that every other problem has.
//!
//! Bytes behind a head with either of those two fields are not looked at: such a request is the last one of its
//! connection (see `connections`), so nothing behind it is ever taken for a head.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::problem::{PROBLEM, unseen};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub(super) first_byte: Duration,
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) write: Duration,
}

/// A socket with deadlines.
pub(super) struct Wire {
    stream: TcpStream,
    deadlines: Deadlines,
    heads: Heads,
    reading: Option<Wait>,
    writing: Option<Pin<Box<Sleep>>>,
    /// What is sent in the place of a bare refusal, and how much of it has been.
    refusal: Option<(Vec<u8>, usize)>,
}

/// What the peer is waited for, behind how many heads, and until when.
struct Wait {
    awaited: Awaited,
    heads: u64,
    until: Pin<Box<Sleep>>,
}

/// What a peer is to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    FirstByte,
    NextRequest,
    RestOfHead,
    Body,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, deadlines: Deadlines) -> Self {
        Self { stream, deadlines, heads: Heads::new(), reading: None, writing: None, refusal: None }
    }

    /// Waits for the peer's bytes no longer than it may take.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (awaited, heads) = (self.heads.awaited(), self.heads.ended);
        let longest = match awaited {
            Awaited::FirstByte => self.deadlines.first_byte,
            Awaited::NextRequest => self.deadlines.idle,
            Awaited::RestOfHead | Awaited::Body => self.deadlines.head,
        };
        let same = self.reading.take().filter(|wait| (wait.awaited, wait.heads) == (awaited, heads));
        let wait = same.unwrap_or_else(|| Wait { awaited, heads, until: Box::pin(sleep(longest)) });
        ready!(self.reading.insert(wait).until.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }

    /// Takes the outcome of writing; when the socket takes nothing, waits no longer than it may take.
    fn poll_written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let longest = self.deadlines.write;
        let sleep = self.writing.get_or_insert_with(|| Box::pin(sleep(longest)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl Wire {
    /// Takes what hyper writes when it is a bare refusal; how much that was.
    fn take_refusal(&mut self, bytes: &[u8]) -> Option<usize> {
        self.refusal = Some((explained(bytes)?, 0));
        Some(bytes.len())
    }

    /// Sends what is left of a refusal.
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((bytes, sent)) = &mut self.refusal {
            if *sent == bytes.len() {
                self.refusal = None;
                break;
            }
            let written = Pin::new(&mut self.stream).poll_write(cx, &bytes[*sent..]);
            let count = ready!(self.poll_written(cx, written))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            if let Some((_, sent)) = &mut self.refusal {
                *sent += count;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A head without a body by which hyper refuses a request, with a body; `None` for everything else.
fn explained(bytes: &[u8]) -> Option<Vec<u8>> {
    const BARE: &[u8] = b"\r\ncontent-length: 0\r\n";
    let status = bytes.strip_prefix(b"HTTP/1.1 4").or_else(|| bytes.strip_prefix(b"HTTP/1.0 4"))?;
    let status = StatusCode::from_bytes(&[b'4', *status.first()?, *status.get(1)?]).ok()?;
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let at = memchr::memmem::find(bytes, BARE)?;
    let body = unseen(status)?;
    let fields = format!(
        "\r\ncontent-type: {PROBLEM}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\ncontent-length: {}\r\n",
        body.len()
    );
    Some([&bytes[..at], fields.as_bytes(), &bytes[at + BARE.len()..], &body].concat())
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(outcome) => {
                self.heads.read(&mut buffer.filled_mut()[before..]);
                Poll::Ready(outcome)
            }
            Poll::Pending => self.poll_read_deadline(cx),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_refusal(cx))?;
        if let Some(taken) = self.take_refusal(bytes) {
            return Poll::Ready(Ok(taken));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.poll_written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_refusal(cx))?;
        if let Some(taken) = slices.first().and_then(|first| self.take_refusal(first)) {
            return Poll::Ready(Ok(taken));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// As much of a line as is needed to recognise the two fields.
const BEGINNING: usize = 18;
/// No head may hold this byte, and hyper's parser refuses it wherever it stands.
const POISON: u8 = 0;

/// Where in a connection's requests its bytes are.
#[derive(Debug)]
struct Heads {
    /// Whether anything has arrived yet.
    begun: bool,
    /// How many heads have ended.
    ended: u64,
    /// Whether what follows are bodies, to the end.
    in_body: bool,
    /// Whether anything of this head has arrived, be it an empty line before it.
    in_head: bool,
    /// Whether a line of it has that is not empty.
    has_line: bool,
    has_length: bool,
    has_encoding: bool,
    /// Bytes in this line so far.
    length: usize,
    /// The first of them.
    beginning: [u8; BEGINNING],
    /// The last of them.
    last: u8,
}

impl Heads {
    const fn new() -> Self {
        Self {
            begun: false,
            ended: 0,
            in_body: false,
            in_head: false,
            has_line: false,
            has_length: false,
            has_encoding: false,
            length: 0,
            beginning: [0; BEGINNING],
            last: 0,
        }
    }

    fn awaited(&self) -> Awaited {
        match self {
            Self { begun: false, .. } => Awaited::FirstByte,
            Self { in_body: true, .. } => Awaited::Body,
            Self { in_head: true, .. } => Awaited::RestOfHead,
            _ => Awaited::NextRequest,
        }
    }

    /// Follows what has arrived, and poisons what must not be.
    fn read(&mut self, mut bytes: &mut [u8]) {
        self.begun |= !bytes.is_empty();
        while !self.in_body && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (line, rest) = bytes.split_at_mut(end.map_or(bytes.len(), |end| end + 1));
            self.extend(&line[..line.len() - usize::from(end.is_some())]);
            if let (Some(newline), Some(_)) = (line.last_mut(), end)
                && self.end_line().is_err()
            {
                *newline = POISON;
            }
            bytes = rest;
        }
    }

    /// Adds to the line.
    fn extend(&mut self, part: &[u8]) {
        let Some(last) = part.last() else { return };
        self.in_head = true;
        self.last = *last;
        let room = &mut self.beginning[self.length.min(BEGINNING)..];
        let known = room.len().min(part.len());
        room[..known].copy_from_slice(&part[..known]);
        self.length = self.length.saturating_add(part.len());
    }

    /// Ends the line at its LF.
    fn end_line(&mut self) -> Result<(), ()> {
        let (length, last) = (self.length, self.last);
        (self.length, self.last) = (0, 0);
        if last != b'\r' {
            return Err(());
        }
        if length == 1 {
            // Empty lines may stand before a head, and are part of its time.
            if self.has_line {
                self.end_head();
            }
            return Ok(());
        }
        self.has_line = true;
        let is = |name: &[u8]| {
            let begins = self.beginning.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
            begins && length > name.len()
        };
        let (is_length, is_encoding) = (is(b"content-length:"), is(b"transfer-encoding:"));
        self.has_length |= is_length;
        self.has_encoding |= is_encoding;
        if self.has_length && self.has_encoding { Err(()) } else { Ok(()) }
    }

    fn end_head(&mut self) {
        self.in_body = self.has_length || self.has_encoding;
        self.ended += 1;
        (self.in_head, self.has_line, self.has_length, self.has_encoding) = (false, false, false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts what becomes of `sent`, in one piece and byte by byte, and what is awaited after it.
    #[track_caller]
    fn check(sent: &str, expected: &str, awaited: Awaited) {
        for piece in [sent.len(), 1, 3] {
            let mut heads = Heads::new();
            let mut bytes = sent.as_bytes().to_vec();
            bytes.chunks_mut(piece).for_each(|chunk| heads.read(chunk));
            assert_eq!(
                (String::from_utf8(bytes).unwrap().as_str(), heads.awaited()),
                (expected, awaited),
                "by {piece}"
            );
        }
    }

    #[test]
    fn sound_requests_pass_untouched() {
        for (text, awaited) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Awaited::NextRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n", Awaited::RestOfHead),
            ("GET", Awaited::RestOfHead),
            ("\r\n\r\n", Awaited::RestOfHead),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Awaited::NextRequest),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\n", Awaited::Body),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\n", Awaited::Body),
            ("GET / HTTP/1.1\r\nX-Content-Length: 3\r\nContent-Lengths: 3\r\n\r\n", Awaited::NextRequest),
        ] {
            check(text, text, awaited);
        }
    }

    #[test]
    fn g20_a_bare_line_feed_is_poison() {
        check("GET / HTTP/1.1\nHost: a\r\n", "GET / HTTP/1.1\0Host: a\r\n", Awaited::RestOfHead);
        check("GET / HTTP/1.1\r\nA: b\n\r\n", "GET / HTTP/1.1\r\nA: b\0\r\n", Awaited::NextRequest);
        check("GET / HTTP/1.1\r\nA: b\r\n\n", "GET / HTTP/1.1\r\nA: b\r\n\0", Awaited::RestOfHead);
        check("\n", "\0", Awaited::NextRequest);
    }

    #[test]
    fn g20_a_length_beside_an_encoding_is_poison() {
        let head = "POST / HTTP/1.1\r\ncontent-LENGTH: 4\r\nTransfer-encoding: chunked\r";
        check(&format!("{head}\n"), &format!("{head}\0"), Awaited::RestOfHead);
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nA: b\r\nContent-Length:4\r";
        check(&format!("{head}\n"), &format!("{head}\0"), Awaited::RestOfHead);
    }
}
