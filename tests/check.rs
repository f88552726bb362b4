//! `slogate check` as a user meets it: the real binary, its output and its exit codes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// What is wrong with `tests/specs/faults`, in the order in which it is told.
const FAULTS: &str = r#"
profile.toml:3:1: unknown key `titel`; did you mean `title`?
profile.toml:8:13: an objective of 100% has no error budget: a single bad event would spend it
profile.toml:10:10: there is no source `bl`; did you mean `lb`?
profile.toml:11:13: methods are upper-case; did you mean `GET`?
profile.toml:11:36: `{*rest}` is only allowed as the last segment
profile.toml:11:67: `/me` has no method; write "GET /me", or "* /me" for any method
profile.toml:12:18: `4XX` is not a status (100 to 599), a class such as "2xx" or a range such as "400-428"; did you mean `4xx`?
profile.toml:16:1: unknown key `objectiv`; did you mean `objective`?
profile.toml:17:10: the window `91d` is not between 1h and 90d
profile.toml:18:1: missing key `threshold` in [slo.latency]
profile.toml:20:13: the path `/profile?tab=1` has a `?` or `#`; paths are matched without their query string and fragment
profile.toml:23:8: duplicate SLO `availability`; the first is at tests/specs/faults/profile.toml:7:8
profile.toml:24:13: `objective` is a string; expected a number
profile.toml:28:13: `=> 1` is not a comparison with a number such as ">= 1", "< 0.5" or "!= 0"
slogate.toml:2:10: `127.0.0.1` is not an address and a port such as "127.0.0.1:9999"
slogate.toml:3:1: key `token`: secrets are never written in specs; use `token_env = "NAME"` or `token_file = "path"`
slogate.toml:9:10: `combind` is not a log format by name; did you mean `combined`?
slogate.toml:12:8: duplicate source `lb`; the first is at tests/specs/faults/slogate.toml:6:8
slogate.toml:14:1: key `url`: write `targets = ["http://..."]`
slogate.toml:16:1: missing key `on_unknown` in [gate]
slogate.toml:17:16: `thaw_above` (0.05) is less than `frozen_below` (0.1)
slogate.toml:19:15: no story names the service `apy`; did you mean `api`?
slogate.toml:20:14: `min_events` `-1` is not between 0 and 1000000000000
teams/browse.toml:7:15: there is no story `profil`; did you mean `profile`?
teams/browse.toml:8:32: the story `profile` has no SLO `throughput`
teams/browse.toml:8:55: the weight `0` is not above 0 and at most 1000000
teams/browse.toml:9:5: `profile/availability` is a member of this journey twice; the first is at tests/specs/faults/teams/browse.toml:6:5
teams/browse.toml:9:62: unknown key `größe`; a member of `stories` has `story`, `slo`, `weight`
teams/browse.toml:9:75: unknown key `wait`; a member of `stories` has `story`, `slo`, `weight`
teams/latin.toml:2:12: the byte 0xE9 is not UTF-8; save the file as UTF-8
teams/torn.toml:6:15: not TOML: unexpected key or value, expected newline, `#`
teams/torn.toml:10:10: there is no source `elbe`
"#;

/// The log format of the shipped specs.
const TIMED: &str = concat!(
    r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "#,
    r#""$http_referer" "$http_user_agent" $request_time"#
);

fn slogate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slogate"));
    command.args(arguments).env_remove("NO_COLOR").current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().expect("the binary runs")
}

fn check(specs: &Path) -> Output {
    slogate(&["check", "--specs", specs.to_str().expect("a path in UTF-8")])
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A copy of the shipped specs with one edit, checked.
fn edited(file: &str, old: &str, new: &str) -> (Output, tempfile::TempDir) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let shipped = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("slo-specs")).expect("the shipped specs");
    for entry in shipped.map(|entry| entry.expect("an entry")) {
        let text = fs::read_to_string(entry.path()).expect("a readable file");
        let is_meant = entry.file_name().to_str() == Some(file);
        assert!(!is_meant || text.contains(old), "{file} has no {old}");
        let text = if is_meant { text.replacen(old, new, 1) } else { text };
        fs::write(temp.path().join(entry.file_name()), text).expect("a writable directory");
    }
    (check(temp.path()), temp)
}

#[test]
fn the_shipped_specs_are_valid_and_print_what_they_compile_to() {
    let output = slogate(&["check"]);
    assert_eq!(
        (output.status.code(), stdout(&output).lines().next()),
        (Some(0), Some("slo-specs: 2 sources, 6 stories, 15 SLOs, 2 journeys, 3 services"))
    );
    let tables = stdout(&output);
    assert!(tables.ends_with('\n') && !tables.contains(" \n"), "the last line is a whole one, and none ends in blanks");
    for row in [
        "lb file /var/log/nginx/access.log* from the beginning, lines of at most 65536 bytes",
        "profile/availability api 99.95% 28d GET /profile/{user} status 100-499 lb",
        "profile/latency api 90% 28d GET /profile/{user} duration <= 500ms lb",
        "profile/p99 api 90% 28d every 1m with traffic of p99 <= 500ms lb",
        "home/throughput web 99% 7d every 5m of requests/s >= 0.2 lb",
        "browse 99.9% 28d requests 1 home/availability",
        "payments scrape http://127.0.0.1:9464/metrics every 15s, within 10s",
        "checkout/latency shop 95% 28d observations of le <= 0.5 payments",
        "buy 99.5% 28d average 1 search/availability",
        "shop deny 0 0.05 0.5 10m 100 1% show fix rollback security none 9",
    ] {
        let is_row = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(row);
        assert!(tables.lines().any(is_row), "{row}\n{tables}");
    }
}

#[test]
fn every_fault_is_told_at_its_place_in_one_run() {
    let output = check(Path::new("tests/specs/faults"));
    let expected: Vec<_> = FAULTS.trim().lines().map(|line| format!("tests/specs/faults/{line}")).collect();
    let told = stderr(&output);
    let told: Vec<_> = told.lines().collect();
    assert_eq!(told[..told.len() - 1], expected);
    assert_eq!(told.last(), Some(&"32 errors in tests/specs/faults"));
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
}

#[test]
fn i01_unknown_misspelt_and_duplicate_keys_are_refused_with_the_nearest_key() {
    for (old, new, told) in [
        ("owner ", "ownr ", "profile.toml:7:1: unknown key `ownr`; did you mean `owner`?"),
        ("[story]", "[story]\nname = \"first\"", "profile.toml:5:1: duplicate key `name`; the first is at"),
        ("[story]", "[storey]", "profile.toml:3:2: unknown key `storey`; did you mean `story`?"),
    ] {
        let (output, temp) = edited("profile.toml", old, new);
        let told = format!("{}/{told}", temp.path().display());
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).starts_with(&told), "{told}\n{}", stderr(&output));
        assert!(stderr(&output).ends_with(&format!("1 error in {}\n", temp.path().display())), "{}", stderr(&output));
    }
}

#[test]
fn i09_two_slos_of_the_same_name_are_refused() {
    let (output, temp) = edited("profile.toml", "\"latency\"", "\"availability\"");
    let (file, told) = (temp.path().join("profile.toml"), stderr(&output));
    let expected = format!("{0}:22:13: duplicate SLO `availability`; the first is at {0}:11:13", file.display());
    assert_eq!((output.status.code(), told.lines().next()), (Some(1), Some(expected.as_str())));
}

#[test]
fn d20_one_slo_has_one_source_and_one_kind() {
    let both = "[slo.latency]\nsource = \"lb\"\nrequests = [\"POST /pay\"]\nthreshold = \"500ms\"\n[slo.histogram]";
    let source = "[slo.ratio]\nsource = \"payments\"";
    for (old, new, told) in [
        ("[slo.histogram]", both, "27:1: an SLO has one kind; write another [[slo]] for the second"),
        (source, "[slo.ratio]\nsource = [\"payments\", \"lb\"]", "15:10: `source` is an array; expected a string"),
        (
            source,
            "[slo.ratio]\nsource = \"payments\"\nsource = \"lb\"",
            "16:1: duplicate key `source`; the first is at",
        ),
        (source, "[slo.ratio]\nsource = \"lb\"", "15:10: the source `lb` reads an access log; this kind of SLO needs"),
    ] {
        let (output, temp) = edited("checkout.toml", old, new);
        let told = format!("{}:{told}", temp.path().join("checkout.toml").display());
        assert_eq!(output.status.code(), Some(1), "{new}");
        assert!(stderr(&output).starts_with(&told), "{told}\n{}", stderr(&output));
    }
}

#[test]
fn i05_what_only_the_store_knows_of_a_rename_was_not_checked() {
    let (output, _temp) =
        edited("profile.toml", "name      = \"availability\"", "name = \"up\"\nrenamed_from = \"availability\"");
    let told = "it holds counts of profile/availability for profile/up";
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).ends_with(&format!("not checked: whether {told}\n")), "{}", stderr(&output));
    let (output, _temp) =
        edited("profile.toml", "name      = \"availability\"", "name = \"up\"\nrenamed_from = \"latency\"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("`profile/latency` is in these specs"), "{}", stderr(&output));
}

#[test]
fn i10_specs_are_checked_without_their_log_files_and_say_what_was_not_checked() {
    let (output, temp) = edited("slogate.toml", "/var/log/nginx", "/nowhere/at/all");
    assert_eq!(output.status.code(), Some(0));
    let expected = [
        "not checked: whether /nowhere/at/all/access.log* can be read and have the format of source lb".to_owned(),
        "not checked: whether http://127.0.0.1:9464/metrics answer with the metrics of source payments".to_owned(),
        "not checked: whether the variable SLOGATE_SERVER_TOKEN is set".to_owned(),
        format!("not checked: whether {} can be opened", temp.path().join("slogate.redb").display()),
    ];
    assert_eq!(stderr(&output).lines().collect::<Vec<_>>(), expected);
    assert!(!temp.path().join("slogate.redb").exists(), "checking creates nothing");
}

#[test]
fn i10_what_targets_are_asked_and_trusted_by_is_said_not_to_be_checked() {
    for (token, told) in [
        ("token_env = \"SCRAPE_TOKEN\"", "whether the variable SCRAPE_TOKEN is set"),
        ("token_file = \"/no/token\"", "whether /no/token can be read"),
    ] {
        let keys = format!("[source.scrape]\nca_file = \"/no/ca.pem\"\n{token}");
        let (output, _temp) = edited("slogate.toml", "[source.scrape]", &keys);
        let expected = [
            format!("not checked: {told}, for the targets of source payments"),
            "not checked: whether /no/ca.pem can be read and holds the authorities of source payments".to_owned(),
        ];
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().skip(2).take(2).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn warnings_do_not_make_specs_invalid() {
    let (output, temp) = edited("detail.toml", "/product/{id}\"]\nignore", "/product/{id}.html\"]\nignore");
    let told = stderr(&output);
    let help = "a placeholder such as {name} is a whole segment";
    let file = temp.path().join("detail.toml");
    let expected = format!("{}:12:13: warning: `{{id}}.html` is matched literally; {help}", file.display());
    assert_eq!((output.status.code(), told.lines().next()), (Some(0), Some(expected.as_str())));
}

#[test]
fn a_directory_that_cannot_be_read_is_neither_valid_nor_invalid() {
    for missing in ["no/such/directory", "Cargo.toml"] {
        let output = check(Path::new(missing));
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(3), ""));
        assert!(stderr(&output).starts_with(&format!("{missing}: cannot read the directory of specs: ")));
    }
}

#[test]
fn an_empty_directory_is_invalid() {
    let temp = tempfile::tempdir().unwrap();
    let output = check(temp.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("slogate.toml:1:1: this file is missing"), "{}", stderr(&output));
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    for (arguments, code) in [
        (vec!["check", "--spec"], 2),
        (vec!["chek"], 2),
        (vec![], 2),
        (vec!["check", "slo-specs"], 2),
        (vec!["--help"], 0),
        (vec!["check", "--help"], 0),
        (vec!["--version"], 0),
    ] {
        assert_eq!(slogate(&arguments).status.code(), Some(code), "{arguments:?}");
    }
}

/// Words are wrapped for the terminal once, and not where the source has its lines.
#[test]
fn help_has_no_line_breaks_of_its_own() {
    for subcommand in ["check", "report", "serve", "demo", "export", "status", "gate", "freeze", "unfreeze", "store"] {
        let help = stdout(&slogate(&[subcommand, "--help"]));
        let lines: Vec<&str> = help.lines().collect();
        for pair in lines.windows(2) {
            // A line that ends early though the first word of the next one would have fitted.
            let word = pair[1].split(' ').next().unwrap_or_default();
            let is_prose = pair[0].len() > 20 && !pair[0].starts_with(' ') && !word.is_empty();
            let is_new = ["Exit", "Usage:", "Options:", "Arguments:", "Commands:"].contains(&word);
            let fits = pair[0].len() + 1 + word.len() <= 80;
            assert!(!is_prose || is_new || !fits, "{subcommand}: {pair:#?}");
        }
    }
}

#[test]
fn output_that_is_piped_has_no_colours() {
    for specs in ["slo-specs", "tests/specs/faults"] {
        let output = check(Path::new(specs));
        assert!(![output.stdout, output.stderr].concat().contains(&0x1b), "{specs}");
    }
}

#[test]
fn c02_formats_that_cannot_be_counted_by_are_refused_where_they_go_wrong() {
    for (format, column, why) in [
        ("nginx = '[$time_local] \"$request\" $body_bytes_sent'", 10, "this log format lacks $status"),
        ("nginx = '$remote_addr \"$request\" $status'", 10, "this log format lacks the time"),
        ("nginx = '$http_x_user [$time_local] $request $status'", 24, "a client can forge `$time_local`"),
        ("apache = '%h %{%Y-%m-%d %H:%M:%S}t \"%r\" %>s'", 14, "`%{%Y-%m-%d %H:%M:%S}t` has no time zone"),
        ("apache = '%h %{%Y-%m-%d %H:%M:%S %z}t \"%r\" %>s'", 14, "`%{%Y-%m-%d %H:%M:%S %z}t` is a notation of time"),
        ("apache = '%h \"%r\" %b'", 11, "this log format lacks the time (%t) and the status (%>s); every SLO needs it"),
        ("apache = '%{X}i %t %r %>s'", 17, "a client can forge `%t` in this format, because unquoted values"),
    ] {
        let (output, temp) = edited("slogate.toml", &format!("nginx  = '{TIMED}'"), format);
        let told = format!("{}:22:{column}: {why}", temp.path().join("slogate.toml").display());
        assert_eq!(output.status.code(), Some(1), "{format}");
        assert!(stderr(&output).starts_with(&told), "{told}\n{}", stderr(&output));
        assert!(stderr(&output).ends_with(&format!("1 error in {}\n", temp.path().display())), "{}", stderr(&output));
    }
}

#[test]
fn slos_that_need_what_the_format_does_not_log_are_told() {
    let untimed = TIMED.replace(" $request_time", "");
    let (output, temp) = edited("slogate.toml", TIMED, &untimed);
    let why = "the source `lb` has no duration in its format, so this SLO will have no data";
    let expected = ["category.toml:18", "detail.toml:19", "home.toml:18", "profile.toml:25", "profile.toml:35"];
    let told = stderr(&output);
    let told: Vec<_> = told.lines().take_while(|line| line.contains("warning")).collect();
    for (line, place) in told.iter().zip(expected) {
        let start = temp.path().join(place).display().to_string();
        assert!(line.starts_with(&start) && line.ends_with(why), "{start}\n{line}");
    }
    assert_eq!((output.status.code(), told.len()), (Some(0), expected.len() + 1));

    let (output, temp) = edited("slogate.toml", "\"$request\" ", "\"$request_uri\" ");
    let start = temp.path().join("category.toml:12:13").display().to_string();
    let why = "`GET /category/{name}` names a method, but the source's format has no method; write `*` for any method";
    assert!(stderr(&output).starts_with(&format!("{start}: {why}\n")), "{}", stderr(&output));

    let (output, temp) = edited("home.toml", "requests = [", "hosts = [\"a.example.com\"]\nrequests = [");
    let start = temp.path().join("home.toml:12:9").display().to_string();
    let why = "the source's format has no host to compare; add one of `$host`, `%v` to it";
    assert_eq!(stderr(&output).lines().next(), Some(format!("{start}: {why}").as_str()));
}
