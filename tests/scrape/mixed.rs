//! One story with a log and with metrics, a journey over both, and their gate.

use super::*;

#[test]
fn a_target_that_goes_away_leaves_nothing_sound_while_the_log_goes_on() {
    let target = Target::new();
    target.count(OK, 5);
    target.count(FAILED, 5);
    let place = mixed(&targets(&[&target]));
    let path = place.path("specs/slogate.toml");
    let engine = fs::read_to_string(&path).expect("written above");
    fs::write(&path, engine.replace("min_events", "stale_after = \"4s\"\nmin_events")).expect("written");
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    target.count(OK, 95);
    target.count(FAILED, 5);
    log_requests(&place, 38, 2);
    wait_for_tally(&place, "api/ratio", (95, 5));
    wait_for_tally(&place, "api/availability", (38, 2));
    let mut logged = 38;
    let mut log_one = || {
        log_requests(&place, 1, 0);
        logged += 1;
        logged
    };
    wait(&place, "an open gate", || log_one() > 0 && place.gate("api").0 == "open");

    target.answer(Answer::Raw("HTTP/1.1 503 Busy".into(), Vec::new()));
    wait(&place, "an unknown gate", || log_one() > 0 && place.gate("api").0 == "unknown");
    let gate = place.get("/api/v1/gates/api");
    assert_eq!((&gate["reasons"][0]["kind"], &gate["reasons"][0]["source"]), (&"source_stale".into(), &"app".into()));
    assert_eq!(gate["reasons"].as_array().map(Vec::len), Some(1), "{gate:#}");
    let evidence = |slo: &str| place.get(&format!("/api/v1/slos/api/{slo}"))["evidence"].clone();
    assert_eq!((evidence("ratio"), evidence("availability")), ("stale".into(), "ok".into()));
    // The log goes on, and what was counted of the metrics stays as it was.
    log_requests(&place, 1_000, 10);
    let logged = log_one() + 1_000;
    wait_for_tally(&place, "api/availability", (logged, 12));
    assert_eq!(tally(&place, "api/ratio"), (95, 5));
    let journey = place.get("/api/v1/journeys/buy");
    let compliance = journey["compliance"].as_f64().expect("a number");
    let (good, total) = (logged as f64 + 2.0 * 95.0, logged as f64 + 12.0 + 2.0 * 100.0);
    assert!((compliance - good / total).abs() < 1e-12, "{journey:#}");

    target.count(FAILED, 1);
    target.answer(Answer::Page);
    wait(&place, "an open gate again", || {
        log_requests(&place, 1, 0);
        place.gate("api").0 == "open"
    });
    wait_for_tally(&place, "api/ratio", (95, 6));
    assert_conserved(&place);
    drop(server);
}
