//! Reasons: why a gate stands where it stands, typed for programs and as a sentence for people.

use crate::alert::AlertStanding;
use crate::budget::{Standing, burn_rate};
use crate::gate::{Doubt, Evidence, Level, Lost, Measurement};
use crate::spec::{AlertRule, Catalog, Objective, ServiceId, SloId, SourceId, SourceKind};
use crate::time::{Horizon, Timestamp};

/// One reason of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A person froze it.
    ManualFreeze {
        /// In their words.
        reason: String,
        /// When it ends by itself.
        until: Option<Timestamp>,
    },
    /// An SLO has spent its budget.
    BudgetSpent {
        /// Which.
        slo: SloId,
        /// How it stands.
        standing: Standing,
    },
    /// An SLO held the gate and has not been seen above the thaw threshold since.
    NotRecovered {
        /// Which.
        slo: SloId,
        /// How it stands.
        standing: Standing,
        /// What that is worth.
        evidence: Evidence,
        /// What it must rise above, in billionths of its budget.
        thaw_above_billionths: i64,
    },
    /// An alert fires for which the policy freezes.
    Burning {
        /// Whose budget burns.
        slo: SloId,
        /// What it promises.
        objective: Objective,
        /// The alert.
        alert: AlertStanding,
    },
    /// A source has gone silent.
    SourceStale {
        /// Which.
        source: SourceId,
        /// Its newest record, if there ever was one.
        last_heard: Option<Timestamp>,
        /// How long it may be silent, in milliseconds.
        stale_after_ms: i64,
    },
    /// An SLO is not measured any more, or never was, although its source is heard.
    NotMeasured {
        /// Which.
        slo: SloId,
        /// Since when, and why.
        measurement: Measurement,
    },
    /// Errors may hide in what a source delivers.
    SourceDegraded {
        /// Which.
        source: SourceId,
        /// Why.
        doubt: Doubt,
    },
    /// Records of a source that lie in the window of an SLO can never be counted.
    Gap {
        /// Which.
        source: SourceId,
        /// How much of it.
        lost: Lost,
    },
    /// An SLO, or the whole service when `None`, has nothing to be judged by.
    NoEvidence {
        /// Which.
        slo: Option<SloId>,
    },
    /// An SLO has too few events to be judged by.
    ThinEvidence {
        /// Which.
        slo: SloId,
        /// How many it has.
        total: u64,
        /// How many it needs.
        min_events: u64,
    },
    /// An SLO has little budget left.
    BudgetLow {
        /// Which.
        slo: SloId,
        /// How it stands.
        standing: Standing,
    },
    /// A person holds an automatic freeze off.
    Unfrozen {
        /// In their words.
        reason: String,
        /// When that ends by itself.
        until: Option<Timestamp>,
    },
    /// This kind of change passes at this level.
    Exempt {
        /// The kind.
        change: String,
        /// The level that holds others.
        level: Level,
    },
    /// The policy allows changes without sound evidence.
    UnknownAllowed,
    /// What a gate was at a past instant is not recorded.
    NotRecorded {
        /// Whose gate.
        service: ServiceId,
        /// Since when something is recorded of it, if anything is.
        from: Option<Timestamp>,
        /// What keeps the record from being read, if something does.
        why: Option<String>,
    },
    /// A gate had another level at a past instant than the counts of today would give it.
    Recorded {
        /// What the audit says it was.
        level: Level,
        /// Since when.
        since: Timestamp,
        /// In the words of the audit.
        why: String,
    },
    /// A gate decided by other terms at a past instant than today, and what was exempt then is not recorded.
    OtherTerms {
        /// Since when it decides by others.
        since: Timestamp,
    },
    /// What the specs change of a gate could not be written to the audit.
    SpecsUnwritten {
        /// Why, and what is to be done.
        why: String,
    },
    /// Nothing has been decided for too long, so that what was decided then is no evidence now.
    BoardStale {
        /// When something was decided last.
        decided_at: Timestamp,
    },
    /// The store cannot be written, and so nothing more has been counted for too long.
    StoreFailed {
        /// Since when.
        since: Timestamp,
        /// What is wrong and what is to be done.
        why: String,
    },
    /// The store is damaged, and so nothing is known of what was counted.
    StoreCorrupt {
        /// What is wrong and what is to be done.
        why: String,
    },
}

impl Reason {
    /// Its kind in answers.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ManualFreeze { .. } => "manual_freeze",
            Self::BudgetSpent { .. } => "budget_spent",
            Self::NotRecovered { .. } => "not_recovered",
            Self::Burning { .. } => "burning",
            Self::SourceStale { .. } => "source_stale",
            Self::NotMeasured { .. } => "not_measured",
            Self::SourceDegraded { .. } => "source_degraded",
            Self::Gap { .. } => "gap",
            Self::NoEvidence { .. } => "no_evidence",
            Self::ThinEvidence { .. } => "thin_evidence",
            Self::BudgetLow { .. } => "budget_low",
            Self::Unfrozen { .. } => "unfrozen",
            Self::Exempt { .. } => "exempt",
            Self::UnknownAllowed => "unknown_allowed",
            Self::NotRecorded { .. } => "not_recorded",
            Self::Recorded { .. } => "recorded",
            Self::OtherTerms { .. } => "other_terms",
            Self::SpecsUnwritten { .. } => "specs_unwritten",
            Self::BoardStale { .. } => "board_stale",
            Self::StoreFailed { .. } => "store_failed",
            Self::StoreCorrupt { .. } => "store_corrupt",
        }
    }

    /// Whether nobody knows what is exempt from a decision that has this reason.
    pub(super) fn bars_exceptions(&self) -> bool {
        matches!(self, Self::NotRecorded { .. } | Self::OtherTerms { .. } | Self::SpecsUnwritten { .. })
    }

    /// The SLO it is about, if it is about one.
    pub fn slo(&self) -> Option<SloId> {
        match self {
            Self::BudgetSpent { slo, .. }
            | Self::NotRecovered { slo, .. }
            | Self::NotMeasured { slo, .. }
            | Self::ThinEvidence { slo, .. }
            | Self::Burning { slo, .. }
            | Self::BudgetLow { slo, .. } => Some(*slo),
            Self::NoEvidence { slo } => *slo,
            _ => None,
        }
    }

    /// The source it is about, if it is about one.
    pub fn source(&self) -> Option<SourceId> {
        match self {
            Self::SourceStale { source, .. } | Self::SourceDegraded { source, .. } | Self::Gap { source, .. } => {
                Some(*source)
            }
            _ => None,
        }
    }

    /// What is wrong with the source, as a name, where there are several ways.
    pub fn cause(&self) -> Option<&'static str> {
        match self {
            Self::SourceDegraded { doubt, .. } => Some(doubt.name()),
            _ => None,
        }
    }

    /// The remaining budget that it speaks of.
    pub fn remaining(&self) -> Option<f64> {
        match self {
            Self::BudgetSpent { standing, .. }
            | Self::NotRecovered { standing, .. }
            | Self::BudgetLow { standing, .. } => Some(standing.remaining()),
            _ => None,
        }
    }

    /// One sentence without a full stop.
    pub fn text(&self, catalog: &Catalog) -> String {
        let spent = |slo: &SloId, standing: &Standing| {
            let (name, percent) = (path(catalog, *slo), standing.spent_percent());
            format!("{name} has spent {percent}% of its {} error budget", standing.window)
        };
        match self {
            Self::ManualFreeze { reason, until } => format!("frozen by hand{}: {reason}", ending(*until)),
            Self::BudgetSpent { slo, standing } | Self::BudgetLow { slo, standing } => spent(slo, standing),
            Self::NotRecovered { slo, standing, evidence: Evidence::Ok, thaw_above_billionths } => {
                let above = *thaw_above_billionths as f64 / 1e7;
                format!("{}; the gate opens again when more than {above}% are left", spent(slo, standing))
            }
            Self::NotRecovered { slo, .. } => {
                let name = path(catalog, *slo);
                format!("{name} had spent its error budget, and there is no sound evidence that it has recovered")
            }
            Self::Burning { slo, objective, alert } => {
                let (name, AlertRule { severity, long, short, factor, .. }) = (path(catalog, *slo), alert.rule);
                let rate = burn_rate(alert.long, *objective).unwrap_or_default();
                let often = format!("{name} burns its error budget {rate:.1} times too fast over {long}");
                format!("{often} (a {} from {factor} over {long} and {short})", severity.name())
            }
            Self::SourceStale { source, last_heard: Some(last_heard), stale_after_ms } => {
                let (name, longest) = (&catalog[*source].name, length(*stale_after_ms));
                format!("source {name} was last heard at {last_heard}, more than {longest} ago")
            }
            Self::SourceStale { source, last_heard: None, .. } => {
                let name = &catalog[*source].name;
                format!(
                    "source {name} was never heard; what its SLOs have counted is from before they were read from it"
                )
            }
            Self::NotMeasured { slo, measurement } => measurement.text(&path(catalog, *slo)),
            Self::SourceDegraded { source, doubt } => doubt.text(&catalog[*source].name),
            Self::Gap { source, lost } => match &catalog[*source].kind {
                SourceKind::File(_) => lost.text(&catalog[*source].name),
                SourceKind::Scrape(_) => lost.text_of_events(&catalog[*source].name),
            },
            Self::NoEvidence { slo: Some(slo) } => format!("{} has seen no events in its window", path(catalog, *slo)),
            Self::NoEvidence { slo: None } => "no SLO speaks for this service".to_owned(),
            Self::ThinEvidence { slo, total, min_events } => {
                let events = if *total == 1 { "event" } else { "events" };
                format!("{} has seen {total} {events} in its window, of at least {min_events}", path(catalog, *slo))
            }
            Self::Unfrozen { reason, until } => format!("unfrozen by hand{}: {reason}", ending(*until)),
            Self::Exempt { change, level: Level::Frozen } => format!("changes of kind {change} pass this freeze"),
            Self::Exempt { change, .. } => format!("changes of kind {change} pass without sound evidence"),
            Self::UnknownAllowed => {
                "the policy allows changes without sound evidence (on_unknown = \"allow\")".to_owned()
            }
            Self::NotRecorded { service, from, why } => {
                let name = &catalog[*service].name;
                let known = match (why, from) {
                    (Some(why), _) => format!(": {why}"),
                    (None, Some(from)) => format!("; its audit begins at {from}"),
                    (None, None) => "; there is no audit of it".to_owned(),
                };
                format!("what the gate of {name} was at that time is not known{known}")
            }
            Self::Recorded { level, since, why } => format!("the audit says {} since {since}: {why}", level.name()),
            Self::OtherTerms { since } => {
                format!("the gate decides by other terms since {since}; what was exempt before is not known")
            }
            Self::SpecsUnwritten { why } => {
                format!("what the specs changed could not be written to the audit yet: {why}")
            }
            Self::BoardStale { decided_at } => format!("nothing has been counted and decided since {decided_at}"),
            Self::StoreFailed { since, why } => format!("nothing has been counted since {since}: {why}"),
            Self::StoreCorrupt { why } => why.clone(),
        }
    }
}

fn path(catalog: &Catalog, slo: SloId) -> String {
    format!("{}/{}", catalog.story_of(slo).name, catalog[slo].name)
}

fn ending(until: Option<Timestamp>) -> String {
    until.map(|until| format!(" until {until}")).unwrap_or_default()
}

/// A length of time as specs write it: whole minutes as such, anything else in seconds or milliseconds.
fn length(millis: i64) -> String {
    let minutes = u32::try_from(millis / 60_000).ok().and_then(Horizon::new);
    match minutes {
        Some(minutes) if millis % 60_000 == 0 => minutes.to_string(),
        _ if millis % 1_000 == 0 => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}
