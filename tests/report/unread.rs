//! What a report says of SLOs that it has not read: those over metrics, and over other logs.

use crate::desk::{Desk, FORMAT, availability, bad, good};

/// Specs with a log and a scraped source.
fn engine() -> String {
    let log = format!("[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"access.log\"]\nnginx = '{FORMAT}'\n");
    // Nobody listens there, and nobody is asked.
    let metrics = "[[source]]\nname = \"app\"\n[source.scrape]\ntargets = [\"http://127.0.0.1:9/metrics\"]\n";
    format!("{log}{metrics}[gate]\non_unknown = \"deny\"\nmin_events = 1\n")
}

const RATIO: &str = "[[slo]]\nname = \"paid\"\nobjective = 99.0\n[slo.ratio]\nsource = \"app\"\n\
                     total = 'payments_total'\nbad = 'payments_total{outcome=\"error\"}'\n";
const JOURNEY: &str = "[journey]\nname = \"buy\"\nobjective = 90.0\naggregate = \"average\"\nstories = [\n\
                       { story = \"shop\", slo = \"availability\", weight = 1.0 },\n\
                       { story = \"pay\", slo = \"paid\", weight = 1.0 } ]\n";

fn desk() -> Desk {
    let desk = Desk::with_engine(&availability("availability", "90.0", "", ""), &engine());
    desk.write("slo-specs/pay.toml", format!("[story]\nname = \"pay\"\n{RATIO}"));
    desk.write("slo-specs/buy.toml", JOURNEY);
    desk
}

#[test]
fn metrics_spoil_no_report_of_logs_and_are_named_as_left_out() {
    let desk = desk();
    desk.write("access.log", good(0, 20));
    let told = desk.report(&["access.log"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    assert!(!told.stdout.contains("Story pay"), "{}", told.stdout);
    let left_out = "\nNot in this report of source lb\n  \
                    pay/paid of source app, which is scraped by `slogate serve`\n  \
                    gates not judged: pay\n  journeys without them: buy\n";
    assert!(told.stdout.ends_with(left_out), "{}", told.stdout);
    assert!(told.stdout.contains("met (in part)") && told.stdout.contains("not read"), "{}", told.stdout);
    let document = desk.document(&["access.log"]);
    let pay = document["stories"].as_array().expect("stories").iter().find(|story| story["story"] == "pay");
    let slo = &pay.expect("it is in the document")["slos"][0];
    assert_eq!((&slo["state"], &slo["evidence"]), (&"no_data".into(), &"none".into()));
}

#[test]
fn only_gates_that_the_logs_are_about_decide_what_a_pipeline_does() {
    let desk = desk();
    for (log, code) in [(good(0, 20), 0), (bad(0, 20), 1)] {
        desk.write("access.log", log);
        let told = desk.report(&["--fail-on-frozen", "access.log"]);
        let said = "the gate of pay is not judged here: none of its SLOs is over source `lb`\n";
        assert_eq!((told.code, told.stderr.as_str()), (Some(code), said));
    }
    // A story of both is judged by what was read of it, which the report says.
    desk.write("slo-specs/pay.toml", format!("[story]\nname = \"pay\"\nservice = \"shop\"\n{RATIO}"));
    desk.write("access.log", good(0, 20));
    let told = desk.report(&["--fail-on-frozen", "access.log"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    assert!(told.stdout.contains("\n  gates without them: shop\n"), "{}", told.stdout);
}

#[test]
fn a_report_that_judges_nobody_allows_nothing() {
    let desk = Desk::with_engine(RATIO, &engine());
    desk.write("access.log", good(0, 20));
    assert_eq!(desk.report(&["--fail-on-frozen", "access.log"]).code, Some(3));
    assert_eq!(desk.report(&["access.log"]).code, Some(0));
}
