//! A log format read in every possible way.
//!
//! For formats in which a client can imitate a trusted field, and as the slow, obvious twin of [`super::program`]: it
//! finds for each needed field all the places that some reading of the whole line gives it. One reading is an answer;
//! readings that disagree are a forgery or an accident, and the line is refused as ambiguous.
//!
//! It walks the tokens twice. Forward, it notes at which bytes a token can begin when all before it have matched;
//! backward, from which bytes the tokens behind it can still reach the end of the line. A token can stand wherever it
//! matches from a byte of the first kind to one of the second. Time and memory are tokens times bytes of the line.

use super::fields;
use super::nginx::Escape;
use super::program::Spans;
use super::token::{Class, Field, SLOTS, Shape, Token, Variable};

/// Why a line has no reading to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It does not have the format.
    Layout,
    /// It has it in several ways, which disagree about a needed field.
    Ambiguous,
}

/// Reads `line`, whose bare quotes are where `bare_quote` says.
pub fn read(tokens: &[Token], escape: Escape, line: &[u8]) -> Result<Spans, Unread> {
    let text = Text { bytes: line, escape, bare: bare_quotes(escape, line) };
    let begins = forward(tokens, &text);
    let ends = backward(tokens, &text);
    if !begins[tokens.len()][line.len()] {
        return Err(Unread::Layout);
    }
    let mut spans = [(0, 0); SLOTS];
    for (place, token) in tokens.iter().enumerate() {
        let Token::Variable(variable) = token else { continue };
        let Some(slot) = variable.field.map(Field::slot) else { continue };
        spans[slot] = only_span(variable, &text, &begins[place], &ends[place + 1])?;
    }
    Ok(spans)
}

struct Text<'a> {
    bytes: &'a [u8],
    escape: Escape,
    /// Whether a byte is a quote that no value can hold.
    bare: Vec<bool>,
}

impl Text<'_> {
    /// Whether the literal stands at `at`. A quote of the format is never escaped.
    fn has_literal(&self, literal: &[u8], at: usize) -> bool {
        let is_bare = |place: usize| self.escape == Escape::None || literal[place] != b'"' || self.bare[at + place];
        self.bytes[at..].starts_with(literal) && (0..literal.len()).all(is_bare)
    }

    /// Whether the byte at `at` can be part of the variable's value.
    fn admits(&self, variable: &Variable, at: usize) -> bool {
        let in_class = match variable.shape {
            Shape::Fixed(_) | Shape::Free => true,
            Shape::Run(class) => Class::contains(class, self.bytes[at]),
        };
        in_class && !self.bare[at]
    }

    /// Whether a value of this length and place is one; only times are so particular that it pays to look.
    fn is_value(&self, variable: &Variable, from: usize, to: usize) -> bool {
        match (variable.shape, variable.field) {
            (Shape::Fixed(length), _) if to - from != length => false,
            (_, Some(Field::Time(notation))) => {
                fields::TimeReader::default().read(notation, &self.bytes[from..to]).is_some()
            }
            _ => true,
        }
    }
}

/// The quotes that escaping makes certain: those without a backslash before them.
fn bare_quotes(escape: Escape, line: &[u8]) -> Vec<bool> {
    let mut escaped = false;
    let bare = line.iter().map(|byte| {
        let bare = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        bare
    });
    match escape {
        Escape::Backslash => bare.collect(),
        Escape::None => vec![false; line.len()],
    }
}

/// Per token and byte: whether the token can begin there. One more row for the end of the line.
fn forward(tokens: &[Token], text: &Text<'_>) -> Vec<Vec<bool>> {
    let size = text.bytes.len() + 1;
    let mut rows = vec![vec![false; size]; tokens.len() + 1];
    rows[0][0] = true;
    for (place, token) in tokens.iter().enumerate() {
        let (before, after) = rows.split_at_mut(place + 1);
        let (from, to) = (&before[place], &mut after[0]);
        match token {
            Token::Literal(literal) => {
                for at in (0..size).filter(|at| from[*at] && text.has_literal(literal, *at)) {
                    to[at + literal.len()] = true;
                }
            }
            Token::Variable(Variable { shape: Shape::Fixed(length), .. }) => {
                for at in (0..size).filter(|at| from[*at] && at + length < size) {
                    to[at + length] = !text.bare[at..at + length].contains(&true);
                }
            }
            Token::Variable(variable) => {
                let mut inside = false;
                for at in 0..size {
                    inside = from[at] || inside && text.admits(variable, at - 1);
                    to[at] = inside;
                }
            }
        }
    }
    rows
}

/// Per token and byte: whether this token and all behind it can match from there to the end of the line.
fn backward(tokens: &[Token], text: &Text<'_>) -> Vec<Vec<bool>> {
    let size = text.bytes.len() + 1;
    let mut rows = vec![vec![false; size]; tokens.len() + 1];
    rows[tokens.len()][size - 1] = true;
    for (place, token) in tokens.iter().enumerate().rev() {
        let (before, after) = rows.split_at_mut(place + 1);
        let (to, from) = (&mut before[place], &after[0]);
        match token {
            Token::Literal(literal) => {
                for (at, begins) in to.iter_mut().enumerate() {
                    *begins = text.has_literal(literal, at) && from[at + literal.len()];
                }
            }
            Token::Variable(Variable { shape: Shape::Fixed(length), .. }) => {
                for at in 0..size.saturating_sub(*length) {
                    to[at] = from[at + length] && !text.bare[at..at + length].contains(&true);
                }
            }
            Token::Variable(variable) => {
                for at in (0..size).rev() {
                    to[at] = from[at] || at + 1 < size && to[at + 1] && text.admits(variable, at);
                }
            }
        }
    }
    rows
}

/// The one value that the variable has in every reading.
fn only_span(variable: &Variable, text: &Text<'_>, begins: &[bool], ends: &[bool]) -> Result<(u32, u32), Unread> {
    let ends: Vec<usize> = (0..ends.len()).filter(|at| ends[*at]).collect();
    let reach = reach(variable, text);
    let mut only: Option<(usize, usize)> = None;
    for from in (0..begins.len()).filter(|at| begins[*at]) {
        let first = ends.partition_point(|end| *end < from);
        let within = ends[first..].iter().take_while(|end| **end <= reach[from]);
        for to in within.filter(|to| text.is_value(variable, from, **to)) {
            match only {
                Some((a, b)) if text.bytes[a..b] != text.bytes[from..*to] => return Err(Unread::Ambiguous),
                _ => only = Some((from, *to)),
            }
        }
    }
    only.map(|(from, to)| (from as u32, to as u32)).ok_or(Unread::Layout)
}

/// Per byte: how far a value that begins there can go.
fn reach(variable: &Variable, text: &Text<'_>) -> Vec<usize> {
    let mut reach: Vec<usize> = (0..=text.bytes.len()).collect();
    for at in (0..text.bytes.len()).rev().filter(|at| text.admits(variable, *at)) {
        reach[at] = reach[at + 1];
    }
    match variable.shape {
        Shape::Fixed(length) => reach.iter().enumerate().map(|(at, end)| (*end).min(at + length)).collect(),
        Shape::Run(_) | Shape::Free => reach,
    }
}
