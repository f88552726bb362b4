//! Burn alerts as a user meets them: in a report, in the gate, and as rules for Prometheus that its own tools accept.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use chrono::DateTime;
use serde_json::{Value, json};
use tempfile::TempDir;

/// 2026-11-20T10:12:00Z, in seconds; a whole minute.
const NOW: i64 = 1_795_169_520;

const STORY: &str = "[story]\nname = \"profile\"\ntitle = \"User {{profile}}: \\\"yours\\\"\"\nservice = \"api\"\n\
    owner = \"team-profile\"\n[[slo]]\nname = \"availability\"\nobjective = 99.9\n[slo.availability]\nsource = \"lb\"\n\
    requests = [\"GET /profile\"]\n";

/// A directory of specs, with `gate` in its `[gate]`.
fn specs(gate: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let engine = format!(
        "[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"/nowhere\"]\nformat = \"combined\"\n\
         [gate]\non_unknown = \"deny\"\n{gate}\n"
    );
    fs::write(directory.path().join("slogate.toml"), engine).expect("written");
    fs::write(directory.path().join("profile.toml"), STORY).expect("written");
    directory
}

fn slogate(arguments: &[&str], specs: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slogate"));
    command.args(arguments).arg("--specs").arg(specs).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// `count` requests answered with `status` in the minute that begins `minutes` before the last one.
fn lines(minutes: i64, count: usize, status: u16) -> String {
    let at = DateTime::from_timestamp(NOW - 60 * minutes, 0).expect("a time");
    let line = format!(
        "10.0.0.1 - - [{}] \"GET /profile HTTP/1.1\" {status} 5 \"-\" \"-\"\n",
        at.format("%d/%b/%Y:%H:%M:%S +0000")
    );
    line.repeat(count)
}

/// A day of 100 requests a minute, all well but for `bad` of each of the last minutes of `burst`.
fn log(directory: &Path, bad: usize, burst: std::ops::Range<i64>) -> String {
    let mut log = String::new();
    for minutes in (0..1_440).rev() {
        let bad = if burst.contains(&minutes) { bad } else { 0 };
        log.push_str(&lines(minutes, 100 - bad, 200));
        log.push_str(&lines(minutes, bad, 503));
    }
    let path = directory.join("access.log");
    fs::write(&path, log).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

fn document(specs: &Path, log: &str) -> Value {
    let output = slogate(&["report", "--json", log], specs);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

fn courses(document: &Value) -> Vec<String> {
    let alerts = document["alerts"].as_array().expect("alerts");
    let shown = |alert: &Value| {
        let word = |key: &str| alert[key].as_str().unwrap_or("-").to_owned();
        format!(
            "{} {} {} since {} until {}",
            word("severity"),
            word("long"),
            word("state"),
            word("since"),
            word("resolved_at")
        )
    };
    alerts.iter().map(shown).collect()
}

#[test]
fn an_alert_fires_while_both_windows_burn_and_says_since_when() {
    let specs = specs("");
    // 50 of 100 in each of the last 10 minutes: 500 bad of 6,000 in the last hour burn 83 times too fast, and 500 of
    // 36,000 in six hours 13.9 times. 0.1% of 6,000 times 13.44 are 80.64 bad events: the second bad minute.
    let found = document(specs.path(), &log(specs.path(), 50, 0..10));
    assert_eq!(
        courses(&found),
        [
            "page 1h firing since 2026-11-20T10:04:00Z until -",
            // 0.1% of 36,000 times 5.6 are 201.6: the fifth bad minute.
            "page 6h firing since 2026-11-20T10:07:00Z until -",
            // 0.1% of 144,000 times 2.8 are 403.2: the ninth bad minute.
            "ticket 1d firing since 2026-11-20T10:11:00Z until -",
            // The log has one day: 3 days hold no more than that, and 144 bad are the third bad minute.
            "ticket 3d firing since 2026-11-20T10:05:00Z until -",
        ]
    );
    assert_eq!(found["stories"][0]["slos"][0]["alerts"], found["alerts"]);
    assert_eq!(found["alerts"][0]["burn_short"], json!(500.0));
    assert_eq!(found["gates"][0]["reasons"][0]["kind"], "budget_spent");
}

#[test]
fn an_alert_that_is_over_is_resolved_when_its_short_window_is() {
    let specs = specs("");
    // Ten bad minutes that ended 20 minutes ago: the last window of 5 minutes with a bad one ended 16 minutes ago.
    let found = document(specs.path(), &log(specs.path(), 50, 20..30));
    let hour = &courses(&found)[0];
    assert_eq!(hour, "page 1h resolved since 2026-11-20T09:44:00Z until 2026-11-20T09:57:00Z");
    // Whether it was 7 or 500 of 100 does not matter any more; without any there is nothing to tell.
    assert_eq!(courses(&document(specs.path(), &log(specs.path(), 0, 0..1))), [""; 0]);
}

#[test]
fn d17_an_alert_goes_on_while_the_minute_that_has_begun_has_told_nothing() {
    let specs =
        specs("freeze_on = \"page\"\n[[alert]]\nseverity = \"page\"\nlong = \"3m\"\nshort = \"1m\"\nfactor = 10");
    let log = log(specs.path(), 10, 0..4);
    for (at, state, level) in [
        ("2026-11-20T10:12:30Z", "firing", "frozen"),
        ("2026-11-20T10:13:59Z", "firing", "frozen"),
        ("2026-11-20T10:14:00Z", "resolved", "open"),
    ] {
        let output = slogate(&["report", "--json", "--at", at, &log], specs.path());
        let found: Value = serde_json::from_slice(&output.stdout).expect("a report");
        let told = (&found["alerts"][0]["state"], &found["gates"][0]["level"]);
        assert_eq!(told, (&json!(state), &json!(level)), "{at}");
    }
}

#[test]
fn a_page_freezes_the_gate_where_the_policy_says_so() {
    for (gate, level, kind) in [("", "open", None), ("freeze_on = \"page\"", "frozen", Some("burning"))] {
        let specs = specs(gate);
        // 10 of 100 in the last 10 minutes: 100 bad of 144,000 leave 30% of the budget, and of 6,000 burn 16 times.
        let found = document(specs.path(), &log(specs.path(), 10, 0..10));
        let gate = &found["gates"][0];
        assert_eq!((&gate["level"], gate["reasons"][0]["kind"].as_str()), (&json!(level), kind), "{gate}");
        if kind.is_some() {
            assert_eq!(
                gate["reasons"][0]["text"],
                "profile/availability burns its error budget 16.7 times too fast over 1h (a page from 13.44 over 1h and 5m)"
            );
        }
        let table = text(&slogate(&["report", &log(specs.path(), 10, 0..10)], specs.path()).stdout);
        assert!(table.contains("Alerts\n"), "{table}");
        assert!(table.contains("profile/availability  page   firing"), "{table}");
    }
}

/// Where each rule begins to fire in Prometheus' own evaluation: at its factor and not below it, on both windows.
fn rule_tests(rules: &str) -> String {
    let series = |window: &str, values: &str| {
        let labels = format!("story=\"profile\",slo=\"availability\",service=\"api\",window=\"{window}\"");
        json!({ "series": format!("slogate_slo_burn_rate{{{labels}}}"), "values": values })
    };
    let quiet = |minute: u64| json!({ "eval_time": format!("{minute}m"), "alertname": "SlogateErrorBudgetBurn", "exp_alerts": [] });
    let firing = json!({
        "eval_time": "2m", "alertname": "SlogateErrorBudgetBurn",
        "exp_alerts": [{
            "exp_labels": {
                "severity": "page", "owner": "team-profile", "story": "profile", "slo": "availability", "service": "api",
                "window": "1h", "short": "5m"
            },
            "exp_annotations": {
                "summary": "profile/availability burns its error budget",
                "description": "User {{profile}}: \"yours\": over 1h the error budget of 99.9% in 28d burns at 13.44 times \
                                the rate that it lasts at; this alert is for 13.44 and more over 1h and 5m."
            }
        }]
    });
    let absent = json!({
        "eval_time": "30m", "alertname": "SlogateAbsent",
        "exp_alerts": [{
            "exp_labels": { "severity": "page" },
            "exp_annotations": {
                "summary": "slogate is not there",
                "description": "No slogate has been scraped for five minutes: nobody counts, and no gate answers."
            }
        }]
    });
    let tests = json!({
        "rule_files": [rules], "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [
                // Below; the long window alone; both; the short window alone.
                series("1h", "13.43 13.44 13.44 13.43"),
                series("5m", "13.44 13.43 13.44 20"),
                series("6h", "5.59 5.59 5.59 5.59"),
                series("30m", "5.6 5.6 5.6 5.6"),
                json!({ "series": "slogate_build_info{version=\"1\"}", "values": "1 1 1 1" }),
            ],
            "alert_rule_test": [quiet(0), quiet(1), firing, quiet(3), absent],
        }]
    });
    tests.to_string()
}

#[test]
fn the_exported_rules_pass_prometheus_own_checks_and_fire_when_they_should() {
    let specs = specs("");
    let output = slogate(&["export", "prometheus"], specs.path());
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let rules = specs.path().join("rules.yml");
    fs::write(&rules, &output.stdout).expect("written");
    let tests = specs.path().join("tests.yml");
    fs::write(&tests, rule_tests(rules.to_str().expect("UTF-8"))).expect("written");
    check_with_promtool(&["check", "rules", "--lint-fatal"], &rules);
    check_with_promtool(&["test", "rules"], &tests);
}

/// Asserts that Prometheus' own tool has nothing to say against a file of rules, or of their tests.
#[track_caller]
fn check_with_promtool(what: &[&str], file: &Path) {
    let told = Command::new("promtool").args(what).arg(file).output();
    let told = told.expect("promtool, of Debian's package prometheus, which tests/run.sh installs");
    let said = format!("{}{}", text(&told.stdout), text(&told.stderr));
    assert!(
        told.status.success() && !said.contains("duplicate"),
        "{said}\n{}",
        fs::read_to_string(file).expect("rules")
    );
}

/// Two of one long window are told apart by the short one; the rest is the linter's to say.
const TWINS: &str = "[[alert]]\nseverity = \"page\"\nlong = \"1h\"\nshort = \"5m\"\nfactor = 14\n\
    [[alert]]\nseverity = \"page\"\nlong = \"1h\"\nshort = \"10m\"\nfactor = 7\n";

#[test]
fn no_two_exported_rules_are_the_same_to_prometheus() {
    let twins = specs(TWINS);
    for specs in [Path::new("slo-specs"), twins.path()] {
        let output = slogate(&["export", "prometheus"], specs);
        let rules = twins.path().join("rules.yml");
        fs::write(&rules, &output.stdout).expect("written");
        check_with_promtool(&["check", "rules", "--lint-fatal"], &rules);
    }
    check_with_promtool(&["check", "rules", "--lint-fatal"], Path::new("dashboards/alerts.yml"));
}

#[test]
fn the_shipped_specs_export_a_rules_file() {
    let output = slogate(&["export", "prometheus"], Path::new("slo-specs"));
    let rules = text(&output.stdout);
    let (alerts, names) = (rules.matches("- alert:").count(), rules.matches("SlogateErrorBudgetBurn").count());
    assert_eq!((output.status.code(), alerts), (Some(0), names + 2), "{rules}");
    assert!(names >= 12, "{rules}");
}
