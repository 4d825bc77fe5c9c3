//! A text in a record of the log: its length, two bytes, little-endian, and then UTF-8.

use bytes::{BufMut, BytesMut};

/// Appends a text, which the caller has limited to `u16::MAX` bytes.
pub(super) fn put_text(to: &mut BytesMut, text: &str) {
    debug_assert!(u16::try_from(text.len()).is_ok(), "it has a limit");
    to.put_u16_le(text.len() as u16);
    to.put_slice(text.as_bytes());
}

/// Takes a text of at most `most` bytes; `None` if it is cut short, too long or not UTF-8.
pub(super) fn take_text(from: &mut &[u8], most: usize) -> Option<String> {
    let (length, rest) = from.split_first_chunk()?;
    let length = usize::from(u16::from_le_bytes(*length));
    let (text, rest) = rest.split_at_checked(length)?;
    *from = rest;
    let text = std::str::from_utf8(text).ok()?;
    (length <= most).then(|| text.to_owned())
}
