//! Following one source: its files into deliveries of counts.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::descriptors::Descriptors;
use super::following::Stop;
use super::refused::{Refused, Why};
use super::{kept_for, read_time};
use crate::classify::Classifier;
use crate::counts::{Batch, Bounds, Counter, Rejection};
use crate::engine::{self, AHEAD_MS, Gap, Targets};
use crate::formats::Technique;
use crate::gate::{Measurement, Unreadable};
use crate::intake::Piece;
use crate::intake::tail::{self, Log, MOST_OPEN, Note, Progress, SavedError, SavedPosition, Sink, Tail, TailOptions};
use crate::spec::{Catalog, FileSource, SloId, SourceId};
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
    reading: Reading,
}

/// How far the files of a source have been read. It outlives its follower, so that nothing that is open has to be found
/// again only because the specs were reloaded.
pub(super) struct Reading {
    file: FileSource,
    tail: Tail,
    /// When everything had been read, as far as earlier processes know.
    read_up_to: Option<Timestamp>,
    /// The time of the tail.
    watch: Stopwatch,
    /// The revision of the tail that was delivered last.
    sent: u64,
    /// Positions that this reading took over, to be taken out when it has saved its own.
    taken_over: Vec<Position>,
}

/// A follower at work.
pub(super) struct Looking<'f> {
    catalog: &'f Catalog,
    source: SourceId,
    counter: Counter<'f>,
    reading: &'f mut Reading,
    refused: Refused,
    /// How it stood as it was delivered last.
    told: Option<Told>,
}

/// What is delivered also when nothing was read.
#[derive(PartialEq, Eq)]
struct Told {
    is_behind: bool,
    is_corrupt: bool,
    unreadable: Option<tail::Unreadable>,
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
    /// What is missing; each ends when it was found.
    pub(super) gaps: Vec<Gap>,
    /// How far the reading has come.
    pub(super) reading: engine::Reading,
    /// Of which source.
    pub(super) source: SourceId,
    /// What is known of its targets, when it is scraped.
    pub(super) targets: Option<Arc<Targets>>,
    /// How its SLOs are measured, when it is scraped.
    pub(super) measured: Vec<(SloId, Measurement)>,
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

    /// The source.
    pub(super) fn source(&self) -> SourceId {
        self.source
    }

    /// How far it has read.
    pub(super) fn into_reading(self) -> (String, Reading) {
        (self.name().to_owned(), self.reading)
    }

    /// Follows until told to stop. It looks at its files at least once, and tells what it found even when that is
    /// nothing; when it returns, everything that it has read was delivered, if there still was somebody to take it.
    pub(super) fn run(&mut self, stop: &Stop, out: &Sender<Delivery>, now: &RwLock<Timestamp>) {
        let mut looking = self.begin();
        loop {
            let Polled { delivery, has_more } = looking.poll(read_time(now));
            if delivery.is_some_and(|delivery| out.send(delivery).is_err()) || stop.is_set() {
                return;
            }
            if !has_more {
                thread::sleep(POLL);
            }
        }
    }

    /// Begins to follow.
    pub(super) fn begin(&mut self) -> Looking<'_> {
        let Self { catalog, source, classifier, reading } = self;
        let counter = Counter::new(catalog, *source, classifier, Technique::fastest());
        Looking { catalog, source: *source, counter, reading, refused: Refused::default(), told: None }
    }
}

impl Looking<'_> {
    /// Looks at the files once. `now` is what time the owner has it, and not later than what is read now, so that
    /// everything older has been read when nothing is left.
    pub(super) fn poll(&mut self, now: Timestamp) -> Polled {
        let Self { catalog, source, counter, reading, refused, told } = self;
        let name = &catalog[*source].name;
        let oldest = catalog.longest_window().first_minute(now.minute()).start();
        counter.set_bounds(bounds(catalog, now));
        let mut sink = Counting { counter, refused, gaps: Vec::new(), source: name };
        let now_ms = reading.watch.elapsed_ms();
        let progress = reading.tail.poll(now_ms, &mut sink);
        for (why, text) in sink.refused.tell(name, now_ms) {
            tracing::warn!(source = name, kind = why.name(), "{text}");
        }
        let gaps: Vec<Gap> = sink.gaps.iter().map(|gap| reading.gap(name, gap, now, oldest)).collect();
        let changes = reading.tail.changes(reading.sent);
        let is_news = !changes.put.is_empty() || !changes.removed.is_empty() || !gaps.is_empty();
        let unreadable = reading.tail.unreadable();
        let come = reading.come(&progress, unreadable.as_ref(), now);
        let state = Some(Told { is_behind: progress.bytes_behind > 0, is_corrupt: progress.corrupt > 0, unreadable });
        let delivery = (is_news || progress.bytes_read > 0 || state != *told).then(|| {
            (reading.sent, *told) = (changes.revision, state);
            let mut positions = positions(name, &changes);
            positions.append(&mut reading.taken_over);
            if come.is_up_to_date() {
                positions.push(read_up_to(name, now));
            }
            // The owner commits deliveries in order, or keeps them until it can.
            reading.tail.committed(reading.sent);
            let (targets, measured) = (None, Vec::new());
            Delivery { batch: counter.take(), positions, gaps, reading: come, source: *source, targets, measured }
        });
        Polled { delivery, has_more: progress.has_more() }
    }
}

/// For the next process: everything of a source that was written before `at` has been read.
fn read_up_to(source: &str, at: Timestamp) -> Position {
    let text = at.millis().to_string();
    Position { source: source.to_owned(), key: READ_UP_TO.into(), at: Some(text.into()) }
}

fn instant(text: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(text).ok()?.parse().ok().map(Timestamp::from_millis)
}

impl Reading {
    /// Begins where a source was read up to, by its saved positions. One that has none takes over those of a source
    /// that no spec names any more, if its files are among them: to read them again would be to count them twice. Those
    /// of a source that was renamed as a whole are its own already (see [`restored`](super::renamed::restored)).
    ///
    /// # Errors
    /// When they cannot be understood.
    pub(super) fn new(catalog: &Catalog, source: SourceId, saved: &[Position]) -> Result<Self, SavedError> {
        let (name, file) = (&catalog[source].name, file_of(catalog, source));
        let (mut of, mut positions) = (name, saved_of(name, saved));
        let mut taken_over = Vec::new();
        if let Some(old) = formerly(catalog, source, saved).next() {
            tracing::info!("source {name} goes on where {old} was, which no spec names any more and read its files");
            (of, positions) = (old, saved_of(old, saved));
            let of_old = saved.iter().filter(|position| position.source == *old);
            taken_over = of_old.map(|position| Position { at: None, ..position.clone() }).collect();
        }
        let about = saved.iter().find(|position| position.source == *of && position.key == READ_UP_TO.as_bytes());
        let read_up_to = about.and_then(|position| instant(position.at.as_deref()?));
        let tail = Tail::new(TailOptions::new(file), &positions)?;
        let reading = Self { file: file.clone(), tail, read_up_to, watch: Stopwatch::start(), sent: 0, taken_over };
        Ok(reading.among(catalog.sources.len()))
    }

    /// The same, as one of so many sources, which share what may be open at once.
    pub(super) fn among(mut self, sources: usize) -> Self {
        self.tail.limit_open(Descriptors::of_process().logs(sources).min(MOST_OPEN));
        self
    }

    /// Whether it is how `file` is to be read. The format has no part in that.
    pub(super) fn is_of(&self, file: &FileSource) -> bool {
        FileSource { format: file.format.clone(), ..self.file.clone() } == *file
    }

    /// How far it has come at `at`.
    fn come(&self, progress: &Progress, unreadable: Option<&tail::Unreadable>, at: Timestamp) -> engine::Reading {
        let behind_ms = i64::try_from(progress.behind_ms).unwrap_or(i64::MAX);
        let unreadable = unreadable.map(|found| Unreadable {
            files: found.files,
            worst: format!("{}: {}", found.path.display(), found.why).into(),
            since: self.instant(found.since_ms, at),
        });
        engine::Reading {
            bytes_behind: progress.bytes_behind,
            behind_since: at.plus_millis(behind_ms.saturating_neg()),
            is_conserved: progress.corrupt == 0,
            unreadable,
        }
    }

    /// An instant on the clock of the tail, when it is `at` now.
    fn instant(&self, ms: u64, at: Timestamp) -> Timestamp {
        let ago = i64::try_from(self.watch.elapsed_ms().saturating_sub(ms)).unwrap_or(i64::MAX);
        at.plus_millis(ago.saturating_neg())
    }

    /// A gap of `source` that was found at `at`. It begins when everything had been read, or `oldest` if nobody knows.
    fn gap(&self, source: &str, gap: &tail::Gap, at: Timestamp, oldest: Timestamp) -> Gap {
        let in_this_process = gap.since_ms.map(|since_ms| self.instant(since_ms, at));
        Gap {
            source: source.to_owned(),
            from: in_this_process.or(self.read_up_to).unwrap_or(oldest).min(at),
            to: at,
            bytes: gap.bytes,
            reason: gap.reason.name().to_owned(),
        }
    }
}

/// The sources that no spec names any more and that read files of this one, when nothing is saved of its own.
pub(super) fn formerly<'s>(
    catalog: &Catalog,
    source: SourceId,
    saved: &'s [Position],
) -> impl Iterator<Item = &'s String> {
    let globs = &file_of(catalog, source).paths;
    let is_new = saved_of(&catalog[source].name, saved).is_empty();
    let named: BTreeSet<&String> = saved.iter().filter(|_| is_new).map(|position| &position.source).collect();
    let nameless = named.into_iter().filter(|name| catalog.source_named(name).is_none());
    nameless.filter(move |old| tail::are_about(&saved_of(old, saved), globs))
}

/// The saved positions of the files of the source called `name`.
fn saved_of(name: &str, saved: &[Position]) -> Vec<SavedPosition> {
    let of_source = saved.iter().filter(|position| position.source == *name);
    let of_files = of_source.filter(|position| position.key != READ_UP_TO.as_bytes());
    let known = of_files.filter_map(|position| {
        let key = String::from_utf8(position.key.clone()).ok()?;
        Some(SavedPosition { key, value: position.at.clone()? })
    });
    known.collect()
}

/// What the source is read from.
pub(super) fn file_of(catalog: &Catalog, source: SourceId) -> &FileSource {
    catalog[source].kind.file().expect("only access logs are followed")
}

fn bounds(catalog: &Catalog, now: Timestamp) -> Bounds {
    Bounds { earliest: kept_for(catalog).first_minute(now.minute()), latest: now.plus_millis(AHEAD_MS) }
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
    refused: &'a mut Refused,
    gaps: Vec<tail::Gap>,
    source: &'a str,
}

impl Sink for Counting<'_, '_> {
    fn piece(&mut self, log: Log<'_>, piece: Piece<'_>) {
        let reasons = [(Why::Oversize, Rejection::Oversize), (Why::Ambiguous, Rejection::Ambiguous)];
        let before = reasons.map(|(_, rejection)| self.counter.refused(rejection));
        match piece {
            Piece::Lines(lines) => self.counter.count(lines),
            Piece::Unfinished(line) => self.counter.count_unfinished(line),
            Piece::Oversize(beginning) => self.counter.count_oversize(beginning),
        }
        for ((why, rejection), before) in reasons.into_iter().zip(before) {
            self.refused.note(why, log.path, self.counter.refused(rejection) - before);
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

#[cfg(test)]
mod tests;
