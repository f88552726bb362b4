//! `/openapi.json` against what the server really does.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use slogate::api::paths;

use super::http::{Reply, get, post, request};
use super::owner::{Server, Setup, TOKEN};
use super::resources::example;

/// The description, and which fields of its schemas have been met.
struct Description {
    document: Value,
    met: BTreeSet<(String, String)>,
}

impl Description {
    fn of(server: &Server) -> Self {
        Self { document: get(server.address, "/openapi.json").json(), met: BTreeSet::new() }
    }

    fn schema(&self, name: &str) -> Value {
        self.document["components"]["schemas"][name].clone()
    }

    /// What stands in the place of a reference.
    fn resolved(&self, part: &Value) -> Value {
        match part["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).expect("a component").clone(),
            None => part.clone(),
        }
    }

    /// Asserts that a reply to an operation is described: its status, its media type and every field.
    #[track_caller]
    fn check(&mut self, method: &str, path: &str, reply: &Reply) {
        let operation = &self.document["paths"][path][method];
        assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{method} {path}");
        let response = self.resolved(&operation["responses"][reply.status.to_string()]);
        assert!(response["description"].is_string(), "{method} {path} does not describe {reply:?}");
        let media_type = reply.header("content-type").expect("a media type");
        let schema = response["content"][media_type]["schema"].clone();
        assert!(schema.is_object(), "{method} {path} does not describe the media type of {reply:?}");
        if media_type.ends_with("json") {
            self.check_value(&schema, &reply.json(), &format!("{method} {path}"));
        }
    }

    fn check_value(&mut self, schema: &Value, value: &Value, place: &str) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.strip_prefix("#/components/schemas/").expect("a schema of this document");
            return self.check_object(name, value, place);
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().map(|one| one.as_str().expect("a type")).collect(),
            _ => panic!("{place}: no type in {schema}"),
        };
        assert!(types.iter().any(|name| is_of_type(name, value)), "{place}: {value} is none of {types:?}");
        if let Some(words) = schema["enum"].as_array() {
            assert!(words.contains(value), "{place}: {value} is none of {words:?}");
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check_value(&schema["items"], item, &format!("{place}[{index}]"));
        }
        for (name, item) in
            value.as_object().into_iter().flatten().filter(|_| schema["additionalProperties"].is_object())
        {
            self.check_value(&schema["additionalProperties"], item, &format!("{place}.{name}"));
        }
    }

    fn check_object(&mut self, name: &str, value: &Value, place: &str) {
        let schema = self.schema(name);
        let fields = value.as_object().unwrap_or_else(|| panic!("{place}: {value} is no {name}"));
        for required in schema["required"].as_array().expect("a list") {
            assert!(fields.contains_key(required.as_str().expect("a name")), "{place}: no {required} in {value}");
        }
        for (field, value) in fields {
            let described = &schema["properties"][field];
            assert!(described.is_object(), "{place}: {name} does not describe {field}");
            self.met.insert((name.to_owned(), field.clone()));
            self.check_value(described, value, &format!("{place}.{field}"));
        }
    }
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("a type that JSON does not have: {other}"),
    }
}

#[test]
fn the_description_has_every_route_every_status_and_every_field() {
    let server = Server::start(Setup { token: Some(TOKEN), ..Setup::default() });
    let mut description = Description::of(&server);
    let described: BTreeSet<String> =
        description.document["paths"].as_object().expect("paths").keys().cloned().collect();
    assert_eq!(described, paths().into_iter().map(str::to_owned).collect());
    assert_eq!(description.document["info"]["version"], env!("CARGO_PKG_VERSION"));

    let authorization = format!("Bearer {TOKEN}");
    let headers = [("Authorization", authorization.as_str()), ("X-Slogate-Actor", "alice")];
    let read_all = |description: &mut Description| {
        for path in paths().into_iter().filter(|path| !path.ends_with("freeze")) {
            description.check("get", path, &get(server.address, &example(path)));
            description.check("get", path, &get(server.address, &format!("{}?nonsense=1", example(path))));
        }
    };
    read_all(&mut description);
    server.fill();
    server.count("profile", "availability", 1, 0, 50);
    read_all(&mut description);
    server.lose(Some(12));
    server.lose(None);
    server.garble(2_000);
    server.scrape();
    read_all(&mut description);
    let (freeze, unfreeze) = ("/api/v1/gates/{service}/freeze", "/api/v1/gates/{service}/unfreeze");
    let order = |path: &str, headers: &[(&str, &str)], body: &str| post(server.address, &example(path), headers, body);
    let sound = json!({ "reason": "x", "until": "2026-11-20T12:00:00Z" }).to_string();
    description.check("post", freeze, &order(freeze, &headers, &sound));
    description.check("post", unfreeze, &order(unfreeze, &headers, &sound));
    read_all(&mut description);
    description.check("post", freeze, &order(freeze, &headers, "{}"));
    description.check("post", freeze, &order(freeze, &[], &sound));
    description.check("post", freeze, &order(freeze, &[headers[0], ("Origin", "http://evil.example")], &sound));
    description.check("post", freeze, &order(freeze, &headers, &"x".repeat(9_000)));
    description.check("post", freeze, &request(server.address, "POST", &example(freeze), &headers, &sound));
    description.check("post", freeze, &post(server.address, "/api/v1/gates/apj/freeze", &headers, &sound));
    server.clock.advance(3 * 3_600_000);
    server.owner(|owner| {
        owner.fail("no space left on device", false);
        owner.publish();
    });
    description.check("post", freeze, &order(freeze, &headers, &sound.replace("12:00", "23:00")));
    read_all(&mut description);

    let schemas = description.document["components"]["schemas"].as_object().expect("schemas").clone();
    let answered = schemas.iter().filter(|(name, _)| !["Freeze", "Unfreeze"].contains(&name.as_str()));
    for (name, schema) in answered {
        for field in schema["properties"].as_object().expect("fields").keys() {
            assert!(
                description.met.contains(&(name.clone(), field.clone())),
                "no answer has the field {field} of {name}"
            );
        }
    }
}

#[test]
fn every_parameter_that_is_described_is_understood_and_no_other() {
    let server = Server::start(Setup::default());
    server.fill();
    let description = Description::of(&server);
    let document = &description.document;
    for path in paths().into_iter().filter(|path| !path.ends_with("freeze")) {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let parameters = parameters.iter().map(|parameter| description.resolved(parameter));
        let (mut known, mut in_path) = (BTreeSet::new(), 0);
        for parameter in parameters {
            match parameter["in"].as_str() {
                Some("query") => drop(known.insert(parameter["name"].as_str().expect("a name").to_owned())),
                Some("path") => in_path += 1,
                _ => {}
            }
        }
        assert_eq!(in_path, path.matches('{').count(), "{path}");
        for name in ["at", "change", "from", "to", "step", "window", "service", "after", "limit"] {
            let reply = get(server.address, &format!("{}?{name}=%00", example(path)));
            let detail = reply.problem().1;
            let is_unknown = detail.contains("there is no parameter");
            assert_eq!(is_unknown, !known.contains(name), "{path}?{name}: {detail}");
        }
    }
}

/// What the description says about orders is what the server takes.
#[test]
fn orders_are_described_as_they_are_taken() {
    let server = Server::start(Setup::default());
    let description = Description::of(&server);
    for (name, verb) in [("Freeze", "freeze"), ("Unfreeze", "unfreeze")] {
        let schema = description.schema(name);
        let value = |field: &str| match field {
            "until" => json!("2026-11-20T12:00:00Z"),
            "exempt" => json!(["fix"]),
            _ => json!("x"),
        };
        let fields: Vec<String> = schema["properties"].as_object().expect("fields").keys().cloned().collect();
        let whole: serde_json::Map<String, Value> = fields.iter().map(|field| (field.clone(), value(field))).collect();
        let path = format!("/api/v1/gates/api/{verb}");
        assert_eq!(post(server.address, &path, &[], &json!(whole).to_string()).status, 200);
        for field in &fields {
            let mut without = whole.clone();
            without.remove(field);
            let status = post(server.address, &path, &[], &json!(without).to_string()).status;
            let required = schema["required"].as_array().expect("a list").contains(&json!(field));
            assert_eq!(status, if required { 400 } else { 200 }, "{name} without {field}");
        }
    }
}
