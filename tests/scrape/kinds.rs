//! Every kind of SLI over metrics, and pages that are not as they should be.

use super::*;

const HISTOGRAMS: &str = r#"
[story]
name = "api"
service = "api"

[[slo]]
name = "plain"
objective = 90.0
[slo.histogram]
source = "app"
metric = 'took_seconds{route="/users/{id}"}'
threshold = "0.5"

[[slo]]
name = "exponent"
objective = 90.0
[slo.histogram]
source = "app"
metric = 'took_seconds{route="/users/{id}"}'
threshold = "5e-1"

[[slo]]
name = "duration"
objective = 90.0
[slo.histogram]
source = "app"
metric = 'took_seconds{route="/users/{id}"}'
threshold = "500ms"

[[slo]]
name = "between"
objective = 90.0
[slo.histogram]
source = "app"
metric = 'took_seconds{route="/users/{id}"}'
threshold = "400ms"
"#;

/// Observes so many durations within each bound of a target that spells its bounds in its own way.
fn observe(target: &Target, bounds: [&str; 3], [fast, slow, slowest]: [u64; 3]) {
    for (bound, within) in bounds.iter().zip([fast, fast + slow, fast + slow + slowest]) {
        target.count(&format!("took_seconds_bucket{{route=\"/users/{{id}}\",le=\"{bound}\"}}"), within);
        target.count(&format!("took_seconds_bucket{{route=\"/other\",le=\"{bound}\"}}"), 1_000);
    }
}

#[test]
fn histograms_count_by_a_bound_however_it_is_spelled_and_say_which_bounds_there_are() {
    const BOUNDS: [[&str; 3]; 3] = [["0.1", "0.5", "+Inf"], ["1e-1", "5e-1", "+Inf"], ["0.100", "0.50", "+Inf"]];
    let all: Vec<Target> = BOUNDS.iter().map(|_| Target::new()).collect();
    let observe_all =
        |counts: [u64; 3]| all.iter().zip(BOUNDS).for_each(|(target, bounds)| observe(target, bounds, counts));
    observe_all([10, 10, 10]);
    let place = place(&targets(&all.iter().collect::<Vec<_>>()), HISTOGRAMS);
    let server = place.start();
    wait_for_pages(&place, &all.iter().collect::<Vec<_>>());
    observe_all([7, 20, 3]);
    for slo in ["plain", "exponent", "duration"] {
        wait_for_tally(&place, &format!("api/{slo}"), (3 * 27, 3 * 3));
        assert_eq!(place.get(&format!("/api/v1/slos/api/{slo}"))["errors"], Value::Null);
    }
    let slo = place.get("/api/v1/slos/api/between");
    assert_eq!((&slo["state"], &slo["total"]), (&"no_data".into(), &0.into()));
    let errors = slo["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), all.len(), "{slo:#}");
    for target in &all {
        let error = errors.iter().find(|error| error["target"] == target.url()).expect("one of each target");
        let text = error["text"].as_str().expect("text");
        assert!(text.starts_with("no bucket ends at 0.4; the bounds are 0.1, 0.5, +Inf: "), "{text}");
    }
    let source = source(&place);
    let is_told = |note: &Value| {
        note["kind"] == "histogram.refused"
            && note["slo"] == "between"
            && note["example"].as_str().is_some_and(|text| text.contains("the bounds are 0.1, 0.5, +Inf"))
    };
    assert!(source["notes"].as_array().expect("a list").iter().any(is_told), "{source:#}");
    assert_conserved(&place);
    drop(server);
}

#[test]
fn native_histograms_are_refused_with_a_sentence() {
    let (text, protobuf) = (Target::new(), Target::new());
    // Where the text format is asked for, this is all that is left of a native histogram.
    text.count("took_seconds_bucket{route=\"/users/{id}\",le=\"+Inf\"}", 10);
    protobuf.answer(Answer::Raw(
        "HTTP/1.1 200 OK\nContent-Type: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
         encoding=delimited"
            .into(),
        vec![10, 3, b'u', b'p', 0],
    ));
    let place = place(&targets(&[&text, &protobuf]), HISTOGRAMS);
    let server = place.start();
    wait_for_pages(&place, &[&text]);
    wait(&place, "both", || source(&place)["scrape_errors"]["not_metrics"].as_u64() > Some(0));
    let errors = place.get("/api/v1/slos/api/plain")["errors"].clone();
    let told =
        "no bucket ends at 0.5; the only bound is +Inf, as where a native histogram is exposed, which is not read";
    assert!(errors[0]["text"].as_str().is_some_and(|text| text.starts_with(told)), "{errors:#}");
    let source = source(&place);
    let found = source["targets"].as_array().expect("a list").iter().find(|found| found["url"] == protobuf.url());
    let error = found.expect("a target")["error"].as_str().expect("an error").to_owned();
    assert_eq!(error, "this is no page of metrics: it is protobuf, which is not read (nor are native histograms)");
    drop(server);
}

#[test]
fn what_a_page_declares_to_be_no_counters_is_not_counted_as_buckets_and_noted_of_a_ratio() {
    let target = Target::new();
    let page = "# TYPE took_seconds gaugehistogram\ntook_seconds_bucket{route=\"/users/{id}\",le=\"0.5\"} 5\n\
                took_seconds_bucket{route=\"/users/{id}\",le=\"+Inf\"} 9\n\
                # TYPE http_requests_total gauge\nhttp_requests_total{code=\"200\"} 900\n# EOF\n";
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let head = format!("HTTP/1.1 200 OK\nContent-Type: {kind}\nContent-Length: {}", page.len());
    target.answer(Answer::Raw(head, page.into()));
    let place =
        place(&targets(&[&target]), &format!("{HISTOGRAMS}[[slo]]{}", RATIO.split_once("[[slo]]").expect("one").1));
    let server = place.start();
    wait(&place, "a page", || !source(&place)["notes"].as_array().expect("a list").is_empty());
    wait(&place, "errors", || place.get("/api/v1/slos/api/plain")["errors"].is_array());
    let error = place.get("/api/v1/slos/api/plain")["errors"][0]["text"].clone();
    assert!(error.as_str().is_some_and(|text| text.starts_with("its page declares a gauge histogram")), "{error:#}");
    let notes = source(&place)["notes"].clone();
    let noted = notes.as_array().expect("a list").iter().filter(|note| note["kind"] == "scrape.not_a_counter");
    let noted: Vec<&Value> = noted.map(|note| &note["slo"]).collect();
    assert_eq!(noted, ["ratio"], "{notes:#}");
    drop(server);
}

const GAUGE: &str = r#"
[story]
name = "api"
service = "api"

[[slo]]
name = "queue"
objective = 90.0
[slo.gauge]
source = "app"
metric = 'queue_age_seconds{queue=~"mail|push"}'
good_when = "< 60"
slice = "1m"
"#;

#[test]
fn gauges_are_judged_once_a_slice_by_what_they_showed_last() {
    let target = Target::new();
    let series = |queue: &str| format!("queue_age_seconds{{queue=\"{queue}\"}}");
    for (queue, age) in [("mail", 100), ("push", 100), ("none_of_ours", 100)] {
        target.show(&series(queue), age);
    }
    let place = place(&targets(&[&target]), GAUGE);
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    // Whatever the minute that is going on turns out to be, it is the last sample that decides.
    target.show(&series("mail"), 59);
    let until = Stopwatch::start();
    while tally(&place, "api/queue") == (0, 0) {
        assert!(until.elapsed_ms() < 90_000, "{:#}", source(&place));
        thread::sleep(GLANCE);
    }
    let (good, bad) = tally(&place, "api/queue");
    // The first minute may have ended between the first page and the second.
    assert!((good, bad) == (1, 1) || (good, bad) == (0, 2), "{good} {bad}");
    assert_conserved(&place);
    drop(server);
}

#[test]
fn d14_pages_that_end_too_early_or_are_no_text_are_refused_whole() {
    let target = Target::new();
    target.count(OK, 5);
    target.count(FAILED, 5);
    let place = place(&targets(&[&target]), RATIO);
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    assert!(target.last_request().contains(
        "accept: application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    ));
    let raw = |kind: &str, body: &[u8]| {
        let length = body.len();
        Answer::Raw(format!("HTTP/1.1 200 OK\nContent-Type: {kind}\nContent-Length: {length}"), body.to_vec())
    };
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let good =
        "# TYPE http_requests counter\nhttp_requests_total{code=\"200\"} 900\nhttp_requests_total{code=\"500\"} 900\n";
    for (answer, reason) in [
        (raw(OPEN_METRICS, good.as_bytes()), "torn"),
        (raw(OPEN_METRICS, format!("{good}# EOF\nmore_total 1\n").as_bytes()), "syntax"),
        (raw("text/plain", &[good.as_bytes(), b"x{y=\"\xff\"} 1\n"].concat()), "encoding"),
        (raw("text/plain; version=0.0.4", format!("{good}x 1 2 3\n").as_bytes()), "syntax"),
        (raw("application/openmetrics-text; version=2.0.0", good.as_bytes()), "not_metrics"),
    ] {
        let before = source(&place)["scrape_errors"][reason].as_u64().unwrap_or(0);
        target.answer(answer);
        wait(&place, reason, || source(&place)["scrape_errors"][reason].as_u64() > Some(before));
        assert_eq!(tally(&place, "api/ratio"), (0, 0), "{reason}");
    }
    target.answer(Answer::OpenMetrics);
    target.count(OK, 3);
    wait_for_tally(&place, "api/ratio", (3, 0));
    assert_conserved(&place);
    drop(server);
}
