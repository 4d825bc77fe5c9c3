//! The codec `json`. A refusal of a malformed message names the field.

mod place;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::api::{Codec, EncodeError, MessageKind};
use crate::machine::StateMachine;
use crate::refusal::Refusal;
use place::{ErrorPlace, Step, is_enum, place_of, unquoted};

/// Most bytes of a client's text that a refusal repeats. Longer text is cut.
const MAX_QUOTED_BYTES: usize = 200;

/// Messages are JSON, read and written by serde. With an externally tagged enum (the default of serde) a command is
/// an object with one key: the name of the command.
#[derive(Debug, Clone, Copy)]
pub enum Json {}

impl<M: StateMachine> Codec<M> for Json
where
    M::Command: DeserializeOwned,
    M::Query: DeserializeOwned,
    M::Reply: Serialize,
    M::Response: Serialize,
    M::Refusal: Serialize,
{
    const NAME: &'static str = "json";

    fn decode_command(bytes: &[u8]) -> Result<M::Command, Refusal> {
        decode(MessageKind::Command, bytes)
    }

    fn decode_query(bytes: &[u8]) -> Result<M::Query, Refusal> {
        decode(MessageKind::Query, bytes)
    }

    fn encode_reply(reply: &M::Reply, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode("reply", reply, out)
    }

    fn encode_response(response: &M::Response, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode("response", response, out)
    }

    fn encode_refusal(refusal: &M::Refusal, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode("refusal", refusal, out)
    }
}

fn encode<T: Serialize>(
    what: &'static str,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    serde_json::to_writer(out, value).map_err(|error| EncodeError {
        what,
        codec: "json",
        source: error.into(),
    })
}

/// Decodes a message. A refusal names the place of the error. It names the object around a field if an error of the field's
/// own `Deserialize` is only known after the object's end.
fn decode<T: DeserializeOwned>(kind: MessageKind, bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| explain(kind, bytes, &error, is_enum::<T>()))
}

fn explain(kind: MessageKind, bytes: &[u8], error: &serde_json::Error, is_enum: bool) -> Refusal {
    if error.classify() != Category::Data {
        return refuse_syntax(kind, bytes, error);
    }
    let text = error.to_string();
    // The position is the decoder's. The name of the field is more useful.
    let text = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(before, _)| before);
    let ErrorPlace {
        mut path,
        is_at_name,
    } = place_of(bytes, error);
    let is_unknown = text.starts_with("unknown variant ")
        && (path.is_empty() || (path.len() == 1 && is_at_name));
    if !is_enum || is_unknown {
        return refuse_unknown(kind, text, &join(&path));
    }
    let name = if path.is_empty() {
        // The message is a text, which is the name alone.
        Some(bytes.trim_ascii())
            .filter(|bytes| bytes.starts_with(b"\""))
            .map(unquoted)
    } else {
        match path.remove(0) {
            Step::Name(name) => Some(name),
            Step::Index(_) => None,
        }
    };
    let place = join(&path);
    let Some(name) = name else {
        return refuse_unknown(kind, text, &place);
    };
    let refusal = Refusal::new(
        kind.code(),
        bounded(&format!(
            "{} `{}`: {}",
            kind.noun(),
            bounded(&name),
            with_place(text, &place)
        )),
    );
    match wrong_field(text, &place) {
        Some(field) => refusal.field(field),
        None => refusal,
    }
}

/// No command was recognized: its name is unknown, or the message has no name.
fn refuse_unknown(kind: MessageKind, text: &str, place: &str) -> Refusal {
    let noun = kind.noun();
    if let Some(rest) = text.strip_prefix("unknown variant ") {
        let reason = bounded(&format!("there is no {noun} {rest}"));
        let refusal = Refusal::new(kind.code(), reason);
        return match between_ticks(text) {
            Some(name) => refusal.field(bounded(name)),
            None => refusal,
        };
    }
    let reason = bounded(&format!(
        "the {noun} has the wrong shape: {}",
        with_place(text, place)
    ));
    let refusal = Refusal::new(kind.code(), reason);
    match wrong_field(text, place) {
        Some(field) => refusal.field(field),
        None => refusal,
    }
}

/// The text is not JSON, or it is JSON but not the object with one key that an enum needs.
fn refuse_syntax(kind: MessageKind, bytes: &[u8], error: &serde_json::Error) -> Refusal {
    let noun = kind.noun();
    let text = if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        format!("the {noun} has the wrong shape: {error}; send an object whose one key is its name")
    } else {
        format!("the {noun} is not JSON: {error}; send one JSON value that is one {noun}")
    };
    Refusal::new(kind.code(), bounded(&text))
}

/// The decoder's message, with the path of the value in front if there is one.
fn with_place(text: &str, place: &str) -> String {
    if place.is_empty() {
        text.to_owned()
    } else {
        format!("`{}`: {text}", bounded(place))
    }
}

/// The path of the field that is wrong, if the error names one.
fn wrong_field(text: &str, place: &str) -> Option<String> {
    const NAMING: [&str; 3] = ["missing field ", "unknown field ", "duplicate field "];
    let named = NAMING
        .iter()
        .any(|start| text.starts_with(start))
        .then(|| between_ticks(text))
        .flatten();
    let path = match named {
        // The decoder may or may not have stepped into the field that it names.
        Some(name) if place == name || place.ends_with(&format!(".{name}")) => place.to_owned(),
        Some(name) if place.is_empty() => name.to_owned(),
        Some(name) => format!("{place}.{name}"),
        None => place.to_owned(),
    };
    (!path.is_empty()).then(|| bounded(&path))
}

fn between_ticks(text: &str) -> Option<&str> {
    let start = text.find('`')? + 1;
    let length = text[start..].find('`')?;
    Some(&text[start..start + length])
}

/// A path as text: `queues[0].name`.
fn join(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Name(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
        }
    }
    text
}

/// The text, cut to at most [`MAX_QUOTED_BYTES`] at a character boundary.
fn bounded(text: &str) -> String {
    if text.len() <= MAX_QUOTED_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_QUOTED_BYTES);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests;
