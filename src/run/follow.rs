//! Following one source: its files into deliveries of counts.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::following::Stop;
use super::read_time;
use crate::classify::Classifier;
use crate::counts::{Batch, Bounds, Counter};
use crate::engine::AHEAD_MS;
use crate::formats::Technique;
use crate::intake::Piece;
use crate::intake::tail::{self, Gap, Log, Note, Progress, SavedError, SavedPosition, Sink, Tail, TailOptions};
use crate::spec::{Catalog, FileSource, SourceId, SourceKind};
use crate::store::Position;
use crate::time::{Stopwatch, Timestamp};

/// How long to wait when there was nothing to read.
const POLL: Duration = Duration::from_millis(200);

/// Follows the files of one source.
pub(super) struct Follower {
    catalog: Arc<Catalog>,
    source: SourceId,
    classifier: Classifier,
    reading: Reading,
}

/// How far the files of a source have been read. It outlives its follower, so that nothing that is open has to be found
/// again only because the specs were reloaded.
pub(super) struct Reading {
    file: FileSource,
    tail: Tail,
    /// The time of the tail.
    watch: Stopwatch,
    /// The revision of the tail that was delivered last.
    sent: u64,
    /// Positions that this reading took over, to be taken out when it has saved its own.
    taken_over: Vec<Position>,
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
    /// When it was made, on the clock that the gaps are told by.
    pub(super) elapsed_ms: u64,
}

impl Follower {
    /// A follower that reads on and counts by `classifier`, which is that of the source in the catalog.
    pub(super) fn new(catalog: Arc<Catalog>, source: SourceId, classifier: Classifier, reading: Reading) -> Self {
        Self { catalog, source, classifier, reading }
    }

    /// The source's name.
    pub(super) fn name(&self) -> &str {
        &self.catalog[self.source].name
    }

    /// How far it has read.
    pub(super) fn into_reading(self) -> (String, Reading) {
        (self.name().to_owned(), self.reading)
    }

    /// Follows until told to stop. It looks at its files at least once, and tells what it found even when that is
    /// nothing; when it returns, everything that it has read was delivered, if there still was somebody to take it.
    pub(super) fn run(&mut self, stop: &Stop, out: &Sender<Delivery>, now: &RwLock<Timestamp>) {
        let Self { catalog, source, classifier, reading } = self;
        let name = &catalog[*source].name;
        let mut counter = Counter::new(catalog, *source, classifier, Technique::fastest());
        let mut is_first = true;
        loop {
            counter.set_bounds(bounds(catalog, read_time(now)));
            let mut sink = Counting { counter: &mut counter, gaps: Vec::new(), source: name };
            let progress = reading.tail.poll(reading.watch.elapsed_ms(), &mut sink);
            let gaps = sink.gaps;
            let changes = reading.tail.changes(reading.sent);
            let is_news = is_first || !changes.put.is_empty() || !changes.removed.is_empty() || !gaps.is_empty();
            if is_news || progress.bytes_read > 0 {
                (is_first, reading.sent) = (false, changes.revision);
                let mut positions = positions(name, &changes);
                positions.append(&mut reading.taken_over);
                // The owner commits deliveries in order, or keeps them until it can.
                reading.tail.committed(reading.sent);
                let batch = counter.take();
                let elapsed_ms = reading.watch.elapsed_ms();
                if out.send(Delivery { batch, positions, gaps, progress, source: *source, elapsed_ms }).is_err() {
                    return;
                }
            }
            if stop.is_set() {
                return;
            }
            if !progress.has_more() {
                thread::sleep(POLL);
            }
        }
    }
}

impl Reading {
    /// Begins where a source was read up to, by its saved positions. One that has none takes over those of a source
    /// that no spec names any more, if its files are among them: it was renamed, and to read them again would be to
    /// count them twice.
    ///
    /// # Errors
    /// When they cannot be understood.
    pub(super) fn new(catalog: &Catalog, source: SourceId, saved: &[Position]) -> Result<Self, SavedError> {
        let (name, file) = (&catalog[source].name, file_of(catalog, source));
        let mut positions = saved_of(name, saved);
        let mut taken_over = Vec::new();
        if positions.is_empty() {
            let nameless: BTreeSet<&String> = saved.iter().map(|position| &position.source).collect();
            let mut nameless = nameless.into_iter().filter(|name| catalog.source_named(name).is_none());
            if let Some(old) = nameless.find(|old| tail::are_about(&saved_of(old, saved), &file.paths)) {
                tracing::info!(
                    "source {name} goes on where {old} was, which no spec names any more and read its files"
                );
                positions = saved_of(old, saved);
                let of_old = saved.iter().filter(|position| position.source == *old);
                taken_over = of_old.map(|position| Position { at: None, ..position.clone() }).collect();
            }
        }
        let tail = Tail::new(TailOptions::new(file), &positions)?;
        Ok(Self { file: file.clone(), tail, watch: Stopwatch::start(), sent: 0, taken_over })
    }

    /// Whether it is how `file` is to be read. The format has no part in that.
    pub(super) fn is_of(&self, file: &FileSource) -> bool {
        FileSource { format: file.format.clone(), ..self.file.clone() } == *file
    }
}

/// The saved positions of the source called `name`.
fn saved_of(name: &str, saved: &[Position]) -> Vec<SavedPosition> {
    let of_source = saved.iter().filter(|position| position.source == *name);
    let known = of_source.filter_map(|position| {
        let key = String::from_utf8(position.key.clone()).ok()?;
        Some(SavedPosition { key, value: position.at.clone()? })
    });
    known.collect()
}

/// What the source is read from.
pub(super) fn file_of(catalog: &Catalog, source: SourceId) -> &FileSource {
    let SourceKind::File(file) = &catalog[source].kind;
    file
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
