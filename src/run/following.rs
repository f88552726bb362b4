//! Following all sources: one thread for each, from the moment that specs are in force until others are to be.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, never};

use super::follow::{self, Delivery, Reading};
use super::scrape::{Scraper, Told};
use crate::spec::FileSource;
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

    /// What another follower of the same source goes on from, beside what was delivered.
    fn into_carried(self) -> (String, Carried) {
        match self {
            Self::Files(files) => {
                let (name, reading) = files.into_reading();
                (name, Carried::Files(Box::new(reading)))
            }
            Self::Targets(targets) => (targets.name().to_owned(), Carried::Targets(targets.told())),
        }
    }
}

/// What is kept of a source while other specs come into force.
pub(super) enum Carried {
    /// How far its files were read.
    Files(Box<Reading>),
    /// What was told of its targets.
    Targets(Told),
}

impl Carried {
    /// Whether it is of files that are read as these are.
    pub(super) fn is_of(&self, file: &FileSource) -> bool {
        matches!(self, Self::Files(reading) if reading.is_of(file))
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

    /// What is kept of each source, by name. That of a thread that panicked is lost.
    pub(super) fn carried(&mut self) -> Vec<(String, Carried)> {
        let ended = self.threads.drain(..).filter_map(|thread| thread.join().ok());
        ended.map(Follower::into_carried).collect()
    }
}
