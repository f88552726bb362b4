//! Metrics: the board as Prometheus' text exposition format, version 0.0.4.
//!
//! - Labels hold names of the specs and words of this program, never anything that traffic brought along, so that the
//!   number of series follows from the specs: per SLO 5 (6 of a ratio), one per burn window, 2 per alert rule and up to
//!   10 of latency (20 of a histogram), per journey 2, per service 4, per source 26 (32 when it is scraped), two more,
//!   and 4 about the specs themselves (see [`SpecsHealth`](super::SpecsHealth)).
//! - A scraped source has 5 more for each of its targets, which the specs and what they name list (1,000 at most), one
//!   for each reason why a scrape fails, and one for each kind of thing that happens to counters.
//! - No data is no sample: a ratio of nothing is left out, and neither 0 nor 1 nor NaN stands in for it.

use std::fmt::{Display, Write};

use super::latency::{lower_bounds, upper_bounds};
use crate::alert::{AlertStanding, Course};
use crate::counts::Rejection;
use crate::engine::{Board, Gap, LATEST, Target};
use crate::formats::Unparsed;
use crate::gate::{Doubt, Level};
use crate::increase::{BadValue, Bound, Part};
use crate::latency::{PERCENTILES, Spread};
use crate::spec::{Catalog, JourneyId, ServiceId, Sli, SloId, SourceId, SourceKind};

/// One rejection for each reason that a log can have, so that every series is there from the beginning.
const REASONS: [Rejection; 5] = [
    Rejection::Unparsed(Unparsed::Layout),
    Rejection::Ambiguous,
    Rejection::Oversize,
    Rejection::Future,
    Rejection::Expired,
];
/// The same for what is scraped.
const REASONS_OF_SCRAPES: [Rejection; 3] =
    [Rejection::Value(BadValue::NotANumber), Rejection::Future, Rejection::Expired];

/// The whole board, as `/metrics` gives it, and whether what is counted can be written.
pub fn metrics(catalog: &Catalog, board: &Board, is_store_healthy: bool) -> String {
    let mut page = Page(String::with_capacity(4_096 + 2_048 * catalog.slos.len()));
    slos(&mut page, catalog, board);
    journeys(&mut page, catalog, board);
    gates(&mut page, catalog, board);
    sources(&mut page, catalog, board);
    targets(&mut page, catalog, board);
    let name = "slogate_store_healthy";
    page.family(name, "gauge", "1 when what is counted can be written, 0 when counting waits until it can.");
    page.sample(name, &[], u8::from(is_store_healthy));
    page.family("slogate_build_info", "gauge", "The version of this program.");
    page.sample("slogate_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.0
}

fn slos(page: &mut Page, catalog: &Catalog, board: &Board) {
    let ids = || (0..catalog.slos.len()).map(SloId);
    let labels = |id: SloId| labels_of(catalog, id);

    let name = "slogate_slo_objective_ratio";
    page.family(name, "gauge", "The promised share of good events.");
    ids().for_each(|id| page.sample(name, &labels(id), catalog[id].objective.ratio()));

    let name = "slogate_slo_compliance_ratio";
    page.family(name, "gauge", "The share of good events in the window; absent without events.");
    ids().for_each(|id| page.maybe(name, &labels(id), board[id].standing.tally.compliance()));

    let name = "slogate_slo_budget_remaining_ratio";
    page.family(name, "gauge", "The part of the error budget that is left; negative when overspent.");
    ids().for_each(|id| page.sample(name, &labels(id), board[id].standing.remaining()));

    let name = "slogate_slo_burn_rate";
    page.family(name, "gauge", "How many times faster than allowed the budget is spent; absent without events.");
    for id in ids() {
        let [story, slo, service] = labels(id);
        for burn in &board[id].burns {
            let window = burn.window.to_string();
            page.maybe(name, &[story, slo, service, ("window", &window)], burn.rate(catalog[id].objective));
        }
    }

    let alerts = |page: &mut Page, name: &str, is: fn(Course) -> bool| {
        for id in ids() {
            let [story, slo, service] = labels(id);
            for AlertStanding { rule, course, .. } in &board[id].alerts {
                let (window, short, severity) = (rule.long.to_string(), rule.short.to_string(), rule.severity.name());
                let labels = [story, slo, service, ("severity", severity), ("window", &window), ("short", &short)];
                page.sample(name, &labels, u8::from(is(*course)));
            }
        }
    };
    let name = "slogate_alert_firing";
    page.family(name, "gauge", "1 while the alert fires; the window is its long one, and short its other.");
    alerts(page, name, Course::is_firing);
    let name = "slogate_alert_pending";
    page.family(name, "gauge", "1 while the alert burns, but not for as long as its rule asks.");
    alerts(page, name, |course| matches!(course, Course::Pending { .. }));

    latencies(page, catalog, board);

    let name = "slogate_slo_events_total";
    page.family(name, "counter", "Requests counted since the store began, whatever the kind of the SLO: of percentile and throughput too, requests and \
         not slices, whose verdicts a late request may change.");
    for id in ids() {
        let [story, slo, service] = labels(id);
        let lifetime = board[id].lifetime;
        page.sample(name, &[story, slo, service, ("result", "good")], lifetime.good);
        page.sample(name, &[story, slo, service, ("result", "bad")], lifetime.bad);
    }
}

/// Values of the percentiles of an SLO, of which some may be missing.
type OfPercentiles = fn(&Spread) -> [Option<Bound>; PERCENTILES.len()];

fn latencies(page: &mut Page, catalog: &Catalog, board: &Board) {
    let upper = "How long requests took at most, in whole hours or days that hold the window; absent without any. +Inf where \
                 a histogram has no bound above.";
    let lower = "Of histograms: the bound that slogate_slo_latency_seconds is not below.";
    let families: [(&str, &str, OfPercentiles); 2] = [
        ("slogate_slo_latency_seconds", upper, upper_bounds),
        ("slogate_slo_latency_lower_bound_seconds", lower, lower_bounds),
    ];
    for (name, help, values) in families {
        page.family(name, "gauge", help);
        for id in (0..catalog.slos.len()).map(SloId) {
            let [story, slo, service] = labels_of(catalog, id);
            let Some(latency) = board[id].latency else { continue };
            let own = (catalog[id].window, latency.window);
            for (window, spread) in [(LATEST, latency.hour)].into_iter().chain((own.0 != LATEST).then_some(own)) {
                let window = window.to_string();
                for ((percentile, ..), value) in PERCENTILES.iter().zip(values(&spread)) {
                    let Some(value) = value else { continue };
                    page.sample(name, &[story, slo, service, ("percentile", percentile), ("window", &window)], value);
                }
            }
        }
    }
}

fn labels_of(catalog: &Catalog, id: SloId) -> [(&'static str, &str); 3] {
    let story = catalog.story_of(id);
    [("story", &*story.name), ("slo", &*catalog[id].name), ("service", &*catalog[story.service].name)]
}

fn journeys(page: &mut Page, catalog: &Catalog, board: &Board) {
    let ids = || (0..catalog.journeys.len()).map(JourneyId);
    let labels = |id: JourneyId| [("journey", &*catalog[id].name)];

    let name = "slogate_journey_compliance_ratio";
    page.family(name, "gauge", "The weighted share of good events in the window; absent without events.");
    ids().for_each(|id| page.maybe(name, &labels(id), board[id].weighed.compliance()));

    let name = "slogate_journey_budget_remaining_ratio";
    page.family(name, "gauge", "The part of the journey's error budget that is left; negative when overspent.");
    ids().for_each(|id| page.sample(name, &labels(id), board[id].weighed.remaining()));
}

fn gates(page: &mut Page, catalog: &Catalog, board: &Board) {
    let name = "slogate_gate_level";
    page.family(name, "gauge", "1 for the level that the gate has, 0 for the others.");
    for id in (0..catalog.services.len()).map(ServiceId) {
        for level in Level::ALL {
            let is_level = u8::from(board[id].state.level == level);
            page.sample(name, &[("service", &catalog[id].name), ("level", level.name())], is_level);
        }
    }
}

fn sources(page: &mut Page, catalog: &Catalog, board: &Board) {
    let ids = || (0..catalog.sources.len()).map(SourceId);
    let label = |id: SourceId| ("source", &*catalog[id].name);

    let name = "slogate_ingest_records_total";
    page.family(name, "counter", "Complete records seen, counted or refused.");
    ids().for_each(|id| page.sample(name, &[label(id)], board[id].records()));

    let name = "slogate_ingest_rejected_total";
    page.family(name, "counter", "Records refused, by reason.");
    for id in ids() {
        let of_scrapes = matches!(catalog[id].kind, SourceKind::Scrape(_));
        let reasons: &[Rejection] = if of_scrapes { &REASONS_OF_SCRAPES } else { &REASONS };
        for reason in reasons.iter().map(|rejection| rejection.reason()) {
            let found = board[id].rejected.iter().filter(|(rejection, _)| rejection.reason() == reason);
            let count = found.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
            page.sample(name, &[label(id), ("reason", reason)], count);
        }
    }

    let name = "slogate_ingest_truncated_total";
    page.family(name, "counter", "Records too long to be read whole and read by their beginnings, since it started.");
    ids().for_each(|id| page.sample(name, &[label(id)], board[id].truncated));

    let name = "slogate_ingest_missing_field_total";
    page.family(name, "counter", "Records without a field that an SLI wanted.");
    ids().for_each(|id| page.sample(name, &[label(id), ("field", "duration")], board[id].missing_duration));

    let name = "slogate_ingest_gaps_total";
    page.family(name, "counter", "Gaps: places where records are missing that can never be counted, by reason.");
    for id in ids() {
        for reason in Gap::reasons_of(&catalog[id].kind) {
            let count = board[id].gap_counts.get(reason).copied().unwrap_or(0);
            page.sample(name, &[label(id), ("reason", reason)], count);
        }
    }

    let name = "slogate_ingest_gap_bytes_total";
    page.family(name, "counter", "The length of the gaps whose length is known.");
    ids().for_each(|id| page.sample(name, &[label(id)], board[id].gap_bytes));

    let name = "slogate_ingest_panics_total";
    page.family(name, "counter", "How often reading the source ended by a fault of slogate, since it started.");
    ids().for_each(|id| page.sample(name, &[label(id)], board[id].panics));

    let name = "slogate_ingest_degraded";
    page.family(name, "gauge", "1 for what makes the source no sound evidence, 0 for what does not.");
    for id in ids() {
        for reason in Doubt::NAMES {
            let is_so = board[id].doubts.iter().any(|doubt| doubt.name() == reason);
            page.sample(name, &[label(id), ("reason", reason)], u8::from(is_so));
        }
    }

    let name = "slogate_ingest_lag_bytes";
    page.family(name, "gauge", "How much of the source waits to be read; absent before its first reading.");
    ids().for_each(|id| page.maybe(name, &[label(id)], board[id].bytes_behind.map(|bytes| bytes as f64)));

    let name = "slogate_ingest_lag_seconds";
    page.family(name, "gauge", "How long ago the newest record was; absent before the first.");
    for id in ids() {
        let lag_ms = board[id].last_event.map(|event| board.at.millis().saturating_sub(event.millis()).max(0));
        page.maybe(name, &[label(id)], lag_ms.map(|millis| millis as f64 / 1_000.0));
    }
}

/// The targets of scraped sources; nothing without such a source.
fn targets(page: &mut Page, catalog: &Catalog, board: &Board) {
    let scraped = |id: &SourceId| matches!(catalog[*id].kind, SourceKind::Scrape(_)) || board[*id].targets.is_some();
    let ids: Vec<SourceId> = (0..catalog.sources.len()).map(SourceId).filter(scraped).collect();
    if ids.is_empty() {
        return;
    }
    let each = |page: &mut Page, name: &str, help: &str, value: fn(&Target) -> Option<f64>| {
        page.family(name, "gauge", help);
        for id in &ids {
            let found = board[*id].targets.iter().flat_map(|targets| &targets.targets);
            found.for_each(|target| {
                page.maybe(name, &[("source", &*catalog[*id].name), ("target", &*target.url)], value(target));
            });
        }
    };
    let is_up = |target: &Target| target.last_scrape.map(|_| f64::from(u8::from(target.error.is_none())));
    each(
        page,
        "slogate_scrape_up",
        "1 when the last scrape gave a page that was counted; absent before the first.",
        is_up,
    );
    let seconds = |target: &Target| target.last_scrape.map(|_| target.duration_ms as f64 / 1_000.0);
    each(page, "slogate_scrape_duration_seconds", "How long the last scrape took.", seconds);
    let samples = |target: &Target| target.last_scrape.map(|_| target.samples as f64);
    each(page, "slogate_scrape_samples", "How many samples the last page had.", samples);
    let bytes = |target: &Target| target.last_scrape.map(|_| target.size_bytes as f64);
    each(page, "slogate_scrape_size_bytes", "How long the last page was, unpacked.", bytes);
    let page_at = |target: &Target| target.last_page.map(|at| at.millis() as f64 / 1_000.0);
    each(
        page,
        "slogate_scrape_last_page_timestamp_seconds",
        "When the last page that was counted was asked for.",
        page_at,
    );

    let name = "slogate_scrape_errors_total";
    page.family(name, "counter", "Scrapes that gave nothing to count, by reason, since the server started.");
    for id in &ids {
        for (reason, count) in board[*id].targets.iter().flat_map(|targets| &targets.errors) {
            page.sample(name, &[("source", &*catalog[*id].name), ("reason", reason)], count);
        }
    }
    let name = "slogate_slo_unseen";
    page.family(
        name,
        "gauge",
        "1 while no target shows a series that this key of a ratio selects, and they do of `total`.",
    );
    for id in (0..catalog.slos.len()).map(SloId) {
        let Sli::Ratio { part, .. } = &catalog[id].sli else { continue };
        let key = if *part == Part::Good { "good" } else { "bad" };
        let [story, slo, service] = labels_of(catalog, id);
        let mut unseen = board[catalog[id].source].targets.iter().flat_map(|targets| &targets.unseen);
        let is_unseen = unseen.any(|unseen| unseen.slo == id);
        page.sample(name, &[story, slo, service, ("key", key)], u8::from(is_unseen));
    }
    let name = "slogate_scrape_notes_total";
    page.family(name, "counter", "What keeps counts from being plain differences, by kind, since the server started.");
    for id in &ids {
        for (kind, count) in board[*id].targets.iter().flat_map(|targets| &targets.note_counts) {
            page.sample(name, &[("source", &*catalog[*id].name), ("kind", kind)], count);
        }
    }
}

/// The text so far. Writing to a string cannot fail.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn text(self) -> String {
        self.0
    }

    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn maybe(&mut self, name: &str, labels: &[(&str, &str)], value: Option<f64>) {
        if let Some(value) = value {
            self.sample(name, labels, value);
        }
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if place == 0 { '{' } else { ',' });
            self.escaped(text);
            self.0.push('"');
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    /// A label's value. The names of specs need no escaping today; that is their rule to change, not this one's.
    fn escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page(String::new());
        page.sample("a", &[("x", "b\\c\"d\ne"), ("y", "é")], 1.5);
        page.sample("a", &[], -0.25);
        assert_eq!(page.0, "a{x=\"b\\\\c\\\"d\\ne\",y=\"é\"} 1.5\na -0.25\n");
    }
}
