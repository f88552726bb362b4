//! One spelling for every way to write which requests are meant.

use std::collections::BTreeSet;

use super::catalog::{HostRule, Methods, Pattern, Requests, Segment};

impl Requests {
    /// A text that two sets of rules share exactly when they mean the same: the order of patterns, methods and hosts
    /// and the names of placeholders do not matter.
    pub fn canonical(&self) -> String {
        let mut text = sorted(self.patterns.iter().map(pattern));
        if !self.hosts.is_empty() {
            let host = |rule: &HostRule| match rule {
                HostRule::Exact(name) => name.clone(),
                HostRule::Suffix(suffix) => format!("*{suffix}"),
            };
            text.extend([" on ", &sorted(self.hosts.iter().map(host))]);
        }
        text
    }
}

fn pattern(pattern: &Pattern) -> String {
    let mut text = match &pattern.methods {
        Methods::Any => "* ".to_owned(),
        Methods::Named(methods) => {
            let methods: BTreeSet<&str> = methods.iter().map(String::as_str).collect();
            format!("{} ", methods.into_iter().collect::<Vec<_>>().join(","))
        }
    };
    for segment in &pattern.segments {
        match segment {
            Segment::Literal(bytes) => text.extend(["/", &String::from_utf8_lossy(bytes)]),
            Segment::Any => text.push_str("/{}"),
            Segment::Rest => text.push_str("/{*}"),
        }
    }
    text
}

fn sorted(texts: impl Iterator<Item = String>) -> String {
    let texts: BTreeSet<String> = texts.collect();
    texts.into_iter().collect::<Vec<_>>().join(", ")
}
