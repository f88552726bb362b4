//! The status document as tables for people.

use std::fmt::Write;
use std::io::IsTerminal;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use slogate::document::{GateStatus, JourneyStatus, SloStatus, SourceStatus, Status, StoryStatus};

/// The burn windows that are shown: the hour that pages, the quarter of a day, and the three days that file tickets.
const BURNS: [&str; 3] = ["1h", "6h", "3d"];
/// How many cells a budget bar has.
const BAR: usize = 10;
/// How many refused lines are shown.
const REFUSED_SHOWN: usize = 3;

/// The whole document; of the sources only the one that was read.
pub(super) fn text(status: &Status<'_>, source: &str) -> String {
    let mut text = format!("Service levels at {}\n", status.at);
    for story in &status.stories {
        section(&mut text, &story_title(story), &slos(story));
    }
    for journey in &status.journeys {
        let title = format!("Journey {} · {}", journey.journey, journey.title);
        section(&mut text, &title, &standing(journey));
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "\n{}", indented(&members(journey).trim_fmt()));
    }
    if !status.gates.is_empty() {
        section(&mut text, "Gates", &gates(&status.gates));
    }
    for source in status.sources.iter().filter(|found| found.source == source) {
        let _ = writeln!(text, "\nLines of source {}\n{}", source.source, indented(&lines(source)));
    }
    text
}

fn section(text: &mut String, title: &str, table: &Table) {
    let _ = writeln!(text, "\n{title}\n{}", indented(&table.trim_fmt()));
}

fn indented(block: &str) -> String {
    block.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn table<const N: usize>(header: [&str; N], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(|name| Cell::new(name).add_attribute(comfy_table::Attribute::Dim)));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        if right.contains(&column.index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if !colours() {
        table.force_no_tty();
    }
    table
}

/// Colours go to terminals only, and not where `NO_COLOR` asks for none.
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn story_title(story: &StoryStatus<'_>) -> String {
    let mut title = format!("Story {} · {} · service {}", story.story, story.title, story.service);
    if let Some(owner) = story.owner {
        let _ = write!(title, " · {owner}");
    }
    title
}

fn slos(story: &StoryStatus<'_>) -> Table {
    let [a, b, c] = BURNS;
    let header = ["SLO", "objective", "compliance", "bad of total", "budget left", "", "as time", a, b, c, "state"];
    let mut table = table(header, &[1, 2, 3, 5, 6, 7, 8, 9]);
    for slo in &story.slos {
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

/// What weakens a state.
fn slo_note(slo: &SloStatus<'_>) -> &'static str {
    match slo.evidence {
        "thin" => " (thin evidence)",
        "stale" => " (source silent)",
        _ => "",
    }
}

fn standing(journey: &JourneyStatus<'_>) -> Table {
    let [a, b, c] = BURNS;
    let header = ["objective", "compliance", "budget left", "", "as time", a, b, c, "state"];
    let mut table = table(header, &[0, 1, 3, 4, 5, 6, 7]);
    let mut row = vec![
        Cell::new(format!("{} / {}", percent(journey.objective), journey.window)),
        Cell::new(journey.compliance.map_or("-".to_owned(), percent)),
    ];
    row.extend(budget(journey.budget.remaining, journey.budget.remaining_seconds));
    row.extend(BURNS.map(|window| burn(rate(&journey.burn.0, window))));
    row.push(state(journey.state, ""));
    table.add_row(row);
    table
}

fn members(journey: &JourneyStatus<'_>) -> Table {
    let header = ["member", "weight", "compliance", "share of journey", "share of errors"];
    let mut table = table(header, &[1, 2, 3, 4]);
    for member in &journey.members {
        table.add_row([
            format!("{}/{}", member.story, member.slo),
            member.weight.to_string(),
            member.compliance.map_or("-".to_owned(), percent),
            format!("{:.1}%", member.share * 100.0),
            format!("{:.1}%", member.spent_share * 100.0),
        ]);
    }
    table
}

fn gates(gates: &[GateStatus<'_>]) -> Table {
    let mut table = table(["service", "level", "a feature", "because"], &[]);
    for gate in gates {
        let colour = match gate.level {
            "open" => Color::Green,
            "frozen" => Color::Red,
            _ => Color::Yellow,
        };
        let reasons: Vec<&str> = gate.reasons.iter().map(|reason| reason.text.as_str()).collect();
        table.add_row([
            Cell::new(gate.service),
            Cell::new(gate.level).fg(colour),
            Cell::new(if gate.allow { "may be deployed" } else { "must wait" }),
            Cell::new(if reasons.is_empty() { "every SLO has budget to spend".to_owned() } else { reasons.join("\n") }),
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
    for (field, count) in source.missing.0.iter().filter(|(_, count)| *count > 0) {
        let _ = writeln!(text, "{} records carry no {field}, which an SLO needs", grouped(*count));
    }
    text
}

/// The bar, the ratio and the time of a budget.
fn budget(remaining: f64, seconds: f64) -> [Cell; 3] {
    let filled = (remaining.clamp(0.0, 1.0) * BAR as f64).floor() as usize;
    let bar = "█".repeat(filled) + &"░".repeat(BAR - filled);
    let colour = match remaining {
        left if left <= 0.0 => Color::Red,
        left if left < 0.25 => Color::Yellow,
        _ => Color::Green,
    };
    [Cell::new(bar).fg(colour), Cell::new(format!("{:.1}%", remaining * 100.0)), Cell::new(time(seconds))]
}

fn rate<K: std::fmt::Display>(burns: &[(K, Option<f64>)], window: &str) -> Option<f64> {
    burns.iter().find(|(name, _)| name.to_string() == window).and_then(|(_, rate)| *rate)
}

fn burn(rate: Option<f64>) -> Cell {
    Cell::new(rate.map_or("-".to_owned(), |rate| format!("{rate:.2}")))
}

fn state(state: &str, note: &str) -> Cell {
    let colour = match state {
        "met" => Color::Green,
        "breached" => Color::Red,
        _ => Color::Yellow,
    };
    Cell::new(format!("{}{note}", state.replace('_', " "))).fg(colour)
}

/// A ratio in percent, cut and not rounded: what is not quite 100% never reads as 100%.
fn percent(ratio: f64) -> String {
    let millionths = (ratio * 1e8 + 1e-4).floor() / 1e6;
    let text = format!("{millionths:.6}");
    let text = text.trim_end_matches('0');
    format!("{}%", text.strip_suffix('.').unwrap_or(text))
}

/// Seconds as the two units that say most: `2d 3h`, `4m 2s`, `-12s`.
fn time(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let sign = if seconds < 0.0 { "-" } else { "" };
    let whole = seconds.abs().floor() as u64;
    if whole == 0 {
        return format!("{sign}{:.1}s", seconds.abs());
    }
    let first = UNITS.iter().position(|(unit, _)| whole >= *unit).unwrap_or(UNITS.len() - 1);
    let mut rest = whole;
    let parts = UNITS[first..].iter().take(2).map(|(unit, name)| {
        let amount = rest / unit;
        rest %= unit;
        format!("{amount}{name}")
    });
    format!("{sign}{}", parts.collect::<Vec<_>>().join(" "))
}

/// `1,234,567`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_cut_and_never_read_as_more_than_they_are() {
        for (ratio, text) in
            [(0.9995, "99.95%"), (1.0, "100%"), (0.999_999_999, "99.999999%"), (0.0, "0%"), (0.9, "90%")]
        {
            assert_eq!(percent(ratio), text);
        }
    }

    #[test]
    fn times_are_told_by_the_two_units_that_say_most() {
        for (seconds, text) in
            [(0.0, "0.0s"), (0.25, "0.2s"), (59.0, "59s"), (242.0, "4m 2s"), (-90_061.0, "-1d 1h"), (3_600.0, "1h 0m")]
        {
            assert_eq!(time(seconds), text);
        }
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }
}
