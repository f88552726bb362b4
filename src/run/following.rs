//! Following all sources: one thread for each, from the moment that specs are in force until others are to be.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, never};

use super::follow::{self, Delivery, Reading};
use super::scrape::Scraper;
use crate::engine::Engine;
use crate::gate::Measurement;
use crate::spec::{SloId, SourceId};
use crate::time::Timestamp;

/// How many deliveries of counts may wait for the owner.
pub(super) const DELIVERIES: usize = 4;

/// When a follower is to stop.
pub(super) struct Stop {
    /// The whole server stops.
    server: Arc<AtomicBool>,
    /// All followers of its catalog do.
    these: Arc<AtomicBool>,
    /// Only it does.
    own: AtomicBool,
}

impl Stop {
    /// Whether that is now.
    pub(super) fn is_set(&self) -> bool {
        [&*self.server, &self.these, &self.own].iter().any(|stop| stop.load(Ordering::Relaxed))
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

    /// Which one.
    fn source(&self) -> SourceId {
        match self {
            Self::Files(files) => files.source(),
            Self::Targets(targets) => targets.source(),
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

    /// Goes on with what an engine was told of the targets of its source last.
    pub(super) fn go_on_telling(&mut self, engine: &Engine) {
        let targets = engine.targets(self.source());
        if let (Self::Targets(scraper), Some(targets)) = (self, targets) {
            scraper.go_on_telling(targets);
        }
    }

    /// What another follower of the same source goes on from, beside what was delivered, and its name.
    fn into_carried(self) -> Option<(String, Reading)> {
        match self {
            Self::Files(files) => Some(files.into_reading()),
            Self::Targets(_) => None,
        }
    }
}

/// The followers of every source of one catalog.
pub(super) struct Following {
    deliveries: Receiver<Delivery>,
    /// For those who are yet to begin; none when they are to stop, so that the end of deliveries is seen.
    deliver: Option<Sender<Delivery>>,
    server: Arc<AtomicBool>,
    these: Arc<AtomicBool>,
    now: Arc<RwLock<Timestamp>>,
    running: Vec<Running>,
    /// Those who have stopped before the others.
    done: Vec<Follower>,
    has_ended: bool,
}

/// A follower at work.
struct Running {
    source: SourceId,
    stop: Arc<Stop>,
    thread: JoinHandle<Follower>,
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
        let (deliver, deliveries) = bounded(DELIVERIES);
        let (server, now) = (Arc::clone(server), Arc::clone(now));
        let mut following = Self { deliver: Some(deliver), server, now, ..Self::with(deliveries) };
        for follower in followers {
            if let Err(error) = following.add(follower) {
                // The others fail to deliver what they read, and end; nothing of it was taken.
                following.stop();
                return Err(error);
            }
        }
        Ok(following)
    }

    /// No followers at all.
    pub(super) fn nothing() -> Self {
        Self { has_ended: true, ..Self::with(never()) }
    }

    fn with(deliveries: Receiver<Delivery>) -> Self {
        Self {
            deliveries,
            deliver: None,
            server: Arc::default(),
            these: Arc::default(),
            now: Arc::new(RwLock::new(Timestamp::from_millis(0))),
            running: Vec::new(),
            done: Vec::new(),
            has_ended: false,
        }
    }

    /// Starts one more; after they were told to stop, nothing.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(super) fn add(&mut self, mut follower: Follower) -> io::Result<()> {
        let Some(out) = self.deliver.clone() else { return Ok(()) };
        let (server, these) = (Arc::clone(&self.server), Arc::clone(&self.these));
        let stop = Arc::new(Stop { server, these, own: AtomicBool::new(false) });
        let (told, now, source) = (Arc::clone(&stop), Arc::clone(&self.now), follower.source());
        let thread = thread::Builder::new().name(format!("follow {}", follower.name()));
        let thread = thread.spawn(move || {
            follower.run(&told, &out, &now);
            follower
        })?;
        self.running.push(Running { source, stop, thread });
        Ok(())
    }

    /// Where what they have seen arrives.
    pub(super) fn deliveries(&self) -> Receiver<Delivery> {
        // Without any thread there is no end to be seen.
        if self.has_ended || self.is_empty() { never() } else { self.deliveries.clone() }
    }

    fn is_empty(&self) -> bool {
        self.running.is_empty() && self.done.is_empty()
    }

    /// Tells them to stop; what they have read is still to be taken.
    pub(super) fn stop(&mut self) {
        self.these.store(true, Ordering::Relaxed);
        self.deliver = None;
    }

    /// Tells the one of a source to stop.
    pub(super) fn stop_one(&self, source: SourceId) {
        let these = self.running.iter().filter(|running| running.source == source);
        these.for_each(|running| running.stop.own.store(true, Ordering::Relaxed));
    }

    /// Whether they were told to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.these.load(Ordering::Relaxed) || self.server.load(Ordering::Relaxed)
    }

    /// The sources of those who panicked since the last time, and what they said. All that they delivered has arrived.
    pub(super) fn fallen(&mut self) -> Vec<(SourceId, String)> {
        let mut fallen = Vec::new();
        let (ended, running) = self.running.drain(..).partition(|running| running.thread.is_finished());
        self.running = running;
        for Running { source, thread, .. } in ended {
            match thread.join() {
                Ok(follower) => self.done.push(follower),
                Err(payload) => fallen.push((source, said(&*payload))),
            }
        }
        fallen
    }

    /// What has arrived by now.
    pub(super) fn arrived(&self) -> Vec<Delivery> {
        self.deliveries.try_iter().collect()
    }

    /// How many of them are at work.
    #[cfg(test)]
    pub(super) fn at_work(&self) -> usize {
        self.running.iter().filter(|running| !running.thread.is_finished()).count()
    }

    /// Takes note that everything they have read was taken, and no more will come.
    pub(super) fn ended(&mut self) {
        self.has_ended = true;
    }

    /// Whether that is so.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended || (self.is_empty() && self.is_stopping())
    }

    /// How far the files of each source were read, by name. That of a thread that panicked is lost.
    pub(super) fn carried(&mut self) -> Vec<(String, Reading)> {
        let ended = self.running.drain(..).filter_map(|running| running.thread.join().ok());
        self.done.drain(..).chain(ended).filter_map(Follower::into_carried).collect()
    }
}

/// What a thread said when it panicked.
fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("it did not say why").to_owned()
}
