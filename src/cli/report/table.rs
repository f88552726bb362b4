//! The status document as tables for people.

use std::fmt::Write;

use comfy_table::{Cell, Color, Table};
use slogate::document::{AlertStatus, GateStatus, JourneyStatus, SloStatus, SourceStatus, Status, StoryStatus};
use slogate::latency::PERCENTILES;

use super::unread::Unread;
use crate::cli::cells::{
    BURNS, budget, burn, duration, gate, gates, grouped, indented, percent, section, state, table,
};

/// How many refused lines are shown.
const REFUSED_SHOWN: usize = 3;

/// The whole document, but for what was not read.
pub(super) fn text(status: &Status<'_>, unread: Unread<'_>) -> String {
    let mut text = format!("Service levels at {}\n", status.at);
    for story in &status.stories {
        let read: Vec<&SloStatus<'_>> = story.slos.iter().filter(|slo| !unread.has(slo.story, slo.slo)).collect();
        if !read.is_empty() {
            section(&mut text, &story_title(story), &slos(&read));
        }
    }
    for journey in &status.journeys {
        if journey.members.iter().all(|member| unread.has(member.story, member.slo)) {
            continue;
        }
        let title = format!("Journey {} · {}", journey.journey, journey.title);
        section(&mut text, &title, &standing(journey, unread));
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "\n{}", indented(&members(journey, unread).trim_fmt()));
    }
    let latencies = latencies(status);
    if !latencies.is_empty() {
        section(&mut text, "How long requests took, at most (percentiles, within 1%)", &latencies);
    }
    let judged: Vec<&GateStatus<'_>> =
        status.gates.iter().filter(|gate| !unread.has_service_named(gate.service)).collect();
    if !judged.is_empty() {
        section(&mut text, "Gates", &gate_table(&judged));
    }
    if !status.alerts.is_empty() {
        section(&mut text, "Alerts", &alerts(&status.alerts));
    }
    for source in status.sources.iter().filter(|found| found.source == unread.source()) {
        let _ = writeln!(text, "\nLines of source {}\n{}", source.source, indented(&lines(source)));
    }
    if let Some(left_out) = unread.text() {
        let _ = write!(text, "\n{left_out}");
    }
    text
}

fn story_title(story: &StoryStatus<'_>) -> String {
    let mut title = format!("Story {} · {} · service {}", story.story, story.title, story.service);
    if let Some(owner) = story.owner {
        let _ = write!(title, " · {owner}");
    }
    title
}

fn slos(slos: &[&SloStatus<'_>]) -> Table {
    let [a, b, c] = BURNS;
    let header = ["SLO", "objective", "compliance", "bad of total", "budget left", "", "as time", a, b, c, "state"];
    let mut table = table(header, &[1, 2, 3, 5, 6, 7, 8, 9]);
    for slo in slos {
        let mut row = vec![
            Cell::new(slo.slo),
            Cell::new(format!("{} / {}", percent(slo.objective), slo.window)),
            Cell::new(slo.compliance.map_or("-".to_owned(), percent)),
            Cell::new(format!("{} of {}", grouped(slo.bad), grouped(slo.total))),
        ];
        row.extend(budget(slo.budget.remaining, slo.budget.remaining_seconds));
        row.extend(BURNS.map(|window| burn(rate(&slo.burn.0, window))));
        row.push(state(slo.state, slo_note(slo)));
        table.add_row(row);
    }
    table
}

/// The SLOs that promise durations, where requests carry any.
fn latencies(status: &Status<'_>) -> Table {
    let [a, b, c, d, e] = PERCENTILES.map(|(name, ..)| name);
    let mut table = table(["SLO", a, b, c, d, e, "requests", "since"], &[1, 2, 3, 4, 5, 6]);
    let slos = status.stories.iter().flat_map(|story| &story.slos);
    for slo in slos.filter(|slo| ["latency", "percentile"].contains(&slo.kind)) {
        let Some(latency) = slo.latency.as_ref().filter(|latency| latency.requests > 0) else { continue };
        let mut row = vec![format!("{}/{}", slo.story, slo.slo)];
        row.extend(latency.seconds.0.iter().map(|(_, seconds)| duration(seconds.unwrap_or_default())));
        row.extend([grouped(latency.requests), latency.from.to_string()]);
        table.add_row(row);
    }
    table
}

/// What weakens a state.
fn slo_note(slo: &SloStatus<'_>) -> &'static str {
    match slo.evidence {
        "thin" => " (thin evidence)",
        "degraded" => " (errors may hide)",
        "stale" => " (source silent)",
        _ => "",
    }
}

fn standing(journey: &JourneyStatus<'_>, unread: Unread<'_>) -> Table {
    let [a, b, c] = BURNS;
    let header = ["objective", "compliance", "budget left", "", "as time", a, b, c, "state"];
    let mut table = table(header, &[0, 1, 3, 4, 5, 6, 7]);
    let mut row = vec![
        Cell::new(format!("{} / {}", percent(journey.objective), journey.window)),
        Cell::new(journey.compliance.map_or("-".to_owned(), percent)),
    ];
    row.extend(budget(journey.budget.remaining, journey.budget.remaining_seconds));
    row.extend(BURNS.map(|window| burn(rate(&journey.burn.0, window))));
    let is_whole = !journey.members.iter().any(|member| unread.has(member.story, member.slo));
    row.push(state(journey.state, if is_whole { "" } else { " (in part)" }));
    table.add_row(row);
    table
}

fn members(journey: &JourneyStatus<'_>, unread: Unread<'_>) -> Table {
    let header = ["member", "weight", "compliance", "share of journey", "share of errors"];
    let mut table = table(header, &[1, 2, 3, 4]);
    for member in &journey.members {
        let is_unread = unread.has(member.story, member.slo);
        let compliance = if is_unread { "not read" } else { "-" };
        table.add_row([
            format!("{}/{}", member.story, member.slo),
            member.weight.to_string(),
            member.compliance.map_or(compliance.to_owned(), percent),
            format!("{:.1}%", member.share * 100.0),
            format!("{:.1}%", member.spent_share * 100.0),
        ]);
    }
    table
}

fn gate_table(statuses: &[&GateStatus<'_>]) -> Table {
    let mut table = gates();
    for status in statuses {
        let reasons: Vec<String> = status.reasons.iter().map(|reason| reason.text.clone()).collect();
        table.add_row(gate(status.service, status.level, status.allow, &reasons));
    }
    table
}

fn alerts(alerts: &[AlertStatus<'_>]) -> Table {
    let mut table = table(["SLO", "alert", "state", "since", "burn", "", "from"], &[4, 5, 6]);
    for alert in alerts {
        let colour = if alert.state == "firing" { Color::Red } else { Color::Yellow };
        let since = alert.resolved_at.or(alert.since);
        let rate = |window: &str, rate: Option<f64>| {
            Cell::new(format!("{} over {window}", rate.map_or("-".to_owned(), |rate| format!("{rate:.2}"))))
        };
        table.add_row([
            Cell::new(format!("{}/{}", alert.story, alert.slo)),
            Cell::new(alert.severity),
            Cell::new(alert.state).fg(colour),
            Cell::new(since.map_or("-".to_owned(), |since| since.to_string())),
            rate(&alert.long, alert.burn_long),
            rate(&alert.short, alert.burn_short),
            Cell::new(alert.factor),
        ]);
    }
    table
}

fn lines(source: &SourceStatus<'_>) -> String {
    let refused: u64 = source.rejected.0.iter().map(|(_, count)| count).sum();
    let mut text = format!(
        "{} records: {} matched an SLO, {} matched none, {} refused\n",
        grouped(source.records),
        grouped(source.matched),
        grouped(source.unmatched),
        grouped(refused)
    );
    let counts = |counts: &[(&str, u64)]| {
        counts.iter().map(|(name, count)| format!("{name} {}", grouped(*count))).collect::<Vec<_>>().join(", ")
    };
    if refused > 0 {
        let _ = write!(text, "refused: {}", counts(&source.rejected.0));
        if !source.rejected_detail.0.is_empty() {
            let _ = write!(text, " (unparsed: {})", counts(&source.rejected_detail.0));
        }
        text.push('\n');
    }
    for sample in source.samples.iter().rev().take(REFUSED_SHOWN) {
        let _ = writeln!(text, "  {} {}: {}", sample.reason, sample.detail.unwrap_or_default(), sample.text);
    }
    if source.truncated > 0 {
        let much = grouped(source.truncated);
        let _ = writeln!(text, "{much} records are longer than `max_line` and were read by their beginnings");
    }
    for (field, count) in source.missing.0.iter().filter(|(_, count)| *count > 0) {
        let _ = writeln!(text, "{} records carry no {field}, which an SLO needs", grouped(*count));
    }
    text
}

fn rate<K: std::fmt::Display>(burns: &[(K, Option<f64>)], window: &str) -> Option<f64> {
    burns.iter().find(|(name, _)| name.to_string() == window).and_then(|(_, rate)| *rate)
}
