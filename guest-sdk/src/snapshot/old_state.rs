//! A state of an older version, as `migrate` gets it.

use serde::de::DeserializeOwned;

use super::error::MigrateError;

/// A state that an older version of the guest wrote. Length and checksum were verified.
#[derive(Debug)]
pub struct OldState<'a> {
    version: u32,
    state: &'a [u8],
}

impl<'a> OldState<'a> {
    pub(super) fn new(version: u32, state: &'a [u8]) -> Self {
        Self { version, state }
    }

    /// Version of the guest that wrote it.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Decodes it as the state type of that version.
    ///
    /// # Errors
    ///
    /// The bytes are not of that type, or bytes are left over.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, MigrateError> {
        let Self { version, state } = self;
        decode_state(state).map_err(|source| MigrateError::Decode { version, source })
    }
}

/// Decodes a state. Bytes that are left over are an error.
pub(super) fn decode_state<T: DeserializeOwned>(bytes: &[u8]) -> postcard::Result<T> {
    match postcard::take_from_bytes(bytes)? {
        (state, []) => Ok(state),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}
