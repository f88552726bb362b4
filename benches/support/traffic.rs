//! The traffic that the benches measure with: the same bytes every time.

use std::fmt::Write as _;
use std::io::{self, Write};

use chrono::{DateTime, TimeDelta, Utc};

/// nginx's `combined` with the time taken.
pub const FORMAT: &str = concat!(
    r#"$remote_addr - $remote_user [$time_local] "$request" "#,
    r#"$status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time"#
);

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

/// A small generator of pseudo-random numbers (Steele, Lea and Flood, "SplitMix", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(mixed ^ mixed >> 31) * u128::from(bound)) >> 64) as u64
    }
}

/// Writes about `bytes` bytes of log, spread evenly over `minutes`.
pub fn write_log(out: &mut impl Write, bytes: u64, minutes: u64) -> io::Result<()> {
    const LINE: u64 = 235;
    let mut random = Random(28);
    let start: DateTime<Utc> = DateTime::from_timestamp(1_792_750_320, 0).expect("a time of the year 2026");
    let span_ms = (minutes - 1) * 60_000;
    let lines = bytes / LINE;
    let mut line = String::new();
    let patterns: Vec<String> = (0..ROUTES).map(pattern).collect();
    for number in 0..lines {
        line.clear();
        let at = start + TimeDelta::milliseconds((number * span_ms / lines) as i64);
        let skewed = random.below(ROUTES as u64).min(random.below(ROUTES as u64));
        let path = patterns[skewed as usize]
            .replace("{id}", &random.below(10_000_000).to_string())
            .replace("{part}", &random.below(1_000).to_string());
        let query = if random.below(8) == 0 { "?page=2&sort=price" } else { "" };
        let status = match random.below(1_000) {
            0..2 => 502,
            2..30 => 404,
            30..80 => 304,
            _ => 200,
        };
        let time_ms = random.below(200) + if random.below(100) == 0 { random.below(2_000) } else { 0 };
        let (a, b) = (random.below(256), random.below(256));
        let agent = AGENTS[random.below(4).min(random.below(4)) as usize];
        let referer = REFERERS[random.below(3) as usize];
        writeln!(
            line,
            "10.{a}.{b}.7 - - [{}] \"GET {path}{query} HTTP/1.1\" {status} {} \"{referer}\" \"{agent}\" {}.{:03}",
            at.format("%d/%b/%Y:%H:%M:%S +0000"),
            random.below(100_000),
            time_ms / 1_000,
            time_ms % 1_000,
        )
        .expect("to memory");
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}
