//! A refusal in the shape that the host's own errors have.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

/// Words for a command or query that is refused. As JSON:
/// `{"error":{"code":"bad_command","message":"…","field":"by"}}`, without `field` where none is to blame.
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
    /// A refusal with a code for programs (`snake_case`, stable) and a message for people (what happened,
    /// why, what to do).
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            field: None,
        }
    }

    /// Names the field that is to blame, as a path within the command: `by`, `queues[0]`.
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

    /// The field that is to blame, if one is.
    pub fn named_field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The refusal as JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts under fixed names always encode")
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: Words<'a>,
        }
        #[derive(Serialize)]
        struct Words<'a> {
            code: &'a str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'a str>,
        }
        let error = Words {
            code: &self.code,
            message: &self.message,
            field: self.field.as_deref(),
        };
        Envelope { error }.serialize(serializer)
    }
}
