//! Values: their bounds, defaults and what they become.

use super::*;
use crate::spec::OnGap;

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
        (
            "min_events = 5",
            "max_unparsed = 100.5",
            &["slogate.toml:13:16: `max_unparsed` `100.5` is not between 0 and 100 percent"],
        ),
        (
            "min_events = 5",
            "max_unparsed = 0.00000001",
            &["slogate.toml:13:16: `max_unparsed` `0.00000001` has more than 7 decimals"],
        ),
        (
            "min_events = 5",
            "on_gap = \"hide\"",
            &["slogate.toml:13:10: `hide` is not an answer to a gap; expected \"show\" or \"unknown\""],
        ),
    ]);
}

#[test]
fn a_slice_is_shorter_than_the_window() {
    let loaded = edited("slice = \"5m\"", "slice = \"27d23h59m\"").unwrap();
    assert_eq!(loaded.catalog.slos[2].sli.slice(), Some(Horizon::of_minutes(28 * 1_440 - 1)));
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
            &["story.toml:26:9: the slice `29d` is not shorter than the SLO's window of 28d"],
        ),
        (
            "slice = \"5m\"",
            "slice = \"28d\"",
            &["story.toml:26:9: the slice `28d` is not shorter than the SLO's window of 28d"],
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
                "slogate.toml:9:10: `$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$...` is not a log format by name; write an nginx log_format as `nginx = '...'`",
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
    assert_eq!((policy.max_unparsed_billionths, policy.on_gap), (10_000_000, OnGap::Show));
    assert_eq!((policy.frozen_below_billionths, policy.thaw_above_billionths), (10_000_000, 50_000_000));
    assert!(policy.exempt.is_empty() && policy.min_events == 100);
    let gate = "max_unparsed = 0.5\non_gap = \"show\"\n[gate.service.api]\non_gap = \"unknown\"";
    let catalog = edited("[gate.service.api]", gate).unwrap().catalog;
    let policy = &catalog.services[0].policy;
    assert_eq!((policy.max_unparsed_billionths, policy.on_gap), (5_000_000, OnGap::Unknown));
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
    assert_eq!(slo.hosts(), rules);
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

/// The engine's file with a scraped source beside the log.
fn scraped(lines: &str) -> Result<ScrapeSource, Vec<String>> {
    let source = format!("[[source]]\nname = \"app\"\n[source.scrape]\n{lines}\n[gate]");
    let catalog = edited("[gate]", &source)?.catalog;
    match &catalog.sources[1].kind {
        SourceKind::Scrape(scrape) => Ok(scrape.clone()),
        SourceKind::File(file) => panic!("{file:?}"),
    }
}

#[test]
fn what_is_scraped_is_read_with_prometheus_defaults() {
    let scrape = scraped("targets = [\"http://a:9100\", \"https://b/metrics?x=1\"]").unwrap();
    assert_eq!(scrape.targets, ["http://a:9100/metrics", "https://b/metrics?x=1"]);
    assert_eq!((scrape.interval_ms, scrape.timeout_ms, scrape.follow_redirects), (15_000, 10_000, false));
    assert_eq!(scrape.limits, ScrapeLimits { body_bytes: 64 << 20, samples: 200_000, labels: 64, label_bytes: 4_096 });
    let scrape = scraped(
        "file_sd = [\"targets/*.json\"]\ndns = [\"http://api.internal:9100/\"]\ninterval = \"2s\"\ntoken_env = \"T\"",
    )
    .unwrap();
    assert_eq!((scrape.interval_ms, scrape.timeout_ms), (2_000, 2_000), "a scrape is over when the next begins");
    assert_eq!(
        (scrape.file_sd, scrape.dns),
        (vec!["specs/targets/*.json".to_owned()], vec!["http://api.internal:9100/".to_owned()])
    );
    assert_eq!(scrape.token, Some(Secret::Env("T".to_owned())));
}

#[test]
fn what_cannot_be_scraped_is_refused_where_it_stands() {
    let one = "targets = [\"http://a/metrics\"]\n";
    for (lines, expected) in [
        ("", "12:1: missing what to scrape: one of `targets`, `file_sd` or `dns`"),
        ("targets = []", "13:11: `targets` is empty"),
        ("targets = [\"a:9100\"]", "13:12: `a:9100` is not a URL such as \"http://host:9100/metrics\""),
        ("targets = [\"ftp://a/m\"]", "13:12: `ftp://a/m` is neither http:// nor https://"),
        ("targets = [\"http://me:hush@a/m\"]", "13:12: a target has a password in it; use `token_env` or `token_file`"),
        ("targets = [\"http://a/m\", \"http://a:80/m\"]", "13:26: `http://a:80/m` is listed twice"),
        (&format!("{one}interval = \"90d\""), "14:12: the interval `90d` is not between 1s and 1h"),
        (&format!("{one}interval = \"5s\"\ntimeout = \"6s\""), "15:11: the timeout `6s` is longer than the interval"),
        (&format!("{one}max_samples = 0"), "14:15: `max_samples` `0` is not between 1 and 10000000"),
        (
            &format!("{one}insecure_skip_verify = true"),
            "14:1: key `insecure_skip_verify`: a target whose certificate is not checked may be anyone; name its authority in `ca_file`",
        ),
    ] {
        let found = scraped(lines).expect_err(lines);
        let expected = format!("specs/slogate.toml:{expected}");
        assert_eq!(found, [expected], "{lines}");
    }
}

#[test]
fn alert_rules_are_the_workbooks_unless_there_are_others() {
    let rules = |old: &str, new: &str| {
        let catalog = edited(old, new).unwrap().catalog;
        let rule = |rule: &AlertRule| {
            let AlertRule { severity, factor, long, short, hold_ms } = rule;
            format!("{} {factor} {long} {short} {hold_ms}", severity.name())
        };
        [&catalog.slos[0], &catalog.slos[1]].map(|slo| slo.alerts.iter().map(rule).collect::<Vec<_>>().join(", "))
    };
    // The first SLO promises 99.95% over 7 days; the second 90% over 28, which burns 10 times too fast at most.
    let recommended = [
        "page 3.36 1h 5m 0, page 1.4 6h 30m 0, ticket 1 3d 6h 0",
        "page 5.6 6h 30m 0, ticket 2.8 1d 2h 0, ticket 1 3d 6h 0",
    ];
    assert_eq!(rules("[gate]", "[gate]"), recommended);
    let rule = "severity = \"page\"\nlong = \"2h\"\nshort = \"10m\"\n";
    let common = format!("[[alert]]\n{rule}budget = 2.5\nfor = \"1m\"\n[gate]");
    assert_eq!(rules("[gate]", &common), ["page 2.1 2h 10m 60000", "page 8.4 2h 10m 60000"]);
    let own = format!("[[slo.alert]]\n{rule}factor = 14.4\n[slo.availability]");
    assert_eq!(rules("[slo.availability]", &own), ["page 14.4 2h 10m 0", recommended[1]]);
    assert_eq!(rules("window = \"7d\"", "window = \"7d\"\nalert = []"), ["", recommended[1]]);
}

#[test]
fn an_alert_that_can_never_fire_is_refused() {
    let alert = |keys: &str| format!("[[slo.alert]]\nseverity = \"page\"\n{keys}\n[slo.latency]");
    // The second SLO promises 90%.
    for (keys, expected) in [
        ("long = \"1h\"\nshort = \"5m\"\nfactor = 10", None),
        (
            "long = \"1h\"\nshort = \"5m\"\nfactor = 10.000001",
            Some(
                "14:1: this alert can never fire: its factor is 10.000001, and at an objective of 90% no budget burns faster than 10",
            ),
        ),
        (
            "long = \"1h\"\nshort = \"1h\"\nfactor = 2",
            Some("17:9: the short window `1h` is not shorter than the long one"),
        ),
        (
            "long = \"29d\"\nshort = \"1h\"\nfactor = 2",
            Some("14:1: the long window of 29d is longer than the SLO's window of 28d"),
        ),
        (
            "long = \"1h\"\nshort = \"5m\"",
            Some(
                "14:1: missing how fast is too fast: `budget` (percent of the error budget spent over `long`) or `factor` (a burn rate)",
            ),
        ),
        (
            "long = \"1h\"\nshort = \"5m\"\nfactor = 2\nbudget = 2",
            Some("14:1: `budget` and `factor` both say how fast is too fast; keep one"),
        ),
        (
            "long = \"1h\"\nshort = \"5m\"\nfactor = 0",
            Some("18:10: the factor `0` is not above 0 and at most 1000000000"),
        ),
        (
            "long = \"1h\"\nshort = \"5m\"\nfactor = 2\n[[slo.alert]]\nseverity = \"page\"\nlong = \"1h\"\n\
             short = \"5m\"\nfactor = 3",
            Some(
                "19:1: this alert cannot be told from the page over 1h and 5m at specs/story.toml:14:1; keep one of them",
            ),
        ),
        (
            "long = \"1h\"\nshort = \"5m\"\nfactor = 2\n[[slo.alert]]\nseverity = \"page\"\nlong = \"1h\"\n\
             short = \"10m\"\nfactor = 3\n[[slo.alert]]\nseverity = \"ticket\"\nlong = \"1h\"\nshort = \"5m\"\nfactor = 1",
            None,
        ),
        ("long = \"1h\"\nshort = \"90s\"\nfactor = 2", Some("17:9: the window `90s` is not a whole number of minutes")),
        (
            "long = \"1h\"\nshort = \"5m\"\nfactor = 2\nfor = \"2d\"",
            Some("19:7: `for` `2d` is not at most 1d, in whole milliseconds"),
        ),
    ] {
        let found = edited("[slo.latency]", &alert(keys)).map(drop).err().unwrap_or_default();
        let expected: Vec<String> = expected.iter().map(|line| format!("specs/story.toml:{line}")).collect();
        assert_eq!(found, expected, "{keys}");
    }
    // A rule for all is only refused when it can fire for none.
    let common = |factor: &str| {
        format!("[[alert]]\nseverity = \"page\"\nlong = \"1h\"\nshort = \"5m\"\nfactor = {factor}\n[gate]")
    };
    let sound = edited("[gate]", &common("14.4")).unwrap().catalog;
    // Neither at 90%, nor where slices are as long as the short window.
    assert_eq!(sound.slos.iter().map(|slo| slo.alerts.len()).collect::<Vec<_>>(), [1, 0, 0, 0]);
    check(&[(
        "[gate]",
        &common("2001"),
        &[
            "slogate.toml:10:1: this alert can never fire: its factor is 2001, and at an objective of 99.95% no budget burns faster than 2000",
        ],
    )]);
}

#[test]
fn the_short_window_of_an_alert_has_room_for_a_slice() {
    let shorts = |slice: &str| {
        let rate = "minimum = 0.5\nslice = \"5m\"";
        let catalog = edited(rate, &rate.replace("5m", slice)).unwrap().catalog;
        catalog.slos[3].alerts.iter().map(|rule| rule.short.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(shorts("4m"), ["5m", "30m", "2h", "6h"]);
    assert_eq!(shorts("5m"), ["10m", "30m", "2h", "6h"]);
    assert_eq!(shorts("30m"), ["1h", "2h", "6h"]);
    let own = |short: &str| {
        format!("slice = \"5m\"\n[[slo.alert]]\nseverity = \"page\"\nlong = \"1h\"\nshort = \"{short}\"\nfactor = 2")
    };
    assert!(edited("slice = \"5m\"", &own("6m")).is_ok());
    let found = edited("slice = \"5m\"", &own("5m")).map(drop).unwrap_err();
    let why = "this alert can never fire: no slice of 5m ever lies in a window of 5m; make `short` at least twice as long \
               as a slice";
    assert!(found[0].ends_with(why), "{found:?}");
}

#[test]
fn what_freezes_a_gate_is_a_severity_or_none() {
    let policy =
        |text: &str| edited("[gate.service.api]", text).map(|loaded| loaded.catalog.services[0].policy.freeze_on);
    assert_eq!(policy("[gate.service.api]"), Ok(None));
    assert_eq!(policy("freeze_on = \"page\"\n[gate.service.api]"), Ok(Some(Severity::Page)));
    assert_eq!(policy("freeze_on = \"page\"\n[gate.service.api]\nfreeze_on = \"none\""), Ok(None));
    check(&[(
        "[gate.service.api]",
        "freeze_on = \"pages\"\n[gate.service.api]",
        &[
            "slogate.toml:12:13: `pages` is not what `freeze_on` may say; expected \"page\" or \"ticket\" or \"none\"; did you mean `page`?",
        ],
    )]);
}

/// An SLO of a scraped kind beside the others.
fn scraped_slo(table: &str) -> Result<Sli, Vec<String>> {
    let source = "[[source]]\nname = \"app\"\n[source.scrape]\ntargets = [\"http://a/metrics\"]\n";
    let engine = ENGINE.replacen("[gate]", &format!("{source}[gate]"), 1);
    let story = format!("{STORY}[[slo]]\nname = \"scraped\"\nobjective = 99.9\n{table}\n");
    let loaded = load(&[("journey.toml", JOURNEY), ("slogate.toml", &engine), ("story.toml", &story)])?;
    Ok(loaded.catalog.slos[4].sli.clone())
}

#[test]
fn scraped_kinds_are_compiled_to_selectors_and_bounds() {
    let ratio = |key: &str| {
        let table = format!(
            "[slo.ratio]\nsource = \"app\"\ntotal = 'http_requests_total{{job=\"api\"}}'\n{key} = 'errors_total'"
        );
        match scraped_slo(&table) {
            Ok(Sli::Ratio { total, part, of }) => (total.to_string(), part, of.to_string()),
            other => panic!("{other:?}"),
        }
    };
    let total = "http_requests_total{job=\"api\"}";
    assert_eq!(ratio("bad"), (total.to_owned(), Part::Bad, "errors_total".to_owned()));
    assert_eq!(ratio("good"), (total.to_owned(), Part::Good, "errors_total".to_owned()));
    for threshold in ["0.5", "5e-1", "500ms", "0.50"] {
        let table =
            format!("[slo.histogram]\nsource = \"app\"\nmetric = 'latency_seconds'\nthreshold = \"{threshold}\"");
        match scraped_slo(&table) {
            Ok(Sli::Histogram { threshold, .. }) => assert_eq!(Some(threshold), Bound::new(0.5)),
            other => panic!("{other:?}"),
        }
    }
    let gauge = "[slo.gauge]\nsource = \"app\"\nmetric = 'up{job=~\"a|b\"}'\ngood_when = \">= 1\"\nslice = \"1m\"";
    match scraped_slo(gauge) {
        Ok(Sli::Gauge { good_when, slice, .. }) => {
            assert_eq!((good_when.to_string().as_str(), slice), (">= 1", Horizon::of_minutes(1)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_with_a_scraped_kind_is_told_where_it_stands() {
    for (table, expected) in [
        ("[slo.ratio]\nsource = \"app\"\ntotal = 'a{'\nbad = 'b'", "story.toml:40:12: expected a label name or `}`"),
        (
            "[slo.ratio]\nsource = \"app\"\ntotal = 'a'\nbad = 'b'\ngood = 'c'",
            "story.toml:41:7: `good` and `bad` say the same thing; keep one",
        ),
        (
            "[slo.ratio]\nsource = \"app\"\ntotal = 'a'",
            "story.toml:38:1: missing `good` or `bad` in [slo.ratio]: which of the events those are",
        ),
        (
            "[slo.ratio]\nsource = \"app\"\ntotal = 'a{x=\"1\"}'\nbad = 'a{ x=\"1\" }'",
            "story.toml:41:7: `bad` selects the same series as `total`: every event would be bad",
        ),
        (
            "[slo.ratio]\nsource = \"app\"\ntotal = 'a'\ngood = 'a'",
            "story.toml:41:8: `good` selects the same series as `total`: every event would be good",
        ),
        (
            "[slo.histogram]\nsource = \"app\"\nmetric = 'd{le=\"0.5\"}'\nthreshold = \"0.5\"",
            "story.toml:40:10: `d{le=\"0.5\"}` asks for a single bucket; leave out `le` and write its bound as `threshold`",
        ),
        (
            "[slo.histogram]\nsource = \"app\"\nmetric = 'd'\nthreshold = \"abc\"",
            "story.toml:41:13: `abc` is no threshold such as \"0.5\", in the unit of the histogram, or \"500ms\"",
        ),
        (
            "[slo.ratio]\nsource = \"lb\"\ntotal = 'a'\nbad = 'b'",
            "story.toml:39:10: the source `lb` reads an access log; this kind of SLO needs a [source.scrape]",
        ),
        (
            "[slo.availability]\nsource = \"app\"\nrequests = [\"GET /\"]",
            "story.toml:39:10: the source `app` is scraped; this kind of SLO needs a [source.file]",
        ),
        (
            "[slo.histogram]\nsource = \"app\"\nmetric = 'a_bucket'\nthreshold = \"1s\"",
            "story.toml:40:10: `a_bucket` names the buckets; leave out `_bucket`",
        ),
        (
            "[slo.histogram]\nsource = \"app\"\nmetric = '{__name__=~\"a.*\"}'\nthreshold = \"1s\"",
            "story.toml:40:10: `{__name__=~\"a.*\"}` names no single metric; a histogram has one name",
        ),
        (
            "[slo.histogram]\nsource = \"app\"\nmetric = 'a'\nthreshold = \"+Inf\"",
            "story.toml:41:13: `+Inf` is no threshold: every observation is within it",
        ),
        (
            "[slo.gauge]\nsource = \"app\"\nmetric = 'up'\ngood_when = \"=> 1\"\nslice = \"1m\"",
            "story.toml:41:13: `=> 1` is not a comparison with a number such as \">= 1\", \"< 0.5\" or \"!= 0\"",
        ),
        (
            "[slo.gauge]\nsource = \"app\"\nmetric = 'up{x=~\".*\"}'\ngood_when = \"> 0\"\nslice = \"1m\"\nfoo = 1",
            "story.toml:43:1: unknown key `foo`; [slo.gauge] has `source`, `metric`, `good_when`, `slice`",
        ),
    ] {
        let found = scraped_slo(table).expect_err(table);
        assert_eq!(found, [format!("specs/{expected}")], "{table}");
    }
}
