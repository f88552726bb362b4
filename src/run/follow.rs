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
use crate::spec::{Catalog, SourceId, SourceKind};
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

/// A follower at work.
pub(super) struct Following<'f> {
    catalog: &'f Catalog,
    source: SourceId,
    counter: Counter<'f>,
    tail: &'f mut Tail,
    /// The revision of the tail that was delivered last.
    sent: u64,
}

/// What one look at the files came to.
pub(super) struct Polled {
    /// What is new, if anything is.
    pub(super) delivery: Option<Delivery>,
    /// Whether the next look should follow at once.
    pub(super) has_more: bool,
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
        let SourceKind::File(file) = &catalog[source].kind;
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
        let watch = Stopwatch::start();
        let mut following = self.begin();
        while !stop.load(Ordering::Relaxed) {
            let Polled { delivery, has_more } = following.poll(read_time(now), watch.elapsed_ms());
            if delivery.is_some_and(|delivery| out.send(delivery).is_err()) {
                return;
            }
            if !has_more {
                thread::sleep(POLL);
            }
        }
    }

    /// Begins to follow.
    pub(super) fn begin(&mut self) -> Following<'_> {
        let Self { catalog, source, classifier, tail } = self;
        let counter = Counter::new(catalog, *source, classifier, Technique::fastest());
        Following { catalog, source: *source, counter, tail, sent: 0 }
    }
}

impl Following<'_> {
    /// Looks at the files once. `now` is what time the owner has it; `elapsed_ms` is on a clock that never goes back.
    pub(super) fn poll(&mut self, now: Timestamp, elapsed_ms: u64) -> Polled {
        let name = &self.catalog[self.source].name;
        self.counter.set_bounds(bounds(self.catalog, now));
        let mut sink = Counting { counter: &mut self.counter, gaps: Vec::new(), source: name };
        let progress = self.tail.poll(elapsed_ms, &mut sink);
        let gaps = sink.gaps;
        let changes = self.tail.changes(self.sent);
        let is_news = self.sent == 0 || !changes.put.is_empty() || !changes.removed.is_empty() || !gaps.is_empty();
        let delivery = (is_news || progress.bytes_read > 0).then(|| {
            self.sent = changes.revision;
            // The owner commits deliveries in order, or keeps them until it can.
            self.tail.committed(self.sent);
            let positions = positions(name, &changes);
            Delivery { batch: self.counter.take(), positions, gaps, progress, source: self.source }
        });
        Polled { delivery, has_more: progress.has_more() }
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
