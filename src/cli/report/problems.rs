//! What is wrong with the logs of a report: one sentence each on stderr, which says what to do.

use slogate::counts::{Rejection, Seen};
use slogate::engine::{SourceStanding, may_hide_errors};
use slogate::intake;
use slogate::report::{LogReport, Report};
use slogate::spec::{Catalog, FileSource, SourceId, printable};
use slogate::tally::Tally;

use super::super::say;

/// How far a report can be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// Everything was read.
    Full,
    /// Everything was read, but errors may hide among the many lines of a log that do not have its format.
    Doubtful,
    /// Some of it was not read.
    Partial,
}

/// How many unmatched routes are named.
const ROUTES_NAMED: usize = 5;

/// Tells stderr what is wrong with the logs.
pub(super) fn tell(catalog: &Catalog, source: SourceId, report: &Report) -> Trust {
    let mut trust = if report.errors.is_empty() { Trust::Full } else { Trust::Partial };
    report.errors.iter().for_each(|error| say(&error.to_string()));
    for log in report.logs.iter().filter(|log| !report.errors.iter().any(|error| error.path() == log.path)) {
        if let Some((less, problem)) = of_log(catalog, source, report, log) {
            say(&format!("{}: {problem}", intake::name(&log.path)));
            trust = trust.max(less);
        }
    }
    let standing = &report.board[source];
    if standing.accepted.total() > 0 {
        if standing.accepted.good == 0 {
            say(&no_match(report));
        }
    } else if let Some(problem) = nothing_readable(catalog, source, standing) {
        say(&problem);
        trust = Trust::Partial;
    }
    let refused = |rejection| standing.rejected.get(&rejection).copied().unwrap_or(0);
    out_of_time(catalog, report, standing, refused(Rejection::Expired), refused(Rejection::Future));
    trust
}

/// What is wrong with one log, and how far that leaves the report to be trusted.
fn of_log(catalog: &Catalog, source: SourceId, report: &Report, log: &LogReport) -> Option<(Trust, String)> {
    let Seen { records, unparsed, unread } = log.seen;
    if records == 0 {
        // A log that was just rotated takes nothing away from the others.
        let is_all = report.logs.iter().all(|log| log.seen.records == 0);
        let trust = if is_all { Trust::Partial } else { Trust::Full };
        return Some((trust, "is empty; if it was just rotated, name the older file too".to_owned()));
    }
    if log.is_utf16 && unparsed > 0 {
        let problem = "is text in UTF-16, of which no line can be read; convert it with iconv -f UTF-16 -t UTF-8";
        return Some((Trust::Partial, problem.to_owned()));
    }
    let format = format!("the format of source `{}`", catalog[source].name);
    if unparsed == records {
        let problem = format!(
            "{} {format}, which is `{}`; set that source's `nginx`, `apache` or `format` in slogate.toml to the format \
             that the server writes, or choose another source with --source",
            none_has(records, example(report)),
            printable(file(catalog, source).format.text()),
        );
        return Some((Trust::Partial, problem));
    }
    // As for a source that is followed, by the strictest policy.
    let limit = catalog.policies_over(source).map(|policy| policy.max_unparsed_billionths).min();
    let lines = Tally::new(records.saturating_sub(unread), unread);
    limit.is_some_and(|limit| may_hide_errors(lines, limit)).then(|| {
        let verb = if unread == unparsed { "do not have" } else { "cannot be read in" };
        let problem = format!(
            "{unread} of its {records} lines {verb} {format} and are not counted, and errors may hide among them; \
             if the format was changed, split the log there"
        );
        (Trust::Doubtful, problem)
    })
}

fn none_has(records: u64, example: String) -> String {
    match records {
        1 => format!("its only line{example} does not have"),
        _ => format!("none of its {records} lines{example} has"),
    }
}

/// The beginning of a refused line, when it is sure of which log it is.
fn example(report: &Report) -> String {
    const SHOWN: usize = 80;
    let [_] = report.logs.as_slice() else { return String::new() };
    let samples = report.board.sources.iter().flat_map(|source| &source.samples);
    let Some(text) = samples.map(|sample| sample.text.as_str()).find(|text| !text.is_empty()) else {
        return String::new();
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!(" (`{}...`)", &text[..end]),
        None => format!(" (`{text}`)"),
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

/// What to say when every line was refused, and not for the format alone, which was said of each log, nor for its time.
fn nothing_readable(catalog: &Catalog, source: SourceId, standing: &SourceStanding) -> Option<String> {
    let refused = |rejection| standing.rejected.get(&rejection).copied().unwrap_or(0);
    let (oversize, ambiguous) = (refused(Rejection::Oversize), refused(Rejection::Ambiguous));
    let longest = file(catalog, source).max_line;
    let help = [
        (oversize, format!("longer than `max_line`, {longest} bytes: {oversize}")),
        (ambiguous, format!("to be read in two ways, which a log format that escapes prevents: {ambiguous}")),
    ];
    let help: Vec<String> = help.into_iter().filter(|(count, _)| *count > 0).map(|(_, help)| help).collect();
    (!help.is_empty()).then(|| format!("no line could be counted; {}", help.join(", ")))
}

fn out_of_time(catalog: &Catalog, report: &Report, standing: &SourceStanding, expired: u64, future: u64) {
    let at = report.board.at;
    if expired > 0 {
        let which = if standing.last_event == Some(at) { "newest record" } else { "time asked for" };
        say(&format!(
            "{} older than the {} before {at}, the {which}, and not counted; --at ends the windows at another time",
            records_are(expired),
            catalog.longest_window(),
        ));
    }
    if future > 0 && standing.accepted.is_empty() {
        say(&format!(
            "{} later than {at}, the time asked for, and not counted; --at ends the windows at another time",
            records_are(future),
        ));
    }
}

fn records_are(count: u64) -> String {
    if count == 1 { "1 record is".to_owned() } else { format!("{count} records are") }
}

fn file(catalog: &Catalog, source: SourceId) -> &FileSource {
    catalog[source].kind.file().expect("a report reads access logs")
}
