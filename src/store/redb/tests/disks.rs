//! Disks that misbehave.

use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard};

use ::redb::StorageBackend;

use super::Random;

const SECTOR: usize = 512;

/// A disk in memory whose power can be cut: what was not synced then survives sector by sector, at random.
#[derive(Clone, Debug, Default)]
pub struct CutDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What the program sees.
    seen: Vec<u8>,
    /// What is on the platter.
    durable: Vec<u8>,
    /// What has been asked for since the last sync.
    unsynced: Vec<Change>,
    /// After so many changes and syncs the power goes.
    until_cut: Option<u64>,
    is_off: bool,
    /// Whether syncs say that they are done and do nothing.
    lies: bool,
    /// After so many syncs one fails.
    until_sync_fails: Option<u64>,
    syncs: u64,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl CutDisk {
    pub fn lying(lies: bool) -> Self {
        let disk = Self::default();
        disk.state().lies = lies;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Cuts the power after so many changes and syncs from now on.
    pub fn cut_after(&self, changes: u64) {
        self.state().until_cut = Some(changes);
    }

    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// Cuts the power if it is still on, and turns it on again.
    pub fn power_cycle(&self, random: &mut Random) {
        let mut state = self.state();
        state.forget_unsynced(random);
        state.seen = state.durable.clone();
        state.until_cut = None;
        state.is_off = false;
    }

    /// Lets a sync fail after so many that do not. What it was to make durable is so in part, and is not tried again by
    /// any later sync.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.state().until_sync_fails = Some(syncs);
    }

    /// After a sync that failed, lets reads see what is durable; without this they see what was written.
    pub fn drop_cache(&self) {
        let mut state = self.state();
        state.seen = state.durable.clone();
    }

    /// How many times it was asked to sync.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }
}

/// Writes the sectors that survive, as far as the file goes.
fn survive(platter: &mut [u8], offset: usize, data: &[u8], random: &mut Random) {
    // Sometimes nearly all survive, sometimes nearly none: the interesting cuts tear little.
    let odds = [1, 8, 15][random.below(3) as usize];
    let mut at = 0;
    while at < data.len() {
        let length = (SECTOR - (offset + at) % SECTOR).min(data.len() - at);
        if random.below(16) < odds && offset + at + length <= platter.len() {
            platter[offset + at..offset + at + length].copy_from_slice(&data[at..at + length]);
        }
        at += length;
    }
}

impl State {
    /// Counts a change, and fails when there is no power.
    fn change(&mut self) -> Result<()> {
        match &mut self.until_cut {
            Some(0) => self.is_off = true,
            Some(left) => *left -= 1,
            None => {}
        }
        self.power()
    }

    /// Makes a part of what was not synced durable, and forgets the rest.
    fn forget_unsynced(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Length(length) if random.below(2) == 0 => self.durable.resize(length, 0),
                Change::Length(_) => {}
                Change::Write(offset, data) => survive(&mut self.durable, offset, &data, random),
            }
        }
    }

    /// Makes durable what was not synced.
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Length(length) => self.durable.resize(length, 0),
                Change::Write(offset, data) => {
                    let end = offset + data.len();
                    self.durable.resize(self.durable.len().max(end), 0);
                    self.durable[offset..end].copy_from_slice(&data);
                }
            }
        }
    }

    fn power(&self) -> Result<()> {
        if self.is_off { Err(Error::other("the power is off")) } else { Ok(()) }
    }
}

impl StorageBackend for CutDisk {
    fn len(&self) -> Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let state = self.state();
        state.power()?;
        let from = offset as usize;
        let bytes = state.seen.get(from..from + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.state();
        // The change may or may not survive when this is the moment of the cut.
        state.unsynced.push(Change::Length(len as usize));
        state.change()?;
        state.seen.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        let mut state = self.state();
        state.change()?;
        state.syncs += 1;
        match &mut state.until_sync_fails {
            Some(0) => {
                state.until_sync_fails = None;
                let mut random = Random(state.syncs);
                state.forget_unsynced(&mut random);
                return Err(Error::other("input/output error"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if !state.lies {
            state.sync();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut state = self.state();
        state.unsynced.push(Change::Write(offset as usize, data.to_vec()));
        state.change()?;
        let (from, to) = (offset as usize, offset as usize + data.len());
        if state.seen.len() < to {
            state.seen.resize(to, 0);
        }
        state.seen[from..to].copy_from_slice(data);
        Ok(())
    }
}

/// A disk in memory that can be full, and whose syncs can fail.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk(Arc<Mutex<Faulty>>);

#[derive(Debug, Default)]
struct Faulty {
    bytes: Vec<u8>,
    /// Which blocks of 4 KiB were ever written; the others are holes, and writing them needs room.
    allocated: Vec<bool>,
    /// How many more blocks there is room for.
    room: Option<usize>,
    fails_to_sync: bool,
    syncs: usize,
}

impl FaultyDisk {
    fn faulty(&self) -> MutexGuard<'_, Faulty> {
        self.0.lock().unwrap()
    }

    /// Leaves room for so many more blocks of 4 KiB; without end when `None`.
    pub fn set_room(&self, blocks: Option<usize>) {
        self.faulty().room = blocks;
    }

    pub fn set_fails_to_sync(&self, fails: bool) {
        self.faulty().fails_to_sync = fails;
    }

    /// How many times it was asked to sync.
    pub fn syncs(&self) -> usize {
        self.faulty().syncs
    }
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> Result<u64> {
        Ok(self.faulty().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let faulty = self.faulty();
        let from = offset as usize;
        let bytes = faulty.bytes.get(from..from + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.faulty().bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        let mut faulty = self.faulty();
        faulty.syncs += 1;
        match faulty.fails_to_sync {
            true => Err(Error::other("input/output error")),
            false => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut faulty = self.faulty();
        let (from, to) = (offset as usize, offset as usize + data.len());
        for block in from / 4_096..to.div_ceil(4_096) {
            if faulty.allocated.len() <= block {
                faulty.allocated.resize(block + 1, false);
            }
            if !faulty.allocated[block] {
                match &mut faulty.room {
                    Some(0) => return Err(ErrorKind::StorageFull.into()),
                    Some(room) => *room -= 1,
                    None => {}
                }
                faulty.allocated[block] = true;
            }
        }
        if faulty.bytes.len() < to {
            faulty.bytes.resize(to, 0);
        }
        faulty.bytes[from..to].copy_from_slice(data);
        Ok(())
    }
}
