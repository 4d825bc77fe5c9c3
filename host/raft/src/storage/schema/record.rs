//! The frame of every record: version, checksum, lengths, names.
//!
//! The checksum covers the key of the record and everything before the checksum. This rule holds for all versions, so
//! a corrupt record is never mistaken for one of a newer version.

use std::path::Path;

use bytes::{Buf, Bytes, TryGetError};
use thiserror::Error;

use crate::storage::StorageError;

/// The newest version of a record.
const RECORD: u8 = 1;
/// The longest name of a node or a cluster, in bytes.
const MAX_NAME_BYTES: u64 = 1024;

pub(super) const CHECKSUM_BYTES: usize = 4;
pub(super) const LENGTH_BYTES: usize = 4;

/// Why a record could not be decoded.
#[derive(Debug, Error, PartialEq, Eq)]
pub(in crate::storage) enum RecordError {
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it is not a snapshot file")]
    Magic,
    #[error("it is too short")]
    CutShort,
    #[error("it has {0} extra bytes at its end")]
    LeftOver(usize),
    #[error("it has a field of the unknown kind {0}")]
    Kind(u8),
    #[error("a name in it is not UTF-8")]
    Name,
    #[error("it has version {found}, and this program reads up to {known}")]
    TooNew { found: u32, known: u32 },
}

impl RecordError {
    /// Adds the name of the record and the file.
    pub(in crate::storage) fn of(self, record: impl Into<String>, path: &Path) -> StorageError {
        match self {
            Self::TooNew { found, known } => StorageError::TooNew {
                path: path.to_owned(),
                found,
                known,
            },
            corruption => StorageError::Corrupt {
                record: record.into(),
                reason: corruption.to_string(),
            },
        }
    }
}

impl From<TryGetError> for RecordError {
    fn from(_: TryGetError) -> Self {
        Self::CutShort
    }
}

pub(super) fn check_size(
    bytes: u64,
    limit: u64,
    what: impl FnOnce() -> String,
) -> Result<(), StorageError> {
    if bytes > limit {
        Err(StorageError::TooLarge {
            what: what(),
            bytes,
            limit,
        })
    } else {
        Ok(())
    }
}

pub(super) fn start(record: &mut Vec<u8>) {
    record.clear();
    record.push(RECORD);
}

pub(super) fn seal(key: &[u8], record: &mut Vec<u8>) {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(key), record);
    record.extend_from_slice(&checksum.to_be_bytes());
}

/// Checks the checksum; returns the bytes that it covers.
pub(super) fn checked<'a>(key: &[u8], record: &'a [u8]) -> Result<&'a [u8], RecordError> {
    let (covered, checksum) = record
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(RecordError::CutShort)?;
    if crc32c::crc32c_append(crc32c::crc32c(key), covered) != u32::from_be_bytes(*checksum) {
        return Err(RecordError::Checksum);
    }
    Ok(covered)
}

/// As [`opened`], copied so that parts of it can be kept.
pub(super) fn unseal(key: &[u8], record: &[u8]) -> Result<Bytes, RecordError> {
    Ok(Bytes::copy_from_slice(opened(key, record)?))
}

/// Checks version and checksum; returns the bytes between them.
pub(super) fn opened<'a>(key: &[u8], record: &'a [u8]) -> Result<&'a [u8], RecordError> {
    let mut body = checked(key, record)?;
    match body.try_get_u8()? {
        RECORD => Ok(body),
        found => Err(RecordError::TooNew {
            found: found.into(),
            known: RECORD.into(),
        }),
    }
}

pub(super) fn finished(body: &[u8]) -> Result<(), RecordError> {
    if body.is_empty() {
        Ok(())
    } else {
        Err(RecordError::LeftOver(body.len()))
    }
}

pub(super) fn put_length(record: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length)
        .unwrap_or_else(|_| unreachable!("sizes were checked against limits far below 4 GiB"));
    record.extend_from_slice(&length.to_be_bytes());
}

pub(super) fn get_bytes(body: &mut Bytes) -> Result<Bytes, RecordError> {
    let length = body.try_get_u32()? as usize;
    if length > body.len() {
        return Err(RecordError::CutShort);
    }
    Ok(body.split_to(length))
}

pub(super) fn put_name(record: &mut Vec<u8>, what: &str, name: &str) -> Result<(), StorageError> {
    check_size(name.len() as u64, MAX_NAME_BYTES, || what.to_owned())?;
    put_length(record, name.len());
    record.extend_from_slice(name.as_bytes());
    Ok(())
}

pub(super) fn get_name(body: &mut Bytes) -> Result<String, RecordError> {
    String::from_utf8(get_bytes(body)?.into()).map_err(|_| RecordError::Name)
}
