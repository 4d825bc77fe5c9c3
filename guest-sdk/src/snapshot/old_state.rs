//! A state of an older version, as `migrate` gets it.

use serde::de::DeserializeOwned;

use super::error::MigrateError;
use super::identity::GuestIdentity;
use crate::layout::{self, Fingerprint};

/// A state that an older version of the guest wrote, or a guest of another name. Length and checksum were verified.
#[derive(Debug)]
pub struct OldState<'a> {
    written_by: &'a GuestIdentity,
    state: &'a [u8],
}

impl<'a> OldState<'a> {
    pub(super) fn new(written_by: &'a GuestIdentity, state: &'a [u8]) -> Self {
        Self { written_by, state }
    }

    /// Version of the guest that wrote it.
    pub fn version(&self) -> u32 {
        self.written_by.version
    }

    /// Name of the guest that wrote it; `None` if an SDK before format 2 wrote it. It differs from the own name if an
    /// operator replaces one guest by another: `oarlock upgrade --replace-machine`.
    pub fn name(&self) -> Option<&'a str> {
        self.written_by.name.as_deref()
    }

    /// Decodes it as the state type of that version.
    ///
    /// # Errors
    ///
    /// The type has another layout than the one that wrote the state, the bytes are not of that type, or bytes are left
    /// over. A layout that the attribute names, or that an SDK before format 2 did not write, is not compared.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, MigrateError> {
        match self.layouts::<T>() {
            Some((old, new)) if old != new => Err(MigrateError::OtherLayout {
                version: self.version(),
                old: old.to_string(),
                new: new.to_string(),
                only_names: old.has_types_of(&new),
            }),
            _ => self.decode_bytes(),
        }
    }

    /// Decodes it as a type in which fields or variants have other names. Order and types must be the same: the first
    /// field gets the value of the first one, whatever it is called.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode), but the names are not compared.
    pub fn decode_renamed<T: DeserializeOwned>(self) -> Result<T, MigrateError> {
        match self.layouts::<T>() {
            Some((old, new)) if !old.has_types_of(&new) => Err(MigrateError::OtherLayout {
                version: self.version(),
                old: old.to_string(),
                new: new.to_string(),
                only_names: false,
            }),
            _ => self.decode_bytes(),
        }
    }

    /// The layout of the state and that of a type, if both were derived.
    fn layouts<T: DeserializeOwned>(&self) -> Option<(Fingerprint, Fingerprint)> {
        let old = Fingerprint::parse(self.written_by.layout.as_deref()?)?;
        Some((old, layout::of::<T>().ok()?))
    }

    fn decode_bytes<T: DeserializeOwned>(self) -> Result<T, MigrateError> {
        let version = self.version();
        decode_state(self.state).map_err(|source| MigrateError::Decode { version, source })
    }
}

/// Decodes a state. Bytes that are left over are an error.
pub(super) fn decode_state<T: DeserializeOwned>(bytes: &[u8]) -> postcard::Result<T> {
    match postcard::take_from_bytes(bytes)? {
        (state, []) => Ok(state),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}
