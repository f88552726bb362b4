//! Tokens: what a log format is made of, whichever server wrote it.
//!
//! A format is a row of literals and variables. Of a variable it matters what it means to us ([`Field`]) and what bytes
//! it may hold ([`Shape`]): the second decides whether its end can be found with certainty, and whether a client can
//! make it look like its neighbours.

use wide::u8x16;

use super::fields::{DurationUnit, TimeNotation};

/// One piece of a log format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// Text that every line has here.
    Literal(Vec<u8>),
    /// A value.
    Variable(Variable),
}

/// A value that the server writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// As in the format: `$status`, `%>s`.
    pub name: String,
    /// What it means to us; `None` to pass over it.
    pub field: Option<Field>,
    /// What bytes it may hold.
    pub shape: Shape,
}

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// When the request ended.
    Time(TimeNotation),
    /// The response's status.
    Status,
    /// The whole request line.
    RequestLine,
    /// The method alone.
    Method,
    /// The request target, with its query string.
    Target,
    /// How long the request took.
    Duration(DurationUnit),
    /// How long each upstream took.
    DurationList(DurationUnit),
    /// The host that was asked for.
    Host,
}

/// How many kinds of field a line can give; each is taken at most once.
pub const SLOTS: usize = 7;

impl Field {
    /// The place of this kind of field among the [`SLOTS`].
    pub const fn slot(self) -> usize {
        match self {
            Self::Time(_) => 0,
            Self::Status => 1,
            Self::RequestLine => 2,
            Self::Method => 3,
            Self::Target => 4,
            Self::Duration(_) | Self::DurationList(_) => 5,
            Self::Host => 6,
        }
    }
}

/// What bytes a value may hold. All but `Free` are written by the server or checked by it, and cannot be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// This many bytes.
    Fixed(usize),
    /// Any number of bytes of this class.
    Run(Class),
    /// Anything a client likes; where the server escapes, no bare quote.
    Free,
}

/// Classes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Digits, `.` and `-`: one number, or the sign for none.
    Number,
    /// Numbers separated by `, ` and ` : `, one per upstream.
    NumberList,
    /// Letters, digits, `.`, `:`, `-`, `_`, `/`: addresses, protocols, methods, names the server chose.
    Word,
    /// Words, some in brackets, separated by `, ` and ` : `, one per upstream.
    WordList,
    /// Digits, `T`, `Z`, `:`, `+`, `-`, `.`.
    Time,
    /// Anything but blanks and control characters: what nginx lets through as a host.
    Graphic,
}

impl Class {
    const ALL: [Self; 6] = [Self::Number, Self::NumberList, Self::Word, Self::WordList, Self::Time, Self::Graphic];

    const fn has(self, byte: u8) -> bool {
        match self {
            Self::Number => byte.is_ascii_digit() || matches!(byte, b'.' | b'-'),
            Self::NumberList => Self::Number.has(byte) || matches!(byte, b',' | b':' | b' '),
            Self::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'_' | b'/'),
            Self::WordList => Self::Word.has(byte) || matches!(byte, b',' | b' ' | b'[' | b']'),
            Self::Time => byte.is_ascii_digit() || matches!(byte, b'T' | b'Z' | b':' | b'+' | b'-' | b'.'),
            Self::Graphic => byte > b' ' && byte != 0x7F,
        }
    }

    /// Whether `byte` belongs to the class.
    #[inline(always)]
    pub const fn contains(self, byte: u8) -> bool {
        CLASSES[byte as usize] & 1 << self as u8 != 0
    }

    /// Whether the three lowest bytes of `word` belong to the class.
    #[inline(always)]
    pub const fn contains_three(self, word: u64) -> bool {
        self.contains(word as u8) && self.contains((word >> 8) as u8) && self.contains((word >> 16) as u8)
    }

    /// Where the run of bytes of this class that begins at `from` ends, at most at `to`. What is behind `to` in `text`
    /// is looked at in passing.
    #[inline(always)]
    pub fn run(self, text: &[u8], from: usize, to: usize) -> usize {
        let mut at = from;
        while at < to {
            let Some(block) = text.get(at..).and_then(<[u8]>::first_chunk::<16>) else {
                return at + text[at..to].iter().position(|byte| !self.contains(*byte)).unwrap_or(to - at);
            };
            let run = (!self.members(u8x16::new(*block))).trailing_zeros() as usize;
            at += run;
            if run < 16 {
                break;
            }
        }
        at.min(to)
    }

    /// Which bytes of a block belong to the class, a bit each; all higher bits are zero.
    #[inline(always)]
    fn members(self, block: u8x16) -> u32 {
        let within = |first: u8, last: u8| {
            let above = block - u8x16::splat(first);
            above.min(u8x16::splat(last - first)).simd_eq(above)
        };
        let is = |byte: u8| block.simd_eq(u8x16::splat(byte));
        let letter = || {
            let above = (block | u8x16::splat(0x20)) - u8x16::splat(b'a');
            above.min(u8x16::splat(25)).simd_eq(above)
        };
        let members = match self {
            Self::Number => within(b'0', b'9') | within(b'-', b'.'),
            Self::NumberList => within(b'0', b':') | within(b',', b'.') | is(b' '),
            Self::Word => within(b'-', b':') | letter() | is(b'_'),
            Self::WordList => within(b',', b':') | letter() | is(b'_') | is(b' ') | is(b'[') | is(b']'),
            Self::Time => within(b'0', b':') | within(b'-', b'.') | is(b'+') | is(b'T') | is(b'Z'),
            Self::Graphic => !(within(0, b' ') | is(0x7F)),
        };
        members.to_bitmask()
    }

    /// How many bytes at the end of `text` belong to the class.
    #[inline]
    pub fn run_length_backward(self, text: &[u8]) -> usize {
        text.iter().rev().position(|byte| !self.contains(*byte)).unwrap_or(text.len())
    }
}

/// Per byte, a bit for each class that it belongs to.
static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut class = 0;
        while class < Class::ALL.len() {
            if Class::ALL[class].has(byte as u8) {
                table[byte] |= 1 << Class::ALL[class] as u8;
            }
            class += 1;
        }
        byte += 1;
    }
    table
};

/// Adjacent literals made one, empty ones dropped.
pub fn join_literals(tokens: Vec<Token>) -> Vec<Token> {
    let mut joined: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens {
        match (joined.last_mut(), token) {
            (_, Token::Literal(text)) if text.is_empty() => {}
            (Some(Token::Literal(before)), Token::Literal(text)) => before.extend(text),
            (_, token) => joined.push(token),
        }
    }
    joined
}

/// The tokens between the quotes of a format, without the quotes: at least one row of them.
pub fn cut_at_quotes(tokens: &[Token]) -> Vec<Vec<Token>> {
    let (mut rows, mut current) = (Vec::new(), Vec::new());
    for token in tokens {
        let Token::Literal(text) = token else {
            current.push(token.clone());
            continue;
        };
        for (number, piece) in text.split(|byte| *byte == b'"').enumerate() {
            if number > 0 {
                rows.push(std::mem::take(&mut current));
            }
            if !piece.is_empty() {
                current.push(Token::Literal(piece.to_vec()));
            }
        }
    }
    rows.push(current);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_first_byte_outside_its_class_whatever_follows() {
        for class in Class::ALL {
            for byte in 0..=255_u8 {
                for place in [0, 1, 15, 16, 17, 40] {
                    let mut text = vec![b'1'; 41];
                    text[place] = byte;
                    for (to, beyond) in [(41, 0), (41, 30), (place, 30)] {
                        let mut text = text.clone();
                        text.extend(vec![b'2'; beyond]);
                        let run = text[..to].iter().position(|byte| !class.contains(*byte)).unwrap_or(to);
                        assert_eq!(class.run(&text, 0, to), run, "{class:?} {byte} at {place}");
                    }
                }
            }
        }
    }
}
