//! One history: the target is shown the pages and what it counts is held against the books.

use std::collections::BTreeMap;
use std::ops::Range;

use slogate::increase::{
    Bound, Effect, Ignored, Measure, MeasureKind, Note, NoteKind, Part, Role, Rules, Scrape, Target, whole,
};
use slogate::tally::Tally;
use slogate::time::{Minute, Timestamp};

use super::twin::{Reading, Twin};
use super::world::{Dice, Sample, Shape, Shown, Starts, World};

/// What can be said of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing was noted, and the counts are those of the books.
    Exact,
    /// A lower bound, and what is missing was not to be seen.
    LowerBound,
    /// Good and total were read at different instants.
    Skewed,
    /// Several processes, and the target was found out.
    Suspect,
    /// A restart that no page shows: never more than there was.
    Unseen,
    /// Several processes that no page tells apart.
    Mixed,
}

/// A page that was taken.
struct Taken {
    at_ms: i64,
    true_ms: i64,
}

pub struct History<'w> {
    world: &'w World,
    target: Target,
    taken: Vec<Taken>,
    minutes: BTreeMap<Minute, Tally>,
    notes: Vec<Note>,
    twin: Twin,
    /// The start of the process, as the last page had it that said.
    known_ms: Option<i64>,
}

fn measure(shape: Shape) -> Measure {
    let kind = match shape {
        Shape::Codes | Shape::GoodOfAll => MeasureKind::Ratio(Part::Good),
        Shape::BadOfAll => MeasureKind::Ratio(Part::Bad),
        Shape::Histogram => MeasureKind::Histogram { threshold: Bound::of_micros(500_000) },
    };
    Measure { key: "measure".into(), formerly: vec![], kind }
}

fn role(shape: Shape, series: usize) -> Role {
    match shape {
        Shape::Codes if series < 2 => Role::Both,
        Shape::GoodOfAll | Shape::BadOfAll if series == 0 => Role::Part,
        Shape::Histogram => Role::Both,
        _ => Role::Total,
    }
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

impl<'w> History<'w> {
    pub fn play(world: &'w World, dice: &mut Dice) -> Verdict {
        let rules = Rules { interval_ms: world.interval_ms, most_series: 10 };
        let target = Target::new(rules, &[measure(world.shape)], None);
        let twin = Twin::new(world.shape);
        let mut history =
            Self { world, target, taken: vec![], minutes: BTreeMap::new(), notes: vec![], twin, known_ms: None };
        for page in &world.pages {
            history.show(page);
            if dice.one_in(10) {
                let saved = history.target.save();
                let measures = [measure(world.shape)];
                history.target = Target::restore(rules, &measures, &saved.directory, &saved.state).unwrap();
                assert_eq!(history.target.save(), saved);
            }
        }
        history.judge()
    }

    fn show(&mut self, page: &Shown) {
        let Some(who) = page.who else {
            self.target.failed(time(page.at_ms));
            return;
        };
        let last_ms = self.taken.last().map(|taken| taken.at_ms);
        let mut scrape = match self.target.begin(time(page.at_ms)) {
            Ok(scrape) => scrape,
            Err(Ignored::OutOfOrder) => return assert!(last_ms.is_some_and(|last_ms| page.at_ms <= last_ms)),
            Err(Ignored::Duplicate) => {
                return assert!(last_ms.is_some_and(|last_ms| (page.at_ms - last_ms) * 2 < self.world.interval_ms));
            }
            Err(Ignored::NoTime(_)) => unreachable!(),
        };
        page.process_ms.into_iter().for_each(|start_ms| scrape.process_start(time(start_ms)));
        for (series, sample) in page.samples.iter().enumerate() {
            if let Some(sample) = sample {
                write(&mut scrape, self.world.shape, series, sample);
            }
        }
        let increase = scrape.finish().unwrap().measures.remove(0);
        for (minute, tally) in increase.minutes {
            *self.minutes.entry(minute).or_default() += tally;
        }
        self.notes.extend(increase.notes);
        self.taken.push(Taken { at_ms: page.at_ms, true_ms: page.true_ms });
        self.known_ms = page.process_ms.or(self.known_ms);
        let known_ms = self.known_ms;
        let readings = page.samples.iter().map(|sample| {
            let sample = sample.as_ref().filter(|sample| sample.spoiled.is_none())?;
            let (at_ms, true_ms, process_ms) = (page.at_ms, page.true_ms, page.process_ms);
            let (created_ms, values) = (sample.created_ms, sample.values.clone());
            Some(Reading { at_ms, true_ms, who, process_ms, known_ms, created_ms, values })
        });
        self.twin.show(page.at_ms, who, page.process_ms, readings.collect());
    }

    fn judge(&self) -> Verdict {
        let counted: Tally = self.minutes.values().copied().sum();
        let Some((first, last)) = self.taken.first().zip(self.taken.last()) else {
            assert!(counted.is_empty());
            return Verdict::Exact;
        };
        let effect = self.notes.iter().map(|note| note.kind.effect()).max().unwrap_or(Effect::None);
        if self.replicas().len() > 1 {
            return self.judge_mixed(counted, effect, (first, last));
        }
        let (good, bad) = self.truth(first.true_ms, last.true_ms + self.world.race_ms);
        assert!(counted.total() <= good + bad, "{counted:?} of {good} and {bad}");
        if self.world.race_ms > 0 {
            return self.judge_race(counted, effect, (first, last));
        }
        assert!(counted.good <= good && counted.bad <= bad, "{counted:?} of {good} and {bad}");
        if !self.world.shape.is_pair() && effect < Effect::Suspect && self.target.held_back(0) == 0 {
            // Good that is ahead of the total belongs to restarts that no number shows.
            let (good, total) = self.twin.count();
            let ahead = self.notes.iter().any(|note| note.kind == NoteKind::GoodExceedsTotal);
            assert!(ahead || counted.good == good, "{counted:?}, but the twin has {good} good events");
            assert_eq!(counted.total(), total, "the twin");
        }
        if self.twin.has_unseen_restart() {
            return Verdict::Unseen;
        }
        let (good, bad) = self.readable(first.true_ms);
        let lost = (good + bad).saturating_sub(counted.total());
        let held = self.target.held_back(0);
        if effect == Effect::None && held == 0 && self.is_whole() {
            assert_eq!((counted.good, counted.bad), (good, bad), "nothing was noted");
            self.judge_minutes();
            return Verdict::Exact;
        }
        let unseen: u64 = self.notes.iter().map(|note| self.unseen(note)).sum();
        assert!(lost <= unseen + held || !self.is_whole(), "{lost} are missing, {unseen} unseen and {held} held");
        match effect {
            Effect::None => Verdict::Exact,
            Effect::Suspect => Verdict::Suspect,
            _ => Verdict::LowerBound,
        }
    }

    /// Those that anybody saw: one, or all.
    fn replicas(&self) -> Range<usize> {
        match self.twin.only_replica() {
            Some(replica) => replica..replica + 1,
            None => 0..self.world.replicas,
        }
    }

    fn truth(&self, from_ms: i64, to_ms: i64) -> (u64, u64) {
        self.world.truth(self.replicas(), from_ms, to_ms)
    }

    /// Whether all of a pair was on the last page; of other shapes, each series is whole by itself.
    fn is_whole(&self) -> bool {
        !self.world.shape.is_pair() || self.twin.is_whole()
    }

    /// Events up to the last reading of each series.
    fn readable(&self, from_ms: i64) -> (u64, u64) {
        let shape = self.world.shape;
        if shape.is_pair() {
            let last_ms = self.taken.last().map_or(from_ms, |last| last.true_ms);
            return self.truth(from_ms, last_ms);
        }
        let (mut good, mut bad) = (0, 0);
        for series in 0..shape.series() {
            let Some(last_ms) = self.twin.last_true_ms(series) else { continue };
            for kind in shape.numbers(series).last().unwrap().iter() {
                let count = self.world.count(self.replicas().start, *kind, from_ms, last_ms);
                *(if shape.is_good(*kind) { &mut good } else { &mut bad }) += count;
            }
        }
        (good, bad)
    }

    /// The most events that a note can be about.
    fn unseen(&self, note: &Note) -> u64 {
        if note.kind.effect() < Effect::LowerBound {
            return 0;
        }
        let (good, bad) = self.truth(note.from.millis(), note.to.millis() + self.world.slowest_ms);
        if note.kind == NoteKind::FirstSeen && note.events > 0 { note.events.max(good + bad) } else { good + bad }
    }

    /// Every minute holds at least what was counted between pages inside it, and at most what was between pages around.
    fn judge_minutes(&self) {
        if !self.world.is_clean {
            return;
        }
        let (first, last) = (&self.taken[0], &self.taken[self.taken.len() - 1]);
        for number in time(first.at_ms).minute().number()..=time(last.at_ms).minute().number() {
            let minute = Minute::from_number(number);
            let (start_ms, end_ms) = (minute.start().millis(), minute.plus(1).start().millis());
            let after = self.taken.partition_point(|taken| taken.at_ms < start_ms);
            let until = self.taken.partition_point(|taken| taken.at_ms <= end_ms);
            let inner = match self.taken.get(after..until) {
                Some([first, .., last]) => self.truth(first.true_ms, last.true_ms),
                _ => (0, 0),
            };
            let before = self.taken.partition_point(|taken| taken.at_ms <= start_ms).saturating_sub(1);
            let beyond = self.taken.partition_point(|taken| taken.at_ms < end_ms).min(self.taken.len() - 1);
            let outer = self.truth(self.taken[before].true_ms, self.taken[beyond].true_ms);
            let tally = self.minutes.get(&minute).copied().unwrap_or_default();
            let fits = |inner: u64, count: u64, outer: u64| inner <= count && count <= outer;
            assert!(
                fits(inner.0, tally.good, outer.0) && fits(inner.1, tally.bad, outer.1),
                "{minute:?}: {inner:?} <= {tally:?} <= {outer:?}"
            );
        }
    }

    /// Good was read after all: only what happened between the two can be on the wrong side.
    fn judge_race(&self, counted: Tally, effect: Effect, (first, last): (&Taken, &Taken)) -> Verdict {
        if effect >= Effect::LowerBound || self.target.held_back(0) > 0 || !self.is_whole() {
            return Verdict::LowerBound;
        }
        if self.twin.has_unseen_restart() {
            return Verdict::Unseen;
        }
        let (good, bad) = self.truth(first.true_ms, last.true_ms);
        assert_eq!(counted.total(), good + bad, "a race moves no event in or out");
        let between = |taken: &Taken| self.truth(taken.true_ms, taken.true_ms + self.world.race_ms);
        let skew: u64 = self.taken.iter().map(between).map(|(good, bad)| good + bad).sum();
        assert!(counted.bad.abs_diff(bad) <= skew, "{counted:?} of {good} and {bad}, and {skew} in between");
        if effect == Effect::None { Verdict::Exact } else { Verdict::Skewed }
    }

    fn judge_mixed(&self, counted: Tally, effect: Effect, (first, last): (&Taken, &Taken)) -> Verdict {
        // The first page says nothing of the others, which count from when it was asked for.
        let (good, bad) = self.truth(first.at_ms, last.true_ms + self.world.race_ms);
        if matches!(self.world.starts, Starts::Process | Starts::Created) {
            assert!(effect >= Effect::LowerBound || !self.twin.is_mixed(), "nobody noticed");
            assert!(counted.total() <= good + bad, "{counted:?} of {good} and {bad}");
            if self.world.race_ms == 0 {
                assert!(counted.good <= good && counted.bad <= bad, "{counted:?} of {good} and {bad}");
            }
            return Verdict::Suspect;
        }
        if self.twin.falls_in_ten() >= 3 {
            assert!(self.notes.iter().any(|note| note.kind == NoteKind::Flapping), "nobody noticed");
        }
        if !self.world.shape.is_pair() {
            let (_, total) = self.twin.count();
            assert!(counted.total() <= total, "{counted:?}, but {total} at most");
        }
        if effect == Effect::Suspect { Verdict::Suspect } else { Verdict::Mixed }
    }
}

fn write(scrape: &mut Scrape<'_>, shape: Shape, series: usize, sample: &Sample) {
    let slot = scrape.slot(0, format!("series {series}").as_bytes(), role(shape, series)).unwrap();
    let spoiled = sample.spoiled.map(whole);
    if shape == Shape::Histogram {
        for (place, (bound, value)) in [0.1, 0.5, f64::INFINITY].into_iter().zip(&sample.values).enumerate() {
            let value = spoiled.filter(|_| place == 0).unwrap_or(Ok(*value));
            assert!(scrape.bucket(slot, Bound::new(bound).unwrap(), value));
        }
    } else {
        assert!(scrape.counter(slot, spoiled.unwrap_or(Ok(sample.values[0])), None));
    }
    if let Some(created_ms) = sample.created_ms {
        assert!(scrape.created(slot, time(created_ms)));
    }
}
