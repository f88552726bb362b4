//! Disks as redb sees them: one that remembers a failed sync, and one that keeps all writes to itself.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::redb::{BackendError, StorageBackend};

use crate::store::StoreError;

/// A disk that redb may close and open again: locks are held until the last clone is dropped. After a failed sync it
/// takes no more writes.
#[derive(Clone, Debug)]
pub(in crate::store) struct Disk {
    inner: Arc<dyn StorageBackend>,
    failed: Arc<AtomicBool>,
}

impl Disk {
    pub(in crate::store) fn new(inner: impl StorageBackend) -> Self {
        Self { inner: Arc::new(inner), failed: Arc::default() }
    }

    /// Whether a sync has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Sees to it that the header is on the disk as it is read: after a sync that failed, what is read may be in the
    /// kernel's memory only. The pages that it leads to were durable before it was turned to them.
    pub(super) fn make_header_durable(&self) -> Result<()> {
        let mut header = vec![0; self.len()?.min(BLOCK as u64) as usize];
        self.read(0, &mut header)?;
        self.write(0, &header)?;
        self.sync_data()
    }

    fn refuse_when_failed(&self) -> Result<()> {
        match self.has_failed() {
            true => Err(Error::other("an earlier sync failed")),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.refuse_when_failed()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> Result<()> {
        self.refuse_when_failed()?;
        self.inner.sync_data().inspect_err(|_| self.failed.store(true, Ordering::SeqCst))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.refuse_when_failed()?;
        self.inner.write(offset, data)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }
}

/// A disk in whose place everything can be tried: what is written stays in memory.
#[derive(Debug)]
pub(super) struct Overlay {
    below: Disk,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// How much of the disk below still shows.
    below: u64,
    /// By number.
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
}

const BLOCK: usize = 4_096;

impl Overlay {
    pub(super) fn over(below: Disk) -> Result<Self> {
        let length = below.len()?;
        let written = Mutex::new(Written { length, below: length, blocks: BTreeMap::new() });
        Ok(Self { below, written })
    }

    /// A block as the disk below has it, zeros beyond its end.
    fn block_below(&self, number: u64, shown: u64) -> Result<Box<[u8; BLOCK]>> {
        let mut block = Box::new([0; BLOCK]);
        let start = number * BLOCK as u64;
        let length = shown.saturating_sub(start).min(BLOCK as u64) as usize;
        self.below.read(start, &mut block[..length])?;
        Ok(block)
    }
}

/// The parts of `length` bytes at `offset` by block: its number, where in the block, and where in the bytes.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let end = offset + length as u64;
    let blocks = offset / BLOCK as u64..end.div_ceil(BLOCK as u64);
    blocks.map(move |number| {
        let start = number * BLOCK as u64;
        let (from, to) = (offset.max(start), end.min(start + BLOCK as u64));
        let in_block = (from - start) as usize..(to - start) as usize;
        (number, in_block, (from - offset) as usize..(to - offset) as usize)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> Result<u64> {
        Ok(self.written.lock().unwrap_or_else(PoisonError::into_inner).length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset + out.len() as u64;
        if end > written.length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        // What is on the disk first, in one go, and over it what was written.
        let shown = written.below.saturating_sub(offset).min(out.len() as u64) as usize;
        let (on_disk, beyond) = out.split_at_mut(shown);
        self.below.read(offset, on_disk)?;
        beyond.fill(0);
        for (number, in_block, in_bytes) in parts(offset, out.len()) {
            if let Some(block) = written.blocks.get(&number) {
                out[in_bytes].copy_from_slice(&block[in_block]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if len < written.length {
            written.below = written.below.min(len);
            written.blocks.split_off(&len.div_ceil(BLOCK as u64));
            let (last, cut) = (len / BLOCK as u64, (len % BLOCK as u64) as usize);
            if let Some(block) = written.blocks.get_mut(&last) {
                block[cut..].fill(0);
            }
        }
        written.length = len;
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.length = written.length.max(offset + data.len() as u64);
        for (number, in_block, in_bytes) in parts(offset, data.len()) {
            let shown = written.below;
            if let std::collections::btree_map::Entry::Vacant(entry) = written.blocks.entry(number) {
                entry.insert(self.block_below(number, shown)?);
            }
            if let Some(block) = written.blocks.get_mut(&number) {
                block[in_block].copy_from_slice(&data[in_bytes]);
            }
        }
        Ok(())
    }
}

/// What an error of the system means for a store.
pub(in crate::store) fn io_error(path: PathBuf, source: Error) -> StoreError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => StoreError::Full { path },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => super::open::denied(path),
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => StoreError::Corrupt { path, detail: source.to_string() },
        _ => StoreError::Io { path, source },
    }
}
