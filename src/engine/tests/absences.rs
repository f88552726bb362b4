//! What is made of the time in which nobody counted for an SLO.

use super::kept::{Server, changed};
use super::*;

/// As many SLOs as there are SLIs, of which only the first `named` are in the specs.
fn first_of(slis: &[Sli], named: usize) -> Arc<Catalog> {
    catalog(slis[..named].to_vec())
}

/// Two good records in each of some minutes before NOW, given as the first and the last.
fn traffic(server: &mut Server, first: i64, last: i64) {
    let events: Vec<_> = (last..=first).flat_map(|minutes| [(minutes_ago(minutes), true); 2]).collect();
    observe(&mut server.engine, &events);
}

#[test]
fn a_rate_that_is_named_later_is_not_judged_on_the_time_before() {
    let slis = [availability(), throughput(5)];
    let mut server = Server::start(first_of(&slis, 1), NOW);
    traffic(&mut server, 60, 0);
    assert_eq!(server.engine.tick(NOW)[ServiceId(0)].state.level, Level::Open);
    server.restart(first_of(&slis, 2), NOW);
    assert_eq!(server.tally(1, NOW), Tally::ZERO);
    assert_eq!(server.engine.tick(NOW)[ServiceId(0)].state.level, Level::Open);
    // 10:10 is the slice in which it is named, 10:15 the first whole one; that is silent, and 10:20 is not.
    let at = |minutes: i64| NOW.plus_millis(minutes * MILLIS_PER_MINUTE);
    assert_eq!(server.tally(1, at(8).plus_millis(-1)), Tally::ZERO);
    assert_eq!(server.tally(1, at(8)), Tally::new(0, 1));
    traffic(&mut server, -8, -8);
    for _ in 0..2 {
        assert_eq!(server.tally(1, at(13)), Tally::new(1, 1));
        server.restart(first_of(&slis, 2), at(13));
    }
    assert!(server.engine.tick(at(13))[SloId(1)].gaps.lost.is_none());
}

#[test]
fn a_rate_that_is_named_before_its_source_is_heard_counts_all_of_the_log() {
    let slis = [throughput(1)];
    let mut server = Server::start(first_of(&slis, 1), NOW);
    server.restart(first_of(&slis, 1), NOW);
    traffic(&mut server, 5, 5);
    traffic(&mut server, 3, 3);
    assert_eq!(server.tally(0, NOW), Tally::new(2, 3));
    server.restart(first_of(&slis, 1), NOW);
    assert_eq!(server.tally(0, NOW), Tally::new(2, 3));
}

#[test]
fn an_slo_that_was_gone_shows_the_hole_and_is_not_judged_in_it() {
    let slis = [availability(), throughput(1)];
    let both = first_of(&slis, 2);
    let mut server = Server::start(both.clone(), NOW);
    traffic(&mut server, 10, 0);
    assert_eq!(server.tally(1, NOW), Tally::new(10, 0));
    server.restart(first_of(&slis, 1), NOW);
    traffic(&mut server, -1, -5);
    let back = NOW.plus_millis(5 * MILLIS_PER_MINUTE);
    assert_eq!(server.tally(0, back), Tally::new(32, 0));
    // A second start without it changes nothing.
    server.restart(first_of(&slis, 1), back);
    server.restart(both.clone(), back);
    let later = NOW.plus_millis(7 * MILLIS_PER_MINUTE);
    let board = server.engine.tick(later);
    // Minute 6 is silent, and nothing is known of 0 to 5.
    assert_eq!(board[SloId(1)].standing.tally, Tally::new(10, 1));
    let gap = &board[SloId(1)].gaps.newest[0];
    assert_eq!((gap.from, gap.to), (NOW, back.plus_millis(MILLIS_PER_MINUTE - 1)));
    assert!(gap.text().ends_with("may be missing: no spec named the SLO"), "{}", gap.text());
    assert!(board[SloId(0)].gaps.lost.is_none() && board[SourceId(0)].gaps.lost.is_none());
    assert!(board[ServiceId(0)].reasons.iter().any(|reason| reason.kind() == "gap"));
    // As long as the window reaches back to it.
    let last = back.plus_millis((both.slos[1].window.minutes() - 1) * MILLIS_PER_MINUTE);
    assert!(server.engine.tick(last)[SloId(1)].gaps.lost.is_some());
    assert!(server.engine.tick(last.plus_millis(MILLIS_PER_MINUTE))[SloId(1)].gaps.lost.is_none());
    server.commit();
    let told: Vec<(String, String, Option<Level>)> = (server.audit().into_iter())
        .filter(|entry| matches!(entry.action, Action::Removed { .. } | Action::Returned { .. }))
        .map(|entry| (entry.action.name().to_owned(), entry.service, entry.before))
        .collect();
    let level = Some(Level::Open);
    assert_eq!(told, [("removed".into(), "api".into(), level), ("returned".into(), "api".into(), level)]);
}

#[test]
fn the_last_slo_of_a_service_does_not_go_and_come_back_unseen() {
    let before = catalog(vec![availability(), availability()]);
    let elsewhere = changed(&before, |catalog| {
        let policy = catalog.services[0].policy.clone();
        catalog.services.push(Service { name: "web".into(), policy, slos: vec![SloId(1)] });
        catalog.stories.push(Story { name: "home".into(), service: ServiceId(1), ..catalog.stories[0].clone() });
        catalog.stories[1].slos = vec![SloId(1)];
        (catalog.slos[1].story, catalog.stories[0].slos, catalog.services[0].slos) =
            (StoryId(1), vec![SloId(0)], vec![SloId(0)]);
    });
    let mut server = Server::start(elsewhere.clone(), NOW);
    traffic(&mut server, 10, 0);
    server.engine.tick(NOW);
    server.restart(catalog(vec![availability()]), NOW);
    server.restart(elsewhere, NOW.plus_millis(1_000));
    server.commit();
    let told = server.audit().into_iter().filter(|entry| entry.service == "web" && entry.by == SPECS);
    let told: Vec<&str> = told.map(|entry| entry.action.name()).collect();
    assert_eq!(told, ["removed", "returned"]);
    assert!(server.engine.tick(NOW.plus_millis(1_000))[SloId(1)].gaps.lost.is_some());
}

#[test]
fn a_window_that_grows_shows_what_was_refused_before() {
    let before = catalog(vec![availability()]);
    let mut server = Server::start(before.clone(), NOW);
    observe(&mut server.engine, &[(minutes_ago(LONGEST + 60), false), (NOW, true)]);
    let board = server.engine.tick(NOW);
    assert_eq!(board[SourceId(0)].rejected[&Rejection::Expired], 1);
    assert!(board[SloId(0)].gaps.lost.is_none());
    let longer = changed(&before, |catalog| catalog.slos[0].window = Horizon::of_minutes(40 * 1_440));
    server.restart(longer, NOW);
    let board = server.engine.tick(NOW);
    assert_eq!(board[SloId(0)].gaps.newest[0].to.minute(), minutes_ago(LONGEST + 60).minute());
    assert_eq!(board[SloId(0)].gaps.newest[0].reason, "expired");
    // What the present lacks as well is no reason not to look back.
    assert!(server.engine.board_at(NOW).is_ok());
}
