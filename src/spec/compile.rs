//! From what was typed to the [`Catalog`].
//!
//! First every name is given its id ([`Names`]), then every part is compiled on its own and looks others up by name.
//! A part that is broken therefore neither stops the rest nor makes others complain that it does not exist. Parts that
//! refuse something report it and yield nothing; the catalogue is put together only when there were no faults.

mod alert;
mod engine;
mod gate;
mod journey;
mod names;
mod renames;
mod scrape;
mod story;
mod value;

use std::path::Path;

use super::Loaded;
use super::catalog::{Catalog, Renames, Service, ServiceId, Slo, SloId, Story};
use super::fault::{Faults, Place, SpecErrors, SpecFile};
use super::written::{self, ENGINE_FILE, Written};
use names::Names;

pub(crate) use scrape::target as target_url;

/// Compiles the files of one directory.
pub(super) fn compile(directory: &Path, mut files: Vec<SpecFile>) -> Result<Loaded, SpecErrors> {
    let engine = directory.join(ENGINE_FILE);
    if !files.iter().any(|file| file.path == engine) {
        let why = "this file is missing; it says where requests come from and when the gate freezes".to_owned();
        files.push(SpecFile { path: engine, text: String::new(), unreadable: Some((0, why)) });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let faults = Faults::new(&files);
    let written = written::read(directory, &files, &faults);
    let parts = Parts::compile(directory, &written, &faults);
    let warnings = faults.finish()?;
    let catalog = parts.and_then(|parts| parts.assemble(directory)).expect("a part that is not compiled is a fault");
    Ok(Loaded { catalog, warnings })
}

/// The compiled parts; `None` for those with faults.
struct Parts {
    engine: engine::Compiled,
    stories: Vec<Option<Story>>,
    slos: Vec<Option<Slo>>,
    journeys: Vec<Option<super::catalog::Journey>>,
    services: Vec<Option<Service>>,
    renames: Renames,
}

impl Parts {
    fn compile(directory: &Path, written: &Written, faults: &Faults<'_>) -> Option<Self> {
        let names = Names::of(written, faults);
        if names.stories().is_empty() && names.stories_are_whole() {
            let file = written.engine.as_ref().map_or(0, |engine| engine.file);
            faults.certain(
                Place { file, at: 0 },
                "no story beside this file; add one, such as profile.toml with a [story]",
            );
        }
        let engine = written.engine.as_ref().map(|engine| engine::compile(directory, engine, faults));
        let sources = engine.as_ref().map(|engine| engine.sources.as_slice()).unwrap_or_default();
        let alerts = written.engine.as_ref().and_then(|engine| alert::common(&engine.alerts, faults)).flatten();
        let slos = story::slos(&names, sources, alerts.as_deref(), faults);
        if let Some(alerts) = &alerts {
            let promise =
                |slo: &Slo| alert::Promise { objective: slo.objective, window: slo.window, slice: slo.sli.slice() };
            let promises: Vec<_> = slos.iter().flatten().map(promise).collect();
            alert::report_idle(alerts, &promises, faults);
        }
        let stories = story::stories(&names, faults);
        let journeys = journey::journeys(&names, faults);
        let renames = renames::renames(&names, faults);
        let policies = written.engine.as_ref().map(|engine| gate::policies(engine, &names, faults));
        let engine = engine?;
        let services =
            names.services().iter().zip(policies?).map(|(name, policy)| {
                policy.map(|policy| Service { name: (*name).to_owned(), policy, slos: Vec::new() })
            });
        Some(Self { services: services.collect(), engine, stories, slos, journeys, renames })
    }

    fn assemble(self, directory: &Path) -> Option<Catalog> {
        let mut catalog = Catalog {
            directory: directory.to_owned(),
            server: self.engine.server?,
            store: self.engine.store?,
            sources: all(self.engine.sources)?,
            stories: all(self.stories)?,
            slos: all(self.slos)?,
            journeys: all(self.journeys)?,
            services: all(self.services)?,
            renames: self.renames,
        };
        for number in 0..catalog.slos.len() {
            let story = catalog.slos[number].story;
            let ServiceId(service) = catalog.stories[story.0].service;
            catalog.stories[story.0].slos.push(SloId(number));
            catalog.services[service].slos.push(SloId(number));
        }
        Some(catalog)
    }
}

fn all<T>(parts: Vec<Option<T>>) -> Option<Vec<T>> {
    parts.into_iter().collect()
}

#[cfg(test)]
mod tests;
