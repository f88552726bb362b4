//! The specs as typed: every key of every file, with its place, nothing judged yet.
//!
//! A slip in the shape of a file (an unknown key, a wrong type) is found here; what a value means, and whether names
//! fit together, is found by [`super::compile`].

mod alert;
mod engine;
mod scrape;
mod story;

use std::path::Path;

use toml::de::DeTable;

pub(super) use alert::Alert;
pub(super) use engine::{Engine, FileSource, Gate, Source, SourceKind};
pub(super) use scrape::ScrapeSource;
pub(super) use story::{Journey, Member, Requests, Sli, Slo, Story};

use super::fault::{Faults, Place, SpecFile, printable, quoted};
use super::table::{Refused, Shape, Table};

/// The name of the engine's file.
pub(super) const ENGINE_FILE: &str = "slogate.toml";

/// Everything that was read.
pub(super) struct Written {
    /// `slogate.toml`, if there is one.
    pub engine: Option<Engine>,
    /// The other files, by path.
    pub documents: Vec<Document>,
}

/// A file of stories and journeys.
pub(super) struct Document {
    /// Its position in the files.
    pub file: usize,
    /// `[story]` with its `[[slo]]`s.
    pub story: Option<Story>,
    /// `[journey]`.
    pub journey: Option<Journey>,
    /// Whether no key at its top was refused, which might have been meant to be a story.
    pub is_understood: bool,
}

const DOCUMENT: Shape = Shape {
    name: "a file of specs",
    keys: &["story", "slo", "journey"],
    refused: &[
        Refused::new("server", "[server] belongs in slogate.toml at the top of the directory"),
        Refused::new("store", "[store] belongs in slogate.toml at the top of the directory"),
        Refused::new("source", "[[source]] belongs in slogate.toml at the top of the directory"),
        Refused::new("gate", "[gate] belongs in slogate.toml at the top of the directory"),
        Refused { key: "slos", why: "write [[slo]] once for each SLO", instead: "slo" },
        Refused::new("stories", "each [story] has a file of its own; the stories of a journey belong to [journey]"),
    ],
};

/// Reads every file. `files[0..]` are in the order of their paths; the engine's lies directly in `directory`.
pub(super) fn read(directory: &Path, files: &[SpecFile], faults: &Faults<'_>) -> Written {
    let mut written = Written { engine: None, documents: Vec::new() };
    for (number, file) in files.iter().enumerate() {
        let is_engine = file.path == directory.join(ENGINE_FILE);
        let tree = parse(number, file, faults);
        match is_engine {
            true => written.engine = Some(engine::read(number, &tree, faults)),
            false => written.documents.push(document(number, &tree, faults)),
        }
    }
    written
}

fn document(file: usize, tree: &DeTable<'_>, faults: &Faults<'_>) -> Document {
    let root = Table::open(faults, &DOCUMENT, Place { file, at: 0 }, tree);
    let (story, journey) = (story::story(&root, faults), story::journey(&root));
    let document = Document { file, story, journey, is_understood: !root.has_strange_tables };
    if document.story.is_none() && document.journey.is_none() && !root.has_strange_tables && !root.has("slo") {
        faults.missing(root.place, "this file holds neither a [story] nor a [journey]");
    }
    document
}

/// The file's tree; what is left of it when there are syntax errors.
fn parse<'f>(number: usize, file: &'f SpecFile, faults: &Faults<'_>) -> DeTable<'f> {
    /// Of a file that is not TOML at all, the first few errors tell enough.
    const MOST_ERRORS: usize = 20;
    if let Some((at, why)) = &file.unreadable {
        faults.syntax(Place { file: number, at: *at }, why.clone());
        return DeTable::new();
    }
    let (tree, errors) = DeTable::parse_recoverable(&file.text);
    for (count, error) in errors.iter().enumerate().take(MOST_ERRORS + 1) {
        let span = error.span().unwrap_or_default();
        let place = Place { file: number, at: span.start.min(file.text.len()) };
        let written = file.text.get(span).unwrap_or_default();
        match error.message() {
            _ if count == MOST_ERRORS => {
                faults.syntax(place, format!("and {} more syntax errors", errors.len() - count));
            }
            "duplicate key" => duplicate(place, written, tree.get_ref(), faults),
            // The parser takes a bare word for a misspelt `nan`, `inf`, `true` or `false`.
            _ if written.starts_with(char::is_alphabetic) => {
                faults.syntax(place, format!("not TOML: {} here; texts stand in quotes", quoted(written)));
            }
            message => {
                let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
                faults.syntax(place, format!("not TOML: {}", printable(&message)));
            }
        }
    }
    tree.into_inner()
}

/// A key twice: the rest of the file is sound, the first value stands.
fn duplicate(place: Place, key: &str, tree: &DeTable<'_>, faults: &Faults<'_>) {
    let mut places = Vec::new();
    keys_named(key.trim_matches(['"', '\'']), tree, &mut places);
    // Of a table that is opened twice the tree keeps the second head only, which is the one at `place`.
    let is_table = places.contains(&place.at);
    let first = places.into_iter().filter(|at| !is_table && *at < place.at).max();
    let first = first.map(|at| format!("; the first is at {}", faults.locate(Place { at, ..place })));
    let what = if is_table { "table" } else { "key" };
    faults.error(place, format!("duplicate {what} {}{}", quoted(key), first.unwrap_or_default()));
}

fn keys_named(name: &str, tree: &DeTable<'_>, places: &mut Vec<usize>) {
    for (key, value) in tree {
        if key.get_ref() == name {
            places.push(key.span().start);
        }
        value.get_ref().as_table().into_iter().for_each(|table| keys_named(name, table, places));
        let tables = value.get_ref().as_array().into_iter().flat_map(|array| array.iter());
        tables.filter_map(|element| element.get_ref().as_table()).for_each(|table| keys_named(name, table, places));
    }
}
