//! The content of a task, and its form in messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Content of a task: JSON, which is delivered as the same text, or any bytes.
#[derive(Clone, Debug)]
pub enum TaskPayload {
    /// JSON.
    Json(Box<RawValue>),
    /// Bytes. In messages they are in base64.
    Bytes(Bytes),
}

impl TaskPayload {
    /// A value as JSON.
    ///
    /// # Errors
    /// The value has no form in JSON, for example because a key of a map is no string.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self::Json)
    }

    /// A text that is JSON. It is delivered unchanged.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn json_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self::Json)
    }

    /// Any bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// The text of the JSON, or the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(json) => json.get().as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Parses the content as JSON.
    ///
    /// # Errors
    /// It is not JSON, or of another type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.as_bytes())
    }
}

impl Serialize for TaskPayload {
    /// The field `payload` or `payload_base64`. It is flattened into a message.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Json(json) => map.serialize_entry("payload", json)?,
            Self::Bytes(bytes) => map.serialize_entry("payload_base64", &STANDARD.encode(bytes))?,
        }
        map.end()
    }
}

/// The two fields of a payload in a message.
///
/// # Errors
/// `payload_base64` is not base64, or none of the fields is there.
pub(super) fn from_fields<E: serde::de::Error>(
    json: Option<Box<RawValue>>,
    base64: Option<String>,
) -> Result<TaskPayload, E> {
    match (json, base64) {
        (Some(json), _) => Ok(TaskPayload::Json(json)),
        (None, Some(text)) => match STANDARD.decode(text) {
            Ok(bytes) => Ok(TaskPayload::Bytes(bytes.into())),
            Err(error) => Err(E::custom(format!("payload_base64 is not base64: {error}"))),
        },
        (None, None) => Err(E::missing_field("payload")),
    }
}

/// A field that is there: `null` is JSON, too.
pub(super) fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer)
        .map(Some)
        .map_err(D::Error::custom)
}
