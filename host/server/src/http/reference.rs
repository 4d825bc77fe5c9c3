//! The description of a route: from it come the router, the OpenAPI document and `host/docs/http.md`.

use std::sync::Arc;

use axum::routing::MethodRouter;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::app::App;
use super::error_code::ErrorCode;
use crate::access::AccessRole;

/// One method of one path.
pub(super) struct RouteSpec {
    /// `GET`, `POST` or `DELETE`.
    pub(super) method: &'static str,
    /// The path, with parameters in braces.
    pub(super) path: &'static str,
    /// Who may send the request, if the node uses TLS.
    pub(super) access: Access,
    /// Unique name, for generated clients.
    pub(super) name: &'static str,
    /// One line.
    pub(super) summary: &'static str,
    /// Markdown. May be empty.
    pub(super) details: &'static str,
    /// Handles the requests.
    pub(super) handler: fn() -> MethodRouter<Arc<App>>,
    pub(super) parameters: &'static [ParameterSpec],
    /// Headers of the request.
    pub(super) headers: &'static [&'static HeaderSpec],
    pub(super) body: BodySpec,
    /// The response with status 200.
    pub(super) reply: ReplySpec,
    /// Headers of the response with status 200, besides `Content-Type`.
    pub(super) reply_headers: &'static [&'static HeaderSpec],
    /// All errors that it can respond with, except those of unknown paths and methods.
    pub(super) errors: &'static [ErrorCode],
    pub(super) repeat: Repeat,
}

/// Who may send a request to a node that uses TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everyone.
    Open,
    /// Everyone with a certificate or a token.
    Known,
    /// Those with this role.
    Role(AccessRole),
    /// Those with this role whose token has no scopes: the response contains what the guest can't limit to scopes.
    Unscoped(AccessRole),
}

/// Where a parameter is in the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParameterPlace {
    Path,
    Query,
}

impl ParameterPlace {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
        }
    }
}

/// A parameter in the URL. Those in the path are required, the others are optional.
pub(super) struct ParameterSpec {
    pub(super) place: ParameterPlace,
    pub(super) name: &'static str,
    pub(super) value: ValueSpec,
    /// A valid value.
    pub(super) example: &'static str,
    pub(super) meaning: &'static str,
}

/// A header of a request or a response.
pub(super) struct HeaderSpec {
    pub(super) name: &'static str,
    pub(super) value: ValueSpec,
    /// A valid value.
    pub(super) example: &'static str,
    pub(super) meaning: &'static str,
}

/// The values of a parameter or a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueSpec {
    /// Text with so many bytes.
    Text { least: u64, most: u64 },
    /// Text that matches a regular expression.
    Pattern(&'static str),
    /// An integer in this range. `default` applies to a request without it.
    Integer {
        least: u64,
        most: u64,
        default: Option<u64>,
    },
    /// `true` or `false`, which is the default.
    Flag,
    /// One of these; the first is the default.
    OneOf(&'static [&'static str]),
}

impl ValueSpec {
    /// A value in JSON, from its text in a URL or a header.
    pub(super) fn in_json(self, text: &str) -> Value {
        match self {
            Self::Integer { .. } | Self::Flag => serde_json::from_str(text).unwrap_or_default(),
            Self::Text { .. } | Self::Pattern(_) | Self::OneOf(_) => text.into(),
        }
    }

    /// The values as a JSON Schema.
    pub(super) fn schema(self) -> Value {
        match self {
            Self::Text { least, most } => {
                json!({"type": "string", "minLength": least, "maxLength": most})
            }
            Self::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
            Self::Integer {
                least,
                most,
                default,
            } => {
                let mut schema = json!({"type": "integer", "minimum": least, "maximum": most});
                if let Some(default) = default {
                    schema["default"] = default.into();
                }
                schema
            }
            Self::Flag => json!({"type": "boolean", "default": false}),
            Self::OneOf(values) => {
                json!({"type": "string", "enum": values, "default": values.first()})
            }
        }
    }
}

/// Adds the schema of a type to the document and returns a reference to it.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The body of a request.
#[derive(Clone, Copy)]
pub(super) enum BodySpec {
    None,
    /// A command or a query, in the format of the guest. The text is what it is.
    Guest(&'static str),
    /// A WebAssembly module.
    Module,
    /// A JSON object of up to 64 KiB. `optional`: without a body, the fields have their defaults.
    Json {
        schema: SchemaOf,
        example: &'static str,
        optional: bool,
    },
}

/// The body of a response with status 200.
#[derive(Clone, Copy)]
pub(super) enum ReplySpec {
    /// Bytes of the guest. A rejection by the guest is the same with status 422.
    Guest,
    /// A JSON object.
    Json(SchemaOf),
    /// A JSON document that is described elsewhere.
    Document(&'static str),
    /// Another media type, and what it is.
    Other {
        media_type: &'static str,
        meaning: &'static str,
    },
}

/// Whether a client may send a request again that may have been carried out: after `timeout`, or if the connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Yes: the request changes nothing.
    ReadOnly,
    /// Yes: the request names the state to reach.
    Idempotent,
    /// With the same `Idempotency-Key`.
    WithKey,
    /// On this condition.
    If(&'static str),
}

impl Repeat {
    /// Its name in the OpenAPI document.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Idempotent => "idempotent",
            Self::WithKey => "with_key",
            Self::If(_) => "conditional",
        }
    }

    /// What a client may do.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::ReadOnly => "Safe to send again, to any node: it changes nothing.",
            Self::Idempotent => {
                "Safe to send again, to any node: the request names the state to reach."
            }
            Self::WithKey => {
                "Safe to send again, to any node, with the same `Idempotency-Key` and the same body. Without a key, send a query \
                 first that shows whether the command was applied."
            }
            Self::If(condition) => condition,
        }
    }
}
