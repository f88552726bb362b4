//! `slogate report`: what do these logs say?

mod table;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use slogate::counts::Seen;
use slogate::document::{DEFAULT_CHANGE, Status};
use slogate::gate::Level;
use slogate::intake::{self, Archive};
use slogate::report::{Plan, Report};
use slogate::spec::{Catalog, ServiceId, SourceId, SourceKind};
use slogate::time::{Clock, SystemClock, Timestamp};

use super::{Exit, SpecsArgument};

pub(super) const HELP: &str = "\
Exit codes: 0 done; 1 the specs are invalid, or a gate is frozen under --fail-on-frozen; 2 wrong usage; 3 a log could not
be read or is in another format, or a gate is unknown under --fail-on-frozen and its policy does not allow that.";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    specs: SpecsArgument,

    /// The source whose format the logs have; needed when there are several
    #[arg(long, value_name = "NAME")]
    source: Option<String>,

    /// The instant at which the windows end, instead of the newest record
    #[arg(long, value_name = "RFC3339", value_parser = Timestamp::parse_rfc3339)]
    at: Option<Timestamp>,

    /// Print the status document instead of tables
    #[arg(long)]
    json: bool,

    /// Exit with 1 when a gate is frozen, with 3 when one is unknown and does not allow that
    #[arg(long)]
    fail_on_frozen: bool,

    /// Access logs: plain, gzip, zstd, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Bars for logs smaller than this are gone before they can be read, in bytes.
const WORTH_A_BAR: u64 = 32 << 20;
/// How many unmatched routes are named.
const ROUTES_NAMED: usize = 5;

/// Reads the logs and prints how everything stands.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let loaded = match super::load(&arguments.specs) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let catalog = Arc::new(loaded.catalog);
    let Some(source) = choose_source(&catalog, arguments.source.as_deref()) else { return Exit::Usage };
    let plan = Plan {
        catalog: Arc::clone(&catalog),
        source,
        at: arguments.at,
        fallback: SystemClock.now(),
        workers: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let (logs, mut unopened) = open(&arguments.files);
    let bar = progress_bar(logs.iter().map(|log| log.size).sum());
    let report = slogate::report::run(&plan, logs, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let mut report = match report {
        Ok(report) => report,
        Err(error) => {
            super::say(&format!("{}: {error}", arguments.specs.specs.display()));
            return Exit::Refused;
        }
    };
    unopened.append(&mut report.errors);
    report.errors = unopened;
    let sound = tell_problems(&catalog, source, &report);
    let status = Status::new(&catalog, &report.board, DEFAULT_CHANGE);
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&status).map(|json| json + "\n").unwrap_or_default(),
        false => table::text(&status, &catalog[source].name),
    };
    let exit = if sound { Exit::Done } else { Exit::Unsure };
    super::print(&text, if arguments.fail_on_frozen { gates(&catalog, &report, exit) } else { exit })
}

/// The named source, or the only one; tells stderr when that is nobody.
fn choose_source(catalog: &Catalog, name: Option<&str>) -> Option<SourceId> {
    let names: Vec<&str> = catalog.sources.iter().map(|source| source.name.as_str()).collect();
    let found = match name {
        Some(name) => names.iter().position(|known| *known == name),
        None if names.len() == 1 => Some(0),
        None => None,
    };
    if found.is_none() {
        let wrong = match name {
            Some(name) => format!("there is no source `{name}`"),
            None => "there are several sources".to_owned(),
        };
        super::say(&format!("{wrong}; choose the one that wrote these logs with --source: {}", names.join(", ")));
    }
    found.map(SourceId)
}

fn open(files: &[PathBuf]) -> (Vec<Archive>, Vec<intake::IntakeError>) {
    let mut logs = Vec::new();
    let mut errors = Vec::new();
    for file in files {
        match intake::open(file) {
            Ok(log) => logs.push(log),
            Err(error) => errors.push(error),
        }
    }
    (logs, errors)
}

fn progress_bar(size: u64) -> ProgressBar {
    if size < WORTH_A_BAR || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr_with_hz(10));
    match ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Tells stderr what is wrong with the logs; `false` when some of it leaves the report unsure.
fn tell_problems(catalog: &Catalog, source: SourceId, report: &Report) -> bool {
    report.errors.iter().for_each(|error| super::say(&error.to_string()));
    let mut sound = report.errors.is_empty();
    for (path, seen) in &report.seen {
        let failed = report.errors.iter().any(|error| error.path() == path);
        if let Some(problem) = problem(catalog, source, report, *seen).filter(|_| !failed) {
            super::say(&format!("{}: {problem}", path.display()));
            sound = false;
        }
    }
    let standing = &report.board[source];
    if standing.accepted.good == 0 && standing.accepted.bad > 0 {
        super::say(&no_match(report));
    }
    let expired = standing.rejected.get(&slogate::counts::Rejection::Expired).copied().unwrap_or(0);
    if expired > 0 {
        super::say(&format!(
            "{expired} records are older than the {} before {}, the {}, and are not counted; --at ends the windows at \
             another time",
            catalog.longest_window(),
            report.board.at,
            if standing.last_event == Some(report.board.at) { "newest record" } else { "time asked for" },
        ));
    }
    sound
}

/// What is wrong with a log of which this was seen.
fn problem(catalog: &Catalog, source: SourceId, report: &Report, seen: Seen) -> Option<String> {
    if seen.records == 0 {
        return Some("is empty; if it was just rotated, name the older file too".to_owned());
    }
    if seen.unparsed < seen.records {
        return None;
    }
    let SourceKind::File(file) = &catalog[source].kind;
    let begins = report.board[source].samples.last().map(|sample| format!(" (`{}`)", shortened(&sample.text)));
    Some(format!(
        "none of its {} lines{} has the format of source `{}`, which is `{}`; set that source's `nginx`, `apache` or \
         `format` in slogate.toml to the format that the server writes, or choose another source with --source",
        seen.records,
        begins.unwrap_or_default(),
        catalog[source].name,
        file.format.text(),
    ))
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn no_match(report: &Report) -> String {
    let routes: Vec<String> =
        report.unmatched.top(ROUTES_NAMED).into_iter().map(|(route, times)| format!("{route} ({times})")).collect();
    format!(
        "no line matched any SLO, so there is nothing to judge by; the most frequent routes are {}; compare them with the \
         `requests` of the SLOs",
        routes.join(", ")
    )
}

/// What the gates make of an exit.
fn gates(catalog: &Catalog, report: &Report, otherwise: Exit) -> Exit {
    let services = || (0..catalog.services.len()).map(ServiceId);
    if services().any(|service| report.board[service].state.level == Level::Frozen) {
        return Exit::Refused;
    }
    let unsure = |service: ServiceId| {
        let decision = &report.board[service];
        decision.state.level == Level::Unknown && !decision.verdict(&catalog[service].policy, DEFAULT_CHANGE).allow
    };
    if services().any(unsure) { Exit::Unsure } else { otherwise }
}
