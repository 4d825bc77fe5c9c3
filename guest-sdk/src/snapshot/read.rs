//! Reading: everything is checked before anything is decoded.

use serde::de::DeserializeOwned;

use super::crc::Crc;
use super::{
    CHUNK_BYTES, FORM, HEADER_BYTES, MAGIC, MAX_SNAPSHOT_BYTES, MigrateError, RestoreError,
    TRAILER_BYTES,
};
use crate::machine::Guest;

/// A state that an older version of the guest wrote, whole and checked.
#[derive(Debug)]
pub struct OldState<'a> {
    version: u32,
    state: &'a [u8],
}

impl OldState<'_> {
    /// Version of the guest that wrote it.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Reads it as the type that the state had then.
    ///
    /// # Errors
    ///
    /// The bytes are not of that type, or more than that.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, MigrateError> {
        let Self { version, state } = self;
        decode(state).map_err(|source| MigrateError::Decode { version, source })
    }
}

/// Decodes a state and everything of it.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> postcard::Result<T> {
    match postcard::take_from_bytes(bytes)? {
        (state, []) => Ok(state),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}

/// Reads the state from chunks. `from` gives the next chunk of at most so many bytes, and an empty one at
/// the end. `written_by` is what the host says of the writer, 0 if it knows nothing.
///
/// # Errors
///
/// See [`RestoreError`].
pub(crate) fn read<M: Guest>(
    written_by: u32,
    from: &mut dyn FnMut(u32) -> Vec<u8>,
) -> Result<M, RestoreError> {
    let bytes = gather(from)?;
    let (version, state) = checked(&bytes)?;
    if written_by != 0 && written_by != version {
        return Err(RestoreError::WriterDiffers {
            told: written_by,
            found: version,
        });
    }
    if version > M::VERSION {
        return Err(RestoreError::Newer {
            name: M::NAME,
            written_by: version,
            version: M::VERSION,
        });
    }
    if version == M::VERSION {
        return decode(state).map_err(|source| RestoreError::Decode { version, source });
    }
    M::migrate(OldState { version, state }).map_err(|source| RestoreError::Migrate {
        version,
        to: M::VERSION,
        source,
    })
}

fn gather(from: &mut dyn FnMut(u32) -> Vec<u8>) -> Result<Vec<u8>, RestoreError> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = from(CHUNK_BYTES as u32);
        if chunk.is_empty() {
            return Ok(bytes);
        }
        if bytes.len() + chunk.len() > MAX_SNAPSHOT_BYTES {
            return Err(RestoreError::TooLarge {
                limit: MAX_SNAPSHOT_BYTES,
            });
        }
        if bytes.is_empty() {
            bytes = chunk;
        } else {
            bytes.append(&mut chunk);
        }
    }
}

/// The version that wrote a snapshot, and the bytes of the state, if the snapshot is whole.
fn checked(bytes: &[u8]) -> Result<(u32, &[u8]), RestoreError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(RestoreError::NotASnapshot);
    }
    let length = bytes.len();
    let least = HEADER_BYTES + TRAILER_BYTES;
    if length < least {
        return Err(RestoreError::CutShort { length, least });
    }
    let form = u32_at(bytes, MAGIC.len());
    if form != FORM {
        return Err(RestoreError::UnknownForm {
            found: form,
            known: FORM,
        });
    }
    let mut crc = Crc::new();
    crc.add(&bytes[..length - 4]);
    if crc.value() != u32_at(bytes, length - 4) {
        return Err(RestoreError::Damaged {
            what: "its checksum does not agree with its bytes",
        });
    }
    let state = &bytes[HEADER_BYTES..length - TRAILER_BYTES];
    let told = u64::from(u32_at(bytes, length - 12)) | u64::from(u32_at(bytes, length - 8)) << 32;
    if told != state.len() as u64 {
        return Err(RestoreError::Damaged {
            what: "its length is not the one it was written with",
        });
    }
    Ok((u32_at(bytes, MAGIC.len() + 4), state))
}

/// Four bytes as a number. The caller has checked that they are there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
