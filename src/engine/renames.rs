//! Renames: what is kept under a name that was given up goes on under the one that followed it.
//!
//! Series and gates are found by name. So a rename is done before anything is looked for: in what was kept, the old
//! names are replaced, and what was described by them is described anew in the next checkpoint. Counts are kept by
//! number and are not touched at all.
//!
//! - *Once.* The new name is in the store with the first checkpoint of an engine that knows it, and the old one is not
//!   any more: a crash before that finds the old one again, and afterwards there is nothing left to follow.
//! - A source is renamed without a key in any spec: whoever knows what it is read from says so (see [`SourceRename`]).
//! - *Nothing is mixed.* What already has something of its own under its name goes on with that.
//! - The audit is not rewritten. Its entries before the rename are those of the old name.

mod sources;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::engine::audit::{Action, Journal};
use crate::engine::identity::enter_spec_change;
use crate::engine::{Kept, KeptGate, Series, SeriesId, SeriesName, Terms};
use crate::spec::{Catalog, ServiceId, SloId};
use crate::time::Timestamp;
pub use sources::SourceRename;

/// What was kept, by the names of today.
#[derive(Debug)]
pub(super) struct Renamed<'k> {
    pub(super) kept: Cow<'k, Kept>,
    /// Series with other names than they are kept under.
    pub(super) series: BTreeSet<SeriesId>,
    /// Services whose gates are kept by other names.
    pub(super) gates: BTreeSet<String>,
    /// Services under whose names nothing is to be kept any more.
    pub(super) gone_gates: Vec<String>,
    pub(super) not_followed: Vec<NotFollowed>,
}

/// An SLO that the specs say was renamed, and that does not go on with anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFollowed {
    /// What it is called, as `story/slo`.
    pub slo: String,
    /// What it was called; the likeliest name when there are several.
    pub from: String,
    /// Whether it has counts of its own. If not, there is nothing under the old name.
    pub is_known: bool,
}

/// For people: what is the matter, and what can be done.
impl fmt::Display for NotFollowed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slo, from, is_known } = self;
        match is_known {
            false => write!(out, "{slo} begins anew: nothing is kept of {from}, which its `renamed_from` names"),
            true => write!(
                out,
                "{slo} has counts of its own and does not go on with those of {from}; to do so, give it a name that it \
                 did not have yet"
            ),
        }
    }
}

/// An SLO that goes on under another name.
struct Followed {
    series: SeriesId,
    slo: SloId,
    from: (String, String),
}

/// Replaces the names that the catalog gives up, and enters that into the journal.
pub(super) fn follow<'k>(catalog: &Catalog, kept: &'k Kept, now: Timestamp, journal: &mut Journal) -> Renamed<'k> {
    let (series, gates, gone_gates) = Default::default();
    let (followed, not_followed) = find(catalog, kept);
    let mut renamed = Renamed { kept: Cow::Borrowed(kept), series, gates, gone_gates, not_followed };
    let services = services(catalog, kept);
    if !(followed.is_empty() && services.is_empty()) {
        follow_keys(catalog, &mut renamed, services, followed, now, journal);
    }
    sources::follow(catalog, &mut renamed.kept, &mut renamed.series, now, journal);
    renamed
}

/// Follows the renames of gates and SLOs that the specs tell of.
fn follow_keys(
    catalog: &Catalog,
    renamed: &mut Renamed<'_>,
    services: Vec<(ServiceId, String)>,
    followed: Vec<Followed>,
    now: Timestamp,
    journal: &mut Journal,
) {
    let Renamed { kept, series, gates, gone_gates, .. } = renamed;
    let kept = kept.to_mut();
    for (service, from) in &services {
        let to = &catalog[*service].name;
        rename_gate(&mut kept.gates, from, to);
        gates.insert(to.clone());
        gone_gates.push(from.clone());
        let reason = format!("the gate of {to} goes on with the level and the orders of that of {from}");
        let action = Action::Renamed { from: from.clone(), to: to.clone() };
        enter_spec_change(kept, to.clone(), action, reason, now, journal);
    }
    gates.extend(rename_in_gates(&mut kept.gates, catalog, &followed));
    for Followed { series: id, slo, from: (story, old) } in followed {
        let (to, service) = (name_of(catalog, slo), catalog[catalog.story_of(slo).service].name.clone());
        let of_series = |series: &&mut Series| series.id == id;
        for series in kept.series.iter_mut().filter(of_series) {
            series.name = SeriesName::Slo { story: to.0.clone(), slo: to.1.clone() };
        }
        series.insert(id);
        let (from, to) = (format!("{story}/{old}"), path(&to));
        let reason = format!("{to} goes on with what was counted for {from}");
        enter_spec_change(kept, service, Action::Renamed { from, to }, reason, now, journal);
    }
}

/// The SLOs that go on with what is kept, and those that cannot.
fn find(catalog: &Catalog, kept: &Kept) -> (Vec<Followed>, Vec<NotFollowed>) {
    let named = |series: &Series| match &series.name {
        SeriesName::Slo { story, slo } => Some(((story.clone(), slo.clone()), series.id)),
        _ => None,
    };
    // Most specs rename nothing.
    let series = kept.series.iter().filter(|_| !catalog.renames.slos.is_empty());
    let known: BTreeMap<(String, String), SeriesId> = series.filter_map(named).collect();
    let (mut followed, mut not_followed) = (Vec::new(), Vec::new());
    for (slo, formerly) in &catalog.renames.slos {
        let name = name_of(catalog, *slo);
        let is_known = known.contains_key(&name);
        let found = formerly.iter().find_map(|from| Some((from, *known.get(from)?)));
        match found {
            Some((from, series)) if !is_known => followed.push(Followed { series, slo: *slo, from: from.clone() }),
            // A store that knows nothing at all lacks nothing.
            None if is_known || known.is_empty() => {}
            found => {
                let from = found.map(|(from, _)| from).or(formerly.first()).map(path).unwrap_or_default();
                not_followed.push(NotFollowed { slo: path(&name), from, is_known });
            }
        }
    }
    (followed, not_followed)
}

/// The services whose gates go on with those of others, and the names of those.
fn services(catalog: &Catalog, kept: &Kept) -> Vec<(ServiceId, String)> {
    let gate = |service: &str| kept.gates.iter().find(|gate| gate.service == service);
    // One that never decided anything was only ordered to freeze, and that order could not be committed.
    let is_new = |service: &str| gate(service).is_none_or(|gate| gate.terms == Terms::default());
    let renamed = catalog.renames.services.iter();
    let renamed = renamed.filter(|(service, from)| is_new(&catalog[**service].name) && gate(from).is_some());
    renamed.map(|(service, from)| (*service, from.clone())).collect()
}

/// Keeps the gate of one service as that of another, with the later order if there are two.
fn rename_gate(gates: &mut Vec<KeptGate>, from: &str, to: &str) {
    let ordered = gates.iter().position(|gate| gate.service == to).map(|place| gates.swap_remove(place));
    for gate in gates.iter_mut().filter(|gate| gate.service == from) {
        to.clone_into(&mut gate.service);
        if let Some(KeptGate { level, since, hold, .. }) = &ordered {
            (gate.level, gate.since, gate.hold) = (*level, *since, hold.clone());
        }
    }
}

/// Replaces the names of SLOs in what gates remember; returns the services of gates that remembered any.
fn rename_in_gates(gates: &mut [KeptGate], catalog: &Catalog, followed: &[Followed]) -> Vec<String> {
    let new = |from: &(String, String)| {
        followed.iter().find(|followed| followed.from == *from).map(|followed| name_of(catalog, followed.slo))
    };
    let paths: BTreeMap<String, String> =
        followed.iter().map(|followed| (path(&followed.from), path(&name_of(catalog, followed.slo)))).collect();
    let mut touched = Vec::new();
    for gate in gates {
        let before = (gate.holding.clone(), gate.terms.slos.clone());
        gate.holding.iter_mut().for_each(|held| *held = new(held).unwrap_or_else(|| held.clone()));
        gate.terms.slos.iter_mut().for_each(|slo| *slo = paths.get(slo).unwrap_or(slo).clone());
        gate.terms.slos.sort_unstable();
        if before != (gate.holding.clone(), gate.terms.slos.clone()) {
            touched.push(gate.service.clone());
        }
    }
    touched
}

fn name_of(catalog: &Catalog, slo: SloId) -> (String, String) {
    (catalog.story_of(slo).name.clone(), catalog[slo].name.clone())
}

fn path((story, slo): &(String, String)) -> String {
    format!("{story}/{slo}")
}
