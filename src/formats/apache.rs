//! Apache's `LogFormat`, as tokens.
//!
//! Directives and their meanings are those of mod_log_config. Apache escapes quotes, backslashes and control characters
//! of what clients sent with a backslash, as nginx does by default.

use super::TemplateError;
use super::fields::{DurationUnit, TimeNotation};
use super::token::{Class, Field, Shape, Token, Variable, join_literals};

/// Reads a format string: as written in httpd.conf, with or without the backslashes before its quotes.
///
/// # Errors
/// With the byte of `text` at which it stops being one.
pub fn parse(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(special) = rest.find(['%', '\\']) {
        tokens.push(Token::Literal(rest.as_bytes()[..special].to_vec()));
        let at = text.len() - rest.len() + special;
        let escaped = rest[special..].starts_with('\\');
        rest = &rest[special + 1..];
        if escaped {
            let Some(next) = rest.chars().next() else { break };
            let meant = match next {
                't' => '\t',
                'n' => '\n',
                other => other,
            };
            tokens.push(Token::Literal(meant.to_string().into_bytes()));
            rest = &rest[next.len_utf8()..];
        } else {
            rest = directive(rest, at, &mut tokens)?;
        }
    }
    tokens.push(Token::Literal(rest.as_bytes().to_vec()));
    Ok(join_literals(tokens))
}

/// Reads what follows a `%` at byte `at`, and returns the text behind it.
fn directive<'a>(text: &'a str, at: usize, tokens: &mut Vec<Token>) -> Result<&'a str, TemplateError> {
    // `%400,501{...}`, `%!200...`, `%>s`, `%<s`: conditions and which of several internal requests is meant.
    let modifiers = text.bytes().take_while(|byte| byte.is_ascii_digit() || b",!<>".contains(byte)).count();
    let mut rest = &text[modifiers..];
    let mut argument = None;
    if let Some(braced) = rest.strip_prefix('{') {
        let end = braced.find('}').ok_or_else(|| TemplateError::new(at, "`%{` lacks its closing brace".to_owned()))?;
        argument = Some(&braced[..end]);
        rest = &braced[end + 1..];
    }
    let letters = if rest.starts_with('^') { 3 } else { 1 };
    let letter = rest.get(..letters).ok_or_else(|| TemplateError::new(at, "a `%` that begins no field".to_owned()))?;
    rest = &rest[letters..];
    let name = format!("%{}", &text[..text.len() - rest.len()]);
    if letter == "%" {
        tokens.push(Token::Literal(b"%".to_vec()));
        return Ok(rest);
    }
    let bracketed = letter == "t" && argument.is_none();
    let (field, shape) = meaning(letter, argument)
        .ok_or_else(|| TemplateError::new(at, format!("`{name}` is not a field of Apache's LogFormat")))?;
    if bracketed {
        tokens.push(Token::Literal(b"[".to_vec()));
    }
    tokens.push(Token::Variable(Variable { name, field, shape }));
    if bracketed {
        tokens.push(Token::Literal(b"]".to_vec()));
    }
    Ok(rest)
}

/// The field for the time, if the format has one and it is in a notation that is not read: its name, and what to do.
pub fn strange_time(tokens: &[Token]) -> Option<(String, &'static str)> {
    let variables = || {
        tokens.iter().filter_map(|token| match token {
            Token::Variable(variable) => Some(variable),
            Token::Literal(_) => None,
        })
    };
    if variables().any(|variable| matches!(variable.field, Some(Field::Time(_)))) {
        return None;
    }
    let name = variables().map(|variable| &variable.name).find(|name| name.ends_with("}t"))?;
    let has_zone = ["%z", "%s", "sec}"].iter().any(|part| name.contains(part));
    let why = match has_zone {
        true => "is a notation of time that is not read; log %t, which is `[20/Nov/2026:10:12:58 +0000]`",
        false => "has no time zone, so that the instant is not certain; log %t, which has one",
    };
    Some((name.clone(), why))
}

fn meaning(letter: &str, argument: Option<&str>) -> Option<(Option<Field>, Shape)> {
    let number = Shape::Run(Class::Number);
    let word = Shape::Run(Class::Word);
    let duration = |unit| (Some(Field::Duration(unit)), number);
    Some(match (letter, argument) {
        ("t", None) => (Some(Field::Time(TimeNotation::Local)), Shape::Fixed(26)),
        ("t", Some("sec")) => (Some(Field::Time(TimeNotation::Seconds)), number),
        ("s", _) => (Some(Field::Status), number),
        ("r", _) => (Some(Field::RequestLine), Shape::Free),
        ("m", _) => (Some(Field::Method), word),
        ("U", _) => (Some(Field::Target), Shape::Free),
        ("D", _) | ("T", Some("us")) => duration(DurationUnit::Micros),
        ("T", Some("ms")) => duration(DurationUnit::Millis),
        // Whole seconds, cut off: nothing that a threshold could be compared with.
        ("T", None | Some("s")) => (None, number),
        // One of three characters: what became of the connection.
        ("X", _) => (None, Shape::Fixed(1)),
        ("i", Some(header)) if header.eq_ignore_ascii_case("host") => (Some(Field::Host), Shape::Free),
        ("v" | "V", _) => (Some(Field::Host), Shape::Run(Class::Graphic)),
        ("b" | "B" | "I" | "O" | "S" | "k" | "p" | "P" | "R", None) if letter != "R" => (None, number),
        ("a" | "A" | "l" | "H" | "p" | "P", _) => (None, word),
        (
            "L" | "h" | "u" | "q" | "f" | "R" | "i" | "o" | "e" | "n" | "C" | "t" | "T" | "^FB" | "^ti" | "^to" | "c",
            _,
        ) => (None, Shape::Free),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_of_the_manual_are_read() {
        for (text, expected) in [
            ("%h %>s %% %{Referer}i", "<%h> <%>s> % <%{Referer}i>"),
            ("\\\"%r\\\" %t", "\"<%r>\" [<%t>]"),
            ("%400,501{User-agent}i %!200U", "<%400,501{User-agent}i> <%!200U>"),
            ("%{ms}T\\t%D", "<%{ms}T>\t<%D>"),
        ] {
            let shown: String = parse(text).unwrap().into_iter().map(show).collect();
            assert_eq!(shown, expected, "{text}");
        }
        for (text, at) in [("%h %{x", 3), ("%h %", 3), ("%h %Y", 3)] {
            assert_eq!(parse(text).map_err(|error| error.at), Err(at), "{text}");
        }
    }

    #[test]
    fn c02_a_time_without_zone_is_told_apart_from_a_strange_one() {
        for (text, expected) in [
            ("%{%d/%b/%Y %T}t %>s", Some("has no time zone")),
            ("%{%Y-%m-%d %H:%M:%S %z}t", Some("is a notation")),
            ("%{usec}t", Some("is a notation")),
            ("%{%T}t %t", None),
            ("%h %>s", None),
        ] {
            let found = strange_time(&parse(text).unwrap());
            assert_eq!(
                found.map(|(_, why)| expected.is_some_and(|begin| why.starts_with(begin))),
                expected.map(|_| true)
            );
        }
    }

    fn show(token: Token) -> String {
        match token {
            Token::Literal(text) => String::from_utf8(text).unwrap(),
            Token::Variable(variable) => format!("<{}>", variable.name),
        }
    }
}
