//! Outcomes: the few ways in which a request can count.

use std::collections::HashMap;

use super::{Outcome, TooComplex};
use crate::spec::{Catalog, Sli, Slo, SloId};

/// The lowest status that a request can have; tables begin with it.
const FIRST_STATUS: u16 = 100;
const STATUSES: usize = 500;
/// More outcomes than this make pages of counts that no longer fit their purpose.
const MOST_OUTCOMES: usize = 1 << 20;

/// What an outcome means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    /// Whether any SLO is about the request, counted or not.
    pub matched: bool,
    /// Whether a duration-based SLO wanted to count it, but it has no duration.
    pub missing_duration: bool,
    /// For which SLOs it counts as good.
    pub good: Vec<SloId>,
    /// For which SLOs it counts as bad.
    pub bad: Vec<SloId>,
}

/// The set of SLOs for which a request counts, and where its outcomes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    first: u32,
    /// Where its table of status classes is.
    table: u32,
    /// Its thresholds.
    thresholds: (u32, u32),
}

impl Action {
    /// No SLO at all.
    pub const NONE: Self = Self { first: 0, table: 0, thresholds: (0, 0) };
}

/// All outcomes of a source.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// Per table and status: the class of the status.
    tables: Vec<[u16; STATUSES]>,
    /// Of all actions, each action's ascending, in microseconds.
    thresholds: Vec<u64>,
    meanings: Vec<Meaning>,
}

impl Outcomes {
    pub fn len(&self) -> usize {
        self.meanings.len()
    }

    pub fn meaning(&self, outcome: Outcome) -> &Meaning {
        &self.meanings[outcome as usize]
    }

    /// The outcome of a request with this action. `status` is 100 to 599.
    #[inline(always)]
    pub fn of(&self, action: Action, status: u16, duration_us: Option<u64>) -> Outcome {
        let class = u32::from(self.tables[action.table as usize][usize::from(status - FIRST_STATUS)]);
        let (from, to) = action.thresholds;
        if from == to {
            return action.first + class;
        }
        let thresholds = &self.thresholds[from as usize..to as usize];
        let durations = to - from + 2;
        let duration = match duration_us {
            Some(duration) => thresholds.iter().map(|threshold| u32::from(*threshold < duration)).sum(),
            None => durations - 1,
        };
        action.first + class * durations + duration
    }
}

/// Builds outcomes, one action after the other.
pub struct Compiler<'c> {
    catalog: &'c Catalog,
    actions: HashMap<Vec<SloId>, Action>,
    outcomes: Outcomes,
}

impl<'c> Compiler<'c> {
    pub fn new(catalog: &'c Catalog) -> Self {
        let outcomes =
            Outcomes { tables: vec![[0; STATUSES]], thresholds: Vec::new(), meanings: vec![Meaning::default()] };
        Self { catalog, actions: HashMap::from([(Vec::new(), Action::NONE)]), outcomes }
    }

    /// The action for this ascending set of SLOs.
    pub fn action(&mut self, slos: &[SloId]) -> Result<Action, TooComplex> {
        if let Some(action) = self.actions.get(slos) {
            return Ok(*action);
        }
        let (table, representatives) = self.status_classes(slos);
        let mut thresholds: Vec<u64> = slos.iter().filter_map(|slo| self.catalog[*slo].sli.threshold_us()).collect();
        thresholds.sort_unstable();
        thresholds.dedup();
        let mut durations: Vec<Option<u64>> = vec![None];
        if !thresholds.is_empty() {
            // One duration of each class: within the first threshold, within the second, ..., beyond the last, none.
            durations = thresholds.iter().copied().map(Some).chain([Some(u64::MAX), None]).collect();
        }
        let action = Action {
            first: self.outcomes.meanings.len() as u32,
            table: self.table(table),
            thresholds: self.thresholds(&thresholds),
        };
        for status in representatives {
            for duration in &durations {
                let meaning = self.mean(slos, status, *duration);
                self.outcomes.meanings.push(meaning);
            }
        }
        if self.outcomes.meanings.len() > MOST_OUTCOMES {
            return Err(TooComplex { what: "too many distinct outcomes of a request".into(), most: MOST_OUTCOMES });
        }
        self.actions.insert(slos.to_vec(), action);
        Ok(action)
    }

    pub fn finish(self) -> Outcomes {
        self.outcomes
    }

    /// Statuses that all these SLOs treat alike are one class: the class of each, and one status of each class.
    fn status_classes(&self, slos: &[SloId]) -> ([u16; STATUSES], Vec<u16>) {
        let mut classes: HashMap<Vec<Treatment>, u16> = HashMap::new();
        let mut representatives = Vec::new();
        let mut table = [0; STATUSES];
        for (status, class) in (FIRST_STATUS..).zip(&mut table) {
            let treatments = slos.iter().map(|slo| treat(&self.catalog[*slo].sli, status)).collect();
            *class = *classes.entry(treatments).or_insert_with(|| {
                representatives.push(status);
                representatives.len() as u16 - 1
            });
        }
        (table, representatives)
    }

    fn table(&mut self, table: [u16; STATUSES]) -> u32 {
        let tables = &mut self.outcomes.tables;
        let place = tables.iter().position(|known| *known == table).unwrap_or_else(|| {
            tables.push(table);
            tables.len() - 1
        });
        place as u32
    }

    fn thresholds(&mut self, thresholds: &[u64]) -> (u32, u32) {
        let from = self.outcomes.thresholds.len() as u32;
        self.outcomes.thresholds.extend_from_slice(thresholds);
        (from, self.outcomes.thresholds.len() as u32)
    }

    fn mean(&self, slos: &[SloId], status: u16, duration_us: Option<u64>) -> Meaning {
        let mut meaning = Meaning { matched: true, ..Meaning::default() };
        for slo in slos {
            match judge(&self.catalog[*slo], status, duration_us) {
                Judgement::Good => meaning.good.push(*slo),
                Judgement::Bad => meaning.bad.push(*slo),
                Judgement::NotCounted => {}
                Judgement::MissingDuration => meaning.missing_duration = true,
            }
        }
        meaning
    }
}

/// What a status alone decides.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Treatment {
    Good,
    Bad,
    NotCounted,
    ByDuration,
}

fn treat(sli: &Sli, status: u16) -> Treatment {
    match sli {
        Sli::Availability { ignore, .. } if ignore.contains(status) => Treatment::NotCounted,
        Sli::Availability { good, .. } if good.contains(status) => Treatment::Good,
        Sli::Availability { .. } => Treatment::Bad,
        Sli::Latency { count, .. } if !count.contains(status) => Treatment::NotCounted,
        Sli::Latency { .. } | Sli::Percentile { .. } => Treatment::ByDuration,
        Sli::Throughput { .. } => Treatment::Good,
        // No request of a log is theirs.
        Sli::Ratio { .. } | Sli::Histogram { .. } | Sli::Gauge { .. } => Treatment::NotCounted,
    }
}

enum Judgement {
    Good,
    Bad,
    NotCounted,
    MissingDuration,
}

fn judge(slo: &Slo, status: u16, duration_us: Option<u64>) -> Judgement {
    match (treat(&slo.sli, status), duration_us, slo.sli.threshold_us()) {
        (Treatment::Good, ..) => Judgement::Good,
        (Treatment::Bad, ..) => Judgement::Bad,
        (Treatment::ByDuration, Some(duration), Some(threshold)) if duration <= threshold => Judgement::Good,
        (Treatment::ByDuration, Some(_), _) => Judgement::Bad,
        (Treatment::ByDuration, None, _) => Judgement::MissingDuration,
        (Treatment::NotCounted, ..) => Judgement::NotCounted,
    }
}
