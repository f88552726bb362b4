//! Regular expressions as Prometheus reads them.
//!
//! PromQL has Go's dialect (RE2), and the `regex` crate reads some of it differently without a word. So that one
//! selector means the same in both places, a pattern is rewritten before it is compiled:
//!
//! - `{` and `}` that are no repetition are themselves: `/users/{id}`;
//! - `\d`, `\w`, `\s` and `\b` are about ASCII;
//! - `\Q...\E` quotes;
//! - what Go does not have (other flags, classes within classes and their differences) is refused or taken as Go does.

/// Why a pattern cannot be taken over, and at which of its bytes.
#[derive(Debug)]
pub(super) struct Misread {
    pub at: usize,
    pub why: String,
}

/// The pattern in the dialect of the `regex` crate.
pub(super) fn translate(pattern: &str) -> Result<String, Misread> {
    let mut translation = Translation { rest: pattern, whole: pattern, written: String::new() };
    while !translation.rest.is_empty() {
        translation.step()?;
    }
    Ok(translation.written)
}

struct Translation<'p> {
    whole: &'p str,
    rest: &'p str,
    written: String,
}

impl Translation<'_> {
    fn step(&mut self) -> Result<(), Misread> {
        match self.next() {
            '\\' => self.escape(false),
            '[' => self.class(),
            '(' if self.rest.starts_with('?') => self.group(),
            '{' => {
                let repeats = repetition(self.rest);
                self.written.push_str(if repeats == 0 { r"\{" } else { "{" });
                self.copy(repeats);
                Ok(())
            }
            '}' => {
                self.written.push_str(r"\}");
                Ok(())
            }
            other => {
                self.written.push(other);
                Ok(())
            }
        }
    }

    /// What follows a backslash, in a class or outside.
    fn escape(&mut self, in_class: bool) -> Result<(), Misread> {
        if self.rest.is_empty() {
            return Err(self.misread("a backslash at the end"));
        }
        match self.next() {
            'd' if in_class => self.written.push_str("0-9"),
            'w' if in_class => self.written.push_str("0-9A-Za-z_"),
            's' if in_class => self.written.push_str(r"\t\n\f\r\x20"),
            'd' => self.written.push_str("[0-9]"),
            'w' => self.written.push_str("[0-9A-Za-z_]"),
            's' => self.written.push_str(r"[\t\n\f\r\x20]"),
            'D' => self.written.push_str("[^0-9]"),
            'W' => self.written.push_str("[^0-9A-Za-z_]"),
            'S' => self.written.push_str(r"[^\t\n\f\r\x20]"),
            'b' if !in_class => self.written.push_str(r"(?-u:\b)"),
            'B' if !in_class => self.written.push_str(r"(?-u:\B)"),
            letter @ ('p' | 'P' | 'x') if self.rest.starts_with('{') => {
                self.written.extend(['\\', letter]);
                self.copy(self.rest.find('}').map_or(self.rest.len(), |end| end + 1));
            }
            'Q' if !in_class => {
                let (quoted, behind) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
                self.written.push_str(&regex::escape(quoted));
                self.rest = behind;
            }
            // The `regex` crate has more escapes than Go: word boundaries that are `<` and `>` there.
            letter @ ('<' | '>') => self.written.push(letter),
            letter @ ('u' | 'U') => {
                return Err(self.misread(&format!(r"`\{letter}` is no escape; write `\x{{10FFFF}}`")));
            }
            letter => {
                self.written.push('\\');
                self.written.push(letter);
            }
        }
        Ok(())
    }

    /// What follows `[`.
    fn class(&mut self) -> Result<(), Misread> {
        self.written.push('[');
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        // A bracket that comes first stands for itself.
        if self.rest.starts_with(']') {
            self.next();
            self.written.push_str(r"\]");
        }
        loop {
            if self.rest.is_empty() {
                return Err(self.misread("a `[` is not closed"));
            }
            match self.next() {
                ']' => {
                    self.written.push(']');
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '[' if self.rest.starts_with(':') => match self.rest.find(":]") {
                    Some(end) => {
                        self.written.push('[');
                        self.copy(end + 2);
                    }
                    None => self.written.push_str(r"\["),
                },
                // These are operators between classes, or may become a part of one.
                special @ ('[' | '&' | '~') => self.written.extend(['\\', special]),
                '-' if self.rest.starts_with('-') => self.written.push_str(r"\-"),
                other => self.written.push(other),
            }
        }
    }

    /// What follows `(`, when it is `?`.
    fn group(&mut self) -> Result<(), Misread> {
        self.written.push('(');
        let head = self.rest.find([':', ')', '<']).map_or(self.rest, |end| &self.rest[..end]);
        let named = self.rest[head.len()..].starts_with('<') && matches!(head, "?P" | "?");
        let look_behind = self.rest.starts_with("?<=") || self.rest.starts_with("?<!");
        if look_behind || !(named || head[1..].chars().all(|flag| "imsU-".contains(flag))) {
            return Err(self.misread(&format!("Prometheus has no `({head}`")));
        }
        self.copy(head.len());
        Ok(())
    }

    fn next(&mut self) -> char {
        let next = self.rest.chars().next().unwrap_or_default();
        self.rest = &self.rest[next.len_utf8().min(self.rest.len())..];
        next
    }

    fn copy(&mut self, bytes: usize) {
        let (copied, rest) = self.rest.split_at(bytes);
        self.written.push_str(copied);
        self.rest = rest;
    }

    fn misread(&self, why: &str) -> Misread {
        Misread { at: self.whole.len() - self.rest.len(), why: why.to_owned() }
    }
}

/// The length of `2}`, `2,}` or `2,3}` at the start of `rest`; 0 when it is none.
fn repetition(rest: &str) -> usize {
    let Some((counts, _)) = rest.split_once('}') else { return 0 };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let repeats = match counts.split_once(',') {
        Some((least, most)) => number(least) && (most.is_empty() || number(most)),
        None => number(counts),
    };
    if repeats { counts.len() + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let translated = translate(pattern).unwrap_or_else(|misread| panic!("{pattern}: {}", misread.why));
        let regex = regex::bytes::Regex::new(&format!("^(?s:{translated})$"))
            .unwrap_or_else(|error| panic!("{pattern} became {translated}: {error}"));
        for text in matching {
            assert!(regex.is_match(text.as_bytes()), "{pattern} became {translated}, which does not match {text}");
        }
        for text in others {
            assert!(!regex.is_match(text.as_bytes()), "{pattern} became {translated}, which matches {text}");
        }
    }

    #[test]
    fn braces_that_repeat_nothing_are_themselves() {
        check("/users/{id}", &["/users/{id}"], &["/users/id"]);
        check("a{2}b{1,}c{0,1}", &["aabbb", "aabc"], &["a{2}b"]);
        check("a{,2}", &["a{,2}"], &["aa"]);
        check("x{", &["x{"], &["x"]);
        check("{}|}", &["{}", "}"], &[""]);
    }

    #[test]
    fn letters_and_digits_are_ascii() {
        check(r"\d+", &["07"], &["٣", "x"]);
        check(r"\w+\W", &["a_9é"], &["é-"]);
        check(r"[\d.]+", &["1.5"], &["a"]);
        check(r"[^\d\s]", &["é", "a"], &["5", " "]);
        check(r"[\D]", &["é"], &["5"]);
        check(r".", &["é", "\n"], &["ab"]);
        check(r"\p{Greek}\x{e9}\x41", &["λéA"], &["aéA"]);
        check(r"[\p{Greek}\x{e9}]+", &["λé"], &["a"]);
        check(r".*\bgo\b.*", &["a go b", "go", "égo"], &["ago", "gob"]);
    }

    #[test]
    fn classes_have_no_classes_within() {
        check("[[a]b]", &["[b]", "ab]"], &["a", "b"]);
        check("[a&&b]+", &["&ab"], &["c"]);
        check("[]a]+", &["]a"], &["b"]);
        check("[^]a]", &["b"], &["]"]);
        check("[[:alpha:]_]+", &["ab_"], &["1", ":"]);
        check("[a-c-]+", &["b-"], &["d"]);
    }

    #[test]
    fn quoting_and_flags_work_as_in_go() {
        check(r"\Qa.b{2}\E+c", &["a.b{2}c", "a.b{2}}c"], &["axb{2}c"]);
        check(r"\Q(", &["("], &[]);
        check("(?i)get|POST", &["GET", "post"], &["put"]);
        check("(?i:get)x", &["GETx"], &["GETX"]);
        check("(?P<method>GET)(?:x)", &["GETx"], &[]);
        check(r"\<a\>", &["<a>"], &["a"]);
    }

    #[test]
    fn what_prometheus_has_not_is_refused() {
        for pattern in ["(?x)a", "(?=a)", "(?!a)", "(?<!a)", "(?<=a)", "(?u)a", r"a\", "[a", r"\u0041"] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
