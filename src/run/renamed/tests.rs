use std::path::Path;

use super::*;
use crate::engine::{Kept, Series, SeriesId, SourceTotals, Totals};
use crate::intake::tail::{Log, Note, Sink, Tail, TailOptions};
use crate::store::Position;
use crate::tally::Tally;

/// Specs with these sources, by name and path.
fn catalog(root: &Path, sources: &[(&str, &str)]) -> Catalog {
    let source = |(name, path): &(&str, &str)| {
        let path = root.join(path);
        format!("[[source]]\nname = \"{name}\"\n[source.file]\npaths = [\"{}\"]\nformat = \"common\"\n", path.display())
    };
    let specs: String = sources.iter().map(source).collect();
    let specs = specs + "[gate]\non_unknown = \"deny\"\n";
    let story = format!(
        "[story]\nname = \"shop\"\n[[slo]]\nname = \"up\"\nobjective = 90.0\n[slo.availability]\nsource = \"{}\"\n\
         requests = [\"GET /\"]\n",
        sources[0].0
    );
    let texts = [("slogate.toml", specs.as_str()), ("shop.toml", &story)];
    crate::spec::load_texts("specs".as_ref(), &texts).unwrap().catalog
}

/// Takes no note of anything.
struct Nothing;

impl Sink for Nothing {
    fn piece(&mut self, _: Log<'_>, _: crate::intake::Piece<'_>) {}
    fn gap(&mut self, _: crate::intake::tail::Gap) {}
    fn note(&mut self, _: Note) {}
}

/// What a source of this name has read of these files.
fn read(root: &Path, name: &str, path: &str) -> Vec<Position> {
    let catalog = catalog(root, &[(name, path)]);
    let mut tail = Tail::new(TailOptions::new(follow::file_of(&catalog, SourceId(0))), &[]).unwrap();
    tail.poll(0, &mut Nothing);
    let saved = tail.changes(0).put.into_iter();
    saved.map(|saved| Position { source: name.into(), key: saved.key.into(), at: Some(saved.value) }).collect()
}

/// Sources that have read files, each by name and path; sources that the specs name now; who goes on with whom.
#[track_caller]
fn check(read_by: &[(&str, &str)], named: &[(&str, &str)], expected: &[(&str, &str)]) {
    check_with(read_by, Kept::default(), named, expected);
}

#[track_caller]
fn check_with(read_by: &[(&str, &str)], kept: Kept, named: &[(&str, &str)], expected: &[(&str, &str)]) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    ["a.log", "b.log"].iter().for_each(|name| std::fs::write(root.join(name), "line\n").unwrap());
    let positions: Vec<Position> = read_by.iter().flat_map(|(name, path)| read(&root, name, path)).collect();
    let loaded = Loaded { kept, positions, ..Loaded::default() };
    let catalog = catalog(&root, named);
    let found = renamed(&catalog, &loaded);
    let found: Vec<(&str, &str)> = found.iter().map(|rename| (&*rename.from, &*rename.to)).collect();
    assert_eq!(found, expected, "{read_by:?}, now {named:?}");
    // Whoever is renamed would have been read on from there in any case.
    for (from, to) in found {
        let source = catalog.source_named(to).unwrap();
        assert_eq!(follow::formerly(&catalog, source, &loaded.positions).collect::<Vec<_>>(), [from]);
    }
}

#[test]
fn a_source_is_renamed_when_one_goes_on_with_the_files_of_one() {
    check(&[], &[("lb", "a.log")], &[]);
    check(&[("lb", "a.log")], &[("lb", "a.log")], &[]);
    check(&[("lb", "a.log")], &[("edge", "a.log")], &[("lb", "edge")]);
    check(&[("lb", "a.log")], &[("edge", "*.log")], &[("lb", "edge")]);
    check(&[("lb", "a.log")], &[("edge", "b.log")], &[]);
    check(&[("lb", "a.log")], &[("edge", "a.log"), ("lb", "b.log")], &[]);
    check(&[("x", "a.log"), ("y", "b.log")], &[("n", "b.log"), ("m", "a.log")], &[("y", "n"), ("x", "m")]);
}

#[test]
fn nobody_is_chosen_among_several() {
    check(&[("lb", "*.log")], &[("one", "a.log"), ("other", "b.log")], &[]);
    check(&[("one", "a.log"), ("other", "b.log")], &[("lb", "*.log")], &[]);
}

#[test]
fn what_has_anything_of_its_own_goes_on_with_that() {
    let name = |source: &str| SeriesName::Records { source: source.into() };
    let series = |source: &str| Series {
        id: SeriesId(0),
        name: name(source),
        rules: String::new(),
        promise: String::new(),
        changed: None,
        absences: Vec::new(),
    };
    let totals = vec![Totals { series: SeriesId(0), lifetime: Tally::new(1, 0), newest: None }];
    let refused = |source: &str, rejected: &[(crate::counts::Rejection, u64)]| SourceTotals {
        source: source.into(),
        rejected: rejected.iter().copied().collect(),
        first_heard: None,
        expired: None,
        quality: None,
    };
    let some = [(crate::counts::Rejection::Future, 1)];
    for (kept, is_renamed) in [
        (Kept { series: vec![series("edge")], ..Kept::default() }, true),
        (Kept { series: vec![series("edge")], totals: totals.clone(), ..Kept::default() }, false),
        (Kept { series: vec![series("lb")], totals, ..Kept::default() }, true),
        (Kept { sources: vec![refused("edge", &[])], ..Kept::default() }, true),
        (Kept { sources: vec![refused("edge", &some)], ..Kept::default() }, false),
        (Kept { sources: vec![refused("lb", &some)], ..Kept::default() }, true),
    ] {
        let expected: &[_] = if is_renamed { &[("lb", "edge")] } else { &[] };
        check_with(&[("lb", "a.log")], kept, &[("edge", "a.log")], expected);
    }
    check(&[("lb", "a.log"), ("edge", "b.log")], &[("edge", "a.log")], &[]);
}
