//! Following all sources: one thread for each, from the moment that specs are in force until others are to be.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, never};

use super::follow::{self, Delivery, Reading};
use super::scrape::Scraper;
use crate::gate::Measurement;
use crate::spec::SloId;
use crate::time::Timestamp;

/// How many deliveries of counts may wait for the owner.
pub(super) const DELIVERIES: usize = 4;

/// When followers are to stop.
pub(super) struct Stop {
    /// The whole server stops.
    server: Arc<AtomicBool>,
    /// Only they do.
    these: AtomicBool,
}

impl Stop {
    /// Whether that is now.
    pub(super) fn is_set(&self) -> bool {
        self.server.load(Ordering::Relaxed) || self.these.load(Ordering::Relaxed)
    }
}

/// Follows one source.
pub(super) enum Follower {
    /// By its files.
    Files(Box<follow::Follower>),
    /// By its targets.
    Targets(Box<Scraper>),
}

impl Follower {
    fn name(&self) -> &str {
        match self {
            Self::Files(files) => files.name(),
            Self::Targets(targets) => targets.name(),
        }
    }

    /// Follows until told to stop.
    fn run(&mut self, stop: &Stop, out: &Sender<Delivery>, now: &RwLock<Timestamp>) {
        match self {
            Self::Files(files) => files.run(stop, out, now),
            Self::Targets(targets) => targets.run(stop, out, now),
        }
    }

    /// How the SLOs of its source are measured, as far as is known before anything is read.
    pub(super) fn measurements(&self, now: Timestamp) -> Vec<(SloId, Measurement)> {
        match self {
            Self::Files(_) => Vec::new(),
            Self::Targets(targets) => targets.measurements(now),
        }
    }

    /// How far it has read, where that is more than what was delivered. What is known of targets is all delivered.
    fn into_reading(self) -> Option<(String, Reading)> {
        match self {
            Self::Files(files) => Some(files.into_reading()),
            Self::Targets(_) => None,
        }
    }
}

/// The followers of every source of one catalog.
pub(super) struct Following {
    deliveries: Receiver<Delivery>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<Follower>>,
    has_ended: bool,
}

impl Following {
    /// Starts them; they stop with the server.
    ///
    /// # Errors
    /// When the system refuses a thread. None is left running then.
    pub(super) fn start(
        followers: Vec<Follower>,
        server: &Arc<AtomicBool>,
        now: &Arc<RwLock<Timestamp>>,
    ) -> io::Result<Self> {
        let stop = Arc::new(Stop { server: Arc::clone(server), these: AtomicBool::new(false) });
        let (deliveries_in, deliveries) = bounded(DELIVERIES);
        let mut following = Self { deliveries, stop, threads: Vec::new(), has_ended: false };
        for mut follower in followers {
            let (stop, out, now) = (Arc::clone(&following.stop), deliveries_in.clone(), Arc::clone(now));
            let thread = thread::Builder::new().name(format!("follow {}", follower.name()));
            let spawned = thread.spawn(move || {
                follower.run(&stop, &out, &now);
                follower
            });
            match spawned {
                Ok(spawned) => following.threads.push(spawned),
                Err(error) => {
                    // The others fail to deliver what they read, and end; nothing of it was taken.
                    following.stop();
                    return Err(error);
                }
            }
        }
        // They hold the only senders now: when they have stopped, the end of deliveries is seen.
        Ok(following)
    }

    /// No followers at all.
    pub(super) fn nothing() -> Self {
        let stop = Arc::new(Stop { server: Arc::default(), these: AtomicBool::new(false) });
        Self { deliveries: never(), stop, threads: Vec::new(), has_ended: true }
    }

    /// Where what they have seen arrives.
    pub(super) fn deliveries(&self) -> Receiver<Delivery> {
        // Without any thread there is no end to be seen.
        if self.has_ended || self.threads.is_empty() { never() } else { self.deliveries.clone() }
    }

    /// Tells them to stop; what they have read is still to be taken.
    pub(super) fn stop(&self) {
        self.stop.these.store(true, Ordering::Relaxed);
    }

    /// Whether they were told to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_set()
    }

    /// Takes note that everything they have read was taken, and no more will come.
    pub(super) fn ended(&mut self) {
        self.has_ended = true;
    }

    /// Whether that is so.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended || (self.threads.is_empty() && self.is_stopping())
    }

    /// How far each source has been read. The one of a thread that panicked is lost.
    pub(super) fn readings(&mut self) -> Vec<(String, Reading)> {
        let ended = self.threads.drain(..).filter_map(|thread| thread.join().ok());
        ended.filter_map(Follower::into_reading).collect()
    }
}
