//! What is measured and cannot be read, and rules that change.

use super::*;

/// How the only measure of a target stands: when it was read last, in seconds, and why it was not since.
fn heard(target: &Target) -> (Option<i64>, String) {
    let (hearing, _) = target.hearing(0).unwrap();
    let last = hearing.last.map(|last| last.millis() / 1_000);
    (last, hearing.silence.as_ref().map(Silence::to_string).unwrap_or_default())
}

#[track_caller]
fn check_heard(pages: &[(&str, &str, Option<i64>, &str)]) -> Target {
    let mut target = Target::new(RULES, &[ratio(Part::Bad)], None);
    for (page, expected, last, silence) in pages {
        assert_eq!(words(&show(&mut target, page).unwrap().measures[0]), *expected, "{page}");
        let found = heard(&target);
        assert_eq!(found.0, *last, "{page}: {found:?}");
        assert!(found.1.contains(silence) && found.1.is_empty() == silence.is_empty(), "{page}: {found:?}");
    }
    target
}

fn gauge(series: &[(&str, f64)], second: i64, target: &mut Target) -> Increase {
    let mut scrape = target.begin(at(second)).unwrap();
    for (name, value) in series {
        let slot = scrape.slot(0, name.as_bytes(), Role::Both).unwrap();
        assert!(scrape.gauge(slot, *value));
    }
    scrape.finish().unwrap().measures.remove(0)
}

fn gauge_target() -> Target {
    Target::new(RULES, &[gauge_measure(">= 1")], None)
}

fn gauge_measure(condition: &str) -> Measure {
    let good_when = Condition::parse(condition).unwrap();
    let kind = MeasureKind::Gauge { good_when, slice: Horizon::of_minutes(1) };
    Measure { key: format!("api/up gauge {condition}"), formerly: vec![], kind }
}

fn spans(increase: &Increase) -> Vec<(&'static str, i64, i64)> {
    let seconds = |time: Timestamp| time.millis() / 1_000;
    increase.notes.iter().map(|note| (note.kind.name(), seconds(note.from), seconds(note.to))).collect()
}

#[test]
fn d09_series_that_are_all_gone_are_not_read() {
    let absent = "none of its series is on the page";
    let target = check_heard(&[
        ("0 2xx=9 5xx=1", "+0-0", Some(0), ""),
        ("15 5xx=2", "+1-0", Some(15), ""),
        ("30", "+0-0 scrape.vanished", Some(15), absent),
        ("45", "+0-0 scrape.vanished", Some(15), absent),
        ("60", "+0-0", Some(15), absent),
    ]);
    // After a restart of ours it is known when it was read last.
    let saved = target.save();
    let restored = Target::restore(RULES, &[ratio(Part::Bad)], &saved.directory, &saved.state).unwrap();
    assert_eq!(heard(&restored), (Some(15), String::new()));
    let mut never = Target::new(RULES, &[ratio(Part::Bad)], None);
    never.failed(at(7));
    show(&mut never, "15").unwrap();
    let (hearing, _) = never.hearing(0).unwrap();
    assert_eq!((hearing.since, hearing.last, hearing.silence.clone()), (Some(at(7)), None, Some(Silence::Absent)));
}

#[test]
fn a_process_that_has_begun_since_may_not_have_counted_yet() {
    let mut target = Target::new(RULES, &[ratio(Part::Bad)], None);
    let is_fresh = |target: &Target| target.hearing(0).unwrap().1;
    show(&mut target, "100 2xx=9 start=50").unwrap();
    show(&mut target, "115 start=50").unwrap();
    assert!(!is_fresh(&target));
    show(&mut target, "130 start=120").unwrap();
    assert!(is_fresh(&target));
    show(&mut target, "145 2xx=1 start=120").unwrap();
    assert!(!is_fresh(&target));
}

#[test]
fn d19_a_bound_that_vanishes_is_not_read() {
    let mut target = Target::new(
        RULES,
        &[Measure {
            key: "h".into(),
            formerly: vec![],
            kind: MeasureKind::Histogram { threshold: Bound::of_micros(500_000) },
        }],
        None,
    );
    let mut show = |second: i64, buckets: &[(&str, u64)]| {
        let mut scrape = target.begin(at(second)).unwrap();
        scrape.observations(0);
        for (bound, count) in buckets {
            let slot = scrape.slot(0, b"h", Role::Both).unwrap();
            scrape.bucket(slot, Bound::parse(bound).unwrap(), Ok(*count));
        }
        let increase = scrape.finish().unwrap().measures.remove(0);
        let effects: Vec<Effect> = increase.notes.iter().map(|note| note.kind.effect()).collect();
        (effects, heard(&target).0, heard(&target).1)
    };
    assert_eq!(show(0, &[("0.5", 5), ("+Inf", 5)]), (vec![], Some(0), String::new()));
    let (effects, last, why) = show(15, &[("0.4", 9), ("+Inf", 9)]);
    assert_eq!((effects, last), (vec![Effect::LowerBound], Some(0)));
    assert_eq!(why, "no bucket ends at 0.5; the bounds are 0.4, +Inf: h");
    let (_, last, why) = show(30, &[]);
    assert_eq!(last, Some(0));
    assert!(why.contains("native histograms"), "{why}");
}

#[test]
fn a_part_that_is_gone_holds_the_pair_until_it_is_back() {
    let gone = "the counters that tell good from bad are gone";
    let target = check_heard(&[
        ("0 ok=5 all=10", "+0-0", Some(0), ""),
        ("15 ok=6 all=20", "+9-1", Some(15), ""),
        ("30 all=30", "+0-0", Some(30), ""),
        ("45 all=40", "+0-0 scrape.vanished sli.torn:20", Some(30), gone),
        ("60 all=50", "+0-0 sli.torn:10", Some(30), gone),
    ]);
    // Also after a restart of ours.
    let saved = target.save();
    let target = Target::restore(RULES, &[ratio(Part::Bad)], &saved.directory, &saved.state).unwrap();
    check_on(
        target,
        &[
            ("75 all=60", "+0-0 sli.torn:10"),
            ("90 ok=7 all=70", "+0-0 scrape.rebased:7 sli.torn:10"),
            ("105 ok=8 all=80", "+9-1"),
        ],
    );
}

#[test]
fn a_part_that_a_fresh_process_has_not_counted_yet_is_zero() {
    // The start of the process proves it, or that the total began anew.
    check_heard(&[
        ("100 ok=5 all=10 start=50", "+0-0", Some(100), ""),
        ("115 all=4 start=110", "+0-0 counter_reset", Some(115), ""),
        ("130 all=6 start=110", "+6-0 scrape.vanished", Some(130), ""),
        ("145 all=9 start=110", "+3-0", Some(145), ""),
    ]);
    check_heard(&[
        ("0 ok=5 all=10", "+0-0", Some(0), ""),
        ("15 all=4", "+0-0 counter_reset_unobserved", Some(15), ""),
        ("30 all=5", "+0-0", Some(30), ""),
        ("45 all=6", "+0-0", Some(45), ""),
        ("60 all=7", "+0-0", Some(60), ""),
        ("75 all=8", "+8-0", Some(75), ""),
    ]);
    // One that was never there has counted nothing.
    check_heard(&[("0 all=10", "+0-0", Some(0), ""), ("15 all=14", "+4-0", Some(15), "")]);
}

#[test]
fn d09_a_gauge_that_is_gone_is_noted_once_and_when_it_is_back() {
    let mut target = gauge_target();
    assert_eq!(spans(&gauge(&[("up", 1.0)], 0, &mut target)), []);
    assert_eq!(spans(&gauge(&[], 15, &mut target)), []);
    assert_eq!(spans(&gauge(&[], 30, &mut target)), [("scrape.vanished", 0, 30)]);
    let saved = target.save();
    let mut target = Target::restore(RULES, &[gauge_measure(">= 1")], &saved.directory, &saved.state).unwrap();
    assert_eq!(spans(&gauge(&[], 45, &mut target)), []);
    assert_eq!(heard(&target).0, Some(0));
    assert_eq!(spans(&gauge(&[("up", 1.0)], 60, &mut target)), [("scrape.unobserved", 0, 60)]);
    assert_eq!(heard(&target), (Some(60), String::new()));
    let nan = gauge(&[("up", 1.0), ("other", f64::NAN)], 75, &mut target);
    assert_eq!((spans(&nan)[0].0, heard(&target)), ("scrape.bad_value", (Some(60), "other is NaN".to_owned())));
}

/// What a target that measured by `old` comes to when it is shown this page and measures by `new`.
fn rule_changed((old, before): (Measure, &[&str]), new: Measure) -> Target {
    let mut target = Target::new(RULES, &[old], None);
    before.iter().for_each(|page| drop(show(&mut target, page).unwrap()));
    let saved = target.save();
    Target::restore(RULES, &[new], &saved.directory, &saved.state).unwrap()
}

fn rule(name: &str, part: Part) -> Measure {
    Measure { key: name.into(), formerly: vec![], kind: MeasureKind::Ratio(part) }
}

#[test]
fn a_changed_rule_goes_on_from_the_last_readings_of_the_same_series() {
    let old = || (rule("api/r ratio 5xx", Part::Bad), &["0 2xx=1 5xx=10 5xy=100"][..]);
    let new = rule("api/r ratio 5xx|5xy", Part::Bad);
    check_on(rule_changed(old(), new.clone()), &[("15 2xx=3 5xx=20 5xy=200", "+110-2"), ("30 2xx=4 5xx=20", "+0-1")]);
    // What was not known under the old rule may have counted anything, and that is said.
    check_on(rule_changed(old(), new.clone()), &[("15 2xx=3 4xx=7", "+0-2 scrape.first_seen:7")]);
    // A renamed SLO goes on as well; what is new altogether begins.
    check_on(rule_changed(old(), rule("api/renamed ratio 5xx", Part::Bad)), &[("15 2xx=3 4xx=7", "+0-2")]);
    // And so does one that counts the other half.
    check_on(rule_changed(old(), rule("api/r ratio good", Part::Good)), &[("15 2xx=3 5xx=20", "+2-10")]);
}

#[test]
fn i05_a_measure_with_another_name_goes_on_where_it_was() {
    let renamed = |rule: Measure| Measure { formerly: vec!["api/r".into(), "api/older".into()], ..rule };
    // By the same rule everything goes on, also a restart that was not confirmed yet.
    let unconfirmed = ["0 2xx=9 5xx=9", "15 2xx=5 5xx=2", "30 2xx=6 5xx=2"];
    let old = rule("api/r ratio ok", Part::Good);
    let mut same = rule_changed((old.clone(), &unconfirmed), old.clone());
    let mut other = rule_changed((old, &unconfirmed), renamed(rule("web/r ratio ok", Part::Good)));
    for page in ["45 2xx=6 5xx=2", "60 2xx=6 5xx=2", "75 2xx=7 5xx=2", "90 2xx=9 5xx=9"] {
        let [same, other] = [&mut same, &mut other].map(|target| words(&show(target, page).unwrap().measures[0]));
        assert_eq!(other, same, "{page}");
    }
    // By another rule, as one that kept its name: what was not known under the old one is said to be.
    let other = renamed(rule("web/r ratio 5xx|5xy", Part::Bad));
    let before = (rule("api/older ratio 5xx", Part::Bad), &["0 2xx=1 5xx=10 5xy=100"][..]);
    check_on(rule_changed(before, other), &[("15 2xx=3 4xx=7", "+0-2 scrape.first_seen:7")]);
    // What it has under its own name counts, whatever was kept first.
    for (first, second, expected) in [("web/r", "api/r", "+0-2"), ("api/r", "web/r", "+0-0 scrape.first_seen:12")] {
        let measures = [first, second].map(|name| rule(&format!("{name} ratio 5xx"), Part::Bad));
        let mut target = Target::new(RULES, &measures, None);
        show(&mut target, "0 2xx=10").unwrap();
        let saved = target.save();
        let wanted = [renamed(rule("web/r ratio 5xx", Part::Bad))];
        let target = Target::restore(RULES, &wanted, &saved.directory, &saved.state).unwrap();
        check_on(target, &[("15 2xx=12", expected)]);
    }
}

#[test]
fn what_a_rule_held_back_is_counted_or_said_to_be_lost_when_it_changes() {
    let good = rule("api/r ratio ok", Part::Good);
    // A restart that was not confirmed yet: good by the old rule stays good.
    let unconfirmed = ["0 2xx=9 5xx=9", "15 2xx=5 5xx=2", "30 2xx=6 5xx=2", "45 2xx=6 5xx=2", "60 2xx=6 5xx=2"];
    let target = rule_changed((good.clone(), &unconfirmed), rule("api/r ratio bad", Part::Bad));
    check_on(target, &[("75 2xx=7 5xx=2", "+6-3")]);
    // Half of a pair.
    let target = rule_changed((good, &["0 ok=9 all=9", "15 all=20"]), rule("api/r ratio other", Part::Good));
    check_on(target, &[("30 ok=10 all=21", "+1-0 sli.torn:11")]);
}

#[test]
fn a_changed_threshold_or_condition_goes_on() {
    let histogram = |key: &str, threshold_us| {
        let kind = MeasureKind::Histogram { threshold: Bound::of_micros(threshold_us) };
        Measure { key: key.into(), formerly: vec![], kind }
    };
    let page = |target: &mut Target, second: i64, counts: [u64; 3]| {
        let mut scrape = target.begin(at(second)).unwrap();
        let slot = scrape.slot(0, b"h", Role::Both).unwrap();
        for (bound, count) in ["0.5", "1", "+Inf"].iter().zip(counts) {
            assert!(scrape.bucket(slot, Bound::parse(bound).unwrap(), Ok(count)));
        }
        words(&scrape.finish().unwrap().measures[0])
    };
    let mut target = Target::new(RULES, &[histogram("api/h histogram h 0.5", 500_000)], None);
    page(&mut target, 0, [5, 7, 9]);
    let saved = target.save();
    let new = histogram("api/h histogram h 1", 1_000_000);
    let mut target = Target::restore(RULES, &[new], &saved.directory, &saved.state).unwrap();
    assert_eq!(page(&mut target, 15, [6, 17, 20]), "+10-1");

    let mut target = gauge_target();
    gauge(&[("up", 1.0)], 50, &mut target);
    let saved = target.save();
    let mut target = Target::restore(RULES, &[gauge_measure("< 1")], &saved.directory, &saved.state).unwrap();
    // It was good by the rule by which it was seen.
    assert_eq!(gauge(&[("up", 1.0)], 65, &mut target).sum(), Tally::new(1, 0));
    assert_eq!(gauge(&[("up", 1.0)], 80, &mut target).sum(), Tally::ZERO);
    assert_eq!(gauge(&[("up", 1.0)], 125, &mut target).sum(), Tally::new(0, 1));
}
