//! Random sequences of all that happens to logs, against a model that knows what was written where.
//!
//! Every line has a number. A writer appends to the log as a whole, in torn parts, or through a handle that does not
//! append; logs are rotated by renaming and by copying, packed, truncated, deleted, and switched by symlink; the
//! follower polls, commits or not, and starts again from its last commit. In the end every line was counted once, but
//! for those that nobody could read, and for each loss there is a gap; no line is one that was not written.
//!
//! `SLOGATE_TAIL_SEEDS` says how many seeds to try, `SLOGATE_TAIL_SEED` which one alone.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const SEEDS: u64 = 200;
const STEPS: u32 = 60;

/// xorshift64*: the same sequence for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

/// What a file holds, as the model knows it: the numbers of its lines, and whether the last one is incomplete.
#[derive(Clone, Debug, Default)]
struct Content {
    lines: Vec<u32>,
    torn: Option<u32>,
    /// How many of the lines were there at the last commit; `None` when the file was not.
    visible: Option<usize>,
}

struct Simulation {
    scene: Scene,
    dice: Dice,
    story: Vec<String>,
    /// How the log is reached: a name in a directory, perhaps behind a symlink.
    live: String,
    next: u32,
    /// Names, newest first, of what was rotated, with what is in them.
    aside: Vec<(String, Content)>,
    content: Content,
    /// Lines that were in a file when it was truncated without a copy or deleted: they may be missing, with a gap.
    endangered: BTreeSet<u32>,
    /// Whether there were such, or files that are gone and might have held some.
    was_destroyed: bool,
    /// Those of them of which nobody could know.
    unknowable: BTreeSet<u32>,
    /// Lines whose file was renamed and whose last line may be handed over without its end.
    torn_for_ever: BTreeSet<u32>,
    /// What was found up to the last commit: after a crash nothing else counts.
    committed: Found,
    days: u32,
    /// Whether where the symlink leads was seen and committed.
    may_switch: bool,
    numbered: bool,
    /// Rotated names are not shifted but get ever higher numbers; the last one.
    jumps: Option<u32>,
    /// What every generation begins with.
    header: String,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        dice.roll(2);
        let by_symlink = dice.roll(4) == 0;
        let glob = if by_symlink { "current" } else { ["access.log*", "access.log"][dice.roll(2) as usize] };
        let small = dice.roll(3) == 0;
        let scene = Scene::with(&[glob], |options| {
            options.max_line = 400;
            options.bytes_per_poll = if small { 3_000 } else { 4 << 20 };
            options.max_open = 8;
        });
        let live = if by_symlink { "day-0".to_owned() } else { "access.log".to_owned() };
        if by_symlink {
            symlink(scene.path(&live), scene.path("current")).unwrap();
        }
        let lines = [0, 1, 5][dice.roll(3) as usize];
        let header = format!("# {}\n", "x".repeat(300)).repeat(lines);
        let jumps = (dice.roll(3) == 0).then_some(0);
        Self {
            scene,
            dice,
            story: vec![format!(
                "glob {glob}, small {small}, header of {lines} lines, numbers that jump: {}",
                jumps.is_some()
            )],
            live,
            next: 1,
            aside: Vec::new(),
            content: Content::default(),
            endangered: BTreeSet::new(),
            was_destroyed: false,
            unknowable: BTreeSet::new(),
            torn_for_ever: BTreeSet::new(),
            committed: Found::default(),
            days: 0,
            may_switch: false,
            numbered: !by_symlink,
            jumps,
            header,
        }
    }

    fn tell(&mut self, what: impl Into<String>) {
        let what = what.into();
        // Long waits are told once.
        if !self.story.iter().rev().take(2).any(|told| *told == what && ["poll", "commit"].contains(&&*what)) {
            self.story.push(what);
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            match self.dice.roll(20) {
                0..=6 => self.write(),
                7 => self.write_torn(),
                8..=11 => self.poll(),
                12 => self.rest(),
                13 => self.crash(),
                14 | 15 if self.numbered => self.rotate(),
                16 if self.numbered => self.copytruncate(),
                17 if self.numbered => self.pack(),
                18 if self.numbered => self.delete(),
                18 => self.truncate(),
                14..=17 => self.switch(),
                _ => self.truncate(),
            }
        }
        self.complete();
        (0..40).for_each(|_| self.poll_after(2_000));
        self.judge();
    }

    /// Line `number`, of a length that depends on it; some are too long.
    fn line(number: u32) -> String {
        let length = if number.is_multiple_of(97) { 900 } else { number * 7 % 60 };
        format!("line {number} {}\n", "x".repeat(length as usize))
    }

    fn complete(&mut self) {
        if let Some(number) = self.content.torn.take() {
            let line = Self::line(number);
            self.scene.append(&self.live, &line[line.len() / 2..]);
            self.content.lines.push(number);
        }
    }

    /// A generation begins as all others do.
    fn begin(&mut self) {
        if self.content.lines.is_empty() && self.content.torn.is_none() {
            self.scene.append(&self.live, &self.header);
        }
    }

    fn write(&mut self) {
        self.complete();
        self.begin();
        let count = 1 + self.dice.roll(30) as u32;
        let text: String = (self.next..self.next + count).map(Self::line).collect();
        self.scene.append(&self.live, text);
        self.content.lines.extend(self.next..self.next + count);
        self.tell(format!("write {}..{}", self.next, self.next + count));
        self.next += count;
    }

    fn write_torn(&mut self) {
        self.complete();
        self.begin();
        let line = Self::line(self.next);
        self.scene.append(&self.live, &line[..line.len() / 2]);
        self.content.torn = Some(self.next);
        self.tell(format!("write half of {}", self.next));
        self.next += 1;
    }

    fn poll(&mut self) {
        self.poll_after(200);
    }

    fn poll_after(&mut self, ms: u64) {
        self.tell("poll");
        self.scene.now_ms += ms;
        self.scene.progress = self.scene.tail.poll(self.scene.now_ms, &mut self.scene.found);
        self.scene.check();
        if self.dice.roll(3) > 0 {
            self.scene.commit();
            self.committed = self.scene.found.clone();
            for content in self.aside.iter_mut().map(|(_, content)| content) {
                content.visible = Some(content.lines.len());
            }
            let is_there = self.scene.path(&self.live).exists();
            self.may_switch = is_there;
            self.content.visible = is_there.then_some(self.content.lines.len());
            self.tell("commit");
        }
    }

    /// Nothing happens for so long that rotated files are finished.
    fn rest(&mut self) {
        self.tell("rest");
        (0..7).for_each(|_| self.poll_after(1_000));
    }

    fn crash(&mut self) {
        self.tell("crash");
        self.scene.found = self.committed.clone();
        self.scene.restart();
    }

    /// What was half written when the file was put aside stays so.
    fn put_aside(&mut self) -> Content {
        let content = std::mem::take(&mut self.content);
        self.torn_for_ever.extend(content.torn);
        content
    }

    /// Makes room for one more rotated file, and says what it is called: every other one is moved one further, or it
    /// gets a higher number. The oldest goes once it is the tenth.
    fn shift(&mut self) -> String {
        if self.aside.len() >= 9 {
            let (name, content) = self.aside.pop().unwrap();
            self.scene.remove(&name);
            self.lose(&content, false);
        }
        if let Some(number) = self.jumps {
            let number = number + 1 + self.dice.roll(60) as u32;
            self.jumps = Some(number);
            return format!("access.log.{number}");
        }
        for place in (0..self.aside.len()).rev() {
            let (name, _) = &mut self.aside[place];
            let end = if name.ends_with(".gz") { ".gz" } else { "" };
            let to = format!("access.log.{}{end}", place + 2);
            let from = std::mem::replace(name, to.clone());
            self.scene.rename(&from, &to);
        }
        "access.log.1".to_owned()
    }

    fn rotate(&mut self) {
        if !self.scene.path("access.log").exists() {
            return;
        }
        self.tell("rotate");
        let to = self.shift();
        self.scene.rename("access.log", &to);
        let content = self.put_aside();
        self.aside.insert(0, (to.clone(), content));
        if self.dice.roll(2) == 0 {
            self.scene.append("access.log", "");
        }
        if self.dice.roll(2) == 0 {
            // A worker that has not reopened its log yet.
            let line = Self::line(self.next);
            if self.aside[0].1.torn.is_none() {
                self.scene.append(&to, line);
                self.aside[0].1.lines.push(self.next);
                self.next += 1;
            }
        }
        if !self.scene.options.globs[0].ends_with('*') && self.aside[0].1.visible.is_none() {
            // Only what was seen under its name is followed to names that were not asked for; it may be found, though.
            let content = self.aside[0].1.clone();
            self.lose(&content, false);
        }
    }

    fn copytruncate(&mut self) {
        if !self.scene.path("access.log").exists() {
            return;
        }
        self.tell("copytruncate");
        self.scene.pass_time();
        let to = self.shift();
        fs::copy(self.scene.path("access.log"), self.scene.path(&to)).unwrap();
        if self.dice.roll(3) == 0 {
            self.poll();
        }
        self.scene.truncate("access.log");
        let content = self.put_aside();
        if !self.scene.options.globs[0].ends_with('*') && content.visible.unwrap_or(0) == 0 {
            // It was empty when it was seen and is empty again.
            self.lose(&content, true);
        }
        let content = Content { visible: None, ..content };
        self.aside.insert(0, (to, content));
    }

    fn pack(&mut self) {
        let plain: Vec<usize> = (0..self.aside.len()).filter(|place| !self.aside[*place].0.ends_with(".gz")).collect();
        if plain.is_empty() {
            return;
        }
        let place = plain[self.dice.roll(plain.len() as u64) as usize];
        let name = self.aside[place].0.clone();
        let packed = format!("{name}.gz");
        self.tell(format!("pack {name}"));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&fs::read(self.scene.path(&name)).unwrap()).unwrap();
        let bytes = encoder.finish().unwrap();
        if self.dice.roll(2) == 0 {
            fs::write(self.scene.path(&packed), &bytes[..bytes.len() / 2]).unwrap();
            (0..1 + self.dice.roll(7)).for_each(|_| self.poll_after(1_000));
        }
        fs::write(self.scene.path(&packed), &bytes).unwrap();
        if self.dice.roll(2) == 0 {
            self.poll();
        }
        self.scene.remove(&name);
        self.aside[place].0 = packed;
    }

    fn delete(&mut self) {
        if !self.scene.path("access.log").exists() {
            return;
        }
        self.tell("delete");
        self.scene.remove("access.log");
        let content = self.put_aside();
        self.lose(&content, false);
    }

    fn truncate(&mut self) {
        if !self.scene.path(&self.live).exists() {
            return;
        }
        self.tell("truncate");
        self.scene.truncate(&self.live);
        let content = self.put_aside();
        self.lose(&content, true);
    }

    /// The file with this content is gone, or only its content is.
    fn lose(&mut self, content: &Content, is_truncated: bool) {
        self.was_destroyed = true;
        self.endangered.extend(content.lines.iter().chain(&content.torn));
        // What came and went between two looks leaves no trace; but a file that is gone is missed itself.
        let known = match content.visible {
            Some(visible) if is_truncated => visible,
            Some(_) => content.lines.len(),
            None => 0,
        };
        self.unknowable.extend(&content.lines[known..]);
    }

    fn switch(&mut self) {
        // A symlink that is switched twice leaves no trace of where it led in between.
        if !std::mem::take(&mut self.may_switch) {
            return;
        }
        self.tell("switch");
        self.days += 1;
        self.live = format!("day-{}", self.days);
        self.put_aside();
        self.scene.append(&self.live, "");
        fs::remove_file(self.scene.path("current")).unwrap();
        symlink(self.scene.path(&self.live), self.scene.path("current")).unwrap();
    }

    /// Compares what was found with what was written.
    fn judge(&self) {
        let found = &self.scene.found;
        let mut seen = BTreeSet::new();
        let number = |line: &str| line.split(' ').nth(1).and_then(|number| number.parse::<u32>().ok());
        let oversize = found.oversize.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        for line in found.lines.iter().cloned().chain(oversize).filter(|line| !line.starts_with('#')) {
            let number = number(&line).unwrap_or_else(|| panic!("torn line {line:?}"));
            assert!(Self::line(number).starts_with(&line), "torn line {line:?}");
            assert!(number.is_multiple_of(97) || Self::line(number).len() == line.len() + 1, "torn line {line:?}");
            assert!(seen.insert(number), "line {number} was counted twice");
        }
        for line in &found.unfinished {
            let is_half = |number: &u32| Self::line(*number).starts_with(line);
            assert!(self.torn_for_ever.iter().any(is_half), "handed over, but not torn for ever: {line:?}");
        }
        let missing: Vec<u32> =
            (1..self.next).filter(|number| !seen.contains(number) && !self.torn_for_ever.contains(number)).collect();
        for number in &missing {
            assert!(self.endangered.contains(number), "line {number} is missing, and was readable");
        }
        let is_known = missing.iter().any(|number| !self.unknowable.contains(number));
        assert!(!is_known || !found.gaps.is_empty(), "{missing:?} are missing without a gap");
        // Where everything could be read, there is nothing to report.
        assert!(self.was_destroyed || found.gaps.is_empty(), "a gap where nothing is missing: {:?}", found.gaps);
        assert_eq!(self.scene.progress.bytes_behind, 0);
    }
}

#[test]
fn every_line_is_counted_once_or_in_a_gap() {
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match from_environment("SLOGATE_TAIL_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=from_environment("SLOGATE_TAIL_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let mut simulation = Simulation::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulation.run()));
        if outcome.is_err() {
            panic!("seed {seed}:\n{}", simulation.story.join("\n"));
        }
    }
}
