//! What stories and SLOs were called before: `renamed_from`.
//!
//! The key may stay when it has done its work, so that it says a name that was given up, not when that was. A story and
//! its SLOs may have been renamed at different times; every name that follows from the keys is therefore one under
//! which something may be kept.
//!
//! - A name that something still has was not given up, and nothing is taken from it.
//! - Nothing goes on under two names.

use std::collections::BTreeMap;

use super::names::{NamedSlo, NamedStory, Names};
use super::value;
use crate::spec::catalog::Renames;
use crate::spec::fault::{At, Faults, Place, quoted};
use crate::spec::requests;

/// What every story and SLO was called before, as far as that is said.
pub(super) fn renames(names: &Names<'_>, faults: &Faults<'_>) -> Renames {
    let mut reading = Reading { names, faults, stories: BTreeMap::new(), slos: BTreeMap::new() };
    let mut renames = Renames::default();
    for story in names.stories() {
        let old_story = story.written.renamed_from.given().and_then(|at| reading.story(story, at));
        for slo in &story.slos {
            let formerly = reading.slo(story, slo, old_story);
            if !formerly.is_empty() {
                renames.slos.insert(slo.id, formerly.into_iter().map(|(name, _)| name).collect());
            }
        }
        // A service that a story gave its own name to has another one since then.
        let is_own =
            |service: &&str| *service == story.name && old_story.is_some_and(|old| !names.services().contains(&old.0));
        let service = story.service(names).filter(|service| is_own(&names.services()[service.0]));
        renames.services.extend(service.zip(old_story.map(|(old, _)| old.to_owned())));
    }
    renames
}

/// A name that was given up: a story's and an SLO's in it, and where that is said.
type Former = ((String, String), Place);

/// What was read so far.
struct Reading<'n, 'w> {
    names: &'n Names<'w>,
    faults: &'n Faults<'n>,
    /// Former names of stories, and where they are given up.
    stories: BTreeMap<&'w str, Place>,
    /// Former names of SLOs, and where they are given up.
    slos: BTreeMap<(String, String), Place>,
}

impl<'w> Reading<'_, 'w> {
    /// The former name of a story.
    fn story(&mut self, story: &NamedStory<'w>, at: &'w At<String>) -> Option<(&'w str, Place)> {
        value::name(at, "a story", self.faults)?;
        let old = at.value.as_str();
        if self.names.has_story(old) {
            self.refuse_present(at.place, old, old == story.name);
            return None;
        }
        let first = *self.stories.entry(old).or_insert(at.place);
        if first != at.place {
            self.refuse_second(at.place, old, first);
            return None;
        }
        Some((old, at.place))
    }

    /// The former names of an SLO, the likeliest first.
    fn slo(&mut self, story: &NamedStory<'w>, slo: &NamedSlo<'w>, old_story: Option<(&'w str, Place)>) -> Vec<Former> {
        let said = slo.written.renamed_from.given();
        let old = said.and_then(|at| self.former(at));
        let former = |story: &str, slo: &str, place: Place| ((story.to_owned(), slo.to_owned()), place);
        let mut formerly = Vec::new();
        match (old, said) {
            (Some((Some(story), slo)), Some(at)) => formerly.push(former(story, slo, at.place)),
            (Some((None, old)), Some(at)) => {
                formerly.push(former(story.name, old, at.place));
                // It was renamed in a story that has another name by now.
                formerly.extend(old_story.map(|(old_story, _)| former(old_story, old, at.place)));
            }
            (_, Some(_)) => return Vec::new(),
            (_, None) => {}
        }
        let with_story = old_story.zip(slo.name).map(|((old_story, place), name)| former(old_story, name, place));
        // Both keys may say the same.
        let is_said = |former: &Former| formerly.iter().any(|(known, _)| *known == former.0);
        if let Some(former) = with_story.filter(|former| !is_said(former)) {
            formerly.push(former);
        }
        let this = slo.name.map(|name| (story.name, name));
        let is_sound = formerly.iter().all(|former| self.is_given_up(former, this));
        formerly.retain(|_| is_sound);
        formerly
    }

    /// The story, if one is named, and the SLO of a former name.
    fn former(&self, at: &'w At<String>) -> Option<(Option<&'w str>, &'w str)> {
        let (story, slo) = at.value.split_once('/').map_or((None, &*at.value), |(story, slo)| (Some(story), slo));
        if story.is_none_or(requests::is_name) && requests::is_name(slo) {
            return Some((story, slo));
        }
        let help = "write \"slo\", or \"story/slo\" if it was in another story";
        self.faults.error(at.place, format!("{} is no name that an SLO could have had; {help}", quoted(&at.value)));
        None
    }

    /// Whether a name is free to be taken over from; reports if not.
    fn is_given_up(&mut self, ((story, slo), place): &Former, this: Option<(&str, &str)>) -> bool {
        let name = format!("{story}/{slo}");
        if self.names.has_slo(story, slo) {
            self.refuse_present(*place, &name, this == Some((story, slo)));
            return false;
        }
        let first = *self.slos.entry((story.clone(), slo.clone())).or_insert(*place);
        if first != *place {
            self.refuse_second(*place, &name, first);
        }
        first == *place
    }

    fn refuse_present(&self, place: Place, name: &str, is_itself: bool) {
        let why = match is_itself {
            true => "is its name, and not one that it had before",
            false => "is in these specs, so that nothing goes on in its place; take out one of the two",
        };
        self.faults.error(place, format!("`renamed_from`: {} {why}", quoted(name)));
    }

    fn refuse_second(&self, place: Place, name: &str, first: Place) {
        let first = self.faults.locate(first);
        let why = format!("goes on under another name already, by the key at {first}");
        self.faults.error(place, format!("`renamed_from`: {} {why}", quoted(name)));
    }
}
