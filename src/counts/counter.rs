//! Lines into counts: the loop that everything else is made for.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::durations::{Note, Sorter, note};
use super::{Batch, Column, PAGE_MINUTES, Page, Rejection, Sample, Unmatched, columns};
use crate::classify::{Classifier, Outcome, UNMATCHED};
use crate::formats::{Index, LineReader, Request, Technique, Unparsed};
use crate::spec::{Catalog, SourceId};
use crate::time::{MILLIS_PER_MINUTE, Minute, Timestamp};

/// The times that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Records of an earlier minute are `expired`.
    pub earliest: Minute,
    /// Records of a later instant are `future`.
    pub latest: Timestamp,
}

impl Bounds {
    /// Every time: for reading logs whose newest record is not known yet.
    pub const NONE: Self = Self { earliest: Minute::from_number(i64::MIN), latest: Timestamp::from_millis(i64::MAX) };
}

/// Counts the lines of one source, on one core.
#[derive(Debug)]
pub struct Counter<'c> {
    source: SourceId,
    classifier: &'c Classifier,
    reader: LineReader<'c>,
    index: Index,
    max_line: usize,
    bounds: Bounds,
    /// What each outcome adds to which columns, by outcome.
    additions: Vec<Vec<Addition>>,
    columns: usize,
    pages: Vec<OpenPage>,
    /// The memory of pages that were handed over: all zeros, and no notes.
    spare: Vec<(Vec<u32>, Vec<Note>)>,
    /// The minute that was counted last: its first millisecond, and where its row is.
    row_start_ms: i64,
    row_page: usize,
    row_offset: usize,
    /// How many records were seen, and how many of them could not be read.
    seen: Seen,
    /// How many records had been seen when they were handed over last.
    handed_over: u64,
    /// How many of the last records since then could not be read, one after the other.
    unread_run: u64,
    /// How many lines the open pages may hold.
    open_lines: u64,
    /// By outcome: the newest time, in milliseconds.
    newest_ms: Vec<i64>,
    rejected: BTreeMap<Rejection, u64>,
    /// How many records were read by their beginnings.
    truncated: u64,
    samples: VecDeque<(Rejection, Vec<u8>)>,
    unmatched: Unmatched,
    durations: Sorter,
}

/// How much a counter has seen since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Records: lines, whatever came of them.
    pub records: u64,
    /// Those that do not have the declared format.
    pub unparsed: u64,
    /// Those of which nobody can know what became of them: unparsed, ambiguous or oversize.
    pub unread: u64,
}

/// What one request with a certain outcome adds to a column.
#[derive(Clone, Copy, Debug)]
struct Addition {
    column: u32,
    good: bool,
}

/// An hour of outcomes: a row of counts per minute.
#[derive(Debug)]
struct OpenPage {
    hour: i64,
    counts: Vec<u32>,
    /// What is known of durations, one for each request that carries one.
    notes: Vec<Note>,
}

/// How many refused lines are kept for people to look at.
const SAMPLES: usize = 10;
/// How much of a refused line is kept, in bytes.
const SAMPLE_LENGTH: usize = 200;
/// Open pages beyond this many bytes should be handed over.
const MOST_OPEN_BYTES: usize = 8 << 20;
/// Open pages with this many lines should be too: each may have left a note. Their counts have 32 bits.
const MOST_OPEN_LINES: u64 = 1 << 20;

impl<'c> Counter<'c> {
    /// A counter for the records of `source`, judged by `classifier`.
    ///
    /// # Panics
    /// When the source reads no access logs.
    pub fn new(catalog: &'c Catalog, source: SourceId, classifier: &'c Classifier, technique: Technique) -> Self {
        let file = catalog[source].kind.file().expect("lines are counted of access logs only");
        let columns = columns(catalog, source);
        Self {
            source,
            classifier,
            reader: LineReader::new(&file.format),
            index: Index::new(technique),
            max_line: file.max_line,
            bounds: Bounds::NONE,
            additions: additions(classifier, &columns),
            columns: columns.len(),
            pages: Vec::new(),
            spare: Vec::new(),
            row_start_ms: i64::MAX,
            row_page: 0,
            row_offset: 0,
            seen: Seen::default(),
            handed_over: 0,
            unread_run: 0,
            open_lines: 0,
            newest_ms: vec![i64::MIN; classifier.outcomes()],
            rejected: BTreeMap::new(),
            truncated: 0,
            samples: VecDeque::new(),
            unmatched: Unmatched::default(),
            durations: Sorter::new(catalog, source, classifier),
        }
    }

    /// Accepts only records inside these bounds from now on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// How much of a line is read, in bytes; longer ones are oversize, unless this much of them tells enough.
    pub fn max_line(&self) -> usize {
        self.max_line
    }

    /// What it has seen since it was made.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// How many records were refused for this reason since they were handed over last.
    pub fn refused(&self, rejection: Rejection) -> u64 {
        self.rejected.get(&rejection).copied().unwrap_or(0)
    }

    /// Whether so much is open that it should be [taken](Counter::take).
    pub fn is_full(&self) -> bool {
        let page_bytes = PAGE_MINUTES * self.newest_ms.len() * size_of::<u32>();
        self.pages.len() * page_bytes > MOST_OPEN_BYTES || self.open_lines > MOST_OPEN_LINES
    }

    /// Counts every line of `block`, which ends behind a newline. Blocks are shorter than 4 GiB.
    pub fn count(&mut self, block: &[u8]) {
        let mut index = std::mem::take(&mut self.index);
        index.fill(block);
        self.open_lines += index.newlines().len() as u64;
        self.seen.records += index.newlines().len() as u64;
        match index.technique() {
            Technique::Portable => self.count_indexed(block, &index),
            #[cfg(target_arch = "x86_64")]
            // The same loop in ordinary instructions takes 1.2 times as long (benches/stages.rs, `count`).
            #[allow(unsafe_code, reason = "measured: calling code for a processor that was asked what it can do")]
            // SAFETY: an index of this technique exists only where the processor has these instructions.
            Technique::Avx2 => unsafe { self.count_indexed_avx2(block, &index) },
        }
        self.index = index;
    }

    /// [`Counter::count_indexed`], compiled for the instructions that came with AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn count_indexed_avx2(&mut self, block: &[u8], index: &Index) {
        self.count_indexed(block, index);
    }

    #[inline(always)]
    fn count_indexed(&mut self, block: &[u8], index: &Index) {
        let expected = self.reader.quotes();
        let (mut quotes, mut escapes) = (index.quotes(), index.escapes());
        let mut start = 0;
        // Where the line after the last unread one begins: a run is looked at where it grows, and not line by line.
        let mut run_to = if self.unread_run > 0 { 0 } else { usize::MAX };
        for newline in index.newlines() {
            let end = *newline as usize;
            let (line_quotes, rest) = split_before(quotes, *newline, expected);
            quotes = rest;
            let mut length = end - start;
            if length > 0 && block[end - 1] == b'\r' {
                length -= 1;
            }
            let plain = escapes.first().is_none_or(|escape| escape > newline);
            let text = &block[start..];
            let read = match expected {
                _ if length > self.max_line => self.read_beginning(&text[..length]),
                _ if !plain || expected.is_some_and(|expected| line_quotes.len() != expected) => {
                    self.reader.read(&text[..length]).map_err(Rejection::from)
                }
                _ => self.reader.read_indexed(text, length, line_quotes, start as u32).map_err(Rejection::from),
            };
            if !plain {
                escapes = &escapes[escapes.partition_point(|escape| escape <= newline)..];
            }
            match read {
                Ok(request) => self.add(&request, &text[..length]),
                Err(rejection) => {
                    if rejection.hides_outcome() {
                        self.unread_run = if start == run_to { self.unread_run + 1 } else { 1 };
                        run_to = end + 1;
                    }
                    self.refuse(rejection, &text[..length]);
                }
            }
            start = end + 1;
        }
        if run_to != start {
            self.unread_run = 0;
        }
    }

    /// Counts the end of a log that lacks its newline: a line if it reads as one and cannot go on, else partial.
    pub fn count_unfinished(&mut self, line: &[u8]) {
        self.seen.records += 1;
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.max_line {
            return self.count_beginning(line);
        }
        let is_complete = self.reader.is_sure_to_end(text);
        let rejection = match self.reader.read(text) {
            Ok(request) if is_complete => {
                self.unread_run = 0;
                return self.add(&request, line);
            }
            _ => Rejection::Unparsed(Unparsed::Partial),
        };
        self.unread_run += 1;
        self.refuse(rejection, line);
    }

    /// Counts a line that is longer than [`Counter::max_line`], and of which at least so much was kept: by its
    /// beginning, or as oversize when that does not tell enough.
    pub fn count_oversize(&mut self, beginning: &[u8]) {
        self.seen.records += 1;
        self.count_beginning(beginning);
    }

    fn count_beginning(&mut self, line: &[u8]) {
        match self.read_beginning(line) {
            Ok(request) => {
                self.unread_run = 0;
                self.add(&request, line);
            }
            Err(rejection) => {
                self.unread_run += 1;
                self.refuse(rejection, line);
            }
        }
    }

    /// Reads a line that is too long. However much of it is at hand, no more than `max_line` bytes are looked at, so
    /// that it comes out the same wherever it is read.
    #[cold]
    fn read_beginning<'a>(&mut self, line: &'a [u8]) -> Result<Request<'a>, Rejection> {
        let kept = &line[..line.len().min(self.max_line)];
        let request = self.reader.read_beginning(kept, self.classifier.needs_host()).ok_or(Rejection::Oversize)?;
        self.truncated += 1;
        Ok(request)
    }

    #[inline(always)]
    fn add(&mut self, request: &Request<'_>, line: &[u8]) {
        let outcome = self.classifier.classify(request);
        let at_ms = request.at.millis();
        let since = at_ms.wrapping_sub(self.row_start_ms);
        if !(0..MILLIS_PER_MINUTE).contains(&since) && !self.turn_to(request.at, line) {
            return;
        }
        if request.at > self.bounds.latest {
            return self.refuse(Rejection::Future, line);
        }
        let place = outcome as usize;
        self.pages[self.row_page].counts[self.row_offset + place] += 1;
        self.newest_ms[place] = self.newest_ms[place].max(at_ms);
        if outcome == UNMATCHED {
            self.unmatched.note(request.method, request.target.bytes());
        } else if let Some(us) = request.duration_us {
            self.pages[self.row_page].notes.push(note(outcome, us));
        }
    }

    /// Makes the row of this instant's minute the current one; refuses the line and says `false` if it is out of
    /// bounds.
    #[cold]
    fn turn_to(&mut self, at: Timestamp, line: &[u8]) -> bool {
        let minute = at.minute();
        if minute < self.bounds.earliest {
            self.refuse(Rejection::Expired, line);
            return false;
        }
        if at > self.bounds.latest {
            self.refuse(Rejection::Future, line);
            return false;
        }
        let hour = minute.hour();
        self.row_page = self.pages.iter().rposition(|page| page.hour == hour).unwrap_or_else(|| {
            let new = || (vec![0; PAGE_MINUTES * self.newest_ms.len()], Vec::new());
            let (counts, notes) = self.spare.pop().unwrap_or_else(new);
            self.pages.push(OpenPage { hour, counts, notes });
            self.pages.len() - 1
        });
        self.row_offset = minute.number().rem_euclid(PAGE_MINUTES as i64) as usize * self.newest_ms.len();
        self.row_start_ms = minute.start().millis();
        true
    }

    /// Counts a record as refused.
    #[cold]
    fn refuse(&mut self, rejection: Rejection, line: &[u8]) {
        *self.rejected.entry(rejection).or_default() += 1;
        self.seen.unparsed += u64::from(matches!(rejection, Rejection::Unparsed(_)));
        self.seen.unread += u64::from(rejection.hides_outcome());
        let mut kept = match self.samples.len() < SAMPLES {
            true => Vec::with_capacity(SAMPLE_LENGTH),
            false => self.samples.pop_front().map(|(_, kept)| kept).unwrap_or_default(),
        };
        kept.clear();
        kept.extend_from_slice(&line[..line.len().min(SAMPLE_LENGTH)]);
        self.samples.push_back((rejection, kept));
    }

    /// Hands over what was counted since the last time.
    pub fn take(&mut self) -> Batch {
        let newest = self.newest_by_column();
        self.newest_ms.fill(i64::MIN);
        self.row_start_ms = i64::MAX;
        self.open_lines = 0;
        let open = std::mem::take(&mut self.pages);
        let pages = open.iter().map(|page| self.page(page)).collect();
        let durations = match self.durations.is_idle() {
            true => Vec::new(),
            false => open.iter().flat_map(|page| self.durations.sort(page.hour, &page.notes)).collect(),
        };
        self.spare.extend(open.into_iter().map(|mut page| {
            page.counts.fill(0);
            page.notes.clear();
            (page.counts, page.notes)
        }));
        let samples = self.samples.drain(..).map(|(rejection, line)| Sample { rejection, text: printable(&line) });
        let records = self.seen.records - std::mem::replace(&mut self.handed_over, self.seen.records);
        Batch {
            source: self.source,
            records,
            unread_run: std::mem::take(&mut self.unread_run),
            pages,
            newest,
            samples: samples.collect(),
            rejected: std::mem::take(&mut self.rejected),
            truncated: std::mem::take(&mut self.truncated),
            unmatched: self.unmatched.take(),
            durations,
        }
    }

    /// Turns counts of outcomes into counts of columns.
    fn page(&self, open: &OpenPage) -> Page {
        let outcomes = self.newest_ms.len();
        let mut happened = vec![0; outcomes];
        for row in open.counts.chunks_exact(outcomes) {
            happened.iter_mut().zip(row).for_each(|(any, count)| *any |= count);
        }
        let mut page = Page::new(open.hour);
        let mut places = vec![usize::MAX; self.columns];
        for (outcome, additions) in self.additions.iter().enumerate().filter(|(outcome, _)| happened[*outcome] > 0) {
            let counts: [u32; PAGE_MINUTES] = std::array::from_fn(|minute| open.counts[minute * outcomes + outcome]);
            for Addition { column, good } in additions {
                let place = &mut places[*column as usize];
                if *place == usize::MAX {
                    *place = page.add(*column as usize);
                }
                let hour = &mut page.columns[*place].1;
                let minutes = if *good { &mut hour.good } else { &mut hour.bad };
                minutes.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        page
    }

    fn newest_by_column(&self) -> Vec<Option<Timestamp>> {
        let mut newest = vec![None; self.columns];
        for (at_ms, additions) in self.newest_ms.iter().zip(&self.additions).filter(|(at_ms, _)| **at_ms > i64::MIN) {
            for addition in additions {
                let column: &mut Option<Timestamp> = &mut newest[addition.column as usize];
                *column = (*column).max(Some(Timestamp::from_millis(*at_ms)));
            }
        }
        newest
    }
}

/// What each outcome adds to which columns.
fn additions(classifier: &Classifier, columns: &[Column]) -> Vec<Vec<Addition>> {
    let mut of_slo = HashMap::new();
    let (mut records, mut missing) = (0, 0);
    for (place, column) in (0..).zip(columns) {
        match column {
            Column::Slo(slo) => drop(of_slo.insert(*slo, place)),
            Column::Records => records = place,
            Column::Missing => missing = place,
            Column::Arrivals => {}
        }
    }
    let of_outcome = |outcome: usize| {
        let meaning = classifier.meaning(outcome as Outcome);
        let good = meaning.good.iter().map(|slo| Addition { column: of_slo[slo], good: true });
        let bad = meaning.bad.iter().map(|slo| Addition { column: of_slo[slo], good: false });
        let records = Addition { column: records, good: meaning.matched };
        let missing = meaning.missing_duration.then_some(Addition { column: missing, good: true });
        good.chain(bad).chain([records]).chain(missing).collect()
    };
    (0..classifier.outcomes()).map(of_outcome).collect()
}

/// The first `expected` quotes when exactly those stand before `newline`, else all that do; and the others.
#[inline(always)]
fn split_before(quotes: &[u32], newline: u32, expected: Option<usize>) -> (&[u32], &[u32]) {
    let count = match expected {
        Some(expected)
            if quotes.get(expected).is_none_or(|next| *next > newline)
                && (expected == 0 || quotes.get(expected - 1).is_some_and(|last| *last < newline)) =>
        {
            expected
        }
        _ => quotes.iter().take_while(|quote| **quote < newline).count(),
    };
    quotes.split_at(count)
}

/// The line for people to look at: query strings cut, control bytes and what is no ASCII as `\xNN`.
fn printable(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    let mut in_query = false;
    for byte in line {
        in_query &= !matches!(byte, b' ' | b'"' | b'|');
        if in_query {
            continue;
        }
        if *byte == b'?' {
            in_query = true;
            if text.len() + 4 <= SAMPLE_LENGTH {
                text.push_str("?...");
            }
            continue;
        }
        let room = SAMPLE_LENGTH.saturating_sub(text.len());
        match byte {
            b' '..=b'~' if room >= 1 => text.push(*byte as char),
            other if room >= 4 => text.push_str(&format!("\\x{other:02x}")),
            _ => break,
        }
    }
    text
}
