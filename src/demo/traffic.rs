//! Traffic: what a small shop's visitors, apps, crawlers and intruders ask for, minute by minute.
//!
//! Each minute is made from the seed and its own number alone, so that minutes can be made in any order, in parallel,
//! before or after they happen, and are the same every time.
//!
//! - Days and weeks have a rhythm: nights are quiet, evenings and Sundays are busy. What apps refresh in the background
//!   comes at a steady rate.
//! - Most requests are answered fast and some take long: a duration is doubled as long as a die shows a six, which
//!   gives the tail of a Pareto distribution (its index is log2(6)).
//! - On any day a few requests in ten thousand fail; an [`Incident`] makes it more.
//! - Rates and shares are integers, so that no machine's floating point makes another log.

use std::net::{IpAddr, Ipv6Addr};

use super::dice::Dice;
use super::incident::{Incident, Trouble};
use super::record::Record;
use crate::time::{MILLIS_PER_MINUTE, Minute, Timestamp};

/// A shop's traffic at any time.
#[derive(Clone, Debug)]
pub struct Traffic {
    seed: u64,
    incidents: [Incident; 2],
}

impl Traffic {
    /// The traffic of a seed, with incidents in the weeks before `now`.
    pub fn new(seed: u64, now: Timestamp) -> Self {
        Self { seed, incidents: Incident::before(now, seed) }
    }

    /// What went wrong, in order.
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// The records of a minute, in order.
    pub fn minute(&self, minute: Minute) -> Vec<Record> {
        let mut dice = Dice::for_part(self.seed, minute.number().cast_unsigned());
        let busy = busy(minute) * dice.between(900, 1_100) / 1_000;
        let mut records = Vec::new();
        for flow in &FLOWS {
            let rate = flow.steady + flow.busy * busy / 1_000;
            self.records(flow, rate, minute, &mut dice, &mut records);
        }
        records.sort_by_key(|record| record.at);
        records
    }

    /// The records of one flow in a minute.
    fn records(&self, flow: &Flow, rate: u64, minute: Minute, dice: &mut Dice, records: &mut Vec<Record>) {
        let hit = |incident: &&Incident| flow.service == Some(incident.service);
        let trouble = self.incidents.iter().filter(hit).find_map(|incident| incident.trouble(minute));
        let arriving = trouble.map_or(1_000, |trouble| trouble.arriving);
        let count = dice.round(rate * arriving / 1_000);
        let failing = trouble.map_or(0, |trouble| dice.round(count * trouble.failing));
        for number in 0..count {
            let mut record = flow.record(minute, dice);
            if let Some(trouble) = &trouble {
                suffer(&mut record, trouble, number < failing, dice);
            }
            records.push(record);
        }
    }
}

/// Requests of one kind.
struct Flow {
    /// How many come in a thousand minutes at any time.
    steady: u64,
    /// How many more come in a thousand minutes of average traffic.
    busy: u64,
    asks: Asks,
    /// Who answers, where an incident can hit it.
    service: Option<&'static str>,
    /// How long the usual answer takes.
    usual_ms: u64,
    /// The shortest and the longest body.
    bytes: (u64, u64),
    /// Answers other than 200, each with how many of a million there are.
    answers: &'static [(u64, u16)],
}

/// What a flow asks for.
#[derive(Clone, Copy)]
enum Asks {
    Home,
    /// The home page, by apps that nobody is looking at.
    HomeInBackground,
    Search,
    Category,
    Product,
    Profile,
    Avatar,
    Basket,
    Static,
    Crawler,
    Intruder,
}

/// Together about 25 requests a minute. The home page is asked for more than 12 times in any minute of the night, which
/// is what its throughput is promised to be.
const FLOWS: [Flow; 11] = [
    flow(Asks::HomeInBackground, (11_500, 0), Some("web"), 30, (900, 1_400), &[(120_000, 304), (1_500, 499)]),
    flow(Asks::Home, (0, 4_500), Some("web"), 45, (8_000, 14_000), &[(60_000, 304), (3_000, 499)]),
    flow(Asks::Search, (0, 1_600), None, 160, (2_000, 24_000), &[(2_000, 400), (4_000, 499)]),
    flow(Asks::Category, (0, 1_000), None, 70, (6_000, 30_000), &[(40_000, 304), (8_000, 404)]),
    flow(Asks::Product, (0, 2_000), None, 60, (5_000, 20_000), &[(50_000, 304), (15_000, 404), (2_000, 499)]),
    flow(Asks::Profile, (0, 2_200), Some("api"), 75, (400, 2_600), &[(6_000, 401), (4_000, 404), (3_000, 429)]),
    flow(Asks::Avatar, (0, 1_000), Some("api"), 20, (3_000, 40_000), &[(300_000, 304), (10_000, 404)]),
    flow(Asks::Basket, (0, 500), None, 50, (80, 900), &[(40_000, 302), (9_000, 422)]),
    flow(Asks::Static, (0, 700), None, 2, (500, 180_000), &[(450_000, 304)]),
    flow(Asks::Crawler, (150, 0), None, 60, (600, 20_000), &[(30_000, 301), (20_000, 404)]),
    flow(Asks::Intruder, (60, 40), None, 1, (150, 160), &[(1_000_000, 404)]),
];

/// Of a million requests on an ordinary day, how many fail, and with what.
const FAILING: [(u64, u16); 3] = [(40, 500), (40, 502), (15, 504)];

/// When nginx gives a backend up.
const TIMEOUT_MS: u64 = 60_000;

const fn flow(
    asks: Asks,
    (steady, busy): (u64, u64),
    service: Option<&'static str>,
    usual_ms: u64,
    bytes: (u64, u64),
    answers: &'static [(u64, u16)],
) -> Flow {
    Flow { steady, busy, asks, service, usual_ms, bytes, answers }
}

impl Flow {
    /// One request of a minute, on an ordinary day.
    fn record(&self, minute: Minute, dice: &mut Dice) -> Record {
        let at = minute.start().plus_millis(dice.below(MILLIS_PER_MINUTE as u64) as i64);
        let (agent, referer) = client(self.asks, dice);
        let request = request(self.asks, dice);
        // What is no request to nginx gets no further.
        let status = match request.contains("\\x") {
            true => 400,
            false => one_of(self.answers, dice).or_else(|| one_of(&FAILING, dice)).unwrap_or(200),
        };
        let duration_ms = duration_ms(self.usual_ms, dice);
        let bytes = dice.between(self.bytes.0, self.bytes.1);
        let mut record = Record { at, client: address(dice), request, status, bytes, referer, agent, duration_ms };
        answer(&mut record, status, dice);
        record
    }
}

/// What an incident makes of a request.
fn suffer(record: &mut Record, trouble: &Trouble, fails: bool, dice: &mut Dice) {
    record.duration_ms *= trouble.slower;
    if fails {
        answer(record, dice.pick(trouble.statuses), dice);
    }
}

/// Answers a request with this status, and with what goes with it.
fn answer(record: &mut Record, status: u16, dice: &mut Dice) {
    record.status = status;
    match status {
        304 | 499 => record.bytes = 0,
        301 | 302 | 400..=599 => record.bytes = dice.between(150, 180),
        _ => {}
    }
    match status {
        400 | 502 | 503 => record.duration_ms = dice.between(0, 4),
        504 => record.duration_ms = TIMEOUT_MS + dice.between(0, 12),
        _ => {}
    }
}

fn one_of(shares: &[(u64, u16)], dice: &mut Dice) -> Option<u16> {
    let thrown = dice.below(1_000_000);
    let mut sum = 0;
    shares.iter().find_map(|(share, status)| {
        sum += share;
        (thrown < sum).then_some(*status)
    })
}

/// Somewhere around the usual, and sometimes far beyond it.
fn duration_ms(usual_ms: u64, dice: &mut Dice) -> u64 {
    let mut duration_ms = usual_ms / 2 + dice.below(usual_ms + 1);
    while duration_ms < TIMEOUT_MS / 2 && dice.below(6) == 0 {
        duration_ms *= 2;
    }
    duration_ms
}

/// Addresses that belong to nobody: those for benchmarks and for documentation.
fn address(dice: &mut Dice) -> IpAddr {
    match dice.below(5) {
        0 => {
            let (network, host) = (dice.below(1 << 16) as u16, dice.below(1 << 16) as u16);
            Ipv6Addr::new(0x2001, 0xdb8, network, dice.below(16) as u16, 0, 0, 0, host).into()
        }
        _ => [198, 18 + dice.below(2) as u8, dice.below(256) as u8, dice.between(1, 254) as u8].into(),
    }
}

/// How busy a minute is, in thousandths of the average.
fn busy(minute: Minute) -> u64 {
    let (hour, past) = (minute.hour(), (minute.number() - minute.hour() * 60).cast_unsigned());
    let at = |hour: i64| {
        let (day, hour) = (hour.div_euclid(24), hour.rem_euclid(24));
        // The epoch was a Thursday.
        HOURS[hour as usize] * WEEKDAYS[(day + 3).rem_euclid(7) as usize] / 1_000
    };
    (at(hour) * (60 - past) + at(hour + 1) * past) / 60
}

/// A day from midnight UTC, in thousandths of its average.
const HOURS: [u64; 24] = [
    430, 360, 320, 310, 330, 420, 600, 820, 1_020, 1_180, 1_280, 1_340, 1_400, 1_360, 1_300, 1_290, 1_330, 1_400,
    1_480, 1_560, 1_520, 1_280, 920, 620,
];
/// A week from Monday.
const WEEKDAYS: [u64; 7] = [1_040, 1_000, 990, 980, 930, 960, 1_100];

const BROWSERS: [&str; 5] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "shop-app/4.2 (Android 16)",
    "shop-app/4.2 (iOS 18.1)",
];
const CRAWLERS: [&str; 3] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
];
const REFERERS: [&str; 4] =
    ["-", "https://shop.example/", "https://shop.example/category/kitchen", "https://www.google.com/"];
const CATEGORIES: [&str; 8] = ["kitchen", "garden", "office", "kids", "bath", "lighting", "bedroom", "sale"];
const WORDS: [&str; 8] = ["lamp", "desk", "oak+table", "chair", "caf%C3%A9+chair", "shelf", "sofa+bed", "rug"];
const FILES: [&str; 5] =
    ["/static/app.6f1c.js", "/static/app.09ab.css", "/static/logo.svg", "/favicon.ico", "/static/font.woff2"];
/// Paths of other people's software; the first bytes of TLS on the plain port; one who would write the log himself.
const INTRUSIONS: [&str; 6] = [
    "GET /wp-login.php HTTP/1.1",
    "GET /.env HTTP/1.1",
    "POST /cgi-bin/.%2e/.%2e/bin/sh HTTP/1.1",
    "GET /phpmyadmin/index.php HTTP/1.1",
    "\\x16\\x03\\x01\\x00\\xEE\\x01\\x00\\x00\\xEA\\x03\\x03",
    "GET /profile/x\\x22 200 5 \\x22-\\x22/ HTTP/1.1",
];

/// What the client calls itself, and where it comes from.
fn client(asks: Asks, dice: &mut Dice) -> (&'static str, &'static str) {
    match asks {
        Asks::HomeInBackground => (dice.pick(&["shop-app/4.2 (Android 16)", "shop-app/4.2 (iOS 18.1)"]), "-"),
        Asks::Crawler => (dice.pick(&CRAWLERS), "-"),
        Asks::Intruder => (dice.pick(&["-", "python-requests/2.32.3", "Go-http-client/1.1"]), "-"),
        _ => (dice.pick(&BROWSERS), dice.pick(&REFERERS)),
    }
}

/// A request line.
fn request(asks: Asks, dice: &mut Dice) -> String {
    let mut method = "GET";
    let target = match asks {
        Asks::HomeInBackground => "/".to_owned(),
        Asks::Home => match dice.below(20) {
            0 => "/?utm_source=newsletter".to_owned(),
            _ => "/".to_owned(),
        },
        Asks::Search => format!("/search?q={}&page={}", dice.pick(&WORDS), dice.between(1, 4)),
        Asks::Category => format!("/category/{}", dice.pick(&CATEGORIES)),
        // Some products are looked at more than others.
        Asks::Product => format!("/product/{}", 10_000 + dice.below(20_000).min(dice.below(20_000))),
        Asks::Profile => format!("/profile/{}", user(dice)),
        Asks::Avatar => format!("/profile/{}/avatar", user(dice)),
        Asks::Basket => {
            method = dice.pick(&["GET", "POST", "DELETE"]);
            format!("/basket/items/{}", dice.between(1, 9))
        }
        Asks::Static => dice.pick(&FILES).to_owned(),
        Asks::Crawler => match dice.below(4) {
            0 => "/robots.txt".to_owned(),
            1 => "/sitemap.xml".to_owned(),
            2 => format!("/category/{}", dice.pick(&CATEGORIES)),
            _ => format!("/product/{}", 10_000 + dice.below(20_000)),
        },
        Asks::Intruder => return dice.pick(&INTRUSIONS).to_owned(),
    };
    let version = dice.pick(&["2.0", "2.0", "1.1"]);
    format!("{method} {target} HTTP/{version}")
}

fn user(dice: &mut Dice) -> u64 {
    100_000 + dice.below(40_000).min(dice.below(40_000))
}

#[cfg(test)]
mod tests;
