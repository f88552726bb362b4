//! Journeys.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use super::names::Names;
use super::story::objective;
use super::value::{self, Bounds};
use crate::spec::catalog::{Aggregate, Journey, Member, SloId};
use crate::spec::fault::{At, Faults, Place, quoted};
use crate::spec::written;
use crate::time::Horizon;

const MOST_MEMBERS: usize = 1_000;
const WEIGHT: Bounds = Bounds { places: 6, least: 1, most: 1_000_000_000_000, words: "above 0 and at most 1000000" };

/// Compiles every journey.
pub(super) fn journeys(names: &Names<'_>, faults: &Faults<'_>) -> Vec<Option<Journey>> {
    names.journeys().iter().map(|(name, journey)| self::journey(name, journey, names, faults)).collect()
}

fn journey(name: &str, written: &written::Journey, names: &Names<'_>, faults: &Faults<'_>) -> Option<Journey> {
    const AGGREGATES: [(&str, Aggregate); 2] = [("requests", Aggregate::Requests), ("average", Aggregate::Average)];
    let title = written.title.or(name.to_owned(), |at| value::prose(at, "title", faults));
    let aggregate =
        written.aggregate.or(Aggregate::Requests, |at| value::choice(at, "a way to aggregate", &AGGREGATES, faults));
    let window = written.window.or(Horizon::DAYS_28, |at| value::window(at, faults));
    let members = written.members.required(faults).and_then(|at| members(at, names, faults));
    let objective = objective(&written.objective, faults);
    Some(Journey {
        name: written.name.given().and_then(|at| value::name(at, "a journey", faults))?,
        title: title?,
        objective: objective?,
        window: window?,
        aggregate: aggregate?,
        members: members?,
    })
}

fn members(at: &At<Vec<written::Member>>, names: &Names<'_>, faults: &Faults<'_>) -> Option<Vec<Member>> {
    match at.value.len() {
        0 => faults.missing(at.place, "a journey needs at least one member in `stories`"),
        count if count > MOST_MEMBERS => faults.error(at.place, value::too_many(count, "stories", MOST_MEMBERS)),
        _ => {
            let mut seen = BTreeMap::new();
            let members = at.value.iter().map(|written| member(written, names, &mut seen, faults));
            return members.collect::<Vec<_>>().into_iter().collect();
        }
    }
    None
}

fn member(
    written: &written::Member,
    names: &Names<'_>,
    seen: &mut BTreeMap<SloId, Place>,
    faults: &Faults<'_>,
) -> Option<Member> {
    let (story, slo) = (written.story.required(faults), written.slo.required(faults));
    let weight = written.weight.required(faults);
    let weight = weight.and_then(|at| value::within(at, "the weight", &WEIGHT, faults));
    let id = story.and_then(|story| names.slo(story, slo, faults))?;
    if let Some(first) = seen.get(&id) {
        let member = quoted(&format!("{}/{}", story?.value, slo?.value));
        let first = faults.locate(*first);
        faults.error(written.place, format!("{member} is a member of this journey twice; the first is at {first}"));
    }
    seen.entry(id).or_insert(written.place);
    Some(Member { slo: id, weight_millionths: NonZeroU64::new(weight?.unsigned_abs())? })
}
