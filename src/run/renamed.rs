//! Renamed sources: what is kept under a source's old name goes on under the new one.
//!
//! No spec says that a source was renamed. It is seen in what the store holds: nothing of the new name, and read
//! positions of the same files or targets under a name that no spec has any more. It is decided here, once, whenever an
//! engine is restored, before anything is looked up by name; from then on everything has the new name, and with the
//! first checkpoint the store has it too. A crash before that finds the old name again and decides the same.
//!
//! - *One for one.* Where several sources could go on with the same, or one with several, what is kept stays where it
//!   is, and only their reading goes on as far as it can (see [`Reading`](super::follow::Reading) and
//!   [`Scraper`](super::scrape::Scraper)).
//! - *Nothing is mixed.* A source that has read or counted anything under its own name goes on with that.

use std::sync::Arc;

use super::{follow, kept_for, scrape};
use crate::engine::{Engine, SeriesName, SourceRename};
use crate::spec::{Catalog, SourceId, SourceKind};
use crate::store::{LaterDurations, Loaded, Store, StoreError, restore_renamed};
use crate::time::Timestamp;

/// Restores an engine from a store, but for the durations, with all that is kept of sources that were renamed.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn restored(
    store: &dyn Store,
    catalog: &Arc<Catalog>,
    now: Timestamp,
) -> Result<(Engine, Loaded, LaterDurations), StoreError> {
    let renamed = |loaded: &Loaded| renamed(catalog, loaded);
    restore_renamed(store, Arc::clone(catalog), kept_for(catalog), now, renamed)
}

/// The same with the durations.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn restored_whole(
    store: &dyn Store,
    catalog: &Arc<Catalog>,
    now: Timestamp,
) -> Result<(Engine, Loaded), StoreError> {
    let (mut engine, loaded, durations) = restored(store, catalog, now)?;
    engine.take_durations(durations.read()?);
    Ok((engine, loaded))
}

/// The sources that were renamed since the store was written.
fn renamed(catalog: &Catalog, loaded: &Loaded) -> Vec<SourceRename> {
    let sources = (0..catalog.sources.len()).map(SourceId);
    let unused = sources.filter(|source| is_unused(&catalog[*source].name, loaded));
    let found: Vec<(SourceId, Vec<String>)> =
        unused.map(|source| (source, formerly(catalog, source, loaded))).collect();
    let claims = |old: &String| found.iter().filter(|(_, formerly)| formerly.contains(old)).count();
    let one_for_one = found.iter().filter_map(|(source, formerly)| match &formerly[..] {
        [old] if claims(old) == 1 => Some(SourceRename { from: old.clone(), to: catalog[*source].name.clone() }),
        _ => None,
    });
    one_for_one.collect()
}

/// The names of no spec under which this source, or some of it, was read.
fn formerly(catalog: &Catalog, source: SourceId, loaded: &Loaded) -> Vec<String> {
    match &catalog[source].kind {
        SourceKind::File(_) => follow::formerly(catalog, source, &loaded.positions).cloned().collect(),
        SourceKind::Scrape(scrape) => scrape::formerly(catalog, source, scrape, &loaded.positions),
    }
}

/// Whether nothing was ever read or counted under this name.
fn is_unused(name: &str, loaded: &Loaded) -> bool {
    let kept = &loaded.kept;
    let is_counted = kept.series.iter().any(|series| {
        let is_of = match &series.name {
            SeriesName::Slo { .. } => false,
            SeriesName::Records { source }
            | SeriesName::Missing { source }
            | SeriesName::Arrivals { source }
            | SeriesName::Durations { source, .. } => source == name,
        };
        is_of && kept.totals.iter().any(|totals| totals.series == series.id)
    });
    let is_heard = kept
        .sources
        .iter()
        .any(|totals| totals.source == name && (totals.first_heard.is_some() || !totals.rejected.is_empty()));
    !is_counted && !is_heard && loaded.positions.iter().all(|position| position.source != name)
}

/// Says which sources go on under other names.
pub(super) fn tell(engine: &Engine) {
    for SourceRename { from, to } in engine.renamed_sources() {
        tracing::info!("source {to} goes on where {from} was, which no spec names any more");
    }
}

#[cfg(test)]
mod tests;
