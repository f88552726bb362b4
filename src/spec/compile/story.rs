//! Stories and their SLOs.

use super::alert::{self, Promise};
use super::names::{NamedStory, Names};
use super::value::{self, Bounds};
use crate::increase::{Bound, Condition, Part};
use crate::selector::Selector;
use crate::spec::catalog::{
    FileSource, HostRule, Methods, Objective, Pattern, Percentile, Requests, Sli, Slo, Source, SourceId, Statuses,
    Story, StoryId,
};
use crate::spec::fault::{At, Faults, listed, printable, quoted};
use crate::spec::number::Number;
use crate::spec::requests;
use crate::spec::table::{Field, Texts};
use crate::spec::written;
use crate::time::Horizon;

const MOST_PATTERNS: usize = 1_000;
const MOST_HOSTS: usize = 1_000;
/// In bytes; far more than anybody can read.
const LONGEST_SELECTOR: usize = 10_000;
/// 100 to 499: 2xx, 3xx and 4xx are successes.
const GOOD: Statuses = Statuses::range(100, 499);
const EVERY_RESPONSE: Statuses = Statuses::range(100, 599);

const PERCENTILE: Bounds =
    Bounds { places: 6, least: 1, most: Percentile::WHOLE as i64 - 1, words: "above 0 and below 100" };
/// Requests per second.
const MINIMUM: Bounds =
    Bounds { places: 6, least: 1, most: 1_000_000_000_000_000, words: "above 0 and at most 1000000000" };

/// Compiles every story; their SLOs come later, by [`slos`].
pub(super) fn stories(names: &Names<'_>, faults: &Faults<'_>) -> Vec<Option<Story>> {
    names.stories().iter().map(|story| self::story(story, names, faults)).collect()
}

fn story(named: &NamedStory<'_>, names: &Names<'_>, faults: &Faults<'_>) -> Option<Story> {
    let written = named.written;
    if written.slos.is_absent() || written.slos.given().is_some_and(|at| at.value.is_empty()) {
        faults.missing(written.place, "this story has no [[slo]]");
    }
    let name = written.name.given().and_then(|at| value::name(at, "a story", faults));
    let title = written.title.or(named.name.to_owned(), |at| value::prose(at, "title", faults));
    let owner = written.owner.or(None, |at| value::prose(at, "owner", faults).map(Some));
    let service = written.service.or((), |at| value::name(at, "a service", faults).map(drop));
    Some(Story {
        name: name?,
        title: title?,
        service: service.and_then(|()| named.service(names))?,
        owner: owner?,
        slos: Vec::new(),
    })
}

/// Compiles the SLOs of every story, in the order of their ids.
pub(super) fn slos(
    names: &Names<'_>,
    sources: &[Option<Source>],
    alerts: Option<&[alert::Written]>,
    faults: &Faults<'_>,
) -> Vec<Option<Slo>> {
    let context = Context { names, sources, alerts, faults };
    let stories = names.stories().iter().enumerate();
    stories
        .flat_map(|(number, story)| story.slos.iter().map(move |slo| (StoryId(number), slo.written)))
        .map(|(story, written)| context.slo(story, written))
        .collect()
}

/// What SLOs are compiled against.
struct Context<'c> {
    names: &'c Names<'c>,
    sources: &'c [Option<Source>],
    /// The alert rules of SLOs that have none of their own, if there are any.
    alerts: Option<&'c [alert::Written]>,
    faults: &'c Faults<'c>,
}

impl Context<'_> {
    fn slo(&self, story: StoryId, written: &written::Slo) -> Option<Slo> {
        let faults = self.faults;
        let name = written.name.given().and_then(|at| value::name(at, "an SLO", faults));
        let objective = objective(&written.objective, faults);
        let window = written.window.or(Horizon::DAYS_28, |at| value::window(at, faults));
        let kind = self.only_kind(written);
        let events = kind.and_then(|kind| self.events(kind));
        let sli = kind.and_then(|kind| self.sli(&kind.value, window));
        let slice = sli.as_ref().and_then(Sli::slice);
        let promise = objective.zip(window).map(|(objective, window)| Promise { objective, window, slice });
        let alerts = promise.and_then(|promise| alert::of_slo(&written.alerts, self.alerts, promise, faults));
        let (source, requests) = events?;
        let Promise { objective, window, .. } = promise?;
        Some(Slo { name: name?, story, objective, window, source, requests, sli: sli?, alerts: alerts? })
    }

    /// The one kind of an SLO. The others are checked, too.
    fn only_kind<'w>(&self, written: &'w written::Slo) -> Option<&'w At<written::Sli>> {
        const KINDS: &str = "[slo.availability], [slo.latency], [slo.percentile] or [slo.throughput] on an access log, \
                             [slo.ratio], [slo.histogram] or [slo.gauge] on a scraped source";
        for surplus in written.kinds.iter().skip(1) {
            let message = "an SLO has one kind; write another [[slo]] for the second";
            self.faults.error(surplus.place, message);
            self.events(surplus);
            self.sli(&surplus.value, None);
        }
        if written.kinds.is_empty() && !written.has_strange_tables {
            self.faults.missing(written.place, format!("missing the SLO's kind: one of {KINDS}"));
        }
        written.kinds.first()
    }

    /// Where the events come from, and which requests they are when that is an access log.
    fn events(&self, kind: &At<written::Sli>) -> Option<(SourceId, Option<Requests>)> {
        let (requests, needs_duration) = match &kind.value {
            written::Sli::Availability { requests, .. } | written::Sli::Throughput { requests, .. } => {
                (requests, false)
            }
            written::Sli::Latency { requests, .. } | written::Sli::Percentile { requests, .. } => (requests, true),
            written::Sli::Ratio { source, .. }
            | written::Sli::Histogram { source, .. }
            | written::Sli::Gauge { source, .. } => return self.source(source, true).map(|source| (source, None)),
        };
        self.requests(requests, needs_duration).map(|(source, requests)| (source, Some(requests)))
    }

    /// The source of a kind that reads what is scraped, or logs.
    fn source(&self, field: &Field<String>, is_scraped: bool) -> Option<SourceId> {
        let at = field.required(self.faults)?;
        let source = self.names.source(at, self.faults)?;
        let found = self.sources.get(source.0).and_then(Option::as_ref);
        if found.is_some_and(|found| found.kind.file().is_none() != is_scraped) {
            let name = quoted(&at.value);
            self.faults.error(
                at.place,
                match is_scraped {
                    true => format!("the source {name} reads an access log; this kind of SLO needs a [source.scrape]"),
                    false => format!("the source {name} is scraped; this kind of SLO needs a [source.file]"),
                },
            );
            return None;
        }
        Some(source)
    }

    fn requests(&self, written: &written::Requests, needs_duration: bool) -> Option<(SourceId, Requests)> {
        let faults = self.faults;
        let source = self.source(&written.source, false);
        let lacks =
            source.and_then(|SourceId(number)| self.sources[number].as_ref()).map(Lacks::of).unwrap_or_default();
        let patterns = written.requests.required(faults).and_then(|at| patterns(at, &lacks, faults));
        let hosts = written.hosts.or(Vec::new(), |at| hosts(at, &lacks, faults));
        if let Some(at) = written.source.given().filter(|_| needs_duration && lacks.duration) {
            let why = "has no duration in its format, so this SLO will have no data";
            faults.warn(at.place, format!("the source {} {why}", quoted(&at.value)));
        }
        Some((source?, Requests { patterns: patterns?, hosts: hosts? }))
    }

    fn sli(&self, written: &written::Sli, window: Option<Horizon>) -> Option<Sli> {
        let faults = self.faults;
        let threshold = |field: &Field<String>| field.required(faults).and_then(|at| value::threshold_us(at, faults));
        match written {
            written::Sli::Availability { good, ignore, .. } => {
                let good = value::statuses(good, "good", GOOD, faults);
                let ignore = value::statuses(ignore, "ignore", Statuses::NONE, faults);
                Some(Sli::Availability { good: good?, ignore: ignore? })
            }
            written::Sli::Latency { threshold: limit, count, .. } => {
                let (threshold_us, count) = (threshold(limit), value::statuses(count, "count", EVERY_RESPONSE, faults));
                Some(Sli::Latency { threshold_us: threshold_us?, count: count? })
            }
            written::Sli::Percentile { percentile, threshold: limit, slice, .. } => {
                let percentile = self.percentile(percentile);
                let (threshold_us, slice) = (threshold(limit), self.slice(slice, window));
                Some(Sli::Percentile { percentile: percentile?, threshold_us: threshold_us?, slice: slice? })
            }
            written::Sli::Throughput { minimum, slice, .. } => {
                let (minimum, slice) = (self.minimum(minimum), self.slice(slice, window));
                Some(Sli::Throughput { minimum_millionths: minimum?, slice: slice? })
            }
            written::Sli::Ratio { total, good, bad, .. } => self.ratio([total, good, bad]),
            written::Sli::Histogram { metric, threshold, .. } => self.histogram(metric, threshold),
            written::Sli::Gauge { metric, good_when, slice, .. } => {
                let metric = metric.required(faults).and_then(|at| self.selector(at));
                let (good_when, slice) = (self.condition(good_when), self.slice(slice, window));
                Some(Sli::Gauge { metric: metric?, good_when: good_when?, slice: slice? })
            }
        }
    }

    /// The selectors of a ratio: of all events, and of either the good or the bad ones.
    fn ratio(&self, [total, good, bad]: [&Field<String>; 3]) -> Option<Sli> {
        let of_all = total.required(self.faults).and_then(|at| self.selector(at));
        let part = match (good.given(), bad.given()) {
            (Some(_), Some(bad)) => {
                self.faults.error(bad.place, "`good` and `bad` say the same thing; keep one");
                None
            }
            (Some(good), None) => self.selector(good).map(|of| (Part::Good, of)),
            (None, Some(bad)) => self.selector(bad).map(|of| (Part::Bad, of)),
            (None, None) => {
                if good.is_absent() && bad.is_absent() {
                    let why = "missing `good` or `bad` in [slo.ratio]: which of the events those are";
                    self.faults.missing(good.head(), why);
                }
                None
            }
        };
        let ((part, of), total) = (part?, of_all?);
        if of == total {
            let (name, field) = if part == Part::Good { ("good", good) } else { ("bad", bad) };
            let why = format!("`{name}` selects the same series as `total`: every event would be {name}");
            field.given().into_iter().for_each(|at| self.faults.error(at.place, why.as_str()));
            return None;
        }
        Some(Sli::Ratio { total, part, of })
    }

    fn histogram(&self, metric: &Field<String>, threshold: &Field<String>) -> Option<Sli> {
        let faults = self.faults;
        let metric = metric.required(faults).and_then(|at| {
            let metric = self.selector(at)?;
            let why = match metric.name() {
                None => "names no single metric; a histogram has one name",
                Some(name) if name.ends_with("_bucket") => "names the buckets; leave out `_bucket`",
                Some(_) if metric.asks_for("le") => {
                    "asks for a single bucket; leave out `le` and write its bound as `threshold`"
                }
                Some(_) => return Some(metric),
            };
            faults.error(at.place, format!("{} {why}", quoted(&at.value)));
            None
        });
        let threshold = threshold.required(faults).and_then(|at| bound(at, faults));
        Some(Sli::Histogram { metric: metric?, threshold: threshold? })
    }

    fn condition(&self, field: &Field<String>) -> Option<Condition> {
        let at = field.required(self.faults)?;
        Condition::parse(&at.value).map_err(|why| self.faults.error(at.place, printable(&why))).ok()
    }

    fn selector(&self, at: &At<String>) -> Option<Selector> {
        let faults = self.faults;
        if at.value.len() > LONGEST_SELECTOR {
            faults.error(at.place, format!("this selector is longer than {LONGEST_SELECTOR} bytes"));
            return None;
        }
        let parsed = Selector::parse(&at.value).map_err(|error| {
            let offset = at.value.char_indices().nth(error.column - 1).map_or(at.value.len(), |(offset, _)| offset);
            faults.error(faults.inside(at, offset), printable(&error.to_string()));
        });
        parsed.ok()
    }

    fn percentile(&self, field: &Field<Number>) -> Option<Percentile> {
        let at = field.required(self.faults)?;
        let units = value::within(at, "the percentile", &PERCENTILE, self.faults)?;
        Percentile::new(units.unsigned_abs())
    }

    fn minimum(&self, field: &Field<Number>) -> Option<u64> {
        let at = field.required(self.faults)?;
        value::within(at, "the minimum", &MINIMUM, self.faults).map(i64::unsigned_abs)
    }

    fn slice(&self, field: &Field<String>, window: Option<Horizon>) -> Option<Horizon> {
        let at = field.required(self.faults)?;
        let slice = value::slice(at, self.faults)?;
        // Of a window that holds one slice at most, every verdict would be about all of it or about nothing.
        if let Some(window) = window.filter(|window| *window <= slice) {
            let text = quoted(&at.value);
            self.faults.error(at.place, format!("the slice {text} is not shorter than the SLO's window of {window}"));
            return None;
        }
        Some(slice)
    }
}

/// An objective that must be there.
pub(super) fn objective(field: &Field<Number>, faults: &Faults<'_>) -> Option<Objective> {
    field.required(faults).and_then(|at| value::objective(at, faults))
}

/// The bound of a histogram's bucket: a number in the histogram's unit, or a duration of one in seconds.
fn bound(at: &At<String>, faults: &Faults<'_>) -> Option<Bound> {
    match Bound::parse(&at.value) {
        Some(bound) if bound.value().is_finite() => Some(bound),
        Some(_) => {
            let why = "is no threshold: every observation is within it";
            faults.error(at.place, format!("{} {why}", quoted(&at.value)));
            None
        }
        None if at.value.bytes().any(|byte| byte.is_ascii_digit()) => {
            value::threshold_us(at, faults).map(Bound::of_micros)
        }
        None => {
            let why = "is no threshold such as \"0.5\", in the unit of the histogram, or \"500ms\"";
            faults.error(at.place, format!("{} {why}", quoted(&at.value)));
            None
        }
    }
}

/// What the lines of a source do not carry.
#[derive(Clone, Copy, Debug, Default)]
struct Lacks {
    duration: bool,
    host: bool,
    method: bool,
}

impl Lacks {
    fn of(source: &Source) -> Self {
        let Some(FileSource { format, .. }) = source.kind.file() else { return Self::default() };
        Self { duration: !format.has_duration(), host: !format.has_host(), method: !format.has_method() }
    }
}

fn patterns(at: &At<Texts>, lacks: &Lacks, faults: &Faults<'_>) -> Option<Vec<Pattern>> {
    let mut patterns = Vec::new();
    for text in value::elements(at, "requests", (1, MOST_PATTERNS), faults)? {
        match requests::pattern(&text.value) {
            Ok(pattern) => {
                if lacks.method && pattern.methods != Methods::Any {
                    let help = "the source's format has no method; write `*` for any method";
                    faults.error(text.place, format!("{} names a method, but {help}", quoted(&text.value)));
                }
                for doubtful in requests::doubtful(&pattern) {
                    let help = "a placeholder such as {name} is a whole segment";
                    faults.warn(text.place, format!("{} is matched literally; {help}", quoted(&doubtful)));
                }
                patterns.push(pattern);
            }
            Err(why) => faults.error(text.place, why),
        }
    }
    Some(patterns)
}

fn hosts(at: &At<Texts>, lacks: &Lacks, faults: &Faults<'_>) -> Option<Vec<HostRule>> {
    if lacks.host {
        let fields = listed(["$host", "%v"]);
        faults.error(at.place, format!("the source's format has no host to compare; add one of {fields} to it"));
    }
    let mut rules = Vec::new();
    for text in value::elements(at, "hosts", (1, MOST_HOSTS), faults)? {
        match requests::host(&text.value) {
            Ok(rule) => rules.push(rule),
            Err(why) => faults.error(text.place, why),
        }
    }
    Some(rules)
}
