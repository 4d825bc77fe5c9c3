//! Reads a command or query from the command line, a file or standard input.

use std::io::Read;
use std::path::Path;

use crate::exit::Failure;

/// Maximum input, in bytes. Larger than any node accepts; it keeps an endless input from filling the memory.
const MAX_BYTES: u64 = 64 << 20;

/// The bytes to send: `argument` itself, standard input for `-`, or the file.
///
/// # Errors
/// The input cannot be read, or is larger than [`MAX_BYTES`].
pub(super) fn read(
    argument: Option<String>,
    file: Option<&Path>,
    stdin: impl Read,
) -> Result<Vec<u8>, Failure> {
    match (argument, file) {
        (_, Some(path)) => {
            let unreadable = |error| {
                Failure::failed(format!(
                    "cannot read {}: {error}; pass a file that exists and is readable",
                    path.display()
                ))
            };
            let file = std::fs::File::open(path).map_err(unreadable)?;
            bounded(file, &path.display().to_string())
        }
        (Some(argument), None) if argument == "-" => bounded(stdin, "standard input"),
        (Some(argument), None) => Ok(argument.into_bytes()),
        (None, None) => Err(Failure::usage(
            "there is nothing to send; pass the text, --file FILE, or - for standard input",
        )),
    }
}

fn bounded(from: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::failed(format!(
            "{name} has more than {MAX_BYTES} bytes; send less at once"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
