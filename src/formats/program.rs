//! A log format compiled for speed: every field is found from a fixed end, without trying.
//!
//! Where the server escapes what clients send, a bare `"` can only come from the format. The quotes of a line, found by
//! [`super::index`], therefore cut it into *stretches* whose number and place are certain. Within a stretch, literals
//! and values of known bytes are read from its left end up to the first value that may hold anything, and from its right
//! end down to the last. A field that is reached like this has one reading; a format in which a needed field is not is
//! refused, or read by [`super::exhaustive`] which looks for all readings.
//!
//! Invariants
//! - [`run`] accepts a line only if it has the format as a whole, and gives the fields that the exhaustive reader gives.
//! - Without escaping (`escape=none`) quotes mean nothing, and the line is one stretch.

use super::nginx::Escape;
use super::token::{Class, Field, SLOTS, Shape, Token, Variable};

/// Where the fields stand in a line: start and end, by [`Field::slot`]. Of a field that the format lacks, `(0, 0)`.
pub type Spans = [(u32, u32); SLOTS];

/// A format of which every needed field has one reading.
#[derive(Clone, Debug)]
pub struct Program {
    stretches: Box<[Stretch]>,
    /// How many bare quotes a line has; `None` when quotes mean nothing.
    pub quotes: Option<usize>,
}

/// What stands between two quotes of the line, or between a quote and an end of the line.
#[derive(Clone, Debug)]
struct Stretch {
    /// Which quote it begins behind; `None` for the beginning of the line.
    behind: Option<usize>,
    /// Text right behind that quote, in which further quotes of the line may stand.
    opening: Text,
    /// Which quote it ends before; `None` for the end of the line.
    before: Option<usize>,
    left: Box<[Step]>,
    right: Box<[Step]>,
    middle: Middle,
}

/// One piece, read from the end at which the cursor is.
#[derive(Clone, Debug)]
enum Step {
    Literal(Text),
    Fixed(usize, Option<usize>),
    Run(Class, Option<usize>),
}

/// Text to compare with: up to eight bytes of it in one comparison.
#[derive(Clone, Debug, Default)]
struct Text {
    bytes: Box<[u8]>,
    /// The first eight bytes, and which of their bits count.
    word: u64,
    mask: u64,
}

impl Text {
    fn new(bytes: &[u8]) -> Self {
        let mut padded = [0; 8];
        let head = bytes.len().min(8);
        padded[..head].copy_from_slice(&bytes[..head]);
        let mask = if head == 0 { 0 } else { u64::MAX >> (64 - 8 * head) };
        Self { bytes: bytes.into(), word: u64::from_le_bytes(padded), mask }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it stands at `at` in `line`, which has as many bytes from there on.
    #[inline(always)]
    fn stands_at(&self, line: Line<'_>, at: usize) -> bool {
        (line.word(at) ^ self.word) & self.mask == 0 && (self.len() <= 8 || line.text[at..].starts_with(&self.bytes))
    }
}

/// A line in its block: what follows it is looked at in passing, and never counts.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    length: usize,
}

impl Line<'_> {
    /// Eight bytes, zeros where the block ends.
    #[inline(always)]
    fn word(self, at: usize) -> u64 {
        match self.text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            Some(word) => u64::from_le_bytes(*word),
            None => self.last_word(at),
        }
    }

    #[cold]
    fn last_word(self, at: usize) -> u64 {
        let rest = self.text.get(at..).unwrap_or_default();
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        u64::from_le_bytes(word)
    }
}

/// What the steps from the left and from the right leave between them.
#[derive(Clone, Debug)]
enum Middle {
    /// Nothing at all.
    Empty,
    /// One value: of any bytes, or of this class.
    Value(Option<Class>, Option<usize>),
    /// Unneeded values of any bytes with these literals between them.
    Values(Box<[Box<[u8]>]>),
}

impl Program {
    /// Compiles `tokens`.
    ///
    /// # Errors
    /// What stands in the way of a single, certain reading.
    pub fn compile(tokens: &[Token], escape: Escape) -> Result<Self, Obstacle> {
        let mut stretches = Vec::new();
        let mut obstacles = Vec::new();
        let mut quotes = 0;
        let mut current = Pending::default();
        for token in tokens {
            match token {
                Token::Literal(text) if escape == Escape::Backslash => {
                    for (number, piece) in text.split(|byte| *byte == b'"').enumerate() {
                        if number > 0 {
                            let next = Pending { behind: Some(quotes), ..Pending::default() };
                            stretches.push(std::mem::replace(&mut current, next).finish(Some(quotes), &mut obstacles));
                            quotes += 1;
                        }
                        if !piece.is_empty() {
                            current.tokens.push(Token::Literal(piece.to_vec()));
                        }
                    }
                }
                token => current.tokens.push(token.clone()),
            }
        }
        stretches.push(current.finish(None, &mut obstacles));
        match worst(obstacles) {
            Some(obstacle) => Err(obstacle),
            None => Ok(Self {
                stretches: fold_literals(stretches).into_boxed_slice(),
                quotes: (escape == Escape::Backslash).then_some(quotes),
            }),
        }
    }

    /// Where the fields stand in the line that is the first `length` bytes of `text`; `None` if it does not have the
    /// format. `quotes` less `base` are the places of its bare quotes, as many as [`Program::quotes`] says.
    #[inline]
    pub fn run(&self, text: &[u8], length: usize, quotes: &[u32], base: u32) -> Option<Spans> {
        let line = Line { text, length };
        let mut spans = [(0, 0); SLOTS];
        for stretch in &self.stretches {
            let mut from = stretch.behind.map_or(0, |quote| (quotes[quote] - base) as usize + 1);
            let to = stretch.before.map_or(line.length, |quote| (quotes[quote] - base) as usize);
            if from + stretch.opening.len() > to || !stretch.opening.stands_at(line, from) {
                return None;
            }
            from += stretch.opening.len();
            let stop = read_backward(&stretch.right, line, from, to, &mut spans)?;
            let from = read_forward(&stretch.left, line, from, stop, &mut spans)?;
            match &stretch.middle {
                Middle::Empty if from == stop => {}
                Middle::Empty => return None,
                Middle::Value(None, slot) => take(&mut spans, *slot, from, stop),
                Middle::Value(Some(class), slot) if class.run(text, from, stop) == stop => {
                    take(&mut spans, *slot, from, stop);
                }
                Middle::Value(Some(_), _) => return None,
                Middle::Values(literals) => contains_in_order(&text[from..stop], literals)?,
            }
        }
        Some(spans)
    }
}

/// Why a format has no certain reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Its needed fields have, but between values of any bytes there stands one that must be looked for.
    Unsure,
    /// This needed field has values of any bytes on both sides, and a client can write something like it into those.
    Forgeable(Variable),
}

/// The obstacle to tell the user of: rather a field that the server vouches for than one that clients fill anyway.
fn worst(obstacles: Vec<Obstacle>) -> Option<Obstacle> {
    let badness = |obstacle: &Obstacle| match obstacle {
        Obstacle::Forgeable(variable) if variable.shape != Shape::Free => 0,
        Obstacle::Forgeable(_) => 1,
        Obstacle::Unsure => 2,
    };
    obstacles.into_iter().min_by_key(badness)
}

#[inline]
fn take(spans: &mut Spans, slot: Option<usize>, from: usize, to: usize) {
    if let Some(slot) = slot {
        spans[slot] = (from as u32, to as u32);
    }
}

/// Follows `steps` from `from` on, not beyond `to`; returns where they end.
#[inline]
fn read_forward(steps: &[Step], line: Line<'_>, mut from: usize, to: usize, spans: &mut Spans) -> Option<usize> {
    for step in steps {
        let (end, slot) = match step {
            Step::Literal(text) if text.stands_at(line, from) => (from + text.len(), None),
            Step::Literal(_) => return None,
            Step::Fixed(length, slot) => (from + length, *slot),
            Step::Run(class, slot) => (class.run(line.text, from, to), *slot),
        };
        if end > to {
            return None;
        }
        take(spans, slot, from, end);
        from = end;
    }
    Some(from)
}

/// Follows `steps` from `to` backwards, not before `from`; returns where they begin.
#[inline]
fn read_backward(steps: &[Step], line: Line<'_>, from: usize, mut to: usize, spans: &mut Spans) -> Option<usize> {
    for step in steps {
        let (length, slot) = match step {
            Step::Literal(text) => (text.len(), None),
            Step::Fixed(length, slot) => (*length, *slot),
            Step::Run(class, slot) => (class.run_length_backward(line.text.get(from..to)?), *slot),
        };
        let begin = to.checked_sub(length).filter(|begin| *begin >= from)?;
        if let Step::Literal(text) = step
            && !text.stands_at(line, begin)
        {
            return None;
        }
        take(spans, slot, begin, to);
        to = begin;
    }
    Some(to)
}

/// Whether the literals occur one behind the other. Taking each at its first place leaves the most room for the next.
fn contains_in_order(mut text: &[u8], literals: &[Box<[u8]>]) -> Option<()> {
    for literal in literals {
        let found = memchr::memmem::find(text, literal)?;
        text = &text[found + literal.len()..];
    }
    Some(())
}

/// A stretch whose tokens are being gathered.
#[derive(Default)]
struct Pending {
    behind: Option<usize>,
    tokens: Vec<Token>,
}

impl Pending {
    fn finish(self, before: Option<usize>, obstacles: &mut Vec<Obstacle>) -> Stretch {
        let left = certain_steps(&self.tokens.iter().collect::<Vec<_>>(), Direction::Forward);
        // What the left cannot pass stays between, so that the right cannot run into what the left has read.
        let beyond = self.tokens.get(left.len() + 1..).unwrap_or_default();
        let right = match beyond.is_empty() {
            true => Vec::new(),
            false => certain_steps(&self.tokens[left.len()..].iter().rev().collect::<Vec<_>>(), Direction::Backward),
        };
        let middle = match &self.tokens[left.len()..self.tokens.len() - right.len()] {
            [] => Middle::Empty,
            [Token::Variable(variable)] => {
                let class = match variable.shape {
                    Shape::Run(class) => Some(class),
                    Shape::Fixed(_) | Shape::Free => None,
                };
                Middle::Value(class, variable.field.map(Field::slot))
            }
            several => {
                obstacles.extend(several.iter().filter_map(obstacle));
                Middle::Values(several.iter().filter_map(literal).collect())
            }
        };
        Stretch {
            behind: self.behind,
            opening: Text::default(),
            before,
            left: left.into_boxed_slice(),
            right: right.into_boxed_slice(),
            middle,
        }
    }
}

fn literal(token: &Token) -> Option<Box<[u8]>> {
    match token {
        Token::Literal(text) => Some(text.clone().into_boxed_slice()),
        Token::Variable(_) => None,
    }
}

/// What a token means that stands among values of any bytes.
fn obstacle(token: &Token) -> Option<Obstacle> {
    match token {
        Token::Variable(variable) if variable.field.is_some() => Some(Obstacle::Forgeable(variable.clone())),
        Token::Variable(variable) if variable.shape != Shape::Free => Some(Obstacle::Unsure),
        Token::Variable(_) | Token::Literal(_) => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// The steps that can be taken with certainty, `tokens` being in the order in which they are met.
///
/// A run of a class ends with certainty where the literal beyond it begins with a byte outside the class. Read forward
/// it may also end with the stretch; read backward it may not, for there the left has read already.
fn certain_steps(tokens: &[&Token], direction: Direction) -> Vec<Step> {
    let mut steps = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        let step = match token {
            Token::Literal(text) => Step::Literal(Text::new(text)),
            Token::Variable(variable) => {
                let slot = variable.field.map(Field::slot);
                match (variable.shape, tokens.get(place + 1)) {
                    (Shape::Fixed(length), _) => Step::Fixed(length, slot),
                    (Shape::Run(class), Some(Token::Literal(text))) if ends_run(class, text, direction) => {
                        Step::Run(class, slot)
                    }
                    (Shape::Run(class), None) if direction == Direction::Forward => Step::Run(class, slot),
                    _ => break,
                }
            }
        };
        steps.push(step);
    }
    steps
}

fn ends_run(class: Class, text: &[u8], direction: Direction) -> bool {
    let nearest = match direction {
        Direction::Forward => text.first(),
        Direction::Backward => text.last(),
    };
    nearest.is_some_and(|byte| !class.contains(*byte))
}

/// Makes stretches of mere text part of the next one's opening: the keys of a JSON line cost one comparison each.
fn fold_literals(stretches: Vec<Stretch>) -> Vec<Stretch> {
    let mut folded: Vec<Stretch> = Vec::with_capacity(stretches.len());
    let mut carried: Option<(Option<usize>, Vec<u8>)> = None;
    for mut stretch in stretches {
        let (behind, mut opening) = carried.take().unwrap_or((stretch.behind, Vec::new()));
        let text_only =
            stretch.left.iter().all(|step| matches!(step, Step::Literal(_))) && matches!(stretch.middle, Middle::Empty);
        let leading = stretch.left.iter().take_while(|step| matches!(step, Step::Literal(_))).count();
        let mut left = std::mem::take(&mut stretch.left).into_vec();
        for step in left.drain(..leading) {
            if let Step::Literal(text) = step {
                opening.extend_from_slice(&text.bytes);
            }
        }
        if text_only && stretch.before.is_some() {
            opening.push(b'"');
            carried = Some((behind, opening));
            continue;
        }
        folded.push(Stretch { behind, opening: Text::new(&opening), left: left.into_boxed_slice(), ..stretch });
    }
    folded
}
