//! The OpenAPI document: it is what a node serves, it has the structure of OpenAPI 3.1, and responses match its schemas.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::super::support::{Guest, Running};
use crate::http::reference::{Access, SchemaOf};
use crate::http::{openapi, routes};

/// A schema with its definitions.
pub(super) fn schema_of(schema: SchemaOf) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut generator = settings.into_generator();
    let mut root: Value = schema(&mut generator).into();
    root["$defs"] = Value::Object(generator.take_definitions(true));
    root
}

/// Panics where a value does not match a schema: types, required fields, and no field that the schema does not have.
#[track_caller]
pub(super) fn check(root: &Value, value: &Value, name: &str) {
    let mismatch = mismatch(root, root, value, name);
    assert_eq!(mismatch, None, "{value:#}");
}

fn mismatch(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let found = root.pointer(reference.trim_start_matches('#'));
        let Some(found) = found else {
            return Some(format!("{at}: {reference} does not exist"));
        };
        return mismatch(root, found, value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let mut found = any.iter().map(|one| mismatch(root, one, value, at));
        return found
            .all(|one| one.is_some())
            .then(|| format!("{at} matches no alternative"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let own = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.is_empty() && !types.contains(&own) {
        return Some(format!("{at} is of type {own}, not {types:?}"));
    }
    match value {
        Value::Array(values) => values
            .iter()
            .find_map(|value| mismatch(root, &schema["items"], value, &format!("{at}[]"))),
        Value::Object(fields) => {
            let required = schema["required"].as_array().into_iter().flatten();
            for name in required.filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    return Some(format!("{at}.{name} is missing"));
                }
            }
            fields.iter().find_map(|(name, value)| {
                let at = format!("{at}.{name}");
                match (&schema["properties"][name], &schema["additionalProperties"]) {
                    (Value::Null, Value::Null) => Some(format!("{at} is not documented")),
                    (Value::Null, others) => mismatch(root, others, value, &at),
                    (field, _) => mismatch(root, field, value, &at),
                }
            })
        }
        _ => None,
    }
}

#[test]
fn a_response_with_another_shape_is_found() {
    let schema = json!({
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"anyOf": [{"type": "null"}, {"type": "string"}]}},
        "required": ["a"],
        "$defs": {"A": {"type": "array", "items": {"type": "integer"}}},
    });
    let shape = |value: Value| mismatch(&schema, &schema, &value, "x");
    assert_eq!(shape(json!({"a": [1], "b": null})), None);
    for wrong in [
        json!({}),
        json!({"a": 1}),
        json!({"a": ["1"]}),
        json!({"a": [], "c": 1}),
        json!({"a": [], "b": 1}),
    ] {
        assert!(shape(wrong.clone()).is_some(), "{wrong}");
    }
}

fn document() -> Value {
    openapi::document(routes::all())
}

#[tokio::test]
async fn a_node_serves_the_document() {
    let running = Running::start(Guest::Counter).await;
    let served = running.client.get("/v1/openapi.json").await.json();
    assert_eq!(served, document());
    running.node.shutdown().await;
}

/// Whether an object has these fields with these types, and no others but those in `optional` and extensions.
#[track_caller]
fn has_fields(object: &Value, required: &[(&str, &str)], optional: &[&str]) {
    let fields = object.as_object().expect("an object");
    for (name, kind) in required {
        let found = match fields.get(*name) {
            Some(Value::String(text)) if !text.is_empty() => "string",
            Some(Value::Object(_)) => "object",
            Some(Value::Bool(_)) => "boolean",
            Some(Value::Array(_)) => "array",
            _ => "nothing",
        };
        assert_eq!(found, *kind, "{name}: {object:#}");
    }
    for name in fields.keys() {
        let known = required.iter().any(|(required, _)| required == name)
            || optional.contains(&name.as_str())
            || name.starts_with("x-");
        assert!(known, "OpenAPI has no field {name} here: {object:#}");
    }
}

/// The rules of OpenAPI 3.1.0, sections 4.8.1 to 4.8.24, as far as the document uses them.
#[test]
fn the_document_has_the_structure_of_openapi_3_1() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let root = [
        ("openapi", "string"),
        ("info", "object"),
        ("paths", "object"),
        ("components", "object"),
        ("servers", "array"),
    ];
    has_fields(&document, &root, &[]);
    let info = [("title", "string"), ("version", "string")];
    has_fields(&document["info"], &info, &["description", "license"]);
    let license = [("name", "string"), ("identifier", "string")];
    has_fields(&document["info"]["license"], &license, &[]);
    let components = [("schemas", "object"), ("securitySchemes", "object")];
    has_fields(&document["components"], &components, &[]);
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("an object") {
        assert!(path.starts_with('/'), "{path}");
        for (method, operation) in item.as_object().expect("an object") {
            found.insert((path.clone(), method.to_uppercase()));
            check_operation(operation);
        }
    }
    let wanted = routes::all().map(|route| (route.path.to_owned(), route.method.to_owned()));
    assert_eq!(found, wanted.collect());
}

/// Each way in which a client proves who it is has the role of the table, and both are described.
#[test]
fn each_operation_has_the_role_of_its_route() {
    let document = document();
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["certificate"]["type"], "mutualTLS");
    assert_eq!(schemes["token"]["type"], "http");
    assert_eq!(schemes["token"]["scheme"], "bearer");
    for route in routes::all() {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        let roles = match route.access {
            Access::Open => {
                assert_eq!(operation["security"], json!([]), "{}", route.path);
                continue;
            }
            Access::Known => json!([]),
            Access::Role(role) | Access::Unscoped(role) => json!([role.to_string()]),
        };
        let expected = json!([{"certificate": roles}, {"token": roles}]);
        assert_eq!(operation["security"], expected, "{}", route.path);
    }
}

fn check_operation(operation: &Value) {
    let required = [
        ("operationId", "string"),
        ("summary", "string"),
        ("parameters", "array"),
        ("responses", "object"),
        ("security", "array"),
    ];
    has_fields(operation, &required, &["description", "requestBody"]);
    for parameter in operation["parameters"].as_array().expect("a list") {
        let required = [
            ("name", "string"),
            ("in", "string"),
            ("required", "boolean"),
            ("description", "string"),
            ("schema", "object"),
        ];
        has_fields(parameter, &required, &["example"]);
        let (schema, example) = (&parameter["schema"], &parameter["example"]);
        check(schema, example, &parameter["name"].to_string());
        let place = parameter["in"].as_str().expect("text");
        assert!(["path", "query", "header"].contains(&place), "{place}");
    }
    if let Some(body) = operation.get("requestBody") {
        let required = [
            ("description", "string"),
            ("required", "boolean"),
            ("content", "object"),
        ];
        has_fields(body, &required, &[]);
        check_content(&body["content"]);
    }
    for (status, response) in operation["responses"].as_object().expect("an object") {
        let status: u16 = status.parse().expect("a status");
        assert!((200..600).contains(&status));
        has_fields(
            response,
            &[("description", "string"), ("content", "object")],
            &["headers"],
        );
        check_content(&response["content"]);
        let headers = response["headers"].as_object().into_iter().flatten();
        for (_, header) in headers {
            let required = [("description", "string"), ("schema", "object")];
            has_fields(header, &required, &["example"]);
        }
    }
}

fn check_content(content: &Value) {
    let content = content.as_object().expect("an object");
    assert!(!content.is_empty());
    for (media_type, described) in content {
        assert!(media_type.contains('/'), "{media_type}");
        has_fields(described, &[], &["schema", "example"]);
    }
}

/// Calls `visit` for each object in the document.
fn walk(value: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            visit(fields);
            fields.values().for_each(|field| walk(field, visit));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

#[test]
fn every_reference_of_the_document_resolves_and_names_are_unique() {
    let document = document();
    let mut names = BTreeSet::new();
    walk(&document, &mut |fields| {
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        if let Some(name) = fields.get("operationId") {
            assert!(names.insert(name.to_string()), "{name} is there twice");
        }
    });
    for (path, item) in document["paths"].as_object().expect("an object") {
        for (method, operation) in item.as_object().expect("an object") {
            let in_path = operation["parameters"].as_array().expect("a list").iter();
            let in_path = in_path.filter(|parameter| parameter["in"] == "path");
            let named: Vec<String> = in_path
                .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap_or_default()))
                .collect();
            assert_eq!(path.matches('{').count(), named.len(), "{method} {path}");
            assert!(named.iter().all(|name| path.contains(name)), "{path}");
        }
    }
}
