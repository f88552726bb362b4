//! The naive model: every event and every order in a vector, and everything recomputed from them by the words of the
//! contract, in the slowest and most obvious way. It shares no arithmetic with the program.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::plan::{DAY, EDGE, FRONT, MINUTE, Route};
use super::world::Seen;
use crate::engine;

pub const AHEAD: i64 = 5 * MINUTE;
/// The longest window, in minutes; and at the same time what is accepted.
pub const LONGEST: i64 = 28 * DAY / MINUTE;
/// What is kept of every minute, and whoever reads a log takes.
const KEPT: i64 = LONGEST + DAY / MINUTE;
/// What every budget is burnt over, in minutes, beside its own window.
const BURNS: [i64; 8] = [5, 30, 60, 120, 360, 1_440, 4_320, LONGEST];
const STALE_AFTER: i64 = 10 * MINUTE;
const MIN_EVENTS: u64 = 3;

/// A request, as its line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub log: usize,
    pub at_ms: i64,
    pub route: Route,
    pub status: u16,
    pub duration_ms: Option<u64>,
}

/// What a follower yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    Event(Event),
    Unparsed,
    Oversize,
}

/// What is promised; in the order of the catalog.
pub struct Promise {
    pub story: &'static str,
    pub slo: &'static str,
    pub service: usize,
    pub log: usize,
    route: Route,
    kind: Kind,
    /// In percent.
    pub objective: i128,
    /// In minutes.
    pub window: i64,
}

enum Kind {
    Availability,
    /// Milliseconds.
    Latency(u64),
    /// Percent, milliseconds, and minutes of a slice.
    Percentile(u64, u64, i64),
    /// Requests in a slice, and its minutes.
    Throughput(u64, i64),
}

pub const SERVICES: [&str; 2] = ["api", "edge"];
pub const PROMISES: [Promise; 5] = [
    promise("cart", "p90", 0, (FRONT, Route::Cart), Kind::Percentile(90, 500, 5), 75, 360),
    promise("edge", "availability", 1, (EDGE, Route::Edge), Kind::Availability, 90, 1_440),
    promise("edge", "rate", 1, (EDGE, Route::Edge), Kind::Throughput(2, 10), 50, 360),
    promise("shop", "availability", 0, (FRONT, Route::Shop), Kind::Availability, 90, 60),
    promise("shop", "latency", 0, (FRONT, Route::Shop), Kind::Latency(300), 80, LONGEST),
];

const fn promise(
    story: &'static str,
    slo: &'static str,
    service: usize,
    (log, route): (usize, Route),
    kind: Kind,
    objective: i128,
    window: i64,
) -> Promise {
    Promise { story, slo, service, log, route, kind, objective, window }
}

/// The same, as an operator writes it.
pub const SPECS: [(&str, &str); 4] = [
    (
        "slogate.toml",
        r#"
[[source]]
name = "front"
[source.file]
paths = ["front/access.log*"]
nginx = '$remote_addr [$time_local] "$request" $status $request_time'
max_line = 1024
[[source]]
name = "edge"
[source.file]
paths = ["edge/current"]
nginx = '$remote_addr [$time_local] "$request" $status $request_time'
max_line = 1024
[gate]
on_unknown = "deny"
frozen_below = 0.0
thaw_above = 0.3
guarded_below = 0.5
stale_after = "10m"
min_events = 3
max_unparsed = 100.0
exempt = ["fix"]
"#,
    ),
    (
        "cart.toml",
        r#"
[story]
name = "cart"
service = "api"
[[slo]]
name = "p90"
objective = 75.0
window = "6h"
[slo.percentile]
source = "front"
requests = ["POST /cart/{id}"]
percentile = 90.0
threshold = "500ms"
slice = "5m"
"#,
    ),
    (
        "edge.toml",
        r#"
[story]
name = "edge"
[[slo]]
name = "availability"
objective = 90.0
window = "1d"
[slo.availability]
source = "edge"
requests = ["GET /edge/{id}"]
[[slo]]
name = "rate"
objective = 50.0
window = "6h"
[slo.throughput]
source = "edge"
requests = ["GET /edge/{id}"]
minimum = 0.002
slice = "10m"
"#,
    ),
    (
        "shop.toml",
        r#"
[story]
name = "shop"
service = "api"
[[slo]]
name = "availability"
objective = 90.0
window = "1h"
[slo.availability]
source = "front"
requests = ["GET /shop/{id}"]
[[slo]]
name = "latency"
objective = 80.0
[slo.latency]
source = "front"
requests = ["GET /shop/{id}"]
threshold = "300ms"
"#,
    ),
];

/// How many were good and bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub good: u64,
    pub bad: u64,
}

impl Count {
    pub fn total(self) -> u64 {
        self.good + self.bad
    }

    fn add(&mut self, good: bool) {
        *if good { &mut self.good } else { &mut self.bad } += 1;
    }
}

/// Everything that must survive.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Every event that was counted.
    pub events: Vec<Event>,
    /// Every record that was not, by log and reason.
    pub refused: BTreeMap<(usize, &'static str), u64>,
    /// The newest minute of each log of which a record was refused as expired.
    expired: [Option<i64>; 2],
    /// The newest event of each column, and of all records of a log.
    newest: BTreeMap<Column, i64>,
    pub gates: [Gate; 2],
    pub audit: Vec<Entry>,
    pub gaps: Vec<Gap>,
    /// How far each follower has read, as far as the owner knows.
    pub seen: [Seen; 2],
    /// What each follower said about what it has not read; it is not kept.
    behind: [Behind; 2],
}

/// What waits to be read. That it does is the follower's word; what follows from it is not.
#[derive(Clone, Copy, Debug, Default)]
struct Behind {
    bytes: u64,
    since_ms: i64,
    was_caught_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Slo(usize),
    Log(usize),
}

/// A gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    pub level: Option<&'static str>,
    pub since_ms: i64,
    /// The SLOs that hold an automatic freeze.
    pub holding: Vec<usize>,
    pub order: Option<Order>,
}

/// What somebody ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub freeze: bool,
    pub until_ms: Option<i64>,
    pub reason: String,
    pub by: String,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at_ms: i64,
    pub service: usize,
    pub order: Option<Order>,
    pub before: Option<&'static str>,
    pub after: &'static str,
    pub cause: &'static str,
}

/// A gap record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub log: usize,
    pub from_ms: i64,
    pub to_ms: i64,
    pub bytes: Option<u64>,
    pub reason: String,
}

/// What a follower hands over, and how far that goes.
#[derive(Clone, Debug)]
pub struct Sent {
    pub log: usize,
    pub records: Vec<Record>,
    /// What time the follower had it when it looked.
    pub now_ms: i64,
    pub seen: Seen,
}

pub fn minute(ms: i64) -> i64 {
    (ms as f64 / MINUTE as f64).floor() as i64
}

impl State {
    /// Takes what a follower has sent, when it is `now_ms` for the owner.
    pub fn take(&mut self, sent: &Sent, now_ms: i64) {
        let mut counted = Vec::new();
        let mut newest = BTreeMap::new();
        for record in &sent.records {
            match record {
                Record::Unparsed => self.refuse(sent.log, "unparsed"),
                Record::Oversize => self.refuse(sent.log, "oversize"),
                Record::Event(event) => match judged(event.at_ms, sent.now_ms, KEPT, event.at_ms > sent.now_ms + AHEAD)
                {
                    Some(reason) => {
                        // Whoever reads does not say of when it was.
                        self.note_expired(sent.log, reason, minute(now_ms) - KEPT);
                        self.refuse(sent.log, reason);
                    }
                    None => {
                        for column in columns(event) {
                            let newest = newest.entry(column).or_insert(event.at_ms);
                            *newest = (*newest).max(event.at_ms);
                        }
                        counted.push(*event);
                    }
                },
            }
        }
        for event in counted {
            match judged(event.at_ms, now_ms, LONGEST, minute(event.at_ms) > minute(now_ms + AHEAD)) {
                Some(reason) => {
                    self.note_expired(sent.log, reason, minute(event.at_ms));
                    self.refuse(sent.log, reason);
                }
                None => self.events.push(event),
            }
        }
        for (column, at_ms) in newest {
            self.meet(column, at_ms, now_ms);
        }
        self.seen[sent.log] = sent.seen.clone();
    }

    fn note_expired(&mut self, log: usize, reason: &str, minute: i64) {
        if reason == "expired" {
            self.expired[log] = self.expired[log].max(Some(minute));
        }
    }

    fn refuse(&mut self, log: usize, reason: &'static str) {
        *self.refused.entry((log, reason)).or_default() += 1;
    }

    /// Of the newest event of a batch that was refused after all, only the minute of the one before it is known.
    fn meet(&mut self, column: Column, at_ms: i64, now_ms: i64) {
        let (oldest, newest) = (minute(now_ms) - LONGEST + 1, minute(now_ms + AHEAD));
        let met = match minute(at_ms) > newest {
            true => self.last_minute(column, oldest, newest).map(|minute| minute * MINUTE),
            false => Some(at_ms).filter(|at_ms| minute(*at_ms) >= oldest),
        };
        if let Some(met) = met.map(|met| met.min(now_ms)) {
            let known = self.newest.entry(column).or_insert(met);
            *known = (*known).max(met);
        }
    }

    /// What only a clock that was far ahead has seen is not the newest.
    fn put_right(&mut self, now_ms: i64) {
        for (column, newest) in self.newest.clone() {
            if minute(newest) > minute(now_ms + AHEAD) {
                let found = self.last_minute(column, minute(now_ms) - KEPT + 1, minute(now_ms));
                let found = found.or_else(|| self.first_heard(column, now_ms));
                found.map(|found| self.newest.insert(column, found * MINUTE));
            }
        }
    }

    /// The first minute of a log, if that is not after `t`.
    fn first_heard(&self, column: Column, t: i64) -> Option<i64> {
        let is_log = matches!(column, Column::Log(_));
        let first = self.of(column).map(|event| minute(event.at_ms)).min();
        first.filter(|first| is_log && *first <= minute(t))
    }

    fn of(&self, column: Column) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| columns(event).contains(&column))
    }

    fn last_minute(&self, column: Column, first: i64, last: i64) -> Option<i64> {
        self.of(column).map(|event| minute(event.at_ms)).filter(|minute| (first..=last).contains(minute)).max()
    }

    /// Good and bad of an SLO in the window of so many minutes at `t`.
    pub fn count(&self, slo: usize, window: i64, t: i64) -> Count {
        let promise = &PROMISES[slo];
        let (first, last) = (minute(t) - window + 1, minute(t));
        let mut count = Count::default();
        match promise.kind {
            Kind::Availability | Kind::Latency(_) => {
                let in_window = |event: &&Event| (first..=last).contains(&minute(event.at_ms));
                let events = self.events.iter().filter(in_window);
                events.filter_map(|event| promise.outcome(event)).for_each(|good| count.add(good));
            }
            Kind::Percentile(percent, _, slice) => {
                for (start, seen) in self.slices(slo, slice) {
                    if (first..=last).contains(&start) && (start + slice) * MINUTE <= t {
                        count.add(seen.good * 100 >= percent * seen.total());
                    }
                }
            }
            Kind::Throughput(needed, slice) => {
                let heard = self.events.iter().filter(|event| event.log == promise.log);
                let Some(heard) = heard.map(|event| minute(event.at_ms)).min() else { return count };
                let seen = self.slices(slo, slice);
                for start in (first..=last).filter(|start| start.rem_euclid(slice) == 0) {
                    if start + slice > heard && (start + slice) * MINUTE <= t {
                        count.add(seen.get(&start).is_some_and(|seen| seen.total() >= needed));
                    }
                }
            }
        }
        count
    }

    /// The requests of an SLO by the first minute of their slice.
    fn slices(&self, slo: usize, slice: i64) -> BTreeMap<i64, Count> {
        let mut slices: BTreeMap<i64, Count> = BTreeMap::new();
        for event in &self.events {
            if let Some(good) = PROMISES[slo].outcome(event) {
                let minute = minute(event.at_ms);
                slices.entry(minute - minute.rem_euclid(slice)).or_default().add(good);
            }
        }
        slices
    }

    /// Every event ever counted for an SLO.
    pub fn lifetime(&self, slo: usize) -> Count {
        let mut count = Count::default();
        self.events.iter().filter_map(|event| PROMISES[slo].outcome(event)).for_each(|good| count.add(good));
        count
    }

    /// The newest event of an SLO at `t`.
    pub fn last_event(&self, slo: usize, t: i64) -> Option<i64> {
        let (oldest, column) = (minute(t) - LONGEST + 1, Column::Slo(slo));
        let newest = *self.newest.get(&column)?;
        let start = |minute: i64| minute * MINUTE;
        match minute(newest) <= minute(t) {
            true => {
                let later = self.last_minute(column, minute(newest) + 1, minute(t));
                Some(later.map_or(newest, start)).filter(|at_ms| minute(*at_ms) >= oldest)
            }
            false => self.last_minute(column, oldest, minute(t)).map(start),
        }
    }

    /// The newest record of a log at `t`.
    pub fn last_heard(&self, log: usize, t: i64) -> Option<i64> {
        let column = Column::Log(log);
        let newest = *self.newest.get(&column)?;
        let found = || self.last_minute(column, minute(t) - LONGEST + 1, minute(t));
        match minute(newest) <= minute(t) {
            true => Some(newest),
            false => found().or_else(|| self.first_heard(column, t)).map(|minute| minute * MINUTE),
        }
    }

    /// How many gaps of a log reach into a window of so many minutes at `t`.
    pub fn gaps_within(&self, log: usize, window: i64, t: i64) -> usize {
        let reaches = |gap: &&Gap| gap.from_ms <= t && minute(gap.to_ms) > minute(t) - window;
        let refused = self.expired[log].is_some_and(|refused| refused > minute(t) - window);
        self.gaps.iter().filter(|gap| gap.log == log).filter(reaches).count() + usize::from(refused)
    }

    pub fn evidence(&self, slo: usize, t: i64) -> &'static str {
        let total = self.count(slo, PROMISES[slo].window, t).total();
        match self.last_heard(PROMISES[slo].log, t) {
            Some(heard) if t - heard > STALE_AFTER => "stale",
            _ if self.doubt(PROMISES[slo].log, t).is_some() => "degraded",
            _ if total == 0 => "none",
            _ if total < MIN_EVENTS => "thin",
            _ => "ok",
        }
    }

    /// Why a log cannot be relied upon at `t`. Too few lines are written to raise one of the other doubts.
    pub fn doubt(&self, log: usize, t: i64) -> Option<&'static str> {
        let Behind { bytes, since_ms, was_caught_up } = self.behind[log];
        match bytes {
            0 => None,
            _ if !was_caught_up => Some("catching_up"),
            _ => Some("lag").filter(|_| t - since_ms > STALE_AFTER),
        }
    }

    /// The same, as a past instant is looked at: what waited then to be read is not known any more.
    pub fn without_doubts(&self) -> Self {
        Self { behind: Default::default(), ..self.clone() }
    }

    /// Whether a log has been silent for too long at `t`, or cannot be relied upon.
    pub fn health(&self, log: usize, t: i64) -> &'static str {
        match (self.last_heard(log, t), self.doubt(log, t)) {
            (Some(heard), _) if t - heard > STALE_AFTER => "stale",
            (_, Some("catching_up")) => "catching_up",
            (_, Some(_)) => "degraded",
            (None, None) => "unknown",
            (Some(_), None) => "ok",
        }
    }

    /// Decides every gate at `now_ms`, one of them with an order, and enters in the audit what that changes.
    fn decide(&mut self, now_ms: i64, ordered: Option<(usize, Order)>) {
        for service in 0..SERVICES.len() {
            let before = self.gates[service].clone();
            let order = ordered.iter().find(|(of, _)| *of == service).map(|(_, order)| order.clone());
            let mut given = before.clone();
            given.order = order.clone().or(given.order);
            let (gate, cause) = self.decided(service, &given, now_ms);
            if order.is_some() || gate.level != before.level {
                let (was_ordered, had_order) = (order.is_some(), before.order.is_some());
                let cause = match cause {
                    _ if was_ordered => "order",
                    Some(cause) => cause,
                    None if before.level.is_none() => "started",
                    None if had_order && gate.order.is_none() => "order_ended",
                    None => "recovered",
                };
                let after = gate.level.unwrap();
                self.audit.push(Entry { at_ms: now_ms, service, order, before: before.level, after, cause });
            }
            self.gates[service] = gate;
        }
    }

    /// The next state of a gate, and the kind of what decides it unless it is open.
    fn decided(&self, service: usize, before: &Gate, t: i64) -> (Gate, Option<&'static str>) {
        let slos: Vec<usize> = (0..PROMISES.len()).filter(|slo| PROMISES[*slo].service == service).collect();
        let count = |slo: usize| self.count(slo, PROMISES[slo].window, t);
        // The part of the budget that is left, against a number of percent.
        let against = |slo: usize, percent: i128| {
            let (count, share) = (count(slo), 100 - PROMISES[slo].objective);
            // 1 - bad / (total * share / 100) <> percent / 100
            let total = i128::from(count.total()) * share;
            if total == 0 {
                100.cmp(&percent)
            } else {
                ((100 - percent) * total).cmp(&(i128::from(count.bad) * 10_000))
            }
        };
        let is_sound = |slo: usize| self.evidence(slo, t) == "ok";
        let is_spent = |slo: usize| count(slo).total() >= MIN_EVENTS && against(slo, 0) != Ordering::Greater;
        let holds = |slo: &usize| {
            let has_recovered = is_sound(*slo) && against(*slo, 30) == Ordering::Greater;
            let joins = !before.holding.is_empty() && is_sound(*slo);
            is_spent(*slo) || ((before.holding.contains(slo) || joins) && !has_recovered)
        };
        let holding: Vec<usize> = slos.iter().copied().filter(holds).collect();
        let in_time = |order: &Order| order.until_ms.is_none_or(|until| t < until);
        let order = before.order.clone().filter(|order| in_time(order) && (order.freeze || !holding.is_empty()));
        let freezes = order.as_ref().map(|order| order.freeze);
        let is_stale = |slo: &usize| self.evidence(*slo, t) == "stale";
        let is_doubted = |slo: &usize| self.doubt(PROMISES[*slo].log, t).is_some();
        let is_low = |slo: &usize| is_sound(*slo) && against(*slo, 50) == Ordering::Less;
        let (level, cause) = if freezes == Some(true) {
            ("frozen", Some("manual_freeze"))
        } else if freezes.is_none() && holding.iter().any(|slo| is_spent(*slo)) {
            ("frozen", Some("budget_spent"))
        } else if freezes.is_none() && !holding.is_empty() {
            ("frozen", Some("not_recovered"))
        } else if slos.iter().any(is_stale) {
            ("unknown", Some("source_stale"))
        } else if slos.iter().any(is_doubted) {
            ("unknown", Some("source_degraded"))
        } else if !slos.iter().any(|slo| is_sound(*slo)) {
            ("unknown", Some(if count(slos[0]).total() == 0 { "no_evidence" } else { "thin_evidence" }))
        } else if slos.iter().any(is_low) {
            ("guarded", Some("budget_low"))
        } else {
            ("open", None)
        };
        let since_ms = if before.level == Some(level) { before.since_ms } else { t };
        (Gate { level: Some(level), since_ms, holding, order }, cause)
    }

    /// Accepted records of a log that an SLO is about, those that none is, and those without a duration that one
    /// wanted.
    pub fn accepted(&self, log: usize) -> (u64, u64, u64) {
        let events: Vec<&Event> = self.events.iter().filter(|event| event.log == log).collect();
        let is_matched = |event: &Event| PROMISES.iter().any(|promise| promise.is_about(event));
        let wants_duration = |event: &Event| {
            let by_duration = |promise: &&Promise| matches!(promise.kind, Kind::Latency(_) | Kind::Percentile(..));
            PROMISES.iter().filter(by_duration).any(|promise| promise.is_about(event)) && event.duration_ms.is_none()
        };
        let number = |of: &dyn Fn(&Event) -> bool| events.iter().filter(|event| of(event)).count() as u64;
        (number(&is_matched), number(&|event| !is_matched(event)), number(&wants_duration))
    }
}

impl Promise {
    /// Every window over which its budget is burnt.
    pub fn burns(&self) -> Vec<i64> {
        let mut windows = BURNS.to_vec();
        windows.push(self.window);
        windows.sort_unstable();
        windows.dedup();
        windows
    }

    fn is_about(&self, event: &Event) -> bool {
        event.log == self.log && event.route == self.route
    }

    /// Whether an event counts, and as what.
    fn outcome(&self, event: &Event) -> Option<bool> {
        match self.kind {
            _ if !self.is_about(event) => None,
            Kind::Availability => Some(event.status < 500),
            Kind::Latency(threshold) | Kind::Percentile(_, threshold, _) => Some(event.duration_ms? <= threshold),
            Kind::Throughput(..) => Some(true),
        }
    }
}

/// Why an event is refused at `now_ms`, if it is, by whom takes so many minutes.
fn judged(at_ms: i64, now_ms: i64, minutes: i64, is_future: bool) -> Option<&'static str> {
    match () {
        () if minute(at_ms) <= minute(now_ms) - minutes => Some("expired"),
        () if is_future => Some("future"),
        () => None,
    }
}

/// What an event is one of.
fn columns(event: &Event) -> Vec<Column> {
    let slos = (0..PROMISES.len()).filter(|slo| PROMISES[*slo].outcome(event).is_some());
    slos.map(Column::Slo).chain([Column::Log(event.log)]).collect()
}

/// The model of the owner: what it knows, and what of that is durable.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub now: State,
    pub committed: State,
    /// The latest time that the engine was told.
    told_ms: i64,
    /// The instant that was decided for last.
    pub at_ms: i64,
}

impl Model {
    /// A new process goes on from what is durable.
    pub fn restart(&mut self, now_ms: i64) {
        self.now = self.committed.without_doubts();
        self.tick(now_ms);
    }

    /// Everything known is durable.
    pub fn commit(&mut self) {
        self.committed = self.now.clone();
    }

    pub fn tick(&mut self, now_ms: i64) {
        (self.told_ms, self.at_ms) = (now_ms, now_ms);
        self.now.put_right(now_ms);
        self.now.decide(now_ms, None);
    }

    pub fn order(&mut self, service: usize, order: Order, now_ms: i64) {
        (self.told_ms, self.at_ms) = (now_ms, now_ms);
        self.now.put_right(now_ms);
        self.now.decide(now_ms, Some((service, order)));
    }

    /// An order to open that could not be written is answered with one to close.
    pub fn take_back(&mut self, service: usize, now_ms: i64) {
        let reason = "an order to unfreeze could not be written to the store".to_owned();
        let order = Order { freeze: true, until_ms: None, reason, by: "slogate".to_owned() };
        self.order(service, order, now_ms);
    }

    /// Takes what a follower sent, with the gaps that it found. When they began is the follower's word; that there are
    /// as many as there have to be is checked when everything is read.
    pub fn take(&mut self, sent: &Sent, gaps: &[engine::Gap], reading: &engine::Reading, now_ms: i64) {
        self.told_ms = self.told_ms.max(now_ms);
        let was_caught_up = self.now.behind[sent.log].was_caught_up || reading.is_up_to_date();
        let since_ms = reading.behind_since.millis();
        self.now.behind[sent.log] = Behind { bytes: reading.bytes_behind, since_ms, was_caught_up };
        self.now.take(sent, self.told_ms);
        self.now.gaps.extend(gaps.iter().map(|gap| Gap {
            log: sent.log,
            from_ms: gap.from.millis(),
            to_ms: gap.to.millis().max(now_ms),
            bytes: gap.bytes,
            reason: gap.reason.clone(),
        }));
    }
}
