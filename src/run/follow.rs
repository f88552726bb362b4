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
use crate::engine::AHEAD_MS;
use crate::formats::Technique;
use crate::intake::Piece;
use crate::intake::tail::{self, Gap, Log, Note, Progress, SavedPosition, Sink, Tail, TailOptions};
use crate::spec::{Catalog, SourceId};
use crate::store::Position;
use crate::time::{Stopwatch, Timestamp};

/// How long to wait when there was nothing to read.
const POLL: Duration = Duration::from_millis(200);

/// Follows the files of one source.
pub(super) struct Follower {
    catalog: Arc<Catalog>,
    source: SourceId,
    classifier: Classifier,
    tail: Tail,
}

/// What a source has seen, and how far that was: to be committed together.
pub(super) struct Delivery {
    /// The counts.
    pub(super) batch: Batch,
    /// How far they go.
    pub(super) positions: Vec<Position>,
    /// What is missing.
    pub(super) gaps: Vec<Gap>,
    /// Whether everything that was there has been read.
    pub(super) progress: Progress,
    /// Of which source.
    pub(super) source: SourceId,
}

impl Follower {
    /// A follower that goes on at the saved positions.
    pub(super) fn new(catalog: Arc<Catalog>, source: SourceId, saved: &[Position]) -> Result<Self, StartError> {
        let file = catalog[source].kind.file().expect("only access logs are followed");
        let name = &catalog[source].name;
        let of_source = saved.iter().filter(|position| position.source == *name);
        let saved: Vec<SavedPosition> = of_source
            .filter_map(|position| {
                let key = String::from_utf8(position.key.clone()).ok()?;
                Some(SavedPosition { key, value: position.at.clone()? })
            })
            .collect();
        let tail = Tail::new(TailOptions::new(file), &saved)?;
        let classifier = Classifier::new(&catalog, source);
        let patterns = |source| StartError::Patterns { directory: PathBuf::from(&catalog.directory), source };
        Ok(Self { classifier: classifier.map_err(patterns)?, catalog, source, tail })
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
        while !stop.load(Ordering::Relaxed) {
            counter.set_bounds(bounds(&catalog, read_time(now)));
            let mut sink = Counting { counter: &mut counter, gaps: Vec::new(), source: &catalog[self.source].name };
            let progress = self.tail.poll(watch.elapsed_ms(), &mut sink);
            let gaps = sink.gaps;
            let changes = self.tail.changes(sent);
            let is_news = sent == 0 || !changes.put.is_empty() || !changes.removed.is_empty() || !gaps.is_empty();
            if is_news || progress.bytes_read > 0 {
                sent = changes.revision;
                let positions = positions(&catalog[self.source].name, &changes);
                // The owner commits deliveries in order, or keeps them until it can.
                self.tail.committed(sent);
                let batch = counter.take();
                if out.send(Delivery { batch, positions, gaps, progress, source: self.source }).is_err() {
                    return;
                }
            }
            if !progress.has_more() {
                thread::sleep(POLL);
            }
        }
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
    gaps: Vec<Gap>,
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

    fn gap(&mut self, gap: Gap) {
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
