//! Where the newlines, the quotes and the backslashes of a block are.
//!
//! One pass over the bytes finds all that [`super::program`] needs to cut lines and stretches, so that the bytes
//! between are never looked at again unless a field is in them. The pass compares 64 bytes at a time and writes down
//! the places it finds; on a machine with AVX2 with that, elsewhere with what every machine of its kind has. Both are
//! tested to agree. (AVX-512 was tried, with and without its packing instructions, and was slower than AVX2 on Zen 5.)

use wide::u8x64;

/// How blocks are searched. All give the same places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Technique {
    /// 16 bytes at a time where every machine of the kind can do that, fewer elsewhere.
    Portable,
    /// 32 bytes at a time.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Technique {
    /// The techniques that this machine can run, the fastest last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "only x86-64 adds to it")]
        let mut techniques = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            // Every processor with AVX2 has these, but a virtual machine may hide some.
            let bits = is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2");
            let counts = is_x86_feature_detected!("lzcnt") && is_x86_feature_detected!("popcnt");
            if bits && counts && is_x86_feature_detected!("avx2") {
                techniques.push(Self::Avx2);
            }
        }
        techniques
    }

    /// The fastest that this machine can run.
    pub fn fastest() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }
}

/// The places in a block, ascending.
#[derive(Clone, Debug)]
pub struct Index {
    technique: Technique,
    newlines: Places,
    quotes: Places,
    escapes: Places,
}

impl Default for Index {
    fn default() -> Self {
        Self::new(Technique::Portable)
    }
}

impl Index {
    /// An empty index that will be filled with this technique.
    ///
    /// # Panics
    /// When the machine cannot run it.
    pub fn new(technique: Technique) -> Self {
        assert!(Technique::available().contains(&technique), "{technique:?} needs another processor");
        Self { technique, newlines: Places::default(), quotes: Places::default(), escapes: Places::default() }
    }

    /// Finds the places of `block`, which is shorter than 4 GiB, and forgets those of the block before.
    ///
    /// # Panics
    /// When `block` is longer.
    pub fn fill(&mut self, block: &[u8]) {
        assert!(u32::try_from(block.len()).is_ok(), "blocks are far below 4 GiB");
        for places in [&mut self.newlines, &mut self.quotes, &mut self.escapes] {
            places.clear(block.len());
        }
        match self.technique {
            Technique::Portable => fill_portable(self, block),
            #[cfg(target_arch = "x86_64")]
            // The portable search costs 1.7 times as much (see benches/stages.rs, `index`).
            #[allow(unsafe_code, reason = "measured: calling code for a processor that was asked what it can do")]
            // SAFETY: `new` has checked that the processor has what these functions are compiled for.
            Technique::Avx2 => unsafe { x86::fill_avx2(self, block) },
        }
    }

    /// How it is filled.
    pub fn technique(&self) -> Technique {
        self.technique
    }

    /// The newlines.
    pub fn newlines(&self) -> &[u32] {
        self.newlines.found()
    }

    /// The double quotes, escaped or not.
    pub fn quotes(&self) -> &[u32] {
        self.quotes.found()
    }

    /// The backslashes.
    pub fn escapes(&self) -> &[u32] {
        self.escapes.found()
    }
}

/// Ascending places of one byte.
#[derive(Clone, Debug, Default)]
struct Places {
    places: Vec<u32>,
    used: usize,
}

/// How many quotes are written before asking whether there are that many; a chunk rarely has more.
const AT_ONCE: usize = 4;

impl Places {
    /// Makes room for `most` places.
    fn clear(&mut self, most: usize) {
        self.used = 0;
        if self.places.len() < most + AT_ONCE {
            // Fresh zeroed memory is not resident until it is written to, and most of it never is.
            self.places = vec![0; most + AT_ONCE];
        }
    }

    fn found(&self) -> &[u32] {
        &self.places[..self.used]
    }

    fn writer(&mut self) -> Writer<'_> {
        Writer { places: &mut self.places, used: 0 }
    }
}

/// Writes places; a value of its own, so that its count stays in a register while it writes.
struct Writer<'p> {
    places: &'p mut [u32],
    used: usize,
}

impl Writer<'_> {
    /// Adds the places of the bits of `mask`, the lowest of which stands for `base`. Writes `N` of them without asking
    /// how many there are, which is cheaper than guessing wrong.
    #[inline(always)]
    fn add<const N: usize>(&mut self, mut mask: u64, base: u32) {
        let count = mask.count_ones() as usize;
        for place in &mut self.places[self.used..self.used + N] {
            *place = base + mask.trailing_zeros();
            mask &= mask.wrapping_sub(1);
        }
        if count > N {
            self.add_rest(mask, base, N);
        }
        self.used += count;
    }

    /// Adds what did not fit into the first `written`.
    #[cold]
    fn add_rest(&mut self, mut mask: u64, base: u32, written: usize) {
        for place in &mut self.places[self.used + written..] {
            if mask == 0 {
                break;
            }
            *place = base + mask.trailing_zeros();
            mask &= mask.wrapping_sub(1);
        }
    }
}

/// One bit per byte of a chunk that is the byte in question.
struct Masks {
    newlines: u64,
    quotes: u64,
    escapes: u64,
}

/// Fills an index chunk by chunk; a macro, so that each technique's comparison is compiled with its instructions.
macro_rules! fill_with {
    ($index:ident, $block:ident, $masks:expr) => {
        let (chunks, tail) = $block.as_chunks::<64>();
        let mut last = [0; 64];
        last[..tail.len()].copy_from_slice(tail);
        let (mut newlines, mut quotes) = ($index.newlines.writer(), $index.quotes.writer());
        let mut escapes = $index.escapes.writer();
        let mut base = 0;
        for chunk in chunks.iter().chain([&last]) {
            let masks: Masks = $masks(chunk);
            newlines.add::<1>(masks.newlines, base);
            quotes.add::<AT_ONCE>(masks.quotes, base);
            if masks.escapes != 0 {
                escapes.add::<1>(masks.escapes, base);
            }
            base = base.wrapping_add(64);
        }
        let used = (newlines.used, quotes.used, escapes.used);
        ($index.newlines.used, $index.quotes.used, $index.escapes.used) = used;
    };
}

fn fill_portable(index: &mut Index, block: &[u8]) {
    fill_with!(index, block, masks_portable);
}

#[inline(always)]
fn masks_portable(chunk: &[u8; 64]) -> Masks {
    let chunk = u8x64::new(*chunk);
    let equal = |byte: u8| chunk.simd_eq(u8x64::splat(byte)).to_bitmask();
    Masks { newlines: equal(b'\n'), quotes: equal(b'"'), escapes: equal(b'\\') }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{AT_ONCE, Index, Masks};

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn fill_avx2(index: &mut Index, block: &[u8]) {
        let (newline, quote, escape) =
            (_mm256_set1_epi8(b'\n' as i8), _mm256_set1_epi8(b'"' as i8), _mm256_set1_epi8(b'\\' as i8));
        fill_with!(index, block, |chunk: &[u8; 64]| {
            // Built from words instead, the load makes the whole search cost 1.15 times as much.
            #[allow(unsafe_code, reason = "measured: a load from memory that a reference vouches for")]
            // SAFETY: the chunk has 64 bytes, and the load needs no alignment.
            let [low, high] = unsafe {
                let chunk = chunk.as_ptr().cast::<__m256i>();
                [_mm256_loadu_si256(chunk), _mm256_loadu_si256(chunk.add(1))]
            };
            let equal = |byte: __m256i| {
                let low = _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, byte)) as u32;
                let high = _mm256_movemask_epi8(_mm256_cmpeq_epi8(high, byte)) as u32;
                u64::from(low) | u64::from(high) << 32
            };
            Masks { newlines: equal(newline), quotes: equal(quote), escapes: equal(escape) }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(block: &[u8]) {
        let places =
            |byte: u8| -> Vec<u32> { (0..block.len()).filter(|at| block[*at] == byte).map(|at| at as u32).collect() };
        for technique in Technique::available() {
            let mut index = Index::new(technique);
            for _ in 0..2 {
                index.fill(block);
                assert_eq!(index.newlines(), places(b'\n'), "{technique:?} newlines");
                assert_eq!(index.quotes(), places(b'"'), "{technique:?} quotes");
                assert_eq!(index.escapes(), places(b'\\'), "{technique:?} escapes");
            }
        }
    }

    #[test]
    fn every_technique_finds_what_a_loop_finds_at_every_length_and_density() {
        for length in (0..200).chain([1000, 4096, 4097]) {
            check(&vec![b'"'; length]);
            check(&vec![b'\n'; length]);
            check(&(0..length).map(|at| (at * 7 % 256) as u8).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn every_technique_finds_what_a_loop_finds(
            block in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\n'), Just(b'\\'), Just(b'#'), any::<u8>()], 0..700)
        ) {
            check(&block);
        }
    }
}
