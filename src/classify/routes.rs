//! Routes: which patterns match a path, found by one walk over its segments.
//!
//! The patterns are put into a trie, and the trie, in which a segment can follow a literal and a placeholder at once,
//! is made deterministic: a state stands for all places of the trie that a path may have reached. A walk is then one
//! table look-up per segment, and the state it ends in names all the patterns that match, however many there are.
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
    /// Where literal segments lead: a small hash table for each state, one behind the other.
    literals: Vec<Literal>,
    /// The literal segments of which a [`Key`] shows only a part, by their key.
    long: Vec<Vec<(Box<[u8]>, StateId)>>,
}

type StateId = u32;

/// Nothing matches any more.
const DEAD: StateId = 0;
const START: StateId = 1;

/// What has been matched so far.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct State {
    /// Its table: the first entry, which bits of a segment's hash choose the entry, and how many entries less one.
    table: u32,
    shift: u32,
    mask: u32,
    /// Where a segment leads that is no literal of this state.
    otherwise: StateId,
    /// Where an empty segment leads that is not the last.
    empty: StateId,
    /// Where an empty segment leads that is the last.
    trailing: StateId,
    /// The set of patterns that match if the path ends here.
    accepts: u32,
}

/// An entry of a table of literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Literal {
    key: Key,
    next: StateId,
    /// Its place among the long ones plus one; 0 where the key shows all of it.
    long: u32,
    /// Whether a literal that belongs here had to go to a later entry.
    crowded: bool,
}

/// No segment that is looked up has the length 0.
const FREE: Literal = Literal { key: Key { first: 0, length: 0 }, next: DEAD, long: 0, crowded: false };

/// A segment: all of it up to 8 bytes, the first eight of a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    first: u64,
    length: u32,
}

/// How many bytes of a segment its key shows.
const SHOWN: usize = 8;

impl Key {
    fn of(segment: &[u8]) -> Self {
        let mut first = [0; SHOWN];
        let head = segment.len().min(SHOWN);
        first[..head].copy_from_slice(&segment[..head]);
        Self { first: u64::from_le_bytes(first), length: segment.len() as u32 }
    }

    /// The key of `text[from..to]`, which is not empty; of no use, but harmless, for places beyond the block.
    #[inline(always)]
    fn within(text: &[u8; BEYOND], from: u32, to: u32) -> Self {
        let length = to.wrapping_sub(from);
        Self { first: load(text, from) & u64::MAX >> (64_u32.wrapping_sub(8 * length.min(8)) & 63), length }
    }

    /// Equality in one comparison.
    #[inline(always)]
    fn is(self, other: Self) -> bool {
        (self.first ^ other.first) | u64::from(self.length ^ other.length) == 0
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        // The multiplication spreads the bits upwards; tables are addressed by some of the upper half.
        (self.first ^ u64::from(self.length) << 59).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// One of two values, chosen by arithmetic.
#[inline(always)]
fn select(first: bool, a: u32, b: u32) -> u32 {
    b ^ (a ^ b) & u32::from(first).wrapping_neg()
}

#[inline(always)]
fn load(text: &[u8; BEYOND], at: u32) -> u64 {
    // Places are below 64 wherever the result is used; the mask says so to the compiler.
    let at = at as usize % BLOCK;
    let mut word = [0; 8];
    word.copy_from_slice(&text[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Paths shorter than this are read in one block.
const BLOCK: usize = 64;
/// What must lie behind a target's beginning so that every load of the fast walk stays in memory.
const BEYOND: usize = BLOCK + 8;

impl Routes {
    /// Compiles patterns; also returns, for each route that [`Routes::find`] can give, the patterns it stands for.
    pub fn compile<'p>(patterns: impl Iterator<Item = &'p [Segment]>) -> Result<(Self, Vec<Vec<usize>>), TooComplex> {
        let trie = Trie::new(patterns);
        let mut builder = Builder { trie: &trie, known: HashMap::new(), states: Vec::new(), sets: Vec::new() };
        builder.explore()
    }

    /// The route of a target, `None` when no pattern matches it.
    #[inline(always)]
    pub fn find(&self, target: Target<'_>) -> Option<usize> {
        let length = target.bytes().len();
        let accepted = match target.beyond().first_chunk::<BEYOND>() {
            Some(text) if text[0] == b'/' && length < BLOCK && !target.is_escaped() => {
                match self.walk_block(text, length as u32) {
                    Some(accepted) => accepted,
                    None => self.find_slowly(target),
                }
            }
            _ => self.find_slowly(target),
        };
        (accepted > 0).then(|| accepted as usize - 1)
    }

    /// Walks a target that begins `text` with a slash and is shorter than a block. `None` when it has empty segments
    /// before the last.
    ///
    /// Whether a segment is a literal is what no processor can predict, so that nothing here branches on it: it selects
    /// a value instead of a way. The number of segments is worth the branch, since guessing it wrong costs less than
    /// the steps that a fixed number would take in vain.
    #[inline(always)]
    fn walk_block(&self, text: &[u8; BEYOND], length: u32) -> Option<u32> {
        let target = (1_u64 << length) - 1;
        let (slashes, queries) = special_bytes(text.first_chunk::<BLOCK>()?);
        let length = (queries & target | 1 << length).trailing_zeros();
        let slashes = slashes & ((1 << length) - 1);
        if slashes & slashes >> 1 != 0 {
            return None;
        }
        let has_trailing = slashes >> (length - 1) & 1 == 1;
        let mut bounds = slashes | u64::from(!has_trailing) << length;
        let mut state = START;
        while bounds & (bounds - 1) != 0 {
            state = self.step(state, text, &mut bounds);
        }
        let last = &self.states[state as usize];
        let last = if has_trailing { &self.states[last.trailing as usize] } else { last };
        Some(last.accepts)
    }

    /// Takes the segment between the two lowest `bounds`, and removes the lowest.
    #[inline(always)]
    fn step(&self, state: StateId, text: &[u8; BEYOND], bounds: &mut u64) -> StateId {
        let from = bounds.trailing_zeros() + 1;
        *bounds &= *bounds - 1;
        let to = bounds.trailing_zeros();
        let key = Key::within(text, from, to);
        let here = &self.states[state as usize];
        let place = here.table as usize + ((key.hash() >> here.shift) as u32 & here.mask) as usize;
        let literal = &self.literals[place];
        let matches = literal.key.is(key);
        if matches & (literal.long > 0) | !matches & literal.crowded {
            let segment = text.get(from as usize..to as usize).unwrap_or_default();
            return self.literal(here, key, segment).unwrap_or(here.otherwise);
        }
        select(matches, literal.next, here.otherwise)
    }

    /// Where a literal segment leads.
    fn literal(&self, here: &State, key: Key, segment: &[u8]) -> Option<StateId> {
        let size = here.mask as usize + 1;
        let home = (key.hash() >> here.shift) as usize;
        for distance in 0..size {
            let literal = &self.literals[here.table as usize + (home + distance) % size];
            if literal.key == key {
                return match literal.long {
                    0 => Some(literal.next),
                    place => {
                        let alike = &self.long[place as usize - 1];
                        alike.iter().find(|(text, _)| **text == *segment).map(|(_, next)| *next)
                    }
                };
            }
            if !literal.crowded {
                break;
            }
        }
        None
    }

    /// Walks any target: escaped, in absolute form, long, or at the end of memory.
    #[cold]
    fn find_slowly(&self, target: Target<'_>) -> u32 {
        let mut plain = [0; LONGEST_ESCAPED];
        // No server escapes a question mark, so the query can go first, whatever is in it.
        let mut bytes = target.bytes().split(|byte| *byte == b'?').next().unwrap_or_default();
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
                (false, _) => self.literal(here, Key::of(segment), segment).unwrap_or(here.otherwise),
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

/// Which bytes of a block are slashes and question marks, one bit each.
#[inline(always)]
fn special_bytes(block: &[u8; BLOCK]) -> (u64, u64) {
    let block = u8x64::new(*block);
    let equal = |byte: u8| block.simd_eq(u8x64::splat(byte)).to_bitmask();
    (equal(b'/'), equal(b'?'))
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

/// A state of which nothing is known yet. Its table is the entry that stands for all empty ones.
const BLANK: State = State { table: 0, shift: 0, mask: 0, otherwise: DEAD, empty: DEAD, trailing: DEAD, accepts: 0 };

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
            self.states[next].1 = State { otherwise, empty, trailing, accepts: accepts as u32, ..BLANK };
            next += 1;
        }
        let states = self.states.iter().map(|(_, state)| *state).collect();
        Ok((Routes::with_literals(states, &literals), self.sets.split_off(1)))
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
        self.known.insert(places.clone(), id);
        self.states.push((places, BLANK));
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
    fn with_literals(states: Vec<State>, literals: &[(StateId, Box<[u8]>, StateId)]) -> Self {
        let mut routes = Self { states, literals: vec![FREE], long: Vec::new() };
        for of_state in literals.chunk_by(|(a, ..), (b, ..)| a == b) {
            let mut entries: Vec<Literal> = Vec::new();
            for (_, text, next) in of_state {
                routes.add_entry(&mut entries, text, *next);
            }
            let (shift, table) = table(&entries);
            let state = &mut routes.states[of_state[0].0 as usize];
            (state.table, state.shift, state.mask) = (routes.literals.len() as u32, shift, table.len() as u32 - 1);
            routes.literals.extend(table);
        }
        routes
    }

    fn add_entry(&mut self, entries: &mut Vec<Literal>, text: &[u8], next: StateId) {
        let key = Key::of(text);
        if text.len() <= SHOWN {
            return entries.push(Literal { key, next, ..FREE });
        }
        match entries.iter().find(|entry| entry.key == key) {
            Some(alike) => self.long[alike.long as usize - 1].push((text.into(), next)),
            None => {
                self.long.push(vec![(text.into(), next)]);
                entries.push(Literal { key, next, long: self.long.len() as u32, ..FREE });
            }
        }
    }
}

/// Puts entries into a table of a power of two, at most a quarter full unless a smaller one happens to suit; also says
/// which bits of the hash address it. Tries for the choice in which the fewest entries collide.
fn table(entries: &[Literal]) -> (u32, Vec<Literal>) {
    let least = entries.len().next_power_of_two();
    let mut best: Option<(usize, u32, usize)> = None;
    for size in [least, least * 2, least * 4] {
        for shift in 24..=64 - size.trailing_zeros().max(1) {
            let homes: BTreeSet<usize> =
                entries.iter().map(|entry| (entry.key.hash() >> shift) as usize % size).collect();
            let collisions = entries.len() - homes.len();
            if best.is_none_or(|(fewest, ..)| collisions < fewest) {
                best = Some((collisions, shift, size));
            }
        }
    }
    let (_, shift, size) = best.unwrap_or((0, 24, 1));
    let mut table = vec![FREE; size];
    for entry in entries {
        let mut place = (entry.key.hash() >> shift) as usize % size;
        while table[place].key.length > 0 {
            table[place].crowded = true;
            place = (place + 1) % size;
        }
        table[place] = *entry;
    }
    (shift, table)
}
