//! Stories, SLOs and journeys as typed.

use super::alert::{self, Alert};
use crate::spec::fault::{At, Faults, Place};
use crate::spec::number::Number;
use crate::spec::table::{Field, Refused, Shape, Table, Texts};

/// `[story]` with its `[[slo]]`s.
pub(in crate::spec) struct Story {
    /// The head of `[story]`.
    pub place: Place,
    pub name: Field<String>,
    pub title: Field<String>,
    pub service: Field<String>,
    pub owner: Field<String>,
    pub renamed_from: Field<String>,
    /// Each `[[slo]]`, in order.
    pub slos: Field<Vec<Slo>>,
}

/// `[[slo]]`.
pub(in crate::spec) struct Slo {
    /// Its head.
    pub place: Place,
    pub name: Field<String>,
    pub objective: Field<Number>,
    pub window: Field<String>,
    pub renamed_from: Field<String>,
    /// Its own alert rules.
    pub alerts: Field<Vec<Alert>>,
    /// Each kind's table; a sound SLO has one.
    pub kinds: Vec<At<Sli>>,
    /// Whether a kind that does not exist was reported.
    pub has_strange_tables: bool,
}

/// `[slo.KIND]`.
pub(in crate::spec) enum Sli {
    Availability { requests: Requests, good: Field<Texts>, ignore: Field<Texts> },
    Latency { requests: Requests, threshold: Field<String>, count: Field<Texts> },
    Percentile { requests: Requests, percentile: Field<Number>, threshold: Field<String>, slice: Field<String> },
    Throughput { requests: Requests, minimum: Field<Number>, slice: Field<String> },
    Ratio { source: Field<String>, total: Field<String>, good: Field<String>, bad: Field<String> },
    Histogram { source: Field<String>, metric: Field<String>, threshold: Field<String> },
    Gauge { source: Field<String>, metric: Field<String>, good_when: Field<String>, slice: Field<String> },
}

/// The keys that every kind on an access log has.
pub(in crate::spec) struct Requests {
    pub source: Field<String>,
    pub requests: Field<Texts>,
    pub hosts: Field<Texts>,
}

/// `[journey]`.
pub(in crate::spec) struct Journey {
    pub name: Field<String>,
    pub title: Field<String>,
    pub objective: Field<Number>,
    pub window: Field<String>,
    pub aggregate: Field<String>,
    pub members: Field<Vec<Member>>,
}

/// One of `stories` in a journey.
pub(in crate::spec) struct Member {
    /// Its opening brace.
    pub place: Place,
    pub story: Field<String>,
    pub slo: Field<String>,
    pub weight: Field<Number>,
}

const STORY: Shape = Shape {
    name: "[story]",
    keys: &["name", "title", "service", "owner", "renamed_from"],
    refused: &[
        Refused::new("objective", "an objective belongs to an [[slo]]"),
        Refused::new("slos", "write [[slo]] once for each SLO"),
    ],
};
const SLO: Shape = Shape {
    name: "[[slo]]",
    keys: &[
        "name",
        "objective",
        "window",
        "renamed_from",
        "alert",
        "availability",
        "latency",
        "percentile",
        "throughput",
        "ratio",
        "histogram",
        "gauge",
    ],
    refused: &[],
};
const AVAILABILITY: Shape = Shape {
    name: "[slo.availability]",
    keys: &["source", "requests", "hosts", "good", "ignore"],
    refused: &[Refused::new("bad", "what is not `good` is bad; `ignore` lists what counts neither way")],
};
const LATENCY: Shape =
    Shape { name: "[slo.latency]", keys: &["source", "requests", "hosts", "threshold", "count"], refused: &[] };
const PERCENTILE: Shape = Shape {
    name: "[slo.percentile]",
    keys: &["source", "requests", "hosts", "percentile", "threshold", "slice"],
    refused: &[],
};
const THROUGHPUT: Shape =
    Shape { name: "[slo.throughput]", keys: &["source", "requests", "hosts", "minimum", "slice"], refused: &[] };
const RATIO: Shape = Shape { name: "[slo.ratio]", keys: &["source", "total", "good", "bad"], refused: &[] };
const HISTOGRAM: Shape = Shape { name: "[slo.histogram]", keys: &["source", "metric", "threshold"], refused: &[] };
const GAUGE: Shape = Shape { name: "[slo.gauge]", keys: &["source", "metric", "good_when", "slice"], refused: &[] };
const JOURNEY: Shape = Shape {
    name: "[journey]",
    keys: &["name", "title", "objective", "window", "aggregate", "stories"],
    refused: &[Refused::new("service", "a journey has no service; its stories name theirs")],
};
const MEMBER: Shape = Shape { name: "a member of `stories`", keys: &["story", "slo", "weight"], refused: &[] };

/// Reads `[story]` and `[[slo]]`, if the file has a story.
pub(super) fn story(root: &Table<'_>, faults: &Faults<'_>) -> Option<Story> {
    let slos = root.tables("slo", &SLO);
    if !root.has("story") {
        if let Some(at) = slos.given().filter(|_| !root.has_strange_tables) {
            faults.missing(at.place, "[[slo]] without a [story] in the same file");
        }
        return None;
    }
    let table = root.table("story", &STORY);
    Some(Story {
        place: table.place,
        name: table.text("name"),
        title: table.text("title"),
        service: table.text("service"),
        owner: table.text("owner"),
        renamed_from: table.text("renamed_from"),
        slos: slos.map(|tables| tables.iter().map(slo).collect()),
    })
}

fn slo(table: &Table<'_>) -> Slo {
    Slo {
        place: table.place,
        name: table.text("name"),
        objective: table.number("objective"),
        window: table.text("window"),
        renamed_from: table.text("renamed_from"),
        alerts: alert::alerts(table),
        kinds: KINDS.iter().filter(|(kind, ..)| table.has(kind)).map(|kind| sli(table, kind)).collect(),
        has_strange_tables: table.has_strange_tables,
    }
}

type Kind = (&'static str, &'static Shape, fn(&Table<'_>) -> Sli);

const KINDS: [Kind; 7] = [
    ("availability", &AVAILABILITY, availability),
    ("latency", &LATENCY, latency),
    ("percentile", &PERCENTILE, percentile),
    ("throughput", &THROUGHPUT, throughput),
    ("ratio", &RATIO, ratio),
    ("histogram", &HISTOGRAM, histogram),
    ("gauge", &GAUGE, gauge),
];

fn sli(slo: &Table<'_>, (kind, shape, read): &Kind) -> At<Sli> {
    let table = slo.table(kind, shape);
    At { value: read(&table), place: table.place }
}

fn availability(table: &Table<'_>) -> Sli {
    Sli::Availability { requests: requests(table), good: table.texts("good"), ignore: table.texts("ignore") }
}

fn latency(table: &Table<'_>) -> Sli {
    Sli::Latency { requests: requests(table), threshold: table.text("threshold"), count: table.texts("count") }
}

fn percentile(table: &Table<'_>) -> Sli {
    Sli::Percentile {
        requests: requests(table),
        percentile: table.number("percentile"),
        threshold: table.text("threshold"),
        slice: table.text("slice"),
    }
}

fn throughput(table: &Table<'_>) -> Sli {
    Sli::Throughput { requests: requests(table), minimum: table.number("minimum"), slice: table.text("slice") }
}

fn ratio(table: &Table<'_>) -> Sli {
    Sli::Ratio {
        source: table.text("source"),
        total: table.text("total"),
        good: table.text("good"),
        bad: table.text("bad"),
    }
}

fn histogram(table: &Table<'_>) -> Sli {
    Sli::Histogram { source: table.text("source"), metric: table.text("metric"), threshold: table.text("threshold") }
}

fn gauge(table: &Table<'_>) -> Sli {
    Sli::Gauge {
        source: table.text("source"),
        metric: table.text("metric"),
        good_when: table.text("good_when"),
        slice: table.text("slice"),
    }
}

fn requests(table: &Table<'_>) -> Requests {
    Requests { source: table.text("source"), requests: table.texts("requests"), hosts: table.texts("hosts") }
}

/// Reads `[journey]`, if the file has one.
pub(super) fn journey(root: &Table<'_>) -> Option<Journey> {
    root.has("journey").then(|| root.table("journey", &JOURNEY)).map(|table| Journey {
        name: table.text("name"),
        title: table.text("title"),
        objective: table.number("objective"),
        window: table.text("window"),
        aggregate: table.text("aggregate"),
        members: table.tables("stories", &MEMBER).map(|tables| tables.iter().map(member).collect()),
    })
}

fn member(table: &Table<'_>) -> Member {
    Member { place: table.place, story: table.text("story"), slo: table.text("slo"), weight: table.number("weight") }
}
