//! The record of the file that a log was written to. Earlier versions ignore it.

use std::time::Duration;

use bytes::Buf;

use super::record::{RecordError, finished, seal, start, unseal};

/// Identifies a file. A copy of it has another inode or another time of birth; nothing can set the latter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOrigin {
    /// Number of the device. It may change with each mount, so it is recorded for a reader of the log only.
    pub device: u64,
    /// Number of the inode.
    pub inode: u64,
    /// When the file was created, since 1970. `None` if the file system does not keep it.
    pub born: Option<Duration>,
}

/// Encodes the origin.
pub(in crate::storage) fn encode_origin(key: &str, origin: FileOrigin) -> Vec<u8> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&origin.device.to_be_bytes());
    record.extend_from_slice(&origin.inode.to_be_bytes());
    record.push(u8::from(origin.born.is_some()));
    let born = origin.born.unwrap_or_default();
    record.extend_from_slice(&born.as_secs().to_be_bytes());
    record.extend_from_slice(&born.subsec_nanos().to_be_bytes());
    seal(key.as_bytes(), &mut record);
    record
}

/// Decodes the origin.
pub(in crate::storage) fn decode_origin(
    key: &str,
    record: &[u8],
) -> Result<FileOrigin, RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let (device, inode) = (body.try_get_u64()?, body.try_get_u64()?);
    let has_birth = match body.try_get_u8()? {
        0 => false,
        1 => true,
        kind => return Err(RecordError::Kind(kind)),
    };
    let (seconds, nanos) = (body.try_get_u64()?, body.try_get_u32()?);
    finished(&body)?;
    // A larger number of nanoseconds would be carried over, and could overflow.
    let born = has_birth.then(|| Duration::new(seconds, nanos.min(999_999_999)));
    Ok(FileOrigin {
        device,
        inode,
        born,
    })
}
