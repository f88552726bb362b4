//! Classification: which SLOs a request counts for, and whether as good or as bad.
//!
//! The only place that decides it. All patterns of all SLOs of a source are compiled together, so that a request is
//! looked up once however many SLOs there are: its path leads through one automaton ([`routes`]) to the set of patterns
//! that match it, and with its method and host to the set of SLOs. A request of such a set can come out in a few ways
//! only: so many classes of statuses times so many classes of durations. Each way is an [`Outcome`], a small number,
//! and counting requests means counting outcomes. What an outcome means for each SLO is looked up when counts are
//! handed over, once a page instead of once a line.
//!
//! - A request counts once for every SLO with a pattern that matches it, however many of its patterns match.
//! - The cost of a line does not depend on the number of SLOs, nor on how many of them it counts for.
//! - Everything in here comes from the specs: no request can make it grow.

mod escapes;
mod outcomes;
mod routes;

use std::collections::HashMap;

use crate::formats::Request;
use crate::spec::{Catalog, HostRule, Methods, SloId, SourceId};

pub use outcomes::Meaning;
use outcomes::{Action, Outcomes};
use routes::Routes;

/// How a request came out: for which SLOs it counts, and how. A number below [`Classifier::outcomes`].
pub type Outcome = u32;

/// The outcome of a request that no SLO is about.
pub const UNMATCHED: Outcome = 0;

/// Judges the requests of one source.
#[derive(Clone, Debug)]
pub struct Classifier {
    routes: Routes,
    methods: Vec<Vec<u8>>,
    /// The place of `GET` among `methods`, or of all unnamed ones; most requests are it.
    get: usize,
    /// By route and method.
    choices: Vec<Choice>,
    hosts: Vec<HostSet>,
    outcomes: Outcomes,
}

/// Specs that would compile to more than this program is willing to hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the request patterns overlap too much: {what} (at most {most}); use fewer {{placeholders}} before fixed segments"
)]
pub struct TooComplex {
    what: String,
    most: usize,
}

/// What a route and a method leave to decide.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// Nothing.
    Action(Action),
    /// The host decides, by the set at this place.
    ByHost(usize),
}

/// The SLOs of a route and method of which some are about certain hosts only.
#[derive(Clone, Debug)]
struct HostSet {
    /// Each distinct list of rules.
    rules: Vec<Vec<HostRule>>,
    /// By which of the lists match: the action. Sets that no host can satisfy are absent.
    actions: HashMap<Matching, Action>,
}

/// Which lists of host rules match, a bit each.
type Matching = [u64; MOST_HOST_LISTS / 64];

/// How many different lists of hosts the SLOs of one route can have.
const MOST_HOST_LISTS: usize = 256;

impl HostSet {
    fn matching(&self, host: &[u8]) -> Matching {
        let mut matching = Matching::default();
        for (place, rules) in self.rules.iter().enumerate() {
            let matches = rules.iter().any(|rule| rule.matches(host));
            matching[place / 64] |= u64::from(matches) << (place % 64);
        }
        matching
    }
}

impl Classifier {
    /// Compiles the patterns, hosts and rules of all SLOs of `source`.
    ///
    /// # Errors
    /// When the patterns overlap so much that the automaton would not fit its bounds.
    pub fn new(catalog: &Catalog, source: SourceId) -> Result<Self, TooComplex> {
        let slos: Vec<SloId> =
            (0..catalog.slos.len()).map(SloId).filter(|slo| catalog[*slo].source == source).collect();
        let patterns = slos.iter().flat_map(|slo| catalog[*slo].patterns().iter().map(move |p| (*slo, p)));
        let patterns: Vec<_> = patterns.collect();
        let (routes, accepted) = Routes::compile(patterns.iter().map(|(_, pattern)| pattern.segments.as_slice()))?;
        let methods = methods_of(patterns.iter().map(|(_, pattern)| &pattern.methods));
        let mut compiler = outcomes::Compiler::new(catalog);
        let mut hosts = Vec::new();
        let mut choices = Vec::with_capacity(accepted.len() * (methods.len() + 1));
        for set in &accepted {
            for method in methods.iter().map(Some).chain([None]) {
                let matching = set.iter().map(|place| &patterns[*place]);
                let matching = matching.filter(|(_, pattern)| admits(&pattern.methods, method.map(Vec::as_slice)));
                let mut slos: Vec<SloId> = matching.map(|(slo, _)| *slo).collect();
                slos.sort();
                slos.dedup();
                choices.push(choose(catalog, &slos, &mut hosts, &mut compiler)?);
            }
        }
        let get = methods.iter().position(|method| method == b"GET").unwrap_or(methods.len());
        Ok(Self { routes, methods, get, choices, hosts, outcomes: compiler.finish() })
    }

    /// How many outcomes there are.
    pub fn outcomes(&self) -> usize {
        self.outcomes.len()
    }

    /// Whether the host of a request can matter.
    pub fn needs_host(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// What an outcome means.
    pub fn meaning(&self, outcome: Outcome) -> &Meaning {
        self.outcomes.meaning(outcome)
    }

    /// How `request` comes out.
    #[inline(always)]
    pub fn classify(&self, request: &Request<'_>) -> Outcome {
        let Some(route) = self.routes.find(request.target) else { return UNMATCHED };
        let method = match request.method {
            b"GET" => self.get,
            other => self.method(other),
        };
        let action = match self.choices[route * (self.methods.len() + 1) + method] {
            Choice::Action(action) => action,
            Choice::ByHost(set) => self.by_host(set, request.host),
        };
        self.outcomes.of(action, request.status, request.duration_us)
    }

    fn method(&self, method: &[u8]) -> usize {
        self.methods.iter().position(|named| named == method).unwrap_or(self.methods.len())
    }

    fn by_host(&self, set: usize, host: &[u8]) -> Action {
        let set = &self.hosts[set];
        let mut lower = [0; LONGEST_HOST];
        let host = without_port(host);
        let host = match lower.get_mut(..host.len()) {
            Some(lower) => {
                lower.copy_from_slice(host);
                lower.make_ascii_lowercase();
                &*lower
            }
            // No host is longer; this one is on none of the lists.
            None => b"",
        };
        set.actions.get(&set.matching(host)).copied().unwrap_or(Action::NONE)
    }
}

/// RFC 1035: a name has at most 255 bytes.
const LONGEST_HOST: usize = 255;

/// `shop.example:8080` without its port, `[::1]:80` without its port and brackets kept, `shop.example.` as it is.
fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| !byte.is_ascii_digit()) {
        Some(colon) if host[colon] == b':' && !host[..colon].contains(&b':') => &host[..colon],
        Some(colon) if host[colon] == b':' && host[..colon].ends_with(b"]") => &host[..colon],
        _ => host,
    }
}

fn methods_of<'a>(methods: impl Iterator<Item = &'a Methods>) -> Vec<Vec<u8>> {
    let mut named: Vec<Vec<u8>> = methods
        .flat_map(|methods| match methods {
            Methods::Any => &[],
            Methods::Named(named) => named.as_slice(),
        })
        .map(|method| method.clone().into_bytes())
        .collect();
    named.sort();
    named.dedup();
    named
}

/// Whether the methods of a pattern admit `method`; `None` is any that no pattern names.
fn admits(methods: &Methods, method: Option<&[u8]>) -> bool {
    match methods {
        Methods::Any => true,
        Methods::Named(named) => named.iter().any(|named| Some(named.as_bytes()) == method),
    }
}

/// The action for these SLOs, or the set by which the host chooses one.
fn choose(
    catalog: &Catalog,
    slos: &[SloId],
    hosts: &mut Vec<HostSet>,
    compiler: &mut outcomes::Compiler<'_>,
) -> Result<Choice, TooComplex> {
    let mut rules: Vec<Vec<HostRule>> = Vec::new();
    for slo in slos {
        let of_slo = catalog[*slo].hosts();
        if !of_slo.is_empty() && !rules.iter().any(|rules| rules == of_slo) {
            rules.push(of_slo.to_vec());
        }
    }
    if rules.is_empty() {
        return compiler.action(slos).map(Choice::Action);
    }
    if rules.len() > MOST_HOST_LISTS {
        return Err(TooComplex { what: "too many lists of hosts on one route".into(), most: MOST_HOST_LISTS });
    }
    let representatives = representatives(&rules);
    let mut set = HostSet { rules, actions: HashMap::new() };
    for host in representatives {
        let matching = set.matching(&host);
        if set.actions.contains_key(&matching) {
            continue;
        }
        let admitted = slos.iter().copied().filter(|slo| {
            let rules = catalog[*slo].hosts();
            rules.is_empty() || rules.iter().any(|rule| rule.matches(&host))
        });
        let action = compiler.action(&admitted.collect::<Vec<_>>())?;
        set.actions.insert(matching, action);
    }
    hosts.push(set);
    Ok(Choice::ByHost(hosts.len() - 1))
}

/// One host for every way in which hosts can satisfy the rules: each exact name, something under each suffix, and one
/// that satisfies none.
fn representatives(rules: &[Vec<HostRule>]) -> Vec<Vec<u8>> {
    let mut hosts = vec![Vec::new()];
    for rule in rules.iter().flatten() {
        match rule {
            HostRule::Exact(name) => hosts.push(name.clone().into_bytes()),
            // No rule names a host with this byte in it.
            HostRule::Suffix(suffix) => hosts.push(format!("\u{1}{suffix}").into_bytes()),
        }
    }
    hosts
}

#[cfg(test)]
mod tests;
