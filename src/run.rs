//! Running: the parts put together, from files to answers.
//!
//! The only room that starts threads. Each source has one that follows its files and counts what is new ([`follow`]);
//! one more owns the engine and the store ([`owner`]); HTTP is answered by a small pool of its own.
//!
//! ```text
//! files -> follow (a thread for each source) -> bounded channel -> owner: engine -> store -> snapshot -> HTTP
//!                                                                   ^--- orders and questions about the past ---'
//! ```
//!
//! - Counts and the read positions that they belong to travel together and are committed together.
//! - A snapshot that shows a change of a gate is published after the change is durable; an order is answered after that.
//! - When the store cannot be written, counting goes on in memory and the gate keeps answering; everything is written
//!   when that is possible again. When counting cannot keep up, channels fill and files wait: nothing is dropped.
//! - Shutdown: sources stop first, then the owner commits what they delivered, then HTTP stops.

mod follow;
mod owner;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use crossbeam_channel::bounded;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::api::{self, Access, Api, Limits, NoToken, Token};
use crate::classify::TooComplex;
use crate::engine::Engine;
use crate::intake::tail::SavedError;
use crate::spec::{Catalog, SourceId, StoreUrl};
use crate::store::{Redb, Store, StoreError, Writer};
use crate::time::{Clock, Horizon, SystemClock, Timestamp};
use follow::Follower;
use owner::{Owner, Published};

/// Why the server cannot start: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The read positions in the store cannot be used.
    #[error(transparent)]
    Positions(#[from] SavedError),
    /// The request patterns cannot be compiled.
    #[error("{}: {source}", directory.display())]
    Patterns {
        /// The specs.
        directory: PathBuf,
        /// Why.
        source: TooComplex,
    },
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] NoToken),
    /// The address cannot be listened at.
    #[error("{address}: cannot listen there ({source}); stop what does, or set [server] listen to another address")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system refuses threads or a runtime.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// How many deliveries of counts may wait for the owner.
const DELIVERIES: usize = 4;
/// How many questions may wait for the owner; more are turned away.
const QUESTIONS: usize = 256;
/// How much more than the longest window is held in memory, so that the past day can be looked at in full, in minutes.
const PAST_MINUTES: u32 = 24 * 60;
/// How many threads answer HTTP.
const HTTP_THREADS: usize = 2;

/// Serves until `shutdown` completes. `started` is told the address once everything runs.
///
/// # Errors
/// When something that the server needs cannot be had; nothing has been changed then.
pub fn serve<S>(catalog: Arc<Catalog>, shutdown: S, started: impl FnOnce(SocketAddr)) -> Result<(), StartError>
where
    S: Future<Output = ()> + Send + 'static,
{
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let token = token(&catalog)?;
    let StoreUrl::Redb(path) = &catalog.store;
    let store: Arc<dyn Store> = Arc::new(Redb::open(path)?);
    let loaded = store.load()?;
    let engine = restore(&catalog, &*store, clock.now())?;
    let followers = followers(&catalog, &loaded.positions)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(HTTP_THREADS).enable_all().build()?;
    let address = catalog.server.listen;
    let listener = runtime.block_on(TcpListener::bind(address));
    let listener = listener.map_err(|source| StartError::Listen { address, source })?;

    let (deliveries_in, deliveries) = bounded(DELIVERIES);
    let (questions_in, questions) = bounded(QUESTIONS);
    let writer = Writer::new(Arc::clone(&store), loaded.revision);
    let now = Arc::new(RwLock::new(clock.now()));
    let stop = Arc::new(AtomicBool::new(false));
    let (mut owner, snapshots) =
        Owner::new(engine, writer, store, Arc::clone(&clock), Arc::clone(&now), Arc::clone(&stop));
    let mut threads = Vec::new();
    for follower in followers {
        let (stop, out, now) = (Arc::clone(&stop), deliveries_in.clone(), Arc::clone(&now));
        let name = format!("follow {}", follower.name());
        threads.push(thread::Builder::new().name(name).spawn(move || follower.run(&stop, &out, &now))?);
    }
    // The followers hold the only senders now: when they have stopped, the owner sees the end of deliveries.
    drop(deliveries_in);
    let owning = thread::Builder::new().name("owner".into()).spawn(move || owner.run(&deliveries, &questions))?;
    started(listener.local_addr().unwrap_or(address));
    let http = runtime.spawn(answer(listener, snapshots, questions_in, Access::new(address, token), clock));
    runtime.block_on(shutdown);
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    drop(owning.join());
    http.abort();
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    Ok(())
}

/// The configured token. A variable that is not set is no token: then only this machine may give orders, and an address
/// that others reach is refused.
fn token(catalog: &Catalog) -> Result<Option<Token>, NoToken> {
    let Some(secret) = &catalog.server.token else { return Ok(None) };
    match Token::resolve(secret) {
        Err(NoToken::Unset(name)) if catalog.server.listen.ip().is_loopback() => {
            tracing::warn!("the variable {name} is not set: whoever is on this machine may freeze and unfreeze");
            Ok(None)
        }
        resolved => resolved.map(Some),
    }
}

/// Answers HTTP until the task is ended.
async fn answer(
    listener: TcpListener,
    snapshots: watch::Receiver<Published>,
    questions: crossbeam_channel::Sender<api::Ask>,
    access: Access,
    clock: Arc<dyn Clock>,
) {
    let (asks_in, mut asks) = mpsc::channel(QUESTIONS);
    // A question that finds no room is dropped, and with it its reply channel, which tells whoever asked.
    let forward = async move {
        while let Some(ask) = asks.recv().await {
            drop(questions.try_send(ask));
        }
    };
    let router = api::router(Api::new(snapshots, asks_in, access, clock));
    tokio::join!(api::serve(listener, router, Limits::default(), std::future::pending()), forward);
}

/// The engine as it was at the last commit, its windows as of `now`.
///
/// # Errors
/// When the store cannot be read.
pub fn restore(catalog: &Arc<Catalog>, store: &dyn Store, now: Timestamp) -> Result<Engine, StoreError> {
    let kept = store.load()?.kept;
    let kept_for = Horizon::new(catalog.longest_window().minutes() as u32 + PAST_MINUTES).unwrap_or(Horizon::DAYS_28);
    let mut restoring = Engine::keeping(Arc::clone(catalog), kept_for).restore(&kept, now);
    store.minutes(restoring.from(), &mut |minute, counts| restoring.add(minute, counts))?;
    Ok(restoring.finish())
}

/// One follower for each source, each going on where the store says.
fn followers(catalog: &Arc<Catalog>, positions: &[crate::store::Position]) -> Result<Vec<Follower>, StartError> {
    let sources = (0..catalog.sources.len()).map(SourceId);
    sources.map(|source| Follower::new(Arc::clone(catalog), source, positions)).collect()
}

/// What time the owner has it, for those who refuse records by their age.
fn read_time(now: &RwLock<Timestamp>) -> Timestamp {
    *now.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
