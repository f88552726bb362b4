//! Following one source: its files into deliveries of counts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::{StartError, read_time};
use crate::classify::Classifier;
use crate::counts::{Batch, Bounds, Counter};
use crate::engine::{AHEAD_MS, Gap, Reading};
use crate::formats::Technique;
use crate::intake::Piece;
use crate::intake::tail::{self, Log, Note, Progress, SavedPosition, Sink, Tail, TailOptions};
use crate::spec::{Catalog, SourceId};
use crate::store::Position;
use crate::time::{Stopwatch, Timestamp};

/// Under this key a source keeps when everything in it had been read, in milliseconds: what is missing is not older.
const READ_UP_TO: &str = "read_up_to";
/// How long to wait when there was nothing to read.
const POLL: Duration = Duration::from_millis(200);

/// Follows the files of one source.
pub(super) struct Follower {
    catalog: Arc<Catalog>,
    source: SourceId,
    classifier: Classifier,
    tail: Tail,
    /// When everything had been read, as far as earlier processes know.
    read_up_to: Option<Timestamp>,
}

/// What a source has seen, and how far that was: to be committed together.
pub(super) struct Delivery {
    /// The counts.
    pub(super) batch: Batch,
    /// How far they go.
    pub(super) positions: Vec<Position>,
    /// What is missing; each ends when it was found.
    pub(super) gaps: Vec<Gap>,
    /// How far the reading has come.
    pub(super) reading: Reading,
    /// Of which source.
    pub(super) source: SourceId,
}

impl Follower {
    /// A follower that goes on at the saved positions.
    pub(super) fn new(catalog: Arc<Catalog>, source: SourceId, saved: &[Position]) -> Result<Self, StartError> {
        let file = catalog[source].kind.file().expect("only access logs are followed");
        let name = &catalog[source].name;
        let of_source = saved.iter().filter(|position| position.source == *name);
        let saved = of_source.filter_map(|position| {
            let key = String::from_utf8(position.key.clone()).ok()?;
            Some(SavedPosition { key, value: position.at.clone()? })
        });
        let (about, saved): (Vec<_>, Vec<_>) = saved.partition(|position| position.key == READ_UP_TO);
        let read_up_to = about.first().and_then(|position| instant(&position.value));
        let tail = Tail::new(TailOptions::new(file), &saved)?;
        let classifier = Classifier::new(&catalog, source);
        let patterns = |source| StartError::Patterns { directory: PathBuf::from(&catalog.directory), source };
        Ok(Self { classifier: classifier.map_err(patterns)?, catalog, source, tail, read_up_to })
    }

    /// The source's name.
    pub(super) fn name(&self) -> &str {
        &self.catalog[self.source].name
    }

    /// Follows until told to stop.
    pub(super) fn run(mut self, stop: &AtomicBool, out: &Sender<Delivery>, now: &RwLock<Timestamp>) {
        let catalog = Arc::clone(&self.catalog);
        let mut counter = Counter::new(&catalog, self.source, &self.classifier, Technique::fastest());
        let watch = Stopwatch::start();
        let mut sent = 0;
        let mut told = None;
        while !stop.load(Ordering::Relaxed) {
            // Not later than what is read now, so that everything older has been read when nothing is left.
            let at = read_time(now);
            counter.set_bounds(bounds(&catalog, at));
            let mut sink = Counting { counter: &mut counter, gaps: Vec::new(), source: &catalog[self.source].name };
            let progress = self.tail.poll(watch.elapsed_ms(), &mut sink);
            let gaps: Vec<Gap> = sink.gaps.iter().map(|gap| self.gap(gap, at, watch.elapsed_ms())).collect();
            let changes = self.tail.changes(sent);
            let is_news = sent == 0 || !changes.put.is_empty() || !changes.removed.is_empty() || !gaps.is_empty();
            let state = Some((progress.bytes_behind > 0, progress.corrupt > 0));
            if is_news || progress.bytes_read > 0 || state != told {
                (sent, told) = (changes.revision, state);
                let mut positions = positions(&catalog[self.source].name, &changes);
                if progress.bytes_behind == 0 && progress.unreadable == 0 {
                    positions.push(self.read_up_to(at));
                }
                // The owner commits deliveries in order, or keeps them until it can.
                self.tail.committed(sent);
                let (batch, reading, source) = (counter.take(), reading(&progress, at), self.source);
                if out.send(Delivery { batch, positions, gaps, reading, source }).is_err() {
                    return;
                }
            }
            if !progress.has_more() {
                thread::sleep(POLL);
            }
        }
    }
}

impl Follower {
    /// A gap that was found at `at`, which is `elapsed_ms` on the clock of the tail.
    fn gap(&self, gap: &tail::Gap, at: Timestamp, elapsed_ms: u64) -> Gap {
        let ago = |since_ms| i64::try_from(elapsed_ms.saturating_sub(since_ms)).unwrap_or(i64::MAX);
        let in_this_process = gap.since_ms.map(|since_ms| at.plus_millis(ago(since_ms).saturating_neg()));
        let oldest = self.catalog.longest_window().first_minute(at.minute()).start();
        Gap {
            source: self.name().to_owned(),
            from: in_this_process.or(self.read_up_to).unwrap_or(oldest).min(at),
            to: at,
            bytes: gap.bytes,
            reason: gap.reason.name().to_owned(),
        }
    }

    /// For the next process: everything written before `at` has been read.
    fn read_up_to(&self, at: Timestamp) -> Position {
        let text = at.millis().to_string();
        Position { source: self.name().to_owned(), key: READ_UP_TO.into(), at: Some(text.into()) }
    }
}

fn instant(text: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(text).ok()?.parse().ok().map(Timestamp::from_millis)
}

fn reading(progress: &Progress, at: Timestamp) -> Reading {
    let behind_ms = i64::try_from(progress.behind_ms).unwrap_or(i64::MAX);
    Reading {
        bytes_behind: progress.bytes_behind,
        behind_since: at.plus_millis(behind_ms.saturating_neg()),
        is_conserved: progress.corrupt == 0,
    }
}

fn bounds(catalog: &Catalog, now: Timestamp) -> Bounds {
    Bounds { earliest: catalog.longest_window().first_minute(now.minute()), latest: now.plus_millis(AHEAD_MS) }
}

fn positions(source: &str, changes: &tail::Changes) -> Vec<Position> {
    let position = |key: &str, at: Option<Vec<u8>>| Position { source: source.to_owned(), key: key.into(), at };
    let removed = changes.removed.iter().map(|key| position(key, None));
    let put = changes.put.iter().map(|saved| position(&saved.key, Some(saved.value.clone())));
    removed.chain(put).collect()
}

/// Counts what is yielded, and tells of what there is to know.
struct Counting<'a, 'c> {
    counter: &'a mut Counter<'c>,
    gaps: Vec<tail::Gap>,
    source: &'a str,
}

impl Sink for Counting<'_, '_> {
    fn piece(&mut self, _log: Log<'_>, piece: Piece<'_>) {
        match piece {
            Piece::Lines(lines) => self.counter.count(lines),
            Piece::Unfinished(line) => self.counter.count_unfinished(line),
            Piece::Oversize(beginning) => self.counter.count_oversize(beginning),
        }
    }

    fn gap(&mut self, gap: tail::Gap) {
        tracing::warn!(source = self.source, reason = gap.reason.name(), bytes = gap.bytes, "gap: {gap}");
        self.gaps.push(gap);
    }

    fn note(&mut self, note: Note) {
        let (path, kind) = (note.path.display(), note.kind.name());
        match note.kind.is_warning() {
            true => tracing::warn!(source = self.source, %path, kind, "{note}"),
            false => tracing::info!(source = self.source, %path, kind, "{note}"),
        }
    }
}
