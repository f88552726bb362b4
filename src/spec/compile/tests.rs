//! Faults as data: a sound directory, one edit, and what must be said about it.

use std::path::Path;

use super::*;
use crate::increase::{Bound, Part};
use crate::spec::catalog::{
    HostRule, OnUnknown, ScrapeLimits, ScrapeSource, Secret, Sli, SourceKind, Statuses, StoreUrl,
};
use crate::spec::{AlertRule, Fault, Severity, load_texts};
use crate::time::Horizon;

mod renames;
mod values;

const ENGINE: &str = r#"[server]
listen = "127.0.0.1:9999"
[store]
url = "redb:counts.redb"
[[source]]
name = "lb"
[source.file]
paths = ["/var/log/nginx/access.log*", "old/*.gz"]
nginx = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $host $request_time'
[gate]
on_unknown = "deny"
[gate.service.api]
min_events = 5
"#;

const STORY: &str = r#"[story]
name = "profile"
service = "api"
[[slo]]
name = "availability"
objective = 99.95
window = "7d"
[slo.availability]
source = "lb"
requests = ["GET /profile/{user}", "* /me"]
[[slo]]
name = "latency"
objective = 90
[slo.latency]
source = "lb"
requests = ["GET /profile/{user}"]
threshold = "500ms"
[[slo]]
name = "p99"
objective = 90.0
[slo.percentile]
source = "lb"
requests = ["GET /profile/{user}"]
percentile = 99.5
threshold = "1s"
slice = "5m"
[[slo]]
name = "rate"
objective = 99.0
[slo.throughput]
source = "lb"
requests = ["GET /profile/{user}"]
minimum = 0.5
slice = "5m"
"#;

const JOURNEY: &str = r#"[journey]
name = "visit"
objective = 99.9
stories = [
  { story = "profile", slo = "availability", weight = 1.5 },
  { story = "profile", slo = "latency", weight = 2 },
]
"#;

fn load(files: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let lines = |faults: Vec<Fault>| faults.iter().map(Fault::to_string).collect::<Vec<_>>();
    load_texts(Path::new("specs"), files).map_err(|errors| match errors {
        SpecErrors::Invalid(faults) => lines(faults),
        SpecErrors::Unreadable { .. } => panic!("{errors}"),
    })
}

/// The sound directory with `old` replaced by `new`, once, in one of its files.
fn edited(old: &str, new: &str) -> Result<Loaded, Vec<String>> {
    let files = [("journey.toml", JOURNEY), ("slogate.toml", ENGINE), ("story.toml", STORY)];
    let all: String = files.iter().map(|(_, text)| *text).collect();
    assert!(all.contains(old), "{old} is in no file");
    let mut is_done = false;
    let texts = files.map(|(name, text)| {
        let here = !is_done && text.contains(old);
        is_done |= here;
        (name, if here { text.replacen(old, new, 1) } else { text.to_owned() })
    });
    load(&[(texts[0].0, &texts[0].1), (texts[1].0, &texts[1].1), (texts[2].0, &texts[2].1)])
}

/// Checks that each edit gives exactly these lines, less the directory's name.
fn check(edits: &[(&str, &str, &[&str])]) {
    for (old, new, expected) in edits {
        let found = edited(old, new).expect_err(new);
        let found: Vec<_> = found.iter().map(|line| line.strip_prefix("specs/").unwrap_or(line)).collect();
        assert_eq!(found, *expected, "{new}");
    }
}

#[test]
fn a_sound_directory_compiles_to_integers_and_ids() {
    let loaded = edited("[journey]", "[journey]").unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let catalog = loaded.catalog;
    assert_eq!(catalog.store, StoreUrl::Redb("specs/counts.redb".into()));
    let file = catalog.sources[0].kind.file().unwrap();
    assert_eq!(file.paths, ["/var/log/nginx/access.log*", "specs/old/*.gz"]);
    assert_eq!(file.max_line, 65_536);
    let [availability, latency, p99, rate] = catalog.slos.as_slice() else { panic!("{:?}", catalog.slos) };
    assert_eq!(availability.objective.billionths(), 999_500_000);
    assert_eq!((availability.window, latency.window), (Horizon::of_minutes(7 * 1_440), Horizon::DAYS_28));
    let good = Statuses::range(100, 499);
    assert_eq!(availability.sli, Sli::Availability { good, ignore: Statuses::NONE });
    assert_eq!(latency.sli, Sli::Latency { threshold_us: 500_000, count: Statuses::range(100, 599) });
    let slice = Horizon::of_minutes(5);
    assert!(matches!(&p99.sli, Sli::Percentile { percentile, threshold_us: 1_000_000, slice: s }
        if percentile.millionths() == 99_500_000 && *s == slice));
    assert_eq!(rate.sli, Sli::Throughput { minimum_millionths: 500_000, slice });
    let [journey] = catalog.journeys.as_slice() else { panic!("{:?}", catalog.journeys) };
    let members: Vec<_> = journey.members.iter().map(|member| (member.slo, member.weight_millionths.get())).collect();
    assert_eq!(members, [(SloId(0), 1_500_000), (SloId(1), 2_000_000)]);
    let [service] = catalog.services.as_slice() else { panic!("{:?}", catalog.services) };
    assert_eq!((service.name.as_str(), service.slos.len(), service.policy.min_events), ("api", 4, 5));
    assert_eq!(service.policy.on_unknown, OnUnknown::Deny);
    assert_eq!(service.policy.thaw_above_billionths, 50_000_000);
    assert_eq!(service.policy.exempt, ["fix", "rollback", "security"]);
}

#[test]
fn stories_and_services_are_numbered_by_name_whatever_their_files_are_called() {
    let story = |name: &str, service: &str| {
        let text = STORY.replace("\"profile\"", &format!("\"{name}\""));
        text.replace("service = \"api\"", &format!("service = \"{service}\""))
    };
    let (b, a) = (story("b", "api"), story("a", "web"));
    let catalog = load(&[("1.toml", &b), ("2/x.toml", &a), ("slogate.toml", ENGINE)]).unwrap().catalog;
    let stories: Vec<_> = catalog.stories.iter().map(|story| (story.name.as_str(), story.slos.clone())).collect();
    assert_eq!(stories, [("a", (0..4).map(SloId).collect::<Vec<_>>()), ("b", (4..8).map(SloId).collect())]);
    assert_eq!(catalog.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), ["api", "web"]);
    assert_eq!(catalog.services[0].slos, catalog.stories[1].slos);
    assert_eq!(catalog.story_of(SloId(5)).name, "b");
}

#[test]
fn i1_unknown_and_duplicate_keys_are_told_with_their_place_and_what_was_meant() {
    check(&[
        (
            "objective = 99.95",
            "objectiv = 99.95",
            &["story.toml:6:1: unknown key `objectiv`; did you mean `objective`?"],
        ),
        (
            "name = \"lb\"",
            "name = \"lb\"\ncolour = 1",
            &["slogate.toml:7:1: unknown key `colour`; [[source]] has `name`, `file`, `scrape`"],
        ),
        (
            "name = \"visit\"",
            "name = \"visit\"\nname = \"again\"",
            &["journey.toml:3:1: duplicate key `name`; the first is at specs/journey.toml:2:1"],
        ),
        ("[gate]\n", "[gate]\n[gate]\n", &["slogate.toml:11:2: duplicate table `gate`"]),
        (
            "[[source]]\nname",
            "[source]\nname",
            &["slogate.toml:5:1: `source` is a table; expected an array of tables; write [[source]]"],
        ),
        (
            "[journey]",
            "[[journey]]",
            &["journey.toml:1:1: `journey` is an array; expected a table; write [journey], once"],
        ),
        (
            "objective = 99.9\n",
            "objective = \"99.9%\"\n",
            &["journey.toml:3:13: `objective` is a string; expected a number"],
        ),
        (
            "[\"GET /profile/{user}\", \"* /me\"]",
            "\"GET /\"",
            &["story.toml:10:12: `requests` is a string; expected an array of strings, such as [\"...\"]"],
        ),
        ("\"* /me\"]", "404]", &["story.toml:10:36: `requests` holds an integer here; expected a string in quotes"]),
        (
            "[journey]",
            "\"é\" = 1\n[journey]",
            &["journey.toml:1:1: unknown key `é`; a file of specs has `story`, `slo`, `journey`"],
        ),
        (
            "weight = 2 }",
            "weight = 2, wieght = 3 }",
            &["journey.toml:6:53: unknown key `wieght`; did you mean `weight`?"],
        ),
    ]);
}

#[test]
fn what_stands_under_a_misspelt_key_is_still_checked() {
    check(&[(
        "[slo.availability]\nsource = \"lb\"",
        "[slo.availibility]\nsource = \"bl\"",
        &[
            "story.toml:8:6: unknown key `availibility`; did you mean `availability`?",
            "story.toml:9:10: there is no source `bl`; did you mean `lb`?",
        ],
    )]);
}

#[test]
fn missing_keys_are_told_at_the_head_of_their_table() {
    check(&[
        ("objective = 99.95\n", "", &["story.toml:4:1: missing key `objective` in [[slo]]"]),
        ("threshold = \"500ms\"\n", "", &["story.toml:14:1: missing key `threshold` in [slo.latency]"]),
        (", weight = 2 }", " }", &["journey.toml:6:3: missing key `weight` in a member of `stories`"]),
        ("[gate]\non_unknown = \"deny\"\n", "", &["slogate.toml:10:2: missing key `on_unknown` in [gate]"]),
        ("name = \"profile\"\n", "", &["story.toml:1:1: missing key `name` in [story]"]),
        (
            "paths = [\"/var/log/nginx/access.log*\", \"old/*.gz\"]\n",
            "",
            &["slogate.toml:7:1: missing key `paths` in [source.file]"],
        ),
        (
            "[slo.throughput]\nsource = \"lb\"\nrequests = [\"GET /profile/{user}\"]\nminimum = 0.5\nslice = \"5m\"\n",
            "",
            &[
                "story.toml:27:1: missing the SLO's kind: one of [slo.availability], [slo.latency], [slo.percentile] or [slo.throughput] on an access log, [slo.ratio], [slo.histogram] or [slo.gauge] on a scraped source",
            ],
        ),
    ]);
}

#[test]
fn two_stars_in_a_path_are_refused_because_they_would_mean_nothing() {
    let words = "`**` would mean directories of any depth, and none are looked through like that; write a path for each \
                 depth, such as `logs/*.log` and `logs/*/*.log`";
    for path in ["/var/log/**/access.log", "old/**.gz"] {
        let fault = format!("slogate.toml:8:40: `paths`: `{path}`: {words}");
        check(&[("\"old/*.gz\"", &format!("\"{path}\""), &[fault.as_str()])]);
    }
}

#[test]
fn kinds_of_other_versions_are_refused_in_one_line() {
    check(&[
        (
            "[source.file]",
            "[source.kafka]",
            &[
                "slogate.toml:7:9: key `kafka`: this kind of source is not supported by this version; the kinds are [source.file] and [source.scrape]",
            ],
        ),
        (
            "[source.file]",
            "[source.scrape]\ntargets = [\"http://a/metrics\"]\n[source.file]",
            &["slogate.toml:5:1: a source has one kind; write another [[source]] for the second"],
        ),
        (
            "[slo.throughput]",
            "[slo.latency]\nsource = \"lb\"\nrequests = [\"GET /\"]\nthreshold = \"1s\"\n[slo.throughput]",
            &["story.toml:34:1: an SLO has one kind; write another [[slo]] for the second"],
        ),
        (
            "redb:counts.redb",
            "postgres://me:hush@db/counts",
            &[
                "slogate.toml:4:7: `postgres:...` is not a store; the only store of this version is \"redb:PATH\", such as \"redb:slogate.redb\"",
            ],
        ),
    ]);
}

#[test]
fn a_source_has_no_more_targets_than_are_scraped() {
    let urls = |from: usize, to: usize| {
        let urls: Vec<String> = (from..to).map(|number| format!("\"http://t{number}/metrics\"")).collect();
        urls.join(", ")
    };
    let source = |keys: String| format!("[[source]]\nname = \"app\"\n[source.scrape]\n{keys}\n[gate]");
    for (keys, expected) in [
        (format!("targets = [{}]", urls(0, 1_000)), None),
        (format!("targets = [{}]", urls(0, 1_001)), Some("1001 elements of `targets` are too many; at most 1000")),
        (
            format!("targets = [{}]\ndns = [{}]", urls(0, 999), urls(999, 1_001)),
            Some("`targets` and `dns` name 1001 targets, and one source has 1000 at most"),
        ),
    ] {
        let found = edited("[gate]", &source(keys)).err().map(|lines| lines.join("\n"));
        assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
        assert!(expected.is_none_or(|words| found.as_ref().is_some_and(|found| found.contains(words))), "{found:?}");
    }
}

#[test]
fn i9_names_that_occur_twice_are_told_with_the_first_place() {
    check(&[
        (
            "name = \"latency\"",
            "name = \"availability\"",
            &[
                "journey.toml:6:30: the story `profile` has no SLO `latency`",
                "story.toml:12:8: duplicate SLO `availability`; the first is at specs/story.toml:5:8",
            ],
        ),
        (
            "slo = \"latency\"",
            "slo = \"availability\"",
            &[
                "journey.toml:6:3: `profile/availability` is a member of this journey twice; the first is at specs/journey.toml:5:3",
            ],
        ),
    ]);
    let found = load(&[
        ("a.toml", STORY),
        ("b.toml", STORY),
        ("c.toml", JOURNEY),
        ("d/e.toml", JOURNEY),
        ("slogate.toml", ENGINE),
    ]);
    assert_eq!(
        found.unwrap_err(),
        [
            "specs/b.toml:2:8: duplicate story `profile`; the first is at specs/a.toml:2:8",
            "specs/d/e.toml:2:8: duplicate journey `visit`; the first is at specs/c.toml:2:8",
        ]
    );
}

#[test]
fn a_broken_part_makes_nobody_complain_that_it_does_not_exist() {
    check(&[
        (
            "objective = 90\n",
            "objective = ninety\n",
            &["story.toml:13:13: not TOML: `ninety` here; texts stand in quotes"],
        ),
        ("name = \"latency\"", "name = 5", &["story.toml:12:8: `name` is an integer; expected a string"]),
        (
            "[story]\nname = \"profile\"",
            "[story]\nname = 5",
            &["story.toml:2:8: `name` is an integer; expected a string"],
        ),
        ("[source.file]", "[source.flie]", &["slogate.toml:7:9: unknown key `flie`; did you mean `file`?"]),
        (
            "[[source]]\nname = \"lb\"",
            "[[source]]\nname = lb",
            &["slogate.toml:6:8: not TOML: `lb` here; texts stand in quotes"],
        ),
        ("service = \"api\"", "service = 5", &["story.toml:3:11: `service` is an integer; expected a string"]),
    ]);
}

#[test]
fn parts_whose_name_is_missing_or_taken_are_still_checked() {
    let again = STORY.replace("99.95", "100");
    let found = load(&[("a.toml", STORY), ("b.toml", &again), ("slogate.toml", ENGINE)]).unwrap_err();
    assert_eq!(
        found,
        [
            "specs/b.toml:2:8: duplicate story `profile`; the first is at specs/a.toml:2:8",
            "specs/b.toml:6:13: an objective of 100% has no error budget: a single bad event would spend it",
        ]
    );
    let nameless = again.replace("name = \"profile\"\n", "");
    let journey = JOURNEY.replace("name = \"visit\"", "aggregate = \"mean\"");
    let found = load(&[("a.toml", &nameless), ("b.toml", &journey), ("slogate.toml", ENGINE)]).unwrap_err();
    assert_eq!(
        found,
        [
            "specs/a.toml:1:1: missing key `name` in [story]",
            "specs/a.toml:5:13: an objective of 100% has no error budget: a single bad event would spend it",
            "specs/b.toml:1:1: missing key `name` in [journey]",
            "specs/b.toml:2:13: `mean` is not a way to aggregate; expected \"requests\" or \"average\"",
        ]
    );
}

#[test]
fn every_fault_of_every_file_is_told_in_one_run() {
    let story = STORY.replace("99.95", "100").replace("* /me", "me").replace("500ms", "5");
    let journey = JOURNEY.replace("99.9", "0").replace("weight = 2", "weight = -2");
    let engine = ENGINE.replace("\"deny\"", "\"maybe\"").replace("min_events", "min_event");
    let found = load(&[("j.toml", &journey), ("slogate.toml", &engine), ("story.toml", &story)]).unwrap_err();
    let places: Vec<_> = found.iter().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(
        places,
        [
            "specs/j.toml:3:13",
            "specs/j.toml:6:50",
            "specs/slogate.toml:11:14",
            "specs/slogate.toml:13:1",
            "specs/story.toml:6:13",
            "specs/story.toml:10:36",
            "specs/story.toml:17:13",
        ]
    );
}

#[test]
fn a_directory_needs_its_engine_and_a_story() {
    let missing =
        "specs/slogate.toml:1:1: this file is missing; it says where requests come from and when the gate freezes";
    let none = "specs/slogate.toml:1:1: no story beside this file; add one, such as profile.toml with a [story]";
    assert_eq!(load(&[]).unwrap_err(), [none, missing]);
    assert_eq!(load(&[("a.toml", STORY)]).unwrap_err(), [missing]);
    assert_eq!(load(&[("sub/slogate.toml", STORY)]).unwrap_err(), [missing]);
    let engine = ENGINE.replace("[gate.service.api]\n", "");
    assert_eq!(load(&[("slogate.toml", &engine)]).unwrap_err(), [none]);
    let neither = "specs/a.toml:1:1: this file holds neither a [story] nor a [journey]";
    assert_eq!(
        load(&[("a.toml", "# nothing"), ("slogate.toml", ENGINE), ("story.toml", STORY)]).unwrap_err(),
        [neither]
    );
    let alone = STORY.replace("[story]\nname = \"profile\"\nservice = \"api\"\n", "");
    let found = load(&[("a.toml", &alone), ("slogate.toml", ENGINE), ("story.toml", STORY)]).unwrap_err();
    assert_eq!(found, ["specs/a.toml:1:1: [[slo]] without a [story] in the same file"]);
    let empty = load(&[("a.toml", "[story]\nname = \"a\"\n"), ("slogate.toml", ENGINE), ("story.toml", STORY)]);
    assert_eq!(empty.unwrap_err(), ["specs/a.toml:1:1: this story has no [[slo]]"]);
}

#[test]
fn one_file_may_hold_a_story_and_a_journey() {
    let both = format!("{JOURNEY}{STORY}");
    let catalog = load(&[("both.toml", &both), ("slogate.toml", ENGINE)]).unwrap().catalog;
    assert_eq!((catalog.stories.len(), catalog.journeys.len()), (1, 1));
}

#[test]
fn one_slip_in_any_line_gives_one_message() {
    /// What can happen to `key = value`.
    type Slip = fn(&str, &str) -> String;
    let slips: [Slip; 4] = [
        |key, value| format!("{}= {value}", &key[..key.len() - 2]),
        |key, _| format!("{key}= {{}}"),
        |key, _| format!("{key}= 2020-01-01"),
        |key, _| format!("{key}= "),
    ];
    for (file, text) in [ENGINE, STORY, JOURNEY].iter().enumerate() {
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            // Lines that hold one whole value.
            let Some((key, value)) = line.split_once("= ").filter(|(key, _)| !key.contains('{')) else { continue };
            for slip in slips.iter().filter(|_| value != "[") {
                let mut lines = lines.clone();
                let line = slip(key, value);
                lines[number] = &line;
                let mut files = [ENGINE, STORY, JOURNEY].map(str::to_owned);
                files[file] = lines.join("\n");
                let found = load(&[("slogate.toml", &files[0]), ("story.toml", &files[1]), ("visit.toml", &files[2])]);
                let found = found.expect_err(&line);
                assert_eq!(found.len(), 1, "{line}: {found:?}");
                let place = format!("specs/{}:{}:", ["slogate.toml", "story.toml", "visit.toml"][file], number + 1);
                assert!(found[0].starts_with(&place), "{line}: {found:?}");
            }
        }
    }
}
