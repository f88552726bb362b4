//! The series of a target that are selected.
//!
//! A series is found by the bytes of its line, which are compared; one that is written in another way than when it was
//! first seen (its labels in another order) is found by what it is. Slots of forgotten series are given again.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::Slot;
use crate::formats::exposition::{Identity, Key, MetricType, same_series};
use crate::selector::SelectorId;

/// The selected series.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The lines of the series, up to their values, one behind the other.
    keys: Vec<u8>,
    /// How many of these bytes are those of forgotten series.
    wasted: usize,
    entries: Vec<Entry>,
    vacant: Vec<Slot>,
    /// The last series that was added with each identity; a chain leads on to others.
    by_identity: HashMap<Identity, Slot, BuildHasherDefault<AsGiven>>,
    /// The selections that there are; series of one metric share theirs.
    selections: Vec<Box<[SelectorId]>>,
}

/// A selected series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    key_start: usize,
    key_length: usize,
    identity: Identity,
    next: Option<Slot>,
    selection: usize,
    is_live: bool,
    /// The number of the last scrape that is known to have had it.
    pub seen: u64,
    pub metric_type: MetricType,
    /// Whether it tells when others were created.
    pub tells_creation: bool,
    /// The series that tells when this one was created.
    pub created: Option<Slot>,
}

/// A hash of what is a hash already.
#[derive(Default)]
pub(super) struct AsGiven(u64);

impl Hasher for AsGiven {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Table {
    /// How many series there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// The memory that they take, about.
    pub(super) fn bytes(&self) -> usize {
        const PER_IDENTITY: usize = size_of::<(Identity, Slot)>() + 1;
        self.keys.capacity() + self.entries.capacity() * size_of::<Entry>() + self.by_identity.capacity() * PER_IDENTITY
    }

    /// The series whose line begins with `line`, which is of this identity.
    #[inline]
    pub(super) fn find(&self, identity: Identity, line: &[u8], key: Key) -> Option<Slot> {
        let mut next = self.by_identity.get(&identity).copied();
        while let Some(slot) = next {
            let known = self.key(slot);
            if known == line || same_series(known, line, key) {
                return Some(slot);
            }
            next = self.entries[slot.0 as usize].next;
        }
        None
    }

    /// Adds a series that is not in the table.
    pub(super) fn add(&mut self, identity: Identity, line: &[u8], selection: &[SelectorId], entry: Told) -> Slot {
        let selection = self.selection(selection);
        let key_start = self.keys.len();
        self.keys.extend_from_slice(line);
        let slot = self.vacant.pop().unwrap_or(Slot(self.entries.len() as u32));
        let entry = Entry {
            key_start,
            key_length: line.len(),
            identity,
            next: self.by_identity.insert(identity, slot),
            selection,
            is_live: true,
            seen: 0,
            metric_type: entry.metric_type,
            tells_creation: entry.tells_creation,
            created: None,
        };
        match self.entries.get_mut(slot.0 as usize) {
            Some(vacant) => *vacant = entry,
            None => self.entries.push(entry),
        }
        slot
    }

    /// Forgets a series; its slot may be given to another.
    pub(super) fn remove(&mut self, slot: Slot) {
        let Entry { identity, next, key_length, .. } = self.entries[slot.0 as usize];
        let first = self.by_identity.get(&identity).copied();
        if first == Some(slot) {
            match next {
                Some(next) => self.by_identity.insert(identity, next),
                None => self.by_identity.remove(&identity),
            };
        } else if let Some(before) = first.and_then(|first| self.before(first, slot)) {
            self.entries[before.0 as usize].next = next;
        }
        self.entries[slot.0 as usize].is_live = false;
        self.wasted += key_length;
        self.vacant.push(slot);
        if self.wasted > self.keys.len() / 2 {
            self.compact();
        }
    }

    /// What is known of a series.
    pub(super) fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot.0 as usize]
    }

    pub(super) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot.0 as usize]
    }

    /// The series and their slots.
    pub(super) fn live(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        (0..).map(Slot).zip(&self.entries).filter(|(_, entry)| entry.is_live)
    }

    pub(super) fn live_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().filter(|entry| entry.is_live)
    }

    /// The line that the series had when it was first seen, up to its value.
    pub(super) fn key(&self, slot: Slot) -> &[u8] {
        let entry = &self.entries[slot.0 as usize];
        &self.keys[entry.key_start..][..entry.key_length]
    }

    pub(super) fn selected_by(&self, slot: Slot) -> &[SelectorId] {
        &self.selections[self.entries[slot.0 as usize].selection]
    }

    /// The series of this identity, in any order.
    pub(super) fn of_identity(&self, identity: Identity) -> impl Iterator<Item = Slot> {
        let first = self.by_identity.get(&identity).copied();
        std::iter::successors(first, |slot| self.entries[slot.0 as usize].next)
    }

    /// The place of a selection; there are about as many as there are selectors.
    fn selection(&mut self, selection: &[SelectorId]) -> usize {
        // Series of one selection come one behind the other.
        let known = self.selections.iter().rposition(|known| **known == *selection);
        known.unwrap_or_else(|| {
            self.selections.push(selection.into());
            self.selections.len() - 1
        })
    }

    fn before(&self, first: Slot, slot: Slot) -> Option<Slot> {
        let next = |slot: &Slot| self.entries[slot.0 as usize].next;
        std::iter::successors(Some(first), next).find(|before| next(before) == Some(slot))
    }

    fn compact(&mut self) {
        let mut keys = Vec::with_capacity(self.keys.len() - self.wasted);
        for entry in self.entries.iter_mut().filter(|entry| entry.is_live) {
            let start = keys.len();
            keys.extend_from_slice(&self.keys[entry.key_start..][..entry.key_length]);
            entry.key_start = start;
        }
        (self.keys, self.wasted) = (keys, 0);
    }
}

/// What a page tells of a series besides its name and labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub metric_type: MetricType,
    pub tells_creation: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Told = Told { metric_type: MetricType::Counter, tells_creation: false };

    #[test]
    fn series_that_share_an_identity_by_chance_are_told_apart() {
        let key = Key::random();
        let identity = Identity::of_test(7);
        let mut table = Table::default();
        let lines: [&[u8]; 3] = [b"a ", b"b ", b"c{x=\"y\"} "];
        let slots = lines.map(|line| table.add(identity, line, &[SelectorId(1)], TOLD));
        for (line, slot) in lines.iter().zip(slots) {
            assert_eq!(table.find(identity, line, key), Some(slot));
        }
        table.remove(slots[1]);
        assert_eq!(table.find(identity, b"b ", key), None);
        assert_eq!(table.find(identity, b"a{} ", key), Some(slots[0]));
        table.remove(slots[2]);
        table.remove(slots[0]);
        assert_eq!((table.len(), table.find(identity, b"a ", key)), (0, None));
    }

    #[test]
    fn slots_and_memory_are_used_again() {
        let key = Key::random();
        let mut table = Table::default();
        for round in 0..1_000u64 {
            let line = format!("m{{round=\"{round}\"}} ");
            let slot = table.add(Identity::of_test(round), line.as_bytes(), &[SelectorId(round as u32 % 3)], TOLD);
            assert_eq!(table.find(Identity::of_test(round), line.as_bytes(), key), Some(slot));
            assert_eq!(table.key(slot), line.as_bytes());
            if round >= 4 {
                let oldest = table.find(Identity::of_test(round - 4), format!("m{{round=\"{}\"}} ", round - 4).as_bytes(), key);
                table.remove(oldest.unwrap());
            }
        }
        assert_eq!((table.len(), table.entries.len(), table.selections.len()), (4, 5, 3));
        assert!(table.keys.len() < 500, "{}", table.keys.len());
    }
}
