use super::*;
use crate::alert::Course;
use crate::spec::{AlertRule, Factor, Objective, Severity};
use crate::time::Horizon;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn policy() -> GatePolicy {
    GatePolicy {
        on_unknown: OnUnknown::Deny,
        frozen_below_billionths: 0,
        thaw_above_billionths: 50_000_000,
        guarded_below_billionths: 250_000_000,
        stale_after_ms: 600_000,
        min_events: 100,
        max_unparsed_billionths: 10_000_000,
        on_gap: OnGap::Show,
        exempt: vec!["fix".into(), "rollback".into()],
        freeze_on: None,
    }
}

/// An SLO of 90% that has seen `good` and `bad` events of a source that was heard `silent_ms` ago.
fn witness(slo: usize, good: u64, bad: u64, silent_ms: i64) -> Witness {
    let tally = Tally::new(good, bad);
    let standing = Standing { tally, objective: Objective::new(900_000_000).unwrap(), window: Horizon::DAYS_28 };
    let evidence = Evidence::of(&policy(), tally, Some(NOW.plus_millis(-silent_ms)), false, NOW);
    Witness { slo: SloId(slo), source: SourceId(0), standing, evidence, firing: None }
}

/// `used` of the 100 bad events that the budget allows.
fn spending(slo: usize, used: u64) -> Witness {
    witness(slo, 1_000 - used, used, 0)
}

fn kinds(decision: &Decision) -> Vec<&'static str> {
    decision.reasons.iter().map(Reason::kind).collect()
}

#[track_caller]
fn check(slos: &[Witness], before: Option<&GateState>, level: Level, reasons: &[&str]) -> GateState {
    let decision = decide(&policy(), slos, &[], before, NOW);
    assert_eq!((decision.state.level, kinds(&decision).as_slice()), (level, reasons));
    decision.state
}

fn freeze(until: Option<Timestamp>) -> Hold {
    Hold::Freeze { reason: "release party".into(), until, exempt: vec!["security".into()] }
}

fn unfreeze(until: Option<Timestamp>) -> Hold {
    Hold::Unfreeze { reason: "accepted by the owner".into(), until }
}

fn held(state: GateState, hold: Hold) -> GateState {
    GateState { hold: Some(hold), ..state }
}

#[test]
fn the_level_follows_the_remaining_budget_event_by_event() {
    for (used, level, reasons) in [
        (0, Level::Open, &[][..]),
        (75, Level::Open, &[]),
        (76, Level::Guarded, &["budget_low"]),
        (99, Level::Guarded, &["budget_low"]),
        (100, Level::Frozen, &["budget_spent"]),
        (112, Level::Frozen, &["budget_spent"]),
    ] {
        check(&[spending(0, 0), spending(1, used)], None, level, reasons);
    }
}

#[test]
fn thin_evidence_neither_freezes_nor_opens() {
    check(&[witness(0, 0, 99, 0)], None, Level::Unknown, &["thin_evidence"]);
    check(&[witness(0, 99, 0, 0)], None, Level::Unknown, &["thin_evidence"]);
    check(&[witness(0, 100, 0, 0)], None, Level::Open, &[]);
    check(&[witness(0, 0, 100, 0)], None, Level::Frozen, &["budget_spent"]);
    check(&[witness(0, 0, 99, 0), spending(1, 0)], None, Level::Open, &[]);
}

#[test]
fn g03_nothing_heard_is_unknown_not_open() {
    check(&[], None, Level::Unknown, &["no_evidence"]);
    check(&[witness(0, 0, 0, 0), witness(1, 0, 0, 0)], None, Level::Unknown, &["no_evidence", "no_evidence"]);
    let never_heard = Evidence::of(&policy(), Tally::ZERO, None, false, NOW);
    assert_eq!(never_heard, Evidence::None);
}

/// The counts of an SLO outlive its source: it was given another one, or the source another name.
#[test]
fn i05_counts_are_no_sound_evidence_while_their_source_was_never_heard() {
    let unheard = |witness: Witness, doubt: bool| Witness {
        evidence: Evidence::of(&policy(), witness.standing.tally, None, doubt, NOW),
        ..witness
    };
    for doubt in [false, true] {
        let slo = unheard(spending(0, 0), doubt);
        assert_eq!((slo.evidence, slo.evidence.name()), (Evidence::Stale { last_heard: None }, "stale"));
        check(&[slo], None, Level::Unknown, &["source_stale"]);
        // As with a source that went silent, one is enough.
        check(&[slo, spending(1, 0)], None, Level::Unknown, &["source_stale"]);
        check(&[unheard(spending(0, 100), doubt)], None, Level::Frozen, &["budget_spent"]);
    }
    // An SLO that is new, as its source is, does not hold the others.
    check(&[unheard(witness(0, 0, 0, 0), false), spending(1, 0)], None, Level::Open, &[]);
}

#[test]
fn a_source_is_stale_a_millisecond_after_its_time() {
    check(&[witness(0, 1_000, 0, 600_000)], None, Level::Open, &[]);
    check(&[witness(0, 1_000, 0, 600_001)], None, Level::Unknown, &["source_stale"]);
    // One stale source is named once, and is enough.
    let slos = [witness(0, 1_000, 0, 600_001), witness(1, 1_000, 0, 600_001), spending(2, 80)];
    check(&slos, None, Level::Unknown, &["source_stale"]);
}

#[test]
fn a_spent_budget_is_worse_than_a_silent_source() {
    check(&[witness(0, 800, 200, 600_001)], None, Level::Frozen, &["budget_spent"]);
    check(&[witness(0, 0, 99, 600_001)], None, Level::Unknown, &["source_stale"]);
}

#[test]
fn a_frozen_gate_opens_only_above_the_thaw_threshold() {
    let state = check(&[spending(0, 100)], None, Level::Frozen, &["budget_spent"]);
    let state = check(&[spending(0, 99)], Some(&state), Level::Frozen, &["not_recovered"]);
    let state = check(&[spending(0, 95)], Some(&state), Level::Frozen, &["not_recovered"]);
    let state = check(&[spending(0, 94)], Some(&state), Level::Guarded, &["budget_low"]);
    check(&[spending(0, 99)], Some(&state), Level::Guarded, &["budget_low"]);
}

#[test]
fn every_slo_must_recover_whoever_froze() {
    let state = check(&[spending(0, 100), spending(1, 97)], None, Level::Frozen, &["budget_spent"]);
    let state = check(&[spending(0, 10), spending(1, 97)], Some(&state), Level::Frozen, &["not_recovered"]);
    check(&[spending(0, 10), spending(1, 10)], Some(&state), Level::Open, &[]);
}

#[test]
fn quiet_is_not_recovery() {
    let frozen = check(&[spending(0, 100), spending(1, 0)], None, Level::Frozen, &["budget_spent"]);
    for quiet in [witness(0, 99, 0, 0), witness(0, 0, 0, 0), witness(0, 1_000, 0, 600_001), witness(0, 0, 0, 600_001)] {
        let state = check(&[quiet, spending(1, 0)], Some(&frozen), Level::Frozen, &["not_recovered"]);
        check(&[spending(0, 0), spending(1, 0)], Some(&state), Level::Open, &[]);
    }
}

#[test]
fn since_is_kept_while_the_level_is() {
    let first = decide(&policy(), &[spending(0, 100)], &[], None, NOW).state;
    let later = NOW.plus_millis(60_000);
    let second = decide(&policy(), &[spending(0, 120)], &[], Some(&first), later).state;
    assert_eq!((first.since, second.since), (NOW, NOW));
    let third = decide(&policy(), &[spending(0, 0)], &[], Some(&second), later).state;
    assert_eq!((third.level, third.since), (Level::Open, later));
}

#[test]
fn a_manual_freeze_beats_everything_and_ends_at_its_time() {
    let open = check(&[spending(0, 0)], None, Level::Open, &[]);
    check(&[spending(0, 0)], Some(&held(open.clone(), freeze(None))), Level::Frozen, &["manual_freeze"]);
    let soon = held(open.clone(), freeze(Some(NOW.plus_millis(1))));
    check(&[spending(0, 100)], Some(&soon), Level::Frozen, &["manual_freeze", "budget_spent"]);
    check(&[], Some(&soon), Level::Frozen, &["manual_freeze"]);
    let over = check(&[spending(0, 0)], Some(&held(open, freeze(Some(NOW)))), Level::Open, &[]);
    assert_eq!(over.hold, None);
}

#[test]
fn an_unfreeze_lasts_until_the_budget_has_recovered() {
    let frozen = check(&[spending(0, 120)], None, Level::Frozen, &["budget_spent"]);
    let unfrozen = held(frozen, unfreeze(None));
    let state = check(&[spending(0, 120)], Some(&unfrozen), Level::Guarded, &["budget_low", "unfrozen"]);
    let state = check(&[spending(0, 95)], Some(&state), Level::Guarded, &["budget_low", "unfrozen"]);
    let state = check(&[spending(0, 94)], Some(&state), Level::Guarded, &["budget_low"]);
    assert_eq!(state.hold, None);
    check(&[spending(0, 100)], Some(&state), Level::Frozen, &["budget_spent"]);
}

#[test]
fn an_unfreeze_ends_at_its_time() {
    let frozen = check(&[spending(0, 98), spending(1, 100)], None, Level::Frozen, &["budget_spent"]);
    let soon = held(frozen.clone(), unfreeze(Some(NOW.plus_millis(1))));
    check(&[spending(0, 0), spending(1, 100)], Some(&soon), Level::Guarded, &["budget_low", "unfrozen"]);
    let over = held(frozen, unfreeze(Some(NOW)));
    check(&[spending(0, 0), spending(1, 99)], Some(&over), Level::Frozen, &["not_recovered"]);
}

#[test]
fn an_unfreeze_of_an_open_gate_promises_nothing_for_later() {
    let open = held(check(&[spending(0, 0)], None, Level::Open, &[]), unfreeze(None));
    let state = check(&[spending(0, 0)], Some(&open), Level::Open, &[]);
    assert_eq!(state.hold, None);
    check(&[spending(0, 100)], Some(&state), Level::Frozen, &["budget_spent"]);
}

#[test]
fn an_unfreeze_does_not_make_up_for_missing_evidence() {
    let frozen = check(&[spending(0, 100)], None, Level::Frozen, &["budget_spent"]);
    let unfrozen = held(frozen, unfreeze(None));
    check(&[witness(0, 0, 100, 600_001)], Some(&unfrozen), Level::Unknown, &["source_stale", "unfrozen"]);
}

#[test]
fn kinds_of_change_pass_where_they_are_exempt() {
    let open = decide(&policy(), &[spending(0, 0)], &[], None, NOW);
    let guarded = decide(&policy(), &[spending(0, 80)], &[], None, NOW);
    let spent = decide(&policy(), &[spending(0, 100)], &[], None, NOW);
    let unknown = decide(&policy(), &[], &[], None, NOW);
    let manual = decide(&policy(), &[spending(0, 100)], &[], Some(&held(open.state.clone(), freeze(None))), NOW);
    let allow_unknown = GatePolicy { on_unknown: OnUnknown::Allow, ..policy() };
    for (decision, policy, change, allow, exception) in [
        (&open, policy(), "feature", true, None),
        (&guarded, policy(), "feature", true, None),
        (&spent, policy(), "feature", false, None),
        (&spent, policy(), "fix", true, Some("exempt")),
        (&spent, policy(), "Fix", false, None),
        (&spent, allow_unknown.clone(), "feature", false, None),
        (&unknown, policy(), "feature", false, None),
        (&unknown, policy(), "rollback", true, Some("exempt")),
        (&unknown, allow_unknown.clone(), "feature", true, Some("unknown_allowed")),
        (&manual, policy(), "feature", false, None),
        (&manual, policy(), "fix", false, None),
        (&manual, allow_unknown, "fix", false, None),
        (&manual, policy(), "security", true, Some("exempt")),
    ] {
        let verdict = decision.verdict(&policy, change);
        let found = (verdict.allow, verdict.exception.as_ref().map(Reason::kind));
        assert_eq!(found, (allow, exception), "{change} at {:?}", decision.state.level);
    }
}

/// A source with a doubt about it, and what of it is lost.
fn feed(doubt: Option<Doubt>, lost: Option<Lost>) -> Feed {
    Feed { source: SourceId(0), doubts: doubt.into_iter().collect(), unmeasured: Vec::new(), lost }
}

const LOST: Lost =
    Lost { gaps: 1, from: NOW.plus_millis(-7_200_000), to: NOW.plus_millis(-3_600_000), bytes: Some(12) };
const UNPARSED: Doubt = Doubt::Unparsed { unread: 120, records: 4_000 };

/// As the engine would see it while there is doubt about its source.
fn doubted(witness: Witness) -> Witness {
    Witness { evidence: Evidence::of(&policy(), witness.standing.tally, Some(NOW), true, NOW), ..witness }
}

#[track_caller]
fn check_feed(policy: &GatePolicy, slos: &[Witness], feed: Feed, before: Option<&GateState>) -> (Level, Vec<Reason>) {
    let decision = decide(policy, slos, &[feed], before, NOW);
    (decision.state.level, decision.reasons)
}

#[test]
fn b07_doubt_about_a_source_neither_opens_nor_guards_but_what_was_proved_freezes() {
    let reason = Reason::SourceDegraded { source: SourceId(0), doubt: UNPARSED };
    for (used, level, decides) in [(0, Level::Unknown, "source_degraded"), (80, Level::Unknown, "source_degraded")] {
        let (found, reasons) = check_feed(&policy(), &[doubted(spending(0, used))], feed(Some(UNPARSED), None), None);
        assert_eq!((found, reasons[0].kind(), reasons.len()), (level, decides, 1));
        assert_eq!((reasons[0].cause(), reasons[0].source()), (Some("unparsed"), Some(SourceId(0))));
    }
    let (level, reasons) = check_feed(&policy(), &[doubted(spending(0, 100))], feed(Some(UNPARSED), None), None);
    assert_eq!((level, reasons[0].kind(), &reasons[1..]), (Level::Frozen, "budget_spent", &[reason.clone()][..]));
    // And it does not thaw.
    let frozen = check(&[spending(0, 100)], None, Level::Frozen, &["budget_spent"]);
    let (level, reasons) = check_feed(&policy(), &[doubted(spending(0, 0))], feed(Some(UNPARSED), None), Some(&frozen));
    assert_eq!((level, reasons[0].kind(), &reasons[1..]), (Level::Frozen, "not_recovered", &[reason.clone()][..]));
    // A person has the last word in both directions; held off, there is still nothing sound to judge by.
    let held_off = held(frozen, unfreeze(None));
    let (level, reasons) =
        check_feed(&policy(), &[doubted(spending(0, 0))], feed(Some(UNPARSED), None), Some(&held_off));
    assert_eq!((level, &reasons[0]), (Level::Unknown, &reason));
}

#[test]
fn an_slo_that_cannot_be_measured_makes_the_gate_unknown_beside_sound_ones() {
    let since = NOW.plus_millis(-9_000_000);
    let measurement = |last: Option<Timestamp>| Measurement { since, last, why: Some("x_total at y: gone".into()) };
    for (last, name, text) in [
        (None, "none", "has been looked for since"),
        (Some(NOW.plus_millis(-600_001)), "stale", "was last measured at"),
    ] {
        let measurement = measurement(last);
        assert!(measurement.is_overdue(600_000, NOW) && !measurement.is_overdue(600_000, since));
        let evidence = spending(1, 0).evidence.unmeasured(&measurement);
        assert_eq!(evidence.name(), name);
        assert!(measurement.text("api/r").starts_with(&format!("api/r {text}")), "{}", measurement.text("api/r"));
        assert!(measurement.text("api/r").ends_with(": x_total at y: gone"));
        let slos = [spending(0, 0), Witness { evidence, ..spending(1, 0) }];
        let unmeasured = Feed { unmeasured: vec![(SloId(1), measurement)], ..feed(None, None) };
        let (level, reasons) = check_feed(&policy(), &slos, unmeasured.clone(), None);
        assert_eq!((level, reasons[0].kind(), reasons[0].slo()), (Level::Unknown, "not_measured", Some(SloId(1))));
        // What it has proved freezes, and does not thaw by itself.
        let spent = Witness { evidence, ..spending(1, 100) };
        assert_eq!(check_feed(&policy(), &[spent], unmeasured, None).0, Level::Frozen);
    }
    assert!(!measurement(Some(NOW.plus_millis(-600_000))).is_overdue(600_000, NOW));
    // A source that is silent as a whole is what there is to say.
    let stale = witness(0, 1_000, 0, 600_001).evidence;
    assert_eq!(stale.unmeasured(&measurement(None)), stale);
}

#[test]
fn a_gap_is_shown_and_decides_only_where_the_policy_says_so() {
    let gap = Reason::Gap { source: SourceId(0), lost: LOST };
    for (used, level) in [(0, Level::Open), (80, Level::Guarded), (100, Level::Frozen)] {
        let (found, reasons) = check_feed(&policy(), &[spending(0, used)], feed(None, Some(LOST)), None);
        assert_eq!((found, reasons.last()), (level, Some(&gap)));
    }
    let strict = GatePolicy { on_gap: OnGap::Unknown, ..policy() };
    for (used, level, reasons) in [(0, Level::Unknown, 1), (80, Level::Unknown, 1), (100, Level::Frozen, 2)] {
        let (found, told) = check_feed(&strict, &[spending(0, used)], feed(None, Some(LOST)), None);
        assert_eq!((found, told.len(), told.last()), (level, reasons, Some(&gap)));
    }
    assert_eq!(check_feed(&strict, &[spending(0, 0)], feed(None, None), None), (Level::Open, vec![]));
}

/// An SLO with half its budget left, of which an alert of this severity fires.
fn burning(severity: Severity) -> Witness {
    let hour = Tally::new(80, 20);
    let rule = AlertRule {
        severity,
        long: Horizon::of_minutes(60),
        short: Horizon::of_minutes(5),
        factor: Factor::new(3, 2).unwrap(),
        hold_ms: 0,
    };
    let course = Course::Firing { since: NOW, fired: NOW };
    Witness { firing: Some(AlertStanding { rule, long: hour, short: hour, course }), ..spending(0, 50) }
}

#[test]
fn an_alert_freezes_only_where_the_policy_says_so_and_only_while_it_fires() {
    let page = GatePolicy { freeze_on: Some(Severity::Page), ..policy() };
    let ticket = GatePolicy { freeze_on: Some(Severity::Ticket), ..policy() };
    for (policy, severity, level) in [
        (&policy(), Severity::Page, Level::Open),
        (&page, Severity::Page, Level::Frozen),
        (&page, Severity::Ticket, Level::Open),
        (&ticket, Severity::Page, Level::Frozen),
        (&ticket, Severity::Ticket, Level::Frozen),
    ] {
        let decision = decide(policy, &[burning(severity)], &[], None, NOW);
        assert_eq!(decision.state.level, level, "{:?} {severity:?}", policy.freeze_on);
        let after = decide(policy, &[spending(0, 50)], &[], Some(&decision.state), NOW);
        assert_eq!(after.state.level, Level::Open, "it opens with the end of the alert");
    }
    let frozen = decide(&page, &[burning(Severity::Page)], &[], None, NOW);
    assert_eq!(kinds(&frozen), ["burning"]);
    assert!(frozen.verdict(&page, "fix").allow && !frozen.verdict(&page, "feature").allow);
}

#[test]
fn an_alert_of_few_events_does_not_freeze() {
    let page = GatePolicy { freeze_on: Some(Severity::Page), ..policy() };
    let few = Witness { firing: burning(Severity::Page).firing, ..witness(0, 10, 1, 0) };
    let decision = decide(&page, &[few, spending(1, 0)], &[], None, NOW);
    assert_eq!(decision.state.level, Level::Open);
}

#[test]
fn an_unfreeze_holds_an_alerts_freeze_off_until_the_alert_is_over() {
    let page = GatePolicy { freeze_on: Some(Severity::Page), ..policy() };
    let frozen = decide(&page, &[burning(Severity::Page)], &[], None, NOW).state;
    let decision = decide(&page, &[burning(Severity::Page)], &[], Some(&held(frozen, unfreeze(None))), NOW);
    assert_eq!((decision.state.level, kinds(&decision).as_slice()), (Level::Open, &["unfrozen"][..]));
    let over = decide(&page, &[spending(0, 50)], &[], Some(&decision.state), NOW);
    assert_eq!((over.state.level, over.state.hold.clone()), (Level::Open, None));
    let again = decide(&page, &[burning(Severity::Page)], &[], Some(&over.state), NOW);
    assert_eq!(again.state.level, Level::Frozen, "the order has ended with the alert that it was for");
}

/// What somebody reads of a decision that is older than the end of an order in it.
#[test]
fn g13_an_old_decision_does_not_heed_an_unfreeze_that_has_ended() {
    let slos = [spending(0, 120)];
    let frozen = check(&slos, None, Level::Frozen, &["budget_spent"]);
    let until = NOW.plus_millis(1_000);
    let decided = decide(&policy(), &slos, &[], Some(&held(frozen.clone(), unfreeze(Some(until)))), NOW);
    assert_eq!((decided.state.level, kinds(&decided)), (Level::Guarded, vec!["budget_low", "unfrozen"]));
    assert_eq!(decided.lapsed(&policy(), &slos, until.plus_millis(-1)), None);
    let lapsed = decided.lapsed(&policy(), &slos, until).unwrap();
    assert_eq!((lapsed.state.level, lapsed.state.since, lapsed.until()), (Level::Frozen, until, None));
    assert_eq!(kinds(&lapsed), ["budget_spent", "budget_low"]);
    assert!(!lapsed.verdict(&policy(), "feature").allow && lapsed.verdict(&policy(), "fix").allow);
    // The next decision finds the same.
    let next = decide(&policy(), &slos, &[], Some(&decided.state), until);
    assert_eq!((next.state, next.reasons), (lapsed.state, vec![lapsed.reasons[0].clone()]));
    // Other orders are not ended by anybody but who decides.
    for hold in [unfreeze(None), freeze(Some(until))] {
        let decided = decide(&policy(), &slos, &[], Some(&held(frozen.clone(), hold)), NOW);
        assert_eq!(decided.lapsed(&policy(), &slos, until), None);
    }
}
