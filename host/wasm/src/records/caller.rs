//! Who has sent a command, in the log.
//!
//! ```text
//! text   u16: length · UTF-8
//! all    text: the name · u8: number of scopes, in the order of their names, for each:
//!        text: its name · u16: number of values, in their order · the values, each a text
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use super::text::{put_text, take_text};

/// Longest name of a caller or of a scope, and longest value of a scope, in bytes.
const MAX_TEXT_BYTES: usize = 512;
/// Most bytes of an encoded caller.
const MAX_BYTES: usize = 4096;
/// Most scopes of a caller.
const MAX_SCOPES: usize = 16;

/// Who has sent a command or a query, as the guest sees it: the name in a certificate or a token, and the scopes of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestCaller {
    name: String,
    scopes: BTreeMap<String, BTreeSet<String>>,
}

/// A caller can't be encoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GuestCallerError {
    /// A name or a value is empty or too long.
    #[error(
        "a name or a value of a scope has {bytes} bytes, but 1 to {MAX_TEXT_BYTES} are allowed; choose another"
    )]
    Length {
        /// Its length.
        bytes: usize,
    },
    /// A name or a value has a control character.
    #[error("the name or the value of a scope {text:?} has a control character; remove it")]
    Control {
        /// The text.
        text: String,
    },
    /// There are too many scopes, or too many bytes in all.
    #[error(
        "the scopes take {bytes} bytes in {scopes} scopes, but {MAX_BYTES} bytes in {MAX_SCOPES} scopes are allowed; use fewer"
    )]
    TooLarge {
        /// Bytes of the encoded caller.
        bytes: usize,
        /// Number of scopes.
        scopes: usize,
    },
}

impl GuestCaller {
    /// A caller with this name and these values of each scope.
    ///
    /// # Errors
    /// See [`GuestCallerError`].
    pub fn new(
        name: impl Into<String>,
        scopes: BTreeMap<String, BTreeSet<String>>,
    ) -> Result<Self, GuestCallerError> {
        let caller = Self {
            name: name.into(),
            scopes,
        };
        for text in caller.texts() {
            let bytes = text.len();
            if bytes == 0 || bytes > MAX_TEXT_BYTES {
                return Err(GuestCallerError::Length { bytes });
            }
            // A guest in C takes a text as ending at a zero.
            if text.contains(char::is_control) {
                return Err(GuestCallerError::Control { text: text.clone() });
            }
        }
        let (bytes, scopes) = (caller.bytes(), caller.scopes.len());
        if bytes > MAX_BYTES || scopes > MAX_SCOPES {
            return Err(GuestCallerError::TooLarge { bytes, scopes });
        }
        Ok(caller)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The values of each scope, by its name.
    #[must_use]
    pub fn scopes(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.scopes
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let scopes = self.scopes.iter();
        let scopes = scopes.flat_map(|(name, values)| std::iter::once(name).chain(values));
        std::iter::once(&self.name).chain(scopes)
    }

    /// Number of bytes that [`Self::encode`] appends.
    pub(crate) fn bytes(&self) -> usize {
        let texts: usize = self.texts().map(|text| 2 + text.len()).sum();
        texts + 1 + 2 * self.scopes.len()
    }

    pub(crate) fn encode(&self, to: &mut BytesMut) {
        put_text(to, &self.name);
        // `new` has limited all numbers: they fit.
        to.put_u8(self.scopes.len() as u8);
        for (name, values) in &self.scopes {
            put_text(to, name);
            to.put_u16_le(values.len() as u16);
            values.iter().for_each(|value| put_text(to, value));
        }
    }

    /// Reads what [`Self::encode`] wrote, to the last byte; `None` for anything else.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let name = take_text(from, MAX_TEXT_BYTES)?;
        let (&count, rest) = from.split_first()?;
        *from = rest;
        let mut scopes = BTreeMap::new();
        for _ in 0..count {
            let name = take_text(from, MAX_TEXT_BYTES)?;
            let (count, rest) = from.split_first_chunk()?;
            *from = rest;
            let count = u16::from_le_bytes(*count);
            let values: Option<BTreeSet<String>> = (0..count)
                .map(|_| take_text(from, MAX_TEXT_BYTES))
                .collect();
            let values = values.filter(|values| values.len() == usize::from(count))?;
            if scopes.insert(name, values).is_some() {
                return None;
            }
        }
        if !from.is_empty() {
            return None;
        }
        Self::new(name, scopes).ok()
    }
}

#[cfg(test)]
mod tests;
