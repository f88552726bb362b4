//! The format that most servers write, read without a program.
//!
//! `combined`, and `combined` with one more number behind it, is what nginx and Apache are shipped with and what most
//! operators extend. Interpreting it costs 43 ns a line, and these straight lines cost 15 (benches/stages.rs,
//! `fields`), a fifth of the whole way from disk to count. They take a line only when it is beyond doubt and leave
//! every other one to [`super::program`], which this is tested against.

use super::fields::{DurationUnit, TimeNotation};
use super::program::Spans;
use super::token::{Class, Field, SLOTS, Shape, Token};

/// A format of this family.
#[derive(Clone, Copy, Debug)]
pub struct Combined {
    /// Whether a duration follows the last quote and a blank.
    has_duration: bool,
}

/// How many quotes its lines have.
const QUOTES: usize = 6;
/// ` [20/Nov/2026:10:12:58 +0000] `, which ends before the first quote.
const TIME_FRAME: usize = 30;

impl Combined {
    /// Recognises a format by its tokens.
    pub fn recognise(tokens: &[Token]) -> Option<Self> {
        let mut shown = String::new();
        for token in tokens {
            match token {
                Token::Literal(text) => shown.push_str(std::str::from_utf8(text).ok()?),
                Token::Variable(variable) => shown.push_str(match (variable.field, variable.shape) {
                    (None, Shape::Run(Class::Word)) => "<word>",
                    (None, Shape::Run(Class::Number)) => "<number>",
                    (None, Shape::Free) => "<any>",
                    (Some(Field::Time(TimeNotation::Local)), Shape::Fixed(26)) => "<time>",
                    (Some(Field::RequestLine), Shape::Free) => "<request>",
                    (Some(Field::Status), Shape::Run(Class::Number)) => "<status>",
                    (Some(Field::Duration(DurationUnit::Seconds)), Shape::Run(Class::Number)) => "<duration>",
                    _ => return None,
                }),
            }
        }
        let behind = shown.strip_prefix(r#"<word> - <any> [<time>] "<request>" <status> <number> "<any>" "<any>""#)?;
        match behind {
            "" => Some(Self { has_duration: false }),
            " <duration>" => Some(Self { has_duration: true }),
            _ => None,
        }
    }

    /// Where the fields stand in the line that is the first `length` bytes of `text`, whose bare quotes stand at
    /// `quotes` less `base`; `None` if that is for [`super::program`] to say.
    #[inline(always)]
    pub fn read(self, text: &[u8], length: usize, quotes: &[u32], base: u32) -> Option<Spans> {
        let quotes: [usize; QUOTES] = <&[u32; QUOTES]>::try_from(quotes).ok()?.map(|quote| (quote - base) as usize);
        let [request, request_end, referer, referer_end, agent, agent_end] = quotes;
        // Every place below is between the first byte and the last quote, or compared with `length`.
        let frame = request.checked_sub(TIME_FRAME)?;
        let address_end = Class::Word.run(text, 0, frame);
        let size_end = Class::Number.run(text, request_end + 6, referer);
        let sound = is(text, frame, b" [")
            & is(text, request - 2, b"] ")
            & is(text, address_end, b" - ")
            & (address_end + 3 <= frame)
            & is(text, request_end + 1, b" ")
            & is(text, request_end + 5, b" ")
            & is(text, size_end, b" ")
            & (size_end + 1 == referer)
            & (agent == referer_end + 2)
            & is(text, referer_end + 1, b" ");
        let mut duration = (0, 0);
        let behind = agent_end + 1;
        let ends = match self.has_duration {
            true => {
                duration = (behind as u32 + 1, length as u32);
                behind < length && text[behind] == b' ' && Class::Number.run(text, behind + 1, length) == length
            }
            false => behind == length,
        };
        if !(sound & ends) || !Class::Number.contains_three(u64::from(three(text, request_end + 2))) {
            return None;
        }
        let mut spans = [(0, 0); SLOTS];
        spans[Field::Time(TimeNotation::Local).slot()] = (frame as u32 + 2, request as u32 - 2);
        spans[Field::RequestLine.slot()] = (request as u32 + 1, request_end as u32);
        spans[Field::Status.slot()] = (request_end as u32 + 2, request_end as u32 + 5);
        spans[Field::Duration(DurationUnit::Seconds).slot()] = duration;
        Some(spans)
    }
}

/// Whether these bytes stand at `at`.
#[inline(always)]
fn is<const N: usize>(text: &[u8], at: usize, bytes: &[u8; N]) -> bool {
    text.get(at..).and_then(<[u8]>::first_chunk::<N>) == Some(bytes)
}

/// The three bytes at `at`, the first lowest.
#[inline(always)]
fn three(text: &[u8], at: usize) -> u32 {
    match text.get(at..).and_then(<[u8]>::first_chunk::<3>) {
        Some([a, b, c]) => u32::from_le_bytes([*a, *b, *c, 0]),
        None => 0,
    }
}
