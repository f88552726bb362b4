//! What is wrong with a directory of specs, and where.
//!
//! Reading and compiling never stop at a fault: they report it to [`Faults`] and go on without the broken part. What
//! could not be read because of a syntax error would only cause noise, so that faults near one are dropped and so are
//! complaints about keys that it may have swallowed; the syntax error itself is always reported.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// One fault, or one warning, at its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file as a user would type it: the directory as given, joined with the path inside it.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to do about it; one line.
    pub message: String,
}

/// `file:line:column: message`.
impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message } = self;
        write!(out, "{}:{line}:{column}: {message}", printable(&file.to_string_lossy()))
    }
}

/// Why a directory of specs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecErrors {
    /// There is nothing to check: the directory itself cannot be read.
    #[error("{}: cannot read the directory of specs: {source}", printable(&directory.to_string_lossy()))]
    Unreadable {
        /// The directory as given.
        directory: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Every fault, by file and position; at least one.
    #[error("{}", lines(.0))]
    Invalid(Vec<Fault>),
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// One file of specs in memory.
#[derive(Clone, Debug)]
pub(super) struct SpecFile {
    /// As shown in faults.
    pub path: PathBuf,
    /// Its text; whatever could be read of it.
    pub text: String,
    /// Why it cannot be parsed at all, and at which byte of `text`.
    pub unreadable: Option<(usize, String)>,
}

/// A byte of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// A position in the files of [`Faults`].
    pub file: usize,
    /// The byte.
    pub at: usize,
}

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    /// The value.
    pub value: T,
    /// Its first byte.
    pub place: Place,
}

/// Collects the faults and warnings of all files.
pub(super) struct Faults<'f> {
    files: &'f [SpecFile],
    errors: RefCell<Vec<(Place, String)>>,
    warnings: RefCell<Vec<(Place, String)>>,
    /// Per file, the stretches around its syntax errors.
    torn: RefCell<Vec<Vec<Range<usize>>>>,
}

impl<'f> Faults<'f> {
    /// No faults yet in these files.
    pub fn new(files: &'f [SpecFile]) -> Self {
        let torn = RefCell::new(vec![Vec::new(); files.len()]);
        Self { files, errors: RefCell::default(), warnings: RefCell::default(), torn }
    }

    /// Reports a fault, unless a syntax error nearby may have caused it.
    pub fn error(&self, place: Place, message: impl Into<String>) {
        if !self.is_torn(place) {
            self.certain(place, message);
        }
    }

    /// Whether a syntax error may have made what stands here.
    pub fn is_torn(&self, place: Place) -> bool {
        self.torn.borrow()[place.file].iter().any(|torn| torn.contains(&place.at))
    }

    /// Reports a fault that no syntax error can have caused.
    pub fn certain(&self, place: Place, message: impl Into<String>) {
        self.errors.borrow_mut().push((place, message.into()));
    }

    /// Reports that something is not there, unless a syntax error in the file may have swallowed it.
    pub fn missing(&self, place: Place, message: impl Into<String>) {
        if self.is_whole(place.file) {
            self.error(place, message);
        }
    }

    /// Reports what makes the rest of its table unreliable: everything up to the next line that begins with `[`.
    pub fn syntax(&self, place: Place, message: impl Into<String>) {
        let text = &self.files[place.file].text;
        let place = Place { at: floor_char(text, place.at), ..place };
        let start = text[..place.at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[place.at..].find("\n[").map_or(usize::MAX, |next| place.at + next + 1);
        self.torn.borrow_mut()[place.file].push(start..end);
        self.certain(place, message);
    }

    /// Reports what is allowed but hardly meant.
    pub fn warn(&self, place: Place, message: impl Into<String>) {
        self.warnings.borrow_mut().push((place, message.into()));
    }

    /// Whether a file has no syntax errors, so that what is not found in it is not there.
    pub fn is_whole(&self, file: usize) -> bool {
        self.torn.borrow()[file].is_empty()
    }

    /// Where byte `offset` of a string value stands in its file; the value's beginning when escapes hide it.
    pub fn inside(&self, text: &At<String>, offset: usize) -> Place {
        const OPENINGS: [&str; 8] = ["'''\r\n", "'''\n", "'''", "\"\"\"\r\n", "\"\"\"\n", "\"\"\"", "'", "\""];
        let written = self.files[text.place.file].text.get(text.place.at..).unwrap_or_default();
        let content = OPENINGS.iter().find_map(|opening| {
            written.strip_prefix(opening).filter(|rest| rest.starts_with(&text.value)).map(|_| opening.len())
        });
        match content {
            Some(opening) if offset <= text.value.len() => Place { at: text.place.at + opening + offset, ..text.place },
            _ => text.place,
        }
    }

    /// `file:line:column` of a place, to be named in a message.
    pub fn locate(&self, place: Place) -> String {
        let file = &self.files[place.file];
        let (line, column) = Cursor::new(&file.text).advance(place.at);
        format!("{}:{line}:{column}", printable(&file.path.to_string_lossy()))
    }

    /// The warnings, when there are no faults; otherwise the faults. Both by file and position, each once.
    pub fn finish(self) -> Result<Vec<Fault>, SpecErrors> {
        let errors = self.sorted(&self.errors);
        match errors.is_empty() {
            true => Ok(self.sorted(&self.warnings)),
            false => Err(SpecErrors::Invalid(errors)),
        }
    }

    fn sorted(&self, found: &RefCell<Vec<(Place, String)>>) -> Vec<Fault> {
        let mut found = found.take();
        found.sort();
        found.dedup();
        let mut cursors: Vec<_> = self.files.iter().map(|file| Cursor::new(&file.text)).collect();
        let fault = |(place, message): (Place, String)| {
            let (line, column) = cursors[place.file].advance(place.at);
            Fault { file: self.files[place.file].path.clone(), line, column, message }
        };
        found.into_iter().map(fault).collect()
    }
}

/// Counts lines and columns through a text once, however many places are asked for.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: 0, line: 1, column: 1 }
    }

    /// The line and the column of the byte `at`, which is not before the last one asked for.
    fn advance(&mut self, at: usize) -> (usize, usize) {
        let at = floor_char(self.text, at);
        for c in self.text[self.at..at].chars() {
            match c {
                '\n' => (self.line, self.column) = (self.line + 1, 1),
                // A byte order mark is not a character that an editor counts.
                '\u{feff}' if self.line == 1 && self.column == 1 => {}
                _ => self.column += 1,
            }
        }
        self.at = at;
        (self.line, self.column)
    }
}

/// The last position up to `at` that does not cut a character.
fn floor_char(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Text for people, with its control characters escaped, so that what somebody typed cannot drive a terminal.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// What a user typed, for a message: in backticks, printable, at most 80 characters of it.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("`{}...`", printable(&text[..cut])),
        None => format!("`{}`", printable(text)),
    }
}

/// Names for a message: `` `a`, `b` ``.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// `` ; did you mean `x`? `` with the candidate that is most likely meant, or nothing.
pub(super) fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, candidates).map(|name| format!("; did you mean {}?", quoted(name))).unwrap_or_default()
}

/// The candidate that a typing error away from it may have become `typed`.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = typed.chars().count();
    let allowed = (length / 3).clamp(1, 3);
    let distance = |candidate: &&'a str| match candidate.eq_ignore_ascii_case(typed) {
        true => 0,
        // Lengths are compared first, because a distance takes the product of both lengths to find.
        false if candidate.chars().count().abs_diff(length) > allowed => usize::MAX,
        false => strsim::damerau_levenshtein(typed, candidate),
    };
    let ranked = candidates.into_iter().map(|candidate| (distance(&candidate), candidate));
    ranked.filter(|(distance, _)| *distance <= allowed).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<SpecFile> {
        vec![SpecFile { path: "specs/a.toml".into(), text: text.to_owned(), unreadable: None }]
    }

    fn place(at: usize) -> Place {
        Place { file: 0, at }
    }

    #[test]
    fn columns_count_characters_and_not_bytes_nor_the_byte_order_mark() {
        for (text, at, expected) in [
            ("a = 1", 0, "specs/a.toml:1:1"),
            ("x\na = 1", 4, "specs/a.toml:2:3"),
            ("é = ü", 5, "specs/a.toml:1:5"),
            ("\u{feff}abc", 3, "specs/a.toml:1:1"),
            ("é", 1, "specs/a.toml:1:1"),
            ("ab", 99, "specs/a.toml:1:3"),
        ] {
            assert_eq!(Faults::new(&file(text)).locate(place(at)), expected, "{text:?} {at}");
        }
    }

    #[test]
    fn an_offset_in_a_string_is_found_unless_escapes_hide_it() {
        for (text, value, offset, expected) in [
            ("'abc'", "abc", 2, 3),
            ("\"abc\"", "abc", 0, 1),
            ("'''\nabc'''", "abc", 1, 5),
            ("\"\"\"abc\"\"\"", "abc", 3, 6),
            ("\"a\\tb\"", "a\tb", 2, 0),
            ("''", "", 0, 1),
            ("'abc'", "abc", 4, 0),
        ] {
            let files = file(text);
            let at = At { value: value.to_owned(), place: place(0) };
            assert_eq!(Faults::new(&files).inside(&at, offset).at, expected, "{text}");
        }
    }

    #[test]
    fn a_syntax_error_silences_its_table_and_no_other() {
        let files = file("[a]\nx = 1\ny = = 2\nz = 3\n[b]\nw = 4\n");
        let faults = Faults::new(&files);
        faults.syntax(place(14), "syntax");
        faults.error(place(4), "x");
        faults.error(place(18), "z");
        faults.error(place(28), "w");
        faults.missing(place(24), "missing in b");
        let SpecErrors::Invalid(found) = faults.finish().unwrap_err() else { panic!("not a fault") };
        let messages: Vec<_> = found.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(messages, ["x", "syntax", "w"]);
    }

    #[test]
    fn a_near_miss_is_recognised_and_a_stranger_is_not() {
        let names = ["objective", "window", "name"];
        for (typed, expected) in [
            ("objectiv", Some("objective")),
            ("Objective", Some("objective")),
            ("obejctive", Some("objective")),
            ("nmae", Some("name")),
            ("threshold", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, names), expected, "{typed}");
        }
    }

    #[test]
    fn messages_cannot_drive_a_terminal() {
        assert_eq!(quoted("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert_eq!(quoted(&"x".repeat(81)), format!("`{}...`", "x".repeat(80)));
    }
}
