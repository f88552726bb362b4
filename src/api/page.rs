//! The page: gates and SLOs for somebody with a browser and nothing else.
//!
//! Plain HTML without scripts, styles or anything else to load; the policy that goes with every answer forbids them.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Api;
use super::answer::with_type;
use super::asked::Asked;
use super::problem::Problem;
use crate::document::{DEFAULT_CHANGE, GateStatus, SloStatus, SourceStatus, Status};
use crate::spec::printable;

/// `GET /`
pub(super) async fn page(State(api): State<Arc<Api>>, asked: Asked) -> Result<Response, Problem> {
    let view = api.at(&asked.query(&["at"])?).await?;
    let html = html(&Status::new(&view.catalog, &view.board, DEFAULT_CHANGE));
    Ok(with_type(StatusCode::OK, "text/html; charset=utf-8", html))
}

/// Writing to a string cannot fail, here and below.
fn html(status: &Status<'_>) -> String {
    let mut html =
        String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>slogate</title>\n");
    let _ = write!(html, "<h1>Service levels at {}</h1>\n<h2>Gates</h2>\n", status.at);
    html.push_str("<table border=\"1\">\n<tr><th>Service<th>Level<th>A feature<th>Because\n");
    status.gates.iter().for_each(|gate| gate_row(&mut html, gate));
    html.push_str("</table>\n<h2>SLOs</h2>\n<table border=\"1\">\n");
    html.push_str("<tr><th>SLO<th>Title<th>Service<th>Objective<th>Window<th>Compliance<th>Budget left<th>State\n");
    status.stories.iter().flat_map(|story| &story.slos).for_each(|slo| slo_row(&mut html, slo));
    html.push_str("</table>\n<h2>Sources</h2>\n<table border=\"1\">\n");
    html.push_str("<tr><th>Source<th>Health<th>Newest record<th>To know\n");
    status.sources.iter().for_each(|source| source_row(&mut html, source));
    html.push_str("</table>\n<p><a href=\"/api/v1/status\">status</a> <a href=\"/metrics\">metrics</a> ");
    html.push_str("<a href=\"/openapi.json\">openapi</a></p>\n</html>\n");
    html
}

fn gate_row(html: &mut String, gate: &GateStatus<'_>) {
    let reasons: Vec<String> = gate.reasons.iter().map(|reason| escaped(&reason.text)).collect();
    let verdict = if gate.allow { "may be deployed" } else { "must wait" };
    let (service, reasons) = (escaped(gate.service), reasons.join("<br>"));
    let _ = writeln!(html, "<tr><td>{service}<td>{}<td>{verdict}<td>{reasons}", gate.level);
}

fn slo_row(html: &mut String, slo: &SloStatus<'_>) {
    let name = format!("{}/{}", escaped(slo.story), escaped(slo.slo));
    let compliance = slo.compliance.map_or("no data".to_owned(), percent);
    let _ = writeln!(
        html,
        "<tr><td><a href=\"/api/v1/slos/{name}\">{name}</a><td>{}<td>{}<td>{}<td>{}<td>{compliance}<td>{:.1}%<td>{}",
        escaped(slo.title),
        escaped(slo.service),
        percent(slo.objective),
        slo.window,
        slo.budget.remaining * 100.0,
        slo.state.replace('_', " "),
    );
}

fn source_row(html: &mut String, source: &SourceStatus<'_>) {
    let newest = source.last_event.map_or("never".to_owned(), |event| event.to_string());
    let doubts = source.reasons.iter().map(|reason| escaped(&reason.text));
    let notes: Vec<String> = doubts.chain(source.gaps.iter().map(|gap| escaped(&gap.text))).collect();
    let (name, health) = (escaped(source.source), source.health.replace('_', " "));
    let _ = writeln!(html, "<tr><td>{name}<td>{health}<td>{newest}<td>{}", notes.join("<br>"));
}

/// A ratio in percent, cut and not rounded: what is not quite 100% never reads as 100%.
fn percent(ratio: f64) -> String {
    format!("{}%", (ratio * 1e6 + 1e-4).floor() / 1e4)
}

/// Text between tags or in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b22_text_cannot_become_markup_or_drive_a_terminal() {
        assert_eq!(escaped("<b a='1' c=\"2\">&\u{1b}[2J"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;\\u{1b}[2J");
    }

    #[test]
    fn a_ratio_is_cut_and_never_reads_as_more_than_it_is() {
        for (ratio, text) in [(0.9995, "99.95%"), (1.0, "100%"), (0.999_999_999, "99.9999%"), (0.0, "0%")] {
            assert_eq!(percent(ratio), text);
        }
    }
}
