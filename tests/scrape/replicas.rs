//! Counters that fall, alternate, are late, and targets that come and go.

use super::*;

fn note_count(place: &Place, kind: &str) -> u64 {
    source(place)["note_counts"][kind].as_u64().unwrap_or(0)
}

fn has_gap(place: &Place, reason: &str) -> bool {
    source(place)["gaps"].as_array().expect("a list").iter().any(|gap| gap["reason"] == reason)
}

/// What was counted of a target since it had counted `before`.
fn since(target: &Target, before: (u64, u64)) -> (u64, u64) {
    (target.counted(OK) - before.0, target.counted(FAILED) - before.1)
}

fn both(target: &Target) -> (u64, u64) {
    (target.counted(OK), target.counted(FAILED))
}

#[test]
fn d03_replicas_behind_one_address_are_not_counted_and_each_by_itself_is() {
    let (one, other, balancer) = (Target::new(), Target::new(), Target::new());
    for (target, events) in [(&one, 1_000), (&other, 50)] {
        target.restart(false);
        target.count(OK, events);
        target.count(FAILED, events / 10);
    }
    // The first page is of the one that has counted more, so that what follows is a fall.
    balancer.balance(&[&other, &one]);
    let place = place(&targets(&[&balancer]), RATIO);
    let server = place.start();
    wait(&place, "quarantine", || {
        one.count(OK, 1);
        note_count(&place, "scrape.flapping_counter") > 0
    });
    wait(&place, "a gap", || has_gap(&place, "flapping_counter"));
    // What looks like 1,000 new events at every other page is none.
    let counted = tally(&place, "api/ratio");
    assert!(counted.0 <= one.counted(OK) - 1_000 && counted.1 == 0, "{counted:?}");
    let (asked, quarantined) = (balancer.asked(), note_count(&place, "scrape.quarantined"));
    wait(&place, "more pages", || {
        other.count(FAILED, 5);
        balancer.asked() > asked + 4 && note_count(&place, "scrape.quarantined") > quarantined + 2
    });
    assert_eq!(tally(&place, "api/ratio"), counted);
    // As the note has it: scrape each replica.
    let advice = source(&place)["gaps"].as_array().expect("a list").iter().any(|gap| {
        gap["text"].as_str().is_some_and(|text| text.ends_with("it is several processes; scrape each of them"))
    });
    assert!(advice, "{:#}", source(&place));
    write_engine(&place, &targets(&[&one, &other]));
    wait(&place, "the replicas", || source(&place)["targets"].as_array().is_some_and(|list| list.len() == 2));
    wait_for_pages(&place, &[&one, &other]);
    let counted = tally(&place, "api/ratio");
    let before = [both(&one), both(&other)];
    one.count(OK, 30);
    other.count(FAILED, 2);
    let more = [since(&one, before[0]), since(&other, before[1])];
    wait_for_tally(&place, "api/ratio", (counted.0 + more[0].0 + more[1].0, counted.1 + more[0].1 + more[1].1));
    drop(server);
}

#[test]
fn d03_replicas_that_tell_when_they_began_are_told_apart_and_not_counted() {
    let (one, other, balancer) = (Target::new(), Target::new(), Target::new());
    one.count(OK, 1_000);
    // Starts within two seconds of each other, by whole seconds, may be one start, told in two ways.
    other.began_earlier_by(77_777);
    other.count(OK, 50);
    balancer.balance(&[&one, &other]);
    let place = place(&targets(&[&balancer]), RATIO);
    let server = place.start();
    wait(&place, "two processes", || {
        one.count(OK, 10);
        other.count(FAILED, 10);
        note_count(&place, "scrape.other_process") > 3
    });
    // The page after one of the same process counts; others cannot be compared.
    let (good, bad) = tally(&place, "api/ratio");
    assert!(good <= one.counted(OK) - 1_000 && bad <= other.counted(FAILED), "{good} {bad}");
    assert!(has_gap(&place, "other_process") || has_gap(&place, "flapping_counter"), "{:#}", source(&place));
    drop(server);
}

#[test]
fn d06_a_restart_that_nobody_saw_is_a_lower_bound_and_marked() {
    let target = Target::new();
    target.restart(false);
    target.count(OK, 500);
    target.count(FAILED, 20);
    let place = place(&targets(&[&target]), RATIO);
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    target.count(OK, 40);
    wait_for_tally(&place, "api/ratio", (40, 0));
    target.answer(Answer::Raw("HTTP/1.1 503 Busy".into(), Vec::new()));
    let failed = || source(&place)["scrape_errors"]["status"].as_u64().unwrap_or(0);
    wait(&place, "a gap", || failed() >= 3);
    // These nobody sees: the process ends before it shows them.
    target.count(OK, 7);
    target.restart(false);
    target.count(OK, 30);
    target.count(FAILED, 3);
    target.answer(Answer::Page);
    // What the new process counted is held back until no other fall has followed.
    wait_for_tally(&place, "api/ratio", (70, 3));
    assert!(has_gap(&place, "counter_reset_unobserved"), "{:#}", source(&place));
    let source = source(&place);
    let note =
        source["notes"].as_array().expect("a list").iter().find(|note| note["kind"] == "counter_reset_unobserved");
    let note = note.expect("a note");
    assert_eq!((&note["effect"], &note["slo"]), (&"lower_bound".into(), &"ratio".into()));
    target.count(OK, 1);
    wait_for_tally(&place, "api/ratio", (71, 3));
    assert_conserved(&place);
    drop(server);
}

#[test]
fn d05_what_was_counted_in_a_long_gap_is_exact_and_its_minutes_are_marked() {
    let target = Target::new();
    target.count(OK, 5);
    target.count(FAILED, 5);
    let place = place(&targets(&[&target]), RATIO);
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    target.answer(Answer::Raw("HTTP/1.1 503 Busy".into(), Vec::new()));
    wait(&place, "a gap", || source(&place)["scrape_errors"]["status"].as_u64() >= Some(4));
    target.count(OK, 1_001);
    target.count(FAILED, 13);
    target.answer(Answer::Page);
    wait_for_tally(&place, "api/ratio", (1_001, 13));
    let source = source(&place);
    let notes = source["notes"].as_array().expect("a list");
    let mark = notes.iter().rfind(|note| note["kind"] == "interpolated").unwrap_or_else(|| panic!("{source:#}"));
    assert!(source["note_counts"]["interpolated"].as_u64() >= Some(1), "{source:#}");
    assert_eq!((&mark["effect"], &mark["story"], &mark["slo"]), (&"exact".into(), &"api".into(), &"ratio".into()));
    let at = |key: &str| DateTime::parse_from_rfc3339(mark[key].as_str().expect("a time")).expect("a time");
    assert!((at("to") - at("from")).num_milliseconds() > 2_000, "{mark}");
    // Nothing is missing.
    assert_eq!(source["gaps_total"], 0, "{source:#}");
    drop(server);
}

#[test]
fn d17_a_target_that_answers_every_other_time_is_up_and_its_gate_stays() {
    let target = Target::new();
    target.count(OK, 5);
    target.count(FAILED, 5);
    let place = place(&targets(&[&target]), RATIO);
    let path = place.path("specs/slogate.toml");
    let engine = fs::read_to_string(&path).expect("written above");
    fs::write(&path, engine.replace("min_events", "stale_after = \"4s\"\nmin_events")).expect("written");
    let server = place.start();
    wait_for_pages(&place, &[&target]);
    target.count(OK, 100);
    wait(&place, "an open gate", || place.gate("api").0 == "open");
    let found = || source(&place)["targets"][0].clone();
    let (since, opened, asked) = (found()["since"].clone(), place.gate("api").1, target.asked());
    target.answer(Answer::EveryOther);
    wait(&place, "twelve scrapes", || {
        let (gate, found) = (place.gate("api"), found());
        assert_eq!((gate.0.as_str(), &gate.1), ("open", &opened), "{gate:?}");
        assert_eq!((&found["health"], &found["since"]), (&"up".into(), &since), "{found:#}");
        target.asked() >= asked + 12
    });
    assert!(source(&place)["scrape_errors"]["status"].as_u64() >= Some(4), "{:#}", source(&place));
    target.count(OK, 7);
    wait_for_tally(&place, "api/ratio", (107, 0));
    assert_eq!(place.gate("api").1, opened);
    drop(server);
}

#[test]
fn errors_are_counted_on_over_a_reload() {
    let (good, bad) = (Target::new(), bad_target(Answer::Raw("HTTP/1.1 500 Oops".into(), Vec::new())));
    good.count(OK, 5);
    let place = place(&targets(&[&good, &bad]), RATIO);
    let server = place.start();
    let failed = || source(&place)["scrape_errors"]["status"].as_u64();
    wait(&place, "errors", || failed() >= Some(3));
    let before = failed();
    fs::write(place.path("specs/api.toml"), RATIO.replace("90.0", "95.0")).expect("written");
    wait(&place, "the other objective", || place.get("/api/v1/slos/api/ratio")["objective"] == 0.95);
    // Before the first delivery of the new scraper there is no number, which is not a smaller one.
    wait(&place, "a number", || failed().is_some());
    assert!(failed() >= before, "{:?} after {before:?}", failed());
    wait(&place, "more errors", || failed() > before);
    drop(server);
}
