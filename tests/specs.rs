//! Specs through the library's door: the contract's own examples, and text that nobody would write.

use std::path::Path;

use proptest::prelude::*;
use slogate::spec::{Aggregate, Loaded, Sli, SpecErrors, load, load_texts};

/// The shipped example, by path; also what mutations start from.
const SHIPPED: [(&str, &str); 9] = [
    ("browse.toml", include_str!("../slo-specs/browse.toml")),
    ("buy.toml", include_str!("../slo-specs/buy.toml")),
    ("category.toml", include_str!("../slo-specs/category.toml")),
    ("checkout.toml", include_str!("../slo-specs/checkout.toml")),
    ("detail.toml", include_str!("../slo-specs/detail.toml")),
    ("home.toml", include_str!("../slo-specs/home.toml")),
    ("profile.toml", include_str!("../slo-specs/profile.toml")),
    ("search.toml", include_str!("../slo-specs/search.toml")),
    ("slogate.toml", include_str!("../slo-specs/slogate.toml")),
];

/// Either a catalogue whose ids fit, or faults that point into the files.
fn check(files: &[(&str, &str)]) {
    match load_texts(Path::new("specs"), files) {
        Ok(loaded) => assert_ids_fit(&loaded),
        Err(SpecErrors::Unreadable { .. }) => panic!("nothing was read from the disk"),
        Err(SpecErrors::Invalid(faults)) => {
            assert!(!faults.is_empty());
            for fault in faults {
                let text = files.iter().find(|(path, _)| Path::new("specs").join(path) == fault.file);
                let line = text.map_or(Some(""), |(_, text)| text.split('\n').nth(fault.line - 1)).expect("a line");
                assert!((1..=line.chars().count() + 1).contains(&fault.column), "{fault}");
                assert!(!fault.message.is_empty() && !fault.message.contains(char::is_control), "{fault:?}");
            }
        }
    }
}

fn assert_ids_fit(Loaded { catalog, .. }: &Loaded) {
    assert!(!catalog.stories.is_empty() && !catalog.slos.is_empty());
    for slo in &catalog.slos {
        assert!(catalog[slo.story].slos.iter().any(|id| catalog[*id].name == slo.name));
        let is_logged = catalog[slo.source].kind.file().is_some();
        assert!(!catalog[slo.source].name.is_empty() && slo.patterns().is_empty() != is_logged);
    }
    for story in &catalog.stories {
        let service = &catalog[story.service];
        assert!(story.slos.iter().all(|slo| service.slos.contains(slo)));
    }
    for member in catalog.journeys.iter().flat_map(|journey| &journey.members) {
        assert!(!catalog[member.slo].name.is_empty());
    }
}

/// One edit of a text, at a place given in thousandths of its length.
#[derive(Clone, Debug)]
enum Edit {
    Insert(usize, String),
    Cut(usize, usize),
    Repeat(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let pieces = prop_oneof![
        "[\\[\\]{}\"'=.,#\n\\\\ ]{1,3}",
        "\\PC{1,4}",
        Just("[[slo]]\n".to_owned()),
        Just("[story]\n".to_owned()),
        Just("-1e400".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("\u{0}".to_owned()),
        Just("\"\"\"".to_owned()),
    ];
    prop_oneof![
        (0..1_000_usize, pieces).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (0..1_000_usize, 1..30_usize).prop_map(|(at, length)| Edit::Cut(at, length)),
        (0..1_000_usize, 1..60_usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
    ]
}

fn apply(text: &str, edit: &Edit) -> String {
    let characters: Vec<char> = text.chars().collect();
    let place = |thousandths: usize| characters.len() * thousandths / 1_000;
    let end = |at: usize, length: usize| (at + length).min(characters.len());
    let parts: [&[char]; 3] = match edit {
        Edit::Insert(at, piece) => {
            let (before, after) = characters.split_at(place(*at));
            return before.iter().chain(&piece.chars().collect::<Vec<_>>()).chain(after).collect();
        }
        Edit::Cut(at, length) => [&characters[..place(*at)], &[], &characters[end(place(*at), *length)..]],
        Edit::Repeat(at, length) => {
            let stop = end(place(*at), *length);
            [&characters[..stop], &characters[place(*at)..stop], &characters[stop..]]
        }
    };
    parts.concat().into_iter().collect()
}

proptest! {
    #[test]
    fn any_text_gives_a_catalogue_or_faults_at_their_places(
        engine in "\\PC{0,200}",
        story in "(\\PC|\n|\r|\t){0,200}",
    ) {
        check(&[("slogate.toml", &engine), ("story.toml", &story)]);
    }

    #[test]
    fn edited_specs_give_a_catalogue_or_faults_at_their_places(
        file in 0..SHIPPED.len(),
        edits in prop::collection::vec(edit(), 1..4),
    ) {
        let text = edits.iter().fold(SHIPPED[file].1.to_owned(), |text, edit| apply(&text, edit));
        let mut files = SHIPPED;
        files[file].1 = &text;
        check(&files);
    }
}

#[test]
fn nesting_does_not_exhaust_the_stack() {
    for text in ["[".repeat(100_000), format!("a={}", "[".repeat(100_000)), format!("a={}", "{a=".repeat(100_000))] {
        check(&[("slogate.toml", &text)]);
    }
    let dots = format!("{}b = 1", "a.".repeat(100_000));
    check(&[("slogate.toml", &dots), ("story.toml", &format!("[{dots}]"))]);
}

#[test]
fn the_contracts_examples_load() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/contract");
    let catalog = load(&directory).unwrap_or_else(|errors| panic!("{errors}")).catalog;
    let slos: Vec<_> = catalog
        .slos
        .iter()
        .map(|slo| {
            format!("{}/{} {} {}% {}", catalog[slo.story].name, slo.name, slo.sli.kind(), slo.objective, slo.window)
        })
        .collect();
    assert_eq!(
        slos,
        [
            "home/availability availability 99.9% 28d",
            "profile/availability availability 99.95% 28d",
            "profile/latency latency 90% 28d",
            "profile/p99 percentile 90% 28d",
            "search/availability availability 99.9% 28d",
        ]
    );
    let Sli::Availability { good, ignore } = catalog.slos[1].sli else { panic!("{:?}", catalog.slos[1]) };
    assert_eq!((good.to_string(), ignore.to_string()), ("200-499".to_owned(), "499".to_owned()));
    let [journey] = catalog.journeys.as_slice() else { panic!("{:?}", catalog.journeys) };
    let weights: Vec<_> = journey.members.iter().map(|member| member.weight_millionths.get()).collect();
    assert_eq!((journey.aggregate, weights), (Aggregate::Requests, vec![1_000_000, 3_000_000]));
    let services: Vec<_> = catalog.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(services, ["api", "home", "search"]);
}
