//! A log format compiled for speed: every field is found from a fixed end, without trying.
//!
//! Where the server escapes what clients send, a bare `"` can only come from the format. The quotes of a line, found by
//! [`super::index`], therefore cut it into *stretches* whose number and place are certain. Within a stretch, literals
//! and values of known bytes are read from its left end up to the first value that may hold anything, and from its
//! right end down to the last. A field that is reached like this has one reading; a format in which a needed field is
//! not is refused, or read by [`super::exhaustive`] which looks for all readings.
//!
//! Invariants
//! - [`run`] accepts a line only if it has the format as a whole, and gives the fields that the exhaustive reader
//!   gives.
//! - Without escaping (`escape=none`) quotes mean nothing, and the line is one stretch.

use super::nginx::Escape;
use super::token::{Class, Field, SLOTS, Shape, Token, Variable, cut_at_quotes};

/// Where the fields stand in a line: start and end, by [`Field::slot`]. Of a field that the format lacks, `(0, 0)`.
pub type Spans = [(u32, u32); SLOTS];

/// A format of which every needed field has one reading.
#[derive(Clone, Debug)]
pub struct Program {
    /// Texts at fixed distances from a quote or an end of the line.
    checks: Box<[Check]>,
    /// What lies between two such places.
    gaps: Box<[Gap]>,
    /// Fields at such a place, of a known length.
    fixed: Box<[(Place, u32, usize)]>,
    /// Stretches in which something must be read before the next place is known.
    stretches: Box<[Stretch]>,
    /// How many bare quotes a line has; `None` when quotes mean nothing.
    pub quotes: Option<usize>,
}

/// A place in a line: so many bytes from an anchor. Anchors are the line's beginning, its quotes, and its end.
#[derive(Clone, Copy, Debug)]
struct Place {
    anchor: u32,
    offset: i32,
}

/// A place in a line, and the text of up to eight bytes that stands there.
#[derive(Clone, Copy, Debug)]
struct Check {
    at: Place,
    word: u64,
    mask: u64,
}

/// The bytes from one place to another.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: Place,
    to: Place,
    /// Whether there must be none.
    is_empty: bool,
    slot: Option<usize>,
}

/// Where the anchors of a line are.
struct Anchors<'a>(&'a [u32]);

impl Anchors<'_> {
    #[inline(always)]
    fn at(&self, place: Place) -> usize {
        // A place before the line's beginning becomes one far behind its end, where nothing stands.
        self.0[place.anchor as usize].wrapping_add_signed(place.offset) as usize
    }
}

/// Lines with more anchors than this have them put on the heap.
const FEW_ANCHORS: usize = 16;

/// What stands between two quotes of the line, or between a quote and an end of the line.
#[derive(Clone, Debug)]
struct Stretch {
    /// Which quote it begins behind; `None` for the beginning of the line.
    behind: Option<usize>,
    /// Text right behind that quote, in which further quotes of the line may stand.
    opening: Text,
    /// Which quote it ends before; `None` for the end of the line.
    before: Option<usize>,
    /// What is read from its left end.
    left: Box<[Pair]>,
    /// What is read from its right end, first what has a known length and then the rest.
    frame: Frame,
    right: Box<[Step]>,
    middle: Middle,
    /// Where it begins behind its opening and ends before its frame.
    inner_from: Place,
    inner_to: Place,
}

/// A value and the text behind it.
#[derive(Clone, Debug)]
struct Pair {
    extent: Extent,
    slot: Option<usize>,
    behind: Text,
}

/// How far a value goes.
#[derive(Clone, Copy, Debug)]
enum Extent {
    Fixed(usize),
    Run(Class),
    /// A run that has three bytes in all lines but odd ones: a status.
    Three(Class),
}

/// Texts and values of known lengths at the right end of a stretch.
#[derive(Clone, Debug, Default)]
struct Frame {
    length: usize,
    /// Where in the frame each begins.
    texts: Box<[(usize, Text)]>,
    /// Where in the frame each begins, its length, and what it is.
    values: Box<[(usize, usize, usize)]>,
}

/// One piece, read from the right.
#[derive(Clone, Debug)]
enum Step {
    Literal(Text),
    Fixed(usize, Option<usize>),
    Run(Class, Option<usize>),
}

/// What the two ends leave between them.
#[derive(Clone, Debug)]
enum Middle {
    /// Nothing at all.
    Empty,
    /// One value: of any bytes, or of this class.
    Value(Option<Class>, Option<usize>),
    /// Unneeded values of any bytes with these literals between them.
    Values(Box<[Box<[u8]>]>),
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

    /// The checks that find this text at a place.
    fn check_at(&self, at: Place, checks: &mut Vec<Check>) {
        for (number, eight) in self.bytes.chunks(8).enumerate() {
            let Self { word, mask, .. } = Self::new(eight);
            checks.push(Check { at: Place { offset: at.offset + number as i32 * 8, ..at }, word, mask });
        }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is any, and it stands at `at`.
    #[inline(always)]
    fn is_next(&self, line: Line<'_>, at: usize) -> bool {
        self.len() > 0 && self.stands_at(line, at)
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

impl Program {
    /// Compiles `tokens`.
    ///
    /// # Errors
    /// What stands in the way of a single, certain reading.
    pub fn compile(tokens: &[Token], escape: Escape) -> Result<Self, Forgeable> {
        let mut obstacles = Vec::new();
        let between = match escape {
            Escape::Backslash => cut_at_quotes(tokens),
            Escape::None => vec![tokens.to_vec()],
        };
        let quotes = between.len() - 1;
        let stretch = |(place, tokens): (usize, Vec<Token>)| {
            let pending = Pending { behind: place.checked_sub(1), tokens };
            pending.finish((place < quotes).then_some(place), &mut obstacles)
        };
        let stretches = between.into_iter().enumerate().map(stretch).collect();
        match worst(obstacles) {
            Some(obstacle) => Err(obstacle),
            None => Ok(Self::lower(&fold_literals(stretches), quotes, escape)),
        }
    }

    /// Sorts what the stretches ask for by how it is found.
    fn lower(stretches: &[Stretch], quotes: usize, escape: Escape) -> Self {
        let quotes = if escape == Escape::Backslash { quotes } else { 0 };
        let (mut checks, mut gaps, mut fixed, mut rest) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for stretch in stretches {
            let (from, to) = stretch.inner_places(quotes);
            let opening = Place { offset: from.offset - stretch.opening.len() as i32, ..from };
            stretch.opening.check_at(opening, &mut checks);
            for (at, text) in &stretch.frame.texts {
                text.check_at(Place { offset: to.offset + *at as i32, ..to }, &mut checks);
            }
            for (at, length, slot) in &stretch.frame.values {
                fixed.push((Place { offset: to.offset + *at as i32, ..to }, *length as u32, *slot));
            }
            match stretch.middle {
                _ if !stretch.left.is_empty() || !stretch.right.is_empty() => rest.push(stretch.clone()),
                Middle::Empty => gaps.push(Gap { from, to, is_empty: true, slot: None }),
                Middle::Value(None, slot) => gaps.push(Gap { from, to, is_empty: false, slot }),
                Middle::Value(Some(_), _) | Middle::Values(_) => rest.push(stretch.clone()),
            }
        }
        for stretch in &mut rest {
            let (from, to) = stretch.inner_places(quotes);
            (stretch.inner_from, stretch.inner_to) = (from, to);
        }
        Self {
            checks: checks.into(),
            gaps: gaps.into(),
            fixed: fixed.into(),
            stretches: rest.into(),
            quotes: (escape == Escape::Backslash).then_some(quotes),
        }
    }

    /// Where the fields stand in the line that is the first `length` bytes of `text`; `None` if it does not have the
    /// format. `quotes` less `base` are the places of its bare quotes, as many as [`Program::quotes`] says.
    #[inline]
    pub fn run(&self, text: &[u8], length: usize, quotes: &[u32], base: u32) -> Option<Spans> {
        let mut few = [0; FEW_ANCHORS];
        let mut many = Vec::new();
        let anchors = match few.get_mut(..quotes.len() + 2) {
            Some(few) => few,
            None => {
                many.resize(quotes.len() + 2, 0);
                many.as_mut_slice()
            }
        };
        for (anchor, quote) in anchors[1..].iter_mut().zip(quotes) {
            *anchor = quote - base;
        }
        anchors[quotes.len() + 1] = length as u32;
        self.run_anchored(Line { text, length }, &Anchors(anchors))
    }

    #[inline]
    fn run_anchored(&self, line: Line<'_>, anchors: &Anchors<'_>) -> Option<Spans> {
        for check in &self.checks {
            if (line.word(anchors.at(check.at)) ^ check.word) & check.mask != 0 {
                return None;
            }
        }
        let mut spans = [(0, 0); SLOTS];
        for gap in &self.gaps {
            let (from, to) = (anchors.at(gap.from), anchors.at(gap.to));
            if from > to || gap.is_empty && from < to || to > line.length {
                return None;
            }
            take(&mut spans, gap.slot, from, to);
        }
        for stretch in &self.stretches {
            stretch.read(line, anchors, &mut spans)?;
        }
        for (place, length, slot) in &self.fixed {
            let from = anchors.at(*place);
            take(&mut spans, Some(*slot), from, from + *length as usize);
        }
        Some(spans)
    }
}

impl Stretch {
    /// Where the stretch begins behind its opening, and where it ends before its frame.
    fn inner_places(&self, quotes: usize) -> (Place, Place) {
        let opening = self.opening.len() as i32;
        let from = match self.behind {
            Some(quote) => Place { anchor: quote as u32 + 1, offset: 1 + opening },
            None => Place { anchor: 0, offset: opening },
        };
        let end = self.before.map_or(quotes, |quote| quote) as u32 + 1;
        (from, Place { anchor: end, offset: -(self.frame.length as i32) })
    }

    #[inline(always)]
    fn read(&self, line: Line<'_>, anchors: &Anchors<'_>, spans: &mut Spans) -> Option<()> {
        let (mut from, mut stop) = (anchors.at(self.inner_from), anchors.at(self.inner_to));
        if from > stop || stop > line.length {
            return None;
        }
        if !self.right.is_empty() {
            stop = read_backward(&self.right, line, from, stop, spans)?;
        }
        for pair in &self.left {
            from = pair.read(line, from, stop, spans)?;
        }
        match &self.middle {
            Middle::Empty if from == stop => {}
            Middle::Empty => return None,
            Middle::Value(None, slot) => take(spans, *slot, from, stop),
            Middle::Value(Some(class), slot) if class.run(line.text, from, stop) == stop => {
                take(spans, *slot, from, stop);
            }
            Middle::Value(Some(_), _) => return None,
            Middle::Values(literals) => contains_in_order(&line.text[from..stop], literals)?,
        }
        Some(())
    }
}

/// Why a format has no certain reading: this needed field has values of any bytes on both sides, and a client can write
/// something like it into those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgeable(pub Variable);

/// The obstacle to tell the user of: rather a field that the server vouches for than one that clients fill anyway.
fn worst(obstacles: Vec<Forgeable>) -> Option<Forgeable> {
    obstacles.into_iter().min_by_key(|Forgeable(variable)| variable.shape == Shape::Free)
}

#[inline]
fn take(spans: &mut Spans, slot: Option<usize>, from: usize, to: usize) {
    if let Some(slot) = slot {
        spans[slot] = (from as u32, to as u32);
    }
}

impl Pair {
    /// Reads the pair at `from`, not beyond `to`; returns where it ends.
    #[inline(always)]
    fn read(&self, line: Line<'_>, from: usize, to: usize, spans: &mut Spans) -> Option<usize> {
        let end = match self.extent {
            Extent::Fixed(length) => from + length,
            Extent::Three(class) if class.contains_three(line.word(from)) && self.behind.is_next(line, from + 3) => {
                from + 3
            }
            Extent::Three(class) | Extent::Run(class) => class.run(line.text, from, to),
        };
        take(spans, self.slot, from, end);
        let behind = end + self.behind.len();
        (behind <= to && self.behind.stands_at(line, end)).then_some(behind)
    }
}

impl Frame {
    /// The frame of the first steps from the right, and how many they are.
    fn of(steps: &[Step]) -> (Self, usize) {
        let known = |step: &Step| match step {
            Step::Literal(text) => Some(text.len()),
            Step::Fixed(length, _) => Some(*length),
            Step::Run(..) => None,
        };
        let lengths: Vec<usize> = steps.iter().map_while(known).collect();
        let length = lengths.iter().sum();
        let (mut texts, mut values) = (Vec::new(), Vec::new());
        let mut at = length;
        for (step, own) in steps.iter().zip(&lengths) {
            at -= own;
            match step {
                Step::Literal(text) => texts.push((at, text.clone())),
                Step::Fixed(length, slot) => values.extend(slot.map(|slot| (at, *length, slot))),
                Step::Run(..) => {}
            }
        }
        (Self { length, texts: texts.into_boxed_slice(), values: values.into_boxed_slice() }, lengths.len())
    }
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

/// The tokens of a stretch.
struct Pending {
    behind: Option<usize>,
    tokens: Vec<Token>,
}

impl Pending {
    fn finish(self, before: Option<usize>, obstacles: &mut Vec<Forgeable>) -> Stretch {
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
        let (frame, framed) = Frame::of(&right);
        let (opening, left) = pairs(&left);
        let inner = Place { anchor: 0, offset: 0 };
        Stretch {
            behind: self.behind,
            opening,
            before,
            left,
            frame,
            right: right[framed..].into(),
            middle,
            inner_from: inner,
            inner_to: inner,
        }
    }
}

/// The text that begins `steps`, and behind it each value with the text that follows.
fn pairs(steps: &[Step]) -> (Text, Box<[Pair]>) {
    let mut opening = Vec::new();
    let mut pairs: Vec<Pair> = Vec::new();
    for step in steps {
        let (extent, slot) = match (step, pairs.last_mut()) {
            // Literals never adjoin, so that none is overwritten.
            (Step::Literal(text), Some(pair)) => {
                pair.behind = text.clone();
                continue;
            }
            (Step::Literal(text), None) => {
                opening.extend_from_slice(&text.bytes);
                continue;
            }
            (Step::Fixed(length, slot), _) => (Extent::Fixed(*length), *slot),
            (Step::Run(class, slot), _) if *slot == Some(Field::Status.slot()) => (Extent::Three(*class), *slot),
            (Step::Run(class, slot), _) => (Extent::Run(*class), *slot),
        };
        pairs.push(Pair { extent, slot, behind: Text::default() });
    }
    (Text::new(&opening), pairs.into_boxed_slice())
}

fn literal(token: &Token) -> Option<Box<[u8]>> {
    match token {
        Token::Literal(text) => Some(text.clone().into_boxed_slice()),
        Token::Variable(_) => None,
    }
}

/// What a token means that stands among values of any bytes.
fn obstacle(token: &Token) -> Option<Forgeable> {
    match token {
        Token::Variable(variable) if variable.field.is_some() => Some(Forgeable(variable.clone())),
        // What nobody needs may be anything there: only the texts between are looked for.
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

/// Makes stretches of mere text part of the next one's opening, and drops those that have nothing to say: the keys of a
/// JSON line cost one comparison each, and what nobody needs between two quotes costs nothing.
fn fold_literals(stretches: Vec<Stretch>) -> Vec<Stretch> {
    let mut folded: Vec<Stretch> = Vec::with_capacity(stretches.len());
    let mut carried: Option<(Option<usize>, Vec<u8>)> = None;
    for stretch in stretches {
        let (behind, mut opening) = carried.take().unwrap_or((stretch.behind, Vec::new()));
        opening.extend_from_slice(&stretch.opening.bytes);
        let ends = stretch.left.is_empty() && stretch.frame.length == 0 && stretch.right.is_empty();
        match (&stretch.middle, stretch.before) {
            (Middle::Empty, Some(_)) if ends => {
                opening.push(b'"');
                carried = Some((behind, opening));
            }
            (Middle::Value(None, None), _) if ends && opening.is_empty() => {}
            _ => folded.push(Stretch { behind, opening: Text::new(&opening), ..stretch }),
        }
    }
    folded
}
