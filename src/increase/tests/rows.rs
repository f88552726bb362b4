//! Counters that restart, vanish, alternate and lie.

use super::*;

const DUPLICATE: &str = "a second scrape within one interval is not counted";
const OUT_OF_ORDER: &str = "a scrape that began before the last one is not counted";

#[test]
fn increments_are_differences_and_the_first_page_is_none() {
    check(&[
        ("0 2xx=1000000 5xx=50", "+0-0"),
        ("15 2xx=1000010 5xx=50", "+10-0"),
        ("30 2xx=1000010 5xx=53", "+0-3"),
        ("45 2xx=1000010 5xx=53", "+0-0"),
    ]);
}

#[test]
fn bad_may_be_selected_instead_of_good() {
    let target = Target::new(RULES, &[ratio(Part::Bad)], None);
    check_on(target, &[("0 2xx=5 5xx=90", "+0-0"), ("15 2xx=7 5xx=100", "+10-2")]);
}

#[test]
fn d01_a_fall_is_a_restart_once_it_is_confirmed() {
    check(&[
        ("0 2xx=100", "+0-0"),
        ("15 2xx=7", "+0-0 counter_reset_unobserved"),
        ("30 2xx=8", "+0-0"),
        ("45 2xx=8", "+0-0"),
        ("60 2xx=8", "+0-0"),
        ("75 2xx=10", "+10-0"),
        ("90 2xx=11", "+1-0"),
    ]);
}

#[test]
fn d01_a_start_time_proves_a_restart_at_once() {
    check(&[
        ("100 2xx=100 start=5", "+0-0"),
        ("115 2xx=7 start=112", "+7-0 counter_reset"),
        ("130 2xx=9 start=112", "+2-0"),
    ]);
    check(&[("100 2xx@5=100", "+0-0"), ("115 2xx@112=7", "+7-0 counter_reset"), ("130 2xx@112=9", "+2-0")]);
}

#[test]
fn d01_a_restart_that_overtook_its_predecessor_waits_for_confirmation() {
    check(&[
        ("100 2xx@5=10", "+0-0"),
        ("115 2xx@112=70", "+0-0 counter_reset"),
        ("130 2xx@112=71", "+0-0"),
        ("145 2xx@112=71", "+0-0"),
        ("160 2xx@112=71", "+0-0"),
        ("175 2xx@112=71", "+71-0"),
    ]);
}

#[test]
fn a_created_time_that_moves_with_every_page_proves_nothing() {
    check(&[
        ("100 2xx@99=1000000", "+0-0"),
        ("115 2xx@114=1000001", "+0-0 counter_reset"),
        ("130 2xx@129=1000002", "+0-0 counter_reset"),
        ("145 2xx@144=1000003", "+0-0 counter_reset scrape.flapping_counter"),
        ("160 2xx@159=1000004", "+0-0 counter_reset scrape.quarantined"),
    ]);
}

#[test]
fn what_the_old_process_did_last_is_marked() {
    let mut target = Target::new(RULES, &[ratio(Part::Good)], None);
    show(&mut target, "100 2xx=100 start=5").unwrap();
    let outcome = show(&mut target, "115 2xx=7 start=112").unwrap();
    let note = &outcome.measures[0].notes[0];
    assert_eq!((note.kind, note.from, note.to), (NoteKind::Reset, at(100), at(112)));
    assert_eq!((note.series, note.example.as_str(), note.kind.effect()), (1, "2xx", Effect::LowerBound));
    let outcome = show(&mut target, "130 2xx=3").unwrap();
    let note = &outcome.measures[0].notes[0];
    assert_eq!((note.kind, note.from, note.to), (NoteKind::ResetUnobserved, at(115), at(130)));
}

#[test]
fn d02_the_scrape_that_began_first_wins() {
    check(&[
        ("0 2xx=100", "+0-0"),
        ("15 2xx=120", "+20-0"),
        ("15.001 2xx=119", DUPLICATE),
        ("14.999 2xx=118", OUT_OF_ORDER),
        ("15 2xx=118", OUT_OF_ORDER),
        ("22.499 2xx=130", DUPLICATE),
        ("30 2xx=140", "+20-0"),
        ("37.5 2xx=141", "+1-0"),
    ]);
}

#[test]
fn d02_a_counter_that_is_proven_to_be_the_same_has_not_restarted() {
    // A page from before, as a cache may give it.
    check(&[
        ("100 2xx@5=1000", "+0-0"),
        ("115 2xx@5=2000", "+1000-0"),
        ("130 2xx@5=1000", "+0-0 scrape.bad_value"),
        ("145 2xx@5=3000", "+1000-0"),
    ]);
    check(&[
        ("100 2xx#90=10", "+0-0"),
        ("115 2xx#105=20", "+10-0"),
        ("130 2xx#105=15", "+0-0 scrape.bad_value"),
        ("145 2xx#135=30", "+10-0"),
    ]);
}

#[test]
fn d02_a_sample_that_is_older_than_the_last_is_no_reset() {
    check(&[
        ("0 2xx#-5=100", "+0-0"),
        ("15 2xx#10=120", "+20-0"),
        ("30 2xx#9=118", "+0-0 scrape.bad_value"),
        ("45 2xx#40=125", "+5-0"),
        ("60 2xx#40=125", "+0-0"),
    ]);
}

#[test]
fn a_clock_that_is_set_back_costs_ten_pages_and_no_event() {
    let late: Vec<String> = (1..=10).map(|page| format!("{} 2xx={}", 1000 + page * 15, 100 + page)).collect();
    let mut pages = vec![("5000 2xx=100", "+0-0")];
    pages.extend(late[..9].iter().map(|page| (page.as_str(), OUT_OF_ORDER)));
    pages.extend([(late[9].as_str(), "+10-0"), ("1165 2xx=112", "+2-0")]);
    check(&pages);
}

#[test]
fn d03_replicas_that_alternate_are_never_counted() {
    check(&[
        ("0 2xx=100", "+0-0"),
        ("15 2xx=7", "+0-0 counter_reset_unobserved"),
        ("30 2xx=101", "+0-0"),
        ("45 2xx=8", "+0-0 counter_reset_unobserved"),
        ("60 2xx=102", "+0-0"),
        ("75 2xx=9", "+0-0 counter_reset_unobserved scrape.flapping_counter"),
        ("90 2xx=103", "+0-0 scrape.quarantined"),
        ("105 2xx=10", "+0-0 counter_reset_unobserved scrape.quarantined"),
    ]);
}

#[test]
fn d03_replicas_with_start_times_are_known_for_what_they_are() {
    check(&[
        ("1000 2xx=100 start=5", "+0-0"),
        ("1015 2xx=110 start=5", "+10-0"),
        ("1030 2xx=700 start=6.5", "+0-0 scrape.other_process:700"),
        ("1045 2xx=702 start=6.5", "+2-0"),
        ("1060 2xx=710 start=5", "+0-0 scrape.other_process:710"),
        ("1075 2xx=704 start=6.5", "+0-0 scrape.other_process:704 scrape.flapping_counter:12"),
    ]);
}

#[test]
fn d03_a_quarantine_ends_after_ten_calm_pages_with_a_fresh_baseline() {
    let mut target = Target::new(RULES, &[ratio(Part::Good)], None);
    for page in ["0 2xx=9", "15 2xx=1", "30 2xx=9", "45 2xx=1", "60 2xx=9", "75 2xx=1"] {
        assert_eq!(show(&mut target, page).unwrap().measures[0].sum(), Tally::ZERO);
    }
    for page in 0..10 {
        let outcome = show(&mut target, &format!("{} 2xx={}", 90 + 15 * page, 1000 * page)).unwrap();
        let expected = if page == 0 { "counter_reset_unobserved scrape.quarantined" } else { "scrape.quarantined" };
        // The first page falls once more, so that the calm begins with the second.
        assert_eq!(words(&outcome.measures[0]), format!("+0-0 {expected}"), "{page}");
    }
    check_on(
        target,
        &[
            ("240 2xx=20000", "+0-0 scrape.quarantined"),
            ("255 2xx=20007", "+7-0"),
            ("270 2xx=20008 5xx@265=2", "+1-2"),
            // What another series counted in the meantime is not the last minute's.
            ("285 2xx=20008 5xx@265=2 5xy@200=3", "+0-0 scrape.first_seen:3"),
        ],
    );
}

#[test]
fn d03_what_was_counted_before_the_flapping_was_seen_is_bounded() {
    let mut pages = vec![("0 2xx=100", "+0-0"), ("15 2xx=900", "+800-0")];
    pages.extend([
        ("30 2xx=101", "+0-0 counter_reset_unobserved"),
        ("45 2xx=901", "+0-0"),
        ("60 2xx=102", "+0-0 counter_reset_unobserved"),
        ("75 2xx=902", "+0-0"),
        ("90 2xx=103", "+0-0 counter_reset_unobserved scrape.flapping_counter:800"),
    ]);
    check(&pages);
}

#[test]
fn d03_proven_restarts_are_no_flapping() {
    let pages: Vec<String> =
        (0..9).map(|page| format!("{} 2xx=5 start={}", 1000 + page * 15, 999 + page * 15)).collect();
    let mut target = Target::new(RULES, &[ratio(Part::Good)], None);
    show(&mut target, "985 2xx=50 start=5").unwrap();
    for page in pages {
        // A value that does not fall is doubted, since nothing but the start time shows the restart.
        let outcome = show(&mut target, &page).unwrap();
        let fell = page.starts_with("1000 ");
        assert_eq!(outcome.measures[0].sum().good, if fell { 5 } else { 0 }, "{page}");
    }
    let mut target = Target::new(RULES, &[ratio(Part::Good)], None);
    show(&mut target, "985 2xx=50 start=5").unwrap();
    for page in 0..9 {
        let page = format!("{} 2xx={} start={}", 1000 + page * 15, 20 - page, 999 + page * 15);
        let outcome = show(&mut target, &page).unwrap();
        assert!(words(&outcome.measures[0]).ends_with("-0 counter_reset"), "{page}");
        assert!(outcome.measures[0].sum().good > 10, "{page}");
    }
}

#[test]
fn d04_d10_a_new_series_counts_from_zero_only_if_that_is_proven() {
    // Nothing proves anything.
    check(&[("0 2xx=100", "+0-0"), ("15 2xx=110 5xx=3", "+10-0 scrape.first_seen:3"), ("30 2xx=110 5xx=5", "+0-2")]);
    // A series that is created while it is watched.
    check(&[("100 2xx=100", "+0-0"), ("115 2xx=110 5xx@110=3", "+10-3"), ("130 2xx=110 5xx@110=5", "+0-2")]);
    // One that is older than the first page.
    check(&[("100 2xx=100", "+0-0"), ("115 2xx=110 5xx@99=3", "+10-0 scrape.first_seen:3")]);
    // The process is older than the first page.
    check(&[("100 2xx=1 start=9", "+0-0"), ("115 2xx=1 5xx=3 start=9", "+0-0 scrape.first_seen:3")]);
    // The process began while it was watched, and everything that it shows with it, whenever it first shows it.
    check(&[
        ("100 2xx=9 start=9", "+0-0"),
        ("115 2xx=5 start=112", "+5-0 counter_reset"),
        ("130 2xx=5 start=112", "+0-0"),
        ("145 2xx=5 5xx=3 start=112", "+0-3"),
    ]);
    // A series that begins at zero lacks nothing.
    check(&[("0 2xx=100", "+0-0"), ("15 2xx=110 5xx=0", "+10-0")]);
}

#[test]
fn d10_a_target_that_appears_while_it_would_have_been_watched_counts_from_its_beginning() {
    let target = Target::new(RULES, &[ratio(Part::Good)], Some(at(90)));
    let outcome_of = |page: &str| show(&mut target.clone(), page).map(|outcome| outcome.measures[0].clone()).unwrap();
    assert_eq!(words(&outcome_of("100 2xx=20 5xx=1 start=95")), "+20-1");
    assert_eq!(words(&outcome_of("100 2xx=20 5xx=1 start=85")), "+0-0");
    assert_eq!(words(&outcome_of("100 2xx=20 5xx=1")), "+0-0");
}

#[test]
fn d05_a_gap_of_an_hour_is_spread_over_its_minutes() {
    let mut target = Target::new(RULES, &[ratio(Part::Good)], None);
    show(&mut target, "600 2xx=0 5xx=0").unwrap();
    let increase = show(&mut target, "4200 2xx=540 5xx=60").unwrap().measures.remove(0);
    assert_eq!(words(&increase), "+540-60 interpolated");
    assert_eq!((increase.notes[0].from, increase.notes[0].to), (at(600), at(4200)));
    let minutes: Vec<i64> = increase.minutes.keys().map(|minute| minute.number()).collect();
    assert_eq!(minutes, (10..70).collect::<Vec<_>>());
    assert!(increase.minutes.values().all(|tally| *tally == Tally::new(9, 1)));
}

#[test]
fn d06_a_restart_inside_a_gap_is_a_lower_bound() {
    check(&[
        ("600 2xx=500", "+0-0"),
        ("4200 2xx=40", "+0-0 counter_reset_unobserved interpolated"),
        ("4215 2xx=41", "+0-0"),
        ("4230 2xx=42", "+0-0"),
        ("4245 2xx=43", "+0-0"),
        ("4260 2xx=44", "+44-0"),
    ]);
    // With a start time it is known which minutes the new process was counting in.
    let mut target = Target::new(RULES, &[ratio(Part::Good)], None);
    show(&mut target, "600 2xx=500 start=5").unwrap();
    let increase = show(&mut target, "4200 2xx=40 start=4080").unwrap().measures.remove(0);
    assert_eq!(words(&increase), "+40-0 counter_reset interpolated");
    assert_eq!(increase.minutes.keys().map(|minute| minute.number()).collect::<Vec<_>>(), [68, 69]);
}

#[test]
fn d07_a_bad_value_is_refused_and_the_reading_before_it_kept() {
    for value in ["NaN", "+inf", "-inf", "-1", "-0.0", "7.5", "1e308", "9007199254740994.0", "1e-300"] {
        let bad = format!("15 2xx={value} 5xx=3");
        check(&[("0 2xx=100 5xx=0", "+0-0"), (&bad, "+0-3 scrape.bad_value"), ("30 2xx=120 5xx=3", "+20-0")]);
    }
    // Written as an integer, a count is taken for what it says.
    check(&[
        ("0 2xx=9007199254740992", "+0-0"),
        ("15 2xx=9007199254740993", "+1-0 scrape.resolution"),
        ("30 2xx=18446744073709551615", "+18437736874454810622-0 scrape.resolution"),
    ]);
}

#[test]
fn d08_more_good_than_events_are_settled_against_the_next_page() {
    check(&[
        ("0 ok=0 all=0", "+0-0"),
        ("15 ok=10 all=9", "+9-0 sli.good_exceeds_total:1"),
        ("30 ok=15 all=15", "+6-0"),
        ("45 ok=15 all=17", "+0-2"),
    ]);
    // Selectors that never belonged together have no bad events, and no memory of it.
    check(&[
        ("0 ok=0 all=0", "+0-0"),
        ("15 ok=1000 all=1", "+1-0 sli.good_exceeds_total:999"),
        ("30 ok=1005 all=2", "+1-0 sli.good_exceeds_total:1003"),
        ("45 ok=1005 all=12", "+5-5"),
    ]);
}

#[test]
fn d09_a_series_that_comes_back_continues_or_has_restarted() {
    check(&[
        ("0 2xx=100 5xx=9", "+0-0"),
        ("15 2xx=101", "+1-0"),
        ("30 2xx=102 5xx=11", "+1-2"),
        ("45 2xx=102", "+0-0"),
        ("60 2xx=102", "+0-0 scrape.vanished"),
        ("75 2xx=102", "+0-0"),
        ("90 2xx=103 5xx=15", "+1-4"),
        ("105 2xx=103", "+0-0"),
        ("120 2xx=103", "+0-0 scrape.vanished"),
        ("135 2xx=104 5xx=1", "+0-0 counter_reset_unobserved"),
        ("150 2xx=104 5xx=1", "+0-0"),
        ("165 2xx=104 5xx=2", "+0-0"),
        ("180 2xx=104 5xx=2", "+0-0"),
        ("195 2xx=104 5xx=2", "+1-2"),
    ]);
}

#[test]
fn d10_a_part_that_a_new_process_shows_late_counts_from_zero() {
    let before = [("100 all=0 ok=0 start=5", "+0-0"), ("115 all=10 ok=0 start=5", "+0-10")];
    let after = |pages: &[(&'static str, &'static str)]| check(&[&before[..], pages].concat());
    after(&[
        ("130 all=5 start=120", "+0-0 counter_reset"),
        ("145 all=1005 ok=500 start=120", "+500-505 counter_reset"),
    ]);
    // A process that began while the page was asked for.
    after(&[("130 all=5 start=130.05", "+0-0 counter_reset"), ("145 all=15 start=130.05", "+0-15 scrape.vanished")]);
    after(&[("130 all=5 start=130.05", "+0-0 counter_reset"), ("145 all=15 ok=9 start=130.05", "+9-6 counter_reset")]);
    // A counter that says itself when it began.
    check(&[
        ("100 all=9 ok@5=9 start=5", "+0-0"),
        ("115 all=5 start=110", "+0-0 counter_reset"),
        ("130 all=15 ok@125=9 start=110", "+9-6 counter_reset"),
    ]);
    // However late.
    after(&[
        ("130 all=5 start=120", "+0-0 counter_reset"),
        ("145 all=15 start=120", "+0-15 scrape.vanished"),
        ("160 all=25 start=120", "+0-10"),
        ("175 all=35 start=120", "+0-10"),
        ("190 all=135 ok=90 start=120", "+90-10 counter_reset"),
        ("205 all=136 ok=91 start=120", "+1-0"),
    ]);
}

#[test]
fn d09_a_series_of_a_process_that_is_gone_is_gone_with_it() {
    check(&[
        ("100 2xx=50 5xx=9 start=5", "+0-0"),
        ("115 2xx=4 start=110", "+4-0 counter_reset"),
        ("130 2xx=6 start=110", "+2-0"),
        // Nine in the old process, and eleven in the new one: not two.
        ("145 2xx=6 5xx=11 start=110", "+0-11 counter_reset"),
    ]);
}

#[test]
fn good_and_total_of_different_counters_wait_for_each_other() {
    check(&[
        ("0 ok=100 all=110", "+0-0"),
        ("15 all=120", "+0-0"),
        ("30 ok=118 all=130", "+18-2"),
        ("45 ok=NaN all=140", "+0-0 scrape.bad_value"),
        ("60 ok=138 all=150", "+20-0"),
    ]);
    // What cannot be read for long is given up, for both.
    check(&[
        ("0 ok=100 all=110", "+0-0"),
        ("15 ok=NaN all=120", "+0-0 scrape.bad_value"),
        ("30 ok=NaN all=130", "+0-0 scrape.bad_value"),
        ("45 ok=NaN all=140", "+0-0 sli.torn:30 scrape.bad_value"),
        ("60 ok=140 all=150", "+0-0 scrape.rebased:140 sli.torn:10"),
        ("75 ok=145 all=160", "+5-5"),
    ]);
    // One that is no longer there leaves no pair: to count on would be errors that never happened.
    check(&[
        ("0 ok=100 all=110", "+0-0"),
        ("15 all=120", "+0-0"),
        ("30 all=121", "+0-0 scrape.vanished sli.torn:11"),
        ("45 all=122", "+0-0 sli.torn:1"),
        ("60 ok=110 all=123", "+0-0 scrape.rebased:110 sli.torn:1"),
        ("75 ok=111 all=125", "+1-1"),
    ]);
    // In a new process it has not counted yet.
    check(&[
        ("100 ok=100 all=110 start=5", "+0-0"),
        ("115 all=9 start=110", "+0-0 counter_reset"),
        ("130 all=10 start=110", "+0-10 scrape.vanished"),
        ("145 ok=1 all=12 start=110", "+1-1 counter_reset"),
    ]);
}

#[test]
fn half_a_restart_is_no_error() {
    // Good fell and the total did not: whether the total restarted as well, nobody knows.
    check(&[
        ("0 ok=9 all=10", "+0-0"),
        ("15 ok=5 all=12", "+0-0 counter_reset_unobserved sli.torn:2"),
        ("30 ok=6 all=13", "+0-0"),
        ("45 ok=6 all=13", "+0-0"),
        ("60 ok=6 all=13", "+0-0"),
        ("75 ok=6 all=14", "+1-1"),
    ]);
    check(&[
        ("0 ok=90 all=100", "+0-0"),
        ("15 ok=5 all=7", "+0-0 counter_reset_unobserved"),
        ("30 ok=5 all=7", "+0-0"),
        ("45 ok=5 all=7", "+0-0"),
        ("60 ok=5 all=7", "+0-0"),
        ("75 ok=5 all=7", "+5-2"),
    ]);
    check(&[
        ("0 ok=90 all=100", "+0-0"),
        ("15 ok=91 ok201=4 all=107", "+0-0 scrape.first_seen:4 sli.torn:7"),
        ("30 ok=91 ok201=6 all=109", "+2-0"),
    ]);
}

#[test]
fn a_start_time_that_trembles_is_of_the_same_process() {
    check(&[
        ("1000 2xx=100 start=500", "+0-0"),
        ("1015 2xx=101 start=501", "+1-0"),
        ("1030 2xx=102 start=499", "+1-0"),
    ]);
    // Another one, that was there before.
    check(&[("1000 2xx=100 start=500", "+0-0"), ("1015 2xx=101 start=501.5", "+0-0 scrape.other_process:101")]);
    check(&[("1000 2xx=100 start=500", "+0-0"), ("1015 2xx=101 start=503", "+0-0 scrape.other_process:101")]);
    // A start in the future proves nothing.
    check(&[("1000 2xx=100 start=500", "+0-0"), ("1015 2xx=101 start=9000", "+1-0")]);
}

#[test]
fn a_page_is_taken_as_a_whole_or_not_at_all() {
    let twice = "a series is on the page twice: 2xx";
    check(&[("0 2xx=100 5xx=1", "+0-0"), ("15 2xx=150 2xx=150 5xx=9", twice), ("30 2xx=160 5xx=2", "+60-1")]);
    let rules = Rules { most_series: 2, ..RULES };
    let target = Target::new(rules, &[ratio(Part::Good)], None);
    let many = "more than 2 series are selected; select fewer, or raise the limit";
    let mut target = check_on(
        target,
        &[
            ("0 2xx=100 5xx=1", "+0-0"),
            ("15 2xx=150 5xx=9 5xy=7", many),
            ("30 2xx=160 5xx=2", "+60-1"),
            ("45 2xx=160", "+0-0"),
            ("60 2xx=160", "+0-0 scrape.vanished"),
            // Room is made for it where a series is gone.
            ("75 2xx=161 5xy=3", "+1-0 scrape.first_seen:3"),
            ("90 2xx=161 5xy=4", "+0-1"),
        ],
    );
    assert_eq!(target.series(), 2);
    // What was dropped half way has left nothing.
    {
        let mut scrape = target.begin(at(105)).unwrap();
        let slot = scrape.slot(0, b"2xx", Role::Both).unwrap();
        scrape.counter(slot, Ok(5), None);
    }
    check_on(target, &[("105 2xx=162 5xy=4", "+1-0")]);
}

#[test]
fn a_slot_of_a_series_that_was_forgotten_is_refused() {
    let rules = Rules { most_series: 1, ..RULES };
    let mut target = Target::new(rules, &[ratio(Part::Good)], None);
    let mut scrape = target.begin(at(0)).unwrap();
    let old = scrape.slot(0, b"old", Role::Both).unwrap();
    assert!(scrape.counter(old, Ok(5), None));
    scrape.finish().unwrap();
    for second in [15, 30] {
        target.begin(at(second)).unwrap().finish().unwrap();
    }
    let mut scrape = target.begin(at(45)).unwrap();
    let new = scrape.slot(0, b"new", Role::Both).unwrap();
    assert!(!scrape.counter(old, Ok(5), None) && !scrape.created(old, at(1)));
    assert!(!scrape.bucket(new, Bound::INFINITE, Ok(1)) && !scrape.gauge(new, 1.0));
    assert!(scrape.counter(new, Ok(7), None));
    assert_eq!(words(&scrape.finish().unwrap().measures[0]), "+0-0 scrape.first_seen:7");
}

#[test]
fn a_series_that_is_forgotten_is_not_counted_twice() {
    let day = FORGET_AFTER_MS / 1000;
    let late = |second: i64, page: &str| format!("{} {page}", day + second);
    let target = check(&[
        ("100 2xx=2 start=50", "+0-0"),
        ("115 2xx=1 5xx=9 start=110", "+1-9 counter_reset"),
        ("130 2xx=1 start=110", "+0-0"),
        ("145 2xx=1 start=110", "+0-0 scrape.vanished"),
        (&late(130, "2xx=1 start=110"), "+0-0 interpolated"),
    ]);
    assert_eq!(target.series(), 1, "forgotten");
    // The process began while it was watched, but some of this was counted already.
    check_on(target, &[(&late(145, "2xx=1 5xx=12 start=110"), "+0-0 scrape.first_seen:12")]);
}

#[test]
fn times_that_are_none_are_refused() {
    let mut target = check(&[("0 2xx=1", "+0-0")]);
    for millis in [-1, i64::MIN, i64::MAX, 253_402_300_800_000] {
        let at = Timestamp::from_millis(millis);
        assert_eq!(target.begin(at).err(), Some(Ignored::NoTime(at)));
    }
}

#[test]
fn the_last_sample_of_a_slice_decides() {
    let gauge = MeasureKind::Gauge { good_when: Condition::parse(">= 1").unwrap(), slice: Horizon::of_minutes(1) };
    let mut target = Target::new(RULES, &[Measure { key: "up".into(), formerly: vec![], kind: gauge }], None);
    let mut show = |second: i64, samples: &[(&str, f64)]| {
        let mut scrape = target.begin(at(second)).unwrap();
        for (name, value) in samples {
            let slot = scrape.slot(0, name.as_bytes(), Role::Both).unwrap();
            assert!(scrape.gauge(slot, *value));
        }
        let increase = scrape.finish().unwrap().measures.remove(0);
        let minutes = increase.minutes.iter().map(|(minute, tally)| (minute.number(), tally.good, tally.bad));
        (minutes.collect::<Vec<_>>(), increase.notes.len())
    };
    assert_eq!(show(0, &[("a", 1.0), ("b", 0.0)]), (vec![], 0));
    assert_eq!(show(30, &[("a", 0.0), ("b", f64::NAN)]), (vec![], 1));
    assert_eq!(show(60, &[("a", 1.0)]), (vec![(0, 0, 2)], 1));
    // Nobody looked at b in the second minute, and at nothing in the third.
    assert_eq!(show(185, &[("b", f64::INFINITY)]), (vec![(1, 1, 0)], 1));
    let outcome = target.failed(at(240));
    assert_eq!((outcome.measures[0].sum(), outcome.health), (Tally::new(1, 0), None));
    assert_eq!(target.failed(at(255)).health, Some(false));
}
