//! Reading a snapshot: everything is verified before anything is decoded.

use super::crc::Crc;
use super::error::RestoreError;
use super::layout::{
    CHUNK_BYTES, HEADER_BYTES, LAYOUT_VERSION, MAGIC, MAX_SNAPSHOT_BYTES, TRAILER_BYTES,
};
use super::old_state::{OldState, decode_state};
use crate::guest::Guest;

/// Reads the state. `from` returns the next chunk of at most the given number of bytes, and an empty one at the end.
/// `written_by` is the writer's version as the host knows it, 0 if unknown.
///
/// # Errors
///
/// See [`RestoreError`].
pub(crate) fn read<M: Guest>(
    written_by: u32,
    from: &mut dyn FnMut(u32) -> Vec<u8>,
) -> Result<M, RestoreError> {
    let bytes = read_all(from)?;
    let (version, state) = verified(&bytes)?;
    if written_by != 0 && written_by != version {
        return Err(RestoreError::WriterMismatch {
            host: written_by,
            snapshot: version,
        });
    }
    if version > M::VERSION {
        return Err(RestoreError::NewerVersion {
            name: M::NAME,
            written_by: version,
            version: M::VERSION,
        });
    }
    if version == M::VERSION {
        return decode_state(state).map_err(|source| RestoreError::Decode { version, source });
    }
    M::migrate(OldState::new(version, state)).map_err(|source| RestoreError::Migrate {
        version,
        to: M::VERSION,
        source,
    })
}

fn read_all(from: &mut dyn FnMut(u32) -> Vec<u8>) -> Result<Vec<u8>, RestoreError> {
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

/// Verifies a snapshot. Returns the version that wrote it and the bytes of the state.
fn verified(bytes: &[u8]) -> Result<(u32, &[u8]), RestoreError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(RestoreError::NotASnapshot);
    }
    let length = bytes.len();
    let minimum = HEADER_BYTES + TRAILER_BYTES;
    if length < minimum {
        return Err(RestoreError::Truncated { length, minimum });
    }
    let layout = u32_at(bytes, MAGIC.len());
    if layout != LAYOUT_VERSION {
        return Err(RestoreError::UnknownLayout {
            found: layout,
            supported: LAYOUT_VERSION,
        });
    }
    let mut crc = Crc::new();
    crc.add(&bytes[..length - 4]);
    if crc.value() != u32_at(bytes, length - 4) {
        return Err(RestoreError::Corrupt {
            what: "the checksum does not match",
        });
    }
    let state = &bytes[HEADER_BYTES..length - TRAILER_BYTES];
    let stored_length =
        u64::from(u32_at(bytes, length - 12)) | u64::from(u32_at(bytes, length - 8)) << 32;
    if stored_length != state.len() as u64 {
        return Err(RestoreError::Corrupt {
            what: "the length does not match",
        });
    }
    Ok((u32_at(bytes, MAGIC.len() + 4), state))
}

/// Four bytes as a number. The caller has checked that they exist.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
