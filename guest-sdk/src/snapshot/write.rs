//! Writing: one pass, one chunk in memory.

use postcard::ser_flavors::Flavor;

use super::crc::Crc;
use super::{CHUNK_BYTES, FORM, MAGIC, SnapshotError};
use crate::machine::Guest;

/// Writes the whole state in chunks of at most 1 MiB.
///
/// # Errors
///
/// See [`SnapshotError`].
pub(crate) fn write<M: Guest>(state: &M, to: &mut dyn FnMut(&[u8])) -> Result<(), SnapshotError> {
    let mut out = Chunks {
        to,
        chunk: Vec::new(),
        summed: 0,
        crc: Crc::new(),
        written: 0,
    };
    out.add(&MAGIC);
    out.add(&FORM.to_le_bytes());
    out.add(&M::VERSION.to_le_bytes());
    let header = out.written;
    let mut out = postcard::serialize_with_flavor::<M, Chunks<'_>, Chunks<'_>>(state, out)
        .map_err(|source| SnapshotError::Encode { source })?;
    let length = out.written - header;
    out.add(&length.to_le_bytes());
    out.sum();
    let crc = out.crc.value();
    out.add(&crc.to_le_bytes());
    out.flush();
    Ok(())
}

/// Gathers what the encoder writes into chunks.
struct Chunks<'a> {
    to: &'a mut dyn FnMut(&[u8]),
    chunk: Vec<u8>,
    /// How much of the chunk the checksum covers.
    summed: usize,
    crc: Crc,
    written: u64,
}

impl Chunks<'_> {
    fn add(&mut self, mut bytes: &[u8]) {
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK_BYTES {
                self.flush();
            }
        }
    }

    fn sum(&mut self) {
        self.crc.add(&self.chunk[self.summed..]);
        self.summed = self.chunk.len();
    }

    fn flush(&mut self) {
        if !self.chunk.is_empty() {
            self.sum();
            (self.to)(&self.chunk);
            self.chunk.clear();
            self.summed = 0;
        }
    }
}

impl Flavor for Chunks<'_> {
    type Output = Self;

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.add(data);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.add(&[byte]);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self> {
        Ok(self)
    }
}
