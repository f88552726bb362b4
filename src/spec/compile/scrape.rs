//! `[source.scrape]`.

use std::path::Path;

use super::engine::{path, paths, token};
use super::value::{self, Bounds};
use crate::spec::catalog::{MOST_TARGETS, ScrapeLimits, ScrapeSource};
use crate::spec::fault::{At, Faults, quoted};
use crate::spec::number::Number;
use crate::spec::table::{Field, Texts};
use crate::spec::written;

/// As in Prometheus' examples, and its default deadline.
const INTERVAL_MS: u64 = 15_000;
const TIMEOUT_MS: u64 = 10_000;
const MICROS_PER_MILLI: u64 = 1_000;
const HOUR_MS: u64 = 3_600_000;

const PASSWORD: &str = "has a password in it; use `token_env` or `token_file`";

const BODY: i64 = 64 << 20;
const BODY_BOUNDS: Bounds = Bounds { places: 0, least: 1_024, most: 1 << 30, words: "between 1024 and 1073741824" };
const SAMPLES: i64 = 200_000;
const SAMPLES_BOUNDS: Bounds = Bounds { places: 0, least: 1, most: 10_000_000, words: "between 1 and 10000000" };
const LABELS: i64 = 64;
const LABELS_BOUNDS: Bounds = Bounds { places: 0, least: 1, most: 1_000, words: "between 1 and 1000" };
const LABEL_BYTES: i64 = 4_096;
const LABEL_BYTES_BOUNDS: Bounds = Bounds { places: 0, least: 16, most: 1 << 20, words: "between 16 and 1048576" };

/// Compiles a source of Prometheus endpoints.
pub(super) fn source(directory: &Path, written: &written::ScrapeSource, faults: &Faults<'_>) -> Option<ScrapeSource> {
    let targets = written.targets.or(Vec::new(), |at| urls(at, "targets", faults));
    let file_sd = written.file_sd.or(Vec::new(), |at| paths(directory, at, "file_sd", faults));
    let dns = written.dns.or(Vec::new(), |at| urls(at, "dns", faults));
    if written.targets.is_absent() && written.file_sd.is_absent() && written.dns.is_absent() {
        faults.missing(written.place, "missing what to scrape: one of `targets`, `file_sd` or `dns`");
    }
    if let (Some(targets), Some(dns), Some(at)) = (&targets, &dns, written.dns.given())
        && targets.len() + dns.len() > MOST_TARGETS
    {
        let many = targets.len() + dns.len();
        let words = format!("`targets` and `dns` name {many} targets, and one source has {MOST_TARGETS} at most");
        faults.error(at.place, words);
        return None;
    }
    let interval_ms = written.interval.or(INTERVAL_MS, |at| milliseconds(at, "interval", faults));
    let timeout_ms = timeout(written, interval_ms, faults);
    let limits = limits(written, faults);
    let ca_file = written.ca_file.or(None, |at| path(directory, at, "ca_file", faults).map(Some));
    let token = token(directory, &written.token_env, &written.token_file, faults);
    let follow_redirects = written.follow_redirects.or(false, |at| Some(at.value));
    Some(ScrapeSource {
        targets: targets?,
        file_sd: file_sd?,
        dns: dns?,
        interval_ms: interval_ms?,
        timeout_ms: timeout_ms?,
        limits: limits?,
        ca_file: ca_file?,
        token: token?,
        follow_redirects: follow_redirects?,
    })
}

/// The deadline of a scrape, which must be over when the next one begins.
fn timeout(written: &written::ScrapeSource, interval_ms: Option<u64>, faults: &Faults<'_>) -> Option<u64> {
    let default = interval_ms.map_or(TIMEOUT_MS, |interval_ms| interval_ms.min(TIMEOUT_MS));
    let timeout_ms = written.timeout.or(default, |at| milliseconds(at, "timeout", faults))?;
    if let (Some(at), Some(interval_ms)) = (written.timeout.given(), interval_ms)
        && timeout_ms > interval_ms
    {
        faults.error(at.place, format!("the timeout {} is longer than the interval", quoted(&at.value)));
        return None;
    }
    Some(timeout_ms)
}

fn limits(written: &written::ScrapeSource, faults: &Faults<'_>) -> Option<ScrapeLimits> {
    let limit = |field: &Field<Number>, name: &str, default: i64, bounds: &Bounds| {
        let units = field.or(default, |at| value::within(at, name, bounds, faults));
        units.and_then(|units| usize::try_from(units).ok())
    };
    let body_bytes = limit(&written.max_body, "`max_body`", BODY, &BODY_BOUNDS);
    let samples = limit(&written.max_samples, "`max_samples`", SAMPLES, &SAMPLES_BOUNDS);
    let labels = limit(&written.max_labels, "`max_labels`", LABELS, &LABELS_BOUNDS);
    let label_bytes = limit(&written.max_label_bytes, "`max_label_bytes`", LABEL_BYTES, &LABEL_BYTES_BOUNDS);
    Some(ScrapeLimits { body_bytes: body_bytes?, samples: samples?, labels: labels?, label_bytes: label_bytes? })
}

/// A length of time from a second to an hour.
fn milliseconds(at: &At<String>, what: &str, faults: &Faults<'_>) -> Option<u64> {
    let us = value::duration_us(at, faults)?;
    let ms = us / MICROS_PER_MILLI;
    if !us.is_multiple_of(MICROS_PER_MILLI) || !(1_000..=HOUR_MS).contains(&ms) {
        faults.error(at.place, format!("the {what} {} is not between 1s and 1h", quoted(&at.value)));
        return None;
    }
    Some(ms)
}

fn urls(at: &At<Texts>, key: &str, faults: &Faults<'_>) -> Option<Vec<String>> {
    let mut urls: Vec<String> = Vec::new();
    for text in value::elements(at, key, (1, MOST_TARGETS), faults)? {
        match target(&text.value) {
            Ok(url) if urls.contains(&url) => {
                faults.error(text.place, format!("{} is listed twice", quoted(&text.value)));
            }
            Ok(url) => urls.push(url),
            // Not repeated: it holds a secret.
            Err(why @ PASSWORD) => faults.error(text.place, format!("a target {why}")),
            Err(why) => faults.error(text.place, format!("{} {why}", quoted(&text.value))),
        }
    }
    Some(urls)
}

/// The URL of a target as it is asked for and shown; `/metrics` is its path when none is given.
///
/// # Errors
/// What is wrong with it, to follow the text.
pub(crate) fn target(text: &str) -> Result<String, &'static str> {
    if !text.contains("://") {
        return Err("is not a URL such as \"http://host:9100/metrics\"");
    }
    let mut url = url::Url::parse(text).map_err(|_| "is not a URL such as \"http://host:9100/metrics\"")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is neither http:// nor https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(PASSWORD);
    }
    if url.fragment().is_some() {
        return Err("has a `#` in it, which no server sees");
    }
    if url.path() == "/" && !text.trim_end().ends_with('/') {
        url.set_path("/metrics");
    }
    Ok(url.into())
}
