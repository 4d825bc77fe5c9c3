//! Content of a task: JSON, kept as its text, or bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oarlock_guest::{JsonText, Refusal};
use serde::{Deserialize, Serialize};

use crate::refuse::{bad_command, out_of_range};

/// The content of a task. The queue never reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Any JSON value, as its original text.
    Json(JsonText),
    /// Any bytes. Clients send and receive them in base64.
    Bytes(Box<[u8]>),
}

impl Payload {
    /// The payload of an enqueue, from the two fields that can hold it.
    pub(crate) fn from_fields(
        json: Option<JsonText>,
        base64: Option<&str>,
    ) -> Result<Self, Refusal> {
        match (json, base64) {
            (Some(json), None) => Ok(Self::Json(json)),
            (None, Some(text)) => STANDARD
                .decode(text)
                .map(|bytes| Self::Bytes(bytes.into()))
                .map_err(|error| {
                    out_of_range(
                        "payload_base64",
                        format!("payload_base64 is not base64: {error}"),
                    )
                }),
            (None, None) => Err(bad_command("enqueue", "missing field `payload`", "payload")),
            (Some(_), Some(_)) => Err(bad_command(
                "enqueue",
                "payload and payload_base64 are both given; give one of them",
                "payload_base64",
            )),
        }
    }

    /// Length of the content, in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(text) => text.as_str().len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether the content has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length in a reply, in bytes.
    pub(crate) fn encoded_len(&self) -> u64 {
        match self {
            Self::Json(text) => text.as_str().len() as u64,
            Self::Bytes(bytes) => 4 * (bytes.len() as u64).div_ceil(3),
        }
    }

    /// The two fields of a reply: JSON, or base64.
    pub(crate) fn to_fields(&self) -> (Option<JsonText>, Option<String>) {
        match self {
            Self::Json(text) => (Some(text.clone()), None),
            Self::Bytes(bytes) => (None, Some(STANDARD.encode(bytes))),
        }
    }
}
