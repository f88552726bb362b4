//! Durations: how long requests took, as counts in the buckets of an HdrHistogram.
//!
//! A duration falls into one of [`BUCKETS`] buckets: those below 256 microseconds have one each, and every doubling
//! above that is cut into 128, so that a bucket is never wider than 1/128 of where it begins (two significant digits).
//! These are the buckets of the HdrHistogram of [`DIGITS`] digits up to [`LONGEST_US`], so that their numbers can be
//! handed to any HdrHistogram.
//!
//! - *A line costs one number.* While lines are counted, an outcome and a bucket are noted in 32 bits; they are sorted
//!   when counts are handed over.
//! - SLOs about the same requests share one [`RequestSet`]: an availability and three latencies of one route have the
//!   same durations, kept once.
//! - Which requests: those that count for the SLO, good or bad, and carry a duration. Of a scraped histogram: its
//!   observations, as far as they are counted for the SLO.

use crate::classify::{Classifier, Outcome};
use crate::counts::Took;
use crate::spec::{Catalog, Requests, Sli, Slo, SloId, SourceId, SourceKind, Statuses};

/// Significant decimal digits that a bucket tells of its durations.
pub const DIGITS: u8 = 2;
/// How many buckets there are.
pub const BUCKETS: usize = 1 << BUCKET_BITS;
/// The longest duration that has a bucket of its own width, in microseconds; longer ones share the last.
pub const LONGEST_US: u64 = (1 << 38) - 1;

const BUCKET_BITS: u32 = 12;
/// The binary logarithm of how many buckets a doubling has.
const HALF_BITS: u32 = 7;

/// Buckets that saw requests, ascending, and how many.
pub type Cells = Vec<(u16, u64)>;

/// How long requests of one set took in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    /// Hours since the epoch.
    pub hour: i64,
    /// The place of the set among the [`request_sets`] of the source.
    pub set: usize,
    /// What was counted.
    pub took: Took,
}

/// Requests whose durations are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSet {
    /// Which requests these are, in one spelling: the same set has the same name under other specs.
    pub name: String,
    /// The SLOs that are about exactly these.
    pub slos: Vec<SloId>,
}

/// The sets of a source whose records carry durations or that shows histograms, in the order of their first SLOs; none
/// of any other source.
pub fn request_sets(catalog: &Catalog, source: SourceId) -> Vec<RequestSet> {
    let mut sets: Vec<RequestSet> = Vec::new();
    if matches!(&catalog[source].kind, SourceKind::File(file) if !file.format.has_duration()) {
        return sets;
    }
    for id in (0..catalog.slos.len()).map(SloId).filter(|id| catalog[*id].source == source) {
        let slo = &catalog[id];
        let name = match (&slo.sli, &slo.requests) {
            // By their threshold as well, for a page without that bound is counted for other thresholds only.
            (Sli::Histogram { metric, threshold }, _) => format!("histogram {metric} {threshold}"),
            (_, Some(requests)) => name(slo, requests),
            (_, None) => continue,
        };
        match sets.iter_mut().find(|set| set.name == name) {
            Some(set) => set.slos.push(id),
            None => sets.push(RequestSet { name, slos: vec![id] }),
        }
    }
    sets
}

fn name(slo: &Slo, requests: &Requests) -> String {
    let every = Statuses::range(100, 599);
    let counted = match &slo.sli {
        Sli::Latency { count, .. } => *count,
        Sli::Availability { ignore, .. } => {
            let kept = (100..600).filter(|status| !ignore.contains(*status));
            kept.fold(Statuses::NONE, |set, status| set.union(Statuses::range(status, status)))
        }
        _ => every,
    };
    match counted == every {
        true => requests.canonical(),
        false => format!("{}; counted {counted}", requests.canonical()),
    }
}

/// The bucket of a duration.
#[inline(always)]
pub fn bucket_of(us: u64) -> u16 {
    let us = us.min(LONGEST_US);
    let doublings = 63 - HALF_BITS - (us | 0xff).leading_zeros();
    ((doublings << HALF_BITS) + (us >> doublings) as u32) as u16
}

/// The shortest duration of a bucket, in microseconds.
pub fn shortest_us(bucket: u16) -> u64 {
    let bucket = u32::from(bucket);
    let doublings = (bucket >> HALF_BITS).saturating_sub(1);
    u64::from(bucket - (doublings << HALF_BITS)) << doublings
}

/// The outcome of a request and the bucket of its duration.
pub(super) type Note = u32;

/// Notes an outcome, of which there are at most 2^20, and a duration.
#[inline(always)]
pub(super) fn note(outcome: Outcome, us: u64) -> Note {
    outcome << BUCKET_BITS | u32::from(bucket_of(us))
}

/// Turns notes into counts of sets.
#[derive(Debug)]
pub(super) struct Sorter {
    /// By set: the outcomes that belong to it.
    outcomes: Vec<Vec<Outcome>>,
    /// By outcome: where its buckets begin in `sorted`.
    starts: Vec<u32>,
    sorted: Vec<u16>,
    tray: Tray,
}

/// Counts of all buckets, of which few are not zero.
#[derive(Debug)]
struct Tray {
    counts: Box<[u32; BUCKETS]>,
    /// By bucket a bit, the lowest first: whether its count is not zero. To look for those in the counts themselves, a
    /// hundred in 16 KiB, would cost more than to count them.
    occupied: [u64; BUCKETS / 64],
}

impl Sorter {
    /// A sorter for the sets of a source.
    pub(super) fn new(catalog: &Catalog, source: SourceId, classifier: &Classifier) -> Self {
        let of_set = |set: RequestSet| {
            let is_in = |outcome: &Outcome| {
                let meaning = classifier.meaning(*outcome);
                meaning.good.iter().chain(&meaning.bad).any(|slo| set.slos.contains(slo))
            };
            (0..classifier.outcomes() as Outcome).filter(is_in).collect()
        };
        let outcomes = request_sets(catalog, source).into_iter().map(of_set).collect();
        let starts = vec![0; classifier.outcomes() + 1];
        Self { outcomes, starts, sorted: Vec::new(), tray: Tray::new() }
    }

    /// Whether nobody wants to know durations.
    pub(super) fn is_idle(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// The counts of every set that has any among the notes of one hour.
    pub(super) fn sort(&mut self, hour: i64, notes: &[Note]) -> Vec<Durations> {
        self.sort_by_outcome(notes);
        let mut found = Vec::new();
        for (set, outcomes) in self.outcomes.iter().enumerate() {
            for outcome in outcomes {
                let (from, to) = (self.starts[*outcome as usize], self.starts[*outcome as usize + 1]);
                self.sorted[from as usize..to as usize].iter().for_each(|bucket| self.tray.count(*bucket));
            }
            let cells = self.tray.drain();
            if !cells.is_empty() {
                found.push(Durations { hour, set, took: Took::Cells(cells) });
            }
        }
        found
    }

    /// A counting sort: buckets, those of one outcome side by side.
    fn sort_by_outcome(&mut self, notes: &[Note]) {
        self.starts.fill(0);
        for note in notes {
            self.starts[(note >> BUCKET_BITS) as usize] += 1;
        }
        let mut sum = 0;
        for start in &mut self.starts {
            sum += std::mem::replace(start, sum);
        }
        self.sorted.clear();
        self.sorted.resize(notes.len(), 0);
        for note in notes {
            let place = &mut self.starts[(note >> BUCKET_BITS) as usize];
            self.sorted[*place as usize] = (note % BUCKETS as u32) as u16;
            *place += 1;
        }
        // Each start has become the next one's.
        self.starts.rotate_right(1);
        self.starts[0] = 0;
    }
}

impl Tray {
    fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), occupied: [0; BUCKETS / 64] }
    }

    #[inline(always)]
    fn count(&mut self, bucket: u16) {
        let bucket = usize::from(bucket) % BUCKETS;
        self.counts[bucket] += 1;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    /// The counts that are not zero, which are zero afterwards.
    fn drain(&mut self) -> Cells {
        let found = self.occupied.iter().map(|word| word.count_ones() as usize).sum();
        let mut cells = Vec::with_capacity(found);
        for (place, word) in self.occupied.iter_mut().enumerate() {
            while *word != 0 {
                let bucket = place * 64 + word.trailing_zeros() as usize;
                cells.push((bucket as u16, u64::from(std::mem::take(&mut self.counts[bucket % BUCKETS]))));
                *word &= *word - 1;
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_holds_its_duration_and_is_narrow(us in prop_oneof![0..=LONGEST_US, 0..2_000_000u64, 0..600u64]) {
            let bucket = bucket_of(us);
            let (shortest, next) = (shortest_us(bucket), shortest_us(bucket + 1));
            prop_assert!(shortest <= us && us < next);
            prop_assert!((next - 1 - shortest) * 128 <= shortest);
        }
    }

    #[test]
    fn buckets_are_those_of_an_hdr_histogram() {
        let histogram = hdrhistogram::Histogram::<u64>::new_with_bounds(1, LONGEST_US, DIGITS).unwrap();
        assert_eq!(histogram.distinct_values(), BUCKETS);
        for bucket in 0..BUCKETS as u16 {
            let shortest = shortest_us(bucket);
            assert_eq!(bucket_of(shortest), bucket);
            assert_eq!(histogram.lowest_equivalent(shortest), shortest);
            assert_eq!(histogram.next_non_equivalent(shortest), shortest_us(bucket + 1));
        }
        assert_eq!(usize::from(bucket_of(u64::MAX)), BUCKETS - 1);
    }
}
