//! Reports: log files read offline, by all cores, into one board.
//!
//! The same formats, classification, windows and gates as the server's, with no server and no store. Workers take
//! pieces of logs, count them, and hand their counts to the one engine; which worker saw which line does not matter,
//! since counts only add up. The windows end at the newest record, which is known when everything is read: until then
//! nothing is refused for its age, and what turns out to be too old is moved to `expired` at the end.
//!
//! - Memory does not grow with the logs: workers hold a few buffers and pages, the engine its windows.
//! - What goes wrong with one log is reported and loses nothing of the others.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::classify::{Classifier, TooComplex};
use crate::counts::{Batch, Bounds, Counter, Seen, Unmatched};
use crate::engine::{AHEAD_MS, Board, Engine};
use crate::formats::Technique;
use crate::intake::{Archive, IntakeError, LineBlocks, Piece, Range};
use crate::spec::{Catalog, SourceId};
use crate::time::Timestamp;

/// What to report on.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was promised.
    pub catalog: Arc<Catalog>,
    /// Whose records the logs are.
    pub source: SourceId,
    /// The instant at which the windows end; the newest record when there is none.
    pub at: Option<Timestamp>,
    /// The instant to report on when there is no record either.
    pub fallback: Timestamp,
    /// How many cores to use, at least one.
    pub workers: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// How everything stands.
    pub board: Board,
    /// What was seen in each log, in the order of the logs.
    pub logs: Vec<LogReport>,
    /// What could not be read.
    pub errors: Vec<IntakeError>,
    /// Routes that no SLO is about: an estimate.
    pub unmatched: Unmatched,
}

/// What was seen in one log.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// As the user named it.
    pub path: PathBuf,
    /// Whether it begins as text in UTF-16 does.
    pub is_utf16: bool,
    /// How much of it was read.
    pub seen: Seen,
}

/// A piece of work for a worker.
enum Job {
    /// A part of a plain file.
    Range { log: usize, path: PathBuf, file: Arc<File>, range: Range },
    /// Whole lines.
    Lines { log: usize, lines: Vec<u8> },
    /// The last line of a log, without its newline.
    Unfinished { log: usize, line: Vec<u8> },
    /// The beginning of a line that is too long.
    Oversize { log: usize, beginning: Vec<u8> },
}

/// Plain files are cut so that every core has something to do until the end, but not below this many bytes.
const SHORTEST_RANGE: u64 = 4 << 20;
/// Into how many ranges per worker.
const RANGES_PER_WORKER: u64 = 16;

/// Reads `logs` to their ends; `progress` is told how many bytes of them have been read since it was told last.
///
/// # Errors
/// When the request patterns cannot be compiled.
///
/// # Panics
/// When the plan's source reads no access logs.
pub fn run(plan: &Plan, logs: Vec<Archive>, progress: &(dyn Fn(u64) + Sync)) -> Result<Report, TooComplex> {
    let classifier = Classifier::new(&plan.catalog, plan.source)?;
    let shared = Shared::new(plan, &classifier, &logs, progress);
    let names: Vec<(PathBuf, bool)> = logs.iter().map(|log| (log.path.clone(), log.is_utf16)).collect();
    let mut engine = Engine::new(Arc::clone(&plan.catalog));
    if let Some(at) = plan.at {
        engine.advance(at);
    }
    let mut unmatched = Unmatched::default();
    let (jobs_in, jobs) = bounded::<Job>(2 * plan.workers);
    let (batches_in, batches) = bounded::<Batch>(plan.workers);
    thread::scope(|scope| {
        let (files, streams) = logs.into_iter().enumerate().partition(|(_, log)| log.file.is_some());
        let shared = &shared;
        spawn_readers(scope, shared, streams, &jobs_in);
        scope.spawn(move || shared.cut(files, &jobs_in));
        for _ in 0..plan.workers {
            let (jobs, batches) = (jobs.clone(), batches_in.clone());
            scope.spawn(move || shared.work(&jobs, &batches));
        }
        // The workers hold the only senders now, so that the end of their work ends this loop.
        drop(batches_in);
        for mut batch in batches {
            std::mem::take(&mut batch.unmatched).into_iter().for_each(|(route, times)| unmatched.count(route, times));
            if plan.at.is_none() {
                batch.newest_record().into_iter().for_each(|newest| engine.advance(newest));
            }
            engine.observe(batch);
        }
    });
    if !engine.is_told_the_time() {
        engine.advance(plan.fallback);
    }
    engine.expire_in_retrospect();
    let now = engine.now();
    let seen = shared.seen.iter().map(LogSeen::get);
    Ok(Report {
        board: engine.tick(now),
        logs: names.into_iter().zip(seen).map(|((path, is_utf16), seen)| LogReport { path, is_utf16, seen }).collect(),
        errors: shared.errors.into_inner().unwrap_or_else(PoisonError::into_inner),
        unmatched,
    })
}

/// Spawns the threads that read logs which can only be read from their beginning to their end.
fn spawn_readers<'scope, 'env>(
    scope: &'scope thread::Scope<'scope, 'env>,
    shared: &'env Shared<'env>,
    streams: Vec<(usize, Archive)>,
    jobs: &Sender<Job>,
) {
    let readers = shared.plan.workers.min(streams.len());
    let (streams_in, queue) = bounded(streams.len());
    for stream in streams {
        streams_in.send(stream).expect("the queue has room for all streams");
    }
    for _ in 0..readers {
        let (queue, jobs) = (queue.clone(), jobs.clone());
        scope.spawn(move || queue.try_iter().for_each(|(log, archive)| shared.read_stream(log, archive, &jobs)));
    }
}

/// What all threads of a report look at.
struct Shared<'r> {
    plan: &'r Plan,
    classifier: &'r Classifier,
    bounds: Bounds,
    max_line: usize,
    seen: Vec<LogSeen>,
    errors: Mutex<Vec<IntakeError>>,
    progress: &'r (dyn Fn(u64) + Sync),
}

/// What has been seen of one log, by all workers.
#[derive(Default)]
struct LogSeen {
    records: AtomicU64,
    unparsed: AtomicU64,
    unread: AtomicU64,
}

impl LogSeen {
    fn add(&self, before: Seen, after: Seen) {
        self.records.fetch_add(after.records - before.records, Ordering::Relaxed);
        self.unparsed.fetch_add(after.unparsed - before.unparsed, Ordering::Relaxed);
        self.unread.fetch_add(after.unread - before.unread, Ordering::Relaxed);
    }

    fn get(&self) -> Seen {
        let [records, unparsed, unread] =
            [&self.records, &self.unparsed, &self.unread].map(|count| count.load(Ordering::Relaxed));
        Seen { records, unparsed, unread }
    }
}

impl<'r> Shared<'r> {
    fn new(plan: &'r Plan, classifier: &'r Classifier, logs: &[Archive], progress: &'r (dyn Fn(u64) + Sync)) -> Self {
        let file = plan.catalog[plan.source].kind.file().expect("a report reads access logs");
        let bounds = plan.at.map_or(Bounds::NONE, |at| Bounds {
            earliest: plan.catalog.longest_window().first_minute(at.minute()),
            latest: at.plus_millis(AHEAD_MS),
        });
        Self {
            plan,
            classifier,
            bounds,
            max_line: file.max_line,
            seen: logs.iter().map(|_| LogSeen::default()).collect(),
            errors: Mutex::new(Vec::new()),
            progress,
        }
    }

    /// Cuts plain files into ranges.
    fn cut(&self, files: Vec<(usize, Archive)>, jobs: &Sender<Job>) {
        for (log, archive) in files {
            let Some(file) = archive.file else { continue };
            let length = archive.size.div_ceil(RANGES_PER_WORKER * self.plan.workers as u64).max(SHORTEST_RANGE);
            for range in Range::cut(archive.size, length) {
                let job = Job::Range { log, path: archive.path.clone(), file: Arc::clone(&file), range };
                // Nobody receives any more only when every worker has panicked, and that ends the scope.
                let _ = jobs.send(job);
            }
        }
    }

    /// Reads a log from its beginning to its end into jobs.
    fn read_stream(&self, log: usize, archive: Archive, jobs: &Sender<Job>) {
        let (path, kind) = (archive.path.clone(), archive.kind);
        let read = Arc::new(AtomicU64::new(0));
        let mut told = 0;
        let text = match archive.into_text(Arc::clone(&read)) {
            Ok(text) => text,
            Err(error) => return self.fail(error),
        };
        let mut blocks = LineBlocks::new(text, self.max_line);
        loop {
            let job = match blocks.next_piece() {
                Ok(None) => break,
                Ok(Some(Piece::Lines(lines))) => Job::Lines { log, lines: lines.to_vec() },
                Ok(Some(Piece::Unfinished(line))) => Job::Unfinished { log, line: line.to_vec() },
                Ok(Some(Piece::Oversize(beginning))) => Job::Oversize { log, beginning: beginning.to_vec() },
                Err(error) => {
                    self.fail(Archive::error(&path, kind, error));
                    break;
                }
            };
            let _ = jobs.send(job);
            let now = read.load(Ordering::Relaxed);
            (self.progress)(now - told);
            told = now;
        }
    }

    /// Counts jobs until there are no more.
    fn work(&self, jobs: &Receiver<Job>, batches: &Sender<Batch>) {
        let mut counter = Counter::new(&self.plan.catalog, self.plan.source, self.classifier, Technique::fastest());
        counter.set_bounds(self.bounds);
        let hand_over = |counter: &mut Counter<'_>| {
            let _ = batches.send(counter.take());
        };
        for job in jobs {
            let before = counter.seen();
            let log = match job {
                Job::Range { log, path, file, range } => {
                    let blocks = range.blocks(file, self.max_line);
                    if let Err(source) = self.count_range(blocks, &mut counter, &hand_over) {
                        self.fail(IntakeError::Read { path, source });
                    }
                    log
                }
                Job::Lines { log, lines } => {
                    counter.count(&lines);
                    log
                }
                Job::Unfinished { log, line } => {
                    counter.count_unfinished(&line);
                    log
                }
                Job::Oversize { log, beginning } => {
                    counter.count_oversize(&beginning);
                    log
                }
            };
            self.seen[log].add(before, counter.seen());
            if counter.is_full() {
                hand_over(&mut counter);
            }
        }
        hand_over(&mut counter);
    }

    fn count_range<R: Read>(
        &self,
        mut blocks: LineBlocks<R>,
        counter: &mut Counter<'_>,
        hand_over: &impl Fn(&mut Counter<'_>),
    ) -> std::io::Result<()> {
        while let Some(piece) = blocks.next_piece()? {
            let length = match piece {
                Piece::Lines(lines) => {
                    counter.count(lines);
                    lines.len()
                }
                Piece::Unfinished(line) => {
                    counter.count_unfinished(line);
                    line.len()
                }
                Piece::Oversize(beginning) => {
                    counter.count_oversize(beginning);
                    beginning.len()
                }
            };
            (self.progress)(length as u64);
            if counter.is_full() {
                hand_over(counter);
            }
        }
        Ok(())
    }

    fn fail(&self, error: IntakeError) {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
    }
}
