//! The demo: a shop's last four weeks and what happens now, served from a temporary directory.
//!
//! For whoever wants to see a frozen gate before writing a spec. Nothing about the server is special: [`run`] writes
//! the specs that the repository ships and a log for them, [`run::serve`] follows that log like any other, and the demo
//! goes on writing and rotating it. One story is counted from metrics, which a service within the demo exposes. What it
//! tells about the gates, it has asked the server.
//!
//! - The log is a function of the seed and of the instant of the start, line for line ([`Traffic`]).
//! - Everything is in one temporary directory, which is removed at the end, however the end comes about, short of
//!   SIGKILL.
//! - When the log cannot be written any more, the demo ends: a shop without traffic is no demonstration.

mod dice;
mod guide;
mod incident;
mod logs;
mod payments;
mod record;
mod specs;
mod traffic;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

pub use dice::Dice;
pub use incident::Incident;
pub use record::{FORMAT, Printer, Record};
pub use traffic::Traffic;

use crate::run::{self, StartError};
use crate::spec::{self, SpecErrors};
use crate::time::{Clock, Stopwatch};
use logs::Logs;
use payments::Payments;
use specs::Places;

/// What to show.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What the traffic is made from.
    pub seed: u64,
    /// Where to answer; a free port of the same address when this one is taken.
    pub listen: SocketAddr,
    /// How often the log is rotated.
    pub rotate_every: Duration,
}

/// What there is to tell.
#[derive(Debug)]
pub enum News<'a> {
    /// Writing the history begins.
    Writing,
    /// The planned address is taken; it will be this one.
    Taken(SocketAddr),
    /// Everything has been read.
    Ready(&'a Scene<'a>),
}

/// What there is to be seen.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Where the server answers.
    pub address: SocketAddr,
    /// Where specs, logs and store are.
    pub directory: &'a Path,
    /// How many lines were written and read.
    pub lines: u64,
    /// The target that is scraped.
    pub target: String,
    /// What went wrong in these weeks.
    pub incidents: &'a [Incident],
    /// How the gates stand.
    pub gates: Vec<Gate>,
}

/// A gate, as the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Whose.
    pub service: String,
    /// `open`, `guarded`, `frozen` or `unknown`.
    pub level: String,
    /// Whether a feature may be deployed.
    pub allow: bool,
    /// Why; an open gate has no reasons.
    pub reasons: Vec<String>,
    /// Story and SLO that the first of them is about.
    pub slo: Option<(String, String)>,
}

/// Why there is no demo: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something could not be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no address to answer at.
    #[error("{listen}: cannot listen there ({source}); give it another address by --listen")]
    Listen {
        /// Which was asked for.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no port for the service that is scraped.
    #[error("no port of 127.0.0.1 can be had for the metrics of the demo: {0}")]
    Metrics(io::Error),
    /// The specs are not sound.
    #[error(transparent)]
    Specs(#[from] SpecErrors),
    /// The server cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl DemoError {
    fn new(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}

/// A wish to stop, shared by those who have it and those who follow it.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Tells everybody.
    pub fn tell(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody was told.
    pub fn is_told(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when somebody is told.
    async fn told(self) {
        // The sender is in `self`, so that it cannot be gone.
        let _ = self.0.subscribe().wait_for(|told| *told).await;
    }
}

/// Tells when it goes, also by a panic: what one thread cannot do any more, the others need not go on with.
struct TellAtEnd<'a>(&'a Stop);

impl Drop for TellAtEnd<'_> {
    fn drop(&mut self) {
        self.0.tell();
    }
}

/// How often new lines are written.
const TICK: Duration = Duration::from_millis(250);
/// The history begins so much later than the longest window, so that none of it is too old when it is read.
const MARGIN_MS: i64 = 15 * 60_000;

/// Shows the demo until `stop` is told; `tell` hears what there is to tell.
///
/// # Errors
/// When something that it needs cannot be had. The directory has been removed then, too.
pub fn run(plan: &Plan, clock: &dyn Clock, stop: &Stop, tell: &(dyn Fn(News<'_>) + Sync)) -> Result<(), DemoError> {
    let listen = free_address(plan.listen).map_err(|source| DemoError::Listen { listen: plan.listen, source })?;
    if listen != plan.listen && plan.listen.port() != 0 {
        tell(News::Taken(listen));
    }
    let temporary = tempfile::Builder::new().prefix("slogate-demo-").tempdir();
    let temporary = temporary.map_err(|source| DemoError::new(&std::env::temp_dir(), source))?;
    let shown = show(temporary.path(), &Plan { listen, ..*plan }, clock, stop, tell);
    let directory = temporary.path().to_owned();
    shown.and(temporary.close().map_err(|source| DemoError::new(&directory, source)))
}

/// The planned address, or a free port beside it when it is taken. Whoever takes it in between makes the start fail.
fn free_address(listen: SocketAddr) -> io::Result<SocketAddr> {
    let bound = TcpListener::bind(listen).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse => TcpListener::bind((listen.ip(), 0)),
        _ => Err(error),
    });
    bound?.local_addr()
}

/// The demo in its directory.
fn show(
    directory: &Path,
    plan: &Plan,
    clock: &dyn Clock,
    stop: &Stop,
    tell: &(dyn Fn(News<'_>) + Sync),
) -> Result<(), DemoError> {
    tell(News::Writing);
    let specs = directory.join("slo-specs");
    let (metrics, address) = payments::listener().map_err(DemoError::Metrics)?;
    let places = Places { listen: plan.listen, metrics: address };
    specs::write(&specs, places).map_err(|source| DemoError::new(&specs, source))?;
    let catalog = Arc::new(spec::load(&specs)?.catalog);
    let now = clock.now();
    let from = catalog.longest_window().first_minute(now.minute()).start().plus_millis(MARGIN_MS);
    let traffic = Traffic::new(plan.seed, now);
    let Some((mut logs, lines)) = Logs::create(&directory.join("logs"), &traffic, (from, now), stop)? else {
        return Ok(());
    };
    let incidents = traffic.incidents();
    let mut payments = Payments::new(plan.seed, clock.now());
    thread::scope(|scope| {
        let _ending = TellAtEnd(stop);
        let writing = scope.spawn(|| {
            let _ending = TellAtEnd(stop);
            keep_writing(&mut logs, plan.rotate_every, clock, stop)
        });
        scope.spawn(|| {
            let _ending = TellAtEnd(stop);
            payments.serve(&metrics, clock, stop);
        });
        let guide = |address| {
            if let Some(gates) = guide::gates_after(address, lines, stop) {
                let target = places.target();
                tell(News::Ready(&Scene { address, directory, lines, target, incidents, gates }));
            }
        };
        let served = run::serve(catalog, stop.clone().told(), |address| drop(scope.spawn(move || guide(address))));
        stop.tell();
        let written = writing.join().expect("writing a log does not panic");
        served.map_err(DemoError::from).and(written)
    })
}

/// Writes what happens and rotates the log, until told to stop.
fn keep_writing(logs: &mut Logs<'_>, rotate_every: Duration, clock: &dyn Clock, stop: &Stop) -> Result<(), DemoError> {
    let watch = Stopwatch::start();
    let every_ms = u64::try_from(rotate_every.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut rotations = 0;
    while !stop.is_told() {
        logs.write_until(clock.now())?;
        if watch.elapsed_ms() / every_ms > rotations {
            rotations = watch.elapsed_ms() / every_ms;
            logs.rotate()?;
        }
        thread::sleep(TICK);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
