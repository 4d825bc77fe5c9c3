//! Primitive values of the formats in this crate. Numbers are little-endian; a byte string follows its length, eight
//! bytes.

use std::io::{self, Read, Write};

pub(crate) fn put_u8(to: &mut dyn Write, value: u8) -> io::Result<()> {
    to.write_all(&[value])
}

pub(crate) fn put_u32(to: &mut dyn Write, value: u32) -> io::Result<()> {
    to.write_all(&value.to_le_bytes())
}

pub(crate) fn put_u64(to: &mut dyn Write, value: u64) -> io::Result<()> {
    to.write_all(&value.to_le_bytes())
}

/// Writes the length, eight bytes, then the bytes.
pub(crate) fn put_bytes(to: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    put_u64(to, bytes.len() as u64)?;
    to.write_all(bytes)
}

pub(crate) fn take<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn take_u8(from: &mut dyn Read) -> io::Result<u8> {
    Ok(u8::from_le_bytes(take(from)?))
}

pub(crate) fn take_u32(from: &mut dyn Read) -> io::Result<u32> {
    Ok(u32::from_le_bytes(take(from)?))
}

pub(crate) fn take_u64(from: &mut dyn Read) -> io::Result<u64> {
    Ok(u64::from_le_bytes(take(from)?))
}

/// Reads a byte string of at most `most` bytes. Memory is allocated as bytes arrive, so a false length allocates
/// nothing.
pub(crate) fn take_bytes(from: &mut dyn Read, most: u64) -> io::Result<Vec<u8>> {
    let length = take_u64(from)?;
    if length > most {
        return Err(invalid(format!(
            "a byte string has {length} bytes, but {most} is the limit"
        )));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

pub(crate) fn take_text(from: &mut dyn Read, most: u64) -> io::Result<String> {
    String::from_utf8(take_bytes(from, most)?).map_err(invalid)
}

pub(crate) fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
