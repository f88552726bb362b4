//! What an engine hands on: through changed specs, wrong clocks and old age.

use super::*;
use crate::gate::Hold;
use crate::store::{Commit, Memory, Store, restore};

const DAY_MS: i64 = 86_400_000;

/// A store and the engine that goes on from it.
pub(super) struct Server {
    pub(super) store: Memory,
    pub(super) engine: Engine,
}

impl Server {
    pub(super) fn start(catalog: Arc<Catalog>, now: Timestamp) -> Self {
        let store = Memory::new();
        let engine = restore(&store, catalog, Horizon::DAYS_28, now).unwrap().0;
        Self { store, engine }
    }

    pub(super) fn commit(&mut self) -> Checkpoint {
        let checkpoint = self.engine.checkpoint();
        let commit = Commit { checkpoint: checkpoint.clone(), ..Commit::default() };
        self.store.commit(self.store.revision().unwrap() + 1, &commit).unwrap();
        checkpoint
    }

    /// Commits, and starts anew with these specs and this clock.
    pub(super) fn restart(&mut self, catalog: Arc<Catalog>, now: Timestamp) {
        self.commit();
        self.engine = restore(&self.store, catalog, Horizon::DAYS_28, now).unwrap().0;
    }

    pub(super) fn tally(&mut self, slo: usize, now: Timestamp) -> Tally {
        self.engine.tick(now)[SloId(slo)].standing.tally
    }

    pub(super) fn audit(&self) -> Vec<AuditEntry> {
        self.store.audit(0, 1_000, None).unwrap()
    }
}

pub(super) fn changed(catalog: &Arc<Catalog>, change: impl FnOnce(&mut Catalog)) -> Arc<Catalog> {
    let mut catalog = Catalog::clone(catalog);
    change(&mut catalog);
    Arc::new(catalog)
}

/// Two good events and a bad one, 20 days ago and now.
fn started(slis: Vec<Sli>) -> (Server, Arc<Catalog>) {
    let catalog = catalog(slis);
    let mut server = Server::start(catalog.clone(), NOW);
    observe(&mut server.engine, &[(minutes_ago(28_800), true), (minutes_ago(28_800), false), (NOW, true)]);
    assert_eq!(server.engine.tick(NOW)[SourceId(0)].accepted.total(), 3);
    (server, catalog)
}

#[test]
fn i03_a_promise_that_changes_keeps_the_counts_and_is_audited() {
    let (mut server, before) = started(vec![availability()]);
    let after = changed(&before, |catalog| catalog.slos[0].objective = Objective::new(500_000_000).unwrap());
    server.restart(after, NOW);
    let board = server.engine.tick(NOW);
    assert_eq!(board[SloId(0)].standing.tally, Tally::new(2, 1));
    assert_eq!(board[SloId(0)].standing.state().name(), "met");
    assert_eq!(server.engine.rules_changed(SloId(0)), None);
    server.commit();
    let entry = server.audit().into_iter().find(|entry| entry.action != Action::Level).unwrap();
    let (from, to) = ("90% over 28d".to_owned(), "50% over 28d".to_owned());
    assert_eq!(entry.action, Action::Promise { slo: "profile/availability0".into(), from, to });
    assert_eq!((entry.before, entry.after), (Some(Level::Frozen), Some(Level::Frozen)));
    assert_eq!((entry.by.as_str(), entry.cause.as_str()), (SPECS, "specs"));
    assert_eq!(entry.reason, "profile/availability0 promises 50% over 28d, and promised 90% over 28d");
}

#[test]
fn i03_a_policy_that_changes_and_an_slo_that_goes_are_audited_once() {
    let (mut server, before) = started(vec![availability(), availability()]);
    let looser = changed(&before, |catalog| catalog.services[0].policy.on_unknown = OnUnknown::Allow);
    server.restart(looser.clone(), NOW);
    server.engine.tick(NOW);
    let fewer = changed(&looser, |catalog| {
        drop((catalog.slos.pop(), catalog.stories[0].slos.pop(), catalog.services[0].slos.pop()));
    });
    for _ in 0..2 {
        server.restart(fewer.clone(), NOW);
        server.engine.tick(NOW);
    }
    server.commit();
    let entries = server.audit();
    let terms: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.action {
            Action::Terms { from, to } => Some((entry.by.as_str(), from.clone(), to.clone())),
            _ => None,
        })
        .collect();
    let [(by, from, to), (_, gone, nothing)] = &terms[..] else { panic!("{entries:?}") };
    assert_eq!(*by, SPECS);
    assert!(from.contains("denied when unknown") && to.contains("allowed when unknown"), "{from}; {to}");
    assert_eq!((gone.as_str(), nothing.as_str()), ("by profile/availability1", ""));
}

#[test]
fn i04_rules_that_change_leave_what_was_counted_and_say_since_when() {
    let (mut server, before) = started(vec![availability()]);
    let stricter = Sli::Availability { good: Statuses::range(100, 399), ignore: Statuses::NONE };
    let after = changed(&before, |catalog| catalog.slos[0].sli = stricter);
    let later = NOW.plus_millis(5_000);
    server.restart(after.clone(), later);
    assert_eq!(server.tally(0, later), Tally::new(2, 1));
    assert_eq!(server.engine.rules_changed(SloId(0)), Some(later));
    server.commit();
    let entries = server.audit();
    let rules: Vec<&AuditEntry> = entries.iter().filter(|entry| matches!(entry.action, Action::Rules { .. })).collect();
    assert_eq!(rules.len(), 1);
    assert!(matches!(&rules[0].action, Action::Rules { from, to, .. }
        if from == "availability of lb: ; good 100-499; ignored " && to == "availability of lb: ; good 100-399; ignored "));
    // The next start with the same rules is no change, and the old one is not forgotten.
    server.restart(after, NOW.plus_millis(9_000));
    assert_eq!(server.engine.rules_changed(SloId(0)), Some(later));
    assert!(server.engine.checkpoint().audit.is_empty());
}

#[test]
fn rules_that_changed_are_shown_while_the_window_reaches_back_to_them() {
    let (mut server, before) = started(vec![availability()]);
    let stricter = Sli::Availability { good: Statuses::range(100, 399), ignore: Statuses::NONE };
    server.restart(changed(&before, |catalog| catalog.slos[0].sli = stricter), NOW);
    let window_ms = before.slos[0].window.minutes() * MILLIS_PER_MINUTE;
    let last = NOW.plus_millis(window_ms).minute().start();
    assert_eq!(server.engine.board_at(NOW.plus_millis(-1)).unwrap()[SloId(0)].rules_changed, None);
    for (now, shown) in [(NOW, true), (last.plus_millis(-1), true), (last, false)] {
        assert_eq!(server.engine.tick(now)[SloId(0)].rules_changed, shown.then_some(NOW), "at {now}");
    }
}

#[test]
fn rules_that_change_before_anything_was_counted_are_no_change_of_counts() {
    let before = catalog(vec![availability()]);
    let mut server = Server::start(before.clone(), NOW);
    let after = changed(&before, |catalog| catalog.slos[0].sli = percentile(1));
    server.restart(after, NOW);
    assert_eq!(server.engine.rules_changed(SloId(0)), None);
}

#[test]
fn rules_are_the_same_however_they_are_written() {
    let pattern = |methods: &[&str], path: &str| Pattern {
        text: path.into(),
        methods: Methods::Named(methods.iter().map(|method| (*method).to_owned()).collect()),
        segments: vec![Segment::Literal(path.as_bytes().into()), Segment::Any],
    };
    let written = |patterns, hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| HostRule::Exact((*host).to_owned())).collect();
        changed(&catalog(vec![availability()]), |catalog| catalog.slos[0].requests = Some(Requests { patterns, hosts }))
    };
    let first = written(vec![pattern(&["GET", "HEAD"], "a"), pattern(&["GET"], "b")], &["x", "y"]);
    let same = written(vec![pattern(&["GET"], "b"), pattern(&["HEAD", "GET"], "a")], &["y", "x"]);
    let other = written(vec![pattern(&["GET"], "b")], &["y", "x"]);
    let mut server = Server::start(first, NOW);
    observe(&mut server.engine, &[(NOW, true)]);
    server.restart(same, NOW);
    assert_eq!(server.engine.rules_changed(SloId(0)), None);
    server.restart(other, NOW);
    assert_eq!(server.engine.rules_changed(SloId(0)), Some(NOW));
}

#[test]
fn how_slices_are_judged_is_a_promise_and_holds_for_the_past() {
    let (mut server, before) = started(vec![percentile(1)]);
    let now = NOW.plus_millis(3_600_000);
    assert_eq!(server.tally(0, now), Tally::new(2, 0));
    let stricter = Sli::Percentile {
        percentile: Percentile::new(99_000_000).unwrap(),
        threshold_us: 1,
        slice: Horizon::of_minutes(1),
    };
    server.restart(changed(&before, |catalog| catalog.slos[0].sli = stricter), now);
    assert_eq!(server.tally(0, now), Tally::new(1, 1));
    assert_eq!(server.engine.rules_changed(SloId(0)), None);
}

#[test]
fn i08_a_window_that_shrinks_and_grows_again_has_lost_nothing() {
    let (mut server, long) = started(vec![availability()]);
    let short = changed(&long, |catalog| catalog.slos[0].window = Horizon::of_minutes(7 * 1_440));
    server.restart(short, NOW);
    assert_eq!(server.tally(0, NOW), Tally::new(1, 0));
    server.restart(long.clone(), NOW);
    assert_eq!(server.tally(0, NOW), Tally::new(2, 1));
    // A window that becomes longer than any before finds what the shorter ones have left behind.
    let days_60 = changed(&long, |catalog| catalog.slos[0].window = Horizon::of_minutes(60 * 1_440));
    let later = NOW.plus_millis(30 * DAY_MS);
    server.restart(long, later);
    assert_eq!(server.tally(0, later), Tally::ZERO);
    server.restart(days_60, later);
    assert_eq!(server.tally(0, later), Tally::new(2, 1));
}

#[test]
fn a_name_that_is_gone_and_comes_back_finds_its_counts() {
    let (mut server, both) = started(vec![availability(), percentile(1)]);
    let one = catalog(vec![percentile(1)]);
    let renamed = changed(&one, |catalog| catalog.slos[0].name = "new".into());
    server.restart(renamed, NOW);
    assert_eq!(server.tally(0, NOW), Tally::ZERO);
    observe(&mut server.engine, &[(NOW, true)]);
    server.restart(both, NOW);
    assert_eq!(server.tally(0, NOW), Tally::new(2, 1));
    let records = server.engine.tick(NOW)[SourceId(0)].accepted;
    assert_eq!(records, Tally::new(4, 0));
}

#[test]
fn i09_numbers_are_never_given_to_two_names() {
    let (mut server, _) = started(vec![availability(), percentile(1)]);
    let renamed = changed(&catalog(vec![availability()]), |catalog| catalog.slos[0].name = "new".into());
    server.restart(renamed, NOW);
    server.commit();
    let series = server.store.load().unwrap().kept.series;
    let ids: BTreeSet<SeriesId> = series.iter().map(|series| series.id).collect();
    let names: BTreeSet<SeriesName> = series.iter().map(|series| series.name.clone()).collect();
    assert_eq!((series.len(), ids.len(), names.len()), (6, 6, 6));
}

#[test]
fn old_minutes_go_slowly_and_names_that_are_gone_go_with_the_last_of_them() {
    let (mut server, _) = started(vec![availability()]);
    let renamed = changed(&catalog(vec![availability()]), |catalog| catalog.slos[0].name = "new".into());
    server.restart(renamed, NOW);
    let later = NOW.plus_millis(57 * DAY_MS);
    server.engine.tick(later);
    let mut hours = 0;
    loop {
        server.engine.expire(3_600_000);
        hours += 1;
        let checkpoint = server.commit();
        if !checkpoint.forget.is_empty() {
            assert_eq!(checkpoint.forget, [SeriesId(0)]);
            break;
        }
        assert!(hours < 100, "they never go");
    }
    // Its counts begin 20 days before its last event, and a day's minutes go in an hour, beginning with the second.
    assert_eq!(hours, 22);
    let kept = server.store.load().unwrap().kept;
    assert!(kept.series.iter().all(|series| series.id != SeriesId(0)));
    // That of the records in the minute of NOW is as old, and has been deleted as well.
    assert_eq!(kept.earliest, None);
}

#[test]
fn an_engine_without_a_store_remembers_nothing_for_one() {
    let mut engine = engine(vec![availability()]);
    observe(&mut engine, &[(NOW, true)]);
    engine.tick(NOW);
    engine.expire(DAY_MS);
    assert!(engine.checkpoint().is_empty() && !engine.must_be_restored() && engine.uncommitted() == 0);
    assert_eq!(engine.rules_changed(SloId(0)), None);
}

#[test]
fn time_that_goes_on_never_asks_for_a_restore() {
    let (mut server, _) = started(vec![availability()]);
    for hour in 0..90 * 24 {
        let now = NOW.plus_millis(hour * 3_600_000);
        server.engine.tick(now);
        observe(&mut server.engine, &[(now.plus_millis(AHEAD_MS), true), (now, true)]);
        assert!(!server.engine.must_be_restored(), "after {hour} hours");
        // A clock that wavers is no reason, either.
        server.engine.tick(now.plus_millis(-90_000));
        assert!(!server.engine.must_be_restored() || now.minute().number().rem_euclid(1_440) < 2);
        server.engine.tick(now);
    }
}

/// Starts with the clock at `wrong_ms` from now, or lets it leap there, counts there if `counting`, and puts it right.
#[track_caller]
fn check_wrong_clock(wrong_ms: i64, counting: bool) {
    for at_the_start in [false, true] {
        let (mut server, catalog) = started(vec![availability(), percentile(5), throughput(1)]);
        let expected = server.engine.clone().tick(NOW);
        let wrong = NOW.plus_millis(wrong_ms);
        if at_the_start {
            server.restart(catalog.clone(), wrong);
        }
        assert_ne!(server.engine.tick(wrong)[ServiceId(0)].state.level, Level::Open);
        if counting {
            observe(&mut server.engine, &[(wrong, true)]);
        }
        server.commit();
        let mut board = server.engine.tick(NOW);
        if server.engine.must_be_restored() {
            server.restart(catalog, NOW);
            board = server.engine.tick(NOW);
        }
        assert!(!server.engine.must_be_restored());
        for slo in 0..3 {
            let (found, expected) = (board[SloId(slo)].standing, expected[SloId(slo)].standing);
            assert_eq!(found, expected, "SLO {slo} after {wrong_ms}, {at_the_start}");
        }
    }
}

#[test]
fn c11_a_clock_that_leaps_and_comes_back_loses_nothing() {
    for days in [40, 29, 365, 3_650] {
        check_wrong_clock(days * DAY_MS, false);
        check_wrong_clock(days * DAY_MS, true);
    }
}

#[test]
fn c12_a_clock_that_is_behind_and_is_put_right_loses_nothing() {
    for days in [40, 58, 3_650] {
        check_wrong_clock(-days * DAY_MS, false);
    }
}

#[test]
fn c11_nothing_is_deleted_in_a_hurry() {
    let (mut server, _) = started(vec![availability()]);
    server.commit();
    let leap = NOW.plus_millis(3_650 * DAY_MS);
    server.engine.tick(leap);
    for _ in 0..19 {
        server.engine.expire(3_600_000);
        server.commit();
    }
    // What was counted 20 days before the leap is gone, and what was counted on the day of it is not.
    assert_eq!(server.store.load().unwrap().kept.earliest, Some(NOW.minute()));
}

#[test]
fn every_order_and_every_change_of_level_is_audited() {
    let (mut server, catalog) = started(vec![availability()]);
    let order = |hold| Command { service: ServiceId(0), hold, by: "anna".into() };
    let (reason, until) = ("party".to_owned(), Some(NOW.plus_millis(60_000)));
    let freeze = Hold::Freeze { reason: reason.clone(), until, exempt: vec!["fix".into()] };
    server.engine.command(order(freeze), NOW.plus_millis(1)).unwrap();
    server.engine.command(order(Hold::Unfreeze { reason, until: None }), NOW.plus_millis(2)).unwrap();
    let refused = Hold::Unfreeze { reason: " ".into(), until: None };
    assert_eq!(server.engine.command(order(refused), NOW.plus_millis(3)).unwrap_err(), CommandError::NoReason);
    server.restart(catalog, NOW.plus_millis(4));
    // The budget recovers, and with it ends the order.
    let events: Vec<_> = (0..100).map(|_| (NOW, true)).collect();
    observe(&mut server.engine, &events);
    server.engine.tick(NOW.plus_millis(5));
    server.engine.tick(NOW.plus_millis(6));
    server.engine.tick(NOW.plus_millis(DAY_MS));
    server.commit();
    let entries = server.audit();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.by.as_str(), entry.action.name(), entry.before, entry.after, entry.cause.as_str()))
        .collect();
    let [open, guarded, unknown, frozen] = Level::ALL.map(Some);
    assert_eq!(
        told,
        [
            (ITSELF, "level", None, frozen, "budget_spent"),
            ("anna", "freeze", frozen, frozen, "order"),
            ("anna", "unfreeze", frozen, guarded, "order"),
            (ITSELF, "level", guarded, open, "order_ended"),
            (ITSELF, "level", open, unknown, "source_stale"),
        ]
    );
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(entries[0].reason, "profile/availability0 has spent 333% of its 28d error budget");
    assert_eq!((entries[1].reason.as_str(), entries[1].at), ("party", NOW.plus_millis(1)));
    assert_eq!(entries[1].action, Action::Freeze { until, exempt: vec!["fix".into()] });
}

#[test]
fn what_opens_a_gate_is_audited_in_words() {
    let mut server = Server::start(catalog(vec![availability()]), NOW);
    observe(&mut server.engine, &[(NOW, true)]);
    server.engine.tick(NOW);
    let until = Some(NOW.plus_millis(60_000));
    let hold = Hold::Freeze { reason: "party".into(), until, exempt: vec![] };
    server.engine.command(Command { service: ServiceId(0), hold, by: "anna".into() }, NOW).unwrap();
    server.engine.tick(NOW.plus_millis(60_000));
    observe(&mut server.engine, &[(NOW, false)]);
    server.engine.tick(NOW.plus_millis(60_001));
    observe(&mut server.engine, &(0..100).map(|_| (NOW, true)).collect::<Vec<_>>());
    server.engine.tick(NOW.plus_millis(60_002));
    let checkpoint = server.commit();
    let causes: Vec<_> = checkpoint.audit.iter().map(|entry| (entry.after.unwrap(), entry.cause.as_str())).collect();
    let (open, frozen) = (Level::Open, Level::Frozen);
    let expected =
        [(open, "started"), (frozen, "order"), (open, "order_ended"), (frozen, "budget_spent"), (open, "recovered")];
    assert_eq!(causes, expected);
    let ended = &checkpoint.audit[2];
    assert_eq!((ended.by.as_str(), ended.reason.as_str()), (ITSELF, "the order that held the gate has ended"));
}

#[test]
fn g31_what_people_write_has_a_limit() {
    let mut engine = engine(vec![availability()]);
    let freeze = |reason: usize, by: usize, exempt: usize| Command {
        service: ServiceId(0),
        hold: Hold::Freeze { reason: "r".repeat(reason), until: None, exempt: vec![String::new(); exempt] },
        by: "b".repeat(by),
    };
    assert!(engine.command(freeze(500, 400, 100), NOW).is_ok());
    for (reason, by, exempt) in [(1_001, 0, 0), (1, 1_000, 0), (1, 0, 1_000), (400, 400, 400)] {
        let refused = engine.command(freeze(reason, by, exempt), NOW).err();
        assert_eq!(refused, Some(CommandError::TooLong));
    }
}

/// Its SLO keeps what it counted, and the gate knows that nobody has been heard since.
#[test]
fn i05_an_slo_that_is_given_a_silent_source_is_no_sound_evidence() {
    let catalog = catalog(vec![availability()]);
    let mut server = Server::start(catalog.clone(), NOW);
    observe(&mut server.engine, &[(NOW, true); 20]);
    assert_eq!(server.engine.tick(NOW).gates[0].state.level, Level::Open);
    let moved = changed(&catalog, |catalog| catalog.sources[0].name = "other".into());
    for _ in 0..2 {
        server.restart(moved.clone(), NOW);
        let board = server.engine.tick(NOW);
        assert_eq!(board[SloId(0)].standing.tally, Tally::new(20, 0));
        assert_eq!((board[SourceId(0)].health, board[SloId(0)].evidence.name()), (Health::NeverHeard, "stale"));
        let gate = &board.gates[0];
        assert_eq!(
            (gate.state.level, gate.verdict(&catalog.services[0].policy, "feature").allow),
            (Level::Unknown, false)
        );
        let words = "source other was never heard; what its SLOs have counted is from before they were read from it";
        assert_eq!((gate.reasons[0].kind(), gate.reasons[0].text(&moved).as_str()), ("source_stale", words));
        assert_eq!(gate.reasons.len(), 1);
    }
    // The first line of it is enough: the counts are those of the same SLO.
    observe(&mut server.engine, &[(NOW, true)]);
    let board = server.engine.tick(NOW);
    assert_eq!((board.gates[0].state.level, board[SloId(0)].evidence), (Level::Open, Evidence::Ok));
}
