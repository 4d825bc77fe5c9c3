//! Standard output. Its reader may close it early, as `head` does.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

use oarlock_client::Endpoint;
use oarlock_wasm::is_unprintable;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::exit::Failure;

/// The output cannot be written: usually the reader has closed the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputClosed;

/// Writes lines until the reader closes the output.
pub(crate) struct Output<W> {
    to: W,
}

impl<W: Write> Output<W> {
    /// Writes to `to`, which keeps or drops colours.
    pub(crate) fn new(to: W) -> Self {
        Self { to }
    }

    /// Writes one line.
    ///
    /// # Errors
    /// The reader has closed the output.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), OutputClosed> {
        writeln!(self.to, "{text}")
            .and_then(|()| self.to.flush())
            .map_err(|_| OutputClosed)
    }
}

/// Writes the whole output of a command.
///
/// # Errors
/// The output cannot be written, for another reason than that the reader has closed it.
pub(crate) fn write_out(mut to: impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match to.write_all(bytes).and_then(|()| to.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "cannot write the result to standard output: {error}; check the disk or device that it is redirected to"
        ))),
        _ => Ok(()),
    }
}

/// Prints text with colours. They are dropped unless standard output is a terminal.
///
/// # Errors
/// As [`write_out`].
pub(super) fn print_coloured(text: &str) -> Result<(), Failure> {
    write_out(anstream::stdout().lock(), text.as_bytes())
}

/// Prints the guest's bytes and a newline, or with `json` an object with the log index.
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
            "cannot encode the result as JSON: {error}; this is a bug, please report it"
        ))
    })?;
    line.push(b'\n');
    write_out(to, &line)
}

/// The guest's bytes with a log index.
struct Indexed<'a> {
    name: &'a str,
    index: u64,
    bytes: &'a [u8],
}

impl Serialize for Indexed<'_> {
    /// JSON is embedded under `<name>`, other UTF-8 is a string under `<name>_text`, and other bytes are hexadecimal
    /// under `<name>_hex`.
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
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Text from a node or guest, with unprintable characters replaced: they could move the cursor of a terminal.
pub(crate) fn print_safely(text: &str) -> Cow<'_, str> {
    if text.contains(is_unprintable) {
        text.replace(is_unprintable, "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// Prints a line on standard error, as [`print_safely`] does. Standard error may be closed.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(anstream::stderr(), "{}", print_safely(text));
}

/// Endpoints in the format of `--endpoints`.
pub(crate) fn endpoint_list(endpoints: &[Endpoint]) -> String {
    endpoints
        .iter()
        .map(Endpoint::as_str)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests;
