use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::formats::{Target, Template};
use crate::spec::*;
use crate::time::{Horizon, Timestamp};

/// A pattern as the specs write it, for patterns known to be well-formed.
fn pattern(text: &str) -> Pattern {
    let (methods, path) = text.split_once(' ').unwrap();
    let methods = match methods {
        "*" => Methods::Any,
        named => Methods::Named(named.split(',').map(str::to_owned).collect()),
    };
    let segment = |segment: &str| match segment {
        _ if segment.starts_with("{*") => Segment::Rest,
        _ if segment.starts_with('{') => Segment::Any,
        literal => Segment::Literal(literal.as_bytes().into()),
    };
    Pattern { text: text.to_owned(), methods, segments: path[1..].split('/').map(segment).collect() }
}

fn requests(patterns: &[&str], hosts: &[&str]) -> Requests {
    let host = |host: &&str| match host.strip_prefix('*') {
        Some(suffix) => HostRule::Suffix(suffix.to_owned()),
        None => HostRule::Exact((*host).to_owned()),
    };
    Requests { patterns: patterns.iter().map(|text| pattern(text)).collect(), hosts: hosts.iter().map(host).collect() }
}

fn availability() -> Sli {
    Sli::Availability { good: Statuses::range(100, 499), ignore: Statuses::NONE }
}

/// A catalogue of one source and one story with these SLOs.
fn catalog(slos: Vec<(Requests, Sli)>) -> Catalog {
    let policy = GatePolicy {
        on_unknown: OnUnknown::Deny,
        frozen_below_billionths: 0,
        thaw_above_billionths: 50_000_000,
        guarded_below_billionths: 250_000_000,
        stale_after_ms: 600_000,
        min_events: 100,
        max_unparsed_billionths: 10_000_000,
        on_gap: OnGap::Show,
        exempt: vec![],
        freeze_on: None,
    };
    let source = FileSource {
        paths: vec![],
        start: Start::Beginning,
        format: Template::preset("combined").unwrap(),
        max_line: 65_536,
    };
    let ids: Vec<SloId> = (0..slos.len()).map(SloId).collect();
    let slo = |(place, (requests, sli)): (usize, (Requests, Sli))| Slo {
        name: format!("slo{place}"),
        story: StoryId(0),
        objective: Objective::new(999_000_000).unwrap(),
        window: Horizon::DAYS_28,
        source: SourceId(0),
        requests: Some(requests),
        sli,
        alerts: Vec::new(),
    };

    Catalog {
        directory: PathBuf::new(),
        server: Server { listen: "127.0.0.1:9999".parse().unwrap(), token: None },
        store: StoreUrl::Redb(PathBuf::new()),
        sources: vec![Source { name: "lb".into(), kind: SourceKind::File(source) }],
        stories: vec![Story {
            name: "s".into(),
            title: "s".into(),
            service: ServiceId(0),
            owner: None,
            slos: ids.clone(),
        }],
        slos: slos.into_iter().enumerate().map(slo).collect(),
        journeys: vec![],
        services: vec![Service { name: "s".into(), policy, slos: ids }],
        renames: Renames::default(),
    }
}

fn request<'a>(
    method: &'a str,
    target: Target<'a>,
    host: &'a str,
    status: u16,
    duration_us: Option<u64>,
) -> Request<'a> {
    Request {
        at: Timestamp::from_seconds(0),
        method: method.as_bytes(),
        target,
        host: host.as_bytes(),
        status,
        duration_us,
    }
}

/// Which of these patterns match, by the classifier; each is the only one of an SLO.
fn matching(patterns: &[&str], method: &str, target: &str) -> Vec<usize> {
    let catalog = catalog(patterns.iter().map(|text| (requests(&[text], &[]), availability())).collect());
    let classifier = Classifier::new(&catalog, SourceId(0)).unwrap();
    let at_the_end = classifier.classify(&request(method, Target::new(target.as_bytes(), true), "", 200, None));
    let padded = format!("{target}{}", " HTTP/1.1/a/b?".repeat(10));
    let escaped = target.contains('\\');
    let inside = Target::within(padded.as_bytes(), &padded.as_bytes()[..target.len()], escaped);
    let followed = classifier.classify(&request(method, inside, "", 200, None));
    assert_eq!(at_the_end, followed, "what follows {target} in memory must not matter");
    let meaning = classifier.meaning(at_the_end);
    assert_eq!(meaning.matched, !meaning.good.is_empty());
    meaning.good.iter().map(|slo| slo.0).collect()
}

#[test]
fn b19_a_path_matches_as_the_golden_table_says() {
    const PATTERNS: [&str; 10] = [
        "GET /profile/{user}",
        "GET /profile/{user}/avatar",
        "GET,HEAD /profile/me",
        "* /static/{*rest}",
        "GET /",
        "GET /a/",
        "POST /a/{x}/{y}",
        "GET /a/b/{*rest}",
        "GET /a-literal-longer-than-sixteen-bytes/x",
        "GET /a//b",
    ];
    for (method, target, expected) in [
        ("GET", "/profile/jo", &[0][..]),
        ("GET", "/profile/me", &[0, 2]),
        ("HEAD", "/profile/me", &[2]),
        ("HEAD", "/profile/jo", &[]),
        ("get", "/profile/jo", &[]),
        ("GET", "/profile/jo/avatar", &[1]),
        ("GET", "/profile/jo/avatar/", &[]),
        ("GET", "/profile/", &[]),
        ("GET", "/profile", &[]),
        ("GET", "/Profile/jo", &[]),
        ("GET", "//profile/jo", &[]),
        ("GET", "/profile//jo", &[]),
        ("GET", "/profile/jo?x=/avatar", &[0]),
        ("GET", "/profile/jo%2Favatar", &[0]),
        ("GET", "/profile/jo;jsession=1", &[0]),
        ("GET", "/profile/%2e%2e", &[0]),
        ("GET", "/profile/a b", &[0]),
        ("GET", "/profile/../x", &[]),
        ("PURGE", "/static/a", &[3]),
        ("", "/static/a", &[3]),
        ("GET", "/static/a/b/c/d/e/f/", &[3]),
        ("GET", "/static//", &[3]),
        ("GET", "/static//a", &[3]),
        ("GET", "/static/", &[]),
        ("GET", "/static", &[]),
        ("GET", "/", &[4]),
        ("GET", "/?q", &[4]),
        ("GET", "http://host", &[4]),
        ("GET", "http://host?x", &[4]),
        ("GET", "https://host:1/profile/me?a", &[0, 2]),
        ("GET", "*", &[]),
        ("CONNECT", "host:443", &[]),
        ("GET", "profile/jo", &[]),
        ("GET", "://x/profile/jo", &[]),
        ("GET", "", &[]),
        ("GET", "?", &[]),
        ("GET", "/a/", &[5]),
        ("GET", "/a", &[]),
        ("POST", "/a/b/c", &[6]),
        ("GET", "/a/b/c", &[7]),
        ("GET", "/a/b//", &[7]),
        ("GET", "/a/b/", &[]),
        ("GET", "/a-literal-longer-than-sixteen-bytes/x", &[8]),
        ("GET", "/a-literal-longer-Than-sixteen-bytes/x", &[]),
        ("GET", "/a//b", &[9]),
        ("GET", r"/profile/\x22\x2f", &[]),
        ("GET", r"/profile/\x22", &[0]),
        ("GET", r"/\x70rofile/jo", &[0]),
    ] {
        assert_eq!(matching(&PATTERNS, method, target), expected, "{method} {target}");
    }
}

#[test]
fn a_path_of_any_length_is_matched() {
    for length in (1..100).chain([1_000, 30_000]) {
        let name = "x".repeat(length);
        assert_eq!(matching(&["GET /{a}/y"], "GET", &format!("/{name}/y")), [0], "{length}");
        assert_eq!(matching(&["GET /y/{a}"], "GET", &format!("/y/{name}?{name}")), [0], "{length}");
        assert_eq!(matching(&[&format!("GET /{name}/z")], "GET", &format!("/{name}/z")), [0], "{length}");
        assert_eq!(matching(&["GET /{*rest}"], "GET", &"/y".repeat(length)), [0], "{length}");
    }
}

#[test]
fn b23_a_request_counts_once_per_slo_however_many_patterns_match() {
    let overlapping = requests(&["GET /a/{x}", "GET /a/b", "* /{*rest}"], &[]);
    let catalog = catalog(vec![(overlapping.clone(), availability()), (overlapping, availability())]);
    let classifier = Classifier::new(&catalog, SourceId(0)).unwrap();
    let outcome = classifier.classify(&request("GET", Target::new(b"/a/b", false), "", 500, None));
    let meaning = classifier.meaning(outcome);
    assert_eq!((meaning.good.as_slice(), meaning.bad.as_slice()), (&[][..], &[SloId(0), SloId(1)][..]));
}

#[test]
fn b13_statuses_are_good_bad_or_ignored() {
    let strict = Sli::Availability { good: Statuses::range(200, 299), ignore: Statuses::range(499, 499) };
    let only = Sli::Latency { threshold_us: 500_000, count: Statuses::range(200, 299) };
    let patterns = || requests(&["GET /"], &[]);
    let catalog = catalog(vec![(patterns(), availability()), (patterns(), strict), (patterns(), only)]);
    let classifier = Classifier::new(&catalog, SourceId(0)).unwrap();
    for (status, duration, good, bad, missing) in [
        (200, Some(500_000), &[0, 1, 2][..], &[][..], false),
        (200, Some(500_001), &[0, 1], &[2], false),
        (200, None, &[0, 1], &[], true),
        (101, Some(0), &[0], &[1], false),
        (304, None, &[0], &[1], false),
        (499, Some(0), &[0], &[], false),
        (500, Some(0), &[], &[0, 1], false),
        (599, None, &[], &[0, 1], false),
    ] {
        let meaning =
            classifier.meaning(classifier.classify(&request("GET", Target::new(b"/", false), "", status, duration)));
        let ids = |slos: &[SloId]| slos.iter().map(|slo| slo.0).collect::<Vec<_>>();
        assert!(meaning.matched);
        assert_eq!((ids(&meaning.good), ids(&meaning.bad)), (good.to_vec(), bad.to_vec()), "{status} {duration:?}");
        assert_eq!(meaning.missing_duration, missing, "{status} {duration:?}");
    }
}

#[test]
fn thresholds_and_percentiles_share_their_durations() {
    let p = |threshold_us| Sli::Percentile {
        percentile: Percentile::new(99_000_000).unwrap(),
        threshold_us,
        slice: Horizon::of_minutes(1),
    };
    let throughput = Sli::Throughput { minimum_millionths: 1, slice: Horizon::of_minutes(1) };
    let slis = [p(100), p(300), p(200), p(200), throughput];
    let catalog = catalog(slis.into_iter().map(|sli| (requests(&["GET /"], &[]), sli)).collect());
    let classifier = Classifier::new(&catalog, SourceId(0)).unwrap();
    for (duration, good) in
        [(0, &[0, 1, 2, 3, 4][..]), (100, &[0, 1, 2, 3, 4]), (101, &[1, 2, 3, 4]), (201, &[1, 4]), (301, &[4])]
    {
        let outcome = classifier.classify(&request("GET", Target::new(b"/", false), "", 503, Some(duration)));
        let found: Vec<usize> = classifier.meaning(outcome).good.iter().map(|slo| slo.0).collect();
        assert_eq!(found, good, "{duration}");
    }
}

#[test]
fn hosts_lose_their_port_and_case() {
    let slos = [&["shop.example"][..], &["*.example"], &["*.shop.example", "other"], &[], &["[::1]"]];
    let catalog = catalog(slos.iter().map(|hosts| (requests(&["GET /"], hosts), availability())).collect());
    let classifier = Classifier::new(&catalog, SourceId(0)).unwrap();
    let long = "x".repeat(300);
    for (host, expected) in [
        ("shop.example", &[0, 1, 3][..]),
        ("SHOP.example:8080", &[0, 1, 3]),
        ("www.Shop.Example", &[1, 2, 3]),
        ("a.example", &[1, 3]),
        ("example", &[3]),
        ("other:1", &[2, 3]),
        ("other:x", &[3]),
        ("-", &[3]),
        ("", &[3]),
        ("[::1]:80", &[3, 4]),
        ("[::1]", &[3, 4]),
        (&long, &[3]),
    ] {
        let outcome = classifier.classify(&request("GET", Target::new(b"/", false), host, 200, None));
        let found: Vec<usize> = classifier.meaning(outcome).good.iter().map(|slo| slo.0).collect();
        assert_eq!(found, expected, "{host}");
    }
}

#[test]
fn patterns_that_multiply_beyond_measure_are_refused() {
    // Each literal can be reached with every combination of the others passed or not.
    let texts: Vec<String> = (0..20)
        .map(|place| {
            let path: Vec<String> =
                (0..20).map(|at| if at == place { "x".to_owned() } else { format!("{{p{at}}}") }).collect();
            format!("GET /{}", path.join("/"))
        })
        .collect();
    let catalog = catalog(texts.iter().map(|text| (requests(&[text], &[]), availability())).collect());
    let error = Classifier::new(&catalog, SourceId(0)).unwrap_err();
    assert!(error.to_string().contains("overlap too much"), "{error}");
}

/// Whether a pattern's segments match those of a path, segment by segment: the slow, obvious twin.
fn naive(pattern: &[Segment], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([Segment::Rest], path) => !path.join("/").is_empty(),
        ([Segment::Any, pattern @ ..], [first, path @ ..]) => !first.is_empty() && naive(pattern, path),
        ([Segment::Literal(text), pattern @ ..], [first, path @ ..]) => {
            **text == *first.as_bytes() && naive(pattern, path)
        }
        _ => false,
    }
}

const SEGMENTS: &[&str] =
    &["", "a", "b", "ab", "{x}", "{y}", "12345678", "123456789", "abcdefgh-abcdefgh", "abcdefgh+abcdefgh"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_automaton_matches_what_the_patterns_say(
        patterns in prop::collection::vec((prop::collection::vec(prop::sample::select(SEGMENTS), 1..5), any::<bool>()), 1..12),
        path in prop::collection::vec(prop::sample::select(SEGMENTS), 1..7),
    ) {
        let patterns: Vec<String> = patterns.into_iter().map(|(segments, rest)| {
            format!("GET /{}{}", segments.join("/"), if rest { "/{*rest}" } else { "" })
        }).collect();
        let texts: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let expected: Vec<usize> =
            (0..texts.len()).filter(|place| naive(&pattern(texts[*place]).segments, &path)).collect();
        prop_assert_eq!(matching(&texts, "GET", &format!("/{}", path.join("/"))), expected);
    }
}
