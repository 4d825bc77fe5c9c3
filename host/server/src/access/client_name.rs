//! Names of clients: they are in certificates, tokens, logs and names of directories.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest name, in bytes.
const MAX_BYTES: usize = 64;

/// The name of a client: 1 to 64 letters, digits, dots, hyphens and underscores, of which the first is no dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientName(String);

/// A text is not the name of a client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "use 1 to {MAX_BYTES} letters, digits, dots, hyphens and underscores, and no dot at the begin"
)]
pub(crate) struct ClientNameError;

impl FromStr for ClientName {
    type Err = ClientNameError;

    fn from_str(text: &str) -> Result<Self, ClientNameError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let fits = (1..=MAX_BYTES).contains(&text.len()) && !text.starts_with('.');
        if fits && text.bytes().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClientNameError)
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_that_of_a_directory() {
        let longest = "a".repeat(MAX_BYTES);
        for name in ["a", "ann.b-c_1", "-", &longest] {
            let parsed: ClientName = name.parse().expect("a name");
            assert_eq!(parsed.to_string(), name);
        }
        let too_long = "a".repeat(MAX_BYTES + 1);
        for wrong in ["", ".", "..", ".ann", "a/b", "a b", "ä", &too_long] {
            assert_eq!(wrong.parse::<ClientName>(), Err(ClientNameError), "{wrong}");
        }
    }
}
