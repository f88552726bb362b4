//! `slogate status`: how everything stands, as the server sees it.
//!
//! Of the documents only what is shown is read, so that a server of another version is understood as long as it can be.

use std::collections::BTreeMap;

use clap::Args;
use comfy_table::Cell;
use serde::Deserialize;
use slogate::spec::printable;

use super::Exit;
use super::cells::{BURNS, budget, burn, gate, gates, grouped, percent, section, state, table};
use super::remote::{Question, Remote, ServerArgument, check_name};

pub(super) const HELP: &str = "\
Exit codes: 0 done; 2 wrong usage; 3 the server cannot be reached, or knows nothing of this name.";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// One story, or one of its SLOs; everything without it
    #[arg(value_name = "STORY[/SLO]")]
    of: Option<String>,

    #[command(flatten)]
    server: ServerArgument,

    /// Print the server's answer as it is
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Status {
    at: String,
    stories: Vec<Story>,
    journeys: Vec<Journey>,
    gates: Vec<Gate>,
    /// Absent in the answers of older servers.
    #[serde(default)]
    alerts: Vec<Alert>,
    sources: Vec<Source>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    story: String,
    slo: String,
    severity: String,
    state: String,
    long: String,
    short: String,
    factor: f64,
    burn_long: Option<f64>,
    since: Option<String>,
    resolved_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Story {
    slos: Vec<Slo>,
}

#[derive(Debug, Deserialize)]
struct Slo {
    story: String,
    slo: String,
    service: String,
    objective: f64,
    window: String,
    at: String,
    state: String,
    bad: u64,
    total: u64,
    compliance: Option<f64>,
    budget: Budget,
    burn: BTreeMap<String, Option<f64>>,
    evidence: String,
    #[serde(default)]
    gaps_total: u64,
    #[serde(default)]
    gaps: Vec<Gap>,
    unseen: Option<Reason>,
}

#[derive(Debug, Deserialize)]
struct Journey {
    journey: String,
    objective: f64,
    window: String,
    state: String,
    compliance: Option<f64>,
    budget: Budget,
    burn: BTreeMap<String, Option<f64>>,
}

#[derive(Debug, Deserialize)]
struct Budget {
    remaining: f64,
    remaining_seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Gate {
    service: String,
    level: String,
    allow: bool,
    reasons: Vec<Reason>,
}

#[derive(Debug, Deserialize)]
struct Reason {
    text: String,
}

#[derive(Debug, Deserialize)]
struct Source {
    source: String,
    records: u64,
    matched: u64,
    rejected: BTreeMap<String, u64>,
    lag_seconds: Option<f64>,
    health: String,
    // Not of every version.
    #[serde(default)]
    reasons: Vec<Reason>,
    #[serde(default)]
    gaps_total: u64,
    #[serde(default)]
    gaps: Vec<Gap>,
}

#[derive(Debug, Deserialize)]
struct Gap {
    text: String,
}

impl Slo {
    fn name(&self) -> String {
        format!("{}/{}", self.story, self.slo)
    }
}

/// Prints what the server knows.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let names: Vec<&str> = arguments.of.iter().flat_map(|of| of.splitn(2, '/')).collect();
    if let Some(exit) = names.iter().find_map(|name| check_name("a story or an SLO", name).err()) {
        return exit;
    }
    let remote = match Remote::new(&arguments.server) {
        Ok(remote) => remote,
        Err(error) => {
            super::say(&error);
            return Exit::Usage;
        }
    };
    let path = match names[..] {
        [story, slo] => vec!["slos", story, slo],
        [story] => vec!["stories", story],
        _ => vec!["status"],
    };
    let answer = match remote.block_on(remote.ask(&Question::get(&path))) {
        Ok(answer) => answer,
        Err(error) => {
            super::say(&error);
            return Exit::Unsure;
        }
    };
    if answer.status != 200 {
        super::say(&answer.problem());
        return Exit::Unsure;
    }
    if arguments.json {
        return super::print(&answer.body, Exit::Done);
    }
    match text(&answer.body, path[0]) {
        Ok(text) => super::print(&text, Exit::Done),
        Err(error) => {
            super::say(&format!("the answer of {} is not one of slogate's: {error}", remote.url()));
            Exit::Unsure
        }
    }
}

/// The tables for an answer of one of the three kinds.
fn text(body: &str, kind: &str) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    match kind {
        "slos" => {
            let slo: Slo = serde_json::from_str(body)?;
            one(&mut text, &[slo]);
        }
        "stories" => one(&mut text, &serde_json::from_str::<Story>(body)?.slos),
        _ => all(&mut text, &serde_json::from_str(body)?),
    }
    Ok(text)
}

fn one(text: &mut String, slos: &[Slo]) {
    heading(text, slos.first().map_or("", |slo| &slo.at));
    section(text, "SLOs", &slo_table(slos));
    for slo in slos {
        told(text, &slo.name(), slo.unseen.as_slice(), slo.gaps_total, &slo.gaps);
    }
}

fn all(text: &mut String, status: &Status) {
    heading(text, &status.at);
    section(text, "Gates", &gate_table(&status.gates));
    section(text, "SLOs", &slo_table(status.stories.iter().flat_map(|story| &story.slos)));
    if !status.journeys.is_empty() {
        section(text, "Journeys", &journey_table(&status.journeys));
    }
    if !status.alerts.is_empty() {
        section(text, "Alerts", &alert_table(&status.alerts));
    }
    section(text, "Sources", &source_table(&status.sources));
    for slo in status.stories.iter().flat_map(|story| &story.slos) {
        told(text, &slo.name(), slo.unseen.as_slice(), 0, &[]);
    }
    for source in &status.sources {
        told(text, &source.source, &source.reasons, source.gaps_total, &source.gaps);
    }
}

/// One line for each thing to know before believing the numbers: doubts, and all gaps together with the newest of them.
fn told(text: &mut String, name: &str, doubts: &[Reason], gaps: u64, newest: &[Gap]) {
    let name = printable(name);
    for doubt in doubts {
        text.push_str(&format!("{name}: {}\n", printable(&doubt.text)));
    }
    match (gaps, newest.last()) {
        (0, _) | (_, None) => {}
        (1, Some(gap)) => text.push_str(&format!("{name}: gap: {}\n", printable(&gap.text))),
        (_, Some(gap)) => text.push_str(&format!("{name}: {gaps} gaps, the newest: {}\n", printable(&gap.text))),
    }
}

fn heading(text: &mut String, at: &str) {
    text.push_str("Service levels at ");
    text.push_str(&printable(at));
    text.push('\n');
}

fn slo_table<'a>(slos: impl IntoIterator<Item = &'a Slo>) -> comfy_table::Table {
    let [a, b, c] = BURNS;
    let header =
        ["SLO", "service", "objective", "compliance", "bad of total", "budget left", "", "as time", a, b, c, "state"];
    let mut table = table(header, &[2, 3, 4, 6, 7, 8, 9, 10]);
    for slo in slos {
        let note = match slo.evidence.as_str() {
            "thin" => " (thin evidence)",
            "stale" => " (not seen any more)",
            "degraded" => " (errors may hide)",
            _ => "",
        };
        let mut row = vec![
            Cell::new(format!("{}/{}", printable(&slo.story), printable(&slo.slo))),
            Cell::new(printable(&slo.service)),
            Cell::new(format!("{} / {}", percent(slo.objective), printable(&slo.window))),
            Cell::new(slo.compliance.map_or("-".to_owned(), percent)),
            Cell::new(format!("{} of {}", grouped(slo.bad), grouped(slo.total))),
        ];
        row.extend(budget(slo.budget.remaining, slo.budget.remaining_seconds));
        row.extend(BURNS.map(|window| burn(slo.burn.get(window).copied().flatten())));
        row.push(state(&printable(&slo.state), note));
        table.add_row(row);
    }
    table
}

fn journey_table(journeys: &[Journey]) -> comfy_table::Table {
    let [a, b, c] = BURNS;
    let header = ["journey", "objective", "compliance", "budget left", "", "as time", a, b, c, "state"];
    let mut table = table(header, &[1, 2, 4, 5, 6, 7, 8]);
    for journey in journeys {
        let mut row = vec![
            Cell::new(printable(&journey.journey)),
            Cell::new(format!("{} / {}", percent(journey.objective), printable(&journey.window))),
            Cell::new(journey.compliance.map_or("-".to_owned(), percent)),
        ];
        row.extend(budget(journey.budget.remaining, journey.budget.remaining_seconds));
        row.extend(BURNS.map(|window| burn(journey.burn.get(window).copied().flatten())));
        row.push(state(&printable(&journey.state), ""));
        table.add_row(row);
    }
    table
}

fn gate_table(shown: &[Gate]) -> comfy_table::Table {
    let mut table = gates();
    for of in shown {
        let reasons: Vec<String> = of.reasons.iter().map(|reason| printable(&reason.text)).collect();
        table.add_row(gate(&printable(&of.service), &printable(&of.level), of.allow, &reasons));
    }
    table
}

fn alert_table(alerts: &[Alert]) -> comfy_table::Table {
    let mut table = table(["SLO", "alert", "state", "since", "over", "and", "burn", "from"], &[6, 7]);
    for alert in alerts {
        let mut row = vec![
            Cell::new(format!("{}/{}", printable(&alert.story), printable(&alert.slo))),
            Cell::new(printable(&alert.severity)),
            Cell::new(printable(&alert.state)),
            Cell::new(alert.resolved_at.as_deref().or(alert.since.as_deref()).map_or("-".to_owned(), printable)),
            Cell::new(printable(&alert.long)),
            Cell::new(printable(&alert.short)),
        ];
        row.push(burn(alert.burn_long));
        row.push(Cell::new(alert.factor));
        table.add_row(row);
    }
    table
}

fn source_table(sources: &[Source]) -> comfy_table::Table {
    let mut table = table(["source", "records", "matched", "refused", "newest", "health"], &[1, 2, 3, 4]);
    for source in sources {
        let refused = source.rejected.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
        table.add_row([
            printable(&source.source),
            grouped(source.records),
            grouped(source.matched),
            grouped(refused),
            source.lag_seconds.map_or("never".to_owned(), |lag| format!("{lag:.1}s ago")),
            printable(&source.health),
        ]);
    }
    table
}
