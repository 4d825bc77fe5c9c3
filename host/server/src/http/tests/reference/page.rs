//! `host/docs/http.md`, `host/docs/http-reference.md` and the table of `README.md`: the parts between the markers are made from
//! the table.
//!
//! To write them again after a change of the table:
//! `OARLOCK_UPDATE_DOCS=1 cargo test --workspace --bin oarlock -- the_page_is_made_from_the_table`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::GENERAL;
use super::openapi::schema_of;
use crate::http::error_code::{ErrorCode, RetryClass};
use crate::http::reference::{
    Access, BodySpec, HeaderSpec, ParameterSpec, ReplySpec, RouteSpec, SchemaOf, ValueSpec,
};
use crate::http::routes;
use crate::settings::HttpSettings;

const UPDATE: &str = "OARLOCK_UPDATE_DOCS";

/// The page for readers who begin.
const PAGE: &str = "http.md";
/// The page with each route.
const REFERENCE: &str = "http-reference.md";
/// Where all pages begin, which has the responses to a command.
const README: &str = "../../README.md";

fn file(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(page)
}

fn read(page: &str) -> String {
    std::fs::read_to_string(file(page)).unwrap_or_else(|error| panic!("host/docs/{page}: {error}"))
}

/// The generated parts of a page by name.
fn parts(page: &str) -> Vec<(&'static str, String)> {
    match page {
        REFERENCE => vec![("reference", routes::all().map(route).collect())],
        README => vec![("responses to a command", responses_to_a_command())],
        _ => vec![
            ("routes", overview()),
            ("headers", headers()),
            ("retry", retry()),
            ("errors", errors()),
            (
                "general errors",
                format!("{}\n", error_list(&by_status(&GENERAL))),
            ),
        ],
    }
}

#[test]
fn the_page_is_made_from_the_table() {
    for page in [PAGE, REFERENCE, README] {
        let written = read(page);
        let mut wanted = written.clone();
        for (name, part) in parts(page) {
            wanted = replaced(&wanted, name, &part);
        }
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(file(page), &wanted).expect("writable");
        } else {
            assert!(
                written == wanted,
                "host/docs/{page} differs from the table in host/server/src/http/routes: run this test with {UPDATE}=1"
            );
        }
    }
}

#[test]
fn the_page_has_the_limits_of_connections() {
    let page = read(PAGE);
    let http = HttpSettings::default();
    for sentence in [
        format!("closed after {} seconds", http.idle_timeout.as_secs()),
        format!("within {} seconds", http.body_timeout.as_secs()),
        format!("by default {},000", http.max_connections / 1000),
    ] {
        assert!(page.contains(&sentence), "{sentence}");
    }
}

/// The page with another text between the markers of a part.
fn replaced(page: &str, name: &str, part: &str) -> String {
    let (begin, end) = (
        format!("<!-- begin: {name} -->\n"),
        format!("<!-- end: {name} -->\n"),
    );
    let split = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) = split.unwrap_or_else(|| panic!("the page has no markers of {name}"));
    format!("{before}{begin}{part}{end}{after}")
}

#[test]
fn a_part_of_the_page_is_replaced_and_nothing_else() {
    let page = "a\n<!-- begin: x -->\nold\n<!-- end: x -->\nb\n";
    let new = replaced(page, "x", "new\n");
    assert_eq!(new, page.replace("old", "new"));
}

/// A table in Markdown. Empty without rows.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut lines = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        lines.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    if lines.is_empty() {
        return lines;
    }
    let (names, rule) = (head.join(" | "), "---|".repeat(head.len()));
    format!("| {names} |\n|{rule}\n{lines}")
}

fn overview() -> String {
    let rows = routes::all().map(|route| {
        let link = format!(
            "[`{} {}`]({REFERENCE}#{})",
            route.method,
            route.path,
            anchor(route)
        );
        vec![link, role(route.access), route.summary.to_owned()]
    });
    table(&["route", "role", "what it does"], rows)
}

/// The id that a renderer gives to the heading of a route.
fn anchor(route: &RouteSpec) -> String {
    let heading = format!("{} {}", route.method, route.path).to_lowercase();
    heading
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            'a'..='z' | '0'..='9' | '-' | '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// The headers of all routes, each once.
fn headers() -> String {
    let mut known: BTreeMap<(bool, &str), &HeaderSpec> = BTreeMap::new();
    for route in routes::all() {
        for header in route.headers {
            known.entry((false, header.name)).or_insert(header);
        }
        for header in route.reply_headers {
            known.entry((true, header.name)).or_insert(header);
        }
    }
    let rows = known.into_iter().map(|((in_reply, _), header)| {
        let place = if in_reply { "response" } else { "request" };
        vec![
            format!("`{}`", header.name),
            place.to_owned(),
            value(header.value),
            header.meaning.to_owned(),
        ]
    });
    table(&["header", "in", "value", "meaning"], rows)
}

fn value(value: ValueSpec) -> String {
    match value {
        ValueSpec::Text { least: 0, most } => format!("text, up to {most} bytes"),
        ValueSpec::Text { least, most } => format!("text, {least} to {most} bytes"),
        ValueSpec::Pattern(pattern) => format!("`{pattern}`"),
        ValueSpec::Integer {
            least,
            most: u64::MAX,
            ..
        } => format!("integer from {least}"),
        ValueSpec::Integer {
            least,
            most,
            default: None,
        } => format!("{least} to {most}"),
        ValueSpec::Integer {
            least,
            most,
            default: Some(default),
        } => format!("{least} to {most}, by default {default}"),
        ValueSpec::Flag => "`true` or `false`, by default `false`".to_owned(),
        ValueSpec::OneOf(values) => {
            let listed: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            let default = values.first().copied().unwrap_or_default();
            format!("{}, by default `{default}`", listed.join(" or "))
        }
    }
}

fn retry() -> String {
    let rows = RetryClass::ALL.into_iter().map(|class| {
        let name = format!("`{}`", class.name());
        vec![name, class.advice().to_owned()]
    });
    table(&["class", "what a client does"], rows)
}

fn errors() -> String {
    let rows = ErrorCode::ALL.iter().map(|code| {
        vec![
            code.status().as_u16().to_string(),
            format!("`{}`", code.as_str()),
            code.meaning().to_owned(),
            format!("`{}`", code.retry().name()),
        ]
    });
    table(&["status", "code", "meaning", "retry"], rows)
}

/// The responses to `POST /v1/apply`: its own errors and those of every route, by what a client does then.
fn responses_to_a_command() -> String {
    let apply = routes::all().find(|route| route.path == "/v1/apply");
    let own = apply.expect("there is such a route").errors;
    let row = |status: &str, meaning: &str| vec![status.to_owned(), meaning.to_owned()];
    let mut rows = vec![
        row(
            "200",
            "Applied. The body is the reply of the guest; `Oarlock-Index` is the index of the log entry.",
        ),
        row(
            "422",
            "The guest refused the command. The body is its refusal; the state did not change.",
        ),
    ];
    for class in RetryClass::ALL {
        let codes = own.iter().chain(&GENERAL).copied();
        let codes: Vec<ErrorCode> = codes.filter(|code| code.retry() == class).collect();
        if !codes.is_empty() {
            rows.push(row(&error_list(&by_status(&codes)), class.advice()));
        }
    }
    table(&["status of `/v1/apply`", "meaning"], rows)
}

fn by_status(codes: &[ErrorCode]) -> Vec<ErrorCode> {
    let mut codes = codes.to_vec();
    codes.sort_by_key(|code| code.status());
    codes
}

#[test]
fn the_readme_has_every_error_of_a_command_once() {
    let apply = routes::all().find(|route| route.path == "/v1/apply");
    let own = apply.expect("there is such a route").errors;
    let named = |code: &ErrorCode| format!("`{}`", code.as_str());
    let wanted: BTreeSet<String> = own.iter().chain(&GENERAL).map(named).collect();
    let page = read(README);
    let begin = page.find("| status of `/v1/apply` |").expect("the table");
    let lines = page[begin..].lines().skip(2);
    let statuses: Vec<&str> = lines
        .map_while(|line| line.strip_prefix("| ")?.split(" | ").next())
        .collect();
    let found: Vec<&str> = statuses
        .iter()
        .flat_map(|status| status.split([' ', ',']))
        .filter(|word| word.starts_with('`'))
        .collect();
    let unique: BTreeSet<String> = found.iter().map(|&word| word.to_owned()).collect();
    assert_eq!(unique.len(), found.len(), "{found:?}");
    assert_eq!(unique, wanted);
}

fn route(route: &RouteSpec) -> String {
    let mut text = format!(
        "\n### `{} {}`\n\n{}\n",
        route.method, route.path, route.summary
    );
    if !route.details.is_empty() {
        text.push_str(&format!("\n{}\n", route.details));
    }
    let parameters = route.parameters.iter().map(parameter);
    let headers = route.headers.iter().map(|header| request_header(header));
    let inputs = table(&["input", "value", "meaning"], parameters.chain(headers));
    if !inputs.is_empty() {
        text.push_str(&format!("\n{inputs}"));
    }
    text.push_str(&body(route.body));
    text.push_str(&reply(route));
    if !route.errors.is_empty() {
        text.push_str(&format!("\nErrors: {}.\n", error_list(route.errors)));
    }
    text.push_str(&format!(
        "\nAfter a broken connection or `timeout`: {}\n",
        route.repeat.advice()
    ));
    text
}

/// The role that a client needs.
fn role(access: Access) -> String {
    match access {
        Access::Open => "–".to_owned(),
        Access::Known => "any".to_owned(),
        Access::Role(role) | Access::Unscoped(role) => format!("`{role}`"),
    }
}

fn parameter(parameter: &ParameterSpec) -> Vec<String> {
    vec![
        format!("`{}`, in the {}", parameter.name, parameter.place.name()),
        value(parameter.value),
        parameter.meaning.to_owned(),
    ]
}

fn request_header(header: &HeaderSpec) -> Vec<String> {
    vec![
        format!("header `{}`", header.name),
        value(header.value),
        header.meaning.to_owned(),
    ]
}

fn body(body: BodySpec) -> String {
    match body {
        BodySpec::None => String::new(),
        BodySpec::Guest(what) => format!("\nRequest: one {what}, in the format of the guest.\n"),
        BodySpec::Module => {
            "\nRequest: a WebAssembly component, or a core module with embedded WIT.\n".to_owned()
        }
        BodySpec::Json {
            schema,
            example,
            optional,
        } => {
            let needed = if optional {
                " The body is optional."
            } else {
                ""
            };
            format!(
                "\nRequest: JSON, up to 64 KiB, for example `{example}`.{needed}\n\n{}",
                fields_of(schema, false)
            )
        }
    }
}

fn reply(route: &RouteSpec) -> String {
    match route.reply {
        ReplySpec::Guest => {
            "\nResponse: 200 with the reply of the guest, or 422 with its refusal.\n".to_owned()
        }
        ReplySpec::Json(schema) => format!("\nResponse: JSON.\n\n{}", fields_of(schema, true)),
        ReplySpec::Document(meaning) => format!("\nResponse: `application/json`. {meaning}\n"),
        ReplySpec::Other {
            media_type,
            meaning,
        } => format!("\nResponse: `{media_type}`. {meaning}\n"),
    }
}

/// Statuses with their codes, in the order of the table.
fn error_list(codes: &[ErrorCode]) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut last = None;
    for code in codes {
        let status = code.status().as_u16();
        let name = format!("`{}`", code.as_str());
        match texts.last_mut().filter(|_| last == Some(status)) {
            Some(text) => text.push_str(&format!(", {name}")),
            None => texts.push(format!("{status} {name}")),
        }
        last = Some(status);
    }
    texts.join(" · ")
}

/// The fields of a type, those of inner objects included.
fn fields_of(schema: SchemaOf, in_response: bool) -> String {
    let root = if in_response {
        schema_of(schema)
    } else {
        let mut generator = SchemaSettings::draft2020_12()
            .for_deserialize()
            .into_generator();
        let mut root: Value = schema(&mut generator).into();
        root["$defs"] = Value::Object(generator.take_definitions(true));
        root
    };
    let mut rows = Vec::new();
    add_fields(&root, &root, "", &mut rows);
    table(&["field", "type", "meaning"], rows)
}

/// The schema that a schema refers to, if it does.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let reference = schema["$ref"].as_str();
    let found = reference.and_then(|reference| root.pointer(reference.trim_start_matches('#')));
    found.unwrap_or(schema)
}

/// The schema of a value that is not null.
fn not_null<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let any = schema["anyOf"].as_array().into_iter().flatten();
    let mut others = any.filter(|one| one["type"] != "null");
    resolved(root, others.next().unwrap_or(schema))
}

fn add_fields(root: &Value, schema: &Value, at: &str, rows: &mut Vec<Vec<String>>) {
    let schema = not_null(root, schema);
    let fields = schema["properties"].as_object().into_iter().flatten();
    for (name, field) in fields {
        let name = format!("{at}{name}");
        let meaning = field["description"].as_str();
        let meaning = meaning.or_else(|| not_null(root, field)["description"].as_str());
        rows.push(vec![
            format!("`{name}`"),
            type_of(
                root,
                schema,
                field,
                name.rsplit('.').next().unwrap_or(&name),
            ),
            one_line(meaning.unwrap_or_default()),
        ]);
        // They are in the table of that route.
        if meaning.is_some_and(|meaning| meaning.contains("with the fields of `")) {
            continue;
        }
        let inner = not_null(root, field);
        if inner["properties"].is_object() {
            add_fields(root, inner, &format!("{name}."), rows);
        }
        let item = &inner["items"];
        if resolved(root, item)["properties"].is_object() {
            add_fields(root, item, &format!("{name}[]."), rows);
        }
        let item = &inner["additionalProperties"];
        if resolved(root, item)["properties"].is_object() {
            add_fields(root, item, &format!("{name}.*."), rows);
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn type_of(root: &Value, parent: &Value, field: &Value, name: &str) -> String {
    let schema = not_null(root, field);
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let any = field["anyOf"].as_array().into_iter().flatten();
    let or_null = types.contains(&"null") || any.clone().any(|one| one["type"] == "null");
    let kind = types.into_iter().find(|kind| *kind != "null");
    let mut text = match kind.unwrap_or("any") {
        "array" => {
            let item = resolved(root, &schema["items"]);
            format!("list of {}s", item["type"].as_str().unwrap_or("value"))
        }
        "object" if schema["additionalProperties"].is_object() => "object by name".to_owned(),
        other => other.to_owned(),
    };
    if or_null {
        text.push_str(" or null");
    }
    let required = parent["required"].as_array().into_iter().flatten();
    if !required.into_iter().any(|one| *one == *name) {
        text.push_str(", optional");
    }
    text
}
