//! JSON text, with refusals that name the field.

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use super::{Codec, EncodeError, Message};
use crate::{Refusal, StateMachine};

/// Longest text of a caller that a refusal repeats, in bytes.
const MAX_QUOTED_BYTES: usize = 200;

/// Messages are JSON text by serde. With an externally tagged enum (serde's default) a command is an
/// object with one key, the command's name.
#[derive(Debug, Clone, Copy)]
pub enum Json {}

impl<M: StateMachine> Codec<M> for Json
where
    M::Command: DeserializeOwned,
    M::Query: DeserializeOwned,
    M::Reply: Serialize,
    M::Answer: Serialize,
    M::Refusal: Serialize,
{
    const NAME: &'static str = "json";

    fn decode_command(bytes: &[u8]) -> Result<M::Command, Refusal> {
        decode(Message::Command, bytes)
    }

    fn decode_query(bytes: &[u8]) -> Result<M::Query, Refusal> {
        decode(Message::Query, bytes)
    }

    fn encode_reply(reply: &M::Reply, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode("reply", reply, out)
    }

    fn encode_answer(answer: &M::Answer, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode("answer", answer, out)
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

/// Reads a message. Following the path costs time, so that is done only for one that does not decode.
fn decode<T: DeserializeOwned>(message: Message, bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        match serde_path_to_error::deserialize::<_, T>(&mut reader) {
            Err(found) => explain(message, bytes, found.inner(), found.path()),
            // The value is whole, so what is wrong stands after it.
            Ok(_) => refuse_syntax(message, bytes, &error),
        }
    })
}

fn explain(message: Message, bytes: &[u8], error: &serde_json::Error, path: &Path) -> Refusal {
    if error.classify() != Category::Data {
        return refuse_syntax(message, bytes, error);
    }
    let text = error.to_string();
    // The position is that of the decoder, and says less than the name of the field.
    let text = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(before, _)| before);
    let mut segments = path.iter().peekable();
    let mut called = None;
    if let Some(Segment::Enum { variant }) = segments.peek() {
        called = Some(bounded(variant));
        segments.next();
    }
    let place = join(segments);
    let Some(called) = called else {
        return refuse_whole(message, text, &place);
    };
    let refusal = Refusal::new(
        message.code(),
        bounded(&format!(
            "{} `{called}`: {}",
            message.noun(),
            told(text, &place)
        )),
    );
    match blamed(text, &place) {
        Some(field) => refusal.field(field),
        None => refusal,
    }
}

/// No command was recognized: its name is unknown, or there is no place for one.
fn refuse_whole(message: Message, text: &str, place: &str) -> Refusal {
    let noun = message.noun();
    if let Some(rest) = text.strip_prefix("unknown variant ") {
        let words = bounded(&format!("there is no {noun} {rest}"));
        let refusal = Refusal::new(message.code(), words);
        return match between_ticks(text) {
            Some(name) => refusal.field(bounded(name)),
            None => refusal,
        };
    }
    let words = bounded(&format!(
        "the {noun} does not have the form of one: {}",
        told(text, place)
    ));
    let refusal = Refusal::new(message.code(), words);
    match blamed(text, place) {
        Some(field) => refusal.field(field),
        None => refusal,
    }
}

/// Text that is not JSON, or is JSON and no object with one key where an enum needs that.
fn refuse_syntax(message: Message, bytes: &[u8], error: &serde_json::Error) -> Refusal {
    let noun = message.noun();
    let words = if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        format!(
            "the {noun} does not have the form of one: {error}; send an object whose one key is its name"
        )
    } else {
        format!("the {noun} is not JSON: {error}; send one JSON value that is one {noun}")
    };
    Refusal::new(message.code(), bounded(&words))
}

/// The decoder's words, with the place in front unless they name the field themselves.
fn told(text: &str, place: &str) -> String {
    if place.is_empty() {
        text.to_owned()
    } else {
        format!("`{}`: {text}", bounded(place))
    }
}

/// The path of the field that is to blame.
fn blamed(text: &str, place: &str) -> Option<String> {
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

/// `queues[0].name`, without the parts of the path that have no name.
fn join<'a>(segments: impl Iterator<Item = &'a Segment>) -> String {
    let mut path = String::new();
    for segment in segments {
        match segment {
            Segment::Seq { index } => path.push_str(&format!("[{index}]")),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Segment::Unknown => {}
        }
    }
    path
}

/// At most [`MAX_QUOTED_BYTES`] of a text, cut between characters.
fn bounded(text: &str) -> String {
    if text.len() <= MAX_QUOTED_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_QUOTED_BYTES);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests;
