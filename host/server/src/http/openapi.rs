//! The OpenAPI 3.1 document, from the descriptions of the routes.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::error::ErrorBody;
use super::error_code::{ErrorCode, RetryClass};
use super::reference::{
    Access, BodySpec, HeaderSpec, ParameterPlace, ParameterSpec, ReplySpec, RouteSpec,
};

const ABOUT: &str = "Oarlock replicates a state machine, the guest, on the nodes of a cluster. Every node serves every route, and a \
    follower forwards a request to the leader where that is needed. Commands, queries and their replies are passed on unchanged. \
    The page `host/docs/http.md` of the source tree contains the same with examples, and how a client retries.";

/// Names of the two ways in which a client proves who it is.
const CERTIFICATE: &str = "certificate";
const TOKEN: &str = "token";

/// The schemas of all bodies. Requests and responses are described differently: a field of a request can have a default.
struct Schemas {
    requests: SchemaGenerator,
    responses: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.meta_schema = None;
                settings.definitions_path = "/components/schemas".into();
            })
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            responses: settings().for_serialize().into_generator(),
        }
    }

    /// A reference to the schema of a type of responses.
    fn response<T: JsonSchema>(&mut self) -> Value {
        self.responses.subschema_for::<T>().into()
    }

    fn into_definitions(mut self) -> Map<String, Value> {
        let mut definitions = self.requests.take_definitions(true);
        definitions.extend(self.responses.take_definitions(true));
        definitions
    }
}

/// The document for these routes.
pub(super) fn document<'r>(routes: impl IntoIterator<Item = &'r RouteSpec>) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        let method = route.method.to_lowercase();
        let operation = operation(route, &mut schemas);
        paths
            .entry(route.path)
            .or_default()
            .insert(method, operation);
    }
    let classes = RetryClass::ALL.iter();
    let classes: BTreeMap<&str, &str> = classes
        .map(|class| (class.name(), class.advice()))
        .collect();
    let errors = ErrorCode::ALL.iter();
    let errors: Vec<Value> = errors
        .map(|code| {
            json!({
                "code": code.as_str(),
                "status": code.status().as_u16(),
                "retry": code.retry().name(),
                "meaning": code.meaning(),
            })
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Oarlock",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "servers": [{"url": "/", "description": "the client address of any node"}],
        "paths": paths,
        "components": {
            "schemas": schemas.into_definitions(),
            "securitySchemes": security_schemes(),
        },
        "x-oarlock-errors": errors,
        "x-oarlock-retry": classes,
    })
}

/// How a client proves who it is, to a node that uses TLS. A node without it asks for nothing.
fn security_schemes() -> Value {
    json!({
        CERTIFICATE: {
            "type": "mutualTLS",
            "description": "The certificate of a client, which `oarlock cert client` makes. The roles are in it. Only nodes with \
                            certificates ask for one.",
        },
        TOKEN: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "oarlock1",
            "description": "A token, which `oarlock token create` makes. The roles are in it. It takes precedence over a certificate. Only \
                            nodes with certificates ask for one.",
        },
    })
}

/// What a client needs for a route: a certificate or a token, with a role. Without a role in the list, any is enough. OpenAPI 3.1
/// (section 4.8.30) allows names of roles here.
fn security(access: Access) -> Value {
    let roles = match access {
        Access::Open => return json!([]),
        Access::Known => Vec::new(),
        Access::Role(role) | Access::Unscoped(role) => vec![role.name()],
    };
    json!([{ CERTIFICATE: roles }, { TOKEN: roles }])
}

fn operation(route: &RouteSpec, schemas: &mut Schemas) -> Value {
    let parameters = route.parameters.iter().map(parameter);
    let headers = route.headers.iter().map(|header| request_header(header));
    let parameters: Vec<Value> = parameters.chain(headers).collect();
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses(route, schemas),
        "security": security(route.access),
        "x-oarlock-repeat": {"when": route.repeat.name(), "advice": route.repeat.advice()},
    });
    if !route.details.is_empty() {
        operation["description"] = route.details.into();
    }
    if let Some(body) = request_body(route.body, schemas) {
        operation["requestBody"] = body;
    }
    operation
}

fn parameter(parameter: &ParameterSpec) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place.name(),
        "required": parameter.place == ParameterPlace::Path,
        "description": parameter.meaning,
        "schema": parameter.value.schema(),
        "example": parameter.value.in_json(parameter.example),
    })
}

fn request_header(header: &HeaderSpec) -> Value {
    json!({
        "name": header.name,
        "in": "header",
        "required": false,
        "description": header.meaning,
        "schema": header.value.schema(),
        "example": header.value.in_json(header.example),
    })
}

/// Headers of a response.
fn response_headers(headers: &[&HeaderSpec]) -> Value {
    let headers = headers.iter().map(|header| {
        let described = json!({
            "description": header.meaning,
            "schema": header.value.schema(),
            "example": header.value.in_json(header.example),
        });
        (header.name.to_owned(), described)
    });
    Value::Object(headers.collect())
}

fn request_body(body: BodySpec, schemas: &mut Schemas) -> Option<Value> {
    let (media_type, content, description, required) = match body {
        BodySpec::None => return None,
        BodySpec::Guest(what) => (
            "application/octet-stream",
            json!({}),
            format!("One {what}, in the format of the guest, for example JSON."),
            true,
        ),
        BodySpec::Module => (
            "application/wasm",
            json!({}),
            "A WebAssembly component, or a core module with embedded WIT.".to_owned(),
            true,
        ),
        BodySpec::Json {
            schema,
            example,
            optional,
        } => {
            let schema = schema(&mut schemas.requests);
            let example: Value = serde_json::from_str(example).unwrap_or_default();
            (
                "application/json",
                json!({"schema": schema, "example": example}),
                "Up to 64 KiB.".to_owned(),
                !optional,
            )
        }
    };
    let mut contents = Map::new();
    contents.insert(media_type.to_owned(), content);
    Some(json!({"description": description, "required": required, "content": contents}))
}

fn responses(route: &RouteSpec, schemas: &mut Schemas) -> Value {
    let mut responses = BTreeMap::new();
    let headers = response_headers(route.reply_headers);
    let (description, content) = match route.reply {
        ReplySpec::Guest => ("The reply of the guest.", guest_bytes()),
        ReplySpec::Json(schema) => (
            "Done.",
            json!({"application/json": {"schema": schema(&mut schemas.responses)}}),
        ),
        ReplySpec::Document(meaning) => (
            meaning,
            json!({"application/json": {"schema": {"type": "object"}}}),
        ),
        ReplySpec::Other {
            media_type,
            meaning,
        } => {
            let mut content = Map::new();
            content.insert(media_type.to_owned(), json!({}));
            (meaning, Value::Object(content))
        }
    };
    let done = json!({"description": description, "headers": headers.clone(), "content": content});
    responses.insert("200".to_owned(), done);
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in route.errors {
        let codes = by_status.entry(code.status().as_u16()).or_default();
        codes.push(*code);
    }
    for (status, codes) in by_status {
        let error = error_response(&codes, schemas);
        responses.insert(status.to_string(), error);
    }
    if matches!(route.reply, ReplySpec::Guest) {
        let rejection = responses
            .entry("422".to_owned())
            .or_insert_with(|| json!({"description": "", "content": {}}));
        let others = rejection["description"].as_str().unwrap_or_default();
        rejection["description"] = format!("The guest refused it; the body is its reply. {others}")
            .trim_end()
            .into();
        rejection["headers"] = headers;
        // Any JSON: an error of the host has the header `Oarlock-Index` never, a reply of the guest always.
        rejection["content"] = guest_bytes();
    }
    json!(responses)
}

/// Bytes of a guest: `application/json` if its codec is JSON.
fn guest_bytes() -> Value {
    json!({"application/json": {}, "application/octet-stream": {}})
}

fn error_response(codes: &[ErrorCode], schemas: &mut Schemas) -> Value {
    let meanings = codes
        .iter()
        .map(|code| format!("`{}`: {}", code.as_str(), code.meaning()));
    let listed: Vec<Value> = codes
        .iter()
        .map(|code| json!({"code": code.as_str(), "retry": code.retry().name()}))
        .collect();
    let mut response = json!({
        "description": meanings.collect::<Vec<_>>().join(" "),
        "content": {"application/json": {"schema": schemas.response::<ErrorBody>()}},
        "x-oarlock-codes": listed,
    });
    if codes.iter().any(|code| code.has_retry_after()) {
        response["headers"] = json!({
            "Retry-After": {
                "description": "Pause before the next attempt, in seconds.",
                "schema": {"type": "integer", "minimum": 1},
            }
        });
    }
    response
}
