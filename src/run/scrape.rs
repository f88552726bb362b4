//! Scraping one source: its targets' pages into deliveries of counts.
//!
//! ```text
//! discovery -> targets -> fetch (at one time, a task each) -> count, one page after the other -> delivery
//! ```
//!
//! - Each target is asked at its own instant of the interval, the same after a restart, so that many are spread over
//!   it.
//! - A delivery holds counts together with what its targets are known to have counted, under the names of the targets:
//!   after a crash, the next page is compared with the last one whose counts were committed.
//! - *Heard.* A source is heard as long as all of its targets are. It was heard last when the one that has been silent
//!   for longest gave its last page: requests that only that one counted would be missing, and nobody can know. A
//!   target that is no longer listed is none, nor is one that never answered while no other did either.
//! - *Measured.* A source that is heard may not show what an SLO is made of; that is told for each (see `measured`).
//! - *Unseen.* A ratio may have no series of `bad` because nothing was, or because of a slip; that is told (see
//!   `unseen`).
//! - A source that was renamed goes on with those of its targets that are kept under a name which no spec has any more.
//! - When the owner cannot take what was counted, nothing is scraped: counters keep.
//! - Failures are told when a target begins or ceases to fail, or fails for another reason, and not more often than a
//!   person can read.

mod gaps;
mod measured;
mod plan;
mod standing;
mod state;
mod unseen;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use tokio::sync::mpsc;

use super::descriptors::Descriptors;
use super::follow::Delivery;
use super::following::Stop;
use super::read_time;
use crate::counts::{MOST_AT_ONCE, PageFault, ScrapeCounter};
use crate::engine::{self, Targets};
use crate::gate::Measurement;
use crate::increase::{NoteKind, SavedError};
use crate::intake::scrape::{Discovery, Endpoint, Fetched, Fetcher, ScrapeError, Trouble};
use crate::spec::{Catalog, ScrapeSource, SloId, SourceId};
use crate::store::Position;
use crate::time::{Stopwatch, Timestamp};
use gaps::Gaps;
use standing::Standing;
use state::Target;

/// At least so often somebody looks whether the source is to be stopped.
const GLANCE: Duration = Duration::from_millis(100);
/// Targets are looked for at least this often, in milliseconds.
const LOOK_MS: u64 = 5_000;
/// Not more often than this is told how SLOs are measured, in milliseconds, unless that is few targets times SLOs.
const MEASURED_MS: u64 = 1_000;
const FEW: usize = 1_000;
/// For how many scrapes nothing is to be seen of a ratio's part before that is told in the log.
const UNSEEN_SCRAPES: u64 = 10;
/// A target that is listed no more is remembered for so long, in case it comes back, in milliseconds.
const REMEMBER_MS: i64 = crate::increase::FORGET_AFTER_MS;

/// What was kept of a target cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("source {source_name}, target {target}: {error}")]
pub struct SavedTargetError {
    source_name: String,
    target: String,
    error: SavedError,
}

/// Scrapes one source.
pub(super) struct Scraper {
    catalog: Arc<Catalog>,
    source: SourceId,
    scrape: ScrapeSource,
    counter: ScrapeCounter,
    /// By name.
    targets: BTreeMap<String, Target>,
    standing: Standing,
    gaps: Gaps,
    /// What is to be committed with the counts, by key.
    positions: BTreeMap<Vec<u8>, Position>,
    /// What is to be committed with the first of them, of a source that this one took over.
    taken_over: Vec<Position>,
    /// When targets were looked for last with success.
    found: Option<Timestamp>,
    /// Since when the source is followed.
    began: Option<Timestamp>,
    /// How many targets may be asked at once, since each takes a file descriptor.
    most_asked: usize,
    /// When it was told how SLOs are measured, in milliseconds of the watch, and whether there were pages since.
    measured: (Option<u64>, bool),
    /// Whether there is something to deliver.
    is_news: bool,
    watch: Stopwatch,
}

/// The sources that no spec names any more and of whose targets this one lists some.
pub(super) fn formerly(
    catalog: &Catalog,
    source: SourceId,
    scrape: &ScrapeSource,
    positions: &[Position],
) -> Vec<String> {
    let counter = ScrapeCounter::new(catalog, source, scrape);
    state::formerly(catalog, &counter, scrape, positions).into_iter().map(|old| old.source).collect()
}

/// What a scraper waits for.
enum Event {
    /// A target answered, or did not.
    Answer { key: String, at: Timestamp, took_ms: u64, answer: Result<Fetched, ScrapeError> },
    /// Targets were looked for.
    Found { discovery: Box<Discovery>, endpoints: Vec<Endpoint>, troubles: Vec<Trouble> },
}

impl Scraper {
    /// A scraper that goes on where the saved positions of the source are.
    ///
    /// # Errors
    /// When they cannot be used.
    pub(super) fn new(
        catalog: &Arc<Catalog>,
        source: SourceId,
        scrape: &ScrapeSource,
        positions: &[Position],
    ) -> Result<Self, SavedTargetError> {
        let counter = ScrapeCounter::new(catalog, source, scrape);
        let name = &catalog[source].name;
        let mut targets = state::restored(&counter, name, positions)?;
        let mut taken_over = Vec::new();
        if targets.is_empty()
            && let Some(old) = state::formerly(catalog, &counter, scrape, positions).into_iter().next()
        {
            tracing::info!("source {name} goes on where {} was, which no spec names any more", old.source);
            targets = old.targets;
            // Together with the first delivery they are kept under the new name, and under the old one no longer.
            taken_over = targets.values_mut().flat_map(|target| target.save(name)).chain(old.forgotten).collect();
        }
        Ok(Self {
            catalog: Arc::clone(catalog),
            source,
            scrape: scrape.clone(),
            counter,
            targets,
            standing: Standing::new(name),
            gaps: Gaps::new(name),
            positions: BTreeMap::new(),
            taken_over,
            found: None,
            began: None,
            most_asked: usize::MAX,
            measured: (None, true),
            is_news: true,
            watch: Stopwatch::start(),
        })
    }

    /// The source.
    pub(super) fn source(&self) -> SourceId {
        self.source
    }

    /// The source's name.
    pub(super) fn name(&self) -> &str {
        &self.catalog[self.source].name
    }

    /// Goes on with what was told of its targets since the process began.
    pub(super) fn go_on_telling(&mut self, targets: &Targets) {
        self.standing.go_on(targets);
    }

    /// Scrapes until told to stop. When it returns, everything that was counted was delivered, if there still was
    /// somebody to take it.
    pub(super) fn run(&mut self, stop: &Stop, out: &Sender<Delivery>, now: &RwLock<Timestamp>) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                runtime.block_on(self.follow(stop, out, now));
                // A name that is still being resolved is not waited for.
                runtime.shutdown_background();
            }
            Err(error) => tracing::error!(source = self.name(), "nothing is scraped: no runtime can be had: {error}"),
        }
    }

    async fn follow(&mut self, stop: &Stop, out: &Sender<Delivery>, now: &RwLock<Timestamp>) {
        let (events_in, mut events) = mpsc::unbounded_channel();
        let mut fetcher = Fetching::new(&self.scrape);
        let mut discovery = Some(Box::new(Discovery::new(&self.scrape)));
        let (mut waiting, mut next_look_ms) = (None, 0);
        self.began = Some(read_time(now));
        self.most_asked = Descriptors::of_process().logs(self.catalog.sources.len());
        loop {
            let at = read_time(now);
            if waiting.is_none() && self.is_news {
                waiting = Some(self.delivery(at));
            }
            if let Some(delivery) = waiting.take() {
                match out.try_send(delivery) {
                    Ok(()) => {}
                    Err(TrySendError::Full(delivery)) => waiting = Some(delivery),
                    Err(TrySendError::Disconnected(_)) => return,
                }
            }
            if stop.is_set() {
                break;
            }
            let elapsed_ms = self.watch.elapsed_ms();
            if let Some(discovery) = discovery.take_if(|_| next_look_ms <= elapsed_ms) {
                next_look_ms = elapsed_ms + self.scrape.interval_ms.min(LOOK_MS);
                tokio::spawn(look(discovery, events_in.clone()));
            }
            if waiting.is_none() {
                self.ask_those_due(&mut fetcher, at, &events_in);
            }
            let mut next = tokio::time::timeout(self.until_next(), events.recv()).await.ok().flatten();
            while let Some(event) = next {
                self.take(event, &mut discovery, read_time(now));
                next = events.try_recv().ok();
            }
            self.is_news |= self.gaps.release(self.watch.elapsed_ms()) || self.is_to_tell_measured();
        }
        self.is_news |= self.gaps.release_all();
        let last = self.is_news.then(|| self.delivery(read_time(now)));
        // Without an owner, nobody commits anything of it.
        waiting.into_iter().chain(last).for_each(|delivery| drop(out.send(delivery)));
    }

    /// Everything that was counted since the last one.
    fn delivery(&mut self, at: Timestamp) -> Delivery {
        self.is_news = false;
        let measured = match self.is_to_tell_measured() {
            true => {
                self.measured = (Some(self.watch.elapsed_ms()), false);
                self.look_for_parts();
                self.measurements(at)
            }
            false => Vec::new(),
        };
        Delivery {
            measured,
            batch: self.counter.take(self.heard()),
            positions: self.taken_over.drain(..).chain(std::mem::take(&mut self.positions).into_values()).collect(),
            gaps: self.gaps.take(),
            reading: engine::Reading { bytes_behind: 0, behind_since: at, is_conserved: true, unreadable: None },
            source: self.source,
            targets: Some(Arc::new(self.standing.targets())),
        }
    }

    /// How the SLOs of the source are measured.
    pub(super) fn measurements(&self, now: Timestamp) -> Vec<(SloId, Measurement)> {
        let listed = self.listed();
        let error = |key: &str| self.standing.error(key);
        measured::measurements(&self.catalog, &self.counter, &listed, error, self.began.unwrap_or(now))
    }

    /// Takes note of ratios of whose parts nothing is to be seen.
    fn look_for_parts(&mut self) {
        let found = unseen::unseen(&self.catalog, &self.counter, &self.listed());
        let (now_ms, patience_ms) = (self.watch.elapsed_ms(), UNSEEN_SCRAPES * self.scrape.interval_ms);
        self.standing.unseen(&self.catalog, found, now_ms, patience_ms);
    }

    fn listed(&self) -> Vec<&Target> {
        self.targets.values().filter(|target| target.is_listed).collect()
    }

    /// Whether that is to be told anew: not for every page when there are many targets and SLOs.
    fn is_to_tell_measured(&self) -> bool {
        let (told_ms, is_news) = self.measured;
        let is_quick = self.targets.len() * self.counter.slos().count() <= FEW;
        is_news && (is_quick || told_ms.is_none_or(|told_ms| self.watch.elapsed_ms() - told_ms >= MEASURED_MS))
    }

    /// Up to when all targets have been heard; `None` when none ever was.
    fn heard(&self) -> Option<Timestamp> {
        let listed = || self.targets.values().filter(|target| target.is_listed);
        let page = |target: &Target| target.counted.health().last_page();
        listed().find_map(page)?;
        listed().map(|target| page(target).unwrap_or(target.listed)).min()
    }

    /// How many more targets may be asked now.
    fn room(&self) -> usize {
        self.most_asked.saturating_sub(self.targets.values().filter(|target| target.is_asked).count())
    }

    /// How long there is nothing to do but wait.
    fn until_next(&self) -> Duration {
        if self.room() == 0 {
            // An answer is waited for, and ends the wait.
            return GLANCE;
        }
        let asked = self.targets.values().filter(|target| target.is_listed && !target.is_asked);
        let elapsed_ms = self.watch.elapsed_ms();
        let next_ms = asked.map(|target| target.due_ms.saturating_sub(elapsed_ms)).min();
        next_ms.map_or(GLANCE, |next_ms| Duration::from_millis(next_ms.max(1)).min(GLANCE))
    }

    fn ask_those_due(&mut self, fetching: &mut Fetching, at: Timestamp, events: &mpsc::UnboundedSender<Event>) {
        let elapsed_ms = self.watch.elapsed_ms();
        let is_due = |target: &&mut Target| target.is_listed && !target.is_asked && target.due_ms <= elapsed_ms;
        let room = self.room();
        let mut due: Vec<&mut Target> = self.targets.values_mut().filter(is_due).collect();
        // Where not all can be asked at once, those come first that have been waiting longest.
        due.sort_by_key(|target| target.due_ms);
        for target in due.into_iter().take(room) {
            target.is_asked = true;
            target.due_ms = elapsed_ms + plan::until_next_ms(&target.endpoint.key, self.scrape.interval_ms, at);
            let (fetcher, endpoint) = (fetching.fetcher(elapsed_ms), target.endpoint.clone());
            tokio::spawn(ask(fetcher, endpoint, at, events.clone()));
        }
    }

    fn take(&mut self, event: Event, discovery: &mut Option<Box<Discovery>>, at: Timestamp) {
        match event {
            Event::Answer { key, at, took_ms, answer } => self.take_answer(&key, at, took_ms, answer),
            Event::Found { discovery: back, endpoints, troubles } => {
                *discovery = Some(back);
                self.take_found(endpoints, troubles, at);
            }
        }
    }

    /// Counts a page, or takes note that there is none.
    fn take_answer(&mut self, key: &str, at: Timestamp, took_ms: u64, answer: Result<Fetched, ScrapeError>) {
        let Some(target) = self.targets.get_mut(key) else { return };
        target.is_asked = false;
        let (before, last_page) = (target.counted.health().state(), target.counted.health().last_page());
        let size = answer.as_ref().map_or(0, |fetched| fetched.page.len());
        let counted = answer.and_then(|fetched| {
            let page = (&*fetched.page, fetched.format, fetched.end);
            self.counter.count(&mut target.counted, page, at).map_err(|fault| match fault {
                PageFault::Page(error) => ScrapeError::Page(error),
                PageFault::Refused(refused) => ScrapeError::Refused(refused),
            })
        });
        let (scraped, mut error) = match counted {
            Ok(scraped) => (scraped, None),
            Err(error) => (self.counter.fail(&mut target.counted, at), Some(error)),
        };
        for slo in &scraped.implausible {
            let name = format!("{}/{}", self.catalog.story_of(*slo).name, self.catalog[*slo].name);
            error = error.or(Some(ScrapeError::Implausible(name, MOST_AT_ONCE)));
            self.gaps.add("implausible", last_page.unwrap_or(at), at);
        }
        let was_down = matches!(before, Some((false, _)));
        for (_, note) in &scraped.notes {
            match note.kind {
                // The page on which a target is seen to answer again is the first one since then.
                NoteKind::Unobserved if was_down => self.gaps.add("target_down", note.from, note.to),
                _ => self.gaps.add_note(note),
            }
        }
        self.standing.scraped(target, at, took_ms, size as u64, &scraped, error.as_ref());
        self.standing.say(&self.catalog, key, &scraped, error.as_ref(), self.watch.elapsed_ms());
        for position in target.save(&self.catalog[self.source].name) {
            self.positions.insert(position.key.clone(), position);
        }
        (self.is_news, self.measured.1) = (true, true);
    }

    /// Takes over which targets there are. While some cannot be looked for, those that were there stay.
    fn take_found(&mut self, endpoints: Vec<Endpoint>, troubles: Vec<Trouble>, at: Timestamp) {
        let is_whole = !troubles.iter().any(|trouble| trouble.is_partial);
        self.is_news |= self.standing.troubled(troubles);
        let known_since = self.found.unwrap_or(at);
        let mut missing: Vec<String> = self.targets.keys().cloned().collect();
        for endpoint in endpoints {
            if let Ok(place) = missing.binary_search(&endpoint.key) {
                missing.remove(place);
            }
            self.list(endpoint, known_since, at);
        }
        if !is_whole {
            return;
        }
        self.found = Some(at);
        self.measured.1 |= !missing.is_empty();
        for key in missing {
            self.unlist(&key, at);
        }
    }

    fn list(&mut self, endpoint: Endpoint, known_since: Timestamp, at: Timestamp) {
        let first_ms = self.watch.elapsed_ms() + plan::until_first_ms(&endpoint.key, self.scrape.interval_ms);
        match self.targets.get_mut(&endpoint.key) {
            Some(target) if target.is_listed && target.due_ms > 0 => target.endpoint = endpoint,
            Some(target) => {
                if !target.is_listed {
                    (target.is_listed, target.listed) = (true, at);
                }
                (target.endpoint, target.due_ms, self.is_news) = (endpoint, first_ms, true);
                self.standing.listed(target);
            }
            None => {
                let mut target = Target::new(endpoint, self.counter.target(known_since), at);
                target.due_ms = first_ms;
                self.standing.listed(&target);
                self.is_news = true;
                self.targets.insert(target.endpoint.key.clone(), target);
            }
        }
    }

    /// A target is listed no more. It is remembered for a while, in case it comes back.
    fn unlist(&mut self, key: &str, at: Timestamp) {
        let Some(target) = self.targets.get_mut(key) else { return };
        let name = &self.catalog[self.source].name;
        let last_page = target.counted.health().last_page();
        if target.is_listed {
            target.is_listed = false;
            self.standing.unlisted(key);
            if let Some(last_page) = last_page {
                self.gaps.add("target_gone", last_page, at);
            }
            for position in target.save(name) {
                self.positions.insert(position.key.clone(), position);
            }
            self.is_news = true;
        }
        if last_page.is_none_or(|page| at.millis().saturating_sub(page.millis()) > REMEMBER_MS) && !target.is_asked {
            for position in state::forgotten(name, key) {
                self.positions.insert(position.key.clone(), position);
            }
            self.targets.remove(key);
            self.is_news = true;
        }
    }
}

/// The fetcher, with a token that is read again now and then.
struct Fetching {
    fetcher: Arc<Fetcher>,
    /// When the token was read, in milliseconds of the watch.
    read_ms: Option<u64>,
    scrape: ScrapeSource,
}

impl Fetching {
    fn new(scrape: &ScrapeSource) -> Self {
        Self { fetcher: Arc::new(Fetcher::new(scrape)), read_ms: None, scrape: scrape.clone() }
    }

    /// What a target is to be asked by.
    fn fetcher(&mut self, elapsed_ms: u64) -> Result<Arc<Fetcher>, ScrapeError> {
        if self.read_ms.is_none_or(|read_ms| elapsed_ms - read_ms >= LOOK_MS) {
            let mut fresh = Fetcher::new(&self.scrape);
            fresh.read_token()?;
            (self.fetcher, self.read_ms) = (Arc::new(fresh), Some(elapsed_ms));
        }
        Ok(Arc::clone(&self.fetcher))
    }
}

async fn ask(
    fetcher: Result<Arc<Fetcher>, ScrapeError>,
    endpoint: Endpoint,
    at: Timestamp,
    events: mpsc::UnboundedSender<Event>,
) {
    let watch = Stopwatch::start();
    let answer = match fetcher {
        Ok(fetcher) => fetcher.fetch(&endpoint).await,
        Err(error) => Err(error),
    };
    // Nobody listens any more when the source is no longer followed.
    let _ = events.send(Event::Answer { key: endpoint.key, at, took_ms: watch.elapsed_ms(), answer });
}

async fn look(mut discovery: Box<Discovery>, events: mpsc::UnboundedSender<Event>) {
    let mut troubles = if discovery.resolves() { discovery.resolve().await } else { Vec::new() };
    let (endpoints, more) = discovery.look();
    troubles.extend(more);
    let _ = events.send(Event::Found { discovery, endpoints, troubles });
}
