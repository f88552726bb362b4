//! Routes: which patterns match a path, found by one walk over its segments.
//!
//! The patterns are put into a trie, and the trie, in which a segment can follow a literal and a placeholder at once, is
//! made deterministic: a state stands for all places of the trie that a path may have reached. A walk is then one table
//! look-up per segment, and the state it ends in names all the patterns that match, however many there are.
//!
//! - A path begins with `/`; its segments are what stands between slashes, so that `/a/` has two, the last one empty.
//! - A placeholder takes any segment but the empty one; `{*rest}` takes whatever follows, at least a byte.
//! - States that cannot be left any more end the walk at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wide::u8x64;

use super::{TooComplex, escapes};
use crate::formats::Target;
use crate::spec::Segment;

/// More states than this take more memory than routes are worth.
const MOST_STATES: usize = 1 << 18;
/// Escaped targets longer than this match nothing; servers refuse much shorter ones.
const LONGEST_ESCAPED: usize = 8 * 1024;

/// All patterns of a source, compiled.
#[derive(Clone, Debug)]
pub struct Routes {
    states: Vec<State>,
    /// Where a literal segment leads, by hash of the state and the segment.
    literals: Vec<Literal>,
    /// The literal segments longer than [`Key`] shows.
    long: Vec<Box<[u8]>>,
    shift: u32,
}

type StateId = u32;

/// Nothing matches any more.
const DEAD: StateId = 0;
const START: StateId = 1;

/// What has been matched so far.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Where a segment leads that is no literal of this state.
    otherwise: StateId,
    /// Where an empty segment leads that is not the last.
    empty: StateId,
    /// Where an empty segment leads that is the last.
    trailing: StateId,
    /// The set of patterns that match if the path ends here.
    accepts: u32,
    /// Whether no segment leads anywhere else.
    settled: bool,
}

/// An entry of the table of literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Literal {
    key: Key,
    /// `DEAD` marks a free entry: nothing leads anywhere from there.
    state: StateId,
    next: StateId,
    /// Its place among the long ones, where the key does not show all of it.
    long: u32,
}

const FREE: Literal = Literal { key: Key { first: 0, last: 0, length: 0 }, state: DEAD, next: DEAD, long: 0 };

/// A segment: all of it up to 16 bytes, the first and the last eight of a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    first: u64,
    last: u64,
    length: u32,
}

impl Key {
    fn of(segment: &[u8]) -> Self {
        let mut first = [0; 8];
        let mut last = [0; 8];
        let head = segment.len().min(8);
        first[..head].copy_from_slice(&segment[..head]);
        if segment.len() > 8 {
            last.copy_from_slice(&segment[segment.len() - 8..]);
        }
        Self { first: u64::from_le_bytes(first), last: u64::from_le_bytes(last), length: segment.len() as u32 }
    }

    /// The key of `text[from..to]`, which is not empty; `text` goes on for eight bytes behind `from`, and `to` is 8 or
    /// more, or the segment is no longer than 8.
    #[inline(always)]
    fn within(text: &[u8], from: usize, to: usize) -> Self {
        let length = to - from;
        let first = load(text, from) & (u64::MAX >> (64 - 8 * length.min(8)));
        let last = if length > 8 { load(text, to - 8) } else { 0 };
        Self { first, last, length: length as u32 }
    }

    #[inline(always)]
    fn hash(self, state: StateId) -> u64 {
        // Multiplications spread the bits upwards; the table is addressed by the highest.
        let mixed = self.first.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.last.rotate_left(32);
        (mixed ^ u64::from(state) << 8 ^ u64::from(self.length)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }
}

#[inline(always)]
fn load(text: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&text[at..at + 8]);
    u64::from_le_bytes(word)
}

/// A target that lies in a block of memory this long is read in blocks.
const BLOCK: usize = 64;
/// What must follow a target's beginning so that every load of the fast walk stays in memory.
const BEYOND: usize = BLOCK + 8;

impl Routes {
    /// Compiles patterns; also returns, for each route that [`Routes::find`] can give, the patterns it stands for.
    pub fn compile<'p>(patterns: impl Iterator<Item = &'p [Segment]>) -> Result<(Self, Vec<Vec<usize>>), TooComplex> {
        let trie = Trie::new(patterns);
        let mut builder = Builder { trie: &trie, known: HashMap::new(), states: Vec::new(), sets: Vec::new() };
        builder.explore()
    }

    /// The route of a target, `None` when no pattern matches it.
    #[inline]
    pub fn find(&self, target: Target<'_>) -> Option<usize> {
        let text = target.beyond();
        let length = target.bytes().len();
        let accepted = match text.first() {
            Some(b'/') if text.len() >= BEYOND && length < BLOCK => match self.walk_block(text, length) {
                Some(accepted) => accepted,
                None => self.find_slowly(target),
            },
            _ => self.find_slowly(target),
        };
        (accepted > 0).then(|| accepted as usize - 1)
    }

    /// Walks a path that begins `text` and is shorter than a block. `None` when it has escapes in it.
    #[inline(always)]
    fn walk_block(&self, text: &[u8], length: usize) -> Option<u32> {
        let block = text.first_chunk::<BLOCK>()?;
        let all = (1_u64 << length) - 1;
        let (slashes, queries, escapes) = special_bytes(block);
        if escapes & all != 0 {
            return None;
        }
        let length = (queries & all | 1 << length).trailing_zeros();
        let mut slashes = slashes & ((1 << length) - 1) | 1 << length;
        let mut state = START;
        loop {
            let from = slashes.trailing_zeros() + 1;
            slashes &= slashes - 1;
            let to = slashes.trailing_zeros();
            let here = &self.states[state as usize];
            state = if from < to {
                let key = Key::within(text, from as usize, to as usize);
                self.literal(state, key, &text[from as usize..to as usize]).unwrap_or(here.otherwise)
            } else if to == length {
                here.trailing
            } else {
                here.empty
            };
            let here = &self.states[state as usize];
            if to == length || here.settled {
                return Some(here.accepts);
            }
        }
    }

    #[inline(always)]
    fn literal(&self, state: StateId, key: Key, segment: &[u8]) -> Option<StateId> {
        let mut place = (key.hash(state) >> self.shift) as usize;
        loop {
            let literal = &self.literals[place];
            if literal.state == state && literal.key == key && self.is_whole(literal, segment) {
                return Some(literal.next);
            }
            if literal.state == DEAD {
                return None;
            }
            place = (place + 1) & (self.literals.len() - 1);
        }
    }

    #[inline(always)]
    fn is_whole(&self, literal: &Literal, segment: &[u8]) -> bool {
        literal.key.length <= 16 || *self.long[literal.long as usize] == *segment
    }

    /// Walks any target: escaped, in absolute form, long, or at the end of memory.
    #[cold]
    fn find_slowly(&self, target: Target<'_>) -> u32 {
        let mut plain = [0; LONGEST_ESCAPED];
        let mut bytes = target.bytes();
        if target.is_escaped() && bytes.contains(&b'\\') {
            let Some(length) = escapes::take_back(bytes, &mut plain) else { return 0 };
            bytes = &plain[..length];
        }
        match path(bytes) {
            Some(path) => self.walk(path),
            None => 0,
        }
    }

    /// Walks a path, which begins with a slash.
    fn walk(&self, path: &[u8]) -> u32 {
        let mut state = START;
        let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
        while let Some(segment) = segments.next() {
            let here = &self.states[state as usize];
            state = match (segment.is_empty(), segments.peek()) {
                (true, Some(_)) => here.empty,
                (true, None) => here.trailing,
                (false, _) => self.literal(state, Key::of(segment), segment).unwrap_or(here.otherwise),
            };
        }
        self.states[state as usize].accepts
    }
}

/// The path of a target: without its query string, and without `http://host`. `None` for `*` and `host:port`.
fn path(target: &[u8]) -> Option<&[u8]> {
    let path = target.split(|byte| *byte == b'?').next()?;
    if path.starts_with(b"/") {
        return Some(path);
    }
    let scheme = path.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
    let authority = path[scheme..].strip_prefix(b"://").filter(|_| scheme > 0)?;
    Some(match authority.iter().position(|byte| *byte == b'/') {
        Some(slash) => &authority[slash..],
        None => b"/",
    })
}

/// Which bytes of a block are slashes, question marks and backslashes, one bit each.
#[inline(always)]
fn special_bytes(block: &[u8; BLOCK]) -> (u64, u64, u64) {
    let block = u8x64::new(*block);
    let equal = |byte: u8| block.simd_eq(u8x64::splat(byte)).to_bitmask();
    (equal(b'/'), equal(b'?'), equal(b'\\'))
}

/// The patterns, segment by segment.
struct Trie {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    literals: BTreeMap<Box<[u8]>, usize>,
    any: Option<usize>,
    /// Patterns that end here.
    ends: Vec<usize>,
    /// Patterns that take whatever follows.
    rests: Vec<usize>,
}

impl Trie {
    fn new<'p>(patterns: impl Iterator<Item = &'p [Segment]>) -> Self {
        let mut nodes = vec![Node::default()];
        for (pattern, segments) in patterns.enumerate() {
            let mut here = 0;
            for segment in segments {
                let fresh = nodes.len();
                let next = match segment {
                    Segment::Literal(text) => *nodes[here].literals.entry(text.clone()).or_insert(fresh),
                    Segment::Any => *nodes[here].any.get_or_insert(fresh),
                    Segment::Rest => {
                        nodes[here].rests.push(pattern);
                        here = usize::MAX;
                        break;
                    }
                };
                if next == fresh {
                    nodes.push(Node::default());
                }
                here = next;
            }
            if let Some(node) = nodes.get_mut(here) {
                node.ends.push(pattern);
            }
        }
        Self { nodes }
    }
}

/// Where in the trie a path may be, and the patterns that match whatever follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Places {
    nodes: BTreeSet<usize>,
    matched: BTreeSet<usize>,
}

struct Builder<'t> {
    trie: &'t Trie,
    known: HashMap<Places, StateId>,
    states: Vec<(Places, State)>,
    /// The distinct sets of patterns, the empty one first.
    sets: Vec<Vec<usize>>,
}

impl Builder<'_> {
    /// Builds every state that a path can reach.
    fn explore(&mut self) -> Result<(Routes, Vec<Vec<usize>>), TooComplex> {
        let mut set_ids = HashMap::from([(Vec::new(), 0)]);
        self.sets.push(Vec::new());
        self.state(Places::default())?;
        self.state(Places { nodes: BTreeSet::from([0]), matched: BTreeSet::new() })?;
        let mut literals = Vec::new();
        let mut next = 0;
        while next < self.states.len() {
            let places = self.states[next].0.clone();
            let texts: BTreeSet<&Box<[u8]>> =
                places.nodes.iter().flat_map(|node| self.trie.nodes[*node].literals.keys()).collect();
            for text in texts.into_iter().filter(|text| !text.is_empty()) {
                literals.push((next as StateId, text.clone(), self.state(self.after(&places, Some(text), true))?));
            }
            let otherwise = self.state(self.after(&places, None, true))?;
            let empty = self.state(self.after_empty(&places, true))?;
            let trailing = self.state(self.after_empty(&places, false))?;
            let accepted = self.accepted(&places);
            let fresh = set_ids.len();
            let accepts = *set_ids.entry(accepted.clone()).or_insert(fresh);
            if accepts == fresh {
                self.sets.push(accepted);
            }
            let settled = places.nodes.is_empty();
            self.states[next].1 = State { otherwise, empty, trailing, accepts: accepts as u32, settled };
            next += 1;
        }
        let states = self.states.iter().map(|(_, state)| *state).collect();
        Ok((Routes::with_literals(states, literals), self.sets.split_off(1)))
    }

    /// The state for these places, a new one if need be.
    fn state(&mut self, places: Places) -> Result<StateId, TooComplex> {
        if let Some(state) = self.known.get(&places) {
            return Ok(*state);
        }
        if self.states.len() >= MOST_STATES {
            return Err(TooComplex { what: "too many combinations of patterns".into(), most: MOST_STATES });
        }
        let id = self.states.len() as StateId;
        let blank = State { otherwise: DEAD, empty: DEAD, trailing: DEAD, accepts: 0, settled: true };
        self.known.insert(places.clone(), id);
        self.states.push((places, blank));
        Ok(id)
    }

    /// Where a segment leads that is this text, or a text that no pattern has here.
    fn after(&self, places: &Places, text: Option<&[u8]>, takes_placeholders: bool) -> Places {
        let mut next = Places { nodes: BTreeSet::new(), matched: places.matched.clone() };
        for node in places.nodes.iter().map(|node| &self.trie.nodes[*node]) {
            next.nodes.extend(text.and_then(|text| node.literals.get(text)));
            next.nodes.extend(node.any.filter(|_| takes_placeholders));
            next.matched.extend(node.rests.iter().filter(|_| takes_placeholders));
        }
        next
    }

    /// Where an empty segment leads; `goes_on` when more of the path follows, which `{*rest}` then takes.
    fn after_empty(&self, places: &Places, goes_on: bool) -> Places {
        let mut next = self.after(places, Some(b""), false);
        if goes_on {
            next.matched.extend(places.nodes.iter().flat_map(|node| &self.trie.nodes[*node].rests));
        }
        next
    }

    fn accepted(&self, places: &Places) -> Vec<usize> {
        let ends = places.nodes.iter().flat_map(|node| &self.trie.nodes[*node].ends);
        let all: BTreeSet<usize> = ends.chain(&places.matched).copied().collect();
        all.into_iter().collect()
    }
}

impl Routes {
    fn with_literals(states: Vec<State>, literals: Vec<(StateId, Box<[u8]>, StateId)>) -> Self {
        // A quarter full at most: a segment that is no literal mostly meets a free entry at once.
        let size = (literals.len() * 4).next_power_of_two().max(16);
        let shift = 64 - size.trailing_zeros();
        let mut routes = Self { states, literals: vec![FREE; size], long: Vec::new(), shift };
        for (state, text, next) in literals {
            let key = Key::of(&text);
            let mut place = (key.hash(state) >> shift) as usize;
            while routes.literals[place].state != DEAD {
                place = (place + 1) & (size - 1);
            }
            let long = routes.long.len() as u32;
            if text.len() > 16 {
                routes.long.push(text);
            }
            routes.literals[place] = Literal { key, state, next, long };
        }
        routes
    }
}
