//! `slogate check`: are the specs sound, and what do they come to?

use std::fmt::Write;

use clap::Args;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle, presets};
use slogate::classify::Classifier;
use slogate::increase::Part;
use slogate::spec::{
    AlertRule, Catalog, Decimal, FileSource, GatePolicy, HostRule, Journey, OnGap, OnUnknown, ScrapeSource, Secret,
    Service, Severity, Sli, Slo, Source, SourceId, SourceKind, Start, Statuses, StoreUrl, printable,
};

use super::{Exit, SpecsArgument};

pub(super) const HELP: &str = "\
Exit codes: 0 the specs are valid; 1 they are not, and every fault is on stderr as file:line:column: message; 2 \
wrong usage; 3 the directory could not be read.";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    specs: SpecsArgument,
}

/// Checks the specs and prints what they compile to.
pub(super) fn run(arguments: &Arguments) -> Exit {
    match super::load(&arguments.specs) {
        Ok(loaded) => {
            // Specs that cannot be counted by are no valid specs.
            let sources = (0..loaded.catalog.sources.len()).map(SourceId);
            for source in sources {
                if let Err(error) = Classifier::new(&loaded.catalog, source) {
                    super::say(&format!("{}: {error}", arguments.specs.specs.display()));
                    return Exit::Refused;
                }
            }
            let exit = super::print(&report(&loaded.catalog), Exit::Done);
            not_checked(&loaded.catalog).iter().for_each(|line| super::say(line));
            exit
        }
        Err(exit) => exit,
    }
}

fn report(catalog: &Catalog) -> String {
    let sections = [
        ("Engine", engine(catalog)),
        ("Sources", sources(catalog)),
        ("SLOs", slos(catalog)),
        ("Journeys", journeys(catalog)),
        ("Gates", gates(catalog)),
    ];
    let mut text = format!("{}: {}\n", catalog.directory.display(), summary(catalog));
    for (title, table) in sections.iter().filter(|(_, table)| table.row_count() > 0) {
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "\n{title}\n");
        table.trim_fmt().lines().for_each(|line| {
            let _ = writeln!(text, "{}", line.trim_end());
        });
    }
    text
}

fn summary(catalog: &Catalog) -> String {
    let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    [
        count(catalog.sources.len(), "source", "sources"),
        count(catalog.stories.len(), "story", "stories"),
        count(catalog.slos.len(), "SLO", "SLOs"),
        count(catalog.journeys.len(), "journey", "journeys"),
        count(catalog.services.len(), "service", "services"),
    ]
    .join(", ")
}

/// What only the machine that serves can tell.
fn not_checked(catalog: &Catalog) -> Vec<String> {
    let mut lines = Vec::new();
    for source in &catalog.sources {
        let name = &source.name;
        match &source.kind {
            SourceKind::File(file) => {
                let paths = file.paths.join(", ");
                lines.push(format!("not checked: whether {paths} can be read and have the format of source {name}"));
            }
            SourceKind::Scrape(scrape) => {
                let targets = targets(scrape).join(", ");
                lines.push(format!("not checked: whether {targets} answer with the metrics of source {name}"));
                let secret = scrape.token.as_ref().map(unchecked_secret);
                lines.extend(secret.map(|line| format!("{line}, for the targets of source {name}")));
                let authorities = scrape.ca_file.as_ref().map(|path| path.display());
                lines.extend(authorities.map(|path| {
                    format!("not checked: whether {path} can be read and holds the authorities of source {name}")
                }));
            }
        }
    }
    lines.extend(catalog.server.token.as_ref().map(unchecked_secret));
    let StoreUrl::Redb(store) = &catalog.store;
    lines.push(format!("not checked: whether {} can be opened", store.display()));
    for (slo, formerly) in &catalog.renames.slos {
        let name = format!("{}/{}", catalog.story_of(*slo).name, catalog[*slo].name);
        let formerly: Vec<String> = formerly.iter().map(|(story, slo)| format!("{story}/{slo}")).collect();
        lines.push(format!("not checked: whether it holds counts of {} for {name}", formerly.join(" or ")));
    }
    lines
}

fn unchecked_secret(secret: &Secret) -> String {
    match secret {
        Secret::Env(name) => format!("not checked: whether the variable {name} is set"),
        Secret::File(path) => format!("not checked: whether {} can be read", path.display()),
    }
}

/// A table without colours, as wide as the terminal allows; as wide as it likes where there is none.
fn table(header: &[&str]) -> Table {
    const STYLE: TableStyle = presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    if !header.is_empty() {
        table.set_header(header);
    }
    table
}

fn engine(catalog: &Catalog) -> Table {
    let token = match &catalog.server.token {
        Some(Secret::Env(name)) => format!("from the variable {name}"),
        Some(Secret::File(path)) => format!("from the file {}", path.display()),
        None => "none: only this machine may change state".to_owned(),
    };
    let StoreUrl::Redb(store) = &catalog.store;
    let mut table = table(&[]);
    table.add_row(["listens on", &catalog.server.listen.to_string()]);
    table.add_row(["token", &token]);
    table.add_row(["store", &format!("redb, {}", store.display())]);
    table.add_row(["longest window", &catalog.longest_window().to_string()]);
    table
}

fn sources(catalog: &Catalog) -> Table {
    let mut table = table(&["source", "kind", "reads", "how"]);
    for Source { name, kind } in &catalog.sources {
        let (reads, how) = match kind {
            SourceKind::File(file) => (file.paths.clone(), how_file(file)),
            SourceKind::Scrape(scrape) => (targets(scrape), how_scrape(scrape)),
        };
        table.add_row([name, kind.name(), &reads.join("\n"), &how]);
    }
    table
}

fn how_file(file: &FileSource) -> String {
    let start = match file.start {
        Start::Beginning => "beginning",
        Start::End => "end",
    };
    let format = printable(file.format.text());
    format!("from the {start}, lines of at most {} bytes\n{format}", file.max_line)
}

fn how_scrape(scrape: &ScrapeSource) -> String {
    let time = |millis: u64| duration(millis * 1_000);
    let limits = &scrape.limits;
    format!(
        "every {}, within {}\nat most {} bytes, {} samples",
        time(scrape.interval_ms),
        time(scrape.timeout_ms),
        limits.body_bytes,
        limits.samples
    )
}

/// What a source scrapes, as written.
fn targets(scrape: &ScrapeSource) -> Vec<String> {
    let dns = scrape.dns.iter().map(|url| format!("{url} (each address)"));
    scrape.targets.iter().cloned().chain(scrape.file_sd.iter().cloned()).chain(dns).collect()
}

fn slos(catalog: &Catalog) -> Table {
    let mut table = table(&["SLO", "service", "objective", "window", "of", "is good when", "source", "alerts"]);
    for slo in &catalog.slos {
        let story = &catalog[slo.story];
        table.add_row([
            format!("{}/{}", story.name, slo.name),
            catalog[story.service].name.clone(),
            format!("{}%", slo.objective),
            slo.window.to_string(),
            events(slo),
            good(&slo.sli),
            catalog[slo.source].name.clone(),
            alerts(slo),
        ]);
    }
    table
}

/// The alert rules of an SLO, one a line.
fn alerts(slo: &Slo) -> String {
    let hold = |rule: &AlertRule| match rule.hold_ms {
        0 => String::new(),
        hold_ms => format!(" for {}", duration(hold_ms.unsigned_abs() * 1_000)),
    };
    let rule = |rule: &AlertRule| {
        let AlertRule { severity, long, short, factor, .. } = rule;
        format!("{} {factor} over {long}, {short}{}", severity.name(), hold(rule))
    };
    slo.alerts.iter().map(rule).collect::<Vec<_>>().join("\n")
}

/// The events of an SLO: requests, or slices of them.
fn events(slo: &Slo) -> String {
    let requests = requests(slo);
    match &slo.sli {
        Sli::Availability { ignore, .. } if *ignore == Statuses::NONE => requests,
        Sli::Availability { ignore, .. } => format!("{requests}\nbut status {ignore}"),
        Sli::Latency { count, .. } if *count == Statuses::range(100, 599) => requests,
        Sli::Latency { count, .. } => format!("{requests}\nwith status {count}"),
        Sli::Percentile { slice, .. } => format!("every {slice} with traffic of\n{requests}"),
        Sli::Throughput { slice, .. } => format!("every {slice} of\n{requests}"),
        Sli::Ratio { total, .. } => format!("increments of\n{total}"),
        Sli::Histogram { metric, .. } => format!("observations of\n{metric}"),
        Sli::Gauge { metric, slice, .. } => format!("every {slice} of\n{metric}"),
    }
}

fn requests(slo: &Slo) -> String {
    let patterns = slo.patterns().iter().map(|pattern| pattern.text.clone());
    let hosts = slo.hosts().iter().map(|rule| match rule {
        HostRule::Exact(name) => format!("on {name}"),
        HostRule::Suffix(suffix) => format!("on *{suffix}"),
    });
    patterns.chain(hosts).collect::<Vec<_>>().join("\n")
}

fn good(sli: &Sli) -> String {
    match sli {
        Sli::Availability { good, .. } => format!("status {good}"),
        Sli::Latency { threshold_us, .. } => format!("duration <= {}", duration(*threshold_us)),
        Sli::Percentile { percentile, threshold_us, .. } => format!("p{percentile} <= {}", duration(*threshold_us)),
        Sli::Ratio { part: Part::Good, of, .. } => format!("counted by {of}"),
        Sli::Ratio { part: Part::Bad, of, .. } => format!("not counted by {of}"),
        Sli::Histogram { threshold, .. } => format!("le <= {}", threshold.value()),
        Sli::Gauge { good_when, .. } => format!("last sample {good_when}"),
        Sli::Throughput { minimum_millionths, .. } => format!("requests/s >= {}", millionths(*minimum_millionths)),
    }
}

/// A length of time in the largest unit that divides it.
fn duration(us: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms"), (1, "us")];
    let (unit, name) = UNITS.iter().find(|(unit, _)| us.is_multiple_of(*unit)).unwrap_or(&(1, "us"));
    format!("{}{name}", us / unit)
}

fn millionths(units: u64) -> Decimal {
    Decimal { units: i64::try_from(units).unwrap_or(i64::MAX), places: 6 }
}

fn journeys(catalog: &Catalog) -> Table {
    let mut table = table(&["journey", "objective", "window", "aggregate", "weight", "member"]);
    for journey in &catalog.journeys {
        table.add_row([
            journey.name.clone(),
            format!("{}%", journey.objective),
            journey.window.to_string(),
            journey.aggregate.name().to_owned(),
            column(journey, |member| millionths(member.weight_millionths.get()).to_string()),
            column(journey, |member| format!("{}/{}", catalog.story_of(member.slo).name, catalog[member.slo].name)),
        ]);
    }
    table
}

fn column(journey: &Journey, show: impl Fn(&slogate::spec::Member) -> String) -> String {
    journey.members.iter().map(show).collect::<Vec<_>>().join("\n")
}

fn gates(catalog: &Catalog) -> Table {
    let mut table = table(&[
        "service",
        "unknown",
        "frozen at",
        "thaws above",
        "guarded below",
        "stale after",
        "min events",
        "max unparsed",
        "on a gap",
        "exempt",
        "freezes on",
        "SLOs",
    ]);
    for Service { name, policy, slos } in &catalog.services {
        let GatePolicy { on_unknown, min_events, on_gap, exempt, .. } = policy;
        let ratio = |units| Decimal { units, places: 9 }.to_string();
        let unknown = match on_unknown {
            OnUnknown::Deny => "deny",
            OnUnknown::Allow => "allow",
        };
        let gap = match on_gap {
            OnGap::Show => "show",
            OnGap::Unknown => "unknown",
        };
        table.add_row([
            name.clone(),
            unknown.to_owned(),
            ratio(policy.frozen_below_billionths),
            ratio(policy.thaw_above_billionths),
            ratio(policy.guarded_below_billionths),
            duration(policy.stale_after_ms.unsigned_abs() * 1_000),
            min_events.to_string(),
            format!("{}%", Decimal { units: policy.max_unparsed_billionths, places: 7 }),
            gap.to_owned(),
            exempt.join(" "),
            policy.freeze_on.map_or("none", Severity::name).to_owned(),
            slos.len().to_string(),
        ]);
    }
    table
}
