//! The syntax of vector selectors.

use regex::bytes::RegexBuilder;

use super::dialect;
use super::{Matcher, NAME, SelectorError, SelectorFault, Test};

/// The most that a regular expression may compile to, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// Reads the matchers of a selector; the metric name is the first of them.
pub(super) fn matchers(text: &str) -> Result<Vec<Matcher>, SelectorError> {
    let mut parser = Parser { text, at: 0, matchers: Vec::new(), is_named: false };
    parser.selector()?;
    Ok(parser.matchers)
}

/// Whether `text` can stand without quotes: as a metric name, or as that of a label.
pub(super) fn is_identifier(text: &str, of_metric: bool) -> bool {
    !text.is_empty() && identifier(text, of_metric) == text.len()
}

/// The length of the identifier at the start of `text`.
fn identifier(text: &str, of_metric: bool) -> usize {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (of_metric && byte == b':');
    let bytes = text.bytes().enumerate();
    bytes.take_while(|(place, byte)| letter(*byte) || (*place > 0 && byte.is_ascii_digit())).count()
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    matchers: Vec<Matcher>,
    /// The metric has a name outside the braces, or between quotes.
    is_named: bool,
}

impl Parser<'_> {
    fn selector(&mut self) -> Result<(), SelectorError> {
        self.skip_blanks();
        let length = identifier(self.rest(), true);
        if length > 0 {
            let name = self.take(length).to_owned();
            self.set_name(name, self.at)?;
            self.skip_blanks();
        }
        if self.rest().starts_with('{') {
            self.at += 1;
            self.braces()?;
        } else if length == 0 {
            return Err(self.syntax(self.at, "expected a metric name or `{`"));
        }
        self.skip_blanks();
        match self.rest().chars().next() {
            None => Ok(()),
            Some('[') => {
                Err(self.syntax(self.at, "a range has no place here: only series are selected, write it without"))
            }
            Some('(') => Err(self.syntax(self.at, "a function has no place here: only series are selected")),
            Some(_) => {
                Err(self.syntax(self.at, "the selector ends here, and operators, `offset` and `@` have no place"))
            }
        }
    }

    fn braces(&mut self) -> Result<(), SelectorError> {
        loop {
            self.skip_blanks();
            if self.eat("}") {
                return Ok(());
            }
            self.matcher()?;
            self.skip_blanks();
            if !self.eat(",") && !self.rest().starts_with('}') {
                return Err(self.syntax(self.at, "expected a comma or `}`"));
            }
        }
    }

    fn matcher(&mut self) -> Result<(), SelectorError> {
        let start = self.at;
        let length = identifier(self.rest(), false);
        let (label, quoted) = match self.rest().chars().next() {
            _ if length > 0 => (self.take(length).to_owned(), false),
            Some('"' | '\'' | '`') => (self.string()?, true),
            _ => return Err(self.syntax(start, "expected a label name or `}`")),
        };
        self.skip_blanks();
        if quoted && self.rest().starts_with([',', '}']) {
            return self.set_name(label, start);
        }
        let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| self.eat(operator));
        let Some(operator) = operator else {
            return Err(self.syntax(self.at, "expected `=`, `!=`, `=~` or `!~`"));
        };
        if label == NAME && self.is_named {
            return Err(self.syntax(start, "the metric has a name already"));
        }
        self.skip_blanks();
        let operand_at = self.at;
        if !self.rest().starts_with(['"', '\'', '`']) {
            return Err(self.syntax(operand_at, "expected a string between quotes"));
        }
        let operand = self.string()?;
        let test = match operator {
            "=" => Test::Equal,
            "!=" => Test::NotEqual,
            "=~" => Test::Matches(self.regex(&operand, operand_at)?),
            _ => Test::MatchesNot(self.regex(&operand, operand_at)?),
        };
        self.matchers.push(Matcher { label, test, operand });
        Ok(())
    }

    fn set_name(&mut self, name: String, at: usize) -> Result<(), SelectorError> {
        if self.is_named || self.matchers.iter().any(|matcher| matcher.label == NAME) {
            return Err(self.syntax(at, "the metric has a name already"));
        }
        self.is_named = true;
        self.matchers.insert(0, Matcher { label: NAME.to_owned(), test: Test::Equal, operand: name });
        Ok(())
    }

    /// Compiles an expression that was written at `at`.
    fn regex(&self, pattern: &str, at: usize) -> Result<regex::bytes::Regex, SelectorError> {
        let fault = |fault| self.error(at, fault);
        let translated = dialect::translate(pattern).map_err(|misread| {
            let before = &pattern[..misread.at];
            fault(SelectorFault::Regex(format!("{}, behind `{before}`", misread.why)))
        })?;
        let mut builder = RegexBuilder::new(&format!("^(?s:{translated})$"));
        builder.size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).build().map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => fault(SelectorFault::RegexTooBig { limit }),
            other => {
                // Only the last line of a message of several says what is wrong; the others draw it.
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                fault(SelectorFault::Regex(last.trim_start_matches("error: ").to_owned()))
            }
        })
    }

    /// Reads a string in any of PromQL's three kinds of quotes.
    fn string(&mut self) -> Result<String, SelectorError> {
        let start = self.at;
        let quote = self.take(1).as_bytes()[0];
        let mut bytes = Vec::new();
        loop {
            let Some(next) = self.rest().chars().next() else {
                return Err(self.syntax(start, "this quote is not closed"));
            };
            match next {
                _ if next == char::from(quote) => {
                    self.at += 1;
                    break;
                }
                '\n' if quote != b'`' => return Err(self.syntax(start, "this quote is not closed in its line")),
                '\\' if quote != b'`' => self.escape(quote, &mut bytes)?,
                _ => {
                    self.at += next.len_utf8();
                    bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        String::from_utf8(bytes).map_err(|_| self.syntax(start, "the escapes in this string make no UTF-8"))
    }

    /// Reads an escape as Go has them.
    fn escape(&mut self, quote: u8, bytes: &mut Vec<u8>) -> Result<(), SelectorError> {
        let start = self.at;
        self.at += 1;
        let letter = self.rest().bytes().next();
        let simple = match letter {
            Some(b'a') => 0x07,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 0x0B,
            Some(b'\\') => b'\\',
            Some(letter) if letter == quote => quote,
            Some(b'x') => return self.code(start, 1, 2, 16, bytes),
            Some(b'u') => return self.code(start, 1, 4, 16, bytes),
            Some(b'U') => return self.code(start, 1, 8, 16, bytes),
            Some(b'0'..=b'7') => return self.code(start, 0, 3, 8, bytes),
            _ => return Err(self.syntax(start, "there is no such escape; a backslash is written twice")),
        };
        self.at += 1;
        bytes.push(simple);
        Ok(())
    }

    /// Reads the digits of an escape: up to two of them in hexadecimal, or three in octal, are a byte, more a
    /// character.
    fn code(
        &mut self,
        start: usize,
        skip: usize,
        digits: usize,
        radix: u32,
        bytes: &mut Vec<u8>,
    ) -> Result<(), SelectorError> {
        let text = self.rest().get(skip..skip + digits);
        let code = text
            .filter(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|text| u32::from_str_radix(text, radix).ok());
        let wrong = || self.syntax(start, "this escape stands for no character");
        let code = code.ok_or_else(wrong)?;
        if digits <= 3 {
            bytes.push(u8::try_from(code).map_err(|_| wrong())?);
        } else {
            let character = char::from_u32(code).ok_or_else(wrong)?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        self.at += skip + digits;
        Ok(())
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn take(&mut self, length: usize) -> &str {
        self.at += length;
        &self.text[self.at - length..self.at]
    }

    fn eat(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        self.at += if there { token.len() } else { 0 };
        there
    }

    /// Blanks and comments, which PromQL has to the end of a line.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            let comment = if trimmed.starts_with('#') { trimmed.find('\n').unwrap_or(trimmed.len()) } else { 0 };
            let skipped = rest.len() - trimmed.len() + comment;
            self.at += skipped;
            if skipped == 0 {
                return;
            }
        }
    }

    fn syntax(&self, at: usize, message: &str) -> SelectorError {
        self.error(at, SelectorFault::Syntax(message.to_owned()))
    }

    fn error(&self, at: usize, fault: SelectorFault) -> SelectorError {
        SelectorError { column: self.text[..at].chars().count() + 1, fault }
    }
}
