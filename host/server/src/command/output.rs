//! Standard output, whose reader may go away, as `head` does.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

use oarlock_client::Endpoint;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::exit::Failure;

/// The reader has gone away: there is nobody to tell anything more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputClosed;

/// Lines for a reader who may go away in between.
pub(crate) struct Output<W> {
    to: W,
}

impl<W: Write> Output<W> {
    /// Writes to `to`, which decides about colours.
    pub(crate) fn new(to: W) -> Self {
        Self { to }
    }

    /// Writes one line.
    ///
    /// # Errors
    /// The reader has gone away.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), OutputClosed> {
        // Whatever keeps words from being written, nobody reads them.
        writeln!(self.to, "{text}")
            .and_then(|()| self.to.flush())
            .map_err(|_| OutputClosed)
    }
}

/// Writes all of what a command prints.
///
/// # Errors
/// It can't be written, for another reason than that the reader has gone away.
pub(crate) fn write_out(mut to: impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match to.write_all(bytes).and_then(|()| to.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "the result could not be written to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Prints text that may have colours, which only a terminal gets. Whatever holds a table goes this way.
///
/// # Errors
/// As [`write_out`].
pub(super) fn print_coloured(text: &str) -> Result<(), Failure> {
    write_out(anstream::stdout().lock(), text.as_bytes())
}

/// Prints what a guest said and the end of its line, or an object with the log's index.
pub(super) fn write_reply(
    to: impl Write,
    name: &str,
    index: u64,
    bytes: &[u8],
    json: bool,
) -> Result<(), Failure> {
    if json {
        return write_json(to, &Indexed { name, index, bytes });
    }
    let mut line = Vec::with_capacity(bytes.len() + 1);
    line.extend_from_slice(bytes);
    line.push(b'\n');
    write_out(to, &line)
}

/// Prints a value as one line of JSON.
pub(super) fn write_json(to: impl Write, value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value).map_err(|error| {
        Failure::failed(format!(
            "the result is not to be written as JSON: {error}; this is a bug"
        ))
    })?;
    line.push(b'\n');
    write_out(to, &line)
}

/// What a guest said, and after which entry.
struct Indexed<'a> {
    name: &'a str,
    index: u64,
    bytes: &'a [u8],
}

impl Serialize for Indexed<'_> {
    /// The guest's JSON as it is; else its text under `<name>_text`; else its bytes under `<name>_hex`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { name, index, bytes } = self;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("index", index)?;
        match serde_json::from_slice::<&RawValue>(bytes) {
            Ok(json) => map.serialize_entry(name, json)?,
            Err(_) => match std::str::from_utf8(bytes) {
                Ok(text) => map.serialize_entry(&format!("{name}_text"), text)?,
                Err(_) => map.serialize_entry(&format!("{name}_hex"), &hex(bytes))?,
            },
        }
        map.end()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Text from a node or a guest, without characters that would move a terminal's cursor.
pub(crate) fn print_safely(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect::<String>()
            .into()
    } else {
        text.into()
    }
}

/// Endpoints as `--endpoints` takes them.
pub(crate) fn endpoint_list(endpoints: &[Endpoint]) -> String {
    endpoints
        .iter()
        .map(Endpoint::as_str)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests;
