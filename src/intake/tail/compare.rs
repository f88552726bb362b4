//! Comparing: whether one file holds all that is in another, or all that was read of it.
//!
//! Only what looks alike at its beginning and its end is compared. Then it is compared from the first byte to the last,
//! a bounded amount at each poll, and goes on where it was when more was written.

use std::io;

use super::Tail;
use super::digest::Digest;
use super::disk;
use super::print::ANCHOR;
use super::vet::{beginning_of, print_before};

/// How two files compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// The one is a copy of the other, or of its beginning.
    Copy,
    Different,
    /// Not all of it was compared yet.
    Later,
}

/// So much is compared at one step.
const STEP: usize = 64 * 1024;

impl Tail {
    /// Compares a file with that of a stream that is followed, as it is now.
    pub(super) fn compare(&mut self, key: u64, of: u64) -> io::Result<Compared> {
        let copy = &self.streams[&key];
        let Some(file) = &copy.file else { return Ok(Compared::Different) };
        // The size of the copy before that of the original: a copy is never longer.
        let size = disk::stat_open(file, &copy.kept.path)?.size;
        let expected = (beginning_of(file, copy, size)?, print_before(file, copy, size, ANCHOR)?);
        match self.is_intact(of)? && self.holds(of, size, expected)? {
            true => self.compare_all(key, of, size),
            false => Ok(Compared::Different),
        }
    }

    /// Extends the digest of the beginning of a file up to `length`; `false` when that is not done yet.
    pub(super) fn digest_beginning(&mut self, key: u64, length: u64) -> io::Result<bool> {
        let length = Digest::reach(length);
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(false) };
        let Some(file) = &stream.file else { return Ok(false) };
        if stream.beginning.length() > length {
            stream.beginning = Digest::new();
        }
        let mut buffer = vec![0; STEP];
        while stream.beginning.length() < length && self.comparable > 0 {
            let from = stream.beginning.length();
            let missing = usize::try_from(length - from).unwrap_or(STEP).min(STEP);
            let read = disk::read_at(file, &stream.kept.path, &mut buffer[..missing], from)?;
            if read < missing || !stream.beginning.take(&buffer[..read], from) {
                // It was cut meanwhile: what it holds now is looked at anew.
                stream.beginning = Digest::new();
                return Ok(false);
            }
            self.comparable = self.comparable.saturating_sub(read as u64);
        }
        stream.uncompared = length - stream.beginning.length();
        Ok(stream.uncompared == 0)
    }

    /// Compares the first `size` bytes of a file with those of the file of another stream, which has as many, from
    /// where they were compared last.
    fn compare_all(&mut self, key: u64, of: u64, size: u64) -> io::Result<Compared> {
        let (stream, original) = (&self.streams[&key], &self.streams[&of]);
        let opened = original.open_anyway()?;
        let originals = opened.as_ref().or(original.file.as_ref());
        let (Some(file), Some(originals)) = (&stream.file, originals) else { return Ok(Compared::Different) };
        let (mut here, mut there) = (vec![0; STEP], vec![0; STEP]);
        let mut at = stream.same_as.filter(|(same, at)| *same == of && *at <= size).map_or(0, |(_, at)| at);
        let mut is_same = true;
        while is_same && at < size && self.comparable > 0 {
            let missing = usize::try_from(size - at).unwrap_or(STEP).min(STEP);
            let read = disk::read_at(file, &stream.kept.path, &mut here[..missing], at)?;
            let also = disk::read_at(originals, &original.kept.path, &mut there[..missing], at)?;
            is_same = read == missing && here[..read] == there[..also];
            at += read as u64;
            self.comparable = self.comparable.saturating_sub(read as u64);
        }
        let revision = self.revision;
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(Compared::Different) };
        stream.same_as = is_same.then_some((of, at));
        stream.uncompared = if is_same { size - at } else { 0 };
        if !is_same || at < size {
            return Ok(if is_same { Compared::Later } else { Compared::Different });
        }
        if stream.kept.size != size {
            // So much of it is known, also after a restart.
            (stream.kept.size, stream.revision) = (size, revision);
        }
        Ok(Compared::Copy)
    }
}
