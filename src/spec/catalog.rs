//! The compiled specs: ids, matchers and integers, valid by construction.
//!
//! Nothing below this room sees TOML. A [`Catalog`] is built once by [`crate::spec::load`], is immutable, and is shared
//! by everything that counts, judges or shows. Ids are positions in its vectors.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;

use super::alerts::{AlertRule, Severity};
use crate::formats::Template;
use crate::increase::{Bound, Condition, Part};
use crate::selector::Selector;
use crate::time::Horizon;

/// Parts of a whole are counted in billionths: 99.95% is 999,500,000.
pub const BILLION: u64 = 1_000_000_000;

/// Everything that one directory of specs says. Two are equal when they say the same, however it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    /// Where the specs were read from; relative paths start here.
    pub directory: PathBuf,
    /// `[server]`.
    pub server: Server,
    /// `[store]`.
    pub store: StoreUrl,
    /// Where requests come from, in the order of `slogate.toml`.
    pub sources: Vec<Source>,
    /// The stories, by name.
    pub stories: Vec<Story>,
    /// Every SLO, grouped by story in the stories' order, as written within one.
    pub slos: Vec<Slo>,
    /// The journeys, by name.
    pub journeys: Vec<Journey>,
    /// The services that stories name, by name; each has a gate.
    pub services: Vec<Service>,
    /// What some of them were called before.
    pub renames: Renames,
}

impl Catalog {
    /// The longest window whose counts must be kept: the longest of all SLOs and journeys, and at least the 28 days of
    /// the longest burn rate.
    pub fn longest_window(&self) -> Horizon {
        let slos = self.slos.iter().map(|slo| slo.window);
        let journeys = self.journeys.iter().map(|journey| journey.window);
        slos.chain(journeys).chain([Horizon::DAYS_28]).max().unwrap_or(Horizon::DAYS_28)
    }

    /// The story that an SLO belongs to.
    pub fn story_of(&self, slo: SloId) -> &Story {
        &self.stories[self[slo].story.0]
    }

    /// The policies of the services that have SLOs over this source, one for each SLO.
    pub fn policies_over(&self, source: SourceId) -> impl Iterator<Item = &GatePolicy> {
        let slos = self.slos.iter().filter(move |slo| slo.source == source);
        slos.map(|slo| &self[self[slo.story].service].policy)
    }

    /// The story of this name.
    pub fn story_named(&self, name: &str) -> Option<StoryId> {
        self.stories.binary_search_by(|story| (*story.name).cmp(name)).ok().map(StoryId)
    }

    /// The SLO of this name in the story of that one.
    pub fn slo_named(&self, story: &str, name: &str) -> Option<SloId> {
        self[self.story_named(story)?].slos.iter().copied().find(|slo| self[*slo].name == name)
    }

    /// The journey of this name.
    pub fn journey_named(&self, name: &str) -> Option<JourneyId> {
        self.journeys.binary_search_by(|journey| (*journey.name).cmp(name)).ok().map(JourneyId)
    }

    /// The service of this name.
    pub fn service_named(&self, name: &str) -> Option<ServiceId> {
        self.services.binary_search_by(|service| (*service.name).cmp(name)).ok().map(ServiceId)
    }

    /// The service of this name, or else the one that had it before.
    pub fn service_following(&self, name: &str) -> Option<ServiceId> {
        let renamed = || self.renames.services.iter().find(|(_, from)| *from == name).map(|(service, _)| *service);
        self.service_named(name).or_else(renamed)
    }

    /// The SLO of this name, or else the one that had it before.
    pub fn slo_following(&self, story: &str, name: &str) -> Option<SloId> {
        let is_it = |(old_story, old): &(String, String)| old_story == story && old == name;
        let renamed = || self.renames.slos.iter().find(|(_, formerly)| formerly.iter().any(is_it)).map(|(slo, _)| *slo);
        self.slo_named(story, name).or_else(renamed)
    }

    /// The source of this name.
    pub fn source_named(&self, name: &str) -> Option<SourceId> {
        self.sources.iter().position(|source| source.name == name).map(SourceId)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:ident, $of:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub usize);

        impl std::ops::Index<$name> for Catalog {
            type Output = $of;

            fn index(&self, id: $name) -> &$of {
                &self.$field[id.0]
            }
        }
    };
}

id!(
    /// A position in [`Catalog::sources`].
    SourceId, sources, Source
);
id!(
    /// A position in [`Catalog::stories`].
    StoryId, stories, Story
);
id!(
    /// A position in [`Catalog::slos`].
    SloId, slos, Slo
);
id!(
    /// A position in [`Catalog::journeys`].
    JourneyId, journeys, Journey
);
id!(
    /// A position in [`Catalog::services`].
    ServiceId, services, Service
);

/// Names that SLOs and services had before, none of which anything has now. What is kept under such a name goes on
/// under the new one, unless that is known already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames {
    /// By SLO: what it may have been called, as (story, slo), the likeliest first. No name stands for two.
    pub slos: BTreeMap<SloId, Vec<(String, String)>>,
    /// By service that has its name from a story: what it was called when the story had its old name.
    pub services: BTreeMap<ServiceId, String>,
}

/// `[server]`: where HTTP is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `host:port`, checked to be a socket address.
    pub listen: std::net::SocketAddr,
    /// Where the bearer token for state-changing requests comes from, if any is configured.
    pub token: Option<Secret>,
}

/// Where a secret is found; the secret itself is never in a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In this environment variable.
    Env(String),
    /// In this file, its path resolved against the spec directory.
    File(PathBuf),
}

/// `[store]`: where counts, gate state and audit are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// The embedded store, a file; its path resolved against the spec directory.
    Redb(PathBuf),
}

/// `[[source]]`: where requests come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its unique name.
    pub name: String,
    /// What it reads.
    pub kind: SourceKind,
}

/// The kinds of source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// `[source.file]`: access logs on this machine.
    File(FileSource),
    /// `[source.scrape]`: endpoints in the Prometheus text format.
    Scrape(ScrapeSource),
}

impl SourceKind {
    /// Its name in specs and answers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Scrape(_) => "scrape",
        }
    }

    /// The access logs, when it reads any.
    pub fn file(&self) -> Option<&FileSource> {
        match self {
            Self::File(file) => Some(file),
            Self::Scrape(_) => None,
        }
    }
}

/// `[source.file]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// Paths and globs, resolved against the spec directory.
    pub paths: Vec<String>,
    /// Whether what a file holds when it is first seen counts.
    pub start: Start,
    /// The compiled log format.
    pub format: Template,
    /// Lines longer than this many bytes are refused as `oversize`.
    pub max_line: usize,
}

/// Targets of one source; more are not scraped.
pub const MOST_TARGETS: usize = 1_000;

/// `[source.scrape]`: at least one of `targets`, `file_sd` and `dns` names something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeSource {
    /// URLs of endpoints.
    pub targets: Vec<String>,
    /// Paths and globs of files that list targets as Prometheus' `file_sd` does, resolved against the spec directory.
    pub file_sd: Vec<String>,
    /// URLs in which every address that the host's name resolves to is a target of its own.
    pub dns: Vec<String>,
    /// From the start of one scrape to the start of the next, in milliseconds.
    pub interval_ms: u64,
    /// How long a scrape may take to its last byte, in milliseconds; at most the interval.
    pub timeout_ms: u64,
    /// What a page may hold.
    pub limits: ScrapeLimits,
    /// The only authorities that are trusted, as PEM; the system's when `None`.
    pub ca_file: Option<PathBuf>,
    /// Sent as a bearer token to the targets, and to nobody else.
    pub token: Option<Secret>,
    /// Whether a target may send the scraper elsewhere; never with the token to another origin.
    pub follow_redirects: bool,
}

/// What a page of metrics may hold at most; one that holds more is refused whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeLimits {
    /// Bytes, uncompressed.
    pub body_bytes: usize,
    /// Samples.
    pub samples: usize,
    /// Labels of one sample.
    pub labels: usize,
    /// Bytes of a label's value.
    pub label_bytes: usize,
}

/// Where reading begins in a file seen for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At its first byte: history counts at its own time.
    Beginning,
    /// At its end.
    End,
}

/// `[story]`: one feature as a user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// Its unique name.
    pub name: String,
    /// For people; the name when none was given.
    pub title: String,
    /// The service that carries it.
    pub service: ServiceId,
    /// Who answers for it, if said.
    pub owner: Option<String>,
    /// Its SLOs, as written.
    pub slos: Vec<SloId>,
}

/// What is deployed and therefore gated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its unique name.
    pub name: String,
    /// `[gate]` with the overrides of `[gate.service.NAME]`.
    pub policy: GatePolicy,
    /// The SLOs of all stories that it carries.
    pub slos: Vec<SloId>,
}

/// `[[slo]]`: an SLI, an objective and a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// Unique in its story.
    pub name: String,
    /// The story it belongs to.
    pub story: StoryId,
    /// The promised share of good events.
    pub objective: Objective,
    /// Over how long it is promised.
    pub window: Horizon,
    /// Where its events come from.
    pub source: SourceId,
    /// Which requests count; `None` for the kinds that count what scraped series tell.
    pub requests: Option<Requests>,
    /// How good and bad are told apart.
    pub sli: Sli,
    /// When its budget burns too fast, the most urgent rule first as written.
    pub alerts: Vec<AlertRule>,
}

impl Slo {
    /// The patterns of the requests that count, any of which is enough; none for the kinds on scraped series.
    pub fn patterns(&self) -> &[Pattern] {
        self.requests.as_ref().map_or(&[], |requests| &requests.patterns)
    }

    /// The hosts whose requests count; none means any.
    pub fn hosts(&self) -> &[HostRule] {
        self.requests.as_ref().map_or(&[], |requests| &requests.hosts)
    }
}

/// How good and bad are told apart, by the kinds of the contract.
#[derive(Clone, Debug, PartialEq)]
pub enum Sli {
    /// A request is good when its status is in `good`; those in `ignore` do not count. `ignore` wins.
    Availability {
        /// Statuses that keep the promise.
        good: Statuses,
        /// Statuses that count neither way.
        ignore: Statuses,
    },
    /// A request is good when its duration is at most the threshold.
    Latency {
        /// In microseconds.
        threshold_us: u64,
        /// Only responses with these statuses count.
        count: Statuses,
    },
    /// A slice with traffic is good when its percentile is at most the threshold.
    Percentile {
        /// 0 < percentile < 100.
        percentile: Percentile,
        /// In microseconds.
        threshold_us: u64,
        /// The length of a slice.
        slice: Horizon,
    },
    /// A slice is good when it saw at least the minimum rate of requests.
    Throughput {
        /// Millionths of a request per second.
        minimum_millionths: u64,
        /// The length of a slice.
        slice: Horizon,
    },
    /// An increment of the counters of all events is good or bad by the increments of others.
    Ratio {
        /// The counters of all events.
        total: Selector,
        /// What the other counters count.
        part: Part,
        /// The counters of that part.
        of: Selector,
    },
    /// An observation is good when it is in a bucket that ends at the threshold.
    Histogram {
        /// The histograms, by their name without a suffix.
        metric: Selector,
        /// The bucket's bound; a bound of this value must exist.
        threshold: Bound,
    },
    /// A slice of a series is good when its last sample fulfils a condition.
    Gauge {
        /// The series.
        metric: Selector,
        /// The condition.
        good_when: Condition,
        /// The length of a slice.
        slice: Horizon,
    },
}

impl Sli {
    /// The kind's name in specs and answers.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Availability { .. } => "availability",
            Self::Latency { .. } => "latency",
            Self::Percentile { .. } => "percentile",
            Self::Throughput { .. } => "throughput",
            Self::Ratio { .. } => "ratio",
            Self::Histogram { .. } => "histogram",
            Self::Gauge { .. } => "gauge",
        }
    }

    /// The length of its slices; `None` for the kinds that count requests.
    pub fn slice(&self) -> Option<Horizon> {
        match self {
            Self::Availability { .. } | Self::Latency { .. } | Self::Ratio { .. } | Self::Histogram { .. } => None,
            Self::Percentile { slice, .. } | Self::Throughput { slice, .. } | Self::Gauge { slice, .. } => Some(*slice),
        }
    }

    /// The duration up to which a request is good, where that decides.
    pub fn threshold_us(&self) -> Option<u64> {
        match self {
            Self::Latency { threshold_us, .. } | Self::Percentile { threshold_us, .. } => Some(*threshold_us),
            _ => None,
        }
    }
}

/// Which requests an SLI is about: any of the patterns, on any of the hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// At least one.
    pub patterns: Vec<Pattern>,
    /// None means any host.
    pub hosts: Vec<HostRule>,
}

/// One request pattern, `GET,HEAD /profile/{user}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As written.
    pub text: String,
    /// Which methods match.
    pub methods: Methods,
    /// What follows each `/`; at least one. `Rest` is last if it is there.
    pub segments: Vec<Segment>,
}

/// The methods of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// `*`.
    Any,
    /// These, at least one, upper-case as in the request line.
    Named(Vec<String>),
}

/// What stands between two slashes of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly these bytes; empty behind a trailing slash.
    Literal(Box<[u8]>),
    /// `{name}`: any segment but the empty one.
    Any,
    /// `{*rest}`: everything that follows, at least a byte.
    Rest,
}

/// One rule of `hosts`, lower-case and without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// This name.
    Exact(String),
    /// `*.suffix`: any name that ends with this text, which begins with a dot.
    Suffix(String),
}

impl HostRule {
    /// Whether a host, already lower-case and without a port, is meant.
    pub fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(name) => name.as_bytes() == host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
        }
    }
}

/// A set of HTTP statuses, 100 to 599.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Statuses([u64; 10]);

impl Statuses {
    /// No status at all.
    pub const NONE: Self = Self([0; 10]);

    /// Every status from `first` to `last`, both included.
    pub const fn range(first: u16, last: u16) -> Self {
        let mut set = Self::NONE;
        let mut status = first;
        while status <= last {
            set.0[status as usize / 64] |= 1 << (status % 64);
            status += 1;
        }
        set
    }

    /// Every status that is in either.
    pub fn union(mut self, other: Self) -> Self {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
        self
    }

    /// Whether `status` is in the set; never for one beyond 599.
    pub fn contains(&self, status: u16) -> bool {
        self.0.get(usize::from(status) / 64).is_some_and(|word| word >> (status % 64) & 1 == 1)
    }
}

/// As ranges: `100-499 503`.
impl fmt::Display for Statuses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut status = 100;
        let mut separator = "";
        while status < 600 {
            if !self.contains(status) {
                status += 1;
                continue;
            }
            let first = status;
            while self.contains(status + 1) {
                status += 1;
            }
            match first == status {
                true => write!(out, "{separator}{first}")?,
                false => write!(out, "{separator}{first}-{status}")?,
            }
            separator = " ";
            status += 1;
        }
        Ok(())
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{{{self}}}")
    }
}

/// A promised share of good events, in billionths; never nothing and never everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Objective(u32);

impl Objective {
    /// An objective of `billionths`; `None` unless 0 < billionths < 1,000,000,000.
    pub fn new(billionths: u64) -> Option<Self> {
        (0 < billionths && billionths < BILLION).then_some(Self(billionths as u32))
    }

    /// The promised share in billionths.
    pub const fn billionths(self) -> u64 {
        self.0 as u64
    }

    /// The error budget in billionths: 1 - objective, at least one.
    pub const fn budget_billionths(self) -> u64 {
        BILLION - self.0 as u64
    }

    /// The promised share, the double nearest to it.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / BILLION as f64
    }
}

/// A percentile, in millionths of a percent: 99.9 is 99,900,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentile(u32);

impl Percentile {
    /// 100 percent.
    pub const WHOLE: u64 = 100_000_000;

    /// A percentile of `millionths` of a percent; `None` unless it is between 0 and 100, both excluded.
    pub const fn new(millionths: u64) -> Option<Self> {
        if 0 < millionths && millionths < Self::WHOLE { Some(Self(millionths as u32)) } else { None }
    }

    /// How many of `count` requests must be within the threshold: ceil(p / 100 * count), exactly.
    pub fn needed_of(self, count: u64) -> u64 {
        (u128::from(self.0) * u128::from(count)).div_ceil(u128::from(Self::WHOLE)) as u64
    }

    /// In millionths of a percent.
    pub const fn millionths(self) -> u64 {
        self.0 as u64
    }

    /// The percentile, 99.9 for example.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// `[journey]`: several stories weighted into one indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journey {
    /// Its unique name.
    pub name: String,
    /// For people; the name when none was given.
    pub title: String,
    /// The promised share of good events.
    pub objective: Objective,
    /// Over how long; 28 days unless said otherwise. All members are weighed over this window, whatever their own is.
    pub window: Horizon,
    /// How the members add up.
    pub aggregate: Aggregate,
    /// At least one, each SLO at most once.
    pub members: Vec<Member>,
}

/// How a journey's members add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Weighted sums of counts: a busy story weighs more.
    Requests,
    /// Weighted mean of the members' compliances: traffic does not matter.
    Average,
}

impl Aggregate {
    /// Its name in specs and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Average => "average",
        }
    }
}

/// One SLO of a journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whose events.
    pub slo: SloId,
    /// In millionths; at most a million times one, so that weighted counts fit 128 bits.
    pub weight_millionths: NonZeroU64,
}

impl Member {
    /// The weight as typed.
    pub fn weight(self) -> f64 {
        self.weight_millionths.get() as f64 / 1e6
    }
}

/// `[gate]`: when a service may be deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatePolicy {
    /// What to answer when there is nothing sound to judge by.
    pub on_unknown: OnUnknown,
    /// Remaining budget at or below which the gate freezes by itself, in billionths.
    pub frozen_below_billionths: i64,
    /// A frozen gate opens again only above this, in billionths.
    pub thaw_above_billionths: i64,
    /// Below this: deploy, but guarded, in billionths.
    pub guarded_below_billionths: i64,
    /// A source not heard for longer than this leaves its SLOs without sound evidence, in milliseconds.
    pub stale_after_ms: i64,
    /// Fewer events in the window than this are thin evidence.
    pub min_events: u64,
    /// Of the newest records of a source more than this share that could not be read, in billionths, leaves its SLOs
    /// without sound evidence.
    pub max_unparsed_billionths: i64,
    /// What a gap in the window of an SLO means.
    pub on_gap: OnGap,
    /// Change kinds that pass an automatic freeze and an unknown gate.
    pub exempt: Vec<String>,
    /// An alert at least this urgent freezes the gate while it fires; none does when `None`.
    pub freeze_on: Option<Severity>,
}

/// The answer for want of evidence; an operator must choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// Do not deploy.
    Deny,
    /// Deploy.
    Allow,
}

/// What it means when records inside the window of an SLO can never be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGap {
    /// It is shown, and what was counted decides.
    Show,
    /// There is nothing sound to judge by as long as the gap is in the window.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_needs_its_ceiling() {
        let p99 = Percentile::new(99_000_000).unwrap();
        for (count, needed) in [(0, 0), (1, 1), (99, 99), (100, 99), (101, 100), (200, 198)] {
            assert_eq!(p99.needed_of(count), needed, "{count}");
        }
        assert_eq!(Percentile::new(99_900_000).unwrap().needed_of(1_000), 999);
        assert_eq!(Percentile::new(0), None);
        assert_eq!(Percentile::new(Percentile::WHOLE), None);
    }

    #[test]
    fn an_objective_is_never_nothing_and_never_everything() {
        assert_eq!(Objective::new(0), None);
        assert_eq!(Objective::new(BILLION), None);
        let objective = Objective::new(999_500_000).unwrap();
        assert_eq!((objective.ratio(), objective.budget_billionths()), (0.9995, 500_000));
    }

    #[test]
    fn statuses_print_as_ranges() {
        let set = Statuses::range(100, 499).union(Statuses::range(503, 503));
        assert_eq!(set.to_string(), "100-499 503");
        assert!(set.contains(101) && set.contains(499) && set.contains(503));
        assert!(!set.contains(500) && !set.contains(600) && !set.contains(u16::MAX));
        assert_eq!(Statuses::range(599, 599).to_string(), "599");
    }

    #[test]
    fn a_host_suffix_needs_something_before_it() {
        let rule = HostRule::Suffix(".example.com".into());
        assert!(rule.matches(b"www.example.com") && rule.matches(b"a.b.example.com"));
        assert!(!rule.matches(b"example.com") && !rule.matches(b".example.com") && !rule.matches(b"badexample.com"));
    }
}
