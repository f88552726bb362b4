//! Comparing: what the program shows and keeps, against the model, to the last digit.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::Failure;
use super::model::{Count, Entry, PROMISES, SERVICES, State};
use super::plan::{EDGE, FRONT};
use crate::counts::{Batch, Column, columns};
use crate::engine::{self, Action, Board, ITSELF};
use crate::gate::{Doubt, Evidence, Hold, Level};
use crate::spec::{Catalog, ServiceId, SloId, SourceId};
use crate::store::Store;
use crate::time::Timestamp;

const LOGS: [&str; 2] = ["front", "edge"];

pub fn that(what: &str, holds: bool) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure(what.to_owned())) }
}

pub fn same<T: PartialEq + Debug + ?Sized>(what: &str, found: &T, expected: &T) -> Result<(), Failure> {
    if found == expected { Ok(()) } else { Err(Failure(format!("{what}: {found:?} instead of {expected:?}"))) }
}

/// How many records a batch is about.
pub fn records_in(catalog: &Catalog, batch: &Batch) -> u64 {
    let columns = columns(catalog, batch.source);
    let records = columns.iter().position(|column| *column == Column::Records).unwrap();
    let of_hours = batch.pages.iter().filter_map(|page| page.column(records));
    let counts = of_hours.flat_map(|hour| hour.good.iter().chain(&hour.bad).map(|count| u64::from(*count)));
    counts.sum::<u64>() + batch.rejected.values().sum::<u64>()
}

/// Everything on a board.
pub fn board(catalog: &Catalog, board: &Board, model: &State) -> Result<(), Failure> {
    counts(catalog, board, model)?;
    let t = board.at.millis();
    for slo in 0..PROMISES.len() {
        let lifetime = board[SloId(slo)].lifetime;
        same(&what("lifetime", slo, t), &count(lifetime.good, lifetime.bad), &model.lifetime(slo))?;
    }
    sources(board, model)?;
    gates(board, model)
}

/// The gates of a past instant are what the audit says; not known, when it says nothing or could not be read.
pub fn gates_then(catalog: &Catalog, board: &Board, model: &State) -> Result<(), Failure> {
    for (service, name) in SERVICES.iter().enumerate() {
        let id = catalog.service_named(name).expect("a service of the specs");
        let found = &board[id];
        if found.reasons.iter().any(|reason| reason.kind() == "not_recorded" && reason.text(catalog).contains(": ")) {
            continue;
        }
        let then = |entry: &&Entry| entry.service == service && entry.at_ms <= board.at.millis();
        let last = model.audit.iter().rev().find(then);
        let level = last.map_or("unknown", |entry| entry.after);
        same(&format!("level of {name} at {}", board.at), found.state.level.name(), level)?;
        let allowed = found.verdict(&catalog[id].policy, "feature").allow;
        that("what is not recorded lets something pass", last.is_some() || !allowed)?;
    }
    Ok(())
}

/// What is a function of counts and an instant.
pub fn counts(catalog: &Catalog, board: &Board, model: &State) -> Result<(), Failure> {
    let t = board.at.millis();
    for (slo, promise) in PROMISES.iter().enumerate() {
        let found = &board[SloId(slo)];
        let expected = model.count(slo, promise.window, t);
        let tally = found.standing.tally;
        same(&what("tally", slo, t), &count(tally.good, tally.bad), &expected)?;
        let (good, total) = (i128::from(expected.good), i128::from(expected.total()));
        let state = match total {
            0 => "no_data",
            _ if good * 100 >= promise.objective * total => "met",
            _ => "breached",
        };
        same(&what("state", slo, t), found.standing.state().name(), state)?;
        let allowed = total * (100 - promise.objective);
        let unspent = allowed - 100 * i128::from(expected.bad);
        let remaining = if total == 0 { 1.0 } else { unspent as f64 / allowed as f64 };
        same(&what("budget", slo, t), &found.standing.remaining(), &remaining)?;
        same(&what("evidence", slo, t), found.evidence.name(), model.evidence(slo, t))?;
        same(&what("last event", slo, t), &found.last_event.map(Timestamp::millis), &model.last_event(slo, t))?;
        let missing = found.gaps.lost.map_or(0, |lost| lost.gaps);
        same(&what("gaps", slo, t), &missing, &model.gaps_within(promise.log, found.standing.window.minutes(), t))?;
        that("rules changed that nobody touched", found.rules_changed.is_none())?;
        let windows: Vec<i64> = found.burns.iter().map(|burn| burn.window.minutes()).collect();
        let expected: Vec<i64> = promise.burns();
        that("other burn windows", catalog[SloId(slo)].window.minutes() != promise.window || windows == expected)?;
        for burn in &found.burns {
            let expected = model.count(slo, burn.window.minutes(), t);
            same(&what("burn", slo, t), &count(burn.tally.good, burn.tally.bad), &expected)?;
        }
    }
    Ok(())
}

fn what(what: &str, slo: usize, t: i64) -> String {
    let promise = &PROMISES[slo];
    format!("{what} of {}/{} at {}", promise.story, promise.slo, Timestamp::from_millis(t))
}

fn count(good: u64, bad: u64) -> Count {
    Count { good, bad }
}

fn sources(board: &Board, model: &State) -> Result<(), Failure> {
    let t = board.at.millis();
    for log in [FRONT, EDGE] {
        let found = &board[SourceId(log)];
        let (matched, unmatched, missing) = model.accepted(log);
        let accepted = (found.accepted.good, found.accepted.bad, found.missing_duration);
        same(&format!("accepted of {}", LOGS[log]), &accepted, &(matched, unmatched, missing))?;
        let mut rejected: BTreeMap<&str, u64> = BTreeMap::new();
        for (rejection, count) in &found.rejected {
            // A line that can be read in two ways is no better than one that can be read in none.
            let reason = rejection.reason().replace("ambiguous", "unparsed");
            let reason = ["unparsed", "oversize", "future", "expired"].into_iter().find(|known| *known == reason);
            *rejected.entry(reason.unwrap_or("other")).or_default() += count;
        }
        let expected: BTreeMap<&str, u64> = model
            .refused
            .iter()
            .filter(|((of, _), _)| *of == log)
            .map(|((_, reason), count)| (*reason, *count))
            .collect();
        same(&format!("refused of {}", LOGS[log]), &rejected, &expected)?;
        let heard = found.last_event.map(Timestamp::millis);
        same(&format!("last record of {}", LOGS[log]), &heard, &model.last_heard(log, t))?;
        let doubts: Vec<&str> = found.doubts.iter().map(Doubt::name).collect();
        same(&format!("doubts of {}", LOGS[log]), &doubts, &model.doubt(log, t).into_iter().collect())?;
        same(&format!("health of {}", LOGS[log]), found.health.name(), model.health(log, t))?;
    }
    Ok(())
}

fn gates(board: &Board, model: &State) -> Result<(), Failure> {
    for (service, gate) in model.gates.iter().enumerate() {
        let found = &board[ServiceId(service)].state;
        let holding: Vec<usize> = found.holding.iter().map(|slo| slo.0).collect();
        let name = SERVICES[service];
        same(&format!("level of {name}"), &Some(found.level.name()), &gate.level)?;
        // By the board alone, whatever the model says.
        let is_doubted = |slo: usize| board[SloId(slo)].evidence == Evidence::Degraded;
        let doubted = (0..PROMISES.len()).any(|slo| PROMISES[slo].service == service && is_doubted(slo));
        that("a gate lets pass what there is doubt about", !doubted || found.level >= Level::Unknown)?;
        same(&format!("instant of the level of {name}"), &found.since.millis(), &gate.since_ms)?;
        same(&format!("what holds {name}"), &holding, &gate.holding)?;
        let hold = found.hold.as_ref().map(|hold| match hold {
            Hold::Freeze { reason, until, .. } => (true, reason.clone(), until.map(Timestamp::millis)),
            Hold::Unfreeze { reason, until } => (false, reason.clone(), until.map(Timestamp::millis)),
        });
        let order = gate.order.as_ref().map(|order| (order.freeze, order.reason.clone(), order.until_ms));
        same(&format!("order of {name}"), &hold, &order)?;
    }
    Ok(())
}

/// What is in the store beside counts.
pub fn store(store: &dyn Store, model: &State) -> Result<(), Failure> {
    audit(&store.audit(0, 1_000, None)?, model)?;
    let gaps = store.load()?.gaps;
    let found: Vec<_> = gaps
        .iter()
        .map(|gap| (gap.source.as_str(), gap.from.millis(), gap.to.millis(), gap.bytes, gap.reason.as_str()))
        .collect();
    let expected: Vec<_> =
        model.gaps.iter().map(|gap| (LOGS[gap.log], gap.from_ms, gap.to_ms, gap.bytes, gap.reason.as_str())).collect();
    same("gaps in the store", &found, &expected)
}

/// The audit log, entry by entry.
pub fn audit(found: &[engine::AuditEntry], model: &State) -> Result<(), Failure> {
    same("audit entries", &found.len(), &model.audit.len())?;
    for (number, (found, expected)) in (1..).zip(found.iter().zip(&model.audit)) {
        same("number of an audit entry", &found.number, &number)?;
        let shown = (found.at.millis(), found.service.as_str(), found.by.as_str(), found.cause.as_str());
        let by = expected.order.as_ref().map_or(ITSELF, |order| order.by.as_str());
        same("audit entry", &shown, &(expected.at_ms, SERVICES[expected.service], by, expected.cause))?;
        let levels = (found.before.map(|level| level.name()), found.after.map(|level| level.name()));
        same("levels of an audit entry", &levels, &(expected.before, Some(expected.after)))?;
        action(found, expected)?;
    }
    Ok(())
}

fn action(found: &engine::AuditEntry, expected: &Entry) -> Result<(), Failure> {
    let until = |until: &Option<Timestamp>| until.map(Timestamp::millis);
    let shown = match &found.action {
        Action::Freeze { until: end, .. } => Some((true, until(end), found.reason.clone())),
        Action::Unfreeze { until: end } => Some((false, until(end), found.reason.clone())),
        _ => None,
    };
    let ordered = expected.order.as_ref().map(|order| (order.freeze, order.until_ms, order.reason.clone()));
    same("order in the audit", &shown, &ordered)
}
