//! What a report leaves out: SLOs over other sources than the one whose logs it reads.
//!
//! Metrics are scraped while `slogate serve` runs, and nobody can scrape the past; logs of another source are for
//! another report. Such SLOs have no data here, which says nothing about them: they are named, and not shown or judged.

use std::fmt::Write;

use slogate::spec::{Catalog, ServiceId, SloId, SourceId, SourceKind};

use crate::cli::cells::indented;

/// What a report over one source leaves out.
#[derive(Clone, Copy)]
pub(super) struct Unread<'a> {
    catalog: &'a Catalog,
    source: SourceId,
}

impl<'a> Unread<'a> {
    /// Of a report over this source.
    pub(super) fn new(catalog: &'a Catalog, source: SourceId) -> Self {
        Self { catalog, source }
    }

    /// The name of the source that is read.
    pub(super) fn source(&self) -> &'a str {
        &self.catalog[self.source].name
    }

    /// Whether an SLO of these names is left out.
    pub(super) fn has(&self, story: &str, slo: &str) -> bool {
        self.slos().any(|id| self.catalog[id].name == slo && self.catalog.story_of(id).name == story)
    }

    /// Whether all SLOs of a service are left out, so that this report cannot judge it.
    pub(super) fn has_service(&self, service: ServiceId) -> bool {
        let slos = &self.catalog[service].slos;
        !slos.is_empty() && slos.iter().all(|id| self.catalog[*id].source != self.source)
    }

    /// The same for a service of this name.
    pub(super) fn has_service_named(&self, name: &str) -> bool {
        self.services().any(|id| self.catalog[id].name == name && self.has_service(id))
    }

    /// What is said of it: one sentence for each source, then the gates and journeys that want it. `None` when nothing
    /// is left out.
    pub(super) fn text(&self) -> Option<String> {
        let sources = (0..self.catalog.sources.len()).map(SourceId).filter_map(|source| self.of_source(source));
        let sources: Vec<String> = sources.collect();
        if sources.is_empty() {
            return None;
        }
        let catalog = self.catalog;
        let gates: Vec<&str> =
            self.services().filter(|id| self.has_part_of(*id)).map(|id| &*catalog[id].name).collect();
        let unjudged = self.services().filter(|id| self.has_service(*id)).map(|id| &*catalog[id].name);
        let unjudged: Vec<&str> = unjudged.collect();
        let wants = |members: &[slogate::spec::Member]| members.iter().any(|of| catalog[of.slo].source != self.source);
        let journeys = catalog.journeys.iter().filter(|journey| wants(&journey.members)).map(|journey| &*journey.name);
        let journeys: Vec<&str> = journeys.collect();
        let mut text = sources.join("\n");
        for (what, names) in
            [("gates without them", gates), ("gates not judged", unjudged), ("journeys without them", journeys)]
        {
            if !names.is_empty() {
                // Writing to a string cannot fail.
                let _ = write!(text, "\n{what}: {}", names.join(", "));
            }
        }
        Some(format!("Not in this report of source {}\n{}\n", self.source(), indented(&text)))
    }

    /// What is left out of one source, if anything.
    fn of_source(&self, source: SourceId) -> Option<String> {
        let slos = self.slos().filter(|id| self.catalog[*id].source == source);
        let names = slos.map(|id| format!("{}/{}", self.catalog.story_of(id).name, self.catalog[id].name));
        let names: Vec<String> = names.collect();
        let how = match self.catalog[source].kind {
            SourceKind::Scrape(_) => "which is scraped by `slogate serve`",
            SourceKind::File(_) => "whose logs are reported on with --source",
        };
        (!names.is_empty()).then(|| format!("{} of source {}, {how}", names.join(", "), self.catalog[source].name))
    }

    /// Whether some SLOs of a service are left out, and others are not.
    fn has_part_of(&self, service: ServiceId) -> bool {
        let slos = &self.catalog[service].slos;
        !self.has_service(service) && slos.iter().any(|id| self.catalog[*id].source != self.source)
    }

    fn slos(&self) -> impl Iterator<Item = SloId> {
        let (catalog, source) = (self.catalog, self.source);
        (0..catalog.slos.len()).map(SloId).filter(move |id| catalog[*id].source != source)
    }

    fn services(&self) -> impl Iterator<Item = ServiceId> + use<> {
        (0..self.catalog.services.len()).map(ServiceId)
    }
}
