//! The naive model: every event in a vector, everything added up from it by the words of the contract.
//!
//! It shares no arithmetic with the engine. Ratios are pairs of small integers, compared by cross-multiplication.

use std::cmp::Ordering;

use crate::scenario::{Event, KindPlan, LONGEST, MINUTE_MS, SERVICE_OF, SLOS, SOURCES, STORY_OF, Scenario};

const BILLION: i128 = 1_000_000_000;
pub const AHEAD_MS: i64 = 300_000;

/// numerator / denominator, the denominator positive.
#[derive(Clone, Copy, Debug)]
pub struct Ratio(pub i128, pub i128);

impl Ratio {
    pub fn compare(self, other: Ratio) -> Ordering {
        (self.0 * other.1).cmp(&(other.0 * self.1))
    }

    pub fn value(self) -> f64 {
        self.0 as f64 / self.1 as f64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub good: u64,
    pub bad: u64,
}

impl Count {
    pub fn total(self) -> u64 {
        self.good + self.bad
    }

    pub fn error(self) -> Option<Ratio> {
        (self.total() > 0).then(|| Ratio(self.bad.into(), self.total().into()))
    }
}

/// What an error ratio means for an objective: (state, remaining, burn rate).
pub fn meaning(error: Option<Ratio>, objective: u64) -> (&'static str, Ratio, Option<Ratio>) {
    let budget = BILLION - i128::from(objective);
    let Some(Ratio(bad, total)) = error else { return ("no_data", Ratio(1, 1), None) };
    let burn = Ratio(bad * BILLION, total * budget);
    let compliance = Ratio(total - bad, total);
    let met = compliance.compare(Ratio(objective.into(), BILLION)) != Ordering::Less;
    (if met { "met" } else { "breached" }, Ratio(burn.1 - burn.0, burn.1), Some(burn))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub freeze: bool,
    pub until_ms: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    pub level: Option<&'static str>,
    pub since_ms: i64,
    /// The SLOs that keep an automatic freeze up.
    pub holding: Vec<usize>,
    pub order: Option<Order>,
}

pub struct Model<'a> {
    pub scenario: &'a Scenario,
    pub accepted: Vec<Event>,
    /// When each of them came in.
    pub arrived: Vec<i64>,
    /// The newest minute of an expired event.
    pub last_expired: Option<i64>,
    pub future: u64,
    pub expired: u64,
    pub gates: Vec<Gate>,
}

impl<'a> Model<'a> {
    pub fn new(scenario: &'a Scenario) -> Self {
        let (accepted, arrived, last_expired) = Default::default();
        Self { scenario, accepted, arrived, last_expired, future: 0, expired: 0, gates: vec![Gate::default(); 2] }
    }

    pub fn observe(&mut self, event: &Event, now_ms: i64) {
        let minute = minute(event.ms);
        if minute > minute_of(now_ms + AHEAD_MS) {
            self.future += 1;
        } else if minute <= minute_of(now_ms) - LONGEST {
            self.expired += 1;
            self.last_expired = self.last_expired.max(Some(minute));
        } else {
            self.arrived.push(now_ms);
            self.accepted.push(event.clone());
        }
    }

    /// The events of an SLO that fall into minutes `first..=last`.
    fn requests(&self, slo: usize, first: i64, last: i64) -> impl Iterator<Item = (i64, bool)> {
        let events = self.accepted.iter().filter_map(move |event| {
            let good = self.scenario.outcome(event, slo)?;
            Some((minute(event.ms), good))
        });
        events.filter(move |(minute, _)| first <= *minute && *minute <= last)
    }

    /// Good and bad of an SLO in the window of `window` minutes at `t`.
    pub fn count(&self, slo: usize, window: i64, t: i64) -> Count {
        let (first, last) = (minute_of(t) - (window - 1), minute_of(t));
        let mut count = Count { good: 0, bad: 0 };
        match self.scenario.slos[slo].kind {
            KindPlan::Availability | KindPlan::Latency => {
                for (_, good) in self.requests(slo, first, last) {
                    *if good { &mut count.good } else { &mut count.bad } += 1;
                }
            }
            KindPlan::Percentile(percentile, slice) => {
                for (start, seen) in self.slices(slo, slice.into()) {
                    if first <= start && start <= last && ended(start, slice, t) {
                        // good / n >= p / 100, p in millionths of a percent.
                        let kept =
                            i128::from(seen.good) * 100_000_000 >= i128::from(percentile) * i128::from(seen.total());
                        *if kept { &mut count.good } else { &mut count.bad } += 1;
                    }
                }
            }
            KindPlan::Throughput(minimum, slice) => {
                let Some(heard) = self.first_heard(self.scenario.slos[slo].source) else { return count };
                let enough =
                    |requests: u64| i128::from(requests) * 1_000_000 >= i128::from(minimum) * i128::from(slice) * 60;
                let starts = (first..=last).filter(|start| {
                    let slice = i64::from(slice);
                    start.rem_euclid(slice) == 0 && start + slice > heard
                });
                let starts = starts.filter(|start| ended(*start, slice, t));
                let seen = self.slices(slo, slice.into());
                for start in starts {
                    let requests = seen.get(&start).map_or(0, |seen| seen.total());
                    *if enough(requests) { &mut count.good } else { &mut count.bad } += 1;
                }
            }
        }
        count
    }

    /// The requests of an SLO by the first minute of their slice.
    fn slices(&self, slo: usize, slice: i64) -> std::collections::HashMap<i64, Count> {
        let mut slices = std::collections::HashMap::new();
        for (minute, good) in self.requests(slo, i64::MIN, i64::MAX) {
            let start = (minute as f64 / slice as f64).floor() as i64 * slice;
            let count = slices.entry(start).or_insert(Count { good: 0, bad: 0 });
            *if good { &mut count.good } else { &mut count.bad } += 1;
        }
        slices
    }

    fn first_heard(&self, source: usize) -> Option<i64> {
        self.accepted.iter().filter(|event| event.source == source).map(|event| minute(event.ms)).min()
    }

    /// The first instant's minute that can be looked back to, when `kept` is the first minute that is kept.
    pub fn looks_back_to(&self, kept: i64, now_ms: i64) -> i64 {
        let slices = |source: usize| {
            let slos = self.scenario.slos.iter().filter(move |slo| slo.source == source);
            slos.filter_map(|slo| match slo.kind {
                KindPlan::Percentile(_, slice) | KindPlan::Throughput(_, slice) => Some(i64::from(slice)),
                KindPlan::Availability | KindPlan::Latency => None,
            })
        };
        let heard = (0..SOURCES).filter_map(|source| Some((source, self.first_heard(source)?)));
        let begins = heard.flat_map(|(source, heard)| {
            slices(source).map(move |slice| heard - heard.rem_euclid(slice)).chain([heard])
        });
        let begins = begins.min();
        let lost = begins.filter(|begins| *begins < kept).map(|_| kept);
        let refused = self.last_expired.filter(|refused| *refused <= minute_of(now_ms) - LONGEST);
        let first = lost.max(refused.map(|refused| refused + 1)).map(|first| first + LONGEST - 1);
        first.max(begins.map(|begins| begins.min(minute_of(now_ms)))).unwrap_or(i64::MIN)
    }

    /// The newest of some events, with when they came in, which is all that counts of those that were ahead of it.
    fn newest(events: impl Iterator<Item = (i64, i64)>) -> Option<i64> {
        events.map(|(ms, arrived)| ms.min(arrived)).max()
    }

    fn events(&self, is_meant: impl Fn(&Event) -> bool) -> impl Iterator<Item = (i64, i64)> + Clone {
        let events: Vec<(i64, i64)> = self
            .accepted
            .iter()
            .zip(&self.arrived)
            .filter(|(event, _)| is_meant(event))
            .map(|(event, arrived)| (event.ms, *arrived))
            .collect();
        events.into_iter()
    }

    fn last_minute(events: impl Iterator<Item = (i64, i64)>, first: i64, last: i64) -> Option<i64> {
        events.map(|(ms, _)| minute(ms)).filter(|minute| first <= *minute && *minute <= last).max()
    }

    pub fn last_event(&self, slo: usize, t: i64) -> Option<i64> {
        let first = minute_of(t) - LONGEST + 1;
        let events = self.events(|event| self.scenario.outcome(event, slo).is_some());
        let newest = Self::newest(events.clone())?;
        let from = if minute(newest) <= minute_of(t) { minute(newest) + 1 } else { first };
        let later = Self::last_minute(events, from, minute_of(t)).map(|minute| minute * MINUTE_MS);
        later.or(Some(newest).filter(|_| minute(newest) <= minute_of(t))).filter(|ms| minute(*ms) >= first)
    }

    pub fn last_heard(&self, source: usize, t: i64) -> Option<i64> {
        let events = self.events(|event| event.source == source);
        let newest = Self::newest(events.clone())?;
        if minute(newest) <= minute_of(t) {
            return Some(newest);
        }
        let found = Self::last_minute(events, minute_of(t) - LONGEST + 1, minute_of(t));
        let found = found.or(self.first_heard(source).filter(|first| *first <= minute_of(t)));
        found.map(|minute| minute * MINUTE_MS)
    }

    pub fn evidence(&self, slo: usize, t: i64) -> &'static str {
        let plan = &self.scenario.slos[slo];
        let policy = &self.scenario.policies[SERVICE_OF[STORY_OF[slo]]];
        let count = self.count(slo, plan.window.into(), t);
        match self.last_heard(plan.source, t) {
            Some(heard) if t - heard > policy.stale_after_ms => "stale",
            _ if count.total() == 0 => "none",
            _ if count.total() < policy.min_events => "thin",
            _ => "ok",
        }
    }

    /// (good, bad) events of a journey, or the error ratio of its average, and the two shares of each member.
    pub fn journey(&self, journey: usize, window: i64, t: i64) -> (Option<Ratio>, Vec<(f64, f64)>) {
        let plan = &self.scenario.journeys[journey];
        let members: Vec<(i128, Count)> =
            plan.members.iter().map(|(slo, weight)| (i128::from(*weight), self.count(*slo, window, t))).collect();
        let of = |part: f64, whole: f64| if part == 0.0 { 0.0 } else { part / whole };
        if plan.average {
            let data: Vec<_> = members.iter().filter(|(_, count)| count.total() > 0).collect();
            let common: i128 = data.iter().map(|(_, count)| i128::from(count.total())).product();
            let bad = |(weight, count): &(i128, Count)| match count.total() {
                0 => 0,
                total => weight * i128::from(count.bad) * (common / i128::from(total)),
            };
            let weights: i128 = data.iter().map(|(weight, _)| weight).sum();
            let sum: i128 = data.iter().map(|member| bad(member)).sum();
            let weight = |member: &(i128, Count)| if member.1.total() == 0 { 0.0 } else { member.0 as f64 };
            let shares = members.iter().map(|m| (of(weight(m), weights as f64), of(bad(m) as f64, sum as f64)));
            ((weights > 0).then_some(Ratio(sum, weights * common)), shares.collect())
        } else {
            let bad = |(weight, count): &(i128, Count)| weight * i128::from(count.bad);
            let total = |(weight, count): &(i128, Count)| weight * i128::from(count.total());
            let (bads, totals): (i128, i128) = (members.iter().map(bad).sum(), members.iter().map(total).sum());
            let shares = members.iter().map(|m| (of(total(m) as f64, totals as f64), of(bad(m) as f64, bads as f64)));
            ((totals > 0).then_some(Ratio(bads, totals)), shares.collect())
        }
    }

    /// Decides a gate and returns its next state.
    pub fn decide(&self, service: usize, before: &Gate, t: i64) -> Gate {
        let policy = &self.scenario.policies[service];
        let slos: Vec<usize> = (0..SLOS).filter(|slo| SERVICE_OF[STORY_OF[*slo]] == service).collect();
        let remaining = |slo: usize| {
            let plan = &self.scenario.slos[slo];
            meaning(self.count(slo, plan.window.into(), t).error(), plan.objective).1
        };
        let total = |slo: usize| self.count(slo, self.scenario.slos[slo].window.into(), t).total();
        let against = |slo: usize, billionths: i64| remaining(slo).compare(Ratio(billionths.into(), BILLION));
        let sound = |slo: usize| self.evidence(slo, t) == "ok";

        let mut holding = Vec::new();
        for slo in slos.iter().copied() {
            let spent = total(slo) > 0
                && total(slo) >= policy.min_events
                && against(slo, policy.frozen_below) != Ordering::Greater;
            let above = sound(slo) && against(slo, policy.thaw_above) == Ordering::Greater;
            let below = sound(slo) && against(slo, policy.thaw_above) != Ordering::Greater;
            let was_frozen = !before.holding.is_empty();
            if spent || (before.holding.contains(&slo) && !above) || (was_frozen && below) {
                holding.push(slo);
            }
        }
        let mut order = before.order.clone();
        if order.as_ref().is_some_and(|order| order.until_ms.is_some_and(|until| until <= t)) {
            order = None;
        }
        if order.as_ref().is_some_and(|order| !order.freeze && holding.is_empty()) {
            order = None;
        }
        let frozen_by_hand = order.as_ref().is_some_and(|order| order.freeze);
        let unfrozen_by_hand = order.as_ref().is_some_and(|order| !order.freeze);
        let level = if frozen_by_hand || (!holding.is_empty() && !unfrozen_by_hand) {
            "frozen"
        } else if slos.iter().any(|slo| self.evidence(*slo, t) == "stale") || !slos.iter().any(|slo| sound(*slo)) {
            "unknown"
        } else if slos.iter().any(|slo| sound(*slo) && against(*slo, policy.guarded_below) == Ordering::Less) {
            "guarded"
        } else {
            "open"
        };
        let since_ms = if before.level == Some(level) { before.since_ms } else { t };
        Gate { level: Some(level), since_ms, holding, order }
    }

    pub fn allows(&self, service: usize, gate: &Gate, change: &str) -> bool {
        match gate.level {
            Some("open" | "guarded") => true,
            Some("frozen") if gate.order.as_ref().is_some_and(|order| order.freeze) => change == "security",
            Some("frozen") => change == "fix",
            _ => change == "fix" || self.scenario.policies[service].allow_unknown,
        }
    }
}

fn ended(start: i64, slice: u32, t: i64) -> bool {
    (start + i64::from(slice)) * MINUTE_MS <= t
}

fn minute(ms: i64) -> i64 {
    minute_of(ms)
}

pub fn minute_of(ms: i64) -> i64 {
    (ms as f64 / MINUTE_MS as f64).floor() as i64
}
