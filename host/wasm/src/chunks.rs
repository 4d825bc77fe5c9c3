//! The guest's part of a snapshot, in memory: as a list of chunks, so that nothing needs one huge piece.

use std::sync::Arc;

use bytes::Bytes;
use sha2::Digest;

use crate::failure::GuestFailure;
use crate::module::Sha256;

/// Small writes of a guest are gathered up to this size.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// A whole snapshot of a guest. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct SnapshotChunks {
    chunks: Arc<[Bytes]>,
    bytes: u64,
}

impl SnapshotChunks {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Digest of a state that was written like this by a guest of this version.
    pub(crate) fn digest(&self, version: u32) -> Sha256 {
        let mut digest = sha2::Sha256::new();
        digest.update(version.to_le_bytes());
        for chunk in self.iter() {
            digest.update(chunk);
        }
        Sha256(digest.finalize().into())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter()
    }

    pub(crate) fn reader(&self) -> ChunkReader {
        ChunkReader {
            chunks: self.chunks.clone(),
            chunk: 0,
            offset: 0,
        }
    }
}

/// Gathers chunks up to a limit.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    whole: Vec<Bytes>,
    partial: Vec<u8>,
    bytes: u64,
    limit: u64,
}

impl ChunkWriter {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            whole: Vec::new(),
            partial: Vec::new(),
            bytes: 0,
            limit,
        }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`GuestFailure::TooLarge`] past the limit.
    pub(crate) fn write(&mut self, mut data: &[u8]) -> Result<(), GuestFailure> {
        self.bytes += data.len() as u64;
        if self.bytes > self.limit {
            return Err(GuestFailure::TooLarge {
                what: "the snapshot",
                bytes: self.bytes,
                limit: self.limit,
            });
        }
        while !data.is_empty() {
            let room = CHUNK_BYTES - self.partial.len();
            let (now, later) = data.split_at(room.min(data.len()));
            self.partial.extend_from_slice(now);
            data = later;
            if self.partial.len() == CHUNK_BYTES {
                self.whole.push(std::mem::take(&mut self.partial).into());
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> SnapshotChunks {
        if !self.partial.is_empty() {
            self.whole.push(self.partial.into());
        }
        SnapshotChunks {
            chunks: self.whole.into(),
            bytes: self.bytes,
        }
    }
}

/// Reads a snapshot from its start.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    chunks: Arc<[Bytes]>,
    chunk: usize,
    offset: usize,
}

impl ChunkReader {
    /// At most so many of the next bytes; empty at the end and, unless `most` is 0, only there.
    pub(crate) fn next(&mut self, most: usize) -> Bytes {
        while let Some(chunk) = self.chunks.get(self.chunk) {
            let left = chunk.len() - self.offset;
            if left > 0 {
                let length = left.min(most);
                let piece = chunk.slice(self.offset..self.offset + length);
                self.offset += length;
                return piece;
            }
            self.chunk += 1;
            self.offset = 0;
        }
        Bytes::new()
    }
}

impl std::io::Read for ChunkReader {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let piece = self.next(to.len());
        to[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

#[cfg(test)]
mod tests;
