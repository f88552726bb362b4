//! `slogate report`: what do these logs say?

mod problems;
mod table;
mod unread;

use std::fs::Metadata;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use slogate::document::{DEFAULT_CHANGE, Status};
use slogate::gate::Level;
use slogate::intake::{self, Archive};
use slogate::report::{Plan, Report};
use slogate::spec::{Catalog, OnUnknown, ServiceId, SourceId};
use slogate::time::{Clock, SystemClock, Timestamp};

use super::{Exit, SpecsArgument};
use problems::Trust;
use unread::Unread;

pub(super) const HELP: &str = "\
Exit codes: 0 done; 1 the specs are invalid, or a gate is frozen under --fail-on-frozen; 2 wrong usage; 3 a log \
could not be read or is in another format, no log has a line, or, under --fail-on-frozen, a gate is unknown or more \
than `max_unparsed` (1%) of a log's lines do not have its format, and the policy denies changes without sound \
evidence. A report judges by the SLOs over the source of its logs. Others, such as those over metrics, it names and \
leaves out.";

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
    let trust = problems::tell(&catalog, source, &report);
    let status = Status::new(&catalog, &report.board, DEFAULT_CHANGE);
    let unread = Unread::new(&catalog, source);
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&status).map(|json| json + "\n").unwrap_or_default(),
        false => table::text(&status, unread),
    };
    let exit = if arguments.fail_on_frozen { exit_of_gates(&catalog, unread, &report, trust) } else { exit(trust) };
    super::print(&text, exit)
}

/// The named source, or the only one; tells stderr when that is nobody.
fn choose_source(catalog: &Catalog, name: Option<&str>) -> Option<SourceId> {
    let logs = catalog.sources.iter().enumerate().filter(|(_, source)| source.kind.file().is_some());
    let logs: Vec<(SourceId, &str)> = logs.map(|(id, source)| (SourceId(id), source.name.as_str())).collect();
    let found = match name {
        Some(name) => logs.iter().find(|(_, known)| *known == name),
        None if logs.len() == 1 => logs.first(),
        None => None,
    };
    if found.is_none() {
        let wrong = match name {
            Some(name) if catalog.source_named(name).is_some() => format!("source `{name}` reads no logs"),
            Some(name) => format!("there is no source `{name}`"),
            None if logs.is_empty() => "no source reads logs".to_owned(),
            None => "there are several sources".to_owned(),
        };
        let names: Vec<&str> = logs.iter().map(|(_, name)| *name).collect();
        let choose = "choose the one that wrote these logs with --source: ";
        super::say(&match names.is_empty() {
            true => format!("{wrong}; add a [source.file] with their format to slogate.toml"),
            false => format!("{wrong}; {choose}{}", names.join(", ")),
        });
    }
    found.map(|(id, _)| *id)
}

fn open(files: &[PathBuf]) -> (Vec<Archive>, Vec<intake::IntakeError>) {
    let mut logs = Vec::new();
    let mut errors = Vec::new();
    let mut known = Vec::new();
    for file in files {
        // The same file under two names would count every line twice.
        let identity = std::fs::metadata(file).ok().filter(Metadata::is_file).map(|found| (found.dev(), found.ino()));
        if identity.is_some() && known.contains(&identity) {
            super::say(&format!("{}: is a file that was named before; it is counted once", intake::name(file)));
            continue;
        }
        known.push(identity);
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

/// What a report that can be trusted so far comes to.
fn exit(trust: Trust) -> Exit {
    match trust {
        Trust::Full | Trust::Doubtful => Exit::Done,
        Trust::Partial => Exit::Unsure,
    }
}

/// What it comes to for whoever wants to know whether to deploy a service that these logs are about. Of others a report
/// cannot tell, and says so.
fn exit_of_gates(catalog: &Catalog, unread: Unread<'_>, report: &Report, trust: Trust) -> Exit {
    let all = || (0..catalog.services.len()).map(ServiceId);
    for service in all().filter(|service| unread.has_service(*service)) {
        let (name, source) = (&catalog[service].name, unread.source());
        super::say(&format!("the gate of {name} is not judged here: none of its SLOs is over source `{source}`"));
    }
    let services = || all().filter(|service| !unread.has_service(*service));
    if services().any(|service| report.board[service].state.level == Level::Frozen) {
        return Exit::Refused;
    }
    let unsure = |service: ServiceId| {
        let (decision, policy) = (&report.board[service], &catalog[service].policy);
        let is_unknown = decision.state.level == Level::Unknown && !decision.verdict(policy, DEFAULT_CHANGE).allow;
        is_unknown || (trust == Trust::Doubtful && policy.on_unknown == OnUnknown::Deny)
    };
    // Where it judges nobody it has nothing to allow.
    if services().any(unsure) || services().next().is_none() { Exit::Unsure } else { exit(trust) }
}
