//! Sources that were renamed: their records, arrivals, durations, refusals, gaps and read positions go on.
//!
//! The names of sources are in series, in the rules of SLOs, and in what a store keeps by source. Series and rules are
//! replaced here and described anew in the next checkpoint, together with the rename itself, by which a store moves all
//! else that it keeps under the old name.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::engine::audit::{Action, Journal};
use crate::engine::identity::{enter_spec_change, rename_in_rules};
use crate::engine::{Kept, Series, SeriesId, SeriesName, SourceTotals};
use crate::spec::{Catalog, ServiceId};
use crate::time::Timestamp;

/// A source that goes on under another name, under which nothing was counted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRename {
    /// What it was called; no spec names that any more.
    pub from: String,
    /// What it is called.
    pub to: String,
}

impl SourceRename {
    /// What the source called `name` is called after this rename.
    pub fn name(&self, name: String) -> String {
        if name == self.from { self.to.clone() } else { name }
    }

    /// What the source called `name` is called after all of these, in order.
    pub fn latter(renames: &[Self], name: String) -> String {
        renames.iter().fold(name, |name, rename| rename.name(name))
    }

    /// What the source called `name` was called before all of these, in order.
    pub fn former<'n>(renames: &'n [Self], name: &'n str) -> &'n str {
        renames.iter().rev().fold(name, |name, rename| if name == rename.to { &rename.from } else { name })
    }

    /// Keeps the totals of the source under its new name.
    pub(in crate::engine) fn follow_in_totals(&self, sources: &mut Vec<SourceTotals>) {
        let Some(place) = sources.iter().position(|totals| totals.source == self.from) else { return };
        let old = sources.swap_remove(place);
        match sources.iter_mut().find(|totals| totals.source == self.to) {
            Some(totals) => totals.add(&old),
            None => sources.push(SourceTotals { source: self.to.clone(), ..old }),
        }
    }

    /// Describes a series by the new name; says whether that changed it. A series of the new name, in which nothing was
    /// counted, takes the old one and is forgotten in time: no two have the same.
    fn follow_in_series(&self, series: &mut Series) -> bool {
        let source = match &mut series.name {
            SeriesName::Slo { .. } => return rename_in_rules(&mut series.rules, &self.from, &self.to),
            SeriesName::Records { source }
            | SeriesName::Missing { source }
            | SeriesName::Arrivals { source }
            | SeriesName::Durations { source, .. } => source,
        };
        let other = match &*source {
            name if *name == self.from => &self.to,
            name if *name == self.to => &self.from,
            _ => return false,
        };
        source.clone_from(other);
        true
    }
}

/// Replaces the old names of sources, and enters that into the journal. The series with other names or rules than they
/// are kept under are added to `series`.
pub(super) fn follow(
    catalog: &Catalog,
    kept: &mut Cow<'_, Kept>,
    series: &mut BTreeSet<SeriesId>,
    now: Timestamp,
    journal: &mut Journal,
) {
    for rename in kept.renamed_sources.clone() {
        let kept = kept.to_mut();
        rename.follow_in_totals(&mut kept.sources);
        let changed = kept.series.iter_mut().filter_map(|one| rename.follow_in_series(one).then_some(one.id));
        series.extend(changed);
        let SourceRename { from, to } = &rename;
        for service in services(catalog, to) {
            let reason = format!("source {to} goes on where {from} was, with all that is kept of it");
            // Said of sources, so that nobody takes it for the rename of a service.
            let action = Action::Renamed { from: format!("source {from}"), to: format!("source {to}") };
            enter_spec_change(kept, catalog[service].name.clone(), action, reason, now, journal);
        }
    }
}

/// The services with SLOs over a source.
fn services(catalog: &Catalog, source: &str) -> BTreeSet<ServiceId> {
    let source = catalog.source_named(source);
    let of_source = catalog.slos.iter().filter(|slo| Some(slo.source) == source);
    of_source.map(|slo| catalog[slo.story].service).collect()
}
