//! Plans: everything that happens in one simulated life of a server, as plain data, so that a failing plan can be cut
//! down to what matters.
//!
//! An operation holds all that was drawn for it. It never draws while it is carried out, so that leaving one out
//! changes nothing about the others.

/// The logs of the simulated world, by position: one rotated by name, one switched by symlink.
pub const FRONT: usize = 0;
pub const EDGE: usize = 1;

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A web server writes whole lines; a line that it had half written is completed first.
    Write(usize, Vec<Line>),
    /// It writes the beginning of a line, this many parts of a hundred.
    WriteTorn(usize, Line, usize),
    /// A worker that has not reopened its log writes to the file that was renamed last.
    WriteAside(Line),
    /// The log is renamed. What was half written is left so for ever, or completed before.
    Rotate { leaves_torn: bool, creates: bool },
    /// The log is copied and then truncated; what happens between the two.
    Copytruncate { leaves_torn: bool, between: Between },
    /// The rotated file at this place, counted round, is packed.
    Pack { place: usize, is_seen_twice: bool },
    /// The log loses its content.
    Truncate(usize),
    /// The log is deleted; whoever writes next creates it.
    Delete(usize, bool),
    /// The symlink leads to a new file.
    Switch { leaves_torn: bool },
    /// A follower looks at its files.
    Poll(usize),
    /// The owner takes a delivery.
    Take,
    /// The owner ticks.
    Turn,
    /// All of the three, twice: the normal course of things.
    Work,
    /// Time passes.
    Pass(i64),
    /// The machine sleeps: the wall clock goes on, others do not.
    Sleep(i64),
    /// Somebody sets the wall clock.
    Step(i64),
    /// It is put right.
    PutRight,
    /// What becomes of the next commits.
    Trouble(Trouble, usize),
    /// The power goes during the next commit, which is made or not.
    PowerFails { made: bool },
    /// The process is killed here.
    Crash,
    /// It is asked to stop, and started again.
    Stop,
    /// Somebody orders something.
    Order { service: usize, freeze: bool, until: Option<i64>, hears: bool },
    /// Everything that can be read is read and committed.
    Settle,
}

/// What happens while a log is copied and truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    Nothing,
    /// The follower looks.
    Poll,
    /// A line is written, which is not in the copy.
    Write,
    /// That, and the follower sees it in time.
    WriteAndPoll,
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The disk is full; nothing was made.
    Full,
    /// It fails, but was made.
    MadeAfterAll,
    /// A sync fails, and nothing more is written until the next start.
    Broken { made: bool },
}

/// One line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub route: Route,
    pub status: u16,
    /// In milliseconds, if it was measured.
    pub duration: Option<u64>,
    pub shape: Shape,
    pub at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Cart,
    Edge,
    Shop,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Plain,
    /// Its path says that it is another line: escaped, as servers do, so that it is none.
    Forged,
    /// The same without the escapes.
    Injected,
    /// No line at all.
    Garbage,
    /// With NULs before it, as a stale writer leaves them.
    Nuls(usize),
    /// Ended with CR LF.
    Cr,
    /// Longer than lines may be.
    Oversize,
}

/// When a line says that it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// So long before the writer's clock; negative is after.
    Ago(i64),
    /// So long before the true time, which differs while the clock is wrong.
    TrulyAgo(i64),
}

/// splitmix64: the same sequence for the same seed, everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `sides` - 1.
    pub fn roll(&mut self, sides: usize) -> usize {
        (self.next() % sides as u64) as usize
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    fn below(&mut self, end: i64) -> i64 {
        self.roll(end as usize) as i64
    }
}

/// How many operations a plan has.
const OPS: usize = 70;

/// The plan of a seed.
pub fn plan(seed: u64) -> Vec<Op> {
    let mut dice = Dice::new(seed);
    // Some worlds are calmer than others, so that faults also meet a server that has been running for a while.
    let calm = dice.pick(&[0, 0, 20, 60]);
    let mut ops: Vec<Op> =
        (0..OPS).map(|_| if dice.roll(100) < calm { peace(&mut dice) } else { any(&mut dice) }).collect();
    ops.push(Op::Settle);
    ops
}

fn peace(dice: &mut Dice) -> Op {
    match dice.roll(8) {
        0..=3 => write(dice),
        4..=6 => Op::Work,
        _ => Op::Pass(dice.below(5_000)),
    }
}

fn any(dice: &mut Dice) -> Op {
    match dice.roll(100) {
        0..=19 => write(dice),
        20..=23 => {
            let log = log(dice);
            Op::WriteTorn(log, line(dice, log), 1 + dice.roll(99))
        }
        24 => Op::WriteAside(line(dice, FRONT)),
        25..=28 => Op::Rotate { leaves_torn: dice.once_in(2), creates: dice.once_in(2) },
        29..=31 => {
            let between = dice.pick(&[Between::Nothing, Between::Poll, Between::Write, Between::WriteAndPoll]);
            Op::Copytruncate { leaves_torn: dice.once_in(2), between }
        }
        32 | 33 => Op::Pack { place: dice.roll(4), is_seen_twice: dice.once_in(2) },
        34 | 35 => Op::Truncate(log(dice)),
        36 | 37 => Op::Delete(log(dice), dice.once_in(2)),
        38 | 39 => Op::Switch { leaves_torn: dice.once_in(2) },
        40..=49 => Op::Poll(log(dice)),
        50..=56 => Op::Take,
        57..=62 => Op::Turn,
        63..=72 => Op::Work,
        73..=76 => Op::Pass(dice.pick(&[300, 1_000, 6_000, 40_000, 10 * MINUTE, 11 * MINUTE, HOUR, 3 * HOUR])),
        77 => Op::Sleep(dice.pick(&[MINUTE, 11 * MINUTE, 59 * MINUTE, 7 * HOUR, 26 * HOUR])),
        78..=80 => step(dice),
        81 | 82 => Op::PutRight,
        83..=85 => {
            let trouble = dice.pick(&[
                Trouble::Full,
                Trouble::Full,
                Trouble::MadeAfterAll,
                Trouble::MadeAfterAll,
                Trouble::Broken { made: false },
                Trouble::Broken { made: true },
            ]);
            Op::Trouble(trouble, 1 + dice.roll(3))
        }
        86..=89 => Op::PowerFails { made: dice.once_in(2) },
        90 | 91 => Op::Crash,
        92 => Op::Stop,
        93..=97 => Op::Order {
            service: dice.roll(3),
            freeze: dice.once_in(2),
            until: dice.pick(&[None, None, Some(0), Some(500), Some(20 * MINUTE), Some(5 * HOUR)]),
            hears: !dice.once_in(4),
        },
        _ => Op::Settle,
    }
}

fn log(dice: &mut Dice) -> usize {
    if dice.once_in(3) { EDGE } else { FRONT }
}

fn write(dice: &mut Dice) -> Op {
    let log = log(dice);
    let most = dice.pick(&[1, 3, 8]);
    let count = 1 + dice.roll(most);
    // Often all of a kind, so that budgets are spent and earned back.
    let like = line(dice, log);
    let alike = dice.once_in(2);
    Op::Write(log, (0..count).map(|_| if alike { like } else { line(dice, log) }).collect())
}

fn step(dice: &mut Dice) -> Op {
    let size = dice.pick(&[1_500, MINUTE, 6 * MINUTE, HOUR, 5 * HOUR, DAY, 3 * DAY, FAR, FAR]);
    Op::Step(if dice.once_in(2) { size } else { -size })
}

/// A step so far that no window reaches over it; each is made to lead to years where the clock has not been.
pub const FAR: i64 = 400 * DAY;

fn line(dice: &mut Dice, log: usize) -> Line {
    let own = if log == EDGE { Route::Edge } else { dice.pick(&[Route::Shop, Route::Shop, Route::Cart]) };
    let route = if dice.once_in(8) { dice.pick(&[Route::Cart, Route::Edge, Route::Shop, Route::Other]) } else { own };
    let status = match dice.roll(10) {
        0..=5 => 200,
        6 => dice.pick(&[101, 304, 404, 499]),
        _ => dice.pick(&[500, 503, 599]),
    };
    let duration = (!dice.once_in(8)).then(|| dice.pick(&[1, 80, 299, 300, 301, 499, 500, 501, 2_000]));
    let shape = match dice.roll(24) {
        0 => Shape::Forged,
        1 => Shape::Injected,
        2 => Shape::Garbage,
        3 => Shape::Nuls(1 + dice.roll(300)),
        4 => Shape::Cr,
        5 => Shape::Oversize,
        _ => Shape::Plain,
    };
    Line { route, status, duration, shape, at: at(dice) }
}

fn at(dice: &mut Dice) -> At {
    let edge = dice.below(2_500) - 1_000;
    let ago = match dice.roll(16) {
        0..=6 => dice.below(3_000),
        7 | 8 => dice.below(10 * MINUTE),
        9 => dice.below(2 * HOUR),
        10 => dice.below(2 * DAY),
        // The edges of the windows, of what is accepted, and of what is future.
        11 => HOUR + edge * 40,
        12 => 6 * HOUR + edge * 40,
        13 => 28 * DAY + edge * 40,
        14 => -5 * MINUTE + edge,
        _ => dice.pick(&[-6 * MINUTE, -DAY, 29 * DAY, 400 * DAY]),
    };
    if dice.once_in(4) { At::TrulyAgo(ago) } else { At::Ago(ago) }
}
