//! Courses of alerts, found from the counts of the past, against sums that are made anew for every minute.

use super::*;
use crate::alert::Course;
use proptest::prelude::*;

const HOURS: usize = 100;

/// Hands over events that count for every SLO: the good and the bad ones of each minute, the last of which is the one
/// of `NOW`.
fn observe_minutes(engine: &mut Engine, minutes: &[(u32, u32)]) {
    let columns = columns(engine.catalog(), SourceId(0));
    let mut pages: Vec<Page> = Vec::new();
    let mut records = 0;
    for (ago, (good, bad)) in (0..).zip(minutes.iter().rev()) {
        let minute = NOW.minute().plus(-ago);
        if pages.last().is_none_or(|page| page.hour != minute.hour()) {
            pages.push(Page::new(minute.hour()));
        }
        let page = pages.last_mut().expect("there is a page now");
        for (index, column) in columns.iter().enumerate().filter(|(_, column)| **column != Column::Missing) {
            let (good, bad) = if *column == Column::Records { (good + bad, 0) } else { (*good, *bad) };
            set(page, index, minute.number().rem_euclid(60) as usize, good, bad);
        }
        records += u64::from(good + bad);
    }
    let (rejected, samples, unmatched, durations) = Default::default();
    let newest = vec![Some(NOW); columns.len()];
    let (source, truncated, unread_run) = (SourceId(0), 0, 0);
    engine.observe(Batch {
        source,
        pages,
        newest,
        rejected,
        truncated,
        records,
        unread_run,
        samples,
        unmatched,
        durations,
    });
}

fn rule(long: u32, short: u32, factor: u64) -> AlertRule {
    AlertRule {
        severity: Severity::Page,
        long: Horizon::of_minutes(long),
        short: Horizon::of_minutes(short),
        factor: Factor::new(factor, 10).unwrap(),
        hold_ms: 0,
    }
}

/// Whether a rule burnt at the end of a minute, by sums that know nothing of any other minute; of a window that saw
/// nothing by then, in one of up to `lag` minutes before.
fn burnt(engine: &Engine, (slo, lag): (SloId, i64), rule: &AlertRule, minute: Minute) -> bool {
    let end = |minute: Minute| if minute == NOW.minute() { NOW } else { minute.plus(1).start().plus_millis(-1) };
    let tally = |window| {
        let ends = (0..=lag).map(|ago| engine.tally_at(slo, window, end(minute.plus(-ago))));
        ends.into_iter().find(|tally| !tally.is_empty()).unwrap_or(Tally::ZERO)
    };
    alert::burns(rule, engine.catalog()[slo].objective, tally(rule.long), tally(rule.short))
}

/// What a minute of an hour sees: a rate of requests, and how many of ten of them are bad at most.
fn traffic() -> impl Strategy<Value = Vec<(u32, u32)>> {
    let minute = |(most, bad): (u32, u32)| (0..=most, 0..=bad).prop_map(|(all, bad)| (all * (10 - bad), all * bad));
    let hour = (prop_oneof![Just(0u32), 1..4u32, 1..40u32], prop_oneof![Just(0u32), 1..4u32, Just(10u32)]);
    let hour = hour.prop_flat_map(move |kind| proptest::collection::vec(minute(kind), 60));
    proptest::collection::vec(hour, 1..HOURS).prop_map(|hours| hours.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn every_minute_of_the_past_burnt_or_not_as_its_own_counts_say(minutes in traffic()) {
        let mut engine = engine(vec![availability(), percentile(5), percentile(7), throughput(5)]);
        observe_minutes(&mut engine, &minutes);
        let rules = [
            rule(60, 5, 20), rule(360, 30, 10), rule(1_440, 120, 5), rule(4_320, 360, 10), rule(90, 60, 1), rule(3, 1, 50),
        ];
        // Lines are a minute behind, and slices as long as they take.
        for (slo, lag) in [(SloId(0), 1), (SloId(1), 6), (SloId(2), 8), (SloId(3), 6)] {
            for rule in &rules {
                let mut burning = engine.burning(slo, rule, NOW);
                let oldest = NOW.minute().plus(-(minutes.len() as i64) - 200);
                for ago in 0..minutes.len() as i64 + 200 {
                    let minute = NOW.minute().plus(-ago);
                    prop_assert_eq!(burning.at(minute), burnt(&engine, (slo, lag), rule, minute), "{:?} {}", slo, ago);
                }
                let slowly = Course::of_past(rule, NOW, oldest, |minute| burnt(&engine, (slo, lag), rule, minute));
                prop_assert_eq!(Course::of_past(rule, NOW, oldest, |minute| burning.at(minute)), slowly);
            }
        }
    }
}

#[test]
fn an_alert_that_burns_for_weeks_is_found_where_it_began() {
    let mut engine = engine(vec![availability()]);
    let minutes = [vec![(3, 0); 10_000], vec![(1, 2); 20_000]].concat();
    observe_minutes(&mut engine, &minutes);
    // Two bad events in each of nine minutes are a tenth of the 180 that an hour sees.
    let found = engine.course_of_past(SloId(0), &rule(60, 5, 10), NOW);
    assert_eq!(found.since(), Some(minutes_ago(20_000 - 9).minute().start()));
}

fn logged() -> SourceKind {
    catalog(Vec::new()).sources[0].kind.clone()
}

/// An engine for one SLO over a source, with one rule.
fn alerting(source: SourceKind, rule: AlertRule) -> Engine {
    let mut catalog = catalog(vec![availability()]);
    let changed = Arc::get_mut(&mut catalog).unwrap();
    changed.sources[0].kind = source;
    changed.slos[0].alerts = vec![rule];
    let mut engine = Engine::new(catalog);
    engine.advance(NOW);
    engine
}

#[test]
fn d17_an_outage_burns_over_the_first_seconds_of_its_minutes_however_short_the_window() {
    let rule = AlertRule { hold_ms: 60_000, ..rule(3, 1, 50) };
    let mut engine = alerting(logged(), rule);
    let mut courses: Vec<(i64, &str)> = Vec::new();
    // Nothing is known of a minute in its first 20 seconds; from the fifth minute on there is nothing to know.
    for second in 0..400 {
        let now = NOW.plus_millis(second * 1_000);
        engine.advance(now);
        if second % 60 >= 20 && second < 300 {
            observe(&mut engine, &[(now, false)]);
        }
        let board = engine.tick(now);
        let alert = &board[SloId(0)].alerts[0];
        assert_eq!(alert.short.is_empty(), !(20..360).contains(&second), "it shows what it is judged by, at {second}");
        if courses.last().is_none_or(|(_, state)| *state != alert.course.state()) {
            courses.push((second, alert.course.state()));
        }
        // By the past alone, it burns from the beginning of its first minute on.
        let found = engine.course_of_past(SloId(0), &rule, now).state();
        let expected = if (60..80).contains(&second) { "firing" } else { alert.course.state() };
        assert_eq!(found, expected, "{second}");
    }
    assert_eq!(courses, [(0, "inactive"), (20, "pending"), (80, "firing"), (360, "resolved")]);
}

fn scraped(interval_s: u64, timeout_s: u64) -> SourceKind {
    SourceKind::Scrape(ScrapeSource {
        targets: Vec::new(),
        file_sd: Vec::new(),
        dns: Vec::new(),
        interval_ms: interval_s * 1_000,
        timeout_ms: timeout_s * 1_000,
        limits: ScrapeLimits { body_bytes: 1, samples: 1, labels: 1, label_bytes: 1 },
        ca_file: None,
        token: None,
        follow_redirects: false,
    })
}

#[test]
fn a_window_may_be_as_far_behind_as_its_source_is_by_design() {
    for (kind, sli, lag) in [
        (logged(), availability(), 1),
        (logged(), percentile(5), 6),
        (logged(), throughput(1), 2),
        (scraped(15, 10), availability(), 1),
        // A minute and its deadline may pass until the next page tells.
        (scraped(60, 10), availability(), 2),
        (scraped(300, 10), availability(), 6),
        (scraped(15, 10), percentile(1), 2),
    ] {
        let words = format!("{kind:?} {sli:?}");
        let mut catalog = catalog(vec![sli]);
        Arc::get_mut(&mut catalog).unwrap().sources[0].kind = kind;
        let mut engine = Engine::new(catalog);
        engine.advance(NOW);
        assert_eq!(engine.lag(SloId(0)), lag, "{words}");
    }
}

#[test]
fn a_window_shorter_than_the_time_between_scrapes_burns_until_the_next_one() {
    let mut engine = alerting(scraped(300, 10), rule(3, 1, 50));
    observe(&mut engine, &[(NOW, false)]);
    let burns = |engine: &mut Engine, second: i64| {
        engine.tick(NOW.plus_millis(second * 1_000))[SloId(0)].alerts[0].course.is_firing()
    };
    // The next page is there 310 seconds after the last one at most.
    assert_eq!([0, 60, 310, 419, 420].map(|second| burns(&mut engine, second)), [true, true, true, true, false]);
}
