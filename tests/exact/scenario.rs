//! Scenarios: specs, events and instants as plain data, drawn so that boundaries are likely.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use slogate::counts::{Batch, Column, Page, columns};
use slogate::formats::Template;
use slogate::spec::*;
use slogate::time::{Horizon, Timestamp};

pub const MINUTE_MS: i64 = 60_000;
pub const SLOS: usize = 6;
pub const SOURCES: usize = 2;
/// Which story each SLO belongs to, and which service each story.
pub const STORY_OF: [usize; SLOS] = [0, 0, 1, 1, 2, 2];
pub const SERVICE_OF: [usize; 3] = [0, 0, 1];
pub const LONGEST: i64 = 28 * 24 * 60;

const WINDOWS: [u32; 8] = [60, 61, 90, 1_440, 1_441, 4_320, 7 * 1_440, 40_320];
const SLICES: [u32; 10] = [1, 2, 5, 7, 13, 45, 60, 61, 1_500, 4_320];
const BURNS: [i64; 8] = [5, 30, 60, 120, 360, 1_440, 4_320, 40_320];

#[derive(Clone, Debug)]
pub struct Scenario {
    pub slos: Vec<SloPlan>,
    pub journeys: Vec<JourneyPlan>,
    pub policies: Vec<PolicyPlan>,
    /// How many minutes more than the longest window are kept.
    pub kept_more: u32,
    pub start_ms: i64,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct SloPlan {
    pub source: usize,
    pub objective: u64,
    pub window: u32,
    pub kind: KindPlan,
}

#[derive(Clone, Copy, Debug)]
pub enum KindPlan {
    Availability,
    Latency,
    /// In millionths of a percent, and minutes.
    Percentile(u64, u32),
    /// In millionths per second, and minutes.
    Throughput(u64, u32),
}

#[derive(Clone, Debug)]
pub struct JourneyPlan {
    pub average: bool,
    pub objective: u64,
    pub window: u32,
    /// SLO and weight in millionths.
    pub members: Vec<(usize, u64)>,
}

#[derive(Clone, Debug)]
pub struct PolicyPlan {
    pub allow_unknown: bool,
    pub frozen_below: i64,
    pub thaw_above: i64,
    pub guarded_below: i64,
    pub stale_after_ms: i64,
    pub min_events: u64,
}

#[derive(Clone, Debug)]
pub enum Step {
    /// Events arrive; the number says into how many batches they are split.
    Events(Vec<EventPlan>, usize),
    Wait(i64),
    /// Somebody looks at the board of this long ago.
    LookBack(i64),
    Order {
        service: usize,
        freeze: bool,
        until_ms: Option<i64>,
    },
}

#[derive(Clone, Debug)]
pub struct EventPlan {
    pub source: usize,
    /// Minutes before the minute of now; negative is ahead.
    pub minutes_ago: i64,
    pub millis: i64,
    /// Per SLO: not about it, good, bad.
    pub outcomes: [Option<bool>; SLOS],
    pub missing: bool,
    pub times: usize,
}

/// One request, on its way into the engine and into the model.
#[derive(Clone, Debug)]
pub struct Event {
    pub ms: i64,
    pub source: usize,
    pub outcomes: [Option<bool>; SLOS],
    pub missing: bool,
}

impl EventPlan {
    pub fn events(&self, now_ms: i64) -> impl Iterator<Item = Event> {
        let minute = now_ms.div_euclid(MINUTE_MS) - self.minutes_ago;
        let event = Event {
            ms: minute * MINUTE_MS + self.millis,
            source: self.source,
            outcomes: self.outcomes,
            missing: self.missing,
        };
        std::iter::repeat_n(event, self.times)
    }
}

impl Scenario {
    /// Whether a request of `source` with these outcomes counts for `slo`, and how. For the rate kind it only counts.
    pub fn outcome(&self, event: &Event, slo: usize) -> Option<bool> {
        let plan = &self.slos[slo];
        let outcome = event.outcomes[slo].filter(|_| plan.source == event.source)?;
        Some(outcome || matches!(plan.kind, KindPlan::Throughput(..)))
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        let story = |id: usize| Story {
            name: format!("story{id}"),
            title: format!("Story {id}"),
            service: ServiceId(SERVICE_OF[id]),
            owner: None,
            slos: (0..SLOS).filter(|slo| STORY_OF[*slo] == id).map(SloId).collect(),
        };
        let service = |id: usize| Service {
            name: format!("service{id}"),
            policy: self.policies[id].policy(),
            slos: (0..SLOS).filter(|slo| SERVICE_OF[STORY_OF[*slo]] == id).map(SloId).collect(),
        };
        Arc::new(Catalog {
            directory: "specs".into(),
            server: Server { listen: "127.0.0.1:9999".parse().unwrap(), token: None },
            store: StoreUrl::Redb("slogate.redb".into()),
            sources: (0..SOURCES).map(source).collect(),
            stories: (0..3).map(story).collect(),
            slos: self.slos.iter().zip(0..).map(|(plan, id)| plan.slo(id)).collect(),
            journeys: self.journeys.iter().zip(0..).map(|(plan, id)| plan.journey(id)).collect(),
            services: (0..2).map(service).collect(),
            renames: Renames::default(),
        })
    }

    /// What a worker would hand over for these events of one source. `latest` is the last minute that will be accepted:
    /// workers refuse most of what is later themselves, and would not call it their newest event.
    pub fn batch(&self, catalog: &Catalog, source: usize, events: &[Event], latest: i64) -> Batch {
        let columns = columns(catalog, SourceId(source));
        let mut pages: BTreeMap<i64, Page> = BTreeMap::new();
        let mut newest = vec![None; columns.len()];
        for event in events {
            let minute = event.ms.div_euclid(MINUTE_MS);
            let hour = minute.div_euclid(60);
            let page = pages.entry(hour).or_insert_with(|| Page::new(hour));
            let row = minute.rem_euclid(60) as usize;
            let matched = (0..SLOS).any(|slo| self.outcome(event, slo).is_some());
            for (index, column) in columns.iter().enumerate() {
                let counted = match column {
                    Column::Slo(slo) => self.outcome(event, slo.0),
                    Column::Records => Some(matched),
                    Column::Missing => event.missing.then_some(true),
                    Column::Arrivals => None,
                };
                let hour = page.column_mut(index);
                match counted {
                    Some(true) => hour.good[row] += 1,
                    Some(false) => hour.bad[row] += 1,
                    None => continue,
                }
                if minute <= latest {
                    newest[index] = newest[index].max(Some(Timestamp::from_millis(event.ms)));
                }
            }
        }
        let pages = pages.into_values().collect();
        Batch {
            source: SourceId(source),
            pages,
            newest,
            rejected: BTreeMap::new(),
            truncated: 0,
            records: events.len() as u64,
            unread_run: 0,
            samples: Vec::new(),
            unmatched: Vec::new(),
            durations: Vec::new(),
        }
    }
}

impl SloPlan {
    fn slo(&self, id: usize) -> Slo {
        let statuses = Statuses::range(100, 599);
        let slice = |minutes| Horizon::of_minutes(minutes);
        Slo {
            name: format!("slo{id}"),
            story: StoryId(STORY_OF[id]),
            objective: Objective::new(self.objective).unwrap(),
            window: Horizon::of_minutes(self.window),
            source: SourceId(self.source),
            requests: Some(Requests { patterns: Vec::new(), hosts: Vec::new() }),
            alerts: AlertRule::recommended(Horizon::of_minutes(self.window)),
            sli: match self.kind {
                KindPlan::Availability => Sli::Availability { good: statuses, ignore: Statuses::NONE },
                KindPlan::Latency => Sli::Latency { threshold_us: 500_000, count: statuses },
                KindPlan::Percentile(percentile, minutes) => Sli::Percentile {
                    percentile: Percentile::new(percentile).unwrap(),
                    threshold_us: 500_000,
                    slice: slice(minutes),
                },
                KindPlan::Throughput(minimum_millionths, minutes) => {
                    Sli::Throughput { minimum_millionths, slice: slice(minutes) }
                }
            },
        }
    }
}

impl JourneyPlan {
    fn journey(&self, id: usize) -> Journey {
        let member = |(slo, weight): &(usize, u64)| Member {
            slo: SloId(*slo),
            weight_millionths: NonZeroU64::new(*weight).unwrap(),
        };
        Journey {
            name: format!("journey{id}"),
            title: format!("Journey {id}"),
            objective: Objective::new(self.objective).unwrap(),
            window: Horizon::of_minutes(self.window),
            aggregate: if self.average { Aggregate::Average } else { Aggregate::Requests },
            members: self.members.iter().map(member).collect(),
        }
    }
}

impl PolicyPlan {
    fn policy(&self) -> GatePolicy {
        GatePolicy {
            on_unknown: if self.allow_unknown { OnUnknown::Allow } else { OnUnknown::Deny },
            frozen_below_billionths: self.frozen_below,
            thaw_above_billionths: self.thaw_above,
            guarded_below_billionths: self.guarded_below,
            stale_after_ms: self.stale_after_ms,
            min_events: self.min_events,
            max_unparsed_billionths: 10_000_000,
            on_gap: OnGap::Show,
            exempt: vec!["fix".into()],
            freeze_on: None,
        }
    }
}

fn source(id: usize) -> Source {
    let file = FileSource {
        paths: vec!["access.log".into()],
        start: Start::Beginning,
        format: Template::preset("combined").unwrap(),
        max_line: 65_536,
    };
    Source { name: format!("lb{id}"), kind: SourceKind::File(file) }
}

pub fn scenarios() -> impl Strategy<Value = Scenario> {
    let start = (select(vec![0, 1_800_000_000_000]), 0..3 * 86_400_000i64).prop_map(|(base, offset)| base + offset);
    let journeys = (journey(false), journey(true)).prop_map(|(requests, average)| vec![requests, average]);
    (vec(slo(), SLOS), journeys, vec(policy(), 2), select(vec![0, 0, 1, 1_440, 40_320]), start, vec(step(), 3..14))
        .prop_map(|(slos, journeys, policies, kept_more, start_ms, steps)| Scenario {
            slos,
            journeys,
            policies,
            kept_more,
            start_ms,
            steps,
        })
}

fn slo() -> impl Strategy<Value = SloPlan> {
    let percentile = select(vec![50_000_000, 66_666_666, 90_000_000, 99_000_000]);
    // A rate is drawn as the requests that a slice needs, so that one request more or less decides.
    let throughput = (0..8u64, select(SLICES.to_vec()), 0..2u64).prop_map(|(needed, slice, more)| {
        KindPlan::Throughput(needed * 1_000_000 / (u64::from(slice) * 60) + more, slice)
    });
    let kind = prop_oneof![
        Just(KindPlan::Availability),
        Just(KindPlan::Latency),
        (percentile, select(SLICES.to_vec())).prop_map(|(percentile, slice)| KindPlan::Percentile(percentile, slice)),
        throughput,
    ];
    (select(vec![0, 0, 1]), objective(), select(WINDOWS.to_vec()), kind).prop_map(
        |(source, objective, window, kind)| {
            let window = match kind {
                KindPlan::Percentile(_, slice) | KindPlan::Throughput(_, slice) => window.max(slice),
                _ => window,
            };
            SloPlan { source, objective, window, kind }
        },
    )
}

fn objective() -> impl Strategy<Value = u64> {
    select(vec![500_000_000, 750_000_000, 800_000_000, 900_000_000, 990_000_000, 333_333_333, 1, 999_999_999])
}

fn journey(average: bool) -> impl Strategy<Value = JourneyPlan> {
    let weight = select(vec![1, 500_000, 1_000_000, 3_000_000, 7_000_000]);
    let members = proptest::sample::subsequence((0..SLOS).collect::<Vec<_>>(), 1..=4);
    let members = (members, vec(weight, 4)).prop_map(|(slos, weights)| slos.into_iter().zip(weights).collect());
    let objective = select(vec![500_000_000, 750_000_000, 900_000_000, 333_333_333]);
    (objective, select(WINDOWS.to_vec()), members).prop_map(move |(objective, window, members)| JourneyPlan {
        average,
        objective,
        window,
        members,
    })
}

fn policy() -> impl Strategy<Value = PolicyPlan> {
    (
        any::<bool>(),
        select(vec![-1_000_000_000, 0, 0, 50_000_000, 1_000_000_000]),
        select(vec![0, 50_000_000, 500_000_000]),
        select(vec![250_000_000, 600_000_000]),
        select(vec![30_000, 600_000, 7_200_000, 90_000_000]),
        select(vec![0, 1, 2, 5, 12]),
    )
        .prop_map(|(allow_unknown, frozen_below, thaw_above, guarded_below, stale_after_ms, min_events)| {
            PolicyPlan { allow_unknown, frozen_below, thaw_above, guarded_below, stale_after_ms, min_events }
        })
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![
        Just(0i64),
        1..2_000i64,
        1..180_000i64,
        (1..130i64).prop_map(|minutes| minutes * MINUTE_MS),
        (1..40i64).prop_map(|hours| hours * 3_600_000),
        (select(BURNS.to_vec()), -1..=1i64).prop_map(|(minutes, off)| (minutes + off) * MINUTE_MS),
        (60..80i64).prop_map(|days| days * 86_400_000),
    ];
    let until = prop_oneof![Just(None), (1..7_200_000i64).prop_map(Some), (0..2i64).prop_map(Some)];
    let order = (0..2usize, any::<bool>(), until).prop_map(|(service, freeze, until_ms)| Step::Order {
        service,
        freeze,
        until_ms,
    });
    prop_oneof![
        6 => (vec(event(), 1..25), 1..4usize).prop_map(|(events, batches)| Step::Events(events, batches)),
        4 => wait.clone().prop_map(Step::Wait),
        1 => wait.prop_map(Step::LookBack),
        1 => order,
    ]
}

fn event() -> impl Strategy<Value = EventPlan> {
    let edges = [WINDOWS.map(i64::from).as_slice(), BURNS.as_slice()].concat();
    let minutes_ago = prop_oneof![
        4 => 0..4i64,
        2 => -7..1i64,
        4 => (select(edges), -2..=2i64).prop_map(|(edge, off)| edge + off),
        4 => 0..140i64,
        1 => 0..LONGEST + 100,
        1 => (LONGEST - 2)..(LONGEST + 3),
    ];
    let millis = prop_oneof![Just(0i64), Just(MINUTE_MS - 1), 0..MINUTE_MS];
    let outcome = || prop_oneof![2 => Just(None), 5 => Just(Some(true)), 2 => Just(Some(false))];
    let outcomes = proptest::array::uniform6(outcome());
    let times = prop_oneof![4 => Just(1usize), 2 => 1..8usize, 1 => Just(9usize)];
    (select(vec![0, 0, 0, 1]), minutes_ago, millis, outcomes, any::<bool>(), times).prop_map(
        |(source, minutes_ago, millis, outcomes, missing, times)| EventPlan {
            source,
            minutes_ago,
            millis,
            outcomes,
            missing,
            times,
        },
    )
}
