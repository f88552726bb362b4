//! SLOs, stories and journeys.

use serde::Serialize;

use super::{AlertStatus, GapStatus, LatencyStatus, Ordered, UnseenStatus};
use crate::engine::Board;
use crate::spec::{Catalog, JourneyId, SloId, SourceId, StoryId};
use crate::time::{Horizon, Timestamp};

/// Burn rates by window, shortest first; `null` where nothing happened.
type Burns = Ordered<Horizon, Option<f64>>;

/// One SLO.
#[derive(Clone, Debug, Serialize)]
pub struct SloStatus<'a> {
    /// The name of its story.
    pub story: &'a str,
    /// Its name in the story.
    pub slo: &'a str,
    /// The kind of its SLI.
    pub kind: &'static str,
    /// The service whose gate it speaks for.
    pub service: &'a str,
    /// The title of its story.
    pub title: &'a str,
    /// The promised share of good events.
    pub objective: f64,
    /// Over how long, `28d`.
    pub window: String,
    /// The instant this is about.
    pub at: Timestamp,
    /// `met`, `breached` or `no_data`.
    pub state: &'static str,
    /// Good events, or slices.
    pub good: u64,
    /// Bad events, or slices.
    pub bad: u64,
    /// All of them.
    pub total: u64,
    /// good / total; `null` when nothing happened.
    pub compliance: Option<f64>,
    /// What it may spend and has spent.
    pub budget: Budget,
    /// Burn rates.
    pub burn: Burns,
    /// Its alerts that are pending, firing or resolved.
    pub alerts: Vec<AlertStatus<'a>>,
    /// How long its requests took in its window, as it was a few ticks ago; absent of the past, and where requests
    /// carry no durations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyStatus>,
    /// `ok`, `thin`, `degraded`, `stale` or `none`.
    pub evidence: &'static str,
    /// Its newest event.
    pub last_event: Option<Timestamp>,
    /// What of its source can never be counted in its window: the newest gaps, newest last.
    pub gaps: Vec<GapStatus<'a>>,
    /// How many gaps there are in its window.
    pub gaps_total: usize,
    /// When the rules by which it counts changed, if some of what its window holds was counted by earlier ones.
    pub rules_changed: Option<Timestamp>,
    /// What targets show for it on their last pages and cannot be counted; absent without any, and of the past.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<SloError<'a>>,
    /// Of a ratio: that no target shows a series of its good (or bad) part, which may be right or a slip; absent when
    /// one does, and of the past.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<UnseenStatus<'a>>,
}

/// Something that a target shows for an SLO and that cannot be counted.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SloError<'a> {
    /// Of which target.
    pub target: &'a str,
    /// Why not, and what there is instead.
    pub text: &'a str,
}

/// The error budget of an SLO.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Budget {
    /// Bad events that the objective allows among this many.
    pub allowed: f64,
    /// Bad events.
    pub spent: u64,
    /// The part that is left; negative when overspent.
    pub remaining: f64,
    /// The same as seconds of full outage.
    pub remaining_seconds: f64,
}

impl<'a> SloStatus<'a> {
    /// How one SLO stands.
    pub fn new(catalog: &'a Catalog, board: &'a Board, id: SloId) -> Self {
        let (slo, story, found) = (&catalog[id], catalog.story_of(id), &board[id]);
        let standing = found.standing;
        let (gaps, gaps_total) = GapStatus::list(&found.gaps);
        let burns = found.burns.iter().map(|burn| (burn.window, burn.rate(slo.objective)));
        Self {
            story: &story.name,
            slo: &slo.name,
            kind: slo.sli.kind(),
            service: &catalog[story.service].name,
            title: &story.title,
            objective: slo.objective.ratio(),
            window: slo.window.to_string(),
            at: board.at,
            state: standing.state().name(),
            good: standing.tally.good,
            bad: standing.tally.bad,
            total: standing.tally.total(),
            compliance: standing.tally.compliance(),
            budget: Budget {
                allowed: standing.allowed(),
                spent: standing.spent(),
                remaining: standing.remaining(),
                remaining_seconds: standing.remaining_seconds(),
            },
            burn: Ordered(burns.collect()),
            alerts: AlertStatus::active(catalog, board, id),
            latency: found.latency.map(|latency| LatencyStatus::new(slo.window, &latency.window)),
            evidence: found.evidence.name(),
            last_event: found.last_event,
            gaps,
            gaps_total,
            rules_changed: found.rules_changed,
            errors: SloError::of(board, slo.source, id),
            unseen: UnseenStatus::of(catalog, board, id),
        }
    }
}

impl<'a> SloError<'a> {
    fn of(board: &'a Board, source: SourceId, id: SloId) -> Vec<Self> {
        let objections = board[source].targets.iter().flat_map(|targets| &targets.objections);
        let of_slo = objections.filter(|objection| objection.slo == id);
        of_slo.map(|objection| Self { target: &objection.target, text: &objection.why }).collect()
    }
}

/// One story with its SLOs.
#[derive(Clone, Debug, Serialize)]
pub struct StoryStatus<'a> {
    /// Its name.
    pub story: &'a str,
    /// For people.
    pub title: &'a str,
    /// The service that carries it.
    pub service: &'a str,
    /// Who answers for it.
    pub owner: Option<&'a str>,
    /// As written.
    pub slos: Vec<SloStatus<'a>>,
}

impl<'a> StoryStatus<'a> {
    /// How one story stands.
    pub fn new(catalog: &'a Catalog, board: &'a Board, id: StoryId) -> Self {
        let story = &catalog[id];
        Self {
            story: &story.name,
            title: &story.title,
            service: &catalog[story.service].name,
            owner: story.owner.as_deref(),
            slos: story.slos.iter().map(|slo| SloStatus::new(catalog, board, *slo)).collect(),
        }
    }
}

/// One journey.
#[derive(Clone, Debug, Serialize)]
pub struct JourneyStatus<'a> {
    /// Its name.
    pub journey: &'a str,
    /// For people.
    pub title: &'a str,
    /// The promised share of good events.
    pub objective: f64,
    /// `requests` or `average`.
    pub aggregate: &'static str,
    /// Over how long, `28d`.
    pub window: String,
    /// The instant this is about.
    pub at: Timestamp,
    /// `met`, `breached` or `no_data`.
    pub state: &'static str,
    /// The weighted share of good events; `null` when nothing happened.
    pub compliance: Option<f64>,
    /// What is left to spend.
    pub budget: JourneyBudget,
    /// Burn rates.
    pub burn: Burns,
    /// As written.
    pub members: Vec<MemberStatus<'a>>,
    /// What of its members' sources can never be counted in its window: the newest gaps, newest last.
    pub gaps: Vec<GapStatus<'a>>,
    /// How many gaps there are in its window.
    pub gaps_total: usize,
}

/// The error budget of a journey.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct JourneyBudget {
    /// The part that is left; negative when overspent.
    pub remaining: f64,
    /// The same as seconds of full outage of the whole journey.
    pub remaining_seconds: f64,
}

/// One member of a journey, over the journey's window.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemberStatus<'a> {
    /// The name of its story.
    pub story: &'a str,
    /// Its name in the story.
    pub slo: &'a str,
    /// As typed.
    pub weight: f64,
    /// good / total; `null` when nothing happened.
    pub compliance: Option<f64>,
    /// Its part of the weighted total.
    pub share: f64,
    /// Its part of the weighted bad.
    pub spent_share: f64,
}

impl<'a> JourneyStatus<'a> {
    /// How one journey stands.
    pub fn new(catalog: &'a Catalog, board: &'a Board, id: JourneyId) -> Self {
        let (journey, found) = (&catalog[id], &board[id]);
        let weighed = &found.weighed;
        let (gaps, gaps_total) = GapStatus::list(&found.gaps);
        let member = |(index, member): (usize, &crate::spec::Member)| MemberStatus {
            story: &catalog.story_of(member.slo).name,
            slo: &catalog[member.slo].name,
            weight: member.weight(),
            compliance: weighed.member_compliance(index),
            share: weighed.share(index),
            spent_share: weighed.spent_share(index),
        };
        Self {
            journey: &journey.name,
            title: &journey.title,
            objective: journey.objective.ratio(),
            aggregate: journey.aggregate.name(),
            window: journey.window.to_string(),
            at: board.at,
            state: weighed.state().name(),
            compliance: weighed.compliance(),
            budget: JourneyBudget {
                remaining: weighed.remaining(),
                remaining_seconds: weighed.remaining_seconds(journey.window),
            },
            burn: Ordered(found.burns.iter().map(|(window, weighed)| (*window, weighed.burn_rate())).collect()),
            members: journey.members.iter().enumerate().map(member).collect(),
            gaps,
            gaps_total,
        }
    }
}
