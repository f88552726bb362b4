//! The selected series of each target, scrape by scrape.
//!
//! A [`Reader`] reads pages; what it must remember of a target between two of them is in a [`Target`]. A page is read
//! whole or not at all: on an error the target is as it was before. Each series that at least one selector selects has
//! a [`Slot`], which stays the same as long as the series is known, and a page gives the values by their slots.
//!
//! - The first page of a target is lexed in full, and its outline is kept. As long as pages follow the outline, byte by
//!   byte but for the values, only the values are read.
//! - A page that departs from it is lexed in full again, with the same result as if it were the first.
//! - What a target costs in memory follows its selected series, and the outline: some 20 bytes a line, some 5 where
//!   lines that nobody selects repeat in groups, up to [`MemoryLimits::outline_bytes`].
//! - A series that stays away is forgotten after [`MemoryLimits::forget_after`] scrapes.
//! - Series that tell when a selected one was created (`foo_created` of `foo_total`) are kept with it.
//!
//! Left out on purpose: what the values mean. Resets, gaps and rates are the business of the counters.

mod outline;
mod table;

use std::collections::{HashMap, hash_map};
use std::ops::Range;
use std::sync::Arc;

use outline::{Outline, Recorder};
use table::{Table, Told};

use crate::formats::exposition::{
    End, Format, Key, Limits, MetricType, NameId, Page, PageError, Run, Sample, Scratch, SeriesText, Step, Value,
};
use crate::selector::{SelectorId, Selectors};
use crate::time::Timestamp;

/// A selected series of a target; a number below the most that it ever had at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A value of a selected series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Read {
    /// Whose.
    pub slot: Slot,
    /// The value, exactly as the page has it.
    pub value: Value,
    /// When it was measured, if the page says so.
    pub at: Option<Timestamp>,
}

/// What a page said.
#[derive(Debug)]
pub struct Reading<'r> {
    /// The values, in the page's order. A slot is there twice only when OpenMetrics gives several points in time.
    pub values: &'r [Read],
    /// Series that were not known before. Their slots may have been others' once.
    pub appeared: &'r [Slot],
    /// Series that have been away for so long that they are forgotten; none of them is in `values`.
    pub forgotten: &'r [Slot],
    /// How many samples the page has, selected or not.
    pub samples: u32,
    /// Whether only values had to be read.
    pub was_followed: bool,
}

/// How much is remembered of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// The longest outline that is kept, in bytes. Longer pages are read in full each time.
    pub outline_bytes: usize,
    /// For how many scrapes a series that stays away is remembered.
    pub forget_after: u32,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { outline_bytes: 4 << 20, forget_after: 20 }
    }
}

/// What is remembered of a target from one page to the next.
#[derive(Debug)]
pub struct Target {
    key: Key,
    table: Table,
    outline: Outline,
    /// How many pages were read.
    scrapes: u32,
    /// The number of the page that the outline was taken from; its series are all in the pages that follow it.
    outlined: u32,
    /// The first scrape at which a series may have to be forgotten.
    next_to_forget: u32,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            key: Key::random(),
            table: Table::default(),
            outline: Outline::default(),
            scrapes: 0,
            outlined: 0,
            next_to_forget: u32::MAX,
        }
    }
}

/// A selected series.
#[derive(Clone, Copy, Debug)]
pub struct Series<'t> {
    target: &'t Target,
    slot: Slot,
}

impl Target {
    /// The series in a slot that a reading gave and that was not forgotten.
    ///
    /// # Panics
    /// When no reading ever gave it.
    pub fn series(&self, slot: Slot) -> Series<'_> {
        Series { target: self, slot }
    }

    /// How many series are known.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that it takes, in bytes, about.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.outline.bytes()
    }
}

impl<'t> Series<'t> {
    /// The selectors that select it, ascending; none when it is only there to tell when others were created.
    pub fn selected_by(self) -> &'t [SelectorId] {
        self.target.table.selected_by(self.slot)
    }

    /// Its name and labels.
    pub fn text(self) -> SeriesText {
        self.target.table.text(self.slot)
    }

    /// The type of its metric family, as of the last page that was read in full.
    pub fn metric_type(self) -> MetricType {
        self.target.table.entry(self.slot).told.metric_type
    }

    /// The series whose value says when this one began to count, in seconds since 1970, if the target has one.
    pub fn created(self) -> Option<Slot> {
        self.target.table.entry(self.slot).created()
    }
}

/// Reads pages, of all targets with the same selectors; one for each worker.
#[derive(Debug)]
pub struct Reader {
    selectors: Arc<Selectors>,
    limits: Limits,
    memory: MemoryLimits,
    scratch: Scratch,
    recorder: Recorder,
    candidates: Candidates,
    values: Vec<Read>,
    /// The type of each value's series, of a page that is lexed in full.
    types: Vec<MetricType>,
    appeared: Vec<Slot>,
    forgotten: Vec<Slot>,
}

impl Reader {
    /// A reader that keeps what these selectors select.
    pub fn new(selectors: Arc<Selectors>, limits: Limits, memory: MemoryLimits) -> Self {
        Self {
            selectors,
            limits,
            memory,
            scratch: Scratch::default(),
            recorder: Recorder::default(),
            candidates: Candidates::default(),
            values: Vec::new(),
            types: Vec::new(),
            appeared: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    /// Reads a page of a target. All pages of a target are for readers with the same selectors.
    ///
    /// # Errors
    /// When the page must not be used; the target is then as if it had not been scraped.
    pub fn read(
        &mut self,
        target: &mut Target,
        page: &[u8],
        (format, end): (Format, End),
    ) -> Result<Reading<'_>, PageError> {
        self.values.clear();
        self.appeared.clear();
        self.forgotten.clear();
        let read = (format, end);
        let known = (self.limits, target.key);
        let followed = target.outline.follow(page, read, known, self.scratch.lexer(), &mut self.values);
        let samples = match followed {
            Some(samples) => {
                target.scrapes = target.scrapes.saturating_add(1);
                samples
            }
            None => self.read_in_full(target, page, read)?,
        };
        self.forget(target);
        Ok(Reading {
            values: &self.values,
            appeared: &self.appeared,
            forgotten: &self.forgotten,
            samples,
            was_followed: followed.is_some(),
        })
    }

    /// Lexes the page; gives how many samples it has.
    fn read_in_full(&mut self, target: &mut Target, page: &[u8], read: (Format, End)) -> Result<u32, PageError> {
        self.values.clear();
        self.types.clear();
        self.candidates.clear();
        self.recorder.begin(self.memory.outline_bytes);
        target.table.begin();
        match self.lex(target, page, read) {
            Ok((samples, can_be_followed)) => {
                self.commit(target, can_be_followed.then_some(read.0));
                Ok(samples)
            }
            Err(error) => {
                target.table.take_back(&self.appeared);
                self.appeared.clear();
                Err(error)
            }
        }
    }

    /// Gives how many samples the page has, and whether it can be followed.
    fn lex(&mut self, target: &mut Target, bytes: &[u8], read: (Format, End)) -> Result<(u32, bool), PageError> {
        let mut page = Page::new(bytes, read, self.limits, target.key, &mut self.scratch)?;
        let mut selecting = Selecting {
            selectors: &self.selectors,
            candidates: &mut self.candidates,
            table: &mut target.table,
            appeared: &mut self.appeared,
            key: target.key,
            scrape: target.scrapes.saturating_add(1),
            refused_at: None,
            is_accepted: false,
        };
        loop {
            match page.next_line() {
                Step::Over => break,
                Step::Other => {
                    self.recorder.remark(&bytes[page.line()]);
                    continue;
                }
                Step::Sample => {}
            }
            let (key, shared) = page.key();
            let shared_of_name = page.shared();
            let slot = match selecting.is_refused(shared_of_name) {
                true => None,
                false => selecting.slot(&page.sample(), shared_of_name),
            };
            self.recorder.sample(shared, key, slot);
            if let Some(slot) = slot {
                let sample = page.sample();
                self.values.push(Read { slot, value: sample.value, at: sample.at });
                self.types.push(sample.metric_type);
            } else if let Some(run) = selecting.pass(&mut page) {
                self.recorder.repeats(&run, page.repeats().texts(bytes));
            }
        }
        if let Some(error) = page.refused() {
            return Err(error);
        }
        let (samples, has_points) = (page.samples(), page.has_points());
        if has_points {
            self.unite(target);
        } else {
            target.table.index(&self.appeared);
        }
        Ok((samples, !has_points))
    }

    /// A new series with several points in time got a slot for each of them: gives them one.
    fn unite(&mut self, target: &mut Target) {
        let mut united: HashMap<SeriesText, Slot> = HashMap::new();
        let mut surplus = Vec::new();
        let mut instead: HashMap<Slot, Slot> = HashMap::new();
        for slot in self.appeared.drain(..) {
            match united.entry(target.table.text(slot)) {
                hash_map::Entry::Occupied(first) => {
                    instead.insert(slot, *first.get());
                    surplus.push(slot);
                }
                hash_map::Entry::Vacant(new) => {
                    new.insert(slot);
                }
            }
        }
        self.appeared.extend(united.into_values());
        self.appeared.sort_unstable();
        for read in &mut self.values {
            read.slot = instead.get(&read.slot).copied().unwrap_or(read.slot);
        }
        target.table.take_back(&surplus);
        target.table.index(&self.appeared);
    }

    /// The page is sound: the target takes it over, with its outline if it can be followed.
    fn commit(&mut self, target: &mut Target, format: Option<Format>) {
        let (before, now) = (target.scrapes, target.scrapes.saturating_add(1));
        // New series are marked when they are added; a first page has no others.
        if self.appeared.len() < target.table.len() {
            for entry in target.table.live_mut().filter(|entry| entry.seen == target.outlined) {
                entry.seen = before;
            }
            for (read, metric_type) in self.values.iter().zip(&self.types) {
                let entry = target.table.entry_mut(read.slot);
                (entry.seen, entry.told.metric_type) = (now, *metric_type);
            }
        }
        (target.scrapes, target.outlined) = (now, now);
        target.outline = format.map_or_else(Outline::default, |format| self.recorder.finish(format));
        self.link(target);
        target.next_to_forget = u32::MAX;
        if self.appeared.len() < target.table.len() {
            let absent = target.table.live().filter(|(_, entry)| entry.seen != now);
            let earliest = absent.map(|(_, entry)| entry.seen).min();
            let forget_after = |seen: u32| seen.saturating_add(self.memory.forget_after).saturating_add(1);
            target.next_to_forget = earliest.map_or(u32::MAX, forget_after);
        }
        if target.table.len() > 2 * self.limits.samples as usize {
            target.next_to_forget = 0;
        }
    }

    /// Finds for each new series the one that tells when it was created.
    fn link(&mut self, target: &mut Target) {
        let tells = |slot: &Slot| target.table.entry(*slot).told.tells_creation;
        let slots: Vec<Slot> = if self.appeared.iter().any(tells) {
            target.table.live().map(|(slot, _)| slot).collect()
        } else if target.table.live().any(|(_, entry)| entry.told.tells_creation) {
            self.appeared.clone()
        } else {
            return;
        };
        for slot in slots {
            let created = creation_of(&mut target.table, target.key, slot);
            target.table.entry_mut(slot).set_created(created);
        }
    }

    /// Forgets the series that have been away for too long, or all that are away when there are too many.
    fn forget(&mut self, target: &mut Target) {
        if target.scrapes < target.next_to_forget {
            return;
        }
        let all = target.next_to_forget == 0;
        let patience = self.memory.forget_after;
        target.next_to_forget = u32::MAX;
        for (slot, entry) in target.table.live().filter(|(_, entry)| entry.seen != target.outlined) {
            if all || target.scrapes - entry.seen > patience {
                self.forgotten.push(slot);
            } else {
                target.next_to_forget =
                    target.next_to_forget.min(entry.seen.saturating_add(patience).saturating_add(1));
            }
        }
        target.table.forget(&self.forgotten);
    }
}

/// The selectors that come into question for the names of a page.
#[derive(Debug, Default)]
struct Candidates {
    /// By the page's number of the name.
    of_names: Vec<Option<OfName>>,
    selecting: Vec<SelectorId>,
    creation: Vec<(SelectorId, &'static [u8])>,
}

/// What selects series of a name.
#[derive(Clone, Debug)]
struct OfName {
    /// In [`Candidates::selecting`].
    selecting: Range<usize>,
    /// In [`Candidates::creation`]: what selects series whose creation a series of this name would tell, and the label
    /// that those have and it has not.
    creation: Range<usize>,
}

impl Candidates {
    fn clear(&mut self) {
        self.of_names.clear();
        self.selecting.clear();
        self.creation.clear();
    }

    #[inline(always)]
    fn of(&mut self, sample: &Sample<'_, '_>, selectors: &Selectors) -> OfName {
        match self.of_names.get(sample.name_id.0 as usize) {
            Some(Some(known)) => known.clone(),
            _ => self.find(sample, selectors),
        }
    }

    /// Whether it is known that nothing selects series of this name.
    fn are_none(&self, name: NameId) -> bool {
        let known = self.of_names.get(name.0 as usize).and_then(Option::as_ref);
        known.is_some_and(|of_name| of_name.selecting.is_empty() && of_name.creation.is_empty())
    }

    #[cold]
    fn find(&mut self, sample: &Sample<'_, '_>, selectors: &Selectors) -> OfName {
        let name = sample.name.bytes();
        let (selecting, creation) = (self.selecting.len(), self.creation.len());
        self.selecting.extend(selectors.of_name(&name));
        if let Some(base) = name.strip_suffix(b"_created") {
            for (suffix, label) in CREATED {
                let ids = selectors.of_name(&[base, *suffix].concat());
                self.creation.extend(ids.into_iter().map(|id| (id, *label)));
            }
        }
        let of_name = OfName { selecting: selecting..self.selecting.len(), creation: creation..self.creation.len() };
        let place = sample.name_id.0 as usize;
        if self.of_names.len() <= place {
            self.of_names.resize(place + 1, None);
        }
        self.of_names[place] = Some(of_name.clone());
        of_name
    }
}

/// What series are called whose creation `x_created` tells, behind the `x`, and the label that they have besides.
const CREATED: &[(&[u8], &[u8])] =
    &[(b"_total", b""), (b"_count", b""), (b"_sum", b""), (b"_bucket", b"le"), (b"", b"quantile")];

/// The series that tells when the one in `slot` was created.
fn creation_of(table: &mut Table, key: Key, slot: Slot) -> Option<Slot> {
    if table.entry(slot).told.tells_creation {
        return None;
    }
    let series = table.text(slot);
    CREATED.iter().find_map(|(suffix, label)| {
        let base = series.name.as_bytes().strip_suffix(*suffix)?;
        let telling = table.find_text(&series.renamed([base, b"_created"].concat()).without(label), key);
        telling.filter(|slot| table.entry(*slot).told.tells_creation)
    })
}

/// Finds and gives slots while a page is lexed.
struct Selecting<'a> {
    selectors: &'a Selectors,
    candidates: &'a mut Candidates,
    table: &'a mut Table,
    appeared: &'a mut Vec<Slot>,
    key: Key,
    /// The number of this page.
    scrape: u32,
    /// When the sample before is not selected: the byte behind all that made it so.
    refused_at: Option<usize>,
    /// Whether the sample before was looked at, and selected by all that come into question for its name.
    is_accepted: bool,
}

impl Selecting<'_> {
    /// Whether a sample is not selected because of what it shares with the one before: its labels need no look then.
    #[inline(always)]
    fn is_refused(&self, shared: Option<usize>) -> bool {
        matches!((self.refused_at, shared), (Some(at), Some(shared)) if at <= shared)
    }

    /// Passes over lines behind one that is not selected that are not selected either.
    #[inline(always)]
    fn pass(&self, page: &mut Page<'_, '_>) -> Option<Run> {
        page.pass_repeats(self.refused_at, |name| self.candidates.are_none(name))
    }

    /// The slot of a sample's series; `None` when it is not selected.
    #[inline(always)]
    fn slot(&mut self, sample: &Sample<'_, '_>, shared: Option<usize>) -> Option<Slot> {
        let was_accepted = std::mem::take(&mut self.is_accepted);
        let known = shared.filter(|_| was_accepted).unwrap_or(0);
        self.refused_at = None;
        let OfName { selecting, creation } = self.candidates.of(sample, self.selectors);
        if selecting.is_empty() && creation.is_empty() {
            self.refused_at = Some(0);
            return None;
        }
        let slot = self.table.find(sample.identity, sample.key, self.key);
        slot.or_else(|| self.select(sample, (selecting, creation), known))
    }

    /// Selects a series that is not known. What was found out of the labels in its first `known` bytes holds.
    fn select(
        &mut self,
        sample: &Sample<'_, '_>,
        (selecting, creation): (Range<usize>, Range<usize>),
        known: usize,
    ) -> Option<Slot> {
        let accepts =
            |id: SelectorId, but: &[u8], known: usize| self.selectors.get(id).accepts_labels(sample.labels, but, known);
        let has_creation = !creation.is_empty();
        let tells_creation = self.candidates.creation[creation].iter().any(|(id, but)| accepts(*id, but, 0));
        let candidates = &self.candidates.selecting[selecting];
        // Most often all of them or none select it, and nothing has to be put together.
        let selected: Vec<SelectorId>;
        let selection = if candidates.iter().all(|id| accepts(*id, b"", known)) {
            self.is_accepted = true;
            candidates
        } else {
            selected = candidates.iter().copied().filter(|id| accepts(*id, b"", known)).collect();
            selected.as_slice()
        };
        if selection.is_empty() && !tells_creation {
            if !has_creation {
                let later = |at: usize, id: &SelectorId| {
                    self.selectors.get(*id).refuses_at(sample.labels).map(|end| end.max(at))
                };
                self.refused_at = candidates.iter().try_fold(0, later);
            }
            return None;
        }
        let told = Told { metric_type: sample.metric_type, tells_creation };
        let slot = self.table.add(sample.identity, sample.key, selection, told, self.scrape);
        self.appeared.push(slot);
        Some(slot)
    }
}

#[cfg(test)]
mod tests;
