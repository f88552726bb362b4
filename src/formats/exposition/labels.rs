//! The name and the labels of a line, borrowed from the page, and what makes two lines the same series.
//!
//! A series is its name and the set of its labels: their order, blanks, quotes and escapes are spelling, and a label
//! with an empty value is no label. Each line gets an [`Identity`], which is equal for equal series; that series are
//! equal because their identities are is never concluded, but it is cheap to find out with it whether to look.
//!
//! - Identities add up over labels, so that a line that starts like the one before takes over the sums.
//! - They are keyed with random numbers: nobody who writes a page can make identities collide.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// A string of a page: the bytes between its quotes, if it has any.
#[derive(Clone, Copy, Debug)]
pub struct Text<'p> {
    raw: &'p [u8],
    escaped: bool,
}

impl<'p> Text<'p> {
    pub(super) fn new(raw: &'p [u8], escaped: bool) -> Self {
        Self { raw, escaped }
    }

    /// The string; valid UTF-8.
    #[inline]
    pub fn bytes(self) -> Cow<'p, [u8]> {
        if self.escaped { Cow::Owned(unescaped(self.raw)) } else { Cow::Borrowed(self.raw) }
    }

    /// The string, as such.
    pub fn to_text(self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Whether it is the empty string.
    pub fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// The bytes as written, and whether backslashes among them escape.
    pub(super) fn raw(self) -> (&'p [u8], bool) {
        (self.raw, self.escaped)
    }
}

impl PartialEq for Text<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self.escaped, other.escaped) {
            (false, false) => self.raw == other.raw,
            _ => self.bytes() == other.bytes(),
        }
    }
}

impl Eq for Text<'_> {}

impl PartialEq<[u8]> for Text<'_> {
    #[inline]
    fn eq(&self, other: &[u8]) -> bool {
        if self.escaped { *self.bytes() == *other } else { self.raw == other }
    }
}

/// Takes back the escapes `\\`, `\"` and `\n`; a backslash before anything else stands for itself.
fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'\\', [escape @ (b'\\' | b'"'), behind @ ..]) => (*escape, behind),
            (b'\\', [b'n', behind @ ..]) => (b'\n', behind),
            _ => (*first, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    bytes
}

/// A string, as a place in its line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    start: u32,
    /// The length, and above it whether backslashes escape: in one word, since a flag beside it made the processor wait
    /// whenever a label was copied.
    length: u32,
}

const ESCAPED: u32 = 1 << 31;

impl Place {
    /// The bytes `range` of the line that starts at `line`. What is longer than a line may be loses its length.
    #[inline(always)]
    pub(super) fn new(line: usize, range: Range<usize>, escaped: bool) -> Self {
        let length = (range.end - range.start) as u32 & !ESCAPED;
        Self { start: (range.start - line) as u32, length: length | if escaped { ESCAPED } else { 0 } }
    }

    /// Moves it with what stood at `from` and stands at `to`.
    #[inline(always)]
    pub(super) fn shift(&mut self, from: usize, to: usize) {
        self.start = self.start.wrapping_add(to as u32).wrapping_sub(from as u32);
    }

    #[inline(always)]
    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    #[inline(always)]
    pub(super) fn length(self) -> u32 {
        self.length & !ESCAPED
    }

    #[inline(always)]
    pub(super) fn text(self, line: &[u8]) -> Text<'_> {
        Text::new(&line[self.start()..][..self.length() as usize], self.length & ESCAPED != 0)
    }
}

/// A label, as places in its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    pub name: Place,
    pub value: Place,
    /// The hash of its name.
    pub named: u64,
    /// What this label and those before it add to the identity.
    pub sum: u64,
}

impl Label {
    /// The byte behind the quote that closes it.
    pub(super) fn end(&self) -> usize {
        self.value.start() + self.value.length() as usize + 1
    }
}

/// The labels of a line, in the order in which it has them.
#[derive(Clone, Copy)]
pub struct Labels<'a, 'p> {
    line: &'p [u8],
    labels: &'a [Label],
}

impl<'a, 'p> Labels<'a, 'p> {
    pub(super) fn new(line: &'p [u8], labels: &'a [Label]) -> Self {
        Self { line, labels }
    }

    /// The value of the label with this name; empty when there is none, which is the same in every respect.
    pub fn get(self, name: &[u8]) -> Cow<'p, [u8]> {
        self.find(name).0
    }

    /// The value of the label with this name, and where in the line the label ends, its quote included.
    pub(crate) fn find(self, name: &[u8]) -> (Cow<'p, [u8]>, Option<usize>) {
        match self.labels.iter().find(|label| label.name.text(self.line) == *name) {
            Some(label) => (label.value.text(self.line).bytes(), Some(label.end())),
            None => (Cow::Borrowed(&[]), None),
        }
    }

    /// All of them, name and value; those with an empty value as well.
    pub fn iter(self) -> impl Iterator<Item = (Text<'p>, Text<'p>)> + 'a
    where
        'p: 'a,
    {
        self.labels.iter().map(move |label| (label.name.text(self.line), label.value.text(self.line)))
    }

    /// Whether they are the same set as `other`.
    pub(super) fn same_as(self, other: Labels<'_, '_>) -> bool {
        let within = |one: Labels<'_, '_>, two: Labels<'_, '_>| {
            one.iter().all(|(name, value)| two.get(&name.bytes()) == value.bytes())
        };
        // Names are unique within each, so that two inclusions are equality.
        within(self, other) && within(other, self)
    }
}

impl std::fmt::Debug for Labels<'_, '_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_map().entries(self.iter().map(|(name, value)| (name.to_text(), value.to_text()))).finish()
    }
}

/// Equal for equal series, and by chance alone for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub(super) u64);

impl Identity {
    /// The 32 bits of it that come first.
    pub(crate) fn upper_half(self) -> u64 {
        self.0 >> 32
    }

    #[cfg(test)]
    pub(crate) fn of_test(identity: u64) -> Self {
        Self(identity)
    }
}

/// A series by its name and labels, on its own and in one spelling: labels by name, none without a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesText {
    /// The name of the metric.
    pub name: String,
    /// Names and values of its labels.
    pub labels: Vec<(String, String)>,
}

impl SeriesText {
    pub(super) fn new(name: Text<'_>, labels: Labels<'_, '_>) -> Self {
        let valued = labels.iter().filter(|(_, value)| !value.is_empty());
        let mut labels: Vec<(String, String)> = valued.map(|(name, value)| (name.to_text(), value.to_text())).collect();
        labels.sort_unstable();
        Self { name: name.to_text(), labels }
    }

    /// The series of the same labels with another name.
    pub(crate) fn renamed(&self, name: Vec<u8>) -> Self {
        Self { name: String::from_utf8_lossy(&name).into_owned(), labels: self.labels.clone() }
    }

    /// The series without a label.
    pub(crate) fn without(mut self, label: &[u8]) -> Self {
        self.labels.retain(|(name, _)| name.as_bytes() != label);
        self
    }

    pub(crate) fn identity(&self, key: Key) -> Identity {
        let sum = self
            .labels
            .iter()
            .map(|(name, value)| key.label(key.bytes(name.as_bytes()), Text::new(value.as_bytes(), false)));
        key.series(key.bytes(self.name.as_bytes()), sum.fold(0, u64::wrapping_add))
    }
}

/// As the text format writes it, with quotes around names that need them.
impl std::fmt::Display for SeriesText {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quoted =
            |text: &str| format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n"));
        let plain = |text: &str, colons: bool| {
            let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (colons && byte == b':');
            let mut bytes = text.bytes();
            bytes.next().is_some_and(letter) && bytes.all(|byte| letter(byte) || byte.is_ascii_digit())
        };
        let mut inside: Vec<String> = Vec::new();
        if plain(&self.name, true) {
            out.write_str(&self.name)?;
        } else {
            inside.push(quoted(&self.name));
        }
        inside.extend(self.labels.iter().map(|(name, value)| {
            let name = if plain(name, false) { name.clone() } else { quoted(name) };
            format!("{name}={}", quoted(value))
        }));
        if inside.is_empty() { Ok(()) } else { write!(out, "{{{}}}", inside.join(",")) }
    }
}

/// What identities are keyed with; those of two keys have nothing to do with each other.
#[derive(Clone, Copy, Debug)]
pub struct Key([u64; 2]);

impl Key {
    /// A random key.
    pub fn random() -> Self {
        Self([RandomState::new().hash_one(0), RandomState::new().hash_one(1)])
    }

    #[inline(always)]
    pub(super) fn text(self, text: Text<'_>) -> u64 {
        if text.escaped { self.escaped(text) } else { self.bytes(text.raw) }
    }

    #[cold]
    fn escaped(self, text: Text<'_>) -> u64 {
        self.bytes(&text.bytes())
    }

    /// What a label adds, whose name has the hash `named`.
    #[inline(always)]
    pub(super) fn label(self, named: u64, value: Text<'_>) -> u64 {
        if value.is_empty() { 0 } else { folded(named ^ self.0[1], self.text(value).wrapping_add(self.0[0])) }
    }

    /// The identity of a series of this name, whose labels add up to `sum`.
    #[inline(always)]
    pub(super) fn series(self, named: u64, sum: u64) -> Identity {
        Identity(folded(named ^ self.0[0], self.0[1]).wrapping_add(sum))
    }

    /// Folded multiplication of 16 bytes at a time, as in wyhash (Wang Yi) and its kin: strings here are short, and
    /// the standard library's hash costs several times as much on them.
    #[inline(always)]
    pub(super) fn bytes(self, bytes: &[u8]) -> u64 {
        let length = bytes.len();
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let half = |at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")));
        // Multiplied, so that no byte can make up for another length.
        let mut state = self.0[0].wrapping_add((length as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (low, high) = match length {
            0 => (0, 0),
            1..4 => (u64::from(bytes[0]) | u64::from(bytes[length / 2]) << 8, u64::from(bytes[length - 1])),
            4..8 => (half(0), half(length - 4)),
            8..=16 => (word(0), word(length - 8)),
            _ => {
                let last = &bytes[length - 16..];
                for block in bytes[..length - 1].as_chunks::<16>().0 {
                    let [low, high] = words(block);
                    state = folded(low ^ state, high ^ self.0[1]);
                }
                let [low, high] = words(last.first_chunk().expect("16 bytes"));
                (low, high)
            }
        };
        folded(low ^ state, high ^ self.0[1])
    }
}

#[inline(always)]
fn words(block: &[u8; 16]) -> [u64; 2] {
    let block = u128::from_le_bytes(*block);
    [block as u64, (block >> 64) as u64]
}

#[inline(always)]
fn folded(one: u64, two: u64) -> u64 {
    let product = u128::from(one) * u128::from(two);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_taken_back_and_other_backslashes_stay() {
        for (raw, text) in [
            (r#"hi"#, "hi"),
            (r#"a\\b"#, r"a\b"),
            (r#"\"quoted\""#, r#""quoted""#),
            (r#"two\nlines"#, "two\nlines"),
            (r#"\\n"#, r"\n"),
            (r#"\x\t"#, r"\x\t"),
            (r#"\\\\"#, r"\\"),
            (r#"ö\n€"#, "ö\n€"),
        ] {
            assert_eq!(Text::new(raw.as_bytes(), true).to_text(), text, "{raw}");
            assert_eq!(Text::new(raw.as_bytes(), false).to_text(), raw);
        }
    }

    #[test]
    fn hashes_see_every_byte_and_the_length() {
        let key = Key::random();
        let mut hashes = std::collections::HashSet::new();
        for length in 0..100usize {
            let mut bytes = vec![b'x'; length];
            assert!(hashes.insert(key.bytes(&bytes)), "{length}");
            for at in 0..length {
                bytes[at] = b'y';
                assert!(hashes.insert(key.bytes(&bytes)), "byte {at} of {length}");
                bytes[at] = b'x';
            }
        }
    }

    #[test]
    fn a_label_without_a_value_adds_nothing() {
        let key = Key::random();
        assert_eq!(key.label(key.bytes(b"a"), Text::new(b"", false)), 0);
        assert_ne!(
            key.label(key.bytes(b"a"), Text::new(b"b", false)),
            key.label(key.bytes(b"b"), Text::new(b"a", false))
        );
    }
}
