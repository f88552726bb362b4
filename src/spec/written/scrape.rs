//! `[source.scrape]` as typed.

use crate::spec::fault::Place;
use crate::spec::number::Number;
use crate::spec::table::{Field, Refused, Shape, Table, Texts};

use super::engine::SECRET;

/// `[source.scrape]`.
pub(in crate::spec) struct ScrapeSource {
    /// Its head.
    pub place: Place,
    pub targets: Field<Texts>,
    pub file_sd: Field<Texts>,
    pub dns: Field<Texts>,
    pub interval: Field<String>,
    pub timeout: Field<String>,
    pub max_body: Field<Number>,
    pub max_samples: Field<Number>,
    pub max_labels: Field<Number>,
    pub max_label_bytes: Field<Number>,
    pub ca_file: Field<String>,
    pub token_env: Field<String>,
    pub token_file: Field<String>,
    pub follow_redirects: Field<bool>,
}

const SCRAPE: Shape = Shape {
    name: "[source.scrape]",
    keys: &[
        "targets",
        "file_sd",
        "dns",
        "interval",
        "timeout",
        "max_body",
        "max_samples",
        "max_labels",
        "max_label_bytes",
        "ca_file",
        "token_env",
        "token_file",
        "follow_redirects",
    ],
    refused: &[
        Refused { key: "url", why: "write `targets = [\"http://...\"]`", instead: "targets" },
        Refused { key: "urls", why: "write `targets = [\"http://...\"]`", instead: "targets" },
        Refused { key: "target", why: "write `targets = [\"http://...\"]`", instead: "targets" },
        Refused { key: "static_configs", why: "write `targets = [\"http://...\"]`", instead: "targets" },
        Refused { key: "file_sd_configs", why: "write `file_sd = [\"targets/*.json\"]`", instead: "file_sd" },
        Refused { key: "dns_sd_configs", why: "write `dns = [\"http://name:port/metrics\"]`", instead: "dns" },
        Refused { key: "scrape_interval", why: "write `interval = \"15s\"`", instead: "interval" },
        Refused { key: "scrape_timeout", why: "write `timeout = \"10s\"`", instead: "timeout" },
        Refused { key: "token", why: SECRET, instead: "token_env" },
        Refused { key: "bearer_token", why: SECRET, instead: "token_env" },
        Refused { key: "password", why: SECRET, instead: "token_env" },
        Refused::new(
            "insecure_skip_verify",
            "a target whose certificate is not checked may be anyone; name its authority in `ca_file`",
        ),
    ],
};

/// Reads `[source.scrape]` of a `[[source]]`.
pub(super) fn scrape(source: &Table<'_>) -> ScrapeSource {
    let table = source.table("scrape", &SCRAPE);
    ScrapeSource {
        place: table.place,
        targets: table.texts("targets"),
        file_sd: table.texts("file_sd"),
        dns: table.texts("dns"),
        interval: table.text("interval"),
        timeout: table.text("timeout"),
        max_body: table.number("max_body"),
        max_samples: table.number("max_samples"),
        max_labels: table.number("max_labels"),
        max_label_bytes: table.number("max_label_bytes"),
        ca_file: table.text("ca_file"),
        token_env: table.text("token_env"),
        token_file: table.text("token_file"),
        follow_redirects: table.flag("follow_redirects"),
    }
}
