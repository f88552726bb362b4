//! A target that keeps its own books: every event with its true time, every life of every process, and the pages that
//! somebody who scrapes it would see.

use std::ops::Range;

/// A small generator of pseudo-random numbers (Steele, Lea and Flood, "SplitMix", 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    /// Once in `sides` times.
    pub fn one_in(&mut self, sides: i64) -> bool {
        self.between(1, sides) == 1
    }
}

/// How a ratio is made of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One metric by code: two series are good, two are not.
    Codes,
    /// A metric of good events and one of all.
    GoodOfAll,
    /// A metric of bad events and one of all.
    BadOfAll,
    /// Two histograms, each with observations within 0.1, within 0.5 and beyond; 0.5 is the threshold.
    Histogram,
}

/// What tells processes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    Nothing,
    Process,
    Created,
    /// Both, and each only on some pages.
    Sometimes,
}

/// A kind of event: which series it moves is the shape's business.
pub const KINDS: usize = 6;

impl Shape {
    pub fn kinds(self) -> usize {
        match self {
            Self::Codes => 4,
            Self::GoodOfAll | Self::BadOfAll => 2,
            Self::Histogram => 6,
        }
    }

    pub fn is_good(self, kind: usize) -> bool {
        match self {
            Self::Codes => kind < 2,
            Self::GoodOfAll | Self::BadOfAll => kind == 0,
            Self::Histogram => kind % 3 < 2,
        }
    }

    pub fn series(self) -> usize {
        if self == Self::Codes { 4 } else { 2 }
    }

    /// For each number that a series shows: which kinds of event it counts.
    pub fn numbers(self, series: usize) -> &'static [&'static [usize]] {
        match (self, series) {
            (Self::Codes, 0) => &[&[0]],
            (Self::Codes, 1) => &[&[1]],
            (Self::Codes, 2) => &[&[2]],
            (Self::Codes, _) => &[&[3]],
            (Self::GoodOfAll, 0) => &[&[0]],
            (Self::BadOfAll, 0) => &[&[1]],
            (Self::GoodOfAll | Self::BadOfAll, _) => &[&[0, 1]],
            (Self::Histogram, 0) => &[&[0], &[0, 1], &[0, 1, 2]],
            (Self::Histogram, _) => &[&[3], &[3, 4], &[3, 4, 5]],
        }
    }

    /// Whether good and total are different counters.
    pub fn is_pair(self) -> bool {
        matches!(self, Self::GoodOfAll | Self::BadOfAll)
    }
}

/// From when to when a process lived, and what it had counted before anybody looked.
#[derive(Clone, Debug)]
struct Life {
    from_ms: i64,
    to_ms: i64,
    before: [u64; KINDS],
}

/// What a page shows of a series: its numbers, or something that is none.
#[derive(Clone, Debug)]
pub struct Sample {
    pub values: Vec<u64>,
    pub created_ms: Option<i64>,
    /// Shown in place of the first number.
    pub spoiled: Option<f64>,
}

/// A page, or the want of one.
#[derive(Clone, Debug)]
pub struct Shown {
    pub at_ms: i64,
    /// When its numbers were true.
    pub true_ms: i64,
    /// Which life of which replica answered; `None` for a failure.
    pub who: Option<(usize, usize)>,
    pub process_ms: Option<i64>,
    /// By series.
    pub samples: Vec<Option<Sample>>,
}

#[derive(Debug)]
pub struct World {
    pub shape: Shape,
    pub starts: Starts,
    pub interval_ms: i64,
    pub replicas: usize,
    /// No sample is ever missing or spoiled.
    pub is_clean: bool,
    /// Good and all are read at instants this far apart.
    pub race_ms: i64,
    /// How long a page takes, at most.
    pub slowest_ms: i64,
    lazy: bool,
    lives: Vec<Vec<Life>>,
    /// By replica and kind, ascending.
    events: Vec<[Vec<i64>; KINDS]>,
    /// In the order in which they arrive.
    pub pages: Vec<Shown>,
}

const BEGIN_MS: i64 = 1_700_000_000_000;

impl World {
    pub fn new(dice: &mut Dice) -> Self {
        let shape = [Shape::Codes, Shape::GoodOfAll, Shape::BadOfAll, Shape::Histogram][dice.between(0, 3) as usize];
        let starts =
            [Starts::Nothing, Starts::Process, Starts::Created, Starts::Sometimes][dice.between(0, 3) as usize];
        let interval_ms = dice.between(5_000, 60_000);
        let mut world = Self {
            shape,
            starts,
            interval_ms,
            replicas: if dice.one_in(5) { dice.between(2, 3) as usize } else { 1 },
            is_clean: dice.one_in(2),
            race_ms: if shape.is_pair() && dice.one_in(4) { dice.between(1, interval_ms / 4) } else { 0 },
            slowest_ms: if dice.one_in(5) { interval_ms / 2 - 300 } else { 200 },
            lazy: dice.one_in(2),
            lives: Vec::new(),
            events: Vec::new(),
            pages: Vec::new(),
        };
        let pages = dice.between(2, 40);
        let end_ms = BEGIN_MS + (pages + 4) * interval_ms;
        for replica in 0..world.replicas {
            let lives = world.lives(dice, replica, end_ms);
            world.lives.push(lives);
        }
        world.happen(dice, end_ms);
        world.scrape(dice, pages);
        world
    }

    fn lives(&self, dice: &mut Dice, replica: usize, end_ms: i64) -> Vec<Life> {
        let mut before = [0; KINDS];
        if !self.lazy {
            before.iter_mut().for_each(|count| *count = [0, 3, 50, 1_000_000][dice.between(0, 3) as usize]);
        }
        // No two replicas start whole seconds apart.
        let from_ms = (BEGIN_MS - dice.between(1_000, 3_600_000)) / 10 * 10 + replica as i64;
        let mut lives = vec![Life { from_ms, to_ms: i64::MAX, before }];
        let restarts = if dice.one_in(4) { dice.between(2, 12) } else { dice.between(0, 2) };
        let mut deaths: Vec<i64> = (0..restarts).map(|_| dice.between(BEGIN_MS, end_ms)).collect();
        deaths.sort_unstable();
        for death_ms in deaths {
            let down_ms = if dice.one_in(2) { 0 } else { dice.between(0, 2 * self.interval_ms) };
            let last = lives.last_mut().unwrap();
            let from_ms = (death_ms + down_ms) / 10 * 10 + 10 + replica as i64;
            if death_ms <= last.from_ms {
                continue;
            }
            last.to_ms = death_ms;
            lives.push(Life { from_ms, to_ms: i64::MAX, before: [0; KINDS] });
        }
        lives
    }

    fn happen(&mut self, dice: &mut Dice, end_ms: i64) {
        let weights: Vec<i64> = (0..self.shape.kinds()).map(|_| dice.between(0, 4)).collect();
        for replica in 0..self.replicas {
            let mut events: [Vec<i64>; KINDS] = Default::default();
            let busy = [0, 5, 50, 300][dice.between(0, 3) as usize];
            for (kind, weight) in weights.iter().enumerate() {
                for _ in 0..busy * weight / 4 {
                    let at_ms = dice.between(BEGIN_MS - 600_000, end_ms);
                    if self.life_at(replica, at_ms).is_some() {
                        events[kind].push(at_ms);
                    }
                }
                events[kind].sort_unstable();
            }
            self.events.push(events);
        }
    }

    fn scrape(&mut self, dice: &mut Dice, pages: i64) {
        let stickiness = dice.between(1, 6);
        let gaps = dice.one_in(3);
        let (mut who, mut number, mut spoiled_at) = (0, 0, vec![0; self.shape.series()]);
        for page in 0..pages {
            number += if gaps && dice.one_in(8) { dice.between(2, 6) } else { 1 };
            let jitter_ms = dice.between(-self.interval_ms / 10, self.interval_ms / 10);
            let at_ms = BEGIN_MS + number * self.interval_ms + jitter_ms;
            if dice.one_in(stickiness) {
                who = dice.between(0, self.replicas as i64 - 1) as usize;
            }
            let mut shown = self.show(dice, who, at_ms);
            // The first page that is taken is where counting begins, and what is wrong with it can be nobody's fault.
            if !self.is_clean && self.pages.iter().filter(|page| page.who.is_some()).count() > 1 {
                self.spoil(dice, &mut shown, page, &mut spoiled_at);
            }
            self.pages.push(shown);
            if dice.one_in(20) {
                let twin = self.show(dice, who, at_ms + 1);
                self.pages.push(twin);
            }
        }
        for page in 1..self.pages.len() {
            if dice.one_in(30) {
                self.pages.swap(page - 1, page);
            }
        }
    }

    /// The page that a replica would give.
    fn show(&self, dice: &mut Dice, who: usize, at_ms: i64) -> Shown {
        let true_ms = at_ms + dice.between(1, self.slowest_ms);
        let life = self.life_at(who, true_ms).filter(|_| !dice.one_in(25));
        let sometimes = self.starts == Starts::Sometimes;
        let has_process = self.starts == Starts::Process || sometimes && !dice.one_in(3);
        let has_created = self.starts == Starts::Created || sometimes && dice.one_in(3);
        let samples = (0..self.shape.series()).map(|series| {
            // The first series of a pair is written after the other one.
            let late_ms = if self.shape.is_pair() && series == 0 { self.race_ms } else { 0 };
            let sample = self.sample((who, life?), series, true_ms + late_ms)?;
            Some(Sample { created_ms: sample.created_ms.filter(|_| has_created), ..sample })
        });
        Shown {
            at_ms,
            true_ms,
            who: life.map(|life| (who, life)),
            process_ms: life.filter(|_| has_process).map(|life| self.lives[who][life].from_ms),
            samples: samples.collect(),
        }
    }

    fn sample(&self, (who, life): (usize, usize), series: usize, true_ms: i64) -> Option<Sample> {
        let life = &self.lives[who][life];
        let until_ms = true_ms.min(life.to_ms);
        let count = |kinds: &&[usize]| {
            kinds.iter().map(|kind| life.before[*kind] + self.count(who, *kind, life.from_ms, until_ms)).sum()
        };
        let numbers = self.shape.numbers(series);
        let values: Vec<u64> = numbers.iter().map(count).collect();
        if !self.lazy {
            return Some(Sample { values, created_ms: Some(life.from_ms), spoiled: None });
        }
        // A series is created by its first event.
        let kinds = numbers.last()?.iter();
        let first = kinds.filter_map(|kind| {
            let times = &self.events[who][*kind];
            times.get(times.partition_point(|time| *time <= life.from_ms)).copied()
        });
        let created_ms = first.min().filter(|first| *first <= until_ms)? - 1;
        Some(Sample { values, created_ms: Some(created_ms), spoiled: None })
    }

    fn spoil(&self, dice: &mut Dice, shown: &mut Shown, page: i64, spoiled_at: &mut [i64]) {
        for (series, spoiled_at) in spoiled_at.iter_mut().enumerate() {
            // Half of a pair that is missing for long is no fault that anybody could see.
            if self.shape.is_pair() && page - *spoiled_at < 6 || !dice.one_in(12) {
                continue;
            }
            *spoiled_at = page;
            if dice.one_in(2) {
                if self.is_known(shown, series) {
                    shown.samples[series] = None;
                }
            } else if let Some(sample) = &mut shown.samples[series] {
                let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -0.0, 0.5, 1e308, 9_007_199_254_740_994.0];
                sample.spoiled = Some(bad[dice.between(0, 7) as usize]);
            }
        }
    }

    /// Whether the pages before showed a series of this process. One that is missing from what would be its first page
    /// is missed by nobody.
    fn is_known(&self, shown: &Shown, series: usize) -> bool {
        let before = self.pages.len().checked_sub(2).map(|from| &self.pages[from..]);
        before.is_some_and(|pages| pages.iter().all(|page| page.who == shown.who && page.samples[series].is_some()))
    }

    fn life_at(&self, replica: usize, at_ms: i64) -> Option<usize> {
        self.lives[replica].iter().position(|life| life.from_ms < at_ms && at_ms <= life.to_ms)
    }

    /// Events of a kind after `from` and up to `to`.
    pub fn count(&self, replica: usize, kind: usize, from_ms: i64, to_ms: i64) -> u64 {
        let times = &self.events[replica][kind];
        let upto = |at_ms: i64| times.partition_point(|time| *time <= at_ms);
        upto(to_ms).saturating_sub(upto(from_ms)) as u64
    }

    /// Good and bad events of these replicas after `from` and up to `to`.
    pub fn truth(&self, replicas: Range<usize>, from_ms: i64, to_ms: i64) -> (u64, u64) {
        let mut truth = (0, 0);
        for replica in replicas {
            for kind in 0..self.shape.kinds() {
                let count = self.count(replica, kind, from_ms, to_ms);
                *(if self.shape.is_good(kind) { &mut truth.0 } else { &mut truth.1 }) += count;
            }
        }
        truth
    }
}
