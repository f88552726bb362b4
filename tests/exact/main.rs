//! *Exact*: for any events in any order and any instant, every number and every gate equals what a naive model gets
//! that keeps every event in a vector and adds it up.
//!
//! `SLOGATE_CASES` sets the number of cases. Seeds of failures are kept in `tests/proptest-regressions`.

#![allow(clippy::unwrap_used, reason = "a test may fail where it finds something wrong")]

mod model;
mod scenario;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};
use slogate::counts::Rejection;
use slogate::document::Status;
use slogate::engine::{Board, Command, Engine, NotKept};
use slogate::gate::Hold;
use slogate::spec::{JourneyId, ServiceId, SloId, SourceId};
use slogate::time::{Horizon, Timestamp};

use model::{AHEAD_MS, Gate, Model, Order, minute_of};
use scenario::{Event, LONGEST, SLOS, SOURCES, Scenario, Step, scenarios};

fn config() -> Config {
    let cases = std::env::var("SLOGATE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(500);
    let seeds = FileFailurePersistence::Direct("tests/proptest-regressions/exact.txt");
    Config { cases, failure_persistence: Some(Box::new(seeds)), ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_number_equals_that_of_the_naive_model(scenario in scenarios()) {
        Run::new(&scenario).play();
    }

    #[test]
    fn a_report_does_not_depend_on_the_order_of_its_batches(scenario in scenarios(), turn in 0..1_000usize) {
        report(&scenario, turn);
    }
}

/// The engine and the model side by side.
struct Run<'a> {
    scenario: &'a Scenario,
    engine: Engine,
    model: Model<'a>,
    now: i64,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let kept = Horizon::of_minutes(LONGEST as u32 + scenario.kept_more);
        let engine = Engine::keeping(scenario.catalog(), kept);
        Self { scenario, engine, model: Model::new(scenario), now: scenario.start_ms }
    }

    fn play(&mut self) {
        self.tick();
        for step in &self.scenario.steps {
            match step {
                Step::Events(plans, batches) => {
                    let events: Vec<Event> = plans.iter().flat_map(|plan| plan.events(self.now)).collect();
                    self.observe(&events, *batches);
                    self.tick();
                }
                Step::Wait(ms) => {
                    self.now += ms;
                    self.tick();
                }
                Step::LookBack(ms) => self.look_back(self.now - ms),
                Step::Order { service, freeze, until_ms } => self.order(*service, *freeze, *until_ms),
            }
        }
        self.look_back(self.now);
    }

    fn observe(&mut self, events: &[Event], batches: usize) {
        self.engine.advance(Timestamp::from_millis(self.now));
        let latest = minute_of(self.now + AHEAD_MS);
        for events in events.chunks(events.len().div_ceil(batches)) {
            for source in 0..SOURCES {
                let events: Vec<Event> = events.iter().filter(|event| event.source == source).cloned().collect();
                self.engine.observe(self.scenario.batch(self.engine.catalog(), source, &events, latest));
            }
        }
        for event in events {
            self.model.observe(event, self.now);
        }
    }

    fn tick(&mut self) {
        let board = self.engine.tick(Timestamp::from_millis(self.now));
        self.check_present(&board);
    }

    fn order(&mut self, service: usize, freeze: bool, until_ms: Option<i64>) {
        let until = until_ms.map(|ms| Timestamp::from_millis(self.now + ms));
        let reason = "because".to_owned();
        let hold = match freeze {
            true => Hold::Freeze { reason, until, exempt: vec!["security".into()] },
            false => Hold::Unfreeze { reason, until },
        };
        let command = Command { service: ServiceId(service), hold, by: "anna".into() };
        match self.engine.command(command, Timestamp::from_millis(self.now)) {
            Ok(board) => {
                let until_ms = until_ms.map(|ms| self.now + ms);
                self.model.gates[service].order = Some(Order { freeze, until_ms });
                self.check_present(&board);
            }
            Err(_) => assert_eq!(until_ms, Some(0)),
        }
    }

    fn check_present(&mut self, board: &Board) {
        let gates: Vec<Gate> =
            (0..2).map(|service| self.model.decide(service, &self.model.gates[service], self.now)).collect();
        self.model.gates = gates;
        check_counts(board, &self.model, self.now);
        check_gates(board, &self.model, &self.model.gates, self.now);
        check_sources(board, &self.model, self.now);
    }

    fn look_back(&self, t: i64) {
        let kept = minute_of(self.now) - (LONGEST + i64::from(self.scenario.kept_more)) + 1;
        let first = self.model.looks_back_to(kept, self.now);
        match self.engine.board_at(Timestamp::from_millis(t)) {
            Ok(board) => {
                assert!(minute_of(t) >= first, "{t} is not kept");
                let gates: Vec<Gate> = (0..2).map(|service| self.model.decide(service, &Gate::default(), t)).collect();
                check_counts(&board, &self.model, t);
                check_gates(&board, &self.model, &gates, t);
            }
            Err(NotKept::Past(from)) => {
                assert!(minute_of(t) < first, "{t} is kept");
                assert_eq!(from.millis(), first * scenario::MINUTE_MS);
                assert!(self.engine.board_at(from).is_ok() || from > self.engine.now());
            }
            Err(refused) => panic!("{t} is not later than {}: {refused}", self.now),
        }
    }
}

fn check_counts(board: &Board, model: &Model<'_>, t: i64) {
    assert_eq!(board.at.millis(), t);
    for slo in 0..SLOS {
        let (plan, found) = (&model.scenario.slos[slo], &board[SloId(slo)]);
        let count = model.count(slo, plan.window.into(), t);
        let standing = found.standing;
        assert_eq!((standing.tally.good, standing.tally.bad), (count.good, count.bad), "tally of SLO {slo} at {t}");
        let (state, remaining, _) = model::meaning(count.error(), plan.objective);
        assert_eq!((standing.state().name(), standing.remaining()), (state, remaining.value()), "SLO {slo} at {t}");
        let budget = 1_000_000_000 - i128::from(plan.objective);
        let allowed = model::Ratio(i128::from(count.total()) * budget, 1_000_000_000);
        assert_eq!((standing.allowed(), standing.spent()), (allowed.value(), count.bad));
        let seconds = model::Ratio(remaining.0 * budget * i128::from(plan.window) * 60, remaining.1 * 1_000_000_000);
        assert_close(standing.remaining_seconds(), seconds.value());
        assert_eq!(found.evidence.name(), model.evidence(slo, t), "evidence of SLO {slo} at {t}");
        assert_eq!(found.last_event.map(Timestamp::millis), model.last_event(slo, t), "last event of SLO {slo} at {t}");
        for burn in &found.burns {
            let count = model.count(slo, burn.window.minutes(), t);
            let (.., rate) = model::meaning(count.error(), plan.objective);
            let found = burn.rate(standing.objective);
            assert_eq!(found, rate.map(model::Ratio::value), "burn of SLO {slo} over {} at {t}", burn.window);
        }
        assert!(found.burns.iter().any(|burn| burn.window == standing.window));
    }
    for (id, plan) in model.scenario.journeys.iter().enumerate() {
        let found = &board[JourneyId(id)];
        let (error, shares) = model.journey(id, plan.window.into(), t);
        let (state, remaining, _) = model::meaning(error, plan.objective);
        assert_eq!(found.weighed.state().name(), state, "journey {id} at {t}");
        assert_close(found.weighed.remaining(), remaining.value());
        let compliance = error.map(|error| model::Ratio(error.1 - error.0, error.1).value());
        assert_close_option(found.weighed.compliance(), compliance);
        for (index, (share, spent)) in shares.into_iter().enumerate() {
            assert_close(found.weighed.share(index), share);
            assert_close(found.weighed.spent_share(index), spent);
        }
        for (window, weighed) in &found.burns {
            let (error, _) = model.journey(id, window.minutes(), t);
            let (.., rate) = model::meaning(error, plan.objective);
            assert_close_option(weighed.burn_rate(), rate.map(model::Ratio::value));
        }
    }
}

fn check_gates(board: &Board, model: &Model<'_>, gates: &[Gate], t: i64) {
    for (service, gate) in gates.iter().enumerate() {
        let found = &board[ServiceId(service)];
        let holding: Vec<usize> = found.state.holding.iter().map(|slo| slo.0).collect();
        assert_eq!(
            (Some(found.state.level.name()), found.state.since.millis(), &holding),
            (gate.level, gate.since_ms, &gate.holding),
            "gate {service} at {t}"
        );
        let until = gate.order.as_ref().and_then(|order| order.until_ms);
        assert_eq!(found.until().map(Timestamp::millis), until);
        assert_eq!(found.state.hold.is_some(), gate.order.is_some());
        assert!(gate.level == Some("open") || !found.reasons.is_empty(), "a reason for {:?}", gate.level);
        for change in ["feature", "fix", "security"] {
            let policy = &model.scenario.catalog().services[service].policy;
            assert_eq!(found.verdict(policy, change).allow, model.allows(service, gate, change), "{change} at {t}");
        }
    }
}

fn check_sources(board: &Board, model: &Model<'_>, t: i64) {
    let mut seen = (0, 0, 0);
    for source in 0..SOURCES {
        let found = &board[SourceId(source)];
        let events = || model.accepted.iter().filter(move |event| event.source == source);
        let matched = |event: &&Event| (0..SLOS).any(|slo| model.scenario.outcome(event, slo).is_some());
        assert_eq!(found.accepted.good, events().filter(matched).count() as u64);
        assert_eq!(found.accepted.total(), events().count() as u64);
        assert_eq!(found.missing_duration, events().filter(|event| event.missing).count() as u64);
        assert_eq!(found.last_event.map(Timestamp::millis), model.last_heard(source, t));
        let rejected = |reason| found.rejected.get(&reason).copied().unwrap_or(0);
        seen.0 += rejected(Rejection::Future);
        seen.1 += rejected(Rejection::Expired);
        seen.2 += found.records();
    }
    let records = model.accepted.len() as u64 + model.future + model.expired;
    assert_eq!(seen, (model.future, model.expired, records), "refused and all records");
}

/// Plays all events of a scenario as a report would, in two orders of the batches.
fn report(scenario: &Scenario, turn: usize) {
    let catalog = scenario.catalog();
    let mut now = scenario.start_ms;
    let mut batches: Vec<Vec<Event>> = Vec::new();
    for step in &scenario.steps {
        match step {
            Step::Events(plans, _) => batches.push(plans.iter().flat_map(|plan| plan.events(now)).collect()),
            Step::Wait(ms) => now += ms,
            _ => {}
        }
    }
    let Some(newest) = batches.iter().flatten().map(|event| event.ms).max() else { return };
    let play = |batches: &[Vec<Event>]| {
        let mut engine = Engine::new(catalog.clone());
        for events in batches {
            for source in 0..SOURCES {
                let events: Vec<Event> = events.iter().filter(|event| event.source == source).cloned().collect();
                if let Some(newest) = events.iter().map(|event| event.ms).max() {
                    engine.advance(Timestamp::from_millis(newest));
                    engine.observe(scenario.batch(&catalog, source, &events, i64::MAX));
                }
            }
        }
        engine.expire_in_retrospect();
        engine.tick(Timestamp::from_millis(newest))
    };
    let board = play(&batches);
    let mut model = Model::new(scenario);
    for event in batches.iter().flatten() {
        model.observe(event, newest);
    }
    check_counts(&board, &model, newest);
    check_sources(&board, &model, newest);

    let turn = turn % batches.len();
    batches.rotate_left(turn);
    let turned = play(&batches);
    let text = |board: &Board| serde_json::to_string(&Status::new(&catalog, board, "feature")).unwrap();
    assert_eq!(text(&turned), text(&board));
}

#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} is not {expected}");
}

#[track_caller]
fn assert_close_option(found: Option<f64>, expected: Option<f64>) {
    assert_eq!(found.is_some(), expected.is_some());
    assert_close(found.unwrap_or(0.0), expected.unwrap_or(0.0));
}
