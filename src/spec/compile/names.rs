//! Every name of the directory and its id; names that occur twice, and names that do not exist.

use std::collections::{BTreeMap, BTreeSet};

use crate::spec::catalog::{ServiceId, SloId, SourceId};
use crate::spec::fault::{At, Faults, Place, did_you_mean, quoted};
use crate::spec::table::Field;
use crate::spec::written::{Journey, Slo, Story, Written};

/// More would not fit the page that shows them, nor the memory planned for them.
const MOST_SLOS: usize = 10_000;

/// The names of sources, services, stories and their SLOs, as typed, whether or not they are sound.
pub(super) struct Names<'w> {
    sources: BTreeMap<&'w str, SourceId>,
    sources_are_whole: bool,
    services: Vec<&'w str>,
    services_are_whole: bool,
    stories: Vec<NamedStory<'w>>,
    /// Positions in `stories`; of those with the same name, of the first.
    by_name: BTreeMap<&'w str, usize>,
    stories_are_whole: bool,
    journeys: Vec<(&'w str, &'w Journey)>,
}

/// A story with its ids.
pub(super) struct NamedStory<'w> {
    /// Empty when it could not be read.
    pub name: &'w str,
    pub written: &'w Story,
    /// Its SLOs, in order. Those without a readable name have none here.
    pub slos: Vec<NamedSlo<'w>>,
    /// Whether every SLO's name could be read.
    is_whole: bool,
}

/// An SLO with its id.
pub(super) struct NamedSlo<'w> {
    pub name: Option<&'w str>,
    pub id: SloId,
    pub written: &'w Slo,
}

impl<'w> Names<'w> {
    /// Collects the names, reports those that occur twice and parts that should have one and have none.
    pub fn of(written: &'w Written, faults: &Faults<'_>) -> Self {
        let (sources, sources_are_whole) = sources(written, faults);
        let (stories, stories_are_whole) = stories(written, faults);
        let services: Vec<_> =
            written.documents.iter().filter_map(|document| document.story.as_ref()).map(service).collect();
        let services_are_whole = stories_are_whole && services.iter().all(Option::is_some);
        let services = services.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().collect();
        let positions = stories.iter().enumerate().rev().map(|(number, story)| (story.name, number));
        Self {
            by_name: positions.filter(|(name, _)| !name.is_empty()).collect(),
            journeys: journeys(written, faults),
            sources,
            sources_are_whole,
            services,
            services_are_whole,
            stories,
            stories_are_whole,
        }
    }

    /// The stories, by name; also those without one and those whose name is taken, for the sake of their faults.
    pub fn stories(&self) -> &[NamedStory<'w>] {
        &self.stories
    }

    /// Whether there is no story beside [`Names::stories`].
    pub fn stories_are_whole(&self) -> bool {
        self.stories_are_whole
    }

    /// The journeys, by name; also those without one and those whose name is taken.
    pub fn journeys(&self) -> &[(&'w str, &'w Journey)] {
        &self.journeys
    }

    /// The services, by name.
    pub fn services(&self) -> &[&'w str] {
        &self.services
    }

    /// Whether there is a story of this name.
    pub fn has_story(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether the story of this name has an SLO of that one.
    pub fn has_slo(&self, story: &str, slo: &str) -> bool {
        let slos = self.by_name.get(story).map_or(&[][..], |number| &self.stories[*number].slos);
        slos.iter().any(|known| known.name == Some(slo))
    }

    /// The id of a source; reports one that does not exist.
    pub fn source(&self, at: &At<String>, faults: &Faults<'_>) -> Option<SourceId> {
        let found = self.sources.get(at.value.as_str()).copied();
        if found.is_none() {
            let missing = format!("there is no source {}", quoted(&at.value));
            unknown(at, &missing, self.sources.keys().copied(), self.sources_are_whole, faults);
        }
        found
    }

    /// The id of a service; reports one that no story names.
    pub fn service(&self, at: &At<String>, faults: &Faults<'_>) -> Option<ServiceId> {
        let found = self.services.binary_search(&at.value.as_str()).ok().map(ServiceId);
        if found.is_none() {
            let missing = format!("no story names the service {}", quoted(&at.value));
            unknown(at, &missing, self.services.iter().copied(), self.services_are_whole, faults);
        }
        found
    }

    /// The id of a story's SLO; reports either if it does not exist.
    pub fn slo(&self, story: &At<String>, slo: Option<&At<String>>, faults: &Faults<'_>) -> Option<SloId> {
        let Some(number) = self.by_name.get(story.value.as_str()) else {
            let missing = format!("there is no story {}", quoted(&story.value));
            unknown(story, &missing, self.by_name.keys().copied(), self.stories_are_whole, faults);
            return None;
        };
        let (named, slo) = (&self.stories[*number], slo?);
        let found = named.slos.iter().find(|known| known.name == Some(&slo.value)).map(|known| known.id);
        if found.is_none() {
            let missing = format!("the story {} has no SLO {}", quoted(&story.value), quoted(&slo.value));
            unknown(slo, &missing, named.slos.iter().filter_map(|known| known.name), named.is_whole, faults);
        }
        found
    }
}

/// Reports a name that does not exist. Where some names could not be read it may be one of those, so that it is only
/// reported when it looks like a misspelt one of the others.
fn unknown<'n>(
    at: &At<String>,
    missing: &str,
    names: impl Iterator<Item = &'n str>,
    is_whole: bool,
    faults: &Faults<'_>,
) {
    let help = did_you_mean(&at.value, names);
    if is_whole || !help.is_empty() {
        faults.error(at.place, format!("{missing}{help}"));
    }
}

impl<'w> NamedStory<'w> {
    /// The id of the service that carries it.
    pub fn service(&self, names: &Names<'w>) -> Option<ServiceId> {
        names.services.binary_search(&service(self.written)?).ok().map(ServiceId)
    }
}

/// The name of the service that carries a story: the story's own when none is given.
fn service(story: &Story) -> Option<&str> {
    let name = story.name.given().map(|at| at.value.as_str());
    story.service.or(name, |at| Some(Some(&at.value))).flatten()
}

/// Names seen so far, to report the second use of one at the place of the first.
struct Unique<'w> {
    what: &'static str,
    seen: BTreeMap<&'w str, Place>,
}

impl<'w> Unique<'w> {
    fn new(what: &'static str) -> Self {
        Self { what, seen: BTreeMap::new() }
    }

    /// The name of a part; reports it missing, and reports it when it is not new.
    fn name(&mut self, field: &'w Field<String>, faults: &Faults<'_>) -> Option<&'w str> {
        let at = field.required(faults)?;
        let first = *self.seen.entry(&at.value).or_insert(at.place);
        if first != at.place {
            let (name, first) = (quoted(&at.value), faults.locate(first));
            faults.error(at.place, format!("duplicate {} {name}; the first is at {first}", self.what));
        }
        Some(&at.value)
    }
}

fn sources<'w>(written: &'w Written, faults: &Faults<'_>) -> (BTreeMap<&'w str, SourceId>, bool) {
    let mut sources = BTreeMap::new();
    let Some(engine) = &written.engine else { return (sources, false) };
    let mut unique = Unique::new("source");
    let mut is_whole = faults.is_whole(engine.file);
    for (number, source) in engine.sources.given().iter().flat_map(|at| &at.value).enumerate() {
        match unique.name(&source.name, faults) {
            Some(name) => {
                sources.entry(name).or_insert(SourceId(number));
            }
            None => is_whole = false,
        }
    }
    (sources, is_whole && (engine.sources.is_absent() || engine.sources.given().is_some()))
}

fn stories<'w>(written: &'w Written, faults: &Faults<'_>) -> (Vec<NamedStory<'w>>, bool) {
    let mut unique = Unique::new("story");
    let mut stories = Vec::new();
    let mut is_whole = true;
    for document in &written.documents {
        let Some(story) = &document.story else {
            is_whole &= faults.is_whole(document.file) && document.is_understood;
            continue;
        };
        let name = unique.name(&story.name, faults);
        is_whole &= name.is_some();
        stories.push(named(name.unwrap_or_default(), story, faults));
    }
    stories.sort_by_key(|story| story.name);
    number(&mut stories, faults);
    (stories, is_whole)
}

fn named<'w>(name: &'w str, story: &'w Story, faults: &Faults<'_>) -> NamedStory<'w> {
    let mut unique = Unique::new("SLO");
    let mut slos = Vec::new();
    for slo in story.slos.given().iter().flat_map(|at| &at.value) {
        slos.push(NamedSlo { name: unique.name(&slo.name, faults), id: SloId(0), written: slo });
    }
    let is_whole =
        faults.is_whole(story.place.file) && story.slos.given().is_some() && slos.iter().all(|slo| slo.name.is_some());
    NamedStory { name, written: story, slos, is_whole }
}

/// Numbers the SLOs through all stories.
fn number(stories: &mut [NamedStory<'_>], faults: &Faults<'_>) {
    for (number, slo) in stories.iter_mut().flat_map(|story| &mut story.slos).enumerate() {
        slo.id = SloId(number);
        if number == MOST_SLOS {
            faults.error(slo.written.place, format!("more than {MOST_SLOS} SLOs in one directory"));
        }
    }
}

fn journeys<'w>(written: &'w Written, faults: &Faults<'_>) -> Vec<(&'w str, &'w Journey)> {
    let mut unique = Unique::new("journey");
    let mut journeys = Vec::new();
    for journey in written.documents.iter().filter_map(|document| document.journey.as_ref()) {
        journeys.push((unique.name(&journey.name, faults).unwrap_or_default(), journey));
    }
    journeys.sort_by_key(|(name, _)| *name);
    journeys
}
