//! A target of a source, and what is kept of it.
//!
//! Under the target's name are kept: the names of its series, when they change; and with every scrape whether and since
//! when it is listed, and what its counters were.

use std::collections::{BTreeMap, BTreeSet};

use super::SavedTargetError;
use crate::counts::{ScrapeCounter, ScrapedTarget};
use crate::increase::SavedError;
use crate::intake::scrape::{Discovery, Endpoint};
use crate::spec::{Catalog, ScrapeSource};
use crate::store::Position;
use crate::time::Timestamp;

const NAMES: &str = "names ";
const STATE: &str = "state ";
/// Whether it is listed, and since when.
const HEAD: usize = 9;

/// One target.
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) counted: ScrapedTarget,
    /// Whether it is a target at present.
    pub(super) is_listed: bool,
    /// Since when.
    pub(super) listed: Timestamp,
    /// When it is to be asked next, in milliseconds of the scraper's watch; 0 for one that was not found yet.
    pub(super) due_ms: u64,
    /// Whether its answer is awaited.
    pub(super) is_asked: bool,
}

impl Target {
    /// A target that is listed from `at` on.
    pub(super) fn new(endpoint: Endpoint, counted: ScrapedTarget, at: Timestamp) -> Self {
        Self { endpoint, counted, is_listed: true, listed: at, due_ms: 0, is_asked: false }
    }

    /// What is to be kept of it.
    pub(super) fn save(&mut self, source: &str) -> Vec<Position> {
        let (names, state) = self.counted.save();
        let mut value = vec![u8::from(self.is_listed)];
        value.extend(self.listed.millis().to_be_bytes());
        value.extend(state);
        let position =
            |(what, value)| Position { source: source.to_owned(), key: key(what, &self.endpoint.key), at: Some(value) };
        names.map(|names| (NAMES, names)).into_iter().chain([(STATE, value)]).map(position).collect()
    }
}

/// What takes a target out of what is kept.
pub(super) fn forgotten(source: &str, target: &str) -> [Position; 2] {
    [NAMES, STATE].map(|what| Position { source: source.to_owned(), key: key(what, target), at: None })
}

/// The targets of a source as they were saved.
///
/// # Errors
/// When what was saved cannot be used.
pub(super) fn restored(
    counter: &ScrapeCounter,
    source: &str,
    positions: &[Position],
) -> Result<BTreeMap<String, Target>, SavedTargetError> {
    let of_source = || positions.iter().filter(|position| position.source == source);
    let saved = |what: &str| -> BTreeMap<String, &[u8]> {
        let named = of_source().filter_map(|position| {
            let name = position.key.strip_prefix(what.as_bytes())?;
            Some((String::from_utf8(name.to_vec()).ok()?, position.at.as_deref()?))
        });
        named.collect()
    };
    let names = saved(NAMES);
    let mut targets = BTreeMap::new();
    for (name, value) in saved(STATE) {
        let failed = |error| SavedTargetError { source_name: source.to_owned(), target: name.clone(), error };
        let Some(endpoint) = endpoint(&name) else { continue };
        let (is_listed, listed, state) = split(value).ok_or(SavedError::Damaged("its head")).map_err(failed)?;
        let names = names.get(&name).copied().ok_or(SavedError::Mismatch).map_err(failed)?;
        let counted = counter.restore(names, state).map_err(failed)?;
        let target = Target { is_listed, ..Target::new(endpoint, counted, listed) };
        targets.insert(name, target);
    }
    Ok(targets)
}

/// Targets of a source that no spec names any more.
pub(super) struct Old {
    pub(super) source: String,
    pub(super) targets: BTreeMap<String, Target>,
    /// What takes them out of what is kept under its name.
    pub(super) forgotten: Vec<Position>,
}

/// The targets that a source lists and that are kept under the names of sources which no spec names any more, by those
/// names.
pub(super) fn formerly(
    catalog: &Catalog,
    counter: &ScrapeCounter,
    scrape: &ScrapeSource,
    positions: &[Position],
) -> Vec<Old> {
    let mut found = Vec::new();
    let nameless = positions.iter().filter(|position| position.key.starts_with(STATE.as_bytes()));
    let nameless: BTreeSet<&String> = nameless.map(|position| &position.source).collect();
    let mut listed: Option<BTreeSet<String>> = None;
    for source in nameless.into_iter().filter(|source| catalog.source_named(source).is_none()) {
        let listed = listed
            .get_or_insert_with(|| Discovery::new(scrape).look().0.into_iter().map(|endpoint| endpoint.key).collect());
        let by_name = |key: &str| key.split_once('#').is_some_and(|(url, _)| scrape.dns.iter().any(|text| text == url));
        let mut targets = match restored(counter, source, positions) {
            Ok(targets) => targets,
            Err(error) => {
                // Nobody names that source any more, so that nothing depends on it.
                tracing::warn!(source, "what is kept of a source that no spec names is left alone: {error}");
                continue;
            }
        };
        targets.retain(|key, _| listed.contains(key) || by_name(key));
        if !targets.is_empty() {
            let forgotten = targets.keys().flat_map(|key| forgotten(source, key)).collect();
            found.push(Old { source: source.clone(), targets, forgotten });
        }
    }
    found
}

fn split(value: &[u8]) -> Option<(bool, Timestamp, &[u8])> {
    let (head, state) = value.split_at_checked(HEAD)?;
    let listed = i64::from_be_bytes(head[1..].try_into().ok()?);
    Some((head[0] == 1, Timestamp::from_millis(listed), state))
}

/// The target of this name. It is asked where it was until it is found again.
fn endpoint(name: &str) -> Option<Endpoint> {
    let Some((url, ip)) = name.split_once('#') else { return Endpoint::of(name, None) };
    let endpoint = Endpoint::of(url, None)?;
    let port = endpoint.url.port_or_known_default()?;
    Endpoint::of(url, Some((ip.parse::<std::net::IpAddr>().ok()?, port).into()))
}

fn key(what: &str, target: &str) -> Vec<u8> {
    [what.as_bytes(), target.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_target_says_where_it_is() {
        for (text, address) in [
            ("http://a:1/metrics", None),
            ("http://a:1/metrics?x=1#10.0.0.7", Some("10.0.0.7:1")),
            ("https://a/metrics#fd00::7", Some("[fd00::7]:443")),
        ] {
            let found = endpoint(text).unwrap();
            assert_eq!((&*found.key, found.address), (text, address.map(|address| address.parse().unwrap())));
        }
        assert_eq!(endpoint("http://a:1/metrics#nowhere"), None);
    }
}
