//! Faults as data: a sound directory, one edit, and what must be said about it.

use std::path::Path;

use super::*;
use crate::spec::catalog::{HostRule, OnUnknown, Secret, Sli, SourceKind, Statuses, StoreUrl};
use crate::spec::{Fault, load_texts};
use crate::time::Horizon;

const ENGINE: &str = r#"[server]
listen = "127.0.0.1:9999"
[store]
url = "redb:counts.redb"
[[source]]
name = "lb"
[source.file]
paths = ["/var/log/nginx/access.log*", "old/*.gz"]
nginx = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent $request_time'
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
    let SourceKind::File(file) = &catalog.sources[0].kind;
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
            &["slogate.toml:7:1: unknown key `colour`; [[source]] has `name`, `file`"],
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
                "story.toml:27:1: missing the SLO's kind: one of [slo.availability], [slo.latency], [slo.percentile] or [slo.throughput]",
            ],
        ),
    ]);
}

#[test]
fn kinds_of_other_versions_are_refused_in_one_line() {
    check(&[
        (
            "[slo.throughput]",
            "[slo.gauge]",
            &[
                "story.toml:30:6: key `gauge`: this kind of SLO needs a Prometheus source, which this version does not support",
            ],
        ),
        (
            "[source.file]",
            "[source.scrape]",
            &[
                "slogate.toml:7:9: key `scrape`: this kind of source is not supported by this version; the only kind is [source.file]",
            ],
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
fn secrets_are_never_inline_and_never_repeated() {
    check(&[
        (
            "[store]",
            "token = \"hush\"\n[store]",
            &[
                "slogate.toml:3:1: key `token`: secrets are never written in specs; use `token_env = \"NAME\"` or `token_file = \"path\"`",
            ],
        ),
        (
            "[store]",
            "token_env = \"s3cr3t-hush\"\n[store]",
            &[
                "slogate.toml:3:13: `token_env` is not the name of an environment variable; secrets themselves are never written in specs",
            ],
        ),
        (
            "[store]",
            "token_env = \"A\"\ntoken_file = \"b\"\n[store]",
            &["slogate.toml:4:14: `token_env` and `token_file` both say where the token is; keep one"],
        ),
    ]);
    let catalog = edited("[store]", "token_file = \"token\"\n[store]").unwrap().catalog;
    assert_eq!(catalog.server.token, Some(Secret::File("specs/token".into())));
}

#[test]
fn listening_beyond_loopback_needs_a_token() {
    check(&[
        (
            "127.0.0.1:9999",
            "0.0.0.0:9999",
            &[
                "slogate.toml:2:10: `0.0.0.0:9999` is not a loopback address, so `token_env` or `token_file` must name a token",
            ],
        ),
        (
            "127.0.0.1:9999",
            "localhost:9999",
            &[
                "slogate.toml:2:10: `localhost:9999` is not an address and a port such as \"127.0.0.1:9999\"; did you mean `127.0.0.1:9999`?",
            ],
        ),
    ]);
    let token = "0.0.0.0:9999\"\ntoken_env = \"SLOGATE_SERVER_TOKEN";
    assert!(edited("127.0.0.1:9999", token).is_ok());
    assert!(edited("127.0.0.1:9999", "[::1]:0").is_ok());
}

#[test]
fn numbers_out_of_bounds_or_too_fine_are_refused() {
    check(&[
        (
            "99.95",
            "100",
            &["story.toml:6:13: an objective of 100% has no error budget: a single bad event would spend it"],
        ),
        (
            "99.95",
            "100.0",
            &["story.toml:6:13: an objective of 100% has no error budget: a single bad event would spend it"],
        ),
        ("99.95", "0", &["story.toml:6:13: the objective `0` is not a percentage above 0 and below 100"]),
        ("99.95", "nan", &["story.toml:6:13: the objective `nan` is not a percentage above 0 and below 100"]),
        ("99.95", "-inf", &["story.toml:6:13: the objective `-inf` is not a percentage above 0 and below 100"]),
        ("99.95", "99.99999999", &["story.toml:6:13: the objective `99.99999999` has more than 7 decimals"]),
        ("99.5", "100", &["story.toml:24:14: the percentile `100` is not above 0 and below 100"]),
        ("0.5\n", "0\n", &["story.toml:33:11: the minimum `0` is not above 0 and at most 1000000000"]),
        ("weight = 2 }", "weight = 0 }", &["journey.toml:6:50: the weight `0` is not above 0 and at most 1000000"]),
        ("weight = 2 }", "weight = 1e7 }", &["journey.toml:6:50: the weight `1e7` is not above 0 and at most 1000000"]),
        (
            "weight = 2 }",
            "weight = 1.0000001 }",
            &["journey.toml:6:50: the weight `1.0000001` has more than 6 decimals"],
        ),
        ("min_events = 5", "min_events = 5.5", &["slogate.toml:13:14: `min_events` `5.5` is not a whole number"]),
        ("min_events = 5", "thaw_above = 1.1", &["slogate.toml:13:14: `thaw_above` `1.1` is not between -10 and 1"]),
    ]);
}

#[test]
fn durations_have_their_bounds() {
    check(&[
        ("\"7d\"", "\"91d\"", &["story.toml:7:10: the window `91d` is not between 1h and 90d"]),
        ("\"7d\"", "\"59m\"", &["story.toml:7:10: the window `59m` is not between 1h and 90d"]),
        ("\"7d\"", "\"1h30s\"", &["story.toml:7:10: the window `1h30s` is not a whole number of minutes"]),
        ("\"7d\"", "\"7\"", &["story.toml:7:10: `7` has no unit; write for example \"7s\" or \"7m\""]),
        ("\"500ms\"", "\"0s\"", &["story.toml:17:13: the threshold `0s` is not above 0 and at most 1d"]),
        ("\"500ms\"", "\"25h\"", &["story.toml:17:13: the threshold `25h` is not above 0 and at most 1d"]),
        ("slice = \"5m\"", "slice = \"90s\"", &["story.toml:26:9: the slice `90s` is not a whole number of minutes"]),
        (
            "slice = \"5m\"",
            "slice = \"29d\"",
            &["story.toml:26:9: the slice `29d` is longer than the SLO's window of 28d"],
        ),
        (
            "min_events = 5",
            "stale_after = \"10ms\"",
            &["slogate.toml:13:15: `stale_after` `10ms` is not between 1s and 90d, in whole milliseconds"],
        ),
    ]);
}

#[test]
fn names_that_do_not_exist_are_told_with_the_nearest_one() {
    check(&[
        (
            "story = \"profile\"",
            "story = \"Profile\"",
            &["journey.toml:5:13: there is no story `Profile`; did you mean `profile`?"],
        ),
        (
            "slo = \"latency\"",
            "slo = \"latencies\"",
            &["journey.toml:6:30: the story `profile` has no SLO `latencies`; did you mean `latency`?"],
        ),
        (
            "[gate.service.api]",
            "[gate.service.apl]",
            &["slogate.toml:12:15: no story names the service `apl`; did you mean `api`?"],
        ),
        (
            "on_unknown = \"deny\"",
            "on_unknown = \"Deny\"",
            &[
                "slogate.toml:11:14: `Deny` is not an answer for want of evidence; expected \"deny\" or \"allow\"; did you mean `deny`?",
            ],
        ),
        (
            "objective = 99.9\n",
            "objective = 99.9\naggregate = \"sum\"\n",
            &["journey.toml:4:13: `sum` is not a way to aggregate; expected \"requests\" or \"average\""],
        ),
        (
            "nginx = '",
            "format = '",
            &[
                "slogate.toml:9:10: `$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent $r...` is not a log format by name; write an nginx log_format as `nginx = '...'`",
            ],
        ),
        (
            "\"profile\"\n",
            "\"pro file\"\n",
            &[
                "journey.toml:5:13: there is no story `profile`; did you mean `pro file`?",
                "journey.toml:6:13: there is no story `profile`; did you mean `pro file`?",
                "story.toml:2:8: `pro file` cannot be the name of a story; use 1 to 64 letters, digits, `_`, `.` or `-`",
            ],
        ),
    ]);
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
    assert_eq!(empty.unwrap_err(), ["specs/a.toml:1:1: the story `a` has no [[slo]]"]);
}

#[test]
fn one_file_may_hold_a_story_and_a_journey() {
    let both = format!("{JOURNEY}{STORY}");
    let catalog = load(&[("both.toml", &both), ("slogate.toml", ENGINE)]).unwrap().catalog;
    assert_eq!((catalog.stories.len(), catalog.journeys.len()), (1, 1));
}

#[test]
fn sections_without_keys_that_must_be_said_have_defaults() {
    let engine = ENGINE.replace("[server]\nlisten = \"127.0.0.1:9999\"\n[store]\nurl = \"redb:counts.redb\"\n", "");
    let catalog = load(&[("slogate.toml", &engine), ("story.toml", STORY)]).unwrap().catalog;
    assert_eq!(catalog.server.listen.to_string(), "127.0.0.1:9999");
    assert_eq!((catalog.server.token, catalog.store), (None, StoreUrl::Redb("specs/slogate.redb".into())));
}

#[test]
fn gates_of_single_services_keep_what_they_do_not_override() {
    check(&[
        (
            "min_events = 5",
            "frozen_below = 0.2",
            &["slogate.toml:13:16: `thaw_above` (0.05) is less than `frozen_below` (0.2)"],
        ),
        (
            "on_unknown = \"deny\"",
            "on_unknown = \"deny\"\nthaw_above = -0.1",
            &["slogate.toml:12:14: `thaw_above` (-0.1) is less than `frozen_below` (0)"],
        ),
        (
            "min_events = 5",
            "min_events = 5\n[gate.service]\nweb = 1",
            &["slogate.toml:15:1: `web` is an integer; write [gate.service.NAME]"],
        ),
        (
            "min_events = 5",
            "exempt = [\"fix it\"]",
            &["slogate.toml:13:11: `fix it` is not a kind of change, such as \"fix\""],
        ),
    ]);
    let catalog = edited("min_events = 5", "frozen_below = 0.01\nexempt = []").unwrap().catalog;
    let policy = &catalog.services[0].policy;
    assert_eq!((policy.frozen_below_billionths, policy.thaw_above_billionths), (10_000_000, 50_000_000));
    assert!(policy.exempt.is_empty() && policy.min_events == 100);
}

#[test]
fn what_is_allowed_but_hardly_meant_is_a_warning() {
    for (old, new, expected) in [
        ("99.95", "0.9995", "specs/story.toml:6:13: an objective of `0.9995` is in percent; write 99.9 for 99.9%"),
        (
            "* /me",
            "* /{id}.json",
            "specs/story.toml:10:36: `{id}.json` is matched literally; a placeholder such as {name} is a whole segment",
        ),
        (
            "min_events = 5",
            "exempt = [\"feature\"]",
            "specs/slogate.toml:13:11: `feature` is the kind of every change that names none; exempt, it leaves a frozen gate nothing to hold",
        ),
    ] {
        let warnings = edited(old, new).unwrap().warnings;
        assert_eq!(warnings.iter().map(Fault::to_string).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn hosts_and_statuses_are_read() {
    let catalog = edited(
        "\"* /me\"]",
        "\"* /me\"]\nhosts = [\"A.example.com\", \"*.b.com\"]\nignore = [\"499\", \"400-401\"]\ngood = [\"2xx\"]",
    );
    let slo = &catalog.unwrap().catalog.slos[0];
    let rules = [HostRule::Exact("a.example.com".to_owned()), HostRule::Suffix(".b.com".to_owned())];
    assert_eq!(slo.requests.hosts, rules);
    let ignore = Statuses::range(499, 499).union(Statuses::range(400, 401));
    assert_eq!(slo.sli, Sli::Availability { good: Statuses::range(200, 299), ignore });
    check(&[
        ("\"* /me\"]", "\"* /me\"]\ngood = []", &["story.toml:11:8: `good` is empty"]),
        (
            "\"* /me\"]",
            "\"* /me\"]\nignore = [\"4XX\"]",
            &[
                "story.toml:11:11: `4XX` is not a status (100 to 599), a class such as \"2xx\" or a range such as \"400-428\"; did you mean `4xx`?",
            ],
        ),
        (
            "\"* /me\"]",
            "\"* /me\"]\nhosts = [\"a:80\"]",
            &["story.toml:11:10: the host `a:80` has a port; hosts are compared without their ports"],
        ),
        ("[\"GET /profile/{user}\", \"* /me\"]", "[]", &["story.toml:10:12: `requests` is empty"]),
    ]);
}

#[test]
fn lists_have_bounds() {
    let many = |element: &str, count: usize| vec![element; count].join(", ");
    check(&[
        (
            "\"* /me\"]",
            &format!("{}]", many("\"* /me\"", 1_000)),
            &["story.toml:10:12: 1001 elements of `requests` are too many; at most 1000 are allowed"],
        ),
        (
            "  { story = \"profile\", slo = \"latency\", weight = 2 },",
            &many("{ story = \"profile\", slo = \"latency\", weight = 2 }", 1_000),
            &["journey.toml:4:11: 1001 elements of `stories` are too many; at most 1000 are allowed"],
        ),
        (
            "name = \"visit\"",
            &format!("name = \"visit\"\ntitle = \"{}\"", "x".repeat(201)),
            &["journey.toml:3:9: the title is longer than 200 characters"],
        ),
        (
            "name = \"visit\"",
            "name = \"visit\"\ntitle = \"a\\u0007\"",
            &["journey.toml:3:9: the title has control characters in it"],
        ),
    ]);
    let slo = "[[slo]]\nname = \"N\"\nobjective = 99\n[slo.availability]\nsource = \"lb\"\nrequests = [\"GET /\"]\n";
    let slos: String = (0..10_001).map(|number| slo.replace('N', &number.to_string())).collect();
    let big = format!("[story]\nname = \"big\"\nservice = \"api\"\n{slos}");
    let found = load(&[("big.toml", &big), ("slogate.toml", ENGINE)]).unwrap_err();
    assert_eq!(found, ["specs/big.toml:60004:1: more than 10000 SLOs in one directory"]);
}
