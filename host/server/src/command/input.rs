//! Where a command's or a query's bytes come from.

use std::io::Read;
use std::path::Path;

use crate::exit::Failure;

/// Most that is read, in bytes. A node takes less; this keeps an endless input from filling the memory.
const MAX_BYTES: u64 = 64 << 20;

/// The bytes to send: the words themselves, standard input for `-`, or a file.
///
/// # Errors
/// They can't be read, or there are too many.
pub(super) fn read(
    words: Option<String>,
    file: Option<&Path>,
    stdin: impl Read,
) -> Result<Vec<u8>, Failure> {
    match (words, file) {
        (_, Some(path)) => {
            let unreadable = |error| {
                Failure::failed(format!(
                    "{} cannot be read: {error}; name a file that can be",
                    path.display()
                ))
            };
            let file = std::fs::File::open(path).map_err(unreadable)?;
            bounded(file, &path.display().to_string())
        }
        (Some(words), None) if words == "-" => bounded(stdin, "standard input"),
        (Some(words), None) => Ok(words.into_bytes()),
        (None, None) => Err(Failure::usage(
            "there is nothing to send; give the words, --file FILE, or - for standard input",
        )),
    }
}

fn bounded(from: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("{name} cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::failed(format!(
            "{name} holds more than {MAX_BYTES} bytes; send less at once"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
