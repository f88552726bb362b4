//! Connections: who is let in, for how long, and how it all ends.
//!
//! hyper speaks HTTP/1.1 on each connection; around it this file and `wire` keep the deadlines that axum's own `serve`
//! does not set.
//!
//! - There are at most [`Limits::connections`]. When all are taken, a newcomer takes the place of the connection that
//!   has been silent longest, of all those that are not being answered: thousands of connections that say nothing do
//!   not keep anybody out. If every one is being answered, the newcomer is told to come back.
//! - A peer must send its first byte, then its whole head, and later its next request, within a time each; and it must
//!   take its answer in a reasonable time.
//! - A request with a body is the last one of its connection.
//! - A listener that fails (no file descriptors left, say) is tried again; so are connections that came and went.
//! - At the end no new connection is taken, open ones may finish what they are doing, and then they are cut.

use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use axum::http::{Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::problem::{Kind, PROBLEM, Problem, unseen};
use super::wire::{Deadlines, Wire};

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections. Together with files and the store they must fit the file descriptors that a process may have.
    pub connections: usize,
    /// From the connection to its first byte.
    pub first_byte: Duration,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// From an answer to the first byte of the next request.
    pub idle: Duration,
    /// For a client that does not take its answer.
    pub write: Duration,
    /// A head has at most this many bytes; hyper needs 8 KiB at least.
    pub head_bytes: usize,
    /// A head has at most this many fields.
    pub head_fields: usize,
    /// How long open connections may take to finish when the server stops.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            first_byte: Duration::from_secs(5),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            write: Duration::from_secs(10),
            head_bytes: 16 << 10,
            head_fields: 64,
            shutdown: Duration::from_secs(5),
        }
    }
}

/// Who is at the other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Answers what arrives at `listener` until `shutdown` completes, then until open connections have finished, but not
/// longer than [`Limits::shutdown`].
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: impl Future<Output = ()>) {
    let guests = Arc::new(Guests::new(limits.connections));
    let (stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match guests.welcome() {
                    Some(guest) => {
                        let task = converse(stream, peer, router.clone(), limits, guest, stopping.clone());
                        tasks.spawn(task);
                    }
                    None => turn_away(&stream),
                },
                Err(error) => recover(error.kind(), &guests).await,
            },
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    drop(listener);
    // Nobody listens any more when every connection has ended.
    let _ = stop.send(true);
    let all_ended = async { while tasks.join_next().await.is_some() {} };
    if timeout(limits.shutdown, all_ended).await.is_err() {
        tasks.shutdown().await;
    }
}

/// What to do about a listener that fails: most often this process has no file descriptors left.
async fn recover(kind: ErrorKind, guests: &Guests) {
    const PAUSE: Duration = Duration::from_millis(50);
    if !matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted) {
        guests.show_out_the_most_silent();
        sleep(PAUSE).await;
    }
}

/// Says that there is no room, as far as the socket takes it at once.
fn turn_away(stream: &TcpStream) {
    let body = unseen(StatusCode::SERVICE_UNAVAILABLE).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {PROBLEM}\r\nretry-after: 1\r\nconnection: close\r\n\
         cache-control: no-store\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.try_write(&[head.as_bytes(), &body].concat());
}

/// Serves one connection to its end.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    guest: Guest,
    mut stopping: watch::Receiver<bool>,
) {
    // A verdict is a few hundred bytes; waiting for more of them would only delay it.
    let _ = stream.set_nodelay(true);
    let presence = &*guest.presence;
    let service = service_fn(|request: Request<Incoming>| answer(&router, request, peer, presence));
    let deadlines =
        Deadlines { first_byte: limits.first_byte, head: limits.head, idle: limits.idle, write: limits.write };
    let connection = http1::Builder::new()
        .max_buf_size(limits.head_bytes)
        .max_headers(limits.head_fields)
        // `wire` has its own, which also know when a connection says nothing at all.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(Wire::new(stream, deadlines)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        _ = connection.as_mut() => true,
        () = presence.leave.notified() => true,
        _ = stopping.wait_for(|stop| *stop) => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// Answers one request.
async fn answer(
    router: &Router,
    request: Request<Incoming>,
    peer: SocketAddr,
    presence: &Presence,
) -> Result<Response<Body>, std::convert::Infallible> {
    let _busy = presence.begin();
    let headers = request.headers();
    // Two names, or none, are read differently by different programs (RFC 9112, section 3.2).
    if request.version() == Version::HTTP_11 && headers.get_all(HOST).iter().count() != 1 {
        return Ok(last(Problem::new(Kind::BadRequest, "a request has exactly one `Host`").into_response()));
    }
    let has_body = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let response = tower_service::Service::call(&mut router.clone(), request).await?;
    Ok(if has_body { last(response) } else { response })
}

/// The last response of its connection.
fn last(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Everybody who is connected.
struct Guests {
    most: usize,
    clock: Arc<AtomicU64>,
    present: Mutex<HashMap<u64, Arc<Presence>>>,
}

/// What is known of a connection while it lasts.
struct Presence {
    /// Counts what happens on all connections.
    clock: Arc<AtomicU64>,
    /// The count at its last request, or at its beginning.
    active: AtomicU64,
    /// Whether it is being answered.
    busy: AtomicBool,
    /// Asks it to leave.
    leave: Notify,
}

/// A place among the guests, given back when it is dropped.
struct Guest {
    guests: Arc<Guests>,
    id: u64,
    presence: Arc<Presence>,
}

/// Marks a connection as being answered.
struct Busy<'a>(&'a Presence);

impl Guests {
    fn new(most: usize) -> Self {
        Self { most, clock: Arc::new(AtomicU64::new(0)), present: Mutex::new(HashMap::new()) }
    }

    /// A place for a newcomer; `None` when everybody here is being answered.
    fn welcome(self: &Arc<Self>) -> Option<Guest> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.len() >= self.most {
            let (id, silent) = most_silent(&present)?;
            silent.leave.notify_one();
            present.remove(&id);
        }
        let id = self.clock.fetch_add(1, Ordering::Relaxed);
        let presence = Arc::new(Presence {
            clock: Arc::clone(&self.clock),
            active: AtomicU64::new(id),
            busy: AtomicBool::new(false),
            leave: Notify::new(),
        });
        present.insert(id, Arc::clone(&presence));
        Some(Guest { guests: Arc::clone(self), id, presence })
    }

    fn show_out_the_most_silent(&self) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((id, silent)) = most_silent(&present) {
            silent.leave.notify_one();
            present.remove(&id);
        }
    }
}

fn most_silent(present: &HashMap<u64, Arc<Presence>>) -> Option<(u64, Arc<Presence>)> {
    let idle = present.iter().filter(|(_, presence)| !presence.busy.load(Ordering::Relaxed));
    let silent = idle.min_by_key(|(_, presence)| presence.active.load(Ordering::Relaxed));
    silent.map(|(id, presence)| (*id, Arc::clone(presence)))
}

impl Presence {
    fn begin(&self) -> Busy<'_> {
        self.active.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
        Busy(self)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut present = self.guests.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.remove(&self.id);
    }
}
