//! `slogate.toml` as typed.

use toml::de::DeTable;

use super::alert::{self, Alert};
use super::scrape::{self, ScrapeSource};
use crate::spec::fault::{At, Faults, Place};
use crate::spec::number::Number;
use crate::spec::table::{Field, Refused, Shape, Table, Texts};

/// `slogate.toml`.
pub(in crate::spec) struct Engine {
    /// Its position in the files.
    pub file: usize,
    pub listen: Field<String>,
    pub token_env: Field<String>,
    pub token_file: Field<String>,
    pub store_url: Field<String>,
    /// Each `[[source]]`.
    pub sources: Field<Vec<Source>>,
    /// Each `[[alert]]`.
    pub alerts: Field<Vec<Alert>>,
    /// `[gate]`.
    pub gate: Gate,
    /// `[gate.service.NAME]`, by name.
    pub services: Vec<(At<String>, Gate)>,
}

/// `[[source]]`.
pub(in crate::spec) struct Source {
    /// Its head.
    pub place: Place,
    pub name: Field<String>,
    /// Each kind's table; a sound source has one.
    pub kinds: Vec<SourceKind>,
    /// Whether a kind that does not exist was reported.
    pub has_strange_tables: bool,
}

pub(in crate::spec) enum SourceKind {
    File(Box<FileSource>),
    Scrape(Box<ScrapeSource>),
}

/// `[source.file]`.
pub(in crate::spec) struct FileSource {
    /// Its head.
    pub place: Place,
    pub paths: Field<Texts>,
    pub start: Field<String>,
    /// A preset's name.
    pub format: Field<String>,
    pub nginx: Field<String>,
    pub apache: Field<String>,
    pub accept_forgeable: Field<bool>,
    pub max_line: Field<Number>,
}

/// `[gate]`, or the overrides for one service.
#[derive(Clone)]
pub(in crate::spec) struct Gate {
    pub on_unknown: Field<String>,
    pub frozen_below: Field<Number>,
    pub thaw_above: Field<Number>,
    pub guarded_below: Field<Number>,
    pub stale_after: Field<String>,
    pub min_events: Field<Number>,
    pub max_unparsed: Field<Number>,
    pub on_gap: Field<String>,
    pub exempt: Field<Texts>,
    pub freeze_on: Field<String>,
}

pub(super) const SECRET: &str =
    "secrets are never written in specs; use `token_env = \"NAME\"` or `token_file = \"path\"`";
const NO_SUCH_SOURCE: &str =
    "this kind of source is not supported by this version; the kinds are [source.file] and [source.scrape]";
const SCRAPE: &str = "Prometheus endpoints are scraped by [source.scrape]";
const OWN_FILE: &str = "stories and journeys belong in files of their own beside slogate.toml";

const ENGINE: Shape = Shape {
    name: "slogate.toml",
    keys: &["server", "store", "source", "alert", "gate"],
    refused: &[
        Refused::new("story", OWN_FILE),
        Refused::new("slo", OWN_FILE),
        Refused::new("journey", OWN_FILE),
        Refused { key: "sources", why: "write [[source]] once for each source", instead: "source" },
        Refused { key: "alerts", why: "write [[alert]] once for each rule", instead: "alert" },
    ],
};
const SERVER: Shape = Shape {
    name: "[server]",
    keys: &["listen", "token_env", "token_file"],
    refused: &[
        Refused { key: "token", why: SECRET, instead: "token_env" },
        Refused { key: "secret", why: SECRET, instead: "token_env" },
        Refused { key: "password", why: SECRET, instead: "token_env" },
        Refused { key: "api_key", why: SECRET, instead: "token_env" },
    ],
};
const STORE: Shape = Shape {
    name: "[store]",
    keys: &["url"],
    refused: &[Refused::new("password", SECRET), Refused::new("token", SECRET)],
};
const SOURCE: Shape = Shape {
    name: "[[source]]",
    keys: &["name", "file", "scrape"],
    refused: &[
        Refused { key: "prometheus", why: SCRAPE, instead: "scrape" },
        Refused::new("query", NO_SUCH_SOURCE),
        Refused::new("push", NO_SUCH_SOURCE),
        Refused::new("http", NO_SUCH_SOURCE),
        Refused::new("syslog", NO_SUCH_SOURCE),
        Refused::new("kafka", NO_SUCH_SOURCE),
    ],
};
const FILE: Shape = Shape {
    name: "[source.file]",
    keys: &["paths", "start", "format", "nginx", "apache", "accept_forgeable", "max_line"],
    refused: &[Refused { key: "path", why: "write `paths = [\"...\"]`", instead: "paths" }],
};
const GATE: Shape = Shape {
    name: "[gate]",
    keys: &[
        "on_unknown",
        "frozen_below",
        "thaw_above",
        "guarded_below",
        "stale_after",
        "min_events",
        "max_unparsed",
        "on_gap",
        "exempt",
        "freeze_on",
        "service",
    ],
    refused: &[Refused { key: "services", why: "write [gate.service.NAME]", instead: "service" }],
};
const GATE_SERVICE: Shape = Shape {
    name: "[gate.service.NAME]",
    keys: &[
        "on_unknown",
        "frozen_below",
        "thaw_above",
        "guarded_below",
        "stale_after",
        "min_events",
        "max_unparsed",
        "on_gap",
        "exempt",
        "freeze_on",
    ],
    refused: &[],
};

/// Reads the engine's file.
pub(super) fn read(file: usize, tree: &DeTable<'_>, faults: &Faults<'_>) -> Engine {
    let root = Table::open(faults, &ENGINE, Place { file, at: 0 }, tree);
    let server = root.table("server", &SERVER);
    let gate = root.table("gate", &GATE);
    let services = gate.named_tables("service", &GATE_SERVICE);
    Engine {
        file,
        listen: server.text("listen"),
        token_env: server.text("token_env"),
        token_file: server.text("token_file"),
        store_url: root.table("store", &STORE).text("url"),
        sources: root.tables("source", &SOURCE).map(|tables| tables.iter().map(source).collect()),
        alerts: alert::alerts(&root),
        services: services.iter().map(|(name, table)| (name.clone(), policy(table))).collect(),
        gate: policy(&gate),
    }
}

fn source(table: &Table<'_>) -> Source {
    let file = table.has("file").then(|| SourceKind::File(Box::new(file(&table.table("file", &FILE)))));
    let scrape = table.has("scrape").then(|| SourceKind::Scrape(Box::new(scrape::scrape(table))));
    Source {
        place: table.place,
        name: table.text("name"),
        kinds: file.into_iter().chain(scrape).collect(),
        has_strange_tables: table.has_strange_tables,
    }
}

fn file(table: &Table<'_>) -> FileSource {
    FileSource {
        place: table.place,
        paths: table.texts("paths"),
        start: table.text("start"),
        format: table.text("format"),
        nginx: table.text("nginx"),
        apache: table.text("apache"),
        accept_forgeable: table.flag("accept_forgeable"),
        max_line: table.number("max_line"),
    }
}

fn policy(table: &Table<'_>) -> Gate {
    Gate {
        on_unknown: table.text("on_unknown"),
        frozen_below: table.number("frozen_below"),
        thaw_above: table.number("thaw_above"),
        guarded_below: table.number("guarded_below"),
        stale_after: table.text("stale_after"),
        min_events: table.number("min_events"),
        max_unparsed: table.number("max_unparsed"),
        on_gap: table.text("on_gap"),
        exempt: table.texts("exempt"),
        freeze_on: table.text("freeze_on"),
    }
}
