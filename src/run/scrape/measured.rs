//! Whether each SLO of a scraped source is still measured.
//!
//! A target that answers may have ceased to show what an SLO is made of. What an SLO promises is known up to the last
//! page of the target that has been without it for longest, of those that ever showed it: events that only that one
//! counted would be missing. A target whose process has begun since then shows it when there is something to count, and
//! is not waited for as long as another target is measured.

use std::sync::Arc;

use super::state::Target;
use crate::counts::ScrapeCounter;
use crate::gate::Measurement;
use crate::increase::{Hearing, Silence};
use crate::spec::{Catalog, Sli, SloId, printable};
use crate::time::Timestamp;

/// So much is said of why something is not measured, in bytes.
const LONGEST_WHY: usize = 400;

/// How the SLOs of a source are measured, that has been followed since `began` and has these targets at `at`. `error`
/// tells why the last scrape of a target failed.
pub(super) fn measurements<'t>(
    catalog: &Catalog,
    counter: &ScrapeCounter,
    targets: &[&'t Target],
    error: impl Fn(&str) -> Option<&'t str>,
    began: Timestamp,
) -> Vec<(SloId, Measurement)> {
    let measurement = |(place, slo): (usize, SloId)| {
        let heard = targets.iter().filter_map(|target| Some((*target, target.counted.hearing(place)?)));
        let since = heard.clone().filter_map(|(_, (hearing, _))| hearing.since).min().unwrap_or(began);
        let shown = heard.clone().filter(|(_, (hearing, _))| hearing.last.is_some());
        let last = |(_, (hearing, _)): &(&Target, (&Hearing, bool))| hearing.last;
        let waited_for = shown.clone().filter(|(_, (_, is_fresh))| !is_fresh).min_by_key(last);
        let decides = waited_for.or_else(|| shown.max_by_key(last));
        // Of those that never showed it, one that answers says more than one that does not.
        let says = decides.or_else(|| heard.max_by_key(|(_, (hearing, _))| hearing.silence.is_some()));
        let why = match says {
            Some((target, (hearing, _))) => why(catalog, slo, hearing, &target.endpoint.key, &error),
            None => Some("no target of its source is found".to_owned()),
        };
        let last = decides.and_then(|(_, (hearing, _))| hearing.last);
        (slo, Measurement { since, last, why: why.map(|why| Arc::from(cut(&printable(&why)))) })
    };
    counter.slos().enumerate().map(measurement).collect()
}

/// Why a target shows nothing of an SLO; `None` when it does.
fn why<'t>(
    catalog: &Catalog,
    slo: SloId,
    hearing: &Hearing,
    target: &str,
    error: impl Fn(&str) -> Option<&'t str>,
) -> Option<String> {
    if let Some(error) = error(target) {
        return Some(format!("{target}: {error}"));
    }
    let Some(silence) = &hearing.silence else {
        return hearing.last.is_none().then(|| format!("{target} has not been asked yet"));
    };
    let selector = match &catalog[slo].sli {
        Sli::Ratio { of, .. } if *silence == Silence::PartGone => of.to_string(),
        Sli::Ratio { total: metric, .. } | Sli::Histogram { metric, .. } | Sli::Gauge { metric, .. } => {
            metric.to_string()
        }
        Sli::Availability { .. } | Sli::Latency { .. } | Sli::Percentile { .. } | Sli::Throughput { .. } => {
            String::new()
        }
    };
    Some(format!("{selector} at {target}: {silence}"))
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_WHY)]
}
