//! The body of an answer: unpacked as it comes, and never longer than it may be.

use std::io::{self, Write};
use std::sync::Arc;

use flate2::write::MultiGzDecoder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ScrapeError;

/// Memory is reserved in blocks of so many bytes.
const BLOCK: usize = 64 << 10;
/// Pages up to this length, in bytes, need not reserve any, so that a few targets with the longest of pages do not keep
/// all others waiting.
const FREE: usize = 256 << 10;

/// The memory of all pages that are on their way, in blocks. Who needs more than there is waits, for its deadline at
/// most.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Semaphore>);

impl Memory {
    /// Enough for so many bytes, and for one block at least.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / BLOCK + 1).min(Semaphore::MAX_PERMITS))))
    }
}

/// A page that is on its way.
pub(super) struct Body {
    page: Page,
    memory: Memory,
    reserved: Option<OwnedSemaphorePermit>,
}

/// The page, packed or not.
enum Page {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

/// The unpacked bytes.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Body {
    /// An empty one of `most` bytes at most.
    pub(super) fn new(is_gzip: bool, most: usize, memory: &Memory) -> Self {
        let bounded = Bounded { bytes: Vec::new(), most };
        let page = match is_gzip {
            true => Page::Gzip(Box::new(MultiGzDecoder::new(bounded))),
            false => Page::Plain(bounded),
        };
        Self { page, memory: memory.clone(), reserved: None }
    }

    /// Takes more of what was sent.
    ///
    /// # Errors
    /// When the page becomes too long, or cannot be unpacked.
    pub(super) async fn add(&mut self, sent: &[u8]) -> Result<(), ScrapeError> {
        let most = self.bounded().most;
        // In small steps, because each may unpack to a thousand times as much.
        for piece in sent.chunks(BLOCK / 64) {
            self.reserve().await;
            let written = match &mut self.page {
                Page::Plain(page) => page.write_all(piece),
                Page::Gzip(page) => page.write_all(piece),
            };
            written.map_err(|error| self.refusal(&error, most))?;
        }
        Ok(())
    }

    /// The page, once all of it was sent, and whether the compression vouches that it is all.
    ///
    /// # Errors
    /// When the compression ends early.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), ScrapeError> {
        let most = self.bounded().most;
        let finished = match &mut self.page {
            Page::Plain(_) => Ok(()),
            Page::Gzip(page) => page.try_finish(),
        };
        finished.map_err(|error| self.refusal(&error, most))?;
        let bytes = match &mut self.page {
            Page::Plain(page) => std::mem::take(&mut page.bytes),
            Page::Gzip(page) => std::mem::take(&mut page.get_mut().bytes),
        };
        Ok((bytes, self.reserved))
    }

    fn bounded(&self) -> &Bounded {
        match &self.page {
            Page::Plain(page) => page,
            Page::Gzip(page) => page.get_ref(),
        }
    }

    fn refusal(&self, error: &io::Error, most: usize) -> ScrapeError {
        match error.kind() {
            io::ErrorKind::FileTooLarge => ScrapeError::TooLong(most),
            _ => ScrapeError::Packed(error.to_string()),
        }
    }

    /// Reserves the memory of what is there and the next piece.
    async fn reserve(&mut self) {
        let capacity = self.bounded().bytes.capacity().min(self.bounded().most);
        let needed = if capacity <= FREE { 0 } else { capacity / BLOCK };
        let held = self.reserved.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = needed.checked_sub(held).filter(|more| *more > 0) else { return };
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        // It is never closed.
        let Ok(more) = Arc::clone(&self.memory.0).acquire_many_owned(more).await else { return };
        match &mut self.reserved {
            Some(reserved) => reserved.merge(more),
            None => self.reserved = Some(more),
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::Compression;
    use flate2::read::GzEncoder;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzEncoder::new(text, Compression::default()).read_to_end(&mut packed).unwrap();
        packed
    }

    #[track_caller]
    fn check(is_gzip: bool, most: usize, sent: &[&[u8]], expected: Result<&[u8], &str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let memory = Memory::new(1 << 20);
        let found = runtime.block_on(async {
            let mut body = Body::new(is_gzip, most, &memory);
            for piece in sent {
                body.add(piece).await?;
            }
            body.finish().map(|(bytes, _)| bytes)
        });
        match expected {
            Ok(expected) => assert_eq!(found.unwrap(), expected),
            Err(reason) => assert_eq!(found.unwrap_err().reason(), reason),
        }
    }

    #[test]
    fn d12_a_page_is_bounded_as_it_is_unpacked() {
        check(false, 5, &[b"abc", b"de"], Ok(b"abcde"));
        check(false, 5, &[b"abc", b"def"], Err("too_long"));
        check(true, 5, &[&packed(b"abcde")], Ok(b"abcde"));
        check(true, 5, &[&packed(b"abcdef")], Err("too_long"));
        let bomb = packed(&vec![0; 300 << 20]);
        assert!(bomb.len() < 400_000);
        check(true, 64 << 10, &[&bomb], Err("too_long"));
    }

    #[test]
    fn d14_compression_that_ends_early_or_is_damaged_gives_nothing() {
        let whole = packed(b"a 1\nb 2\n");
        check(true, 100, &[&whole[..4], &whole[4..]], Ok(b"a 1\nb 2\n"));
        check(true, 100, &[&whole[..whole.len() - 3]], Err("packed"));
        check(true, 100, &[b"a 1\nb 2\n"], Err("packed"));
        let mut damaged = whole.clone();
        let last = damaged.len() - 8;
        damaged[last] ^= 1;
        check(true, 100, &[&damaged], Err("packed"));
    }
}
