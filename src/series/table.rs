//! The series of a target that are selected.
//!
//! A series is found by the bytes of its line, which are compared; one that is written in another way than when it was
//! first seen (its labels in another order) is found by what it is. Slots of forgotten series are given again.
//!
//! - Lines are kept as what they share with one of the lines before, and the rest: a histogram of 16 lines costs three.
//! - Pages come in the same order again and again, so that the slot behind the last one found is tried first.
//! - New series are put into the index together, and only when a series has to be searched for: one by one, each would
//!   wait for memory, and a target whose pages stay the same needs no index.

use std::collections::HashMap;

use super::Slot;
use crate::formats::exposition::{Identity, Key, MetricType, SeriesText, common_prefix, same_series};
use crate::selector::SelectorId;

/// The selected series.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The parts that the lines of the series consist of.
    parts: Vec<u8>,
    /// The last line that was kept whole.
    base: Part,
    /// How many bytes of `parts` are those of forgotten series.
    wasted: usize,
    entries: Vec<Entry>,
    vacant: Vec<Slot>,
    index: Index,
    /// Series that are to be in the index and are not yet.
    to_index: Vec<Slot>,
    /// The slot that will be tried first.
    expected: Slot,
    /// The selections that there are; series of one metric share theirs.
    selections: Vec<Box<[SelectorId]>>,
    by_selection: HashMap<Box<[SelectorId]>, u32>,
    last_selection: u32,
}

/// A range of [`Table::parts`].
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    start: usize,
    length: u32,
}

/// A selected series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The line up to its value, in two parts: where they start, and how long they are.
    starts: [usize; 2],
    lengths: [u32; 2],
    identity: Identity,
    selection: u32,
    /// The number of the last scrape that is known to have had it.
    pub seen: u32,
    /// The series that tells when this one was created, or [`NONE`].
    created: Slot,
    pub told: Told,
    is_live: bool,
}

/// No slot: there are never so many.
const NONE: Slot = Slot(u32::MAX);

impl Entry {
    pub(super) fn created(&self) -> Option<Slot> {
        Some(self.created).filter(|created| *created != NONE)
    }

    pub(super) fn set_created(&mut self, created: Option<Slot>) {
        self.created = created.unwrap_or(NONE);
    }

    #[inline(always)]
    fn line(&self) -> [Part; 2] {
        [0, 1].map(|part| Part { start: self.starts[part], length: self.lengths[part] })
    }

    fn set_line(&mut self, line: [Part; 2]) {
        self.starts = line.map(|part| part.start);
        self.lengths = line.map(|part| part.length);
    }
}

/// What a page tells of a series besides its name and labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub metric_type: MetricType,
    /// Whether it tells when others were created.
    pub tells_creation: bool,
}

impl Table {
    /// How many series there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// The memory that they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.parts.capacity() + self.entries.capacity() * size_of::<Entry>() + self.index.slots.capacity() * 8
    }

    /// A page begins.
    pub(super) fn begin(&mut self) {
        self.expected = Slot(0);
    }

    /// The series in the index whose line begins with `line`, which is of this identity.
    #[inline(always)]
    pub(super) fn find(&mut self, identity: Identity, line: &[u8], key: Key) -> Option<Slot> {
        let expected = self.expected;
        let found = match self.entries.get(expected.0 as usize) {
            Some(entry) if entry.identity == identity && entry.is_live && self.is_line(entry, line) => Some(expected),
            _ if self.index.is_empty() && self.to_index.is_empty() => None,
            _ => self.search(identity, line, key),
        };
        self.expected = Slot(found.unwrap_or(expected).0.wrapping_add(1));
        found
    }

    /// Adds a series that was `seen` in this scrape, but not to the index.
    pub(super) fn add(
        &mut self,
        identity: Identity,
        line: &[u8],
        selection: &[SelectorId],
        told: Told,
        seen: u32,
    ) -> Slot {
        let selection = self.selection(selection);
        let line = self.keep(line);
        let (starts, lengths) = (line.map(|part| part.start), line.map(|part| part.length));
        let entry = Entry { starts, lengths, identity, selection, seen, created: NONE, told, is_live: true };
        match self.vacant.pop() {
            Some(slot) => {
                self.entries[slot.0 as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                Slot(self.entries.len() as u32 - 1)
            }
        }
    }

    /// Puts series that were added into the index.
    pub(super) fn index(&mut self, added: &[Slot]) {
        self.to_index.extend_from_slice(added);
    }

    /// Takes series back that were added and are not in the index.
    pub(super) fn take_back(&mut self, added: &[Slot]) {
        for slot in added.iter().rev() {
            self.vacate(*slot);
        }
        self.tidy();
    }

    /// Forgets series, given ascending; their slots may be given to others.
    pub(super) fn forget(&mut self, slots: &[Slot]) {
        for slot in slots {
            self.vacate(*slot);
        }
        self.tidy();
        self.to_index.clear();
        self.index.rebuild(&self.entries);
        for entry in self.entries.iter_mut().filter(|entry| slots.binary_search(&entry.created).is_ok()) {
            entry.created = NONE;
        }
    }

    /// What is known of a series.
    pub(super) fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot.0 as usize]
    }

    pub(super) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot.0 as usize]
    }

    /// The series and their slots, ascending.
    pub(super) fn live(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        (0..).map(Slot).zip(&self.entries).filter(|(_, entry)| entry.is_live)
    }

    pub(super) fn live_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().filter(|entry| entry.is_live)
    }

    /// The name and the labels of a series.
    pub(super) fn text(&self, slot: Slot) -> SeriesText {
        SeriesText::read(&self.line(&self.entries[slot.0 as usize]))
    }

    pub(super) fn selected_by(&self, slot: Slot) -> &[SelectorId] {
        &self.selections[self.entries[slot.0 as usize].selection as usize]
    }

    /// The series in the index with this name and these labels.
    pub(super) fn find_text(&mut self, text: &SeriesText, key: Key) -> Option<Slot> {
        self.index_all();
        let identity = text.identity(key);
        let mut slots = self.index.slots_of(identity);
        slots.find(|slot| self.entry(*slot).identity == identity && self.text(*slot) == *text)
    }

    #[cold]
    fn search(&mut self, identity: Identity, line: &[u8], key: Key) -> Option<Slot> {
        self.index_all();
        self.index.slots_of(identity).find(|slot| {
            let entry = self.entry(*slot);
            entry.identity == identity && (self.is_line(entry, line) || same_series(&self.line(entry), line, key))
        })
    }

    fn index_all(&mut self) {
        if self.to_index.is_empty() {
            return;
        }
        self.index.make_room(&self.entries);
        for slot in self.to_index.drain(..) {
            self.index.add(self.entries[slot.0 as usize].identity, slot);
        }
        self.to_index.shrink_to_fit();
    }

    fn part(&self, part: Part) -> &[u8] {
        &self.parts[part.start..][..part.length as usize]
    }

    fn line(&self, entry: &Entry) -> Vec<u8> {
        entry.line().map(|part| self.part(part)).concat()
    }

    #[inline(always)]
    fn is_line(&self, entry: &Entry, line: &[u8]) -> bool {
        let [shared, fresh] = entry.line().map(|part| self.part(part));
        shared.len() + fresh.len() == line.len() && line.starts_with(shared) && line.ends_with(fresh)
    }

    fn keep(&mut self, line: &[u8]) -> [Part; 2] {
        let shared = common_prefix(self.part(self.base), line);
        let is_base = shared * 2 < line.len();
        let shared = if is_base { 0 } else { shared };
        let fresh = Part { start: self.parts.len(), length: (line.len() - shared) as u32 };
        self.parts.extend_from_slice(&line[shared..]);
        if is_base {
            self.base = fresh;
        }
        [Part { start: self.base.start, length: shared as u32 }, fresh]
    }

    /// The number of a selection; there are about as many as there are selectors.
    fn selection(&mut self, selection: &[SelectorId]) -> u32 {
        // Series of one selection come one behind the other.
        if self.selections.get(self.last_selection as usize).is_some_and(|last| **last == *selection) {
            return self.last_selection;
        }
        self.last_selection = match self.by_selection.get(selection) {
            Some(known) => *known,
            None => {
                let new = self.selections.len() as u32;
                self.selections.push(selection.into());
                self.by_selection.insert(selection.into(), new);
                new
            }
        };
        self.last_selection
    }

    fn vacate(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot.0 as usize];
        entry.is_live = false;
        self.wasted += entry.lengths[1] as usize;
        self.vacant.push(slot);
    }

    /// Writes the lines anew when half of what is kept is not needed.
    fn tidy(&mut self) {
        if self.wasted <= self.parts.len() / 2 {
            return;
        }
        let mut tidied = Self::default();
        for place in 0..self.entries.len() {
            if self.entries[place].is_live {
                let line = tidied.keep(&self.line(&self.entries[place]));
                self.entries[place].set_line(line);
            }
        }
        (self.parts, self.base, self.wasted) = (tidied.parts, tidied.base, 0);
    }
}

/// Slots by identity. What is found in it by half an identity has to be looked at.
#[derive(Debug, Default)]
struct Index {
    /// Half an identity above, a slot and 1 below; 0 is empty. There are `1 << bits`, or none.
    slots: Vec<u64>,
    bits: u32,
}

impl Index {
    fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Makes room for the slots of these series.
    fn make_room(&mut self, entries: &[Entry]) {
        if entries.len() * 2 <= self.slots.len() {
            return;
        }
        let there: Vec<Slot> =
            self.slots.iter().filter(|slot| **slot != 0).map(|slot| Slot(*slot as u32 - 1)).collect();
        self.clear(entries.len());
        for slot in there {
            self.add(entries[slot.0 as usize].identity, slot);
        }
    }

    fn rebuild(&mut self, entries: &[Entry]) {
        self.clear(entries.len());
        for (slot, entry) in (0..).map(Slot).zip(entries).filter(|(_, entry)| entry.is_live) {
            self.add(entry.identity, slot);
        }
    }

    fn clear(&mut self, series: usize) {
        self.bits = (series * 2).next_power_of_two().ilog2().max(4);
        self.slots = vec![0; 1 << self.bits];
    }

    #[inline(always)]
    fn add(&mut self, identity: Identity, slot: Slot) {
        let (half, mut at) = self.start(identity);
        while self.slots[at] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = half << 32 | u64::from(slot.0 + 1);
    }

    fn slots_of(&self, identity: Identity) -> impl Iterator<Item = Slot> {
        let (half, at) = if self.is_empty() { (0, 0) } else { self.start(identity) };
        let from = self.slots.iter().cycle().skip(at).take(self.slots.len());
        let chain = from.take_while(|slot| **slot != 0).filter(move |slot| **slot >> 32 == half);
        chain.map(|slot| Slot(*slot as u32 - 1))
    }

    /// Half of the identity, and where it would be.
    #[inline(always)]
    fn start(&self, identity: Identity) -> (u64, usize) {
        let half = identity.upper_half();
        (half, (half >> (32 - self.bits)) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Told = Told { metric_type: MetricType::Counter, tells_creation: false };

    #[test]
    fn series_that_share_an_identity_by_chance_are_told_apart() {
        let key = Key::random();
        let identity = Identity::of_test(7 << 32);
        let mut table = Table::default();
        let lines: [&[u8]; 3] = [b"a ", b"b ", b"c{x=\"y\"} "];
        let slots = lines.map(|line| table.add(identity, line, &[SelectorId(1)], TOLD, 1));
        table.index(&slots);
        for (line, slot) in lines.iter().zip(slots).rev() {
            assert_eq!(table.find(identity, line, key), Some(slot));
        }
        table.forget(&[slots[1]]);
        assert_eq!(table.find(identity, b"b ", key), None);
        assert_eq!(table.find(identity, b"a{} ", key), Some(slots[0]));
        table.forget(&[slots[0], slots[2]]);
        assert_eq!((table.len(), table.find(identity, b"a ", key)), (0, None));
    }

    #[test]
    fn slots_and_memory_are_used_again() {
        let key = Key::random();
        let mut table = Table::default();
        let spread = |round: u64| Identity::of_test(round.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let line =
            |round: u64| format!("m{{round=\"{round}\",x=\"{}\"}} ", "y".repeat(round as usize % 90)).into_bytes();
        for round in 0..1_000u64 {
            let slot = table.add(spread(round), &line(round), &[SelectorId(round as u32 % 3)], TOLD, 1);
            table.index(&[slot]);
            for kept in round.saturating_sub(4)..=round {
                let found = table.find(spread(kept), &line(kept), key).unwrap();
                assert_eq!(table.line(table.entry(found)), line(kept));
            }
            if round >= 4 {
                let oldest = table.find(spread(round - 4), &line(round - 4), key);
                table.forget(&[oldest.unwrap()]);
            }
        }
        assert_eq!((table.len(), table.entries.len(), table.selections.len()), (4, 5, 3));
        assert!(table.parts.len() < 1_000, "{}", table.parts.len());
    }
}
