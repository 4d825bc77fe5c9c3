//! Writing a snapshot: one pass, one chunk in memory.

use postcard::ser_flavors::Flavor;

use super::crc::Crc;
use super::error::SnapshotError;
use super::format::{CHUNK_BYTES, FORMAT_1, FORMAT_2, MAGIC};
use super::own::own_layout;
use crate::guest::Guest;

/// Writes the guest's state and the SDK's own state `runtime` in chunks of at most 1 MiB. Without `runtime` it writes format
/// 1, which SDKs before format 2 read.
///
/// # Errors
///
/// See [`SnapshotError`].
pub(crate) fn write<M: Guest>(
    state: &M,
    runtime: Option<&[u8]>,
    to: &mut dyn FnMut(&[u8]),
) -> Result<(), SnapshotError> {
    let mut out = StateWriter {
        to,
        chunk: Vec::new(),
        summed: 0,
        crc: Crc::new(),
        written: 0,
    };
    out.add(&MAGIC);
    let format = if runtime.is_some() {
        FORMAT_2
    } else {
        FORMAT_1
    };
    out.add(&format.to_le_bytes());
    out.add(&M::VERSION.to_le_bytes());
    if let Some(runtime) = runtime {
        out.add_short_text(M::NAME);
        out.add_short_text(own_layout::<M>().as_deref().unwrap_or(""));
        out.add(&(runtime.len() as u64).to_le_bytes());
        out.add(runtime);
    }
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

    /// Adds a text of at most 255 bytes after its length.
    fn add_short_text(&mut self, text: &str) {
        let length = u8::try_from(text.len()).expect("names and layouts are limited to 128 bytes");
        self.add(&[length]);
        self.add(text.as_bytes());
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
