//! Writing a snapshot: one pass, one chunk in memory.

use postcard::ser_flavors::Flavor;

use super::crc::Crc;
use super::error::SnapshotError;
use super::layout::{CHUNK_BYTES, LAYOUT_VERSION, MAGIC};
use crate::guest::Guest;

/// Writes the state in chunks of at most 1 MiB.
///
/// # Errors
///
/// See [`SnapshotError`].
pub(crate) fn write<M: Guest>(state: &M, to: &mut dyn FnMut(&[u8])) -> Result<(), SnapshotError> {
    let mut out = StateWriter {
        to,
        chunk: Vec::new(),
        summed: 0,
        crc: Crc::new(),
        written: 0,
    };
    out.add(&MAGIC);
    out.add(&LAYOUT_VERSION.to_le_bytes());
    out.add(&M::VERSION.to_le_bytes());
    let header = out.written;
    let mut out =
        postcard::serialize_with_flavor::<M, StateWriter<'_>, StateWriter<'_>>(state, out)
            .map_err(|source| SnapshotError::Encode { source })?;
    let length = out.written - header;
    out.add(&length.to_le_bytes());
    out.update_crc();
    let crc = out.crc.value();
    out.add(&crc.to_le_bytes());
    out.flush();
    Ok(())
}

/// Collects the encoder's output in chunks.
struct StateWriter<'a> {
    to: &'a mut dyn FnMut(&[u8]),
    chunk: Vec<u8>,
    /// Bytes of the chunk that are in the checksum already.
    summed: usize,
    crc: Crc,
    written: u64,
}

impl StateWriter<'_> {
    fn add(&mut self, mut bytes: &[u8]) {
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.chunk.len();
            let (head, rest) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(head);
            bytes = rest;
            if self.chunk.len() == CHUNK_BYTES {
                self.flush();
            }
        }
    }

    fn update_crc(&mut self) {
        self.crc.add(&self.chunk[self.summed..]);
        self.summed = self.chunk.len();
    }

    fn flush(&mut self) {
        if !self.chunk.is_empty() {
            self.update_crc();
            (self.to)(&self.chunk);
            self.chunk.clear();
            self.summed = 0;
        }
    }
}

impl Flavor for StateWriter<'_> {
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
