//! What the shipped dashboard asks Prometheus, as Grafana puts it: with the values of variables in their places.

use std::collections::BTreeSet;

use serde_json::Value;

/// How a query is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// `/api/v1/query`
    Instant,
    /// `/api/v1/query_range`
    Range,
    /// `/api/v1/label/NAME/values`
    LabelValues(String),
}

/// A query of a panel, a variable or an annotation.
#[derive(Clone, Debug)]
pub struct Query {
    /// Whose.
    pub of: String,
    /// With variables in it.
    pub expression: String,
    pub way: Way,
    /// Labels that the legend or the title shows, and the answer must have.
    pub shown: BTreeSet<String>,
}

/// Every query of a dashboard.
pub fn of(dashboard: &Value) -> Vec<Query> {
    let panels = list(&dashboard["panels"]).iter().flat_map(targets);
    let variables = list(&dashboard["templating"]["list"]).iter().filter(|one| one["type"] == "query").map(variable);
    let annotations = list(&dashboard["annotations"]["list"]).iter().filter(|one| one["builtIn"] != 1).map(annotation);
    panels.chain(variables).chain(annotations).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Those of a panel; a row has none.
fn targets(panel: &Value) -> Vec<Query> {
    let of = format!("panel {}", panel["title"]);
    let query = |target: &Value| Query {
        of: of.clone(),
        expression: text(&target["expr"]),
        way: if target["instant"] == true { Way::Instant } else { Way::Range },
        shown: shown(target["legendFormat"].as_str().unwrap_or_default()),
    };
    panel["targets"].as_array().into_iter().flatten().map(query).collect()
}

fn annotation(annotation: &Value) -> Query {
    let expression = text(&annotation["target"]["expr"]);
    assert_eq!(annotation["expr"], expression, "{}: older versions of Grafana would ask otherwise", annotation["name"]);
    let shown = shown(&text(&annotation["titleFormat"]));
    Query { of: format!("annotation {}", annotation["name"]), expression, way: Way::Range, shown }
}

/// That of a variable: `label_values(SELECTOR, LABEL)`.
fn variable(variable: &Value) -> Query {
    let query = text(&variable["query"]["query"]);
    let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    let (selector, label) = inside.and_then(|inside| inside.rsplit_once(", ")).expect("label_values of two");
    let way = Way::LabelValues(label.to_owned());
    Query { of: format!("variable {}", variable["name"]), expression: selector.to_owned(), way, shown: BTreeSet::new() }
}

/// The labels in `{{...}}`.
fn shown(format: &str) -> BTreeSet<String> {
    format.split("{{").skip(1).map(|rest| rest.split("}}").next().expect("a name").trim().to_owned()).collect()
}

/// The expression with every `$name` and `${name}` replaced.
///
/// # Panics
/// When a variable is left that has no value.
pub fn filled(expression: &str, values: &[(&str, &str)]) -> String {
    let mut values = values.to_vec();
    // `$slo` begins like `$slogate` would.
    values.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let filled = values.iter().fold(expression.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    });
    assert!(!filled.contains('$') && !filled.contains("[["), "{filled}: a variable without a value");
    filled
}
