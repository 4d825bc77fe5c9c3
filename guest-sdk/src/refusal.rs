//! A ready-made refusal with the JSON shape of the host's own errors.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

/// The reason why a guest refuses a command or a query. As JSON:
/// `{"error":{"code":"bad_command","message":"…","field":"by"}}`; `field` is omitted if no field is wrong.
///
/// ```
/// use oarlock_guest::Refusal;
/// let refusal = Refusal::new("overdrawn", "the account holds 3, not 5").field("amount");
/// assert_eq!(
///     refusal.to_json(),
///     r#"{"error":{"code":"overdrawn","message":"the account holds 3, not 5","field":"amount"}}"#
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    code: Cow<'static, str>,
    message: String,
    field: Option<String>,
}

impl Refusal {
    /// A refusal with a code for programs (`snake_case`, stable) and a message for people (what happened, why, what to
    /// do).
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            field: None,
        }
    }

    /// Names the field that is wrong, as a path in the command: `by`, `queues[0]`.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The code for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Path of the field that is wrong, if there is one.
    pub fn named_field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The refusal as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of strings always encodes")
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Refusal {
    fn schema_name() -> Cow<'static, str> {
        "Refusal".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "properties": {
                "error": {
                    "type": "object",
                    "properties": {
                        "code": {"type": "string"},
                        "message": {"type": "string"},
                        "field": {"type": "string"},
                    },
                    "required": ["code", "message"],
                },
            },
            "required": ["error"],
        })
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct RefusalBody<'a> {
            error: RefusalFields<'a>,
        }
        #[derive(Serialize)]
        struct RefusalFields<'a> {
            code: &'a str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'a str>,
        }
        let error = RefusalFields {
            code: &self.code,
            message: &self.message,
            field: self.field.as_deref(),
        };
        RefusalBody { error }.serialize(serializer)
    }
}
