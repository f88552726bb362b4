use std::collections::BTreeMap;

use super::*;

/// A Friday, while requests are being made.
fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-20T16:06:30Z").unwrap()
}

fn traffic() -> Traffic {
    Traffic::new(28, now())
}

/// The records of so many minutes before `now`.
fn before_now(traffic: &Traffic, minutes: i64) -> Vec<Record> {
    (1..=minutes).rev().flat_map(|ago| traffic.minute(now().minute().plus(-ago))).collect()
}

#[test]
fn a_minute_is_the_same_every_time_and_another_for_every_seed() {
    let minute = now().minute();
    assert_eq!(traffic().minute(minute), traffic().minute(minute));
    assert_ne!(traffic().minute(minute), Traffic::new(29, now()).minute(minute));
    assert_ne!(traffic().minute(minute), traffic().minute(minute.plus(1)));
    // What happens is not changed by when the demo began, as long as nothing goes wrong.
    let later = Traffic::new(28, now().plus_millis(3_600_000));
    assert_eq!(traffic().minute(minute), later.minute(minute));
}

#[test]
fn records_are_in_order_and_within_their_minute() {
    let records = before_now(&traffic(), 300);
    assert!(records.is_sorted_by_key(|record| record.at));
    let minute = now().minute();
    assert!(traffic().minute(minute).iter().all(|record| record.at.minute() == minute));
}

#[test]
fn the_home_page_is_never_quiet() {
    for seed in 0..3 {
        let traffic = Traffic::new(seed, now());
        let slice = |number: i64| {
            let minutes = (0..5).map(|minute| now().minute().plus(-5 * number - minute));
            let is_home =
                |record: &Record| record.request.starts_with("GET / ") || record.request.starts_with("GET /?");
            minutes.map(|minute| traffic.minute(minute).iter().filter(|record| is_home(record)).count()).sum::<usize>()
        };
        // Two nights from Friday on, which are the quietest. 60 in a slice of 5 minutes are promised.
        let quiet = (0..3 * 288).filter(|number| slice(*number) < 60).count();
        assert!(quiet <= 4, "{quiet} slices of three days are too quiet");
    }
}

#[test]
fn days_and_weeks_have_a_rhythm() {
    let of = |text: &str| busy(Timestamp::parse_rfc3339(text).unwrap().minute());
    let (night, evening) = (of("2026-11-20T03:00:00Z"), of("2026-11-20T19:00:00Z"));
    assert_eq!((night, evening), (310 * 930 / 1_000, 1_560 * 930 / 1_000), "a Friday");
    assert_eq!(of("2026-11-22T19:00:00Z"), 1_560 * 1_100 / 1_000, "a Sunday");
    assert_eq!(of("1969-12-31T19:00:00Z"), 1_560 * 990 / 1_000, "a Wednesday");
    // In between it goes on evenly, also from one day to the next.
    assert_eq!(of("2026-11-20T19:30:00Z"), (1_450 + 1_413) / 2);
    let midnight = [of("2026-11-20T23:59:00Z"), of("2026-11-21T00:00:00Z")];
    assert!(midnight[0].abs_diff(midnight[1]) < 10, "{midnight:?}");
}

#[test]
fn a_day_has_something_of_everything() {
    let mut statuses: BTreeMap<u16, u32> = BTreeMap::new();
    let records = before_now(&traffic(), 2 * 24 * 60);
    records.iter().for_each(|record| *statuses.entry(record.status).or_default() += 1);
    for status in [200, 301, 302, 304, 400, 401, 404, 422, 429, 499] {
        assert!(statuses.contains_key(&status), "no {status} in {statuses:?}");
    }
    let failed: u32 = statuses.range(500..).map(|(_, count)| count).sum();
    assert!((1..records.len() as u32 / 2_000).contains(&failed), "{failed} of {} failed", records.len());
    let mut durations: Vec<u64> = records.iter().map(|record| record.duration_ms).collect();
    durations.sort_unstable();
    let at = |of_a_thousand: usize| durations[durations.len() * of_a_thousand / 1_000];
    assert!(at(500) < 60 && at(990) > 4 * at(500) && at(999) > 10 * at(500), "{} {} {}", at(500), at(990), at(999));
    let asks = |text: &str| records.iter().any(|record| record.request.contains(text));
    let paths = ["/search?q=", "/category/", "/product/1", "/avatar ", "/robots.txt", "/wp-login.php", "\\x16\\x03"];
    assert!(paths.iter().all(|path| asks(path)));
    assert!(records.iter().any(|record| record.client.is_ipv6()));
}

#[test]
fn the_incident_hits_its_service_for_its_time_and_nothing_else() {
    let traffic = traffic();
    let incident = traffic.incidents()[1].clone();
    assert_eq!(incident.service, "api");
    let minutes = (0..incident.minutes() as i64).flat_map(|minute| traffic.minute(incident.from.plus(minute)));
    let (hit, others): (Vec<Record>, _) = minutes.partition(|record| record.request.starts_with("GET /profile/"));
    let failed = |records: &[Record]| records.iter().filter(|record| record.status >= 500).count();
    assert!(failed(&hit) * 3 > hit.len() && failed(&hit) * 2 < hit.len(), "{} of {}", failed(&hit), hit.len());
    assert!(failed(&others) < 5, "{} of {}", failed(&others), others.len());
    let slow = hit.iter().filter(|record| record.status < 500 && record.duration_ms > 500).count();
    assert!(slow * 5 > hit.len() - failed(&hit), "{slow} of {} are slow", hit.len() - failed(&hit));
}
