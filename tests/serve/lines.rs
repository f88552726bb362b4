//! Lines of a log, each with what must be counted for it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use chrono::DateTime;
use serde_json::Value;
use slogate::time::{Clock, SystemClock};

/// What must have been counted: good and bad by `story/slo`, and the source's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub slos: BTreeMap<String, (u64, u64)>,
    pub records: u64,
    pub matched: u64,
    pub unmatched: u64,
    pub rejected: BTreeMap<String, u64>,
}

impl Expected {
    /// Of nothing.
    pub fn new() -> Self {
        let slos = ["shop/availability", "shop/latency", "search/availability"];
        Self { slos: slos.map(|slo| (slo.to_owned(), (0, 0))).into(), ..Self::default() }
    }

    /// What a server says in its status.
    pub fn counted(status: &Value) -> Self {
        let mut counted = Self::default();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
        for slo in list(&status["stories"]).iter().flat_map(|story| list(&story["slos"])) {
            let tally = (number(&slo["good"]), number(&slo["bad"]));
            counted.slos.insert(format!("{}/{}", name(&slo["story"]), name(&slo["slo"])), tally);
        }
        let source = &status["sources"][0];
        counted.records = number(&source["records"]);
        counted.matched = number(&source["matched"]);
        counted.unmatched = number(&source["unmatched"]);
        let rejected = source["rejected"].as_object().cloned().unwrap_or_default();
        counted.rejected = rejected.iter().map(|(reason, count)| (reason.clone(), number(count))).collect();
        counted
    }

    /// One more request that was logged.
    pub fn request(&mut self, route: Route, status: u16, is_slow: bool) {
        self.records += 1;
        let is_good = status < 500;
        match route {
            Route::Shop => {
                self.slo("shop/availability", is_good);
                self.slo("shop/latency", !is_slow);
            }
            Route::Search => self.slo("search/availability", is_good),
            Route::Elsewhere => {}
        }
        match route {
            Route::Elsewhere => self.unmatched += 1,
            Route::Shop | Route::Search => self.matched += 1,
        }
    }

    /// Of both.
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.records += other.records;
        sum.matched += other.matched;
        sum.unmatched += other.unmatched;
        for (slo, (more_good, more_bad)) in &other.slos {
            let (good, bad) = sum.slos.entry(slo.clone()).or_default();
            (*good, *bad) = (*good + more_good, *bad + more_bad);
        }
        for (reason, more) in &other.rejected {
            *sum.rejected.entry(reason.clone()).or_default() += more;
        }
        sum
    }

    /// The same by other names of SLOs.
    pub fn renamed(&self, names: &[(&str, &str)]) -> Self {
        let new =
            |slo: &String| names.iter().find(|(from, _)| from == slo).map_or(slo.as_str(), |(_, to)| to).to_owned();
        Self { slos: self.slos.iter().map(|(slo, tally)| (new(slo), *tally)).collect(), ..self.clone() }
    }

    fn slo(&mut self, slo: &str, is_good: bool) {
        let (good, bad) = self.slos.entry(slo.to_owned()).or_default();
        *if is_good { good } else { bad } += 1;
    }

    fn unparsed(&mut self) {
        self.records += 1;
        *self.rejected.entry("unparsed".to_owned()).or_default() += 1;
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Shop,
    Search,
    /// Nothing that an SLO is about.
    Elsewhere,
}

/// Writes a log of lines that all differ, of the same kinds in every run, and knows what they must count for.
pub struct Log {
    file: File,
    number: u64,
    /// Of everything written so far.
    pub expected: Expected,
}

impl Log {
    /// Appends to the file.
    pub fn open(path: &Path) -> Self {
        Self::behind(path, 0)
    }

    /// Appends lines that differ from the first `number` lines of other logs: the same lines would be a copy of them.
    pub fn behind(path: &Path, number: u64) -> Self {
        Self { file: append_to(path), number, expected: Expected::new() }
    }

    /// From now on appends to this file.
    pub fn reopen(&mut self, path: &Path) {
        self.file = append_to(path);
    }

    /// Appends some lines.
    pub fn write(&mut self, lines: u64) {
        let text: String = (0..lines).map(|_| self.line()).collect();
        self.file.write_all(text.as_bytes()).expect("the log is written");
    }

    /// Appends a line in two parts, and does something in between.
    pub fn write_torn(&mut self, between: impl FnOnce()) {
        let line = self.line();
        let (first, second) = line.split_at(line.len() / 2);
        self.file.write_all(first.as_bytes()).expect("the log is written");
        between();
        self.file.write_all(second.as_bytes()).expect("the log is written");
    }

    /// The next line: one in ten of the shop's fails, so that it has spent its budget.
    fn line(&mut self) -> String {
        self.number += 1;
        let number = self.number;
        if number.is_multiple_of(23) {
            self.expected.unparsed();
            return format!("not a line that nginx writes, number {number}\n");
        }
        let (route, target) = match number % 5 {
            0..=2 => (Route::Shop, format!("/shop/item-{number}")),
            3 => (Route::Search, format!("/search?q={number}")),
            _ => (Route::Elsewhere, format!("/static/{number}.js")),
        };
        let status = if (number / 5).is_multiple_of(10) { 503 } else { 200 };
        let is_slow = number.is_multiple_of(7);
        self.expected.request(route, status, is_slow);
        let taken = if is_slow { "2.500" } else { "0.012" };
        let time = DateTime::from_timestamp_millis(SystemClock.now().millis()).expect("a time");
        let time = time.format("%d/%b/%Y:%H:%M:%S +0000");
        format!("192.0.2.7 - - [{time}] \"GET {target} HTTP/1.1\" {status} 5 \"-\" \"test\" {taken}\n")
    }
}

fn append_to(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).expect("the log is opened")
}
