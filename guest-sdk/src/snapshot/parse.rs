//! The parts of a snapshot. Everything is verified before anything is decoded.

use super::crc::Crc;
use super::error::RestoreError;
use super::format::{FORMAT_1, FORMAT_2, MAGIC, START_BYTES, TRAILER_BYTES};
use super::identity::GuestIdentity;

/// A verified snapshot.
pub(super) struct Snapshot<'a> {
    pub(super) written_by: GuestIdentity,
    /// The SDK's own state; `None` in format 1.
    pub(super) runtime: Option<&'a [u8]>,
    /// The encoded state of the guest.
    pub(super) state: &'a [u8],
}

impl<'a> Snapshot<'a> {
    /// Verifies a snapshot and separates its parts.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, RestoreError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(RestoreError::NotASnapshot);
        }
        let length = bytes.len();
        let minimum = START_BYTES + TRAILER_BYTES;
        if length < minimum {
            return Err(RestoreError::Truncated { length, minimum });
        }
        let format = u32_at(bytes, MAGIC.len());
        if !(FORMAT_1..=FORMAT_2).contains(&format) {
            return Err(RestoreError::UnknownFormat {
                found: format,
                supported: FORMAT_2,
            });
        }
        let mut crc = Crc::new();
        crc.add(&bytes[..length - 4]);
        if crc.value() != u32_at(bytes, length - 4) {
            return Err(corrupt("the checksum does not match"));
        }
        let mut written_by = GuestIdentity {
            name: None,
            version: u32_at(bytes, MAGIC.len() + 4),
            layout: None,
        };
        let mut rest = &bytes[START_BYTES..length - TRAILER_BYTES];
        let mut runtime = None;
        if format == FORMAT_2 {
            written_by.name = Some(short_text(&mut rest)?);
            written_by.layout = Some(short_text(&mut rest)?).filter(|text| !text.is_empty());
            let length = take(&mut rest, 8)?;
            let length = usize::try_from(u64_at(length, 0)).unwrap_or(usize::MAX);
            runtime = Some(take(&mut rest, length)?);
        }
        if u64_at(bytes, length - TRAILER_BYTES) != rest.len() as u64 {
            return Err(corrupt("the length does not match"));
        }
        Ok(Self {
            written_by,
            runtime,
            state: rest,
        })
    }
}

fn corrupt(what: &'static str) -> RestoreError {
    RestoreError::Corrupt { what }
}

/// The next `length` bytes.
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], RestoreError> {
    let (head, tail) = rest
        .split_at_checked(length)
        .ok_or_else(|| corrupt("the header is longer than the snapshot"))?;
    *rest = tail;
    Ok(head)
}

/// A text after its length in one byte.
fn short_text(rest: &mut &[u8]) -> Result<String, RestoreError> {
    let length = usize::from(take(rest, 1)?[0]);
    let text = std::str::from_utf8(take(rest, length)?);
    text.map(str::to_owned)
        .map_err(|_| corrupt("the header contains a text that is not UTF-8"))
}

/// Four bytes as a number. The caller has checked that they exist.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Eight bytes as a number. The caller has checked that they exist.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
