//! The header of a snapshot: who wrote it, and the SDK's own state.

use super::error::RestoreError;
use super::format::FORMAT_2;
use super::identity::GuestIdentity;
use super::stream::{Stream, corrupt};

/// What is before the state of the guest.
pub(super) struct Header {
    pub(super) written_by: GuestIdentity,
    /// The SDK's own state; `None` in format 1.
    pub(super) runtime: Option<Vec<u8>>,
}

impl Header {
    /// Reads the rest of the header, after the format and the version of the writer.
    pub(super) fn read(
        stream: &mut Stream<'_>,
        format: u32,
        version: u32,
    ) -> Result<Self, RestoreError> {
        let mut header = Self {
            written_by: GuestIdentity {
                name: None,
                version,
                layout: None,
            },
            runtime: None,
        };
        if format == FORMAT_2 {
            header.written_by.name = Some(short_text(stream)?);
            let layout = short_text(stream)?;
            header.written_by.layout = Some(layout).filter(|text| !text.is_empty());
            let length = u64_of(take(stream, 8)?);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            header.runtime = Some(take(stream, length)?.to_vec());
        }
        stream.end_header();
        Ok(header)
    }
}

/// The next `length` bytes.
fn take<'a>(stream: &'a mut Stream<'_>, length: usize) -> Result<&'a [u8], RestoreError> {
    let taken = stream.take(length);
    taken.ok_or_else(|| corrupt("the header is longer than the snapshot"))
}

/// A text after its length in one byte.
fn short_text(stream: &mut Stream<'_>) -> Result<String, RestoreError> {
    let length = usize::from(take(stream, 1)?[0]);
    let text = std::str::from_utf8(take(stream, length)?);
    text.map(str::to_owned)
        .map_err(|_| corrupt("the header contains a text that is not UTF-8"))
}

/// Eight bytes as a number.
fn u64_of(bytes: &[u8]) -> u64 {
    let number = bytes.iter().rev();
    number.fold(0, |number, &byte| number << 8 | u64::from(byte))
}
