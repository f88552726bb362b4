//! f01: SIGKILL at random moments, while the log is written, renamed and truncated and gates are frozen and unfrozen.
//!
//! Three act at once: a writer that appends known lines and rotates in every way that loses nothing by itself, an
//! operator who gives one order after the other, and whoever kills the server and starts it again. The seed decides
//! what each of them does; the machine decides how they meet. `SLOGATE_CRASHES` sets how often the server is killed,
//! and `SLOGATE_SEED` the seed.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use slogate::time::{Clock, SystemClock};

use super::lines::{Expected, Log};
use super::server::{Place, request};

/// How often the server is killed, unless told otherwise.
const CRASHES: u64 = 25;
/// How long a server lives at most, in milliseconds: starting takes a part of it, and commits are a second apart.
const LONGEST_LIFE_MS: u64 = 800;
/// What is written before the first crash, so that the API has spent its budget, and an unfreeze has something to do.
const HISTORY: u64 = 2_000;

#[test]
fn f01_no_moment_to_be_killed_at_loses_or_doubles_anything() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let crashes = number("SLOGATE_CRASHES").unwrap_or(CRASHES);
    let seed = number("SLOGATE_SEED").unwrap_or_else(|| SystemClock.now().millis().unsigned_abs());
    println!("SLOGATE_SEED={seed}");
    let place = Place::new();
    let mut writer = Writer { place: &place, log: Log::open(&place.log()), dice: Dice(seed) };
    writer.log.write(HISTORY);
    let server = place.start();
    place.wait_for(&writer.log.expected);
    assert!(server.stop().success());

    let is_over = AtomicBool::new(false);
    let mut operator = Operator { place: &place, given: Vec::new(), dice: Dice(seed ^ 1) };
    let mut dice = Dice(seed ^ 2);
    thread::scope(|scope| {
        let ending = Ending(&is_over);
        let writing = scope.spawn(|| writer.write_until(&is_over));
        let ordering = scope.spawn(|| operator.order_until(&is_over));
        for crash in 0..crashes {
            let server = place.spawn();
            thread::sleep(Duration::from_micros(dice.below(LONGEST_LIFE_MS * 1_000)));
            let ended: Option<ExitStatus> = server.kill();
            assert_eq!(ended, None, "the server ended by itself before crash {crash}:\n{}", place.words());
        }
        drop(ending);
        writing.join().expect("the log was written");
        ordering.join().expect("what the operator was told is true");
    });

    let server = place.start();
    place.wait_for(&writer.log.expected);
    operator.check_audit();
    operator.check_gate();
    check_latency(&place, &writer.log.expected);
    let gaps: Vec<String> = place.words().lines().filter(|line| line.contains("gap: ")).map(str::to_owned).collect();
    assert!(gaps.is_empty(), "nothing was lost, and yet: {gaps:#?}");
    assert!(server.stop().success());
    let answered = operator.given.iter().filter(|order| order.audit.is_some()).count();
    let (orders, records) = (operator.given.len(), writer.log.expected.records);
    println!("{crashes} crashes, {records} records, {orders} orders of which {answered} were answered");
    assert!(answered as u64 > crashes / 5, "the orders had no chance");
}

/// Asserts that every request that was counted is in the percentiles too, once.
fn check_latency(place: &Place, expected: &Expected) {
    for (slo, (good, bad)) in &expected.slos {
        let latency = place.get(&format!("/api/v1/slos/{slo}/latency"));
        assert_eq!(latency["requests"], good + bad, "{slo}: {latency}");
    }
}

/// Tells the others that it is over, also when the test fails.
pub struct Ending<'a>(pub &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Appends and rotates.
struct Writer<'a> {
    place: &'a Place,
    log: Log,
    dice: Dice,
}

impl Writer<'_> {
    fn write_until(&mut self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            match self.dice.below(40) {
                0 => self.rename(),
                1 => self.copy_and_truncate(),
                2..5 => {
                    let pause = self.pause();
                    self.log.write_torn(|| thread::sleep(pause));
                }
                _ => {
                    let lines = self.dice.below(60);
                    self.log.write(lines);
                }
            }
            thread::sleep(self.pause());
        }
    }

    fn pause(&mut self) -> Duration {
        Duration::from_micros(self.dice.below(20_000))
    }

    /// As logrotate does by default: the log is renamed, written to for a while, and then there is a new one.
    fn rename(&mut self) {
        self.shift();
        fs::rename(self.place.log(), self.rotated(1)).expect("renamed");
        for _ in 0..self.dice.below(4) {
            let lines = self.dice.below(20);
            self.log.write(lines);
            thread::sleep(self.pause());
        }
        self.log.reopen(&self.place.log());
    }

    /// As logrotate does with `copytruncate`, but for the lines that are written in between, which that loses.
    fn copy_and_truncate(&mut self) {
        self.shift();
        fs::copy(self.place.log(), self.rotated(1)).expect("copied");
        thread::sleep(self.pause());
        fs::File::options().write(true).open(self.place.log()).and_then(|log| log.set_len(0)).expect("truncated");
    }

    /// Renames every rotated log to the next number, as logrotate does.
    fn shift(&self) {
        let oldest = (1..).find(|number| !self.rotated(*number).exists()).unwrap_or(1);
        for number in (1..oldest).rev() {
            fs::rename(self.rotated(number), self.rotated(number + 1)).expect("renamed");
        }
    }

    fn rotated(&self, number: u32) -> PathBuf {
        self.place.path(&format!("logs/access.log.{number}"))
    }
}

/// Gives one order after the other and remembers what was answered.
struct Operator<'a> {
    place: &'a Place,
    given: Vec<Order>,
    dice: Dice,
}

struct Order {
    is_freeze: bool,
    /// The number of its audit entry, if there was an answer.
    audit: Option<u64>,
}

impl Order {
    fn action(&self) -> &'static str {
        if self.is_freeze { "freeze" } else { "unfreeze" }
    }
}

impl Operator<'_> {
    fn order_until(&mut self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            // Whoever asks after an order was answered is told so, by this server or by the next.
            if let Ok((200, gate)) = request(self.place.address, "GET", "/api/v1/gates/api", None) {
                self.check_shown(&gate);
                self.order();
            }
            // Every order makes a commit; now and then there is none for so long that the owner makes its own.
            let longest_us = if self.dice.below(20) == 0 { 1_500_000 } else { 10_000 };
            thread::sleep(Duration::from_micros(self.dice.below(longest_us)));
        }
    }

    fn order(&mut self) {
        let mut order = Order { is_freeze: self.dice.below(2) == 0, audit: None };
        let reason = json!({ "reason": format!("order {}", self.given.len()) });
        let path = format!("/api/v1/gates/api/{}", order.action());
        if let Ok((200, gate)) = request(self.place.address, "POST", &path, Some(&reason)) {
            order.audit = gate["audit"].as_u64();
            assert!(order.audit.is_some(), "{gate}");
        }
        self.given.push(order);
    }

    /// Asserts that a gate shows the last order that was answered, or a later one that was not.
    fn check_shown(&self, gate: &Value) {
        let last = self.given.iter().rposition(|order| order.audit.is_some());
        let shown = gate["reasons"].as_array().expect("reasons").iter().find_map(number_of_order);
        let is_right = match (last, shown) {
            (None, None) => true,
            (Some(_), None) => false,
            (last, Some((number, is_freeze))) => {
                last.is_none_or(|last| number >= last)
                    && self.given.get(number).is_some_and(|order| order.is_freeze == is_freeze)
            }
        };
        let allow = shown.is_some_and(|(_, is_freeze)| !is_freeze);
        assert!(is_right && gate["allow"] == allow, "after order {last:?} the gate is {gate}");
    }

    /// Asserts that every order that was answered is in the audit, once, under the number that was answered.
    fn check_audit(&self) {
        let audit = self.place.audit();
        assert!(audit.iter().zip(1_u64..).all(|(entry, number)| entry["sequence"] == number), "{audit:#?}");
        let of_people = audit.iter().filter(|entry| entry["action"] != "level");
        let mut next = 0;
        for entry in of_people {
            let number = entry["reason"].as_str().and_then(|reason| reason.strip_prefix("order ")?.parse().ok());
            let number: usize = number.unwrap_or_else(|| panic!("nobody gave this order: {entry}"));
            let missing = self.given[next..number].iter().find(|order| order.audit.is_some());
            assert!(missing.is_none(), "before {entry} there is an order missing that was answered");
            let order = &self.given[number];
            assert_eq!(entry["action"], order.action(), "{entry}");
            assert!(order.audit.is_none_or(|audit| entry["sequence"] == audit), "{entry} is not {:?}", order.audit);
            next = number + 1;
        }
        assert!(self.given[next..].iter().all(|order| order.audit.is_none()), "the last orders are missing");
    }

    /// Asserts that the gate holds what the audit says was ordered last.
    fn check_gate(&self) {
        let gate = self.place.get("/api/v1/gates/api");
        self.check_shown(&gate);
        let audit = self.place.audit();
        let last = audit.iter().rfind(|entry| entry["action"] != "level").expect("there were orders");
        let reason = last["reason"].as_str().expect("a reason");
        let reasons = gate["reasons"].as_array().expect("reasons");
        let is_shown = reasons.iter().any(|shown| shown["text"].as_str().is_some_and(|text| text.ends_with(reason)));
        assert!(is_shown, "{last} and yet {gate}");
    }
}

/// The number of the order that a reason is about, and whether it is a freeze.
fn number_of_order(reason: &Value) -> Option<(usize, bool)> {
    let text = reason["text"].as_str()?;
    let (_, number) = text.rsplit_once("order ")?;
    match reason["kind"].as_str()? {
        "manual_freeze" => Some((number.parse().ok()?, true)),
        "unfrozen" => Some((number.parse().ok()?, false)),
        _ => None,
    }
}

/// The same numbers for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    /// A number below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}
