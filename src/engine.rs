//! The engine: the one owner of every count, and the one place where counts become a [`Board`].
//!
//! Workers hand over [`Batch`]es of small integers; the engine adds them to the windows of their source's ledger,
//! minute by minute, and on every tick computes all standings, journeys and gates from those counts. `report` and
//! `serve` feed the same engine.
//!
//! - The engine is told the time. [`Engine::advance`] only moves it forward, so that a report can follow the newest
//!   event of batches in any order; [`Engine::tick`] sets it, so that a clock which was wrong can be put right.
//! - What is accepted depends on `now` alone: from the first minute of the longest window to the minute of now + 5 min.
//!   Anything else is refused as `expired` or `future` and counted as such; records = matched + unmatched + refused,
//!   always.
//! - Everything shown is a function of counts and an instant. [`Engine::board_at`] gives it for a past instant without
//!   changing anything; only the memory of gates (see [`crate::gate`]) belongs to the present and to [`Engine::tick`],
//!   and what it was in the past is told by the audit (see [`Recall`]).
//! - What was counted is told together with what is wrong with it: gaps, and doubts about a source (see `quality`).
//!   Counts that do not add up stop their source, and nothing else.
//! - Nothing here grows with traffic: the catalog fixes the number of windows, and they are rings.
//! - An engine that was [restored](Engine::restore) remembers what changes; [`Engine::checkpoint`] hands it over, to be
//!   kept with whatever else must be kept in the same instant. The next engine goes on from there.

mod absence;
mod audit;
mod board;
mod burning;
mod checkpoint;
mod durations;
mod expiry;
mod gaps;
mod identity;
mod kept;
mod ledger;
mod pending;
mod quality;
mod recall;
mod renames;
mod restore;
mod targets;
mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::alert::{self, AlertStanding, Course};
use crate::budget::{Standing, burn_windows};
use crate::counts::{Batch, Page};
use crate::gate::{self, Decision, Doubt, Evidence, Feed, GateState, Hold, Level, Measurement, Witness};
use crate::journey::Weighed;
use crate::latency::{Ring, Spread};
use crate::spec::{AlertRule, Catalog, GatePolicy, Journey, Member, Service, ServiceId, SloId, SourceId};
use crate::tally::Tally;
use crate::time::{Horizon, Minute, Timestamp};

pub use absence::{Absence, MOST_ABSENCES};
pub use audit::{Action, AuditEntry, ITSELF, SPECS};
pub use board::{Board, Burn, Health, JourneyStanding, SloStanding, SourceStanding};
use checkpoint::Tracking;
use durations::Rings;
pub use durations::{LATEST, Latency};
pub use expiry::Expiry;
pub use gaps::{Gap, MOST_SHOWN, Missing, OTHER_REASON};
pub use kept::{
    Checkpoint, Kept, KeptGate, MinuteCounts, Series, SeriesId, SeriesName, SlotCounts, SourceTotals, Totals,
};
use ledger::{Bounds, Ledger, Shown};
use quality::Tolerance;
pub use quality::{KeptQuality, Reading, may_hide_errors};
pub use recall::Recall;
pub use renames::{NotFollowed, SourceRename};
pub use restore::{Restoring, RestoringDurations};
pub use targets::{MOST_NOTES, MOST_OBJECTIONS, Objection, Target, TargetNote, Targets, Unseen};
pub use terms::Terms;

/// How far ahead of now an event may be, in milliseconds.
pub const AHEAD_MS: i64 = crate::window::MINUTES_AHEAD * crate::time::MILLIS_PER_MINUTE;

/// Counts, gates and the present.
#[derive(Clone, Debug)]
pub struct Engine {
    catalog: Arc<Catalog>,
    now: Timestamp,
    /// What is accepted: the longest window of the catalog.
    accepted: Horizon,
    /// What is kept, at least as long.
    kept: Horizon,
    /// By [`SourceId`].
    ledgers: Vec<Ledger>,
    /// By [`SloId`]: the column of its source's ledger.
    columns: Vec<usize>,
    /// By [`SloId`]: how it is measured, of scraped targets; `None` when nobody has said.
    measured: Vec<Option<Measurement>>,
    /// How long requests took.
    durations: Rings,
    /// By [`ServiceId`]; `None` before the first decision.
    gates: Vec<Option<GateState>>,
    /// By [`SloId`], the course of each of its alerts; `None` before the first tick.
    alerts: Vec<Option<Vec<Course>>>,
    /// `None` when nothing of it is to be kept.
    tracking: Option<Box<Tracking>>,
}

/// What a person orders a gate to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Whose gate.
    pub service: ServiceId,
    /// What it is to do.
    pub hold: Hold,
    /// Who orders it.
    pub by: String,
}

/// What people write is at most this long, in bytes.
pub const MOST_WORDS: usize = 1_000;

/// Why an order is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nobody could say later why it was given.
    #[error("a reason is required")]
    NoReason,
    /// It would end before it began.
    #[error("`until` must be later than now")]
    UntilIsPast,
    /// What people write is kept for ever.
    #[error("reason, name and exempt kinds together are longer than {MOST_WORDS} bytes")]
    TooLong,
}

impl Command {
    /// Whether it can be followed at `now`.
    ///
    /// # Errors
    /// When it lacks a reason, is already over, or says too much.
    pub fn check(&self, now: Timestamp) -> Result<(), CommandError> {
        let (Hold::Freeze { reason, until, .. } | Hold::Unfreeze { reason, until }) = &self.hold;
        if reason.trim().is_empty() {
            return Err(CommandError::NoReason);
        }
        if until.is_some_and(|until| until <= now) {
            return Err(CommandError::UntilIsPast);
        }
        if self.words() > MOST_WORDS {
            return Err(CommandError::TooLong);
        }
        Ok(())
    }

    /// How much of it people wrote, in bytes.
    fn words(&self) -> usize {
        let (reason, exempt): (&str, &[String]) = match &self.hold {
            Hold::Freeze { reason, exempt, .. } => (reason, exempt),
            Hold::Unfreeze { reason, .. } => (reason, &[]),
        };
        self.by.len() + reason.len() + exempt.iter().map(|kind| kind.len() + 1).sum::<usize>()
    }
}

/// A board was asked for an instant that cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// Some of its windows reach back to minutes that are no longer kept.
    #[error("counts are kept for instants from {0} on")]
    Past(Timestamp),
    /// It has not come yet.
    #[error("{0} is in the future")]
    Future(Timestamp),
    /// What is kept of it is being read, which takes a second or two after a start.
    #[error("how long requests took is being read from the store; ask again in a second")]
    BeingRead,
}

impl Engine {
    /// An engine without counts that keeps as much as the catalog's longest window needs.
    ///
    /// Until it is told the time, every event is in its future.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        let longest = catalog.longest_window();
        Self::keeping(catalog, longest)
    }

    /// An engine without counts that keeps at least `kept`, so that instants in the past can be looked at.
    pub fn keeping(catalog: Arc<Catalog>, kept: Horizon) -> Self {
        let accepted = catalog.longest_window();
        let kept = kept.max(accepted);
        let sources = (0..catalog.sources.len()).map(SourceId);
        let ledgers: Vec<Ledger> = sources.map(|source| Ledger::new(&catalog, source, kept)).collect();
        let column = |slo: usize| ledgers[catalog.slos[slo].source.0].column_of(SloId(slo));
        let columns = (0..catalog.slos.len()).map(column).collect();
        let durations = Rings::new(&catalog);
        let measured = vec![None; catalog.slos.len()];
        let gates = vec![None; catalog.services.len()];
        let alerts = vec![None; catalog.slos.len()];
        let now = Timestamp::from_millis(i64::MIN);
        Self { catalog, now, accepted, kept, ledgers, columns, measured, durations, gates, alerts, tracking: None }
    }

    /// What the engine counts for.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The latest time it was told.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether it was told any time at all.
    pub fn is_told_the_time(&self) -> bool {
        self.now > Timestamp::from_millis(i64::MIN)
    }

    /// Moves the present forward to `now`; an earlier `now` changes nothing.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Adds what a worker counted; what lies outside the accepted minutes is refused and counted as refused.
    ///
    /// # Panics
    /// When the batch does not have the columns of its source.
    pub fn observe(&mut self, mut batch: Batch) {
        let bounds = Bounds {
            kept: self.kept.first_minute(self.now.minute()),
            oldest: self.oldest_accepted(self.now),
            newest: self.newest_accepted(),
        };
        self.note_coverage(&batch, bounds);
        let (source, durations) = (batch.source, std::mem::take(&mut batch.durations));
        self.ledgers[source.0].observe(batch, bounds, self.now);
        if !self.is_corrupt(source) {
            self.durations.observe(source, durations, bounds, self.now);
        }
    }

    /// Takes note of records that can never be counted; of a source that no spec names, nothing. To be kept by whoever
    /// found them, and told to every later engine.
    pub fn note_gaps(&mut self, gaps: impl IntoIterator<Item = Gap>) {
        for gap in gaps {
            if let Some(source) = self.catalog.source_named(&gap.source) {
                self.ledgers[source.0].gaps.note(gap);
            }
        }
    }

    /// Takes note of how far the reading of a source has come.
    pub fn note_reading(&mut self, source: SourceId, reading: Reading) {
        self.ledgers[source.0].quality.read(reading);
    }

    /// Takes note that whoever reads a source panicked. Until its reading is noted again, it is no sound evidence.
    pub fn note_panic(&mut self, source: SourceId) {
        self.ledgers[source.0].quality.panicked();
    }

    /// Takes note of what is known of the targets of a scraped source.
    pub fn note_targets(&mut self, source: SourceId, targets: Arc<Targets>) {
        self.ledgers[source.0].targets = Some(targets);
    }

    /// What is known of the targets of a source, if it is scraped.
    pub fn targets(&self, source: SourceId) -> Option<&Targets> {
        self.ledgers[source.0].targets.as_deref()
    }

    /// Takes note of how SLOs over scraped targets are measured.
    pub fn note_measured(&mut self, measured: impl IntoIterator<Item = (SloId, Measurement)>) {
        for (slo, mut measurement) in measured {
            // Where no target is listed any more nobody else knows that there were some.
            let before = self.measured[slo.0].as_ref().filter(|before| before.since <= measurement.since);
            measurement.last = measurement.last.or(before.and_then(|before| before.last));
            self.measured[slo.0] = Some(measurement);
        }
    }

    /// Whether counts of a source did not add up, so that nothing more of it is counted or kept.
    pub fn is_corrupt(&self, source: SourceId) -> bool {
        self.ledgers[source.0].quality.is_corrupt()
    }

    /// Sets the present to `now`, decides every gate, and shows everything as of then.
    pub fn tick(&mut self, now: Timestamp) -> Board {
        self.tick_with(now, None)
    }

    /// A tick on which an order takes effect; with the state of its gate before it.
    fn tick_with(&mut self, now: Timestamp, order: Option<(&Command, Option<GateState>)>) -> Board {
        self.now = now;
        let kept = self.kept.first_minute(now.minute());
        for ledger in &mut self.ledgers {
            ledger.put_right(kept, now);
            let newest = ledger.newest_records(now);
            ledger.quality.judge(newest);
        }
        let mut slos = self.slos(now, &self.alerts);
        for (slo, latency) in slos.iter_mut().zip(self.durations.show(&self.catalog, now)) {
            slo.latency = *latency;
        }
        let services = (0..self.catalog.services.len()).map(ServiceId);
        let decide = |service: ServiceId| self.decide(service, &slos, self.gates[service.0].as_ref(), now);
        let gates: Vec<Decision> = services.map(decide).collect();
        if let Some(tracking) = &mut self.tracking {
            for (index, (decision, before)) in gates.iter().zip(&self.gates).enumerate() {
                let order = order.as_ref().filter(|(command, _)| command.service.0 == index);
                let before = order.map_or(before, |(_, before)| before).as_ref();
                let name = &self.catalog.services[index].name;
                tracking.journal.decided(
                    &self.catalog,
                    name,
                    before,
                    decision,
                    order.map(|(command, _)| *command),
                    now,
                );
            }
        }
        self.gates = gates.iter().map(|decision| Some(decision.state.clone())).collect();
        let courses = slos.iter().map(|slo| Some(slo.alerts.iter().map(|alert| alert.course).collect()));
        self.alerts = courses.collect();
        self.board(now, slos, gates)
    }

    /// Shows everything as of a past instant, from the counts that are kept. Gates are decided without their memory:
    /// orders and freezes of that time are not part of the counts. For what they were, see [`Engine::board_recalled`].
    ///
    /// # Errors
    /// When `t` is later than now, or so early that counts of its windows may be gone.
    pub fn board_at(&self, t: Timestamp) -> Result<Board, NotKept> {
        self.check_kept(t, self.accepted)?;
        let slos = self.slos(t, &vec![None; self.catalog.slos.len()]);
        let services = (0..self.catalog.services.len()).map(ServiceId);
        let gates = services.map(|service| self.decide(service, &slos, None, t)).collect();
        Ok(self.board(t, slos, gates))
    }

    /// What happened to an SLO in the window of length `window` at `t`, as far as it is kept.
    pub fn tally_at(&self, slo: SloId, window: Horizon, t: Timestamp) -> Tally {
        self.ledgers[self.catalog[slo].source.0].tally(self.columns[slo.0], window, t)
    }

    /// How an SLO stood over its own window at a past instant.
    ///
    /// # Errors
    /// When `t` is later than now, or so early that counts of the window may be gone.
    pub fn standing_at(&self, id: SloId, t: Timestamp) -> Result<Standing, NotKept> {
        let slo = &self.catalog[id];
        self.check_kept(t, slo.window)?;
        Ok(Standing { tally: self.tally_at(id, slo.window, t), objective: slo.objective, window: slo.window })
    }

    /// How long the requests of an SLO took in the window of length `window` at a past instant.
    ///
    /// # Errors
    /// When `t` is later than now, or so early that requests of the window may be gone.
    pub fn latency_at(&self, id: SloId, window: Horizon, t: Timestamp) -> Result<Spread, NotKept> {
        self.check_kept(t, window)?;
        if self.durations.awaits_past() {
            return Err(NotKept::BeingRead);
        }
        let spread = self.durations.spread(id, window, t, self.now);
        Ok(spread.unwrap_or_else(|| Ring::default().spread(window, t, self.now)))
    }

    /// Gives a gate an order, then decides and shows everything as of `now`, so that whoever reads the board after this
    /// sees the order followed.
    ///
    /// # Errors
    /// When the order lacks a reason, is already over, or says too much; nothing has changed then.
    pub fn command(&mut self, command: Command, now: Timestamp) -> Result<Board, CommandError> {
        command.check(now)?;
        let before = self.gates[command.service.0].clone();
        let state = self.gates[command.service.0].get_or_insert_with(|| GateState {
            level: Level::Unknown,
            since: now,
            holding: BTreeSet::new(),
            hold: None,
        });
        state.hold = Some(command.hold.clone());
        Ok(self.tick_with(now, Some((&command, before))))
    }

    /// Moves records that were accepted at their time but are older than the longest window by now from the counted to
    /// the expired ones, and forgets that their source was heard then.
    ///
    /// For a report, whose now is the newest of events that come in no particular order: after this its numbers do not
    /// depend on that order, and all of its records are the newest ones.
    pub fn expire_in_retrospect(&mut self) {
        let (oldest, newest) = (self.oldest_accepted(self.now), self.newest_accepted());
        for ledger in &mut self.ledgers {
            ledger.expire_in_retrospect(oldest, newest, self.now);
        }
        self.durations.forget_before(oldest);
    }

    fn note_coverage(&mut self, batch: &Batch, bounds: Bounds) {
        let Some(tracking) = &mut self.tracking else { return };
        let last_minute = |page: &Page| Minute::from_number(page.hour.saturating_mul(60).saturating_add(59));
        let arrived = (batch.records > 0).then(|| self.now.minute());
        let written = batch.pages.iter().map(last_minute).chain(arrived).map(|last| last.min(bounds.newest));
        for minute in written.filter(|minute| *minute >= bounds.oldest) {
            tracking.coverage.wrote(minute, self.kept);
        }
    }

    fn oldest_accepted(&self, t: Timestamp) -> Minute {
        self.accepted.first_minute(t.minute())
    }

    fn newest_accepted(&self) -> Minute {
        self.now.plus_millis(AHEAD_MS).minute()
    }

    /// Whether windows of length `reach` at `t` are answered as well as those at present: they reach to no minute that
    /// is not kept any more, or of which records were refused for being too old, nor do they end before there was
    /// anything.
    fn check_kept(&self, t: Timestamp, reach: Horizon) -> Result<(), NotKept> {
        if t > self.now {
            return Err(NotKept::Future(t));
        }
        let present = reach.first_minute(self.now.minute());
        let kept = self.kept.first_minute(self.now.minute());
        let begins: Option<Minute> = self.ledgers.iter().filter_map(Ledger::begins).min();
        let lost = begins.filter(|begins| *begins < kept).map(|_| kept);
        // What the window of the present lacks as well is no matter of looking back, and shown as a gap.
        let expired = self.ledgers.iter().filter_map(Ledger::expired).filter(|expired| *expired < present);
        let first = expired.map(|expired| expired.plus(1)).chain(lost).max();
        let first = first.map(|first| first.plus(reach.minutes() - 1));
        let first = first.max(begins.map(|begins| begins.min(self.now.minute())));
        match first.filter(|first| t.minute() < *first) {
            Some(first) => Err(NotKept::Past(first.start())),
            None => Ok(()),
        }
    }

    /// What is missing of a source in the window of length `window` at `t`, and of these SLOs, each in its own.
    fn gaps_within(&self, source: SourceId, window: Horizon, slos: &[SloId], t: Timestamp) -> Vec<Arc<Gap>> {
        let (name, ledger) = (&self.catalog[source].name, &self.ledgers[source.0]);
        let first = window.first_minute(t.minute());
        let expired = ledger.expired().filter(|expired| *expired >= first).map(|expired| Gap {
            source: name.clone(),
            from: first.start(),
            to: expired.plus(1).start().plus_millis(-1).min(t),
            bytes: None,
            reason: gaps::EXPIRED.to_owned(),
        });
        let of_source = slos.iter().filter(|slo| self.catalog[**slo].source == source);
        let absent = of_source.flat_map(|slo| {
            let gaps = self.absences(*slo).iter().filter_map(|absence| absence.gap(name));
            gaps.filter(|gap| gap.is_within(self.catalog[*slo].window, t))
        });
        ledger.gaps.within(window, t).cloned().chain(expired.into_iter().chain(absent).map(Arc::new)).collect()
    }

    /// How every SLO stands at `t`, its alerts going on from `courses`.
    fn slos(&self, t: Timestamp, courses: &[Option<Vec<Course>>]) -> Vec<SloStanding> {
        let oldest = self.oldest_accepted(t);
        let heard: Vec<_> = self.ledgers.iter().map(|ledger| ledger.last_heard(t, oldest)).collect();
        let slos = self.catalog.slos.iter().enumerate();
        slos.map(|(id, slo)| {
            let ledger = &self.ledgers[slo.source.0];
            let burns = burn_windows(slo.window, &slo.alerts).into_iter();
            let burns = burns.map(|window| Burn { window, tally: self.tally_at(SloId(id), window, t) });
            let burns: Vec<Burn> = burns.collect();
            let tally = self.tally_at(SloId(id), slo.window, t);
            let policy = &self.catalog[self.catalog[slo.story].service].policy;
            let doubt = !self.doubts(slo.source, Tolerance::of([policy]), t).is_empty();
            let evidence = Evidence::of(policy, tally, heard[slo.source.0], doubt, t);
            let unmeasured = self.unmeasured(SloId(id), policy, t);
            SloStanding {
                standing: Standing { tally, objective: slo.objective, window: slo.window },
                alerts: self.alerts_of(SloId(id), &burns, courses[id].as_deref(), t),
                burns,
                evidence: unmeasured.map_or(evidence, |measurement| evidence.unmeasured(measurement)),
                last_event: ledger.last_event(self.columns[id], t, oldest),
                lifetime: ledger.lifetime(self.columns[id]),
                latency: None,
                gaps: Missing::of(&self.gaps_within(slo.source, slo.window, &[SloId(id)], t)),
                rules_changed: self.rules_changed_in(SloId(id), slo.window, t),
            }
        })
        .collect()
    }

    /// How an SLO stands towards its alert rules, going on from `courses` or else from the counts of the past.
    fn alerts_of(&self, id: SloId, burns: &[Burn], courses: Option<&[Course]>, t: Timestamp) -> Vec<AlertStanding> {
        let slo = &self.catalog[id];
        let tally = |window: Horizon| {
            let burn = burns.iter().find(|burn| burn.window == window);
            burn.map_or_else(|| self.tally_at(id, window, t), |burn| burn.tally)
        };
        let standing = |(place, rule): (usize, &AlertRule)| {
            let (mut long, mut short) = (tally(rule.long), tally(rule.short));
            if short.is_empty() {
                (long, short) = self.burning(id, rule, t).judged(t.minute());
            }
            let course = match courses.and_then(|courses| courses.get(place)) {
                Some(course) => course.next(rule, alert::burns(rule, slo.objective, long, short), t),
                None => self.course_of_past(id, rule, t),
            };
            AlertStanding { rule: *rule, long, short, course }
        };
        slo.alerts.iter().enumerate().map(standing).collect()
    }

    fn rules_changed_in(&self, slo: SloId, window: Horizon, t: Timestamp) -> Option<Timestamp> {
        let first = window.first_minute(t.minute());
        self.rules_changed(slo).filter(|changed| *changed <= t && changed.minute() >= first)
    }

    fn decide(&self, service: ServiceId, slos: &[SloStanding], before: Option<&GateState>, t: Timestamp) -> Decision {
        let Service { policy, slos: members, .. } = &self.catalog[service];
        let witness = |id: &SloId| Witness {
            slo: *id,
            source: self.catalog[*id].source,
            standing: slos[id.0].standing,
            evidence: slos[id.0].evidence,
            firing: alert::most_urgent(&slos[id.0].alerts),
        };
        let witnesses: Vec<Witness> = members.iter().map(witness).collect();
        gate::decide(policy, &witnesses, &self.feeds(policy, members, slos, t), before, t)
    }

    /// The sources of some SLOs of one service.
    fn feeds(&self, policy: &GatePolicy, slos: &[SloId], standings: &[SloStanding], t: Timestamp) -> Vec<Feed> {
        let windows = slos.iter().map(|slo| (self.catalog[*slo].source, self.catalog[*slo].window));
        let mut longest: BTreeMap<SourceId, Horizon> = BTreeMap::new();
        for (source, window) in windows {
            let found = longest.entry(source).or_insert(window);
            *found = window.max(*found);
        }
        let is_unmeasured = |slo: &SloId| matches!(standings[slo.0].evidence, Evidence::Unmeasured { .. });
        let unmeasured = |source: SourceId| {
            let of_source = slos.iter().copied().filter(move |slo| self.catalog[*slo].source == source);
            let unmeasured = of_source.filter(is_unmeasured);
            unmeasured.filter_map(|slo| Some((slo, self.unmeasured(slo, policy, t)?.clone()))).collect()
        };
        let feed = |(source, window): (SourceId, Horizon)| Feed {
            source,
            unmeasured: unmeasured(source),
            doubts: self.doubts(source, Tolerance::of([policy]), t),
            lost: Missing::of(&self.gaps_within(source, window, slos, t)).lost,
        };
        longest.into_iter().map(feed).collect()
    }

    /// How an SLO was measured that has not been for too long. Of the past, nobody knows.
    fn unmeasured(&self, slo: SloId, policy: &GatePolicy, t: Timestamp) -> Option<&Measurement> {
        let overdue = |measurement: &&Measurement| measurement.is_overdue(policy.stale_after_ms, t);
        self.measured[slo.0].as_ref().filter(|_| t == self.now).filter(overdue)
    }

    /// Why a source cannot be relied upon, for those who tolerate this much.
    fn doubts(&self, source: SourceId, tolerance: Tolerance, t: Timestamp) -> Vec<Doubt> {
        let ledger = &self.ledgers[source.0];
        let newest = ledger.newest_records(t);
        match t == self.now {
            true => ledger.quality.doubts(newest, tolerance, t),
            false => quality::past_doubts(newest, tolerance),
        }
    }

    fn board(&self, t: Timestamp, slos: Vec<SloStanding>, gates: Vec<Decision>) -> Board {
        let journeys = self.catalog.journeys.iter().map(|journey| self.journey(journey, t)).collect();
        let sources = (0..self.ledgers.len()).map(|source| self.source(SourceId(source), t)).collect();
        Board { at: t, slos, journeys, gates, sources }
    }

    fn journey(&self, journey: &Journey, t: Timestamp) -> JourneyStanding {
        let weigh = |window: Horizon| {
            let tally = |member: &Member| self.tally_at(member.slo, window, t);
            Weighed::new(journey, &journey.members.iter().map(tally).collect::<Vec<_>>())
        };
        let burns = burn_windows(journey.window, &[]).into_iter().map(|window| (window, weigh(window))).collect();
        let sources: BTreeSet<SourceId> =
            journey.members.iter().map(|member| self.catalog[member.slo].source).collect();
        let members: Vec<SloId> = journey.members.iter().map(|member| member.slo).collect();
        let gaps = |source: &SourceId| self.gaps_within(*source, journey.window, &members, t);
        let gaps: Vec<Arc<Gap>> = sources.iter().flat_map(gaps).collect();
        JourneyStanding { weighed: weigh(journey.window), burns, gaps: Missing::of(&gaps) }
    }

    fn source(&self, source: SourceId, t: Timestamp) -> SourceStanding {
        let ledger = &self.ledgers[source.0];
        let last_event = ledger.last_heard(t, self.oldest_accepted(t));
        // Several services may read one source; it is what it is for the strictest of them.
        let tolerance = Tolerance::of(self.catalog.policies_over(source));
        let doubts = self.doubts(source, tolerance, t);
        let health = match last_event {
            _ if doubts.contains(&Doubt::Corrupt) => Health::Corrupt,
            Some(heard) if tolerance.is_too_long(heard, t) => Health::Stale,
            _ if matches!(doubts[..], [Doubt::CatchingUp { .. }]) => Health::CatchingUp,
            _ if !doubts.is_empty() => Health::Degraded,
            None => Health::NeverHeard,
            Some(_) => Health::Ok,
        };
        let gaps = Missing::of(&self.gaps_within(source, self.accepted, &[], t));
        let bytes_behind = ledger.quality.bytes_behind().filter(|_| t == self.now);
        let targets = ledger.targets.clone().filter(|_| t == self.now);
        ledger.standing(Shown { last_event, health, doubts, gaps, bytes_behind, targets })
    }
}

#[cfg(test)]
mod tests;
