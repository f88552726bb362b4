//! Reads TOML tables key by key, and collects what is wrong with them.
//!
//! Not serde: it stops at its first error, and it does not know where a value stood once it is read. Here a table is
//! opened with its [`Shape`], the keys that it may have; every other key is reported at once, with the key that was
//! probably meant. Reading a key gives a [`Field`]: absent, broken (which is reported already), or given with its
//! place.
//! What stands under a misspelt key is read as if it were spelt right, so that one slip gives one message and hides
//! nothing.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::fault::{At, Faults, Place, listed, nearest, quoted};
use super::number::Number;

/// What a table may hold.
pub(super) struct Shape {
    /// The table as messages name it.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [&'static str],
    /// Keys that people try here.
    pub refused: &'static [Refused],
}

/// A key that people try, and what to tell them.
pub(super) struct Refused {
    /// The key.
    pub key: &'static str,
    /// What to do instead.
    pub why: &'static str,
    /// The key to write instead, which is then not also missing; empty if there is none.
    pub instead: &'static str,
}

impl Refused {
    /// A key with nothing to write instead in the same table.
    pub const fn new(key: &'static str, why: &'static str) -> Self {
        Self { key, why, instead: "" }
    }
}

/// A key of a table, as found.
#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    /// The key and the table it belongs to, as messages name them.
    key: &'static str,
    table: &'static str,
    /// The head of the table.
    head: Place,
    state: State<T>,
}

#[derive(Clone, Debug)]
enum State<T> {
    Absent,
    Broken,
    Given(At<T>),
}

/// An array of strings; elements of another type are reported and `None`.
pub(super) type Texts = Vec<Option<At<String>>>;

impl<T> Field<T> {
    /// The value; reports it missing at the head of its table when it is.
    pub fn required(&self, faults: &Faults<'_>) -> Option<&At<T>> {
        if matches!(self.state, State::Absent) {
            faults.missing(self.head, format!("missing key `{}` in {}", self.key, self.table));
        }
        self.given()
    }

    /// The head of its table.
    pub fn head(&self) -> Place {
        self.head
    }

    /// The value, if there is a sound one.
    pub fn given(&self) -> Option<&At<T>> {
        match &self.state {
            State::Given(at) => Some(at),
            State::Absent | State::Broken => None,
        }
    }

    /// The value made by `convert`, which reports what it refuses; the default when the key is absent.
    pub fn or<'a, U>(&'a self, default: U, convert: impl FnOnce(&'a At<T>) -> Option<U>) -> Option<U> {
        match &self.state {
            State::Absent => Some(default),
            State::Broken => None,
            State::Given(at) => convert(at),
        }
    }

    /// The same key with its value made into another.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Field<U> {
        let state = match self.state {
            State::Absent => State::Absent,
            State::Broken => State::Broken,
            State::Given(At { value, place }) => State::Given(At { value: convert(value), place }),
        };
        Field { key: self.key, table: self.table, head: self.head, state }
    }

    /// Whether the key is not there, nor anything that was probably meant to be it.
    pub fn is_absent(&self) -> bool {
        matches!(self.state, State::Absent)
    }
}

/// A table that is being read.
pub(super) struct Table<'t> {
    faults: &'t Faults<'t>,
    shape: &'static Shape,
    /// Its head: `[name]`, or the first byte of an inline table.
    pub place: Place,
    content: Content<'t>,
    /// What stands under misspelt keys, by the keys that were probably meant.
    misspelt: BTreeMap<&'static str, &'t Spanned<DeValue<'t>>>,
    /// Keys in whose place a refused one stands.
    replaced: Vec<&'static str>,
    /// Whether there is a table that nobody knows: what it was meant to be may seem to be missing.
    pub has_strange_tables: bool,
}

enum Content<'t> {
    Absent,
    Broken,
    Given(&'t DeTable<'t>),
}

impl<'t> Table<'t> {
    /// Opens a table and reports the keys that its shape does not have.
    pub fn open(faults: &'t Faults<'t>, shape: &'static Shape, place: Place, table: &'t DeTable<'t>) -> Self {
        let mut opened = Self::new(faults, shape, place, Content::Given(table));
        for (key, value) in table.iter().filter(|(key, _)| !shape.keys.contains(&key.get_ref().as_ref())) {
            opened.stranger(key.get_ref(), opened.spot(key.span().start), value);
        }
        opened
    }

    fn new(faults: &'t Faults<'t>, shape: &'static Shape, place: Place, content: Content<'t>) -> Self {
        let (misspelt, replaced) = (BTreeMap::new(), Vec::new());
        Self { faults, shape, place, content, misspelt, replaced, has_strange_tables: false }
    }

    fn stranger(&mut self, key: &str, place: Place, value: &'t Spanned<DeValue<'t>>) {
        let keys = self.shape.keys;
        let meant = keys.iter().find(|known| Some(**known) == nearest(key, keys.iter().copied()));
        let refused = self.shape.refused.iter().find(|refused| refused.key == key);
        let message = match (refused, meant) {
            (Some(Refused { why, instead, .. }), _) => {
                self.replaced.push(instead);
                format!("key {}: {why}", quoted(key))
            }
            (None, Some(meant)) => {
                self.misspelt.entry(meant).or_insert(value);
                format!("unknown key {}; did you mean {}?", quoted(key), quoted(meant))
            }
            (None, None) => {
                format!("unknown key {}; {} has {}", quoted(key), self.shape.name, listed(keys.iter().copied()))
            }
        };
        let is_table = value.get_ref().is_table() || value.get_ref().is_array();
        self.has_strange_tables |= is_table && (refused.is_some() || meant.is_none());
        self.faults.error(place, message);
    }

    /// Whether `key` is there, of whatever type.
    pub fn has(&self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        let Content::Given(table) = self.content else { return None };
        table.get(key).or(self.misspelt.get(key).copied())
    }

    /// A string.
    pub fn text(&self, key: &'static str) -> Field<String> {
        self.field(key, |value| value.as_str().map(str::to_owned).ok_or("a string"))
    }

    /// A number, exactly as typed.
    pub fn number(&self, key: &'static str) -> Field<Number> {
        self.field(key, |value| match value {
            DeValue::Integer(integer) => Ok(Number { text: integer.as_str().to_owned(), radix: integer.radix() }),
            DeValue::Float(float) => Ok(Number { text: float.as_str().to_owned(), radix: 10 }),
            _ => Err("a number"),
        })
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &'static str) -> Field<bool> {
        self.field(key, |value| value.as_bool().ok_or("`true` or `false`"))
    }

    /// An array of strings.
    pub fn texts(&self, key: &'static str) -> Field<Texts> {
        self.field(key, |value| {
            let array = value.as_array().ok_or("an array of strings, such as [\"...\"]")?;
            let element = |element: &Spanned<DeValue<'_>>| {
                let place = self.spot(element.span().start);
                let text = element.get_ref().as_str().map(|text| At { value: text.to_owned(), place });
                if text.is_none() {
                    let found = kind(element.get_ref());
                    self.faults.error(place, format!("`{key}` holds {found} here; expected a string in quotes"));
                }
                text
            };
            Ok(array.iter().map(element).collect())
        })
    }

    /// A table inside this one. Where there is none, its keys are absent; where something else is, they are broken.
    pub fn table(&self, key: &'static str, shape: &'static Shape) -> Self {
        let field = self.field(key, |value| value.as_table().ok_or("a table"));
        match field.state {
            State::Given(at) => Self::open(self.faults, shape, at.place, at.value),
            State::Broken => Self::new(self.faults, shape, self.place, Content::Broken),
            State::Absent => Self::new(self.faults, shape, self.place, Content::Absent),
        }
    }

    /// An array of tables; elements that are none are reported and left out.
    pub fn tables(&self, key: &'static str, shape: &'static Shape) -> Field<Vec<Self>> {
        self.field(key, |value| {
            let array = value.as_array().ok_or("an array of tables")?;
            let element = |element: &'t Spanned<DeValue<'t>>| {
                let place = self.spot(element.span().start);
                let table = element.get_ref().as_table();
                if table.is_none() {
                    self.faults
                        .error(place, format!("`{key}` holds {} here; expected a table", kind(element.get_ref())));
                }
                table.map(|table| Self::open(self.faults, shape, place, table))
            };
            Ok(array.iter().filter_map(element).collect())
        })
    }

    /// The tables inside the table `key`, whose own keys are names and not words of a shape.
    pub fn named_tables(&self, key: &'static str, shape: &'static Shape) -> Vec<(At<String>, Self)> {
        let field = self.field(key, |value| value.as_table().ok_or("a table"));
        let tables = field.given().into_iter().flat_map(|at| at.value.iter());
        let table = |(name, value): (&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>)| {
            let at = At { value: name.get_ref().clone().into_owned(), place: self.spot(name.span().start) };
            match value.get_ref().as_table() {
                Some(table) => {
                    let table = Self::open(self.faults, shape, self.spot(value.span().start), table);
                    Some((at, table))
                }
                None => {
                    let message = format!("{} is {}; write {}", quoted(&at.value), kind(value.get_ref()), shape.name);
                    self.faults.error(at.place, message);
                    None
                }
            }
        };
        tables.filter_map(table).collect()
    }

    fn field<T>(&self, key: &'static str, read: impl FnOnce(&'t DeValue<'t>) -> Result<T, &'static str>) -> Field<T> {
        assert!(self.shape.keys.contains(&key), "{} has no key {key}", self.shape.name);
        let state = match self.find(key) {
            Some(value) => self.value(key, value, read),
            None if matches!(self.content, Content::Broken) || self.replaced.contains(&key) => State::Broken,
            None => State::Absent,
        };
        Field { key, table: self.shape.name, head: self.place, state }
    }

    fn value<T>(
        &self,
        key: &str,
        value: &'t Spanned<DeValue<'t>>,
        read: impl FnOnce(&'t DeValue<'t>) -> Result<T, &'static str>,
    ) -> State<T> {
        let place = self.spot(value.span().start);
        match read(value.get_ref()) {
            _ if self.faults.is_torn(place) => State::Broken,
            Ok(value) => State::Given(At { value, place }),
            Err(expected) => {
                let advice = advice(key, value.get_ref(), expected);
                let found = kind(value.get_ref());
                self.faults.error(place, format!("`{key}` is {found}; expected {expected}{advice}"));
                State::Broken
            }
        }
    }

    fn spot(&self, at: usize) -> Place {
        Place { at, ..self.place }
    }
}

/// How to write what was probably meant.
fn advice(key: &str, value: &DeValue<'_>, expected: &str) -> String {
    match (value, expected) {
        (DeValue::Table(_), "an array of tables") => format!("; write [[{key}]]"),
        (DeValue::Array(_), "a table") => format!("; write [{key}], once"),
        _ => String::new(),
    }
}

/// A value's type for a message.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
