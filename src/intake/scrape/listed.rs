//! Files that list targets, as Prometheus' `file_sd` does, in JSON or TOML.
//!
//! ```json
//! [{ "targets": ["10.0.0.1:9100"], "labels": { "__scheme__": "https", "__metrics_path__": "/stats" } }]
//! ```
//!
//! ```toml
//! [[group]]
//! targets = ["10.0.0.1:9100", "https://shop.example/metrics"]
//! labels  = { __metrics_path__ = "/stats" }
//! ```
//!
//! A target is `host:port` or a whole URL. Of the labels, those that say where to ask are heeded (`__scheme__`,
//! `__metrics_path__`, `__param_NAME`); series are selected by the labels that they carry themselves.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::spec::target_url;

/// Targets that belong together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// A TOML document has no list at its top.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Groups {
    #[serde(default)]
    group: Vec<Group>,
}

/// The URLs that a file lists; the name of the file says how it is written.
///
/// # Errors
/// What is wrong with it.
pub(super) fn targets(path: &Path, text: &str) -> Result<Vec<String>, String> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let groups: Vec<Group> = match extension {
        "json" => serde_json::from_str(text).map_err(|error| error.to_string())?,
        "toml" => toml::from_str::<Groups>(text).map_err(|error| one_line(&error))?.group,
        _ => return Err("is neither .json nor .toml".to_owned()),
    };
    let urls = groups.iter().flat_map(|group| group.targets.iter().map(|target| url(target, &group.labels)));
    urls.collect()
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

fn url(target: &str, labels: &BTreeMap<String, String>) -> Result<String, String> {
    let refused = |why: &str| format!("the target `{}` {why}", crate::spec::printable(target));
    if target.contains("://") {
        return target_url(target).map_err(refused);
    }
    let label = |name: &str, default: &'static str| labels.get(name).map_or(default, String::as_str).to_owned();
    let (scheme, path) = (label("__scheme__", "http"), label("__metrics_path__", "/metrics"));
    if target.contains(['/', '?', '#']) || !path.starts_with('/') {
        return Err(refused("is neither host:port nor a URL"));
    }
    let parameters = labels.iter().filter_map(|(name, value)| Some((name.strip_prefix("__param_")?, value)));
    let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let query = if query.is_empty() { query } else { format!("?{query}") };
    target_url(&format!("{scheme}://{target}{path}{query}")).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, text: &str, expected: Result<&[&str], &str>) {
        match (targets(Path::new(name), text), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn what_prometheus_writes_is_read() {
        let json = r#"[{"targets":["a:1","b:2"],"labels":{"job":"x"}},
                       {"targets":["c:3"],"labels":{"__scheme__":"https","__metrics_path__":"/m","__param_q":"1 &"}}]"#;
        check("t.json", json, Ok(&["http://a:1/metrics", "http://b:2/metrics", "https://c:3/m?q=1+%26"]));
        check("t.json", "[]", Ok(&[]));
        check("t.json", r#"[{"targets":[]}]"#, Ok(&[]));
    }

    #[test]
    fn toml_lists_groups() {
        let text = "[[group]]\ntargets = [\"a:1\", \"https://b/x\"]\nlabels = { __metrics_path__ = \"/m\" }\n";
        check("t.toml", text, Ok(&["http://a:1/m", "https://b/x"]));
        check("t.toml", "", Ok(&[]));
        check("t.toml", "[[groups]]\ntargets = []\n", Err("unknown field `groups`"));
    }

    #[test]
    fn what_names_no_target_is_refused_as_a_whole() {
        check("t.json", "[{\"targets\":[\"a:1\"", Err("EOF"));
        check("t.json", r#"[{"targets":["a/b"]}]"#, Err("`a/b` is neither host:port nor a URL"));
        check("t.json", r#"[{"targets":["a:1"],"labels":{"__scheme__":"file"}}]"#, Err("is not a URL such as"));
        check("t.json", r#"[{"targets":["http://u:p@a/"]}]"#, Err("has a password in it"));
        check("t.yml", "- targets: []", Err("is neither .json nor .toml"));
    }
}
