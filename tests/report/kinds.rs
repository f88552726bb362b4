//! Every kind of SLO, journeys and gates at their boundaries, with integers that were counted by hand.

use serde_json::{Value, json};

use crate::desk::{Desk, availability, bad, conserved, counts, find, good, line, line_of_host, slo};

const MINUTE: i64 = 60;

/// `count` requests for an item in the minute `minutes` after now, which took so long.
fn took(minutes: i64, count: usize, duration: &str) -> String {
    line(minutes * MINUTE, "GET /item/1", 200, duration).repeat(count)
}

#[track_caller]
fn check_ratio(value: &Value, expected: f64) {
    let found = value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} for {expected}");
}

#[test]
fn statuses_are_judged_by_good_and_ignore() {
    let slos = availability("default", "99.0", "", "")
        + &availability("ignoring", "99.0", "", "ignore = [\"499\", \"404\"]")
        + &availability("custom", "99.0", "", "good = [\"2xx\", \"404\", \"420-429\"]");
    let statuses = [100, 101, 199, 200, 204, 299, 302, 304, 400, 404, 419, 420, 429, 430, 499, 500, 503, 599];
    let log: String = statuses.iter().map(|status| line(0, "GET /item/1", *status, "0.1")).collect();
    let document = Desk::new(&slos).document_of(log);
    assert_eq!(counts(&document, "default"), (15, 3));
    assert_eq!(counts(&document, "ignoring"), (13, 3));
    assert_eq!(counts(&document, "custom"), (6, 12));
    assert_eq!(conserved(&document), [18, 18, 0, 0]);
}

#[test]
fn b12_statuses_that_are_none_are_refused() {
    let desk = Desk::new(&availability("availability", "99.0", "", ""));
    let statuses = ["099", "600", "0", "1000", "-", "000", "20x", "２００", ""];
    let log: String = statuses.iter().map(|status| good(0, 1).replace(" 200 ", &format!(" {status} "))).collect();
    let told = desk.report(&["--json", desk.write("access.log", log + &bad(0, 1)).to_str().expect("UTF-8")]);
    let document = told.document();
    assert_eq!((counts(&document, "availability"), conserved(&document)), ((0, 1), [10, 1, 0, 9]), "{told:?}");
}

#[test]
fn b01_a_path_that_looks_like_the_rest_of_a_line_moves_no_status() {
    let desk = Desk::new(&availability("availability", "99.0", "", ""));
    let forged = r#"GET /item/x\x22 200 5 \x22-\x22 \x22-"#;
    let document = desk.document_of(line(0, forged, 500, "0.1") + &line(0, "GET /item/1?\\x22 200 \\x22", 502, "0.1"));
    assert_eq!(conserved(&document), [2, 2, 0, 0]);
    assert_eq!(counts(&document, "availability"), (0, 2));
}

#[test]
fn a_duration_at_the_threshold_is_good_and_one_that_is_missing_does_not_count() {
    let slos = slo("latency", "90.0", "latency", "threshold = \"500ms\"")
        + &slo("successes", "90.0", "latency", "threshold = \"500ms\"\ncount = [\"2xx\"]")
        + &availability("availability", "99.0", "", "");
    let durations = ["0.000", "0.499", "0.500", "0.501", "0.5000", "0.500001", "7", "-"];
    let mut log: String = durations.iter().map(|duration| line(0, "GET /item/1", 200, duration)).collect();
    log += &line(0, "GET /item/1", 500, "0.1");
    log += &line(0, "GET /elsewhere", 200, "-");
    let document = Desk::new(&slos).document_of(log);
    assert_eq!(counts(&document, "latency"), (5, 3));
    assert_eq!(counts(&document, "successes"), (4, 3));
    assert_eq!(counts(&document, "availability"), (8, 1));
    assert_eq!(document["sources"][0]["missing"], json!({ "duration": 1 }));
    assert_eq!(conserved(&document), [10, 9, 1, 0]);
}

#[test]
fn b15_durations_that_are_none_are_refused() {
    let desk = Desk::new(&slo("latency", "90.0", "latency", "threshold = \"500ms\""));
    let durations = ["-1", "1e3", "NaN", "9999999999", "86400.001", "0.1.2", "0.1, 0.2"];
    let log: String = durations.iter().map(|duration| line(0, "GET /item/1", 200, duration)).collect();
    let document = desk.document_of(log + &took(0, 1, "86400"));
    assert_eq!((counts(&document, "latency"), conserved(&document)), ((0, 1), [8, 1, 0, 7]));
}

#[test]
fn hosts_lose_their_port_and_case_and_are_otherwise_exact() {
    let slos = availability("exact", "99.0", "", "hosts = [\"shop.example\"]")
        + &availability("suffix", "99.0", "", "hosts = [\"*.shop.example\"]")
        + &availability("any", "99.0", "", "");
    let hosts = ["shop.example", "SHOP.Example:8443", "a.shop.example", "a.b.shop.example:80", "xshop.example", "-"];
    let log: String = hosts.iter().map(|host| line_of_host(0, host, "GET /item/1", 200, "0.1")).collect();
    let document = Desk::new(&slos).document_of(log);
    let found = ["exact", "suffix", "any"].map(|name| counts(&document, name).0);
    assert_eq!(found, [2, 2, 6]);
}

#[test]
fn paths_are_compared_as_written() {
    let desk = Desk::new(&availability("availability", "99.0", "", ""));
    for (request, matches) in [
        ("GET /item/1", true),
        ("GET /item/1?a=/b", true),
        ("GET http://shop.example/item/1", true),
        ("GET /item/%2e", true),
        ("GET /item/", false),
        ("GET /item/1/", false),
        ("GET /item", false),
        ("GET //item/1", false),
        ("GET /Item/1", false),
        ("POST /item/1", false),
        ("get /item/1", false),
    ] {
        let document =
            desk.report(&["--json", desk.write("a.log", line(0, request, 200, "0.1")).to_str().expect("UTF-8")]);
        assert_eq!(counts(&document.document(), "availability"), (u64::from(matches), 0), "{request}");
    }
}

#[test]
fn a_slice_is_good_when_the_ceiling_of_its_percentile_is() {
    let body = "percentile = 99.0\nthreshold = \"500ms\"\nslice = \"1m\"";
    let desk = Desk::new(&slo("p99", "90.0", "percentile", body));
    let log = [
        took(-10, 99, "0.500") + &took(-10, 1, "0.501"), // 99 of 100 are enough
        took(-9, 99, "0.100") + &took(-9, 2, "0.501"),   // ceil(99.99) = 100 of 101 are needed
        took(-8, 100, "0.100") + &took(-8, 1, "0.501"),  // and there they are
        took(-7, 1, "0.501"),                            // of one, one
        took(-6, 1, "0.500"),                            //
        took(-5, 198, "0.100") + &took(-5, 2, "0.501"),  // 198 of 200
        took(-4, 197, "0.100") + &took(-4, 3, "0.501"),  //
        took(0, 5, "0.501"),                             // this minute has not ended
    ];
    assert_eq!(counts(&desk.document_of(log.concat()), "p99"), (4, 3));
    let document = desk.document(&["--at", "2026-11-20T10:12:59Z", "access.log"]);
    assert_eq!(counts(&document, "p99"), (4, 3));
    let document = desk.document(&["--at", "2026-11-20T10:13:00Z", "access.log"]);
    assert_eq!(counts(&document, "p99"), (4, 4));
}

#[test]
fn slices_that_do_not_divide_the_hour_are_aligned_to_the_epoch() {
    let body = "percentile = 50.0\nthreshold = \"500ms\"\nslice = \"7m\"";
    let hour = slo("p50", "90.0", "percentile", body).replace("objective", "window = \"1h\"\nobjective");
    let desk = Desk::new(&hour);
    // Now is minute 29,919,492 since the epoch, which is 7 * 4,274,213 + 1: slices begin at -1, -8, -15, ... -57, -64.
    let log = [
        took(-1, 1, "0.9") + &took(0, 2, "0.9"),                          // has not ended
        took(-8, 1, "0.9") + &took(-2, 1, "0.1"),                         // 1 of 2 are enough: good
        took(-15, 1, "0.1") + &took(-12, 1, "0.9") + &took(-9, 1, "0.9"), // 2 of 3 are needed: bad
        took(-57, 1, "0.9"),                                              // the first in the window: bad
        took(-58, 7, "0.9"), // in the window, but not the slice's beginning
    ];
    assert_eq!(counts(&desk.document_of(log.concat()), "p50"), (1, 2));
    // The current slice, from minute -1 on, ends with the minute 5, and by then -57 has left the window.
    let at = |at: &str| counts(&desk.document(&["--at", at, "access.log"]), "p50");
    assert_eq!(at("2026-11-20T10:17:59Z"), (1, 1));
    assert_eq!(at("2026-11-20T10:18:00Z"), (1, 2));
}

#[test]
fn throughput_counts_silent_slices_once_its_source_was_heard() {
    // 0.05 a second are 3 a minute.
    let desk = Desk::new(&slo("rate", "50.0", "throughput", "minimum = 0.05\nslice = \"1m\""));
    let log = [
        line(-10 * MINUTE, "GET /elsewhere", 200, "0.1"), // heard: the first slice, too slow
        took(-9, 3, "0.1"),
        took(-7, 2, "0.1"),
        took(-6, 4, "0.1"),
        took(0, 1, "0.1"),
    ];
    let document = desk.document_of(log.concat());
    assert_eq!(counts(&document, "rate"), (2, 8));
    check_ratio(&find(&document, "rate")["compliance"], 0.2);
    let zero = Desk::new(&slo("rate", "50.0", "throughput", "minimum = 0.05\nslice = \"1m\""));
    let document = zero.document_of(took(0, 9, "0.1"));
    assert_eq!(counts(&document, "rate"), (0, 0), "the only slice has not ended");
}

#[test]
fn a_late_line_changes_the_verdict_of_its_slice() {
    let desk = Desk::new(&slo("rate", "50.0", "throughput", "minimum = 0.05\nslice = \"1m\""));
    let log = took(-2, 2, "0.1") + &took(0, 1, "0.1");
    assert_eq!(counts(&desk.document_of(&log), "rate"), (0, 2));
    assert_eq!(counts(&desk.document_of(log + &took(-2, 1, "0.1")), "rate"), (1, 1));
}

#[test]
fn journeys_weigh_counts_or_compliances() {
    let story = |name: &str| {
        let slo = availability("availability", "99.0", "", "").replace("/item/", &format!("/{name}/"));
        format!("[story]\nname = \"{name}\"\n{slo}")
    };
    let desk = Desk::new(&availability("availability", "99.0", "", ""));
    for (aggregate, members) in [("requests", 3), ("average", 3)] {
        let stories: String = ["a", "b", "quiet"][..members]
            .iter()
            .zip([1.0, 3.0, 5.0])
            .map(|(story, weight)| format!("{{ story = \"{story}\", slo = \"availability\", weight = {weight} }},"))
            .collect();
        desk.write(
            &format!("slo-specs/{aggregate}.toml"),
            format!(
                "[journey]\nname = \"{aggregate}\"\nobjective = 95.0\naggregate = \"{aggregate}\"\nstories = [{stories}]\n"
            ),
        );
    }
    ["a", "b", "quiet"].iter().for_each(|name| drop(desk.write(&format!("slo-specs/{name}.toml"), story(name))));
    let requests = |path: &str, good: usize, bad: usize| {
        line(0, path, 200, "0.1").repeat(good) + &line(0, path, 500, "0.1").repeat(bad)
    };
    let document = desk.document_of(requests("GET /a/1", 90, 10) + &requests("GET /b/1", 40, 0));
    let journeys = document["journeys"].as_array().expect("journeys");
    let journey = |name: &str| journeys.iter().find(|journey| journey["journey"] == name).expect("the journey");

    let weighed = journey("requests");
    check_ratio(&weighed["compliance"], 210.0 / 220.0);
    check_ratio(&weighed["budget"]["remaining"], 1.0 - (10.0 / 220.0) / 0.05);
    check_ratio(&weighed["budget"]["remaining_seconds"], (1.0 - (10.0 / 220.0) / 0.05) * 0.05 * 28.0 * 86_400.0);
    check_ratio(&weighed["burn"]["5m"], (10.0 / 220.0) / 0.05);
    check_ratio(&weighed["members"][0]["share"], 100.0 / 220.0);
    check_ratio(&weighed["members"][1]["share"], 120.0 / 220.0);
    check_ratio(&weighed["members"][0]["spent_share"], 1.0);
    assert_eq!((&weighed["state"], &weighed["members"][2]["compliance"]), (&"met".into(), &Value::Null));
    check_ratio(&weighed["members"][2]["share"], 0.0);

    let averaged = journey("average");
    check_ratio(&averaged["compliance"], (0.9 + 3.0) / 4.0);
    check_ratio(&averaged["budget"]["remaining"], 0.5);
    check_ratio(&averaged["burn"]["28d"], 0.5);
    check_ratio(&averaged["members"][0]["share"], 0.25);
    check_ratio(&averaged["members"][1]["share"], 0.75);
    check_ratio(&averaged["members"][2]["share"], 0.0);
    check_ratio(&averaged["members"][0]["spent_share"], 1.0);
}

/// What one gate comes to after `good` and `bad` requests: its level, the kind of its first reason, and the budget
/// left.
fn gate(objective: &str, policy: &str, goods: usize, bads: usize) -> (String, Value, f64) {
    let policy = format!("[gate]\non_unknown = \"deny\"\nmin_events = 1\n{policy}");
    let desk = Desk::with_gate(&availability("availability", objective, "", ""), &policy);
    let document = desk.document_of(good(0, goods) + &bad(0, bads));
    let gate = &document["gates"][0];
    let frozen = desk.report(&["--fail-on-frozen", "access.log"]).code == Some(1);
    assert_eq!(frozen, gate["level"] == "frozen", "{gate}");
    assert_eq!(frozen, gate["allow"] == false, "{gate}");
    let remaining = find(&document, "availability")["budget"]["remaining"].as_f64().expect("a ratio");
    (gate["level"].as_str().expect("a level").to_owned(), gate["reasons"][0]["kind"].clone(), remaining)
}

#[test]
fn g05_one_event_decides_at_a_budget_that_is_exactly_spent() {
    let (spent, low) = (Value::from("budget_spent"), Value::from("budget_low"));
    for (objective, policy, goods, bads, level, kind) in [
        ("99.9", "", 999, 1, "frozen", &spent),
        ("99.9", "", 1_000, 1, "guarded", &low),
        ("99.9", "", 998, 1, "frozen", &spent),
        ("99.9", "", 2_999, 3, "guarded", &low),
        ("99.9", "", 2_997, 3, "frozen", &spent),
        ("90.0", "frozen_below = 0.1\nthaw_above = 0.2\n", 91, 9, "frozen", &spent),
        ("90.0", "frozen_below = 0.1\nthaw_above = 0.2\n", 92, 9, "guarded", &low),
        ("90.0", "frozen_below = 0.1\nthaw_above = 0.2\n", 90, 9, "frozen", &spent),
        ("90.0", "frozen_below = -0.5\n", 85, 15, "frozen", &spent),
        ("90.0", "frozen_below = -0.5\n", 86, 15, "guarded", &low),
        ("90.0", "", 37, 3, "open", &Value::Null),
        ("90.0", "", 36, 3, "guarded", &low),
        ("90.0", "", 38, 3, "open", &Value::Null),
    ] {
        let (found, reason, remaining) = gate(objective, policy, goods, bads);
        assert_eq!((found.as_str(), &reason), (level, kind), "{objective} {policy:?} {goods}+{bads}: {remaining}");
    }
    let (.., remaining) = gate("99.9", "", 999, 1);
    assert_eq!(remaining, 0.0);
}

#[test]
fn a_promise_that_is_just_kept_is_met_and_its_budget_spent() {
    let desk = Desk::new(&availability("availability", "99.9", "", ""));
    for (goods, state) in [(999, "met"), (998, "breached"), (1_000, "met")] {
        let document = desk.document_of(good(0, goods) + &bad(0, 1));
        assert_eq!(find(&document, "availability")["state"], state, "{goods}");
    }
}

#[test]
fn objectives_keep_their_decimals() {
    let slos = availability("a", "99.1234567", "", "") + &availability("b", "99.9999999", "window = \"30d\"", "");
    let desk = Desk::new(&slos);
    let document = desk.document_of(good(0, 999) + &bad(0, 1));
    let (a, b) = (find(&document, "a"), find(&document, "b"));
    assert_eq!((&a["objective"], &b["objective"]), (&json!(0.991234567), &json!(0.999999999)));
    check_ratio(&a["budget"]["allowed"], 8.765433);
    check_ratio(&b["budget"]["allowed"], 1e-6);
    let remaining = b["budget"]["remaining"].as_f64().expect("a ratio");
    assert!((remaining - (1.0 - 1e6)).abs() < 1e-3, "{remaining}");
    let seconds = a["budget"]["remaining_seconds"].as_f64().expect("seconds");
    assert!((seconds - (1.0 - 1.0 / 8.765433) * 0.008765433 * 28.0 * 86_400.0).abs() < 1e-6, "{seconds}");
    let desk = Desk::new(&availability("a", "99.99999999", "", ""));
    desk.write("access.log", good(0, 1));
    let told = desk.report(&["access.log"]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""), "{told:?}");
    assert!(told.stderr.contains("shop.toml:5:13: "), "{told:?}");
}
