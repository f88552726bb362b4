//! SLOs that cannot be measured any more, or never could, and rules that change.

use super::*;

const STALE: &str = "stale_after = \"3s\"\nmin_events = 1\n";

fn ratio(story: &str, source: &str, total: &str, bad: &str) -> String {
    let rule = format!("total = '{total}'\nbad = '{bad}'\n");
    slo(story, source, "ratio", &rule)
}

fn slo(story: &str, source: &str, kind: &str, rule: &str) -> String {
    format!(
        "[story]\nname = \"{story}\"\n[[slo]]\nname = \"r\"\nobjective = 90.0\n\
         [slo.{kind}]\nsource = \"{source}\"\n{rule}"
    )
}

/// Specs with these sources, by name and URLs, and these stories.
fn several(sources: &[(&str, &str)], stories: &[String]) -> Place {
    let place = place("targets = []", RATIO);
    fs::remove_file(place.path("specs/api.toml")).expect("it was there");
    write_sources(&place, sources);
    for (number, story) in stories.iter().enumerate() {
        fs::write(place.path(&format!("specs/story{number}.toml")), story).expect("written");
    }
    place
}

fn write_sources(place: &Place, sources: &[(&str, &str)]) {
    let listen = place.address;
    let mut text = format!("[server]\nlisten = \"{listen}\"\n[store]\nurl = \"redb:../store.redb\"\n");
    for (name, url) in sources {
        text += &format!("[[source]]\nname = \"{name}\"\n[source.scrape]\ninterval = \"1s\"\ntargets = [\"{url}\"]\n");
    }
    text += &format!("[gate]\non_unknown = \"deny\"\n{STALE}");
    fs::write(place.path("specs/slogate.toml"), text).expect("written");
}

/// Waits until the gate of a service is not sure because of an SLO that cannot be measured; what it says about it.
#[track_caller]
fn wait_for_doubt(place: &Place, service: &str, words: &str) {
    wait_in(place, &format!("{service} to say {words}"), || {
        let gate = place.get(&format!("/api/v1/gates/{service}"));
        let mut reasons = gate["reasons"].as_array().expect("a list").iter();
        let is_told = |reason: &Value| {
            reason["kind"] == "not_measured" && reason["text"].as_str().is_some_and(|text| text.contains(words))
        };
        gate["level"] == "unknown" && gate["allow"] == false && reasons.any(is_told)
    });
}

/// As [`wait`], for servers whose source has another name.
#[track_caller]
fn wait_in(place: &Place, what: &str, mut holds: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        let gates = || place.get("/api/v1/gates");
        assert!(watch.elapsed_ms() < PATIENCE_MS, "waited for {what}\n{:#}\n{}", gates(), place.words());
        thread::sleep(GLANCE);
    }
}

#[track_caller]
fn pages_in(place: &Place, targets: &[&Target], count: u64) {
    for target in targets {
        let seen = target.pages();
        wait_in(place, "pages", || target.pages() >= seen + count);
    }
}

#[test]
fn d09_an_slo_whose_series_vanish_from_a_target_that_answers_is_not_met() {
    let (bound, gone, pair, gauge) = (Target::new(), Target::new(), Target::new(), Target::new());
    bound.show("d_seconds_bucket{le=\"0.5\"}", 10);
    bound.show("d_seconds_bucket{le=\"+Inf\"}", 10);
    gone.count("m_total", 10);
    pair.count("t_total", 10);
    pair.count("b_total", 1);
    gauge.show("up_g", 1);
    let urls = [bound.url(), gone.url(), pair.url(), gauge.url()];
    let sources: Vec<(&str, &str)> =
        ["bound", "gone", "pair", "gauge"].into_iter().zip(urls.iter().map(String::as_str)).collect();
    let stories = [
        slo("bound", "bound", "histogram", "metric = 'd_seconds'\nthreshold = \"500ms\"\n"),
        ratio("gone", "gone", "m_total", "m_total{code=\"500\"}"),
        ratio("pair", "pair", "t_total", "b_total"),
        slo("gauge", "gauge", "gauge", "metric = 'up_g'\ngood_when = \">= 1\"\nslice = \"1m\"\n"),
    ];
    let place = several(&sources, &stories);
    let server = place.start();
    let all = [&bound, &gone, &pair, &gauge];
    pages_in(&place, &all, 2);
    bound.show("d_seconds_bucket{le=\"0.5\"}", 20);
    bound.show("d_seconds_bucket{le=\"+Inf\"}", 20);
    gone.count("m_total", 10);
    pair.count("t_total", 10);
    for service in ["bound", "gone", "pair"] {
        wait_in(&place, "an open gate", || place.gate(service).0 == "open");
    }
    bound.drop_series("d_seconds_bucket{le=\"0.5\"}");
    bound.show("d_seconds_bucket{le=\"0.4\"}", 20);
    gone.drop_series("m_total");
    pair.drop_series("b_total");
    gauge.drop_series("up_g");
    wait_for_doubt(&place, "bound", "d_seconds at http");
    wait_for_doubt(&place, "bound", "no bucket ends at 0.5; the bounds are 0.4, +Inf");
    wait_for_doubt(&place, "gone", "m_total at http");
    wait_for_doubt(&place, "pair", "b_total at http");
    wait_for_doubt(&place, "gauge", "none of its series is on the page");
    for slo in ["bound/r", "gone/r", "pair/r"] {
        assert_eq!(place.get(&format!("/api/v1/slos/{slo}"))["evidence"], "stale", "{slo}");
    }
    // Totals without their part are not good events.
    let before = tally(&place, "pair/r");
    pair.count("t_total", 1_000);
    pages_in(&place, &[&pair], 3);
    assert_eq!(tally(&place, "pair/r"), before);
    // It is known after a restart as well, before the first page: the gate never opens in between.
    assert!(server.stop().success());
    let server = place.start();
    assert_eq!(place.gate("gone").0, "unknown");
    pages_in(&place, &all, 2);
    assert_eq!(place.gate("gone").0, "unknown");
    gone.count("m_total", 1);
    pair.count("b_total", 1);
    for service in ["gone", "pair"] {
        wait_in(&place, "an open gate again", || place.gate(service).0 == "open");
    }
    let reasons = |source: &str| {
        let found = place.get("/api/v1/sources");
        let sources = found["sources"].as_array().expect("a list").clone();
        let source = sources.into_iter().find(|found| found["source"] == source).expect("a source");
        source["gaps"].as_array().expect("a list").iter().map(|gap| gap["reason"].clone()).collect::<Vec<_>>()
    };
    assert!(reasons("bound").contains(&"refused".into()), "{:?}", reasons("bound"));
    assert!(reasons("gauge").contains(&"vanished".into()), "{:?}", reasons("gauge"));
    drop(server);
}

#[test]
fn an_slo_that_could_never_be_measured_closes_the_gate_beside_a_sound_one() {
    let target = Target::new();
    target.count(OK, 10);
    target.show("d_seconds_bucket{le=\"0.4\"}", 10);
    target.show("d_seconds_bucket{le=\"+Inf\"}", 10);
    let url = target.url();
    let of = |name: &str, kind: &str, source: &str, rule: &str| {
        format!("[[slo]]\nname = \"{name}\"\nobjective = 90.0\n[slo.{kind}]\nsource = \"{source}\"\n{rule}")
    };
    let total = |metric: &str| format!("total = '{metric}'\ngood = '{metric}{{code!=\"500\"}}'\n");
    let sound = format!("[story]\nname = \"api\"\n{}", of("sound", "ratio", "app", &total("http_requests_total")));
    let never = [
        of("dead", "ratio", "dead", &total("http_requests_total")),
        of("typo", "ratio", "app", &total("http_request_total")),
        of("bound", "histogram", "app", "metric = 'd_seconds'\nthreshold = \"500ms\"\n"),
    ];
    let place = several(&[("app", &url), ("dead", "http://127.0.0.1:1/metrics")], &[sound.clone() + &never.concat()]);
    let server = place.start();
    pages_in(&place, &[&target], 2);
    target.count(OK, 100);
    wait_for_tally(&place, "api/sound", (100, 0));
    wait_for_doubt(&place, "api", "api/dead has been looked for since");
    wait_for_doubt(&place, "api", "http://127.0.0.1:1/metrics: cannot be reached");
    wait_for_doubt(&place, "api", "http_request_total at http");
    wait_for_doubt(&place, "api", "no bucket ends at 0.5");
    assert_eq!(place.get("/api/v1/slos/api/typo")["evidence"], "none");
    assert_eq!(place.get("/api/v1/slos/api/sound")["evidence"], "ok");
    // With the specs put right it opens.
    fs::write(place.path("specs/story0.toml"), sound).expect("written");
    wait_in(&place, "an open gate", || place.gate("api").0 == "open");
    drop(server);
}

#[test]
fn rules_thresholds_and_sources_that_change_lose_no_event() {
    const BUSY: &str = "http_requests_total{code=\"503\"}";
    let target = Target::new();
    for series in [OK, FAILED, BUSY] {
        target.count(series, 100);
    }
    let buckets = |count: u64| {
        for bound in ["0.5", "1", "+Inf"] {
            target.show(&format!("d_seconds_bucket{{le=\"{bound}\"}}"), count);
        }
    };
    buckets(100);
    let url = target.url();
    let specs = |source: &str, bad: &str, threshold: &str| {
        let histogram = format!(
            "[[slo]]\nname = \"h\"\nobjective = 90.0\n[slo.histogram]\nsource = \"{source}\"\n\
             metric = 'd_seconds'\nthreshold = \"{threshold}\"\n"
        );
        ratio("api", source, "http_requests_total", &format!("http_requests_total{{code=~\"{bad}\"}}")) + &histogram
    };
    let place = several(&[("app", &url)], &[specs("app", "500", "500ms")]);
    let server = place.start();
    pages_in(&place, &[&target], 2);
    // Counted by the rule of each time, or by the next one when nobody saw it by then.
    let mut counted = 0;
    let mut count_and_write = |write: &dyn Fn()| {
        for series in [OK, FAILED, BUSY] {
            target.count(series, 10);
        }
        counted += 10;
        buckets(100 + counted);
        write();
        let expected = 3 * counted;
        wait_in(&place, &format!("{expected} events, and as many observations"), || {
            let sum = |(good, bad)| good + bad;
            (sum(tally(&place, "api/r")), sum(tally(&place, "api/h"))) == (expected, counted)
        });
    };
    let story = |text: String| fs::write(place.path("specs/story0.toml"), text).expect("written");
    count_and_write(&|| ());
    count_and_write(&|| story(specs("app", "500|503", "500ms")));
    count_and_write(&|| story(specs("app", "500|503", "1s")));
    let records = || place.get("/api/v1/sources")["sources"][0]["records"].as_u64();
    let before = records();
    count_and_write(&|| {
        story(specs("renamed", "500|503", "1s"));
        write_sources(&place, &[("renamed", &url)]);
    });
    wait_in(&place, "the other name", || place.get("/api/v1/sources")["sources"][0]["source"] == "renamed");
    count_and_write(&|| ());
    assert!(place.words().contains("source renamed goes on where app was"), "{}", place.words());
    assert!(records() > before, "{before:?}, then {:?}", records());
    let before = records();
    assert!(server.stop().success());
    let _server = place.start();
    assert!(records() >= before, "{before:?}, then {:?}", records());
}

#[test]
fn what_gauges_showed_while_nobody_looked_is_a_gap_of_that_time() {
    let target = Target::new();
    target.show("up_g", 1);
    let story = slo("api", "app", "gauge", "metric = 'up_g'\ngood_when = \">= 1\"\nslice = \"1m\"\n");
    let place = several(&[("app", &target.url())], &[story]);
    let mut server = place.start();
    let gap = |reason: &str| {
        let source = source(&place);
        let gaps = source["gaps"].as_array().expect("a list").clone();
        let found = gaps.into_iter().find(|gap| gap["reason"] == reason)?;
        let time = |key: &str| DateTime::parse_from_rfc3339(found[key].as_str()?).ok();
        Some((time("from")?, time("to")?))
    };
    let last_page = || {
        let page = source(&place)["targets"][0]["last_page"].as_str().map(str::to_owned).expect("a page");
        DateTime::parse_from_rfc3339(&page).expect("a time")
    };
    let health = || source(&place)["targets"][0]["health"].as_str().map(str::to_owned);
    pages_in(&place, &[&target], 2);
    target.answer(Answer::Raw("HTTP/1.1 503 Busy".into(), Vec::new()));
    wait_in(&place, "the target to be down", || health().as_deref() == Some("down"));
    let last = last_page();
    let asked = target.asked();
    wait_in(&place, "more of it", || target.asked() >= asked + 2);
    target.answer(Answer::Page);
    wait_in(&place, "the gap", || gap("target_down").is_some());
    let (from, to) = gap("target_down").expect("seen");
    assert_eq!(from, last, "it begins with the last page before");
    assert!((to - from).num_milliseconds() >= 3_500, "{from} {to}");
    // While slogate itself is down nobody looks either.
    pages_in(&place, &[&target], 2);
    assert!(server.stop().success());
    // Time itself has to pass: more than two intervals in which nobody looks.
    thread::sleep(Duration::from_millis(3_000));
    server = place.start();
    wait_in(&place, "the other gap", || gap("unobserved").is_some());
    let (from, to) = gap("unobserved").expect("seen");
    assert!((to - from).num_milliseconds() >= 2_500, "{from} {to}");
    let (_, metrics) = server::converse(place.address, "GET", "/metrics", &[], None).expect("an answer");
    for line in [
        "slogate_scrape_errors_total{source=\"app\",reason=\"deadline\"} 0",
        "slogate_scrape_notes_total{source=\"app\",kind=\"scrape.vanished\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    drop(server);
}

/// What is said of the part of an SLO that no target shows.
fn unseen(place: &Place, slo: &str) -> Value {
    place.get(&format!("/api/v1/slos/{slo}"))["unseen"].clone()
}

#[test]
fn d09_a_part_that_no_target_shows_is_told_and_closes_no_gate() {
    let target = Target::new();
    target.count(OK, 100);
    let place = several(
        &[("app", &target.url())],
        &[ratio("api", "app", "http_requests_total", "http_requests_total{code=~\"5..\"}")],
    );
    let server = place.start();
    pages_in(&place, &[&target], 2);
    target.count(OK, 20);
    wait_for_tally(&place, "api/r", (20, 0));
    let said = unseen(&place, "api/r");
    let told = "no target shows a series that `bad` selects, so that no event counts as bad: \
                http_requests_total{code=~\"5..\"}; ";
    assert!(said["text"].as_str().expect("a text").starts_with(told), "{said:#}");
    assert_eq!((&said["key"], &said["last_seen"]), (&Value::from("bad"), &Value::Null));
    assert_eq!(source(&place)["unseen"], Value::from(vec![said]));
    let metric = || {
        let (_, metrics) = server::converse(place.address, "GET", "/metrics", &[], None).expect("an answer");
        let labels = "{story=\"api\",slo=\"r\",service=\"api\",key=\"bad\"}";
        let line = metrics.lines().find_map(|line| line.strip_prefix("slogate_slo_unseen")?.strip_prefix(labels));
        line.expect("a sample").trim().to_owned()
    };
    assert_eq!(metric(), "1");
    for of in [&["status"][..], &["status", "api"]] {
        let status = String::from_utf8(place.ask(of).stdout).expect("text");
        assert!(status.contains(&format!("\napi/r: {told}")), "{status}");
    }
    // In the log when it has been so for a while, once; and the gate stays open for longer than a source may be silent.
    wait_in(&place, "the warning", || place.words().contains(told));
    pages_in(&place, &[&target], 2);
    assert_eq!(place.words().matches(told).count(), 1, "{}", place.words());
    assert_eq!(place.gate("api").0, "open");

    // The first error brings its series along. Nothing proves that this was the first one; the next ones count.
    target.count(FAILED, 1);
    wait_in(&place, "the series", || unseen(&place, "api/r") == Value::Null);
    target.count(FAILED, 1);
    wait_for_tally(&place, "api/r", (20, 1));
    assert_eq!((unseen(&place, "api/r"), metric().as_str()), (Value::Null, "0"));
    // One that goes away is a gap, and is told as well: no more of it is counted.
    target.drop_series(FAILED);
    wait_in(&place, "the series to be missed", || unseen(&place, "api/r")["last_seen"].is_string());
    wait_in(&place, "the gap", || source(&place)["note_counts"]["scrape.vanished"] == 1);
    target.count(OK, 5);
    wait_for_tally(&place, "api/r", (25, 1));

    // What was told goes on by other specs, and by another name.
    let notes = || source(&place)["notes"].as_array().expect("a list").to_vec();
    let before = notes();
    assert!(before.iter().any(|note| note["kind"] == "scrape.vanished" && note["slo"] == "r"), "{before:#?}");
    let text = fs::read_to_string(place.path("specs/story0.toml")).expect("it is there");
    let first = "[[slo]]\nname = \"a\"\nobjective = 80.0\n[slo.ratio]\nsource = \"app\"\ntotal = 'http_requests_total'\n\
                 bad = 'none'\n[[slo]]\nname = \"z\"\nrenamed_from = \"r\"";
    let text = text.replacen("[[slo]]\nname = \"r\"", first, 1);
    fs::write(place.path("specs/story0.toml"), text).expect("written");
    wait_in(&place, "the other specs", || place.get("/api/v1/slos")["slos"][1]["slo"] == "z");
    let kept: Vec<_> = notes().into_iter().filter(|note| note["slo"] == "z").collect();
    assert_eq!(kept.len(), before.len(), "{kept:#?}");
    assert_eq!(source(&place)["note_counts"]["scrape.vanished"], 1);
    pages_in(&place, &[&target], 2);
    assert_eq!(source(&place)["note_counts"]["scrape.vanished"], 1);
    assert!(unseen(&place, "api/z")["last_seen"].is_string());
    assert!(server.stop().success());
}
