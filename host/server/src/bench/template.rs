//! The body of a request, with gaps that each request fills.

use bytes::Bytes;

/// A payload repeats it: characters that JSON does not escape.
const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// The default template for a guest of that name.
pub(super) fn default_for(module: &str, query: bool) -> Option<&'static str> {
    match (module, query) {
        ("task-queue" | "queue", false) => {
            Some(r#"{"enqueue":{"queue":"bench","payload":"{payload}"}}"#)
        }
        ("task-queue" | "queue", true) => Some(r#"{"stats":{}}"#),
        ("kv", false) => Some(r#"{"put":{"key":"bench-{client}-{seq}","value":"{payload}"}}"#),
        ("kv", true) => Some(r#"{"get":{"key":"bench-{client}-{seq}"}}"#),
        ("counter", false) => Some(r#"{"add":{"by":1}}"#),
        ("counter", true) => Some(r#"{"get":{}}"#),
        _ => None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Number,
    Client,
}

/// Text with gaps: `{seq}` is the number of the request, `{client}` that of the connection, `{payload}` a text of a given
/// size. Other braces stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
    /// Upper bound of the length that it renders, in bytes.
    capacity: usize,
}

impl Template {
    /// Reads a template and fills the payload, of `size` bytes.
    pub(super) fn parse(text: &str, size: usize) -> Self {
        let payload: Vec<u8> = ALPHABET.iter().copied().cycle().take(size).collect();
        let mut parts = Vec::new();
        let mut pending = Vec::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{payload}") {
                pending.extend_from_slice(&payload);
                rest = after;
            } else if let Some((part, after)) = gap(rest) {
                parts.extend([Part::Text(std::mem::take(&mut pending)), part]);
                rest = after;
            } else {
                pending.extend_from_slice(&rest.as_bytes()[..character.len_utf8()]);
                rest = &rest[character.len_utf8()..];
            }
        }
        parts.push(Part::Text(pending));
        parts.retain(|part| *part != Part::Text(Vec::new()));
        let capacity = parts
            .iter()
            .map(|part| {
                if let Part::Text(text) = part {
                    text.len()
                } else {
                    20
                }
            })
            .sum();
        Self { parts, capacity }
    }

    /// The body of the request with that number on that connection.
    pub(super) fn render(&self, number: u64, client: u32) -> Bytes {
        let mut bytes = Vec::with_capacity(self.capacity);
        for part in &self.parts {
            match part {
                Part::Text(text) => bytes.extend_from_slice(text),
                Part::Number => push_number(&mut bytes, number),
                Part::Client => push_number(&mut bytes, client.into()),
            }
        }
        bytes.into()
    }
}

fn gap(rest: &str) -> Option<(Part, &str)> {
    let number = rest
        .strip_prefix("{seq}")
        .map(|after| (Part::Number, after));
    number.or_else(|| {
        rest.strip_prefix("{client}")
            .map(|after| (Part::Client, after))
    })
}

/// Appends decimal digits without an allocation.
fn push_number(bytes: &mut Vec<u8>, number: u64) {
    use std::io::Write;
    // Writing to a vector can't fail.
    let _ = write!(bytes, "{number}");
}

#[cfg(test)]
mod tests;
