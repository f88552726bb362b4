//! Running: the parts put together, from files to answers.
//!
//! The only room that starts threads. Each source has one that follows its files and counts what is new ([`follow`]),
//! or scrapes its targets ([`scrape`]); one more owns the engine and the store ([`owner`]), one watches the specs
//! ([`specs`]); HTTP is answered by a small pool of its own.
//!
//! ```text
//! files -> follow (a thread for each source) -> bounded channel -> owner: engine -> store -> snapshot -> HTTP
//!                                                                   ^--- orders and questions about the past ---'
//! specs -> watch --------------------------------- changes -----------'
//! ```
//!
//! - Counts and the read positions that they belong to travel together and are committed together.
//! - A snapshot that shows a change of a gate is published after the change is durable, the first one included; an
//!   order is answered after that.
//! - When the store cannot be written, counting goes on in memory and the gate keeps answering; everything is written
//!   when that is possible again. When counting cannot keep up, channels fill and files wait: nothing is dropped.
//! - A damaged store is no reason not to answer: see [`rescue`].
//! - No number of logs or connections keeps a gate from being answered: see [`descriptors`].
//! - A source that was renamed goes on with all that is kept of it ([`renamed`]).
//! - A follower that panics takes nothing with it: it begins again ([`revive`]).
//! - The specs are watched ([`specs`]). What is sound in them is in force as a whole, at once for every reader; what is
//!   not changes nothing ([`reload`]).
//! - Shutdown: sources stop first, then the owner commits what they delivered, then HTTP stops.

mod descriptors;
mod follow;
mod following;
mod owner;
mod refused;
mod reload;
mod renamed;
mod rescue;
mod revive;
mod scrape;
mod specs;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use crossbeam_channel::bounded;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::api::{self, Access, Api, Limits, NoToken, Token};
use crate::classify::{Classifier, TooComplex};
use crate::engine::Engine;
use crate::intake::tail::SavedError;
use crate::spec::{Catalog, SourceId, SourceKind, StoreUrl};
use crate::store::{Position, StoreError, Writer};
use crate::time::{Clock, Horizon, SystemClock, Timestamp};
use descriptors::Descriptors;
pub use descriptors::TooFew;
use follow::Reading;
use following::{Follower, Following};
use owner::{Owner, Published};
use rescue::{Lost, Opened};
pub use scrape::SavedTargetError;
use scrape::Scraper;
use specs::Watch;

/// Why the server cannot start: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There are too few file descriptors.
    #[error(transparent)]
    Descriptors(#[from] TooFew),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The read positions in the store cannot be used.
    #[error(transparent)]
    Positions(#[from] PositionsError),
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

/// Why what was kept of how far sources had been read cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PositionsError {
    /// Of a log.
    #[error(transparent)]
    Log(#[from] SavedError),
    /// Of a target.
    #[error(transparent)]
    Target(#[from] SavedTargetError),
}

/// How many questions may wait for the owner; more are turned away.
const QUESTIONS: usize = 256;
/// How much more than the longest window is held in memory, so that the past day can be looked at in full, in minutes.
const PAST_MINUTES: u32 = 24 * 60;
/// How many threads answer HTTP.
const HTTP_THREADS: usize = 2;

/// Serves until `shutdown` completes. `started` is told the address once everything runs. Meanwhile the specs are
/// reloaded whenever they change, and on SIGHUP, which is taken from here on.
///
/// # Errors
/// When something that the server needs cannot be had; nothing has been changed then.
pub fn serve<S>(catalog: Arc<Catalog>, shutdown: S, started: impl FnOnce(SocketAddr)) -> Result<(), StartError>
where
    S: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(HTTP_THREADS).enable_all().build()?;
    Descriptors::of_process().check(catalog.sources.len())?;
    let (mut shutdown, mut started) = (Box::pin(shutdown), Some(started));
    loop {
        let has_started = |address| started.take().into_iter().for_each(|started| started(address));
        match serve_store(&catalog, &runtime, shutdown.as_mut(), has_started)? {
            Ended::Stopped => break,
            Ended::Found => tracing::info!("there is a sound store again; starting from it"),
        }
    }
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    Ok(())
}

/// Why a server ended.
enum Ended {
    /// It was told to.
    Stopped,
    /// Its store was damaged, and there is a sound one now.
    Found,
}

/// Serves from the store as it is now.
fn serve_store(
    catalog: &Arc<Catalog>,
    runtime: &Runtime,
    shutdown: Pin<&mut impl Future<Output = ()>>,
    started: impl FnOnce(SocketAddr),
) -> Result<Ended, StartError> {
    // Before anything that takes time, because the signal ends whoever does not take it.
    let hangups = runtime.block_on(async { signal(SignalKind::hangup()) })?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let token = token(catalog)?;
    let StoreUrl::Redb(path) = &catalog.store;
    // Before the store, which would be there for nothing where the address is taken. One that is there is looked at all
    // the same: that it is in use, probably by whoever has the address, tells more.
    let address = catalog.server.listen;
    let listener = runtime.block_on(TcpListener::bind(address));
    let listener = listener.map_err(|source| StartError::Listen { address, source });
    let listener = match listener {
        Err(taken) if !path.exists() => return Err(taken),
        bound => bound,
    };
    let Opened { store, mut engine, loaded, durations, lost } = rescue::open(catalog, path, clock.now())?;
    let listener = listener?;
    let followers = match &lost {
        Some(_) => Vec::new(),
        None => followers(catalog, classifiers(catalog)?, Vec::new(), &loaded.positions)?,
    };
    tell_measured(&mut engine, &followers, clock.now());
    tell_not_followed(&engine);
    renamed::tell(&engine);
    let access = Access::new(address, token);
    let (questions_in, questions) = bounded(QUESTIONS);
    let writer = Writer::new(Arc::clone(&store), loaded.revision);
    let now = Arc::new(RwLock::new(clock.now()));
    let stop = Arc::new(AtomicBool::new(false));
    let (mut owner, snapshots) =
        Owner::new(engine, writer, store, Arc::clone(&clock), Arc::clone(&now), Arc::clone(&stop), access.clone());
    match &lost {
        Some(lost) => owner.lose_store(&lost.why),
        None => owner.following = Following::start(followers, &stop, &now)?,
    }
    owner.await_durations(durations)?;
    let (asked_in, asked) = bounded(1);
    let (news_in, news) = bounded(1);
    let watch = Watch::new(Arc::clone(catalog), asked, news_in, Arc::clone(&stop));
    let owning = thread::Builder::new().name("owner".into()).spawn(move || owner.run(&questions, &news))?;
    // It ends within a second of the server's stop, and nobody has to wait for that.
    thread::Builder::new().name("specs".into()).spawn(move || watch.run())?;
    started(listener.local_addr().unwrap_or(address));
    let hangups = runtime.spawn(forward_hangups(hangups, asked_in));
    let limits = Limits { connections: Descriptors::of_process().connections(), ..Limits::default() };
    let http = runtime.spawn(answer(listener, limits, snapshots, questions_in, access, clock));
    let ended = runtime.block_on(wait(shutdown, lost));
    stop.store(true, Ordering::Relaxed);
    hangups.abort();
    drop(owning.join());
    http.abort();
    // Nobody listens any more when it has ended.
    drop(runtime.block_on(http));
    Ok(ended)
}

async fn wait(shutdown: Pin<&mut impl Future<Output = ()>>, lost: Option<Lost>) -> Ended {
    let found = async {
        match lost {
            Some(lost) => lost.found().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = shutdown => Ended::Stopped,
        () = found => Ended::Found,
    }
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
        resolved => {
            let token = resolved?;
            if let Some(weakness) = token.weakness() {
                tracing::warn!("{weakness}");
            }
            Ok(Some(token))
        }
    }
}

/// Asks for a reload at every SIGHUP. One that finds another waiting is answered together with it.
async fn forward_hangups(mut hangups: Signal, asked: crossbeam_channel::Sender<()>) {
    while hangups.recv().await.is_some() {
        let _ = asked.try_send(());
    }
}

/// Answers HTTP until the task is ended.
async fn answer(
    listener: TcpListener,
    limits: Limits,
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
    tokio::join!(api::serve(listener, router, limits, std::future::pending()), forward);
}

/// How much is held in memory for the present and the past day.
fn kept_for(catalog: &Catalog) -> Horizon {
    let longest = catalog.longest_window();
    Horizon::new(longest.minutes() as u32 + PAST_MINUTES).unwrap_or(longest)
}

/// The classifier of each source.
fn classifiers(catalog: &Catalog) -> Result<Vec<Classifier>, StartError> {
    let directory = || catalog.directory.clone();
    let sources = (0..catalog.sources.len()).map(SourceId);
    let compiled = sources.map(|source| Classifier::new(catalog, source));
    compiled
        .map(|compiled| compiled.map_err(|source| StartError::Patterns { directory: directory(), source }))
        .collect()
}

/// One follower for each source. Of files, it goes on with the reading that is kept of them, if they are still read in
/// the same way; otherwise, and of targets, where the store says.
fn followers(
    catalog: &Arc<Catalog>,
    classifiers: Vec<Classifier>,
    mut carried: Vec<(String, Reading)>,
    positions: &[Position],
) -> Result<Vec<Follower>, PositionsError> {
    let mut follow = |(index, classifier): (usize, Classifier)| {
        let source = SourceId(index);
        let name = &catalog[source].name;
        let file = catalog[source].kind.file();
        let is_same = |(of, reading): &(String, Reading)| of == name && file.is_some_and(|file| reading.is_of(file));
        let same = carried.iter().position(is_same).map(|same| carried.swap_remove(same).1);
        follower(catalog, source, classifier, same, positions)
    };
    classifiers.into_iter().enumerate().map(&mut follow).collect()
}

/// The follower of a source, which goes on with what is kept of it, or where the store says.
fn follower(
    catalog: &Arc<Catalog>,
    source: SourceId,
    classifier: Classifier,
    carried: Option<Reading>,
    positions: &[Position],
) -> Result<Follower, PositionsError> {
    if let SourceKind::Scrape(scrape) = &catalog[source].kind {
        return Ok(Follower::Targets(Box::new(Scraper::new(catalog, source, scrape, positions)?)));
    }
    let reading = match carried {
        Some(reading) => reading.among(catalog.sources.len()),
        None => Reading::new(catalog, source, positions)?,
    };
    Ok(Follower::Files(Box::new(follow::Follower::new(Arc::clone(catalog), source, classifier, reading))))
}

/// Lets an engine know how its SLOs were measured, before it decides anything.
fn tell_measured(engine: &mut Engine, followers: &[Follower], now: Timestamp) {
    followers.iter().for_each(|follower| engine.note_measured(follower.measurements(now)));
}

/// Says which `renamed_from` of the specs an engine that was restored could not follow.
fn tell_not_followed(engine: &Engine) {
    for not_followed in engine.not_followed() {
        tracing::warn!("{not_followed}");
    }
}

/// What time the owner has it, for those who refuse records by their age.
fn read_time(now: &RwLock<Timestamp>) -> Timestamp {
    *now.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
