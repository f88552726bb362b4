//! Cells: how tables for people show numbers and gates, the same in every subcommand.

use std::fmt::Write;
use std::io::IsTerminal;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

/// The burn windows that are shown: the hour that pages, the quarter of a day, and the three days that file tickets.
pub(super) const BURNS: [&str; 3] = ["1h", "6h", "3d"];
/// How many cells a budget bar has.
const BAR: usize = 10;

/// A title with its table below.
pub(super) fn section(text: &mut String, title: &str, table: &Table) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n{title}\n{}", indented(&table.trim_fmt()));
}

/// Every line set in, as below a title.
pub(super) fn indented(block: &str) -> String {
    block.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// An empty table; the columns of these positions hold numbers.
pub(super) fn table<const N: usize>(header: [&str; N], right: &[usize]) -> Table {
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

/// The bar, the ratio and the time of a budget.
pub(super) fn budget(remaining: f64, seconds: f64) -> [Cell; 3] {
    let filled = (remaining.clamp(0.0, 1.0) * BAR as f64).floor() as usize;
    let bar = "█".repeat(filled) + &"░".repeat(BAR - filled);
    let colour = match remaining {
        left if left <= 0.0 => Color::Red,
        left if left < 0.25 => Color::Yellow,
        _ => Color::Green,
    };
    [Cell::new(bar).fg(colour), Cell::new(format!("{:.1}%", remaining * 100.0)), Cell::new(time(seconds))]
}

/// A burn rate; a dash where nothing happened.
pub(super) fn burn(rate: Option<f64>) -> Cell {
    Cell::new(rate.map_or("-".to_owned(), |rate| format!("{rate:.2}")))
}

/// What became of a promise, with what weakens that.
pub(super) fn state(state: &str, note: &str) -> Cell {
    let colour = match state {
        "met" => Color::Green,
        "breached" => Color::Red,
        _ => Color::Yellow,
    };
    Cell::new(format!("{}{note}", state.replace('_', " "))).fg(colour)
}

/// A table of gates that were asked about a feature.
pub(super) fn gates() -> Table {
    table(["service", "level", "a feature", "because"], &[])
}

/// A row of it.
pub(super) fn gate(service: &str, level: &str, allow: bool, reasons: &[String]) -> [Cell; 4] {
    let colour = match level {
        "open" => Color::Green,
        "frozen" => Color::Red,
        _ => Color::Yellow,
    };
    let verdict = if allow { "may be deployed" } else { "must wait" };
    let because = if reasons.is_empty() { "every SLO has budget to spend".to_owned() } else { reasons.join("\n") };
    [Cell::new(service), Cell::new(level).fg(colour), Cell::new(verdict), Cell::new(because)]
}

/// A ratio in percent, cut and not rounded: what is not quite 100% never reads as 100%.
pub(super) fn percent(ratio: f64) -> String {
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

/// The length of a request, three digits of it: `0.512ms`, `20.4ms`, `1.23s`.
pub(super) fn duration(seconds: f64) -> String {
    let (amount, unit) = if seconds < 1.0 { (seconds * 1e3, "ms") } else { (seconds, "s") };
    let decimals = match amount {
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{amount:.decimals$}{unit}")
}

/// `1,234,567`.
pub(super) fn grouped(count: u64) -> String {
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
    fn the_length_of_a_request_is_told_in_three_digits() {
        for (seconds, text) in
            [(0.0, "0.000ms"), (0.000_512, "0.512ms"), (0.020_351, "20.4ms"), (0.5, "500ms"), (1.234, "1.23s")]
        {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }
}
