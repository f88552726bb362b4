//! Prometheus alerting rules over slogate's own metrics.
//!
//! The same alerts as the server's, evaluated where the team's pager already listens: the burn rates come from
//! `/metrics`, so Prometheus compares and does not estimate. A second group tells of what slogate itself cannot tell:
//! that it is not there, or cannot judge.
//!
//! The text is YAML whose every scalar is a JSON string, which YAML reads as what it is, whatever a title holds.

use std::borrow::Cow;
use std::fmt::Write;

use crate::spec::{AlertRule, Catalog, Slo, SloId};

/// The rules file, as `slogate export prometheus` gives it.
pub fn prometheus_rules(catalog: &Catalog) -> String {
    let mut text = "groups:\n".to_owned();
    for id in (0..catalog.slos.len()).map(SloId).filter(|id| !catalog[*id].alerts.is_empty()) {
        let slo = &catalog[id];
        let story = catalog.story_of(id);
        let name = format!("slogate {}/{}", story.name, slo.name);
        group(&mut text, &name);
        for alert in &slo.alerts {
            let rule = Rule {
                name: "SlogateErrorBudgetBurn",
                expression: expression(&story.name, &slo.name, alert),
                hold_ms: alert.hold_ms,
                labels: labels(alert, &story.name, &slo.name, story.owner.as_deref()),
                summary: format!("{}/{} burns its error budget", story.name, slo.name),
                description: description(&story.title, slo, alert),
            };
            rule.write(&mut text);
        }
    }
    group(&mut text, "slogate");
    own_rules().iter().for_each(|rule| rule.write(&mut text));
    text
}

/// One alerting rule.
struct Rule<'a> {
    name: &'static str,
    expression: String,
    hold_ms: i64,
    /// By name; the severity comes first.
    labels: Vec<(&'static str, Cow<'a, str>)>,
    summary: String,
    description: String,
}

impl Rule<'_> {
    fn write(&self, text: &mut String) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "      - alert: {}\n        expr: {}", quoted(self.name), quoted(&self.expression));
        if self.hold_ms > 0 {
            let _ = writeln!(text, "        for: \"{}ms\"", self.hold_ms);
        }
        text.push_str("        labels:\n");
        for (label, value) in &self.labels {
            let _ = writeln!(text, "          {label}: {}", quoted(&literal(value)));
        }
        let (summary, description) = (quoted(&literal(&self.summary)), quoted(&self.description));
        let _ =
            writeln!(text, "        annotations:\n          summary: {summary}\n          description: {description}");
    }
}

fn group(text: &mut String, name: &str) {
    let _ = writeln!(text, "  - name: {}\n    rules:", quoted(name));
}

/// What the alert of a rule carries, whatever its series do: with `story`, `slo`, `window` (the long one) and `short`
/// no two rules are the same to Prometheus, which would otherwise take one for a copy of the other. They are the labels
/// of `slogate_alert_firing`.
fn labels<'a>(
    alert: &AlertRule,
    story: &'a str,
    slo: &'a str,
    owner: Option<&'a str>,
) -> Vec<(&'static str, Cow<'a, str>)> {
    let (severity, long, short) = (alert.severity.name(), alert.long.to_string(), alert.short.to_string());
    let own = [
        ("severity", severity.into()),
        ("story", story.into()),
        ("slo", slo.into()),
        ("window", long.into()),
        ("short", short.into()),
    ];
    own.into_iter().chain(owner.map(|owner| ("owner", owner.into()))).collect()
}

fn expression(story: &str, slo: &str, alert: &AlertRule) -> String {
    let rate = |window| format!("slogate_slo_burn_rate{{story=\"{story}\",slo=\"{slo}\",window=\"{window}\"}}");
    let (long, short, factor) = (rate(alert.long), rate(alert.short), alert.factor);
    format!("{long} >= {factor} and ignoring(window) {short} >= {factor}")
}

fn description(title: &str, slo: &Slo, alert: &AlertRule) -> String {
    let AlertRule { long, short, factor, .. } = alert;
    let (objective, window) = (slo.objective, slo.window);
    let title = literal(title);
    let rate = "{{ $value | printf \"%.2f\" }}";
    format!(
        "{title}: over {long} the error budget of {objective}% in {window} burns at {rate} times the rate that it lasts \
         at; this alert is for {factor} and more over {long} and {short}."
    )
}

/// What only somebody beside slogate can see.
fn own_rules() -> [Rule<'static>; 2] {
    [
        Rule {
            name: "SlogateAbsent",
            expression: "absent(slogate_build_info)".to_owned(),
            hold_ms: 5 * 60_000,
            labels: vec![("severity", "page".into())],
            summary: "slogate is not there".to_owned(),
            description: "No slogate has been scraped for five minutes: nobody counts, and no gate answers.".to_owned(),
        },
        Rule {
            name: "SlogateGateUnknown",
            expression: "slogate_gate_level{level=\"unknown\"} == 1".to_owned(),
            hold_ms: 15 * 60_000,
            labels: vec![("severity", "ticket".into())],
            summary: "a gate has nothing sound to judge by".to_owned(),
            description:
                "The gate of {{ $labels.service }} has been unknown for a quarter of an hour; its reasons are \
                          in /api/v1/gates/{{ $labels.service }}."
                    .to_owned(),
        },
    ]
}

/// A text that Prometheus does not take for a template.
fn literal(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
