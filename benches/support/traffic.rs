//! The traffic that the benches measure with: the same bytes every time.

use std::io::{self, Write};

use slogate::demo::{Dice, Printer, Record};
use slogate::time::Timestamp;

pub use slogate::demo::FORMAT;

/// Over how many routes the requests spread.
pub const ROUTES: usize = 60;

const WORDS: [&str; 20] = [
    "users", "orders", "items", "carts", "payments", "invoices", "reviews", "images", "search", "events", "sessions",
    "teams", "projects", "builds", "alerts", "reports", "themes", "coupons", "stores", "devices",
];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "okhttp/4.12.0",
];
const REFERERS: [&str; 3] = ["-", "https://shop.example/category/shoes", "https://www.example.com/search?q=boots"];

/// The pattern of a route: two to five segments, identifiers in most.
pub fn pattern(route: usize) -> String {
    let (word, version) = (WORDS[route % WORDS.len()], route / WORDS.len() + 1);
    match route % 4 {
        0 => format!("/api/v{version}/{word}/{{id}}"),
        1 => format!("/api/v{version}/{word}/{{id}}/details"),
        2 => format!("/{word}-{version}/{{id}}/parts/{{part}}"),
        _ => format!("/api/v{version}/{word}"),
    }
}

/// Writes about `bytes` bytes of log, spread evenly over `minutes`.
pub fn write_log(out: &mut impl Write, bytes: u64, minutes: u64) -> io::Result<()> {
    const LINE: u64 = 235;
    let mut dice = Dice::new(28);
    let start = Timestamp::from_seconds(1_792_750_320);
    let span_ms = (minutes - 1) * 60_000;
    let lines = bytes / LINE;
    let patterns: Vec<String> = (0..ROUTES).map(pattern).collect();
    let (mut printer, mut line) = (Printer::default(), Vec::new());
    for number in 0..lines {
        line.clear();
        let at = start.plus_millis((number * span_ms / lines) as i64);
        printer.print(&record(at, &patterns, &mut dice), &mut line);
        out.write_all(&line)?;
    }
    out.flush()
}

fn record(at: Timestamp, patterns: &[String], dice: &mut Dice) -> Record {
    let skewed = dice.below(ROUTES as u64).min(dice.below(ROUTES as u64));
    let path = patterns[skewed as usize]
        .replace("{id}", &dice.below(10_000_000).to_string())
        .replace("{part}", &dice.below(1_000).to_string());
    let query = if dice.below(8) == 0 { "?page=2&sort=price" } else { "" };
    let status = match dice.below(1_000) {
        0..2 => 502,
        2..30 => 404,
        30..80 => 304,
        _ => 200,
    };
    let duration_ms = dice.below(200) + if dice.below(100) == 0 { dice.below(2_000) } else { 0 };
    let client = [10, dice.below(256) as u8, dice.below(256) as u8, 7].into();
    let agent = AGENTS[dice.below(4).min(dice.below(4)) as usize];
    let referer = dice.pick(&REFERERS);
    let bytes = dice.below(100_000);
    Record { at, client, request: format!("GET {path}{query} HTTP/1.1"), status, bytes, referer, agent, duration_ms }
}
